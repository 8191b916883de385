//! Names that an entry is outdated by.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::route::identity::Digest;

/// One tag. Those of paths begin with `//`, which no configured tag does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<str>);

impl Tag {
    /// A target path with every query, under either scheme (RFC 9111 §4.4): `//host/path`. `path` is decoded, so
    /// that every spelling is one tag; a slash at the end does not count.
    pub fn path(authority: &str, path: &str) -> Self {
        Self(format!("//{authority}{}", path.trim_end_matches('/')).into())
    }

    /// Every entry of whoever shows these credentials. Begins with a byte that no configured tag may hold.
    pub fn credential(digest: &Digest) -> Self {
        let mut tag = String::from("\u{1}credential:");
        for byte in digest.as_bytes() {
            tag.push_str(&format!("{byte:02x}"));
        }
        Self(tag.into())
    }

    /// A tag as configured, or as an origin names it.
    pub fn named(name: &str) -> Self {
        Self(name.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Tag {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_tag_with_and_without_its_last_slash() {
        assert_eq!(Tag::path("api.example.com", "/a/b/"), Tag::path("api.example.com", "/a/b"));
        assert_eq!(Tag::path("api.example.com", "/").as_str(), "//api.example.com");
        assert_ne!(Tag::path("a", "/b"), Tag::path("a:80", "/b"));
    }
}
