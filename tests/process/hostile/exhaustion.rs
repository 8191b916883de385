//! Attacks on time, memory and places: slow peers, floods, and more than the limits hold (HAZARDS §3).
//!
//! Memory is the process's resident set; its bounds leave room for allocators and debug builds, and none for what grows
//! with the attack.

use std::io::{Read as _, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::client::{BOUND, HalfClose, get, now, talk};
use super::downgrade::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, RST_STREAM, block, frame,
};
use super::origin::Recorder;
use super::requests::CONFIG;
use super::wire::{self, Read};
use crate::harness::{Proxy, get as plain_get, until};

const MIB: u64 = 1 << 20;
/// The deadline of a head and the window of a body, as they are built in.
const DEADLINE: Duration = Duration::from_secs(10);

/// An attacker of time: what it sends at once, then piece by piece.
struct Slow {
    name: &'static str,
    first: &'static str,
    drip: &'static str,
}

const SLOW: [Slow; 11] = [
    Slow { name: "silence", first: "", drip: "" },
    Slow { name: "a byte", first: "G", drip: "" },
    Slow { name: "half a preface", first: "PRI * HTTP/2", drip: "" },
    Slow { name: "a line without an end", first: "GET /0001/x", drip: "a" },
    Slow {
        name: "fields without an end",
        first: "GET /0002/x HTTP/1.1\r\nHost: localhost\r\n",
        drip: "A: b\r\n",
    },
    Slow {
        name: "a value without an end",
        first: "GET /0003/x HTTP/1.1\r\nHost: localhost\r\nA: ",
        drip: "b",
    },
    Slow {
        name: "half a second head",
        first: "GET /0004/x HTTP/1.1\r\nHost: localhost\r\n\r\nGET /",
        drip: "",
    },
    Slow {
        name: "a body that stays away",
        first: "POST /0005/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
        drip: "",
    },
    Slow {
        name: "a body in drops",
        first: "POST /0006/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n\r\n",
        drip: "a",
    },
    Slow {
        name: "chunks in drops",
        first: "POST /0007/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        drip: "1\r\na\r\n",
    },
    Slow {
        name: "trailers in drops",
        first: "POST /0008/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        drip: "A: b\r\n",
    },
];

/// Drips until the connection ends; gives how long that took and what was answered.
fn attack(server: SocketAddr, slow: &Slow) -> (Duration, Vec<u8>) {
    let mut stream = TcpStream::connect(server).expect("the proxy accepts");
    stream.write_all(slow.first.as_bytes()).expect("the first bytes are taken");
    stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    let (begun, mut answer, mut part) = (now(), Vec::new(), [0; 4096]);
    while begun.elapsed() < DEADLINE + BOUND {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&part[..count]),
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
            {
                // It may just have been closed: the next read will tell.
                let _ = stream.write_all(slow.drip.as_bytes());
            }
            Err(_) => break,
        }
    }
    (begun.elapsed(), answer)
}

#[test]
fn slow_clients_are_cut_at_the_deadline_and_cost_no_one_else() {
    let origin = Recorder::start();
    let proxy = Proxy::start(origin.address, CONFIG);
    let faults = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for slow in SLOW.iter().flat_map(|slow| [slow; 8]) {
            let (faults, listen) = (&faults, proxy.listen);
            scope.spawn(move || {
                let (took, answer) = attack(listen, slow);
                let early = took < DEADLINE - Duration::from_secs(1);
                let last = String::from_utf8_lossy(&answer).into_owned();
                let last = last.rfind("HTTP/1.1 ").map_or("", |at| &last[at + 9..at + 12]);
                if early || took >= DEADLINE + BOUND || !matches!(last, "" | "408") {
                    let what = format!("{}: after {took:?} {}", slow.name, answer.escape_ascii());
                    faults.lock().expect("no panic while it was held").push(what);
                }
            });
        }
        let begun = now();
        assert_eq!(get(proxy.listen, "/0009/c", "").expect("an answer").head.status(), 200);
        assert!(begun.elapsed() < BOUND);
    });
    let faults = faults.into_inner().expect("no panic while it was held");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let whole =
        origin.seen().into_iter().filter(|seen| matches!(seen, super::origin::Seen::Whole(_))).count();
    assert_eq!(whole, 8 + 1, "the eight whole requests before half a second one, and the check");
}

/// An origin whose answers are as long as the number in the path says, and which can be told to read no body.
struct Big {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    release: Sender<()>,
}

impl Big {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("its address");
        let asked = Arc::new(AtomicUsize::new(0));
        let (release, released) = channel();
        let (count, released) = (Arc::clone(&asked), Arc::new(Mutex::new(released)));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (count, released) = (Arc::clone(&count), Arc::clone(&released));
                // The other side may go at any time.
                thread::spawn(move || serve_big(stream, &count, &released));
            }
        });
        Self { address, asked, release }
    }
}

fn serve_big(mut stream: TcpStream, asked: &AtomicUsize, released: &Mutex<Receiver<()>>) -> Option<()> {
    let block = vec![b'x'; 64 * 1024];
    loop {
        let mut bytes = Vec::new();
        let head = loop {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            bytes.push(byte[0]);
            if let Read::Whole(head, _) = wire::head(&bytes) {
                break head;
            }
        };
        asked.fetch_add(1, Ordering::SeqCst);
        let upload: u64 = head.one("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        if upload > 0 {
            let _ = released.lock().ok()?.recv();
            std::io::copy(&mut (&stream).take(upload), &mut std::io::sink()).ok()?;
        }
        let number = head.target().rsplit(['/', '=']).next().and_then(|number| number.parse::<usize>().ok());
        let mut left = number.unwrap_or(2);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {left}\r\n\r\n").ok()?;
        while left > 0 {
            let part = left.min(block.len());
            stream.write_all(&block[..part]).ok()?;
            left -= part;
        }
    }
}

const BIG: &str = "routes:\n  /big/{size}: { ttl: 1h, entry: 64MiB }\nlimits: { memory: 256MiB, entry: 2MiB }\nlog: { access: off }\n\
                   shutdown: { delay: 0s, timeout: 1s }\n";

fn ask(server: SocketAddr, target: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server).expect("the proxy accepts");
    write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("the request is taken");
    stream.set_read_timeout(Some(BOUND)).expect("a timeout");
    stream
}

#[test]
fn a_slow_reader_holds_neither_the_fill_nor_the_others() {
    let origin = Big::start();
    let proxy = Proxy::start(origin.address, BIG);
    let size = 32 << 20;
    let target = format!("/big/{size}");
    let mut slow: Vec<TcpStream> = (0..20).map(|_| ask(proxy.listen, &target)).collect();
    until("the origin is asked", || (origin.asked.load(Ordering::SeqCst) > 0).then_some(()));
    let read = |mut stream: TcpStream| {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("all of it, in time");
        bytes
    };
    let length = |bytes: &[u8]| match wire::response(bytes, false, true) {
        Read::Whole(message, _) => message.body.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(length(&read(ask(proxy.listen, &target))), size, "the quick one is served while twenty sleep");
    // The last byte is delivered before the entry is in place.
    until("it is stored", || {
        let again = read(ask(proxy.listen, &target));
        again[..1024].windows(12).any(|text| text == b"x-cache: HIT").then_some(())
    });
    assert_eq!(origin.asked.load(Ordering::SeqCst), 1);
    let resident = proxy.resident();
    assert!(
        resident < 160 * MIB,
        "twenty sleepers share one body of 32 MiB; resident: {} MiB",
        resident / MIB
    );
    assert_eq!(length(&read(slow.remove(0))), size, "the sleeper, awake, gets all of it");
}

#[test]
fn an_upload_to_a_slow_origin_takes_no_memory() {
    let origin = Big::start();
    let proxy = Proxy::start(origin.address, BIG);
    assert_eq!(plain_get(proxy.listen, "/warm").status, 200);
    let before = proxy.resident();
    let size = 200 * MIB;
    let mut stream = TcpStream::connect(proxy.listen).expect("the proxy accepts");
    write!(
        stream,
        "POST /upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
    )
    .expect("the head is taken");
    let taken = Arc::new(AtomicU64::new(0));
    let (count, mut sender) = (Arc::clone(&taken), stream.try_clone().expect("a second handle"));
    let sending = thread::spawn(move || {
        let part = vec![b'x'; 1 << 18];
        for _ in 0..size / (1 << 18) {
            sender.write_all(&part).expect("the proxy takes all of it");
            count.fetch_add(part.len() as u64, Ordering::SeqCst);
        }
    });
    // The origin takes nothing: soon nobody does.
    let mut last = (0, now());
    until("the upload comes to a halt", || {
        let count = taken.load(Ordering::SeqCst);
        if count != last.0 {
            last = (count, now());
        }
        (last.0 > 0 && last.1.elapsed() > Duration::from_millis(700)).then_some(())
    });
    let held = proxy.resident().saturating_sub(before);
    assert!(taken.load(Ordering::SeqCst) < 64 * MIB, "{} MiB were taken", taken.load(Ordering::SeqCst) / MIB);
    assert!(held < 24 * MIB, "{} MiB are held", held / MIB);
    origin.release.send(()).expect("the origin runs");
    sending.join().expect("all is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let grown = proxy.resident().saturating_sub(before);
    assert!(grown < 24 * MIB, "{} MiB", grown / MIB);
}

#[test]
fn more_connections_than_the_limit_wait_their_turn() {
    let origin = Recorder::start();
    let proxy = Proxy::start(origin.address, &format!("{CONFIG}limits: {{ connections: 4 }}\n"));
    let idle: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(proxy.listen).expect("a place")).collect();
    // Each of them is being served before the fifth comes.
    for mut stream in &idle {
        stream.write_all(b"GET /0001/c HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("the request is taken");
        stream.set_read_timeout(Some(BOUND)).expect("a timeout");
        assert!(stream.read(&mut [0; 4096]).expect("an answer") > 0);
    }
    let fifth = ask(proxy.listen, "/0002/x");
    fifth.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    assert!((&fifth).read(&mut [0; 64]).is_err(), "no place for a fifth");
    drop(idle);
    fifth.set_read_timeout(Some(BOUND)).expect("a timeout");
    let mut answer = String::new();
    (&fifth).read_to_string(&mut answer).expect("an answer, once there is a place");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn large_heads_take_no_memory() {
    let origin = Recorder::start();
    let proxy = Proxy::start(origin.address, CONFIG);
    assert_eq!(plain_get(proxy.listen, "/warm/0000").status, 200);
    let before = proxy.resident();
    let head = format!("GET /0000/c HTTP/1.1\r\nHost: localhost\r\nA: {}", "b".repeat(1 << 20));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let talk = talk(proxy.listen, head.as_bytes(), HalfClose::Never);
                    assert!(
                        talk.ended && talk.bytes.starts_with(b"HTTP/1.1 431 "),
                        "{}",
                        talk.bytes.escape_ascii()
                    );
                }
            });
        }
    });
    let grown = proxy.resident().saturating_sub(before);
    assert!(grown < 24 * MIB, "{} MiB", grown / MIB);
}

/// Writes `frames` until the proxy takes no more; whether it ended the connection, and with which error (RFC 9113 §7).
fn flood(server: SocketAddr, frames: impl Iterator<Item = Vec<u8>>) -> (bool, Option<u8>) {
    let stream = TcpStream::connect(server).expect("the proxy accepts");
    stream.set_write_timeout(Some(BOUND)).expect("a timeout");
    stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    let mut reader = std::io::BufReader::new(stream.try_clone().expect("a second handle"));
    let reading = thread::spawn(move || {
        let mut error = None;
        let mut read = || {
            let mut head = [0; 9];
            reader.read_exact(&mut head)?;
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            reader.read_exact(&mut payload)?;
            if head[3] == GOAWAY {
                error = payload.get(7).copied();
            }
            Ok(())
        };
        let end: std::io::Error = loop {
            if let Err(end) = read() {
                break end;
            }
        };
        let late = matches!(end.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
        (!late, error)
    });
    let mut writer = std::io::BufWriter::with_capacity(64 * 1024, &stream);
    let cut = writer.write_all(PREFACE).is_err()
        || frames.into_iter().any(|frame| {
            // Nothing: a pause in which the proxy begins what it was sent.
            let paused = frame.is_empty() && writer.flush().is_err();
            if frame.is_empty() {
                thread::sleep(Duration::from_millis(2));
            }
            paused || writer.write_all(&frame).is_err()
        });
    let cut = cut || writer.flush().is_err();
    drop(writer.into_parts());
    let (ended, error) = reading.join().expect("the reader ends");
    let _ = stream.shutdown(Shutdown::Both);
    (cut || ended || error.is_some(), error)
}

fn get_block(target: &str) -> Vec<u8> {
    block(&[
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", target.as_bytes()),
        (b":authority", b"localhost"),
    ])
}

#[test]
fn http2_floods_are_cut_and_take_no_memory() {
    let origin = Recorder::start();
    let proxy = Proxy::start(origin.address, CONFIG);
    assert_eq!(plain_get(proxy.listen, "/warm/0000").status, 200);
    let before = proxy.resident();
    let streams = || (0..50_000_u32).map(|n| 2 * n + 1);
    let resets = streams().map(|id| {
        let target = format!("/0001/x?{id}");
        [
            frame(HEADERS, END_HEADERS | END_STREAM, id, &get_block(&target)),
            frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()),
        ]
        .concat()
    });
    let mut faults = Vec::new();
    let mut judge = |name: &str, (ended, error): (bool, Option<u8>)| {
        let grown = proxy.resident().saturating_sub(before);
        if !ended || grown > 48 * MIB {
            faults.push(format!("{name}: ended: {ended} with {error:?}, {} MiB more", grown / MIB));
        }
        assert_eq!(get(proxy.listen, "/0002/c", "").expect("an answer").head.status(), 200);
    };
    judge("rapid reset", flood(proxy.listen, resets));
    let quiet = origin.seen().len();
    let origin_seen = &origin;
    let paced = (0..400_u32).flat_map(|batch| {
        let ids = move || (0..50).map(move |n| 2 * (batch * 50 + n) + 1);
        let begin =
            move |id| frame(HEADERS, END_HEADERS | END_STREAM, id, &get_block(&format!("/0007/x?{id}")));
        let reset = |id| frame(RST_STREAM, 0, id, &8_u32.to_be_bytes());
        let begun = move || {
            if batch == 0 {
                until("the first streams begin", || (origin_seen.seen().len() > quiet).then_some(()));
            }
            Vec::new()
        };
        ids().map(begin).chain([Vec::new()]).chain(std::iter::once_with(begun)).chain(ids().map(reset))
    });
    judge("rapid reset of streams that have begun", flood(proxy.listen, paced));
    let asked = origin.seen().len();
    let window_updates = streams().map(|id| {
        // A reset that the server has to make (RFC 9113 §6.9: an increment of 0), which is MadeYouReset.
        let target = format!("/0003/x?{id}");
        [frame(HEADERS, END_HEADERS | END_STREAM, id, &get_block(&target)), frame(8, 0, id, &[0; 4])].concat()
    });
    judge("made-you-reset", flood(proxy.listen, window_updates));
    let headers = std::iter::once(frame(HEADERS, END_STREAM, 1, &get_block("/0004/x")));
    let filler = block(&[(b"a", &[b'b'; 15_000])]);
    let continuations = headers.chain((0..10_000).map(|_| frame(CONTINUATION, 0, 1, &filler)));
    judge("continuation", flood(proxy.listen, continuations));
    let headers = std::iter::once(frame(HEADERS, END_STREAM, 1, &get_block("/0005/x")));
    let empty = headers.chain((0..200_000).map(|_| frame(CONTINUATION, 0, 1, b"")));
    judge("empty continuation", flood(proxy.listen, empty));
    let too_much = [
        (b":method".as_slice(), b"POST".as_slice()),
        (b":scheme", b"http"),
        (b":path", b"/0006/x"),
        (b":authority", b"localhost"),
    ];
    let posts = std::iter::once(frame(HEADERS, END_HEADERS, 1, &block(&too_much)));
    judge(
        "DATA beyond the window",
        flood(proxy.listen, posts.chain((0..10_000).map(|_| frame(DATA, 0, 1, &[b'x'; 16_000])))),
    );
    assert!(asked < 5_000, "the origin was asked {asked} times");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Asks for `/list` with each of these numbers once, over one connection, in batches; after each batch, `between`.
fn ask_unique(server: SocketAddr, numbers: std::ops::Range<usize>, between: impl Fn()) {
    const BATCH: usize = 50;
    let mut stream = TcpStream::connect(server).expect("the proxy accepts");
    stream.set_read_timeout(Some(BOUND)).expect("a timeout");
    for first in numbers.step_by(BATCH) {
        let request = |n| format!("GET /list?y={n}&x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let requests: String = (first..first + BATCH).map(request).collect();
        stream.write_all(requests.as_bytes()).expect("the batch is taken");
        let (mut bytes, mut part, mut answers) = (Vec::new(), [0; 16 * 1024], 0);
        while answers < BATCH {
            let count = stream.read(&mut part).expect("an answer in time");
            assert!(count > 0, "closed after {answers} answers");
            bytes.extend_from_slice(&part[..count]);
            while let Read::Whole(message, used) = wire::response(&bytes, false, false) {
                assert_eq!(message.head.status(), 200, "{} {:?}", message.body.escape_ascii(), message.head);
                bytes.drain(..used);
                answers += 1;
            }
        }
        between();
    }
}

#[test]
fn unique_queries_neither_push_out_the_hot_nor_grow_metrics_and_memory() {
    const UNIQUE: usize = 20_000;
    const CONNECTIONS: usize = 4;
    let origin = Recorder::start();
    let config = "routes: { /hot: 1h, /list: 1h }\nlimits: { memory: 4MiB }\nlog: { access: off }\nshutdown: { delay: 0s, timeout: 1s }\n";
    let proxy = Proxy::start(origin.address, config);
    let hot = || plain_get(proxy.listen, "/hot").head.contains("x-cache: hit");
    // As often as a hot one is asked for before a flood comes.
    for _ in 0..50 {
        hot();
    }
    let series =
        || plain_get(proxy.admin, "/metrics").body.lines().filter(|line| !line.starts_with('#')).count();
    let cold = AtomicUsize::new(0);
    let mut after = Vec::new();
    for half in 0..2 {
        let share = UNIQUE / 2 / CONNECTIONS;
        let count_cold = || {
            cold.fetch_add(usize::from(!hot()), Ordering::Relaxed);
        };
        thread::scope(|scope| {
            for connection in 0..CONNECTIONS {
                let first = (half * CONNECTIONS + connection) * share;
                let (count_cold, listen) = (&count_cold, proxy.listen);
                scope.spawn(move || ask_unique(listen, first..first + share, count_cold));
            }
        });
        after.push((series(), proxy.resident()));
    }
    assert!(origin.seen().len() >= UNIQUE, "each of them was a miss");
    assert_eq!(cold.load(Ordering::Relaxed), 0, "misses of the hot one");
    // By the first half everything has happened that can: evictions too.
    assert_eq!(after[0].0, after[1].0, "series of metrics after {} and after {UNIQUE}", UNIQUE / 2);
    let grown = after[1].1.saturating_sub(after[0].1);
    assert!(grown < 8 * MIB, "{} MiB more after the second half, with a limit of 4 MiB", grown / MIB);
}
