//! The promise, checked at random: once a hard invalidation is acknowledged, no read that begins after it gets a body
//! fetched before it, whatever was in the air.
//!
//! An origin whose bodies carry the version of everything they show holds its answers at gates: before the head, between
//! head and body, in mid-body. Hundreds of readers and writers, invalidations by every source. Every read is held against
//! the newest versions whose invalidation was acknowledged before it began. The seed is printed; `LARDER_SEED` repeats a
//! run's decisions (not its interleaving), `LARDER_LONG=1` reads twenty-five times as much.
//!
//! It is worth something only if it catches what it is for: with the feature `faults` each mistake of `larder::fault` is
//! planted in turn (`faults.rs`).

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and tells its seed"
)]

mod channel;
mod client;
#[cfg(feature = "faults")]
mod faults;
mod origin;
mod random;
mod reader;
#[allow(dead_code, reason = "it is there for the scenarios first")]
#[path = "../scenarios/harness/redis.rs"]
mod redis_server;
mod shown;
mod verdict;
mod view;
mod world;
mod writer;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use larder::app;
use larder::clock::Clock;
use larder::config::{self, Env, Flags};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::channel::Channel;
use crate::client::Client;
use crate::random::Random;
use crate::redis_server::Redis;
use crate::verdict::Verdict;
use crate::world::World;
use crate::writer::Writer;

const READERS: usize = 200;
const WRITERS: usize = 12;
const READS: u64 = 40_000;

const RULES: &str = include_str!("rules.yaml");

/// What is planted is planted for the whole process, so its runs come one after the other.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn no_read_gets_a_body_older_than_the_last_acknowledged_invalidation() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let long = std::env::var("LARDER_LONG").is_ok_and(|long| long == "1");
    let verdict = check(if long { 25 * READS } else { READS }, Duration::MAX);
    println!("{verdict}");
    assert_eq!(verdict.violation, None);
    verdict.assert_that_all_was_in_play();
}

/// Plays until so many reads were held against what was acknowledged, or one was too old, or so much time has passed.
fn check(reads: u64, most: Duration) -> Verdict {
    let seed = std::env::var("LARDER_SEED").map_or(20_261_121, |seed| seed.parse().expect("a number"));
    println!("LARDER_SEED={seed}, {reads} reads");
    let redis = Redis::start(&[]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(play(seed, reads, most, &redis.url()))
}

async fn play(seed: u64, reads: u64, most: Duration, redis: &str) -> Verdict {
    let world = Arc::new(World::new(reads));
    let origin = origin::start(Arc::clone(&world), seed).await;
    let text = format!(
        "upstream: http://{origin}\nredis: {{ subscribe_url: '{redis}', subscribe: items }}\n{RULES}"
    );
    let config = config::load_str("checker.yaml", &text, &Flags::default(), &Env::default())
        .unwrap_or_else(|report| panic!("{}", report.render(false)));
    let clock = Clock::manual(Clock::system().now().wall);
    let running = app::start(config, clock.clone()).await.unwrap();
    let (proxy, admin) = (running.address(), running.admin().unwrap());
    let mut tasks = JoinSet::new();
    for n in 0..READERS {
        let random = Random::new(seed, n as u64);
        tasks.spawn(reader::read_on(Arc::clone(&world), Client::new(proxy), random, n));
    }
    for who in 0..WRITERS {
        let writer = Writer {
            world: Arc::clone(&world),
            random: Random::new(seed, 1_000 + who as u64),
            who,
            proxy: Client::new(proxy),
            admin: Client::new(admin),
            channel: Channel::to(redis, who).await,
        };
        tasks.spawn(writer.write_on());
    }
    tasks.spawn(look_on(Arc::clone(&world), Client::new(admin)));
    let played = async {
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap()
        }
    };
    let time_is_up = async {
        tokio::time::sleep(most).await;
        world.end();
        std::future::pending().await
    };
    tokio::select! {
        () = played => {}
        () = beat(&world, &clock, Client::new(proxy), Random::new(seed, 2_000)) => {}
        () = time_is_up => {}
    }
    let metrics = Client::new(admin).get("/metrics", &[]).await.map(|answer| answer.text());
    running.stop(Duration::ZERO, std::future::ready(())).await;
    world.verdict(&metrics.unwrap_or_default())
}

/// Somebody always looks at the metrics, and with that what can refuse nobody any more is forgotten.
async fn look_on(world: Arc<World>, mut admin: Client) {
    while !world.is_over() {
        admin.get("/metrics", &[]).await;
        world.hold(10).await;
    }
}

/// Gates open, and time passes: 7 ms at most from one beat to the next, and what is due by a beat is done before they do.
/// None is shorter than an exchange takes, however busy the machine is: what happens between beats would not be seen.
async fn beat(world: &World, clock: &Clock, mut proxy: Client, mut random: Random) {
    let mut beat = tokio::time::interval(Duration::from_millis(1));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        proxy.send("PUT", "/beat", &[], "").await;
        beat.tick().await;
        world.beat();
        clock.advance(Duration::from_millis(random.below(8)));
    }
}
