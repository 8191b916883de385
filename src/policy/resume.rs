//! The life of a response, told to another machine and resumed there.
//!
//! Invariant: what is told is an age, so no two clocks ever meet. It refuses to know how it travels.

use std::time::Duration;

use crate::clock::Now;
use crate::policy::freshness::{Life, Source, Standing};

/// A life as it is told to whoever has another clock: how old the response is by now instead of when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifeSoFar {
    /// Current age (RFC 9111 §4.2.3), to the microsecond, as all of these.
    pub age: Duration,
    /// Freshness lifetime, counted from age zero.
    pub fresh_for: Duration,
    /// RFC 5861 §3; zero where stale use is forbidden.
    pub stale_while_revalidate: Duration,
    /// RFC 5861 §4; zero where stale use is forbidden.
    pub stale_if_error: Duration,
    /// `must-revalidate` was said.
    pub must_revalidate: bool,
    /// `proxy-revalidate` was said, or an `s-maxage` that applies.
    pub proxy_revalidate: bool,
    /// `no-cache` was said.
    pub always_validate: bool,
    /// `immutable` was said.
    pub immutable: bool,
    /// Whose word it is.
    pub source: Source,
}

impl Life {
    /// What it has come to at `now`. That an invalidation has softened it is not told: then it is of no use to others.
    pub fn so_far(&self, now: Now) -> LifeSoFar {
        LifeSoFar {
            age: self.age(now),
            fresh_for: self.fresh_for(),
            stale_while_revalidate: self.stale_while_revalidate(),
            stale_if_error: self.stale_if_error(),
            must_revalidate: self.must_revalidate,
            proxy_revalidate: self.proxy_revalidate,
            always_validate: self.always_validate,
            immutable: self.immutable,
            source: self.source,
        }
    }

    /// The rest of a life that had come so far at `at` (monotonic, on this clock).
    pub fn resumed(told: LifeSoFar, at: Duration) -> Self {
        Self {
            initial_age: told.age.into(),
            received: at.into(),
            fresh_for: told.fresh_for.into(),
            stale_while_revalidate: told.stale_while_revalidate.into(),
            stale_if_error: told.stale_if_error.into(),
            must_revalidate: told.must_revalidate,
            proxy_revalidate: told.proxy_revalidate,
            always_validate: told.always_validate,
            immutable: told.immutable,
            standing: Standing::Sound,
            source: told.source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::head;
    use crate::policy::{RequestHead, ResponseTimes, Rule, Sharing, may_store};
    use http::{HeaderMap, Method, StatusCode};
    use std::time::SystemTime;

    fn at(seconds: u64) -> Now {
        let mono = Duration::from_secs(seconds);
        Now { mono, wall: SystemTime::UNIX_EPOCH + mono }
    }

    #[test]
    fn a_life_goes_on_under_another_clock_as_under_its_own() {
        let answer = head(&[("cache-control", "max-age=60, stale-if-error=9, immutable"), ("age", "7")]);
        let request = RequestHead { method: &Method::GET, headers: &HeaderMap::new(), body_keyed: false };
        let times = ResponseTimes { requested: at(100), received: at(100) };
        let stored = may_store(&request, Sharing::Shared, StatusCode::OK, &answer, &Rule::default(), times);
        let life = *stored.unwrap().life();
        let resumed = Life::resumed(life.so_far(at(110)), Duration::from_secs(5_000));
        for later in [0, 42, 43, 60] {
            let (own, others) = (at(110 + later), at(5_000 + later));
            assert_eq!(resumed.age(others), life.age(own));
            assert_eq!(resumed.is_fresh(others), life.is_fresh(own), "{later}");
        }
        assert_eq!(Life { received: life.received, initial_age: life.initial_age, ..resumed }, life);
    }
}
