//! What an invalidation costs: by what it drops, not by what is stored.
//!
//! Every entry has five tags: its path, its route, a group of 100, a group of 1,000, and one that all have.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use futures_util::StreamExt;
use http::{HeaderMap, Method, StatusCode};
use larder::clock::Clock;
use larder::invalidate::{self, Invalidation, Invalidator, Source};
use larder::metrics::Metrics;
use larder::policy::{self, RequestHead, ResponseTimes, Rule, Selector, Sharing};
use larder::route::key::Key;
use larder::route::reach::{Gaps, Item, Paths, Reach};
use larder::route::tag::Tag;
use larder::store::entry::{Candidate, Entry};
use larder::store::position::{Gate, Mode, Outdate};
use larder::store::{Settings, Store};

const NOW: Duration = Duration::from_secs(1);
const SIZES: [usize; 2] = [1_000, 1_000_000];

fn candidate(nth: usize) -> Candidate {
    let now = Clock::manual(SystemTime::UNIX_EPOCH).now();
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("content-type", "application/json"), ("etag", "\"1\""), ("cache-control", "max-age=60")]
    {
        headers.insert(name, value.parse().unwrap());
    }
    let none = HeaderMap::new();
    let request = RequestHead { method: &Method::GET, headers: &none, body_keyed: false };
    let times = ResponseTimes { requested: now, received: now };
    let rule = Rule::default();
    let storable =
        policy::may_store(&request, Sharing::Shared, StatusCode::OK, &headers, &rule, times).unwrap();
    let path = format!("/api/projects/{nth}");
    Candidate {
        key: Key::from_bytes(path.as_bytes()),
        tags: vec![
            Tag::path("api.example.com", &path),
            Tag::route("/api/projects/{id}"),
            Tag::named(&format!("hundred:{}", nth / 100)),
            Tag::named(&format!("thousand:{}", nth / 1_000)),
            Tag::named("projects"),
        ],
        storable,
        selector: Selector::of(&none, &headers, &rule, &|_| false).unwrap(),
        body: Bytes::from_static(b"{}"),
        settle: Duration::ZERO,
    }
}

fn store() -> Store {
    Store::new(&Settings { memory: 16 << 30, entries: None }, Arc::new(Metrics::new(&[])))
}

fn fill(store: &Store, entries: std::ops::Range<usize>) {
    for nth in entries {
        store.fill(&store.ticket(NOW), candidate(nth)).unwrap();
    }
}

fn of(item: Item) -> Outdate {
    Outdate { reach: Reach { items: vec![item] }, ..Outdate::default() }
}

/// Bytes of memory that this process has now; pages of 4 KiB are taken for granted.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4096
}

fn purge(c: &mut Criterion) {
    let mut group = c.benchmark_group("drop 100 entries, then fill them again");
    group.sample_size(50);
    for size in SIZES {
        let store = store();
        fill(&store, 0..size);
        store.size(NOW);
        let groups = size / 100;
        let pick = |turn: &mut usize| {
            // Far apart, so that what is dropped is as cold as in life.
            *turn = (*turn + 7_919) % groups;
            *turn
        };
        let mut run = |name: &str, outdate: &dyn Fn(usize) -> Outdate| {
            let mut turn = 0;
            let mut dropped = None::<usize>;
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter_batched(
                    || {
                        if let Some(before) = dropped.take() {
                            fill(&store, before * 100..before * 100 + 100);
                        }
                        let next = pick(&mut turn);
                        dropped = Some(next);
                        outdate(next)
                    },
                    |outdate| black_box(store.outdate(&outdate, NOW)),
                    BatchSize::PerIteration,
                );
            });
            if let Some(before) = dropped {
                fill(&store, before * 100..before * 100 + 100);
            }
        };
        run("tag", &|nth| of(Item::Tag(Tag::named(&format!("hundred:{nth}")))));
        run("pattern", &|nth| of(Item::parse(&format!("hundred:{nth}*{{x}}")).unwrap()));
    }
    group.finish();
}

/// The index alone: no memory tier, no clock.
fn index(c: &mut Criterion) {
    let mut group = c.benchmark_group("index alone");
    group.sample_size(50);
    for size in SIZES {
        let gate = Arc::new(Gate::new(1));
        let mut entries: Vec<Arc<Entry>> = Vec::with_capacity(size);
        let admit = |nth: usize| {
            let entry = Arc::new(Entry::new(candidate(nth), gate.applied()));
            gate.admit(&entry, NOW, Duration::ZERO).unwrap();
            entry
        };
        let before = resident();
        entries.extend((0..size).map(|nth| Arc::new(Entry::new(candidate(nth), gate.applied()))));
        let with_entries = resident();
        for entry in &entries {
            gate.admit(entry, NOW, Duration::ZERO).unwrap();
        }
        let with_index = resident();
        println!(
            "{size} entries: {} bytes each, {} bytes of index each",
            with_entries.saturating_sub(before) / size as u64,
            with_index.saturating_sub(with_entries) / size as u64
        );
        let groups = size / 100;
        let mut turn = 0;
        let mut again = None::<usize>;
        group.bench_function(BenchmarkId::new("drop a tag of 100", size), |bencher| {
            bencher.iter_batched(
                || {
                    if let Some(before) = again.take() {
                        let dropped = entries.iter_mut().enumerate().skip(before * 100).take(100);
                        dropped.for_each(|(nth, entry)| *entry = admit(nth));
                    }
                    turn = (turn + 7_919) % groups;
                    again = Some(turn);
                    of(Item::Tag(Tag::named(&format!("hundred:{turn}"))))
                },
                |outdate| black_box(gate.outdate(&outdate, NOW)),
                BatchSize::PerIteration,
            );
        });
        let one = of(Item::Paths { host: None, paths: Paths::one("/api/projects/77") });
        group.bench_function(BenchmarkId::new("find a path on every host", size), |bencher| {
            bencher.iter(|| black_box(gate.find(&one.reach)));
        });
        let glob =
            Reach { items: vec![Item::Paths { host: None, paths: Paths::Glob(Gaps::parse("*/999")) }] };
        group.bench_function(BenchmarkId::new("find a glob that begins with a gap", size), |bencher| {
            bencher.iter(|| black_box(gate.find(&glob)));
        });
        drop(entries);
    }
    group.finish();
}

/// Once: what takes a second is not worth fifty samples.
fn everything(c: &mut Criterion) {
    let mut group = c.benchmark_group("drop everything");
    group.sample_size(10);
    for (name, mode) in [("hard", Mode::Hard), ("soft", Mode::Soft)] {
        group.bench_function(BenchmarkId::new(name, 100_000), |bencher| {
            bencher.iter_batched(
                || {
                    let store = store();
                    fill(&store, 0..100_000);
                    store
                },
                |store| {
                    let all = Outdate { reach: Reach::all(), mode, ..Outdate::default() };
                    (black_box(store.outdate(&all, NOW)), store)
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// What a small write waits for while a glob looks at everything that is kept.
fn beside(c: &mut Criterion) {
    let mut group = c.benchmark_group("a write of one tag");
    group.sample_size(20);
    let store = Arc::new(store());
    fill(&store, 0..1_000_000);
    let clock = Clock::system();
    let invalidator = Invalidator::new(
        invalidate::Settings::default(),
        Arc::clone(&store),
        clock.clone(),
        Arc::new(Metrics::new(&[])),
    );
    let of = |item, mode, source| Invalidation {
        reach: Reach { items: vec![item] },
        mode,
        source,
        ..Invalidation::default()
    };
    let glob = |text: &str| Item::Paths { host: None, paths: Paths::Glob(Gaps::parse(text)) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let write = async || {
        let since = clock.mono();
        invalidator.apply(of(Item::Tag(Tag::named("nobody:1")), Mode::Hard, Source::Write)).await;
        clock.mono().saturating_sub(since)
    };
    group.bench_function("alone", |bencher| {
        bencher.iter_custom(|turns| {
            runtime
                .block_on(async {
                    futures_util::stream::iter(0..turns).then(|_| write()).collect::<Vec<_>>().await
                })
                .iter()
                .sum()
        });
    });
    for (name, text, mode) in [
        ("beside a glob over 1000000 that finds none", "*/x", Mode::Hard),
        ("beside one that softens them all", "*", Mode::Soft),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|turns| {
                let mut waited = Duration::ZERO;
                for _ in 0..turns {
                    waited += runtime.block_on(async {
                        let (invalidator, glob) = (invalidator.clone(), of(glob(text), mode, Source::Admin));
                        let swept = tokio::spawn(async move { invalidator.apply(glob).await });
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        let waited = write().await;
                        swept.await.unwrap();
                        waited
                    });
                }
                waited
            });
        });
    }
    group.finish();
}

// The index first: it measures memory, and what others let go would be counted as its own.
criterion_group!(benches, index, purge, beside, everything);
criterion_main!(benches);
