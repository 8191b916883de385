//! What Larder asks of the origin on its own account, counted.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;

use crate::metrics::Metrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(in crate::metrics) struct RouteResult {
    route: Arc<str>,
    result: &'static str,
}

impl Metrics {
    /// Counts hits on `route` (as in [`Self::request`]) that were held against the origin, with the result (`same`, `stale`, …).
    pub fn audited(&self, route: usize, result: &'static str, hits: u64) {
        let route = Arc::clone(&self.route(route).name);
        self.audit_checks.get_or_create(&RouteResult { route, result }).inc_by(hits);
    }
}
