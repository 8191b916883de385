//! The rules of a configuration with nothing behind them: what becomes of a request, as far as it tells.
//!
//! A read has an entry, and tags that its request and its answer tell, if that may be stored; a write outdates its target, what its
//! rules and its answer name, and what is derived from that. Invariant: the same pure rules decide here as for real requests.
//! What an origin would answer is not known here: a test says it, or it is taken for a plain 200 that may be stored.

use std::sync::Arc;

use http::Method;
use http::header::HeaderMap;

use crate::clock::{Clock, Now};
use crate::config::{Answer, Config, Fact, Problem, Report, Request};
use crate::flow::consequence::Effect;
use crate::flow::tagging::Tagging;
use crate::policy::decode::{codings, decoded};
use crate::policy::{self, RequestHead, ResponseTimes, outdate};
use crate::route::Reads;
use crate::route::host::{Hosts, Scheme};
use crate::route::identity::Identity;
use crate::route::key::KeyBuf;
use crate::route::reach::{Item, Reach};
use crate::route::share::{Bypass, Share};
use crate::route::table::Table;
use crate::route::tag::Tag;
use crate::route::target::{Rules, Target};
use crate::route::write::Matches;
use crate::route::written::{Content, Outcome, Written, groups};
use crate::upstream;

/// The rules, ready for requests.
pub(crate) struct Stage<'c> {
    config: &'c Config,
    rules: Rules,
    scheme: Scheme,
    /// When every test is played.
    now: Now,
    /// The canonical host, under which everything is asked for.
    pub(crate) host: Arc<str>,
}

/// What becomes of a request.
pub(crate) enum Part {
    /// It has this entry.
    Read {
        key: KeyBuf,
        share: Share,
        tags: Vec<Tag>,
    },
    Write,
    /// It is forwarded, or its answer not kept, for this reason.
    Pass(String),
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
        Ok(Self { config, rules, scheme, now: Clock::system().now(), host })
    }

    /// The target of a request.
    pub(crate) fn target<'r>(&'r self, request: &'r Request) -> Target<'r> {
        self.path(&request.path, request.query.as_deref())
    }

    fn path<'r>(&'r self, path: &'r str, query: Option<&'r str>) -> Target<'r> {
        let target = self.rules.target(self.scheme, self.rules.hosts.canonical_name(), path, query);
        target.expect("the canonical host is served")
    }

    /// What becomes of it, as the walk plans it, if it is answered so; that the cache may be switched off does not count.
    pub(crate) fn part(&self, request: &Request, answer: Option<&Answer>) -> Part {
        let target = self.target(request);
        let (reads, bypass) = (target.route.settings.reads(&request.method), target.bypass());
        if !outdate::is_safe(&request.method) && (reads != Reads::ByContent || bypass.is_some()) {
            return Part::Write;
        }
        self.read(&target, request, reads, bypass, answer).unwrap_or_else(Part::Pass)
    }

    fn read(
        &self,
        target: &Target<'_>,
        request: &Request,
        reads: Reads,
        bypass: Option<Bypass>,
        answer: Option<&Answer>,
    ) -> Result<Part, String> {
        if reads == Reads::Not {
            return Err("method".to_owned());
        }
        if reads == Reads::ByTarget && !request.body.is_empty() {
            return Err("request-body".to_owned());
        }
        let scope = target.route.settings.rule.scope;
        let share = match bypass {
            Some(why) => Share::Bypass(why),
            None => self.rules.identity.share(scope, false, &request.headers),
        };
        if let Share::Bypass(why) = share {
            return Err(why.as_str().to_owned());
        }
        let spec = &target.route.key.content;
        let digest = (reads == Reads::ByContent).then(|| {
            spec.admits(&request.method, &request.headers)?;
            spec.digest(&request.method, &request.headers, &request.body)
        });
        let digest = digest.transpose().map_err(|why| why.as_str().to_owned())?;
        let tags = self.kept(target, request, (reads, share), answer)?;
        let body = digest.as_ref().map_or(&[][..], |digest| digest.as_bytes());
        Ok(Part::Read { key: target.key(share, &request.headers, body), share, tags })
    }

    /// The tags of an answer, those that the request alone tells if it is not said. Errors: why it is not stored.
    fn kept(
        &self,
        target: &Target<'_>,
        request: &Request,
        (reads, share): (Reads, Share),
        answer: Option<&Answer>,
    ) -> Result<Vec<Tag>, String> {
        let (route, headers) = (target.route, &request.headers);
        let tagging = Tagging::of(&self.rules, target, headers, share);
        let own = target.tags().into_iter().chain(share.tag());
        let Some(Answer { status, headers: fields, body }) = answer else {
            return Ok(own.chain(tagging.known().to_vec()).collect());
        };
        if upstream::is_event_stream(fields) {
            return Err("event-stream".to_owned());
        }
        // A HEAD is answered from what a GET would be.
        let method = if request.method == Method::HEAD { &Method::GET } else { &request.method };
        let asked = RequestHead { method, headers, body_keyed: reads == Reads::ByContent };
        let times = ResponseTimes { requested: self.now, received: self.now };
        policy::may_store(&asked, share.sharing(), *status, fields, &route.settings.rule, times)
            .map_err(|why| why.as_str().to_owned())?;
        let named = tagging.of_answer(route, fields, body.clone().into());
        Ok(own.chain(named.map_err(|why| why.to_string())?).collect())
    }

    /// What a write outdates, as far as its request and this answer tell.
    pub(crate) fn outdated(&self, request: &Request, answer: Option<&Answer>) -> Outdated {
        let plain = Answer::default();
        let Answer { status, headers, body } = answer.unwrap_or(&plain);
        let dependencies = &self.config.invalidate.dependencies;
        let groups = groups(headers);
        let effect = Effect::of_status(*status, &request.method, self.config.flow.on_server_error);
        let (outcome, response) = match effect {
            Effect::Known(status) => (Outcome::Known(status), content(headers, body)),
            Effect::Unknown => (Outcome::Unknown, Content::Unread),
            Effect::None | Effect::Stranger => {
                let mut reach = Reach::of(groups);
                dependencies.extend(&mut reach);
                return Outdated { reach, credential: effect == Effect::Stranger, rules: Vec::new() };
            }
        };
        let target = self.target(request);
        let user = self.rules.identity.user(&request.headers);
        let mut ruled = Matches::of(&self.rules.writes, &request.method, &target.path).outdated(&Written {
            host: &self.host,
            query: request.query.as_deref(),
            headers: &request.headers,
            user: user.as_deref(),
            outcome,
            request: &content(&request.headers, &request.body),
            response: &response,
        });
        let named = self.rules.also_outdated(self.scheme, (&target.forwarded(), &self.host), headers);
        let own: Vec<Item> = target.tags().into_iter().chain(named).map(Item::Tag).collect();
        ruled.add_target(&own);
        groups.into_iter().for_each(|group| ruled.hard.cascading.add(Item::Tag(group)));
        let (mut reach, _) = ruled.hard.followed(dependencies);
        ruled.soft.followed(dependencies).0.items.into_iter().for_each(|item| reach.add(item));
        Outdated { reach, credential: ruled.credential, rules: ruled.rules }
    }

    /// What stands under a path goes with any of its tags, whoever it is for.
    pub(crate) fn is_outdated(&self, fact: &Fact, outdated: &Outdated) -> bool {
        match fact {
            Fact::Credential => outdated.credential,
            Fact::Tag(tag) => outdated.reach.covers(&Tag::named(tag)),
            Fact::Path(path) => {
                let target = self.path(path, None);
                let tagging = Tagging::of(&self.rules, &target, &HeaderMap::new(), Share::Shared);
                let own = target.tags();
                own.iter().chain(tagging.known()).any(|tag| outdated.reach.covers(tag))
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
    pub(crate) fn told(&self, request: &Request, answer: Option<&Answer>) -> String {
        match self.part(request, answer) {
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

/// A body as the rules of writes read it.
fn content(headers: &HeaderMap, body: &[u8]) -> Content {
    let plain = codings(headers).and_then(|codings| decoded(&codings, body).map(|plain| Content::of(&plain)));
    plain.unwrap_or(Content::Unread)
}
