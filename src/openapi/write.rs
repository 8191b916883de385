//! What each write changes, and which reads show that.
//!
//! Invariant: a write names every route that watches what it changes, by a tag where the route has no parameters, else by its
//! path; what the write cannot tell of that path is any segment. Its own path Larder outdates in any case.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::openapi::class;
use crate::openapi::document::Document;
use crate::openapi::entity::{Entities, Id};
use crate::openapi::noun;
use crate::openapi::operation::{Operation, Resource};
use crate::openapi::read::Route;
use crate::openapi::schema::Shown;
use crate::openapi::shape::{Node, Shape};
use crate::openapi::words;
use crate::route::pattern::Segment;
use crate::route::reach::ItemTemplate;

/// Most words of one rule.
const MAX_WORDS: usize = 200;

/// A rule of `writes`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Upper case, in the order of [`Operation`]s.
    pub methods: Vec<String>,
    /// As Larder's file has it.
    pub template: String,
    /// What the document calls it.
    pub summary: String,
    /// Tags, paths and `credential`.
    pub invalidate: Vec<String>,
    /// What wants a look before it is relied on.
    pub review: Vec<String>,
    pub(crate) shape: Shape,
}

impl Rule {
    pub(crate) fn json(&self) -> Value {
        json!({ "methods": self.methods, "template": self.template, "invalidate": self.invalidate, "review": self.review })
    }
}

/// All of them, and the rest.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) rules: Vec<Rule>,
    /// POSTs that look as if they only read.
    pub(crate) posts: Vec<(String, String)>,
    /// Writes of which nothing is known.
    pub(crate) skipped: Vec<(String, String)>,
}

/// What becomes of entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// There is one more.
    Created,
    /// One is another.
    Updated,
    /// One is gone, and what belonged to it.
    Deleted,
    /// Any of them may be another or gone.
    Any,
}

/// The rules for all writes.
pub(crate) fn rules(
    resources: &[Resource<'_>],
    entities: &Entities,
    routes: &[Route],
    document: &Document,
) -> Written {
    let mut written = Written::default();
    for resource in resources {
        for write in &resource.writes {
            let [takes, gives] = [write.takes, write.gives].map(|schema| Shown::of(schema, document));
            let ground = Ground { resource, write, entities, routes, takes, gives };
            ground.rule(&mut written);
        }
    }
    written
}

/// Everything that is known where a write is looked at.
struct Ground<'a, 'd> {
    resource: &'a Resource<'d>,
    write: &'a Operation<'d>,
    entities: &'a Entities,
    routes: &'a [Route],
    /// What the write's body shows.
    takes: Shown<'d>,
    /// What its answer shows.
    gives: Shown<'d>,
}

impl Ground<'_, '_> {
    fn rule(&self, written: &mut Written) {
        let shape = &self.resource.shape;
        let name = format!("{} {}", self.write.method, shape.text);
        let mut review = Vec::new();
        let invalidate = if self.is_logout() {
            vec!["credential".to_owned()]
        } else if self.only_reads() {
            written.posts.push((shape.text.clone(), self.write.summary.clone()));
            return;
        } else if let Some((id, change)) = self.change() {
            self.words(id, change)
        } else if self.is_about_auth() {
            return;
        } else {
            written.skipped.push((
                name,
                "what it changes beside its own path cannot be told: add a rule, if it does".to_owned(),
            ));
            return;
        };
        let invalidate: Vec<String> =
            invalidate.into_iter().filter(|word| word == "credential" || is_word(word)).collect();
        if self.write.statuses.contains(&202) {
            review.push(
                "answered 202: what it begins changes things later; say so then, by a webhook or a channel"
                    .to_owned(),
            );
        }
        if invalidate.len() > MAX_WORDS {
            review.push(format!(
                "it outdates more than is listed here: {} of {}",
                MAX_WORDS,
                invalidate.len()
            ));
        }
        let invalidate: Vec<String> = invalidate.into_iter().take(MAX_WORDS).collect();
        if invalidate.is_empty() {
            return;
        }
        let twin = written.rules.iter_mut().rev().find(|rule| {
            rule.template == shape.text && rule.invalidate == invalidate && rule.review == review
        });
        match twin {
            Some(twin) => twin.methods.push(self.write.method.to_owned()),
            None => written.rules.push(Rule {
                methods: vec![self.write.method.to_owned()],
                template: shape.text.clone(),
                summary: self.write.summary.clone(),
                invalidate,
                review,
                shape: shape.clone(),
            }),
        }
    }

    fn is_logout(&self) -> bool {
        let literals = &self.resource.shape.literals;
        let last = literals.last().map(String::as_str).unwrap_or_default();
        let is_session = ["session", "sessions", "token", "login"].contains(&last);
        // A collection of sessions that cannot be read is not one of trainings.
        let is_own = class::is_auth(self.resource) || last == "sessions" && self.resource.read.is_none();
        let ends_session = self.write.method == "DELETE" && is_session && is_own;
        words::LOGOUT.contains(&last) && class_of_auth(literals, last) || ends_session
    }

    /// A POST whose word asks, where nothing can be read that it would have made.
    fn only_reads(&self) -> bool {
        let shape = &self.resource.shape;
        let last = shape.last().unwrap_or_default();
        let has_members = || self.routes.iter().any(|route| route.shape.is_below(shape));
        let begins = last.split_once('-').is_some_and(|(word, _)| words::ASKING.contains(&word));
        let asks = words::READING.contains(&last) || begins;
        let is_other = self.resource.read.is_none() || words::SEARCH.contains(&last);
        // An `answer` to one thing may well change it.
        let is_certain = shape.nodes.is_empty()
            || begins
            || words::SEARCH.contains(&last)
            || words::ASKING.contains(&last);
        self.write.method == "POST" && asks && is_other && is_certain && !has_members()
    }

    /// Whether it is a session that is written, and not one of the things that a path chooses: `/events/{id}/register`.
    fn is_about_auth(&self) -> bool {
        let shape = &self.resource.shape;
        let segments = shape.template.segments.iter();
        let head = segments.take_while(|segment| matches!(segment, Segment::Literal(_))).count();
        let is_whole = ["refresh", "register"].contains(&shape.last().unwrap_or_default())
            && self.entities.collection_before(shape).is_some();
        class::is_auth(self.resource)
            && !is_whole
            && shape.literals[..head].iter().any(|word| class::is_auth_word(word))
    }

    /// What is changed, and how.
    fn change(&self) -> Option<(Id, Change)> {
        let shape = &self.resource.shape;
        let last = shape.last().unwrap_or_default();
        if words::SIGNUP.contains(&last) && shape.nodes.is_empty() {
            let users = || ["user", "account", "member"].iter().find_map(|noun| self.entities.named(noun));
            return self.entities.collection_before(shape).or_else(users).map(|id| (id, Change::Created));
        }
        if self.is_about_auth() {
            return None;
        }
        if let Some(id) = self.entities.collection(shape) {
            return Some((id, if self.write.method == "POST" { Change::Created } else { Change::Any }));
        }
        let chosen = shape.nodes.last().and_then(|node| self.entities.of_node(node));
        if shape.tail.is_empty() {
            let change = if self.write.method == "DELETE" { Change::Deleted } else { Change::Updated };
            return chosen.map(|id| (id, change)).or_else(|| self.by_schema());
        }
        if let Some(id) = self.entities.collection_before(shape) {
            let is_self = words::SELF.contains(&last);
            return Some((id, if is_self { self.of_self() } else { Change::Any }));
        }
        if let Some(id) = chosen {
            let is_removal = words::REMOVAL.contains(&last);
            return Some((id, if is_removal { Change::Deleted } else { Change::Updated }));
        }
        let own = shape.tail.iter().position(|word| words::SELF.contains(&word.as_str()));
        let owner = own
            .and_then(|at| at.checked_sub(1))
            .and_then(|at| self.entities.named(&noun::singular(&shape.tail[at])));
        let owner = owner.or_else(|| own.and_then(|_| self.entities.named("user")));
        owner.map(|id| (id, Change::Updated)).or_else(|| self.by_schema())
    }

    fn of_self(&self) -> Change {
        if self.write.method == "DELETE" { Change::Deleted } else { Change::Updated }
    }

    /// By what it gives, or else takes.
    fn by_schema(&self) -> Option<(Id, Change)> {
        let of = |shown: &Shown<'_>| {
            shown.root().or(shown.list()).and_then(|object| self.entities.of_object(object))
        };
        let id = of(&self.gives).or_else(|| of(&self.takes))?;
        Some((id, if self.write.method == "POST" { Change::Created } else { Change::Any }))
    }

    /// Tags and paths of what shows the change.
    fn words(&self, id: Id, change: Change) -> Vec<String> {
        let mut words = Vec::new();
        if change != Change::Created {
            let key = match change {
                Change::Any => "*".to_owned(),
                _ => self.key(id),
            };
            self.tag(id, &key, &mut words);
        }
        self.watchers(id, &mut words);
        for other in self.written_along(id) {
            self.watchers(other, &mut words);
        }
        if matches!(change, Change::Deleted | Change::Any) {
            let family: BTreeSet<Id> =
                self.entities.family(id).into_iter().filter(|other| *other != id).collect();
            for child in family {
                self.tag(child, "*", &mut words);
                self.watchers(child, &mut words);
            }
            let below = |route: &&Route| route.is_kept() && route.shape.is_below(&self.resource.shape);
            if change == Change::Deleted
                && self.routes.iter().any(|route| below(&route))
                && self.resource.shape.tail.is_empty()
            {
                let rest = if self.resource.shape.template.names().any(|name| name == "rest") {
                    "below"
                } else {
                    "rest"
                };
                words.push(format!("{}/{{{rest}:path}}", self.resource.shape.text.trim_end_matches('/')));
                // What lies below is named by this already.
                words.retain(|word| word.ends_with(":path}") || !self.is_below_target(word));
            }
        }
        let own = &self.resource.shape.text;
        words.retain(|word| word.trim_end_matches('/') != own.trim_end_matches('/'));
        let mut known = BTreeSet::new();
        words.retain(|word| known.insert(word.clone()));
        words
    }

    /// What it takes as a part of something else, and probably makes along with that: nothing else does.
    fn written_along(&self, id: Id) -> BTreeSet<Id> {
        let parts = self.takes.objects.iter().skip(1).filter_map(|object| self.entities.of_object(object));
        let is_made_here = |part: &Id| {
            let entity = self.entities.get(*part);
            entity.is_written && !entity.is_made
        };
        parts.filter(|part| *part != id && is_made_here(part)).collect()
    }

    fn is_below_target(&self, word: &str) -> bool {
        let target = self.resource.shape.text.trim_end_matches('/');
        word.strip_prefix(target).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The tag of one by its key, if any route carries such.
    fn tag(&self, id: Id, key: &str, words: &mut Vec<String>) {
        if self.routes.iter().any(|route| route.carries.contains(&id)) {
            words.push(format!("{}:{key}", self.entities.get(id).noun));
        }
    }

    /// Every route that watches an entity.
    fn watchers(&self, id: Id, words: &mut Vec<String>) {
        let watching = self.routes.iter().filter(|route| route.is_kept() && route.watches.contains(&id));
        for route in watching {
            match route.shape.nodes.is_empty() {
                true => {
                    let plural = &self.entities.get(id).plural;
                    if route.tags.contains(plural) {
                        words.push(plural.clone())
                    } else {
                        words.push(route.template.clone())
                    }
                }
                false => words.push(self.path(route)),
            }
        }
    }

    /// What stands for the key of the one that is written.
    fn key(&self, id: Id) -> String {
        let node =
            self.resource.shape.nodes.iter().rev().find(|node| self.entities.of_node(node) == Some(id));
        if let Some(node) = node.filter(|node| self.entities.is_key(id, node)) {
            return node.params.iter().map(|param| format!("{{{param}}}")).collect::<Vec<_>>().join(":");
        }
        let root = self.gives.root().filter(|root| self.entities.of_object(root) == Some(id));
        let field =
            root.and_then(|root| Some((place(root.path.as_deref()?)?, self.entities.key_in(id, root)?)));
        field.map_or_else(|| "*".to_owned(), |(place, key)| format!("{{response.body.{place}{key}}}"))
    }

    /// The path of a route, as far as the write tells it.
    fn path(&self, route: &Route) -> String {
        let mut path = route.template.clone();
        let mut unknown = 0;
        let is_taken = |name: &str| self.resource.shape.template.names().any(|other| other == name);
        for node in &route.shape.nodes {
            for (at, param) in node.params.iter().enumerate() {
                let value = self.value(node, at).unwrap_or_else(|| {
                    unknown += 1;
                    while is_taken(&format!("any{unknown}")) {
                        unknown += 1;
                    }
                    format!("{{any{unknown}}}")
                });
                path = path.replacen(&format!("{{{param}}}"), &value, 1);
            }
        }
        path
    }

    /// What the write says of a parameter.
    fn value(&self, node: &Node, at: usize) -> Option<String> {
        let same = self.resource.shape.nodes.iter().find(|own| {
            own.noun == node.noun && own.params.len() == node.params.len() && own.by_other == node.by_other
        });
        if let Some(param) = same.and_then(|own| own.params.get(at)) {
            return Some(format!("{{{param}}}"));
        }
        if node.params.len() > 1 || node.by_other {
            return None;
        }
        let wanted = [format!("{}-id", node.noun), noun::slug(&node.params[0])];
        let wanted = wanted.iter().filter(|name| *name != "id" && *name != "pk" && *name != "uuid");
        let wanted: Vec<&String> = wanted.collect();
        let is_wanted = |name: &str| wanted.iter().any(|wanted| noun::slug(name) == **wanted);
        let place_in = |shown: &Shown<'_>| {
            let root = shown.root()?;
            let (name, _) = root.fields.iter().find(|(name, _)| is_wanted(name))?;
            Some(format!("{{body.{}{name}}}", place(root.path.as_deref()?)?))
        };
        place_in(&self.takes).or_else(|| place_in(&self.gives))
    }
}

/// `logout` alone is a word of its own; `revoke` is one only where it is about a session.
fn class_of_auth(literals: &[String], last: &str) -> bool {
    last != "revoke" || literals.iter().any(|word| words::AUTH.contains(&word.as_str()))
}

/// Where an object stands in a body, as a placeholder has it: `data.` of `$.data`.
fn place(path: &str) -> Option<String> {
    let path = path.strip_prefix('$')?.trim_start_matches('.');
    match (path.is_empty(), path.contains('[')) {
        (true, _) => Some(String::new()),
        (false, true) => None,
        (false, false) => Some(format!("{path}.")),
    }
}

/// Whether the file can hold it.
fn is_word(word: &str) -> bool {
    !word.ends_with([',', ':']) && ItemTemplate::parse(word).is_ok()
}
