//! Every metric of Larder, declared once, and the text that Prometheus scrapes.
//!
//! Invariant: label values come from configuration or from this program's own words, never from a client, so the
//! number of series is bounded by the configuration. What a hit touches is resolved once per series and then is
//! three atomic steps.
//! It refuses to know what the numbers mean for an answer: it only counts.

mod alerts;
mod background;
mod cache;
mod channels;
mod config;
mod fleet;
mod histogram;
mod invalidation;
mod learn;
mod misses;
mod reading;
mod shadow;
mod tier;
mod traces;
mod warming;
mod watched;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

pub use crate::metrics::alerts::Alerts;
use crate::metrics::background::RouteResult;
pub use crate::metrics::cache::Cache;
pub use crate::metrics::channels::Channels;
pub use crate::metrics::config::Config;
use crate::metrics::fleet::Fleet;
pub use crate::metrics::fleet::FleetRedis;
use crate::metrics::histogram::Histogram;
pub use crate::metrics::histogram::Tally;
use crate::metrics::invalidation::Invalidations;
pub use crate::metrics::learn::Learn;
use crate::metrics::misses::Reasons;
pub use crate::metrics::reading::{Reading, RouteReading};
use crate::metrics::shadow::Shadow;
pub use crate::metrics::shadow::{Compared, Shadowed, Would};
pub use crate::metrics::tier::Tier;
use crate::metrics::traces::Traces;
use crate::metrics::warming::Warming;
pub use crate::metrics::watched::CacheState;
use crate::metrics::watched::Watched;

/// `Content-Type` of what [`Metrics::encode`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The route label of requests that no configured route matches.
pub const UNMATCHED: &str = "unmatched";

/// Upper bounds in seconds; with +Inf there are eight buckets. A hit lies in the first, 50 ms is the usual target.
const BUCKETS: [f64; 7] = [0.001, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0];

/// All metrics of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// By number, for life: a route that leaves the configuration keeps its own.
    routes: boxcar::Vec<Route>,
    /// The number of what no route matches.
    unmatched: usize,
    requests: Family<RequestLabels, Counter>,
    durations: Family<DurationLabels, Histogram, fn() -> Histogram>,
    upstream_duration: Histogram,
    upstream_errors: Family<Reason, Counter>,
    /// Of all reasons.
    upstream_failures: AtomicU64,
    bypasses: Family<RouteReason, Counter>,
    misses: Family<RouteReason, Counter>,
    evictions: Family<Reason, Counter>,
    fills_discarded: Family<Reason, Counter>,
    demotions: Family<RouteLabel, Counter>,
    audit_checks: Family<RouteResult, Counter>,
    refused: Family<Reason, Counter>,
    connections: Gauge,
    config: Config,
    log_lines_dropped: Counter,
    alerts: Alerts,
    channels: Channels,
    invalidations: Invalidations,
    fleet: Fleet,
    tier: Tier,
    warming: Warming,
    learn: Learn,
    shadow: Shadow,
    traces: Traces,
    cache: Watched,
}

impl Metrics {
    /// Declares everything for `routes`, the configured templates; they are numbered in this order, and what none matches is behind
    /// them ([`Self::number`]).
    pub fn new(routes: &[&str]) -> Self {
        let mut registry = Registry::with_prefix("larder");
        let r = &mut registry;
        let cache = Watched::default();
        r.register_collector(Box::new(cache.clone()));
        r.register("build", "The running build", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let durations = Family::new_with_constructor(histogram as fn() -> Histogram);
        let upstream_duration = histogram();
        let (help, unit) = ("Time from the request's head to the answer's last byte", Unit::Seconds);
        r.register_with_unit("request_duration", help, unit, durations.clone());
        let (help, unit) = ("Time from a request to the origin to the head of its answer", Unit::Seconds);
        r.register_with_unit("upstream_request_duration", help, unit, upstream_duration.clone());
        Self {
            routes: routes.iter().copied().chain([UNMATCHED]).map(Route::new).collect(),
            unmatched: routes.len(),
            requests: declare(
                r,
                "requests",
                "Answered requests by route, method, status and what the cache did",
            ),
            durations,
            upstream_duration,
            upstream_errors: declare(r, "upstream_errors", "Requests to the origin that got no whole answer"),
            upstream_failures: AtomicU64::new(0),
            bypasses: declare(
                r,
                "bypass",
                "Requests that the cache was not asked for, or whose answer it refused",
            ),
            misses: declare(
                r,
                "misses",
                "Requests that the cache did not answer, by the most telling reason",
            ),
            evictions: declare(r, "evictions", "Entries that left the cache"),
            fills_discarded: declare(r, "fills_discarded", "Fetched answers that were not stored"),
            demotions: declare(
                r,
                "demotions",
                "Public routes demoted to auto since the origin asked for a credential",
            ),
            audit_checks: declare(r, "audit_checks", "Hits that were held against the origin"),
            refused: declare(r, "refused", "Requests and connections refused at the door"),
            connections: declare(r, "connections", "Open client connections"),
            config: Config::declare(r),
            log_lines_dropped: declare(
                r,
                "log_lines_dropped",
                "Access log lines given up as the writer lagged",
            ),
            alerts: Alerts::declared(r),
            channels: Channels::declare(r),
            invalidations: Invalidations::declared(r),
            fleet: Fleet::declared(r),
            tier: Tier::declare(r),
            warming: Warming::declare(r),
            learn: Learn::declare(r),
            shadow: Shadow::declared(r),
            traces: Traces::declare(r),
            cache,
            registry,
        }
    }

    /// Counts an answered request and its `duration`, up to the answer's last byte.
    ///
    /// `route` is a number that [`Self::number`] gave; any other counts as unmatched.
    pub fn request(
        &self,
        route: usize,
        method: &Method,
        status: StatusCode,
        cache: Cache,
        duration: Duration,
    ) {
        let route = self.route(route);
        let labels = || RequestLabels {
            route: Arc::clone(&route.name),
            method: method_label(method),
            code: status.as_u16(),
            cache,
        };
        match route.slot(method, status, cache) {
            Some(slot) => slot.get_or_init(|| self.requests.get_or_create_owned(&labels())).inc(),
            None => self.requests.get_or_create(&labels()).inc(),
        };
        route.durations[cache as usize]
            .get_or_init(|| {
                self.durations.get_or_create_owned(&DurationLabels { route: Arc::clone(&route.name), cache })
            })
            .observe(duration);
    }

    /// Records the time that the origin took to send the head of an answer.
    pub fn upstream_request(&self, duration: Duration) {
        self.upstream_duration.observe(duration);
    }

    /// Counts a request to the origin that got no whole answer.
    pub fn upstream_error(&self, reason: &'static str) {
        self.upstream_errors.get_or_create(&Reason { reason }).inc();
        self.upstream_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request on `route` (as in [`Self::request`]) that was neither answered from nor kept in the cache.
    pub fn bypass(&self, route: usize, reason: &'static str) {
        let route = Arc::clone(&self.route(route).name);
        self.bypasses.get_or_create(&RouteReason { route, reason }).inc();
    }

    /// Counts an entry that left the cache.
    pub fn evicted(&self, reason: &'static str) {
        self.evictions.get_or_create(&Reason { reason }).inc();
    }

    /// Counts a fetched answer that was not stored.
    pub fn fill_discarded(&self, reason: &'static str) {
        self.fills_discarded.get_or_create(&Reason { reason }).inc();
    }

    /// Counts a demotion of the public `route` (as in [`Self::request`]) to `scope: auto`.
    pub fn demoted(&self, route: usize) {
        self.demotions.get_or_create(&RouteLabel { route: Arc::clone(&self.route(route).name) }).inc();
    }

    /// Counts a request or connection that was refused at the door (a guard violation, a limit).
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    /// Counts a client connection as open until the guard is dropped.
    pub fn connection(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    /// Asks `state` of the cache at every scrape. Only the first call counts.
    pub fn watch_cache(&self, state: impl Fn() -> CacheState + Send + Sync + 'static) {
        self.cache.ask(state);
    }

    /// The counter of access log lines that were dropped.
    pub fn log_lines_dropped(&self) -> Counter {
        self.log_lines_dropped.clone()
    }

    /// Everything as OpenMetrics text, of type [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        encode(&mut text, &self.registry).expect("writing to a String does not fail");
        text
    }

    /// The number of a route of this template: the one that it had before, or the next. To be called by one at a time.
    pub fn number(&self, template: &str) -> usize {
        let known = self.routes.iter().find(|(_, route)| *route.name == *template);
        known.map_or_else(|| self.routes.push(Route::new(template)), |(number, _)| number)
    }

    /// Every template that has a number.
    pub fn templates(&self) -> impl Iterator<Item = (usize, &str)> {
        self.routes.iter().map(|(number, route)| (number, &*route.name))
    }

    /// The template of a route by its number.
    pub fn template(&self, route: usize) -> &str {
        &self.route(route).name
    }

    fn route(&self, number: usize) -> &Route {
        self.routes.get(number).unwrap_or_else(|| &self.routes[self.unmatched])
    }
}

/// One open client connection; it is counted until dropped.
#[derive(Debug)]
pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The series of one route that hits touch, resolved at first use so that idle routes cost no lines in a scrape.
#[derive(Debug)]
struct Route {
    name: Arc<str>,
    /// (GET, HEAD) × (200, 304) × [`Cache`].
    requests: [OnceLock<Counter>; 4 * Cache::COUNT],
    durations: [OnceLock<Histogram>; Cache::COUNT],
    misses: Reasons,
}

impl Route {
    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            requests: std::array::from_fn(|_| OnceLock::new()),
            durations: std::array::from_fn(|_| OnceLock::new()),
            misses: Reasons::default(),
        }
    }

    fn slot(&self, method: &Method, status: StatusCode, cache: Cache) -> Option<&OnceLock<Counter>> {
        let method = [Method::GET, Method::HEAD].iter().position(|known| known == method)?;
        let status = [StatusCode::OK, StatusCode::NOT_MODIFIED].iter().position(|known| *known == status)?;
        Some(&self.requests[(method * 2 + status) * Cache::COUNT + cache as usize])
    }
}

/// A method as a label: those that HTTP registers for APIs; whatever else a client invents is one label.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [&str; 10] =
        ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

/// Registers a metric that needs no construction of its own.
fn declare<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Arc<str>,
    method: &'static str,
    code: u16,
    cache: Cache,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    route: Arc<str>,
    cache: Cache,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteReason {
    route: Arc<str>,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn metrics() -> Metrics {
        Metrics::new(&["/api/projects", "/api/projects/{id}"])
    }

    #[track_caller]
    fn assert_line(metrics: &Metrics, line: &str) {
        let text = metrics.encode();
        assert!(text.lines().any(|l| l == line), "no line {line} in\n{text}");
    }

    #[test]
    fn a_request_is_counted_under_its_route_method_status_and_cache() {
        let metrics = metrics();
        for _ in 0..2 {
            metrics.request(1, &Method::GET, StatusCode::OK, Cache::Hit, MS);
        }
        metrics.request(1, &Method::HEAD, StatusCode::NOT_MODIFIED, Cache::Stale, MS);
        metrics.request(0, &Method::POST, StatusCode::CREATED, Cache::Bypass, MS);
        let route = r#"larder_requests_total{route="/api/projects/{id}""#;
        assert_line(&metrics, &format!(r#"{route},method="GET",code="200",cache="hit"}} 2"#));
        assert_line(&metrics, &format!(r#"{route},method="HEAD",code="304",cache="stale"}} 1"#));
        let line =
            r#"larder_requests_total{route="/api/projects",method="POST",code="201",cache="bypass"} 1"#;
        assert_line(&metrics, line);
        let line = r#"larder_request_duration_seconds_count{route="/api/projects/{id}",cache="hit"} 2"#;
        assert_line(&metrics, line);
    }

    #[test]
    fn every_fast_slot_is_a_series_of_its_own() {
        let metrics = metrics();
        let caches = [Cache::Hit, Cache::Miss, Cache::Stale, Cache::Revalidated, Cache::Bypass];
        for method in [Method::GET, Method::HEAD] {
            for status in [StatusCode::OK, StatusCode::NOT_MODIFIED] {
                for cache in caches {
                    metrics.request(0, &method, status, cache, MS);
                }
            }
        }
        let text = metrics.encode();
        let ones = text.lines().filter(|l| l.starts_with("larder_requests_total{") && l.ends_with(" 1"));
        assert_eq!(ones.count(), 20);
    }

    #[test]
    fn what_was_counted_can_be_asked_for() {
        let metrics = metrics();
        for (status, cache) in [(200, Cache::Hit), (404, Cache::Hit), (200, Cache::Miss)] {
            metrics.request(1, &Method::GET, StatusCode::from_u16(status).unwrap(), cache, MS);
        }
        metrics.evicted("size");
        assert_eq!((metrics.answered(0), metrics.answered(1)), ([0; 5], [2, 1, 0, 0, 0]));
        assert_eq!((metrics.evictions("size"), metrics.evictions("other")), (1, 0));
    }

    #[test]
    fn methods_that_clients_invent_share_one_series() {
        let metrics = metrics();
        for name in ["BREW", "WHEN", "get"] {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            metrics.request(9, &method, StatusCode::OK, Cache::Bypass, MS);
        }
        let line = r#"larder_requests_total{route="unmatched",method="other",code="200",cache="bypass"} 3"#;
        assert_line(&metrics, line);
    }

    #[test]
    fn what_the_cache_is_like_is_asked_for_at_the_scrape() {
        let metrics = metrics();
        assert_line(&metrics, "larder_cache_entries 0");
        metrics.watch_cache(|| CacheState {
            entries: 3,
            bytes: 4096,
            is_disabled: true,
            resident: Some(8192),
        });
        assert_line(&metrics, "larder_cache_entries 3");
        assert_line(&metrics, "larder_cache_bytes 4096");
        assert_line(&metrics, "larder_disabled 1");
        assert_line(&metrics, "larder_process_resident_bytes 8192");
    }

    #[test]
    fn a_connection_is_open_until_its_guard_is_dropped() {
        let metrics = metrics();
        let open = metrics.connection();
        assert_line(&metrics, "larder_connections 1");
        drop(open);
        assert_line(&metrics, "larder_connections 0");
    }

    #[test]
    fn only_the_configuration_in_force_is_shown() {
        let metrics = metrics();
        metrics.config().in_force("aaaa", std::time::SystemTime::UNIX_EPOCH);
        metrics.config().in_force("bbbb", std::time::SystemTime::UNIX_EPOCH);
        assert_line(&metrics, r#"larder_config_info{digest="bbbb"} 1"#);
        assert!(!metrics.encode().contains("aaaa"));
    }

    #[test]
    fn every_metric_has_help_and_at_most_eight_buckets() {
        let metrics = metrics();
        metrics.request(0, &Method::GET, StatusCode::OK, Cache::Hit, MS);
        metrics.upstream_request(MS);
        metrics.upstream_error("connect");
        metrics.bypass(0, "set-cookie");
        metrics.evicted("size");
        metrics.fill_discarded("outdated");
        metrics.demoted(0);
        metrics.warming().request("stored");
        metrics.refused("content-length");
        metrics.config().in_force("abc", std::time::SystemTime::UNIX_EPOCH);
        metrics.invalidated("write", "hard");
        metrics.acknowledged(MS);
        metrics.invalidation_applied(3, MS);
        metrics.event_unmatched();
        metrics.webhook_refused("signature");
        let text = metrics.encode();
        for name in [
            "requests",
            "request_duration_seconds",
            "upstream_request_duration_seconds",
            "cache_entries",
            "cache_bytes",
            "evictions",
            "fills_discarded",
            "bypass",
            "upstream_errors",
            "disabled",
            "config_info",
            "warm_requests",
            "build",
            "connections",
            "refused",
            "demotions",
            "log_lines_dropped",
            "invalidations",
            "invalidated_entries",
            "invalidation_lag_seconds",
            "invalidation_ack_seconds",
            "events_unmatched",
            "webhooks_refused",
        ] {
            assert!(text.contains(&format!("# HELP larder_{name} ")), "no help for {name} in\n{text}");
        }
        let buckets =
            text.lines().filter(|l| l.starts_with("larder_request_duration_seconds_bucket")).count();
        assert_eq!(buckets, 8);
        assert!(text.contains(concat!("larder_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1")));
        assert!(text.ends_with("# EOF\n"));
    }
}
