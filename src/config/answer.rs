//! The answers of `tests:`: what the origin says to the request of a test, as the file writes it and as it is played.
//!
//! Invariant: what is not said of an answer is what an origin says by itself: 200, no fields, no body.

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::config::collection::Headers;
use crate::config::problem::Source;
use crate::config::reader::Reader;
use crate::config::request::{Content, fields};
use crate::config::shape::{At, Entry, Refusal, Scalar, Shape, section};
use crate::config::tree::{Kind, Node};

section! {
    /// `answer:` of a test, with keys.
    AnswerKeys {
        /// Its status.
        status: Status = "200",
        /// Its fields: Location of a write; Surrogate-Key, Cache-Control and the like of a read.
        headers: Headers,
        /// Its body: text as it is, a mapping or a list as JSON.
        body: Content,
    }
}

/// What the origin answers.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Its status; 200 unless said.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

/// The status of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(StatusCode);

impl Scalar for Status {
    const WHAT: &'static str = "a status";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let status = text.parse().ok().filter(|status: &StatusCode| (200..600).contains(&status.as_u16()));
        let hint =
            "write 200 to 599, or { status: 201, headers: { Location: /api/projects/7 }, body: { id: 7 } }";
        status.map(Self).ok_or_else(|| Refusal::new(format!("`{text}` is not a status"), hint))
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

/// `answer:` as it is written: a status, or keys.
#[derive(Clone, Debug)]
pub(crate) struct RawAnswer(AnswerKeys);

impl RawAnswer {
    /// As it is played.
    pub(crate) fn settled(&self) -> Answer {
        let AnswerKeys { status, headers, body } = &self.0;
        Answer {
            status: status.as_ref().map_or(StatusCode::OK, |at| at.value.0),
            headers: fields(headers.as_ref()),
            body: body.as_ref().map(|at| at.value.bytes()).unwrap_or_default(),
        }
    }
}

impl Shape for RawAnswer {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        if let Kind::Text(_) = node.kind {
            let status = At { value: reader.scalar(node)?, source: Source::File(node.place) };
            return Some(Self(AnswerKeys { status: Some(status), ..AnswerKeys::default() }));
        }
        AnswerKeys::read(node, reader).map(Self)
    }

    fn show(&self, path: &[String], source: Source, out: &mut Vec<Entry>) {
        match &self.0 {
            AnswerKeys { status: Some(status), headers: None, body: None } => {
                Shape::show(&status.value, path, source, out);
            }
            keys => keys.show(path, source, out),
        }
    }

    fn schema() -> Value {
        json!({ "anyOf": [<Status as Shape>::schema(), AnswerKeys::schema()] })
    }
}
