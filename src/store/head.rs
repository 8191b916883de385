//! The fields of a stored response in one block of memory: a map of them takes ten times as much, and is only wanted while
//! somebody is served.
//!
//! ```text
//! count · field*      field   its place in KNOWN, and its value unless that is known too
//!                             NAMED, name, value
//!                     name, value   length, bytes
//! numbers in groups of seven bits, the lowest first; the highest bit of a byte says that there is more
//! ```
//! Invariant: what comes out is what went in, name by name in its order. It lives in this process: it is no wire format.

use std::ops::Range;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Fields that an answer gets besides the stored ones: the map has room for them without growing.
const ADDED: usize = 4;

/// The name is spelled.
const NAMED: u8 = u8::MAX;

/// Fields that APIs answer with everywhere, and then names of others: one byte each, and nothing to read or to copy where they
/// are written out. In the order in which they are looked for.
static KNOWN: [(HeaderName, Option<HeaderValue>); 84] = [
    whole(header::CONTENT_TYPE, "application/json"),
    whole(header::CONTENT_TYPE, "application/json; charset=utf-8"),
    whole(header::CONTENT_TYPE, "application/problem+json"),
    whole(header::CONTENT_TYPE, "text/html; charset=utf-8"),
    whole(header::CONTENT_TYPE, "text/plain; charset=utf-8"),
    whole(header::SERVER, "uvicorn"),
    whole(header::SERVER, "gunicorn"),
    whole(header::SERVER, "nginx"),
    whole(header::VARY, "Accept-Encoding"),
    whole(header::VARY, "accept-encoding"),
    whole(header::VARY, "Origin"),
    whole(header::VARY, "Cookie"),
    whole(header::ACCEPT_RANGES, "bytes"),
    whole(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
    whole(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    whole(header::CACHE_CONTROL, "no-cache"),
    whole(header::CONTENT_ENCODING, "br"),
    whole(header::CONTENT_ENCODING, "gzip"),
    whole(header::REFERRER_POLICY, "no-referrer"),
    whole(header::REFERRER_POLICY, "same-origin"),
    whole(header::REFERRER_POLICY, "strict-origin-when-cross-origin"),
    whole(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains"),
    whole(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    whole(header::X_FRAME_OPTIONS, "DENY"),
    whole(header::X_FRAME_OPTIONS, "SAMEORIGIN"),
    whole(header::X_XSS_PROTECTION, "0"),
    (header::AGE, None),
    (header::ALLOW, None),
    (header::ALT_SVC, None),
    (header::ACCEPT_RANGES, None),
    (header::ACCESS_CONTROL_ALLOW_CREDENTIALS, None),
    (header::ACCESS_CONTROL_ALLOW_HEADERS, None),
    (header::ACCESS_CONTROL_ALLOW_METHODS, None),
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, None),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, None),
    (header::ACCESS_CONTROL_MAX_AGE, None),
    (header::CACHE_CONTROL, None),
    (header::CACHE_STATUS, None),
    (header::CDN_CACHE_CONTROL, None),
    (header::CONTENT_DISPOSITION, None),
    (header::CONTENT_ENCODING, None),
    (header::CONTENT_LANGUAGE, None),
    (header::CONTENT_LENGTH, None),
    (header::CONTENT_LOCATION, None),
    (header::CONTENT_RANGE, None),
    (header::CONTENT_SECURITY_POLICY, None),
    (header::CONTENT_TYPE, None),
    (header::DATE, None),
    (header::ETAG, None),
    (header::EXPIRES, None),
    (header::LAST_MODIFIED, None),
    (header::LINK, None),
    (header::LOCATION, None),
    (header::PRAGMA, None),
    (header::REFERRER_POLICY, None),
    (header::RETRY_AFTER, None),
    (header::SERVER, None),
    (header::SET_COOKIE, None),
    (header::STRICT_TRANSPORT_SECURITY, None),
    (header::VARY, None),
    (header::VIA, None),
    (header::X_CONTENT_TYPE_OPTIONS, None),
    (header::X_FRAME_OPTIONS, None),
    (header::X_XSS_PROTECTION, None),
    (HeaderName::from_static("cache-groups"), None),
    (HeaderName::from_static("cache-tag"), None),
    (HeaderName::from_static("content-digest"), None),
    (HeaderName::from_static("cross-origin-opener-policy"), None),
    (HeaderName::from_static("cross-origin-resource-policy"), None),
    (HeaderName::from_static("deprecation"), None),
    (HeaderName::from_static("permissions-policy"), None),
    (HeaderName::from_static("ratelimit"), None),
    (HeaderName::from_static("server-timing"), None),
    (HeaderName::from_static("sunset"), None),
    (HeaderName::from_static("surrogate-control"), None),
    (HeaderName::from_static("surrogate-key"), None),
    (HeaderName::from_static("timing-allow-origin"), None),
    (HeaderName::from_static("traceparent"), None),
    (HeaderName::from_static("x-correlation-id"), None),
    (HeaderName::from_static("x-powered-by"), None),
    (HeaderName::from_static("x-process-time"), None),
    (HeaderName::from_static("x-request-id"), None),
    (HeaderName::from_static("x-total-count"), None),
    (HeaderName::from_static("x-trace-id"), None),
];

const fn whole(name: HeaderName, value: &'static str) -> (HeaderName, Option<HeaderValue>) {
    (name, Some(HeaderValue::from_static(value)))
}

/// The fields.
#[derive(Clone, Debug)]
pub struct Head(Bytes);

impl Head {
    /// Packs these.
    pub fn of(fields: &HeaderMap) -> Self {
        let texts: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let mut block = Vec::with_capacity(texts + 4);
        write(&mut block, fields.len());
        for (name, value) in fields {
            let is_it = |known: &(HeaderName, Option<HeaderValue>)| {
                known.0 == name && known.1.as_ref().is_none_or(|known| known == value)
            };
            match KNOWN.iter().zip(0..).find(|(known, _)| is_it(known)) {
                Some(((_, Some(_)), place)) => {
                    block.push(place);
                    continue;
                }
                Some(((_, None), place)) => block.push(place),
                None => {
                    block.push(NAMED);
                    write(&mut block, name.as_str().len());
                    block.extend_from_slice(name.as_str().as_bytes());
                }
            }
            write(&mut block, value.len());
            block.extend_from_slice(value.as_bytes());
        }
        // In a place of its own size: one that is cut to size where it lies gives nothing back.
        Self(Bytes::copy_from_slice(&block))
    }

    /// All of them, with room for what an answer gets besides. The values share the block.
    pub fn to_map(&self) -> HeaderMap {
        self.pick(|_| true)
    }

    /// Those whose names are wanted.
    pub fn pick(&self, is_wanted: impl Fn(&HeaderName) -> bool) -> HeaderMap {
        let mut at = 0;
        let count = self.number(&mut at);
        let mut map = HeaderMap::with_capacity(count + ADDED);
        for _ in 0..count {
            let code = self.0[at];
            at += 1;
            match KNOWN.get(usize::from(code)) {
                Some((name, Some(value))) if is_wanted(name) => _ = map.append(name, value.clone()),
                Some((_, Some(_))) => {}
                Some((name, None)) => self.append(&mut map, &mut at, name, &is_wanted),
                None => {
                    let name = HeaderName::from_bytes(&self.0[self.text(&mut at)]);
                    self.append(&mut map, &mut at, &name.expect("it was a field name before"), &is_wanted);
                }
            }
        }
        map
    }

    fn append(
        &self,
        map: &mut HeaderMap,
        at: &mut usize,
        name: &HeaderName,
        is_wanted: &impl Fn(&HeaderName) -> bool,
    ) {
        let value = self.text(at);
        if is_wanted(name) {
            let value = HeaderValue::from_maybe_shared(self.0.slice(value));
            map.append(name, value.expect("it was a field value before"));
        }
    }

    /// Bytes of memory that they take.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// Where the next text lies.
    fn text(&self, at: &mut usize) -> Range<usize> {
        let length = self.number(at);
        let text = *at..*at + length;
        *at = text.end;
        text
    }

    fn number(&self, at: &mut usize) -> usize {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.0[*at];
            *at += 1;
            number |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return number;
            }
            shift += 7;
        }
    }
}

fn write(block: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        block.push(0x80 | (number & 0x7f) as u8);
        number >>= 7;
    }
    block.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn known() -> impl Strategy<Value = (HeaderName, HeaderValue)> {
        let empty = || HeaderValue::from_static("");
        (0..KNOWN.len()).prop_map(move |place| {
            let (name, value) = &KNOWN[place];
            (name.clone(), value.clone().unwrap_or_else(empty))
        })
    }

    fn name() -> impl Strategy<Value = HeaderName> {
        prop_oneof![
            known().prop_map(|(name, _)| name),
            "[a-z][a-z-]{0,140}".prop_map(|name| name.parse().unwrap())
        ]
    }

    fn value() -> impl Strategy<Value = HeaderValue> {
        let long = (100..20_000_usize).prop_map(|length| "x".repeat(length));
        let text = prop_oneof![4 => "[ -~]{0,20}", 1 => long];
        let bytes = prop::collection::vec(0x80_u8.., 0..20);
        prop_oneof![
            4 => text.prop_map(|text| text.parse().unwrap()),
            1 => bytes.prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap()),
            1 => known().prop_map(|(_, value)| value),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

        #[test]
        fn what_comes_out_is_what_went_in(
            fields in prop::collection::vec(prop_oneof![3 => (name(), value()), 1 => known()], 0..20),
            twice in any::<prop::sample::Index>(),
        ) {
            let mut map = HeaderMap::new();
            for (name, value) in &fields {
                map.append(name, value.clone());
            }
            if !fields.is_empty() {
                // Lines of one name keep their order.
                map.append(&fields[twice.index(fields.len())].0, HeaderValue::from_static("another"));
            }
            let head = Head::of(&map);
            let out = head.to_map();
            prop_assert!(out.iter().eq(map.iter()));
            let some = head.pick(|name| name.as_str() < "m");
            prop_assert!(some.iter().eq(map.iter().filter(|(name, _)| name.as_str() < "m")));
        }
    }

    #[test]
    fn a_usual_field_takes_a_byte_and_a_known_name_one_besides_its_value() {
        let mut map = HeaderMap::new();
        let mut size = |name: &'static str, value| {
            map.append(name, HeaderValue::from_static(value));
            Head::of(&map).size()
        };
        assert_eq!(size("content-type", "application/json"), 2);
        assert_eq!(size("x-request-id", "6b1f4d0c"), 2 + 10);
        assert_eq!(size("content-type", "text/csv"), 2 + 10 + 10);
        assert_eq!(size("x-own", ""), 2 + 10 + 10 + 8);
    }
}
