//! All that the gate's lock is around: floors, tickets in flight, the index, and what is being swept out of it.
//!
//! Invariant: whatever happens here happens after all that happened here before, and at no earlier time. It refuses to know
//! that it is locked, and by whom.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::fault::{self, Fault};
use crate::route::reach::Item;
use crate::store::author::Authors;
use crate::store::entry::Entry;
use crate::store::floor::{Floor, Floors, Oldest};
use crate::store::position::{Hold, Known, Mode, Outdate, Outdated, Position};
use crate::store::sweep::{Condemned, Sweep};
use crate::store::tag_index::{Progress, TagIndex};
use crate::store::ticket::Serial;

/// What is known under the gate's lock.
#[derive(Debug, Default)]
pub(in crate::store) struct Ledger {
    /// Of the newest floor.
    raised: Position,
    /// Positions whose sweeps are not done.
    sweeping: Vec<u64>,
    /// The latest time that anybody has brought.
    pub(in crate::store) latest: Duration,
    pub(in crate::store) floors: Floors,
    /// Tickets in flight, oldest first: floors that cannot refuse the first can refuse nobody.
    in_flight: BTreeMap<Serial, Oldest>,
    next: Serial,
    pub(in crate::store) index: TagIndex,
    pub(in crate::store) authors: Authors,
    /// Softened entries in the index.
    softened: usize,
    /// What was in the index when everything was dropped.
    condemned: Vec<Condemned>,
}

impl Ledger {
    /// At the beginning of `epoch`.
    pub(in crate::store) fn new(epoch: u64) -> Self {
        Self { raised: Position { epoch, n: 0 }, ..Self::default() }
    }

    /// Up to here every invalidation is applied.
    pub(in crate::store) fn applied(&self) -> Position {
        let n = self.sweeping.iter().min().map_or(self.raised.n, |first| first - 1);
        Position { n, ..self.raised }
    }

    /// Counts a ticket at the position that is applied. While something is swept that is below its floor: what is still
    /// found alive may be outdated all the same, and nothing may be built on it and kept.
    pub(in crate::store) fn depart(&mut self) -> (Serial, Position) {
        self.tidy();
        let serial = self.next;
        self.next = serial.next();
        let oldest = self.next_ticket();
        self.in_flight.insert(serial, oldest);
        (serial, self.applied())
    }

    /// The same for what is built on nothing: at the position of the newest floor.
    pub(in crate::store) fn depart_anew(&mut self) -> (Serial, Position) {
        let (serial, _) = self.depart();
        (serial, self.raised)
    }

    /// Takes a ticket out of flight.
    pub(in crate::store) fn land(&mut self, serial: Serial) {
        self.in_flight.remove(&serial);
        self.tidy();
    }

    /// Indexes `entry`, unless a floor refuses it.
    pub(in crate::store) fn admit(
        &mut self,
        entry: &Arc<Entry>,
        begun: Duration,
        settle: Duration,
    ) -> Result<(), Outdated> {
        if !fault::is(Fault::GateSkipped) {
            self.check(entry.position(), Known { tags: entry.tags(), is_all: true }, u64::MAX)?;
            self.floors.check_settled(begun, settle, entry.tags())?;
        }
        self.index.insert(entry);
        Ok(())
    }

    /// Ends the life of an entry, and takes it out of the index.
    pub(in crate::store) fn forget(&mut self, entry: &Entry) {
        let was_soft = entry.softened().is_some();
        entry.kill();
        if self.index.remove(entry) {
            self.softened -= usize::from(was_soft);
            self.forget_authors();
        }
    }

    /// Raises the floors of an invalidation at the next position; what is kept is for the sweep.
    pub(in crate::store) fn raise(&mut self, outdate: &Outdate, now: Duration) -> Sweep {
        self.raised.n += 1;
        let n = self.raised.n;
        let floor = Floor {
            n,
            written: (outdate.hold == Hold::Settle && !fault::is(Fault::SettleIgnored))
                .then_some(self.latest),
            until: if let Hold::For(hold) = outdate.hold
                && !fault::is(Fault::UnknownOutcomeNotHeld)
            {
                self.latest.saturating_add(hold)
            } else {
                Duration::ZERO
            },
        };
        self.sweeping.push(n);
        let oldest = self.oldest();
        for item in &outdate.reach.items {
            self.floors.raise(item, floor, oldest);
        }
        if let (Mode::Soft, Some(author)) = (outdate.mode, outdate.author) {
            self.authors.note(author, n);
        }
        if outdate.mode == Mode::Hard && outdate.reach.items.contains(&Item::All) {
            self.condemned.push(Condemned::new(self.raised, std::mem::take(&mut self.index)));
            self.softened = 0;
        }
        Sweep::new(outdate, self.raised, now)
    }

    /// Goes on with a sweep for one slice; gives the index that is empty now, if it condemned one.
    pub(in crate::store) fn sweep(&mut self, sweep: &mut Sweep) -> (Progress, Option<Condemned>) {
        if self.condemned.iter_mut().any(|condemned| condemned.go_on() == Progress::More) {
            return (Progress::More, None);
        }
        let own = self.condemned.iter().position(|condemned| condemned.position() == sweep.position());
        let mut emptied = own.map(|own| self.condemned.swap_remove(own));
        if let Some(emptied) = &mut emptied {
            sweep.conclude(emptied.dead());
        }
        let progress = sweep.go_on(&mut self.index, &mut self.softened);
        if progress == Progress::Done {
            self.sweeping.retain(|n| *n != sweep.position().n);
            self.forget_authors();
            self.tidy();
        }
        (progress, emptied)
    }

    /// Whether nothing of `known` was outdated above `position`, up to `until`.
    pub(in crate::store) fn check(
        &self,
        position: Position,
        known: Known<'_>,
        until: u64,
    ) -> Result<(), Outdated> {
        if position.epoch != self.raised.epoch {
            return Err(Outdated::Invalidated);
        }
        self.floors.check(position, known, until)
    }

    fn oldest(&self) -> Oldest {
        let oldest = self.in_flight.first_key_value().filter(|_| !fault::is(Fault::FloorsDroppedEarly));
        oldest.map_or_else(|| self.next_ticket(), |(_, oldest)| *oldest)
    }

    fn next_ticket(&self) -> Oldest {
        Oldest { n: self.applied().n, begun: self.latest }
    }

    /// Forgets every floor that can refuse nobody any more.
    pub(in crate::store) fn drop_idle(&mut self) {
        let oldest = self.oldest();
        self.floors.drop_idle(oldest);
        self.floors.tidy(oldest);
    }

    fn tidy(&mut self) {
        self.floors.tidy(self.oldest());
    }

    /// Without anything softened there is nothing that anybody may not be served.
    fn forget_authors(&mut self) {
        if self.softened == 0 && self.sweeping.is_empty() {
            self.authors.clear();
        }
    }
}
