//! What a write will outdate, said to the fleet before it is forwarded, in case nobody can say it afterwards.
//!
//! Invariant: an intent's record is one of unknown outcome: hard, all that the write could outdate, and held for as long as the
//! write may go on, and a lease and its margin, in which its node may still forward it. It refuses to know how a write is
//! sent.

use std::sync::Arc;
use std::time::Duration;

use crate::fault::{self, Fault};
use crate::fleet::intent::{Unheld, Write};
use crate::fleet::journal::Outcome;
use crate::fleet::{Coherence, WritesWhenDown};
use crate::invalidate::record::Record;
use crate::invalidate::{Invalidation, Invalidator};
use crate::store::position::{Hold, Mode, Outdate};

/// A write that is about to be forwarded, as the fleet knows it. Dropped, its outcome is unknown.
pub struct Intent(Arc<Write>);

/// With what a record says the end of a write: nothing else is appended for it.
pub struct Ends {
    pub(in crate::invalidate) intent: Intent,
    pub(in crate::invalidate) outcome: Outcome,
}

impl Intent {
    /// What has to be asked before each copy of the write is sent.
    pub fn leash(&self) -> Leash {
        Leash(Arc::clone(&self.0))
    }

    /// Nothing is to be said of the write, or all of it was said and is in the journal.
    pub fn close(self) {
        self.0.close();
    }

    /// It is over as soon as a record is appended that says what it outdated, held for `hold`.
    pub fn ends(self, hold: Hold) -> Ends {
        let outcome = match hold {
            Hold::For(_) if !fault::is(Fault::IntentClosedBySilence) => Outcome::Unknown,
            _ => Outcome::Known,
        };
        Ends { intent: self, outcome }
    }

    pub(in crate::invalidate) fn write(&self) -> &Write {
        &self.0
    }
}

impl Drop for Intent {
    fn drop(&mut self) {
        // Whoever has its leash does not speak for it.
        self.0.give_up();
    }
}

/// The way to ask whether a write may leave now. Cheap to clone.
#[derive(Clone)]
pub struct Leash(Arc<Write>);

impl Leash {
    /// Has it journalled, unless that was done under the lease that goes on.
    ///
    /// # Errors
    /// [`Unheld`]: should this node die, nobody says what the write outdated.
    pub async fn may_leave(&self) -> Result<(), Unheld> {
        self.0.may_leave().await
    }
}

impl Invalidator {
    /// A write that is about to be forwarded and may go on for `patience` when nobody hears of it; `hard` and `soft` are what
    /// an unknown outcome of it outdates. `None`: this node is alone, or waits for nobody.
    pub fn intend(
        &self,
        hard: Invalidation,
        soft: Option<Invalidation>,
        patience: Duration,
    ) -> Option<Intent> {
        let fleet = self.fleet().filter(|fleet| fleet.coherence() == Coherence::Acked)?;
        let margin = if fault::is(Fault::HoldWithoutTheLease) { Duration::ZERO } else { fleet.patience() };
        let hold = patience.saturating_add(margin);
        let mut all = Invalidation { mode: Mode::Hard, hold: Hold::For(hold), ..hard };
        if let Some(Invalidation { reach, alone, .. }) = soft {
            // Of one record there is one way; removed is never too little.
            reach.items.into_iter().for_each(|item| all.reach.add(item));
            alone.items.into_iter().for_each(|item| all.alone.add(item));
        }
        let cause = self.follow(all);
        let (reach, author) = (cause.invalidation.reach.clone(), cause.invalidation.author);
        let outdate = Outdate { reach, mode: Mode::Hard, hold: Hold::For(hold), author };
        let bytes = self.written(&Record { causes: vec![cause], outdate }, self.0.own.name());
        Some(Intent(Arc::new(fleet.write(bytes, hold))))
    }

    /// Whether a write is forwarded of which the fleet cannot be told (`redis.writes_when_down`).
    pub fn forwards_unheld(&self) -> bool {
        self.fleet().is_none_or(|fleet| fleet.writes_when_down() == WritesWhenDown::Open)
    }
}
