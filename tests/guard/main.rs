//! The guard against raw bytes: a corpus with a verdict for each input, random mutations, and the two I/O wrappers under hyper.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod client_io;
mod corpus;
mod interim;
mod properties;
mod requests;
mod responses;
mod server_io;
