//! Traces of a binary that is built without them: nothing is told of anything, at no cost.
//!
//! Invariant: the same names as with them, and nothing in them.

use std::sync::Arc;

use http::{HeaderMap, Request, Response};

use crate::access_log::Line;
use crate::body::Body;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::traces::Wrong;
use crate::upstream::{self, Origin, Priority};

/// Whether somebody asks for traces all the same.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    asked_by: Option<&'static str>,
}

impl Settings {
    /// Reads the standard variables, as far as they ask for traces.
    ///
    /// # Errors
    /// None.
    pub fn by<'a>(var: impl Fn(&'static str) -> Option<&'a str>) -> Result<Self, Vec<Wrong>> {
        let is_off = var("OTEL_SDK_DISABLED").is_some_and(|text| text.trim().eq_ignore_ascii_case("true"))
            || var("OTEL_TRACES_EXPORTER").is_some_and(|text| text.trim() == "none");
        let asking = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
        let asked_by = asking.into_iter().find(|name| !is_off && var(name).is_some());
        Ok(Self { asked_by })
    }
}

/// Where the traces of requests would begin.
#[derive(Clone, Debug)]
pub struct Traces;

impl Traces {
    /// Says so if traces are asked for.
    ///
    /// # Errors
    /// None.
    pub fn start(
        settings: Settings,
        _: &Clock,
        _: &Arc<Metrics>,
    ) -> Result<(Self, Exporting), upstream::Error> {
        if let Some(variable) = settings.asked_by {
            tracing::warn!(
                "{variable} is set, and this binary is built without traces; `cargo build --release --features otlp` builds it with them"
            );
        }
        Ok((Self, Exporting))
    }

    /// None that are told to anybody.
    pub fn off() -> Self {
        Self
    }

    /// No trace.
    #[inline]
    pub fn begin(&self, _: &HeaderMap, _trusted: bool, _scheme: &'static str) -> Trace {
        Trace
    }

    /// No trace.
    #[inline]
    pub fn aside(&self) -> Trace {
        Trace
    }
}

/// No exporter.
#[derive(Debug)]
pub struct Exporting;

impl Exporting {
    /// Ends at once.
    pub async fn end(self) {}
}

/// No trace.
#[derive(Clone, Debug)]
pub struct Trace;

impl Trace {
    /// None.
    pub const NONE: Self = Self;

    /// Never.
    #[inline]
    pub fn is_recorded(&self) -> bool {
        false
    }

    /// None.
    #[inline]
    pub fn ids(&self) -> Option<(u128, u64)> {
        None
    }

    /// Notes nothing.
    #[inline]
    pub fn waited_for(&self, _: &Self) {}

    /// Leaves the request as it is.
    #[inline]
    pub fn call(&self, _: &mut Request<Body>, _route: &str, _: Option<&Origin>) -> Call {
        Call
    }

    /// Says nothing.
    #[inline]
    pub fn end(&self, _: &Line<'_>, _: Priority) {}
}

/// No span.
#[derive(Debug)]
pub struct Call;

impl Call {
    /// Says nothing.
    #[inline]
    pub fn answered(self, _: &Result<Response<Body>, upstream::Error>) {}
}
