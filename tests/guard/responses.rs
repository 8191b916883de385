//! What origins send: each input with its verdict.

use larder::guard::{Asked, Framing, RESPONSE_FIELDS_MAX, ResponseGuard, Violation};

use crate::corpus::{Case, Cuts, Verdict, every_byte, passes, refused, refused_after, run_response, waits};

/// A 200 with these field lines and three bytes of content.
macro_rules! ok {
    ($lines:literal) => {
        concat!("HTTP/1.1 200 OK\r\n", $lines, "\r\n\r\nabc").as_bytes()
    };
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const INTERIM: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";

/// To one request for content.
fn to_content() -> Vec<Case> {
    vec![
        passes(ok!("Content-Length: 3")),
        passes(ok!("content-length:3")),
        passes(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        passes(b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"),
        passes(b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"),
        passes(b"HTTP/1.1 200 Tr\xc3\xa8s bien\tfait\r\nContent-Length: 0\r\n\r\n"),
        passes(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
        passes(b"HTTP/1.0 200 OK\r\n\r\nuntil the end"),
        passes(b"HTTP/1.1 200 OK\r\n\r\nuntil the end\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
        passes(b"HTTP/1.1 204 No Content\r\n\r\n"),
        passes(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
        passes(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n"),
        passes(b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
        passes(ok!("Content-Length: 3\r\nSet-Cookie: a\r\nSet-Cookie: b")),
        passes(ok!("Content-Length: 3\r\nX-Empty:\r\nX-Tab: a\tb")),
        passes(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: caf\xe9\r\n\r\n"),
        passes(format!("{CHUNKED}3\r\nabc\r\n0\r\n\r\n").into_bytes()),
        passes(format!("{CHUNKED}3;a=b\r\nabc\r\n0\r\nX-Checksum: 1\r\n\r\n").into_bytes()),
        passes(format!("{CHUNKED}3\r\nab").into_bytes()),
        passes(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        passes([INTERIM.repeat(16).as_bytes(), ok!("Content-Length: 3")].concat()),
        passes(b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\nHTTP/1.1 204 OK\r\n\r\n"),
        waits(b"", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"),
        waits(b"", b"H"),
        waits(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 2"),
        refused(502, "status-line", b"\r\nHTTP/1.1 200 OK\r\n\r\n"),
        refused(502, "status-line", b"<html>"),
        refused(502, "status-line", b"ICY 200 OK\r\n\r\n"),
        refused(502, "status-line", b"HTTP/2 200\r\n\r\n"),
        refused(502, "status-line", b"HTTP/2.0 200 OK\r\n\r\n"),
        refused(502, "status-line", b"HTTP/1.2 200 OK\r\n\r\n"),
        refused(502, "status-line", b"HTTP/1.1  200 OK\r\n\r\n"),
        refused(502, "status-line", b"HTTP/1.1 20 OK\r\n\r\n"),
        refused(502, "status-line", b"HTTP/1.1 2000 OK\r\n\r\n"),
        refused(502, "status-line", b"HTTP/1.1 200OK\r\n\r\n"),
        refused(502, "status-line", b"HTTP/1.1 099 OK\r\n\r\n"),
        refused(502, "status-line", b"HTTP/1.1 +20 OK\r\n\r\n"),
        refused(502, "status-line", b"HTTP/1.1\r\n\r\n"),
        refused(502, "status-line", b"HTTP 200 OK\r\n\r\n"),
        refused(400, "control-byte", b"HTTP/1.1 200 O\0K\r\n\r\n"),
        refused(400, "control-byte", b"HTTP/1.1\t200 OK\x01\r\n\r\n"),
        refused(400, "bare-cr", b"HTTP/1.1 200 O\rK\r\n\r\n"),
        refused(400, "bare-lf", b"HTTP/1.1 200 OK\n\n"),
        refused(400, "bare-lf", b"HTTP/1.1 200 OK\r\nX: a\nContent-Length: 3\r\n\r\nabc"),
        refused(400, "bare-lf", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\nabc"),
        refused(400, "bare-cr", ok!("X: a\rSet-Cookie: evil\r\nContent-Length: 3")),
        refused(400, "control-byte", ok!("X: a\0\r\nContent-Length: 3")),
        refused(400, "control-byte", ok!("X\0: a\r\nContent-Length: 3")),
        refused(400, "control-byte", ok!("X: \x1b[31m\r\nContent-Length: 3")),
        refused(400, "fold", ok!(" X: a\r\nContent-Length: 3")),
        refused(400, "fold", ok!("X: a\r\n b\r\nContent-Length: 3")),
        refused(400, "space-before-colon", ok!("Content-Length : 3")),
        refused(400, "space-before-colon", ok!("X\t: 3")),
        refused(400, "missing-colon", ok!("Content-Length 3")),
        refused(400, "field-name", ok!(": a")),
        refused(400, "field-name", ok!("X Y: a")),
        refused(400, "length-and-coding", ok!("Content-Length: 3\r\nTransfer-Encoding: chunked")),
        refused(400, "length-and-coding", ok!("Transfer-Encoding: chunked\r\nContent-Length: 3")),
        refused(400, "transfer-coding", ok!("Transfer-Encoding: gzip, chunked")),
        refused(400, "transfer-coding", ok!("Transfer-Encoding: gzip")),
        refused(400, "transfer-coding", ok!("Transfer-Encoding: identity")),
        refused(400, "transfer-coding", ok!("Transfer-Encoding: chunked, chunked")),
        refused(400, "transfer-coding", ok!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")),
        refused(400, "transfer-coding", ok!("Transfer-Encoding: \"chunked\"")),
        refused(400, "transfer-coding", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        refused(400, "repeated-content-length", ok!("Content-Length: 3\r\nContent-Length: 3")),
        refused(400, "repeated-content-length", ok!("Content-Length: 3\r\nContent-Length: 4")),
        refused(400, "content-length", ok!("Content-Length: 3, 3")),
        refused(400, "content-length", ok!("Content-Length: +3")),
        refused(400, "content-length", ok!("Content-Length: -1")),
        refused(400, "content-length", ok!("Content-Length: 0x3")),
        refused(400, "content-length", ok!("Content-Length:")),
        refused(400, "content-length", ok!("Content-Length: 18446744073709551619")),
        refused(502, "body-forbidden", b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc"),
        refused(
            502,
            "body-forbidden",
            b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        refused(502, "body-forbidden", b"HTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\n\r\nabc"),
        refused(502, "body-forbidden", b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n"),
        refused(502, "unasked-upgrade", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
        refused_after(502, "interim-flood", INTERIM.repeat(16), INTERIM),
        refused_after(502, "unsolicited", b"HTTP/1.1 204 No Content\r\n\r\n", b"abc"),
        refused_after(502, "unsolicited", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", b"abc"),
        refused_after(502, "unsolicited", ok!("Content-Length: 3"), b"d"),
        refused_after(502, "unsolicited", ok!("Content-Length: 3"), b"\r\n"),
        refused_after(502, "unsolicited", ok!("Content-Length: 3"), ok!("Content-Length: 3")),
        refused_after(502, "unsolicited", format!("{CHUNKED}0\r\n\r\n"), b"HTTP/1.1 200 OK\r\n\r\n"),
        refused_after(400, "chunk-size", CHUNKED, b"x"),
        refused_after(400, "chunk-size", format!("{CHUNKED}0"), b"x3\r\nabc\r\n0\r\n\r\n"),
        refused_after(400, "chunk-size", format!("{CHUNKED}3"), b" \r\nabc\r\n0\r\n\r\n"),
        refused_after(400, "chunk-size", format!("{CHUNKED}3"), b"\nabc\n0\n\n"),
        refused_after(400, "chunk-size", format!("{CHUNKED}fffffffffffffff"), b"f\r\nabc"),
        refused_after(400, "chunk-end", format!("{CHUNKED}3\r\nabc"), b"d\r\n0\r\n\r\n"),
        refused_after(400, "chunk-extension", format!("{CHUNKED}3;a"), b"\0\r\nabc\r\n0\r\n\r\n"),
        refused_after(400, "control-byte", format!("{CHUNKED}0\r\nX: "), b"\0\r\n\r\n"),
        passes(format!("HTTP/1.1 204 OK\r\n{}\r\n", "X: a\r\n".repeat(RESPONSE_FIELDS_MAX)).into_bytes()),
        refused(
            431,
            "too-many-fields",
            format!("HTTP/1.1 204 OK\r\n{}\r\n", "X: a\r\n".repeat(RESPONSE_FIELDS_MAX + 1)).into_bytes(),
        ),
        passes(format!("HTTP/1.1 204 OK\r\nX: {}\r\n\r\n", "x".repeat(65_536 - 24)).into_bytes()),
        refused(
            431,
            "fields-too-large",
            format!("HTTP/1.1 204 OK\r\nX: {}\r\n\r\n", "x".repeat(65_536 - 23)).into_bytes(),
        ),
        refused(431, "fields-too-large", vec![b'H'; 70_000]),
    ]
}

/// To one HEAD.
fn to_head() -> Vec<Case> {
    vec![
        passes(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"),
        passes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        passes(b"HTTP/1.1 200 OK\r\n\r\n"),
        refused_after(502, "unsolicited", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", b"abc"),
        refused_after(
            502,
            "unsolicited",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"0\r\n\r\n",
        ),
        refused(400, "length-and-coding", ok!("Content-Length: 3\r\nTransfer-Encoding: chunked")),
    ]
}

/// To one request that asked to upgrade.
fn to_upgrade() -> Vec<Case> {
    vec![
        passes(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x00\x01not HTTP\n"),
        passes(ok!("Content-Length: 3")),
        refused_after(502, "unsolicited", ok!("Content-Length: 3"), b"\x81\x01a"),
        refused(502, "body-forbidden", b"HTTP/1.1 101 Switching Protocols\r\nContent-Length: 3\r\n\r\nabc"),
    ]
}

/// To nobody.
fn unasked() -> Vec<Case> {
    vec![
        refused(502, "unsolicited", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        refused(502, "unsolicited", b"HTTP/1.1 408 Request Timeout\r\n\r\n"),
        refused(502, "unsolicited", b"\r\n"),
    ]
}

/// To one request for content, leniently framed: what differs from the strict verdict.
fn leniently() -> Vec<Case> {
    const LAST: &str = "Connection: close\r\n\r\n";
    vec![
        passes(ok!("Transfer-Encoding: arizqhyp")),
        passes(ok!("transfer-encoding:arizqhyp")),
        passes(ok!("Transfer-Encoding: identity")),
        passes(ok!("Transfer-Encoding: arizqhyp, gzipped;q=\"1\"")),
        passes(ok!("Transfer-Encoding: identity\r\nTransfer-Encoding: arizqhyp")),
        passes(ok!("Transfer-Encoding:")),
        passes(ok!("Transfer-Encoding: chunk")),
        // It ends with the connection, whatever it looks like.
        passes([ok!("Transfer-Encoding: arizqhyp"), ok!("Content-Length: 3")].concat()),
        passes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: arizqhyp\r\n\r\n3\r\nabc\r\n0\r\n\r\nmore"),
        passes([INTERIM.as_bytes(), ok!("Transfer-Encoding: arizqhyp")].concat()),
        // What two parsers could read differently.
        refused(400, "length-and-coding", ok!("Content-Length: 3\r\nTransfer-Encoding: arizqhyp")),
        refused(400, "length-and-coding", ok!("Transfer-Encoding: arizqhyp\r\nContent-Length: 3")),
        refused(400, "length-and-coding", ok!("Transfer-Encoding:\r\nContent-Length: 3")),
        refused(400, "length-and-coding", ok!("Content-Length: 3\r\nTransfer-Encoding: chunked")),
        refused(400, "transfer-coding", ok!("Transfer-Encoding: gzip, chunked")),
        refused(400, "transfer-coding", ok!("Transfer-Encoding: chunked, gzip")),
        refused(400, "transfer-coding", ok!("Transfer-Encoding: chunked, chunked")),
        refused(400, "transfer-coding", ok!("Transfer-Encoding: xchunked")),
        refused(400, "transfer-coding", ok!("Transfer-Encoding: \"Chunked\"")),
        refused(400, "transfer-coding", ok!("Transfer-Encoding: chunked;a=b")),
        refused(400, "transfer-coding", ok!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")),
        refused(400, "transfer-coding", ok!("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip")),
        refused(400, "transfer-coding", ok!("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked")),
        refused(400, "transfer-coding", ok!("Transfer-Encoding: chunked\r\nTransfer-Encoding:")),
        refused(400, "transfer-coding", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: arizqhyp\r\n\r\nabc"),
        refused(400, "transfer-coding", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        refused(400, "control-byte", ok!("Transfer-Encoding: \x0bchunked")),
        refused(502, "body-forbidden", b"HTTP/1.1 204 OK\r\nTransfer-Encoding: arizqhyp\r\n\r\nabc"),
        refused(502, "body-forbidden", b"HTTP/1.1 103 Hints\r\nTransfer-Encoding: arizqhyp\r\n\r\n"),
        // What would be passed on, and kept, as content that it is not.
        refused(400, "transfer-coding", ok!("Transfer-Encoding: gzip")),
        refused(400, "transfer-coding", ok!("Transfer-Encoding: X-GZip")),
        refused(400, "transfer-coding", ok!("Transfer-Encoding: arizqhyp , deflate;q=\"1\"")),
        refused(400, "transfer-coding", ok!("Transfer-Encoding: identity\r\nTransfer-Encoding: compress")),
        // Dropped, with all that came behind.
        refused_after(502, "unsolicited", ok!("Content-Length: 3"), b"d"),
        refused_after(502, "unsolicited", ok!("Content-Length: 3"), vec![b'd'; 1000]),
        refused_after(502, "unsolicited", ok!("Content-Length: 3"), b"\r\n"),
        refused_after(502, "unsolicited", ok!("Content-Length: 3"), ok!("Content-Length: 3")),
        refused_after(502, "unsolicited", ok!("Content-Length: 3"), [ok!("Content-Length: 3"); 3].concat()),
        refused_after(502, "unsolicited", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"abc"),
        refused_after(502, "unsolicited", b"HTTP/1.1 204 No Content\r\n\r\n", b"abc"),
        refused_after(502, "unsolicited", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", b"abc"),
        refused_after(502, "unsolicited", b"HTTP/1.1 304 OK\r\nTransfer-Encoding: arizqhyp\r\n\r\n", b"abc"),
        refused_after(502, "unsolicited", format!("{CHUNKED}3\r\nabc\r\n0\r\n\r\n"), LAST),
        refused_after(502, "unsolicited", [INTERIM.as_bytes(), ok!("Content-Length: 3")].concat(), b"d"),
    ]
}

fn all() -> [(&'static [Asked], Vec<Case>); 4] {
    [
        (&[Asked::Content], to_content()),
        (&[Asked::Head], to_head()),
        (&[Asked::Upgrade], to_upgrade()),
        (&[], unasked()),
    ]
}

fn check(framing: Framing, asked: &[Asked], cases: Vec<Case>) {
    let mut cuts = Cuts(2);
    for Case { input, verdict } in cases {
        let name = input[..input.len().min(300)].escape_ascii().to_string();
        let whole = match verdict.clone() {
            // one read: the refusal takes all of it, but what is whole before a surplus, leniently framed
            Verdict::Refused { status, reason, .. }
                if framing == Framing::Strict || reason != "unsolicited" =>
            {
                Verdict::Refused { released: Vec::new(), status, reason }
            }
            other => other,
        };
        assert_eq!(run_response(framing, asked, &input, &[]), whole, "whole: {name}");
        let byte_by_byte = run_response(framing, asked, &input, &every_byte(input.len()));
        assert_eq!(byte_by_byte, verdict, "byte by byte: {name}");
        for _ in 0..10 {
            let cuts = cuts.next(input.len());
            let got = run_response(framing, asked, &input, &cuts);
            match (&got, &verdict) {
                (
                    Verdict::Refused { released, reason, .. },
                    Verdict::Refused { released: all, reason: due, .. },
                ) if verdict != whole => {
                    assert_eq!(reason, due, "cut at {cuts:?}: {name}");
                    assert!(all.starts_with(released), "cut at {cuts:?}: {name}");
                }
                _ => assert_eq!(got, verdict, "cut at {cuts:?}: {name}"),
            }
        }
    }
}

#[test]
fn every_response_gets_its_verdict_whole_and_byte_by_byte_and_in_pieces() {
    for (asked, cases) in all() {
        check(Framing::Strict, asked, cases);
    }
}

#[test]
fn lenient_framing_differs_in_codings_that_are_not_chunked_and_in_what_is_released_before_a_surplus() {
    check(Framing::Lenient, &[Asked::Content], leniently());
    for (asked, mut cases) in all() {
        cases.retain(|case| !matches!(case.verdict, Verdict::Refused { reason: "transfer-coding", .. }));
        check(Framing::Lenient, asked, cases);
    }
}

#[test]
fn the_corpus_holds_more_than_a_hundred_responses() {
    assert!(all().into_iter().map(|(_, cases)| cases.len()).sum::<usize>() > 100);
}

fn fed(asked: Asked, bytes: &[u8]) -> ResponseGuard {
    fed_framed(Framing::Strict, asked, bytes)
}

fn fed_framed(framing: Framing, asked: Asked, bytes: &[u8]) -> ResponseGuard {
    let mut guard = ResponseGuard::new(framing);
    guard.begin(asked);
    guard.feed(bytes).unwrap();
    guard
}

#[test]
fn an_end_is_clean_only_where_the_framing_allows_it() {
    let unanswered = Err(Violation::Unanswered);
    let truncated = Err(Violation::Truncated);
    assert_eq!(ResponseGuard::default().eof(), Ok(()));
    assert_eq!(fed(Asked::Content, b"").eof(), unanswered);
    assert_eq!(fed(Asked::Content, b"HTTP/1.1 2").eof(), truncated);
    assert_eq!(fed(Asked::Content, b"HTTP/1.1 100 Continue\r\n\r\n").eof(), truncated);
    assert_eq!(fed(Asked::Content, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab").eof(), truncated);
    assert_eq!(fed(Asked::Content, format!("{CHUNKED}3\r\nabc\r\n0\r\n").as_bytes()).eof(), truncated);
    assert_eq!(fed(Asked::Content, format!("{CHUNKED}3\r\nabc\r\n0\r\n\r\n").as_bytes()).eof(), Ok(()));
    assert_eq!(fed(Asked::Content, ok!("Content-Length: 3")).eof(), Ok(()));
    assert_eq!(fed(Asked::Content, b"HTTP/1.1 200 OK\r\n\r\nhalf of it?").eof(), Ok(()));
    assert_eq!(fed(Asked::Head, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n").eof(), Ok(()));
}

#[test]
fn a_coding_that_is_not_chunked_lasts_until_a_clean_end_and_never_into_another_response() {
    let arizqhyp = ok!("Transfer-Encoding: arizqhyp");
    let mut guard = fed_framed(Framing::Lenient, Asked::Content, arizqhyp);
    assert_eq!(guard.eof(), Ok(()));
    assert!(!guard.is_idle());
    guard.begin(Asked::Content);
    assert_eq!(guard.feed(arizqhyp), Err(Violation::Unsolicited));
    for empty in [Asked::Head, Asked::Content] {
        let status = if empty == Asked::Head { "200 OK" } else { "304 Not Modified" };
        let head = format!("HTTP/1.1 {status}\r\nTransfer-Encoding: arizqhyp\r\n\r\n");
        assert!(fed_framed(Framing::Lenient, empty, head.as_bytes()).is_idle());
    }
}

#[test]
fn a_connection_serves_one_request_after_another_but_never_two_at_once() {
    let mut guard = ResponseGuard::default();
    for asked in [Asked::Content, Asked::Head, Asked::Content] {
        guard.begin(asked);
        let response: &[u8] = if asked == Asked::Head {
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"
        } else {
            ok!("Content-Length: 3")
        };
        assert_eq!(guard.feed(response), Ok(response.len()));
        assert!(guard.is_idle());
    }
    guard.begin(Asked::Content);
    guard.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na").unwrap();
    guard.begin(Asked::Content);
    assert_eq!(guard.feed(b"bc"), Err(Violation::Unsolicited));
}
