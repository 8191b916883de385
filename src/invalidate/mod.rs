//! The one applier: whatever outdates anything, from whichever source, becomes an [`Invalidation`] and goes through here.
//!
//! Invariant: when [`Invalidator::apply`] returns, the invalidation and all that follows from it is applied. It refuses to
//! know HTTP.

pub mod event;
pub mod subscription;
pub mod webhook;

use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::route::derive::Dependencies;
use crate::route::identity::Digest;
use crate::route::reach::Reach;
use crate::route::tag::Tag;
use crate::store::position::{Hold, Mode, Outdate};
use crate::store::ticket::FillTicket;
use crate::store::{Applied, Store};

/// `invalidation:`, `events:` and `webhooks:` of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Invalidations from outside that come within this time are applied together; zero: each at once.
    pub debounce: std::time::Duration,
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
}

/// Whose writing it is, as far as requests can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Author {
    /// Whoever shows these credentials.
    Credential(Digest),
    /// Whoever comes from this address without any.
    Address(IpAddr),
}

/// Applies invalidations. Cheap to clone.
#[derive(Clone)]
pub struct Invalidator(Arc<Shared>);

struct Shared {
    settings: Settings,
    store: Arc<Store>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Invalidator {
    /// The applier for `store`.
    pub fn new(settings: Settings, store: Arc<Store>, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Shared { settings, store, clock, metrics }))
    }

    /// What is derived from what.
    pub fn dependencies(&self) -> &Dependencies {
        &self.0.settings.dependencies
    }

    /// Applies it, and all that is derived from it. When this returns it holds.
    pub async fn apply(&self, invalidation: Invalidation) -> Applied {
        let outdate = self.expand(invalidation);
        self.0.store.outdate(&outdate, self.0.clock.mono())
    }

    /// The same for a write that began with `began`, whose own answer would carry `kept`: with the ticket under which that
    /// may be stored.
    pub async fn apply_by(
        &self,
        invalidation: Invalidation,
        began: &FillTicket,
        kept: &[Tag],
    ) -> (Applied, Option<FillTicket>) {
        let outdate = self.expand(invalidation);
        self.0.store.outdate_by(&outdate, self.0.clock.mono(), began, kept)
    }

    fn expand(&self, invalidation: Invalidation) -> Outdate {
        let Invalidation { mut reach, mode, hold, without_derived, .. } = invalidation;
        if !without_derived {
            self.0.settings.dependencies.extend(&mut reach);
        }
        let _ = &self.0.metrics;
        Outdate { reach, mode, hold }
    }
}
