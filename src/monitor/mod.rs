//! Whether the cache does what it is there for, and what would make it better.
//!
//! `usage` counts what entries were worth, `audit` holds hits against the origin, `advice` says which ttl a route could have:
//! all pure. `harvest` and `auditor` look, ask and count.

pub mod advice;
pub mod audit;
pub mod auditor;
pub mod harvest;
pub mod usage;

/// `monitor:` of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Which hits are compared with the origin.
    pub audit: audit::Settings,
    /// The stale share of hits that ttls are recommended for (`monitor.stale_share`).
    pub stale_share: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { audit: audit::Settings::default(), stale_share: 0.01 }
    }
}
