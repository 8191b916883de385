//! The phases of the proxy's life, told to everyone who holds a connection: accept, finish what is open, stop.
//!
//! Invariant: phases only move forward.

use tokio::sync::watch;

/// Where the server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Connections are accepted.
    Accepting,
    /// No new connections; open requests end, then their connections.
    Draining,
    /// Whatever is still open is cut.
    Stopped,
}

/// The one who moves the phases.
#[derive(Debug)]
pub struct Drain(watch::Sender<Phase>);

/// One who is told.
#[derive(Clone, Debug)]
pub struct Watch(watch::Receiver<Phase>);

impl Default for Drain {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Accepting))
    }
}

impl Drain {
    /// Moves on to `phase`; moving back does nothing.
    pub fn enter(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let forward = phase > *now;
            if forward {
                *now = phase;
            }
            forward
        });
    }

    /// Someone who is told of every phase.
    pub fn watch(&self) -> Watch {
        Watch(self.0.subscribe())
    }
}

impl Watch {
    /// Whether it is `phase` or a later one.
    pub fn has_reached(&self, phase: Phase) -> bool {
        *self.0.borrow() >= phase
    }

    /// Waits until `phase` or a later one; a server whose owner is gone has stopped.
    pub async fn reached(&mut self, phase: Phase) {
        let _ = self.0.wait_for(|now| *now >= phase).await;
    }
}
