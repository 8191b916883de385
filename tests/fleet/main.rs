//! Nodes of a fleet in one process, over one real Redis: what one of them keeps another is given, and nothing that was outdated before.
//!
//! Every node has a clock that stands still, so no lease ends and nobody is shut out unless a story wants it. Redis is a real one, and
//! nobody waits for the tier beyond its deadline: a busy machine may miss that, so a story is told until it was in time. What must never
//! be is looked at each time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[cfg(feature = "faults")]
mod faults;
#[allow(dead_code, reason = "it is there for the scenarios first")]
#[path = "../scenarios/harness/mod.rs"]
mod harness;
mod stories;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use larder::invalidate::applied::Ack;
use larder::invalidate::{Invalidation, Source};
use larder::route::reach::{Item, Reach};

use crate::harness::origin::Origin;
use crate::harness::proxy::Proxy;
use crate::harness::redis::Redis;

const ROUTES: &str = "{ '/pages/{id}': 1h }";

/// Most times that something is tried that a busy machine may miss.
const TRIES: usize = 200;

/// In a new epoch nobody acknowledges anything for a lease and its margin.
const EPOCH_SETTLES: Duration = Duration::from_millis(1_200);

/// How long a step of waiting for Redis is.
const STEP: Duration = Duration::from_millis(1);

/// What is planted is planted for the whole process, so its stories come one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One of the fleet.
struct Node(Proxy);

impl Node {
    /// One that has a lease, and acknowledges what it is told.
    async fn start(origin: &Origin, redis: &Redis) -> Self {
        let node = Self::just_started(origin, redis).await;
        node.joined().await;
        node
    }

    /// One that has only just begun to accept connections.
    async fn just_started(origin: &Origin, redis: &Redis) -> Self {
        let yaml = format!("redis: {{ url: '{}' }}\nroutes: {ROUTES}\n", redis.url());
        Self(Proxy::start(origin, &yaml).await)
    }

    async fn joined(&self) {
        self.leased().await;
        self.0.pass(EPOCH_SETTLES);
        self.leased().await;
        self.0.flow.parts().tier.as_ref().unwrap().connected().await;
    }

    async fn leased(&self) {
        let parts = self.0.flow.parts();
        until(|| parts.store.lease().holds(parts.clock.mono())).await;
    }

    fn epoch(&self) -> u64 {
        self.0.flow.parts().store.applied().epoch
    }

    /// The number of the answer to `path` among all that the origin has given; asked for under the name that all nodes have.
    async fn read(&self, path: &str) -> usize {
        self.0.get(path).header("host", "api.example").reply().await.text().parse().unwrap()
    }

    /// Lets go of everything that is in memory.
    fn forget(&self) {
        let store = &self.0.flow.parts().store;
        store.list(None, 1_000).iter().for_each(|entry| store.remove(entry));
    }

    /// Outdates `path` on every node.
    async fn outdate(&self, path: &str) {
        let reach = Reach { items: vec![Item::parse(path).unwrap()] };
        let invalidation = Invalidation { reach, source: Source::Admin, ..Invalidation::default() };
        let applied = self.0.flow.parts().invalidator.apply(invalidation).await;
        assert_eq!(applied.ack, Ack::Applied);
    }

    /// What became of reads for which the tier was to be asked.
    fn told(&self, result: &'static str) -> u64 {
        self.0.flow.parts().metrics.tier().reads(result)
    }

    /// Fetches `path` from the origin until Redis has the answer, and nothing is in memory.
    async fn share(&self, path: &str) {
        let stored = || self.0.flow.parts().metrics.tier().fills("stored");
        for _ in 0..TRIES {
            let before = stored();
            self.forget();
            let hits = self.told("hit");
            self.read(path).await;
            tokio::time::sleep(2 * STEP).await;
            if stored() > before || self.told("hit") > hits {
                return self.forget();
            }
        }
        panic!("it is never stored");
    }
}

/// Waits for Redis.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(STEP).await;
    }
}
