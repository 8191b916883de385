//! `tests:` as the file has them, and as they are played: a request, and what the rules have to make of it.
//!
//! Invariant: a case names one request and at least one thing that could be otherwise. How it is played is not known
//! here.

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use crate::config::collection::{Headers, Items};
use crate::config::problem::{Place, Problem, Source};
use crate::config::reach::CREDENTIAL;
use crate::config::reader::Reader;
use crate::config::shape::{At, Entry, Refusal, Scalar, Shape, Words, choice, section};
use crate::config::tree::{Kind, Node};
use crate::route::tag;

section! {
    /// One of `tests:`.
    CaseKeys {
        /// The request, as it would come: POST /api/projects/42/classifications.
        request: Line,
        /// Its fields.
        headers: Headers,
        /// Its body: text as it is, a mapping or a list as JSON.
        body: Content,
        /// The status that the origin answers a write with.
        status: Answered = "200",
        /// The body that it answers a write with.
        answer: Content,
        /// Tags and paths of which each has to be outdated by it; `credential`: what belongs to whoever wrote.
        invalidates: Words<Fact>,
        /// Tags and paths of which none may be outdated by it.
        keeps: Words<Fact>,
        /// The template of the route that it falls under, or `unmatched`.
        route: String,
        /// Who shares the answer to it: all without credentials (shared), whoever shows the same (credential), nobody
        /// (bypass).
        scope: Sharing,
        /// Tags that the answer to it carries.
        tags: Words<Fact>,
        /// A request that has the same entry: GET /api/projects/42?utm_source=x, with the same fields and body; or keys
        /// of its own: request, headers, body.
        same_as: Other,
        /// A request that has another entry.
        differs_from: Other,
    }
    later {}
}

section! {
    /// `same_as:` and `differs_from:` of a test, with keys.
    OtherKeys {
        /// The request, as it would come.
        request: Line,
        /// Its fields, instead of those of the test.
        headers: Headers,
        /// Its body, instead of that of the test.
        body: Content,
    }
    later {}
}

choice!(Sharing, "who shares", {
    "shared" => Sharing::Shared, "credential" => Sharing::Credential, "bypass" => Sharing::Bypass,
});

/// One of `tests:`.
#[derive(Clone, Debug)]
pub struct Case {
    /// Where it stands.
    pub place: Place,
    /// The request.
    pub request: Request,
    /// What the origin answers a write with.
    pub status: StatusCode,
    /// The body of that answer.
    pub answer: Vec<u8>,
    /// What has to be so; at least one.
    pub expected: Vec<Expected>,
}

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

/// What a test expects.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Each of these is outdated.
    Invalidates(Vec<Fact>),
    /// None of these is.
    Keeps(Vec<Fact>),
    /// It falls under the route with this template.
    Route(String),
    /// Its answer is shared so.
    Scope(Sharing),
    /// Its answer carries each of these.
    Tags(Vec<Fact>),
    /// This request has the same entry.
    SameAs(Box<Request>),
    /// This request has another.
    DiffersFrom(Box<Request>),
}

/// Who shares an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// All who show no credentials, or all.
    Shared,
    /// Whoever shows the same credentials.
    Credential,
    /// Nobody: it is not stored.
    Bypass,
}

/// One thing that may be outdated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// What belongs to whoever wrote.
    Credential,
    /// A tag.
    Tag(String),
    /// The answers under a path.
    Path(String),
}

impl Scalar for Fact {
    const WHAT: &'static str = "tags or paths";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text.contains(['{', '}', '*']) {
            let hint = "a test names one: write project:42";
            return Err(Refusal::new(format!("`{text}` stands for more than one"), hint));
        }
        if text.contains('?') && text.starts_with('/') {
            return Err(Refusal::new(
                format!("`{text}` has a query"),
                "write the path alone: it stands for every query",
            ));
        }
        match text {
            CREDENTIAL => Ok(Self::Credential),
            _ if text.ends_with(',') => {
                Err(Refusal::new(format!("`{text}` ends with a comma"), "words are separated by spaces"))
            }
            _ if text.starts_with('/') => Ok(Self::Path(text.to_owned())),
            _ if tag::is_name(text) => Ok(Self::Tag(text.to_owned())),
            _ => Err(Refusal::new(format!("`{text}` is not a tag"), "write e.g. project:42")),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Credential => CREDENTIAL.to_owned(),
            Self::Tag(text) | Self::Path(text) => text.clone(),
        }
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

/// The status of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answered(StatusCode);

impl Scalar for Answered {
    const WHAT: &'static str = "a status";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let status = text.parse().ok().filter(|status: &StatusCode| (200..600).contains(&status.as_u16()));
        status.map(Self).ok_or_else(|| Refusal::new(format!("`{text}` is not a status"), "write 200 to 599"))
    }

    fn show(&self) -> String {
        self.0.as_str().to_owned()
    }

    fn schema() -> Value {
        json!({ "anyOf": [
            { "type": "integer", "minimum": 200, "maximum": 599 },
            { "type": "string", "pattern": "^[2-5][0-9][0-9]$|\\$\\{" },
        ] })
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
    fn bytes(&self) -> Vec<u8> {
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
        out.push(Entry { path: path.to_vec(), value, source });
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
            let entry = |(key, value): &(crate::config::tree::Key, Node)| {
                Some((key.text.clone(), json_of(value, reader)?))
            };
            entries.iter().map(entry).collect::<Option<serde_json::Map<_, _>>>().map(Value::Object)
        }
    }
}

/// Another request: a line, or keys.
#[derive(Clone, Debug)]
pub(crate) struct Other(OtherKeys);

impl Shape for Other {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        if let Kind::Text(_) = node.kind {
            let line = At { value: reader.scalar(node)?, source: Source::File(node.place) };
            return Some(Self(OtherKeys { request: Some(line), ..OtherKeys::default() }));
        }
        OtherKeys::read(node, reader).map(Self)
    }

    fn show(&self, path: &[String], source: Source, out: &mut Vec<Entry>) {
        match &self.0 {
            OtherKeys { request: Some(line), headers: None, body: None } => {
                Shape::show(&line.value, path, source, out)
            }
            keys => keys.show(path, source, out),
        }
    }

    fn schema() -> Value {
        json!({ "anyOf": [{ "type": "string" }, OtherKeys::schema()] })
    }
}

/// One of `tests:` as it is written.
#[derive(Clone, Debug)]
pub(crate) struct RawCase(CaseKeys);

impl Shape for RawCase {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        const EXPECTED: [&str; 7] =
            ["invalidates", "keeps", "route", "scope", "tags", "same_as", "differs_from"];
        let keys = CaseKeys::read(node, reader)?;
        let Kind::Map(entries) = &node.kind else { return Some(Self(keys)) };
        if !entries.iter().any(|(key, _)| key.text == "request") {
            let hint = "write { request: POST /api/projects/42, invalidates: project:42 }";
            reader.problems.push(Problem::at(node.place, "a test has no `request`").hint(hint));
        }
        if !entries.iter().any(|(key, _)| EXPECTED.contains(&key.text.as_str())) {
            let hint = format!("write one of: {}", EXPECTED.join(", "));
            reader.problems.push(Problem::at(node.place, "a test expects nothing").hint(hint));
        }
        Some(Self(keys))
    }

    fn show(&self, path: &[String], source: Source, out: &mut Vec<Entry>) {
        self.0.show(path, source, out);
    }

    fn schema() -> Value {
        CaseKeys::schema()
    }
}

/// The cases, but for those that were refused.
pub(crate) fn settle(cases: &Items<RawCase>) -> Vec<Case> {
    let mut settled = Vec::new();
    for At { value: RawCase(keys), source } in &cases.0 {
        let Some(line) = &keys.request else { continue };
        let request = request(&line.value, keys.headers.as_ref(), keys.body.as_ref());
        let expected = expected(keys, &request);
        let place = match source {
            Source::File(place) => *place,
            _ => Place::default(),
        };
        settled.push(Case {
            place,
            request,
            status: keys.status.as_ref().map_or(StatusCode::OK, |at| at.value.0),
            answer: keys.answer.as_ref().map(|at| at.value.bytes()).unwrap_or_default(),
            expected,
        });
    }
    settled
}

fn request(line: &Line, headers: Option<&At<Headers>>, body: Option<&At<Content>>) -> Request {
    let fields = headers.iter().flat_map(|at| &at.value.0);
    let fields = fields.filter_map(|(name, text)| Some((name.clone(), text.value.0.parse().ok()?)));
    Request {
        method: line.method.clone(),
        path: line.path.clone(),
        query: line.query.clone(),
        headers: fields.collect(),
        body: body.map(|at| at.value.bytes()).unwrap_or_default(),
    }
}

fn expected(keys: &CaseKeys, asked: &Request) -> Vec<Expected> {
    let other = |At { value: Other(keys), .. }: &At<Other>| {
        let line = keys.request.as_ref()?;
        let own = request(&line.value, keys.headers.as_ref(), keys.body.as_ref());
        Some(Box::new(Request {
            headers: if keys.headers.is_some() { own.headers } else { asked.headers.clone() },
            body: if keys.body.is_some() { own.body } else { asked.body.clone() },
            ..own
        }))
    };
    let facts = |at: &At<Words<Fact>>| at.value.0.clone();
    let all = [
        keys.invalidates.as_ref().map(facts).map(Expected::Invalidates),
        keys.keeps.as_ref().map(facts).map(Expected::Keeps),
        keys.route.as_ref().map(|at| Expected::Route(at.value.clone())),
        keys.scope.as_ref().map(|at| Expected::Scope(at.value)),
        keys.tags.as_ref().map(facts).map(Expected::Tags),
        keys.same_as.as_ref().and_then(other).map(Expected::SameAs),
        keys.differs_from.as_ref().and_then(other).map(Expected::DiffersFrom),
    ];
    all.into_iter().flatten().collect()
}
