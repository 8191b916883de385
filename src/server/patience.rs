//! The patience with an HTTP/2 client that does not read what it is owed.
//!
//! hyper asks for the next bytes of an answer once the client's window has let out those before, and looks at nothing while it
//! waits. So a task looks: if nobody asked for [`PATIENCE`], the answer goes, and with it what it holds at the origin. The stream
//! is reset when its client does come back.
//!
//! Invariant: time counts only while the client has bytes and does not come for more, never while the origin is the silent one.
//! HTTP/1 needs none of this: there the guard sees the socket stuck. It refuses to know what the bytes mean.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::body::{Body, BodyError};

/// How long a client may leave a piece where it is: as long as the guard lets an HTTP/1 client take no byte. Many clients tell
/// what they read only when half of their window is free again; that half is then what they have to read in this time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Most bytes that are given at once. A client is seen to move only when it comes for the next piece, so this is what it has to
/// take within [`PATIENCE`]; no DATA frame is larger anyway, unless the client asked for that (RFC 9113 §4.2).
const PIECE: usize = 16 * 1024;

/// What a client gets that comes back too late.
#[derive(Debug, thiserror::Error)]
#[error("the client did not read its answer for too long")]
struct TooSlow;

/// A body that is let go once its reader stays away. To be polled within a runtime.
pub(super) struct Patient {
    owed: Arc<Mutex<Owed>>,
    /// Not there before there is something to read that is not the end.
    watch: Option<AbortHandle>,
}

struct Owed {
    /// `None` once it was let go.
    body: Option<Body>,
    /// The rest of what came from the body.
    rest: Bytes,
    /// Since when the reader has had bytes and wanted no more.
    away: Option<Instant>,
}

impl Patient {
    pub(super) fn new(body: Body) -> Self {
        let owed = Owed { body: Some(body), rest: Bytes::new(), away: None };
        Self { owed: Arc::new(Mutex::new(owed)), watch: None }
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

impl HttpBody for Patient {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let mut owed = lock(&this.owed);
        let polled = owed.poll_frame(cx);
        if matches!(polled, Poll::Ready(Some(Ok(_)))) && !owed.is_end() {
            owed.away = Some(Instant::now());
            // Only here, so that an answer that comes in one piece costs no task.
            this.watch.get_or_insert_with(|| tokio::spawn(watch(Arc::downgrade(&this.owed))).abort_handle());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.owed).is_end()
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.owed).size_hint()
    }
}

impl Owed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.away = None;
        let Some(body) = &mut self.body else { return Poll::Ready(Some(Err(TooSlow.into()))) };
        if self.rest.is_empty() {
            match ready!(Pin::new(body).poll_frame(cx)) {
                // A `Body` gives data and nothing else.
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                end => return Poll::Ready(end),
            }
        }
        let piece = self.rest.split_to(PIECE.min(self.rest.len()));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end(&self) -> bool {
        self.rest.is_empty() && self.body.as_ref().is_some_and(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, mut hint) = (self.rest.len() as u64, SizeHint::default());
        let Some(body) = self.body.as_ref().map(HttpBody::size_hint) else { return hint };
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }

    /// What is let go if the reader has been away for too long, or when to ask again.
    fn let_go(&mut self, now: Instant) -> Result<(Option<Body>, Bytes), Instant> {
        match self.away {
            Some(away) if now >= away + PATIENCE => Ok((self.body.take(), std::mem::take(&mut self.rest))),
            away => Err(away.unwrap_or(now) + PATIENCE),
        }
    }
}

/// Looks after a body until it is let go, or its reader is gone.
async fn watch(owed: Weak<Mutex<Owed>>) {
    let mut due = Instant::now() + PATIENCE;
    loop {
        sleep_until(due).await;
        let Some(owed) = owed.upgrade() else { return };
        let let_go = lock(&owed).let_go(Instant::now());
        match let_go {
            // It is dropped here, where nobody waits for the lock.
            Ok(_) => return tracing::debug!("an HTTP/2 client does not read: its answer is cut off"),
            Err(later) => due = later,
        }
    }
}

fn lock(owed: &Mutex<Owed>) -> MutexGuard<'_, Owed> {
    owed.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use http_body_util::{BodyExt, StreamBody};
    use tokio::sync::mpsc;

    const SECOND: Duration = Duration::from_secs(1);

    /// A body whose bytes come when the test says so; its end of the channel is closed once it was let go.
    fn body() -> (mpsc::UnboundedSender<Bytes>, Patient) {
        let (origin, mut bytes) = mpsc::unbounded_channel();
        let stream = futures_util::stream::poll_fn(move |cx| bytes.poll_recv(cx));
        let frames = futures_util::StreamExt::map(stream, |bytes| Ok(Frame::data(bytes)));
        (origin, Patient::new(Body::stream(StreamBody::new(frames))))
    }

    fn bytes(length: usize) -> Bytes {
        vec![b'x'; length].into()
    }

    async fn next(body: &mut Patient) -> usize {
        body.frame().await.unwrap().unwrap().into_data().unwrap().len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_let_go_when_its_reader_stays_away() {
        let (origin, mut body) = body();
        origin.send(bytes(3)).unwrap();
        origin.send(bytes(3)).unwrap();
        tokio::time::sleep(5 * PATIENCE).await;
        let start = Instant::now();
        assert_eq!(next(&mut body).await, 3);
        origin.closed().await;
        assert_eq!(start.elapsed(), PATIENCE);
        assert!(!body.is_end_stream());
        assert!(body.frame().await.unwrap().unwrap_err().is::<TooSlow>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_has_its_time_for_every_piece() {
        let (origin, mut body) = body();
        origin.send(bytes(3 * PIECE + 1)).unwrap();
        drop(origin);
        for piece in [PIECE, PIECE, PIECE, 1] {
            assert_eq!(next(&mut body).await, piece);
            tokio::time::sleep(PATIENCE - SECOND).await;
        }
        assert!(body.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_silence_of_the_origin_is_not_the_readers() {
        let (origin, mut body) = body();
        for _ in 0..3 {
            origin.send(bytes(1)).unwrap();
            assert_eq!(next(&mut body).await, 1);
            assert!(body.frame().now_or_never().is_none());
            tokio::time::sleep(5 * PATIENCE + SECOND).await;
        }
        origin.send(bytes(1)).unwrap();
        let start = Instant::now();
        assert_eq!(next(&mut body).await, 1);
        origin.closed().await;
        assert_eq!(start.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_goes_at_once_with_its_reader() {
        let (origin, mut body) = body();
        origin.send(bytes(1)).unwrap();
        next(&mut body).await;
        drop(body);
        assert!(origin.is_closed());
    }

    #[tokio::test]
    async fn the_size_is_that_of_what_is_still_to_come() {
        let mut body = Patient::new(Body::Full(bytes(PIECE + 1)));
        assert_eq!(body.size_hint().exact(), Some(PIECE as u64 + 1));
        next(&mut body).await;
        assert_eq!(body.size_hint().exact(), Some(1));
        assert!(!body.is_end_stream());
        next(&mut body).await;
        assert!(body.is_end_stream() && body.watch.is_some());
    }

    #[tokio::test]
    async fn what_comes_in_one_piece_needs_no_watch() {
        let mut body = Patient::new(Body::Full(bytes(PIECE)));
        assert_eq!(next(&mut body).await, PIECE);
        assert!(body.is_end_stream() && body.watch.is_none());
    }
}
