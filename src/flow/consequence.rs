//! What became of a write, and what follows from that: what is outdated, for how long, and what is fetched again.
//!
//! Invariant: the hard part is applied before the soft one, and both before anything is answered. It refuses to know how
//! the write was sent.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts as Head;
use http::{HeaderMap, Method, Response, StatusCode, Uri};

use crate::body::Body;
use crate::fault::{self, Fault};
use crate::flow::{ServerError, Shared, Visit};
use crate::invalidate::{Author, Invalidation, Source};
use crate::policy::outdate;
use crate::route::derive::{Followed, MAX_DERIVED};
use crate::route::host::Scheme;
use crate::route::path::Path;
use crate::route::reach::{Item, Reach};
use crate::route::table::Route;
use crate::route::tag::Tag;
use crate::route::write::{Named, Outdated};
use crate::route::written::{Content, Outcome, Written, groups};
use crate::store::entry::Entry;
use crate::store::position::{Hold, Mode};
use crate::store::ticket::FillTicket;
use crate::upstream::{self, Upgrade};

/// What a write is aimed at, and who wrote.
pub(crate) struct Target {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    /// As it came, for rules.
    pub(crate) path: String,
    query: Option<String>,
    scheme: Scheme,
    host: Arc<str>,
    tags: Vec<Tag>,
    /// The fields as the client sent them; none where no rule could ask for them.
    headers: HeaderMap,
    user: Option<String>,
    author: Author,
    route: Arc<Route>,
    /// For how long a write of which nobody hears may go on.
    timeout: Duration,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It had none.
    None,
    /// None, and the origin does not know the writer.
    Stranger,
    /// It is done.
    Known(StatusCode),
    /// Nobody knows.
    Unknown,
}

/// What follows from a write.
pub(crate) struct Consequences {
    hard: Invalidation,
    soft: Option<Invalidation>,
    /// Of what is dropped, what is fetched again if it was hot.
    refresh: Option<Reach>,
}

impl Effect {
    /// A 5xx says nothing about what was done before it; RFC 9111 §4.4 asks for nothing then, and so may the
    /// configuration.
    pub(crate) fn of(
        answer: &Result<Response<Body>, upstream::Error>,
        method: &Method,
        on_server_error: ServerError,
    ) -> Self {
        match answer.as_ref().map(Response::status) {
            Ok(status) if outdate::outdates_target(method, status) => Self::Known(status),
            Ok(status) if status.is_server_error() && on_server_error == ServerError::Invalidate => {
                Self::Unknown
            }
            Ok(StatusCode::UNAUTHORIZED) => Self::Stranger,
            Ok(_) => Self::None,
            Err(why) if why.never_sent() => Self::None,
            Err(_) if fault::is(Fault::UnknownOutcomeIgnored) => Self::None,
            // The origin may have it, or as much of it as is enough.
            Err(_) => Self::Unknown,
        }
    }
}

impl Target {
    /// That of a request that is about to be forwarded.
    pub(crate) fn of(visit: &Visit<'_>, head: &Head) -> Self {
        let (target, rules) = (visit.target, &visit.flow.rules);
        let forward = visit.forward_target();
        let may_ask = !rules.writes.is_empty();
        let author = visit.author(head);
        Self {
            method: head.method.clone(),
            uri: format!("http://{}{forward}", target.authority.as_str()).parse().unwrap_or_default(),
            path: target.path.as_str().to_owned(),
            query: forward.query().map(str::to_owned),
            scheme: target.scheme,
            host: target.authority.as_str().into(),
            tags: target.tags().into_vec(),
            headers: if may_ask { head.headers.clone() } else { HeaderMap::new() },
            user: may_ask.then(|| rules.identity.user(&head.headers)).flatten(),
            author,
            route: Arc::clone(target.route),
            timeout: visit.how(Upgrade::No).timeout,
        }
    }

    /// The same as rules see it, once it is over.
    pub(crate) fn written<'w>(
        &'w self,
        outcome: Outcome,
        request: &'w Content,
        response: &'w Content,
    ) -> Written<'w> {
        let (query, user) = (self.query.as_deref(), self.user.as_deref());
        Written { host: &self.host, query, headers: &self.headers, user, outcome, request, response }
    }

    /// What follows, now that it was answered or will not be; `ruled` asks the rules.
    pub(crate) fn consequences(
        &self,
        flow: &Shared,
        effect: Effect,
        answer: &Result<Response<Body>, upstream::Error>,
        ruled: impl FnOnce(Outcome) -> Outdated,
    ) -> Consequences {
        let headers = answer.as_ref().ok().map(Response::headers);
        // What the origin says is outdated is, whatever became of the rest.
        let groups = headers.filter(|_| !fault::is(Fault::GroupsForgotten)).map(groups).unwrap_or_default();
        let (outcome, hold) = match effect {
            Effect::None | Effect::Stranger => return self.ineffective(effect, groups),
            Effect::Known(status) => (Outcome::Known(status), Hold::Settle),
            Effect::Unknown => (Outcome::Unknown, Hold::For(self.timeout)),
        };
        let mut ruled = ruled(outcome);
        let own =
            self.tags.iter().cloned().chain(headers.into_iter().flat_map(|named| self.named(flow, named)));
        let own = own.filter(|_| !fault::is(Fault::TargetForgotten)).map(Item::Tag).collect::<Vec<_>>();
        // What follows from the target follows, unless every rule says that nothing does.
        let beside = if ruled.is_alone { &mut ruled.hard.alone } else { &mut ruled.hard.cascading };
        own.iter().for_each(|item| beside.add(item.clone()));
        let whose = self.author.tag().filter(|_| ruled.credential);
        groups.into_iter().chain(whose).for_each(|tag| ruled.hard.cascading.add(Item::Tag(tag)));
        let refresh = ruled.refresh.filter(|_| matches!(effect, Effect::Known(_))).map(|named| {
            let (mut reach, _) = together(flow, named, Derived::Now);
            own.into_iter().for_each(|item| reach.add(item));
            reach
        });
        let actor = match ruled.rules.as_slice() {
            [] => self.in_words(),
            rules => rules.join(", "),
        };
        let soft = (!ruled.soft.is_empty())
            .then(|| self.invalidation(flow, ruled.soft, (Mode::Soft, hold), actor.clone()));
        Consequences { hard: self.invalidation(flow, ruled.hard, (Mode::Hard, hold), actor), soft, refresh }
    }

    /// What follows from a write that the origin refused: what it says itself, and that it does not know the writer.
    fn ineffective(&self, effect: Effect, groups: Vec<Tag>) -> Consequences {
        let whose = self.author.tag().filter(|_| effect == Effect::Stranger);
        let source = if whose.is_some() { Source::Origin } else { Source::Write };
        let hold = if groups.is_empty() { Hold::None } else { Hold::Settle };
        let hard = Invalidation {
            reach: Reach::of(groups.into_iter().chain(whose)),
            hold,
            source,
            actor: self.in_words(),
            author: Some(self.author),
            ..Invalidation::default()
        };
        Consequences { hard, soft: None, refresh: None }
    }

    /// By method and route, as the audit list has it.
    fn in_words(&self) -> String {
        format!("{} {}", self.method, self.route.settings.template)
    }

    /// The paths that the answer names beside the target, on the same host.
    fn named(&self, flow: &Shared, headers: &HeaderMap) -> Vec<Tag> {
        let is_ours = |named: &str| flow.is_named(self.scheme, named, &self.host);
        let named = outdate::also_outdated(&self.uri, headers, &is_ours);
        named.iter().map(|path| Tag::path(&self.host, Path::of(path.path()).decoded())).collect()
    }

    fn invalidation(
        &self,
        flow: &Shared,
        named: Named,
        (mode, hold): (Mode, Hold),
        actor: String,
    ) -> Invalidation {
        let (reach, without_derived) = together(flow, named, Derived::Later);
        let (source, author) = (Source::Write, Some(self.author));
        Invalidation { reach, mode, hold, without_derived, source, actor, id: None, author }
    }
}

/// When what is derived is added.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Derived {
    Now,
    /// By whoever applies it, unless some of it is to be left alone.
    Later,
}

/// One reach out of both parts; true: what is derived is in it.
fn together(flow: &Shared, named: Named, derived: Derived) -> (Reach, bool) {
    let Named { cascading: mut reach, alone } = named;
    if derived == Derived::Later && alone.is_empty() {
        return (reach, false);
    }
    if flow.invalidator.settings().dependencies.extend(&mut reach) == Followed::TooMany {
        tracing::warn!(most = MAX_DERIVED, "too much is derived from what a write outdated: everything goes");
    }
    alone.items.into_iter().for_each(|item| reach.add(item));
    (reach, true)
}

impl Consequences {
    /// All that they reach, with what is derived from it.
    pub(crate) fn reach(self, flow: &Shared) -> Reach {
        let mut all = Reach::default();
        for Invalidation { mut reach, without_derived, .. } in std::iter::once(self.hard).chain(self.soft) {
            if !without_derived {
                flow.invalidator.settings().dependencies.extend(&mut reach);
            }
            reach.items.into_iter().for_each(|item| all.add(item));
        }
        all
    }

    /// Applies them. When this returns, they hold.
    pub(crate) async fn apply(self, flow: &Arc<Shared>) {
        let Self { hard, soft, refresh } = self;
        let mut reached = Vec::new();
        if !hard.reach.is_empty() {
            reached = flow.invalidator.apply(hard).await.reached;
        }
        follow(flow, soft, refresh, reached).await;
    }

    /// The same for a write that began with `began`, whose own answer would carry `kept`: with the ticket under which that
    /// may be stored.
    pub(crate) async fn apply_by(
        self,
        flow: &Arc<Shared>,
        began: &FillTicket,
        kept: &[Tag],
    ) -> Option<FillTicket> {
        let Self { hard, soft, refresh } = self;
        let (applied, renewed) = flow.invalidator.apply_by(hard, began, kept).await;
        // What the soft part reaches of `kept` refuses the fill: the gate looks at the ticket again.
        follow(flow, soft, refresh, applied.reached).await;
        renewed
    }
}

async fn follow(
    flow: &Arc<Shared>,
    soft: Option<Invalidation>,
    refresh: Option<Reach>,
    mut reached: Vec<Arc<Entry>>,
) {
    if let Some(soft) = soft {
        reached.extend(flow.invalidator.apply(soft).await.reached);
    }
    if let Some(refresh) = refresh {
        flow.refresh(&reached, &refresh);
    }
}

impl Shared {
    /// Whether `named` is another name of our `authority`.
    pub(crate) fn is_named(&self, scheme: Scheme, named: &str, authority: &str) -> bool {
        let named = self.rules.hosts.resolve(scheme, named);
        named.is_ok_and(|named| named.as_str() == authority)
    }
}
