//! What becomes of a read by what is stored for it: answered from that, or by asking the origin, and how.
//!
//! Invariant: judging changes nothing, so what is explained of a request is what becomes of it. It refuses to know flights.

use std::sync::Arc;

use http::HeaderMap;
use http::header::RANGE;
use http::request::Parts as Head;

use crate::flow::Visit;
use crate::flow::lesson::Lesson;
use crate::flow::part::{self, Plan};
use crate::flow::serve::Answer;
use crate::metrics::Cache;
use crate::policy::cache_status::{CacheStatus, Forward};
use crate::policy::range::Asked;
use crate::policy::{self, RequestHead, Reuse};
use crate::route::share::Share;
use crate::store::Found;
use crate::store::entry::Entry;

/// Most rounds in which a read waits for somebody else's answer.
const ROUNDS_TOGETHER: usize = 3;

/// Why a range goes on as it came: no whole would be kept.
pub(crate) const UNCACHEABLE: &str = "uncacheable";

/// What becomes of a read by what is stored.
pub(crate) enum Verdict {
    /// Answered from a stored whole.
    Whole(Whole),
    /// Answered from a stored part.
    Part(Answer),
    /// Not answered from what is stored, and the client wants nothing else (RFC 9111 §5.2.1.7).
    NotCached,
    /// The origin has to be asked.
    Ask(Ask),
}

/// A stored whole that answers, and the words for it.
pub(crate) struct Whole {
    pub(crate) entry: Arc<Entry>,
    pub(crate) cache: Cache,
    pub(crate) status: CacheStatus,
    /// Whether it is fetched anew behind the answer.
    pub(crate) is_refreshed: bool,
}

/// Why the origin has to be asked.
pub(crate) struct Ask {
    pub(crate) why: Forward,
    /// A live entry to be confirmed; it may stand in if the origin fails.
    pub(crate) base: Option<Arc<Entry>>,
    /// Whether waiting for one another is worth it.
    pub(crate) together: bool,
}

/// Judges what is stored for a read, and changes nothing: what is explained of a request is what then becomes of it.
#[inline]
pub(crate) fn judge(visit: &Visit<'_>, head: &Head, share: Share, selecting: &HeaderMap) -> Verdict {
    let (flow, route, now) = (visit.flow, visit.target.route, visit.now);
    let key = visit.target.key(share, &head.headers, visit.content().key());
    let ask = |why, together| Ask { why, base: None, together };
    let from_part = |why| part::from_store(visit, head, selecting, &key, why);
    let missed = |why, together| match from_part(why) {
        Ok(answer) => Verdict::Part(answer),
        Err(_) if policy::only_if_cached(&head.headers) => Verdict::NotCached,
        Err(why) => Verdict::Ask(ask(why, together)),
    };
    let entry = match flow.lookup(selecting, &key, now.mono) {
        Found::Entry(entry) => entry,
        Found::Nothing => return missed(Forward::UriMiss, true),
        Found::Unleased => return missed(Forward::Miss, true),
        Found::OtherVariants => return missed(Forward::VaryMiss, true),
        Found::Uncacheable => return missed(Forward::UriMiss, false),
    };
    let life = visit.life(head, &entry);
    let (cache, is_refreshed) = match policy::may_reuse(&request(head), &life, &route.settings.rule, now) {
        Reuse::Fresh => (Cache::Hit, false),
        Reuse::StaleByRequest => (Cache::Stale, false),
        Reuse::StaleWhileRevalidate => (Cache::Stale, true),
        Reuse::OnlyIfCached(_) => return missed(Forward::Stale, true),
        Reuse::Validate(why) => {
            let why = if why.is_of_request() { Forward::Request } else { Forward::Stale };
            return match from_part(why) {
                Ok(answer) => Verdict::Part(answer),
                Err(_) => Verdict::Ask(Ask { base: Some(Arc::clone(&entry)), ..ask(why, true) }),
            };
        }
    };
    let status = CacheStatus::Hit { ttl: life.ttl(now), detail: None };
    Verdict::Whole(Whole { entry, cache, status, is_refreshed })
}

impl Ask {
    /// How the origin is asked in this round: for a part, or for the whole.
    ///
    /// # Errors
    /// Why the request goes on as it came, and its answer is not kept.
    pub(crate) fn way(
        &mut self,
        visit: &Visit<'_>,
        head: &Head,
        share: Share,
        round: usize,
    ) -> Result<Option<Asked>, &'static str> {
        // Whose answer came with nobody else's so often, or is his own whatever it will be, is better off alone.
        let own = Lesson::of(visit, head, share).is_learnt(&visit.flow.store, visit.now.mono);
        self.together &= round < ROUNDS_TOGETHER && !own;
        match part::plan(visit, head, self.base.as_deref()) {
            Plan::AsItIs => Err("if-range"),
            Plan::Part(asked) => Ok(Some(asked)),
            Plan::Whole if !self.together && head.headers.contains_key(RANGE) => Err(UNCACHEABLE),
            Plan::Whole => Ok(None),
        }
    }
}

/// What the policy looks at.
pub(crate) fn request(head: &Head) -> RequestHead<'_> {
    RequestHead { method: &head.method, headers: &head.headers, body_keyed: false }
}

/// The words for a read that is not answered because it asked for nothing but what is stored.
pub(crate) fn only_if_cached() -> (Cache, CacheStatus) {
    let (why, detail) = (Forward::UriMiss, Some("only-if-cached"));
    (Cache::Miss, CacheStatus::Fwd { why, status: None, stored: false, collapsed: false, detail })
}
