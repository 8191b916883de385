//! A fleet in one thread and in no time: the production code of several nodes over a journal in memory, and whatever may
//! befall them, drawn by lot.
//!
//! ```text
//!  story, scenes ── befall ──► nodes: store, gate, invalidator, fleet, flights, a clock of its own pace
//!      │                         │  ▲ readers, writers
//!      └─ befall ─► SimServer ◄──┘  │
//!                                 world: the origin's versions, what was acknowledged, and the judge
//! ```
//! Invariant: what happens follows from the seed and from nothing else, so a seed that fails fails again; `LARDER_SEED=n` plays that one
//! alone, and says all of it. What is one step in production is one step here, and between any two of them others may go on for as
//! long as they like. A read that arrives after an acknowledgement must not get anything older than what was acknowledged.
//!
//! Times are milliseconds of the runtime's paused clock. A node's own clock goes up to [`node::DRIFT`] faster or slower: what is added
//! to a lease before a node is shut out is for that.
//!
//! It is worth something only if it catches what it is for: `mistakes.rs` plants each of [`crate::fault::Mistake`] into the production code.

mod mistakes;
mod node;
mod orphans;
mod reader;
mod scenes;
mod story;
mod world;

use crate::flow::simulation::story::{Ended, play};

/// Stories that a run plays.
const SEEDS: u64 = 40;

/// As many as the environment asks for: `LARDER_LONG=1` plays a hundred times as many.
fn seeds() -> std::ops::Range<u64> {
    if let Some(seed) = std::env::var("LARDER_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return seed..seed + 1;
    }
    let is_long = std::env::var("LARDER_LONG").is_ok_and(|long| long == "1");
    0..if is_long { 100 * SEEDS } else { SEEDS }
}

#[test]
fn whoever_arrives_after_an_acknowledgement_gets_nothing_older_and_every_fleet_recovers() {
    let (mut all, seeds) = (Ended::default(), seeds());
    for seed in seeds.clone() {
        match play(seed, None) {
            Ok(ended) => all.add(&ended),
            Err(failed) => panic!("LARDER_SEED={seed}: {failed}"),
        }
    }
    println!("{} stories: {all}", seeds.end - seeds.start);
    let is_one = seeds.end - seeds.start == 1;
    assert!(is_one || all.has_seen_everything(), "what never comes about by lot is not proven by it: {all}");
}

#[test]
fn a_seed_is_the_same_story_each_time() {
    for seed in 0..4 {
        let once = play(seed, None).expect("it passes").digest;
        let again = play(seed, None).expect("it passes").digest;
        assert_eq!(once, again, "seed {seed}");
    }
}
