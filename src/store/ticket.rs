//! The ticket that a fetch takes before it touches the origin, and without which nothing is stored.
//!
//! Invariant: only [`crate::store::position::Gate`] makes one; while it lives, every floor that could refuse it is kept.

use std::sync::Arc;
use std::time::Duration;

use crate::store::position::{Arrival, Gate, Known, Outdated, Position};

/// Tells tickets apart; a later one is larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) struct Serial(u64);

impl Serial {
    pub(in crate::store) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Proof that a fetch began no earlier than its position.
#[derive(Debug)]
pub struct FillTicket {
    serial: Serial,
    position: Position,
    begun: Duration,
    gate: Arc<Gate>,
}

impl FillTicket {
    pub(in crate::store) fn new(
        serial: Serial,
        position: Position,
        begun: Duration,
        gate: Arc<Gate>,
    ) -> Self {
        Self { serial, position, begun, gate }
    }

    /// The position at which the fetch began.
    pub fn position(&self) -> Position {
        self.position
    }

    /// When (monotonic) the fetch began.
    pub fn begun(&self) -> Duration {
        self.begun
    }

    /// Whether an answer that depends on this is new enough for who comes now; the join rule of a flight.
    ///
    /// # Errors
    /// [`Outdated`] if one of them was invalidated since the ticket was taken, or may have been.
    pub fn check(&self, known: Known<'_>) -> Result<(), Outdated> {
        self.gate.check((self.position, self.begun), known)
    }

    /// Whether an answer that depends on this may be given to who came at `arrival`. What was invalidated after he came is
    /// nothing to him: else he could be kept waiting for ever.
    ///
    /// # Errors
    /// [`Outdated`] if one of them was invalidated between the ticket and his arrival, or may have been.
    pub fn check_for(&self, arrival: Arrival, known: Known<'_>) -> Result<(), Outdated> {
        self.gate.check_for((self.position, self.begun), known, arrival)
    }
}

impl Drop for FillTicket {
    fn drop(&mut self) {
        self.gate.release(self.serial);
    }
}
