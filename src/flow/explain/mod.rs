//! Why a request is answered as it is: which rule it falls under, whose entries it is answered from, under which key, and what the
//! next one like it is told.
//!
//! Invariant: explaining has no effect. Nothing is fetched, counted, claimed, or written down; and nothing is decided here: the
//! walk's own judgement is asked ([`crate::flow::verdict`], [`crate::flow::plan`]), so the two cannot differ.

pub mod asked;
mod outcome;
pub mod wire;
mod write;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::VARY;
use http::request::Parts as Head;

use crate::body::Body;
use crate::flow::explain::asked::{Asked, NoRequest};
use crate::flow::explain::outcome::{Foreseen, certain};
use crate::flow::explain::wire::{
    Becomes, By, Demoted, Entries, Explanation, Key, KnownTags, Of, Outcome, Refused, Route, Stored, Tags,
    Told, Variants,
};
use crate::flow::ingress::{Named, Refusal};
use crate::flow::plan::Plan;
use crate::flow::shadow::SHADOW;
use crate::flow::tagging::Tagging;
use crate::flow::{Client, Flow, Shared, Visit, content, hook, pass};
use crate::metrics::Cache;
use crate::policy::Scope;
use crate::route::share::Share;
use crate::route::tag::Tag;
use crate::store::entry::Entry;

/// Most tags that are told of one answer.
const MOST_TAGS: usize = 100;

impl Flow {
    /// Explains what becomes of a request, if it comes now.
    ///
    /// # Errors
    /// It is none.
    pub fn explain(&self, asked: &Asked) -> Result<Explanation, NoRequest> {
        let shared = self.in_force();
        let (head, content) = asked.request()?.into_parts();
        let explanation = shared.explain(&head, content);
        Ok(Explanation { request: format!("{} {}", asked.method, asked.target), ..explanation })
    }
}

impl Shared {
    fn explain(self: &Arc<Self>, head: &Head, content: Bytes) -> Explanation {
        let client = Client::at(IpAddr::V4(Ipv4Addr::LOCALHOST), self.settings.tls, &[]);
        let named = match Named::by(head) {
            Ok(named) => named,
            Err(refusal) => return refused(&refusal),
        };
        let target = match self.target(&named, &client) {
            Ok(target) => target,
            Err(refusal) => return refused(&refusal),
        };
        let visit = Visit::aside(self, client, &target, head);
        let explanation = match visit.plan(head, &Body::from(content.clone())) {
            Plan::Read(share) => read(&visit, head, share),
            Plan::ReadByContent(share) => match content::of(&visit, head, content) {
                Ok(asked_with) => {
                    // A new visit has none yet.
                    let _ = visit.content.set(asked_with);
                    if visit.is_in_shadow() {
                        shadowed(&visit, head, share)
                    } else {
                        read(&visit, head, share)
                    }
                }
                Err(why) => passed(&visit, head, why),
            },
            Plan::Shadow(share) => shadowed(&visit, head, share),
            Plan::Write => write::explain(&visit, head, &content),
            Plan::Hook if head.method != Method::POST => refused(&hook::NO_POST),
            Plan::Hook => received(Becomes::Webhook),
            Plan::Purge => received(Becomes::Purge),
            Plan::Pass(why) => passed(&visit, head, why),
            Plan::Tunnel => Explanation { becomes: Becomes::Tunnel, ..passed(&visit, head, "upgrade") },
        };
        Explanation { route: Some(route(&visit)), ..explanation }
    }
}

/// An answer of Larder's own, before there is a route.
fn refused(refusal: &Refusal) -> Explanation {
    let mut explanation = received(Becomes::Refused);
    explanation.outcome.told.status = Some(refusal.status.as_u16());
    Explanation { because: Some(refusal.detail.to_owned()), ..explanation }
}

/// What is said to Larder itself; its answer says nothing of the cache.
fn received(becomes: Becomes) -> Explanation {
    let (told, decided_by) = (Told::default(), By::Cache);
    Explanation::new(becomes, Outcome { told, decided_by, when: None, or: Vec::new() })
}

fn passed(visit: &Visit<'_>, head: &Head, why: &'static str) -> Explanation {
    let entries = Entries {
        of: Of::Nobody,
        why: nobodys(why).to_owned(),
        credentials: visit.flow.rules.identity.credential_names(&head.headers),
    };
    Explanation {
        because: Some(why.to_owned()),
        entries: Some(entries),
        ..Explanation::new(Becomes::Pass, certain(Cache::Bypass, pass::status(why)))
    }
}

/// Forwarded, and what would have become of it.
fn shadowed(visit: &Visit<'_>, head: &Head, share: Share) -> Explanation {
    let read = read(visit, head, share);
    Explanation {
        becomes: Becomes::Pass,
        because: Some(SHADOW.to_owned()),
        outcome: certain(Cache::Bypass, pass::status(SHADOW)),
        would: Some(read.outcome),
        ..read
    }
}

fn read(visit: &Visit<'_>, head: &Head, share: Share) -> Explanation {
    let Foreseen { outcome, entry, refusal, is_in_flight } = outcome::read(visit, head, share);
    let now = visit.now;
    let (known, tags) = match &entry {
        Some(entry) => (KnownTags::All, entry.tags().to_vec()),
        None => {
            let mut tags = visit.tags(share);
            let tagging = Tagging::of(&visit.flow.rules, visit.target, &head.headers, share);
            tags.extend_from_slice(tagging.known());
            (KnownTags::SoFar, tags)
        }
    };
    let last_refused = refusal.map(|refusal| Refused {
        why: refusal.why.to_owned(),
        ago: now.mono.saturating_sub(refusal.at).as_secs(),
    });
    Explanation {
        entries: Some(entries(visit, head, share)),
        key: Some(key(visit, head, share)),
        tags: Some(Tags { known, tags: tags.iter().take(MOST_TAGS).map(in_words).collect() }),
        variants: variants(visit, head, share, entry.as_deref()),
        stored: entry.map(|entry| stored(visit, head, &entry)),
        last_refused,
        in_flight: is_in_flight,
        dropped_by: write::reaching(visit, tags.get(..MOST_TAGS).unwrap_or(&tags)),
        ..Explanation::new(Becomes::Read, outcome)
    }
}

impl Explanation {
    /// Of which no more is known.
    fn new(becomes: Becomes, outcome: Outcome) -> Self {
        Self {
            request: String::new(),
            becomes,
            because: None,
            outcome,
            would: None,
            route: None,
            entries: None,
            key: None,
            tags: None,
            stored: None,
            in_flight: false,
            variants: None,
            last_refused: None,
            dropped_by: Vec::new(),
            write: None,
        }
    }
}

fn route(visit: &Visit<'_>) -> Route {
    let settings = &visit.target.route.settings;
    let captures = visit.target.captures(&visit.flow.rules);
    Route {
        template: settings.template.clone(),
        captures: captures.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ttl: settings.rule.ttl.map(|ttl| ttl.as_secs()),
        scope: settings.rule.scope.as_str().to_owned(),
        demoted: visit.flow.demotion(visit.target.route.index).map(|demotion| Demoted {
            ago: visit.now.mono.saturating_sub(demotion.at).as_secs(),
            status: demotion.status.as_u16(),
        }),
    }
}

fn entries(visit: &Visit<'_>, head: &Head, share: Share) -> Entries {
    let (route, flow) = (visit.target.route, visit.flow);
    let (of, why) = match (share, route.settings.rule.scope) {
        (Share::Credential(_), Scope::Public) => {
            (Of::Credential, "the route was public until its origin asked for a credential")
        }
        (Share::Credential(_), _) => (Of::Credential, "a request with credentials has entries of its own"),
        (Share::Shared, Scope::Public) if visit.is_for_the_public() => {
            (Of::Everybody, "`scope: public`: the fill carries no credential")
        }
        (Share::Shared, Scope::Origin) => {
            (Of::Everybody, "`scope: origin`: all share what the origin does not forbid")
        }
        (Share::Shared, _) => (Of::Everybody, "the request carries no credential"),
        (Share::Bypass(why), _) => (Of::Nobody, nobodys(why.as_str())),
    };
    let credentials = flow.rules.identity.credential_names(&head.headers);
    Entries { of, why: why.to_owned(), credentials }
}

/// Why the cache is not asked, in a sentence.
fn nobodys(why: &str) -> &'static str {
    match why {
        "route" => "the route says `bypass`, or nothing is cached without a route",
        "disabled" => "caching is switched off",
        "shadow" => "the route is in shadow mode",
        "draining" => "the process is stopping",
        "no-credential" => "`scope: user`, and the request carries no credential",
        "method" => "the method neither reads nor writes here",
        "request-body" => "a body that is no part of the key, or too large for one",
        "content-type" | "content-encoding" | "not-json" => "its content has no place in a key",
        "conditional" => "a POST with conditions: only its origin judges them",
        "upgrade" => "the two ends are joined",
        why if why.starts_with("path-") || why.starts_with("query-") => {
            "servers read the target in more than one way"
        }
        _ => "the cache is not asked",
    }
}

fn key(visit: &Visit<'_>, head: &Head, share: Share) -> Key {
    let (target, identity) = (visit.target, &visit.flow.rules.identity);
    let lines = |name: &http::HeaderName| -> Vec<String> {
        let lines = head.headers.get_all(name).iter();
        let is_secret = *name == http::header::COOKIE || identity.is_credential(name);
        let told = |value: &http::HeaderValue| match is_secret {
            true => "(a credential)".to_owned(),
            false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        };
        lines.map(told).collect()
    };
    let names = target.route.key.headers.iter();
    Key {
        scheme: target.scheme.as_str().to_owned(),
        host: target.authority.as_str().to_owned(),
        path: target.path.as_str().to_owned(),
        query: target.query.as_str().to_owned(),
        dropped: target.dropped(),
        credential: share.digest().is_some(),
        content: !visit.content().key().is_empty(),
        headers: names.map(|name| (name.to_string(), lines(name))).collect(),
    }
}

fn stored(visit: &Visit<'_>, head: &Head, entry: &Entry) -> Stored {
    let (life, now) = (visit.life(head, entry), visit.now);
    Stored {
        status: entry.response.status.as_u16(),
        bytes: entry.response.body.len() as u64,
        age: life.age(now).as_secs(),
        ttl: life.ttl(now),
        by: life.source().as_str().to_owned(),
        stale_while_revalidate: life.stale_while_revalidate().as_secs(),
        stale_if_error: life.stale_if_error().as_secs(),
        always_validate: life.always_validate(),
        softened: entry.softened().map(|since| now.mono.saturating_sub(since).as_secs()),
        hits: entry.hits(),
        part: entry.part().is_some(),
    }
}

/// The variants that are for others than who is served `own`.
fn variants(visit: &Visit<'_>, head: &Head, share: Share, own: Option<&Entry>) -> Option<Variants> {
    let key = visit.target.key(share, &head.headers, visit.content().key());
    let variants = visit.flow.store.variants(&key);
    let others = variants.iter().filter(|variant| own.is_none_or(|own| own.id() != variant.id()));
    let mut vary_by: Vec<String> = Vec::new();
    let mut count = 0;
    for variant in others {
        count += 1;
        let headers = variant.response.headers();
        let lines = headers.get_all(VARY).iter().filter_map(|line| line.to_str().ok());
        vary_by.extend(lines.flat_map(|line| line.split(',')).map(|name| name.trim().to_ascii_lowercase()));
    }
    // Whatever `Vary` says, with and without it are two.
    vary_by.push("origin".to_owned());
    vary_by.sort_unstable();
    vary_by.dedup();
    (count > 0).then_some(Variants { count, vary_by })
}

/// A tag as people write it; whose credential one stands for is nobody's business.
fn in_words(tag: &Tag) -> String {
    match tag.as_str().strip_prefix('\u{1}') {
        Some(own) if own.starts_with("credential:") => "credential".to_owned(),
        Some(own) => own.to_owned(),
        None => tag.as_str().to_owned(),
    }
}
