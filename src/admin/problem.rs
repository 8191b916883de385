//! Errors of the admin listener as RFC 9457 problems.
//!
//! Invariant: of what a client sent a problem repeats one short word at most, and nothing that could be a token.

use std::borrow::Cow;

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::flow::purge;
use crate::invalidate::operation::Operation;

/// Longest word that is repeated, in characters.
const MAX_QUOTED: usize = 60;

/// An error answer of type `application/problem+json`.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
    field: Option<(HeaderName, HeaderValue)>,
    /// What goes on all the same, and can be asked for.
    operation: Option<Box<str>>,
}

impl Problem {
    /// `detail` is a sentence for people; what it repeats of the request is [`quoted`].
    pub(crate) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into(), field: None, operation: None }
    }

    /// The body is JSON, but does not say what is asked here.
    pub(crate) fn unprocessable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// What was asked for is not there.
    pub(crate) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// The parameters in the query do not say what is asked here.
    pub(crate) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Adds a response field.
    pub(crate) fn with(self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        Self { field: Some((name, value.into())), ..self }
    }

    /// Nobody knows whether what was asked for holds on every node; it goes on, under this name if there is one.
    pub(crate) fn unconfirmed(operation: Option<Operation>) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, purge::unconfirmed(operation));
        let operation = operation.map(|operation| operation.to_string().into());
        Self { operation, ..problem }.with(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// The same for a client of Cloudflare's API, which looks for other members than RFC 9457 has.
    pub(crate) fn for_cloudflare(&self) -> Response {
        let mut body = self.body();
        body["success"] = false.into();
        body["errors"] = json!([{ "code": self.status.as_u16(), "message": self.detail }]);
        body["messages"] = json!([]);
        body["result"] = Value::Null;
        self.answer(body)
    }

    fn body(&self) -> Value {
        // Without a type of its own a problem is about:blank, and its title the status phrase (RFC 9457 §4.2.1).
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(operation) = &self.operation {
            body["operation"] = (**operation).into();
        }
        body
    }

    fn answer(&self, body: Value) -> Response {
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some((name, value)) = self.field.clone() {
            headers.insert(name, value);
        }
        response.extensions_mut().insert(self.clone());
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.answer(self.body())
    }
}

/// A word of the client's as a problem repeats it: short, and without control characters.
pub(crate) fn quoted(word: &str) -> String {
    let safe = word.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    let mut text: String = safe.take(MAX_QUOTED).collect();
    if word.chars().nth(MAX_QUOTED).is_some() {
        text.push('…');
    }
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_is_short_and_harmless() {
        assert_eq!(quoted("tag"), "`tag`");
        assert_eq!(quoted("a\u{1b}[31m\n"), "`a\u{fffd}[31m\u{fffd}`");
        assert_eq!(quoted(&"x".repeat(1000)).chars().count(), MAX_QUOTED + 3);
    }
}
