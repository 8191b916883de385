//! Traces, as they are with the feature `otlp`: who begins them, and what becomes of a request's.
//!
//! Invariant: what is not sampled has a context, which the origin is told, and costs no more than that.

mod context;
mod exporter;
mod receiver;
mod said;
mod settings;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use http::{HeaderMap, Request, Response};
use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample, SpanData, SpanEvents, SpanLinks,
};
use tokio::sync::mpsc::Sender;

use crate::access_log::Line;
use crate::body::Body;
use crate::clock::{Clock, Now};
use crate::metrics::Metrics;
use crate::traces::otlp::exporter::Exporter;
pub use crate::traces::otlp::exporter::Exporting;
use crate::traces::otlp::said::{Asked, Said};
pub use crate::traces::otlp::settings::Settings;
use crate::upstream::{self, Origin, Priority, Repeated};

/// Where the traces of requests begin. Cheap to clone.
#[derive(Clone)]
pub struct Traces(Option<Arc<Shared>>);

struct Shared {
    sampler: Sampler,
    scope: InstrumentationScope,
    clock: Clock,
    queue: Sender<SpanData>,
    metrics: Arc<Metrics>,
}

impl Traces {
    /// Starts to export, if the settings say where to; connects to nobody yet. To be called on a runtime.
    ///
    /// # Errors
    /// The receiver wants TLS, and no root certificates can be loaded.
    pub fn start(
        settings: Settings,
        clock: &Clock,
        metrics: &Arc<Metrics>,
    ) -> Result<(Self, Exporting), upstream::Error> {
        let Some(settings) = settings.0 else { return Ok((Self::off(), Exporting::off())) };
        let sampler = settings.sampler.clone();
        let (queue, exporting) = Exporter::start(*settings, Arc::clone(metrics))?;
        let scope = InstrumentationScope::builder("larder").with_version(env!("CARGO_PKG_VERSION")).build();
        let (clock, metrics) = (clock.clone(), Arc::clone(metrics));
        Ok((Self(Some(Arc::new(Shared { sampler, scope, clock, queue, metrics }))), exporting))
    }

    /// None that are told to anybody.
    pub fn off() -> Self {
        Self(None)
    }

    /// The trace of a request: the one that its fields name, if whoever sent them is trusted, else a new one.
    #[inline]
    pub fn begin(&self, fields: &HeaderMap, trusted: bool, scheme: &'static str) -> Trace {
        let Some(shared) = &self.0 else { return Trace::NONE };
        let parent = trusted.then(|| context::parent(fields)).flatten();
        let id = RandomIdGenerator::default().new_span_id();
        Trace(Some(shared.begin(parent, id, scheme)))
    }

    /// A trace in which nobody stands above the questions to the origin.
    #[inline]
    pub fn aside(&self) -> Trace {
        let Some(shared) = &self.0 else { return Trace::NONE };
        Trace(Some(shared.begin(None, SpanId::INVALID, "")))
    }
}

impl Shared {
    fn begin(self: &Arc<Self>, parent: Option<SpanContext>, id: SpanId, scheme: &'static str) -> Arc<Begun> {
        let trace = parent
            .as_ref()
            .map_or_else(|| RandomIdGenerator::default().new_trace_id(), SpanContext::trace_id);
        let flags =
            if self.samples(parent.as_ref(), trace) { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
        let state = parent.as_ref().map_or(TraceState::NONE, |parent| parent.trace_state().clone());
        let context = SpanContext::new(trace, id, flags, false, state);
        let parent = parent.map_or(SpanId::INVALID, |parent| parent.span_id());
        Arc::new(Begun { shared: Arc::clone(self), context, parent, scheme, waited_for: OnceLock::new() })
    }

    fn samples(&self, parent: Option<&SpanContext>, trace: TraceId) -> bool {
        let above =
            parent.map(|parent| opentelemetry::Context::new().with_remote_span_context(parent.clone()));
        let result = self.sampler.should_sample(above.as_ref(), trace, "", &SpanKind::Server, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }

    /// Hands a span over, if there is room for it.
    fn push(&self, span: SpanData) {
        if self.queue.try_send(span).is_err() {
            self.metrics.spans("dropped", 1);
        }
    }
}

/// What a request is in a trace, if there is one. Cheap to clone.
#[derive(Clone)]
pub struct Trace(Option<Arc<Begun>>);

/// By its numbers.
impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trace").field(&self.ids()).finish()
    }
}

struct Begun {
    shared: Arc<Shared>,
    context: SpanContext,
    /// Who called, as a trusted proxy says; invalid: nobody did.
    parent: SpanId,
    scheme: &'static str,
    waited_for: OnceLock<SpanContext>,
}

/// Where a span stands, and when it was.
struct Place {
    context: SpanContext,
    parent: SpanId,
    parent_is_remote: bool,
    kind: SpanKind,
    links: SpanLinks,
    time: (SystemTime, SystemTime),
}

impl Trace {
    /// No trace.
    pub const NONE: Self = Self(None);

    /// Whether anything will be told of it.
    #[inline]
    pub fn is_recorded(&self) -> bool {
        self.recorded().is_some()
    }

    /// By which numbers trace and span are found, if anything is told of them.
    pub fn ids(&self) -> Option<(u128, u64)> {
        let context = &self.recorded()?.context;
        let (trace, span) = (context.trace_id().to_bytes(), context.span_id().to_bytes());
        Some((u128::from_be_bytes(trace), u64::from_be_bytes(span)))
    }

    /// Notes that it was answered by what somebody else had asked the origin.
    #[inline]
    pub fn waited_for(&self, other: &Self) {
        if let (Some(begun), Some(other)) = (self.recorded(), other.recorded())
            && other.context.is_valid()
        {
            let _first = begun.waited_for.set(other.context.clone());
        }
    }

    /// A question to the origin, which is told of it by the request's fields. `route` is the template; of `origin`, `None` means
    /// that it is one of several.
    #[inline]
    pub fn call(&self, request: &mut Request<Body>, route: &str, origin: Option<&Origin>) -> Call {
        let Some(begun) = &self.0 else { return Call(None) };
        let (above, id) = (&begun.context, RandomIdGenerator::default().new_span_id());
        let (flags, state) = (above.trace_flags(), above.trace_state().clone());
        let context = SpanContext::new(above.trace_id(), id, flags, false, state);
        context::announce(request.headers_mut(), &context);
        let is_recorded = flags.is_sampled();
        Call(is_recorded.then(|| {
            let (asked, began) = (Asked::of(request, route, origin), begun.shared.clock.now());
            Box::new(Asking { begun: Arc::clone(begun), context, asked, began })
        }))
    }

    /// The answer's last byte has left: says as a span what `line` says.
    #[inline]
    pub fn end(&self, line: &Line<'_>, priority: Priority) {
        let Some(begun) = self.recorded() else { return };
        let mut links = SpanLinks::default();
        links.links.extend(begun.waited_for.get().map(|other| Link::with_context(other.clone())));
        let place = Place {
            context: begun.context.clone(),
            parent: begun.parent,
            parent_is_remote: true,
            kind: if priority == Priority::Client { SpanKind::Server } else { SpanKind::Internal },
            links,
            time: (line.at, line.at + line.duration),
        };
        begun.shared.push(begun.span(place, said::request(line, begun.scheme, priority)));
    }

    fn recorded(&self) -> Option<&Begun> {
        self.0.as_deref().filter(|begun| begun.context.is_sampled())
    }
}

impl Begun {
    fn span(&self, place: Place, said: Said) -> SpanData {
        SpanData {
            span_context: place.context,
            parent_span_id: place.parent,
            parent_span_is_remote: place.parent_is_remote && place.parent != SpanId::INVALID,
            span_kind: place.kind,
            name: said.name,
            start_time: place.time.0,
            end_time: place.time.1,
            attributes: said.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: place.links,
            status: said.status,
            instrumentation_scope: self.shared.scope.clone(),
        }
    }
}

/// A question to the origin, until its head is answered. Dropped before, it says that nobody waited.
pub struct Call(Option<Box<Asking>>);

struct Asking {
    begun: Arc<Begun>,
    context: SpanContext,
    asked: Asked,
    began: Now,
}

impl Call {
    /// Says what came of it.
    #[inline]
    pub fn answered(mut self, answer: &Result<Response<Body>, upstream::Error>) {
        let Some(asking) = self.0.take() else { return };
        let outcome = match answer {
            Ok(response) => Ok((response.status(), response.extensions().get::<Repeated>().is_some())),
            Err(why) => Err(why.as_str()),
        };
        asking.end(outcome);
    }
}

impl Asking {
    fn end(self, outcome: said::Outcome) {
        let shared = &self.begun.shared;
        let took = shared.clock.mono().saturating_sub(self.began.mono);
        let place = Place {
            context: self.context,
            parent: self.begun.context.span_id(),
            parent_is_remote: false,
            kind: SpanKind::Client,
            links: SpanLinks::default(),
            time: (self.began.wall, self.began.wall + took),
        };
        shared.push(self.begun.span(place, said::call(self.asked, outcome)));
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(asking) = self.0.take() {
            asking.end(Err("cancelled"));
        }
    }
}
