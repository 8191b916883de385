//! The promise under random interleavings of the real gate, floors, index, tickets and flights, step by step, against a
//! model that knows what was committed and acknowledged when.
//!
//! An origin has resources with versions; a body holds the versions of what its key depends on. Every step that the real
//! parts do under one lock is one step here, and which actor takes the next one is drawn by lot:
//!
//! ```text
//! writer   commit ─ raise ─ slice … slice ─ acknowledged         late one: raise ─ … ─ acknowledged ─ commit, while it is held
//! reader   arrive ─ look up ─┬ served (fresh, or stale if softened by others)
//!                            ├ join, wait ─ check ─ served, or again
//!                            └ fly: found meanwhile ─ ticket ─ the origin reads ─ its head comes ─ store and land ─ leave
//! evictor  something leaves memory           time   moves on, but not past the end of what a late commit is held for
//! ```
//! Writers sweep side by side, and each is acknowledged when its own sweep is done. What a late one commits is promised to
//! whoever comes after the end of its hold.
//!
//! It is worth something only if it catches what it is for: each of [`Fault`] is planted into the actors in turn.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;

use crate::flow::arriving::Whence;
use crate::flow::coalesce::{Departure, Flight, Flights, Lost, Role};
use crate::route::key::Key;
use crate::route::reach::{Gaps, Item, Paths, Reach};
use crate::route::tag::Tag;
use crate::store::author::Author;
use crate::store::entry::{Entry, tests as entry};
use crate::store::position::{Arrival, Gate, Hold, Mode, Outdate};
use crate::store::sweep::Sweep;
use crate::store::tag_index::Progress;

const RESOURCES: usize = 3;
const SETTLE: Duration = Duration::from_millis(50);

/// What each key depends on besides its path.
const KEYS: [&[usize]; 3] = [&[0], &[0, 1], &[1, 2]];

type Versions = [u8; RESOURCES];
type Landing = (Arc<Entry>, Whence);

/// What the actors may do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    TicketAfterTheOriginWasAsked,
    GateSkipped,
    WaiterNotCheckedAgain,
    DeadEntryServed,
    DeadEntryConfirmed,
    BuiltOnWhatIsBeingSwept,
    SoftenedEntryConfirmedByDate,
    OwnWriteServedStale,
    EvictedEntryStaysIndexed,
    SettlingIgnored,
    EndOfAHoldIgnored,
    AcknowledgedBeforeItWasSwept,
    AcknowledgedBeforeTheFloor,
}

/// What all stories have in common.
struct Stage {
    any: Arc<Entry>,
    tags: Arc<[Vec<Tag>; 3]>,
}

impl Stage {
    fn set() -> Self {
        Self { any: Arc::new(entry::entry("k", vec![])), tags: Arc::new(std::array::from_fn(tags)) }
    }
}

struct World {
    gate: Arc<Gate>,
    flights: Arc<Flights<Landing>>,
    memory: HashMap<usize, Arc<Entry>>,
    now: Duration,
    /// Time stands still at the end of these until their late commits are done.
    late: Vec<Duration>,
    /// What they committed, promised from these times on.
    held: Vec<(Duration, Versions)>,
    committed: Versions,
    /// What whoever arrives now must not get older than, once hard invalidations are acknowledged.
    hard: Versions,
    /// The same for authors of soft ones.
    own: HashMap<Author, Versions>,
    fault: Option<Fault>,
    any: Arc<Entry>,
    tags: Arc<[Vec<Tag>; 3]>,
    /// Readers ask for so many keys; with one they all meet.
    readers_keys: usize,
    lots: u64,
}

enum Actor {
    Writer(Writer),
    Reader(Reader),
    Evictor,
    Time,
}

struct Writer {
    item: Item,
    mode: Mode,
    author: Author,
    is_late: bool,
    hold: Hold,
    at: Writing,
}

enum Writing {
    Before,
    Committed(Versions),
    Sweeping(Versions, Box<Sweep>, Duration),
    Acknowledged(Vec<Arc<Entry>>, Duration),
    CommitsLate(Duration),
}

struct Reader {
    key: usize,
    who: Author,
    /// Fresh ones are validated too: their own life has ended.
    validates: bool,
    /// Whether the origin knows entity tags, or only dates.
    by_date: bool,
    arrived: Option<(Arrival, Versions)>,
    base: Option<Arc<Entry>>,
    at: Reading,
    rounds: usize,
}

enum Reading {
    Begun,
    Asks,
    Waits(Arc<Flight<Landing>>),
    OnTheGround(Departure<Landing>),
    Found(Departure<Landing>, Arc<Entry>),
    InTheAir(Departure<Landing>, Option<Arc<Entry>>, bool),
    Told(Departure<Landing>, Versions, Option<Arc<Entry>>),
    Answered(Departure<Landing>, Versions, Option<Arc<Entry>>),
    Kept(Departure<Landing>, Arc<Entry>, bool, Whence),
    Leaves(#[allow(dead_code, reason = "held until the next step")] Departure<Landing>),
}

enum Step {
    Goes(Actor),
    Ends,
}

fn tags(key: usize) -> Vec<Tag> {
    let named = KEYS[key].iter().map(|resource| Tag::named(&format!("r:{resource}")));
    named.chain([path(key)]).collect()
}

fn path(key: usize) -> Tag {
    Tag::path("h", &format!("/k/{key}"))
}

fn key(key: usize) -> Key {
    Key::from_bytes(&[u8::try_from(key).unwrap()])
}

fn author(n: u64) -> Author {
    Author::Address(std::net::Ipv4Addr::new(127, 0, 0, u8::try_from(n).unwrap()).into())
}

fn versions(entry: &Entry) -> Versions {
    entry.response.body[..].try_into().unwrap()
}

/// Whether every version that `key` depends on is as new as asked for.
fn is_new_enough(key: usize, given: Versions, asked: Versions) -> bool {
    KEYS[key].iter().all(|resource| given[*resource] >= asked[*resource])
}

impl World {
    fn new(seed: u64, fault: Option<Fault>, stage: &Stage) -> Self {
        let gate = Arc::new(Gate::new(7));
        gate.settle_within(SETTLE);
        Self {
            gate,
            flights: Arc::default(),
            memory: HashMap::new(),
            now: Duration::from_secs(1),
            late: Vec::new(),
            held: Vec::new(),
            committed: [0; RESOURCES],
            hard: [0; RESOURCES],
            own: HashMap::new(),
            fault,
            any: Arc::clone(&stage.any),
            tags: Arc::clone(&stage.tags),
            readers_keys: if seed.is_multiple_of(2) { KEYS.len() } else { 1 },
            lots: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        }
    }

    /// SplitMix64: the same seed is the same story everywhere.
    fn below(&mut self, end: usize) -> usize {
        self.lots = self.lots.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.lots ^ (self.lots >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn writer(&mut self) -> Actor {
        let resource = self.below(RESOURCES);
        let item = match self.below(6) {
            0 => Item::Tags(Gaps::parse("r:*")),
            1 => Item::Paths { host: None, paths: Paths::below("/k") },
            2 => Item::Tag(path(self.below(KEYS.len()))),
            3 => Item::All,
            _ => Item::Tag(Tag::named(&format!("r:{resource}"))),
        };
        let is_late = self.one_in(4);
        // Under a soft one nobody but the author is promised anything; a late commit is promised to nobody.
        let mode = if !is_late && self.one_in(2) { Mode::Soft } else { Mode::Hard };
        let author = author(self.below(3) as u64);
        let hold = match (is_late, self.one_in(2)) {
            (false, _) => Hold::None,
            (true, false) => Hold::Settle,
            (true, true) => Hold::For(SETTLE),
        };
        Actor::Writer(Writer { item, mode, author, is_late, hold, at: Writing::Before })
    }

    fn reader(&mut self) -> Actor {
        let among = self.readers_keys;
        let key = self.below(among);
        Actor::Reader(Reader {
            key,
            who: author(self.below(3) as u64),
            validates: self.one_in(3),
            by_date: self.one_in(2),
            arrived: None,
            base: None,
            at: Reading::Begun,
            rounds: 0,
        })
    }

    /// Commits what `item` covers, as far as that is all that a key of it depends on.
    fn commit(&mut self, item: &Item) -> Versions {
        for resource in 0..RESOURCES {
            let named = Tag::named(&format!("r:{resource}"));
            let by_path =
                || (0..KEYS.len()).all(|key| !KEYS[key].contains(&resource) || item.covers(&path(key)));
            if item.covers(&named) || by_path() {
                self.committed[resource] += 1;
            }
        }
        let covered = |resource: usize| item.covers(&Tag::named(&format!("r:{resource}")));
        std::array::from_fn(|n| {
            let by_path = (0..KEYS.len()).all(|key| !KEYS[key].contains(&n) || item.covers(&path(key)));
            if covered(n) || by_path { self.committed[n] } else { 0 }
        })
    }

    fn acknowledge(&mut self, writer: &Writer, written: Versions) {
        let promised = match writer.mode {
            Mode::Hard => &mut self.hard,
            Mode::Soft => self.own.entry(writer.author).or_default(),
        };
        promised.iter_mut().zip(written).for_each(|(known, new)| *known = (*known).max(new));
    }

    fn write(&mut self, mut writer: Writer) -> Result<Step, String> {
        writer.at = match std::mem::replace(&mut writer.at, Writing::Before) {
            Writing::Before if !writer.is_late => {
                let written = self.commit(&writer.item);
                if self.has(Fault::AcknowledgedBeforeTheFloor) {
                    self.acknowledge(&writer, written);
                }
                Writing::Committed(written)
            }
            Writing::Before => self.raise(&writer, [0; RESOURCES]),
            Writing::Committed(written) => self.raise(&writer, written),
            Writing::Sweeping(written, mut sweep, end) => match self.gate.sweep(&mut sweep) {
                Progress::More => Writing::Sweeping(written, sweep, end),
                Progress::Done => {
                    self.acknowledge(&writer, written);
                    Writing::Acknowledged(sweep.into_reached(), end)
                }
            },
            Writing::Acknowledged(reached, end) => {
                let is_buried =
                    |kept: &Entry| kept.is_dead() && reached.iter().any(|dead| dead.id() == kept.id());
                self.memory.retain(|_, kept| !is_buried(kept));
                if !writer.is_late {
                    return Ok(Step::Ends);
                }
                Writing::CommitsLate(end)
            }
            Writing::CommitsLate(end) => {
                let written = self.commit(&writer.item);
                self.held.push((end, written));
                let at = self.late.iter().position(|late| *late == end).unwrap();
                self.late.swap_remove(at);
                return Ok(Step::Ends);
            }
        };
        Ok(Step::Goes(Actor::Writer(writer)))
    }

    fn raise(&mut self, writer: &Writer, written: Versions) -> Writing {
        let end = self.now + SETTLE;
        if writer.is_late {
            self.late.push(end);
        }
        let (reach, author) = (Reach { items: vec![writer.item.clone()] }, Some(writer.author));
        let (mode, hold) = (writer.mode, writer.hold);
        let sweep = self.gate.raise(&Outdate { reach, mode, hold, author }, self.now);
        if self.has(Fault::AcknowledgedBeforeItWasSwept) {
            self.acknowledge(writer, written);
        }
        Writing::Sweeping(written, Box::new(sweep), end)
    }

    fn read(&mut self, mut reader: Reader) -> Result<Step, String> {
        let state = std::mem::replace(&mut reader.at, Reading::Begun);
        match state {
            Reading::Begun => {
                if reader.arrived.is_none() {
                    reader.arrived = Some(self.arrival(reader.who));
                }
                if let Some(served) = self.look_up(&mut reader)? {
                    return Ok(served);
                }
                reader.at = Reading::Asks;
            }
            Reading::Asks => {
                let (arrival, _) = reader.arrived.expect("he has come");
                match self.flights.join(&key(reader.key), &[path(reader.key)], arrival, |(entry, whence)| {
                    whence.holds(entry, arrival)
                }) {
                    Role::Pilot(departure) => reader.at = Reading::OnTheGround(departure),
                    Role::Passenger(flight) => reader.at = Reading::Waits(flight),
                }
            }
            Reading::Waits(flight) => return self.wait(reader, flight),
            Reading::OnTheGround(mut departure) => {
                if departure.cleared().now_or_never().is_none() {
                    reader.at = Reading::OnTheGround(departure);
                } else if let Some(found) = self.stored_meanwhile(&reader) {
                    reader.at = Reading::Found(departure, found);
                } else if self.has(Fault::TicketAfterTheOriginWasAsked) {
                    reader.at = Reading::Answered(departure, self.committed, None);
                } else {
                    departure.depart(self.gate.ticket(self.now));
                    let base = self.base(&reader);
                    let proves = base.as_ref().is_some_and(|base| self.proves_by_date(base));
                    reader.at = Reading::InTheAir(departure, base, proves);
                }
            }
            Reading::Found(departure, found) => {
                departure.land((found, Whence::Found));
                let flight = departure.flight();
                drop(departure);
                return self.wait(reader, flight);
            }
            Reading::InTheAir(..) if self.one_in(8) => return self.stand_in(reader),
            Reading::InTheAir(departure, base, by_date) => {
                let read = self.committed;
                // What the origin confirms by its date may have changed within the second.
                let confirmed = base.filter(|base| versions(base) == read || (reader.by_date && by_date));
                reader.at = Reading::Told(departure, confirmed.as_deref().map_or(read, versions), confirmed);
            }
            Reading::Told(departure, body, confirmed) => {
                departure.learn(self.tags[reader.key].clone(), self.one_in(2));
                reader.at = Reading::Answered(departure, body, confirmed);
            }
            Reading::Answered(departure, body, confirmed) => {
                if self.has(Fault::TicketAfterTheOriginWasAsked) {
                    departure.depart(self.gate.ticket(self.now));
                }
                let (entry, is_admitted) = self.admit(&reader, &departure, body);
                let whence = if confirmed.is_some() {
                    Whence::Confirmed(http::StatusCode::NOT_MODIFIED)
                } else {
                    Whence::Fetched
                };
                reader.at = Reading::Kept(departure, entry, is_admitted, whence);
            }
            Reading::Kept(departure, entry, is_admitted, whence) => {
                if is_admitted && let Some(replaced) = self.memory.insert(reader.key, Arc::clone(&entry)) {
                    self.gate.forget(&replaced);
                }
                self.serve(&reader, versions(&entry), "flew")?;
                departure.land((entry, whence));
                reader.at = Reading::Leaves(departure);
            }
            Reading::Leaves(_) => return Ok(Step::Ends),
        }
        Ok(Step::Goes(Actor::Reader(reader)))
    }

    /// When he comes, and what he must not get anything older than.
    fn arrival(&self, who: Author) -> (Arrival, Versions) {
        let own = self.own.get(&who).copied().unwrap_or_default();
        let held = self.held.iter().filter(|(end, _)| *end <= self.now).map(|(_, written)| *written);
        let promised = held.chain([self.hard, own]);
        let asked = promised.fold([0; RESOURCES], |all, each| std::array::from_fn(|n| all[n].max(each[n])));
        let arrival = self.gate.arrival(self.now);
        if self.has(Fault::EndOfAHoldIgnored) {
            return (Arrival { at: Duration::ZERO, ..arrival }, asked);
        }
        (arrival, asked)
    }

    fn look_up(&mut self, reader: &mut Reader) -> Result<Option<Step>, String> {
        let found = self.memory.get(&reader.key).cloned();
        let alive = |entry: &Arc<Entry>| self.has(Fault::DeadEntryServed) || !entry.is_dead();
        let Some(entry) = found.filter(alive) else { return Ok(None) };
        let overwritten = || {
            !self.has(Fault::OwnWriteServedStale) && self.gate.softened_since(entry.position(), || reader.who)
        };
        if reader.validates || (entry.softened().is_some() && overwritten()) {
            reader.base = Some(entry);
            return Ok(None);
        }
        self.serve(reader, versions(&entry), "hit")?;
        Ok(Some(Step::Ends))
    }

    fn stored_meanwhile(&self, reader: &Reader) -> Option<Arc<Entry>> {
        let found = self.memory.get(&reader.key).filter(|_| reader.base.is_none())?;
        (!found.is_dead() && found.softened().is_none()).then(|| Arc::clone(found))
    }

    /// What the origin is asked to confirm, as it is now that the ticket is there.
    fn base(&self, reader: &Reader) -> Option<Arc<Entry>> {
        let is_sound = |base: &&Arc<Entry>| match self.fault {
            Some(Fault::DeadEntryConfirmed) => true,
            Some(Fault::BuiltOnWhatIsBeingSwept) => !base.is_dead(),
            _ => self.gate.may_build_on(base),
        };
        reader.base.as_ref().filter(is_sound).map(Arc::clone)
    }

    fn proves_by_date(&self, base: &Entry) -> bool {
        base.softened().is_none() || self.has(Fault::SoftenedEntryConfirmedByDate)
    }

    fn wait(&mut self, mut reader: Reader, flight: Arc<Flight<Landing>>) -> Result<Step, String> {
        let (arrival, _) = reader.arrived.unwrap();
        match flight.landing().now_or_never() {
            None => reader.at = Reading::Waits(flight),
            Some(Ok((entry, whence)))
                if self.has(Fault::WaiterNotCheckedAgain)
                    || (flight.check_for(arrival).is_ok() && whence.holds(&entry, arrival)) =>
            {
                self.serve(&reader, versions(&entry), "waited")?;
                return Ok(Step::Ends);
            }
            Some(Ok(_) | Err(Lost)) => reader.rounds += 1,
        }
        if reader.rounds > 20 {
            Err("goes round for ever".into())
        } else {
            Ok(Step::Goes(Actor::Reader(reader)))
        }
    }

    /// The origin fails; what is known may stand in.
    fn stand_in(&mut self, reader: Reader) -> Result<Step, String> {
        let base =
            reader.base.as_ref().filter(|base| !base.is_dead() && !self.is_overwritten(base, reader.who));
        base.map_or(Ok(()), |base| self.serve(&reader, versions(base), "stood in"))?;
        Ok(Step::Ends)
    }

    fn is_overwritten(&self, entry: &Entry, who: Author) -> bool {
        entry.softened().is_some()
            && !self.has(Fault::OwnWriteServedStale)
            && self.gate.softened_since(entry.position(), || who)
    }

    fn admit(&self, reader: &Reader, departure: &Departure<Landing>, body: Versions) -> (Arc<Entry>, bool) {
        let flight = departure.flight();
        let ticket = flight.ticket().unwrap();
        let body = Bytes::copy_from_slice(&body);
        let mut entry =
            Arc::new(entry::like(&self.any, self.tags[reader.key].clone(), ticket.position(), body));
        let settle = if self.has(Fault::SettlingIgnored) { Duration::ZERO } else { SETTLE };
        let is_admitted =
            self.has(Fault::GateSkipped) || self.gate.admit(&mut entry, ticket.begun(), settle).is_ok();
        (entry, is_admitted)
    }

    fn serve(&self, reader: &Reader, body: Versions, how: &str) -> Result<(), String> {
        let (arrival, asked) = reader.arrived.unwrap();
        if is_new_enough(reader.key, body, asked) {
            return Ok(());
        }
        Err(format!("{how}: key {} got {body:?} at {arrival:?}, and {asked:?} was acknowledged", reader.key))
    }

    fn evict(&mut self) {
        let key = self.below(KEYS.len());
        if let Some(entry) = self.memory.remove(&key)
            && !self.has(Fault::EvictedEntryStaysIndexed)
        {
            self.gate.forget(&entry);
        }
    }

    fn pass_time(&mut self) {
        let next = self.now + Duration::from_millis(20);
        if self.late.iter().all(|end| next < *end) {
            self.now = next;
        }
    }

    /// When everybody has gone nothing outdated is left, and nothing is remembered of it.
    fn end(mut self) -> Result<(), String> {
        for (key, entry) in &self.memory {
            let sound = !entry.is_dead() && entry.softened().is_none();
            if sound && !is_new_enough(*key, versions(entry), self.committed) {
                return Err(format!("key {key} is kept as {:?} of {:?}", versions(entry), self.committed));
            }
        }
        for entry in self.memory.values() {
            self.gate.forget(entry);
        }
        self.memory.clear();
        let left = (self.gate.size(self.now + SETTLE), self.gate.floors(), self.gate.authors());
        if self.flights.is_empty() && left == ((0, 0), 0, 0) {
            Ok(())
        } else {
            Err(format!("left: {left:?}"))
        }
    }
}

fn play(seed: u64, fault: Option<Fault>, stage: &Stage) -> Result<(), String> {
    let mut world = World::new(seed, fault, stage);
    let mut actors: Vec<Actor> = Vec::new();
    for _ in 0..1 + world.below(3) {
        actors.push(world.writer());
    }
    for _ in 0..2 + world.below(4) {
        actors.push(world.reader());
    }
    actors.push(Actor::Evictor);
    actors.extend((0..4).map(|_| Actor::Time));
    for step in 0.. {
        if actors.is_empty() {
            break;
        }
        if step > 2_000 {
            return Err("somebody waits for ever".into());
        }
        let turn = world.below(actors.len());
        let next = match actors.swap_remove(turn) {
            Actor::Writer(writer) => world.write(writer)?,
            Actor::Reader(reader) => world.read(reader)?,
            Actor::Evictor => {
                world.evict();
                Step::Ends
            }
            Actor::Time => {
                world.pass_time();
                Step::Ends
            }
        };
        if let Step::Goes(actor) = next {
            actors.push(actor);
        }
    }
    world.end()
}

#[test]
fn no_interleaving_serves_or_leaves_what_was_outdated() {
    let stage = Stage::set();
    for seed in 0..100_000 {
        if let Err(why) = play(seed, None, &stage) {
            panic!("seed {seed}: {why}");
        }
    }
}

#[test]
fn every_planted_fault_is_caught() {
    let stage = Stage::set();
    for fault in [
        Fault::TicketAfterTheOriginWasAsked,
        Fault::GateSkipped,
        Fault::WaiterNotCheckedAgain,
        Fault::DeadEntryServed,
        Fault::DeadEntryConfirmed,
        Fault::BuiltOnWhatIsBeingSwept,
        Fault::SoftenedEntryConfirmedByDate,
        Fault::OwnWriteServedStale,
        Fault::EvictedEntryStaysIndexed,
        Fault::SettlingIgnored,
        Fault::EndOfAHoldIgnored,
        Fault::AcknowledgedBeforeItWasSwept,
        Fault::AcknowledgedBeforeTheFloor,
    ] {
        let caught = (0..400_000).find(|seed| play(*seed, Some(fault), &stage).is_err());
        assert!(caught.is_some(), "{fault:?} goes unnoticed");
    }
}
