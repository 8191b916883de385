//! One fetch of a read, on its flight: asks the origin, and judges what comes back.
//!
//! Invariant: the ticket is taken before the origin is touched, and before anything stored is built on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, ETAG, RANGE};
use http::request::Parts as Head;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::sync::oneshot;

use crate::body::Body;
use crate::fault::{self, Fault};
use crate::flow::arriving::{Flight, Landing, Own, Whence};
use crate::flow::coalesce::Departure;
use crate::flow::demotion::asks_for_login;
use crate::flow::identities::Person;
use crate::flow::lesson::Lesson;
use crate::flow::part::{self, Wanted};
use crate::flow::tagging::Tagging;
use crate::flow::{Shared, Visit, egress, pass};
use crate::policy::freshen::{self, NotFreshened};
use crate::policy::range::Asked;
use crate::policy::represent::{Posted, represents_target};
use crate::policy::validate::{self, Conditional, Proof};
use crate::policy::{NoStore, RequestHead, ResponseTimes, Selector, Storable, fields};
use crate::route::Reads;
use crate::route::key::Key;
use crate::route::share::Share;
use crate::route::table::Route;
use crate::store::Found;
use crate::store::entry::Entry;
use crate::store::memory::{Refusal, Stage};
use crate::store::ticket::FillTicket;
use crate::traces::Trace;
use crate::upstream::{self, How, Priority, Upgrade, Urgency};

/// How long an uncacheable answer lets everyone fetch for himself.
pub(crate) const UNCACHEABLE_FOR: Duration = Duration::from_secs(60);
/// The same after a server error: it may be over soon.
const FAILING_FOR: Duration = Duration::from_secs(1);

/// A read that goes to the origin.
pub(crate) struct Fetch {
    pub(crate) flow: Arc<Shared>,
    pub(crate) route: Arc<Route>,
    share: Share,
    request: Request<Bytes>,
    /// What a variant is chosen by.
    pub(crate) selecting: HeaderMap,
    pub(crate) how: How,
    /// Whether it carries no credential because the route is public, whatever the client sent.
    for_the_public: bool,
    /// The entry that the request's conditions are about.
    pub(crate) base: Option<Arc<Entry>>,
    /// What a 304 has to prove; `None`: there are no conditions, and it confirms nothing.
    pub(crate) condition: Option<Proof>,
    /// What follows if the answer may not be kept.
    lesson: Lesson,
    /// How much of the representation is asked for.
    pub(crate) wanted: Wanted,
    /// What the request says of the tags of its answer.
    pub(crate) tagging: Arc<Tagging>,
    /// Whether a write brings the answer: whatever is stored before it is whole was fetched after it.
    pub(crate) of_a_write: bool,
    /// Whether another node's answer would do.
    pub(crate) asks_others: bool,
    /// Whose question it is.
    pub(crate) trace: Trace,
    /// How urgent its flight is.
    pub(crate) urgency: Urgency,
    /// Who is remembered if it brings something of his own.
    pub(crate) person: Option<Person>,
}

impl Fetch {
    /// Writes the request to the origin: the whole representation, in the name of those who will share it.
    pub(crate) fn new(
        visit: &Visit<'_>,
        head: &Head,
        selecting: &HeaderMap,
        share: Share,
        base: Option<Arc<Entry>>,
    ) -> Self {
        let route = visit.target.route;
        let mut request = Request::new(visit.content().bytes());
        if route.settings.reads(&head.method) == Reads::ByContent {
            *request.method_mut() = head.method.clone();
        }
        *request.uri_mut() = visit.fill_target().into();
        *request.headers_mut() = egress::fill(visit, &head.headers, share);
        Self {
            flow: Arc::clone(visit.flow),
            route: Arc::clone(route),
            share,
            request,
            selecting: selecting.clone(),
            how: visit.how(Upgrade::No),
            for_the_public: visit.is_for_the_public(),
            base,
            condition: None,
            lesson: Lesson::of(visit, head, share),
            wanted: Wanted::Whole,
            tagging: Arc::new(Tagging::of(&visit.flow.rules, visit.target, &head.headers, share)),
            of_a_write: false,
            asks_others: false,
            trace: visit.trace.clone(),
            urgency: Urgency::of(visit.client.priority),
            person: visit.person(&head.headers, share),
        }
    }

    /// Whether it would ask only for what has changed, if it flew now.
    pub(crate) fn would_be_conditional(mut self) -> bool {
        self.ask_for_confirmation();
        self.condition.is_some()
    }

    /// For one client, who wants this part and no more.
    pub(crate) fn for_part(mut self, asked: Asked) -> Self {
        self.request.headers_mut().insert(RANGE, asked.to_value());
        self.wanted = Wanted::Part;
        self
    }

    /// Behind the clients who wait, and with nobody who hears of interim answers.
    pub(crate) fn in_background(mut self) -> Self {
        self.how.interim = None;
        self.how.priority = self.how.priority.max(Priority::Revalidation);
        self
    }

    /// Flies: `own` gets the answer for the one who asked, `departure` what everyone else may know of it.
    pub(crate) async fn fly(mut self, mut departure: Departure<Landing>, own: oneshot::Sender<Own>) {
        self.urgency = departure.hasten(self.how.priority);
        departure.cleared().await;
        if let Some(entry) = self.stored_meanwhile(&departure) {
            return departure.land(Landing::Entry(entry, Whence::Found));
        }
        departure.learn(self.tagging.known().iter().cloned(), false);
        departure.say(&self.trace);
        let ticket = departure.depart(self.flow.store.ticket(self.flow.clock.mono()));
        if let Some(entry) = self.told(&departure, ticket).await {
            return departure.land(Landing::Entry(entry, Whence::Told));
        }
        self.ask_for_confirmation();
        self.build_on_a_part(departure.key());
        match self.exchange().await {
            Ok((response, times)) => {
                let took = times.received.mono.saturating_sub(times.requested.mono);
                let flight = Flight { departure: &departure, ticket, own: Some(own), took };
                self.receive(flight, response, times).await;
            }
            Err(error) => departure.land(Landing::Failed(Arc::new(error))),
        }
    }

    /// Lands with what a write was answered, which `storable` lets stand for what a fill would have brought.
    pub(crate) async fn adopt(
        mut self,
        departure: Departure<Landing>,
        ticket: FillTicket,
        (mut response, storable, took): (Response<Body>, Storable, Duration),
        own: oneshot::Sender<Own>,
    ) {
        let ticket = departure.depart(ticket);
        let mut flight = Flight { departure: &departure, ticket, own: Some(own), took };
        self.of_a_write = true;
        let selector = self.select(&response);
        fields::strip_hop_by_hop(response.headers_mut());
        match selector {
            Ok(selector) => self.collect(flight, response, storable, selector).await,
            Err(why) => flight.alone(response, why),
        }
    }

    /// Makes the request conditional, if there is something to confirm. To be called when the ticket is there: what was
    /// outdated before it must not be revived by a 304 under it, and what is outdated after it the gate refuses.
    ///
    /// | entry | flight | what keeps the promise |
    /// |---|---|---|
    /// | dies | takes its ticket | no condition: the answer will be whole |
    /// | | takes its ticket, asks with a condition | |
    /// | dies | gets a 304, makes a new entry under the ticket | the floor is above the ticket: refused |
    /// | is softened | takes its ticket | conditional on the origin's strong entity tag, or not at all |
    /// | is about to be reached by a sweep under way | takes its ticket, at that floor or above | no condition: nothing would refuse the 304 |
    pub(crate) fn ask_for_confirmation(&mut self) {
        self.base = self.base.take().filter(|base| self.flow.store.may_build_on(base));
        // RFC 9110 §13.1.2: what would be a 304 to a GET is a 412 to a POST.
        let base = self.base.as_ref().filter(|_| self.request.method() != Method::POST);
        if let Some(base) = base {
            let (stored, proof) = (base.response.origin_headers(), proof(base));
            let made = validate::make_conditional(self.request.headers_mut(), &stored, proof);
            self.condition = (made == Conditional::Yes).then_some(proof);
        }
    }

    /// A stored beginning saves its bytes. It is looked for under the ticket: what outdates it later refuses the fill.
    fn build_on_a_part(&mut self, key: &Key) {
        if self.base.is_none() && matches!(self.wanted, Wanted::Whole) {
            let (flow, route) = (&self.flow, &self.route);
            self.wanted = part::rest(flow, route, key, &self.selecting, self.request.headers_mut());
        }
    }

    /// Check again on the flight: the one before may have landed between the lookup and the joining.
    fn stored_meanwhile(&self, departure: &Departure<Landing>) -> Option<Arc<Entry>> {
        if self.base.is_some() || matches!(self.wanted, Wanted::Part) {
            return None;
        }
        let now = self.flow.clock.now();
        let found = self.flow.lookup(&self.selecting, departure.key(), now.mono);
        let Found::Entry(entry) = found else { return None };
        let is_sound = entry.softened().is_none() && !entry.life.always_validate();
        (is_sound && entry.life.is_fresh(now)).then_some(entry)
    }

    async fn exchange(&mut self) -> Result<(Response<Body>, ResponseTimes), upstream::Error> {
        let (requested, request) = (self.flow.clock.now(), self.request.clone().map(Body::from));
        let response = self.ask(request).await?;
        let received = self.flow.clock.now();
        self.flow.charged(self.route.index, received.mono.saturating_sub(requested.mono));
        Ok((response, ResponseTimes { requested, received }))
    }

    async fn receive(
        mut self,
        mut flight: Flight<'_>,
        mut response: Response<Body>,
        mut times: ResponseTimes,
    ) {
        let mut of_another = self.wanted.complete(&mut response).is_err();
        // What it is built on is part of what it depends on.
        if let Wanted::Rest(beginning) = &self.wanted {
            flight.departure.learn(beginning.tags().iter().cloned(), false);
        }
        if response.status() == StatusCode::NOT_MODIFIED && self.base.is_some() {
            match self.confirm(&flight, response.headers(), times) {
                Ok(landing) => return flight.departure.land(landing),
                Err(NotFreshened::NoStore(why)) => {
                    return self.confirm_unstored(flight, response.headers(), why.as_str());
                }
                Err(NotFreshened::OtherRepresentation) => of_another = true,
            }
        }
        if of_another {
            fields::strip_selective(self.request.headers_mut());
            (self.base, self.wanted) = (None, Wanted::Whole);
            match self.exchange().await {
                Ok((again, then)) => (response, times) = (again, then),
                Err(error) => return flight.departure.land(Landing::Failed(Arc::new(error))),
            }
        }
        let status = response.status();
        self.flow.forget(self.share.tag().as_ref(), status).await;
        if self.for_the_public && asks_for_login(&response) {
            self.flow.demote(&self.route, status);
            return flight.departure.land(Landing::Demoted);
        }
        let verdict = self.judge(&response, times).and_then(|kept| {
            let learnt = self.learn(flight.departure, response.headers(), &kept.0);
            learnt.map(|()| kept).map_err(NoStore::as_str)
        });
        fields::strip_hop_by_hop(response.headers_mut());
        match verdict {
            Ok((storable, selector)) => self.collect(flight, response, storable, selector).await,
            Err(why) => {
                if self.wanted.concerns_the_whole(status) {
                    self.let_go(flight.departure.key(), status, why);
                }
                pass::clean(response.headers_mut(), &self.route);
                flight.alone(response, why);
            }
        }
    }

    /// A 304 freshens what is stored: a new entry over the same body, under this flight's ticket.
    pub(crate) fn confirm(
        &self,
        flight: &Flight<'_>,
        answer: &HeaderMap,
        times: ResponseTimes,
    ) -> Result<Landing, NotFreshened> {
        let base = self.base.as_ref().ok_or(NotFreshened::OtherRepresentation)?;
        let stored = base.response.origin_headers();
        // A 304 without an entity tag speaks of the one that was asked about.
        let is_proof = |proof| !answer.contains_key(ETAG) || validate::proves(&stored, answer, proof);
        if !self.condition.is_some_and(is_proof) {
            return Err(NotFreshened::OtherRepresentation);
        }
        let rule = &self.route.settings.rule;
        let storable = freshen::freshen(
            &self.head(),
            self.share.sharing(),
            (base.response.status, &stored),
            answer,
            rule,
            times,
        )?;
        let tags = self.confirmed(flight.departure, base, answer).map_err(NotFreshened::NoStore)?;
        let settings = &self.route.settings;
        let late = fault::is(Fault::RevivedBy304).then(|| self.flow.store.ticket(times.received.mono));
        let ticket = late.as_ref().unwrap_or(flight.ticket);
        let renewed = self.flow.renew(base, storable, tags, &self.selecting, settings, ticket);
        renewed.iter().for_each(|entry| self.settled(entry));
        let entry = renewed.unwrap_or_else(|refused| refused.entry);
        Ok(Landing::Entry(entry, Whence::Confirmed(StatusCode::NOT_MODIFIED)))
    }

    /// The origin confirmed the body, and what it said with that may not be kept.
    fn confirm_unstored(self, mut flight: Flight<'_>, answer: &HeaderMap, why: &'static str) {
        let Some(base) = &self.base else { return };
        let mut response = Response::new(Body::from(base.response.body.clone()));
        *response.status_mut() = base.response.status;
        *response.headers_mut() = freshen::updated(&base.response.origin_headers(), answer);
        pass::clean(response.headers_mut(), &self.route);
        self.let_go(flight.departure.key(), StatusCode::OK, why);
        flight.alone(response, why);
    }

    /// Remembers that waiting for this key is not worth it, and drops the entry that the answer takes the place of.
    pub(crate) fn let_go(&self, key: &Key, status: StatusCode, why: &'static str) {
        let failing = status.is_server_error();
        if !failing {
            self.replace_base();
        }
        self.note(key, why, Stage::AtItsHead);
        self.pass_for(key, if failing { FAILING_FOR } else { UNCACHEABLE_FOR });
    }

    /// Drops the entry that an answer takes the place of, if it does so for all.
    pub(crate) fn replace_base(&self) {
        let replaced = self.base.as_ref().or(self.wanted.outlived());
        if let (Some(replaced), Lesson::All) = (replaced, &self.lesson) {
            self.flow.store.remove(replaced);
        }
    }

    pub(crate) fn pass_for(&self, key: &Key, lasting: Duration) {
        self.lesson.learn(&self.flow.store, key, self.flow.clock.now().mono + lasting);
    }

    /// Remembers why an answer was not kept, for whoever asks.
    pub(crate) fn note(&self, key: &Key, why: &'static str, stage: Stage) {
        self.lesson.note(&self.flow.store, key, Refusal { why, at: self.flow.clock.mono(), stage });
    }

    /// Whether the answer may be kept, by its head, and for which requests.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn judge(
        &self,
        response: &Response<Body>,
        times: ResponseTimes,
    ) -> Result<(Storable, Selector), &'static str> {
        let (status, headers) = (response.status(), response.headers());
        if upstream::is_event_stream(headers) {
            return Err("event-stream");
        }
        let rule = &self.route.settings.rule;
        let storable = self
            .wanted
            .may_store(&self.head(), self.share.sharing(), status, headers, rule, times)
            .map_err(|why| why.as_str())?;
        Ok((storable, self.select(response)?))
    }

    /// The same for what a POST of the same target was answered.
    pub(crate) fn judge_posted(&self, posted: Posted<'_>, times: ResponseTimes) -> Result<Storable, NoStore> {
        let req = RequestHead { method: &Method::POST, ..self.head() };
        represents_target(&req, self.share.sharing(), posted, &self.route.settings.rule, times)
    }

    /// Which requests an answer of this length serves, if it is to be kept.
    fn select(&self, response: &Response<Body>) -> Result<Selector, &'static str> {
        let (headers, rule) = (response.headers(), &self.route.settings.rule);
        let selector = self.flow.select(&self.selecting, headers, rule).map_err(|why| why.as_str())?;
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > self.route.settings.entry) {
            return Err("entry-limit");
        }
        Ok(selector)
    }

    fn head(&self) -> RequestHead<'_> {
        let method = self.request.method();
        RequestHead { method, headers: self.request.headers(), body_keyed: *method != Method::GET }
    }
}

/// How much the origin has to prove to confirm an entry: that its bytes are the same, if they were called outdated.
pub(crate) fn proof(base: &Entry) -> Proof {
    let is_outdated = base.softened().is_some() && !fault::is(Fault::SoftenedConfirmedByDate);
    if is_outdated { Proof::Strong } else { Proof::Any }
}
