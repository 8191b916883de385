//! One connection to a server, from its first request to its last, one at a time.
//!
//! hyper speaks HTTP/1.1 on it in a task of its own; the [`Connection`] is the only way to that task, and
//! dropping it closes the socket at once. It refuses to know of pools and of other connections.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::body::Body;
use crate::guard::{Asked, ClientIo, ClientState, Framing, RESPONSE_FIELDS_MAX};
use crate::upstream::deadline::Timer;
use crate::upstream::error::{is_malformed, reason};
use crate::upstream::upload::Upload;
use crate::upstream::wire::{Sending, Socket, Watched, Wire};
use crate::upstream::{Error, head};

/// Most bytes that hyper buffers per direction; also bounds an answer's head.
const BUFFER: usize = 64 * 1024;

/// A connection and the one request on it.
pub(crate) struct Connection {
    sender: http1::SendRequest<Upload>,
    driver: Driver,
    guard: Guard,
    wire: Arc<Wire>,
    timer: Timer,
}

/// Why there is no answer on this connection, and what can be sent on another one.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    remains: Remains,
}

#[derive(Debug)]
enum Remains {
    /// Not one byte was written; here it is.
    Unsent(Box<Request<Body>>),
    /// Not one byte was written; it is lost all the same.
    Unwritten,
    /// The connection died before any byte of an answer: it was stale, or the request killed it.
    Unanswered,
    Nothing,
}

impl Failure {
    /// What to send on a new connection: the request that never left, or `spare` in its place, or `spare` if the
    /// connection was stale and the request may be repeated. With it, why nobody knows what the first copy did, if that
    /// may have had an effect.
    pub(crate) fn again(self, spare: Option<Request<Body>>) -> Result<(Request<Body>, Option<Error>), Error> {
        match (self.remains, spare) {
            (Remains::Unsent(request), _) => Ok((*request, None)),
            (Remains::Unwritten, Some(spare)) => Ok((spare, None)),
            (Remains::Unanswered, Some(spare)) if head::may_repeat(spare.method()) => {
                let is_safe = spare.method().is_safe();
                Ok((spare, (!is_safe).then_some(self.error)))
            }
            _ => Err(self.error),
        }
    }
}

impl Connection {
    /// Begins HTTP/1.1 on a connected socket; its answers are framed by `framing`.
    pub(crate) async fn open(socket: Box<dyn Socket>, framing: Framing) -> Result<Self, Error> {
        let wire = Arc::new(Wire::new());
        let (io, guard) = guarded(Watched::new(socket, Arc::clone(&wire)), framing);
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER).max_headers(RESPONSE_FIELDS_MAX);
        let (sender, driver) = builder.handshake(io).await.map_err(|_| Error::Closed)?;
        let driver = Driver(Some(tokio::spawn(driver.with_upgrades()).abort_handle()));
        let timer = Timer::new(wire.born() + Duration::from_secs(30));
        Ok(Self { sender, driver, guard, wire, timer })
    }

    pub(crate) fn born(&self) -> Instant {
        self.wire.born()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Whether it can take a request, waiting for the one before to be over until `deadline`.
    pub(crate) async fn ready(&mut self, deadline: Instant) -> bool {
        poll_fn(|cx| match self.sender.poll_ready(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome.is_ok()),
            Poll::Pending => self.timer.poll_at(cx, deadline).map(|()| false),
        })
        .await
    }

    /// Sends the request and waits for the head of the answer.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Body>,
        timeout: Duration,
    ) -> Result<Response<Incoming>, Failure> {
        self.guard.begin(&request);
        let (wire, timer) = (&self.wire, &mut self.timer);
        let request = request.map(|body| Upload::begin(body, wire));
        let mut answer = pin!(self.sender.try_send_request(request));
        let outcome = poll_fn(|cx| {
            if let Poll::Ready(outcome) = answer.as_mut().poll(cx) {
                return Poll::Ready(Some(outcome));
            }
            loop {
                let deadline = wire.deadline(timeout);
                match timer.poll_at(cx, deadline) {
                    Poll::Pending => return Poll::Pending,
                    // Bytes may have moved since the deadline was computed.
                    Poll::Ready(()) if wire.deadline(timeout) <= deadline => return Poll::Ready(None),
                    Poll::Ready(()) => {}
                }
            }
        })
        .await;
        match outcome {
            Some(Ok(response)) => {
                self.stop_refused_upload(&response);
                Ok(response)
            }
            Some(Err(failed)) => Err(self.failure(failed)),
            None => Err(Failure { error: Error::FirstByteTimeout, remains: Remains::Nothing }),
        }
    }

    /// Whether the answer, read to its end, leaves the connection fit for another request.
    pub(crate) fn is_reusable(&self) -> bool {
        self.wire.sending() == Sending::Done && !self.wire.is_stuck() && !self.guard.is_spent()
    }

    /// Whether the request's body, still being sent, failed on the client's side.
    pub(crate) fn has_upload_failed(&self) -> bool {
        self.wire.sending() == Sending::Failed
    }

    /// The timer, for the deadlines of the answer's body.
    pub(crate) fn timer(&mut self) -> &mut Timer {
        &mut self.timer
    }

    /// Leaves the socket to hyper's task, which hands it to the tunnel and ends.
    pub(crate) fn detach(mut self) {
        self.driver.0 = None;
    }

    /// An origin that refuses a request before it has read it wants no more of it (RFC 9112 §9.3, RFC 9110
    /// §10.1.1). With a 2xx it may well read on while it answers: that upload ends with the answer at the latest.
    fn stop_refused_upload(&self, response: &Response<Incoming>) {
        let accepted = response.status().is_success() || response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if self.wire.sending() != Sending::Done && (!accepted || head::says_close(response.headers())) {
            self.wire.stop();
        }
    }

    fn failure(&self, mut failed: TrySendError<Request<Upload>>) -> Failure {
        let unsent = failed.take_message();
        let source = failed.into_error();
        let error = if self.has_upload_failed() || source.is_body_write_aborted() {
            Error::RequestBody(source.into())
        } else if is_malformed(&source) {
            Error::BadResponse(reason(&source))
        } else {
            Error::Closed
        };
        let remains = match (unsent, &error) {
            (Some(request), _) => Remains::Unsent(Box::new(request.map(Upload::into_body))),
            (None, _) if self.wire.has_refused() => Remains::Unwritten,
            (None, Error::Closed) if !self.wire.has_received() => Remains::Unanswered,
            _ => Remains::Nothing,
        };
        Failure { error, remains }
    }
}

/// hyper's task; dropping this ends it, and the socket with it.
struct Driver(Option<AbortHandle>);

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Puts the framing guard between the socket and hyper.
fn guarded(socket: Watched, framing: Framing) -> (ClientIo<Watched>, Guard) {
    let io = ClientIo::new(socket, framing);
    let guard = Guard(Arc::clone(io.state()));
    (io, guard)
}

/// The guard's other end: is told which request the next answer belongs to, and tells whether another may follow.
struct Guard(Arc<ClientState>);

impl Guard {
    fn begin(&self, request: &Request<Body>) {
        self.0.begin(Asked::of(request.method(), request.headers()));
    }

    fn is_spent(&self) -> bool {
        self.0.is_spent()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::body::BodyError;
    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::sync::mpsc;

    pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
    /// What the pipe to the origin holds.
    const PIPE: usize = 1024;

    /// A connection over a pipe, so that time can be paused, and the origin's end of it.
    pub(crate) async fn connected() -> (Connection, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        (Connection::open(Box::new(ours), Framing::Strict).await.unwrap(), theirs)
    }

    pub(crate) fn get() -> Request<Body> {
        Request::builder().uri("/").header("host", "a").body(Body::Empty).unwrap()
    }

    /// A chunked POST whose bytes come when the test says so.
    fn post() -> (mpsc::UnboundedSender<Result<Frame<Bytes>, BodyError>>, Request<Body>) {
        let (bytes, mut body) = mpsc::unbounded_channel();
        let body = futures_util::stream::poll_fn(move |cx| body.poll_recv(cx));
        let post = Request::post("/").header("host", "a").header("transfer-encoding", "chunked");
        (bytes, post.body(Body::stream(StreamBody::new(body))).unwrap())
    }

    fn bytes(n: usize) -> Result<Frame<Bytes>, BodyError> {
        Ok(Frame::data(vec![b'x'; n].into()))
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_that_does_not_answer_is_given_up_after_the_timeout() {
        let (mut connection, _origin) = connected().await;
        let start = Instant::now();
        let failure = connection.exchange(get(), TIMEOUT).await.unwrap_err();
        assert!(matches!(failure.error, Error::FirstByteTimeout));
        assert_eq!(start.elapsed(), TIMEOUT);
        assert!(failure.again(Some(get())).is_err(), "it may have had its effect");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_is_not_held_against_the_origin() {
        let (mut connection, mut origin) = connected().await;
        let (client, request) = post();
        let start = Instant::now();
        let upload = async {
            for _ in 0..5 {
                tokio::time::sleep(3 * TIMEOUT).await;
                client.send(bytes(3)).unwrap();
            }
            drop(client);
        };
        let answer = async {
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n0\r\n\r\n") {
                origin.read_buf(&mut seen).await.unwrap();
            }
            tokio::time::sleep(TIMEOUT - Duration::from_secs(1)).await;
            origin.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        };
        let (response, (), ()) = tokio::join!(connection.exchange(request, TIMEOUT), upload, answer);
        assert_eq!(response.unwrap().status(), 204);
        assert!(start.elapsed() > 15 * TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_byte_is_due_a_timeout_after_the_end_of_the_upload() {
        let (mut connection, mut origin) = connected().await;
        let (client, request) = post();
        let start = Instant::now();
        let upload = async {
            tokio::time::sleep(5 * TIMEOUT).await;
            drop(client);
        };
        let read = async { while origin.read_u8().await.is_ok() {} };
        let exchange = async {
            let failure = connection.exchange(request, TIMEOUT).await.unwrap_err();
            drop(connection);
            failure.error
        };
        let (error, (), ()) = tokio::join!(exchange, upload, read);
        assert!(matches!(error, Error::FirstByteTimeout));
        assert_eq!(start.elapsed(), 6 * TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_that_takes_no_bytes_is_given_up_though_the_upload_lasts() {
        let (mut connection, _origin) = connected().await;
        let (client, request) = post();
        client.send(bytes(4 * PIPE)).unwrap();
        let start = Instant::now();
        let failure = connection.exchange(request, TIMEOUT).await.unwrap_err();
        assert!(matches!(failure.error, Error::FirstByteTimeout));
        assert_eq!(start.elapsed(), TIMEOUT);
        drop(client);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_but_steady_upload_outlives_the_timeout() {
        let (mut connection, mut origin) = connected().await;
        let request = Request::post("/").header("host", "a").body(Body::Full(vec![b'x'; 20 * PIPE].into()));
        let start = Instant::now();
        let read = async {
            let mut seen = 0;
            let mut buffer = [0; PIPE];
            while seen < 20 * PIPE {
                tokio::time::sleep(TIMEOUT / 2).await;
                seen += origin.read(&mut buffer).await.unwrap();
            }
            origin.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        };
        let (response, ()) = tokio::join!(connection.exchange(request.unwrap(), TIMEOUT), read);
        assert_eq!(response.unwrap().status(), 204);
        assert!(start.elapsed() >= 10 * TIMEOUT);
    }

    #[tokio::test]
    async fn an_upload_that_fails_is_the_clients_fault_and_never_ends_cleanly() {
        let (mut connection, mut origin) = connected().await;
        let (client, request) = post();
        client.send(bytes(3)).unwrap();
        client.send(Err("the client left".into())).unwrap();
        let failure = connection.exchange(request, TIMEOUT).await.unwrap_err();
        assert!(matches!(failure.error, Error::RequestBody(_)), "{:?}", failure.error);
        drop(connection);
        let mut seen = Vec::new();
        origin.read_to_end(&mut seen).await.unwrap();
        assert!(!seen.ends_with(b"0\r\n\r\n"));
    }

    #[tokio::test]
    async fn half_a_head_is_no_stale_connection() {
        let (mut connection, mut origin) = connected().await;
        let answer = async {
            let mut seen = [0; 16];
            origin.read_exact(&mut seen).await.unwrap();
            origin.write_all(b"HTTP/1.1 200 OK\r\nConte").await.unwrap();
            drop(origin);
        };
        let (outcome, ()) = tokio::join!(connection.exchange(get(), TIMEOUT), answer);
        let failure = outcome.unwrap_err();
        assert!(failure.again(Some(get())).is_err(), "the origin had begun to answer");
    }

    #[tokio::test]
    async fn a_request_that_never_left_can_be_sent_again_whatever_its_method() {
        let (mut connection, mut origin) = connected().await;
        let answer = async {
            let mut seen = [0; 16];
            origin.read_exact(&mut seen).await.unwrap();
            origin.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        };
        let (first, ()) = tokio::join!(connection.exchange(get(), TIMEOUT), answer);
        first.unwrap();
        assert!(connection.ready(Instant::now() + TIMEOUT).await);
        // Its task has not run since, and so has not seen this.
        origin.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil").await.unwrap();
        drop(origin);
        let request = Request::post("/once").header("host", "a").body(Body::Full("x".into())).unwrap();
        let failure = connection.exchange(request, TIMEOUT).await.unwrap_err();
        let (again, in_doubt) = failure.again(None).unwrap();
        assert_eq!((again.method().as_str(), again.uri().path()), ("POST", "/once"));
        assert!(matches!(again.body(), Body::Full(bytes) if bytes == "x"));
        assert!(in_doubt.is_none(), "it never left");
    }

    #[tokio::test]
    async fn only_a_surplus_leaves_a_connection_unfit_for_another_request() {
        for (surplus, fit) in [("", true), ("!", false), ("HTTP/1.1 204 No Content\r\n\r\n", false)] {
            let (ours, mut origin) = tokio::io::duplex(PIPE);
            let mut connection = Connection::open(Box::new(ours), Framing::Lenient).await.unwrap();
            let answer = async {
                let mut seen = [0; 16];
                origin.read_exact(&mut seen).await.unwrap();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{surplus}");
                origin.write_all(answer.as_bytes()).await.unwrap();
            };
            let (response, ()) = tokio::join!(connection.exchange(get(), TIMEOUT), answer);
            let body = response.unwrap().into_body().collect().await.unwrap();
            assert_eq!(body.to_bytes(), "ok");
            assert_eq!(connection.is_reusable(), fit, "{surplus:?}");
        }
    }

    /// Refuses the first write as a peer that hung up does, and only then shows the answer it left behind.
    #[derive(Default)]
    struct HangsUp {
        answer: Option<&'static [u8]>,
        reader: Option<std::task::Waker>,
    }

    impl Socket for HangsUp {
        fn has_unread(&mut self) -> bool {
            false
        }
    }

    impl tokio::io::AsyncRead for HangsUp {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            match &mut self.answer {
                Some(answer) => {
                    buf.put_slice(std::mem::take(answer));
                    Poll::Ready(Ok(()))
                }
                None => {
                    self.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        }
    }

    impl tokio::io::AsyncWrite for HangsUp {
        fn poll_write(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &[u8],
        ) -> Poll<std::io::Result<usize>> {
            self.answer = Some(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
            self.reader.take().unwrap().wake();
            Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn the_answer_of_an_origin_that_hung_up_is_heard() {
        let mut connection = Connection::open(Box::new(HangsUp::default()), Framing::Strict).await.unwrap();
        let response = connection.exchange(get(), TIMEOUT).await.map_err(|failure| failure.error).unwrap();
        assert_eq!(response.status(), 413);
    }
}
