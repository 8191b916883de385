//! What the two sides of hyper's server tell each other about one client connection: [`crate::guard::ServerIo`] below it, the
//! HTTP service above it.
//!
//! Invariant: HTTP/1 requests reach the service in the order in which their heads were released, so that counting them on both
//! sides names the refused one; nothing that a client sends can forge that. It refuses to know answers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};

use futures_util::task::AtomicWaker;

use crate::guard::interim::{Interim, Queue};
use crate::guard::violation::Violation;

/// Shared state of one client connection.
#[derive(Debug, Default)]
pub struct ConnectionState {
    released: AtomicU64,
    received: AtomicU64,
    answered: AtomicU64,
    refusal: OnceLock<(u64, Violation)>,
    tunnel: AtomicBool,
    reader: AtomicWaker,
    interims: Queue,
}

/// What became of a request that asked to upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upgrade {
    Undecided,
    Declined,
    Tunnel,
}

impl ConnectionState {
    /// The service calls this exactly once for each request that it receives, HTTP/2 as well, before anything else. A violation
    /// means that the request is a stand-in for what was refused: answer it with a problem and `Connection: close`.
    pub fn next_request(&self) -> Option<Violation> {
        let number = self.received.fetch_add(1, Ordering::AcqRel) + 1;
        self.refusal.get().filter(|(refused, _)| *refused == number).map(|(_, violation)| *violation)
    }

    /// Where interim responses to the request that was just received go; `None` where none can be sent (RFC 9110 §15.2: never to
    /// HTTP/1.0; hyper has no way to send them over HTTP/2). Whoever calls this polls [`Self::poll_interim_end`] at its answer.
    pub fn interim(self: &Arc<Self>, version: http::Version) -> Option<Interim> {
        (version == http::Version::HTTP_11).then(|| Interim::new(self, self.received.load(Ordering::Acquire)))
    }

    /// The service has no answer yet, and is to be polled by `service` when an interim response is there to be written.
    pub fn await_interim(&self, service: &Waker) {
        self.interims.register(service);
    }

    /// The service has its answer, to be given to hyper once this is ready: then every interim response before it is written.
    pub fn poll_interim_end(&self, service: &Waker) -> Poll<()> {
        self.interims.poll_end(service)
    }

    pub(crate) fn interims(&self) -> &Queue {
        &self.interims
    }

    /// The service calls this exactly once for each request, HTTP/2 as well, when its response body is done or dropped (best from a
    /// `Drop`). Until then the connection is not idle.
    pub fn answered(&self) {
        self.answered.fetch_add(1, Ordering::AcqRel);
        self.reader.wake();
    }

    /// The service answers 101: what the client sends after its request is no longer HTTP/1. To be called before the answer leaves.
    pub fn open_tunnel(&self) {
        self.tunnel.store(true, Ordering::Release);
        self.reader.wake();
    }

    /// Whether a request was received and not yet answered.
    pub fn has_asked(&self) -> bool {
        self.received.load(Ordering::Acquire) > 0
    }

    /// Whether a request waits for its answer's end.
    pub fn is_busy(&self) -> bool {
        let answered = self.answered.load(Ordering::Acquire);
        self.released.load(Ordering::Acquire).max(self.received.load(Ordering::Acquire)) > answered
    }

    /// So many heads were released so far.
    pub(crate) fn released(&self, heads: u64) {
        self.released.store(heads, Ordering::Release);
    }

    /// The head after the `released` ones is refused; a stand-in for it is about to be released.
    pub(crate) fn refuse(&self, released: u64, violation: Violation) {
        self.refusal.get_or_init(|| (released + 1, violation));
        self.released(released + 1);
    }

    /// What became of the upgrade; `reader` is woken when that changes.
    pub(crate) fn upgrade(&self, reader: &Waker) -> Upgrade {
        self.reader.register(reader);
        if self.tunnel.load(Ordering::Acquire) {
            Upgrade::Tunnel
        } else if self.is_busy() {
            Upgrade::Undecided
        } else {
            Upgrade::Declined
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_refused_request_is_told_of_the_violation() {
        let state = ConnectionState::default();
        state.refuse(1, Violation::Fold);
        assert_eq!([(); 3].map(|()| state.next_request()), [None, Some(Violation::Fold), None]);
    }

    #[test]
    fn a_connection_is_busy_until_every_released_head_is_answered() {
        let state = ConnectionState::default();
        assert!(!state.is_busy());
        state.released(2);
        state.answered();
        assert!(state.is_busy());
        state.answered();
        assert!(!state.is_busy());
    }
}
