//! What is worth keeping warm in the time to come: learnt from what was asked for, and when in the day. Pure.
//!
//! ```text
//! observe ─ sketch (all keys) ─ often enough? ─ keepers (the best known) ─ by hour of the day ─┐
//!                                                                                              ├─ worth: best first
//! settle ─ of what was fetched last time, how much earned a hit ─ length of the set ───────────┘
//! ```
//! Invariant: memory is constant, [`MAX_KEYS`] keepers and one sketch, whatever is asked for. The same requests at the same
//! times are learnt alike. It refuses to know what a target is, and how it is fetched.

mod keeper;
pub mod pupil;
mod sketch;

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::warm::learn::keeper::{Day, Keeper, Outcome};
use crate::warm::learn::sketch::Sketch;

/// Most keys of which more is known than a rough count.
pub const MAX_KEYS: usize = 4096;
/// Longest set that can be asked for: a quarter of what is known can be told apart by hour of the day.
pub const MAX_TOP: usize = 1024;
/// Requests, faded over a day, without which nothing is kept of a key.
const ADMITTED: f32 = 2.0;
/// Keepers among which the one that makes room is chosen.
const SAMPLE: usize = 16;
/// Seconds in which the count of a day falls to its half.
const HALF_LIFE: f64 = 86_400.0;
/// The chance of a hit below which nothing is fetched.
const LEAST_CHANCE: f32 = 0.2;
/// Fetches of which it has to be known what came of them before the length of the set is changed.
const ENOUGH: usize = 8;
/// Of what was fetched so much has to earn a hit, or the set is shortened…
const LOW: f32 = 0.5;
/// …and it grows again where so much does.
const HIGH: f32 = 0.7;
/// What the length is multiplied by then; a set is never shorter than an eighth of what was asked for.
const SHORTER: f32 = 0.75;
const LONGER: f32 = 1.25;
const SHORTEST: usize = 8;

/// Of what somebody asked for, how often since it was last looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Names the target: the same for the same, whatever became of its entry.
    pub key: u64,
    /// Requests that an entry answered.
    pub hits: u32,
    /// Requests that went to the origin.
    pub misses: u32,
    /// For how long an answer stays fresh.
    pub life: Duration,
}

/// The learner; `T` is how something is asked for again.
#[derive(Debug)]
pub struct Learner<T> {
    sketch: Sketch,
    keepers: Vec<Keeper<T>>,
    places: HashMap<u64, usize, ahash::RandomState>,
    day: Day,
    /// Where the next search for room begins.
    hand: usize,
    top: usize,
    length: usize,
    fetched: usize,
    earned: usize,
    share: Option<f32>,
    /// The newest time that it was told (s): what comes with an older one counts as of now.
    now: f64,
}

/// How it stands with a learner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Keys of which more is known than a rough count.
    pub keys: usize,
    /// How long the set may be now.
    pub length: usize,
    /// Of what was fetched for the last set of which enough is known, the share that earned a hit.
    pub earned: Option<f32>,
}

impl<T> Learner<T> {
    /// One that knows nothing at `now`; its set has at most `top` members (at least one, at most [`MAX_TOP`]).
    pub fn new(top: usize, now: SystemTime) -> Self {
        let (top, now) = (top.clamp(1, MAX_TOP), seconds(now));
        Self {
            sketch: Sketch::new(HALF_LIFE, now),
            keepers: Vec::new(),
            places: HashMap::default(),
            day: Day::beginning(now),
            hand: 0,
            top,
            length: top,
            fetched: 0,
            earned: 0,
            share: None,
            now,
        }
    }

    /// Takes in what was asked for up to `now`. `target` says how to ask for it again, if it is worth keeping that; `None`:
    /// it cannot be.
    pub fn observe(&mut self, seen: Seen, now: SystemTime, target: impl FnOnce() -> Option<T>) {
        self.pass(now);
        let weight = (seen.hits + seen.misses) as f32;
        if weight == 0.0 {
            return;
        }
        let estimate = self.sketch.add(seen.key, weight, self.now);
        let place = match self.places.get(&seen.key) {
            Some(place) => *place,
            None => match self.admit(seen.key, estimate - weight, estimate, target) {
                Some(place) => place,
                None => return,
            },
        };
        let outcome = self.keepers[place].count(seen, self.now);
        self.earned += usize::from(outcome == Outcome::Earned);
    }

    /// What is likely to be asked for from `now` on for so long, the most likely first. The keys go with the targets.
    pub fn worth(&mut self, now: SystemTime, ahead: Duration) -> Vec<(u64, &T)> {
        self.pass(now);
        let (day, from, ahead) = (&self.day, self.now, ahead.as_secs_f64().max(1.0));
        let chance = |keeper: &Keeper<T>| keeper.chance(day, from, ahead);
        let mut likely: Vec<_> = self.keepers.iter().map(|keeper| (chance(keeper), keeper)).collect();
        likely.retain(|(chance, _)| *chance >= LEAST_CHANCE);
        likely.sort_unstable_by(|(a, one), (b, other)| b.total_cmp(a).then(one.key.cmp(&other.key)));
        likely.truncate(self.length);
        likely.into_iter().map(|(_, keeper)| (keeper.key, &keeper.target)).collect()
    }

    /// Notes that an entry was fetched for `key`: from here on its hits are earned.
    pub fn fetched(&mut self, key: u64) {
        if let Some(place) = self.places.get(&key) {
            self.fetched += usize::from(self.keepers[*place].fetched());
        }
    }

    /// Looks back at what was fetched since it last did: where too few of them earned a hit, the set is shorter from now on,
    /// and it grows again where they do. To be called before the next set is fetched.
    pub fn settle(&mut self) {
        if self.fetched < ENOUGH.min(self.length) {
            return;
        }
        let share = self.earned as f32 / self.fetched as f32;
        let factor = match share {
            share if share < LOW => SHORTER,
            share if share > HIGH => LONGER,
            _ => 1.0,
        };
        let length = (self.length as f32 * factor).round() as usize;
        self.length = length.clamp((self.top / SHORTEST).max(1), self.top);
        self.share = Some(share);
        (self.fetched, self.earned) = (0, 0);
        self.keepers.iter_mut().for_each(Keeper::settle);
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        Standing { keys: self.keepers.len(), length: self.length, earned: self.share }
    }

    /// Goes on to `now`; every hour that ends on the way is written down.
    fn pass(&mut self, now: SystemTime) {
        self.now = self.now.max(seconds(now));
        for (hour, weight) in self.day.ended(self.now) {
            self.keepers.iter_mut().for_each(|keeper| keeper.end_hour(hour, weight));
        }
    }

    /// A place for a key that was asked for `estimate` times, `before` of them before now: a free one, or that of the
    /// weakest of a few who is weaker.
    fn admit(
        &mut self,
        key: u64,
        before: f32,
        estimate: f32,
        target: impl FnOnce() -> Option<T>,
    ) -> Option<usize> {
        if estimate < ADMITTED {
            return None;
        }
        let place = if self.keepers.len() < MAX_KEYS {
            self.keepers.len()
        } else {
            let few = (0..SAMPLE).map(|n| (self.hand + n) % MAX_KEYS);
            let weakest = few.map(|place| (self.keepers[place].a_day(self.now), place));
            let (weight, place) = weakest.min_by(|(a, _), (b, _)| a.total_cmp(b))?;
            self.hand = (self.hand + SAMPLE) % MAX_KEYS;
            (weight < estimate).then_some(place)?
        };
        let keeper = Keeper::new(key, target()?, before, self.now);
        if place == self.keepers.len() {
            self.keepers.push(keeper);
        } else {
            self.places.remove(&self.keepers[place].key);
            self.keepers[place] = keeper;
        }
        self.places.insert(key, place);
        Some(place)
    }
}

/// Since the epoch, in seconds.
fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const HALF_AN_HOUR: Duration = Duration::from_secs(1800);

    fn midnight() -> SystemTime {
        SystemTime::UNIX_EPOCH + 20_000 * 24 * HOUR
    }

    fn seen(key: u64, hits: u32, misses: u32) -> Seen {
        Seen { key, hits, misses, life: HOUR }
    }

    fn set(learner: &mut Learner<u64>, now: SystemTime) -> Vec<u64> {
        learner.worth(now, HALF_AN_HOUR).into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn what_is_asked_for_most_comes_first_and_what_was_asked_for_once_does_not_come() {
        let mut learner = Learner::new(10, midnight());
        for (key, hits) in [(1, 3), (2, 9), (3, 0)] {
            learner.observe(seen(key, hits, 1), midnight(), || Some(key));
        }
        assert_eq!(set(&mut learner, midnight()), [2, 1]);
        assert_eq!(learner.standing().keys, 2);
    }

    #[test]
    fn what_is_asked_for_at_eight_is_known_before_eight_the_next_day() {
        let mut learner = Learner::new(10, midnight());
        for day in 0..3 {
            let eight = midnight() + (24 * day + 8) * HOUR;
            learner.observe(seen(8, 19, 1), eight + HALF_AN_HOUR, || Some(8));
            learner.observe(seen(20, 19, 1), eight + 12 * HOUR, || Some(20));
        }
        let day = midnight() + 3 * 24 * HOUR;
        assert_eq!(set(&mut learner, day + 8 * HOUR).first(), Some(&8));
        assert!(set(&mut learner, day + 13 * HOUR).is_empty(), "nobody asks for anything at noon");
        assert_eq!(set(&mut learner, day + 20 * HOUR).first(), Some(&20));
    }

    #[test]
    fn a_set_is_shortened_where_hits_do_not_follow_and_grows_again_where_they_do() {
        let mut learner = Learner::new(64, midnight());
        let mut now = midnight();
        let mut length = 64;
        let mut ask = |learner: &mut Learner<u64>, hits| {
            now += HALF_AN_HOUR;
            (0..64).for_each(|key| learner.observe(seen(key, hits, 0), now, || Some(key)));
            learner.settle();
            now
        };
        ask(&mut learner, 50);
        for _ in 0..20 {
            (0..64).for_each(|key| learner.fetched(key));
            ask(&mut learner, 0);
            assert!(learner.standing().length <= length);
            length = learner.standing().length;
        }
        assert_eq!((length, learner.standing().earned), (8, Some(0.0)), "an eighth is always tried");
        for _ in 0..20 {
            (0..64).for_each(|key| learner.fetched(key));
            ask(&mut learner, 50);
        }
        assert_eq!((learner.standing().length, learner.standing().earned), (64, Some(1.0)));
    }

    #[test]
    fn a_hit_is_not_earned_where_a_client_had_to_fetch_before() {
        let mut learner = Learner::new(64, midnight());
        (0..8).for_each(|key| learner.observe(seen(key, 5, 0), midnight(), || Some(key)));
        (0..8).for_each(|key| learner.fetched(key));
        (0..6).for_each(|key| learner.observe(seen(key, 5, 0), midnight(), || None));
        (6..8).for_each(|key| learner.observe(seen(key, 5, 1), midnight(), || None));
        learner.settle();
        assert_eq!(learner.standing().earned, Some(0.75));
    }

    #[test]
    fn memory_is_constant_and_the_frequent_survive_the_many() {
        let mut learner = Learner::new(MAX_TOP, midnight());
        (0..100).for_each(|key| learner.observe(seen(key, 1000, 0), midnight(), || Some(key)));
        (1000..30_000).for_each(|key| learner.observe(seen(key, 3, 0), midnight(), || Some(key)));
        assert_eq!(learner.standing().keys, MAX_KEYS);
        assert_eq!((learner.places.len(), learner.keepers.capacity()), (MAX_KEYS, MAX_KEYS));
        let mut first = set(&mut learner, midnight());
        first.truncate(100);
        first.sort_unstable();
        assert_eq!(first, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn what_cannot_be_asked_for_again_is_not_learnt() {
        let mut learner = Learner::<u64>::new(10, midnight());
        learner.observe(seen(1, 50, 1), midnight(), || None);
        assert_eq!(learner.standing().keys, 0);
    }

    proptest! {
        #[test]
        fn no_clock_makes_a_set_longer_than_it_may_be_or_a_chance_that_is_none(
            told in prop::collection::vec((0..40u64, 0..100u32, 0..3u32, -200_000..200_000i64), 1..200),
            top in 1..20usize,
        ) {
            let mut learner = Learner::new(top, midnight());
            let mut now = midnight();
            for (key, hits, misses, pause) in told {
                let by = Duration::from_secs(pause.unsigned_abs());
                now = if pause < 0 { now - by } else { now + by };
                learner.observe(seen(key, hits, misses), now, || Some(key));
                let set = set(&mut learner, now);
                prop_assert!(set.len() <= top);
                set.iter().for_each(|key| learner.fetched(*key));
                learner.settle();
                let chances = learner.keepers.iter().map(|keeper| keeper.chance(&learner.day, learner.now, 1800.0));
                prop_assert!(chances.into_iter().all(|chance| (0.0..=1.0).contains(&chance)));
            }
        }
    }
}
