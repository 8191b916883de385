//! The things that an application keeps: named by the paths that choose one of them, known again in schemas.
//!
//! Invariant: an entity is a noun. Two collections of the same noun (`/users` and `/admin/users`) are one entity, so that a write
//! to either counts for both.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;

use crate::openapi::class::is_special;
use crate::openapi::document::Document;
use crate::openapi::noun;
use crate::openapi::operation::Resource;
use crate::openapi::schema::{Object, Shown};
use crate::openapi::shape::{Node, Shape, of_param};
use crate::openapi::words;
use crate::route::pattern::Segment;

/// Its number.
pub(crate) type Id = usize;

/// One thing that is kept.
#[derive(Clone, Debug)]
pub(crate) struct Entity {
    /// What its tags begin with.
    pub(crate) noun: String,
    /// The tag of what lists it.
    pub(crate) plural: String,
    /// The parameter by which it is chosen, less its noun: `id`, `slug`.
    key: String,
    /// Whether anything writes it.
    pub(crate) is_written: bool,
    /// Whether one is made by a POST to its collection.
    pub(crate) is_made: bool,
    /// What lies below it, by its path or by a reference to it.
    pub(crate) children: BTreeSet<Id>,
    /// What shows it as a part of itself.
    pub(crate) holders: BTreeSet<Id>,
    /// Those of them that lie below it by their path.
    pub(crate) nested: BTreeSet<Id>,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entities {
    all: Vec<Entity>,
    by_noun: BTreeMap<String, Id>,
    /// Names of schemas that stand for one, where their own noun does not say so.
    aliases: BTreeMap<String, Id>,
    /// The literals before a collection and its own, by entity: `api/projects`, parameters as `{}`.
    collections: BTreeMap<String, Id>,
    /// By field, what was found for it: the same ones stand in one schema after the other.
    counted: RefCell<HashMap<String, Vec<Id>>>,
}

/// What was looked at for what it refers to. Schemas refer to one another, so that each operation shows much the same.
#[derive(Default)]
struct Seen<'d> {
    /// By name, and where it stands in the document.
    schemas: HashSet<(Option<&'d str>, *const Value)>,
    /// By name, and where the schemas of its fields stand.
    objects: HashSet<(Option<&'d str>, Vec<*const Value>)>,
}

impl Entities {
    /// Finds them.
    pub(crate) fn of<'d>(resources: &[Resource<'d>], document: &'d Document) -> Self {
        let mut entities = Self::default();
        for resource in resources {
            entities.chosen(&resource.shape);
        }
        for resource in resources {
            entities.collected(resource, document);
        }
        for resource in resources {
            entities.keyed(&resource.shape);
            entities.aliased(resource, document);
        }
        let mut seen = Seen::default();
        for resource in resources {
            entities.related(resource, document, &mut seen);
        }
        entities
    }

    pub(crate) fn get(&self, id: Id) -> &Entity {
        &self.all[id]
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = Id> {
        0..self.all.len()
    }

    /// By the noun of a path.
    pub(crate) fn named(&self, noun: &str) -> Option<Id> {
        self.by_noun.get(noun).copied()
    }

    /// What a node chooses.
    pub(crate) fn of_node(&self, node: &Node) -> Option<Id> {
        self.named(&node.noun)
    }

    /// What the path is a collection of.
    pub(crate) fn collection(&self, shape: &Shape) -> Option<Id> {
        self.collections.get(&collection(shape, shape.tail.len())?).copied()
    }

    /// What the path is a collection of, if its last literal is left out.
    pub(crate) fn collection_before(&self, shape: &Shape) -> Option<Id> {
        self.collections.get(&collection(shape, shape.tail.len().checked_sub(1)?)?).copied()
    }

    /// What a schema shows one of.
    pub(crate) fn of_schema(&self, name: &str) -> Option<Id> {
        let nouns = noun::of_schema(name);
        nouns.iter().find_map(|noun| self.by_noun.get(noun)).or_else(|| self.aliases.get(name)).copied()
    }

    /// What an object shows one of.
    pub(crate) fn of_object(&self, object: &Object<'_>) -> Option<Id> {
        self.of_schema(object.name?)
    }

    /// The field of an object in which the key of an entity stands.
    pub(crate) fn key_in<'d>(&self, id: Id, object: &Object<'d>) -> Option<&'d str> {
        let Entity { noun, key, .. } = self.get(id);
        let wanted: Vec<String> = match key.as_str() {
            "id" => vec![
                "id".into(),
                format!("{noun}-id"),
                "uuid".into(),
                "uid".into(),
                "pk".into(),
                format!("{noun}-uuid"),
            ],
            key => vec![key.to_owned(), format!("{noun}-{key}")],
        };
        let found = wanted
            .iter()
            .find_map(|wanted| object.fields.iter().find(|(name, _)| noun::slug(name) == *wanted));
        found
            .map(|(name, _)| *name)
            .filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
    }

    /// Whether a node chooses by the key that everything else goes by.
    pub(crate) fn is_key(&self, id: Id, node: &Node) -> bool {
        !node.by_other && (node.params.len() > 1 || key(node) == self.get(id).key)
    }

    /// Whether it is chosen by a key without a meaning.
    pub(crate) fn has_id(&self, id: Id) -> bool {
        self.get(id).key == "id"
    }

    /// An entity, and all that lies below it, however deep.
    pub(crate) fn family(&self, id: Id) -> BTreeSet<Id> {
        let (mut family, mut next) = (BTreeSet::from([id]), vec![id]);
        while let Some(one) = next.pop() {
            next.extend(self.get(one).children.iter().copied().filter(|child| family.insert(*child)));
        }
        family
    }

    /// The entities that words of a field speak of: `task_count`, `open_tasks`.
    pub(crate) fn counted(&self, field: &str) -> Vec<Id> {
        if let Some(known) = self.counted.borrow().get(field) {
            return known.clone();
        }
        let found = self.spoken_of(field);
        self.counted.borrow_mut().insert(field.to_owned(), found.clone());
        found
    }

    fn spoken_of(&self, field: &str) -> Vec<Id> {
        let tokens = noun::tokens(field);
        let counts = |token: &String| {
            ["count", "counts", "total", "num", "number", "n", "sum"].contains(&token.as_str())
        };
        let is_count = tokens.iter().any(counts);
        let speaks = |(noun, plural): (&String, &String)| {
            let has = |name: &str| {
                let name: Vec<&str> = name.split('-').collect();
                tokens
                    .windows(name.len())
                    .any(|window| window.iter().map(String::as_str).eq(name.iter().copied()))
            };
            let is_done = tokens.iter().any(|token| is_participle(token, noun));
            has(plural) && plural != noun || is_count && (has(noun) || has(plural)) || is_done
        };
        let all = self.all.iter().enumerate();
        all.filter(|(_, entity)| speaks((&entity.noun, &entity.plural))).map(|(id, _)| id).collect()
    }

    fn add(&mut self, noun: &str, word: &str) -> Id {
        if let Some(id) = self.by_noun.get(noun) {
            let plural = &mut self.all[*id].plural;
            if *plural == noun && word != noun {
                word.clone_into(plural);
            }
            return *id;
        }
        let plural =
            if word.is_empty() || word == "credential" { format!("{noun}s") } else { word.to_owned() };
        let entity = Entity {
            noun: noun.to_owned(),
            plural,
            key: String::new(),
            is_written: false,
            is_made: false,
            children: BTreeSet::new(),
            holders: BTreeSet::new(),
            nested: BTreeSet::new(),
        };
        self.all.push(entity);
        self.by_noun.insert(noun.to_owned(), self.all.len() - 1);
        self.all.len() - 1
    }

    /// What parameters choose.
    fn chosen(&mut self, shape: &Shape) {
        let mut path = String::new();
        let mut literals = shape.literals.iter();
        for segment in &shape.template.segments {
            match segment {
                Segment::Literal(_) => {
                    path.push('/');
                    path.push_str(literals.next().map_or("", String::as_str));
                }
                Segment::Parameter { name, .. } => {
                    let node = shape.nodes.iter().find(|node| node.params.first() == Some(name));
                    if let Some(node) = node.filter(|node| {
                        !node.word.is_empty() && !is_special(&node.word) && !node.noun.is_empty()
                    }) {
                        let id = self.add(&node.noun, &node.word);
                        if !node.by_other {
                            self.collections.insert(path.clone(), id);
                        }
                    }
                    path.push_str("/{}");
                }
            }
        }
    }

    /// What has no parameters, and is a collection all the same: it answers with a list, or takes new members.
    fn collected(&mut self, resource: &Resource<'_>, document: &Document) {
        let shape = &resource.shape;
        let Some(word) = shape.last().filter(|word| !is_special(word) && !word.is_empty()) else { return };
        let Some(path) = collection(shape, shape.tail.len()) else { return };
        let gives_list = resource.read.as_ref().is_some_and(|read| {
            let shown = Shown::of(read.gives, document);
            shown.is_list(noun::is_plural(word))
        });
        let takes_new = noun::is_plural(word)
            && !words::READING.contains(&word)
            && !words::BULK.contains(&word)
            && resource.writes.iter().any(|write| write.method == "POST");
        let is_named = noun::is_plural(word) && resource.read.is_some();
        if (gives_list || takes_new || is_named) && !self.collections.contains_key(&path) {
            let id = self.add(&noun::singular(word), word);
            self.collections.insert(path, id);
        }
    }

    fn keyed(&mut self, shape: &Shape) {
        for node in shape.nodes.iter().filter(|node| !node.by_other) {
            let Some(id) = self.of_node(node) else { continue };
            let key = key(node);
            let known = &mut self.all[id].key;
            if known.is_empty() || key == "id" {
                *known = key;
            }
        }
    }

    /// What the one that is chosen is shown as.
    fn aliased(&mut self, resource: &Resource<'_>, document: &Document) {
        let Some(read) = &resource.read else { return };
        let shown = Shown::of(read.gives, document);
        let (id, object) = match resource.shape.nodes.last() {
            Some(node) if resource.shape.tail.is_empty() => (self.of_node(node), shown.root()),
            _ => (self.collection(&resource.shape), shown.list()),
        };
        if let (Some(id), Some(name)) = (id, object.and_then(|object| object.name))
            && self.of_schema(name).is_none()
        {
            self.aliases.insert(name.to_owned(), id);
        }
    }

    fn related<'d>(&mut self, resource: &Resource<'d>, document: &'d Document, seen: &mut Seen<'d>) {
        let shape = &resource.shape;
        let mut line: Vec<Id> = shape.nodes.iter().filter_map(|node| self.of_node(node)).collect();
        line.extend(self.collection(shape).filter(|id| line.last() != Some(id) || !shape.tail.is_empty()));
        for pair in line.windows(2).filter(|pair| pair[0] != pair[1]) {
            self.all[pair[0]].children.insert(pair[1]);
            self.all[pair[0]].nested.insert(pair[1]);
        }
        let written = self.collection(shape).or_else(|| self.collection_before(shape));
        let written = written.or_else(|| shape.nodes.last().and_then(|node| self.of_node(node)));
        if let (Some(id), false) = (written, resource.writes.is_empty()) {
            self.all[id].is_written = true;
        }
        if let (Some(id), true) =
            (self.collection(shape), resource.writes.iter().any(|write| write.method == "POST"))
        {
            self.all[id].is_made = true;
        }
        for schema in resource.operations().flat_map(|operation| [operation.gives, operation.takes]) {
            if let Some(schema) = schema.filter(|schema| seen.schemas.insert(place(schema, document))) {
                self.referenced(schema, document, seen);
            }
        }
    }

    /// Whose `project_id` it is.
    fn referenced<'d>(&mut self, schema: &'d Value, document: &'d Document, seen: &mut Seen<'d>) {
        for object in Shown::of(Some(schema), document).objects {
            let fields = object.fields.iter().map(|(_, schema)| std::ptr::from_ref(*schema)).collect();
            if !seen.objects.insert((object.name, fields)) {
                continue;
            }
            let Some(child) = self.of_object(&object) else { continue };
            for (field, schema) in &object.fields {
                let noun = of_param(field);
                let parent = self
                    .named(&noun)
                    .or_else(|| self.person(&noun))
                    .filter(|_| noun != noun::singular(field));
                if let Some(parent) = parent.filter(|parent| *parent != child) {
                    self.all[parent].children.insert(child);
                }
                let within = Shown::of(Some(schema), document);
                let parts: Vec<Id> = within.objects.iter().filter_map(|part| self.of_object(part)).collect();
                for part in parts.into_iter().filter(|part| *part != child) {
                    self.all[part].holders.insert(child);
                }
            }
        }
    }

    /// Who is meant by `owner`, if nothing is called that itself.
    fn person(&self, noun: &str) -> Option<Id> {
        let is_one = words::PERSONS.contains(&noun);
        is_one
            .then(|| ["user", "account", "member", "person"].iter().find_map(|person| self.named(person)))
            .flatten()
    }
}

/// Which schema of the document it is.
fn place<'d>(schema: &'d Value, document: &'d Document) -> (Option<&'d str>, *const Value) {
    let (name, schema) = document.named(schema);
    (name, std::ptr::from_ref(schema))
}

/// Whether a word says that something was done of which the noun tells: `booked` of a booking, `enrolled` of an enrolment.
fn is_participle(word: &str, noun: &str) -> bool {
    let Some(word) = word.strip_suffix("ed").filter(|stem| stem.len() >= 4) else { return false };
    let ends = ["ing", "ment", "e"];
    let noun = ends.iter().find_map(|end| noun.strip_suffix(end)).unwrap_or(noun);
    noun.len() >= 4 && (word.starts_with(noun) || noun.starts_with(word))
}

/// The parameter without the noun: `id` of `{project_id}`.
fn key(node: &Node) -> String {
    let param = node.params.first().map(|param| noun::slug(param)).unwrap_or_default();
    let short = param.strip_prefix(&format!("{}-", node.noun)).unwrap_or(&param);
    match short {
        "id" | "pk" | "uuid" | "uid" | "guid" => "id".to_owned(),
        short if short.ends_with("-id") || short == node.noun => "id".to_owned(),
        short => short.to_owned(),
    }
}

/// A path of this many literals of the tail, with `{}` for parameters.
fn collection(shape: &Shape, tail: usize) -> Option<String> {
    let left_out = shape.tail.len() - tail;
    let count = shape.template.segments.len().checked_sub(left_out)?;
    if tail == 0 || shape.template.rest.is_some() {
        return None;
    }
    let mut literals = shape.literals.iter();
    let mut path = String::new();
    for segment in &shape.template.segments[..count] {
        path.push('/');
        match segment {
            Segment::Literal(_) => path.push_str(literals.next().map_or("", String::as_str)),
            Segment::Parameter { .. } => path.push_str("{}"),
        }
    }
    Some(path)
}
