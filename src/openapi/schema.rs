//! What a body shows, by its schema: objects, where they stand, and what their fields are called.
//!
//! Invariant: work is bounded in depth and in number of schemas, so references that go round end; `is_cut` says that there
//! was more. It refuses to know which objects matter.

use serde_json::Value;

use crate::openapi::document::Document;

/// Deepest property that is looked at.
const MAX_DEPTH: usize = 6;
/// Most schemas that are looked at for one body.
const MAX_SCHEMAS: usize = 400;
/// Most alternatives of `anyOf` and the like.
const MAX_ALTERNATIVES: usize = 16;

/// Fields of a page of a list.
const PAGES: [&str; 16] = [
    "total",
    "count",
    "page",
    "pages",
    "size",
    "limit",
    "offset",
    "next",
    "previous",
    "cursor",
    "next_cursor",
    "nextCursor",
    "has_more",
    "hasMore",
    "meta",
    "pagination",
];

/// What a body shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown<'d> {
    /// Every object in it, outermost first.
    pub(crate) objects: Vec<Object<'d>>,
    /// Whether there was more than is looked at.
    pub(crate) is_cut: bool,
    /// Whether the body as a whole is a list.
    pub(crate) is_array: bool,
}

/// An object of a body.
#[derive(Clone, Debug)]
pub(crate) struct Object<'d> {
    /// The name of its schema.
    pub(crate) name: Option<&'d str>,
    /// A JSONPath; `None`: no simple one leads there.
    pub(crate) path: Option<String>,
    /// Whether it is one of a list.
    pub(crate) is_member: bool,
    /// Its fields.
    pub(crate) fields: Vec<(&'d str, &'d Value)>,
}

impl<'d> Shown<'d> {
    /// What a schema shows.
    pub(crate) fn of(schema: Option<&'d Value>, document: &'d Document) -> Self {
        let mut walk = Walk { document, shown: Self::default(), left: MAX_SCHEMAS, names: Vec::new() };
        if let Some(schema) = schema {
            walk.visit(schema, Some("$".to_owned()), false, 0);
        }
        walk.shown
    }

    /// Whether the schema says anything.
    pub(crate) fn is_known(&self) -> bool {
        !self.objects.is_empty()
    }

    /// The object that the body is, or that an envelope of one thing holds.
    pub(crate) fn root(&self) -> Option<&Object<'d>> {
        let root = self.objects.first().filter(|object| object.path.as_deref() == Some("$"))?;
        let inner = self.objects.iter().find(|object| {
            object
                .path
                .as_deref()
                .is_some_and(|path| ["$.data", "$.result", "$.item", "$.payload"].contains(&path))
        });
        Some(inner.filter(|_| root.fields.len() <= 4).unwrap_or(root))
    }

    /// Whether the body is a list, of what is called by many names or by one: a cart holds items, and is none.
    pub(crate) fn is_list(&self, is_plural: bool) -> bool {
        let pages = || {
            let root = self.objects.first().map(|root| root.fields.as_slice()).unwrap_or_default();
            root.iter().filter(|(name, _)| PAGES.contains(name) && *name != "total").count()
        };
        self.is_array || self.list().is_some() && (is_plural || pages() > 0)
    }

    /// What the body is a list of: an array, or `items`, `data`, `results` of a page.
    pub(crate) fn list(&self) -> Option<&Object<'d>> {
        let members = || self.objects.iter().filter(|object| object.is_member);
        if self.is_array {
            return members().find(|object| object.path.as_deref() == Some("$[*]"));
        }
        let root = self.objects.first()?;
        let of = |field: &str| format!("$.{field}[*]");
        let named = [
            "items", "data", "results", "rows", "records", "entries", "content", "list", "hits", "values",
            "edges",
        ];
        if let Some(found) =
            named.iter().find_map(|field| members().find(|object| object.path.as_deref() == Some(&of(field))))
        {
            return Some(found);
        }
        let is_page = root.fields.iter().any(|(name, _)| PAGES.contains(name)) || root.fields.len() == 1;
        members().find(|object| {
            is_page && object.path.as_deref().is_some_and(|path| path.matches('.').count() == 1)
        })
    }
}

struct Walk<'d> {
    document: &'d Document,
    shown: Shown<'d>,
    left: usize,
    /// The schemas that are being looked at, by name.
    names: Vec<&'d str>,
}

/// A schema without its references and combinations.
#[derive(Default)]
struct Plain<'d> {
    name: Option<&'d str>,
    fields: Vec<(&'d str, &'d Value)>,
    items: Vec<&'d Value>,
    others: Vec<&'d Value>,
    alternatives: Vec<&'d Value>,
}

impl<'d> Walk<'d> {
    fn visit(&mut self, schema: &'d Value, path: Option<String>, is_member: bool, depth: usize) {
        if self.left == 0 || depth > MAX_DEPTH {
            self.shown.is_cut = true;
            return;
        }
        self.left -= 1;
        let mut plain = Plain::default();
        self.flatten(schema, &mut plain, 0);
        let at_root = path.as_deref() == Some("$");
        self.shown.is_array |= at_root && !plain.items.is_empty();
        if let Some(name) = plain.name {
            if self.names.iter().filter(|other| **other == name).count() > 1 {
                self.shown.is_cut = true;
                return;
            }
            self.names.push(name);
        }
        if !plain.fields.is_empty() {
            let fields = plain.fields.clone();
            self.shown.objects.push(Object { name: plain.name, path: path.clone(), is_member, fields });
        }
        let below = |step: &str| path.as_ref().map(|path| format!("{path}{step}"));
        for items in plain.items.into_iter().chain(plain.others) {
            self.visit(items, below("[*]"), true, depth + 1);
        }
        for (name, field) in plain.fields {
            let path = below(&format!(".{name}")).filter(|_| is_name(name));
            self.visit(field, path, false, depth + 1);
        }
        for alternative in plain.alternatives {
            self.visit(alternative, path.clone(), is_member, depth + 1);
        }
        if plain.name.is_some() {
            self.names.pop();
        }
    }

    /// Follows references, and adds up `allOf`.
    fn flatten(&mut self, schema: &'d Value, plain: &mut Plain<'d>, depth: usize) {
        if self.left == 0 || depth > MAX_DEPTH {
            self.shown.is_cut = true;
            return;
        }
        let (name, schema) = self.document.named(schema);
        let title = || schema["title"].as_str().filter(|_| schema.get("properties").is_some());
        plain.name = plain.name.or(name).or_else(title);
        let fields = schema["properties"].as_object().into_iter().flatten();
        plain.fields.extend(fields.map(|(name, schema)| (name.as_str(), schema)));
        plain.items.extend(schema.get("items").filter(|items| items.is_object()));
        plain.others.extend(schema.get("additionalProperties").filter(|others| others.is_object()));
        for member in schema["allOf"].as_array().into_iter().flatten().take(MAX_ALTERNATIVES) {
            self.left = self.left.saturating_sub(1);
            self.flatten(member, plain, depth + 1);
        }
        let choices = ["anyOf", "oneOf"].into_iter().filter_map(|key| schema[key].as_array()).flatten();
        plain.alternatives.extend(choices.take(MAX_ALTERNATIVES).filter(|choice| choice["type"] != "null"));
    }
}

/// Whether a JSONPath and a word of the file can hold it as it is.
fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    name.len() <= 64
        && chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The words of an enumeration, lower case.
pub(crate) fn words_of(schema: &Value, document: &Document) -> Vec<String> {
    let schema = document.resolve(schema);
    let choices = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|key| schema[key].as_array()).flatten();
    let all =
        std::iter::once(schema).chain(choices.take(MAX_ALTERNATIVES).map(|choice| document.resolve(choice)));
    let words = all.filter_map(|schema| schema["enum"].as_array()).flatten().filter_map(Value::as_str);
    words.take(100).map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r##"{"openapi": "3.1.0", "paths": {"/a": {}}, "components": {"schemas": {
        "User": {"type": "object", "properties": {"id": {"type": "integer"}}},
        "Base": {"properties": {"id": {}}},
        "Project": {"allOf": [{"$ref": "#/components/schemas/Base"}, {"properties": {
            "owner": {"anyOf": [{"$ref": "#/components/schemas/User"}, {"type": "null"}]},
            "odd name": {"$ref": "#/components/schemas/User"}}}]},
        "Page": {"properties": {"items": {"items": {"$ref": "#/components/schemas/Project"}}, "total": {}}},
        "Comment": {"properties": {"id": {}, "replies": {"items": {"$ref": "#/components/schemas/Comment"}}}}
    }}}"##;

    fn paths(name: &str) -> (Vec<String>, bool) {
        let document = Document::parse(DOCUMENT).unwrap();
        let schema = serde_json::json!({ "$ref": format!("#/components/schemas/{name}") });
        let shown = Shown::of(Some(&schema), &document);
        let told = |object: &Object<'_>| {
            format!("{} {}", object.name.unwrap_or("-"), object.path.as_deref().unwrap_or("-"))
        };
        (shown.objects.iter().map(told).collect(), shown.is_cut)
    }

    #[test]
    fn every_object_is_found_where_it_stands() {
        let (found, is_cut) = paths("Page");
        let wanted = ["Page $", "Project $.items[*]", "User $.items[*].owner", "User -"];
        assert_eq!((found.iter().map(String::as_str).collect::<Vec<_>>(), is_cut), (wanted.to_vec(), false));
    }

    #[test]
    fn what_holds_itself_ends_and_says_so() {
        let (found, is_cut) = paths("Comment");
        assert_eq!(found, ["Comment $", "Comment $.replies[*]"]);
        assert!(is_cut);
    }
}
