//! Who may use an entry, and why a request uses none.

use crate::policy::Sharing;
use crate::route::identity::Digest;
use crate::route::path::Ambiguity;
use crate::route::tag::Tag;

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

    /// The tag of every entry that these credentials open, if they open any.
    pub fn tag(self) -> Option<Tag> {
        self.digest().map(|digest| Tag::credential(&digest))
    }

    /// Who can find an entry again, as the policy sees it.
    pub fn sharing(self) -> Sharing {
        match self {
            Self::Credential(_) => Sharing::PerCredential,
            Self::Shared | Self::Bypass(_) => Sharing::Shared,
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
