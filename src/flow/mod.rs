//! The walk of one request, from the route to the answer.
//!
//! ```text
//! named → target (route, canonical path and query) → share → plan ─┬ read   (content,) lookup, policy, coalesce, fetch, store
//!                                                                  ├ write  forward, outdate, answer
//!                                                                  ├ pass   forward
//!                                                                  ├ shadow forward, and note what a read would have been
//!                                                                  ├ hook   receive, outdate, answer
//!                                                                  ├ purge  outdate, answer
//!                                                                  └ tunnel forward, join the two ends
//! ```
//! It alone turns errors of the rooms into statuses.

mod adopt;
pub mod again;
mod arriving;
mod client;
pub mod coalesce;
mod collect;
pub mod compare;
pub(crate) mod consequence;
mod content;
mod cost;
pub mod demotion;
mod egress;
mod ending;
pub mod explain;
mod fetch;
mod handling;
mod head;
pub mod hook;
pub mod identities;
pub mod in_force;
mod ingress;
mod interim;
#[cfg(test)]
mod interleavings;
mod lesson;
mod observed;
mod origin;
mod part;
mod pass;
mod plan;
pub mod problem;
mod promoted;
pub mod purge;
pub mod put;
mod questions;
mod read;
mod record;
mod refresh;
mod relay;
mod serve;
mod shadow;
#[cfg(test)]
mod simulation;
mod standing;
pub mod switch;
pub(crate) mod tagging;
mod tunnel;
mod variant;
mod verdict;
mod warming;
mod write;

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::request::Parts as Head;
use http::uri::PathAndQuery;
use http::{HeaderValue, StatusCode, Version, header};
use tokio::sync::Semaphore;

use crate::access_log::AccessLog;
use crate::body::Body;
use crate::clock::{Clock, Now};
use crate::drain::Watch;
use crate::flow::arriving::Landing;
pub use crate::flow::client::Client;
use crate::flow::coalesce::Flights;
use crate::flow::content::Content;
use crate::flow::cost::Costs;
use crate::flow::demotion::Demotions;
pub use crate::flow::handling::Handling;
use crate::flow::identities::Identities;
use crate::flow::ingress::{Named, Refusal};
use crate::flow::plan::Plan;
use crate::flow::questions::Questions;
use crate::flow::serve::Answer;
use crate::flow::switch::Switches;
use crate::guard::Interim;
use crate::invalidate::hooks::Hooks;
use crate::invalidate::{Invalidation, Invalidator, Source};
use crate::metrics::{Cache, CacheState, Metrics};
use crate::process;
use crate::route::host::Scheme;
use crate::route::reach::Reach;
use crate::route::share::Share;
use crate::route::tag::Tag;
use crate::route::target::{Rules, Target};
use crate::store::Store;
use crate::tier::Tier;
use crate::token::Keyring;
use crate::traces::{Trace, Traces};
use crate::upstream::{self, How, Upgrade, Upstream};

/// How requests are treated, whatever their route.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `enabled: false` passes everything through.
    pub enabled: bool,
    /// Peers whose `X-Forwarded-*` are believed (`trusted_proxies`).
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// WebSocket upgrades pass (`upgrades: websocket`, the default) or none do (`upgrades: off`).
    pub upgrades: bool,
    /// Whether the front door speaks TLS: warming fills what its clients will find.
    pub tls: bool,
    /// `limits.upstream_timeout`; a route may have its own.
    pub timeout: Duration,
    /// What a write that the origin answers with 5xx does.
    pub on_server_error: ServerError,
}

/// What a write that the origin answers with 5xx does to what it is aimed at (`invalidation.on_server_error`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerError {
    /// Outdates it: nobody knows what was done before the error (default).
    Invalidate,
    /// Nothing, as RFC 9111 §4.4 has it.
    Keep,
}

/// What the walk is made of.
pub struct Parts {
    /// How requests are treated.
    pub settings: Settings,
    /// Routes, hosts, and what counts as a credential.
    pub rules: Rules,
    /// What is kept.
    pub store: Arc<Store>,
    /// What other nodes keep; `None`: there are none.
    pub tier: Option<Tier>,
    /// Through whom it is outdated.
    pub invalidator: Invalidator,
    /// Who tells from outside what is outdated.
    pub hooks: Hooks,
    /// The origin.
    pub upstream: Upstream,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where requests leave their line.
    pub log: AccessLog,
    /// Where their traces begin.
    pub traces: Traces,
    /// The time.
    pub clock: Clock,
    /// When what is still open is cut.
    pub drain: Watch,
    /// Who may purge.
    pub keys: Arc<Keyring>,
}

/// The walk. Cheap to clone.
#[derive(Clone)]
pub struct Flow(Arc<ArcSwap<Shared>>);

/// The walk by one configuration.
pub(crate) struct Shared {
    pub(crate) parts: Arc<Parts>,
    pub(crate) lasting: Arc<Lasting>,
    /// Whether another one is in force.
    is_over: AtomicBool,
}

/// What is on its way, and what is known, whatever the configuration.
pub(crate) struct Lasting {
    pub(crate) flights: Arc<Flights<Landing>>,
    /// Room for contents of requests that are read before they are answered.
    pub(crate) contents: content::Room,
    /// A turn for each body that is searched.
    pub(crate) searches: Semaphore,
    /// How much of what writes dropped is fetched again at once.
    pub(crate) refreshes: refresh::Room,
    /// Public routes whose origin asked for a credential; they are `auto` from then on.
    demoted: Demotions,
    /// What is not cached for now.
    pub(crate) switches: Arc<Switches>,
    /// Who was here lately, if somebody wants to know.
    pub(crate) identities: OnceLock<Identities>,
    questions: OnceLock<Questions>,
    /// What the origin charges.
    costs: Costs,
}

impl std::ops::Deref for Shared {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

/// One request on its walk.
pub(crate) struct Visit<'a> {
    pub(crate) flow: &'a Arc<Shared>,
    pub(crate) client: Client,
    pub(crate) target: &'a Target<'a>,
    pub(crate) now: Now,
    /// What it is in a trace.
    pub(crate) trace: Trace,
    /// Where interim answers to what it asks the origin go; `None`: nowhere.
    interim: Option<Interim>,
    request_id: OnceLock<String>,
    /// What a read by content asks with, once it is there.
    content: OnceLock<Content>,
}

impl Flow {
    /// What the walk is made of.
    pub fn parts(&self) -> Arc<Parts> {
        Arc::clone(&self.0.load().parts)
    }

    /// The client at the other end of a connection.
    pub fn client(&self, peer: SocketAddr, tls: bool) -> Client {
        let shared = self.in_force();
        Client::at(peer.ip(), tls, &shared.settings.trusted_proxies)
    }

    /// What the cache is like now.
    pub fn state(&self) -> CacheState {
        let shared = self.in_force();
        let now = shared.clock.mono();
        let (entries, bytes) = shared.store.size(now);
        let is_disabled = !shared.lasting.switches.list(now).is_empty() || !shared.settings.enabled;
        CacheState { entries, bytes, is_disabled, resident: process::resident() }
    }

    /// Whether the origin can be connected to now.
    ///
    /// # Errors
    /// Why it cannot.
    pub async fn probe(&self) -> Result<(), upstream::Error> {
        let shared = self.in_force();
        shared.upstream.probe().await
    }
}

impl Shared {
    /// The answer to a request that needs no origin: a refusal, or a read from what is kept.
    fn at_once(self: &Arc<Self>, head: &Head, body: &Body, client: Client, now: Now) -> Option<Answer> {
        let client = client.told_by(&head.headers, &self.settings.trusted_proxies);
        let refuse = |refusal| Some(self.refuse(&refusal, head, &client, now));
        let named = match Named::by(head) {
            Ok(named) => named,
            Err(refusal) => return refuse(refusal),
        };
        let target = match self.target(&named, &client) {
            Ok(target) => target,
            Err(refusal) => return refuse(refusal),
        };
        let visit = Visit::new(self, client, &target, head, now, self.begin(head, &client));
        let Plan::Read(share) = visit.plan(head, body) else { return None };
        let answer = read::from_store(&visit, head, share).ok()?;
        Some(record::Visitor::of(&visit, head, body, &named).record(answer))
    }

    /// The walk of a request that may have to wait for the origin.
    pub(crate) async fn walk(
        self: Arc<Self>,
        head: Head,
        body: Body,
        client: Client,
        interim: Option<Interim>,
        now: Now,
    ) -> Answer {
        let client = client.told_by(&head.headers, &self.settings.trusted_proxies);
        let named = match Named::by(&head) {
            Ok(named) => named,
            Err(refusal) => return self.refuse(&refusal, &head, &client, now),
        };
        let target = match self.target(&named, &client) {
            Ok(target) => target,
            Err(refusal) => return self.refuse(&refusal, &head, &client, now),
        };
        let trace = self.begin(&head, &client);
        let visit = Visit { interim, ..Visit::new(&self, client, &target, &head, now, trace) };
        let visitor = record::Visitor::of(&visit, &head, &body, &named);
        let answer = match visit.plan(&head, &body) {
            Plan::Read(share) => read::read(&visit, &head, share).await,
            Plan::ReadByContent(share) => content::read(&visit, head, body, share).await,
            Plan::Shadow(share) => shadow::read(&visit, &head, body, share).await,
            Plan::Write => write::write(&visit, head, body).await,
            Plan::Hook => hook::receive(&visit, head, body).await,
            Plan::Pass(why) => pass::pass(&visit, head, body, why).await,
            Plan::Tunnel => tunnel::open(&visit, head, body).await,
            Plan::Purge => purge::purge(&visit, &head).await,
        };
        visitor.record(answer)
    }

    fn target<'a>(&'a self, named: &'a Named, client: &Client) -> Result<Target<'a>, Refusal> {
        let scheme = if client.tls { Scheme::Https } else { Scheme::Http };
        let authority = named.authority().unwrap_or(self.rules.hosts.canonical_name());
        Ok(self.rules.target(scheme, authority, named.path(), named.query())?)
    }
}

impl<'a> Visit<'a> {
    fn new(
        flow: &'a Arc<Shared>,
        client: Client,
        target: &'a Target<'a>,
        head: &Head,
        now: Now,
        trace: Trace,
    ) -> Self {
        let known = egress::known_request_id(&head.headers, &client);
        let request_id = known.map_or_else(OnceLock::new, OnceLock::from);
        Self { flow, client, target, now, trace, interim: None, request_id, content: OnceLock::new() }
    }
}

impl Visit<'_> {
    /// Whose entries the request may use, now.
    pub(crate) fn share(&self, head: &Head) -> Share {
        let route = self.target.route;
        let demoted = self.flow.is_demoted(route.index);
        self.flow.rules.identity.share(route.settings.rule.scope, demoted, &head.headers)
    }

    /// The tag of every entry that the request's credentials open.
    pub(crate) fn whose(&self, head: &Head) -> Option<Tag> {
        let digest = self.flow.rules.identity.digest(&head.headers)?;
        Some(Tag::credential(&digest))
    }

    /// What the request asks with beside its head; empty for what asks by its target alone.
    pub(crate) fn content(&self) -> &Content {
        self.content.get().unwrap_or(&content::NONE)
    }

    /// What a fill asks the origin for: exactly what the key holds.
    pub(crate) fn fill_target(&self) -> PathAndQuery {
        self.target.fill().unwrap_or_else(|_| PathAndQuery::from_static("/"))
    }

    /// What a request that is not cached asks the origin for.
    pub(crate) fn forward_target(&self) -> PathAndQuery {
        self.target.pass().unwrap_or_else(|_| PathAndQuery::from_static("/"))
    }

    /// Names the request in logs here and at the origin: a trusted proxy's name for it, or one of our own.
    pub(crate) fn request_id(&self) -> &str {
        self.request_id.get_or_init(egress::request_id)
    }

    /// How the origin is asked.
    pub(crate) fn how(&self, upgrade: Upgrade) -> How {
        let route = &self.target.route.settings;
        How {
            timeout: route.timeout.unwrap_or(self.flow.settings.timeout),
            priority: self.client.priority,
            hold: route.entry,
            upgrade,
            interim: self.interim.clone().map(|interim| interim::passed_on(interim, self.target.route)),
            permit: None,
        }
    }
}

impl Shared {
    /// Drops what is kept for credentials that the origin has answered with 401.
    pub(crate) async fn forget(&self, whose: Option<&Tag>, status: StatusCode) {
        if status == StatusCode::UNAUTHORIZED
            && let Some(tag) = whose
        {
            let (reach, source) = (Reach::of([tag.clone()]), Source::Origin);
            self.invalidator.apply(Invalidation { reach, source, ..Invalidation::default() }).await;
        }
    }

    fn refuse(&self, refusal: &Refusal, head: &Head, client: &Client, now: Now) -> Answer {
        self.metrics.refused(refusal.reason);
        let response = match refusal.status {
            StatusCode::METHOD_NOT_ALLOWED => problem::method_not_allowed(refusal.detail),
            status => problem::answer(status, refusal.detail),
        };
        let error = Some(refusal.reason);
        let mut answer = Answer { error, ..Answer::plain(response, Cache::Bypass, error) };
        if refusal.status == StatusCode::BAD_REQUEST && head.version < Version::HTTP_2 {
            // Whatever comes behind it on this connection is not to be trusted either.
            answer.response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        record::refused(self, head, client, now, &answer);
        answer
    }
}
