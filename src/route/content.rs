//! What of a request's content tells one answer from another, where a method asks by its content: a [`Digest`].
//!
//! Invariant: equal digests mean the same method, the same description of the content, and content that no reader tells
//! apart: the same bytes, or JSON with the same canonical form (RFC 8785) in which nothing was lost. JSON that two
//! parsers may read differently has no digest. It refuses to know where the content comes from and where it goes.

use std::collections::HashSet;
use std::fmt;

use http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE, HeaderMap, HeaderName,
};
use http::{HeaderValue, Method};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_json_path::JsonPath;
use sha2::{Digest as _, Sha256};

use crate::policy::fields;
use crate::route::BodyKey;

/// What describes content (RFC 9110 §8), and so belongs to it in the key (RFC 10008 §2.7). `Content-Digest` and the
/// like follow from the content.
pub const METADATA: [HeaderName; 4] = [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION];

/// Decimal digits that a double always keeps.
const DIGITS: usize = f64::DIGITS as usize;

/// Which differences of content count; compiled from [`crate::route::KeySettings`].
#[derive(Clone, Debug, Default)]
pub struct ContentSpec {
    body: BodyKey,
    ignore: Vec<JsonPath>,
}

/// Method and content of a request, for the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Why an answer to this content is not looked for: the word is in metrics, logs and `Cache-Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unkeyed {
    /// It is not said what the content is, or it is not said to be JSON.
    Type,
    /// It is coded, and only plain JSON has a canonical form.
    Coding,
    /// It is not JSON, or JSON that two parsers may read differently: a name twice, or a number that no double holds.
    NotJson,
    /// A POST with conditions: RFC 9110 §13.1 lets only its origin judge them.
    Conditional,
}

impl Unkeyed {
    /// A short stable token.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Type => "content-type",
            Self::Coding => "content-encoding",
            Self::NotJson => "not-json",
            Self::Conditional => "conditional",
        }
    }
}

impl ContentSpec {
    /// `ignore` counts for [`BodyKey::Json`] only.
    pub fn new(body: BodyKey, ignore: &[JsonPath]) -> Self {
        Self { body, ignore: ignore.to_vec() }
    }

    /// Whether content that came with these fields may have a digest; to be asked before it is read.
    ///
    /// # Errors
    /// Why it has none, whatever it is.
    pub fn admits(&self, method: &Method, headers: &HeaderMap) -> Result<(), Unkeyed> {
        if *method == Method::POST && fields::is_selective(headers) {
            return Err(Unkeyed::Conditional);
        }
        match self.body {
            // RFC 10008 §2: a server fails a QUERY that does not say what it holds
            BodyKey::Raw if method.as_str() == "QUERY" && !headers.contains_key(CONTENT_TYPE) => {
                Err(Unkeyed::Type)
            }
            BodyKey::Raw => Ok(()),
            BodyKey::Json if headers.contains_key(CONTENT_ENCODING) => Err(Unkeyed::Coding),
            BodyKey::Json if is_json(headers) => Ok(()),
            BodyKey::Json => Err(Unkeyed::Type),
        }
    }

    /// Method and content as part of the key. `content` is whole and as it came.
    ///
    /// # Errors
    /// [`Unkeyed::NotJson`].
    pub fn digest(&self, method: &Method, headers: &HeaderMap, content: &[u8]) -> Result<Digest, Unkeyed> {
        let mut sha = Sha256::new();
        let mut text = |bytes: &[u8]| {
            sha.update((bytes.len() as u64).to_le_bytes());
            sha.update(bytes);
        };
        text(method.as_str().as_bytes());
        for name in METADATA {
            let lines = headers.get_all(name);
            text(&(lines.iter().count() as u64).to_le_bytes());
            lines.iter().map(HeaderValue::as_bytes).for_each(&mut text);
        }
        match self.body {
            BodyKey::Raw => text(content),
            BodyKey::Json => text(&self.canonical(content).ok_or(Unkeyed::NotJson)?),
        }
        Ok(Digest(sha.finalize().into()))
    }

    /// RFC 8785, without what is ignored.
    fn canonical(&self, content: &[u8]) -> Option<Vec<u8>> {
        let Plain(value) = serde_json::from_slice(content).ok()?;
        if !numbers(content).all(is_a_double) {
            return None;
        }
        let ignored: HashSet<*const Value> =
            self.ignore.iter().flat_map(|path| path.query(&value)).map(std::ptr::from_ref).collect();
        let counted = if ignored.is_empty() { value } else { without(&value, &ignored)? };
        serde_json_canonicalizer::to_vec(&counted).ok()
    }
}

/// `application/json`, or what is written as JSON (RFC 6839 §3.1); in one line only.
fn is_json(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let essence = line.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

/// The value without the `ignored` nodes of it; `None`: it is one of them.
fn without(value: &Value, ignored: &HashSet<*const Value>) -> Option<Value> {
    if ignored.contains(&std::ptr::from_ref(value)) {
        return None;
    }
    Some(match value {
        Value::Array(items) => items.iter().filter_map(|item| without(item, ignored)).collect(),
        Value::Object(members) => {
            let kept = |(name, value): (&String, &Value)| Some((name.clone(), without(value, ignored)?));
            Value::Object(members.iter().filter_map(kept).collect())
        }
        plain => plain.clone(),
    })
}

/// The numbers in a text that is known to be JSON, as they are written.
fn numbers(json: &[u8]) -> impl Iterator<Item = &str> {
    let mut rest = json;
    std::iter::from_fn(move || {
        loop {
            let (first, behind) = rest.split_first()?;
            match first {
                b'"' => rest = &behind[end_of_text(behind)..],
                b'-' | b'0'..=b'9' => {
                    let is_more = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
                    let end = rest.iter().position(|byte| !is_more(byte)).unwrap_or(rest.len());
                    let (number, behind) = rest.split_at(end);
                    rest = behind;
                    return std::str::from_utf8(number).ok();
                }
                _ => rest = behind,
            }
        }
    })
}

/// How far it is to behind the closing quote.
fn end_of_text(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// Whether what is written is the number by which RFC 8785 §3.2.2.3 names a double. Of several numbers that no double
/// tells apart, all but that one are refused: they are no I-JSON (RFC 7493 §2.2), and a reader may keep them apart.
fn is_a_double(number: &str) -> bool {
    // A double tells all numbers of so few digits apart.
    if number.len() <= DIGITS && !number.contains(['e', 'E']) {
        return true;
    }
    let Ok(double) = number.parse::<f64>() else { return false };
    let named = serde_json_canonicalizer::to_string(&double);
    named.is_ok_and(|named| Decimal::of(number) == Decimal::of(&named))
}

/// A decimal number: its digits without zeros at either end, and the exponent of the first; `None` if that is absurd.
#[derive(PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    fn of(number: &str) -> Option<Self> {
        let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
        let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
        let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: Vec<u8> = whole.bytes().chain(part.bytes()).collect();
        let Some(first) = digits.iter().position(|digit| *digit != b'0') else {
            return Some(Self { negative: false, digits: Vec::new(), exponent: 0 });
        };
        let last = digits.iter().rposition(|digit| *digit != b'0').unwrap_or(first);
        let before = i64::try_from(whole.len()).ok()? - i64::try_from(first).ok()?;
        let exponent = exponent.parse::<i64>().ok()?.checked_add(before)?;
        Some(Self { negative, digits: digits[first..=last].to_vec(), exponent })
    }
}

/// A JSON value in which no object has a name twice.
struct Plain(Value);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor).map(Self)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Plain(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, Plain(value))) = members.next_entry::<String, Plain>()? {
            if map.insert(name, value).is_some() {
                return Err(de::Error::custom("a name is there twice"));
            }
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    fn json_fields() -> HeaderMap {
        fields(&[("content-type", "application/json")])
    }

    fn spec(ignore: &[&str]) -> ContentSpec {
        let ignore: Vec<JsonPath> = ignore.iter().map(|path| path.parse().unwrap()).collect();
        ContentSpec::new(BodyKey::Json, &ignore)
    }

    fn json_without(ignore: &[&str], body: &str) -> Result<Digest, Unkeyed> {
        spec(ignore).digest(&Method::POST, &json_fields(), body.as_bytes())
    }

    fn json(body: &str) -> Result<Digest, Unkeyed> {
        json_without(&[], body)
    }

    fn raw(method: &str, headers: &HeaderMap, body: &[u8]) -> Digest {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        ContentSpec::default().digest(&method, headers, body).unwrap()
    }

    #[test]
    fn spellings_of_one_json_value_have_one_digest() {
        let plain = json(r#"{"q":"caf\u00e9","page":1,"tags":["a","b"],"deep":{"x":0.5,"y":null}}"#).unwrap();
        for same in [
            r#"{"page":1,"q":"café","deep":{"y":null,"x":0.5},"tags":["a","b"]}"#,
            " {\n\"q\" : \"caf\u{e9}\", \"page\": 1.0, \"tags\":[ \"a\",\"b\" ],\"deep\":{\"x\":5e-1,\"y\":null} } ",
            r#"{"\u0071":"café","page":10e-1,"tags":["\u0061","b"],"deep":{"x":0.50,"y":null}}"#,
        ] {
            assert_eq!(json(same), Ok(plain), "{same}");
        }
        for other in [
            r#"{"q":"cafe","page":1,"tags":["a","b"],"deep":{"x":0.5,"y":null}}"#,
            r#"{"q":"café","page":1,"tags":["b","a"],"deep":{"x":0.5,"y":null}}"#,
            r#"{"q":"café","page":1,"tags":["a","b"],"deep":{"x":0.5}}"#,
            r#"{"q":"café","page":"1","tags":["a","b"],"deep":{"x":0.5,"y":null}}"#,
            "{\"q\":\"cafe\u{301}\",\"page\":1,\"tags\":[\"a\",\"b\"],\"deep\":{\"x\":0.5,\"y\":null}}",
        ] {
            assert_ne!(json(other), Ok(plain), "{other}");
        }
    }

    #[test]
    fn what_two_parsers_may_read_differently_has_no_digest() {
        for body in [
            "",
            "{",
            "{} {}",
            "q=1",
            "{'a':1}",
            r#"{"a":1,}"#,
            "\u{feff}{}",
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"[{"deep":{"b":[{"c":1,"c":1}]}}]"#,
            r#"{"a":"\ud800"}"#,
            "NaN",
            "[1e999]",
            "[9007199254740993]",
            "[123456789012345678901]",
            "[-9223372036854775807]",
            "[0.10000000000000000555]",
            "[216054569732933.13]", // RFC 8785 calls it …12, and that is as near
            "[1e-400]",
            "[1e99999999999999999999]",
        ] {
            assert_eq!(json(body), Err(Unkeyed::NotJson), "{body}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(json(&deep), Err(Unkeyed::NotJson));
    }

    #[test]
    fn numbers_that_a_double_holds_are_told_apart_by_value_alone() {
        for numbers in [
            &["0", "-0", "0.0", "-0.0e7", "0e-9"][..],
            &["1", "1.0", "1e0", "10e-1", "0.1E+1", "1.000000000000000000000000000"],
            &["9007199254740992", "9007199254740992.0", "9.007199254740992e15"],
            &["0.30000000000000004", "3.0000000000000004e-1"],
            &["-216054569732933.12", "-21605456973293312e-2"],
            &["100000000000000000000000", "1e23"],
            &["5e-324"],
            &["1.7976931348623157e308"],
            &["-1"],
        ] {
            let digests: HashSet<_> = numbers.iter().map(|n| json(n).unwrap().0).collect();
            assert_eq!(digests.len(), 1, "{numbers:?}");
        }
        let next = ["0.3", "0.30000000000000004", "1", "1.0000000000000002", "-1", "1e23", "1e22"];
        let digests: HashSet<_> = next.iter().map(|n| json(n).unwrap().0).collect();
        assert_eq!(digests.len(), next.len());
    }

    #[test]
    fn digits_in_a_text_are_no_numbers() {
        let ids = |id: &str| json(&format!(r#"{{"id":"{id}","q\"":"\\"}}"#)).unwrap();
        assert_ne!(ids("9007199254740993"), ids("9007199254740992"));
        assert_eq!(
            numbers(br#"{"1":-2.5e+3,"a\"4":["\\",5,true,6]}"#).collect::<Vec<_>>(),
            ["-2.5e+3", "5", "6"]
        );
    }

    #[test]
    fn what_is_ignored_does_not_count_wherever_it_stands() {
        let ignore = ["$.request_id", "$.items[*].seen", "$.list[1:]", "$..trace"];
        let plain = json_without(&ignore, r#"{"q":1,"items":[{"id":1},{"id":2}],"list":[0]}"#).unwrap();
        for same in [
            r#"{"request_id":"x","q":1,"items":[{"id":1,"seen":7},{"seen":{},"id":2}],"list":[0]}"#,
            r#"{"q":1,"items":[{"id":1},{"id":2}],"list":[0,1,2,3]}"#,
            r#"{"q":1,"trace":{"trace":1},"items":[{"id":1,"trace":0},{"id":2}],"list":[0,{"trace":1}]}"#,
        ] {
            assert_eq!(json_without(&ignore, same), Ok(plain), "{same}");
        }
        for other in [
            r#"{"q":2,"items":[{"id":1},{"id":2}],"list":[0]}"#,
            r#"{"q":1,"items":[{"id":1},{"id":2,"request_id":1}],"list":[0]}"#,
            r#"{"q":1,"items":[{"id":1},{"id":2}],"list":[]}"#,
        ] {
            assert_ne!(json_without(&ignore, other), Ok(plain), "{other}");
        }
        let twice = json_without(&ignore, r#"{"request_id":1,"request_id":2,"q":1}"#);
        assert_eq!(twice, Err(Unkeyed::NotJson), "which of them the origin reads is not known");
    }

    #[test]
    fn method_and_description_are_part_of_the_question() {
        let sql = fields(&[("content-type", "application/sql")]);
        let digests = [
            raw("QUERY", &sql, b"a"),
            raw("POST", &sql, b"a"),
            raw("QUERY", &fields(&[("content-type", "application/jsonpath")]), b"a"),
            raw("QUERY", &fields(&[("content-type", "application/sql"), ("content-encoding", "gzip")]), b"a"),
            raw("QUERY", &fields(&[("content-type", "application/sql"), ("content-language", "gzip")]), b"a"),
            raw("QUERY", &HeaderMap::new(), b"a"),
            raw("QUERY", &sql, b""),
            raw("QUERY", &sql, b"a "),
        ];
        for (at, one) in digests.iter().enumerate() {
            assert!(digests[..at].iter().all(|other| other != one), "{at}");
        }
        let tagged = fields(&[("content-type", "application/sql"), ("x-other", "1")]);
        assert_eq!(raw("QUERY", &tagged, b"a"), digests[0]);
    }

    #[test]
    fn content_that_is_not_what_the_route_declares_is_not_read() {
        let query = Method::from_bytes(b"QUERY").unwrap();
        let json = spec(&[]);
        let admits = |spec: &ContentSpec, method: &Method, named: &[(&'static str, &'static str)]| {
            spec.admits(method, &fields(named)).err()
        };
        for known in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json"] {
            assert_eq!(json.admits(&Method::POST, &fields(&[("content-type", known)])), Ok(()), "{known}");
        }
        for other in ["text/plain", "application/x-www-form-urlencoded", "application/jsonpath", "json", ""] {
            let asked = fields(&[("content-type", other)]);
            assert_eq!(json.admits(&Method::POST, &asked), Err(Unkeyed::Type), "{other}");
        }
        let coded = [("content-type", "application/json"), ("content-encoding", "gzip")];
        assert_eq!(admits(&json, &Method::POST, &coded), Some(Unkeyed::Coding));
        let plain = ContentSpec::default();
        assert_eq!(admits(&plain, &query, &coded), None);
        assert_eq!(admits(&plain, &query, &[]), Some(Unkeyed::Type));
        assert_eq!(admits(&plain, &Method::POST, &[]), None);
        assert_eq!(admits(&plain, &query, &[coded[0], ("if-none-match", "*")]), None);
        assert_eq!(admits(&plain, &Method::POST, &[("if-none-match", "*")]), Some(Unkeyed::Conditional));
    }

    fn content() -> impl Strategy<Value = (bool, Vec<String>, Vec<String>, String)> {
        let lines = || prop::collection::vec("[a,; ]{0,2}", 0..3);
        (any::<bool>(), lines(), lines(), "[a,; \u{0}]{0,3}")
    }

    fn digest_of((post, types, codings, body): &(bool, Vec<String>, Vec<String>, String)) -> Digest {
        let mut headers = HeaderMap::new();
        for (name, lines) in [("content-type", types), ("content-encoding", codings)] {
            for line in lines {
                headers.append(name, HeaderValue::from_str(line).unwrap());
            }
        }
        raw(if *post { "POST" } else { "QUERY" }, &headers, body.as_bytes())
    }

    proptest! {
        #[test]
        fn equal_digests_mean_equal_content(a in content(), b in content()) {
            prop_assert_eq!(digest_of(&a) == digest_of(&b), a == b);
        }

        #[test]
        fn every_double_has_a_name_of_its_own(a in any::<f64>(), b in any::<f64>()) {
            prop_assume!(a.is_finite() && b.is_finite());
            let named = |double: f64| json(&serde_json_canonicalizer::to_string(&double).unwrap()).unwrap();
            prop_assert_eq!(named(a) == named(b), a == b);
        }
    }
}
