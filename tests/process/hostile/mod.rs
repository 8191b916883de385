//! The real binary between attackers and broken origins: raw bytes in, and what came out on either side (HAZARDS §1–§3).
//!
//! Both ends are bare sockets, and what they see is judged by a reader written for these tests alone ([`wire`]), so that
//! no mistake of the proxy's own parsers can hide itself. Every connection must end by itself within [`client::BOUND`].

mod client;
mod downgrade;
mod exhaustion;
mod origin;
mod random;
mod requests;
mod responses;
mod table;
mod wire;
