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
pub mod journal;
mod listener;
mod pace;
pub mod purge;
mod said;
pub mod subscription;
pub mod webhook;

use std::net::IpAddr;
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
use crate::route::identity::Digest;
use crate::route::reach::{Item, Reach};
use crate::route::tag::Tag;
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

/// Whose writing it is, as far as requests can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Author {
    /// Whoever shows these credentials.
    Credential(Digest),
    /// Whoever comes from this address without any.
    Address(IpAddr),
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

    /// `events:`, for whoever reads messages.
    pub fn names(&self) -> &event::Names {
        &self.0.settings.events
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
        let Invalidation { reach, mode, hold, .. } = &cause.invalidation;
        let outdate = Outdate { reach: reach.clone(), mode: *mode, hold: *hold };
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
            let outdate = Outdate { reach: batch::merged(&causes), mode, hold };
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
        self.0.metrics.invalidated(of.source.as_str(), audit::mode(of.mode), now.mono.saturating_sub(since));
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
