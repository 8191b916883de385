//! What each route's entries were worth: how often they were read, how much of their life that took, and what ended them.
//!
//! Fed off the path of hits: by what an entry's counter has gained since it was last looked at, by what becomes of entries,
//! and by the totals that are counted for metrics anyway. When an entry was read last is known to within one look.
//! Invariant: memory is constant: [`HOURS`] slots and [`TOP`] names for each route of the configuration, and [`splits`].
//! It refuses to know the time, entries, and who asks.

pub mod report;
pub mod reuse;
pub mod shadow;
pub mod splits;
pub mod top;
pub mod words;

use std::sync::Arc;
use std::time::Duration;

use crate::metrics::{Cache, Shadowed};
use crate::monitor::advice::{Changes, Refetched};
use crate::monitor::audit::{Outcome, Tally};
use crate::monitor::usage::reuse::Rates;
use crate::monitor::usage::splits::Splits;
use crate::monitor::usage::top::Top;

/// For so many hours it is known what each was like.
pub const HOURS: usize = 24;

/// Most keys of a route that are counted by name.
pub const TOP: usize = 100;

/// An hour, in seconds.
const HOUR: u64 = 3_600;

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its ttl was over.
    Expired,
    /// An invalidation reached it before.
    Invalidated,
    /// A newer answer took its place before.
    Replaced,
    /// There was no room.
    Evicted,
    /// The origin no longer stood behind it.
    Withdrawn,
}

impl End {
    /// How many there are.
    pub const COUNT: usize = 5;
}

/// A life that has ended; times in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ended {
    /// How.
    pub how: End,
    /// Whether it was ever read.
    pub was_read: bool,
    /// How long it might have been used.
    pub granted: f64,
    /// How long it had been there when it was read last; zero if it never was.
    pub used: f64,
}

/// What is counted of a route for metrics, since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Answered {
    /// By what the cache did, in the order of [`Cache::ALL`].
    pub requests: [u64; Cache::COUNT],
    /// What was fetched for the cache, and the seconds until the last byte, all together.
    pub fetched: (u64, f64),
    /// Answers that were not kept since nobody gave them a life.
    pub no_freshness: u64,
    /// What the cache would have done, where it only watched.
    pub shadow: Shadowed,
}

impl Answered {
    fn since(&self, before: &Self) -> Self {
        let less =
            |now: (u64, f64), then: (u64, f64)| (now.0.saturating_sub(then.0), (now.1 - then.1).max(0.0));
        Self {
            requests: std::array::from_fn(|at| self.requests[at].saturating_sub(before.requests[at])),
            fetched: less(self.fetched, before.fetched),
            no_freshness: self.no_freshness.saturating_sub(before.no_freshness),
            shadow: self.shadow.since(&before.shadow),
        }
    }
}

/// What adds up over time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Requests.
    pub answered: Answered,
    /// Answers that were stored.
    pub fills: u64,
    /// Bytes of their bodies.
    pub fill_bytes: u64,
    /// Bytes of bodies that hits had.
    pub hit_bytes: u64,
    /// Lives that ended, by [`End`].
    pub ended: [u64; End::COUNT],
    /// Of those, how many were never read.
    pub unread: u64,
    /// Seconds that they might have been used, all together.
    pub granted: f64,
    /// Seconds until each was read last.
    pub used: f64,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        let (own, new) = (&mut self.answered, &other.answered);
        own.requests.iter_mut().zip(new.requests).for_each(|(sum, new)| *sum += new);
        own.fetched = (own.fetched.0 + new.fetched.0, own.fetched.1 + new.fetched.1);
        own.no_freshness += new.no_freshness;
        own.shadow = own.shadow.and(&new.shadow);
        self.fills += other.fills;
        self.fill_bytes += other.fill_bytes;
        self.hit_bytes += other.hit_bytes;
        self.ended.iter_mut().zip(other.ended).for_each(|(sum, new)| *sum += new);
        self.unread += other.unread;
        self.granted += other.granted;
        self.used += other.used;
    }

    /// Lives that ended.
    pub fn lives(&self) -> u64 {
        self.ended.iter().sum()
    }
}

/// All that is known of one route.
#[derive(Clone, Debug)]
pub struct Route {
    total: Sums,
    /// By hour, and which hour each slot is.
    hours: [(u64, Sums); HOURS],
    answered: Answered,
    /// What is read most, since the process began.
    pub top: Top,
    /// How often each key is read, at the last look.
    pub rates: Rates,
    /// What was seen at refetches and audits, since the process began.
    pub changes: Changes,
    /// What was compared with the origin, since the process began.
    pub audit: Tally,
}

/// All routes of the configuration, and at the end what none of them matches.
#[derive(Clone, Debug)]
pub struct Usage {
    began: Duration,
    routes: Vec<Route>,
    /// Query parameters that tell apart what is the same.
    pub splits: Splits,
}

impl Usage {
    /// For so many routes, from `now` (monotonic) on.
    pub fn new(routes: usize, now: Duration) -> Self {
        let mut usage = Self { began: now, routes: Vec::new(), splits: Splits::default() };
        usage.grow(routes.max(1));
        usage
    }

    /// Counts so many routes at least.
    pub fn grow(&mut self, routes: usize) {
        let unread = || Route {
            total: Sums::default(),
            hours: [(0, Sums::default()); HOURS],
            answered: Answered::default(),
            top: Top::new(TOP),
            rates: Rates::default(),
            changes: Changes::default(),
            audit: Tally::default(),
        };
        let routes = routes.max(self.routes.len());
        self.routes.resize_with(routes, unread);
    }

    /// All routes, by their numbers.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// For how long it has been counting.
    pub fn spans(&self, now: Duration) -> Duration {
        now.saturating_sub(self.began)
    }

    fn route(&mut self, route: usize) -> &mut Route {
        let last = self.routes.len() - 1;
        &mut self.routes[route.min(last)]
    }

    /// An entry of `route` was read so often since it was last looked at; its body has so many bytes. `hash` is what its key is
    /// known by.
    pub fn read(
        &mut self,
        route: usize,
        (hash, name): (u64, impl FnOnce() -> Arc<str>),
        hits: u32,
        bytes: u64,
        now: Duration,
    ) {
        let route = self.route(route);
        let hits = u64::from(hits);
        route.top.count(hash, name, hits);
        route.add(now, &Sums { hit_bytes: hits.saturating_mul(bytes), ..Sums::default() });
    }

    /// An answer of so many bytes was stored.
    pub fn stored(&mut self, route: usize, bytes: u64, now: Duration) {
        self.route(route).add(now, &Sums { fills: 1, fill_bytes: bytes, ..Sums::default() });
    }

    /// An answer that had been right `span` seconds before was fetched again, or held against the origin.
    pub fn refetched(&mut self, route: usize, span: f64, what: Refetched) {
        self.route(route).changes.observe(span, what);
    }

    /// An entry's life ended.
    pub fn ended(&mut self, route: usize, life: Ended, now: Duration) {
        let mut sums = Sums {
            unread: u64::from(!life.was_read),
            granted: life.granted,
            used: life.used.min(life.granted),
            ..Sums::default()
        };
        sums.ended[life.how as usize] = 1;
        self.route(route).add(now, &sums);
    }

    /// What has been counted of a route for metrics so far.
    pub fn answered(&mut self, route: usize, so_far: Answered, now: Duration) {
        let route = self.route(route);
        let answered = so_far.since(&route.answered);
        route.answered = so_far;
        route.add(now, &Sums { answered, ..Sums::default() });
    }

    /// How often the keys of each route are read, as the last look has it.
    pub fn rated(&mut self, rates: Vec<Rates>) {
        for (route, rates) in self.routes.iter_mut().zip(rates) {
            route.rates = rates;
        }
    }

    /// A comparison with the origin that speaks for so many hits.
    pub fn audited(&mut self, route: usize, outcome: Outcome, hits: u64) {
        self.route(route).audit.count(outcome, hits);
    }
}

impl Route {
    fn add(&mut self, now: Duration, sums: &Sums) {
        let hour = now.as_secs() / HOUR;
        let slot = &mut self.hours[hour as usize % HOURS];
        if slot.0 != hour {
            *slot = (hour, Sums::default());
        }
        slot.1.add(sums);
        self.total.add(sums);
    }

    /// What it comes to since the process began, or within `since` before `now`: the hour that this falls into counts from its
    /// beginning, and there are [`HOURS`] of them.
    pub fn sums(&self, since: Option<Duration>, now: Duration) -> Sums {
        let Some(since) = since else { return self.total };
        let (first, last) = (now.saturating_sub(since).as_secs() / HOUR, now.as_secs() / HOUR);
        let first = first.max((last + 1).saturating_sub(HOURS as u64));
        let mut sums = Sums::default();
        self.hours
            .iter()
            .filter(|(hour, _)| (first..=last).contains(hour))
            .for_each(|(_, hour)| sums.add(hour));
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const H: Duration = Duration::from_secs(HOUR);

    fn life(how: End, was_read: bool, used: f64) -> Ended {
        Ended { how, was_read, granted: 60.0, used }
    }

    #[test]
    fn lives_add_up_by_how_they_ended() {
        let mut usage = Usage::new(2, H);
        usage.stored(0, 10, H);
        usage.ended(0, life(End::Expired, false, 0.0), H);
        usage.ended(0, life(End::Invalidated, true, 30.0), H);
        usage.ended(0, life(End::Invalidated, true, 90.0), H);
        let sums = usage.routes()[0].sums(None, H);
        assert_eq!((sums.ended, sums.unread, sums.lives()), ([1, 2, 0, 0, 0], 1, 3));
        assert_eq!((sums.granted, sums.used), (180.0, 90.0), "nothing is used for longer than it may be");
        assert_eq!(usage.routes()[1].sums(None, H), Sums::default());
    }

    #[test]
    fn what_no_route_has_counts_as_unmatched() {
        let mut usage = Usage::new(2, H);
        usage.stored(9, 10, H);
        assert_eq!(usage.routes()[1].sums(None, H).fills, 1);
    }

    #[test]
    fn totals_of_metrics_are_counted_once() {
        let mut usage = Usage::new(1, H);
        let so_far = |hits| Answered { requests: [hits, 0, 0, 0, 0], ..Answered::default() };
        usage.answered(0, so_far(3), H);
        usage.answered(0, so_far(5), 2 * H);
        assert_eq!(usage.routes()[0].sums(None, 2 * H).answered.requests[0], 5);
        assert_eq!(usage.routes()[0].sums(Some(Duration::ZERO), 2 * H).answered.requests[0], 2);
    }

    #[test]
    fn hits_weigh_what_their_bodies_do() {
        let mut usage = Usage::new(1, H);
        usage.read(0, (1, || "/a".into()), 3, 100, H);
        usage.read(0, (1, || unreachable!("it is known")), 1, 100, H);
        assert_eq!(usage.routes()[0].sums(None, H).hit_bytes, 400);
        assert_eq!(usage.routes()[0].top.first(1)[0].hits, 4);
    }

    proptest! {
        #[test]
        fn a_window_holds_what_fell_into_its_hours(
            steps in proptest::collection::vec(0_u64..5 * HOUR, 1..60),
            since in 0_u64..30 * HOUR,
        ) {
            let mut usage = Usage::new(1, Duration::ZERO);
            let (mut now, mut at) = (0, Vec::new());
            for step in steps {
                now += step;
                at.push(now / HOUR);
                usage.stored(0, 1, Duration::from_secs(now));
            }
            let seen = usage.routes()[0].sums(Some(Duration::from_secs(since)), Duration::from_secs(now)).fills;
            let first = (now.saturating_sub(since) / HOUR).max((now / HOUR + 1).saturating_sub(HOURS as u64));
            prop_assert_eq!(seen, at.iter().filter(|hour| **hour >= first).count() as u64);
            prop_assert_eq!(usage.routes()[0].sums(None, Duration::from_secs(now)).fills, at.len() as u64);
        }
    }
}
