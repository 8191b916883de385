//! A path with placeholders, and the paths that it stands for.
//!
//! Invariant: what a placeholder is bound to stays one segment, or one value of a query: nothing in it can end the path,
//! climb out of it, or name another host. It refuses to know where values come from.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use thiserror::Error;

/// Most paths that one task stands for in one run.
pub const MAX_PATHS: usize = 100_000;

/// Longest value that a placeholder is bound to, in bytes.
pub const MAX_VALUE: usize = 1024;

/// All but the unreserved characters (RFC 3986 §2.3).
const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `/api/projects/{id}?full=1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Gap(String),
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Flaw {
    /// `{` without `}`, or the other way round.
    #[error("a brace stands alone")]
    Brace,
    /// `{a b}`, `{}`.
    #[error("a placeholder is `{{name}}`: letters, digits and `_`")]
    Name,
}

/// Why a value cannot stand in a path.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unfit {
    /// Nothing is bound to it.
    #[error("nothing says what `{{{0}}}` is")]
    Unbound(String),
    /// Empty, `.`, `..`, or longer than [`MAX_VALUE`].
    #[error("`{{{0}}}` would be empty, a dot segment, or too long")]
    Value(String),
}

/// What placeholders are bound to, by name.
pub type Bindings = BTreeMap<String, String>;

impl Pattern {
    /// Reads one. What is left of it without its placeholders is for the caller to judge.
    ///
    /// # Errors
    /// [`Flaw`]
    pub fn parse(text: &str) -> Result<Self, Flaw> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, behind) = rest.split_at(at);
            let (name, after) =
                behind.strip_prefix('{').and_then(|inner| inner.split_once('}')).ok_or(Flaw::Brace)?;
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(is_name) {
                return Err(Flaw::Name);
            }
            parts.extend([Part::Text(before.to_owned()), Part::Gap(name.to_owned())]);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self { text: text.to_owned(), parts })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its placeholders, each once.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for part in &self.parts {
            if let Part::Gap(name) = part
                && !names.contains(&name.as_str())
            {
                names.push(name);
            }
        }
        names
    }

    /// The path for these values, percent-encoded.
    ///
    /// # Errors
    /// [`Unfit`]
    pub fn bind(&self, values: &Bindings) -> Result<String, Unfit> {
        let mut path = String::with_capacity(self.text.len());
        for part in &self.parts {
            match part {
                Part::Text(text) => path.push_str(text),
                Part::Gap(name) => {
                    let value = values.get(name).ok_or_else(|| Unfit::Unbound(name.clone()))?;
                    if value.is_empty() || value == "." || value == ".." || value.len() > MAX_VALUE {
                        return Err(Unfit::Value(name.clone()));
                    }
                    path.extend(utf8_percent_encode(value, &ENCODED));
                }
            }
        }
        Ok(path)
    }
}

/// Every combination of the listed values over `begin`, in the order of the lists; no more than `most`.
pub fn product(begin: &Bindings, lists: &[(String, Vec<String>)], most: usize) -> Vec<Bindings> {
    let mut all = vec![begin.clone()];
    for (name, values) in lists {
        let with = |bound: &Bindings, value: &String| {
            let mut bound = bound.clone();
            bound.insert(name.clone(), value.clone());
            bound
        };
        all = all
            .iter()
            .flat_map(|bound| values.iter().map(move |value| with(bound, value)))
            .take(most)
            .collect();
    }
    all
}

/// What a selected value of a list answer binds: a text, number or truth value the one name that is `open`, an object the
/// names that it has members of. `None`: nothing.
pub fn picked(value: &Value, open: &[&str]) -> Option<Bindings> {
    match value {
        Value::Object(members) => {
            let bind = |name: &&str| Some(((*name).to_owned(), plain(members.get(*name)?)?));
            open.iter().map(bind).collect()
        }
        value => match open {
            [name] => Some([((*name).to_owned(), plain(value)?)].into()),
            _ => None,
        },
    }
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bound(text: &str, values: &[(&str, &str)]) -> Result<String, Unfit> {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Pattern::parse(text).unwrap().bind(&values)
    }

    #[test]
    fn a_value_stays_in_its_place() {
        assert_eq!(bound("/a/{id}/b?c={c}", &[("id", "42"), ("c", "x")]).unwrap(), "/a/42/b?c=x");
        assert_eq!(bound("/a/{id}", &[("id", "../../b?c#d")]).unwrap(), "/a/..%2F..%2Fb%3Fc%23d");
        assert_eq!(bound("/a/{id}", &[("id", "ä b&c=d")]).unwrap(), "/a/%C3%A4%20b%26c%3Dd");
        assert_eq!(bound("/a", &[]).unwrap(), "/a");
        for value in ["", ".", "..", &"x".repeat(MAX_VALUE + 1)] {
            assert_eq!(bound("/a/{id}", &[("id", value)]), Err(Unfit::Value("id".into())));
        }
        assert_eq!(bound("/a/{id}", &[("other", "1")]), Err(Unfit::Unbound("id".into())));
    }

    #[test]
    fn what_is_no_placeholder_is_refused() {
        for (text, flaw) in
            [("/a/{id", Flaw::Brace), ("/a}", Flaw::Brace), ("/{}", Flaw::Name), ("/{a b}", Flaw::Name)]
        {
            assert_eq!(Pattern::parse(text), Err(flaw), "{text}");
        }
        assert_eq!(Pattern::parse("/{a}/{b}?c={a}").unwrap().names(), ["a", "b"]);
    }

    #[test]
    fn lists_are_combined_and_their_number_is_bounded() {
        let lists = [("a", vec!["1", "2"]), ("b", vec!["x", "y"])];
        let lists =
            lists.map(|(name, values)| (name.to_owned(), values.iter().map(ToString::to_string).collect()));
        let all = |most| -> Vec<String> {
            let bound = product(&Bindings::new(), &lists, most);
            bound.iter().map(|bound| format!("{}{}", bound["a"], bound["b"])).collect()
        };
        assert_eq!(all(10), ["1x", "1y", "2x", "2y"]);
        assert_eq!(all(3), ["1x", "1y", "2x"]);
    }

    #[test]
    fn a_selected_value_binds_the_open_names() {
        let one = |value: Value| picked(&value, &["id"]).and_then(|bound| bound.get("id").cloned());
        assert_eq!(one(json!(7)).as_deref(), Some("7"));
        assert_eq!(one(json!("a")).as_deref(), Some("a"));
        assert_eq!(one(json!({ "id": 7, "name": "x" })).as_deref(), Some("7"));
        for none in [json!(null), json!([1]), json!({ "name": 1 }), json!({ "id": null })] {
            assert_eq!(one(none.clone()), None, "{none}");
        }
        assert_eq!(picked(&json!(7), &["a", "b"]), None, "of two names one number tells nothing");
        assert!(picked(&json!({ "a": 1, "b": 2 }), &["a", "b"]).is_some());
    }
}
