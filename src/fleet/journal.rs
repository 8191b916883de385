//! The fleet's journal and registry: what every node is told alike, and in which order.
//!
//! Invariant: places are given in the order of appending, without gaps, from 1 in each epoch; a record says of which epoch
//! it is. Whoever is not sure that the server is the one that began the epoch, and that it has forgotten nothing since,
//! begins a new one. No clock is read, here or on the server. It refuses to know what a record means, and who serves what.

use bytes::Bytes;
use thiserror::Error;

/// One start of one process; never used again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(pub String);

/// Why nothing is known of what was asked for. It may have been done all the same.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Away {
    /// No connection, or it ended before the answer, or nobody answered in time.
    #[error("Redis does not answer: {0}")]
    Unreachable(String),
    /// The server said no.
    #[error("Redis refuses: {0}")]
    Refused(String),
    /// Fewer replicas than are asked for have it.
    #[error("only {has} of {wanted} replicas have it")]
    Unreplicated {
        /// Replicas that have it.
        has: u32,
        /// Replicas that must have it.
        wanted: u32,
    },
}

/// The epoch is another one than was said: what is kept from it is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Began {
    /// The epoch that is now.
    pub epoch: u64,
}

/// What the journal holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Whose places these are.
    pub epoch: u64,
    /// Of the oldest record that is kept; one more than `last` if none is.
    pub first: u64,
    /// Of the newest record; 0 before the first.
    pub last: u64,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// What stands behind the cursor, in order, without gaps; empty: nothing came in time.
    Records(Vec<(u64, Bytes)>),
    /// Records behind the cursor were let go before they were read.
    Gap(Extent),
    /// Another epoch than the cursor's.
    Began(Began),
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// It counts, from when it was sent.
    Held {
        /// The newest record.
        last: u64,
    },
    /// First everything up to here has to be applied.
    Fenced {
        /// The fence.
        fence: u64,
    },
    /// Nobody of that name is registered.
    Unknown,
    /// Another epoch.
    Began(Began),
}

/// One registered node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub incarnation: Incarnation,
    /// What it says of itself: its name, its version, its rules' digest.
    pub about: String,
    /// As its last renewal told.
    pub applied: u64,
    /// What it must have applied to renew. Above `applied`: it has no lease, and gets none before.
    pub fence: u64,
    /// How often it has renewed.
    pub renewals: u64,
}

/// Who has not applied a record yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behind {
    /// Whoever has not is shut out until he has. None left: it holds everywhere.
    These(Vec<Member>),
    /// Another epoch.
    Began(Began),
}

/// What became of an attempt to shut a node out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fenced {
    /// It cannot renew before it has applied all that the journal held then; or it is not registered any more.
    ShutOut,
    /// It has renewed since it was looked at.
    Moved,
    /// Another epoch.
    Began(Began),
}

/// TEMPORARY
pub struct Journal;
#[allow(missing_docs, clippy::unused_async, clippy::missing_errors_doc)]
impl Journal {
    pub async fn begin(&self) -> Result<Extent, Away> {
        unimplemented!()
    }
    pub async fn append(&self, _e: u64, _r: Bytes) -> Result<Result<u64, Began>, Away> {
        unimplemented!()
    }
    pub async fn read(
        &self,
        _a: crate::store::position::Position,
        _w: std::time::Duration,
    ) -> Result<Read, Away> {
        unimplemented!()
    }
    pub async fn register(&self, _e: u64, _i: &Incarnation, _a: &str) -> Result<Result<Extent, Began>, Away> {
        unimplemented!()
    }
    pub async fn renew(&self, _e: u64, _i: &Incarnation, _a: u64) -> Result<Renewed, Away> {
        unimplemented!()
    }
    pub async fn behind(&self, _e: u64, _n: u64) -> Result<Behind, Away> {
        unimplemented!()
    }
    pub async fn fence(&self, _e: u64, _i: &Incarnation, _r: u64) -> Result<Fenced, Away> {
        unimplemented!()
    }
    pub async fn leave(&self, _e: u64, _i: &Incarnation) -> Result<(), Away> {
        unimplemented!()
    }
    pub async fn members(&self) -> Result<(Extent, Vec<Member>), Away> {
        unimplemented!()
    }
}
