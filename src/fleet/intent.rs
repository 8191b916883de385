//! The writes of this node that may be on their way: what each will outdate is journalled before it leaves, in the name of
//! this node's incarnation, and stays there until somebody has said what became of it.
//!
//! ```text
//! Write ─ may_leave: journalled, under a lease that goes on ─ (forwarded) ─┬ concluded: known, its record has closed it
//!             ▲ asked again for each copy, and after each break            ├ closed: it outdated nothing
//!                                                                          └ given up: its record is appended, and
//!                                                                            it is closed when it must be over
//! ```
//! | this node | the others | what keeps the promise |
//! |---|---|---|
//! | holds a lease, journals | | |
//! | looks at the lease again: it is the same | | nobody has shut it out meanwhile, so nobody has dealt with this intent |
//! | forwards, and dies | | |
//! | | shut it out: a record of unknown outcome, held | the hold is as long as a write may take, and a lease and its margin |
//!
//! Invariant: what may be on its way is in this table, and the table is brought to each epoch, and again whenever a lease
//! was lost and is had again. It refuses to know what a record means.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ahash::RandomState;
use bytes::Bytes;
use tokio::time::timeout;

use crate::fault::{self, Fault};
use crate::fleet::Fleet;
use crate::fleet::journal::{Away, Began, Closed, Incarnation, Intended, MAX_INTENTS, Outcome};
use crate::fleet::watch::patience;

/// Attempts to journal an intent until whoever forwards is told that nothing is certain.
const ATTEMPTS: usize = 2;

/// How often somebody looks for intents that nobody holds any more: so many leases.
const LOOKED_AFTER: u32 = 8;

/// The writes of this node of which something may still be to be said.
pub(in crate::fleet) struct Writes {
    /// Of this process; with a count it is a name that nobody had before.
    by: u64,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    count: u64,
    open: HashMap<Arc<str>, Open>,
}

struct Open {
    record: Bytes,
    /// For how long it may go on once nobody hears of it.
    hold: Duration,
    stands: Stands,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    UnderWay,
    /// Nobody knows what became of it, and that is still to be appended.
    GivenUp,
    /// That is appended; it must be over at this time (monotonic).
    OverAt(Duration),
    /// Nothing is to be said of it any more but that.
    Ended,
}

/// A lease that is held, and in whose name.
#[derive(Clone, Debug)]
pub(in crate::fleet) struct Held {
    /// Another one after each break.
    pub(in crate::fleet) term: u64,
    pub(in crate::fleet) epoch: u64,
    pub(in crate::fleet) who: Incarnation,
}

/// Why a write is forwarded with nobody to speak for it, if at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unheld {
    /// This node has no lease.
    #[error("this node has no lease")]
    NoLease,
    /// Redis does not take it, or does not say so in time.
    #[error("the intent could not be journalled")]
    NotJournalled,
    /// As many writes as may be are under way already.
    #[error("more than {MAX_INTENTS} writes are under way")]
    TooMany,
}

/// A write that is about to be forwarded.
pub struct Write {
    fleet: Fleet,
    name: Arc<str>,
    record: Bytes,
    hold: Duration,
    /// The term under which it was journalled.
    under: Mutex<Option<u64>>,
}

impl Default for Writes {
    fn default() -> Self {
        Self { by: RandomState::new().hash_one(()), table: Mutex::default() }
    }
}

impl Writes {
    fn name(&self, hold: Duration) -> Arc<str> {
        let mut table = self.table();
        table.count += 1;
        // Whoever finds it orphaned reads from its name for how long it may go on.
        format!("{:016x}-{:x}-{}", self.by, table.count, hold.as_millis()).into()
    }

    /// How many there are.
    pub(in crate::fleet) fn len(&self) -> usize {
        self.table().open.len()
    }

    fn is_open(&self, name: &str) -> bool {
        self.table().open.contains_key(name)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For how long the write of this name may go on when nobody hears of it; `None`: it is no name of ours.
fn hold_of(name: &str) -> Option<Duration> {
    name.rsplit('-').next()?.parse().ok().map(Duration::from_millis)
}

impl Write {
    /// Journals it unless that was done under the lease that goes on; to be asked before each copy of it is sent.
    ///
    /// # Errors
    /// [`Unheld`]: should this node die, nobody says what it outdated.
    pub async fn may_leave(&self) -> Result<(), Unheld> {
        if fault::is(Fault::IntentLeftOut) {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            let under = *self.under();
            if under.is_some() && fault::is(Fault::ForwardedWithoutALease) {
                return Ok(());
            }
            let held = self.fleet.held().ok_or(Unheld::NoLease)?;
            if under == Some(held.term) {
                return Ok(());
            }
            self.open()?;
            let journal = &self.fleet.0.journal;
            match journal.intend(held.epoch, &held.who, &self.name, self.record.clone()).await {
                // The lease may have ended meanwhile: looked at once more.
                Ok(Intended::Kept) => *self.under() = Some(held.term),
                Ok(Intended::Unknown | Intended::Began(_)) | Err(_) => return Err(Unheld::NotJournalled),
            }
        }
        let held = self.fleet.held().map(|held| held.term);
        if held.is_some() && held == *self.under() { Ok(()) } else { Err(Unheld::NoLease) }
    }

    /// It outdated nothing, or all that it outdated is in the journal.
    pub fn close(&self) {
        if let Some(open) = self.fleet.0.writes.table().open.get_mut(&self.name) {
            open.stands = Stands::Ended;
            self.fleet.0.tended.notify_one();
        }
    }

    /// Nobody is left who could say what became of it, unless that was said.
    pub fn give_up(&self) {
        let mut table = self.fleet.0.writes.table();
        if let Some(open) = table.open.get_mut(&self.name)
            && open.stands == Stands::UnderWay
        {
            open.stands = Stands::GivenUp;
            self.fleet.0.tended.notify_one();
        }
    }

    /// Its record was appended with this outcome.
    pub(in crate::fleet) fn concluded(&self, outcome: Outcome) {
        match outcome {
            Outcome::Known => self.fleet.forget(&self.name),
            Outcome::Unknown => self.fleet.told(&self.name),
        }
    }

    /// What it is called in the journal.
    pub(in crate::fleet) fn name(&self) -> &str {
        &self.name
    }

    fn open(&self) -> Result<(), Unheld> {
        let mut table = self.fleet.0.writes.table();
        if table.open.len() >= MAX_INTENTS && !table.open.contains_key(&self.name) {
            return Err(Unheld::TooMany);
        }
        let (record, hold) = (self.record.clone(), self.hold);
        let open = || Open { record, hold, stands: Stands::UnderWay };
        table.open.entry(Arc::clone(&self.name)).or_insert_with(open);
        self.fleet.0.metrics.fleet_intents(table.open.len());
        Ok(())
    }

    fn under(&self) -> MutexGuard<'_, Option<u64>> {
        self.under.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fleet {
    /// A write that is about to be forwarded: `record` is what is outdated if nobody says what became of it, `hold` for how
    /// long it may then go on. Nothing is journalled yet.
    pub fn write(&self, record: Bytes, hold: Duration) -> Write {
        let name = self.0.writes.name(hold);
        Write { fleet: self.clone(), name, record, hold, under: Mutex::default() }
    }

    /// How long others may take to find that this node is gone, in which it may still forward what it intended.
    pub fn patience(&self) -> Duration {
        patience(self.0.settings.lease)
    }

    /// The lease, if there is one that Redis gave.
    pub(in crate::fleet) fn held(&self) -> Option<Held> {
        let now = self.now();
        let left = self.0.store.lease().left(self.0.clock.mono())?;
        let (epoch, who) = (now.epoch?, now.incarnation.clone()?);
        (!left.is_zero()).then_some(Held { term: now.term, epoch, who })
    }

    /// Brings what may be on its way to where this node was just registered, or given a lease; appends what nobody else will, and closes what is over.
    pub(in crate::fleet) async fn tend(&self, epoch: u64) -> Began {
        let (mut brought, mut orphans, mut looked) = (None, HashMap::new(), self.0.clock.mono());
        let lease = self.0.settings.lease;
        loop {
            let tended = async {
                let now = self.registered(epoch);
                if let Some((who, term)) = now.clone().filter(|_| now != brought) {
                    self.bring(epoch, &who).await??;
                    brought = Some((who, term));
                }
                self.append_given_up(epoch).await??;
                self.close_over(epoch).await??;
                let now = self.0.clock.mono();
                if now.saturating_sub(looked) >= LOOKED_AFTER * lease {
                    looked = now;
                    self.look_after(epoch, &mut orphans).await??;
                }
                Ok::<_, Refused>(())
            };
            if let Err(Refused::Began(began)) = tended.await {
                return began;
            }
            let _ = timeout(lease, self.0.tended.notified()).await;
        }
    }

    /// Intends all of them anew: what was journalled in their stead may be of another epoch, or of too long ago.
    async fn bring(&self, epoch: u64, who: &Incarnation) -> Result<Result<(), Began>, Away> {
        if fault::is(Fault::IntentsLeftInTheOldEpoch) {
            return Ok(Ok(()));
        }
        for (name, record) in self.named(|stands| stands != Stands::Ended) {
            match self.0.journal.intend(epoch, who, &name, record).await? {
                Intended::Kept => {}
                // The next renewal finds that out as well.
                Intended::Unknown => return Ok(Ok(())),
                Intended::Began(began) => return Ok(Err(began)),
            }
            let mut table = self.0.writes.table();
            match table.open.get_mut(&name) {
                Some(open) if !matches!(open.stands, Stands::UnderWay | Stands::Ended) => {
                    open.stands = Stands::GivenUp
                }
                // It ended meanwhile: whoever looks after intents closes it.
                Some(_) | None => {}
            }
        }
        Ok(Ok(()))
    }

    async fn append_given_up(&self, epoch: u64) -> Result<Result<(), Began>, Away> {
        for (name, record) in self.named(|stands| stands == Stands::GivenUp) {
            if let Err(began) = self.0.journal.conclude(epoch, &name, Outcome::Unknown, record).await? {
                return Ok(Err(began));
            }
            self.told(&name);
        }
        Ok(Ok(()))
    }

    async fn close_over(&self, epoch: u64) -> Result<Result<(), Began>, Away> {
        let now = self.0.clock.mono();
        let over = self.named(|stands| matches!(stands, Stands::OverAt(at) if at <= now));
        let over = over.into_iter().map(|(name, _)| (name, Outcome::Unknown));
        let ended = self.named(|stands| stands == Stands::Ended);
        for (name, outcome) in over.chain(ended.into_iter().map(|(name, _)| (name, Outcome::Known))) {
            if let Err(began) = self.0.journal.close(epoch, &name, outcome).await? {
                return Ok(Err(began));
            }
            self.forget(&name);
        }
        Ok(Ok(()))
    }

    /// Closes what nobody holds any more: of this incarnation what has ended, of the others what was appended in their stead
    /// and must be over by now.
    async fn look_after(
        &self,
        epoch: u64,
        orphans: &mut HashMap<String, Duration>,
    ) -> Result<Result<(), Began>, Away> {
        let intents = match self.0.journal.intents(epoch).await? {
            Ok(intents) => intents,
            Err(began) => return Ok(Err(began)),
        };
        let (now, own) = (self.0.clock.mono(), self.now().incarnation.clone());
        orphans
            .retain(|name, _| intents.iter().any(|intent| intent.write == *name && intent.place.is_some()));
        for intent in intents {
            let is_open_here = self.0.writes.is_open(&intent.write);
            let is_left_over = own.is_some() && intent.who == own && !is_open_here;
            let is_over = intent.place.is_some() && !is_open_here && {
                let since = *orphans.entry(intent.write.clone()).or_insert(now);
                hold_of(&intent.write).is_none_or(|hold| now.saturating_sub(since) >= hold)
            };
            let outcome = if is_left_over { Outcome::Known } else { Outcome::Unknown };
            if is_left_over || is_over {
                match self.0.journal.close(epoch, &intent.write, outcome).await? {
                    Ok(Closed::Gone) if is_over => self.0.metrics.fleet_orphan_closed(),
                    Ok(Closed::Gone | Closed::Open) => {}
                    Err(began) => return Ok(Err(began)),
                }
            }
        }
        Ok(Ok(()))
    }

    /// Who this node is in an epoch, and under which lease, or the last one.
    fn registered(&self, epoch: u64) -> Option<(Incarnation, u64)> {
        let now = self.now();
        let who = now.incarnation.clone().filter(|_| now.epoch == Some(epoch))?;
        Some((who, now.term))
    }

    /// Those that stand so.
    fn named(&self, are: impl Fn(Stands) -> bool) -> Vec<(Arc<str>, Bytes)> {
        let table = self.0.writes.table();
        let open = table.open.iter().filter(|(_, open)| are(open.stands));
        open.map(|(name, open)| (Arc::clone(name), open.record.clone())).collect()
    }

    /// That nobody knows its outcome is in the journal.
    fn told(&self, name: &str) {
        let now = self.0.clock.mono();
        if let Some(open) = self.0.writes.table().open.get_mut(name) {
            open.stands = Stands::OverAt(now.saturating_add(open.hold));
        }
    }

    /// Nothing is to be said of it any more.
    fn forget(&self, name: &str) {
        let mut table = self.0.writes.table();
        table.open.remove(name);
        self.0.metrics.fleet_intents(table.open.len());
    }
}

/// Why tending was left for now.
enum Refused {
    Began(Began),
    /// Tried again.
    Away,
}

impl From<Began> for Refused {
    fn from(began: Began) -> Self {
        Self::Began(began)
    }
}

impl From<Away> for Refused {
    fn from(_: Away) -> Self {
        Self::Away
    }
}
