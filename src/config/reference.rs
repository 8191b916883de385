//! Every key of the file in tables for people, made of the schema, and so of the declarations that read it; published as
//! `config/REFERENCE.md`.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::config::reload::{Change, needs_restart};

const HEAD: &str = "\
# Every key of the configuration

Made by `larder config schema --markdown` of the declarations that read the file. [example.yaml](example.yaml) shows them in place; what a
route stores, and for whom, is in [STORED.md](STORED.md). `…` stands for a name or a template of yours, `[]` for each of a list. A key with
↻ holds from the next start on; all others come into force with a reload.
";

/// The deepest that keys lie in one another.
const DEEPEST: usize = 8;

/// The tables, in Markdown.
pub fn reference(schema: &Value) -> String {
    let mut text = HEAD.to_owned();
    let none = Map::new();
    let top = schema["properties"].as_object().unwrap_or(&none);
    let is_section = |of: &Value| !inner(schema, of).is_empty();
    let mut single: Vec<(String, &Value)> = Vec::new();
    for (key, of) in top.iter().filter(|(_, of)| !is_section(of)) {
        single.push((key.clone(), of));
    }
    table(&mut text, &single);
    for (key, of) in top.iter().filter(|(_, of)| is_section(of)) {
        let _ = write!(text, "\n## `{key}`\n\n{}\n", meaning(of));
        let mut rows = Vec::new();
        gather(schema, of, key, &mut rows, 0);
        table(&mut text, &rows);
    }
    text
}

/// The keys below one, with what is between them and it.
fn inner<'s>(schema: &'s Value, of: &'s Value) -> Vec<(String, &'s Value)> {
    let of = of["$ref"].as_str().and_then(|at| schema.pointer(at.trim_start_matches('#'))).unwrap_or(of);
    let mut found: Vec<(String, &Value)> = Vec::new();
    if !of.is_object() {
        return found;
    }
    let own = of["properties"].as_object().into_iter().flatten();
    found.extend(own.map(|(key, of)| (format!(".{key}"), of)));
    for (between, nested) in [("[]", &of["items"]), (".…", &of["additionalProperties"])] {
        found.extend(inner(schema, nested).into_iter().map(|(key, of)| (format!("{between}{key}"), of)));
    }
    for variant in of["anyOf"].as_array().into_iter().flatten() {
        found.extend(inner(schema, variant));
    }
    found
}

fn gather<'s>(
    schema: &'s Value,
    of: &'s Value,
    path: &str,
    rows: &mut Vec<(String, &'s Value)>,
    depth: usize,
) {
    for (key, of) in inner(schema, of) {
        let path = format!("{path}{key}");
        if rows.iter().any(|(known, _)| *known == path) {
            continue;
        }
        rows.push((path.clone(), of));
        if depth < DEEPEST {
            gather(schema, of, &path, rows, depth + 1);
        }
    }
}

fn table(text: &mut String, rows: &[(String, &Value)]) {
    text.push_str("\n| key | default | |\n|---|---|---|\n");
    for (path, of) in rows {
        let change = [Change { path: path.clone(), old: None, new: None, keys: Vec::new() }];
        let mark = if needs_restart(&change).is_empty() { "" } else { " ↻" };
        let default = match &of["default"] {
            Value::Null => String::new(),
            Value::String(text) => format!("`{text}`"),
            other => format!("`{other}`"),
        };
        let _ = writeln!(text, "| `{path}`{mark} | {} | {} |", default.replace('|', "\\|"), meaning(of));
    }
}

fn meaning(of: &Value) -> String {
    of["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema;

    #[test]
    fn the_published_tables_are_those_of_the_declarations() {
        assert!(
            reference(&schema()) == include_str!("../../config/REFERENCE.md"),
            "larder config schema --markdown > config/REFERENCE.md"
        );
    }

    #[test]
    fn every_key_has_a_meaning_however_deep_it_lies() {
        let text = reference(&schema());
        for row in text.lines().filter(|line| line.starts_with("| `")) {
            assert!(!row.trim_end_matches(" |").ends_with('|'), "{row}");
        }
        for key in [
            "`routes.….ttl`",
            "`warm.requests[].get`",
            "`limits.memory` ↻",
            "`redis.sentinel.master` ↻",
            "`defaults.ttl`",
        ] {
            assert!(text.contains(&format!("| {key} |")), "{key}");
        }
    }
}
