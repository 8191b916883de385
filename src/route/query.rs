//! The query of a request target: one form for all spellings that the origin reads alike.
//!
//! Read as Starlette reads it (`parse_qsl` with blank values kept): `&` alone separates, `+` is a space, `a` is
//! `a=`, empty pairs are nothing, repeated names keep their order. The canonical form is keyed *and* sent on a
//! fill, so what is dropped from the key never reaches the origin, and a `;` goes as `%3B`: no origin can take
//! for a separator what this reading took for a character.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_decode_str, percent_encode};
use smallvec::SmallVec;
use wildmatch::WildMatch;

use crate::route::path::Ambiguity;

/// Which names of a query count; compiled from [`crate::route::KeySettings`].
#[derive(Clone, Debug, Default)]
pub struct QuerySpec {
    only: Option<Vec<String>>,
    ignore: Vec<Glob>,
}

/// A canonical query, without the `?`; empty when nothing counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    text: Cow<'a, str>,
    ambiguity: Option<Ambiguity>,
}

impl QuerySpec {
    /// `only`: the names that count (`key.query`), and then `ignore` is not asked; `ignore`: globs with `*` and
    /// `?` that drop by decoded name, case-sensitive.
    pub fn new(only: Option<&[String]>, ignore: &[String]) -> Self {
        Self {
            only: only.map(<[String]>::to_vec),
            ignore: ignore.iter().map(|glob| Glob::new(glob)).collect(),
        }
    }

    /// Canonicalises the part of a request target after `?`; `None` and `Some("")` are alike. A query that is
    /// its own canonical form costs no allocation.
    pub fn canonical<'a>(&self, raw: Option<&'a str>) -> Query<'a> {
        let raw = raw.unwrap_or_default();
        if raw.is_empty() || self.is_canonical(raw) {
            return Query { text: Cow::Borrowed(raw), ambiguity: None };
        }
        let mut pairs: SmallVec<[Pair<'_>; 8]> = raw
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decode(name), decode(value)))
            .filter(|(name, _)| self.counts(&String::from_utf8_lossy(name)))
            .collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        let mut text = String::with_capacity(raw.len() + 8);
        for (name, value) in &pairs {
            if !text.is_empty() {
                text.push('&');
            }
            text.extend(percent_encode(name, ESCAPED_IN_NAME));
            text.push('=');
            text.extend(percent_encode(value, ESCAPED_IN_VALUE));
        }
        let ambiguity = (!raw.is_ascii()).then_some(Ambiguity::NotAscii);
        Query { text: Cow::Owned(text), ambiguity }
    }

    /// The decoded names that the canonical form leaves out, each once.
    pub fn dropped(&self, raw: Option<&str>) -> Vec<String> {
        let pairs = raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let names = pairs.map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
        let mut names: Vec<String> =
            names.map(|name| String::from_utf8_lossy(&decode(name)).into_owned()).collect();
        names.retain(|name| !self.counts(name));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether a decoded name is part of the key.
    pub fn counts(&self, name: &str) -> bool {
        match &self.only {
            Some(only) => only.iter().any(|counted| counted == name),
            None => !self.ignore.iter().any(|glob| glob.matches(name)),
        }
    }

    fn is_canonical(&self, raw: &str) -> bool {
        let mut previous = "";
        raw.split('&').all(|pair| {
            let Some((name, value)) = pair.split_once('=') else { return false };
            let plain = name.bytes().all(|byte| PLAIN[usize::from(byte)])
                && value.bytes().all(|byte| PLAIN[usize::from(byte)] || byte == b'=');
            let sorted = previous <= name;
            previous = name;
            plain && sorted && self.counts(name)
        })
    }
}

/// A decoded name and value.
type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

impl Query<'_> {
    /// The form that is keyed and sent on a fill: ASCII, sorted by decoded name, escapes in upper case.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The decoded values of a name, in their order; none if one of them is no text.
    pub fn values(&self, name: &str) -> Vec<String> {
        let pairs = self.text.split('&').filter_map(|pair| pair.split_once('='));
        let own = pairs.filter(|(other, _)| percent_decode_str(other).eq(name.bytes()));
        let text = |(_, value): (&str, _)| Ok(percent_decode_str(value).decode_utf8()?.into_owned());
        own.map(text).collect::<Result<_, std::str::Utf8Error>>().unwrap_or_default()
    }

    /// Why nothing may be cached under this query, if so.
    pub fn ambiguity(&self) -> Option<Ambiguity> {
        self.ambiguity
    }
}

/// What stands bare in a canonical name; values hold `=` bare as well.
const BARE: &[u8] = b"-._~!$'()*,:@/?";

const ESCAPED_IN_NAME: &AsciiSet = &{
    let mut set = NON_ALPHANUMERIC.remove(BARE[0]);
    let mut i = 1;
    while i < BARE.len() {
        set = set.remove(BARE[i]);
        i += 1;
    }
    set
};

const ESCAPED_IN_VALUE: &AsciiSet = &ESCAPED_IN_NAME.remove(b'=');

const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut i = 0;
    while i < BARE.len() {
        table[BARE[i] as usize] = true;
        i += 1;
    }
    table
};

/// `application/x-www-form-urlencoded`: plus signs first, then escapes; an invalid escape stands for itself.
fn decode(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('+') {
        return percent_decode(text.as_bytes()).into();
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_decode(spaced.as_bytes()).collect())
}

/// `utm_*` and the like: the two common shapes without the general matcher.
#[derive(Clone, Debug)]
enum Glob {
    Exact(String),
    Prefix(String),
    Wild(WildMatch),
}

impl Glob {
    fn new(text: &str) -> Self {
        match text.split_once(['*', '?']) {
            None => Self::Exact(text.to_owned()),
            Some((prefix, "")) if text.ends_with('*') => Self::Prefix(prefix.to_owned()),
            Some(_) => Self::Wild(WildMatch::new(text)),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Prefix(prefix) => name.starts_with(prefix.as_str()),
            Self::Wild(glob) => glob.matches(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all() -> QuerySpec {
        QuerySpec::default()
    }

    fn ignoring(globs: &[&str]) -> QuerySpec {
        QuerySpec::new(None, &globs.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>())
    }

    fn canonical(spec: &QuerySpec, raw: &str) -> String {
        spec.canonical(Some(raw)).as_str().to_owned()
    }

    #[test]
    fn no_query_a_bare_mark_and_empty_pairs_are_one() {
        assert_eq!(all().canonical(None), all().canonical(Some("")));
        assert_eq!(canonical(&all(), "&&"), "");
    }

    #[test]
    fn a_sorted_plain_query_is_borrowed() {
        for raw in ["a=1", "a=1&b=2", "a=2&a=1&b=x,y:z@/?()", "b64=abc==", "a=&b="] {
            assert!(matches!(all().canonical(Some(raw)).text, Cow::Borrowed(_)), "{raw}");
        }
    }

    #[test]
    fn names_are_sorted_and_repeats_keep_their_order() {
        assert_eq!(canonical(&all(), "size=20&page=1"), "page=1&size=20");
        assert_eq!(canonical(&all(), "b=1&a=2&b=0&a=1"), "a=2&a=1&b=1&b=0");
        assert_ne!(canonical(&all(), "a=1&a=2"), canonical(&all(), "a=2&a=1"));
    }

    #[test]
    fn spellings_that_the_origin_reads_alike_are_one() {
        for (one, other) in [
            ("%71=1", "q=1"),
            ("q=%41", "q=A"),
            ("q=a+b", "q=a%20b"),
            ("q", "q="),
            ("q=a%2cb", "q=a,b"),
            ("a=1&&b=2&", "a=1&b=2"),
            ("q=%zz", "q=%25zz"),
            ("q=a%3bb", "q=a;b"),
        ] {
            assert_eq!(canonical(&all(), one), canonical(&all(), other), "{one} {other}");
        }
    }

    #[test]
    fn what_the_origin_tells_apart_stays_apart() {
        for (one, other) in
            [("q=a%2Bb", "q=a+b"), ("q=a%26b=1", "q=a&b=1"), ("a%3D=1", "a==1"), ("Q=1", "q=1"), ("=x", "x=")]
        {
            assert_ne!(canonical(&all(), one), canonical(&all(), other), "{one} {other}");
        }
    }

    #[test]
    fn a_semicolon_separates_nothing_and_hides_nothing() {
        assert_eq!(canonical(&all(), "a=1;b=2"), "a=1%3Bb=2");
        assert_eq!(canonical(&ignoring(&["utm_*"]), "utm_x=1;q=evil&q=1"), "q=1");
        assert_eq!(canonical(&ignoring(&["utm_*"]), "q=1;utm_x=2"), "q=1%3Butm_x=2");
    }

    #[test]
    fn ignored_names_are_dropped_however_they_are_spelled() {
        let spec = ignoring(&["utm_*", "fbclid", "*_id", "?x"]);
        assert_eq!(
            canonical(&spec, "utm_source=a&q=1&%75tm_medium=b&fbclid=z&click_id=1&ax=1&x=2"),
            "q=1&x=2"
        );
        assert_eq!(canonical(&spec, "utm_source=a"), "");
    }

    #[test]
    fn a_list_of_names_lets_nothing_else_through() {
        let spec = QuerySpec::new(Some(&["page".into(), "utm_keep".into()]), &["utm_*".into()]);
        assert_eq!(canonical(&spec, "x=1&page=2&utm_keep=3"), "page=2&utm_keep=3");
        assert_eq!(canonical(&QuerySpec::new(Some(&[]), &[]), "x=1"), "");
    }

    #[test]
    fn the_values_of_a_name_are_decoded_in_their_order() {
        let query = |raw| all().canonical(Some(raw));
        assert_eq!(query("b=x&a=2+3&%61=%C3%A9&a").values("a"), ["2 3", "\u{e9}", ""]);
        assert_eq!(query("filter%5Bid%5D=1").values("filter[id]"), ["1"]);
        assert!(query("a=1&a=%ff").values("a").is_empty(), "one of them is no text");
        assert!(query("ab=1").values("a").is_empty());
    }

    #[test]
    fn raw_bytes_above_ascii_are_ambiguous() {
        assert_eq!(all().canonical(Some("q=\u{e9}")).ambiguity(), Some(Ambiguity::NotAscii));
        assert_eq!(all().canonical(Some("q=%C3%A9")).ambiguity(), None);
    }

    /// What Starlette makes of a query: decoded pairs, in order.
    fn parsed(raw: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        let pairs = raw.split('&').filter(|pair| !pair.is_empty());
        let halves = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        halves.map(|(name, value)| (decode(name).into_owned(), decode(value).into_owned())).collect()
    }

    proptest! {
        #[test]
        fn queries_are_equal_exactly_when_the_origin_reads_the_same_pairs(
            a in "([abB&=;+%]|%2[06bB]|%41|%61){0,8}", b in "([abB&=;+%]|%2[06bB]|%41|%61){0,8}",
        ) {
            let (mut pairs_a, mut pairs_b) = (parsed(&a), parsed(&b));
            pairs_a.sort_by(|x, y| x.0.cmp(&y.0));
            pairs_b.sort_by(|x, y| x.0.cmp(&y.0));
            prop_assert_eq!(canonical(&all(), &a) == canonical(&all(), &b), pairs_a == pairs_b);
            prop_assert_eq!(parsed(&canonical(&all(), &a)), pairs_a);
        }

        #[test]
        fn the_canonical_form_is_a_fixpoint_that_a_uri_may_hold(raw in "[ -~é]{0,32}") {
            let once = canonical(&all(), &raw);
            prop_assert_eq!(&canonical(&all(), &once), &once);
            let target = format!("/?{once}").parse::<http::uri::PathAndQuery>();
            prop_assert!(target.is_ok());
        }
    }
}
