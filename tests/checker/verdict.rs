//! What came of a run.

use std::collections::HashMap;
use std::fmt;

use crate::view::View;

#[derive(Debug)]
pub(crate) struct Verdict {
    /// The first read that got a body older than what was acknowledged before it.
    pub(crate) violation: Option<String>,
    /// Reads that were judged.
    pub(crate) reads: u64,
    pub(crate) seen: HashMap<String, u64>,
    pub(crate) acknowledged: u64,
    /// As they stood at the end.
    pub(crate) metrics: String,
}

impl Verdict {
    /// A run in which nothing was coalesced or refused has shown nothing.
    pub(crate) fn assert_that_all_was_in_play(&self) {
        for view in View::ALL {
            let judged = self.seen.get(&format!("{view:?}"));
            assert!(judged.is_some_and(|count| *count > 50), "too little of {view:?}: {self}");
        }
        for how in ["HIT", "MISS", "STALE", "REVALIDATED", "collapsed", "304", "fetched again"] {
            assert!(self.seen.get(how).is_some_and(|count| *count > 50), "too little of {how}: {self}");
        }
        for source in ["write", "webhook", "redis", "admin"] {
            let applied = self.sum(&format!("larder_invalidations_total{{source=\"{source}\""));
            assert!(applied > 50, "too few invalidations by {source}: {self}");
        }
        let (gaps, warmed) = (self.sum("larder_redis_gaps_total"), self.sum("larder_warm_requests_total"));
        assert!(gaps > 0 && warmed > 0, "{gaps} gaps, {warmed} requests of the warmer");
        assert!(self.acknowledged > 500 && self.discarded() > 50, "{self}");
    }

    fn discarded(&self) -> u64 {
        self.sum("larder_fills_discarded_total")
    }

    /// Of all metrics whose lines begin so.
    fn sum(&self, line: &str) -> u64 {
        let named = self.metrics.lines().filter(|known| known.starts_with(line));
        named.filter_map(|known| known.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut seen: Vec<_> = self.seen.iter().collect();
        seen.sort();
        let Self { reads, acknowledged, .. } = self;
        write!(f, "{reads} reads: {seen:?}; {acknowledged} acknowledged versions, ")?;
        write!(f, "{} fills discarded", self.discarded())
    }
}
