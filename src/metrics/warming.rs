//! What is counted of warming.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::metrics::{Metrics, Outcome, declare};

/// Upper bounds in seconds; with +Inf there are eight buckets. A run may take its time.
const BUCKETS: [f64; 7] = [0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0];

/// What warming asked for, and what that was worth.
#[derive(Debug)]
pub struct Warming {
    requests: Family<Outcome, Counter>,
    runs: Family<TaskResult, Counter>,
    seconds: Family<TaskLabel, Histogram>,
    hits: Family<TaskLabel, Counter>,
    wasted: Family<TaskLabel, Counter>,
}

impl Warming {
    pub(crate) fn declare(r: &mut Registry) -> Self {
        let seconds = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        let help = "Time from the beginning of a run to the last answer to one of its tasks";
        r.register_with_unit("warm_run", help, Unit::Seconds, seconds.clone());
        Self {
            requests: declare(r, "warm_requests", "Requests made to warm the cache"),
            runs: declare(r, "warm_runs", "Runs of warm tasks, by what came of them"),
            seconds,
            hits: declare(r, "warm_hits_earned", "Hits on entries that a warm task had fetched"),
            wasted: declare(
                r,
                "warm_entries_wasted",
                "Entries that a warm task had fetched, and that went or expired without a hit",
            ),
        }
    }

    /// Counts a request by its result (`stored`, `failed`, …).
    pub fn request(&self, result: &'static str) {
        self.requests.get_or_create(&Outcome { result }).inc();
    }

    /// Requests so far, and those of them that failed.
    pub(in crate::metrics) fn requested(&self) -> (u64, u64) {
        let counted = |result| self.requests.get(&Outcome { result }).map_or(0, |count| count.get());
        let failed = counted("failed");
        (["stored", "fresh", "bypass"].map(counted).iter().sum::<u64>() + failed, failed)
    }

    /// Counts a run of `task`, an id of the configuration or a word for what is none, that took so long.
    pub fn run(&self, task: &str, result: &'static str, took: Duration) {
        self.runs.get_or_create(&TaskResult { task: task.to_owned(), result }).inc();
        self.seconds.get_or_create(&TaskLabel { task: task.to_owned() }).observe(took.as_secs_f64());
    }

    /// Counts hits that entries of `task` earned.
    pub fn earned(&self, task: &str, hits: u64) {
        self.hits.get_or_create(&TaskLabel { task: task.to_owned() }).inc_by(hits);
    }

    /// Counts an entry of `task` that earned none.
    pub fn wasted(&self, task: &str) {
        self.wasted.get_or_create(&TaskLabel { task: task.to_owned() }).inc();
    }
}

impl Metrics {
    /// What is counted of warming.
    pub fn warming(&self) -> &Warming {
        &self.warming
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskLabel {
    task: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskResult {
    task: String,
    result: &'static str,
}
