//! The room `upstream` against origins made of raw sockets, each a script of what it reads and writes.

#![allow(clippy::unwrap_used, reason = "a script that fails is a test that fails")]

mod bodies;
mod framing;
mod harness;
mod interim;
mod reuse;
mod servers;
mod slots;
mod upgrade;
