//! Where a message ends: what its fields declare, and the content that follows (RFC 9112 §6).
//!
//! Invariant: one message, one framing; whatever two parsers could frame differently is refused. It refuses to know whether the
//! message is a request or a response.

use crate::guard::chunked::Chunked;
use crate::guard::syntax::trim;
use crate::guard::violation::Violation;

/// Largest Content-Length: what a signed 64-bit reader can count.
const LENGTH_MAX: u64 = i64::MAX as u64;
/// The one transfer coding that ends by itself; its name in any case.
const CHUNKED: &[u8] = b"chunked";
/// Transfer codings with a meaning (RFC 9112 §7.2), which nobody undoes here; in any case.
const COMPRESSED: [&[u8]; 5] = [b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress"];

/// Version of the message, of the two that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// What the fields of one head declare.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Declared {
    /// Content-Length, if one came.
    pub(crate) length: Option<u64>,
    /// What Transfer-Encoding says, if it came.
    pub(crate) coding: Option<Coding>,
}

/// What a Transfer-Encoding makes of the message's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Exactly `chunked`.
    Chunked,
    /// Codings that end with the connection.
    UntilClose,
}

impl Declared {
    /// Takes a Content-Length value.
    pub(crate) fn content_length(&mut self, value: &[u8]) -> Result<(), Violation> {
        let digits = trim(value);
        if self.length.is_some() {
            return Err(Violation::RepeatedContentLength);
        }
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(Violation::BadContentLength);
        }
        let length = digits
            .iter()
            .try_fold(0_u64, |n, d| n.checked_mul(10)?.checked_add(u64::from(d - b'0')))
            .filter(|&length| length <= LENGTH_MAX);
        self.length = Some(length.ok_or(Violation::BadContentLength)?);
        Ok(())
    }

    /// Takes a Transfer-Encoding value.
    pub(crate) fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Violation> {
        if self.coding.is_some() || !trim(value).eq_ignore_ascii_case(CHUNKED) {
            return Err(Violation::BadTransferCoding);
        }
        self.coding = Some(Coding::Chunked);
        Ok(())
    }

    /// The same, but unknown codings last until the connection closes (RFC 9112 §6.3 item 4). What holds the word chunked and more
    /// is refused all the same: two parsers could differ on whether it is the final coding. So is what is known to be
    /// compressed: the field goes no further than this connection, and the bytes would pass for the content.
    pub(crate) fn lenient_transfer_encoding(&mut self, value: &[u8]) -> Result<(), Violation> {
        let is_compressed = |word: &[u8]| COMPRESSED.iter().any(|name| trim(word).eq_ignore_ascii_case(name));
        if value.split(|byte| matches!(byte, b',' | b';')).any(is_compressed) {
            return Err(Violation::BadTransferCoding);
        }
        let speaks_of_chunks = value.windows(CHUNKED.len()).any(|word| word.eq_ignore_ascii_case(CHUNKED));
        if speaks_of_chunks || self.coding == Some(Coding::Chunked) {
            return self.transfer_encoding(value);
        }
        self.coding = Some(Coding::UntilClose);
        Ok(())
    }

    /// Judges the two together, at the end of a head of `version`.
    pub(crate) fn check(&self, version: Version) -> Result<(), Violation> {
        match (self.coding, self.length) {
            (Some(_), Some(_)) => Err(Violation::LengthAndCoding),
            (Some(_), None) if version == Version::Http10 => Err(Violation::BadTransferCoding),
            _ => Ok(()),
        }
    }

    /// The content that follows such a head; `None` if neither field was there.
    pub(crate) fn content(&self) -> Option<Content> {
        match self.coding {
            Some(Coding::Chunked) => Some(Content::Chunked(Chunked::new())),
            Some(Coding::UntilClose) => Some(Content::UntilClose),
            None => self.length.map(Content::Length),
        }
    }
}

/// What is still to come of a message's content.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// So many bytes.
    Length(u64),
    /// Chunks, up to the last one and its trailers.
    Chunked(Chunked),
    /// Everything until the connection ends (responses only).
    UntilClose,
}

/// How far content has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More is to come.
    More,
    /// It is complete.
    Done,
    /// The byte after those taken is refused.
    Refused(Violation),
}

impl Content {
    /// Takes bytes up to the end of the content, or the first bad one; gives how many were good.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> (usize, Progress) {
        match self {
            Self::Length(left) => {
                let taken = (*left).min(bytes.len() as u64);
                *left -= taken;
                (taken as usize, if *left == 0 { Progress::Done } else { Progress::More })
            }
            Self::Chunked(chunked) => chunked.advance(bytes),
            Self::UntilClose => (bytes.len(), Progress::More),
        }
    }
}
