//! A trace played through a cache that somebody warms: what that was good for, and what it cost.
//!
//! The cache is as plain as can be: answers live as long as their route says, there is room for all of them. Nobody is told
//! more than a proxy knows: what was asked for up to now, looked at every [`LOOK`] seconds.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use larder::warm::learn::{Learner, Seen};

use crate::trace::{BEGIN, DAY, Event, What};

/// Seconds between two sets.
const EVERY: f64 = 1800.0;
/// Seconds between two looks at what was asked for.
const LOOK: f64 = 30.0;
/// The longest set.
pub(crate) const TOP: usize = 200;
/// An entry that has so many seconds left or fewer is about to expire.
const SOON: f64 = 60.0;
/// What is measured begins after these days: nobody knows anything on the first one.
const UNMEASURED: f64 = 2.0 * DAY;

/// Who says what is warmed.
pub(crate) enum Warmer {
    Nothing,
    /// The last distinct keys that were asked for; or, going further back, as many that are not there.
    Recency(HashMap<What, f64>, Back),
    Learned(Box<Learner<What>>, HashMap<What, Seen>),
}

/// How far back plain recency goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Back {
    /// To the last [`TOP`] keys, wherever their answers are.
    Keys,
    /// Until [`TOP`] answers were fetched.
    Fetches,
}

impl Warmer {
    pub(crate) fn recency(back: Back) -> Self {
        Self::Recency(HashMap::new(), back)
    }

    pub(crate) fn learned() -> Self {
        Self::Learned(Box::new(Learner::new(TOP, wall(0.0))), HashMap::new())
    }

    fn asked(&mut self, what: What, now: f64, was_hit: bool) {
        match self {
            Self::Nothing => {}
            Self::Recency(last, _) => {
                last.insert(what, now);
            }
            Self::Learned(_, seen) => {
                let life = Duration::from_secs_f64(what.life());
                let seen = seen.entry(what).or_insert(Seen { key: what.key(), hits: 0, misses: 0, life });
                seen.hits += u32::from(was_hit);
                seen.misses += u32::from(!was_hit);
            }
        }
    }

    fn look(&mut self, now: f64) {
        let Self::Learned(learner, seen) = self else { return };
        let mut all: Vec<(What, Seen)> = seen.drain().collect();
        all.sort_by_key(|(_, seen)| seen.key);
        for (what, seen) in all {
            learner.observe(seen, wall(now), || Some(what));
        }
    }

    fn set(&mut self, now: f64) -> Vec<What> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Recency(last, back) => {
                let mut keys: Vec<_> = last.iter().map(|(what, at)| (*at, *what)).collect();
                keys.sort_by(|(a, one), (b, other)| b.total_cmp(a).then(one.key().cmp(&other.key())));
                let far = if *back == Back::Keys { TOP } else { usize::MAX };
                keys.into_iter().take(far).map(|(_, what)| what).collect()
            }
            Self::Learned(learner, _) => {
                learner.settle();
                let set = learner.worth(wall(now), Duration::from_secs_f64(EVERY));
                set.into_iter().map(|(_, what)| *what).collect()
            }
        }
    }

    fn fetched(&mut self, what: What) {
        if let Self::Learned(learner, _) = self {
            learner.fetched(what.key());
        }
    }
}

/// What came of a trace.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Result {
    pub(crate) requests: u64,
    pub(crate) misses: u64,
    pub(crate) warmed: u64,
    /// Warmed entries that answered somebody.
    pub(crate) earned: u64,
    /// The same, and misses, of the reports alone, which are read in the first minutes of the working day.
    morning: (u64, u64),
}

impl Result {
    /// The share of warmed entries that earned a hit; 0 if none was warmed.
    pub(crate) fn precision(&self) -> f64 {
        if self.warmed == 0 { 0.0 } else { self.earned as f64 / self.warmed as f64 }
    }

    /// Of the requests that were the first for what they asked for, the share that found it warm.
    pub(crate) fn recall(&self) -> f64 {
        self.earned as f64 / (self.earned + self.misses) as f64
    }

    /// The same for what is read in the first minutes of the working day.
    pub(crate) fn morning(&self) -> f64 {
        let (earned, misses) = self.morning;
        earned as f64 / (earned + misses).max(1) as f64
    }

    /// Origin requests for each request of a client.
    pub(crate) fn cost(&self) -> f64 {
        (self.misses + self.warmed) as f64 / self.requests as f64
    }

    /// The share of requests that nobody had to wait for.
    pub(crate) fn hit_ratio(&self) -> f64 {
        1.0 - self.misses as f64 / self.requests as f64
    }
}

struct Entry {
    until: f64,
    /// Nobody asked for it so far.
    waits: bool,
}

/// Plays `trace` with `warmer`.
pub(crate) fn play(trace: &[(f64, Event)], mut warmer: Warmer) -> Result {
    let (mut kept, mut result) = (HashMap::<What, Entry>::new(), Result::default());
    let (mut next_look, mut next_set) = (LOOK, EVERY);
    for (now, event) in trace {
        while next_look.min(next_set) <= *now {
            if next_look <= next_set {
                warmer.look(next_look);
                next_look += LOOK;
                continue;
            }
            let is_gone = |what: &What| kept.get(what).is_none_or(|entry| entry.until <= next_set + SOON);
            let fetched: Vec<What> = warmer.set(next_set).into_iter().filter(is_gone).take(TOP).collect();
            for what in fetched {
                warmer.fetched(what);
                kept.insert(what, Entry { until: next_set + what.life(), waits: true });
                result.warmed += u64::from(next_set >= UNMEASURED);
            }
            next_set += EVERY;
        }
        let counts = u64::from(*now >= UNMEASURED);
        match event {
            Event::Read(what) => {
                result.requests += counts;
                let morning = if matches!(what, What::Report(_)) { counts } else { 0 };
                let entry = kept.get_mut(what).filter(|entry| entry.until > *now);
                warmer.asked(*what, *now, entry.is_some());
                match entry {
                    Some(entry) => {
                        let earned = u64::from(entry.waits);
                        result.earned += earned * counts;
                        result.morning.0 += earned * morning;
                        entry.waits = false;
                    }
                    None => {
                        result.misses += counts;
                        result.morning.1 += morning;
                        kept.insert(*what, Entry { until: now + what.life(), waits: false });
                    }
                }
            }
            Event::Write(id) => kept.retain(|what, _| match what {
                What::Detail(other) => other != id,
                What::Report(_) => true,
                What::List(_) | What::Number(_) => false,
            }),
            Event::Emptied => kept.clear(),
        }
    }
    result
}

fn wall(now: f64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(BEGIN) + Duration::from_secs_f64(now)
}
