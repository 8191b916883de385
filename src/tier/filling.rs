//! What is told to the tier, behind everybody's back: one answer after the other, out of a bounded queue.
//!
//! ```text
//! put ──▶ queue, QUEUE answers and QUEUED bytes; beyond that dropped ──▶ packed ──▶ SET … PXAT, AT_ONCE at once
//! ```
//! An answer is to go when its life ends by Redis's own clock: `PXAT`, counted from a `TIME` of the same connection. So a command that
//! lies about for a while, before a Redis that is stopped, does not make the answer younger; no clock of a node is told to anybody.
//! Redis is looked at now and then: beyond [`FULL`] of its memory nothing more is told to it.
//!
//! Invariant: nobody waits for it, and what is not stored is a loss and nothing else. It refuses to know who asks for answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use http::HeaderMap;
use redis::{Pipeline, Value as Reply};
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::store::entry::Entry;
use crate::tier::codec::{self, Answer, Signpost, Value};
use crate::tier::key::Place;
use crate::tier::link::{Link, Nth, Unanswered};
use crate::tier::standing::Standing;

/// Most answers that wait to be told.
const QUEUE: usize = 1_024;

/// Most bytes of bodies that they may have, in all shares together.
const QUEUED: usize = 32 << 20;

/// Most that are told at once.
const AT_ONCE: usize = 32;

/// Bodies from so many bytes on are packed where no task waits for it.
const PACKED_ASIDE: usize = 64 << 10;

/// How often Redis's memory and clock are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// In hundredths of `maxmemory`.
const FULL: u64 = 85;

/// What has less of its life left is not worth telling.
const LEAST_LEFT: Duration = Duration::from_millis(500);

/// How long a signpost stands at least: it is no answer, and its variants have lives of their own.
const SIGNPOSTED: Duration = Duration::from_secs(3_600);

/// An answer that is to be told.
pub(in crate::tier) struct Fill {
    pub(in crate::tier) entry: Arc<Entry>,
    /// Fields of a request that would fetch it again.
    pub(in crate::tier) asked: HeaderMap,
    /// Where it lies.
    pub(in crate::tier) place: Place,
    /// What leads there, and where that stands.
    pub(in crate::tier) signpost: Option<(Place, Signpost)>,
}

/// Why an answer is not told, or whether it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tier) enum Told {
    Stored,
    /// The queue is full.
    Dropped,
    /// It is dead, softened or of another epoch by now, or the tier may not be used.
    Outdated,
    /// What chose it is somebody's own, or cannot be said again.
    Private,
    /// Too little of its life is left.
    Spent,
    /// It is larger than what is kept in the tier.
    TooLarge,
    /// Redis is full.
    Full,
    /// Redis said no.
    Refused,
    /// There was no answer.
    Unanswered(Unanswered),
}

impl Told {
    pub(in crate::tier) fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Dropped => "dropped",
            Self::Outdated => "outdated",
            Self::Private => "private",
            Self::Spent => "spent",
            Self::TooLarge => "too-large",
            Self::Full => "full",
            Self::Refused => "refused",
            Self::Unanswered(why) => why.as_str(),
        }
    }
}

/// The queue. Dropped, what is in it is still told.
#[derive(Debug)]
pub(in crate::tier) struct Filling {
    queue: mpsc::Sender<(Fill, Room)>,
    queued: Arc<AtomicUsize>,
    /// Most bytes that may be.
    most: usize,
}

/// Bytes of the queue that are taken; given back on drop.
#[derive(Debug)]
struct Room(Arc<AtomicUsize>, usize);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl Filling {
    /// Tells whatever is put into it over `link`; it is one of so many shares.
    pub(in crate::tier) fn over(
        link: Link,
        deadline: Duration,
        shares: usize,
        standing: Standing,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (queue, fills) = mpsc::channel(QUEUE);
        let teller = Teller { link, deadline, standing, clock, metrics, seen: Mutex::default() };
        tokio::spawn(async move {
            let fills = stream::unfold(fills, |mut fills| async move { Some((fills.recv().await?, fills)) });
            fills.for_each_concurrent(AT_ONCE, |(fill, room)| teller.count(fill, room)).await;
        });
        Self { queue, queued: Arc::default(), most: QUEUED / shares }
    }

    /// Puts an answer into the queue.
    ///
    /// # Errors
    /// [`Told::Dropped`]: it is full.
    pub(in crate::tier) fn put(&self, fill: Fill) -> Result<(), Told> {
        let bytes = fill.entry.response.body.len();
        let room = Room(Arc::clone(&self.queued), bytes);
        if self.queued.fetch_add(bytes, Ordering::Relaxed) + bytes > self.most {
            return Err(Told::Dropped);
        }
        self.queue.try_send((fill, room)).map_err(|_| Told::Dropped)
    }
}

/// Who tells them.
struct Teller {
    link: Link,
    deadline: Duration,
    standing: Standing,
    clock: Clock,
    metrics: Arc<Metrics>,
    seen: Mutex<Option<Seen>>,
}

/// How Redis was when it was looked at last.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// On which connection: behind another one may be another server.
    on: Nth,
    /// After it had told its time.
    at: Instant,
    /// Its time, since 1970.
    time: Duration,
    is_full: bool,
}

impl Teller {
    async fn count(&self, fill: Fill, _room: Room) {
        let told = self.tell(fill).await.err().unwrap_or(Told::Stored);
        self.metrics.tier().fill(told.as_str());
    }

    async fn tell(&self, fill: Fill) -> Result<(), Told> {
        let Fill { entry, asked, place, signpost } = fill;
        if !self.is_sound(&entry) {
            return Err(Told::Outdated);
        }
        let seen = self.look().await?;
        if seen.is_full {
            return Err(Told::Full);
        }
        let (answer, there) = (self.answer(&entry, asked)?, seen.now());
        let left = answer.left;
        let packed = pack(answer).await.ok_or(Told::TooLarge)?;
        let mut commands = Pipeline::new();
        set(&mut commands, &place, &packed, there + left);
        if let Some((first, signpost)) = signpost {
            let packed = codec::pack(&Value::Signpost(signpost)).ok_or(Told::TooLarge)?;
            set(&mut commands, &first, &packed, there + left.max(SIGNPOSTED));
        }
        // It may have been outdated while it was packed.
        if !self.is_sound(&entry) {
            return Err(Told::Outdated);
        }
        let asked = self.clock.mono();
        let replies = self.link.ask(&commands, Some(seen.on), self.deadline).await;
        self.metrics.tier().took("put", self.clock.mono().saturating_sub(asked));
        let is_done = |reply: &Reply| !matches!(reply, Reply::ServerError(_));
        if replies.map_err(Told::Unanswered)?.iter().all(is_done) { Ok(()) } else { Err(Told::Refused) }
    }

    /// Whether it is of use to others of this epoch. What a floor refuses by then they refuse themselves.
    fn is_sound(&self, entry: &Entry) -> bool {
        let is_now = self.standing.epoch() == Some(entry.position().epoch);
        is_now && !entry.is_dead() && entry.softened().is_none()
    }

    fn answer(&self, entry: &Entry, asked: HeaderMap) -> Result<Answer, Told> {
        let life = entry.life.so_far(self.clock.now());
        let left = life.fresh_for.saturating_sub(life.age);
        if left < LEAST_LEFT || life.always_validate {
            return Err(Told::Spent);
        }
        Ok(Answer {
            key: entry.key().clone(),
            position: entry.position(),
            status: entry.response.status,
            headers: entry.response.headers(),
            etag_is_made: entry.response.etag_is_made,
            asked,
            tags: entry.tags().to_vec(),
            life,
            left,
            body: entry.response.body.clone(),
        })
    }

    /// How Redis is: looked at now, if it is long ago, or was another connection. Whoever comes meanwhile waits for it.
    async fn look(&self) -> Result<Seen, Told> {
        let mut seen = self.seen.lock().await;
        let on = self.link.nth().ok_or(Told::Unanswered(Unanswered::Down))?;
        if let Some(seen) = seen.filter(|seen| seen.on == on && seen.at.elapsed() < LOOK) {
            return Ok(seen);
        }
        let mut commands = Pipeline::new();
        commands.cmd("TIME").cmd("INFO").arg("memory");
        let replies = self.link.ask(&commands, Some(on), self.deadline).await.map_err(Told::Unanswered)?;
        let at = Instant::now();
        let [time, memory] = &replies[..] else { return Err(Told::Refused) };
        let time = time_of(time).ok_or(Told::Refused)?;
        // Who must not be asked may be full: then he says so when he is told.
        let now = Seen { on, at, time, is_full: is_full(&text(memory).unwrap_or_default()) };
        *seen = Some(now);
        Ok(now)
    }
}

impl Seen {
    /// Its time now, or a little before.
    fn now(&self) -> Duration {
        self.time + self.at.elapsed()
    }
}

async fn pack(answer: Answer) -> Option<Vec<u8>> {
    let is_large = answer.body.len() >= PACKED_ASIDE;
    let value = Value::Answer(Box::new(answer));
    if is_large {
        return tokio::task::spawn_blocking(move || codec::pack(&value)).await.ok().flatten();
    }
    codec::pack(&value)
}

fn set(commands: &mut Pipeline, place: &Place, packed: &[u8], until: Duration) {
    let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
    // Redis adds nothing to it, but has it in a number with a sign.
    let until = until.min(u64::MAX >> 2);
    commands.cmd("SET").arg(place.as_bytes()).arg(packed).arg("PXAT").arg(until);
}

/// Seconds and microseconds.
fn time_of(reply: &Reply) -> Option<Duration> {
    let Reply::Array(parts) = reply else { return None };
    let [seconds, micros] = &parts[..] else { return None };
    let number = |part| text(part)?.parse().ok();
    Some(Duration::from_secs(number(seconds)?) + Duration::from_micros(number(micros)?))
}

fn text(reply: &Reply) -> Option<String> {
    match reply {
        Reply::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Reply::SimpleString(text) => Some(text.clone()),
        Reply::VerbatimString { text, .. } => Some(text.clone()),
        _ => None,
    }
}

/// What `INFO memory` says of it; without a limit it never is.
fn is_full(info: &str) -> bool {
    let number = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|number| number.trim().parse::<u64>().ok())
    };
    match (number("used_memory"), number("maxmemory")) {
        (Some(used), Some(most)) if most > 0 => used.saturating_mul(100) >= most.saturating_mul(FULL),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_is_full_at_85_hundredths_of_what_it_may_use() {
        let info = |used, most| {
            format!("# Memory\r\nused_memory:{used}\r\nused_memory_human:1M\r\nmaxmemory:{most}\r\n")
        };
        assert!(!is_full(&info(849, 1_000)));
        assert!(is_full(&info(850, 1_000)));
        assert!(!is_full(&info(850, 0)), "there is no limit");
        assert!(!is_full(""), "it does not say");
        assert!(is_full(&info(u64::MAX, u64::MAX)));
    }
}
