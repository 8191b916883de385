//! Which tags an answer carries: those that its route's templates, its fields and its JSON body name. Pure.
//!
//! Invariant: what an answer should carry and cannot be told is an [`Unfit`], and the answer is not stored: nothing could
//! outdate it precisely. Only `{user}` may be missing: then the tag is nobody's, and left out. It refuses to know who stores.

use std::collections::BTreeSet;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use serde_json::Value;
use sfv::{BareItem, List, ListEntry, Parser};
use thiserror::Error;

use crate::policy::decode::Undecodable;
use crate::route::BodyTag;
use crate::route::query::Query;
use crate::route::tag::{MAX_TAGS, Rendered, Tag, Text, Values, is_name};

/// Tags apart by spaces (Fastly, Varnish xkey).
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
/// Tags apart by commas (Cloudflare, Akamai).
const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
/// RFC 9875 §2.
const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");

/// The placeholder that may stand for nobody.
const USER: &str = "user";

/// From here on a double does not tell integers apart.
const INTEGERS: f64 = 9_007_199_254_740_992.0;

/// Why the tags of an answer cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unfit {
    /// A placeholder has no value, or too many.
    #[error("a placeholder of its tags has no value in the request")]
    Unresolved,
    /// A text that is no tag: see [`is_name`].
    #[error("one of its tags is too long, begins with a slash, or has a control character")]
    NotAName,
    /// More than [`MAX_TAGS`].
    #[error("it has more than {MAX_TAGS} tags")]
    TooMany,
    /// A number that may be written in several ways, none of which is known to be the one that is meant.
    #[error("a number in it has no one name")]
    Number,
    /// A body that some reader may take for JSON.
    #[error("its body begins like JSON and is none")]
    NearlyJson,
    /// A body that cannot be read.
    #[error("its body cannot be searched: {0}")]
    Unreadable(#[from] Undecodable),
    /// A body whose reader came to grief.
    #[error("its body could not be searched")]
    Unsearched,
    /// A part of a body.
    #[error("it is a part, and its tags stand in the whole")]
    Part,
}

/// What a request gives for the placeholders of its route's tags.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// What stood in the braces of the route's template, decoded: `{id}`.
    pub captures: &'a [(&'a str, &'a str)],
    /// What of the query is part of the key: `{query.page}`.
    pub query: &'a Query<'a>,
    /// The request's fields, of which only `key_headers` are looked at: `{header.x-tenant}`.
    pub headers: &'a HeaderMap,
    /// The fields that are part of the key.
    pub key_headers: &'a [HeaderName],
    /// Whose the answer is, if it is one user's: `{user}`.
    pub user: Option<&'a str>,
}

impl Values for Given<'_> {
    fn values(&self, name: &str) -> Vec<String> {
        if name == USER {
            return self.user.map(str::to_owned).into_iter().collect();
        }
        if let Some(name) = name.strip_prefix("query.") {
            return self.query.values(name);
        }
        if let Some(name) = name.strip_prefix("header.") {
            return self.of_field(name);
        }
        let captured = self.captures.iter().filter(|(capture, _)| *capture == name);
        captured.map(|(_, value)| (*value).to_owned()).collect()
    }
}

impl Given<'_> {
    fn of_field(&self, name: &str) -> Vec<String> {
        let keyed = self.key_headers.iter().find(|keyed| keyed.as_str().eq_ignore_ascii_case(name));
        let lines = keyed.map(|name| self.headers.get_all(name));
        let text = |line: &HeaderValue| std::str::from_utf8(line.as_bytes()).map(str::to_owned);
        // One that is no text leaves none: there may be no other.
        lines.and_then(|lines| lines.iter().map(text).collect::<Result<_, _>>().ok()).unwrap_or_default()
    }

    /// What a template comes to; `None`: it is nobody's.
    fn texts(&self, template: &Text) -> Result<Option<Vec<String>>, Unfit> {
        if self.user.is_none() && template.names().any(|name| name == USER) {
            return Ok(None);
        }
        match template.render(self) {
            Rendered::Known(texts) => Ok(Some(texts)),
            Rendered::Wide(_) => Err(Unfit::Unresolved),
        }
    }
}

/// The tags that `tags:` of the route gives, and `user:<id>` of whose it is.
///
/// # Errors
/// Why they cannot be told.
pub fn by_route(templates: &[Text], given: &Given<'_>) -> Result<Vec<Tag>, Unfit> {
    let mut named = Named::default();
    if let Some(user) = given.user {
        named.add(Tag::user(user))?;
    }
    for template in templates {
        for text in given.texts(template)?.unwrap_or_default() {
            named.add(Tag::named(&text))?;
        }
    }
    Ok(named.into_vec())
}

/// What stands before the values of each of `body_tags`, in their order; nothing for what is nobody's.
///
/// # Errors
/// Why that cannot be told.
pub fn prefixes(body_tags: &[BodyTag], given: &Given<'_>) -> Result<Vec<Vec<String>>, Unfit> {
    let prefix = |tag: &BodyTag| match &tag.prefix {
        Some(template) => given.texts(template).map(Option::unwrap_or_default),
        None => Ok(vec![String::new()]),
    };
    body_tags.iter().map(prefix).collect()
}

/// The tags that the fields of an answer name; a `Cache-Groups` that is no list of strings is as if it were not there
/// (RFC 9651 §1.1).
///
/// # Errors
/// Why they cannot be told.
pub fn by_fields(headers: &HeaderMap) -> Result<Vec<Tag>, Unfit> {
    let mut named = Named::default();
    for (field, separators) in [(SURROGATE_KEY, &b" \t"[..]), (CACHE_TAG, &b","[..])] {
        for line in headers.get_all(field) {
            let members = line.as_bytes().split(|byte| separators.contains(byte));
            for member in members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty()) {
                named.add(Tag::named(std::str::from_utf8(member).map_err(|_| Unfit::NotAName)?))?;
            }
        }
    }
    for group in strings(headers, &CACHE_GROUPS).unwrap_or_default() {
        named.add(Tag::named(&group))?;
    }
    Ok(named.into_vec())
}

/// A field that is a List of Strings (RFC 9875 §2, §3), whose parameters do not count; `None`: it is none.
pub(crate) fn strings(headers: &HeaderMap, field: &HeaderName) -> Option<Vec<String>> {
    let lines: Vec<&[u8]> = headers.get_all(field).iter().map(HeaderValue::as_bytes).collect();
    let members: List = Parser::new(&lines.join(&b", "[..])).parse().ok()?;
    let text = |member: &ListEntry| match member {
        ListEntry::Item(item) => match &item.bare_item {
            BareItem::String(text) => Some(text.as_str().to_owned()),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    };
    members.iter().map(text).collect()
}

/// Reads a decoded body; `None`: it is no JSON.
///
/// # Errors
/// [`Unfit::NearlyJson`]: nor is it anything else, as far as can be seen (`NaN`, lines of JSON, too deep, UTF-16).
pub fn json(body: &[u8]) -> Result<Option<Value>, Unfit> {
    // RFC 8259 §8.1: a reader may ignore it, and so may the one for whom this is.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    match serde_json::from_slice(body) {
        Ok(value) => Ok(Some(value)),
        Err(_) if begins_like_json(body) => Err(Unfit::NearlyJson),
        Err(_) => Ok(None),
    }
}

/// In UTF-8, or in UTF-16 or UTF-32 by their signature or first zeros: RFC 8259 §8.1 rules these out, and Python's `json`
/// reads them.
fn begins_like_json(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start(), [b'{' | b'[', ..])
        || matches!(body, [0xfe, 0xff, ..] | [0xff, 0xfe, ..] | [0, 0, 0xfe, 0xff, ..])
        || matches!(body, [0, b'{' | b'[', ..] | [0, 0, 0, b'{' | b'[', ..])
}

/// The tags that a JSON body names: one for every text, number and truth value that a path finds, and for every one in a
/// list that it finds, however deep. Objects, `null` and empty texts name nothing. `prefixes` are from [`prefixes`].
///
/// # Errors
/// Why they cannot be told.
pub fn by_body(body: &Value, body_tags: &[BodyTag], prefixes: &[Vec<String>]) -> Result<Vec<Tag>, Unfit> {
    let mut named = Named::default();
    for (tag, prefixes) in body_tags.iter().zip(prefixes).filter(|(_, prefixes)| !prefixes.is_empty()) {
        let mut found = tag.path.query(body).all();
        while let Some(value) = found.pop() {
            if let Value::Array(items) = value {
                found.extend(items);
                continue;
            }
            let Some(text) = text(value)? else { continue };
            for prefix in prefixes {
                named.add(Tag::named(&format!("{prefix}{text}")))?;
            }
        }
    }
    Ok(named.into_vec())
}

/// A JSON value as part of a tag: texts as they are, integers in digits, other numbers without exponent; `None` for
/// what has no name.
///
/// # Errors
/// [`Unfit::Number`]: an integer that 64 bits do not hold; what is meant by it is no longer known.
pub fn text(value: &Value) -> Result<Option<String>, Unfit> {
    Ok(match value {
        Value::String(text) => (!text.is_empty()).then(|| text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(match number.as_f64() {
            Some(double) if number.is_f64() && double.abs() >= INTEGERS => return Err(Unfit::Number),
            // `42.0` is 42, and so is `-0.0` nothing but 0.
            Some(double) if number.is_f64() => (double + 0.0).to_string(),
            _ => number.to_string(),
        }),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    })
}

/// Several answers' or sources' tags together: each once.
///
/// # Errors
/// [`Unfit::TooMany`]: more than [`MAX_TAGS`] that Larder does not give itself.
pub fn together(tags: impl IntoIterator<Item = Tag>) -> Result<Vec<Tag>, Unfit> {
    let tags: BTreeSet<Tag> = tags.into_iter().collect();
    let named = tags.iter().filter(|tag| tag.is_named()).count();
    if named > MAX_TAGS { Err(Unfit::TooMany) } else { Ok(tags.into_iter().collect()) }
}

/// Tags of one source, each once, no more than are allowed.
#[derive(Default)]
struct Named(BTreeSet<Tag>);

impl Named {
    fn add(&mut self, tag: Tag) -> Result<(), Unfit> {
        if !is_name(tag.as_str()) {
            return Err(Unfit::NotAName);
        }
        self.0.insert(tag);
        if self.0.len() > MAX_TAGS { Err(Unfit::TooMany) } else { Ok(()) }
    }

    fn into_vec(self) -> Vec<Tag> {
        self.0.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::query::QuerySpec;
    use crate::route::tag::MAX_LENGTH;
    use proptest::prelude::*;
    use serde_json::json;

    fn fields(lines: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    fn names(tags: Result<Vec<Tag>, Unfit>) -> Vec<String> {
        tags.unwrap().iter().map(Tag::to_string).collect()
    }

    fn by_request(templates: &[&str], user: Option<&str>) -> Result<Vec<Tag>, Unfit> {
        let spec = QuerySpec::new(None, &["utm_*".to_owned()]);
        let query = spec.canonical(Some("q=a+b&q=c&utm_x=1&empty="));
        let headers = fields(&[("x-tenant", b"t1"), ("x-tenant", b"t2"), ("x-other", b"o")]);
        let given = Given {
            captures: &[("id", "42"), ("rest", "a/b"), ("nothing", "")],
            query: &query,
            headers: &headers,
            key_headers: &[HeaderName::from_static("x-tenant")],
            user,
        };
        let templates: Vec<Text> = templates.iter().map(|text| Text::parse(text).unwrap()).collect();
        by_route(&templates, &given)
    }

    #[test]
    fn templates_are_filled_with_what_is_in_the_key() {
        assert_eq!(names(by_request(&["project:{id}", "projects"], None)), ["project:42", "projects"]);
        assert_eq!(names(by_request(&["file:{rest:path}"], None)), ["file:a/b"]);
        assert_eq!(names(by_request(&["q:{query.q}:{id}"], None)), ["q:a b:42", "q:c:42"]);
        assert_eq!(names(by_request(&["t:{header.X-Tenant}"], None)), ["t:t1", "t:t2"]);
    }

    #[test]
    fn what_has_no_value_cannot_be_told() {
        for unknown in [
            "x:{nowhere}",
            "x:{nothing}",
            "x:{query.utm_x}",
            "x:{query.page}",
            "x:{query.empty}",
            "x:{header.x-other}",
            "x:{header.x-absent}",
            "all:*",
        ] {
            assert_eq!(by_request(&["projects", unknown], None), Err(Unfit::Unresolved), "{unknown}");
        }
        assert_eq!(by_request(&["{query.q}{query.q}"], None).map(|tags| tags.len()), Ok(4));
    }

    #[test]
    fn what_is_a_users_carries_his_tag_and_what_is_nobodys_none() {
        let templates = ["dashboard:{user}", "dashboard"];
        assert_eq!(names(by_request(&templates, Some("7"))), ["dashboard", "dashboard:7", "user:7"],);
        assert_eq!(names(by_request(&templates, None)), ["dashboard"]);
        assert_eq!(by_request(&[], Some("a\u{7}")), Err(Unfit::NotAName));
    }

    #[test]
    fn a_prefix_of_body_tags_is_filled_in_like_a_tag() {
        let tag = |prefix: &str| BodyTag {
            prefix: (!prefix.is_empty()).then(|| Text::parse(prefix).unwrap()),
            path: "$.id".parse().unwrap(),
        };
        let query = QuerySpec::default().canonical(None);
        let given = Given {
            captures: &[("org", "acme")],
            query: &query,
            headers: &HeaderMap::new(),
            key_headers: &[],
            user: None,
        };
        let filled = |prefix: &str| prefixes(&[tag(prefix)], &given).map(|mut each| each.remove(0));
        assert_eq!(filled("{org}:project:"), Ok(vec!["acme:project:".to_owned()]));
        assert_eq!(filled(""), Ok(vec![String::new()]));
        assert_eq!(filled("{user}:"), Ok(vec![]), "nobody's");
        assert_eq!(filled("{x}:"), Err(Unfit::Unresolved));
    }

    #[test]
    fn fields_name_tags_each_in_its_own_way() {
        let headers = fields(&[
            ("surrogate-key", b"a  b\tc"),
            ("surrogate-key", b""),
            ("surrogate-key", b"d,e"),
            ("cache-tag", b"f, g h ,,i "),
            ("cache-tag", b"a"),
            ("cache-groups", br#""j";x=1, "k l""#),
            ("cache-groups", br#""a""#),
        ]);
        assert_eq!(names(by_fields(&headers)), ["a", "b", "c", "d,e", "f", "g h", "i", "j", "k l"]);
        assert_eq!(names(by_fields(&HeaderMap::new())), [""; 0]);
    }

    #[test]
    fn groups_that_are_no_list_of_strings_are_none() {
        for malformed in [&b"a, \"b\""[..], b"\"b\", 1", b"(\"b\")", b"\"b", b"\"b\",", b"\"\xc3\xa9\""] {
            assert_eq!(names(by_fields(&fields(&[("cache-groups", malformed)]))), [""; 0]);
        }
        let twice = fields(&[("cache-groups", b"\"a\""), ("cache-groups", b"b c")]);
        assert_eq!(names(by_fields(&twice)), [""; 0], "all lines are one field");
    }

    #[test]
    fn what_is_no_name_is_not_passed_over() {
        let long = vec![b'a'; MAX_LENGTH + 1];
        for value in [&long[..], b"\xff", b"/a", b"a\tb"] {
            assert_eq!(by_fields(&fields(&[("cache-tag", value)])), Err(Unfit::NotAName));
        }
        assert_eq!(by_fields(&fields(&[("cache-groups", b"\"/a\"")])), Err(Unfit::NotAName));
        assert!(by_fields(&fields(&[("cache-tag", &long[1..])])).is_ok());
        assert_eq!(names(by_fields(&fields(&[("surrogate-key", "\u{e9}".as_bytes())]))), ["\u{e9}"]);
    }

    #[test]
    fn there_are_never_more_than_allowed() {
        let tags = |count: usize| (0..count).map(|n| format!("t{n} ")).collect::<String>();
        let named = |count| by_fields(&fields(&[("surrogate-key", tags(count).as_bytes())]));
        assert_eq!(named(MAX_TAGS).unwrap().len(), MAX_TAGS);
        assert_eq!(named(MAX_TAGS + 1), Err(Unfit::TooMany));
        let full = named(MAX_TAGS).unwrap();
        let larders_own = [Tag::path("h", "/a"), Tag::route("/a"), full[0].clone()];
        assert!(together(full.iter().cloned().chain(larders_own)).is_ok());
        assert_eq!(together(full.into_iter().chain([Tag::named("one more")])), Err(Unfit::TooMany));
    }

    fn found(paths: &[&str], body: &Value) -> Result<Vec<Tag>, Unfit> {
        let tag = |path: &&str| BodyTag { prefix: None, path: path.parse().unwrap() };
        let tags: Vec<BodyTag> = paths.iter().map(tag).collect();
        by_body(body, &tags, &vec![vec!["p:".to_owned()]; tags.len()])
    }

    #[test]
    fn a_body_names_every_value_that_a_path_finds() {
        let body = json!({
            "items": [
                { "id": 1, "tags": ["x", ["y", [{"no": 1}]]], "owner": { "id": "o1" } },
                { "id": "two", "draft": true, "owner": null },
                { "id": "" },
            ],
        });
        assert_eq!(names(found(&["$.items[*].id"], &body)), ["p:1", "p:two"]);
        assert_eq!(names(found(&["$..id"], &body)), ["p:1", "p:o1", "p:two"]);
        assert_eq!(names(found(&["$.items[*].tags", "$.items[*].owner"], &body)), ["p:x", "p:y"]);
        assert_eq!(names(found(&["$.items[*].draft", "$.absent"], &body)), ["p:true"]);
        assert_eq!(names(found(&["$"], &json!("all"))), ["p:all"]);
    }

    #[test]
    fn a_number_has_one_name_or_none() {
        let name = |text: &str| text_of(text).map(Option::unwrap);
        for (number, named) in [
            ("42", "42"),
            ("18446744073709551615", "18446744073709551615"),
            ("-7", "-7"),
            ("42.0", "42"),
            ("4.2e1", "42"),
            ("-0.0", "0"),
            ("1.50", "1.5"),
            ("1e-7", "0.0000001"),
        ] {
            assert_eq!(name(number), Ok(named.to_owned()));
        }
        for lost in ["18446744073709551616", "-9223372036854775809", "1e300"] {
            assert_eq!(name(lost), Err(Unfit::Number), "{lost}");
        }
    }

    fn text_of(json: &str) -> Result<Option<String>, Unfit> {
        text(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_value_that_makes_no_name_is_not_passed_over() {
        let long = "a".repeat(MAX_LENGTH);
        for value in [json!(long), json!("a\nb")] {
            assert_eq!(found(&["$"], &value), Err(Unfit::NotAName));
        }
        let many: Vec<usize> = (0..=MAX_TAGS).collect();
        assert_eq!(found(&["$[*]"], &json!(many)), Err(Unfit::TooMany));
        let same = vec![1; 5000];
        assert_eq!(names(found(&["$[*]"], &json!(same))), ["p:1"]);
    }

    #[test]
    fn what_is_no_json_names_nothing_and_what_is_nearly_json_cannot_be_told() {
        for none in ["", "<html>", "plain {text}", "\u{feff}", "NaN"] {
            assert_eq!(json(none.as_bytes()), Ok(None), "{none}");
        }
        assert_eq!(json("\u{feff} {\"a\":1}".as_bytes()), Ok(Some(json!({"a": 1}))));
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        for nearly in
            ["{\"a\":1}\n{\"a\":2}", "{\"score\":NaN}", " [1,2", "{a:1}", "{\"a\":\"\\ud800\"}", &deep]
        {
            assert_eq!(json(nearly.as_bytes()), Err(Unfit::NearlyJson), "{nearly}");
        }
        let (words, text) = ([0xfeff, 0x5b, 0x31, 0x5d], [0x5b, 0x31, 0x5d]);
        let wide =
            |units: &[u16], each: fn(u16) -> Vec<u8>| units.iter().flat_map(|unit| each(*unit)).collect();
        let encodings: [fn(u16) -> Vec<u8>; 4] = [
            |unit| unit.to_le_bytes().to_vec(),
            |unit| unit.to_be_bytes().to_vec(),
            |unit| u32::from(unit).to_le_bytes().to_vec(),
            |unit| u32::from(unit).to_be_bytes().to_vec(),
        ];
        for each in encodings {
            for units in [&words[..], &text] {
                let body: Vec<u8> = wide(units, each);
                assert_eq!(json(&body), Err(Unfit::NearlyJson), "{body:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_field_is_too_odd_to_be_read(
            value in prop::collection::vec(any::<u8>(), 0..60), which in prop::sample::select(vec!["surrogate-key", "cache-tag", "cache-groups"]),
        ) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut headers = HeaderMap::new();
                headers.insert(HeaderName::from_static(which), value);
                for tag in by_fields(&headers).unwrap_or_default() {
                    prop_assert!(is_name(tag.as_str()) && tag.is_named(), "{tag}");
                }
            }
        }

        #[test]
        fn a_field_of_names_gives_them_back(names in prop::collection::btree_set("[a-z:*{}]{1,8}", 1..20)) {
            let expected: Vec<Tag> = names.iter().map(|name| Tag::named(name)).collect();
            let listed: Vec<&str> = names.iter().map(String::as_str).collect();
            let groups: Vec<String> = listed.iter().map(|name| format!("\"{name}\"")).collect();
            for (field, value) in [
                ("surrogate-key", listed.join(" ")), ("cache-tag", listed.join(" ,")), ("cache-groups", groups.join(",")),
            ] {
                prop_assert_eq!(by_fields(&fields(&[(field, value.as_bytes())])).unwrap(), expected.clone());
            }
        }
    }
}
