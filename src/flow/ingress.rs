//! What a request names: its authority and its target, from whichever of the places HTTP has for them.
//!
//! Invariant: two places that disagree are a refusal, never a choice.

use http::header::HOST;
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Method, StatusCode, Version};

use crate::route::host::HostError;

/// Most header fields of a request.
const MAX_FIELDS: usize = 100;
/// Longest path and query, in bytes.
const MAX_TARGET: usize = 8 * 1024;

/// Authority and target of a request, held apart from its head.
#[derive(Debug)]
pub(crate) struct Named {
    authority: Option<Place>,
    target: PathAndQuery,
}

/// Where an authority was named.
#[derive(Debug)]
enum Place {
    Target(Authority),
    Host(HeaderValue),
}

/// Why a request is not for us, with the status and a sentence for its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) reason: &'static str,
    pub(crate) detail: &'static str,
}

impl Refusal {
    fn bad_request(reason: &'static str, detail: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason, detail }
    }
}

impl From<HostError> for Refusal {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Malformed => Self::bad_request("bad-host", "the host that was asked for is not valid"),
            HostError::Stranger => Self {
                status: StatusCode::MISDIRECTED_REQUEST,
                reason: "unknown-host",
                detail: "this host is not served here: see `hosts`",
            },
        }
    }
}

impl Named {
    /// Reads a head that hyper has parsed (RFC 9112 §3.2, RFC 9113 §8.3.1).
    pub(crate) fn by(head: &Parts) -> Result<Self, Refusal> {
        if head.method == Method::CONNECT {
            let (reason, detail) = ("connect", "this is no tunnel: CONNECT is not offered");
            return Err(Refusal { status: StatusCode::METHOD_NOT_ALLOWED, reason, detail });
        }
        within_limits(head)?;
        if head.version == Version::HTTP_2 {
            well_formed(head)?;
        }
        let mut hosts = head.headers.get_all(HOST).iter();
        let host = hosts.next();
        if hosts.next().is_some() {
            return Err(Refusal::bad_request("several-hosts", "the request has more than one Host field"));
        }
        let in_target = head.uri.authority();
        if let (Some(target), Some(host)) = (in_target, host)
            && !target.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes())
        {
            return Err(Refusal::bad_request(
                "host-mismatch",
                "the target and Host name different authorities",
            ));
        }
        let authority = match (in_target, host) {
            (Some(target), _) => Some(Place::Target(target.clone())),
            (None, Some(host)) => Some(Place::Host(host.clone())),
            (None, None) => None,
        };
        let target = head.uri.path_and_query().cloned();
        Ok(Self { authority, target: target.unwrap_or_else(|| PathAndQuery::from_static("/")) })
    }

    /// The authority that was asked for; `None`: the request (HTTP/1.0) names none.
    pub(crate) fn authority(&self) -> Option<&str> {
        self.authority.as_ref().map(|place| match place {
            Place::Target(authority) => authority.as_str(),
            // No host is spelt like this, so it is refused as malformed.
            Place::Host(host) => host.to_str().unwrap_or("\u{fffd}"),
        })
    }

    /// Path as it came.
    pub(crate) fn path(&self) -> &str {
        self.target.path()
    }

    /// Query as it came, without the `?`.
    pub(crate) fn query(&self) -> Option<&str> {
        self.target.query()
    }
}

/// What the guard asks of an HTTP/1 head, asked of an HTTP/2 one (RFC 9113 §8.3.1).
fn well_formed(head: &Parts) -> Result<(), Refusal> {
    if head.uri.authority().is_none() && !head.headers.contains_key(HOST) {
        return Err(Refusal::bad_request("pseudo-header", "the request names no :authority"));
    }
    let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
    let illegal = |byte: &u8| !byte.is_ascii_graphic() || b"\"#<>\\^`".contains(byte);
    let in_path = |byte: &u8| illegal(byte) || b"{|}".contains(byte);
    if path.as_bytes().iter().any(in_path) || query.as_bytes().iter().any(illegal) {
        return Err(Refusal::bad_request("bad-target", "the target holds characters that no URI may hold"));
    }
    if path == "*" && head.method != Method::OPTIONS {
        return Err(Refusal::bad_request("bad-target", "only OPTIONS may ask for `*`"));
    }
    Ok(())
}

/// The guard's limits, for what comes over HTTP/2.
fn within_limits(head: &Parts) -> Result<(), Refusal> {
    if head.headers.len() > MAX_FIELDS {
        let (reason, detail) = ("too-many-fields", "the request has more than 100 header fields");
        return Err(Refusal { status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason, detail });
    }
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > MAX_TARGET {
        let (reason, detail) = ("long-target", "the request target is longer than 8 KiB");
        return Err(Refusal { status: StatusCode::URI_TOO_LONG, reason, detail });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn named(request: http::request::Builder) -> Result<Named, Refusal> {
        Named::by(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_target_and_a_host_that_disagree_are_refused() {
        let agree = Request::get("http://Api.example/x?y").header("host", "api.EXAMPLE");
        let named_by = named(agree).unwrap();
        assert_eq!((named_by.path(), named_by.query()), ("/x", Some("y")));
        let differ = Request::get("http://internal/x").header("host", "api.example");
        assert_eq!(named(differ).unwrap_err().reason, "host-mismatch");
        let twice = Request::get("/").header("host", "a").header("host", "a");
        assert_eq!(named(twice).unwrap_err().reason, "several-hosts");
    }

    #[test]
    fn what_is_too_long_is_refused_whatever_the_protocol() {
        let long = Request::get(format!("/{}", "x".repeat(MAX_TARGET)));
        assert_eq!(named(long).unwrap_err().status, StatusCode::URI_TOO_LONG);
        let many =
            (0..=MAX_FIELDS).fold(Request::get("/"), |request, n| request.header(format!("x-{n}"), "1"));
        assert_eq!(named(many).unwrap_err().status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }

    #[test]
    fn connect_is_not_offered() {
        let refusal = named(Request::connect("example.com:443")).unwrap_err();
        assert_eq!(refusal.status, StatusCode::METHOD_NOT_ALLOWED);
    }
}
