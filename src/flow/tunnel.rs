//! A WebSocket: the upgrade is forwarded, and once the origin has agreed the two ends are joined byte by byte.
//!
//! Invariant: nothing is joined before the origin's 101.

use http::header::{CONNECTION, SEC_WEBSOCKET_KEY, UPGRADE};
use http::request::Parts as Head;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::body::Body;
use crate::drain::Phase;
use crate::flow::serve::Answer;
use crate::flow::{Visit, pass};
use crate::policy::cache_status::Forward;
use crate::upstream::Upgrade;

/// Whether a request asks for a WebSocket (RFC 6455 §4.1).
pub(crate) fn is_asked_for(head: &Head) -> bool {
    head.method == Method::GET
        && head.version == Version::HTTP_11
        && head.headers.contains_key(SEC_WEBSOCKET_KEY)
        && lists(&head.headers, CONNECTION, "upgrade")
        && lists(&head.headers, UPGRADE, "websocket")
}

fn lists(headers: &HeaderMap, name: http::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|listed| listed.trim().eq_ignore_ascii_case(token))
}

/// A tunnel ends when both ends have closed or either fails; how is nobody's business.
async fn join(client: OnUpgrade, origin: OnUpgrade) {
    let Ok((client, origin)) = tokio::try_join!(client, origin) else { return };
    let (mut client, mut origin) = (TokioIo::new(client), TokioIo::new(origin));
    let _ = tokio::io::copy_bidirectional(&mut client, &mut origin).await;
}

/// Forwards the upgrade; after a 101 the bytes flow until one end closes.
pub(crate) async fn open(visit: &Visit<'_>, mut head: Head, body: Body) -> Answer {
    let mut asked = http::Request::new(());
    *asked.extensions_mut() = std::mem::take(&mut head.extensions);
    let client = hyper::upgrade::on(asked);
    drop(body);
    let request = pass::outbound(visit, head, visit.forward_target(), Body::Empty);
    let mut answer = visit.flow.upstream.send(request, visit.how(Upgrade::WebSocket)).await;
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
