//! What a write outdates, before anybody has answered it; and from the other end, which writes reach what an answer carries.
//!
//! Invariant: what is known only from a body or from the answer widens, as it does when the rules are applied.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts as Head;

use crate::flow::Visit;
use crate::flow::adopt::Adoption;
use crate::flow::explain::in_words;
use crate::flow::explain::outcome::{certain, open, told};
use crate::flow::explain::wire::{Becomes, Dropped, Explanation, Rule, When, Write};
use crate::metrics::Cache;
use crate::policy::cache_status::{CacheStatus, Forward};
use crate::route::derive::Dependencies;
use crate::route::reach::{Item, ItemTemplate, Reach};
use crate::route::table::UNMATCHED;
use crate::route::tag::Tag;
use crate::route::write::{self, Matches, Outdated};
use crate::route::written::{self, Content, Written};
use crate::store::entry::Entry;

/// Explains an unsafe request.
pub(super) fn explain(visit: &Visit<'_>, head: &Head, content: &Bytes) -> Explanation {
    let plain = CacheStatus::forward(Forward::Method);
    let outcome = match Adoption::is_possible(visit, head) {
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
    let (flow, target) = (visit.flow, visit.target);
    let host: Arc<str> = target.authority.as_str().into();
    let user = flow.rules.identity.user(&head.headers);
    let written = Written {
        host: &host,
        query: head.uri.query(),
        headers: &head.headers,
        user: user.as_deref(),
        outcome: written::Outcome::Unknown,
        request: &Content::of(content),
        response: &Content::Unread,
    };
    let outdated = |rules| Matches::of(rules, &head.method, &target.path).outdated(&written);
    let rules = flow.rules.writes.iter().filter_map(|rule| {
        let outdated = outdated(std::slice::from_ref(rule));
        (!outdated.rules.is_empty()).then(|| told_of(rule, &outdated))
    });
    let rules = rules.collect();
    let all = outdated(&flow.rules.writes);
    let own = target.tags().into_vec();
    let mut reach = Reach::default();
    let mut alone: Vec<Item> = all.hard.alone.items.into_iter().chain(all.soft.alone.items).collect();
    alone.extend(visit.whose(head).filter(|_| all.credential).map(Item::Tag));
    let target = own.iter().cloned().map(Item::Tag);
    if all.is_alone {
        alone.extend(target)
    } else {
        target.for_each(|item| reach.add(item))
    }
    all.hard.cascading.items.into_iter().chain(all.soft.cascading.items).for_each(|item| reach.add(item));
    let named = reach.items.len();
    flow.invalidator.settings().dependencies.extend(&mut reach);
    let derived = reach.items[named..].iter().map(item_in_words).collect();
    alone.into_iter().for_each(|item| reach.add(item));
    let reached = flow.store.find(&reach);
    let mut by_route = BTreeMap::new();
    for entry in &reached {
        *by_route.entry(route_of(entry)).or_default() += 1;
    }
    Write { rules, target: own.iter().map(in_words).collect(), derived, entries: reached.len(), by_route }
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

/// The template of the route that an entry was stored under.
fn route_of(entry: &Entry) -> String {
    let template = entry.tags().iter().find_map(|tag| tag.as_str().strip_prefix("\u{1}route:"));
    template.unwrap_or(UNMATCHED).to_owned()
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
