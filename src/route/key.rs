//! The name under which an answer is kept: everything that may tell it from another answer, byte for byte.
//!
//! ```text
//! scheme u8 · settings digest u64 · credential (0 | 1, 16 bytes) · authority · path · query · body · headers
//! ```
//! Texts are prefixed with their length (u32, little-endian), and each declared header with the number of its
//! lines, so no delimiter inside one can pass for another, and absent differs from empty. Equality is that of all
//! bytes; a hash alone names nothing, but for that of a body (SHA-256). The key lives in this process: it is no wire
//! format. The method is in it only with a body (a GET's entry answers HEAD); the variants below it are not.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use http::HeaderMap;

use crate::route::host::Scheme;
use crate::route::identity::Digest;
use crate::route::table::KeySpec;

/// Room that most keys find enough, in bytes.
const USUAL: usize = 256;

/// What a key is made of, all in canonical form.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The client's scheme.
    pub scheme: Scheme,
    /// [`crate::route::host::Authority`].
    pub authority: &'a str,
    /// [`crate::route::path::Path`].
    pub path: &'a str,
    /// [`crate::route::query::Query`].
    pub query: &'a str,
    /// Whose entry it is; `None`: everybody's.
    pub credential: Option<Digest>,
    /// Stands for method and body where the body is part of the question; else empty.
    pub body: &'a [u8],
    /// The request's fields, of which `spec` picks.
    pub headers: &'a HeaderMap,
    /// What the route says of its keys.
    pub spec: &'a KeySpec,
}

/// A key for looking up.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyBuf(Vec<u8>);

/// A key to keep: cheap to clone, found by `&[u8]`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<[u8]>);

/// What a key says of the requests that it answers, for people: it tells whether they have a credential, and not which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told<'a> {
    /// The client's scheme.
    pub scheme: Scheme,
    /// Whether it is for those who show one certain credential, and for nobody else.
    pub is_of_a_credential: bool,
    /// As keyed.
    pub authority: &'a str,
    /// As keyed, escapes and all.
    pub path: &'a str,
    /// As keyed; empty: none.
    pub query: &'a str,
    /// Whether method and body are part of the question.
    pub is_by_content: bool,
}

impl Key {
    /// The key that these bytes are.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(Arc::from(bytes))
    }

    /// The digest of the settings of its route; 0 if nobody wrote it as a key.
    pub fn rules(&self) -> u64 {
        let digest = self.0.get(1..).and_then(|behind| behind.first_chunk());
        digest.map_or(0, |digest| u64::from_le_bytes(*digest))
    }

    /// What it says; `None` if nobody wrote it as a key.
    pub fn told(&self) -> Option<Told<'_>> {
        let (scheme, rest) = self.0.split_first()?;
        let (_rules, rest) = rest.split_at_checked(size_of::<u64>())?;
        let (credential, rest) = rest.split_first()?;
        let mut rest = rest.split_at_checked(if *credential == 0 { 0 } else { 16 })?.1;
        let mut text = || {
            let (length, behind) = rest.split_first_chunk()?;
            let (text, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = behind;
            Some(text)
        };
        let (authority, path, query) = (text()?, text()?, text()?);
        Some(Told {
            scheme: if *scheme == 0 { Scheme::Http } else { Scheme::Https },
            is_of_a_credential: *credential != 0,
            authority: std::str::from_utf8(authority).ok()?,
            path: std::str::from_utf8(path).ok()?,
            query: std::str::from_utf8(query).ok()?,
            is_by_content: !text()?.is_empty(),
        })
    }
}

impl KeyBuf {
    /// Writes the key of these parts.
    pub fn of(parts: &Parts<'_>) -> Self {
        let mut key = Self(Vec::with_capacity(USUAL));
        key.0.push(match parts.scheme {
            Scheme::Http => 0,
            Scheme::Https => 1,
        });
        key.0.extend_from_slice(&parts.spec.digest.to_le_bytes());
        match &parts.credential {
            None => key.0.push(0),
            Some(digest) => {
                key.0.push(1);
                key.0.extend_from_slice(digest.as_bytes());
            }
        }
        for text in [parts.authority.as_bytes(), parts.path.as_bytes(), parts.query.as_bytes(), parts.body] {
            key.text(text);
        }
        for name in &parts.spec.headers {
            let lines = parts.headers.get_all(name);
            key.length(lines.iter().count());
            lines.iter().for_each(|line| key.text(line.as_bytes()));
        }
        key
    }

    /// A copy to keep.
    pub fn to_key(&self) -> Key {
        Key(Arc::from(self.0.as_slice()))
    }

    fn text(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn length(&mut self, length: usize) {
        let length = u32::try_from(length).expect("a request head is bounded far below 4 GiB");
        self.0.extend_from_slice(&length.to_le_bytes());
    }
}

impl Deref for KeyBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for KeyBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyBuf({})", self.0.escape_ascii())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use crate::route::content::ContentSpec;
    use crate::route::query::QuerySpec;

    fn spec(digest: u64) -> KeySpec {
        let headers = vec![HeaderName::from_static("x-one"), HeaderName::from_static("x-two")];
        KeySpec { query: QuerySpec::default(), headers, content: ContentSpec::default(), digest }
    }

    /// A canonical request, as far as the key sees it.
    #[derive(Clone, Debug, PartialEq)]
    struct Request {
        https: bool,
        authority: String,
        path: String,
        query: String,
        credential: Option<u8>,
        body: Vec<u8>,
        one: Vec<String>,
        two: Vec<String>,
        digest: u64,
    }

    impl Request {
        fn key(&self) -> KeyBuf {
            let mut headers = HeaderMap::new();
            for (name, lines) in [("x-one", &self.one), ("x-two", &self.two)] {
                for line in lines {
                    headers.append(name, HeaderValue::from_str(line).unwrap());
                }
            }
            KeyBuf::of(&Parts {
                scheme: if self.https { Scheme::Https } else { Scheme::Http },
                authority: &self.authority,
                path: &self.path,
                query: &self.query,
                credential: self.credential.map(|byte| Digest::from([byte; 16])),
                body: &self.body,
                headers: &headers,
                spec: &spec(self.digest),
            })
        }
    }

    fn request() -> impl Strategy<Value = Request> {
        let lines = || prop::collection::vec("[a,; ]{0,2}", 0..3);
        let target = ("[a.:]{1,2}", "/[a?/]{0,2}", "[a=&]{0,2}", prop::collection::vec(0..2u8, 0..2));
        (any::<bool>(), target, prop::option::of(0..2u8), lines(), lines(), 0..2u64).prop_map(
            |(https, (authority, path, query, body), credential, one, two, digest)| Request {
                https,
                authority,
                path,
                query,
                credential,
                body,
                one,
                two,
                digest,
            },
        )
    }

    #[test]
    fn bytes_that_are_no_key_tell_nothing() {
        for bytes in [&b""[..], b"k", &[0; 9], &[0; 10], &[1; 40]] {
            assert_eq!(Key::from_bytes(bytes).told(), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn a_key_tells_what_it_was_made_of_but_not_whose_it_is(request in request()) {
            let key = request.key().to_key();
            let told = key.told().unwrap();
            prop_assert_eq!(told.scheme == Scheme::Https, request.https);
            prop_assert_eq!(told.is_of_a_credential, request.credential.is_some());
            prop_assert_eq!(
                (told.authority, told.path, told.query),
                (request.authority.as_str(), request.path.as_str(), request.query.as_str())
            );
            prop_assert_eq!(told.is_by_content, !request.body.is_empty());
        }

        #[test]
        fn equal_keys_mean_equal_requests(a in request(), b in request()) {
            prop_assert_eq!(a.key() == b.key(), a == b);
            prop_assert_eq!(a.key(), a.clone().key());
        }

        #[test]
        fn one_difference_is_enough(a in request(), b in request(), which in 0..9) {
            let mut changed = a.clone();
            match which {
                0 => changed.https = b.https,
                1 => changed.authority = b.authority,
                2 => changed.path = b.path,
                3 => changed.query = b.query,
                4 => changed.credential = b.credential,
                5 => changed.body = b.body,
                6 => changed.one = b.one,
                7 => changed.two = b.two,
                _ => changed.digest = b.digest,
            }
            prop_assert_eq!(a.key() == changed.key(), a == changed);
        }
    }

    fn plain() -> Request {
        Request {
            https: false,
            authority: "a".into(),
            path: "/".into(),
            query: String::new(),
            credential: None,
            body: vec![],
            one: vec![],
            two: vec![],
            digest: 0,
        }
    }

    #[test]
    fn absent_empty_and_moved_headers_differ() {
        let one =
            |lines: &[&str]| Request { one: lines.iter().map(|l| (*l).into()).collect(), ..plain() }.key();
        let two =
            |lines: &[&str]| Request { two: lines.iter().map(|l| (*l).into()).collect(), ..plain() }.key();
        let keys =
            [one(&[]), one(&[""]), one(&["a"]), one(&["a", "a"]), one(&["a, a"]), two(&[""]), two(&["a"])];
        for (i, a) in keys.iter().enumerate() {
            assert!(keys[..i].iter().all(|b| a != b), "{a:?}");
        }
    }

    #[test]
    fn a_kept_key_is_found_by_a_buffer() {
        let buffer = plain().key();
        let map = HashMap::from([(buffer.to_key(), 1)]);
        assert_eq!(map.get(&*plain().key()), Some(&1));
        assert_eq!(map.get(&*Request { https: true, ..plain() }.key()), None);
    }
}
