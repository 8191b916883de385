//! A real hyper server over a guarded in-memory socket, under a clock that tokio moves only when all wait.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use larder::guard::{ConnectionState, Deadlines, Protocol, ServerIo, Violation};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const GET: &str = "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n";

fn get(path: &str) -> String {
    GET.replace("{}", path)
}

/// Tells the connection when the answer is done with.
struct Answer {
    body: BoxBody<Bytes, Infallible>,
    state: Arc<ConnectionState>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.state.answered();
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A server that answers with the path and the size of the body; what it met and a gate that `/gate` waits at.
#[derive(Clone)]
struct Server {
    met: Arc<Mutex<Vec<String>>>,
    gate: Arc<Semaphore>,
    answers: Arc<AtomicUsize>,
}

struct Connection {
    client: DuplexStream,
    server: Server,
    done: JoinHandle<Result<Protocol, Box<dyn std::error::Error + Send + Sync>>>,
}

impl Server {
    async fn handle(&self, state: Arc<ConnectionState>, request: Request<Incoming>) -> Response<Answer> {
        let path = request.uri().path().to_owned();
        let violation = state.next_request();
        self.met.lock().unwrap().push(violation.map_or(path.clone(), |violation| violation.reason().into()));
        let mut response = match violation {
            Some(violation) => Self::refusal(violation),
            None if path == "/tunnel" => Self::tunnel(&state, request),
            None => self.read(&path, request).await,
        };
        let body = std::mem::take(response.body_mut());
        response.map(|_| Answer { body: BoxBody::new(Full::new(Bytes::from(body))), state })
    }

    async fn read(&self, path: &str, request: Request<Incoming>) -> Response<String> {
        if path == "/gate" {
            self.gate.acquire().await.unwrap().forget();
        }
        self.answers.fetch_add(1, Ordering::SeqCst);
        if path == "/large" {
            return Response::new("x".repeat(1_000_000));
        }
        if path == "/unread" {
            return Response::new("unread".into());
        }
        match request.into_body().collect().await {
            Ok(body) => Response::new(format!("{path} {}", body.to_bytes().len())),
            Err(error) => Self::refusal(*Violation::in_chain(&error).expect("a violation in the chain")),
        }
    }

    fn refusal(violation: Violation) -> Response<String> {
        let mut response = Response::new(violation.reason().to_owned());
        *response.status_mut() = violation.status();
        response.headers_mut().insert(header::CONNECTION, "close".parse().unwrap());
        response
    }

    fn tunnel(state: &ConnectionState, request: Request<Incoming>) -> Response<String> {
        state.open_tunnel();
        tokio::spawn(async move {
            let mut io = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
            let mut bytes = [0; 64];
            while let Ok(n @ 1..) = io.read(&mut bytes).await {
                io.write_all(&bytes[..n]).await.unwrap();
            }
        });
        let mut response = Response::new(String::new());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(header::UPGRADE, "echo".parse().unwrap());
        response.headers_mut().insert(header::CONNECTION, "upgrade".parse().unwrap());
        response
    }
}

fn connect_with(capacity: usize, deadlines: Deadlines) -> Connection {
    let (client, io) = duplex(capacity);
    let server = Server { met: Arc::default(), gate: Arc::new(Semaphore::new(0)), answers: Arc::default() };
    let serving = server.clone();
    let done = tokio::spawn(async move {
        let mut io = ServerIo::new(io, deadlines);
        let protocol = io.sniff().await?;
        let state = Arc::clone(io.state());
        let service = service_fn(move |request| {
            let (server, state) = (serving.clone(), Arc::clone(&state));
            async move { Ok::<_, Infallible>(server.handle(state, request).await) }
        });
        match protocol {
            Protocol::Http1 => {
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(io, service)
                    .with_upgrades()
                    .await?
            }
            Protocol::Http2 => {
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(io, service)
                    .await?
            }
        }
        Ok(protocol)
    });
    Connection { client, server, done }
}

fn connect() -> Connection {
    connect_with(1 << 20, Deadlines::default())
}

impl Connection {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.client.write_all(bytes.as_ref()).await.unwrap();
    }

    /// What came until `end` did.
    async fn read_until(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            text.push(char::from(
                self.client.read_u8().await.unwrap_or_else(|_| panic!("ended after {text:?}")),
            ));
        }
        text
    }

    /// What came until the server closed the connection.
    async fn read_to_end(&mut self) -> String {
        let mut text = String::new();
        self.client.read_to_string(&mut text).await.unwrap();
        text
    }

    fn met(&self) -> Vec<String> {
        self.server.met.lock().unwrap().clone()
    }
}

/// Lets every task run until it waits.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn seconds(since: Instant) -> u64 {
    since.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn a_refused_head_is_answered_in_its_turn_and_nothing_after_it_is_served() {
    let mut c = connect();
    c.send(get("1") + &get("gate") + "GET /bad HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + &get("smuggled"))
        .await;
    settle().await;
    assert_eq!(c.met(), ["/1", "/gate"]);
    c.server.gate.add_permits(1);
    let text = c.read_to_end().await;
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} in {text}"));
    assert!(at("/1 0") < at("/gate 0") && at("/gate 0") < at("400 Bad Request"), "{text}");
    assert!(text.ends_with("repeated-host"));
    assert_eq!(c.met(), ["/1", "/gate", "repeated-host"]);
    drop(c.client);
    c.done.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stand_in_cannot_be_forged() {
    let mut c = connect();
    let forged = "GET / HTTP/1.1\r\nHost: larder.invalid\r\nConnection: close\r\n\r\n";
    c.send(forged).await;
    assert!(c.read_to_end().await.starts_with("HTTP/1.1 200 OK"));
    assert_eq!(c.met(), ["/"]);
}

#[tokio::test(start_paused = true)]
async fn requests_arrive_whole_however_they_are_split() {
    let mut c = connect();
    let requests = get("1")
        + "\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nA: b\r\n\r\n"
        + "POST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    for byte in requests.bytes() {
        c.send([byte]).await;
        settle().await;
    }
    let text = c.read_to_end().await;
    assert!(["/1 0", "/2 3", "/3 5"].iter().all(|part| text.contains(part)), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_large_upload_passes_unchanged_in_length() {
    let mut c = connect();
    let body = "x".repeat(3_000_000);
    let head = format!(
        "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    c.send(head + &body).await;
    assert!(c.read_to_end().await.ends_with("/up 3000000"));
}

#[tokio::test(start_paused = true)]
async fn a_violation_in_a_body_reaches_its_reader_and_the_answer_still_leaves() {
    let mut c = connect();
    c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX0\r\n\r\n").await;
    let text = c.read_to_end().await;
    assert!(text.starts_with("HTTP/1.1 400") && text.ends_with("chunk-end"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_takes_more_than_ten_seconds_is_answered_408() {
    let mut c = connect();
    let began = Instant::now();
    for byte in "GET / HTT".bytes() {
        c.send([byte]).await;
        settle().await;
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let text = c.read_to_end().await;
    assert!(text.starts_with("HTTP/1.1 408") && text.ends_with("slow-head"), "{text}");
    assert_eq!(seconds(began), 10);
    assert_eq!(c.met(), ["slow-head"]);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_could_be_http2_has_no_more_time_than_another() {
    for (part, answer) in [("P", "HTTP/1.1 408"), ("PRI * HTTP/2.0\r\n", "HTTP/1.1 505")] {
        let mut c = connect();
        let began = Instant::now();
        c.send(part).await;
        assert!(c.read_to_end().await.starts_with(answer));
        assert_eq!(seconds(began), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn each_head_has_its_own_ten_seconds() {
    let mut c = connect();
    c.send("GET / HTTP/1.1\r\n").await;
    for _ in 0..5 {
        settle().await;
        tokio::time::advance(Duration::from_secs(8)).await;
        // The end of one head and the beginning of the next.
        c.send("Host: a\r\n\r\nGET / HTTP/1.1\r\n").await;
        c.read_until("/ 0").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_byte_is_closed_after_ten_seconds() {
    let mut c = connect();
    let began = Instant::now();
    assert_eq!(c.read_to_end().await, "");
    assert_eq!(seconds(began), 10);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_quietly_75_seconds_after_its_last_answer() {
    let mut c = connect();
    for _ in 0..3 {
        c.send(get("")).await;
        c.read_until("/ 0").await;
        tokio::time::advance(Duration::from_secs(70)).await;
        settle().await;
    }
    c.send(get("")).await;
    c.read_until("/ 0").await;
    let answered = Instant::now();
    assert_eq!(c.read_to_end().await, "");
    assert_eq!(seconds(answered), 75);
    assert!(c.done.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_not_idle_while_it_is_being_answered() {
    let mut c = connect();
    c.send(get("gate")).await;
    settle().await;
    tokio::time::advance(Duration::from_secs(3600)).await;
    settle().await;
    c.server.gate.add_permits(1);
    assert!(c.read_until("/gate 0").await.starts_with("HTTP/1.1 200 OK"));
    let answered = Instant::now();
    assert_eq!(c.read_to_end().await, "");
    assert_eq!(seconds(answered), 75);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_is_given_up_after_one_window() {
    let mut c = connect();
    let began = Instant::now();
    c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").await;
    for _ in 0..9 {
        c.send("x").await;
        settle().await;
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let text = c.read_to_end().await;
    assert!(text.starts_with("HTTP/1.1 408") && text.ends_with("slow-body"), "{text}");
    assert_eq!(seconds(began), 10);
}

#[tokio::test(start_paused = true)]
async fn a_body_at_the_least_rate_may_take_its_time() {
    let mut c = connect();
    c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n").await;
    for _ in 0..100 {
        c.send("x".repeat(300)).await;
        settle().await;
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!(c.read_until("/ 30000").await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_nobody_asks_for_is_not_slow() {
    let mut c = connect();
    c.send("POST /gate HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab").await;
    settle().await;
    tokio::time::advance(Duration::from_secs(600)).await;
    settle().await;
    c.server.gate.add_permits(1);
    settle().await;
    c.send("cd").await;
    assert!(c.read_until("/gate 4").await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_for_thirty_seconds_is_cut() {
    let mut c = connect_with(512, Deadlines::default());
    c.send(get("large")).await;
    let began = Instant::now();
    let error = c.done.await.unwrap().expect_err("the connection fails");
    assert_eq!(Violation::in_chain(&*error), Some(&Violation::SlowReader));
    assert_eq!(seconds(began), 30);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_but_steadily_gets_everything() {
    // Less patience with the idle than with the slow: who is being written to is not idle.
    let deadlines = Deadlines { idle: Duration::from_secs(15), ..Deadlines::default() };
    let mut c = connect_with(64 * 1024, deadlines);
    c.send(get("large")).await;
    let mut read = 0;
    loop {
        let mut bytes = vec![0; 20_000];
        match c.client.read(&mut bytes).await.unwrap() {
            0 => break,
            n => read += n,
        }
        settle().await;
        tokio::time::advance(Duration::from_secs(20)).await;
        settle().await;
    }
    assert!(read > 1_000_000, "{read}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_given_before_the_end_of_a_body_is_not_lost_to_what_is_still_sent() {
    let mut c = connect_with(256, Deadlines::default());
    let began = Instant::now();
    c.send("POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\nConnection: close\r\n\r\n").await;
    // More than the pipe holds: goes on only because the server reads on, for as long as it lingers.
    let (mut reader, mut writer) = tokio::io::split(c.client);
    let sent = tokio::spawn(async move { writer.write_all(&[b'x'; 100_000]).await.is_ok() });
    let mut text = String::new();
    reader.read_to_string(&mut text).await.unwrap();
    assert!(text.ends_with("unread"), "{text}");
    assert!(sent.await.unwrap());
    drop(reader);
    c.done.await.unwrap().unwrap();
    assert!(seconds(began) <= 2);
}

#[tokio::test(start_paused = true)]
async fn what_follows_an_upgrade_goes_into_the_tunnel_and_only_there() {
    let mut c = connect();
    let early = get("smuggled");
    c.send(
        "GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n".to_owned() + &early,
    )
    .await;
    let text = c.read_until(&early).await;
    assert!(text.starts_with("HTTP/1.1 101"), "{text}");
    c.send(b"\0\x01\xffnot HTTP\n").await;
    let mut echo = [0; 12];
    c.client.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"\0\x01\xffnot HTTP\n");
    tokio::time::advance(Duration::from_secs(3600)).await;
    c.send("still there").await;
    c.read_until("still there").await;
    assert_eq!(c.met(), ["/tunnel"]);
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_declined_upgrade_is_the_next_request_and_waits_for_the_answer() {
    let mut c = connect();
    c.send(
        "GET /gate HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n".to_owned() + &get("2"),
    )
    .await;
    settle().await;
    assert_eq!(c.met(), ["/gate"]);
    c.server.gate.add_permits(1);
    let text = c.read_until("/2 0").await;
    assert!(text.contains("/gate 0"), "{text}");
    c.send("GET /3 HTTP/1.1\r\n\r\n").await;
    assert!(c.read_to_end().await.ends_with("missing-host"));
}

#[tokio::test(start_paused = true)]
async fn http2_with_prior_knowledge_passes_and_is_closed_when_idle_but_not_when_busy() {
    let c = connect();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(c.client)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = |path: &str| Request::get(format!("http://a{path}")).body(Full::new(Bytes::new())).unwrap();
    let answer = sender.send_request(request("/1")).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "/1 0");
    let waiting = tokio::spawn(sender.send_request(request("/gate")));
    settle().await;
    tokio::time::advance(Duration::from_secs(600)).await;
    settle().await;
    c.server.gate.add_permits(1);
    assert_eq!(waiting.await.unwrap().unwrap().into_body().collect().await.unwrap().to_bytes(), "/gate 0");
    let answered = Instant::now();
    assert_eq!(c.done.await.unwrap().unwrap(), Protocol::Http2);
    assert_eq!(seconds(answered), 75);
    drop(connection.await);
}

#[tokio::test(start_paused = true)]
async fn a_preface_may_come_in_pieces() {
    let (mut client, io) = duplex(1024);
    let mut io = ServerIo::new(io, Deadlines::default());
    let sniffed = tokio::spawn(async move { io.sniff().await.map(|protocol| (protocol, io)) });
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
        client.write_all(&[*byte]).await.unwrap();
        settle().await;
    }
    let (protocol, io) = sniffed.await.unwrap().unwrap();
    assert_eq!(protocol, Protocol::Http2);
    client.write_all(b"frames").await.unwrap();
    let mut read = [0; 30];
    TokioIo::new(io).read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nframes");
}
