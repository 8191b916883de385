//! The ticket that a fetch takes before it touches the origin, and without which nothing is stored.
//!
//! Invariant: only [`crate::store::position::Gate`] makes one; while it lives, every floor that could refuse it is kept.

use std::sync::Arc;

use crate::route::tag::Tag;
use crate::store::position::{Gate, Outdated, Position};

/// Proof that a fetch began no earlier than its position.
#[derive(Debug)]
pub struct FillTicket {
    position: Position,
    gate: Arc<Gate>,
}

impl FillTicket {
    pub(in crate::store) fn new(position: Position, gate: Arc<Gate>) -> Self {
        Self { position, gate }
    }

    /// The position at which the fetch began.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whether an answer with these tags would still be admitted; also the join rule of a flight.
    ///
    /// # Errors
    /// [`Outdated`] if one of `tags` was invalidated since the ticket was taken.
    pub fn check(&self, tags: &[Tag]) -> Result<(), Outdated> {
        self.gate.check(self.position, tags)
    }
}

impl Drop for FillTicket {
    fn drop(&mut self) {
        self.gate.release(self.position);
    }
}
