//! How long one party may keep another waiting: a reader that does not read, a tunnel in which nothing moves, an origin
//! that never comes to its point.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::doors::before_bytes;
use crate::harness::client::{next, read};
use crate::harness::origin::{Answer, Origin, Part};
use crate::harness::proxy::Proxy;
use crate::harness::raw::Raw;
use crate::harness::{Gate, play};

/// A silent minute is no failure of the origin here: only what a story is about runs out of patience.
const PATIENT: &str = "limits: { upstream_timeout: 24h }";

/// An HTTP/2 client that answers every ping, and never lets more than one byte of a body come.
async fn who_never_reads(proxy: &Proxy, method: &str, target: &str) -> http::Response<Incoming> {
    over_http2(proxy, method, target, 1).await
}

/// Asks over HTTP/2; no more than `window` bytes of the body come before it is read.
async fn over_http2(proxy: &Proxy, method: &str, target: &str, window: u32) -> http::Response<Incoming> {
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window);
    let (mut client, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(format!("http://localhost{target}"));
    client.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap()
}

/// One request at the origin at a time, which answers the first one with `first` and all others with `next`.
async fn one_at_a_time(first: Answer) -> (Origin, Proxy) {
    let origin = Origin::telling([first.header("cache-control", "no-store"), Answer::json("next")]).await;
    let yaml = "limits: { upstream_timeout: 24h, upstream_concurrency: 1 }\nroutes: { /a: 1h, /b: bypass }";
    let proxy = Proxy::start(&origin, yaml).await;
    (origin, proxy)
}

/// So many bytes, which are too many for every buffer on their way.
const LONG: usize = 512 * 1024;

fn long() -> Answer {
    Answer::json(" ".repeat(LONG))
}

/// Lets so many seconds pass, by steps in which everybody has a turn.
async fn pass_slowly(proxy: &Proxy, seconds: u64) {
    for _ in 0..seconds / 5 {
        pass(Duration::from_secs(5)).await;
        proxy.settled().await;
    }
}

/// Lets time pass, by steps in which everybody has a turn, until `done`.
async fn until_done<T>(proxy: &Proxy, done: &JoinHandle<T>) {
    while !done.is_finished() {
        proxy.settled().await;
        pass(Duration::from_secs(5)).await;
    }
}

/// Moves tokio's time on.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[test]
fn an_http2_client_that_never_reads_is_cut_before_the_others_wait_for_ever() {
    play(async {
        const CHUNK: usize = 64 * 1024;
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |_| {
            let parts = (0..64).map(|_| Part::Bytes(vec![b'x'; CHUNK].into()));
            parts.fold(Answer::json("start").part(Part::Gate(held.clone())), Answer::part)
        })
        .await;
        let yaml = format!("{PATIENT}\nroutes: {{ /a: {{ ttl: 1h, entry: 64KiB }} }}");
        let proxy = Proxy::start(&origin, &yaml).await;
        let idle = who_never_reads(&proxy, "GET", "/a").await;
        let mut other = proxy.get("/a").head().await;
        assert_eq!((next(other.body_mut()).await, origin.count()), ("start".into(), 1));
        gate.open();
        let other = tokio::spawn(read(other.into_body()));
        until_done(&proxy, &other).await;
        let (rest, whole) = other.await.unwrap();
        assert_eq!((rest.len(), whole), (64 * CHUNK, true));
        let (read, whole) = read(idle.into_body()).await;
        assert!(!whole && read.len() < 64 * CHUNK, "the one who did not read is cut off");
    });
}

#[test]
fn an_http2_client_that_never_reads_gives_its_slot_back() {
    for (method, target) in [("GET", "/a"), ("OPTIONS", "/a"), ("POST", "/a")] {
        play(async {
            let (origin, proxy) = one_at_a_time(long()).await;
            let idle = who_never_reads(&proxy, method, target).await;
            let waits = proxy.get("/b").under_way();
            pass_slowly(&proxy, 25).await;
            assert_eq!((waits.is_finished(), origin.count()), (false, 1), "{method} {target}");
            pass_slowly(&proxy, 10).await;
            assert_eq!(waits.await.unwrap().text(), "next", "{method} {target}");
            let (read, whole) = read(idle.into_body()).await;
            assert!(!whole && read.len() < LONG, "{method} {target}");
        });
    }
}

#[test]
fn an_http2_client_that_never_reads_lets_the_origin_go() {
    play(async {
        let (listener, proxy) = before_bytes(&format!("{PATIENT}\nroutes: {{ /b: bypass }}")).await;
        let origin = tokio::spawn(async move {
            let mut origin = Raw::accept(&listener).await;
            origin.head().await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LONG}\r\n\r\n");
            origin.send(head + &" ".repeat(LONG / 4)).await;
            origin.rest().await
        });
        let _idle = who_never_reads(&proxy, "GET", "/b").await;
        pass_slowly(&proxy, 25).await;
        assert!(!origin.is_finished());
        pass_slowly(&proxy, 10).await;
        assert_eq!(origin.await.unwrap(), "", "its connection is closed");
    });
}

#[test]
fn an_http2_client_that_reads_slowly_gets_everything() {
    play(async {
        let (_origin, proxy) = one_at_a_time(long()).await;
        let mut slow = over_http2(&proxy, "GET", "/b", 64 * 1024).await;
        let mut read = 0;
        while let Some(frame) = slow.body_mut().frame().await {
            read += frame.unwrap().into_data().unwrap().len();
            pass_slowly(&proxy, 10).await;
        }
        assert_eq!(read, LONG);
    });
}

#[test]
fn an_event_stream_over_http2_may_be_silent() {
    play(async {
        let gate = Gate::default();
        let events = Answer::new(200).header("content-type", "text/event-stream");
        let events = events.text("data: 1\n\n").part(Part::Gate(gate.clone())).text("data: 2\n\n");
        let (_origin, proxy) = one_at_a_time(events).await;
        let mut events = over_http2(&proxy, "GET", "/b", 64 * 1024).await;
        assert_eq!(next(events.body_mut()).await, "data: 1\n\n");
        pass_slowly(&proxy, 300).await;
        gate.open();
        let (rest, whole) = read(events.into_body()).await;
        assert_eq!((&rest[..], whole), (&b"data: 2\n\n"[..], true));
    });
}

#[test]
fn an_http2_client_that_leaves_lets_the_origin_go_at_once() {
    let silent = || Answer::json("begins").part(Part::Gate(Gate::default())).text("ends");
    for (first, window) in [(long(), 1), (silent(), 64 * 1024)] {
        play(async {
            let (_origin, proxy) = one_at_a_time(first).await;
            let leaves = over_http2(&proxy, "GET", "/a", window).await;
            let waits = proxy.get("/b").under_way();
            proxy.settled().await;
            assert!(!waits.is_finished());
            drop(leaves);
            assert_eq!(waits.await.unwrap().text(), "next");
        });
    }
}

#[test]
fn an_operator_who_does_not_come_to_the_point_is_let_go() {
    let hook = "POST /hook HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer secret\r\ncontent-length: 100\r\n\r\nproj";
    for (begun, answer) in [
        ("", ""),
        ("GET /livez HTTP/1.1\r\nhost: localhost\r\nx", "HTTP/1.1 408 "),
        (hook, "HTTP/1.1 408 "),
        ("GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n", "HTTP/1.1 200 "),
    ] {
        play(async {
            let origin = Origin::counting().await;
            let yaml = "webhooks: { /hook: { scheme: bearer, secrets: [secret] } }";
            let proxy = Proxy::start(&origin, yaml).await;
            let mut slow = Raw::connect(proxy.admin_address()).await;
            slow.send(begun).await;
            let ended = tokio::spawn(slow.rest());
            until_done(&proxy, &ended).await;
            let said = ended.await.unwrap();
            assert!(said.starts_with(answer) && said.is_empty() == answer.is_empty(), "{begun}: {said}");
        });
    }
}

#[test]
fn whoever_holds_every_place_at_the_admin_listener_has_none_at_the_front_door() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, "routes: { /a: 1h }").await;
        let mut idle = Vec::new();
        for _ in 0..larder::server::aside::CONNECTIONS {
            let mut raw = Raw::connect(proxy.admin_address()).await;
            raw.send("GET /livez HTTP/1.1\r\n").await;
            idle.push(raw);
        }
        let probe = proxy.admin_ask("GET", "/livez").under_way();
        assert_eq!(proxy.get("/a").reply().await.status, 200);
        assert!(!probe.is_finished(), "it waits for a place");
        until_done(&proxy, &probe).await;
        assert_eq!(probe.await.unwrap().status, 200);
    });
}

#[test]
fn an_origin_that_takes_its_time_over_a_state_frees_those_who_wait_for_it() {
    play(async {
        let (first, second, rest) = (Gate::default(), Gate::default(), Gate::default());
        let gates = [first.clone(), second.clone(), rest.clone()];
        let origin = Origin::start(move |seen| {
            let [first, second, rest] = gates.clone().map(Part::Gate);
            match seen.nth {
                0 => {
                    let slow = Answer::json("{").part(first).text(" ").part(second).text(" ").part(rest);
                    slow.text(r#""status": "done", "by": 1}"#)
                }
                _ => Answer::json(r#"{"status": "running"}"#),
            }
        })
        .await;
        let proxy = Proxy::start(&origin, "routes: { /a: { preset: job-status } }").await;
        let asked = proxy.get("/a").under_way();
        origin.arrived(1).await;
        let waits = proxy.get("/a").under_way();
        for gate in [first, second] {
            proxy.settled().await;
            pass(Duration::from_secs(20)).await;
            assert_eq!(origin.count(), 1);
            // A byte in time: the origin is not silent.
            gate.open();
        }
        assert_eq!(waits.await.unwrap().text(), r#"{"status": "running"}"#);
        assert!(!asked.is_finished());
        rest.open();
        let asked = asked.await.unwrap();
        assert!(asked.whole && asked.text().contains("done"), "{asked:?}");
        let hit = proxy.becomes("/a", "HIT").await;
        assert_eq!(hit.text(), asked.text());
    });
}
