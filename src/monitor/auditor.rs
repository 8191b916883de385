//! Holds drawn hits against the origin, behind everybody's back.
//!
//! Invariant: what is asked has been paid for out of the budget, and nothing is stored. A stale entry is outdated only where
//! `monitor.audit.repair` says so, and then like anything that is invalidated.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::flow::compare::{NotSaid, Said};
use crate::invalidate::{Invalidation, Source};
use crate::monitor::advice::Refetched;
use crate::monitor::audit::{self, Outcome, PER_CHECK, Repair, Seen, Standing};
use crate::monitor::harvest::{Shared, lock};
use crate::route::reach::Reach;
use crate::store::entry::Entry;

/// Most comparisons under way.
const AT_ONCE: usize = 64;

/// A second.
const SECOND: Duration = Duration::from_secs(1);

/// An entry, and for how many of the hits that were drawn it stands.
pub(in crate::monitor) struct Drawn {
    pub(in crate::monitor) entry: Arc<Entry>,
    pub(in crate::monitor) hits: u64,
}

/// Compares what is drawn, at the pace of `monitor.audit.per_second`.
pub(in crate::monitor) async fn run(shared: Arc<Shared>, mut drawn: mpsc::Receiver<Drawn>) {
    let pace = SECOND / u32::try_from(shared.settings.audit.per_second.max(1)).unwrap_or(u32::MAX);
    let mut turns = tokio::time::interval(pace.max(Duration::from_millis(1)));
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut under_way = JoinSet::new();
    while let Some(drawn) = drawn.recv().await {
        turns.tick().await;
        while under_way.len() >= AT_ONCE {
            under_way.join_next().await;
        }
        while under_way.try_join_next().is_some() {}
        if lock(&shared.budget).take().is_ok() {
            under_way.spawn(check(Arc::clone(&shared), drawn));
        }
    }
}

async fn check(shared: Arc<Shared>, Drawn { entry, hits }: Drawn) {
    let age = shared.flow.parts().clock.mono().saturating_sub(entry.life.received());
    let (outcome, requests) = compare(&shared, &entry).await;
    lock(&shared.budget).give_back(PER_CHECK - requests);
    let Some(outcome) = outcome else { return };
    let route = shared.route(&entry);
    match outcome {
        Outcome::Same => shared.seen(&entry, age, Refetched::Unchanged),
        Outcome::Stale => shared.seen(&entry, age, Refetched::Changed),
        Outcome::Volatile | Outcome::Overtaken | Outcome::Failed => {}
    }
    shared.flow.parts().metrics.audited(route, outcome.as_str(), hits);
    shared.usage().audited(route, outcome, hits);
    if outcome == Outcome::Stale {
        let target = entry.key().told().map(|told| told.path);
        let repair = shared.settings.audit.repair;
        tracing::warn!(
            route = entry.route(),
            target,
            ?repair,
            "a stale entry: the origin says something else, and no invalidation did"
        );
        if repair == Repair::Outdate {
            outdate(&shared, &entry).await;
        }
    }
}

/// What came of it, and how often the origin was asked.
async fn compare(shared: &Shared, entry: &Arc<Entry>) -> (Option<Outcome>, u32) {
    let Some(kept) = Said::by(entry).await.map(seen) else { return (None, 0) };
    let first = match ask(shared, entry).await {
        Ok(first) => first,
        Err(NotSaid::NotAskable) => return (None, 0),
        Err(NotSaid::NoAnswer) => return (Some(Outcome::Failed), 1),
    };
    if let Some(outcome) = audit::judge(&kept, &first, standing(shared, entry)) {
        return (Some(outcome), 1);
    }
    tokio::time::sleep(shared.settings.audit.again).await;
    let outcome = match ask(shared, entry).await {
        Ok(again) => audit::judge_again(&kept, &first, &again, standing(shared, entry)),
        Err(_) => Outcome::Failed,
    };
    (Some(outcome), 2)
}

async fn ask(shared: &Shared, entry: &Entry) -> Result<Seen, NotSaid> {
    shared.flow.ask_beside(entry).await.map(seen)
}

fn seen(said: Said) -> Seen {
    Seen { status: said.status.as_u16(), strong_etag: said.strong_etag, digest: said.digest }
}

/// Whether clients still get this entry: an invalidation that came while the origin was asked has reached it by now.
fn standing(shared: &Shared, entry: &Entry) -> Standing {
    let parts = shared.flow.parts();
    let is_kept = || parts.store.variants(entry.key()).iter().any(|kept| kept.id() == entry.id());
    let is_served = !entry.is_dead() && entry.softened().is_none() && entry.life.is_fresh(parts.clock.now());
    if is_served && is_kept() { Standing::Kept } else { Standing::Overtaken }
}

/// Its path, with every query: what changed in silence did so for all of them.
async fn outdate(shared: &Shared, entry: &Entry) {
    let reach = Reach::of(entry.tags().iter().filter(|tag| tag.is_path()).cloned());
    let (source, actor) = (Source::Origin, "audit".to_owned());
    let invalidation =
        Invalidation { reach, source, actor, without_derived: true, ..Invalidation::default() };
    shared.flow.parts().invalidator.apply(invalidation).await;
}
