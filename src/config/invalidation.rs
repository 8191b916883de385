//! What outdates what: write rules, dependencies, events, webhooks and channels, out of the merged file.
//!
//! Invariant: no rule is handed on that no write could fall under, no two that say the same, and no dependencies that go
//! round. Whether anything carries what they name, `carried.rs` asks.

use http::Method;

use crate::config::bound;
use crate::config::collection::RawRule;
use crate::config::event::Cause;
use crate::config::file::File;
use crate::config::problem::{Problem, Source};
use crate::config::redis;
use crate::config::resolve::{declared, said};
use crate::config::route::Settled;
use crate::config::shape::{At, Shape};
use crate::config::webhook::RawWebhook;
use crate::config::write::{RawWrite, When};
use crate::invalidate::{Settings, event};
use crate::route::ReadMethod;
use crate::route::derive::Dependencies;
use crate::route::pattern::Template;
use crate::route::write::{Methods, Rule};

/// The write rules in the order of the file.
pub(crate) fn writes(merged: &File, routes: &Settled, problems: &mut Vec<Problem>) -> Vec<Rule> {
    let rules = merged.writes.as_ref().map(|at| at.value.0.as_slice()).unwrap_or_default();
    for (at, rule) in rules.iter().enumerate() {
        bound::of_write(rule, problems);
        problems.extend(rule.keys.when.as_ref().and_then(|when| half(rule, when)));
        problems
            .extend(rules[..at].iter().find(|other| is_twin(rule, other)).map(|other| twins(rule, other)));
        problems.extend(never(rule, routes, webhooks(merged)));
    }
    rules.iter().map(RawWrite::rule).collect()
}

/// A `when` that asks half a question.
fn half(rule: &RawWrite, when: &At<When>) -> Option<Problem> {
    let When { path, states, .. } = &when.value;
    let what = match (path, states) {
        (Some(_), None) => "`when` of `{}` has a `path` and no `in`",
        (None, Some(_)) => "`when` of `{}` has an `in` and no `path`",
        _ => return None,
    };
    let hint = "write when: { path: $.state, in: [done] }";
    Some(Problem::of(when.source, what.replace("{}", &rule.name)).hint(hint))
}

fn is_twin(one: &RawWrite, other: &RawWrite) -> bool {
    let methods = match (&one.methods, &other.methods) {
        (Methods::Any, Methods::Any) => true,
        (Methods::Of(one), Methods::Of(other)) => {
            one.len() == other.len() && one.iter().all(|method| other.contains(method))
        }
        _ => false,
    };
    let asked = |rule: &RawWrite| {
        let mut entries = Vec::new();
        if let Some(when) = &rule.keys.when {
            when.value.show(&[], Source::Default, &mut entries);
        }
        entries.into_iter().map(|entry| (entry.path, entry.value)).collect::<Vec<_>>()
    };
    methods && one.template.is_same_shape(&other.template) && asked(one) == asked(other)
}

fn twins(rule: &RawWrite, twin: &RawWrite) -> Problem {
    let message =
        format!("`{}` is about the same writes as `{}` on line {}", rule.name, twin.name, twin.place.line);
    Problem::at(rule.place, message)
        .hint("write what both outdate into one: names of parameters tell no paths apart")
}

/// Why no write ever falls under a rule, beside what its key alone tells.
fn never<'m>(
    rule: &RawWrite,
    routes: &Settled,
    mut webhooks: impl Iterator<Item = &'m RawWebhook>,
) -> Option<Problem> {
    let shape = rule.template.shape();
    if webhooks.any(|webhook| webhook.is_on() && webhook.path.shape().is_same_shape(shape)) {
        let message = format!("`{}` matches nothing: what comes to that path is a webhook", rule.name);
        return Some(Problem::at(rule.place, message).hint("say under `events` what it outdates"));
    }
    if rule.methods != Methods::Of(vec![Method::POST]) {
        return None;
    }
    let reads = |route: &&crate::route::Settings| {
        let is_same = Template::parse(&route.template).is_ok_and(|template| template.is_same_shape(shape));
        is_same && !route.bypass && route.methods.contains(&ReadMethod::Post)
    };
    let route = routes.matched.iter().find(reads)?;
    let message = format!("`{}` matches nothing: on the route `{}` a POST reads", rule.name, route.template);
    Some(Problem::at(rule.place, message).hint("take the rule out, or POST out of the route's `methods`"))
}

/// How what is kept is outdated.
pub(crate) fn settle(merged: &File, problems: &mut Vec<Problem>) -> Settings {
    let keys = said(merged.invalidation.clone());
    let names = merged.events.iter().flat_map(|at| &at.value.0);
    let names = names.map(|name| (name.cause.text(), name.items()));
    collide(merged, problems);
    Settings {
        debounce: declared(&keys.debounce),
        max_batch: declared(&keys.max_batch).size(),
        dependencies: dependencies(merged, problems),
        events: event::Names { rules: names.collect(), ..event::Names::default() },
        webhooks: webhooks(merged).filter_map(RawWebhook::settings).collect(),
        // The walk's; whoever joins the two says so.
        writes: Vec::new(),
        subscription: merged.redis.as_ref().and_then(|at| redis::settle(&at.value, problems)),
    }
}

/// Webhooks at one path, and routes that keep nothing because what comes there is never forwarded.
fn collide(merged: &File, problems: &mut Vec<Problem>) {
    let webhooks: Vec<&RawWebhook> = webhooks(merged).collect();
    for (at, webhook) in webhooks.iter().enumerate() {
        if let Some(twin) = webhooks[..at].iter().find(|other| other.path.is_same_shape(&webhook.path)) {
            let message = format!("the webhook `{}` is the same as `{}`", webhook.path.text, twin.path.text);
            let hint = "a slash at the end tells no paths apart; keep one of them";
            problems.push(Problem::at(webhook.place, message).hint(hint));
        }
    }
    let routes = merged.routes.iter().flat_map(|at| &at.value.0);
    for route in routes.filter(|route| matches!(route.rule, RawRule::Keys(_))) {
        if webhooks.iter().any(|webhook| webhook.is_on() && webhook.path.is_same_shape(&route.template)) {
            let message =
                format!("`{}` keeps nothing: what comes to that path is a webhook", route.template.text);
            let hint = "take the route out, or give the webhook another path";
            problems.push(Problem::at(route.place, message).hint(hint).warning());
        }
    }
}

fn webhooks(merged: &File) -> impl Iterator<Item = &RawWebhook> {
    merged.webhooks.iter().flat_map(|at| &at.value.0)
}

fn dependencies(merged: &File, problems: &mut Vec<Problem>) -> Dependencies {
    let Some(edges) = merged.dependencies.as_ref().map(|at| &at.value) else {
        return Dependencies::default();
    };
    bound::of_dependencies(edges, problems);
    let pairs = edges.0.iter().map(|edge| (edge.cause.clone(), edge.items()));
    let dependencies = Dependencies::new(pairs.collect());
    if let Some(cycle) = dependencies.cycle() {
        let first =
            edges.0.iter().find(|edge| cycle.first().is_some_and(|first| *first == edge.cause.text()));
        let source = first.map_or(Source::Default, |edge| Source::File(edge.place));
        let round: Vec<&str> = cycle.iter().chain(cycle.first()).map(String::as_str).collect();
        let message = format!("the dependencies go round: {}", round.join(" → "));
        problems.push(Problem::of(source, message).hint("take one of these steps out"));
    }
    dependencies
}
