//! `limits:` as the file has it, and shares of something.
//!
//! Invariant: every limit has a default, but for those that limit nothing unless said. It refuses to know who keeps to them.

use serde_json::{Value, json};

use crate::config::duration::Timeout;
use crate::config::scalar::{Count, Size};
use crate::config::shape::{Refusal, Scalar, section};

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
    later {}
}

/// A share: above 0, at most 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share(pub(crate) f64);

impl Scalar for Share {
    const WHAT: &'static str = "a share";

    fn parse(text: &str) -> Result<Self, Refusal> {
        const HINT: &str = "write a number above 0, and 1 at most, e.g. 0.9";
        match text.parse::<f64>() {
            Ok(share) if share > 0.0 && share <= 1.0 => Ok(Self(share)),
            Ok(_) => Err(Refusal::new(format!("`{text}` is not between 0 and 1"), HINT)),
            Err(_) => Err(Refusal::new(format!("`{text}` is not a share"), HINT)),
        }
    }

    fn show(&self) -> String {
        self.0.to_string()
    }

    fn schema() -> Value {
        json!({ "anyOf": [
            { "type": "number", "exclusiveMinimum": 0, "maximum": 1 },
            { "type": "string", "pattern": "^[0-9.]+$|\\$\\{" },
        ] })
    }
}
