//! Larder, a transparent caching reverse proxy for HTTP APIs.
//!
#![doc = include_str!("ARCHITECTURE.md")]

// corridor
pub mod access_log;
pub mod body;
pub mod clock;
pub mod drain;
pub mod fault;
pub mod metrics;
pub mod process;
pub mod ready;
pub mod redis;
pub mod sockets;
pub mod token;
// decide
pub mod openapi;
pub mod policy;
pub mod route;
// keep and fetch
pub mod fleet;
pub mod invalidate;
pub mod store;
pub mod tier;
pub mod traces;
pub mod upstream;
// the walk
pub mod flow;
pub mod monitor;
pub mod warm;
// doors
pub mod admin;
pub mod guard;
pub mod server;
// the house
pub mod app;
pub mod cli;
pub mod config;
