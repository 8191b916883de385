//! Errors of the admin listener as RFC 9457 problems.

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};

/// An error answer of type `application/problem+json`.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: &'static str,
    field: Option<(HeaderName, &'static str)>,
}

impl Problem {
    /// `detail` is a sentence for people and holds nothing that the client sent.
    pub(crate) fn new(status: StatusCode, detail: &'static str) -> Self {
        Self { status, detail, field: None }
    }

    /// Adds a response field.
    pub(crate) fn with(self, name: HeaderName, value: &'static str) -> Self {
        Self { field: Some((name, value)), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // Without a type of its own a problem is about:blank, and its title the status phrase (RFC 9457 §4.2.1).
        let body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let type_ = (CONTENT_TYPE, "application/problem+json");
        let mut response = (self.status, [type_], body.to_string()).into_response();
        if let Some((name, value)) = self.field {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
