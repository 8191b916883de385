//! Who may ask the admin API: the token, and on a loopback listener the Host and Origin of the request.
//!
//! A page from elsewhere can make a browser send requests to 127.0.0.1, by a form or by a name that it rebinds in
//! DNS. Such a request names itself: its Host or its Origin is not ours. It refuses to know what is asked for.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hmac::digest::CtOutput;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::admin::PROBES;
use crate::admin::problem::Problem;

/// What is asked of a request before it is answered.
pub(crate) struct Access {
    listens_on_loopback: bool,
    token: Option<CtOutput<Hmac<Sha256>>>,
}

impl Access {
    /// For a listener configured on `listen`.
    pub(crate) fn new(listen: SocketAddr, token: Option<&str>) -> Self {
        Self {
            listens_on_loopback: listen.ip().is_loopback(),
            token: token.map(|token| digest(token.as_bytes())),
        }
    }

    fn refuses(&self, request: &Request) -> Option<Problem> {
        if self.listens_on_loopback {
            if !names_loopback(request.uri(), request.headers()) {
                let detail =
                    "This listener is on loopback and answers to localhost, 127.0.0.0/8 and [::1] only.";
                return Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
            }
            if !is_same_origin(request.headers()) {
                let detail = "The request comes from a page of another origin.";
                return Some(Problem::new(StatusCode::FORBIDDEN, detail));
            }
        }
        let is_probe = PROBES.iter().any(|(path, _)| *path == request.uri().path());
        let token = self.token.as_ref().filter(|_| !is_probe)?;
        // Digests of equal length are compared in constant time: neither content nor length of the token leaks.
        let is_right = bearer(request.headers()).is_some_and(|given| digest(given) == *token);
        (!is_right).then(|| {
            Problem::new(StatusCode::UNAUTHORIZED, "The admin API asks for its bearer token.")
                .with(WWW_AUTHENTICATE, "Bearer")
        })
    }
}

/// Middleware: answers what [`Access`] refuses.
pub(crate) async fn check(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    match access.refuses(&request) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    }
}

/// Whether every authority that the request names is loopback. None at all (HTTP/1.0) is no browser.
fn names_loopback(uri: &Uri, headers: &HeaderMap) -> bool {
    let by_target = uri.authority().is_none_or(is_loopback);
    let by_host = headers
        .get_all(HOST)
        .iter()
        .all(|host| Authority::try_from(host.as_bytes()).is_ok_and(|authority| is_loopback(&authority)));
    by_target && by_host
}

fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Whether the Origin, where there is one, is the authority that was asked (RFC 6454 §7).
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    match (headers.contains_key(ORIGIN), text(ORIGIN), text(HOST)) {
        (false, ..) => true,
        (true, Some(origin), Some(host)) => {
            origin.split_once("://").is_some_and(|(_scheme, authority)| authority.eq_ignore_ascii_case(host))
        }
        (true, ..) => false,
    }
}

/// The credential of `Authorization: Bearer …` (RFC 6750 §2.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

fn digest(token: &[u8]) -> CtOutput<Hmac<Sha256>> {
    Hmac::<Sha256>::new_from_slice(b"larder admin token")
        .expect("HMAC takes a key of any length")
        .chain_update(token)
        .finalize()
}
