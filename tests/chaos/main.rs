//! Chaos: the promise over real processes: three proxies, a Redis and an origin whose bodies carry versions, with a fault every two
//! seconds. No read gets a body older than what was acknowledged, by whichever node, before it began.
//!
//! Once that Redis is one server, and once it is a primary with two replicas, of which one must have what counts (`replicas: 1`):
//! they take over from one another (`promotion.rs`), and after every fault the fleet has to recover by itself.
//!
//! Each node reaches Redis through a link that can be slow, deaf, mute or broken (`link.rs`). What was decided follows from
//! `LARDER_SEED`, which is printed; when it happens does not. `LARDER_LONG=1` goes on until 100,000 invalidations are
//! acknowledged; `LARDER_BIN` is another binary than the one that was built for the tests.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and tells its seed"
)]

#[path = "../checker/client.rs"]
mod client;
mod fault;
mod link;
mod node;
mod origin;
mod promotion;
#[path = "../checker/random.rs"]
mod random;
mod reader;
#[allow(dead_code, reason = "it is there for the scenarios first")]
#[path = "../scenarios/harness/redis.rs"]
mod redis_server;
mod servers;
#[path = "../checker/shown.rs"]
mod shown;
mod world;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::fault::{Fault, Ground};
use crate::random::Random;
use crate::world::World;

const NODES: usize = 3;
const READERS: usize = 24;
const WRITERS: usize = 12;

/// Acknowledged invalidations of a long run.
const LONG: u64 = 100_000;

/// The same where every fault waits until all servers are whole again.
const LONG_WITH_REPLICAS: u64 = LONG / 10;

/// Replicas, where there are any: one goes on following the primary that another one replaces.
const REPLICAS: usize = 2;

/// Most rounds of faults until all was in play, as it is after the first on a machine that has little else to do.
const ROUNDS: usize = 4;

/// How long nothing happens at first: what acknowledgements take then is told apart.
const PEACE: Duration = Duration::from_secs(4);

/// Longest time that a fleet in which all is well again takes to acknowledge and to keep.
const RECOVERY: Duration = Duration::from_secs(60);

#[test]
fn no_read_of_a_fleet_under_faults_gets_a_body_older_than_what_was_acknowledged() {
    holds(0, LONG);
}

#[test]
fn nor_does_one_whose_redis_is_replaced_by_a_replica() {
    holds(REPLICAS, LONG_WITH_REPLICAS);
}

/// With so many replicas, and a long run until so many invalidations were acknowledged.
fn holds(replicas: usize, long: u64) {
    let seed = std::env::var("LARDER_SEED").map_or(20_261_121, |seed| seed.parse().expect("a number"));
    let is_long = std::env::var("LARDER_LONG").is_ok_and(|long| long == "1");
    println!("LARDER_SEED={seed}");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let world = runtime.block_on(play(seed, replicas, if is_long { long } else { 0 }));
    println!("LARDER_SEED={seed}, {replicas} replicas: {world}");
    assert_eq!(world.violation(), None);
    assert_eq!(world.lacks(), None, "too little of it");
}

/// Until every kind of fault was there once, so many invalidations were acknowledged, and all was in play.
async fn play(seed: u64, replicas: usize, acknowledged: u64) -> Arc<World> {
    let world = Arc::new(World::default());
    let origin = origin::start(Arc::clone(&world), seed).await;
    let mut ground = Ground::start(origin, replicas, Arc::clone(&world)).await;
    let mut tasks = JoinSet::new();
    for n in 0..READERS {
        let random = Random::new(seed, n as u64);
        tasks.spawn(reader::read_on(Arc::clone(&world), ground.nodes(), random));
    }
    for n in 0..WRITERS {
        let random = Random::new(seed, 1_000 + n as u64);
        tasks.spawn(writer::write_on(Arc::clone(&world), ground.nodes(), random));
    }
    ground.recovers().await;
    world.suffers("nothing");
    sleep(PEACE).await;
    let mut random = Random::new(seed, 2_000);
    for round in 1.. {
        for fault in Fault::shuffled(replicas, &mut random) {
            if !world.is_over() {
                ground.suffer(fault, &mut random).await;
            }
        }
        let is_enough = world.lacks().is_none() || round >= ROUNDS;
        if world.is_over() || is_enough && world.acknowledged_in_all() >= acknowledged {
            break;
        }
    }
    if !world.is_over() {
        world.suffers("recovery");
        ground.recovers().await;
    }
    world.end();
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    ground.stop().await;
    world
}
