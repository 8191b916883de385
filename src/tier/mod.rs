//! The shared tier: answers that the nodes of a fleet tell one another through Redis.
//!
//! Invariant: what cannot be read is not there. It refuses to know what was invalidated.

pub mod breaker;
pub mod codec;
pub mod key;
