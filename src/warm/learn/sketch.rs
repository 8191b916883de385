//! How often keys were asked for, near enough, in constant memory: a count-min sketch whose counts fade. Pure.
//!
//! Invariant: an estimate is never below what was added, faded; it may be above by what other keys added to the same cells.
//! The estimator of `pingora-limits` is not used: its counts are whole numbers that nothing can let fade, and its hashes are
//! drawn at start, so that no test could play the same story twice.

/// Cells in a row; a power of two.
const WIDTH: usize = 8192;
/// Rows; each sees a key at another place.
const DEPTH: usize = 4;
/// The exponent of two at which all cells are scaled down: far from the end of an `f32`.
const SCALE_AT: f64 = 64.0;

/// 128 KiB, however many keys there are.
#[derive(Clone, Debug)]
pub(super) struct Sketch {
    cells: Box<[f32]>,
    /// Seconds in which a count falls to its half.
    half_life: f64,
    /// The time (s) at which one request weighs one.
    landmark: f64,
}

impl Sketch {
    /// One in which nothing was asked for; its counts fall to half in `half_life` seconds.
    pub(super) fn new(half_life: f64, now: f64) -> Self {
        Self { cells: vec![0.0; WIDTH * DEPTH].into(), half_life, landmark: now }
    }

    /// Adds `weight` requests for `key` at `now` (s), and says how many there are, faded.
    pub(super) fn add(&mut self, key: u64, weight: f32, now: f64) -> f32 {
        let mut exponent = (now - self.landmark) / self.half_life;
        if exponent > SCALE_AT {
            let factor = (-exponent).exp2() as f32;
            self.cells.iter_mut().for_each(|cell| *cell *= factor);
            (self.landmark, exponent) = (now, 0.0);
        }
        // What was counted earlier is not touched: what comes later weighs more instead.
        let scale = exponent.exp2() as f32;
        let least = (0..DEPTH).map(|row| {
            let cell = &mut self.cells[place(key, row)];
            *cell += weight * scale;
            *cell
        });
        least.fold(f32::INFINITY, f32::min) / scale
    }
}

/// The cell of `key` in `row`.
fn place(key: u64, row: usize) -> usize {
    // Two halves of one hash make as many as are wanted (Kirsch and Mitzenmacher, 2006).
    let mixed = mix(key);
    let (low, high) = (mixed as u32, (mixed >> 32) as u32 | 1);
    let at = low.wrapping_add(high.wrapping_mul(row as u32)) as usize % WIDTH;
    row * WIDTH + at
}

/// The finish of SplitMix64: a key need not be a hash.
fn mix(key: u64) -> u64 {
    let key = (key ^ key >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let key = (key ^ key >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    key ^ key >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn an_estimate_is_never_below_the_truth(
            asked in prop::collection::vec((0..500u64, 0..100_000u32), 1..400),
        ) {
            let mut sketch = Sketch::new(3600.0, 0.0);
            let mut truth: HashMap<u64, Vec<f64>> = HashMap::new();
            let mut now = 0.0;
            for (key, pause) in asked {
                now += f64::from(pause);
                let times = truth.entry(key).or_default();
                times.push(now);
                let faded: f64 = times.iter().map(|at| (-(now - at) / 3600.0).exp2()).sum();
                let estimate = f64::from(sketch.add(key, 1.0, now));
                prop_assert!(estimate >= faded * 0.999, "{estimate} < {faded}");
            }
        }
    }

    #[test]
    fn a_rare_key_among_many_is_not_taken_for_a_frequent_one() {
        let mut sketch = Sketch::new(3600.0, 0.0);
        (0..20_000).for_each(|key| {
            sketch.add(key, 1.0, 0.0);
        });
        let far_off = (100_000..101_000).filter(|key| sketch.add(*key, 1.0, 0.0) > 6.0).count();
        assert!(far_off < 20, "{far_off} of 1000");
    }

    #[test]
    fn counts_fade_however_long_it_lasts() {
        let mut sketch = Sketch::new(10.0, 0.0);
        assert_eq!(sketch.add(1, 8.0, 0.0), 8.0);
        assert_eq!(sketch.add(1, 0.0, 10.0), 4.0);
        assert!(sketch.add(1, 1.0, 1e6) < 1.001, "and no number overflows");
        assert!(sketch.add(1, 0.0, 1e9).is_finite());
    }
}
