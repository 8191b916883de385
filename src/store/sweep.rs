//! What an invalidation does to entries that are kept: found and killed, or softened, a slice at a time.
//!
//! The floors are raised first, all at once, so whatever was fetched before can no longer be stored; what is stored
//! already is found in the index. Between two slices the gate is let go, and fills go through it:
//!
//! | sweep at position `f` | fill | reader | what keeps the promise |
//! |---|---|---|---|
//! | floor = `f` | took ticket `p < f` | | |
//! | slice 1, lets go | asks to be indexed | | floor > ticket: refused, though the sweep is not there yet |
//! | | takes ticket `f - 1`, which is what is applied | | |
//! | | its condition is about an entry that slice 2 will reach; a 304 | | floor > ticket: refused, for what it confirms is outdated |
//! | | | gets an entry that slice 2 will reach | nothing is acknowledged yet |
//! | slice 2: the last one; acknowledged | | finds no older entry | every older one was in the index when the floor was raised: dead, or gone |
//! | | takes ticket `f`, is indexed | gets it | |
//!
//! Everything is dropped by taking the whole index away and killing what is in it, without a word to the tags. Until that
//! is done, whoever sweeps helps with it first: what he looks for may be in there.
//!
//! | everything, at `f` | a tag of it, at `f + 1` | what keeps the promise |
//! |---|---|---|
//! | index taken away, slice 1 | | |
//! | | floor = `f + 1`; finds nothing in the new index | |
//! | | slices 2, 3, the last one of the old index | not acknowledged before all in there are dead |
//! | | acknowledged | |
//! | finds nothing left, acknowledged | | |
//!
//! Invariant: it is done only when everything that the index held at its beginning was looked at or has left.

use std::sync::Arc;
use std::time::Duration;

use crate::fault::{self, Fault};
use crate::store::entry::Entry;
use crate::store::position::{Mode, Outdate, Position};
use crate::store::search::Search;
use crate::store::tag_index::{Progress, TagIndex, Then};

/// Most tags and entries that are looked at before the gate is let go. Two in unit tests: there is more between them.
pub const SLICE: usize = if cfg!(test) { 2 } else { 1_024 };

/// An invalidation whose floors are raised, on its way through the index.
#[derive(Debug)]
pub struct Sweep {
    position: Position,
    mode: Mode,
    now: Duration,
    /// The next one last.
    searches: Vec<Search>,
    reached: Vec<Arc<Entry>>,
    steps: usize,
}

impl Sweep {
    pub(in crate::store) fn new(outdate: &Outdate, position: Position, now: Duration) -> Self {
        let searches = outdate.reach.items.iter().rev().cloned().map(Search::new).collect();
        Self { position, mode: outdate.mode, now, searches, reached: Vec::new(), steps: 0 }
    }

    /// Where it stands in the order of invalidations.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Tags and entries that it has looked at so far.
    pub fn steps(&self) -> usize {
        self.steps + self.searches.last().map_or(0, Search::steps)
    }

    /// What it has reached, no entry twice.
    pub fn into_reached(self) -> Vec<Arc<Entry>> {
        let mut reached = self.reached;
        if self.mode == Mode::Soft {
            reached.sort_unstable_by_key(|entry| entry.id());
            reached.dedup_by_key(|entry| entry.id());
        }
        reached
    }

    /// It reaches everything, and that is dead.
    pub(in crate::store) fn conclude(&mut self, dead: &mut Vec<Arc<Entry>>) {
        self.searches.clear();
        self.reached.append(dead);
    }

    /// Looks at one slice of `index`, and counts the softened entries in it.
    pub(in crate::store) fn go_on(&mut self, index: &mut TagIndex, softened: &mut usize) -> Progress {
        let Some(search) = self.searches.last_mut() else { return Progress::Done };
        let (mode, now, reached) = (self.mode, self.now, &mut self.reached);
        let position = self.position;
        let progress = index.go_on(search, SLICE, |entry| {
            // A position of another epoch cannot be compared, so it counts as older.
            if entry.position().epoch == position.epoch && entry.position().n >= position.n {
                return Then::Stay;
            }
            match mode {
                Mode::Hard if fault::is(Fault::KeptLeftAlive) => Then::Stay,
                Mode::Soft if fault::is(Fault::SoftIgnored) => Then::Stay,
                Mode::Hard => {
                    *softened -= usize::from(entry.softened().is_some());
                    entry.kill();
                    reached.push(Arc::clone(entry));
                    Then::Leave
                }
                Mode::Soft => {
                    *softened += usize::from(entry.soften(now));
                    reached.push(Arc::clone(entry));
                    Then::Stay
                }
            }
        });
        if progress == Progress::Done {
            self.steps += search.steps();
            self.searches.pop();
        }
        if self.searches.is_empty() { Progress::Done } else { Progress::More }
    }
}

/// An index that was taken away with all that is in it.
#[derive(Debug)]
pub(in crate::store) struct Condemned {
    position: Position,
    index: TagIndex,
    dead: Vec<Arc<Entry>>,
}

impl Condemned {
    /// By the invalidation at `position`.
    pub(in crate::store) fn new(position: Position, index: TagIndex) -> Self {
        Self { position, index, dead: Vec::new() }
    }

    /// Kills one slice.
    pub(in crate::store) fn go_on(&mut self) -> Progress {
        for _ in 0..SLICE {
            let Some(entry) = self.index.pop() else { return Progress::Done };
            entry.stand_up();
            if entry.kill() {
                self.dead.push(entry);
            }
        }
        Progress::More
    }

    /// Where it stands in the order of invalidations.
    pub(in crate::store) fn position(&self) -> Position {
        self.position
    }

    /// What was killed, for whoever condemned it.
    pub(in crate::store) fn dead(&mut self) -> &mut Vec<Arc<Entry>> {
        &mut self.dead
    }
}
