//! What the cache would have been worth on routes in shadow mode, as it is told.
//!
//! Invariant: the hit ratio means what it means of a cache, so that the two can be compared; what nothing is known of is `null`.

use serde::{Deserialize, Serialize};

use crate::metrics::{Compared, Shadowed, Would};
use crate::monitor::audit::wilson;

/// What the cache would have been worth, of one route or of all.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Shadow {
    /// Requests, by what the cache would have done.
    pub requests: Requests,
    /// Of what the cache would have been asked for, how much it would have answered.
    pub hit_ratio: Option<f64>,
    /// Requests that the origin would not have seen: hits, and those that would have waited for what another one fetched.
    pub origin_calls_saved: u64,
    /// Time that clients waited for the origin where the cache would have had an answer.
    pub seconds_saved: f64,
    /// Answers that it would have given, held against the origin's.
    pub checks: Checks,
    /// How many of a million of them would have been stale, of those that could be compared.
    pub stale_per_million: Option<f64>,
    /// Where that lies in truth (95 %).
    pub interval: Option<[f64; 2]>,
}

/// Requests, by what the cache would have done.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the label `would`")]
pub struct Requests {
    pub all: u64,
    pub hit: u64,
    pub stale: u64,
    pub collapsed: u64,
    pub revalidated: u64,
    pub miss: u64,
    pub bypass: u64,
}

/// Answers that the cache would have given, by what the origin answered.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the label `result`")]
pub struct Checks {
    pub same: u64,
    pub stale: u64,
    pub overtaken: u64,
    pub unchecked: u64,
}

impl Shadow {
    /// What was counted; `None`: nothing was asked in shadow mode.
    pub(crate) fn of(seen: &Shadowed) -> Option<Self> {
        const MILLION: f64 = 1e6;
        let requests = Requests {
            all: seen.all(),
            hit: seen.would(Would::Hit),
            stale: seen.would(Would::Stale),
            collapsed: seen.would(Would::Collapsed),
            revalidated: seen.would(Would::Revalidated),
            miss: seen.would(Would::Miss),
            bypass: seen.would(Would::Bypass),
        };
        let checks = Checks {
            same: seen.compared(Compared::Same),
            stale: seen.compared(Compared::Stale),
            overtaken: seen.compared(Compared::Overtaken),
            unchecked: seen.compared(Compared::Unchecked),
        };
        let hits = (requests.hit + requests.stale) as f64;
        let asked = hits + (requests.collapsed + requests.revalidated + requests.miss) as f64;
        let compared = (checks.same + checks.stale) as f64;
        let share = (compared > 0.0).then(|| checks.stale as f64 / compared);
        (requests.all > 0).then(|| Self {
            requests,
            hit_ratio: (asked > 0.0).then(|| hits / asked),
            origin_calls_saved: requests.hit + requests.collapsed,
            seconds_saved: seen.saved.as_secs_f64(),
            checks,
            stale_per_million: share.map(|share| share * MILLION),
            interval: share.map(|share| wilson(share, compared).map(|end| end * MILLION)),
        })
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};
    use std::time::Duration;

    use super::*;
    use crate::metrics::{Cache, Metrics};

    #[test]
    fn a_ratio_is_that_of_a_cache_and_its_staleness_has_an_interval() {
        let metrics = Metrics::new(&["/a"]);
        let of = |metrics: &Metrics| Shadow::of(&metrics.shadow(0));
        metrics.request(0, &Method::GET, StatusCode::OK, Cache::Bypass, Duration::ZERO);
        assert_eq!(of(&metrics), None, "nothing was asked in shadow mode");
        let would =
            [(Would::Hit, 6), (Would::Stale, 1), (Would::Collapsed, 1), (Would::Miss, 2), (Would::Bypass, 5)];
        would.iter().for_each(|(would, times)| (0..*times).for_each(|_| metrics.shadowed(0, *would)));
        assert_eq!((of(&metrics).unwrap().stale_per_million, of(&metrics).unwrap().interval), (None, None));
        (0..6).for_each(|_| metrics.shadow_compared(0, Compared::Same));
        metrics.shadow_compared(0, Compared::Stale);
        metrics.shadow_compared(0, Compared::Unchecked);
        let told = of(&metrics).unwrap();
        assert_eq!((told.hit_ratio, told.requests.all, told.origin_calls_saved), (Some(0.7), 15, 7));
        let (share, [low, high]) = (told.stale_per_million.unwrap(), told.interval.unwrap());
        assert!((share - 1e6 / 7.0).abs() < 1.0 && low < share && share < high, "{told:?}");
    }
}
