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
pub mod standing;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use redis::{Pipeline, Value as Reply};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::fault::{self, Fault};
use crate::metrics::Metrics;
use crate::policy::{Life, LifeSoFar, Selector};
use crate::redis::{Address, BadAddress, Dialer, Error};
use crate::route::key::Key;
use crate::store::entry::{Entry, Kept, Response};
use crate::store::head::Head;
use crate::tier::breaker::{Breaker, Outcome};
use crate::tier::codec::{Answer, Signpost, Unreadable, Value};
use crate::tier::filling::{Fill, Filling, Told};
use crate::tier::key::Place;
use crate::tier::link::{Link, Unanswered};
pub use crate::tier::standing::Standing;

/// How long a client waits for the tier before the origin is asked.
pub const DEADLINE: Duration = Duration::from_millis(25);

/// Connections on which answers are asked for; one more tells them, so that no large answer is in anybody's way.
const READERS: usize = 2;

/// PTTL is told in these.
const PTTL_STEP: Duration = Duration::from_millis(1);

/// Bodies from so many bytes on are unpacked where no task waits for it.
const UNPACKED_ASIDE: usize = 64 << 10;

/// Where the tier is.
#[derive(Clone)]
pub struct Settings {
    /// `redis.url`
    pub url: String,
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

/// Why there can be no tier.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The URL is none.
    #[error("`redis.url`: {0}")]
    Address(#[from] BadAddress),
    /// What a connection needs is not there.
    #[error("`redis.url`: {0}")]
    Connection(#[from] Error),
}

/// The shared tier. Cheap to clone; when the last clone is dropped its connections end.
#[derive(Clone, Debug)]
pub struct Tier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    namespace: String,
    deadline: Duration,
    readers: Vec<Link>,
    /// Who is asked next.
    next: AtomicUsize,
    breaker: Mutex<Breaker>,
    filling: Filling,
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
    /// A tier that is used while `standing` says so, and connects when it says so first. To be called within a runtime.
    ///
    /// # Errors
    /// [`Unusable`]
    pub fn start(
        settings: Settings,
        standing: Standing,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Unusable> {
        let Settings { url, namespace, deadline } = settings;
        let dialer = Arc::new(Dialer::new(Address::parse(&url)?)?);
        let link = || Link::keep_up(Arc::clone(&dialer), standing.clone());
        let (of_filling, of_clock) = (Arc::clone(&metrics), clock.clone());
        Ok(Self(Arc::new(Inner {
            namespace,
            deadline,
            readers: (0..READERS).map(|_| link()).collect(),
            next: AtomicUsize::new(0),
            breaker: Mutex::new(Breaker::new(deadline * 3 / 5)),
            filling: Filling::over(link(), deadline, standing.clone(), of_clock, of_filling),
            standing,
            clock,
            metrics,
        })))
    }

    /// Whether it may be used now, and in which epoch.
    pub fn standing(&self) -> &Standing {
        &self.0.standing
    }

    /// Waits until answers can be asked for.
    pub async fn connected(&self) {
        for link in &self.0.readers {
            link.connected().await;
        }
    }

    /// Whether any connection is up.
    pub fn is_connected(&self) -> bool {
        self.0.readers.iter().any(|link| link.nth().is_some())
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
        let first = Place::of(&self.0.namespace, epoch, key, request);
        let until = Instant::now() + self.0.deadline;
        let mut found = self.0.ask(&first, until).await?;
        if let Value::Signpost(signpost) = &found.value {
            if signpost.key != *key {
                return Err(Missed::Another);
            }
            let variant = first.of_variant(signpost, request, &select).ok_or(Missed::OtherVariants)?;
            found = self.0.ask(&variant, until).await?;
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
            Some(fill) => self.0.filling.put(fill).err(),
            None => Some(Told::Private),
        };
        if let Some(why) = told {
            self.0.metrics.tier().fill(why.as_str());
        }
    }
}

/// What lies at a place.
struct Lying {
    value: Value,
    /// For how long it will.
    stays: Duration,
    /// When (monotonic) Redis was asked.
    asked: Duration,
}

impl Inner {
    async fn ask(&self, place: &Place, until: Instant) -> Result<Lying, Missed> {
        let asked = self.clock.mono();
        let link = self.link().ok_or(Missed::Down)?;
        self.breaker().enter(asked).map_err(|_| Missed::Open)?;
        let mut commands = Pipeline::new();
        commands.cmd("PTTL").arg(place.as_bytes()).cmd("GET").arg(place.as_bytes());
        let replies = link.ask(&commands, None, until.saturating_duration_since(Instant::now())).await;
        let now = self.clock.mono();
        let took = now.saturating_sub(asked);
        self.metrics.tier().took("get", took);
        let found = replies.map_err(Missed::from).and_then(said);
        let is_answer = matches!(found, Ok(_) | Err(Missed::Absent | Missed::Another));
        let outcome = if is_answer { Outcome::Answered(took) } else { Outcome::Failed };
        self.breaker().leave(outcome, now);
        let (stays, bytes) = found?;
        Ok(Lying { value: unpack(bytes).await.map_err(Missed::Unreadable)?, stays, asked })
    }

    /// One that is up, each in its turn.
    fn link(&self) -> Option<&Link> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let turns = (0..self.readers.len()).map(|turn| &self.readers[(first + turn) % self.readers.len()]);
        turns.into_iter().find(|link| link.nth().is_some())
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
        let first = Place::of(&self.namespace, entry.position().epoch, entry.key(), &asked);
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

/// What PTTL and GET said: for how long what lies there stays, and its bytes.
fn said(replies: Vec<Reply>) -> Result<(Duration, Vec<u8>), Missed> {
    let replies: [Reply; 2] = replies.try_into().map_err(|_| Missed::Refused)?;
    match replies {
        // What stays for ever was written by nobody of us.
        [Reply::Int(stays), Reply::BulkString(bytes)] => match u64::try_from(stays) {
            Ok(stays) => Ok((Duration::from_millis(stays), bytes)),
            Err(_) => Err(Missed::Another),
        },
        [Reply::Int(_), Reply::Nil] => Err(Missed::Absent),
        _ => Err(Missed::Refused),
    }
}

async fn unpack(bytes: Vec<u8>) -> Result<Value, Unreadable> {
    if bytes.len() < UNPACKED_ASIDE {
        return codec::unpack(bytes);
    }
    tokio::task::spawn_blocking(|| codec::unpack(bytes)).await.unwrap_or(Err(Unreadable::Malformed))
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
