//! What happens to a fleet, one fault every two seconds.

use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::NODES;
use crate::client::Client;
use crate::link::{Link, State};
use crate::node::{Doors, Node, Nodes};
use crate::random::Random;
use crate::redis_server::Redis;
use crate::world::{View, World};

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
}

impl Fault {
    const ALL: [Self; 11] = [
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

    /// All of them, in some order.
    pub(crate) fn shuffled(random: &mut Random) -> Vec<Self> {
        let mut left = Self::ALL.to_vec();
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
        }
    }
}

/// All the processes.
pub(crate) struct Ground {
    redis: Redis,
    nodes: Vec<Node>,
    doors: Nodes,
    world: Arc<World>,
    roll_outs: u64,
}

impl Ground {
    pub(crate) async fn start(origin: SocketAddr, world: Arc<World>) -> Self {
        let redis = Redis::start(&[]);
        let (mut nodes, mut doors) = (Vec::new(), Vec::new());
        for _ in 0..NODES {
            let link = Link::to(redis.address()).await;
            let (node, at) = Node::start(origin, link, &format!("{RULES}{DERIVES}")).await;
            nodes.push(node);
            doors.push(RwLock::new(Doors { derives: true, ..at }));
        }
        Self { redis, nodes, doors: Arc::new(doors), world, roll_outs: 0 }
    }

    pub(crate) fn nodes(&self) -> Nodes {
        Arc::clone(&self.doors)
    }

    /// It comes, lasts, and goes; then there is peace until the next.
    pub(crate) async fn suffer(&mut self, fault: Fault, random: &mut Random) {
        let until = Instant::now() + EVERY;
        self.world.suffers(fault.as_str());
        self.world.saw(fault.as_str());
        let lasts = LASTS.start + random.below(LASTS.end - LASTS.start);
        let lasts = sleep(Duration::from_millis(lasts));
        let n = random.below(NODES as u64) as usize;
        let node = &mut self.nodes[n];
        match fault {
            Fault::NodeStopped => {
                node.signal("STOP");
                lasts.await;
                node.signal("CONT");
            }
            Fault::NodeKilled => {
                node.kill();
                lasts.await;
                self.start_again(n).await;
            }
            Fault::RolledOut => {
                node.end().await;
                self.roll_outs += 1;
                self.start_again(n).await;
            }
            Fault::LinkSlow => self.link(n, State::Slow(SLOW), lasts).await,
            Fault::LinkMute => self.link(n, State::Mute, lasts).await,
            Fault::LinkBlackHole => self.link(n, State::BlackHole, lasts).await,
            Fault::LinkBroken => self.link(n, State::Broken, lasts).await,
            Fault::ClientsKilled => drop(self.redis.command("CLIENT KILL TYPE normal")),
            Fault::RedisStopped => {
                self.redis.signal("STOP");
                lasts.await;
                self.redis.signal("CONT");
            }
            Fault::RedisEmptied => drop(self.redis.command("FLUSHALL")),
            Fault::RedisRestarted => {
                self.redis.kill();
                lasts.await;
                self.redis.restart();
            }
        }
        self.world.suffers("afterwards");
        sleep_until(until).await;
    }

    async fn link(&self, n: usize, state: State, lasts: impl Future<Output = ()>) {
        self.nodes[n].link.becomes(state);
        lasts.await;
        self.nodes[n].link.becomes(State::Whole);
    }

    /// While rules are rolled out, nodes with different ones are there together.
    async fn start_again(&mut self, n: usize) {
        let derives = self.roll_outs.is_multiple_of(2);
        self.doors[n].write().unwrap().derives = false;
        let rules = if derives { DERIVES } else { "" };
        let doors = self.nodes[n].start_again(&format!("{RULES}{rules}")).await;
        *self.doors[n].write().unwrap() = Doors { derives, ..doors };
    }

    /// Waits until each node acknowledges a write and keeps what it reads.
    pub(crate) async fn recovers(&self) {
        self.world.suffers("recovery");
        for n in 0..NODES {
            let doors = *self.doors[n].read().unwrap();
            let mut client = Client::new(doors.proxy);
            let mut asked = 0;
            while !(acknowledges(&mut client).await && keeps(&mut client).await) {
                asked += 1;
                if asked % 50 == 0 {
                    println!("node {n} has not recovered yet:\n{}", self.nodes[n].said());
                }
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

async fn acknowledges(client: &mut Client) -> bool {
    let headers = [("content-type", "application/json")];
    let answer = client.send("PUT", &View::Plain.path(0), &headers, "{}").await;
    answer.is_some_and(|answer| answer.header("larder-ack") == "applied")
}

async fn keeps(client: &mut Client) -> bool {
    for _ in 0..3 {
        let answer = client.get(&View::Plain.path(0), &[]).await;
        if answer.is_some_and(|answer| answer.header("x-cache") == "HIT") {
            return true;
        }
    }
    false
}
