//! What has been counted so far, for who looks at it in this process: the same numbers that Prometheus scrapes.

use std::sync::Arc;

use crate::metrics::histogram::Histogram;
use crate::metrics::{Cache, Metrics, Reason, RouteReason};

impl Metrics {
    /// Answered requests of `route` (as in [`Self::request`]) by what the cache did, in the order of [`Cache::ALL`].
    pub fn answered(&self, route: usize) -> [u64; Cache::COUNT] {
        let durations = &self.route(route).durations;
        Cache::ALL
            .map(|cache| durations[cache as usize].get().map_or(0, |durations| durations.tally().count()))
    }

    /// Answers on `route` (as in [`Self::request`]) that were fetched for the cache, and the seconds until their last byte, all
    /// together.
    pub fn fetched(&self, route: usize) -> (u64, f64) {
        let durations = self.route(route).durations[Cache::Miss as usize].get();
        let tally = durations.map(Histogram::tally).unwrap_or_default();
        (tally.count(), tally.sum().as_secs_f64())
    }

    /// Requests on `route` (as in [`Self::request`]) that were neither answered from nor kept in the cache for `reason`.
    pub fn bypassed(&self, route: usize, reason: &'static str) -> u64 {
        let route = Arc::clone(&self.route(route).name);
        self.bypasses.get(&RouteReason { route, reason }).map_or(0, |count| count.get())
    }

    /// Answers of the origin so far; what audits asked for is not among them.
    pub fn asked_of_origin(&self) -> u64 {
        self.upstream_duration.tally().count()
    }

    /// Entries that left the cache for `reason`.
    pub fn evictions(&self, reason: &'static str) -> u64 {
        self.evictions.get(&Reason { reason }).map_or(0, |count| count.get())
    }
}
