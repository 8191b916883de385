//! What is known of a write once it is over, and what stands for the placeholders of its rules. Pure.
//!
//! Invariant: values are either all that there are, or none: what could not be read may have named more.

use std::sync::Arc;

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::route::carried;
use crate::route::query::QuerySpec;
use crate::route::tag::{Tag, Values, is_name};

/// RFC 9875 §3.
const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// A write that is over.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// The host that was written to, as it is keyed: paths are outdated there and on no other.
    pub host: &'a Arc<str>,
    /// The query as it came.
    pub query: Option<&'a str>,
    /// The request's fields.
    pub headers: &'a HeaderMap,
    /// The id of whoever wrote (`identity.user`).
    pub user: Option<&'a str>,
    /// What became of it.
    pub outcome: Outcome,
    /// What was sent.
    pub request: &'a Content,
    /// What was answered; [`Content::Unread`] where nobody knows.
    pub response: &'a Content,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered with this.
    Known(StatusCode),
    /// It may have had its effect, may yet have it, or never: no answer, or one that does not say.
    Unknown,
}

/// A body, as far as it was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// JSON.
    Json(Value),
    /// None, or no JSON: nothing in it has a name.
    Other,
    /// It may be JSON: too large, in a coding that cannot be undone, broken off, or not waited for.
    Unread,
}

/// One of the two bodies of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What was sent.
    Request,
    /// What was answered.
    Response,
}

/// The placeholders of one rule.
pub(crate) struct Resolved<'a> {
    /// What stood in the braces of its template, in every reading of the path.
    pub(crate) captures: &'a [(&'a str, String)],
    /// Everything else.
    pub(crate) written: &'a Written<'a>,
}

impl Side {
    /// Whether a placeholder looks here.
    pub(crate) fn is_named_by(self, name: &str) -> bool {
        self.path(name).is_some()
    }

    /// Where: `body.a.b` on both sides, `request.body.a` and `response.body.a` on one.
    fn path(self, name: &str) -> Option<&str> {
        let own = match self {
            Self::Request => "request.body.",
            Self::Response => "response.body.",
        };
        name.strip_prefix("body.").or_else(|| name.strip_prefix(own))
    }
}

impl Content {
    /// What these bytes are, all of a body.
    pub fn of(bytes: &[u8]) -> Self {
        match carried::json(bytes) {
            Ok(Some(value)) => Self::Json(value),
            Ok(None) => Self::Other,
            // Some reader may take it for JSON.
            Err(_) => Self::Unread,
        }
    }
}

impl Values for Resolved<'_> {
    /// All that the placeholder stands for. A name of the path's own comes before the others.
    fn values(&self, name: &str) -> Vec<String> {
        let captured = self.captures.iter().filter(|(capture, _)| *capture == name);
        let captured: Vec<String> = captured.map(|(_, value)| value.clone()).collect();
        if !captured.is_empty() {
            return captured;
        }
        let Written { query, headers, user, outcome, .. } = self.written;
        match (name, name.split_once('.')) {
            ("user", _) => user.map(str::to_owned).into_iter().collect(),
            ("status", _) => match outcome {
                Outcome::Known(status) => vec![status.as_u16().to_string()],
                Outcome::Unknown => Vec::new(),
            },
            (_, Some(("query", name))) => QuerySpec::default().canonical(*query).values(name),
            (_, Some(("header", name))) => of_field(headers, name),
            _ => self.of_bodies(name),
        }
    }
}

impl Resolved<'_> {
    /// What either body has there: a write may move something from one to another.
    fn of_bodies(&self, name: &str) -> Vec<String> {
        let mut values = Vec::new();
        let sides = [(Side::Request, self.written.request), (Side::Response, self.written.response)];
        for (path, content) in sides.iter().filter_map(|(side, content)| Some((side.path(name)?, content))) {
            match content {
                Content::Unread => return Vec::new(),
                Content::Other => {}
                Content::Json(body) => match of_json(body, path) {
                    There::Texts(texts) => {
                        values.extend(
                            texts.into_iter().filter(|text| !values.contains(text)).collect::<Vec<_>>(),
                        );
                    }
                    There::Nothing => {}
                    There::Untold => return Vec::new(),
                },
            }
        }
        values
    }
}

/// The lines of a field of the request; none if one of them is no text.
fn of_field(headers: &HeaderMap, name: &str) -> Vec<String> {
    let text = |line: &HeaderValue| Some(std::str::from_utf8(line.as_bytes()).ok()?.trim().to_owned());
    headers.get_all(name).iter().map(text).collect::<Option<_>>().unwrap_or_default()
}

/// What a body has at one place.
enum There {
    /// These values and no others.
    Texts(Vec<String>),
    /// No value.
    Nothing,
    /// Something without a name, or only in some members of a list: it may stand for more.
    Untold,
}

/// What stands at `a.items.0.b`: of a list without a number, in each of its members.
fn of_json(body: &Value, path: &str) -> There {
    let (mut places, mut is_lacking) = (vec![body], false);
    for name in path.split('.') {
        let mut next = Vec::new();
        for place in places {
            let found = match (place, name.parse::<usize>()) {
                (Value::Array(items), Ok(nth)) => items.get(nth),
                (Value::Array(items), Err(_)) => {
                    next.extend(items.iter().filter_map(|item| item.get(name)));
                    is_lacking |= items.iter().any(|item| item.get(name).is_none());
                    continue;
                }
                (place, _) => place.get(name),
            };
            is_lacking |= found.is_none();
            next.extend(found);
        }
        places = next;
    }
    let mut texts = Vec::new();
    while let Some(place) = places.pop() {
        match (place, carried::text(place)) {
            (Value::Array(items), _) => places.extend(items),
            (Value::Object(_), _) | (_, Err(_)) => return There::Untold,
            (_, Ok(None)) => is_lacking = true,
            (_, Ok(Some(text))) => texts.push(text),
        }
    }
    texts.sort_unstable();
    texts.dedup();
    match (texts.is_empty(), is_lacking) {
        (true, _) => There::Nothing,
        (false, true) => There::Untold,
        (false, false) => There::Texts(texts),
    }
}

/// The groups that an answer to an unsafe request outdates (RFC 9875 §3); what is no list of strings names none (RFC 9651
/// §1.1), and what is no tag is no group of anything that is kept.
pub fn groups(headers: &HeaderMap) -> Vec<Tag> {
    let named = carried::strings(headers, &CACHE_GROUP_INVALIDATION).unwrap_or_default();
    named.iter().filter(|name| is_name(name)).map(|name| Tag::named(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Content {
        Content::of(text.as_bytes())
    }

    /// What `name` stands for, of a write with these bodies.
    fn values(name: &str, request: &Content, response: &Content) -> Vec<String> {
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_static("x-tenant"),
            HeaderValue::from_static(" acme "),
        )]);
        let written = Written {
            host: &"h".into(),
            query: Some("page=1&tag=a+b&tag=%63&%71=x&bad=%ff"),
            headers: &headers,
            user: Some("7"),
            outcome: Outcome::Known(StatusCode::CREATED),
            request,
            response,
        };
        let captures = [("id", "42".to_owned()), ("id", "43".to_owned()), ("empty", String::new())];
        Resolved { captures: &captures, written: &written }.values(name)
    }

    fn found(name: &str, request: &str, response: &str) -> Vec<String> {
        values(name, &json(request), &json(response))
    }

    #[test]
    fn a_placeholder_stands_for_what_the_request_and_its_answer_say() {
        for (name, known) in [
            ("id", &["42", "43"][..]),
            ("empty", &[""]),
            ("status", &["201"]),
            ("user", &["7"]),
            ("query.page", &["1"]),
            ("query.tag", &["a b", "c"]),
            ("query.q", &["x"]),
            ("query.bad", &[]),
            ("query.none", &[]),
            ("header.x-tenant", &["acme"]),
            ("header.X-Tenant", &["acme"]),
            ("header.none", &[]),
            ("unknown", &[]),
        ] {
            assert_eq!(values(name, &Content::Other, &Content::Other), known, "{name}");
        }
    }

    #[test]
    fn values_of_both_bodies_count_and_each_side_has_a_name() {
        let (request, response) = (r#"{"project":{"id":1}}"#, r#"{"project":{"id":"2"}}"#);
        assert_eq!(found("body.project.id", request, response), ["1", "2"]);
        assert_eq!(found("request.body.project.id", request, response), ["1"]);
        assert_eq!(found("response.body.project.id", request, response), ["2"]);
        assert_eq!(found("body.project.id", request, request), ["1"]);
        assert_eq!(found("body.project.id", request, ""), ["1"], "what is no JSON names nothing");
        assert_eq!(found("body.project.id", request, r#"{"ok":true}"#), ["1"]);
    }

    #[test]
    fn lists_give_each_of_their_members() {
        let body = r#"{"ids":[1,2,[3]],"items":[{"id":"a","n":[7]},{"id":"b"}],"0":{"x":true}}"#;
        for (name, known) in [
            ("body.ids", &["1", "2", "3"][..]),
            ("body.ids.1", &["2"]),
            ("body.items.0.id", &["a"]),
            ("body.items.id", &["a", "b"]),
            ("body.items.0.n", &["7"]),
            ("body.0.x", &["true"]),
            ("body.items.n", &[]),
            ("body.items", &[]),
            ("body.ids.9", &[]),
            ("body.ids.x", &[]),
        ] {
            assert_eq!(found(name, body, ""), known, "{name}");
        }
    }

    #[test]
    fn what_has_no_one_name_has_none() {
        for (value, text) in [
            ("42", Some("42")),
            ("42.0", Some("42")),
            ("-0.0", Some("0")),
            ("1.5", Some("1.5")),
            ("9007199254740993", Some("9007199254740993")),
            ("1e300", None),
            ("null", None),
            ("{}", None),
            (r#""""#, None),
            ("[1,null]", None),
        ] {
            let body = format!(r#"{{"id":{value}}}"#);
            assert_eq!(found("body.id", &body, ""), Vec::from_iter(text), "{value}");
        }
    }

    #[test]
    fn what_one_body_names_in_part_the_other_does_not_make_up_for() {
        let other = r#"{"id":7,"items":[{"id":7}]}"#;
        for (name, partly) in [
            ("body.id", r#"{"id":[42,null]}"#),
            ("body.id", r#"{"id":{"of":42}}"#),
            ("body.id", r#"{"id":1e300}"#),
            ("body.items.id", r#"{"items":[{"id":42},{}]}"#),
        ] {
            assert_eq!(found(name, partly, other), [""; 0], "{partly}");
            assert_eq!(found(name, other, partly), [""; 0], "{partly}");
        }
        for nothing in [r#"{"id":null}"#, r#"{"id":""}"#, r#"{"id":[]}"#, "{}", "[]", "7"] {
            assert_eq!(found("body.id", nothing, other), ["7"], "{nothing}");
        }
    }

    #[test]
    fn a_body_that_was_not_read_may_have_named_more() {
        let body = json(r#"{"id":1}"#);
        assert!(values("body.id", &body, &Content::Unread).is_empty());
        assert!(values("body.id", &Content::Unread, &body).is_empty());
        assert_eq!(values("request.body.id", &body, &Content::Unread), ["1"]);
        assert_eq!(json("{\"id\":NaN}"), Content::Unread, "some reader may take it for JSON");
        assert_eq!(json("\u{feff}[1]"), json("[1]"));
        assert_eq!(json("id=1"), Content::Other);
    }

    #[test]
    fn groups_are_the_strings_of_a_list() {
        let groups = |lines: &[&str]| {
            let headers = lines.iter().map(|line| {
                (http::HeaderName::from_static("cache-group-invalidation"), line.parse().unwrap())
            });
            groups(&HeaderMap::from_iter(headers)).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(groups(&[r#""a";x=1, "b c""#, r#""d""#]), ["a", "b c", "d"]);
        assert_eq!(groups(&[r#""a", "/path""#]), ["a"], "nothing is kept under what is no tag");
        for no_list in [&[][..], &[r#""a" "b""#], &[r#"token, "a""#], &[r#"("a")"#]] {
            assert!(groups(no_list).is_empty(), "{no_list:?}");
        }
    }
}
