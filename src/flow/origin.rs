//! A question to the origin, and its place in the trace of who asks.
//!
//! Invariant: whoever is asked for a request is told of it by that request's trace, if there is one, and by no other.

use std::future::Future;
use std::sync::Arc;

use http::request::Parts as Head;
use http::{Request, Response};

use crate::body::Body;
use crate::flow::fetch::Fetch;
use crate::flow::{Client, Shared, Visit};
use crate::route::target::Target;
use crate::traces::Trace;
use crate::upstream::{self, How};

/// In whose name the origin is asked: a trace, and the number of a route.
pub(crate) type Asker<'a> = (&'a Trace, usize);

impl<'a> Visit<'a> {
    /// What this process asks by itself, now, and says nothing of but what the origin is asked.
    pub(crate) fn aside(flow: &'a Arc<Shared>, client: Client, target: &'a Target<'a>, head: &Head) -> Self {
        Self::new(flow, client, target, head, flow.clock.now(), flow.traces.aside())
    }
}

impl Visit<'_> {
    /// Asks the origin, for this request.
    pub(crate) async fn ask(
        &self,
        request: Request<Body>,
        how: How,
    ) -> Result<Response<Body>, upstream::Error> {
        let asker = (&self.trace, self.target.route.index);
        self.flow.ask(asker, request, |request| self.flow.upstream.send(request, how)).await
    }
}

impl Fetch {
    /// Asks the origin, as urgently as its flight is, and counts it if that fails.
    pub(crate) async fn ask(&self, request: Request<Body>) -> Result<Response<Body>, upstream::Error> {
        let (upstream, urgency, how) = (&self.flow.upstream, self.urgency.clone(), self.how.clone());
        let send = |request| upstream.send_with(urgency, request, how);
        let answer = self.flow.ask((&self.trace, self.route.index), request, send).await;
        answer.inspect_err(|error| {
            self.flow.metrics.upstream_error(error.as_str());
            tracing::debug!(%error, "the origin gave no answer");
        })
    }
}

impl Shared {
    /// The trace of a request that this client sends.
    pub(crate) fn begin(&self, head: &Head, client: &Client) -> Trace {
        self.traces.begin(&head.headers, client.trusted, client.scheme())
    }

    /// Asks the origin by `send`.
    pub(crate) async fn ask<F>(
        &self,
        (trace, route): Asker<'_>,
        mut request: Request<Body>,
        send: impl FnOnce(Request<Body>) -> F,
    ) -> Result<Response<Body>, upstream::Error>
    where
        F: Future<Output = Result<Response<Body>, upstream::Error>>,
    {
        let call = trace.call(&mut request, self.metrics.template(route), self.upstream.origin());
        let answer = send(request).await;
        call.answered(&answer);
        answer
    }
}
