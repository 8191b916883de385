//! The resolved configuration for people (YAML with sources) and programs (JSON).
//!
//! Invariant: the YAML, its redacted secrets aside, is itself a configuration that resolves to the same values.

use serde_json::{Value, json};

use crate::config::Config;
use crate::config::problem::Source;
use crate::config::shape::Entry;

/// Column at which the comments begin, where the value leaves room.
const COMMENT: usize = 56;

/// Every value on a line of its own, with who said it.
pub(crate) fn yaml(config: &Config) -> String {
    let mut out = String::new();
    let mut open: &[String] = &[];
    for entry in &config.sources {
        let Some((key, parents)) = entry.path.split_last() else { continue };
        let shared = open.iter().zip(parents).take_while(|(a, b)| a == b).count();
        for (depth, parent) in parents.iter().enumerate().skip(shared) {
            out += &format!("{}{}:\n", "  ".repeat(depth), plain(parent));
        }
        open = parents;
        let line = format!("{}{}: {}", "  ".repeat(parents.len()), plain(key), value(&entry.value));
        let source = source(config, entry);
        out += &format!("{line:<COMMENT$} # {source}\n");
    }
    out
}

/// A list of `{path, value, source}`.
pub(crate) fn json(config: &Config) -> Value {
    let line =
        |entry: &Entry| json!({ "path": entry.path, "value": entry.value, "source": source(config, entry) });
    config.sources.iter().map(line).collect()
}

fn source(config: &Config, entry: &Entry) -> String {
    match entry.source {
        Source::Default => "default".to_owned(),
        Source::Preset(name) => format!("preset {name}"),
        Source::Env(name) => format!("env {name}"),
        Source::Flag(name) => format!("flag {name}"),
        Source::File(place) => {
            let file = config.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
            format!("{file}:{}", place.line)
        }
    }
}

/// A value as the YAML writes it.
pub(crate) fn value(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        other => flow(other),
    }
}

/// A list or a mapping in one line.
fn flow(value: &Value) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entries =
                map.iter().map(|(key, value)| format!("{key}: {}", flow(value))).collect::<Vec<_>>();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::String(text) if !text.is_empty() && text.chars().all(safe) && plain(text) == *text => {
            text.clone()
        }
        // JSON is YAML
        other => other.to_string(),
    }
}

/// Text as a YAML scalar; quoted unless it cannot be misread.
fn plain(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "/._-{}$+".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || "/._".contains(c));
    let inner_colons = text.split(':').skip(1).all(|part| !part.is_empty() && !part.starts_with(' '));
    let misread = matches!(text, "null" | "Null" | "NULL");
    let plain = begins && !misread && inner_colons && text.chars().all(|c| safe(c) || c == ':');
    if plain { text.to_owned() } else { Value::from(text).to_string() }
}
