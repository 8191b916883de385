//! The body of a flight while it comes: one writer, any number of readers, each at its own pace.
//!
//! ```text
//!   chunks  [c3][c4][c5][c6]       dropped so far: 3
//!               ^ reader A (4)        ^ reader B (7, waits)
//! ```
//! While the body may still be stored every chunk is kept, and the writer never waits. Once it has outgrown what is
//! stored ([`Writer::stop_keeping`]) a chunk goes when the slowest reader has it, and the writer waits for the slowest.
//! It refuses to know what the bytes mean or where they go.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::BodyError;

/// Bytes that the writer may be ahead of the slowest reader once nothing is kept.
pub(crate) const WINDOW: usize = 512 * 1024;

/// Why the writer should stop.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads this body any more")]
pub(crate) struct Abandoned;

/// What a reader gets when the origin's body did not come to a clean end.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the origin's answer broke off: {0}")]
pub(crate) struct BrokeOff(pub(crate) Arc<str>);

#[derive(Debug)]
struct Relay {
    chunks: VecDeque<Bytes>,
    dropped: usize,
    bytes: usize,
    keeping: bool,
    end: Option<Result<(), BrokeOff>>,
    readers: HashMap<u64, Place, ahash::RandomState>,
    named: u64,
    writer: Option<Waker>,
}

#[derive(Debug)]
struct Place {
    next: usize,
    waker: Option<Waker>,
}

/// Where readers come from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    relay: Arc<Mutex<Relay>>,
    length: Option<u64>,
}

/// The one writer. Dropped without [`Writer::finish`], it breaks the body off for every reader.
#[derive(Debug)]
pub(crate) struct Writer {
    relay: Arc<Mutex<Relay>>,
}

/// One reader: a body from the first byte on.
#[derive(Debug)]
pub(crate) struct Reader {
    relay: Arc<Mutex<Relay>>,
    name: u64,
    length: Option<u64>,
}

/// A relay for a body of `length` bytes, where the origin said so.
pub(crate) fn relay(length: Option<u64>) -> (Writer, Source) {
    let relay = Arc::new(Mutex::new(Relay {
        chunks: VecDeque::new(),
        dropped: 0,
        bytes: 0,
        keeping: true,
        end: None,
        readers: HashMap::default(),
        named: 0,
        writer: None,
    }));
    (Writer { relay: Arc::clone(&relay) }, Source { relay, length })
}

impl Source {
    /// One more reader; `None` once the first bytes are gone.
    pub(crate) fn reader(&self) -> Option<Reader> {
        let mut relay = lock(&self.relay);
        if relay.dropped > 0 {
            return None;
        }
        relay.named += 1;
        let name = relay.named;
        relay.readers.insert(name, Place { next: 0, waker: None });
        Some(Reader { relay: Arc::clone(&self.relay), name, length: self.length })
    }
}

impl Writer {
    /// Hands a chunk to every reader.
    pub(crate) fn push(&self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        let mut relay = lock(&self.relay);
        relay.bytes += chunk.len();
        relay.chunks.push_back(chunk);
        relay.wake_readers();
    }

    /// From here on chunks go once every reader has them; readers that come later get nothing. False if said before.
    pub(crate) fn stop_keeping(&self) -> bool {
        let mut relay = lock(&self.relay);
        let kept = std::mem::replace(&mut relay.keeping, false);
        relay.trim();
        kept
    }

    /// Waits until the slowest reader is within [`WINDOW`]; at once while everything is kept.
    ///
    /// # Errors
    /// [`Abandoned`] if nothing is kept and nobody reads.
    pub(crate) async fn room(&self) -> Result<(), Abandoned> {
        std::future::poll_fn(|cx| {
            let mut relay = lock(&self.relay);
            if relay.keeping {
                return Poll::Ready(Ok(()));
            }
            if relay.readers.is_empty() {
                return Poll::Ready(Err(Abandoned));
            }
            if relay.bytes <= WINDOW {
                return Poll::Ready(Ok(()));
            }
            relay.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// All chunks that are kept, copied into one: a chunk may be a small slice of a large read buffer, which an entry
    /// would keep alive.
    pub(crate) fn whole(&self) -> Bytes {
        lock(&self.relay).whole()
    }

    /// The body came to its clean end.
    pub(crate) fn finish(self) {
        let mut relay = lock(&self.relay);
        relay.end = Some(Ok(()));
        relay.wake_readers();
    }

    /// The body broke off.
    pub(crate) fn break_off(self, why: &str) {
        lock(&self.relay).break_off(why);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        lock(&self.relay).break_off("the fetch ended early");
    }
}

impl Relay {
    fn wake_readers(&mut self) {
        for place in self.readers.values_mut() {
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
    }

    fn break_off(&mut self, why: &str) {
        if self.end.is_none() {
            self.end = Some(Err(BrokeOff(why.into())));
            self.wake_readers();
        }
    }

    fn trim(&mut self) {
        if self.keeping {
            return;
        }
        let slowest = self.readers.values().map(|place| place.next).min().unwrap_or(usize::MAX);
        while self.dropped < slowest {
            let Some(chunk) = self.chunks.pop_front() else { break };
            self.bytes -= chunk.len();
            self.dropped += 1;
        }
        if (self.bytes <= WINDOW || self.readers.is_empty())
            && let Some(writer) = self.writer.take()
        {
            writer.wake();
        }
    }

    fn whole(&self) -> Bytes {
        let mut whole = BytesMut::with_capacity(self.bytes);
        self.chunks.iter().for_each(|chunk| whole.extend_from_slice(chunk));
        whole.freeze()
    }
}

impl HttpBody for Reader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut relay = lock(&self.relay);
        let relay = &mut *relay;
        let place = relay.readers.get_mut(&self.name).expect("a reader keeps its place until it is dropped");
        if let Some(chunk) = relay.chunks.get(place.next - relay.dropped) {
            let chunk = chunk.clone();
            place.next += 1;
            relay.trim();
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match &relay.end {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(broke)) => Poll::Ready(Some(Err(broke.clone().into()))),
            None => {
                place.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut relay = lock(&self.relay);
        relay.readers.remove(&self.name);
        relay.trim();
    }
}

fn lock(relay: &Mutex<Relay>) -> MutexGuard<'_, Relay> {
    relay.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use http_body_util::BodyExt;

    fn chunk(length: usize) -> Bytes {
        Bytes::from(vec![b'x'; length])
    }

    async fn next(reader: &mut Reader) -> Option<Bytes> {
        reader.frame().await.map(|frame| frame.unwrap().into_data().unwrap())
    }

    #[tokio::test]
    async fn a_late_reader_gets_the_body_from_its_first_byte() {
        let (writer, source) = relay(None);
        let mut early = source.reader().unwrap();
        writer.push(Bytes::from_static(b"one "));
        assert_eq!(next(&mut early).await.unwrap(), "one ");
        let late = source.reader().unwrap();
        writer.push(Bytes::from_static(b"two"));
        assert_eq!(writer.whole(), "one two");
        writer.finish();
        assert_eq!(late.collect().await.unwrap().to_bytes(), "one two");
        assert_eq!(next(&mut early).await.unwrap(), "two");
        assert!(next(&mut early).await.is_none());
    }

    #[tokio::test]
    async fn a_writer_that_vanishes_never_looks_like_a_clean_end() {
        let (writer, source) = relay(None);
        let reader = source.reader().unwrap();
        writer.push(chunk(3));
        drop(writer);
        assert!(reader.collect().await.is_err());
    }

    #[tokio::test]
    async fn while_all_is_kept_a_slow_reader_holds_nobody() {
        let (writer, source) = relay(None);
        let _slow = source.reader().unwrap();
        writer.push(chunk(3 * WINDOW));
        assert!(writer.room().now_or_never().is_some());
    }

    #[tokio::test]
    async fn an_outgrown_body_waits_for_its_slowest_reader_and_takes_no_new_ones() {
        let (writer, source) = relay(None);
        let mut slow = source.reader().unwrap();
        let mut fast = source.reader().unwrap();
        writer.push(chunk(WINDOW));
        writer.push(chunk(WINDOW));
        writer.stop_keeping();
        next(&mut fast).await;
        next(&mut fast).await;
        assert!(writer.room().now_or_never().is_none(), "the slow one has nothing yet");
        next(&mut slow).await;
        assert!(writer.room().now_or_never().is_some());
        assert!(source.reader().is_none(), "the first chunk is gone");
        drop((slow, fast));
        assert!(matches!(writer.room().now_or_never(), Some(Err(Abandoned))));
    }
}
