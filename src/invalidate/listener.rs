//! Keeps a subscription up: connects, listens, applies, and begins again when it is lost.
//!
//! Invariant: no message is lost unseen. What is heard is applied, or counted as bad; what is not read yet stays with Redis,
//! which leaves who lags too far behind, and that is a gap. Memory is bounded whatever is published: nothing is read while
//! [`MAX_APPLYING`] messages are under way. It refuses to know what a message means.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, sleep_until};

use crate::fault::{self, Fault};
use crate::invalidate::event::{self, Event};
use crate::invalidate::pace::{Complaints, Ids, Pace};
use crate::invalidate::said::{Said, is_pattern, shown};
use crate::invalidate::subscription::{OnGap, Settings, Subscription};
use crate::invalidate::{Invalidation, Invalidator, Source};
use crate::redis::place::Place;
use crate::redis::{CONNECT, Connection, Error, LONGEST_BACKOFF, backoff, refused};
use crate::route::reach::Reach;
use crate::store::position::Mode;

/// Silence after which Redis is asked whether it is there.
const QUIET: Duration = Duration::from_secs(2);

/// Time that it has to answer: [`QUIET`] and this after its last word, a connection counts as lost.
const ANSWER: Duration = Duration::from_secs(3);

/// Most messages that are being applied at once; then no further one is read.
const MAX_APPLYING: usize = 1000;

/// Most bytes of them, but for the last.
const MAX_APPLYING_BYTES: usize = 1 << 20;

/// The one who listens.
pub(in crate::invalidate) struct Listener {
    settings: Settings,
    invalidator: Invalidator,
    place: Place,
    subscription: Subscription,
    applying: Applying,
    ids: Ids,
    all: Pace,
    complaints: Complaints,
}

impl Listener {
    pub(in crate::invalidate) fn new(
        settings: Settings,
        invalidator: Invalidator,
        place: Place,
        subscription: Subscription,
    ) -> Self {
        Self {
            settings,
            invalidator,
            place,
            subscription,
            applying: Applying::default(),
            ids: Ids::default(),
            all: Pace::default(),
            complaints: Complaints::default(),
        }
    }

    /// Never ends.
    pub(in crate::invalidate) async fn run(mut self) {
        let random = ahash::RandomState::new();
        let mut failures = 0;
        loop {
            let mut since = None;
            let Err(why) = self.listen(&mut since).await;
            self.lost(&why);
            // What was heard for a while is tried again soon; what breaks each time is left in peace.
            let was_steady = since.is_some_and(|since: Instant| since.elapsed() > LONGEST_BACKOFF);
            failures = if was_steady { 1 } else { failures + 1 };
            let delay = sleep(backoff(failures, random.hash_one(failures)));
            tokio::join!(delay, self.finish());
        }
    }

    /// Connects, subscribes, and applies what is heard until it is lost; `since` becomes the moment from which it was
    /// heard.
    async fn listen(&mut self, since: &mut Option<Instant>) -> Result<Infallible, Error> {
        let mut connection = self.place.connect().await?;
        let mut unconfirmed = self.subscribe(&mut connection).await?;
        let mut pulse = Pulse { due: Instant::now() + CONNECT, asked: true };
        loop {
            // What has arrived already is taken without a wait: others have their turn all the same.
            tokio::task::consume_budget().await;
            let has_room = self.applying.has_room();
            tokio::select! {
                // What was heard is applied before more is: in its order, but for what the applier puts together.
                biased;
                () = self.applying.one_is_done() => {
                    if !has_room {
                        pulse = Pulse::default();
                    }
                }
                all = self.all.due() => self.apply(all, 0),
                reply = connection.reply(), if has_room => {
                    pulse = Pulse::default();
                    match Said::read(reply?) {
                        Said::Message { channel, payload } => self.hear(&channel, &payload),
                        Said::Confirmed => unconfirmed = unconfirmed.saturating_sub(1),
                        Said::Complaint(why) if unconfirmed > 0 => return Err(refused(&why)),
                        Said::Complaint(_) | Said::Other => {}
                    }
                    if unconfirmed == 0 && since.is_none() {
                        self.confirmed().await;
                        *since = Some(Instant::now());
                    }
                }
                () = sleep_until(pulse.due), if has_room => {
                    if unconfirmed > 0 || pulse.asked {
                        return Err(Error::Timeout);
                    }
                    pulse = Pulse { due: Instant::now() + ANSWER, asked: true };
                    connection.send(&redis::cmd("PING")).await?;
                }
            }
        }
    }

    /// Asks for every channel; gives how many confirmations have to come.
    async fn subscribe(&mut self, connection: &mut Connection) -> Result<usize, Error> {
        let (patterns, names): (Vec<&String>, Vec<&String>) =
            self.settings.channels.iter().partition(|channel| is_pattern(channel));
        for (command, channels) in [("SUBSCRIBE", &names), ("PSUBSCRIBE", &patterns)] {
            if !channels.is_empty() {
                connection.send(redis::cmd(command).arg(channels)).await?;
            }
        }
        Ok(self.settings.channels.len())
    }

    /// From now on nothing is missed; what may have been missed before is dealt with.
    async fn confirmed(&mut self) {
        tracing::info!("listening to {} on {}", self.settings.channels.join(" "), self.place.at());
        if self.subscription.confirmed() {
            self.close_gap().await;
            self.subscription.gap_is_closed();
        }
        self.invalidator.metrics().channels().set_connected(true);
    }

    async fn close_gap(&mut self) {
        let (mode, outcome) = match self.settings.on_gap {
            OnGap::Purge => (Some(Mode::Hard), "everything kept is removed"),
            OnGap::SoftPurge => (Some(Mode::Soft), "everything kept is stale"),
            OnGap::Ignore => (None, "everything is kept all the same"),
        };
        if let Some(mode) = mode.filter(|_| !fault::is(Fault::GapIgnored)) {
            let reach = Reach::all();
            let (source, actor) = (Source::Gap, "redis.on_gap".to_owned());
            let gap =
                Invalidation { reach, mode, source, actor, without_derived: true, ..Invalidation::default() };
            self.invalidator.apply(gap).await;
        }
        self.invalidator.metrics().channels().gap();
        tracing::warn!("what was said on {} meanwhile went unheard: {outcome}", self.place.at());
    }

    fn lost(&self, why: &Error) {
        let (address, needs_people) = (&self.place.at(), matches!(why, Error::Refused(_)));
        let why = why.to_string();
        self.invalidator.metrics().channels().set_connected(false);
        match self.subscription.lost(&why) {
            true if needs_people => {
                tracing::error!("{address}: {why}; nothing is heard on it until that is mended")
            }
            true => tracing::warn!("{address}: {why}; nothing is heard on it until it is back"),
            false => tracing::debug!("{address}: {why}"),
        }
    }

    /// Applies what was heard, whatever became of the connection.
    async fn finish(&mut self) {
        if let Some(all) = self.all.take() {
            self.apply(all, 0);
        }
        while !self.applying.futures.is_empty() {
            self.applying.one_is_done().await;
        }
    }

    fn hear(&mut self, channel: &[u8], payload: &[u8]) {
        match event::read(payload, &self.invalidator.settings().events) {
            Ok(Event::Outdates(outdates)) => {
                if outdates.id.is_some() && !self.ids.is_new(payload) {
                    return;
                }
                let invalidation = outdates.invalidation(Source::Redis, shown(channel));
                if let Some(invalidation) = self.all.pass(invalidation) {
                    self.apply(invalidation, payload.len());
                }
            }
            Ok(Event::Unmatched { name, .. }) => {
                self.invalidator.metrics().event_unmatched();
                tracing::debug!("no rule of `events` knows {name:?}, heard on {}", shown(channel));
            }
            Err(why) => {
                self.invalidator.metrics().channels().bad_message();
                self.subscription.bad_message();
                self.complaints.make(Instant::now(), || {
                    format!("bad message on {}: {why}: {}", shown(channel), shown(payload))
                });
            }
        }
    }

    fn apply(&mut self, invalidation: Invalidation, bytes: usize) {
        let invalidator = self.invalidator.clone();
        let apply = async move {
            invalidator.apply(invalidation).await;
            bytes
        };
        self.applying.bytes += bytes;
        self.applying.futures.push(apply.boxed());
    }
}

/// When the other end has to have said something.
struct Pulse {
    due: Instant,
    /// Whether it was asked to.
    asked: bool,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { due: Instant::now() + QUIET, asked: false }
    }
}

/// Messages on their way through the applier, which may put several together.
#[derive(Default)]
struct Applying {
    futures: FuturesUnordered<BoxFuture<'static, usize>>,
    bytes: usize,
}

impl Applying {
    fn has_room(&self) -> bool {
        self.futures.len() < MAX_APPLYING && self.bytes < MAX_APPLYING_BYTES
    }

    /// Waits until one of them is applied; for ever, if there is none.
    async fn one_is_done(&mut self) {
        match self.futures.next().await {
            Some(bytes) => self.bytes -= bytes,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::invalidate::audit::Query;
    use crate::metrics::Metrics;
    use crate::redis::Address;
    use crate::redis::place::Where;
    use crate::store::{self, Store};
    use std::sync::Arc;
    use std::time::SystemTime;

    fn listener(store: &Arc<Store>, metrics: &Arc<Metrics>, on_gap: OnGap, debounce: Duration) -> Listener {
        let settings = crate::invalidate::Settings { debounce, max_batch: 10, ..Default::default() };
        let clock = Clock::manual(SystemTime::UNIX_EPOCH);
        let invalidator = Invalidator::new(settings, Arc::clone(store), clock, Arc::clone(metrics));
        let settings = Settings { elsewhere: None, channels: vec!["c".into()], on_gap };
        let nowhere = Where::One(Address::parse("redis://nowhere").unwrap());
        Listener::new(settings, invalidator, Place::new(nowhere, "").unwrap(), Subscription::default())
    }

    fn parts() -> (Arc<Store>, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new(&[]));
        let settings = store::Settings { memory: 1 << 20, entries: None };
        (Arc::new(Store::new(&settings, Arc::clone(&metrics))), metrics)
    }

    #[tokio::test]
    async fn a_gap_removes_or_softens_everything_or_leaves_it() {
        for (on_gap, mode) in
            [(OnGap::Purge, Some(Mode::Hard)), (OnGap::SoftPurge, Some(Mode::Soft)), (OnGap::Ignore, None)]
        {
            let (store, metrics) = parts();
            let mut listener = listener(&store, &metrics, on_gap, Duration::ZERO);
            listener.close_gap().await;
            let audited = listener.invalidator.audit(&Query::default());
            let applied = audited.iter().map(|audited| {
                assert_eq!((audited.source, &audited.reach), (Source::Gap, &Reach::all()));
                audited.mode
            });
            assert_eq!(applied.collect::<Vec<_>>(), Vec::from_iter(mode), "{on_gap:?}");
            assert!(
                metrics.encode().contains("\nlarder_redis_gaps_total 1\n"),
                "it is counted whatever follows"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_is_read_while_too_much_is_being_applied() {
        let (store, metrics) = parts();
        let mut listener = listener(&store, &metrics, OnGap::Purge, Duration::from_secs(1));
        for n in 0..9 {
            listener.hear(b"c", format!("tag-{n}").as_bytes());
        }
        assert!(listener.applying.has_room(), "they wait for one another");
        let large = vec![b'x'; 200];
        let words = vec![large; MAX_APPLYING_BYTES / 201 / 5].join(&b' ');
        while listener.applying.has_room() {
            listener.hear(b"c", &words);
        }
        assert!(listener.applying.futures.len() < 20);
        while !listener.applying.futures.is_empty() {
            listener.applying.one_is_done().await;
        }
        assert_eq!(listener.applying.bytes, 0);
        assert_eq!(store.applied().n, 2, "they went together, as many as may");
    }

    #[tokio::test]
    async fn what_names_nothing_known_is_counted_and_harms_nobody() {
        let (store, metrics) = parts();
        let mut listener = listener(&store, &metrics, OnGap::Purge, Duration::ZERO);
        listener.hear(b"c", br#"{"type": "never.heard"}"#);
        listener.hear(b"c", b"{");
        listener.finish().await;
        let text = metrics.encode();
        assert!(text.contains("\nlarder_events_unmatched_total 1\n"));
        assert!(text.contains("\nlarder_redis_bad_messages_total 1\n"));
        assert_eq!(store.applied().n, 0);
    }
}
