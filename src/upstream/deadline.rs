//! One timer for all the deadlines of a connection, one after the other.
//!
//! It lives as long as the connection and moves lazily: an earlier alarm than needed is left in place and looked
//! at again when it rings, so that a busy connection registers a timer once per timeout, not per request.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep};

/// An alarm that can be asked about any point in time.
pub(crate) struct Timer(Pin<Box<Sleep>>);

impl Timer {
    /// An alarm set to `at`.
    pub(crate) fn new(at: Instant) -> Self {
        Self(Box::pin(tokio::time::sleep_until(at)))
    }

    /// Ready once `at` has passed; wakes the task then (or earlier, for nothing).
    pub(crate) fn poll_at(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        if self.0.deadline() > at {
            self.0.as_mut().reset(at);
        }
        loop {
            ready!(self.0.as_mut().poll(cx));
            if self.0.deadline() >= at {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn an_early_alarm_never_ends_a_later_deadline() {
        let start = Instant::now();
        let mut timer = Timer::new(start + Duration::from_secs(1));
        poll_fn(|cx| timer.poll_at(cx, start + Duration::from_secs(5))).await;
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_alarm_is_moved_forward() {
        let start = Instant::now();
        let mut timer = Timer::new(start + Duration::from_secs(600));
        poll_fn(|cx| timer.poll_at(cx, start + Duration::from_secs(30))).await;
        assert_eq!(start.elapsed(), Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rung_alarm_can_be_set_again() {
        let start = Instant::now();
        let mut timer = Timer::new(start);
        poll_fn(|cx| timer.poll_at(cx, start)).await;
        poll_fn(|cx| timer.poll_at(cx, start + Duration::from_secs(2))).await;
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }
}
