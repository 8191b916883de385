//! What is counted of the configuration.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::metrics::{Metrics, Outcome, declare};

/// Which is in force, since when, and what became of attempts to bring another one into force.
#[derive(Debug)]
pub struct Config {
    info: Family<Digest, Gauge>,
    loaded: Gauge,
    reloads: Family<Outcome, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Digest {
    digest: String,
}

impl Config {
    pub(in crate::metrics) fn declare(r: &mut Registry) -> Self {
        let loaded = Gauge::default();
        let help = "When the configuration in force was loaded, since 1970";
        r.register_with_unit("config_loaded_timestamp", help, Unit::Seconds, loaded.clone());
        let reloads: Family<Outcome, Counter> =
            declare(r, "config_reloads", "Attempts to bring another configuration into force");
        // Both are there from the start: of a series that begins with 1, `increase` does not see the first.
        for result in ["ok", "failed"] {
            drop(reloads.get_or_create(&Outcome { result }));
        }
        Self { info: declare(r, "config_info", "Digest of the configuration in force"), loaded, reloads }
    }

    /// One is in force, in the place of the one before.
    pub fn in_force(&self, digest: &str, since: SystemTime) {
        self.info.clear();
        self.info.get_or_create(&Digest { digest: digest.into() }).set(1);
        let since = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.loaded.set(i64::try_from(since).unwrap_or(i64::MAX));
    }

    /// Another one was to come into force.
    pub fn reloaded(&self, is_in_force: bool) {
        let result = if is_in_force { "ok" } else { "failed" };
        self.reloads.get_or_create(&Outcome { result }).inc();
    }
}

impl Metrics {
    /// Of the configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }
}
