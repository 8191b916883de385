//! Which hit is compared with the origin, when, and what the comparison says.
//!
//! ```text
//! hits that are told of ─ each place of the lottery falls to an entry with a probability by its hits since the last drawing
//!   ─ budget ─ ask the origin ─┬ the same ─────────────────────────────────────► same
//!                              └ another ─ a pause ─ ask again ─┬ another still ► volatile
//!                                                               ├ overtaken ────► overtaken
//!                                                               └ the same twice► stale
//! ```
//! Invariant: over any time, what is asked for audits is at most [`ORIGIN_SHARE`] of what the origin was asked for otherwise.
//! A body that differs at every fetch is not called stale, and neither is what an invalidation has reached meanwhile.

use std::time::Duration;

/// Most that audits add to the requests of the origin.
pub const ORIGIN_SHARE: f64 = 0.01;

/// Requests that one comparison may take.
pub const PER_CHECK: u32 = 2;

/// Most requests that are saved up for later.
const MOST_SAVED: f64 = 200.0;

/// Most entries that are drawn at once.
pub const MOST_PLACES: usize = 64;

/// 95 % lie within so many standard deviations.
const DEVIATIONS: f64 = 1.959_964;

/// `monitor.audit:` of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Which share of the hits is compared at most; 0: none, nothing is ever asked.
    pub share: f64,
    /// Most comparisons that are begun in a second.
    pub per_second: u64,
    /// What becomes of a stale entry that is found.
    pub repair: Repair,
    /// Before the origin is asked a second time: what says the second in which it was made is told apart, and a write that
    /// the origin has done already has time to end.
    pub again: Duration,
    /// What the lottery draws by; `None`: nobody can foretell it.
    pub seed: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        let again = Duration::from_secs(2);
        Self { share: 0.0, per_second: 1, repair: Repair::Leave, again, seed: None }
    }
}

/// What becomes of a stale entry that is found (`monitor.audit.repair`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// It is counted, and lives on.
    Leave,
    /// Its path is invalidated.
    Outdate,
}

/// What may be asked of the origin for audits.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    saved: f64,
    /// Requests of the origin, but for audits, that were paid for so far.
    seen: u64,
}

impl Budget {
    /// `asked` requests have been made of the origin so far, but for audits.
    pub fn earn(&mut self, asked: u64) {
        let new = asked.saturating_sub(self.seen);
        self.seen = self.seen.max(asked);
        self.saved = (self.saved + new as f64 * ORIGIN_SHARE).min(MOST_SAVED);
    }

    /// How many comparisons it would do for.
    pub fn checks(&self) -> usize {
        // A hundred hundredths are not quite one.
        ((self.saved + 1e-9) / f64::from(PER_CHECK)) as usize
    }

    /// Takes what one comparison may need.
    pub fn take(&mut self) -> Result<(), TooDear> {
        if self.checks() == 0 {
            return Err(TooDear);
        }
        self.saved -= f64::from(PER_CHECK);
        Ok(())
    }

    /// Gives back what a comparison did without.
    pub fn give_back(&mut self, requests: u32) {
        self.saved += f64::from(requests);
    }
}

/// The origin has not been asked often enough otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("audits would be more than their share of the origin's requests")]
pub struct TooDear;

/// Draws hits out of all that are told of: with replacement, each with the same probability.
///
/// In each place clocks run, one for each hit, and the first that rings has it: after exponential times, which the seed and
/// what is told determine, whatever the order in which it is told.
#[derive(Debug)]
pub struct Lottery<T> {
    seed: u64,
    places: Vec<Option<(f64, T)>>,
    hits: u64,
}

impl<T> Lottery<T> {
    /// The `number`th drawing under `seed`, with so many places, [`MOST_PLACES`] at most.
    pub fn new(places: usize, seed: u64, number: u64) -> Self {
        let places = (0..places.min(MOST_PLACES)).map(|_| None).collect();
        Self { seed: mixed(seed, number), places, hits: 0 }
    }

    /// Tells it that what `id` stands for was read `hits` times more, and so `all` times by now.
    pub fn tell(&mut self, (id, what): (u64, impl Fn() -> T), hits: u32, all: u32) {
        if hits == 0 {
            return;
        }
        self.hits += u64::from(hits);
        let seed = mixed(mixed(self.seed, id), u64::from(all));
        for (number, place) in (0..).zip(&mut self.places) {
            // The first of so many clocks is a clock that runs so many times as fast.
            let rings = -(-unit(mixed(seed, number))).ln_1p() / f64::from(hits);
            if place.as_ref().is_none_or(|(first, _)| rings < *first) {
                *place = Some((rings, what()));
            }
        }
    }

    /// All hits that it was told of.
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// What stands in the first `most` places.
    pub fn drawn(self, most: usize) -> impl Iterator<Item = T> {
        self.places.into_iter().take(most).flatten().map(|(_, what)| what)
    }
}

/// Bits that the two determine, and in which nothing of them can be seen (splitmix64).
fn mixed(seed: u64, number: u64) -> u64 {
    let mut mixed = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A number from 0 up to 1.
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// What an answer says, as far as two are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its status.
    pub status: u16,
    /// The origin's own strong entity tag, if it has one.
    pub strong_etag: Option<Vec<u8>>,
    /// Digest of the body without its codings.
    pub digest: u128,
}

impl Seen {
    fn says_the_same(&self, other: &Self) -> bool {
        let same_tag = self.strong_etag.is_some() && self.strong_etag == other.strong_etag;
        self.status == other.status && (self.digest == other.digest || same_tag)
    }
}

/// Whether what was compared is still what clients get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Kept,
    /// It died, was softened or was replaced since.
    Overtaken,
}

/// What came of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The origin says what is kept.
    Same,
    /// It says something else, and has said so twice.
    Stale,
    /// It says something else each time.
    Volatile,
    /// An invalidation or a newer answer came between.
    Overtaken,
    /// It said nothing that could be compared.
    Failed,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Same, Self::Stale, Self::Volatile, Self::Overtaken, Self::Failed];

    /// Its label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Stale => "stale",
            Self::Volatile => "volatile",
            Self::Overtaken => "overtaken",
            Self::Failed => "failed",
        }
    }
}

/// After the origin was asked once; `None`: it has to be asked again.
pub fn judge(kept: &Seen, first: &Seen, standing: Standing) -> Option<Outcome> {
    match standing {
        _ if first.status >= 500 || [401, 403, 408, 429].contains(&first.status) => Some(Outcome::Failed),
        Standing::Overtaken => Some(Outcome::Overtaken),
        Standing::Kept if kept.says_the_same(first) => Some(Outcome::Same),
        Standing::Kept => None,
    }
}

/// After it was asked a second time.
pub fn judge_again(kept: &Seen, first: &Seen, again: &Seen, standing: Standing) -> Outcome {
    if standing == Standing::Overtaken {
        return Outcome::Overtaken;
    }
    match judge(kept, again, standing) {
        Some(Outcome::Failed) => Outcome::Failed,
        // It came back to what is kept, or went on to something else.
        _ if !first.says_the_same(again) => Outcome::Volatile,
        _ => Outcome::Stale,
    }
}

/// What the comparisons of a route have come to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Hits that were drawn, by [`Outcome::ALL`]. One comparison speaks for all that fell to its entry at a look.
    drawn: [u64; Outcome::ALL.len()],
    /// Sum of the squares of what each of them speaks for, where it speaks.
    squares: u64,
}

impl Tally {
    /// Counts a comparison that speaks for `hits` that were drawn.
    pub fn count(&mut self, outcome: Outcome, hits: u64) {
        self.drawn[outcome as usize] += hits;
        if matches!(outcome, Outcome::Same | Outcome::Stale) {
            self.squares += hits * hits;
        }
    }

    /// Adds all of another's.
    pub fn merge(&mut self, other: &Self) {
        self.drawn.iter_mut().zip(other.drawn).for_each(|(own, other)| *own += other);
        self.squares += other.squares;
    }

    /// Hits that were drawn and came to this.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.drawn[outcome as usize]
    }

    /// The stale share of all hits: what it is in the sample, and the interval (95 %, Wilson) in which it lies in truth.
    /// `None`: nothing was compared. Hits that one comparison speaks for count for less than as many comparisons
    /// (Kish's effective size of the sample).
    pub fn stale_share(&self) -> Option<(f64, [f64; 2])> {
        let (stale, same) = (self.of(Outcome::Stale) as f64, self.of(Outcome::Same) as f64);
        let drawn = stale + same;
        if drawn == 0.0 {
            return None;
        }
        let (share, size) = (stale / drawn, drawn * drawn / self.squares as f64);
        Some((share, wilson(share, size)))
    }
}

/// Wilson's interval for a share that was seen in a sample of this size.
pub fn wilson(share: f64, size: f64) -> [f64; 2] {
    let square = DEVIATIONS * DEVIATIONS;
    let centre = (share + square / (2.0 * size)) / (1.0 + square / size);
    let spread = DEVIATIONS / (1.0 + square / size)
        * (share * (1.0 - share) / size + square / (4.0 * size * size)).sqrt();
    [(centre - spread).max(0.0), (centre + spread).min(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn random(seed: u64) -> impl FnMut() -> f64 {
        let mut numbers = 0..;
        move || unit(mixed(seed, numbers.next().unwrap()))
    }

    fn seen(digest: u128) -> Seen {
        Seen { status: 200, strong_etag: None, digest }
    }

    #[test]
    fn only_what_the_origin_says_twice_is_stale() {
        use Standing::{Kept, Overtaken};
        let (kept, other, third) = (seen(1), seen(2), seen(3));
        assert_eq!(judge(&kept, &kept, Kept), Some(Outcome::Same));
        assert_eq!(judge(&kept, &other, Kept), None);
        assert_eq!(judge_again(&kept, &other, &other, Kept), Outcome::Stale);
        assert_eq!(judge_again(&kept, &other, &third, Kept), Outcome::Volatile);
        assert_eq!(judge_again(&kept, &other, &kept, Kept), Outcome::Volatile);
        assert_eq!(judge_again(&kept, &other, &other, Overtaken), Outcome::Overtaken);
        assert_eq!(judge(&kept, &other, Overtaken), Some(Outcome::Overtaken));
    }

    #[test]
    fn a_strong_tag_that_is_the_same_stands_for_the_body() {
        let tagged = |digest| Seen { strong_etag: Some(b"\"a\"".to_vec()), ..seen(digest) };
        assert_eq!(judge(&tagged(1), &tagged(2), Standing::Kept), Some(Outcome::Same));
        assert_eq!(judge(&tagged(1), &seen(2), Standing::Kept), None);
    }

    #[test]
    fn an_origin_that_fails_proves_nothing_and_one_that_has_nothing_any_more_does() {
        let answer = |status| Seen { status, ..seen(1) };
        for status in [401, 403, 429, 500, 503] {
            assert_eq!(judge(&seen(1), &answer(status), Standing::Kept), Some(Outcome::Failed));
        }
        assert_eq!(judge_again(&seen(1), &answer(404), &answer(404), Standing::Kept), Outcome::Stale);
        assert_eq!(judge_again(&seen(1), &seen(2), &answer(502), Standing::Kept), Outcome::Failed);
    }

    #[test]
    fn every_hit_is_drawn_with_the_same_probability() {
        let hits = [1, 10, 100, 889];
        let mut drawn = [0_u32; 4];
        for number in 0..500 {
            let mut lottery = Lottery::new(20, 7, number);
            for (which, hits) in hits.into_iter().enumerate() {
                // What is told in pieces counts as a whole.
                let (first, all) = (hits / 2, || which);
                lottery.tell((which as u64, all), first, first);
                lottery.tell((which as u64, all), hits - first, hits);
            }
            assert_eq!(lottery.hits(), 1000);
            lottery.drawn(20).for_each(|which| drawn[which] += 1);
        }
        for (drawn, hits) in drawn.into_iter().zip(hits) {
            let (expected, share) = (f64::from(hits) * 10.0, f64::from(hits) / 1000.0);
            let spread = (10_000.0 * share * (1.0 - share)).sqrt();
            assert!((f64::from(drawn) - expected).abs() < 4.0 * spread, "{drawn} of {expected}");
        }
    }

    #[test]
    fn what_is_drawn_goes_by_the_seed_and_not_by_the_order_of_telling() {
        let drawn = |seed, keys: &mut dyn Iterator<Item = u64>| {
            let mut lottery = Lottery::new(MOST_PLACES, seed, 3);
            keys.for_each(|key| lottery.tell((key, || key), key as u32 + 1, key as u32 + 1));
            lottery.drawn(MOST_PLACES).collect::<Vec<_>>()
        };
        assert_eq!(drawn(1, &mut (0..50)), drawn(1, &mut (0..50).rev()));
        assert_ne!(drawn(1, &mut (0..50)), drawn(2, &mut (0..50)));
    }

    /// A key of an origin that changes in silence.
    #[derive(Clone, Copy, PartialEq)]
    enum Key {
        Right,
        Changed,
        /// It says something else at every fetch.
        Restless,
        /// An invalidation reaches it while the origin is asked.
        Invalidated,
        /// The origin fails when it is asked for it the second time.
        Failing,
    }

    /// What a comparison of `key` with the origin comes to.
    fn compared(key: Key) -> Outcome {
        let (kept, standing) = (seen(0), Standing::Kept);
        let [first, again] = match key {
            Key::Right => [seen(0), seen(0)],
            Key::Restless => [seen(1), seen(2)],
            Key::Changed | Key::Invalidated => [seen(1), seen(1)],
            Key::Failing => [seen(1), Seen { status: 502, ..seen(1) }],
        };
        let standing = if key == Key::Invalidated { Standing::Overtaken } else { standing };
        judge(&kept, &first, Standing::Kept).unwrap_or_else(|| judge_again(&kept, &first, &again, standing))
    }

    /// A Zipf-like popularity, a tenth of the keys changed and a few that say nothing, by chance; twenty drawings. The stale
    /// share of the hits that can be judged, and what is told of it.
    fn injected(seed: u64) -> (f64, (f64, [f64; 2])) {
        let mut random = random(seed);
        let mut kind = || match random() {
            share if share < 0.1 => Key::Changed,
            share if share < 0.13 => Key::Restless,
            share if share < 0.16 => Key::Invalidated,
            share if share < 0.19 => Key::Failing,
            _ => Key::Right,
        };
        let keys: Vec<(u32, Key)> = (1..=500).map(|rank| (5000 / rank, kind())).collect();
        let hits = |kind| -> u32 { keys.iter().filter(|key| key.1 == kind).map(|key| key.0).sum() };
        let (changed, right) = (f64::from(hits(Key::Changed)), f64::from(hits(Key::Right)));
        let mut tally = Tally::default();
        for number in 0..20 {
            let mut lottery = Lottery::new(8, seed, number);
            (0..).zip(&keys).for_each(|(id, (hits, kind))| lottery.tell((id, || (id, *kind)), *hits, *hits));
            let mut drawn = std::collections::BTreeMap::new();
            lottery.drawn(8).for_each(|(id, kind)| drawn.entry(id).or_insert((kind, 0)).1 += 1);
            drawn.into_values().for_each(|(kind, hits)| tally.count(compared(kind), hits));
        }
        (changed / (changed + right), tally.stale_share().unwrap())
    }

    #[test]
    fn injected_staleness_is_found_at_its_rate_and_lies_in_the_interval_nearly_always() {
        const SEEDS: u64 = 200;
        let (mut within, mut injected_sum, mut found_sum) = (0, 0.0, 0.0);
        for seed in 0..SEEDS {
            let (injected, (found, [low, high])) = injected(seed);
            within += u32::from((low..=high).contains(&injected));
            injected_sum += injected;
            found_sum += found;
        }
        assert!(within >= 184, "{within} of {SEEDS}, where 190 are expected");
        // Of about 145 hits that are judged for each seed, some of them the same ones: so much is chance.
        let (injected, found) = (injected_sum / SEEDS as f64, found_sum / SEEDS as f64);
        let spread = (injected * (1.0 - injected) / (100.0 * SEEDS as f64)).sqrt();
        assert!((found - injected).abs() < 4.0 * spread, "{found} is found of {injected}");
    }

    #[test]
    fn a_comparison_speaks_for_every_hit_that_was_drawn_of_its_entry_but_is_one_of_a_small_sample() {
        let (mut together, mut apart) = (Tally::default(), Tally::default());
        together.count(Outcome::Stale, 30);
        together.count(Outcome::Same, 10);
        (0..30).for_each(|_| apart.count(Outcome::Stale, 1));
        (0..10).for_each(|_| apart.count(Outcome::Same, 1));
        let ((share, wide), (same_share, narrow)) =
            (together.stale_share().unwrap(), apart.stale_share().unwrap());
        assert_eq!((share, same_share, together.of(Outcome::Stale)), (0.75, 0.75, 30));
        assert!(wide[1] - wide[0] > 2.0 * (narrow[1] - narrow[0]), "{wide:?} {narrow:?}");
    }

    #[test]
    fn what_proved_nothing_is_in_no_share() {
        let mut tally = Tally::default();
        for outcome in [Outcome::Volatile, Outcome::Overtaken, Outcome::Failed] {
            tally.count(outcome, 3);
        }
        assert_eq!(tally.stale_share(), None);
        tally.count(Outcome::Same, 1);
        assert_eq!(tally.stale_share().unwrap().0, 0.0);
    }

    proptest! {
        #[test]
        fn audits_never_ask_more_than_their_share(steps in proptest::collection::vec((0_u64..500, 0_u32..8, any::<bool>()), 1..200)) {
            let (mut budget, mut asked, mut audits) = (Budget::default(), 0, 0);
            for (more, checks, once) in steps {
                asked += more;
                budget.earn(asked);
                for _ in 0..checks {
                    if budget.take().is_ok() {
                        audits += u64::from(PER_CHECK) - u64::from(once);
                        if once {
                            budget.give_back(1);
                        }
                    }
                }
                prop_assert!(audits as f64 <= asked as f64 * ORIGIN_SHARE + 1e-6);
            }
        }

        #[test]
        fn the_interval_holds_what_was_seen(same in 0_u64..10_000, stale in 0_u64..100) {
            let mut tally = Tally::default();
            (0..same).for_each(|_| tally.count(Outcome::Same, 1));
            (0..stale).for_each(|_| tally.count(Outcome::Stale, 1));
            if let Some((share, [low, high])) = tally.stale_share() {
                prop_assert!(0.0 <= low && low <= share + 1e-12 && share <= high + 1e-12 && high <= 1.0);
            }
        }
    }
}
