//! The one applier: whatever outdates anything, from whichever source, becomes an [`Invalidation`] and goes through here.
//!
//! ```text
//! write, origin, gap ─────────────────────┐
//! webhook, redis, admin ─ (batch, window) ┴ expand ─ journal ─ raised in order ─ swept side by side ─ audited, counted ─ acknowledged
//! ```
//! Invariant: when [`Invalidator::apply`] returns, the invalidation and all that follows from it is applied. What a write
//! brings waits for nothing on its way but its turn to be raised, and for what it reaches itself. What has begun is done,
//! whether or not anybody waits for it. It refuses to know who is answered, and how.

pub mod allowance;
pub mod applied;
pub mod audit;
mod batch;
pub mod event;
#[cfg(test)]
mod forgeries;
pub mod hooks;
pub mod intent;
mod invalidation;
mod listener;
pub mod operation;
mod own;
mod pace;
pub mod purge;
pub mod raw;
pub mod record;
mod said;
mod seen;
mod settings;
pub mod stream;
pub mod subscription;
mod sweeper;
#[cfg(test)]
mod testing;
mod together;
pub mod webhook;
mod wire;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::fault::{self, Fault};
use crate::fleet::Fleet;
use crate::invalidate::allowance::{Allowance, TooOften};
pub use crate::invalidate::applied::Applied;
use crate::invalidate::audit::{Audit, Audited, Query, Tally};
use crate::invalidate::batch::{Batches, Joined, Waiting};
use crate::invalidate::intent::Ends;
pub use crate::invalidate::invalidation::{Invalidation, Source};
use crate::invalidate::invalidation::{is_everything, is_whole_store};
use crate::invalidate::own::Own;
use crate::invalidate::pace::Complaints;
use crate::invalidate::record::{Cause, Record};
use crate::invalidate::settings::Ruled;
pub use crate::invalidate::settings::Settings;
use crate::invalidate::sweeper::{Course, Sweeper, elsewhere};
use crate::metrics::Metrics;
use crate::route::derive::{Followed, MAX_DERIVED};
use crate::route::tag::Tag;
pub use crate::store::author::Author;
use crate::store::position::{Outdate, Position};
use crate::store::sweep::Sweep;
use crate::store::ticket::FillTicket;
use crate::store::{self, Store};

/// What an invalidation would do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// What was asked for, in words.
    pub items: Vec<String>,
    /// What is derived from it, in words.
    pub derived: Vec<String>,
    /// What that reaches.
    pub entries: Tally,
}

/// Applies invalidations. Cheap to clone.
#[derive(Clone)]
pub struct Invalidator(Arc<Shared>);

struct Shared {
    ruled: ArcSwap<Ruled>,
    store: Arc<Store>,
    clock: Clock,
    metrics: Arc<Metrics>,
    /// Where the order is kept; empty: this node is alone, and its own gate keeps it.
    fleet: OnceLock<Fleet>,
    own: Own,
    sweeper: Sweeper,
    batches: Batches,
    audit: Audit,
    allowance: Allowance,
    complaints: Mutex<Complaints>,
    before_all: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// The write that an invalidation belongs to.
#[derive(Default)]
struct Writer {
    /// Whether its answer may be kept.
    adopts: Option<Adopts>,
    /// Whether it says the end of a write.
    ends: Option<Ends>,
}

/// A write whose answer may be kept.
#[derive(Debug)]
struct Adopts {
    /// Of its ticket.
    began: (Position, Duration),
    /// The tags of its own answer.
    kept: Vec<Tag>,
}

/// A record that is raised, on its way.
struct Raised {
    record: Arc<Record>,
    sweep: Sweep,
    /// When (monotonic) it was.
    since: Duration,
    /// The ticket of the write that it belongs to.
    renewed: Option<FillTicket>,
}

impl Invalidator {
    /// The applier for `store`.
    pub fn new(settings: Settings, store: Arc<Store>, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let sweeper = Sweeper::new(Arc::clone(&store));
        Self(Arc::new(Shared {
            ruled: ArcSwap::from_pointee(Ruled::by(settings)),
            store,
            clock,
            metrics,
            fleet: OnceLock::new(),
            own: Own::default(),
            sweeper,
            batches: Batches::default(),
            audit: Audit::default(),
            allowance: Allowance::default(),
            complaints: Mutex::default(),
            before_all: OnceLock::new(),
        }))
    }

    /// Calls `act` whenever everything is about to be outdated. Only the first call counts.
    pub fn before_all(&self, act: impl Fn() + Send + Sync + 'static) {
        let _already_set = self.0.before_all.set(Box::new(act));
    }

    /// Applies it, and all that is derived from it. When this returns it holds. What comes from outside may wait for
    /// others, for no longer than `invalidation.debounce`; it is applied even if nobody waits for this any more.
    pub async fn apply(&self, invalidation: Invalidation) -> Applied {
        let since = self.0.clock.mono();
        let cause = self.follow(invalidation);
        let settings = self.settings();
        if settings.debounce.is_zero() || !cause.invalidation.source.may_wait() {
            return self.alone(cause, since, None).await.0;
        }
        let (answer, applied) = oneshot::channel();
        match self.0.batches.join(Waiting { cause, since, answer }, settings.max_batch) {
            Joined::First(number) => self.open_window(number),
            Joined::Behind => {}
            Joined::Full(batch) => self.together(batch),
        }
        if fault::is(Fault::BatchAnsweredFirst) {
            return Applied::of(self.0.store.applied(), Arc::default());
        }
        applied.await.expect("what has joined a batch is applied with it")
    }

    /// The same for what a write has outdated; with `ends`, that is all.
    pub async fn apply_of(&self, invalidation: Invalidation, ends: Option<Ends>) -> Applied {
        let since = self.0.clock.mono();
        self.alone(self.follow(invalidation), since, Some(Writer { adopts: None, ends })).await.0
    }

    /// The same for a write that began with `began`, whose own answer would carry `kept`: with the ticket under which that
    /// may be stored.
    pub async fn apply_by(
        &self,
        invalidation: Invalidation,
        (began, kept): (&FillTicket, &[Tag]),
        ends: Option<Ends>,
    ) -> (Applied, Option<FillTicket>) {
        let since = self.0.clock.mono();
        let adopts = Some(Adopts { began: (began.position(), began.begun()), kept: kept.to_vec() });
        self.alone(self.follow(invalidation), since, Some(Writer { adopts, ends })).await
    }

    /// Whether somebody outside may have this now; to be asked before [`Self::apply`].
    ///
    /// # Errors
    /// [`TooOften`]: it throws out everything, and that was done too often lately.
    pub fn allow(&self, invalidation: &Invalidation) -> Result<(), TooOften> {
        let is_limited = invalidation.source.may_wait() && invalidation.reach.items.iter().any(is_everything);
        if is_limited { self.0.allowance.spend(self.0.clock.mono()) } else { Ok(()) }
    }

    /// What it would reach now, with all that is derived from it. Nothing is done.
    pub async fn preview(&self, invalidation: Invalidation) -> Preview {
        let store = Arc::clone(&self.0.store);
        let Cause { invalidation, asked, .. } = invalidation.followed(&self.settings().dependencies);
        elsewhere(move || {
            let mut items = audit::words(&invalidation.reach.items);
            let derived = items.split_off(asked.min(items.len()));
            Preview { items, derived, entries: Tally::of(&store.find(&invalidation.reach)) }
        })
        .await
    }

    /// What was invalidated lately, the oldest first.
    pub fn audit(&self, query: &Query) -> Vec<Arc<Audited>> {
        self.0.audit.find(query)
    }

    /// Applies what waits in a batch; from now on nothing waits. To be called when the process is about to stop.
    pub fn hurry(&self) {
        self.together(self.0.batches.hurry());
    }

    /// What is counted.
    pub(in crate::invalidate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Adds what follows from it; says so if that is too much to be told apart.
    fn follow(&self, invalidation: Invalidation) -> Cause {
        let cause = invalidation.followed(&self.settings().dependencies);
        if cause.followed == Followed::TooMany {
            let Invalidation { source, actor, .. } = &cause.invalidation;
            let mut complaints = self.0.complaints.lock().unwrap_or_else(PoisonError::into_inner);
            complaints.make(Instant::now(), || {
                let what = format!("what {actor:?} invalidated ({})", source.as_str());
                format!("more than {MAX_DERIVED} items are derived from {what}: everything goes")
            });
        }
        cause
    }

    fn open_window(&self, number: u64) {
        // Not the caller's: he may leave.
        let invalidator = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(invalidator.settings().debounce).await;
            invalidator.together(invalidator.0.batches.take(number));
        });
    }

    /// Applies one by itself.
    async fn alone(
        &self,
        cause: Cause,
        since: Duration,
        by: Option<Writer>,
    ) -> (Applied, Option<FillTicket>) {
        let Invalidation { reach, mode, hold, author, .. } = &cause.invalidation;
        let outdate = Outdate { reach: reach.clone(), mode: *mode, hold: *hold, author: *author };
        let record = Arc::new(Record { causes: vec![cause], outdate });
        let noted = move |invalidator: &Self, record: &Record, done: store::Applied| {
            let applied = Applied::of(done.position, done.reached);
            invalidator.0.audit.add([invalidator.note(&record.causes[0], since, &applied)]);
            applied
        };
        match self.0.fleet.get() {
            Some(fleet) => self.through(fleet, record, by, noted).await,
            None => {
                let mut raised = self.raise(record, by.and_then(|by| by.adopts).as_ref());
                let renewed = raised.renewed.take();
                (self.sweep(raised, noted).end().await, renewed)
            }
        }
    }

    /// Begins to apply a batch, and answers everyone in it when that is done.
    fn together(&self, batch: Vec<Waiting>) {
        for ((mode, hold), group) in batch::alike(batch) {
            let mut callers = Vec::with_capacity(group.len());
            let causes = group.into_iter().map(|waiting| {
                callers.push((waiting.since, waiting.answer));
                waiting.cause
            });
            let causes: Vec<Cause> = causes.collect();
            let outdate = Outdate { reach: batch::merged(&causes), mode, hold, author: None };
            let record = Arc::new(Record { causes, outdate });
            let since: Vec<Duration> = callers.iter().map(|(since, _)| *since).collect();
            let noted = move |invalidator: &Self, record: &Record, done: store::Applied| {
                let shares = batch::shares(&record.causes, &done.reached);
                let shares = shares.into_iter().map(|reached| Applied::of(done.position, Arc::new(reached)));
                let shares: Vec<Applied> = shares.collect();
                let noted = record.causes.iter().zip(since).zip(&shares);
                let noted = noted.map(|((cause, since), applied)| invalidator.note(cause, since, applied));
                invalidator.0.audit.add(noted.collect::<Vec<_>>());
                shares
            };
            let answer = move |shares: Vec<Applied>| {
                for ((_, answer), applied) in callers.into_iter().zip(shares) {
                    // He may have left.
                    let _ = answer.send(applied);
                }
            };
            match self.0.fleet.get() {
                Some(fleet) => self.through_behind(fleet, record, noted, answer),
                None => {
                    let raised = self.raise(record, None);
                    let done = move |invalidator: &Self, record: &Record, done| {
                        answer(noted(invalidator, record, done))
                    };
                    let _under_way = self.sweep(raised, done);
                }
            }
        }
    }

    /// Raises a record: from here on nothing older than it is stored.
    fn raise(&self, record: Arc<Record>, by: Option<&Adopts>) -> Raised {
        let Shared { store, clock, before_all, .. } = &*self.0;
        let outdate = &record.outdate;
        // Before, or those who come between would be the herd.
        if outdate.reach.items.iter().any(is_whole_store)
            && let Some(act) = before_all.get()
        {
            act();
        }
        let since = clock.mono();
        let (sweep, renewed) = match by {
            Some(Adopts { began, kept }) => store.raise_by(outdate, since, *began, kept),
            None => (store.raise(outdate, since), None),
        };
        Raised { record, sweep, since, renewed }
    }

    /// Sweeps what is raised to its end; then it is applied here, and `then` says so.
    fn sweep<T: Send + 'static>(
        &self,
        raised: Raised,
        then: impl FnOnce(&Self, &Record, store::Applied) -> T + Send + 'static,
    ) -> Course<T> {
        let Raised { record, sweep, since, .. } = raised;
        let invalidator = self.clone();
        self.0.sweeper.begin(sweep, move |done| {
            let Shared { clock, metrics, .. } = &*invalidator.0;
            let lag = clock.mono().saturating_sub(since);
            metrics.invalidation_applied(done.reached.len() as u64, lag);
            then(&invalidator, &record, done)
        })
    }

    /// Counts what was applied; gives what is to be written down.
    fn note(&self, cause: &Cause, since: Duration, applied: &Applied) -> Audited {
        let Cause { invalidation: of, asked, followed } = cause;
        let now = self.0.clock.now();
        self.0.metrics.invalidated(of.source.as_str(), of.mode.as_str());
        if self.0.fleet.get().is_none() {
            self.0.metrics.acknowledged(now.mono.saturating_sub(since));
        }
        Audited {
            position: applied.position,
            at: now.wall,
            source: of.source,
            actor: of.actor.clone(),
            id: of.id.clone(),
            mode: of.mode,
            reach: of.reach.clone(),
            asked: *asked,
            followed: *followed,
            entries: applied.entries.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalidate::sweeper::AT_ONCE;
    use crate::invalidate::testing::{World, of};
    use crate::route::derive::Dependencies;
    use crate::route::reach::{ItemTemplate, Reach};
    use crate::store::entry::Entry;
    use crate::store::position::{Known, Mode};
    use futures_util::FutureExt as _;
    use std::pin::pin;

    const WINDOW: Duration = Duration::from_secs(60);

    fn batching(max_batch: usize) -> World {
        World::new(Settings { debounce: WINDOW, max_batch, ..Settings::default() })
    }

    /// Applies what waits for nobody.
    fn apply(world: &World, invalidation: Invalidation) -> Applied {
        world.invalidator.apply(invalidation).now_or_never().expect("it waits for nobody")
    }

    #[test]
    fn what_was_applied_holds_when_it_is_said() {
        let world = World::new(Settings::default());
        let (project, other) = (Tag::named("project:42"), Tag::named("other"));
        let (gone, kept) = (world.keep("a", std::slice::from_ref(&project)), world.keep("b", &[other]));
        let ticket = world.store.ticket(Duration::ZERO);
        let applied = apply(&world, of(Source::Write, "project:42"));
        assert_eq!((applied.position.n, applied.reached.len()), (1, 1));
        assert!(gone.is_dead() && !kept.is_dead());
        assert!(ticket.check(Known { tags: &[project], is_all: true }).is_err());
        world.assert_metric(r#"larder_invalidations_total{source="write",mode="hard"} 1"#);
        world.assert_metric("larder_invalidated_entries_total 1");
        world.assert_metric("larder_invalidation_ack_seconds_count 1");
        world.assert_metric("larder_invalidation_lag_seconds_count 1");
    }

    #[test]
    fn everybody_gets_a_place_of_his_own_and_the_list_is_in_that_order() {
        let world = World::new(Settings::default());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..50 {
                        let ticket = world.store.ticket(Duration::ZERO);
                        let kept = [Tag::named("t")];
                        let write = of(Source::Write, "t");
                        let by = world.invalidator.apply_by(write, (&ticket, &kept), None);
                        let (applied, renewed) = by.now_or_never().unwrap();
                        assert!(renewed.is_none_or(|renewed| renewed.position() == applied.position));
                        assert!(
                            apply(&world, of(Source::Admin, &format!("u{n}"))).position.n
                                > applied.position.n
                        );
                    }
                });
            }
        });
        assert_eq!(world.store.applied().n, 400);
        let audited = world.invalidator.audit(&Query::default());
        assert!(audited.iter().map(|audited| audited.position.n).eq(1..=400));
    }

    #[test]
    fn a_writes_own_ticket_is_renewed_through_the_journal() {
        let world = World::new(Settings::default());
        let (tag, began) = (Tag::named("t"), world.store.ticket(Duration::ZERO));
        let kept = [tag];
        let by = |began: &FillTicket| {
            world.invalidator.apply_by(of(Source::Write, "t"), (began, &kept), None).now_or_never().unwrap()
        };
        let (applied, renewed) = by(&began);
        assert_eq!(renewed.unwrap().position(), applied.position);
        assert!(by(&began).1.is_none(), "somebody else has invalidated it since");
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_within_the_window_is_applied_as_one_and_answered_only_then() {
        let world = batching(1000);
        world.keep("a", &[Tag::named("a"), Tag::named("both")]);
        world.keep("b", &[Tag::named("b"), Tag::named("both")]);
        let mut first = pin!(world.invalidator.apply(of(Source::Webhook, "a")));
        let mut second = pin!(world.invalidator.apply(of(Source::Redis, "b both")));
        let mut third = pin!(world.invalidator.apply(of(Source::Admin, "nobody")));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        assert_eq!(world.store.applied().n, 0);
        let (first, second, third) = tokio::join!(first, second, third);
        assert_eq!([&first, &second, &third].map(|applied| applied.position.n), [1, 1, 1]);
        assert_eq!([&first, &second, &third].map(|applied| applied.reached.len()), [1, 2, 0]);
        assert_eq!(world.store.applied().n, 1);
        let audited = world.invalidator.audit(&Query::default());
        let entries: Vec<_> = audited.iter().map(|audited| (audited.source, audited.entries.total)).collect();
        assert_eq!(entries, [(Source::Webhook, 1), (Source::Redis, 2), (Source::Admin, 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_events_are_a_few_applications() {
        let world = batching(100);
        let each = (0..1_000).map(|n| {
            let invalidator = world.invalidator.clone();
            tokio::spawn(async move { invalidator.apply(of(Source::Redis, &format!("t{}", n % 7))).await })
        });
        for applied in each.collect::<Vec<_>>() {
            let applied = applied.await.unwrap();
            assert!(applied.position.n <= world.store.applied().n, "applied before it is said");
        }
        assert_eq!(world.store.applied().n, 10);
        world.assert_metric(r#"larder_invalidations_total{source="redis",mode="hard"} 1000"#);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_leaves_takes_nothing_with_him() {
        let world = batching(1000);
        let entry = world.keep("a", &[Tag::named("a")]);
        {
            let mut gone = pin!(world.invalidator.apply(of(Source::Webhook, "a")));
            assert!(gone.as_mut().now_or_never().is_none());
        }
        assert!(!entry.is_dead());
        tokio::time::sleep(WINDOW * 2).await;
        assert!(entry.is_dead());
    }

    #[tokio::test(start_paused = true)]
    async fn hard_and_soft_are_not_mixed_and_a_write_waits_for_neither() {
        let world = batching(1000);
        let (hard, soft) = (world.keep("a", &[Tag::named("a")]), world.keep("b", &[Tag::named("b")]));
        let softly = Invalidation { mode: Mode::Soft, ..of(Source::Admin, "b") };
        let batch = async {
            tokio::join!(world.invalidator.apply(of(Source::Admin, "a")), world.invalidator.apply(softly))
        };
        let mut batch = pin!(batch);
        assert!(batch.as_mut().now_or_never().is_none());
        assert_eq!(apply(&world, of(Source::Write, "c")).position.n, 1);
        let (first, second) = batch.await;
        assert_eq!((first.position.n, second.position.n), (2, 3));
        assert!(hard.is_dead() && !soft.is_dead() && soft.softened().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_process_stops_nothing_waits_any_more() {
        let world = batching(1000);
        let mut waits = pin!(world.invalidator.apply(of(Source::Webhook, "a")));
        assert!(waits.as_mut().now_or_never().is_none());
        world.invalidator.hurry();
        assert_eq!(waits.now_or_never().unwrap().position.n, 1);
        assert_eq!(apply(&world, of(Source::Webhook, "a")).position.n, 2);
    }

    /// Keeps so many entries with this tag.
    fn keep_many(world: &World, many: usize, tag: &str) -> Vec<Arc<Entry>> {
        (0..many).map(|n| world.keep(&format!("{tag}/{n}"), &[Tag::named(tag)])).collect()
    }

    #[tokio::test]
    async fn a_large_one_goes_on_behind_the_back_of_a_caller_who_has_left() {
        let world = World::new(Settings::default());
        let kept = keep_many(&world, 2 * AT_ONCE, "large");
        {
            let mut leaves = pin!(world.invalidator.apply(of(Source::Admin, "large")));
            assert!(leaves.as_mut().now_or_never().is_none(), "the worker is let go");
        }
        assert!(kept.iter().any(|entry| !entry.is_dead()));
        while world.invalidator.audit(&Query::default()).is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(kept.iter().all(|entry| entry.is_dead()));
        assert_eq!(world.invalidator.audit(&Query::default())[0].entries.total, kept.len() as u64);
        world.assert_metric(&format!("larder_invalidated_entries_total {}", kept.len()));
    }

    #[tokio::test]
    async fn a_small_one_is_answered_while_a_large_one_is_under_way() {
        let world = World::new(Settings::default());
        let kept = keep_many(&world, 2 * AT_ONCE, "large");
        let (own, mut large) =
            (world.keep("a", &[Tag::named("a")]), pin!(world.invalidator.apply(of(Source::Admin, "large"))));
        let held = world.invalidator.0.sweeper.hold().await;
        assert!(large.as_mut().now_or_never().is_none());
        let began = world.store.ticket(Duration::ZERO);
        let small = apply(&world, of(Source::Write, "a"));
        assert_eq!((small.position.n, small.entries.total, own.is_dead()), (2, 1, true));
        assert!(world.store.applied().n == 0 && kept.iter().any(|entry| !entry.is_dead()));
        assert!(began.check(Known { tags: &[Tag::named("a")], is_all: true }).is_err());
        drop(held);
        let large = large.await;
        assert_eq!((large.position.n, large.reached.len(), world.store.applied().n), (1, kept.len(), 2));
        let places: Vec<_> =
            world.invalidator.audit(&Query::default()).iter().map(|audited| audited.position.n).collect();
        assert_eq!(places, [1, 2], "the list is in the order of places, whoever was done first");
    }

    #[tokio::test]
    async fn large_ones_take_turns() {
        let world = World::new(Settings::default());
        let (larger, large) =
            (keep_many(&world, 6 * AT_ONCE, "larger"), keep_many(&world, 2 * AT_ONCE, "large"));
        let mut first = pin!(world.invalidator.apply(of(Source::Admin, "larger")));
        let mut second = pin!(world.invalidator.apply(of(Source::Admin, "large")));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        second.await;
        assert!(large.iter().all(|entry| entry.is_dead()));
        assert!(larger.iter().any(|entry| !entry.is_dead()), "it came first, and has more to do");
        first.await;
        assert!(larger.iter().all(|entry| entry.is_dead()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_batch_answers_everyone_in_it_when_it_is_done() {
        let world = batching(2);
        let kept = keep_many(&world, 2 * AT_ONCE, "large");
        let (first, second) = tokio::join!(
            world.invalidator.apply(of(Source::Webhook, "large")),
            world.invalidator.apply(of(Source::Redis, "nobody"))
        );
        assert!(kept.iter().all(|entry| entry.is_dead()));
        assert_eq!([first.entries.total, second.entries.total], [kept.len() as u64, 0]);
    }

    #[test]
    fn consequences_that_are_too_many_are_told_whatever_the_source() {
        let template = |word: &str| ItemTemplate::parse(word).unwrap();
        let edges = vec![(template("a:{x}"), vec![template("a:{x}0"), template("a:{x}1")])];
        let world = World::new(Settings { dependencies: Dependencies::new(edges), ..Settings::default() });
        let sources =
            [Source::Write, Source::Origin, Source::Webhook, Source::Redis, Source::Gap, Source::Admin];
        for source in sources {
            let kept = world.keep("k", &[Tag::named("another")]);
            let beside = Reach::of([Tag::named("beside")]);
            apply(&world, Invalidation { alone: beside, ..of(source, "a:1") });
            assert!(kept.is_dead(), "{source:?}: everything goes");
        }
        apply(&world, of(Source::Admin, "b:1"));
        let audited = world.invalidator.audit(&Query::default());
        let told: Vec<_> = audited.iter().map(|audited| (audited.source, audited.followed)).collect();
        let all_followed = (Source::Admin, Followed::All);
        assert_eq!(told[..6], sources.map(|source| (source, Followed::TooMany)));
        assert_eq!(told[6], all_followed);
        assert_eq!(
            (audited[0].items(), audited[0].derived()),
            (vec!["a:1".into(), "beside".into()], vec!["everything".into()])
        );
    }

    #[test]
    fn everything_is_rationed_for_those_who_wish_it_and_for_nobody_else() {
        let world = World::new(Settings::default());
        let all =
            |source, reach: &Reach| Invalidation { reach: reach.clone(), source, ..Invalidation::default() };
        let below = purge::of_words("/{rest:path}", &event::Names::default()).unwrap();
        for n in 0..allowance::BURST {
            let reach = if n % 2 == 0 { &below } else { &Reach::all() };
            world.invalidator.allow(&all(Source::Admin, reach)).unwrap();
        }
        for reach in [
            Reach::all(),
            below,
            purge::of_words("*", &event::Names::default()).unwrap(),
            purge::of_words("/*", &event::Names::default()).unwrap(),
        ] {
            let why = world.invalidator.allow(&all(Source::Webhook, &reach)).unwrap_err();
            assert_eq!(why.retry_after, allowance::EVERY, "{reach:?}");
        }
        world.invalidator.allow(&all(Source::Gap, &Reach::all())).unwrap();
        world.invalidator.allow(&of(Source::Admin, "project:* /api/*")).unwrap();
    }

    #[tokio::test]
    async fn a_preview_says_what_would_go_and_does_nothing() {
        let world = World::new(Settings::default());
        let route = Tag::route("/api/{id}");
        let entry = world.keep("a", &[Tag::named("a"), route.clone()]);
        world.keep("b", &[Tag::named("a"), Tag::named("z")]);
        let preview = world.invalidator.preview(of(Source::Admin, "a /x")).await;
        assert_eq!((preview.items, preview.derived), (vec!["a".to_owned(), "/x".to_owned()], vec![]));
        let routes = vec![("/api/{id}".to_owned(), 1), ("unmatched".to_owned(), 1)];
        assert_eq!(preview.entries, Tally { total: 2, routes });
        assert!(!entry.is_dead() && world.store.applied().n == 0);
    }
}
