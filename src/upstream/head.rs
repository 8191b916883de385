//! The head of the request as it is written: pure, and the last look at it before the bytes leave.
//!
//! Invariant: framing follows from the body alone (RFC 9112 §6): a known length as one Content-Length, an unknown
//! one as `Transfer-Encoding: chunked`, and no body as neither, or as length 0 where the method expects one.

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, Request, Uri, Version};
use http_body::Body as _;

use crate::body::Body;
use crate::upstream::Upgrade;

/// Sets framing and connection fields from the body and `upgrade`, whatever stood there before.
///
/// `Expect` goes too: the body is sent without waiting, and the client was answered at our door
/// (RFC 9110 §10.1.1).
pub(crate) fn canonical(request: Request<Body>, upgrade: Upgrade) -> Request<Body> {
    let (mut parts, mut body) = request.into_parts();
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    if parts.uri.authority().is_some() {
        parts.uri = origin_form(&parts.uri);
    }
    strip(&mut parts.headers);
    match body.size_hint().exact() {
        Some(0) => {
            body = Body::Empty;
            if expects_content(&parts.method) {
                parts.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
        }
        Some(length) => {
            parts.headers.insert(CONTENT_LENGTH, length.into());
        }
        // hyper would leave the body of a GET out if it were not told.
        None => {
            parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    if upgrade == Upgrade::WebSocket {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    Request::from_parts(parts, body)
}

/// A copy to send in its place, if its body is at hand.
pub(crate) fn spare(request: &Request<Body>) -> Option<Request<Body>> {
    let body = match request.body() {
        Body::Empty => Body::Empty,
        Body::Full(bytes) => Body::Full(bytes.clone()),
        Body::Incoming(_) | Body::Stream(_) => return None,
    };
    let mut spare = Request::new(body);
    *spare.method_mut() = request.method().clone();
    *spare.uri_mut() = request.uri().clone();
    *spare.headers_mut() = request.headers().clone();
    // Whoever hears of interim answers hears of those to the copy.
    *spare.extensions_mut() = request.extensions().clone();
    Some(spare)
}

/// Whether a request that may have reached the origin may be sent again (RFC 9110 §9.2.2; QUERY by RFC 10008).
pub(crate) fn may_repeat(method: &Method) -> bool {
    method.is_idempotent() || method.as_str() == "QUERY"
}

/// Whether the answer says that the connection ends with it (RFC 9112 §9.3).
pub(crate) fn says_close(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|option| option.trim().eq_ignore_ascii_case("close"))
}

/// Whether the answer is a stream of events, silent for as long as nothing happens.
pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// Whether a 101 switches to what was asked for.
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn strip(headers: &mut HeaderMap) {
    const OURS: [HeaderName; 9] = [
        CONNECTION,
        CONTENT_LENGTH,
        EXPECT,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ];
    for name in OURS {
        headers.remove(name);
    }
}

fn origin_form(uri: &Uri) -> Uri {
    let target = uri.path_and_query().cloned();
    target.map(Uri::from).unwrap_or_else(|| Uri::from_static("/"))
}

fn expects_content(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH) || method.as_str() == "QUERY"
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn request(method: &str, body: Body) -> Request<Body> {
        Request::builder().method(method).uri("/a?b=1").header("host", "a").body(body).unwrap()
    }

    fn unknown() -> Body {
        Body::stream(http_body_util::StreamBody::new(futures_util::stream::empty()))
    }

    fn field<'a>(request: &'a Request<Body>, name: &str) -> Option<&'a str> {
        request.headers().get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn framing_follows_from_the_body_alone() {
        let lying = |method, body| {
            let mut request = request(method, body);
            request.headers_mut().insert("content-length", HeaderValue::from_static("7"));
            request.headers_mut().insert("transfer-encoding", HeaderValue::from_static("gzip"));
            canonical(request, Upgrade::No)
        };
        let full = || Body::Full(Bytes::from_static(b"abc"));
        for (method, body, length, coding) in [
            ("GET", Body::Empty, None, None),
            ("DELETE", Body::Empty, None, None),
            ("POST", Body::Empty, Some("0"), None),
            ("PUT", Body::Full(Bytes::new()), Some("0"), None),
            ("QUERY", Body::Empty, Some("0"), None),
            ("GET", full(), Some("3"), None),
            ("POST", full(), Some("3"), None),
            ("GET", unknown(), None, Some("chunked")),
            ("POST", unknown(), None, Some("chunked")),
        ] {
            let sent = lying(method, body);
            assert_eq!(field(&sent, "content-length"), length, "{method}");
            assert_eq!(field(&sent, "transfer-encoding"), coding, "{method}");
        }
    }

    #[test]
    fn connection_fields_are_ours() {
        let names = ["connection", "te", "trailer", "upgrade", "keep-alive", "proxy-connection", "expect"];
        let with_all = || {
            let mut request = request("GET", Body::Empty);
            for name in names {
                request.headers_mut().insert(name, HeaderValue::from_static("x"));
            }
            request
        };
        let plain = canonical(with_all(), Upgrade::No);
        assert!(names.iter().all(|name| field(&plain, name).is_none()));
        let socket = canonical(with_all(), Upgrade::WebSocket);
        assert_eq!(field(&socket, "connection"), Some("upgrade"));
        assert_eq!(field(&socket, "upgrade"), Some("websocket"));
    }

    #[test]
    fn the_target_is_in_origin_form() {
        let mut absolute = request("GET", Body::Empty);
        *absolute.uri_mut() = Uri::from_static("http://evil.example/x?y");
        assert_eq!(canonical(absolute, Upgrade::No).uri(), "/x?y");
        let mut asterisk = request("OPTIONS", Body::Empty);
        *asterisk.uri_mut() = Uri::from_static("*");
        assert_eq!(canonical(asterisk, Upgrade::No).uri(), "*");
    }

    #[test]
    fn only_idempotent_requests_may_be_repeated() {
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"] {
            assert!(may_repeat(&Method::from_bytes(method.as_bytes()).unwrap()), "{method}");
        }
        for method in ["POST", "PATCH", "LOCK"] {
            assert!(!may_repeat(&Method::from_bytes(method.as_bytes()).unwrap()), "{method}");
        }
    }

    #[test]
    fn only_a_body_at_hand_can_be_copied() {
        let copy = spare(&request("POST", Body::Full(Bytes::from_static(b"abc")))).unwrap();
        assert!(copy.method() == "POST" && copy.uri() == "/a?b=1" && field(&copy, "host") == Some("a"));
        assert!(matches!(copy.body(), Body::Full(bytes) if bytes == "abc"));
        assert!(spare(&request("GET", unknown())).is_none());
    }

    #[test]
    fn close_and_event_streams_are_recognised_in_any_spelling() {
        let head = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
        };
        assert!(says_close(&head("connection", "Keep-Alive, CLOSE")));
        assert!(!says_close(&head("connection", "keep-alive")));
        assert!(is_event_stream(&head("content-type", "Text/Event-Stream; charset=utf-8")));
        assert!(!is_event_stream(&head("content-type", "text/event-streams")));
    }
}
