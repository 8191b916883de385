//! What the cache would have done on routes that it only watches (`mode: shadow`), counted.
//!
//! Invariant: the words are of a fixed list. It refuses to know how it is found out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use crate::metrics::{Metrics, declare};

/// What the cache would have done for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Would {
    /// Answered from a fresh entry.
    Hit,
    /// Answered from an entry past its life.
    Stale,
    /// Waited for what another request was fetching; a miss, as requests are counted, that asks nothing of the origin.
    Collapsed,
    /// Asked the origin, which would have confirmed what is kept.
    Revalidated,
    /// Asked the origin.
    Miss,
    /// Not have been asked, or refused the answer.
    Bypass,
}

/// What an answer that would have come out of the cache was like, beside the origin's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The same.
    Same,
    /// Another.
    Stale,
    /// Another, and what is kept was outdated while the origin answered.
    Overtaken,
    /// The origin's tells nothing of what is kept: it failed, or spoke of a part.
    Unchecked,
}

/// What has been counted of one route.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shadowed {
    would: [u64; Would::ALL.len()],
    compared: [u64; Compared::ALL.len()],
    /// Time for which those clients waited for the origin who would have had an answer of the cache's.
    pub saved: Duration,
}

#[derive(Debug)]
pub(in crate::metrics) struct Shadow {
    requests: Family<RouteWould, Counter>,
    checks: Family<RouteChecked, Counter>,
    saved: Family<OfRoute, Counter<f64, std::sync::atomic::AtomicU64>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteWould {
    route: Arc<str>,
    would: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteChecked {
    route: Arc<str>,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRoute {
    route: Arc<str>,
}

impl Would {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Hit, Self::Stale, Self::Collapsed, Self::Revalidated, Self::Miss, Self::Bypass];

    /// The value of the label `would`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Collapsed => "collapsed",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}

impl Compared {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Same, Self::Stale, Self::Overtaken, Self::Unchecked];

    /// The value of the label `result`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Stale => "stale",
            Self::Overtaken => "overtaken",
            Self::Unchecked => "unchecked",
        }
    }
}

impl Shadowed {
    /// Requests that the cache would have treated so.
    pub fn would(&self, would: Would) -> u64 {
        self.would[would as usize]
    }

    /// Answers out of the cache that were found so.
    pub fn compared(&self, compared: Compared) -> u64 {
        self.compared[compared as usize]
    }

    /// Requests of which anything was noted.
    pub fn all(&self) -> u64 {
        self.would.iter().sum()
    }

    /// What has come since `before`.
    pub fn since(mut self, before: &Self) -> Self {
        let take = |now: &mut u64, then: u64| *now = now.saturating_sub(then);
        self.would.iter_mut().zip(before.would).for_each(|(now, then)| take(now, then));
        self.compared.iter_mut().zip(before.compared).for_each(|(now, then)| take(now, then));
        self.saved = self.saved.saturating_sub(before.saved);
        self
    }

    /// Both together.
    pub fn and(mut self, other: &Self) -> Self {
        self.would.iter_mut().zip(other.would).for_each(|(sum, count)| *sum += count);
        self.compared.iter_mut().zip(other.compared).for_each(|(sum, count)| *sum += count);
        self.saved += other.saved;
        self
    }
}

impl Shadow {
    pub(in crate::metrics) fn declared(r: &mut Registry) -> Self {
        let saved = Family::default();
        let help = "Time that clients waited for the origin where the cache would have had an answer";
        r.register_with_unit("shadow_saved", help, Unit::Seconds, Clone::clone(&saved));
        Self {
            requests: declare(
                r,
                "shadow_requests",
                "Requests on routes in shadow mode, by what the cache would have done",
            ),
            checks: declare(
                r,
                "shadow_checks",
                "Answers that the cache would have given, held against the origin's",
            ),
            saved,
        }
    }
}

impl Metrics {
    /// Counts a request on `route` (as in [`Self::request`]) by what the cache would have done.
    pub fn shadowed(&self, route: usize, would: Would) {
        let (route, would) = (Arc::clone(&self.route(route).name), would.label());
        self.shadow.requests.get_or_create(&RouteWould { route, would }).inc();
    }

    /// Counts an answer on `route` (as in [`Self::request`]) that the cache would have given.
    pub fn shadow_compared(&self, route: usize, compared: Compared) {
        let (route, result) = (Arc::clone(&self.route(route).name), compared.label());
        self.shadow.checks.get_or_create(&RouteChecked { route, result }).inc();
    }

    /// Adds the time that a client on `route` (as in [`Self::request`]) waited for the origin's answer and need not have.
    pub fn shadow_saved(&self, route: usize, waited: Duration) {
        let route = Arc::clone(&self.route(route).name);
        self.shadow.saved.get_or_create(&OfRoute { route }).inc_by(waited.as_secs_f64());
    }

    /// What has been counted so far of `route` (as in [`Self::request`]) in shadow mode.
    pub fn shadow(&self, route: usize) -> Shadowed {
        let name = &self.route(route).name;
        let would = Would::ALL.map(|would| {
            let labels = RouteWould { route: Arc::clone(name), would: would.label() };
            self.shadow.requests.get(&labels).map_or(0, |count| count.get())
        });
        let compared = Compared::ALL.map(|compared| {
            let labels = RouteChecked { route: Arc::clone(name), result: compared.label() };
            self.shadow.checks.get(&labels).map_or(0, |count| count.get())
        });
        let saved = self.shadow.saved.get(&OfRoute { route: Arc::clone(name) });
        let saved = saved.map_or(0, |seconds| seconds.inner().load(Ordering::Relaxed));
        Shadowed { would, compared, saved: Duration::from_secs_f64(f64::from_bits(saved)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_of_a_route_is_read_and_told() {
        let metrics = Metrics::new(&["/a"]);
        assert_eq!(metrics.shadow(0), Shadowed::default());
        metrics.shadowed(0, Would::Hit);
        metrics.shadowed(0, Would::Hit);
        metrics.shadowed(0, Would::Miss);
        metrics.shadow_compared(0, Compared::Stale);
        metrics.shadow_saved(0, Duration::from_millis(250));
        metrics.shadowed(9, Would::Bypass);
        let seen = metrics.shadow(0);
        assert_eq!((seen.would(Would::Hit), seen.would(Would::Miss), seen.all()), (2, 1, 3));
        assert_eq!((seen.compared(Compared::Stale), seen.compared(Compared::Same)), (1, 0));
        assert_eq!(seen.saved, Duration::from_millis(250));
        assert_eq!(metrics.shadow(1).would(Would::Bypass), 1, "what has no number is unmatched");
        let both = seen.and(&metrics.shadow(1));
        assert_eq!((both.all(), both.saved), (4, seen.saved));
        assert_eq!(both.since(&seen), metrics.shadow(1));
        let text = metrics.encode();
        for line in [
            r#"larder_shadow_requests_total{route="/a",would="hit"} 2"#,
            r#"larder_shadow_checks_total{route="/a",result="stale"} 1"#,
            r#"larder_shadow_saved_seconds_total{route="/a"} 0.25"#,
        ] {
            assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
        }
    }
}
