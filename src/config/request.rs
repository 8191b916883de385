//! The requests of `tests:`: a line, fields and a body, as the file writes them and as they are played.

use std::fmt;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use crate::config::collection::Headers;
use crate::config::problem::Source;
use crate::config::reader::Reader;
use crate::config::shape::{At, Entry, Refusal, Scalar, Shape};
use crate::config::tree::{Key, Kind, Node};

/// A request of a test.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Its path as it would come.
    pub path: String,
    /// What follows the first `?`.
    pub query: Option<String>,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        write!(f, "{} {}{query}", self.method, self.path)
    }
}

/// `POST /api/projects?draft=1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    method: Method,
    path: String,
    query: Option<String>,
}

impl Scalar for Line {
    const WHAT: &'static str = "a request";

    fn parse(text: &str) -> Result<Self, Refusal> {
        const HINT: &str = "write e.g. POST /api/projects/42";
        let Some((method, target)) = text.split_once(' ') else {
            let hint = if text.starts_with('/') { format!("write e.g. GET {text}") } else { HINT.to_owned() };
            return Err(Refusal::new(format!("`{text}` is not a request"), hint));
        };
        let target = target.trim();
        let is_method =
            !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
        let (Some(method), true) = (method.parse().ok(), is_method) else {
            return Err(Refusal::new(format!("`{method}` is not a method"), HINT));
        };
        if target.contains(['{', '}']) {
            return Err(Refusal::new(format!("`{target}` is a template, not a path"), "write 42 for {id}"));
        }
        let is_target = target.starts_with('/')
            && target.parse::<http::uri::PathAndQuery>().is_ok_and(|parsed| parsed.as_str() == target);
        if !is_target {
            return Err(Refusal::new(format!("`{target}` is not a path"), HINT));
        }
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        Ok(Self { method, path: path.to_owned(), query: query.map(str::to_owned) })
    }

    fn show(&self) -> String {
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{} {}{query}", self.method, self.path)
    }
}

/// A body. Scalars in a mapping or list that JSON knows are what they are there: `1` is a number, `"007"` is text.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// As it is written.
    Text(String),
    /// As JSON.
    Json(Value),
}

impl Content {
    /// As it is sent.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Json(value) => value.to_string().into_bytes(),
        }
    }
}

impl Shape for Content {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match node.kind {
            Kind::Text(_) => reader.text(node, "a body").map(|text| Self::Text(text.value)),
            Kind::Null => None,
            Kind::List(_) | Kind::Map(_) => json_of(node, reader).map(Self::Json),
        }
    }

    fn show(&self, path: &[String], source: Source, out: &mut Vec<Entry>) {
        let value = match self {
            Self::Text(text) => text.as_str().into(),
            Self::Json(value) => value.clone(),
        };
        out.push(Entry::new(path, value, source));
    }

    fn schema() -> Value {
        json!({})
    }
}

fn json_of(node: &Node, reader: &mut Reader<'_>) -> Option<Value> {
    match &node.kind {
        Kind::Null => Some(Value::Null),
        Kind::Text(_) => {
            let text = reader.text(node, "a value")?.value;
            let value = serde_json::from_str::<Value>(&text)
                .ok()
                .filter(|value| value.is_number() || value.is_boolean());
            Some(value.unwrap_or_else(|| text.into()))
        }
        Kind::List(items) => items.iter().map(|item| json_of(item, reader)).collect(),
        Kind::Map(entries) => {
            let entry = |(key, value): &(Key, Node)| Some((key.text.clone(), json_of(value, reader)?));
            entries.iter().map(entry).collect::<Option<serde_json::Map<_, _>>>().map(Value::Object)
        }
    }
}

/// The request that these keys make.
pub(crate) fn request(line: &Line, headers: Option<&At<Headers>>, body: Option<&At<Content>>) -> Request {
    let mut headers = fields(headers);
    if let Some(At { value: Content::Json(_), .. }) = body {
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    }
    Request {
        method: line.method.clone(),
        path: line.path.clone(),
        query: line.query.clone(),
        headers,
        body: body.map(|at| at.value.bytes()).unwrap_or_default(),
    }
}

/// The fields of a request or an answer.
pub(crate) fn fields(headers: Option<&At<Headers>>) -> HeaderMap {
    let lines = headers.iter().flat_map(|at| &at.value.0);
    let lines = lines.filter_map(|(name, text)| {
        let mut value: HeaderValue = text.value.0.parse().ok()?;
        value.set_sensitive(true);
        Some((name.clone(), value))
    });
    lines.collect()
}
