//! One byte range: what a request asks for, and what that is out of a complete stored body (RFC 9110 §14): 206, 416, or
//! the whole.
//!
//! Invariant: whatever is not one plain satisfiable range is answered with the whole, which is always right (§14.2),
//! or with 416. It refuses to know the bytes.

use std::ops::Range;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};

use crate::policy::RequestHead;
use crate::policy::freshness::date_field;
use crate::policy::validate::Etag;

/// The one range that a request asks for (RFC 9110 §14.1.2), before anybody knows how long the representation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `first-last`: both ends included, never backwards.
    FromTo(u64, u64),
    /// `first-`: from there to the end.
    From(u64),
    /// `-n`: the last `n` bytes.
    Last(u64),
}

impl Asked {
    /// What a GET or a QUERY asks for; `None` if that is not one well-formed byte range.
    pub fn by(req: &RequestHead<'_>) -> Option<Self> {
        let mut lines = req.headers.get_all(header::RANGE).iter();
        match (lines.next(), lines.next()) {
            // RFC 9110 §14.2: for GET only; RFC 10008 §2.8: QUERY is as GET
            (Some(range), None) if matches!(req.method.as_str(), "GET" | "QUERY") => {
                Self::parse(range.as_bytes())
            }
            _ => None,
        }
    }

    fn parse(value: &[u8]) -> Option<Self> {
        let equals = value.iter().position(|byte| *byte == b'=')?;
        let (unit, spec) = (&value[..equals], value[equals + 1..].trim_ascii());
        if !unit.eq_ignore_ascii_case(b"bytes") {
            return None;
        }
        let dash = spec.iter().position(|byte| *byte == b'-')?;
        let (first, last) = (&spec[..dash], &spec[dash + 1..]);
        match (first.is_empty(), last.is_empty()) {
            (true, true) => None,
            (true, false) => Some(Self::Last(position(last)?)),
            (false, true) => Some(Self::From(position(first)?)),
            (false, false) => {
                let (first, last) = (position(first)?, position(last)?);
                (first <= last).then_some(Self::FromTo(first, last))
            }
        }
    }

    /// Which bytes these are of `length`; empty if none of them is there.
    pub fn of(self, length: u64) -> Range<u64> {
        match self {
            Self::FromTo(first, last) => first..last.saturating_add(1).min(length),
            Self::From(first) => first..length,
            Self::Last(count) => length.saturating_sub(count)..length,
        }
    }

    /// The `Range` that asks for it.
    pub fn to_value(self) -> HeaderValue {
        let text = match self {
            Self::FromTo(first, last) => format!("bytes={first}-{last}"),
            Self::From(first) => format!("bytes={first}-"),
            Self::Last(count) => format!("bytes=-{count}"),
        };
        HeaderValue::from_str(&text).expect("digits are visible ASCII")
    }
}

/// Which part of a stored body answers the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it, with the stored status.
    Whole,
    /// These bytes, with 206.
    Bytes(Range<u64>),
    /// None: 416.
    Unsatisfiable,
}

impl Part {
    /// The `Content-Range` that goes with it, for a body of `length` bytes (RFC 9110 §14.4).
    pub fn content_range(&self, length: u64) -> Option<HeaderValue> {
        let text = match self {
            Self::Whole => return None,
            Self::Bytes(bytes) => format!("bytes {}-{}/{length}", bytes.start, bytes.end.saturating_sub(1)),
            Self::Unsatisfiable => format!("bytes */{length}"),
        };
        HeaderValue::from_str(&text).ok()
    }
}

/// Chooses the part of a stored body of `length` bytes. `etag` is what the client is shown, the origin's or a made one.
/// Several ranges are answered with the whole. Judge the client's conditions first (RFC 9110 §13.2.2).
pub fn select(
    req: &RequestHead<'_>,
    status: StatusCode,
    stored: &HeaderMap,
    etag: Option<&HeaderValue>,
    length: u64,
) -> Part {
    let Some(asked) = Asked::by(req) else { return Part::Whole };
    if status != StatusCode::OK || length == 0 || !if_range_holds(req.headers, stored, etag) {
        return Part::Whole;
    }
    let bytes = asked.of(length);
    if bytes.start < length { Part::Bytes(bytes) } else { Part::Unsatisfiable }
}

/// Whether `If-Range`, if the request has one, lets a stored response be cut (RFC 9110 §13.1.5): the same strong tag, or
/// exactly the stored `Last-Modified`, and that a strong one (§8.8.2.2). `etag` is what the client is shown.
pub fn if_range_holds(request: &HeaderMap, stored: &HeaderMap, etag: Option<&HeaderValue>) -> bool {
    let Some(condition) = request.get(header::IF_RANGE) else { return true };
    if let Some(asked) = Etag::parse(condition.as_bytes()) {
        let shown = etag.and_then(|value| Etag::parse(value.as_bytes()));
        return shown.is_some_and(|shown| shown.strongly_equals(&asked));
    }
    let modified = date_field(stored, &header::LAST_MODIFIED);
    let sent = date_field(stored, &header::DATE);
    let is_strong = matches!((modified, sent), (Some(modified), Some(sent)) if sent > modified);
    is_strong && stored.get(header::LAST_MODIFIED) == Some(condition)
}

/// Digits only; too large is the largest.
fn position(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0_u64, |n, digit| n.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    use crate::policy::testing::{get, head};

    fn part(request: &[(&str, &str)], stored: &[(&str, &str)]) -> Part {
        let (request, stored) = (head(request), head(stored));
        select(&get(&request), StatusCode::OK, &stored, stored.get("etag"), 10)
    }

    fn of(range: &str) -> Part {
        part(&[("range", range)], &[])
    }

    #[test]
    fn one_range_is_cut_out() {
        assert_eq!(of("bytes=0-1"), Part::Bytes(0..2));
        assert_eq!(of("Bytes=9-"), Part::Bytes(9..10));
        assert_eq!(of("bytes=2-99999999999999999999999"), Part::Bytes(2..10));
        assert_eq!(of("bytes=-3"), Part::Bytes(7..10));
        assert_eq!(of("bytes=-99"), Part::Bytes(0..10));
    }

    #[test]
    fn what_lies_beyond_the_end_cannot_be_satisfied() {
        for range in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(of(range), Part::Unsatisfiable, "{range}");
        }
    }

    #[test]
    fn what_is_not_one_plain_range_gets_the_whole() {
        for range in [
            "bytes=0-1,4-5",
            "bytes=5-4",
            "bytes=-",
            "bytes=",
            "bytes",
            "items=0-1",
            "bytes=a-",
            "bytes=+1-2",
        ] {
            assert_eq!(of(range), Part::Whole, "{range}");
        }
        assert_eq!(part(&[("range", "bytes=0-1"), ("range", "bytes=2-3")], &[]), Part::Whole);
        assert_eq!(part(&[], &[]), Part::Whole);
    }

    #[test]
    fn only_a_get_of_a_200_with_a_body_has_ranges() {
        let headers = head(&[("range", "bytes=0-1")]);
        let none = HeaderMap::new();
        let req = get(&headers);
        assert_eq!(select(&req, StatusCode::NOT_FOUND, &none, None, 10), Part::Whole);
        assert_eq!(select(&req, StatusCode::OK, &none, None, 0), Part::Whole);
        let req = RequestHead { method: &Method::HEAD, ..req };
        assert_eq!(select(&req, StatusCode::OK, &none, None, 10), Part::Whole);
    }

    #[test]
    fn if_range_holds_for_the_same_strong_validator_only() {
        let under = |condition: &str, stored: &[(&str, &str)]| {
            part(&[("range", "bytes=0-1"), ("if-range", condition)], stored) != Part::Whole
        };
        let (modified, later) = ("Wed, 01 Jan 2020 00:00:00 GMT", "Wed, 01 Jan 2020 00:00:01 GMT");
        assert!(under("\"a\"", &[("etag", "\"a\"")]));
        assert!(!under("\"a\"", &[("etag", "\"b\"")]));
        assert!(!under("W/\"a\"", &[("etag", "W/\"a\"")]));
        assert!(!under("\"a\"", &[]));
        assert!(under(modified, &[("last-modified", modified), ("date", later)]));
        assert!(!under(modified, &[("last-modified", modified), ("date", modified)]));
        assert!(!under(later, &[("last-modified", modified), ("date", later)]));
        assert!(!under("junk", &[("etag", "\"a\"")]));
    }

    #[test]
    fn what_is_asked_for_is_written_as_it_was_read() {
        for range in ["bytes=2-4", "bytes=7-", "bytes=-5", "bytes=0-0"] {
            let headers = head(&[("range", range)]);
            assert_eq!(Asked::by(&get(&headers)).unwrap().to_value(), range);
        }
    }

    #[test]
    fn content_range_names_what_was_cut_out_of_what() {
        assert_eq!(Part::Bytes(2..5).content_range(10).unwrap(), "bytes 2-4/10");
        assert_eq!(Part::Unsatisfiable.content_range(10).unwrap(), "bytes */10");
        assert_eq!(Part::Whole.content_range(10), None);
    }
}
