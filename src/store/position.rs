//! Where this node stands in the order of invalidations: `applied`, the floors, and the gate that orders fills against them.
//!
//! Invariant: a floor is raised, and every indexed entry it covers is dead, before `applied` shows its position; so
//! whoever reads a position from `applied` began after every invalidation up to it. Nothing here knows of memory tiers.
//!
//! | fill | invalidation of the same tag | what keeps the promise |
//! |---|---|---|
//! | takes ticket `p` | | |
//! | | floor = `p + 1`, indexed entries die, `applied = p + 1` | the gate is held throughout |
//! | asks to be indexed | | floor > ticket: refused |
//! | indexed under the gate | | |
//! | | floor = `p + 1` | the entry is found in the index and dies, wherever it lies |

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::route::tag::Tag;
use crate::store::entry::Entry;
use crate::store::tag_index::TagIndex;
use crate::store::ticket::FillTicket;

/// Most tags that keep a floor of their own; beyond it the floor of every fill in flight is raised.
pub const MAX_FLOORS: usize = 65_536;

/// A position in the order of invalidations; larger is later. Counts from zero at the start of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(u64);

impl Position {
    fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The lock under which fills and invalidations meet.
#[derive(Debug, Default)]
pub struct Gate {
    ledger: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    applied: Position,
    floors: HashMap<Tag, Position, ahash::RandomState>,
    /// Floor of every tag whose own floor was given up.
    floor_of_all: Position,
    /// Tickets in flight, counted by position: floors at or below the oldest can refuse nobody.
    in_flight: BTreeMap<Position, usize>,
    index: TagIndex,
}

/// Why a fill may not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outdated {
    /// Something that the answer depends on was invalidated after its fetch had begun.
    Invalidated,
}

impl Outdated {
    /// The reason as metrics and `Cache-Status` name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalidated => "invalidated",
        }
    }
}

impl Gate {
    /// Takes a ticket at the present position; to be called before the origin is touched.
    pub fn ticket(self: &Arc<Self>) -> FillTicket {
        let position = self.lock().depart();
        FillTicket::new(position, Arc::clone(self))
    }

    /// Indexes `entry` unless one of its tags was invalidated since its ticket was taken.
    ///
    /// # Errors
    /// [`Outdated`]: the entry must not become visible to anyone.
    pub fn admit(&self, entry: &Arc<Entry>) -> Result<(), Outdated> {
        let mut ledger = self.lock();
        ledger.check(entry.position(), entry.tags())?;
        ledger.index.insert(entry);
        Ok(())
    }

    /// Whether nothing that carries one of `tags` was invalidated since `position`.
    ///
    /// # Errors
    /// [`Outdated`] if something was.
    pub fn check(&self, position: Position, tags: &[Tag]) -> Result<(), Outdated> {
        self.lock().check(position, tags)
    }

    /// Applies a hard invalidation of `tags`: raises their floors, kills what carries them, and returns the dead.
    pub fn outdate(&self, tags: &[Tag]) -> Vec<Arc<Entry>> {
        self.lock().outdate(tags)
    }

    /// Applies the invalidation of a write that began with `began`, and gives the ticket for what the write itself was
    /// answered with: `None` if one of `kept` was invalidated by anybody else since. Both under one lock:
    ///
    /// | this write | another one | what keeps the promise |
    /// |---|---|---|
    /// | takes `began`, is done by the origin | | |
    /// | | is done, and answered: floor above `began` | no ticket: what came is older than that |
    /// | is answered: own floor, new ticket | | nothing fits in between |
    /// | | is answered: floor above the new ticket | the fill is refused, or the entry dies |
    pub fn outdate_by(
        self: &Arc<Self>,
        tags: &[Tag],
        began: &FillTicket,
        kept: &[Tag],
    ) -> (Vec<Arc<Entry>>, Option<FillTicket>) {
        let mut ledger = self.lock();
        let alone = ledger.check(began.position(), kept).is_ok();
        let dead = ledger.outdate(tags);
        let renewed = alone.then(|| FillTicket::new(ledger.depart(), Arc::clone(self)));
        (dead, renewed)
    }

    /// Forgets an entry that memory has let go.
    pub fn forget(&self, entry: &Entry) {
        self.lock().index.remove(entry.id());
    }

    /// Entries in the index, and what they weigh in bytes.
    pub fn size(&self) -> (u64, u64) {
        let ledger = self.lock();
        (ledger.index.len().0 as u64, ledger.index.weight())
    }

    /// Tags that have a floor of their own now.
    pub fn floors(&self) -> usize {
        self.lock().floors.len()
    }

    /// Takes a ticket out of flight.
    pub(in crate::store) fn release(&self, position: Position) {
        let mut ledger = self.lock();
        if let Some(count) = ledger.in_flight.get_mut(&position) {
            *count -= 1;
            if *count == 0 {
                ledger.in_flight.remove(&position);
                ledger.drop_idle_floors();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// Counts a ticket at the present position.
    fn depart(&mut self) -> Position {
        *self.in_flight.entry(self.applied).or_default() += 1;
        self.applied
    }

    fn outdate(&mut self, tags: &[Tag]) -> Vec<Arc<Entry>> {
        let position = self.applied.next();
        let mut dead = Vec::new();
        for tag in tags {
            self.raise(tag, position);
            self.index.take(tag, &mut dead);
        }
        for entry in &dead {
            entry.kill();
        }
        self.applied = position;
        dead
    }

    fn check(&self, position: Position, tags: &[Tag]) -> Result<(), Outdated> {
        let outdated = self.floor_of_all > position
            || tags.iter().any(|tag| self.floors.get(tag).is_some_and(|floor| *floor > position));
        if outdated { Err(Outdated::Invalidated) } else { Ok(()) }
    }

    /// A floor refuses fills in flight only, so without any there is nothing to write down.
    fn raise(&mut self, tag: &Tag, position: Position) {
        if self.in_flight.is_empty() {
            return;
        }
        if self.floors.len() >= MAX_FLOORS && !self.floors.contains_key(tag) {
            self.floors.clear();
            self.floor_of_all = position;
        }
        self.floors.insert(tag.clone(), position);
    }

    fn drop_idle_floors(&mut self) {
        match self.in_flight.first_key_value() {
            None => self.floors = HashMap::default(),
            Some((oldest, _)) if self.floors.len() >= MAX_FLOORS / 2 => {
                let oldest = *oldest;
                self.floors.retain(|_, floor| *floor > oldest);
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(names: &[&str]) -> Vec<Tag> {
        names.iter().map(|name| Tag::named(name)).collect()
    }

    #[test]
    fn an_invalidation_after_the_ticket_refuses_only_what_carries_its_tag() {
        let gate = Arc::new(Gate::default());
        let before = gate.ticket();
        gate.outdate(&tags(&["a"]));
        let after = gate.ticket();
        assert_eq!(gate.check(before.position(), &tags(&["a", "b"])), Err(Outdated::Invalidated));
        assert_eq!(gate.check(before.position(), &tags(&["b"])), Ok(()));
        assert_eq!(gate.check(after.position(), &tags(&["a"])), Ok(()));
    }

    #[test]
    fn a_write_renews_its_ticket_unless_another_one_came_between() {
        let gate = Arc::new(Gate::default());
        let (own, other) = (tags(&["a"]), tags(&["b"]));
        let (first, second, reader) = (gate.ticket(), gate.ticket(), gate.ticket());
        gate.outdate(&other);
        let (_, renewed) = gate.outdate_by(&own, &first, &own);
        let renewed = renewed.expect("nobody else touched it");
        assert_eq!(gate.check(renewed.position(), &own), Ok(()), "its own invalidation does not refuse it");
        assert_eq!(gate.check(reader.position(), &own), Err(Outdated::Invalidated), "and refuses all others");
        let (_, too_late) = gate.outdate_by(&own, &second, &own);
        assert!(too_late.is_none(), "the first one was answered meanwhile");
        assert_eq!(gate.check(renewed.position(), &own), Err(Outdated::Invalidated));
        drop((first, second, reader, renewed));
        assert_eq!(gate.floors(), 0);
    }

    #[test]
    fn floors_vanish_with_the_last_fill_that_they_could_refuse() {
        let gate = Arc::new(Gate::default());
        gate.outdate(&tags(&["idle"]));
        assert_eq!(gate.floors(), 0, "nobody is in flight");
        let first = gate.ticket();
        gate.outdate(&tags(&["a"]));
        let second = gate.ticket();
        drop(first);
        assert_eq!(gate.floors(), 1);
        drop(second);
        assert_eq!(gate.floors(), 0);
    }

    #[test]
    fn too_many_floors_refuse_every_fill_that_was_in_flight() {
        let gate = Arc::new(Gate::default());
        let old = gate.ticket();
        for n in 0..=MAX_FLOORS {
            gate.outdate(&tags(&[&format!("t{n}")]));
        }
        assert!(gate.floors() <= MAX_FLOORS);
        assert_eq!(gate.check(old.position(), &tags(&["t0"])), Err(Outdated::Invalidated));
        assert_eq!(gate.check(gate.ticket().position(), &tags(&["t0"])), Ok(()));
    }
}
