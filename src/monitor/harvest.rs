//! Looks at what is kept, in turns, and is told what becomes of it; so what is counted costs a hit nothing.
//!
//! ```text
//! every so often, and when somebody asks ─ all entries, a slice at a time ─► what their counters gained is told
//! asked (store), whoever looked ─► usage, lottery ─ at the end of a look ─► auditor
//! stored, gone (store) ─► usage
//! ```
//! Invariant: the locks on what is counted are held for one event, and never while anything is waited for. Every hit on what
//! may be compared comes into the lottery once, whoever looked: others look at entries, too.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use crate::clock::Now;
use crate::flow::Flow;
use crate::flow::compare::same_body;
use crate::metrics::UNMATCHED;
use crate::monitor::advice::{Known, Refetched};
use crate::monitor::audit::{self, Budget, MOST_PLACES};
use crate::monitor::auditor::{self, Drawn};
use crate::monitor::drawing::Drawing;
use crate::monitor::usage::report::{Asked, Named, Report};
use crate::monitor::usage::reuse::Rates;
use crate::monitor::usage::{Answered, End, Ended, Usage};
use crate::store::entry::Entry;
use crate::store::room::Hand;
use crate::store::tag_index::Progress;
use crate::store::watch::{Gained, Gone, Told};

/// So many times as long as a look takes nobody looks: of a million entries every half a minute, at a hundredth of a core.
const REST: u32 = 100;
/// Most answers of which it is remembered what audits found while they are kept.
const MOST_KNOWN: usize = 4096;

/// Longest name of a key that is remembered, in bytes; the rest is cut off.
const LONGEST_NAME: usize = 256;

/// The youngest age from which a rate of reads is told, in seconds.
const YOUNGEST: f64 = 1.0;

/// What is wanted of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Which hits are compared with the origin (`monitor.audit`).
    pub audit: audit::Settings,
    /// The stale share of hits that ttls are recommended for (`monitor.stale_share`).
    pub stale_share: f64,
    /// How often everything is looked at.
    pub look: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { audit: audit::Settings::default(), stale_share: 0.01, look: Duration::from_secs(10) }
    }
}

/// What is counted. Cheap to clone.
#[derive(Clone)]
pub struct Harvest(Arc<Shared>);

pub(in crate::monitor) struct Shared {
    pub(in crate::monitor) flow: Flow,
    pub(in crate::monitor) settings: Settings,
    pub(in crate::monitor) budget: Mutex<Budget>,
    usage: Mutex<Usage>,
    routes: ArcSwap<Routes>,
    /// Held by who looks.
    look: Mutex<()>,
    pub(in crate::monitor) drawing: Mutex<Drawing>,
    /// What audits found, by the entry's id.
    known: Mutex<HashMap<u64, (Weak<Entry>, Known)>>,
    /// When the last look began (monotonic, ms).
    looked: AtomicU64,
    pub(in crate::monitor) drawn: mpsc::Sender<Drawn>,
    to_audit: Mutex<Option<mpsc::Receiver<Drawn>>>,
    hasher: ahash::RandomState,
}

/// The routes by their numbers: those of the configuration, and those that were in one before.
struct Routes {
    named: Vec<Named>,
    by_name: HashMap<String, usize>,
}

impl Routes {
    fn of(flow: &Flow) -> Self {
        let parts = flow.parts();
        let routes = parts.rules.table.routes();
        let ttls: HashMap<usize, _> =
            routes.iter().map(|route| (route.index, route.settings.rule.ttl)).collect();
        let named = parts
            .metrics
            .templates()
            .map(|(number, name)| Named { name: name.to_owned(), ttl: ttls.get(&number).copied().flatten() });
        let named: Vec<Named> = named.collect();
        let by_name = named.iter().enumerate().map(|(number, named)| (named.name.clone(), number)).collect();
        Self { named, by_name }
    }
}

impl Harvest {
    /// Counts what becomes of what `flow` keeps, from now on.
    pub fn new(flow: Flow, settings: Settings) -> Self {
        let now = flow.parts().clock.mono();
        let routes = Routes::of(&flow);
        let (drawn, to_audit) = mpsc::channel(MOST_PLACES);
        let hasher = ahash::RandomState::new();
        let seed = settings.audit.seed.unwrap_or_else(|| hasher.hash_one(0));
        let drawing = Drawing::new(&settings, seed);
        let shared = Arc::new(Shared {
            settings,
            budget: Mutex::default(),
            usage: Mutex::new(Usage::new(routes.named.len(), now)),
            routes: ArcSwap::from_pointee(routes),
            look: Mutex::default(),
            drawing: Mutex::new(drawing),
            known: Mutex::default(),
            looked: AtomicU64::new(millis(now)),
            drawn,
            to_audit: Mutex::new(Some(to_audit)),
            hasher,
            flow,
        });
        if shared.settings.audit.share > 0.0 {
            shared.flow.remember_questions();
        }
        let told: Weak<Shared> = Arc::downgrade(&shared);
        shared.flow.parts().store.watch(move |what| {
            if let Some(shared) = told.upgrade() {
                shared.told(what);
            }
        });
        Self(shared)
    }

    /// Goes by the routes that are in force now.
    pub fn know_routes(&self) {
        let routes = Routes::of(&self.0.flow);
        // Whoever goes by the new numbers finds a place for them.
        self.0.usage().grow(routes.named.len());
        self.0.routes.store(Arc::new(routes));
    }

    /// Looks again and again, and has drawn hits compared with the origin. Ends with the process.
    pub async fn run(self) {
        let to_audit = lock(&self.0.to_audit).take();
        let (shared, looks) = (Arc::clone(&self.0), self.looks());
        match to_audit {
            Some(drawn) if self.0.settings.audit.share > 0.0 => {
                tokio::join!(looks, auditor::run(shared, drawn));
            }
            _ => looks.await,
        }
    }

    async fn looks(&self) {
        let mut pause = self.0.settings.look;
        loop {
            tokio::time::sleep(pause).await;
            let (looking, began) = (self.clone(), tokio::time::Instant::now());
            let _over = tokio::task::spawn_blocking(move || looking.look()).await;
            pause = self.0.settings.look.max(began.elapsed() * REST);
        }
    }

    /// Looks at all that is kept. Holds this thread until that is done, and others who want to look.
    pub fn look(&self) {
        let _alone = lock(&self.0.look);
        let now = self.0.flow.parts().clock.now();
        self.0.gather(now);
        self.0.looked.store(millis(now.mono), Ordering::Relaxed);
        self.0.draw();
    }

    /// What is known of usage, up to now. Holds this thread until all has been looked at.
    pub fn report(&self, asked: &Asked<'_>) -> Report {
        self.look();
        self.known(asked)
    }

    /// The same up to the last look: it costs what is counted, and not what is kept.
    pub fn known(&self, asked: &Asked<'_>) -> Report {
        // What is computed from it takes longer than a lock should.
        let usage = self.0.usage().clone();
        let now = self.0.flow.parts().clock.mono();
        Report::of(&usage, &self.0.routes.load().named, asked, self.0.settings.stale_share, now)
    }
}

impl Shared {
    pub(in crate::monitor) fn usage(&self) -> MutexGuard<'_, Usage> {
        lock(&self.usage)
    }

    /// The number of an entry's route.
    pub(in crate::monitor) fn route(&self, entry: &Entry) -> usize {
        let routes = self.routes.load();
        let number = |name: &str| routes.by_name.get(name).copied();
        number(entry.route().unwrap_or(UNMATCHED)).or_else(|| number(UNMATCHED)).unwrap_or_default()
    }

    /// Whether it may be held against the origin: it is what everybody gets, and it is known what was asked for it.
    /// What is only watched is compared at every hit anyway.
    fn is_comparable(&self, entry: &Entry, now: Now) -> bool {
        let is_live = !entry.is_dead() && entry.softened().is_none() && entry.life.is_fresh(now);
        is_live && !entry.is_watched() && (is_everybodys(entry) || self.flow.remembers(entry.key()))
    }

    fn gather(&self, now: Now) {
        let mut rates = vec![Rates::default(); self.routes.load().named.len()];
        let store = &self.flow.parts().store;
        let (mut hand, mut progress) = (Hand::default(), Progress::More);
        while progress == Progress::More {
            let slice;
            (slice, progress) = store.look_on(&mut hand);
            for entry in slice.iter().filter(|entry| entry.part().is_none()) {
                store.look_at(entry);
                let route = self.route(entry);
                // Once it has expired it is not read any more, however often its key is.
                let age = now.mono.saturating_sub(entry.life.received()).min(granted(entry)).as_secs_f64();
                if age >= YOUNGEST {
                    // Half a read stands for what was not read yet.
                    rates
                        .get_mut(route)
                        .into_iter()
                        .for_each(|rate| rate.add(f64::from(entry.hits()).max(0.5) / age));
                }
                if !entry.life.is_fresh(now) {
                    store.expired(entry);
                }
            }
        }
        self.count(now.mono, rates);
    }

    /// What metrics have counted, and what was found.
    fn count(&self, now: Duration, rates: Vec<Rates>) {
        let metrics = &self.flow.parts().metrics;
        let of_route = |route| Answered {
            requests: metrics.answered(route),
            fetched: metrics.fetched(route),
            no_freshness: metrics.bypassed(route, "no-freshness"),
            shadow: metrics.shadow(route),
        };
        let answered: Vec<Answered> = (0..self.routes.load().named.len()).map(of_route).collect();
        let mut usage = self.usage();
        answered.into_iter().enumerate().for_each(|(route, so_far)| usage.answered(route, so_far, now));
        usage.rated(rates);
    }

    /// What an entry's counter has gained since the last look.
    fn read(&self, entry: &Entry, hits: u32, now: Now) {
        let looked = Duration::from_millis(self.looked.load(Ordering::Relaxed));
        entry.was_read(hits, passed(entry, looked), passed(entry, now.mono));
        // Whose own it is tells nobody what he asked for.
        let told = entry.key().told().filter(|told| !told.is_of_a_credential);
        let target = told.map_or((entry.route().unwrap_or(UNMATCHED), ""), |told| (told.path, told.query));
        let hash = self.hasher.hash_one((told.map(|told| told.authority), target));
        let route = self.route(entry);
        // What it would have brought, nobody was given.
        let bytes = if entry.is_watched() { 0 } else { entry.response.body.len() as u64 };
        self.usage().read(route, (hash, || name(target)), hits, bytes, now.mono);
        if self.settings.audit.share > 0.0 && self.is_comparable(entry, now) {
            let what = || (entry.key().clone(), entry.id());
            lock(&self.drawing).lottery.tell((entry.id().as_u64(), what), hits, entry.hits());
        }
    }

    /// An audit has seen at `age` what an entry is like by now.
    pub(in crate::monitor) fn seen(&self, entry: &Arc<Entry>, age: Duration, what: Refetched) {
        let id = entry.id().as_u64();
        let span = {
            let mut known = lock(&self.known);
            if known.len() >= MOST_KNOWN && !known.contains_key(&id) {
                known.retain(|_, (entry, _)| entry.strong_count() > 0);
            }
            // What cannot be remembered would be counted once more when it is fetched again.
            if known.len() >= MOST_KNOWN && !known.contains_key(&id) {
                return;
            }
            let (_, known) = known.entry(id).or_insert_with(|| (Arc::downgrade(entry), Known::default()));
            known.learn(age.as_secs_f64(), what)
        };
        if let Some(span) = span {
            self.usage().refetched(self.route(entry), span, what);
        }
    }

    fn told(&self, what: Told<'_>) {
        let now = self.flow.parts().clock.now();
        match what {
            Told::Stored(entry, _) | Told::Asked(entry, _) | Told::Gone(entry, _)
                if entry.part().is_some() => {}
            Told::Asked(_, Gained { hits: 0, .. }) => {}
            Told::Asked(entry, Gained { hits, .. }) => self.read(entry, hits, now),
            Told::Stored(entry, before) => self.stored(entry, before, now),
            Told::Gone(entry, why) => {
                let (route, is_fresh) = (self.route(entry), now.mono < end_of(entry));
                let how = match why {
                    Gone::Invalidated if is_fresh => End::Invalidated,
                    Gone::Replaced if is_fresh => End::Replaced,
                    Gone::Invalidated | Gone::Replaced | Gone::Expired => End::Expired,
                    Gone::Evicted => End::Evicted,
                    Gone::Withdrawn => End::Withdrawn,
                };
                self.usage().ended(route, ended(entry, how), now.mono);
            }
        }
    }

    fn stored(&self, entry: &Entry, before: Option<&Entry>, now: Now) {
        let (route, body) = (self.route(entry), &entry.response.body);
        let told = entry.key().told().filter(|told| is_everybodys(entry) && !told.query.is_empty());
        let split = told.map(|told| ((told.path, told.query), self.hasher.hash_one(body)));
        let refetched = before.and_then(|before| {
            let age = entry.life.received().saturating_sub(before.life.received()).as_secs_f64();
            let what = if same_body(before, entry) { Refetched::Unchanged } else { Refetched::Changed };
            match lock(&self.known).remove(&before.id().as_u64()) {
                Some((_, mut known)) => known.learn(age, what).map(|span| (span, what)),
                None => Some((age, what)),
            }
        });
        let mut usage = self.usage();
        usage.stored(route, body.len() as u64, now.mono);
        if let Some((target, hash)) = split {
            usage.splits.stored(route, target, hash);
        }
        if let Some((span, what)) = refetched {
            usage.refetched(route, span, what);
        }
    }
}

fn ended(entry: &Entry, how: End) -> Ended {
    let granted = granted(entry).as_secs_f64();
    let used = granted * entry.read().unwrap_or(0.0);
    Ended { how, was_read: entry.hits() > 0, granted, used }
}

/// The share of an entry's life that has passed at `now` (monotonic), from 0 to 1.
fn passed(entry: &Entry, now: Duration) -> f64 {
    let (granted, age) = (granted(entry), now.saturating_sub(entry.life.received()));
    if age < granted { age.as_secs_f64() / granted.as_secs_f64() } else { 1.0 }
}

/// For how long it is fresh from when it was received, if no invalidation comes before.
fn granted(entry: &Entry) -> Duration {
    entry.life.fresh_for().saturating_sub(entry.life.initial_age())
}

/// When it is not fresh any more (monotonic), if no invalidation comes before.
fn end_of(entry: &Entry) -> Duration {
    entry.life.received().saturating_add(granted(entry))
}

/// Whether everybody shares it, and it is asked for by its target alone.
fn is_everybodys(entry: &Entry) -> bool {
    entry.key().told().is_some_and(|told| !told.is_of_a_credential && !told.is_by_content)
}

fn name((path, query): (&str, &str)) -> Arc<str> {
    let mut name = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    if name.len() > LONGEST_NAME {
        name.truncate((0..=LONGEST_NAME).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0));
        name.push('…');
    }
    name.into()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(in crate::monitor) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
