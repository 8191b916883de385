//! `limits:` as the file has it.
//!
//! Invariant: every limit has a default, but for those that limit nothing unless said. It refuses to know who keeps to them.

use crate::config::duration::Timeout;
use crate::config::scalar::{Count, Size};
use crate::config::shape::section;
use crate::config::share::Share;

section! {
    /// `limits:`
    Limits {
        /// Bytes of memory for entries, keys and index; default: the lesser of 512MiB and half the cgroup's limit.
        memory: Size,
        /// At most so many entries; default: only memory limits.
        entries: Count,
        /// The share of memory and entries in use at which room is made behind everybody's back; 1: only when all is used.
        high: Share = "0.95",
        /// The share down to which room is made then.
        low: Share = "0.9",
        /// Largest body that is stored.
        entry: Size = "2MiB",
        /// Most client connections at once; the next one waits.
        connections: Count = "10000",
        /// Most requests at the origin at once.
        upstream_concurrency: Count = "256",
        /// Connect plus first byte after the request body, then idle; never the total.
        upstream_timeout: Timeout = "30s",
    }
}
