//! How fast requests follow one another: no more than so many a second, evenly.
//!
//! Invariant: what is asked for is spaced by one over the rate, and nothing is saved up while nobody asks. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// Requests per second, and when the next one may go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    interval: Duration,
    next: Option<Instant>,
}

impl Pace {
    /// `rate` requests a second; `None`: as they come.
    pub(crate) fn new(rate: Option<u64>) -> Self {
        let interval = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1).div_f64(rate.max(1) as f64));
        Self { interval, next: None }
    }

    /// When a request may go that is ready at `now`; the next one goes after it.
    pub(crate) fn reserve(&mut self, now: Instant) -> Instant {
        let at = self.next.map_or(now, |next| next.max(now));
        self.next = Some(at + self.interval);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_are_spaced_and_idleness_saves_nothing_up() {
        let (mut pace, begin) = (Pace::new(Some(10)), Instant::now());
        let mut at = |now: Duration| pace.reserve(begin + now) - begin;
        let millis = Duration::from_millis;
        assert_eq!([at(millis(0)), at(millis(0)), at(millis(50))], [millis(0), millis(100), millis(200)]);
        assert_eq!([at(millis(5_000)), at(millis(5_000))], [millis(5_000), millis(5_100)]);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nothing_waits() {
        let (mut pace, now) = (Pace::new(None), Instant::now());
        assert!((0..100).all(|_| pace.reserve(now) == now));
    }
}
