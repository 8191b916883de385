//! How long one party may keep another waiting: a reader that does not read, a tunnel in which nothing moves, an origin
//! that never comes to its point.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::harness::client::{next, read};
use crate::harness::origin::{Answer, Origin, Part};
use crate::harness::proxy::Proxy;
use crate::harness::{Gate, play};

/// A silent minute is no failure of the origin here: only what a story is about runs out of patience.
const PATIENT: &str = "limits: { upstream_timeout: 24h }";

/// An HTTP/2 client that answers every ping, and never lets more than one byte of a body come.
async fn who_never_reads(proxy: &Proxy, target: &str) -> http::Response<Incoming> {
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(1);
    let (mut client, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let uri = format!("http://localhost{target}");
    client.send_request(Request::get(uri).body(Empty::<Bytes>::new()).unwrap()).await.unwrap()
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
        let idle = who_never_reads(&proxy, "/a").await;
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
