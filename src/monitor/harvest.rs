//! Looks at what is kept, in turns, and is told what becomes of it; so what is counted costs a hit nothing.
//!
//! ```text
//! every LOOK, and when somebody asks ─ all entries, a slice at a time ─ what their counters gained ─► usage, lottery ─► auditor
//! stored, gone (store) ───────────────────────────────────────────────────────────────────────────► usage
//! ```
//! Invariant: the lock on what is counted is held for one event, and never while anything is waited for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::clock::Now;
use crate::flow::Flow;
use crate::flow::compare::same_body;
use crate::metrics::UNMATCHED;
use crate::monitor::advice::Refetched;
use crate::monitor::audit::{self, Budget, Lottery, MOST_PLACES};
use crate::monitor::auditor::{self, Drawn};
use crate::monitor::usage::report::{Asked, Named, Report};
use crate::monitor::usage::reuse::Rates;
use crate::monitor::usage::{Answered, End, Ended, Usage};
use crate::store::entry::Entry;
use crate::store::room::Hand;
use crate::store::tag_index::Progress;
use crate::store::watch::{Gained, Gone, Told};

/// How often everything is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// So many times as long as a look takes nobody looks: of a million entries every half a minute, at a hundredth of a core.
const REST: u32 = 100;

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
}

impl Default for Settings {
    fn default() -> Self {
        Self { audit: audit::Settings::default(), stale_share: 0.01 }
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
    named: Vec<Named>,
    routes: HashMap<String, usize>,
    /// Held by who looks.
    look: Mutex<LastLook>,
    /// When the last look began (monotonic, ms).
    looked: AtomicU64,
    drawn: mpsc::Sender<Drawn>,
    to_audit: Mutex<Option<mpsc::Receiver<Drawn>>>,
    hasher: ahash::RandomState,
    drawings: AtomicU64,
}

#[derive(Debug)]
struct LastLook {
    at: Duration,
    /// Hits that may still be drawn, by their share of all.
    due: f64,
}

impl Harvest {
    /// Counts what becomes of what `flow` keeps, from now on.
    pub fn new(flow: Flow, settings: Settings) -> Self {
        let now = flow.parts().clock.mono();
        let routes = flow.parts().rules.table.routes();
        let named: Vec<Named> = routes
            .iter()
            .map(|route| Named { name: route.settings.template.clone(), ttl: route.settings.rule.ttl })
            .collect();
        let by_name = named.iter().enumerate().map(|(index, named)| (named.name.clone(), index)).collect();
        let (drawn, to_audit) = mpsc::channel(MOST_PLACES);
        let shared = Arc::new(Shared {
            settings,
            budget: Mutex::default(),
            usage: Mutex::new(Usage::new(named.len(), now)),
            named,
            routes: by_name,
            look: Mutex::new(LastLook { at: now, due: 0.0 }),
            looked: AtomicU64::new(millis(now)),
            drawn,
            to_audit: Mutex::new(Some(to_audit)),
            hasher: ahash::RandomState::new(),
            drawings: AtomicU64::new(0),
            flow,
        });
        let told: Weak<Shared> = Arc::downgrade(&shared);
        shared.flow.parts().store.watch(move |what| {
            if let Some(shared) = told.upgrade() {
                shared.told(what);
            }
        });
        Self(shared)
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
        let mut pause = LOOK;
        loop {
            tokio::time::sleep(pause).await;
            let (looking, began) = (self.clone(), tokio::time::Instant::now());
            let _over = tokio::task::spawn_blocking(move || looking.look()).await;
            pause = LOOK.max(began.elapsed() * REST);
        }
    }

    /// Looks at all that is kept. Holds this thread until that is done, and others who want to look.
    pub fn look(&self) {
        let mut last = lock(&self.0.look);
        let now = self.0.flow.parts().clock.now();
        let mut lottery = Lottery::new(self.0.places(now.mono.saturating_sub(last.at)));
        self.0.gather(now, &mut lottery);
        last.at = now.mono;
        self.0.looked.store(millis(now.mono), Ordering::Relaxed);
        last.due = (last.due + lottery.hits() as f64 * self.0.settings.audit.share).min(MOST_PLACES as f64);
        let most = last.due as usize;
        last.due -= most as f64;
        self.0.hand_over(lottery.drawn(most));
    }

    /// What is known of usage, up to now. Holds this thread until all has been looked at.
    pub fn report(&self, asked: &Asked<'_>) -> Report {
        self.look();
        // What is computed from it takes longer than a lock should.
        let usage = self.0.usage().clone();
        let now = self.0.flow.parts().clock.mono();
        Report::of(&usage, &self.0.named, asked, self.0.settings.stale_share, now)
    }
}

impl Shared {
    pub(in crate::monitor) fn usage(&self) -> MutexGuard<'_, Usage> {
        lock(&self.usage)
    }

    /// The route of an entry, by its place in the configuration.
    pub(in crate::monitor) fn route(&self, entry: &Entry) -> usize {
        let known = self.routes.get(entry.route().unwrap_or(UNMATCHED));
        known.copied().unwrap_or(self.named.len().saturating_sub(1))
    }

    /// How many may be drawn now, after so long.
    fn places(&self, passed: Duration) -> usize {
        let audit = &self.settings.audit;
        if audit.share <= 0.0 || self.flow.switches().is_draining() {
            return 0;
        }
        let mut budget = lock(&self.budget);
        budget.earn(self.flow.parts().metrics.asked_of_origin());
        let by_time = (passed.max(LOOK).as_secs_f64() * audit.per_second as f64) as usize;
        budget.checks().min(by_time)
    }

    fn gather(&self, now: Now, lottery: &mut Lottery<Arc<Entry>>) {
        let mut rates = vec![Rates::default(); self.named.len()];
        let store = &self.flow.parts().store;
        let (mut hand, mut progress) = (Hand::default(), Progress::More);
        while progress == Progress::More {
            let slice;
            (slice, progress) = store.look_on(&mut hand);
            for entry in slice.iter().filter(|entry| entry.part().is_none()) {
                let (route, gained) = (self.route(entry), store.look_at(entry).hits);
                // Once it has expired it is not read any more, however often its key is.
                let age = now.mono.saturating_sub(entry.life.received()).min(granted(entry)).as_secs_f64();
                if age >= YOUNGEST {
                    // Half a read stands for what was not read yet.
                    rates[route].add(f64::from(entry.hits()).max(0.5) / age);
                }
                if !entry.life.is_fresh(now) {
                    store.expired(entry);
                } else if entry.softened().is_none() && is_everybodys(entry) {
                    lottery.tell(entry, gained, || self.random());
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
        };
        let answered: Vec<Answered> = (0..self.named.len()).map(of_route).collect();
        let mut usage = self.usage();
        answered.into_iter().enumerate().for_each(|(route, so_far)| usage.answered(route, so_far, now));
        usage.rated(rates);
    }

    /// What an entry's counter has gained since the last look.
    fn read(&self, entry: &Entry, hits: u32, now: Now) {
        let looked = Duration::from_millis(self.looked.load(Ordering::Relaxed));
        entry.was_read(hits, passed(entry, looked), passed(entry, now.mono));
        let told = entry.key().told();
        let target = told.map_or(("", ""), |told| (told.path, told.query));
        let hash = self.hasher.hash_one((told.map(|told| told.authority), target));
        let (route, bytes) = (self.route(entry), entry.response.body.len() as u64);
        self.usage().read(route, (hash, || name(target)), hits, bytes, now.mono);
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
        let refetched = before.map(|before| {
            let age = entry.life.received().saturating_sub(before.life.received()).as_secs_f64();
            (age, if same_body(before, entry) { Refetched::Unchanged } else { Refetched::Changed })
        });
        let mut usage = self.usage();
        usage.stored(route, body.len() as u64, now.mono);
        if let Some((target, hash)) = split {
            usage.splits.stored(route, target, hash);
        }
        if let Some((age, what)) = refetched {
            usage.refetched(route, age, what);
        }
    }

    fn hand_over(&self, drawn: impl Iterator<Item = Arc<Entry>>) {
        let mut together: HashMap<u64, Drawn> = HashMap::new();
        for entry in drawn {
            let of = together.entry(entry.id().as_u64()).or_insert_with(|| Drawn { entry, hits: 0 });
            of.hits += 1;
        }
        for drawn in together.into_values() {
            // Who has more to do than he gets done is not given more.
            let _given_up = self.drawn.try_send(drawn);
        }
    }

    fn random(&self) -> f64 {
        const BITS: u64 = 1 << 53;
        let drawing = self.drawings.fetch_add(1, Ordering::Relaxed);
        (self.hasher.hash_one(drawing) % BITS) as f64 / BITS as f64
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
