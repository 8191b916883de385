//! Whether what is outdated is carried by anything: tags that no route gives, paths that no route matches.
//!
//! Invariant: only complaints; an origin may name any tag in its answers. A template is taken for all texts that it can
//! come to, so what is complained of is carried by nothing that the file speaks of.

use crate::config::file::File;
use crate::config::problem::{Problem, Source};
use crate::config::reach::{Named, Word};
use crate::config::reader::nearest;
use crate::config::route::Settled;
use crate::route::reach::{Gaps, ItemTemplate, PathTemplate};
use crate::route::tag::{Rendered, Text};
use crate::route::{BodyTag, Settings};

/// What the configured routes give their answers.
struct Carried {
    tags: Vec<Gaps>,
    routes: Vec<Path>,
    /// Whether what no route matches may be stored.
    unmatched: bool,
}

/// A route's template.
struct Path {
    template: PathTemplate,
    bypass: bool,
}

/// Complains of each item that is outdated and that nothing carries.
pub(crate) fn complain(merged: &File, settled: &Settled, has_user: bool, problems: &mut Vec<Problem>) {
    let carried = Carried::of(settled, has_user);
    let causes: Vec<&ItemTemplate> =
        merged.dependencies.iter().flat_map(|at| &at.value.0).map(|edge| &edge.cause).collect();
    let mut told: Vec<String> = Vec::new();
    for Named { item, place } in outdated(merged) {
        // What others are derived from need not be carried itself.
        if causes.iter().any(|cause| meet(cause, item)) || told.contains(&item.to_string()) {
            continue;
        }
        if let Some(problem) = carried.lacks(item, Source::File(*place)) {
            told.push(item.to_string());
            problems.push(problem.warning());
        }
    }
}

/// Everything that anything outdates.
fn outdated(merged: &File) -> impl Iterator<Item = &Named> {
    let rules = merged.writes.iter().flat_map(|at| &at.value.0);
    let writes = rules.filter_map(|rule| rule.keys.invalidate.as_ref()).flat_map(|at| &at.value.0);
    let derived = merged.dependencies.iter().flat_map(|at| &at.value.0).map(|edge| &edge.words);
    let named = merged.events.iter().flat_map(|at| &at.value.0).map(|event| &event.words);
    writes.filter_map(Word::named).chain(derived.chain(named).flat_map(|at| &at.value.0))
}

impl Carried {
    fn of(settled: &Settled, has_user: bool) -> Self {
        let all: Vec<&Settings> = settled.matched.iter().chain(&settled.unmatched).collect();
        let kept = || all.iter().filter(|route| !route.bypass);
        let by_path = kept().flat_map(|route| &route.tags).map(gaps);
        let by_body = kept().flat_map(|route| &route.body_tags).map(found);
        let user = has_user.then(|| Gaps::parse("user:*"));
        let routes = settled.matched.iter().filter_map(|route| {
            let ItemTemplate::Path(template) = ItemTemplate::parse(&route.template).ok()? else {
                return None;
            };
            Some(Path { template, bypass: route.bypass })
        });
        Self {
            tags: by_path.chain(by_body).chain(user).collect(),
            routes: routes.collect(),
            unmatched: settled.unmatched.is_some(),
        }
    }

    fn lacks(&self, item: &ItemTemplate, source: Source) -> Option<Problem> {
        match item {
            ItemTemplate::Tag(text) => self.lacks_tag(text, source),
            ItemTemplate::Path(path) => self.lacks_path(path, item, source),
        }
    }

    fn lacks_tag(&self, text: &Text, source: Source) -> Option<Problem> {
        let wanted = gaps(text);
        if self.tags.iter().any(|tag| tag.may_meet(&wanted)) {
            return None;
        }
        let known: Vec<String> = self.tags.iter().map(ToString::to_string).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let hint = match nearest(&wanted.to_string(), &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None if wanted.prefix().starts_with("user:") => {
                "write identity: { user: jwt:sub }, so that answers are tagged with user:<id>".to_owned()
            }
            None => {
                "tag a route with it, unless the origin does, in Surrogate-Key, Cache-Tag or Cache-Groups"
                    .to_owned()
            }
        };
        Some(Problem::of(source, format!("no route carries the tag `{text}`")).hint(hint))
    }

    fn lacks_path(&self, path: &PathTemplate, item: &ItemTemplate, source: Source) -> Option<Problem> {
        let mut matching = self.routes.iter().filter(|route| paths_meet(&route.template, path)).peekable();
        if matching.peek().is_none() {
            let hint = if self.unmatched {
                "without a route only the origin's own word keeps it; name the path of a route"
            } else {
                "without a route it is bypassed; name the path of a route"
            };
            return Some(Problem::of(source, format!("no route matches the path `{item}`")).hint(hint));
        }
        matching.all(|route| route.bypass).then(|| {
            let message = format!("nothing is kept under the path `{item}`: it is bypassed");
            Problem::of(source, message).hint("take it out, or give the path a route with a ttl")
        })
    }
}

/// All texts that a template can come to.
fn gaps(text: &Text) -> Gaps {
    match text.render(&|_: &str| Vec::new()) {
        Rendered::Known(texts) => Gaps::new(texts),
        Rendered::Wide(literals) => Gaps::new(literals),
    }
}

/// All tags that a body may name.
fn found(tag: &BodyTag) -> Gaps {
    let mut literals =
        tag.prefix.as_ref().map_or_else(|| vec![String::new()], |text| gaps(text).literals().to_vec());
    literals.push(String::new());
    Gaps::new(literals)
}

fn meet(one: &ItemTemplate, other: &ItemTemplate) -> bool {
    match (one, other) {
        (ItemTemplate::Tag(one), ItemTemplate::Tag(other)) => gaps(one).may_meet(&gaps(other)),
        (ItemTemplate::Path(one), ItemTemplate::Path(other)) => paths_meet(one, other),
        _ => false,
    }
}

/// Whether some path is of both.
fn paths_meet(one: &PathTemplate, other: &PathTemplate) -> bool {
    let (a, b) = (one.segments(), other.segments());
    let reaches =
        |short: &PathTemplate, long: usize| short.segments().len() == long || short.rest().is_some();
    let lengths = if a.len() <= b.len() { reaches(one, b.len()) } else { reaches(other, a.len()) };
    let segment = |(before, name, after): &(String, Option<String>, String)| match name {
        None => Gaps::new(vec![before.clone()]),
        Some(_) => Gaps::new(vec![before.clone(), after.clone()]),
    };
    lengths && a.iter().zip(b).all(|(a, b)| segment(a).may_meet(&segment(b)))
}
