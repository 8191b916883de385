//! Which hit is compared with the origin, when, and what the comparison says.
//!
//! ```text
//! a look at what is kept ─ each place of the lottery falls to an entry with a probability by its hits since the last look
//!   ─ budget ─ ask the origin ─┬ the same ─────────────────────────────────────► same
//!                              └ another ─ a pause ─ ask again ─┬ another still ► volatile
//!                                                               ├ overtaken ────► overtaken
//!                                                               └ the same twice► stale
//! ```
//! Invariant: over any time, what is asked for audits is at most [`ORIGIN_SHARE`] of what the origin was asked for otherwise.
//! A body that differs at every fetch is not called stale, and neither is what an invalidation has reached meanwhile.

/// Most that audits add to the requests of the origin.
pub const ORIGIN_SHARE: f64 = 0.01;

/// Requests that one comparison may take.
pub const PER_CHECK: u32 = 2;

/// Most requests that are saved up for later.
const MOST_SAVED: f64 = 200.0;

/// Most entries that are drawn at one look.
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
}

impl Default for Settings {
    fn default() -> Self {
        Self { share: 0.0, per_second: 1, repair: Repair::Leave }
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
#[derive(Debug)]
pub struct Lottery<T> {
    places: Vec<Option<T>>,
    hits: u64,
}

impl<T: Clone> Lottery<T> {
    /// With so many places, [`MOST_PLACES`] at most.
    pub fn new(places: usize) -> Self {
        Self { places: vec![None; places.min(MOST_PLACES)], hits: 0 }
    }

    /// Tells it of something with so many hits; `random` gives numbers from 0 up to 1.
    pub fn tell(&mut self, what: &T, hits: u32, mut random: impl FnMut() -> f64) {
        if hits == 0 {
            return;
        }
        self.hits += u64::from(hits);
        let share = f64::from(hits) / self.hits as f64;
        for place in &mut self.places {
            if random() < share {
                *place = Some(what.clone());
            }
        }
    }

    /// All hits that it was told of.
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// What stands in the first `most` places.
    pub fn drawn(self, most: usize) -> impl Iterator<Item = T> {
        self.places.into_iter().take(most).flatten()
    }
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
fn wilson(share: f64, size: f64) -> [f64; 2] {
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
        let mut state = seed;
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }
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
        let mut random = random(7);
        for _ in 0..500 {
            let mut lottery = Lottery::new(20);
            for (which, hits) in hits.iter().enumerate() {
                lottery.tell(&which, *hits, &mut random);
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
    fn the_interval_holds_the_stale_share_of_hits_nearly_always() {
        // A Zipf-like popularity, a tenth of the keys stale, by chance.
        let hits: Vec<u32> = (1..=500).map(|rank| 5000 / rank).collect();
        let all: f64 = hits.iter().map(|hits| f64::from(*hits)).sum();
        let mut random = random(42);
        let mut within = 0;
        for _ in 0..200 {
            let stale: Vec<bool> = hits.iter().map(|_| random() < 0.1).collect();
            let truth: f64 =
                hits.iter().zip(&stale).filter(|(_, stale)| **stale).map(|(hits, _)| f64::from(*hits)).sum();
            let mut tally = Tally::default();
            for _ in 0..20 {
                let mut lottery = Lottery::new(8);
                hits.iter().enumerate().for_each(|(key, hits)| lottery.tell(&key, *hits, &mut random));
                let mut drawn = std::collections::BTreeMap::new();
                lottery.drawn(8).for_each(|key| *drawn.entry(key).or_insert(0) += 1);
                for (key, hits) in drawn {
                    tally.count(if stale[key] { Outcome::Stale } else { Outcome::Same }, hits);
                }
            }
            let (_, [low, high]) = tally.stale_share().unwrap();
            within += u32::from((low..=high).contains(&(truth / all)));
        }
        assert!(within >= 184, "{within} of 200, where 190 are expected");
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
