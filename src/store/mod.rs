//! Keeps complete responses, finds them again, and drops what is outdated.
//!
//! Invariant: an entry is served only while it is alive, and lives only if it passed the gate. The order is always
//! gate first, memory second, never both: an entry that dies between the two is dead on arrival.

pub mod entry;
pub mod memory;
pub mod position;
pub mod stamp;
pub mod tag_index;
pub mod ticket;

use std::sync::Arc;
use std::time::Duration;

use crate::metrics::Metrics;
use crate::policy::Selector;
use crate::route::key::Key;
use crate::route::tag::Tag;
use crate::store::entry::{Candidate, Entry};
use crate::store::memory::{MAX_VARIANTS, Memory};
use crate::store::position::{Gate, Outdated};
use crate::store::ticket::FillTicket;

/// How much is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes of memory for entries, keys and index (`limits.memory`).
    pub memory: u64,
    /// At most so many entries (`limits.entries`, `CACHE_MAX_ENTRIES`); `None`: only `memory` limits.
    pub entries: Option<u64>,
}

/// Everything that is kept.
#[derive(Debug)]
pub struct Store {
    memory: Memory,
    gate: Arc<Gate>,
}

/// What a lookup found.
#[derive(Debug)]
pub enum Found {
    /// A live entry that answers the request; fresh or not is for the policy to say.
    Entry(Arc<Entry>),
    /// Nothing is known of the key.
    Nothing,
    /// The key is known, but no variant of it answers this request.
    OtherVariants,
    /// Answers to this key were uncacheable lately: fetch side by side instead of waiting for one another.
    Uncacheable,
}

/// An answer that came too late to be stored.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub why: Outdated,
    /// What would have been stored: good for those who asked before, and for nobody else.
    pub entry: Arc<Entry>,
}

impl Store {
    /// An empty store.
    pub fn new(settings: &Settings, metrics: Arc<Metrics>) -> Self {
        let gate = Arc::new(Gate::default());
        let index = Arc::clone(&gate);
        let memory = Memory::new(settings.memory, settings.entries, move |entry| {
            index.forget(entry);
            metrics.evicted("size");
        });
        Self { memory, gate }
    }

    /// Finds the newest live entry under `key` whose selector `matches`.
    pub fn lookup(&self, key: &[u8], matches: impl Fn(&Selector) -> bool, now: Duration) -> Found {
        let Some(group) = self.memory.find(key) else { return Found::Nothing };
        let mut alive = group.variants.iter().filter(|entry| !entry.is_dead()).peekable();
        let any = alive.peek().is_some();
        match alive.find(|entry| matches(&entry.selector)) {
            Some(entry) => Found::Entry(Arc::clone(entry)),
            None if group.pass_until > now => Found::Uncacheable,
            None if any => Found::OtherVariants,
            None => Found::Nothing,
        }
    }

    /// The ticket without which nothing is stored; to be taken before the origin is touched.
    pub fn ticket(&self) -> FillTicket {
        self.gate.ticket()
    }

    /// Makes an answer visible, in place of the variant with the same selector.
    ///
    /// # Errors
    /// [`Refused`] if one of its tags was invalidated since the ticket was taken.
    pub fn fill(&self, ticket: &FillTicket, candidate: Candidate) -> Result<Arc<Entry>, Refused> {
        let entry = Arc::new(Entry::new(candidate, ticket.position()));
        if let Err(why) = self.gate.admit(&entry) {
            return Err(Refused { why, entry });
        }
        let mut gone = Vec::new();
        self.memory.change(entry.key(), |group| {
            group.pass_until = Duration::ZERO;
            let stays = |other: &Arc<Entry>| !other.is_dead() && other.selector != entry.selector;
            let (stay, go): (Vec<_>, Vec<_>) = group.variants.drain(..).partition(stays);
            gone = go;
            group.variants.push(Arc::clone(&entry));
            group.variants.extend(stay);
            gone.extend(group.variants.drain(MAX_VARIANTS.min(group.variants.len())..));
        });
        gone.iter().for_each(|entry| self.gate.forget(entry));
        Ok(entry)
    }

    /// Remembers until `until` (monotonic) that answers to `key` are not worth waiting for.
    pub fn remember_uncacheable(&self, key: &Key, until: Duration) {
        self.memory.change(key, |group| group.pass_until = until);
    }

    /// Lets one entry go that the origin no longer stands behind.
    pub fn remove(&self, entry: &Entry) {
        self.gate.forget(entry);
        entry.kill();
        self.sweep(entry.key());
    }

    /// Applies a hard invalidation: when this returns, no body fetched before it is found or stored any more.
    /// Returns how many entries it dropped.
    pub fn outdate(&self, tags: &[Tag]) -> usize {
        if tags.is_empty() {
            return 0;
        }
        let dead = self.gate.outdate(tags);
        dead.iter().for_each(|entry| self.sweep(entry.key()));
        dead.len()
    }

    /// The same for a write that began with `began`; gives the ticket under which its own answer, which would carry
    /// `kept`, may be stored: `None` if anybody else has invalidated one of them since.
    pub fn outdate_by(&self, tags: &[Tag], began: &FillTicket, kept: &[Tag]) -> Option<FillTicket> {
        let (dead, renewed) = self.gate.outdate_by(tags, began, kept);
        dead.iter().for_each(|entry| self.sweep(entry.key()));
        renewed
    }

    /// Live entries, and the bytes that they take.
    pub fn size(&self) -> (u64, u64) {
        self.memory.catch_up();
        self.gate.size()
    }

    fn sweep(&self, key: &Key) {
        self.memory.change(key, |group| group.variants.retain(|entry| !entry.is_dead()));
    }
}
