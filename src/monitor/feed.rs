//! What changed, for whoever is looking on: new windows, and alerts that begin and end.
//!
//! Invariant: nobody who tells waits for anybody who listens: a listener that is [`BEHIND`] changes behind misses the oldest,
//! and is told so. It refuses to know who listens.

use std::sync::Arc;

use tokio::sync::broadcast::{self, Receiver, Sender};

use crate::monitor::alert::Notice;
use crate::monitor::window::Window;

/// Changes that a listener may be behind.
pub const BEHIND: usize = 64;

/// One change.
#[derive(Clone, Debug)]
pub enum Change {
    /// A window has ended.
    Window(Arc<Window>),
    /// An alert begins or ends.
    Alert(Notice),
}

/// The way to all listeners.
#[derive(Clone, Debug)]
pub struct Feed(Sender<Change>);

impl Default for Feed {
    fn default() -> Self {
        Self(broadcast::channel(BEHIND).0)
    }
}

impl Feed {
    /// Everything from now on.
    pub fn listen(&self) -> Receiver<Change> {
        self.0.subscribe()
    }

    pub(in crate::monitor) fn tell(&self, change: Change) {
        let _nobody_listens = self.0.send(change);
    }
}
