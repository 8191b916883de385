//! A route's template as it is written in the file, and what to write instead of one that is none.
//!
//! Invariant: what passes, the router takes; convertors other than `path` are gone (`{id:int}` is `{id}`). What a
//! template matches is the router's business.

use crate::config::shape::Refusal;
use crate::route::path::Ambiguity;
use crate::route::pattern::{self, Flaw};

/// Starlette's convertors. Any other is taken for a slip: a backend's own may be left out here.
const CONVERTORS: [&str; 5] = ["int", "str", "float", "uuid", "path"];

/// A template that is well formed.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    /// As it is handed on: the metrics label.
    pub(crate) text: String,
    shape: pattern::Template,
}

impl Template {
    /// Reads the template of a route.
    ///
    /// # Errors
    /// White space, a method or a host in it, an unknown convertor, or any [`Flaw`].
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        Self::of("the route", text)
    }

    /// Reads the template of `what`, in words.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub(crate) fn of(what: &str, text: &str) -> Result<Self, Refusal> {
        if !text.starts_with('/') {
            return Err(Refusal::new(format!("{what} `{text}` does not start with `/`"), no_path(text)));
        }
        let is_out_of_place = |c: char| matches!(c, '?' | '#') || c.is_whitespace() || c.is_control();
        if let Some(found) = text.chars().find(|c| is_out_of_place(*c)) {
            let hint = match found {
                '?' => "a template is the path alone; `key: {query: […]}` says which names count",
                _ => "a template is a path as it stands in a URL",
            };
            return Err(Refusal::new(format!("{what} `{text}` holds `{}`", found.escape_default()), hint));
        }
        let shape = pattern::Template::parse(text)
            .map_err(|flaw| Refusal::new(format!("{what} `{text}`: {flaw}"), hint(&flaw)))?;
        if let Some(name) = shape.names().find(|name| name.contains('.')) {
            let message = format!("{what} `{text}`: a path has no `{{{name}}}`");
            return Err(Refusal::new(message, hint(&Flaw::Name)));
        }
        Ok(Self { text: plain(what, text)?, shape })
    }

    /// Its parts.
    pub(crate) fn shape(&self) -> &pattern::Template {
        &self.shape
    }

    /// Whether the two match the same paths.
    pub(crate) fn is_same_shape(&self, other: &Self) -> bool {
        self.shape.is_same_shape(&other.shape)
    }
}

/// The text without the convertors that tell nothing apart. Its braces are known to match.
fn plain(what: &str, text: &str) -> Result<String, Refusal> {
    let mut plain = String::with_capacity(text.len());
    for piece in text.split_inclusive('}') {
        let parameter = piece.find('{').map(|begin| &piece[begin..piece.len() - 1]);
        match parameter.and_then(|parameter| parameter.split_once(':')) {
            Some((_, convertor)) if !CONVERTORS.contains(&convertor) => {
                let message = format!("{what} `{text}` has an unknown convertor `{convertor}`");
                return Err(Refusal::new(message, "write {name}, or {name:path} for the rest of the path"));
            }
            Some((_, convertor)) if convertor != "path" => {
                plain.push_str(&piece[..piece.len() - ":}".len() - convertor.len()]);
                plain.push('}');
            }
            _ => plain.push_str(piece),
        }
    }
    Ok(plain)
}

fn hint(flaw: &Flaw) -> &'static str {
    match flaw {
        Flaw::Ambiguous(Ambiguity::EmptySegment) => "write one `/`",
        Flaw::NotRooted | Flaw::NotAPath | Flaw::Ambiguous(_) => "a template is a path as it stands in a URL",
        Flaw::Braces => "write {name}",
        Flaw::Name => "letters, digits, `_` and `-`, e.g. {project_id}",
        Flaw::TwoInOne => "one {name} between two slashes",
        Flaw::RestNotLast => "a catch-all takes the whole rest of the path",
        Flaw::Twice(_) => "rename one of them",
        Flaw::TooMany => "end the template with {rest:path}",
    }
}

fn no_path(text: &str) -> String {
    if let Some((method, path)) = text.split_once(' ')
        && method.bytes().all(|b| b.is_ascii_uppercase() || b == b'|')
    {
        return format!("write {}: a route is a path, for GET and HEAD", path.trim());
    }
    if let Some((_, rest)) = text.split_once("://") {
        let path = rest.find('/').map_or("/", |at| &rest[at..]);
        return format!("write {path}: the host does not choose the rule");
    }
    format!("write /{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        Template::parse(text).unwrap()
    }

    #[test]
    fn templates_of_fastapi_are_read() {
        for (written, kept) in [
            ("/", "/"),
            ("/api/projects", "/api/projects"),
            ("/api/projects/", "/api/projects/"),
            ("/api/projects/{id}", "/api/projects/{id}"),
            ("/api/{a:int}/{b:uuid}/{c:str}/{d:float}", "/api/{a}/{b}/{c}/{d}"),
            ("/files/{path:path}", "/files/{path:path}"),
            ("/files/{*path}", "/files/{*path}"),
            ("/report-{id}.pdf", "/report-{id}.pdf"),
            ("/{project-id}", "/{project-id}"),
            ("/at:12/{x}/{y:int}:go", "/at:12/{x}/{y}:go"),
        ] {
            assert_eq!(template(written).text, kept);
        }
    }

    #[test]
    fn what_is_no_template_is_refused_with_what_to_write() {
        for (text, hint) in [
            ("api/x", "write /api/x"),
            ("GET /api/x", "write /api/x:"),
            ("https://a.b/api/x", "write /api/x:"),
            ("", "write /"),
            ("*", "write /*"),
            ("/a?x=1", "a template is the path alone"),
            ("/a b", "a template is a path"),
            ("/a#b", "a template is a path"),
            ("/a//b", "write one"),
            ("/{id", "write {name}"),
            ("/id}", "write {name}"),
            ("/{}", "letters"),
            ("/{body.id}", "letters"),
            ("/a%2Fb", "a template is a path"),
            ("/../a", "a template is a path"),
            ("/{a}{b}", "one {name}"),
            ("/{a}/{a}", "rename"),
            ("/{a:regex}", "write {name}"),
            ("/{p:path}/x", "a catch-all takes"),
            ("/x{p:path}", "a catch-all takes"),
        ] {
            let refusal = Template::parse(text).expect_err(text);
            assert!(refusal.hint.starts_with(hint), "{text}: {}", refusal.hint);
        }
    }

    #[test]
    fn names_do_not_tell_templates_apart() {
        for (one, two) in [
            ("/a/{x}", "/a/{y}"),
            ("/a/{x:int}", "/a/{y}"),
            ("/a", "/a/"),
            ("/{*a}", "/{b:path}"),
            ("/%61", "/a"),
        ] {
            assert!(template(one).is_same_shape(&template(two)), "{one} {two}");
        }
        for (one, two) in [("/a/{x}", "/a/b"), ("/a/{x}", "/a/{x:path}"), ("/a-{x}", "/{x}"), ("/a", "/A")] {
            assert!(!template(one).is_same_shape(&template(two)), "{one} {two}");
        }
    }
}
