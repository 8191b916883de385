//! What is counted of invalidations and of the messages that ask for them.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use crate::metrics::histogram::Histogram;
use crate::metrics::{Metrics, Reason, Tally, declare, histogram};

/// The metrics of invalidation.
#[derive(Debug)]
pub(in crate::metrics) struct Invalidations {
    asked: Family<SourceMode, Counter>,
    entries: Counter,
    lag: Histogram,
    ack: Histogram,
    unmatched: Counter,
    webhooks_refused: Family<Reason, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceMode {
    source: &'static str,
    mode: &'static str,
}

impl Invalidations {
    pub(in crate::metrics) fn declared(r: &mut Registry) -> Self {
        let (lag, ack) = (histogram(), histogram());
        let help = "Time from an invalidation's place in the order to its being applied";
        r.register_with_unit("invalidation_lag", help, Unit::Seconds, lag.clone());
        let help = "Time from an invalidation's arrival to its acknowledgement";
        r.register_with_unit("invalidation_ack", help, Unit::Seconds, ack.clone());
        Self {
            asked: declare(r, "invalidations", "Applied invalidations by where they came from"),
            entries: declare(r, "invalidated_entries", "Entries that invalidations removed or made stale"),
            lag,
            ack,
            unmatched: declare(r, "events_unmatched", "Named events for which events: has no rule"),
            webhooks_refused: declare(r, "webhooks_refused", "Webhooks that were not accepted"),
        }
    }
}

impl Invalidations {
    /// How long acknowledgements took.
    pub(in crate::metrics) fn acks(&self) -> Tally {
        self.ack.tally()
    }
}

impl Metrics {
    /// Counts one invalidation that was applied here.
    pub fn invalidated(&self, source: &'static str, mode: &'static str) {
        self.invalidations.asked.get_or_create(&SourceMode { source, mode }).inc();
    }

    /// How many of them there were.
    pub fn invalidations(&self, source: &'static str, mode: &'static str) -> u64 {
        self.invalidations.asked.get(&SourceMode { source, mode }).map_or(0, |count| count.get())
    }

    /// Entries that they removed or made stale.
    pub fn invalidated_entries(&self) -> u64 {
        self.invalidations.entries.get()
    }

    /// Counts one that was acknowledged, `took` after it came.
    pub fn acknowledged(&self, took: Duration) {
        self.invalidations.ack.observe(took);
    }

    /// Counts what one application reached, and the time that it took.
    pub fn invalidation_applied(&self, entries: u64, lag: Duration) {
        self.invalidations.entries.inc_by(entries);
        self.invalidations.lag.observe(lag);
    }

    /// Counts a named event that outdates nothing.
    pub fn event_unmatched(&self) {
        self.invalidations.unmatched.inc();
    }

    /// Counts a webhook that was not accepted.
    pub fn webhook_refused(&self, reason: &'static str) {
        self.invalidations.webhooks_refused.get_or_create(&Reason { reason }).inc();
    }
}
