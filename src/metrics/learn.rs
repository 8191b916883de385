//! What is counted of warming that learns, and of entries that are fetched before they expire.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::metrics::{Metrics, Outcome, declare};

/// What was learnt, and what came of it.
#[derive(Debug)]
pub struct Learn {
    keys: Gauge,
    set: Gauge,
    earned: Gauge<f64, AtomicU64>,
    fetches: Family<Outcome, Counter>,
    renewals: Family<Outcome, Counter>,
}

impl Learn {
    pub(crate) fn declare(r: &mut Registry) -> Self {
        let earned: Gauge<f64, AtomicU64> = declare(
            r,
            "learn_earned_ratio",
            "Of what was fetched for a learned set, the share that earned a hit; -1 while too little is known",
        );
        earned.set(-1.0);
        Self {
            keys: declare(r, "learn_keys", "Targets of which more is known than a rough count"),
            set: declare(r, "learn_set", "Targets in the newest learned set"),
            earned,
            fetches: declare(r, "learn_requests", "Targets of learned sets, by what became of them"),
            renewals: declare(
                r,
                "refresh_ahead",
                "Hot entries that were about to expire, by what became of them",
            ),
        }
    }

    /// Shows of how many targets more is known than a rough count.
    pub fn known(&self, keys: usize) {
        self.keys.set(i64::try_from(keys).unwrap_or(i64::MAX));
    }

    /// Shows a new set, and what came of those before.
    pub fn set(&self, set: usize, earned: Option<f32>) {
        self.set.set(i64::try_from(set).unwrap_or(i64::MAX));
        self.earned.set(earned.map_or(-1.0, f64::from));
    }

    /// Counts a member of a set (`stored`, `fresh`, `bypass`, `failed`).
    pub fn fetched(&self, result: &'static str) {
        self.fetches.get_or_create(&Outcome { result }).inc();
    }

    /// Counts an entry that was about to expire (`renewed`, `budget`, `skipped`).
    pub fn renewed(&self, result: &'static str) {
        self.renewals.get_or_create(&Outcome { result }).inc();
    }
}

impl Metrics {
    /// What is counted of warming that learns.
    pub fn learn(&self) -> &Learn {
        &self.learn
    }
}
