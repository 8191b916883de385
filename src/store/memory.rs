//! The memory tier: moka, weighed in bytes, from key to the variants that answer it.
//!
//! Invariant: moka is memory only. What may be served is decided by the entry; nothing here is called with the gate
//! held, and no time is given to moka. All variants of a key lie in one group, which comes and goes as a whole.

use std::sync::Arc;
use std::time::Duration;

use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use moka::sync::Cache;
use smallvec::SmallVec;

use crate::route::key::Key;
use crate::store::entry::Entry;

/// Most variants of one key; one more pushes the oldest out.
pub const MAX_VARIANTS: usize = 16;

/// What is known of one key.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Stored answers, newest first.
    pub variants: SmallVec<[Arc<Entry>; 1]>,
    /// Until when (monotonic) answers to this key are taken for uncacheable; zero: they are not.
    pub pass_until: Duration,
}

/// The memory tier.
#[derive(Debug)]
pub struct Memory {
    groups: Cache<Key, Arc<Group>, ahash::RandomState>,
}

impl Memory {
    /// Memory for `bytes` in all; with `entries`, each takes at least its share, so that no more of them fit.
    /// `evicted` is told of every entry that leaves for want of room.
    pub fn new(bytes: u64, entries: Option<u64>, evicted: impl Fn(&Entry) + Send + Sync + 'static) -> Self {
        let share = entries.map_or(0, |entries| bytes.div_ceil(entries.max(1)));
        let groups = Cache::builder()
            .max_capacity(bytes)
            .weigher(move |key, group: &Arc<Group>| weigh(key, group, share))
            .eviction_listener(move |_, group: Arc<Group>, cause| {
                if cause == RemovalCause::Size {
                    group.variants.iter().for_each(|entry| evicted(entry));
                }
            })
            .build_with_hasher(ahash::RandomState::new());
        Self { groups }
    }

    /// What is known of `key`.
    pub fn find(&self, key: &[u8]) -> Option<Arc<Group>> {
        self.groups.get(key)
    }

    /// Changes what is known of `key`, alone with it. A group that says nothing more is dropped.
    pub fn change(&self, key: &Key, change: impl FnOnce(&mut Group)) {
        self.groups.entry_by_ref(key).and_compute_with(|present| {
            let known = present.is_some();
            let mut group = present.map(|entry| Group::clone(entry.value())).unwrap_or_default();
            change(&mut group);
            match (group.variants.is_empty() && group.pass_until.is_zero(), known) {
                (false, _) => Op::Put(Arc::new(group)),
                (true, true) => Op::Remove,
                (true, false) => Op::Nop,
            }
        });
    }

    /// Lets moka do now what it has put off: evictions above all.
    pub fn catch_up(&self) {
        self.groups.run_pending_tasks();
    }
}

fn weigh(key: &Key, group: &Group, share: u64) -> u32 {
    let entries: u64 = group.variants.iter().map(|entry| entry.weight().max(share)).sum();
    u32::try_from(entries + key.len() as u64 + 128).unwrap_or(u32::MAX)
}
