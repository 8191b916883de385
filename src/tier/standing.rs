//! Whether the tier may be used now, and in which epoch.
//!
//! Invariant: whoever says so has a lease, and has read the journal of that epoch. It refuses to know how he came by them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How this node stands with the fleet, as far as the tier is concerned. Clones speak of the same.
#[derive(Clone, Debug, Default)]
pub struct Standing(Arc<AtomicU64>);

impl Standing {
    /// From now on the tier is used, in this epoch; 0: it is not.
    pub fn set(&self, epoch: u64) {
        self.0.store(epoch, Ordering::Release);
    }

    /// From now on it is not used.
    pub fn end(&self) {
        self.set(0);
    }

    /// The epoch in which it may be used now. To be asked with the ticket in hand: who may still come aboard a flight that
    /// goes by it came while it was so.
    pub fn epoch(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Acquire)).filter(|epoch| *epoch != 0)
    }
}
