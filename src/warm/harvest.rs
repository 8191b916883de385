//! What entries earn that warming fetched: by the hit counter that each of them has anyway.
//!
//! Invariant: at most [`MAX_WATCHED`] entries are watched; one that is dead, or no longer fresh, is looked at for the last time
//! and let go, so the dead stay in memory until the next look at most. Serving knows nothing of it.

use std::sync::Arc;

use crate::clock::Now;
use crate::metrics::Metrics;
use crate::route::identity::Digest;
use crate::store::entry::Entry;
use crate::warm::run::Run;

/// Most entries that are watched; what is fetched beyond them earns nothing that is counted.
pub(crate) const MAX_WATCHED: usize = 10_000;

/// The entries that are watched.
#[derive(Debug, Default)]
pub(crate) struct Harvest(Vec<Watched>);

#[derive(Debug)]
pub(crate) struct Watched {
    /// What was stored.
    pub(crate) entry: Arc<Entry>,
    /// By which run, and for which of its parts.
    pub(crate) run: Arc<Run>,
    pub(crate) part: usize,
    /// What metrics call the task.
    pub(crate) label: Arc<str>,
    /// Whose it is, if it is somebody's.
    pub(crate) whose: Option<Digest>,
    /// Hits that are counted already.
    pub(crate) counted: u32,
}

impl Harvest {
    /// Watches an entry from now on.
    pub(crate) fn watch(&mut self, watched: Watched) {
        if self.0.len() < MAX_WATCHED {
            self.0.push(watched);
        }
    }

    /// Counts what was earned since the last look; gives whose entries were asked for.
    pub(crate) fn look(&mut self, now: Now, metrics: &Metrics) -> Vec<Digest> {
        let mut asked = Vec::new();
        self.0.retain_mut(|watched| {
            // Before its hits: who is served later is served by another entry.
            let is_over = watched.entry.is_dead() || !watched.entry.life.is_fresh(now);
            let hits = watched.entry.hits();
            let earned = u64::from(hits.saturating_sub(watched.counted));
            if earned > 0 {
                watched.counted = hits;
                watched.run.earned(watched.part, earned);
                metrics.warming().earned(&watched.label, earned);
                asked.extend(watched.whose);
            }
            if is_over && hits == 0 {
                watched.run.wasted(watched.part);
                metrics.warming().wasted(&watched.label);
            }
            !is_over
        });
        asked
    }
}
