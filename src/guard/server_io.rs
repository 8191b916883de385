//! A client's socket as hyper's server sees it: only what [`RequestGuard`] releases, in time.
//!
//! A refused head becomes a stand-in request: hyper answers in order, so the answers to what was pipelined before it leave first,
//! and the service words the refusal ([`ConnectionState::next_request`]). A violation within a body is an `io::Error` that
//! carries the [`Violation`]. After either, nothing is read any more.
//!
//! Invariant: bytes reach hyper only through the guard, unless HTTP/2 or a tunnel was agreed on. It refuses to know answers.

use std::any::Any;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::rt::ReadBufCursor;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::guard::connection::{ConnectionState, Upgrade};
use crate::guard::deadline::{Awaited, Deadlines, Patience, Stall};
use crate::guard::interim_io::InterimIo;
use crate::guard::request::{Fault, RequestGuard};
use crate::guard::scratch;
use crate::guard::violation::Violation;

/// How an HTTP/2 client begins (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Stand in for a refused request; the service looks at neither, but hyper answers a HEAD without content.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nHost: larder.invalid\r\nConnection: close\r\n\r\n";
const STAND_IN_FOR_HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: larder.invalid\r\nConnection: close\r\n\r\n";
/// Most bytes held back behind a request that asked to upgrade.
const HELD_MAX: usize = 16 * 1024;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// A guarded client connection, for hyper's server.
#[derive(Debug)]
pub struct ServerIo<T> {
    io: InterimIo<T>,
    mode: Mode,
    guard: RequestGuard,
    state: Arc<ConnectionState>,
    /// Came, but not released.
    held: Vec<u8>,
    /// `held` is to be judged again before more is read.
    recheck: bool,
    /// Released, but hyper had no room.
    cleared: Vec<u8>,
    deadlines: Deadlines,
    patience: Patience,
    stall: Stall,
    linger: Option<Stall>,
    /// Goes when the connection goes.
    _kept: Option<Box<dyn Any + Send>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Guarded.
    Http1,
    /// Passed through; ends when idle.
    Http2,
    /// Passed through.
    Tunnel,
    /// To be reported to hyper once; then silent.
    Failed(Violation),
    /// Nothing is read any more, and hyper is not told of an end, which would cost it the answer.
    Silent,
    /// The connection has ended, or is to be closed quietly.
    Ended,
}

impl<T: AsyncRead + AsyncWrite + Unpin> ServerIo<T> {
    /// Guards `io`, a connection that opens now.
    pub fn new(io: T, deadlines: Deadlines) -> Self {
        let state = Arc::default();
        Self {
            io: InterimIo::new(io, &state),
            mode: Mode::Http1,
            guard: RequestGuard::default(),
            state,
            held: Vec::new(),
            recheck: false,
            cleared: Vec::new(),
            deadlines,
            patience: Patience::new(deadlines),
            stall: Stall::new(),
            linger: None,
            _kept: None,
        }
    }

    /// What the service shares with this connection.
    pub fn state(&self) -> &Arc<ConnectionState> {
        &self.state
    }

    /// Finds out from the first bytes whether the client speaks HTTP/2 with prior knowledge; they are read again by hyper. Not to
    /// be called where TLS has settled it.
    ///
    /// # Errors
    /// What the socket says, or `TimedOut` if no byte came within [`Deadlines::head`].
    pub async fn sniff(&mut self) -> io::Result<Protocol> {
        poll_fn(|cx| self.poll_sniff(cx)).await
    }

    /// Keeps something for as long as the connection, or the tunnel that it becomes, is there.
    pub fn keep(&mut self, something: impl Send + 'static) {
        self._kept = Some(Box::new(something));
    }

    /// The client speaks HTTP/2, as TLS has settled (ALPN): bytes pass unguarded.
    pub fn assume_http2(&mut self) {
        self.mode = Mode::Http2;
        self.cleared = std::mem::take(&mut self.held);
    }

    fn poll_sniff(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Protocol>> {
        loop {
            if self.held.starts_with(PREFACE) {
                self.assume_http2();
                return Poll::Ready(Ok(Protocol::Http2));
            }
            if !PREFACE.starts_with(&self.held) {
                break;
            }
            let (io, held) = (&mut self.io, &mut self.held);
            let read = scratch::with(|scratch| {
                let mut read = ReadBuf::new(scratch);
                let polled = Pin::new(io).poll_read(cx, &mut read);
                held.extend_from_slice(read.filled());
                polled.map_ok(|()| read.filled().len())
            });
            match read {
                Poll::Ready(Ok(0)) => {
                    self.mode = Mode::Ended;
                    break;
                }
                Poll::Ready(Ok(bytes)) => self.patience.came(bytes),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    ready!(self.patience.poll(cx, self.awaited()));
                    if self.held.is_empty() {
                        return Poll::Ready(Err(Violation::SlowHead.into()));
                    }
                    break;
                }
            }
        }
        self.recheck = true;
        Poll::Ready(Ok(Protocol::Http1))
    }

    fn poll_http1(&mut self, cx: &mut Context<'_>, buf: &mut ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.guard.awaits_answer() {
            match self.state.upgrade(cx.waker()) {
                Upgrade::Undecided if self.held.len() >= HELD_MAX => return Poll::Pending,
                Upgrade::Undecided => {}
                Upgrade::Declined => {
                    self.guard.resume();
                    self.recheck = true;
                }
                Upgrade::Tunnel => {
                    self.guard.tunnel();
                    self.mode = Mode::Tunnel;
                    self.cleared = std::mem::take(&mut self.held);
                    return Poll::Ready(Ok(()));
                }
            }
        }
        if std::mem::take(&mut self.recheck) {
            self.admit(&[], buf);
            return Poll::Ready(Ok(()));
        }
        scratch::with(|scratch| {
            let room = buf.remaining().min(scratch.len());
            let mut read = ReadBuf::new(&mut scratch[..room]);
            match Pin::new(&mut self.io).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if read.filled().is_empty() => self.mode = Mode::Ended,
                Poll::Ready(Ok(())) => {
                    self.patience.came(read.filled().len());
                    self.admit(read.filled(), buf);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    ready!(self.patience.poll(cx, self.awaited()));
                    self.expire();
                }
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Judges what was held together with `new`, and hands on what is released.
    fn admit(&mut self, new: &[u8], buf: &mut ReadBufCursor<'_>) {
        let mut joined = std::mem::take(&mut self.held);
        let bytes = if joined.is_empty() {
            new
        } else {
            joined.extend_from_slice(new);
            &joined
        };
        let (mut at, heads) = (0, self.guard.heads());
        let fault = loop {
            match self.guard.step(&bytes[at..]) {
                Ok(step) if step.swallowed + step.released == 0 => break None,
                Ok(step) => {
                    let begin = at + step.swallowed;
                    at = begin + step.released;
                    put(&bytes[begin..at], buf, &mut self.cleared);
                }
                Err(fault) => break Some(fault),
            }
        };
        if self.guard.heads() > heads {
            self.state.released(self.guard.heads());
            self.patience.renew();
        }
        if let Some(fault) = fault {
            let head = bytes[at..].trim_ascii_start().starts_with(b"HEAD ");
            self.fail(fault, if head { STAND_IN_FOR_HEAD } else { STAND_IN }, buf);
        } else if at == 0 && !joined.is_empty() {
            self.held = joined;
        } else if at < bytes.len() {
            self.held.extend_from_slice(&bytes[at..]);
        }
    }

    fn fail(&mut self, fault: Fault, stand_in: &[u8], buf: &mut ReadBufCursor<'_>) {
        match fault {
            Fault::Head(violation) => {
                self.state.refuse(self.guard.heads(), violation);
                self.mode = Mode::Silent;
                put(stand_in, buf, &mut self.cleared);
            }
            Fault::Body(violation) => self.mode = Mode::Failed(violation),
        }
    }

    fn awaited(&self) -> Awaited {
        if self.guard.in_body() {
            Awaited::Body
        } else if self.guard.awaits_answer() || self.mode == Mode::Http2 && self.state.is_busy() {
            Awaited::Nothing
        } else if !self.held.is_empty() {
            Awaited::Head
        } else if self.state.is_busy() || self.stall.is_stalled() {
            Awaited::Nothing
        } else if self.guard.heads() == 0 && self.mode == Mode::Http1 {
            Awaited::First
        } else {
            Awaited::Next
        }
    }

    /// The client was too slow with what is awaited of it.
    fn expire(&mut self) {
        match self.awaited() {
            Awaited::Body => self.mode = Mode::Failed(Violation::SlowBody),
            Awaited::Head => {
                self.held = Vec::new();
                self.guard.refuse(Violation::SlowHead);
                self.state.refuse(self.guard.heads(), Violation::SlowHead);
                self.mode = Mode::Silent;
                self.cleared.extend_from_slice(STAND_IN);
            }
            Awaited::Nothing | Awaited::First | Awaited::Next => self.mode = Mode::Ended,
        }
    }

    fn wrote<R>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if polled.is_ready() {
            self.stall.end();
            return polled;
        }
        ready!(self.stall.poll(cx, self.deadlines.write));
        Poll::Ready(Err(Violation::SlowReader.into()))
    }

    /// Reads and drops what a client still sends that was answered before its end.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let unread = matches!(self.mode, Mode::Silent | Mode::Failed(_)) || self.guard.in_body();
        if !unread || self.mode == Mode::Ended {
            return Poll::Ready(());
        }
        let linger = self.linger.get_or_insert_with(Stall::new);
        if linger.poll(cx, self.deadlines.linger).is_ready() {
            return Poll::Ready(());
        }
        scratch::with(|scratch| {
            loop {
                let mut read = ReadBuf::new(scratch);
                match ready!(Pin::new(&mut self.io).poll_read(cx, &mut read)) {
                    Ok(()) if !read.filled().is_empty() => {}
                    _ => return Poll::Ready(()),
                }
            }
        })
    }
}

/// Hands `bytes` to hyper, and what it has no room for to `cleared`, in order.
fn put(bytes: &[u8], buf: &mut ReadBufCursor<'_>, cleared: &mut Vec<u8>) {
    let room = if cleared.is_empty() { bytes.len().min(buf.remaining()) } else { 0 };
    let (now, later) = bytes.split_at(room);
    buf.put_slice(now);
    cleared.extend_from_slice(later);
}

impl<T: AsyncRead + AsyncWrite + Unpin> hyper::rt::Read for ServerIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let room = buf.remaining();
        loop {
            if !this.cleared.is_empty() {
                let cleared = std::mem::take(&mut this.cleared);
                put(&cleared, &mut buf, &mut this.cleared);
            }
            if buf.remaining() < room {
                return Poll::Ready(Ok(()));
            }
            match this.mode {
                Mode::Http1 => ready!(this.poll_http1(cx, &mut buf))?,
                Mode::Tunnel => return Pin::new(&mut TokioIo::new(&mut this.io)).poll_read(cx, buf),
                Mode::Http2 => {
                    // Asked first, because reading takes the cursor away; ends an idle connection, never a busy one.
                    if this.patience.poll(cx, this.awaited()).is_ready() {
                        this.mode = Mode::Ended;
                        continue;
                    }
                    return Pin::new(&mut TokioIo::new(&mut this.io)).poll_read(cx, buf);
                }
                Mode::Failed(violation) => {
                    this.mode = Mode::Silent;
                    return Poll::Ready(Err(violation.into()));
                }
                Mode::Silent => return Poll::Pending,
                Mode::Ended => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> hyper::rt::Write for ServerIo<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_write(cx, buf);
        if polled.is_ready() {
            this.patience.wrote();
        }
        this.wrote(cx, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        if polled.is_ready() {
            this.patience.wrote();
        }
        this.wrote(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_flush(cx);
        this.wrote(cx, polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            let polled = Pin::new(&mut this.io).poll_shutdown(cx);
            ready!(this.wrote(cx, polled))?;
        }
        this.poll_linger(cx).map(Ok)
    }
}
