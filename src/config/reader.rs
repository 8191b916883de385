//! Reads values out of the tree and collects everything that is wrong on the way.
//!
//! Invariant: a problem never stops the reading of the next key, so one run names them all. It refuses to know
//! which keys there are: sections ask for what they declare.

use serde_json::Value;

use crate::config::env::Env;
use crate::config::home;
use crate::config::interpolate::{Miss, Text, interpolate};
use crate::config::problem::{Place, Problem, Source};
use crate::config::shape::{At, Refusal, Scalar, Shape};
use crate::config::trap;
use crate::config::tree::{Key, Kind, Node};

/// One pass over a document.
pub(crate) struct Reader<'a> {
    /// What is wrong so far.
    pub(crate) problems: Vec<Problem>,
    /// The keys whose placeholders were left as they are, because there is no environment to ask.
    pub(crate) open: Vec<String>,
    /// The keys whose values were refused.
    pub(crate) failed: Vec<String>,
    env: Option<&'a Env>,
    key: String,
}

impl<'a> Reader<'a> {
    /// A reader that resolves placeholders by `env`; without one they are accepted as they are.
    pub(crate) fn new(env: Option<&'a Env>) -> Self {
        Self { problems: Vec::new(), open: Vec::new(), failed: Vec::new(), env, key: String::new() }
    }

    /// Reads the value of `key`.
    pub(crate) fn value<T: Shape>(&mut self, key: &Key, node: &Node) -> Option<At<T>> {
        let outer = std::mem::replace(&mut self.key, key.text.clone());
        let node =
            if matches!(node.kind, Kind::Null) { &Node { place: key.place, kind: Kind::Null } } else { node };
        let place = match node.kind {
            Kind::Map(_) | Kind::List(_) => key.place,
            Kind::Null | Kind::Text(_) => node.place,
        };
        let before = self.problems.len();
        let value = T::read(node, self).map(|value| At { value, source: Source::File(place) });
        if value.is_none() && self.problems.len() > before {
            self.failed.push(key.text.clone());
        }
        self.key = outer;
        value
    }

    /// The entries of a mapping; nothing counts as an empty one.
    pub(crate) fn entries<'n>(&mut self, node: &'n Node) -> Option<&'n [(Key, Node)]> {
        match &node.kind {
            Kind::Map(entries) => Some(entries),
            Kind::Null => Some(&[]),
            Kind::Text(text) => {
                let hint = trap::with_space(text.split(' ').next().unwrap_or_default()).map_or_else(
                    || "write its keys below it, indented".to_owned(),
                    |spaced| format!("put a space after the colon: `{spaced}`"),
                );
                self.refuse(node.place, "wants keys of its own, this is text", hint);
                None
            }
            Kind::List(_) => {
                self.refuse(node.place, "wants keys of its own, this is a list", "take the `-` away");
                None
            }
        }
    }

    /// A scalar's text with its placeholders resolved.
    pub(crate) fn text(&mut self, node: &Node, what: &str) -> Option<Text> {
        let Kind::Text(text) = &node.kind else {
            let message = match node.kind {
                Kind::Null => "has no value".to_owned(),
                _ => format!("wants {what}, this is {}", node.kind_name()),
            };
            self.refuse(node.place, message, format!("write {what}, or leave the key out"));
            return None;
        };
        match interpolate(text, self.env) {
            Ok(text) => Some(text),
            Err(Miss::Open) => {
                self.open.push(self.key.clone());
                None
            }
            Err(Miss::Refused(message, hint)) => {
                self.problems.push(Problem::at(node.place, message).hint(hint));
                None
            }
        }
    }

    /// A scalar; one that a placeholder left empty was not said.
    pub(crate) fn scalar<T: Scalar>(&mut self, node: &Node) -> Option<T> {
        let text = self.text(node, T::WHAT)?;
        if text.outside && text.value.is_empty() && T::EMPTY_IS_UNSAID {
            return None;
        }
        self.parse(node.place, &text.value, text.outside)
    }

    /// A text at its place, or a word of it.
    pub(crate) fn parse<T: Scalar>(&mut self, place: Place, text: &str, outside: bool) -> Option<T> {
        match if outside { T::parse_outside(text) } else { T::parse(text) } {
            Ok(value) => Some(value),
            Err(refusal) => {
                self.refuse(place, refusal.message, refusal.hint);
                None
            }
        }
    }

    /// Notes an error in the value of the key that is being read.
    pub(crate) fn refuse(&mut self, place: Place, message: impl AsRef<str>, hint: impl Into<String>) {
        let message = match self.key.as_str() {
            "" => format!("the file: {}", message.as_ref()),
            key => format!("`{key}`: {}", message.as_ref()),
        };
        self.problems.push(Problem::at(place, message).hint(hint));
    }

    /// Notes a key that the section does not have: a misspelt one, one that belongs elsewhere.
    pub(crate) fn unknown(&mut self, key: &Key, known: &[&str]) {
        let name = key.text.as_str();
        let hint = match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => match home::home(name) {
                Some(home) => format!("`{name}` belongs under {home}"),
                None => format!("the keys here are: {}", known.join(", ")),
            },
        };
        self.problems.push(Problem::at(key.place, format!("unknown key `{name}`")).hint(hint));
    }
}

/// The word that `text` is probably a slip of.
pub(crate) fn nearest<'w>(text: &str, words: impl IntoIterator<Item = &'w &'w str>) -> Option<&'w str> {
    let text = text.to_ascii_lowercase().replace('-', "_");
    let near = words.into_iter().map(|word| (strsim::damerau_levenshtein(&text, word), *word));
    let (distance, word) = near.min_by_key(|(distance, _)| *distance)?;
    (distance <= (word.len() / 3).max(1)).then_some(word)
}

/// The refusal of a word that is none of a few.
pub(crate) fn no_choice(text: &str, what: &str, words: &[&str]) -> Refusal {
    let hint = match nearest(text, words) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write one of: {}", words.join(", ")),
    };
    Refusal::new(format!("`{text}` is not {what}"), hint)
}

/// The JSON schema of an open mapping.
pub(crate) fn map_schema(keys: &str, values: &Value) -> Value {
    serde_json::json!({
        "type": ["object", "null"],
        "propertyNames": { "pattern": keys },
        "additionalProperties": values,
    })
}
