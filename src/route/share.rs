//! Who may use an entry, and why a request uses none.

use crate::route::identity::Digest;
use crate::route::path::Ambiguity;

/// Whose entries a request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Those of everybody; a fill carries no credential, unless it is the origin who says what all share (`scope: origin`).
    Shared,
    /// Those of whoever sends the same credentials.
    Credential(Digest),
    /// None.
    Bypass(Bypass),
}

impl Share {
    /// The digest that keys the entry, if one does.
    pub fn digest(self) -> Option<Digest> {
        match self {
            Self::Credential(digest) => Some(digest),
            Self::Shared | Self::Bypass(_) => None,
        }
    }
}

/// Why a request goes to the origin without a look at the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bypass {
    /// The route says so.
    Route,
    /// Two parsers may read its target in two ways.
    Ambiguous(Ambiguity),
    /// The route is per user, and the request names none.
    NoCredential,
}

impl Bypass {
    /// The word for metrics, logs and the `detail` of `Cache-Status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Ambiguous(ambiguity) => ambiguity.as_str(),
            Self::NoCredential => "no-credential",
        }
    }
}
