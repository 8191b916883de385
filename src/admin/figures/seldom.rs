//! What costs too much to be looked at for each view: the way to the origin, the fleet's registry, what is known of usage.
//!
//! Invariant: nobody looks unless somebody wants to know, and one at a time. Only the first who asks waits for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::admin::{Sources, elsewhere, fleet, status, warm};
use crate::monitor::usage::report::{Asked, OfRoute, TopKey};

/// How old it gets while somebody looks on.
const OLD: Duration = Duration::from_secs(2);
/// How long the fleet's Redis may take to name the nodes.
const FLEET: Duration = Duration::from_secs(1);
/// Keys that are told of.
const HOTTEST: usize = 20;

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(super) upstream: Value,
    pub(super) fleet: Value,
    pub(super) warm: Value,
    pub(super) audit: Value,
    pub(super) hottest: Vec<Value>,
    /// Bytes of bodies that came out of the cache.
    pub(super) bytes_hit: u64,
    /// The same by route, and those that were stored.
    pub(super) bytes: HashMap<String, (u64, u64)>,
}

/// What was seen last.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    last: Arc<Mutex<Last>>,
    is_looking: Arc<AtomicBool>,
}

impl Seldom {
    /// What was seen last; if that is old, somebody looks again behind it.
    pub(super) async fn look(&self, sources: &Sources) -> Arc<Seen> {
        let last = lock(&self.last).clone();
        match last {
            Some((at, seen)) => {
                if at.elapsed() >= OLD && !self.is_looking.swap(true, Ordering::AcqRel) {
                    let looking = Looking(Arc::clone(&self.is_looking));
                    let (sources, last) = (sources.clone(), Arc::clone(&self.last));
                    tokio::spawn(async move {
                        let seen = look(&sources).await;
                        *lock(&last) = Some((Instant::now(), seen));
                        drop(looking);
                    });
                }
                seen
            }
            None => {
                let seen = look(sources).await;
                *lock(&self.last) = Some((Instant::now(), Arc::clone(&seen)));
                seen
            }
        }
    }
}

/// Held while somebody looks.
struct Looking(Arc<AtomicBool>);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

type Last = Option<(Instant, Arc<Seen>)>;

fn lock(last: &Mutex<Last>) -> MutexGuard<'_, Last> {
    last.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn look(sources: &Sources) -> Arc<Seen> {
    let of_fleet = async {
        let told = timeout(FLEET, fleet::told(sources)).await;
        told.unwrap_or_else(|_late| json!({ "node": null, "journal": null, "nodes": [], "error": "late" }))
    };
    let harvest = sources.harvest.clone();
    let usage = elsewhere(move || harvest.known(&Asked { route: None, top: HOTTEST, since: None }));
    let (upstream, fleet, usage) = tokio::join!(status::upstream(sources), of_fleet, usage);
    // Without it the process is about to stop, and nobody will look any more.
    let Ok(usage) = usage else { return Arc::default() };
    Arc::new(Seen {
        upstream,
        fleet,
        warm: warm::brief_list(sources),
        audit: serde_json::to_value(usage.all.audit).unwrap_or_default(),
        hottest: hottest(&usage.routes),
        bytes_hit: usage.all.bytes_hit,
        bytes: usage
            .routes
            .into_iter()
            .map(|route| (route.route, (route.bytes_hit, route.bytes_filled)))
            .collect(),
    })
}

/// What is read most, whatever its route.
fn hottest(routes: &[OfRoute]) -> Vec<Value> {
    let mut keys: Vec<_> = routes
        .iter()
        .flat_map(|route| route.top.iter().map(move |key| (route.route.as_str(), key)))
        .collect();
    keys.sort_by(|(_, a), (_, b)| b.hits.cmp(&a.hits).then_with(|| a.target.cmp(&b.target)));
    let first = keys.into_iter().take(HOTTEST);
    let told = |(route, key): (&str, &TopKey)| json!({ "route": route, "target": key.target, "hits": key.hits, "error": key.error });
    first.map(told).collect()
}
