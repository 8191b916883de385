//! Which series of the windows have a trend, and how large a change of each would matter.
//!
//! Invariant: a window in which too little happened is no point of a series, and keeps its place in time. It refuses to know
//! how a trend is told.

use crate::monitor::trend::{self, Better, Verdict};
use crate::monitor::window::{Ring, Traffic, Window};

/// A change of a ratio that matters.
const RATIO: f64 = 0.02;
/// A change of a latency or load that matters, of its median.
const SHARE: f64 = 0.2;
/// Fewest requests that make a ratio or a percentile a point.
const MIN_REQUESTS: u64 = 5;

/// How it goes with one route, or with all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trends {
    /// Reads answered from memory.
    pub hit_ratio: Verdict,
    /// p95 of those, in seconds.
    pub hit_latency: Verdict,
    /// p95 of the others, in seconds.
    pub miss_latency: Verdict,
    /// Requests at the origin at once.
    pub origin_load: Verdict,
}

/// The trends of what `traffic` picks of each window.
pub fn of<'w>(ring: &'w Ring, traffic: impl Fn(&'w Window) -> Option<&'w Traffic>) -> Trends {
    let points = |value: fn(&Traffic) -> Option<f64>| -> Vec<(f64, f64)> {
        let each = ring.iter().enumerate();
        each.filter_map(|(n, window)| Some((n as f64, value(traffic(window)?)?))).collect()
    };
    let relative = |value| {
        let points = points(value);
        trend::of(&points, Better::Lower, SHARE * median(&points))
    };
    let hit_ratio = |of: &Traffic| of.hit_ratio().filter(|_| of.read_count() >= MIN_REQUESTS);
    Trends {
        hit_ratio: trend::of(&points(hit_ratio), Better::Higher, RATIO),
        hit_latency: relative(|of| {
            of.hits.filter(|_| of.hit_count() >= MIN_REQUESTS).map(|times| times.p95.as_secs_f64())
        }),
        miss_latency: relative(|of| {
            of.misses.filter(|_| of.miss_count() >= MIN_REQUESTS).map(|times| times.p95.as_secs_f64())
        }),
        origin_load: relative(|of| Some(of.at_origin)),
    }
}

fn median(points: &[(f64, f64)]) -> f64 {
    let mut values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Cache;
    use crate::monitor::trend::Trend;
    use crate::monitor::window::tests::Bench;
    use std::sync::Arc;
    use std::time::Duration;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn hits_that_get_fewer_and_misses_that_get_slower_are_seen() {
        let (mut bench, mut ring) = (Bench::new(), Ring::default());
        for n in 0..30 {
            bench.answer(0, Cache::Hit, 90 - n, MS);
            bench.answer(0, Cache::Miss, 10 + n, (100 + 10 * n as u32) * MS);
            ring.push(Arc::new(bench.window()));
        }
        let trends = of(&ring, |window| Some(&window.all));
        let told = [trends.hit_ratio, trends.hit_latency, trends.miss_latency, trends.origin_load];
        use Trend::{Degrading, Stable};
        assert_eq!(told.map(|verdict| verdict.trend), [Degrading, Stable, Degrading, Degrading]);
    }

    #[test]
    fn windows_in_which_nothing_happened_are_no_points() {
        let (mut bench, mut ring) = (Bench::new(), Ring::default());
        for n in 0..40 {
            bench.answer(0, Cache::Hit, if n % 8 == 0 { 100 } else { 0 }, MS);
            ring.push(Arc::new(bench.window()));
        }
        let trends = of(&ring, |window| Some(&window.all));
        assert_eq!(trends.hit_ratio.trend, Trend::Unknown, "five points");
        assert_eq!(trends.origin_load.trend, Trend::Stable, "nothing at the origin is something");
    }
}
