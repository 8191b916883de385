//! What entries that leave were good for since they were last looked at, for whoever wants to know.
//!
//! Invariant: nobody waits: what nobody takes up in time is forgotten, and nothing is kept of the bodies. While nobody wants to
//! know, nothing is noted.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::policy::Selector;
use crate::route::key::Key;
use crate::store::entry::{Entry, Gained};

/// Most that wait to be taken up.
const MAX_WAITING: usize = 4096;

/// An entry that left.
#[derive(Clone, Debug)]
pub struct Departed {
    /// What it answered.
    pub key: Key,
    /// Whom it answered.
    pub selector: Selector,
    /// For how long it was fresh.
    pub life: Duration,
    /// Who asked for it since it was last looked at.
    pub gained: Gained,
}

/// Who is told. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Departures(Arc<OnceLock<SyncSender<Departed>>>);

impl Departures {
    /// Tells of everything from now on; `None`: somebody else is told.
    pub(in crate::store) fn watch(&self) -> Option<Receiver<Departed>> {
        let (send, told) = sync_channel(MAX_WAITING);
        self.0.set(send).ok().map(|()| told)
    }

    /// Tells of one that leaves.
    pub(in crate::store) fn note(&self, entry: &Entry) {
        let Some(told) = self.0.get() else { return };
        let gained = entry.gained();
        if gained == Gained::default() || entry.part().is_some() {
            return;
        }
        let (key, selector) = (entry.key().clone(), entry.selector.clone());
        let _nobody_keeps_up =
            told.try_send(Departed { key, selector, life: entry.life.fresh_for(), gained });
    }
}
