//! Invalidations from operators: `/v1/purge`, `/v1/events`, `/v1/invalidations`, and `PURGE` of any path.
//!
//! Invariant: an answer of success leaves after what was asked for is applied, and says what that reached; a dry run changes
//! nothing. It refuses to know how anything is outdated.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::header::RETRY_AFTER;
use axum::http::request::Parts as Head;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::admin::Sources;
use crate::admin::access::Caller;
use crate::admin::body::{Document, flag};
use crate::admin::parameters::Parameters;
use crate::admin::problem::Problem;
use crate::flow::purge;
use crate::invalidate::applied::Ack;
use crate::invalidate::audit::{self, Audited, Query, Tally};
use crate::invalidate::event::{self, BadEvent, Event};
use crate::invalidate::operation::{Operation, Progress};
use crate::invalidate::raw::Raw;
use crate::invalidate::{Applied, Invalidation, Source};
use crate::route::derive::Followed;
use crate::route::host::Scheme;
use crate::route::path::Path;
use crate::route::reach::{Item, Paths, Reach};
use crate::route::tag::Tag;
use crate::store::position::Position;
use crate::token::Role;

/// The keys of the purge object, and those that are for this door alone.
pub(crate) const KEYS: [&str; 11] =
    ["tags", "paths", "prefixes", "globs", "files", "all", "soft", "id", "dry_run", "cascade", "refresh"];

/// Invalidations in one answer, unless it says otherwise, and at most.
const USUAL: usize = 100;
const MOST: usize = 1_000;

/// What is done with an invalidation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It is applied.
    Apply,
    /// The same, and what it reached and was hot is fetched again behind everybody's back.
    Refresh,
    /// It is said what it would reach.
    Preview,
}

/// What an invalidation came to, or would.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    /// Where it stands in the order; of a dry run how far that is.
    pub(crate) position: Position,
    entries: Tally,
    items: Vec<String>,
    derived: Vec<String>,
    is_dry: bool,
    /// Whether it holds on every node of the fleet.
    ack: Ack,
}

impl Done {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "position": self.position.to_string(),
            "invalidated": self.entries.total,
            "by_route": by_route(&self.entries),
            "reach": self.items,
            "derived": self.derived,
            "dry_run": self.is_dry,
            "ack": (!self.is_dry).then_some(self.ack.as_str()),
        })
    }
}

/// `POST /v1/purge`
pub(crate) async fn purge(
    State(sources): State<Sources>,
    Extension(caller): Extension<Caller>,
    document: Document,
) -> Result<Json<Value>, Problem> {
    let done = by_object(&sources, &caller, document.object(&KEYS)?).await?;
    Ok(Json(done.to_json()))
}

/// `POST /v1/events`: whatever shape a message may have elsewhere, as far as it is JSON.
pub(crate) async fn events(
    State(sources): State<Sources>,
    Extension(caller): Extension<Caller>,
    document: Document,
) -> Result<Json<Value>, Problem> {
    let names = &sources.flow.parts().invalidator.settings().events;
    match event::received(&document.headers, &document.bytes, names).map_err(|why| bad(&why))? {
        Event::Unmatched { name, data, .. } => {
            sources.metrics.event_unmatched();
            let (raw, invalidator) =
                (Raw::Event { name: name.clone(), data }, &sources.flow.parts().invalidator);
            if let Ack::Unconfirmed(operation) = invalidator.pass_on(raw, Source::Admin, &caller.name).await {
                return Err(Problem::unconfirmed(operation));
            }
            Ok(Json(json!({ "matched": false, "event": name, "invalidated": 0 })))
        }
        Event::Outdates(outdates) => {
            let invalidation = outdates.invalidation(Source::Admin, caller.name);
            let mut answer = carry_out(&sources, invalidation, Manner::Apply).await?.to_json();
            answer["matched"] = true.into();
            Ok(Json(answer))
        }
    }
}

/// `GET /v1/invalidations`: the newest, or what came after `since`; the oldest of them first.
pub(crate) async fn invalidations(
    State(sources): State<Sources>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let parameters = parameters.of(&["tag", "since", "limit"])?;
    let since = parameters.text("since");
    let query = Query::parse(parameters.text("tag"), since);
    let query = query.map_err(|why| Problem::bad_request(why.to_string()))?;
    let limit = parameters.limit("limit", USUAL, MOST)?;
    let mut found = sources.flow.parts().invalidator.audit(&query);
    let mut next = None;
    if since.is_none() {
        found.drain(..found.len().saturating_sub(limit));
    } else if found.len() > limit {
        // What was applied together has one place, so it stands on one page: the next one begins behind that.
        let last = found[limit - 1].position;
        let page = limit + found[limit..].iter().take_while(|audited| audited.position == last).count();
        next = (page < found.len()).then(|| last.to_string());
        found.truncate(page);
    }
    let list: Vec<Value> = found.iter().map(|audited| told(audited)).collect();
    Ok(Json(json!({ "invalidations": list, "next": next })))
}

/// `GET /v1/operations/{id}`: how far one is that was answered 503.
pub(crate) async fn operation(
    State(sources): State<Sources>,
    axum::extract::Path(id): axum::extract::Path<String>,
) -> Result<Json<Value>, Problem> {
    let operation: Operation = id.parse().map_err(|_| Problem::not_found("No operation has such a name."))?;
    let progress = sources.flow.parts().invalidator.progress(operation);
    let detail = match progress {
        Progress::Pending => "It holds on this node, and goes on until it holds on every one.",
        Progress::Applied => "It holds on every node.",
        Progress::Lost => {
            "This process never had it. Ask the node that answered; if that was restarted since, send the invalidation again."
        }
    };
    Ok(Json(json!({ "id": operation.to_string(), "state": progress.as_str(), "detail": detail })))
}

/// `PURGE` of any path: that path with every query, on every host unless the target names one.
pub(crate) async fn of_path(sources: &Sources, head: &Head) -> Result<Response, Problem> {
    let caller = head.extensions.get::<Caller>().expect("`access::check` says who asks");
    caller.needs(Role::Purge)?;
    let (uri, hosts) = (&head.uri, &sources.flow.parts().rules.hosts);
    let host = uri.authority().and_then(|authority| hosts.resolve(Scheme::Http, authority.as_str()).ok());
    let item = match host {
        Some(host) => Item::Tag(Tag::path(host.as_str(), Path::of(uri.path()).decoded())),
        None => Item::Paths { host: None, paths: Paths::one(uri.path()) },
    };
    let invalidation = Invalidation {
        reach: Reach { items: vec![item] },
        mode: purge::mode(&head.headers),
        source: Source::Admin,
        actor: caller.name.clone(),
        ..Invalidation::default()
    };
    let done = carry_out(sources, invalidation, Manner::Apply).await?;
    let mut answer = done.to_json();
    answer["status"] = "ok".into();
    answer["id"] = answer["position"].clone();
    Ok(Json(answer).into_response())
}

/// Does what a purge object with known [`KEYS`] says.
///
/// # Errors
/// What is wrong with it, or that it comes too often.
pub(crate) async fn by_object(
    sources: &Sources,
    caller: &Caller,
    mut object: Map<String, Value>,
) -> Result<Done, Problem> {
    let manner = manner(sources, &object)?;
    let without_derived = !flag(&object, "cascade")?.unwrap_or(true);
    for key in ["dry_run", "cascade", "refresh"] {
        object.remove(key);
    }
    let names = &sources.flow.parts().invalidator.settings().events;
    let text = Value::Object(object).to_string();
    let Event::Outdates(outdates) = event::read(text.as_bytes(), names).map_err(|why| bad(&why))? else {
        return Err(Problem::unprocessable("This is an event; send it to /v1/events."));
    };
    let invalidation = outdates.invalidation(Source::Admin, &*caller.name);
    carry_out(sources, Invalidation { without_derived, ..invalidation }, manner).await
}

/// Applies an invalidation, or says what it would reach.
///
/// # Errors
/// 429: it throws out everything, and that was done too often lately. 503: nobody knows yet whether it holds on every node.
pub(crate) async fn carry_out(
    sources: &Sources,
    invalidation: Invalidation,
    manner: Manner,
) -> Result<Done, Problem> {
    let is_dry = manner == Manner::Preview;
    let parts = sources.flow.parts();
    let invalidator = &parts.invalidator;
    if is_dry {
        let preview = invalidator.preview(invalidation).await;
        let (position, entries) = (parts.store.applied(), preview.entries);
        let (items, derived, ack) = (preview.items, preview.derived, Ack::Applied);
        return Ok(Done { position, entries, items, derived, is_dry, ack });
    }
    invalidator.allow(&invalidation).map_err(|why| {
        let seconds = why.retry_after.as_secs_f64().ceil().max(1.0) as u64;
        Problem::new(StatusCode::TOO_MANY_REQUESTS, why.to_string())
            .with(RETRY_AFTER, HeaderValue::from(seconds))
    })?;
    let mut reach = invalidation.reach.clone();
    let asked = reach.items.len();
    if !invalidation.without_derived {
        invalidator.settings().dependencies.extend(&mut reach);
    }
    let mut items = audit::words(&reach.items);
    let derived = items.split_off(asked);
    let applied = invalidator.apply(invalidation).await;
    let Applied { position, entries, ack, reached } = applied;
    if manner == Manner::Refresh {
        sources.flow.refresh(reached, reach);
    }
    if let Ack::Unconfirmed(operation) = ack {
        return Err(Problem::unconfirmed(operation));
    }
    Ok(Done { position, entries, items, derived, is_dry, ack })
}

/// What `dry_run` and `refresh` say.
///
/// # Errors
/// 409: nothing is fetched behind anybody's back here.
fn manner(sources: &Sources, object: &Map<String, Value>) -> Result<Manner, Problem> {
    match (flag(object, "dry_run")?, flag(object, "refresh")?) {
        (Some(true), _) => Ok(Manner::Preview),
        (_, Some(true)) if !sources.warmer.is_on() => {
            let detail = "`refresh` is switched off here (`warm.background`); purge without it.";
            Err(Problem::new(StatusCode::CONFLICT, detail))
        }
        (_, Some(true)) => Ok(Manner::Refresh),
        (_, None | Some(false)) => Ok(Manner::Apply),
    }
}

/// Counts by template.
pub(crate) fn by_route(tally: &Tally) -> Value {
    tally
        .routes
        .iter()
        .map(|(route, count)| (route.clone(), Value::from(*count)))
        .collect::<Map<_, _>>()
        .into()
}

/// One that was applied, as the list and the stream tell of it.
pub(crate) fn told(audited: &Audited) -> Value {
    json!({
        "position": audited.position.to_string(),
        "at": humantime::format_rfc3339_millis(audited.at).to_string(),
        "source": audited.source.as_str(),
        "actor": audited.actor,
        "id": audited.id,
        "mode": audited.mode.as_str(),
        "reach": audited.items(),
        "derived": audited.derived(),
        "derived_too_much": audited.followed == Followed::TooMany,
        "invalidated": audited.entries.total,
        "by_route": by_route(&audited.entries),
    })
}

/// 413, 400 or 422, with the sentence that the event's reader has for its sender.
fn bad(why: &BadEvent) -> Problem {
    let status = match why {
        BadEvent::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        why if why.is_malformed() => StatusCode::BAD_REQUEST,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Problem::new(status, why.to_string())
}
