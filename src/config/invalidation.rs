//! What outdates what: write rules, dependencies, events, webhooks and channels, out of the merged file.
//!
//! Invariant: what is handed on holds together by itself; whether it fits the routes, `carried.rs` asks.

use crate::config::event::Cause;
use crate::config::file::File;
use crate::config::problem::Problem;
use crate::config::redis;
use crate::config::resolve::{declared, said};
use crate::config::write::RawWrite;
use crate::invalidate::{Settings, event};
use crate::route::derive::Dependencies;
use crate::route::write::Rule;

/// The write rules in the order of the file.
pub(crate) fn writes(merged: &File) -> Vec<Rule> {
    merged.writes.iter().flat_map(|at| &at.value.0).map(RawWrite::rule).collect()
}

/// How what is kept is outdated.
pub(crate) fn settle(merged: &File, problems: &mut Vec<Problem>) -> Settings {
    let keys = said(merged.invalidation.clone());
    let edges = merged.dependencies.iter().flat_map(|at| &at.value.0);
    for edge in edges.clone().filter(|edge| edge.words.value.0.contains(&edge.cause)) {
        let message = format!("`{}` is derived from itself", edge.cause);
        problems.push(Problem::at(edge.place, message).hint("take it out of its own line"));
    }
    let edges = edges.map(|edge| (edge.cause.clone(), edge.words.value.0.clone()));
    let names = merged.events.iter().flat_map(|at| &at.value.0);
    let names = names.map(|name| (name.cause.text(), name.words.value.0.clone()));
    let webhooks = merged.webhooks.iter().flat_map(|at| &at.value.0);
    Settings {
        debounce: declared(&keys.debounce),
        max_batch: declared(&keys.max_batch).size(),
        dependencies: Dependencies::new(edges.collect()),
        events: event::Names { rules: names.collect(), ..event::Names::default() },
        webhooks: webhooks.filter_map(|webhook| webhook.settings()).collect(),
        subscription: merged.redis.as_ref().and_then(|at| redis::settle(&at.value, problems)),
    }
}
