//! What has been counted so far, for who looks at it in this process: the same numbers that Prometheus scrapes.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use crate::metrics::{Cache, Metrics, Reason, RouteReason};

impl Metrics {
    /// Answered requests of `route` (as in [`Self::request`]) by what the cache did, in the order of [`Cache::ALL`].
    pub fn answered(&self, route: usize) -> [u64; Cache::COUNT] {
        let route = self.route(route);
        Cache::ALL.map(|cache| {
            let fast = route.requests.iter().skip(cache as usize).step_by(Cache::COUNT);
            let fast: u64 = fast.filter_map(OnceLock::get).map(|count| count.get()).sum();
            fast + route.others[cache as usize].load(Ordering::Relaxed)
        })
    }

    /// Answers on `route` (as in [`Self::request`]) that were fetched for the cache, and the seconds until their last byte, all
    /// together.
    pub fn fetched(&self, route: usize) -> (u64, f64) {
        let route = self.route(route);
        (route.fetched.load(Ordering::Relaxed), route.fetching.load(Ordering::Relaxed) as f64 / 1e6)
    }

    /// Requests on `route` (as in [`Self::request`]) that were neither answered from nor kept in the cache for `reason`.
    pub fn bypassed(&self, route: usize, reason: &'static str) -> u64 {
        let route = Arc::clone(&self.route(route).name);
        self.bypasses.get(&RouteReason { route, reason }).map_or(0, |count| count.get())
    }

    /// Answers of the origin so far; what audits asked for is not among them.
    pub fn asked_of_origin(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Entries that left the cache for `reason`.
    pub fn evictions(&self, reason: &'static str) -> u64 {
        self.evictions.get(&Reason { reason }).map_or(0, |count| count.get())
    }
}
