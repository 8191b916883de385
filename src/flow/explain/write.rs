//! What a write outdates, before anybody has answered it; and from the other end, which writes reach what an answer carries.
//!
//! Invariant: what is known only from a body or from the answer widens, as it does when the rules are applied.

use bytes::Bytes;
use http::request::Parts as Head;

use crate::flow::Visit;
use crate::flow::adopt::Adoption;
use crate::flow::consequence::{Effect, Target};
use crate::flow::explain::in_words;
use crate::flow::explain::outcome::{certain, open, told};
use crate::flow::explain::wire::{Becomes, Dropped, Explanation, Rule, When, Write};
use crate::flow::tagging::Tagging;
use crate::invalidate::audit::Tally;
use crate::metrics::Cache;
use crate::policy::cache_status::{CacheStatus, Forward};
use crate::route::derive::Dependencies;
use crate::route::reach::{Item, ItemTemplate, Reach};
use crate::route::share::Share;
use crate::route::tag::Tag;
use crate::route::write::{self, Matches, Outdated};
use crate::route::written::{self, Content};
use crate::upstream;

/// Explains an unsafe request.
pub(super) fn explain(visit: &Visit<'_>, head: &Head, content: &Bytes) -> Explanation {
    let plain = CacheStatus::forward(Forward::Method);
    let may_keep = |share: &Share| {
        let mut tags = visit.tags(*share).to_vec();
        let tagging = Tagging::of(&visit.flow.rules, visit.target, &head.headers, *share);
        tags.extend_from_slice(tagging.known());
        visit.flow.store.is_alone(visit.now.mono, &tags)
    };
    let outcome = match Adoption::is_possible(visit, head).filter(may_keep) {
        Some(_) => {
            let (why, status, collapsed, detail) = (Forward::Method, None, false, None);
            let kept = CacheStatus::Fwd { why, status, stored: true, collapsed, detail };
            let kept = (When::Kept, told((Cache::Bypass, kept)));
            open((When::Answered, told((Cache::Bypass, plain))), vec![kept])
        }
        None => certain(Cache::Bypass, plain),
    };
    Explanation { write: Some(written(visit, head, content)), ..Explanation::new(Becomes::Write, outcome) }
}

/// What the rules name for it, and what that reaches now.
fn written(visit: &Visit<'_>, head: &Head, content: &Bytes) -> Write {
    let (flow, path) = (visit.flow, &visit.target.path);
    let (target, sent) = (Target::of(visit, head), Content::of(content));
    let outdated = |rules: &[write::Rule]| {
        let written = target.written(written::Outcome::Unknown, &sent, &Content::Unread);
        Matches::of(rules, &head.method, path).outdated(&written)
    };
    let rules: Vec<Rule> = flow
        .rules
        .writes
        .iter()
        .map(|rule| (rule, outdated(std::slice::from_ref(rule))))
        .filter(|(_, outdated)| !outdated.rules.is_empty())
        .map(|(rule, outdated)| told_of(rule, &outdated))
        .collect();
    // As if it were under way, and nobody knew what becomes of it.
    let unknown = Err(upstream::Error::Closed);
    let follows = target.consequences(flow, Effect::Unknown, &unknown, |_| outdated(&flow.rules.writes));
    let reach = follows.reach(flow);
    let target: Vec<String> = visit.target.tags().iter().map(in_words).collect();
    let is_named =
        |word: &String| target.contains(word) || rules.iter().any(|rule| rule.outdates.contains(word));
    let derived = reach.items.iter().map(item_in_words).filter(|word| !is_named(word)).collect();
    let Tally { total: entries, routes } = Tally::of(&flow.store.find(&reach));
    Write { rules, target, derived, entries, by_route: routes.into_iter().collect() }
}

/// One rule, with what it names here.
fn told_of(rule: &write::Rule, outdated: &Outdated) -> Rule {
    let Outdated { hard, soft, .. } = outdated;
    let parts = [&hard.cascading, &hard.alone, &soft.cascading, &soft.alone];
    let items = parts.into_iter().flat_map(|reach| &reach.items).map(item_in_words);
    Rule {
        rule: rule.name.clone(),
        outdates: items.chain(rule.credential.then(|| "credential".to_owned())).collect(),
        soft: rule.soft,
        refresh: rule.refresh,
        conditional: rule.when.as_ref().is_some_and(|when| !when.status.is_empty() || when.path.is_some()),
    }
}

fn item_in_words(item: &Item) -> String {
    match item {
        Item::Tag(tag) => in_words(tag),
        wide => wide.to_string(),
    }
}

/// By each of these tags, which rules and events reach it, whatever the request or the message names.
pub(super) fn reaching(visit: &Visit<'_>, tags: &[Tag]) -> Vec<Dropped> {
    let invalidation = visit.flow.invalidator.settings();
    let writes = visit.flow.rules.writes.iter().map(|rule| {
        let dependencies = rule.cascade.then_some(&invalidation.dependencies);
        let source = Source::of(rule.name.clone(), &rule.invalidate, dependencies);
        Source { credential: rule.credential, ..source }
    });
    let events = invalidation.events.rules.iter().map(|(name, outdates)| {
        Source::of(format!("event {name}"), outdates, Some(&invalidation.dependencies))
    });
    let sources: Vec<Source> = writes.chain(events).collect();
    let dropped = tags.iter().map(|tag| {
        let any = tag.is_path().then(|| "any write to this path".to_owned());
        let by = any.into_iter().chain(sources.iter().filter_map(|source| source.reaches(tag))).collect();
        Dropped { tag: in_words(tag), by }
    });
    dropped.filter(|dropped| !dropped.by.is_empty()).collect()
}

/// A rule or an event, with all that it may ever reach.
struct Source {
    name: String,
    direct: Reach,
    derived: Reach,
    credential: bool,
}

impl Source {
    fn of(name: String, outdates: &[ItemTemplate], dependencies: Option<&Dependencies>) -> Self {
        let unknown = |_: &str| Vec::new();
        let direct = Reach { items: outdates.iter().flat_map(|word| word.bind(None, &unknown)).collect() };
        let mut derived = direct.clone();
        if let Some(dependencies) = dependencies {
            dependencies.extend(&mut derived);
        }
        Self { name, direct, derived, credential: false }
    }

    /// In words, if it may reach what carries `tag`.
    fn reaches(&self, tag: &Tag) -> Option<String> {
        let of_credential = self.credential && in_words(tag) == "credential";
        if self.direct.covers(tag) || of_credential {
            Some(self.name.clone())
        } else {
            self.derived.covers(tag).then(|| format!("{} (by dependencies)", self.name))
        }
    }
}
