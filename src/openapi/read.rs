//! What each read shows, and by which tags a write finds it.
//!
//! ```text
//! tags       of a detail: project:{id}. Of what has no parameters: the plural of each entity whose every change shows in it
//! body_tags  of every entity that is embedded with its key
//! watches    entities whose every change shows in it; where the path has parameters, writes name it by its path
//! ```
//! Invariant: what an answer shows of an entity, a write to that entity reaches, by one of the three.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::openapi::class::{self, Class};
use crate::openapi::document::Document;
use crate::openapi::entity::{Entities, Id};
use crate::openapi::noun;
use crate::openapi::operation::{Credential, Operation, Resource};
use crate::openapi::schema::{Object, Shown};
use crate::openapi::shape::Shape;
use crate::openapi::words;
use crate::route::tag::Text;

/// Most tags of one route that are searched for in bodies.
const MAX_BODY_TAGS: usize = 12;

/// A read, and the route that is proposed for it.
#[derive(Clone, Debug)]
pub struct Route {
    /// As Larder's file has it.
    pub template: String,
    /// What the document calls it.
    pub summary: String,
    /// What kind of read it is.
    pub class: Class,
    /// By what it was seen that it asks who somebody is.
    pub authenticated: Option<String>,
    /// Words of `tags`.
    pub tags: Vec<String>,
    /// Words of `body_tags`.
    pub body_tags: Vec<String>,
    /// Words of `key.headers`.
    pub headers: Vec<String>,
    /// Names of the query that the document has.
    pub query: Vec<String>,
    /// What to know about it.
    pub notes: Vec<String>,
    /// What wants a look before it is relied on.
    pub review: Vec<String>,
    pub(crate) shape: Shape,
    pub(crate) watches: BTreeSet<Id>,
    /// The entities whose tags by key are among the tags.
    pub(crate) carries: BTreeSet<Id>,
}

impl Route {
    /// Whether anything of it is kept.
    pub fn is_kept(&self) -> bool {
        self.class.preset().is_some()
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "template": self.template,
            "class": self.class.to_string(),
            "authenticated": self.authenticated,
            "scope": self.scope(),
            "tags": self.tags,
            "body_tags": self.body_tags,
            "key_headers": self.headers,
            "query": self.query,
            "notes": self.notes,
            "review": self.review,
        })
    }

    /// The word for `scope`; `None`: the preset's, or the default.
    pub fn scope(&self) -> Option<&'static str> {
        match (self.is_kept(), &self.authenticated, self.class) {
            (true, Some(_), _) => Some("user"),
            // The preset says `user`, which keeps nothing for who shows no credential.
            (true, None, Class::Dashboard) => Some("auto"),
            _ => None,
        }
    }
}

/// The routes of all reads.
pub(crate) fn routes(resources: &[Resource<'_>], entities: &Entities, document: &Document) -> Vec<Route> {
    let reads = resources.iter().filter_map(|resource| Some((resource, resource.read.as_ref()?)));
    let mut routes: Vec<Route> =
        reads.map(|(resource, read)| route(resource, read, entities, document)).collect();
    let rests: Vec<Shape> = routes
        .iter()
        .filter(|route| route.shape.template.rest.is_some())
        .map(|route| route.shape.clone())
        .collect();
    // One that lies within another could take all that is left to it.
    routes.retain(|route| {
        route.shape.template.rest.is_none() || !rests.iter().any(|rest| rest.is_below(&route.shape))
    });
    routes
}

fn route(resource: &Resource<'_>, read: &Operation<'_>, entities: &Entities, document: &Document) -> Route {
    let shown = Shown::of(read.gives, document);
    let class = class::of(resource, read, entities, document, &shown);
    let mut route = Route {
        template: resource.shape.text.clone(),
        summary: read.summary.clone(),
        class,
        authenticated: read.authenticated.clone(),
        tags: Vec::new(),
        body_tags: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
        notes: Vec::new(),
        review: Vec::new(),
        shape: resource.shape.clone(),
        watches: BTreeSet::new(),
        carries: BTreeSet::new(),
    };
    if resource.shape.literals.iter().any(|word| words::SELF.contains(&word.as_str()))
        && route.authenticated.is_none()
    {
        route.authenticated = Some("its path speaks of the one who asks".to_owned());
    }
    if read.deprecated {
        route.notes.push("deprecated".to_owned());
    }
    if !route.is_kept() {
        return route;
    }
    route.headers = read.headers.iter().map(|name| (*name).to_owned()).collect();
    route.query = read.query.iter().take(20).map(|name| words::plain(name, 40)).collect();
    let mut subject = Subject { route: &mut route, entities, shown: &shown };
    subject.own();
    subject.embedded();
    subject.derived();
    subject.tagged();
    remarks(&mut route, read, entities);
    route
}

/// A route while it is found out what it shows.
struct Subject<'a, 'd> {
    route: &'a mut Route,
    entities: &'a Entities,
    shown: &'a Shown<'d>,
}

impl Subject<'_, '_> {
    /// What the path itself says.
    fn own(&mut self) {
        let shape = &self.route.shape;
        let chosen = shape.nodes.last().and_then(|node| Some((node, self.entities.of_node(node)?)));
        let of_list = self
            .entities
            .collection(shape)
            .or_else(|| self.shown.list().and_then(|object| self.entities.of_object(object)));
        if let (Class::List | Class::Reference | Class::Search, Some(id)) = (self.route.class, of_list) {
            self.route.watches.insert(id);
        }
        let Some((node, id)) = chosen else { return };
        if self.route.class == Class::List && of_list.is_some_and(|other| other != id) {
            return;
        }
        // A series is chosen by a name and goes on: what is added to it has no key of its own.
        let is_series = !self.entities.has_id(id) && self.shown.objects.iter().any(|object| object.is_member);
        if self.route.class == Class::Detail && is_series {
            self.route.watches.insert(id);
        }
        if self.entities.is_key(id, node) {
            let key: String = node.params.iter().map(|param| format!(":{{{param}}}")).collect();
            let tag = format!("{}{key}", self.entities.get(id).noun);
            self.route.tags.extend(usable(&tag));
            self.route.carries.insert(id);
        } else if self.shown.root().is_none_or(|root| self.entities.key_in(id, root).is_none()) {
            self.route.watches.insert(id);
        }
    }

    /// What the answer holds of entities.
    fn embedded(&mut self) {
        let own = self.route.shape.nodes.last().filter(|_| self.route.shape.tail.is_empty());
        let own = own.filter(|node| !node.by_other).and_then(|node| self.entities.of_node(node));
        let root = self.shown.root().map(|object| object.path.clone());
        for object in &self.shown.objects {
            let is_root = root.as_ref() == Some(&object.path);
            let listed = self
                .shown
                .list()
                .is_some_and(|list| list.path == object.path)
                .then(|| self.entities.collection(&self.route.shape));
            let Some(id) = self.entities.of_object(object).or(listed.flatten()) else { continue };
            if is_root && own == Some(id) {
                continue;
            }
            if object.is_member {
                self.route.watches.insert(id);
            }
            self.body_tag(id, object);
        }
        if self.shown.is_cut {
            self.route
                .watches
                .extend(self.shown.objects.iter().filter_map(|object| self.entities.of_object(object)));
        }
    }

    fn body_tag(&mut self, id: Id, object: &Object<'_>) {
        let path = object.path.as_ref().filter(|_| self.route.body_tags.len() < MAX_BODY_TAGS);
        match (path, self.entities.key_in(id, object)) {
            (Some(path), Some(key)) => {
                let tag = format!("{}:{path}.{key}", self.entities.get(id).noun);
                if !self.route.body_tags.contains(&tag) {
                    self.route.body_tags.push(tag);
                }
                self.route.carries.insert(id);
            }
            // Nothing says which one it is.
            _ => drop(self.route.watches.insert(id)),
        }
    }

    /// What it says of entities without showing them: numbers, sums, searches.
    fn derived(&mut self) {
        let fields = self.shown.objects.iter().flat_map(|object| &object.fields).map(|(name, _)| *name);
        self.route.watches.extend(fields.flat_map(|name| self.entities.counted(name)));
        let shape = &self.route.shape;
        let chosen = shape.nodes.last().and_then(|node| self.entities.of_node(node));
        let is_figure =
            matches!(self.route.class, Class::Stats | Class::Dashboard | Class::Search | Class::Export);
        match (self.route.class, chosen) {
            (Class::Detail, Some(id)) if self.may_follow() => {
                self.route.watches.extend(&self.entities.get(id).nested);
            }
            (_, Some(id)) if is_figure => {
                self.route.watches.extend(&self.entities.get(id).children);
                self.below();
            }
            (_, None) if is_figure => self.below(),
            (Class::List, _) => self.aggregates(),
            _ => {}
        }
        self.indirect(chosen);
        let is_empty = self.route.watches.is_empty() && self.route.carries.is_empty();
        if is_figure
            && (is_empty || !self.shown.is_known() && chosen.is_none() && self.route.watches.is_empty())
        {
            self.route.watches.extend(self.entities.ids().filter(|id| self.entities.get(*id).is_written));
            self.route.notes.push("its schema names no entity: every write outdates it".to_owned());
        }
    }

    /// What nothing writes by its own name comes of something else: of what belongs to what the path chooses, or holds what
    /// is counted.
    fn indirect(&mut self, chosen: Option<Id>) {
        let is_written = |id: &Id| self.entities.get(*id).is_written;
        let mut sources = BTreeSet::new();
        if self.route.class == Class::Stats {
            sources.extend(self.route.watches.iter().flat_map(|id| &self.entities.get(*id).holders));
        }
        let shows_own = self.entities.collection(&self.route.shape).is_some_and(|id| is_written(&id));
        let shows_other = self
            .route
            .watches
            .iter()
            .chain(&self.route.carries)
            .any(|id| Some(*id) != chosen && is_written(id));
        if let (Some(id), false, false) = (chosen, shows_own || shows_other, self.route.shape.tail.is_empty())
        {
            sources.extend(self.entities.get(id).children.iter().chain(&self.entities.get(id).holders));
        }
        self.route.watches.extend(sources.into_iter().filter(is_written));
    }

    /// Whether one may be another after something below it was written: it has sums or a state, or nothing says what it has.
    fn may_follow(&self) -> bool {
        let follows = |name: &str| {
            let tokens = noun::tokens(name);
            let lists: [&[&str]; 2] = [&words::AGGREGATE, &words::STATES];
            tokens.iter().any(|token| lists.iter().any(|list| list.contains(&token.as_str())))
        };
        let root = self.shown.root().map(|root| root.fields.as_slice()).unwrap_or_default();
        root.is_empty() || root.iter().any(|(name, _)| follows(name))
    }

    /// Figures about a collection: `/projects/stats`.
    fn below(&mut self) {
        let Some(id) = self.entities.collection_before(&self.route.shape) else { return };
        self.route.watches.insert(id);
        if self.route.class == Class::Stats {
            self.route.watches.extend(&self.entities.get(id).nested);
        }
    }

    /// A list whose members have sums over what belongs to them.
    fn aggregates(&mut self) {
        let Some(list) = self.shown.list() else { return };
        let Some(id) = self.entities.of_object(list).or(self.entities.collection(&self.route.shape)) else {
            return;
        };
        let has =
            |name: &&str| noun::tokens(name).iter().any(|token| words::AGGREGATE.contains(&token.as_str()));
        if list.fields.iter().any(|(name, _)| has(name)) {
            self.route.watches.extend(&self.entities.get(id).nested);
        }
    }

    /// Without parameters everything that it watches is a tag of it.
    fn tagged(&mut self) {
        let own = self.entities.collection(&self.route.shape);
        self.route.watches.retain(|id| own == Some(*id) || self.entities.get(*id).is_written);
        if self.route.shape.nodes.is_empty() {
            let plurals = self.route.watches.iter().map(|id| &self.entities.get(*id).plural);
            let plurals: Vec<String> = plurals.flat_map(|plural| usable(plural)).collect();
            self.route.tags.extend(plurals);
        }
        self.route.tags.dedup();
    }
}

/// A tag that Larder takes.
fn usable(tag: &str) -> Option<String> {
    let plain =
        !tag.starts_with(['/', '*', '&', '!', '#', '-']) && !tag.ends_with([',', ':']) && tag != "credential";
    (plain && Text::parse(tag).is_ok()).then(|| tag.to_owned())
}

/// What whoever reads the file should know.
fn remarks(route: &mut Route, read: &Operation<'_>, entities: &Entities) {
    if let Some(sign) = &route.authenticated {
        let words = match read.credentials.is_empty() {
            true => format!(
                "authenticated ({sign}), and no credential is named: if it is not one that Larder knows, nothing is kept"
            ),
            false => format!("authenticated ({sign}): an entry for each credential, none without"),
        };
        route.review.push(words);
    }
    if read.credentials.iter().any(|credential| matches!(credential, Credential::Cookie(_))) {
        route
            .notes
            .push("the cookie counts whole: one that changes with every request is never a hit".to_owned());
    }
    let is_unwritten = route.watches.iter().chain(&route.carries).all(|id| !entities.get(*id).is_written);
    if is_unwritten && !matches!(route.class, Class::Reference | Class::Job) {
        route.review.push("nothing in the document writes what it shows: it is as old as its ttl".to_owned());
    }
    let volatile = ["latest", "current", "live", "availability", "now", "unread", "presence", "position"];
    if let Some(word) = route.shape.literals.iter().find(|word| volatile.contains(&word.as_str())) {
        route
            .review
            .push(format!("`{word}` sounds like what changes without a write: a shorter ttl, or bypass"));
    }
}
