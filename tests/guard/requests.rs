//! What clients send: each input with its verdict.

use crate::corpus::{Case, Cuts, every_byte, passes, passes_as, refused, refused_after, run_request, waits};

/// A GET with one more field line.
macro_rules! get {
    ($line:literal) => {
        concat!("GET / HTTP/1.1\r\nHost: a\r\n", $line, "\r\n\r\n").as_bytes()
    };
}

/// A POST with these field lines and three bytes of content.
macro_rules! post {
    ($lines:literal) => {
        concat!("POST / HTTP/1.1\r\nHost: a\r\n", $lines, "\r\n\r\nabc").as_bytes()
    };
}

/// A GET of this target.
macro_rules! target {
    ($target:literal) => {
        concat!("GET ", $target, " HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()
    };
}

/// A GET with this Host.
macro_rules! host {
    ($host:literal) => {
        concat!("GET / HTTP/1.1\r\nHost: ", $host, "\r\n\r\n").as_bytes()
    };
}

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

fn whole() -> Vec<Case> {
    vec![
        passes(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        passes(b"GET / HTTP/1.0\r\n\r\n"),
        passes(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"),
        passes(b"get / HTTP/1.1\r\nHost: a\r\n\r\n"),
        passes(b"M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n"),
        passes(b"GET / HTTP/1.1\r\nHOST: a\r\n\r\n"),
        passes(b"GET / HTTP/1.1\r\nHost:a\r\n\r\n"),
        passes(b"GET / HTTP/1.1\r\nHost:\t a \t\r\n\r\n"),
        passes(get!("X-Empty:")),
        passes(get!("X-Tab: a\tb")),
        passes(get!("X-Colon: a:b::c")),
        passes(get!("X-Quote: \"a, b\"; c='d'")),
        passes(b"GET / HTTP/1.1\r\nHost: a\r\nX-Utf8: caf\xc3\xa9\r\n\r\n"),
        passes(b"GET / HTTP/1.1\r\nHost: a\r\nX-Latin1: caf\xe9\r\n\r\n"),
        passes(get!("!#$%&'*+-.^_`|~: token")),
        passes(get!("Accept: a\r\nAccept: b\r\nAccept: a")),
        passes(get!("Connection: content-length")),
        passes(get!("Connection: close")),
        passes(get!("Expect: 100-continue")),
        passes(get!("Expect: 100-CONTINUE")),
        passes(b"GET / HTTP/1.0\r\nExpect: a miracle\r\n\r\n"),
        // one empty line before a request is tolerated and swallowed, before each of them
        passes_as(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        passes_as(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nxGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        // pipelining
        passes(
            b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\nGET /3 HTTP/1.0\r\n\r\n",
        ),
        passes(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nGETGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        // lengths
        passes(post!("Content-Length: 3")),
        passes(post!("content-length:3")),
        passes(post!("Content-Length:\t3 ")),
        passes(post!("Content-Length: 0003")),
        passes(post!("Connection: content-length\r\nContent-Length: 3")),
        passes(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
        passes(b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc"),
        passes(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
        passes(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\nabc"),
        // still to come
        waits(b"", b"\r"),
        waits(b"", b"G"),
        waits(b"", b"GET / HTTP/1.1\r\n"),
        waits(b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r"),
        waits(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /2 HTTP/1.1\r\nHost: a\r\n"),
        // an upgrade holds back what follows until its answer decides; its content is framed as ever
        passes(get!("Upgrade: websocket\r\nConnection: Upgrade")),
        waits(get!("Upgrade: websocket"), b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"),
        waits(get!("Connection: Upgrade\r\nUpgrade: h2c"), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        waits(
            b"POST / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\nabc",
            b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        passes(b"GET / HTTP/1.0\r\nUpgrade: x\r\n\r\nGET /2 HTTP/1.0\r\n\r\n"),
    ]
}

fn chunked() -> Vec<Case> {
    let ok = |body: &str| passes(format!("{CHUNKED}{body}").into_bytes());
    let bad = |reason, good: &str, rest: &str| refused_after(400, reason, format!("{CHUNKED}{good}"), rest);
    let long = |n: usize| "x".repeat(n);
    vec![
        ok("3\r\nabc\r\n0\r\n\r\n"),
        ok("0\r\n\r\n"),
        ok("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"),
        ok("0000000000000003\r\nabc\r\n0\r\n\r\n"),
        ok("3\r\nabc\r\n0000\r\n\r\n"),
        ok("2\r\n\r\n\r\n0\r\n\r\n"),
        ok("3;a=b\r\nabc\r\n0;c\r\n\r\n"),
        ok("3;a=\"b\"\r\nabc\r\n0\r\n\r\n"),
        ok(&format!("3;{}\r\nabc\r\n0\r\n\r\n", long(255))),
        ok("0\r\nX-Trailer: 1\r\nHost: evil\r\nContent-Length: 5\r\n\r\n"),
        ok("0\r\nX-Empty:\r\n\r\n"),
        ok("0\r\nX-Tab: a\tb\r\n\r\n"),
        ok("3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ok("3\r\nab"),
        ok("3"),
        ok("7fffffffffffffff\r\nabc"),
        bad("chunk-size", "", "\r\n"),
        bad("chunk-size", "", ";a\r\n"),
        bad("chunk-size", "", " 3\r\nabc\r\n0\r\n\r\n"),
        bad("chunk-size", "0", "x3\r\nabc\r\n0\r\n\r\n"),
        bad("chunk-size", "", "+3\r\nabc\r\n0\r\n\r\n"),
        bad("chunk-size", "", "-1\r\nabc\r\n0\r\n\r\n"),
        bad("chunk-size", "3", " \r\nabc\r\n0\r\n\r\n"),
        bad("chunk-size", "3", "\t;a\r\nabc\r\n0\r\n\r\n"),
        bad("chunk-size", "3", "_\r\nabc\r\n0\r\n\r\n"),
        bad("chunk-size", "3", "\0\r\nabc\r\n0\r\n\r\n"),
        bad("chunk-size", "3", "\nabc\r\n0\r\n\r\n"),
        bad("chunk-size", "", "g\r\n"),
        bad("chunk-size", "fffffffffffffff", "f\r\nabc"),
        bad("chunk-size", "800000000000000", "0\r\nabc"),
        bad("chunk-size", "fffffffffffffff", "ff\r\nabc"),
        bad("chunk-size", "0000000000000000", "3\r\nabc"),
        bad("bare-cr", "3\r", "abc\r\n0\r\n\r\n"),
        bad("bare-cr", "3\r", "\r\nabc\r\n0\r\n\r\n"),
        bad("chunk-end", "3\r\nabc", "d\r\n0\r\n\r\n"),
        bad("chunk-end", "3\r\nabc", "\n0\r\n\r\n"),
        bad("chunk-end", "3\r\nabc", "0\r\n\r\n"),
        bad("chunk-end", "3\r\nabc\r", "\r\n0\r\n\r\n"),
        bad("chunk-end", "3\r\nabc\r", "0\r\n\r\n"),
        bad("chunk-extension", "3;", " a=b\r\nabc\r\n0\r\n\r\n"),
        bad("chunk-extension", "3;a", "\0b\r\nabc\r\n0\r\n\r\n"),
        bad("chunk-extension", "3;a", "\nabc\r\n0\r\n\r\n"),
        bad("chunk-extension", "3;a", "\x7f\r\nabc\r\n0\r\n\r\n"),
        bad("chunk-extension", &format!("3;{}", long(255)), "x\r\nabc\r\n0\r\n\r\n"),
        bad("chunk-extension", &format!("1;{}\r\na\r\n1;{}", long(200), long(54)), "x\r\na\r\n0\r\n\r\n"),
        bad("bare-cr", "3;a\r", "b\r\nabc\r\n0\r\n\r\n"),
        bad("bare-cr", "0\r\n\r", "x"),
        bad("bare-lf", "0\r\n", "\n"),
        bad("bare-lf", "0\r\nX: a", "\n\r\n"),
        bad("bare-lf", "0\r\nX", "\n\r\n"),
        bad("bare-cr", "0\r\nX: a\r", "b\r\n\r\n"),
        bad("control-byte", "0\r\nX: a", "\0\r\n\r\n"),
        bad("control-byte", "0\r\nX: a", "\x7f\r\n\r\n"),
        bad("fold", "0\r\n", " folded: a\r\n\r\n"),
        bad("fold", "0\r\nX: a\r\n", "\tb\r\n\r\n"),
        bad("space-before-colon", "0\r\nX", " : a\r\n\r\n"),
        bad("missing-colon", "0\r\nX", "\r\n\r\n"),
        bad("field-name", "0\r\n", ": a\r\n\r\n"),
        bad("field-name", "0\r\nX", "@: a\r\n\r\n"),
        bad("field-name", "0\r\n", "\0: a\r\n\r\n"),
        refused_after(
            431,
            "too-many-fields",
            format!("{CHUNKED}0\r\n{}", "X: a\r\n".repeat(100)),
            "X: a\r\n\r\n",
        ),
        refused_after(
            431,
            "fields-too-large",
            format!("{CHUNKED}0\r\nX:{}", long(16 * 1024 - 2)),
            "x\r\n\r\n",
        ),
        // after the end of a chunked body, the next head is judged as any other
        refused_after(400, "method", format!("{CHUNKED}0\r\n\r\n"), "@ / HTTP/1.1\r\n\r\n"),
    ]
}

fn request_lines() -> Vec<Case> {
    vec![
        refused(400, "request-line", b"GET /\r\n\r\n"),
        refused(400, "request-line", b"GET\r\n\r\n"),
        refused(400, "request-line", b"GET / \r\nHost: a\r\n\r\n"),
        refused(400, "request-line", b"GET HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "request-line", b"GET  HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "request-line", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "request-line", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "request-line", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
        refused(400, "request-line", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "request-line", b"GET / http/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "request-line", b"GET / HTTP/1\r\nHost: a\r\n\r\n"),
        refused(400, "request-line", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
        refused(400, "request-line", b"GET / HTTP/11.1\r\nHost: a\r\n\r\n"),
        refused(400, "request-line", b"GET / HTTP/01.1\r\nHost: a\r\n\r\n"),
        refused(400, "request-line", b"GET / HTTP/1,1\r\nHost: a\r\n\r\n"),
        refused(400, "request-line", b"GET / HTTP/-1.1\r\nHost: a\r\n\r\n"),
        refused(400, "request-line", b"GET / HTTPS/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "request-line", b"GET / ICY/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "method", b"GET\t/\tHTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "request-line", b"GET /\tHTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "bare-cr", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"),
        refused(400, "bare-cr", b"GET /\rHTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "bare-lf", b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
        refused(400, "bare-lf", b"GET / HTTP/1.1\nHost: a\n\n"),
        refused(505, "version", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        refused(505, "version", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        refused(505, "version", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
        refused(505, "version", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
        refused(505, "version", b"GET / HTTP/3.0\r\nHost: a\r\n\r\n"),
        refused(505, "version", b"GET / HTTP/9.9\r\nHost: a\r\n\r\n"),
        refused(400, "method", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "method", b"\tGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "method", b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "method", b"GET: / HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "method", b"\"GET\" / HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "method", b"G\xc3\x89T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "method", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        refused(400, "method", b"\0"),
        refused(400, "method", b"THIS-METHOD-HAS-MORE-THAN-32-BYTES / HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "control-byte", b"G\0T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "bare-cr", b"GET\r/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(405, "connect", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
        refused(405, "connect", b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "empty-line", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "bare-lf", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "bare-lf", b"\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "bare-cr", b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused_after(
            400,
            "method",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        refused_after(
            400,
            "request-line",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            b"dGET /\r\n\r\n",
        ),
    ]
}

fn targets() -> Vec<Case> {
    vec![
        passes(target!("/a/b;c=d,e:f@g!$&'()*+=~-._")),
        passes(target!("//a/../b/./%2f%5c%00")),
        passes(target!("/a[0]?b[1]=2")),
        passes(target!("/?")),
        passes(target!("/?a={b}|c&d=/?:@")),
        passes(target!("/%")),
        passes(target!("http://a")),
        passes(target!("http://a/b?c")),
        passes(target!("HTTPS://A:443?c={d}")),
        passes(target!("http://[::1]:8000/")),
        passes(target!("http://127.0.0.1/")),
        passes(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "target", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "target", b"OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "target", target!("a")),
        refused(400, "target", target!("a:80")),
        refused(400, "target", target!("?a")),
        refused(400, "target", target!("\\a")),
        refused(400, "target", target!("/a#b")),
        refused(400, "target", target!("/a?b#c")),
        refused(400, "target", target!("#")),
        refused(400, "target", target!("/a\\b")),
        refused(400, "target", target!("/a?b\\c")),
        refused(400, "target", target!("/a<b")),
        refused(400, "target", target!("/a?b>c")),
        refused(400, "target", target!("/a\"b")),
        refused(400, "target", target!("/a?b=\"c\"")),
        refused(400, "target", target!("/a^b")),
        refused(400, "target", target!("/a?b^c")),
        refused(400, "target", target!("/a`b")),
        refused(400, "target", target!("/a{b}")),
        refused(400, "target", target!("/a|b")),
        refused(400, "target", b"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "target", b"GET /?caf\xe9 HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "control-byte", b"GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "control-byte", b"GET /a\x7fb HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "control-byte", b"GET /a\x1bb HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "target", b"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(400, "target", target!("http:///a")),
        refused(400, "target", target!("http://")),
        refused(400, "target", target!("http:a")),
        refused(400, "target", target!("http://u:p@a/")),
        refused(400, "target", target!("http://a@b/")),
        refused(400, "target", target!("http://a:b/")),
        refused(400, "target", target!("http://a:65536/")),
        refused(400, "target", target!("http://a#b")),
        refused(400, "target", target!("http://a/{b}")),
        refused(400, "target", target!("ftp://a/b")),
        refused(400, "target", target!("file:///etc/passwd")),
        refused(400, "target", target!("javascript:alert(1)")),
    ]
}

fn hosts() -> Vec<Case> {
    vec![
        passes(host!("api.example.com")),
        passes(host!("API.Example.COM.")),
        passes(host!("my_service:8000")),
        passes(host!("127.0.0.1:65535")),
        passes(host!("[::1]")),
        passes(host!("[2001:db8::1]:443")),
        passes(host!("a:")),
        refused(400, "missing-host", b"GET / HTTP/1.1\r\n\r\n"),
        refused(400, "missing-host", b"GET http://a/ HTTP/1.1\r\nX-Host: a\r\n\r\n"),
        refused(400, "repeated-host", host!("a\r\nHost: a")),
        refused(400, "repeated-host", host!("a\r\nhost: b")),
        refused(400, "repeated-host", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
        refused(400, "host", host!("")),
        refused(400, "host", host!(":80")),
        refused(400, "host", host!("a, b")),
        refused(400, "host", host!("a b")),
        refused(400, "host", host!("a/b")),
        refused(400, "host", host!("a\\b")),
        refused(400, "host", host!("a?b")),
        refused(400, "host", host!("a#b")),
        refused(400, "host", host!("u@a")),
        refused(400, "host", host!("a%00")),
        refused(400, "host", host!("a:80:80")),
        refused(400, "host", host!("a:-1")),
        refused(400, "host", host!("a:99999")),
        refused(400, "host", host!("a:080808")),
        refused(400, "host", host!("http://a")),
        refused(400, "host", host!("[::1")),
        refused(400, "host", host!("[]")),
        refused(400, "host", host!("[::1]a")),
        refused(400, "host", host!("::1")),
        refused(400, "host", host!("a\"")),
        refused(400, "host", host!("<script>")),
        refused(400, "host", b"GET / HTTP/1.1\r\nHost: b\xc3\xbccher.example\r\n\r\n"),
        refused(400, "control-byte", b"GET / HTTP/1.1\r\nHost: a\0\r\n\r\n"),
    ]
}

fn fields() -> Vec<Case> {
    vec![
        refused(400, "space-before-colon", get!("X : a")),
        refused(400, "space-before-colon", get!("X\t: a")),
        refused(400, "space-before-colon", get!("X  \t: a")),
        refused(400, "space-before-colon", post!("Content-Length : 3")),
        refused(400, "space-before-colon", post!("Transfer-Encoding : chunked")),
        refused(400, "space-before-colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        refused(400, "fold", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        refused(400, "fold", b"GET / HTTP/1.1\r\n\tHost: a\r\n\r\n"),
        refused(400, "fold", get!("X: a\r\n b")),
        refused(400, "fold", get!("X: a\r\n\tb")),
        refused(400, "fold", get!("X: a\r\n ")),
        refused(400, "fold", get!(" : a")),
        refused(400, "transfer-coding", post!("Transfer-Encoding:\r\n chunked")),
        refused(400, "fold", post!("Content-Length: 3\r\n Transfer-Encoding: chunked")),
        refused(400, "missing-colon", get!("X")),
        refused(400, "missing-colon", get!("X a")),
        refused(400, "missing-colon", get!("GET / HTTP/1.1")),
        refused(400, "field-name", get!(": a")),
        refused(400, "field-name", get!("X Y: a")),
        refused(400, "field-name", get!("X@Y: a")),
        refused(400, "field-name", get!("(X): a")),
        refused(400, "field-name", get!("\"X\": a")),
        refused(400, "field-name", get!("X[]: a")),
        refused(400, "field-name", b"GET / HTTP/1.1\r\nHost: a\r\nX\xc3\xa9: a\r\n\r\n"),
        refused(400, "field-name", b"GET / HTTP/1.1\r\nHost: a\r\n\xa0Transfer-Encoding: chunked\r\n\r\n"),
        refused(400, "control-byte", get!("X\0: a")),
        refused(400, "control-byte", get!("\0X: a")),
        refused(400, "control-byte", get!("\x0bX: a")),
        refused(400, "control-byte", get!("X\x7f: a")),
        refused(400, "control-byte", get!("X: a\0b")),
        refused(400, "control-byte", get!("X: a\x01b")),
        refused(400, "control-byte", get!("X: a\x08b")),
        refused(400, "control-byte", get!("X: a\x0bb")),
        refused(400, "control-byte", get!("X: a\x0cb")),
        refused(400, "control-byte", get!("X: a\x1fb")),
        refused(400, "control-byte", get!("X: a\x7fb")),
        refused(400, "bare-cr", get!("X: a\rb")),
        refused(400, "bare-cr", get!("X: a\r")),
        refused(400, "bare-cr", get!("X: a\rTransfer-Encoding: chunked")),
        refused(400, "bare-cr", get!("X\r: a")),
        refused(400, "bare-cr", get!("\rX: a")),
        refused(400, "bare-lf", get!("X: a\nY: b")),
        refused(400, "bare-lf", get!("X: a\n\n")),
        refused(400, "bare-lf", b"GET / HTTP/1.1\r\nHost: a\n\r\n"),
        refused(400, "bare-lf", b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
        refused(417, "expectation", get!("Expect: 200-ok")),
        refused(417, "expectation", get!("Expect:")),
        refused(417, "expectation", get!("Expect: 100-continue, x")),
        refused(417, "expectation", get!("Expect: 100-continue\r\nExpect: x")),
    ]
}

fn framing() -> Vec<Case> {
    vec![
        refused(400, "length-and-coding", post!("Content-Length: 3\r\nTransfer-Encoding: chunked")),
        refused(400, "length-and-coding", post!("Transfer-Encoding: chunked\r\nContent-Length: 3")),
        refused(400, "length-and-coding", post!("Transfer-Encoding: chunked\r\nContent-Length: 0")),
        refused(
            400,
            "length-and-coding",
            b"POST / HTTP/1.0\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        refused(400, "transfer-coding", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        refused(400, "transfer-coding", post!("Transfer-Encoding:")),
        refused(400, "transfer-coding", post!("Transfer-Encoding: xchunked")),
        refused(400, "transfer-coding", post!("Transfer-Encoding: chunkedx")),
        refused(400, "transfer-coding", post!("Transfer-Encoding: ,chunked")),
        refused(400, "transfer-coding", post!("Transfer-Encoding: chunked,")),
        refused(400, "transfer-coding", post!("Transfer-Encoding: chunked, chunked")),
        refused(400, "transfer-coding", post!("Transfer-Encoding: gzip, chunked")),
        refused(400, "transfer-coding", post!("Transfer-Encoding: chunked, gzip")),
        refused(400, "transfer-coding", post!("Transfer-Encoding: gzip")),
        refused(400, "transfer-coding", post!("Transfer-Encoding: identity")),
        refused(400, "transfer-coding", post!("Transfer-Encoding: chunked, identity")),
        refused(400, "transfer-coding", post!("Transfer-Encoding: chunked;a=b")),
        refused(400, "transfer-coding", post!("Transfer-Encoding: \"chunked\"")),
        refused(400, "transfer-coding", post!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")),
        refused(400, "transfer-coding", post!("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked")),
        refused(400, "transfer-coding", post!("Transfer-Encoding: chunked\r\nTransfer-Encoding: x")),
        refused(400, "control-byte", post!("Transfer-Encoding: \x0bchunked")),
        refused(400, "control-byte", post!("Transfer-Encoding: chunked\0")),
        refused(400, "bare-cr", post!("Transfer-Encoding: chunked\r\r\nX: a")),
        refused(400, "field-name", post!("Transfer Encoding: chunked")),
        refused(400, "content-length", post!("Content-Length:")),
        refused(400, "content-length", post!("Content-Length: +3")),
        refused(400, "content-length", post!("Content-Length: -0")),
        refused(400, "content-length", post!("Content-Length: 0x3")),
        refused(400, "content-length", post!("Content-Length: 0_3")),
        refused(400, "content-length", post!("Content-Length: 3 4")),
        refused(400, "content-length", post!("Content-Length: 3, 4")),
        refused(400, "content-length", post!("Content-Length: 3, 3")),
        refused(400, "content-length", post!("Content-Length: ,3")),
        refused(400, "content-length", post!("Content-Length: 3;")),
        refused(400, "content-length", post!("Content-Length: 3.0")),
        refused(400, "content-length", post!("Content-Length: 3e0")),
        refused(400, "content-length", post!("Content-Length: three")),
        refused(400, "content-length", post!("Content-Length: 9223372036854775808")),
        refused(400, "content-length", post!("Content-Length: 18446744073709551615")),
        refused(400, "content-length", post!("Content-Length: 18446744073709551619")),
        refused(400, "content-length", post!("Content-Length: 99999999999999999999999999")),
        refused(
            400,
            "content-length",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ٣\r\n\r\nabc".as_bytes(),
        ),
        refused(400, "control-byte", post!("Content-Length: 3\0")),
        refused(400, "repeated-content-length", post!("Content-Length: 3\r\nContent-Length: 4")),
        refused(400, "repeated-content-length", post!("Content-Length: 3\r\nContent-Length: 3")),
        refused(400, "repeated-content-length", post!("Content-Length: 3\r\ncontent-length: 3")),
        // the head that follows is refused; what came before has been released
        refused_after(
            400,
            "content-length",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            post!("Content-Length: +3"),
        ),
    ]
}

fn limits() -> Vec<Case> {
    let with_target =
        |n: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(n - 1)).into_bytes();
    let with_fields =
        |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: a\r\n".repeat(n - 1)).into_bytes();
    // `Host: a` takes 9 bytes with its line end, `X: ` 5, the empty line 2.
    let with_bytes =
        |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(n - 16)).into_bytes();
    vec![
        passes(with_target(8 * 1024)),
        refused(414, "target-too-long", with_target(8 * 1024 + 1)),
        refused(414, "target-too-long", with_target(100_000)),
        refused(414, "target-too-long", vec![b'x'; 9_000]),
        passes(with_fields(100)),
        refused(431, "too-many-fields", with_fields(101)),
        passes(with_bytes(16 * 1024)),
        refused(431, "fields-too-large", with_bytes(16 * 1024 + 1)),
        refused(431, "fields-too-large", with_bytes(100_000)),
        refused(431, "fields-too-large", format!("GET / HTTP/1.1\r\n{}", "x".repeat(20_000)).into_bytes()),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    [whole(), chunked(), request_lines(), targets(), hosts(), fields(), framing(), limits()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn every_request_gets_its_verdict_whole_and_byte_by_byte_and_in_pieces() {
    let mut cuts = Cuts(1);
    for Case { input, verdict } in cases() {
        let name = input[..input.len().min(300)].escape_ascii().to_string();
        assert_eq!(run_request(&input, &[]), verdict, "whole: {name}");
        assert_eq!(run_request(&input, &every_byte(input.len())), verdict, "byte by byte: {name}");
        for _ in 0..10 {
            let cuts = cuts.next(input.len());
            assert_eq!(run_request(&input, &cuts), verdict, "cut at {cuts:?}: {name}");
        }
    }
}

#[test]
fn the_corpus_holds_more_than_two_hundred_requests() {
    assert!(cases().len() > 200, "{}", cases().len());
}
