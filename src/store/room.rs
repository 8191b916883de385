//! Makes room before it is needed, and lets go what is of no use any more, a slice at a time, behind everybody's back.
//!
//! Two limits hold whatever happens: memory weighs an entry at least as its share of the bytes (`memory.rs`), so neither is
//! exceeded. From the high water mark on, entries are let go that are used least, down to the low one; memory itself, which
//! would do it on the way of whoever stores something, then finds nothing to do.
//!
//! A hand goes round the seats of the index. Hits are credit; whenever the hand comes by, half of it is gone, and who has none
//! left goes (CLOCK, Corbató 1968, with counts in place of a bit, as Smith's GCLOCK, 1978). It stops where enough have gone. Who
//! is new sits where the hand has just been, and has a whole round to earn some; who is read once goes before who is read often.
//!
//! | hand | others | what keeps the promise |
//! |---|---|---|
//! | takes a slice of the seats, lets the gate go | an entry of it is outdated, or replaced | it is dead, and leaves a second time without effect |
//! | lets an entry go | a reader has it in hand | he serves it: it was live when he came |
//!
//! Invariant: what is let go is dead and out of the index before it leaves memory. It refuses to know when it is called.

use std::sync::Arc;

use crate::clock::Now;
use crate::store::Store;
use crate::store::entry::Entry;
use crate::store::tag_index::Progress;
use crate::store::watch::Gone;

/// Entries that are looked at before the gate is let go, and anybody else may run.
pub const SLICE: usize = if cfg!(test) { 16 } else { 256 };
/// Rounds of the hand after which there is room, however much all are used: credit is at most [`crate::store::heat::MAX_CREDIT`].
const ROUNDS: usize = 6;

/// Shares of what memory may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Marks {
    /// From here on room is made (`limits.high`).
    pub high: f64,
    /// Down to here (`limits.low`).
    pub low: f64,
}

/// A walk around all that is kept, from where the last one ended.
#[derive(Debug, Default)]
pub struct Hand {
    /// The next seat.
    at: u32,
    /// Seats that are left to look at.
    left: usize,
}

impl Hand {
    fn is_resting(&self) -> bool {
        self.left == 0
    }

    fn progress(&self) -> Progress {
        if self.is_resting() { Progress::Done } else { Progress::More }
    }
}

impl Store {
    /// Makes room for one slice, if there is need: once begun, down to the low mark.
    pub fn make_room(&self, hand: &mut Hand, marks: Marks) -> Progress {
        self.memory.catch_up();
        let used = self.memory.used();
        let line = if hand.is_resting() { marks.high } else { marks.low };
        if used < line {
            hand.left = 0;
            return Progress::Done;
        }
        let excess = (used - marks.low) / used;
        self.go_on(hand, ROUNDS, |slice, seats| {
            let wanted = (excess * seats as f64).ceil() as usize;
            let mut gone = 0;
            for (behind, entry) in slice {
                self.look_at(entry);
                if entry.spend() == 0 {
                    self.let_go(entry, Gone::Evicted);
                    gone += 1;
                }
                if gone == wanted {
                    return Some(*behind);
                }
            }
            None
        })
    }

    /// Lets go for one slice what nothing can be made of any more: neither fresh, nor within its stale times, nor worth
    /// asking the origin about.
    pub fn sweep_spent(&self, hand: &mut Hand, now: Now) -> Progress {
        self.go_on(hand, 1, |slice, _| {
            let spent = slice.iter().filter(|(_, entry)| entry.is_spent(now));
            spent.for_each(|(_, entry)| self.let_go(entry, Gone::Expired));
            None
        })
    }

    /// The next slice of what is kept and alive, of one round over all of it; nothing counts as used by that.
    pub fn look_on(&self, hand: &mut Hand) -> (Vec<Arc<Entry>>, Progress) {
        let (slice, _) = self.next(hand, 1);
        (slice.into_iter().map(|(_, entry)| entry).collect(), hand.progress())
    }

    /// Acts on the next slice and the number of all seats. Where it says it has done enough, the hand stops.
    fn go_on(
        &self,
        hand: &mut Hand,
        rounds: usize,
        act: impl FnOnce(&[(u32, Arc<Entry>)], usize) -> Option<u32>,
    ) -> Progress {
        let (slice, seats) = self.next(hand, rounds);
        if let Some(behind) = act(&slice, seats) {
            *hand = Hand { at: behind, left: 0 };
        }
        self.gate.tidy();
        hand.progress()
    }

    fn next(&self, hand: &mut Hand, rounds: usize) -> (Vec<(u32, Arc<Entry>)>, usize) {
        let (mut slice, at, seats) = self.gate.lock().index.seated(hand.at, SLICE);
        slice.retain(|(_, entry)| !entry.is_dead());
        if hand.is_resting() {
            hand.left = seats * rounds;
        }
        (hand.at, hand.left) = (at, hand.left.saturating_sub(SLICE));
        (slice, seats)
    }

    fn let_go(&self, entry: &Entry, why: Gone) {
        self.gate.forget(entry);
        self.memory.sweep(entry.key());
        self.metrics.evicted(if why == Gone::Expired { "expired" } else { "size" });
        self.watchers.gone(entry, why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::metrics::Metrics;
    use crate::store::entry::tests::candidate;
    use crate::store::{Found, Settings};
    use http::HeaderMap;
    use std::time::{Duration, SystemTime};

    const MARKS: Marks = Marks { high: 0.95, low: 0.9 };

    struct Bench {
        store: Store,
        metrics: Arc<Metrics>,
    }

    impl Bench {
        /// Room for so many entries.
        fn of(entries: u64) -> Self {
            let metrics = Arc::new(Metrics::new(&[]));
            // Far more bytes than they need: their number alone limits.
            let settings = Settings { memory: entries << 20, entries: Some(entries) };
            Self { store: Store::new(&settings, Arc::clone(&metrics)), metrics }
        }

        fn fill(&self, key: &str, headers: &HeaderMap) -> Arc<Entry> {
            let ticket = self.store.ticket(Duration::ZERO);
            self.store.fill(&ticket, candidate(key, vec![], headers, "body")).unwrap()
        }

        /// Whether it is a hit; else it is stored.
        fn read(&self, key: u64) -> bool {
            let key = format!("k{key}");
            match self.store.lookup(key.as_bytes(), |_| true, Duration::ZERO) {
                Found::Entry(entry) => {
                    entry.count_hit();
                    true
                }
                _ => {
                    self.fill(&key, &HeaderMap::new());
                    false
                }
            }
        }

        fn entries(&self) -> u64 {
            self.store.size(Duration::ZERO).0
        }

        fn make_room(&self, hand: &mut Hand) {
            while self.store.make_room(hand, MARKS) == Progress::More {}
        }
    }

    fn lasting(seconds: u64, etag: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("cache-control", format!("max-age={seconds}, stale-if-error=10").parse().unwrap());
        if let Some(etag) = etag {
            headers.insert("etag", etag.parse().unwrap());
        }
        headers
    }

    #[test]
    fn below_the_high_mark_nothing_is_let_go_and_from_it_on_down_to_the_low_one() {
        let (bench, mut hand) = (Bench::of(1000), Hand::default());
        (0..940).for_each(|key| assert!(!bench.read(key)));
        bench.make_room(&mut hand);
        assert_eq!(bench.entries(), 940);
        (940..960).for_each(|key| assert!(!bench.read(key)));
        bench.make_room(&mut hand);
        let left = bench.entries();
        assert!((880..=900).contains(&left), "{left}");
        assert_eq!(bench.metrics.evictions("size"), 960 - left);
    }

    #[test]
    fn who_is_used_stays() {
        let (bench, mut hand) = (Bench::of(1000), Hand::default());
        for round in 0..40 {
            (0..200).for_each(|key| assert_eq!(bench.read(key), round > 0, "{key}"));
            // Read once, and never again.
            (0..60).for_each(|n| assert!(!bench.read(1_000_000 + 60 * round + n)));
            bench.make_room(&mut hand);
        }
        assert!(bench.metrics.evictions("size") > 1000);
    }

    #[test]
    fn the_hand_goes_on_where_it_stopped_and_comes_by_once_a_round() {
        let (bench, mut hand) = (Bench::of(200), Hand::default());
        (0..10).for_each(|key| assert!(!bench.read(key)));
        for turn in 0..400 {
            if turn % 10 == 0 {
                (0..10).for_each(|key| assert!(bench.read(key), "{key} in turn {turn}"));
            }
            (0..8).for_each(|n| assert!(!bench.read(1_000 + 8 * turn + n)));
            bench.make_room(&mut hand);
        }
        assert!(bench.metrics.evictions("size") > 2000);
    }

    #[test]
    fn there_is_room_in_the_end_however_much_all_are_used() {
        let (bench, mut hand) = (Bench::of(1000), Hand::default());
        for _ in 0..50 {
            (0..960).for_each(|key| _ = bench.read(key));
        }
        bench.make_room(&mut hand);
        assert!(bench.entries() <= 900, "{}", bench.entries());
    }

    #[test]
    fn dead_or_gone_in_the_middle_of_it_is_no_matter() {
        let (bench, mut hand) = (Bench::of(1000), Hand::default());
        (0..990).for_each(|key| assert!(!bench.read(key)));
        while bench.store.make_room(&mut hand, MARKS) == Progress::More {
            let some = bench.store.list(None, 20);
            some.iter().for_each(|entry| bench.store.remove(entry));
        }
        assert!(bench.entries() <= 900);
        assert_eq!(bench.store.list(None, 1000).len() as u64, bench.entries());
    }

    #[test]
    fn only_what_nothing_can_be_made_of_is_swept() {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH);
        let (bench, mut hand) = (Bench::of(1000), Hand::default());
        // The test's candidates were received at the clock's beginning.
        let brief: Vec<_> = (0..50).map(|n| bench.fill(&format!("b{n}"), &lasting(60, None))).collect();
        let lasting_long = bench.fill("l", &lasting(100_000, None));
        let known = bench.fill("e", &lasting(60, Some("\"v1\"")));
        let mut sweep = |seconds| {
            clock.advance(Duration::from_secs(seconds));
            while bench.store.sweep_spent(&mut hand, clock.now()) == Progress::More {}
            bench.entries()
        };
        assert_eq!(sweep(65), 52, "of use where the origin fails");
        assert_eq!(sweep(10), 2);
        assert!(brief.iter().all(|entry| entry.is_dead()) && !lasting_long.is_dead() && !known.is_dead());
        assert_eq!(sweep(3600), 1, "nobody asked whether it still holds");
        assert_eq!(bench.metrics.evictions("expired"), 51);
    }

    /// Reads of a Zipf distribution (exponent 0.9), every tenth of them of a key that comes once; the share of hits of the
    /// second half.
    fn zipf(bench: &Bench, mut between: impl FnMut()) -> f64 {
        const KEYS: usize = 20_000;
        const READS: usize = 200_000;
        let weights = (1..=KEYS).scan(0.0, |sum, rank| {
            *sum += (rank as f64).powf(-0.9);
            Some(*sum)
        });
        let weights: Vec<f64> = weights.collect();
        let (mut state, mut hits) = (1_u64, 0);
        for n in 0..READS {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let draw = (state >> 11) as f64 / (1_u64 << 53) as f64 * weights[KEYS - 1];
            let key = if n % 10 == 0 { KEYS + n } else { weights.partition_point(|sum| *sum < draw) };
            hits += usize::from(bench.read(key as u64) && n >= READS / 2);
            if n % 100 == 0 {
                between();
            }
        }
        hits as f64 / (READS / 2) as f64
    }

    #[test]
    fn water_marks_cost_no_hits_worth_speaking_of() {
        let (plain, marked) = (Bench::of(2000), Bench::of(2000));
        let without = zipf(&plain, || plain.store.memory.catch_up());
        let mut hand = Hand::default();
        let with = zipf(&marked, || marked.make_room(&mut hand));
        assert!(with > without - 0.02, "{with} with marks, {without} without");
    }
}
