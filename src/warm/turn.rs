//! Whose turn a scheduled task is, where several nodes have the same schedule: one of them runs it.
//!
//! Invariant: of all nodes that ask for the same task and slot, Redis gives it to one; where Redis does not say, each node runs it
//! by itself, for warming twice is better than not at all. Nothing else rests on it. The key lies in the slot of the fleet's
//! own keys, and ends by itself.

use std::time::Duration;

use redis::Value;
use tokio::time::timeout;

use crate::redis::place::Place;

/// Longest wait for Redis.
const PATIENCE: Duration = Duration::from_secs(1);

/// For how long a turn stays taken: longer than the clocks of two nodes differ, and the jitter with them.
const TAKEN_FOR: Duration = Duration::from_secs(600);

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// This node's.
    Ours,
    /// Another node has it.
    Taken,
    /// Nobody knows.
    Unknown,
}

/// Where turns are taken.
#[derive(Clone)]
pub struct Turns {
    place: Place,
    namespace: String,
}

impl Turns {
    /// In the fleet of this namespace, whose slot `place` leads to.
    pub fn new(place: Place, namespace: &str) -> Self {
        Self { place, namespace: namespace.to_owned() }
    }

    /// Takes the turn of `task` in `slot` (of [`crate::warm::schedule::Due`]). `lasting` is the length of a slot, if it has one.
    pub async fn take(&self, task: &str, slot: u64, lasting: Option<Duration>) -> Turn {
        let key = format!("{{{}}}:warm:{task}:{slot}", self.namespace);
        let taken_for = TAKEN_FOR.max(lasting.unwrap_or_default().saturating_mul(2));
        let mut set = redis::cmd("SET");
        set.arg(&key)
            .arg(1)
            .arg("NX")
            .arg("PX")
            .arg(u64::try_from(taken_for.as_millis()).unwrap_or(u64::MAX));
        let asked = async { self.place.open().await?.ask(&set).await };
        match timeout(PATIENCE, asked).await {
            Ok(Ok(Value::Okay)) => Turn::Ours,
            Ok(Ok(Value::Nil)) => Turn::Taken,
            Ok(Ok(other)) => {
                tracing::debug!(?other, "nobody says whose turn a warm task is");
                Turn::Unknown
            }
            Ok(Err(why)) => {
                tracing::debug!("nobody says whose turn a warm task is: {why}");
                Turn::Unknown
            }
            Err(_elapsed) => Turn::Unknown,
        }
    }
}
