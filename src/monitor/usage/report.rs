//! What is told of usage: `GET /v1/usage`, and what `larder report` reads.
//!
//! Shares are from 0 to 1, times in seconds, sizes in bytes; what is not known is `null`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::metrics::{Cache, Shadowed};
use crate::monitor::advice::{self, Rate};
use crate::monitor::audit::{Outcome, Tally};
use crate::monitor::usage::reuse::Rates;
use crate::monitor::usage::shadow::Shadow;
use crate::monitor::usage::splits::Splits;
use crate::monitor::usage::{End, Route, Sums, Usage, words};

/// All of it.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Report {
    /// For how long it has been counted, or what was asked for, if that is less.
    pub seconds: f64,
    /// The stale share that ttls are recommended for (`monitor.stale_share`).
    pub stale_share: f64,
    /// All routes together.
    pub all: All,
    /// Each route that anything is known of, those with most requests first.
    pub routes: Vec<OfRoute>,
    /// What could be better, and by which numbers.
    pub recommendations: Vec<Recommendation>,
}

/// All routes together.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct All {
    /// Requests.
    pub requests: u64,
    /// Of what the cache was asked for, how much it answered.
    pub hit_ratio: Option<f64>,
    /// Time of the origin that the hits saved: as many fetches, each as long as the mean of its route.
    pub seconds_saved: Option<f64>,
    /// Bytes of bodies that came out of the cache.
    pub bytes_hit: u64,
    /// How far apart reads of a key are.
    pub reuse_distance: Option<Distance>,
    /// What was compared with the origin.
    pub audit: Audit,
    /// What the cache would have been worth on routes in shadow mode; `None`: nothing was asked of any.
    #[serde(default)]
    pub shadow: Option<Shadow>,
}

/// How far apart two reads of a key are, in other keys between them: estimated from rates (see `reuse`).
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq)]
pub struct Distance {
    /// Half of the reads have at most this.
    pub p50: u64,
    /// Nine in ten.
    pub p90: u64,
    /// Ninety-nine in a hundred.
    pub p99: u64,
}

/// One route.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct OfRoute {
    /// Its template, or `unmatched`.
    pub route: String,
    /// Its configured ttl.
    pub ttl: Option<f64>,
    /// Requests, by what the cache did.
    pub requests: Requests,
    /// Of what the cache was asked for, how much it answered.
    pub hit_ratio: Option<f64>,
    /// Answers that nobody gave a life.
    pub no_freshness: u64,
    /// Answers that were stored, and the bytes of their bodies.
    pub fills: u64,
    /// Bytes of their bodies.
    pub bytes_filled: u64,
    /// Bytes of bodies that came out of the cache.
    pub bytes_hit: u64,
    /// Mean time until the last byte of what was fetched.
    pub fetch_seconds: Option<f64>,
    /// Time of the origin that the hits saved: as many fetches, each as long as the mean.
    pub seconds_saved: Option<f64>,
    /// What became of entries.
    pub lives: Lives,
    /// How far apart reads of a key are.
    pub reuse_distance: Option<Distance>,
    /// What is read most, since the process began.
    pub top: Vec<TopKey>,
    /// Refetches, and the ttl that they speak for; since the process began.
    pub changes: Changes,
    /// What was compared with the origin, since the process began.
    pub audit: Audit,
    /// What the cache would have been worth; `None`: nothing was asked of it in shadow mode.
    #[serde(default)]
    pub shadow: Option<Shadow>,
}

/// Requests, by what the cache did.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the label `cache`")]
pub struct Requests {
    pub all: u64,
    pub hit: u64,
    pub miss: u64,
    pub stale: u64,
    pub revalidated: u64,
    pub bypass: u64,
}

/// What became of the entries whose life ended.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Lives {
    /// How many ended.
    pub ended: u64,
    /// By their ttl.
    pub expired: u64,
    /// By an invalidation, before.
    pub invalidated: u64,
    /// By a newer answer, before.
    pub replaced: u64,
    /// For want of room.
    pub evicted: u64,
    /// As the origin no longer stood behind them.
    pub withdrawn: u64,
    /// The share of them that were never read.
    pub never_read: Option<f64>,
    /// The share of their granted life that had passed when they were read last.
    pub ttl_used: Option<f64>,
    /// The rest of it.
    pub ttl_wasted: Option<f64>,
}

/// A key that is read much.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct TopKey {
    /// Path and query.
    pub target: String,
    /// Hits, at most.
    pub hits: u64,
    /// By how much that may be too many.
    pub error: u64,
}

/// What refetches and audits showed, and what follows.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Changes {
    /// How often an answer was fetched again, or held against the origin, without an invalidation between.
    pub refetched: u64,
    /// How often it had another body by then.
    pub changed: u64,
    /// Changes of a key in an hour, the likeliest number.
    pub per_hour: Option<f64>,
    /// The most of them that can be believed (99 %).
    pub per_hour_at_most: Option<f64>,
    /// The ttl that keeps the stale share.
    pub advised_ttl: Option<f64>,
    /// The stale share that it would cost, by the likeliest number.
    pub stale_share: Option<f64>,
    /// The hit ratio that it would bring, by the rates of the last look.
    pub hit_ratio: Option<f64>,
    /// The same of the configured ttl.
    pub stale_share_now: Option<f64>,
    /// The same of the configured ttl.
    pub hit_ratio_now: Option<f64>,
}

/// What was compared with the origin.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Audit {
    /// Hits that were drawn and compared.
    pub checks: u64,
    /// The origin said the same.
    pub same: u64,
    /// It said something else, twice.
    pub stale: u64,
    /// It said something else each time.
    pub volatile: u64,
    /// An invalidation came between.
    pub overtaken: u64,
    /// It said nothing that could be compared.
    pub failed: u64,
    /// Stale hits in a million.
    pub stale_per_million: Option<f64>,
    /// Where that lies in truth (95 %).
    pub interval: Option<[f64; 2]>,
}

/// Something that could be better.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Recommendation {
    /// Whose.
    pub route: String,
    /// A word for programs.
    pub kind: String,
    /// For people, with the numbers that it rests on.
    pub text: String,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// One route alone, by its template.
    pub route: Option<&'a str>,
    /// Keys to a route.
    pub top: usize,
    /// How far back.
    pub since: Option<Duration>,
}

/// What the configuration says of a route.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its template, or `unmatched`.
    pub name: String,
    /// Its ttl.
    pub ttl: Option<Duration>,
}

impl Report {
    /// Of what was counted until `now` (monotonic), for the routes in their order, with ttls for `stale_share`.
    pub fn of(usage: &Usage, named: &[Named], asked: &Asked<'_>, stale_share: f64, now: Duration) -> Self {
        let wanted = |name: &Named| asked.route.is_none_or(|route| route == name.name);
        let of_routes = usage.routes().iter().zip(named).enumerate().filter(|(_, (_, name))| wanted(name));
        let (mut sums, mut rates, mut tally) = (Vec::new(), Rates::default(), Tally::default());
        let (mut routes, mut recommendations) = (Vec::new(), Vec::new());
        for (index, (route, name)) in of_routes {
            let these = route.sums(asked.since, now);
            rates.merge(&route.rates);
            tally.merge(&route.audit);
            sums.push(these);
            let told = OfRoute::of(route, &these, name, asked.top, stale_share);
            recommendations.extend(words::recommend(&told, &needless(&usage.splits, index), stale_share));
            let is_known = told.requests.all + told.fills + told.lives.ended > 0 || asked.route.is_some();
            routes.extend(is_known.then_some(told));
        }
        routes.sort_by_key(|route: &OfRoute| std::cmp::Reverse(route.requests.all));
        let spans = usage.spans(now);
        let seconds = asked.since.map_or(spans, |since| since.min(spans)).as_secs_f64();
        let all = All::of(&sums, &rates, &tally);
        Self { seconds, stale_share, all, routes, recommendations }
    }
}

fn needless(splits: &Splits, route: usize) -> Vec<(String, u64)> {
    splits.needless(route).into_iter().map(|(name, seen)| (name.to_string(), seen)).collect()
}

impl All {
    fn of(sums: &[Sums], rates: &Rates, audit: &Tally) -> Self {
        let requests: Vec<Requests> = sums.iter().map(Requests::of).collect();
        let count = |each: fn(&Requests) -> u64| requests.iter().map(each).sum::<u64>();
        let (hits, missed) = (count(|of| of.hit + of.stale), count(|of| of.miss + of.revalidated));
        let saved: Vec<f64> = sums.iter().filter_map(seconds_saved).collect();
        Self {
            requests: count(|of| of.all),
            hit_ratio: ratio(hits as f64, (hits + missed) as f64),
            seconds_saved: (!saved.is_empty()).then(|| saved.iter().sum()),
            bytes_hit: sums.iter().map(|of| of.hit_bytes).sum(),
            reuse_distance: Distance::of(rates),
            audit: Audit::of(audit),
            shadow: Shadow::of(
                &sums.iter().fold(Shadowed::default(), |all, of| all.and(&of.answered.shadow)),
            ),
        }
    }
}

impl OfRoute {
    fn of(route: &Route, sums: &Sums, named: &Named, top: usize, stale_share: f64) -> Self {
        let requests = Requests::of(sums);
        let hits = requests.hit + requests.stale;
        let asked = hits + requests.miss + requests.revalidated;
        let (fetches, fetching) = sums.answered.fetched;
        let top = route.top.first(top).into_iter();
        let ttl = named.ttl.map(|ttl| ttl.as_secs_f64());
        Self {
            route: named.name.clone(),
            ttl,
            requests,
            hit_ratio: ratio(hits as f64, asked as f64),
            no_freshness: sums.answered.no_freshness,
            fills: sums.fills,
            bytes_filled: sums.fill_bytes,
            bytes_hit: sums.hit_bytes,
            fetch_seconds: ratio(fetching, fetches as f64),
            seconds_saved: seconds_saved(sums),
            lives: Lives::of(sums),
            reuse_distance: Distance::of(&route.rates),
            top: top
                .map(|key| TopKey { target: key.name.to_string(), hits: key.hits, error: key.error })
                .collect(),
            changes: Changes::of(route, ttl, stale_share),
            audit: Audit::of(&route.audit),
            shadow: Shadow::of(&sums.answered.shadow),
        }
    }
}

/// Hits, each as long as a fetch takes in the mean; `None`: nothing was fetched.
fn seconds_saved(sums: &Sums) -> Option<f64> {
    let (fetches, fetching) = sums.answered.fetched;
    let requests = Requests::of(sums);
    Some((requests.hit + requests.stale) as f64 * ratio(fetching, fetches as f64)?)
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

impl Requests {
    fn of(sums: &Sums) -> Self {
        let count = |cache: Cache| sums.answered.requests[cache as usize];
        Self {
            all: sums.answered.requests.iter().sum(),
            hit: count(Cache::Hit),
            miss: count(Cache::Miss),
            stale: count(Cache::Stale),
            revalidated: count(Cache::Revalidated),
            bypass: count(Cache::Bypass),
        }
    }
}

impl Lives {
    fn of(sums: &Sums) -> Self {
        let (ended, count) = (sums.lives(), |end: End| sums.ended[end as usize]);
        let used = ratio(sums.used, sums.granted);
        Self {
            ended,
            expired: count(End::Expired),
            invalidated: count(End::Invalidated),
            replaced: count(End::Replaced),
            evicted: count(End::Evicted),
            withdrawn: count(End::Withdrawn),
            never_read: ratio(sums.unread as f64, ended as f64),
            ttl_used: used,
            ttl_wasted: used.map(|used| 1.0 - used),
        }
    }
}

impl Distance {
    fn of(rates: &Rates) -> Option<Self> {
        Some(Self { p50: rates.distance(0.5)?, p90: rates.distance(0.9)?, p99: rates.distance(0.99)? })
    }
}

impl Changes {
    fn of(route: &Route, ttl: Option<f64>, target: f64) -> Self {
        const HOUR: f64 = 3_600.0;
        let ((refetched, changed), rate) = (route.changes.seen(), route.changes.rate());
        let advice = advice::advise(rate, target);
        let (likeliest, most) = match rate {
            Rate::Unknown => (None, None),
            Rate::Known { likeliest, most } => (Some(likeliest), Some(most)),
            Rate::AtLeast(least) => (Some(least), None),
        };
        let ttl = ttl.filter(|ttl| *ttl > 0.0);
        Self {
            refetched,
            changed,
            per_hour: likeliest.map(|rate| rate * HOUR),
            per_hour_at_most: most.map(|rate| rate * HOUR),
            advised_ttl: advice.map(|advice| advice.ttl),
            stale_share: advice.map(|advice| advice.stale_share),
            hit_ratio: advice.and_then(|advice| route.rates.hit_ratio(advice.ttl)),
            stale_share_now: likeliest.and_then(|rate| Some(advice::stale_share(rate, ttl?))),
            hit_ratio_now: ttl.and_then(|ttl| route.rates.hit_ratio(ttl)),
        }
    }
}

impl Audit {
    fn of(tally: &Tally) -> Self {
        const MILLION: f64 = 1e6;
        let share = tally.stale_share();
        Self {
            checks: Outcome::ALL.iter().map(|outcome| tally.of(*outcome)).sum(),
            same: tally.of(Outcome::Same),
            stale: tally.of(Outcome::Stale),
            volatile: tally.of(Outcome::Volatile),
            overtaken: tally.of(Outcome::Overtaken),
            failed: tally.of(Outcome::Failed),
            stale_per_million: share.map(|(share, _)| share * MILLION),
            interval: share.map(|(_, interval)| interval.map(|end| end * MILLION)),
        }
    }
}
