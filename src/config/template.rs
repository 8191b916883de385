//! A route's template as it is written: `/api/projects/{id}`, `/files/{path:path}`, `/files/{*path}`.
//!
//! Only what can be said of one template, or of two that read alike; which of several routes wins is the router's
//! business. Invariant: Starlette's convertors other than `path` are gone (`{id:int}` is `{id}`).

use crate::config::shape::Refusal;

/// A template that is well formed.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    /// As it is handed on: the metrics label.
    pub(crate) text: String,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// One segment that begins and ends so.
    Parameter(String, String),
    /// The rest of the path, be it empty.
    CatchAll,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// No path, a query, a space, a method or a host in it, braces that do not pair, a name twice, text after a
    /// catch-all.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        if !text.starts_with('/') {
            return Err(Refusal::new(format!("the route `{text}` does not start with `/`"), no_path(text)));
        }
        if let Some(found) =
            text.chars().find(|c| matches!(c, '?' | '#') || c.is_whitespace() || c.is_control())
        {
            let hint = match found {
                '?' => "a template is the path alone; `key: {query: […]}` says which names count",
                _ => "a template is a path as it stands in a URL",
            };
            return Err(Refusal::new(format!("the route `{text}` holds `{}`", found.escape_default()), hint));
        }
        if text.contains("//") {
            return Err(Refusal::new(format!("the route `{text}` has an empty segment"), "write one `/`"));
        }
        let mut names = Vec::new();
        let parts =
            text[1..].split('/').map(|part| Part::parse(text, part)).collect::<Result<Vec<_>, _>>()?;
        for (at, part) in parts.iter().enumerate() {
            let Some(name) = &part.name else { continue };
            if names.contains(&name) {
                return Err(Refusal::new(
                    format!("the route `{text}` names `{name}` twice"),
                    "rename one of them",
                ));
            }
            if part.segment == Segment::CatchAll && at + 1 < parts.len() {
                let hint = "a catch-all takes the whole rest of the path";
                return Err(Refusal::new(
                    format!("in the route `{text}` something follows a catch-all"),
                    hint,
                ));
            }
            names.push(name);
        }
        let text = parts.iter().map(|part| format!("/{}", part.text)).collect();
        let mut segments: Vec<_> = parts.into_iter().map(|part| part.segment).collect();
        // with and without one trailing slash is the same route
        segments.pop_if(|last| *last == Segment::Literal(String::new()));
        Ok(Self { text, segments })
    }

    /// Whether the two match the same paths.
    pub(crate) fn is_same_shape(&self, other: &Self) -> bool {
        self.segments == other.segments
    }

    /// How well a path matches: smaller is better, segment by segment from the left; `None`: not at all.
    pub(crate) fn rank(&self, path: &str) -> Option<Vec<u8>> {
        let path = path.strip_prefix('/')?;
        let mut parts = path.strip_suffix('/').unwrap_or(path).split('/').filter(|_| !path.is_empty());
        let mut rank = Vec::with_capacity(self.segments.len());
        for segment in &self.segments {
            if *segment == Segment::CatchAll {
                rank.push(2);
                return Some(rank);
            }
            let part = parts.next()?;
            rank.push(match segment {
                Segment::Literal(text) if text == part => 0,
                Segment::Parameter(before, after) => {
                    part.strip_prefix(before.as_str())?
                        .strip_suffix(after.as_str())
                        .filter(|v| !v.is_empty())?;
                    1
                }
                Segment::Literal(_) | Segment::CatchAll => return None,
            });
        }
        parts.next().is_none().then_some(rank)
    }
}

/// One segment while it is read.
struct Part {
    text: String,
    name: Option<String>,
    segment: Segment,
}

impl Part {
    fn parse(whole: &str, part: &str) -> Result<Self, Refusal> {
        let refuse = |why: &str, hint: &str| Err(Refusal::new(format!("the route `{whole}` {why}"), hint));
        let Some((before, rest)) = part.split_once('{') else {
            if part.contains('}') {
                return refuse("closes a brace that it did not open", "write {name}");
            }
            let segment = Segment::Literal(part.to_owned());
            return Ok(Self { text: part.to_owned(), name: None, segment });
        };
        let Some((inner, after)) = rest.split_once('}') else {
            return refuse("opens a brace that it does not close", "write {name}");
        };
        if before.contains('}') || after.contains(['{', '}']) {
            return refuse("has more than one parameter in a segment", "one {name} between two slashes");
        }
        let (name, convertor) = match inner.strip_prefix('*') {
            Some(name) => (name, Some("*")),
            None => inner.split_once(':').map_or((inner, None), |(name, convertor)| (name, Some(convertor))),
        };
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        if !name.starts_with(first) || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return refuse(
                &format!("names a parameter `{name}`"),
                "letters, digits and `_`, e.g. {project_id}",
            );
        }
        let (text, segment) = match convertor {
            None | Some("int" | "str" | "float" | "uuid") => (
                format!("{before}{{{name}}}{after}"),
                Segment::Parameter(before.to_owned(), after.to_owned()),
            ),
            Some("path" | "*") if !before.is_empty() || !after.is_empty() => {
                return refuse("has text beside a catch-all", "a catch-all is a segment of its own");
            }
            Some("path" | "*") => (part.to_owned(), Segment::CatchAll),
            Some(other) => {
                let hint = "write {name}, or {name:path} for the rest of the path";
                return refuse(&format!("has an unknown convertor `{other}`"), hint);
            }
        };
        Ok(Self { text, name: Some(name.to_owned()), segment })
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
            ("/{a-b}", "letters"),
            ("/{1a}", "letters"),
            ("/{a}{b}", "one {name}"),
            ("/{a}/{a}", "rename"),
            ("/{a:regex}", "write {name}"),
            ("/{p:path}/x", "a catch-all takes"),
            ("/x{p:path}", "a catch-all is"),
        ] {
            let refusal = Template::parse(text).expect_err(text);
            assert!(refusal.hint.starts_with(hint), "{text}: {}", refusal.hint);
        }
    }

    #[test]
    fn names_do_not_tell_templates_apart() {
        for (one, two) in
            [("/a/{x}", "/a/{y}"), ("/a/{x:int}", "/a/{y}"), ("/a", "/a/"), ("/{*a}", "/{b:path}")]
        {
            assert!(template(one).is_same_shape(&template(two)), "{one} {two}");
        }
        for (one, two) in [("/a/{x}", "/a/b"), ("/a/{x}", "/a/{x:path}"), ("/a-{x}", "/{x}"), ("/a", "/A")] {
            assert!(!template(one).is_same_shape(&template(two)), "{one} {two}");
        }
    }

    #[test]
    fn a_literal_outranks_a_parameter_and_that_a_catch_all() {
        let ranks = ["/a/b", "/a/{x}", "/a/{x:path}"].map(|text| template(text).rank("/a/b"));
        assert!(ranks.is_sorted() && ranks.iter().all(Option::is_some));
        assert!(template("/a/{x:path}").rank("/a").is_some(), "a catch-all matches the empty rest");
        assert!(template("/a/").rank("/a").is_some());
        assert!(template("/").rank("/").is_some());
        for (text, path) in [("/a/{x}", "/a"), ("/a", "/a/b"), ("/a/{x}", "/a/b/c"), ("/r-{x}", "/r-")] {
            assert!(template(text).rank(path).is_none(), "{text} {path}");
        }
    }
}
