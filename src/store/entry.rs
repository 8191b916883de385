//! One stored response. It carries its own truth: its times, its position, and whether it is dead.
//!
//! Invariant: nothing in it changes but what was done to it: how an invalidation left it, its seat in the index, how often
//! it was served, and how much of that was counted. A freshened response is a new entry over the same body.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};

use crate::clock::Now;
use crate::fault::{self, Fault};
use crate::policy::partial::{ContentRange, Stored};
use crate::policy::{Life, Selector, Storable, validate};
use crate::route::key::Key;
use crate::route::tag::Tag;
use crate::store::head::Head;
use crate::store::position::Position;
use crate::store::stamp::Stamp;

/// Names an entry for as long as the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(u64);

impl EntryId {
    /// The one that [`EntryId::as_u64`] gave.
    pub fn from_u64(id: u64) -> Self {
        Self(id)
    }

    /// Its number: later entries have higher ones.
    pub fn as_u64(self) -> u64 {
        self.0
    }

    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Neither dead nor softened.
const ALIVE: u64 = u64::MAX;
/// Served to nobody.
const DEAD: u64 = 0;
/// For how long after its end the origin may be asked whether it still holds.
const ASKED_ABOUT: Duration = Duration::from_secs(3600);
/// No seat in the index.
const STANDING: u32 = u32::MAX;

/// Somebody fetches it anew.
const REFRESHING: u8 = 1;
/// It is only watched what it would have answered.
pub(in crate::store) const WATCHED: u8 = 2;

/// A stored response: a complete one, or a part that says where it lies.
// What an invalidation looks at lies at the beginning, beside the counts of the `Arc`: it costs by the memory that it touches.
#[derive(Debug)]
#[repr(C)]
pub struct Entry {
    /// [`ALIVE`], [`DEAD`], or one more than when (monotonic, ms) it was softly invalidated.
    state: AtomicU64,
    position: Position,
    /// Its seat in the index, or [`STANDING`].
    seat: AtomicU32,
    pub(in crate::store) hits: AtomicU32,
    tags: Box<[Tag]>,
    id: EntryId,
    key: Key,
    /// What is kept of the response.
    pub response: Response,
    /// Where its body lies in the whole; `None`: it is the whole.
    part: Option<Box<ContentRange>>,
    /// Which requests for the key it answers.
    pub selector: Selector,
    /// Its times.
    pub life: Life,
    /// What its hits have in common.
    pub stamp: Stamp,
    /// How many of those who asked for it were looked at: whoever had to fetch it is the first of them.
    pub(in crate::store) looked: AtomicU32,
    /// What it has earned, and not spent.
    pub(in crate::store) credit: AtomicU8,
    /// What was left of the heat of those whose place it took.
    pub(in crate::store) inherited: AtomicU8,
    /// The share of its life that had passed when it was read last, and whether what is counted of its life has ended.
    pub(in crate::store) passed: AtomicU8,
    /// [`REFRESHING`] and [`WATCHED`], in one byte: see its size.
    pub(in crate::store) marks: AtomicU8,
}

/// What is kept of a response.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status.
    pub status: StatusCode,
    /// Fields as a client gets them.
    pub head: Head,
    /// The whole body, or that of the part.
    pub body: Bytes,
    /// Whether the `ETag` is one of our own making: for clients only, never sent upstream.
    pub etag_is_made: bool,
}

/// An answer that came to its end, and that the policy would keep.
#[derive(Debug)]
pub struct Candidate {
    /// What it answers.
    pub key: Key,
    /// What it depends on, in any order.
    pub tags: Vec<Tag>,
    /// Proof that it may be stored, with its head.
    pub storable: Storable,
    /// Which requests for the key it answers.
    pub selector: Selector,
    /// All of its body.
    pub body: Bytes,
    /// For how long what a write outdated is not stored again.
    pub settle: Duration,
}

/// An entry as another node of the fleet kept it, or this one before it was started again. The policy let it be stored then,
/// under the same rules: their digest is in its key.
#[derive(Debug)]
pub struct Kept {
    /// What it answers.
    pub key: Key,
    /// What it depends on, in any order.
    pub tags: Vec<Tag>,
    /// Where its fetch began.
    pub position: Position,
    /// What is kept of the response.
    pub response: Response,
    /// Which requests for the key it answers.
    pub selector: Selector,
    /// Its times, by this node's clock.
    pub life: Life,
}

impl From<Kept> for Entry {
    /// A live entry, as old as it was.
    fn from(kept: Kept) -> Self {
        let Kept { key, mut tags, position, response, selector, life } = kept;
        tags.sort_unstable();
        tags.dedup();
        Self::alive(key, tags, position, response, None, selector, life)
    }
}

impl Entry {
    /// A live entry of a fetch that began at `position`.
    pub fn new(candidate: Candidate, position: Position) -> Self {
        let Candidate { key, mut tags, storable, selector, body, settle: _ } = candidate;
        tags.sort_unstable();
        tags.dedup();
        let part = storable.part();
        let (status, headers, life) = storable.into_parts();
        let response = Response::new(status, headers, body, part.is_none());
        Self::alive(key, tags, position, response, part, selector, life)
    }

    fn alive(
        key: Key,
        tags: Vec<Tag>,
        position: Position,
        response: Response,
        part: Option<ContentRange>,
        selector: Selector,
        life: Life,
    ) -> Self {
        Self {
            state: AtomicU64::new(ALIVE),
            position,
            seat: AtomicU32::new(STANDING),
            hits: AtomicU32::new(0),
            tags: exact(tags),
            id: EntryId::next(),
            key,
            response,
            part: part.map(Box::new),
            selector,
            life,
            stamp: Stamp::default(),
            looked: AtomicU32::new(0),
            credit: AtomicU8::new(0),
            inherited: AtomicU8::new(0),
            passed: AtomicU8::new(0),
            marks: AtomicU8::new(0),
        }
    }

    /// Its name.
    pub fn id(&self) -> EntryId {
        self.id
    }

    /// The key that it answers.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// What it depends on.
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }

    /// Takes others' copies of the same tags in place of its own, in their order.
    pub(in crate::store) fn share_tags(&mut self, same: impl Iterator<Item = Tag>) {
        self.tags.iter_mut().zip(same).for_each(|(own, same)| *own = same);
    }

    /// The template of its route, if it has one.
    pub fn route(&self) -> Option<&str> {
        // Larder's own tags lie before all others.
        self.tags.iter().take_while(|tag| tag.is_own()).find_map(Tag::template)
    }

    /// Where its fetch began.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The same as if its fetch had begun at `position`. A mistake, for [`Fault::PromotedUnderANewTicket`].
    pub(crate) fn fetched_at(self, position: Position) -> Self {
        Self { position, ..self }
    }

    /// Where its body lies in the whole; `None`: it is the whole.
    pub fn part(&self) -> Option<ContentRange> {
        self.part.as_deref().copied()
    }

    /// The part that it is, under its `headers`; `None`: it is the whole.
    pub fn stored_part<'a>(&'a self, headers: &'a HeaderMap) -> Option<Stored<'a>> {
        self.part().map(|range| Stored { range, headers, bytes: &self.response.body })
    }

    /// Whether a hard invalidation has reached it; a dead entry is served to nobody.
    pub fn is_dead(&self) -> bool {
        self.state.load(Ordering::Acquire) == DEAD && !fault::is(Fault::DeadServed)
    }

    /// When (monotonic) a soft invalidation first reached it: it is stale since; `None`: none did, or it is dead.
    pub fn softened(&self) -> Option<Duration> {
        match self.state.load(Ordering::Acquire) {
            ALIVE | DEAD => None,
            since => Some(Duration::from_millis(since - 1)),
        }
    }

    /// Whether nothing can be made of it any more, but an answer to who would take any.
    pub(in crate::store) fn is_spent(&self, now: Now) -> bool {
        let life = self.softened().map_or(self.life, |at| self.life.softened(at));
        if life.is_fresh(now) {
            return false;
        }
        let is_validator =
            |name: &HeaderName| *name == LAST_MODIFIED || (*name == ETAG && !self.response.etag_is_made);
        life.staleness(now) > life.stale_use()
            && (life.staleness(now) > ASKED_ABOUT || self.response.head.pick(is_validator).is_empty())
    }

    /// Ends its life; whether it had one.
    pub(in crate::store) fn kill(&self) -> bool {
        self.state.swap(DEAD, Ordering::AcqRel) != DEAD
    }

    /// Makes it stale from `now` on (monotonic); whether it was not already.
    pub(in crate::store) fn soften(&self, now: Duration) -> bool {
        let since = u64::try_from(now.as_millis()).unwrap_or(ALIVE - 2).min(ALIVE - 2) + 1;
        self.state.compare_exchange(ALIVE, since, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Takes its seat in the index; the gate's lock is around it.
    pub(in crate::store) fn sit_down(&self, seat: u32) {
        self.seat.store(seat, Ordering::Relaxed);
    }

    /// The seat in the index that it has, or had: somebody else may have it by now.
    pub(in crate::store) fn seat(&self) -> Option<u32> {
        Some(self.seat.load(Ordering::Relaxed)).filter(|seat| *seat != STANDING)
    }

    /// Bytes of memory that it takes, near enough: body, fields, key, tags and their places in the index.
    pub fn weight(&self) -> u64 {
        const FIXED: usize = 512;
        let tags: usize = self.tags.iter().map(|tag| tag.as_str().len() + 48).sum();
        let Response { head, body, .. } = &self.response;
        (FIXED + self.selector.size() + body.len() + head.size() + tags + self.key.len()) as u64
    }
}

/// The one background refresh that an entry gets at a time; given back on drop.
#[derive(Debug)]
pub struct Refreshing(Arc<Entry>);

impl Refreshing {
    /// `None` if somebody has it.
    pub fn claim(entry: &Arc<Entry>) -> Option<Self> {
        let taken = entry.marks.fetch_or(REFRESHING, Ordering::AcqRel) & REFRESHING != 0;
        (!taken).then(|| Self(Arc::clone(entry)))
    }
}

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.0.marks.fetch_and(!REFRESHING, Ordering::Release);
    }
}

impl Response {
    /// An entity tag is made for a whole only: parts of two representations may have the same bytes.
    fn new(status: StatusCode, mut headers: HeaderMap, body: Bytes, is_whole: bool) -> Self {
        let etag_is_made = is_whole && validate::valid_etag(&headers).is_none();
        if etag_is_made {
            headers.insert(ETAG, validate::made_etag(digest(&headers, &body)));
        }
        Self { status, head: Head::of(&headers), body, etag_is_made }
    }

    /// Fields as a client gets them, with room for what an answer gets besides.
    pub fn headers(&self) -> HeaderMap {
        self.head.to_map()
    }

    /// The fields as the origin knows them: without a validator that it never gave.
    pub fn origin_headers(&self) -> HeaderMap {
        let mut headers = self.headers();
        if self.etag_is_made {
            headers.remove(ETAG);
        }
        headers
    }
}

/// In a place of its own size: a list that is cut to size where it lies gives nothing back.
fn exact(mut tags: Vec<Tag>) -> Box<[Tag]> {
    let mut exact = Vec::with_capacity(tags.len());
    exact.append(&mut tags);
    exact.into()
}

/// The same for the same representation on every node: body, and what tells how to read it.
fn digest(headers: &HeaderMap, body: &[u8]) -> u128 {
    let mut sha = Sha256::new();
    for name in [CONTENT_TYPE, CONTENT_ENCODING] {
        let value = headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
        sha.update((value.len() as u64).to_be_bytes());
        sha.update(value);
    }
    sha.update(body);
    let digest: [u8; 32] = sha.finalize().into();
    u128::from_be_bytes(*digest.first_chunk().expect("32 is more than 16"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::clock::{Clock, Now};
    use crate::policy::{self, RequestHead, Rule, Sharing};
    use http::Method;
    use std::time::SystemTime;

    /// An entry with these tags, as good as any other.
    pub(crate) fn entry(key: &str, tags: Vec<Tag>) -> Entry {
        Entry::new(candidate(key, tags, &HeaderMap::new(), "body"), Position::default())
    }

    /// One of a fetch that began at `position`, in all else like `other`.
    pub(crate) fn like(other: &Entry, mut tags: Vec<Tag>, position: Position, body: Bytes) -> Entry {
        tags.sort_unstable();
        tags.dedup();
        let response = Response { body, ..other.response.clone() };
        Entry::alive(other.key.clone(), tags, position, response, None, other.selector.clone(), other.life)
    }

    pub(crate) fn candidate(key: &str, tags: Vec<Tag>, headers: &HeaderMap, body: &'static str) -> Candidate {
        let now: Now = Clock::manual(SystemTime::UNIX_EPOCH).now();
        let asked = HeaderMap::new();
        let request = RequestHead { method: &Method::GET, headers: &asked, body_keyed: false };
        let rule = Rule { ttl: Some(Duration::from_secs(60)), ..Rule::default() };
        let times = policy::ResponseTimes { requested: now, received: now };
        let storable =
            policy::may_store(&request, Sharing::Shared, StatusCode::OK, headers, &rule, times).unwrap();
        let selector = Selector::of(&asked, headers, &rule, &|_| false).unwrap();
        Candidate {
            key: Key::from_bytes(key.as_bytes()),
            tags,
            storable,
            selector,
            body: Bytes::from(body),
            settle: Duration::ZERO,
        }
    }

    #[test]
    fn an_entry_is_softened_once_and_dies_once() {
        let entry = entry("k", vec![]);
        assert_eq!((entry.softened(), entry.is_dead()), (None, false));
        assert!(entry.soften(Duration::from_millis(7)));
        assert!(!entry.soften(Duration::from_millis(9)), "it has been stale since the first time");
        assert_eq!(entry.softened(), Some(Duration::from_millis(7)));
        assert!(entry.kill() && !entry.kill());
        assert_eq!((entry.softened(), entry.is_dead()), (None, true));
        assert!(!entry.soften(Duration::from_millis(11)), "nothing revives it");
        assert!(entry.is_dead());
    }

    #[test]
    fn an_entry_and_its_counts_fit_into_256_bytes() {
        assert!(2 * size_of::<usize>() + size_of::<Entry>() <= 256, "{}", size_of::<Entry>());
    }

    #[test]
    fn hits_are_counted() {
        let entry = entry("k", vec![]);
        (0..3).for_each(|_| entry.count_hit());
        assert_eq!(entry.hits(), 3);
    }

    #[test]
    fn an_invalid_etag_is_replaced_by_one_that_the_same_bytes_always_get() {
        let mut headers = HeaderMap::new();
        headers.insert("etag", "W/1851".parse().unwrap());
        let made = |body| Entry::new(candidate("k", vec![], &headers, body), Position::default()).response;
        let (one, same, other) = (made("a"), made("a"), made("b"));
        assert!(one.etag_is_made && validate::valid_etag(&one.headers()).is_some());
        assert_eq!(one.headers()["etag"], same.headers()["etag"]);
        assert_ne!(one.headers()["etag"], other.headers()["etag"]);
        assert!(!one.origin_headers().contains_key("etag"), "the origin never gave it");
    }
}
