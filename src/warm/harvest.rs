//! What entries earn that warming fetched: whoever looks at the hit counter that each of them has anyway tells of it.
//!
//! Invariant: an entry is remembered by its name, as long as it is fresh and kept, and holds no memory for that. Serving knows
//! nothing of it; nobody waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::metrics::Metrics;
use crate::route::identity::Digest;
use crate::store::entry::{Entry, EntryId};
use crate::store::watch::{Gained, Told};
use crate::warm::door::Door;
use crate::warm::run::Run;

/// What was fetched and is still of use; so no more than what the store keeps.
pub(crate) struct Harvest {
    watched: Mutex<HashMap<EntryId, Watched, ahash::RandomState>>,
    door: Arc<dyn Door>,
    metrics: Arc<Metrics>,
}

/// For whom an entry earns.
#[derive(Debug)]
pub(crate) struct Watched {
    /// The run that fetched it, and for which of its parts.
    pub(crate) run: Arc<Run>,
    pub(crate) part: usize,
    /// What metrics call the task.
    pub(crate) label: Arc<str>,
    /// Whose it is, if it is somebody's.
    pub(crate) whose: Option<Digest>,
}

impl Harvest {
    /// Hears of what is behind `door` from now on.
    pub(crate) fn of(door: Arc<dyn Door>, metrics: Arc<Metrics>) -> Arc<Self> {
        let harvest = Arc::new(Self { watched: Mutex::default(), door, metrics });
        let told = Arc::downgrade(&harvest);
        harvest.door.watch(Box::new(move |what| {
            if let Some(harvest) = told.upgrade() {
                harvest.told(what);
            }
        }));
        harvest
    }

    /// Counts what `entry` earns from now on. What was told to earn for somebody already goes on to.
    pub(crate) fn watch(&self, entry: &Entry, watched: Watched) {
        self.lock().entry(entry.id()).or_insert(watched);
        // It may have gone before anybody knew of it here.
        if entry.is_over() {
            self.gone(entry);
        }
    }

    fn told(&self, what: Told<'_>) {
        match what {
            Told::Stored(..) => {}
            Told::Asked(entry, Gained { hits, .. }) => self.asked(entry, u64::from(hits)),
            Told::Gone(entry, _) => self.gone(entry),
        }
    }

    fn asked(&self, entry: &Entry, hits: u64) {
        let whose = {
            let watched = self.lock();
            let Some(watched) = watched.get(&entry.id()).filter(|_| hits > 0) else { return };
            watched.run.earned(watched.part, hits);
            self.metrics.warming().earned(&watched.label, hits);
            watched.whose
        };
        whose.into_iter().for_each(|whose| self.door.seen(whose));
    }

    fn gone(&self, entry: &Entry) {
        let watched = self.lock().remove(&entry.id());
        if let Some(watched) = watched.filter(|_| entry.hits() == 0) {
            watched.run.wasted(watched.part);
            self.metrics.warming().wasted(&watched.label);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EntryId, Watched, ahash::RandomState>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
