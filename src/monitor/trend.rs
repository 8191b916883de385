//! Whether a series gets better or worse, or only goes up and down.
//!
//! The test of Mann (Econometrica 13, 1945) and Kendall (Rank Correlation Methods, 1975), with Sen's slope (JASA 63, 1968), not
//! a regression with a t-test: latencies and ratios are not normal, one slow deployment must not tilt the line, and idle
//! windows are missing. Each pair of windows has one vote, whatever its size, and the slope is the median of all pairs'.
//! Windows next to one another are alike, which makes the test see trends where there are none (von Storch 1995); so it is
//! asked at 1 %, and a slope counts only if what it comes to over the series would matter to anybody.
//!
//! Invariant: the order of the points decides, not their number of digits: scaling a series scales its slope and leaves the
//! verdict, but for what matters. It refuses to know what is measured.

/// Fewest points: below them the normal approximation of the test does not hold.
pub const MIN_POINTS: usize = 10;
/// Most points that are looked at, the newest; at one a minute, half an hour.
pub const MAX_POINTS: usize = 30;
/// Two-sided, 1 %.
const Z: f64 = 2.576;

/// Which way a series goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trend {
    /// It gets better.
    Improving,
    /// Neither, as far as can be told.
    Stable,
    /// It gets worse.
    Degrading,
    /// There are fewer than [`MIN_POINTS`].
    Unknown,
}

impl Trend {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Improving => "improving",
            Self::Stable => "stable",
            Self::Degrading => "degrading",
            Self::Unknown => "unknown",
        }
    }
}

/// Which way is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// A hit ratio.
    Higher,
    /// A latency.
    Lower,
}

/// What is said of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Which way it goes.
    pub trend: Trend,
    /// Sen's slope, by one step of x.
    pub slope: f64,
}

/// The trend of `points`, by ascending x. A change by less than `matters` from the first x to the last one is none.
pub fn of(points: &[(f64, f64)], better: Better, matters: f64) -> Verdict {
    let points = &points[points.len().saturating_sub(MAX_POINTS)..];
    if points.len() < MIN_POINTS {
        return Verdict { trend: Trend::Unknown, slope: 0.0 };
    }
    let slope = slope(points);
    let change = slope * (points[points.len() - 1].0 - points[0].0);
    let votes = z(points);
    // Their sign, not that of the slope: where most points are equal that is none.
    let is_better = (votes > 0.0) == (better == Better::Higher);
    let trend = match (votes.abs() > Z && change.abs() >= matters, is_better) {
        (false, _) => Trend::Stable,
        (true, true) => Trend::Improving,
        (true, false) => Trend::Degrading,
    };
    Verdict { trend, slope }
}

fn pairs(points: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> {
    let later = |(at, from): (usize, &(f64, f64))| {
        let (x, y) = *from;
        points[at + 1..].iter().map(move |to| (to.0 - x, to.1 - y)).collect::<Vec<_>>()
    };
    points.iter().enumerate().flat_map(later)
}

/// The median of the slopes of all pairs.
fn slope(points: &[(f64, f64)]) -> f64 {
    let mut slopes: Vec<f64> = pairs(points).filter(|(x, _)| *x > 0.0).map(|(x, y)| y / x).collect();
    slopes.sort_unstable_by(f64::total_cmp);
    match slopes.len() {
        0 => 0.0,
        n if n.is_multiple_of(2) => f64::midpoint(slopes[n / 2 - 1], slopes[n / 2]),
        n => slopes[n / 2],
    }
}

/// How many standard deviations the votes of all pairs are from a draw, those of equal points not counted (Kendall 1975).
fn z(points: &[(f64, f64)]) -> f64 {
    let votes: i64 = pairs(points).map(|(_, y)| if y > 0.0 { 1 } else { -i64::from(y < 0.0) }).sum();
    let spread = |n: f64| n * (n - 1.0) * (2.0 * n + 5.0);
    let mut values: Vec<f64> = points.iter().map(|(_, y)| *y).collect();
    values.sort_unstable_by(f64::total_cmp);
    let ties: f64 = values.chunk_by(|a, b| a == b).map(|tied| spread(tied.len() as f64)).sum();
    let variance = (spread(points.len() as f64) - ties) / 18.0;
    if variance <= 0.0 {
        return 0.0;
    }
    // One vote towards none: the sum goes in steps.
    (votes - votes.signum()) as f64 / variance.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Seeds of each series; the error rates below are of so many.
    const SEEDS: u64 = 2_000;

    /// Uniform numbers from -1 to 1 (splitmix64).
    fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        move || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
        }
    }

    /// A hit ratio around 0.8 that moves by `slope` with each window, and by up to 0.05 either way by chance.
    fn series(seed: u64, slope: f64) -> Vec<(f64, f64)> {
        let mut noise = noise(seed);
        (0..MAX_POINTS).map(|n| (n as f64, 0.8 + slope * n as f64 + 0.05 * noise())).collect()
    }

    fn share_of(trend: Trend, slope: f64) -> f64 {
        let told = |seed: &u64| of(&series(*seed, slope), Better::Higher, 0.02).trend == trend;
        (0..SEEDS).filter(told).count() as f64 / SEEDS as f64
    }

    #[test]
    fn what_was_nothing_for_long_and_rises_does_not_get_better() {
        let load = |at: u32| (f64::from(at), f64::from(at.saturating_sub(21)));
        let points: Vec<(f64, f64)> = (0..30).map(load).collect();
        assert_eq!(of(&points, Better::Lower, 0.0).trend, Trend::Degrading);
        assert_eq!(of(&points, Better::Higher, 0.0).trend, Trend::Improving);
    }

    #[test]
    fn a_rising_series_a_flat_one_and_a_falling_one_are_told_apart() {
        let rising = share_of(Trend::Improving, 0.005);
        let flat = share_of(Trend::Stable, 0.0);
        let falling = share_of(Trend::Degrading, -0.005);
        // Of the flat ones, one in a hundred may be taken for something else; of the others, one in two hundred is missed.
        assert!(flat >= 0.985 && rising >= 0.995 && falling >= 0.995, "{rising} {flat} {falling}");
    }

    #[test]
    fn a_series_is_never_taken_for_its_opposite() {
        assert_eq!((share_of(Trend::Degrading, 0.005), share_of(Trend::Improving, -0.005)), (0.0, 0.0));
    }

    #[test]
    fn a_rising_latency_is_worse_and_a_rising_ratio_better() {
        let rising = series(1, 0.01);
        assert_eq!(of(&rising, Better::Higher, 0.02).trend, Trend::Improving);
        assert_eq!(of(&rising, Better::Lower, 0.02).trend, Trend::Degrading);
    }

    #[test]
    fn a_slope_that_matters_to_nobody_is_none() {
        let points: Vec<_> = (0..30).map(|n| (f64::from(n), 0.9 + 0.0001 * f64::from(n))).collect();
        assert_eq!(of(&points, Better::Higher, 0.02).trend, Trend::Stable);
        assert_eq!(of(&points, Better::Higher, 0.001).trend, Trend::Improving);
    }

    #[test]
    fn one_window_out_of_line_tilts_nothing() {
        let mut points = series(2, 0.0);
        points[29].1 = -100.0;
        assert_eq!(of(&points, Better::Higher, 0.02).trend, Trend::Stable);
    }

    #[test]
    fn too_few_points_say_nothing_and_equal_ones_are_stable() {
        assert_eq!(of(&series(3, 0.1)[..MIN_POINTS - 1], Better::Higher, 0.0).trend, Trend::Unknown);
        assert_eq!(of(&[(1.0, 1.0); 30], Better::Higher, 0.0).trend, Trend::Stable);
    }

    #[test]
    fn windows_that_are_missing_do_not_make_a_slope_steeper() {
        let all: Vec<_> = (0..30).map(|n| (f64::from(n), f64::from(n))).collect();
        let some: Vec<_> = all.iter().copied().filter(|(x, _)| x % 3.0 != 1.0).collect();
        assert_eq!((of(&all, Better::Higher, 1.0).slope, of(&some, Better::Higher, 1.0).slope), (1.0, 1.0));
    }

    proptest! {
        #[test]
        fn a_series_backwards_goes_the_other_way(values in prop::collection::vec(0.0_f64..1.0, MIN_POINTS..40)) {
            let there: Vec<_> = values.iter().enumerate().map(|(n, y)| (n as f64, *y)).collect();
            let there = &there[there.len().saturating_sub(MAX_POINTS)..];
            let back: Vec<_> = there.iter().rev().map(|(x, y)| (-x, *y)).collect();
            let (one, two) = (of(there, Better::Higher, 0.0), of(&back, Better::Lower, 0.0));
            prop_assert_eq!(one.trend, two.trend);
            prop_assert!((one.slope + two.slope).abs() < 1e-9);
        }
    }
}
