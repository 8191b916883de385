//! The promise with real threads and all of the store: a reader never finds what was outdated before he came.
//!
//! Every tag has a version that a writer raises before he outdates it, and acknowledges behind that. A body holds the
//! version that its fetch has read; memory is too small for all of them, so that entries leave all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use crate::metrics::Metrics;
use crate::route::reach::{Item, Reach};
use crate::route::tag::Tag;
use crate::store::entry::Candidate;
use crate::store::entry::tests::candidate;
use crate::store::position::{Mode, Outdate};
use crate::store::{Found, Settings, Store};

const KEYS: usize = 64;
const WRITES: usize = 1_500;
const READS: usize = 6_000;
const NOW: Duration = Duration::from_secs(1);

struct Resource {
    committed: AtomicU64,
    acknowledged: AtomicU64,
}

struct World {
    store: Store,
    resources: Vec<Resource>,
    is_over: AtomicBool,
}

impl World {
    fn fill(&self, nth: usize) {
        let ticket = self.store.ticket(NOW);
        let version = self.resources[nth].committed.load(Ordering::SeqCst);
        thread::yield_now();
        let tags = vec![Tag::named(&format!("t:{nth}")), Tag::path("h", &format!("/{nth}"))];
        let candidate = candidate(&format!("k{nth}"), tags, &HeaderMap::new(), "");
        let body = Bytes::copy_from_slice(&version.to_le_bytes());
        let _may_be_refused = self.store.fill(&ticket, Candidate { body, ..candidate });
    }

    fn read(&self, nth: usize) -> bool {
        let known = self.resources[nth].acknowledged.load(Ordering::SeqCst);
        let Found::Entry(entry) = self.store.lookup(format!("k{nth}").as_bytes(), |_| true, NOW) else {
            return false;
        };
        let version = u64::from_le_bytes(entry.response.body[..].try_into().unwrap());
        assert!(version >= known, "key {nth} is found as {version}, and {known} was acknowledged");
        true
    }

    fn write(&self, nth: usize, turn: usize) {
        let item = match turn % 4 {
            0 => Item::parse(&format!("t:{nth}{{x}}")).unwrap(),
            1 => Item::parse(&format!("/{nth}")).unwrap(),
            _ => Item::Tag(Tag::named(&format!("t:{nth}"))),
        };
        let resource = &self.resources[nth];
        let version = resource.committed.fetch_add(1, Ordering::SeqCst) + 1;
        if turn % 64 == 7 {
            self.store.outdate(&Outdate { reach: Reach::all(), ..Outdate::default() }, NOW);
        } else {
            let reach = Reach { items: vec![item] };
            if turn.is_multiple_of(5) {
                let soft = Outdate { reach: reach.clone(), mode: Mode::Soft, ..Outdate::default() };
                self.store.outdate(&soft, NOW);
            }
            self.store.outdate(&Outdate { reach, ..Outdate::default() }, NOW);
        }
        resource.acknowledged.fetch_max(version, Ordering::SeqCst);
    }
}

#[test]
fn no_reader_finds_what_was_outdated_before_he_came() {
    let resource = || Resource { committed: AtomicU64::new(0), acknowledged: AtomicU64::new(0) };
    let world = World {
        store: Store::new(&Settings { memory: 64 << 10, entries: None }, Arc::new(Metrics::new(&[]))),
        resources: (0..KEYS).map(|_| resource()).collect(),
        is_over: AtomicBool::new(false),
    };
    let hits = AtomicU64::new(0);
    thread::scope(|scope| {
        for seat in 0..4 {
            let (world, hits) = (&world, &hits);
            scope.spawn(move || {
                for turn in (seat..).step_by(4) {
                    if turn > READS && world.is_over.load(Ordering::SeqCst) {
                        break;
                    }
                    let nth = turn / 4 * 31 % KEYS;
                    if world.read(nth) {
                        hits.fetch_add(1, Ordering::Relaxed);
                    } else {
                        world.fill(nth);
                    }
                }
            });
        }
        let writers: Vec<_> = (0..2)
            .map(|seat| {
                let world = &world;
                scope.spawn(move || (0..WRITES).for_each(|turn| world.write((turn * 17 + seat) % KEYS, turn)))
            })
            .collect();
        let done: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        world.is_over.store(true, Ordering::SeqCst);
        assert!(done.into_iter().all(|writer| writer.is_ok()));
    });
    assert!(hits.load(Ordering::Relaxed) > 0, "nothing was ever found");
    world.store.outdate(&Outdate { reach: Reach::all(), ..Outdate::default() }, NOW);
    assert_eq!(world.store.size(NOW), (0, 0));
    assert_eq!(world.store.floors(), 0);
}
