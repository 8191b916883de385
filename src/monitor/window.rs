//! What happened between two looks at the metrics: one window.
//!
//! ```text
//! look ─ Sample ──┐
//!                 ├─ Window::between ─ the newest of a Ring
//! look ─ Sample ──┘
//! ```
//! Invariant: a window is made of differences, so what it says holds for its span alone; what nobody asked for in it has no
//! ratio and no percentile, rather than zero. It refuses to know what is good and what is bad.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::clock::Now;
use crate::metrics::{Cache, FleetRedis, Reading, RouteReading, Tally};

/// Windows that are kept: an hour, if one is made every minute.
pub const MAX_WINDOWS: usize = 60;

/// Routes of which a window speaks; the others count in [`Window::all`].
pub const MAX_ROUTES: usize = 100;

/// One look.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When.
    pub at: Now,
    /// What had been counted.
    pub reading: Reading,
    /// What memory held.
    pub memory: Memory,
}

/// What memory holds, and may.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    /// Entries.
    pub entries: u64,
    /// `limits.entries`; `None`: bytes alone limit.
    pub most_entries: Option<u64>,
    /// What they weigh.
    pub bytes: u64,
    /// `limits.memory`.
    pub most_bytes: u64,
    /// How much of the nearer of the two limits is used, from 0.
    pub used: f64,
    /// Bytes that the whole process holds, entries among them; `None`: nobody knows.
    pub resident: Option<u64>,
    /// Bytes that its cgroup lets it hold; `None`: as many as there are.
    pub most_resident: Option<u64>,
}

/// Between two looks.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// When it ended.
    pub at: SystemTime,
    /// How long it took; above zero.
    pub span: Duration,
    /// All routes together.
    pub all: Traffic,
    /// Those routes of which anything was asked; of more than [`MAX_ROUTES`], those that were asked most.
    pub routes: Vec<(Arc<str>, Traffic)>,
    /// What the memory tier held at its end.
    pub memory: Memory,
    /// Entries that left for want of room.
    pub evicted: u64,
    /// The shared tier; `None`: it was not to be asked.
    pub tier: Option<Tier>,
    /// The origin.
    pub origin: Origin,
    /// Requests made to warm the cache, and those of them that failed.
    pub warmed: (u64, u64),
    /// How long acknowledgements took; `None`: there were none.
    pub acks: Option<Times>,
    /// Whether what this process wants of Redis could be had at its end; `None`: it wants nothing.
    pub redis: Option<Redis>,
}

/// What was asked of one route, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Answered requests, in the order of [`Cache::ALL`].
    pub requests: [u64; Cache::COUNT],
    /// What was answered from memory, stale or not.
    pub hits: Option<Times>,
    /// What the origin was waited for, to keep it.
    pub misses: Option<Times>,
    /// Both.
    pub reads: Option<Times>,
    /// How many requests were at the origin at once, on average.
    pub at_origin: f64,
}

/// Percentiles of how long answers took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Half of them took no longer.
    pub p50: Duration,
    /// 95 in a hundred.
    pub p95: Duration,
    /// 99 in a hundred.
    pub p99: Duration,
}

/// What the shared tier was good for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tier {
    /// Reads for which it was to be asked.
    pub asked: u64,
    /// Those that it answered.
    pub hits: u64,
    /// How long Redis took; `None`: nothing got as far.
    pub times: Option<Times>,
}

/// What the origin had to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Origin {
    /// Requests whose head it answered.
    pub requests: u64,
    /// Requests that got no whole answer.
    pub errors: u64,
    /// How long the heads took.
    pub times: Option<Times>,
    /// Requests that waited for a head at once, on average: what came in a second times how long each took (Little's law).
    pub concurrency: f64,
}

/// How it stands with Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redis {
    /// It does what is wanted of it.
    There,
    /// It does not, and why.
    Away(&'static str),
}

impl Window {
    /// What happened from `earlier` to `later`; `None` if no time went by.
    pub fn between(earlier: &Sample, later: &Sample) -> Option<Self> {
        let span = later.at.mono.checked_sub(earlier.at.mono).filter(|span| !span.is_zero())?;
        let (was, is) = (&earlier.reading, &later.reading);
        // Of a route that came meanwhile nothing was counted before.
        let none = RouteReading::default();
        let was_of = was.routes.iter().chain(std::iter::repeat(&none));
        let each = is.routes.iter().zip(was_of).map(|(is, was)| (Arc::clone(&is.route), since(is, was)));
        let each: Vec<_> = each.collect();
        let mut all: [Tally; Cache::COUNT] = Default::default();
        each.iter().for_each(|(_, counted)| all.iter_mut().zip(counted).for_each(|(sum, one)| sum.add(one)));
        let traffic = |(route, counted): (_, _)| (route, Traffic::of(&counted, span));
        let upstream = is.upstream.since(&was.upstream);
        let asked = is.tier_asked - was.tier_asked;
        Some(Self {
            at: later.at.wall,
            span,
            all: Traffic::of(&all, span),
            routes: busiest(each.into_iter().map(traffic)),
            memory: later.memory,
            evicted: is.evicted - was.evicted,
            tier: (asked > 0).then(|| Tier {
                asked,
                hits: is.tier_hits - was.tier_hits,
                times: Times::of(&is.tier_reads.since(&was.tier_reads)),
            }),
            origin: Origin {
                requests: upstream.count(),
                errors: is.upstream_errors - was.upstream_errors,
                times: Times::of(&upstream),
                concurrency: upstream.sum().as_secs_f64() / span.as_secs_f64(),
            },
            warmed: (is.warmed - was.warmed, is.warm_failed - was.warm_failed),
            acks: Times::of(&is.acks.since(&was.acks)),
            redis: Redis::of(is),
        })
    }

    /// `count` by the second.
    pub fn rate(&self, count: u64) -> f64 {
        count as f64 / self.span.as_secs_f64()
    }
}

/// Thousands of routes, in each of many windows, would be more than anybody keeps or reads.
fn busiest(each: impl Iterator<Item = (Arc<str>, Traffic)>) -> Vec<(Arc<str>, Traffic)> {
    let mut routes: Vec<_> = each.filter(|(_, traffic)| traffic.count() > 0).collect();
    if routes.len() > MAX_ROUTES {
        routes.sort_by_key(|(_, traffic)| Reverse(traffic.count()));
        routes.truncate(MAX_ROUTES);
        routes.shrink_to_fit();
    }
    routes
}

fn since(is: &RouteReading, was: &RouteReading) -> [Tally; Cache::COUNT] {
    std::array::from_fn(|cache| is.durations[cache].since(&was.durations[cache]))
}

impl Traffic {
    fn of(counted: &[Tally; Cache::COUNT], span: Duration) -> Self {
        let sum = |caches: &[Cache]| {
            let mut sum = Tally::default();
            let of = Cache::ALL.iter().zip(counted).filter(|(cache, _)| caches.contains(cache));
            of.for_each(|(_, tally)| sum.add(tally));
            sum
        };
        let (hits, misses) = (sum(&HITS), sum(&MISSES));
        let mut reads = hits.clone();
        reads.add(&misses);
        let at_origin = misses.sum() + sum(&[Cache::Bypass]).sum();
        Self {
            requests: counted.each_ref().map(Tally::count),
            hits: Times::of(&hits),
            misses: Times::of(&misses),
            reads: Times::of(&reads),
            at_origin: at_origin.as_secs_f64() / span.as_secs_f64(),
        }
    }

    /// Answered requests.
    pub fn count(&self) -> u64 {
        self.requests.iter().sum()
    }

    /// Answered without waiting for the origin.
    pub fn hit_count(&self) -> u64 {
        self.sum(&HITS)
    }

    /// Fetched or confirmed for the cache.
    pub fn miss_count(&self) -> u64 {
        self.sum(&MISSES)
    }

    /// What the cache was asked for.
    pub fn read_count(&self) -> u64 {
        self.hit_count() + self.miss_count()
    }

    /// Of what the cache was asked for, how much it answered: 0 to 1; `None`: it was not asked.
    pub fn hit_ratio(&self) -> Option<f64> {
        let reads = self.read_count();
        (reads > 0).then(|| self.hit_count() as f64 / reads as f64)
    }

    /// What went to the origin while a client waited for it.
    pub fn origin_count(&self) -> u64 {
        self.miss_count() + self.sum(&[Cache::Bypass])
    }

    fn sum(&self, caches: &[Cache]) -> u64 {
        let each = Cache::ALL.iter().zip(self.requests).filter(|(cache, _)| caches.contains(cache));
        each.map(|(_, count)| count).sum()
    }
}

const HITS: [Cache; 2] = [Cache::Hit, Cache::Stale];
const MISSES: [Cache; 2] = [Cache::Miss, Cache::Revalidated];

impl Times {
    fn of(tally: &Tally) -> Option<Self> {
        let at = |share| tally.quantile(share);
        Some(Self { p50: at(0.5)?, p95: at(0.95)?, p99: at(0.99)? })
    }
}

impl Redis {
    fn of(reading: &Reading) -> Option<Self> {
        match (reading.fleet, reading.channels) {
            (FleetRedis::Away(why), _) => Some(Self::Away(why)),
            (_, Some(false)) => Some(Self::Away("channels")),
            (FleetRedis::There, _) | (_, Some(true)) => Some(Self::There),
            (FleetRedis::None, None) => None,
        }
    }
}

/// The newest windows.
#[derive(Clone, Debug, Default)]
pub struct Ring(VecDeque<Arc<Window>>);

impl Ring {
    /// Takes in the newest one; the oldest one goes if there are too many.
    pub fn push(&mut self, window: Arc<Window>) {
        if self.0.len() == MAX_WINDOWS {
            self.0.pop_front();
        }
        self.0.push_back(window);
    }

    /// All, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Window>> + ExactSizeIterator {
        self.0.iter()
    }
}

#[cfg(test)]
pub(in crate::monitor) mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::metrics::Metrics;
    use http::{Method, StatusCode};

    const SECOND: Duration = Duration::from_secs(1);

    /// Metrics, and a clock to look at them by.
    pub(in crate::monitor) struct Bench {
        pub(in crate::monitor) metrics: Metrics,
        clock: Clock,
        last: Sample,
    }

    impl Bench {
        pub(in crate::monitor) fn new() -> Self {
            let (metrics, clock) = (Metrics::new(&["/a", "/b"]), Clock::manual(SystemTime::UNIX_EPOCH));
            let last = sample(&metrics, &clock);
            Self { metrics, clock, last }
        }

        pub(in crate::monitor) fn answer(&self, route: usize, cache: Cache, count: usize, took: Duration) {
            (0..count).for_each(|_| self.metrics.request(route, &Method::GET, StatusCode::OK, cache, took));
        }

        /// The window since the last one, ten seconds long.
        pub(in crate::monitor) fn window(&mut self) -> Window {
            self.clock.advance(10 * SECOND);
            let sample = sample(&self.metrics, &self.clock);
            let last = std::mem::replace(&mut self.last, sample);
            Window::between(&last, &self.last).unwrap()
        }
    }

    fn sample(metrics: &Metrics, clock: &Clock) -> Sample {
        Sample { at: clock.now(), reading: metrics.read(), memory: Memory::default() }
    }

    #[test]
    fn a_window_says_what_happened_in_it_and_nothing_of_what_was_before() {
        let mut bench = Bench::new();
        bench.answer(0, Cache::Miss, 50, SECOND);
        assert_eq!(bench.window().all.hit_ratio(), Some(0.0));
        bench.answer(0, Cache::Hit, 8, SECOND / 1000);
        bench.answer(1, Cache::Revalidated, 1, SECOND / 2);
        bench.answer(1, Cache::Stale, 1, SECOND / 1000);
        bench.answer(2, Cache::Bypass, 5, SECOND);
        let window = bench.window();
        assert_eq!(
            (window.all.hit_ratio(), window.all.read_count(), window.all.count()),
            (Some(0.9), 10, 15)
        );
        let names: Vec<_> = window.routes.iter().map(|(route, _)| &**route).collect();
        assert_eq!(names, ["/a", "/b", "unmatched"]);
        assert_eq!(window.routes[2].1.hit_ratio(), None, "the cache was not asked");
        assert_eq!(window.rate(window.all.count()), 1.5);
        let idle = bench.window();
        assert_eq!((idle.all.hit_ratio(), idle.all.reads, idle.routes.len()), (None, None, 0));
    }

    #[test]
    fn of_very_many_routes_only_the_busiest_are_named_and_all_are_counted() {
        let names: Vec<_> = (0..2 * MAX_ROUTES).map(|n| format!("/{n}")).collect();
        let metrics = Metrics::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let clock = Clock::manual(SystemTime::UNIX_EPOCH);
        let before = sample(&metrics, &clock);
        for route in 0..names.len() {
            let times = if route % 2 == 0 { 1 } else { 2 };
            (0..times).for_each(|_| {
                metrics.request(route, &Method::GET, StatusCode::OK, Cache::Hit, SECOND / 1000);
            });
        }
        clock.advance(SECOND);
        let window = Window::between(&before, &sample(&metrics, &clock)).unwrap();
        assert_eq!((window.routes.len(), window.all.count()), (MAX_ROUTES, 3 * MAX_ROUTES as u64));
        assert!(window.routes.iter().all(|(_, traffic)| traffic.count() == 2));
    }

    #[test]
    fn hits_and_misses_have_percentiles_of_their_own() {
        let mut bench = Bench::new();
        bench.answer(0, Cache::Hit, 90, SECOND / 1000);
        bench.answer(0, Cache::Miss, 10, SECOND);
        let all = bench.window().all;
        let (hits, misses, reads) = (all.hits.unwrap(), all.misses.unwrap(), all.reads.unwrap());
        assert!(hits.p99 <= SECOND / 1000 && misses.p50 > SECOND / 2, "{hits:?} {misses:?}");
        assert!(reads.p50 <= SECOND / 1000 && reads.p95 > SECOND / 2, "{reads:?}");
    }

    #[test]
    fn the_load_of_the_origin_is_its_rate_times_its_latency() {
        let mut bench = Bench::new();
        // Four a second, half a second each: two at once.
        (0..40).for_each(|_| bench.metrics.upstream_request(SECOND / 2));
        bench.metrics.upstream_error("reset");
        bench.answer(0, Cache::Miss, 10, SECOND / 2);
        bench.answer(0, Cache::Hit, 10, SECOND);
        let window = bench.window();
        assert_eq!((window.origin.concurrency, window.origin.requests, window.origin.errors), (2.0, 40, 1));
        assert_eq!((window.all.at_origin, window.all.origin_count()), (0.5, 10));
    }

    #[test]
    fn redis_is_there_away_or_nobodys_business() {
        let mut bench = Bench::new();
        assert_eq!(bench.window().redis, None);
        bench.metrics.channels().set_connected(false);
        assert_eq!(bench.window().redis, Some(Redis::Away("channels")));
        bench.metrics.channels().set_connected(true);
        assert_eq!(bench.window().redis, Some(Redis::There));
        bench.metrics.fleet_away(Some("unreachable"));
        assert_eq!(bench.window().redis, Some(Redis::Away("unreachable")));
    }

    #[test]
    fn the_redis_of_a_fleet_without_channels_is_back_when_it_is() {
        let mut bench = Bench::new();
        for (away, redis) in [(Some("unreachable"), Redis::Away("unreachable")), (None, Redis::There)] {
            bench.metrics.fleet_away(away);
            assert_eq!(bench.window().redis, Some(redis));
        }
    }

    #[test]
    fn a_window_without_time_is_none() {
        let bench = Bench::new();
        assert!(Window::between(&bench.last, &bench.last).is_none());
    }

    #[test]
    fn only_the_newest_windows_are_kept() {
        let (mut bench, mut ring) = (Bench::new(), Ring::default());
        for n in 0..=MAX_WINDOWS {
            bench.answer(0, Cache::Hit, n, SECOND);
            ring.push(Arc::new(bench.window()));
        }
        let counts: Vec<_> = ring.iter().map(|window| window.all.count()).collect();
        assert_eq!((counts.len(), counts[0], counts[MAX_WINDOWS - 1]), (MAX_WINDOWS, 1, MAX_WINDOWS as u64));
    }
}
