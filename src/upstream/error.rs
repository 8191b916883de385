//! What can go wrong between Larder and the origin, each with the reason that metrics and logs show.
//!
//! It refuses to know which status a client gets for it.

use std::io;

use crate::body::BodyError;
use crate::upstream::Origin;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// All slots stayed taken for the whole timeout; the origin was not touched.
    #[error("no free slot to the origin within the timeout")]
    Saturated,
    /// No address of the origin accepts connections, or its name does not resolve.
    #[error("cannot connect to {origin}: {source}")]
    Unreachable {
        /// The server that was tried last.
        origin: Origin,
        /// What the system said.
        source: io::Error,
    },
    /// Name resolution, connecting and the TLS handshake together took longer than the timeout.
    #[error("connecting to {origin} took longer than the timeout")]
    ConnectTimeout {
        /// The server that was tried last.
        origin: Origin,
    },
    /// The TLS handshake failed, or could not be prepared.
    #[error("TLS with {origin}: {source}")]
    Tls {
        /// The server that was tried last.
        origin: Origin,
        /// What TLS said.
        source: io::Error,
    },
    /// Leave to send it was not given; the origin was not touched by this copy.
    #[error("the request may not be sent now")]
    Withheld,
    /// The request was sent, and nothing (or not a whole head) came within the timeout; or the origin took
    /// no bytes of the request for that long.
    #[error("no answer from the origin within the timeout")]
    FirstByteTimeout,
    /// The connection ended before a whole head came.
    #[error("the origin closed the connection before answering")]
    Closed,
    /// What came is not an HTTP response that may be trusted.
    #[error("the origin's response is malformed: {0}")]
    BadResponse(String),
    /// The request's body failed while it was sent on: not the origin's fault.
    #[error("the request's body failed: {0}")]
    RequestBody(#[source] BodyError),
}

impl Error {
    /// The label in `upstream_errors_total{reason}`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Saturated => "saturated",
            Self::Unreachable { .. } => "connect",
            Self::ConnectTimeout { .. } => "connect-timeout",
            Self::Tls { .. } => "tls",
            Self::Withheld => "withheld",
            Self::FirstByteTimeout => "first-byte-timeout",
            Self::Closed => "closed",
            Self::BadResponse(_) => "bad-response",
            Self::RequestBody(_) => "request-body",
        }
    }

    /// Whether the origin certainly saw nothing of the request, so that a write had no effect.
    pub fn never_sent(&self) -> bool {
        matches!(
            self,
            Self::Saturated
                | Self::Unreachable { .. }
                | Self::ConnectTimeout { .. }
                | Self::Tls { .. }
                | Self::Withheld
        )
    }
}

/// Why the body of an answer did not reach its end; found in a `BodyError` by downcasting.
#[derive(Debug, thiserror::Error)]
pub enum BodyFailure {
    /// No bytes for the whole timeout.
    #[error("the origin sent no bytes of the body within the timeout")]
    IdleTimeout,
    /// The connection ended before the body did.
    #[error("the origin cut the body: {0}")]
    Cut(#[source] BodyError),
    /// The body's framing is broken (RFC 9112 §7.1).
    #[error("the body's framing is malformed: {0}")]
    BadFraming(#[source] BodyError),
    /// The request's body, still being sent, failed: not the origin's fault.
    #[error("the request's body failed: {0}")]
    RequestBody(#[source] BodyError),
}

impl BodyFailure {
    /// The label in `upstream_errors_total{reason}`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::IdleTimeout => "idle-timeout",
            Self::Cut(_) => "cut",
            Self::BadFraming(_) => "bad-framing",
            Self::RequestBody(_) => "request-body",
        }
    }
}

/// Whether bytes came that are no HTTP, rather than too few of them.
pub(crate) fn is_malformed(error: &hyper::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput};
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    error.is_parse() || source.is_some_and(|source| matches!(source.kind(), InvalidData | InvalidInput))
}

/// What hyper says, and what it says because of.
pub(crate) fn reason(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
