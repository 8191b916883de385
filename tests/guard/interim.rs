//! Interim responses between those of a real hyper server, over in-memory sockets that take as little as they like.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use larder::guard::{ConnectionState, Deadlines, Interim, ServerIo, Violation};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const PROCESSING: &str = "HTTP/1.1 102 Processing\r\n\r\n";
/// More bytes than a small socket takes, and fewer than hyper buffers.
const LARGE: usize = 20_000;

/// A socket that takes one slice at a time, so that hyper joins all that it has into one.
struct Plain(DuplexStream);

impl AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Plain {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Answers with the path and the size of the body, after two interim responses: one before anybody waits for the answer, one
/// behind the gate.
#[derive(Clone)]
struct Server {
    /// Handles of all requests so far.
    handles: Arc<Mutex<Vec<Interim>>>,
    gate: Arc<Semaphore>,
}

struct Connection {
    client: DuplexStream,
    server: Server,
    done: JoinHandle<hyper::Result<()>>,
}

impl Server {
    fn call(
        &self,
        state: &Arc<ConnectionState>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Full<Bytes>>, Infallible>> + use<> {
        assert_eq!(state.next_request(), None);
        let interim = state.interim(request.version()).expect("HTTP/1.1");
        interim.send(StatusCode::PROCESSING, &HeaderMap::new());
        self.handles.lock().unwrap().push(interim.clone());
        let (gate, state) = (Arc::clone(&self.gate), Arc::clone(state));
        async move {
            let mut answer = pin!(async {
                gate.acquire().await.unwrap().forget();
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect();
                let body = if path == "/early" {
                    // Answered before the body has come, which is read all the same.
                    tokio::spawn(body);
                    Bytes::new()
                } else {
                    body.await.unwrap().to_bytes()
                };
                let filler = if matches!(path.as_str(), "/large" | "/early") { LARGE } else { 0 };
                interim.send(StatusCode::EARLY_HINTS, &HeaderMap::new());
                Bytes::from(format!("{path} {}{}", body.len(), "x".repeat(filler)))
            });
            // As the front door does it: woken for what is queued, and the answer held back until that is written.
            let body = poll_fn(|cx| {
                state.await_interim(cx.waker());
                answer.as_mut().poll(cx)
            });
            let body = body.await;
            poll_fn(|cx| state.poll_interim_end(cx.waker())).await;
            state.answered();
            Ok(Response::builder().header(header::DATE, "now").body(Full::new(body)).unwrap())
        }
    }
}

/// A connection of which the client's socket holds `capacity` bytes; `joined`: hyper joins what it writes.
fn connect(capacity: usize, joined: bool) -> Connection {
    let (client, io) = duplex(capacity);
    let server = Server { handles: Arc::default(), gate: Arc::new(Semaphore::new(0)) };
    let done = if joined {
        tokio::spawn(serve(server.clone(), Plain(io)))
    } else {
        tokio::spawn(serve(server.clone(), io))
    };
    Connection { client, server, done }
}

async fn serve(
    server: Server,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> hyper::Result<()> {
    let io = ServerIo::new(io, Deadlines::default());
    let state = Arc::clone(io.state());
    let service = service_fn(move |request| server.call(&state, request));
    hyper::server::conn::http1::Builder::new().serve_connection(io, service).with_upgrades().await
}

impl Connection {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.client.write_all(bytes.as_ref()).await.unwrap();
    }

    async fn expect(&mut self, text: &str) {
        let mut bytes = vec![0; text.len()];
        self.client.read_exact(&mut bytes).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes), text);
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Everything before a final response, and it.
fn whole(body: &str) -> String {
    format!("{PROCESSING}HTTP/1.1 103 Early Hints\r\n\r\n{}", ok(body))
}

/// Lets every task run until it waits.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_interim_response_leaves_while_the_answer_is_awaited() {
    let mut c = connect(1 << 20, false);
    c.send(get("/1")).await;
    c.expect(PROCESSING).await;
    let again = c.server.handles.lock().unwrap()[0].clone();
    // From another task, long after the connection went to sleep.
    settle().await;
    tokio::spawn(async move { again.send(StatusCode::PROCESSING, &HeaderMap::new()) });
    c.expect(PROCESSING).await;
    c.server.gate.add_permits(1);
    c.expect("HTTP/1.1 103 Early Hints\r\n\r\n").await;
    c.expect(&ok("/1 0")).await;
}

#[tokio::test(start_paused = true)]
async fn pipelined_responses_are_never_mixed_however_slowly_the_client_takes_them() {
    for (capacity, joined) in
        [(1, false), (1, true), (7, false), (7, true), (1 << 20, false), (1 << 20, true)]
    {
        let c = connect(capacity, joined);
        c.server.gate.add_permits(3);
        let requests = get("/1") + &get("/large") + &get("/3");
        let (mut reader, mut writer) = tokio::io::split(c.client);
        let sent = tokio::spawn(async move {
            writer.write_all(requests.as_bytes()).await.unwrap();
            writer
        });
        let large = format!("/large 0{}", "x".repeat(LARGE));
        let expected = whole("/1 0") + &whole(&large) + &whole("/3 0");
        let mut seen = vec![0; expected.len()];
        reader.read_exact(&mut seen).await.unwrap();
        assert!(seen == expected.as_bytes(), "{capacity} {joined}");
        drop((reader, sent.await.unwrap()));
        c.done.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_for_the_next_request_waits_for_the_end_of_the_response_before() {
    for joined in [false, true] {
        let mut c = connect(1024, joined);
        c.server.gate.add_permits(2);
        c.send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n").await;
        c.expect(PROCESSING).await;
        settle().await;
        // The answer lies in hyper, which reads on at the end of the body, whatever is left to be written.
        c.send("abc".to_owned() + &get("/2")).await;
        settle().await;
        assert_eq!(c.server.handles.lock().unwrap().len(), 2, "the second request is being answered");
        c.expect(&format!(
            "HTTP/1.1 103 Early Hints\r\n\r\n{}",
            ok(&format!("/early 0{}", "x".repeat(LARGE)))
        ))
        .await;
        c.expect(&whole("/2 0")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn go_on_and_an_interim_response_are_both_whole() {
    for capacity in [1, 2, 5, 1 << 20] {
        let c = connect(capacity, true);
        let (mut reader, mut writer) = tokio::io::split(c.client);
        let sent = tokio::spawn(async move {
            let head = "POST /1 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
            writer.write_all(head.as_bytes()).await.unwrap();
            writer
        });
        let mut writer = sent.await.unwrap();
        settle().await;
        c.server.gate.add_permits(1);
        settle().await;
        let mut seen = vec![0; PROCESSING.len() + "HTTP/1.1 100 Continue\r\n\r\n".len()];
        reader.read_exact(&mut seen).await.unwrap();
        assert_eq!(String::from_utf8(seen).unwrap(), format!("{PROCESSING}HTTP/1.1 100 Continue\r\n\r\n"));
        writer.write_all(b"abc").await.unwrap();
        let expected = format!("HTTP/1.1 103 Early Hints\r\n\r\n{}", ok("/1 3"));
        let mut seen = vec![0; expected.len()];
        reader.read_exact(&mut seen).await.unwrap();
        assert_eq!(String::from_utf8(seen).unwrap(), expected);
        drop((reader, writer));
        c.done.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_the_answer_began_is_dropped() {
    let mut c = connect(1 << 20, false);
    c.server.gate.add_permits(2);
    c.send(get("/large")).await;
    c.expect(PROCESSING).await;
    settle().await;
    let late = c.server.handles.lock().unwrap()[0].clone();
    late.send(StatusCode::PROCESSING, &HeaderMap::new());
    settle().await;
    let large = format!("/large 0{}", "x".repeat(LARGE));
    c.expect(&format!("HTTP/1.1 103 Early Hints\r\n\r\n{}", ok(&large))).await;
    late.send(StatusCode::PROCESSING, &HeaderMap::new());
    c.send(get("/2")).await;
    c.expect(&whole("/2 0")).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_take_an_interim_response_is_cut_as_one_that_takes_no_answer() {
    let c = connect(16, false);
    let (_reader, mut writer) = tokio::io::split(c.client);
    writer.write_all(get("/1").as_bytes()).await.unwrap();
    let began = Instant::now();
    let error = c.done.await.unwrap().expect_err("the connection fails");
    assert_eq!(Violation::in_chain(&error), Some(&Violation::SlowReader));
    assert_eq!(began.elapsed(), Duration::from_secs(30));
}
