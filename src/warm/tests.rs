//! The warmer before a door that answers as a test says.

use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode};
use jiff::tz::TimeZone;
use tokio::sync::Semaphore;

use crate::body::Body;
use crate::flow::identities::Person;
use crate::metrics::Cache;
use crate::route::identity::Digest;
use crate::store::entry::Entry;
use crate::warm::door::{Asking, Watch};
use crate::warm::pattern::Pattern;
use crate::warm::run::{Ending, Tally};
use crate::warm::task::Each;

use super::*;

type Answer = dyn Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync;

/// A door before which nothing is kept, and nobody is known.
struct Played(Box<Answer>);

impl Door for Played {
    fn ask(&self, asking: Asking) -> BoxFuture<'static, Response<Body>> {
        match asking {
            Asking::Path(head) => (self.0)(Request::from_parts(*head, Body::Empty)),
            Asking::Again(_) => unreachable!("nothing is learnt here"),
        }
    }

    fn kept(&self, _asking: Asking) -> Option<Arc<Entry>> {
        None
    }

    fn renew(&self, _asking: Asking) -> BoxFuture<'static, Option<Arc<Entry>>> {
        async { None }.boxed()
    }

    /// What ends in a digit was written then.
    fn last_written(&self, paths: &[&str]) -> Vec<Option<u64>> {
        paths.iter().map(|path| path.chars().last()?.to_digit(10).map(u64::from)).collect()
    }

    fn watch(&self, _watch: Watch) {}

    fn active(&self) -> Vec<Person> {
        Vec::new()
    }

    fn seen(&self, _whose: Digest) {}

    fn forget_absent(&self) {}

    fn is_off(&self) -> bool {
        false
    }

    fn forget(&self, _whose: Digest) {}

    fn in_the_name_of(&self, _person: &Person, _headers: &HeaderMap) -> Option<HeaderMap> {
        None
    }

    fn authority(&self) -> String {
        "api.test".into()
    }
}

fn settings(paths: &[&str]) -> Settings {
    let task = |path: &&str| Arc::new(Task { id: (*path).into(), ..Task::of_path(path).unwrap() });
    Settings {
        tasks: paths.iter().map(task).collect(),
        before_ready: Duration::from_secs(10),
        concurrency: 2,
        rate: None,
        headers: HeaderMap::new(),
        background: true,
        users: None,
        named_in: None,
        learn: None,
        ahead: None,
        grammar: Grammar {
            zone: TimeZone::UTC,
            read: |path, _| Task::of_path(path).ok_or_else(|| format!("{path} is no path")),
        },
    }
}

fn answer(status: StatusCode, cache: Cache) -> Response<Body> {
    with_body(status, cache, b"{}")
}

fn with_body(status: StatusCode, cache: Cache, body: &'static [u8]) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from_static(body)));
    *response.status_mut() = status;
    response.extensions_mut().insert(cache);
    response
}

struct Bench {
    readiness: Readiness,
    metrics: Arc<Metrics>,
    warmer: Warmer,
}

impl Bench {
    fn new<F, A>(settings: Settings, fetch: F) -> Self
    where
        F: Fn(Request<Body>) -> A + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let metrics = Arc::new(Metrics::new(&[]));
        let door = Played(Box::new(move |request| fetch(request).boxed()));
        let warmer = Warmer::new(settings, Arc::new(door), Clock::system(), Arc::clone(&metrics), None, None);
        Self { readiness: Readiness::warming(), metrics, warmer }
    }

    /// Lives until the list at start is done; how that went.
    async fn started(&self) -> run::State {
        let living = self.warmer.clone().live(self.readiness.clone());
        let done = async {
            loop {
                if let Some(run) = self.warmer.0.runs.all().first().cloned() {
                    return run.ended().await;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = living => unreachable!("it lives on"),
            state = done => state,
        }
    }
}

fn counts(state: &run::State) -> [usize; 4] {
    let Tally { stored, fresh, bypassed, failed, .. } = state.sum();
    [stored, fresh, bypassed, failed]
}

#[tokio::test]
async fn every_result_is_counted_and_then_it_is_ready() {
    let bench = Bench::new(
        settings(&["/stored", "/fresh", "/bypass", "/missing"]),
        async |request: Request<Body>| match request.uri().path() {
            "/stored" => answer(StatusCode::OK, Cache::Miss),
            "/fresh" => answer(StatusCode::OK, Cache::Hit),
            "/bypass" => answer(StatusCode::OK, Cache::Bypass),
            _ => answer(StatusCode::NOT_FOUND, Cache::Miss),
        },
    );
    let state = bench.started().await;
    assert_eq!((counts(&state), state.sum().bytes), ([1, 1, 1, 1], 4));
    assert_eq!(state.ended.unwrap().0, Ending::Partly);
    assert_eq!((state.errors[0].path.as_str(), state.errors[0].why.as_str()), ("/missing", "404 Not Found"));
    bench.readiness.reached(State::Ready).await;
    let metrics = bench.metrics.encode();
    assert!(metrics.contains(r#"larder_warm_requests_total{result="failed"} 1"#));
    assert!(metrics.contains(r#"larder_warm_runs_total{task="/stored",result="ok"} 1"#), "{metrics}");
    assert!(metrics.contains(r#"larder_warm_runs_total{task="/missing",result="failed"} 1"#));
}

#[tokio::test]
async fn requests_carry_the_configured_fields_and_come_in_order() {
    let mut settings = settings(&["/a", "/b", "/c3", "/c7"]);
    settings.tasks[1] = Arc::new(Task { priority: 200, ..(*settings.tasks[1]).clone() });
    settings.concurrency = 1;
    settings.headers.insert("authorization", "Bearer t".parse().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let bench = Bench::new(settings, move |request: Request<Body>| {
        let credential = request.headers()["authorization"].to_str().unwrap().to_owned();
        noted.lock().unwrap().push(format!("{} {} {credential}", request.method(), request.uri()));
        async { answer(StatusCode::OK, Cache::Miss) }
    });
    bench.started().await;
    let seen: Vec<String> = seen.lock().unwrap().clone();
    assert_eq!(seen, ["GET /b Bearer t", "GET /c7 Bearer t", "GET /c3 Bearer t", "GET /a Bearer t"]);
}

#[tokio::test]
async fn no_more_than_concurrency_are_under_way() {
    let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let bench = Bench::new(settings(&["/1", "/2", "/3", "/4", "/5"]), move |_request| {
        let (under_way, most) = (Arc::clone(&under_way), Arc::clone(&seen));
        async move {
            most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            under_way.fetch_sub(1, Ordering::SeqCst);
            answer(StatusCode::OK, Cache::Miss)
        }
    });
    assert_eq!(counts(&bench.started().await), [5, 0, 0, 0]);
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_rate_are_begun() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (noted, begun) = (Arc::clone(&seen), tokio::time::Instant::now());
    let settings = Settings { rate: Some(10), concurrency: 4, ..settings(&["/a", "/b", "/c", "/d"]) };
    let bench = Bench::new(settings, move |_request| {
        noted.lock().unwrap().push((tokio::time::Instant::now() - begun).as_millis());
        async { answer(StatusCode::OK, Cache::Miss) }
    });
    bench.started().await;
    assert_eq!(*seen.lock().unwrap(), [0, 100, 200, 300]);
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_comes_up_late_is_warmed_all_the_same() {
    let tries = AtomicUsize::new(0);
    let bench = Bench::new(settings(&["/a"]), move |_request| {
        let is_away = tries.fetch_add(1, Ordering::SeqCst) < 3;
        async move {
            match is_away {
                true => answer(StatusCode::BAD_GATEWAY, Cache::Bypass),
                false => answer(StatusCode::OK, Cache::Miss),
            }
        }
    });
    assert_eq!(counts(&bench.started().await), [1, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_never_comes_up_is_given_up() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let bench = Bench::new(settings(&["/a"]), move |_request| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { answer(StatusCode::SERVICE_UNAVAILABLE, Cache::Bypass) }
    });
    assert_eq!(counts(&bench.started().await), [0, 0, 0, 1]);
    assert_eq!(tries.load(Ordering::SeqCst), worker::TRIES as usize);
}

#[tokio::test(start_paused = true)]
async fn readiness_waits_no_longer_than_before_ready() {
    let gate = Arc::new(Semaphore::new(0));
    let closed = Arc::clone(&gate);
    let bench = Bench::new(settings(&["/slow"]), move |_request| {
        let gate = Arc::clone(&closed);
        async move {
            gate.acquire().await.unwrap().forget();
            answer(StatusCode::OK, Cache::Miss)
        }
    });
    let mut work = std::pin::pin!(bench.started());
    assert!(tokio::time::timeout(Duration::from_millis(9_999), &mut work).await.is_err());
    assert_eq!(bench.readiness.state(), State::Warming);
    assert!(tokio::time::timeout(Duration::from_millis(2), &mut work).await.is_err());
    assert_eq!(bench.readiness.state(), State::Ready);
    gate.add_permits(1);
    assert_eq!(counts(&work.await), [1, 0, 0, 0]);
}

#[tokio::test]
async fn a_warming_that_is_given_up_does_not_keep_traffic_off() {
    let bench =
        Bench::new(settings(&["/never"]), async |_request| std::future::pending::<Response<Body>>().await);
    {
        let mut work = std::pin::pin!(bench.warmer.clone().live(bench.readiness.clone()));
        assert!((&mut work).now_or_never().is_none());
        assert_eq!(bench.readiness.state(), State::Warming);
    }
    assert_eq!(bench.readiness.state(), State::Ready);
}

#[tokio::test]
async fn it_runs_as_a_task_of_its_own() {
    let bench = Bench::new(settings(&["/a"]), async |_request| answer(StatusCode::OK, Cache::Miss));
    let task = tokio::spawn(bench.warmer.clone().live(bench.readiness.clone()));
    bench.readiness.reached(State::Ready).await;
    assert_eq!(bench.warmer.runs()[0].state().sum().stored, 1);
    task.abort();
}

#[tokio::test]
async fn a_cut_body_is_a_failure() {
    let bench = Bench::new(settings(&["/a"]), async |_request| {
        let frames = futures_util::stream::iter([
            Ok(http_body::Frame::data(Bytes::from_static(b"half"))),
            Err("reset".into()),
        ]);
        Response::new(Body::stream(http_body_util::StreamBody::new(frames)))
    });
    let state = bench.started().await;
    assert_eq!((state.sum().failed, state.sum().bytes), (1, 4));
}

fn listed(pages: paging::Pages, limit: usize) -> Settings {
    let each = Each { from: "/list".into(), select: "$.items[*].id".parse().unwrap(), limit, pages };
    let mut settings = settings(&[]);
    let get = Pattern::parse("/item/{id}").unwrap();
    settings.tasks = vec![Arc::new(Task {
        id: "items".into(),
        get: Some(get),
        each: Some(each),
        ..Task::of_path("/x").unwrap()
    })];
    settings.concurrency = 1;
    settings
}

async fn fetched(settings: Settings, lists: fn(&str) -> Response<Body>) -> (Vec<String>, run::State) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let bench = Bench::new(settings, move |request: Request<Body>| {
        let target = request.uri().to_string();
        noted.lock().unwrap().push(target.clone());
        async move {
            match target.starts_with("/item") {
                true => answer(StatusCode::OK, Cache::Miss),
                false => lists(&target),
            }
        }
    });
    let state = bench.started().await;
    let seen = seen.lock().unwrap().clone();
    (seen, state)
}

#[tokio::test]
async fn a_list_is_read_page_by_page_until_it_is_empty_or_enough() {
    let lists = |target: &str| match target {
        "/list?page=1" => with_body(StatusCode::OK, Cache::Miss, br#"{"items":[{"id":1},{"id":"a/b"}]}"#),
        "/list?page=2" => with_body(StatusCode::OK, Cache::Miss, br#"{"items":[{"id":2},{"id":1}]}"#),
        "/list?page=3" => with_body(StatusCode::OK, Cache::Miss, br#"{"items":[]}"#),
        _ => panic!("{target} is not asked for"),
    };
    let pages = paging::Pages::Query("page".into());
    let (seen, state) = fetched(listed(pages.clone(), 100), lists).await;
    let mut paths: Vec<&str> =
        seen.iter().map(String::as_str).filter(|path| path.starts_with("/item")).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/item/1", "/item/1", "/item/2", "/item/a%2Fb"]);
    assert_eq!((counts(&state), state.total), ([4, 0, 0, 0], 4));
    let (seen, _) = fetched(listed(pages, 2), lists).await;
    assert!(!seen.contains(&"/list?page=2".to_owned()), "two are enough: {seen:?}");
}

#[tokio::test]
async fn a_list_that_cannot_be_read_is_a_failure_that_says_why() {
    type Case = (fn(&str) -> Response<Body>, &'static str);
    let cases: [Case; 3] = [
        (|_| with_body(StatusCode::OK, Cache::Miss, b"<html>"), "not JSON"),
        (|_| answer(StatusCode::FORBIDDEN, Cache::Miss), "403"),
        (|_| with_body(StatusCode::OK, Cache::Miss, br#"{"items":[{"id":{"a":1}}]}"#), "say nothing of `id`"),
    ];
    for (lists, why) in cases {
        let (_, state) = fetched(listed(paging::Pages::One, 100), lists).await;
        assert_eq!((counts(&state), state.total), ([0, 0, 0, 1], 1), "{why}");
        assert!(state.errors[0].why.contains(why), "{:?}", state.errors);
        assert_eq!(state.ended.unwrap().0, Ending::Failed);
    }
}

#[tokio::test]
async fn what_is_asked_for_by_hand_is_a_run_of_its_own_that_can_be_stopped() {
    let bench = Bench::new(settings(&[]), async |_request| std::future::pending::<Response<Body>>().await);
    let task = tokio::spawn(bench.warmer.clone().live(bench.readiness.clone()));
    let paths = ["/a".to_owned(), "/b".to_owned(), "/c".to_owned()];
    let run = bench.warmer.warm((&[], &paths), None, "ci").await.unwrap();
    assert_eq!((run.state().total, &run.trigger), (3, &Trigger::Asked("ci".into())));
    run.cancel();
    let state = run.ended().await;
    assert_eq!(state.ended.unwrap().0, Ending::Cancelled);
    task.abort();
}

#[tokio::test]
async fn who_asks_again_and_again_is_refused_until_a_run_has_ended_and_a_task_named_twice_is_one() {
    let bench =
        Bench::new(settings(&["/a"]), async |_request| std::future::pending::<Response<Body>>().await);
    let ids = ["/a".to_owned(), "/a".to_owned()];
    let ask = async || bench.warmer.warm((&ids, &ids[..1]), None, "ci").await;
    let first = ask().await.unwrap();
    assert_eq!((first.state().parts.len(), first.state().total), (1, 1));
    for _ in 1..begin::MAX_ASKED {
        ask().await.unwrap();
    }
    assert_eq!(ask().await.unwrap_err(), Refused::Busy);
    let task = tokio::spawn(bench.warmer.clone().live(bench.readiness.clone()));
    first.cancel();
    first.ended().await;
    ask().await.unwrap();
    task.abort();
}

#[tokio::test]
async fn what_is_not_ascii_is_asked_for_as_clients_spell_it() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let bench = Bench::new(settings(&["/ä?q=😀&r=%41"]), move |request: Request<Body>| {
        noted.lock().unwrap().push(request.uri().to_string());
        async { answer(StatusCode::OK, Cache::Miss) }
    });
    bench.started().await;
    assert_eq!(*seen.lock().unwrap(), ["/%C3%A4?q=%F0%9F%98%80&r=%41"]);
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_refused() {
    let bench = Bench::new(settings(&["/a"]), async |_request| answer(StatusCode::OK, Cache::Miss));
    let refused = async |tasks: &[&str], paths: &[&str], identity| {
        let own = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        bench.warmer.warm((&own(tasks), &own(paths)), identity, "ci").await.unwrap_err()
    };
    assert_eq!(refused(&["b"], &[], None).await, Refused::Task("b".into()));
    for path in ["http://elsewhere.example/", "not a path", "//elsewhere/", "/a/{id}", "/a b"] {
        assert_eq!(refused(&[], &[path], None).await, Refused::Path(path.into()));
    }
    assert_eq!(refused(&["/a"], &[], Some("42")).await, Refused::Identity);
    let off = Settings { background: false, ..settings(&["/a"]) };
    let bench = Bench::new(off, async |_request| answer(StatusCode::OK, Cache::Miss));
    assert_eq!(bench.warmer.warm((&[], &[]), None, "ci").await.unwrap_err(), Refused::Off);
    assert_eq!(counts(&bench.started().await), [1, 0, 0, 0], "the list at start is fetched all the same");
}
