//! The chunked transfer coding, byte by byte (RFC 9112 §7.1).
//!
//! ```text
//! Size ─;→ Extension ─CR→ SizeLf ─LF→ Data ─→ DataCr ─→ DataLf ─→ Size …
//!                                   └ size 0: LineStart ─→ Name ─:→ Value ─CR→ ValueLf ─→ LineStart … ─CR→ LastLf ─LF→ done
//! ```
//! Invariant: no byte of framing is read that a laxer parser could read otherwise. It refuses to know what trailers say: they
//! are checked as fields, bounded, and dropped by others.

use crate::guard::framing::Progress;
use crate::guard::syntax::{CLASS, TOKEN};
use crate::guard::violation::Violation;

/// Largest chunk: what a signed 64-bit reader can count.
const SIZE_MAX: u64 = i64::MAX as u64;
/// Most hexadecimal digits of a chunk size.
const DIGITS_MAX: u8 = 16;
/// Most bytes of chunk extensions in one body.
const EXTENSIONS_MAX: u16 = 256;
/// Most trailer fields.
const TRAILERS_MAX: u8 = 100;
/// Most bytes of the trailer section.
const TRAILER_BYTES_MAX: u16 = 16 * 1024;

/// Where in a chunked body the next byte stands.
#[derive(Clone, Debug)]
pub(crate) struct Chunked {
    state: State,
    /// The chunk's size as read so far, then what is left of its data.
    left: u64,
    digits: u8,
    extensions: u16,
    trailers: u8,
    trailer_bytes: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    LineStart,
    Name,
    Value,
    ValueLf,
    LastLf,
    Done,
}

impl Chunked {
    /// A body of which nothing came yet.
    pub(crate) fn new() -> Self {
        Self { state: State::Size, left: 0, digits: 0, extensions: 0, trailers: 0, trailer_bytes: 0 }
    }

    /// Takes bytes up to the end of the body, or the first bad one; gives how many were good.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> (usize, Progress) {
        let mut at = 0;
        while at < bytes.len() {
            if self.state == State::Data {
                let taken = self.left.min((bytes.len() - at) as u64);
                self.left -= taken;
                at += taken as usize;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            match self.step(bytes[at]) {
                Ok(next) => self.state = next,
                Err(violation) => return (at, Progress::Refused(violation)),
            }
            at += 1;
            if self.state == State::Done {
                return (at, Progress::Done);
            }
        }
        (at, Progress::More)
    }

    fn step(&mut self, byte: u8) -> Result<State, Violation> {
        match (self.state, byte) {
            (State::Size, b) if b.is_ascii_hexdigit() => self.digit(b),
            (State::Size, b'\r') if self.digits > 0 => Ok(State::SizeLf),
            (State::Size, b';') if self.digits > 0 => self.extension(),
            (State::Size, _) => Err(Violation::BadChunkSize),
            (State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Extension, 0x21..=0x7e) => self.extension(),
            (State::Extension, _) => Err(Violation::BadChunkExtension),
            (State::SizeLf, b'\n') => {
                self.digits = 0;
                Ok(if self.left == 0 { State::LineStart } else { State::Data })
            }
            (State::SizeLf, _) => Err(Violation::BareCr),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size),
            (State::DataCr | State::DataLf, _) => Err(Violation::BadChunkEnd),
            (State::LastLf, b'\n') => Ok(State::Done),
            (State::ValueLf, b'\n') => self.trailer_byte(State::LineStart),
            (State::LastLf | State::ValueLf, _) => Err(Violation::BareCr),
            (State::LineStart | State::Name | State::Value, b) => self.trailer(b),
            (State::Data | State::Done, _) => Ok(self.state),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<State, Violation> {
        let value = char::from(byte).to_digit(16).map_or(0, u64::from);
        self.digits += 1;
        self.left = self.left.checked_mul(16).ok_or(Violation::BadChunkSize)? | value;
        if self.digits > DIGITS_MAX || self.left > SIZE_MAX {
            return Err(Violation::BadChunkSize);
        }
        Ok(State::Size)
    }

    fn extension(&mut self) -> Result<State, Violation> {
        self.extensions += 1;
        if self.extensions > EXTENSIONS_MAX {
            Err(Violation::BadChunkExtension)
        } else {
            Ok(State::Extension)
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<State, Violation> {
        let next = match (self.state, byte) {
            (_, b'\n') => return Err(Violation::BareLf),
            (State::LineStart, b'\r') => return Ok(State::LastLf),
            (State::LineStart, b' ' | b'\t') => return Err(Violation::Fold),
            (State::LineStart, b) if CLASS[b as usize] & TOKEN != 0 => {
                self.trailers += 1;
                if self.trailers > TRAILERS_MAX {
                    return Err(Violation::TooManyFields);
                }
                State::Name
            }
            (State::Name, b':') => State::Value,
            (State::Name, b' ' | b'\t') => return Err(Violation::SpaceBeforeColon),
            (State::Name, b'\r') => return Err(Violation::MissingColon),
            (State::Name, b) if CLASS[b as usize] & TOKEN != 0 => State::Name,
            (State::LineStart | State::Name, _) => return Err(Violation::BadFieldName),
            (_, b'\r') => State::ValueLf,
            (_, b) if (b < b' ' && b != b'\t') || b == 0x7f => return Err(Violation::ControlByte),
            (_, _) => State::Value,
        };
        self.trailer_byte(next)
    }

    fn trailer_byte(&mut self, next: State) -> Result<State, Violation> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES_MAX { Err(Violation::FieldsTooLarge) } else { Ok(next) }
    }
}
