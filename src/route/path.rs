//! The path of a request target: as it is keyed and sent, as the origin reads it, and whether both are one thing.
//!
//! An origin decodes the whole path before it routes (Starlette, uvicorn), so rules match the decoded form; the
//! key holds a normal form (RFC 3986 §6.2.2: unreserved characters bare, other escapes kept, in upper case), and
//! that same form goes to the origin. A path that two parsers may read in two ways is *ambiguous*: it is
//! forwarded as it came and never cached. Raw control bytes and `#` are refused before this room.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// A request's path, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path<'a> {
    text: Cow<'a, str>,
    /// `None`: as `text`.
    decoded: Option<String>,
    ambiguity: Option<Ambiguity>,
}

impl<'a> Path<'a> {
    /// Reads the path of a request target, without its query. A plain path costs one pass and no allocation.
    pub fn of(raw: &'a str) -> Self {
        if is_canonical(raw) {
            return Self { text: Cow::Borrowed(raw), decoded: None, ambiguity: None };
        }
        normalise(raw)
    }

    /// The form that is keyed and sent to the origin: ASCII, every escape in upper case. An ambiguous path is
    /// kept as it came, but for bytes that no URI may hold, which are escaped.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What the origin routes by: decoded once, invalid UTF-8 replaced.
    pub fn decoded(&self) -> &str {
        self.decoded.as_deref().unwrap_or(&self.text)
    }

    /// Why nothing may be cached under this path, if so.
    pub fn ambiguity(&self) -> Option<Ambiguity> {
        self.ambiguity
    }

    /// What a server that merges slashes and resolves dot segments makes of the decoded path (RFC 3986 §5.2.4).
    pub fn resolved(&self) -> String {
        let mut kept: Vec<&str> = Vec::new();
        for segment in self.decoded().split(['/', '\\']) {
            match bare(segment) {
                "" | "." => {}
                ".." => drop(kept.pop()),
                _ => kept.push(segment),
            }
        }
        format!("/{}", kept.join("/"))
    }
}

/// Why two parsers may read one request target in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    /// Does not begin with `/` (`*`).
    NotAbsolute,
    /// `%2F`: a separator for some, a character for others.
    EncodedSlash,
    /// `\` or `%5C`: a separator on some systems.
    Backslash,
    /// An encoded control character (`%00`, `%0A`).
    EncodedControl,
    /// `%23` or `%3F`: a delimiter to whoever decodes too early.
    EncodedDelimiter,
    /// `%252F`: a second decoding would read something else.
    DoubleEncoding,
    /// `%` without two hexadecimal digits.
    InvalidPercent,
    /// A `.` or `..` segment, encoded or not, `..;x` included.
    DotSegment,
    /// `//`.
    EmptySegment,
    /// Decodes to bytes that are not UTF-8.
    InvalidUtf8,
    /// A raw byte above 0x7F, in the path or the query.
    NotAscii,
}

impl Ambiguity {
    /// The word for metrics, logs and `Cache-Status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAbsolute => "path-not-absolute",
            Self::EncodedSlash => "path-encoded-slash",
            Self::Backslash => "path-backslash",
            Self::EncodedControl => "path-control",
            Self::EncodedDelimiter => "path-encoded-delimiter",
            Self::DoubleEncoding => "path-double-encoding",
            Self::InvalidPercent => "path-invalid-percent",
            Self::DotSegment => "path-dot-segment",
            Self::EmptySegment => "path-empty-segment",
            Self::InvalidUtf8 => "path-invalid-utf8",
            Self::NotAscii => "target-not-ascii",
        }
    }
}

/// What no URI may hold in path or query (RFC 3986 §3.3, §3.4); `%` is left alone.
pub(crate) const ILLEGAL: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Unreserved characters, RFC 3986 §2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What a path may hold bare, `/` included: `pchar` without escapes, RFC 3986 §3.3.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = is_unreserved(byte as u8)
            || matches!(
                byte as u8,
                b'!' | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
                    | b':'
                    | b'@'
                    | b'/'
            );
        byte += 1;
    }
    table
};

/// Whether the path is its own normal form. Any segment that begins with a dot takes the long way.
fn is_canonical(raw: &str) -> bool {
    let mut previous = 0;
    raw.starts_with('/')
        && raw.bytes().all(|byte| {
            let opens_badly = previous == b'/' && matches!(byte, b'/' | b'.');
            previous = byte;
            PLAIN[usize::from(byte)] && !opens_badly
        })
}

fn normalise(raw: &str) -> Path<'_> {
    let mut text = String::with_capacity(raw.len() + 8);
    let mut decoded = Vec::with_capacity(raw.len());
    let mut flaw = None;
    let mut rest = raw.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            flaw = flaw.or(raw_flaw(byte));
            decoded.push(byte);
            push(&mut text, byte, PLAIN[usize::from(byte)]);
        } else if let Some(value) = escaped(tail) {
            rest = &tail[2..];
            flaw = flaw.or(escape_flaw(value, rest));
            decoded.push(value);
            push(&mut text, value, is_unreserved(value));
        } else {
            flaw = flaw.or(Some(Ambiguity::InvalidPercent));
            decoded.push(byte);
        }
    }
    let decoded = String::from_utf8(decoded).unwrap_or_else(|broken| {
        flaw = flaw.or(Some(Ambiguity::InvalidUtf8));
        String::from_utf8_lossy(broken.as_bytes()).into_owned()
    });
    let ambiguity = flaw.or_else(|| segment_flaw(&decoded));
    let text = match ambiguity {
        Some(_) => utf8_percent_encode(raw, ILLEGAL).into(),
        None => Cow::Owned(text),
    };
    Path { text, decoded: Some(decoded), ambiguity }
}

fn push(text: &mut String, byte: u8, bare: bool) {
    if bare {
        text.push(char::from(byte));
    } else {
        text.push_str(percent_encoding::percent_encode_byte(byte));
    }
}

/// The byte that two hexadecimal digits at the head of `tail` stand for.
fn escaped(tail: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (high, low) = (digit(*tail.first()?)?, digit(*tail.get(1)?)?);
    u8::try_from(high * 16 + low).ok()
}

fn raw_flaw(byte: u8) -> Option<Ambiguity> {
    match byte {
        b'\\' => Some(Ambiguity::Backslash),
        0x80.. => Some(Ambiguity::NotAscii),
        _ => None,
    }
}

fn escape_flaw(value: u8, rest: &[u8]) -> Option<Ambiguity> {
    match value {
        b'/' => Some(Ambiguity::EncodedSlash),
        b'\\' => Some(Ambiguity::Backslash),
        0..0x20 | 0x7f => Some(Ambiguity::EncodedControl),
        b'#' | b'?' => Some(Ambiguity::EncodedDelimiter),
        b'%' if escaped(rest).is_some() => Some(Ambiguity::DoubleEncoding),
        _ => None,
    }
}

/// Looks at the decoded path, so that `%2e%2e` counts like `..`.
fn segment_flaw(decoded: &str) -> Option<Ambiguity> {
    let Some(inner) = decoded.strip_prefix('/') else { return Some(Ambiguity::NotAbsolute) };
    if inner.split('/').any(|segment| matches!(bare(segment), "." | "..")) {
        return Some(Ambiguity::DotSegment);
    }
    let empty = inner.starts_with('/') || inner.contains("//");
    empty.then_some(Ambiguity::EmptySegment)
}

/// A segment without its parameters (`..;x`), which some servers cut off before they resolve dots.
fn bare(segment: &str) -> &str {
    match segment.split_once(';') {
        Some((name @ ("." | ".."), _)) => name,
        _ => segment,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(raw: &str) -> String {
        let path = Path::of(raw);
        assert_eq!(path.ambiguity(), None, "{raw}");
        path.as_str().to_owned()
    }

    #[test]
    fn a_plain_path_is_borrowed_as_it_is() {
        for raw in
            ["/", "/api/projects/42", "/a/", "/me;a.css", "/me.css", "/a:b@c,d=e'(f)*!$&+", "/x.y/z..w"]
        {
            let path = Path::of(raw);
            assert!(matches!(path.text, Cow::Borrowed(_)), "{raw}");
            assert_eq!((path.as_str(), path.decoded(), path.ambiguity()), (raw, raw, None));
        }
    }

    #[test]
    fn an_escaped_unreserved_character_equals_the_bare_one() {
        assert_eq!(canonical("/m%65"), "/me");
        assert_eq!(canonical("/%7Euser/%2D%5f"), "/~user/-_");
    }

    #[test]
    fn other_escapes_are_kept_in_upper_case_and_matched_decoded() {
        let path = Path::of("/caf%c3%a9/a%3ab%20c");
        assert_eq!(path.as_str(), "/caf%C3%A9/a%3Ab%20c");
        assert_eq!(path.decoded(), "/café/a:b c");
        assert_eq!(path.ambiguity(), None);
        assert_ne!(canonical("/a%3Bb"), canonical("/a;b"));
    }

    #[test]
    fn bytes_that_no_uri_holds_are_escaped() {
        assert_eq!(canonical("/{a}|\"^"), "/%7Ba%7D%7C%22%5E");
        assert_eq!(Path::of("/{a}").decoded(), "/{a}");
    }

    #[test]
    fn a_leading_dot_is_an_ordinary_character() {
        assert_eq!(canonical("/.well-known/x"), "/.well-known/x");
        assert_eq!(canonical("/..a/...;x"), "/..a/...;x");
    }

    #[test]
    fn what_two_parsers_read_in_two_ways_is_ambiguous() {
        use Ambiguity::*;
        for (raw, why) in [
            ("*", NotAbsolute),
            ("", NotAbsolute),
            ("/a%2fb", EncodedSlash),
            ("/a%2Fb", EncodedSlash),
            ("/a\\b", Backslash),
            ("/a%5cb", Backslash),
            ("/a%00", EncodedControl),
            ("/a%0d%0aX", EncodedControl),
            ("/a%7f", EncodedControl),
            ("/a%23", EncodedDelimiter),
            ("/a%3fb=c", EncodedDelimiter),
            ("/a%252fb", DoubleEncoding),
            ("/a%zz", InvalidPercent),
            ("/a%", InvalidPercent),
            ("/a%4", InvalidPercent),
            ("/a/../me", DotSegment),
            ("/a/%2e%2E/me", DotSegment),
            ("/./a", DotSegment),
            ("/a/..", DotSegment),
            ("/a/..;x/b", DotSegment),
            ("//me", EmptySegment),
            ("/a//b", EmptySegment),
            ("/a//", EmptySegment),
            ("/a%ff", InvalidUtf8),
            ("/caf\u{e9}", NotAscii),
        ] {
            assert_eq!(Path::of(raw).ambiguity(), Some(why), "{raw}");
        }
    }

    #[test]
    fn an_ambiguous_path_is_sent_as_it_came_within_what_a_uri_may_hold() {
        assert_eq!(Path::of("/a%2fb%zz").as_str(), "/a%2fb%zz");
        assert_eq!(Path::of("/a\\b/../\u{e9}").as_str(), "/a%5Cb/../%C3%A9");
        assert_eq!(Path::of("/a%2fb").decoded(), "/a/b");
    }

    #[test]
    fn the_resolved_form_is_what_a_merging_server_would_serve() {
        assert_eq!(Path::of("/api//x/../projects%2f42/.").resolved(), "/api/projects/42");
        assert_eq!(Path::of("/../..;a/me").resolved(), "/me");
    }

    proptest! {
        #[test]
        fn the_normal_form_is_a_fixpoint_and_decodes_the_same(raw in "/[a-zA-Z0-9/.;:~ %{}^é]{0,24}") {
            let path = Path::of(&raw);
            if path.ambiguity().is_none() {
                let again = Path::of(path.as_str());
                prop_assert_eq!(again.as_str(), path.as_str());
                prop_assert_eq!(again.decoded(), path.decoded());
                prop_assert_eq!(again.ambiguity(), None);
            }
            prop_assert!(path.as_str().parse::<http::uri::PathAndQuery>().is_ok());
        }

        #[test]
        fn every_escape_of_a_clean_path_is_read_as_one(segments in prop::collection::vec("[a-z0-9_é:-]{1,5}", 1..4)) {
            let decoded = format!("/{}", segments.join("/"));
            let escaped: String = decoded.bytes().map(|b| if b == b'/' { "/".into() } else { format!("%{b:02x}") }).collect();
            let path = Path::of(&escaped);
            prop_assert_eq!(path.decoded(), decoded.as_str());
            prop_assert_eq!(path.ambiguity(), None);
        }
    }
}
