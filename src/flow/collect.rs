//! The body of an answer that may be stored: handed on as it comes, and kept once it is whole.
//!
//! Invariant: only a body that came to its clean end is stored, and before its last reader learns of the end.

use std::sync::Arc;

use bytes::Bytes;
use http::header::AGE;
use http::{HeaderName, Response};
use http_body_util::BodyExt;

use crate::body::{Body, BodyError};
use crate::flow::arriving::{Arrival, Arriving, Flight, Landing, Whence};
use crate::flow::fetch::{Fetch, UNCACHEABLE_FOR};
use crate::flow::identities;
use crate::flow::pass;
use crate::flow::relay::{self, Writer};
use crate::policy::{NoStore, Selector, Storable};
use crate::store::Found;
use crate::store::entry::{Candidate, Entry};
use crate::store::memory::Stage;
use crate::upstream::{BodyFailure, Priority};

impl Fetch {
    /// Hands the body on as it comes, and stores it once it is whole.
    pub(crate) async fn collect(
        self,
        flight: Flight<'_>,
        response: Response<Body>,
        storable: Storable,
        selector: Selector,
    ) {
        let (mut head, mut body) = response.into_parts();
        pass::clean(&mut head.headers, &self.route);
        let storable = if self.route.settings.forward_tags { storable } else { storable.for_clients() };
        let length = http_body::Body::size_hint(&body).exact();
        let (writer, source) = relay::relay(length);
        let is_for_all = |name: &HeaderName| *name == AGE || storable.headers().contains_key(name);
        let for_one = head.headers.keys().filter(|name| !is_for_all(name)).cloned().collect();
        let (status, headers) = (head.status, head.headers);
        let arrival = Arrival { status, headers, for_one, selector: selector.clone(), source };
        let mut arriving = Arriving::new(flight, arrival);
        let is_judged = self.route.settings.rule.store_if.is_none() || self.is_in_shadow();
        // The head of an empty body is all of it.
        if is_judged && length != Some(0) {
            arriving.share();
        }
        match self.pump(&mut body, &writer, &mut arriving).await {
            Ok(None) => {}
            Ok(Some(whole)) => self.keep(&mut arriving, storable, selector, whole).await,
            Err(why) => {
                self.refuse(&mut arriving, "cut");
                return writer.break_off(&why);
            }
        }
        writer.finish();
    }

    /// Reads the body to its end: all of it if it may be stored, nothing if it has outgrown that.
    async fn pump(
        &self,
        body: &mut Body,
        writer: &Writer,
        arriving: &mut Arriving<'_>,
    ) -> Result<Option<Bytes>, String> {
        let mut room = Some(self.route.settings.entry);
        // Who waits for the judgement waits for his first byte: no longer than an origin may take for its own.
        let mut judgement = std::pin::pin!(tokio::time::sleep(self.how.timeout));
        loop {
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame,
                () = &mut judgement, if arriving.is_held_back() => {
                    self.pass_for(arriving.key(), UNCACHEABLE_FOR);
                    self.refuse(arriving, "slow");
                    continue;
                }
            };
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|why| {
                self.flow.metrics.upstream_error(body_failure(&why));
                why.to_string()
            })?;
            let Ok(data) = frame.into_data() else { continue };
            let length = data.len() as u64;
            writer.push(data);
            room = room.and_then(|room| room.checked_sub(length));
            if room.is_none() && writer.stop_keeping() {
                self.flow.metrics.fill_discarded("entry-limit");
                self.pass_for(arriving.key(), UNCACHEABLE_FOR);
                self.refuse(arriving, "entry-limit");
            }
            writer.room().await.map_err(|abandoned| abandoned.to_string())?;
        }
        Ok(room.map(|_| writer.whole()))
    }

    async fn keep(&self, arriving: &mut Arriving<'_>, storable: Storable, selector: Selector, body: Bytes) {
        if let Err(why) = self.search(arriving.flight().departure, &storable, &body).await {
            if why == NoStore::Tags {
                self.flow.metrics.fill_discarded(why.as_str());
            }
            self.replace_base();
            self.pass_for(arriving.key(), UNCACHEABLE_FOR);
            return self.refuse(arriving, why.as_str());
        }
        let flight = arriving.flight();
        if self.of_a_write {
            let (key, now) = (flight.departure.key(), self.flow.clock.mono());
            // What is softened is what the write itself has outdated.
            if let Found::Entry(entry) = self.flow.lookup(&self.selecting, key, now)
                && entry.softened().is_none()
            {
                return arriving.share();
            }
        }
        let candidate = Candidate {
            key: flight.departure.key().clone(),
            tags: flight.departure.depends().tags.to_vec(),
            storable,
            selector,
            body,
            settle: self.route.settings.settle,
        };
        let filled = self.wanted.fill(&self.flow, &self.route, &self.selecting, flight.ticket, candidate);
        arriving.share();
        match filled {
            Ok(entry) if entry.part().is_none() => {
                self.settled(&entry);
                arriving.flight().departure.land(Landing::Entry(entry, Whence::Fetched));
            }
            Ok(_part) => {}
            Err(why) => {
                self.note(arriving.key(), why, Stage::AtItsEnd);
                self.flow.metrics.fill_discarded(why);
            }
        }
    }

    /// It is kept: others may be told, and what was fetched behind everybody's back has been asked for by nobody so far.
    pub(crate) fn settled(&self, entry: &Arc<Entry>) {
        if self.how.priority != Priority::Client {
            entry.not_asked_for();
        }
        if let Some(person) = &self.person {
            identities::note(&self.flow, person);
        }
        self.tell(entry);
    }

    /// It is not kept after all: whoever comes from now on asks for himself.
    fn refuse(&self, arriving: &mut Arriving<'_>, why: &'static str) {
        let stage = if arriving.is_held_back() { Stage::AtItsHead } else { Stage::AtItsEnd };
        self.note(arriving.key(), why, stage);
        arriving.withhold(why);
    }
}

fn body_failure(why: &BodyError) -> &'static str {
    why.downcast_ref::<BodyFailure>().map_or("body", BodyFailure::as_str)
}
