//! Interim (1xx) answers: to the client whose own request is at the origin, at once, and to nobody else; never kept.
//!
//! Client and origin are bare sockets: what counts is which bytes are there before which.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

use crate::doors::{before_bytes, silence};
use crate::harness::client::read;
use crate::harness::play;
use crate::harness::proxy::Proxy;
use crate::harness::raw::Raw;

const HOUR: &str = "routes: { /a: 1h, /b: 1h }";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </x.css>; rel=preload\r\n\r\n";
/// The same, as a client reads it.
const HINTED: &str = "http/1.1 103 early hints\r\nlink: </x.css>; rel=preload\r\n\r\n";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A client that has asked for `/a`, and the origin that has its request.
async fn asked(origin: &TcpListener, proxy: &Proxy) -> (Raw, Raw) {
    let mut client = Raw::connect(proxy.address).await;
    client.send(get("/a")).await;
    let mut app = Raw::accept(origin).await;
    app.head().await;
    (client, app)
}

/// Reads a final answer without anything before it.
async fn final_answer(client: &mut Raw, cache: &str, body: &str) {
    let head = client.head().await;
    assert!(head.starts_with("http/1.1 200 ") && head.contains(&format!("x-cache: {cache}\r\n")), "{head}");
    assert!(!head.contains("link: "), "{head}");
    assert_eq!(client.until(body).await, body);
}

#[test]
fn an_interim_answer_is_there_before_the_origin_has_made_the_final_one() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let (mut client, mut app) = asked(&origin, &proxy).await;
        app.send(HINTS).await;
        assert_eq!(client.head().await, HINTED);
        app.send(ok("one")).await;
        final_answer(&mut client, "miss", "one").await;
    });
}

#[test]
fn interim_answers_keep_their_order_and_come_before_a_final_one_that_came_with_them() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let (mut client, mut app) = asked(&origin, &proxy).await;
        app.send(format!("HTTP/1.1 102 Processing\r\n\r\n{HINTS}HTTP/1.1 199\r\nX: y\r\n\r\n{}", ok("one")))
            .await;
        assert_eq!(client.head().await, "http/1.1 102 processing\r\n\r\n");
        assert_eq!(client.head().await, HINTED);
        assert_eq!(client.head().await, "http/1.1 199 \r\nx: y\r\n\r\n");
        final_answer(&mut client, "miss", "one").await;
    });
}

#[test]
fn an_interim_answer_carries_what_is_for_the_client_only() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let (mut client, mut app) = asked(&origin, &proxy).await;
        app.send(
            "HTTP/1.1 103 Early Hints\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
             Surrogate-Key: k\r\nContent-Length: 0\r\nX-My: 1\r\n\r\n",
        )
        .await;
        assert_eq!(client.head().await, "http/1.1 103 early hints\r\nx-my: 1\r\n\r\n");
        app.send(ok("one")).await;
        final_answer(&mut client, "miss", "one").await;
    });
}

#[test]
fn a_hit_carries_no_interim_answer_and_nothing_of_one() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let (mut client, mut app) = asked(&origin, &proxy).await;
        app.send(format!("{HINTS}{}", ok("one"))).await;
        assert_eq!(client.head().await, HINTED);
        final_answer(&mut client, "miss", "one").await;
        client.send(get("/a")).await;
        final_answer(&mut client, "hit", "one").await;
    });
}

#[test]
fn a_connection_stays_good_after_interim_answers() {
    play(async {
        let (origin, proxy) = before_bytes("defaults: { unmatched: bypass }").await;
        let (mut client, mut app) = asked(&origin, &proxy).await;
        for n in 0..5 {
            let body = format!("body {n}");
            app.send(format!("{HINTS}{HINTS}{}", ok(&body))).await;
            assert_eq!((client.head().await, client.head().await), (HINTED.into(), HINTED.into()));
            final_answer(&mut client, "bypass", &body).await;
            client.send(get("/a")).await;
            // The connection to the origin too: it is asked on the same one.
            app.head().await;
        }
        app.send(ok("last")).await;
        final_answer(&mut client, "bypass", "last").await;
    });
}

#[test]
fn a_write_hears_of_its_progress_while_its_body_is_still_sent() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let mut client = Raw::connect(proxy.address).await;
        client.send("POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\nabc").await;
        let mut app = Raw::accept(&origin).await;
        app.head().await;
        app.until("abc").await;
        app.send("HTTP/1.1 102 Processing\r\n\r\n").await;
        assert_eq!(client.head().await, "http/1.1 102 processing\r\n\r\n");
        client.send("def").await;
        app.until("def").await;
        app.send(HINTS).await;
        assert_eq!(client.head().await, HINTED);
        app.send(ok("done")).await;
        final_answer(&mut client, "bypass", "done").await;
    });
}

#[test]
fn go_on_is_said_once_by_us_and_not_again_when_the_origin_says_it() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let mut client = Raw::connect(proxy.address).await;
        client
            .send("POST /a HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            .await;
        assert_eq!(client.head().await, "http/1.1 100 continue\r\n\r\n");
        client.send("abc").await;
        let mut app = Raw::accept(&origin).await;
        app.until("abc").await;
        app.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n").await;
        assert_eq!(client.head().await, "http/1.1 102 processing\r\n\r\n");
        app.send(ok("done")).await;
        final_answer(&mut client, "bypass", "done").await;
    });
}

#[test]
fn an_http_1_0_client_gets_the_final_answer_alone() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let mut client = Raw::connect(proxy.address).await;
        client.send("GET /a HTTP/1.0\r\nHost: localhost\r\n\r\n").await;
        let mut app = Raw::accept(&origin).await;
        app.head().await;
        app.send(HINTS).await;
        proxy.settled().await;
        app.send(format!("{HINTS}{}", ok("one"))).await;
        let text = client.rest().await;
        assert!(text.starts_with("HTTP/1.0 200 OK") && text.ends_with("one"), "{text}");
        assert!(!text.contains(" 103 "), "{text}");
    });
}

#[test]
fn over_http2_the_final_answer_comes_alone_and_whole() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let stream = TcpStream::connect(proxy.address).await.unwrap();
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("http://localhost/a").body(Full::<Bytes>::default()).unwrap();
        let answer = tokio::spawn(client.send_request(request));
        let mut app = Raw::accept(&origin).await;
        app.head().await;
        app.send(HINTS).await;
        proxy.settled().await;
        app.send(ok("one")).await;
        let (head, body) = answer.await.unwrap().unwrap().into_parts();
        assert_eq!((head.status.as_u16(), head.headers.get("link")), (200, None));
        assert_eq!(read(body).await, ("one".into(), true));
    });
}

#[test]
fn pipelined_requests_get_each_their_own_before_their_own_final_answer() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let mut client = Raw::connect(proxy.address).await;
        client.send(get("/a") + &get("/b") + &get("/a")).await;
        let mut app = Raw::accept(&origin).await;
        assert!(app.head().await.starts_with("get /a "));
        app.send(HINTS).await;
        assert_eq!(client.head().await, HINTED);
        app.send(ok("one")).await;
        final_answer(&mut client, "miss", "one").await;
        assert!(app.head().await.starts_with("get /b "));
        app.send(format!("HTTP/1.1 102 Processing\r\n\r\n{}", ok("two"))).await;
        assert_eq!(client.head().await, "http/1.1 102 processing\r\n\r\n");
        final_answer(&mut client, "miss", "two").await;
        final_answer(&mut client, "hit", "one").await;
    });
}

#[test]
fn a_passenger_gets_the_answer_and_only_the_one_who_asked_what_came_before_it() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let (mut pilot, mut app) = asked(&origin, &proxy).await;
        let mut passenger = Raw::connect(proxy.address).await;
        passenger.send(get("/a")).await;
        proxy.settled().await;
        app.send(HINTS).await;
        assert_eq!(pilot.head().await, HINTED);
        app.send(ok("one")).await;
        final_answer(&mut pilot, "miss", "one").await;
        final_answer(&mut passenger, "miss", "one").await;
    });
}

#[test]
fn a_client_that_leaves_after_an_interim_answer_changes_nothing_for_the_next() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let (mut client, mut app) = asked(&origin, &proxy).await;
        app.send(HINTS).await;
        assert_eq!(client.head().await, HINTED);
        drop(client);
        proxy.settled().await;
        app.send(format!("{HINTS}{HINTS}{}", ok("one"))).await;
        assert_eq!(proxy.becomes("/a", "HIT").await.text(), "one");
    });
}

#[test]
fn an_origin_that_speaks_of_its_progress_is_waited_for_anew_and_not_for_ever() {
    play(async {
        let (origin, proxy) = before_bytes(&format!("limits: {{ upstream_timeout: 1m }}\n{HOUR}")).await;
        let (mut client, mut app) = asked(&origin, &proxy).await;
        for _ in 0..3 {
            silence(Duration::from_secs(50)).await;
            app.send(HINTS).await;
            assert_eq!(client.head().await, HINTED);
        }
        silence(Duration::from_secs(61)).await;
        let head = client.head().await;
        assert!(head.starts_with("http/1.1 504 "), "{head}");
    });
}

#[test]
fn a_flood_of_interim_answers_is_cut_and_nothing_is_kept() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let (mut client, mut app) = asked(&origin, &proxy).await;
        for _ in 0..16 {
            app.send(HINTS).await;
            assert_eq!(client.head().await, HINTED);
        }
        app.send(format!("{HINTS}{}", ok("one"))).await;
        let head = client.head().await;
        assert!(head.starts_with("http/1.1 502 "), "{head}");
        assert_eq!(app.rest().await, "", "the connection to the origin is closed");
        let (mut again, mut app) = asked(&origin, &proxy).await;
        app.send(ok("two")).await;
        final_answer(&mut again, "miss", "two").await;
    });
}

#[test]
fn what_comes_while_an_entry_is_confirmed_is_passed_on_and_not_merged() {
    play(async {
        let (origin, proxy) = before_bytes("routes: { /a: 1m }").await;
        let (mut client, mut app) = asked(&origin, &proxy).await;
        app.send("HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 3\r\n\r\none").await;
        final_answer(&mut client, "miss", "one").await;
        proxy.pass_secs(60);
        client.send(get("/a")).await;
        assert!(app.head().await.contains("if-none-match: \"v1\""));
        app.send(HINTS).await;
        assert_eq!(client.head().await, HINTED);
        app.send("HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n").await;
        final_answer(&mut client, "revalidated", "one").await;
        client.send(get("/a")).await;
        final_answer(&mut client, "hit", "one").await;
    });
}

#[test]
fn nobody_hears_of_what_comes_while_an_entry_is_refreshed_behind_its_answer() {
    play(async {
        let (origin, proxy) = before_bytes("routes: { /a: { ttl: 1m, stale_while_revalidate: 1m } }").await;
        let (mut client, mut app) = asked(&origin, &proxy).await;
        app.send(ok("one")).await;
        final_answer(&mut client, "miss", "one").await;
        proxy.pass_secs(60);
        client.send(get("/a")).await;
        final_answer(&mut client, "stale", "one").await;
        app.head().await;
        // Whoever asks meanwhile waits for nothing that is told there.
        client.send(get("/a")).await;
        app.send(HINTS).await;
        final_answer(&mut client, "stale", "one").await;
        app.send(ok("two")).await;
        assert_eq!(proxy.becomes("/a", "HIT").await.text(), "two");
    });
}

#[test]
fn hints_before_a_websocket_leave_the_tunnel_alone() {
    play(async {
        let (origin, proxy) = before_bytes(HOUR).await;
        let mut client = Raw::connect(proxy.address).await;
        client
            .send(
                "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            )
            .await;
        let mut app = Raw::accept(&origin).await;
        app.head().await;
        let agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        app.send(format!("{HINTS}{agreed}hello")).await;
        assert_eq!(client.head().await, HINTED);
        assert!(client.head().await.starts_with("http/1.1 101 "));
        assert_eq!(client.until("hello").await, "hello");
        client.send("and back").await;
        app.until("and back").await;
    });
}
