//! A text becomes an OpenAPI document of version 3, or a sentence that says why it is none.
//!
//! Invariant: what passes is a tree of bounded size and depth with an object under `paths`. References are followed by
//! [`Document::resolve`] alone, a bounded number of steps, and never out of the document.

use std::net::Ipv4Addr;

use serde_json::{Map, Value};
use thiserror::Error;

use crate::openapi::words;

/// Largest document, in bytes.
pub const MAX_BYTES: usize = 16 << 20;
/// Most paths.
pub(crate) const MAX_PATHS: usize = 4_000;
/// Most references in a row.
const MAX_REFERENCES: usize = 16;
/// Most values in a document that is YAML, aliases expanded.
const MAX_NODES: usize = 1_000_000;
/// Deepest nesting of YAML; that of JSON is the reader's own, 128.
const MAX_DEPTH: usize = 128;

/// Why there are no rules.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// Nothing but white space.
    #[error("it is empty")]
    Empty,
    /// Larger than [`MAX_BYTES`].
    #[error("it is larger than {} MiB", MAX_BYTES >> 20)]
    TooLarge,
    /// A page for people.
    #[error("it is a page (HTML), not an OpenAPI document; FastAPI has that under /openapi.json")]
    Page,
    /// Neither JSON nor YAML.
    #[error("it is not {0}: {1}")]
    Syntax(&'static str, String),
    /// JSON, but another thing.
    #[error("it is no OpenAPI document: it has no `openapi: 3.…` at its top")]
    NotOpenApi,
    /// `swagger: "2.0"`.
    #[error(
        "it is Swagger {0}; Larder reads OpenAPI 3.0 and 3.1 (converters such as swagger2openapi make one of the other)"
    )]
    Swagger(String),
    /// `openapi: 4.0`.
    #[error("it says `openapi: {0}`; Larder reads 3.0, 3.1 and 3.2")]
    Version(String),
    /// `paths` is absent or empty.
    #[error("it has no `paths`: there is nothing to make rules of")]
    NoPaths,
    /// No path that a rule could name.
    #[error("none of its paths can have a rule; the first: {0}")]
    NoUsablePaths(String),
    /// More than are read.
    #[error("it has {0} paths, at most {MAX_PATHS} are read")]
    TooManyPaths(usize),
}

/// An OpenAPI document.
#[derive(Clone, Debug)]
pub struct Document {
    root: Value,
}

impl Document {
    /// Reads JSON, or else YAML.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_BYTES {
            return Err(Error::TooLarge);
        }
        let text = text.trim_start_matches('\u{feff}').trim();
        let root: Value = match text.chars().next() {
            None => return Err(Error::Empty),
            Some('<') => return Err(Error::Page),
            Some('{' | '[' | '"') => serde_json::from_str(text)
                .map_err(|why| Error::Syntax("JSON", words::plain(&why.to_string(), 200)))?,
            Some(_) => yaml(text)?,
        };
        let said = |key: &str| match &root[key] {
            Value::String(text) => Some(words::plain(text, 20)),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        match (said("openapi"), said("swagger")) {
            (Some(version), _) if version.starts_with("3.") => {}
            (Some(version), _) => return Err(Error::Version(version)),
            (None, Some(version)) => return Err(Error::Swagger(version)),
            (None, None) => return Err(Error::NotOpenApi),
        }
        match root["paths"].as_object().map_or(0, Map::len) {
            0 => Err(Error::NoPaths),
            count if count > MAX_PATHS => Err(Error::TooManyPaths(count)),
            _ => Ok(Self { root }),
        }
    }

    /// The paths and what stands under them, in the order of the document.
    pub(crate) fn paths(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.root["paths"].as_object().into_iter().flatten().map(|(path, item)| (path.as_str(), item))
    }

    /// `security` of all operations that say nothing of it.
    pub(crate) fn security(&self) -> &Value {
        &self.root["security"]
    }

    /// A security scheme by its name.
    pub(crate) fn scheme(&self, name: &str) -> &Value {
        self.resolve(&self.root["components"]["securitySchemes"][name])
    }

    /// Follows a reference; what cannot be found is null.
    pub(crate) fn resolve<'d>(&'d self, value: &'d Value) -> &'d Value {
        self.named(value).1
    }

    /// Follows a reference, and gives the last name on the way.
    pub(crate) fn named<'d>(&'d self, value: &'d Value) -> (Option<&'d str>, &'d Value) {
        let (mut name, mut value) = (None, value);
        for _ in 0..MAX_REFERENCES {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return (name, value) };
            name = name.or(reference.rsplit('/').next());
            let pointer = reference.strip_prefix('#').unwrap_or_default();
            match self.root.pointer(pointer) {
                Some(found) if !pointer.is_empty() => value = found,
                _ => return (name, &Value::Null),
            }
        }
        (name, &Value::Null)
    }

    /// Name and version on one line.
    pub(crate) fn title(&self) -> String {
        let said = |key: &str| words::plain(self.root["info"][key].as_str().unwrap_or_default(), 80);
        let both = format!("{} {}", said("title"), said("version"));
        match both.trim() {
            "" => "an application".to_owned(),
            both => both.to_owned(),
        }
    }

    /// The path of the first server: `/api/v1` of `https://example.com/api/v1/`.
    pub(crate) fn prefix(&self) -> String {
        let url = self.root["servers"][0]["url"].as_str().unwrap_or_default();
        let path = match url.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
            None => url,
        };
        let path = path.trim_end_matches('/');
        if path.starts_with('/') && !path.contains(['{', '}']) { path.to_owned() } else { String::new() }
    }

    /// The first server without its path, if that is an upstream.
    pub(crate) fn server(&self) -> Option<String> {
        let url = self.root["servers"][0]["url"].as_str()?;
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let (host, port) =
            authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        let is_port = |port: &str| {
            port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
        };
        let is_upstream = ["http", "https"].contains(&scheme) && is_host(host) && port.is_none_or(is_port);
        is_upstream.then(|| format!("{scheme}://{authority}"))
    }
}

/// Whether it is a name of the DNS, or an address of IPv4.
fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        inner && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    let has_name = host.rsplit('.').next().is_some_and(|last| last.bytes().any(|b| b.is_ascii_alphabetic()));
    host.len() <= 253 && host.split('.').all(is_label) && (has_name || host.parse::<Ipv4Addr>().is_ok())
}

fn yaml(text: &str) -> Result<Value, Error> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 3 * MAX_NODES,
            max_total_scalar_bytes: 2 * MAX_BYTES,
        },
    };
    serde_saphyr::from_str_with_options::<Value>(text, options)
        .map_err(|why| Error::Syntax("JSON, nor is it YAML", words::plain(&why.to_string(), 200)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Document::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_document_is_told_in_words() {
        for (text, words) in [
            (" \n", "it is empty"),
            ("<!DOCTYPE html><html></html>", "FastAPI has that under /openapi.json"),
            ("{\"openapi\": ", "it is not JSON: EOF"),
            ("just words", "no OpenAPI document"),
            ("[1]", "no OpenAPI document"),
            ("{}", "no OpenAPI document"),
            ("a: [", "it is not JSON, nor is it YAML"),
            ("{\"swagger\": \"2.0\"}", "it is Swagger 2.0"),
            ("{\"openapi\": \"4.0.0\"}", "it says `openapi: 4.0.0`"),
            ("{\"openapi\": \"3.1.0\"}", "it has no `paths`"),
            ("{\"openapi\": \"3.1.0\", \"paths\": {}}", "it has no `paths`"),
        ] {
            assert!(refused(text).contains(words), "{text}: {}", refused(text));
        }
        let deep = format!("{{\"openapi\": \"3.1.0\", \"paths\": {}{}}}", "[".repeat(500), "]".repeat(500));
        assert!(refused(&deep).contains("recursion limit"));
        assert_eq!(refused(&"x".repeat(MAX_BYTES + 1)), "it is larger than 16 MiB");
    }

    #[test]
    fn yaml_is_read_too_with_statuses_that_are_numbers() {
        let text = "openapi: 3.0.2\ninfo: {title: T, version: 1.0.0}\npaths:\n  /a:\n    get:\n      responses:\n        200: {description: ok}\n";
        let document = Document::parse(text).unwrap();
        assert_eq!(document.title(), "T 1.0.0");
        let (path, item) = document.paths().next().unwrap();
        assert_eq!((path, item["get"]["responses"]["200"]["description"].as_str()), ("/a", Some("ok")));
    }

    #[test]
    fn references_end_even_if_they_go_round() {
        let text = r##"{"openapi": "3.1.0", "paths": {"/a": {}}, "components": {"schemas": {
            "A": {"$ref": "#/components/schemas/B"}, "B": {"$ref": "#/components/schemas/A"}, "C": {"type": "object"}}}}"##;
        let document = Document::parse(text).unwrap();
        let reference = |to: &str| serde_json::json!({ "$ref": to });
        assert_eq!(document.resolve(&reference("#/components/schemas/A")), &Value::Null);
        assert_eq!(document.resolve(&reference("https://elsewhere/x")), &Value::Null);
        let found = reference("#/components/schemas/C");
        assert_eq!(document.named(&found), (Some("C"), &serde_json::json!({ "type": "object" })));
    }

    #[test]
    fn the_first_server_gives_prefix_and_upstream() {
        let of = |url: &str| {
            let text =
                serde_json::json!({ "openapi": "3.1.0", "paths": { "/a": {} }, "servers": [{ "url": url }] });
            let document = Document::parse(&text.to_string()).unwrap();
            (document.prefix(), document.server())
        };
        assert_eq!(of("https://api.example.com/v1/"), ("/v1".into(), Some("https://api.example.com".into())));
        assert_eq!(of("/sub"), ("/sub".into(), None));
        assert_eq!(of("/"), (String::new(), None));
        for url in [
            "https://:9",
            "https://a:0",
            "https://a:99999",
            "https://-a",
            "https://1.2.3",
            "https://u@a",
            "unix:/x",
        ] {
            assert_eq!(of(url).1, None, "{url}");
        }
        assert_eq!(of("https://{tenant}.example.com/{base}"), (String::new(), None));
    }
}
