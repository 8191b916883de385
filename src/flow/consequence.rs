//! What became of a write, and what follows from that: what is outdated, for how long, and what is fetched again.
//!
//! Invariant: the hard part is applied before the soft one, and both before anything is answered. It refuses to know how
//! the write was sent.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts as Head;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri};

use crate::body::Body;
use crate::fault::{self, Fault};
use crate::flow::ending::Ending;
use crate::flow::{ServerError, Shared, Visit};
use crate::invalidate::applied::{Ack, Reached};
use crate::invalidate::intent::Intent;
use crate::invalidate::raw::Raw;
use crate::invalidate::{Applied, Author, Invalidation, Source};
use crate::policy::outdate;
use crate::route::host::Scheme;
use crate::route::reach::{Item, Reach};
use crate::route::table::Route;
use crate::route::tag::Tag;
use crate::route::write::{Matches, Named, Outdated};
use crate::route::written::{Content, Outcome, Written, groups};
use crate::store::position::{Hold, Mode};
use crate::store::ticket::FillTicket;
use crate::upstream::{self, Repeated, Upgrade};

/// Whether what a write outdated holds on every node of the fleet: `applied`, `broadcast`, or `unconfirmed`.
const LARDER_ACK: HeaderName = HeaderName::from_static("larder-ack");

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
    /// The entries that are his alone.
    own: Vec<Tag>,
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
#[derive(Clone)]
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
        let is_repeated =
            answer.as_ref().is_ok_and(|response| response.extensions().get::<Repeated>().is_some());
        match answer.as_ref().map(Response::status) {
            // A 404 to the second copy of a DELETE may be the first one's doing.
            Ok(status) if is_repeated && !outdate::outdates_target(method, status) => Self::Unknown,
            Ok(status) => Self::of_status(status, method, on_server_error),
            Err(why) if why.never_sent() => Self::None,
            // The origin may have it, or as much of it as is enough.
            Err(_) => Self::Unknown,
        }
    }

    /// The same of a write that was answered.
    pub(crate) fn of_status(status: StatusCode, method: &Method, on_server_error: ServerError) -> Self {
        match status {
            _ if outdate::outdates_target(method, status) => Self::Known(status),
            _ if status.is_server_error() && on_server_error == ServerError::Invalidate => Self::Unknown,
            StatusCode::UNAUTHORIZED => Self::Stranger,
            _ => Self::None,
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
        // He may read with what he writes with, or with less.
        let mut own: Vec<Tag> = visit.whose(head).into_iter().chain(author.tag()).collect();
        own.dedup();
        Self {
            method: head.method.clone(),
            uri: target.forwarded(),
            path: target.path.as_str().to_owned(),
            query: forward.query().map(str::to_owned),
            scheme: target.scheme,
            host: target.authority.as_str().into(),
            tags: target.tags().into_vec(),
            headers: if may_ask { head.headers.clone() } else { HeaderMap::new() },
            user: may_ask.then(|| rules.identity.user(&head.headers)).flatten(),
            author,
            own,
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

    /// Says to the fleet what it will outdate, as far as the request tells, if nobody can say what became of it; `None`: this
    /// node is alone.
    pub(crate) fn intend(&self, flow: &Shared, matches: &Matches<'_>) -> Option<Intent> {
        flow.invalidator.fleet()?;
        let none = Content::Unread;
        let unknown = Err(upstream::Error::Closed);
        let follows = self.consequences(flow, Effect::Unknown, &unknown, |outcome| {
            matches.outdated(&self.written(outcome, &none, &none))
        });
        follows.intend(flow, self.timeout)
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
            Effect::Unknown if fault::is(Fault::UnknownOutcomeIgnored) => {
                return self.ineffective(effect, groups);
            }
            Effect::Unknown => (Outcome::Unknown, Hold::For(self.timeout)),
        };
        let mut ruled = ruled(outcome);
        let named =
            headers.map(|answer| flow.rules.also_outdated(self.scheme, (&self.uri, &self.host), answer));
        let own = self.tags.iter().cloned().chain(named.unwrap_or_default());
        let own = own.filter(|_| !fault::is(Fault::TargetForgotten)).map(Item::Tag).collect::<Vec<_>>();
        ruled.add_target(&own);
        let whose = if ruled.credential { &self.own[..] } else { &[] };
        let beside = groups.into_iter().chain(whose.iter().cloned());
        beside.for_each(|tag| ruled.hard.cascading.add(Item::Tag(tag)));
        let refresh = ruled.refresh.filter(|_| matches!(effect, Effect::Known(_))).map(|named| {
            let mut reach = together(flow, named.cascading, named.alone);
            own.into_iter().for_each(|item| reach.add(item));
            reach
        });
        let actor = match ruled.rules.as_slice() {
            [] => self.in_words(),
            rules => rules.join(", "),
        };
        let soft = (!ruled.soft.is_empty())
            .then(|| self.invalidation(ruled.soft, (Mode::Soft, hold), actor.clone()));
        let raw = self.raw(outcome);
        // What is fetched by now may have tags by other rules, and they say as well what it outdates.
        let others = flow.is_over().then(|| raw.expanded(&flow.invalidator.settings(), Some(self.author)));
        others.into_iter().flat_map(|said| said.items).for_each(|item| ruled.hard.cascading.add(item));
        let raw = flow.invalidator.fleet().map(|_| raw);
        let hard = Invalidation { raw, ..self.invalidation(ruled.hard, (Mode::Hard, hold), actor) };
        Consequences { hard, soft, refresh }
    }

    /// What other nodes make of it by their own rules.
    fn raw(&self, outcome: Outcome) -> Raw {
        Raw::Write {
            method: self.method.to_string(),
            host: Arc::clone(&self.host),
            path: self.path.clone(),
            query: self.query.clone(),
            user: self.user.clone(),
            status: match outcome {
                Outcome::Known(status) => Some(status.as_u16()),
                Outcome::Unknown => None,
            },
        }
    }

    /// What follows from a write that the origin refused: what it says itself, and that it does not know the writer.
    fn ineffective(&self, effect: Effect, groups: Vec<Tag>) -> Consequences {
        let whose = if effect == Effect::Stranger { &self.own[..] } else { &[] };
        let source = if whose.is_empty() { Source::Write } else { Source::Origin };
        let hold = if groups.is_empty() { Hold::None } else { Hold::Settle };
        let hard = Invalidation {
            reach: Reach::of(groups.into_iter().chain(whose.iter().cloned())),
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

    fn invalidation(&self, named: Named, (mode, hold): (Mode, Hold), actor: String) -> Invalidation {
        let Named { cascading: reach, alone } = named;
        let (source, author) = (Source::Write, Some(self.author));
        Invalidation { reach, alone, mode, hold, source, actor, author, ..Invalidation::default() }
    }
}

/// All of it, with what is derived from what does not stand alone.
fn together(flow: &Shared, cascading: Reach, alone: Reach) -> Reach {
    let mut all = cascading;
    flow.invalidator.settings().dependencies.extend(&mut all);
    alone.items.into_iter().for_each(|item| all.add(item));
    all
}

impl Consequences {
    /// All that they reach, with what is derived from it.
    pub(crate) fn reach(self, flow: &Shared) -> Reach {
        let mut all = Reach::default();
        for Invalidation { reach, alone, .. } in std::iter::once(self.hard).chain(self.soft) {
            together(flow, reach, alone).items.into_iter().for_each(|item| all.add(item));
        }
        all
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.hard.reach.is_empty() && self.hard.alone.is_empty() && self.soft.is_none()
    }

    /// The same if nobody knows what became of the write, for as long as it may yet go on.
    pub(crate) fn unknown(mut self, patience: Duration) -> Self {
        let hold = Hold::For(patience);
        self.hard.hold = hold;
        if let Some(soft) = &mut self.soft {
            soft.hold = hold;
        }
        Self { refresh: None, ..self }
    }

    /// Says to the fleet what an unknown outcome of a write outdates, which is what these are; `None`: this node is alone.
    pub(crate) fn intend(self, flow: &Shared, patience: Duration) -> Option<Intent> {
        flow.invalidator.intend(self.hard, self.soft, patience)
    }

    /// Whether it is known what became of the write.
    fn is_known(&self) -> bool {
        !matches!(self.hard.hold, Hold::For(_))
    }

    /// Applies them, and with the last of them says the end of the write that was intended. When this returns, they hold, as far
    /// as it says.
    pub(crate) async fn apply(self, flow: &Arc<Shared>, intent: Option<Intent>) -> Ack {
        let mut dropped = Dropped::default();
        if self.is_empty() {
            intent.into_iter().for_each(Intent::close);
            return dropped.ack;
        }
        let (now, later) = self.share(intent);
        let Self { hard, soft, refresh } = self;
        if !hard.reach.is_empty() || !hard.alone.is_empty() {
            let ends = now.map(|intent| intent.ends(hard.hold));
            dropped.add(flow.invalidator.apply_of(hard, ends).await);
        }
        dropped.follow(flow, (soft, later), refresh).await
    }

    /// With which part the intent ends: the last one, or the hard one if the outcome is unknown, for that stands in its place.
    fn share(&self, intent: Option<Intent>) -> (Option<Intent>, Option<Intent>) {
        let has_hard = !self.hard.reach.is_empty() || !self.hard.alone.is_empty();
        if has_hard && (self.soft.is_none() || !self.is_known()) { (intent, None) } else { (None, intent) }
    }

    /// Applies them to the answer of `target`, of which the head has come: what leaves from now on may be told.
    pub(crate) async fn conclude(
        self,
        flow: &Arc<Shared>,
        target: &Target,
        response: Response<Body>,
        intent: Option<Intent>,
    ) -> Response<Body> {
        let ending = Ending::of(flow, &self, &response, target.route.settings.settle, target.timeout);
        let is_silent = self.is_empty();
        // What it outdates is known for certain when the answer has ended.
        let goes_on = ending.is_some() && self.is_known();
        let (now, later) = if goes_on { (None, intent) } else { (intent, None) };
        let ack = self.apply(flow, now).await;
        let response = if is_silent { response } else { told(flow, ack, response) };
        match ending {
            Some(ending) => ending.of_intent(later, ack).watched(response),
            None => response,
        }
    }

    /// The same for a write that began with `began`, whose own answer would carry `kept`: with the ticket under which that
    /// may be stored.
    pub(crate) async fn apply_by(
        self,
        flow: &Arc<Shared>,
        adopts: (&FillTicket, &[Tag]),
        intent: Option<Intent>,
    ) -> (Ack, Option<FillTicket>) {
        let (now, later) = self.share(intent);
        let Self { hard, soft, refresh } = self;
        let ends = now.map(|intent| intent.ends(hard.hold));
        let (applied, renewed) = flow.invalidator.apply_by(hard, adopts, ends).await;
        let mut dropped = Dropped::default();
        dropped.add(applied);
        // What the soft part reaches of `kept` refuses the fill: the gate looks at the ticket again.
        (dropped.follow(flow, (soft, later), refresh).await, renewed)
    }
}

/// What was applied so far of what follows from a write.
struct Dropped {
    reached: Vec<Reached>,
    ack: Ack,
}

impl Default for Dropped {
    fn default() -> Self {
        Self { reached: Vec::new(), ack: Ack::Applied }
    }
}

impl Dropped {
    fn add(&mut self, applied: Applied) {
        self.reached.push(applied.reached);
        match (self.ack, applied.ack) {
            (_, Ack::Applied) | (Ack::Unconfirmed(_), Ack::Broadcast) => {}
            (_, less) => self.ack = less,
        }
    }

    /// The rest of it.
    async fn follow(
        mut self,
        flow: &Arc<Shared>,
        (soft, intent): (Option<Invalidation>, Option<Intent>),
        refresh: Option<Reach>,
    ) -> Ack {
        if let Some(soft) = soft {
            let ends = intent.map(|intent| intent.ends(soft.hold));
            self.add(flow.invalidator.apply_of(soft, ends).await);
        }
        if let Some(refresh) = refresh {
            flow.refresh(self.reached, refresh);
        }
        self.ack
    }
}

/// An answer that says whether what follows from it holds on every node of the fleet, if there is one.
pub(crate) fn told(flow: &Shared, ack: Ack, mut response: Response<Body>) -> Response<Body> {
    if flow.invalidator.fleet().is_some() {
        response.headers_mut().insert(LARDER_ACK, HeaderValue::from_static(ack.as_str()));
    }
    response
}
