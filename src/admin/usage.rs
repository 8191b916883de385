//! What entries were worth, and what would make them worth more.

use std::time::Duration;

use axum::Json;
use axum::extract::State;

use crate::admin::parameters::Parameters;
use crate::admin::problem::Problem;
use crate::admin::{Sources, elsewhere, switches};
use crate::monitor::usage::report::{Asked, Report};
use crate::monitor::usage::{HOURS, TOP};

/// Keys to a route, unless it is said how many.
const USUAL_TOP: usize = 10;

/// `GET /v1/usage`
pub(crate) async fn usage(
    State(sources): State<Sources>,
    parameters: Parameters,
) -> Result<Json<Report>, Problem> {
    let parameters = parameters.of(&["route", "top", "since"])?;
    let top = parameters.limit("top", USUAL_TOP, TOP)?;
    let since = parameters.text("since").map(since).transpose()?;
    let route = parameters.text("route").map(|route| switches::route(&sources, route)).transpose()?;
    let route = route.map(|route| route.settings.template.clone());
    let harvest = sources.harvest.clone();
    elsewhere(move || harvest.report(&Asked { route: route.as_deref(), top, since })).await.map(Json)
}

fn since(text: &str) -> Result<Duration, Problem> {
    let longest = Duration::from_secs(3600 * HOURS as u64);
    let period = humantime::parse_duration(text)
        .ok()
        .filter(|period| (1..=longest.as_secs()).contains(&period.as_secs()));
    period
        .ok_or_else(|| Problem::bad_request(format!("`since` is a duration like 2h, {HOURS} hours at most.")))
}
