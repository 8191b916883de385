//! What all nodes have in common: the journal's servers, the origin, what was acknowledged, and what happened so far.
//!
//! Invariant: the origin's versions only rise, and so does what was acknowledged. It refuses to know what nodes are.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::fleet::Coherence;
use crate::fleet::journal::{RETAINED, Settings};
use crate::fleet::sim::{SimJournal, SimServer};
use crate::route::key::Key;
use crate::route::reach::Item;
use crate::route::tag::Tag;
use crate::store::entry::Entry;

/// What the origin keeps.
pub(super) const RESOURCES: usize = 3;

/// What each key depends on.
pub(super) const KEYS: [&[usize]; 3] = [&[0], &[0, 1], &[1, 2]];

/// Longest time for an answer of the journal's server.
pub(super) const DEADLINE: Duration = Duration::from_millis(250);

/// Events that a failure shows.
const SHOWN: usize = 60;

/// Of each resource; later ones are larger.
pub(super) type Versions = [u16; RESOURCES];

/// The world of one story.
pub(super) struct World {
    pub(super) server: SimServer,
    pub(super) replicas: u32,
    /// Events that a failure shows: all of them where one story was asked for.
    shows: usize,
    began: Instant,
    state: Mutex<State>,
}

struct State {
    lots: u64,
    committed: Versions,
    acknowledged: Versions,
    violation: Option<String>,
    counts: Counts,
    shown: VecDeque<String>,
    digest: u64,
}

/// How often something came about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) hits: u64,
    pub(super) waited: u64,
    pub(super) fetched: u64,
    pub(super) confirmed: u64,
    pub(super) acknowledged: u64,
    pub(super) unconfirmed: u64,
}

/// How a reader came by what he was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Hit,
    Waited,
    Fetched,
    Confirmed,
}

impl World {
    pub(super) fn new(seed: u64, replicas: u32) -> Arc<Self> {
        let state = State {
            lots: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            committed: [0; RESOURCES],
            acknowledged: [0; RESOURCES],
            violation: None,
            counts: Counts::default(),
            shown: VecDeque::new(),
            digest: 0,
        };
        Arc::new(Self {
            server: SimServer::default(),
            replicas,
            shows: if std::env::var_os("LARDER_SEED").is_some() { usize::MAX } else { SHOWN },
            began: Instant::now(),
            state: Mutex::new(state),
        })
    }

    /// A node's way to the journal.
    pub(super) fn journal(&self) -> SimJournal {
        self.journal_of(RETAINED)
    }

    /// The same for somebody who keeps so many records.
    pub(super) fn journal_of(&self, retained: u64) -> SimJournal {
        let namespace = String::from("simulated");
        self.server.client(Settings {
            coherence: Coherence::Acked,
            namespace,
            replicas: self.replicas,
            deadline: DEADLINE,
            retained,
        })
    }

    /// SplitMix64: the same seed is the same story everywhere.
    pub(super) fn below(&self, end: u64) -> u64 {
        let mut state = self.state();
        state.lots = state.lots.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state.lots ^ (state.lots >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    pub(super) fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// So many milliseconds at most.
    pub(super) fn some(&self, most: u64) -> Duration {
        Duration::from_millis(self.below(most + 1))
    }

    /// Others go on, for so many milliseconds at most.
    pub(super) async fn pause(&self, most: u64) {
        let time = self.some(most);
        if time.is_zero() {
            tokio::task::yield_now().await;
        } else {
            sleep(time).await;
        }
    }

    /// What the origin answers now.
    pub(super) fn committed(&self) -> Versions {
        self.state().committed
    }

    /// The origin commits what `item` covers; gives what has to be promised for that.
    pub(super) fn commit(&self, item: &Item) -> Versions {
        let mut state = self.state();
        let covered = |resource: usize| item.covers(&tag(resource));
        (0..RESOURCES).filter(|resource| covered(*resource)).for_each(|n| state.committed[n] += 1);
        std::array::from_fn(|n| if covered(n) { state.committed[n] } else { 0 })
    }

    /// It holds everywhere from now on, says a node.
    pub(super) fn acknowledge(&self, who: &str, written: Versions) {
        self.note(|| format!("{who} acknowledges {written:?}"));
        let mut state = self.state();
        state.counts.acknowledged += 1;
        state.acknowledged.iter_mut().zip(written).for_each(|(known, new)| *known = (*known).max(new));
    }

    pub(super) fn leave_unconfirmed(&self, who: &str, written: Versions) {
        self.note(|| format!("{who} leaves {written:?} unconfirmed"));
        self.state().counts.unconfirmed += 1;
    }

    /// What whoever arrives now must not get anything older than.
    pub(super) fn acknowledged(&self) -> Versions {
        self.state().acknowledged
    }

    /// Somebody who arrived when `asked` was acknowledged is served.
    pub(super) fn judge(&self, who: &str, key: usize, (given, asked): (Versions, Versions), how: How) {
        let is_new_enough = KEYS[key].iter().all(|resource| given[*resource] >= asked[*resource]);
        self.note(|| format!("{who} serves /k/{key} {given:?} ({how:?})"));
        let mut state = self.state();
        match how {
            How::Hit => state.counts.hits += 1,
            How::Waited => state.counts.waited += 1,
            How::Fetched => state.counts.fetched += 1,
            How::Confirmed => state.counts.confirmed += 1,
        }
        if !is_new_enough && state.violation.is_none() {
            let what =
                format!("{who} served /k/{key} of {given:?} ({how:?}) to who arrived after {asked:?} held");
            state.violation = Some(what);
        }
    }

    /// Writes down what happens.
    pub(super) fn note(&self, what: impl FnOnce() -> String) {
        let line = format!("{:>6} {}", self.began.elapsed().as_millis(), what());
        let mut state = self.state();
        state.digest = line.bytes().fold(state.digest, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(5)
        });
        if state.shown.len() == self.shows {
            state.shown.pop_front();
        }
        state.shown.push_back(line);
    }

    /// What was violated first, with what came before it.
    pub(super) fn violation(&self) -> Option<String> {
        let state = self.state();
        let what = state.violation.as_ref()?;
        Some(state.told(what))
    }

    /// The last events, and what became of them.
    pub(super) fn told(&self, what: &str) -> String {
        self.state().told(what)
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts
    }

    /// The same for the same story.
    pub(super) fn digest(&self) -> u64 {
        self.state().digest
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn told(&self, what: &str) -> String {
        let lines = self.shown.iter().map(|line| format!("{line}\n"));
        format!("{what}\n{}", lines.collect::<String>())
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hits, waited, fetched, confirmed, acknowledged, unconfirmed } = self;
        write!(
            f,
            "{hits} hits, {waited} waited, {fetched} fetched, {confirmed} confirmed, {acknowledged} acknowledged, {unconfirmed} not"
        )
    }
}

/// Of one resource.
pub(super) fn tag(resource: usize) -> Tag {
    Tag::named(&format!("r:{resource}"))
}

/// The tags of an answer, which only its head names.
pub(super) fn tags(key: usize) -> Vec<Tag> {
    KEYS[key].iter().map(|resource| tag(*resource)).chain([path(key)]).collect()
}

/// The tag that is known before.
pub(super) fn path(key: usize) -> Tag {
    Tag::path("h", &format!("/k/{key}"))
}

pub(super) fn key_of(key: usize) -> Key {
    Key::from_bytes(format!("/k/{key}").as_bytes())
}

pub(super) fn body(versions: Versions) -> Bytes {
    versions.iter().flat_map(|version| version.to_be_bytes()).collect()
}

pub(super) fn versions(entry: &Entry) -> Versions {
    let body = &entry.response.body;
    std::array::from_fn(|n| u16::from_be_bytes([body[2 * n], body[2 * n + 1]]))
}
