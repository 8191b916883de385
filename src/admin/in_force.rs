//! Which configuration is in force and since when, and the way to whoever wants to hear of another one.
//!
//! Invariant: nobody who reloads waits for anybody who listens. It refuses to know how a configuration comes into force.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::broadcast::{self, Receiver, Sender};

use crate::clock::Clock;

/// Reloads that a listener may be behind.
const BEHIND: usize = 16;

/// A configuration that came into force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its digest, as metrics show it.
    pub digest: String,
    /// Since when it is in force.
    pub at: SystemTime,
    /// What it changes of the one before, in words; nothing of the first one.
    pub changed: Vec<String>,
}

/// The configuration in force. Clones are the same.
#[derive(Clone, Debug)]
pub struct InForce(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    loaded: Mutex<Loaded>,
    told: Sender<Loaded>,
}

impl InForce {
    /// The first one, from now on.
    pub fn new(digest: impl Into<String>, clock: Clock) -> Self {
        let loaded = Loaded { digest: digest.into(), at: clock.now().wall, changed: Vec::new() };
        Self(Arc::new(Shared { clock, loaded: Mutex::new(loaded), told: broadcast::channel(BEHIND).0 }))
    }

    /// Another one is in force from now on; `changed` says in words what it changes. Whoever listens is told.
    pub fn reloaded(&self, digest: impl Into<String>, changed: Vec<String>) {
        let loaded = Loaded { digest: digest.into(), at: self.0.clock.now().wall, changed };
        *self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner) = loaded.clone();
        let _nobody_listens = self.0.told.send(loaded);
    }

    /// What is in force now.
    pub fn loaded(&self) -> Loaded {
        self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Hears of every other one from now on.
    pub fn listen(&self) -> Receiver<Loaded> {
        self.0.told.subscribe()
    }
}
