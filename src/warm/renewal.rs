//! Fetches anew what is hot and about to expire, before anybody has to wait for it.
//!
//! ```text
//! every TICK ─ a slice of all entries ─ hot, and soon to expire ─► waiting ─ at its lead ─► fetched anew, within budget
//! ```
//! Invariant: the hit path knows nothing of it; nobody waits for it. It asks as who revalidates: clients go first. What it keeps
//! is bounded: [`MAX_WAITING`] entries. It refuses to know what is hot.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::clock::Now;
use crate::flow::again::Target;
use crate::flow::{Flow, Parts};
use crate::store::entry::{Entry, EntryId};
use crate::store::room::Hand;
use crate::store::tag_index::Progress;
use crate::warm::ahead::{Budget, Hot, Purse};

/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(100);
/// Slices of all entries that are looked at in one tick: a million entries in half a minute.
const SLICES: usize = 16;
/// From the beginning of one round over all entries to the next, at least.
const ROUND: Duration = Duration::from_secs(5);
/// Hot entries that are about to expire, at most.
const MAX_WAITING: usize = 1024;
/// Of them are fetched at once.
const AT_ONCE: usize = 16;

/// Renews until it is dropped.
pub async fn renew(budget: Budget, flow: Flow) {
    let parts = flow.parts();
    let Parts { clock, metrics, .. } = &*parts;
    let mut watch = Watch {
        purse: Purse::new(budget, clock.mono(), metrics.asked_of_origin()),
        waiting: HashMap::default(),
        renewals: JoinSet::new(),
        horizon: 2 * ROUND,
        flow,
    };
    let store = Arc::clone(&watch.flow.parts().store);
    loop {
        let (began, mut hand) = (watch.now().mono, Hand::default());
        let mut progress = Progress::More;
        while progress == Progress::More || watch.now().mono < began + ROUND {
            let now = watch.now();
            for _ in 0..SLICES {
                if progress == Progress::More {
                    let slice;
                    (slice, progress) = store.look_on(&mut hand);
                    slice.iter().for_each(|entry| watch.look(entry, now));
                }
            }
            watch.act(now);
            tokio::time::sleep(TICK).await;
        }
        watch.horizon = 2 * watch.now().mono.saturating_sub(began).max(ROUND);
    }
}

struct Watch {
    purse: Purse,
    /// Hot, and about to expire.
    waiting: HashMap<EntryId, Waiting, ahash::RandomState>,
    renewals: JoinSet<Target>,
    /// An entry that lives longer is looked at again in time.
    horizon: Duration,
    flow: Flow,
}

struct Waiting {
    entry: Arc<Entry>,
    /// How long the origin takes for it, as of when it began to wait.
    cost: Duration,
}

impl Watch {
    fn now(&self) -> Now {
        self.flow.parts().clock.now()
    }

    /// Looks at one entry of those that are kept.
    fn look(&mut self, entry: &Arc<Entry>, now: Now) {
        if entry.part().is_none() && entry.hits() > 0 && left(entry, now) < self.horizon {
            self.wait_for(entry, now);
        }
    }

    fn wait_for(&mut self, entry: &Arc<Entry>, now: Now) {
        let is_fresh =
            entry.softened().is_none() && entry.life.is_fresh(now) && !entry.life.always_validate();
        if is_fresh && hot(entry, Duration::ZERO, now).lead().is_some() {
            self.wait(entry);
        }
    }

    fn wait(&mut self, entry: &Arc<Entry>) {
        if self.waiting.len() >= MAX_WAITING {
            return;
        }
        let waiting = Waiting { entry: Arc::clone(entry), cost: self.flow.cost(entry) };
        self.waiting.insert(entry.id(), waiting);
    }

    fn act(&mut self, now: Now) {
        while let Some(Ok(target)) = self.renewals.try_join_next() {
            // Its successor may live for less than a round.
            if let Some(entry) = self.flow.kept_for(&target).filter(|entry| left(entry, now) < self.horizon) {
                self.wait(&entry);
            }
        }
        self.renew(now);
    }

    /// Fetches anew what is about to expire, what saves most first.
    fn renew(&mut self, now: Now) {
        let (flow, purse) = (&self.flow, &mut self.purse);
        let metrics = &flow.parts().metrics;
        let mut due: Vec<(f32, Arc<Entry>)> = Vec::new();
        self.waiting.retain(|_, Waiting { entry, cost }| {
            if entry.is_dead() || entry.softened().is_some() || !entry.life.is_fresh(now) {
                return false;
            }
            let (left, hot) = (left(entry, now), hot(entry, *cost, now));
            if hot.lead().is_some_and(|lead| left <= lead) {
                due.push((hot.worth(), Arc::clone(entry)));
            }
            true
        });
        due.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        for (_, entry) in due {
            if self.renewals.len() >= AT_ONCE {
                return;
            }
            if purse.take(now.mono, metrics.asked_of_origin()).is_err() {
                return metrics.learn().renewed("budget");
            }
            self.waiting.remove(&entry.id());
            let target = Target::of(entry.key(), &entry.selector);
            match target.zip(flow.renew_entry(&entry)) {
                Some((target, renewal)) => {
                    metrics.learn().renewed("renewed");
                    self.renewals.spawn(async move {
                        let _it_has_ended = renewal.await;
                        target
                    });
                }
                None => metrics.learn().renewed("skipped"),
            }
        }
    }
}

fn hot(entry: &Entry, cost: Duration, now: Now) -> Hot {
    Hot {
        hits: entry.hits(),
        kept: now.mono.saturating_sub(entry.life.received()),
        life: entry.life.fresh_for().saturating_sub(entry.life.initial_age()),
        cost,
    }
}

/// How long an entry stays fresh.
fn left(entry: &Entry, now: Now) -> Duration {
    entry.life.fresh_for().saturating_sub(entry.life.age(now))
}
