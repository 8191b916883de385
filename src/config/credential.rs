//! Where credentials and user ids stand in a request, and what warming may ask for.
//!
//! Invariant: a path for warming never leaves the configured upstream.

use http::HeaderName;
use http::uri::PathAndQuery;

use crate::config::shape::{Refusal, Scalar};
use crate::route::identity::{Credential, UserSource};

impl Scalar for Credential {
    const WHAT: &'static str = "a header name or cookie:NAME";

    fn parse(text: &str) -> Result<Self, Refusal> {
        match text.split_once(':') {
            Some(("cookie", name)) => cookie(text, name).map(Self::Cookie),
            Some(("header", name)) => <HeaderName as Scalar>::parse(name).map(Self::Header),
            Some(_) => Err(Refusal::new(
                format!("`{text}` is no place of a credential"),
                "write X-Api-Key or cookie:session",
            )),
            None => <HeaderName as Scalar>::parse(text).map(Self::Header),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Header(name) => name.to_string(),
            Self::Cookie(name) => format!("cookie:{name}"),
        }
    }
}

impl Scalar for UserSource {
    const WHAT: &'static str = "jwt:CLAIM, header:NAME or cookie:NAME";

    fn parse(text: &str) -> Result<Self, Refusal> {
        match text.split_once(':') {
            Some(("cookie", name)) => cookie(text, name).map(Self::Cookie),
            Some(("header", name)) => <HeaderName as Scalar>::parse(name).map(Self::Header),
            Some(("jwt", claim)) if !claim.is_empty() => Ok(Self::Jwt(claim.to_owned())),
            _ => Err(Refusal::new(
                format!("`{text}` is no place of a user's id"),
                format!("write {}", Self::WHAT),
            )),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Jwt(claim) => format!("jwt:{claim}"),
            Self::Header(name) => format!("header:{name}"),
            Self::Cookie(name) => format!("cookie:{name}"),
        }
    }
}

/// The name of a cookie is a token (RFC 6265 §4.1.1).
fn cookie(text: &str, name: &str) -> Result<String, Refusal> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(token) {
        return Err(Refusal::new(format!("`{text}` names no cookie"), "write cookie:session"));
    }
    Ok(name.to_owned())
}

/// Path and query that warming asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WarmPath(pub(crate) PathAndQuery);

impl Scalar for WarmPath {
    const WHAT: &'static str = "a path";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text.contains("://") || text.starts_with("//") {
            let message = format!("`{text}` is a URL: warming asks the configured upstream only");
            return Err(Refusal::new(message, "write the path, e.g. /api/stats"));
        }
        if !text.starts_with('/') {
            return Err(Refusal::new(format!("`{text}` does not start with `/`"), format!("write /{text}")));
        }
        if text.contains(['{', '}']) {
            let hint = "name the list itself; its items fill the placeholders of `get`";
            return Err(Refusal::new(format!("`{text}` is a template, not a path"), hint));
        }
        let path = text.parse::<PathAndQuery>().ok().filter(|path| path.as_str() == text);
        let hint = "percent-encode what a URL cannot hold; leave `#…` out";
        path.map(Self).ok_or_else(|| Refusal::new(format!("`{text}` is not a path"), hint))
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_headers_and_cookies() {
        for text in ["authorization", "x-api-key", "cookie:session", "cookie:SID.1"] {
            assert_eq!(<Credential as Scalar>::parse(text).unwrap().show(), text);
        }
        assert_eq!(<Credential as Scalar>::parse("header:X-Key").unwrap().show(), "x-key");
        for text in ["cookie:", "cookie:a b", "jwt:sub", "", "a b", "cookie:a;b"] {
            assert!(<Credential as Scalar>::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn users_are_found_in_three_places() {
        for text in ["jwt:sub", "header:x-user-id", "cookie:uid"] {
            assert_eq!(<UserSource as Scalar>::parse(text).unwrap().show(), text);
        }
        for text in ["sub", "jwt:", "query:uid"] {
            assert!(<UserSource as Scalar>::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn warming_never_leaves_the_upstream() {
        for text in ["/", "/api/stats?x=1&y=%20"] {
            assert_eq!(WarmPath::parse(text).unwrap().show(), text);
        }
        for text in ["http://a/x", "//evil/x", "api/x", "/a/{id}", "/a#b", "/a b", "/a\nb", ""] {
            assert!(WarmPath::parse(text).is_err(), "{text}");
        }
    }
}
