//! A WebSocket: the upgrade is forwarded, and once the origin has agreed the two ends are joined byte by byte.
//!
//! Invariant: nothing is joined before the origin's 101, and nothing stays joined in which no byte moves for [`IDLE`]. While the
//! process drains a tunnel goes on until open requests are cut.

use std::io;
use std::time::Duration;

use http::header::{CONNECTION, SEC_WEBSOCKET_KEY, UPGRADE};
use http::request::Parts as Head;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

use crate::body::Body;
use crate::drain::Phase;
use crate::flow::serve::Answer;
use crate::flow::{Visit, pass};
use crate::policy::cache_status::Forward;
use crate::upstream::Upgrade;

/// How long both ends may be silent. What is alive says something long before: servers ping (uvicorn every 20 s), and
/// proxies on the way give up sooner. Beyond it the other end is gone, and its place of `limits.connections` is free.
const IDLE: Duration = Duration::from_secs(60 * 60);

/// Bytes that are carried at once, each way.
const LOAD: usize = 8 * 1024;

/// Whether a request asks for a WebSocket (RFC 6455 §4.1).
pub(crate) fn is_asked_for(head: &Head) -> bool {
    head.method == Method::GET
        && head.version == Version::HTTP_11
        && head.headers.contains_key(SEC_WEBSOCKET_KEY)
        && lists(&head.headers, CONNECTION, "upgrade")
        && lists(&head.headers, UPGRADE, "websocket")
}

/// Forwards the upgrade; after a 101 the bytes flow until one end closes.
pub(crate) async fn open(visit: &Visit<'_>, mut head: Head, body: Body) -> Answer {
    let mut asked = http::Request::new(());
    *asked.extensions_mut() = std::mem::take(&mut head.extensions);
    let client = hyper::upgrade::on(asked);
    drop(body);
    let request = pass::outbound(visit, head, visit.forward_target(), Body::Empty);
    let mut answer = visit.ask(request, visit.how(Upgrade::WebSocket)).await;
    if let Ok(response) = &mut answer
        && response.status() == StatusCode::SWITCHING_PROTOCOLS
    {
        let origin = hyper::upgrade::on(&mut *response);
        let mut drain = visit.flow.drain.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = join(client, origin) => {}
                () = drain.reached(Phase::Stopped) => {}
            }
        });
    }
    let switched = matches!(&answer, Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS);
    let mut answer = pass::conclude(visit, answer, Forward::Bypass, Some("upgrade"));
    if switched {
        let headers = answer.response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    answer
}

fn lists(headers: &HeaderMap, name: http::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|listed| listed.trim().eq_ignore_ascii_case(token))
}

/// A tunnel ends when both ends have closed, either fails, or nothing moves; how is nobody's business.
async fn join(client: OnUpgrade, origin: OnUpgrade) {
    let Ok((client, origin)) = tokio::try_join!(client, origin) else { return };
    let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
    let (from_origin, to_origin) = tokio::io::split(TokioIo::new(origin));
    let moved = Notify::new();
    let both_ways = async {
        tokio::try_join!(carry(from_client, to_origin, &moved), carry(from_origin, to_client, &moved))
    };
    let silence = async { while tokio::time::timeout(IDLE, moved.notified()).await.is_ok() {} };
    tokio::select! {
        _ = both_ways => {}
        () = silence => {}
    }
}

/// One way, to its end.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: &Notify,
) -> io::Result<()> {
    let mut load = vec![0; LOAD];
    loop {
        let bytes = from.read(&mut load).await?;
        moved.notify_one();
        if bytes == 0 {
            return to.shutdown().await;
        }
        to.write_all(&load[..bytes]).await?;
        to.flush().await?;
    }
}
