//! What lies in the shared tier, as bytes: an answer that is kept, or a signpost to the variants of one.
//!
//! ```text
//! version u8 · flags u8 · length u32 · checksum u64 · contents          length: of the contents, before they were packed
//!
//! contents    kind u8 · key · …
//!   answer    epoch u64 · n u64 · status u16 · marks u8 · source u8 · age u64 · fresh for u64 · while revalidating u64 ·
//!             on error u64 · left u64 · fields asked with · fields · tags · body
//!   signpost  any origin u8 · lines of Vary
//! ```
//! Numbers are little-endian, times in microseconds; texts are prefixed with their length (u32), lists with that of the list. The
//! checksum (XXH3) is of all but itself. Contents are packed (zstd) where that makes them smaller.
//!
//! Invariant: what comes out is what went in, or [`Unreadable`]; nothing that is read takes more memory than
//! [`MAX_CONTENTS`] and what stands there already. No clock of another machine is in it: times are ages. It refuses to know where
//! the bytes lie, and whether the answer still is of any use.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, header};
use xxhash_rust::xxh3::Xxh3;

use crate::policy::{LifeSoFar, Source};
use crate::route::key::Key;
use crate::route::tag::{MAX_TAGS, Tag};
use crate::store::position::Position;

/// Most bytes of a value as it lies in Redis: with more, no answer comes in time over a common network.
pub const MAX_VALUE: usize = 1 << 20;

/// Most bytes that a value may become when it is unpacked.
pub const MAX_CONTENTS: usize = 16 << 20;

/// Most lines of fields, in the answer and in what it was asked with.
const MAX_FIELDS: usize = 512;

/// Contents of fewer bytes are not packed.
const PACKED_FROM: usize = 1_024;

/// zstd's; higher ones take several times as long and save little of what APIs answer.
const LEVEL: i32 = 1;

const VERSION: u8 = 1;
/// In the flags: the contents are packed.
const PACKED: u8 = 1;
const HEADER: usize = 14;
/// Where the checksum lies.
const CHECKSUM: std::ops::Range<usize> = 6..14;

const ANSWER: u8 = 0;
const SIGNPOST: u8 = 1;

/// The numbers of those whose word a life is.
const SOURCES: [Source; 8] = [
    Source::CdnCacheControl,
    Source::SMaxAge,
    Source::MaxAge,
    Source::Expires,
    Source::NoCache,
    Source::RouteTtl,
    Source::Negative,
    Source::Heuristic,
];

/// What lies under one name.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An answer.
    Answer(Box<Answer>),
    /// There are several, told apart by fields of the request.
    Signpost(Signpost),
}

/// An answer as it is told to another node.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What it answers.
    pub key: Key,
    /// Where its fetch began.
    pub position: Position,
    /// Status.
    pub status: StatusCode,
    /// Fields as a client gets them.
    pub headers: HeaderMap,
    /// Whether the `ETag` is one of Larder's own making.
    pub etag_is_made: bool,
    /// Fields of a request that would fetch it again.
    pub asked: HeaderMap,
    /// What it depends on.
    pub tags: Vec<Tag>,
    /// Its life until it was written down.
    pub life: LifeSoFar,
    /// For how long it was to be kept when it was written down.
    pub left: Duration,
    /// All of it.
    pub body: Bytes,
}

/// What tells the variants of an answer apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signpost {
    /// What they answer.
    pub key: Key,
    /// The lines of `Vary`.
    pub vary: Vec<HeaderValue>,
    /// Whether all origins are answered alike.
    pub any_origin: bool,
}

/// Why bytes are no value: nothing is there, as far as anybody is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Another version of Larder wrote it, or none did.
    #[error("it is of another version")]
    Version,
    /// It ends before its end.
    #[error("it is cut short")]
    Truncated,
    /// Not what was written.
    #[error("its checksum is wrong")]
    Damaged,
    /// Larger than anything that is written.
    #[error("it is too long")]
    TooLong,
    /// It does not mean anything.
    #[error("it makes no sense")]
    Malformed,
}

/// The value as bytes; `None`: it is larger than what is kept in the tier.
pub fn pack(value: &Value) -> Option<Vec<u8>> {
    let (contents, worthwhile) = match value {
        Value::Answer(answer) => (write_answer(answer)?, !answer.headers.contains_key(CONTENT_ENCODING)),
        Value::Signpost(signpost) => (write_signpost(signpost), false),
    };
    if contents.len() > MAX_CONTENTS {
        return None;
    }
    let packed = (worthwhile && contents.len() >= PACKED_FROM)
        .then(|| zstd::bulk::compress(&contents, LEVEL).ok())
        .flatten()
        .filter(|packed| packed.len() < contents.len());
    let flags = if packed.is_some() { PACKED } else { 0 };
    let value = sealed(flags, contents.len(), packed.as_deref().unwrap_or(&contents));
    (value.len() <= MAX_VALUE).then_some(value)
}

/// The value that these bytes are.
///
/// # Errors
/// [`Unreadable`]
pub fn unpack(bytes: Vec<u8>) -> Result<Value, Unreadable> {
    let version = *bytes.first().ok_or(Unreadable::Truncated)?;
    if version != VERSION {
        return Err(Unreadable::Version);
    }
    let (header, contents) = bytes.split_at_checked(HEADER).ok_or(Unreadable::Truncated)?;
    if bytes.len() > MAX_VALUE {
        return Err(Unreadable::TooLong);
    }
    if header[CHECKSUM] != checksum(&header[..CHECKSUM.start], contents).to_le_bytes() {
        return Err(Unreadable::Damaged);
    }
    let length = header[2..6].iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
    if length > MAX_CONTENTS {
        return Err(Unreadable::TooLong);
    }
    let contents = match header[1] {
        0 => Bytes::from(bytes).slice(HEADER..),
        // No more room than was announced is made, so nothing grows beyond it.
        PACKED => Bytes::from(zstd::bulk::decompress(contents, length).map_err(|_| Unreadable::Malformed)?),
        _ => return Err(Unreadable::Malformed),
    };
    if contents.len() != length {
        return Err(Unreadable::Truncated);
    }
    read(&mut Reader(contents))
}

/// With a header before it.
fn sealed(flags: u8, length: usize, contents: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER + contents.len());
    value.extend_from_slice(&[VERSION, flags]);
    value.extend_from_slice(&number(length).to_le_bytes());
    let checksum = checksum(&value, contents);
    value.extend_from_slice(&checksum.to_le_bytes());
    value.extend_from_slice(contents);
    value
}

fn checksum(header: &[u8], contents: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(header);
    hash.update(contents);
    hash.digest()
}

fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

// ---- writing ----------------------------------------------------------------------------------------------------

fn write_answer(answer: &Answer) -> Option<Vec<u8>> {
    let Answer { key, position, status, headers, etag_is_made, asked, tags, life, left, body } = answer;
    if tags.len() > 2 * MAX_TAGS || headers.len().max(asked.len()) > MAX_FIELDS || body.len() > MAX_CONTENTS {
        return None;
    }
    let source = SOURCES.iter().zip(0..).find(|(known, _)| **known == life.source)?.1;
    let marks =
        [*etag_is_made, life.must_revalidate, life.proxy_revalidate, life.always_validate, life.immutable];
    let marks = marks.iter().rev().fold(0_u8, |marks, mark| marks << 1 | u8::from(*mark));
    let mut to = Vec::with_capacity(body.len() + 1_024);
    to.push(ANSWER);
    text(&mut to, key);
    to.extend_from_slice(&position.epoch.to_le_bytes());
    to.extend_from_slice(&position.n.to_le_bytes());
    to.extend_from_slice(&status.as_u16().to_le_bytes());
    to.extend_from_slice(&[marks, source]);
    let windows = [life.age, life.fresh_for, life.stale_while_revalidate, life.stale_if_error, *left];
    for time in windows {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        to.extend_from_slice(&micros.to_le_bytes());
    }
    fields(&mut to, asked);
    fields(&mut to, headers);
    to.extend_from_slice(&number(tags.len()).to_le_bytes());
    tags.iter().for_each(|tag| text(&mut to, tag.as_str().as_bytes()));
    text(&mut to, body);
    Some(to)
}

fn write_signpost(signpost: &Signpost) -> Vec<u8> {
    let mut to = vec![SIGNPOST];
    text(&mut to, &signpost.key);
    to.push(signpost.any_origin.into());
    let lines = &signpost.vary[..signpost.vary.len().min(MAX_FIELDS)];
    to.extend_from_slice(&number(lines.len()).to_le_bytes());
    lines.iter().for_each(|line| text(&mut to, line.as_bytes()));
    to
}

fn fields(to: &mut Vec<u8>, fields: &HeaderMap) {
    to.extend_from_slice(&number(fields.len()).to_le_bytes());
    for (name, value) in fields {
        text(to, name.as_str().as_bytes());
        text(to, value.as_bytes());
    }
}

fn text(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(&number(bytes.len()).to_le_bytes());
    to.extend_from_slice(bytes);
}

// ---- reading ----------------------------------------------------------------------------------------------------

/// What has not been read yet.
struct Reader(Bytes);

fn read(from: &mut Reader) -> Result<Value, Unreadable> {
    let [kind] = from.array()?;
    let key = Key::from_bytes(&from.text()?);
    let value = match kind {
        ANSWER => Value::Answer(Box::new(read_answer(key, from)?)),
        SIGNPOST => {
            let [any_origin] = from.array()?;
            let vary = (0..from.count(MAX_FIELDS)?).map(|_| from.value()).collect::<Result<_, _>>()?;
            Value::Signpost(Signpost { key, vary, any_origin: any_origin != 0 })
        }
        _ => return Err(Unreadable::Malformed),
    };
    if from.0.is_empty() { Ok(value) } else { Err(Unreadable::TooLong) }
}

fn read_answer(key: Key, from: &mut Reader) -> Result<Answer, Unreadable> {
    let position = Position { epoch: from.u64()?, n: from.u64()? };
    let status =
        StatusCode::from_u16(u16::from_le_bytes(from.array()?)).map_err(|_| Unreadable::Malformed)?;
    let [marks, source] = from.array()?;
    let is_marked = |place: u8| marks & 1 << place != 0;
    let mut time = || from.u64().map(Duration::from_micros);
    let life = LifeSoFar {
        age: time()?,
        fresh_for: time()?,
        stale_while_revalidate: time()?,
        stale_if_error: time()?,
        must_revalidate: is_marked(1),
        proxy_revalidate: is_marked(2),
        always_validate: is_marked(3),
        immutable: is_marked(4),
        source: *SOURCES.get(usize::from(source)).ok_or(Unreadable::Malformed)?,
    };
    let left = time()?;
    let (asked, headers) = (from.fields()?, from.fields()?);
    let tags = (0..from.count(2 * MAX_TAGS)?).map(|_| from.tag()).collect::<Result<_, _>>()?;
    let body = from.text()?;
    Ok(Answer { key, position, status, headers, etag_is_made: is_marked(0), asked, tags, life, left, body })
}

impl Reader {
    fn take(&mut self, length: usize) -> Result<Bytes, Unreadable> {
        if length > self.0.len() {
            return Err(Unreadable::Truncated);
        }
        Ok(self.0.split_to(length))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let taken = self.take(N)?;
        taken.first_chunk().copied().ok_or(Unreadable::Truncated)
    }

    fn u64(&mut self) -> Result<u64, Unreadable> {
        self.array().map(u64::from_le_bytes)
    }

    fn length(&mut self) -> Result<usize, Unreadable> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn count(&mut self, most: usize) -> Result<usize, Unreadable> {
        let count = self.length()?;
        if count > most { Err(Unreadable::TooLong) } else { Ok(count) }
    }

    fn text(&mut self) -> Result<Bytes, Unreadable> {
        let length = self.length()?;
        self.take(length)
    }

    fn value(&mut self) -> Result<HeaderValue, Unreadable> {
        HeaderValue::from_bytes(&self.text()?).map_err(|_| Unreadable::Malformed)
    }

    fn fields(&mut self) -> Result<HeaderMap, Unreadable> {
        let mut fields = header::HeaderMap::new();
        for _ in 0..self.count(MAX_FIELDS)? {
            let name = HeaderName::from_bytes(&self.text()?).map_err(|_| Unreadable::Malformed)?;
            fields.append(name, self.value()?);
        }
        Ok(fields)
    }

    fn tag(&mut self) -> Result<Tag, Unreadable> {
        let text = self.text()?;
        std::str::from_utf8(&text).map(Tag::named).map_err(|_| Unreadable::Malformed)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name() -> impl Strategy<Value = HeaderName> {
        let known = ["vary", "content-type", "content-encoding", "etag", "x-a"].map(HeaderName::from_static);
        prop_oneof![
            prop::sample::select(known.to_vec()),
            "[a-z][a-z-]{0,40}".prop_map(|name| name.parse().unwrap())
        ]
    }

    fn line() -> impl Strategy<Value = HeaderValue> {
        let opaque = prop::collection::vec(0x80_u8.., 0..20);
        prop_oneof![
            3 => "[ -~]{0,60}".prop_map(|text| text.parse().unwrap()),
            1 => opaque.prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap()),
        ]
    }

    fn lines() -> impl Strategy<Value = HeaderMap> {
        prop::collection::vec((name(), line()), 0..12).prop_map(|lines| {
            let mut map = HeaderMap::new();
            lines.into_iter().for_each(|(name, value)| _ = map.append(name, value));
            map
        })
    }

    fn time() -> impl Strategy<Value = Duration> {
        prop_oneof![
            Just(Duration::ZERO),
            Just(Duration::from_micros(u64::MAX)),
            any::<u32>().prop_map(|s| Duration::from_micros(s.into()))
        ]
    }

    fn life() -> impl Strategy<Value = LifeSoFar> {
        let marks = any::<(bool, bool, bool, bool)>();
        let times = (time(), time(), time(), time());
        (times, marks, prop::sample::select(SOURCES.to_vec())).prop_map(|(times, marks, source)| LifeSoFar {
            age: times.0,
            fresh_for: times.1,
            stale_while_revalidate: times.2,
            stale_if_error: times.3,
            must_revalidate: marks.0,
            proxy_revalidate: marks.1,
            always_validate: marks.2,
            immutable: marks.3,
            source,
        })
    }

    fn body() -> impl Strategy<Value = Bytes> {
        let noise = prop::collection::vec(any::<u8>(), 0..3_000);
        let like_itself = (any::<u8>(), 0..200_000_usize).prop_map(|(byte, length)| vec![byte; length]);
        prop_oneof![noise, like_itself].prop_map(Bytes::from)
    }

    fn key() -> impl Strategy<Value = Key> {
        prop::collection::vec(any::<u8>(), 0..600).prop_map(|bytes| Key::from_bytes(&bytes))
    }

    fn answer() -> impl Strategy<Value = Answer> {
        let tags = prop::collection::vec("[a-zà-ü:/\u{1}]{1,40}".prop_map(|text| Tag::named(&text)), 0..9);
        let head = (200..600_u16, lines(), lines(), any::<bool>());
        (key(), any::<(u64, u64)>(), head, tags, life(), time(), body()).prop_map(
            |(key, (epoch, n), (status, headers, asked, etag_is_made), tags, life, left, body)| Answer {
                key,
                position: Position { epoch, n },
                status: StatusCode::from_u16(status).unwrap(),
                headers,
                etag_is_made,
                asked,
                tags,
                life,
                left,
                body,
            },
        )
    }

    fn value() -> impl Strategy<Value = Value> {
        let signpost = (key(), prop::collection::vec(line(), 0..5), any::<bool>())
            .prop_map(|(key, vary, any_origin)| Value::Signpost(Signpost { key, vary, any_origin }));
        prop_oneof![4 => answer().prop_map(|answer| Value::Answer(Box::new(answer))), 1 => signpost]
    }

    /// These contents under a header that fits them, so that they are read.
    pub(in crate::tier) fn sealed_contents(contents: &[u8]) -> Vec<u8> {
        sealed(0, contents.len(), contents)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn what_comes_out_is_what_went_in(value in value()) {
            let packed = pack(&value).expect("it is small");
            prop_assert_eq!(unpack(packed).unwrap(), value);
        }

        #[test]
        fn what_was_changed_anywhere_is_unreadable(
            value in value(),
            at in any::<prop::sample::Index>(),
            to in 1_u8..,
            cut in any::<prop::sample::Index>(),
        ) {
            let packed = pack(&value).unwrap();
            let mut changed = packed.clone();
            changed[at.index(packed.len())] ^= to;
            prop_assert!(unpack(changed).is_err());
            prop_assert!(unpack(packed[..cut.index(packed.len())].to_vec()).is_err());
            prop_assert!(unpack([&packed[..], &[0]].concat()).is_err());
        }

        #[test]
        fn no_bytes_do_any_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(unpack(bytes.clone()).is_err());
            // Whoever can compute a checksum does no harm either.
            let _ = unpack(sealed_contents(&bytes));
        }

        #[test]
        fn contents_that_are_no_value_any_more_do_no_harm(
            answer in answer(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut contents = write_answer(&answer).unwrap();
            let length = contents.len();
            changes.iter().for_each(|(at, to)| contents[at.index(length)] = *to);
            let _ = unpack(sealed_contents(&contents));
            let packed = zstd::bulk::compress(&contents, LEVEL).unwrap();
            let _ = unpack(sealed(PACKED, length, &packed));
        }
    }

    pub(in crate::tier) fn plain(key: &str, body: &'static str) -> Answer {
        let second = Duration::from_secs(1);
        let life = LifeSoFar {
            age: 2 * second,
            fresh_for: 60 * second,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            must_revalidate: false,
            proxy_revalidate: false,
            always_validate: false,
            immutable: false,
            source: Source::RouteTtl,
        };
        Answer {
            key: Key::from_bytes(key.as_bytes()),
            position: Position { epoch: 7, n: 3 },
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            etag_is_made: false,
            asked: HeaderMap::new(),
            tags: vec![Tag::named("t")],
            life,
            left: 58 * second,
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    #[test]
    fn what_is_like_itself_lies_there_packed_and_what_is_coded_does_not() {
        let body = Bytes::from(vec![b'a'; 100_000]);
        let like_itself = Answer { body: body.clone(), ..plain("k", "") };
        assert!(pack(&Value::Answer(Box::new(like_itself.clone()))).unwrap().len() < 1_000);
        let mut coded = like_itself;
        coded.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("br"));
        assert!(pack(&Value::Answer(Box::new(coded))).unwrap().len() > body.len());
    }

    #[test]
    fn what_would_grow_beyond_what_it_says_is_unreadable() {
        let bomb = zstd::bulk::compress(&vec![0; 8 << 20], LEVEL).unwrap();
        assert!(bomb.len() < 10_000);
        assert_eq!(unpack(sealed(PACKED, 1_000, &bomb)), Err(Unreadable::Malformed));
        let bomb = zstd::bulk::compress(&vec![0; MAX_CONTENTS + 1], LEVEL).unwrap();
        assert_eq!(unpack(sealed(PACKED, MAX_CONTENTS + 1, &bomb)), Err(Unreadable::TooLong));
        assert_eq!(unpack(sealed(PACKED, MAX_CONTENTS, &bomb)), Err(Unreadable::Malformed));
    }

    #[test]
    fn each_damage_has_its_name() {
        let packed = pack(&Value::Answer(Box::new(plain("k", "body")))).unwrap();
        assert_eq!(unpack(Vec::new()), Err(Unreadable::Truncated));
        assert_eq!(unpack(vec![VERSION; 3]), Err(Unreadable::Truncated));
        assert_eq!(unpack([&[VERSION + 1], &packed[1..]].concat()), Err(Unreadable::Version));
        assert_eq!(unpack(b"<html>".to_vec()), Err(Unreadable::Version));
        assert_eq!(unpack(packed[..packed.len() - 1].to_vec()), Err(Unreadable::Damaged));
        assert_eq!(unpack(vec![VERSION; MAX_VALUE + 1]), Err(Unreadable::TooLong));
        let contents = &packed[HEADER..];
        assert_eq!(unpack(sealed_contents(&[contents, b"x"].concat())), Err(Unreadable::TooLong));
        assert_eq!(unpack(sealed_contents(&contents[..9])), Err(Unreadable::Truncated));
        assert_eq!(unpack(sealed_contents(b"\x07\0\0\0\0")), Err(Unreadable::Malformed));
        assert_eq!(unpack(sealed(2, contents.len(), contents)), Err(Unreadable::Malformed));
    }

    #[test]
    fn what_is_too_large_is_not_written() {
        let noise: Vec<u8> =
            (0..MAX_VALUE as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
        let coded = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static("gzip"))]);
        let answer = Answer { body: noise.into(), headers: coded, ..plain("k", "") };
        assert_eq!(pack(&Value::Answer(Box::new(answer))), None);
        let answer = Answer { body: vec![0; MAX_CONTENTS + 1].into(), ..plain("k", "") };
        assert_eq!(pack(&Value::Answer(Box::new(answer))), None);
        let tags = (0..=2 * MAX_TAGS).map(|n| Tag::named(&format!("t{n}"))).collect();
        assert_eq!(pack(&Value::Answer(Box::new(Answer { tags, ..plain("k", "") }))), None);
    }
}
