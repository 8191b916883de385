//! A POST whose answer is what a GET of its target would be answered with (RFC 9110 §9.3.3): kept as such.
//!
//! Invariant: the origin was told nothing that a fill for the same client would not have told it, and nobody else has
//! invalidated the target since before it was asked. On any doubt the answer passes like that of any write.
//!
//! ```text
//! of: ticket ─ the origin is asked ─ conclude: outdate, renew the ticket ─┬ adopt: streamed, kept at its clean end
//!                                                                         └ streamed
//! ```

use std::sync::Arc;

use http::request::Parts as Head;
use http::uri::Authority;
use http::{Method, Response, Uri};
use tokio::sync::oneshot;

use crate::body::Body;
use crate::clock::Now;
use crate::flow::arriving::{Landing, Own};
use crate::flow::coalesce::Departure;
use crate::flow::consequence::{self, Consequences, Target};
use crate::flow::fetch::Fetch;
use crate::flow::{Shared, Visit, egress};
use crate::invalidate::intent::Intent;
use crate::policy::represent::Posted;
use crate::policy::{ResponseTimes, Storable};
use crate::route::Reads;
use crate::route::host::Scheme;
use crate::route::share::Share;
use crate::store::ticket::FillTicket;
use crate::upstream;

/// Where a write waits for its answer.
pub(crate) type Answered = oneshot::Sender<Result<Own, upstream::Error>>;

/// A POST that may be answered with what is kept.
pub(crate) struct Adoption {
    flow: Arc<Shared>,
    scheme: Scheme,
    /// The fill that would have been asked instead.
    fetch: Fetch,
    departure: Departure<Landing>,
    /// From before the origin was asked.
    began: FillTicket,
    requested: Now,
}

impl Adoption {
    /// Whether the answer to a request may be kept, for all that is known before there is one; for these.
    pub(crate) fn is_possible(visit: &Visit<'_>, head: &Head) -> Option<Share> {
        let (flow, target) = (visit.flow, visit.target);
        let rule = &target.route.settings;
        let reads = flow.settings.enabled
            && target.bypass().is_none()
            && rule.reads(&Method::GET) == Reads::ByTarget
            && rule.rule.store_if.is_none()
            // What its body embeds is known only after the write has outdated what it outdates.
            && rule.body_tags.is_empty();
        if head.method != Method::POST || !reads {
            return None;
        }
        let share = visit.share(head);
        let same = visit.forward_target() == visit.fill_target();
        if matches!(share, Share::Bypass(_)) || !same || !egress::is_as_a_fill(visit, &head.headers, share) {
            return None;
        }
        Some(share)
    }

    /// For a request that is about to be forwarded; `None` if its answer is nobody else's in any case.
    pub(crate) fn of(visit: &Visit<'_>, head: &Head) -> Option<Self> {
        let (flow, target) = (visit.flow, visit.target);
        let share = Self::is_possible(visit, head)?;
        let fetch = Fetch::new(visit, head, &visit.selecting(head, share), share, None);
        let key = target.key(share, &head.headers, &[]).to_key();
        let departure = flow.lasting.flights.alone(&key, &visit.tags(share));
        departure.learn(fetch.tagging.known().iter().cloned(), false);
        let (scheme, requested) = (target.scheme, flow.clock.now());
        let began = flow.store.ticket(requested.mono);
        Some(Self { flow: Arc::clone(flow), scheme, fetch, departure, began, requested })
    }

    /// Outdates what the write outdates, then answers it: with what is kept besides, if it may be.
    pub(crate) async fn conclude(
        self,
        target: &Target,
        (follows, intent): (Consequences, Option<Intent>),
        response: Response<Body>,
        answered: Answered,
    ) {
        let received = self.flow.clock.now();
        let Some(storable) = self.judge(&target.uri, &response, received) else {
            let response = follows.conclude(&self.flow, target, response, intent).await;
            // He may have left.
            let _ = answered.send(Ok(Own::passed(response)));
            return;
        };
        let kept = self.departure.depends().tags;
        let (ack, ticket) = follows.apply_by(&self.flow, (&self.began, &kept), intent).await;
        let response = consequence::told(&self.flow, ack, response);
        let Some(ticket) = ticket else {
            // He may have left.
            let _ = answered.send(Ok(Own::passed(response)));
            return;
        };
        drop(self.began);
        let took = received.mono.saturating_sub(self.requested.mono);
        let (own, mine) = oneshot::channel();
        let adopted = self.fetch.adopt(self.departure, ticket, (response, storable, took), own);
        let handed_on = async {
            if let Ok(own) = mine.await {
                let _ = answered.send(Ok(own));
            }
        };
        tokio::join!(adopted, handed_on);
    }

    fn judge(&self, target: &Uri, response: &Response<Body>, received: Now) -> Option<Storable> {
        let headers = response.headers();
        if upstream::is_event_stream(headers) {
            return None;
        }
        let authority = target.authority().map_or("", Authority::as_str);
        let is_ours = |named: &str| self.flow.rules.hosts.is_named(self.scheme, named, authority);
        let posted = Posted { target, is_ours: &is_ours, status: response.status(), headers };
        let times = ResponseTimes { requested: self.requested, received };
        let storable = self.fetch.judge_posted(posted, times).ok()?;
        self.fetch.learn(&self.departure, headers, &storable).ok()?;
        Some(storable)
    }
}
