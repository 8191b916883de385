//! An origin that writes down what it is sent, and answers what it can read with an echo of it.

use std::io::{Read as _, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::wire::{self, Head, Message, Read};

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// All of it, and nothing behind it.
    Whole(Message),
    /// The connection ended within it.
    Aborted(Vec<u8>),
    /// No request, or bytes behind a request that was not answered yet.
    Bad(&'static str, Vec<u8>),
}

impl Seen {
    /// The head, as far as there is one.
    pub(crate) fn head(&self) -> Option<Head> {
        match self {
            Self::Whole(message) => Some(message.head.clone()),
            Self::Aborted(bytes) | Self::Bad(_, bytes) => match wire::head(bytes) {
                Read::Whole(head, _) => Some(head),
                _ => None,
            },
        }
    }

    /// The case it belongs to: the four digits in its target, or in `X-Case`.
    pub(crate) fn case(&self) -> Option<usize> {
        let head = self.head()?;
        digits(head.target()).or_else(|| digits(&head.one("x-case")?))
    }

    /// What must not be: bytes that are no canonical request.
    pub(crate) fn faults(&self, authorities: &[String]) -> Vec<String> {
        let mut faults = self.head().map_or_else(Vec::new, |head| wire::canonical(&head, authorities));
        match self {
            Self::Whole(message) if message.adornments > 0 => {
                faults.push("chunk extensions or trailers".into())
            }
            Self::Bad(why, bytes) => faults.push(format!("{why}: {}", bytes.escape_ascii())),
            _ => {}
        }
        faults
    }
}

fn digits(text: &str) -> Option<usize> {
    let four = text.as_bytes().windows(4).find(|four| four.iter().all(u8::is_ascii_digit))?;
    std::str::from_utf8(four).ok()?.parse().ok()
}

/// The origin.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Recorder {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("its address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let log = Arc::clone(&log);
                thread::spawn(move || {
                    if let Some(last) = serve(stream, &log) {
                        log.lock().expect("no panic while it was held").push(last);
                    }
                });
            }
        });
        Self { address, seen }
    }

    /// Everything so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic while it was held").clone()
    }
}

/// Answers until the connection ends; gives what did not end well.
fn serve(mut stream: TcpStream, log: &Mutex<Vec<Seen>>) -> Option<Seen> {
    let (mut bytes, mut part) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        match wire::request(&bytes) {
            Read::Whole(message, used) if used == bytes.len() => {
                let answer = echo(&message);
                log.lock().expect("no panic while it was held").push(Seen::Whole(message));
                bytes.clear();
                stream.write_all(&answer).ok()?;
            }
            Read::Whole(..) => return Some(Seen::Bad("bytes behind a request", bytes)),
            Read::Bad(why) => return Some(Seen::Bad(why, bytes)),
            Read::More => match stream.read(&mut part) {
                Ok(count) if count > 0 => bytes.extend_from_slice(&part[..count]),
                _ if bytes.is_empty() => return None,
                _ => return Some(Seen::Aborted(bytes)),
            },
        }
    }
}

/// What `GET target` without a credential is answered with.
pub(crate) fn body_of(target: &str, host: &str) -> String {
    format!("GET {target} at {host} for -")
}

fn echo(message: &Message) -> Vec<u8> {
    let head = &message.head;
    let who = head.one("authorization").unwrap_or_else(|| "-".into());
    let host = head.one("host").unwrap_or_default();
    let body = format!("{} {} at {host} for {who}", head.method(), head.target());
    let length = body.len();
    let body = if head.method() == "HEAD" { "" } else { &body };
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}
