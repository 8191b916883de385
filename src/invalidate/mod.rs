//! The one applier: whatever outdates anything, from whichever source, becomes an [`Invalidation`] and goes through here.
//!
//! ```text
//! write, origin, gap ─────────────────────┐
//! webhook, redis, admin ─ (batch, window) ┴ expand ─ journal ─ applied in order ─ audited, counted ─ acknowledged
//! ```
//! Invariant: when [`Invalidator::apply`] returns, the invalidation and all that follows from it is applied. What a write
//! brings waits for nothing on its way but its turn. It refuses to know who is answered, and how.

pub mod allowance;
pub mod audit;
mod batch;
pub mod event;
#[cfg(test)]
mod forgeries;
pub mod hooks;
pub mod journal;
mod listener;
mod pace;
pub mod purge;
mod said;
mod seen;
pub mod subscription;
#[cfg(test)]
mod testing;
pub mod webhook;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::invalidate::allowance::{Allowance, TooOften};
use crate::invalidate::audit::{Audit, Audited, Query, Tally};
use crate::invalidate::batch::{Batches, Joined, Waiting};
use crate::invalidate::journal::{Cause, Fence, Journal, Lease, Record};
use crate::metrics::Metrics;
use crate::route::derive::Dependencies;
use crate::route::reach::{Item, Reach};
use crate::route::tag::Tag;
pub use crate::store::author::Author;
use crate::store::position::{Hold, Mode, Outdate};
use crate::store::ticket::FillTicket;
use crate::store::{Applied, Store};

/// `invalidation:`, `events:` and `webhooks:` of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Invalidations from outside that come within this time are applied together; zero: each at once.
    pub debounce: Duration,
    /// Most that are applied together.
    pub max_batch: usize,
    /// `dependencies:`
    pub dependencies: Dependencies,
    /// `events:`
    pub events: event::Names,
    /// `webhooks:`
    pub webhooks: Vec<webhook::Settings>,
    /// `redis.subscribe`; `None`: no channel is listened to.
    pub subscription: Option<subscription::Settings>,
}

/// What is to be outdated, whoever says so.
#[derive(Clone, Debug, Default)]
pub struct Invalidation {
    /// What.
    pub reach: Reach,
    /// Removed, or made stale.
    pub mode: Mode,
    /// For how long it is not stored again.
    pub hold: Hold,
    /// Whether what is derived from it (`dependencies`) is left alone.
    pub without_derived: bool,
    /// Where it comes from.
    pub source: Source,
    /// Who said so, in the words of the audit list: a token's name, a webhook's path, a channel, a write's rule.
    pub actor: String,
    /// The name that its sender gave it, by which it is known again.
    pub id: Option<String>,
    /// Who wrote; under a soft invalidation he is never served what is older.
    pub author: Option<Author>,
}

/// Where an invalidation comes from; the `source` label of metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Source {
    /// A write through the proxy.
    #[default]
    Write,
    /// What an origin said about credentials: a 401.
    Origin,
    /// A webhook.
    Webhook,
    /// A message on a Redis channel.
    Redis,
    /// A lost subscription (`redis.on_gap`).
    Gap,
    /// The admin API, the command line, or `PURGE`.
    Admin,
}

impl Source {
    /// The word for metrics, logs and the audit list.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Origin => "origin",
            Self::Webhook => "webhook",
            Self::Redis => "redis",
            Self::Gap => "gap",
            Self::Admin => "admin",
        }
    }

    /// Whether nothing here waits for it but whoever said so.
    fn may_wait(self) -> bool {
        match self {
            Self::Webhook | Self::Redis | Self::Admin => true,
            Self::Write | Self::Origin | Self::Gap => false,
        }
    }
}

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
    settings: Settings,
    store: Arc<Store>,
    clock: Clock,
    metrics: Arc<Metrics>,
    journal: Journal,
    /// Held by whoever applies.
    turn: Mutex<()>,
    batches: Batches,
    audit: Audit,
    allowance: Allowance,
    before_all: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// The write that an invalidation belongs to: its ticket, and the tags of its own answer.
type Writer<'a> = (&'a FillTicket, &'a [Tag]);

impl Invalidator {
    /// The applier for `store`.
    pub fn new(settings: Settings, store: Arc<Store>, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let (journal, batches) = (Journal::local(store.applied()), Batches::new(settings.max_batch));
        let (turn, audit, allowance) = (Mutex::default(), Audit::default(), Allowance::default());
        let before_all = OnceLock::new();
        Self(Arc::new(Shared {
            settings,
            store,
            clock,
            metrics,
            journal,
            turn,
            batches,
            audit,
            allowance,
            before_all,
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
        let cause = self.expand(invalidation);
        if self.0.settings.debounce.is_zero() || !cause.invalidation.source.may_wait() {
            return self.alone(cause, since, None).0;
        }
        let (answer, applied) = oneshot::channel();
        match self.0.batches.join(Waiting { cause, since, answer }) {
            Joined::First(number) => self.open_window(number),
            Joined::Behind => {}
            Joined::Full(batch) => self.together(batch),
        }
        applied.await.expect("what has joined a batch is applied with it")
    }

    /// The same for a write that began with `began`, whose own answer would carry `kept`: with the ticket under which that
    /// may be stored.
    pub async fn apply_by(
        &self,
        invalidation: Invalidation,
        began: &FillTicket,
        kept: &[Tag],
    ) -> (Applied, Option<FillTicket>) {
        let since = self.0.clock.mono();
        self.alone(self.expand(invalidation), since, Some((began, kept)))
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
    pub fn preview(&self, invalidation: &Invalidation) -> Preview {
        let Cause { invalidation, asked } = self.expand(invalidation.clone());
        let mut items = audit::words(&invalidation.reach.items);
        let derived = items.split_off(asked.min(items.len()));
        Preview { items, derived, entries: Tally::of(&self.0.store.find(&invalidation.reach)) }
    }

    /// What was invalidated lately, the oldest first.
    pub fn audit(&self, query: &Query) -> Vec<Arc<Audited>> {
        self.0.audit.find(query)
    }

    /// Applies what waits in a batch; from now on nothing waits. To be called when the process is about to stop.
    pub fn hurry(&self) {
        self.together(self.0.batches.hurry());
    }

    /// What the configuration says of invalidation.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// What is counted.
    pub(in crate::invalidate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn expand(&self, mut invalidation: Invalidation) -> Cause {
        let asked = invalidation.reach.items.len();
        if !invalidation.without_derived {
            self.0.settings.dependencies.extend(&mut invalidation.reach);
        }
        Cause { invalidation, asked }
    }

    fn open_window(&self, number: u64) {
        // Not the caller's: he may leave.
        let invalidator = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(invalidator.0.settings.debounce).await;
            invalidator.together(invalidator.0.batches.take(number));
        });
    }

    /// Applies one by itself.
    fn alone(&self, cause: Cause, since: Duration, by: Option<Writer<'_>>) -> (Applied, Option<FillTicket>) {
        let Invalidation { reach, mode, hold, author, .. } = &cause.invalidation;
        let outdate = Outdate { reach: reach.clone(), mode: *mode, hold: *hold, author: *author };
        let (record, applied, renewed) = self.commit(Record { causes: vec![cause], outdate }, by);
        self.note(&record.causes[0], since, &applied);
        (applied, renewed)
    }

    /// Applies a batch, and answers everyone in it.
    fn together(&self, batch: Vec<Waiting>) {
        for ((mode, hold), group) in batch::alike(batch) {
            let mut callers = Vec::with_capacity(group.len());
            let causes = group.into_iter().map(|waiting| {
                callers.push((waiting.since, waiting.answer));
                waiting.cause
            });
            let causes: Vec<Cause> = causes.collect();
            let outdate = Outdate { reach: batch::merged(&causes), mode, hold, author: None };
            let (record, applied, _) = self.commit(Record { causes, outdate }, None);
            let shares = batch::shares(&record.causes, &applied.reached);
            for ((cause, (since, answer)), reached) in record.causes.iter().zip(callers).zip(shares) {
                let applied = Applied { position: applied.position, reached };
                self.note(cause, since, &applied);
                // He may have left.
                let _ = answer.send(applied);
            }
        }
    }

    /// Gives a record its place, and applies what is not applied yet up to it, in order.
    fn commit(&self, record: Record, by: Option<Writer<'_>>) -> (Arc<Record>, Applied, Option<FillTicket>) {
        let Shared { journal, store, clock, metrics, .. } = &*self.0;
        let _turn = self.0.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let appended = clock.mono();
        let own = journal.append(record);
        loop {
            let (position, record) = journal.read().expect("a record stands there until it is applied");
            let now = clock.mono();
            // Before, or those who come between would be the herd.
            if record.outdate.reach.items.iter().any(is_whole_store)
                && let Some(act) = self.0.before_all.get()
            {
                act();
            }
            let (applied, renewed) = match by.filter(|_| position == own) {
                Some((began, kept)) => store.outdate_by(&record.outdate, now, began, kept),
                None => (store.outdate(&record.outdate, now), None),
            };
            debug_assert_eq!(applied.position, position, "nothing is outdated but through the journal");
            metrics.invalidation_applied(applied.reached.len() as u64, clock.mono().saturating_sub(appended));
            let standing = (journal.renew(position), journal.fence(position));
            debug_assert_eq!(
                standing,
                (Lease::Held, Fence::Closed),
                "a node that is alone is never shut out"
            );
            if position == own {
                return (record, applied, renewed);
            }
        }
    }
}

impl Invalidator {
    /// Writes down what was applied, and counts it.
    fn note(&self, cause: &Cause, since: Duration, applied: &Applied) {
        let Cause { invalidation: of, asked } = cause;
        let now = self.0.clock.now();
        self.0.metrics.invalidated(of.source.as_str(), of.mode.as_str(), now.mono.saturating_sub(since));
        self.0.audit.add(Audited {
            position: applied.position,
            at: now.wall,
            source: of.source,
            actor: of.actor.clone(),
            id: of.id.clone(),
            mode: of.mode,
            reach: of.reach.clone(),
            asked: *asked,
            entries: Tally::of(&applied.reached),
        });
    }
}

/// Whether nothing is left after it.
fn is_whole_store(item: &Item) -> bool {
    matches!(item, Item::All | Item::Paths { .. }) && is_everything(item)
}

/// Whether it reaches names that nobody ever heard of.
pub(in crate::invalidate) fn is_everything(item: &Item) -> bool {
    let unheard_of = "/\u{2}/\u{2}";
    match item {
        Item::All => true,
        Item::Tag(_) => false,
        Item::Tags(gaps) => gaps.matches(unheard_of),
        Item::Paths { host, paths } => host.is_none() && paths.contain(unheard_of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalidate::testing::{World, of};
    use crate::store::position::Known;
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
                        let by = world.invalidator.apply_by(write, &ticket, &kept);
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
        let by =
            |began| world.invalidator.apply_by(of(Source::Write, "t"), began, &kept).now_or_never().unwrap();
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

    #[test]
    fn everything_is_rationed_for_those_who_wish_it_and_for_nobody_else() {
        let world = World::new(Settings::default());
        let all =
            |source, reach: &Reach| Invalidation { reach: reach.clone(), source, ..Invalidation::default() };
        let below = purge::of_words("/{rest:path}").unwrap();
        for n in 0..allowance::BURST {
            let reach = if n % 2 == 0 { &below } else { &Reach::all() };
            world.invalidator.allow(&all(Source::Admin, reach)).unwrap();
        }
        for reach in [Reach::all(), below, purge::of_words("*").unwrap(), purge::of_words("/*").unwrap()] {
            let why = world.invalidator.allow(&all(Source::Webhook, &reach)).unwrap_err();
            assert_eq!(why.retry_after, allowance::EVERY, "{reach:?}");
        }
        world.invalidator.allow(&all(Source::Gap, &Reach::all())).unwrap();
        world.invalidator.allow(&of(Source::Admin, "project:* /api/*")).unwrap();
    }

    #[test]
    fn a_preview_says_what_would_go_and_does_nothing() {
        let world = World::new(Settings::default());
        let route = Tag::route("/api/{id}");
        let entry = world.keep("a", &[Tag::named("a"), route.clone()]);
        world.keep("b", &[Tag::named("a"), Tag::named("z")]);
        let preview = world.invalidator.preview(&of(Source::Admin, "a /x"));
        assert_eq!((preview.items, preview.derived), (vec!["a".to_owned(), "/x".to_owned()], vec![]));
        let routes = vec![("/api/{id}".to_owned(), 1), ("unmatched".to_owned(), 1)];
        assert_eq!(preview.entries, Tally { total: 2, routes });
        assert!(!entry.is_dead() && world.store.applied().n == 0);
    }
}
