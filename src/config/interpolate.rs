//! `${V}`, `${V:-d}`, `${V:?msg}`, `${file:/path}` and `$$` in a value, after parsing.
//!
//! Invariant: what comes in by a placeholder is never read as YAML, and never as a placeholder again. A `$` before
//! anything but `{` or `$` stands for itself (`$.status` is a JSONPath). It refuses to know what the value is for.

use std::path::Path;

use crate::config::env::Env;

/// Deepest nesting of defaults: `${A:-${B:-c}}`.
const MAX_DEPTH: usize = 8;

/// A value with its placeholders resolved.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Text {
    /// The value.
    pub(crate) value: String,
    /// Whether any placeholder was in it.
    pub(crate) outside: bool,
}

/// Why a value could not be resolved.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// There is no environment to ask: the placeholder is accepted as it is.
    Open,
    /// An error: what is wrong, and what to do.
    Refused(String, String),
}

/// Resolves every placeholder of `text`; without an environment only those with a default can be.
///
/// # Errors
/// The first placeholder that cannot be resolved.
pub(crate) fn interpolate(text: &str, env: Option<&Env>) -> Result<Text, Miss> {
    let mut found = Text { value: String::new(), outside: false };
    expand(text, env, 0, &mut found)?;
    Ok(found)
}

fn expand(text: &str, env: Option<&Env>, depth: usize, out: &mut Text) -> Result<(), Miss> {
    if depth > MAX_DEPTH {
        return Err(refused(
            format!("placeholders are nested more than {MAX_DEPTH} deep"),
            "write the value out",
        ));
    }
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.value.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        rest = if let Some(literal) = after.strip_prefix('$') {
            out.value.push('$');
            literal
        } else if let Some(inner) = after.strip_prefix('{') {
            let end = closing(inner).ok_or_else(|| {
                refused(format!("`${{{inner}` has no closing brace"), "write `$$` for a dollar sign")
            })?;
            out.outside = true;
            placeholder(&inner[..end], env, depth, out)?;
            &inner[end + 1..]
        } else {
            out.value.push('$');
            after
        };
    }
    out.value.push_str(rest);
    Ok(())
}

/// The byte of the brace that closes the placeholder.
fn closing(inner: &str) -> Option<usize> {
    let mut depth = 0_usize;
    inner.char_indices().find_map(|(at, c)| {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
        None
    })
}

fn placeholder(inner: &str, env: Option<&Env>, depth: usize, out: &mut Text) -> Result<(), Miss> {
    if let Some(path) = inner.strip_prefix("file:") {
        out.value.push_str(&file(path, env)?);
        return Ok(());
    }
    let (name, operator) = inner.split_at(inner.find(':').unwrap_or(inner.len()));
    if !is_name(name) {
        return Err(refused(
            format!("`${{{inner}}}` is no placeholder"),
            "write ${NAME}, ${NAME:-default}, ${NAME:?message} or ${file:/path}; $$ is a dollar sign",
        ));
    }
    if let Some(value) = env.and_then(|env| env.var(name)) {
        out.value.push_str(value);
        return Ok(());
    }
    match (operator.get(..2), operator.get(2..)) {
        (Some(":-"), Some(default)) => expand(default, env, depth + 1, out),
        (Some(":?"), Some(message)) => {
            env.ok_or(Miss::Open)?;
            let why = if message.is_empty() { String::new() } else { format!(": {message}") };
            Err(refused(format!("the variable {name} is not set{why}"), format!("set {name}")))
        }
        (None, None) if operator.is_empty() => {
            if env.ok_or(Miss::Open)?.is_set(name) {
                return Ok(());
            }
            let hint = format!("set {name}, or give it a default: ${{{name}:-value}}");
            Err(refused(format!("the variable {name} is not set"), hint))
        }
        _ => Err(refused(
            format!("`${{{inner}}}` is no placeholder"),
            "after the name stands `:-default` or `:?message`",
        )),
    }
}

fn file(path: &str, env: Option<&Env>) -> Result<String, Miss> {
    if !path.starts_with('/') {
        return Err(refused(
            format!("`${{file:{path}}}` needs an absolute path"),
            "write ${file:/run/secrets/name}",
        ));
    }
    let text = env.ok_or(Miss::Open)?.read(Path::new(path)).map_err(|error| {
        refused(format!("the file {path} cannot be read: {error}"), "check the path and who may read it")
    })?;
    if text.is_empty() {
        return Err(refused(format!("the file {path} is empty"), "write the value into it"));
    }
    Ok(text)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn refused(message: impl Into<String>, hint: impl Into<String>) -> Miss {
    Miss::Refused(message.into(), hint.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn value(text: &str) -> String {
        interpolate(text, Some(&Env::of([("A", "1"), ("EMPTY", ""), ("P", "${A}")]))).unwrap().value
    }

    fn refusal(text: &str) -> String {
        match interpolate(text, Some(&Env::of([("EMPTY", "")]))) {
            Err(Miss::Refused(message, _)) => message,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn every_form_is_resolved() {
        for (text, expected) in [
            ("${A}", "1"),
            ("x${A}y${A}", "x1y1"),
            ("${A:-2}", "1"),
            ("${B:-2}", "2"),
            ("${B:-}", ""),
            ("${EMPTY:-2}", "2"),
            ("${EMPTY}", ""),
            ("${A:?no}", "1"),
            ("${B:-http://x:${A}/}", "http://x:1/"),
            ("$$A $${A}", "$A ${A}"),
            ("$.status $", "$.status $"),
            ("plain", "plain"),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn what_a_variable_holds_is_not_resolved_again() {
        assert_eq!(value("${P}"), "${A}");
    }

    #[test]
    fn an_unset_variable_is_named() {
        assert_eq!(refusal("${NOPE}"), "the variable NOPE is not set");
        assert_eq!(refusal("${NOPE:?ask the operator}"), "the variable NOPE is not set: ask the operator");
        assert_eq!(refusal("${EMPTY:?}"), "the variable EMPTY is not set");
    }

    #[test]
    fn what_is_no_placeholder_is_refused() {
        for text in ["${}", "${A", "${1A}", "${A-b}", "${A:b}", "${A b}", "${file:relative}", "${A:ü}"] {
            refusal(text);
        }
        assert!(refusal(&format!("{}x{}", "${A:-".repeat(20), "}".repeat(20))).contains("nested"));
    }

    #[test]
    fn a_file_is_read_without_its_last_newline() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "s3cret").unwrap();
        assert_eq!(value(&format!("${{file:{}}}", file.path().display())), "s3cret");
        assert!(refusal("${file:/nonexistent/x}").contains("/nonexistent/x"));
        let empty = tempfile::NamedTempFile::new().unwrap();
        assert!(refusal(&format!("${{file:{}}}", empty.path().display())).contains("is empty"));
    }

    #[test]
    fn without_an_environment_only_defaults_are_resolved() {
        assert_eq!(interpolate("${A:-1}", None), Ok(Text { value: "1".into(), outside: true }));
        for text in ["${A}", "${A:?x}", "${file:/x}", "a${B}c"] {
            assert_eq!(interpolate(text, None), Err(Miss::Open), "{text}");
        }
        assert!(matches!(interpolate("${A b}", None), Err(Miss::Refused(..))));
    }
}
