//! What the guard refuses, and why: one reason per rule.
//!
//! Invariant: every violation has a label for metrics, a status and one sentence, and none of them holds bytes of the peer.
//! It refuses to know how an answer is written.

use std::error::Error;
use std::io;

use http::StatusCode;

/// Why bytes were refused. `Display` gives one short sentence for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    // ---- request line (RFC 9112 §3)
    /// More than one empty line before the request line (RFC 9112 §2.2 tolerates one).
    #[error("there are empty lines before the request")]
    EmptyLine,
    /// The request line is not `method SP target SP version`.
    #[error("the request line is malformed")]
    BadRequestLine,
    /// The method is no token, or longer than 32 bytes.
    #[error("the method is malformed")]
    BadMethod,
    /// CONNECT: Larder is no forward proxy.
    #[error("CONNECT is not served here")]
    Connect,
    /// The request target is in none of the forms that a proxy for an origin takes, or holds a byte that RFC 3986 forbids.
    #[error("the request target is malformed")]
    BadTarget,
    /// The request target is longer than 8 KiB.
    #[error("the request target is longer than 8 KiB")]
    TargetTooLong,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    #[error("this HTTP version is not spoken here")]
    BadVersion,

    // ---- fields (RFC 9112 §5)
    /// A line ends in LF without CR.
    #[error("a line ends without a carriage return")]
    BareLf,
    /// A CR that does not end a line.
    #[error("a carriage return stands inside a line")]
    BareCr,
    /// NUL or another control byte inside a line.
    #[error("a control byte stands inside a line")]
    ControlByte,
    /// A header line begins with white space (obs-fold, RFC 9112 §5.2).
    #[error("a header line begins with white space")]
    Fold,
    /// White space between field name and colon (RFC 9112 §5.1).
    #[error("white space stands before the colon of a header")]
    SpaceBeforeColon,
    /// A header line without a colon.
    #[error("a header line has no colon")]
    MissingColon,
    /// A field name that is empty or no token.
    #[error("a header name is malformed")]
    BadFieldName,
    /// More than 100 fields in a request or trailer section, or 200 in a response.
    #[error("there are too many headers")]
    TooManyFields,
    /// More than 16 KiB of fields in a request or trailer section, or a response head of more than 64 KiB.
    #[error("the headers are too large")]
    FieldsTooLarge,

    // ---- framing (RFC 9112 §6)
    /// Content-Length beside Transfer-Encoding.
    #[error("Content-Length and Transfer-Encoding exclude each other")]
    LengthAndCoding,
    /// A Content-Length that is not 1*DIGIT, or beyond 2⁶³-1.
    #[error("Content-Length is malformed")]
    BadContentLength,
    /// More than one Content-Length, equal or not.
    #[error("Content-Length is given more than once")]
    RepeatedContentLength,
    /// A Transfer-Encoding other than exactly one `chunked` (or, from an origin leniently framed, none), or any in HTTP/1.0.
    #[error("Transfer-Encoding is anything but one `chunked` in HTTP/1.1")]
    BadTransferCoding,
    /// A chunk size that is not 1 to 16 hexadecimal digits, or beyond 2⁶³-1.
    #[error("a chunk size is malformed")]
    BadChunkSize,
    /// Chunk extensions with spaces or control bytes, or of more than 256 bytes in a body.
    #[error("a chunk extension is malformed or too long")]
    BadChunkExtension,
    /// A chunk without CRLF at its end.
    #[error("a chunk does not end where it said")]
    BadChunkEnd,

    // ---- Host and Expect
    /// HTTP/1.1 without Host (RFC 9112 §3.2).
    #[error("Host is missing")]
    MissingHost,
    /// More than one Host (RFC 9112 §3.2).
    #[error("Host is given more than once")]
    RepeatedHost,
    /// An authority that is not `host [":" port]`.
    #[error("Host is malformed")]
    BadHost,
    /// An expectation other than `100-continue` (RFC 9110 §10.1.1).
    #[error("this expectation cannot be met")]
    UnknownExpectation,

    // ---- time
    /// The head was not complete in time.
    #[error("the request took too long to arrive")]
    SlowHead,
    /// The request body came too slowly.
    #[error("the request body came too slowly")]
    SlowBody,
    /// The peer took no bytes for too long.
    #[error("the answer was not read in time")]
    SlowReader,

    // ---- responses
    /// The status line is not `version SP 3DIGIT [SP reason]`.
    #[error("the origin's status line is malformed")]
    BadStatusLine,
    /// A 1xx or 204 response with a length or a transfer coding (RFC 9110 §8.6, RFC 9112 §6.1).
    #[error("the origin declared a body where none may be")]
    BodyForbidden,
    /// More than 16 interim (1xx) responses to one request.
    #[error("the origin sent too many interim responses")]
    InterimFlood,
    /// A 101 to a request that asked for no upgrade.
    #[error("the origin switched protocols unasked")]
    UnaskedUpgrade,
    /// Bytes that no request asked for: before one, or after the end of its response.
    #[error("the origin sent bytes that no request asked for")]
    Unsolicited,
    /// The connection ended before any byte of the response; the request may be tried again if it is safe to.
    #[error("the origin closed the connection without a response")]
    Unanswered,
    /// The connection ended within a response.
    #[error("the origin closed the connection within a response")]
    Truncated,
}

impl Violation {
    /// The status for the client whose request this is; what an origin did wrong is 502.
    /// The same rules hold on both sides: that it was the origin is for those to know who fed the origin's bytes.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::SlowHead | Self::SlowBody | Self::SlowReader => StatusCode::REQUEST_TIMEOUT,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::UnknownExpectation => StatusCode::EXPECTATION_FAILED,
            Self::TooManyFields | Self::FieldsTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BadVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::BadStatusLine
            | Self::BodyForbidden
            | Self::InterimFlood
            | Self::UnaskedUpgrade
            | Self::Unsolicited
            | Self::Unanswered
            | Self::Truncated => StatusCode::BAD_GATEWAY,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The label for metrics and the access log: lower case, with hyphens.
    pub fn reason(self) -> &'static str {
        match self {
            Self::EmptyLine => "empty-line",
            Self::BadRequestLine => "request-line",
            Self::BadMethod => "method",
            Self::Connect => "connect",
            Self::BadTarget => "target",
            Self::TargetTooLong => "target-too-long",
            Self::BadVersion => "version",
            Self::BareLf => "bare-lf",
            Self::BareCr => "bare-cr",
            Self::ControlByte => "control-byte",
            Self::Fold => "fold",
            Self::SpaceBeforeColon => "space-before-colon",
            Self::MissingColon => "missing-colon",
            Self::BadFieldName => "field-name",
            Self::TooManyFields => "too-many-fields",
            Self::FieldsTooLarge => "fields-too-large",
            Self::LengthAndCoding => "length-and-coding",
            Self::BadContentLength => "content-length",
            Self::RepeatedContentLength => "repeated-content-length",
            Self::BadTransferCoding => "transfer-coding",
            Self::BadChunkSize => "chunk-size",
            Self::BadChunkExtension => "chunk-extension",
            Self::BadChunkEnd => "chunk-end",
            Self::MissingHost => "missing-host",
            Self::RepeatedHost => "repeated-host",
            Self::BadHost => "host",
            Self::UnknownExpectation => "expectation",
            Self::SlowHead => "slow-head",
            Self::SlowBody => "slow-body",
            Self::SlowReader => "slow-reader",
            Self::BadStatusLine => "status-line",
            Self::BodyForbidden => "body-forbidden",
            Self::InterimFlood => "interim-flood",
            Self::UnaskedUpgrade => "unasked-upgrade",
            Self::Unsolicited => "unsolicited",
            Self::Unanswered => "unanswered",
            Self::Truncated => "truncated",
        }
    }

    /// The violation that `error` carries, at whatever depth: a hyper error, a body error, an `io::Error`.
    pub fn in_chain<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(violation) = error.downcast_ref::<Self>() {
                return Some(violation);
            }
            // `io::Error::source` skips the very error that it wraps.
            let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = wrapped.map(|error| error as &(dyn Error + 'static)).or_else(|| error.source());
        }
        None
    }
}

impl From<Violation> for io::Error {
    fn from(violation: Violation) -> Self {
        let kind = match violation {
            Violation::SlowHead | Violation::SlowBody | Violation::SlowReader => io::ErrorKind::TimedOut,
            Violation::Truncated | Violation::Unanswered => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, violation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_violation_is_found_at_any_depth_of_an_error_chain() {
        let error = Outer(io::Error::other(io::Error::from(Violation::SlowBody)));
        assert_eq!(Violation::in_chain(&error), Some(&Violation::SlowBody));
        assert_eq!(Violation::in_chain(&Violation::Fold), Some(&Violation::Fold));
        assert_eq!(Violation::in_chain(&Outer(io::Error::other("else"))), None);
    }
}
