//! A read on a route in shadow mode: forwarded as a pass is, while it is noted what the cache would have made of it.
//!
//! ```text
//! judge what is kept ─┬ it answers ───────────── forward ─ compare the two answers      hit, stale
//!                     ├ somebody is fetching it ─ forward                               collapsed
//!                     ├ a fill: ticket ───────── forward ─ keep the answer, or do not   miss, revalidated, bypass
//!                     └ nothing would be kept ── forward                                miss, bypass
//! ```
//! Invariant: the client is answered by the origin, to the very request that he sent, and nothing that is kept is served to any
//! client. What is kept lies apart from what other modes keep (the mode is in the digest of the rules), under tickets and the join
//! rule as ever, so that it lives and dies as it would.
//!
//! A fill that cannot be made of what the client asked for (a HEAD, a part, a 304 to his own condition) is not made: the next
//! request counts as a miss, too. Bodies are kept and compared up to the route's `entry`, and to their end, be the client gone.

mod comparison;
mod would;

use std::sync::Arc;
use std::time::Duration;

use http::header::{ETAG, RANGE};
use http::request::Parts as Head;
use http::{HeaderMap, Method, Response, StatusCode};
use tokio::sync::oneshot;

use crate::body::Body;
use crate::flow::arriving::{Flight, Landing};
use crate::flow::coalesce::{Departure, Role};
use crate::flow::fetch::Fetch;
use crate::flow::read::{Question, is_failure};
use crate::flow::serve::Answer;
use crate::flow::shadow::comparison::Comparison;
use crate::flow::shadow::would::would_be_confirmed;
use crate::flow::verdict::{Ask, Verdict, judge};
use crate::flow::{Visit, pass, problem};
use crate::metrics::{Cache, Compared, Would};
use crate::policy::cache_status::Forward;
use crate::policy::{NoStore, ResponseTimes, Selector, Storable, fields};
use crate::route::Mode;
use crate::route::share::Share;
use crate::store::entry::{Entry, Refreshing};
use crate::upstream::{self, Priority, Upgrade};

/// Why the cache is not asked, in `Cache-Status` and metrics.
pub(crate) const SHADOW: &str = "shadow";

/// What the cache would do.
enum Course {
    /// Answer from this entry; fresh, or fetched anew behind the answer.
    Serve(Arc<Entry>, Would, Option<(Refreshing, Fill)>),
    /// Fetch, for all who ask.
    Fetch(Fill),
    /// Wait for somebody else's fetch.
    Join,
    /// This, and nothing comes of it.
    Nothing(Would),
}

/// A fetch for the cache, whose request is a client's own.
struct Fill {
    fetch: Fetch,
    departure: Departure<Landing>,
}

/// A request, and what is known of it before the origin is asked.
struct Seen<'a> {
    question: Question<'a>,
    course: Course,
}

/// Forwards a read as it came, and notes what would have become of it.
pub(crate) async fn read(visit: &Visit<'_>, head: &Head, body: Body, share: Share) -> Answer {
    let whose = visit.whose(head);
    let body = match pass::framed(body).await {
        Ok(body) => body,
        Err(why) => {
            return pass::conclude(visit, Err(upstream::Error::RequestBody(why)), Forward::Bypass, None);
        }
    };
    let selecting = visit.selecting(head, share);
    // A ticket is taken here, before the origin is touched.
    let seen = Seen::of(visit, head, &selecting, share);
    let request = pass::outbound(visit, head.clone(), visit.forward_target(), body);
    let requested = visit.flow.clock.now();
    let answer = visit.ask(request, visit.how(Upgrade::No)).await;
    let times = ResponseTimes { requested, received: visit.flow.clock.now() };
    let answer = match answer {
        Ok(response) => {
            visit.flow.forget(whose.as_ref(), response.status()).await;
            Ok(seen.answered(response, times).await)
        }
        Err(why) => {
            seen.unanswered();
            Err(why)
        }
    };
    visit.flow.metrics.bypass(visit.target.route.index, SHADOW);
    pass::conclude_as(visit, answer, pass::status(SHADOW))
}

impl Fetch {
    /// Whether a client's own request brings the answer, and he is not to wait for what becomes of it.
    pub(crate) fn is_in_shadow(&self) -> bool {
        self.route.settings.mode == Mode::Shadow && self.how.priority == Priority::Client
    }
}

impl<'a> Seen<'a> {
    fn of(visit: &'a Visit<'a>, head: &'a Head, selecting: &'a HeaderMap, share: Share) -> Self {
        let arrival = visit.flow.store.arrival(visit.now.mono);
        let question = |ask, part| Question::of(visit, head, selecting, share, ask, part, arrival);
        let plain = |why, base| Ask { why, base, together: true };
        let (question, course) = match judge(visit, head, share, selecting) {
            Verdict::Whole(whole) => {
                let question = question(plain(Forward::Stale, Some(Arc::clone(&whole.entry))), None);
                let renewal = whole.is_refreshed.then(|| renewal(&question, &whole.entry)).flatten();
                let would = if whole.cache == Cache::Hit { Would::Hit } else { Would::Stale };
                visit.count_would_be_hit(&whole.entry);
                (question, Course::Serve(whole.entry, would, renewal))
            }
            Verdict::Part(_) => (question(plain(Forward::Miss, None), None), Course::Nothing(Would::Hit)),
            Verdict::NotCached => {
                (question(plain(Forward::UriMiss, None), None), Course::Nothing(Would::Miss))
            }
            Verdict::Ask(mut ask) => match ask.way(visit, head, share, 0) {
                Err(_) => (question(ask, None), Course::Nothing(Would::Bypass)),
                Ok(part) => {
                    let mut question = question(ask, part);
                    let course = asked(&mut question);
                    (question, course)
                }
            },
        };
        Self { question, course }
    }

    /// Notes what would have become of it, now that the origin's answer is there; gives that to the client.
    async fn answered(self, response: Response<Body>, times: ResponseTimes) -> Response<Body> {
        let Self { question, course } = self;
        let (flow, route) = (question.visit.flow, question.visit.target.route);
        let note = |would| flow.metrics.shadowed(route.index, would);
        let is_failure = is_failure(response.status()) && question.substitute(flow.clock.now()).is_some();
        match course {
            Course::Serve(entry, would, renewal) => {
                note(would);
                flow.metrics
                    .shadow_saved(route.index, times.received.mono.saturating_sub(times.requested.mono));
                let comparison = Comparison::of(&question, entry, &response);
                match renewal {
                    Some((claim, fill)) => fill.take(response, times, comparison, Some(claim)).await.0,
                    None => comparison.run(response),
                }
            }
            Course::Fetch(fill) => {
                let comparison = Comparison::none(flow, route.index);
                let (response, would) = fill.take(response, times, comparison, None).await;
                note(if is_failure { Would::Stale } else { would });
                response
            }
            Course::Join => {
                let is_kept = question.fetch().judge(&response, times).is_ok();
                note(if is_kept { Would::Collapsed } else { Would::Bypass });
                response
            }
            Course::Nothing(would) => {
                note(if is_failure { Would::Stale } else { would });
                response
            }
        }
    }

    /// The same, of an origin that gave none.
    fn unanswered(&self) {
        let visit = self.question.visit;
        let is_covered = || self.question.substitute(visit.flow.clock.now()).is_some();
        let would = match &self.course {
            Course::Serve(_, would, _) => {
                visit.flow.metrics.shadow_compared(visit.target.route.index, Compared::Unchecked);
                *would
            }
            Course::Fetch(_) | Course::Join if is_covered() => Would::Stale,
            Course::Fetch(_) | Course::Join => Would::Miss,
            Course::Nothing(would) => *would,
        };
        visit.flow.metrics.shadowed(visit.target.route.index, would);
    }
}

/// What the cache does that has to ask the origin.
fn asked(question: &mut Question<'_>) -> Course {
    let head = question.head;
    let is_for_a_whole = question.is_for_a_whole() && !head.headers.contains_key(RANGE);
    if head.method == Method::HEAD || !is_for_a_whole {
        question.look_for_company();
        return Course::Nothing(if question.collapsed { Would::Collapsed } else { Would::Miss });
    }
    if question.ask.together {
        return match question.join() {
            Role::Pilot(departure) => Course::Fetch(Fill::begin(question, departure)),
            Role::Passenger(_) => Course::Join,
        };
    }
    let visit = question.visit;
    let alone = visit.flow.lasting.flights.alone(&question.key(), &visit.tags(question.share));
    Course::Fetch(Fill::begin(question, alone))
}

/// What fetches an entry anew behind the answer; `None`: somebody does already, or this request cannot.
fn renewal(question: &Question<'_>, entry: &Arc<Entry>) -> Option<(Refreshing, Fill)> {
    let is_for_a_whole = question.head.method != Method::HEAD && !question.head.headers.contains_key(RANGE);
    let claim = is_for_a_whole.then(|| Refreshing::claim(entry)).flatten()?;
    match question.join() {
        Role::Pilot(departure) => Some((claim, Fill::begin(question, departure))),
        Role::Passenger(_) => None,
    }
}

impl Fill {
    /// Takes its ticket.
    fn begin(question: &Question<'_>, departure: Departure<Landing>) -> Self {
        let flow = question.visit.flow;
        let mut fetch = question.fetch();
        // Whose answer it is, nobody warms anything for.
        fetch.person = None;
        departure.learn(fetch.tagging.known().iter().cloned(), false);
        departure.depart(flow.store.ticket(flow.clock.mono()));
        fetch.ask_for_confirmation();
        Self { fetch, departure }
    }

    /// Keeps the answer, if it may be kept; gives it to the client, and what the cache would have done.
    async fn take(
        self,
        mut response: Response<Body>,
        times: ResponseTimes,
        comparison: Comparison,
        claim: Option<Refreshing>,
    ) -> (Response<Body>, Would) {
        if matches!(response.status(), StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT) {
            let would = self.confirmed(&response, times);
            return (comparison.run(response), would);
        }
        let kept = match self.judged(&response, times) {
            Ok(kept) => kept,
            Err(why) => {
                self.fetch.let_go(self.departure.key(), response.status(), why);
                return (comparison.run(response), Would::Bypass);
            }
        };
        let would =
            if self.names_what_is_kept(response.headers()) { Would::Revalidated } else { Would::Miss };
        let took = times.received.mono.saturating_sub(times.requested.mono);
        let (own, mine) = oneshot::channel();
        fields::strip_hop_by_hop(response.headers_mut());
        tokio::spawn(async move {
            let Self { fetch, departure } = self;
            let flight = departure.flight();
            let Some(ticket) = flight.ticket() else { return };
            let flying = Flight { departure: &departure, ticket, own: Some(own), took };
            fetch.collect(flying, response, kept.0, kept.1).await;
            drop(claim);
            comparison.with(flight.landing().await.ok()).await;
        });
        let response = mine.await.map(|own| own.response);
        let lost = |_| problem::answer(StatusCode::BAD_GATEWAY, "the origin's answer was lost");
        (response.unwrap_or_else(lost), would)
    }

    fn judged(
        &self,
        response: &Response<Body>,
        times: ResponseTimes,
    ) -> Result<(Storable, Selector), &'static str> {
        let kept = self.fetch.judge(response, times)?;
        self.fetch.learn(&self.departure, response.headers(), &kept.0).map_err(NoStore::as_str)?;
        Ok(kept)
    }

    /// Whether the origin, asked by the cache, would have confirmed what is kept.
    fn names_what_is_kept(&self, answer: &HeaderMap) -> bool {
        let base = self.fetch.base.as_deref().zip(self.fetch.condition);
        base.is_some_and(|(base, proof)| would_be_confirmed(&base.response.origin_headers(), answer, proof))
    }

    /// A 304 to a client's own condition confirms what is kept if it names that; otherwise the cache would have fetched the whole.
    fn confirmed(&self, response: &Response<Body>, times: ResponseTimes) -> Would {
        let flight = self.departure.flight();
        let Some(ticket) = flight.ticket() else { return Would::Miss };
        let is_named = response.headers().contains_key(ETAG) && self.names_what_is_kept(response.headers());
        if response.status() != StatusCode::NOT_MODIFIED || !is_named {
            return Would::Miss;
        }
        let flight = Flight { departure: &self.departure, ticket, own: None, took: Duration::ZERO };
        match self.fetch.confirm(&flight, response.headers(), times) {
            Ok(landing) => {
                self.departure.land(landing);
                Would::Revalidated
            }
            Err(_) => Would::Miss,
        }
    }
}
