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
mod config;
mod dashboard;
mod entries;
pub mod figures;
mod fleet;
pub mod in_force;
mod monitor;
mod parameters;
mod probes;
mod problem;
mod purge;
mod status;
mod stream;
mod switches;
mod usage;
mod warm;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::http::request::Parts as Head;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use axum::{Json, Router, middleware};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;

use crate::admin::access::Access;
use crate::admin::body::{Document, MAX_BODY};
pub use crate::admin::config::Compare;
use crate::admin::figures::Watching;
use crate::admin::in_force::InForce;
use crate::admin::problem::Problem;
use crate::body::{Body, BodyError};
use crate::flow::explain::asked::Asked;
use crate::flow::explain::wire::Explanation;
use crate::flow::purge::METHOD as PURGE;
use crate::flow::{Flow, hook};
use crate::invalidate::subscription::{Status, Subscription};
use crate::metrics::Metrics;
use crate::monitor::Monitor;
use crate::monitor::harvest::Harvest;
use crate::ready::Readiness;
use crate::route::path::Path;
use crate::token::Keyring;
pub use crate::token::{Role, Token};
use crate::warm::Warmer;

/// `admin:` of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where the admin API listens (default 127.0.0.1:8081); `None`: no admin listener (`admin: off`).
    pub listen: Option<SocketAddr>,
    /// Bearer token; needed when `listen` is not loopback.
    pub token: Option<String>,
    /// `admin.tokens`: further tokens, by name.
    pub tokens: Vec<Token>,
    /// A further listener that carries `/livez /readyz /metrics` only.
    pub probes: Option<SocketAddr>,
    /// What stands for [`CACHE_PATH`].
    pub cache_path: String,
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
    /// What watches over it.
    pub monitor: Monitor,
    /// The configuration in force.
    pub config: InForce,
    /// How it stands with the channels of `redis.subscribe`; `None`: there are none.
    pub channels: Option<Subscription>,
    /// What entries were worth.
    pub harvest: Harvest,
    /// What stands for [`CACHE_PATH`].
    pub cache_path: String,
    /// Who warms.
    pub warmer: Warmer,
    /// What another configuration would change.
    pub compare: Compare,
    /// What all who look on share.
    pub watching: Watching,
}

impl Sources {
    fn channels(&self) -> Option<Status> {
        self.channels.as_ref().map(Subscription::status)
    }
}

/// Where a cache inside an application has its endpoints, unless `admin.cache_path` says otherwise.
pub const CACHE_PATH: &str = "/api/cache";
/// Where it may have its figures besides.
const STATS: &str = "/api/v1/cache/stats";

/// A path and what answers there; with the role that it takes, or `None`: it is for everyone.
struct Route(&'static str, Option<Role>, fn() -> MethodRouter<Sources>);

/// What never asks for the token, and all that the probes listener has.
const PROBES: [Route; 3] = [
    Route("/livez", None, || get(probes::livez)),
    Route("/readyz", None, || get(probes::readyz)),
    Route("/metrics", None, || get(probes::scrape)),
];

const API: [Route; 42] = [
    Route("/dashboard", None, || get(dashboard::page)),
    Route("/dashboard", None, || post(dashboard::login)),
    Route("/dashboard/{file}", None, || get(dashboard::asset)),
    Route("/openapi.json", Some(Role::Read), || get(probes::openapi)),
    Route("/v1/status", Some(Role::Read), || get(status::status)),
    Route("/v1/routes", Some(Role::Read), || get(status::routes)),
    Route("/v1/monitor", Some(Role::Read), || get(monitor::monitor)),
    Route("/v1/figures", Some(Role::Read), || get(figures::figures)),
    Route("/v1/stream", Some(Role::Read), || get(stream::stream)),
    Route("/v1/dependencies", Some(Role::Read), || get(figures::dependencies)),
    Route("/v1/usage", Some(Role::Read), || get(usage::usage)),
    Route("/v1/entries", Some(Role::Read), || get(entries::list)),
    Route("/v1/entries", Some(Role::All), || put(entries::put)),
    Route("/v1/entries", Some(Role::Purge), || delete(entries::remove_path)),
    Route("/v1/entries/{id}", Some(Role::Read), || get(entries::one)),
    Route("/v1/entries/{id}", Some(Role::Purge), || delete(entries::remove)),
    Route("/v1/invalidations", Some(Role::Read), || get(purge::invalidations)),
    Route("/v1/operations/{id}", Some(Role::Read), || get(purge::operation)),
    Route("/v1/fleet", Some(Role::Read), || get(fleet::fleet)),
    Route("/v1/explain", Some(Role::Read), || post(explain)),
    Route("/v1/config/diff", Some(Role::Read), || {
        post(config::diff).layer(DefaultBodyLimit::max(config::MAX_FILE))
    }),
    Route("/v1/purge", Some(Role::Purge), || post(purge::purge)),
    Route("/v1/events", Some(Role::Purge), || post(purge::events)),
    Route("/v1/warm", Some(Role::Read), || get(warm::list)),
    Route("/v1/warm", Some(Role::Purge), || post(warm::warm)),
    Route("/v1/warm/tasks", Some(Role::All), || post(warm::register)),
    Route("/v1/warm/tasks/{id}", Some(Role::All), || delete(warm::withdraw)),
    Route("/v1/warm/{run}", Some(Role::Read), || get(warm::one)),
    Route("/v1/warm/{run}", Some(Role::Purge), || delete(warm::cancel)),
    Route("/v1/config", Some(Role::Read), || get(config::show)),
    Route("/v1/config/reload", Some(Role::All), || post(config::reload)),
    Route("/v1/cache/disable", Some(Role::All), || post(switches::disable)),
    Route("/v1/cache/enable", Some(Role::All), || post(switches::enable)),
    Route("/client/v4/zones/{zone}/purge_cache", Some(Role::Purge), || post(compat::cloudflare)),
    Route("/service/{service}/purge/{key}", Some(Role::Purge), || post(compat::fastly_key)),
    Route("/service/{service}/purge", Some(Role::Purge), || post(compat::fastly_keys)),
    Route("/service/{service}/purge_all", Some(Role::Purge), || post(compat::fastly_all)),
    Route("/api/cache/stats", Some(Role::Read), || get(status::stats)),
    Route(STATS, Some(Role::Read), || get(status::stats)),
    Route("/api/cache/health", Some(Role::Read), || get(status::health)),
    Route("/api/cache/warm", Some(Role::Purge), || post(warm::compatible)),
    Route("/api/cache/invalidate", Some(Role::Purge), || post(compat::invalidate)),
];

/// Everything, for a listener on `listen`.
pub fn router(listen: SocketAddr, sources: Sources) -> Router {
    let (flow, has_keys) = (sources.flow.clone(), sources.flow.clone());
    let is_open = move |path: &str| {
        let is_probe = PROBES.iter().any(|Route(probe, ..)| *probe == path);
        is_probe || dashboard::is_open(path) || flow.parts().hooks.has(Path::of(path).decoded())
    };
    let access = Access::new(listen, move || Arc::clone(&has_keys.parts().keys), is_open);
    let access = Arc::new(access);
    routes(PROBES.into_iter().chain(API), &sources.cache_path)
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
    let router = routes(PROBES, CACHE_PATH).fallback(nowhere).method_not_allowed_fallback(not_allowed);
    router.with_state(sources).layer(middleware::map_response(never_stored))
}

/// Answers one request that came from `peer`.
pub async fn answer(
    router: Router,
    mut request: http::Request<Incoming>,
    peer: SocketAddr,
) -> http::Response<Body> {
    request.extensions_mut().insert(ConnectInfo(peer));
    match TowerToHyperService::new(router).call(request).await {
        Ok(response) => response.map(|body| Body::stream(body.map_err(BodyError::from))),
        Err(never) => match never {},
    }
}

fn routes(routes: impl IntoIterator<Item = Route>, cache_path: &str) -> Router<Sources> {
    routes.into_iter().fold(Router::new(), |router, Route(path, needs, methods)| {
        let moved = path.strip_prefix(CACHE_PATH).map(|rest| format!("{cache_path}{rest}"));
        let path = match &moved {
            // It stands there already, under its other name.
            Some(moved) if moved == STATS => return router,
            Some(moved) => moved,
            None => path,
        };
        match needs {
            None => router.route(path, methods()),
            Some(role) => {
                let lock = middleware::from_fn_with_state(role, access::may);
                router.route(path, methods().route_layer(lock))
            }
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

/// Its signature is its lock.
async fn webhook(sources: &Sources, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = Body::stream(body.map_err(BodyError::from));
    hook::receive_aside(&sources.flow, head, body).await.map(axum::body::Body::new)
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

async fn explain(State(sources): State<Sources>, document: Document) -> Result<Json<Explanation>, Problem> {
    let asked = Value::Object(document.object(&["method", "target", "headers", "body"])?);
    let asked: Asked =
        serde_json::from_value(asked).map_err(|why| Problem::unprocessable(format!("{why}.")))?;
    let explanation = elsewhere(move || sources.flow.explain(&asked)).await?;
    explanation.map(Json).map_err(|why| Problem::unprocessable(format!("{why}.")))
}

/// Does what may have to look at all that is kept where no request waits for it.
///
/// # Errors
/// 503: the process is about to stop.
async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let stopped = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "The process is about to stop.");
    tokio::task::spawn_blocking(work).await.map_err(stopped)
}

/// What is true now is not true later; but a file is the same.
async fn never_stored(mut response: Response) -> Response {
    let fields = response.headers_mut();
    fields.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_log::AccessLog;
    use crate::admin::in_force::Loaded;
    use crate::clock::Clock;
    use crate::drain::Drain;
    use crate::flow::{self, Parts, ServerError};
    use crate::guard::Framing;
    use crate::invalidate::hooks::Hooks;
    use crate::invalidate::{self, Invalidator};
    use crate::monitor::line::Targets;
    use crate::monitor::window::Memory;
    use crate::monitor::{self as monitoring};
    use crate::ready::State as Life;
    use crate::route::host::{Hosts, Scheme};
    use crate::route::identity::{self, Identity};
    use crate::route::table::Table;
    use crate::route::target::Rules;
    use crate::store::room::Marks;
    use crate::store::{self, Store};
    use crate::traces::Traces;
    use crate::upstream::{self, Upstream};
    use std::future::IntoFuture;
    use std::io;
    use std::time::{Duration, UNIX_EPOCH};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::oneshot;

    /// A walk without routes, before an origin that is not there.
    fn flow(keys: Keyring, metrics: &Arc<Metrics>) -> Flow {
        let (clock, settings) = (Clock::system(), store::Settings { memory: 1 << 20, entries: None });
        let store = Arc::new(Store::new(&settings, Arc::clone(metrics)));
        let of_invalidator = invalidate::Settings { max_batch: 1, ..invalidate::Settings::default() };
        let invalidator =
            Invalidator::new(of_invalidator, Arc::clone(&store), clock.clone(), Arc::clone(metrics));
        let timeout = Duration::from_secs(1);
        Flow::new(Parts {
            settings: flow::Settings {
                enabled: true,
                trusted_proxies: Vec::new(),
                upgrades: true,
                tls: false,
                timeout,
                on_server_error: ServerError::Invalidate,
            },
            rules: Rules {
                table: Table::build(Vec::new(), None).unwrap(),
                hosts: Hosts::new(&[], Scheme::Http, 8080).unwrap(),
                identity: Identity::new(&identity::Settings::default(), b"secret"),
                writes: Vec::new(),
            },
            store,
            tier: None,
            hooks: Hooks::new(invalidator.clone()),
            invalidator,
            upstream: Upstream::new(upstream::Settings {
                origins: vec![upstream::Origin::Tcp { tls: false, host: "127.0.0.1".into(), port: 1 }],
                timeout,
                concurrency: 1,
                framing: Framing::default(),
                pool: upstream::Pool::default(),
                roots: Vec::new(),
            })
            .unwrap(),
            metrics: Arc::clone(metrics),
            log: AccessLog::off(),
            traces: Traces::off(),
            clock,
            drain: Drain::default().watch(),
            keys: Arc::new(keys),
        })
    }

    /// One that nobody asks to look.
    fn monitor(metrics: &Arc<Metrics>) -> Monitor {
        let settings = monitoring::Settings {
            every: Duration::from_secs(60),
            targets: Targets { hit_ratio: None, latency: None, marks: Marks { high: 0.95, low: 0.9 } },
            alerts: Vec::new(),
            webhook: None,
            harvest: monitoring::harvest::Settings::default(),
        };
        let sources = monitoring::Sources {
            metrics: Arc::clone(metrics),
            clock: Clock::system(),
            memory: Box::new(Memory::default),
            node: "n".into(),
        };
        Monitor::new(settings, sources).unwrap().0
    }

    /// Who warms nothing by itself.
    fn idle(flow: &Flow, metrics: &Arc<Metrics>) -> Warmer {
        let settings = crate::warm::Settings {
            tasks: Vec::new(),
            before_ready: Duration::ZERO,
            concurrency: 1,
            rate: None,
            headers: http::HeaderMap::new(),
            background: true,
            users: None,
            named_in: None,
            learn: None,
            ahead: None,
            grammar: crate::warm::task::Grammar {
                zone: jiff::tz::TimeZone::UTC,
                read: |_, _| Err("nothing is read here".into()),
            },
        };
        Warmer::new(settings, Arc::new(flow.clone()), Clock::system(), Arc::clone(metrics), None, None)
    }

    /// A token of each role, named for it; the token is its name, too.
    fn roles() -> Keyring {
        let token = |name: &str, may| Token { name: name.into(), token: name.into(), may };
        Keyring::new(None, &[token("read", Role::Read), token("purge", Role::Purge), token("all", Role::All)])
    }

    /// One that nobody reads again.
    fn loaded() -> Loaded {
        let (changed, needs_restart, values) = (Vec::new(), Vec::new(), serde_json::json!([]));
        Loaded { digest: "d".into(), file: None, at: UNIX_EPOCH, changed, needs_restart, values }
    }

    /// An admin listener on a free port, as if it had been configured on `listen`.
    struct Admin {
        address: SocketAddr,
        readiness: Readiness,
        stop: oneshot::Sender<()>,
        task: tokio::task::JoinHandle<io::Result<()>>,
    }

    impl Admin {
        async fn start(keys: Keyring, router: impl FnOnce(SocketAddr, Sources) -> Router) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let readiness = Readiness::warming();
            let metrics = Arc::new(Metrics::new(&[]));
            let flow = flow(keys, &metrics);
            let sources = Sources {
                readiness: readiness.clone(),
                monitor: monitor(&metrics),
                harvest: Harvest::new(flow.clone(), monitoring::harvest::Settings::default()),
                warmer: idle(&flow, &metrics),
                flow,
                metrics,
                config: InForce::new(loaded()).0,
                watching: Watching::new(&Clock::system()),
                channels: None,
                cache_path: CACHE_PATH.into(),
                compare: Arc::new(|name, yaml| serde_json::json!({ "ok": true, "name": name, "yaml": yaml })),
            };
            let (stop, stopped) = oneshot::channel::<()>();
            let done = async move { drop(stopped.await) };
            let service = router(address, sources).into_make_service_with_connect_info::<SocketAddr>();
            let serving = axum::serve(listener, service).with_graceful_shutdown(done);
            let task = tokio::spawn(serving.into_future());
            Self { address, readiness, stop, task }
        }

        async fn loopback() -> Self {
            Self::start(Keyring::default(), router).await
        }

        /// Sends `GET path` with the given further lines and gives the whole answer.
        async fn get(&self, path: &str, fields: &str) -> String {
            self.send("GET", path, &format!("host: localhost\r\n{fields}")).await
        }

        /// Sends a JSON body, with the given further lines.
        async fn post(&self, path: &str, fields: &str, body: &str) -> String {
            let json = format!("host: localhost\r\ncontent-type: application/json\r\n{fields}");
            self.send_body("POST", path, &json, body).await
        }

        async fn send(&self, method: &str, path: &str, fields: &str) -> String {
            self.write(&format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n{fields}\r\n")).await
        }

        async fn send_body(&self, method: &str, path: &str, fields: &str, body: &str) -> String {
            let fields = format!("{fields}content-length: {}\r\n", body.len());
            let head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n{fields}\r\n");
            self.write(&format!("{head}{body}")).await
        }

        async fn write(&self, request: &str) -> String {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        }

        async fn stop(self) {
            self.stop.send(()).unwrap();
            self.task.await.unwrap().unwrap();
        }
    }

    /// The OpenAPI file.
    fn described() -> Value {
        serde_json::from_str(include_str!("openapi.json")).unwrap()
    }

    /// Every operation of the file: its method, its path with something in every brace, and what is said of it.
    fn operations(file: &Value) -> Vec<(String, String, &Value)> {
        let paths = file["paths"].as_object().unwrap().iter();
        let all = paths.flat_map(|(path, methods)| {
            methods.as_object().unwrap().iter().map(move |(method, operation)| {
                let concrete =
                    path.split('/').map(|segment| if segment.starts_with('{') { "0" } else { segment });
                (method.to_uppercase(), concrete.collect::<Vec<_>>().join("/"), operation)
            })
        });
        all.collect()
    }

    fn status(answer: &str) -> &str {
        answer.split(' ').nth(1).unwrap()
    }

    #[track_caller]
    fn assert_status(answer: &str, status: u16) {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }

    #[tokio::test]
    async fn readiness_follows_the_life_of_the_process() {
        let admin = Admin::loopback().await;
        assert_status(&admin.get("/livez", "").await, 200);
        let answer = admin.get("/readyz", "").await;
        assert_status(&answer, 503);
        assert!(
            answer.ends_with(r#"{"status":"warming","checks":{"warm":"fail","serving":"pass"}}"#),
            "{answer}"
        );
        admin.readiness.reach(Life::Ready);
        let answer = admin.get("/readyz", "").await;
        assert_status(&answer, 200);
        assert!(
            answer.ends_with(r#"{"status":"ready","checks":{"warm":"pass","serving":"pass"}}"#),
            "{answer}"
        );
        admin.readiness.reach(Life::Draining);
        let answer = admin.get("/readyz", "").await;
        assert_status(&answer, 503);
        assert!(
            answer.ends_with(r#"{"status":"draining","checks":{"warm":"pass","serving":"fail"}}"#),
            "{answer}"
        );
        assert_status(&admin.get("/livez", "").await, 200);
        admin.stop().await;
    }

    #[tokio::test]
    async fn metrics_are_openmetrics_text() {
        let admin = Admin::loopback().await;
        let answer = admin.get("/metrics", "").await;
        assert_status(&answer, 200);
        assert!(
            answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n")
        );
        assert!(answer.contains("larder_build_info{version="));
        admin.stop().await;
    }

    #[tokio::test]
    async fn what_is_not_there_is_a_problem() {
        let admin = Admin::loopback().await;
        let answer = admin.get("/nothing", "").await;
        assert_status(&answer, 404);
        assert!(answer.contains("content-type: application/problem+json\r\n"), "{answer}");
        assert!(answer.contains(r#""type":"about:blank","title":"Not Found","status":404"#), "{answer}");
        let answer = admin.send("POST", "/livez", "host: localhost\r\ncontent-length: 0\r\n").await;
        assert_status(&answer, 405);
        assert!(answer.contains("content-type: application/problem+json\r\n"), "{answer}");
        assert!(answer.contains("allow: GET,HEAD\r\n"), "{answer}");
        admin.stop().await;
    }

    #[tokio::test]
    async fn all_but_the_probes_asks_for_the_token() {
        let admin = Admin::start(Keyring::new(Some("s3cret"), &[]), router).await;
        for Route(path, ..) in PROBES {
            assert!(!admin.get(path, "").await.starts_with("HTTP/1.1 401"));
        }
        for path in ["/openapi.json", "/nothing"] {
            for fields in [
                "",
                "authorization: Bearer s3cre\r\n",
                "authorization: Basic s3cret\r\n",
                "authorization: s3cret\r\n",
            ] {
                let answer = admin.get(path, fields).await;
                assert_status(&answer, 401);
                assert!(answer.contains("www-authenticate: Bearer\r\n"), "{answer}");
            }
        }
        for scheme in ["Bearer", "bearer"] {
            let fields = format!("authorization: {scheme} s3cret\r\n");
            assert_status(&admin.get("/openapi.json", &fields).await, 200);
            assert_status(&admin.get("/nothing", &fields).await, 404);
        }
        admin.stop().await;
    }

    #[tokio::test]
    async fn a_loopback_listener_answers_to_loopback_names_only() {
        let admin = Admin::loopback().await;
        for host in ["localhost:8081", "LOCALHOST", "127.0.0.1:8081", "127.8.8.8", "[::1]:8081"] {
            assert_status(&admin.send("GET", "/livez", &format!("host: {host}\r\n")).await, 200);
        }
        for host in
            ["rebound.example", "localhost.rebound.example", "10.0.0.1:8081", "127.0.0.1.rebound.example", ""]
        {
            let answer = admin.send("GET", "/livez", &format!("host: {host}\r\n")).await;
            assert_status(&answer, 421);
            assert!(answer.contains("content-type: application/problem+json\r\n"), "{answer}");
        }
        assert_status(
            &admin.send("GET", "/livez", "host: localhost\r\nhost: rebound.example\r\n").await,
            421,
        );
        assert_status(&admin.send("GET", "http://rebound.example/livez", "host: localhost\r\n").await, 421);
        admin.stop().await;
    }

    #[tokio::test]
    async fn a_loopback_listener_answers_to_no_page_from_elsewhere() {
        let admin = Admin::loopback().await;
        for origin in ["http://evil.example", "null", "http://localhost:3000"] {
            assert_status(&admin.get("/livez", &format!("origin: {origin}\r\n")).await, 403);
        }
        assert_status(&admin.get("/livez", "origin: http://localhost\r\n").await, 200);
        admin.stop().await;
    }

    #[tokio::test]
    async fn a_listener_for_the_network_answers_to_any_name() {
        let anywhere = ([0, 0, 0, 0], 8081).into();
        let keys = Keyring::new(Some("t"), &[]);
        let admin = Admin::start(keys, |_, sources| router(anywhere, sources)).await;
        assert_status(&admin.send("GET", "/livez", "host: larder.monitoring.svc\r\n").await, 200);
        admin.stop().await;
    }

    #[tokio::test]
    async fn the_probes_listener_has_nothing_but_probes() {
        let admin = Admin::start(Keyring::default(), |_, sources| probes_router(sources)).await;
        assert_status(&admin.send("GET", "/livez", "host: 10.1.2.3\r\n").await, 200);
        assert_status(&admin.get("/openapi.json", "").await, 404);
        admin.stop().await;
    }

    #[tokio::test]
    async fn a_token_opens_what_its_role_may() {
        let (admin, file) = (Admin::start(roles(), router).await, described());
        for (method, path, operation) in operations(&file) {
            for (nth, role) in ["read", "purge", "all"].into_iter().enumerate() {
                let needs = operation["security"][0]["token"][0].as_str();
                let may = needs.is_none_or(|needs| ["read", "purge", "all"][..=nth].contains(&needs));
                let scheme = if nth == 1 { "fastly-key: " } else { "authorization: Bearer " };
                let answer = admin
                    .send_body(&method, &path, &format!("host: localhost\r\n{scheme}{role}\r\n"), "")
                    .await;
                assert_eq!(status(&answer) != "403", may, "{role} {method} {path}: {answer}");
                assert_ne!(status(&answer), "401");
            }
        }
        let answer = admin.get("/v1/status", "authorization: Bearer other\r\n").await;
        assert_status(&answer, 401);
        for (role, allowed) in [("read", 403), ("purge", 200)] {
            let fields = format!("host: localhost\r\nauthorization: Bearer {role}\r\n");
            assert_status(&admin.send("PURGE", "/x", &fields).await, allowed);
            assert_status(&admin.send("PURGE", "/v1/status", &fields).await, allowed);
        }
        assert_status(&admin.send("PURGE", "/livez", "host: localhost\r\n").await, 401);
        admin.stop().await;
    }

    #[tokio::test]
    async fn what_a_form_can_send_is_refused() {
        let admin = Admin::loopback().await;
        let file = described();
        // The dashboard's form is for people without a script; it moves nothing.
        let moving = |(method, path, _): &&(String, String, &Value)| method == "POST" && path != "/dashboard";
        for (method, path, _) in operations(&file).iter().filter(moving) {
            for form in ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"]
            {
                for body in ["{\"all\":true}", ""] {
                    let fields = format!("host: localhost\r\ncontent-type: {form}\r\n");
                    let answer = admin.send_body(method, path, &fields, body).await;
                    assert_status(&answer, 415);
                }
            }
        }
        admin.stop().await;
    }

    #[tokio::test]
    async fn a_body_that_is_too_long_is_refused() {
        let admin = Admin::loopback().await;
        let body = format!("{{\"tags\":\"{}\"}}", "x ".repeat(MAX_BODY / 2));
        let answer = admin.post("/v1/purge", "", &body).await;
        assert_status(&answer, 413);
        assert!(answer.contains("content-type: application/problem+json\r\n"), "{answer}");
        admin.stop().await;
    }

    #[tokio::test]
    async fn the_openapi_file_says_what_there_is() {
        let (admin, file) = (Admin::loopback().await, described());
        let paths: Vec<&str> = file["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut served: Vec<&str> = PROBES.into_iter().chain(API).map(|Route(path, ..)| path).collect();
        served.dedup();
        assert_eq!(paths, served);
        let operations = operations(&file);
        for (_, path, _) in &operations {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
                let answer = admin.send_body(method, path, "host: localhost\r\n", "").await;
                let said = operations.iter().find(|(other, of, _)| other == method && of == path);
                assert_eq!(status(&answer) != "405", said.is_some(), "{method} {path}");
                if let Some((_, _, operation)) = said {
                    let answers = operation["responses"].as_object().unwrap();
                    assert!(answers.contains_key(status(&answer)), "{method} {path}: {answer}");
                }
            }
        }
        assert_eq!(file["info"]["version"], env!("CARGO_PKG_VERSION"));
        admin.stop().await;
    }

    #[tokio::test]
    async fn the_openapi_file_says_what_may_be_asked() {
        let (admin, file) = (Admin::loopback().await, described());
        for (method, path, operation) in operations(&file) {
            let said = &operation["requestBody"];
            let schema = &said["content"]["application/json"]["schema"];
            if schema.is_null() {
                continue;
            }
            let ask = async |body: &str| {
                let fields = "host: localhost\r\ncontent-type: application/json\r\n";
                admin.send_body(&method, &path, fields, body).await
            };
            assert_status(&ask("{").await, 400);
            let empty = ask("").await;
            let refused = !matches!(status(&empty), "200" | "404");
            assert!(refused || said["required"] == false, "{path}: {empty}");
            if schema["additionalProperties"] != false {
                continue;
            }
            assert_status(&ask("[]").await, 422);
            let answer = ask(r#"{"unheard_of": 1}"#).await;
            assert_status(&answer, 422);
            assert!(answer.contains("The key `unheard_of` is not known"), "{answer}");
            for key in schema["properties"].as_object().unwrap().keys() {
                let answer = ask(&serde_json::json!({ key: [[]] }).to_string()).await;
                assert_status(&answer, 422);
                assert!(!answer.contains("is not known"), "{path} {key}: {answer}");
            }
            for key in schema["required"].as_array().into_iter().flatten() {
                let answer = ask("{}").await;
                assert!(matches!(status(&answer), "400" | "422"), "{path} without {key}: {answer}");
            }
        }
        admin.stop().await;
    }

    #[tokio::test]
    async fn the_dashboard_shows_numbers_to_who_may_see_them_and_a_form_to_everybody_else() {
        let admin = Admin::start(roles(), router).await;
        let is_filled = |answer: &str| answer.contains("id=\"sentence\" class=\"sentence\">Nothing was read");
        let page = admin.get("/dashboard", "").await;
        assert_status(&page, 200);
        assert!(!is_filled(&page) && page.contains("data-access=\"locked\""), "{page}");
        let held = admin.get("/dashboard", "authorization: Bearer read\r\n").await;
        assert!(is_filled(&held) && !held.contains("http-equiv"), "{held}");
        let form = "host: localhost\r\ncontent-type: application/x-www-form-urlencoded\r\n";
        for (body, status) in
            [("token=read", 200), ("token=rea", 401), ("tokn=read", 400), ("token=%00", 401)]
        {
            let answer = admin.send_body("POST", "/dashboard", form, body).await;
            assert_status(&answer, status);
            assert_eq!(is_filled(&answer), status == 200, "{body}");
            assert!(!answer.to_lowercase().contains("set-cookie"), "{body}");
        }
        let foreign = format!("{form}origin: http://evil.example\r\n");
        assert_status(&admin.send_body("POST", "/dashboard", &foreign, "token=read").await, 403);
        let json = "host: localhost\r\ncontent-type: application/json\r\n";
        assert_status(&admin.send_body("POST", "/dashboard", json, "{}").await, 415);
        for field in [
            "content-security-policy: default-src 'none'; script-src 'self';",
            "cache-control: no-store",
            "x-content-type-options: nosniff",
        ] {
            assert!(page.contains(field), "{field}: {page}");
        }
        admin.stop().await;
    }

    #[tokio::test]
    async fn the_dashboards_files_are_open_and_what_they_ask_for_is_not() {
        let admin = Admin::start(roles(), router).await;
        for file in ["app.js", "style.css", "uplot.js", "uplot.LICENSE"] {
            let answer = admin.get(&format!("/dashboard/{file}"), "").await;
            assert_status(&answer, 200);
            assert!(answer.contains("cache-control: no-cache\r\n") && answer.contains("etag: "), "{file}");
        }
        assert_status(&admin.get("/dashboard/mod.rs", "").await, 404);
        for path in ["/v1/figures", "/v1/stream", "/v1/dependencies", "/v1/invalidations"] {
            assert_status(&admin.get(path, "").await, 401);
        }
        assert_status(&admin.get("/dashboard", "host: evil.example\r\n").await, 421);
        admin.stop().await;
    }

    #[tokio::test]
    async fn a_slip_is_answered_with_what_was_meant() {
        let admin = Admin::loopback().await;
        for (path, body, status, hint) in [
            ("/v1/purge", r#"{"tag": ["a"]}"#, 422, "did you mean `tags`?"),
            ("/v1/purge", r#"{"tags": ["a"], "dryrun": true}"#, 422, "did you mean `dry_run`?"),
            ("/v1/purge", r#"{"tags": ["a"], "cascade": "no"}"#, 422, "`cascade` has to be true or false"),
            ("/v1/purge", r#"{"tags": ["a"], "tags": ["b"]}"#, 422, "The key `tags` stands there twice"),
            ("/v1/purge", "{}", 422, "names nothing"),
            ("/v1/cache/disable", r#"{"for": "1h", "route": "/nowhere"}"#, 404, "No route is `/nowhere`"),
            ("/v1/cache/disable", r#"{"for": "1h", "route": "unmached"}"#, 404, "did you mean `unmatched`?"),
            ("/v1/cache/disable", r#"{"for": "0s"}"#, 422, "more than nothing"),
            ("/v1/cache/disable", r#"{"for": "31d"}"#, 422, "at most 30days"),
            ("/client/v4/zones/z/purge_cache", r#"{"purge_everything": false}"#, 422, "can only be true"),
            ("/service/s/purge", "", 400, "surrogate_keys"),
            ("/v1/purge?dry_run=true", r#"{"tags": ["a"]}"#, 400, "in the body"),
            ("/service/s/purge_all?soft=1", "", 400, "in the body"),
        ] {
            let answer = admin.post(path, "", body).await;
            assert_status(&answer, status);
            assert!(answer.contains(hint), "{path} {body}: {answer}");
        }
        for (path, status, hint) in [
            ("/v1/entries?tags=a", 400, "did you mean `tag`?"),
            ("/v1/entries?limit=0", 400, "from 1 to 1000"),
            ("/v1/entries?path=a", 400, "begins with `/`"),
            ("/v1/entries?tag=a&tag=b", 400, "twice"),
            ("/v1/entries?after=x", 400, "a number"),
            ("/v1/entries/7", 404, "no such entry"),
            ("/v1/invalidations?since=yesterday", 400, "2026-01-31T12:00:00Z"),
            ("/api/cache/stats?by=tenant", 400, "`layer`"),
        ] {
            let answer = admin.get(path, "").await;
            assert_status(&answer, status);
            assert!(answer.contains(hint), "{path}: {answer}");
        }
        admin.stop().await;
    }
}
