//! Learns what clients ask for, whoever looks at what is kept, and says what is worth keeping warm.
//!
//! Invariant: the hit path knows nothing of it; nobody waits for it. It refuses to know how anything is fetched.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::flow::again::Target;
use crate::flow::{Flow, Parts};
use crate::store::entry::Entry;
use crate::store::watch::{Gained, Told};
use crate::warm::learn::{Learner, Seen};
use crate::warm::run::Outcome;

/// Who learns what is asked for, whoever looks.
pub struct Pupil {
    learner: Mutex<Learner<Target>>,
    hash: ahash::RandomState,
    flow: Flow,
}

impl Pupil {
    /// Learns what is asked for through `flow` from now on; at most `top` are told to be worth it.
    pub fn of(top: usize, flow: &Flow) -> Arc<Self> {
        let parts = flow.parts();
        let Parts { store, clock, .. } = &*parts;
        let learner = Mutex::new(Learner::new(top, clock.now().wall));
        let pupil = Arc::new(Self { learner, hash: ahash::RandomState::new(), flow: flow.clone() });
        let told = Arc::downgrade(&pupil);
        store.watch(move |what| {
            if let (Told::Asked(entry, gained), Some(pupil)) = (what, told.upgrade()) {
                pupil.learn(entry, gained);
            }
        });
        pupil
    }

    /// What is worth keeping warm for so long, the best first, by the names that the learner gives.
    pub(crate) fn set(&self, ahead: Duration) -> Vec<(u64, Target)> {
        let parts = self.flow.parts();
        let Parts { clock, metrics, .. } = &*parts;
        let mut learner = self.learner();
        learner.settle();
        let set = learner.worth(clock.now().wall, ahead);
        let set: Vec<(u64, Target)> = set.into_iter().map(|(key, target)| (key, target.clone())).collect();
        let standing = learner.standing();
        metrics.learn().set(set.len(), standing.earned);
        tracing::debug!(known = standing.keys, set = set.len(), earned = ?standing.earned, "keeping warm");
        set
    }

    /// Takes in what became of a member of a set.
    pub(crate) fn fetched(&self, key: u64, outcome: &Outcome) {
        if *outcome == Outcome::Stored {
            self.learner().fetched(key);
        }
        self.flow.parts().metrics.learn().fetched(outcome.label());
    }

    /// Shows of how many targets more is known than a rough count.
    pub(crate) fn tell(&self) {
        let keys = self.learner().standing().keys;
        self.flow.parts().metrics.learn().known(keys);
    }

    fn learner(&self) -> MutexGuard<'_, Learner<Target>> {
        self.learner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, entry: &Entry, Gained { hits, misses }: Gained) {
        let (key, selector, life) = (entry.key(), &entry.selector, entry.life.fresh_for());
        let Some(target) = Target::of(key, selector).filter(|_| entry.part().is_none()) else { return };
        let (flow, now) = (&self.flow, self.flow.parts().clock.now().wall);
        let seen = Seen { key: self.hash.hash_one(&target), hits, misses, life };
        let again = || flow.brings_again(&target, key, selector).then(|| target.clone());
        self.learner().observe(seen, now, again);
    }
}
