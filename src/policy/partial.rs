//! Parts of a representation: which are stored, what they answer, and how they become one (RFC 9111 §3.3, §3.4;
//! RFC 9110 §14.4, §15.3.7).
//!
//! ```text
//! 206 -> may_store -> its body ends -> measured ─┬─ a part     older  ├────────┤
//!                                     combine  ─┴─ or a 200   newer       ├─────────┤   one strong tag
//!                                                              both   ├─────────────┤
//! ```
//! Invariant: a byte is never given for another offset than the origin said it has; bytes come together only under one
//! strong entity tag, and only if their number is what was said. It refuses to know where parts are kept.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::policy::freshen;
use crate::policy::freshness::{ResponseTimes, Word};
use crate::policy::range::{Asked, Part};
use crate::policy::store::{self, NoStore, Storable};
use crate::policy::validate::valid_etag;
use crate::policy::{PartLength, RequestHead, Rule, Sharing};

/// Speak of the bytes of one message: no two parts have them in common.
const OF_THE_MESSAGE: [HeaderName; 4] = [
    header::CONTENT_RANGE,
    header::CONTENT_LENGTH,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("content-digest"),
];

/// Where the bytes of a part lie in their representation. Never empty, never beyond the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    first: u64,
    /// Behind the last byte.
    end: u64,
    total: u64,
}

impl ContentRange {
    /// Reads a `Content-Range` that names all three numbers (RFC 9110 §14.4); `None` if there is not exactly one.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(header::CONTENT_RANGE).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return None };
        let (unit, rest) = line.to_str().ok()?.split_once(' ')?;
        let (bounds, total) = rest.split_once('/')?;
        let (first, last) = bounds.split_once('-')?;
        let (first, last, total) = (number(first)?, number(last)?, number(total)?);
        let valid = unit.eq_ignore_ascii_case("bytes") && first <= last && last < total;
        valid.then(|| Self { first, end: last + 1, total })
    }

    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        self.end - self.first
    }

    /// How many bytes the whole representation has.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Whether nothing is missing.
    pub fn is_whole(&self) -> bool {
        self.length() == self.total
    }

    /// The `Content-Range` that says so.
    pub fn content_range(&self) -> Option<HeaderValue> {
        Part::Bytes(self.first..self.end).content_range(self.total)
    }

    /// Both together; `None` if bytes between them are missing, or they are of different lengths in all.
    fn join(&self, other: &Self) -> Option<Self> {
        let touch = self.first <= other.end && other.first <= self.end && self.total == other.total;
        let (first, end) = (self.first.min(other.first), self.end.max(other.end));
        touch.then_some(Self { first, end, total: self.total })
    }
}

/// Digits only.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Decides whether a 206 may be stored: as the 200 that it is a part of, by the origin's explicit word alone. `headers`
/// are the response's as they came. Once its body has ended, [`measured`] has the last word.
///
/// # Errors
/// The reason, if it may not.
pub fn may_store(
    req: &RequestHead<'_>,
    sharing: Sharing,
    headers: &HeaderMap,
    rule: &Rule,
    times: ResponseTimes,
) -> Result<Storable, NoStore> {
    let range = ContentRange::of(headers).ok_or(NoStore::Partial)?;
    // Several parts say where they lie within the body (RFC 9110 §15.3.7.2); a state is read from a whole one.
    if is_multipart(headers) || rule.store_if.is_some() {
        return Err(NoStore::Partial);
    }
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| number(length.to_str().ok()?));
    if rule.part_length == PartLength::Checked && announced.is_some_and(|length| length != range.length()) {
        return Err(NoStore::PartLength);
    }
    let storable = store::may_store(req, sharing, StatusCode::OK, headers, rule, times)?;
    if !storable.life().source().is_explicit() {
        return Err(NoStore::NoFreshness);
    }
    let mut stored = storable.headers().clone();
    strip_message(&mut stored);
    Ok(storable.with(StatusCode::PARTIAL_CONTENT, stored, Some(range)))
}

/// The last word on a part whose body came to its clean end after `length` bytes: one that lacks nothing is a 200.
///
/// # Errors
/// [`NoStore::PartLength`] if that is not the length that it said, and the rule minds.
pub fn measured(storable: Storable, length: u64, rule: PartLength) -> Result<Storable, NoStore> {
    let Some(range) = storable.part() else { return Ok(storable) };
    match (range.length() == length, rule) {
        (true, _) if range.is_whole() => {
            let mut headers = storable.headers().clone();
            headers.insert(header::CONTENT_LENGTH, range.total.into());
            Ok(storable.with(StatusCode::OK, headers, None))
        }
        (true, _) | (false, PartLength::AsItCame) => Ok(storable),
        (false, PartLength::Checked) => Err(NoStore::PartLength),
    }
}

/// A stored part.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// Where it says that it lies.
    pub range: ContentRange,
    /// Its fields, as [`Storable`] gave them.
    pub headers: &'a HeaderMap,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl Stored<'_> {
    fn is_exact(&self) -> bool {
        self.range.length() == self.bytes.len() as u64
    }
}

/// Combines a stored part with a newer one of at least the same strong validator (RFC 9111 §3.4), if no byte is missing
/// between them and both have no more than `longest` bytes: a larger part, or the 200. The newer one's fields replace
/// the stored ones, and its life is the life of both.
pub fn combine(older: Stored<'_>, newer: &Storable, bytes: &[u8], longest: u64) -> Option<(Storable, Bytes)> {
    let (lies, fresh) = (older.range, newer.part()?);
    let exact = older.is_exact() && fresh.length() == bytes.len() as u64;
    if !exact || !is_same_representation(older.headers, newer.headers()) {
        return None;
    }
    let joined = lies.join(&fresh).filter(|joined| joined.length() <= longest)?;
    let at = |offset: u64| usize::try_from(offset.saturating_sub(lies.first)).ok();
    let before = older.bytes.get(..at(fresh.first)?.min(older.bytes.len()))?;
    let after = older.bytes.get(at(fresh.end)?.min(older.bytes.len())..)?;
    let mut body = BytesMut::with_capacity(before.len() + bytes.len() + after.len());
    for piece in [before, bytes, after] {
        body.extend_from_slice(piece);
    }
    let mut headers = freshen::updated(older.headers, newer.headers());
    strip_message(&mut headers);
    for name in store::unstored_fields(&Word::of(newer.headers()).directives) {
        headers.remove(name);
    }
    let storable = newer.clone().with(StatusCode::PARTIAL_CONTENT, headers, Some(joined));
    measured(storable, body.len() as u64, PartLength::Checked).ok().map(|storable| (storable, body.freeze()))
}

/// What asks for the rest of a stored part, if it is a beginning that can be completed (RFC 9111 §3.3): `Range`, and
/// the `If-Range` that keeps bytes of another representation away. That takes a strong entity tag.
pub fn ask_for_rest(stored: Stored<'_>) -> Option<(HeaderValue, HeaderValue)> {
    let ContentRange { first, end, .. } = stored.range;
    valid_etag(stored.headers).filter(|tag| first == 0 && stored.is_exact() && !tag.is_weak())?;
    let etag = stored.headers.get(header::ETAG)?.clone();
    Some((Asked::From(end).to_value(), etag))
}

/// The fields of the 200 that a stored beginning and the 206 to [`ask_for_rest`] are together; `None` if that brings
/// anything but exactly the rest of the same representation. `rest` are its fields as they came.
pub fn complete(stored: Stored<'_>, rest: &HeaderMap) -> Option<HeaderMap> {
    let (lies, brought) = (stored.range, ContentRange::of(rest).filter(|_| !is_multipart(rest))?);
    let is_rest = brought.first == lies.end && brought.end == brought.total && brought.total == lies.total;
    if !is_rest || !is_same_representation(stored.headers, rest) {
        return None;
    }
    let mut headers = freshen::updated(stored.headers, rest);
    strip_message(&mut headers);
    headers.insert(header::CONTENT_LENGTH, lies.total.into());
    Some(headers)
}

/// Which bytes of a stored part's body answer what is asked for, and where they lie in the representation; `None` if
/// not all of it is there. `length` is that of the body.
///
/// A body that is not as long as its `Content-Range` said ([`PartLength::AsItCame`]) counts from whichever end it is
/// asked from: `-n` from its end, all else from its beginning, as far as it goes. An exact one counts alike from both.
pub fn locate(asked: Asked, range: &ContentRange, length: u64) -> Option<(Range<u64>, ContentRange)> {
    let wanted = asked.of(range.total);
    if wanted.is_empty() || wanted.start < range.first || wanted.end > range.end {
        return None;
    }
    let bytes = match asked {
        Asked::Last(_) => length.saturating_sub(wanted.end - wanted.start)..length,
        Asked::FromTo(..) | Asked::From(_) => {
            wanted.start - range.first..length.min(wanted.end - range.first)
        }
    };
    let given = bytes.end.checked_sub(bytes.start).filter(|given| *given > 0)?;
    let first = if let Asked::Last(_) = asked { wanted.end - given } else { wanted.start };
    Some((bytes, ContentRange { first, end: first + given, total: range.total }))
}

/// RFC 9110 §8.8.3.2, strongly compared. A tag that outlived a change of coding speaks for neither.
fn is_same_representation(stored: &HeaderMap, newer: &HeaderMap) -> bool {
    let coding = newer.get(header::CONTENT_ENCODING);
    let same_coding = coding.is_none() || coding == stored.get(header::CONTENT_ENCODING);
    let tags = valid_etag(stored).zip(valid_etag(newer));
    same_coding && tags.is_some_and(|(stored, newer)| stored.strongly_equals(&newer))
}

fn is_multipart(headers: &HeaderMap) -> bool {
    const MULTIPART: &[u8] = b"multipart/byteranges";
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.get(..MULTIPART.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(MULTIPART))
}

fn strip_message(headers: &mut HeaderMap) {
    for name in &OF_THE_MESSAGE {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{at, get, head};
    use proptest::prelude::*;
    use std::time::Duration;

    const TEXT: &[u8] = b"0123456789";

    fn lies(first: u64, end: u64) -> ContentRange {
        ContentRange { first, end, total: 10 }
    }

    fn judged(fields: &[(&str, &str)], rule: &Rule) -> Result<Storable, NoStore> {
        let times = ResponseTimes { requested: at(0), received: at(0) };
        may_store(&get(&HeaderMap::new()), Sharing::Shared, &head(fields), rule, times)
    }

    /// A 206 of these bytes of [`TEXT`] under `etag`.
    fn part(first: u64, end: u64, etag: &str) -> Storable {
        let range = format!("bytes {first}-{}/10", end - 1);
        let fields = [("cache-control", "max-age=60"), ("etag", etag), ("content-range", &range)];
        judged(&fields, &Rule::default()).unwrap()
    }

    fn bytes(first: u64, end: u64) -> &'static [u8] {
        &TEXT[usize::try_from(first).unwrap()..usize::try_from(end).unwrap()]
    }

    fn stored(part: &Storable, bytes: &'static [u8]) -> (ContentRange, HeaderMap, &'static [u8]) {
        (part.part().unwrap(), part.headers().clone(), bytes)
    }

    fn combined(older: (u64, u64), newer: (u64, u64)) -> Option<(Storable, Bytes)> {
        let (range, headers, held) = stored(&part(older.0, older.1, "\"a\""), bytes(older.0, older.1));
        let older = Stored { range, headers: &headers, bytes: held };
        combine(older, &part(newer.0, newer.1, "\"a\""), bytes(newer.0, newer.1), 10)
    }

    /// A part of a representation of ten bytes, never empty.
    fn bounds() -> impl Strategy<Value = (u64, u64)> {
        (0..10_u64, 1..=10_u64).prop_map(|(first, length)| (first, (first + length).min(10)))
    }

    fn ranges() -> impl Strategy<Value = Asked> {
        prop_oneof![
            (0..12_u64, 0..12_u64).prop_map(|(a, b)| Asked::FromTo(a.min(b), a.max(b))),
            (0..12_u64).prop_map(Asked::From),
            (0..12_u64).prop_map(Asked::Last),
        ]
    }

    #[test]
    fn only_a_content_range_that_says_everything_is_read() {
        let of = |value: &str| ContentRange::of(&head(&[("content-range", value)]));
        assert_eq!(of("bytes 4-9/10"), Some(lies(4, 10)));
        assert_eq!(of("Bytes 0-0/10"), Some(lies(0, 1)));
        for value in [
            "bytes 4-9/*",
            "bytes */10",
            "bytes 4-10/10",
            "bytes 5-4/10",
            "bytes=4-9/10",
            "items 4-9/10",
            "bytes -9/10",
            "bytes +4-9/10",
            "bytes 4-9/10, bytes 0-1/10",
            "bytes 0-18446744073709551616/18446744073709551617",
            "",
        ] {
            assert_eq!(of(value), None, "{value}");
        }
        let twice = head(&[("content-range", "bytes 0-1/10"), ("content-range", "bytes 0-1/10")]);
        assert_eq!(ContentRange::of(&twice), None);
    }

    #[test]
    fn a_part_is_judged_as_the_200_it_is_a_part_of() {
        let range = ("content-range", "bytes 0-4/10");
        let storable = judged(&[range, ("cache-control", "max-age=60")], &Rule::default()).unwrap();
        assert_eq!((storable.status().as_u16(), storable.part()), (206, Some(lies(0, 5))));
        assert_eq!(storable.life().ttl(at(0)), 60);
        for (said, why) in [("private, max-age=60", NoStore::Private), ("no-store", NoStore::NoStore)] {
            assert_eq!(judged(&[range, ("cache-control", said)], &Rule::default()).unwrap_err(), why);
        }
    }

    #[test]
    fn a_part_lives_by_the_origins_explicit_word_alone() {
        let ours = Rule { ttl: Some(Duration::from_secs(60)), heuristic: true, ..Rule::default() };
        let fields = [("content-range", "bytes 0-4/10"), ("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT")];
        assert_eq!(judged(&fields, &ours).unwrap_err(), NoStore::NoFreshness);
    }

    #[test]
    fn what_says_of_no_single_place_where_it_lies_is_no_part() {
        let lives = ("cache-control", "max-age=60");
        assert_eq!(judged(&[lives], &Rule::default()).unwrap_err(), NoStore::Partial);
        let several = ("content-type", "Multipart/ByteRanges; boundary=x");
        let range = ("content-range", "bytes 0-4/10");
        assert_eq!(judged(&[lives, several, range], &Rule::default()).unwrap_err(), NoStore::Partial);
    }

    #[test]
    fn a_part_that_is_not_as_long_as_it_says_is_stored_only_as_it_came() {
        let fields = [("cache-control", "max-age=60"), ("content-range", "bytes 4-9/10")];
        let lying = [fields[0], fields[1], ("content-length", "5")];
        let lenient = Rule { part_length: PartLength::AsItCame, ..Rule::default() };
        assert_eq!(judged(&lying, &Rule::default()).unwrap_err(), NoStore::PartLength);
        assert!(judged(&lying, &lenient).is_ok());
        let part = judged(&fields, &Rule::default()).unwrap();
        assert_eq!(measured(part.clone(), 5, PartLength::Checked).unwrap_err(), NoStore::PartLength);
        assert_eq!(measured(part.clone(), 5, PartLength::AsItCame).unwrap().part(), Some(lies(4, 10)));
        assert_eq!(measured(part, 6, PartLength::Checked).unwrap().part(), Some(lies(4, 10)));
    }

    #[test]
    fn a_body_of_another_length_counts_from_the_end_it_is_asked_from() {
        let of = |asked| locate(asked, &lies(4, 10), 5);
        assert_eq!(of(Asked::FromTo(6, 8)), Some((2..5, lies(6, 9))));
        assert_eq!(of(Asked::From(6)), Some((2..5, lies(6, 9))));
        assert_eq!(of(Asked::Last(1)), Some((4..5, lies(9, 10))));
        assert_eq!(of(Asked::Last(5)), Some((0..5, lies(5, 10))));
        assert_eq!(of(Asked::FromTo(9, 9)), None, "it does not go that far");
        assert_eq!(locate(Asked::Last(6), &lies(4, 10), 100), Some((94..100, lies(4, 10))));
    }

    #[test]
    fn what_lacks_nothing_is_a_200() {
        let (whole, body) = combined((0, 5), (5, 10)).unwrap();
        assert_eq!((whole.status(), whole.part(), &*body), (StatusCode::OK, None, TEXT));
        assert_eq!(whole.headers()["content-length"], "10");
        assert!(!whole.headers().contains_key("content-range"));
        assert_eq!(measured(part(0, 10, "\"a\""), 10, PartLength::Checked).unwrap().status(), StatusCode::OK);
        let short = measured(part(0, 10, "\"a\""), 9, PartLength::AsItCame).unwrap();
        assert!(short.part().is_some(), "a whole that lacks a byte stays a part");
    }

    #[test]
    fn only_one_strong_tag_combines() {
        for (older, newer) in [("\"a\"", "\"b\""), ("W/\"a\"", "W/\"a\""), ("W/\"a\"", "\"a\""), ("a", "a")] {
            let (range, headers, held) = stored(&part(0, 5, older), bytes(0, 5));
            let older = Stored { range, headers: &headers, bytes: held };
            assert!(combine(older, &part(5, 10, newer), bytes(5, 10), 10).is_none(), "{newer}");
        }
    }

    #[test]
    fn what_lies_about_its_length_is_never_combined() {
        let (range, headers, held) = stored(&part(0, 5, "\"a\""), bytes(0, 4));
        let short = Stored { range, headers: &headers, bytes: held };
        assert!(combine(short, &part(5, 10, "\"a\""), bytes(5, 10), 10).is_none());
        assert!(combine(short, &part(3, 10, "\"a\""), bytes(3, 10), 10).is_none(), "whichever is missing");
        assert!(ask_for_rest(short).is_none());
        let exact = Stored { bytes: bytes(0, 5), ..short };
        assert!(combine(exact, &part(5, 10, "\"a\""), bytes(5, 9), 10).is_none());
        assert!(combine(exact, &part(5, 10, "\"a\""), bytes(5, 10), 9).is_none(), "too long together");
    }

    #[test]
    fn the_newer_fields_replace_the_stored_ones() {
        let with = |range, more: &[(&str, &str)]| {
            let mut fields =
                vec![("content-range", range), ("etag", "\"a\""), ("cache-control", "max-age=60")];
            fields.extend(more);
            judged(&fields, &Rule::default()).unwrap()
        };
        let older = with("bytes 0-4/10", &[("x-a", "1"), ("x-kept", "1"), ("content-digest", "x")]);
        let newer = with("bytes 5-6/10", &[("x-a", "2"), ("content-encoding", "gzip")]);
        let (range, headers, held) = stored(&older, bytes(0, 5));
        let older = Stored { range, headers: &headers, bytes: held };
        assert!(combine(older, &newer, bytes(5, 7), 10).is_none(), "another coding");
        let newer = with("bytes 5-6/10", &[("x-a", "2")]);
        let (both, _) = combine(older, &newer, bytes(5, 7), 10).unwrap();
        assert_eq!(
            (&both.headers()["x-a"], &both.headers()["x-kept"]),
            (&"2".parse().unwrap(), &"1".parse().unwrap())
        );
        assert!(
            !both.headers().contains_key("content-digest") && !both.headers().contains_key("content-length")
        );
    }

    #[test]
    fn a_beginning_is_completed_by_exactly_its_rest() {
        let (range, headers, held) = stored(&part(0, 5, "\"a\""), bytes(0, 5));
        let stored = Stored { range, headers: &headers, bytes: held };
        let (range, condition) = ask_for_rest(stored).unwrap();
        assert_eq!((range, condition), ("bytes=5-".parse().unwrap(), "\"a\"".parse().unwrap()));
        let by = |range, etag| complete(stored, &head(&[("content-range", range), ("etag", etag)]));
        assert_eq!(by("bytes 5-9/10", "\"a\"").unwrap()["content-length"], "10");
        for (range, etag) in [
            ("bytes 5-9/10", "\"b\""),
            ("bytes 4-9/10", "\"a\""),
            ("bytes 5-8/10", "\"a\""),
            ("bytes 5-10/11", "\"a\""),
            ("bytes 5-9/*", "\"a\""),
        ] {
            assert!(by(range, etag).is_none(), "{range} {etag}");
        }
    }

    #[test]
    fn what_is_no_beginning_or_has_no_strong_tag_is_not_completed() {
        for (first, etag) in [(1, "\"a\""), (0, "W/\"a\""), (0, "a")] {
            let (range, headers, held) = stored(&part(first, 5, etag), bytes(first, 5));
            assert!(ask_for_rest(Stored { range, headers: &headers, bytes: held }).is_none(), "{etag}");
        }
    }

    proptest! {
        #[test]
        fn parts_that_touch_become_what_both_cover_and_others_stay_apart(older in bounds(), newer in bounds()) {
            let touch = older.0 <= newer.1 && newer.0 <= older.1;
            match combined(older, newer) {
                None => prop_assert!(!touch),
                Some((both, body)) => {
                    let (first, end) = (older.0.min(newer.0), older.1.max(newer.1));
                    prop_assert!(touch);
                    prop_assert_eq!(&*body, bytes(first, end));
                    let expected = (end - first < 10).then(|| lies(first, end));
                    prop_assert_eq!((both.part(), both.status().as_u16()), (expected, if expected.is_some() { 206 } else { 200 }));
                }
            }
        }

        #[test]
        fn a_byte_never_comes_from_another_offset(has in bounds(), asked in ranges()) {
            let (wanted, body) = (asked.of(10), bytes(has.0, has.1));
            match locate(asked, &lies(has.0, has.1), body.len() as u64) {
                None => prop_assert!(wanted.is_empty() || wanted.start < has.0 || wanted.end > has.1),
                Some((cut, said)) => {
                    prop_assert_eq!(said, lies(wanted.start, wanted.end));
                    let cut = usize::try_from(cut.start).unwrap()..usize::try_from(cut.end).unwrap();
                    prop_assert_eq!(&body[cut], bytes(wanted.start, wanted.end));
                }
            }
        }

        #[test]
        fn a_body_of_any_length_is_cut_within_it(has in bounds(), asked in ranges(), length in 0..20_u64) {
            if let Some((cut, said)) = locate(asked, &lies(has.0, has.1), length) {
                prop_assert!(cut.start < cut.end && cut.end <= length);
                prop_assert_eq!(cut.end - cut.start, said.length());
                prop_assert!(said.first >= has.0 && said.end <= has.1);
            }
        }
    }
}
