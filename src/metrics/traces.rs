//! What is counted of traces.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::metrics::{Metrics, Outcome, declare};

/// What became of spans.
#[derive(Debug)]
pub(in crate::metrics) struct Traces(Family<Outcome, Counter>);

impl Traces {
    pub(in crate::metrics) fn declare(r: &mut Registry) -> Self {
        Self(declare(r, "trace_spans", "Spans of requests, by what became of them"))
    }
}

impl Metrics {
    /// Counts spans that met this end (`exported`, `dropped`, `failed`, `rejected`).
    pub fn spans(&self, result: &'static str, count: u64) {
        if count > 0 {
            self.traces.0.get_or_create(&Outcome { result }).inc_by(count);
        }
    }
}
