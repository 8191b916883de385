//! Valid requests, damaged at random: the same promises hold for every one.
//!
//! `LARDER_SEED` repeats a run; `LARDER_LONG=1` tries more, from a new seed.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::client::{HalfClose, get, now, talk};
use super::origin::{Recorder, Seen, body_of};
use super::requests::{CONFIG, authorities, numbered};
use super::table::SMUGGLED;
use super::wire::{self, Message, Read};
use crate::harness::Proxy;

const CASES: usize = 3_000;
const CASES_LONG: usize = 9_000;
const WORKERS: usize = 8;
/// However slow the machine: then the rest is left out.
const TIME: Duration = Duration::from_secs(20);
const TIME_LONG: Duration = Duration::from_secs(300);

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound.max(1)
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

const PIECES: [&[u8]; 44] = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"#",
    b"%",
    b"/",
    b"?",
    b"=",
    b"\x0b",
    b"\x0c",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xc2\xa0",
    b"0",
    b"1",
    b"0x",
    b"+",
    b"-",
    b"\"",
    b"chunked",
    b"identity",
    b"gzip, ",
    b"\r\n\r\n",
    b"\r\n ",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: x\r\n",
    b"Host: evil.example\r\n",
    b"Connection: content-length\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: websocket\r\n",
    b"HTTP/1.0",
    b"0\r\n\r\n",
    b"ffffffffffffffff",
    b"GET /NNNN/x HTTP/1.1\r\n",
];

fn valid() -> Vec<Vec<u8>> {
    let host = "Host: localhost\r\n";
    let (length, close) = (SMUGGLED.len(), "Connection: close\r\n");
    let last = format!("GET /NNNN/c HTTP/1.1\r\n{host}{close}\r\n");
    [
        last.clone(),
        format!("GET /NNNN/x?a=b&c=d HTTP/1.1\r\n{host}Accept: */*\r\nCookie: a=b; c=d\r\nX-Api-Key: k\r\n{close}\r\n"),
        format!("POST /NNNN/x HTTP/1.1\r\n{host}Content-Length: {length}\r\n\r\n{SMUGGLED}{last}"),
        format!("POST /NNNN/x HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n{last}"),
        format!("PUT /NNNN/c HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nTrailer: A\r\n\r\n5;a=b\r\nabcde\r\n{length:x}\r\n{SMUGGLED}\r\n0\r\nA: b\r\n\r\n{last}"),
        format!("GET /NNNN/c HTTP/1.1\r\n{host}Content-Length: {length}\r\n\r\n{SMUGGLED}{last}"),
        format!("POST /NNNN/x HTTP/1.1\r\n{host}Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}{last}"),
        format!("GET /NNNN/x HTTP/1.1\r\n{host}\r\nGET /NNNN/y HTTP/1.1\r\n{host}\r\n{last}"),
        format!("GET http://localhost/NNNN/x HTTP/1.1\r\n{host}Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n{last}"),
        format!("POST /NNNN/x HTTP/1.0\r\n{host}Content-Length: {length}\r\n\r\n{SMUGGLED}"),
    ]
    .map(String::into_bytes)
    .into()
}

fn mutated(random: &mut Random, valid: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = valid[random.below(valid.len())].clone();
    for _ in 0..1 + random.below(3) {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |end| end + 4);
        // Mostly where the framing is decided.
        let reach = if random.below(4) == 0 { bytes.len() } else { head };
        let at = random.below(reach + 1).min(bytes.len());
        let end = (at + 1 + random.below(4)).min(bytes.len());
        let lines: Vec<usize> = (1..head.min(bytes.len())).filter(|&at| bytes[at - 1] == b'\n').collect();
        match random.below(7) {
            0 => drop(bytes.splice(at..at, random.pick(&PIECES).iter().copied())),
            1 => drop(bytes.splice(at..end, random.pick(&PIECES).iter().copied())),
            2 => drop(bytes.drain(at..end)),
            3 if at < bytes.len() => bytes[at] = random.next() as u8,
            4 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            5 if !lines.is_empty() => {
                let at = lines[random.below(lines.len())];
                drop(bytes.splice(at..at, random.pick(&PIECES).iter().copied()));
            }
            6 if lines.len() > 1 => {
                // A line again, elsewhere.
                let from = random.below(lines.len() - 1);
                let line = bytes[lines[from]..lines[from + 1]].to_vec();
                let at = lines[random.below(lines.len())];
                drop(bytes.splice(at..at, line));
            }
            _ => {}
        }
    }
    bytes
}

/// The requests that a strict reader finds, up to the first that is none; a path for each.
fn readable(bytes: &[u8]) -> Vec<Message> {
    let (mut found, mut at) = (Vec::new(), 0);
    loop {
        // One empty line before a request is tolerated (RFC 9112 §2.2).
        if bytes[at..].starts_with(b"\r\n") {
            at += 2;
        }
        match wire::request(&bytes[at..]) {
            Read::Whole(message, used) => {
                found.push(message);
                at += used;
            }
            Read::More | Read::Bad(_) => return found,
        }
    }
}

/// The method and the path, decoded: what both sides spell alike.
fn essence(message: &Message) -> (String, Vec<u8>) {
    let target = message.head.target();
    let local = target
        .find("://")
        .map_or(target, |at| target[at + 3..].find('/').map_or("/", |slash| &target[at + 3 + slash..]));
    let path = if target.starts_with('/') { target } else { local };
    let path = path.split('?').next().unwrap_or_default();
    (message.head.method().to_owned(), percent_encoding::percent_decode_str(path).collect())
}

fn seed(long: bool) -> u64 {
    match std::env::var("LARDER_SEED") {
        Ok(seed) => seed.parse().expect("LARDER_SEED is a number"),
        Err(_) if long => RandomState::new().hash_one(0),
        Err(_) => 0x1ad3_2026,
    }
}

#[test]
fn no_mutation_of_a_valid_request_hangs_or_smuggles() {
    let long = std::env::var("LARDER_LONG").is_ok_and(|long| long == "1");
    let (seed, count, time) =
        (seed(long), if long { CASES_LONG } else { CASES }, if long { TIME_LONG } else { TIME });
    println!("LARDER_SEED={seed}");
    let mut random = Random(seed | 1);
    let valid = valid();
    let cases: Vec<Vec<u8>> =
        (0..count).map(|number| numbered(&mutated(&mut random, &valid), number)).collect();
    let origin = Recorder::start();
    let proxy = Proxy::start(origin.address, CONFIG);
    let faults = Mutex::new(Vec::new());
    let (next, begun) = (AtomicUsize::new(0), now());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while begun.elapsed() < time
                    && let number = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(bytes) = cases.get(number)
                {
                    if let Err(what) = try_one(&proxy, number, bytes) {
                        faults.lock().expect("no panic while it was held").push(fault(number, bytes, &what));
                    }
                }
            });
        }
    });
    let tried = next.load(Ordering::Relaxed).min(cases.len());
    println!("{tried} tried in {:?}", begun.elapsed());
    let (authorities, stderr) = (authorities(&proxy), proxy.stderr());
    proxy.signal("TERM");
    assert_eq!(proxy.join().code(), Some(0));
    let mut faults = faults.into_inner().expect("no panic while it was held");
    try_origin(&origin.seen(), &cases, &authorities, &mut faults);
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(faults.is_empty(), "LARDER_SEED={seed}: {} of {tried}:\n{}", faults.len(), faults.join("\n"));
    assert!(tried >= count / 10, "only {tried} of {count} were tried in {time:?}");
}

fn fault(number: usize, bytes: &[u8], what: &str) -> String {
    format!("#{number} {}\n      {what}", bytes.escape_ascii())
}

fn try_one(proxy: &Proxy, number: usize, bytes: &[u8]) -> Result<(), String> {
    let talk = talk(proxy.listen, bytes, HalfClose::After(Duration::from_millis(50)));
    if !talk.ended {
        return Err(format!("it hangs after {}", talk.bytes.escape_ascii()));
    }
    let target = format!("/{number:04}/c");
    let answer = get(proxy.listen, &target, "X-Check: 1\r\n")?;
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    let right = answer.head.status() == 200 && body == body_of(&target, &authorities(proxy)[0]);
    if right { Ok(()) } else { Err(format!("afterwards {} {body}", answer.head.line)) }
}

/// What reached the origin is canonical, and each of it is a request that a strict reader finds in what some client sent. (Damage may
/// hit the number in a path, so all clients are looked at together.)
fn try_origin(seen: &[Seen], cases: &[Vec<u8>], authorities: &[String], faults: &mut Vec<String>) {
    let mut sent: HashMap<(String, Vec<u8>), usize> = HashMap::new();
    for message in cases.iter().flat_map(|bytes| readable(bytes)) {
        *sent.entry(essence(&message)).or_default() += 1;
    }
    for seen in seen.iter().filter(|seen| seen.head().is_none_or(|head| head.one("x-check").is_none())) {
        let number = seen.case().unwrap_or(usize::MAX);
        let bytes = cases.get(number).map_or(&b""[..], |bytes| bytes);
        // A host that was damaged into another valid one is not wrong.
        let form = seen.faults(authorities).into_iter().filter(|what| !what.starts_with("host: ["));
        faults.extend(form.map(|what| fault(number, bytes, &what)));
        let Seen::Whole(message) = seen else { continue };
        let (method, path) = essence(message);
        let as_head = ("HEAD".to_owned(), path.clone());
        let key = if sent.get(&(method.clone(), path.clone())).is_some_and(|&left| left > 0) {
            (method, path)
        } else {
            as_head
        };
        match sent.get_mut(&key).filter(|left| **left > 0) {
            Some(left) => *left -= 1,
            None => faults.push(fault(number, bytes, &format!("nobody sent {:?}", message.head))),
        }
    }
}
