//! What another configuration would change for this process: for whoever asks the admin API.
//!
//! Invariant: nothing is changed by it, and of the environment nothing is told: values and complaints are shown only where they
//! are the same without it. Who asks may have no more than a token that reads.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::{Value, json};

use crate::admin::Compare;
use crate::app::reload::{Basis, outdated};
use crate::config::diff::{Difference, Kept, Live, Moved, What};
use crate::config::{Config, Problem, Report};
use crate::flow::Flow;
use crate::monitor::harvest::Harvest;
use crate::monitor::usage::TOP;
use crate::monitor::usage::report::{self, Asked};
use crate::route::host::HostError;
use crate::route::path::Path;
use crate::route::reach::Reach;
use crate::route::table::Route;
use crate::route::target::Rules;
use crate::store::entry::{Entry, EntryId};

/// Most targets that are told of as moved.
const MOST_MOVED: usize = 50;
/// Entries that are looked at in one go.
const SLICE: usize = 1_000;

/// Compares with what `in_force` holds then, and with what `flow` has stored.
pub(super) fn compare(
    in_force: Arc<ArcSwap<Config>>,
    flow: Flow,
    basis: Arc<Basis>,
    harvest: Harvest,
) -> Compare {
    Arc::new(move |name, text| {
        let old = in_force.load_full();
        let name = name.unwrap_or("the new configuration");
        let shown = old.next_without_env(name, text);
        let new = match (old.next(name, text), &shown) {
            (Ok(new), _) => new,
            (Err(report), Ok(_)) => return refused(&only_here(report.file)),
            (Err(report), Err(bare)) => {
                let file = report.file.clone();
                let shared = report.shared_with(bare);
                return refused(&if shared.has_errors() { shared } else { only_here(file) });
            }
        };
        // Without a text that can be shown, nothing of it is.
        let shown = shown.as_ref().unwrap_or(&old);
        let mut difference = Difference::between(&old, &new, Some(shown));
        difference.live = After::of(&new, (&old, &flow), &basis)
            .map(|after| after.live(&old, &difference, &flow, &harvest));
        let mut told = json!(difference);
        told["ok"] = true.into();
        told
    })
}

fn refused(report: &Report) -> Value {
    let mut told = report.json();
    told["report"] = report.render(false).into();
    told
}

/// What cannot be told without telling of the environment.
fn only_here(file: Option<PathBuf>) -> Report {
    let message = "what the environment of the running Larder puts into it makes it wrong";
    let hint = "run `larder config check` where it runs, with its environment";
    Report::of(file, Problem::general(message).hint(hint))
}

/// Which entries would still be found by other rules.
struct After {
    rules: Rules,
    /// Whether everything that is kept would go.
    begins_anew: bool,
}

impl After {
    /// By those of `new`, where `old` is in force; `None`: they could not be.
    fn of(new: &Config, (old, flow): (&Config, &Flow), basis: &Basis) -> Option<Self> {
        let mut numbers = 0..;
        let (rules, _) = basis.rules(new, |_| numbers.next().unwrap_or_default()).ok()?;
        let begins_anew = outdated(old, new, (&flow.parts().rules, &rules)) == Reach::all();
        Some(Self { rules, begins_anew })
    }

    fn live(&self, old: &Config, difference: &Difference, flow: &Flow, harvest: &Harvest) -> Live {
        let mut live = Live::default();
        let parts = flow.parts();
        let table = &parts.rules.table;
        let mut after: Option<EntryId> = None;
        loop {
            let slice = parts.store.list(after, SLICE);
            let Some(last) = slice.last() else { break };
            after = Some(last.id());
            for entry in &slice {
                let Some(told) = entry.key().told() else { continue };
                let route = table.find(Path::of(told.path).decoded());
                let is_kept = !self.begins_anew && self.finds(entry);
                let Kept { entries, kept } =
                    live.by_route.entry(route.settings.template.clone()).or_default();
                *entries += 1;
                *kept += u64::from(is_kept);
                live.entries += 1;
                live.kept += u64::from(is_kept);
            }
        }
        let report = harvest.report(&Asked { route: None, top: TOP, since: None });
        self.moved(&report, &mut live);
        (live.hit_ratio, live.seconds) = (report.all.hit_ratio, report.seconds);
        live.expected_hit_ratio = expected(old, difference, &report.routes, &live);
        live
    }

    /// Whether a request for it would still be looked up under its key.
    fn finds(&self, entry: &Entry) -> bool {
        entry.key().told().is_some_and(|told| {
            let route = self.route(told.path);
            let host: Result<_, HostError> = self.rules.hosts.resolve(told.scheme, told.authority);
            !route.settings.bypass
                && route.key.digest == entry.key().rules()
                && host.is_ok_and(|host| host.as_str() == told.authority)
        })
    }

    fn route(&self, path: &str) -> &Arc<Route> {
        self.rules.table.find(Path::of(path).decoded())
    }

    /// Plays what is asked for most against the new table.
    fn moved(&self, report: &report::Report, live: &mut Live) {
        for of in &report.routes {
            for key in &of.top {
                live.looked_at += 1;
                let path = key.target.split('?').next().unwrap_or_default();
                // A target that is told with its host begins with that.
                let path = path.find('/').map_or(path, |at| &path[at..]);
                let to = &self.route(path).settings.template;
                if *to != of.route {
                    let (target, from, to) = (key.target.clone(), of.route.clone(), to.clone());
                    live.moved.push(Moved { target, hits: key.hits, from, to });
                }
            }
        }
        live.moved.sort_by_key(|moved| std::cmp::Reverse(moved.hits));
        live.moved.truncate(MOST_MOVED);
    }
}

/// The hit ratio by the new rules. It is known only where no route's rules change, or where they go: whoever is cached for the
/// first time, or otherwise than before, has a hit ratio that nobody has seen.
fn expected(old: &Config, difference: &Difference, routes: &[report::OfRoute], live: &Live) -> Option<f64> {
    if !live.moved.is_empty() || difference.changes.iter().any(|change| weighs(&change.path)) {
        return None;
    }
    let (mut hits, mut asked) = (0, 0);
    for of in routes {
        let change = difference.routes.iter().find(|change| change.route == of.route);
        let is_bypassed = |change: &&crate::config::diff::RouteChange| {
            change.keys.iter().any(|key| key.path.is_empty() && key.new.as_deref() == Some("bypass"))
        };
        match change {
            None => {}
            Some(change) if is_bypassed(&change) => continue,
            Some(change) if change.what == What::Changed && change.keeps_entries == Some(true) => {}
            Some(_) if of.requests.all == 0 => {}
            Some(_) => return None,
        }
        hits += of.requests.hit + of.requests.stale;
        asked += of.requests.hit + of.requests.stale + of.requests.miss + of.requests.revalidated;
    }
    let is_on = old.flow.enabled;
    (asked > 0 && is_on).then(|| hits as f64 / asked as f64)
}

/// Whether a key bears on how much is answered from the cache, whatever its route.
fn weighs(path: &str) -> bool {
    const WEIGHTY: [&str; 9] =
        ["enabled", "hosts", "identity", "writes", "dependencies", "events", "limits", "warm", "redis"];
    WEIGHTY
        .iter()
        .any(|key| path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}
