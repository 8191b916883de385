//! What a client sends, judged byte by byte before hyper reads it (RFC 9112).
//!
//! ```text
//! Head ─┬─ no content ───────────────┬─→ Head …          (pipelining: each head is counted)
//!       └─ Content ─ its end ────────┴─ asked to upgrade: Answer ─ resume → Head, or tunnel → Tunnel
//! any ─ a violation → Refused, for good
//! ```
//! Invariant: a head is released whole and valid or not at all; content is released as it comes, up to the first bad byte; the
//! verdict does not depend on how the bytes were split. It refuses to know sockets, clocks and answers.

use crate::guard::framing::{Content, Declared, Progress, Version};
use crate::guard::lines::Lines;
use crate::guard::syntax::{
    CLASS, TARGET_MAX, TOKEN, all, check_target, fault_of, field, is_authority, trim,
};
use crate::guard::violation::Violation;

/// Longest method, in bytes.
const METHOD_MAX: usize = 32;
/// Offset before which the request line ends: method, space, target, ` HTTP/1.1`, CRLF.
const REQUEST_LINE_END: usize = METHOD_MAX + 1 + TARGET_MAX + 9 + 2;
/// Most fields in a head.
const FIELDS_MAX: u16 = 100;
/// Most bytes of fields in a head, with their line ends.
const FIELD_BYTES_MAX: usize = 16 * 1024;

/// Judges the bytes of one client connection.
#[derive(Debug)]
pub struct RequestGuard {
    state: State,
    head: Head,
    heads: u64,
}

#[derive(Debug)]
enum State {
    Head,
    Content(Content),
    Answer,
    Tunnel,
    Refused(Fault),
}

/// What is known of the head that is arriving.
#[derive(Debug, Default)]
struct Head {
    lines: Lines,
    version: Option<Version>,
    fields_begin: usize,
    fields: u16,
    declared: Declared,
    host: bool,
    upgrade: bool,
    blank_line: bool,
}

/// What to do with the bytes that were shown: the first `swallowed` are dropped, the next `released` may go on, the rest is held
/// and shown again with what comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Bytes to drop: the empty line before a request.
    pub swallowed: usize,
    /// Bytes to hand on.
    pub released: usize,
}

/// Where a violation was met; nothing is released after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// In the head after the last released one.
    Head(Violation),
    /// In the content of the last released head.
    Body(Violation),
}

impl Default for RequestGuard {
    fn default() -> Self {
        Self { state: State::Head, head: Head::default(), heads: 0 }
    }
}

impl RequestGuard {
    /// Judges `bytes`: all that came and was neither swallowed nor released. At most one message part is done at a time: call again
    /// with the rest until a step of zero bytes, which means that more must come first (or, with an upgrade, the answer).
    ///
    /// # Errors
    /// The fault, then the same one for ever.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, Fault> {
        match &mut self.state {
            State::Head => match self.head.step(bytes) {
                Ok(step) => {
                    if step.released > 0 {
                        self.end_head();
                    }
                    Ok(step)
                }
                Err(violation) => Err(self.refuse(violation)),
            },
            State::Content(content) => {
                let (released, progress) = content.advance(bytes);
                match progress {
                    Progress::Refused(violation) if released == 0 => return Err(self.refuse(violation)),
                    Progress::Refused(_) | Progress::More => {}
                    Progress::Done => self.end_message(),
                }
                Ok(Step { swallowed: 0, released })
            }
            State::Answer => Ok(Step::default()),
            State::Tunnel => Ok(Step { swallowed: 0, released: bytes.len() }),
            State::Refused(fault) => Err(*fault),
        }
    }

    /// Refuses all that is still to come, for a reason of the caller's (a deadline).
    pub fn refuse(&mut self, violation: Violation) -> Fault {
        let fault = match self.state {
            State::Refused(fault) => fault,
            State::Content(_) => Fault::Body(violation),
            _ => Fault::Head(violation),
        };
        self.state = State::Refused(fault);
        fault
    }

    /// How many heads were released.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether content of the last head is still to come.
    pub fn in_body(&self) -> bool {
        matches!(self.state, State::Content(_))
    }

    /// Whether the last request asked to upgrade, so that its answer decides what the next bytes are.
    pub fn awaits_answer(&self) -> bool {
        matches!(self.state, State::Answer)
    }

    /// The answer declined the upgrade: what follows is the next request.
    pub fn resume(&mut self) {
        if self.awaits_answer() {
            self.state = State::Head;
        }
    }

    /// The answer was 101: what follows is no longer HTTP/1.
    pub fn tunnel(&mut self) {
        if self.awaits_answer() {
            self.state = State::Tunnel;
        }
    }

    fn end_head(&mut self) {
        self.heads += 1;
        match self.head.declared.content() {
            None | Some(Content::Length(0)) => self.end_message(),
            Some(content) => self.state = State::Content(content),
        }
    }

    fn end_message(&mut self) {
        self.state = if self.head.upgrade { State::Answer } else { State::Head };
        self.head = Head::default();
    }
}

impl Head {
    fn step(&mut self, bytes: &[u8]) -> Result<Step, Violation> {
        if self.lines.offset() == 0 && self.version.is_none() {
            match bytes {
                [] | [b'\r'] => return Ok(Step::default()),
                [b'\r', b'\n', ..] if self.blank_line => return Err(Violation::EmptyLine),
                [b'\r', b'\n', ..] => {
                    self.blank_line = true;
                    return Ok(Step { swallowed: 2, released: 0 });
                }
                [b'\r', ..] => return Err(Violation::BareCr),
                [b'\n', ..] => return Err(Violation::BareLf),
                // Not HTTP at all (a TLS hello, say): such a peer would wait in vain for an end of line.
                [b, ..] if CLASS[*b as usize] & TOKEN == 0 => return Err(Violation::BadMethod),
                _ => {}
            }
            let Some(line) = self.lines.next(bytes, REQUEST_LINE_END, Violation::TargetTooLong)? else {
                return Ok(Step::default());
            };
            self.version = Some(request_line(line)?);
            self.fields_begin = self.lines.offset();
        }
        let end = self.fields_begin + FIELD_BYTES_MAX;
        while let Some(line) = self.lines.next(bytes, end, Violation::FieldsTooLarge)? {
            if line.is_empty() {
                self.end()?;
                return Ok(Step { swallowed: 0, released: self.lines.offset() });
            }
            self.field(line)?;
        }
        Ok(Step::default())
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Violation> {
        self.fields += 1;
        if self.fields > FIELDS_MAX {
            return Err(Violation::TooManyFields);
        }
        let (name, value) = field(line)?;
        // The length first: few names share it, so that the others cost one comparison.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(value),
            6 if name.eq_ignore_ascii_case(b"expect") => self.expect(value),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade = true;
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.declared.content_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.declared.transfer_encoding(value),
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Violation> {
        if self.host {
            return Err(Violation::RepeatedHost);
        }
        self.host = true;
        if is_authority(trim(value)) { Ok(()) } else { Err(Violation::BadHost) }
    }

    fn expect(&self, value: &[u8]) -> Result<(), Violation> {
        // An HTTP/1.0 client cannot mean it (RFC 9110 §10.1.1).
        if self.version == Some(Version::Http10) || trim(value).eq_ignore_ascii_case(b"100-continue") {
            Ok(())
        } else {
            Err(Violation::UnknownExpectation)
        }
    }

    fn end(&mut self) -> Result<(), Violation> {
        let version = self.version.unwrap_or(Version::Http11);
        self.declared.check(version)?;
        if version == Version::Http10 {
            // Upgrade means nothing there (RFC 9110 §7.8).
            self.upgrade = false;
        } else if !self.host {
            return Err(Violation::MissingHost);
        }
        Ok(())
    }
}

fn request_line(line: &[u8]) -> Result<Version, Violation> {
    let end = memchr::memchr(b' ', line).unwrap_or(line.len());
    let (method, rest) = line.split_at(end);
    if method.is_empty() || method.len() > METHOD_MAX || !all(method, TOKEN) {
        return Err(fault_of(method, Violation::BadMethod));
    }
    let malformed = || fault_of(line, Violation::BadRequestLine);
    let (target, version) = rest.split_last_chunk::<9>().ok_or_else(malformed)?;
    let version = match version {
        b" HTTP/1.1" => Version::Http11,
        b" HTTP/1.0" => Version::Http10,
        [b' ', b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            return Err(Violation::BadVersion);
        }
        _ => return Err(malformed()),
    };
    match target {
        [b' ', target @ ..] if !target.is_empty() && !target.contains(&b' ') => {
            check_target(method, target).map_err(|violation| fault_of(target, violation))?;
            Ok(version)
        }
        _ => Err(malformed()),
    }
}
