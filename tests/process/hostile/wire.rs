//! A strict reader of HTTP/1 messages: what RFC 9112 lets every recipient read in one way only, and nothing else.
//!
//! `canonical` then asks more of a request: that it is as Larder alone may write it.

/// How far a message could be read.
#[derive(Debug)]
pub(crate) enum Read<T> {
    /// All of it, and how many bytes it took.
    Whole(T, usize),
    /// So far so good.
    More,
    /// Never a message, and why.
    Bad(&'static str),
}

/// The first line and the fields, names in lower case and values trimmed.
#[derive(Clone)]
pub(crate) struct Head {
    pub(crate) line: String,
    pub(crate) fields: Vec<(String, Vec<u8>)>,
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}", self.line)?;
        self.fields.iter().try_for_each(|(name, value)| write!(f, " | {name}: {}", value.escape_ascii()))?;
        write!(f, "]")
    }
}

impl Head {
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let named = self.fields.iter().filter(|(known, _)| known == name);
        named.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    pub(crate) fn one(&self, name: &str) -> Option<String> {
        self.all(name).into_iter().next()
    }

    pub(crate) fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    pub(crate) fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    pub(crate) fn status(&self) -> u16 {
        self.line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }
}

/// A message with its body.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    /// Chunk extensions and trailer fields that were met.
    pub(crate) adornments: usize,
}

/// Reads one request.
pub(crate) fn request(bytes: &[u8]) -> Read<Message> {
    let (head, used) = match head(bytes) {
        Read::Whole(head, used) => (head, used),
        Read::More => return Read::More,
        Read::Bad(why) => return Read::Bad(why),
    };
    let words: Vec<&str> = head.line.split(' ').collect();
    let [method, target, version] = words[..] else { return Read::Bad("request line") };
    if method.is_empty() || !method.bytes().all(is_token) || target.is_empty() {
        return Read::Bad("method or target");
    }
    if !target.bytes().all(|b| (0x21..0x7f).contains(&b) && b != b'#') {
        return Read::Bad("a byte of the target");
    }
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
        return Read::Bad("version");
    }
    match framing(&head) {
        Err(why) => Read::Bad(why),
        Ok(Framing::Chunked) if version == "HTTP/1.0" => Read::Bad("chunked in HTTP/1.0"),
        Ok(framing) => content(head, bytes, used, framing),
    }
}

/// Reads one final response and the interim ones before it. `bare`: it answers HEAD. `ended`: no more bytes will come.
pub(crate) fn response(bytes: &[u8], bare: bool, ended: bool) -> Read<Message> {
    let mut at = 0;
    loop {
        let (head, used) = match head(&bytes[at..]) {
            Read::Whole(head, used) => (head, at + used),
            Read::More => return Read::More,
            Read::Bad(why) => return Read::Bad(why),
        };
        // To an HTTP/1.0 request, hyper answers in its version.
        let version = head.line.split(' ').next();
        if !matches!(version, Some("HTTP/1.1" | "HTTP/1.0")) || !(100..=599).contains(&head.status()) {
            return Read::Bad("status line");
        }
        at = used;
        let framing = match framing(&head) {
            Ok(framing) => framing,
            Err(why) => return Read::Bad(why),
        };
        return match (head.status(), framing) {
            (100 | 102..=199, Framing::Nothing) => continue,
            (101..=199, Framing::Nothing) => {
                Read::Whole(Message { head, body: Vec::new(), adornments: 0 }, at)
            }
            (100..=199 | 204, _) if framing != Framing::Nothing => Read::Bad("framing in 1xx or 204"),
            (204 | 304, _) => content(head, bytes, at, Framing::Nothing),
            _ if bare => content(head, bytes, at, Framing::Nothing),
            (_, Framing::Nothing) if ended => {
                Read::Whole(Message { head, body: bytes[at..].to_vec(), adornments: 0 }, bytes.len())
            }
            (_, Framing::Nothing) => Read::More,
            _ => content(head, bytes, at, framing),
        };
    }
}

/// Reads a first line and fields, up to the empty line.
pub(crate) fn head(bytes: &[u8]) -> Read<Head> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Read::More };
    let mut lines = Vec::new();
    let mut rest = &bytes[..end];
    loop {
        let next = rest.windows(2).position(|two| two == b"\r\n").unwrap_or(rest.len());
        let line = &rest[..next];
        if line.iter().any(|&b| (b < 0x20 && b != b'\t') || b == 0x7f) {
            return Read::Bad("a control byte");
        }
        lines.push(line);
        match rest.get(next + 2..) {
            Some(more) => rest = more,
            None => break,
        }
    }
    let mut fields = Vec::new();
    for line in &lines[1..] {
        match field(line) {
            Some(field) => fields.push(field),
            None => return Read::Bad("field line"),
        }
    }
    let line = lines[0].iter().map(|&b| char::from(b)).collect();
    Read::Whole(Head { line, fields }, end + 4)
}

fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|&b| b == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().copied().all(is_token) {
        return None;
    }
    Some((String::from_utf8_lossy(name).to_ascii_lowercase(), value.trim_ascii().to_vec()))
}

fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    Nothing,
    Length(usize),
    Chunked,
}

fn framing(head: &Head) -> Result<Framing, &'static str> {
    match (&head.all("content-length")[..], &head.all("transfer-encoding")[..]) {
        ([], []) => Ok(Framing::Nothing),
        ([length], []) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
            length.parse().map(Framing::Length).map_err(|_| "length overflows")
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        _ => Err("framing is ambiguous"),
    }
}

fn content(head: Head, bytes: &[u8], used: usize, framing: Framing) -> Read<Message> {
    let rest = &bytes[used..];
    match framing {
        Framing::Nothing => Read::Whole(Message { head, body: Vec::new(), adornments: 0 }, used),
        Framing::Length(length) => match rest.get(..length) {
            Some(body) => Read::Whole(Message { head, body: body.to_vec(), adornments: 0 }, used + length),
            None => Read::More,
        },
        Framing::Chunked => match chunks(rest) {
            Read::Whole((body, adornments), length) => {
                Read::Whole(Message { head, body, adornments }, used + length)
            }
            Read::More => Read::More,
            Read::Bad(why) => Read::Bad(why),
        },
    }
}

/// Body and adornments.
fn chunks(bytes: &[u8]) -> Read<(Vec<u8>, usize)> {
    let (mut body, mut adornments, mut at) = (Vec::new(), 0, 0);
    loop {
        let Some((line, next)) = line(bytes, at) else { return Read::More };
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let (size, extension) = line.split_at(digits);
        let size = std::str::from_utf8(size).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let Some(size) = size.filter(|&size| size <= isize::MAX as usize) else {
            return Read::Bad("chunk size");
        };
        if !matches!(extension, [] | [b';', ..]) || extension.iter().any(|&b| b < 0x20 || b == 0x7f) {
            return Read::Bad("chunk extension");
        }
        adornments += usize::from(!extension.is_empty());
        at = next;
        if size == 0 {
            break;
        }
        let Some(chunk) = bytes.get(at..at.saturating_add(size)) else { return Read::More };
        body.extend_from_slice(chunk);
        at += size;
        match bytes.get(at..at + 2) {
            Some(b"\r\n") => at += 2,
            Some(_) => return Read::Bad("chunk end"),
            None => return Read::More,
        }
    }
    loop {
        let Some((line, next)) = line(bytes, at) else { return Read::More };
        at = next;
        if line.is_empty() {
            return Read::Whole((body, adornments), at);
        }
        if field(line).is_none() || line.iter().any(|&b| (b < 0x20 && b != b'\t') || b == 0x7f) {
            return Read::Bad("trailer");
        }
        adornments += 1;
    }
}

fn line(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(at..)?;
    let end = rest.windows(2).position(|two| two == b"\r\n")?;
    Some((&rest[..end], at + end + 2))
}

/// What of a request's head Larder must never have written; empty if all is well.
pub(crate) fn canonical(head: &Head, authorities: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut must = |holds: bool, what: String| {
        if !holds {
            faults.push(what);
        }
    };
    must(head.line.ends_with(" HTTP/1.1"), format!("version: {}", head.line));
    let target = head.target();
    let origin_form = target.starts_with('/') || (target == "*" && head.method() == "OPTIONS");
    must(origin_form, format!("target: {target}"));
    let host = head.all("host");
    must(host.len() == 1 && authorities.contains(&host[0]), format!("host: {host:?}"));
    for name in HOP_BY_HOP {
        must(head.all(name).is_empty(), format!("{name} is hop-by-hop"));
    }
    let (lengths, codings) = (head.all("content-length"), head.all("transfer-encoding"));
    must(lengths.len() + codings.len() <= 1, "more than one framing".into());
    must(codings.iter().all(|coding| coding == "chunked"), format!("{codings:?}"));
    let shortest = |length: &String| length.parse::<u64>().is_ok_and(|number| number.to_string() == *length);
    must(lengths.iter().all(shortest), format!("{lengths:?}"));
    let (connection, upgrade) = (head.all("connection"), head.all("upgrade"));
    let tunnel = connection == ["upgrade"] && upgrade == ["websocket"];
    must(tunnel || (connection.is_empty() && upgrade.is_empty()), format!("{connection:?} {upgrade:?}"));
    for (name, value) in &head.fields {
        let ours = match name.as_str() {
            "x-forwarded-for" => value == b"127.0.0.1",
            "x-forwarded-proto" => value == b"http",
            "x-forwarded-host" => host.first().is_some_and(|host| host.as_bytes() == value),
            "x-request-id" => value.len() == 32 && value.iter().all(u8::is_ascii_hexdigit),
            known => !known.starts_with("x-forwarded-") && !CLAIMS.contains(&known),
        };
        must(ours, format!("{name}: {} is a stranger's claim", String::from_utf8_lossy(value)));
    }
    for name in ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id"] {
        must(head.all(name).len() == 1, format!("{name} is there {} times", head.all(name).len()));
    }
    faults
}

const HOP_BY_HOP: [&str; 6] = ["keep-alive", "proxy-connection", "te", "trailer", "expect", "http2-settings"];

const CLAIMS: [&str; 12] = [
    "forwarded",
    "x-original-url",
    "x-rewrite-url",
    "x-original-host",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-real-ip",
    "traceparent",
    "tracestate",
    "larder-purpose",
    "x-named-by-connection",
];

#[test]
fn the_reader_itself_is_strict() {
    for (bytes, good) in [
        (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], true),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nA: b\r\n\r\n", true),
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", false),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", false),
        (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", false),
        (b"GET /# HTTP/1.1\r\n\r\n", false),
        (b"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc", false),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", false),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", false),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", false),
    ] {
        assert_eq!(matches!(request(bytes), Read::Whole(_, used) if used == bytes.len()), good, "{}", bytes.escape_ascii());
    }
    let Read::Whole(message, _) = request(b"GET /a HTTP/1.1\r\nHost: evil\r\nExpect: x\r\n\r\n") else {
        panic!("whole")
    };
    assert!(canonical(&message.head, &["localhost".into()]).len() >= 5);
}
