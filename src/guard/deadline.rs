//! How long a client connection may keep Larder waiting (HAZARDS §3).
//!
//! Invariant: time counts against a peer only while Larder waits for that peer's socket, never while Larder is the slow one. One
//! timer a connection and direction, armed late and moved rarely: a request costs no timer. It refuses to know what follows.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The deadlines of a client connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// From the first byte of a request head to its last; also from the opening of a connection to its first byte.
    pub head: Duration,
    /// Without a request, after the last answer.
    pub idle: Duration,
    /// Over such spans of waiting, a request body must bring [`Deadlines::body_rate`] on average.
    pub body_window: Duration,
    /// Least bytes per second of a request body.
    pub body_rate: u32,
    /// Without a byte taken by a client that is being written to.
    pub write: Duration,
    /// After the last byte to a client that may still be sending: its bytes are read and dropped so long, lest a reset takes the
    /// answer from it.
    pub linger: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            body_window: Duration::from_secs(10),
            body_rate: 256,
            write: Duration::from_secs(30),
            linger: Duration::from_secs(2),
        }
    }
}

/// A timer that is moved only where it would ring too late; where it rings too early, it is set again.
#[derive(Debug, Default)]
struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready once `due` has passed; until then, wakes the task then at the latest.
    fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() > due {
            sleep.as_mut().reset(due);
        }
        loop {
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if sleep.deadline() >= due {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
    }
}

/// What a client is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// Nothing: it is our turn.
    Nothing,
    /// The first byte of the first request.
    First,
    /// The first byte of another request.
    Next,
    /// The rest of a head.
    Head,
    /// The rest of a body.
    Body,
}

/// The patience with a client that is being read from.
#[derive(Debug)]
pub(crate) struct Patience {
    limits: Deadlines,
    alarm: Alarm,
    awaited: Awaited,
    /// When the connection opened, then when it last wrote.
    active: Instant,
    /// Since when the socket has been pending, in a head or body.
    asked: Option<Instant>,
    /// For how long it was pending before, in this head or window.
    waited: Duration,
    /// What came meanwhile.
    bytes: u64,
}

impl Patience {
    /// With a connection that opens now.
    pub(crate) fn new(limits: Deadlines) -> Self {
        Self {
            limits,
            alarm: Alarm::default(),
            awaited: Awaited::First,
            active: Instant::now(),
            asked: None,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// So many bytes came from the socket.
    pub(crate) fn came(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if let Some(asked) = self.asked.take() {
            self.waited += asked.elapsed();
        }
    }

    /// Something is complete: what comes next has its time from the start.
    pub(crate) fn renew(&mut self) {
        self.asked = None;
        self.waited = Duration::ZERO;
        self.bytes = 0;
    }

    /// The client took bytes.
    pub(crate) fn wrote(&mut self) {
        self.active = Instant::now();
    }

    /// The socket is pending: ready once that has lasted too long.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, awaited: Awaited) -> Poll<()> {
        if self.awaited != awaited {
            self.awaited = awaited;
            self.renew();
        }
        loop {
            let budget = match awaited {
                Awaited::Nothing | Awaited::Next => self.limits.idle,
                Awaited::First | Awaited::Head => self.limits.head,
                Awaited::Body => self.limits.body_window,
            };
            let due = match awaited {
                Awaited::Nothing | Awaited::First | Awaited::Next => self.active + budget,
                Awaited::Head | Awaited::Body => {
                    *self.asked.get_or_insert_with(Instant::now) + budget.saturating_sub(self.waited)
                }
            };
            if self.alarm.poll(cx, due).is_pending() {
                return Poll::Pending;
            }
            match awaited {
                // Looked again only so that the alarm is set when our turn has ended: hyper does not poll us then.
                Awaited::Nothing => self.active = Instant::now(),
                Awaited::Body if self.bytes >= self.least_bytes() => self.renew(),
                _ => return Poll::Ready(()),
            }
        }
    }

    fn least_bytes(&self) -> u64 {
        (self.limits.body_window.as_secs_f64() * f64::from(self.limits.body_rate)) as u64
    }
}

/// The patience with a client that is being written to.
#[derive(Debug)]
pub(crate) struct Stall {
    alarm: Alarm,
    since: Option<Instant>,
}

impl Stall {
    pub(crate) fn new() -> Self {
        Self { alarm: Alarm::default(), since: None }
    }

    /// The client took bytes.
    pub(crate) fn end(&mut self) {
        self.since = None;
    }

    /// Whether it is being waited for.
    pub(crate) fn is_stalled(&self) -> bool {
        self.since.is_some()
    }

    /// The socket is pending: ready once that has lasted for `limit`.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        self.alarm.poll(cx, since + limit)
    }
}
