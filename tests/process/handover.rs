//! One process after the other on the same sockets, and one configuration after the other: nobody is refused, and nobody is served
//! what a write has outdated.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::harness::{DEADLINE, Orphan, Proxy, free_port, get, signal, successors, try_get, until};

const CONFIG: &str = "routes: { /v: 1h, /other: 1h }\ninvalidation: { settle: 0s }\n\
                      shutdown: { delay: 0s, timeout: 10s }\nlog: { access: off }\n";

/// An origin whose every PUT makes `/v` one more, and which says in every answer how many there were.
fn counting() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("its address");
    let version = Arc::new(AtomicU64::new(0));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let version = Arc::clone(&version);
            thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().expect("a copy"));
                let mut stream = stream;
                while let Some(head) = head(&mut reader) {
                    let seen = match head.starts_with("PUT") {
                        true => version.fetch_add(1, Ordering::SeqCst) + 1,
                        false => version.load(Ordering::SeqCst),
                    };
                    let body = seen.to_string();
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A head, or `None` where the other side is done.
fn head(reader: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

/// A client that keeps its connection for as long as it is told that it may.
struct Client {
    server: SocketAddr,
    open: Option<BufReader<TcpStream>>,
}

impl Client {
    fn new(server: SocketAddr) -> Self {
        Self { server, open: None }
    }

    /// The number in the answer's body.
    fn ask(&mut self, method: &str, path: &str) -> Result<u64, String> {
        let mut reader = match self.open.take() {
            Some(open) => open,
            None => {
                let stream = TcpStream::connect(self.server).map_err(|why| format!("connect: {why}"))?;
                stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
                stream.set_nodelay(true).expect("an option");
                BufReader::new(stream)
            }
        };
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        reader.get_mut().write_all(request.as_bytes()).map_err(|why| format!("write: {why}"))?;
        let head = head(&mut reader).ok_or("closed without an answer")?.to_ascii_lowercase();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let length = field("content-length:").and_then(|length| length.parse().ok()).ok_or("no length")?;
        let mut body = vec![0; length];
        reader.read_exact(&mut body).map_err(|why| format!("cut: {why}"))?;
        if field("connection:") != Some("close") {
            self.open = Some(reader);
        }
        if !head.starts_with("http/1.1 200") {
            return Err(head);
        }
        String::from_utf8_lossy(&body).parse().map_err(|_| format!("{body:?}"))
    }
}

/// Clients that go on asking until they are told to stop; what went wrong.
struct Load {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<thread::JoinHandle<Vec<String>>>,
}

impl Load {
    /// Readers, and one who writes and reads what he wrote.
    fn on(server: SocketAddr) -> Self {
        let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let clients = (0..6).map(|nth| {
            let (over, answered) = (Arc::clone(&over), Arc::clone(&answered));
            thread::spawn(move || {
                let (mut client, mut another, mut wrong) =
                    (Client::new(server), Client::new(server), Vec::new());
                let mut least = 0;
                while !over.load(Ordering::Relaxed) {
                    if nth == 0 {
                        match client.ask("PUT", "/v") {
                            Ok(version) => least = version,
                            Err(why) => wrong.push(why),
                        }
                    }
                    match another.ask("GET", if nth % 2 == 0 { "/v" } else { "/other" }) {
                        Ok(version) if nth == 0 && version < least => {
                            wrong.push(format!("{version} after {least} was acknowledged"));
                        }
                        Ok(_) => _ = answered.fetch_add(1, Ordering::Relaxed),
                        Err(why) => wrong.push(why),
                    }
                }
                wrong
            })
        });
        let clients = clients.collect();
        Self { over, answered, clients }
    }

    /// Waits until it has had so many answers more.
    fn goes_on(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        until("clients are answered", || {
            (self.answered.load(Ordering::Relaxed) > before + 200).then_some(())
        });
    }

    fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        for client in self.clients {
            assert_eq!(client.join().expect("no client panics"), Vec::<String>::new());
        }
        assert!(self.answered.load(Ordering::Relaxed) > 1000);
    }
}

fn digest(proxy: &Proxy) -> Option<String> {
    let metrics = try_get(proxy.admin, "/metrics")?.body;
    let line = metrics.lines().find(|line| line.starts_with("larder_config_info{"))?;
    Some(line.to_owned())
}

#[test]
fn twenty_reloads_and_five_restarts_under_load_fail_nobody() {
    let proxy = Proxy::start(counting(), CONFIG);
    let load = Load::on(proxy.listen);
    for nth in 0..20 {
        let before = digest(&proxy).expect("it answers");
        let ttl = if nth % 2 == 0 { "2h" } else { "1h" };
        proxy.configure(&CONFIG.replace("/other: 1h", &format!("/other: {ttl}")));
        proxy.signal("HUP");
        until("the new file is in force", || (digest(&proxy)? != before).then_some(()));
        load.goes_on();
    }
    let mut current = proxy.id();
    let mut orphans = Vec::new();
    for nth in 1..=5 {
        signal("USR2", current);
        current = until("the next process accepts", || successors(&proxy).get(nth - 1).copied());
        orphans.push(Orphan(current));
        load.goes_on();
        until("the one before it has ended, and the next one caches", || {
            let ended = proxy.stderr().matches("the process before this one has ended").count();
            (ended == nth).then_some(())
        });
        load.goes_on();
        until("a hit", || get(proxy.listen, "/other").head.contains("x-cache: hit").then_some(()));
    }
    load.end();
    signal("TERM", current);
    until("the door closes", || try_get(proxy.listen, "/v").is_none().then_some(()));
    assert_eq!(proxy.join().code(), Some(0), "the first one ended in order");
}

#[test]
fn a_successor_that_cannot_start_changes_nothing() {
    let proxy = Proxy::start(counting(), CONFIG);
    get(proxy.listen, "/other");
    proxy.configure("routes: { nonsense\n");
    proxy.signal("USR2");
    until("it is told", || proxy.stderr().contains("no process comes after this one").then_some(()));
    assert!(get(proxy.listen, "/other").head.contains("x-cache: hit"), "and serves what it keeps");
}

#[test]
fn while_the_process_before_it_has_clients_the_next_one_keeps_nothing() {
    let origin = crate::harness::Origin::start();
    let proxy = Proxy::start(origin.address, CONFIG);
    let listen = proxy.listen;
    let held = thread::spawn(move || get(listen, "/held"));
    origin.wait_for_held();
    proxy.signal("USR2");
    let next = Orphan(until("the next process accepts", || successors(&proxy).first().copied()));
    // The one before it accepts until it has closed its door.
    until("only the next one accepts", || {
        let answer = get(listen, "/other");
        assert!(answer.head.contains("fwd=bypass"), "{}", answer.head);
        answer.head.contains("detail=succeeding").then_some(())
    });
    for _ in 0..3 {
        let answer = get(listen, "/other");
        assert!(answer.head.contains("detail=succeeding"), "{}", answer.head);
    }
    origin.release();
    assert_eq!(held.join().expect("it is answered").body, "ok");
    assert_eq!(proxy.join().code(), Some(0));
    until("it caches", || get(listen, "/other").head.contains("x-cache: hit").then_some(()));
    drop(next);
}

#[test]
fn a_reload_by_command_and_by_the_file_itself_is_told_and_a_wrong_file_changes_nothing() {
    let proxy = Proxy::start(counting(), CONFIG);
    get(proxy.listen, "/other");
    let before = digest(&proxy).expect("it answers");
    proxy.configure("routes: { /other: soon }\n");
    let refused = proxy.command(&["reload"]);
    assert_eq!(refused.code, Some(78), "{refused:?}");
    refused.assert(78, &["larder.yaml:1:19", "soon"]);
    assert_eq!(digest(&proxy).expect("it answers"), before);
    assert!(get(proxy.listen, "/other").head.contains("x-cache: hit"));
    let metrics = get(proxy.admin, "/metrics").body;
    assert!(metrics.contains("larder_config_reloads_total{result=\"failed\"}"), "{metrics}");
    assert!(get(proxy.admin, "/v1/config").body.contains("soon"), "the failure is shown");
    proxy.configure(&format!("{CONFIG}limits: {{ memory: 9MiB }}\n"));
    until("the file alone is enough", || (digest(&proxy)? != before).then_some(()));
    let same = proxy.command(&["reload"]);
    same.assert(0, &[]);
    assert!(
        same.stdout.contains("nothing has changed\nnot before a restart: limits.memory\n"),
        "{}",
        same.stdout
    );
    assert!(get(proxy.listen, "/other").head.contains("x-cache: hit"), "its rules are the same");
}

#[test]
fn sockets_of_a_service_manager_are_used_instead_of_addresses() {
    let port = free_port();
    // The shell stands for the manager: it opens nothing, and says that there is something.
    let folder = crate::harness::folder();
    std::fs::write(folder.path().join("larder.yaml"), "upstream: http://127.0.0.1:9\nadmin: off\n")
        .expect("a file");
    let listen = format!("127.0.0.1:{port}");
    let mut command = crate::harness::larder(&folder);
    command.args(["run", "--listen", &listen]).env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "clients");
    crate::harness::run(&mut command).assert(1, &["LISTEN_FDS", "cannot be used"]);
}
