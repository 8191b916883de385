//! When an invalidation holds everywhere: who has applied what somebody waits for, and who stands still and is shut out.
//!
//! Invariant: whoever waits is answered when every node of the registry has applied it, or owes it before it has a lease again. It
//! refuses to know what was invalidated.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::fault::{self, Mistake};
use crate::fleet::journal::{Away, Began, Behind, Fenced};
use crate::fleet::node::RENEWALS;
use crate::fleet::watch::{Watch, patience};
use crate::fleet::{Coherence, Fleet};

/// Pause before it is asked again who has applied what somebody waits for; twice as long each time nobody had.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// Longest of these.
const LAST_LOOK: Duration = Duration::from_millis(16);

impl Fleet {
    /// Asks who has applied what somebody waits for, as long as somebody does, and shuts out who stands still.
    pub(in crate::fleet) async fn watch(&self, epoch: u64) -> Began {
        let lease = self.0.settings.lease;
        let (mut watch, mut pause) = (Watch::default(), FIRST_LOOK);
        loop {
            let awaited = self.waiting().last_key_value().map(|(n, _)| *n);
            match self.look(epoch, awaited, &mut watch).await {
                Ok(Ok(up_to)) => {
                    pause = if self.answer(up_to) { FIRST_LOOK } else { (2 * pause).min(LAST_LOOK) };
                }
                Ok(Err(began)) => return began,
                // Whoever reads says so.
                Err(_) => pause = LAST_LOOK,
            }
            if self.waiting().is_empty() {
                let _ = timeout(lease / RENEWALS, self.0.awaited.notified()).await;
                pause = FIRST_LOOK;
            } else {
                sleep(pause).await;
            }
        }
    }

    /// Up to where everybody has applied everything, as far as somebody waits for it. Without anybody who waits all are looked at:
    /// what an orphan had begun is somebody's to end.
    async fn look(
        &self,
        epoch: u64,
        awaited: Option<u64>,
        watch: &mut Watch,
    ) -> Result<Result<u64, Began>, Away> {
        let asked = self.0.clock.mono();
        let answers_whoever_comes = fault::made(Mistake::RegistryReadBeforeTheAppend);
        let asked_for = awaited.or_else(|| answers_whoever_comes.then(|| self.0.store.applied().n));
        let mut members = match asked_for {
            Some(n) => match self.0.journal.behind(epoch, n).await? {
                Behind::These(members) => members,
                Behind::Began(began) => return Ok(Err(began)),
            },
            None => {
                let (extent, members) = self.0.journal.members().await?;
                if extent.epoch != epoch {
                    return Ok(Err(Began { epoch: extent.epoch }));
                }
                members
            }
        };
        let (told, patience) = (self.0.clock.mono(), patience(self.0.settings.lease));
        let now = if fault::made(Mistake::StillnessCountedFromTheQuestion) { asked } else { told };
        let own = self.now().incarnation.clone();
        let others = members.iter().filter(|member| own.as_ref() != Some(&member.incarnation)).cloned();
        for (incarnation, renewals) in watch.see(&others.collect::<Vec<_>>(), now, patience) {
            if fault::made(Mistake::AcknowledgedWithoutAFence) {
                members.retain(|member| member.incarnation != incarnation);
                continue;
            }
            match self.0.journal.fence(epoch, &incarnation, renewals).await? {
                Fenced::ShutOut if self.coherence() == Coherence::Broadcast => {
                    tracing::info!(node = incarnation.0, "a node stands still: it will be told late");
                }
                Fenced::ShutOut => {
                    tracing::warn!(node = incarnation.0, "a node that stands still was shut out");
                }
                Fenced::Moved => {}
                Fenced::Began(began) => return Ok(Err(began)),
            }
        }
        let all = if answers_whoever_comes { Some(u64::MAX) } else { awaited };
        let everywhere = members.iter().map(|member| member.applied).min().or(all);
        Ok(Ok(everywhere.unwrap_or_default()))
    }

    /// Answers who waits for what holds everywhere by now; whether anybody did.
    fn answer(&self, up_to: u64) -> bool {
        let since = self.now().since;
        let waited = self.0.clock.mono().saturating_sub(since);
        if waited < patience(self.0.settings.lease) && !fault::made(Mistake::EpochAcknowledgesAtOnce) {
            // Leases of the epoch before may not have run out.
            return false;
        }
        let done = {
            let mut waiting = self.waiting();
            let left = waiting.split_off(&up_to.saturating_add(1));
            std::mem::replace(&mut *waiting, left)
        };
        let any = !done.is_empty();
        for holds in done.into_values().flatten() {
            // He may have left.
            let _ = holds.send(());
        }
        any
    }
}
