//! A client's socket that takes interim (1xx) responses between those that hyper's server writes.
//!
//! hyper flushes its socket only when it has nothing left to write, and gets a final answer only when what was queued before it is
//! written ([`ConnectionState::poll_interim_end`]): whatever is queued at a flush belongs between two responses.
//!
//! Invariant: a head that was begun is finished before anything else is written. It refuses to know requests and deadlines.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::guard::connection::ConnectionState;

/// The socket of one client connection.
#[derive(Debug)]
pub(crate) struct InterimIo<T> {
    io: T,
    state: Arc<ConnectionState>,
    /// Taken from the queue, and not written yet.
    begun: Bytes,
}

impl<T: AsyncWrite + Unpin> InterimIo<T> {
    pub(crate) fn new(io: T, state: &Arc<ConnectionState>) -> Self {
        Self { io, state: Arc::clone(state), begun: Bytes::new() }
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.begun.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.begun))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.begun.advance(written),
            }
            if self.begun.is_empty() {
                self.state.interims().written();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for InterimIo<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for InterimIo<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_finish(cx))?;
        Pin::new(&mut this.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_finish(cx))?;
        Pin::new(&mut this.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.state.interims().is_unwritten() {
            if this.begun.is_empty() {
                this.begun = this.state.interims().take();
            }
            ready!(this.poll_finish(cx))?;
        }
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_finish(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker_ref;
    use http::{HeaderMap, StatusCode, Version};
    use std::future::poll_fn;

    use crate::guard::interim::Interim;

    const PROCESSING: &str = "HTTP/1.1 102 Processing\r\n\r\n";

    /// Takes so many bytes, and then none before it is polled again.
    struct Trickle {
        at_once: usize,
        took: bool,
        written: Vec<u8>,
    }

    impl AsyncWrite for Trickle {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.took = !self.took;
            if !self.took {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let taken = self.at_once.min(buf.len());
            self.written.extend_from_slice(&buf[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn client(at_once: usize) -> (InterimIo<Trickle>, Arc<ConnectionState>) {
        let state = Arc::new(ConnectionState::default());
        (InterimIo::new(Trickle { at_once, took: false, written: Vec::new() }, &state), state)
    }

    fn asked(state: &Arc<ConnectionState>) -> Interim {
        state.next_request();
        state.interim(Version::HTTP_11).unwrap()
    }

    fn process(interim: &Interim) {
        interim.send(StatusCode::PROCESSING, &HeaderMap::new());
    }

    async fn write(io: &mut InterimIo<Trickle>, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let written = poll_fn(|cx| Pin::new(&mut *io).poll_write(cx, bytes)).await.unwrap();
            bytes = &bytes[written..];
        }
    }

    async fn flush(io: &mut InterimIo<Trickle>) {
        poll_fn(|cx| Pin::new(&mut *io).poll_flush(cx)).await.unwrap();
    }

    fn text(io: &InterimIo<Trickle>) -> &str {
        std::str::from_utf8(&io.io.written).unwrap()
    }

    #[tokio::test]
    async fn what_is_queued_is_written_whole_at_a_flush_however_little_the_client_takes() {
        for at_once in 1..=2 * PROCESSING.len() {
            let (mut io, state) = client(at_once);
            let interim = asked(&state);
            process(&interim);
            process(&interim);
            flush(&mut io).await;
            assert!(state.poll_interim_end(noop_waker_ref()).is_ready());
            write(&mut io, b"final").await;
            assert_eq!(text(&io), format!("{PROCESSING}{PROCESSING}final"), "{at_once}");
        }
    }

    #[tokio::test]
    async fn nothing_is_written_into_what_hyper_has_not_finished() {
        let (mut io, state) = client(3);
        write(&mut io, b"one re").await;
        process(&asked(&state));
        write(&mut io, b"sponse;").await;
        assert_eq!(text(&io), "one response;");
        flush(&mut io).await;
        assert_eq!(text(&io), format!("one response;{PROCESSING}"));
    }

    #[tokio::test]
    async fn what_was_begun_is_finished_before_hyper_writes_or_closes() {
        let begun = || {
            let (mut io, state) = client(3);
            process(&asked(&state));
            let mut cx = Context::from_waker(noop_waker_ref());
            assert!(Pin::new(&mut io).poll_flush(&mut cx).is_pending());
            assert_eq!(text(&io), "HTT");
            assert!(state.poll_interim_end(noop_waker_ref()).is_pending(), "begun is not written");
            (io, state)
        };
        let (mut io, state) = begun();
        write(&mut io, b"go on;").await;
        assert_eq!(text(&io), format!("{PROCESSING}go on;"));
        assert!(state.poll_interim_end(noop_waker_ref()).is_ready());
        let (mut io, _state) = begun();
        poll_fn(|cx| Pin::new(&mut io).poll_shutdown(cx)).await.unwrap();
        assert_eq!(text(&io), PROCESSING);
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_any_more_is_an_error() {
        let (mut io, state) = client(0);
        process(&asked(&state));
        let error = poll_fn(|cx| Pin::new(&mut io).poll_flush(cx)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }
}
