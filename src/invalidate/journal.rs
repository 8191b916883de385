//! The order of invalidations: what is appended gets its place, and is read back in that order by the one who applies it.
//!
//! Invariant: places are given in the order of appending, without gaps, and a record is read once, behind everything that
//! stands before it. It refuses to know what applying means.
//!
//! Whoever reads a position from the gate trusts that the floors of everything up to it are raised. Were those of two records
//! raised out of order, a fetch could slip between them:
//!
//! | record 1 (tag `a`) | record 2 (tag `b`) | fetch of `a` |
//! |---|---|---|
//! | appended | appended | |
//! | | raised: the gate stands at 2 | |
//! | | | ticket at 2; the origin still says the old |
//! | raised: floor of `a` = 1 | | |
//! | acknowledged | | stored: its ticket is above the floor. Wrong for ever |
//!
//! So one at a time takes the turn, reads the oldest record that was not raised, raises it, reads on. That is short. Their
//! sweeps go on side by side behind it, and a record is acknowledged when its own is done (`store/sweep.rs` has that race).
//! What all of a node has applied without a gap is what it renews its lease with.
//!
//! | record 1, large | record 2, small | other nodes, when there are any |
//! |---|---|---|
//! | raised; slice 1 | raised; swept: acknowledged, if this node is alone | |
//! | | this node renews at 0 | whoever acknowledges 2 for all of them waits until each has renewed at 2 |
//! | the last slice; this node renews at 2 | | acknowledged |

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::invalidate::Invalidation;
use crate::route::derive::Followed;
use crate::store::position::{Outdate, Position};

/// One application, and what it is for.
#[derive(Debug, Default)]
pub struct Record {
    /// As they were asked for, each with all that follows from it.
    pub causes: Vec<Cause>,
    /// What they come to together.
    pub outdate: Outdate,
}

/// One invalidation with its consequences.
#[derive(Debug, Default)]
pub struct Cause {
    /// Its reach is what was asked for, then what is derived from that.
    pub invalidation: Invalidation,
    /// How many items of its reach were asked for.
    pub asked: usize,
    /// Whether all of its consequences are in it, or everything in their stead.
    pub followed: Followed,
}

/// Where the order is kept.
#[derive(Debug)]
pub enum Journal {
    /// In this process: one node.
    Local(Local),
}

/// Whether this node may go on serving what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// It is as far as it has to be.
    Held,
    /// It has missed something.
    Lost,
}

/// Whether anybody may still serve what a record outdates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Nobody: the record may be acknowledged.
    Closed,
    /// A node that has not applied it yet, and whose lease still runs.
    Open,
}

impl Journal {
    /// One that goes on behind `applied`, in this process.
    pub fn local(applied: Position) -> Self {
        Self::Local(Local(Mutex::new(Records { last: applied, waiting: VecDeque::new() })))
    }

    /// Gives a record its place.
    pub fn append(&self, record: Record) -> Position {
        match self {
            Self::Local(local) => local.append(record),
        }
    }

    /// The oldest record that was not read here, and its place: whoever gets it has to raise it before he reads on.
    pub fn read(&self) -> Option<(Position, Arc<Record>)> {
        match self {
            Self::Local(local) => local.records().waiting.pop_front(),
        }
    }

    /// Says that this node has applied everything up to `applied`, without a gap; whether it may go on.
    pub fn renew(&self, _applied: Position) -> Lease {
        match self {
            // A node that is alone cannot be shut out.
            Self::Local(_) => Lease::Held,
        }
    }

    /// Shuts out every other node that has not applied `position`.
    pub fn fence(&self, _position: Position) -> Fence {
        match self {
            // There is no other.
            Self::Local(_) => Fence::Closed,
        }
    }
}

/// The journal of a node that is alone. It holds what waits to be raised, and that is what its own callers brought.
#[derive(Debug)]
pub struct Local(Mutex<Records>);

#[derive(Debug)]
struct Records {
    last: Position,
    waiting: VecDeque<(Position, Arc<Record>)>,
}

impl Local {
    fn append(&self, record: Record) -> Position {
        let mut records = self.records();
        records.last.n += 1;
        let position = records.last;
        records.waiting.push_back((position, Arc::new(record)));
        position
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_once_in_the_order_of_their_places() {
        let began = Position { epoch: 7, n: 3 };
        let journal = Journal::local(began);
        assert!(journal.read().is_none());
        let places: Vec<Position> = (0..3).map(|_| journal.append(Record::default())).collect();
        assert_eq!(
            places.iter().map(|place| (place.epoch, place.n)).collect::<Vec<_>>(),
            [(7, 4), (7, 5), (7, 6)]
        );
        for place in places {
            assert_eq!(journal.read().map(|(place, _)| place), Some(place));
            assert_eq!(journal.renew(began), Lease::Held, "however far it is");
            assert_eq!(journal.fence(place), Fence::Closed);
        }
        assert!(journal.read().is_none());
        assert_eq!(journal.append(Record::default()).n, 7);
    }
}
