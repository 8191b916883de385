//! The admin listener: probes, metrics, and the control plane over HTTP.
//!
//! ```text
//! request → no page from elsewhere, known token (access) → route, role → JSON (body) → what it asks for → answer or problem
//! ```
//! Invariant: nothing but the probes, and webhooks with their signature, is answered without a token, if there is one, and on a
//! loopback listener nothing is answered to a page from elsewhere. Whatever changes anything goes through `invalidate` or
//! `flow`; nothing is changed here. `openapi.json` says what there is, and a test holds it to that.

mod access;
mod body;
mod compat;
mod entries;
mod parameters;
mod probes;
mod problem;
mod purge;
mod status;
mod switches;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::http::request::Parts as Head;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Json, Router, middleware};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::admin::access::Access;
use crate::admin::body::{Document, MAX_BODY};
use crate::admin::problem::Problem;
use crate::flow::purge::METHOD as PURGE;
use crate::flow::{Flow, hook};
use crate::invalidate::hooks::Refusal;
use crate::metrics::Metrics;
use crate::ready::Readiness;
use crate::route::path::Path;
use crate::token::Keyring;
pub use crate::token::{Role, Token};

/// `admin:` of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the admin API listens (default 127.0.0.1:8081); `None`: no admin listener (`admin: off`).
    pub listen: Option<SocketAddr>,
    /// Bearer token; needed when `listen` is not loopback.
    pub token: Option<String>,
    /// `admin.tokens`: further tokens, by name.
    pub tokens: Vec<Token>,
    /// A further listener that carries `/livez /readyz /metrics` only.
    pub probes: Option<SocketAddr>,
}

impl Settings {
    /// All its tokens.
    pub fn keyring(&self) -> Keyring {
        Keyring::new(self.token.as_deref(), &self.tokens)
    }
}

/// What the admin API shows and moves.
#[derive(Clone)]
pub struct Sources {
    /// What `/readyz` tells.
    pub readiness: Readiness,
    /// What `/metrics` tells.
    pub metrics: Arc<Metrics>,
    /// The walk, and all that it is made of.
    pub flow: Flow,
    /// Digest of the configuration in force, as metrics show it.
    pub digest: String,
    /// How it stands with the channels of `redis.subscribe`; `None`: there are none.
    pub channels: Option<Arc<dyn Fn() -> Channels + Send + Sync>>,
    /// What becomes of a request that is described in JSON, and why; `None`: nobody can say.
    pub explain: Option<Explain>,
}

/// Explains a request; the error is a sentence for who asked.
pub type Explain = Arc<dyn Fn(Value) -> Result<Value, String> + Send + Sync>;

/// How it stands with the channels on which the backend says what it changed.
#[derive(Clone, Debug, Default)]
pub struct Channels {
    /// Whether all of them are heard.
    pub connected: bool,
    /// How often they may have said something unheard.
    pub gaps: u64,
    /// Messages that were not understood.
    pub bad_messages: u64,
    /// Why they were not heard the last time.
    pub last_error: Option<String>,
}

impl Sources {
    fn channels(&self) -> Option<Channels> {
        self.channels.as_ref().map(|ask| ask())
    }
}

/// A path and what answers there; with the role that it takes, or `None`: it is for everyone.
struct Route(&'static str, Option<Role>, fn() -> MethodRouter<Sources>);

/// What never asks for the token, and all that the probes listener has.
const PROBES: [Route; 3] = [
    Route("/livez", None, || get(probes::livez)),
    Route("/readyz", None, || get(probes::readyz)),
    Route("/metrics", None, || get(probes::scrape)),
];

const API: [Route; 21] = [
    Route("/openapi.json", Some(Role::Read), || get(probes::openapi)),
    Route("/v1/status", Some(Role::Read), || get(status::status)),
    Route("/v1/routes", Some(Role::Read), || get(status::routes)),
    Route("/v1/entries", Some(Role::Read), || get(entries::list)),
    Route("/v1/entries", Some(Role::Purge), || delete(entries::remove_path)),
    Route("/v1/entries/{id}", Some(Role::Read), || get(entries::one)),
    Route("/v1/entries/{id}", Some(Role::Purge), || delete(entries::remove)),
    Route("/v1/invalidations", Some(Role::Read), || get(purge::invalidations)),
    Route("/v1/explain", Some(Role::Read), || post(explain)),
    Route("/v1/purge", Some(Role::Purge), || post(purge::purge)),
    Route("/v1/events", Some(Role::Purge), || post(purge::events)),
    Route("/v1/cache/disable", Some(Role::All), || post(switches::disable)),
    Route("/v1/cache/enable", Some(Role::All), || post(switches::enable)),
    Route("/client/v4/zones/{zone}/purge_cache", Some(Role::Purge), || post(compat::cloudflare)),
    Route("/service/{service}/purge/{key}", Some(Role::Purge), || post(compat::fastly_key)),
    Route("/service/{service}/purge", Some(Role::Purge), || post(compat::fastly_keys)),
    Route("/service/{service}/purge_all", Some(Role::Purge), || post(compat::fastly_all)),
    Route("/api/cache/stats", Some(Role::Read), || get(status::stats)),
    Route("/api/v1/cache/stats", Some(Role::Read), || get(status::stats)),
    Route("/api/cache/health", Some(Role::Read), || get(status::health)),
    Route("/api/cache/invalidate", Some(Role::Purge), || post(compat::invalidate)),
];

/// Everything, for a listener on `listen`.
pub fn router(listen: SocketAddr, sources: Sources) -> Router {
    let keys = Arc::clone(&sources.flow.parts().keys);
    let hooks = sources.flow.parts().hooks.clone();
    let is_open = move |path: &str| {
        PROBES.iter().any(|Route(probe, ..)| *probe == path) || hooks.has(Path::of(path).decoded())
    };
    let access = Arc::new(Access::new(listen, keys, is_open));
    routes(PROBES.into_iter().chain(API))
        .fallback(otherwise)
        .method_not_allowed_fallback(otherwise_here)
        .with_state(sources)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(access, access::check))
        .layer(middleware::from_fn(compat::dress))
        .layer(middleware::map_response(never_stored))
}

/// `/livez /readyz /metrics` only, open to everyone who reaches the listener.
pub fn probes_router(sources: Sources) -> Router {
    let nowhere = async || Problem::not_found("This listener has probes and metrics only.");
    let router = routes(PROBES).fallback(nowhere).method_not_allowed_fallback(not_allowed);
    router.with_state(sources).layer(middleware::map_response(never_stored))
}

/// Answers on `listener` until `shutdown` is done and open requests have ended.
///
/// # Errors
/// None in practice: a failing accept is tried again.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(shutdown).await
}

fn routes(routes: impl IntoIterator<Item = Route>) -> Router<Sources> {
    routes.into_iter().fold(Router::new(), |router, Route(path, needs, methods)| match needs {
        None => router.route(path, methods()),
        Some(role) => {
            let lock = middleware::from_fn_with_state(role, access::may);
            router.route(path, methods().route_layer(lock))
        }
    })
}

/// What no route has: a webhook, `PURGE` of any path, or nothing.
async fn otherwise(State(sources): State<Sources>, request: Request) -> Response {
    if sources.flow.parts().hooks.has(Path::of(request.uri().path()).decoded()) {
        return webhook(&sources, request).await;
    }
    match purged(&sources, &request.into_parts().0).await {
        Some(answer) => answer,
        None => Problem::not_found("The admin API has no such path; see /openapi.json.").into_response(),
    }
}

/// Its signature is its lock. Receiving is a task of its own: a sender who leaves takes nothing back.
async fn webhook(sources: &Sources, request: Request) -> Response {
    if request.method() != Method::POST {
        return hook::method_not_allowed().map(axum::body::Body::new);
    }
    let path = Path::of(request.uri().path()).decoded().to_owned();
    let headers = request.headers().clone();
    let hooks = sources.flow.parts().hooks.clone();
    let body = match Bytes::from_request(request, &()).await {
        Ok(body) => body,
        Err(refused) if refused.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return hook::respond(Err(&hooks.refuse(Refusal::TooLarge))).map(axum::body::Body::new);
        }
        Err(_) => return Problem::bad_request("The body was cut.").into_response(),
    };
    let now = sources.flow.parts().clock.now();
    let received = tokio::spawn(async move { hooks.receive(&path, &headers, body, now).await }).await;
    match received {
        Ok(received) => hook::respond(received.as_ref()).map(axum::body::Body::new),
        Err(_) => {
            let detail = "The webhook could not be received; send it again.";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
        }
    }
}

/// The same where a path is known and the method is not.
async fn otherwise_here(State(sources): State<Sources>, request: Request) -> Response {
    match purged(&sources, &request.into_parts().0).await {
        Some(answer) => answer,
        None => not_allowed().await.into_response(),
    }
}

async fn purged(sources: &Sources, head: &Head) -> Option<Response> {
    if head.method.as_str() != PURGE {
        return None;
    }
    Some(purge::of_path(sources, head).await.unwrap_or_else(Problem::into_response))
}

async fn not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "The path does not take this method; see Allow.")
}

async fn explain(State(sources): State<Sources>, document: Document) -> Result<Json<Value>, Problem> {
    let Some(explain) = &sources.explain else {
        return Err(Problem::not_found("This Larder cannot explain requests."));
    };
    let asked = document.object(&["method", "target", "headers", "body"])?;
    explain(Value::Object(asked)).map(Json).map_err(Problem::unprocessable)
}

/// What is true now is not true later.
async fn never_stored(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

