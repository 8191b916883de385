//! Whether the process lives, whether it wants traffic, and what it counts: for machines that ask every few seconds.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::admin::problem::Problem;
use crate::admin::{Sources, elsewhere};
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

/// `GET /openapi.json`
pub(crate) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], include_str!("openapi.json")).into_response()
}
