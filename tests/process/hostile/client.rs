//! A client that writes raw bytes and reads until the other side closes.

use std::io::{ErrorKind, Read as _, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::wire::{self, Message, Read};

/// Within this, every connection must have ended: nothing hangs.
pub(crate) const BOUND: Duration = Duration::from_secs(5);

/// The time, of sockets that are real.
#[expect(clippy::disallowed_methods, reason = "a test of real deadlines has no clock of its own")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// What a connection gave.
#[derive(Debug)]
pub(crate) struct Talk {
    pub(crate) bytes: Vec<u8>,
    /// Whether it was closed within the bound.
    pub(crate) ended: bool,
}

/// When the client says that it will send no more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum HalfClose {
    Never,
    AtOnce,
    /// After so long without an end.
    After(Duration),
}

/// Sends `bytes`, reads to the end.
pub(crate) fn talk(server: SocketAddr, bytes: &[u8], half_close: HalfClose) -> Talk {
    let mut stream = TcpStream::connect(server).expect("the proxy accepts");
    stream.set_nodelay(true).expect("an option");
    let mut sender = stream.try_clone().expect("a second handle");
    let begun = now();
    thread::scope(|scope| {
        // Of its own, lest both sides wait for the other to read. The proxy may close before it has read all.
        let sending = scope.spawn(move || {
            let _ = sender.write_all(bytes);
            if half_close == HalfClose::AtOnce {
                let _ = sender.shutdown(Shutdown::Write);
            }
        });
        let mut talk = Talk { bytes: Vec::new(), ended: false };
        if let HalfClose::After(patience) = half_close {
            talk.read(&mut stream, patience);
            if !talk.ended {
                let _ = stream.shutdown(Shutdown::Write);
            }
        }
        talk.read(&mut stream, BOUND.saturating_sub(begun.elapsed()));
        let _ = stream.shutdown(Shutdown::Both);
        sending.join().expect("the sender ends");
        talk
    })
}

impl Talk {
    fn read(&mut self, stream: &mut TcpStream, bound: Duration) {
        let begun = now();
        let mut part = vec![0; 64 * 1024];
        while !self.ended {
            let Some(left) = bound.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) else {
                return;
            };
            stream.set_read_timeout(Some(left)).expect("a timeout");
            match stream.read(&mut part) {
                Ok(0) => self.ended = true,
                Ok(count) => self.bytes.extend_from_slice(&part[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return,
                Err(_) => self.ended = true,
            }
        }
    }

    /// The answers, strictly read; `bare`: they answer HEAD.
    pub(crate) fn answers(&self, bare: bool) -> Result<Vec<Message>, String> {
        let (mut answers, mut at) = (Vec::new(), 0);
        while at < self.bytes.len() {
            let rest = &self.bytes[at..];
            match wire::response(rest, bare, self.ended) {
                Read::Whole(message, used) => {
                    answers.push(message);
                    at += used;
                }
                Read::More => return Err(format!("an answer is cut: {}", rest.escape_ascii())),
                Read::Bad(why) => return Err(format!("{why}: {}", rest.escape_ascii())),
            }
        }
        Ok(answers)
    }
}

/// One good GET on a connection of its own.
pub(crate) fn get(server: SocketAddr, target: &str, fields: &str) -> Result<Message, String> {
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}Connection: close\r\n\r\n");
    let talk = talk(server, request.as_bytes(), HalfClose::Never);
    if !talk.ended {
        return Err(format!("{target} hangs"));
    }
    talk.answers(false)?.pop().ok_or_else(|| format!("no answer to {target}"))
}
