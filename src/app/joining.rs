//! How a node becomes one of a fleet: what it reaches Redis by, and what lives in the background.
//!
//! Invariant: nothing is asked of Redis before the life of the node begins. It refuses to know what the parts do.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::app::Error;
use crate::clock::Clock;
use crate::config::Config;
use crate::fleet::journal::{self, Journal, RETAINED};
use crate::fleet::redis_journal::RedisJournal;
use crate::fleet::script;
use crate::fleet::{self, Fleet, about};
use crate::flow::Flow;
use crate::invalidate::stream::Stream;
use crate::metrics::Metrics;
use crate::redis;
use crate::redis::place::Place;
use crate::tier::{Standing, Tier};

/// Longest time that the start waits for the fleet's Redis.
const JOINING: Duration = Duration::from_secs(1);

/// What the nodes of a fleet tell one another, and whether they may. It connects to nobody before an epoch is entered.
pub(super) fn shared_tier(
    config: &Config,
    place: Option<&Place>,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> (Standing, Option<Tier>) {
    let standing = Standing::default();
    let start = |(settings, place)| {
        Tier::start(settings, place, standing.clone(), clock.clone(), Arc::clone(metrics))
    };
    // Without it everything goes on, a little slower.
    let failed = |why: &redis::Error| tracing::error!("there is no shared tier: {why}");
    let tier = config
        .tier
        .clone()
        .zip(place)
        .and_then(|where_and_how| start(where_and_how).inspect_err(failed).ok());
    (standing, tier)
}

/// Where the fleet's Redis is: on a Cluster, the node that has the journal.
pub(super) fn place_of(settings: &fleet::Settings) -> Result<Place, Error> {
    Ok(Place::new(settings.at.clone(), &script::key(&settings.namespace))?)
}

/// Makes this process, with a configuration of this digest, a node of the fleet.
pub(super) fn join(
    flow: &Flow,
    mut settings: fleet::Settings,
    (place, tier): (Place, Standing),
    digest: &str,
) -> Fleet {
    settings.about = about::of(digest);
    let parts = flow.parts();
    let deadline = settings.lease / 2;
    let of_journal = journal::Settings {
        namespace: settings.namespace.clone(),
        replicas: settings.replicas,
        coherence: settings.coherence,
        deadline,
        retained: RETAINED,
    };
    let journal = Journal::Redis(RedisJournal::new(place, of_journal));
    let (store, metrics) = (Arc::clone(&parts.store), Arc::clone(&parts.metrics));
    let fleet = Fleet::new(settings, journal, store, tier, parts.clock.clone(), metrics);
    parts.invalidator.join(fleet.clone(), parts.rules.identity.fingerprint());
    fleet
}

/// Lives in the fleet from now on. Waits for [`JOINING`] at most until the first requests find what other nodes keep.
pub(super) async fn enter(fleet: &Fleet, flow: &Flow) -> JoinHandle<()> {
    let life = tokio::spawn(fleet.clone().live(Arc::new(flow.parts().invalidator.clone())));
    let joined = async {
        fleet.entered(JOINING).await;
        fleet.leased(JOINING).await;
        if let Some(tier) = &flow.parts().tier {
            tier.connected().await;
        }
    };
    let _is_over = tokio::time::timeout(JOINING, joined).await;
    life
}

/// What reads the stream of events of the fleet's Redis.
pub(super) fn events(flow: &Flow, settings: &fleet::Settings, place: &Place) -> Result<Stream, Error> {
    // Longer than an invalidation takes while the fleet is well: a node that died is waited for once.
    let patience = 3 * settings.lease;
    Ok(Stream::new(flow.parts().invalidator.clone(), place, &settings.namespace, patience)?)
}
