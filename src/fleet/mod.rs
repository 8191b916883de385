//! What the nodes of a fleet agree upon over Redis: the order of invalidations, who may serve what he keeps, and when an
//! invalidation holds everywhere.
//!
//! Invariant: whoever has no lease serves nothing that is kept, and whoever has one has applied all that was acknowledged
//! before. It refuses to know what an invalidation reaches, and HTTP.

mod ask;
pub mod journal;
pub mod redis_journal;
mod request;
pub mod script;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
