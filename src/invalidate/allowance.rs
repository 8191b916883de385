//! How often everything may be thrown out: a bucket of tokens. Pure but for what was spent.
//!
//! Whoever may purge may empty the cache, and an empty cache is a herd at the origin. A gap in a subscription is no
//! wish, so it is not asked.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;

/// Purges of everything that may come at once.
pub const BURST: u32 = 10;

/// One more is allowed after so long.
pub const EVERY: Duration = Duration::from_secs(1);

/// Everything was invalidated too often lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("everything was invalidated {BURST} times in a row: once a second is enough")]
pub struct TooOften {
    /// When it is worth trying again.
    pub retry_after: Duration,
}

/// What is left to spend.
#[derive(Debug, Default)]
pub(in crate::invalidate) struct Allowance(Mutex<Duration>);

impl Allowance {
    /// Spends one at `now` (monotonic).
    pub(in crate::invalidate) fn spend(&self, now: Duration) -> Result<(), TooOften> {
        // When the bucket is full again; each purge puts that off.
        let mut full = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (*full).max(now) + EVERY;
        let latest = now + EVERY * BURST;
        if next > latest {
            return Err(TooOften { retry_after: next - latest });
        }
        *full = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_one_a_second() {
        let (allowance, start) = (Allowance::default(), Duration::from_secs(3600));
        for _ in 0..BURST {
            allowance.spend(start).unwrap();
        }
        assert_eq!(allowance.spend(start), Err(TooOften { retry_after: EVERY }));
        let half = start + EVERY / 2;
        assert_eq!(allowance.spend(half), Err(TooOften { retry_after: EVERY / 2 }));
        allowance.spend(start + EVERY).unwrap();
        assert!(allowance.spend(start + EVERY).is_err());
        let later = start + EVERY * 100;
        assert_eq!((0..20).filter(|_| allowance.spend(later).is_ok()).count(), 10);
    }
}
