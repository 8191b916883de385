//! Takes what was raised to its end: a small sweep at once, by whoever brought it; a large one behind his back, a little at
//! a time, where it keeps no other task waiting.
//!
//! ```text
//! begin ─ AT_ONCE steps ─┬ done: then
//!                        └ a task of its own ─┬─ its turn ─ STRETCH slices on a thread for such work ─┬ done: then
//!                                             └───────────── the others' turns ◄──────────────────────┘
//! ```
//! Invariant: what has begun is done, whether or not anybody waits for it. Large sweeps take turns, so none waits for the
//! end of another, and at most one thread holds on to the gate, however many there are.
//!
//! It refuses to know what is swept, and what follows.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::store::sweep::Sweep;
use crate::store::tag_index::Progress;
use crate::store::{Applied, Store};

/// Most tags and entries that are looked at by the task that brought an invalidation: well below a millisecond.
pub(in crate::invalidate) const AT_ONCE: usize = 1_024;

/// Slices of one large sweep before the next one's turn: some milliseconds.
const STRETCH: usize = 16;

/// Sweeps what is kept.
#[derive(Clone, Debug)]
pub(in crate::invalidate) struct Sweeper {
    store: Arc<Store>,
    /// Given to large sweeps in the order in which they ask for it.
    turn: Arc<Mutex<()>>,
}

/// What has begun.
#[derive(Debug)]
pub(in crate::invalidate) enum Course<T> {
    /// It is done.
    Done(T),
    /// It will be, whether or not anybody waits.
    UnderWay(JoinHandle<T>),
}

impl Sweeper {
    pub(in crate::invalidate) fn new(store: Arc<Store>) -> Self {
        Self { store, turn: Arc::default() }
    }

    /// Sweeps to the end, then does `then`: before it returns if there is little to look at, or no runtime to leave it to.
    pub(in crate::invalidate) fn begin<T: Send + 'static>(
        &self,
        mut sweep: Sweep,
        then: impl FnOnce(Applied) -> T + Send + 'static,
    ) -> Course<T> {
        let runtime = Handle::try_current();
        while self.store.sweep(&mut sweep) == Progress::More {
            if let Ok(runtime) = &runtime
                && sweep.steps() >= AT_ONCE
            {
                return Course::UnderWay(runtime.spawn(self.clone().go_on(sweep, then)));
            }
        }
        Course::Done(then(self.store.conclude(sweep)))
    }

    /// Keeps large sweeps from going on.
    #[cfg(test)]
    pub(in crate::invalidate) async fn hold(&self) -> impl Drop {
        Arc::clone(&self.turn).lock_owned().await
    }

    async fn go_on<T: Send + 'static>(
        self,
        mut sweep: Sweep,
        then: impl FnOnce(Applied) -> T + Send + 'static,
    ) -> T {
        let mut progress = Progress::More;
        while progress == Progress::More {
            let _turn = self.turn.lock().await;
            let store = Arc::clone(&self.store);
            (progress, sweep) = elsewhere(move || {
                let mut slices = 0..STRETCH;
                let is_done = slices.any(|_| store.sweep(&mut sweep) == Progress::Done);
                (if is_done { Progress::Done } else { Progress::More }, sweep)
            })
            .await;
        }
        // To count what was reached takes its time too.
        elsewhere(move || then(self.store.conclude(sweep))).await
    }
}

impl<T> Course<T> {
    /// Waits for its end.
    pub(in crate::invalidate) async fn end(self) -> T {
        match self {
            Self::Done(done) => done,
            Self::UnderWay(task) => joined(task).await,
        }
    }
}

/// Does something that takes long where no task waits for it.
pub(in crate::invalidate) async fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    joined(tokio::task::spawn_blocking(work)).await
}

async fn joined<T>(task: JoinHandle<T>) -> T {
    match task.await {
        Ok(done) => done,
        Err(why) => match why.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The process stops: nobody is told that it was done.
            Err(_) => std::future::pending().await,
        },
    }
}
