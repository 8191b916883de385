//! How a key of the grammar is declared: once, with its type, its words and its default.
//!
//! [`Scalar`] is a value that is one piece of text, [`Shape`] is anything a key may hold, and `section!` makes a
//! mapping out of declared keys: it reads, merges, shows and describes (JSON schema) all of them alike, so that no
//! key can be read but not documented, or documented but not read. It refuses to know any key.

use serde_json::{Value, json};

use crate::config::problem::{Place, Problem, Source};
use crate::config::reader::Reader;
use crate::config::reload::cut;
use crate::config::tree::{Kind, Node};

/// A value and where it was said.
#[derive(Clone, Debug, Default)]
pub(crate) struct At<T> {
    /// What was said.
    pub(crate) value: T,
    /// Who said it.
    pub(crate) source: Source,
}

impl<T> At<T> {
    /// The section that holds just this value.
    pub(crate) fn wrap<S>(self, section: impl FnOnce(Self) -> S) -> At<S> {
        let source = self.source;
        At { value: section(self), source }
    }
}

/// One line of the resolved configuration.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The keys that lead to it: `["defaults", "ttl"]`.
    pub path: Vec<String>,
    /// What holds, in the words of the grammar; secrets are cut out.
    pub value: Value,
    /// Who said it.
    pub source: Source,
    /// Stands for what was cut out of `value`, in comparisons within this process; never shown. `None`: nothing was.
    pub(crate) cut: Option<u64>,
}

impl Entry {
    /// One out of which nothing is cut.
    pub(crate) fn new(path: &[String], value: Value, source: Source) -> Self {
        Self { path: path.to_vec(), value, source, cut: None }
    }
}

/// Why a piece of text is not a value.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// What is wrong, as a clause that can follow the key.
    pub(crate) message: String,
    /// What to write instead.
    pub(crate) hint: String,
}

impl Refusal {
    /// A refusal with its hint.
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }

    /// The same as an error in what `source` said.
    pub(crate) fn problem(self, source: Source) -> Problem {
        Problem::of(source, self.message).hint(self.hint)
    }
}

/// A value that is written as one piece of text.
pub(crate) trait Scalar: Sized {
    /// What it is, in words: "a duration".
    const WHAT: &'static str;
    /// Whether it is kept out of everything that is shown.
    const SECRET: bool = false;
    /// Whether a placeholder that comes out empty means that nothing was said.
    const EMPTY_IS_UNSAID: bool = true;

    /// Reads it from the file or from a flag.
    ///
    /// # Errors
    /// Why it is none, without the text if it is a secret.
    fn parse(text: &str) -> Result<Self, Refusal>;

    /// Reads it from a variable, or from text that a variable made.
    ///
    /// # Errors
    /// As [`Scalar::parse`].
    fn parse_outside(text: &str) -> Result<Self, Refusal> {
        Self::parse(text)
    }

    /// The same, now that its place is known.
    #[must_use]
    fn at(self, _place: Place) -> Self {
        self
    }

    /// The shortest text that reads back as the same value.
    fn show(&self) -> String;

    /// The text of which [`Scalar::show`] cuts something out; `None`: it shows all.
    fn cut(&self) -> Option<&str> {
        None
    }

    /// Its JSON schema.
    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

/// Whatever a key may hold.
pub(crate) trait Shape: Sized {
    /// Reads it; what is wrong goes to the reader, and `None` comes back.
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self>;

    /// This value where it says something, `lower` where it does not.
    fn over(self, _lower: Self) -> Self {
        self
    }

    /// What holds where nobody says anything, if that is a section with defaults of its own.
    fn built_in() -> Option<Self> {
        None
    }

    /// Adds what it holds to the lines of the resolved configuration.
    fn show(&self, path: &[String], source: Source, out: &mut Vec<Entry>);

    /// Its JSON schema.
    fn schema() -> Value;
}

/// What stands in place of a secret.
pub(crate) const REDACTED: &str = "<redacted>";

impl<T: Scalar> Shape for T {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        reader.scalar(node)
    }

    fn show(&self, path: &[String], source: Source, out: &mut Vec<Entry>) {
        let text = if T::SECRET { REDACTED.to_owned() } else { Scalar::show(self) };
        out.push(Entry { cut: cut([self.cut()]), ..Entry::new(path, text.into(), source) });
    }

    fn schema() -> Value {
        <T as Scalar>::schema()
    }
}

/// Values in one line, with spaces between them, or as a list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Words<T>(pub(crate) Vec<T>);

impl<T> Default for Words<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Scalar> Shape for Words<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let words = match &node.kind {
            Kind::List(items) => {
                let word = |item: &Node| reader.scalar::<T>(item).map(|word| word.at(item.place));
                items.iter().map(word).collect::<Vec<_>>()
            }
            _ => {
                let text = reader.text(node, T::WHAT)?;
                if text.outside && text.value.trim().is_empty() {
                    return None;
                }
                let mut behind = 0;
                let word = |word: &str| {
                    let begin = behind + text.value[behind..].find(word)?;
                    behind = begin + word.len();
                    let place =
                        if text.outside { node.place } else { within(node, &text.value, begin..behind) };
                    reader.parse::<T>(place, word, text.outside).map(|word| word.at(place))
                };
                text.value.split_whitespace().map(word).collect()
            }
        };
        if words.is_empty() {
            reader.refuse(node.place, "is empty", format!("write {}, or leave the key out", T::WHAT));
            return None;
        }
        words.into_iter().collect::<Option<Vec<_>>>().map(Self)
    }

    fn show(&self, path: &[String], source: Source, out: &mut Vec<Entry>) {
        let words = self.0.iter().map(Scalar::show).collect::<Vec<_>>();
        out.push(Entry {
            cut: cut(self.0.iter().map(Scalar::cut)),
            ..Entry::new(path, words.into(), source)
        });
    }

    fn schema() -> Value {
        let word = <T as Scalar>::schema();
        json!({ "anyOf": [
            { "type": ["string", "number", "boolean"] },
            { "type": "array", "items": word, "minItems": 1 },
        ] })
    }
}

/// The place of a word of a node's text; that of the node, where it is not written as it reads.
fn within(node: &Node, text: &str, word: std::ops::Range<usize>) -> Place {
    let Place { line, column, start, end } = node.place;
    let quote = match (end - start).checked_sub(text.len()) {
        Some(0) => 0,
        Some(2) => 1,
        _ => return node.place,
    };
    let columns = u32::try_from(text[..word.start].chars().count() + quote).unwrap_or(0);
    let begin = start + quote;
    Place { line, column: column + columns, start: begin + word.start, end: begin + word.end }
}

/// The higher of two layers, filled up from the lower.
pub(crate) fn over<T: Shape>(higher: Option<At<T>>, lower: Option<At<T>>) -> Option<At<T>> {
    match (higher, lower) {
        (Some(higher), Some(lower)) => {
            Some(At { value: higher.value.over(lower.value), source: higher.source })
        }
        (higher, lower) => higher.or(lower),
    }
}

/// Adds an optional value to the lines of the resolved configuration.
pub(crate) fn show<T: Shape>(value: Option<&At<T>>, key: &str, path: &[String], out: &mut Vec<Entry>) {
    if let Some(at) = value {
        let path = [path, &[key.to_owned()]].concat();
        at.value.show(&path, at.source, out);
    }
}

/// The schema of a mapping's key: that of its type, with its words and its default.
pub(crate) fn described(schema: Value, words: &[&str], default: Option<&str>) -> Value {
    let mut schema = schema;
    schema["description"] = words.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").into();
    if let Some(default) = default {
        schema["default"] = match default {
            "true" => true.into(),
            "false" => false.into(),
            _ => default.parse::<u64>().map_or_else(|_| default.into(), Value::from),
        };
    }
    schema
}

/// Reads a default that is declared beside its key.
pub(crate) fn built_in<T: Scalar>(text: &str) -> Option<At<T>> {
    T::parse(text).ok().map(|value| At { value, source: Source::Default })
}

/// The same for a key that holds several.
pub(crate) trait BuiltIn: Sized {
    /// Reads `text` as this type.
    fn from_default(text: &str) -> Option<At<Self>>;
}

impl<T: Scalar> BuiltIn for T {
    fn from_default(text: &str) -> Option<At<Self>> {
        built_in(text)
    }
}

impl<T: Scalar> BuiltIn for Words<T> {
    fn from_default(text: &str) -> Option<At<Self>> {
        let words = text.split_whitespace().map(|word| T::parse(word).ok()).collect::<Option<Vec<_>>>()?;
        Some(At { value: Self(words), source: Source::Default })
    }
}

/// Declares a mapping: its keys with words, type and default.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        $name:ident {
            $( $(#[doc = $doc:literal])* $field:ident $(as $key:literal)? : $ty:ty $(= $default:literal)? ),* $(,)?
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, Default)]
        pub(crate) struct $name {
            $( $(#[doc = $doc])* pub(crate) $field: Option<$crate::config::shape::At<$ty>>, )*
        }

        impl $name {
            /// The keys that are read.
            pub(crate) const KEYS: &'static [&'static str] = &[$( section!(@key $field $($key)?) ),*];
        }

        impl $crate::config::shape::Shape for $name {
            fn read(
                node: &$crate::config::tree::Node,
                reader: &mut $crate::config::reader::Reader<'_>,
            ) -> Option<Self> {
                let mut section = Self::default();
                for (key, value) in reader.entries(node)? {
                    match key.text.as_str() {
                        $( section!(@key $field $($key)?) => section.$field = reader.value(key, value), )*
                        _ => reader.unknown(key, Self::KEYS),
                    }
                }
                Some(section)
            }

            fn over(self, lower: Self) -> Self {
                Self { $( $field: $crate::config::shape::over(self.$field, lower.$field), )* }
            }

            fn built_in() -> Option<Self> {
                Some(Self { $( $field: section!(@default $ty $(, $default)?), )* })
            }

            fn show(
                &self,
                path: &[String],
                _source: $crate::config::problem::Source,
                out: &mut Vec<$crate::config::shape::Entry>,
            ) {
                $( $crate::config::shape::show(
                    self.$field.as_ref(), section!(@key $field $($key)?), path, out,
                ); )*
            }

            fn schema() -> serde_json::Value {
                let mut keys = serde_json::Map::new();
                $( keys.insert(
                    section!(@key $field $($key)?).to_owned(),
                    $crate::config::shape::described(
                        <$ty as $crate::config::shape::Shape>::schema(),
                        &[$($doc),*],
                        [$($default)?].first().copied(),
                    ),
                ); )*
                serde_json::json!({
                    "type": ["object", "null"], "properties": keys, "additionalProperties": false,
                })
            }
        }
    };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
    (@default $ty:ty) => {
        <$ty as $crate::config::shape::Shape>::built_in()
            .map(|value| $crate::config::shape::At { value, source: $crate::config::problem::Source::Default })
    };
    (@default $ty:ty, $default:literal) => {
        <$ty as $crate::config::shape::BuiltIn>::from_default($default)
    };
}

/// Declares a value that is one of a few words.
macro_rules! choice {
    ($ty:ty, $what:literal, { $($word:literal => $value:expr),* $(,)? }) => {
        impl $crate::config::shape::Scalar for $ty {
            const WHAT: &'static str = $what;

            fn parse(text: &str) -> Result<Self, $crate::config::shape::Refusal> {
                match text {
                    $( $word => Ok($value), )*
                    _ => Err($crate::config::reader::no_choice(text, Self::WHAT, &[$($word),*])),
                }
            }

            fn show(&self) -> String {
                $( if *self == $value { return $word.to_owned(); } )*
                unreachable!("every value of a choice has its word")
            }

            fn schema() -> serde_json::Value {
                serde_json::json!({ "anyOf": [{ "enum": [$($word),*] }, { "type": "string", "pattern": "\\$\\{" }] })
            }
        }
    };
}

pub(crate) use {choice, section};
