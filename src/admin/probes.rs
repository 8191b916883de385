//! Whether the process lives, whether it wants traffic, and what it counts: for machines that ask every few seconds.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::admin::problem::Problem;
use crate::admin::{CACHE_PATH, Sources, elsewhere};
use crate::metrics;
use crate::ready::State as Life;

/// `GET /livez`
pub(crate) async fn livez() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: 503 while it warms and while it drains. What Larder can do without makes it `degraded`, and no more.
pub(crate) async fn readyz(State(sources): State<Sources>) -> Response {
    let state = sources.readiness.state();
    let status = if state == Life::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let check = |fails: bool| if fails { "fail" } else { "pass" };
    let mut checks = json!({
        "warm": check(state == Life::Warming),
        "serving": check(state == Life::Draining),
    });
    let mut word = state.as_str();
    if let Some(channels) = sources.channels() {
        checks["redis"] = check(!channels.connected).into();
        if state == Life::Ready && !channels.connected {
            word = "degraded";
        }
    }
    (status, Json(json!({ "status": word, "checks": checks }))).into_response()
}

/// `GET /metrics`
pub(crate) async fn scrape(State(sources): State<Sources>) -> Result<Response, Problem> {
    let text = elsewhere(move || sources.metrics.encode()).await?;
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

/// `GET /openapi.json`, with the paths where they stand.
pub(crate) async fn openapi(State(sources): State<Sources>) -> Response {
    let file = include_str!("openapi.json");
    if sources.cache_path == CACHE_PATH {
        return ([(CONTENT_TYPE, "application/json")], file).into_response();
    }
    let moved = file.replace(&format!("\"{CACHE_PATH}/"), &format!("\"{}/", sources.cache_path));
    // Read again, since a path may now stand there twice.
    let moved: Value = serde_json::from_str(&moved).unwrap_or_default();
    Json(moved).into_response()
}
