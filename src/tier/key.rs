//! Where an answer lies in the shared tier.
//!
//! ```text
//! <prefix>:<epoch>:<rules' digest>:<-|o>:k<key>         without or with `Origin` in the request; the key as it is
//! <prefix>:<epoch>:<rules' digest>:<-|o>:h<SHA-256>     a long key
//! …:v<XXH3-128>                                         a variant, by what the request says in the fields that count
//! ```
//! Invariant: a place is an address and proves nothing: the full key lies in the value and is compared, and so is what the variant was
//! chosen by. A new epoch and other rules have other places, so nothing from before them is found.
//!
//! What does not vary lies in the first place, and is found in one round trip; so is what varies by nothing but the presence of
//! `Origin`. Of what varies otherwise (`Vary`, or an `Access-Control-Allow-Origin` that is not `*`) the first place holds a signpost,
//! which says by which fields; then the variant is asked for, in a second round trip within the same deadline. Variants are told
//! apart by normalised values, as in memory, but for `Accept-Encoding`: each set of codings has its own. It refuses to know what lies
//! there, and what Redis is.

use http::header::{ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, HeaderMap, HeaderValue, ORIGIN, VARY};
use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::Xxh3;

use crate::fault::{self, Fault};
use crate::policy::Selector;
use crate::route::key::Key;
use crate::tier::codec::Signpost;

/// Longest key that is a name as it is, in bytes.
const LONGEST: usize = 256;

/// A name in Redis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place(Vec<u8>);

impl Place {
    /// Where answers to `key` lie, for requests with these fields. `prefix` is that of its shard.
    pub fn of(prefix: &str, epoch: u64, key: &Key, request: &HeaderMap) -> Self {
        let origin = if request.contains_key(ORIGIN) { 'o' } else { '-' };
        let epoch = if fault::is(Fault::EpochKeepsSharedKeys) { 0 } else { epoch };
        let mut name = format!("{prefix}:{epoch:x}:{:016x}:{origin}:", key.rules()).into_bytes();
        if key.len() <= LONGEST {
            name.push(b'k');
            name.extend_from_slice(key);
        } else {
            name.push(b'h');
            let digest: [u8; 32] = Sha256::digest(&**key).into();
            name.extend(digest.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()));
        }
        Self(name)
    }

    /// Where the variant lies that a request with these fields has; `select` is [`Selector::of`] under the route's rule. `None`: it
    /// says what is nobody else's business, and has none here.
    pub fn of_variant<S>(&self, signpost: &Signpost, request: &HeaderMap, select: S) -> Option<Self>
    where
        S: Fn(&HeaderMap, &HeaderMap) -> Option<Selector>,
    {
        let example = select(request, &signpost.head())?.example()?;
        let by_coding = signpost.names(ACCEPT_ENCODING.as_str());
        let mut hash = Xxh3::new();
        for (name, value) in example.iter().filter(|(name, _)| by_coding || **name != ACCEPT_ENCODING) {
            for text in [name.as_str().as_bytes(), value.as_bytes()] {
                hash.update(&(text.len() as u64).to_le_bytes());
                hash.update(text);
            }
        }
        let mut name = self.0.clone();
        name.extend_from_slice(format!(":v{:032x}", hash.digest128()).as_bytes());
        Some(Self(name))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Signpost {
    /// The one to an answer to `key` with these fields.
    pub fn to(key: &Key, response: &HeaderMap) -> Self {
        let allowed = response.get(ACCESS_CONTROL_ALLOW_ORIGIN);
        Self {
            key: key.clone(),
            vary: response.get_all(VARY).iter().cloned().collect(),
            any_origin: allowed.is_some_and(|allowed| allowed == "*"),
        }
    }

    /// Of an answer that varies as those do that it points at, what says so.
    fn head(&self) -> HeaderMap {
        let mut head = HeaderMap::new();
        self.vary.iter().for_each(|line| {
            head.append(VARY, line.clone());
        });
        if self.any_origin {
            head.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        head
    }

    fn names(&self, field: &str) -> bool {
        let mut names = self.vary.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        names.any(|name| name.trim_ascii().eq_ignore_ascii_case(field.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Rule;

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        lines.iter().for_each(|(name, value)| _ = map.append(*name, value.parse().unwrap()));
        map
    }

    fn select(request: &HeaderMap, response: &HeaderMap) -> Option<Selector> {
        Selector::of(request, response, &Rule::default(), &|cookie| cookie == "session").ok()
    }

    fn key(length: usize, last: u8) -> Key {
        let mut bytes = vec![0; length];
        *bytes.last_mut().unwrap() = last;
        Key::from_bytes(&bytes)
    }

    fn place(epoch: u64, key: &Key, request: &HeaderMap) -> Place {
        Place::of("larder:e", epoch, key, request)
    }

    #[test]
    fn a_place_names_epoch_rules_and_key() {
        let mut bytes = vec![1, 0xef, 0xcd, 0xab, 0, 0, 0, 0, 0x12];
        bytes.extend_from_slice(b"rest");
        let own = place(0xfeed, &Key::from_bytes(&bytes), &HeaderMap::new());
        assert!(own.as_bytes().starts_with(b"larder:e:feed:1200000000abcdef:-:k\x01"), "{own:?}");
        assert!(own.as_bytes().ends_with(b"rest"));
    }

    #[test]
    fn nothing_is_found_in_another_epoch_under_another_key_or_without_the_origin() {
        let none = HeaderMap::new();
        for length in [20, LONGEST, LONGEST + 1, 4_000] {
            let own = place(1, &key(length, 1), &none);
            assert!(own.as_bytes().len() < LONGEST + 80);
            assert_eq!(own, place(1, &key(length, 1), &fields(&[("accept", "x")])));
            assert_ne!(own, place(2, &key(length, 1), &none));
            assert_ne!(own, place(1, &key(length, 2), &none));
            assert_ne!(own, place(1, &key(length, 1), &fields(&[("origin", "https://a")])));
            assert_ne!(own, Place::of("other:e", 1, &key(length, 1), &none));
        }
    }

    #[test]
    fn requests_that_are_answered_alike_find_the_same_variant() {
        let post =
            Signpost::to(&key(9, 1), &fields(&[("vary", "Accept-Language, X-Unit"), ("vary", "Cookie")]));
        let first = place(1, &post.key, &HeaderMap::new());
        let variant = |lines: &[(&'static str, &str)]| first.of_variant(&post, &fields(lines), select);
        let own = variant(&[("accept-language", "de, en;q=0.5"), ("x-unit", "km")]).unwrap();
        assert_eq!(Some(&own), variant(&[("accept-language", "DE,en;q=0.1"), ("x-unit", " km")]).as_ref());
        let coded = [
            ("accept-language", "de,en"),
            ("x-unit", "km"),
            ("accept-encoding", "br"),
            ("cookie", "theme=1"),
        ];
        assert_eq!(Some(&own), variant(&coded).as_ref(), "what does not count");
        assert_ne!(Some(&own), variant(&[("accept-language", "de, en;q=0.5"), ("x-unit", "mi")]).as_ref());
        assert_ne!(Some(&own), variant(&[("accept-language", "en, de"), ("x-unit", "km")]).as_ref());
        assert_ne!(own, first);
        assert_eq!(variant(&[("cookie", "session=1")]), None, "somebody's own");
    }

    #[test]
    fn origins_that_are_answered_alike_are_one() {
        let of = |allowed: &str, origin: &str| {
            let answer = fields(&[("vary", "accept-encoding"), ("access-control-allow-origin", allowed)]);
            let post = Signpost::to(&key(9, 1), &answer);
            let request = fields(&[("origin", origin), ("accept-encoding", "gzip")]);
            place(1, &post.key, &request).of_variant(&post, &request, select).unwrap()
        };
        assert_eq!(of("*", "https://a"), of("*", "https://b"));
        assert_ne!(of("https://a", "https://a"), of("https://a", "https://b"));
    }

    #[test]
    fn what_would_fetch_an_answer_again_finds_it_again() {
        let answer = fields(&[("vary", "accept-encoding, accept-language, x-unit, origin")]);
        let post = Signpost::to(&key(9, 1), &answer);
        for request in [
            fields(&[]),
            fields(&[
                ("accept-encoding", "gzip;q=0.5, br"),
                ("x-unit", ""),
                ("accept-language", "de, en;q=0.2"),
            ]),
            fields(&[("accept-encoding", "*;q=0"), ("origin", "https://a"), ("x-unit", "a,  b ,c")]),
        ] {
            let again = select(&request, &answer).unwrap().example().unwrap();
            let first = place(1, &post.key, &request);
            assert_eq!(first, place(1, &post.key, &again));
            let variant = |request| first.of_variant(&post, request, select);
            assert_eq!(variant(&request), variant(&again), "{request:?}");
        }
    }
}
