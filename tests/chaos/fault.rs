//! What happens to a fleet, one fault every two seconds; or later, where replicas have to follow again first.

use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::client::Client;
use crate::link::{Link, State};
use crate::node::{Doors, Node, Nodes};
use crate::promotion::Lost;
use crate::random::Random;
use crate::servers::Servers;
use crate::world::{ITEMS, View, World};
use crate::{NODES, RECOVERY};

/// From one fault to the next.
const EVERY: Duration = Duration::from_secs(2);

/// Shortest and longest time, in milliseconds, that one lasts.
const LASTS: std::ops::Range<u64> = 300..1_500;

/// What links a slow one adds, each way.
const SLOW: Duration = Duration::from_millis(60);

const RULES: &str = include_str!("rules.yaml");

/// What is derived from an item; without it, a node does not know by itself that a page shows all of them.
const DERIVES: &str = "dependencies: { \"item:{id}\": /stats }\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    NodeStopped,
    NodeKilled,
    RolledOut,
    LinkSlow,
    LinkMute,
    LinkBlackHole,
    LinkBroken,
    ClientsKilled,
    RedisStopped,
    RedisEmptied,
    RedisRestarted,
    ReplicaPromoted(Lost),
}

impl Fault {
    /// Those for which one server is enough.
    const ALWAYS: [Self; 11] = [
        Self::NodeStopped,
        Self::NodeKilled,
        Self::RolledOut,
        Self::LinkSlow,
        Self::LinkMute,
        Self::LinkBlackHole,
        Self::LinkBroken,
        Self::ClientsKilled,
        Self::RedisStopped,
        Self::RedisEmptied,
        Self::RedisRestarted,
    ];

    /// All that can happen with so many replicas, in some order.
    pub(crate) fn shuffled(replicas: usize, random: &mut Random) -> Vec<Self> {
        let mut left = Self::ALWAYS.to_vec();
        if replicas > 0 {
            left.extend(Lost::ALL.map(Self::ReplicaPromoted));
        }
        let mut order = Vec::new();
        while !left.is_empty() {
            order.push(left.swap_remove(random.below(left.len() as u64) as usize));
        }
        order
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::NodeStopped => "node stopped",
            Self::NodeKilled => "node killed",
            Self::RolledOut => "rolled out",
            Self::LinkSlow => "link slow",
            Self::LinkMute => "link mute",
            Self::LinkBlackHole => "link black hole",
            Self::LinkBroken => "link broken",
            Self::ClientsKilled => "clients killed",
            Self::RedisStopped => "redis stopped",
            Self::RedisEmptied => "redis emptied",
            Self::RedisRestarted => "redis restarted",
            Self::ReplicaPromoted(lost) => lost.as_str(),
        }
    }
}

/// All the processes.
pub(crate) struct Ground {
    pub(crate) redis: Servers,
    pub(crate) nodes: Vec<Node>,
    pub(crate) doors: Nodes,
    pub(crate) world: Arc<World>,
    roll_outs: u64,
    /// How often a node was well again.
    turns: u64,
}

impl Ground {
    pub(crate) async fn start(origin: SocketAddr, replicas: usize, world: Arc<World>) -> Self {
        let redis = Servers::start(replicas).await;
        let (mut nodes, mut doors) = (Vec::new(), Vec::new());
        for _ in 0..NODES {
            let link = Link::to(redis.address()).await;
            let (node, at) = Node::start(origin, link, &rules(replicas, DERIVES)).await;
            nodes.push(node);
            doors.push(RwLock::new(Doors { derives: true, well: Some(0), ..at }));
        }
        Self { redis, nodes, doors: Arc::new(doors), world, roll_outs: 0, turns: 0 }
    }

    pub(crate) fn nodes(&self) -> Nodes {
        Arc::clone(&self.doors)
    }

    /// It comes, lasts, and goes; then there is peace until the next. With replicas it goes on until all of them follow, and
    /// every node, none of them started again, acknowledges and keeps.
    pub(crate) async fn suffer(&mut self, fault: Fault, random: &mut Random) {
        let until = Instant::now() + EVERY;
        self.world.suffers(fault.as_str());
        self.world.saw(fault.as_str());
        let lasts = LASTS.start + random.below(LASTS.end - LASTS.start);
        let lasts = sleep(Duration::from_millis(lasts));
        let n = random.below(NODES as u64) as usize;
        match fault {
            Fault::NodeStopped => {
                self.becomes(n, None);
                self.nodes[n].signal("STOP");
                lasts.await;
                self.nodes[n].signal("CONT");
                self.is_well_again(n);
            }
            Fault::NodeKilled => {
                self.becomes(n, None);
                self.nodes[n].kill();
                lasts.await;
                self.start_again(n).await;
            }
            Fault::RolledOut => {
                self.becomes(n, None);
                self.nodes[n].end().await;
                self.roll_outs += 1;
                self.start_again(n).await;
            }
            Fault::LinkSlow => self.link(n, State::Slow(SLOW), lasts).await,
            Fault::LinkMute => self.link(n, State::Mute, lasts).await,
            Fault::LinkBlackHole => self.link(n, State::BlackHole, lasts).await,
            Fault::LinkBroken => self.link(n, State::Broken, lasts).await,
            Fault::ClientsKilled => drop(self.redis.primary.command("CLIENT KILL TYPE normal")),
            Fault::RedisStopped => {
                self.redis.primary.signal("STOP");
                lasts.await;
                self.redis.primary.signal("CONT");
            }
            Fault::RedisEmptied => drop(self.redis.primary.command("FLUSHALL")),
            Fault::RedisRestarted => {
                self.redis.primary.kill();
                lasts.await;
                self.redis.primary.restart();
            }
            Fault::ReplicaPromoted(lost) => self.promote(lost, n, random).await,
        }
        if self.redis.replicas() > 0 && !self.world.is_over() {
            self.redis.are_whole().await;
            self.recovers().await;
        }
        self.world.suffered(fault.as_str());
        sleep_until(until).await;
    }

    async fn link(&self, n: usize, state: State, lasts: impl Future<Output = ()>) {
        self.nodes[n].link.becomes(state);
        lasts.await;
        self.nodes[n].link.becomes(State::Whole);
    }

    fn becomes(&self, n: usize, well: Option<u64>) {
        self.doors[n].write().unwrap().well = well;
    }

    fn is_well_again(&mut self, n: usize) {
        self.turns += 1;
        self.becomes(n, Some(self.turns));
    }

    /// While rules are rolled out, nodes with different ones are there together.
    async fn start_again(&mut self, n: usize) {
        let derives = self.roll_outs.is_multiple_of(2);
        self.doors[n].write().unwrap().derives = false;
        let derives_all = if derives { DERIVES } else { "" };
        let doors = self.nodes[n].start_again(&rules(self.redis.replicas(), derives_all)).await;
        *self.doors[n].write().unwrap() = Doors { derives, ..doors };
        self.is_well_again(n);
    }

    /// Waits until each node acknowledges a write and keeps what it reads, as it has to within [`RECOVERY`].
    pub(crate) async fn recovers(&self) {
        if timeout(RECOVERY, self.each_acknowledges_and_keeps()).await.is_err() {
            for (n, node) in self.nodes.iter().enumerate() {
                println!("node {n}:\n{}", node.said());
            }
            panic!("a fleet that is well acknowledges and keeps: {}", self.world);
        }
    }

    async fn each_acknowledges_and_keeps(&self) {
        for n in 0..NODES {
            let doors = *self.doors[n].read().unwrap();
            let mut client = Client::new(doors.proxy);
            let mut attempt = 0;
            while !(acknowledges(&mut client, attempt).await && keeps(&mut client, attempt).await) {
                attempt += 1;
                sleep(Duration::from_millis(20)).await;
            }
        }
    }

    pub(crate) async fn stop(mut self) {
        for node in &mut self.nodes {
            node.end().await;
        }
    }
}

/// Those of the file, with as many replicas as have to have what counts: half of them.
fn rules(replicas: usize, derives: &str) -> String {
    RULES.replace("{replicas}", &replicas.div_ceil(2).to_string()) + derives
}

/// Whether a write is acknowledged. What became of one that is not may be unknown, and nothing that it reaches is kept until
/// it must be over: each attempt has an item of its own.
pub(crate) async fn acknowledges(client: &mut Client, attempt: usize) -> bool {
    let headers = [("content-type", "application/json")];
    let answer = client.send("PUT", &View::Plain.path(attempt % ITEMS), &headers, "{}").await;
    answer.is_some_and(|answer| answer.header("larder-ack") == "applied")
}

async fn keeps(client: &mut Client, attempt: usize) -> bool {
    for _ in 0..3 {
        let answer = client.get(&View::Plain.path(attempt % ITEMS), &[]).await;
        if answer.is_some_and(|answer| answer.header("x-cache") == "HIT") {
            return true;
        }
    }
    false
}
