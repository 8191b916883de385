//! Interim answers with the fetch on one thread and the client's connection on another: none is late, lost or misplaced.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use crate::harness::Proxy;

const CLIENTS: usize = 8;
const REQUESTS: usize = 150;
/// The client gives up first, so that what is missing is named.
const PATIENCE: Duration = Duration::from_secs(60);
const PROCESSING: &str = "HTTP/1.1 102 Processing\r\n\r\n";

/// The requests whose interim answers have reached their client.
#[derive(Default)]
struct Reached {
    numbers: Mutex<HashSet<usize>>,
    changed: Condvar,
}

impl Reached {
    fn tell(&self, number: usize) {
        self.numbers.lock().expect("no test has failed").insert(number);
        self.changed.notify_all();
    }

    fn wait(&self, number: usize) {
        let numbers = self.numbers.lock().expect("no test has failed");
        let waiting =
            self.changed.wait_timeout_while(numbers, 2 * PATIENCE, |numbers| !numbers.contains(&number));
        drop(waiting.expect("no test has failed"));
    }
}

/// The head of the next message, in lower case.
fn head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).to_ascii_lowercase())
}

fn hints(n: usize) -> String {
    format!("HTTP/1.1 103 Early Hints\r\nLink: </{n}>\r\n\r\n")
}

/// Answers with two interim responses and a final one: all in one segment, or the last only once the others have arrived.
fn answer(mut stream: TcpStream, reached: &Reached) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    for n in 0.. {
        let asked = head(&mut stream)?;
        let path = asked.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
        let number = path.parse().unwrap_or_default();
        let parts = [PROCESSING, &hints(number), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"];
        if n % 2 == 0 {
            stream.write_all(parts.concat().as_bytes())?;
        } else {
            let [first, second, last] = parts;
            stream.write_all(first.as_bytes())?;
            stream.write_all(second.as_bytes())?;
            reached.wait(number);
            stream.write_all(last.as_bytes())?;
        }
    }
    Ok(())
}

fn origin(reached: &Arc<Reached>) -> SocketAddr {
    let reached = Arc::clone(reached);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let reached = Arc::clone(&reached);
            // The other side leaves when it wants to.
            thread::spawn(move || drop(answer(stream, &reached)));
        }
    });
    address
}

/// Asks again and again over one connection, two requests at a time.
fn ask(proxy: SocketAddr, client: usize, reached: &Reached) {
    let mut stream = TcpStream::connect(proxy).expect("it listens");
    stream.set_nodelay(true).expect("an option");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    for pair in 0..REQUESTS / 2 {
        let numbers = [2 * pair, 2 * pair + 1].map(|n| client * REQUESTS + n);
        let asked = numbers.map(|n| format!("GET /{n} HTTP/1.1\r\nHost: localhost\r\n\r\n")).concat();
        stream.write_all(asked.as_bytes()).expect("it takes requests");
        for number in numbers {
            let mut next = || head(&mut stream).expect("a head");
            assert_eq!(next(), PROCESSING.to_ascii_lowercase());
            assert_eq!(next(), hints(number).to_ascii_lowercase());
            reached.tell(number);
            let last = next();
            assert!(last.starts_with("http/1.1 200 ") && !last.contains("link"), "{last}");
            let mut body = [0; 2];
            stream.read_exact(&mut body).expect("a body");
            assert_eq!(&body, b"ok");
        }
    }
}

#[test]
fn every_interim_answer_comes_in_its_place_whichever_thread_it_comes_from() {
    for config in ["defaults: { unmatched: bypass }", "routes: { '/{n}': 1h }"] {
        let reached = Arc::default();
        let proxy = Proxy::start(origin(&reached), &format!("{config}\nshutdown: {{ delay: 0s }}\n"));
        thread::scope(|threads| {
            for client in 0..CLIENTS {
                let (listen, reached) = (proxy.listen, &reached);
                threads.spawn(move || ask(listen, client, reached));
            }
        });
    }
}
