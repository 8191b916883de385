//! Strict framing of HTTP/1 bytes, in both directions, before hyper reads them.
//!
//! hyper hides what it mends; so every byte from a client, and every byte from an origin, is looked at here first, and what is
//! ambiguous is refused (RFC 9112; HAZARDS §1). The cores, [`RequestGuard`] and [`ResponseGuard`], are pure state machines: bytes
//! in, "so many may be released" or a [`Violation`] out. [`ServerIo`] and [`ClientIo`] put them between a socket and hyper, and
//! hold the deadlines (HAZARDS §3). Interim responses, which hyper's server cannot write, go out between the others ([`Interim`]).
//!
//! ```text
//! client ─ socket ─ ServerIo(RequestGuard) ─ hyper server ─ … ─ hyper client ─ ClientIo(ResponseGuard) ─ socket ─ origin
//! ```
//!
//! Invariants: hyper never sees a part of a head, nor an invalid one; after a violation nothing further is released; the verdict
//! does not depend on how the bytes were split. It refuses to know routes, keys and answers: who receives a violation words it.

mod chunked;
mod client_io;
mod connection;
mod deadline;
mod framing;
mod interim;
mod interim_io;
mod lines;
mod request;
mod response;
mod scratch;
mod server_io;
mod syntax;
mod violation;

pub use client_io::{ClientIo, ClientState};
pub use connection::ConnectionState;
pub use deadline::Deadlines;
pub use interim::Interim;
pub use request::{Fault, RequestGuard, Step};
pub use response::{Asked, RESPONSE_FIELDS_MAX, ResponseGuard};
pub use server_io::{Protocol, ServerIo};
pub use violation::Violation;

/// How strictly an origin's answers are framed (`origin_framing`). A length beside a transfer coding, and `chunked` beside another
/// one, are refused either way: two parsers could read them differently. So are compressing codings, which are not undone here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Bytes after an answer's end, and any coding but exactly `chunked`, are refused (default).
    #[default]
    Strict,
    /// As RFC 9112 §6.3 has it: bytes after an answer's end are dropped, and unknown codings end with the
    /// connection. Either way the connection is not used again.
    Lenient,
}
