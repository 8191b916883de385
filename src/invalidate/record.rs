//! What is applied at one place in the order of invalidations, and what it is for. Pure.

use crate::invalidate::Invalidation;
use crate::route::derive::Followed;
use crate::store::position::Outdate;

/// One application, and what it is for.
#[derive(Debug, Default)]
pub struct Record {
    /// As they were asked for, each with all that follows from it.
    pub causes: Vec<Cause>,
    /// What they come to together.
    pub outdate: Outdate,
}

/// One invalidation with its consequences.
#[derive(Debug, Default)]
pub struct Cause {
    /// Its reach is what was asked for, then what is derived from that.
    pub invalidation: Invalidation,
    /// How many items of its reach were asked for.
    pub asked: usize,
    /// Whether all of its consequences are in it, or everything in their stead.
    pub followed: Followed,
}
