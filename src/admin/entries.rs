//! What is kept: found, looked at, put, dropped. Never told is a body, and never a credential.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts as Head;
use serde_json::{Value, json};

use crate::admin::access::Caller;
use crate::admin::body::Document;
use crate::admin::parameters::Parameters;
use crate::admin::problem::Problem;
use crate::admin::{Sources, elsewhere, purge, switches};
use crate::clock::Now;
use crate::flow::put::{Brought, NotPut};
use crate::invalidate::audit::Query;
use crate::invalidate::{Invalidation, Source};
use crate::metrics::UNMATCHED;
use crate::route::reach::{Item, Reach};
use crate::route::tag::Tag;
use crate::store::Store;
use crate::store::entry::{Entry, EntryId};
use crate::store::ticket::FillTicket;

/// Entries in one answer, unless it says otherwise, and at most.
const USUAL: usize = 100;
const MOST: usize = 1_000;

/// Most tags of an entry that are shown.
const MOST_TAGS: usize = 1_000;

/// `GET /v1/entries`: in the order in which they were stored.
pub(crate) async fn list(
    State(sources): State<Sources>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let parameters = parameters.of(&["tag", "path", "route", "limit", "after"])?;
    let limit = parameters.limit("limit", USUAL, MOST)?;
    let after = parameters.text("after").map(id).transpose()?;
    let wanted = wanted(&sources, &parameters)?;
    let parts = sources.flow.parts();
    let store = Arc::clone(&parts.store);
    let mut found = elsewhere(move || find(&store, &wanted, after, limit + 1)).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let now = parts.clock.now();
    let next = found.last().filter(|_| more).map(|last| last.id().as_u64().to_string());
    let list: Vec<Value> = found.iter().map(|entry| told(entry, now)).collect();
    Ok(Json(json!({ "entries": list, "next": next })))
}

/// `GET` and `HEAD /v1/entries/{id}`
pub(crate) async fn one(
    State(sources): State<Sources>,
    Path(number): Path<String>,
) -> Result<Json<Value>, Problem> {
    let entry = entry(&sources, &number).await?;
    Ok(Json(told(&entry, sources.flow.parts().clock.now())))
}

/// `DELETE /v1/entries/{id}`: invalidates its path with every query, so what is being fetched just now does not come in its place.
pub(crate) async fn remove(
    State(sources): State<Sources>,
    Extension(caller): Extension<Caller>,
    Path(number): Path<String>,
) -> Result<Json<Value>, Problem> {
    let entry = entry(&sources, &number).await?;
    let paths = entry.tags().iter().filter(|tag| tag.is_path()).cloned();
    drop_all(&sources, caller, Reach::of(paths)).await
}

/// From when the head of the request was there, and its body was not.
pub(crate) struct Began(FillTicket);

impl FromRequestParts<Sources> for Began {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Head, sources: &Sources) -> Result<Self, Infallible> {
        let parts = sources.flow.parts();
        Ok(Self(parts.store.ticket(parts.clock.mono())))
    }
}

/// `PUT /v1/entries`: kept as what everybody's GET of the target is answered with.
pub(crate) async fn put(
    State(sources): State<Sources>,
    Extension(caller): Extension<Caller>,
    Began(began): Began,
    document: Document,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let brought = Value::Object(document.object(&["target", "status", "headers", "body"])?);
    let brought: Brought =
        serde_json::from_value(brought).map_err(|why| Problem::unprocessable(format!("{why}.")))?;
    let entry = sources.flow.put(&brought, &began, caller.name).await.map_err(|why| match why {
        NotPut::Overtaken => Problem::new(StatusCode::CONFLICT, format!("{why}.")),
        _ => Problem::unprocessable(format!("{why}.")),
    })?;
    Ok((StatusCode::CREATED, Json(told(&entry, sources.flow.parts().clock.now()))))
}

/// `DELETE /v1/entries?path=`: the entries of a path or a template, with every query.
pub(crate) async fn remove_path(
    State(sources): State<Sources>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let parameters = parameters.of(&["path"])?;
    let Some(path) = parameters.text("path") else {
        return Err(Problem::bad_request("`path` says which entries; everything is purged by /v1/purge."));
    };
    let item = path_item(path)?;
    drop_all(&sources, caller, Reach { items: vec![item] }).await
}

async fn drop_all(sources: &Sources, caller: Caller, reach: Reach) -> Result<Json<Value>, Problem> {
    let (source, actor) = (Source::Admin, caller.name);
    // It is these entries that are wrong, and nobody says that anything has changed.
    let without_derived = true;
    let invalidation = Invalidation { reach, source, actor, without_derived, ..Invalidation::default() };
    Ok(Json(purge::carry_out(sources, invalidation, purge::Manner::Apply).await?.to_json()))
}

async fn entry(sources: &Sources, number: &str) -> Result<Arc<Entry>, Problem> {
    let (id, store) = (id(number), Arc::clone(&sources.flow.parts().store));
    let entry = elsewhere(move || id.ok().and_then(|id| store.entry(id))).await?;
    entry.ok_or_else(|| Problem::not_found("There is no such entry, or not any more."))
}

fn id(number: &str) -> Result<EntryId, Problem> {
    let number = number.parse().map_err(|_| Problem::bad_request("The name of an entry is a number."));
    number.map(EntryId::from_u64)
}

/// What all the entries in an answer are covered by.
fn wanted(sources: &Sources, parameters: &Parameters) -> Result<Vec<Item>, Problem> {
    let mut items = Vec::new();
    if let Some(tag) = parameters.text("tag") {
        items.push(item(tag)?);
    }
    if let Some(path) = parameters.text("path") {
        items.push(path_item(path)?);
    }
    if let Some(route) = parameters.text("route") {
        items.push(Item::Tag(switches::route(sources, route)?.tag.clone()));
    }
    Ok(items)
}

fn path_item(path: &str) -> Result<Item, Problem> {
    if path.starts_with('/') { item(path) } else { Err(Problem::bad_request("`path` begins with `/`.")) }
}

fn item(word: &str) -> Result<Item, Problem> {
    let query = Query::parse(Some(word), None).map_err(|why| Problem::bad_request(why.to_string()))?;
    query.tag.ok_or_else(|| Problem::bad_request("An empty word names nothing."))
}

/// By the index where one of `wanted` is looked up there, else by going through all that is kept.
fn find(store: &Store, wanted: &[Item], after: Option<EntryId>, limit: usize) -> Vec<Arc<Entry>> {
    let Some((first, rest)) = wanted.split_first() else { return store.list(after, limit) };
    let fits = |entry: &Arc<Entry>| {
        let has = |item: &Item| entry.tags().iter().any(|tag| item.covers(tag));
        after.is_none_or(|after| entry.id() > after) && rest.iter().all(has)
    };
    let found = store.find(&Reach { items: vec![first.clone()] });
    let mut found: Vec<_> = found.into_iter().filter(fits).collect();
    found.sort_unstable_by_key(|entry| entry.id());
    found.truncate(limit);
    found
}

fn told(entry: &Entry, now: Now) -> Value {
    let key = entry.key().told();
    let target = key.map(|key| match key.query {
        "" => key.path.to_owned(),
        query => format!("{}?{query}", key.path),
    });
    let state = match entry.softened() {
        Some(_) => "soft",
        None if entry.life.is_fresh(now) => "fresh",
        None => "stale",
    };
    // Larder's own tags are shown in words of their own.
    let shown = entry.tags().iter().filter(|tag| tag.is_named() || tag.is_path()).take(MOST_TAGS);
    json!({
        "id": entry.id().as_u64().to_string(),
        "target": target,
        "scheme": key.map(|key| key.scheme.as_str()),
        "host": key.map(|key| key.authority),
        "route": entry.tags().iter().find_map(Tag::template).unwrap_or(UNMATCHED),
        "status": entry.response.status.as_u16(),
        "state": state,
        "age": entry.life.age(now).as_secs(),
        "ttl": entry.life.ttl(now),
        "hits": entry.hits(),
        "size": entry.weight(),
        "body_size": entry.response.body.len(),
        "tags": shown.map(Tag::as_str).collect::<Vec<_>>(),
        "whose": if key.is_some_and(|key| key.is_of_a_credential) { "a credential" } else { "shared" },
        "by_content": key.is_some_and(|key| key.is_by_content),
        "part": entry.part().is_some(),
        "position": entry.position().to_string(),
    })
}
