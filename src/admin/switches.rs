//! `/v1/cache/disable` and `/v1/cache/enable`: a route, or everything, is not cached for a while.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, State};
use serde_json::{Map, Value, json};

use crate::admin::access::Caller;
use crate::admin::body::{Document, nearest};
use crate::admin::problem::{Problem, quoted};
use crate::admin::{Sources, purge};
use crate::flow::switch::Covers;
use crate::route::path::Path;
use crate::route::table::Route;

/// Longest time for which caching is switched off; who wants more writes it into the configuration.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// `POST /v1/cache/disable`
pub(crate) async fn disable(
    State(sources): State<Sources>,
    Extension(caller): Extension<Caller>,
    document: Document,
) -> Result<Json<Value>, Problem> {
    let object = document.object(&["route", "for"])?;
    let covers = covers(&sources, &object)?;
    let period = period(&object)?;
    let applied = sources.flow.disable(covers, period, caller.name.clone()).await;
    tracing::warn!(actor = caller.name, ?covers, ?period, "caching is switched off");
    Ok(Json(json!({
        "position": applied.position.to_string(),
        "invalidated": applied.entries.total,
        "by_route": purge::by_route(&applied.entries),
        "switches": list(&sources),
    })))
}

/// `POST /v1/cache/enable`
pub(crate) async fn enable(
    State(sources): State<Sources>,
    Extension(caller): Extension<Caller>,
    document: Document,
) -> Result<Json<Value>, Problem> {
    let object = if document.value.is_some() { document.object(&["route"])? } else { Map::new() };
    let covers = covers(&sources, &object)?;
    sources.flow.enable(covers);
    tracing::info!(actor = caller.name, ?covers, "caching is switched on");
    Ok(Json(json!({ "switches": list(&sources) })))
}

/// What is switched off now.
pub(crate) fn list(sources: &Sources) -> Value {
    let parts = sources.flow.parts();
    let off = sources.flow.switches().list(parts.clock.mono());
    let told = off.into_iter().map(|off| {
        let route = match off.covers {
            Covers::Everything => None,
            Covers::Route(route) => Some(parts.metrics.template(route)),
        };
        let left = humantime::format_duration(Duration::from_secs(off.left.as_secs().max(1))).to_string();
        json!({ "route": route, "left": left, "left_seconds": off.left.as_secs_f64() })
    });
    told.collect()
}

/// The route of a template as configured, or of a path.
///
/// # Errors
/// 404, with the template that was probably meant.
pub(crate) fn route(sources: &Sources, text: &str) -> Result<Arc<Route>, Problem> {
    let parts = sources.flow.parts();
    let table = &parts.rules.table;
    if let Some(route) = table.routes().iter().find(|route| route.settings.template == text) {
        return Ok(Arc::clone(route));
    }
    let path = text.split('?').next().unwrap_or_default();
    let found = table.find(Path::of(path).decoded());
    if path.starts_with('/') && found.index != table.unmatched().index {
        return Ok(Arc::clone(found));
    }
    let hint = match nearest(text, table.routes().iter().map(|route| route.settings.template.as_str())) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "see /v1/routes.".to_owned(),
    };
    Err(Problem::not_found(format!("No route is {}, and none matches it as a path; {hint}", quoted(text))))
}

fn covers(sources: &Sources, object: &Map<String, Value>) -> Result<Covers, Problem> {
    match object.get("route") {
        None | Some(Value::Null) => Ok(Covers::Everything),
        Some(Value::String(text)) => Ok(Covers::Route(route(sources, text)?.index)),
        Some(_) => Err(Problem::unprocessable("`route` is the template of a route, or a path.")),
    }
}

/// `2h`, `90m`, `1h30m`, or seconds.
fn period(object: &Map<String, Value>) -> Result<Duration, Problem> {
    let wrong = || {
        let longest = humantime::format_duration(LONGEST);
        Problem::unprocessable(format!(
            "`for` says for how long, as `90s`, `2h` or `1h30m`: more than nothing, and at most {longest}."
        ))
    };
    let period = match object.get("for") {
        Some(Value::Number(seconds)) => seconds.as_u64().map(Duration::from_secs),
        Some(Value::String(text)) => match text.parse() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => humantime::parse_duration(text).ok(),
        },
        _ => None,
    };
    period.filter(|period| *period > Duration::ZERO && *period <= LONGEST).ok_or_else(wrong)
}
