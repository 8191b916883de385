//! Fetches the routes that matter before the first client comes, through the same path as a client.
//!
//! Invariant: readiness is released at the end, after `before_ready`, or when warming is given up, whichever comes
//! first. Paths only: a request never leaves the configured upstream, and no redirect is followed.
//! It refuses to know how an answer is fetched and stored: that is the closure it is given.

pub mod ahead;
pub mod learn;
mod plan;

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use indicatif::{ProgressBar, ProgressStyle};

use crate::body::Body;
use crate::metrics::{Cache, Metrics};
use crate::ready::{Readiness, State};
use crate::warm::learn::watch::Settings as Watch;

/// How often a path is asked for while the origin is away; with the pauses between, some 40 seconds.
const TRIES: u32 = 10;
/// The pause after the first try; it doubles, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// `warm:` of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is fetched at start, in no order.
    pub requests: Vec<Request>,
    /// `/readyz` waits at most this long for the list (`warm.before_ready`).
    pub before_ready: Duration,
    /// How many at once (`warm.concurrency`).
    pub concurrency: usize,
    /// Fields sent with every one of them (`warm.headers`).
    pub headers: http::HeaderMap,
    /// What goes on behind everybody's back; nothing where `warm.background` is off.
    pub watch: Watch,
}

/// One entry of `warm.requests`.
#[derive(Clone, Debug)]
pub struct Request {
    /// Origin-form path and query (`/api/stats?x=1`).
    pub path: String,
    /// Higher goes first (default 100).
    pub priority: i64,
}

/// What came of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Fetched from the origin into the cache.
    pub stored: usize,
    /// Was in the cache already.
    pub fresh: usize,
    /// Answered, but not kept: the route or the answer does not allow it.
    pub bypassed: usize,
    /// Not answered, answered with an error, or cut.
    pub failed: usize,
}

/// Fetches the list of `settings` and makes `readiness` ready.
///
/// `fetch` is the path of a client: it is given GET requests with an origin-form target, the fields of `settings` and
/// no Host, and answers with a [`Cache`] among the response's extensions (else the answer counts as stored). Answers
/// of 502, 503 and 504 are taken for an origin that is not up yet and tried again, a bounded number of times. Dropping
/// the future gives warming up.
pub async fn run<F, Answer>(
    settings: &Settings,
    fetch: F,
    readiness: &Readiness,
    metrics: &Metrics,
) -> Summary
where
    F: Fn(http::Request<Body>) -> Answer,
    Answer: Future<Output = Response<Body>>,
{
    let release = Release(readiness);
    let mut work = std::pin::pin!(fetch_all(settings, fetch, metrics));
    match tokio::time::timeout(settings.before_ready, &mut work).await {
        Ok(summary) => summary,
        Err(_elapsed) => {
            tracing::info!("warm.before_ready has passed: ready, and warming on in the background");
            drop(release);
            work.await
        }
    }
}

/// Makes ready on drop: a warming that ends in any way must not keep traffic off for good.
struct Release<'a>(&'a Readiness);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.reach(State::Ready);
    }
}

/// What came of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Stored,
    Fresh,
    Bypassed,
    Failed,
    /// The origin is not up yet, or not now.
    Away,
}

async fn fetch_all<F, Answer>(settings: &Settings, fetch: F, metrics: &Metrics) -> Summary
where
    F: Fn(http::Request<Body>) -> Answer,
    Answer: Future<Output = Response<Body>>,
{
    let mut pending = plan::plan(&settings.requests);
    let mut summary = Summary::default();
    let bar = progress(pending.len());
    let (mut tries, mut pause) = (1, FIRST_PAUSE);
    while !pending.is_empty() {
        // Collected before it is a stream: the compiler cannot see that a stream over borrowed paths is Send.
        let asked: Vec<_> = pending.into_iter().map(|path| ask(path, &settings.headers, &fetch)).collect();
        let mut outcomes = futures_util::stream::iter(asked).buffer_unordered(settings.concurrency.max(1));
        let mut away = Vec::new();
        while let Some((path, outcome)) = outcomes.next().await {
            match outcome {
                Outcome::Away if tries < TRIES => away.push(path),
                outcome => {
                    summary.count(outcome, metrics);
                    bar.inc(1);
                }
            }
        }
        pending = away;
        if !pending.is_empty() {
            tracing::debug!(paths = pending.len(), ?pause, "the origin is away: warming waits");
            tokio::time::sleep(pause).await;
            (tries, pause) = (tries + 1, LONGEST_PAUSE.min(pause * 2));
        }
    }
    bar.finish_and_clear();
    let Summary { stored, fresh, bypassed, failed } = summary;
    if summary != Summary::default() {
        tracing::info!(stored, fresh, bypassed, failed, "warmed");
    }
    summary
}

impl Summary {
    fn count(&mut self, outcome: Outcome, metrics: &Metrics) {
        let (number, label) = match outcome {
            Outcome::Stored => (&mut self.stored, "stored"),
            Outcome::Fresh => (&mut self.fresh, "fresh"),
            Outcome::Bypassed => (&mut self.bypassed, "bypass"),
            Outcome::Failed | Outcome::Away => (&mut self.failed, "failed"),
        };
        *number += 1;
        metrics.warmed(label);
    }
}

/// Asks for `path` and waits for the answer's end.
async fn ask<'p, F, Answer>(path: &'p str, headers: &http::HeaderMap, fetch: &F) -> (&'p str, Outcome)
where
    F: Fn(http::Request<Body>) -> Answer,
    Answer: Future<Output = Response<Body>>,
{
    let outcome = match request(path, headers) {
        Some(request) => outcome(fetch(request).await).await,
        None => Outcome::Failed,
    };
    (path, outcome)
}

/// A GET for `path`; `None` if it is not a path of the configured upstream.
fn request(path: &str, headers: &http::HeaderMap) -> Option<http::Request<Body>> {
    let uri: http::Uri = path.parse().ok().filter(|_| path.starts_with('/'))?;
    let mut request = http::Request::new(Body::Empty);
    *request.uri_mut() = uri;
    request.headers_mut().clone_from(headers);
    Some(request)
}

/// Reads an answer to its end: only a whole one is stored.
async fn outcome(response: Response<Body>) -> Outcome {
    let (status, cache) = (response.status(), response.extensions().get::<Cache>().copied());
    match status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            return Outcome::Away;
        }
        status if status.is_client_error() || status.is_server_error() => return Outcome::Failed,
        _ => {}
    }
    // What is not kept need not be read: it may be a stream without end.
    if cache == Some(Cache::Bypass) {
        return Outcome::Bypassed;
    }
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return Outcome::Failed;
        }
    }
    match cache {
        Some(Cache::Hit | Cache::Stale) => Outcome::Fresh,
        _ => Outcome::Stored,
    }
}

/// A bar on stderr; indicatif shows it on a terminal only.
fn progress(length: usize) -> ProgressBar {
    if length == 0 {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("warming {bar:30} {pos}/{len} {elapsed}");
    ProgressBar::new(length as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Semaphore;

    fn settings(paths: &[&str]) -> Settings {
        Settings {
            requests: paths.iter().map(|&path| Request { path: path.into(), priority: 100 }).collect(),
            before_ready: Duration::from_secs(10),
            concurrency: 2,
            headers: http::HeaderMap::new(),
            watch: Watch::default(),
        }
    }

    fn answer(status: StatusCode, cache: Cache) -> Response<Body> {
        let mut response = Response::new(Body::from(Bytes::from_static(b"{}")));
        *response.status_mut() = status;
        response.extensions_mut().insert(cache);
        response
    }

    struct Bench {
        readiness: Readiness,
        metrics: Metrics,
    }

    fn bench() -> Bench {
        Bench { readiness: Readiness::warming(), metrics: Metrics::new(&[]) }
    }

    #[tokio::test]
    async fn every_result_is_counted_and_then_it_is_ready() {
        let bench = bench();
        let fetch = async |request: http::Request<Body>| match request.uri().path() {
            "/stored" => answer(StatusCode::OK, Cache::Miss),
            "/fresh" => answer(StatusCode::OK, Cache::Hit),
            "/bypass" => answer(StatusCode::OK, Cache::Bypass),
            _ => answer(StatusCode::NOT_FOUND, Cache::Miss),
        };
        let settings = settings(&[
            "/stored",
            "/fresh",
            "/bypass",
            "/missing",
            "http://elsewhere.example/",
            "not a path",
        ]);
        let summary = run(&settings, fetch, &bench.readiness, &bench.metrics).await;
        assert_eq!(summary, Summary { stored: 1, fresh: 1, bypassed: 1, failed: 3 });
        assert_eq!(bench.readiness.state(), State::Ready);
        assert!(bench.metrics.encode().contains(r#"larder_warm_requests_total{result="failed"} 3"#));
    }

    #[tokio::test]
    async fn requests_carry_the_configured_fields_and_come_in_order() {
        let bench = bench();
        let mut settings = settings(&["/a", "/b"]);
        settings.requests[1].priority = 200;
        settings.concurrency = 1;
        settings.headers.insert("authorization", "Bearer t".parse().unwrap());
        let seen = Mutex::new(Vec::new());
        let fetch = async |request: http::Request<Body>| {
            let credential = request.headers()["authorization"].to_str().unwrap().to_owned();
            seen.lock().unwrap().push(format!("{} {} {credential}", request.method(), request.uri()));
            answer(StatusCode::OK, Cache::Miss)
        };
        run(&settings, fetch, &bench.readiness, &bench.metrics).await;
        assert_eq!(seen.into_inner().unwrap(), ["GET /b Bearer t", "GET /a Bearer t"]);
    }

    #[tokio::test]
    async fn no_more_than_concurrency_are_under_way() {
        let bench = bench();
        let (under_way, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let fetch = async |_request| {
            most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            under_way.fetch_sub(1, Ordering::SeqCst);
            answer(StatusCode::OK, Cache::Miss)
        };
        let paths = ["/1", "/2", "/3", "/4", "/5"];
        run(&settings(&paths), fetch, &bench.readiness, &bench.metrics).await;
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_that_comes_up_late_is_warmed_all_the_same() {
        let bench = bench();
        let tries = AtomicUsize::new(0);
        let fetch = async |_request| match tries.fetch_add(1, Ordering::SeqCst) {
            0..3 => answer(StatusCode::BAD_GATEWAY, Cache::Bypass),
            _ => answer(StatusCode::OK, Cache::Miss),
        };
        let summary = run(&settings(&["/a"]), fetch, &bench.readiness, &bench.metrics).await;
        assert_eq!(summary, Summary { stored: 1, ..Summary::default() });
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_that_never_comes_up_is_given_up() {
        let bench = bench();
        let tries = AtomicUsize::new(0);
        let fetch = async |_request| {
            tries.fetch_add(1, Ordering::SeqCst);
            answer(StatusCode::SERVICE_UNAVAILABLE, Cache::Bypass)
        };
        let summary = run(&settings(&["/a"]), fetch, &bench.readiness, &bench.metrics).await;
        assert_eq!(summary, Summary { failed: 1, ..Summary::default() });
        assert_eq!(tries.load(Ordering::SeqCst), TRIES as usize);
    }

    #[tokio::test(start_paused = true)]
    async fn readiness_waits_no_longer_than_before_ready() {
        let bench = bench();
        let gate = Semaphore::new(0);
        let fetch = async |_request| {
            gate.acquire().await.unwrap().forget();
            answer(StatusCode::OK, Cache::Miss)
        };
        let settings = settings(&["/slow"]);
        let mut work = std::pin::pin!(run(&settings, fetch, &bench.readiness, &bench.metrics));
        assert!(tokio::time::timeout(Duration::from_millis(9_999), &mut work).await.is_err());
        assert_eq!(bench.readiness.state(), State::Warming);
        assert!(tokio::time::timeout(Duration::from_millis(2), &mut work).await.is_err());
        assert_eq!(bench.readiness.state(), State::Ready);
        gate.add_permits(1);
        assert_eq!(work.await.stored, 1);
    }

    #[tokio::test]
    async fn a_warming_that_is_given_up_does_not_keep_traffic_off() {
        let bench = bench();
        let settings = settings(&["/never"]);
        let fetch = async |_request| std::future::pending::<Response<Body>>().await;
        {
            let mut work = std::pin::pin!(run(&settings, fetch, &bench.readiness, &bench.metrics));
            assert!(futures_util::FutureExt::now_or_never(&mut work).is_none());
            assert_eq!(bench.readiness.state(), State::Warming);
        }
        assert_eq!(bench.readiness.state(), State::Ready);
    }

    #[tokio::test]
    async fn it_runs_as_a_task_of_its_own() {
        let readiness = Readiness::warming();
        let ready = readiness.clone();
        let task = tokio::spawn(async move {
            let fetch = |_request| async { answer(StatusCode::OK, Cache::Miss) };
            run(&settings(&["/a"]), fetch, &readiness, &Metrics::new(&[])).await
        });
        assert_eq!(task.await.unwrap().stored, 1);
        ready.reached(State::Ready).await;
    }

    #[tokio::test]
    async fn a_cut_body_is_a_failure() {
        let bench = bench();
        let fetch = async |_request| {
            let frames = futures_util::stream::iter([
                Ok(http_body::Frame::data(Bytes::from_static(b"half"))),
                Err("reset".into()),
            ]);
            Response::new(Body::stream(http_body_util::StreamBody::new(frames)))
        };
        let summary = run(&settings(&["/a"]), fetch, &bench.readiness, &bench.metrics).await;
        assert_eq!(summary.failed, 1);
    }
}
