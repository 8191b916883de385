//! Where this node stands in the order of invalidations: `applied`, the floors, and the gate that orders fills against them.
//!
//! Invariant: a floor is raised before `applied` shows its position, and every indexed entry that it covers is dead before
//! the invalidation is acknowledged; so whoever reads a position from `applied` began after every invalidation up to it.
//! Nothing here knows of memory tiers, and nothing here reads a clock.
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
use std::time::Duration;

use crate::route::reach::{Item, Reach};
use crate::route::tag::Tag;
use crate::store::entry::{Entry, EntryId};
use crate::store::tag_index::TagIndex;
use crate::store::ticket::FillTicket;

/// Most tags that keep a floor of their own; beyond it the floor of every fill in flight is raised.
pub const MAX_FLOORS: usize = 65_536;

/// Most floors of items that are no single tag: each is looked at by every fill.
pub const MAX_WIDE_FLOORS: usize = 256;

/// A position in the order of invalidations: larger is later within an epoch, and what is of another epoch cannot be
/// compared at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// Which order it belongs to; on one node that of the process.
    pub epoch: u64,
    /// Its place in it, from zero.
    pub n: u64,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}-{}", self.epoch, self.n)
    }
}

/// Removes, or makes stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// No body fetched before is ever served again.
    #[default]
    Hard,
    /// A body fetched before may be served as stale, but to who asked for this.
    Soft,
}

/// For how long what is outdated is not stored again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Hold {
    /// Not at all: what is fetched from now on is new.
    #[default]
    None,
    /// For each route's `settle`: a backend may commit after it has answered a write.
    Settle,
    /// For so long: nobody knows when the write is done.
    For(Duration),
}

/// One invalidation as the gate applies it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outdate {
    /// What is outdated.
    pub reach: Reach,
    /// How.
    pub mode: Mode,
    /// For how long.
    pub hold: Hold,
}

/// What an answer depends on, as far as that is known.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The tags that are known.
    pub tags: &'a [Tag],
    /// Whether there may be more that are not known yet; those count as matching.
    pub is_all: bool,
}

/// The lock under which fills and invalidations meet.
#[derive(Debug, Default)]
pub struct Gate {
    ledger: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    applied: Position,
    floors: HashMap<Tag, Floor, ahash::RandomState>,
    /// Floors of items that are more than one tag.
    wide: Vec<(Item, Floor)>,
    /// Floor of everything whose own floor was given up.
    floor_of_all: Floor,
    /// Last position at which something was outdated that an answer may turn out to depend on.
    named: u64,
    /// Tickets in flight, counted by position: floors at or below the oldest can refuse nobody.
    in_flight: BTreeMap<u64, usize>,
    index: TagIndex,
}

/// Until when fetches are too old to be kept.
#[derive(Clone, Copy, Debug, Default)]
struct Floor {
    /// Those with a ticket below it.
    n: u64,
    /// Those begun before (monotonic) this and the route's `settle`.
    written: Option<Duration>,
    /// Those begun before (monotonic).
    until: Duration,
}

/// Why a fill may not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outdated {
    /// Something that the answer depends on was invalidated after its fetch had begun.
    Invalidated,
    /// A write to something that the answer depends on had not settled when its fetch began.
    Settling,
}

impl Outdated {
    /// The reason as metrics and `Cache-Status` name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalidated => "invalidated",
            Self::Settling => "settling",
        }
    }
}

impl Gate {
    /// A gate at the beginning of `epoch`.
    pub fn new(epoch: u64) -> Self {
        let applied = Position { epoch, n: 0 };
        Self { ledger: Mutex::new(Ledger { applied, ..Ledger::default() }) }
    }

    /// How far this node is.
    pub fn applied(&self) -> Position {
        self.lock().applied
    }

    /// Takes a ticket at the present position; to be called before the origin is touched. `now` is monotonic.
    pub fn ticket(self: &Arc<Self>, now: Duration) -> FillTicket {
        let position = self.lock().depart();
        FillTicket::new(position, now, Arc::clone(self))
    }

    /// Indexes `entry` unless one of its tags was invalidated since its ticket was taken, or less than `settle` before.
    ///
    /// # Errors
    /// [`Outdated`]: the entry must not become visible to anyone.
    pub fn admit(&self, entry: &Arc<Entry>, begun: Duration, settle: Duration) -> Result<(), Outdated> {
        let mut ledger = self.lock();
        ledger.check(entry.position(), Known { tags: entry.tags(), is_all: true })?;
        ledger.check_settled(begun, settle, entry.tags())?;
        ledger.index.insert(entry);
        Ok(())
    }

    /// Whether nothing that an answer depends on was invalidated since `position`.
    ///
    /// # Errors
    /// [`Outdated`] if something was, or may have been.
    pub fn check(&self, position: Position, known: Known<'_>) -> Result<(), Outdated> {
        self.lock().check(position, known)
    }

    /// Applies an invalidation at the next position: raises floors, and kills or softens what it reaches. `now` is
    /// monotonic. Gives the position and what was reached.
    pub fn outdate(&self, outdate: &Outdate, now: Duration) -> (Position, Vec<Arc<Entry>>) {
        self.lock().outdate(outdate, now)
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
        outdate: &Outdate,
        now: Duration,
        began: &FillTicket,
        kept: &[Tag],
    ) -> (Position, Vec<Arc<Entry>>, Option<FillTicket>) {
        let mut ledger = self.lock();
        let alone = ledger.check(began.position(), Known { tags: kept, is_all: true }).is_ok();
        let (position, reached) = ledger.outdate(outdate, now);
        // What the write itself says needs no settling.
        let renewed = alone.then(|| FillTicket::new(ledger.depart(), Duration::MAX, Arc::clone(self)));
        (position, reached, renewed)
    }

    /// The entries that `reach` reaches now.
    pub fn find(&self, reach: &Reach) -> Vec<Arc<Entry>> {
        let ledger = self.lock();
        let mut found = Vec::new();
        for item in &reach.items {
            ledger.index.find(item, &mut found);
        }
        found.sort_unstable_by_key(|entry| entry.id());
        found.dedup_by_key(|entry| entry.id());
        found
    }

    /// The live entry of this name.
    pub fn entry(&self, id: EntryId) -> Option<Arc<Entry>> {
        self.lock().index.entry(id)
    }

    /// How many live entries carry `tag`.
    pub fn count(&self, tag: &Tag) -> usize {
        self.lock().index.count(tag)
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

    /// Floors that are kept now.
    pub fn floors(&self) -> usize {
        let ledger = self.lock();
        ledger.floors.len() + ledger.wide.len()
    }

    /// Takes a ticket out of flight.
    pub(in crate::store) fn release(&self, position: Position) {
        let mut ledger = self.lock();
        if let Some(count) = ledger.in_flight.get_mut(&position.n) {
            *count -= 1;
            if *count == 0 {
                ledger.in_flight.remove(&position.n);
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
        *self.in_flight.entry(self.applied.n).or_default() += 1;
        self.applied
    }

    fn outdate(&mut self, outdate: &Outdate, now: Duration) -> (Position, Vec<Arc<Entry>>) {
        let position = Position { n: self.applied.n + 1, ..self.applied };
        let floor = Floor {
            n: position.n,
            written: (outdate.hold == Hold::Settle).then_some(now),
            until: if let Hold::For(hold) = outdate.hold { now + hold } else { Duration::ZERO },
        };
        let mut reached = Vec::new();
        for item in &outdate.reach.items {
            self.raise(item, floor);
            self.index.find(item, &mut reached);
        }
        reached.sort_unstable_by_key(|entry| entry.id());
        reached.dedup_by_key(|entry| entry.id());
        for entry in &reached {
            match outdate.mode {
                Mode::Hard => {
                    entry.kill();
                    self.index.remove(entry.id());
                }
                Mode::Soft => entry.soften(now),
            }
        }
        self.applied = position;
        (position, reached)
    }

    fn check(&self, position: Position, known: Known<'_>) -> Result<(), Outdated> {
        let below = |floor: &Floor| floor.n > position.n;
        let outdated = position.epoch != self.applied.epoch
            || below(&self.floor_of_all)
            || (!known.is_all && self.named > position.n)
            || self.floors_of(known.tags).any(|floor| below(&floor));
        if outdated { Err(Outdated::Invalidated) } else { Ok(()) }
    }

    fn check_settled(&self, begun: Duration, settle: Duration, tags: &[Tag]) -> Result<(), Outdated> {
        let unsettled = |floor: Floor| {
            begun < floor.until || floor.written.is_some_and(|written| begun < written + settle)
        };
        let all = std::iter::once(self.floor_of_all);
        if all.chain(self.floors_of(tags)).any(unsettled) { Err(Outdated::Settling) } else { Ok(()) }
    }

    fn floors_of(&self, tags: &[Tag]) -> impl Iterator<Item = Floor> {
        let own = tags.iter().filter_map(|tag| self.floors.get(tag)).copied();
        let wide = self.wide.iter().filter(|(item, _)| tags.iter().any(|tag| item.covers(tag)));
        own.chain(wide.map(|(_, floor)| *floor))
    }

    fn raise(&mut self, item: &Item, floor: Floor) {
        if item.may_cover_unknown() {
            self.named = floor.n;
        }
        match item {
            Item::All => self.floor_of_all.raise(floor),
            Item::Tag(tag) => {
                if self.floors.len() >= MAX_FLOORS && !self.floors.contains_key(tag) {
                    self.give_up();
                }
                self.floors.entry(tag.clone()).or_default().raise(floor);
            }
            wide => {
                if let Some((_, known)) = self.wide.iter_mut().find(|(known, _)| known == wide) {
                    return known.raise(floor);
                }
                if self.wide.len() >= MAX_WIDE_FLOORS {
                    self.give_up();
                }
                self.wide.push((wide.clone(), floor));
            }
        }
    }

    /// One floor for all: refuses too much, and never too little.
    fn give_up(&mut self) {
        let all =
            self.floors.drain().map(|(_, floor)| floor).chain(self.wide.drain(..).map(|(_, floor)| floor));
        all.for_each(|floor| self.floor_of_all.raise(floor));
    }
}

impl Floor {
    fn raise(&mut self, other: Self) {
        self.n = self.n.max(other.n);
        self.written = self.written.max(other.written);
        self.until = self.until.max(other.until);
    }
}
