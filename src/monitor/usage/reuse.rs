//! How far apart two reads of a key are, in other keys read between: from the rates at which keys are read.
//!
//! To measure it every read would have to be looked at; here only the entries' hit counters are, in turns. So each key is
//! taken to be read at random times by its own rate (the independent reference model), and the distances follow (Che, Tung
//! and Wang, "Hierarchical web caching systems", JSAC 2002): within a time t a key of rate r is read again with
//! probability `1 − e^(−rt)`, and so many others are read between as `Σ 1 − e^(−rt)` says. Where the same key comes in
//! bursts, distances are shorter in truth. On reads that are independent it is within a tenth (a test says so).

/// Rates are kept in classes: so many to a doubling.
const PER_DOUBLING: f64 = 2.0;

/// Classes of rates, from one read in twelve days up to 4,096 in a second.
const CLASSES: usize = 64;

/// The lower end of the first class, in reads per second.
const SLOWEST: f64 = 1.0 / 1_048_576.0;

/// Steps of the search for a time; each halves the interval.
const STEPS: usize = 60;

/// How many keys are read how often, in constant memory.
#[derive(Clone, Debug)]
pub struct Rates {
    /// Keys, and the sum of their rates.
    classes: [(u64, f64); CLASSES],
}

impl Default for Rates {
    fn default() -> Self {
        Self { classes: [(0, 0.0); CLASSES] }
    }
}

impl Rates {
    /// Adds a key that is read so often in a second.
    pub fn add(&mut self, rate: f64) {
        let rate = rate.max(SLOWEST);
        let class = ((rate / SLOWEST).log2() * PER_DOUBLING) as usize;
        let (keys, sum) = &mut self.classes[class.min(CLASSES - 1)];
        (*keys, *sum) = (*keys + 1, *sum + rate);
    }

    /// Adds all of another's.
    pub fn merge(&mut self, other: &Self) {
        for (own, other) in self.classes.iter_mut().zip(&other.classes) {
            *own = (own.0 + other.0, own.1 + other.1);
        }
    }

    /// Number of keys, and the mean of each class's rate.
    fn each(&self) -> impl Iterator<Item = (f64, f64)> {
        self.classes
            .iter()
            .filter(|(keys, _)| *keys > 0)
            .map(|(keys, sum)| (*keys as f64, sum / *keys as f64))
    }

    /// The distance that `share` of all reads have at most, in other keys; `None`: there are no keys.
    pub fn distance(&self, share: f64) -> Option<u64> {
        let reads: f64 = self.each().map(|(keys, rate)| keys * rate).sum();
        if reads == 0.0 {
            return None;
        }
        let again = |time: f64| {
            self.each().map(|(keys, rate)| -keys * rate * (-rate * time).exp_m1()).sum::<f64>() / reads
        };
        let (mut low, mut high) = (1e-6_f64.ln(), 1e9_f64.ln());
        for _ in 0..STEPS {
            let middle = f64::midpoint(low, high);
            if again(middle.exp()) < share { low = middle } else { high = middle }
        }
        let time = high.exp();
        Some(self.each().map(|(keys, rate)| -keys * (-rate * time).exp_m1()).sum::<f64>().round() as u64)
    }

    /// The hit ratio of these keys under a ttl in seconds, where each fetch is a read that found nothing fresh: a key of
    /// rate r has rT hits to a fill. `None`: there are no keys.
    pub fn hit_ratio(&self, ttl: f64) -> Option<f64> {
        let reads: f64 = self.each().map(|(keys, rate)| keys * rate).sum();
        let hits: f64 = self.each().map(|(keys, rate)| keys * rate * (rate * ttl) / (1.0 + rate * ttl)).sum();
        (reads > 0.0).then(|| hits / reads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of reads in a trace whose key was read before with at most so many others between, of those that were.
    fn exact(trace: &[usize], shares: &[f64]) -> Vec<u64> {
        let mut stack: Vec<usize> = Vec::new();
        let mut distances = Vec::new();
        for key in trace {
            if let Some(at) = stack.iter().rposition(|known| known == key) {
                distances.push((stack.len() - 1 - at) as u64);
                stack.remove(at);
            }
            stack.push(*key);
        }
        distances.sort_unstable();
        shares.iter().map(|share| distances[((distances.len() - 1) as f64 * share) as usize]).collect()
    }

    #[test]
    fn distances_from_rates_are_within_a_tenth_of_those_of_the_trace_they_were_taken_from() {
        let keys = 400;
        let weights: Vec<f64> = (1..=keys).map(|rank| 1.0 / f64::from(rank).powf(0.9)).collect();
        let all: f64 = weights.iter().sum();
        let mut state = 11_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let trace: Vec<usize> = (0..60_000)
            .map(|_| {
                let mut left = random() * all;
                weights.iter().position(|weight| {
                    left -= weight;
                    left <= 0.0
                })
            })
            .map(|found| found.unwrap_or(0))
            .collect();
        let mut counts = vec![0_u32; weights.len()];
        trace.iter().for_each(|key| counts[*key] += 1);
        let mut rates = Rates::default();
        // A hundred reads in a second, all in all.
        counts.iter().for_each(|count| rates.add(f64::from(*count) / 600.0));
        let shares = [0.5, 0.75, 0.9];
        for (exact, share) in exact(&trace, &shares).into_iter().zip(shares) {
            let ours = rates.distance(share).unwrap() as f64;
            assert!((ours / exact as f64 - 1.0).abs() < 0.1, "{share}: {ours} for {exact}");
        }
    }

    #[test]
    fn a_key_read_once_a_second_has_a_ttl_of_hits_to_each_fill() {
        let mut rates = Rates::default();
        rates.add(1.0);
        assert!((rates.hit_ratio(9.0).unwrap() - 0.9).abs() < 1e-9);
        assert_eq!(rates.distance(0.9), Some(1), "rounded; there is no other");
        assert_eq!(Rates::default().hit_ratio(1.0), None);
        assert_eq!(Rates::default().distance(0.5), None);
    }

    #[test]
    fn what_is_read_at_the_same_rate_has_all_the_others_between() {
        let mut rates = Rates::default();
        (0..100).for_each(|_| rates.add(1.0));
        assert_eq!(rates.distance(0.5), Some(50));
        assert_eq!(rates.distance(0.9), Some(90));
    }
}
