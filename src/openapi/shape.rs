//! What a path is made of: literals, and the things that its parameters choose.
//!
//! ```text
//! /api/v1/projects/{project_id}/tasks/{task_id}/archive
//!         └──── node ────────┘ └── node ─────┘ └ tail
//! ```
//! Invariant: every path here is one that a rule of Larder can name and its file can hold. It refuses to know operations.

use crate::openapi::noun;
use crate::openapi::words;
use crate::route::pattern::{Segment, Template};
use crate::route::reach::ItemTemplate;

/// Longest path that is read.
const MAX_LENGTH: usize = 512;

/// A path, read.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// As Larder's file has it.
    pub(crate) text: String,
    pub(crate) template: Template,
    /// What is chosen on the way, outermost first.
    pub(crate) nodes: Vec<Node>,
    /// The literals after the last parameter, lower case with hyphens.
    pub(crate) tail: Vec<String>,
    /// Every literal, likewise.
    pub(crate) literals: Vec<String>,
}

/// A literal with the parameters behind it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// What it chooses one of.
    pub(crate) noun: String,
    /// The literal, lower case with hyphens.
    pub(crate) word: String,
    /// The parameters, as they are written.
    pub(crate) params: Vec<String>,
    /// Whether it is chosen by something else than its own key: `/users/by-name/{name}`.
    pub(crate) by_other: bool,
}

impl Shape {
    /// Reads a path.
    ///
    /// # Errors
    /// Why no rule can name it.
    pub(crate) fn of(path: &str) -> Result<Self, String> {
        let is_usable = |c: char| c.is_alphanumeric() || "-._~@+:=!()%/{}*".contains(c);
        if path.len() > MAX_LENGTH {
            return Err("its path is too long for a rule".to_owned());
        }
        if !path.chars().all(is_usable) {
            return Err("its path has a character that no rule is made for".to_owned());
        }
        let mut text = path.to_owned();
        let mut template = Template::parse(&text).map_err(|flaw| flaw.to_string())?;
        if template.names().any(|name| name.contains('.')) || has_convertor(path) {
            return Err("a parameter has a name that no rule can hold".to_owned());
        }
        if let Some(Segment::Parameter { before, name, after }) = template.segments.last()
            && (before.is_empty() && after.is_empty() && !text.ends_with('/') && words::is_rest(name))
        {
            text.truncate(text.len() - name.len() - 2);
            text.push_str(&format!("{{{name}:path}}"));
            template = Template::parse(&text).map_err(|flaw| flaw.to_string())?;
        }
        ItemTemplate::parse(&text).map_err(|flaw| flaw.to_string())?;
        let mut shape = Self { text, template, nodes: Vec::new(), tail: Vec::new(), literals: Vec::new() };
        shape.read();
        Ok(shape)
    }

    fn read(&mut self) {
        let mut before: Vec<String> = Vec::new();
        let mut is_open = false;
        for segment in &self.template.segments {
            match segment {
                Segment::Literal(text) => {
                    is_open = false;
                    before.push(noun::slug(text));
                    self.literals.push(noun::slug(text));
                }
                Segment::Parameter { name, .. } => {
                    if let (true, Some(node)) = (is_open, self.nodes.last_mut()) {
                        node.params.push(name.clone());
                        continue;
                    }
                    let node = node(&before, name, self.nodes.last());
                    self.nodes.push(node);
                    before.clear();
                    is_open = true;
                }
            }
        }
        self.tail = before;
    }

    /// The literals of the tail without what merely leads there.
    pub(crate) fn last(&self) -> Option<&str> {
        self.tail.last().map(String::as_str)
    }

    /// Whether everything below the other lies below this.
    pub(crate) fn is_below(&self, other: &Self) -> bool {
        let (own, others) = (&self.template.segments, &other.template.segments);
        own.len() > others.len()
            && own.iter().zip(others).all(|(one, other)| match (one, other) {
                (Segment::Literal(one), Segment::Literal(other)) => one == other,
                (Segment::Parameter { .. }, Segment::Parameter { .. }) => true,
                _ => false,
            })
    }
}

/// `{id:int}`: no document of OpenAPI says that, and an unknown one is no template.
fn has_convertor(path: &str) -> bool {
    path.split('{')
        .skip(1)
        .any(|part| part.split('}').next().is_some_and(|name| name.contains(':') && !name.ends_with(":path")))
}

fn node(before: &[String], param: &str, outer: Option<&Node>) -> Node {
    let selects = |word: &String| {
        word.starts_with("by-")
            || words::SELECTOR.contains(&word.as_str())
            || words::SEARCH.contains(&word.as_str())
    };
    let params = vec![param.to_owned()];
    match before {
        [.., owner, word] if selects(word) => {
            Node { noun: noun::singular(owner), word: owner.clone(), params, by_other: true }
        }
        [word] if selects(word) && outer.is_some() => {
            let (noun, word) =
                outer.map(|outer| (outer.noun.clone(), outer.word.clone())).unwrap_or_default();
            Node { noun, word, params, by_other: true }
        }
        [.., word] if !word.is_empty() => {
            Node { noun: noun::singular(word), word: word.clone(), params, by_other: false }
        }
        _ => Node { noun: of_param(param), word: String::new(), params, by_other: false },
    }
}

/// `project` of `project_id`.
pub(crate) fn of_param(name: &str) -> String {
    let mut tokens = noun::tokens(name);
    if tokens.len() > 1
        && tokens.last().is_some_and(|last| {
            ["id", "uuid", "uid", "pk", "slug", "key", "code", "name"].contains(&last.as_str())
        })
    {
        tokens.pop();
    }
    noun::singular(&tokens.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(path: &str) -> Vec<(String, usize, bool)> {
        Shape::of(path)
            .unwrap()
            .nodes
            .into_iter()
            .map(|node| (node.noun, node.params.len(), node.by_other))
            .collect()
    }

    #[test]
    fn a_path_is_read_in_what_it_chooses() {
        let shape = Shape::of("/api/v1/projects/{project_id}/tasks/{task_id}/archive").unwrap();
        assert_eq!(
            shape.nodes.iter().map(|node| node.noun.as_str()).collect::<Vec<_>>(),
            ["project", "task"]
        );
        assert_eq!(shape.tail, ["archive"]);
        assert_eq!(nodes("/cells/{row}/{column}"), [("cell".into(), 2, false)]);
        assert_eq!(nodes("/users/by-name/{name}"), [("user".into(), 1, true)]);
        assert_eq!(nodes("/{tenant_id}/users"), [("tenant".into(), 1, false)]);
    }

    #[test]
    fn the_rest_of_a_path_is_a_catch_all_again() {
        assert_eq!(Shape::of("/files/{file_path}").unwrap().text, "/files/{file_path:path}");
        assert_eq!(Shape::of("/files/{path}/meta").unwrap().text, "/files/{path}/meta");
    }

    #[test]
    fn what_no_rule_can_name_is_refused() {
        for path in [
            "",
            "a",
            "/a b",
            "/a\"b",
            "/a\nb",
            "/{a}-{b}",
            "/$metadata",
            "/a//b",
            "/{x:regex}",
            "/{a b}",
            "/a#b",
            "/{a.b}",
        ] {
            assert!(Shape::of(path).is_err(), "{path}");
        }
        assert!(Shape::of("/straße/{größe}").is_err() && Shape::of("/straße/{id}").is_ok());
    }

    #[test]
    fn one_path_lies_below_another_whatever_its_parameters_are_called() {
        let shape = |path: &str| Shape::of(path).unwrap();
        assert!(shape("/a/{x}/b").is_below(&shape("/a/{y}")) && !shape("/a/{x}").is_below(&shape("/a/{y}")));
    }
}
