//! HTTP/2 requests that would be ambiguous in HTTP/1.1: header lists as no honest client writes them, in frames made by hand.

use std::io::{Read as _, Write};
use std::net::{SocketAddr, TcpStream};

use super::client::{BOUND, get};
use super::origin::{Recorder, body_of};
use super::requests::{CONFIG, authorities, numbered};
use crate::harness::Proxy;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

type Fields<'a> = &'a [(&'a [u8], &'a [u8])];

/// One frame (RFC 9113 §4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block of literals without indexing (RFC 7541 §6.2.2), so that any bytes can be said.
pub(crate) fn block(fields: Fields<'_>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            let mut left = text.len();
            if left < 127 {
                block.push(left as u8);
            } else {
                block.push(127);
                left -= 127;
                while left >= 128 {
                    block.push((left % 128) as u8 | 128);
                    left /= 128;
                }
                block.push(left as u8);
            }
            block.extend_from_slice(text);
        }
    }
    block
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Ok,
    Refused,
    Reset,
    Closed,
    Hangs,
}

/// Sends `frames` and waits for the end of stream 1.
fn exchange(server: SocketAddr, frames: &[u8]) -> Outcome {
    let mut stream = TcpStream::connect(server).expect("the proxy accepts");
    stream.set_read_timeout(Some(BOUND)).expect("a timeout");
    if stream.write_all(&[PREFACE, frames].concat()).is_err() {
        return Outcome::Closed;
    }
    let mut outcome = Outcome::Closed;
    loop {
        let mut head = [0; 9];
        if let Err(error) = stream.read_exact(&mut head) {
            let late = matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
            return if late { Outcome::Hangs } else { Outcome::Closed };
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        if stream.read_exact(&mut payload).is_err() {
            return Outcome::Closed;
        }
        let on_stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) == 1;
        match head[3] {
            HEADERS if on_stream && outcome == Outcome::Closed => {
                // After updates of the table's size, `:status: 200` is one byte (RFC 7541 appendix A).
                let status = payload.iter().find(|&&byte| byte & 0xe0 != 0x20);
                outcome = if status == Some(&0x88) { Outcome::Ok } else { Outcome::Refused };
            }
            RST_STREAM if on_stream => {
                return if outcome == Outcome::Closed { Outcome::Reset } else { outcome };
            }
            GOAWAY => return if outcome == Outcome::Closed { Outcome::Closed } else { outcome },
            _ => {}
        }
        if on_stream && matches!(head[3], DATA | HEADERS) && head[4] & END_STREAM != 0 {
            return outcome;
        }
    }
}

struct Case {
    name: String,
    frames: Vec<u8>,
    served: bool,
}

const GET: [(&[u8], &[u8]); 4] =
    [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/NNNN/c"), (b":authority", b"localhost")];
const POST: [(&[u8], &[u8]); 4] =
    [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/NNNN/x"), (b":authority", b"localhost")];

fn with<'a>(base: &[(&'a [u8], &'a [u8])], more: &[(&'a [u8], &'a [u8])]) -> Vec<(&'a [u8], &'a [u8])> {
    [base, more].concat()
}

/// `GET` with one pseudo-header replaced.
fn replaced<'a>(name: &'a [u8], value: &'a [u8]) -> Vec<(&'a [u8], &'a [u8])> {
    GET.iter().map(|&(known, old)| (known, if known == name { value } else { old })).collect()
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: String, frames: Vec<u8>, served: bool| cases.push(Case { name, frames, served });
    let bare = |fields: Fields<'_>| frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields));
    let bodied = |fields: Fields<'_>, body: &[u8]| {
        [frame(HEADERS, END_HEADERS, 1, &block(fields)), frame(DATA, END_STREAM, 1, body)].concat()
    };
    add("GET".into(), bare(&GET), true);
    add("POST".into(), bodied(&POST, b"abc"), true);
    add("POST with its length".into(), bodied(&with(&POST, &[(b"content-length", b"3")]), b"abc"), true);
    add("te: trailers".into(), bare(&with(&GET, &[(b"te", b"trailers")])), true);
    add("Host like :authority".into(), bare(&with(&GET, &[(b"host", b"localhost")])), true);
    add("Host alone".into(), bare(&with(&GET[..3], &[(b"host", b"localhost")])), true);
    add("GET with a body".into(), bodied(&GET, super::table::SMUGGLED.as_bytes()), true);
    let trailers = block(&[(b"host", b"evil"), (b"content-length", b"9"), (b"authorization", b"evil")]);
    let post = [frame(HEADERS, END_HEADERS, 1, &block(&POST)), frame(DATA, 0, 1, b"abc")].concat();
    add(
        "trailers".into(),
        [post.clone(), frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers)].concat(),
        true,
    );
    let claims: Fields<'_> = &[
        (b"x-forwarded-host", b"evil"),
        (b"forwarded", b"for=evil"),
        (b"x-original-url", b"/evil"),
        (b"expect", b"100-continue"),
    ];
    add("claims".into(), bare(&with(&GET, claims)), true);
    for value in [&b"0"[..], b"2", b"4", b"+3", b"3, 3", b"3 ", b"-1", b"", b"18446744073709551619"] {
        let fields = with(&POST, &[(b"content-length", value)]);
        add(format!("content-length {} for 3", value.escape_ascii()), bodied(&fields, b"abc"), false);
    }
    add(
        "two lengths".into(),
        bodied(&with(&POST, &[(b"content-length", b"3"), (b"content-length", b"4")]), b"abc"),
        false,
    );
    add("a length without DATA".into(), bare(&with(&POST, &[(b"content-length", b"3")])), false);
    let smuggle = b"0\r\n\r\nGET /NNNN/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (name, value) in [
        (&b"transfer-encoding"[..], &b"chunked"[..]),
        (b"connection", b"close"),
        (b"connection", b"keep-alive"),
        (b"keep-alive", b"1"),
        (b"proxy-connection", b"close"),
        (b"upgrade", b"websocket"),
        (b"te", b"gzip"),
        (b"te", b"trailers, gzip"),
    ] {
        let fields = with(&POST, &[(name, value)]);
        add(format!("{}: {}", name.escape_ascii(), value.escape_ascii()), bodied(&fields, smuggle), false);
    }
    for (name, value) in [
        (&b"Foo"[..], &b"bar"[..]),
        (b"", b"bar"),
        (b"foo bar", b"baz"),
        (b"foo:bar", b"baz"),
        (b"foo\r\nhost", b"evil"),
        (b"foo\0", b"bar"),
        (b"foo\n", b"bar"),
        (b"f\xc3\xb6", b"bar"),
        (b"foo", b"bar\r\nhost: evil"),
        (b"foo", b"bar\r\n\r\nGET /NNNN/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (b"foo", b"bar\nbaz"),
        (b"foo", b"bar\rbaz"),
        (b"foo", b"bar\0"),
        (b":foo", b"bar"),
        (b":status", b"200"),
        (b":path", b"/NNNN/y"),
        (b":method", b"POST"),
        (b":authority", b"evil"),
        (b":protocol", b"websocket"),
        (b"host", b"evil.example"),
        (b"host", b"localhost\r\nfoo: bar"),
    ] {
        let fields = with(&GET, &[(name, value)]);
        add(format!("{}: {}", name.escape_ascii(), value.escape_ascii()), bare(&fields), false);
    }
    for (name, value) in [
        (&b":path"[..], &b""[..]),
        (b":path", b"NNNN"),
        (b":path", b"*"),
        (b":path", b"/NNNN/c d"),
        (b":path", b"/NNNN/c\t"),
        (b":path", b"/NNNN/\xc3\xbc"),
        (b":path", b"/NNNN/c HTTP/1.1\r\nHost: evil\r\n\r\nGET /NNNN/smuggled"),
        (b":path", b"/NNNN/c\r\nfoo: bar"),
        (b":path", b"/NNNN/c\0"),
        (b":path", b"http://evil/NNNN/c"),
        (b":path", b"/NNNN/c\""),
        (b":path", b"/NNNN/c<"),
        (b":path", b"/NNNN/c\\"),
        (b":path", b"/NNNN/c{"),
        (b":path", b"/NNNN/c^"),
        (b":method", b""),
        (b":method", b"G T"),
        (b":method", b"GET / HTTP/1.1\r\nfoo: bar"),
        (b":method", b"CONNECT"),
        (b":method", b"GE\0T"),
        (b":scheme", b"http://evil/?"),
        (b":scheme", b"ht tp"),
        (b":authority", b""),
        (b":authority", b"user@localhost"),
        (b":authority", b"localhost/evil"),
        (b":authority", b"localhost\r\nfoo: bar"),
        (b":authority", b"a b"),
        (b":authority", b"a..b"),
        (b":authority", b"localhost:99999"),
        (b":authority", b"localhost#"),
        (b":authority", b"a,b"),
    ] {
        add(
            format!("{}: {}", name.escape_ascii(), value.escape_ascii()),
            bare(&replaced(name, value)),
            false,
        );
    }
    // hyper drops a fragment, and reads an empty scheme as none: what is left is what is keyed, and what the origin gets.
    for (name, value) in [(&b":path"[..], &b"/NNNN/c#d"[..]), (b":scheme", b"")] {
        let fields = bare(&replaced(name, value));
        add(format!("{}: {}", name.escape_ascii(), value.escape_ascii()), fields, true);
    }
    add("two Hosts".into(), bare(&with(&GET[..3], &[(b"host", b"localhost"), (b"host", b"evil")])), false);
    add(
        "two equal Hosts".into(),
        bare(&with(&GET, &[(b"host", b"localhost"), (b"host", b"localhost")])),
        false,
    );
    add("no authority".into(), bare(&GET[..3]), false);
    add("no path".into(), bare(&[GET[0], GET[1], GET[3]]), false);
    add("no method".into(), bare(&GET[1..]), false);
    add("pseudo-headers last".into(), bare(&with(&[(b"foo", b"bar")], &GET)), false);
    let long = [b"/NNNN/".as_slice(), &[b'a'; 8187]].concat();
    add("a path of 8 KiB and a byte".into(), bare(&replaced(b":path", &long)), false);
    let value = [b'a'; 15_000];
    add("101 fields".into(), bare(&with(&GET, &[(&b"a"[..], &b"b"[..]); 101])), false);
    let halves = block(&with(&GET, &[(b"a", &value), (b"b", &value)]));
    let (first, second) = halves.split_at(16_000);
    let large = [frame(HEADERS, END_STREAM, 1, first), frame(CONTINUATION, END_HEADERS, 1, second)].concat();
    add("fields of 30 KB".into(), large, false);
    cases
}

#[test]
fn no_http2_header_list_reaches_the_origin_but_as_the_one_canonical_request_it_is() {
    let origin = Recorder::start();
    let proxy = Proxy::start(origin.address, CONFIG);
    let (cases, mut faults) = (cases(), Vec::new());
    for (number, case) in cases.iter().enumerate() {
        let mut fault = |what: String| faults.push(format!("#{number} {}\n      {what}", case.name));
        // The digits stand for as many letters: the lengths in the frames stay right.
        let outcome = exchange(proxy.listen, &numbered(&case.frames, number));
        let right = if case.served {
            outcome == Outcome::Ok
        } else {
            matches!(outcome, Outcome::Refused | Outcome::Reset | Outcome::Closed)
        };
        if !right {
            fault(format!("{outcome:?}"));
        }
        let target = format!("/{number:04}/c");
        match get(proxy.listen, &target, "X-Check: 1\r\n") {
            Ok(answer) if answer.body == body_of(&target, &authorities(&proxy)[0]).as_bytes() => {}
            other => fault(format!("afterwards {other:?}")),
        }
    }
    let authorities = authorities(&proxy);
    let stderr = proxy.stderr();
    proxy.signal("TERM");
    assert_eq!(proxy.join().code(), Some(0));
    for seen in origin.seen() {
        if seen.head().is_some_and(|head| head.one("x-check").is_some()) {
            continue;
        }
        let case = seen.case().and_then(|number| cases.get(number));
        let name = case.map_or("of no case", |case| &case.name);
        let whole = matches!(seen, super::origin::Seen::Whole(_));
        if whole && case.is_none_or(|case| !case.served) {
            faults.push(format!("{name}\n      reached the origin: {:.300?}", format!("{:?}", seen.head())));
        }
        faults.extend(seen.faults(&authorities).into_iter().map(|what| format!("{name}\n      {what}")));
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
