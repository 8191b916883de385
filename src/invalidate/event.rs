//! The wire forms of an invalidation, told apart by shape: words, JSON words, the purge object, named events, CloudEvents.
//! Pure.
//!
//! ```text
//! project:42 dashboard                        words; those that begin with `/` are paths
//! "project:42"   ["project:42", "/api/stats"] the same as JSON
//! {"tags": […], "prefixes": […], …}           the purge object (`purge.rs`)
//! {"type": "project.updated", "data": {…}}    a named event: `events:` says what it outdates
//! {"specversion": "1.0", …} or `ce-*` fields  a CloudEvent: a named event of known form
//! ```
//! Invariant: what is understood reaches no less than its sender asked for, and what is not is an error with a sentence for
//! him; nothing is guessed and nothing left out. A body of [`MAX_BODY`] bytes costs no more than it weighs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use thiserror::Error;

use crate::invalidate::purge;
use crate::invalidate::raw::Raw;
use crate::invalidate::{Invalidation, Source};
use crate::route::host::{Hosts, Scheme};
use crate::route::reach::{Gaps, ItemTemplate, Reach};
use crate::store::position::Mode;

/// Largest body of an event, in bytes.
pub const MAX_BODY: usize = 256 * 1024;

/// Deepest nesting of JSON.
pub const MAX_DEPTH: usize = 32;

/// Longest name or id of an event, in bytes.
pub const MAX_NAME: usize = 256;

/// `events:`: which names outdate what.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Patterns of names (`*` for any text) and what they outdate, in the order of the file; all that match count.
    pub rules: Vec<(String, Vec<ItemTemplate>)>,
    /// What hosts are keyed as; without it a URL stands for its path on every host.
    pub hosts: Option<Hosts>,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something is outdated.
    Outdates(Outdates),
    /// A named event for which `events:` has no rule.
    Unmatched {
        /// Its name.
        name: String,
        /// What its sender calls this one.
        id: Option<String>,
        /// What it is about.
        data: Value,
    },
}

/// What a message outdates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outdates {
    /// What.
    pub reach: Reach,
    /// How.
    pub mode: Mode,
    /// What its sender calls this message.
    pub id: Option<String>,
    /// The name of the event, if it is a named one.
    pub name: Option<String>,
    /// What that event is about.
    pub data: Value,
}

impl Outdates {
    /// The invalidation that `actor` asks for by way of `source`.
    pub fn invalidation(self, source: Source, actor: impl Into<String>) -> Invalidation {
        let Self { reach, mode, id, name, data } = self;
        let raw = name.map(|name| Raw::Event { name, data });
        Invalidation { reach, mode, id, source, raw, actor: actor.into(), ..Invalidation::default() }
    }
}

/// Why a message is not understood; the sentence is for its sender.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadEvent {
    /// More than [`MAX_BODY`] bytes.
    #[error("an event has at most {MAX_BODY} bytes")]
    TooLarge,
    /// Not UTF-8.
    #[error("an event is text in UTF-8")]
    NotText,
    /// Begins like JSON and is none.
    #[error("this is no JSON: {0}")]
    NotJson(String),
    /// More than [`MAX_DEPTH`] levels.
    #[error("JSON nests at most {MAX_DEPTH} levels deep")]
    TooDeep,
    /// JSON of another shape.
    #[error("{0}")]
    Shape(String),
    /// A word that names nothing.
    #[error("`{word}`: {why}")]
    Word {
        /// The word, or its beginning.
        word: String,
        /// What is wrong with it.
        why: String,
    },
    /// It outdates nothing.
    #[error("the event names nothing to invalidate")]
    Nothing,
    /// More than [`purge::MAX_ITEMS`] things, or [`purge::MAX_PATTERNS`] patterns.
    #[error(
        "an event names at most {} things, {} of them patterns: send several, or a prefix",
        purge::MAX_ITEMS,
        purge::MAX_PATTERNS
    )]
    TooMany,
}

impl BadEvent {
    /// The reason as metrics name it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::NotText => "not-text",
            Self::NotJson(_) => "not-json",
            Self::TooDeep => "too-deep",
            Self::Shape(_) => "shape",
            Self::Word { .. } => "word",
            Self::Nothing => "nothing",
            Self::TooMany => "too-many",
        }
    }

    /// Whether not even its syntax holds.
    pub fn is_malformed(&self) -> bool {
        matches!(self, Self::NotText | Self::NotJson(_) | Self::TooDeep)
    }

    pub(in crate::invalidate) fn shape(why: &str) -> Self {
        Self::Shape(why.to_owned())
    }
}

/// Reads a message of any shape.
///
/// # Errors
/// What is wrong with it.
pub fn read(body: &[u8], names: &Names) -> Result<Event, BadEvent> {
    if body.len() > MAX_BODY {
        return Err(BadEvent::TooLarge);
    }
    let text = std::str::from_utf8(body).map_err(|_| BadEvent::NotText)?;
    // RFC 8259 §8.1 lets a reader pass over a byte order mark; with it JSON would not begin like JSON, and be a word.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match text.trim_start().as_bytes().first() {
        None => Err(BadEvent::Nothing),
        Some(b'{') => object(text, names),
        Some(b'[' | b'"') => match json(text.as_bytes())? {
            Value::String(words) => plain(&words, names),
            Value::Array(words) => {
                let words = words.iter().map(|word| word.as_str().ok_or(()));
                let words: Result<Vec<&str>, ()> = words.collect();
                let words =
                    words.map_err(|()| BadEvent::shape("a list holds strings, one for each tag or path"))?;
                purge::of_list(&words, names).map(outdates)
            }
            _ => Err(BadEvent::shape("JSON here is a string, a list of strings or an object")),
        },
        Some(_) => plain(text, names),
    }
}

/// The same for one that came by HTTP: a CloudEvent may have its attributes in `ce-*` fields (binary mode).
///
/// # Errors
/// What is wrong with it.
pub fn received(headers: &HeaderMap, body: &[u8], names: &Names) -> Result<Event, BadEvent> {
    if !headers.contains_key("ce-specversion") {
        return read(body, names);
    }
    let attribute = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        // CloudEvents HTTP binding §3.1.3.2.
        value.and_then(|value| percent_decode_str(value).decode_utf8().ok()).map(String::from)
    };
    let data = if body.is_empty() { Value::Null } else { json(body).unwrap_or(Value::Null) };
    let [name, id, source] = ["ce-type", "ce-id", "ce-source"].map(attribute);
    cloud_event(name.as_deref(), id.as_deref(), source.as_deref(), &data, names)
}

/// Reads JSON that nests no deeper than is allowed.
///
/// # Errors
/// [`BadEvent::NotJson`], [`BadEvent::TooDeep`], or [`BadEvent::TooLarge`].
pub fn json(body: &[u8]) -> Result<Value, BadEvent> {
    if body.len() > MAX_BODY { Err(BadEvent::TooLarge) } else { json_of(body) }
}

/// The same of as many bytes as somebody else allows.
pub(in crate::invalidate) fn json_of(body: &[u8]) -> Result<Value, BadEvent> {
    let value = serde_json::from_slice(body).map_err(|why| BadEvent::NotJson(why.to_string()))?;
    if is_deeper(&value, MAX_DEPTH) { Err(BadEvent::TooDeep) } else { Ok(value) }
}

/// What `events:` says of an event of this name with this data.
///
/// # Errors
/// The name is none, or what is to be outdated has no end.
pub fn named(name: &str, data: &Value, id: Option<String>, names: &Names) -> Result<Event, BadEvent> {
    if !is_name(name) {
        return Err(BadEvent::shape(
            "the name of an event is text of 1 to 256 bytes without control characters",
        ));
    }
    let name = name.to_owned();
    let matching = names.rules.iter().filter(|(pattern, _)| Gaps::parse(pattern).matches(&name));
    let mut templates = matching.flat_map(|(_, templates)| templates).peekable();
    if templates.peek().is_none() {
        return Ok(Event::Unmatched { name, id, data: data.clone() });
    }
    let values = |path: &str| values(data, path);
    let reach = purge::gathered(templates.flat_map(|template| template.bind(None, &values)))?;
    let (name, data) = (Some(name), data.clone());
    Ok(Event::Outdates(Outdates { reach, id, name, data, ..Outdates::default() }))
}

/// The values that stand under a dotted path: one, or each of a list's. None if there is none, or one of them is no plain
/// value: whoever asks then takes any value for it. A number that is no integer has several spellings, so it counts as none.
pub fn values(data: &Value, path: &str) -> Vec<String> {
    let mut found = vec![data];
    for part in path.split('.') {
        let mut below = Vec::new();
        for value in found {
            match value {
                Value::Array(each) => below.extend(each.iter().map(|value| value.get(part))),
                value => below.push(value.get(part)),
            }
        }
        let below: Option<Vec<&Value>> = below.into_iter().collect();
        let Some(below) = below else { return Vec::new() };
        found = below;
    }
    let each = found.into_iter().flat_map(|value| match value {
        Value::Array(each) => each.iter().collect(),
        value => vec![value],
    });
    each.map(plain_value).collect::<Option<_>>().unwrap_or_default()
}

fn plain_value(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(bit) => Some(bit.to_string()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

fn plain(words: &str, names: &Names) -> Result<Event, BadEvent> {
    purge::of_words(words, names).map(outdates)
}

fn outdates(reach: Reach) -> Event {
    Event::Outdates(Outdates { reach, ..Outdates::default() })
}

fn object(text: &str, names: &Names) -> Result<Event, BadEvent> {
    let value = json(text.as_bytes())?;
    let (id, source) = (value.get("id"), value.get("source").and_then(Value::as_str));
    if value.get("specversion").is_some() {
        let decoded = value.get("data_base64").and_then(Value::as_str).map(|data| BASE64.decode(data));
        let decoded = decoded.and_then(Result::ok).and_then(|data| json(&data).ok());
        let data = value.get("data").cloned().or(decoded).unwrap_or(Value::Null);
        let name = value.get("type").and_then(Value::as_str);
        return cloud_event(name, id.and_then(Value::as_str), source, &data, names);
    }
    let Some(name) = value.get("type") else { return purge::of_object(text, names).map(Event::Outdates) };
    let name = name.as_str().ok_or_else(|| BadEvent::shape("`type` is the name of the event, a string"))?;
    named(name, value.get("data").unwrap_or(&Value::Null), id.map(identified).transpose()?, names)
}

/// What a sender calls a message: a string, or a number.
pub(in crate::invalidate) fn identified(id: &Value) -> Result<String, BadEvent> {
    plain_value(id)
        .filter(|id| is_name(id))
        .ok_or_else(|| BadEvent::shape("`id` is text of 1 to 256 bytes, or an integer"))
}

/// A CloudEvent is known by its source and id together (CloudEvents §3.1).
fn cloud_event(
    name: Option<&str>,
    id: Option<&str>,
    source: Option<&str>,
    data: &Value,
    names: &Names,
) -> Result<Event, BadEvent> {
    match (name, id.filter(|id| is_name(id)), source.filter(|source| is_name(source))) {
        (Some(name), Some(id), Some(source)) => named(name, data, Some(format!("{source} {id}")), names),
        _ => Err(BadEvent::shape(
            "a CloudEvent has `specversion`, `type`, `source` and `id`, each a string of 1 to 256 bytes",
        )),
    }
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn is_deeper(value: &Value, than: usize) -> bool {
    match value {
        Value::Array(values) => than == 0 || values.iter().any(|value| is_deeper(value, than - 1)),
        Value::Object(values) => than == 0 || values.values().any(|value| is_deeper(value, than - 1)),
        _ => false,
    }
}

impl Names {
    /// The host of a URL as it is keyed; `None`: it may be kept under any.
    pub(in crate::invalidate) fn keyed(&self, scheme: Scheme, authority: &str) -> Option<String> {
        // A name that is not served here may be one that something in front of Larder rewrites.
        let authority = self.hosts.as_ref()?.resolve(scheme, authority).ok()?;
        Some(authority.as_str().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::reach::Item;
    use crate::route::tag::Tag;
    use proptest::prelude::*;

    fn names() -> Names {
        let rule = |name: &str, words: &[&str]| {
            (name.to_owned(), words.iter().map(|word| ItemTemplate::parse(word).unwrap()).collect())
        };
        let rules = vec![
            rule("project.updated", &["project:{id}"]),
            rule("project.*", &["projects"]),
            rule("user.*", &["user:{id}", "name:{user.name}"]),
            rule("many", &["item:{items.id}"]),
        ];
        Names { rules, hosts: None }
    }

    /// What a message reaches, in words; an error's sentence; or `unmatched`.
    fn said(body: &str) -> String {
        told(read(body.as_bytes(), &names()))
    }

    fn told(event: Result<Event, BadEvent>) -> String {
        match event {
            Ok(Event::Outdates(outdates)) => {
                outdates.reach.items.iter().map(Item::to_string).collect::<Vec<_>>().join(" ")
            }
            Ok(Event::Unmatched { name, .. }) => format!("unmatched {name}"),
            Err(why) => why.to_string(),
        }
    }

    #[test]
    fn events_are_told_apart_by_their_shape() {
        for (body, reached) in [
            ("project:42 dashboard", "project:42 dashboard"),
            ("  /api/stats\n\tprojects  ", "/api/stats projects"),
            ("\u{feff}project:42", "project:42"),
            ("\u{feff}{\"tags\": [\"a\"]}", "a"),
            (r#""project:42 dashboard""#, "project:42 dashboard"),
            (r#"["project:42", "/api/{x}"]"#, "project:42 /api/*"),
            (r#"{"tags": "a b", "prefixes": ["/x"]}"#, "a b /x/**"),
            (r#"{"type": "project.updated", "data": {"id": 42}}"#, "project:42 projects"),
            (r#"{"type": "project.archived"}"#, "projects"),
            (r#"{"type": "nothing.known", "data": {}}"#, "unmatched nothing.known"),
            (
                r#"{"specversion": "1.0", "type": "user.new", "source": "/crm", "id": "7", "data": {"id": "x", "user": {"name": "ann"}}}"#,
                "user:x name:ann",
            ),
            (
                // {"id": 5}
                r#"{"specversion": "1.0", "type": "project.updated", "source": "s", "id": "1", "data_base64": "eyJpZCI6IDV9"}"#,
                "project:5 projects",
            ),
        ] {
            assert_eq!(said(body), reached, "{body}");
        }
    }

    #[test]
    fn a_placeholder_takes_every_value_of_its_path_and_widens_where_there_is_none() {
        let event = |data: &str| said(&format!(r#"{{"type": "many", "data": {data}}}"#));
        assert_eq!(event(r#"{"items": [{"id": 1}, {"id": "b"}]}"#), "item:1 item:b");
        assert_eq!(event(r#"{"items": {"id": [1, 2]}}"#), "item:1 item:2");
        for unknown in [
            "null",
            "{}",
            r#"{"items": []}"#,
            r#"{"items": [{"id": 1}, {}]}"#,
            r#"{"items": {"id": {"x": 1}}}"#,
            r#"{"items": {"id": 1.0}}"#,
            r#"{"items": {"id": 123456789012345678901234567890}}"#,
        ] {
            assert_eq!(event(unknown), "item:*", "{unknown}");
        }
        assert_eq!(
            said(r#"{"type": "project.updated", "id": 9}"#),
            "project:* projects",
            "not the event's own id"
        );
    }

    #[test]
    fn an_event_is_known_by_the_id_that_its_sender_gave() {
        let id = |body: &str| match read(body.as_bytes(), &names()).unwrap() {
            Event::Outdates(outdates) => outdates.id,
            Event::Unmatched { id, .. } => id,
        };
        assert_eq!(id(r#"{"tags": "a", "id": "e1"}"#).as_deref(), Some("e1"));
        assert_eq!(id(r#"{"type": "project.x", "id": 7}"#).as_deref(), Some("7"));
        assert_eq!(
            id(r#"{"specversion": "1.0", "type": "x", "source": "/s", "id": "1"}"#).as_deref(),
            Some("/s 1")
        );
        assert_eq!(id("a"), None);
    }

    #[test]
    fn a_cloud_event_in_binary_mode_has_its_attributes_in_fields() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-type", "project.%75pdated"),
            ("ce-source", "/crm"),
            ("ce-id", "e%201"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let Ok(Event::Outdates(event)) = received(&headers, br#"{"id": 3}"#, &names()) else { panic!() };
        assert_eq!((event.id.as_deref(), event.name.as_deref()), (Some("/crm e 1"), Some("project.updated")));
        assert!(event.reach.covers(&Tag::named("project:3")));
        let data = |body: &[u8]| told(received(&headers, body, &names()));
        assert_eq!(data(b""), "project:* projects");
        assert_eq!(data(b"<xml/>"), "project:* projects", "what cannot be read widens");
        headers.remove("ce-id");
        assert!(told(received(&headers, b"{}", &names())).starts_with("a CloudEvent has"));
    }

    #[test]
    fn what_is_not_understood_is_an_error_for_people() {
        for (body, why) in [
            ("", "the event names nothing to invalidate"),
            ("  ", "the event names nothing to invalidate"),
            ("[]", "the event names nothing to invalidate"),
            ("[1]", "a list holds strings, one for each tag or path"),
            ("{", "this is no JSON: EOF while parsing an object at line 1 column 1"),
            (r#"{"type": 3}"#, "`type` is the name of the event, a string"),
            (r#"{"type": ""}"#, "the name of an event is text of 1 to 256 bytes without control characters"),
            (r#"{"type": "project.x", "id": {}}"#, "`id` is text of 1 to 256 bytes, or an integer"),
            ("/a/{b", "`/a/{b`: the braces do not match"),
        ] {
            assert_eq!(said(body), why, "{body}");
        }
        assert_eq!(read(b"\xff", &names()), Err(BadEvent::NotText));
        assert_eq!(read(&vec![b' '; MAX_BODY + 1], &names()), Err(BadEvent::TooLarge));
        let nested =
            |depth: usize| format!(r#"{{"type": "x", "data": {}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert_eq!(said(&nested(MAX_DEPTH - 1)), "unmatched x");
        assert_eq!(said(&nested(MAX_DEPTH)), BadEvent::TooDeep.to_string());
        assert!(said(&nested(100_000)).starts_with("this is no JSON: recursion limit"));
    }

    /// Text that is nearly an event.
    fn nearly() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            "\"",
            ":",
            ",",
            " ",
            "\"tags\"",
            "\"type\"",
            "\"data\"",
            "\"specversion\"",
            "\"id\"",
            "\"all\"",
            "true",
            "null",
            "1",
            "-1e999",
            "\"project.updated\"",
            "\"*\"",
            "/",
            "*",
            "{id}",
            "a",
            "\\u0000",
            "\\",
            "é",
        ]);
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4_000) })]
        #[test]
        fn no_text_makes_it_panic_or_name_nothing(text in nearly(), bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for body in [text.as_bytes(), &bytes] {
                if let Ok(Event::Outdates(outdates)) = read(body, &names()) {
                    prop_assert!(!outdates.reach.is_empty());
                    let items = outdates.reach.items.len();
                    prop_assert!(items <= body.len().max(4), "{items} items");
                }
            }
        }
    }
}
