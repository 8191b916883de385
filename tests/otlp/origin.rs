//! An origin that remembers how it was asked, and holds back what a test wants held.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use crate::harness::until;

pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    heads: Mutex<Vec<String>>,
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Origin {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let (address, shared) = (listener.local_addr().expect("its address"), Arc::<Shared>::default());
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let serving = Arc::clone(&serving);
                thread::spawn(move || {
                    // Whoever asked may be gone.
                    let _ = serving.converse(stream);
                });
            }
        });
        Self { address, shared }
    }

    /// The heads of what it was asked, in lower case, oldest first.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().expect("nobody panicked").clone()
    }

    /// The value of a field in each request for this path.
    pub(crate) fn told(&self, path: &str, field: &str) -> Vec<Option<String>> {
        let (path, field) = (format!(" {path} http/1.1"), format!("{field}: "));
        let of = |head: &String| head.lines().find_map(|line| line.strip_prefix(&field)).map(str::to_owned);
        self.heads()
            .iter()
            .filter(|head| head.lines().next().is_some_and(|line| line.ends_with(&path)))
            .map(of)
            .collect()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, path: &str) {
        until("the origin is asked", || (!self.told(path, "host").is_empty()).then_some(()));
    }

    /// Lets `/held` go, now and from now on.
    pub(crate) fn open(&self) {
        *self.shared.is_open.lock().expect("nobody panicked") = true;
        self.shared.opened.notify_all();
    }
}

impl Shared {
    fn converse(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head)? == 0 {
                    return Ok(());
                }
            }
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            reader.read_exact(&mut vec![0; length.unwrap_or(0)])?;
            let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let path = target.split('?').next().unwrap_or_default().to_owned();
            let is_head = head.starts_with("head ");
            self.heads.lock().expect("nobody panicked").push(head);
            let (status, fields) = match path.as_str() {
                "/api/fails" => ("500 Internal Server Error", ""),
                "/api/missing" => ("404 Not Found", ""),
                "/api/cookie" => ("200 OK", "Set-Cookie: session=s3cret-of-the-origin\r\n"),
                "/api/soon" => {
                    ("200 OK", "Cache-Control: max-age=0, stale-while-revalidate=600\r\nETag: \"e\"\r\n")
                }
                "/api/cut" => ("200 OK", "X-Cut: 1\r\n"),
                _ => ("200 OK", "ETag: \"e\"\r\n"),
            };
            if path == "/held" {
                let closed = |open: &mut bool| !*open;
                drop(self.opened.wait_while(self.is_open.lock().expect("nobody panicked"), closed));
            }
            if path == "/api/cut" {
                return write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Length: 9999\r\n\r\n{}",
                    "x".repeat(100)
                );
            }
            let body = if is_head { "" } else { "ok" };
            write!(stream, "HTTP/1.1 {status}\r\n{fields}Content-Length: 2\r\n\r\n{body}")?;
        }
    }
}
