//! All that the gate's lock is around: floors, tickets in flight, the index, and what is being swept out of it.
//!
//! Invariant: whatever happens here happens after all that happened here before, and at no earlier time. It refuses to know
//! that it is locked, and by whom.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::fault::{self, Fault, Mistake};
use crate::route::reach::Item;
use crate::route::tag::Tag;
use crate::store::author::Authors;
use crate::store::entry::Entry;
use crate::store::floor::{Floor, Floors, Oldest};
use crate::store::position::{Arrival, Hold, Known, Mode, Outdate, Outdated, Position};
use crate::store::sweep::{Condemned, Generation, Sweep, Swept};
use crate::store::tag_index::{Progress, TagIndex};
use crate::store::ticket::Serial;

/// What is known under the gate's lock.
#[derive(Debug, Default)]
pub(in crate::store) struct Ledger {
    /// Of the newest floor.
    raised: Position,
    /// Positions whose sweeps are not done.
    sweeping: Vec<u64>,
    /// How far it was when it met a gap, until all is dead that was kept then.
    beginning: Option<Position>,
    /// The latest time that anybody has brought.
    pub(in crate::store) latest: Duration,
    pub(in crate::store) floors: Floors,
    /// Tickets in flight, oldest first: floors that cannot refuse the first can refuse nobody.
    in_flight: BTreeMap<Serial, Oldest>,
    next: Serial,
    pub(in crate::store) index: TagIndex,
    /// Which index that is.
    generation: Generation,
    pub(in crate::store) authors: Authors,
    /// Softened entries in the index.
    softened: usize,
    /// What was in the index when everything was dropped.
    condemned: Vec<Condemned>,
    /// What holds here and has no place yet: see [`crate::store::promote::Aside`].
    pub(in crate::store) asides: usize,
}

impl Ledger {
    /// At the beginning of `epoch`.
    pub(in crate::store) fn new(epoch: u64) -> Self {
        Self { raised: Position { epoch, n: 0 }, ..Self::default() }
    }

    /// Up to here every invalidation is applied.
    pub(in crate::store) fn applied(&self) -> Position {
        let n = self.sweeping.iter().min().map_or(self.raised.n, |first| first - 1);
        self.beginning.unwrap_or(Position { n, ..self.raised })
    }

    /// What whoever comes now must not get anything older than.
    pub(in crate::store) fn arrival(&self) -> Arrival {
        Arrival { position: self.raised, at: self.latest, is_leased: true }
    }

    /// Counts a ticket at the position of the newest floor: what is fetched under it is newer than all that was changed by
    /// then. What is still found alive need not be, see [`Self::may_build_on`].
    pub(in crate::store) fn depart(&mut self) -> (Serial, Position) {
        self.tidy();
        let serial = self.next;
        self.next = serial.next();
        let oldest = self.next_ticket();
        self.in_flight.insert(serial, oldest);
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
        entry: &mut Arc<Entry>,
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

    /// Indexes `entry`, which another node has told, unless a floor refuses it or it is too old to be judged. Its position is its
    /// own: nothing else says what it was fetched before.
    pub(in crate::store) fn promote(&mut self, entry: &mut Arc<Entry>) -> Result<(), Outdated> {
        if self.asides > 0 {
            return Err(Outdated::Invalidated);
        }
        if !fault::is(Fault::SharedUnchecked) {
            self.floors.check_told(entry.position())?;
            self.check(entry.position(), Known { tags: entry.tags(), is_all: true }, u64::MAX)?;
        }
        self.index.insert(entry);
        Ok(())
    }

    /// Whether nobody else has to do with `kept` just now.
    pub(in crate::store) fn is_alone_now(&self, kept: &[Tag]) -> bool {
        self.is_alone((self.raised, self.latest), kept)
    }

    /// Whether nobody else has to do with `kept` since the write began that has this ticket.
    pub(in crate::store) fn is_alone(&self, (position, begun): (Position, Duration), kept: &[Tag]) -> bool {
        let known = Known { tags: kept, is_all: true };
        self.check(position, known, u64::MAX).is_ok()
            && self.floors.check_settled(begun, self.floors.settle(), kept).is_ok()
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
        let floor = self.floors.of_hold(n, outdate.hold, self.latest);
        self.sweeping.push(n);
        let oldest = self.oldest();
        for item in &outdate.reach.items {
            self.floors.raise(item, floor, oldest);
        }
        if let (Mode::Soft, Some(author)) = (outdate.mode, outdate.author) {
            self.authors.note(author, n);
        }
        if outdate.mode == Mode::Hard && outdate.reach.items.contains(&Item::All) {
            self.condemn();
            return Sweep::new(outdate, self.raised, now, Vec::new());
        }
        let condemned = self.condemned.iter().map(Condemned::generation);
        Sweep::new(outdate, self.raised, now, condemned.chain([self.generation]).collect())
    }

    /// Outdates without a place in the order, by the clock: what was fetched up to now is neither kept nor given to who comes
    /// later. Until it is applied at its place, positions know nothing of it.
    pub(in crate::store) fn raise_aside(&mut self, outdate: &Outdate, now: Duration) -> Sweep {
        let hold = match outdate.hold {
            Hold::None => Hold::For(Duration::ZERO),
            hold => hold,
        };
        let held = self.floors.of_hold(0, hold, self.latest);
        let floor = Floor { until: held.until.max(self.latest), ends: Some(self.latest), ..held };
        let oldest = self.oldest();
        for item in &outdate.reach.items {
            self.floors.raise(item, floor, oldest);
        }
        // Above all that is kept, whatever its position.
        let everything = Position { n: u64::MAX, ..self.raised };
        let condemned = self.condemned.iter().map(Condemned::generation);
        Sweep::new(outdate, everything, now, condemned.chain([self.generation]).collect())
    }

    /// Goes on at the beginning of another epoch, or behind places of this one of which nothing is known; gives all that was
    /// indexed before, and has to die. Until [`Self::has_begun`] this node is no further than it was.
    ///
    /// | before | after | what keeps the promise |
    /// |---|---|---|
    /// | a flight has its ticket | it lands | the ticket is of another epoch, and refused |
    /// | the same, and the epoch goes on | it lands | what is missing may have outdated everything: a floor of all |
    /// | a flight has its ticket at 500 | a floor of 3 is raised | who is in flight counts as from the beginning: the floor stays |
    /// | a write is held until `t` | a fetch before `t` | floors keep their times |
    /// | a sweep is under way | it goes on | it finds none of its indexes, and leaves the new places alone |
    /// | in this epoch: a flight has its ticket | it lands | nobody knows which floors are missing: that of everything is raised |
    /// | in this epoch: entries are being killed | applied is told, for a lease | it is what it was before |
    pub(in crate::store) fn begin_anew(&mut self, at: Position) -> Vec<TagIndex> {
        let is_gap = at.epoch == self.raised.epoch;
        let (before, highest) = (self.applied(), self.raised.n.max(at.n));
        self.raised = at;
        self.sweeping.clear();
        if is_gap && fault::made(Mistake::GapReadOver) {
            return Vec::new();
        }
        if is_gap {
            self.beginning = Some(before);
            let oldest = self.oldest();
            self.floors.raise(&Item::All, Floor { n: highest, ..Floor::default() }, oldest);
        } else {
            self.floors.begin_anew(at.n);
            self.in_flight.values_mut().for_each(|oldest| oldest.n = at.n);
        }
        if !is_gap && fault::made(Mistake::EpochKeepsMemory) {
            return Vec::new();
        }
        self.authors.clear();
        self.softened = 0;
        self.generation = self.generation.next();
        let condemned = self.condemned.drain(..).map(Condemned::into_index);
        condemned.chain([std::mem::take(&mut self.index)]).collect()
    }

    /// All is dead that was kept when it began anew.
    pub(in crate::store) fn has_begun(&mut self) {
        self.beginning = None;
    }

    /// Takes the whole index away.
    fn condemn(&mut self) {
        let index = std::mem::take(&mut self.index);
        self.condemned.push(Condemned::new(self.raised, self.generation, index));
        self.generation = self.generation.next();
        self.softened = 0;
    }

    /// Goes on with a sweep for one slice; gives the index that is empty now, if it condemned one.
    pub(in crate::store) fn sweep(&mut self, sweep: &mut Sweep) -> (Progress, Option<Condemned>) {
        let (progress, emptied) = match sweep.place() {
            None => self.empty(sweep),
            Some(generation) => (self.search(sweep, generation), None),
        };
        // In another epoch the places are others, and what it was for is dead.
        if progress == Progress::Done && sweep.position().epoch == self.raised.epoch {
            self.sweeping.retain(|n| *n != sweep.position().n);
            self.forget_authors();
            self.tidy();
        }
        (progress, emptied)
    }

    /// Everything is outdated when all is dead that was kept then; what was taken away before is, too.
    fn empty(&mut self, sweep: &mut Sweep) -> (Progress, Option<Condemned>) {
        let own = sweep.position().n;
        let mut older = self.condemned.iter_mut().filter(|condemned| condemned.position().n <= own);
        if older.any(|condemned| condemned.go_on() == Progress::More) {
            sweep.count_slice();
            return (Progress::More, None);
        }
        let own = self.condemned.iter().position(|condemned| condemned.position().n == own);
        let mut emptied = own.map(|own| self.condemned.swap_remove(own));
        if let Some(emptied) = &mut emptied {
            sweep.conclude(emptied.dead());
        }
        (Progress::Done, emptied)
    }

    fn search(&mut self, sweep: &mut Sweep, generation: Generation) -> Progress {
        if generation == self.generation {
            return sweep.go_on(Swept::InUse(&mut self.index, &mut self.softened));
        }
        match self.condemned.iter_mut().find(|condemned| condemned.generation() == generation) {
            Some(condemned) => sweep.go_on(Swept::Condemned(condemned.index())),
            // All that was in it is dead.
            None => sweep.leave(),
        }
    }

    /// Whether nothing of `known` was outdated above `position`, up to `until`.
    pub(in crate::store) fn check(
        &self,
        position: Position,
        known: Known<'_>,
        until: u64,
    ) -> Result<(), Outdated> {
        if position.epoch != self.raised.epoch && !fault::made(Mistake::TicketsOfTwoEpochsCompared) {
            return Err(Outdated::Invalidated);
        }
        self.floors.check(position, known, until)
    }

    /// The same for a fetch that began at `begun`, up to what whoever came as `arrival` says must not miss; and no hold had
    /// ended by then that it began within.
    pub(in crate::store) fn check_for(
        &self,
        (position, begun): (Position, Duration),
        known: Known<'_>,
        arrival: Arrival,
    ) -> Result<(), Outdated> {
        if arrival.position.epoch != position.epoch {
            return Err(Outdated::Invalidated);
        }
        self.check(position, known, arrival.position.n)?;
        self.floors.check_held(begun, arrival.at, known)
    }

    /// Whether something may be built on `entry` by who has a ticket: it is alive, and nothing that is being swept is going
    /// to reach it.
    ///
    /// | sweep at `f` | flight | what keeps the promise |
    /// |---|---|---|
    /// | floor = `f` | | |
    /// | | ticket `f`; finds an entry of `p < f` alive, and asks whether it has changed | |
    /// | the entry dies; acknowledged | | |
    /// | | a 304 by its date, though it has changed within the second | would be kept at `f`: so it is not asked |
    ///
    /// While a sweep is not done its floors are kept: they are above what is applied.
    pub(in crate::store) fn may_build_on(&self, entry: &Entry) -> bool {
        let Position { epoch, n } = entry.position();
        let position = Position { epoch, n: n.max(self.applied().n) };
        !entry.is_dead() && self.check(position, Known { tags: entry.tags(), is_all: true }, u64::MAX).is_ok()
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
