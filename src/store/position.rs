//! Where this node stands in the order of invalidations, and the gate that orders fills against them.
//!
//! Invariant: a floor is raised, and then every indexed entry that it covers is dead, or softened, before the invalidation
//! is acknowledged. Floors are raised in the order of positions, sweeps go side by side: `applied` is where the first one is
//! not done. A ticket is of the position that is raised: whoever has it began after all that was changed for it, and builds
//! on nothing that a sweep is still to reach. What leaves the index is dead: nothing could outdate it any more.
//! Nothing here knows of memory tiers, and nothing here reads a clock.
//!
//! | fill | invalidation of the same tag | what keeps the promise |
//! |---|---|---|
//! | takes ticket `p` | | |
//! | | floor = `p + 1` | under the gate |
//! | asks to be indexed | | floor > ticket: refused |
//! | | looks for what is indexed | there is nothing |
//! | indexed under the gate | | |
//! | | floor = `p + 1` | the entry is found in the index and dies, wherever it lies |
//!
//! A pattern is a floor like any (`project:*` against a fill that turns out to carry `project:42`): every fill looks at
//! every one of them. What settles, or has no known outcome, is a floor that also says until when:
//!
//! | write | fill | what keeps the promise |
//! |---|---|---|
//! | is answered: floor, written `w` | | |
//! | | takes a ticket at `w + 50ms`, asks the origin | its position is above the floor |
//! | commits at `w + 80ms` | answered from before that; asks to be indexed | begun before `w + settle`: refused |
//! | | takes a ticket at `w + settle`, is indexed | |
//!
//! A revalidation is a fill: its 304 makes an entry under the ticket that it took before it asked. What it is about was
//! found sound under that ticket ([`Gate::may_build_on`]), so if it was outdated later the floor is above the ticket.
//!
//! An invalidation may be acknowledged while one before it is still swept. What looks at which position:
//!
//! | who | looks at | because |
//! |---|---|---|
//! | a hit | the entry's own state | it is dead when the invalidation that reaches it is acknowledged, whatever else is swept |
//! | a fill, the join rule | its ticket, and floors | what is fetched after a floor was raised is new, whether or not the old is found yet |
//! | delivery to who waits | his [`Arrival`]: what was raised when he came | all that was acknowledged by then was raised before |
//! | what is built on an entry | floors above what is applied | below it the entry itself would say so |
//! | which floors are kept | what was applied when the oldest ticket was taken | the same, for whatever that flight comes to build on |
//! | what another node tells | its own position, floors, the horizon | it was fetched then, whenever it is asked for ([`crate::store::promote`]) |
//! | an author and what he softened | the position of his floor, from when it was raised | that refuses too early, never too late |
//! | audit, answers, status | a record's own position; how far all is done | nobody infers one from the other |

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::route::reach::Reach;
use crate::route::tag::Tag;
use crate::store::author::Author;
use crate::store::entry::Entry;
pub use crate::store::floor::{MAX_FLOORS, MAX_WIDE_FLOORS};
use crate::store::ledger::Ledger;
use crate::store::search::Search;
use crate::store::sweep::{Condemned, SLICE, Sweep};
use crate::store::tag_index::{Progress, Then};
use crate::store::ticket::{FillTicket, Serial};

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// No body fetched before is ever served again.
    #[default]
    Hard,
    /// A body fetched before may be served as stale, but to who asked for this.
    Soft,
}

impl Mode {
    /// The mode as metrics and answers name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
        }
    }
}

/// For how long what is outdated is not stored again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// Who wrote; what is softened he is never served himself.
    pub author: Option<Author>,
}

/// What an answer depends on, as far as that is known.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The tags that are known.
    pub tags: &'a [Tag],
    /// Whether there may be more that are not known yet; those count as matching.
    pub is_all: bool,
}

/// Most seats of the dead that are vacated before the gate is let go: each costs a dozen misses of the processor's caches.
const VACATED: usize = 64;

/// When somebody came, as far as invalidations are concerned: what he is given is no older than any that was acknowledged
/// by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The newest that was raised. What is acknowledged was raised, though not all before it need be applied.
    pub position: Position,
    /// When (monotonic).
    pub at: Duration,
    /// Whether this node had heard by then of all that was acknowledged; else nothing is known of what was fetched before.
    pub is_leased: bool,
}

/// The lock under which fills and invalidations meet.
#[derive(Debug, Default)]
pub struct Gate {
    /// Whoever waits for the ledger holds it: so a sweep that lets the ledger go between two slices comes behind him.
    turn: Mutex<()>,
    ledger: Mutex<Ledger>,
    /// Indexes that are empty by now: to let one go takes longer than an acknowledgement should.
    emptied: Mutex<Vec<Condemned>>,
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
        Self { ledger: Mutex::new(Ledger::new(epoch)), ..Self::default() }
    }

    /// The longest `settle` of a route: what settles is remembered for so long.
    pub fn settle_within(&self, longest: Duration) {
        self.lock().floors.settle_within(longest);
    }

    /// Another epoch begins at `at`, or this one goes on there, behind places of which nothing is known: all that is kept dies,
    /// and the tickets from before are refused. Holds this thread until that is done. Gives what died.
    pub fn begin_anew(&self, at: Position) -> Vec<Arc<Entry>> {
        let mut dead = Vec::new();
        let doomed = self.lock().begin_anew(at);
        for mut index in doomed {
            while let Some(entry) = index.pop() {
                entry.kill();
                dead.push(entry);
            }
        }
        self.lock().has_begun();
        dead
    }

    /// How far this node is: up to here every invalidation is applied.
    pub fn applied(&self) -> Position {
        self.lock().applied()
    }

    /// Notes that somebody comes at `now` (monotonic); to be called before anything is looked up for him.
    pub fn arrival(&self, now: Duration) -> Arrival {
        self.lock_at(now).arrival()
    }

    /// Takes a ticket at the position that is raised; to be called before the origin is touched. `now` is monotonic.
    pub fn ticket(self: &Arc<Self>, now: Duration) -> FillTicket {
        let mut ledger = self.lock_at(now);
        let (serial, position) = ledger.depart();
        FillTicket::new(serial, position, ledger.latest, Arc::clone(self))
    }

    /// Indexes `entry` unless one of its tags was invalidated since its ticket was taken, or less than `settle` before
    /// its fetch had begun (monotonic). If nobody else has it yet, it shares the text of its tags from then on.
    ///
    /// # Errors
    /// [`Outdated`]: the entry must not become visible to anyone.
    pub fn admit(&self, entry: &mut Arc<Entry>, begun: Duration, settle: Duration) -> Result<(), Outdated> {
        self.lock().admit(entry, begun, settle)
    }

    /// Whether nothing that an answer depends on was invalidated since the position at which its fetch began, nor did the
    /// hold of a write end since the time (monotonic) at which it did.
    ///
    /// # Errors
    /// [`Outdated`] if something was, or may have been.
    pub fn check(&self, began: (Position, Duration), known: Known<'_>) -> Result<(), Outdated> {
        let ledger = self.lock();
        ledger.check_for(began, known, ledger.arrival())
    }

    /// The same up to when somebody came.
    ///
    /// # Errors
    /// [`Outdated`] if something was, or may have been.
    pub fn check_for(
        &self,
        began: (Position, Duration),
        known: Known<'_>,
        arrival: Arrival,
    ) -> Result<(), Outdated> {
        self.lock().check_for(began, known, arrival)
    }

    /// Whether something may be built on `entry` by who has a ticket; to be asked when he has it.
    pub fn may_build_on(&self, entry: &Entry) -> bool {
        self.lock().may_build_on(entry)
    }

    /// Applies an invalidation at the next position, and holds this thread until that is done: raises floors, and kills or
    /// softens what it reaches. `now` is monotonic. Gives the position and what was reached.
    pub fn outdate(&self, outdate: &Outdate, now: Duration) -> (Position, Vec<Arc<Entry>>) {
        let mut sweep = self.raise(outdate, now);
        while self.sweep(&mut sweep) == Progress::More {}
        (sweep.position(), sweep.into_reached())
    }

    /// The first half of an invalidation: from here on nothing older is stored. It is applied when its sweep is done.
    pub fn raise(&self, outdate: &Outdate, now: Duration) -> Sweep {
        self.lock_at(now).raise(outdate, now)
    }

    /// The same outside the order: see [`Ledger::raise_aside`].
    pub fn raise_aside(&self, outdate: &Outdate, now: Duration) -> Sweep {
        self.lock_at(now).raise_aside(outdate, now)
    }

    /// The second half, a slice at a time: between two of them others pass the gate.
    pub fn sweep(&self, sweep: &mut Sweep) -> Progress {
        sweep.make_room();
        let (progress, emptied) = self.lock().sweep(sweep);
        if let Some(large) = emptied.filter(Condemned::is_large) {
            self.emptied().push(large);
        }
        progress
    }

    /// The first half of the invalidation of a write that began with a ticket of `began`, and the ticket for what the write itself was
    /// answered with: `None` if one of `kept` was invalidated by anybody else since, or is held for another write, which may
    /// be done after this one. All under one lock:
    ///
    /// | this write | another one | what keeps the promise |
    /// |---|---|---|
    /// | takes `began`, is done by the origin | | |
    /// | | is done, and answered: floor above `began` | no ticket: what came is older than that |
    /// | is answered: own floor, new ticket | | nothing fits in between |
    /// | | is answered: floor above the new ticket | the fill is refused, or the entry dies |
    ///
    /// | this write | another one | what keeps the promise |
    /// |---|---|---|
    /// | | is not answered: floor, held until `e` | |
    /// | takes `began` before `e`, is answered | | no ticket: the other one may be done only now |
    pub fn raise_by(
        self: &Arc<Self>,
        outdate: &Outdate,
        now: Duration,
        began: (Position, Duration),
        kept: &[Tag],
    ) -> (Sweep, Option<FillTicket>) {
        let mut ledger = self.lock_at(now);
        let alone = ledger.is_alone(began, kept);
        let sweep = ledger.raise(outdate, now);
        let renewed = alone.then(|| {
            let (serial, position) = ledger.depart();
            // What the write itself says needs no settling.
            FillTicket::new(serial, position, Duration::MAX, Arc::clone(self))
        });
        (sweep, renewed)
    }

    /// The entries that `reach` reaches now.
    pub fn find(&self, reach: &Reach) -> Vec<Arc<Entry>> {
        let mut found = Vec::new();
        for item in &reach.items {
            let mut search = Search::new(item.clone());
            let mut keep = |entry: &Arc<Entry>| {
                found.push(Arc::clone(entry));
                Then::Stay
            };
            while self.lock().index.go_on(&mut search, SLICE, &mut keep) == Progress::More {}
        }
        found.sort_unstable_by_key(|entry| entry.id());
        found.dedup_by_key(|entry| entry.id());
        found
    }

    /// How many live entries carry `tag`.
    pub fn count(&self, tag: &Tag) -> usize {
        // The dead are still among its carriers until then.
        while self.lock().index.vacate(VACATED) == Progress::More {}
        self.lock().index.count(tag)
    }

    /// Ends the life of an entry that memory lets go: out of the index nothing could outdate it any more, and it must
    /// not stand in for an origin that fails, nor be confirmed by a 304.
    pub fn forget(&self, entry: &Entry) {
        self.lock().forget(entry);
    }

    /// Whether `author` softly outdated anything since `position`, or may have.
    pub fn softened_since(&self, position: Position, author: impl FnOnce() -> Author) -> bool {
        self.lock().authors.softened_above(position.n, author)
    }

    /// Entries in the index, and what they weigh in bytes; `now` is monotonic. What can refuse nobody any more is
    /// forgotten on the way.
    pub fn size(&self, now: Duration) -> (u64, u64) {
        self.tidy();
        let mut ledger = self.lock_at(now);
        ledger.drop_idle();
        (ledger.index.len().0 as u64, ledger.index.weight())
    }

    /// Lets go a slice of what the dead have left behind in the index.
    pub fn tidy(&self) -> Progress {
        let emptied = std::mem::take(&mut *self.emptied());
        drop(emptied);
        let index = &mut self.lock().index;
        match index.vacate(VACATED) {
            Progress::Done => index.forget_names(SLICE),
            Progress::More => Progress::More,
        }
    }

    /// Authors of soft invalidations that are told apart now.
    pub fn authors(&self) -> usize {
        self.lock().authors.len()
    }

    /// Floors that are kept now.
    pub fn floors(&self) -> usize {
        self.lock().floors.len()
    }

    /// Takes a ticket out of flight.
    pub(in crate::store) fn release(&self, serial: Serial) {
        self.lock().land(serial);
    }

    fn emptied(&self) -> MutexGuard<'_, Vec<Condemned>> {
        self.emptied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::store) fn lock(&self) -> MutexGuard<'_, Ledger> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time does not fall: what happens under the lock happens after all that happened under it before.
    pub(in crate::store) fn lock_at(&self, now: Duration) -> MutexGuard<'_, Ledger> {
        let mut ledger = self.lock();
        ledger.latest = ledger.latest.max(now);
        ledger
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::reach::Item;
    use crate::store::entry::tests::{entry, like};
    use crate::store::floor::LONGEST_SETTLE;
    use bytes::Bytes;

    const NOW: Duration = Duration::from_secs(100);
    const SETTLE: Duration = Duration::from_millis(100);

    fn tags(names: &[&str]) -> Vec<Tag> {
        names.iter().map(|name| Tag::named(name)).collect()
    }

    fn hard(names: &[&str]) -> Outdate {
        Outdate { reach: Reach::of(tags(names)), ..Outdate::default() }
    }

    fn soft(names: &[&str], author: Author) -> Outdate {
        Outdate { mode: Mode::Soft, author: Some(author), ..hard(names) }
    }

    fn wide(item: Item) -> Outdate {
        Outdate { reach: Reach { items: vec![item] }, ..Outdate::default() }
    }

    fn author(n: u8) -> Author {
        Author::Address([127, 0, 0, n].into())
    }

    fn known(tags: &[Tag]) -> Known<'_> {
        Known { tags, is_all: true }
    }

    fn began(ticket: &FillTicket) -> (Position, Duration) {
        (ticket.position(), ticket.begun())
    }

    /// All of it.
    fn outdate_by(
        gate: &Arc<Gate>,
        outdate: &Outdate,
        began: &FillTicket,
        kept: &[&str],
    ) -> Option<FillTicket> {
        let (mut sweep, renewed) =
            gate.raise_by(outdate, NOW, (began.position(), began.begun()), &tags(kept));
        while gate.sweep(&mut sweep) == Progress::More {}
        renewed
    }

    fn check(gate: &Gate, ticket: &FillTicket, names: &[&str]) -> Result<(), Outdated> {
        gate.check(began(ticket), known(&tags(names)))
    }

    fn fill(gate: &Gate, ticket: &FillTicket, names: &[&str]) -> Result<Arc<Entry>, Outdated> {
        let mut entry = Arc::new(like(&entry("k", vec![]), tags(names), ticket.position(), Bytes::new()));
        gate.admit(&mut entry, ticket.begun(), SETTLE).map(|()| entry)
    }

    #[test]
    fn what_is_outdated_aside_is_gone_by_the_clock_and_takes_no_place() {
        let gate = Arc::new(Gate::new(7));
        let (kept, flies) = (fill(&gate, &gate.ticket(NOW), &["a"]).unwrap(), gate.ticket(NOW));
        let later = NOW + SETTLE;
        let mut sweep = gate.raise_aside(&hard(&["a"]), later);
        while gate.sweep(&mut sweep) == Progress::More {}
        assert!(kept.is_dead());
        assert_eq!(gate.applied(), Position { epoch: 7, n: 0 });
        assert_eq!(fill(&gate, &flies, &["a"]).unwrap_err(), Outdated::Settling);
        let comes = gate.arrival(later);
        assert!(
            gate.check_for(began(&flies), known(&tags(&["a"])), comes).is_err(),
            "nor is it given to who comes now"
        );
        assert!(gate.check_for(began(&flies), known(&tags(&["b"])), comes).is_ok());
        assert!(fill(&gate, &gate.ticket(later), &["a"]).is_ok());
    }

    #[test]
    fn in_another_epoch_nothing_from_before_it_is_kept_and_nothing_that_flew_into_it() {
        let gate = Arc::new(Gate::new(7));
        gate.outdate(&hard(&["x"]), NOW);
        let (kept, flies) = (fill(&gate, &gate.ticket(NOW), &["a"]).unwrap(), gate.ticket(NOW));
        let begun = Position { epoch: 8, n: 40 };
        assert_eq!(gate.begin_anew(begun).len(), 1);
        assert!(kept.is_dead());
        assert_eq!((gate.applied(), gate.size(NOW).0), (begun, 0));
        assert!(fill(&gate, &flies, &["b"]).is_err(), "its ticket is of the epoch before");
        assert!(fill(&gate, &gate.ticket(NOW), &["b"]).is_ok());
    }

    #[test]
    fn what_flew_into_a_gap_is_neither_kept_nor_given_to_who_comes_behind_it() {
        let gate = Arc::new(Gate::new(7));
        let (kept, flies) = (fill(&gate, &gate.ticket(NOW), &["a"]).unwrap(), gate.ticket(NOW));
        let comes_before = gate.arrival(NOW);
        let behind = Position { epoch: 7, n: 40 };
        assert_eq!(gate.begin_anew(behind).len(), 1);
        assert!(kept.is_dead());
        assert_eq!(gate.applied(), behind);
        assert_eq!(fill(&gate, &flies, &["b"]).unwrap_err(), Outdated::Invalidated);
        let tags = tags(&["b"]);
        assert!(gate.check_for(began(&flies), known(&tags), gate.arrival(NOW)).is_err());
        assert!(gate.check_for(began(&flies), known(&tags), comes_before).is_ok());
        assert!(fill(&gate, &gate.ticket(NOW), &["b"]).is_ok());
    }

    #[test]
    fn until_all_is_dead_that_a_gap_outdates_this_node_is_no_further_than_before() {
        let gate = Arc::new(Gate::new(7));
        gate.outdate(&hard(&["x"]), NOW);
        let kept = fill(&gate, &gate.ticket(NOW), &["a"]).unwrap();
        let _doomed = gate.lock().begin_anew(Position { epoch: 7, n: 40 });
        assert!(!kept.is_dead());
        assert_eq!((gate.applied().n, gate.arrival(NOW).position.n), (1, 40));
        gate.lock().has_begun();
        assert_eq!(gate.applied().n, 40);
    }

    #[test]
    fn a_flight_from_the_epoch_before_lets_no_floor_go_that_another_needs() {
        let gate = Arc::new(Gate::new(7));
        (0..9).for_each(|_| drop(gate.outdate(&hard(&["x"]), NOW)));
        let _flies = gate.ticket(NOW);
        gate.begin_anew(Position { epoch: 8, n: 0 });
        let ticket = gate.ticket(NOW);
        gate.outdate(&hard(&["a"]), NOW);
        gate.outdate(&hard(&["b"]), NOW);
        gate.size(NOW);
        assert_eq!(fill(&gate, &ticket, &["a"]).unwrap_err(), Outdated::Invalidated);
    }

    #[test]
    fn what_is_held_is_held_into_the_next_epoch() {
        let gate = Arc::new(Gate::new(7));
        let until = NOW + Duration::from_secs(9);
        gate.outdate(&Outdate { hold: Hold::For(until - NOW), ..hard(&["a"]) }, NOW);
        gate.begin_anew(Position { epoch: 8, n: 0 });
        assert_eq!(fill(&gate, &gate.ticket(NOW), &["a"]).unwrap_err(), Outdated::Settling);
        assert!(fill(&gate, &gate.ticket(until), &["a"]).is_ok());
    }

    #[test]
    fn a_sweep_from_the_epoch_before_ends_and_leaves_the_new_places_alone() {
        let gate = Arc::new(Gate::new(7));
        let _kept = fill(&gate, &gate.ticket(NOW), &["a"]).unwrap();
        let mut old = gate.raise(&hard(&["a"]), NOW);
        let begun = Position { epoch: 8, n: 0 };
        gate.begin_anew(begun);
        let mut new = gate.raise(&hard(&["a"]), NOW);
        while gate.sweep(&mut old) == Progress::More {}
        assert_eq!(gate.applied(), begun, "the first of this epoch is not swept yet");
        while gate.sweep(&mut new) == Progress::More {}
        assert_eq!(gate.applied().n, 1);
    }

    #[test]
    fn an_invalidation_after_the_ticket_refuses_only_what_carries_its_tag() {
        let gate = Arc::new(Gate::default());
        let before = gate.ticket(NOW);
        gate.outdate(&hard(&["a"]), NOW);
        let after = gate.ticket(NOW);
        assert_eq!(check(&gate, &before, &["a", "b"]), Err(Outdated::Invalidated));
        assert_eq!(check(&gate, &before, &["b"]), Ok(()));
        assert_eq!(check(&gate, &after, &["a"]), Ok(()));
    }

    #[test]
    fn a_soft_invalidation_refuses_fills_in_flight_like_a_hard_one() {
        let gate = Arc::new(Gate::default());
        let before = gate.ticket(NOW);
        gate.outdate(&soft(&["a"], author(1)), NOW);
        assert!(fill(&gate, &before, &["a"]).is_err());
        assert!(fill(&gate, &gate.ticket(NOW), &["a"]).is_ok());
    }

    #[test]
    fn a_ticket_of_another_epoch_is_refused() {
        let (gate, other) = (Arc::new(Gate::new(1)), Arc::new(Gate::new(2)));
        let ticket = other.ticket(NOW);
        assert_eq!(check(&gate, &ticket, &[]), Err(Outdated::Invalidated));
        assert!(fill(&gate, &ticket, &[]).is_err());
        assert_eq!(gate.check_for(began(&ticket), known(&[]), gate.arrival(NOW)), Err(Outdated::Invalidated));
        let own = fill(&other, &ticket, &["a"]).unwrap();
        assert!(other.may_build_on(&own) && !gate.may_build_on(&own));
    }

    #[test]
    fn what_is_not_known_yet_counts_as_matching_unless_it_is_a_path() {
        let gate = Arc::new(Gate::default());
        let ticket = gate.ticket(NOW);
        let unknown = || gate.check(began(&ticket), Known { tags: &[], is_all: false });
        gate.outdate(&wide(Item::Tag(Tag::path("h", "/a"))), NOW);
        assert_eq!(unknown(), Ok(()), "no answer brings a path");
        gate.outdate(&hard(&["a"]), NOW);
        assert_eq!(unknown(), Err(Outdated::Invalidated));
    }

    #[test]
    fn a_pattern_refuses_a_fill_in_flight_that_turns_out_to_carry_what_it_covers() {
        let gate = Arc::new(Gate::default());
        let before = gate.ticket(NOW);
        gate.outdate(&wide(Item::parse("project:*").unwrap()), NOW);
        assert!(fill(&gate, &before, &["project:42"]).is_err());
        assert!(fill(&gate, &before, &["projects"]).is_ok());
        assert!(fill(&gate, &gate.ticket(NOW), &["project:42"]).is_ok());
    }

    #[test]
    fn who_asked_before_it_is_given_what_an_invalidation_came_after() {
        let gate = Arc::new(Gate::default());
        let ticket = gate.ticket(NOW);
        let (asked_before, carried) = (gate.arrival(NOW), tags(&["a"]));
        gate.outdate(&hard(&["a"]), NOW);
        let asked_after = gate.arrival(NOW);
        assert_eq!(ticket.check_for(asked_before, known(&carried)), Ok(()));
        assert_eq!(ticket.check_for(asked_after, known(&carried)), Err(Outdated::Invalidated));
        assert_eq!(ticket.check_for(asked_after, known(&tags(&["b"]))), Ok(()));
    }

    #[test]
    fn a_write_renews_its_ticket_unless_another_one_came_between() {
        let gate = Arc::new(Gate::default());
        let (own, other) = (hard(&["a"]), hard(&["b"]));
        let (first, second, reader) = (gate.ticket(NOW), gate.ticket(NOW), gate.ticket(NOW));
        gate.outdate(&other, NOW);
        let renewed = outdate_by(&gate, &own, &first, &["a"]);
        let renewed = renewed.expect("nobody else touched it");
        assert_eq!(check(&gate, &renewed, &["a"]), Ok(()), "its own invalidation does not refuse it");
        assert_eq!(check(&gate, &reader, &["a"]), Err(Outdated::Invalidated), "and refuses all others");
        let too_late = outdate_by(&gate, &own, &second, &["a"]);
        assert!(too_late.is_none(), "the first one was answered meanwhile");
        assert_eq!(check(&gate, &renewed, &["a"]), Err(Outdated::Invalidated));
        drop((first, second, reader, renewed));
        assert_eq!(gate.floors(), 0);
    }

    #[test]
    fn what_a_write_says_is_not_kept_while_another_one_may_still_be_done() {
        for hold in [Hold::Settle, Hold::For(SETTLE)] {
            let gate = Arc::new(Gate::default());
            gate.settle_within(SETTLE);
            gate.outdate(&Outdate { hold, ..hard(&["a"]) }, NOW);
            let (early, late) = (gate.ticket(NOW + SETTLE / 2), gate.ticket(NOW + SETTLE));
            assert!(outdate_by(&gate, &hard(&["b"]), &early, &["a"]).is_none(), "{hold:?}");
            assert!(outdate_by(&gate, &hard(&["b"]), &early, &["c"]).is_some(), "{hold:?}");
            assert!(outdate_by(&gate, &hard(&["b"]), &late, &["a"]).is_some(), "{hold:?}");
        }
    }

    #[test]
    fn who_comes_after_the_end_of_a_hold_is_not_given_what_began_before_it() {
        for hold in [Hold::Settle, Hold::For(SETTLE)] {
            let gate = Arc::new(Gate::default());
            gate.settle_within(SETTLE);
            let held = Outdate { hold, ..hard(&["a"]) };
            gate.outdate(&held, NOW);
            let (half, end) = (NOW + SETTLE / 2, NOW + SETTLE);
            let (early, before) = (gate.ticket(half), gate.arrival(half));
            let (carried, others) = (tags(&["a"]), tags(&["b"]));
            assert_eq!(early.check(known(&carried)), Ok(()), "who comes now may join");
            let after = gate.arrival(end);
            assert_eq!(early.check(known(&carried)), Err(Outdated::Settling), "{hold:?}");
            assert_eq!(early.check_for(after, known(&carried)), Err(Outdated::Settling), "{hold:?}");
            assert_eq!(early.check_for(before, known(&carried)), Ok(()), "he came before it");
            assert_eq!(early.check_for(after, known(&others)), Ok(()));
            let late = gate.ticket(end);
            assert_eq!(late.check(known(&carried)), Ok(()));
            gate.outdate(&held, end);
            let both = (gate.ticket(end + SETTLE / 2), gate.arrival(end + SETTLE / 2));
            assert_eq!(early.check_for(both.1, known(&carried)), Err(Outdated::Invalidated));
            assert_eq!(
                both.0.check_for(both.1, known(&carried)),
                Ok(()),
                "{hold:?}: he came before it began"
            );
        }
    }

    #[test]
    fn what_is_not_known_yet_counts_as_held_by_what_nobody_knows_the_outcome_of() {
        for (hold, joined) in [(Hold::Settle, Ok(())), (Hold::For(SETTLE), Err(Outdated::Settling))] {
            let gate = Arc::new(Gate::default());
            gate.settle_within(SETTLE);
            gate.outdate(&Outdate { hold, ..hard(&["a"]) }, NOW);
            let early = gate.ticket(NOW);
            let after = gate.arrival(NOW + SETTLE);
            assert_eq!(early.check_for(after, Known { tags: &[], is_all: false }), joined, "{hold:?}");
        }
    }

    #[test]
    fn what_a_write_says_itself_is_kept_while_others_settle() {
        let gate = Arc::new(Gate::default());
        let began = gate.ticket(NOW);
        let write = Outdate { hold: Hold::Settle, ..hard(&["a"]) };
        let renewed = outdate_by(&gate, &write, &began, &["a"]);
        assert!(fill(&gate, &renewed.unwrap(), &["a"]).is_ok());
        assert_eq!(fill(&gate, &gate.ticket(NOW), &["a"]).unwrap_err(), Outdated::Settling);
    }

    #[test]
    fn floors_vanish_with_the_last_fill_that_they_could_refuse() {
        let gate = Arc::new(Gate::default());
        gate.outdate(&hard(&["idle"]), NOW);
        gate.outdate(&wide(Item::All), NOW);
        assert_eq!(gate.floors(), 0, "nobody is in flight");
        let first = gate.ticket(NOW);
        gate.outdate(&hard(&["a"]), NOW);
        gate.outdate(&wide(Item::parse("a*").unwrap()), NOW);
        gate.outdate(&wide(Item::All), NOW);
        let second = gate.ticket(NOW);
        drop(second);
        assert_eq!(gate.floors(), 3);
        drop(first);
        assert_eq!(gate.floors(), 0);
    }

    #[test]
    fn a_fetch_that_began_before_a_write_had_settled_is_not_kept() {
        let gate = Arc::new(Gate::default());
        gate.settle_within(SETTLE);
        gate.outdate(&Outdate { hold: Hold::Settle, ..hard(&["a"]) }, NOW);
        let early = gate.ticket(NOW + SETTLE - Duration::from_millis(1));
        let settled = gate.ticket(NOW + SETTLE);
        assert_eq!(fill(&gate, &early, &["a"]).unwrap_err(), Outdated::Settling, "whenever it comes");
        assert!(fill(&gate, &early, &["b"]).is_ok());
        assert!(fill(&gate, &settled, &["a"]).is_ok());
        drop(settled);
        assert_eq!(gate.floors(), 1, "it could still refuse the other");
        drop(early);
        assert_eq!(gate.floors(), 0);
    }

    #[test]
    fn a_floor_that_is_held_vanishes_without_another_invalidation() {
        let gate = Arc::new(Gate::default());
        gate.outdate(&Outdate { hold: Hold::For(SETTLE), ..hard(&["a"]) }, NOW);
        let unknown = gate.ticket(NOW);
        assert_eq!(fill(&gate, &unknown, &["a"]).unwrap_err(), Outdated::Settling);
        drop(unknown);
        gate.size(NOW + SETTLE - Duration::from_millis(1));
        assert_eq!(gate.floors(), 1);
        gate.size(NOW + SETTLE);
        assert_eq!(gate.floors(), 0);
        gate.outdate(&Outdate { hold: Hold::Settle, ..hard(&["a"]) }, NOW + SETTLE);
        drop(gate.ticket(NOW + SETTLE + LONGEST_SETTLE));
        assert_eq!(gate.floors(), 0, "nor without anybody who looks");
    }

    #[test]
    fn as_many_floors_as_there_may_be_refuse_only_what_they_are_about() {
        let gate = Arc::new(Gate::default());
        let old = gate.ticket(NOW);
        (0..MAX_FLOORS).for_each(|n| drop(gate.outdate(&hard(&[&format!("t{n}")]), NOW)));
        assert_eq!(gate.floors(), MAX_FLOORS);
        assert_eq!(check(&gate, &old, &["other"]), Ok(()));
        gate.outdate(&hard(&["one more"]), NOW);
        assert!(gate.floors() <= MAX_FLOORS);
        for carried in ["t0", "one more", "other"] {
            assert_eq!(check(&gate, &old, &[carried]), Err(Outdated::Invalidated), "{carried}");
        }
        assert_eq!(check(&gate, &gate.ticket(NOW), &["t0"]), Ok(()));
    }

    #[test]
    fn floors_that_are_idle_make_room_before_any_is_given_up() {
        let gate = Arc::new(Gate::default());
        let old = gate.ticket(NOW);
        (0..MAX_FLOORS).for_each(|n| drop(gate.outdate(&hard(&[&format!("t{n}")]), NOW)));
        let young = gate.ticket(NOW);
        drop(old);
        gate.outdate(&hard(&["new"]), NOW);
        assert_eq!(check(&gate, &young, &["other"]), Ok(()));
        assert_eq!(check(&gate, &young, &["new"]), Err(Outdated::Invalidated));
        assert!(gate.floors() < MAX_FLOORS / 2);
    }

    #[test]
    fn too_many_patterns_refuse_every_fill_that_was_in_flight() {
        let gate = Arc::new(Gate::default());
        let old = gate.ticket(NOW);
        let pattern = |n: usize| wide(Item::parse(&format!("t{n}:*")).unwrap());
        (0..MAX_WIDE_FLOORS).for_each(|n| drop(gate.outdate(&pattern(n), NOW)));
        assert_eq!(check(&gate, &old, &["other"]), Ok(()));
        gate.outdate(&pattern(0), NOW);
        assert_eq!(check(&gate, &old, &["other"]), Ok(()), "it was there");
        gate.outdate(&pattern(MAX_WIDE_FLOORS), NOW);
        assert_eq!(check(&gate, &old, &["other"]), Err(Outdated::Invalidated));
        drop(old);
        assert_eq!(gate.floors(), 0);
    }

    #[test]
    fn a_sweep_lets_others_through_and_shows_its_position_when_it_is_done() {
        let gate = Arc::new(Gate::default());
        let before = gate.ticket(NOW);
        let kept: Vec<_> = (0..3 * SLICE).map(|_| fill(&gate, &before, &["a"]).unwrap()).collect();
        let mut sweep = gate.raise(&hard(&["a"]), NOW);
        assert_eq!(gate.sweep(&mut sweep), Progress::More);
        let during = gate.ticket(NOW);
        assert!(kept.iter().any(|entry| !entry.is_dead()), "it is not through");
        assert_eq!(gate.applied().n, 0);
        assert!(fill(&gate, &before, &["a"]).is_err(), "the floor is there before the sweep");
        assert!(
            kept.iter().all(|entry| !gate.may_build_on(entry)),
            "alive or not, nothing may be built on it"
        );
        let newer = fill(&gate, &during, &["a"]).expect("it was fetched behind the floor");
        assert!(gate.may_build_on(&newer));
        while gate.sweep(&mut sweep) == Progress::More {}
        assert!(kept.iter().all(|entry| entry.is_dead()) && !newer.is_dead());
        assert_eq!((gate.applied(), sweep.into_reached().len()), (Position { epoch: 0, n: 1 }, kept.len()));
    }

    #[test]
    fn a_small_one_does_not_wait_for_the_end_of_a_large_one() {
        let gate = Arc::new(Gate::default());
        let ticket = gate.ticket(NOW);
        let kept: Vec<_> = (0..8 * SLICE).map(|_| fill(&gate, &ticket, &["a"]).unwrap()).collect();
        let own = fill(&gate, &ticket, &["b"]).unwrap();
        drop(ticket);
        let mut large = gate.raise(&hard(&["a"]), NOW);
        gate.sweep(&mut large);
        let (small, reached) = gate.outdate(&hard(&["b"]), NOW);
        assert_eq!((small.n, reached.len(), own.is_dead()), (2, 1, true));
        assert!(kept.iter().any(|entry| !entry.is_dead()) && gate.applied().n == 0);
        let carried = tags(&["b"]);
        assert_eq!(gate.arrival(NOW).position.n, 2, "who comes now gets nothing from before it");
        assert!(gate.check((Position { epoch: 0, n: 0 }, NOW), known(&carried)).is_err());
        let renewed = fill(&gate, &gate.ticket(NOW), &["b"]).expect("nor does a fetch wait");
        while gate.sweep(&mut large) == Progress::More {}
        assert!(!renewed.is_dead() && kept.iter().all(|entry| entry.is_dead()));
        assert_eq!(gate.applied().n, 2);
    }

    #[test]
    fn what_is_being_softened_is_not_built_on_before_it_is() {
        let gate = Arc::new(Gate::default());
        let kept: Vec<_> = (0..3 * SLICE).map(|_| fill(&gate, &gate.ticket(NOW), &["a"]).unwrap()).collect();
        let mut sweep = gate.raise(&soft(&["a"], author(1)), NOW);
        let _flight = gate.ticket(NOW);
        assert!(kept.iter().all(|entry| entry.softened().is_none() && !gate.may_build_on(entry)));
        while gate.sweep(&mut sweep) == Progress::More {}
        assert!(kept.iter().all(|entry| entry.softened().is_some() && gate.may_build_on(entry)));
    }

    #[test]
    fn whoever_outdates_a_tag_finds_it_in_what_is_being_dropped_and_waits_for_no_more() {
        for (outdate, left) in [(hard(&["a"]), 6 * SLICE), (soft(&["a"], author(1)), 7 * SLICE)] {
            let gate = Arc::new(Gate::default());
            let fill = |name| fill(&gate, &gate.ticket(NOW), &[name, "all"]).unwrap();
            let others: Vec<_> = (0..6 * SLICE).map(|_| fill("b")).collect();
            let own: Vec<_> = (0..SLICE).map(|_| fill("a")).collect();
            let mut all = gate.raise(&wide(Item::All), NOW);
            let (_, reached) = gate.outdate(&outdate, NOW);
            assert!(own.iter().all(|entry| entry.is_dead() || entry.softened().is_some()));
            assert!(others.iter().all(|entry| !entry.is_dead()));
            assert_eq!((reached.len(), gate.applied().n), (SLICE, 0));
            while gate.sweep(&mut all) == Progress::More {}
            assert!(own.iter().chain(&others).all(|entry| entry.is_dead()));
            assert_eq!(all.into_reached().len(), left, "nobody dies twice");
            assert_eq!((gate.size(NOW), gate.applied().n, gate.authors()), ((0, 0), 2, 0));
        }
    }

    #[test]
    fn a_sweep_under_way_goes_on_in_the_index_that_is_taken_away_from_under_it() {
        for slices_of_all in 0..8 {
            let gate = Arc::new(Gate::default());
            let fill = |name: &str| fill(&gate, &gate.ticket(NOW), &[name, "all"]).unwrap();
            let kept: Vec<_> = (0..4 * SLICE).map(|n| fill(&format!("a{}", n % 3))).collect();
            let mut tags = gate.raise(&wide(Item::parse("a*").unwrap()), NOW);
            gate.sweep(&mut tags);
            let mut all = gate.raise(&wide(Item::All), NOW);
            for _ in 0..slices_of_all {
                gate.sweep(&mut all);
            }
            while gate.sweep(&mut tags) == Progress::More {}
            assert!(kept.iter().all(|entry| entry.is_dead()), "after {slices_of_all} slices");
            while gate.sweep(&mut all) == Progress::More {}
            let reached = tags.into_reached().len() + all.into_reached().len();
            assert_eq!((reached, gate.applied().n), (kept.len(), 2));
        }
    }

    #[test]
    fn what_leaves_memory_while_it_is_being_dropped_stops_nobody() {
        let gate = Arc::new(Gate::default());
        let fill = |name| fill(&gate, &gate.ticket(NOW), &[name, "both"]).unwrap();
        let mut kept: Vec<_> = (0..8 * SLICE).map(|n| fill(if n % 2 == 0 { "a" } else { "b" })).collect();
        let mut all = gate.raise(&wide(Item::All), NOW);
        gate.sweep(&mut all);
        kept.drain(..4 * SLICE).for_each(|gone| gate.forget(&gone));
        let (_, reached) = gate.outdate(&hard(&["both", "a"]), NOW);
        assert!(kept.iter().all(|entry| entry.is_dead()));
        drop(reached);
        while gate.sweep(&mut all) == Progress::More {}
        assert_eq!((gate.size(NOW), gate.applied().n), ((0, 0), 2));
    }

    #[test]
    fn what_is_softened_stays_until_it_is_outdated_for_good() {
        let gate = Arc::new(Gate::default());
        let kept = fill(&gate, &gate.ticket(NOW), &["a", "ab"]).unwrap();
        let reach = Reach { items: vec![Item::parse("a").unwrap(), Item::parse("a*").unwrap()] };
        let (_, reached) = gate.outdate(&Outdate { reach, ..soft(&[], author(1)) }, NOW);
        assert_eq!(reached.len(), 1, "no entry twice");
        assert_eq!((kept.softened(), kept.is_dead()), (Some(NOW), false));
        assert_eq!(gate.find(&hard(&["a"]).reach).len(), 1);
        gate.outdate(&hard(&["ab"]), NOW);
        assert!(kept.is_dead());
        assert_eq!(gate.size(NOW), (0, 0));
    }

    #[test]
    fn an_author_is_remembered_while_what_he_softened_is_kept() {
        let gate = Arc::new(Gate::default());
        let kept = fill(&gate, &gate.ticket(NOW), &["a"]).unwrap();
        let since = |who| gate.softened_since(kept.position(), || author(who));
        gate.outdate(&soft(&["nothing"], author(1)), NOW);
        assert!(!since(1), "nothing was softened");
        gate.outdate(&soft(&["a"], author(1)), NOW);
        assert!(since(1) && !since(2));
        let renewed = fill(&gate, &gate.ticket(NOW), &["a"]).unwrap();
        assert!(!gate.softened_since(renewed.position(), || author(1)), "fetched after he wrote");
        gate.forget(&kept);
        assert_eq!(gate.authors(), 0);
    }

    #[test]
    fn the_dead_are_not_counted_though_their_seats_are_taken() {
        let gate = Arc::new(Gate::default());
        let _kept = [["a", "both"], ["a", "both"], ["b", "both"]]
            .map(|names| fill(&gate, &gate.ticket(NOW), &names).unwrap());
        gate.outdate(&hard(&["a"]), NOW);
        assert_eq!(gate.find(&hard(&["both"]).reach).len(), 1);
        assert_eq!(["a", "b", "both"].map(|name| gate.count(&Tag::named(name))), [0, 1, 1]);
    }

    #[test]
    fn what_leaves_the_index_is_dead() {
        let gate = Arc::new(Gate::default());
        let kept = fill(&gate, &gate.ticket(NOW), &["a"]).unwrap();
        gate.forget(&kept);
        assert!(kept.is_dead(), "or nobody could outdate it, and it might stand in for an error");
    }

    #[test]
    fn a_purge_costs_what_it_drops_and_not_what_is_kept() {
        let steps = |kept: usize, item: &Item| {
            let gate = Arc::new(Gate::default());
            let any = entry("k", vec![]);
            let mut entries: Vec<_> = (0..kept)
                .map(|n| {
                    let names =
                        [Tag::path("h", &format!("/p/{n}")), Tag::named(&format!("hundred:{}:x", n / 100))];
                    Arc::new(like(&any, names.into(), Position::default(), Bytes::new()))
                })
                .collect();
            entries.iter_mut().for_each(|entry| gate.admit(entry, NOW, SETTLE).unwrap());
            let mut sweep = gate.raise(&wide(item.clone()), NOW);
            while gate.sweep(&mut sweep) == Progress::More {}
            let steps = sweep.steps();
            assert_eq!(sweep.into_reached().len(), 100);
            steps
        };
        for item in [Item::parse("hundred:7:x").unwrap(), Item::parse("hundred:7:{x}").unwrap()] {
            let (few, many) = (steps(1_000, &item), steps(20_000, &item));
            assert_eq!(few, many);
        }
    }
}
