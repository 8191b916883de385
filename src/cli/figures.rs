//! The figures of a running Larder (`GET /v1/figures`), and what happened between two of them.
//!
//! Pure. Invariant: of figures that a newer Larder tells more of, what is known is read; what it leaves out is not known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What it is at one moment; counts since the process began.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Figures {
    pub(crate) at: String,
    pub(crate) uptime_seconds: f64,
    pub(crate) node: String,
    pub(crate) version: String,
    pub(crate) state: State,
    /// Upper ends of the buckets of histograms, in seconds.
    pub(crate) bounds: Vec<f64>,
    pub(crate) totals: Answered,
    pub(crate) routes: Vec<Answered>,
    pub(crate) routes_left_out: usize,
    pub(crate) memory: Memory,
    pub(crate) invalidations: Invalidations,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    pub(crate) ready: String,
    pub(crate) enabled: bool,
    pub(crate) upstream: Upstream,
    pub(crate) alerts: Vec<Alert>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Upstream {
    pub(crate) reachable: Option<bool>,
    pub(crate) error: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Alert {
    pub(crate) alert: String,
    pub(crate) value: Option<f64>,
    pub(crate) target: Option<f64>,
    pub(crate) route: Option<String>,
}

/// What clients were answered, of one route or of all.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Answered {
    pub(crate) route: String,
    pub(crate) requests: Requests,
    pub(crate) hit_ratio: Option<f64>,
    pub(crate) seconds_saved: Option<f64>,
    pub(crate) hits: Histogram,
    pub(crate) misses: Histogram,
    /// Requests at the origin; of all routes together only.
    pub(crate) origin: Histogram,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Requests {
    pub(crate) all: u64,
    pub(crate) hit: u64,
    pub(crate) miss: u64,
    pub(crate) stale: u64,
    pub(crate) revalidated: u64,
    pub(crate) bypass: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Histogram {
    pub(crate) count: u64,
    pub(crate) buckets: Vec<(usize, u64)>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Memory {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) most_bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Invalidations {
    pub(crate) total: u64,
}

/// What happened between two looks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    /// When the later look was.
    pub(crate) at: String,
    pub(crate) seconds: f64,
    pub(crate) requests: u64,
    pub(crate) requests_per_second: f64,
    /// Of what the cache was asked for, how much it answered; `None`: nothing was asked.
    pub(crate) hit_ratio: Option<f64>,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) stale: u64,
    pub(crate) revalidated: u64,
    pub(crate) bypass: u64,
    pub(crate) origin_per_second: f64,
    /// Of reads, in seconds: the upper end of the bucket.
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) invalidations: u64,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

impl Row {
    /// From `old` to `new`; `None`: they are of two processes, or of the same moment.
    pub(crate) fn between(old: &Figures, new: &Figures) -> Option<Self> {
        let seconds = new.uptime_seconds - old.uptime_seconds;
        if seconds <= 0.0 || new.totals.requests.all < old.totals.requests.all {
            return None;
        }
        let (was, is) = (&old.totals, &new.totals);
        let grown = |of: fn(&Requests) -> u64| of(&is.requests).saturating_sub(of(&was.requests));
        let requests = grown(|of| of.all);
        let (hits, stale) = (grown(|of| of.hit), grown(|of| of.stale));
        let (misses, revalidated) = (grown(|of| of.miss), grown(|of| of.revalidated));
        let asked = hits + stale + misses + revalidated;
        let reads = Slots::of(&[&is.hits, &is.misses]).less(&Slots::of(&[&was.hits, &was.misses]));
        Some(Self {
            at: new.at.clone(),
            seconds,
            requests,
            requests_per_second: requests as f64 / seconds,
            hit_ratio: (asked > 0).then(|| (hits + stale) as f64 / asked as f64),
            hits,
            misses,
            stale,
            revalidated,
            bypass: grown(|of| of.bypass),
            origin_per_second: is.origin.count.saturating_sub(was.origin.count) as f64 / seconds,
            p50: reads.quantile(0.5, &new.bounds),
            p99: reads.quantile(0.99, &new.bounds),
            invalidations: new.invalidations.total.saturating_sub(old.invalidations.total),
            entries: new.memory.entries,
            bytes: new.memory.bytes,
        })
    }
}

/// Counts by bucket.
struct Slots(BTreeMap<usize, u64>);

impl Slots {
    fn of(histograms: &[&Histogram]) -> Self {
        let mut slots = BTreeMap::new();
        for (slot, count) in histograms.iter().flat_map(|histogram| &histogram.buckets) {
            *slots.entry(*slot).or_default() += count;
        }
        Self(slots)
    }

    fn less(mut self, old: &Self) -> Self {
        for (slot, count) in &mut self.0 {
            *count = count.saturating_sub(old.0.get(slot).copied().unwrap_or_default());
        }
        self
    }

    /// The upper end of the bucket in which this share of all has come; the last bucket has none but the one before.
    fn quantile(&self, share: f64, bounds: &[f64]) -> Option<f64> {
        let all: u64 = self.0.values().sum();
        let rank = (share * all as f64).ceil() as u64;
        let mut seen = 0;
        let slot = self.0.iter().find_map(|(slot, count)| {
            seen += count;
            (all > 0 && seen >= rank).then_some(*slot)
        })?;
        bounds.get(slot).or(bounds.last()).copied()
    }
}

/// A time for people: `52 µs`, `1.2 ms`, `3 s`.
pub(crate) fn time(seconds: f64) -> String {
    let plain = |value: f64, unit: &str| {
        if value < 9.95 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
    };
    match seconds {
        s if s < 1e-3 => format!("{:.0}us", s * 1e6),
        s if s < 1.0 => plain(s * 1e3, "ms"),
        s if s < 60.0 => plain(s, "s"),
        s if s < 3600.0 => format!("{:.0}m", s / 60.0),
        s if s < 48.0 * 3600.0 => format!("{:.1}h", s / 3600.0),
        s => format!("{:.1}d", s / 86400.0),
    }
}

/// A share in percent; `-`: there is none.
pub(crate) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1}", 100.0 * share))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn figures(uptime: f64, hit: u64, miss: u64, buckets: serde_json::Value) -> Figures {
        let all = hit + miss;
        serde_json::from_value(json!({
            "at": "t", "uptime_seconds": uptime, "bounds": [0.001, 0.01, 0.1], "new_key": {},
            "totals": {
                "requests": { "all": all, "hit": hit, "miss": miss, "stale": 0, "revalidated": 0, "bypass": 0 },
                "hits": { "count": hit, "buckets": buckets }, "misses": { "count": 0, "buckets": [] },
                "origin": { "count": miss },
            },
            "memory": { "entries": 3, "bytes": 1024 }, "invalidations": { "total": 5 },
        }))
        .unwrap()
    }

    #[test]
    fn a_row_is_what_happened_in_between() {
        let old = figures(10.0, 100, 10, json!([[0, 100]]));
        let new = figures(12.0, 190, 20, json!([[0, 189], [2, 1]]));
        let row = Row::between(&old, &new).unwrap();
        assert_eq!((row.requests, row.hits, row.misses), (100, 90, 10));
        assert_eq!((row.requests_per_second, row.hit_ratio, row.origin_per_second), (50.0, Some(0.9), 5.0));
        assert_eq!((row.p50, row.p99), (Some(0.001), Some(0.1)));
        assert_eq!((row.invalidations, row.entries), (0, 3));
    }

    #[test]
    fn two_processes_have_nothing_in_between() {
        let (old, new) = (figures(10.0, 100, 10, json!([])), figures(1.0, 5, 0, json!([])));
        assert_eq!(Row::between(&old, &new), None);
        assert_eq!(Row::between(&old, &old), None);
    }

    #[test]
    fn where_nothing_was_asked_there_is_no_ratio_and_no_time() {
        let (old, new) = (figures(1.0, 5, 0, json!([[0, 5]])), figures(2.0, 5, 0, json!([[0, 5]])));
        let row = Row::between(&old, &new).unwrap();
        assert_eq!((row.hit_ratio, row.p50, row.p99), (None, None, None));
    }

    #[test]
    fn times_are_short() {
        for (seconds, text) in [
            (0.000_052, "52us"),
            (0.0012, "1.2ms"),
            (0.25, "250ms"),
            (3.0, "3.0s"),
            (600.0, "10m"),
            (1e6, "11.6d"),
        ] {
            assert_eq!(time(seconds), text);
        }
    }
}
