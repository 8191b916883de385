//! Entity tags and conditions, in both directions (RFC 9110 §8.8 and §13, RFC 9111 §4.3.1 and §4.3.2).
//!
//! Invariant: only validators that the origin made go to the origin; one that we made ([`made_etag`]) meets clients only.
//! It refuses to know the body.

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::policy::RequestHead;
use crate::policy::date;
use crate::policy::fields::strip_selective;
use crate::policy::freshness::date_field;

/// A well-formed entity tag (RFC 9110 §8.8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Etag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

impl<'a> Etag<'a> {
    /// Reads one; `None` if it is not one (unquoted, as `W/1851`, or with `w/`).
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (tag, rest) = Self::cut(value)?;
        rest.is_empty().then_some(tag)
    }

    /// Reads one from the front of a list and gives the rest.
    fn cut(list: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, quoted) = match list.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, list),
        };
        let inner = quoted.strip_prefix(b"\"")?;
        let end = inner.iter().position(|byte| *byte == b'"')?;
        let opaque = &inner[..end];
        let etagc = |byte: &u8| *byte == 0x21 || (0x23..=0x7e).contains(byte) || *byte >= 0x80;
        opaque.iter().all(etagc).then_some((Self { weak, opaque }, &inner[end + 1..]))
    }

    /// Whether it is a weak one.
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// Weak comparison (RFC 9110 §8.8.3.2).
    pub fn weakly_equals(&self, other: &Etag<'_>) -> bool {
        self.opaque == other.opaque
    }

    /// Strong comparison (RFC 9110 §8.8.3.2).
    pub fn strongly_equals(&self, other: &Etag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }
}

/// The entity tag of a response, if it has one and only one, and a valid one.
pub fn valid_etag(headers: &HeaderMap) -> Option<Etag<'_>> {
    let mut lines = headers.get_all(header::ETAG).iter();
    let only = lines.next()?;
    if lines.next().is_some() { None } else { Etag::parse(only.as_bytes()) }
}

/// A strong entity tag made of a digest of the stored bytes, for a response whose origin gave no valid one.
pub fn made_etag(digest: u128) -> HeaderValue {
    HeaderValue::from_str(&format!("\"lr-{digest:032x}\"")).expect("hexadecimal digits are visible ASCII")
}

/// Whether the origin gave anything to validate the response by.
pub(crate) fn has_validator(headers: &HeaderMap) -> bool {
    valid_etag(headers).is_some() || date_field(headers, &header::LAST_MODIFIED).is_some()
}

/// How much a validator has to prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Whatever the origin gave will do.
    Any,
    /// Only a strong entity tag: a `Last-Modified` within the same second would revive what a soft purge outdated.
    Strong,
}

/// Puts the conditions that validate `stored` into a request to the origin (RFC 9111 §4.3.1), and takes out the
/// client's. Gives whether the request is conditional now.
pub fn make_conditional(request: &mut HeaderMap, stored: &HeaderMap, proof: Proof) -> Conditional {
    strip_selective(request);
    let etag = valid_etag(stored).filter(|tag| proof == Proof::Any || !tag.is_weak());
    let mut made = Conditional::No;
    let copy = |from: HeaderName, to: HeaderName, request: &mut HeaderMap| {
        stored.get(from).map(|value| request.insert(to, value.clone())).is_some()
    };
    if etag.is_some() && copy(header::ETAG, header::IF_NONE_MATCH, request) {
        made = Conditional::Yes;
    }
    if proof == Proof::Any
        && date_field(stored, &header::LAST_MODIFIED).is_some()
        && copy(header::LAST_MODIFIED, header::IF_MODIFIED_SINCE, request)
    {
        made = Conditional::Yes;
    }
    made
}

/// Whether the entity tag of an answer proves that it speaks of the bytes that are `stored`.
pub fn proves(stored: &HeaderMap, answer: &HeaderMap, proof: Proof) -> bool {
    let same = |known: Etag<'_>| valid_etag(answer).is_some_and(|named| known.strongly_equals(&named));
    proof == Proof::Any || valid_etag(stored).is_some_and(same)
}

/// Whether a request to the origin carries conditions of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conditional {
    /// A 304 may come, and is ours to merge.
    Yes,
    /// Nothing to validate by: the answer will be whole.
    No,
}

/// Whether a client's conditions make the answer from a stored response a 304 (RFC 9110 §13.2.2, RFC 9111 §4.3.2).
/// `etag` is what the client is shown, the origin's or a made one. `If-Match` and `If-Unmodified-Since` are the
/// origin's to judge (RFC 9110 §13.1.1) and change nothing here.
pub fn not_modified(
    req: &RequestHead<'_>,
    status: StatusCode,
    etag: Option<&HeaderValue>,
    stored: &HeaderMap,
) -> bool {
    // §13.2.1: conditions count only where the answer without them is a success; RFC 10008 §2.6: QUERY is as GET
    if !status.is_success() || !matches!(req.method.as_str(), "GET" | "HEAD" | "QUERY") {
        return false;
    }
    if req.headers.contains_key(header::IF_NONE_MATCH) {
        let shown = etag.and_then(|value| Etag::parse(value.as_bytes()));
        return req
            .headers
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .any(|line| is_among(line.as_bytes(), shown));
    }
    let since = date::field(req.headers, &header::IF_MODIFIED_SINCE, date::made(stored));
    let Some(since) = since else { return false };
    let modified =
        if stored.contains_key(header::LAST_MODIFIED) { header::LAST_MODIFIED } else { header::DATE };
    date_field(stored, &modified).is_some_and(|modified| modified <= since)
}

/// One line of `If-None-Match`: `*`, or a list of tags, compared weakly. What is no tag matches nothing.
fn is_among(line: &[u8], shown: Option<Etag<'_>>) -> bool {
    if line.trim_ascii() == b"*" {
        return true;
    }
    let Some(shown) = shown else { return false };
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        if let Some((tag, after)) = Etag::cut(rest) {
            if tag.weakly_equals(&shown) {
                return true;
            }
            rest = after;
        }
        match rest.iter().position(|byte| *byte == b',') {
            Some(comma) => rest = &rest[comma + 1..],
            None => return false,
        }
    }
}

/// Whether a field of the stored head goes into a 304 (RFC 9110 §15.4.5): all but what describes the body that is not
/// there; `Last-Modified` only where no entity tag speaks.
pub fn belongs_in_304(name: &HeaderName, etag_is_shown: bool) -> bool {
    const OF_THE_BODY: [HeaderName; 5] = [
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
    ];
    let of_the_body = OF_THE_BODY.contains(name);
    let said_better = etag_is_shown && name == header::LAST_MODIFIED;
    !of_the_body && !said_better
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{get, head};

    const MODIFIED: &str = "Wed, 01 Jan 2020 00:00:00 GMT";

    fn answered_304(request: &[(&str, &str)], stored: &[(&str, &str)]) -> bool {
        let (request, stored) = (head(request), head(stored));
        not_modified(&get(&request), StatusCode::OK, stored.get("etag"), &stored)
    }

    #[test]
    fn a_tag_is_quoted_and_its_weakness_is_a_capital_w() {
        assert!(!Etag::parse(b"\"abc\"").unwrap().is_weak());
        assert!(Etag::parse(b"W/\"abc\"").unwrap().is_weak());
        assert!(Etag::parse("\"abcdef\u{fc}\"".as_bytes()).is_some());
        assert!(Etag::parse(b"\"\"").is_some());
        for bad in ["abc", "W/1851", "w/\"a\"", "W\"a\"", "\"a", "\"a\"b", "\"a b\"", "\"a\", \"b\"", ""] {
            assert_eq!(Etag::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn strong_comparison_wants_two_strong_tags() {
        let (strong, weak) = (Etag::parse(b"\"a\"").unwrap(), Etag::parse(b"W/\"a\"").unwrap());
        assert!(strong.weakly_equals(&weak) && weak.weakly_equals(&weak));
        assert!(strong.strongly_equals(&strong));
        assert!(!strong.strongly_equals(&weak) && !weak.strongly_equals(&weak));
    }

    #[test]
    fn two_tags_are_none() {
        assert_eq!(valid_etag(&head(&[("etag", "\"a\""), ("etag", "\"a\"")])), None);
    }

    #[test]
    fn if_none_match_finds_its_tag_anywhere_in_the_list() {
        let stored = [("etag", "\"a,b\"")];
        for list in ["\"a,b\"", "W/\"a,b\"", "\"x\", \"a,b\"", "junk, \"a,b\" ", "\"a,b\",\"x\"", "*", " * "]
        {
            assert!(answered_304(&[("if-none-match", list)], &stored), "{list}");
        }
        for list in ["\"a\"", "a,b", "\"x\", \"y\"", "\"a", "", "**"] {
            assert!(!answered_304(&[("if-none-match", list)], &stored), "{list}");
        }
        assert!(answered_304(&[("if-none-match", "\"x\""), ("if-none-match", "\"a,b\"")], &stored));
    }

    #[test]
    fn if_none_match_silences_if_modified_since() {
        let stored = [("etag", "\"a\""), ("last-modified", MODIFIED)];
        assert!(!answered_304(&[("if-none-match", "\"x\""), ("if-modified-since", MODIFIED)], &stored));
        let later = "Thu, 01 Jan 1970 00:00:00 GMT";
        assert!(answered_304(&[("if-none-match", "\"a\""), ("if-modified-since", later)], &stored));
    }

    #[test]
    fn if_modified_since_is_compared_with_last_modified_and_else_with_date() {
        let stored = [("last-modified", MODIFIED), ("date", "Fri, 01 Jan 2021 00:00:00 GMT")];
        for since in [MODIFIED, "Thu, 02 Jan 2020 00:00:00 GMT", "Wednesday, 01-Jan-20 00:00:00 GMT"] {
            assert!(answered_304(&[("if-modified-since", since)], &stored), "{since}");
        }
        for since in ["Tue, 31 Dec 2019 23:59:59 GMT", "yesterday"] {
            assert!(!answered_304(&[("if-modified-since", since)], &stored), "{since}");
        }
        assert!(answered_304(&[("if-modified-since", MODIFIED)], &[("date", MODIFIED)]));
        let before = "Tue, 31 Dec 2019 23:59:59 GMT";
        assert!(!answered_304(&[("if-modified-since", before)], &[("date", MODIFIED)]));
        assert!(!answered_304(&[("if-modified-since", MODIFIED)], &[]));
        let twice = [("if-modified-since", MODIFIED), ("if-modified-since", MODIFIED)];
        assert!(!answered_304(&twice, &stored));
    }

    #[test]
    fn only_a_success_becomes_a_304() {
        let (request, stored) = (head(&[("if-none-match", "*")]), head(&[("etag", "\"a\"")]));
        assert!(!not_modified(&get(&request), StatusCode::NOT_FOUND, stored.get("etag"), &stored));
    }

    #[test]
    fn conditions_are_judged_for_what_reads_and_what_posts_is_the_origin_s() {
        let stored = head(&[("etag", "\"a\""), ("last-modified", MODIFIED)]);
        for condition in [("if-none-match", "\"a\""), ("if-modified-since", MODIFIED)] {
            let headers = head(&[condition]);
            let judged = |method: &str| {
                let method = http::Method::from_bytes(method.as_bytes()).unwrap();
                let req = RequestHead { method: &method, headers: &headers, body_keyed: true };
                not_modified(&req, StatusCode::OK, stored.get("etag"), &stored)
            };
            assert_eq!(["GET", "HEAD", "QUERY", "POST"].map(judged), [true, true, true, false]);
        }
    }

    #[test]
    fn the_origin_sees_its_own_validators_and_nothing_else() {
        let mut request = head(&[("if-none-match", "\"client\""), ("range", "bytes=0-1"), ("accept", "*/*")]);
        let stored = head(&[("etag", "W/\"a\""), ("last-modified", MODIFIED)]);
        assert_eq!(make_conditional(&mut request, &stored, Proof::Any), Conditional::Yes);
        let sent = [("accept", "*/*"), ("if-none-match", "W/\"a\""), ("if-modified-since", MODIFIED)];
        assert_eq!(request, head(&sent));
        assert_eq!(make_conditional(&mut request, &stored, Proof::Strong), Conditional::No);
        assert_eq!(request, head(&[("accept", "*/*")]));
    }

    #[test]
    fn an_invalid_tag_is_never_sent_to_the_origin() {
        let mut request = HeaderMap::new();
        let stored = head(&[("etag", "W/1851"), ("last-modified", "yesterday")]);
        assert_eq!(make_conditional(&mut request, &stored, Proof::Any), Conditional::No);
        assert!(request.is_empty() && !has_validator(&stored));
    }

    #[test]
    fn a_made_tag_is_a_valid_strong_one() {
        let made = made_etag(u128::MAX);
        assert!(!Etag::parse(made.as_bytes()).unwrap().is_weak());
        assert_ne!(made, made_etag(1));
    }

    #[test]
    fn a_304_says_nothing_of_a_body_that_is_not_there() {
        assert!(!belongs_in_304(&header::CONTENT_TYPE, false));
        assert!(belongs_in_304(&header::CONTENT_LOCATION, true) && belongs_in_304(&header::VARY, true));
        assert!(
            belongs_in_304(&header::LAST_MODIFIED, false) && !belongs_in_304(&header::LAST_MODIFIED, true)
        );
    }
}
