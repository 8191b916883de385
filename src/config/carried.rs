//! Whether what is outdated is carried by anything: tags that no route gives, paths that no route matches.
//!
//! Invariant: only complaints; an origin may name any tag in its answers. A template is taken for all texts that it can
//! come to, so what is complained of is carried by nothing that the file speaks of.

use crate::config::file::File;
use crate::config::problem::{Problem, Source};
use crate::config::reach::{Named, Word};
use crate::config::reader::nearest;
use crate::config::route::Settled;
use crate::route::derive::meet;
use crate::route::reach::ItemTemplate;
use crate::route::{BodyTag, Settings};

/// What the configured routes give their answers.
struct Carried<'r> {
    tags: Vec<ItemTemplate>,
    /// The templates of the routes, and the routes.
    paths: Vec<(ItemTemplate, &'r Settings)>,
    /// Whether what no route matches may be stored.
    unmatched: bool,
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

impl<'r> Carried<'r> {
    fn of(settled: &'r Settled, has_user: bool) -> Self {
        let kept = || settled.matched.iter().chain(&settled.unmatched).filter(|route| !route.bypass);
        let by_route = kept().flat_map(|route| &route.tags).cloned().map(ItemTemplate::Tag);
        let by_body = kept().flat_map(|route| &route.body_tags).filter_map(found);
        let user = has_user.then(|| ItemTemplate::parse("user:*").ok()).flatten();
        let paths = settled.matched.iter();
        Self {
            tags: by_route.chain(by_body).chain(user).collect(),
            paths: paths
                .filter_map(|route| Some((ItemTemplate::parse(&route.template).ok()?, route)))
                .collect(),
            unmatched: settled.unmatched.is_some(),
        }
    }

    fn lacks(&self, item: &ItemTemplate, source: Source) -> Option<Problem> {
        match item {
            ItemTemplate::Tag(_) => self.lacks_tag(item, source),
            ItemTemplate::Path(_) => self.lacks_path(item, source),
        }
    }

    fn lacks_tag(&self, item: &ItemTemplate, source: Source) -> Option<Problem> {
        if self.tags.iter().any(|tag| meet(tag, item)) {
            return None;
        }
        let known: Vec<String> = self.tags.iter().map(ToString::to_string).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let text = item.to_string();
        let hint = match nearest(&text, &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None if text.starts_with("user:") => {
                "write identity: { user: jwt:sub }, so that answers are tagged with user:<id>".to_owned()
            }
            None => {
                "tag a route with it, unless the origin does, in Surrogate-Key, Cache-Tag or Cache-Groups"
                    .to_owned()
            }
        };
        Some(Problem::of(source, format!("no route carries the tag `{text}`")).hint(hint))
    }

    fn lacks_path(&self, item: &ItemTemplate, source: Source) -> Option<Problem> {
        let mut matching = self.paths.iter().filter(|(path, _)| meet(path, item)).peekable();
        if matching.peek().is_none() {
            let hint = if self.unmatched {
                "without a route only the origin's own word keeps it; name the path of a route"
            } else {
                "without a route it is bypassed; name the path of a route"
            };
            return Some(Problem::of(source, format!("no route matches the path `{item}`")).hint(hint));
        }
        matching.all(|(_, route)| route.bypass).then(|| {
            let message = format!("nothing is kept under the path `{item}`: it is bypassed");
            Problem::of(source, message).hint("take it out, or give the path a route with a ttl")
        })
    }
}

/// All tags that a body may name.
fn found(tag: &BodyTag) -> Option<ItemTemplate> {
    let prefix = tag.prefix.as_ref().map(ToString::to_string).unwrap_or_default();
    ItemTemplate::parse(&format!("{prefix}*")).ok()
}
