//! What is told of requests to whoever looks at traces: spans as OpenTelemetry has them, exported by OTLP over HTTP.
//!
//! ```text
//! begin ─► Trace ─ call ─► Call: the origin is told of it ─ answered ─┐
//!            └─ end: the line of the access log, as a span ───────────┴─ try_send ─► queue ─► exporter ─► POST, again, given up
//! ```
//! Without the feature `otlp` all of it is `without.rs`: the same names, of no size, that do nothing.
//! Invariant: no request waits for a span, and none fails for one; what does not fit into the queue is dropped, and counted.
//! A span says what the access log says, and no more. It refuses to know how requests are answered.

#[cfg(feature = "otlp")]
mod otlp;
#[cfg(not(feature = "otlp"))]
#[path = "without.rs"]
mod otlp;

pub use crate::traces::otlp::{Call, Exporting, Settings, Trace, Traces};

/// A variable that says what cannot be.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Its name.
    pub variable: &'static str,
    /// What is wrong with it; its value is not repeated, for it may hold a secret.
    pub why: String,
}
