//! What this process has told the journal, or is about to, until it reads it back; and what is not known yet to hold everywhere.
//!
//! Invariant: at most [`MAX_OWED`] of each, but for the one that outdates everything. It refuses to know who waits for it.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ahash::RandomState;
use tokio::sync::Notify;

use crate::invalidate::operation::{Operation, Progress};
use crate::invalidate::record::Record;
use crate::invalidate::wire::Name;
use crate::invalidate::{Adopts, Invalidator};
use crate::store::position::Position;
use crate::store::ticket::FillTicket;
use crate::store::{self, Store};

/// Most records that wait to be appended while Redis is away; beyond, one that outdates everything stands for the rest.
const MAX_OWED: usize = 10_000;

/// What is done when a record is applied here.
pub(in crate::invalidate) type Then =
    Box<dyn FnOnce(&Invalidator, &Record, store::Applied, Option<FillTicket>) + Send>;

/// What this process has brought, until it reads it back.
pub(in crate::invalidate) struct Own {
    pub(in crate::invalidate) by: u64,
    /// Of the secret under which credentials are digested here.
    pub(in crate::invalidate) secret: OnceLock<u64>,
    count: AtomicU64,
    waiting: Mutex<HashMap<u64, Brought>>,
    /// What is not known to hold everywhere yet; at most [`MAX_OWED`].
    under_way: Mutex<HashSet<u64>>,
    /// Told when nothing of that is left.
    all_told: Notify,
    /// Somebody is about to append that everything is outdated.
    pub(in crate::invalidate) owes_everything: AtomicBool,
}

/// One of them.
pub(in crate::invalidate) struct Brought {
    pub(in crate::invalidate) record: Arc<Record>,
    pub(in crate::invalidate) by: Option<Adopts>,
    pub(in crate::invalidate) then: Then,
    /// Every node has applied it, or is shut out until it has; this one may be such a one.
    pub(in crate::invalidate) is_everywhere: bool,
}

impl Default for Own {
    fn default() -> Self {
        Self {
            // All are as long as one another when they are written down.
            by: RandomState::new().hash_one(()) >> 1 | 1 << 62,
            secret: OnceLock::new(),
            count: AtomicU64::new(0),
            waiting: Mutex::default(),
            under_way: Mutex::default(),
            all_told: Notify::new(),
            owes_everything: AtomicBool::new(false),
        }
    }
}

impl Own {
    /// A name for what nobody here waits for.
    pub(in crate::invalidate) fn name(&self) -> Name {
        Name { by: self.by, count: self.count.fetch_add(1, Ordering::Relaxed) }
    }

    /// It holds everywhere, at `place`, and is not appended again. If it is never read here, what is kept here dies before: it is of
    /// an epoch that has ended, or behind a gap.
    pub(in crate::invalidate) fn is_everywhere(&self, name: &Name, place: Position, store: &Store) {
        let mut waiting = self.waiting();
        let applied = store.applied();
        if applied.epoch != place.epoch || applied.n >= place.n {
            waiting.remove(&name.count);
        } else if let Some(brought) = waiting.get_mut(&name.count) {
            brought.is_everywhere = true;
        }
    }

    /// Whatever stood in the journal before was not read, and never will be.
    pub(in crate::invalidate) fn begin_anew(&self) {
        self.waiting().retain(|_, brought| !brought.is_everywhere);
    }

    /// `None`: too much waits already.
    pub(in crate::invalidate) fn bring(&self, brought: Brought) -> Option<Name> {
        let (mut waiting, mut under_way) = (self.waiting(), self.under_way());
        if waiting.len() >= MAX_OWED || under_way.len() >= MAX_OWED {
            return None;
        }
        let name = self.name();
        waiting.insert(name.count, brought);
        under_way.insert(name.count);
        Some(name)
    }

    /// It waits, however many do.
    pub(in crate::invalidate) fn waits(&self, name: &Name, brought: Brought) {
        self.waiting().insert(name.count, brought);
        self.under_way().insert(name.count);
    }

    /// It holds everywhere, or another one stands for it.
    pub(in crate::invalidate) fn done(&self, name: &Name) {
        let mut under_way = self.under_way();
        under_way.remove(&name.count);
        if under_way.is_empty() {
            self.all_told.notify_waiters();
        }
    }

    /// How much is not known to hold everywhere.
    pub(in crate::invalidate) fn untold(&self) -> usize {
        self.under_way().len()
    }

    /// Waits until that is nothing.
    pub(in crate::invalidate) async fn all_told(&self) {
        let mut told = pin!(self.all_told.notified());
        told.as_mut().enable();
        while self.untold() > 0 {
            told.as_mut().await;
            told.set(self.all_told.notified());
            told.as_mut().enable();
        }
    }

    pub(in crate::invalidate) fn progress(&self, Operation { by, count }: Operation) -> Progress {
        if by != self.by || count >= self.count.load(Ordering::Relaxed) {
            return Progress::Lost;
        }
        if self.under_way().contains(&count) { Progress::Pending } else { Progress::Applied }
    }

    fn under_way(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::invalidate) fn secret(&self) -> u64 {
        self.secret.get().copied().unwrap_or_default()
    }

    pub(in crate::invalidate) fn take(&self, name: &Name) -> Option<Brought> {
        if name.by == self.by { self.waiting().remove(&name.count) } else { None }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Brought>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_brought_beyond_measure_is_not_kept() {
        let own = Own::default();
        let brought = || Brought {
            record: Arc::default(),
            by: None,
            then: Box::new(|_, _, _, _| {}),
            is_everywhere: false,
        };
        let names: Vec<_> = (0..MAX_OWED).map(|_| own.bring(brought()).unwrap()).collect();
        assert!(own.bring(brought()).is_none());
        assert!(own.take(&Name { by: own.by.wrapping_add(1), ..names[0] }).is_none(), "another node's");
        assert!(own.take(&names[0]).is_some() && own.take(&names[0]).is_none());
        let operation = Operation { by: own.by, count: names[0].count };
        assert!(own.bring(brought()).is_none(), "it does not hold everywhere yet");
        assert_eq!(own.progress(operation), Progress::Pending);
        own.done(&names[0]);
        assert_eq!(own.progress(operation), Progress::Applied);
        assert!(own.bring(brought()).is_some());
        let [foreign, future] =
            [(own.by + 1, 0), (own.by, u64::MAX)].map(|(by, count)| Operation { by, count });
        assert_eq!([foreign, future].map(|lost| own.progress(lost)), [Progress::Lost; 2]);
    }
}
