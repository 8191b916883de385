//! Does one job after the other: fetches a path, or reads a list and adds what it names.
//!
//! ```text
//! next ─ stopped? ─ pace ─┬ fetch ──────── counted, watched
//!                         └ read a page ── its values, the next page ─► queue
//! ```
//! Invariant: whatever becomes of a job, its run is settled for it once; an origin that is away is asked again later, a bounded
//! number of times.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::StatusCode;
use serde_json::Value;

use crate::clock::Now;
use crate::warm::ask::{self, Asked, Page};
use crate::warm::door::Asking;
use crate::warm::harvest::Watched;
use crate::warm::paging::MAX_PAGES;
use crate::warm::pattern::{Bindings, MAX_PATHS, picked};
use crate::warm::plan::Place;
use crate::warm::queue::{Errand, Job, Whom};
use crate::warm::run::{Outcome, Trigger};
use crate::warm::task::Each;
use crate::warm::{Shared, TICK, wanted};

/// How often a path is asked for at start while the origin is away; with the pauses between, some 40 seconds.
pub(crate) const TRIES: u32 = 10;
/// The same later: it is known to have been there.
const TRIES_LATER: u32 = 3;
/// The pause after the first try; it doubles, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// What is learnt is fetched anew if it is fresh for so long at most, or for a quarter of its life: more would cost the origin
/// more than it saves (`tests/traces`).
const SOON: Duration = Duration::from_secs(60);

/// Works until it is aborted.
pub(crate) async fn work(shared: Arc<Shared>) {
    loop {
        let job = shared.queue.next().await;
        let run = Arc::clone(&job.run);
        if run.is_cancelled() {
            shared.settle(&run);
            continue;
        }
        let work = AssertUnwindSafe(async {
            // What is fetched while the cache is off would not be kept.
            while shared.door.is_off() {
                tokio::time::sleep(TICK).await;
            }
            shared.carry_out(job).await;
        });
        tokio::select! {
            biased;
            () = run.cancelled() => shared.settle(&run),
            done = work.catch_unwind() => if done.is_err() {
                tracing::error!(run = run.id, "a request of warming failed on a bug of our own");
                shared.settle(&run);
            },
        }
    }
}

impl Shared {
    /// Does a job, and settles it; or puts it back for later.
    async fn carry_out(self: &Arc<Self>, mut job: Job) {
        self.paced().await;
        let asked = match &job.errand {
            Errand::Fetch(..) | Errand::Again(..) => self.fetch(&job).await,
            Errand::Read { .. } => match self.read(&job).await {
                Ok(()) => return self.settle(&job.run),
                Err(asked) => asked,
            },
        };
        job.tries += 1;
        let most = if job.run.trigger == Trigger::Start { TRIES } else { TRIES_LATER };
        if asked.is_away() && job.tries < most {
            return self.later(job);
        }
        if matches!(job.errand, Errand::Read { .. }) {
            // Of a list only what it names was counted on.
            job.run.needs(0, 1);
        }
        self.count(&job, &asked);
        self.settle(&job.run);
    }

    /// Waits until the next request may go.
    async fn paced(&self) {
        let at = self.lock_pace().reserve(tokio::time::Instant::now());
        tokio::time::sleep_until(at).await;
    }

    async fn fetch(&self, job: &Job) -> Asked {
        let asking = match self.asking(job) {
            Ok(asking) => asking,
            Err(why) => return failed(why),
        };
        let asked = match self.renewed(job, &asking).await {
            Some(asked) => asked,
            None => ask::fetch(&*self.door, asking.clone()).await,
        };
        if asked.outcome == Outcome::Stored
            && let Some(entry) = self.door.kept(asking)
        {
            let whose = match &job.whom {
                Whom::Person(person) => Some(person.digest()),
                Whom::Nobody | Whom::As(_) => None,
            };
            let label = self.label(&job.task.id).into();
            let (run, part) = (Arc::clone(&job.run), job.part);
            self.harvest.watch(&entry, Watched { run, part, label, whose });
        }
        asked
    }

    /// Fetches anew what is fresh now, and would not be until the task is due again, or, of what is learnt, expires soon; `None`:
    /// that is not so.
    async fn renewed(&self, job: &Job, asking: &Asking) -> Option<Asked> {
        let (entry, now) = (self.door.kept(asking.clone())?, self.clock.now());
        let horizon = match job.errand {
            Errand::Again(..) => SOON.min(entry.life.fresh_for() / 4),
            Errand::Fetch(..) | Errand::Read { .. } => self.until_next(&job.task.id)?,
        };
        let later = Now { mono: now.mono + horizon, wall: now.wall + horizon };
        if !entry.life.is_fresh(now) || entry.life.is_fresh(later) {
            return None;
        }
        let kept = self.door.renew(asking.clone()).await?;
        if kept.id() == entry.id() {
            return Some(failed("the origin did not renew it"));
        }
        let bytes = kept.response.body.len() as u64;
        Some(Asked { outcome: Outcome::Stored, status: None, bytes })
    }

    fn asking(&self, job: &Job) -> Result<Asking, &'static str> {
        let (path, origin) = match &job.errand {
            Errand::Again(target, _) => return Ok(Asking::Again(target.clone())),
            Errand::Fetch(path, origin) => (path, origin.as_ref()),
            Errand::Read { page, .. } => (page, None),
        };
        let unknown = "what is remembered of the identity does not open its entries any more";
        let headers = self.fields(job, origin).ok_or(unknown)?;
        ask::path(path, headers).ok_or("not a path of the upstream")
    }

    fn fields(&self, job: &Job, origin: Option<&http::HeaderValue>) -> Option<http::HeaderMap> {
        let settings = self.settings.load();
        let both = (&settings.headers, &job.task.headers);
        ask::fields(both, (&job.whom, settings.named_in.as_ref()), origin, &*self.door)
    }

    /// Reads a page of a list, and has fetched what it names.
    async fn read(self: &Arc<Self>, job: &Job) -> Result<(), Asked> {
        let (Errand::Read { page, nth, left }, Some(each)) = (&job.errand, &job.task.each) else {
            return Ok(());
        };
        let asking = self.asking(job).map_err(failed)?;
        let Page { headers, body } = ask::page(&*self.door, asking).await?;
        let selected = select(each.clone(), body, *left).await.map_err(failed)?;
        let open = job.task.open();
        let rows: Vec<Bindings> = selected.iter().filter_map(|value| picked(value, &open)).collect();
        if rows.len() < selected.len() {
            let names = open.join("`, `");
            let why = format!("{} selected values say nothing of `{names}`", selected.len() - rows.len());
            job.run.fails(job.part, page, why, self.clock.now());
        }
        let (found, left) = (selected.len(), left - selected.len());
        self.expand(job, rows).await;
        let next = each.pages.next(page, &headers, &self.door.authority());
        if let Some(next) = next.filter(|_| found > 0 && left > 0 && nth + 1 < MAX_PAGES) {
            let errand = Errand::Read { page: next, nth: nth + 1, left };
            job.run.needs(1, 0);
            self.queue.add([Job { errand, tries: 0, ..job.clone() }]);
        }
        Ok(())
    }

    /// Adds what a list names.
    async fn expand(self: &Arc<Self>, job: &Job, rows: Vec<Bindings>) {
        let mut paths = Vec::new();
        for bound in rows {
            let (more, unfit) = job.task.paths(&bound, MAX_PATHS - paths.len());
            for why in unfit {
                job.run.fails(job.part, job.task.text(), why, self.clock.now());
            }
            paths.extend(more);
        }
        let wanted = wanted(&job.task, job.part, &job.whom, paths);
        self.want(&job.run, wanted).await;
    }

    /// Has it tried again after a while.
    fn later(self: &Arc<Self>, job: Job) {
        let pause = LONGEST_PAUSE.min(FIRST_PAUSE.saturating_mul(1 << (job.tries - 1).min(16)));
        tracing::debug!(path = job.errand.path(), ?pause, "the origin is away: warming waits");
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                () = job.run.cancelled() => shared.settle(&job.run),
                () = tokio::time::sleep(pause) => shared.queue.add([job]),
            }
        });
    }

    fn count(&self, job: &Job, asked: &Asked) {
        self.metrics.warming().request(asked.outcome.label());
        if let (Errand::Again(_, key), Some(pupil)) = (&job.errand, &self.pupil) {
            pupil.fetched(*key, &asked.outcome);
        }
        // Who may not see something may see something else (403).
        if let (Some(StatusCode::UNAUTHORIZED), Whom::Person(person)) = (asked.status, &job.whom) {
            self.door.forget(person.digest());
        }
        job.run.count(job.part, job.errand.path(), &asked.outcome, asked.bytes, self.clock.now());
    }

    /// The place of a request that is asked for now.
    pub(crate) fn place(&self, priority: i64, written: Option<u64>) -> Place {
        Place { priority, written, arrival: self.arrivals() }
    }
}

/// What of a page is meant, the first of it. Parsing takes its time.
async fn select(each: Each, body: bytes::Bytes, most: usize) -> Result<Vec<Value>, String> {
    let read = move || {
        let page: Value =
            serde_json::from_slice(&body).map_err(|why| format!("the list is not JSON: {why}"))?;
        Ok(each.select.query(&page).iter().take(most).map(|value| (*value).clone()).collect())
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| Err("the process is about to stop".to_owned()))
}

fn failed(why: impl Into<String>) -> Asked {
    Asked { outcome: Outcome::Failed(why.into()), status: None, bytes: 0 }
}
