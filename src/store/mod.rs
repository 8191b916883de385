//! Keeps complete responses, and parts of them, finds them again, and drops what is outdated.
//!
//! Invariant: an entry is served only while it is alive, and lives only if it passed the gate. The order is always
//! gate first, memory second, never both: an entry that dies between the two is dead on arrival. Nobody waits for the
//! dead to be taken out of memory.

pub mod author;
pub mod entry;
pub mod floor;
pub mod head;
mod heat;
pub mod lease;
mod ledger;
pub mod memory;
pub mod position;
pub mod promote;
pub mod room;
mod rooms;
pub mod search;
pub mod stamp;
#[cfg(test)]
mod stress;
pub mod sweep;
pub mod tag_index;
pub mod ticket;
mod undertaker;
pub mod watch;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use crate::fault::{self, Fault, Mistake};
use crate::metrics::Metrics;
use crate::policy::Selector;
use crate::route::key::Key;
use crate::route::reach::Reach;
use crate::route::tag::Tag;
use crate::store::author::Author;
use crate::store::entry::{Candidate, Entry, EntryId};
use crate::store::lease::Lease;
use crate::store::memory::{Entries, Memory, Refusal};
use crate::store::position::{Arrival, Gate, Mode, Outdate, Outdated, Position};
use crate::store::sweep::Sweep;
use crate::store::tag_index::Progress;
use crate::store::ticket::FillTicket;
use crate::store::undertaker::Undertaker;
use crate::store::watch::{Gone, Watchers};

/// How much is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes of memory for entries, keys and index (`limits.memory`).
    pub memory: u64,
    /// At most so many entries (`limits.entries`, `CACHE_MAX_ENTRIES`); `None`: only `memory` limits.
    pub entries: Option<u64>,
}

/// Everything that is kept.
#[derive(Debug)]
pub struct Store {
    memory: Arc<Memory>,
    gate: Arc<Gate>,
    undertaker: Undertaker,
    lease: Lease,
    metrics: Arc<Metrics>,
    watchers: Arc<Watchers>,
}

/// What a lookup found.
#[derive(Debug)]
pub enum Found {
    /// A live entry that answers the request; fresh or not is for the policy to say.
    Entry(Arc<Entry>),
    /// Nothing is known of the key.
    Nothing,
    /// Whatever is known of it may not be served: this node of a fleet has no lease.
    Unleased,
    /// The key is known, but no variant of it answers this request.
    OtherVariants,
    /// Answers to this key were uncacheable lately: fetch side by side instead of waiting for one another.
    Uncacheable,
}

/// An invalidation that was applied.
#[derive(Debug)]
pub struct Applied {
    /// Where it stands in the order of invalidations.
    pub position: Position,
    /// What it removed, or made stale. Whoever takes the dead out of memory has it too, and lets them go.
    pub reached: Arc<Vec<Arc<Entry>>>,
}

/// An answer that came too late to be stored.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub why: Outdated,
    /// What would have been stored: good for those who asked before, and for nobody else.
    pub entry: Arc<Entry>,
}

impl Store {
    /// An empty store, in an epoch of its own.
    pub fn new(settings: &Settings, metrics: Arc<Metrics>) -> Self {
        // No two processes are likely to have the same: what one has written down is not taken for another's.
        Self::in_epoch(RandomState::new().hash_one(()), settings, metrics)
    }

    /// An empty store at the beginning of `epoch`.
    pub fn in_epoch(epoch: u64, settings: &Settings, metrics: Arc<Metrics>) -> Self {
        let gate = Arc::new(Gate::new(epoch));
        let (index, evictions) = (Arc::clone(&gate), Arc::clone(&metrics));
        let watchers = Arc::<Watchers>::default();
        let told = Arc::clone(&watchers);
        let memory = Arc::new(Memory::new(settings.memory, settings.entries, move |entry| {
            index.forget(entry);
            evictions.evicted("size");
            told.gone(entry, Gone::Evicted);
        }));
        let undertaker = Undertaker::of(&memory, &gate, &watchers);
        Self { undertaker, memory, gate, lease: Lease::default(), metrics, watchers }
    }

    /// Until when what is kept may be served.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Another epoch begins at `at`: nothing that is kept, or on its way, is of any use. Holds this thread until all of it is
    /// dead.
    pub fn begin_anew(&self, at: Position) {
        let dead = self.gate.begin_anew(at);
        self.bury(Mode::Hard, dead);
    }

    /// Finds the newest live entry under `key` whose selector `matches`, for who comes at `now` (monotonic).
    pub fn lookup(&self, key: &[u8], matches: impl Fn(&Selector) -> bool, now: Duration) -> Found {
        let is_last = fault::made(Mistake::LeaseLookedAtLast);
        // First: a lease that is given later is given to a node that has caught up since.
        if !is_last && !self.lease.holds(now) && !fault::made(Mistake::ServedWithoutALease) {
            return Found::Unleased;
        }
        let Some(known) = self.memory.find(key) else { return Found::Nothing };
        let mut alive = known.variants().iter().filter(|entry| !entry.is_dead()).peekable();
        let any = alive.peek().is_some();
        match alive.find(|entry| matches(&entry.selector)) {
            Some(_) if is_last && !self.lease.holds(now) => Found::Unleased,
            Some(entry) => Found::Entry(Arc::clone(entry)),
            None if known.pass_until() > now => Found::Uncacheable,
            None if any => Found::OtherVariants,
            None => Found::Nothing,
        }
    }

    /// Finds the newest live part of an answer under `key` whose selector `matches`, for who comes at `now` (monotonic).
    pub fn part(&self, key: &[u8], matches: impl Fn(&Selector) -> bool, now: Duration) -> Option<Arc<Entry>> {
        if !self.lease.holds(now) {
            return None;
        }
        let known = self.memory.find(key)?;
        known.parts().iter().find(|entry| !entry.is_dead() && matches(&entry.selector)).map(Arc::clone)
    }

    /// The ticket without which nothing is stored; to be taken before the origin is touched. `now` is monotonic.
    pub fn ticket(&self, now: Duration) -> FillTicket {
        self.gate.ticket(now)
    }

    /// Makes an answer visible, in place of the variant with the same selector; a part takes the place of parts only.
    ///
    /// # Errors
    /// [`Refused`] if one of its tags was invalidated since the ticket was taken.
    pub fn fill(&self, ticket: &FillTicket, candidate: Candidate) -> Result<Arc<Entry>, Refused> {
        let settle = candidate.settle;
        let position = if fault::is(Fault::TicketTakenLate) { self.applied() } else { ticket.position() };
        self.put(Entry::new(candidate, position), ticket.begun(), settle)
    }

    /// The same for an answer that holds bytes of `older`: it is as old as they are, and depends on what they do.
    /// `older` has to be found while the ticket was out, or what outdated it before may have left no trace.
    ///
    /// # Errors
    /// [`Refused`] if one of the tags of either was invalidated since the older of the two was asked for; then `older`
    /// goes too.
    pub fn fill_with(
        &self,
        ticket: &FillTicket,
        mut candidate: Candidate,
        older: &Entry,
    ) -> Result<Arc<Entry>, Refused> {
        candidate.tags.extend_from_slice(older.tags());
        let settle = candidate.settle;
        let oldest =
            if older.position().n < ticket.position().n { older.position() } else { ticket.position() };
        // What can be in nothing that is kept is in the way of all that could be.
        self.put(Entry::new(candidate, oldest), ticket.begun(), settle).inspect_err(|_| self.remove(older))
    }

    fn put(&self, entry: Entry, begun: Duration, settle: Duration) -> Result<Arc<Entry>, Refused> {
        let mut entry = Arc::new(entry);
        if let Err(why) = self.gate.admit(&mut entry, begun, settle) {
            return Err(Refused { why, entry });
        }
        self.show(&entry);
        Ok(entry)
    }

    /// Puts an entry that passed the gate into memory.
    fn show(&self, entry: &Arc<Entry>) {
        let mut gone = Vec::new();
        self.memory.change(entry.key(), |group| gone = group.put(entry));
        let before = gone.iter().find(|old| {
            old.selector == entry.selector
                && old.part().is_none()
                && !old.is_dead()
                && old.softened().is_none()
        });
        self.watchers.stored(entry, before.map(|before| &**before));
        for entry in &gone {
            // Who died before is told of by who buries it.
            let was_alive = !entry.is_dead();
            self.gate.forget(entry);
            if was_alive {
                self.watchers.gone(entry, Gone::Replaced);
            }
        }
        if entry.is_dead() {
            // Who killed it on its way may have had it buried before it was there.
            self.memory.sweep(entry.key());
        }
    }

    /// Remembers until `until` (monotonic) that answers to `key` are not worth waiting for.
    pub fn remember_uncacheable(&self, key: &Key, until: Duration) {
        self.memory.change(key, |group| group.pass_until = until);
    }

    /// Remembers why the newest answer to `key` was not kept, until one is.
    pub fn remember_refusal(&self, key: &Key, refusal: Refusal) {
        self.memory.change(key, |group| group.refusal = Some(refusal));
    }

    /// Why the newest answer to `key` was not kept, if it was not.
    pub fn refusal(&self, key: &[u8]) -> Option<Refusal> {
        self.memory.find(key)?.refusal()
    }

    /// The live entries under `key`: what answers as a whole, newest first, whomever it answers.
    pub fn variants(&self, key: &[u8]) -> Entries {
        let Some(known) = self.memory.find(key) else { return Entries::new() };
        known.variants().iter().filter(|entry| !entry.is_dead()).cloned().collect()
    }

    /// Lets one entry go that the origin no longer stands behind.
    pub fn remove(&self, entry: &Entry) {
        self.gate.forget(entry);
        self.memory.sweep(entry.key());
        self.watchers.gone(entry, Gone::Withdrawn);
    }

    /// Applies an invalidation, and holds this thread until that is done: when this returns and it was hard, no body fetched
    /// before it is found or stored any more. `now` is monotonic.
    pub fn outdate(&self, outdate: &Outdate, now: Duration) -> Applied {
        let mut sweep = self.raise(outdate, now);
        while self.sweep(&mut sweep) == Progress::More {}
        self.conclude(sweep)
    }

    /// Begins an invalidation: from here on no body fetched before it is stored any more. It has to be swept to its end.
    /// `now` is monotonic.
    pub fn raise(&self, outdate: &Outdate, now: Duration) -> Sweep {
        self.gate.raise(outdate, now)
    }

    /// The same for a write that began with a ticket of `began`; gives the ticket under which its own answer, which would carry
    /// `kept`, may be stored: `None` if anybody else has invalidated one of them since, or may be about to change it.
    pub fn raise_by(
        &self,
        outdate: &Outdate,
        now: Duration,
        began: (Position, Duration),
        kept: &[Tag],
    ) -> (Sweep, Option<FillTicket>) {
        self.gate.raise_by(outdate, now, began, kept)
    }

    /// The same outside the order, without a place of its own: all that is kept of it dies now, and what is being fetched is
    /// not kept. It still has to be applied at its place. Holds this thread until that is done.
    pub fn outdate_aside(&self, outdate: &Outdate, now: Duration) -> Applied {
        let mut sweep = self.gate.raise_aside(outdate, now);
        while self.sweep(&mut sweep) == Progress::More {}
        self.conclude(sweep)
    }

    /// Whether the answer of a write that began now, and would carry `kept`, could be stored: not while somebody else may be about
    /// to change it.
    pub fn is_alone(&self, now: Duration, kept: &[Tag]) -> bool {
        self.gate.lock_at(now).is_alone_now(kept)
    }

    /// Goes on with an invalidation for one slice of what is kept; others may go on between two of them.
    pub fn sweep(&self, sweep: &mut Sweep) -> Progress {
        self.gate.sweep(sweep)
    }

    /// What became of an invalidation whose sweep is done.
    pub fn conclude(&self, sweep: Sweep) -> Applied {
        let (position, mode) = (sweep.position(), sweep.mode());
        Applied { position, reached: self.bury(mode, sweep.into_reached()) }
    }

    fn bury(&self, mode: Mode, reached: Vec<Arc<Entry>>) -> Arc<Vec<Arc<Entry>>> {
        let reached = Arc::new(reached);
        if mode == Mode::Hard {
            self.undertaker.bury(&reached);
        }
        reached
    }

    /// Notes that somebody comes at `now` (monotonic); to be called before anything is looked up for him.
    pub fn arrival(&self, now: Duration) -> Arrival {
        let is_leased = self.lease.holds(now);
        Arrival { is_leased, ..self.gate.arrival(now) }
    }

    /// Whether something that is kept may be built on `entry`; to be asked with the ticket in hand.
    pub fn may_build_on(&self, entry: &Entry) -> bool {
        self.gate.may_build_on(entry)
    }

    /// How far this node is in the order of invalidations: up to here each one is applied, and some behind it may be.
    pub fn applied(&self) -> Position {
        self.gate.applied()
    }

    /// The live entries that `reach` reaches now.
    pub fn find(&self, reach: &Reach) -> Vec<Arc<Entry>> {
        self.gate.find(reach)
    }

    /// Whether `author` is not to be served this entry, which a soft invalidation has reached: he may have overwritten it.
    pub fn is_overwritten(&self, entry: &Entry, author: impl FnOnce() -> Author) -> bool {
        self.gate.softened_since(entry.position(), author) && !fault::is(Fault::AuthorServedStale)
    }

    /// The live entry of this name; it is searched for among all.
    pub fn entry(&self, id: EntryId) -> Option<Arc<Entry>> {
        self.memory.entries().find(|entry| entry.id() == id && !entry.is_dead())
    }

    /// How many live entries carry `tag`.
    pub fn count(&self, tag: &Tag) -> usize {
        self.gate.count(tag)
    }

    /// At most `limit` live entries in the order of their names, beginning behind `after`. It looks at all that is kept, but
    /// holds nobody up meanwhile.
    pub fn list(&self, after: Option<EntryId>, limit: usize) -> Vec<Arc<Entry>> {
        let wanted = |entry: &Arc<Entry>| !entry.is_dead() && after.is_none_or(|after| entry.id() > after);
        let mut first = BTreeMap::new();
        for entry in self.memory.entries().filter(wanted) {
            first.insert(entry.id(), entry);
            if first.len() > limit {
                first.pop_last();
            }
        }
        first.into_values().collect()
    }

    /// The longest `settle` of a route: what a write outdated is remembered for so long.
    pub fn settle_within(&self, longest: Duration) {
        self.gate.settle_within(longest);
    }

    /// Floors that are kept: what fills in flight are held against.
    pub fn floors(&self) -> usize {
        self.gate.floors()
    }

    /// Live entries, and the bytes that they take. `now` is monotonic.
    pub fn size(&self, now: Duration) -> (u64, u64) {
        self.memory.catch_up();
        self.gate.size(now)
    }

    /// How much of what memory may hold is used, from 0: of the nearer of the two limits, if there are two.
    pub fn used(&self) -> f64 {
        self.memory.catch_up();
        self.memory.used()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::policy::{PartLength, RequestHead, ResponseTimes, Rule, Sharing, partial};
    use crate::store::entry::tests::candidate;
    use crate::store::memory::Stage;
    use http::{HeaderMap, Method};
    use std::time::SystemTime;

    fn store() -> Store {
        Store::new(&Settings { memory: 1 << 20, entries: None }, Arc::new(Metrics::new(&[])))
    }

    fn outdate(store: &Store, tag: Tag) {
        store.outdate(&Outdate { reach: Reach::of([tag]), ..Outdate::default() }, Duration::ZERO);
    }

    fn answer(tags: Vec<Tag>) -> Candidate {
        candidate("k", tags, &HeaderMap::new(), "body")
    }

    /// The first four of ten bytes.
    fn part() -> Candidate {
        let (now, none) = (Clock::manual(SystemTime::UNIX_EPOCH).now(), HeaderMap::new());
        let request = RequestHead { method: &Method::GET, headers: &none, body_keyed: false };
        let mut headers = HeaderMap::new();
        headers.insert("content-range", "bytes 0-3/10".parse().unwrap());
        headers.insert("cache-control", "max-age=60".parse().unwrap());
        let times = ResponseTimes { requested: now, received: now };
        let storable = partial::may_store(&request, Sharing::Shared, &headers, &Rule::default(), times);
        let storable = partial::measured(storable.unwrap(), 4, PartLength::Checked).unwrap();
        Candidate { storable, ..answer(vec![Tag::named("t")]) }
    }

    fn whole(store: &Store) -> Found {
        store.lookup(b"k", |_| true, Duration::ZERO)
    }

    #[test]
    fn a_part_is_found_by_who_asks_for_parts_until_it_is_dead() {
        let store = store();
        let entry = store.fill(&store.ticket(Duration::ZERO), part()).unwrap();
        assert_eq!(store.part(b"k", |_| true, Duration::ZERO).unwrap().id(), entry.id());
        assert!(store.part(b"k", |_| false, Duration::ZERO).is_none());
        assert!(matches!(whole(&store), Found::Nothing));
        entry.kill();
        assert!(store.part(b"k", |_| true, Duration::ZERO).is_none());
    }

    #[test]
    fn an_entry_that_memory_lets_go_is_dead_and_stands_in_for_nothing() {
        let store = Store::new(&Settings { memory: 4 << 10, entries: None }, Arc::new(Metrics::new(&[])));
        let kept: Vec<_> = (0..32)
            .map(|n| {
                let candidate = candidate(&format!("k{n}"), vec![], &HeaderMap::new(), "body");
                store.fill(&store.ticket(Duration::ZERO), candidate).unwrap()
            })
            .collect();
        let (entries, _) = store.size(Duration::ZERO);
        assert!(entries < 32);
        assert_eq!(kept.iter().filter(|entry| !entry.is_dead()).count() as u64, entries);
    }

    #[test]
    fn an_entry_whose_place_another_takes_is_dead() {
        let store = store();
        let older = store.fill(&store.ticket(Duration::ZERO), answer(vec![])).unwrap();
        let newer = store.fill(&store.ticket(Duration::ZERO), answer(vec![])).unwrap();
        assert!(older.is_dead() && !newer.is_dead());
    }

    #[test]
    fn what_was_softened_is_found_and_kept_from_who_wrote_only() {
        let store = store();
        let (mine, other) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        store.fill(&store.ticket(Duration::ZERO), answer(vec![Tag::named("t")])).unwrap();
        let author = Some(Author::Address(mine));
        let reach = Reach::of([Tag::named("t")]);
        let soft = Outdate { reach, mode: Mode::Soft, author, ..Outdate::default() };
        assert_eq!(store.outdate(&soft, Duration::from_secs(7)).reached.len(), 1);
        let Found::Entry(entry) = whole(&store) else { panic!("it is kept") };
        assert_eq!(entry.softened(), Some(Duration::from_secs(7)));
        assert!(store.is_overwritten(&entry, || Author::Address(mine)));
        assert!(!store.is_overwritten(&entry, || Author::Address(other)));
    }

    #[test]
    fn only_a_whole_makes_the_key_worth_waiting_for_again() {
        let (store, key) = (store(), Key::from_bytes(b"k"));
        store.remember_uncacheable(&key, Duration::from_secs(1));
        store.fill(&store.ticket(Duration::ZERO), part()).unwrap();
        assert!(matches!(whole(&store), Found::Uncacheable));
        store.fill(&store.ticket(Duration::ZERO), answer(vec![])).unwrap();
        outdate(&store, Tag::named("t"));
        assert!(matches!(whole(&store), Found::Entry(_)));
        assert!(store.part(b"k", |_| true, Duration::ZERO).is_none(), "the whole took its place");
        assert!(matches!(store.lookup(b"k", |_| false, Duration::ZERO), Found::OtherVariants));
    }

    #[test]
    fn why_an_answer_was_not_kept_is_known_until_one_is() {
        let (store, key) = (store(), Key::from_bytes(b"k"));
        let refusal = Refusal { why: "set-cookie", at: Duration::ZERO, stage: Stage::AtItsHead };
        assert_eq!(store.refusal(b"k"), None);
        store.remember_refusal(&key, refusal);
        assert!(matches!(whole(&store), Found::Nothing), "it says nothing of the next one");
        store.fill(&store.ticket(Duration::ZERO), part()).unwrap();
        assert_eq!(store.refusal(b"k"), Some(refusal));
        store.fill(&store.ticket(Duration::ZERO), answer(vec![])).unwrap();
        assert_eq!(store.refusal(b"k"), None);
        assert_eq!(store.variants(b"k").len(), 1);
    }

    #[test]
    fn what_holds_older_bytes_is_refused_by_whatever_outdated_them() {
        let (both, older_only) = (Tag::named("both"), Tag::named("older"));
        for outdated in [&both, &older_only] {
            let store = store();
            let first = store.ticket(Duration::ZERO);
            let older = store.fill(&first, answer(vec![both.clone(), older_only.clone()])).unwrap();
            let newer = || answer(vec![both.clone()]);
            assert!(store.fill_with(&store.ticket(Duration::ZERO), newer(), &older).is_ok());
            outdate(&store, outdated.clone());
            let second = store.ticket(Duration::ZERO);
            assert!(store.fill(&second, newer()).is_ok(), "alone it is new enough");
            assert!(store.fill_with(&second, newer(), &older).is_err());
        }
    }

    #[test]
    fn a_part_on_which_nothing_can_be_built_any_more_is_not_found_again() {
        let store = store();
        let older = store.fill(&store.ticket(Duration::ZERO), part()).unwrap();
        let ticket = store.ticket(Duration::ZERO);
        for n in 0..=position::MAX_FLOORS {
            outdate(&store, Tag::named(&n.to_string()));
        }
        assert!(!older.is_dead());
        assert!(
            store.fill_with(&store.ticket(Duration::ZERO), part(), &older).is_err(),
            "the floor of all was raised"
        );
        assert!(store.part(b"k", |_| true, Duration::ZERO).is_none(), "or no fill would ever be kept");
        drop(ticket);
    }
}
