//! Tunnels: only after a 101 that was asked for.

use hyper_util::rt::TokioIo;
use larder::upstream::{Error, How, Settings, Upgrade, Upstream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{OK, accept, fetch, get, how, listen, upstream, within};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn websocket() -> How {
    How { upgrade: Upgrade::WebSocket, ..how() }
}

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways_and_holds_no_slot() {
    let (listener, origin) = listen().await;
    let upstream = Upstream::new(Settings { concurrency: 1, ..Settings::new(vec![origin]) }).unwrap();
    let script = async {
        let mut tunnel = accept(&listener).await;
        let head = tunnel.answer(&format!("{SWITCH}hello")).await;
        assert!(head.contains("\r\nconnection: upgrade\r\n") && head.contains("\r\nupgrade: websocket\r\n"));
        accept(&listener).await.answer(OK).await;
        tunnel.until("ping").await;
        tunnel.write("pong").await;
        assert_eq!(tunnel.rest().await, b"");
    };
    let client = async {
        let mut response = within(upstream.send(get(), websocket())).await.unwrap();
        assert_eq!(response.status(), 101);
        let mut tunnel = TokioIo::new(within(hyper::upgrade::on(&mut response)).await.unwrap());
        drop(response);
        assert_eq!(fetch(&upstream).await.unwrap(), "ok");
        tunnel.write_all(b"ping").await.unwrap();
        let mut seen = [0; 9];
        within(tunnel.read_exact(&mut seen)).await.unwrap();
        assert_eq!(&seen, b"hellopong");
        drop(tunnel);
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn a_refused_upgrade_is_a_plain_answer_and_the_connection_goes_on() {
    let (listener, origin) = listen().await;
    let script = async {
        let mut peer = accept(&listener).await;
        peer.answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
        peer.answer(OK).await;
    };
    let client = async {
        let upstream = upstream([origin]);
        assert_eq!(within(upstream.send(get(), websocket())).await.unwrap().status(), 403);
        assert_eq!(fetch(&upstream).await.unwrap(), "ok");
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn a_switch_that_was_not_asked_for_is_a_bad_response() {
    let other = SWITCH.replace("websocket", "h2c");
    for (how, answer) in [(how(), SWITCH), (websocket(), other.as_str())] {
        let (listener, origin) = listen().await;
        let script = async {
            let mut peer = accept(&listener).await;
            peer.answer(answer).await;
            assert_eq!(peer.rest().await, b"");
        };
        let client = async {
            let outcome = within(upstream([origin]).send(get(), how)).await;
            assert!(matches!(outcome, Err(Error::BadResponse(_))), "{:?}", outcome.map(|r| r.status()));
        };
        tokio::join!(script, client);
    }
}
