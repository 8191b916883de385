//! The rules of a configuration with nothing behind them: what becomes of a request, as far as it tells.
//!
//! A read has an entry, and tags that its request tells; a write outdates its target, what its rules name, and what is derived
//! from that. Invariant: the same pure rules decide here as for real requests. What only an origin can tell is not known:
//! what its answers name in `Location`, in fields for tags, or in bodies (`body_tags`).

use std::sync::Arc;

use http::StatusCode;
use http::header::HeaderMap;

use crate::config::{Case, Config, Fact, Problem, Report, Request};
use crate::flow::ServerError;
use crate::policy::outdate;
use crate::route::Reads;
use crate::route::carried::{self, Given};
use crate::route::host::{Hosts, Scheme};
use crate::route::identity::Identity;
use crate::route::key::KeyBuf;
use crate::route::reach::{Item, Reach};
use crate::route::share::Share;
use crate::route::table::Table;
use crate::route::tag::Tag;
use crate::route::target::{Rules, Target};
use crate::route::write::Matches;
use crate::route::written::{Content, Outcome, Written};

/// The rules, ready for requests.
pub(crate) struct Stage<'c> {
    config: &'c Config,
    rules: Rules,
    scheme: Scheme,
    /// The canonical host, under which everything is asked for.
    pub(crate) host: Arc<str>,
}

/// What becomes of a request.
pub(crate) enum Part {
    /// It has this entry.
    Read {
        key: KeyBuf,
        share: Share,
    },
    Write,
    /// It is forwarded, for this reason.
    Pass(&'static str),
}

/// What a write outdates.
pub(crate) struct Outdated {
    /// Tags and paths.
    pub(crate) reach: Reach,
    /// Whether what belongs to whoever wrote goes.
    pub(crate) credential: bool,
    /// By which rules.
    pub(crate) rules: Vec<String>,
}

impl<'c> Stage<'c> {
    /// Builds them.
    ///
    /// # Errors
    /// Routes or hosts that would not start either.
    pub(crate) fn of(config: &'c Config) -> Result<Self, Report> {
        let refused = |why: String| Report::of(config.file.clone(), Problem::general(why));
        let scheme = if config.flow.tls { Scheme::Https } else { Scheme::Http };
        let hosts = Hosts::new(&config.hosts, scheme, config.server.listen.port());
        let hosts = hosts.map_err(|why| refused(why.to_string()))?;
        let table = Table::build(config.routes.clone(), config.unmatched.clone());
        let rules = Rules {
            table: table.map_err(|why| refused(why.to_string()))?,
            hosts,
            identity: Identity::new(&config.identity, b"of tests"),
            writes: config.writes.clone(),
        };
        let host = rules.hosts.canonical_name().into();
        Ok(Self { config, rules, scheme, host })
    }

    /// The target of a request.
    pub(crate) fn target<'r>(&'r self, request: &'r Request) -> Target<'r> {
        self.path(&request.path, request.query.as_deref())
    }

    fn path<'r>(&'r self, path: &'r str, query: Option<&'r str>) -> Target<'r> {
        let target = self.rules.target(self.scheme, self.rules.hosts.canonical_name(), path, query);
        target.expect("the canonical host is served")
    }

    /// What becomes of it, as the walk plans it; that the cache may be switched off does not count.
    pub(crate) fn part(&self, request: &Request) -> Part {
        let target = self.target(request);
        let (reads, bypass) = (target.route.settings.reads(&request.method), target.bypass());
        if !outdate::is_safe(&request.method) && (reads != Reads::ByContent || bypass.is_some()) {
            return Part::Write;
        }
        if reads == Reads::Not {
            return Part::Pass("method");
        }
        if reads == Reads::ByTarget && !request.body.is_empty() {
            return Part::Pass("request-body");
        }
        let scope = target.route.settings.rule.scope;
        let share = match bypass {
            Some(why) => Share::Bypass(why),
            None => self.rules.identity.share(scope, false, &request.headers),
        };
        if let Share::Bypass(why) = share {
            return Part::Pass(why.as_str());
        }
        let spec = &target.route.key.content;
        let digest = (reads == Reads::ByContent).then(|| {
            spec.admits(&request.method, &request.headers)?;
            spec.digest(&request.method, &request.headers, &request.body)
        });
        match digest.transpose() {
            Ok(digest) => {
                let body = digest.as_ref().map_or(&[][..], |digest| digest.as_bytes());
                Part::Read { key: target.key(share, &request.headers, body), share }
            }
            Err(why) => Part::Pass(why.as_str()),
        }
    }

    /// The tags that the request for an answer tells.
    pub(crate) fn carried(&self, target: &Target<'_>, headers: &HeaderMap, share: Share) -> Vec<Tag> {
        let is_someones = matches!(share, Share::Credential(_));
        let user = is_someones.then(|| self.rules.identity.user(headers)).flatten();
        let given = Given {
            captures: &target.captures(&self.rules),
            query: &target.query,
            headers,
            key_headers: &target.route.key.headers,
            user: user.as_deref(),
        };
        // What cannot be told keeps the answer from being stored.
        let named = carried::by_route(&target.route.settings.tags, &given).unwrap_or_default();
        target.tags().into_iter().chain(share.tag()).chain(named).collect()
    }

    /// What a write outdates, as far as its request and this answer tell.
    pub(crate) fn outdated(&self, case: &Case) -> Outdated {
        let (request, status) = (&case.request, case.status);
        let is_unknown =
            status.is_server_error() && self.config.flow.on_server_error == ServerError::Invalidate;
        let outcome = match outdate::outdates_target(&request.method, status) {
            true => Outcome::Known(status),
            false if is_unknown => Outcome::Unknown,
            // The origin does not know whoever wrote.
            false => {
                let credential = status == StatusCode::UNAUTHORIZED;
                return Outdated { reach: Reach::default(), credential, rules: Vec::new() };
            }
        };
        let target = self.target(request);
        let user = self.rules.identity.user(&request.headers);
        let ruled = Matches::of(&self.rules.writes, &request.method, &target.path).outdated(&Written {
            host: &self.host,
            query: request.query.as_deref(),
            headers: &request.headers,
            user: user.as_deref(),
            outcome,
            request: &Content::of(&request.body),
            response: &if outcome == Outcome::Unknown { Content::Unread } else { Content::of(&case.answer) },
        });
        let own = target.tags().into_iter().map(Item::Tag);
        let (mut reach, mut alone) = (ruled.hard.cascading, ruled.hard.alone);
        let beside = if ruled.is_alone { &mut alone } else { &mut reach };
        own.for_each(|item| beside.add(item));
        ruled.soft.cascading.items.into_iter().for_each(|item| reach.add(item));
        self.config.invalidate.dependencies.extend(&mut reach);
        alone.items.into_iter().chain(ruled.soft.alone.items).for_each(|item| reach.add(item));
        Outdated { reach, credential: ruled.credential, rules: ruled.rules }
    }

    /// What stands under a path goes with any of its tags, whoever it is for.
    pub(crate) fn is_outdated(&self, fact: &Fact, outdated: &Outdated) -> bool {
        match fact {
            Fact::Credential => outdated.credential,
            Fact::Tag(tag) => outdated.reach.covers(&Tag::named(tag)),
            Fact::Path(path) => {
                let target = self.path(path, None);
                let tags = self.carried(&target, &HeaderMap::new(), Share::Shared);
                tags.iter().any(|tag| outdated.reach.covers(tag))
            }
        }
    }

    /// As the file writes them.
    pub(crate) fn listed(&self, items: impl Iterator<Item = Item>) -> String {
        let host = format!("//{}", self.host);
        let mut words: Vec<String> = items
            .map(|item| match item.to_string() {
                text if text.starts_with("credential:") => "credential".to_owned(),
                text => text
                    .strip_prefix(&host)
                    .map(|path| if path.is_empty() { "/" } else { path }.to_owned())
                    .unwrap_or(text),
            })
            .collect();
        words.dedup();
        words.join(" ")
    }

    /// What becomes of a request, in words.
    pub(crate) fn told(&self, request: &Request) -> String {
        match self.part(request) {
            Part::Write => "a write".to_owned(),
            Part::Pass(why) => format!("not cached ({why})"),
            Part::Read { share, .. } => {
                let target = self.target(request);
                let query = match target.query.as_str() {
                    "" => String::new(),
                    query => format!("?{query}"),
                };
                let whose = if share.tag().is_some() { "of these credentials" } else { "for all" };
                let mut told = format!("`{}{query}` {whose}", target.path.as_str());
                for name in &target.route.key.headers {
                    let value = request
                        .headers
                        .get(name)
                        .map_or("none".into(), |value| String::from_utf8_lossy(value.as_bytes()));
                    told += &format!(", {name}: {value}");
                }
                told + if request.body.is_empty() { "" } else { ", with its body" }
            }
        }
    }
}
