//! What an invalidation does to entries that are kept: found and killed, or softened, a slice at a time.
//!
//! The floors are raised first, all at once, so whatever was fetched before can no longer be stored; what is stored
//! already is found in the index. Between two slices the gate is let go, and fills go through it:
//!
//! | sweep at position `f` | fill | reader | what keeps the promise |
//! |---|---|---|---|
//! | floor = `f` | took ticket `p < f` | | |
//! | slice 1, lets go | asks to be indexed | | floor > ticket: refused, though the sweep is not there yet |
//! | | takes ticket `f`, asks the origin | | whatever was invalidated at `f` was changed before |
//! | | would ask only whether an entry has changed, which slice 2 will reach | | that entry lies below a floor whose sweep is not done: nothing is built on it (`Gate::may_build_on`) |
//! | | | gets that entry | nothing is acknowledged yet |
//! | | is indexed at `f` | gets it | the sweep passes it by: it is no older than `f` |
//! | slice 2: the last one; acknowledged | | finds no older entry | every older one was in the index when the floor was raised: dead, or gone |
//!
//! Sweeps go side by side: a small one does not wait for the end of a large one, nor does its acknowledgement.
//!
//! | large, at `f` | small, at `f + 1` | others | what keeps the promise |
//! |---|---|---|---|
//! | floor = `f`, slice 1 | | | |
//! | | floor = `f + 1`; its only slice; acknowledged | | all that it reaches is dead, and what was fetched before is below its floor |
//! | | | a reader comes, and waits for a fetch | for none with a ticket below `f + 1`: his arrival is what is *raised* (`Gate::arrival`), not what is applied |
//! | | | a fetch of what the small one reached takes ticket `f + 1` | kept, though `applied` is still `f - 1` |
//! | | | a fetch that holds an entry of both, or of the large one alone | as above: it is dead, or nothing is built on it |
//! | slice 2 … takes an entry that the small one killed | | | it has left the index; nobody is killed twice |
//! | the last one; acknowledged; `applied = f + 1` | | | |
//!
//! Everything is dropped by taking the whole index away and killing what is in it, without a word to the tags. Who comes
//! later looks for his own in it too, and no longer than for that:
//!
//! | everything, at `f` | a tag of it, at `f + 1` | what keeps the promise |
//! |---|---|---|
//! | index taken away, slice 1 | | |
//! | | floor = `f + 1`; finds its own in the old index, and nothing in the new one | its entries are dead, the others are not yet |
//! | | acknowledged | |
//! | slices 2, 3, the last one of the old index | | |
//! | acknowledged | | |
//!
//! And if the tag came first, at `f - 1`, and is on its way when the index is taken away, it goes on in the old one, by the
//! names that it has not come to. What is dead there, it need not find.
//!
//! Invariant: it is done only when everything that the index held at its beginning was looked at or has left.

use std::sync::Arc;
use std::time::Duration;

use crate::fault::{self, Fault};
use crate::route::reach::Item;
use crate::store::entry::Entry;
use crate::store::position::{Mode, Outdate, Position};
use crate::store::search::Search;
use crate::store::tag_index::{Progress, TagIndex, Then};

/// Most tags and entries that are looked at before the gate is let go: whoever else comes to it waits for no longer than
/// that, well below a millisecond. Two in unit tests: there is more between them.
pub const SLICE: usize = if cfg!(test) { 2 } else { 1_024 };

/// An invalidation whose floors are raised, on its way through what is kept.
#[derive(Debug)]
pub struct Sweep {
    position: Position,
    mode: Mode,
    now: Duration,
    /// What it looks for in each index; empty where there is but one.
    items: Vec<Item>,
    /// The indexes that it has not been through: the one that it is in last.
    indexes: Vec<Generation>,
    /// What it has still to look for in that one: the next one last.
    searches: Vec<Search>,
    reached: Vec<Arc<Entry>>,
    steps: usize,
}

/// Tells indexes apart: each time one is taken away, the next one takes its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Generation(u64);

impl Generation {
    pub(in crate::store) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// An index as a sweep finds it.
#[derive(Debug)]
pub(in crate::store) enum Swept<'l> {
    /// The one in use, and how many softened entries are in it.
    InUse(&'l mut TagIndex, &'l mut usize),
    /// One that was taken away: its entries stay where they are until all of them are taken out.
    Condemned(&'l mut TagIndex),
}

impl Sweep {
    /// One that goes through these indexes; none: all that it reaches was taken away with them.
    pub(in crate::store) fn new(
        outdate: &Outdate,
        position: Position,
        now: Duration,
        indexes: Vec<Generation>,
    ) -> Self {
        let items = &outdate.reach.items;
        let searches = if indexes.is_empty() { Vec::new() } else { searches(items) };
        let items = if indexes.len() > 1 { items.clone() } else { Vec::new() };
        Self { position, mode: outdate.mode, now, items, indexes, searches, reached: Vec::new(), steps: 0 }
    }

    /// Where it stands in the order of invalidations.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whether it removes, or makes stale.
    pub fn mode(&self) -> Mode {
        self.mode
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

    /// The index that it is in; `None`: it was everywhere.
    pub(in crate::store) fn place(&self) -> Option<Generation> {
        self.indexes.last().copied()
    }

    /// Leaves the index that it is in: there is nothing left for it.
    pub(in crate::store) fn leave(&mut self) -> Progress {
        self.steps = self.steps();
        self.indexes.pop();
        self.searches = searches(&self.items);
        if self.indexes.is_empty() { Progress::Done } else { Progress::More }
    }

    /// A slice of what it had taken away was taken out.
    pub(in crate::store) fn count_slice(&mut self) {
        self.steps += SLICE;
    }

    /// Makes room for what a slice may reach: to be called while nobody waits for the gate.
    pub(in crate::store) fn make_room(&mut self) {
        if self.reached.len() >= SLICE {
            self.reached.reserve(SLICE);
        }
    }

    /// It reaches everything, and that is dead.
    pub(in crate::store) fn conclude(&mut self, dead: &mut Vec<Arc<Entry>>) {
        match self.reached.is_empty() {
            // Nothing of a million is moved with the gate held.
            true => self.reached = std::mem::take(dead),
            false => self.reached.append(dead),
        }
    }

    /// Looks at one slice of the index that it is in.
    pub(in crate::store) fn go_on(&mut self, swept: Swept<'_>) -> Progress {
        let Some(search) = self.searches.last_mut() else { return self.leave() };
        let (position, reached) = (self.position, &mut self.reached);
        let (index, mut softened) = match swept {
            Swept::InUse(index, softened) => (index, Some(softened)),
            Swept::Condemned(index) => (index, None),
        };
        let (mode, now) = (self.mode, self.now);
        let then = if softened.is_some() { Then::Leave } else { Then::Stay };
        let progress = index.go_on(search, SLICE, |entry| {
            // A position of another epoch cannot be compared, so it counts as older.
            let is_new = entry.position().epoch == position.epoch && entry.position().n >= position.n;
            if entry.is_dead() || is_new {
                return if is_new { Then::Stay } else { then };
            }
            reached.push(Arc::clone(entry));
            match mode {
                Mode::Hard if fault::is(Fault::KeptLeftAlive) => Then::Stay,
                Mode::Soft if fault::is(Fault::SoftIgnored) => Then::Stay,
                Mode::Hard => {
                    let was_soft = usize::from(entry.softened().is_some());
                    entry.kill();
                    softened.iter_mut().for_each(|softened| **softened -= was_soft);
                    then
                }
                Mode::Soft => {
                    let is_first = usize::from(entry.soften(now));
                    softened.iter_mut().for_each(|softened| **softened += is_first);
                    Then::Stay
                }
            }
        });
        if progress == Progress::Done {
            self.steps += search.steps();
            self.searches.pop();
        }
        if self.searches.is_empty() { self.leave() } else { Progress::More }
    }
}

/// The next one last.
fn searches(items: &[Item]) -> Vec<Search> {
    items.iter().rev().cloned().map(Search::new).collect()
}

/// An index that was taken away with all that is in it.
#[derive(Debug)]
pub(in crate::store) struct Condemned {
    position: Position,
    generation: Generation,
    index: TagIndex,
    dead: Vec<Arc<Entry>>,
}

impl Condemned {
    /// By the invalidation at `position`.
    pub(in crate::store) fn new(position: Position, generation: Generation, index: TagIndex) -> Self {
        // Else it would have to be moved time and again, with the gate held.
        let dead = Vec::with_capacity(index.len().0);
        Self { position, generation, index, dead }
    }

    /// For another epoch: nobody looks for it any more.
    pub(in crate::store) fn into_index(self) -> TagIndex {
        self.index
    }

    /// Kills one slice.
    pub(in crate::store) fn go_on(&mut self) -> Progress {
        for _ in 0..SLICE {
            let Some(entry) = self.index.pop() else { return Progress::Done };
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

    /// Whether letting it go takes longer than a slice.
    pub(in crate::store) fn is_large(&self) -> bool {
        self.index.len().1 > SLICE
    }

    /// Which index it is.
    pub(in crate::store) fn generation(&self) -> Generation {
        self.generation
    }

    /// For a sweep that looks for its own in it.
    pub(in crate::store) fn index(&mut self) -> &mut TagIndex {
        &mut self.index
    }

    /// What was killed, for whoever condemned it.
    pub(in crate::store) fn dead(&mut self) -> &mut Vec<Arc<Entry>> {
        &mut self.dead
    }
}
