//! The admin listener: probes and metrics now, the rest of the API later.
//!
//! Invariant: nothing but the probes is answered without the token, if there is one, and on a loopback listener
//! nothing is answered to a page from elsewhere. It refuses to know how the numbers and states that it shows come about.

mod access;
mod problem;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router, middleware};
use serde_json::json;
use tokio::net::TcpListener;

use crate::admin::access::Access;
use crate::admin::problem::Problem;
use crate::metrics::{self, Metrics};
use crate::ready::{self, Readiness};

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

/// One of `admin.tokens`.
#[derive(Clone)]
pub struct Token {
    /// Its name, for the audit list.
    pub name: String,
    /// The bearer token.
    pub token: String,
    /// What it may do.
    pub may: Role,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("name", &self.name).field("may", &self.may).finish_non_exhaustive()
    }
}

/// What the holder of a token may do; each may what the one before may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Read,
    /// Invalidate.
    Purge,
    /// Everything; what `admin.token` may.
    All,
}

/// What the admin API shows.
#[derive(Clone, Debug)]
pub struct Sources {
    /// What `/readyz` tells.
    pub readiness: Readiness,
    /// What `/metrics` tells.
    pub metrics: Arc<Metrics>,
}

type Route = (&'static str, fn() -> MethodRouter<Sources>);

/// What never asks for the token, and all that the probes listener has.
const PROBES: [Route; 3] =
    [("/livez", || get(livez)), ("/readyz", || get(readyz)), ("/metrics", || get(scrape))];

const API: [Route; 1] = [("/openapi.json", || get(openapi))];

/// Everything, for a listener on `listen`; all but the probes asks for `token`, if there is one.
pub fn router(listen: SocketAddr, token: Option<&str>, sources: Sources) -> Router {
    let access = Arc::new(Access::new(listen, token));
    routes(PROBES.into_iter().chain(API))
        .with_state(sources)
        .layer(middleware::from_fn_with_state(access, access::check))
}

/// `/livez /readyz /metrics` only, open to everyone who reaches the listener.
pub fn probes_router(sources: Sources) -> Router {
    routes(PROBES).with_state(sources)
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
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

fn routes(routes: impl IntoIterator<Item = Route>) -> Router<Sources> {
    routes
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods()))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "The admin API has no such path."))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "The path does not take this method; see Allow.")
        })
}

async fn livez() -> Response {
    ([(CACHE_CONTROL, "no-store")], "ok\n").into_response()
}

async fn readyz(State(sources): State<Sources>) -> Response {
    let state = sources.readiness.state();
    let status = if state == ready::State::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let check = |fails: bool| if fails { "fail" } else { "pass" };
    let body = json!({
        "status": state.as_str(),
        "checks": {
            "warm": check(state == ready::State::Warming),
            "serving": check(state == ready::State::Draining),
        },
    });
    (status, [(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

async fn scrape(State(sources): State<Sources>) -> Response {
    let fields = [(CONTENT_TYPE, metrics::CONTENT_TYPE), (CACHE_CONTROL, "no-store")];
    (fields, sources.metrics.encode()).into_response()
}

async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], include_str!("openapi.json")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    /// An admin listener on a free port, as if it had been configured on `listen`.
    struct Admin {
        address: SocketAddr,
        readiness: Readiness,
        stop: oneshot::Sender<()>,
        task: tokio::task::JoinHandle<io::Result<()>>,
    }

    impl Admin {
        async fn start(router: impl FnOnce(SocketAddr, Sources) -> Router) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let readiness = Readiness::warming();
            let sources =
                Sources { readiness: readiness.clone(), metrics: Arc::new(Metrics::new(&["/api"])) };
            let (stop, stopped) = oneshot::channel::<()>();
            let done = async move { drop(stopped.await) };
            let task = tokio::spawn(serve(listener, router(address, sources), done));
            Self { address, readiness, stop, task }
        }

        async fn loopback() -> Self {
            Self::start(|address, sources| router(address, None, sources)).await
        }

        /// Sends `GET path` with the given further lines and gives the whole answer.
        async fn get(&self, path: &str, fields: &str) -> String {
            self.send("GET", path, &format!("host: localhost\r\n{fields}")).await
        }

        async fn send(&self, method: &str, path: &str, fields: &str) -> String {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n{fields}\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        }

        async fn stop(self) {
            self.stop.send(()).unwrap();
            self.task.await.unwrap().unwrap();
        }
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
        admin.readiness.reach(ready::State::Ready);
        let answer = admin.get("/readyz", "").await;
        assert_status(&answer, 200);
        assert!(
            answer.ends_with(r#"{"status":"ready","checks":{"warm":"pass","serving":"pass"}}"#),
            "{answer}"
        );
        admin.readiness.reach(ready::State::Draining);
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
        let admin = Admin::start(|address, sources| router(address, Some("s3cret"), sources)).await;
        for (path, _) in PROBES {
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
        let admin = Admin::start(|_, sources| router(([0, 0, 0, 0], 8081).into(), Some("t"), sources)).await;
        assert_status(&admin.send("GET", "/livez", "host: larder.monitoring.svc\r\n").await, 200);
        admin.stop().await;
    }

    #[tokio::test]
    async fn the_probes_listener_has_nothing_but_probes() {
        let admin = Admin::start(|_, sources| probes_router(sources)).await;
        assert_status(&admin.send("GET", "/livez", "host: 10.1.2.3\r\n").await, 200);
        assert_status(&admin.get("/openapi.json", "").await, 404);
        admin.stop().await;
    }

    #[tokio::test]
    async fn the_openapi_file_says_what_there_is() {
        let admin = Admin::loopback().await;
        let file: serde_json::Value = serde_json::from_str(include_str!("openapi.json")).unwrap();
        let described: Vec<&str> = file["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let served: Vec<&str> = PROBES.into_iter().chain(API).map(|(path, _)| path).collect();
        assert_eq!(described, served);
        for path in served {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
                let answer = admin.send(method, path, "host: localhost\r\ncontent-length: 0\r\n").await;
                let is_described = file["paths"][path].get(method.to_ascii_lowercase()).is_some();
                assert_eq!(!answer.starts_with("HTTP/1.1 405"), is_described, "{method} {path}");
            }
        }
        assert_eq!(file["info"]["version"], env!("CARGO_PKG_VERSION"));
        admin.stop().await;
    }
}
