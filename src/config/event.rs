//! `dependencies:` and `events:`: what is outdated with what.
//!
//! Invariant: a bad line is refused by itself; its neighbours are still read.

use serde_json::Value;

use crate::config::problem::{Place, Source};
use crate::config::reach::Named;
use crate::config::reader::{Reader, map_schema};
use crate::config::shape::{At, Entry, Refusal, Scalar, Shape, Words};
use crate::config::tree::Node;
use crate::route::reach::ItemTemplate;

/// What stands before the colon of such a line.
pub(crate) trait Cause: Sized {
    /// The pattern of its spellings, for the schema.
    const PATTERN: &'static str;

    /// Reads it.
    ///
    /// # Errors
    /// Why it is none.
    fn parse(text: &str) -> Result<Self, Refusal>;

    /// As it is written.
    fn text(&self) -> String;
}

/// A mapping from causes to the words that they outdate, in the order of the file.
#[derive(Clone, Debug)]
pub(crate) struct Consequences<C>(pub(crate) Vec<Consequence<C>>);

/// One line of it.
#[derive(Clone, Debug)]
pub(crate) struct Consequence<C> {
    /// What happens.
    pub(crate) cause: C,
    /// Where that stands.
    pub(crate) place: Place,
    /// What is outdated by it.
    pub(crate) words: At<Words<Named>>,
}

/// `dependencies:`, from sources to what is derived from them.
pub(crate) type Edges = Consequences<ItemTemplate>;

/// `events:`, from names to what they outdate.
pub(crate) type Events = Consequences<EventName>;

/// The name of an event, with `*` for any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventName(pub(crate) String);

impl Cause for ItemTemplate {
    const PATTERN: &'static str = "^[^ ]+$";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text.contains(' ') {
            let message = format!("the source `{text}` is more than one word");
            return Err(Refusal::new(message, "write a line for each source"));
        }
        Named::parse(text).map(|named| named.item)
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Cause for EventName {
    const PATTERN: &'static str = "^[^ ]+$";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            let message = format!("`{}` is not the name of an event", text.escape_default());
            return Err(Refusal::new(message, "write e.g. project.updated, or \"user.*\" for all of a kind"));
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

impl<C> Consequence<C> {
    /// What is outdated by it.
    pub(crate) fn items(&self) -> Vec<ItemTemplate> {
        self.words.value.0.iter().map(|named| named.item.clone()).collect()
    }
}

impl<C> Default for Consequences<C> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<C: Cause> Shape for Consequences<C> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let mut lines = Vec::new();
        for (key, value) in reader.entries(node)? {
            let words = reader.value(key, value);
            match C::parse(&key.text) {
                Ok(cause) => lines.extend(words.map(|words| Consequence { cause, place: key.place, words })),
                Err(refusal) => reader.problems.push(refusal.problem(Source::File(key.place))),
            }
        }
        Some(Self(lines))
    }

    fn show(&self, path: &[String], _: Source, out: &mut Vec<Entry>) {
        for line in &self.0 {
            line.words.value.show(&[path, &[line.cause.text()]].concat(), line.words.source, out);
        }
    }

    fn schema() -> Value {
        map_schema(C::PATTERN, &<Words<Named> as Shape>::schema())
    }
}
