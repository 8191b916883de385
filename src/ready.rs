//! Whether this process wants traffic: one value that warming and shutdown set and `/readyz` shows.
//!
//! Invariant: warming → ready → draining, never back. It refuses to know who asks, and why.

use std::sync::Arc;

use tokio::sync::watch;

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Answers requests, and asks for none until the cache is warm.
    Warming,
    /// Wants traffic.
    Ready,
    /// Finishes what it has, and asks for no more.
    Draining,
}

impl State {
    /// In lower case, as `/readyz` shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warming => "warming",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}

/// The shared state of readiness. Clones see the same one.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<watch::Sender<State>>);

impl Readiness {
    /// Begins as [`State::Warming`].
    pub fn warming() -> Self {
        Self(Arc::new(watch::Sender::new(State::Warming)))
    }

    /// Moves on to `state`; a state that has been left is not entered again.
    pub fn reach(&self, state: State) {
        self.0.send_if_modified(|current| {
            let moves = state > *current;
            if moves {
                *current = state;
            }
            moves
        });
    }

    /// The state now.
    pub fn state(&self) -> State {
        *self.0.borrow()
    }

    /// Waits until `state`, or a later one, is reached.
    pub async fn reached(&self, state: State) {
        // It fails only when every sender is gone, and `self` is one.
        let mut states = self.0.subscribe();
        let _closed = states.wait_for(|current| *current >= state).await.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_draining_process_never_becomes_ready_again() {
        let readiness = Readiness::warming();
        assert_eq!(readiness.state(), State::Warming);
        readiness.reach(State::Draining);
        readiness.reach(State::Ready);
        assert_eq!(readiness.state(), State::Draining);
        readiness.reached(State::Ready).await;
    }
}
