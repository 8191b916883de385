//! What an origin sends, judged byte by byte before hyper reads it (RFC 9112 §4, §6).
//!
//! ```text
//! Idle ─ begin → Head ─ 1xx → Head …
//!                  ├─ no content → Idle
//!                  ├─ Content ─ its end → Idle
//!                  └─ 101, if asked → Raw
//! ```
//! Invariant: bytes that no request asked for are never released, and nothing after them. Strictly framed, they take with them all
//! that came in the same read: the last bytes of a body are never released beside an unexplained surplus. Leniently, what is whole
//! before them is released. It refuses to know sockets, clocks and caching.

use crate::guard::Framing;
use crate::guard::framing::{Content, Declared, Progress, Version};
use crate::guard::lines::Lines;
use crate::guard::syntax::{fault_of, field, has_control};
use crate::guard::violation::Violation;

/// Most fields in the head of a response.
pub const RESPONSE_FIELDS_MAX: usize = 200;
/// Most bytes of a head.
const HEAD_MAX: usize = 64 * 1024;
/// Most interim responses to one request.
const INTERIM_MAX: u8 = 16;

/// What a request lets its response be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A head and content.
    Content,
    /// HEAD: a head only.
    Head,
    /// An upgrade: a 101 and then another protocol, or an ordinary response.
    Upgrade,
}

impl Asked {
    /// What a request with this method and these fields asks for.
    pub fn of(method: &http::Method, headers: &http::HeaderMap) -> Self {
        if method == http::Method::HEAD {
            Self::Head
        } else if headers.contains_key(http::header::UPGRADE) {
            Self::Upgrade
        } else {
            Self::Content
        }
    }
}

/// Judges the bytes of one origin connection.
#[derive(Debug)]
pub struct ResponseGuard {
    framing: Framing,
    state: State,
    asked: Asked,
    interim: u8,
    begun: bool,
}

#[derive(Debug)]
enum State {
    Idle,
    Head(Head),
    Content(Content),
    Raw,
    Refused(Violation),
}

/// What is known of the head that is arriving.
#[derive(Debug, Default)]
struct Head {
    lines: Lines,
    status: Option<(Version, u16)>,
    fields: usize,
    declared: Declared,
}

/// What follows a head.
enum Next {
    Interim,
    Nothing,
    Content(Content),
    Raw,
}

impl Default for ResponseGuard {
    fn default() -> Self {
        Self::new(Framing::Strict)
    }
}

impl ResponseGuard {
    /// For a new connection, to an origin whose responses are framed by `framing`.
    pub fn new(framing: Framing) -> Self {
        Self { framing, state: State::Idle, asked: Asked::Content, interim: 0, begun: false }
    }

    /// A request is about to be sent; one at a time. Begun within another's response, it refuses all that is to come.
    pub fn begin(&mut self, asked: Asked) {
        self.state = match self.state {
            State::Idle => State::Head(Head::default()),
            State::Refused(violation) => State::Refused(violation),
            _ => State::Refused(Violation::Unsolicited),
        };
        self.asked = asked;
        self.interim = 0;
        self.begun = false;
    }

    /// Judges `bytes`: all that came and was not released. Gives how many of them, from the first, may be released; the rest is a part
    /// of a head, and is shown again with what comes next, or, under [`Framing::Lenient`], bytes that no request asked for: then
    /// [`Self::refusal`] says so.
    ///
    /// # Errors
    /// The violation, then the same one for ever: then none of `bytes` may be released.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let mut at = 0;
        while at < bytes.len() {
            let fed = match &mut self.state {
                State::Idle if self.framing == Framing::Lenient => {
                    self.state = State::Refused(Violation::Unsolicited);
                    break;
                }
                State::Idle => Err(Violation::Unsolicited),
                State::Head(head) => {
                    self.begun = true;
                    head.read(&bytes[at..], self.asked, self.framing)
                }
                State::Content(content) => match content.advance(&bytes[at..]) {
                    (_, Progress::Refused(violation)) => Err(violation),
                    (taken, Progress::Done) => Ok(Some((taken, Next::Nothing))),
                    (_, Progress::More) => return Ok(bytes.len()),
                },
                State::Raw => return Ok(bytes.len()),
                State::Refused(violation) => Err(*violation),
            };
            match fed.and_then(|fed| self.follow(fed)) {
                Ok(0) => break,
                Ok(taken) => at += taken,
                Err(violation) => {
                    self.state = State::Refused(violation);
                    return Err(violation);
                }
            }
        }
        Ok(at)
    }

    /// The connection ended. Clean between responses, and at the end of one that lasts until the connection closes.
    ///
    /// # Errors
    /// [`Violation::Unanswered`] before the first byte of a response, [`Violation::Truncated`] within one.
    pub fn eof(&self) -> Result<(), Violation> {
        match &self.state {
            State::Idle | State::Raw | State::Content(Content::UntilClose) => Ok(()),
            State::Head(_) if !self.begun => Err(Violation::Unanswered),
            State::Head(_) | State::Content(_) => Err(Violation::Truncated),
            State::Refused(violation) => Err(*violation),
        }
    }

    /// Why nothing further is released, if that is so: the connection is of no more use.
    pub fn refusal(&self) -> Option<Violation> {
        match self.state {
            State::Refused(violation) => Some(violation),
            _ => None,
        }
    }

    /// Whether no response is under way.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Whether the connection has switched protocols (101).
    pub fn is_raw(&self) -> bool {
        matches!(self.state, State::Raw)
    }

    fn follow(&mut self, fed: Option<(usize, Next)>) -> Result<usize, Violation> {
        let Some((taken, next)) = fed else { return Ok(0) };
        self.state = match next {
            Next::Interim => {
                self.interim += 1;
                if self.interim > INTERIM_MAX {
                    return Err(Violation::InterimFlood);
                }
                State::Head(Head::default())
            }
            Next::Nothing => State::Idle,
            Next::Content(content) => State::Content(content),
            Next::Raw => State::Raw,
        };
        Ok(taken)
    }
}

impl Head {
    /// The length of the whole head and what follows it; `None` while it is incomplete.
    fn read(
        &mut self,
        bytes: &[u8],
        asked: Asked,
        framing: Framing,
    ) -> Result<Option<(usize, Next)>, Violation> {
        // Not HTTP/1 at all: such a peer may never end a line.
        if bytes[0] != b'H' {
            return Err(Violation::BadStatusLine);
        }
        while let Some(line) = self.lines.next(bytes, HEAD_MAX, Violation::FieldsTooLarge)? {
            match self.status {
                None => self.status = Some(status_line(line)?),
                Some((version, status)) if line.is_empty() => {
                    let next = self.next(version, status, asked)?;
                    return Ok(Some((self.lines.offset(), next)));
                }
                Some(_) => self.field(line, framing)?,
            }
        }
        Ok(None)
    }

    fn field(&mut self, line: &[u8], framing: Framing) -> Result<(), Violation> {
        self.fields += 1;
        if self.fields > RESPONSE_FIELDS_MAX {
            return Err(Violation::TooManyFields);
        }
        let (name, value) = field(line)?;
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => self.declared.content_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => match framing {
                Framing::Strict => self.declared.transfer_encoding(value),
                Framing::Lenient => self.declared.lenient_transfer_encoding(value),
            },
            _ => Ok(()),
        }
    }

    /// RFC 9112 §6.3, for one response.
    fn next(&self, version: Version, status: u16, asked: Asked) -> Result<Next, Violation> {
        self.declared.check(version)?;
        // Origins do send `Content-Length: 0` with a 204; that can mean one thing only.
        if matches!(status, 100..=199 | 204)
            && (self.declared.coding.is_some() || self.declared.length.unwrap_or(0) > 0)
        {
            return Err(Violation::BodyForbidden);
        }
        Ok(match (status, asked) {
            (101, Asked::Upgrade) => Next::Raw,
            (101, _) => return Err(Violation::UnaskedUpgrade),
            (100..=199, _) => Next::Interim,
            (204 | 304, _) | (_, Asked::Head) => Next::Nothing,
            _ => match self.declared.content().unwrap_or(Content::UntilClose) {
                Content::Length(0) => Next::Nothing,
                content => Next::Content(content),
            },
        })
    }
}

fn status_line(line: &[u8]) -> Result<(Version, u16), Violation> {
    let malformed = || fault_of(line, Violation::BadStatusLine);
    let (version, rest) = line.split_first_chunk::<9>().ok_or_else(malformed)?;
    let version = match version {
        b"HTTP/1.1 " => Version::Http11,
        b"HTTP/1.0 " => Version::Http10,
        _ => return Err(malformed()),
    };
    // Some origins leave out the space before an empty reason; nothing else can be meant.
    let &[a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', ref reason @ ..] = rest else {
        return Err(malformed());
    };
    if !matches!(reason, [] | [b' ', ..]) || has_control(reason) {
        return Err(malformed());
    }
    Ok((version, [a, b, c].iter().fold(0, |n, digit| n * 10 + u16::from(digit - b'0'))))
}
