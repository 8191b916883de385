//! The mappings and lists of the grammar that are more than declared keys: routes, statuses, headers, items.
//!
//! Invariant: a bad entry is refused by itself; its neighbours are still read. Higher layers replace these whole.

use std::time::Duration;

use http::HeaderName;
use serde_json::{Value, json};

use crate::config::file::{AdminKeys, Route};
use crate::config::problem::{Place, Source};
use crate::config::reader::{Reader, map_schema};
use crate::config::reload;
use crate::config::secret::Secret;
use crate::config::shape::{At, Entry, REDACTED, Refusal, Scalar, Shape};
use crate::config::template::Template;
use crate::config::tree::{Kind, Node};

/// `routes:` in the order of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes(pub(crate) Vec<RawRoute>);

/// One route as it is written.
#[derive(Clone, Debug)]
pub(crate) struct RawRoute {
    /// Its template.
    pub(crate) template: Template,
    /// Where the template stands.
    pub(crate) place: Place,
    /// Its rule.
    pub(crate) rule: RawRule,
}

/// What stands behind a template.
#[derive(Clone, Debug)]
pub(crate) enum RawRule {
    /// `bypass`.
    Bypass,
    /// Keys, or a ttl by itself.
    Keys(Box<Route>),
}

impl Shape for RawRule {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let Kind::Text(_) = node.kind else {
            return Route::read(node, reader).map(|keys| Self::Keys(Box::new(keys)));
        };
        let text = reader.text(node, "a ttl")?;
        match text.value.as_str() {
            "bypass" => return Some(Self::Bypass),
            "" if text.outside => return Some(Self::Keys(Box::default())),
            _ => {}
        }
        let ttl = Scalar::parse(&text.value).map_err(|refusal: Refusal| {
            Refusal::new(format!("`{}` is neither a ttl nor `bypass`", text.value), refusal.hint)
        });
        match ttl {
            Ok(value) => {
                let ttl = Some(At { value, source: Source::File(node.place) });
                Some(Self::Keys(Box::new(Route { ttl, ..Route::default() })))
            }
            Err(refusal) => {
                reader.refuse(node.place, refusal.message, refusal.hint);
                None
            }
        }
    }

    fn show(&self, path: &[String], source: Source, out: &mut Vec<Entry>) {
        match self {
            Self::Bypass => out.push(Entry::new(path, "bypass".into(), source)),
            Self::Keys(keys) => keys.show(path, source, out),
        }
    }

    fn schema() -> Value {
        json!({ "anyOf": [{ "const": "bypass" }, <Duration as Shape>::schema(), { "$ref": "#/$defs/route" }] })
    }
}

impl Shape for Routes {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let mut routes = Vec::new();
        for (key, value) in reader.entries(node)? {
            let rule = reader.value::<RawRule>(key, value);
            match Template::parse(&key.text) {
                Ok(template) => {
                    routes.extend(rule.map(|rule| RawRoute { template, place: key.place, rule: rule.value }))
                }
                Err(refusal) => reader.problems.push(refusal.problem(Source::File(key.place))),
            }
        }
        Some(Self(routes))
    }

    fn show(&self, path: &[String], _: Source, out: &mut Vec<Entry>) {
        for route in &self.0 {
            let path = [path, std::slice::from_ref(&route.template.text)].concat();
            route.rule.show(&path, Source::File(route.place), out);
        }
    }

    fn schema() -> Value {
        map_schema("^/", &RawRule::schema())
    }
}

/// `warm.headers:`; the values are secrets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers(pub(crate) Vec<(HeaderName, At<HeaderText>)>);

/// A field's value, never shown; empty where a placeholder left nothing of it.
#[derive(Clone)]
pub(crate) struct HeaderText(pub(crate) String);

impl std::fmt::Debug for HeaderText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Scalar for HeaderText {
    const WHAT: &'static str = "a header value";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, Refusal> {
        let visible = text.bytes().all(|b| b == b' ' || b == b'\t' || b.is_ascii_graphic());
        if visible {
            Ok(Self(text.trim().to_owned()))
        } else {
            Err(Refusal::new("holds a control byte", "use visible ASCII"))
        }
    }

    /// `Bearer ${TOKEN:-}` without a token is no credential but half of one.
    fn parse_outside(text: &str) -> Result<Self, Refusal> {
        let half = ["bearer", "basic", "token"].contains(&text.trim().to_ascii_lowercase().as_str());
        Self::parse(if half { "" } else { text })
    }

    fn show(&self) -> String {
        REDACTED.to_owned()
    }

    fn cut(&self) -> Option<&str> {
        Some(&self.0)
    }
}

/// Fields that Larder writes itself on every request to the origin.
const OURS: [&str; 9] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "range",
];

impl Shape for Headers {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let mut headers = Vec::new();
        for (key, value) in reader.entries(node)? {
            let text = reader.value(key, value);
            let source = Source::File(key.place);
            match <HeaderName as Scalar>::parse(&key.text) {
                Ok(name) if OURS.contains(&name.as_str()) => {
                    let message = format!("`{}` is set by Larder itself", key.text);
                    reader.problems.push(Refusal::new(message, "take it out").problem(source));
                }
                Ok(name) => headers.extend(
                    text.filter(|text: &At<HeaderText>| !text.value.0.is_empty()).map(|text| (name, text)),
                ),
                Err(refusal) => reader.problems.push(refusal.problem(source)),
            }
        }
        Some(Self(headers))
    }

    fn show(&self, path: &[String], _: Source, out: &mut Vec<Entry>) {
        for (name, text) in &self.0 {
            Shape::show(&text.value, &[path, &[name.to_string()]].concat(), text.source, out);
        }
    }

    fn schema() -> Value {
        map_schema("^[A-Za-z0-9-]+$", &<String as Shape>::schema())
    }
}

/// A list of mappings.
#[derive(Clone, Debug)]
pub(crate) struct Items<T>(pub(crate) Vec<At<T>>);

impl<T> Default for Items<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Shape> Shape for Items<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Null => Some(Self::default()),
            Kind::List(items) => {
                let read = |item: &Node| {
                    T::read(item, reader).map(|value| At { value, source: Source::File(item.place) })
                };
                Some(Self(items.iter().map(read).collect::<Vec<_>>().into_iter().flatten().collect()))
            }
            Kind::Text(_) | Kind::Map(_) => {
                reader.refuse(
                    node.place,
                    format!("wants a list, this is {}", node.kind_name()),
                    "begin each with `- `",
                );
                None
            }
        }
    }

    fn show(&self, path: &[String], source: Source, out: &mut Vec<Entry>) {
        let mut cut = Vec::new();
        let items = self.0.iter().map(|item| {
            let mut keys = Vec::new();
            item.value.show(&[], item.source, &mut keys);
            cut.extend(keys.iter().map(|entry| entry.cut));
            keys.into_iter().fold(json!({}), |mut all, entry| {
                let path = entry.path.iter();
                // Indexing makes the mappings on the way.
                *path.fold(&mut all, |place, key| &mut place[key.as_str()]) = entry.value;
                all
            })
        });
        let items: Value = items.collect();
        let cut = reload::cut(cut.iter().map(|cut| cut.map(u64::to_be_bytes)));
        out.push(Entry { cut, ..Entry::new(path, items, source) });
    }

    fn schema() -> Value {
        json!({ "type": ["array", "null"], "items": T::schema() })
    }
}

/// `admin:` keys, or `off`.
#[derive(Clone, Debug)]
pub(crate) enum Admin {
    /// No admin listener.
    Off,
    /// With these keys.
    On(Box<AdminKeys>),
}

impl Admin {
    /// A layer that only knows the token.
    pub(crate) fn with_token(token: At<Secret>) -> Self {
        Self::On(Box::new(AdminKeys { token: Some(token), ..AdminKeys::default() }))
    }
}

impl Shape for Admin {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Text(text) if text == "off" => Some(Self::Off),
            _ => AdminKeys::read(node, reader).map(|keys| Self::On(Box::new(keys))),
        }
    }

    fn over(self, lower: Self) -> Self {
        match (self, lower) {
            (Self::On(keys), Self::On(lower)) => Self::On(Box::new(keys.over(*lower))),
            // a token alone turns nothing on again
            (Self::On(keys), Self::Off) if keys.listen.is_none() => Self::Off,
            (higher, _) => higher,
        }
    }

    fn built_in() -> Option<Self> {
        AdminKeys::built_in().map(|keys| Self::On(Box::new(keys)))
    }

    fn show(&self, path: &[String], source: Source, out: &mut Vec<Entry>) {
        match self {
            Self::Off => out.push(Entry::new(path, "off".into(), source)),
            Self::On(keys) => keys.show(path, source, out),
        }
    }

    fn schema() -> Value {
        json!({ "anyOf": [{ "const": "off" }, AdminKeys::schema()] })
    }
}
