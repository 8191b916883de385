//! Why requests went on to the origin.
//!
//! Invariant: reasons are words of this program's own, so there are few of them.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::counter::Counter;

use crate::metrics::{Metrics, RouteReason};

/// The reasons that a route has seen: the same counters that are scraped.
#[derive(Debug, Default)]
pub(in crate::metrics) struct Reasons(Mutex<Vec<(&'static str, Counter)>>);

impl Metrics {
    /// Counts a request on `route` (as in [`Self::request`]) that the cache did not answer, and why it did not.
    pub fn missed(&self, route: usize, reason: &'static str) {
        let route = self.route(route);
        let mut seen = route.misses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, counter)) = seen.iter().find(|(known, _)| *known == reason) {
            counter.inc();
            return;
        }
        let labels = RouteReason { route: Arc::clone(&route.name), reason };
        let counter = self.misses.get_or_create_owned(&labels);
        counter.inc();
        seen.push((reason, counter));
    }

    /// Those of `route` (as in [`Self::request`]) by reason, the most frequent first.
    pub fn misses(&self, route: usize) -> Vec<(&'static str, u64)> {
        let seen = self.route(route).misses.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts: Vec<_> = seen.iter().map(|(reason, counter)| (*reason, counter.get())).collect();
        drop(seen);
        counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_told_apart_by_route_the_most_frequent_first() {
        let metrics = Metrics::new(&["/a"]);
        for reason in ["uri-miss", "stale", "stale"] {
            metrics.missed(0, reason);
        }
        metrics.missed(9, "bypass");
        assert_eq!(metrics.misses(0), [("stale", 2), ("uri-miss", 1)]);
        assert_eq!(metrics.misses(1), [("bypass", 1)]);
        let text = metrics.encode();
        assert!(text.contains("larder_misses_total{route=\"/a\",reason=\"stale\"} 2\n"), "{text}");
    }
}
