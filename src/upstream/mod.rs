//! One request to the origin and its answer, with deadlines.
//!
//! ```text
//! send → slot (limit) → framing (head) → idle or new connection (pool, dial) → exchange (connection)
//!      → answer: body read to its clean end → connection back to the pool, slot given back
//!                anything else              → connection aborted,          slot given back
//! ```
//! Invariant: a connection is used again only if its last request was sent whole and its last answer read
//! whole; a body that was cut never ends cleanly. It refuses to know of keys, rules, caching and statuses
//! for clients: an [`Error`] says what happened, and `flow` decides what the client hears.

mod balance;
mod connection;
mod deadline;
mod dial;
mod download;
mod endpoint;
mod error;
mod head;
mod interim;
mod limit;
mod permit;
mod pool;
mod upload;
mod urgency;
mod wire;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::body::Body;
use crate::guard::Framing;
use crate::upstream::dial::Dialer;
use crate::upstream::limit::{Slot, Slots};
use crate::upstream::pool::{Lease, Server, Voice};
pub use crate::upstream::urgency::{Haste, Urgency};

pub use crate::upstream::endpoint::{BadEndpoint, Endpoint};
pub use crate::upstream::error::{BodyFailure, Error};
pub(crate) use crate::upstream::head::is_event_stream;
pub use crate::upstream::interim::OnInterim;
pub use crate::upstream::permit::{Leave, Permit};

/// Where the origin is and how it is treated.
#[derive(Clone, Debug)]
pub struct Settings {
    /// One or more equal servers.
    pub origins: Vec<Origin>,
    /// Connect plus first byte after the request body, then idle; never the total (`limits.upstream_timeout`).
    pub timeout: Duration,
    /// How many requests may be at the origin at once (`limits.upstream_concurrency`).
    pub concurrency: usize,
    /// What becomes of an answer whose framing is not canonical (`origin_framing`).
    pub framing: Framing,
    /// How connections are kept between requests.
    pub pool: Pool,
    /// Certificates in DER that are trusted besides the machine's own (and `SSL_CERT_FILE`'s).
    pub roots: Vec<CertificateDer<'static>>,
}

impl Settings {
    /// These servers, with the defaults of the configuration: 30 s and 256 requests at once.
    pub fn new(origins: Vec<Origin>) -> Self {
        Self {
            origins,
            timeout: Duration::from_secs(30),
            concurrency: 256,
            framing: Framing::Strict,
            pool: Pool::default(),
            roots: Vec::new(),
        }
    }
}

/// How connections are kept between requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// A connection unused for longer is not used again. Below the 5 s after which uvicorn closes it.
    pub idle_time: Duration,
    /// Most unused connections kept per origin.
    pub idle_connections: usize,
    /// A connection older than this is not used again, so that a change in DNS is followed.
    pub max_age: Duration,
}

impl Default for Pool {
    fn default() -> Self {
        Self { idle_time: Duration::from_secs(4), idle_connections: 256, max_age: Duration::from_secs(60) }
    }
}

/// One server of the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `http://host:port` or `https://host:port`.
    Tcp {
        /// Whether TLS is spoken.
        tls: bool,
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// `unix:/path/to.sock`.
    Unix(PathBuf),
}

impl fmt::Display for Origin {
    /// As in the configuration: `https://[::1]:8443`, `unix:/run/app.sock`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { tls, host, port } => {
                let scheme = if *tls { "https" } else { "http" };
                if host.contains(':') {
                    write!(f, "{scheme}://[{host}]:{port}")
                } else {
                    write!(f, "{scheme}://{host}:{port}")
                }
            }
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Who goes first when all slots are taken; the earlier the variant, the sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Somebody waits for this answer.
    Client,
    /// A stale entry is being served meanwhile.
    Revalidation,
    /// Nobody asked yet.
    Warm,
    /// A check of what is stored.
    Audit,
}

/// Whether the origin may answer by switching protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// It may not: a 101 is a bad response.
    No,
    /// The request asks for a WebSocket; `Connection` and `Upgrade` are set here.
    WebSocket,
}

/// How one request is sent.
#[derive(Clone, Debug)]
pub struct How {
    /// For each wait by itself: the slot, connecting, the first byte once the request body is sent, the
    /// origin taking no bytes of it, and silence between bytes of the answer (not of an event stream).
    pub timeout: Duration,
    /// Its place in the queue for a slot.
    pub priority: Priority,
    /// Bytes of the answer's body after which it counts as a stream and gives its slot back (the route's
    /// `entry`). Event streams and tunnels give it back at once.
    pub hold: u64,
    /// Whether a 101 is expected.
    pub upgrade: Upgrade,
    /// Who is told of interim (1xx) answers; `None`: nobody.
    pub interim: Option<OnInterim>,
    /// Who is asked before each copy of it leaves; `None`: nobody.
    pub permit: Option<Permit>,
}

/// Among the extensions of an answer: the request may have arrived before, and have had its effect then; this answers a
/// second copy of it.
#[derive(Clone, Copy, Debug)]
pub struct Repeated;

/// The origin, seen from here: its servers, their pools, and the slots for requests. Cheap to clone.
#[derive(Clone)]
pub struct Upstream(Arc<Shared>);

struct Shared {
    servers: Vec<Arc<Server>>,
    dialer: Dialer,
    slots: Slots,
    timeout: Duration,
    random: balance::Random,
}

impl Upstream {
    /// Prepares the servers; connects to none.
    ///
    /// # Errors
    /// [`Error::Tls`] if a server wants TLS and no root certificate can be loaded, or its host is not a name
    /// or address.
    ///
    /// # Panics
    /// Without any origin: the configuration requires one.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        Self::of(settings, Voice::Aloud)
    }

    /// The same for servers that are told something: whoever tells them says himself that they fail.
    ///
    /// # Errors
    /// As [`Self::new`].
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn silent(settings: Settings) -> Result<Self, Error> {
        Self::of(settings, Voice::Silent)
    }

    fn of(settings: Settings, voice: Voice) -> Result<Self, Error> {
        assert!(!settings.origins.is_empty(), "the configuration requires an upstream");
        let dialer = Dialer::new(&settings.origins, &settings.roots)?;
        let server = |origin| Arc::new(Server::new(origin, settings.framing, settings.pool).with(voice));
        let servers = settings.origins.into_iter().map(server).collect();
        Ok(Self(Arc::new(Shared {
            servers,
            dialer,
            slots: Slots::new(settings.concurrency),
            timeout: settings.timeout,
            random: balance::Random::default(),
        })))
    }

    /// Sends `request` and gives the answer as soon as its head is there; interim (1xx) answers go to
    /// [`How::interim`].
    ///
    /// The request carries a `Host` and an origin-form target; its framing fields are set here from the
    /// body's size (RFC 9112 §6). A pooled connection that died before any byte of an answer is replaced
    /// once by a new one, if the request's body is in memory and it is idempotent (RFC 9110 §9.2.2) or none of
    /// it was written; a body that streams, only if nobody has begun to read it. An
    /// answer to what is not safe and was sent twice has [`Repeated`] among its extensions; one with status 101 has hyper's
    /// `OnUpgrade` there, and no body.
    ///
    /// Errors of the answer's body are [`BodyFailure`]s. Dropping the future or the body closes the connection.
    ///
    /// # Errors
    /// Any [`Error`]; the request may have reached the origin unless the error says otherwise
    /// ([`Error::never_sent`]).
    pub async fn send(&self, request: Request<Body>, how: How) -> Result<Response<Body>, Error> {
        let slot = self.0.slots.acquire(how.priority, how.timeout).await;
        self.send_in(slot, request, how).await
    }

    /// The same by an urgency that may rise while it waits for its slot, in place of [`How::priority`].
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_with(
        &self,
        urgency: Urgency,
        request: Request<Body>,
        how: How,
    ) -> Result<Response<Body>, Error> {
        let slot = self.0.slots.acquire_with(urgency, how.timeout).await;
        self.send_in(slot, request, how).await
    }

    async fn send_in(
        &self,
        slot: Option<Slot>,
        request: Request<Body>,
        how: How,
    ) -> Result<Response<Body>, Error> {
        let slot = slot.ok_or(Error::Saturated)?;
        let mut request = head::canonical(request, how.upgrade);
        if let Some(interim) = how.interim.clone() {
            interim.listen(&mut request);
        }
        let (lease, response) = self.0.exchange(request, &how).await?;
        download::deliver(response, lease, slot, how)
    }

    /// The server that is asked; `None`: one of several.
    pub fn origin(&self) -> Option<&Origin> {
        let [server] = self.0.servers.as_slice() else { return None };
        Some(server.origin())
    }

    /// Lets only a small share of [`Settings::concurrency`] to the origin, and more step by step: for when nothing is kept
    /// any more, and everybody comes at once. To be called on a runtime.
    pub fn ramp(&self) {
        self.0.slots.ramp();
    }

    /// Whether a connection to any of the servers can be made now; nothing is sent on it.
    ///
    /// # Errors
    /// Why the last one could not be reached.
    pub async fn probe(&self) -> Result<(), Error> {
        let mut outcome = Ok(());
        for server in &self.0.servers {
            outcome = self.0.dialer.probe(server.origin(), self.0.timeout).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }
}

impl Shared {
    /// First on an idle connection, then on a new one: only what was not answered at all gets that far.
    async fn exchange(
        &self,
        mut request: Request<Body>,
        how: &How,
    ) -> Result<(Lease, Response<Incoming>), Error> {
        let timeout = how.timeout;
        let server = balance::choose(&self.servers, None, &self.random);
        let mut in_doubt = None;
        if let Some(mut lease) = server.idle(Instant::now() + timeout).await {
            permitted(how).await?;
            let spare = head::spare(&request);
            match lease.exchange(request, timeout).await {
                Ok(response) => return Ok((lease, response)),
                Err(failure) => (request, in_doubt) = failure.again(spare)?,
            }
        }
        match (self.exchange_anew(server, request, how).await, in_doubt) {
            // The second copy was not sent; the first may have arrived.
            (Err(error), Some(first)) if error.never_sent() => Err(first),
            (Ok((lease, mut response)), Some(_)) => {
                response.extensions_mut().insert(Repeated);
                Ok((lease, response))
            }
            (outcome, _) => outcome,
        }
    }

    async fn exchange_anew(
        &self,
        server: &Arc<Server>,
        request: Request<Body>,
        how: &How,
    ) -> Result<(Lease, Response<Incoming>), Error> {
        let mut lease = self.connect(server, how.timeout).await?;
        permitted(how).await?;
        let response = lease.exchange(request, how.timeout).await.map_err(|failure| failure.error)?;
        Ok((lease, response))
    }

    /// A new connection to `server`; if that fails, to another one, once.
    async fn connect(&self, server: &Arc<Server>, timeout: Duration) -> Result<Lease, Error> {
        match server.connect(&self.dialer, timeout).await {
            Err(_) if self.servers.len() > 1 => {
                let other = balance::choose(&self.servers, Some(server), &self.random);
                other.connect(&self.dialer, timeout).await
            }
            outcome => outcome,
        }
    }
}

async fn permitted(how: &How) -> Result<(), Error> {
    match &how.permit {
        Some(permit) => permit.ask().await,
        None => Ok(()),
    }
}
