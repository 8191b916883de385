//! The fleet's journal and registry: what every node is told alike, and in which order.
//!
//! Invariant: places are given in the order of appending, without gaps, from 1 in each epoch; a record says of which epoch
//! it is. Whoever is not sure that the server is the one that began the epoch, and that it has forgotten nothing since,
//! begins a new one. No clock is read, here or on the server. It refuses to know what a record means, and who serves what.
//!
//! ```text
//!   register ──► renew ⟲ ──► leave                          behind(n): nobody ──► n holds everywhere
//!                  │ stands still                             │ these
//!                  ▼                                          ▼
//!                fence: it owes what the journal has, and so does what it intended and did not say the end of
//!
//!   intend ──► (forwarded) ──► conclude: known, gone │ unknown, journalled ──► close, when it must be over
//! ```
//! Whatever is of unknown effect ([`Away`]) is sent again: that does no harm anywhere.

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::fleet::Coherence;
use crate::fleet::redis_journal::RedisJournal;
#[cfg(any(test, feature = "sim"))]
use crate::fleet::sim::SimJournal;

/// Largest record, in bytes; who has more to say outdates everything.
pub const MAX_RECORD: usize = 128 << 10;

/// Most bytes of an incarnation, and of a write's name.
pub const MAX_NAME: usize = 256;

/// Most bytes of what an incarnation says of itself.
pub const MAX_ABOUT: usize = 4 << 10;

/// Most records of one read: with [`MAX_RECORD`] they fit into a reply.
pub const MAX_READ: usize = 100;

/// Most incarnations in a registry, the dead among them that nobody has shut out yet.
pub const MAX_MEMBERS: usize = 1000;

/// Most writes of which nobody has said the end, of all nodes together.
pub const MAX_INTENTS: usize = 10_000;

/// Records that a journal keeps at least; Redis may keep some hundreds more. Who lags further behind meets a gap.
pub const RETAINED: u64 = 100_000;

/// How the journal is kept, and how long its server may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `redis.namespace`: what the names of its keys begin with, in braces. Neither empty nor with braces of its own.
    pub namespace: String,
    /// `redis.replicas`: how many must have a registration, a renewal, a record or an intent before it counts.
    pub replicas: u32,
    /// `redis.coherence`: by which the node lives, and all others of its epoch.
    pub coherence: Coherence,
    /// Longest time for an answer, connecting and waiting for replicas (half of it at most) included. Above zero.
    pub deadline: Duration,
    /// Records that are kept; usually [`RETAINED`].
    pub retained: u64,
}

/// A journal and registry that is shared, as one node sees it.
///
/// Every method runs one script. `epoch` is the one that the caller is in: in any other nothing is done, and it is told
/// which one there is. Every [`Away`] leaves open whether something was done, but [`Away::Unreplicated`]: it was.
#[cfg_attr(any(test, feature = "sim"), allow(clippy::large_enum_variant, reason = "a node has one"))]
pub enum Journal {
    /// Over Redis or Valkey.
    Redis(RedisJournal),
    /// Its twin in memory.
    #[cfg(any(test, feature = "sim"))]
    Sim(SimJournal),
}

/// One registration of one process; never used again. Not empty.
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
    /// `maxmemory-policy` lets the server evict what the fleet cannot do without: it is not to carry one.
    #[error(
        "Redis may evict leases and the journal (`maxmemory-policy {0}`): nothing can be promised over it; set `noeviction` or a `volatile-` policy"
    )]
    Evicts(String),
    /// The nodes of this epoch live otherwise: what an acknowledgement says there, this node cannot say or keep.
    #[error(
        "the nodes of this `redis.namespace` live by `coherence: {}`, and this one does not: it joins when none of them is left; until then it serves nothing that it keeps", .0.as_str()
    )]
    OtherCoherence(Coherence),
    /// Fewer replicas than are asked for have it.
    #[error("only {has} of {wanted} replicas have it")]
    Unreplicated {
        /// Replicas that have it.
        has: u32,
        /// Replicas that must have it.
        wanted: u32,
    },
}

impl Away {
    /// The reason as metrics name it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Refused(_) => "refused",
            Self::Evicts(_) => "evicts",
            Self::OtherCoherence(_) => "coherence",
            Self::Unreplicated { .. } => "unreplicated",
        }
    }
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

/// Whether the newest epoch lives as whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Converted {
    /// It does; it may be one that began just now.
    Lives,
    /// Somebody may have a lease of one that does not.
    Others,
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
    /// What it says of itself, as of its last renewal.
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

/// A write that was about to be forwarded, and of which nobody has said the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Its name, which was never used before.
    pub write: String,
    /// On whom it hangs; nobody, if that was in an epoch before.
    pub who: Option<Incarnation>,
    /// Where this epoch's journal says that its outcome is unknown.
    pub place: Option<u64>,
}

/// What is known of a write's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is over, with an effect or without.
    Known,
    /// It may have an effect, and may still be on its way.
    Unknown,
}

/// What became of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intended {
    /// If its incarnation is shut out, or the epoch ends, it is appended.
    Kept,
    /// Nobody of that name is registered.
    Unknown,
    /// Another epoch.
    Began(Began),
}

/// What became of an intent that should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It is not there any more.
    Gone,
    /// It stays: nothing in this epoch's journal stands for it yet.
    Open,
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
