//! One request's line in the access log, its span and its count in the metrics, written when the last byte of the answer has left
//! (or the client has).

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts as Head;
use http::uri::Authority;
use http::{Method, StatusCode, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::access_log::Line;
use crate::body::{Body, BodyError};
use crate::clock::Now;
use crate::flow::ingress::Named;
use crate::flow::serve::Answer;
use crate::flow::{Client, Shared, Visit};
use crate::metrics::Cache;
use crate::traces::Trace;
use crate::upstream::Priority;

/// What is written down of a request before its head is given away.
pub(crate) struct Visitor<'a> {
    visit: &'a Visit<'a>,
    named: &'a Named,
    method: Method,
    version: Version,
    request_bytes: u64,
}

impl<'a> Visitor<'a> {
    pub(crate) fn of(visit: &'a Visit<'a>, head: &Head, body: &Body, named: &'a Named) -> Self {
        let request_bytes = body.size_hint().exact().unwrap_or_default();
        Self { visit, named, method: head.method.clone(), version: head.version, request_bytes }
    }

    /// Records the answer: at once if all of it is there, else at its end.
    pub(crate) fn record(self, answer: Answer) -> Answer {
        let (flow, route) = (self.visit.flow, self.visit.target.route);
        let whole = match answer.response.body() {
            Body::Empty => Some(0),
            Body::Full(bytes) => Some(bytes.len() as u64),
            Body::Incoming(_) | Body::Stream(_) => None,
        };
        let mut entry = Entry {
            trace: &self.visit.trace,
            method: &self.method,
            path: self.named.path(),
            authority: self.visit.target.authority.as_str(),
            request_id: "",
            route: route.index,
            arrived: self.visit.now,
            client: self.visit.client.origin,
            priority: self.visit.client.priority,
            version: self.version,
            request_bytes: self.request_bytes,
            status: answer.response.status(),
            cache: answer.cache,
            detail: answer.detail,
            why: answer.why,
            age: answer.age,
            upstream: answer.upstream,
            error: answer.error,
        };
        if flow.log.is_on() || entry.trace.is_recorded() {
            entry.request_id = self.visit.request_id();
        }
        match whole {
            Some(bytes) => {
                entry.write(flow, bytes);
                answer
            }
            None => {
                let pending = Pending::new(flow, &entry);
                let response = answer.response.map(|body| Body::stream(Recorded { body, pending }));
                Answer { response, ..answer }
            }
        }
    }
}

/// Records a request that was refused before it had a target.
pub(crate) fn refused(flow: &Shared, head: &Head, client: &Client, arrived: Now, answer: &Answer) {
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let trace = flow.begin(head, client);
    let entry = Entry {
        trace: &trace,
        method: &head.method,
        path: head.uri.path(),
        authority: head.uri.authority().map(Authority::as_str).or(host).unwrap_or_default(),
        request_id: "",
        route: flow.rules.table.unmatched().index,
        arrived,
        client: client.origin,
        priority: client.priority,
        version: head.version,
        request_bytes: 0,
        status: answer.response.status(),
        cache: answer.cache,
        detail: answer.detail,
        why: answer.why,
        age: None,
        upstream: None,
        error: answer.error,
    };
    entry.write(flow, answer.response.body().size_hint().exact().unwrap_or_default());
}

struct Entry<'a> {
    trace: &'a Trace,
    method: &'a Method,
    path: &'a str,
    authority: &'a str,
    request_id: &'a str,
    route: usize,
    arrived: Now,
    client: IpAddr,
    priority: Priority,
    version: Version,
    request_bytes: u64,
    status: StatusCode,
    cache: Cache,
    detail: Option<&'static str>,
    why: Option<&'static str>,
    age: Option<u64>,
    upstream: Option<Duration>,
    error: Option<&'static str>,
}

impl Entry<'_> {
    fn write(&self, flow: &Shared, response_bytes: u64) {
        let duration = flow.clock.mono().saturating_sub(self.arrived.mono);
        // What nobody waits for is no request of anybody's: the hit ratio is the clients'.
        if self.priority == Priority::Client {
            flow.metrics.request(self.route, self.method, self.status, self.cache, duration);
            if !matches!(self.cache, Cache::Hit | Cache::Stale)
                && let Some(reason) = self.detail.or(self.why)
            {
                flow.metrics.missed(self.route, reason);
            }
        }
        let ids = self.trace.ids();
        if !flow.log.is_on() && ids.is_none() {
            return;
        }
        let line = Line {
            at: self.arrived.wall,
            method: self.method.as_str(),
            path: self.path,
            route: Some(flow.metrics.template(self.route)),
            status: self.status.as_u16(),
            protocol: protocol(self.version),
            client: Some(self.client),
            server: Some(self.authority),
            request_bytes: self.request_bytes,
            response_bytes,
            duration,
            upstream: self.upstream,
            cache: self.cache.label(),
            detail: self.detail,
            age: self.age,
            request_id: self.request_id,
            trace_id: ids.map(|(trace, _)| trace),
            span_id: ids.map(|(_, span)| span),
            error: self.error,
        };
        flow.log.write(&line);
        self.trace.end(&line, self.priority);
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

/// What is to be recorded at the end of an answer that streams.
struct Pending {
    flow: Arc<Shared>,
    trace: Trace,
    method: Method,
    path: String,
    authority: String,
    request_id: String,
    rest: Entry<'static>,
    bytes: u64,
}

impl Pending {
    fn new(flow: &Arc<Shared>, entry: &Entry<'_>) -> Self {
        static NO_METHOD: Method = Method::GET;
        static NO_TRACE: Trace = Trace::NONE;
        Self {
            flow: Arc::clone(flow),
            trace: entry.trace.clone(),
            method: entry.method.clone(),
            path: entry.path.to_owned(),
            authority: entry.authority.to_owned(),
            request_id: entry.request_id.to_owned(),
            rest: Entry {
                trace: &NO_TRACE,
                method: &NO_METHOD,
                path: "",
                authority: "",
                request_id: "",
                ..*entry
            },
            bytes: 0,
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let entry = Entry {
            trace: &self.trace,
            method: &self.method,
            path: &self.path,
            authority: &self.authority,
            request_id: &self.request_id,
            ..self.rest
        };
        entry.write(&self.flow, self.bytes);
    }
}

/// A body that counts its bytes and is recorded when it is dropped.
struct Recorded {
    body: Body,
    pending: Pending,
}

impl HttpBody for Recorded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.pending.bytes += data.len() as u64;
        }
        if let Poll::Ready(Some(Err(_))) = &polled {
            self.pending.rest.error.get_or_insert("body");
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
