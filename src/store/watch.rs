//! Tells whoever counts what becomes of entries: that one was stored, that one is gone.
//!
//! Invariant: an entry is told of as gone once, whoever lets it go first. Nobody is told on the way of a hit, with one
//! exception that is not ours: memory makes room whenever it is touched.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use crate::store::entry::Entry;

/// What became of an entry.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// It was stored, in place of another for the same requests perhaps: a live one that no invalidation has reached.
    Stored(&'a Entry, Option<&'a Entry>),
    /// It is gone.
    Gone(&'a Entry, Gone),
}

/// Why an entry is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// A hard invalidation reached it.
    Invalidated,
    /// A newer one took its place, or its key has too many variants.
    Replaced,
    /// There was no room for it.
    Evicted,
    /// The origin no longer stood behind it.
    Withdrawn,
}

type Watch = Box<dyn Fn(Told<'_>) + Send + Sync>;

/// Who is told; nobody, until somebody says so.
#[derive(Default)]
pub(in crate::store) struct Watcher(OnceLock<Watch>);

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watcher")
    }
}

impl Watcher {
    /// Tells `watch` from now on; only the first call counts.
    pub(in crate::store) fn set(&self, watch: Watch) {
        let _already_set = self.0.set(watch);
    }

    pub(in crate::store) fn stored(&self, entry: &Entry, replaced: Option<&Entry>) {
        if let Some(watch) = self.0.get() {
            watch(Told::Stored(entry, replaced));
        }
    }

    pub(in crate::store) fn gone(&self, entry: &Entry, why: Gone) {
        if let Some(watch) = self.0.get()
            && entry.leave()
        {
            watch(Told::Gone(entry, why));
        }
    }
}

/// The whole of a life, as the share of it that had passed is remembered; 0: it was never read.
const WHOLE: f64 = 65_534.0;

/// What whoever counts has seen of an entry so far.
impl Entry {
    /// How many hits are new since they were last asked for; they came when between `from` and `to` of its life (0 to 1) had
    /// passed.
    ///
    /// When the last of them came nobody knows: of `n` at random times within a span it lies `n/(n+1)` of it behind its
    /// beginning in the mean, and that is remembered.
    pub fn gained(&self, from: f64, to: f64) -> u32 {
        let hits = self.hits();
        let gained = hits.saturating_sub(self.counted.swap(hits, Ordering::Relaxed));
        if gained > 0 {
            let behind = (to - from).max(0.0) * f64::from(gained) / (f64::from(gained) + 1.0);
            let share = (from + behind).clamp(0.0, 1.0);
            self.read.store((share * WHOLE) as u16 + 1, Ordering::Relaxed);
        }
        gained
    }

    /// The share of its life that had passed when it was read last, as far as is known; `None`: it never was.
    pub fn read(&self) -> Option<f64> {
        let read = self.read.load(Ordering::Relaxed).checked_sub(1)?;
        Some(f64::from(read) / WHOLE)
    }

    /// Ends what is counted of its life; whether this is the first to do so.
    pub fn leave(&self) -> bool {
        !self.is_over.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::route::reach::Reach;
    use crate::route::tag::Tag;
    use crate::store::entry::tests::candidate;
    use crate::store::position::Outdate;
    use crate::store::{Settings, Store};
    use http::HeaderMap;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    fn watched(memory: u64) -> (Store, Arc<Mutex<Vec<String>>>) {
        let store = Store::new(&Settings { memory, entries: None }, Arc::new(Metrics::new(&[])));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&seen);
        store.watch(move |what| {
            let line = match what {
                Told::Stored(_, None) => "stored".to_owned(),
                Told::Stored(new, Some(old)) => {
                    format!(
                        "stored in place of {}",
                        if new.response.body == old.response.body { "the same" } else { "another" }
                    )
                }
                Told::Gone(_, why) => format!("{why:?}"),
            };
            told.lock().unwrap().push(line);
        });
        (store, seen)
    }

    fn fill(store: &Store, key: &str, body: &'static str) -> Arc<Entry> {
        let candidate = candidate(key, vec![Tag::named("t")], &HeaderMap::new(), body);
        store.fill(&store.ticket(Duration::ZERO), candidate).unwrap()
    }

    #[test]
    fn what_takes_the_place_of_another_is_told_with_it() {
        let (store, seen) = watched(1 << 20);
        fill(&store, "k", "a");
        fill(&store, "k", "a");
        store.remove(&fill(&store, "k", "b"));
        let told = [
            "stored",
            "stored in place of the same",
            "Replaced",
            "stored in place of another",
            "Replaced",
            "Withdrawn",
        ];
        assert_eq!(*seen.lock().unwrap(), told);
    }

    #[test]
    fn what_is_invalidated_is_told_of_once_and_is_no_ones_predecessor() {
        let (store, seen) = watched(1 << 20);
        fill(&store, "k", "a");
        store.outdate(&Outdate { reach: Reach::of([Tag::named("t")]), ..Outdate::default() }, Duration::ZERO);
        fill(&store, "k", "b");
        while store.size(Duration::ZERO).0 != 1 || seen.lock().unwrap().len() < 3 {
            std::thread::yield_now();
        }
        let mut told = seen.lock().unwrap().clone();
        told.sort();
        assert_eq!(told, ["Invalidated", "stored", "stored"]);
    }

    #[test]
    fn what_has_no_room_is_told_of() {
        let (store, seen) = watched(4 << 10);
        for n in 0..32 {
            fill(&store, &format!("k{n}"), "body");
        }
        let (left, _) = store.size(Duration::ZERO);
        let evicted = seen.lock().unwrap().iter().filter(|line| *line == "Evicted").count() as u64;
        assert_eq!(evicted, 32 - left);
    }

    #[test]
    fn only_new_hits_are_gained_and_when_the_last_of_them_came_is_guessed() {
        let (store, _) = watched(1 << 20);
        let entry = fill(&store, "k", "a");
        let near = |share: f64| entry.read().is_some_and(|read| (read - share).abs() < 1e-4);
        assert_eq!((entry.gained(0.0, 0.1), entry.read()), (0, None));
        entry.count_hit();
        assert_eq!(entry.gained(0.1, 0.3), 1);
        assert!(near(0.2), "in the middle of the span");
        assert_eq!(entry.gained(0.3, 0.5), 0);
        assert!(near(0.2));
        (0..9).for_each(|_| entry.count_hit());
        assert_eq!(entry.gained(0.5, 2.0), 9);
        assert!(near(1.0), "nothing is read after its end");
        assert_eq!((entry.leave(), entry.leave()), (true, false));
    }
}
