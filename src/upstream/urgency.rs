//! Who goes first, where that may change while a request waits for its slot.
//!
//! Invariant: it only rises: by the most urgent of all who wait for the same answer.

use tokio::sync::watch;

use crate::upstream::Priority;

/// Whoever may hasten a request.
#[derive(Debug)]
pub struct Haste(watch::Sender<Priority>);

/// How urgent a request is, and whether that rises.
#[derive(Clone, Debug)]
pub struct Urgency(watch::Receiver<Priority>);

impl Default for Haste {
    /// Nobody waits yet.
    fn default() -> Self {
        Self(watch::Sender::new(Priority::Audit))
    }
}

impl Haste {
    /// Somebody of this priority waits.
    pub fn hasten(&self, priority: Priority) {
        self.0.send_if_modified(|urgency| {
            let is_higher = priority < *urgency;
            *urgency = priority.min(*urgency);
            is_higher
        });
    }

    /// For the request.
    pub fn told(&self) -> Urgency {
        Urgency(self.0.subscribe())
    }
}

impl Urgency {
    /// One that nobody changes.
    pub fn of(priority: Priority) -> Self {
        Self(watch::Sender::new(priority).subscribe())
    }

    /// How urgent it is now.
    pub(crate) fn now(&mut self) -> Priority {
        *self.0.borrow_and_update()
    }

    /// Waits until it is more urgent than when it was last asked; for ever, if nobody can hasten it.
    pub(crate) async fn risen(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
