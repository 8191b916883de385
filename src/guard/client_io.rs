//! An origin's socket as hyper's client sees it: only what [`ResponseGuard`] releases.
//!
//! Invariant: a response belongs to the request that was written before it; where the two do not match, the read fails and the
//! connection with it. It refuses to know deadlines (the upstream room holds them) and what the response means.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use hyper::rt::ReadBufCursor;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::guard::Framing;
use crate::guard::response::{Asked, ResponseGuard};
use crate::guard::scratch;
use crate::guard::violation::Violation;

/// What the pool and a connection that it lends tell each other.
#[derive(Debug, Default)]
pub struct ClientState {
    asked: AtomicU8,
    spent: AtomicBool,
}

const CONTENT: u8 = 1;
const HEAD: u8 = 2;
const UPGRADE: u8 = 3;

impl ClientState {
    /// To be called before each request is given to hyper. It counts from the first byte that is written, so that bytes which came
    /// before are never taken for its response.
    pub fn begin(&self, asked: Asked) {
        let code = match asked {
            Asked::Content => CONTENT,
            Asked::Head => HEAD,
            Asked::Upgrade => UPGRADE,
        };
        self.asked.store(code, Ordering::Release);
    }

    /// Whether bytes were dropped that no request asked for ([`Framing::Lenient`]): none may follow. Known before hyper has the
    /// end of a response that came in the same read.
    pub fn is_spent(&self) -> bool {
        self.spent.load(Ordering::Acquire)
    }

    fn take(&self) -> Option<Asked> {
        match self.asked.swap(0, Ordering::AcqRel) {
            CONTENT => Some(Asked::Content),
            HEAD => Some(Asked::Head),
            UPGRADE => Some(Asked::Upgrade),
            _ => None,
        }
    }
}

/// A guarded origin connection, for hyper's client (which must be built with `max_headers` of [`RESPONSE_FIELDS_MAX`] to take all
/// that passes here).
///
/// A read fails with an error that carries a [`Violation`]: `InvalidData` for what the origin must not send, `UnexpectedEof` where
/// it ends within a response. An end before the first byte of a response is a plain end, which hyper's callers may retry.
///
/// [`RESPONSE_FIELDS_MAX`]: crate::guard::RESPONSE_FIELDS_MAX
#[derive(Debug)]
pub struct ClientIo<T> {
    io: T,
    guard: ResponseGuard,
    state: Arc<ClientState>,
    /// Came, but is not a whole head yet.
    held: Vec<u8>,
    /// Released, but hyper had no room.
    cleared: Vec<u8>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> ClientIo<T> {
    /// Guards `io`, a new connection to an origin whose responses are framed by `framing`.
    pub fn new(io: T, framing: Framing) -> Self {
        let guard = ResponseGuard::new(framing);
        Self { io, guard, state: Arc::default(), held: Vec::new(), cleared: Vec::new() }
    }

    /// Where the pool announces each request.
    pub fn state(&self) -> &Arc<ClientState> {
        &self.state
    }

    fn begin(&mut self) {
        if let Some(asked) = self.state.take() {
            self.guard.begin(asked);
        }
    }

    /// Reads once and judges it; gives whether the connection has ended.
    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBufCursor<'_>) -> Poll<io::Result<bool>> {
        scratch::with(|scratch| {
            let room = buf.remaining().min(scratch.len());
            let mut read = ReadBuf::new(&mut scratch[..room]);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(self.eof().map(|()| true));
            }
            self.admit(cx, read.filled(), buf)?;
            Poll::Ready(Ok(false))
        })
    }

    fn eof(&self) -> io::Result<()> {
        match self.guard.eof() {
            Ok(()) | Err(Violation::Unanswered) => Ok(()),
            Err(violation) => Err(violation.into()),
        }
    }

    fn admit(
        &mut self,
        cx: &mut Context<'_>,
        new: &[u8],
        buf: &mut ReadBufCursor<'_>,
    ) -> Result<(), Violation> {
        let mut joined = std::mem::take(&mut self.held);
        let bytes = if joined.is_empty() {
            new
        } else {
            joined.extend_from_slice(new);
            &joined
        };
        let released = self.guard.feed(bytes)?;
        if self.guard.is_idle() {
            self.look_ahead(cx)?;
        }
        let (released, held) = bytes.split_at(released);
        let (now, later) = released.split_at(released.len().min(buf.remaining()));
        buf.put_slice(now);
        self.cleared.extend_from_slice(later);
        if self.guard.refusal().is_some() {
            self.state.spent.store(true, Ordering::Release);
        } else if released.is_empty() && !joined.is_empty() {
            self.held = joined;
        } else {
            self.held.extend_from_slice(held);
        }
        Ok(())
    }

    /// Nothing is being answered: what has come all the same belongs to no request, and must spoil the connection while it can. An
    /// end, or an error, is left for the next read.
    fn look_ahead(&mut self, cx: &mut Context<'_>) -> Result<(), Violation> {
        let mut byte = [0];
        let mut read = ReadBuf::new(&mut byte);
        match Pin::new(&mut self.io).poll_read(cx, &mut read) {
            Poll::Ready(Ok(())) => self.guard.feed(read.filled()).map(drop),
            Poll::Ready(Err(_)) | Poll::Pending => Ok(()),
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> hyper::rt::Read for ClientIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let room = buf.remaining();
        loop {
            if !this.cleared.is_empty() {
                let later = this.cleared.split_off(buf.remaining().min(this.cleared.len()));
                buf.put_slice(&std::mem::replace(&mut this.cleared, later));
            }
            if buf.remaining() < room {
                return Poll::Ready(Ok(()));
            }
            if let Some(violation) = this.guard.refusal() {
                return Poll::Ready(Err(violation.into()));
            }
            if this.guard.is_raw() {
                return Pin::new(&mut TokioIo::new(&mut this.io)).poll_read(cx, buf);
            }
            if ready!(this.poll_fill(cx, &mut buf))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> hyper::rt::Write for ClientIo<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.begin();
        Pin::new(&mut this.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.begin();
        Pin::new(&mut this.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
