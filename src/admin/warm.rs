//! `/v1/warm`: what is warmed and when, runs on demand, and what came of them.
//!
//! Invariant: a run goes on whoever waits for it; a report never names a credential.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::admin::Sources;
use crate::admin::access::Caller;
use crate::admin::body::{Document, flag, texts};
use crate::admin::problem::{Problem, quoted};
use crate::warm::pattern::Pattern;
use crate::warm::roster::Unlisted;
use crate::warm::run::{Run, Tally, Trigger};
use crate::warm::schedule::Schedule;
use crate::warm::task::Audience;
use crate::warm::{Refused, Standing};

/// Longest time that an answer waits for the end of a run; whoever wants to wait longer asks again.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Tasks and runs in a brief list.
const BRIEF: usize = 10;

/// `GET /v1/warm`
pub(crate) async fn list(State(sources): State<Sources>) -> Json<Value> {
    let tasks: Vec<Value> = sources.warmer.tasks().iter().map(standing).collect();
    let runs: Vec<Value> = sources.warmer.runs().iter().rev().map(|run| brief(run)).collect();
    Json(json!({ "background": sources.warmer.is_on(), "tasks": tasks, "runs": runs }))
}

/// The same in short: how many tasks there are, those that are most urgent, and the last runs.
pub(crate) fn brief_list(sources: &Sources) -> Value {
    let mut tasks = sources.warmer.tasks();
    let count = tasks.len();
    tasks.sort_by_key(|standing| std::cmp::Reverse(standing.task.priority));
    let tasks: Vec<Value> = tasks.iter().take(BRIEF).map(standing).collect();
    let runs: Vec<Value> = sources.warmer.runs().iter().rev().take(BRIEF).map(|run| brief(run)).collect();
    json!({ "background": sources.warmer.is_on(), "count": count, "tasks": tasks, "runs": runs })
}

/// `POST /v1/warm`: 202 with the run that was begun; with `wait`, 200 with its report if it ends in time.
pub(crate) async fn warm(
    State(sources): State<Sources>,
    Extension(caller): Extension<Caller>,
    document: Document,
) -> Result<Response, Problem> {
    let object = match document.value {
        None => Map::new(),
        Some(_) => document.object(&["tasks", "paths", "identity", "wait"])?,
    };
    let wait = flag(&object, "wait")?.unwrap_or(false);
    let (run, status) = begun(&sources, &caller, &object, wait).await?;
    Ok((status, Json(report(&run))).into_response())
}

/// `POST /v1/warm/tasks`: 201 with the task that was added, until this process ends.
pub(crate) async fn register(
    State(sources): State<Sources>,
    Extension(caller): Extension<Caller>,
    document: Document,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let text = Value::Object(document.members()?).to_string();
    let added = sources.warmer.register(&text, &caller.name).map_err(unlisted)?;
    Ok((StatusCode::CREATED, Json(standing(&added))))
}

/// `DELETE /v1/warm/tasks/{id}`: 204; a run of it goes on.
pub(crate) async fn withdraw(
    State(sources): State<Sources>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    sources.warmer.withdraw(&id, &caller.name).map_err(unlisted)?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/warm/{run}`
pub(crate) async fn one(
    State(sources): State<Sources>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    sources.warmer.run(&id).map(|run| Json(report(&run))).ok_or_else(unknown)
}

/// `DELETE /v1/warm/{run}`: stops it, and waits until it has stopped.
pub(crate) async fn cancel(
    State(sources): State<Sources>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let run = sources.warmer.run(&id).ok_or_else(unknown)?;
    run.cancel();
    tracing::info!(actor = caller.name, run = run.id, "a warm run is stopped");
    let _is_late = tokio::time::timeout(LONGEST_WAIT, run.ended()).await;
    Ok(Json(report(&run)))
}

/// `POST /api/cache/warm`: the same, waiting unless it says otherwise, with the members that a cache inside an application has.
pub(crate) async fn compatible(
    State(sources): State<Sources>,
    Extension(caller): Extension<Caller>,
    document: Document,
) -> Result<Json<Value>, Problem> {
    let mut object = match document.value {
        None => Map::new(),
        Some(_) => document.object(&["tasks", "paths", "identity", "user_id", "wait"])?,
    };
    if let Some(user) = object.remove("user_id") {
        let user = user.as_u64().map_or(user, |number| number.to_string().into());
        object.insert("identity".into(), user);
    }
    let wait = flag(&object, "wait")?.unwrap_or(true);
    let (run, _) = begun(&sources, &caller, &object, wait).await?;
    let mut told = report(&run);
    told["success"] = (told["failed"] == 0).into();
    Ok(Json(told))
}

async fn begun(
    sources: &Sources,
    caller: &Caller,
    object: &Map<String, Value>,
    wait: bool,
) -> Result<(Arc<Run>, StatusCode), Problem> {
    let (tasks, paths) = (texts(object, "tasks")?, texts(object, "paths")?);
    let identity = match object.get("identity") {
        None | Some(Value::Null) => None,
        Some(Value::String(identity)) => Some(identity.as_str()),
        Some(_) => {
            return Err(Problem::unprocessable("`identity` is a user's id, or the digest of a credential."));
        }
    };
    let run = sources.warmer.warm((&tasks, &paths), identity, &caller.name).await.map_err(refused)?;
    let is_over = wait && tokio::time::timeout(LONGEST_WAIT, run.ended()).await.is_ok();
    Ok((run, if is_over { StatusCode::OK } else { StatusCode::ACCEPTED }))
}

fn refused(why: Refused) -> Problem {
    let status = match why {
        Refused::Off => StatusCode::CONFLICT,
        Refused::Busy => StatusCode::TOO_MANY_REQUESTS,
        Refused::Task(_) | Refused::Identity => StatusCode::NOT_FOUND,
        Refused::Path(_) | Refused::Nothing => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let detail = match why {
        Refused::Task(id) => format!("No warm task has the id {}; see GET /v1/warm.", quoted(&id)),
        Refused::Path(path) => {
            format!("{} is not a path: it begins with `/`, and has no placeholders.", quoted(&path))
        }
        why => format!("{why}."),
    };
    Problem::new(status, detail)
}

fn unlisted(why: Unlisted) -> Problem {
    let status = match why {
        Unlisted::Unread(_) | Unlisted::Nobody => StatusCode::UNPROCESSABLE_ENTITY,
        Unlisted::Off | Unlisted::Taken(_) | Unlisted::Full | Unlisted::Configured(_) => StatusCode::CONFLICT,
        Unlisted::Unknown(_) => StatusCode::NOT_FOUND,
    };
    Problem::new(status, format!("{why}."))
}

fn unknown() -> Problem {
    Problem::not_found("No run has this id, or it was long ago: the last 100 are remembered.")
}

fn standing(standing: &Standing) -> Value {
    let Standing { task, is_registered, next, last } = standing;
    let every = match &task.schedule {
        Schedule::Every(period) => Some(humantime::format_duration(*period).to_string()),
        Schedule::Start | Schedule::Cron(..) => None,
    };
    let cron = match &task.schedule {
        Schedule::Cron(cron, _) => Some(cron.pattern.to_string()),
        Schedule::Start | Schedule::Every(_) => None,
    };
    json!({
        "id": task.id,
        "registered": is_registered,
        "get": task.get.as_ref().map(Pattern::as_str),
        "priority": task.priority,
        "every": every,
        "schedule": cron,
        "for_each": task.each.as_ref().map(|each| &each.from),
        "for_users": (task.audience == Audience::Active).then_some("active"),
        "next_due": next.map(time),
        "last_run": last.as_ref().map(|run| brief(run)),
    })
}

fn brief(run: &Run) -> Value {
    let mut told = report(run);
    if let Some(told) = told.as_object_mut() {
        told.retain(|key, _| !["errors", "tasks"].contains(&key.as_str()));
    }
    told
}

/// How far a run is, and what came of it so far.
fn report(run: &Run) -> Value {
    let state = run.state();
    let sum = state.sum();
    let actor = match &run.trigger {
        Trigger::Asked(actor) => Some(actor),
        Trigger::Start | Trigger::Schedule => None,
    };
    let errors: Vec<Value> =
        state.errors.iter().map(|error| json!({ "path": error.path, "why": error.why })).collect();
    let tasks = state.parts.iter().map(|part| {
        let mut told = tally(&part.tally);
        told.insert("task".into(), part.task.as_str().into());
        told.insert("seconds".into(), part.took.as_secs_f64().into());
        Value::Object(told)
    });
    let mut told = json!({
        "run": run.id,
        "state": state.ended.map_or("running", |(ending, _)| ending.as_str()),
        "trigger": run.trigger.as_str(),
        "actor": actor,
        "started_at": time(run.at()),
        "seconds": state.ended.map(|(_, took)| took.as_secs_f64()),
        "total": state.total,
        "done": sum.done(),
    });
    if let Some(all) = told.as_object_mut() {
        all.extend(tally(&sum));
        all.insert("errors".into(), errors.into());
        all.insert("tasks".into(), tasks.collect());
    }
    told
}

fn tally(tally: &Tally) -> Map<String, Value> {
    let Tally { stored, fresh, bypassed, failed, bytes, hits, wasted } = tally;
    let told = json!({
        "stored": stored, "fresh": fresh, "bypassed": bypassed, "failed": failed,
        "bytes": bytes, "hits_earned": hits, "wasted": wasted,
    });
    told.as_object().cloned().unwrap_or_default()
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}
