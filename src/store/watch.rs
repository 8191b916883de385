//! Tells whoever counts what becomes of entries: that one was stored, that it was asked for, that it is gone.
//!
//! A hit does nothing but add one to its entry's counter. Who looks at the entry afterwards, and there is always somebody when
//! it goes, finds what the counter has gained, and everybody who counts is told of that once.
//!
//! Invariant: each hit is told of once, whoever looks and however many do; an entry is told of as gone once, whoever lets it go
//! first. Nobody is told on the way of a hit, with one exception that is not ours: memory makes room whenever it is touched.

use std::sync::atomic::Ordering;
use std::sync::{PoisonError, RwLock};

use crate::store::Store;
use crate::store::entry::Entry;

/// What became of an entry.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// It was stored, in place of another for the same requests perhaps: a live one that no invalidation has reached.
    Stored(&'a Entry, Option<&'a Entry>),
    /// It was asked for since it was looked at last.
    Asked(&'a Entry, Gained),
    /// It is gone.
    Gone(&'a Entry, Gone),
}

/// Who asked for an entry since it was looked at last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gained {
    /// Requests that it answered.
    pub hits: u32,
    /// The one for which it was fetched, if it was for a client.
    pub misses: u32,
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
    /// Nothing could be made of it any more.
    Expired,
    /// The origin no longer stood behind it.
    Withdrawn,
}

type Watch = Box<dyn Fn(Told<'_>) + Send + Sync>;

/// Who is told; nobody, until somebody says so.
#[derive(Default)]
pub(in crate::store) struct Watchers(RwLock<Vec<Watch>>);

impl std::fmt::Debug for Watchers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watchers")
    }
}

impl Watchers {
    pub(in crate::store) fn stored(&self, entry: &Entry, replaced: Option<&Entry>) {
        self.tell(Told::Stored(entry, replaced));
    }

    pub(in crate::store) fn gone(&self, entry: &Entry, why: Gone) {
        self.look_at(entry);
        if entry.leave() {
            self.tell(Told::Gone(entry, why));
        }
    }

    fn look_at(&self, entry: &Entry) -> Gained {
        let gained = entry.gained();
        if gained != Gained::default() {
            entry.earn(gained.hits);
            self.tell(Told::Asked(entry, gained));
        }
        gained
    }

    fn tell(&self, told: Told<'_>) {
        let watches = self.0.read().unwrap_or_else(PoisonError::into_inner);
        watches.iter().for_each(|watch| watch(told));
    }
}

impl Store {
    /// Tells `watch` what becomes of entries from now on; it must be quick, and ask nothing of the store.
    pub fn watch(&self, watch: impl Fn(Told<'_>) + Send + Sync + 'static) {
        self.watchers.0.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(watch));
    }

    /// Tells everybody who asked for `entry` since it was looked at last; gives that, too.
    pub fn look_at(&self, entry: &Entry) -> Gained {
        self.watchers.look_at(entry)
    }

    /// Tells everybody that `entry` has expired, though it may be kept to be asked about or for want of a better.
    pub fn expired(&self, entry: &Entry) {
        self.watchers.gone(entry, Gone::Expired);
    }
}

/// The whole of a life, as the share of it that had passed is remembered; 0: it was never read.
const WHOLE: f64 = 126.0;
/// What is counted of the life has ended.
const OVER: u8 = 0x80;

/// What whoever counts has seen of an entry so far.
impl Entry {
    fn gained(&self) -> Gained {
        // The counter goes round after four billion hits; who was overtaken by another look has nothing to tell.
        let all = self.hits().wrapping_add(1);
        let since = |before: u32| all.wrapping_sub(before.max(1));
        let is_later = |before: u32| before == 0 || (1..1 << 31).contains(&since(before));
        let note = |before| is_later(before).then_some(all);
        match self.looked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, note) {
            Ok(before) => Gained { hits: since(before), misses: u32::from(before == 0) },
            Err(_) => Gained::default(),
        }
    }

    /// Notes that nobody waited for it when it was fetched.
    pub fn not_asked_for(&self) {
        self.looked.fetch_max(1, Ordering::Relaxed);
    }

    /// Notes that `hits` came when between `from` and `to` of its life (0 to 1) had passed.
    ///
    /// When the last of them came nobody knows: of `n` at random times within a span it lies `n/(n+1)` of it behind its
    /// beginning in the mean, and that is remembered.
    pub fn was_read(&self, hits: u32, from: f64, to: f64) {
        if hits > 0 {
            let behind = (to - from).max(0.0) * f64::from(hits) / (f64::from(hits) + 1.0);
            let share = (from + behind).clamp(0.0, 1.0);
            let passed = (share * WHOLE) as u8 + 1;
            let note = |before| Some(passed | (before & OVER));
            let _always = self.passed.fetch_update(Ordering::SeqCst, Ordering::Relaxed, note);
        }
    }

    /// The share of its life that had passed when it was read last, as far as is known; `None`: it never was.
    pub fn read(&self) -> Option<f64> {
        let read = (self.passed.load(Ordering::Relaxed) & !OVER).checked_sub(1)?;
        Some(f64::from(read) / WHOLE)
    }

    /// Whether what is counted of its life has ended: it is gone, or was seen to have expired.
    pub fn is_over(&self) -> bool {
        self.passed.load(Ordering::SeqCst) & OVER != 0
    }

    /// Ends what is counted of its life; whether this is the first to do so.
    fn leave(&self) -> bool {
        self.passed.fetch_or(OVER, Ordering::SeqCst) & OVER == 0
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
                Told::Asked(..) => return,
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
    fn who_asked_is_told_of_once_and_the_first_of_them_had_to_fetch_it() {
        let (store, _) = watched(1 << 20);
        let (fetched, warmed) = (fill(&store, "k", "a"), fill(&store, "w", "a"));
        warmed.not_asked_for();
        assert_eq!(store.look_at(&warmed), Gained::default());
        for entry in [&fetched, &warmed] {
            (0..3).for_each(|_| entry.count_hit());
        }
        assert_eq!(store.look_at(&fetched), Gained { hits: 3, misses: 1 });
        assert_eq!(store.look_at(&warmed), Gained { hits: 3, misses: 0 });
        fetched.count_hit();
        assert_eq!(store.look_at(&fetched), Gained { hits: 1, misses: 0 });
        assert_eq!(store.look_at(&fetched), Gained::default());
        assert_eq!(fetched.hits(), 4, "the count itself is left alone");
    }

    #[test]
    fn everybody_is_told_and_the_last_hits_are_when_it_goes() {
        let (store, _) = watched(1 << 20);
        let asked = [(); 2].map(|()| Arc::new(Mutex::new(0)));
        for asked in asked.clone() {
            store.watch(move |what| {
                if let Told::Asked(_, Gained { hits, .. }) = what {
                    *asked.lock().unwrap() += hits;
                }
            });
        }
        let entry = fill(&store, "k", "a");
        entry.count_hit();
        store.look_at(&entry);
        (0..2).for_each(|_| entry.count_hit());
        store.remove(&entry);
        assert_eq!(asked.map(|asked| *asked.lock().unwrap()), [3, 3]);
    }

    #[test]
    fn when_the_last_read_came_is_guessed() {
        let (store, _) = watched(1 << 20);
        let entry = fill(&store, "k", "a");
        let near = |share: f64| entry.read().is_some_and(|read| (read - share).abs() < 1e-2);
        entry.was_read(0, 0.0, 0.1);
        assert_eq!(entry.read(), None);
        entry.was_read(1, 0.1, 0.3);
        assert!(near(0.2), "in the middle of the span");
        entry.was_read(0, 0.3, 0.5);
        assert!(near(0.2));
        entry.was_read(9, 0.5, 2.0);
        assert!(near(1.0), "nothing is read after its end");
        assert_eq!((entry.leave(), entry.leave()), (true, false));
    }
}
