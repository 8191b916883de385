//! What another configuration changes for what is stored and asked now, as `larder config diff` and the admin API tell it.
//!
//! Invariant: no secret stands in it, and nothing that only the environment of the process knows ([`Difference::between`] is told
//! what may be shown). Entries of a route survive if its rules digest does: that digest is part of every key.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::config::problem::Source;
use crate::config::reload::{Change, changes, needs_restart};
use crate::route;

/// What stands for a value that is not to be shown.
const OUTSIDE: &str = "(from the environment)";

/// What the configuration of what no route matches is called.
const UNMATCHED: &str = "unmatched";

/// All that changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Stands for the configuration that holds.
    pub old: String,
    /// Stands for the other one.
    pub new: String,
    /// Keys that hold something else, but those of routes.
    pub changes: Vec<Change>,
    /// Routes that come, go, or are ruled otherwise; in the order of the new file, those that go last.
    pub routes: Vec<RouteChange>,
    /// Routes that stay as they are.
    pub unchanged_routes: usize,
    /// Keys that a reload does not bring about.
    pub needs_restart: Vec<String>,
    /// What a running process knows of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
}

/// One route that changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteChange {
    /// Its template, or `unmatched`.
    pub route: String,
    /// What becomes of it.
    pub what: What,
    /// Its keys that hold something else.
    pub keys: Vec<Change>,
    /// Whether what is kept under it stays of use; `None`: there was no such route.
    pub keeps_entries: Option<bool>,
}

/// What becomes of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "plain words")]
pub enum What {
    Added,
    Removed,
    Changed,
}

/// What a running process knows of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// Entries that are stored now.
    pub entries: u64,
    /// Of those, how many would still be found.
    pub kept: u64,
    /// By route: those that are stored, and would be found.
    pub by_route: BTreeMap<String, Kept>,
    /// Of the targets that are asked for most: those that another route would match.
    pub moved: Vec<Moved>,
    /// How many targets were looked at for that.
    pub looked_at: usize,
    /// Of what the cache was asked for lately, how much it answered.
    pub hit_ratio: Option<f64>,
    /// The same by the new rules, if the traffic stays as it is; `None`: nobody can know.
    pub expected_hit_ratio: Option<f64>,
    /// For how long both were counted, in seconds.
    pub seconds: f64,
}

/// Entries of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "plain words")]
pub struct Kept {
    pub entries: u64,
    pub kept: u64,
}

/// A target that another route would match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Path and query.
    pub target: String,
    /// How often it was answered from the cache, about.
    pub hits: u64,
    /// The route that matches it now.
    pub from: String,
    /// The route that would.
    pub to: String,
}

impl Difference {
    /// Compares `new` with what holds. Of its values those are shown that `shown` has too: the same text, resolved without what
    /// only the process knows. `None`: all of them.
    pub fn between(old: &Config, new: &Config, shown: Option<&Config>) -> Self {
        let mut all = changes(old, new);
        if let Some(shown) = shown {
            let known: HashMap<String, Option<String>> =
                changes(old, shown).into_iter().map(|change| (change.path, change.new)).collect();
            for change in &mut all {
                // What is the same with and without the environment is no word of its.
                if change.new.is_some() && known.get(&change.path) != Some(&change.new) {
                    change.new = Some(OUTSIDE.to_owned());
                }
            }
        }
        let needs_restart = needs_restart(&all).into_iter().map(str::to_owned).collect();
        let (of_routes, changes): (Vec<Change>, Vec<Change>) =
            all.into_iter().partition(|change| change.path.starts_with("routes."));
        let routes = routes(old, new, of_routes);
        let changed = routes.iter().filter(|route| route.what != What::Removed).count();
        let count = new.routes.len() + usize::from(new.unmatched.is_some());
        Self {
            old: format!("{:016x}", old.digest),
            new: format!("{:016x}", new.digest),
            changes,
            unchanged_routes: count.saturating_sub(changed),
            routes,
            needs_restart,
            live: None,
        }
    }

    /// Whether anything changes at all.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.routes.is_empty()
    }
}

fn routes(old: &Config, new: &Config, mut keys: Vec<Change>) -> Vec<RouteChange> {
    let before: HashMap<&str, &route::Settings> = each(old).collect();
    let after: HashMap<&str, &route::Settings> = each(new).collect();
    let mut of = |template: &str| -> Vec<Change> {
        let path = format!("routes.{template}");
        let is_of = |change: &Change| {
            change.path.strip_prefix(&path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let (own, others) = std::mem::take(&mut keys).into_iter().partition(is_of);
        keys = others;
        let short = |change: Change| {
            let key = change.path[path.len()..].trim_start_matches('.').to_owned();
            Change { path: key, ..change }
        };
        Vec::into_iter(own).map(short).collect()
    };
    let own = own_keys(new);
    let own: HashSet<(&str, &str)> = own.iter().map(|(route, key)| (route.as_str(), key.as_str())).collect();
    let mut found = Vec::new();
    for (template, settings) in each(new) {
        let (keys, was) = (of(template), before.get(template));
        let keeps_entries = was.map(|was| was.digest == settings.digest && was.bypass == settings.bypass);
        if was.is_some() && keys.is_empty() && keeps_entries == Some(true) {
            continue;
        }
        let what = if was.is_some() { What::Changed } else { What::Added };
        let mut keys = keys;
        if what == What::Added {
            keys.retain(|change| own.contains(&(template, change.path.as_str())));
        }
        found.push(RouteChange { route: template.to_owned(), what, keys, keeps_entries });
    }
    let gone = each(old).filter(|(template, _)| !after.contains_key(template));
    for (template, _) in gone {
        let (route, keys) = (template.to_owned(), of(template));
        found.push(RouteChange { route, what: What::Removed, keys, keeps_entries: Some(false) });
    }
    found
}

/// What routes say themselves, or their presets: template and key.
fn own_keys(config: &Config) -> HashSet<(String, String)> {
    let is_inherited = |path: &[String]| {
        path.first().is_some_and(|key| ["defaults", "limits", "invalidation"].contains(&key.as_str()))
    };
    let inherited: Vec<Source> =
        config.sources.iter().filter(|entry| is_inherited(&entry.path)).map(|entry| entry.source).collect();
    let said = config.sources.iter().filter_map(|entry| {
        let [section, template, keys @ ..] = entry.path.as_slice() else { return None };
        let is_own = entry.source != Source::Default && !inherited.contains(&entry.source);
        (section == "routes" && is_own).then(|| (template.clone(), keys.join(".")))
    });
    said.collect()
}

/// Every route with its template, what no route matches among them.
fn each(config: &Config) -> impl Iterator<Item = (&str, &route::Settings)> {
    let matched = config.routes.iter().map(|route| (route.template.as_str(), route));
    matched.chain(config.unmatched.as_ref().map(|route| (UNMATCHED, route)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Env, Flags, load_str};

    fn config(text: &str, env: &Env) -> Config {
        let text = format!("upstream: http://localhost:9\n{text}");
        load_str("test.yaml", &text, &Flags::default(), env).unwrap()
    }

    fn between(old: &str, new: &str) -> Difference {
        let env = Env::default();
        Difference::between(&config(old, &env), &config(new, &env), None)
    }

    fn of<'d>(difference: &'d Difference, route: &str) -> &'d RouteChange {
        difference.routes.iter().find(|change| change.route == route).unwrap()
    }

    #[test]
    fn a_file_that_is_written_otherwise_changes_nothing() {
        let difference = between("routes: { /a: 60s }", "routes:\n  /a: { ttl: 1m } # the same\n");
        assert!(difference.is_empty() && difference.old == difference.new, "{difference:?}");
        assert_eq!(difference.unchanged_routes, 2, "the route, and what none matches");
    }

    #[test]
    fn routes_come_go_and_are_ruled_otherwise() {
        let difference = between(
            "routes: { /a: 1m, /b: 1m, /c: { ttl: 1m, timeout: 5s }, /d: 1m, /e: 1m }",
            "routes: { /f: 1m, /a: 2m, /c: { ttl: 1m, timeout: 9s }, /d: bypass, /e: 1m }",
        );
        let told: Vec<_> = difference
            .routes
            .iter()
            .map(|change| (change.route.as_str(), change.what, change.keeps_entries))
            .collect();
        assert_eq!(
            told,
            [
                ("/f", What::Added, None),
                ("/a", What::Changed, Some(false)),
                ("/c", What::Changed, Some(true)),
                ("/d", What::Changed, Some(false)),
                ("/b", What::Removed, Some(false)),
            ]
        );
        assert_eq!(difference.unchanged_routes, 2);
        let said: Vec<&str> = of(&difference, "/f").keys.iter().map(|key| key.path.as_str()).collect();
        assert_eq!(said, ["ttl"], "what it inherits is not its own");
        let change = |path: &str, old: &str, new: &str| Change {
            path: path.to_owned(),
            old: Some(old.to_owned()),
            new: Some(new.to_owned()),
        };
        assert_eq!(of(&difference, "/a").keys, [change("ttl", "1m", "2m")]);
        assert_eq!(of(&difference, "/c").keys, [change("timeout", "5s", "9s")]);
    }

    #[test]
    fn a_default_that_changes_is_told_of_every_route_that_inherits_it() {
        let difference = between(
            "routes: { /a: {}, /b: 1m }\ndefaults: { ttl: 1h }",
            "routes: { /a: {}, /b: 1m }\ndefaults: { ttl: 2h }",
        );
        assert_eq!(difference.changes[0].path, "defaults.ttl");
        assert_eq!(difference.routes.len(), 1, "{difference:?}");
        assert_eq!(of(&difference, "/a").keys[0].path, "ttl");
    }

    #[test]
    fn one_route_is_not_taken_for_another_that_begins_alike() {
        let difference = between("routes: { /a: 1m, /a.b: 1m }", "routes: { /a: 1m, /a.b: 2m }");
        let told: Vec<&str> = difference.routes.iter().map(|change| change.route.as_str()).collect();
        assert_eq!(told, ["/a.b"], "{difference:?}");
    }

    #[test]
    fn what_the_environment_says_is_not_repeated() {
        let env = Env::of([("SECRET", "hunter2"), ("TTL", "3600")]);
        let text = "routes: { /a: { ttl: '${TTL}', tags: 'x ${SECRET}' }, /b: '${GONE:-5m}' }\nevents: { e: 'a${SECRET}' }";
        let (old, new) = (config("routes: { /b: 1m }", &env), config(text, &env));
        let full = format!("upstream: http://localhost:9\n{text}");
        let shown = old.next_without_env("test.yaml", &full).unwrap();
        let difference = Difference::between(&old, &new, Some(&shown));
        let json = serde_json::to_string(&difference).unwrap();
        assert!(!json.contains("hunter2") && !json.contains("1h"), "{json}");
        assert!(json.contains(OUTSIDE) && json.contains("\"5m\""), "what anybody can read is told: {json}");
    }
}
