//! `languages:` as it is written: a word, or the languages that the origin has.
//!
//! Invariant: what is listed are language tags (RFC 5646), each once. It refuses to know how requests are compared.

use serde_json::{Value, json};

use crate::config::problem::Source;
use crate::config::reader::Reader;
use crate::config::shape::{At, BuiltIn, Entry, Refusal, Scalar, Shape, Words};
use crate::config::tree::Node;
use crate::policy::Languages;
use crate::policy::language::MOST_LISTED;

const IN_ORDER: &str = "in-order";
const ANY_ORDER: &str = "any-order";

/// A language tag, or one of the words, which look like one.
#[derive(Clone, Debug)]
struct Tag(String);

impl Scalar for Tag {
    const WHAT: &'static str = "languages";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let is_subtag = |part: &str| {
            (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let begins_with_letter = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
        if begins_with_letter && text.split('-').all(is_subtag) {
            return Ok(Self(text.to_owned()));
        }
        let hint = "write tags with hyphens: en de-AT zh-Hant; or in-order, or any-order";
        Err(Refusal::new(format!("`{text}` is not a language"), hint))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// What the words say together.
fn languages(words: Vec<Tag>) -> Result<Languages, Refusal> {
    let tags: Vec<Box<str>> = words.into_iter().map(|Tag(text)| text.into()).collect();
    let lone = tags.iter().find(|tag| matches!(&***tag, IN_ORDER | ANY_ORDER));
    match lone.map(|word| &**word) {
        Some(IN_ORDER) if tags.len() == 1 => return Ok(Languages::InOrder),
        Some(ANY_ORDER) if tags.len() == 1 => return Ok(Languages::AnyOrder),
        Some(word) => {
            let message = format!("has `{word}` beside other words");
            return Err(Refusal::new(message, "write it alone, or only the languages that the origin has"));
        }
        None => {}
    }
    let is_again = |index: &usize| tags[..*index].iter().any(|tag| tag.eq_ignore_ascii_case(&tags[*index]));
    if let Some(again) = (0..tags.len()).find(is_again) {
        let message = format!("names `{}` twice", tags[again]);
        return Err(Refusal::new(message, "the first one counts; take the other out"));
    }
    if tags.len() > MOST_LISTED {
        return Err(Refusal::new("names too many languages", format!("at most {MOST_LISTED}")));
    }
    Ok(Languages::Listed(tags.into()))
}

impl Shape for Languages {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let Words(words) = Words::read(node, reader)?;
        languages(words).map_err(|refusal| reader.refuse(node.place, refusal.message, refusal.hint)).ok()
    }

    fn show(&self, path: &[String], source: Source, out: &mut Vec<Entry>) {
        let value: Value = match self {
            Self::InOrder => IN_ORDER.into(),
            Self::AnyOrder => ANY_ORDER.into(),
            Self::Listed(tags) => tags.iter().map(|tag| tag.to_string()).collect::<Vec<_>>().into(),
        };
        out.push(Entry::new(path, value, source));
    }

    fn schema() -> Value {
        json!({ "anyOf": [
            { "enum": [IN_ORDER, ANY_ORDER] },
            { "type": "string" },
            { "type": "array", "items": { "type": "string" }, "minItems": 1, "maxItems": MOST_LISTED },
        ] })
    }
}

impl BuiltIn for Languages {
    fn from_default(text: &str) -> Option<At<Self>> {
        let words = Words::<Tag>::from_default(text)?;
        languages(words.value.0).ok().map(|value| At { value, source: Source::Default })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Languages, Refusal> {
        languages(text.split_whitespace().map(Tag::parse).collect::<Result<_, _>>()?)
    }

    #[test]
    fn a_word_stands_alone_and_tags_stand_in_their_order() {
        assert_eq!(read("in-order").unwrap(), Languages::InOrder);
        assert_eq!(read("any-order").unwrap(), Languages::AnyOrder);
        let listed = Languages::Listed(["zh-Hant", "no", "de-AT-1996"].map(Box::from).into());
        assert_eq!(read("zh-Hant no de-AT-1996").unwrap(), listed);
        assert_eq!(Languages::from_default("in-order").unwrap().value, Languages::default());
    }

    #[test]
    fn what_is_no_language_or_stands_twice_is_refused() {
        for text in ["en_US", "*", "en,de", "en;q=0.5", "-", "en-", "1en", "verylonglanguage", "en any-order"]
        {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read("en de EN").unwrap_err().message.contains("`EN` twice"));
        let many = (0..=MOST_LISTED).map(|n| format!("l{n}")).collect::<Vec<_>>().join(" ");
        assert!(read(&many).unwrap_err().hint.contains("16"));
    }
}
