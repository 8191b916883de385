//! A real hyper client over a guarded in-memory socket, with an origin that is a script.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use larder::guard::{Asked, ClientIo, ClientState, Framing, RESPONSE_FIELDS_MAX, Violation};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

struct Upstream {
    sender: SendRequest<Empty<Bytes>>,
    state: Arc<ClientState>,
    origin: DuplexStream,
    connection: JoinHandle<hyper::Result<()>>,
}

async fn connect() -> Upstream {
    connect_framed(Framing::Strict).await
}

async fn connect_framed(framing: Framing) -> Upstream {
    let (io, origin) = duplex(1 << 20);
    let io = ClientIo::new(io, framing);
    let state = Arc::clone(io.state());
    let mut builder = hyper::client::conn::http1::Builder::new();
    let (sender, connection) = builder.max_headers(RESPONSE_FIELDS_MAX).handshake(io).await.unwrap();
    Upstream { sender, state, origin, connection: tokio::spawn(connection.with_upgrades()) }
}

type Answer = hyper::Result<Response<Incoming>>;

impl Upstream {
    /// Sends a request; the origin reads it, then says `response`.
    async fn ask(&mut self, method: Method, fields: &[(&str, &str)], response: impl AsRef<[u8]>) -> Answer {
        self.ask_and(method, fields, response, false).await
    }

    /// The same, and then the origin closes the connection.
    async fn ask_last(&mut self, response: impl AsRef<[u8]>) -> Answer {
        self.ask_and(Method::GET, &[], response, true).await
    }

    async fn ask_and(
        &mut self,
        method: Method,
        fields: &[(&str, &str)],
        response: impl AsRef<[u8]>,
        last: bool,
    ) -> Answer {
        self.sender.ready().await?;
        let mut request = Request::builder().method(method).uri("/").header("Host", "a");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::new()).unwrap();
        self.state.begin(Asked::of(request.method(), request.headers()));
        let answer = self.sender.send_request(request);
        let origin = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.origin.read_u8().await.unwrap());
            }
            self.origin.write_all(response.as_ref()).await.unwrap();
            if last {
                self.origin.shutdown().await.unwrap();
            }
        };
        let (answer, ()) = tokio::join!(answer, origin);
        answer
    }
}

async fn text(answer: Answer) -> String {
    let bytes = answer.unwrap().into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn violation(error: &(dyn Error + 'static)) -> Option<Violation> {
    Violation::in_chain(error).copied()
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";

#[tokio::test]
async fn a_connection_is_used_again_after_well_framed_responses() {
    let mut up = connect().await;
    assert_eq!(text(up.ask(Method::GET, &[], OK).await).await, "abc");
    let head = up.ask(Method::HEAD, &[], "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n").await;
    assert_eq!(text(head).await, "");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nHost: b\r\n\r\n";
    assert_eq!(text(up.ask(Method::GET, &[], chunked).await).await, "abc");
    let interim = format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{OK}");
    assert_eq!(text(up.ask(Method::GET, &[], interim).await).await, "abc");
    let fields = "X: a\r\n".repeat(RESPONSE_FIELDS_MAX - 1);
    let many = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 3\r\n\r\nabc");
    assert_eq!(text(up.ask(Method::GET, &[], many).await).await, "abc");
    let large = format!("HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n{}", "x".repeat(900_000));
    assert_eq!(text(up.ask(Method::GET, &[], large).await).await.len(), 900_000);
}

#[tokio::test]
async fn a_surplus_in_the_same_read_spoils_the_response() {
    for response in [format!("{OK}d"), format!("{OK}{OK}"), "HTTP/1.1 204 No Content\r\n\r\nabc".into()] {
        let error = connect().await.ask(Method::GET, &[], response).await.unwrap_err();
        assert_eq!(violation(&error), Some(Violation::Unsolicited));
    }
}

#[tokio::test]
async fn a_surplus_after_the_last_piece_of_a_body_holds_that_piece_back() {
    let mut up = connect().await;
    let answer = up.ask(Method::GET, &[], "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc").await;
    let mut body = answer.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
    up.origin.write_all(b"defg").await.unwrap();
    assert_eq!(violation(&body.frame().await.unwrap().unwrap_err()), Some(Violation::Unsolicited));
}

#[tokio::test]
async fn a_surplus_right_behind_a_full_read_spoils_the_response_too() {
    let error = connect().await.ask(Method::GET, &[], full_read() + "z").await.unwrap_err();
    assert_eq!(violation(&error), Some(Violation::Unsolicited));
}

/// As much as one read can take at first: what follows it is seen only by looking ahead.
fn full_read() -> String {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 8000\r\nX: ";
    let padding = "x".repeat(8192 - 8000 - head.len() - 4);
    let response = format!("{head}{padding}\r\n\r\n{}", "y".repeat(8000));
    assert_eq!(response.len(), 8192);
    response
}

#[tokio::test]
async fn a_surplus_leniently_framed_is_dropped_and_the_connection_with_it() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for (response, due) in [
        (format!("{OK}d"), "abc".to_owned()),
        (format!("{OK}{}", "d".repeat(300_000)), "abc".into()),
        (format!("{OK}{OK}"), "abc".into()),
        (format!("{chunked}{OK}"), "abc".into()),
        ("HTTP/1.1 204 No Content\r\n\r\nabc".into(), String::new()),
        (full_read() + "z", "y".repeat(8000)),
        (
            format!("HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n{}", "y".repeat(99_999)),
            "y".repeat(90_000),
        ),
    ] {
        let mut up = connect_framed(Framing::Lenient).await;
        let answer = up.ask(Method::GET, &[], response).await;
        assert_eq!(text(answer).await, due);
        assert!(up.state.is_spent(), "by the time the body has ended");
        up.sender.ready().await.unwrap_err();
        let error = up.connection.await.unwrap().unwrap_err();
        assert_eq!(violation(&error), Some(Violation::Unsolicited));
    }
}

#[tokio::test]
async fn a_surplus_leniently_framed_after_the_last_piece_of_a_body_holds_nothing_back() {
    let mut up = connect_framed(Framing::Lenient).await;
    let answer = up.ask(Method::GET, &[], "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc").await;
    let mut body = answer.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
    assert!(!up.state.is_spent());
    up.origin.write_all(b"defg").await.unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "def");
    assert!(body.frame().await.is_none());
    assert!(up.state.is_spent());
}

#[tokio::test]
async fn a_coding_that_is_not_chunked_ends_with_the_connection_leniently_framed() {
    for coding in ["arizqhyp", "arizqhyp, br", "", "arizqhyp\r\nTransfer-Encoding: br", "caf\u{e9}"] {
        let mut up = connect_framed(Framing::Lenient).await;
        let response = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n3\r\nabc\r\n{OK}");
        let answer = up.ask_last(&response).await;
        assert_eq!(text(answer).await, format!("3\r\nabc\r\n{OK}"), "{coding}");
        up.sender.ready().await.unwrap_err();
    }
}

#[tokio::test]
async fn bytes_on_an_idle_connection_end_it() {
    for framing in [Framing::Strict, Framing::Lenient] {
        let mut up = connect_framed(framing).await;
        assert_eq!(text(up.ask(Method::GET, &[], OK).await).await, "abc");
        up.origin.write_all(OK.as_bytes()).await.unwrap();
        let error = up.connection.await.unwrap().unwrap_err();
        assert_eq!(violation(&error), Some(Violation::Unsolicited));
    }
}

#[tokio::test]
async fn bytes_that_came_before_the_request_are_never_its_response() {
    for framing in [Framing::Strict, Framing::Lenient] {
        let mut up = connect_framed(framing).await;
        up.sender.ready().await.unwrap();
        up.origin.write_all(OK.as_bytes()).await.unwrap();
        up.state.begin(Asked::Content);
        let request = Request::get("/").header("Host", "a").body(Empty::new()).unwrap();
        let error = up.sender.send_request(request).await.unwrap_err();
        assert_eq!(violation(&error), Some(Violation::Unsolicited));
    }
}

#[tokio::test]
async fn an_ambiguous_head_is_an_error_that_says_so() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let error = connect().await.ask(Method::GET, &[], head).await.unwrap_err();
    assert_eq!(violation(&error), Some(Violation::LengthAndCoding));
}

#[tokio::test]
async fn a_truncated_body_is_never_complete() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
    ] {
        let answer = connect().await.ask_last(response).await.unwrap();
        let error = answer.into_body().collect().await.unwrap_err();
        assert_eq!(violation(&error), Some(Violation::Truncated), "{response}");
    }
}

#[tokio::test]
async fn a_body_without_a_length_ends_with_the_connection() {
    let answer = connect().await.ask_last("HTTP/1.1 200 OK\r\n\r\nuntil the end").await;
    assert_eq!(text(answer).await, "until the end");
}

#[tokio::test]
async fn an_end_within_a_head_differs_from_one_before_it() {
    let within = connect().await.ask_last("HTTP/1.1 200 OK\r\nContent-").await.unwrap_err();
    assert_eq!(violation(&within), Some(Violation::Truncated));
    let before = connect().await.ask_last("").await.unwrap_err();
    assert_eq!(violation(&before), None);
    assert!(before.is_incomplete_message());
}

#[tokio::test]
async fn a_tunnel_opens_only_if_asked_for() {
    let switching =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n\x01early\n";
    let mut up = connect().await;
    let answer =
        up.ask(Method::GET, &[("Connection", "upgrade"), ("Upgrade", "echo")], switching).await.unwrap();
    let mut tunnel = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    up.origin.write_all(b"late").await.unwrap();
    let mut bytes = [0; 11];
    tunnel.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"\x01early\nlate");
    let error = connect().await.ask(Method::GET, &[], switching).await.unwrap_err();
    assert_eq!(violation(&error), Some(Violation::UnaskedUpgrade));
}
