//! Which server gets the next request: the less busy of two picked at random, passing over those that failed.
//!
//! Invariant: a server is always found; if all of them failed, failing is no reason to pass one over.
//! It refuses to know what failed: only failures of the connection and missing answers are reported here.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use crate::upstream::pool::Server;

/// Failures in a row after which a server is passed over.
const FAILURES: u32 = 3;
/// For how long at first; doubled with every further failure.
const FIRST_EJECTION: Duration = Duration::from_secs(1);
/// Longest time for which a server is passed over.
const LONGEST_EJECTION: Duration = Duration::from_secs(30);

/// The less busy of two healthy servers picked at random; `not` is only picked if it is alone.
pub(crate) fn choose<'a>(
    servers: &'a [Arc<Server>],
    not: Option<&Arc<Server>>,
    random: &Random,
) -> &'a Arc<Server> {
    if let [only] = servers {
        return only;
    }
    let now = Instant::now();
    let others = || servers.iter().filter(|server| not.is_none_or(|not| !Arc::ptr_eq(server, not)));
    let mut candidates: SmallVec<[_; 8]> =
        others().filter(|server| !server.health().is_ejected(now)).collect();
    if candidates.is_empty() {
        candidates = others().collect();
    }
    let one = candidates.swap_remove(random.below(candidates.len()));
    if candidates.is_empty() {
        return one;
    }
    let two = candidates[random.below(candidates.len())];
    if two.in_flight() < one.in_flight() { two } else { one }
}

/// Numbers good enough to spread load with.
#[derive(Default)]
pub(crate) struct Random {
    hash: ahash::RandomState,
    turn: AtomicU64,
}

impl Random {
    /// A number in `0..n`; `n` is at least 1.
    fn below(&self, n: usize) -> usize {
        let number = self.hash.hash_one(self.turn.fetch_add(1, Relaxed));
        (number % n as u64) as usize
    }
}

/// Whether a server may be picked.
#[derive(Default)]
pub(crate) struct Health {
    failures: AtomicU32,
    ejected_until: Mutex<Option<Instant>>,
}

impl Health {
    /// A head came.
    pub(crate) fn succeeded(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
    }

    /// The connection or the answer failed. Gives for how long the server is now passed over, if it is newly
    /// so. Failures of requests that were under way when it was ejected do not prolong it.
    pub(crate) fn failed(&self, now: Instant) -> Option<Duration> {
        let mut until = self.ejected_until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.is_some_and(|until| now < until) {
            return None;
        }
        let failures = self.failures.load(Relaxed).saturating_add(1);
        self.failures.store(failures, Relaxed);
        let doublings = failures.checked_sub(FAILURES)?;
        let ejection = FIRST_EJECTION.saturating_mul(1 << doublings.min(16)).min(LONGEST_EJECTION);
        *until = Some(now + ejection);
        Some(ejection)
    }

    fn is_ejected(&self, now: Instant) -> bool {
        self.failures.load(Relaxed) >= FAILURES
            && self.ejected_until.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|t| now < t)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Framing;
    use crate::upstream::{Origin, Pool};

    fn servers(n: u16) -> Vec<Arc<Server>> {
        (1..=n)
            .map(|port| Origin::Tcp { tls: false, host: "localhost".into(), port })
            .map(|origin| Arc::new(Server::new(origin, Framing::Strict, Pool::default())))
            .collect()
    }

    fn eject(server: &Server) {
        for _ in 0..FAILURES {
            server.health().failed(Instant::now());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_is_passed_over_after_three_failures_in_a_row() {
        let health = Health::default();
        let now = Instant::now();
        assert_eq!(health.failed(now), None);
        assert_eq!(health.failed(now), None);
        health.succeeded();
        assert_eq!(health.failed(now), None);
        assert_eq!(health.failed(now), None);
        assert!(!health.is_ejected(now));
        assert_eq!(health.failed(now), Some(FIRST_EJECTION));
        assert!(health.is_ejected(now));
        assert!(!health.is_ejected(now + FIRST_EJECTION));
    }

    #[tokio::test(start_paused = true)]
    async fn ejection_doubles_up_to_thirty_seconds_and_a_success_resets_it() {
        let health = Health::default();
        let mut now = Instant::now();
        let mut ejections = Vec::new();
        for _ in 0..10 {
            if let Some(ejection) = health.failed(now) {
                ejections.push(ejection.as_secs());
                assert_eq!(health.failed(now), None, "what was under way counts once");
                now += ejection;
            }
        }
        assert_eq!(ejections, [1, 2, 4, 8, 16, 30, 30, 30]);
        health.succeeded();
        assert!(!health.is_ejected(now));
        assert_eq!(health.failed(now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_ejected_server_is_not_chosen_while_another_is_healthy() {
        let servers = servers(3);
        let random = Random::default();
        eject(&servers[1]);
        for _ in 0..200 {
            assert!(!Arc::ptr_eq(choose(&servers, None, &random), &servers[1]));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_servers_ejected_are_all_still_chosen() {
        let servers = servers(2);
        let random = Random::default();
        servers.iter().for_each(|server| eject(server));
        for server in &servers {
            assert!((0..200).any(|_| Arc::ptr_eq(choose(&servers, None, &random), server)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_busier_of_two_is_never_chosen() {
        let servers = servers(2);
        let random = Random::default();
        let _busy = Server::enter(&servers[0]);
        for _ in 0..200 {
            assert!(Arc::ptr_eq(choose(&servers, None, &random), &servers[1]));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_that_just_failed_is_not_tried_again() {
        let servers = servers(3);
        let random = Random::default();
        for _ in 0..200 {
            assert!(!Arc::ptr_eq(choose(&servers, Some(&servers[2]), &random), &servers[2]));
        }
    }
}
