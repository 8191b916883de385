//! The Redis of a fleet: a server alone, or a primary and the replicas that can take over from it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::redis_server::Redis;

/// Longest time that a server takes to be a replica again: it tries every second, and what it copies is little.
const FOLLOWS: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(5);

pub(crate) struct Servers {
    pub(crate) primary: Redis,
    replicas: Vec<Redis>,
}

impl Servers {
    pub(crate) async fn start(replicas: usize) -> Self {
        // Nobody else is waited for who might want a copy, too.
        let start = || Redis::start(&["--repl-diskless-sync-delay", "0"]);
        let servers = Self { primary: start(), replicas: (0..replicas).map(|_| start()).collect() };
        servers.all_follow();
        servers.are_whole().await;
        servers
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.primary.address()
    }

    pub(crate) fn replicas(&self) -> usize {
        self.replicas.len()
    }

    /// This replica takes over; the others follow whom they followed. Gives whom it replaces, and nobody has told him.
    pub(crate) fn promote(&mut self, replica: usize) -> Redis {
        let promoted = self.replicas.swap_remove(replica);
        promoted.command("REPLICAOF NO ONE");
        std::mem::replace(&mut self.primary, promoted)
    }

    pub(crate) fn all_follow(&self) {
        self.replicas.iter().for_each(|replica| self.is_followed_by(replica));
    }

    /// He was the primary, and is a replica from now on.
    pub(crate) fn take_back(&mut self, replaced: Redis) {
        self.is_followed_by(&replaced);
        self.replicas.push(replaced);
    }

    /// Waits until every replica has what the primary has.
    pub(crate) async fn are_whole(&self) {
        let whole = async {
            while self.online() < self.replicas.len() {
                sleep(STEP).await;
            }
        };
        timeout(FOLLOWS, whole).await.expect("they follow the primary");
    }

    fn is_followed_by(&self, replica: &Redis) {
        replica.command(&format!("REPLICAOF 127.0.0.1 {}", self.address().port()));
    }

    fn online(&self) -> usize {
        let replication: String = redis::from_redis_value(self.primary.command("INFO replication")).unwrap();
        replication.matches("state=online").count()
    }
}
