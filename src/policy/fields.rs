//! Which fields belong to one connection, one request or one cache, and so go no further.
//!
//! Invariant: what `Connection` names goes too, but it can strip nothing that frames a message or says who may have it.

use http::header::{self, HeaderMap, HeaderName};

const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// RFC 9111 §3.1 beyond the hop-by-hop ones; `Age` is counted anew (§5.1).
const UNSTORED: [HeaderName; 4] = [
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    header::PROXY_AUTHORIZATION,
    header::AGE,
];

/// What sets a cookie, today and by RFC 2965.
const COOKIES: [HeaderName; 2] = [header::SET_COOKIE, HeaderName::from_static("set-cookie2")];

/// What the meaning of a stored response rests on: without one of these it would say something else.
const ESSENTIAL: [HeaderName; 10] = [
    header::AGE,
    header::CACHE_CONTROL,
    header::CDN_CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::DATE,
    header::EXPIRES,
    header::VARY,
];

/// What says who asks whom.
const IDENTIFYING: [HeaderName; 5] =
    [header::AUTHORIZATION, header::COOKIE, header::HOST, header::ORIGIN, header::SET_COOKIE];

/// Fields for caches between origin and client: not shown. `Cache-Groups` is none of them: behind us the client's own
/// cache goes by it (RFC 9875).
const FOR_CACHES: [HeaderName; 2] =
    [HeaderName::from_static("surrogate-key"), HeaderName::from_static("cache-tag")];

/// What makes a request ask for less than the whole: it never reaches a fill.
const SELECTIVE: [HeaderName; 6] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// Removes what belongs to one connection, what `Connection` names included (RFC 9110 §7.6.1).
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        // RFC 9110 §7.6.1: not what is meant for all recipients
        .filter(|name| !is_essential(name) && !IDENTIFYING.contains(name))
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Removes what is never stored (RFC 9111 §3.1), hop-by-hop fields included.
pub(crate) fn strip_unstored(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    for name in &UNSTORED {
        headers.remove(name);
    }
}

/// Removes what sets a cookie: one visitor's is not for the next.
pub(crate) fn strip_cookies(headers: &mut HeaderMap) {
    for name in &COOKIES {
        headers.remove(name);
    }
}

/// Whether a stored response would mean something else without this field.
pub(crate) fn is_essential(name: &HeaderName) -> bool {
    ESSENTIAL.contains(name)
}

/// Removes from a response what is for caches only (`Surrogate-Key`, `Cache-Tag`).
pub fn strip_for_caches(headers: &mut HeaderMap) {
    for name in &FOR_CACHES {
        headers.remove(name);
    }
}

/// Removes from a request what a fill must not carry: `Range` and the conditions. A fill asks for the whole.
pub fn strip_selective(headers: &mut HeaderMap) {
    for name in &SELECTIVE {
        headers.remove(name);
    }
}

/// Whether a request asks for less than the whole, or under conditions.
pub fn is_selective(headers: &HeaderMap) -> bool {
    SELECTIVE.iter().any(|name| headers.contains_key(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap())).collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_connection_names_goes_no_further() {
        let mut headers = HeaderMap::new();
        headers.append(header::CONNECTION, "a, B".parse().unwrap());
        headers.append(header::CONNECTION, " , close".parse().unwrap());
        for name in ["a", "b", "c", "close", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer"] {
            headers.insert(HeaderName::from_static(name), "1".parse().unwrap());
        }
        strip_hop_by_hop(&mut headers);
        assert_eq!(names(&headers), ["c"]);
    }

    #[test]
    fn connection_strips_no_framing_and_no_credential() {
        let mut headers = head(&[
            ("connection", "content-length, authorization, cache-control, host"),
            ("content-length", "3"),
            ("authorization", "Bearer x"),
            ("cache-control", "private"),
            ("host", "a"),
        ]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(names(&headers), ["authorization", "cache-control", "content-length", "host"]);
    }

    #[test]
    fn what_speaks_of_the_proxy_is_not_stored() {
        let mut headers = head(&[
            ("proxy-authenticate", "Basic"),
            ("proxy-authentication-info", "x"),
            ("proxy-authorization", "x"),
            ("age", "5"),
            ("surrogate-key", "kept"),
        ]);
        strip_unstored(&mut headers);
        assert_eq!(names(&headers), ["surrogate-key"]);
        strip_for_caches(&mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn no_field_that_sets_a_cookie_is_left() {
        let mut headers = head(&[("set-cookie", "a=b"), ("set-cookie2", "a=c"), ("etag", "\"x\"")]);
        strip_cookies(&mut headers);
        assert_eq!(names(&headers), ["etag"]);
    }

    #[test]
    fn a_fill_asks_for_the_whole() {
        let mut headers = head(&[("range", "bytes=0-1"), ("if-none-match", "\"x\""), ("accept", "*/*")]);
        strip_selective(&mut headers);
        assert_eq!(names(&headers), ["accept"]);
    }
}
