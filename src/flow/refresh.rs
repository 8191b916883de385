//! What a write dropped and was hot, fetched again before it is asked for (`refresh: true`).
//!
//! ```text
//! reached ─ hot, everybody's, asked by its target ─ hottest first, MOST ─ settle ─ AT_ONCE ─ the walk of a read ─┐
//!                                                                           └───── overtaken by another write ────┘
//! ```
//! Invariant: it is a read like any, with a ticket of its own and under the join rule; only what everybody shares is
//! fetched, with nobody's credentials; and it waits for nobody, nor anybody for it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use http::request::Parts as Head;
use http_body_util::BodyExt;
use tokio::sync::Semaphore;

use crate::body::Body;
use crate::clock::Now;
use crate::drain::Phase;
use crate::flow::{Client, Shared};
use crate::invalidate::applied::Reached;
use crate::route::key::Key;
use crate::route::reach::Reach;
use crate::store::Found;
use crate::store::entry::Entry;
use crate::store::position::Outdated;

/// Hits that make an entry hot, however old it is; a fresh one is by its first, or by those of what was there before it.
const HOT: u32 = 3;
/// Most that one write has fetched again.
const MOST: usize = 32;
/// Most that are fetched again at once, by all writes together.
const AT_ONCE: usize = 4;
/// Most times that one entry is fetched again for a write: another one may come before the fetch is done, or settled.
const ROUNDS: usize = 8;
/// Shortest pause before the second time; it doubles.
const PAUSE: Duration = Duration::from_millis(10);
/// Most writes that wait to have something fetched again; what more of them dropped is fetched when it is asked for.
const WAITING: usize = 256;

/// How much is fetched again.
#[derive(Debug)]
pub(crate) struct Room {
    at_once: Semaphore,
    waiting: Arc<Semaphore>,
}

impl Room {
    /// From now on nothing is.
    pub(crate) fn close(&self) {
        self.waiting.close();
    }
}

impl Default for Room {
    fn default() -> Self {
        Self { at_once: Semaphore::new(AT_ONCE), waiting: Arc::new(Semaphore::new(WAITING)) }
    }
}

/// An entry, as it is asked for again.
struct Wanted {
    key: Key,
    head: Head,
    client: Client,
    settle: Duration,
    heat: u8,
}

impl Shared {
    /// Fetches again, behind everybody's back, what of `dropped` lies in `reach` and was hot.
    pub(crate) fn refresh(self: &Arc<Self>, dropped: Vec<Reached>, reach: Reach) {
        let Ok(waiting) = Arc::clone(&self.lasting.refreshes.waiting).try_acquire_owned() else { return };
        let flow = Arc::clone(self);
        tokio::spawn(async move {
            let mut drain = flow.drain.clone();
            tokio::select! {
                () = drain.reached(Phase::Draining) => {}
                () = flow.fetch_the_hottest(dropped, reach) => {}
            }
            drop(waiting);
        });
    }

    /// To look for them takes its time where much was dropped, so it is done where no task waits for it.
    async fn fetch_the_hottest(self: &Arc<Self>, dropped: Vec<Reached>, reach: Reach) {
        let (flow, now) = (Arc::clone(self), self.clock.now());
        let wanted = tokio::task::spawn_blocking(move || flow.hottest(&dropped, &reach, now));
        if let Ok(wanted) = wanted.await {
            self.fetch_again(wanted).await;
        }
    }

    fn hottest(&self, dropped: &[Reached], reach: &Reach, now: Now) -> Vec<Wanted> {
        let is_hot = |entry: &Entry| entry.hits() >= HOT || (entry.heat() > 0 && entry.life.is_fresh(now));
        let is_meant =
            |entry: &&Arc<Entry>| is_hot(entry) && entry.tags().iter().any(|tag| reach.covers(tag));
        let mut hot: Vec<&Arc<Entry>> =
            dropped.iter().flat_map(|reached| reached.iter()).filter(is_meant).collect();
        hot.sort_by_key(|entry| std::cmp::Reverse((entry.hits(), entry.heat())));
        let mut seen: HashSet<(&Key, String), ahash::RandomState> = HashSet::default();
        let distinct =
            hot.into_iter().filter(|entry| seen.insert((entry.key(), format!("{:?}", entry.selector))));
        distinct.filter_map(|entry| self.wanted(entry)).take(MOST).collect()
    }

    /// How an entry is asked for again; `None`: it is a part, somebody's own, or not by its target alone.
    fn wanted(&self, entry: &Entry) -> Option<Wanted> {
        let (head, client, settle) = self.again(entry)?;
        Some(Wanted { key: entry.key().clone(), head, client, settle, heat: entry.heat() })
    }

    async fn fetch_again(self: &Arc<Self>, wanted: Vec<Wanted>) {
        stream::iter(wanted).for_each_concurrent(MOST, |wanted| self.fetch_one_again(wanted)).await;
    }

    /// After the `settle` of its route: what is fetched before is not stored. What another write overtakes had been dropped
    /// by this one, so this one goes on.
    async fn fetch_one_again(self: &Arc<Self>, wanted: Wanted) {
        let mut pause = wanted.settle;
        for _ in 0..ROUNDS {
            tokio::time::sleep(pause).await;
            let Ok(_turn) = self.lasting.refreshes.at_once.acquire().await else { return };
            if self.is_stored_again(&wanted) {
                return;
            }
            let now = self.clock.now();
            let answer =
                Arc::clone(self).walk(wanted.head.clone(), Body::Empty, wanted.client, None, now).await;
            // Its flight ends by itself; the turn is given back when it has.
            let mut body = answer.response.into_body();
            while let Some(Ok(_)) = body.frame().await {}
            if self.is_stored_again(&wanted) || !self.is_overtaken(&wanted.key, now.mono) {
                return;
            }
            pause = 2 * pause.max(PAUSE);
        }
    }

    /// Whether what was fetched for `key` since `begun` (monotonic) is not stored because of another write.
    fn is_overtaken(&self, key: &Key, begun: Duration) -> bool {
        let by_writes = [Outdated::Invalidated, Outdated::Settling].map(Outdated::as_str);
        self.store.refusal(key).is_some_and(|refusal| refusal.at >= begun && by_writes.contains(&refusal.why))
    }

    /// Whether it is there again, whoever fetched it: then writes may follow one another faster than reads, and it stays hot
    /// for some of them.
    fn is_stored_again(&self, wanted: &Wanted) -> bool {
        let now = self.clock.now();
        let found = self.lookup(&wanted.head.headers, &wanted.key, now.mono);
        let Found::Entry(entry) = found else { return false };
        let is_there = entry.softened().is_none() && entry.life.is_fresh(now);
        if is_there {
            entry.inherit(wanted.heat);
        }
        is_there
    }
}
