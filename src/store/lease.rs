//! Until when what is kept here may be served: a node of a fleet that cannot renew its lease serves nothing of it.
//!
//! Invariant: whoever asks at a time before the end came before any acknowledgement that did without this node. It is looked at
//! before anything is looked up, by the time at which the request came: the lookup then sees all that was applied for it.
//! It refuses to know who gives it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::fault::{self, Mistake};

/// A node that is alone.
const EVER: u64 = u64::MAX;

/// The end of the lease.
#[derive(Debug)]
pub struct Lease {
    /// On the monotonic clock, in ns; [`EVER`]: there is no end.
    until: AtomicU64,
}

impl Default for Lease {
    /// For ever: nobody acknowledges anything without this node.
    fn default() -> Self {
        Self { until: AtomicU64::new(EVER) }
    }
}

impl Lease {
    /// Whether who comes at `now` (monotonic) may be served what is kept.
    #[inline]
    pub fn holds(&self, now: Duration) -> bool {
        let until = self.until.load(Ordering::Acquire);
        let is_cached = fault::made(Mistake::LeaseHeldAgainstACachedClock);
        let now = if is_cached { Duration::from_secs(now.as_secs()) } else { now };
        until == EVER || nanos(now) < until
    }

    /// It ends at `until` (monotonic), and not before that.
    pub fn extend(&self, until: Duration) {
        let until = nanos(until);
        let later = |known: u64| (known == EVER || known < until).then_some(until);
        let _is_later = self.until.fetch_update(Ordering::AcqRel, Ordering::Acquire, later);
    }

    /// It is over.
    pub fn end(&self) {
        self.until.store(0, Ordering::Release);
    }

    /// Nobody gives a lease any more, and what is kept is served all the same: the promise is suspended.
    pub fn suspend(&self) {
        self.until.store(EVER, Ordering::Release);
    }

    /// What is left at `now` (monotonic); zero: it is over; `None`: it has no end.
    pub fn left(&self, now: Duration) -> Option<Duration> {
        let until = self.until.load(Ordering::Acquire);
        (until != EVER).then(|| Duration::from_nanos(until.saturating_sub(nanos(now))))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(EVER - 1).min(EVER - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_node_that_is_alone_needs_none() {
        let lease = Lease::default();
        assert!(lease.holds(Duration::MAX));
        assert_eq!(lease.left(SECOND), None);
    }

    #[test]
    fn a_lease_ends_and_a_late_answer_does_not_shorten_it() {
        let lease = Lease::default();
        lease.end();
        assert!(!lease.holds(Duration::ZERO));
        lease.extend(3 * SECOND);
        lease.extend(2 * SECOND);
        assert!(lease.holds(3 * SECOND - Duration::from_nanos(1)));
        assert!(!lease.holds(3 * SECOND), "not at its end");
        assert_eq!(lease.left(SECOND), Some(2 * SECOND));
        assert_eq!(lease.left(4 * SECOND), Some(Duration::ZERO));
    }

    #[test]
    fn what_is_suspended_ends_with_the_next_lease() {
        let lease = Lease::default();
        lease.suspend();
        assert!(lease.holds(9 * SECOND));
        lease.extend(SECOND);
        assert!(!lease.holds(SECOND));
    }
}
