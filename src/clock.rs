//! The one reader of the clock. Everyone else is handed a [`Now`], read once per request.
//!
//! Invariant: `mono` never falls; `wall` may jump either way and is used for HTTP dates only.
//! It knows nothing of what the time is used for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// One reading of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Time since this clock began; for ages, deadlines and leases.
    pub mono: Duration,
    /// Wall time; for `Date`, `Expires` and logs.
    pub wall: SystemTime,
}

/// Where the time comes from: the machine, or a test.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clocks; `mono` counts from the given instant.
    System(Instant),
    /// A clock that stands still until a test moves it.
    Manual(Arc<Mutex<Now>>),
}

impl Clock {
    /// The machine's clock, beginning now.
    #[allow(clippy::disallowed_methods, reason = "this is the one reader")]
    pub fn system() -> Self {
        Self::System(Instant::now())
    }

    /// A clock that stands at `wall`, with `mono` at one hour (so that "earlier" exists).
    pub fn manual(wall: SystemTime) -> Self {
        Self::Manual(Arc::new(Mutex::new(Now { mono: Duration::from_secs(3600), wall })))
    }

    /// Reads both clocks.
    #[allow(clippy::disallowed_methods, reason = "this is the one reader")]
    pub fn now(&self) -> Now {
        match self {
            Self::System(began) => Now { mono: began.elapsed(), wall: SystemTime::now() },
            Self::Manual(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Reads the monotonic hand only.
    #[allow(clippy::disallowed_methods, reason = "this is the one reader")]
    pub fn mono(&self) -> Duration {
        match self {
            Self::System(began) => began.elapsed(),
            Self::Manual(_) => self.now().mono,
        }
    }

    /// Moves a manual clock on by `step`, both hands.
    ///
    /// # Panics
    /// On a system clock: nothing but a test may move time.
    pub fn advance(&self, step: Duration) {
        let Self::Manual(now) = self else { panic!("only a manual clock can be moved") };
        let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
        now.mono += step;
        now.wall += step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_both_hands_only_when_told() {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH);
        let before = clock.now();
        assert_eq!(before, clock.now());
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.now().mono - before.mono, Duration::from_secs(5));
        assert_eq!(clock.now().wall, SystemTime::UNIX_EPOCH + Duration::from_secs(5));
    }
}
