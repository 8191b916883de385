//! The real binary as a shell or a supervisor sees it: exit codes, signals, and sentences on stderr.
//!
//! What travels through the proxy is told elsewhere; here only the process counts, and what its threads do to each other.

mod commands;
mod configuration;
mod handover;
mod harness;
mod hostile;
mod init;
mod interim;
mod redis;
#[allow(dead_code, clippy::unwrap_used, reason = "it is there for the scenarios first")]
#[path = "../scenarios/harness/redis.rs"]
mod redis_server;
mod shadow;
mod signals;
mod start;
mod streams;
