//! What is counted of the shared tier.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use crate::metrics::histogram::{Histogram, SHOWN};
use crate::metrics::{Metrics, Outcome, Tally, declare};

/// Upper bounds in seconds; with +Inf there are eight buckets. Nobody waits longer than the last but one.
pub(super) const BUCKETS: [f64; SHOWN] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1];

/// What the shared tier was asked for and told, and how long that took.
#[derive(Debug)]
pub struct Tier {
    reads: Family<Outcome, Counter>,
    /// Reads that came to anything.
    asked: AtomicU64,
    fills: Family<Outcome, Counter>,
    seconds: Family<Op, Histogram, fn() -> Histogram>,
}

impl Tier {
    pub(crate) fn declare(r: &mut Registry) -> Self {
        let seconds = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        let help = "Time that Redis took for what was asked of the shared tier, answered or not";
        r.register_with_unit("redis_op", help, Unit::Seconds, seconds.clone());
        Self {
            reads: declare(
                r,
                "tier_reads",
                "Reads for which the shared tier was to be asked, by what came of it",
            ),
            asked: AtomicU64::new(0),
            fills: declare(r, "tier_fills", "Answers for the shared tier, by what became of them"),
            seconds,
        }
    }

    /// Counts a read for which the tier was to be asked (`hit`, or why not).
    pub fn read(&self, result: &'static str) {
        self.reads.get_or_create(&Outcome { result }).inc();
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an answer for the tier (`stored`, or why not).
    pub fn fill(&self, result: &'static str) {
        self.fills.get_or_create(&Outcome { result }).inc();
    }

    /// Records how long `op` took.
    pub fn took(&self, op: &'static str, duration: Duration) {
        self.seconds.get_or_create(&Op { op }).observe(duration);
    }

    /// Reads that came to `result`.
    pub fn reads(&self, result: &'static str) -> u64 {
        self.reads.get(&Outcome { result }).map_or(0, |count| count.get())
    }

    /// Reads that came to anything.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// How long it took to be answered, or not.
    pub(super) fn read_times(&self) -> Tally {
        self.seconds.get(&Op { op: "get" }).map(|times| times.tally()).unwrap_or_default()
    }

    /// Answers that came to `result`.
    pub fn fills(&self, result: &'static str) -> u64 {
        self.fills.get(&Outcome { result }).map_or(0, |count| count.get())
    }
}

impl Metrics {
    /// What is counted of the shared tier.
    pub fn tier(&self) -> &Tier {
        &self.tier
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Op {
    op: &'static str,
}
