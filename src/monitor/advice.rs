//! Which ttl a route could have: from how often its answers turn out changed when they are fetched again.
//!
//! Between two fetches of a key nobody knows how often it changed, only whether: the observation is censored. For
//! changes at random times with rate λ an answer of age w is changed with probability `1 − e^(−λw)`; the λ under which
//! what was seen is the likeliest solves `Σ_changed w/(e^(λw) − 1) = Σ_unchanged w` (Cho & Garcia-Molina, "Estimating
//! frequency of change", TOIT 2003, for intervals of different lengths). What an invalidation ended says nothing of the
//! changes that nobody announces, and those alone make a ttl wrong: it is left out.
//!
//! An audit sees the same while an answer is kept: whether it has changed by the age w. What it saw is not seen again: since
//! changes have no memory, a later look at an answer that was right at w speaks of the time since w alone, and one that had
//! changed says nothing more ([`Known`]). Otherwise what is looked at often would pass for many answers.
//!
//! Reads that come uniformly over a life T then have the stale share `1 − (1 − e^(−λT))/(λT)`. The longest T that keeps it
//! under the target is recommended, by the upper bound of λ that what was seen leaves room for: few observations make a
//! short ttl, never a wrong one. One rate stands for all keys of a route; where they differ much, it is a mean.

/// Ages are kept in classes: so many to a doubling.
const PER_DOUBLING: f64 = 4.0;

/// Classes of ages, from 10 ms up to half a year; what is outside counts in the last one on its side.
const CLASSES: usize = 124;

/// The lower end of the first class, in seconds.
const YOUNGEST: f64 = 0.01;

/// Fewest observations that are worth a word.
pub const FEWEST: u64 = 20;

/// By how much the log-likelihood falls, twice, at the bound of λ: one-sided, 99 %.
const FALL: f64 = 5.412;

/// Longest ttl that is recommended, in seconds: a week. Whoever wants more knows more.
const LONGEST: f64 = 7.0 * 86_400.0;

/// Steps of every search for a root; each halves the interval.
const STEPS: usize = 80;

/// What was seen at refetches of one route, in constant memory.
#[derive(Clone, Debug)]
pub struct Changes {
    classes: Box<[Class; CLASSES]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Class {
    changed: Group,
    unchanged: Group,
}

/// Observations of like age; their ages are summed, so a class stands for its own mean.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    count: u64,
    seconds: f64,
}

/// What a body was like when it was fetched again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refetched {
    /// The same bytes.
    Unchanged,
    /// Others.
    Changed,
}

/// How often a route's answers change unannounced, in changes per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Too little was seen to say.
    Unknown,
    /// The likeliest, and the most that can be believed.
    Known {
        /// The likeliest.
        likeliest: f64,
        /// Upper bound (99 %).
        most: f64,
    },
    /// All were changed: whatever it is, it is above this (99 %); they were too old to tell more.
    AtLeast(f64),
}

/// A ttl, and what it would do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Advice {
    /// In seconds.
    pub ttl: f64,
    /// Stale share of the hits that it would cost, by the likeliest rate.
    pub stale_share: f64,
    /// The same by the bound of the rate: at most the target.
    pub stale_share_at_most: f64,
}

/// What was found out of one answer since it was fetched, by its age in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Known {
    /// It was still right.
    RightAt(f64),
    /// It had changed.
    Changed,
}

impl Known {
    /// Takes note of what was seen at `age`; gives the span, in seconds, of which that is an observation. `None`: it tells
    /// nothing new.
    pub fn learn(&mut self, age: f64, what: Refetched) -> Option<f64> {
        let Self::RightAt(before) = *self else { return None };
        match what {
            Refetched::Unchanged => *self = Self::RightAt(age.max(before)),
            Refetched::Changed => *self = Self::Changed,
        }
        (age > before).then_some(age - before)
    }
}

impl Default for Known {
    fn default() -> Self {
        Self::RightAt(0.0)
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self { classes: Box::new([Class::default(); CLASSES]) }
    }
}

impl Changes {
    /// Takes note of what an answer was like that had been right `age` seconds before.
    pub fn observe(&mut self, age: f64, what: Refetched) {
        let doublings = (age.max(YOUNGEST) / YOUNGEST).log2();
        let class = &mut self.classes[((doublings * PER_DOUBLING) as usize).min(CLASSES - 1)];
        let group = match what {
            Refetched::Changed => &mut class.changed,
            Refetched::Unchanged => &mut class.unchanged,
        };
        group.count += 1;
        group.seconds += age.max(YOUNGEST);
    }

    /// Observations that were noted, and how many of them had changed.
    pub fn seen(&self) -> (u64, u64) {
        let changed = self.classes.iter().map(|class| class.changed.count).sum();
        let unchanged: u64 = self.classes.iter().map(|class| class.unchanged.count).sum();
        (unchanged + changed, changed)
    }

    /// What they say of the rate.
    pub fn rate(&self) -> Rate {
        let (seen, changed) = self.seen();
        if seen < FEWEST {
            return Rate::Unknown;
        }
        if changed == seen {
            // The likelihood rises for ever: only from below is anything known.
            return Rate::AtLeast(root(|rate| FALL + 2.0 * self.log_likelihood(rate)));
        }
        let likeliest = if changed == 0 { 0.0 } else { root(|rate| -self.slope(rate)) };
        let top = self.log_likelihood(likeliest);
        let most = root(|rate| {
            let fallen = 2.0 * (top - self.log_likelihood(rate));
            if rate <= likeliest { -1.0 } else { fallen - FALL }
        });
        Rate::Known { likeliest, most }
    }

    fn log_likelihood(&self, rate: f64) -> f64 {
        let each = self.classes.iter().map(|Class { changed, unchanged }| {
            let seen =
                changed.count as f64 * (-(-rate * changed.mean()).exp_m1()).max(f64::MIN_POSITIVE).ln();
            if changed.count == 0 { -rate * unchanged.seconds } else { seen - rate * unchanged.seconds }
        });
        each.sum()
    }

    /// Its derivative: falls as the rate rises.
    fn slope(&self, rate: f64) -> f64 {
        let each = self.classes.iter().map(|Class { changed, unchanged }| {
            let gained = match changed.count {
                0 => 0.0,
                count => count as f64 * changed.mean() / (rate * changed.mean()).exp_m1(),
            };
            gained - unchanged.seconds
        });
        each.sum()
    }
}

impl Group {
    fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.seconds / self.count as f64 }
    }
}

/// The longest ttl whose stale share stays at or under `target` (0 to 1); `None`: nothing is known, or even the youngest
/// answers that were seen had changed.
pub fn advise(rate: Rate, target: f64) -> Option<Advice> {
    let Rate::Known { likeliest, most } = rate else { return None };
    let ttl = (changes_at(target) / most).min(LONGEST);
    Some(Advice {
        ttl,
        stale_share: stale_share(likeliest, ttl),
        stale_share_at_most: stale_share(most, ttl),
    })
}

/// The share of reads, uniform over a life of `ttl` seconds, that find a body changed meanwhile.
pub fn stale_share(rate: f64, ttl: f64) -> f64 {
    let changes = rate * ttl;
    // The series where the difference of the two terms would be rounding alone.
    if changes < 1e-4 { changes / 2.0 } else { 1.0 + (-changes).exp_m1() / changes }
}

/// Expected changes in a life whose stale share is `share`.
fn changes_at(share: f64) -> f64 {
    root(|changes| stale_share(changes, 1.0) - share)
}

/// Where a function that rises with a positive rate crosses zero; the ends of what is looked at, if it does not.
fn root(rises: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (1e-12_f64.ln(), 1e6_f64.ln());
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if rises(middle.exp()) < 0.0 { low = middle } else { high = middle }
    }
    high.exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Numbers from 0 to 1 that a seed determines (splitmix64).
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }

        fn exponential(&mut self, rate: f64) -> f64 {
            -(1.0 - self.next()).ln() / rate
        }
    }

    /// A key that is read and changes at random, under a ttl, for so many fills.
    #[derive(Default)]
    struct Played {
        hits: u64,
        stale: u64,
        fills: u64,
        changes: Changes,
    }

    impl Played {
        fn hit_ratio(&self) -> f64 {
            self.hits as f64 / (self.hits + self.fills) as f64
        }

        fn stale_share(&self) -> f64 {
            self.stale as f64 / self.hits.max(1) as f64
        }
    }

    fn play(random: &mut Random, (changes, reads): (f64, f64), ttl: f64, fills: u64) -> Played {
        let mut played = Played::default();
        let mut changed_after = random.exponential(changes);
        for _ in 0..fills {
            played.fills += 1;
            let mut age = random.exponential(reads);
            while age < ttl {
                played.hits += 1;
                played.stale += u64::from(changed_after < age);
                age += random.exponential(reads);
            }
            // The read that finds it expired fetches it again.
            let what = if changed_after < age { Refetched::Changed } else { Refetched::Unchanged };
            played.changes.observe(age, what);
            // Without memory: the next change is as far off as ever.
            changed_after = random.exponential(changes);
        }
        played
    }

    #[test]
    fn the_recommended_ttl_keeps_the_target_at_nearly_the_best_hit_ratio_that_does() {
        const TARGET: f64 = 0.01;
        // Changes and reads per second of one key, and the ttl under which it was observed.
        let routes = [
            (1.0 / 86_400.0, 0.01, 3600.0),
            (1.0 / 3600.0, 1.0, 1800.0),
            (1.0 / 3600.0, 0.1, 600.0),
            (1.0 / 600.0, 5.0, 60.0),
            (1.0 / 60.0, 2.0, 30.0),
            (1.0 / 1000.0, 0.05, 1000.0),
        ];
        for (changes, reads, ttl) in routes {
            for seed in 0..5 {
                let mut random = Random(seed);
                let seen = play(&mut random, (changes, reads), ttl, 20_000);
                let advice = advise(seen.changes.rate(), TARGET).unwrap();
                let best = play(&mut random, (changes, reads), changes_at(TARGET) / changes, 60_000);
                let ours = play(&mut random, (changes, reads), advice.ttl, 60_000);
                let case = format!("{changes} {reads} {ttl} seed {seed}: {advice:?}");
                // Exactly, and as it was played: what is stale comes in whole lives, so chance has that much to say.
                assert!(stale_share(changes, advice.ttl) <= TARGET, "{case}");
                let lives = ours.fills as f64 * changes * advice.ttl;
                let noise = 3.0 * TARGET * (4.0 / 3.0 / lives).sqrt();
                assert!(ours.stale_share() <= TARGET + noise, "{case}: stale {}", ours.stale_share());
                assert!(
                    ours.hit_ratio() >= 0.95 * best.hit_ratio(),
                    "{case}: {} of {}",
                    ours.hit_ratio(),
                    best.hit_ratio()
                );
            }
        }
    }

    #[test]
    fn the_bound_is_above_the_true_rate_nearly_always() {
        let rate = 1.0 / 300.0;
        let above = (0..300).filter(|seed| {
            let seen = play(&mut Random(1000 + seed), (rate, 0.1), 120.0, 100).changes;
            matches!(seen.rate(), Rate::Known { most, .. } if most >= rate)
        });
        assert!(above.count() >= 293, "99 % of 300, less what chance takes");
    }

    /// So many lives, at each of which audits look again and again before it is fetched anew.
    fn audited(seed: u64, (changes, looks): (f64, f64), ttl: f64, fills: u64) -> Changes {
        let (mut random, mut seen) = (Random(seed), Changes::default());
        for _ in 0..fills {
            let (changed_at, mut known) = (random.exponential(changes), Known::default());
            let mut age = 0.0;
            while age < ttl {
                age = (age + random.exponential(looks)).min(ttl);
                let what = if changed_at < age { Refetched::Changed } else { Refetched::Unchanged };
                if let Some(span) = known.learn(age, what) {
                    seen.observe(span, what);
                }
            }
        }
        seen
    }

    #[test]
    fn however_often_an_answer_is_looked_at_the_bound_holds_and_the_rate_is_met() {
        let rate = 1.0 / 300.0;
        let seen: Vec<Rate> =
            (0..300).map(|seed| audited(2000 + seed, (rate, 0.1), 120.0, 100).rate()).collect();
        let known = |rate: &Rate| match rate {
            Rate::Known { likeliest, most } => (*likeliest, *most),
            other => panic!("{other:?}"),
        };
        let above = seen.iter().filter(|seen| known(seen).1 >= rate).count();
        assert!(above >= 293, "{above}: 99 % of 300, less what chance takes");
        let mean = seen.iter().map(|seen| known(seen).0).sum::<f64>() / seen.len() as f64;
        assert!((mean / rate - 1.0).abs() < 0.05, "{mean} for {rate}");
    }

    #[test]
    fn what_was_seen_is_not_seen_again() {
        let mut known = Known::default();
        assert_eq!(known.learn(10.0, Refetched::Unchanged), Some(10.0));
        assert_eq!(known.learn(10.0, Refetched::Unchanged), None);
        assert_eq!(known.learn(25.0, Refetched::Unchanged), Some(15.0));
        assert_eq!(known.learn(30.0, Refetched::Changed), Some(5.0));
        assert_eq!(known.learn(60.0, Refetched::Changed), None);
        assert_eq!(known, Known::Changed);
    }

    #[test]
    fn what_never_changed_is_not_taken_for_what_never_changes() {
        let mut changes = Changes::default();
        (0..100).for_each(|_| changes.observe(60.0, Refetched::Unchanged));
        let Rate::Known { likeliest, most } = changes.rate() else { panic!("{:?}", changes.rate()) };
        assert_eq!(likeliest, 0.0);
        assert!((most - FALL / 2.0 / 6000.0).abs() < 1e-6, "{most}");
        let advice = advise(changes.rate(), 0.01).unwrap();
        assert!(advice.ttl < 60.0, "100 minutes of silence do not allow an hour: {advice:?}");
    }

    #[test]
    fn what_was_changed_every_time_has_no_ttl_to_recommend() {
        let mut changes = Changes::default();
        (0..100).for_each(|_| changes.observe(60.0, Refetched::Changed));
        let Rate::AtLeast(rate) = changes.rate() else { panic!("{:?}", changes.rate()) };
        assert!((0.01..0.1).contains(&rate), "{rate}");
        assert_eq!(advise(changes.rate(), 0.01), None);
    }

    #[test]
    fn too_few_observations_say_nothing() {
        let mut changes = Changes::default();
        (1..FEWEST).for_each(|_| changes.observe(1.0, Refetched::Changed));
        assert_eq!(changes.rate(), Rate::Unknown);
    }

    proptest! {
        #[test]
        fn the_stale_share_rises_with_rate_and_life_and_stays_a_share(rate in 1e-9..1e3, ttl in 1e-3..1e6) {
            let share = stale_share(rate, ttl);
            prop_assert!((0.0..=1.0).contains(&share));
            prop_assert!(stale_share(rate * 1.1, ttl) >= share - 1e-12);
            prop_assert!(stale_share(rate, ttl * 1.1) >= share - 1e-12);
        }

        #[test]
        fn a_recommendation_never_exceeds_its_target(
            seen in proptest::collection::vec((0.01..1e6, any::<bool>()), 20..200),
            target in 0.001..0.2,
        ) {
            let mut changes = Changes::default();
            for (age, changed) in seen {
                changes.observe(age, if changed { Refetched::Changed } else { Refetched::Unchanged });
            }
            if let Rate::Known { likeliest, most } = changes.rate() {
                prop_assert!(likeliest <= most);
                let advice = advise(changes.rate(), target).unwrap();
                prop_assert!(advice.ttl > 0.0 && advice.stale_share_at_most <= target + 1e-6);
            }
        }
    }
}
