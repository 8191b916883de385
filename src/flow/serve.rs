//! What a client gets: from an entry, from an answer that is still coming, or from Larder itself.
//!
//! Invariant: it is what the origin sent plus `Age`, `Cache-Status` and `X-Cache`; a stored head never changes.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, AGE, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::body::Body;
use crate::clock::Now;
use crate::metrics::Cache;
use crate::policy::cache_status::CacheStatus;
use crate::policy::range::{self, Asked, Part};
use crate::policy::{RequestHead, partial, validate};
use crate::route::table::Route;
use crate::store::entry::{self, Entry};

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// An answer, and what is to be said of it in logs and metrics.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response<Body>,
    pub(crate) cache: Cache,
    /// Why the cache did so, where there is more to say than `cache` does.
    pub(crate) detail: Option<&'static str>,
    /// Why the origin was asked, in a word.
    pub(crate) why: Option<&'static str>,
    /// Age of what was served, in seconds.
    pub(crate) age: Option<u64>,
    /// How long the origin took to answer; `None`: it was not asked for this request.
    pub(crate) upstream: Option<Duration>,
    /// What went wrong, in a word.
    pub(crate) error: Option<&'static str>,
}

impl Answer {
    /// One as it is, of which there is no more to say.
    pub(crate) fn plain(response: Response<Body>, cache: Cache, detail: Option<&'static str>) -> Self {
        Self { response, cache, detail, why: None, age: None, upstream: None, error: None }
    }

    /// Marks a response with what the cache did, as far as the route wants it shown.
    pub(crate) fn new(
        mut response: Response<Body>,
        route: &Route,
        cache: Cache,
        status: CacheStatus,
    ) -> Self {
        let settings = &route.settings;
        if settings.cache_status {
            status.append_to(response.headers_mut());
        }
        if settings.x_cache {
            response.headers_mut().insert(X_CACHE, HeaderValue::from_static(cache.as_str()));
        }
        let (detail, why) = match status {
            CacheStatus::Hit { detail, .. } => (detail, None),
            CacheStatus::Fwd { why, detail, .. } => (detail, Some(why.as_str())),
        };
        Self { response, cache, detail, why, age: None, upstream: None, error: None }
    }
}

/// Answers `request` from a stored entry.
pub(crate) fn entry(
    request: &RequestHead<'_>,
    entry: &Entry,
    route: &Route,
    cache: Cache,
    status: CacheStatus,
    now: Now,
) -> Answer {
    let age = entry.life.age(now).as_secs();
    let mark = |mut response: Response<Body>| {
        response.headers_mut().insert(AGE, HeaderValue::from(age));
        Answer { age: Some(age), ..Answer::new(response, route, cache, status) }
    };
    let CacheStatus::Hit { ttl, detail: None } = status else {
        return mark(stored(request, &entry.response));
    };
    if cache != Cache::Hit || is_selective(request.headers) {
        return mark(stored(request, &entry.response));
    }
    let whole = |headers| respond(entry.response.status, headers, entry.response.body.clone().into());
    let head = entry.stamp.head(age, ttl, || {
        let plain = respond(entry.response.status, entry.response.headers(), Body::Empty);
        mark(plain).response.into_parts().0.headers
    });
    Answer { age: Some(age), ..Answer::plain(whole(head), cache, None) }
}

/// Answers `request` from a stored part; `None` if not all that it asks for lies there, or `If-Range` speaks of another.
pub(crate) fn part(request: &RequestHead<'_>, entry: &Entry, route: &Route, now: Now) -> Option<Answer> {
    let (range, stored) = (entry.part()?, &entry.response);
    let headers = stored.headers();
    let etag = headers.get(ETAG);
    let asked = Asked::by(request).filter(|_| range::if_range_holds(request.headers, &headers, etag))?;
    let (bytes, given) = partial::locate(asked, &range, stored.body.len() as u64)?;
    let has_it = is_conditional(request.headers)
        && validate::not_modified(request, StatusCode::PARTIAL_CONTENT, etag, &headers);
    let mut response =
        if has_it { not_modified(&headers) } else { cut(stored, headers, &bytes, given.content_range()) };
    let age = entry.life.age(now).as_secs();
    response.headers_mut().insert(AGE, HeaderValue::from(age));
    let status = CacheStatus::Hit { ttl: entry.life.ttl(now), detail: None };
    Some(Answer { age: Some(age), ..Answer::new(response, route, Cache::Hit, status) })
}

fn respond(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Whether a request may want less than the whole.
fn is_selective(headers: &HeaderMap) -> bool {
    is_conditional(headers) || headers.contains_key(RANGE)
}

/// The stored response, or the part or the 304 that the request asks for (RFC 9110 §13.2.2, §14.2).
fn stored(request: &RequestHead<'_>, stored: &entry::Response) -> Response<Body> {
    if is_conditional(request.headers)
        && let Some(not_modified) = confirmed(request, stored)
    {
        return not_modified;
    }
    let headers = stored.headers();
    let part = if request.headers.contains_key(RANGE) {
        range::select(request, stored.status, &headers, headers.get(ETAG), stored.body.len() as u64)
    } else {
        Part::Whole
    };
    partial(stored, headers, &part)
}

/// The 304 that the request asks for, if the stored response is what the client has.
fn confirmed(request: &RequestHead<'_>, stored: &entry::Response) -> Option<Response<Body>> {
    // What belongs into a 304 holds all that the conditions are about.
    let mut headers = stored.head.pick(|name| validate::belongs_in_304(name, false));
    let etag = headers.get(ETAG);
    validate::not_modified(request, stored.status, etag, &headers).then(|| {
        if headers.contains_key(ETAG) {
            headers.remove(LAST_MODIFIED);
        }
        respond(StatusCode::NOT_MODIFIED, headers, Body::Empty)
    })
}

fn is_conditional(headers: &HeaderMap) -> bool {
    headers.contains_key(IF_NONE_MATCH) || headers.contains_key(IF_MODIFIED_SINCE)
}

/// Whether an answer that is still coming may be told in a 304: the client has it already.
pub(crate) fn answers_with_304(request: &RequestHead<'_>, response: &Response<Body>) -> bool {
    let headers = response.headers();
    is_conditional(request.headers)
        && validate::not_modified(request, response.status(), headers.get(ETAG), headers)
}

fn partial(stored: &entry::Response, headers: HeaderMap, part: &Part) -> Response<Body> {
    let content_range = part.content_range(stored.body.len() as u64);
    match part {
        Part::Whole => respond(stored.status, headers, stored.body.clone().into()),
        Part::Bytes(bytes) => cut(stored, headers, bytes, content_range),
        Part::Unsatisfiable => {
            ranged(StatusCode::RANGE_NOT_SATISFIABLE, headers, Bytes::new(), content_range)
        }
    }
}

/// 206 with these bytes of a stored body.
fn cut(
    stored: &entry::Response,
    headers: HeaderMap,
    bytes: &Range<u64>,
    content_range: Option<HeaderValue>,
) -> Response<Body> {
    let slice = usize::try_from(bytes.start).ok().zip(usize::try_from(bytes.end).ok());
    let (start, end) = slice.expect("a stored body lies in memory");
    let body = stored.body.slice(start..end);
    ranged(StatusCode::PARTIAL_CONTENT, headers, body, content_range)
}

fn ranged(
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    content_range: Option<HeaderValue>,
) -> Response<Body> {
    let mut response = respond(status, headers, body.into());
    if let Some(content_range) = content_range {
        let headers = response.headers_mut();
        headers.insert(CONTENT_RANGE, content_range);
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.remove(CONTENT_LENGTH);
    }
    response
}

/// A 304 with the fields that belong into one (RFC 9110 §15.4.5).
pub(crate) fn not_modified(headers: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    let shown = headers.contains_key(ETAG);
    for (name, value) in headers.iter().filter(|(name, _)| validate::belongs_in_304(name, shown)) {
        response.headers_mut().append(name, value.clone());
    }
    response
}
