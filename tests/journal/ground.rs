//! What a case is played on: a Redis and its replicas, or the twin in memory, and every mishap that may befall either.

use std::time::Duration;

use larder::fleet::Coherence;
use larder::fleet::journal::{Incarnation, Journal, RETAINED, Settings};
use larder::fleet::redis_journal::RedisJournal;
use larder::fleet::script;
use larder::fleet::sim::{Key, Old, SimServer};
use larder::redis::Address;
use larder::redis::place::{Place, Where};

use crate::redis_server::Redis;

/// A story that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest time for an answer that has to come.
const DEADLINE: Duration = Duration::from_secs(20);

/// What is asked of a server besides its port: to do as a test says, and to give a replica all that it has at once.
pub(crate) const REDIS: &[&str] = &["--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0"];

pub(crate) enum Ground {
    Redis(Vec<Redis>),
    Sim(SimServer),
}

/// Declares cases that are played on both.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        mod on_redis {
            $(#[test] fn $name() { crate::ground::play_on_redis(super::$name); })*
        }
        mod in_memory {
            $(#[test] fn $name() { crate::ground::play_in_memory(super::$name); })*
        }
    };
}
pub(crate) use cases;

pub(crate) fn play_on_redis(case: impl AsyncFnOnce(&mut Ground)) {
    let mut ground = Ground::Redis(vec![Redis::start(REDIS)]);
    play(case(&mut ground));
}

/// A story about other servers than those.
pub(crate) fn play(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, story).await.expect("it hangs") });
}

pub(crate) fn play_in_memory(case: impl AsyncFnOnce(&mut Ground)) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(case(&mut Ground::Sim(SimServer::default())));
}

pub(crate) fn settings() -> Settings {
    Settings {
        namespace: "larder".into(),
        replicas: 0,
        deadline: DEADLINE,
        retained: RETAINED,
        coherence: Coherence::Acked,
    }
}

pub(crate) fn over_redis(url: &str, settings: Settings) -> Journal {
    let at = Where::One(Address::parse(url).unwrap());
    over(&Place::new(at, &script::key(&settings.namespace)).unwrap(), settings)
}

pub(crate) fn over(place: &Place, settings: Settings) -> Journal {
    Journal::Redis(RedisJournal::new(place.clone(), settings))
}

pub(crate) fn node(name: &str) -> Incarnation {
    Incarnation(name.to_owned())
}

impl Ground {
    /// What a node of its own sees.
    pub(crate) fn journal(&self) -> Journal {
        self.journal_at(0, settings())
    }

    /// The same over another server than the first, or with other settings.
    pub(crate) fn journal_at(&self, server: usize, settings: Settings) -> Journal {
        match self {
            Self::Redis(servers) => over_redis(&servers[server].url(), settings),
            Self::Sim(sim) => {
                let client = sim.client(settings);
                sim.aim(client.client(), server);
                Journal::Sim(client)
            }
        }
    }

    /// The server restarts, and has nothing.
    pub(crate) fn wipe(&mut self) {
        match self {
            Self::Redis(servers) => {
                servers[0].kill();
                servers[0].restart();
            }
            Self::Sim(sim) => sim.wipe(0),
        }
    }

    pub(crate) fn flush(&self) {
        match self {
            Self::Redis(servers) => drop(servers[0].command("FLUSHALL")),
            Self::Sim(sim) => sim.flush(0),
        }
    }

    pub(crate) fn lose(&self, key: Key) {
        match self {
            Self::Redis(servers) => drop(servers[0].command(&format!("DEL {}", name(key)))),
            Self::Sim(sim) => sim.lose(0, key),
        }
    }

    /// The server becomes primary once more.
    pub(crate) fn reign_anew(&self) {
        match self {
            Self::Redis(servers) => drop(servers[0].command("DEBUG CHANGE-REPL-ID")),
            Self::Sim(sim) => sim.reign_anew(0),
        }
    }

    pub(crate) fn trim(&self, first: u64) {
        match self {
            Self::Redis(servers) => {
                drop(servers[0].command(&format!("XTRIM {} MINID = {first}-0", name(Key::Journal))));
            }
            Self::Sim(sim) => sim.trim(0, first),
        }
    }

    /// A replica of the first server that has all that it has; gives its number.
    pub(crate) fn add_replica(&mut self) -> usize {
        match self {
            Self::Redis(servers) => {
                let replica = Redis::start(REDIS);
                follow(&replica, &servers[0]);
                servers.push(replica);
                servers.len() - 1
            }
            Self::Sim(sim) => sim.add_replica(0),
        }
    }

    /// A replica hears nothing any more.
    pub(crate) fn hold_back(&self, replica: usize) {
        match self {
            Self::Redis(servers) => {
                servers[replica].command("REPLICAOF 127.0.0.1 1");
                // It is noted by the primary when its connection ends.
                until(|| info(&servers[0], "connected_slaves:0"));
            }
            Self::Sim(sim) => sim.hold_back(replica),
        }
    }

    /// A replica becomes primary; the old one is gone, or goes on.
    pub(crate) fn promote(&mut self, replica: usize, old: Old) {
        match self {
            Self::Redis(servers) => {
                servers[replica].command("REPLICAOF NO ONE");
                if old == Old::Gone {
                    servers[0].kill();
                }
            }
            Self::Sim(sim) => sim.promote(replica, old),
        }
    }

    /// The first server follows another one, and loses what it had.
    pub(crate) fn follow(&self, other: usize) {
        match self {
            Self::Redis(servers) => follow(&servers[0], &servers[other]),
            Self::Sim(sim) => sim.follow(0, other),
        }
    }

    /// The first server, which has followed, is primary again.
    pub(crate) fn back(&self) {
        match self {
            Self::Redis(servers) => drop(servers[0].command("REPLICAOF NO ONE")),
            Self::Sim(sim) => sim.promote(0, Old::Isolated),
        }
    }
}

pub(crate) fn name(key: Key) -> &'static str {
    match key {
        Key::Meta => "{larder}:meta",
        Key::Journal => "{larder}:journal",
        Key::Members => "{larder}:members",
        Key::Intents => "{larder}:intents",
    }
}

fn follow(replica: &Redis, primary: &Redis) {
    replica.command(&format!("REPLICAOF 127.0.0.1 {}", primary.address().port()));
    until(|| info(replica, "master_link_status:up"));
    until(|| info(primary, "state=online"));
}

fn info(redis: &Redis, has: &str) -> bool {
    let text: String = redis::from_redis_value(redis.command("INFO replication")).unwrap();
    text.contains(has)
}

/// Waits for another process; its silence is a failure.
pub(crate) fn until(mut is: impl FnMut() -> bool) {
    const STEP: Duration = Duration::from_millis(5);
    for _ in 0..DEADLINE.as_millis() / STEP.as_millis() {
        if is() {
            return;
        }
        std::thread::sleep(STEP);
    }
    panic!("it does not come");
}
