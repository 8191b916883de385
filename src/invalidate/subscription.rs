//! The channels of a Redis on which the backend says what it changed: what is to be heard, and how that stands.
//!
//! Pub/sub keeps nothing for who is not there, so whatever was kept while nobody listened may be outdated: a *gap*. It is
//! dealt with as `on_gap` says, after the channels are heard again and before anything said on them is applied.
//!
//! ```text
//!          ┌────────────── lost: the connection ended, or is silent, or refuses ──────────────┐
//!          ▼                                                                                  │
//!   deaf ── every channel confirmed ──► could anything be stored meanwhile? ── no ──► hearing ┘
//!    ▲ └─ fails: later again                              └─ yes: a gap, on_gap ────────┘
//! ```
//! Invariant: `connected` is shown only after the gap before it is dealt with. It refuses to know what a message means.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::invalidate::Invalidator;
use crate::invalidate::listener::Listener;
use crate::redis::Error;
use crate::redis::place::{Place, Where};

/// Longest wait at start for the channels, so that nothing is stored before they are heard.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// `redis.subscribe`, `redis.subscribe_url` (else `redis.url`) and `redis.on_gap`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where; `None`: where the fleet's Redis is.
    pub elsewhere: Option<Where>,
    /// The channels; those with `*`, `?` or `[` are patterns.
    pub channels: Vec<String>,
    /// What becomes of what is kept after the subscription was lost.
    pub on_gap: OnGap,
}

/// What becomes of what is kept after the subscription was lost, for nobody knows what was said meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnGap {
    /// All of it is removed (default).
    #[default]
    Purge,
    /// All of it is stale.
    SoftPurge,
    /// Nothing.
    Ignore,
}

/// How it stands with the channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether all of them are heard.
    pub connected: bool,
    /// How often they may have said something unheard.
    pub gaps: u64,
    /// Messages that were not understood.
    pub bad_messages: u64,
    /// Why they were not heard the last time; without a password in it.
    pub last_error: Option<String>,
}

/// A subscription that is kept up. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Subscription(Arc<watch::Sender<State>>);

#[derive(Debug, Default)]
struct State {
    status: Status,
    /// Whether answers may be stored: then a time without the channels is a gap.
    storing: bool,
}

impl Subscription {
    /// Begins to listen, and goes on until the task is aborted; nothing, if no channel is named. `fleet` is where the fleet's
    /// Redis is.
    ///
    /// # Errors
    /// [`Unusable`]: waiting would not help.
    pub fn start(
        invalidator: &Invalidator,
        fleet: Option<&Place>,
    ) -> Result<Option<(Self, JoinHandle<()>)>, Unusable> {
        let Some(settings) = invalidator.settings().subscription.clone() else { return Ok(None) };
        let place = match (settings.elsewhere.clone(), fleet) {
            // No key is asked for: channels lie in no slot.
            (Some(elsewhere), _) => {
                let at = elsewhere.to_string();
                Place::new(elsewhere, "").map_err(|why| Unusable::Tls { at, why })?
            }
            (None, Some(fleet)) => fleet.clone(),
            (None, None) => return Ok(None),
        };
        invalidator.metrics().channels().set_connected(false);
        let this = Self::default();
        let listener = Listener::new(settings, invalidator.clone(), place, this.clone());
        Ok(Some((this, tokio::spawn(listener.run()))))
    }

    /// To be awaited before anything may be stored: waits until the channels are heard, but neither longer than a second
    /// nor for a Redis that is not there.
    pub async fn storing_begins(&self) {
        let mut states = self.0.subscribe();
        let tried = states.wait_for(|state| state.status.connected || state.status.last_error.is_some());
        // Whatever came of it, the answer is in the state.
        let _ = timeout(FIRST_WAIT, tried).await;
        self.0.send_modify(|state| state.storing = true);
    }

    /// How it stands now.
    pub fn status(&self) -> Status {
        self.0.borrow().status.clone()
    }

    /// All channels are confirmed: says whether that ends a gap. If so, [`Self::gap_is_closed`] has to follow.
    pub(in crate::invalidate) fn confirmed(&self) -> bool {
        let mut is_gap = false;
        // One step with `storing_begins`: either that finds the channels heard, or this finds that answers may be stored.
        self.0.send_modify(|state| {
            is_gap = state.storing;
            state.status.connected = !is_gap;
        });
        is_gap
    }

    pub(in crate::invalidate) fn gap_is_closed(&self) {
        self.0.send_modify(|state| {
            state.status.connected = true;
            state.status.gaps += 1;
        });
    }

    /// The channels are not heard; says whether that is news.
    pub(in crate::invalidate) fn lost(&self, why: &str) -> bool {
        let mut is_news = false;
        self.0.send_modify(|state| {
            is_news = state.status.connected || state.status.last_error.as_deref() != Some(why);
            state.status.connected = false;
            state.status.last_error = Some(why.to_owned());
        });
        is_news
    }

    pub(in crate::invalidate) fn bad_message(&self) {
        self.0.send_modify(|state| state.status.bad_messages += 1);
    }
}

/// Why nothing can ever be heard.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// There are no root certificates to trust.
    #[error("`redis.subscribe`: {at}: {why}")]
    Tls {
        /// Where, without user and password.
        at: String,
        /// What is missing.
        why: Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn channels_that_are_heard_before_anything_is_stored_missed_nothing() {
        let subscription = Subscription::default();
        let begins = subscription.storing_begins();
        let (is_gap, ()) = tokio::join!(async { subscription.confirmed() }, begins);
        assert!(!is_gap);
        assert!(subscription.status().connected);
        subscription.lost("x");
        assert!(subscription.confirmed(), "but the next time they may have");
        assert!(!subscription.status().connected, "the gap is not closed yet");
        subscription.gap_is_closed();
        assert!(subscription.status().connected);
        assert_eq!(subscription.status().gaps, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_redis_that_is_silent_at_start_is_waited_for_no_longer_than_a_second_and_then_was_a_gap() {
        let (subscription, start) = (Subscription::default(), tokio::time::Instant::now());
        subscription.storing_begins().await;
        assert_eq!(start.elapsed(), FIRST_WAIT);
        assert!(subscription.confirmed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_redis_that_is_not_there_is_not_waited_for() {
        let (subscription, start) = (Subscription::default(), tokio::time::Instant::now());
        subscription.lost("refused");
        subscription.storing_begins().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[test]
    fn the_same_failure_again_is_no_news() {
        let subscription = Subscription::default();
        assert!(subscription.lost("a"));
        assert!(!subscription.lost("a"));
        assert!(subscription.lost("b"));
        subscription.confirmed();
        assert!(subscription.lost("b"));
        assert_eq!(subscription.status().last_error.as_deref(), Some("b"));
    }
}
