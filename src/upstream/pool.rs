//! The connections to one server: the newest idle one is used first, the oldest is given up first.
//!
//! Invariant: a connection is either idle here, or held by exactly one [`Lease`]; a lease that is dropped
//! instead of [`finished`](Lease::finish) closes it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::body::Body;
use crate::guard::Framing;
use crate::upstream::balance::Health;
use crate::upstream::connection::{Connection, Failure};
use crate::upstream::dial::Dialer;
use crate::upstream::{Error, Origin, Pool};

/// One server of the origin and its connections.
pub(crate) struct Server {
    origin: Origin,
    framing: Framing,
    pool: Pool,
    /// Oldest use first.
    idle: Mutex<VecDeque<Idle>>,
    in_flight: AtomicUsize,
    health: Health,
    voice: Voice,
}

/// Whether it is said of a server that it keeps failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Voice {
    Aloud,
    /// Whoever asks it says so himself.
    Silent,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Server {
    pub(crate) fn new(origin: Origin, framing: Framing, pool: Pool) -> Self {
        Self {
            origin,
            framing,
            pool,
            idle: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            health: Health::default(),
            voice: Voice::Aloud,
        }
    }

    /// The same, of which it is said or not that it keeps failing.
    pub(crate) fn with(self, voice: Voice) -> Self {
        Self { voice, ..self }
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// Requests that are being connected, sent or answered.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// Counts one more request until the guard is dropped.
    pub(crate) fn enter(server: &Arc<Self>) -> InFlight {
        server.in_flight.fetch_add(1, Relaxed);
        InFlight(Arc::clone(server))
    }

    /// The newest idle connection that still lives, if there is one.
    pub(crate) async fn idle(self: &Arc<Self>, deadline: Instant) -> Option<Lease> {
        while let Some(mut connection) = self.take() {
            // Its task may still be finishing the request before; that takes a turn of the runtime at most.
            if connection.ready(deadline).await {
                return Some(Lease::new(Self::enter(self), connection, Age::Reused));
            }
        }
        None
    }

    /// A new connection within `timeout`.
    pub(crate) async fn connect(
        self: &Arc<Self>,
        dialer: &Dialer,
        timeout: Duration,
    ) -> Result<Lease, Error> {
        let in_flight = Self::enter(self);
        match dialer.dial(&self.origin, timeout).await {
            Ok(socket) => {
                let connection = Connection::open(socket, self.framing).await?;
                Ok(Lease::new(in_flight, connection, Age::New))
            }
            Err(error) => {
                self.failed();
                Err(error)
            }
        }
    }

    fn failed(&self) {
        if let Some(ejection) = self.health.failed(Instant::now()) {
            let seconds = ejection.as_secs();
            match self.voice {
                Voice::Aloud => tracing::warn!(origin = %self.origin, seconds, "origin keeps failing"),
                Voice::Silent => tracing::debug!(server = %self.origin, seconds, "it keeps failing"),
            }
        }
    }

    fn take(&self) -> Option<Connection> {
        let now = Instant::now();
        let mut idle = self.lock();
        loop {
            let Idle { connection, since } = idle.pop_back()?;
            if now >= since + self.pool.idle_time {
                // The others have been idle for even longer.
                idle.clear();
                return None;
            }
            if now < connection.born() + self.pool.max_age && !connection.is_closed() {
                return Some(connection);
            }
        }
    }

    fn put(&self, connection: Connection) {
        let now = Instant::now();
        let mut idle = self.lock();
        idle.push_back(Idle { connection, since: now });
        while idle.len() > self.pool.idle_connections
            || idle.front().is_some_and(|oldest| now >= oldest.since + self.pool.idle_time)
        {
            idle.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request at a server, counted until it is dropped.
pub(crate) struct InFlight(Arc<Server>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// Whether a connection carried a request before: only then may a failure mean that it was stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    New,
    Reused,
}

/// One connection for the length of one request; closes it unless [`finished`](Self::finish).
pub(crate) struct Lease {
    in_flight: InFlight,
    connection: Connection,
    age: Age,
}

impl Lease {
    pub(crate) fn new(in_flight: InFlight, connection: Connection, age: Age) -> Self {
        Self { in_flight, connection, age }
    }

    /// The connection, to ask it how its request fares.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Sends the request and waits for the head of its answer; tells the server's health of the outcome.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Body>,
        timeout: Duration,
    ) -> Result<Response<Incoming>, Failure> {
        let outcome = self.connection.exchange(request, timeout).await;
        let server = &self.in_flight.0;
        match &outcome {
            Ok(_) => server.health.succeeded(),
            Err(failure) => match (&failure.error, self.age) {
                (Error::FirstByteTimeout, _) | (Error::Closed, Age::New) => server.failed(),
                _ => {}
            },
        }
        outcome
    }

    /// The request was sent whole and its answer read whole: the connection may carry another.
    pub(crate) fn finish(self) {
        self.in_flight.0.put(self.connection);
    }

    /// The connection now belongs to a tunnel, which closes it.
    pub(crate) fn detach(self) {
        self.connection.detach();
    }
}
