//! What the origin charges for an answer: how long it takes, by route.
//!
//! Invariant: one place for each configured route, whatever is asked for. Only flights write here, never a hit.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use crate::flow::Shared;

/// What the newest answer counts, in mean and deviation (RFC 6298 §2: α and β).
const OF_MEAN: f32 = 1.0 / 8.0;
const OF_DEVIATION: f32 = 1.0 / 4.0;
/// Deviations above the mean that few answers exceed.
const MARGIN: f32 = 4.0;

/// By the route's number.
#[derive(Debug)]
pub(crate) struct Costs(boxcar::Vec<Mutex<Cost>>);

/// Seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    mean: f32,
    deviation: f32,
}

impl Costs {
    /// Nothing is known of so many routes.
    pub(crate) fn of(routes: usize) -> Self {
        let costs = Self(boxcar::Vec::new());
        costs.grow(routes);
        costs
    }

    /// Has a place for so many routes at least.
    pub(crate) fn grow(&self, routes: usize) {
        (self.0.count()..routes).for_each(|_| _ = self.0.push(Mutex::default()));
    }

    /// Notes that an answer of `route` took so long.
    pub(crate) fn note(&self, route: usize, took: Duration) {
        let Some(cost) = self.0.get(route) else { return };
        let mut cost = cost.lock().unwrap_or_else(PoisonError::into_inner);
        let took = took.as_secs_f32();
        if cost.mean == 0.0 {
            *cost = Cost { mean: took, deviation: took / 2.0 };
            return;
        }
        let off = (took - cost.mean).abs();
        cost.deviation += OF_DEVIATION * (off - cost.deviation);
        cost.mean += OF_MEAN * (took - cost.mean);
    }

    /// How long an answer of `route` takes at most, but for few; zero if nobody has asked yet.
    pub(crate) fn almost_always(&self, route: usize) -> Duration {
        let Some(cost) = self.0.get(route) else { return Duration::ZERO };
        let cost = *cost.lock().unwrap_or_else(PoisonError::into_inner);
        Duration::from_secs_f32((cost.mean + MARGIN * cost.deviation).max(0.0))
    }
}

impl Shared {
    /// Notes that the origin has answered a request on `route`, and how long that took.
    pub(in crate::flow) fn charged(&self, route: usize, took: Duration) {
        self.metrics.upstream_request(took);
        self.lasting.costs.note(route, took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_that_always_takes_as_long_is_expected_to_and_one_that_does_not_takes_longer() {
        let costs = Costs::of(2);
        assert_eq!(costs.almost_always(0), Duration::ZERO);
        for n in 0..100 {
            costs.note(0, Duration::from_millis(200));
            costs.note(1, Duration::from_millis(if n % 2 == 0 { 100 } else { 300 }));
        }
        let steady = costs.almost_always(0).as_secs_f32();
        assert!((steady - 0.2).abs() < 0.01, "{steady}");
        assert!(costs.almost_always(1) > Duration::from_millis(500));
        costs.note(99, Duration::from_secs(1));
        assert_eq!(costs.almost_always(99), Duration::ZERO, "of what has no place nothing is known");
        costs.grow(100);
        costs.note(99, Duration::from_secs(1));
        assert_eq!(costs.almost_always(99), Duration::from_secs(3), "it has one from now on");
    }
}
