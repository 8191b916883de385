//! Stories that the proxy lives through, in this process: an origin that waits at gates, a clock that the test moves.
//!
//! One file per story, one test per sentence; nothing sleeps.
#![allow(clippy::unwrap_used, reason = "a test that meets what it does not expect has failed")]

mod harness;

mod answers;
mod batching;
mod coalescing;
mod compat;
mod dependencies;
mod doors;
mod draining;
mod endings;
mod explain;
mod fleet;
mod freshness;
mod head;
mod identity;
mod interim;
mod learned;
mod monitor;
mod parts;
mod patience;
mod post_reads;
mod posted;
mod projects;
mod purge;
mod put;
mod query;
mod redis;
mod refresh;
mod reload;
mod replay;
mod shadow;
mod soft;
mod standards;
mod stored;
mod switches;
mod tags;
mod tier;
mod usage;
mod variants;
mod warm_runs;
mod warming;
mod watching;
mod webhooks;
mod write_rules;
mod writes;
