//! Answers that Larder gives on its own account, as problem details (RFC 9457).
//!
//! It is the one place where errors become statuses.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use crate::body::Body;
use crate::flow::purge;
use crate::guard::Violation;
use crate::invalidate::operation::Operation;
use crate::upstream;

/// A problem of `status`; `detail` is a sentence for people.
pub fn answer(status: StatusCode, detail: &str) -> Response<Body> {
    let title = status.canonical_reason().unwrap_or("Error");
    let problem = serde_json::json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail,
    });
    json(status, "application/problem+json", problem.to_string())
}

/// An invalidation of which nobody knows whether it holds on every node.
pub(crate) fn unconfirmed(operation: Option<Operation>) -> Response<Body> {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let mut problem = serde_json::json!({
        "type": "about:blank", "title": status.canonical_reason(), "status": status.as_u16(),
        "detail": purge::unconfirmed(operation),
    });
    if let Some(operation) = operation {
        problem["operation"] = operation.to_string().into();
    }
    let mut response = json(status, "application/problem+json", problem.to_string());
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// Whatever else Larder says itself, as JSON of this media type.
pub(crate) fn json(status: StatusCode, media_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Method that is not offered here at all, with those that are (RFC 9110 §15.5.6).
pub(crate) fn method_not_allowed(detail: &str) -> Response<Body> {
    const OFFERED: &str = "GET, HEAD, QUERY, POST, PUT, PATCH, DELETE, OPTIONS";
    let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, detail);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(OFFERED));
    response
}

/// What the guard refused; the connection ends with this answer.
pub fn refused(violation: &Violation) -> Response<Body> {
    let mut response = match violation.status() {
        StatusCode::METHOD_NOT_ALLOWED => method_not_allowed(&violation.to_string()),
        status => answer(status, &violation.to_string()),
    };
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// What the origin, or the way to it, did not give.
pub fn upstream(error: &upstream::Error) -> Response<Body> {
    if let Some(violation) = Violation::in_chain(error) {
        // The client's own body broke the rules: the origin is not to blame.
        if matches!(error, upstream::Error::RequestBody(_)) {
            return refused(violation);
        }
    }
    let mut response = answer(status(error), public(error));
    if matches!(error, upstream::Error::RequestBody(_)) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// What strangers are told: nothing of addresses, which the log has.
fn public(error: &upstream::Error) -> &'static str {
    match error {
        upstream::Error::Saturated => "too many requests are at the origin already",
        upstream::Error::Unreachable { .. } => "the origin cannot be connected to",
        upstream::Error::ConnectTimeout { .. } => "connecting to the origin took too long",
        upstream::Error::Tls { .. } => "the origin cannot be connected to securely",
        upstream::Error::Withheld => {
            "the other nodes cannot be told now what this write outdates, so it was not forwarded; send it again"
        }
        upstream::Error::FirstByteTimeout => "the origin did not answer in time",
        upstream::Error::Closed => "the origin closed the connection before it had answered",
        upstream::Error::BadResponse(_) => "the origin's answer is malformed",
        upstream::Error::RequestBody(_) => "the request's body was cut or is malformed",
    }
}

/// 400, 502, 503 or 504, by whose fault it was and how long it took.
pub fn status(error: &upstream::Error) -> StatusCode {
    match error {
        upstream::Error::RequestBody(_) => StatusCode::BAD_REQUEST,
        upstream::Error::Saturated | upstream::Error::Withheld => StatusCode::SERVICE_UNAVAILABLE,
        upstream::Error::ConnectTimeout { .. } | upstream::Error::FirstByteTimeout => {
            StatusCode::GATEWAY_TIMEOUT
        }
        _ => StatusCode::BAD_GATEWAY,
    }
}
