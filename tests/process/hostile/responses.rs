//! An origin that breaks the rules: its client sees a 502 or a cut, nothing is stored, and its connection is not used again.

use std::io::{Read as _, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use super::client::{HalfClose, Talk, get, talk};
use super::wire;
use crate::harness::{Proxy, until, until_idle};

const CONFIG: &str = "routes: { '/{case}/c': 1h, '/{case}/p': bypass }\nshutdown: { delay: 0s, timeout: 5s }\nlog: { access: off }\n\
                      limits: { upstream_timeout: 700ms }\n";

struct Case {
    name: String,
    method: &'static str,
    answer: Vec<u8>,
    /// Whether the origin closes after its answer.
    closes: bool,
    right: Right,
}

#[derive(Clone, Debug, PartialEq)]
enum Right {
    /// 502, as a problem.
    Refused,
    /// 502, or the answer cut short in a way that the client can tell; also before its first byte, if the head had been passed on
    /// by us and not left the process.
    Broken,
    /// 504: the origin falls silent.
    TimedOut,
    /// Whatever is right for the client; asked again for the next one.
    NotStored,
    /// This status and body.
    Sound(u16, &'static str),
}

fn cases() -> Vec<Case> {
    let mut cases = heads();
    cases.extend(bodies());
    cases.extend(sound());
    cases
}

fn case(answer: impl AsRef<[u8]>, closes: bool, right: Right) -> Case {
    let answer = answer.as_ref().to_vec();
    let mut name = answer.escape_ascii().to_string();
    name.truncate(120);
    Case { name, method: "GET", answer, closes, right }
}

/// Heads that are wrong in themselves.
fn heads() -> Vec<Case> {
    let status_lines: &[&[u8]] = &[
        b"HTTP/1.1 99 Odd",
        b"HTTP/1.1 1000 Odd",
        b"HTTP/1.1 000 Odd",
        b"HTTP/1.1 600 Odd",
        b"HTTP/1.1 999 Odd",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 -20 OK",
        b"HTTP/1.1 20x OK",
        b"HTTP/1.1 200OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1",
        b"HTTP/1.1 ",
        b"HTTP/2.0 200 OK",
        b"HTTP/2 200",
        b"HTTP/0.9 200 OK",
        b"HTTP/1.2 200 OK",
        b"http/1.1 200 OK",
        b"ICY 200 OK",
        b" HTTP/1.1 200 OK",
        b"\r\nHTTP/1.1 200 OK",
        b"200 OK",
        b"<html>hello</html>",
        b"HTTP/1.1 200 O\0K",
        b"HTTP/1.1 200 O\x01K",
        b"HTTP/1.1 200 O\rK",
        b"HTTP/1.1\t200 OK",
        b"HTTP/1.1 +20 OK",
        b"\0",
        b"SSH-2.0-OpenSSH",
    ];
    let fields: &[&[u8]] = &[
        b"Content-Length: 3\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 3",
        b"Content-Length: 3\r\nContent-Length: 4",
        b"Content-Length: 3\r\nContent-Length: 3",
        b"Content-Length: +3",
        b"Content-Length: -1",
        b"Content-Length: 0x3",
        b"Content-Length: 3, 3",
        b"Content-Length: 3,4",
        b"Content-Length:",
        b"Content-Length: 3 4",
        b"Content-Length: 18446744073709551619",
        b"Content-Length: 9223372036854775808",
        b"Content-Length: 3\0",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: chunked;a",
        b"Transfer-Encoding: ",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding:\r\n chunked",
        b"Content-Length : 3",
        b"Content-Length: 3\r\nA: b\r\n c",
        b"Content-Length: 3\r\nA: b\r\n\tc",
        b" Content-Length: 3",
        b"Content-Length: 3\r\nA: b\0c",
        b"Content-Length: 3\r\nA: b\rc",
        b"Content-Length: 3\r\nA: b\x01c",
        b"Content-Length: 3\r\nA: b\x7fc",
        b"Content-Length: 3\r\nA: b\nC: d",
        b"Content-Length: 3\nA: b",
        b"Content-Length: 3\r\nA b: c",
        b"Content-Length: 3\r\nA",
        b"Content-Length: 3\r\n: b",
        b"Content-Length: 3\r\nA\xfc: b",
        b"Content-Length: 3\r\nSet-Cookie: a=b\rX: y",
    ];
    let mut heads: Vec<Case> = Vec::new();
    for line in status_lines {
        heads.push(case([*line, b"\r\nContent-Length: 3\r\n\r\nabc"].concat(), false, Right::Refused));
    }
    for fields in fields {
        heads.push(case([b"HTTP/1.1 200 OK\r\n", *fields, b"\r\n\r\nabc"].concat(), false, Right::Refused));
    }
    let interim = |count: usize| {
        "HTTP/1.1 102 Processing\r\n\r\n".repeat(count) + "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    };
    for text in [
        interim(17),
        interim(5_000),
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n".into(),
        "HTTP/1.1 101 Switching Protocols\r\n\r\nabc".into(),
        "HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc".into(),
        "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc".into(),
        "HTTP/1.1 100 Continue\r\n\r\nabc".into(),
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".into(),
        format!("HTTP/1.1 200 OK\r\nA: {}\r\nContent-Length: 3\r\n\r\nabc", "b".repeat(64 << 10)),
        format!("HTTP/1.1 200 OK\r\n{}Content-Length: 3\r\n\r\nabc", "A: b\r\n".repeat(200)),
        format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(1 << 20)),
        format!("HTTP/1.1 {}", "2".repeat(1 << 20)),
        "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc".into(),
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".into(),
    ] {
        heads.push(case(text, false, Right::Refused));
    }
    for text in [
        "",
        "H",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        heads.push(case(text, true, Right::Refused));
        heads.push(case(text, false, Right::TimedOut));
    }
    heads
}

/// Good heads, wrong bodies.
fn bodies() -> Vec<Case> {
    let mut bodies = Vec::new();
    let chunked = |body: &[u8]| [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", body].concat();
    let wrong: &[&[u8]] = &[
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        b"-1\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"g\r\nabc\r\n0\r\n\r\n",
        b"3;a\0\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabc\r\n0\r\n fold\r\n\r\n",
        b"3\r\nabc\r\n0\r\nA : b\r\n\r\n",
        b"3\r\nabc\r\n0\r\nA: b\0\r\n\r\n",
        b"3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        b"3\r\nabc\r\n0\r\n\r\n0\r\n\r\n",
        b"0\r\n\r\nabc",
    ];
    for body in wrong {
        bodies.push(case(chunked(body), false, Right::Broken));
    }
    for body in [
        &b""[..],
        b"3",
        b"3\r\n",
        b"3\r\nab",
        b"3\r\nabc",
        b"3\r\nabc\r\n",
        b"3\r\nabc\r\n0",
        b"3\r\nabc\r\n0\r\n",
        b"3\r\nabc\r\n0\r\nA: b\r\n",
        b"100000\r\nabc",
    ] {
        bodies.push(case(chunked(body), true, Right::Broken));
        bodies.push(case(chunked(body), false, Right::Broken));
    }
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nabc",
        "HTTP/1.0 200 OK\r\nContent-Length: 30\r\n\r\nabc",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 30\r\n\r\nabc",
    ] {
        bodies.push(case(text, true, Right::Broken));
        bodies.push(case(text, false, Right::Broken));
    }
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc\0",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 204 No Content\r\n\r\nabc",
        "HTTP/1.1 304 Not Modified\r\n\r\nabc",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabcd",
    ] {
        bodies.push(case(text, false, Right::Broken));
    }
    let mut head = case("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", false, Right::Refused);
    (head.method, head.name) = ("HEAD", "HEAD, answered with a body".into());
    bodies.push(head);
    for method in ["POST", "DELETE"] {
        for (text, closes) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", false),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
                false,
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nabc", true),
            ("", true),
        ] {
            bodies.push(Case {
                method,
                name: format!("{method}: {}", text.escape_debug()),
                ..case(text, closes, Right::Broken)
            });
        }
    }
    bodies
}

/// What looks odd and means one thing only.
fn sound() -> Vec<Case> {
    let interim = |line: &str, count: usize| {
        format!("HTTP/1.1 {line}\r\n\r\n").repeat(count) + "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    };
    let abc = || Right::Sound(200, "abc");
    let mut sound: Vec<Case> = [
        interim("100 Continue", 1),
        interim("103 Early Hints\r\nLink: </a>", 1),
        interim("102 Processing", 16),
        "HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc".into(),
        "HTTP/1.1 200 \r\nCONTENT-LENGTH:3\r\n\r\nabc".into(),
        "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc".into(),
        "HTTP/1.1 200 OK\r\nContent-Length: 003\r\n\r\nabc".into(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n3;a=b\r\nabc\r\n0;c\r\nSet-Cookie: a=b\r\nContent-Length: 9\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc".into(),
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nA: \u{fc}\r\n\r\nabc".into(),
    ]
    .into_iter()
    .map(|text| case(text, false, abc()))
    .collect();
    for text in [
        "HTTP/1.1 200 OK\r\n\r\nabc",
        "HTTP/1.0 200 OK\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc",
    ] {
        sound.push(case(text, true, abc()));
    }
    sound.push(case("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", false, Right::Sound(204, "")));
    for text in [
        "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-2/9\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 414 URI Too Long\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 431 Fields Too Large\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 405 Not Allowed\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 500 Error\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nVary: *\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nSet-Cookie: a=b\r\n\r\nabc",
    ] {
        sound.push(case(text, false, Right::NotStored));
    }
    sound
}

/// Plays the cases: the four digits of the target say which.
struct Script {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    cases: Vec<Case>,
    asked: Vec<AtomicUsize>,
    open: Vec<AtomicUsize>,
    faults: Mutex<Vec<String>>,
}

impl Script {
    fn start(cases: Vec<Case>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("its address");
        let zeroes = || cases.iter().map(|_| AtomicUsize::new(0)).collect();
        let (asked, open) = (zeroes(), zeroes());
        let shared = Arc::new(Shared { cases, asked, open, faults: Mutex::default() });
        let plays = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&plays);
                thread::spawn(move || shared.play(stream));
            }
        });
        Self { address, shared }
    }
}

/// The head of the next request; its body, if any, is of three bytes.
fn next_head(stream: &mut TcpStream) -> Option<String> {
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    if head.to_ascii_lowercase().contains("content-length: 3\r\n") {
        stream.read_exact(&mut [0; 3]).ok()?;
    }
    Some(head)
}

impl Shared {
    fn play(&self, mut stream: TcpStream) {
        let mut before: Option<usize> = None;
        while let Some(head) = next_head(&mut stream) {
            let target = head.split(' ').nth(1).unwrap_or_default();
            if let Some(number) = before {
                if !matches!(self.cases[number].right, Right::Sound(..) | Right::NotStored) {
                    let fault = format!(
                        "#{number} {}\n      its connection is used again for {target}",
                        self.cases[number].name
                    );
                    self.faults.lock().expect("no panic while it was held").push(fault);
                }
                self.open[number].fetch_sub(1, Ordering::SeqCst);
                before = None;
            }
            let Some(number) = target.get(1..5).and_then(|digits| digits.parse::<usize>().ok()) else {
                let body = format!("good {target}");
                if write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).is_err()
                {
                    return;
                }
                continue;
            };
            let case = &self.cases[number];
            self.open[number].fetch_add(1, Ordering::SeqCst);
            self.asked[number].fetch_add(1, Ordering::SeqCst);
            before = Some(number);
            // The proxy may have closed before all of it was written.
            let written = stream.write_all(&case.answer);
            if case.closes || written.is_err() {
                let _ = stream.shutdown(Shutdown::Write);
            }
        }
        if let Some(number) = before {
            self.open[number].fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// What the client of a broken origin must see.
fn judge(case: &Case, talk: &Talk) -> Result<(), String> {
    if !talk.ended {
        return Err(format!("it hangs after {}", talk.bytes.escape_ascii()));
    }
    let bare = case.method == "HEAD";
    let answers = talk.answers(bare);
    let first = answers.as_ref().ok().and_then(|answers| answers.first());
    let statuses: Vec<u16> = answers.iter().flatten().map(|answer| answer.head.status()).collect();
    let is_problem =
        first.is_some_and(|answer| answer.head.all("content-type") == ["application/problem+json"]);
    let cut = matches!(wire::response(&talk.bytes, bare, true), wire::Read::More)
        && talk.bytes.starts_with(b"HTTP/1.1 200");
    let cut = cut || talk.bytes.is_empty() || (talk.bytes.starts_with(b"HTTP/1.1 404") && answers.is_err());
    let good = match &case.right {
        Right::Refused => statuses == [502] && is_problem,
        Right::Broken => cut || (matches!(statuses[..], [502 | 504]) && is_problem),
        Right::TimedOut => statuses == [504] && is_problem,
        Right::NotStored => statuses.len() == 1,
        Right::Sound(status, body) => {
            statuses == [*status] && first.is_some_and(|answer| answer.body == body.as_bytes())
        }
    };
    if good { Ok(()) } else { Err(format!("should be {:?}, was {}", case.right, talk.bytes.escape_ascii())) }
}

#[test]
fn nothing_that_a_broken_origin_says_is_stored_or_taken_for_an_answer() {
    let script = Script::start(cases());
    let proxy = Proxy::start(script.address, CONFIG);
    let shared = &script.shared;
    assert!(shared.cases.len() >= 60, "{}", shared.cases.len());
    let faults = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    // Side by side, for those that fall silent take the whole `upstream_timeout`.
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some((number, case)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|n| Some((n, shared.cases.get(n)?)))
                {
                    let tried = try_case(&proxy, shared, number, case);
                    let tried =
                        tried.into_iter().map(|what| format!("#{number} {}\n      {what}", case.name));
                    faults.lock().expect("no panic while it was held").extend(tried);
                }
            });
        }
    });
    let mut faults = faults.into_inner().expect("no panic while it was held");
    faults.append(&mut shared.faults.lock().expect("no panic while it was held"));
    let stderr = proxy.stderr();
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(faults.is_empty(), "{} of {} answers:\n{}", faults.len(), shared.cases.len(), faults.join("\n"));
}

fn try_case(proxy: &Proxy, shared: &Shared, number: usize, case: &Case) -> Vec<String> {
    let mut faults = Vec::new();
    let body = if case.method == "POST" { "Content-Length: 3\r\n\r\nabc" } else { "\r\n" };
    // A cached route would ask with GET.
    let path = if case.method == "HEAD" { "p" } else { "c" };
    let request = format!(
        "{} /{number:04}/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{body}",
        case.method
    );
    let sound = matches!(case.right, Right::Sound(..) | Right::NotStored);
    for round in 1..=2 {
        let talk = talk(proxy.listen, request.as_bytes(), HalfClose::Never);
        faults.extend(judge(case, &talk).err());
        let asked = shared.asked[number].load(Ordering::SeqCst);
        if asked < round && !matches!(case.right, Right::Sound(..)) {
            faults.push(format!("after {round} requests the origin was asked {asked} times: it was stored"));
        }
        if !sound {
            until(&case.name, || (shared.open[number].load(Ordering::SeqCst) == 0).then_some(()));
        }
    }
    let target = format!("/good/{number}");
    match get(proxy.listen, &target, "") {
        Ok(answer) if answer.body == format!("good {target}").as_bytes() => {}
        Ok(answer) => faults.push(format!("afterwards {:?} {}", answer.head, answer.body.escape_ascii())),
        Err(why) => faults.push(format!("afterwards {why}")),
    }
    faults
}

/// An origin that answers well and then, when told to, says more on the same connection.
struct Talkative {
    address: SocketAddr,
    speak: Sender<()>,
    spoke: Receiver<()>,
    hung_up: Receiver<()>,
}

impl Talkative {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (speak, spoken) = channel();
        let (speaking, spoke) = channel();
        let (hanging_up, hung_up) = channel();
        let spoken = Arc::new(Mutex::new(spoken));
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                // Or the surplus would wait here for the proxy's acknowledgement, which comes with its next request.
                stream.set_nodelay(true).expect("an option");
                let (spoken, speaking, hanging_up) =
                    (Arc::clone(&spoken), speaking.clone(), hanging_up.clone());
                thread::spawn(move || {
                    while let Some(head) = next_head(&mut stream) {
                        let body = format!("good {}", head.split(' ').nth(1).unwrap_or_default());
                        let answer =
                            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                        let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                        if head.contains("/more") {
                            let told = spoken.lock().map(|told| told.recv());
                            if !matches!(told, Ok(Ok(()))) || stream.write_all(evil.as_bytes()).is_err() {
                                return;
                            }
                            let _ = speaking.send(());
                            let last = next_head(&mut stream).is_none();
                            assert!(last, "a connection with a surplus is used again");
                            let _ = hanging_up.send(());
                            return;
                        }
                    }
                });
            }
        });
        Self { address, speak, spoke, hung_up }
    }
}

#[test]
fn a_second_response_that_comes_later_is_nobodys() {
    let origin = Talkative::start();
    let proxy = Proxy::start(origin.address, CONFIG);
    for round in 0..50 {
        let target = format!("/more/{round}");
        let answer = get(proxy.listen, &target, "").expect("an answer");
        assert_eq!(answer.body, format!("good {target}").as_bytes());
        origin.speak.send(()).expect("the origin runs");
        origin.spoke.recv_timeout(super::client::BOUND).expect("the surplus is in the proxy's socket");
        if round % 2 == 0 {
            origin.hung_up.recv_timeout(super::client::BOUND).expect("the proxy closes the connection");
        }
        // In odd rounds the surplus lies in the socket, and the proxy may not have looked yet: it must before it writes.
        for path in ["a", "b"] {
            let target = format!("/{path}/{round}");
            let answer = get(proxy.listen, &target, "").expect("an answer");
            assert_eq!(answer.body, format!("good {target}").as_bytes(), "{:?}", answer.head);
        }
        if round % 2 == 1 {
            origin.hung_up.recv_timeout(super::client::BOUND).expect("the proxy closes the connection");
        }
    }
}

/// An origin that writes heads in pieces, as many do, and a body that fills every buffer behind the last one; to a proxy of which
/// it is told later which process it is.
fn piecemeal(process: &Arc<OnceLock<u32>>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("its address");
    let process = Arc::clone(process);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let process = Arc::clone(&process);
            thread::spawn(move || {
                stream.set_nodelay(true).expect("an option");
                while next_head(&mut stream).is_some() {
                    let last = [b"\r\n".as_slice(), &[b'x'; 300_000]].concat();
                    for piece in [&b"HTTP/1.1 200 OK\r\nContent-Le"[..], b"ngth: 300000\r\n", &last] {
                        if stream.write_all(piece).is_err() {
                            return;
                        }
                        // It has read that piece, and waits for the next.
                        until_idle(*process.wait());
                    }
                }
            });
        }
    });
    address
}

#[test]
fn a_head_in_pieces_with_a_large_body_behind_it_is_read() {
    let process = Arc::default();
    let proxy = Proxy::start(piecemeal(&process), CONFIG);
    process.set(proxy.id()).expect("it is told once");
    for round in 0..5 {
        let answer = get(proxy.listen, &format!("/pieces/{round}"), "").expect("an answer");
        assert_eq!(
            (answer.head.status(), answer.body.len()),
            (200, 300_000),
            "{:?} {}",
            answer.head,
            proxy.stderr()
        );
    }
    assert!(!proxy.stderr().contains("panicked"), "{}", proxy.stderr());
}
