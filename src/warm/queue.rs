//! What waits to be fetched, of all runs together, the most urgent first.
//!
//! Invariant: one queue, so that a run never overtakes what is more urgent in another; bounded by what runs may need.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;
use tokio::sync::Notify;

use crate::flow::again::Target;
use crate::flow::identities::Person;
use crate::warm::plan::Place;
use crate::warm::run::Run;
use crate::warm::task::Task;

/// Something to be done for a run.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) place: Place,
    pub(crate) run: Arc<Run>,
    /// Which of the run's parts it is of.
    pub(crate) part: usize,
    pub(crate) task: Arc<Task>,
    pub(crate) errand: Errand,
    pub(crate) whom: Whom,
    /// Times that it was tried.
    pub(crate) tries: u32,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) enum Errand {
    /// A path is fetched into the cache, with this `Origin`.
    Fetch(String, Option<HeaderValue>),
    /// What clients asked for is fetched; so the learner names it.
    Again(Target, u64),
    /// A page of the task's list is read, the n-th; so many values may still be taken.
    Read { page: String, nth: usize, left: usize },
}

impl Errand {
    /// What is asked for.
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Fetch(path, _) | Self::Read { page: path, .. } => path,
            Self::Again(target, _) => target.path(),
        }
    }
}

/// In whose name it is done.
#[derive(Clone, Debug)]
pub(crate) enum Whom {
    /// With the configured fields.
    Nobody,
    /// With what this person showed.
    Person(Person),
    /// With the configured fields, and this user named in the field for it (`warm.as`).
    As(HeaderValue),
}

impl Ord for Job {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place.cmp(&other.place)
    }
}

impl PartialOrd for Job {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Job {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Job {}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<BinaryHeap<Job>>,
    came: Notify,
}

impl Queue {
    /// Adds jobs, in one step.
    pub(crate) fn add(&self, jobs: impl IntoIterator<Item = Job>) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).extend(jobs);
        self.came.notify_one();
    }

    /// The most urgent job, as soon as there is one.
    pub(crate) async fn next(&self) -> Job {
        loop {
            let job = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let job = waiting.pop();
                if !waiting.is_empty() {
                    // One notification wakes one: he passes it on.
                    self.came.notify_one();
                }
                job
            };
            match job {
                Some(job) => return job,
                None => self.came.notified().await,
            }
        }
    }
}
