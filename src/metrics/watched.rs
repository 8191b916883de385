//! What is not counted but asked for at the scrape: entries, bytes, memory of the process, and whether caching is on.

use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// What the cache is like now.
#[derive(Clone, Copy, Debug, Default)]
pub struct CacheState {
    /// Entries in memory.
    pub entries: u64,
    /// What they weigh.
    pub bytes: u64,
    /// Whether caching is switched off, for everything or for a route.
    pub is_disabled: bool,
    /// Bytes that the process holds; `None`: nobody knows.
    pub resident: Option<u64>,
}

/// Asked for at the scrape: the cache is the only one who knows.
#[derive(Clone, Default)]
pub(crate) struct Watched(Arc<OnceLock<StateFn>>);

type StateFn = Box<dyn Fn() -> CacheState + Send + Sync>;

impl Watched {
    /// Says whom to ask; only the first call counts.
    pub(crate) fn ask(&self, state: impl Fn() -> CacheState + Send + Sync + 'static) {
        let _already_watched = self.0.set(Box::new(state));
    }
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watched")
    }
}

impl Collector for Watched {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let state = self.0.get().map_or(CacheState::default(), |state| state());
        let resident = "What the whole process holds in memory.";
        let each = [
            ("cache_entries", "Entries in memory.", None, Some(state.entries)),
            (
                "cache",
                "What the entries weigh, with their keys and index.",
                Some(Unit::Bytes),
                Some(state.bytes),
            ),
            (
                "disabled",
                "1 while caching is switched off, for everything or for a route.",
                None,
                Some(state.is_disabled.into()),
            ),
            ("process_resident", resident, Some(Unit::Bytes), state.resident),
        ];
        for (name, help, unit, value) in each {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, unit.as_ref(), gauge.metric_type())?)?;
        }
        Ok(())
    }
}
