//! Who may ask the admin API: the token, and on a loopback listener the Host and Origin of the request.
//!
//! A page from elsewhere can make a browser send requests to 127.0.0.1, by a form or by a name that it rebinds in
//! DNS. Such a request names itself: its Host or its Origin is not ours. It refuses to know what is asked for.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{HOST, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::admin::problem::Problem;
use crate::token::{Keyring, Role};

/// What is asked of a request before it is answered.
pub(crate) struct Access {
    listens_on_loopback: bool,
    /// Those that count now.
    keys: Box<dyn Fn() -> Arc<Keyring> + Send + Sync>,
    /// Whether a request to this path may come without a token.
    is_open: Box<IsOpen>,
}

type IsOpen = dyn Fn(&str) -> bool + Send + Sync;

/// Who asks, once he was let in.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// For the audit list: a token's name; where nobody needs one, the peer's address.
    pub(crate) name: String,
    /// What he may do; `None`: only what is for everyone.
    pub(crate) may: Option<Role>,
}

impl Caller {
    /// Whether he may do what needs `role`.
    ///
    /// # Errors
    /// 403: he is known, and may not; 401: he is not known.
    pub(crate) fn needs(&self, role: Role) -> Result<(), Problem> {
        match self.may {
            Some(may) if may >= role => Ok(()),
            Some(may) => {
                let (role, may) = (role.as_str(), may.as_str());
                let detail = format!("This needs a token that may `{role}`; yours may `{may}`.");
                Err(Problem::new(StatusCode::FORBIDDEN, detail))
            }
            None => Err(unknown()),
        }
    }
}

impl Access {
    /// For a listener configured on `listen`; `is_open` says of a path whether one may come to it without a token.
    pub(crate) fn new(
        listen: SocketAddr,
        keys: impl Fn() -> Arc<Keyring> + Send + Sync + 'static,
        is_open: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            listens_on_loopback: listen.ip().is_loopback(),
            keys: Box::new(keys),
            is_open: Box::new(is_open),
        }
    }

    fn admits(&self, request: &Request, peer: SocketAddr) -> Result<Caller, Problem> {
        if self.listens_on_loopback {
            if !names_loopback(request.uri(), request.headers()) {
                let detail =
                    "This listener is on loopback and answers to localhost, 127.0.0.0/8 and [::1] only.";
                return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
            }
            if !is_same_origin(request.headers()) {
                let detail = "The request comes from a page of another origin.";
                return Err(Problem::new(StatusCode::FORBIDDEN, detail));
            }
        }
        let somebody = |may| Caller { name: peer.ip().to_canonical().to_string(), may };
        let keys = (self.keys)();
        if keys.is_empty() {
            return Ok(somebody(Some(Role::All)));
        }
        match keys.holder(request.headers()) {
            Some(holder) => Ok(Caller { name: holder.name.to_string(), may: Some(holder.may) }),
            None if (self.is_open)(request.uri().path()) => Ok(somebody(None)),
            None => Err(unknown()),
        }
    }
}

fn unknown() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "The admin API asks for its bearer token.")
        .with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

/// Middleware: answers what [`Access`] does not admit, and says who asks to what comes behind.
pub(crate) async fn check(
    State(access): State<Arc<Access>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    match access.admits(&request, peer) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Middleware: lets those through who may do what needs `role`.
pub(crate) async fn may(State(role): State<Role>, request: Request, next: Next) -> Response {
    let refused = request.extensions().get::<Caller>().map(|caller| caller.needs(role));
    match refused.expect("`check` says who asks, and stands before this") {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
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
