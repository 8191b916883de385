//! One request of warming, and what came of it.
//!
//! Invariant: paths only: a request never leaves the configured upstream, no redirect is followed, and only an answer that was
//! read to its end counts as stored.

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use percent_encoding::{AsciiSet, utf8_percent_encode};

use crate::body::Body;
use crate::metrics::Cache;
use crate::warm::door::{Asking, Door};
use crate::warm::queue::Whom;
use crate::warm::run::Outcome;

/// Longest page of a list that is read, in bytes.
pub(crate) const MAX_PAGE: usize = 8 << 20;

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) outcome: Outcome,
    pub(crate) status: Option<StatusCode>,
    /// Bytes of the answer's body.
    pub(crate) bytes: u64,
}

impl Asked {
    fn failed(why: impl Into<String>, status: Option<StatusCode>, bytes: u64) -> Self {
        Self { outcome: Outcome::Failed(why.into()), status, bytes }
    }

    /// Whether the origin is not up yet, or not now.
    pub(crate) fn is_away(&self) -> bool {
        self.status.is_some_and(is_away)
    }
}

/// A page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A GET for `path`, in the spelling that clients have for it (RFC 3986 §2.5); `None` if it is not a path of the configured upstream.
pub(crate) fn path(path: &str, headers: HeaderMap) -> Option<Asking> {
    let (mut head, ()) = Request::new(()).into_parts();
    let spelt = utf8_percent_encode(path, &AsciiSet::EMPTY).to_string();
    head.uri = spelt.parse().ok().filter(|_| path.starts_with('/'))?;
    head.headers = headers;
    Some(Asking::Path(Box::new(head)))
}

/// The fields of a request: what all have, what the task has, and in whose name it is; `None`: it cannot be in that name.
pub(crate) fn fields(
    (all, of_task): (&HeaderMap, &HeaderMap),
    (whom, named_in): (&Whom, Option<&HeaderName>),
    origin: Option<&HeaderValue>,
    door: &dyn Door,
) -> Option<HeaderMap> {
    let mut headers = all.clone();
    headers.extend(of_task.clone());
    if let Some(origin) = origin {
        headers.insert(ORIGIN, origin.clone());
    }
    match whom {
        Whom::Nobody => Some(headers),
        Whom::Person(person) => door.in_the_name_of(person, &headers),
        Whom::As(user) => {
            headers.insert(named_in?.clone(), user.clone());
            Some(headers)
        }
    }
}

/// Asks, and reads the answer to its end: only a whole one is stored.
pub(crate) async fn fetch(door: &dyn Door, asking: Asking) -> Asked {
    let response = door.ask(asking).await;
    let (status, cache) = (response.status(), response.extensions().get::<Cache>().copied());
    if is_error(status) {
        return Asked::failed(status.to_string(), Some(status), 0);
    }
    // What is not kept need not be read: it may be a stream without end.
    if cache == Some(Cache::Bypass) {
        return Asked { outcome: Outcome::Bypassed, status: Some(status), bytes: 0 };
    }
    let (mut body, mut bytes) = (response.into_body(), 0);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Err(why) => return Asked::failed(format!("the answer was cut: {why}"), None, bytes),
        }
    }
    let outcome = match cache {
        Some(Cache::Hit | Cache::Stale) => Outcome::Fresh,
        _ => Outcome::Stored,
    };
    Asked { outcome, status: Some(status), bytes }
}

/// Asks for a page of a list.
///
/// # Errors
/// What came of it instead.
pub(crate) async fn page(door: &dyn Door, mut asking: Asking) -> Result<Page, Asked> {
    if let Asking::Path(head) = &mut asking {
        // It is read here, as it is.
        head.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    let response: Response<Body> = door.ask(asking).await;
    let status = response.status();
    if !status.is_success() {
        return Err(Asked::failed(status.to_string(), Some(status), 0));
    }
    let (head, mut body) = response.into_parts();
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|why| Asked::failed(format!("the list was cut: {why}"), None, 0))?;
        if let Some(data) = frame.data_ref() {
            read.extend_from_slice(data);
        }
        if read.len() > MAX_PAGE {
            return Err(Asked::failed(format!("the list is longer than {MAX_PAGE} bytes"), None, 0));
        }
    }
    Ok(Page { headers: head.headers, body: read.freeze() })
}

fn is_away(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}
