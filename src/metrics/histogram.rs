//! A histogram of durations: seven bounds for whoever scrapes it, and many more for who asks it for a percentile.
//!
//! Invariant: to observe takes no lock and no allocation: two atomic steps. Every shown bound is a bound inside, so what is
//! shown is exact. It refuses to know what the durations are of.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// How many bounds are shown; with +Inf there are eight buckets.
pub(crate) const SHOWN: usize = 7;
/// Ten to a decade, each about a quarter above the one before: Renard's R10, rounded so that 1, 2.5, 3 and 5 are in it.
const STEPS: [u64; 10] = [100, 125, 160, 200, 250, 300, 400, 500, 630, 800];
/// Decades from the first bound, 10 µs, to the last one, 100 s.
const DECADES: usize = 7;
const BOUNDS: usize = STEPS.len() * DECADES + 1;
/// Upper bounds in nanoseconds, each belonging to what lies below it.
static NANOS: [u64; BOUNDS] = bounds();

const fn bounds() -> [u64; BOUNDS] {
    let (mut bounds, mut at, mut unit) = ([0; BOUNDS], 0, 100);
    while at < BOUNDS {
        bounds[at] = STEPS[at % STEPS.len()] * unit;
        at += 1;
        if at.is_multiple_of(STEPS.len()) {
            unit *= 10;
        }
    }
    bounds
}

/// Counts durations. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Histogram(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    /// In seconds, as they are shown.
    shown: [f64; SHOWN],
    /// By bound; the last one is of what lies above all of them.
    slots: [AtomicU64; BOUNDS + 1],
    nanos: AtomicU64,
}

impl Histogram {
    /// One that shows these bounds, in seconds, ascending; each of them has to be one of those inside.
    pub(crate) fn new(shown: [f64; SHOWN]) -> Self {
        let slots = std::array::from_fn(|_| AtomicU64::new(0));
        Self(Arc::new(Counts { shown, slots, nanos: AtomicU64::new(0) }))
    }

    /// Counts one.
    pub(crate) fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let slot = NANOS.partition_point(|bound| *bound < nanos);
        self.0.slots[slot].fetch_add(1, Ordering::Relaxed);
        self.0.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub(crate) fn tally(&self) -> Tally {
        let slots = std::array::from_fn(|slot| self.0.slots[slot].load(Ordering::Relaxed));
        Tally { slots, nanos: self.0.nanos.load(Ordering::Relaxed) }
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let tally = self.tally();
        let mut from = 0;
        let mut buckets = [(f64::INFINITY, 0); SHOWN + 1];
        for (bucket, shown) in buckets.iter_mut().zip(self.0.shown) {
            let nanos = nanos(shown);
            let to = NANOS.partition_point(|bound| *bound <= nanos);
            *bucket = (shown, tally.slots[from..to].iter().sum());
            from = to;
        }
        buckets[SHOWN].1 = tally.slots[from..].iter().sum();
        encoder.encode_histogram::<NoLabelSet>(tally.sum().as_secs_f64(), tally.count(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

/// What a histogram counted: from the beginning, or between two looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    slots: [u64; BOUNDS + 1],
    nanos: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { slots: [0; BOUNDS + 1], nanos: 0 }
    }
}

impl Tally {
    /// Upper bounds of [`Self::slots`], ascending; the last slot has none.
    pub fn bounds() -> impl Iterator<Item = Duration> {
        NANOS.iter().copied().map(Duration::from_nanos)
    }

    /// How many durations lie between a bound and the one before.
    pub fn slots(&self) -> &[u64] {
        &self.slots
    }

    /// How many durations.
    pub fn count(&self) -> u64 {
        self.slots.iter().sum()
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// What came since `earlier`, an older tally of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let slots = std::array::from_fn(|slot| self.slots[slot].saturating_sub(earlier.slots[slot]));
        Self { slots, nanos: self.nanos.wrapping_sub(earlier.nanos) }
    }

    /// Adds what another histogram counted.
    pub fn add(&mut self, other: &Self) {
        self.slots.iter_mut().zip(other.slots).for_each(|(sum, count)| *sum += count);
        self.nanos = self.nanos.wrapping_add(other.nanos);
    }

    /// The duration that a `share` of them, 0 to 1, do not exceed: to a quarter, for between two bounds they are taken to lie
    /// evenly. `None`: there are none. What is beyond the last bound, 100 s, is given as that.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = (share.clamp(0.0, 1.0) * count as f64).max(1.0);
        let mut below = 0.0;
        for (slot, &here) in self.slots.iter().enumerate() {
            let here = here as f64;
            if below + here >= rank {
                let Some(&upper) = NANOS.get(slot) else { break };
                let lower = slot.checked_sub(1).map_or(0, |slot| NANOS[slot]);
                let within = (upper - lower) as f64 * (rank - below) / here;
                return Some(Duration::from_nanos(lower + within.round() as u64));
            }
            below += here;
        }
        NANOS.last().copied().map(Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECONDS: [f64; SHOWN] = [0.001, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0];

    fn of(durations: &[Duration]) -> Tally {
        let histogram = Histogram::new(SECONDS);
        durations.iter().for_each(|duration| histogram.observe(*duration));
        histogram.tally()
    }

    #[test]
    fn bounds_rise_by_a_third_at_most_from_ten_microseconds_to_a_hundred_seconds() {
        assert_eq!((NANOS[0], NANOS[BOUNDS - 1]), (10_000, 100_000_000_000));
        for pair in NANOS.windows(2) {
            let step = pair[1] as f64 / pair[0] as f64;
            assert!((1.19..=1.34).contains(&step), "{pair:?}");
        }
    }

    #[test]
    fn every_bound_that_is_shown_is_one() {
        for shown in crate::metrics::BUCKETS.into_iter().chain(crate::metrics::tier::BUCKETS) {
            assert!(NANOS.contains(&nanos(shown)), "{shown}");
        }
    }

    #[test]
    fn what_is_between_two_looks_is_told_apart() {
        let histogram = Histogram::new(SECONDS);
        histogram.observe(Duration::from_millis(3));
        let before = histogram.tally();
        histogram.observe(Duration::from_millis(700));
        let between = histogram.tally().since(&before);
        assert_eq!((between.count(), between.sum()), (1, Duration::from_millis(700)));
        assert!(between.quantile(0.5).unwrap() > Duration::from_millis(600));
        assert_eq!(before.since(&before).quantile(0.5), None);
    }

    #[test]
    fn a_percentile_beyond_all_bounds_is_the_last_bound() {
        assert_eq!(of(&[Duration::MAX]).quantile(0.99), Some(Duration::from_secs(100)));
    }

    proptest! {
        #[test]
        fn a_percentile_is_within_a_third_of_the_true_one(
            micros in prop::collection::vec(10_u64..90_000_000, 1..200),
            share in 0.01_f64..=1.0,
        ) {
            let durations: Vec<_> = micros.iter().copied().map(Duration::from_micros).collect();
            let told = of(&durations).quantile(share).unwrap();
            let mut sorted = durations;
            sorted.sort_unstable();
            let rank = ((share * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len());
            let truth = sorted[rank - 1];
            let ratio = told.as_secs_f64() / truth.as_secs_f64();
            prop_assert!((0.7..=1.34).contains(&ratio), "{told:?} for {truth:?}");
        }
    }
}
