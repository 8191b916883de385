//! A duration in half the room that a [`Duration`] takes: there are several in the life of every entry.

use std::time::Duration;

/// A duration in microseconds; 584,000 years are for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) struct Span(u64);

impl Span {
    /// Whole milliseconds, rounded down.
    pub(in crate::policy) fn millis(self) -> i64 {
        (self.0 / 1_000).cast_signed()
    }

    pub(in crate::policy) fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    pub(in crate::policy) fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl From<Duration> for Span {
    fn from(time: Duration) -> Self {
        let seconds = time.as_secs().saturating_mul(1_000_000);
        Self(seconds.saturating_add(u64::from(time.subsec_micros())))
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        Self::from_micros(span.0)
    }
}
