//! What is counted of the monitor's alerts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::metrics::{Metrics, Outcome, declare};

/// Which there are now, how many began, and what became of telling them.
#[derive(Debug)]
pub struct Alerts {
    firing: Family<Alert, Gauge>,
    began: Family<Alert, Counter>,
    posts: Family<Outcome, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Alert {
    alert: &'static str,
}

impl Alerts {
    pub(in crate::metrics) fn declared(r: &mut Registry) -> Self {
        Self {
            firing: declare(r, "alert", "1 while there is such an alert of the monitor"),
            began: declare(r, "alerts", "Alerts of the monitor that began"),
            posts: declare(r, "alert_posts", "Alerts for monitor.webhook, by what became of them"),
        }
    }

    /// There is no such alert, or no more.
    pub fn quiet(&self, alert: &'static str) {
        self.firing.get_or_create(&Alert { alert }).set(0);
    }

    /// One begins.
    pub fn began(&self, alert: &'static str) {
        self.firing.get_or_create(&Alert { alert }).set(1);
        self.began.get_or_create(&Alert { alert }).inc();
    }

    /// The webhook was told, or was to be (`delivered`, `failed`, `dropped`).
    pub fn posted(&self, result: &'static str) {
        self.posts.get_or_create(&Outcome { result }).inc();
    }
}

impl Metrics {
    /// What is counted of alerts.
    pub fn alerts(&self) -> &Alerts {
        &self.alerts
    }
}
