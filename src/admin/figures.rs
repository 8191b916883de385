//! Everything that a view of one screen shows, in one object: `GET /v1/figures`, and the stream's `figures`.
//!
//! Invariant: what is counted here is counted once, where metrics count it, and grows from the process's start on, so that whoever
//! looks takes differences. Nobody who is counted waits for who looks. It refuses to know how it is shown.

mod answered;
mod seldom;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use crate::admin::figures::seldom::Seldom;
use crate::admin::problem::Problem;
use crate::admin::{Sources, elsewhere, status, switches};
use crate::clock::Clock;
use crate::invalidate::Source;
use crate::metrics::FleetRedis;
use crate::monitor::window::Memory;
use crate::route::Mode;
use crate::store::position;

/// How old figures may be that several streams share.
const SHARED_FOR: Duration = Duration::from_millis(200);
/// Streams at once.
pub(crate) const STREAMS: usize = 64;

/// What all who look on share. Clones are the same.
#[derive(Clone, Debug)]
pub struct Watching(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// When the process began (monotonic).
    began: Duration,
    last: Mutex<Option<(Instant, Arc<str>)>>,
    seldom: Seldom,
    streams: Arc<Semaphore>,
}

impl Watching {
    /// Nobody looks on yet, and the process has just begun.
    pub fn new(clock: &Clock) -> Self {
        let (last, seldom) = (Mutex::default(), Seldom::default());
        let streams = Arc::new(Semaphore::new(STREAMS));
        Self(Arc::new(Shared { began: clock.mono(), last, seldom, streams }))
    }

    /// Places for streams.
    pub(crate) fn streams(&self) -> Arc<Semaphore> {
        Arc::clone(&self.0.streams)
    }
}

/// `GET /v1/figures`
pub(crate) async fn figures(State(sources): State<Sources>) -> Result<Json<Value>, Problem> {
    now(&sources).await.map(Json)
}

/// `GET /v1/dependencies`
pub(crate) async fn dependencies(State(sources): State<Sources>) -> Json<Value> {
    let dependencies = &sources.flow.parts().invalidator.settings().dependencies;
    let each = dependencies.edges().map(|(source, derived)| json!({ "source": source, "derived": derived }));
    Json(json!({ "dependencies": each.collect::<Vec<_>>() }))
}

/// The figures as text; who asks a moment later gets the same.
///
/// # Errors
/// 503: the process is about to stop.
pub(crate) async fn shared(sources: &Sources) -> Result<Arc<str>, Problem> {
    let mut last = sources.watching.0.last.lock().await;
    if let Some((_, text)) = last.as_ref().filter(|(at, _)| at.elapsed() < SHARED_FOR) {
        return Ok(Arc::clone(text));
    }
    let text: Arc<str> = now(sources).await?.to_string().into();
    *last = Some((Instant::now(), Arc::clone(&text)));
    Ok(text)
}

/// The figures now; what is looked at seldom is as it was a moment ago.
///
/// # Errors
/// 503: the process is about to stop.
pub(crate) async fn now(sources: &Sources) -> Result<Value, Problem> {
    let seldom = sources.watching.0.seldom.look(sources).await;
    let sources = sources.clone();
    elsewhere(move || gathered(&sources, &seldom)).await
}

fn gathered(sources: &Sources, seldom: &seldom::Seen) -> Value {
    let parts = sources.flow.parts();
    let now = parts.clock.now();
    let (totals, routes, left_out) = answered::told(sources, seldom);
    json!({
        "at": millis(now.wall),
        "uptime_seconds": now.mono.saturating_sub(sources.watching.0.began).as_secs_f64(),
        "node": sources.monitor.node(),
        "version": env!("CARGO_PKG_VERSION"),
        "config": sources.config.brief(),
        "state": state(sources, seldom),
        "bounds": answered::bounds(),
        "totals": totals,
        "routes": routes,
        "routes_left_out": left_out,
        "memory": memory(sources.monitor.memory()),
        "evictions": {
            "size": sources.metrics.evictions("size"),
            "expired": sources.metrics.evictions("expired"),
        },
        "invalidations": invalidations(sources),
        "hottest": seldom.hottest,
        "warm": seldom.warm,
        "audit": seldom.audit,
        "fleet": seldom.fleet,
    })
}

/// What stands well, and what does not.
fn state(sources: &Sources, seldom: &seldom::Seen) -> Value {
    let parts = sources.flow.parts();
    let sums = sources.metrics.read_sums();
    let redis = match (sums.channels, sums.fleet) {
        (None, FleetRedis::None) => Value::Null,
        (_, FleetRedis::Away(why)) => json!({ "connected": false, "why": why }),
        (Some(false), _) => json!({ "connected": false, "why": "channels" }),
        _ => json!({ "connected": true, "why": null }),
    };
    let lease = parts.invalidator.fleet().map(|fleet| {
        let standing = fleet.standing();
        json!({
            "left": standing.lease.map(|left| left.as_secs_f64()),
            "coherence": standing.coherence.as_str(),
            "error": standing.away,
        })
    });
    json!({
        "ready": sources.readiness.state().as_str(),
        "enabled": parts.settings.enabled,
        "upstream": {
            "reachable": seldom.upstream["reachable"],
            "error": seldom.upstream["error"],
            "requests": sums.upstream.count(),
            "errors": sums.upstream_errors,
        },
        "redis": redis,
        "channels": sources.channels().as_ref().map(status::channels),
        "lease": lease,
        "switches": switches::list(sources),
        "shadow": shadow(sources),
        "alerts": alerts(sources),
    })
}

/// How many of the routes that may be cached are only watched; what none of them matches counts as one.
fn shadow(sources: &Sources) -> Value {
    let parts = sources.flow.parts();
    let cached = || parts.rules.table.routes().iter().filter(|route| !route.settings.bypass);
    let watched = cached().filter(|route| route.settings.mode == Mode::Shadow);
    json!({ "routes": watched.count(), "of": cached().count() })
}

/// Those that there are now.
fn alerts(sources: &Sources) -> Value {
    let alerts = sources.monitor.report().alerts.into_iter();
    let firing = alerts.filter_map(|(kind, since, measure)| {
        let (since, measure) = (since?, measure.as_ref());
        Some(json!({
            "alert": kind.as_str(),
            "since": millis(since),
            "value": measure.map(|measure| measure.value),
            "target": measure.map(|measure| measure.target),
            "route": measure.and_then(|measure| measure.route.as_deref()),
        }))
    });
    firing.collect()
}

fn memory(memory: Memory) -> Value {
    let Memory { entries, most_entries, bytes, most_bytes, used, resident, most_resident } = memory;
    json!({
        "entries": entries, "most_entries": most_entries,
        "bytes": bytes, "most_bytes": most_bytes,
        "used": used,
        "resident": resident, "most_resident": most_resident,
    })
}

fn invalidations(sources: &Sources) -> Value {
    let mut by_source = Map::new();
    let mut total = 0;
    for source in Source::ALL {
        let count = |mode: position::Mode| sources.metrics.invalidations(source.as_str(), mode.as_str());
        let (hard, soft) = (count(position::Mode::Hard), count(position::Mode::Soft));
        total += hard + soft;
        by_source.insert(source.as_str().to_owned(), json!({ "hard": hard, "soft": soft }));
    }
    json!({
        "total": total,
        "entries": sources.metrics.invalidated_entries(),
        "by_source": by_source,
    })
}

/// A time as JSON has it.
pub(crate) fn millis(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}
