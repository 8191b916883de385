//! Caching switched off for a while, for everything or for one route, and for good once the process drains.
//!
//! Invariant: what is switched off drops what is kept of it before that is acknowledged, and comes back by the clock alone. A draining
//! process may not hear of invalidations any more, so nothing that it keeps is served again. Invalidations apply all the while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::flow::Flow;
use crate::invalidate::{Applied, Invalidation, Source};
use crate::route::reach::Reach;
use crate::route::tag::Tag;

/// Caches.
const ON: u64 = 0;
/// Never caches again: the process drains.
const DRAINING: u64 = u64::MAX;
/// Does not cache yet: the process before this one still has clients, whose writes nobody here hears of.
const SUCCEEDING: u64 = u64::MAX - 1;

/// Every switch of the process. Reading costs two relaxed loads.
#[derive(Debug)]
pub struct Switches {
    /// [`ON`], [`DRAINING`], [`SUCCEEDING`], or until when (monotonic, ms) caching is off for everything.
    everything: AtomicU64,
    /// By the route's number, the same but for those of the process.
    routes: boxcar::Vec<AtomicU64>,
}

/// What a switch covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covers {
    /// All routes, and what no route matches.
    Everything,
    /// The route of this number.
    Route(usize),
}

/// A switch that is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Off {
    /// For what.
    pub covers: Covers,
    /// For how long yet.
    pub left: Duration,
}

impl Switches {
    /// All on, for so many routes.
    pub(crate) fn new(routes: usize) -> Self {
        let switches = Self { everything: AtomicU64::new(ON), routes: boxcar::Vec::new() };
        switches.grow(routes);
        switches
    }

    /// Has a switch for so many routes at least.
    pub(crate) fn grow(&self, routes: usize) {
        (self.routes.count()..routes).for_each(|_| _ = self.routes.push(AtomicU64::new(ON)));
    }

    /// Why the cache is not asked on `route` at `now` (monotonic); `None`: it is.
    pub fn off(&self, route: usize, now: Duration) -> Option<&'static str> {
        let everything = self.everything.load(Ordering::Relaxed);
        let own = self.routes.get(route).map_or(ON, |own| own.load(Ordering::Relaxed));
        if everything == ON && own == ON {
            return None;
        }
        let now = millis(now);
        match everything {
            DRAINING => Some("draining"),
            SUCCEEDING => Some("succeeding"),
            _ => (everything > now || own > now).then_some("disabled"),
        }
    }

    /// What is off at `now` (monotonic).
    pub fn list(&self, now: Duration) -> Vec<Off> {
        let all = std::iter::once((Covers::Everything, &self.everything));
        let routes = self.routes.iter().map(|(number, switch)| (Covers::Route(number), switch));
        let off = all.chain(routes).filter_map(|(covers, switch)| {
            let left = switch.load(Ordering::Relaxed).checked_sub(millis(now))?;
            (left > 0).then_some(Off { covers, left: Duration::from_millis(left) })
        });
        off.filter(|_| self.everything.load(Ordering::Relaxed) < SUCCEEDING).collect()
    }

    /// Whether everything is off at `now` (monotonic), or nothing is served any more.
    pub fn is_off(&self, now: Duration) -> bool {
        self.everything.load(Ordering::Relaxed) > millis(now)
    }

    /// Whether nothing that is kept is served any more.
    pub fn is_draining(&self) -> bool {
        self.everything.load(Ordering::Relaxed) == DRAINING
    }

    /// From `one` state of the process to the `other`; from any other nothing.
    fn turn(&self, one: u64, other: u64) {
        let _stays = self.everything.compare_exchange(one, other, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn set(&self, covers: Covers, value: u64) {
        match covers {
            Covers::Everything => {
                let stays = |now: u64| (now < SUCCEEDING).then_some(value);
                let _drains = self.everything.fetch_update(Ordering::Relaxed, Ordering::Relaxed, stays);
            }
            Covers::Route(route) => {
                self.routes.get(route).into_iter().for_each(|own| own.store(value, Ordering::Relaxed));
            }
        }
    }
}

/// Whole milliseconds; a moment that no process lives to see is as good as the last one before [`DRAINING`].
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(DRAINING).min(SUCCEEDING - 1)
}

impl Flow {
    /// The switches.
    pub fn switches(&self) -> Arc<Switches> {
        let shared = self.in_force();
        Arc::clone(&shared.lasting.switches)
    }

    /// Switches caching off for `period` and drops what is kept of it. When this returns both hold; `actor` is who said so.
    pub async fn disable(&self, covers: Covers, period: Duration, actor: String) -> Applied {
        let (parts, switches) = (self.parts(), self.switches());
        let until = millis(parts.clock.mono().saturating_add(period));
        switches.set(covers, until.max(1));
        let reach = match covers {
            Covers::Everything => Reach::all(),
            Covers::Route(route) => Reach::of([Tag::route(parts.metrics.template(route))]),
        };
        // What is derived is fetched anew when it is asked for: nothing was changed.
        let without_derived = true;
        let source = Source::Admin;
        let invalidation = Invalidation { reach, source, actor, without_derived, ..Invalidation::default() };
        parts.invalidator.apply(invalidation).await
    }

    /// Switches caching on again; [`Covers::Everything`] takes every route's switch along.
    pub fn enable(&self, covers: Covers) {
        let switches = self.switches();
        switches.set(covers, ON);
        if covers == Covers::Everything {
            (0..switches.routes.count()).for_each(|route| switches.set(Covers::Route(route), ON));
        }
    }

    /// From now on nothing is answered from what is kept, and there is no way back.
    pub fn drain(&self) {
        self.switches().everything.store(DRAINING, Ordering::Relaxed);
    }
}

impl Flow {
    /// Nobody takes over after all: what was kept is served again.
    pub fn go_on(&self) {
        self.switches().turn(DRAINING, ON);
    }

    /// Caches nothing until [`Flow::succeed`]: the process before this one still has clients.
    pub fn await_succession(&self) {
        self.switches().turn(ON, SUCCEEDING);
    }

    /// The process before this one is gone, and with it whatever it could have let through.
    pub fn succeed(&self) {
        self.switches().turn(SUCCEEDING, ON);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(3600);
    const LATER: Duration = Duration::from_secs(3660);

    #[test]
    fn a_switch_covers_its_route_until_its_time() {
        let switches = Switches::new(2);
        assert_eq!(switches.off(1, NOW), None);
        switches.set(Covers::Route(1), millis(LATER));
        assert_eq!((switches.off(0, NOW), switches.off(1, NOW)), (None, Some("disabled")));
        assert_eq!(switches.list(NOW), [Off { covers: Covers::Route(1), left: Duration::from_secs(60) }]);
        assert_eq!(switches.off(1, LATER), None, "it expires by itself");
        assert_eq!(switches.list(LATER), []);
    }

    #[test]
    fn the_switch_of_everything_covers_every_route() {
        let switches = Switches::new(2);
        switches.set(Covers::Everything, millis(LATER));
        assert_eq!((switches.off(0, NOW), switches.off(1, NOW)), (Some("disabled"), Some("disabled")));
        switches.set(Covers::Everything, ON);
        assert_eq!((switches.off(0, NOW), switches.off(1, NOW)), (None, None));
    }

    #[test]
    fn nobody_switches_on_what_waits_for_the_process_before_it() {
        let switches = Switches::new(1);
        switches.turn(ON, SUCCEEDING);
        switches.set(Covers::Everything, ON);
        assert_eq!((switches.off(0, NOW), switches.list(NOW)), (Some("succeeding"), Vec::new()));
        switches.turn(SUCCEEDING, ON);
        assert_eq!(switches.off(0, NOW), None);
    }

    #[test]
    fn nothing_switches_a_draining_process_on() {
        let switches = Switches::new(1);
        switches.everything.store(DRAINING, Ordering::Relaxed);
        switches.set(Covers::Everything, ON);
        assert_eq!(switches.off(0, Duration::MAX), Some("draining"));
    }
}
