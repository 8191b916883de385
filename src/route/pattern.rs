//! A path template, read: `/api/projects/{id}`, `/static/{path:path}`, `/files/{name}.json`.
//!
//! Literals are held decoded, because requests are matched decoded. Every convertor but `path` is a plain
//! parameter: the origin alone decides whether `{id:int}` fits. How templates are told apart is not known here.

use percent_encoding::percent_decode_str;
use thiserror::Error;

use crate::route::path::{Ambiguity, Path};

/// A template in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The segments before the catch-all; one trailing slash is not counted.
    pub segments: Vec<Segment>,
    /// The name of the catch-all that ends the template.
    pub rest: Option<String>,
}

/// What stands between two slashes of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Matched byte by byte, decoded.
    Literal(String),
    /// One non-empty segment, or what of it stands between the two literals.
    Parameter {
        /// What the segment begins with.
        before: String,
        /// The parameter's name.
        name: String,
        /// What the segment ends with.
        after: String,
    },
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Flaw {
    /// `api/x`.
    #[error("a path template begins with `/`")]
    NotRooted,
    /// `/a?b`, `/a#b`.
    #[error("a path template has no query or fragment; queries belong in `key: {{ query: [...] }}`")]
    NotAPath,
    /// A literal that is never cached as a request path.
    #[error("no cacheable path contains what stands in it ({})", .0.as_str())]
    Ambiguous(Ambiguity),
    /// `/{a`, `/a}`, `/{{a}}`.
    #[error("the braces do not match")]
    Braces,
    /// `/{}`, `/{a b}`.
    #[error("a parameter's name is made of letters, digits, `_`, `-` and `.`")]
    Name,
    /// `/{a}-{b}`.
    #[error("one segment can hold only one parameter")]
    TwoInOne,
    /// `/{x:path}/b`, `/a{x:path}`.
    #[error("a catch-all must be the whole last segment")]
    RestNotLast,
    /// `/{id}/x/{id}`.
    #[error("the parameter `{0}` occurs twice")]
    Twice(String),
    /// More than [`MAX_PARAMETERS`].
    #[error("more than {MAX_PARAMETERS} parameters")]
    TooMany,
}

/// Most parameters a template may hold.
pub const MAX_PARAMETERS: usize = 16;

impl Template {
    /// Reads a template as FastAPI, Starlette and OpenAPI write it; `{*x}` is `{x:path}`.
    ///
    /// # Errors
    /// The first [`Flaw`] from the left.
    pub fn parse(text: &str) -> Result<Self, Flaw> {
        let inner = text.strip_prefix('/').ok_or(Flaw::NotRooted)?;
        if text.contains(['?', '#']) {
            return Err(Flaw::NotAPath);
        }
        let mut template = Self { segments: Vec::new(), rest: None };
        if inner.is_empty() {
            return Ok(template);
        }
        for part in inner.strip_suffix('/').unwrap_or(inner).split('/') {
            if template.rest.is_some() {
                return Err(Flaw::RestNotLast);
            }
            template.read(part)?;
        }
        if template.rest.is_some() && inner.ends_with('/') {
            return Err(Flaw::RestNotLast);
        }
        template.check_names()?;
        Ok(template)
    }

    /// The names of the parameters from left to right, the catch-all last.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let parameters = self.segments.iter().filter_map(|segment| match segment {
            Segment::Parameter { name, .. } => Some(name.as_str()),
            Segment::Literal(_) => None,
        });
        parameters.chain(self.rest.as_deref())
    }

    /// Whether the two match the same paths: names tell nothing apart.
    pub fn is_same_shape(&self, other: &Self) -> bool {
        let alike = |(one, other): (&Segment, &Segment)| match (one, other) {
            (Segment::Literal(one), Segment::Literal(other)) => one == other,
            (
                Segment::Parameter { before, after, .. },
                Segment::Parameter { before: begin, after: end, .. },
            ) => (before, after) == (begin, end),
            _ => false,
        };
        self.segments.len() == other.segments.len()
            && self.rest.is_some() == other.rest.is_some()
            && self.segments.iter().zip(&other.segments).all(alike)
    }

    fn read(&mut self, part: &str) -> Result<(), Flaw> {
        let Some((before, parameter)) = part.split_once('{') else {
            self.segments.push(Segment::Literal(literal(part)?));
            return Ok(());
        };
        let (parameter, after) = parameter.split_once('}').ok_or(Flaw::Braces)?;
        if before.contains('}') || parameter.contains('{') {
            return Err(Flaw::Braces);
        }
        if after.contains('{') {
            return Err(Flaw::TwoInOne);
        }
        if after.contains('}') {
            return Err(Flaw::Braces);
        }
        let (name, convertor) = match parameter.strip_prefix('*') {
            Some(name) => (name, "path"),
            None => parameter.split_once(':').unwrap_or((parameter, "str")),
        };
        // The dot is that of `{body.id}`, where a template says what is outdated.
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(Flaw::Name);
        }
        if convertor == "path" {
            if !before.is_empty() || !after.is_empty() {
                return Err(Flaw::RestNotLast);
            }
            self.rest = Some(name.to_owned());
        } else {
            let (before, after) = (affix(before)?, affix(after)?);
            self.segments.push(Segment::Parameter { before, name: name.to_owned(), after });
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), Flaw> {
        let mut names: Vec<&str> = self.names().collect();
        if names.len() > MAX_PARAMETERS {
            return Err(Flaw::TooMany);
        }
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(Flaw::Twice(pair[0].to_owned())),
            None => Ok(()),
        }
    }
}

/// Decodes a whole literal segment. A literal may be written raw (`/café`) or escaped (`/caf%C3%A9`).
fn literal(part: &str) -> Result<String, Flaw> {
    if part.contains('}') {
        return Err(Flaw::Braces);
    }
    if part.is_empty() {
        return Err(Flaw::Ambiguous(Ambiguity::EmptySegment));
    }
    checked(&format!("/{part}"))?;
    Ok(percent_decode_str(part).decode_utf8_lossy().into_owned())
}

/// Decodes what stands beside a parameter in its segment; dots alone are fine there.
fn affix(part: &str) -> Result<String, Flaw> {
    checked(&format!("/x{part}"))?;
    Ok(percent_decode_str(part).decode_utf8_lossy().into_owned())
}

/// Refuses a literal that would make every path that it matches ambiguous.
fn checked(path: &str) -> Result<(), Flaw> {
    match Path::of(path).ambiguity() {
        None | Some(Ambiguity::NotAscii) => Ok(()),
        Some(why) => Err(Flaw::Ambiguous(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(before: &str, name: &str, after: &str) -> Segment {
        Segment::Parameter { before: before.into(), name: name.into(), after: after.into() }
    }

    fn literal(text: &str) -> Segment {
        Segment::Literal(text.into())
    }

    #[test]
    fn a_template_is_read_in_its_parts() {
        let template = Template::parse("/api/projects/{id}/export/").unwrap();
        let segments = vec![literal("api"), literal("projects"), parameter("", "id", ""), literal("export")];
        assert_eq!(template, Template { segments, rest: None });
        assert_eq!(Template::parse("/").unwrap(), Template { segments: vec![], rest: None });
        assert_eq!(Template::parse("/v{n}.json").unwrap().segments, [parameter("v", "n", ".json")]);
    }

    #[test]
    fn both_spellings_of_a_catch_all_are_one() {
        let one = Template::parse("/static/{path:path}").unwrap();
        assert_eq!(one, Template::parse("/static/{*path}").unwrap());
        assert_eq!(one.rest.as_deref(), Some("path"));
    }

    #[test]
    fn every_other_convertor_is_a_plain_parameter() {
        for text in ["/{x}", "/{x:int}", "/{x:float}", "/{x:uuid}", "/{x:str}", "/{x:mine}"] {
            assert_eq!(Template::parse(text).unwrap().segments, [parameter("", "x", "")], "{text}");
        }
    }

    #[test]
    fn literals_are_held_decoded() {
        assert_eq!(Template::parse("/caf%C3%A9/a%20b").unwrap(), Template::parse("/café/a b").unwrap());
    }

    #[test]
    fn what_is_no_template_says_why() {
        for (text, flaw) in [
            ("api", Flaw::NotRooted),
            ("", Flaw::NotRooted),
            ("/a?b=1", Flaw::NotAPath),
            ("//", Flaw::Ambiguous(Ambiguity::EmptySegment)),
            ("/a//b", Flaw::Ambiguous(Ambiguity::EmptySegment)),
            ("/a//", Flaw::Ambiguous(Ambiguity::EmptySegment)),
            ("/a/../b", Flaw::Ambiguous(Ambiguity::DotSegment)),
            ("/a%2fb", Flaw::Ambiguous(Ambiguity::EncodedSlash)),
            ("/{a", Flaw::Braces),
            ("/a}", Flaw::Braces),
            ("/{{a}}", Flaw::Braces),
            ("/{}", Flaw::Name),
            ("/{*}", Flaw::Name),
            ("/{a b}", Flaw::Name),
            ("/{a}-{b}", Flaw::TwoInOne),
            ("/{x:path}/b", Flaw::RestNotLast),
            ("/{x:path}/", Flaw::RestNotLast),
            ("/a{x:path}", Flaw::RestNotLast),
            ("/{id}/x/{id}", Flaw::Twice("id".into())),
        ] {
            assert_eq!(Template::parse(text), Err(flaw), "{text}");
        }
        let many: String = (0..17).map(|n| format!("/{{p{n}}}")).collect();
        assert_eq!(Template::parse(&many), Err(Flaw::TooMany));
    }
}
