//! The body of a flight while it comes: one writer, any number of readers, each at its own pace.
//!
//! ```text
//!   chunks  [c3][c4][c5][c6]       dropped so far: 3
//!               ^ reader A (4)        ^ reader B (7, waits)
//! ```
//! While the body may still be stored every chunk is kept, and the writer never waits. Once it has outgrown what is
//! stored ([`Writer::stop_keeping`]) a chunk goes when the slowest reader has it, and the writer waits for the slowest,
//! though not for ever: whoever makes it wait for [`PATIENCE`] is cut off ([`Relay::cut_off_laggards`]).
//! Whoever counts bytes knows the end of a body of known length by its last chunk: while the body may still be stored,
//! that chunk is given only with the end.
//! It refuses to know what the bytes mean or where they go.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::BodyError;

/// Bytes that the writer may be ahead of the slowest reader once nothing is kept.
pub(crate) const WINDOW: usize = 512 * 1024;

/// Bytes that the slowest reader may be behind when a writer that had to wait goes on. Less than [`WINDOW`], so that a
/// reader which takes a chunk now and then is no better than one that takes none.
const REST: usize = WINDOW / 2;

/// How long the writer waits for that. The guard is as patient with an HTTP/1 client that takes no byte; of an HTTP/2
/// client that answers pings and leaves its window shut, only this knows.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the writer should stop.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads this body any more")]
pub(crate) struct Abandoned;

/// What a reader gets when the origin's body did not come to a clean end.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the origin's answer broke off: {0}")]
pub(crate) struct BrokeOff(pub(crate) Arc<str>);

/// What a reader gets that was cut off.
#[derive(Debug, thiserror::Error)]
#[error("the origin was kept waiting for this reader for too long")]
pub(crate) struct TooSlow;

#[derive(Debug)]
struct Relay {
    chunks: VecDeque<Bytes>,
    dropped: usize,
    /// In `chunks`.
    bytes: usize,
    /// Since the beginning.
    received: u64,
    keeping: bool,
    end: Option<Result<(), BrokeOff>>,
    /// All but those that were cut off.
    readers: HashMap<u64, Place, ahash::RandomState>,
    named: u64,
    writer: Option<Waker>,
}

#[derive(Debug)]
struct Place {
    next: usize,
    /// Where it was when the writer began to wait.
    mark: usize,
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
        received: 0,
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
        relay.readers.insert(name, Place { next: 0, mark: 0, waker: None });
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
        relay.received += chunk.len() as u64;
        relay.chunks.push_back(chunk);
        relay.wake_readers();
    }

    /// From here on chunks go once every reader has them; readers that come later get nothing. False if said before.
    pub(crate) fn stop_keeping(&self) -> bool {
        let mut relay = lock(&self.relay);
        let kept = std::mem::replace(&mut relay.keeping, false);
        relay.trim();
        relay.wake_readers();
        kept
    }

    /// At once if the slowest reader is within [`WINDOW`], or everything is kept; otherwise waits until it is within
    /// [`REST`], or has been cut off.
    ///
    /// # Errors
    /// [`Abandoned`] if nothing is kept and nobody reads any more.
    pub(crate) async fn room(&self) -> Result<(), Abandoned> {
        if let Some(room) = lock(&self.relay).room(WINDOW) {
            return room;
        }
        loop {
            lock(&self.relay).mark();
            let rested = std::future::poll_fn(|cx| {
                let mut relay = lock(&self.relay);
                let Some(room) = relay.room(REST) else {
                    relay.writer = Some(cx.waker().clone());
                    return Poll::Pending;
                };
                Poll::Ready(room)
            });
            match tokio::time::timeout(PATIENCE, rested).await {
                Ok(room) => return room,
                Err(_elapsed) => lock(&self.relay).cut_off_laggards(),
            }
        }
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

    /// What the writer does if the slowest reader may be `behind` bytes behind; `None`: it waits.
    fn room(&self, behind: usize) -> Option<Result<(), Abandoned>> {
        if self.keeping {
            return Some(Ok(()));
        }
        if self.readers.is_empty() {
            return Some(Err(Abandoned));
        }
        (self.bytes <= behind).then_some(Ok(()))
    }

    /// How many chunks may be given: all but the one that completes a body of `length` bytes whose end is not known yet.
    fn given(&self, length: Option<u64>) -> usize {
        let all = self.dropped + self.chunks.len();
        let is_held = self.keeping && self.end.is_none() && length == Some(self.received);
        all.saturating_sub(usize::from(is_held))
    }

    fn mark(&mut self) {
        self.readers.values_mut().for_each(|place| place.mark = place.next);
    }

    /// Those who kept the writer waiting lose their place: all of them while somebody has read everything and wants
    /// more, otherwise only those who did not move at all. Slow readers among themselves harm nobody.
    fn cut_off_laggards(&mut self) {
        let end = self.dropped + self.chunks.len();
        let someone_wants_more = self.readers.values().any(|place| place.next == end);
        let (mut behind, mut rested) = (0, end);
        for chunk in self.chunks.iter().rev() {
            behind += chunk.len();
            if behind > REST {
                break;
            }
            rested -= 1;
        }
        self.readers
            .retain(|_, place| place.next >= rested || (place.next > place.mark && !someone_wants_more));
        self.trim();
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
        if self.room(REST).is_some()
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
        let given = relay.given(self.length);
        let Some(place) = relay.readers.get_mut(&self.name) else {
            return Poll::Ready(Some(Err(TooSlow.into())));
        };
        if place.next < given
            && let Some(chunk) = relay.chunks.get(place.next - relay.dropped)
        {
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

    async fn next_error(reader: &mut Reader) -> BodyError {
        reader.frame().await.unwrap().unwrap_err()
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
    async fn the_bytes_that_complete_a_known_length_come_with_the_end() {
        let (writer, source) = relay(Some(6));
        let mut reader = source.reader().unwrap();
        writer.push(chunk(4));
        assert_eq!(next(&mut reader).await.unwrap().len(), 4);
        writer.push(chunk(2));
        assert!(
            next(&mut reader).now_or_never().is_none(),
            "the reader would know the end before the writer does"
        );
        assert_eq!(writer.whole().len(), 6);
        writer.finish();
        assert_eq!(next(&mut reader).await.unwrap().len(), 2);
        assert!(next(&mut reader).await.is_none());
    }

    #[tokio::test]
    async fn a_body_that_is_not_kept_holds_no_bytes_back() {
        let (writer, source) = relay(Some(2));
        let mut reader = source.reader().unwrap();
        writer.push(chunk(2));
        assert!(next(&mut reader).now_or_never().is_none());
        writer.stop_keeping();
        assert_eq!(next(&mut reader).await.unwrap().len(), 2);
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

    /// Chunks of `size` are pushed until nobody reads any more, or `total` have been.
    async fn pour(writer: Writer, size: usize, total: usize) -> Result<(), Abandoned> {
        writer.stop_keeping();
        for _ in 0..total {
            writer.push(chunk(size));
            writer.room().await?;
        }
        writer.finish();
        Ok(())
    }

    /// One chunk every `pause`; how many came, and whether the end was clean.
    async fn sip(mut reader: Reader, pause: Duration) -> (usize, bool) {
        for chunks in 0.. {
            match reader.frame().await {
                None => return (chunks, true),
                Some(Err(_)) => return (chunks, false),
                Some(Ok(_)) => tokio::time::sleep(pause).await,
            }
        }
        unreachable!("bodies end")
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_does_not_move_is_cut_off_and_the_others_get_everything() {
        let (writer, source) = relay(None);
        let mut idle = source.reader().unwrap();
        let others = [(); 2].map(|()| tokio::spawn(sip(source.reader().unwrap(), Duration::ZERO)));
        let start = tokio::time::Instant::now();
        let poured = tokio::spawn(pour(writer, WINDOW / 4, 100));
        for other in others {
            assert_eq!(other.await.unwrap(), (100, true));
        }
        poured.await.unwrap().unwrap();
        assert_eq!(start.elapsed().as_secs(), PATIENCE.as_secs(), "they waited once");
        assert!(next_error(&mut idle).await.is::<TooSlow>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_a_chunk_now_and_then_does_not_hold_who_reads() {
        let (writer, source) = relay(None);
        let trickle = tokio::spawn(sip(source.reader().unwrap(), PATIENCE - Duration::from_secs(1)));
        let other = source.reader().unwrap();
        let poured = tokio::spawn(pour(writer, WINDOW / 64, 1000));
        assert_eq!(sip(other, Duration::ZERO).await, (1000, true));
        poured.await.unwrap().unwrap();
        assert!(!trickle.await.unwrap().1);
    }

    #[tokio::test(start_paused = true)]
    async fn several_who_do_not_move_are_cut_off_at_once() {
        let (writer, source) = relay(None);
        let mut idle: Vec<_> = (0..50).map(|_| source.reader().unwrap()).collect();
        let other = source.reader().unwrap();
        writer.push(chunk(1));
        writer.push(chunk(1));
        next(&mut idle[0]).await;
        let start = tokio::time::Instant::now();
        let poured = tokio::spawn(pour(writer, WINDOW / 4, 100));
        assert_eq!(sip(other, Duration::ZERO).await, (102, true));
        poured.await.unwrap().unwrap();
        assert_eq!(start.elapsed().as_secs(), PATIENCE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_that_nobody_waits_behind_reads_to_the_end() {
        let (writer, source) = relay(None);
        let readers = [source.reader().unwrap(), source.reader().unwrap()];
        let pause = PATIENCE - Duration::from_secs(1);
        let slow = readers.map(|reader| tokio::spawn(sip(reader, pause)));
        pour(writer, WINDOW / 64, 200).await.unwrap();
        for reader in slow {
            assert_eq!(reader.await.unwrap(), (200, true));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_is_alone_and_does_not_move_lets_the_origin_go() {
        let (writer, source) = relay(None);
        let mut idle = source.reader().unwrap();
        let start = tokio::time::Instant::now();
        assert!(pour(writer, WINDOW / 4, 100).await.is_err());
        assert_eq!(start.elapsed().as_secs(), PATIENCE.as_secs());
        assert!(next_error(&mut idle).await.is::<TooSlow>());
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_that_is_slow_costs_no_reader_its_place() {
        let (writer, source) = relay(None);
        let (first, second) = (source.reader().unwrap(), source.reader().unwrap());
        writer.stop_keeping();
        let origin = async {
            for _ in 0..10 {
                tokio::time::sleep(10 * PATIENCE).await;
                writer.push(chunk(2 * WINDOW));
                writer.room().await.unwrap();
            }
            writer.finish();
        };
        let (first, second, ()) = tokio::join!(sip(first, Duration::ZERO), sip(second, PATIENCE / 2), origin);
        assert_eq!((first, second), ((10, true), (10, true)));
    }
}
