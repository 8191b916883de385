//! How it stands: the process, its routes, and what the cache is worth; in Larder's shape, and in the one that Python teams know.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};

use crate::admin::parameters::Parameters;
use crate::admin::problem::Problem;
use crate::admin::{Sources, elsewhere, switches};
use crate::invalidate::subscription::Status;
use crate::metrics::{Cache, CacheState};
use crate::route::table::Route;

/// How long the origin has to take a connection before it counts as away.
const PROBE: Duration = Duration::from_secs(1);

/// Answered requests, by what the cache did.
#[derive(Clone, Copy, Debug, Default)]
struct Answered([u64; Cache::COUNT]);

impl Answered {
    fn of(&self, caches: &[Cache]) -> u64 {
        let each = Cache::ALL.iter().zip(self.0).filter(|(cache, _)| caches.contains(cache));
        each.map(|(_, count)| count).sum()
    }

    /// Answered without waiting for the origin.
    fn hits(&self) -> u64 {
        self.of(&[Cache::Hit, Cache::Stale])
    }

    /// Fetched or confirmed for the cache.
    fn misses(&self) -> u64 {
        self.of(&[Cache::Miss, Cache::Revalidated])
    }

    /// Of what the cache was asked for, how much it answered: 0 to 1.
    fn hit_ratio(&self) -> f64 {
        let asked = self.hits() + self.misses();
        if asked == 0 { 0.0 } else { self.hits() as f64 / asked as f64 }
    }

    fn by_result(&self) -> Value {
        let each = Cache::ALL.iter().zip(self.0);
        each.map(|(cache, count)| (cache.label().to_owned(), count.into())).collect::<Map<_, _>>().into()
    }
}

/// `GET /v1/status`
pub(crate) async fn status(State(sources): State<Sources>) -> Result<Json<Value>, Problem> {
    let parts = sources.flow.parts();
    let (upstream, state) = (upstream(&sources).await, state(&sources).await?);
    Ok(Json(json!({
        "state": sources.readiness.state().as_str(),
        "version": env!("CARGO_PKG_VERSION"),
        "config": sources.config.brief(),
        "enabled": parts.settings.enabled,
        "switches": switches::list(&sources),
        "entries": state.entries,
        "bytes": state.bytes,
        "position": parts.store.applied().to_string(),
        "channels": sources.channels().as_ref().map(channels),
        "upstream": upstream,
    })))
}

/// `GET /v1/routes`
pub(crate) async fn routes(State(sources): State<Sources>) -> Json<Value> {
    let now = sources.flow.parts().clock.mono();
    let list = each_route(&sources).into_iter().map(|(route, answered, entries)| {
        let settings = &route.settings;
        json!({
            "route": settings.template,
            "ttl": settings.rule.ttl.map(|ttl| ttl.as_secs_f64()),
            "scope": settings.rule.scope.as_str(),
            "bypass": settings.bypass,
            "mode": settings.mode.as_str(),
            "off": sources.flow.switches().off(route.index, now),
            "demoted": sources.flow.demotion(route.index).map(|demotion| json!({
                "ago": now.saturating_sub(demotion.at).as_secs(),
                "status": demotion.status.as_u16(),
            })),
            "requests": answered.by_result(),
            "hit_ratio": answered.hit_ratio(),
            "entries": entries,
        })
    });
    let list: Vec<Value> = list.collect();
    Json(json!({ "routes": list }))
}

/// `GET /api/cache/stats` and `/api/v1/cache/stats`; `?by=layer,route` shows only these parts beside the sums.
pub(crate) async fn stats(
    State(sources): State<Sources>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let parameters = parameters.of(&["by"])?;
    let by: Vec<&str> = parameters.text("by").unwrap_or("layer,route").split(',').map(str::trim).collect();
    if by.iter().any(|part| !["layer", "route"].contains(part)) {
        return Err(Problem::bad_request("`by` lists `layer`, `route` or both."));
    }
    let (parts, state) = (sources.flow.parts(), state(&sources).await?);
    let mut all = Answered::default();
    let mut routes = Map::new();
    for (route, answered, entries) in each_route(&sources) {
        all.0.iter_mut().zip(answered.0).for_each(|(sum, count)| *sum += count);
        let told = json!({
            "hits": answered.hits(),
            "misses": answered.misses(),
            "hit_rate": answered.hit_ratio(),
            "entries": entries,
        });
        routes.insert(route.settings.template.clone(), told);
    }
    let evictions = sources.metrics.evictions("size");
    let mut body = json!({
        "hits": all.hits(),
        "misses": all.misses(),
        "bypassed": all.of(&[Cache::Bypass]),
        "total_requests": all.of(&Cache::ALL),
        "hit_rate": all.hit_ratio(),
        "size": state.entries,
        "entries": state.entries,
        "bytes": state.bytes,
        "evictions": evictions,
        "invalidations": parts.store.applied().n,
    });
    if by.contains(&"layer") {
        body["by_layer"] = json!({
            "memory": {
                "hits": all.hits(), "misses": all.misses(), "hit_rate": all.hit_ratio(),
                "entries": state.entries, "bytes": state.bytes, "evictions": evictions,
            },
        });
    }
    if by.contains(&"route") {
        body["by_route"] = routes.into();
    }
    Ok(Json(body))
}

/// `GET /api/cache/health`: always 200; whoever wants a status asks `/readyz`.
pub(crate) async fn health(State(sources): State<Sources>) -> Result<Json<Value>, Problem> {
    let (upstream, state) = (upstream(&sources).await, state(&sources).await?);
    let word = |is_well: bool| if is_well { "healthy" } else { "degraded" };
    let channels = sources.channels();
    let hears = channels.as_ref().is_none_or(|channels| channels.connected);
    let is_reachable = upstream["reachable"] == true;
    let mut layers = json!({
        "memory": { "status": word(!state.is_disabled), "entries": state.entries, "bytes": state.bytes },
    });
    if channels.is_some() {
        layers["redis"] = json!({ "status": word(hears) });
    }
    Ok(Json(json!({
        "status": word(hears && is_reachable && !state.is_disabled),
        "layers": layers,
        "upstream": { "status": word(is_reachable) },
    })))
}

/// Names that nobody carries any more are forgotten on the way, and there may be many.
async fn state(sources: &Sources) -> Result<CacheState, Problem> {
    let flow = sources.flow.clone();
    elsewhere(move || flow.state()).await
}

/// Every route with its answers and its entries, what no route matches among them.
fn each_route(sources: &Sources) -> Vec<(Arc<Route>, Answered, usize)> {
    let parts = sources.flow.parts();
    let told = |route: &Arc<Route>| {
        (Arc::clone(route), Answered(sources.metrics.answered(route.index)), parts.store.count(&route.tag))
    };
    parts.rules.table.routes().iter().map(told).collect()
}

pub(crate) async fn upstream(sources: &Sources) -> Value {
    let error = match tokio::time::timeout(PROBE, sources.flow.probe()).await {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(why.to_string()),
        Err(_elapsed) => Some(format!("no connection within {PROBE:?}")),
    };
    json!({ "reachable": error.is_none(), "error": error })
}

pub(crate) fn channels(channels: &Status) -> Value {
    json!({
        "connected": channels.connected,
        "gaps": channels.gaps,
        "bad_messages": channels.bad_messages,
        "last_error": channels.last_error,
    })
}
