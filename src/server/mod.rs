//! The front door: accepts connections, puts the guard before hyper, and drains.
//!
//! Invariant: no byte reaches hyper's HTTP/1 parser that the guard has not passed. It refuses to know what a request
//! means: every one goes to `flow`.

mod answer;
pub mod aside;
mod patience;
pub mod tls;

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::{Method, Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

use crate::body::Body;
use crate::drain::{Phase, Watch};
use crate::flow::switch::Switches;
use crate::flow::{Client, Flow, Handling, problem};
use crate::guard::{ConnectionState, Deadlines, Protocol, ServerIo};
use crate::metrics::{Metrics, OpenConnection};
use crate::server::answer::Answering;
use crate::server::tls::{Certificate, Tls, TlsError};
use crate::sockets;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For how long a draining process waits for the next request on a connection: whoever asks is told that it is the last one, and whoever
/// is about to does not find the door shut.
const LAST_WORD: Duration = Duration::from_secs(1);
/// How long the door stays shut after the system could not accept (out of files, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Largest HTTP/2 header list, in bytes; the guard has its own limit for HTTP/1.
const HEADER_LIST: u32 = 16 * 1024;
/// Most streams of one HTTP/2 connection at once.
const STREAMS: u32 = 100;

/// How the front door is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where clients connect (`listen`).
    pub listen: SocketAddr,
    /// Most connections at once (`limits.connections`); the next one waits.
    pub connections: usize,
    /// Certificate and key files in PEM (`tls: {cert, key}`).
    pub tls: Option<Tls>,
    /// `shutdown.delay`: `/readyz` says 503 while connections are still accepted.
    pub shutdown_delay: Duration,
    /// `shutdown.timeout`: how long open requests may take to end after that.
    pub shutdown_timeout: Duration,
}

/// Why the front door does not open.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {why}{}", hint(.why))]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        why: std::io::Error,
    },
    /// TLS is configured and cannot be offered.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// An open door.
pub struct Server {
    listener: Arc<TcpListener>,
    tls: Option<Certificate>,
    places: Arc<Semaphore>,
    connections: usize,
    metrics: Arc<Metrics>,
}

impl Server {
    /// Binds the address, or takes what is `open` already; nothing is accepted yet.
    ///
    /// # Errors
    /// The address is taken or not ours, or TLS cannot be offered.
    pub fn bind(
        settings: &Settings,
        open: Option<std::net::TcpListener>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Error> {
        let tls = settings.tls.as_ref().map(Certificate::read).transpose()?;
        let refused = |why| Error::Listen { address: settings.listen, why };
        let listener = match open {
            Some(open) => sockets::ready(open).map_err(refused)?,
            None => listen(settings.listen)?,
        };
        let listener = Arc::new(listener);
        let connections = settings.connections.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Ok(Self { listener, tls, places: Arc::new(Semaphore::new(connections)), connections, metrics })
    }

    /// Where it listens: the port that the system chose, if it was asked to.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where it listens, as long as it does.
    pub fn listener(&self) -> Weak<TcpListener> {
        Arc::downgrade(&self.listener)
    }

    /// What clients are shown, if they speak TLS.
    pub fn certificate(&self) -> Option<Certificate> {
        self.tls.clone()
    }

    /// Accepts until `watch` says draining, and returns when every connection has ended.
    pub async fn serve(self, flow: Flow, mut watch: Watch) {
        let told = watch.clone();
        tokio::select! {
            () = self.accept(&flow, &told) => {}
            () = watch.reached(Phase::Draining) => {}
        }
        let Self { listener, places, connections, .. } = self;
        drop(listener);
        let everyone = u32::try_from(connections).unwrap_or(u32::MAX);
        tokio::select! {
            _ = places.acquire_many(everyone) => {}
            () = watch.reached(Phase::Stopped) => {}
        }
    }

    async fn accept(&self, flow: &Flow, watch: &Watch) {
        loop {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(why) => {
                    tracing::warn!(%why, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let open = self.metrics.connection();
            let metrics = Arc::clone(&self.metrics);
            let door = Door { flow: flow.clone(), switches: flow.switches(), watch: watch.clone(), metrics };
            let tls = self.tls.as_ref().map(Certificate::acceptor);
            let mut stopped = watch.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = door.welcome(stream, peer, tls, (place, open)) => {}
                    () = stopped.reached(Phase::Stopped) => {}
                }
            });
        }
    }
}

/// A place of `limits.connections`, and its count in the metrics.
type Seat = (OwnedSemaphorePermit, OpenConnection);

/// What every connection is served with.
#[derive(Clone)]
struct Door {
    flow: Flow,
    switches: Arc<Switches>,
    watch: Watch,
    metrics: Arc<Metrics>,
}

impl Door {
    async fn welcome(self, stream: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>, seat: Seat) {
        let _ = stream.set_nodelay(true);
        let mut watch = self.watch.clone();
        let Some(acceptor) = tls else {
            let mut io = ServerIo::new(stream, Deadlines::default());
            io.keep(seat);
            let sniffed = tokio::select! {
                sniffed = io.sniff() => sniffed,
                // Whoever has not asked anything by then is not waited for.
                () = last_word(&mut watch) => return,
            };
            return match sniffed {
                Ok(protocol) => self.serve(io, protocol, self.flow.client(peer, false)).await,
                Err(why) => tracing::debug!(%why, "a connection ended before its first request"),
            };
        };
        let handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream));
        let shaken = tokio::select! {
            shaken = handshake => shaken,
            () = last_word(&mut watch) => return,
        };
        let Ok(Ok(stream)) = shaken else { return self.metrics.refused("tls-handshake") };
        // ALPN has settled the protocol: there is nothing to sniff (RFC 9113 §3.3).
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        let mut io = ServerIo::new(stream, Deadlines::default());
        io.keep(seat);
        if protocol == Protocol::Http2 {
            io.assume_http2();
        }
        self.serve(io, protocol, self.flow.client(peer, true)).await;
    }

    async fn serve<T>(&self, io: ServerIo<T>, protocol: Protocol, client: Client)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let state = Arc::clone(io.state());
        let ended = match protocol {
            Protocol::Http1 => self.http1(io, &state, client).await,
            Protocol::Http2 => self.http2(io, &state, client).await,
        };
        if let Err(why) = ended {
            tracing::debug!(%why, "a connection ended early");
        }
    }

    fn answer(&self, request: Request<Incoming>, state: &Arc<ConnectionState>, client: Client) -> Answering {
        let (version, is_head) = (request.version(), request.method() == Method::HEAD);
        let handling = match state.next_request() {
            None => self.flow.handle(request.map(Body::Incoming), client, || state.interim(version)),
            Some(violation) => {
                self.metrics.refused(violation.reason());
                Handling::Done(Some(problem::refused(&violation)))
            }
        };
        let is_last = version < Version::HTTP_2
            && self.switches.is_draining()
            && self.watch.has_reached(Phase::Draining);
        Answering { handling, state: Arc::clone(state), version, is_head, is_last }
    }

    async fn http1<T>(
        &self,
        io: ServerIo<T>,
        state: &Arc<ConnectionState>,
        client: Client,
    ) -> hyper::Result<()>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(|request| self.answer(request, state, client));
        let mut builder = hyper::server::conn::http1::Builder::new();
        // The guard has its deadline for heads, and lets no more than hyper's 100 fields pass.
        builder.header_read_timeout(None);
        let connection = builder.serve_connection(io, service).with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let mut watch = self.watch.clone();
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = last_word(&mut watch) => {}
        }
        if !state.has_asked() {
            // hyper would wait for the first request for as long as the guard does.
            return Ok(());
        }
        connection.as_mut().graceful_shutdown();
        connection.await
    }

    async fn http2<T>(
        &self,
        io: ServerIo<T>,
        state: &Arc<ConnectionState>,
        client: Client,
    ) -> hyper::Result<()>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // hyper runs the streams on tasks of their own, so they take their share of the door along.
        let (door, state) = (self.clone(), Arc::clone(state));
        let service = service_fn(move |request| door.answer(request, &state, client));
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEADER_LIST)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        let connection = builder.serve_connection(io, service);
        let mut connection = std::pin::pin!(connection);
        let mut watch = self.watch.clone();
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = watch.reached(Phase::Draining) => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }
}

/// Until a draining process closes a connection on which nothing is asked.
async fn last_word(watch: &mut Watch) {
    watch.reached(Phase::Draining).await;
    tokio::time::sleep(LAST_WORD).await;
}

fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let open = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(4096)
    };
    open().map_err(|why| Error::Listen { address, why })
}

fn hint(why: &std::io::Error) -> &'static str {
    match why.kind() {
        std::io::ErrorKind::AddrInUse => {
            "; another process listens there: stop it, or choose another `listen`"
        }
        std::io::ErrorKind::PermissionDenied => "; ports below 1024 need the right to bind them",
        std::io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => "",
    }
}
