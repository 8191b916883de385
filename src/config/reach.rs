//! What can be outdated, as the file names it: tags and paths, and in write rules whoever wrote.
//!
//! Invariant: a word that begins with `/` is a path template, any other a tag; nothing is guessed.

use crate::config::problem::Place;
use crate::config::shape::{Refusal, Scalar};
use crate::route::reach::{Flaw, ItemTemplate};
use crate::route::{pattern, tag};

/// The word of write rules for every entry of whoever wrote.
pub(crate) const CREDENTIAL: &str = "credential";

/// A tag or a path, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// What it is.
    pub(crate) item: ItemTemplate,
    /// Where it stands.
    pub(crate) place: Place,
}

impl Scalar for Named {
    const WHAT: &'static str = "a tag or a path";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text == CREDENTIAL {
            let message = format!("`{CREDENTIAL}` is whoever wrote, and stands under `writes` only");
            return Err(Refusal::new(message, "give the tag another name"));
        }
        if let Some(word) = text.strip_suffix(',') {
            let hint = format!("words are separated by spaces: write `{word}`");
            return Err(Refusal::new(format!("`{text}` ends with a comma"), hint));
        }
        let item = ItemTemplate::parse(text).map_err(|flaw| {
            let (what, hint) = match &flaw {
                Flaw::Tag(tag::Flaw::NotATag) => ("a tag", "write e.g. project:{id}"),
                Flaw::Tag(_) => ("a tag", "write {name}, e.g. project:{id}"),
                Flaw::Path(pattern::Flaw::NotAPath) => {
                    ("a path", "write the path alone: it stands for every query")
                }
                Flaw::Path(_) => ("a path", "write e.g. /api/projects/{id}, or /api/files/{rest:path}"),
            };
            Refusal::new(format!("`{text}` is not {what}: {flaw}"), hint)
        })?;
        Ok(Self { item, place: Place::default() })
    }

    fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }

    fn show(&self) -> String {
        self.item.to_string()
    }
}

/// A word of a write rule.
#[derive(Clone, Debug)]
pub(crate) enum Word {
    /// Every entry of whoever wrote.
    Credential,
    /// A tag or a path.
    Item(Named),
}

impl Word {
    /// The tag or path, if it is one.
    pub(crate) fn named(&self) -> Option<&Named> {
        match self {
            Self::Credential => None,
            Self::Item(named) => Some(named),
        }
    }
}

impl Scalar for Word {
    const WHAT: &'static str = "tags, paths or `credential`";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text == CREDENTIAL {
            return Ok(Self::Credential);
        }
        Named::parse(text).map(Self::Item)
    }

    fn at(self, place: Place) -> Self {
        match self {
            Self::Credential => self,
            Self::Item(named) => Self::Item(named.at(place)),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Credential => CREDENTIAL.to_owned(),
            Self::Item(named) => named.show(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_tags_paths_and_whoever_wrote() {
        for text in ["project:{id}", "projects", "/api/stats", "/api/{rest:path}", "user:*"] {
            assert!(matches!(Word::parse(text), Ok(Word::Item(_))), "{text}");
            assert_eq!(Word::parse(text).unwrap().show(), text);
        }
        assert!(matches!(Word::parse("credential"), Ok(Word::Credential)));
    }

    #[test]
    fn what_is_no_word_says_what_to_write() {
        for (text, hint) in [
            ("projects,", "words are separated by spaces: write `projects`"),
            ("project:{id", "write {name}"),
            ("/api/stats?x=1", "write the path alone"),
            ("/a//b", "write e.g. /api"),
            ("credential", "give the tag another name"),
        ] {
            let refusal = Named::parse(text).expect_err(text);
            assert!(refusal.hint.starts_with(hint), "{text}: {}", refusal.hint);
        }
    }
}
