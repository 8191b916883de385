//! The request that is to be explained, as programs name it.
//!
//! Invariant: it is one that could have come in over HTTP/1.1. What becomes of it is not known here.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Uri};
use serde::{Deserialize, Serialize};

/// A request that is to be explained.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Its method; GET unless said.
    #[serde(default = "get")]
    pub method: String,
    /// Path and query, or a whole URL.
    pub target: String,
    /// Its fields.
    #[serde(default)]
    pub headers: BTreeMap<String, Lines>,
    /// Its content, for a QUERY or a declared POST.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
}

/// One line of a field, or several.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Lines {
    /// One.
    One(String),
    /// Several, in their order.
    Many(Vec<String>),
}

/// What was asked about is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRequest {
    /// No token (RFC 9110 §9.1).
    #[error("the method is not one that HTTP has room for")]
    Method,
    /// Neither a path nor a URL.
    #[error("the target is a path with its query, as /api/projects/42?b=2, or a whole URL")]
    Target,
    /// A name or a value that no field may have.
    #[error("a header is not well formed")]
    Header,
}

impl Asked {
    /// The request, as if it had come in over HTTP/1.1.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn request(&self) -> Result<Request<Bytes>, NoRequest> {
        let mut request = Request::new(Bytes::from(self.body.clone()));
        *request.method_mut() = Method::from_bytes(self.method.as_bytes()).map_err(|_| NoRequest::Method)?;
        let target: Uri = self.target.parse().map_err(|_| NoRequest::Target)?;
        // `*` is a target of OPTIONS alone (RFC 9112 §3.2.4).
        let is_target = target.path().starts_with('/') || (target.path() == "*" && self.method == "OPTIONS");
        // A fragment would be cut off without a word.
        if self.target.contains('#') || !is_target {
            return Err(NoRequest::Target);
        }
        *request.uri_mut() = target;
        *request.headers_mut() = fields(&self.headers)?;
        Ok(request)
    }
}

/// Fields as programs write them.
///
/// # Errors
/// [`NoRequest::Header`]
pub(crate) fn fields(written: &BTreeMap<String, Lines>) -> Result<HeaderMap, NoRequest> {
    let mut headers = HeaderMap::new();
    for (name, lines) in written {
        let name: HeaderName = name.parse().map_err(|_| NoRequest::Header)?;
        let lines = match lines {
            Lines::One(line) => std::slice::from_ref(line),
            Lines::Many(lines) => lines.as_slice(),
        };
        for line in lines {
            headers.append(name.clone(), HeaderValue::from_str(line).map_err(|_| NoRequest::Header)?);
        }
    }
    Ok(headers)
}

fn get() -> String {
    "GET".to_owned()
}
