//! The ticket that a fetch takes before it touches the origin, and without which nothing is stored.
//!
//! Invariant: only [`crate::store::position::Gate`] makes one; while it lives, every floor that could refuse it is kept.

use std::sync::Arc;
use std::time::Duration;

use crate::store::position::{Gate, Known, Outdated, Position};

/// Proof that a fetch began no earlier than its position.
#[derive(Debug)]
pub struct FillTicket {
    position: Position,
    begun: Duration,
    gate: Arc<Gate>,
}

impl FillTicket {
    pub(in crate::store) fn new(position: Position, begun: Duration, gate: Arc<Gate>) -> Self {
        Self { position, begun, gate }
    }

    /// The position at which the fetch began.
    pub fn position(&self) -> Position {
        self.position
    }

    /// When (monotonic) the fetch began.
    pub fn begun(&self) -> Duration {
        self.begun
    }

    /// Whether an answer that depends on this is newer than all invalidations so far; the join rule of a flight.
    ///
    /// # Errors
    /// [`Outdated`] if one of them was invalidated since the ticket was taken, or may have been.
    pub fn check(&self, known: Known<'_>) -> Result<(), Outdated> {
        self.gate.check(self.position, known)
    }
}

impl Drop for FillTicket {
    fn drop(&mut self) {
        self.gate.release(self.position);
    }
}
