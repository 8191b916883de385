//! Raw client inputs, each with the right answer. `NNNN` stands for the number of the case; `/NNNN/c` is a cached route.

/// One input.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) right: Right,
}

/// The right answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Right {
    /// These statuses in this order, the connection closed, and so many whole requests at the origin.
    Answers(Vec<u16>, usize),
    /// The head was good, the body is not: 400 or 431, closed; at the origin at most the beginning of a request.
    Spoilt,
    /// The client leaves in the middle: closed; nothing whole at the origin.
    Unfinished,
}

/// A complete request that must never be taken for one, where it stands inside a body.
pub(crate) const SMUGGLED: &str = "GET /NNNN/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
const CLOSE: &str = "Host: localhost\r\nConnection: close\r\n";

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    let mut table = Table(Vec::new());
    table.transfer_codings();
    table.lengths();
    table.chunks();
    table.line_ends();
    table.control_bytes();
    table.field_lines();
    table.request_lines();
    table.targets();
    table.absolute_forms();
    table.hosts();
    table.sizes();
    table.expectations();
    table.upgrades();
    table.connection_options();
    table.bodies_where_none_is_expected();
    table.claims();
    table.pipelines();
    table.other_protocols();
    table.unfinished();
    table.0
}

struct Table(Vec<Case>);

fn shown(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    if text.len() > 90 { format!("{}… ({} bytes)", &text[..80], bytes.len()) } else { text }
}

impl Table {
    fn add(&mut self, group: &str, what: &[u8], bytes: impl AsRef<[u8]>, right: Right) {
        let name = format!("{group}: {}", shown(what));
        self.0.push(Case { name, bytes: bytes.as_ref().to_vec(), right });
    }

    fn refused(&mut self, group: &str, what: &[u8], bytes: impl AsRef<[u8]>, status: u16) {
        self.add(group, what, bytes, Right::Answers(vec![status], 0));
    }

    fn served(&mut self, group: &str, what: &[u8], bytes: impl AsRef<[u8]>) {
        self.add(group, what, bytes, Right::Answers(vec![200], 1));
    }

    /// A GET of the cached route with these field lines (each with its line end), refused with `status`.
    fn get_refused(&mut self, group: &str, fields: &[u8], status: u16) {
        let bytes = [b"GET /NNNN/c HTTP/1.1\r\nHost: localhost\r\n", fields, b"\r\n"].concat();
        self.refused(group, fields, bytes, status);
    }

    fn transfer_codings(&mut self) {
        let lines: &[&[u8]] = &[
            b"Transfer-Encoding: xchunked",
            b"Transfer-Encoding: ,chunked",
            b"Transfer-Encoding: chunked,",
            b"Transfer-Encoding: chunked, chunked",
            b"Transfer-Encoding: gzip, chunked",
            b"Transfer-Encoding: chunked, gzip",
            b"Transfer-Encoding: identity, chunked",
            b"Transfer-Encoding: chunked, identity",
            b"Transfer-Encoding: chunked;a=b",
            b"Transfer-Encoding: chunked ;q=1",
            b"Transfer-Encoding: \"chunked\"",
            b"Transfer-Encoding: 'chunked'",
            b"Transfer-Encoding: identity",
            b"Transfer-Encoding: gzip",
            b"Transfer-Encoding: cow",
            b"Transfer-Encoding:",
            b"Transfer-Encoding: ",
            b"Transfer-Encoding: chunk",
            b"Transfer-Encoding: chunkedchunked",
            b"Transfer-Encoding: x chunked",
            b"Transfer-Encoding: chunked x",
            b"Transfer-Encoding: chunked\0",
            b"Transfer-Encoding: \x0bchunked",
            b"Transfer-Encoding: chunked\x0c",
            b"Transfer-Encoding: \xffchunked",
            b"Transfer-Encoding: chunked\xa0",
            b"Transfer-Encoding: chun\tked",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: chunked\r\nTransfer-encoding: cow",
            b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding : chunked",
            b"Transfer-Encoding\t: chunked",
            b"Transfer-Encoding\r\n: chunked",
            b"Transfer-Encoding:\r\n chunked",
            b"Transfer-Encoding: chunked\r\n , identity",
            b"Transfer-Encoding:\n chunked",
            b" Transfer-Encoding: chunked",
            b"Foo: bar\r\n\tTransfer-Encoding: chunked",
            b"Foo: bar\nTransfer-Encoding: chunked",
            b"Foo: bar\rTransfer-Encoding: chunked",
            b"Transfer-Encoding\0: chunked",
            b"\0Transfer-Encoding: chunked",
            b"Transfer-Encoding\x0b: chunked",
            b"Transfer-Encoding chunked",
        ];
        let body = format!("0\r\n\r\n{SMUGGLED}");
        let length = b"Content-Length: 4".as_slice();
        for line in lines {
            let post = |fields: &[&[u8]]| {
                [
                    b"POST /NNNN/c HTTP/1.1\r\nHost: localhost\r\n",
                    &fields.join(&b"\r\n"[..])[..],
                    b"\r\n\r\n",
                    body.as_bytes(),
                ]
                .concat()
            };
            self.refused("TE alone", line, post(&[line]), 400);
            self.refused("CL, TE", line, post(&[length, line]), 400);
            self.refused("TE, CL", line, post(&[line, length]), 400);
        }
        for (what, fields) in [
            ("CL.TE", format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", 5 + SMUGGLED.len())),
            ("TE.CL", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n".into()),
            ("TE with CL 0", "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n".into()),
            ("TE in capitals with CL", "TRANSFER-ENCODING: CHUNKED\r\nCONTENT-LENGTH: 5\r\n".into()),
        ] {
            for method in ["POST", "GET", "HEAD", "DELETE", "OPTIONS"] {
                let bytes = format!("{method} /NNNN/c HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{body}");
                self.refused(what, method.as_bytes(), bytes, 400);
            }
        }
        for method in ["GET", "POST"] {
            let bytes =
                format!("{method} /NNNN/c HTTP/1.0\r\n{CLOSE}Transfer-Encoding: chunked\r\n\r\n{body}");
            self.refused("TE in HTTP/1.0", method.as_bytes(), bytes, 400);
        }
        for line in
            ["transfer-encoding: chunked", "TRANSFER-ENCODING:CHUNKED", "Transfer-Encoding: \t chunked \t"]
        {
            let bytes = format!("POST /NNNN/x HTTP/1.1\r\n{CLOSE}{line}\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
            self.served("TE well spelt", line.as_bytes(), bytes);
        }
        // Another field altogether: the request has no body, and what follows is no request.
        let bytes =
            format!("POST /NNNN/x HTTP/1.1\r\nHost: localhost\r\nTransfer_Encoding: chunked\r\n\r\n{body}");
        self.add("TE", b"Transfer_Encoding", bytes, Right::Answers(vec![200, 400], 1));
    }

    fn lengths(&mut self) {
        let values: &[&[u8]] = &[
            b"+3",
            b"-0",
            b"-3",
            b"0x3",
            b"0_3",
            b"3 4",
            b"3, 4",
            b"3,3",
            b"3,",
            b",3",
            b"",
            b" ",
            b"3;",
            b"3.0",
            b"3e0",
            b"\"3\"",
            b"'3'",
            b"3a",
            b"a",
            b"3\0",
            b"\x0b3",
            b"3\x0c",
            b"\xef\xbc\x93",
            b"3\xa0",
            b"3\r\n 4",
            b"3\r\n\t",
            b"\r\n 3",
            b"9223372036854775808",
            b"18446744073709551615",
            b"18446744073709551616",
            b"18446744073709551619",
            b"99999999999999999999999999999999",
            b"NaN",
            b"3\r4",
            b"3\nContent-Length: 0",
        ];
        for value in values {
            let bytes = [
                b"POST /NNNN/c HTTP/1.1\r\nHost: localhost\r\nContent-Length: ",
                *value,
                b"\r\n\r\nabc",
                SMUGGLED.as_bytes(),
            ];
            self.refused("CL", value, bytes.concat(), 400);
        }
        for lines in [
            "Content-Length: 3\r\nContent-Length: 0\r\n",
            "Content-Length: 0\r\nContent-Length: 3\r\n",
            "Content-Length: 3\r\nContent-Length: 3\r\n",
            "Content-Length: 3\r\ncontent-length: 52\r\n",
            "Content-Length: 3\r\nFoo: bar\r\nContent-Length:\r\n",
            "Content-Length : 3\r\n",
            "Content-Length\t: 3\r\n",
            " Content-Length: 3\r\n",
            "Content-Length\0: 3\r\n",
            "Content-Length 3\r\n",
        ] {
            let bytes = format!("POST /NNNN/c HTTP/1.1\r\nHost: localhost\r\n{lines}\r\nabc{SMUGGLED}");
            self.refused("CL lines", lines.as_bytes(), bytes, 400);
        }
        for value in ["3", "003", "3 \t", "\t3", "0000000000000000003"] {
            let bytes = format!("POST /NNNN/x HTTP/1.1\r\n{CLOSE}Content-Length: {value}\r\n\r\nabc");
            self.served("CL well spelt", value.as_bytes(), bytes);
        }
        // Another field altogether, as above.
        let bytes =
            format!("POST /NNNN/x HTTP/1.1\r\nHost: localhost\r\nContent_Length: 3\r\n\r\n@bc{SMUGGLED}");
        self.add("CL", b"Content_Length", bytes, Right::Answers(vec![200, 400], 1));
    }

    fn chunks(&mut self) {
        let long = |what: &[u8], count: usize| what.repeat(count);
        let bad: &[&[u8]] = &[
            b"0x3\r\nabc\r\n0\r\n\r\n",
            b"3\nabc\r\n0\r\n\r\n",
            b"3\nabc\n0\n\n",
            b"3\rabc\r\n0\r\n\r\n",
            b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
            b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
            b"10000000000000003\r\nabc\r\n0\r\n\r\n",
            b"8000000000000000\r\nabc\r\n0\r\n\r\n",
            b"-1\r\nabc\r\n0\r\n\r\n",
            b"+3\r\nabc\r\n0\r\n\r\n",
            b"\r\nabc\r\n0\r\n\r\n",
            b" 3\r\nabc\r\n0\r\n\r\n",
            b"3 \r\nabc\r\n0\r\n\r\n",
            b"3\t\r\nabc\r\n0\r\n\r\n",
            b"g\r\nabc\r\n0\r\n\r\n",
            b"3g\r\nabc\r\n0\r\n\r\n",
            b"3,3\r\nabc\r\n0\r\n\r\n",
            b";a\r\nabc\r\n0\r\n\r\n",
            b"3;a\0b\r\nabc\r\n0\r\n\r\n",
            b"3;a\nb\r\nabc\r\n0\r\n\r\n",
            b"3;a\rb\r\nabc\r\n0\r\n\r\n",
            b"3;a\x7fb\r\nabc\r\n0\r\n\r\n",
            b"3\r\nabcd\r\n0\r\n\r\n",
            b"3\r\nab\r\n0\r\n\r\n",
            b"3\r\nabc0\r\n\r\n",
            b"3\r\nabc\n0\r\n\r\n",
            b"3\r\nabc\r0\r\n\r\n",
            b"3\r\nabc\r\n0\r\n\n\r\n",
            b"3\r\nabc\r\n0\n\r\n",
            b"3\r\nabc\r\n0\r\n fold\r\n\r\n",
            b"3\r\nabc\r\n0\r\nFoo : bar\r\n\r\n",
            b"3\r\nabc\r\n0\r\nFoo\r\n\r\n",
            b"3\r\nabc\r\n0\r\nFoo: b\0r\r\n\r\n",
            b"3\r\nabc\r\n0\r\nFoo: bar\n\r\n",
            b"3\r\nabc\r\n0\r\n: bar\r\n\r\n",
            b"3\r\nabc\r\n0\r\nFoo: a\rb\r\n\r\n",
            b"3\r\nabc\r\n\0\r\n\r\n",
            b"\0\0\0\0\r\n\r\n",
            b"\xb3\r\nabc\r\n0\r\n\r\n",
            &[b"3;", &long(b"a", 65_536)[..], b"\r\nabc\r\n0\r\n\r\n"].concat(),
            &[&long(b"0", 65_536)[..], b"3\r\nabc\r\n0\r\n\r\n"].concat(),
            &[b"3\r\nabc\r\n0\r\nFoo: ", &long(b"a", 65_536)[..], b"\r\n\r\n"].concat(),
            &[b"3\r\nabc\r\n0\r\n", &long(b"A: b\r\n", 101)[..], b"\r\n"].concat(),
            &[&long(b"1;a=b\r\na\r\n", 1_000)[..], b"0;\x01\r\n\r\n"].concat(),
        ];
        for body in bad {
            for path in ["c", "x"] {
                let head = format!(
                    "POST /NNNN/{path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                );
                self.add(
                    "chunks",
                    body,
                    [head.as_bytes(), body, SMUGGLED.as_bytes()].concat(),
                    Right::Spoilt,
                );
            }
        }
        for body in [
            "3;a=b\r\nabc\r\n0;c\r\n\r\n",
            "3;a=\"b\"\r\nabc\r\n0\r\n\r\n",
            "0003\r\nabc\r\n0000\r\n\r\n",
            "A\r\nabcdefghij\r\na\r\nabcdefghij\r\n0\r\n\r\n",
            "0\r\n\r\n",
            "3\r\nabc\r\n0\r\nHost: evil.example\r\nContent-Length: 9\r\nAuthorization: Bearer evil\r\nTransfer-Encoding: gzip\r\n\r\n",
            "3\r\nabc\r\n0\r\nX-Forwarded-Host: evil.example\r\nX-Anything: goes\r\n\r\n",
        ] {
            let fields = "Transfer-Encoding: chunked\r\nTrailer: Host, Authorization\r\nTE: trailers\r\n";
            self.served(
                "chunks",
                body.as_bytes(),
                format!("POST /NNNN/x HTTP/1.1\r\n{CLOSE}{fields}\r\n{body}"),
            );
        }
    }

    fn line_ends(&mut self) {
        for text in [
            "GET /NNNN/c HTTP/1.1\nHost: localhost\n\n",
            "GET /NNNN/c HTTP/1.1\nHost: localhost\r\n\r\n",
            "GET /NNNN/c HTTP/1.1\r\nHost: localhost\n\r\n",
            "GET /NNNN/c HTTP/1.1\r\nHost: localhost\r\n\n",
            "GET /NNNN/c HTTP/1.1\r\nHost: localhost\r\nA: b\nC: d\r\n\r\n",
            "GET /NNNN/c HTTP/1.1\rHost: localhost\r\r\n\r\n",
            "GET /NNNN/c HTTP/1.1\r\nHost: localhost\rA: b\r\n\r\n",
            "GET /NNNN/c HTTP/1.1\r\nHost: localhost\r\nA: b\r\r\n\r\n",
            "GET /NNNN/c HTTP/1.1\r\r\nHost: localhost\r\n\r\n",
            "GET /NNNN/c HTTP/1.1\r\nHost: localhost\r\n\r\r\n",
            "GET /NNNN/c HTTP/1.1\r\nHost: localhost\r\nA: b\n\nGET /NNNN/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET /NNNN/c HTTP/1.1\r\nHost: localhost\r\nA: b\r\n\tc\r\n\r\n",
            "GET /NNNN/c HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n",
            "GET /NNNN/c HTTP/1.1\r\n Host: localhost\r\n\r\n",
            "GET /NNNN/c HTTP/1.1\r\n\tA: b\r\nHost: localhost\r\n\r\n",
            "GET /NNNN/c HTTP/1.1\r\n \r\nHost: localhost\r\n\r\n",
            "GET /NNNN/c HTTP/1.1\r\nHost: localhost\r\n \r\n\r\n",
            "GET /NNNN/c HTTP/1.1\r\nHost:\r\n localhost\r\n\r\n",
            "\nGET /NNNN/c HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "\r\n\r\nGET /NNNN/c HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "\rGET /NNNN/c HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ] {
            self.refused("line ends", text.as_bytes(), text, 400);
        }
        let text = format!("\r\nGET /NNNN/x HTTP/1.1\r\n{CLOSE}\r\n");
        self.served("line ends", b"one empty line first", text);
    }

    fn control_bytes(&mut self) {
        let controls = (0..0x20).chain([0x7f]).filter(|b| !matches!(b, b'\t' | b'\n' | b'\r'));
        for byte in controls {
            self.get_refused("control byte in a value", &[b"A: b", &[byte][..], b"c\r\n"].concat(), 400);
            self.get_refused("control byte in a name", &[b"A", &[byte][..], b"c: b\r\n"].concat(), 400);
            let bytes = [b"GET /NNNN/c", &[byte][..], b" HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat();
            self.refused("control byte in the target", &[byte], bytes, 400);
        }
        for byte in [0, 1, 0x7f] {
            let bytes = [b"G", &[byte][..], b"T /NNNN/c HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat();
            self.refused("control byte in the method", &[byte], bytes, 400);
        }
    }

    fn field_lines(&mut self) {
        for fields in [
            "A : b\r\n",
            "A\t: b\r\n",
            "A b: c\r\n",
            ": b\r\n",
            "A\r\n",
            "A b\r\n",
            "A,b: c\r\n",
            "A(b: c\r\n",
            "A/b: c\r\n",
            "A;b: c\r\n",
            "A<b: c\r\n",
            "A=b: c\r\n",
            "A@b: c\r\n",
            "A[b: c\r\n",
            "A\\b: c\r\n",
            "A{b: c\r\n",
            "A\"b: c\r\n",
            "A?b: c\r\n",
            "\u{fc}: c\r\n",
            "A\u{fc}: c\r\n",
            "=\r\n",
            "?: c\r\n",
        ] {
            self.get_refused("field", fields.as_bytes(), 400);
        }
        for fields in [
            "A:b\r\n",
            "A:\t b \t\r\n",
            "A:\r\n",
            "A: b\tc\r\n",
            "A: \u{fc}\r\n",
            "A: b\r\na: c\r\n",
            "A!#$%&'*+-.^_`|~: c\r\n",
            "A: :\r\n",
        ] {
            self.served("field", fields.as_bytes(), format!("GET /NNNN/x HTTP/1.1\r\n{CLOSE}{fields}\r\n"));
        }
    }

    fn request_lines(&mut self) {
        for (line, status) in [
            ("GET  /NNNN/c HTTP/1.1", 400),
            ("GET /NNNN/c  HTTP/1.1", 400),
            (" GET /NNNN/c HTTP/1.1", 400),
            ("GET\t/NNNN/c HTTP/1.1", 400),
            ("GET /NNNN/c\tHTTP/1.1", 400),
            ("GET /NNNN/c HTTP/1.1 ", 400),
            ("GET /NNNN/c HTTP/1.1 x", 400),
            ("GET /NNNN/c http/1.1", 400),
            ("GET /NNNN/c HTTP/1.1HTTP/1.1", 400),
            ("GET /NNNN/c HTTP/01.1", 400),
            ("GET /NNNN/c HTTP/1.10", 400),
            ("GET /NNNN/c HTTP/11", 400),
            ("GET /NNNN/c HTTP/", 400),
            ("GET /NNNN/c HTTP", 400),
            ("GET /NNNN/c XTTP/1.1", 400),
            ("GET /NNNN/c HTTP/1.\u{b2}", 400),
            ("GET /NNNN/c", 400),
            ("GET /NNNN/c ", 400),
            ("GET", 400),
            ("GET HTTP/1.1", 400),
            ("GET  HTTP/1.1", 400),
            (" /NNNN/c HTTP/1.1", 400),
            ("/NNNN/c HTTP/1.1", 400),
            ("G@T /NNNN/c HTTP/1.1", 400),
            ("GET, /NNNN/c HTTP/1.1", 400),
            ("\u{fc} /NNNN/c HTTP/1.1", 400),
            ("AAAAAAAAAABBBBBBBBBBCCCCCCCCCCDDD /NNNN/c HTTP/1.1", 400),
            ("GET /NNNN/c HTTP/1.2", 505),
            ("GET /NNNN/c HTTP/0.9", 505),
            ("GET /NNNN/c HTTP/2.0", 505),
            ("GET /NNNN/c HTTP/3.0", 505),
            ("CONNECT localhost:80 HTTP/1.1", 405),
            ("CONNECT /NNNN/c HTTP/1.1", 405),
            ("CONNECT http://localhost/NNNN/c HTTP/1.1", 405),
            ("GET * HTTP/1.1", 400),
            ("POST * HTTP/1.1", 400),
            ("OPTIONS ** HTTP/1.1", 400),
            ("OPTIONS NNNN HTTP/1.1", 400),
        ] {
            self.refused(
                "request line",
                line.as_bytes(),
                format!("{line}\r\nHost: localhost\r\n\r\n"),
                status,
            );
        }
        self.refused("request line", b"HTTP/0.9", "GET /NNNN/c\r\n", 400);
        self.served(
            "request line",
            b"OPTIONS *",
            format!("OPTIONS * HTTP/1.1\r\n{CLOSE}X-Case: NNNN\r\n\r\n"),
        );
        for method in [
            "get",
            "Get",
            "PROPFIND",
            "FOO",
            "GETGET",
            "M-SEARCH",
            "QUERY",
            "purge",
            "TRACE",
            "PRI",
            "AAAAAAAAAABBBBBBBBBBCCCCCCCCCCDD",
        ] {
            self.served("method", method.as_bytes(), format!("{method} /NNNN/c HTTP/1.1\r\n{CLOSE}\r\n"));
        }
        // Answered here, whoever asks.
        self.refused("method", b"PURGE", format!("PURGE /NNNN/c HTTP/1.1\r\n{CLOSE}\r\n"), 405);
        self.served("HTTP/1.0", b"without Host", "GET /NNNN/x HTTP/1.0\r\n\r\n");
        self.served("HTTP/1.0", b"with Host", "GET /NNNN/x HTTP/1.0\r\nHost: localhost\r\n\r\n");
        self.served("HTTP/1.0", b"with a body", "POST /NNNN/x HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc");
    }

    fn targets(&mut self) {
        let bad: &[&[u8]] = &[
            b"/NNNN/c#",
            b"/NNNN/c#b",
            b"/NNNN/#c",
            b"#/NNNN/c",
            b"/NNNN/c?#",
            b"/NNNN/c?a#b",
            b"/NNNN/c\xfc",
            b"/NNNN/\xc3\xbc",
            b"/NNNN/c?\xc3\xbc",
            b"/NNNN/c\"",
            b"/NNNN/c<",
            b"/NNNN/c>",
            b"/NNNN/c\\",
            b"\\NNNN\\c",
            b"/NNNN/c^",
            b"/NNNN/c`",
            b"/NNNN/c?\"",
            b"/NNNN/c?<>",
            b"/NNNN/c?\\",
            b"NNNN/c",
            b"?NNNN",
            b"./NNNN/c",
            b"/NNNN/c x",
            b"/NNNN/c HTTP/1.1 ",
            b"/NNNN/\0c",
        ];
        for target in bad {
            let bytes = [b"GET ", *target, b" HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat();
            self.refused("target", target, bytes, 400);
        }
        // Forwarded, and never taken for the cached route or one another: each is asked of the origin both times.
        for target in [
            "/NNNN/%00",
            "/NNNN/c%00",
            "/NNNN%2fc",
            "/NNNN%2Fc",
            "/NNNN/%5cc",
            "/NNNN/%5Cc",
            "/NNNN/x/../c",
            "/NNNN/./c",
            "/NNNN/%2e/c",
            "/NNNN/x/%2e%2e/c",
            "/NNNN/.%2e/NNNN/c",
            "//NNNN/c",
            "/NNNN//c",
            "///NNNN/c",
            "/NNNN/c/..",
            "/NNNN/c/.",
            "/NNNN/c%0d%0aX:",
            "/NNNN/c%0a",
            "/NNNN/c%23",
            "/NNNN/c%3fa=b",
            "/NNNN/c;a",
            "/NNNN/c;.css",
            "/NNNN/c%ff",
            "/NNNN/c%",
            "/NNNN/c%z",
            "/NNNN/c%zz",
            "/NNNN/c%u0041",
        ] {
            let twice = format!(
                "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\nGET {target} HTTP/1.1\r\n{CLOSE}\r\n"
            );
            self.add("ambiguous target", target.as_bytes(), twice, Right::Answers(vec![200, 200], 2));
        }
        let exact = format!("/NNNN/{}", "a".repeat(8 * 1024 - 6));
        self.served("target of 8 KiB", b"", format!("GET {exact} HTTP/1.1\r\n{CLOSE}\r\n"));
        self.refused("target of 8 KiB and a byte", b"", format!("GET {exact}a HTTP/1.1\r\n{CLOSE}\r\n"), 414);
        self.refused(
            "query of 8 KiB",
            b"",
            format!("GET /NNNN/c?{} HTTP/1.1\r\n{CLOSE}\r\n", "a".repeat(8192)),
            414,
        );
        self.refused(
            "target of 1 MiB",
            b"",
            format!("GET /NNNN/{} HTTP/1.1\r\n{CLOSE}\r\n", "a".repeat(1 << 20)),
            414,
        );
        self.refused("a line without an end", b"", format!("GET /NNNN/{}", "a".repeat(1 << 20)), 414);
    }

    fn absolute_forms(&mut self) {
        for (target, host) in [
            ("http://evil.example/NNNN/c", "localhost"),
            ("http://localhost:1/NNNN/c", "localhost"),
            ("http://localhost/NNNN/c", "evil.example"),
            ("http://user@localhost/NNNN/c", "localhost"),
            ("http://user:pass@localhost/NNNN/c", "localhost"),
            ("http:///NNNN/c", "localhost"),
            ("http://", "localhost"),
            ("http:/NNNN/c", "localhost"),
            ("http:NNNN", "localhost"),
            ("ftp://localhost/NNNN/c", "localhost"),
            ("file:///NNNN/c", "localhost"),
            ("ws://localhost/NNNN/c", "localhost"),
            ("gopher://localhost/NNNN", "localhost"),
            ("localhost/NNNN/c", "localhost"),
            ("http://localhost#/NNNN/c", "localhost"),
            ("http://localhost\\@evil.example/NNNN/c", "localhost"),
            ("http://local host/NNNN/c", "localhost"),
            ("http://localhost%2f@evil/NNNN/c", "localhost"),
            ("http://[::1/NNNN/c", "localhost"),
            ("http://localhost:99999/NNNN/c", "localhost:99999"),
            ("http://localhost:x/NNNN/c", "localhost"),
        ] {
            self.refused(
                "absolute-form",
                format!("{target} for {host}").as_bytes(),
                format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
                400,
            );
        }
        for target in [
            "http://localhost/NNNN/x",
            "HTTP://localhost/NNNN/x",
            "http://LOCALHOST/NNNN/x",
            "http://localhost?NNNN",
        ] {
            self.served("absolute-form", target.as_bytes(), format!("GET {target} HTTP/1.1\r\n{CLOSE}\r\n"));
        }
        self.refused("absolute-form", b"without Host", "GET http://localhost/NNNN/c HTTP/1.1\r\n\r\n", 400);
        self.served(
            "path that looks absolute",
            b"",
            format!("GET /http://evil.example/NNNN/c HTTP/1.1\r\n{CLOSE}\r\n"),
        );
    }

    fn hosts(&mut self) {
        let refused: &[&[u8]] = &[
            b"",
            b"Host:\r\n",
            b"Host: \r\n",
            b"Host: localhost\r\nHost: localhost\r\n",
            b"Host: localhost\r\nHost: evil.example\r\n",
            b"Host: localhost\r\nA: b\r\nhOST: localhost\r\n",
            b"Host : localhost\r\n",
            b"Host: a b\r\n",
            b"Host: a,b\r\n",
            b"Host: localhost, evil.example\r\n",
            b"Host: user@localhost\r\n",
            b"Host: localhost:99999\r\n",
            b"Host: localhost:x\r\n",
            b"Host: localhost:-1\r\n",
            b"Host: localhost:80:80\r\n",
            b"Host: localhost/evil\r\n",
            b"Host: localhost?evil\r\n",
            b"Host: localhost#evil\r\n",
            b"Host: localhost\\evil\r\n",
            b"Host: [::1\r\n",
            b"Host: ::1\r\n",
            b"Host: [::1]x\r\n",
            b"Host: [zz]\r\n",
            b"Host: a..b\r\n",
            b"Host: .\r\n",
            b"Host: .localhost\r\n",
            b"Host: %6cocalhost\r\n",
            b"Host: local\thost\r\n",
            b"Host: localhost\0\r\n",
            b"Host: \xc3\xbc\r\n",
            b"Host: http://localhost\r\n",
            b"Host: \"localhost\"\r\n",
            b"Host: localhost;a\r\n",
            b"Host: :80\r\n",
            b"Host: localhost..\r\n",
            b"Host: lo!calhost\r\n",
            b"Host: lo'calhost\r\n",
            b"Host: {localhost}\r\n",
            b"Host: localhost\r\n evil.example\r\n",
        ];
        for fields in refused {
            self.refused("Host", fields, [b"GET /NNNN/c HTTP/1.1\r\n", *fields, b"\r\n"].concat(), 400);
        }
        let long = format!("Host: {}\r\n", "a".repeat(254));
        self.refused(
            "Host of 254 bytes",
            b"",
            format!("GET /NNNN/c HTTP/1.1\r\n{long}Connection: close\r\n\r\n"),
            400,
        );
        for host in [
            "LOCALHOST",
            "localhost.",
            "localhost:80",
            "localhost:",
            "localhost:00080",
            "127.0.0.1",
            "127.1.2.3",
            "[::1]",
            "[0:0::1]:8080",
            "localhost:9999",
            "API.example",
            "api.example.",
            "api.example:80",
        ] {
            let bytes = format!("GET /NNNN/x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            self.served("Host well spelt", host.as_bytes(), bytes);
        }
    }

    fn sizes(&mut self) {
        let fields = |count: usize| (0..count).map(|n| format!("A{n}: b\r\n")).collect::<String>();
        // Host and Connection make it 100.
        self.served("100 fields", b"", format!("GET /NNNN/x HTTP/1.1\r\n{CLOSE}{}\r\n", fields(98)));
        for count in [101, 1_000, 100_000] {
            let bytes = format!("GET /NNNN/c HTTP/1.1\r\n{CLOSE}{}\r\n", fields(count - 2));
            self.refused("fields", count.to_string().as_bytes(), bytes, 431);
        }
        self.served(
            "fields of 15 KiB",
            b"",
            format!("GET /NNNN/x HTTP/1.1\r\n{CLOSE}A: {}\r\n\r\n", "b".repeat(15 << 10)),
        );
        for kilobytes in [16, 20, 64, 1024, 8192] {
            let bytes = format!("GET /NNNN/c HTTP/1.1\r\n{CLOSE}A: {}\r\n\r\n", "b".repeat(kilobytes << 10));
            self.refused("one field, KiB", kilobytes.to_string().as_bytes(), bytes, 431);
        }
        let names = format!("GET /NNNN/c HTTP/1.1\r\n{CLOSE}{}: b\r\n\r\n", "A".repeat(17 << 10));
        self.refused("a name of 17 KiB", b"", names, 431);
        let endless = format!("GET /NNNN/c HTTP/1.1\r\n{CLOSE}A: {}", "b".repeat(1 << 20));
        self.refused("a field without an end", b"", endless, 431);
    }

    fn expectations(&mut self) {
        for value in
            ["foo", "100-continue, foo", "100", "200-ok", "100-continue;a=b", "", "100-continue\u{fc}"]
        {
            let bytes =
                format!("POST /NNNN/c HTTP/1.1\r\n{CLOSE}Expect: {value}\r\nContent-Length: 3\r\n\r\nabc");
            self.refused("Expect", value.as_bytes(), bytes, 417);
        }
        for fields in [
            "Expect: 100-continue\r\nContent-Length: 3\r\n",
            "Expect: 100-Continue\r\nContent-Length: 3\r\n",
            "expect:100-CONTINUE \r\nContent-Length: 3\r\n",
            "Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 3\r\n",
        ] {
            self.served(
                "Expect",
                fields.as_bytes(),
                format!("POST /NNNN/x HTTP/1.1\r\n{CLOSE}{fields}\r\nabc"),
            );
        }
        self.served(
            "Expect without a body",
            b"",
            format!("GET /NNNN/x HTTP/1.1\r\n{CLOSE}Expect: 100-continue\r\n\r\n"),
        );
        self.served(
            "Expect with length 0",
            b"",
            format!("POST /NNNN/x HTTP/1.1\r\n{CLOSE}Expect: 100-continue\r\nContent-Length: 0\r\n\r\n"),
        );
        let chunked = format!(
            "POST /NNNN/x HTTP/1.1\r\n{CLOSE}Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        );
        self.served("Expect with chunks", b"", chunked);
        self.served(
            "Expect in HTTP/1.0",
            b"",
            "POST /NNNN/x HTTP/1.0\r\nExpect: foo\r\nContent-Length: 3\r\n\r\nabc",
        );
        let body = format!(
            "POST /NNNN/x HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n{SMUGGLED}",
            SMUGGLED.len()
        );
        let bytes = format!("{body}GET /NNNN/y HTTP/1.1\r\n{CLOSE}\r\n");
        self.add("Expect with a request for a body", b"", bytes, Right::Answers(vec![200, 200], 2));
    }

    fn upgrades(&mut self) {
        for protocol in ["h2c", "TLS/1.0", "HTTP/2.0", "foo", "websocket, h2c", "WebSocket"] {
            let settings = "HTTP2-Settings: AAMAAABkAAQAAP__\r\n";
            let first = format!(
                "GET /NNNN/x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\n{settings}\r\n"
            );
            let bytes = format!("{first}GET /NNNN/y HTTP/1.1\r\n{CLOSE}\r\n");
            self.add("Upgrade declined", protocol.as_bytes(), bytes, Right::Answers(vec![200, 200], 2));
        }
        let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let first = format!("GET /NNNN/c HTTP/1.1\r\nHost: localhost\r\n{websocket}\r\n");
        let bytes = format!("{first}GET /NNNN/y HTTP/1.1\r\n{CLOSE}\r\n");
        self.add(
            "WebSocket declined, next request sent early",
            b"",
            bytes,
            Right::Answers(vec![200, 200], 2),
        );
        let bytes = format!("{first}\x01\x02not a request\r\n\r\n");
        self.add("WebSocket declined, frames sent early", b"", bytes, Right::Answers(vec![200, 400], 1));
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
        let bytes = format!(
            "POST /NNNN/x HTTP/1.1\r\nHost: localhost\r\n{upgrade}Content-Length: {}\r\n\r\n{SMUGGLED}GET /NNNN/y HTTP/1.1\r\n{CLOSE}\r\n",
            SMUGGLED.len()
        );
        self.add("Upgrade with a body", b"", bytes, Right::Answers(vec![200, 200], 2));
    }

    fn connection_options(&mut self) {
        for option in [
            "content-length",
            "Content-Length",
            "host",
            "transfer-encoding",
            "x-forwarded-for",
            "x-request-id",
            "cookie",
            "close, content-length",
            "\"close\"",
            ",,,",
            "",
        ] {
            let fields =
                format!("Host: localhost\r\nConnection: {option}\r\nContent-Length: {}\r\n", SMUGGLED.len());
            let bytes =
                format!("POST /NNNN/x HTTP/1.1\r\n{fields}\r\n{SMUGGLED}GET /NNNN/y HTTP/1.1\r\n{CLOSE}\r\n");
            let right = if option.starts_with("close") { (vec![200], 1) } else { (vec![200, 200], 2) };
            self.add("Connection", option.as_bytes(), bytes, Right::Answers(right.0, right.1));
        }
        let chunked = format!(
            "POST /NNNN/x HTTP/1.1\r\n{CLOSE}Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        );
        self.served("Connection: transfer-encoding", b"", chunked);
        for named in ["authorization", "Authorization, close", "x-api-key"] {
            let fields = format!("Connection: {named}\r\nAuthorization: Bearer evil\r\nX-Api-Key: evil\r\n");
            self.served(
                "Connection names a credential",
                named.as_bytes(),
                format!("GET /NNNN/c HTTP/1.1\r\n{CLOSE}{fields}\r\n"),
            );
        }
        for fields in [
            "Connection: x-named-by-connection\r\nX-Named-By-Connection: 1\r\n",
            "Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers, deflate\r\nTrailer: Host\r\n",
        ] {
            self.served(
                "hop-by-hop",
                fields.as_bytes(),
                format!("GET /NNNN/x HTTP/1.1\r\n{CLOSE}{fields}\r\n"),
            );
        }
    }

    fn bodies_where_none_is_expected(&mut self) {
        let warm = "GET /NNNN/c HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let length = SMUGGLED.len();
        let plain = format!("Content-Length: {length}\r\n\r\n{SMUGGLED}");
        let chunked = format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n");
        for (what, body) in [("length", &plain), ("chunks", &chunked)] {
            let bodied = |method: &str, path: &str| {
                format!("{method} /NNNN/{path} HTTP/1.1\r\nHost: localhost\r\n{body}")
            };
            let last = format!("GET /NNNN/c HTTP/1.1\r\n{CLOSE}\r\n");
            let get = format!("{warm}{}{last}", bodied("GET", "c"));
            self.add(
                "GET with a body on a cached route",
                what.as_bytes(),
                get,
                Right::Answers(vec![200, 200, 200], 2),
            );
            let cold = format!("{}{last}", bodied("GET", "c"));
            self.add(
                "GET with a body on a cold route",
                what.as_bytes(),
                cold,
                Right::Answers(vec![200, 200], 2),
            );
            for method in ["DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
                let bytes = format!("{}GET /NNNN/y HTTP/1.1\r\n{CLOSE}\r\n", bodied(method, "x"));
                self.add(
                    "body",
                    format!("{method}, {what}").as_bytes(),
                    bytes,
                    Right::Answers(vec![200, 200], 2),
                );
            }
            let head = format!("HEAD /NNNN/c HTTP/1.1\r\n{CLOSE}{body}");
            self.served("HEAD with a body", what.as_bytes(), head);
        }
        self.served("HEAD", b"on a cached route", format!("HEAD /NNNN/c HTTP/1.1\r\n{CLOSE}\r\n"));
    }

    fn claims(&mut self) {
        for field in [
            "X-Forwarded-For: 6.6.6.6",
            "X-Forwarded-Host: evil.example",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Prefix: /evil",
            "X-Forwarded-Port: 666",
            "X-Forwarded-Scheme: https",
            "X-Forwarded-Server: evil",
            "X-Forwarded-Path: /evil",
            "X-FORWARDED-HOST: evil.example",
            "X-Original-URL: /evil",
            "X-Rewrite-URL: /evil",
            "X-Original-Host: evil.example",
            "X-HTTP-Method-Override: DELETE",
            "X-HTTP-Method: DELETE",
            "X-Method-Override: DELETE",
            "Forwarded: for=6.6.6.6;host=evil.example;proto=https",
            "X-Real-IP: 6.6.6.6",
            "X-Request-Id: evil",
            "traceparent: 00-evil",
            "Larder-Purpose: warm",
            "X-Forwarded-For: 1\r\nX-Forwarded-For: 2",
            "X-Forwarded-Host: a\r\nX-Forwarded-Host: b",
        ] {
            for path in ["c", "x"] {
                let bytes = format!("GET /NNNN/{path} HTTP/1.1\r\n{CLOSE}{field}\r\n\r\n");
                self.served("claim", format!("{field}, {path}").as_bytes(), bytes);
            }
            let bytes = format!("POST /NNNN/x HTTP/1.1\r\n{CLOSE}{field}\r\nContent-Length: 3\r\n\r\nabc");
            self.served("claim, POST", field.as_bytes(), bytes);
        }
    }

    fn pipelines(&mut self) {
        let get = |path: &str| format!("GET /NNNN/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let last = format!("GET /NNNN/z HTTP/1.1\r\n{CLOSE}\r\n");
        let post = "POST /NNNN/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc";
        let bad = "GET /NNNN/c HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        for (what, bytes, statuses, whole) in [
            ("three", format!("{}{}{last}", get("x"), get("y")), vec![200; 3], 3),
            ("the cached one thrice", format!("{}{}{}{last}", get("c"), get("c"), get("c")), vec![200; 4], 2),
            ("good, then bad", format!("{}{bad}{last}", get("x")), vec![200, 400], 1),
            ("bad, then good", format!("{bad}{}", get("x")), vec![400], 0),
            ("body, then good", format!("{post}{last}"), vec![200; 2], 2),
            ("body, then bad", format!("{post}{bad}{last}"), vec![200, 400], 1),
            ("a byte too many", format!("{post}{}", last.replacen("GET", "\0GET", 1)), vec![200, 400], 1),
            ("empty line between", format!("{post}\r\n{last}"), vec![200; 2], 2),
            ("two empty lines between", format!("{post}\r\n\r\n{last}"), vec![200, 400], 1),
            (
                "behind Connection: close",
                format!("GET /NNNN/x HTTP/1.1\r\n{CLOSE}\r\n{SMUGGLED}"),
                vec![200],
                1,
            ),
            ("behind HTTP/1.0", format!("GET /NNNN/x HTTP/1.0\r\n\r\n{SMUGGLED}"), vec![200], 1),
            ("fifty", get("x").repeat(49) + &last, vec![200; 50], 50),
        ] {
            self.add("pipeline", what.as_bytes(), bytes, Right::Answers(statuses, whole));
        }
    }

    fn other_protocols(&mut self) {
        let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice();
        let refused: &[&[u8]] = &[
            &[hello, &[7; 500]].concat(),
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"EHLO evil\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET /NNNN/c HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"\r\n\r\n\x00\r\nQUIT\nT\x21\x11\x00\x0cGET /NNNN/c HTTP/1.1\r\nHost: localhost\r\n\r\n",
            &[0; 1000],
            &[0xff; 1000],
            b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
            b"PRI * HTTP/2.0\r\nHost: localhost\r\n\r\n",
            b"PRI * HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"PRI  * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"<policy-file-request/>\0",
        ];
        for bytes in refused {
            let status =
                if bytes.starts_with(b"PRI") && !bytes.starts_with(b"PRI * HTTP/1.1") { 505 } else { 400 };
            self.refused("other protocol", bytes, bytes, status);
        }
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice();
        for rest in [&b""[..], b"GET /NNNN/c HTTP/1.1\r\nHost: localhost\r\n\r\n", &[0; 9], &[0xff; 64]] {
            self.add("preface, then", rest, [preface, rest].concat(), Right::Unfinished);
        }
    }

    fn unfinished(&mut self) {
        let whole =
            format!("POST /NNNN/c HTTP/1.1\r\nHost: localhost\r\nContent-Length: 52\r\n\r\n{SMUGGLED}");
        for end in [0, 1, 3, 5, 12, 21, 22, 23, 30, 40, 60, 62, 63, 64, 65, 66, 70, whole.len() - 1] {
            self.add("cut", format!("at {end}").as_bytes(), &whole[..end], Right::Unfinished);
        }
        let chunked = "POST /NNNN/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n";
        let head = chunked.find("\r\n\r\n").unwrap_or_default() + 4;
        for end in head..chunked.len() {
            self.add(
                "cut in chunks",
                format!("at {}", end - head).as_bytes(),
                &chunked[..end],
                Right::Unfinished,
            );
        }
        for bytes in [
            "\r\n",
            "\r",
            "PRI",
            "PRI * HTTP/2.0\r\n\r\n",
            "GET /NNNN/c HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n",
        ] {
            self.add("cut", bytes.as_bytes(), bytes, Right::Unfinished);
        }
        let expects =
            "POST /NNNN/x HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
        self.add("cut while 100 is awaited", b"", expects, Right::Unfinished);
        let short = "GET /NNNN/c HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nabc";
        self.add("GET with a body that stays away", b"", short, Right::Unfinished);
    }
}
