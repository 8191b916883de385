//! What was invalidated, by whom, and what that reached: the last of it, in the order in which it was applied.
//!
//! Invariant: at most [`MAX_RECORDS`] records with [`MAX_ITEMS`] items between them; the oldest go first. It refuses to know
//! who may read it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use thiserror::Error;
use tokio::sync::broadcast::{self, Receiver, Sender};

use crate::invalidate::event::BadEvent;
use crate::invalidate::purge;
use crate::invalidate::{Invalidator, Source};
use crate::metrics::UNMATCHED;
use crate::route::derive::Followed;
use crate::route::meet;
use crate::route::reach::{Item, Reach};
use crate::store::entry::Entry;
use crate::store::position::{Mode, Position};

/// Most invalidations that are remembered.
pub const MAX_RECORDS: usize = 10_000;

/// Most items that they name together.
pub const MAX_ITEMS: usize = 100_000;

/// Invalidations that a listener may be behind; then it misses the oldest.
pub const BEHIND: usize = 256;

/// One invalidation that was applied.
#[derive(Clone, Debug)]
pub struct Audited {
    /// Where it stands in the order.
    pub position: Position,
    /// When it was applied.
    pub at: SystemTime,
    /// Where it came from.
    pub source: Source,
    /// Who asked for it.
    pub actor: String,
    /// What its sender calls it.
    pub id: Option<String>,
    /// Removed, or made stale.
    pub mode: Mode,
    /// What was asked for, and behind it what is derived from that.
    pub reach: Reach,
    /// How many items of the reach were asked for.
    pub asked: usize,
    /// Whether that is all that is derived, or everything was outdated in its stead.
    pub followed: Followed,
    /// What it reached.
    pub entries: Tally,
}

/// Entries, and how many of them each route has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub total: u64,
    /// By route, in the order of their templates; what no route matched is `unmatched`.
    pub routes: Vec<(String, u64)>,
}

/// What of the list is asked for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Only what this would also have reached, or is reached by.
    pub tag: Option<Item>,
    /// Only what came after.
    pub since: Since,
}

/// From when on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// The oldest that is remembered.
    #[default]
    Ever,
    /// What stands behind this position; everything if that is of another epoch.
    Position(Position),
    /// What was applied then or later.
    Time(SystemTime),
}

/// Why a query is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadQuery {
    /// `tag` names nothing.
    #[error(transparent)]
    Tag(#[from] BadEvent),
    /// `since` is neither.
    #[error("`since` is a position as an answer gave it, or a time like 2026-01-31T12:00:00Z")]
    Since,
}

impl Audited {
    /// What was asked for, in words.
    pub fn items(&self) -> Vec<String> {
        words(&self.reach.items[..self.asked.min(self.reach.items.len())])
    }

    /// What is derived from it, in words.
    pub fn derived(&self) -> Vec<String> {
        words(&self.reach.items[self.asked.min(self.reach.items.len())..])
    }
}

/// Items as people write them.
pub fn words(items: &[Item]) -> Vec<String> {
    items.iter().map(Item::to_string).collect()
}

impl Tally {
    /// Counts entries.
    pub fn of(entries: &[Arc<Entry>]) -> Self {
        let mut routes = BTreeMap::<&str, u64>::new();
        for entry in entries {
            *routes.entry(entry.route().unwrap_or(UNMATCHED)).or_default() += 1;
        }
        let routes = routes.into_iter().map(|(route, count)| (route.to_owned(), count)).collect();
        Self { total: entries.len() as u64, routes }
    }
}

impl Query {
    /// Reads `?tag=` and `?since=`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(tag: Option<&str>, since: Option<&str>) -> Result<Self, BadQuery> {
        let tag = tag.filter(|tag| !tag.is_empty()).map(purge::item).transpose()?;
        let since = match since.filter(|since| !since.is_empty()) {
            None => Since::Ever,
            Some(text) => position(text)
                .map(Since::Position)
                .or_else(|| humantime::parse_rfc3339_weak(text).ok().map(Since::Time))
                .ok_or(BadQuery::Since)?,
        };
        Ok(Self { tag, since })
    }

    fn matches(&self, audited: &Audited) -> bool {
        let since = match self.since {
            Since::Ever => true,
            Since::Position(position) => {
                audited.position.epoch != position.epoch || audited.position.n > position.n
            }
            Since::Time(time) => audited.at >= time,
        };
        since
            && self
                .tag
                .as_ref()
                .is_none_or(|tag| audited.reach.items.iter().any(|item| meet::items(tag, item)))
    }
}

/// As `Display` writes it: the epoch in hexadecimal, `-`, the place.
fn position(text: &str) -> Option<Position> {
    let (epoch, n) = text.split_once('-')?;
    Some(Position { epoch: u64::from_str_radix(epoch, 16).ok()?, n: n.parse().ok()? })
}

/// The list.
#[derive(Debug)]
pub(in crate::invalidate) struct Audit {
    ring: Mutex<Ring>,
    /// Whoever looks on. Nobody who applies waits for them.
    told: Sender<Arc<Audited>>,
}

impl Default for Audit {
    fn default() -> Self {
        Self { ring: Mutex::default(), told: broadcast::channel(BEHIND).0 }
    }
}

impl Invalidator {
    /// Hears of what is applied from now on, in about the order of application.
    pub fn listen(&self) -> Receiver<Arc<Audited>> {
        self.0.audit.told.subscribe()
    }
}

#[derive(Debug, Default)]
struct Ring {
    records: VecDeque<Arc<Audited>>,
    items: usize,
}

impl Audit {
    /// Puts what was applied together into its place, in one step: who reads on from that place misses none of it.
    pub(in crate::invalidate) fn add(&self, together: impl IntoIterator<Item = Audited>) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        for audited in together.into_iter().map(Arc::new) {
            let _nobody_listens = self.told.send(Arc::clone(&audited));
            ring.items += audited.reach.items.len();
            // Who applied first may come here second.
            let behind =
                ring.records.iter().rev().take_while(|known| known.position.n > audited.position.n).count();
            let place = ring.records.len() - behind;
            ring.records.insert(place, audited);
        }
        while ring.records.len() > MAX_RECORDS || (ring.items > MAX_ITEMS && ring.records.len() > 1) {
            let gone = ring.records.pop_front();
            ring.items -= gone.map_or(0, |gone| gone.reach.items.len());
        }
    }

    /// What a query asks for, the oldest first.
    pub(in crate::invalidate) fn find(&self, query: &Query) -> Vec<Arc<Audited>> {
        let records = self.ring.lock().unwrap_or_else(PoisonError::into_inner).records.clone();
        records.into_iter().filter(|audited| query.matches(audited)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn audited(n: u64, words: &str) -> Audited {
        Audited {
            position: Position { epoch: 0, n },
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(n),
            source: Source::Admin,
            actor: "ci".into(),
            id: None,
            mode: Mode::Hard,
            reach: purge::of_words(words, &crate::invalidate::event::Names::default()).unwrap(),
            asked: 1,
            followed: Followed::All,
            entries: Tally::default(),
        }
    }

    fn places(audit: &Audit, tag: Option<&str>, since: Option<&str>) -> Vec<u64> {
        let found = audit.find(&Query::parse(tag, since).unwrap());
        found.iter().map(|audited| audited.position.n).collect()
    }

    #[test]
    fn the_list_is_in_the_order_of_application_whoever_came_first() {
        let audit = Audit::default();
        for n in [2, 1, 4, 3] {
            audit.add([audited(n, "a")]);
        }
        assert_eq!(places(&audit, None, None), [1, 2, 3, 4]);
        assert_eq!(places(&audit, None, Some("0-2")), [3, 4]);
        assert_eq!(places(&audit, None, Some("9-2")), [1, 2, 3, 4], "another epoch");
        assert_eq!(places(&audit, None, Some("1970-01-01T00:00:03Z")), [3, 4]);
        assert_eq!(Query::parse(None, Some("yesterday")).unwrap_err(), BadQuery::Since);
    }

    #[test]
    fn a_tag_finds_what_invalidated_it_and_a_pattern_what_it_may_share_with_others() {
        let audit = Audit::default();
        let words = ["project:42", "project:*", "projects", "/api/stats", "/api/*", "/x/{id}/y"];
        for (n, word) in (1..).zip(words) {
            audit.add([audited(n, word)]);
        }
        audit.add([Audited { reach: Reach::all(), ..audited(7, "a") }]);
        for (tag, found) in [
            ("project:42", &[1, 2, 7][..]),
            ("project:*", &[1, 2, 7]),
            ("projects", &[3, 7]),
            ("/api/stats", &[4, 5, 7]),
            ("//h/api/stats", &[4, 5, 7]),
            ("/{a}/{b}", &[4, 5, 6, 7]),
            ("/x/1/y", &[6, 7]),
        ] {
            assert_eq!(places(&audit, Some(tag), None), found, "{tag}");
        }
    }

    #[test]
    fn the_list_is_bounded_in_records_and_in_items() {
        let audit = Audit::default();
        for n in 0..MAX_RECORDS as u64 + 5 {
            audit.add([audited(n, "a")]);
        }
        let all = places(&audit, None, None);
        assert_eq!((all.len(), all[0]), (MAX_RECORDS, 5));
        let many: String = (0..purge::MAX_ITEMS).map(|n| format!("t{n} ")).collect();
        let large = audited(20_000, &many);
        for n in 0..20 {
            audit.add([Audited { position: Position { epoch: 0, n: 20_000 + n }, ..large.clone() }]);
        }
        assert_eq!(places(&audit, None, None).len(), MAX_ITEMS / purge::MAX_ITEMS);
    }
}
