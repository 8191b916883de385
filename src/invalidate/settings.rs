//! What the configuration says of invalidation; another one may take its place.

use std::sync::Arc;
use std::time::Duration;

use crate::invalidate::{Invalidator, event, raw, subscription, webhook};
use crate::route::derive::Dependencies;
use crate::route::write;

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
    /// `writes:`, for what is written through other nodes.
    pub writes: Vec<write::Rule>,
    /// `redis.subscribe`; `None`: no channel is listened to.
    pub subscription: Option<subscription::Settings>,
}

/// What the configuration says.
pub(in crate::invalidate) struct Ruled {
    pub(in crate::invalidate) settings: Arc<Settings>,
    /// Of the rules for what happens elsewhere.
    pub(in crate::invalidate) rules: u64,
}

impl Ruled {
    pub(in crate::invalidate) fn by(settings: Settings) -> Self {
        Self { rules: raw::fingerprint(&settings), settings: Arc::new(settings) }
    }
}

impl Invalidator {
    /// What the configuration says of invalidation.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.0.ruled.load().settings)
    }

    /// From now on it says this.
    pub fn put_in_force(&self, settings: Settings) {
        self.0.ruled.store(Arc::new(Ruled::by(settings)));
    }
}
