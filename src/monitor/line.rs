//! Where the lines are that alerts begin and end at, and where a window lies.
//!
//! | kind | held against it | begins | ends | says nothing |
//! |---|---|---|---|---|
//! | `hit-ratio` | reads answered from memory | below `target_hit_ratio` | a fifth of the way up to 1, at most 0.02, above it | few reads |
//! | `latency` | p95 of all reads, hits and misses: what clients feel | above `target_latency` | 0.9 of it | few reads |
//! | `memory` | the share in use of the nearer limit | at the high water mark | at the low one | |
//! | `evictions` | entries evicted by read: what more room could add to the hit ratio, at most | above 0.1 | 0.05 | few reads |
//! | `redis` | whether it does what is wanted of it | it does not | it does | nothing is wanted |
//! | `warming` | the share of warming that failed | above 0.1 | 0.05 | nothing was warmed |
//! | `acknowledgements` | p95 of how long they took | above 1 s | 0.5 s | there were none |
//!
//! Invariant: a window lies on one side. It refuses to know what was before.

use std::sync::Arc;
use std::time::Duration;

use crate::monitor::alert::{Kind, Measure, Side};
use crate::monitor::window::{Redis, Traffic, Window};
use crate::store::room::Marks;

/// Fewest reads of a window that says anything of ratios and percentiles.
pub const MIN_READS: u64 = 20;
/// Evicted entries by read.
const EVICTED: Lines = Lines { beyond: 0.1, back: 0.05 };
/// Share of warming that failed.
const FAILED: Lines = Lines { beyond: 0.1, back: 0.05 };
/// Seconds that acknowledgements take: a healthy fleet's take milliseconds, and a node that is cut off costs a lease.
const ACK: Lines = Lines { beyond: 1.0, back: 0.5 };

/// What is wanted; `None`: there is no line, and no alert.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Targets {
    /// `monitor.target_hit_ratio`, 0 to 1.
    pub hit_ratio: Option<f64>,
    /// `monitor.target_latency`.
    pub latency: Option<Duration>,
    /// `limits.high` and `limits.low`: the water marks, shares of what memory may hold.
    pub marks: Marks,
}

/// Too much is beyond `beyond`; up to `back` is enough to end it.
#[derive(Clone, Copy, Debug)]
struct Lines {
    beyond: f64,
    back: f64,
}

/// What `window` says of `kind`.
pub fn measure(kind: Kind, window: &Window, targets: &Targets) -> Option<Measure> {
    let is_busy = window.all.read_count() >= MIN_READS;
    match kind {
        Kind::HitRatio if is_busy => hit_ratio(window, targets.hit_ratio?),
        Kind::Latency if is_busy => latency(window, targets.latency?.as_secs_f64()),
        Kind::Evictions if is_busy => {
            Some(EVICTED.of(window.evicted as f64 / window.all.read_count() as f64, None))
        }
        Kind::HitRatio | Kind::Latency | Kind::Evictions => None,
        Kind::Memory => {
            let (Marks { high, low }, used) = (targets.marks, window.memory.used);
            let side = if used >= high { Side::Beyond } else { behind(used <= low) };
            Some(Measure { side, value: used, target: high, route: None })
        }
        Kind::Redis => {
            let is_there = window.redis? == Redis::There;
            let side = if is_there { Side::Back } else { Side::Beyond };
            Some(Measure { side, value: f64::from(u8::from(is_there)), target: 1.0, route: None })
        }
        Kind::Warming => {
            let (asked, failed) = window.warmed;
            (asked > 0).then(|| FAILED.of(failed as f64 / asked as f64, None))
        }
        Kind::Acknowledgements => Some(ACK.of(window.acks?.p95.as_secs_f64(), None)),
    }
}

fn hit_ratio(window: &Window, target: f64) -> Option<Measure> {
    let value = window.all.hit_ratio()?;
    let enough = target + ((1.0 - target) / 5.0).min(0.02);
    let side = if value < target { Side::Beyond } else { behind(value >= enough) };
    let route = worst(window, |traffic| Some(traffic.miss_count() as f64));
    Some(Measure { side, value, target, route })
}

fn latency(window: &Window, target: f64) -> Option<Measure> {
    let lines = Lines { beyond: target, back: 0.9 * target };
    let route = worst(window, |traffic| {
        // Not the slowest one, which may be asked for once: the one of which most is waited for.
        let slow = traffic.reads?.p95.as_secs_f64() > target;
        slow.then(|| traffic.reads.map_or(0.0, |times| times.p95.as_secs_f64()) * traffic.read_count() as f64)
    });
    Some(lines.of(window.all.reads?.p95.as_secs_f64(), route))
}

/// The route that has most of `what`.
fn worst(window: &Window, what: impl Fn(&Traffic) -> Option<f64>) -> Option<Arc<str>> {
    let each = window.routes.iter().filter_map(|(route, traffic)| Some((route, what(traffic)?)));
    let worst = each.filter(|(_, much)| *much > 0.0).max_by(|(_, one), (_, other)| one.total_cmp(other));
    worst.map(|(route, _)| Arc::clone(route))
}

fn behind(is_back: bool) -> Side {
    if is_back { Side::Back } else { Side::Between }
}

impl Lines {
    fn of(self, value: f64, route: Option<Arc<str>>) -> Measure {
        let side = if value > self.beyond { Side::Beyond } else { behind(value <= self.back) };
        Measure { side, value, target: self.beyond, route }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Cache;
    use crate::monitor::window::tests::Bench;
    use crate::monitor::window::{Memory, Times};

    const TARGETS: Targets = Targets {
        hit_ratio: Some(0.9),
        latency: Some(Duration::from_millis(50)),
        marks: Marks { high: 0.95, low: 0.9 },
    };
    const MS: Duration = Duration::from_millis(1);

    #[track_caller]
    fn side(kind: Kind, window: &Window) -> Option<Side> {
        measure(kind, window, &TARGETS).map(|measure| measure.side)
    }

    /// So many hits of one millisecond and misses of one second in a hundred, on two routes.
    fn reads(hits: usize, misses: usize) -> Window {
        let mut bench = Bench::new();
        bench.answer(0, Cache::Hit, hits, MS);
        bench.answer(1, Cache::Miss, misses, 1000 * MS);
        bench.answer(2, Cache::Bypass, 1000, 9000 * MS);
        bench.window()
    }

    #[test]
    fn a_hit_ratio_has_to_be_a_little_above_its_target_to_be_back() {
        let each = [(80, 20), (89, 11), (90, 10), (91, 9), (92, 8), (100, 0)];
        let sides = each.map(|(hits, misses)| side(Kind::HitRatio, &reads(hits, misses)).unwrap());
        use Side::{Back, Between, Beyond};
        assert_eq!(sides, [Beyond, Beyond, Between, Between, Back, Back]);
    }

    #[test]
    fn the_route_that_misses_most_is_named() {
        let measure = measure(Kind::HitRatio, &reads(10, 20), &TARGETS).unwrap();
        assert_eq!((measure.route.as_deref(), measure.target), (Some("/b"), 0.9));
    }

    #[test]
    fn latency_is_of_hits_and_misses_and_of_nothing_that_passes_by() {
        assert_eq!(side(Kind::Latency, &reads(100, 0)), Some(Side::Back));
        let slow = reads(90, 10);
        assert_eq!(side(Kind::Latency, &slow), Some(Side::Beyond));
        assert_eq!(measure(Kind::Latency, &slow, &TARGETS).unwrap().route.as_deref(), Some("/b"));
    }

    #[test]
    fn few_reads_and_no_target_say_nothing() {
        let few = reads(0, 19);
        for kind in [Kind::HitRatio, Kind::Latency, Kind::Evictions] {
            assert_eq!(side(kind, &few), None);
        }
        let none = Targets { hit_ratio: None, latency: None, ..TARGETS };
        for kind in [Kind::HitRatio, Kind::Latency] {
            assert_eq!(measure(kind, &reads(0, 100), &none), None);
        }
    }

    #[test]
    fn memory_is_under_pressure_from_the_high_mark_to_the_low_one() {
        let mut window = reads(0, 0);
        let sides = [0.96, 0.93, 0.9].map(|used| {
            window.memory = Memory { used, ..Memory::default() };
            side(Kind::Memory, &window).unwrap()
        });
        assert_eq!(sides, [Side::Beyond, Side::Between, Side::Back]);
    }

    #[test]
    fn evictions_are_held_against_reads() {
        let mut window = reads(50, 50);
        let sides = [11, 10, 5].map(|evicted| {
            window.evicted = evicted;
            side(Kind::Evictions, &window).unwrap()
        });
        assert_eq!(sides, [Side::Beyond, Side::Between, Side::Back]);
    }

    #[test]
    fn redis_warming_and_acknowledgements_speak_only_where_there_are_any() {
        let mut window = reads(0, 0);
        let kinds = [Kind::Redis, Kind::Warming, Kind::Acknowledgements];
        assert_eq!(kinds.map(|kind| side(kind, &window)), [None; 3]);
        let took = |time| Some(Times { p50: MS, p95: time, p99: time });
        (window.redis, window.warmed, window.acks) = (Some(Redis::Away("x")), (10, 2), took(1001 * MS));
        assert_eq!(kinds.map(|kind| side(kind, &window)), [Some(Side::Beyond); 3]);
        (window.redis, window.warmed, window.acks) = (Some(Redis::There), (10, 0), took(20 * MS));
        assert_eq!(kinds.map(|kind| side(kind, &window)), [Some(Side::Back); 3]);
    }
}
