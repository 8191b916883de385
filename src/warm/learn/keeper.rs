//! What is known of one key: how often it was asked for in every hour of the day, and lately. Pure.
//!
//! ```text
//! hours   one count for each hour of the day, of the days before: a day weighs less the longer ago it was
//! now     what the hour under way has brought
//! lately  a count that fades within an hour: what nobody could know of yesterday
//! a day   a count that fades within days: what is asked for at any time
//! ```
//! Invariant: counts fade and never grow by themselves. A target that was fetched for nothing again and again is trusted less.

use crate::warm::learn::{HALF_LIFE, Seen};

/// Slots of a day.
const HOURS: usize = 24;
/// Seconds of an hour.
const HOUR: f64 = 3600.0;
/// The share of the newest day in the count of its hour.
const NEWEST: f32 = 0.4;
/// Seconds in which what was asked for lately fades to its e-th part.
const LATELY: f64 = 2400.0;
/// The hour itself, and each of its neighbours: what comes at eight may come at five to eight.
const ITSELF: f32 = 0.6;
const NEIGHBOUR: f32 = 0.2;
/// What hour of the day, the last hour and the whole day have to say of the time to come.
const BY_HOUR: f32 = 0.5;
const BY_LATELY: f32 = 0.4;
const BY_DAY: f32 = 0.1;
/// And the hour of the day by itself, where that is more.
const BY_HOUR_ALONE: f32 = 0.8;
/// Seconds within which a hit is of use, however soon the next set is: what is fetched is there until it is stale.
const LEAST_AHEAD: f64 = 1800.0;
/// Most hours that are written down after a pause: two days without a request leave next to nothing.
const MAX_PAUSE: u64 = 48;
/// The share of the newest fetch in what is thought of a target.
const TRUST: f32 = 0.3;

/// What became of what was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Its first hit has come.
    Earned,
    /// Nothing new.
    Nothing,
}

/// How it stands with what was fetched for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fetched {
    Not,
    /// No hit so far.
    Waits,
    Earned,
    /// It was gone before its first hit: somebody else had to fetch.
    Wasted,
}

/// One key.
#[derive(Debug)]
pub(super) struct Keeper<T> {
    pub(super) key: u64,
    pub(super) target: T,
    /// Requests in an hour, by hour of the day (UTC).
    hours: [f32; HOURS],
    /// Requests in the hour under way.
    now: f32,
    lately: f32,
    day: f32,
    /// When (s) `lately` and `day` were last let fade.
    at: f64,
    /// Seconds for which an answer stays fresh.
    life: f32,
    fetched: Fetched,
    /// The share of fetches that earn a hit; one until it is known better.
    trust: f32,
}

impl<T> Keeper<T> {
    /// Of a key that was asked for `before` times, faded over a day.
    pub(super) fn new(key: u64, target: T, before: f32, now: f64) -> Self {
        let (lately, day) = (0.0, before.max(0.0));
        let (hours, fetched) = ([0.0; HOURS], Fetched::Not);
        Self { key, target, hours, now: 0.0, lately, day, at: now, life: 0.0, fetched, trust: 1.0 }
    }

    /// Counts requests at `now` (s).
    pub(super) fn count(&mut self, seen: Seen, now: f64) -> Outcome {
        self.fade(now);
        let requests = (seen.hits + seen.misses) as f32;
        self.now += requests;
        self.lately += requests;
        self.day += requests;
        self.life = seen.life.as_secs_f32();
        if self.fetched != Fetched::Waits {
            return Outcome::Nothing;
        }
        // Whose entry it was that was hit afterwards is not to be told: it was his who had to fetch.
        if seen.misses > 0 {
            self.fetched = Fetched::Wasted;
            return Outcome::Nothing;
        }
        self.fetched = Fetched::Earned;
        Outcome::Earned
    }

    /// Notes that an entry was fetched; whether that is the first one since the last settlement.
    pub(super) fn fetched(&mut self) -> bool {
        let first = self.fetched == Fetched::Not;
        if first {
            self.fetched = Fetched::Waits;
        }
        first
    }

    /// Learns from what became of it.
    pub(super) fn settle(&mut self) {
        let worth = match self.fetched {
            // Nobody tried: it may be tried again some day.
            Fetched::Not => self.trust + 0.02 * (1.0 - self.trust),
            Fetched::Earned => self.trust + TRUST * (1.0 - self.trust),
            Fetched::Waits | Fetched::Wasted => self.trust * (1.0 - TRUST),
        };
        (self.trust, self.fetched) = (worth, Fetched::Not);
    }

    /// Writes down the hour that has ended, as so much of what is known of it; whatever was not counted then was none.
    pub(super) fn end_hour(&mut self, hour: usize, weight: f32) {
        let known = &mut self.hours[hour];
        *known += weight * (self.now - *known);
        self.now = 0.0;
    }

    /// Requests of a day, faded.
    pub(super) fn a_day(&self, now: f64) -> f32 {
        self.day * (-(now - self.at) / HALF_LIFE).exp2() as f32
    }

    /// The chance that an answer fetched at `now` (s) is of use to somebody within the next `ahead` seconds (or half an hour),
    /// and before it is stale.
    pub(super) fn chance(&self, day: &Day, now: f64, ahead: f64) -> f32 {
        let time = (f64::from(self.life).min(ahead.max(LEAST_AHEAD)) / HOUR) as f32;
        let likely = 1.0 - (-self.an_hour(day, now, ahead) * time).exp();
        likely * self.trust
    }

    /// Requests in an hour, as they are to be expected from `now` (s) on for `ahead` seconds.
    fn an_hour(&self, day: &Day, now: f64, ahead: f64) -> f32 {
        let fading = now - self.at;
        let lately = self.lately * (-fading / LATELY).exp() as f32 * (HOUR / LATELY) as f32;
        let a_day = self.a_day(now) * (HOUR * std::f64::consts::LN_2 / HALF_LIFE) as f32;
        // The middle of the time to come.
        let hour = hour_of(now + ahead / 2.0) as usize % HOURS;
        if day.known[hour] == 0 {
            return (BY_HOUR + BY_LATELY) * lately + BY_DAY * a_day;
        }
        let beside = self.hours[(hour + 1) % HOURS] + self.hours[(hour + HOURS - 1) % HOURS];
        let by_hour = ITSELF * self.hours[hour] + NEIGHBOUR * beside;
        // Where the hour brings something else than the one before, what was asked for lately says nothing of it.
        (BY_HOUR * by_hour + BY_LATELY * lately + BY_DAY * a_day).max(BY_HOUR_ALONE * by_hour)
    }

    fn fade(&mut self, now: f64) {
        let passed = now - self.at;
        self.lately *= (-passed / LATELY).exp() as f32;
        self.day *= (-passed / HALF_LIFE).exp2() as f32;
        self.at = now;
    }
}

/// Which hours have ended, and how many days are known of each.
#[derive(Debug)]
pub(super) struct Day {
    /// The hour under way, since the epoch.
    hour: u64,
    /// Times that an hour was seen.
    known: [u16; HOURS],
}

impl Day {
    /// From `now` (s) on.
    pub(super) fn beginning(now: f64) -> Self {
        Self { hour: hour_of(now), known: [0; HOURS] }
    }

    /// The hours of the day that have ended by `now` (s), in their order, and how much the newest day of each weighs.
    pub(super) fn ended(&mut self, now: f64) -> Vec<(usize, f32)> {
        let until = hour_of(now);
        let from = self.hour.max(until.saturating_sub(MAX_PAUSE));
        self.hour = until.max(self.hour);
        let ended = (from..until).map(|hour| {
            let hour = hour as usize % HOURS;
            self.known[hour] = self.known[hour].saturating_add(1);
            // The first days are all that is known.
            (hour, NEWEST.max(1.0 / f32::from(self.known[hour])))
        });
        ended.collect()
    }
}

fn hour_of(seconds: f64) -> u64 {
    (seconds / HOUR) as u64
}
