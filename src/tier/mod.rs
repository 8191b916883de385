//! The shared tier: answers that the nodes of a fleet tell one another through Redis.
//!
//! ```text
//! get   breaker ──▶ PTTL, GET of the first place ─┬─▶ an answer
//!                                                 └─▶ a signpost ──▶ PTTL, GET of the variant's
//! put   queue ──▶ packed ──▶ SET                  (filling.rs)
//! ```
//! What an answer's age has become: the age when it was written down, and what of its time there is gone by then, both told by one
//! clock each: `left` at that moment less `PTTL` now. PTTL is asked before GET: of an answer that took another's place in between
//! it may be too low, which makes that older than it is, and never younger. The age is counted from before Redis was asked.
//!
//! Invariant: what comes is what some node of this epoch kept under this key and these rules, and is fresh; whether it was outdated
//! since is for the store to judge ([`crate::store::Store::promote`]). Nobody waits longer than the deadline, and whatever goes wrong
//! is a miss with a reason. It refuses to know what was invalidated.

pub mod breaker;
pub mod codec;
mod filling;
pub mod key;
mod link;
mod shard;
pub mod standing;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::fault::{self, Fault};
use crate::metrics::Metrics;
use crate::policy::{Life, LifeSoFar, Selector};
use crate::redis::Error;
use crate::redis::place;
use crate::route::key::Key;
use crate::store::entry::{Entry, Kept, Response};
use crate::store::head::Head;
use crate::tier::codec::{Answer, Signpost, Unreadable, Value};
use crate::tier::filling::{Fill, Told};
use crate::tier::key::Place;
use crate::tier::link::Unanswered;
use crate::tier::shard::{PTTL_STEP, Shards};
pub use crate::tier::standing::Standing;

/// How long a client waits for the tier before the origin is asked.
pub const DEADLINE: Duration = Duration::from_millis(25);

/// Where the tier is.
#[derive(Clone)]
pub struct Settings {
    /// `redis.namespace`: what every key begins with.
    pub namespace: String,
    /// For each time that Redis is asked; [`DEADLINE`].
    pub deadline: Duration,
}

impl std::fmt::Debug for Settings {
    /// Without the URL: it may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// The shared tier. Cheap to clone; when the last clone is dropped its connections end.
#[derive(Clone, Debug)]
pub struct Tier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    deadline: Duration,
    shards: Shards,
    standing: Standing,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// Why the tier does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// Nothing is there.
    Absent,
    /// There is something, but no variant for this request.
    OtherVariants,
    /// Another key's, or another epoch's, lies where it should.
    Another,
    /// What is there cannot be read.
    Unreadable(Unreadable),
    /// Its life is over.
    Spent,
    /// Redis is not asked for now, after what came of it lately.
    Open,
    /// There is no connection.
    Down,
    /// Too many ask.
    Busy,
    /// Not in time.
    Late,
    /// The connection ended.
    Lost,
    /// Redis said no.
    Refused,
}

impl Missed {
    /// The reason as metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "miss",
            Self::OtherVariants => "variant-miss",
            Self::Another => "another",
            Self::Unreadable(_) => "unreadable",
            Self::Spent => "spent",
            Self::Open => "open",
            Self::Down => Unanswered::Down.as_str(),
            Self::Busy => Unanswered::Busy.as_str(),
            Self::Late => Unanswered::Late.as_str(),
            Self::Lost => Unanswered::Lost.as_str(),
            Self::Refused => "refused",
        }
    }
}

impl Tier {
    /// A tier at `place` that is used while `standing` says so, and connects when it says so first. To be called within a runtime.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if TLS is asked for and there are no root certificates.
    pub fn start(
        settings: Settings,
        place: &place::Place,
        standing: Standing,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Error> {
        let deadline = settings.deadline;
        let shards = Shards::start(settings, place, &standing, &clock, &metrics)?;
        Ok(Self(Arc::new(Inner { deadline, shards, standing, clock, metrics })))
    }

    /// Whether it may be used now, and in which epoch.
    pub fn standing(&self) -> &Standing {
        &self.0.standing
    }

    /// Waits until answers can be asked for.
    pub async fn connected(&self) {
        self.0.shards.connected().await;
    }

    /// Whether any connection is up.
    pub fn is_connected(&self) -> bool {
        self.0.shards.are_any_connected()
    }

    /// The answer to `key` in `epoch` for a request with these fields, not yet judged by what was invalidated, and perhaps a variant
    /// for others. `select` is [`Selector::of`] under the route's rule.
    ///
    /// # Errors
    /// [`Missed`]
    pub async fn get<S>(&self, epoch: u64, key: &Key, request: &HeaderMap, select: S) -> Result<Entry, Missed>
    where
        S: Fn(&HeaderMap, &HeaderMap) -> Option<Selector>,
    {
        let shard = self.0.shards.of(key);
        let first = Place::of(shard.prefix(), epoch, key, request);
        let until = Instant::now() + self.0.deadline;
        let mut found = shard.ask(&first, until).await?;
        if let Value::Signpost(signpost) = &found.value {
            if signpost.key != *key {
                return Err(Missed::Another);
            }
            let variant = first.of_variant(signpost, request, &select).ok_or(Missed::OtherVariants)?;
            found = shard.ask(&variant, until).await?;
        }
        let Value::Answer(mut answer) = found.value else { return Err(Missed::Another) };
        if fault::is(Fault::EpochKeepsSharedKeys) {
            answer.position.epoch = epoch;
        }
        if answer.key != *key || answer.position.epoch != epoch {
            return Err(Missed::Another);
        }
        let selector = select(&answer.asked, &answer.headers).ok_or(Missed::OtherVariants)?;
        let life = resumed(&answer, found.stays, found.asked);
        if !life.is_fresh(self.0.clock.now()) || life.always_validate() {
            return Err(Missed::Spent);
        }
        Ok(Entry::from(kept(*answer, selector, life)))
    }

    /// Tells the other nodes of an answer that is kept here, behind everybody's back; `select` as for [`Self::get`]. What could not be
    /// asked for again is not told, nor what `is_private` says of the fields that it was asked with.
    pub fn put<S>(&self, entry: &Arc<Entry>, select: S, is_private: impl Fn(&HeaderMap) -> bool)
    where
        S: Fn(&HeaderMap, &HeaderMap) -> Option<Selector>,
    {
        if self.0.standing.epoch() != Some(entry.position().epoch) || entry.part().is_some() {
            return;
        }
        let told = match self.0.fill(entry, select, is_private) {
            Some(fill) => self.0.shards.of(entry.key()).filling.put(fill).err(),
            None => Some(Told::Private),
        };
        if let Some(why) = told {
            self.0.metrics.tier().fill(why.as_str());
        }
    }
}

impl Inner {
    /// Where an answer is to lie; `None`: what chose it is not told to anybody.
    fn fill<S>(&self, entry: &Arc<Entry>, select: S, is_private: impl Fn(&HeaderMap) -> bool) -> Option<Fill>
    where
        S: Fn(&HeaderMap, &HeaderMap) -> Option<Selector>,
    {
        let asked = entry.selector.example().filter(|asked| !is_private(asked))?;
        let headers = entry.response.headers();
        if select(&asked, &headers).as_ref() != Some(&entry.selector) {
            return None;
        }
        let first =
            Place::of(self.shards.of(entry.key()).prefix(), entry.position().epoch, entry.key(), &asked);
        let (place, signpost) = if entry.selector.is_of_a_choice() {
            let signpost = Signpost::to(entry.key(), &headers);
            (first.of_variant(&signpost, &asked, select)?, Some((first, signpost)))
        } else {
            (first, None)
        };
        Some(Fill { entry: Arc::clone(entry), asked, place, signpost })
    }
}

impl From<Unanswered> for Missed {
    fn from(why: Unanswered) -> Self {
        match why {
            Unanswered::Down => Self::Down,
            Unanswered::Busy => Self::Busy,
            Unanswered::Late => Self::Late,
            Unanswered::Lost => Self::Lost,
        }
    }
}

/// Its life here: older by what it has lain there, and by all that passes since Redis was asked (monotonic).
fn resumed(answer: &Answer, stays: Duration, asked: Duration) -> Life {
    let lain = answer.left.saturating_sub(stays).saturating_add(PTTL_STEP);
    Life::resumed(LifeSoFar { age: answer.life.age.saturating_add(lain), ..answer.life }, asked)
}

fn kept(answer: Answer, selector: Selector, life: Life) -> Kept {
    let Answer { key, position, status, headers, etag_is_made, tags, body, .. } = answer;
    let response = Response { status, head: Head::of(&headers), body, etag_is_made };
    Kept { key, tags, position, response, selector, life }
}
