//! What has been counted so far, as values: for whoever looks every now and then, and compares.
//!
//! Invariant: to read costs nobody who counts; the figures of one reading may be some requests apart from one another.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use crate::metrics::histogram::Histogram;
use crate::metrics::{Cache, FleetRedis, Metrics, Reason, Route, RouteReason, Tally};

/// Everything that the monitor goes by, counted since the process began.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// One for each configured route, in their order; the last one is of what no route matches.
    pub routes: Vec<RouteReading>,
    /// Times from a request to the origin to the head of its answer.
    pub upstream: Tally,
    /// Requests to the origin that got no whole answer.
    pub upstream_errors: u64,
    /// Entries that left memory for want of room.
    pub evicted: u64,
    /// Reads for which the shared tier was to be asked.
    pub tier_asked: u64,
    /// Those of them that it answered.
    pub tier_hits: u64,
    /// How long it took to answer a read, or not to.
    pub tier_reads: Tally,
    /// Requests made to warm the cache.
    pub warmed: u64,
    /// Those of them that failed.
    pub warm_failed: u64,
    /// Times from an invalidation's arrival to its acknowledgement.
    pub acks: Tally,
    /// Whether the channels of `redis.subscribe` are heard; `None`: there are none.
    pub channels: Option<bool>,
    /// How it stands with the fleet's Redis.
    pub fleet: FleetRedis,
}

/// One route's share of it, in the order of [`Cache::ALL`].
#[derive(Clone, Debug, Default)]
pub struct RouteReading {
    /// Its template.
    pub route: std::sync::Arc<str>,
    /// From a request's head to its answer's last byte.
    pub durations: [Tally; Cache::COUNT],
}

impl Metrics {
    /// What has been counted so far.
    pub fn read(&self) -> Reading {
        Reading { routes: self.routes.iter().map(|(_, route)| route.read()).collect(), ..self.read_sums() }
    }

    /// What has been counted so far of `route` (as in [`Self::request`]).
    pub fn read_route(&self, route: usize) -> RouteReading {
        self.route(route).read()
    }

    /// What has been counted so far, but of no single route.
    pub fn read_sums(&self) -> Reading {
        let (warmed, warm_failed) = self.warming.requested();
        Reading {
            routes: Vec::new(),
            upstream: self.upstream_duration.tally(),
            upstream_errors: self.upstream_failures.load(Ordering::Relaxed),
            evicted: self.evictions.get(&Reason { reason: "size" }).map_or(0, |count| count.get()),
            tier_asked: self.tier.asked(),
            tier_hits: self.tier.reads("hit"),
            tier_reads: self.tier.read_times(),
            warmed,
            warm_failed,
            acks: self.invalidations.acks(),
            channels: self.channels.connected(),
            fleet: self.fleet.redis(),
        }
    }

    /// Answered requests of `route` (as in [`Self::request`]) by what the cache did, in the order of [`Cache::ALL`].
    pub fn answered(&self, route: usize) -> [u64; Cache::COUNT] {
        let durations = &self.route(route).durations;
        Cache::ALL
            .map(|cache| durations[cache as usize].get().map_or(0, |durations| durations.tally().count()))
    }

    /// Answers on `route` (as in [`Self::request`]) that were fetched for the cache, and the seconds until their last byte, all
    /// together.
    pub fn fetched(&self, route: usize) -> (u64, f64) {
        let durations = self.route(route).durations[Cache::Miss as usize].get();
        let tally = durations.map(Histogram::tally).unwrap_or_default();
        (tally.count(), tally.sum().as_secs_f64())
    }

    /// Requests on `route` (as in [`Self::request`]) that were neither answered from nor kept in the cache for `reason`.
    pub fn bypassed(&self, route: usize, reason: &'static str) -> u64 {
        let route = Arc::clone(&self.route(route).name);
        self.bypasses.get(&RouteReason { route, reason }).map_or(0, |count| count.get())
    }

    /// Answers of the origin so far; what audits asked for is not among them.
    pub fn asked_of_origin(&self) -> u64 {
        self.upstream_duration.tally().count()
    }

    /// Entries that left the cache for `reason`.
    pub fn evictions(&self, reason: &'static str) -> u64 {
        self.evictions.get(&Reason { reason }).map_or(0, |count| count.get())
    }
}

impl Route {
    fn read(&self) -> RouteReading {
        let tally = |slot: &OnceLock<Histogram>| slot.get().map(Histogram::tally);
        let durations = std::array::from_fn(|at| tally(&self.durations[at]).unwrap_or_default());
        RouteReading { route: self.name.clone(), durations }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Method, StatusCode};
    use std::time::Duration;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_was_counted_is_read_where_it_belongs() {
        let metrics = Metrics::new(&["/a"]);
        metrics.request(0, &Method::GET, StatusCode::OK, Cache::Hit, MS);
        metrics.request(7, &Method::POST, StatusCode::OK, Cache::Bypass, MS);
        metrics.upstream_request(MS);
        metrics.upstream_error("connect");
        metrics.upstream_error("reset");
        metrics.evicted("size");
        metrics.evicted("swept");
        metrics.warming().request("stored");
        metrics.warming().request("failed");
        metrics.acknowledged(MS);
        metrics.tier().read("hit");
        metrics.tier().read("absent");
        metrics.tier().took("get", MS);
        metrics.tier().took("put", MS);
        let read = metrics.read();
        let counts: Vec<_> =
            read.routes.iter().map(|route| route.durations.clone().map(|d| d.count())).collect();
        assert_eq!(counts, [[1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]);
        assert_eq!((&*read.routes[0].route, &*read.routes[1].route), ("/a", "unmatched"));
        assert_eq!((read.upstream.count(), read.upstream_errors, read.evicted), (1, 2, 1));
        assert_eq!((read.warmed, read.warm_failed, read.acks.count()), (2, 1, 1));
        assert_eq!((read.tier_asked, read.tier_hits, read.tier_reads.count()), (2, 1, 1));
    }

    #[test]
    fn redis_is_away_only_where_there_is_one_and_it_is() {
        let metrics = Metrics::new(&[]);
        assert_eq!((metrics.read().channels, metrics.read().fleet), (None, FleetRedis::None));
        metrics.channels().set_connected(false);
        metrics.fleet_away(Some("unreachable"));
        assert_eq!(
            (metrics.read().channels, metrics.read().fleet),
            (Some(false), FleetRedis::Away("unreachable"))
        );
        metrics.channels().set_connected(true);
        metrics.fleet_away(None);
        assert_eq!((metrics.read().channels, metrics.read().fleet), (Some(true), FleetRedis::There));
    }
}
