//! Bodies in both directions: framing, early answers, cuts, constant memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use larder::body::{Body, BodyError};
use larder::guard::RESPONSE_FIELDS_MAX;
use larder::upstream::BodyFailure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::harness::{OK, accept, fetch, get, how, listen, read, request, upstream, within};

/// A body of unknown length whose bytes come when the test says so.
fn gated() -> (mpsc::UnboundedSender<Result<Frame<Bytes>, BodyError>>, Body) {
    let (bytes, mut body) = mpsc::unbounded_channel();
    (bytes, Body::stream(StreamBody::new(stream::poll_fn(move |cx| body.poll_recv(cx)))))
}

fn data(bytes: &'static str) -> Result<Frame<Bytes>, BodyError> {
    Ok(Frame::data(bytes.into()))
}

#[tokio::test]
async fn every_request_is_framed_once_and_by_its_body() {
    let unknown = || Body::stream(StreamBody::new(stream::iter([data("abc"), data("d")])));
    let chunked = "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
    for (method, body, end) in [
        ("GET", Body::Empty, "example.com\r\n\r\n"),
        ("DELETE", Body::Empty, "example.com\r\n\r\n"),
        ("POST", Body::Empty, "content-length: 0\r\n\r\n"),
        ("POST", Body::Full("abc".into()), "content-length: 3\r\n\r\nabc"),
        ("GET", Body::Full("abc".into()), "content-length: 3\r\n\r\nabc"),
        ("POST", unknown(), chunked),
        ("GET", unknown(), chunked),
    ] {
        let (listener, origin) = listen().await;
        let script = async {
            let mut peer = accept(&listener).await;
            let written = peer.until(end).await;
            let host = "host: api.example.com\r\n";
            let line = format!("{method} /a?b=1 HTTP/1.1\r\n");
            let framing = end.trim_start_matches("example.com\r\n");
            assert!(written == format!("{line}{host}{framing}"), "{written}");
            peer.write(OK).await;
        };
        let client = async {
            let mut request = request(method, body);
            request.headers_mut().insert("content-length", http::HeaderValue::from_static("77"));
            within(upstream([origin]).send(request, how())).await.unwrap();
        };
        tokio::join!(script, client);
    }
}

#[tokio::test]
async fn an_answer_with_as_many_fields_as_the_guard_lets_through_is_delivered() {
    let (listener, origin) = listen().await;
    let fields = "X-A: b\r\n".repeat(RESPONSE_FIELDS_MAX - 1);
    let script = async {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok");
        accept(&listener).await.answer(&answer).await;
    };
    let client = async { fetch(&upstream([origin])).await };
    assert_eq!(tokio::join!(script, client).1.unwrap(), "ok");
}

#[tokio::test]
async fn an_answer_with_a_head_as_large_as_the_guard_lets_through_is_delivered() {
    let (listener, origin) = listen().await;
    let (start, end) = ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: ", "\r\n\r\n");
    let value = "x".repeat((64 << 10) - start.len() - end.len());
    let script = async { accept(&listener).await.answer(&format!("{start}{value}{end}ok")).await };
    let client = async {
        let response = within(upstream([origin]).send(get(), how())).await.unwrap();
        assert_eq!(response.headers()["x-a"], *value);
        assert_eq!(read(response).await, "ok");
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn a_truncated_body_never_ends_cleanly() {
    for begun in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nok",
    ] {
        let (listener, origin) = listen().await;
        let script = async {
            accept(&listener).await.answer(begun).await;
            accept(&listener).await.answer(OK).await;
        };
        let client = async {
            let upstream = upstream([origin]);
            let response = within(upstream.send(get(), how())).await.unwrap();
            let error = within(response.into_body().collect()).await.expect_err(begun);
            let failure = error.downcast::<BodyFailure>().unwrap();
            assert!(matches!(*failure, BodyFailure::Cut(_)), "{begun}: {failure}");
            assert_eq!(fetch(&upstream).await.unwrap(), "ok");
        };
        tokio::join!(script, client);
    }
}

#[tokio::test]
async fn an_early_refusal_is_delivered_and_the_upload_stops() {
    let (listener, origin) = listen().await;
    let script = async {
        let mut peer = accept(&listener).await;
        peer.head().await;
        peer.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno").await;
        peer
    };
    let client = async {
        let (bytes, body) = gated();
        bytes.send(data("first")).unwrap();
        let response = within(upstream([origin]).send(request("POST", body), how())).await.unwrap();
        (response, bytes)
    };
    let (mut peer, (response, bytes)) = tokio::join!(script, client);
    assert_eq!(response.status(), 413);
    bytes.send(data("second")).unwrap();
    within(bytes.closed()).await;
    peer.write("!").await;
    assert_eq!(read(response).await, "no!");
    let seen = peer.rest().await;
    assert!(
        seen.ends_with(b"first\r\n"),
        "nothing more, no clean end, and the connection is closed: {seen:?}"
    );
}

#[tokio::test]
async fn an_early_refusal_is_delivered_though_the_origin_hung_up() {
    let (listener, origin) = listen().await;
    let script = async {
        let mut peer = accept(&listener).await;
        peer.head().await;
        peer.write("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
            .await;
        // Unread bytes make this a reset, not an end.
    };
    let client = async {
        let frames = stream::repeat_with(|| Ok(Frame::data(Bytes::from(vec![b'x'; 1 << 16])))).take(1600);
        let body = Body::stream(StreamBody::new(frames));
        let response = within(upstream([origin]).send(request("POST", body), how())).await.unwrap();
        assert_eq!(response.status(), 413);
        assert_eq!(read(response).await, "no");
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn an_answer_that_overtakes_its_request_ends_the_upload_and_the_connection() {
    let (listener, origin) = listen().await;
    let script = async {
        let mut peer = accept(&listener).await;
        peer.answer("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(peer.rest().await, b"5\r\nfirst\r\n");
        accept(&listener).await.answer(OK).await;
    };
    let client = async {
        let upstream = upstream([origin]);
        let (bytes, body) = gated();
        bytes.send(data("first")).unwrap();
        let response = within(upstream.send(request("POST", body), how())).await.unwrap();
        assert_eq!(response.status(), 204);
        within(bytes.closed()).await;
        assert_eq!(fetch(&upstream).await.unwrap(), "ok");
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn an_origin_may_read_on_while_it_answers() {
    let (listener, origin) = listen().await;
    let script = async {
        let mut peer = accept(&listener).await;
        peer.head().await;
        peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        for word in ["one", "two"] {
            peer.until(&format!("3\r\n{word}\r\n")).await;
            peer.write(format!("3\r\n{word}\r\n")).await;
        }
        peer.until("0\r\n\r\n").await;
        peer.write("0\r\n\r\n").await;
        peer.answer(OK).await;
    };
    let client = async {
        let upstream = upstream([origin]);
        let (bytes, body) = gated();
        let mut echo = within(upstream.send(request("POST", body), how())).await.unwrap().into_body();
        for word in ["one", "two"] {
            bytes.send(data(word)).unwrap();
            assert_eq!(within(echo.frame()).await.unwrap().unwrap().into_data().unwrap(), word);
        }
        drop(bytes);
        assert!(within(echo.frame()).await.is_none());
        assert_eq!(fetch(&upstream).await.unwrap(), "ok");
    };
    tokio::join!(script, client);
}

const CHUNK: usize = 1 << 16;
const CHUNKS: usize = 1600;
/// What may lie in buffers between one end and the other: ours, and the two of the kernel.
const OUTSTANDING: usize = 16 << 20;

#[tokio::test]
async fn a_hundred_mebibytes_go_up_in_constant_memory() {
    let (listener, origin) = listen().await;
    let taken = Arc::new(AtomicUsize::new(0));
    let produced = Arc::new(AtomicUsize::new(0));
    let script = async {
        let mut peer = accept(&listener).await;
        assert!(peer.head().await.contains("transfer-encoding: chunked"));
        let mut buffer = vec![0; CHUNK];
        while taken.load(Relaxed) < CHUNK * CHUNKS {
            let read = within(peer.socket().read(&mut buffer)).await.unwrap();
            assert_ne!(read, 0);
            let seen = taken.fetch_add(read, Relaxed) + read;
            assert!(produced.load(Relaxed).saturating_sub(seen) < OUTSTANDING);
        }
        peer.write(OK).await;
    };
    let client = async {
        let produced = Arc::clone(&produced);
        let frames = stream::repeat_with(move || {
            produced.fetch_add(CHUNK, Relaxed);
            Ok(Frame::data(Bytes::from(vec![b'x'; CHUNK])))
        });
        let body = Body::stream(StreamBody::new(frames.take(CHUNKS)));
        let response = within(upstream([origin]).send(request("PUT", body), how())).await.unwrap();
        assert_eq!(read(response).await, "ok");
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn a_hundred_mebibytes_come_down_in_constant_memory() {
    let (listener, origin) = listen().await;
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let script = tokio::spawn(async move {
        let mut peer = accept(&listener).await;
        peer.answer(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", CHUNK * CHUNKS)).await;
        let chunk = vec![b'x'; CHUNK];
        for _ in 0..CHUNKS {
            peer.socket().write_all(&chunk).await.unwrap();
            counter.fetch_add(CHUNK, Relaxed);
        }
    });
    let mut body = within(upstream([origin]).send(get(), how())).await.unwrap().into_body();
    let mut taken = 0;
    while let Some(frame) = within(body.frame()).await {
        taken += frame.unwrap().into_data().unwrap().len();
        assert!(written.load(Relaxed).saturating_sub(taken) < OUTSTANDING);
    }
    assert_eq!(taken, CHUNK * CHUNKS);
    script.await.unwrap();
}
