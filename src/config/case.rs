//! `tests:` as the file has them, and as they are played: a request, what the origin answers, and what the rules have to
//! make of it.
//!
//! Invariant: a case names one request and at least one thing that could be otherwise. How it is played is not known
//! here.

use std::fmt;

use serde_json::{Value, json};

use crate::config::answer::{Answer, RawAnswer};
use crate::config::collection::{Headers, Items};
use crate::config::problem::{Place, Problem, Source};
use crate::config::reach::CREDENTIAL;
use crate::config::reader::Reader;
use crate::config::request::{Content, Line, Request, request};
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
        /// What the origin answers: a status alone, or keys of its own: status, headers, body.
        answer: RawAnswer,
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
    /// What the origin answers it with, if that is said.
    pub answer: Option<Answer>,
    /// What has to be so; at least one.
    pub expected: Vec<Expected>,
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

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Credential => CREDENTIAL,
            Self::Tag(text) | Self::Path(text) => text,
        })
    }
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
        self.to_string()
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
            answer: keys.answer.as_ref().map(|at| at.value.settled()),
            expected,
        });
    }
    settled
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
