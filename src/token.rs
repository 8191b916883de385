//! Bearer tokens: who holds one, and what he may do.
//!
//! Invariant: a comparison takes the same time whatever is given, so it tells nothing of a token; and no token is ever shown. It
//! refuses to know what they open.

use std::sync::Arc;

use hmac::digest::CtOutput;
use hmac::{Hmac, Mac};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::Sha256;

/// The name under which `admin.token` acts.
pub const ADMIN: &str = "admin";

/// One of `admin.tokens`.
#[derive(Clone)]
pub struct Token {
    /// Its name, for the audit list.
    pub name: String,
    /// The bearer token.
    pub token: String,
    /// What it may do.
    pub may: Role,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("name", &self.name).field("may", &self.may).finish_non_exhaustive()
    }
}

/// What the holder of a token may do; each may what the one before may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Read,
    /// Invalidate.
    Purge,
    /// Everything; what `admin.token` may.
    All,
}

impl Role {
    /// The word for it in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Purge => "purge",
            Self::All => "all",
        }
    }
}

/// Who showed a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The token's name.
    pub name: Arc<str>,
    /// What he may do.
    pub may: Role,
}

/// All tokens of one configuration.
#[derive(Default)]
pub struct Keyring {
    keys: Vec<(CtOutput<Hmac<Sha256>>, Holder)>,
}

impl Keyring {
    /// `admin.token`, which may do everything, and `admin.tokens`.
    pub fn new(admin: Option<&str>, tokens: &[Token]) -> Self {
        let holder = |name: &str, may| Holder { name: name.into(), may };
        let admin = admin.map(|token| (digest(token.as_bytes()), holder(ADMIN, Role::All)));
        let named =
            tokens.iter().map(|token| (digest(token.token.as_bytes()), holder(&token.name, token.may)));
        Self { keys: admin.into_iter().chain(named).collect() }
    }

    /// Whether there is no token at all.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Who shows a token of ours: as a bearer token (RFC 6750 §2.1), or in `Fastly-Key`, as Fastly's clients do.
    pub fn holder(&self, headers: &HeaderMap) -> Option<&Holder> {
        let fastly = headers.get("fastly-key").map(http::HeaderValue::as_bytes);
        [bearer(headers), fastly].into_iter().flatten().find_map(|given| self.holder_of(given))
    }

    /// Every token is looked at, whichever it is: digests of equal length, each compared in constant time.
    fn holder_of(&self, given: &[u8]) -> Option<&Holder> {
        let given = digest(given);
        self.keys.iter().fold(None, |found, (key, holder)| if *key == given { Some(holder) } else { found })
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(_, holder)| holder)).finish()
    }
}

/// The credential of `Authorization: Bearer …`.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring() -> Keyring {
        let ci = Token { name: "ci".into(), token: "c1".into(), may: Role::Purge };
        Keyring::new(Some("s3cret"), &[ci])
    }

    fn holder(name: &'static str, value: &str) -> Option<Holder> {
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())]);
        keyring().holder(&headers).cloned()
    }

    #[test]
    fn a_token_is_known_by_its_name_and_role() {
        let admin = Some(Holder { name: ADMIN.into(), may: Role::All });
        assert_eq!(holder("authorization", "Bearer s3cret"), admin);
        assert_eq!(holder("authorization", "bearer s3cret"), admin);
        assert_eq!(
            holder("authorization", "Bearer c1"),
            Some(Holder { name: "ci".into(), may: Role::Purge })
        );
        assert_eq!(holder("fastly-key", "s3cret"), admin);
    }

    #[test]
    fn whatever_else_is_given_is_nobodys() {
        for value in ["s3cret", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cret ", "Basic s3cret"] {
            assert_eq!(holder("authorization", value), None, "{value}");
        }
        assert_eq!(holder("fastly-key", "Bearer s3cret"), None);
        assert_eq!(Keyring::new(None, &[]).holder(&HeaderMap::new()), None);
    }

    #[test]
    fn no_token_is_shown() {
        let shown = format!("{:?}", keyring());
        assert!(shown.contains("ci") && !shown.contains("s3cret") && !shown.contains("c1"), "{shown}");
    }
}
