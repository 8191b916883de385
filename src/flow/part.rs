//! `range: forward`: parts of a representation asked for, kept, and made into more (RFC 9111 §3.3, §3.4).
//!
//! ```text
//! GET + Range  whole stored? -> part stored? -> the part from the origin ─┬ alone: a part
//!                                                                         └ beside the stored one: a larger part, or the whole
//! GET          whole stored? -> beginning stored? -> the rest, If-Range   ── beginning and rest: the whole, as any other
//! ```
//! Invariant: a stored part is used for a fetch only if it was found alive while the fetch's ticket was out; so whatever
//! outdates it later refuses what was built on it. Parts are never revalidated, nor served stale, and nobody waits for
//! another's part.
//! It refuses to know which bytes fit together.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{IF_RANGE, RANGE};
use http::request::Parts as Head;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::{Body, BodyError};
use crate::flow::serve::{self, Answer};
use crate::flow::{Shared, Visit, verdict};
use crate::policy::cache_status::Forward;
use crate::policy::range::Asked;
use crate::policy::{
    self, NoStore, RangeRule, RequestHead, ResponseTimes, Reuse, Rule, Sharing, Storable, partial, validate,
};
use crate::route::carried;
use crate::route::key::Key;
use crate::route::table::Route;
use crate::store::entry::{Candidate, Entry};
use crate::store::ticket::FillTicket;

/// Answers from a stored part what no stored whole answers.
///
/// # Errors
/// Why the origin has to be asked; `missed` if there is no part.
pub(crate) fn from_store(
    visit: &Visit<'_>,
    head: &Head,
    selecting: &HeaderMap,
    key: &[u8],
    missed: Forward,
) -> Result<Answer, Forward> {
    let (route, now, request) = (visit.target.route, visit.now, verdict::request(head));
    let rule = &route.settings.rule;
    if rule.range == RangeRule::Whole {
        return Err(missed);
    }
    let entry = visit.flow.part(key, selecting, visit.now.mono).ok_or(missed)?;
    match policy::may_reuse(&request, &visit.life(head, &entry), rule, now) {
        Reuse::Fresh => {
            let served = serve::part(&request, &entry, route, now).ok_or(Forward::Partial)?;
            entry.count_hit();
            Ok(served)
        }
        Reuse::Validate(why) | Reuse::OnlyIfCached(why) if why.is_of_request() => Err(Forward::Request),
        _ => Err(Forward::Stale),
    }
}

/// How the origin is asked for what the store does not answer.
pub(crate) enum Plan {
    /// For the whole, which then answers everybody.
    Whole,
    /// For this part.
    Part(Asked),
    /// As the client asks: the origin judges `If-Range`, and nothing is kept.
    AsItIs,
}

/// Plans the question to the origin. `base` is the stale whole, if one is stored: one that the origin can confirm is
/// worth more than a part.
pub(crate) fn plan(visit: &Visit<'_>, head: &Head, base: Option<&Entry>) -> Plan {
    let forwards = visit.target.route.settings.rule.range == RangeRule::Forward;
    let can_be_confirmed = |base: &Entry| validate::has_validator(&base.response.origin_headers());
    if !forwards || head.method != Method::GET || base.is_some_and(can_be_confirmed) {
        return Plan::Whole;
    }
    match Asked::by(&verdict::request(head)) {
        None => Plan::Whole,
        Some(_) if head.headers.contains_key(IF_RANGE) => Plan::AsItIs,
        Some(asked) => Plan::Part(asked),
    }
}

/// How much of a representation a fetch asks for.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// All of it.
    Whole,
    /// A part.
    Part,
    /// All that is missing behind this stored beginning.
    Rest(Arc<Entry>),
    /// All of it after all: the origin did not go on from this stored beginning.
    Anew(Arc<Entry>),
}

/// Finds the stored beginning that a fetch of the whole can build on, and changes its `request` into one for the rest.
/// To be called when the fetch has its ticket.
pub(crate) fn rest(
    flow: &Shared,
    route: &Route,
    key: &Key,
    selecting: &HeaderMap,
    request: &mut HeaderMap,
) -> Wanted {
    if route.settings.rule.range == RangeRule::Whole {
        return Wanted::Whole;
    }
    let Some(entry) = flow.sound_part(key, selecting) else { return Wanted::Whole };
    let headers = entry.response.headers();
    let stored = entry.stored_part(&headers).filter(|stored| stored.range.total() <= route.settings.entry);
    match stored.and_then(partial::ask_for_rest) {
        None => Wanted::Whole,
        Some((range, condition)) => {
            request.insert(RANGE, range);
            request.insert(IF_RANGE, condition);
            Wanted::Rest(entry)
        }
    }
}

/// The origin sent neither the rest that it was asked for nor a whole.
#[derive(Debug)]
pub(crate) struct NotTheRest;

impl Wanted {
    /// Makes the rest that was asked for into the whole, its head and its body; any other answer stays as it came.
    ///
    /// # Errors
    /// [`NotTheRest`]: the answer is of no use, and the whole is to be asked for.
    pub(crate) fn complete(&mut self, response: &mut Response<Body>) -> Result<(), NotTheRest> {
        let Self::Rest(beginning) = self else { return Ok(()) };
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {}
            StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_MODIFIED => return Err(NotTheRest),
            _ => {
                *self = Self::Anew(Arc::clone(beginning));
                return Ok(());
            }
        }
        let headers = beginning.response.headers();
        let stored = beginning.stored_part(&headers).ok_or(NotTheRest)?;
        let headers = partial::complete(stored, response.headers()).ok_or(NotTheRest)?;
        let left = stored.range.total() - stored.range.length();
        if response.body().size_hint().exact().is_some_and(|length| length != left) {
            return Err(NotTheRest);
        }
        let rest = std::mem::take(response.body_mut());
        *response.body_mut() =
            Body::stream(Completed { beginning: beginning.response.body.clone(), rest, left });
        *response.headers_mut() = headers;
        *response.status_mut() = StatusCode::OK;
        Ok(())
    }

    /// Whether an answer of this status says anything of the whole: to who asked for a part, 206 and 416 do not.
    pub(crate) fn concerns_the_whole(&self, status: StatusCode) -> bool {
        let of_the_range = matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE);
        !(matches!(self, Self::Part) && of_the_range)
    }

    /// The stored beginning that the answer takes the place of, stored itself or not.
    pub(crate) fn outlived(&self) -> Option<&Arc<Entry>> {
        match self {
            Self::Rest(beginning) | Self::Anew(beginning) => Some(beginning),
            Self::Whole | Self::Part => None,
        }
    }

    /// Whether the answer may be stored: as a whole, or as the part that was asked for.
    ///
    /// # Errors
    /// The reason, if it may not.
    pub(crate) fn may_store(
        &self,
        request: &RequestHead<'_>,
        sharing: Sharing,
        status: StatusCode,
        headers: &HeaderMap,
        rule: &Rule,
        times: ResponseTimes,
    ) -> Result<Storable, NoStore> {
        if self.concerns_the_whole(status) {
            return policy::may_store(request, sharing, status, headers, rule, times);
        }
        match status {
            StatusCode::PARTIAL_CONTENT => partial::may_store(request, sharing, headers, rule, times),
            _ => Err(NoStore::Status),
        }
    }

    /// Stores what came, beside the stored part that it belongs to or that it was built on.
    ///
    /// # Errors
    /// Why it is not kept.
    pub(crate) fn fill(
        &self,
        flow: &Shared,
        route: &Route,
        selecting: &HeaderMap,
        ticket: &FillTicket,
        candidate: Candidate,
    ) -> Result<Arc<Entry>, &'static str> {
        let filled = match self {
            Self::Rest(beginning) => {
                tags_fit(&candidate, beginning)?;
                flow.store.fill_with(ticket, candidate, beginning)
            }
            Self::Whole | Self::Part | Self::Anew(_) => match combined(flow, route, selecting, &candidate) {
                Some((both, older)) => {
                    tags_fit(&both, &older)?;
                    flow.store.fill_with(ticket, both, &older)
                }
                None => {
                    let (length, rule) = (candidate.body.len() as u64, route.settings.rule.part_length);
                    let storable = partial::measured(candidate.storable, length, rule);
                    let storable = storable.map_err(NoStore::as_str)?;
                    flow.store.fill(ticket, Candidate { storable, ..candidate })
                }
            },
        };
        filled.map_err(|refused| refused.why.as_str())
    }
}

/// Whether what holds bytes of both may carry the tags of both.
fn tags_fit(newer: &Candidate, older: &Entry) -> Result<(), &'static str> {
    let both = carried::together(newer.tags.iter().chain(older.tags().iter()).cloned());
    both.map(drop).map_err(|_| NoStore::Tags.as_str())
}

/// A part that came, together with the stored one that it belongs to. Looked for when the part has come to its end, so
/// that of two that came side by side the later one finds the other.
fn combined(
    flow: &Shared,
    route: &Route,
    selecting: &HeaderMap,
    newer: &Candidate,
) -> Option<(Candidate, Arc<Entry>)> {
    newer.storable.part()?;
    let older = flow.sound_part(&newer.key, selecting)?;
    let longest = route.settings.entry;
    let headers = older.response.headers();
    let (storable, body) =
        partial::combine(older.stored_part(&headers)?, &newer.storable, &newer.body, longest)?;
    let selector = flow.select(selecting, storable.headers(), &route.settings.rule).ok()?;
    let (key, tags, settle) = (newer.key.clone(), newer.tags.clone(), newer.settle);
    Some((Candidate { key, tags, storable, selector, body, settle }, older))
}

impl Shared {
    /// The newest live part under `key` for a request with these fields.
    pub(crate) fn part(&self, key: &[u8], selecting: &HeaderMap, now: Duration) -> Option<Arc<Entry>> {
        self.store.part(key, |selector| self.fits(selector, selecting), now)
    }

    /// One that something may be built on: what was softly invalidated is older than whatever comes now.
    fn sound_part(&self, key: &[u8], selecting: &HeaderMap) -> Option<Arc<Entry>> {
        let is_sound = |part: &Arc<Entry>| part.softened().is_none() && self.store.may_build_on(part);
        self.part(key, selecting, self.clock.mono()).filter(is_sound)
    }
}

/// A stored beginning, and behind it what the origin sends: it ends cleanly only after exactly what was missing.
struct Completed {
    /// Empty once it was handed on.
    beginning: Bytes,
    rest: Body,
    /// Bytes of the rest that have not come yet.
    left: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("the rest is not as long as its Content-Range said")]
struct OtherLength;

impl HttpBody for Completed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.beginning.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.beginning)))));
        }
        let frame = ready!(Pin::new(&mut self.rest).poll_frame(cx));
        let came = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len) as u64,
            None if self.left > 0 => return Poll::Ready(Some(Err(OtherLength.into()))),
            None | Some(Err(_)) => 0,
        };
        let Some(left) = self.left.checked_sub(came) else {
            return Poll::Ready(Some(Err(OtherLength.into())));
        };
        self.left = left;
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.beginning.len() as u64 + self.left)
    }
}
