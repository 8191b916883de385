//! What is collected for a while to be applied together, and whose part of it is whose. It applies nothing and reads no
//! clock.
//!
//! ```text
//! first: the window opens ─ others join ─┬ the window ends ─┬ taken: applied together, every caller answered
//!                                        └ full ────────────┘
//! ```
//! Invariant: what has joined is taken exactly once, whether or not whoever brought it still waits. A window is not
//! prolonged by who joins, so nobody waits longer than one.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::invalidate::record::Cause;
use crate::invalidate::{Applied, purge};
use crate::route::reach::{Item, Reach};
use crate::route::tag::Tag;
use crate::store::entry::Entry;
use crate::store::position::{Hold, Mode};

/// What waits in a batch.
#[derive(Debug)]
pub(in crate::invalidate) struct Waiting {
    pub(in crate::invalidate) cause: Cause,
    /// When (monotonic) it came.
    pub(in crate::invalidate) since: Duration,
    /// Where it is answered; the caller may have left.
    pub(in crate::invalidate) answer: oneshot::Sender<Applied>,
}

/// What became of one that joined.
#[derive(Debug)]
pub(in crate::invalidate) enum Joined {
    /// It opened a window, of this number.
    First(u64),
    /// It joined one.
    Behind,
    /// These are to be applied at once.
    Full(Vec<Waiting>),
}

/// The batch that is open.
#[derive(Debug, Default)]
pub(in crate::invalidate) struct Batches(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    number: u64,
    waiting: Vec<Waiting>,
    items: usize,
    patterns: usize,
    /// Nothing waits any more: each goes at once.
    hurries: bool,
}

impl Batches {
    /// Joins the open batch, or opens one; at most `max` go together.
    pub(in crate::invalidate) fn join(&self, waiting: Waiting, max: usize) -> Joined {
        let mut open = self.open();
        let items = &waiting.cause.invalidation.reach.items;
        open.items += items.len();
        open.patterns += items.iter().filter(|item| !matches!(item, Item::Tag(_))).count();
        open.waiting.push(waiting);
        let is_full = open.waiting.len() >= max
            || open.items >= purge::MAX_ITEMS
            || open.patterns >= purge::MAX_PATTERNS;
        if is_full || open.hurries {
            return Joined::Full(open.take());
        }
        if open.waiting.len() == 1 { Joined::First(open.number) } else { Joined::Behind }
    }

    /// The batch whose window ends; nothing if it was taken before.
    pub(in crate::invalidate) fn take(&self, number: u64) -> Vec<Waiting> {
        let mut open = self.open();
        if open.number == number { open.take() } else { Vec::new() }
    }

    /// The open batch; from now on nothing waits.
    pub(in crate::invalidate) fn hurry(&self) -> Vec<Waiting> {
        let mut open = self.open();
        open.hurries = true;
        open.take()
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn take(&mut self) -> Vec<Waiting> {
        self.number += 1;
        (self.items, self.patterns) = (0, 0);
        std::mem::take(&mut self.waiting)
    }
}

/// Those that can be applied as one, in the order in which the first of each came.
pub(in crate::invalidate) fn alike(batch: Vec<Waiting>) -> Vec<((Mode, Hold), Vec<Waiting>)> {
    let mut groups: Vec<((Mode, Hold), Vec<Waiting>)> = Vec::new();
    for waiting in batch {
        let how = (waiting.cause.invalidation.mode, waiting.cause.invalidation.hold);
        match groups.iter_mut().find(|(known, _)| *known == how) {
            Some((_, group)) => group.push(waiting),
            None => groups.push((how, vec![waiting])),
        }
    }
    groups
}

/// All that they reach together, each item once.
pub(in crate::invalidate) fn merged<'a>(causes: impl IntoIterator<Item = &'a Cause>) -> Reach {
    let (mut seen, mut merged) = (HashSet::new(), Reach::default());
    for item in causes.into_iter().flat_map(|cause| &cause.invalidation.reach.items) {
        if *item == Item::All {
            return Reach::all();
        }
        if seen.insert(item) {
            merged.items.push(item.clone());
        }
    }
    merged
}

/// Of what was reached together, what each of them reached.
pub(in crate::invalidate) fn shares(causes: &[Cause], reached: &[Arc<Entry>]) -> Vec<Vec<Arc<Entry>>> {
    let (mut by_tag, mut wide) = (HashMap::<&Tag, Vec<usize>>::new(), Vec::new());
    for (nth, cause) in causes.iter().enumerate() {
        for item in &cause.invalidation.reach.items {
            match item {
                Item::Tag(tag) => by_tag.entry(tag).or_default().push(nth),
                item => wide.push((item, nth)),
            }
        }
    }
    let mut shares = vec![Vec::new(); causes.len()];
    for entry in reached {
        let tags = entry.tags();
        let mut whose: HashSet<usize> =
            tags.iter().filter_map(|tag| by_tag.get(tag)).flatten().copied().collect();
        whose.extend(
            wide.iter().filter(|(item, _)| tags.iter().any(|tag| item.covers(tag))).map(|(_, nth)| *nth),
        );
        for nth in whose {
            shares[nth].push(Arc::clone(entry));
        }
    }
    shares
}
