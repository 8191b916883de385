//! What becomes of answers whose framing is not canonical, under `origin_framing: lenient` and without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use http_body_util::BodyExt;
use larder::body::Body;
use larder::guard::Framing;
use larder::upstream::{BodyFailure, Error, Origin, Settings, Upstream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{OK, accept, fetch, get, how, listen, read, request, upstream, within};

const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
const ARIZQHYP: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: arizqhyp\r\n\r\n";

fn lenient(origin: Origin) -> Upstream {
    let settings = Settings::new(vec![origin]);
    Upstream::new(Settings { framing: Framing::Lenient, ..settings }).unwrap()
}

#[tokio::test]
async fn a_surplus_in_the_segment_of_the_answer_is_dropped_and_the_connection_closed() {
    for (answer, due) in [
        (format!("{OK} and more"), "ok"),
        (format!("{OK}{EVIL}"), "ok"),
        (format!("{OK}{}", "x".repeat(1 << 20)), "ok"),
        (format!("HTTP/1.1 204 No Content\r\n\r\n{EVIL}"), ""),
        (format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{EVIL}"), "ok"),
    ] {
        let (listener, origin) = listen().await;
        let script = async {
            let mut first = accept(&listener).await;
            first.head().await;
            // The connection may be closed before all of it has left.
            let _ = within(first.socket().write_all(answer.as_bytes())).await;
            accept(&listener).await.answer(OK).await;
            assert_eq!(first.rest().await, b"", "{due}");
        };
        let client = async {
            let upstream = lenient(origin);
            assert_eq!(fetch(&upstream).await.unwrap(), due);
            assert_eq!(fetch(&upstream).await.unwrap(), "ok");
        };
        tokio::join!(script, client);
    }
}

#[tokio::test]
async fn a_surplus_behind_the_last_piece_of_a_body_is_dropped() {
    let (listener, origin) = listen().await;
    let script = async {
        let mut first = accept(&listener).await;
        first.answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nha").await;
        first
    };
    let upstream = lenient(origin);
    let (mut first, response) = tokio::join!(script, within(upstream.send(get(), how())));
    let mut body = response.unwrap().into_body();
    assert_eq!(within(body.frame()).await.unwrap().unwrap().into_data().unwrap(), "ha");
    first.write(format!("lf!{EVIL}")).await;
    assert_eq!(within(body.collect()).await.unwrap().to_bytes(), "lf!");
    let script = async { accept(&listener).await.answer(OK).await };
    let (_, next) = tokio::join!(script, fetch(&upstream));
    assert_eq!(next.unwrap(), "ok");
    assert_eq!(first.rest().await, b"");
}

#[tokio::test]
async fn a_surplus_that_comes_later_closes_the_connection_and_answers_nobody() {
    for framing in [Framing::Strict, Framing::Lenient] {
        let (listener, origin) = listen().await;
        let script = async {
            let mut first = accept(&listener).await;
            first.answer(OK).await;
            first
        };
        let upstream = Upstream::new(Settings { framing, ..Settings::new(vec![origin]) }).unwrap();
        let (mut first, answer) = tokio::join!(script, fetch(&upstream));
        assert_eq!(answer.unwrap(), "ok");
        first.write(EVIL).await;
        let script = async {
            let mut second = accept(&listener).await;
            second.answer(OK).await;
            second
        };
        let (mut second, answer) = tokio::join!(script, fetch(&upstream));
        assert_eq!(answer.unwrap(), "ok");
        assert_eq!(first.rest().await, b"", "nothing of the second request");

        second.write(EVIL).await;
        assert_eq!(second.rest().await, b"", "closed before there is another");
        let script = async { accept(&listener).await.answer(OK).await };
        let post = request("POST", Body::Full(Bytes::from_static(b"once")));
        let (_, response) = tokio::join!(script, within(upstream.send(post, how())));
        assert_eq!(read(response.unwrap()).await, "ok");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_with_a_surplus_carries_a_second_request_however_busy() {
    let (listener, origin) = listen().await;
    let again = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&again);
    let server = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let mut request = [0; 1024];
                assert_ne!(socket.read(&mut request).await.unwrap(), 0);
                let _ = socket.write_all(format!("{OK}{EVIL}").as_bytes()).await;
                while let Ok(1..) = socket.read(&mut request).await {
                    counter.fetch_add(1, Relaxed);
                }
            });
        }
    });
    let upstream = lenient(origin);
    let clients = (0..8).map(|_| {
        let upstream = upstream.clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                let post = request("POST", Body::Empty);
                assert_eq!(read(within(upstream.send(post, how())).await.unwrap()).await, "ok");
            }
        })
    });
    futures_util::future::try_join_all(clients).await.unwrap();
    assert_eq!(again.load(Relaxed), 0);
    server.abort();
}

#[tokio::test]
async fn a_coding_that_is_not_chunked_lasts_until_the_connection_ends() {
    let (listener, origin) = listen().await;
    let script = async {
        let mut first = accept(&listener).await;
        first.answer(&format!("{ARIZQHYP}3\r\nabc\r\n")).await;
        first.write(EVIL).await;
        drop(first);
        accept(&listener).await.answer(OK).await;
    };
    let client = async {
        let upstream = lenient(origin);
        assert_eq!(fetch(&upstream).await.unwrap(), format!("3\r\nabc\r\n{EVIL}"));
        assert_eq!(fetch(&upstream).await.unwrap(), "ok");
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn a_reset_is_no_end_of_a_body_that_lasts_until_the_end() {
    let (listener, origin) = listen().await;
    let script = async {
        let (mut socket, _) = within(listener.accept()).await.unwrap();
        socket.set_zero_linger().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            within(socket.read_buf(&mut request)).await.unwrap();
        }
        socket.write_all(format!("{ARIZQHYP}half").as_bytes()).await.unwrap();
        socket
    };
    let upstream = lenient(origin);
    let (socket, response) = tokio::join!(script, within(upstream.send(get(), how())));
    let mut body = response.unwrap().into_body();
    assert_eq!(within(body.frame()).await.unwrap().unwrap().into_data().unwrap(), "half");
    drop(socket);
    let error = within(body.frame()).await.unwrap().unwrap_err();
    assert!(matches!(*error.downcast::<BodyFailure>().unwrap(), BodyFailure::Cut(_)));
}

#[tokio::test]
async fn two_framings_at_once_are_refused_even_leniently() {
    for bad in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: arizqhyp\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: arizqhyp, chunked\r\n\r\n0\r\n\r\n",
    ] {
        let (listener, origin) = listen().await;
        let script = async {
            let mut peer = accept(&listener).await;
            peer.answer(bad).await;
            assert_eq!(peer.rest().await, b"");
        };
        let client = async {
            let outcome = fetch(&lenient(origin)).await;
            assert!(matches!(outcome, Err(Error::BadResponse(_))), "{bad:?}: {outcome:?}");
        };
        tokio::join!(script, client);
    }
}

#[tokio::test]
async fn by_default_neither_a_surplus_nor_an_unknown_coding_is_an_answer() {
    for bad in [format!("{OK} and more"), format!("{OK}{EVIL}"), format!("{ARIZQHYP}ok")] {
        let (listener, origin) = listen().await;
        let script = async {
            let mut peer = accept(&listener).await;
            peer.answer(&bad).await;
            assert_eq!(peer.rest().await, b"");
        };
        let client = async {
            let outcome = fetch(&upstream([origin])).await;
            assert!(matches!(outcome, Err(Error::BadResponse(_))), "{bad:?}: {outcome:?}");
        };
        tokio::join!(script, client);
    }
}
