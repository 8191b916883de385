//! `negative:` as it is written: freshness by status, where the origin gives none.
//!
//! Invariant: no status is listed that is never stored, or only on the origin's word. It refuses to know what policy makes of it.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use crate::config::problem::Source;
use crate::config::reader::{Reader, map_schema};
use crate::config::shape::{At, Entry, Refusal, Scalar, Shape};
use crate::config::tree::Node;

/// `negative:` freshness by status.
#[derive(Clone, Debug, Default)]
pub(crate) struct Negative(pub(crate) Vec<(StatusCode, At<Duration>)>);

impl Shape for Negative {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let mut statuses = Vec::new();
        for (key, value) in reader.entries(node)? {
            let ttl = reader.value(key, value);
            match <StatusCode as Scalar>::parse(&key.text) {
                Ok(status) => statuses.extend(ttl.map(|ttl| (status, ttl))),
                Err(refusal) => reader.problems.push(refusal.problem(Source::File(key.place))),
            }
        }
        Some(Self(statuses))
    }

    fn show(&self, path: &[String], source: Source, out: &mut Vec<Entry>) {
        let ttls =
            self.0.iter().map(|(status, ttl)| (status.as_str().to_owned(), Scalar::show(&ttl.value).into()));
        out.push(Entry::new(path, Value::Object(ttls.collect()), source));
    }

    fn schema() -> Value {
        map_schema("^[2-5][0-9][0-9]$", &<Duration as Shape>::schema())
    }
}

impl Scalar for StatusCode {
    const WHAT: &'static str = "a status";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let status = text.parse::<u16>().ok().filter(|code| (200..=599).contains(code) && text.len() == 3);
        let status = status.and_then(|code| Self::from_u16(code).ok());
        match status.map(|status| status.as_u16()) {
            Some(200) => Err(Refusal::new("200 is what `ttl` speaks of", "write `ttl:` of the route")),
            Some(206 | 304) => {
                Err(Refusal::new(format!("{text} is never stored as an answer of its own"), "take it out"))
            }
            // RFC 6585 §3 to §6
            Some(428 | 429 | 431 | 511) => {
                Err(Refusal::new(format!("{text} is never stored"), "take it out"))
            }
            // One refusal or failure must not be what everybody gets (RFC 9111 §7, CPDoS).
            Some(401 | 403 | 407 | 408 | 425) => Err(Refusal::new(
                format!("{text} is stored by the origin's own word only"),
                "take it out; let the origin send Cache-Control with it",
            )),
            Some(500..) => Err(Refusal::new(
                format!("{text} is no answer for everybody"),
                "take it out; with `store_errors: fresh` it is stored on the origin's word",
            )),
            _ => status
                .ok_or_else(|| Refusal::new(format!("`{text}` is not a status"), "a number from 201 to 599")),
        }
    }

    fn show(&self) -> String {
        self.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_that_can_be_stored() {
        for text in ["404", "301", "410", "204"] {
            assert!(<StatusCode as Scalar>::parse(text).is_ok(), "{text}");
        }
        for text in ["200", "206", "304", "401", "429", "503", "599", "199", "600", "100", "4xx", "0404", ""]
        {
            assert!(<StatusCode as Scalar>::parse(text).is_err(), "{text}");
        }
    }
}
