//! Bodies far larger than anything that may be kept: they pass as they come, in memory that does not grow with them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::harness::{DEADLINE, Proxy};

const MIB: u64 = 1 << 20;
const BLOCK: usize = 64 * 1024;
const BLOCKS: u64 = 1024 * MIB / BLOCK as u64;
/// What the process may grow by: `entry`, the window, buffers of both connections, and an allocator that keeps some.
const GROWTH: u64 = 32 * MIB;

const CONFIG: &str = "routes: { /kept: 1h, /passed: bypass }\nshutdown: { delay: 0s }\n";

#[test]
fn a_long_body_on_a_cached_route_passes_in_constant_memory_and_its_first_byte_before_the_last() {
    passes("/kept", "fwd=bypass; detail=entry-limit", Framing::Length);
}

#[test]
fn a_long_chunked_body_on_a_cached_route_passes_in_constant_memory_and_its_first_byte_before_the_last() {
    passes("/kept", "fwd=uri-miss", Framing::Chunked);
}

#[test]
fn a_long_body_on_a_bypassed_route_passes_in_constant_memory_and_its_first_byte_before_the_last() {
    passes("/passed", "fwd=bypass; detail=route", Framing::Length);
}

#[test]
fn a_long_chunked_body_on_a_bypassed_route_passes_in_constant_memory_and_its_first_byte_before_the_last() {
    passes("/passed", "fwd=bypass; detail=route", Framing::Chunked);
}

/// Fetches the long body of `path`, whose `Cache-Status` must hold `way`, and looks at every byte of it.
#[track_caller]
fn passes(path: &str, way: &str, framing: Framing) {
    let origin = Origin::start(framing);
    let proxy = Proxy::start(origin.address, CONFIG);
    let before = proxy.peak();

    let mut body = Body::ask(proxy.listen, path, way);
    body.expect(0);
    // Until now the origin held back all the rest.
    origin.gate.send(()).expect("the origin waits at its gate");
    (1..BLOCKS).for_each(|number| body.expect(number));
    body.expect_end();

    let grown = proxy.peak() - before;
    assert!(grown < GROWTH, "{} MiB of the body stayed in memory", grown / MIB);
}

#[derive(Clone, Copy)]
enum Framing {
    Length,
    Chunked,
}

/// One block of the body; no two are alike.
fn fill(block: &mut [u8], number: u64) {
    block[..8].copy_from_slice(&number.to_be_bytes());
}

fn pattern() -> Vec<u8> {
    (0..=u8::MAX).cycle().take(BLOCK).collect()
}

/// Sends the first block of its body at once, and the others when something comes through the gate.
struct Origin {
    address: SocketAddr,
    gate: Sender<()>,
}

impl Origin {
    fn start(framing: Framing) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (gate, opened) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // A proxy that only looks whether somebody is here hangs up; a client that fails says so itself.
                let _ = answer(stream, framing, &opened);
            }
        });
        Self { address, gate }
    }
}

fn answer(mut stream: TcpStream, framing: Framing, opened: &Receiver<()>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    if head(&mut reader)?.is_empty() {
        return Ok(());
    }
    let (field, before, after) = match framing {
        Framing::Length => (format!("Content-Length: {}", BLOCKS * BLOCK as u64), String::new(), ""),
        Framing::Chunked => ("Transfer-Encoding: chunked".into(), format!("{BLOCK:x}\r\n"), "\r\n"),
    };
    stream.write_all(format!("HTTP/1.1 200 OK\r\n{field}\r\n\r\n").as_bytes())?;
    let mut part = [before.as_bytes(), &pattern(), after.as_bytes()].concat();
    for number in 0..BLOCKS {
        if number == 1 && opened.recv_timeout(DEADLINE).is_err() {
            return Ok(());
        }
        fill(&mut part[before.len()..], number);
        stream.write_all(&part)?;
    }
    match framing {
        Framing::Length => Ok(()),
        Framing::Chunked => stream.write_all(b"0\r\n\r\n"),
    }
}

/// A head up to its empty line; empty where the other side hung up.
fn head(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(String::new());
        }
    }
    Ok(head)
}

/// The body as the client gets it.
struct Body {
    reader: BufReader<TcpStream>,
    chunked: bool,
    /// What is still to come of the chunk, or of the whole.
    left: u64,
    expected: Vec<u8>,
    block: Vec<u8>,
}

impl Body {
    #[track_caller]
    fn ask(server: SocketAddr, path: &str, way: &str) -> Self {
        let mut stream = TcpStream::connect(server).expect("the proxy accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("it is sent");
        let mut reader = BufReader::with_capacity(BLOCK, stream);
        let head = head(&mut reader).expect("a head").to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200 ") && head.contains(way), "not {way}:\n{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let left = length.map_or(0, |length| length.parse().expect("a number"));
        Self { reader, chunked: length.is_none(), left, expected: pattern(), block: vec![0; BLOCK] }
    }

    /// Reads one block and looks whether it is that of this number.
    #[track_caller]
    fn expect(&mut self, number: u64) {
        let mut read = 0;
        while read < BLOCK {
            if self.left == 0 {
                self.left = self.next_chunk();
                assert!(self.left > 0, "the body ends in block {number}");
            }
            let most = self.left.min((BLOCK - read) as u64) as usize;
            self.reader.read_exact(&mut self.block[read..read + most]).expect("the body goes on");
            read += most;
            self.left -= most as u64;
            if self.chunked && self.left == 0 {
                assert_eq!(self.line(), "", "bytes behind a chunk");
            }
        }
        fill(&mut self.expected, number);
        assert!(self.block == self.expected, "block {number} is another one");
    }

    #[track_caller]
    fn expect_end(&mut self) {
        if self.chunked {
            assert_eq!((self.next_chunk(), self.line().as_str()), (0, ""));
        }
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).expect("the connection ends");
        assert!(self.left == 0 && rest.is_empty(), "{} bytes missing, {} behind", self.left, rest.len());
    }

    #[track_caller]
    fn next_chunk(&mut self) -> u64 {
        assert!(self.chunked, "the length is reached");
        u64::from_str_radix(&self.line(), 16).expect("a chunk's size")
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a line");
        line.trim_end_matches("\r\n").to_owned()
    }
}
