//! Names that an entry is outdated by, and templates that make them.
//!
//! Invariant: everything by which an entry can be outdated is a tag of it: what it was configured with, what its origin
//! named, its path, its route, whose it is. Kinds cannot be mistaken for one another: paths begin with `//`, Larder's own
//! with a control byte, and no name given from outside does either.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::route::identity::Digest;

/// Longest tag that is kept or invalidated, in bytes.
pub const MAX_LENGTH: usize = 256;

/// Most tags of one entry beside those that Larder gives it itself.
pub const MAX_TAGS: usize = 1_000;

/// Most tags that one template makes out of several values for its placeholders; beyond it they widen.
pub const MAX_RENDERED: usize = 1_000;

/// One tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tag(Arc<str>);

impl Tag {
    /// A target path with every query, under either scheme (RFC 9111 §4.4): `//host/path`. `path` is decoded, so
    /// that every spelling is one tag; a slash at the end does not count.
    pub fn path(authority: &str, path: &str) -> Self {
        Self(format!("//{authority}{}", path.trim_end_matches('/')).into())
    }

    /// Every entry of whoever shows these credentials.
    pub fn credential(digest: &Digest) -> Self {
        let mut tag = String::from("\u{1}credential:");
        for byte in digest.as_bytes() {
            tag.push_str(&format!("{byte:02x}"));
        }
        Self(tag.into())
    }

    /// Whether it is of somebody's credentials.
    pub fn is_of_credential(&self) -> bool {
        self.0.starts_with("\u{1}credential:")
    }

    /// Every entry of a route, by its template.
    pub fn route(template: &str) -> Self {
        Self(format!("\u{1}route:{template}").into())
    }

    /// The template of the route that it stands for.
    pub fn template(&self) -> Option<&str> {
        self.0.strip_prefix("\u{1}route:")
    }

    /// Every entry of a user, by the id that `identity.user` found: `user:42`.
    pub fn user(id: &str) -> Self {
        Self(format!("user:{id}").into())
    }

    /// A tag as configured, or as an origin names it; see [`is_name`].
    pub fn named(name: &str) -> Self {
        Self(name.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is neither a path nor one of Larder's own: the only kind that an answer may turn out to carry.
    pub fn is_named(&self) -> bool {
        !self.is_path() && !self.is_own()
    }

    /// Whether it is one of Larder's own. In order they lie before all others.
    pub fn is_own(&self) -> bool {
        self.0.starts_with('\u{1}')
    }

    /// Whether it stands for a path: `//host/path`.
    pub fn is_path(&self) -> bool {
        self.0.starts_with("//")
    }

    /// Host and path of one that stands for a path; the path is empty for `/`.
    pub fn host_and_path(&self) -> Option<(&str, &str)> {
        let rest = self.0.strip_prefix("//")?;
        Some(rest.split_at(rest.find('/').unwrap_or(rest.len())))
    }
}

/// Whether a text from outside may be a tag: 1 to [`MAX_LENGTH`] bytes, no control byte, no slash at the beginning.
pub fn is_name(text: &str) -> bool {
    (1..=MAX_LENGTH).contains(&text.len()) && !text.starts_with('/') && !text.chars().any(char::is_control)
}

impl Borrow<str> for Tag {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands for the placeholders of a template: by name, all values; none if it cannot be told.
pub trait Values {
    /// The values of `name`; empty: unknown.
    fn values(&self, name: &str) -> Vec<String>;
}

impl<F: Fn(&str) -> Vec<String>> Values for F {
    fn values(&self, name: &str) -> Vec<String> {
        self(name)
    }
}

/// A text with placeholders in braces: `export:{id}`, `comment:{body.project_id}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Text {
    pieces: Vec<Piece>,
}

/// What a template is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Piece {
    /// Itself; a `*` in it stands for any text.
    Literal(String),
    /// The name of what stands there.
    Placeholder(String),
}

/// Why a text is no template of tags.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Flaw {
    /// `project:{id`.
    #[error("the braces do not match")]
    Braces,
    /// `{}`, `{a b}`.
    #[error("a placeholder is made of letters, digits, `_`, `-` and `.`")]
    Placeholder,
    /// Empty, too long, with a space or a control byte.
    #[error("a tag has 1 to {MAX_LENGTH} bytes, none of them a space or a control character")]
    NotATag,
}

/// What a template came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rendered {
    /// Every placeholder was known; one text for each combination of values.
    Known(Vec<String>),
    /// Some were not: literals between which anything may stand, in order (`["project:", ""]` is `project:*`).
    Wide(Vec<String>),
}

impl Text {
    /// Reads a template; `{id:int}` is `{id}`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Flaw> {
        if text.is_empty() || text.len() > MAX_LENGTH || text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(Flaw::NotATag);
        }
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((literal, behind)) = rest.split_once('{') {
            let (name, after) = behind.split_once('}').ok_or(Flaw::Braces)?;
            if literal.contains('}') || name.contains('{') {
                return Err(Flaw::Braces);
            }
            let name = name.split(':').next().unwrap_or_default().trim_start_matches('*');
            let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            if name.is_empty() || !name.chars().all(is_part) {
                return Err(Flaw::Placeholder);
            }
            pieces.extend((!literal.is_empty()).then(|| Piece::Literal(literal.to_owned())));
            pieces.push(Piece::Placeholder(name.to_owned()));
            rest = after;
        }
        if rest.contains('}') {
            return Err(Flaw::Braces);
        }
        pieces.extend((!rest.is_empty()).then(|| Piece::Literal(rest.to_owned())));
        Ok(Self { pieces })
    }

    /// The names of its placeholders, from left to right.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Placeholder(name) => Some(name.as_str()),
            Piece::Literal(_) => None,
        })
    }

    /// What it is made of, from left to right.
    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Fills it in. A `*` in a literal stands for any text.
    pub fn render(&self, values: &dyn Values) -> Rendered {
        let mut known = vec![String::new()];
        for piece in &self.pieces {
            let each = match piece {
                Piece::Literal(text) if text.contains('*') => return self.widened(values),
                Piece::Literal(text) => vec![text.clone()],
                Piece::Placeholder(name) => values.values(name),
            };
            let usable = |text: &String| !text.is_empty() && !text.chars().any(char::is_control);
            if each.is_empty() || !each.iter().all(usable) || known.len() * each.len() > MAX_RENDERED {
                return self.widened(values);
            }
            known = known
                .iter()
                .flat_map(|begun| each.iter().map(move |next| format!("{begun}{next}")))
                .collect();
        }
        if known.iter().all(|text| text.len() <= MAX_LENGTH) {
            Rendered::Known(known)
        } else {
            self.widened(values)
        }
    }

    /// What is literal, or has one value, stays; anything stands for the rest.
    fn widened(&self, values: &dyn Values) -> Rendered {
        // `None` is a gap.
        let mut parts: Vec<Option<String>> = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => {
                    for (nth, part) in text.split('*').enumerate() {
                        if nth > 0 {
                            parts.push(None);
                        }
                        parts.push(Some(part.to_owned()));
                    }
                }
                Piece::Placeholder(name) => match values.values(name).as_slice() {
                    [one] if !one.is_empty() && one.len() <= MAX_LENGTH => parts.push(Some(one.clone())),
                    _ => parts.push(None),
                },
            }
        }
        let mut literals = vec![String::new()];
        for part in parts {
            match part {
                Some(text) => literals.last_mut().expect("it begins with one").push_str(&text),
                None => literals.push(String::new()),
            }
        }
        Rendered::Wide(literals)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => f.write_str(text)?,
                Piece::Placeholder(name) => write!(f, "{{{name}}}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(name: &str) -> Vec<String> {
        match name {
            "id" => vec!["42".into()],
            "ids" => vec!["1".into(), "2".into()],
            "star" => vec!["a*b".into()],
            _ => Vec::new(),
        }
    }

    fn rendered(text: &str) -> Rendered {
        Text::parse(text).unwrap().render(&values)
    }

    fn known(texts: &[&str]) -> Rendered {
        Rendered::Known(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    fn wide(texts: &[&str]) -> Rendered {
        Rendered::Wide(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn a_path_is_one_tag_with_and_without_its_last_slash() {
        assert_eq!(Tag::path("api.example.com", "/a/b/"), Tag::path("api.example.com", "/a/b"));
        assert_eq!(Tag::path("api.example.com", "/").as_str(), "//api.example.com");
        assert_ne!(Tag::path("a", "/b"), Tag::path("a:80", "/b"));
        assert_eq!(Tag::path("a:80", "/b/c").host_and_path(), Some(("a:80", "/b/c")));
        assert_eq!(Tag::path("a:80", "/").host_and_path(), Some(("a:80", "")));
    }

    #[test]
    fn a_template_makes_a_tag_of_every_combination() {
        assert_eq!(rendered("projects"), known(&["projects"]));
        assert_eq!(rendered("export:{id:int}"), known(&["export:42"]));
        assert_eq!(rendered("{ids}:{id}"), known(&["1:42", "2:42"]));
        assert_eq!(rendered("x:{star}"), known(&["x:a*b"]), "a star in a value is a character");
    }

    #[test]
    fn what_is_not_known_widens_and_never_skips() {
        assert_eq!(rendered("project:{nothing}"), wide(&["project:", ""]));
        assert_eq!(rendered("{nothing}:{id}"), wide(&["", ":42"]));
        assert_eq!(rendered("a:{ids}:{nothing}"), wide(&["a:", ":", ""]));
        assert_eq!(rendered("user:*"), wide(&["user:", ""]));
    }

    #[test]
    fn what_is_no_template_says_why() {
        for (text, flaw) in [
            ("a{b", Flaw::Braces),
            ("a}b", Flaw::Braces),
            ("{}", Flaw::Placeholder),
            ("{a b}", Flaw::NotATag),
            ("", Flaw::NotATag),
            ("a\u{7}", Flaw::NotATag),
        ] {
            assert_eq!(Text::parse(text), Err(flaw), "{text}");
        }
        assert_eq!(Text::parse("a:{b}:{*c}").unwrap().to_string(), "a:{b}:{c}");
    }
}
