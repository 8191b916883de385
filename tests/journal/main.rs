//! The contract of the fleet's journal: the same cases on a real Redis and on its twin in memory, so that whoever is
//! proved over the twin is proved over Redis.
//!
//! `cargo test --features sim --test journal`. Ten thousand sequences of requests and mishaps, drawn from a seed, have to
//! be answered alike; `LARDER_SEED` repeats a run, `LARDER_LONG=1` plays ten times as many.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and tells its seed"
)]

mod cases;
mod connections;
mod ground;
mod random;
#[allow(dead_code, reason = "it is there for the scenarios first")]
#[path = "../scenarios/harness/redis.rs"]
mod redis_server;
mod replicas;
mod topology;
