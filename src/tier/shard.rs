//! A share of the tier: its connections, whether they are asked at all, and what is told on them. One is all of it, but on a
//! Cluster each of several has a slot of its own, so that answers spread over its nodes.
//!
//! Invariant: the same key is in the same share on every node. It refuses to know what lies there.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::Pipeline;
use redis::Value as Reply;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::redis::Error;
use crate::redis::place::{self, Where};
use crate::route::key::Key;
use crate::tier::breaker::{Breaker, Outcome};
use crate::tier::codec::{self, Unreadable, Value};
use crate::tier::filling::Filling;
use crate::tier::key::Place;
use crate::tier::link::Link;
use crate::tier::standing::Standing;
use crate::tier::{Missed, Settings};

/// Shares on a Cluster; it has fewer primaries, mostly.
const ON_A_CLUSTER: usize = 16;

/// Connections on which answers are asked for, together; one more in each share tells them, so that no large answer is in
/// anybody's way.
const READERS: usize = 2;

/// PTTL is told in these.
pub(in crate::tier) const PTTL_STEP: Duration = Duration::from_millis(1);

/// Bodies from so many bytes on are unpacked where no task waits for it.
const UNPACKED_ASIDE: usize = 64 << 10;

/// All of them.
#[derive(Debug)]
pub(in crate::tier) struct Shards(Vec<Shard>);

#[derive(Debug)]
pub(in crate::tier) struct Shard {
    prefix: String,
    readers: Vec<Link>,
    /// Who is asked next.
    next: AtomicUsize,
    breaker: Mutex<Breaker>,
    pub(in crate::tier) filling: Filling,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// What lies at a place.
pub(in crate::tier) struct Lying {
    pub(in crate::tier) value: Value,
    /// For how long it will.
    pub(in crate::tier) stays: Duration,
    /// When (monotonic) Redis was asked.
    pub(in crate::tier) asked: Duration,
}

impl Shards {
    pub(in crate::tier) fn start(
        Settings { namespace, deadline }: Settings,
        place: &place::Place,
        standing: &Standing,
        clock: &Clock,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, Error> {
        let prefixes = prefixes(place.at(), &namespace);
        let shares = prefixes.len();
        let shard = |prefix: String| {
            let place = place.beside(&prefix)?;
            let link = || Link::keep_up(place.clone(), standing.clone());
            let (of_clock, of_metrics) = (clock.clone(), Arc::clone(metrics));
            Ok(Shard {
                readers: (0..(READERS / shares).max(1)).map(|_| link()).collect(),
                next: AtomicUsize::new(0),
                breaker: Mutex::new(Breaker::new(deadline * 3 / 5)),
                filling: Filling::over(link(), deadline, shares, standing.clone(), of_clock, of_metrics),
                clock: clock.clone(),
                metrics: Arc::clone(metrics),
                prefix,
            })
        };
        prefixes.into_iter().map(shard).collect::<Result<_, Error>>().map(Self)
    }

    /// The share of a key.
    pub(in crate::tier) fn of(&self, key: &Key) -> &Shard {
        let count = u64::try_from(self.0.len()).unwrap_or(1);
        let nth = if count == 1 { 0 } else { xxh3_64(key) % count };
        &self.0[usize::try_from(nth).unwrap_or(0)]
    }

    /// Waits until answers can be asked for.
    pub(in crate::tier) async fn connected(&self) {
        for link in self.0.iter().flat_map(|shard| &shard.readers) {
            link.connected().await;
        }
    }

    /// Whether any connection is up.
    pub(in crate::tier) fn are_any_connected(&self) -> bool {
        self.0.iter().flat_map(|shard| &shard.readers).any(|link| link.nth().is_some())
    }
}

/// What the names of all keys of a share begin with; on a Cluster what stands in braces chooses the slot.
fn prefixes(at: &Where, namespace: &str) -> Vec<String> {
    match at {
        Where::Cluster(_) => (0..ON_A_CLUSTER).map(|nth| format!("{{{namespace}:e:{nth}}}")).collect(),
        Where::One(_) | Where::Sentinel { .. } => vec![format!("{namespace}:e")],
    }
}

impl Shard {
    pub(in crate::tier) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(in crate::tier) async fn ask(&self, place: &Place, until: Instant) -> Result<Lying, Missed> {
        let asked = self.clock.mono();
        let link = self.link().ok_or(Missed::Down)?;
        self.breaker().enter(asked).map_err(|_| Missed::Open)?;
        let mut commands = Pipeline::new();
        commands.cmd("PTTL").arg(place.as_bytes()).cmd("GET").arg(place.as_bytes());
        let replies = link.ask(&commands, None, until.saturating_duration_since(Instant::now())).await;
        let now = self.clock.mono();
        let took = now.saturating_sub(asked);
        self.metrics.tier().took("get", took);
        let found = replies.map_err(Missed::from).and_then(said);
        let is_answer = matches!(found, Ok(_) | Err(Missed::Absent | Missed::Another));
        let outcome = if is_answer { Outcome::Answered(took) } else { Outcome::Failed };
        self.breaker().leave(outcome, now);
        let (stays, bytes) = found?;
        Ok(Lying { value: unpack(bytes).await?, stays, asked })
    }

    /// One that is up, each in its turn.
    fn link(&self) -> Option<&Link> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let turns = (0..self.readers.len()).map(|turn| &self.readers[(first + turn) % self.readers.len()]);
        turns.into_iter().find(|link| link.nth().is_some())
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What PTTL and GET said: for how long what lies there stays, and its bytes.
fn said(replies: Vec<Reply>) -> Result<(Duration, Vec<u8>), Missed> {
    let replies: [Reply; 2] = replies.try_into().map_err(|_| Missed::Refused)?;
    match replies {
        // What stays for ever was written by nobody of us.
        [Reply::Int(stays), Reply::BulkString(bytes)] => match u64::try_from(stays) {
            Ok(stays) => Ok((Duration::from_millis(stays), bytes)),
            Err(_) => Err(Missed::Another),
        },
        [Reply::Int(_), Reply::Nil] => Err(Missed::Absent),
        _ => Err(Missed::Refused),
    }
}

async fn unpack(bytes: Vec<u8>) -> Result<Value, Missed> {
    if bytes.len() < UNPACKED_ASIDE {
        return codec::unpack(bytes).map_err(Missed::Unreadable);
    }
    let unpacked = tokio::task::spawn_blocking(|| codec::unpack(bytes)).await;
    unpacked.unwrap_or(Err(Unreadable::Malformed)).map_err(Missed::Unreadable)
}
