//! Whether the tier may be used now, and in which epoch.
//!
//! Invariant: whoever says so keeps floors of that epoch for what is told. Whether there is a lease by now is for whoever asks to look at.
//! It refuses to know how an epoch begins and ends.

use std::sync::Arc;

use tokio::sync::watch;

/// How this node stands with the fleet, as far as the tier is concerned. Clones speak of the same.
#[derive(Clone, Debug)]
pub struct Standing(Arc<watch::Sender<u64>>);

impl Default for Standing {
    /// It may not be used.
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Standing {
    /// From now on the tier is used, in this epoch; 0: it is not.
    pub fn set(&self, epoch: u64) {
        self.0.send_replace(epoch);
    }

    /// From now on it is not used.
    pub fn end(&self) {
        self.set(0);
    }

    /// The epoch in which it may be used now. To be asked with the ticket in hand: who may still come aboard a flight that
    /// goes by it came while it was so.
    pub fn epoch(&self) -> Option<u64> {
        Some(*self.0.borrow()).filter(|epoch| *epoch != 0)
    }

    /// Waits until it has been used for the first time: before that there is no need to connect.
    pub(in crate::tier) async fn begun(&self) {
        let mut epochs = self.0.subscribe();
        // The sender lives in `self`, so the channel cannot close before.
        let _ = epochs.wait_for(|epoch| *epoch != 0).await;
    }
}
