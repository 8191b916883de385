//! Whoever receives the spans: one POST of a batch, and what is to be made of the answer (OTLP specification, OTLP/HTTP).
//!
//! Invariant: only what the specification calls retryable is worth another try. A redirect is not followed: it could lead anywhere.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use prost::Message;
use tokio::time::timeout;

use crate::body::Body;
use crate::traces::otlp::settings::Export;
use crate::upstream::{self, Endpoint, How, Priority, Upgrade, Upstream};

/// Most bytes of an answer that are read.
const ANSWER: usize = 64 * 1024;

/// Whoever receives the spans.
pub(in crate::traces) struct Receiver {
    endpoint: Endpoint,
    headers: HeaderMap,
    gzip: bool,
    resource: ResourceAttributesWithSchema,
    upstream: Upstream,
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
pub(in crate::traces) enum Failure {
    #[error("{0}")]
    Upstream(#[from] upstream::Error),
    #[error("it answered {0}")]
    Status(StatusCode, Option<Duration>),
    #[error("it did not answer in time")]
    Late,
}

impl Failure {
    /// Whether another try is worth it.
    pub(in crate::traces) fn is_final(&self) -> bool {
        match self {
            Self::Status(status, _) => !matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::Upstream(_) | Self::Late => false,
        }
    }

    /// How long the receiver wants to be left alone.
    pub(in crate::traces) fn pause(&self) -> Option<Duration> {
        match self {
            Self::Status(_, pause) => *pause,
            Self::Upstream(_) | Self::Late => None,
        }
    }
}

impl Receiver {
    pub(in crate::traces) fn new(settings: &Export) -> Result<Self, upstream::Error> {
        let mut way = upstream::Settings::new(vec![settings.endpoint.origin().clone()]);
        (way.timeout, way.concurrency) = (settings.timeout, 1);
        let told = settings.resource.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
        let resource = Resource::builder_empty().with_attributes(told).build();
        Ok(Self {
            endpoint: settings.endpoint.clone(),
            headers: settings.headers.clone(),
            gzip: settings.gzip,
            resource: ResourceAttributesWithSchema::from(&resource),
            upstream: Upstream::silent(way)?,
        })
    }

    /// Where it is, without the path.
    pub(in crate::traces) fn place(&self) -> String {
        self.endpoint.place()
    }

    /// A batch as it is sent.
    pub(in crate::traces) fn encode(&self, batch: Vec<SpanData>) -> Bytes {
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let plain = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        if !self.gzip {
            return plain.into();
        }
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        let packed = packed.write_all(&plain).and_then(|()| packed.finish());
        packed.expect("a Vec takes any bytes").into()
    }

    /// Sends a batch within `patience`; gives how many of its spans the receiver does not want.
    pub(in crate::traces) async fn post(&self, batch: Bytes, patience: Duration) -> Result<u64, Failure> {
        timeout(patience, self.exchange(batch, patience)).await.map_err(|_| Failure::Late)?
    }

    async fn exchange(&self, batch: Bytes, patience: Duration) -> Result<u64, Failure> {
        let mut request = Request::new(Body::from(batch));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from(self.endpoint.target().clone());
        *request.headers_mut() = self.headers.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.endpoint.host().clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("larder/", env!("CARGO_PKG_VERSION"))));
        if self.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let how = How {
            timeout: patience,
            priority: Priority::Client,
            hold: u64::MAX,
            upgrade: Upgrade::No,
            interim: None,
            permit: None,
        };
        let (head, body) = self.upstream.send(request, how).await?.into_parts();
        // Read to its end, so that the connection may be used again.
        let said = Limited::new(body, ANSWER).collect().await.map(|whole| whole.to_bytes());
        if !head.status.is_success() {
            let pause = head.headers.get(RETRY_AFTER).and_then(|pause| pause.to_str().ok()?.parse().ok());
            return Err(Failure::Status(head.status, pause.map(Duration::from_secs)));
        }
        // Whatever it says beside its status is a courtesy.
        let said = said.ok().and_then(|said| ExportTraceServiceResponse::decode(said).ok());
        let unwanted = said.and_then(|said| said.partial_success).map_or(0, |partly| partly.rejected_spans);
        Ok(u64::try_from(unwanted).unwrap_or(0))
    }
}
