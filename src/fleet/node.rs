//! A node's life in the fleet: it registers, enters an epoch, reads on, and keeps its lease.
//!
//! | answer | what is done |
//! |---|---|
//! | a record | applied, and told with a renewal at once |
//! | records are missing | all that is kept dies, and reading goes on behind them |
//! | a renewal counts | the lease goes on from before it was sent |
//! | the fence is higher than what is applied | no lease: read on first |
//! | nobody of that name | registered anew, under another |
//! | the others live otherwise | not joined: nothing that is kept is served, until none of them is left |
//! | another epoch | no lease, nobody who waits is answered, all that is kept dies, from the beginning |
//! | none | tried again; the lease ends by itself |

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::fault::{self, Mistake};
use crate::fleet::journal::{Away, Began, Extent, Incarnation, RETAINED, Read, Renewed};
use crate::fleet::watch::{Watch, patience};
use crate::fleet::{Coherence, Fleet, Follower, Now, WhenDown};
use crate::redis::backoff;
use crate::store::position::Position;

/// How long a read of the journal waits for something to come.
const READ: Duration = Duration::from_secs(1);

/// Renewals in a lease.
pub(in crate::fleet) const RENEWALS: u32 = 3;

impl Fleet {
    /// Lives in the fleet until the process ends; `follower` applies what the journal holds.
    pub async fn live(self, follower: Arc<dyn Follower>) {
        let mut failures = 0;
        loop {
            match self.0.journal.begin().await {
                Ok(extent) => {
                    failures = 0;
                    let seen = self.0.clock.mono();
                    let Ok(extent) = self.be_known(extent).await else { continue };
                    let extent = self.beginning(extent);
                    self.enter(extent, &follower).await;
                    if fault::made(Mistake::EpochCountedUnconfirmed) {
                        self.now().since = seen;
                    }
                    let began = tokio::select! {
                        biased;
                        began = self.read_on(extent, &follower) => began,
                        began = self.keep_lease(extent.epoch) => began,
                        began = self.watch(extent.epoch) => began,
                        began = self.tend(extent.epoch) => began,
                    };
                    tracing::warn!(
                        epoch = began.epoch,
                        "the fleet's journal is another one: nothing that is kept counts"
                    );
                    self.end_epoch();
                }
                Err(away) => self.wait_for(&away, &mut failures).await,
            }
        }
    }

    /// Serves nothing that is kept from now on, and says so.
    pub async fn leave(&self) {
        let (epoch, incarnation) = {
            let mut now = self.now();
            now.has_left = true;
            if !fault::made(Mistake::ServedAfterLeaving) {
                self.0.store.lease().end();
                self.0.tier.end();
            }
            (now.epoch, now.incarnation.take())
        };
        if let (Some(epoch), Some(incarnation)) = (epoch, incarnation) {
            // The others find out by themselves if this is not heard.
            let _ = self.0.journal.leave(epoch, &incarnation).await;
        }
    }

    /// From where the journal is read: its first record.
    fn beginning(&self, extent: Extent) -> Extent {
        let first = match self.0.store.applied() {
            _ if fault::made(Mistake::StartedWithoutReplay) => extent.last + 1,
            of_another if fault::made(Mistake::EpochKeepsTheCursor) => of_another.n + 1,
            _ => extent.first,
        };
        Extent { first, ..extent }
    }

    async fn enter(&self, extent: Extent, follower: &Arc<dyn Follower>) {
        self.0.store.lease().end();
        let at = Position { epoch: extent.epoch, n: extent.first.saturating_sub(1) };
        begin_anew(follower, at).await;
        // In this order: what other nodes tell is refused as long as there are no floors to judge it by.
        self.0.store.retain_floors(at.n);
        {
            let mut now = self.now();
            (now.epoch, now.since, now.away) = (Some(extent.epoch), self.0.clock.mono(), None);
            now.read = now.since;
            if !now.has_left {
                self.0.tier.set(extent.epoch);
            }
        }
        self.0.metrics.fleet_away(None);
        tracing::info!("one of the fleet over {}, in epoch {:x}", self.0.settings.at, extent.epoch);
        self.0.entered.notify_waiters();
    }

    fn end_epoch(&self) {
        self.0.store.lease().end();
        self.0.tier.end();
        let mut waiting = self.waiting();
        let mut now = self.now();
        *now = Now { gaps: now.gaps, has_left: now.has_left, term: now.term, ..Now::default() };
        if !fault::made(Mistake::PositionsOfTwoEpochsCompared) {
            waiting.clear();
        }
    }

    async fn read_on(&self, extent: Extent, follower: &Arc<dyn Follower>) -> Began {
        let mut cursor = Position { epoch: extent.epoch, n: extent.first.saturating_sub(1) };
        let mut failures = 0;
        loop {
            let read = self.0.journal.read(cursor, READ).await;
            if read.is_ok() {
                self.now().read = self.0.clock.mono();
            }
            match read {
                Ok(Read::Records(records)) => {
                    failures = 0;
                    for (n, record) in records {
                        cursor.n = n;
                        follower.apply(cursor, record);
                    }
                    // What the journal has let go of, a node that starts now could not judge either.
                    self.0.store.retain_floors(cursor.n.saturating_sub(RETAINED));
                }
                Ok(Read::Gap(extent)) => {
                    tracing::warn!(
                        from = cursor.n + 1,
                        to = extent.first.saturating_sub(1),
                        "records of the fleet's journal were let go before they were read: nothing that is kept counts"
                    );
                    self.now().gaps += 1;
                    self.0.metrics.fleet_gap();
                    cursor.n = extent.first.saturating_sub(1);
                    begin_anew(follower, cursor).await;
                    self.advanced();
                }
                Ok(Read::Began(began)) => return began,
                Err(away) => self.wait_for(&away, &mut failures).await,
            }
        }
    }

    async fn keep_lease(&self, epoch: u64) -> Began {
        let mut failures = 0;
        loop {
            if self.now().has_left {
                // What is brought is appended and acknowledged all the same.
                return std::future::pending().await;
            }
            let known = self.now().incarnation.clone();
            let Some(incarnation) = known else {
                match self.register(epoch).await {
                    Ok(_) => continue,
                    Err(began) => return began,
                }
            };
            // Before it is read how far this node is, and before it is sent.
            let sent = self.0.clock.mono();
            // Who cannot read is not to hold up those who wait for him for ever: he stands still.
            if sent.saturating_sub(self.now().read) > READ + 2 * self.0.settings.lease {
                sleep(self.0.settings.lease / RENEWALS).await;
                continue;
            }
            let is_early = fault::made(Mistake::AppliedBeforeItIsDead);
            let applied = if is_early { self.0.store.arrival(sent).position } else { self.0.store.applied() };
            let about = self.0.about.load_full();
            match self.0.journal.renew(epoch, &incarnation, applied.n, &about).await {
                Ok(Renewed::Held { .. }) => {
                    failures = 0;
                    let is_late = fault::made(Mistake::LeaseCountedFromTheAnswer);
                    self.hold(if is_late { self.0.clock.mono() } else { sent });
                }
                Ok(Renewed::Fenced { fence }) => {
                    failures = 0;
                    self.shut_out(applied.n, fence);
                }
                Ok(Renewed::Unknown) => {
                    if self.coherence() == Coherence::Acked {
                        self.0.store.lease().end();
                    }
                    self.now().incarnation = None;
                    continue;
                }
                Ok(Renewed::Began(began)) => return began,
                Err(away) => {
                    self.wait_for(&away, &mut failures).await;
                    continue;
                }
            }
            // Woken by what is applied; a permit from before the renewal only renews once more.
            let _ = timeout(self.0.settings.lease / RENEWALS, self.0.advanced.notified()).await;
        }
    }

    /// An epoch counts from when its server, and as many replicas as are asked for, know of this node: else it may be that of a
    /// primary that is replaced already.
    async fn be_known(&self, extent: Extent) -> Result<Extent, Began> {
        let is_early = fault::made(Mistake::TicketOfAnUnconfirmedEpoch);
        if self.now().has_left || is_early { Ok(extent) } else { self.register(extent.epoch).await }
    }

    /// Registers under a name that nobody had before, and sends that again until it is confirmed.
    async fn register(&self, epoch: u64) -> Result<Extent, Began> {
        let is_used_again = fault::made(Mistake::IncarnationUsedAgain);
        let name =
            if is_used_again { Incarnation(self.0.settings.about.clone()) } else { self.0.journal.name() };
        let (mut failures, mut watch) = (0, Watch::default());
        loop {
            let about = self.0.about.load_full();
            match self.0.journal.register(epoch, &name, &about).await {
                Ok(Ok(extent)) => {
                    self.now().incarnation = Some(name);
                    self.0.tended.notify_one();
                    return Ok(extent);
                }
                Ok(Err(began)) => return Err(began),
                Err(away) => {
                    let is_answered = matches!(away, Away::OtherCoherence(_));
                    if is_answered {
                        failures = 0;
                    }
                    self.wait_for(&away, &mut failures).await;
                    if is_answered {
                        self.convert(epoch, &mut watch).await;
                    }
                }
            }
        }
    }

    /// Begins an epoch that lives as this node, once nobody can have a lease in this one. Whatever comes of it, the next
    /// registration tells.
    async fn convert(&self, epoch: u64, watch: &mut Watch) {
        if let Ok((_, members)) = self.0.journal.members().await {
            let still = watch.see(&members, self.0.clock.mono(), patience(self.0.settings.lease));
            let _ = self.0.journal.convert(epoch, still).await;
        }
    }

    /// A renewal that was sent at `sent` counts.
    fn hold(&self, sent: Duration) {
        let mut now = self.now();
        let is_back = now.away.take().is_some();
        if is_back {
            self.0.metrics.fleet_away(None);
            tracing::info!("the fleet's Redis, {}, counts again", self.0.settings.at);
        }
        if !now.has_left {
            if let (true, Coherence::Broadcast, Some(epoch)) = (is_back, self.coherence(), now.epoch) {
                self.0.tier.set(epoch);
            }
            let lease = self.0.store.lease();
            if lease.left(self.0.clock.mono()).is_none_or(|left| left.is_zero()) {
                now.term += 1;
                self.0.tended.notify_one();
            }
            lease.extend(match self.coherence() {
                Coherence::Acked => sent.saturating_add(self.0.settings.lease),
                // From when this node has applied what stood there when it came, nobody does without it.
                Coherence::Broadcast => Duration::MAX,
            });
            self.0.leased.notify_waiters();
        }
    }

    fn shut_out(&self, applied: u64, fence: u64) {
        if self.coherence() == Coherence::Broadcast {
            return;
        }
        let lease = self.0.store.lease();
        if lease.left(self.0.clock.mono()).is_none_or(|left| !left.is_zero()) {
            self.0.metrics.lease_lost();
            tracing::warn!(applied, fence, "this node was shut out until it has caught up");
        }
        lease.end();
    }

    fn serves_without_redis(&self) -> bool {
        self.coherence() == Coherence::Broadcast || self.0.settings.when_down == WhenDown::Serve
    }

    fn tell_that_it_is(&self, away: &Away) {
        let at = &self.0.settings.at;
        let then = if self.serves_without_redis() {
            "what is kept is served all the same"
        } else {
            "nothing that is kept is served"
        };
        let what = format_args!("until that is over nothing is promised, and without a lease {then}");
        if matches!(away, Away::Unreachable(_)) {
            tracing::warn!("the fleet's Redis, {at}: {away}; {what}");
        } else {
            tracing::error!("the fleet's Redis, {at}: {away}; {what}");
        }
    }

    async fn wait_for(&self, away: &Away, failures: &mut u32) {
        *failures = failures.saturating_add(1);
        {
            let mut now = self.now();
            match (&now.away, away) {
                (Some(Away::OtherCoherence(_)), Away::OtherCoherence(_)) => {}
                (_, Away::OtherCoherence(_)) => tracing::error!("{away}"),
                (None, _) => self.tell_that_it_is(away),
                (Some(_), _) => {}
            }
            if self.coherence() == Coherence::Broadcast {
                // The others' invalidations are not heard.
                self.0.tier.end();
            }
            now.away = Some(away.clone());
            self.0.metrics.fleet_away(Some(away.as_str()));
            let lease = self.0.store.lease();
            let is_over = lease.left(self.0.clock.mono()).is_some_and(|left| left.is_zero());
            if is_over && self.serves_without_redis() && now.epoch.is_some() && !now.has_left {
                lease.suspend();
            }
        }
        let pause = backoff(*failures, self.0.clock.mono().subsec_nanos().into());
        // Another primary ends it: that is what was waited for.
        let _ = timeout(pause, self.0.journal.moved()).await;
    }
}

/// What is kept may be much, and to kill it takes its time.
async fn begin_anew(follower: &Arc<dyn Follower>, at: Position) {
    let follower = Arc::clone(follower);
    // It fails only with the runtime.
    let _ = tokio::task::spawn_blocking(move || follower.begin_anew(at)).await;
}
