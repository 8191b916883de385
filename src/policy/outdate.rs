//! Which stored responses an unsafe request outdates (RFC 9111 §4.4): its target, and what `Location` and
//! `Content-Location` of the answer name on the same host.
//!
//! Invariant: a method that we do not know is unsafe. It refuses to know how anything is dropped.

use http::header::{CONTENT_LOCATION, HeaderMap, LOCATION};
use http::uri::{PathAndQuery, Uri};
use http::{Method, StatusCode};

/// Whether requests of this method change nothing (RFC 9110 §9.2.1, RFC 10008 for QUERY).
pub fn is_safe(method: &Method) -> bool {
    matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "QUERY")
}

/// Whether the answer to `method` outdates its target: the method is unsafe and the answer is no error (2xx, 3xx;
/// RFC 9111 §4.4).
pub fn outdates_target(method: &Method, status: StatusCode) -> bool {
    !is_safe(method) && (status.is_success() || status.is_redirection())
}

/// The paths that the answer names beside its target (RFC 9110 §10.2.2, §8.7), resolved against it; those of other hosts
/// left out (RFC 9111 §4.4: whoever answers for one origin outdates nothing of another). `target` has
/// an authority; `is_ours` knows its other names. The scheme is not compared: behind TLS that ended elsewhere an origin
/// cannot know it.
pub fn also_outdated(target: &Uri, headers: &HeaderMap, is_ours: &dyn Fn(&str) -> bool) -> Vec<PathAndQuery> {
    let named = [LOCATION, CONTENT_LOCATION].into_iter().flat_map(|name| headers.get_all(name));
    named.filter_map(|value| resolve(target, value.to_str().ok()?.trim(), is_ours)).collect()
}

/// What a reference in the answer of `target` names on the same host (RFC 3986 §5.2); `None`: it is of another one.
pub(crate) fn resolve(target: &Uri, reference: &str, is_ours: &dyn Fn(&str) -> bool) -> Option<PathAndQuery> {
    let reference = reference.split('#').next()?;
    let with_authority = match reference.strip_prefix("//") {
        Some(rest) => Some(format!("http://{rest}")),
        None => has_scheme(reference).then(|| reference.to_owned()),
    };
    if let Some(absolute) = with_authority {
        let uri: Uri = absolute.parse().ok()?;
        let ours = same_host(target, &uri) || uri.authority().is_some_and(|named| is_ours(named.as_str()));
        return ours.then(|| normal(uri.path(), uri.query())).flatten();
    }
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    if path.is_empty() {
        return normal(target.path(), query.or(target.query()));
    }
    if path.starts_with('/') {
        return normal(path, query);
    }
    let (folder, _) = target.path().rsplit_once('/')?;
    normal(&format!("{folder}/{path}"), query)
}

fn has_scheme(reference: &str) -> bool {
    let scheme = reference.split(['/', '?']).next().unwrap_or_default().split_once(':');
    scheme.is_some_and(|(scheme, _)| scheme.starts_with(|first: char| first.is_ascii_alphabetic()))
}

fn same_host(one: &Uri, other: &Uri) -> bool {
    let port = |uri: &Uri| uri.port_u16().filter(|port| ![80, 443].contains(port));
    let (Some(host), Some(named)) = (one.host(), other.host()) else { return false };
    host.eq_ignore_ascii_case(named) && port(one) == port(other)
}

/// Dot segments removed (RFC 3986 §5.2.4).
fn normal(path: &str, query: Option<&str>) -> Option<PathAndQuery> {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    let path = format!("/{}", kept.join("/"));
    match query {
        Some(query) => format!("{path}?{query}").parse().ok(),
        None => path.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::head;

    fn named(location: &str) -> Vec<String> {
        let target: Uri = "http://api.example.com/a/b/c?q=1".parse().unwrap();
        also_outdated(&target, &head(&[("location", location)]), &|_| false)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn an_unknown_method_is_unsafe_and_query_is_safe() {
        assert!(!is_safe(&Method::from_bytes(b"M-SEARCH").unwrap()));
        assert!(is_safe(&Method::from_bytes(b"QUERY").unwrap()));
        assert!(!is_safe(&Method::from_bytes(b"get").unwrap()));
    }

    #[test]
    fn an_error_outdates_nothing() {
        assert!(outdates_target(&Method::POST, StatusCode::CREATED));
        assert!(outdates_target(&Method::POST, StatusCode::SEE_OTHER));
        assert!(!outdates_target(&Method::POST, StatusCode::INTERNAL_SERVER_ERROR));
        assert!(!outdates_target(&Method::GET, StatusCode::OK));
    }

    #[test]
    fn references_resolve_as_rfc_3986_says() {
        for (reference, resolved) in [
            ("/x", "/x"),
            ("x", "/a/b/x"),
            ("./x?y=1#z", "/a/b/x?y=1"),
            ("../x", "/a/x"),
            ("../../../x", "/x"),
            ("..", "/a/"),
            ("?y", "/a/b/c?y"),
            ("", "/a/b/c?q=1"),
            ("http://API.example.com/x/../y", "/y"),
            ("https://api.example.com:443/x", "/x"),
            ("//api.example.com/x?y", "/x?y"),
            ("http://api.example.com", "/"),
            ("x:y/z", ""),
        ] {
            let wanted: &[&str] = if resolved.is_empty() { &[] } else { &[resolved] };
            assert_eq!(named(reference), wanted, "{reference}");
        }
    }

    #[test]
    fn other_hosts_are_none_of_our_business() {
        for reference in
            ["http://evil.example.com/x", "http://api.example.com:8080/x", "//evil/x", "mailto:a@b"]
        {
            assert!(named(reference).is_empty(), "{reference}");
        }
    }

    #[test]
    fn both_fields_count() {
        let target: Uri = "http://a/x".parse().unwrap();
        let headers = head(&[("location", "/l"), ("content-location", "/c")]);
        assert_eq!(also_outdated(&target, &headers, &|_| false), ["/l", "/c"]);
    }
}
