//! What an invalidation costs: by what it drops, not by what is stored; and what an entry weighs.
//!
//! Every entry has five tags: its path, its route, a group of 100, a group of 1,000, and one that all have; a head as
//! API servers write it, and a body of [`BODY`] bytes. Both sizes are measured in turns of [`TURN`] samples, so that whatever
//! else the machine does falls upon both, and the processor's caches know the small one as well as they can. What is weighed
//! is weighed in a process of its own.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use larder::clock::Clock;
use larder::invalidate::audit::Tally;
use larder::invalidate::{self, Invalidation, Invalidator, Source};
use larder::metrics::Metrics;
use larder::policy::{self, RequestHead, ResponseTimes, Rule, Selector, Sharing};
use larder::route::key::Key;
use larder::route::reach::{Gaps, Item, Paths, Reach};
use larder::route::tag::Tag;
use larder::store::entry::{Candidate, Entry};
use larder::store::position::{Gate, Mode, Outdate};
use larder::store::tag_index::Progress;
use larder::store::{Found, Settings, Store};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: Duration = Duration::from_secs(1);
const SIZES: [usize; 2] = [1_000, 1_000_000];
const MANY: usize = 1_000_000;
const TURNS: usize = 16;
/// Samples of a turn.
const TURN: usize = 25;
/// Entries with the tag that is dropped.
const DROPPED: usize = 100;
/// Bytes of a body: the payload.
const BODY: usize = 256;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("--weigh") => weigh(&std::env::args().nth(2).unwrap()),
        // As `cargo test --benches` calls it: that it runs is for who measures to see.
        Some("--test") => {}
        Some("--hits") => hits(),
        Some("--purges") => purges(),
        Some("--wide") => wide(),
        Some("--beside") => beside(&Clock::system()),
        Some("--everything") => everything(&Clock::system()),
        _ => {
            weights();
            for part in ["--hits", "--purges", "--wide", "--beside", "--everything"] {
                let me = std::env::current_exe().unwrap();
                assert!(Command::new(me).arg(part).status().unwrap().success());
            }
        }
    }
}

// What is kept.

fn candidate(nth: usize) -> Candidate {
    let now = Clock::manual(SystemTime::UNIX_EPOCH).now();
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("date", "Sat, 31 Jan 2026 12:00:00 GMT"),
        ("server", "uvicorn"),
        ("content-type", "application/json"),
        ("content-length", "256"),
        ("cache-control", "max-age=60"),
        ("vary", "Accept-Encoding"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("etag", format!("\"{nth:032x}\"").parse().unwrap());
    headers.insert("x-request-id", format!("{nth:08x}-6b1f-4d0c-9f3e-0123456789ab").parse().unwrap());
    let none = HeaderMap::new();
    let request = RequestHead { method: &Method::GET, headers: &none, body_keyed: false };
    let times = ResponseTimes { requested: now, received: now };
    let rule = Rule::default();
    let storable =
        policy::may_store(&request, Sharing::Shared, StatusCode::OK, &headers, &rule, times).unwrap();
    let path = format!("/api/projects/{nth}");
    Candidate {
        key: key(nth),
        tags: vec![
            Tag::path("api.example.com", &path),
            Tag::route("/api/projects/{id}"),
            group(nth / DROPPED),
            Tag::named(&format!("thousand:{}", nth / 1_000)),
            Tag::named("projects"),
        ],
        storable,
        selector: Selector::of(&none, &headers, &rule, &|_| false).unwrap(),
        body: Bytes::from(vec![b'x'; BODY]),
        settle: Duration::ZERO,
    }
}

/// As long as that of a plain GET.
fn key(nth: usize) -> Key {
    Key::from_bytes(format!("0 12345678 0 15 api.example.com 20 /api/projects/{nth:07} 0 0").as_bytes())
}

fn store() -> Store {
    Store::new(&Settings { memory: 16 << 30, entries: None }, Arc::new(Metrics::new(&[])))
}

fn fill(store: &Store, entries: std::ops::Range<usize>) {
    for nth in entries {
        store.fill(&store.ticket(NOW), candidate(nth)).unwrap();
    }
}

fn admitted(gate: &Gate, nth: usize) -> Arc<Entry> {
    let mut entry = Arc::new(Entry::new(candidate(nth), gate.applied()));
    gate.admit(&mut entry, NOW, Duration::ZERO).unwrap();
    entry
}

fn of(item: Item) -> Outdate {
    Outdate { reach: Reach { items: vec![item] }, ..Outdate::default() }
}

fn group(nth: usize) -> Tag {
    Tag::named(&format!("hundred:{nth}:x"))
}

// What an entry weighs.

/// Bytes of memory that this process has now; pages of 4 KiB are taken for granted.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4096
}

fn weights() {
    println!("bytes of resident memory per entry at {MANY}, beyond its body of {BODY}");
    let me = std::env::current_exe().unwrap();
    for what in ["entry", "entry and index", "store"] {
        let told = Command::new(&me).args(["--weigh", what]).output().unwrap().stdout;
        print!("{}", String::from_utf8(told).unwrap());
    }
    let head: usize = {
        let (_, headers, _) = candidate(0).storable.into_parts();
        headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
    };
    println!("of these are text: head {head}, key {}", key(0).len());
}

fn weigh(what: &str) {
    let gate = Arc::new(Gate::new(1));
    // What is there once is there before.
    let store = store();
    fill(&store, 0..1);
    let mut entries = Vec::with_capacity(MANY);
    let before = resident();
    match what {
        "entry" => entries.extend((0..MANY).map(|nth| Arc::new(Entry::new(candidate(nth), gate.applied())))),
        "entry and index" => entries.extend((0..MANY).map(|nth| admitted(&gate, nth))),
        _ => {
            fill(&store, 1..MANY);
            store.size(NOW);
        }
    }
    let each = resident().saturating_sub(before) / MANY as u64;
    println!("{what:>24} {:>6}", each.saturating_sub(BODY as u64));
}

// Samples.

#[derive(Default)]
struct Samples(Vec<Duration>);

impl Samples {
    fn take<T>(&mut self, clock: &Clock, act: impl FnOnce() -> T) -> T {
        let since = clock.mono();
        let done = act();
        self.0.push(clock.mono().saturating_sub(since));
        done
    }

    fn median(&mut self) -> f64 {
        self.0.sort_unstable();
        self.0[self.0.len() / 2].as_secs_f64() * 1e6
    }

    fn fastest(&self) -> f64 {
        self.0.iter().min().unwrap().as_secs_f64() * 1e6
    }

    fn longest(&self) -> f64 {
        self.0.iter().max().unwrap().as_secs_f64() * 1e6
    }
}

fn compare(name: &str, [few, many]: &mut [Samples; 2]) {
    let (few, many) = ((few.median(), few.fastest()), (many.median(), many.fastest()));
    println!(
        "{name:>24} {:>9.1} /{:>8.1} {:>9.1} /{:>8.1} {:>6.2} /{:>5.2}",
        few.0,
        few.1,
        many.0,
        many.1,
        many.0 / few.0,
        many.1 / few.1
    );
}

// One tag, or a pattern, with a hundred entries.

/// Far apart, so that what is dropped is as cold as in life.
fn next(turn: &mut usize, size: usize) -> usize {
    *turn = (*turn + 7_919) % (size / DROPPED);
    *turn
}

fn entries_of(group: usize) -> std::ops::Range<usize> {
    group * DROPPED..(group + 1) * DROPPED
}

struct Shelf {
    size: usize,
    store: Store,
    turn: usize,
    gate: Arc<Gate>,
    indexed: Vec<Arc<Entry>>,
    turn_alone: usize,
}

impl Shelf {
    fn of(size: usize) -> Self {
        let (store, gate) = (store(), Arc::new(Gate::new(1)));
        fill(&store, 0..size);
        store.size(NOW);
        let indexed = (0..size).map(|nth| admitted(&gate, nth)).collect();
        Self { size, store, turn: 0, gate, indexed, turn_alone: 0 }
    }

    /// Until what was dropped has left memory.
    fn buried(&self, group: usize) {
        while entries_of(group).any(|nth| self.is_known(nth)) {
            thread::yield_now();
        }
        thread::sleep(Duration::from_millis(1));
    }

    fn is_known(&self, nth: usize) -> bool {
        !matches!(self.store.lookup(&key(nth), |_| true, NOW), Found::Nothing)
    }
}

fn purges() {
    let clock = Clock::system();
    let mut shelves = SIZES.map(Shelf::of);
    let [mut tag, mut pattern, mut index, mut tally, mut gone, mut vacated] =
        [const { [const { Samples(Vec::new()) }; 2] }; 6];
    for turn in 0..TURNS {
        for (nth, shelf) in shelves.iter_mut().enumerate() {
            for _ in 0..TURN {
                let picked = next(&mut shelf.turn, shelf.size);
                let by_tag = turn % 2 == 0;
                let item = if by_tag {
                    Item::Tag(group(picked))
                } else {
                    Item::parse(&format!("hundred:{picked}:{{x}}")).unwrap()
                };
                let (outdate, store) = (of(item), &shelf.store);
                let samples = if by_tag { &mut tag[nth] } else { &mut pattern[nth] };
                let applied = samples.take(&clock, || store.outdate(&outdate, NOW));
                let counted = tally[nth].take(&clock, || Tally::of(&applied.reached));
                assert_eq!(counted.total, DROPPED as u64);
                gone[nth].take(&clock, || drop(applied));
                shelf.buried(picked);
                fill(&shelf.store, entries_of(picked));
            }
            for _ in 0..TURN {
                let picked = next(&mut shelf.turn_alone, shelf.size);
                let outdate = of(Item::Tag(group(picked)));
                let (_, reached) = index[nth].take(&clock, || shelf.gate.outdate(&outdate, NOW));
                assert_eq!(reached.len(), DROPPED);
                vacated[nth].take(&clock, || while shelf.gate.tidy() == Progress::More {});
                for nth in entries_of(picked) {
                    shelf.indexed[nth] = admitted(&shelf.gate, nth);
                }
            }
        }
    }
    println!("\nµs to drop {DROPPED} entries, median / fastest");
    println!("{:>24} {:>20} {:>20} {:>14}", "", SIZES[0], SIZES[1], "ratio");
    compare("a tag", &mut tag);
    compare("a pattern", &mut pattern);
    compare("index alone, a tag", &mut index);
    compare("counted by route", &mut tally);
    compare("let go", &mut gone);
    compare("behind it, the index", &mut vacated);
}

// What is found again.

fn hits() {
    const AT_ONCE: usize = 10_000;
    let clock = Clock::system();
    let stores = SIZES.map(|size| {
        let store = store();
        fill(&store, 0..size);
        store.size(NOW);
        store
    });
    let (mut samples, mut lots) = ([const { Samples(Vec::new()) }; 2], 1_u64);
    for _ in 0..TURNS {
        for (nth, store) in stores.iter().enumerate() {
            let mut keys = Vec::with_capacity(AT_ONCE);
            for _ in 0..AT_ONCE {
                lots = lots.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                keys.push(key((lots >> 33) as usize % SIZES[nth]));
            }
            samples[nth].take(&clock, || {
                for key in &keys {
                    let Found::Entry(entry) = store.lookup(key, |_| true, NOW) else { panic!("it is kept") };
                    black_box(head(&entry));
                }
            });
        }
    }
    println!("\nµs to find {AT_ONCE} entries by lot and to write out their heads, median / fastest");
    println!("{:>24} {:>20} {:>20} {:>14}", "", SIZES[0], SIZES[1], "ratio");
    compare("hits", &mut samples);
}

fn head(entry: &Entry) -> HeaderMap {
    let mut headers = entry.response.headers();
    headers.insert("age", HeaderValue::from_static("1"));
    headers.insert("x-cache", HeaderValue::from_static("HIT"));
    headers
}

// Everything, and what looks at everything.

fn wide() {
    let clock = Clock::system();
    println!("\nat {MANY} entries, index alone");
    let glob = Item::Paths { host: None, paths: Paths::Glob(Gaps::parse("*/999")) };
    slices(&clock, "glob that meets one", &of(glob.clone()));
    slices(
        &clock,
        "glob that meets all",
        &of(Item::Paths { host: None, paths: Paths::Glob(Gaps::parse("/*")) }),
    );
    slices(&clock, "everything", &of(Item::All));
    slices(&clock, "everything, softly", &Outdate { mode: Mode::Soft, ..of(Item::All) });
}

/// How long the gate is held at a time: each slice is one hold.
fn slices(clock: &Clock, name: &str, outdate: &Outdate) {
    let gate = Arc::new(Gate::new(1));
    let entries: Vec<_> = (0..MANY).map(|nth| admitted(&gate, nth)).collect();
    let (mut holds, mut tidied, since) = (Samples::default(), Samples::default(), clock.mono());
    let mut sweep = holds.take(clock, || gate.raise(outdate, NOW));
    while holds.take(clock, || gate.sweep(&mut sweep)) == Progress::More {}
    let acknowledged = clock.mono().saturating_sub(since).as_secs_f64() * 1e3;
    while tidied.take(clock, || gate.tidy()) == Progress::More {}
    println!(
        "{name:>24} {acknowledged:>8.1} ms; the gate is held for {:.0} µs, at most {:.0} µs, behind it at most {:.0} µs",
        holds.median(),
        holds.longest(),
        tidied.longest()
    );
    drop(entries);
}

/// What a small write waits for while something looks at everything that is kept.
fn beside(clock: &Clock) {
    let store = Arc::new(store());
    fill(&store, 0..MANY);
    let settings = invalidate::Settings::default();
    let invalidator = Invalidator::new(settings, store, clock.clone(), Arc::new(Metrics::new(&[])));
    let of = |item, mode| Invalidation {
        reach: Reach { items: vec![item] },
        mode,
        source: Source::Write,
        ..Invalidation::default()
    };
    let write = || invalidator.apply(of(Item::Tag(Tag::named("nobody:1")), Mode::Hard));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    println!("\nµs that a write of one tag takes at {MANY} entries, median / longest");
    for (name, glob) in [
        ("alone", None),
        ("beside a glob for none", Some(("*/x", Mode::Hard))),
        ("beside one softening all", Some(("*", Mode::Soft))),
    ] {
        let mut waits = Samples::default();
        runtime.block_on(async {
            for _ in 0..4 {
                let large = glob.map(|(text, mode)| {
                    let item = Item::Paths { host: None, paths: Paths::Glob(Gaps::parse(text)) };
                    let (invalidator, large) = (invalidator.clone(), of(item, mode));
                    tokio::spawn(async move { invalidator.apply(large).await })
                });
                for _ in 0..TURN {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    let since = clock.mono();
                    write().await;
                    waits.0.push(clock.mono().saturating_sub(since));
                }
                if let Some(large) = large {
                    large.await.unwrap();
                }
            }
        });
        println!("{name:>24} {:>9.1} /{:>9.1}", waits.median(), waits.longest());
    }
}

fn everything(clock: &Clock) {
    let before = resident();
    let store = store();
    fill(&store, 0..MANY);
    store.size(NOW);
    let full = resident();
    let is_over = AtomicBool::new(false);
    let (mut apart, mut waits) = ([const { Samples(Vec::new()) }; 3], Samples::default());
    thread::scope(|scope| {
        // Who asks the gate waits for whoever holds it.
        let waits = &mut waits;
        let asks = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                waits.take(clock, || store.applied());
                thread::sleep(Duration::from_micros(50));
            }
        });
        let applied = apart[0].take(clock, || store.outdate(&of(Item::All), NOW));
        apart[1].take(clock, || Tally::of(&applied.reached));
        apart[2].take(clock, || drop(applied));
        is_over.store(true, Ordering::Relaxed);
        asks.join().unwrap();
    });
    let [outdated, counted, gone] = apart.map(|mut samples| samples.median() / 1e3);
    println!(
        "\n{:>24} {outdated:>8.1} ms, counted {counted:.1} ms, let go {gone:.1} ms; who asks the gate meanwhile waits at most {:.0} µs",
        "of a store, everything",
        waits.longest()
    );
    let since = clock.mono();
    while (0..MANY).step_by(97).any(|nth| !matches!(store.lookup(&key(nth), |_| true, NOW), Found::Nothing)) {
        thread::sleep(Duration::from_millis(10));
    }
    store.size(NOW);
    let buried = clock.mono().saturating_sub(since);
    thread::sleep(Duration::from_secs(2));
    let mib = |bytes: u64| bytes / (1 << 20);
    println!(
        "{:>24} buried after {:.0} ms; memory {} MiB before, {} MiB full, {} MiB afterwards",
        "",
        buried.as_secs_f64() * 1e3,
        mib(before),
        mib(full),
        mib(resident())
    );
}
