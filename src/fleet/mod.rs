//! What the nodes of a fleet agree upon over Redis: the order of invalidations, who may serve what he keeps, and when an
//! invalidation holds everywhere.
//!
//! ```text
//! begin ─ register ─ forget all that is kept ─┬─ read on: what the journal holds is applied, in order
//!    ▲                                        ├─ keep the lease: renew a third of it before its end, and whenever more is applied
//!    └────── another epoch, in any answer ◄───┴─ watch: who has applied what is waited for, and who stands still
//! ```
//! Invariant: whoever has no lease serves nothing that is kept, and whoever has one has applied all that was acknowledged
//! before. It refuses to know what an invalidation reaches, and HTTP.

pub mod about;
mod ask;
mod everywhere;
pub mod intent;
pub mod journal;
mod node;
pub mod redis_journal;
mod request;
pub mod script;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod watch;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::fault::{self, Mistake};
use crate::fleet::intent::{Write, Writes};
use crate::fleet::journal::{Away, Extent, Incarnation, Journal, Member, Outcome};
use crate::metrics::Metrics;
use crate::redis::place::Where;
use crate::store::Store;
use crate::store::position::Position;

/// `redis:` as far as the fleet goes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where Redis is.
    pub at: Where,
    /// How long a node that cannot be reached may go on: the others wait for so long, and a tenth more.
    pub lease: Duration,
    /// How long whoever brought an invalidation waits until it holds everywhere.
    pub ack_timeout: Duration,
    /// What an acknowledgement says of the other nodes.
    pub coherence: Coherence,
    /// What is done with what is kept while there is no lease.
    pub when_down: WhenDown,
    /// What becomes of a write that cannot be journalled before it is forwarded.
    pub writes_when_down: WritesWhenDown,
    /// What the names of the keys in Redis begin with: those who share it are one fleet.
    pub namespace: String,
    /// How many replicas of Redis must have what counts.
    pub replicas: u32,
    /// What this node says of itself at first.
    pub about: String,
}

/// What an acknowledgement says of the other nodes. All nodes of an epoch live by the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coherence {
    /// It holds on all of them: they serve under leases, and are waited for.
    #[default]
    Acked,
    /// They are told. Nobody is waited for, and what is kept is served without a lease.
    Broadcast,
}

impl Coherence {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acked => "acked",
            Self::Broadcast => "broadcast",
        }
    }
}

/// What is done with what is kept while Redis is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenDown {
    /// Everything is asked of the origin.
    #[default]
    Origin,
    /// It is served, and the promise is suspended.
    Serve,
}

/// What becomes of a write of which Redis cannot be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WritesWhenDown {
    /// It is forwarded; if this node dies before Redis hears of it, nobody does.
    #[default]
    Open,
    /// It is answered 503, and not forwarded.
    Closed,
}

/// Who applies what the journal holds.
pub trait Follower: Send + Sync {
    /// All that was applied so far counts for nothing: what is kept dies, and places go on behind `at`. Holds its thread.
    fn begin_anew(&self, at: Position);
    /// Applies a record at its place, behind all that stand before it. It may go on behind the caller's back.
    fn apply(&self, at: Position, record: Bytes);
}

/// The membership of this process. Cheap to clone.
#[derive(Clone)]
pub struct Fleet(Arc<Shared>);

struct Shared {
    settings: Settings,
    /// What this node says of itself, with each renewal.
    about: ArcSwap<String>,
    journal: Journal,
    store: Arc<Store>,
    /// Whether what is kept may be told to the other nodes, and in which epoch.
    tier: crate::tier::Standing,
    clock: Clock,
    metrics: Arc<Metrics>,
    now: Mutex<Now>,
    /// Something was applied: that is to be told.
    advanced: Notify,
    /// Somebody waits for an invalidation to hold everywhere.
    awaited: Notify,
    /// An epoch was entered.
    entered: Notify,
    /// There is a lease again.
    leased: Notify,
    /// Whoever waits, by the place that he waits for; of this epoch.
    waiting: Mutex<BTreeMap<u64, Vec<oneshot::Sender<()>>>>,
    /// What is on its way.
    writes: Writes,
    /// Something is to be done about one of them.
    tended: Notify,
}

/// How this node stands.
#[derive(Clone, Debug, Default)]
struct Now {
    /// `None`: it has not reached Redis yet.
    epoch: Option<u64>,
    /// When (monotonic) it first saw this epoch.
    since: Duration,
    /// When (monotonic) the journal last answered who reads it, though it may have had nothing new.
    read: Duration,
    incarnation: Option<Incarnation>,
    /// Which lease this is, counted: another one after each break.
    term: u64,
    away: Option<Away>,
    gaps: u64,
    has_left: bool,
}

/// How this node stands, as it is shown.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Under which it is registered; `None`: it is not.
    pub incarnation: Option<Incarnation>,
    /// What its acknowledgements say of the others.
    pub coherence: Coherence,
    /// How far it is.
    pub applied: Position,
    /// What is left of its lease; `None`: what is kept is served without one.
    pub lease: Option<Duration>,
    /// Why Redis is not reached; `None`: it is.
    pub away: Option<String>,
    /// Records that were let go before they were read here.
    pub gaps: u64,
    /// Writes through this node of which something is still to be said.
    pub intents: usize,
}

/// Why nobody can say that an invalidation holds everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the epoch has ended in which it was appended")]
pub struct Ended;

impl Fleet {
    /// A node that has joined nobody yet: until it has, it serves nothing that is kept. `tier` says so for what the others keep.
    pub fn new(
        settings: Settings,
        journal: Journal,
        store: Arc<Store>,
        tier: crate::tier::Standing,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        store.lease().end();
        Self(Arc::new(Shared {
            about: ArcSwap::from_pointee(settings.about.clone()),
            settings,
            journal,
            store,
            tier,
            clock,
            metrics,
            now: Mutex::default(),
            advanced: Notify::new(),
            awaited: Notify::new(),
            entered: Notify::new(),
            leased: Notify::new(),
            waiting: Mutex::default(),
            writes: Writes::default(),
            tended: Notify::new(),
        }))
    }

    /// What an acknowledgement says of the other nodes.
    pub fn coherence(&self) -> Coherence {
        self.0.settings.coherence
    }

    /// How long whoever brought an invalidation waits until it holds everywhere.
    pub fn ack_timeout(&self) -> Duration {
        self.0.settings.ack_timeout
    }

    /// What becomes of a write that cannot be journalled before it is forwarded.
    pub fn writes_when_down(&self) -> WritesWhenDown {
        self.0.settings.writes_when_down
    }

    /// Gives a record its place, and says with it what became of a write.
    ///
    /// # Errors
    /// [`Away`]: it may have one all the same.
    pub async fn append(&self, record: Bytes, ends: Option<(&Write, Outcome)>) -> Result<Position, Away> {
        let place = self.place(&record, ends).await?;
        if let Some((write, outcome)) = ends {
            write.concluded(outcome);
        }
        Ok(place)
    }

    async fn place(&self, record: &Bytes, ends: Option<(&Write, Outcome)>) -> Result<Position, Away> {
        let append = |epoch| async move {
            match ends {
                Some((write, outcome)) => {
                    self.0.journal.conclude(epoch, write.name(), outcome, record.clone()).await
                }
                None => self.0.journal.append(epoch, record.clone()).await,
            }
        };
        loop {
            let known = self.now().epoch;
            let epoch = match known {
                Some(epoch) => epoch,
                None => self.0.journal.begin().await?.epoch,
            };
            match append(epoch).await? {
                Ok(n) => return Ok(Position { epoch, n }),
                // Whoever reads the journal has heard of that too, or will.
                Err(began) => match append(began.epoch).await? {
                    Ok(n) => return Ok(Position { epoch: began.epoch, n }),
                    Err(_) => continue,
                },
            }
        }
    }

    /// Waits until every node has applied what stands at `place`, or is shut out until it has; under
    /// [`Coherence::Broadcast`] for nobody.
    ///
    /// # Errors
    /// [`Ended`]: it has to be appended again.
    pub async fn everywhere(&self, place: Position) -> Result<(), Ended> {
        if self.coherence() == Coherence::Broadcast || fault::made(Mistake::AcknowledgedUnseen) {
            return Ok(());
        }
        let holds = loop {
            let mut entered = pin!(self.0.entered.notified());
            entered.as_mut().enable();
            if let Some(holds) = self.wait_at(place) {
                break holds;
            }
            // This node may not have heard of the epoch yet in which it was appended.
            let is_late = timeout(watch::patience(self.0.settings.lease), entered).await.is_err();
            // As long as it is not let in, it would append the same for ever.
            if is_late && !matches!(self.now().away, Some(Away::OtherCoherence(_))) {
                return Err(Ended);
            }
        };
        self.0.awaited.notify_one();
        holds.await.map_err(|_| Ended)
    }

    /// Waits for `place`, if this node is in its epoch.
    fn wait_at(&self, place: Position) -> Option<oneshot::Receiver<()>> {
        // Whoever ends the epoch lets go of all who wait under the same lock.
        let mut waiting = self.waiting();
        let is_compared = !fault::made(Mistake::PositionsOfTwoEpochsCompared);
        if self.now().epoch != Some(place.epoch) && is_compared {
            return None;
        }
        let (done, holds) = oneshot::channel();
        waiting.entry(place.n).or_default().push(done);
        Some(holds)
    }

    /// Waits until the first epoch is entered, for `patience` at most: what is stored before is dropped then.
    pub async fn entered(&self, patience: Duration) {
        let mut entered = pin!(self.0.entered.notified());
        entered.as_mut().enable();
        if self.now().epoch.is_none() {
            let _ = timeout(patience, entered).await;
        }
    }

    /// Waits until there is a lease, for `patience` at most: without it nothing comes from memory, nor from the other nodes.
    pub async fn leased(&self, patience: Duration) {
        let mut leased = pin!(self.0.leased.notified());
        leased.as_mut().enable();
        if !self.0.store.lease().holds(self.0.clock.mono()) {
            let _ = timeout(patience, leased).await;
        }
    }

    /// Whether Redis was away when it was last asked.
    pub fn is_away(&self) -> bool {
        self.now().away.is_some()
    }

    /// Tells the others at once that this node is another one now than it said.
    pub fn is_now(&self, about: String) {
        self.0.about.store(Arc::new(about));
        self.advanced();
    }

    /// Something was applied here.
    pub fn advanced(&self) {
        self.0.advanced.notify_one();
    }

    /// How this node stands.
    pub fn standing(&self) -> Standing {
        let Now { incarnation, away, gaps, .. } = self.now().clone();
        let (store, now) = (&self.0.store, self.0.clock.mono());
        let coherence = self.coherence();
        let lease = store.lease().left(now).filter(|_| coherence == Coherence::Acked);
        let (applied, away, intents) =
            (store.applied(), away.map(|away| away.to_string()), self.0.writes.len());
        Standing { incarnation, coherence, applied, lease, away, gaps, intents }
    }

    /// Everybody who is registered, and what the journal holds.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn members(&self) -> Result<(Extent, Vec<Member>), Away> {
        self.0.journal.members().await
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<oneshot::Sender<()>>>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
