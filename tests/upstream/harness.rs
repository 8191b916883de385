//! Origins as scripts over raw sockets, and requests to send to them.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::BodyExt;
use larder::body::Body;
use larder::upstream::{Error, How, Origin, Priority, Settings, Upgrade, Upstream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

/// No step of any test takes longer, unless something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A future that must not hang.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing hangs")
}

/// A listening origin and its address.
pub(crate) async fn listen() -> (TcpListener, Origin) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, Origin::Tcp { tls: false, host: "127.0.0.1".into(), port })
}

/// An address that is taken, and at which nobody listens as long as the socket lives.
pub(crate) fn absent() -> (TcpSocket, Origin) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, Origin::Tcp { tls: false, host: "127.0.0.1".into(), port })
}

pub(crate) fn upstream(origins: impl IntoIterator<Item = Origin>) -> Upstream {
    Upstream::new(Settings::new(origins.into_iter().collect())).unwrap()
}

pub(crate) fn how() -> How {
    How {
        timeout: PATIENCE,
        priority: Priority::Client,
        hold: u64::MAX,
        upgrade: Upgrade::No,
        interim: None,
        permit: None,
    }
}

pub(crate) fn request(method: &str, body: Body) -> Request<Body> {
    Request::builder().method(method).uri("/a?b=1").header("host", "api.example.com").body(body).unwrap()
}

pub(crate) fn get() -> Request<Body> {
    request("GET", Body::Empty)
}

/// Sends a GET and reads the whole answer.
pub(crate) async fn fetch(upstream: &Upstream) -> Result<Bytes, Error> {
    Ok(read(within(upstream.send(get(), how())).await?).await)
}

pub(crate) async fn read(response: Response<Body>) -> Bytes {
    within(response.into_body().collect()).await.expect("a whole body").to_bytes()
}

/// The origin's end of a connection.
pub(crate) struct Peer {
    socket: Box<dyn Socket>,
    unread: BytesMut,
}

pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

pub(crate) async fn accept(listener: &TcpListener) -> Peer {
    Peer::new(within(listener.accept()).await.unwrap().0)
}

impl Peer {
    pub(crate) fn new(socket: impl Socket + 'static) -> Self {
        Self { socket: Box::new(socket), unread: BytesMut::new() }
    }

    /// The next request's head, empty line included.
    pub(crate) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// Everything up to and including `end`.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        loop {
            let found = memchr::memmem::find(&self.unread, end.as_bytes());
            if let Some(at) = found {
                return String::from_utf8(self.unread.split_to(at + end.len()).to_vec()).unwrap();
            }
            let read = within(self.socket.read_buf(&mut self.unread)).await.unwrap();
            assert_ne!(read, 0, "closed after {:?}, before {end:?}", self.unread);
        }
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.socket.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Reads a request and answers it.
    pub(crate) async fn answer(&mut self, response: &str) -> String {
        let head = self.head().await;
        self.write(response).await;
        head
    }

    /// Everything until the connection ends, however it ends.
    pub(crate) async fn rest(mut self) -> Vec<u8> {
        while let Ok(1..) = within(self.socket.read_buf(&mut self.unread)).await {}
        self.unread.to_vec()
    }

    pub(crate) fn socket(&mut self) -> &mut (dyn Socket + 'static) {
        &mut *self.socket
    }
}
