//! The promise, checked at random: once a hard invalidation is acknowledged, no read that begins after it gets a body
//! fetched before it, whatever was in the air.
//!
//! An origin whose bodies carry the version of everything they show holds its answers at gates: before the head, between
//! head and body, in mid-body. Hundreds of readers and writers, invalidations by every source. Every read is held against
//! the newest versions whose invalidation was acknowledged before it began. The seed is printed; `LARDER_SEED` repeats a
//! run's decisions (not its interleaving), `LARDER_LONG=1` reads ten times as much.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and tells its seed"
)]

mod client;
mod origin;
mod reader;
mod world;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use larder::app;
use larder::clock::Clock;
use larder::config::{self, Env, Flags};
use tokio::task::JoinSet;

use crate::client::Client;
use crate::world::{Random, Verdict, World};

const READERS: usize = 200;
const WRITERS: usize = 12;
const READS: u64 = 100_000;

const RULES: &str = include_str!("rules.yaml");

/// Plays until so many reads were held against what was acknowledged, or one was too old.
fn check(reads: u64) -> Verdict {
    let seed = std::env::var("LARDER_SEED").map_or(20_261_121, |seed| seed.parse().expect("a number"));
    println!("LARDER_SEED={seed}, {reads} reads");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let world = Arc::new(World::new(reads));
        let origin = origin::start(Arc::clone(&world), seed).await;
        let text = format!("upstream: http://{origin}\n{RULES}");
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
        for n in 0..WRITERS {
            let random = Random::new(seed, 1_000 + n as u64);
            let clients = (Client::new(proxy), Client::new(admin));
            tasks.spawn(writer::write_on(Arc::clone(&world), clients, random, n));
        }
        // Gates open, and time passes, by the beat of this.
        let beat = async {
            let mut random = Random::new(seed, 2_000);
            let mut beat = tokio::time::interval(Duration::from_micros(300));
            loop {
                beat.tick().await;
                clock.advance(Duration::from_millis(random.below(8)));
                world.beat();
            }
        };
        let played = async {
            while let Some(ended) = tasks.join_next().await {
                ended.unwrap()
            }
        };
        tokio::select! {
            () = played => {}
            () = beat => {}
        }
        let metrics =
            Client::new(admin).get("/metrics", &[]).await.map(|answer| answer.text()).unwrap_or_default();
        running.stop(Duration::ZERO, std::future::ready(())).await;
        world.verdict(&metrics)
    })
}

#[test]
fn no_read_gets_a_body_older_than_the_last_acknowledged_invalidation() {
    let long = std::env::var("LARDER_LONG").is_ok_and(|long| long == "1");
    let verdict = check(if long { 10 * READS } else { READS });
    println!("{verdict}");
    assert_eq!(verdict.violation, None);
    verdict.assert_that_all_was_in_play();
}
