//! Interim (1xx) responses on their way to a client: hyper's server has no way to write them (RFC 9110 §15.2).
//!
//! ```text
//! Interim::send ─→ Queue ─→ InterimIo, once hyper has written all that it had
//!                    └ end: the final answer waits for what is queued; what comes later is dropped
//! ```
//! Invariant: what is queued belongs to the request that is being answered, and is written before the first byte of its final
//! response. It refuses to know who sends what, and which fields belong to one connection only.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, StatusCode};

use crate::guard::connection::ConnectionState;

/// Most interim responses that wait for one client to take them; what comes on top is dropped.
const QUEUED_MAX: usize = 16;
/// Most bytes of them.
const QUEUED_BYTES_MAX: usize = 64 * 1024;

/// What would say that something else than another head follows.
const FRAMING: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE];

/// Sends interim responses to one request of one client. Cheap to clone; of no effect once the request is answered.
#[derive(Clone, Debug)]
pub struct Interim {
    state: Arc<ConnectionState>,
    request: u64,
}

impl Interim {
    /// For the request with this number, from 1.
    pub(crate) fn new(state: &Arc<ConnectionState>, request: u64) -> Self {
        state.interims().open(request);
        Self { state: Arc::clone(state), request }
    }

    /// Queues a head. 100 is left out, because the server says it by itself when it reads the body, and so is 101, which is a final
    /// response here; fields that frame are too (RFC 9110 §8.6, RFC 9112 §6.1).
    pub fn send(&self, status: StatusCode, fields: &HeaderMap) {
        if matches!(status.as_u16(), 102..=199) {
            self.state.interims().push(self.request, &head(status, fields));
        }
    }
}

/// The head as it is written.
fn head(status: StatusCode, fields: &HeaderMap) -> Vec<u8> {
    let mut head = b"HTTP/1.1 ".to_vec();
    head.extend_from_slice(status.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    for (name, value) in fields.iter().filter(|(name, _)| !FRAMING.contains(name)) {
        for part in [b"\r\n", name.as_str().as_bytes(), b": ", value.as_bytes()] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n\r\n");
    head
}

/// What waits to be written to one client.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    queued: Mutex<Queued>,
    /// Whether anything accepted is not written yet: all that an answer without interim responses costs.
    unwritten: AtomicBool,
    /// Who waits for an answer, and has the connection's task polled.
    service: AtomicWaker,
}

#[derive(Debug, Default)]
struct Queued {
    /// Whose are accepted; `None`: nobody waits.
    request: Option<u64>,
    heads: usize,
    bytes: Vec<u8>,
}

impl Queue {
    fn open(&self, request: u64) {
        self.lock().request = Some(request);
    }

    fn push(&self, request: u64, head: &[u8]) {
        let mut queued = self.lock();
        let fits = queued.heads < QUEUED_MAX && queued.bytes.len() + head.len() <= QUEUED_BYTES_MAX;
        if queued.request != Some(request) || !fits {
            return;
        }
        queued.heads += 1;
        queued.bytes.extend_from_slice(head);
        self.unwritten.store(true, Ordering::Release);
        drop(queued);
        self.service.wake();
    }

    /// The answer is not there yet: `service` is woken when something is queued. Others than HTTP/1.1 requests have no queue,
    /// and may be many at once.
    pub(crate) fn register(&self, service: &Waker) {
        if self.lock().request.is_some() {
            self.service.register(service);
        }
    }

    /// The answer is there: nothing is accepted any more. Ready when all that was is written; until then wakes `service`.
    pub(crate) fn poll_end(&self, service: &Waker) -> Poll<()> {
        self.lock().request = None;
        if !self.is_unwritten() {
            return Poll::Ready(());
        }
        self.service.register(service);
        if self.is_unwritten() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Whether anything is to be written before the next final response.
    pub(crate) fn is_unwritten(&self) -> bool {
        self.unwritten.load(Ordering::Acquire)
    }

    /// What is to be written now.
    pub(crate) fn take(&self) -> Bytes {
        let mut queued = self.lock();
        queued.heads = 0;
        std::mem::take(&mut queued.bytes).into()
    }

    /// What was taken is written.
    pub(crate) fn written(&self) {
        let queued = self.lock();
        self.unwritten.store(!queued.bytes.is_empty(), Ordering::Release);
        drop(queued);
        self.service.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Queued> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker_ref;
    use http::{HeaderValue, Version};

    const HINTS: StatusCode = StatusCode::EARLY_HINTS;

    /// A connection whose first request waits for its answer, and the handle for it.
    fn asked() -> (Arc<ConnectionState>, Interim) {
        let state = Arc::new(ConnectionState::default());
        assert_eq!(state.next_request(), None);
        let interim = state.interim(Version::HTTP_11).unwrap();
        (state, interim)
    }

    fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    fn queued(state: &ConnectionState) -> String {
        String::from_utf8(state.interims().take().to_vec()).unwrap()
    }

    #[test]
    fn a_head_is_written_canonically_and_frames_nothing() {
        let (state, interim) = asked();
        let framed = fields(&[
            ("link", "</a>; rel=preload"),
            ("content-length", "3"),
            ("transfer-encoding", "chunked"),
            ("connection", "close"),
            ("upgrade", "websocket"),
            ("x-empty", ""),
        ]);
        interim.send(HINTS, &framed);
        interim.send(StatusCode::from_u16(199).unwrap(), &HeaderMap::new());
        let expected =
            "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\nx-empty: \r\n\r\nHTTP/1.1 199 \r\n\r\n";
        assert_eq!(queued(&state), expected);
    }

    #[test]
    fn all_lines_of_a_field_are_passed_on_in_their_order() {
        let (state, interim) = asked();
        let mut links = HeaderMap::new();
        links.append("link", HeaderValue::from_static("</b>"));
        links.append("link", HeaderValue::from_static("</a>"));
        interim.send(HINTS, &links);
        assert_eq!(queued(&state), "HTTP/1.1 103 Early Hints\r\nlink: </b>\r\nlink: </a>\r\n\r\n");
    }

    #[test]
    fn only_what_is_interim_and_not_the_servers_own_is_queued() {
        let (state, interim) = asked();
        for status in [100, 101, 200, 204, 304, 599] {
            interim.send(StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
        }
        assert!(!state.interims().is_unwritten());
        assert_eq!(queued(&state), "");
    }

    #[test]
    fn only_http_1_1_is_sent_any() {
        for version in [Version::HTTP_09, Version::HTTP_10, Version::HTTP_2] {
            let state = Arc::new(ConnectionState::default());
            state.next_request();
            assert!(state.interim(version).is_none(), "{version:?}");
        }
    }

    #[test]
    fn no_more_wait_than_the_limits_allow() {
        let (state, interim) = asked();
        for _ in 0..=QUEUED_MAX {
            interim.send(HINTS, &HeaderMap::new());
        }
        assert_eq!(queued(&state).matches("103").count(), QUEUED_MAX);
        let large = HeaderValue::from_bytes(&[b'x'; QUEUED_BYTES_MAX / 2]).unwrap();
        let large = HeaderMap::from_iter([(HeaderName::from_static("x"), large)]);
        interim.send(HINTS, &large);
        interim.send(HINTS, &large);
        interim.send(StatusCode::PROCESSING, &HeaderMap::new());
        let queued = queued(&state);
        assert!(queued.len() <= QUEUED_BYTES_MAX);
        assert_eq!((queued.matches("103").count(), queued.matches("102").count()), (1, 1));
    }

    #[test]
    fn what_was_taken_makes_room() {
        let (state, interim) = asked();
        for _ in 0..3 * QUEUED_MAX {
            interim.send(HINTS, &HeaderMap::new());
            assert!(queued(&state).starts_with("HTTP/1.1 103"));
        }
    }

    #[test]
    fn an_answer_waits_for_what_was_queued_before_it_and_ends_the_queue() {
        let (state, interim) = asked();
        let end = || state.interims().poll_end(noop_waker_ref());
        interim.send(HINTS, &HeaderMap::new());
        assert!(end().is_pending());
        interim.send(StatusCode::PROCESSING, &HeaderMap::new());
        assert_eq!(queued(&state), "HTTP/1.1 103 Early Hints\r\n\r\n");
        assert!(end().is_pending(), "taken is not written");
        state.interims().written();
        assert!(end().is_ready());
        interim.send(HINTS, &HeaderMap::new());
        assert!(!state.interims().is_unwritten());
    }

    #[test]
    fn what_is_queued_while_another_is_written_is_written_too() {
        let (state, interim) = asked();
        interim.send(HINTS, &HeaderMap::new());
        queued(&state);
        interim.send(StatusCode::PROCESSING, &HeaderMap::new());
        state.interims().written();
        assert!(state.interims().is_unwritten());
        assert_eq!(queued(&state), "HTTP/1.1 102 Processing\r\n\r\n");
    }

    #[test]
    fn a_handle_of_an_earlier_request_says_nothing_to_a_later_one() {
        let (state, earlier) = asked();
        assert!(state.interims().poll_end(noop_waker_ref()).is_ready());
        state.next_request();
        let later = state.interim(Version::HTTP_11).unwrap();
        earlier.send(HINTS, &HeaderMap::new());
        assert!(!state.interims().is_unwritten());
        later.send(StatusCode::PROCESSING, &HeaderMap::new());
        assert_eq!(queued(&state), "HTTP/1.1 102 Processing\r\n\r\n");
    }

    #[test]
    fn who_waits_is_woken_when_something_is_queued() {
        let (count, waker) = counting_waker();
        let (state, interim) = asked();
        state.interims().register(&waker);
        assert_eq!(count(), 0);
        interim.send(HINTS, &HeaderMap::new());
        assert_eq!(count(), 1);
    }

    /// A waker that counts.
    fn counting_waker() -> (impl Fn() -> usize, Waker) {
        #[derive(Default)]
        struct Count(std::sync::atomic::AtomicUsize);
        impl std::task::Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let count = Arc::<Count>::default();
        let waker = Waker::from(Arc::clone(&count));
        (move || count.0.load(Ordering::SeqCst), waker)
    }
}
