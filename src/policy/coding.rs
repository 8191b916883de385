//! Content codings: what a request accepts, what a response has, and whether the one serves the other
//! (RFC 9110 §8.4, §12.5.3).
//!
//! Invariant: nobody gets a coding they did not accept, unless they asked exactly as the request that fetched it. It
//! refuses to know codings that Larder never offers: they neither part variants nor reach the origin on a fill.

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue};

/// A set of codings; also remembers whether the request said anything at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Codings(u8);

const IDENTITY: u8 = 1;
const SAID: u8 = 128;
/// In the order in which they are sent upstream.
const KNOWN: [(u8, &str); 4] = [(2, "gzip"), (4, "deflate"), (8, "br"), (16, "zstd")];
const ALL_KNOWN: u8 = 2 | 4 | 8 | 16;

impl Codings {
    /// What a request accepts. A silent one accepts identity only: RFC 9110 §12.5.3 would let it have any coding, and
    /// what is silent can rarely decode one.
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        let (mut accepted, mut named, mut others) = (0, 0, None);
        for line in headers.get_all(ACCEPT_ENCODING) {
            accepted |= SAID;
            for member in line.as_bytes().split(|byte| *byte == b',') {
                let (name, refused) = match member.iter().position(|byte| *byte == b';') {
                    Some(end) => (&member[..end], is_refused(&member[end..])),
                    None => (member, false),
                };
                let name = name.trim_ascii();
                if name == b"*" {
                    others = Some(!refused);
                } else if let Some(bit) = bit(name) {
                    named |= bit;
                    accepted |= if refused { 0 } else { bit };
                }
            }
        }
        let unnamed = !named & (ALL_KNOWN | IDENTITY);
        accepted |= match others {
            Some(true) => unnamed,
            Some(false) => 0,
            None => unnamed & IDENTITY, // §12.5.3: identity is acceptable unless excluded
        };
        Self(accepted)
    }

    /// As a request says it; `None`: it said nothing.
    fn to_value(self) -> Option<HeaderValue> {
        if !self.contains(SAID) {
            return None;
        }
        let mut offer = String::with_capacity(32);
        for (_, name) in KNOWN.iter().filter(|(bit, _)| self.contains(*bit)) {
            if !offer.is_empty() {
                offer.push_str(", ");
            }
            offer.push_str(name);
        }
        match (offer.is_empty(), self.contains(IDENTITY)) {
            (true, true) => offer.push_str("identity"),
            (true, false) => offer.push_str("*;q=0"),
            (false, true) => {}
            (false, false) => offer.push_str(", identity;q=0"),
        }
        HeaderValue::try_from(offer).ok()
    }

    fn contains(self, other: u8) -> bool {
        self.0 & other == other
    }

    fn is_within(self, other: Self) -> bool {
        other.contains(self.0 & !SAID)
    }
}

fn bit(name: &[u8]) -> Option<u8> {
    let (bit, known) = match name.len() {
        2 => (8, "br"),
        4 if matches!(name[0], b'g' | b'G') => (2, "gzip"),
        4 => (16, "zstd"),
        6 => (2, "x-gzip"), // RFC 9110 §8.4.1.3
        7 => (4, "deflate"),
        8 => (IDENTITY, "identity"),
        _ => return None,
    };
    name.eq_ignore_ascii_case(known.as_bytes()).then_some(bit)
}

/// Whether the parameters hold `q=0`.
fn is_refused(parameters: &[u8]) -> bool {
    let mut parameters = parameters.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let quality = parameters.find_map(|one| one.strip_prefix(b"q=").or_else(|| one.strip_prefix(b"Q=")));
    quality.is_some_and(|q| q.starts_with(b"0") && q.iter().all(|byte| matches!(byte, b'0' | b'.')))
}

/// What a stored response needs of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Coded {
    /// What the request that fetched it accepted.
    offered: Codings,
    /// What its body is coded with; `None`: with something that we do not know.
    with: Option<u8>,
    /// Whether the origin chose by `Accept-Encoding`.
    chosen: bool,
}

impl Coded {
    /// `chosen`: the response's `Vary` names Accept-Encoding.
    pub(crate) fn of(request: &HeaderMap, response: &HeaderMap, chosen: bool) -> Self {
        let mut with = Some(0);
        for line in response.get_all(CONTENT_ENCODING) {
            for name in line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                if !name.is_empty() && !name.eq_ignore_ascii_case(b"identity") {
                    with = with.zip(bit(name)).map(|(before, bit)| before | bit);
                }
            }
        }
        let with = with.map(|bits| if bits == 0 { IDENTITY } else { bits });
        Self { offered: Codings::accepted(request), with, chosen }
    }

    /// Whether the origin chose by `Accept-Encoding`.
    pub(crate) fn is_chosen(&self) -> bool {
        self.chosen
    }

    /// The `Accept-Encoding` of a request that would fetch it again; `None`: none.
    pub(crate) fn asked(&self) -> Option<HeaderValue> {
        self.offered.to_value()
    }

    /// Whether it serves a request with these fields. An origin that chose a coding out of a larger offer would choose
    /// the same out of a smaller one that still holds it (independence of irrelevant alternatives).
    pub(crate) fn serves(&self, request: &HeaderMap) -> bool {
        if !self.chosen && self.with == Some(IDENTITY) {
            return true; // the origin sends it to everybody
        }
        let accepted = Codings::accepted(request);
        if accepted == self.offered {
            return true;
        }
        let acceptable = self.with.is_some_and(|with| accepted.contains(with));
        acceptable && (!self.chosen || accepted.is_within(self.offered))
    }
}

/// The `Accept-Encoding` of a fill for this client: the codings it accepts out of those that Larder knows, in one fixed
/// order. `None`: it sent none, and none is sent.
pub fn fill_accept_encoding(request: &HeaderMap) -> Option<HeaderValue> {
    Codings::accepted(request).to_value()
}

/// Whether a request lets the origin choose among no other codings than a fill would.
pub fn offers_known_only(request: &HeaderMap) -> bool {
    let lines = request.get_all(ACCEPT_ENCODING).iter();
    let members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let mut names = members.filter_map(|member| member.split(|byte| *byte == b';').next());
    names.all(|name| name.trim_ascii().is_empty() || bit(name.trim_ascii()).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::head;

    fn accepting(said: Option<&str>) -> HeaderMap {
        said.map_or_else(HeaderMap::new, |said| head(&[("accept-encoding", said)]))
    }

    fn fill(said: &str) -> String {
        fill_accept_encoding(&accepting(Some(said))).unwrap().to_str().unwrap().to_owned()
    }

    /// Whether what was fetched by `first` and came as `coded` serves `then`.
    fn serves(first: Option<&str>, coded: &str, chosen: bool, then: Option<&str>) -> bool {
        let response = if coded.is_empty() { HeaderMap::new() } else { head(&[("content-encoding", coded)]) };
        Coded::of(&accepting(first), &response, chosen).serves(&accepting(then))
    }

    #[test]
    fn what_a_fill_would_not_offer_is_told_from_what_it_would() {
        for known in ["", "gzip, deflate", "br, gzip;q=0.5", "identity", "zstd,, x-gzip"] {
            assert!(offers_known_only(&accepting(Some(known))), "{known}");
        }
        assert!(offers_known_only(&accepting(None)));
        for other in ["*", "gzip, *;q=0", "dcb", "gzip, compress", "gz ip"] {
            assert!(!offers_known_only(&accepting(Some(other))), "{other}");
        }
    }

    #[test]
    fn a_fill_offers_what_the_client_accepts_in_one_order() {
        assert_eq!(fill("zstd, br, deflate, gzip"), "gzip, deflate, br, zstd");
        assert_eq!(fill("BR;q=0.5, X-GZIP , sdch"), "gzip, br");
        assert_eq!(fill("gzip;q=0, br;q=0.000, zstd;q=0.001"), "zstd");
        assert_eq!(fill("*"), "gzip, deflate, br, zstd");
        assert_eq!(fill("*, br;q=0"), "gzip, deflate, zstd");
        assert_eq!(fill("gzip, *;q=0"), "gzip, identity;q=0");
        assert_eq!(fill("gzip, identity; q=0"), "gzip, identity;q=0");
        assert_eq!(fill(""), "identity");
        assert_eq!(fill("*;q=0"), "*;q=0");
        assert_eq!(fill_accept_encoding(&HeaderMap::new()), None);
    }

    #[test]
    fn a_choice_serves_a_smaller_offer_that_still_holds_it() {
        let all = Some("gzip, deflate, br, zstd");
        assert!(serves(all, "gzip", true, Some("gzip")));
        assert!(serves(all, "gzip", true, Some("br, gzip")));
        assert!(serves(all, "", true, Some("gzip, br")));
        assert!(serves(all, "", true, None));
    }

    #[test]
    fn a_choice_out_of_a_smaller_offer_does_not_serve_a_larger_one() {
        assert!(!serves(Some("gzip"), "gzip", true, Some("gzip, br")));
        assert!(!serves(None, "", true, Some("gzip")));
    }

    #[test]
    fn nobody_gets_a_coding_they_did_not_accept() {
        for chosen in [true, false] {
            assert!(!serves(Some("gzip, br"), "br", chosen, Some("gzip")));
            assert!(!serves(Some("gzip, br"), "br", chosen, None));
            assert!(!serves(Some("gzip, br"), "gzip, br", chosen, Some("gzip")));
            assert!(!serves(Some("gzip"), "mystery", chosen, Some("br")));
        }
        assert!(!serves(Some("gzip"), "", true, Some("gzip, identity;q=0")));
    }

    #[test]
    fn who_asks_alike_is_served_alike_whatever_came() {
        for said in [None, Some("gzip"), Some("")] {
            assert!(serves(said, "mystery", true, said), "{said:?}");
            assert!(serves(said, "br", false, said), "{said:?}");
        }
    }

    #[test]
    fn without_vary_a_coded_body_serves_who_accepts_it_and_a_plain_one_everybody() {
        assert!(serves(Some("gzip"), "gzip", false, Some("gzip, br")));
        assert!(serves(Some("gzip"), "", false, Some("br")));
        assert!(serves(Some("gzip"), "", false, Some("identity;q=0")));
        assert!(serves(Some("gzip"), "identity", false, None));
    }
}
