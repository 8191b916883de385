//! A URL of somebody who is told something: a server, and a path that may hold a secret.
//!
//! Invariant: the path is shown by nothing here. It refuses to know what is posted there.

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Uri};

use crate::upstream::Origin;

/// Where something is posted to.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    origin: Origin,
    host: HeaderValue,
    path: PathAndQuery,
}

/// Why it is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    /// Neither http nor https, or not absolute.
    #[error("is not an http or https URL")]
    Malformed,
    /// `https://user:password@host`
    #[error("has a user in it, which is not sent")]
    User,
}

impl Endpoint {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`BadEndpoint`]; the text is not repeated, for it may hold a secret.
    pub fn parse(url: &str) -> Result<Self, BadEndpoint> {
        let uri: Uri = url.parse().map_err(|_| BadEndpoint::Malformed)?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(BadEndpoint::Malformed),
        };
        let authority = uri.authority().ok_or(BadEndpoint::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(BadEndpoint::User);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        if host.is_empty() || authority.port().is_some_and(|said| said.as_str().is_empty()) {
            return Err(BadEndpoint::Malformed);
        }
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let header = HeaderValue::from_str(authority.as_str()).map_err(|_| BadEndpoint::Malformed)?;
        Ok(Self { origin: Origin::Tcp { tls, host, port }, host: header, path })
    }

    /// The server.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Its name, as a request's `Host` has it.
    pub fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// The path and query that are asked for, which may hold a secret.
    pub fn target(&self) -> &PathAndQuery {
        &self.path
    }

    /// The same as text.
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    /// Where it is, without its path.
    pub fn place(&self) -> String {
        self.origin.to_string()
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({}/…)", self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_place_and_a_path_that_is_shown_nowhere() {
        let endpoint = Endpoint::parse("https://hooks.example.com/services/T0/secret?x=1").unwrap();
        assert_eq!(endpoint.place(), "https://hooks.example.com:443");
        assert_eq!(
            (endpoint.path.as_str(), endpoint.host.to_str().unwrap()),
            ("/services/T0/secret?x=1", "hooks.example.com")
        );
        assert!(!format!("{endpoint:?}").contains("secret"));
        let endpoint = Endpoint::parse("http://[::1]:9000").unwrap();
        assert_eq!((endpoint.place().as_str(), endpoint.path.as_str()), ("http://[::1]:9000", "/"));
        for (url, why) in [
            ("ftp://x/", BadEndpoint::Malformed),
            ("/path", BadEndpoint::Malformed),
            ("", BadEndpoint::Malformed),
            ("http://", BadEndpoint::Malformed),
            ("http://u:p@host/", BadEndpoint::User),
        ] {
            assert_eq!(Endpoint::parse(url).unwrap_err(), why, "{url}");
        }
    }
}
