//! Doors that other caches have, for clients that are there already: Cloudflare's and Fastly's purge APIs, and the endpoints that
//! a cache inside a FastAPI application usually has.
//!
//! Invariant: what comes in is turned into the purge object and read as one, so it means here what it means everywhere. Zone and
//! service ids are taken as they come: there is one cache.

use axum::Json;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::admin::Sources;
use crate::admin::access::Caller;
use crate::admin::body::{Document, texts};
use crate::admin::problem::Problem;
use crate::admin::purge::{self, Done};
use crate::flow::purge::mode;
use crate::store::position::Mode;

/// Where Cloudflare's API begins.
const CLOUDFLARE: &str = "/client/v4/";

/// `POST /client/v4/zones/{any}/purge_cache`
pub(crate) async fn cloudflare(
    State(sources): State<Sources>,
    Extension(caller): Extension<Caller>,
    document: Document,
) -> Result<Json<Value>, Problem> {
    let object = document.object(&["purge_everything", "files", "tags", "hosts", "prefixes"])?;
    let mut purge = Map::new();
    match object.get("purge_everything") {
        None | Some(Value::Null) => {}
        Some(Value::Bool(true)) => drop(purge.insert("all".into(), true.into())),
        Some(_) => return Err(Problem::unprocessable("`purge_everything` can only be true.")),
    }
    // Prefixes and hosts come without a scheme there.
    let located = |text: String| if text.contains("://") { text } else { format!("https://{text}") };
    let prefixes = texts(&object, "prefixes")?.into_iter().map(located);
    let hosts = texts(&object, "hosts")?.into_iter().map(|host| format!("https://{host}/"));
    purge.insert("tags".into(), texts(&object, "tags")?.into());
    purge.insert("files".into(), files(&object)?.into());
    purge.insert("prefixes".into(), prefixes.chain(hosts).collect::<Vec<_>>().into());
    let done = purge::by_object(&sources, &caller, purge).await?;
    let result = json!({ "id": done.position.to_string() });
    Ok(Json(json!({ "success": true, "errors": [], "messages": [], "result": result })))
}

/// `POST /service/{any}/purge/{key}`
pub(crate) async fn fastly_key(
    State(sources): State<Sources>,
    Extension(caller): Extension<Caller>,
    Path((_service, key)): Path<(String, String)>,
    document: Document,
) -> Result<Json<Value>, Problem> {
    let done = fastly(&sources, &caller, &document.headers, json!({ "tags": [key] })).await?;
    Ok(Json(ok(&done)))
}

/// `POST /service/{any}/purge`: the keys stand in `Surrogate-Key`, or in the body.
pub(crate) async fn fastly_keys(
    State(sources): State<Sources>,
    Extension(caller): Extension<Caller>,
    document: Document,
) -> Result<Json<Value>, Problem> {
    let headers = document.headers.clone();
    let in_fields = headers.get_all("surrogate-key").iter().filter_map(|line| line.to_str().ok());
    let mut keys: Vec<String> = in_fields.flat_map(str::split_ascii_whitespace).map(str::to_owned).collect();
    if document.value.is_some() {
        keys.extend(texts(&document.object(&["surrogate_keys"])?, "surrogate_keys")?);
    }
    if keys.is_empty() {
        let detail = "Name the keys in `Surrogate-Key`, or as `surrogate_keys` in the body.";
        return Err(Problem::bad_request(detail));
    }
    let done = fastly(&sources, &caller, &headers, json!({ "tags": keys })).await?;
    let id = Value::from(done.position.to_string());
    Ok(Json(keys.into_iter().map(|key| (key, id.clone())).collect::<Map<_, _>>().into()))
}

/// `POST /service/{any}/purge_all`
pub(crate) async fn fastly_all(
    State(sources): State<Sources>,
    Extension(caller): Extension<Caller>,
    document: Document,
) -> Result<Json<Value>, Problem> {
    let done = fastly(&sources, &caller, &document.headers, json!({ "all": true })).await?;
    Ok(Json(ok(&done)))
}

/// `POST /api/cache/invalidate`: the purge object, or `{"pattern": "/api/projects/*"}`.
pub(crate) async fn invalidate(
    State(sources): State<Sources>,
    Extension(caller): Extension<Caller>,
    document: Document,
) -> Result<Json<Value>, Problem> {
    let known: Vec<&str> = purge::KEYS.into_iter().chain(["pattern"]).collect();
    let mut object = document.object(&known)?;
    let patterns = texts(&object, "pattern")?;
    object.remove("pattern");
    // A pattern is one of paths, or of tags as keys of Redis are often named: `project:*`.
    let (paths, tags) = patterns.into_iter().partition(|pattern| pattern.starts_with(['/', '*']));
    for (key, mut more) in [("globs", paths), ("tags", tags)] {
        let more: &mut Vec<String> = &mut more;
        if !more.is_empty() {
            more.extend(words(&object, key)?);
            object.insert(key.into(), std::mem::take(more).into());
        }
    }
    let mut answer = purge::by_object(&sources, &caller, object).await?.to_json();
    answer["success"] = true.into();
    Ok(Json(answer))
}

/// Middleware: problems for Cloudflare's clients have the members that these look for.
pub(crate) async fn dress(uri: Uri, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    match response.extensions().get::<Problem>() {
        Some(problem) if uri.path().starts_with(CLOUDFLARE) => problem.for_cloudflare(),
        _ => response,
    }
}

async fn fastly(
    sources: &Sources,
    caller: &Caller,
    headers: &HeaderMap,
    purge: Value,
) -> Result<Done, Problem> {
    let Value::Object(mut purge) = purge else { return Err(Problem::unprocessable("Nothing is named.")) };
    purge.insert("soft".into(), (mode(headers) == Mode::Soft).into());
    purge::by_object(sources, caller, purge).await
}

fn ok(done: &Done) -> Value {
    json!({ "status": "ok", "id": done.position.to_string() })
}

/// Under `key`: a list, or one string of words.
fn words(object: &Map<String, Value>, key: &str) -> Result<Vec<String>, Problem> {
    match object.get(key) {
        Some(Value::String(words)) => Ok(words.split_whitespace().map(str::to_owned).collect()),
        _ => texts(object, key),
    }
}

/// URLs, as they are or as the `url` of an object; headers part variants there, and all variants go here.
fn files(object: &Map<String, Value>) -> Result<Vec<String>, Problem> {
    let wrong = || Problem::unprocessable("`files` is a list of URLs, or of objects with a `url`.");
    let list = match object.get("files") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(wrong()),
    };
    let url = |file: &Value| file.as_str().or_else(|| file.get("url")?.as_str()).map(str::to_owned);
    list.iter().map(|file| url(file).ok_or_else(wrong)).collect()
}
