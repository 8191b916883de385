//! A read: answered from what is kept, or by the one fetch that everybody waits for.
//!
//! It decides by the policy's verdict and by how a flight lands, and goes round again where a landing is not for this
//! request: another variant, an answer that cannot be shared, or a route that was just demoted.

use std::sync::Arc;

use http::header::RANGE;
use http::request::Parts as Head;
use http::{HeaderMap, StatusCode};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::clock::Now;
use crate::flow::arriving::{Landing, Own, Whence};
use crate::flow::coalesce::{Departure, Flight, Lost, Role};
use crate::flow::fetch::Fetch;
use crate::flow::serve::{self, Answer};
use crate::flow::verdict::{Ask, Verdict, Whole, judge, only_if_cached, request};
use crate::flow::{Visit, pass, problem};
use crate::metrics::Cache;
use crate::policy::cache_status::{CacheStatus, Forward};
use crate::policy::range::Asked;
use crate::policy::{self, Selector};
use crate::route::key::Key;
use crate::route::share::Share;
use crate::store::entry::{Entry, Refreshing};
use crate::store::position::Arrival;
use crate::upstream::{self, Priority};

/// Most flights that one request takes part in; then it is answered 503.
const ROUNDS: usize = 8;

/// A request that the store alone does not answer.
pub(crate) struct Question<'a> {
    pub(crate) visit: &'a Visit<'a>,
    pub(crate) head: &'a Head,
    /// What a variant is chosen by: the client's fields, as far as a fill would carry them.
    pub(crate) selecting: &'a HeaderMap,
    pub(crate) share: Share,
    pub(crate) ask: Ask,
    /// When the request came.
    arrival: Arrival,
    /// The part that the origin is asked for; `None`: the whole.
    part: Option<Asked>,
    pub(crate) collapsed: bool,
}

/// Answers a read from the entries that `share` opens.
///
/// # Errors
/// [`Ask`]: the origin has to be asked.
pub(crate) fn from_store(visit: &Visit<'_>, head: &Head, share: Share) -> Result<Answer, Ask> {
    let selecting = visit.selecting(head, share);
    let Whole { entry, cache, status, is_refreshed } = match judge(visit, head, share, &selecting) {
        Verdict::Whole(whole) => whole,
        Verdict::Part(answer) => return Ok(answer),
        Verdict::NotCached => return Ok(not_cached(visit)),
        Verdict::Ask(ask) => return Err(ask),
    };
    if is_refreshed {
        drop(refresh(visit, head, &selecting, share, &entry));
    }
    visit.count_hit(&entry);
    Ok(serve::entry(&request(head), &entry, visit.target.route, cache, status, visit.now))
}

/// Answers a read: from the store, or by asking the origin until there is an answer for this request.
pub(crate) async fn read(visit: &Visit<'_>, head: &Head, mut share: Share) -> Answer {
    // Before anything is looked up: what he gets is no older than what was acknowledged by now.
    let arrival = visit.flow.store.arrival(visit.now.mono);
    for round in 0..ROUNDS {
        let mut ask = match from_store(visit, head, share) {
            Ok(answer) => return answer,
            Err(ask) => ask,
        };
        let part = match ask.way(visit, head, share, round) {
            Ok(part) => part,
            Err(why) => return pass::pass(visit, head.clone(), visit.content().body(), why).await,
        };
        let selecting = visit.selecting(head, share);
        let question = Question::of(visit, head, &selecting, share, ask, part, arrival);
        let answer = if question.is_by_head() { question.look().await } else { question.answer().await };
        if let Some(answer) = answer {
            return answer;
        }
        share = visit.share(head);
    }
    let problem = problem::answer(StatusCode::SERVICE_UNAVAILABLE, "the answer changed too often; try again");
    Answer::new(problem, visit.target.route, Cache::Miss, CacheStatus::forward(Forward::UriMiss))
}

/// RFC 9111 §5.2.1.7.
fn not_cached(visit: &Visit<'_>) -> Answer {
    let problem =
        problem::answer(StatusCode::GATEWAY_TIMEOUT, "nothing is stored, and only-if-cached was asked for");
    let (cache, status) = only_if_cached();
    Answer::new(problem, visit.target.route, cache, status)
}

impl<'a> Question<'a> {
    /// Nobody else's, until it finds company.
    pub(crate) fn of(
        visit: &'a Visit<'a>,
        head: &'a Head,
        selecting: &'a HeaderMap,
        share: Share,
        ask: Ask,
        part: Option<Asked>,
        arrival: Arrival,
    ) -> Self {
        Self { visit, head, selecting, share, ask, arrival, part, collapsed: false }
    }

    /// Says so if it would wait for somebody else's answer now.
    pub(crate) fn look_for_company(&mut self) {
        let is_open = self.ask.together && self.part.is_none() && !self.is_by_head();
        let flights = &self.visit.flow.lasting.flights;
        self.collapsed =
            is_open && flights.has_room(&self.key(), self.arrival, |landing| self.suits(landing));
    }
}

/// Fetches an entry anew in the background, once at a time; `None`: somebody does already.
pub(crate) fn refresh(
    visit: &Visit<'_>,
    head: &Head,
    selecting: &HeaderMap,
    share: Share,
    entry: &Arc<Entry>,
) -> Option<JoinHandle<()>> {
    let claim = Refreshing::claim(entry)?;
    let ask = Ask { why: Forward::Stale, base: Some(Arc::clone(entry)), together: true };
    let arrival = visit.flow.store.arrival(visit.now.mono);
    let question = Question::of(visit, head, selecting, share, ask, None, arrival);
    // Whoever has a flight that is not outdated does it already.
    let Role::Pilot(departure) = question.join() else { return None };
    let fetch = question.fetch().in_background();
    let (own, _) = oneshot::channel();
    Some(tokio::spawn(async move {
        fetch.fly(departure, own).await;
        drop(claim);
    }))
}

impl Visit<'_> {
    /// Counts a request that `entry` answered; what nobody waits for makes nothing popular.
    #[inline]
    pub(crate) fn count_hit(&self, entry: &Entry) {
        if self.client.priority == Priority::Client {
            entry.count_hit();
        }
    }

    /// The same of one that it would have answered, if it were not only watched.
    pub(crate) fn count_would_be_hit(&self, entry: &Entry) {
        if self.client.priority == Priority::Client {
            entry.count_would_be_hit();
        }
    }
}

impl Question<'_> {
    pub(crate) fn join(&self) -> Role<Landing> {
        let (flights, key, tags) =
            (&self.visit.flow.lasting.flights, self.key(), self.visit.tags(self.share));
        flights.join(&key, &tags, self.arrival, |landing| self.suits(landing))
    }

    /// Joins whoever asks the same, or asks for all of them. `None`: go round again.
    async fn answer(mut self) -> Option<Answer> {
        if !self.ask.together || self.part.is_some() {
            let alone = self.visit.flow.lasting.flights.alone(&self.key(), &self.visit.tags(self.share));
            return self.fly(alone).await;
        }
        match self.join() {
            Role::Pilot(departure) => self.fly(departure).await,
            Role::Passenger(flight) => {
                self.collapsed = true;
                flight.hasten(self.visit.client.priority);
                let landing = flight.landing().await;
                self.visit.trace.waited_for(flight.trace());
                self.settle(&flight, landing)
            }
        }
    }

    /// The fetch is a task of its own: it goes on if this client leaves.
    async fn fly(self, departure: Departure<Landing>) -> Option<Answer> {
        let flight = departure.flight();
        let fetch = self.fetch();
        let (own, mine) = oneshot::channel();
        tokio::spawn(fetch.fly(departure, own));
        match mine.await {
            // What cannot be stored whole is asked for in part.
            Ok(own) if own.kept.is_err() && self.wants_part() && !is_failure(own.response.status()) => None,
            Ok(own) => Some(self.deliver(own)),
            Err(_) => {
                let landing = flight.landing().await;
                self.settle(&flight, landing)
            }
        }
    }

    fn settle(self, flight: &Flight<Landing>, landing: Result<Landing, Lost>) -> Option<Answer> {
        flight.check_for(self.arrival).ok()?;
        match landing {
            Ok(Landing::Arriving(arrival)) if self.fits(&arrival.selector) => {
                let response = arrival.for_others(arrival.source.reader()?);
                Some(self.deliver(Own { response, kept: Ok(()), took: None }))
            }
            Ok(Landing::Entry(entry, whence)) if self.fits(&entry.selector) && self.holds(&entry, whence) => {
                Some(self.landed(&entry, whence))
            }
            Ok(Landing::Alone(status)) if is_failure(status) => self.stand_in(),
            Ok(Landing::Failed(error)) => Some(self.failed(&error)),
            Ok(_) | Err(Lost) => None,
        }
    }

    /// The stale entry, or the problem that stands for an answer which the origin did not give.
    pub(crate) fn failed(&self, error: &upstream::Error) -> Answer {
        self.stand_in().unwrap_or_else(|| {
            let (cache, status) = self.unanswered(error.as_str());
            let answer = Answer::new(problem::upstream(error), self.visit.target.route, cache, status);
            Answer { error: Some(error.as_str()), ..answer }
        })
    }

    /// The answer that this request fetched, or reads along.
    fn deliver(self, own: Own) -> Answer {
        let Own { mut response, kept, took } = own;
        let status = response.status();
        if is_failure(status)
            && let Some(answer) = self.stand_in()
        {
            return answer;
        }
        if serve::answers_with_304(&request(self.head), &response) {
            response = serve::not_modified(response.headers());
        }
        let route = self.visit.target.route;
        let (cache, told) = match kept {
            Ok(()) => self.kept(status),
            Err(why) => {
                self.visit.flow.metrics.bypass(route.index, why);
                self.not_kept(why)
            }
        };
        Answer { upstream: took, ..Answer::new(response, route, cache, told) }
    }

    /// The words for an answer of the origin's that is kept.
    pub(crate) fn kept(&self, status: StatusCode) -> (Cache, CacheStatus) {
        let told = (self.ask.why == Forward::Stale || self.ask.why == Forward::Request).then_some(status);
        // What was uncacheable lately is not promised to be stored before it is.
        (Cache::Miss, self.forwarded(told, self.ask.together, None))
    }

    /// The words for one that may not be kept.
    pub(crate) fn not_kept(&self, why: &'static str) -> (Cache, CacheStatus) {
        (Cache::Bypass, pass::status(why))
    }

    /// The words for what the origin confirmed.
    pub(crate) fn confirmed(&self, status: StatusCode) -> (Cache, CacheStatus) {
        (Cache::Revalidated, self.forwarded(Some(status), true, None))
    }

    /// The words for an answer that it did not give.
    pub(crate) fn unanswered(&self, why: &'static str) -> (Cache, CacheStatus) {
        (Cache::Miss, self.forwarded(None, false, Some(why)))
    }

    pub(crate) fn landed(&self, entry: &Entry, whence: Whence) -> Answer {
        let now = self.visit.flow.clock.now();
        let (cache, status) = match whence {
            Whence::Confirmed(status) => self.confirmed(status),
            Whence::Fetched => (Cache::Miss, self.forwarded(None, true, None)),
            Whence::Found => {
                self.visit.count_hit(entry);
                (Cache::Hit, CacheStatus::Hit { ttl: entry.life.ttl(now), detail: None })
            }
            Whence::Told => {
                self.visit.count_hit(entry);
                Question::told(entry.life.ttl(now))
            }
        };
        serve::entry(&request(self.head), entry, self.visit.target.route, cache, status, now)
    }

    /// The stale entry, where it may stand in for an origin that fails (RFC 5861 §4).
    pub(crate) fn stand_in(&self) -> Option<Answer> {
        let now = self.visit.flow.clock.now();
        let (base, (cache, status)) = self.substitute(now)?;
        Some(serve::entry(&request(self.head), base, self.visit.target.route, cache, status, now))
    }

    /// Which entry that would be, and the words for it.
    pub(crate) fn substitute(&self, now: Now) -> Option<(&Arc<Entry>, (Cache, CacheStatus))> {
        let base = self.ask.base.as_ref().filter(|base| !base.is_dead())?;
        let (life, rule) = (self.visit.life(self.head, base), &self.visit.target.route.settings.rule);
        policy::may_serve_on_error(&request(self.head), &life, rule, now).ok()?;
        let status = CacheStatus::Hit { ttl: life.ttl(now), detail: Some("stale-if-error") };
        Some((base, (Cache::Stale, status)))
    }

    pub(crate) fn is_for_a_whole(&self) -> bool {
        self.part.is_none()
    }

    pub(crate) fn wants_part(&self) -> bool {
        self.part.is_none() && self.head.headers.contains_key(RANGE)
    }

    pub(crate) fn fetch(&self) -> Fetch {
        let fetch = |base| Fetch::new(self.visit, self.head, self.selecting, self.share, base);
        match self.part {
            Some(asked) => fetch(None).for_part(asked),
            None => {
                let mut whole = fetch(self.ask.base.clone());
                whole.asks_others = self.may_be_told();
                whole
            }
        }
    }

    pub(crate) fn key(&self) -> Key {
        self.visit.target.key(self.share, &self.head.headers, self.visit.content().key()).to_key()
    }

    /// Whether a landing that is known already would be an answer to this request.
    fn suits(&self, landing: &Landing) -> bool {
        match landing {
            Landing::Arriving(arrival) => self.fits(&arrival.selector),
            Landing::Entry(entry, whence) => self.fits(&entry.selector) && self.holds(entry, *whence),
            Landing::Failed(_) => true,
            Landing::Alone(_) | Landing::Demoted => false,
        }
    }

    /// Whether what somebody's flight landed with may be given to who came when this request did.
    fn holds(&self, entry: &Entry, whence: Whence) -> bool {
        whence.holds(entry, self.arrival) && self.takes(entry, whence)
    }

    fn fits(&self, selector: &Selector) -> bool {
        self.visit.flow.fits(selector, self.selecting)
    }

    pub(crate) fn forwarded(
        &self,
        status: Option<StatusCode>,
        stored: bool,
        detail: Option<&'static str>,
    ) -> CacheStatus {
        let status = status.map(|status| status.as_u16());
        CacheStatus::Fwd { why: self.ask.why, status, stored, collapsed: self.collapsed, detail }
    }
}

/// The statuses that RFC 5861 §4 takes for an error.
pub(crate) fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}
