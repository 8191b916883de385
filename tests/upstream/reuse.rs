//! When a connection is used again, and when a request is sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use larder::body::Body;
use larder::upstream::{Error, Pool, Repeated, Settings, Upstream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{OK, Peer, accept, fetch, get, how, listen, read, request, upstream, within};

#[tokio::test]
async fn a_connection_is_used_again_after_a_clean_end() {
    let answers = [
        OK,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nHost: evil\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 999\r\n\r\n",
        OK,
    ];
    let (listener, origin) = listen().await;
    let script = async {
        let mut peer = accept(&listener).await;
        for answer in answers {
            peer.answer(answer).await;
        }
    };
    let client = async {
        let upstream = upstream([origin]);
        for _ in answers {
            fetch(&upstream).await.unwrap();
        }
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_and_leaves_the_connection_in_step() {
    let (listener, origin) = listen().await;
    let script = async {
        let mut peer = accept(&listener).await;
        peer.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").await;
        peer.answer(OK).await;
    };
    let client = async {
        let upstream = upstream([origin]);
        let head = within(upstream.send(request("HEAD", Body::Empty), how())).await.unwrap();
        assert_eq!(head.headers()["content-length"], "2");
        assert_eq!(read(head).await, "");
        assert_eq!(fetch(&upstream).await.unwrap(), "ok");
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn a_connection_that_is_to_be_closed_is_not_used_again() {
    for last in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok",
    ] {
        let (listener, origin) = listen().await;
        let script = async {
            let mut first = accept(&listener).await;
            first.answer(last).await;
            accept(&listener).await.answer(OK).await;
            assert_eq!(first.rest().await, b"", "{last}");
        };
        let client = async {
            let upstream = upstream([origin]);
            assert_eq!(fetch(&upstream).await.unwrap(), "ok");
            assert_eq!(fetch(&upstream).await.unwrap(), "ok", "{last}");
        };
        tokio::join!(script, client);
    }
}

#[tokio::test]
async fn bytes_that_nobody_asked_for_are_no_answer_to_the_next_request() {
    for surplus in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ] {
        let (listener, origin) = listen().await;
        let script = async {
            let mut first = accept(&listener).await;
            first.answer(surplus).await;
            accept(&listener).await.answer(OK).await;
            assert_eq!(first.rest().await, b"", "{surplus}");
        };
        let client = async {
            let upstream = upstream([origin]);
            if let Ok(response) = within(upstream.send(get(), how())).await {
                let _ = within(response.into_body().collect()).await;
            }
            assert_eq!(fetch(&upstream).await.unwrap(), "ok", "{surplus}");
        };
        tokio::join!(script, client);
    }
}

#[tokio::test]
async fn an_answer_left_unread_closes_its_connection() {
    let (listener, origin) = listen().await;
    let script = async {
        let mut first = accept(&listener).await;
        first.answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok").await;
        assert_eq!(first.rest().await, b"");
        accept(&listener).await.answer(OK).await;
    };
    let client = async {
        let upstream = upstream([origin]);
        drop(within(upstream.send(get(), how())).await.unwrap());
        assert_eq!(fetch(&upstream).await.unwrap(), "ok");
    };
    tokio::join!(script, client);
}

/// Answers one request; reads the next one, and dies.
async fn dies_after_the_second_request(mut peer: Peer) {
    peer.answer(OK).await;
    peer.head().await;
}

#[tokio::test]
async fn a_get_on_a_stale_connection_is_sent_again_once_on_a_new_one() {
    let (listener, origin) = listen().await;
    let script = async {
        dies_after_the_second_request(accept(&listener).await).await;
        accept(&listener).await.head().await;
    };
    let client = async {
        let upstream = upstream([origin]);
        assert_eq!(fetch(&upstream).await.unwrap(), "ok");
        let outcome = fetch(&upstream).await;
        assert!(matches!(outcome, Err(Error::Closed)), "{outcome:?}: the new connection died as well");
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn a_put_in_memory_is_sent_again_whole() {
    let (listener, origin) = listen().await;
    let script = async {
        dies_after_the_second_request(accept(&listener).await).await;
        let mut second = accept(&listener).await;
        assert!(second.head().await.starts_with("PUT /a?b=1 "));
        second.until("body").await;
        second.write(OK).await;
    };
    let client = async {
        let upstream = upstream([origin]);
        fetch(&upstream).await.unwrap();
        let put = request("PUT", Body::Full(Bytes::from_static(b"body")));
        assert_eq!(read(within(upstream.send(put, how())).await.unwrap()).await, "ok");
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn what_may_have_had_its_effect_is_not_sent_again() {
    let streamed = || {
        let frames = [Ok(http_body::Frame::data(Bytes::from_static(b"body")))];
        Body::stream(http_body_util::StreamBody::new(futures_util::stream::iter(frames)))
    };
    for (method, body) in
        [("POST", Body::Full(Bytes::from_static(b"body"))), ("POST", Body::Empty), ("PUT", streamed())]
    {
        let (listener, origin) = listen().await;
        let script = async { dies_after_the_second_request(accept(&listener).await).await };
        let client = async {
            let upstream = upstream([origin]);
            fetch(&upstream).await.unwrap();
            let outcome = within(upstream.send(request(method, body), how())).await;
            let error = outcome.expect_err("it died");
            assert!(matches!(error, Error::Closed), "{error:?}");
            assert!(!error.never_sent());
        };
        tokio::join!(script, client);
    }
}

#[tokio::test]
async fn what_may_have_arrived_is_not_said_never_to_have_been_sent() {
    let (listener, origin) = listen().await;
    let script = async {
        let peer = accept(&listener).await;
        drop(listener);
        dies_after_the_second_request(peer).await;
    };
    let client = async {
        let upstream = upstream([origin]);
        fetch(&upstream).await.unwrap();
        let outcome = within(upstream.send(request("DELETE", Body::Empty), how())).await;
        let error = outcome.expect_err("nobody listens any more");
        assert!(!error.never_sent(), "{error:?}");
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn an_answer_to_a_second_copy_says_so_where_the_first_may_have_had_its_effect() {
    for (method, is_told) in [("DELETE", true), ("PUT", true), ("GET", false)] {
        let (listener, origin) = listen().await;
        let script = async {
            dies_after_the_second_request(accept(&listener).await).await;
            accept(&listener).await.answer(OK).await;
        };
        let client = async {
            let upstream = upstream([origin]);
            let first = within(upstream.send(request(method, Body::Empty), how())).await.unwrap();
            assert!(first.extensions().get::<Repeated>().is_none());
            read(first).await;
            let second = within(upstream.send(request(method, Body::Empty), how())).await.unwrap();
            assert_eq!(second.extensions().get::<Repeated>().is_some(), is_told, "{method}");
        };
        tokio::join!(script, client);
    }
}

#[tokio::test]
async fn a_connection_that_the_origin_closed_while_idle_fails_no_request() {
    let (listener, origin) = listen().await;
    let script = async {
        let mut first = accept(&listener).await;
        first.answer(OK).await;
        drop(first);
        let mut second = accept(&listener).await;
        second.head().await;
        second.until("body").await;
        second.write(OK).await;
    };
    let client = async {
        let upstream = upstream([origin]);
        fetch(&upstream).await.unwrap();
        let post = request("POST", Body::Full(Bytes::from_static(b"body")));
        assert_eq!(read(within(upstream.send(post, how())).await.unwrap()).await, "ok");
    };
    tokio::join!(script, client);
}

/// What the origin may do to an idle connection.
#[derive(Clone, Copy, Debug)]
enum Spoil {
    Surplus,
    Close,
    Reset,
}

#[tokio::test]
async fn a_post_of_which_nothing_was_written_is_sent_on_a_new_connection() {
    for (spoil, body) in [Spoil::Surplus, Spoil::Close, Spoil::Reset]
        .into_iter()
        .flat_map(|spoil| [(spoil, Body::Empty), (spoil, Body::Full(Bytes::from_static(b"body")))])
    {
        let (listener, origin) = listen().await;
        let upstream = upstream([origin]);
        let answered = async {
            let (mut socket, _) = within(listener.accept()).await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                within(socket.read_buf(&mut request)).await.unwrap();
            }
            socket.write_all(OK.as_bytes()).await.unwrap();
            socket
        };
        let (mut first, fetched) = tokio::join!(answered, fetch(&upstream));
        fetched.unwrap();
        for _ in 0..10 {
            // The connection's task comes to rest.
            tokio::task::yield_now().await;
        }
        // Nothing here gives the runtime a turn, so it does not know of it when the request goes out.
        let first = match spoil {
            Spoil::Surplus => {
                first.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil").await.unwrap();
                Some(Peer::new(first))
            }
            Spoil::Close => {
                drop(first);
                None
            }
            Spoil::Reset => {
                socket2::SockRef::from(&first).set_linger(Some(Duration::ZERO)).unwrap();
                drop(first);
                None
            }
        };
        let script = async {
            let mut second = accept(&listener).await;
            assert!(second.answer(OK).await.starts_with("POST /a?b=1 "));
            if let Some(first) = first {
                assert_eq!(first.rest().await, b"");
            }
        };
        let client = async {
            let answer = within(upstream.send(request("POST", body), how())).await;
            assert_eq!(read(answer.unwrap_or_else(|why| panic!("{spoil:?}: {why}"))).await, "ok");
        };
        tokio::join!(script, client);
    }
}

#[tokio::test]
async fn connections_too_long_idle_or_too_old_are_not_used_again() {
    for pool in [
        Pool { idle_time: Duration::ZERO, ..Pool::default() },
        Pool { max_age: Duration::ZERO, ..Pool::default() },
        Pool { idle_connections: 0, ..Pool::default() },
    ] {
        let (listener, origin) = listen().await;
        let script = async {
            accept(&listener).await.answer(OK).await;
            accept(&listener).await.answer(OK).await;
        };
        let client = async {
            let upstream = Upstream::new(Settings { pool, ..Settings::new(vec![origin]) }).unwrap();
            fetch(&upstream).await.unwrap();
            fetch(&upstream).await.unwrap();
        };
        tokio::join!(script, client);
    }
}

#[tokio::test]
async fn the_connection_used_last_is_used_first() {
    let (listener, origin) = listen().await;
    let upstream = upstream([origin]);
    let (one, two, mut peers) = {
        let script = async { [accept(&listener).await, accept(&listener).await] };
        let (one, two) = (upstream.send(get(), how()), upstream.send(get(), how()));
        let answered = async {
            let mut peers = script.await;
            for peer in &mut peers {
                peer.answer(OK).await;
            }
            peers
        };
        let (one, two, peers) = within(async { tokio::join!(one, two, answered) }).await;
        (one.unwrap(), two.unwrap(), peers)
    };
    let (mut newest, mut oldest) = (one.into_body(), two.into_body());
    // Which of the two answers came over which connection is known by which one is asked next.
    within(oldest.frame()).await.unwrap().unwrap();
    within(newest.frame()).await.unwrap().unwrap();
    let [a, b] = &mut peers;
    let script = async {
        let mut turns = Vec::new();
        for _ in 0..3 {
            tokio::select! {
                _ = a.answer(OK) => turns.push('a'),
                _ = b.answer(OK) => turns.push('b'),
            }
        }
        turns
    };
    let client = async {
        for _ in 0..3 {
            fetch(&upstream).await.unwrap();
        }
    };
    let (turns, ()) = tokio::join!(script, client);
    assert!(turns.windows(2).all(|pair| pair[0] == pair[1]), "{turns:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_never_more_connections_than_requests_at_once() {
    const AT_ONCE: usize = 16;
    let (listener, origin) = listen().await;
    let opened = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&opened);
    let server = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            counter.fetch_add(1, Relaxed);
            tokio::spawn(async move {
                let mut request = [0; 1024];
                while let Ok(1..) = socket.read(&mut request).await {
                    socket.write_all(OK.as_bytes()).await.unwrap();
                }
            });
        }
    });
    let upstream = upstream([origin]);
    let clients = (0..AT_ONCE).map(|_| {
        let upstream = upstream.clone();
        tokio::spawn(async move {
            for _ in 0..100 {
                let post = request("POST", Body::Full(Bytes::from_static(b"body")));
                assert_eq!(read(within(upstream.send(post, how())).await.unwrap()).await, "ok");
            }
        })
    });
    futures_util::future::try_join_all(clients).await.unwrap();
    assert!(opened.load(Relaxed) <= AT_ONCE, "{opened:?}");
    server.abort();
}

#[tokio::test]
async fn what_is_no_response_is_a_bad_response() {
    for bad in
        ["SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n"]
    {
        let (listener, origin) = listen().await;
        let script = async {
            let mut peer = accept(&listener).await;
            peer.answer(bad).await;
            assert_eq!(peer.rest().await, b"");
        };
        let client = async {
            let outcome = fetch(&upstream([origin])).await;
            assert!(matches!(outcome, Err(Error::BadResponse(_))), "{bad:?}: {outcome:?}");
        };
        tokio::join!(script, client);
    }
}
