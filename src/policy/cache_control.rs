//! Cache-Control, read leniently and meant strictly (RFC 9111 §5.2), and its targeted sibling (RFC 9213).
//!
//! Invariant: what cannot be read never makes a response live longer: an unreadable number is 0, an unreadable
//! field list is the whole response, an unbalanced quote hides no directive. It refuses to know what follows from a directive.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CDN_CACHE_CONTROL, HeaderMap, HeaderName, PRAGMA};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use crate::policy::fields::is_essential;

/// Longest life that is told apart, in seconds (RFC 9111 §1.2.2: 2^31 stands for "for ever").
const LONGEST: u64 = 1 << 31;

/// A directive that may be limited to some fields (`no-cache`, `private`; RFC 9111 §5.2.2.4 and §5.2.2.7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// The directive is not there.
    #[default]
    Absent,
    /// Only these fields are meant; the rest of the response is not.
    Fields(Vec<HeaderName>),
    /// The response as a whole is meant.
    Whole,
}

impl Extent {
    fn widen(&mut self, argument: Option<&[u8]>) {
        let wider = argument.and_then(field_names).map_or(Self::Whole, Self::Fields);
        match (&mut *self, wider) {
            (Self::Whole, _) => {}
            (Self::Fields(names), Self::Fields(more)) => names.extend(more),
            (_, wider) => *self = wider,
        }
    }

    /// The fields it is limited to; none if it is absent or means the whole.
    pub fn fields(&self) -> &[HeaderName] {
        if let Self::Fields(names) = self { names } else { &[] }
    }
}

/// What a response says (RFC 9111 §5.2.2, RFC 5861, RFC 8246). Of repeated numbers the lowest counts (§4.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// §5.2.2.1.
    pub max_age: Option<Duration>,
    /// §5.2.2.10.
    pub s_maxage: Option<Duration>,
    /// RFC 5861 §3.
    pub stale_while_revalidate: Option<Duration>,
    /// RFC 5861 §4.
    pub stale_if_error: Option<Duration>,
    /// §5.2.2.4.
    pub no_cache: Extent,
    /// §5.2.2.7.
    pub private: Extent,
    /// §5.2.2.5.
    pub no_store: bool,
    /// §5.2.2.2.
    pub must_revalidate: bool,
    /// §5.2.2.8.
    pub proxy_revalidate: bool,
    /// §5.2.2.3.
    pub must_understand: bool,
    /// §5.2.2.9.
    pub public: bool,
    /// RFC 8246.
    pub immutable: bool,
}

impl ResponseDirectives {
    /// Reads every `Cache-Control` line of a response.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut said = Self::default();
        for line in headers.get_all(CACHE_CONTROL) {
            for directive in members(line.as_bytes()) {
                let (name, argument) = split(directive);
                said.add(name, argument);
            }
        }
        said
    }

    /// Reads `CDN-Cache-Control` as the structured field it is (RFC 9213 §2.1).
    /// `None`: absent, empty or not a Dictionary, and then it is as if it were not there.
    pub fn targeted(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(CDN_CACHE_CONTROL).iter();
        let first = lines.next()?.as_bytes();
        let mut whole = Cow::Borrowed(first);
        for line in lines {
            whole.to_mut().extend_from_slice(b", ");
            whole.to_mut().extend_from_slice(line.as_bytes());
        }
        let members =
            Parser::new(&*whole).parse::<Dictionary>().ok().filter(|members| !members.is_empty())?;
        let mut said = Self::default();
        for (key, member) in &members {
            let name = key.as_str().as_bytes();
            match member {
                ListEntry::Item(item) => match &item.bare_item {
                    BareItem::Boolean(false) => {}
                    BareItem::Boolean(true) => said.add(name, None),
                    BareItem::Integer(n) => said.add(name, Some(n.to_string().as_bytes())),
                    BareItem::Token(token) => said.add(name, Some(token.as_str().as_bytes())),
                    // a number comes as an Integer here; the blank keeps a String of digits from being one
                    BareItem::String(text) => said.add(name, Some(format!("\"{text} \"").as_bytes())),
                    _ => said.add(name, Some(b"?")),
                },
                ListEntry::InnerList(_) => said.add(name, Some(b"?")),
            }
        }
        Some(said)
    }

    fn add(&mut self, name: &[u8], argument: Option<&[u8]>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("max-age") {
            lower(&mut self.max_age, argument);
        } else if is("s-maxage") {
            lower(&mut self.s_maxage, argument);
        } else if is("stale-while-revalidate") {
            lower(&mut self.stale_while_revalidate, argument);
        } else if is("stale-if-error") {
            lower(&mut self.stale_if_error, argument);
        } else if is("no-cache") {
            self.no_cache.widen(argument);
        } else if is("private") {
            self.private.widen(argument);
        } else if is("no-store") {
            self.no_store = true;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if argument.is_some() {
            // what follows only permits, and with an argument nobody defined it
        } else if is("must-understand") {
            self.must_understand = true;
        } else if is("public") {
            self.public = true;
        } else if is("immutable") {
            self.immutable = true;
        }
    }
}

/// What a request asks (RFC 9111 §5.2.1, RFC 5861 §4). Of repeated numbers the strictest counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// §5.2.1.1: not older than this.
    pub max_age: Option<Duration>,
    /// §5.2.1.2: as stale as this is fine; `Duration::MAX` for `max-stale` without a number.
    pub max_stale: Option<Duration>,
    /// §5.2.1.3: fresh for at least this much longer.
    pub min_fresh: Option<Duration>,
    /// RFC 5861 §4.
    pub stale_if_error: Option<Duration>,
    /// §5.2.1.4, or `Pragma: no-cache` without any Cache-Control (§5.4).
    pub no_cache: bool,
    /// §5.2.1.5.
    pub no_store: bool,
    /// §5.2.1.7.
    pub only_if_cached: bool,
}

impl RequestDirectives {
    /// Reads every `Cache-Control` line of a request, and `Pragma` where there is none.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut asked = Self::default();
        let mut lines = headers.get_all(CACHE_CONTROL).iter().peekable();
        if lines.peek().is_none() {
            let mut pragmas = headers.get_all(PRAGMA).iter().flat_map(|line| members(line.as_bytes()));
            asked.no_cache = pragmas.any(|word| word.eq_ignore_ascii_case(b"no-cache"));
            return asked;
        }
        for directive in lines.flat_map(|line| members(line.as_bytes())) {
            let (name, argument) = split(directive);
            asked.add(name, argument);
        }
        asked
    }

    fn add(&mut self, name: &[u8], argument: Option<&[u8]>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("max-age") {
            lower(&mut self.max_age, argument);
        } else if is("stale-if-error") {
            lower(&mut self.stale_if_error, argument);
        } else if is("min-fresh") {
            let wanted = argument.and_then(delta_seconds).unwrap_or(Duration::MAX);
            self.min_fresh = Some(self.min_fresh.map_or(wanted, |before| before.max(wanted)));
        } else if is("max-stale") {
            let granted =
                argument.map_or(Duration::MAX, |given| delta_seconds(given).unwrap_or(Duration::ZERO));
            self.max_stale = Some(self.max_stale.map_or(granted, |before| before.min(granted)));
        } else if is("no-cache") {
            self.no_cache = true;
        } else if is("no-store") {
            self.no_store = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        }
    }
}

/// The members of one line of a comma-separated list, trimmed, empty ones left out (RFC 9110 §5.6.1.2).
/// A comma within a quoted string parts nothing; a quote that never closes is an ordinary character.
pub(crate) fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        loop {
            let (member, after) = cut(rest?);
            rest = after;
            let member = member.trim_ascii();
            if !member.is_empty() {
                return Some(member);
            }
        }
    })
}

fn cut(list: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut at = 0;
    while let Some(byte) = list.get(at) {
        match byte {
            b',' => return (&list[..at], Some(&list[at + 1..])),
            b'"' => at = closing_quote(list, at).unwrap_or(at) + 1,
            _ => at += 1,
        }
    }
    (list, None)
}

fn closing_quote(list: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        match list.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Name and argument. A blank ends the name, and what follows it is an argument that nothing can read:
/// `no-store x` is still `no-store`, and `max-age =60` is still an unreadable `max-age`.
fn split(directive: &[u8]) -> (&[u8], Option<&[u8]>) {
    let end = directive.iter().position(|byte| matches!(byte, b'=' | b' ' | b'\t'));
    match end {
        None => (directive, None),
        Some(end) if directive[end] == b'=' => (&directive[..end], Some(&directive[end + 1..])),
        Some(end) => (&directive[..end], Some(&directive[end..])),
    }
}

fn lower(held: &mut Option<Duration>, argument: Option<&[u8]>) {
    let said = argument.and_then(delta_seconds).unwrap_or(Duration::ZERO);
    *held = Some(held.map_or(said, |before| before.min(said)));
}

/// RFC 9111 §1.2.2, quoted or not; `None` if it is anything but digits. Too large is [`LONGEST`].
pub(crate) fn delta_seconds(argument: &[u8]) -> Option<Duration> {
    let digits = unquoted(argument);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = digits.iter().fold(0_u64, |n, digit| (n * 10 + u64::from(digit - b'0')).min(LONGEST));
    Some(Duration::from_secs(seconds))
}

/// A list of fields that can be left out; `None` if it cannot be read, or if the rest would not stand without them.
fn field_names(argument: &[u8]) -> Option<Vec<HeaderName>> {
    let names: Option<Vec<_>> =
        members(unquoted(argument)).map(|name| HeaderName::from_bytes(name).ok()).collect();
    names.filter(|names| !names.is_empty() && !names.iter().any(is_essential))
}

fn unquoted(argument: &[u8]) -> &[u8] {
    argument.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(argument)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(lines: &[&str]) -> ResponseDirectives {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, line.parse().unwrap());
        }
        ResponseDirectives::of(&headers)
    }

    fn targeted(lines: &[&str]) -> Option<ResponseDirectives> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CDN_CACHE_CONTROL, line.parse().unwrap());
        }
        ResponseDirectives::targeted(&headers)
    }

    fn request(line: &str) -> RequestDirectives {
        let mut headers = HeaderMap::new();
        headers.append(CACHE_CONTROL, line.parse().unwrap());
        RequestDirectives::of(&headers)
    }

    fn seconds(n: u64) -> Option<Duration> {
        Some(Duration::from_secs(n))
    }

    #[test]
    fn names_have_no_case_and_numbers_may_be_quoted_or_padded_with_zeros() {
        for line in
            ["max-age=3600", "MaX-aGe=3600", "max-age=\"3600\"", "max-age=003600", " ,, max-age=3600 ,"]
        {
            assert_eq!(response(&[line]).max_age, seconds(3600), "{line}");
        }
    }

    #[test]
    fn a_number_that_cannot_be_read_is_zero() {
        for line in [
            "max-age",
            "max-age=",
            "max-age=-1",
            "max-age=3600.0",
            "max-age='3600'",
            "max-age=a3600",
            "max-age=3600a",
            "max-age =3600",
            "max-age= 3600",
            "max-age 3600",
            "max-age=\"3600",
        ] {
            assert_eq!(response(&[line]).max_age, seconds(0), "{line}");
        }
    }

    #[test]
    fn a_number_too_large_is_for_ever() {
        assert_eq!(response(&["max-age=2147483649"]).max_age, seconds(LONGEST));
        assert_eq!(response(&["max-age=99999999999999999999999999"]).max_age, seconds(LONGEST));
    }

    #[test]
    fn the_lowest_of_repeated_numbers_counts() {
        assert_eq!(response(&["max-age=1800, max-age=1"]).max_age, seconds(1));
        assert_eq!(response(&["max-age=1", "max-age=1800"]).max_age, seconds(1));
    }

    #[test]
    fn what_stands_in_a_quoted_string_is_no_directive() {
        let said = response(&["extension=\"max-age=3600, no-store, \\\", private\", max-age=1"]);
        assert_eq!(said.max_age, seconds(1));
        assert!(!said.no_store);
        assert_eq!(said.private, Extent::Absent);
    }

    #[test]
    fn an_unbalanced_quote_hides_no_directive() {
        assert!(response(&["extension=\"x, no-store"]).no_store);
    }

    #[test]
    fn a_restriction_counts_whatever_argument_it_carries_and_a_permission_does_not() {
        let said =
            response(&["no-store=1, must-revalidate=\"x\", proxy-revalidate foo, public=1, immutable=yes"]);
        assert!(said.no_store && said.must_revalidate && said.proxy_revalidate);
        assert!(!said.public && !said.immutable);
    }

    #[test]
    fn field_lists_limit_private_and_no_cache_unless_they_cannot_be_read() {
        let names =
            |list: &[&'static str]| Extent::Fields(list.iter().map(|n| HeaderName::from_static(n)).collect());
        assert_eq!(response(&["no-cache=\"A, b\""]).no_cache, names(&["a", "b"]));
        assert_eq!(response(&["private=a", "private=\"b\""]).private, names(&["a", "b"]));
        assert_eq!(response(&["private=\"a\", private"]).private, Extent::Whole);
        assert_eq!(response(&["private, private=\"a\""]).private, Extent::Whole);
        for line in ["private=\"\"", "private=", "private=\"a b\"", "private=\"vary\"", "private =\"a\""] {
            assert_eq!(response(&[line]).private, Extent::Whole, "{line}");
        }
    }

    #[test]
    fn the_targeted_field_is_a_dictionary_or_nothing() {
        let said = targeted(&["max-age=60;a=b, private", "no-cache=\"x-a, x-b\""]).unwrap();
        assert_eq!(said.max_age, seconds(60));
        assert_eq!(said.private, Extent::Whole);
        assert_eq!(said.no_cache.fields().len(), 2);
        for broken in ["", "max-age=60, &&&", "Max-Age=60", "max-age=60,", "max-age=\"60"] {
            assert_eq!(targeted(&[broken]), None, "{broken}");
        }
        assert_eq!(targeted(&[]), None);
    }

    #[test]
    fn a_targeted_number_of_the_wrong_type_is_zero() {
        for line in
            ["max-age=\"60\"", "max-age=60.0", "max-age", "max-age=-5", "max-age=(60)", "max-age=sixty"]
        {
            assert_eq!(targeted(&[line]).unwrap().max_age, seconds(0), "{line}");
        }
        assert_eq!(targeted(&["max-age=99999999999"]).unwrap().max_age, seconds(LONGEST));
        assert!(!targeted(&["no-store=?0, max-age=1"]).unwrap().no_store);
    }

    #[test]
    fn a_request_s_numbers_are_read_to_its_favour() {
        assert_eq!(request("max-stale").max_stale, Some(Duration::MAX));
        assert_eq!(request("max-stale=x").max_stale, seconds(0));
        assert_eq!(request("min-fresh=x").min_fresh, Some(Duration::MAX));
        assert_eq!(request("min-fresh=1, min-fresh=5").min_fresh, seconds(5));
        assert_eq!(request("max-age=x").max_age, seconds(0));
    }

    #[test]
    fn pragma_speaks_only_where_cache_control_is_silent() {
        let mut headers = HeaderMap::new();
        headers.insert(PRAGMA, "no-cache".parse().unwrap());
        assert!(RequestDirectives::of(&headers).no_cache);
        headers.insert(CACHE_CONTROL, "max-age=5".parse().unwrap());
        assert!(!RequestDirectives::of(&headers).no_cache);
    }
}
