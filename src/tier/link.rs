//! One connection to Redis that is kept up, and on which many ask at once.
//!
//! ```text
//! ask ──▶ sent ──▶ waiting, in the order of sending ◀── replies, in the same order
//! ```
//! Invariant: a reply goes to whoever it is for, or to nobody: who has stopped waiting keeps his place in the order until his replies
//! have come. Where that order is lost, so is the connection. While there is none, whoever asks is told so at once. It refuses to know
//! what is asked.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::future::pending;
use std::hash::BuildHasher;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{Pipeline, Value};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::redis::place::Place;
use crate::redis::{Connection, Error, backoff, refused};
use crate::tier::standing::Standing;

/// Most that wait for their replies on one connection, and most that wait to be sent.
const MOST_WAITING: usize = 128;

/// Longest silence while somebody's reply is due; then the connection is given up, whoever may have stopped waiting.
const SILENCE: Duration = Duration::from_millis(500);

/// Longest time until a connection is there and its server has answered.
const GREETING: Duration = Duration::from_secs(2);

/// Why there is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::tier) enum Unanswered {
    /// There is no connection.
    #[error("there is no connection")]
    Down,
    /// Too many ask.
    #[error("too many ask at once")]
    Busy,
    /// Not in time.
    #[error("it did not answer in time")]
    Late,
    /// The connection ended first.
    #[error("the connection ended")]
    Lost,
}

impl Unanswered {
    /// The reason as metrics name it.
    pub(in crate::tier) fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Busy => "busy",
            Self::Late => "late",
            Self::Lost => "lost",
        }
    }
}

/// One connection after the other. Dropped, the last one is closed.
#[derive(Debug)]
pub(in crate::tier) struct Link {
    asked: mpsc::Sender<Asked>,
    up: Arc<Up>,
}

/// Which connection is up, counted from 1 and shifted by one; the lowest bit says whether it is.
#[derive(Debug, Default)]
struct Up {
    now: AtomicU64,
    /// One has come up.
    came: Notify,
}

/// Names one connection of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tier) struct Nth(u64);

struct Asked {
    packed: Vec<u8>,
    replies: usize,
    /// On this connection, or not at all.
    on: Option<Nth>,
    answer: oneshot::Sender<Vec<Value>>,
}

struct Waiting {
    replies: usize,
    came: Vec<Value>,
    since: Instant,
    answer: oneshot::Sender<Vec<Value>>,
}

impl Link {
    /// Keeps a connection up from when it is of use.
    pub(in crate::tier) fn keep_up(place: Place, standing: Standing) -> Self {
        let (asked, receiver) = mpsc::channel(MOST_WAITING);
        let up = Arc::<Up>::default();
        let mut keeper = Keeper { place, up: Arc::clone(&up), asked: receiver };
        tokio::spawn(async move {
            if keeper.unless_idle(standing.begun()).await.is_some() {
                keeper.run().await;
            }
        });
        Self { asked, up }
    }

    /// The connection that is up now.
    pub(in crate::tier) fn nth(&self) -> Option<Nth> {
        self.up.nth()
    }

    /// Waits until one is up.
    pub(in crate::tier) async fn connected(&self) {
        loop {
            let mut came = pin!(self.up.came.notified());
            came.as_mut().enable();
            if self.nth().is_some() {
                return;
            }
            came.await;
        }
    }

    /// Asks, and waits at most so long for all replies, a complaint of the server among them. With `on`, only that connection is
    /// asked.
    ///
    /// # Errors
    /// [`Unanswered`]
    pub(in crate::tier) async fn ask(
        &self,
        commands: &Pipeline,
        on: Option<Nth>,
        within: Duration,
    ) -> Result<Vec<Value>, Unanswered> {
        if self.nth().is_none() {
            return Err(Unanswered::Down);
        }
        let (answer, replies) = oneshot::channel();
        let packed = commands.get_packed_pipeline();
        let asked = Asked { packed, replies: commands.cmd_iter().count(), on, answer };
        self.asked.try_send(asked).map_err(|_| Unanswered::Busy)?;
        let replies = timeout(within, replies).await.map_err(|_| Unanswered::Late)?;
        replies.map_err(|_| Unanswered::Lost)
    }
}

impl Up {
    fn nth(&self) -> Option<Nth> {
        let now = self.now.load(Ordering::Acquire);
        (now & 1 == 1).then_some(Nth(now))
    }

    fn is_up(&self, is_up: bool) {
        let before = self.now.load(Ordering::Relaxed);
        let next = if is_up { (before | 1) + 2 } else { before & !1 };
        self.now.store(next, Ordering::Release);
        self.came.notify_waiters();
    }
}

/// Keeps a connection up until nobody can ask any more.
struct Keeper {
    place: Place,
    up: Arc<Up>,
    asked: mpsc::Receiver<Asked>,
}

impl Keeper {
    async fn run(mut self) {
        let (mut failures, random) = (0, RandomState::new());
        loop {
            let place = self.place.clone();
            let greeted = self.unless_idle(greet(&place)).await;
            let Some(greeted) = greeted else { return };
            let why = match greeted {
                Ok(mut connection) => {
                    self.up.is_up(true);
                    let carried = self.carry(&mut connection, &mut failures).await;
                    self.up.is_up(false);
                    carried
                }
                Err(why) => Err(why),
            };
            let Err(why) = why else { return };
            tracing::debug!("the shared tier: {why}");
            failures += 1;
            let pause = sleep(backoff(failures, random.hash_one(failures)));
            if self.unless_idle(pause).await.is_none() {
                return;
            }
        }
    }

    /// `None`: nobody can ask any more. Whoever asks meanwhile is let go.
    async fn unless_idle<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = async { while self.asked.recv().await.is_some() {} } => None,
        }
    }

    /// Sends what is asked and hands the replies out, until the connection ends, or nobody can ask any more.
    async fn carry(&mut self, connection: &mut Connection, failures: &mut u32) -> Result<(), Error> {
        let nth = self.up.nth();
        let mut waiting: VecDeque<Waiting> = VecDeque::new();
        loop {
            let due = waiting.front().map(|first| first.since + SILENCE);
            let silence =
                async { if let Some(due) = due { sleep_until(due).await } else { pending().await } };
            tokio::select! {
                biased;
                reply = connection.reply() => {
                    let reply = reply?;
                    // It belongs to another node of the Cluster by now.
                    if matches!(&reply, Value::ServerError(why) if why.code() == "MOVED") {
                        return Err(Error::Moved);
                    }
                    let first = waiting.front_mut();
                    let first = first.ok_or_else(|| Error::Malformed("an answer to nobody".to_owned()))?;
                    first.came.push(reply);
                    *failures = 0;
                    if first.came.len() == first.replies
                        && let Some(Waiting { came, answer, .. }) = waiting.pop_front()
                    {
                        // He may have stopped waiting.
                        let _ = answer.send(came);
                    }
                }
                () = silence => return Err(Error::Timeout),
                asked = self.asked.recv(), if waiting.len() < MOST_WAITING => {
                    let Some(Asked { packed, replies, on, answer }) = asked else { return Ok(()) };
                    if answer.is_closed() || on.is_some() && on != nth {
                        continue;
                    }
                    connection.send_packed(&packed).await?;
                    waiting.push_back(Waiting { replies, came: Vec::with_capacity(replies), since: Instant::now(), answer });
                }
            }
        }
    }
}

/// All connecting of the tier's: a connection whose server has answered, for one that is stopped lets itself be connected to.
async fn greet(place: &Place) -> Result<Connection, Error> {
    let greeted = async {
        let mut connection = place.open().await?;
        match connection.ask(&redis::cmd("PING")).await? {
            Value::ServerError(why) => Err(refused(&why)),
            _ => Ok(connection),
        }
    };
    timeout(GREETING, greeted).await.unwrap_or(Err(Error::Timeout))
}
