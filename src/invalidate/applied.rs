//! What an invalidation came to, as whoever asked for it hears it.

use std::ops::Deref;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::invalidate::audit::Tally;
use crate::invalidate::operation::Operation;
use crate::invalidate::sweeper::AT_ONCE;
use crate::store::entry::Entry;
use crate::store::position::Position;

/// An invalidation that was applied: what it reached is served no more, or as stale only. Another one that stands before it
/// may still be on its way.
#[derive(Debug)]
pub struct Applied {
    /// Where it stands in the order of invalidations.
    pub position: Position,
    /// What it removed, or made stale, counted.
    pub entries: Tally,
    /// The entries themselves.
    pub reached: Reached,
    /// Whether it holds everywhere.
    pub ack: Ack,
}

/// What is certain of an invalidation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// It holds: on every node of the fleet, if there is one.
    Applied,
    /// It holds here, and the other nodes are told of it (`coherence: broadcast`).
    Broadcast,
    /// It holds here. Nobody knows of other nodes, and it goes on until it holds there too. Under the name, if there is one, it
    /// can be asked for again; if there is none, everything is outdated there in its stead.
    Unconfirmed(Option<Operation>),
}

impl Ack {
    /// The word of `Larder-Ack`, and of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Broadcast => "broadcast",
            Self::Unconfirmed(_) => "unconfirmed",
        }
    }
}

/// Entries that were reached. To let go a million of them takes its time: that is done where no task waits for it.
#[derive(Debug, Default)]
pub struct Reached(Arc<Vec<Arc<Entry>>>);

impl Applied {
    /// Of what was reached together, the part of one who asked.
    pub(in crate::invalidate) fn of(position: Position, reached: Arc<Vec<Arc<Entry>>>) -> Self {
        Self { position, entries: Tally::of(&reached), reached: Reached(reached), ack: Ack::Applied }
    }
}

impl Deref for Reached {
    type Target = [Arc<Entry>];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for Reached {
    fn drop(&mut self) {
        if self.0.len() > AT_ONCE
            && let Ok(runtime) = Handle::try_current()
        {
            let gone = std::mem::take(&mut self.0);
            runtime.spawn_blocking(move || drop(gone));
        }
    }
}
