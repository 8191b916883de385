//! Looks at what was asked for, slice by slice, and acts: what is learnt is kept warm, what is hot is fetched anew in time.
//!
//! ```text
//! every TICK   a slice of all entries ─┬─ what their hits came to ──► learner ── every `every` ──► the set, fetched
//!              those that left ────────┘
//!                                      └─ hot, and soon to expire ──► waiting ── at its lead ────► fetched anew, within budget
//! ```
//! Invariant: the hit path knows nothing of it; nobody waits for it. It asks as the warmer, or as who revalidates: clients go
//! first. What it keeps is bounded: keepers, and [`MAX_WAITING`] entries. It ends with the task.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::task::JoinSet;

use crate::clock::Now;
use crate::flow::Flow;
use crate::flow::again::Target;
use crate::metrics::Metrics;
use crate::policy::Selector;
use crate::route::key::Key;
use crate::store::departed::Departed;
use crate::store::entry::{Entry, EntryId, Gained};
use crate::warm::ahead::{Budget, Hot, Purse};
use crate::warm::learn::{Learner, Seen};
use crate::warm::{Outcome, outcome};

/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(100);
/// Entries that are looked at in one tick: a million of them in half a minute, and at some percents of one core.
const SLICE: usize = 4096;
/// From the beginning of one round over all entries to the next, at least.
const ROUND: Duration = Duration::from_secs(5);
/// Hot entries that are about to expire, at most.
const MAX_WAITING: usize = 1024;
/// Of them are fetched at once.
const AT_ONCE: usize = 16;
/// An entry of the set that is fresh for so long, or less, is fetched anew; of one that lives shortly, in its last quarter.
const SOON: Duration = Duration::from_secs(60);

/// What of it is wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// `warm.learn`.
    pub learn: Option<Learn>,
    /// `warm.refresh_ahead`.
    pub ahead: Option<Budget>,
}

/// `warm.learn` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learn {
    /// The longest set.
    pub top: usize,
    /// Between two sets.
    pub every: Duration,
}

/// Watches until it is dropped; returns at once where nothing of it is wanted. `concurrency`: how many of a set are fetched at
/// once.
pub async fn watch(settings: Settings, concurrency: usize, flow: Flow, metrics: Arc<Metrics>) {
    let Some(departed) = flow.parts().store.departures().filter(|_| settings != Settings::default()) else {
        return;
    };
    let now = flow.parts().clock.now();
    let asked = metrics.learn().answers();
    let mut watch = Watch {
        learner: settings.learn.map(|learn| (learn, Learner::new(learn.top, now.wall))),
        due: now.mono + settings.learn.map_or(Duration::MAX / 2, |learn| learn.every),
        purse: settings.ahead.map(|budget| Purse::new(budget, now.mono, asked)),
        waiting: HashMap::default(),
        renewals: JoinSet::new(),
        sets: JoinSet::new(),
        hash: ahash::RandomState::new(),
        horizon: 2 * ROUND,
        concurrency: concurrency.max(1),
        departed,
        metrics,
        flow,
    };
    let store = Arc::clone(&watch.flow.parts().store);
    loop {
        let (began, mut entries) = (watch.now().mono, store.entries());
        let mut is_done = false;
        while !is_done || watch.now().mono < began + ROUND {
            let now = watch.now();
            let slice: Vec<Arc<Entry>> = entries.by_ref().take(SLICE).collect();
            is_done |= slice.len() < SLICE;
            slice.iter().for_each(|entry| watch.look(entry, now));
            drop(slice);
            watch.act(now);
            tokio::time::sleep(TICK).await;
        }
        watch.horizon = 2 * watch.now().mono.saturating_sub(began).max(ROUND);
    }
}

struct Watch {
    learner: Option<(Learn, Learner<Target>)>,
    /// When (monotonic) the next set is.
    due: Duration,
    purse: Option<Purse>,
    /// Hot, and about to expire.
    waiting: HashMap<EntryId, Arc<Entry>, ahash::RandomState>,
    renewals: JoinSet<Target>,
    /// What was fetched of a set.
    sets: JoinSet<Vec<(u64, Outcome)>>,
    hash: ahash::RandomState,
    /// An entry that lives longer is looked at again in time.
    horizon: Duration,
    concurrency: usize,
    departed: Receiver<Departed>,
    metrics: Arc<Metrics>,
    flow: Flow,
}

impl Watch {
    fn now(&self) -> Now {
        self.flow.parts().clock.now()
    }

    /// Looks at one entry of those that are kept.
    fn look(&mut self, entry: &Arc<Entry>, now: Now) {
        if entry.is_dead() || entry.part().is_some() {
            return;
        }
        if self.learner.is_some() {
            let gained = entry.gained();
            self.learn(entry.key(), &entry.selector, entry.life.fresh_for(), gained, now);
        }
        if self.purse.is_some() && entry.hits() > 0 && left(entry, now) < self.horizon {
            self.wait_for(entry, now);
        }
    }

    fn learn(&mut self, key: &Key, selector: &Selector, life: Duration, gained: Gained, now: Now) {
        let Some((_, learner)) = &mut self.learner else { return };
        if gained == Gained::default() {
            return;
        }
        let Some(target) = Target::of(key, selector) else { return };
        let Gained { hits, misses } = gained;
        let seen = Seen { key: self.hash.hash_one(&target), hits, misses, life };
        let flow = &self.flow;
        learner.observe(seen, now.wall, || flow.brings_again(&target, key, selector).then_some(target));
    }

    fn wait_for(&mut self, entry: &Arc<Entry>, now: Now) {
        let is_fresh =
            entry.softened().is_none() && entry.life.is_fresh(now) && !entry.life.always_validate();
        if is_fresh && self.waiting.len() < MAX_WAITING {
            self.waiting.insert(entry.id(), Arc::clone(entry));
        }
    }

    fn act(&mut self, now: Now) {
        while let Ok(Departed { key, selector, life, gained }) = self.departed.try_recv() {
            self.learn(&key, &selector, life, gained, now);
        }
        while let Some(Ok(target)) = self.renewals.try_join_next() {
            // Its successor may live for less than a round.
            if let Some(entry) = self.flow.kept(&target).filter(|entry| left(entry, now) < self.horizon) {
                self.wait_for(&entry, now);
            }
        }
        while let Some(Ok(fetched)) = self.sets.try_join_next() {
            self.note(&fetched);
        }
        if let Some((_, learner)) = &self.learner {
            self.metrics.learn().known(learner.standing().keys);
        }
        self.renew(now);
        self.keep_warm(now);
    }

    /// Fetches anew what is about to expire, what saves most first.
    fn renew(&mut self, now: Now) {
        let Some(purse) = &mut self.purse else { return };
        let (flow, metrics) = (&self.flow, &self.metrics);
        let mut due: Vec<(f32, Arc<Entry>)> = Vec::new();
        self.waiting.retain(|_, entry| {
            if entry.is_dead() || entry.softened().is_some() || !entry.life.is_fresh(now) {
                return false;
            }
            let left = left(entry, now);
            let hot = Hot {
                hits: entry.hits(),
                kept: now.mono.saturating_sub(entry.life.received()),
                life: entry.life.fresh_for().saturating_sub(entry.life.initial_age()),
                cost: flow.cost(entry),
            };
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
            if purse.take(now.mono, metrics.learn().answers()).is_err() {
                return metrics.learn().renewed("budget");
            }
            self.waiting.remove(&entry.id());
            let target = Target::of(entry.key(), &entry.selector);
            match target.zip(flow.renew(&entry)) {
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

    /// Fetches the set, when it is due and the one before is done.
    fn keep_warm(&mut self, now: Now) {
        let Some((learn, learner)) = self.learner.as_mut().filter(|_| now.mono >= self.due) else { return };
        if !self.sets.is_empty() {
            return;
        }
        self.due = now.mono + learn.every;
        learner.settle();
        let set = learner.worth(now.wall, learn.every);
        let set: Vec<(u64, Target)> = set.into_iter().map(|(key, target)| (key, target.clone())).collect();
        let standing = learner.standing();
        self.metrics.learn().set(set.len(), standing.earned);
        tracing::debug!(known = standing.keys, set = set.len(), earned = ?standing.earned, "keeping warm");
        let (flow, concurrency) = (self.flow.clone(), self.concurrency);
        self.sets.spawn(async move {
            let asked: Vec<_> =
                set.into_iter().map(|(key, target)| keep(flow.clone(), key, target)).collect();
            futures_util::stream::iter(asked).buffer_unordered(concurrency).collect().await
        });
    }

    fn note(&mut self, fetched: &[(u64, Outcome)]) {
        let Some((_, learner)) = &mut self.learner else { return };
        for (key, outcome) in fetched {
            if *outcome == Outcome::Stored {
                learner.fetched(*key);
            }
            self.metrics.learn().fetched(match outcome {
                Outcome::Stored => "stored",
                Outcome::Fresh => "fresh",
                Outcome::Bypassed => "bypass",
                Outcome::Failed | Outcome::Away => "failed",
            });
        }
    }
}

/// Fetches `target`, unless it is there and stays so for a while.
async fn keep(flow: Flow, key: u64, target: Target) -> (u64, Outcome) {
    let Some(entry) = flow.kept(&target) else {
        return (key, outcome(flow.warm_again(&target).await).await);
    };
    if left(&entry, flow.parts().clock.now()) > SOON.min(entry.life.fresh_for() / 4) {
        return (key, Outcome::Fresh);
    }
    let renewal = flow.renew(&entry);
    drop(entry);
    match renewal {
        Some(renewal) => match renewal.await {
            Ok(()) => (key, Outcome::Stored),
            Err(_) => (key, Outcome::Failed),
        },
        None => (key, Outcome::Fresh),
    }
}

/// How long an entry stays fresh.
fn left(entry: &Entry, now: Now) -> Duration {
    entry.life.fresh_for().saturating_sub(entry.life.age(now))
}
