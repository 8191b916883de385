//! The memory tier: moka, weighed in bytes, from key to the variants that answer it.
//!
//! Invariant: moka is memory only. What may be served is decided by the entry; nothing here is called with the gate
//! held, and no time is given to moka. All variants of a key lie in one group, which comes and goes as a whole.

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use moka::sync::Cache;
use smallvec::SmallVec;

use crate::route::key::Key;
use crate::store::entry::Entry;

/// Most variants of one key, and most that have a part of it; one more pushes the oldest out.
pub const MAX_VARIANTS: usize = 16;

/// A key's entries of one kind.
pub type Entries = SmallVec<[Arc<Entry>; 1]>;

/// An answer that was not kept: one per key, for whoever asks why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason, as `Cache-Status` and metrics name it.
    pub why: &'static str,
    /// When (monotonic).
    pub at: Duration,
    /// Whether its client was told.
    pub stage: Stage,
}

/// When it was known that an answer is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before any of it was sent: `Cache-Status` says so.
    AtItsHead,
    /// After it had been announced as stored.
    AtItsEnd,
}

/// What memory keeps under one key: of most keys one entry is known and nothing else, and that is all that it takes.
#[derive(Clone, Debug)]
pub enum Known {
    /// One entry.
    One(Arc<Entry>),
    /// Anything else.
    More(Arc<Group>),
}

impl Known {
    /// Stored answers, newest first.
    pub fn variants(&self) -> &[Arc<Entry>] {
        match self {
            Self::One(entry) if entry.part().is_none() => slice::from_ref(entry),
            Self::One(_) => &[],
            Self::More(group) => &group.variants,
        }
    }

    /// Stored parts of answers, newest first.
    pub fn parts(&self) -> &[Arc<Entry>] {
        match self {
            Self::One(entry) if entry.part().is_some() => slice::from_ref(entry),
            Self::One(_) => &[],
            Self::More(group) => &group.parts,
        }
    }

    /// Until when (monotonic) answers are taken for uncacheable; zero: they are not.
    pub fn pass_until(&self) -> Duration {
        if let Self::More(group) = self { group.pass_until } else { Duration::ZERO }
    }

    /// Why the newest answer was not kept; `None`: it was.
    pub fn refusal(&self) -> Option<Refusal> {
        if let Self::More(group) = self { group.refusal } else { None }
    }

    fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.variants().iter().chain(self.parts())
    }

    fn group(&self) -> Group {
        match self {
            Self::One(_) => {
                Group { variants: self.variants().into(), parts: self.parts().into(), ..Group::default() }
            }
            Self::More(group) => Group::clone(group),
        }
    }
}

impl From<Group> for Known {
    fn from(group: Group) -> Self {
        let says_more = !group.pass_until.is_zero() || group.refusal.is_some();
        match (&group.variants[..], &group.parts[..]) {
            ([one], []) | ([], [one]) if !says_more => Self::One(Arc::clone(one)),
            _ => Self::More(Arc::new(group)),
        }
    }
}

/// What is known of one key.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Stored answers, newest first.
    pub variants: Entries,
    /// Stored parts of answers, newest first: apart, so that who asks for a whole never meets one.
    pub parts: Entries,
    /// Until when (monotonic) answers to this key are taken for uncacheable; zero: they are not.
    pub pass_until: Duration,
    /// Why the newest answer was not kept; `None`: it was.
    pub refusal: Option<Refusal>,
}

impl Group {
    /// Adds an entry in place of that with the same selector, and gives what had to go: a whole takes the place of
    /// parts too, a part of parts only.
    pub fn put(&mut self, entry: &Arc<Entry>) -> Vec<Arc<Entry>> {
        let mut gone = Vec::new();
        let stays = |other: &Arc<Entry>| !other.is_dead() && other.selector != entry.selector;
        let mut make_room = |entries: &mut Entries| {
            let (stay, go): (Entries, Entries) = entries.drain(..).partition(stays);
            *entries = stay;
            gone.extend(go);
        };
        make_room(&mut self.parts);
        let place = if entry.part().is_some() {
            &mut self.parts
        } else {
            self.pass_until = Duration::ZERO;
            self.refusal = None;
            make_room(&mut self.variants);
            &mut self.variants
        };
        place.insert(0, Arc::clone(entry));
        gone.extend(place.drain(MAX_VARIANTS.min(place.len())..));
        gone
    }

    /// Drops what is dead.
    pub fn sweep(&mut self) {
        self.variants.retain(|entry| !entry.is_dead());
        self.parts.retain(|entry| !entry.is_dead());
    }

    fn says_nothing(&self) -> bool {
        self.variants.is_empty()
            && self.parts.is_empty()
            && self.pass_until.is_zero()
            && self.refusal.is_none()
    }
}

/// The memory tier.
#[derive(Debug)]
pub struct Memory {
    groups: Cache<Key, Known, ahash::RandomState>,
}

impl Memory {
    /// Memory for `bytes` in all; with `entries`, each takes at least its share, so that no more of them fit.
    /// `evicted` is told of every entry that leaves for want of room.
    pub fn new(bytes: u64, entries: Option<u64>, evicted: impl Fn(&Entry) + Send + Sync + 'static) -> Self {
        let share = entries.map_or(0, |entries| bytes.div_ceil(entries.max(1)));
        let groups = Cache::builder()
            .max_capacity(bytes)
            .weigher(move |key, known: &Known| weigh(key, known, share))
            .eviction_listener(move |_, known: Known, cause| {
                if cause == RemovalCause::Size {
                    known.entries().for_each(|entry| evicted(entry));
                }
            })
            .build_with_hasher(ahash::RandomState::new());
        Self { groups }
    }

    /// What is known of `key`.
    pub fn find(&self, key: &[u8]) -> Option<Known> {
        self.groups.get(key)
    }

    /// Changes what is known of `key`, alone with it. A group that says nothing more is dropped.
    pub fn change(&self, key: &Key, change: impl FnOnce(&mut Group)) {
        self.groups.entry_by_ref(key).and_compute_with(|present| {
            let known = present.is_some();
            let mut group = present.map(|entry| entry.value().group()).unwrap_or_default();
            change(&mut group);
            match (group.says_nothing(), known) {
                (false, _) => Op::Put(group.into()),
                (true, true) => Op::Remove,
                (true, false) => Op::Nop,
            }
        });
    }

    /// Drops what is dead of `key`.
    pub fn sweep(&self, key: &Key) {
        self.change(key, Group::sweep);
    }

    /// Every entry that is kept, in no order; nobody waits for who goes through them.
    pub fn entries(&self) -> impl Iterator<Item = Arc<Entry>> + Send {
        self.groups.iter().flat_map(|(_, known)| known.entries().cloned().collect::<Entries>())
    }

    /// How much of its capacity is used, from 0, as of when it last caught up.
    pub fn used(&self) -> f64 {
        let most = self.groups.policy().max_capacity().unwrap_or(u64::MAX);
        self.groups.weighted_size() as f64 / most.max(1) as f64
    }

    /// Lets moka do now what it has put off: evictions above all.
    pub fn catch_up(&self) {
        self.groups.run_pending_tasks();
    }
}

fn weigh(key: &Key, known: &Known, share: u64) -> u32 {
    let entries: u64 = known.entries().map(|entry| entry.weight().max(share)).sum();
    u32::try_from(entries + key.len() as u64 + 128).unwrap_or(u32::MAX)
}
