//! What the monitor sees: `GET /v1/monitor`.

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};

use crate::admin::Sources;
use crate::admin::parameters::Parameters;
use crate::admin::problem::Problem;
use crate::metrics::Cache;
use crate::monitor::series::{self, Trends};
use crate::monitor::trend::Verdict;
use crate::monitor::window::{MAX_ROUTES, MAX_WINDOWS, Memory, Redis, Ring, Times, Traffic, Window};
use crate::monitor::{Report, rfc3339};

/// `GET /v1/monitor`; `?windows=` shows so many of the newest.
pub(crate) async fn monitor(
    State(sources): State<Sources>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let shown = parameters.of(&["windows"])?.limit("windows", MAX_WINDOWS, MAX_WINDOWS)?;
    let (settings, Report { ring, alerts }) = (sources.monitor.settings(), sources.monitor.report());
    let windows = ring.iter().skip(ring.iter().len().saturating_sub(shown));
    let alerts = alerts.into_iter().map(|(kind, since, measure)| {
        json!({
            "alert": kind.as_str(),
            "firing": since.is_some(),
            "since": since.map(rfc3339),
            "value": measure.as_ref().map(|measure| measure.value),
            "target": measure.as_ref().map(|measure| measure.target),
            "route": measure.as_ref().and_then(|measure| measure.route.as_deref()),
        })
    });
    Ok(Json(json!({
        "every": settings.every.as_secs_f64(),
        "targets": {
            "hit_ratio": settings.targets.hit_ratio,
            "latency": settings.targets.latency.map(|latency| latency.as_secs_f64()),
        },
        "windows": windows.map(|of| window(of)).collect::<Vec<_>>(),
        "trends": trends(series::of(&ring, |window| Some(&window.all))),
        "routes": routes(&ring),
        "alerts": alerts.collect::<Vec<_>>(),
    })))
}

/// The trends of the routes that the ring knows of, those of the newest windows if there are too many.
fn routes(ring: &Ring) -> Value {
    let mut routes = Map::new();
    for (route, _) in ring.iter().rev().flat_map(|window| &window.routes) {
        if routes.len() < MAX_ROUTES && !routes.contains_key(&**route) {
            let of_route = series::of(ring, |window| {
                window.routes.iter().find(|(other, _)| other == route).map(|(_, traffic)| traffic)
            });
            routes.insert(route.to_string(), trends(of_route));
        }
    }
    routes.into()
}

fn window(of: &Window) -> Value {
    let routes = of.routes.iter().map(|(route, traffic)| (route.to_string(), self::traffic(of, traffic)));
    let Memory { entries, most_entries, bytes, most_bytes, used, resident, most_resident } = of.memory;
    json!({
        "at": rfc3339(of.at),
        "seconds": of.span.as_secs_f64(),
        "all": traffic(of, &of.all),
        "routes": routes.collect::<Map<_, _>>(),
        "tiers": {
            "memory": {
                "entries": entries,
                "most_entries": most_entries,
                "bytes": bytes,
                "most_bytes": most_bytes,
                "used": used,
                "evictions_per_second": of.rate(of.evicted),
                "latency": times(of.all.hits),
            },
            "shared": of.tier.map(|tier| json!({
                "asked_per_second": of.rate(tier.asked),
                "hit_ratio": tier.hits as f64 / tier.asked as f64,
                "latency": times(tier.times),
            })),
            "origin": {
                "requests_per_second": of.rate(of.origin.requests),
                "errors_per_second": of.rate(of.origin.errors),
                "concurrency": of.origin.concurrency,
                "latency": times(of.origin.times),
            },
        },
        "process": { "resident": resident, "most_resident": most_resident },
        "warming": { "requests": of.warmed.0, "failed": of.warmed.1 },
        "acknowledgements": times(of.acks),
        "redis": of.redis.map(|redis| match redis {
            Redis::There => "there",
            Redis::Away(why) => why,
        }),
    })
}

fn traffic(window: &Window, of: &Traffic) -> Value {
    let each = Cache::ALL.iter().zip(of.requests);
    let requests: Map<_, _> = each.map(|(cache, count)| (cache.label().to_owned(), count.into())).collect();
    json!({
        "requests": requests,
        "requests_per_second": window.rate(of.count()),
        "hit_ratio": of.hit_ratio(),
        "hits": times(of.hits),
        "misses": times(of.misses),
        "reads": times(of.reads),
        "origin": { "requests_per_second": window.rate(of.origin_count()), "concurrency": of.at_origin },
    })
}

fn times(of: Option<Times>) -> Value {
    let Some(Times { p50, p95, p99 }) = of else { return Value::Null };
    json!({ "p50": p50.as_secs_f64(), "p95": p95.as_secs_f64(), "p99": p99.as_secs_f64() })
}

fn trends(of: Trends) -> Value {
    let verdict = |Verdict { trend, slope }| json!({ "trend": trend.as_str(), "per_window": slope });
    json!({
        "hit_ratio": verdict(of.hit_ratio),
        "hit_latency": verdict(of.hit_latency),
        "miss_latency": verdict(of.miss_latency),
        "origin_load": verdict(of.origin_load),
    })
}
