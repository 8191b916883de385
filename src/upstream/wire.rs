//! What is seen of a connection's bytes from below hyper: did any come, when did any last move, is the peer
//! stuck, and how far is the request's body.
//!
//! [`Wire`] is shared by the socket, the request's body and whoever waits for the answer. It refuses to know HTTP.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::IoState;

/// How far the request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Sending {
    /// Bytes are on their way to the origin.
    Busy,
    /// The client's next bytes are awaited: the origin's clock stands still.
    AwaitsClient,
    /// All of it was handed on.
    Done,
    /// It failed on the client's side.
    Failed,
}

/// The state of the request that is on the connection now. One request at a time, so one is enough; each field
/// stands for itself, and hyper's channels order what must be ordered.
pub(crate) struct Wire {
    born: Instant,
    /// Nanoseconds after `born` at which bytes last moved, either way.
    moved: AtomicU64,
    /// Whether any byte came since the request began.
    received: AtomicBool,
    /// Whether the peer takes no more bytes just now.
    stuck: AtomicBool,
    sending: AtomicU8,
    /// Whether the rest of the request's body is no longer wanted.
    stopped: AtomicBool,
    /// Whether nothing of the request has been written yet.
    unwritten: AtomicBool,
    /// Whether nothing of it ever will be: the connection was spoilt before.
    refused: AtomicBool,
}

impl Wire {
    pub(crate) fn new() -> Self {
        Self {
            born: Instant::now(),
            moved: AtomicU64::new(0),
            received: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
            sending: AtomicU8::new(Sending::Done as u8),
            stopped: AtomicBool::new(false),
            unwritten: AtomicBool::new(false),
            refused: AtomicBool::new(false),
        }
    }

    /// When the connection was made.
    pub(crate) fn born(&self) -> Instant {
        self.born
    }

    /// A request begins; `sending` says whether it has a body.
    pub(crate) fn begin(&self, sending: Sending) {
        self.set_sending(sending);
        self.received.store(false, Relaxed);
        self.stuck.store(false, Relaxed);
        self.stopped.store(false, Relaxed);
        self.unwritten.store(true, Relaxed);
        self.refused.store(false, Relaxed);
        self.touch();
    }

    /// When the origin has been silent for `timeout`, as things stand: it counts from the last bytes that
    /// moved, and not at all while it is the client who is waited for.
    pub(crate) fn deadline(&self, timeout: Duration) -> Instant {
        if self.sending() == Sending::AwaitsClient && !self.is_stuck() {
            return Instant::now() + timeout;
        }
        self.born + Duration::from_nanos(self.moved.load(Relaxed)) + timeout
    }

    pub(crate) fn sending(&self) -> Sending {
        match self.sending.load(Relaxed) {
            0 => Sending::Busy,
            1 => Sending::AwaitsClient,
            2 => Sending::Done,
            _ => Sending::Failed,
        }
    }

    pub(crate) fn set_sending(&self, sending: Sending) {
        self.sending.store(sending as u8, Relaxed);
    }

    /// Whether any byte came since the request began.
    pub(crate) fn has_received(&self) -> bool {
        self.received.load(Relaxed)
    }

    /// Whether the connection was spoilt before the request, of which no byte was written.
    pub(crate) fn has_refused(&self) -> bool {
        self.refused.load(Relaxed)
    }

    /// Whether the peer takes no more bytes just now.
    pub(crate) fn is_stuck(&self) -> bool {
        self.stuck.load(Relaxed)
    }

    /// The rest of the request's body is not wanted.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// Bytes moved, or could have.
    pub(crate) fn touch(&self) {
        let nanos = self.born.elapsed().as_nanos();
        self.moved.store(u64::try_from(nanos).unwrap_or(u64::MAX), Relaxed);
    }
}

/// A TCP, TLS or unix stream.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {
    /// Whether bytes, or the connection's end, lie in it unread; asked of the system, whatever the runtime knows so far.
    fn has_unread(&mut self) -> bool;
}

impl Socket for TcpStream {
    fn has_unread(&mut self) -> bool {
        peeks(&SockRef::from(&*self))
    }
}

impl Socket for UnixStream {
    fn has_unread(&mut self) -> bool {
        peeks(&SockRef::from(&*self))
    }
}

impl Socket for TlsStream<TcpStream> {
    /// Session tickets come whenever the peer likes (RFC 8446 §4.6.1): they are taken in, and are no bytes of an answer.
    fn has_unread(&mut self) -> bool {
        let (socket, tls) = self.get_mut();
        let socket = SockRef::from(&*socket);
        let is_nothing = |seen: IoState| seen.plaintext_bytes_to_read() == 0 && !seen.peer_has_closed();
        while tls.process_new_packets().is_ok_and(is_nothing) {
            match tls.read_tls(&mut &*socket) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return why.kind() != io::ErrorKind::WouldBlock,
            }
        }
        true
    }
}

#[cfg(test)]
impl Socket for tokio::io::DuplexStream {
    fn has_unread(&mut self) -> bool {
        false
    }
}

fn peeks(socket: &SockRef<'_>) -> bool {
    // The socket does not block: only that nothing is there yet is no end.
    let peeked = socket.peek(&mut [MaybeUninit::uninit()]);
    !peeked.is_err_and(|why| why.kind() == io::ErrorKind::WouldBlock)
}

/// A socket that tells its [`Wire`] what happens.
///
/// An origin that answers early and hangs up makes our writes fail while its answer lies unread. So a write to a
/// peer that hung up waits instead of failing: the read side, which hyper always polls meanwhile, gives the
/// answer and then the end of the connection.
pub(crate) struct Watched {
    socket: Box<dyn Socket>,
    wire: Arc<Wire>,
    hung_up: bool,
}

impl Watched {
    pub(crate) fn new(socket: Box<dyn Socket>, wire: Arc<Wire>) -> Self {
        Self { socket, wire, hung_up: false }
    }

    /// What came before the request is no answer to it: the connection is spoilt, and nothing of the request has left.
    fn look_before_writing(&mut self) -> io::Result<()> {
        if self.wire.unwritten.swap(false, Relaxed) && self.socket.has_unread() {
            self.wire.refused.store(true, Relaxed);
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }

    fn written<T>(&mut self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.wire.stuck.store(outcome.is_pending(), Relaxed);
        match outcome {
            Poll::Ready(Err(error)) if is_hang_up(&error) => {
                self.hung_up = true;
                Poll::Pending
            }
            Poll::Ready(Ok(value)) => {
                self.wire.touch();
                Poll::Ready(Ok(value))
            }
            other => other,
        }
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.wire.received.store(true, Relaxed);
            self.wire.touch();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.hung_up {
            return Poll::Pending;
        }
        self.look_before_writing()?;
        let outcome = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.written(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.hung_up {
            return Poll::Pending;
        }
        self.look_before_writing()?;
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.written(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.hung_up {
            return Poll::Pending;
        }
        match Pin::new(&mut self.socket).poll_flush(cx) {
            Poll::Ready(Err(error)) if is_hang_up(&error) => {
                self.hung_up = true;
                Poll::Pending
            }
            other => other,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
