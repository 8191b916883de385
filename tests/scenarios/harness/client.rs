//! A client that opens a connection for every request and sees the whole answer.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether the body came to its clean end.
    pub(crate) whole: bool,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn cache(&self) -> &str {
        self.header("x-cache").unwrap_or("none")
    }

    pub(crate) fn cache_status(&self) -> &str {
        self.header("cache-status").unwrap_or("none")
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{why}: {}", self.text()))
    }
}

/// A request under way.
pub(crate) struct Ask {
    proxy: SocketAddr,
    request: http::request::Builder,
    body: Bytes,
}

pub(crate) fn ask(proxy: SocketAddr, method: &str, target: &str) -> Ask {
    Ask { proxy, request: Request::builder().method(method).uri(target), body: Bytes::new() }
}

impl Ask {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn json(self, body: &serde_json::Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Sends it and waits for the head of the answer.
    pub(crate) async fn head(self) -> http::Response<Incoming> {
        let stream = TcpStream::connect(self.proxy).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut send, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        send.send_request(self.request()).await.unwrap()
    }

    /// Sends it and waits for the whole answer.
    pub(crate) async fn reply(self) -> Reply {
        let stream = TcpStream::connect(self.proxy).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut send, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut connection = std::pin::pin!(connection);
        let exchange = async {
            let (head, body) = send.send_request(self.request()).await.unwrap().into_parts();
            let (body, whole) = read(body).await;
            Reply { status: head.status, headers: head.headers, body, whole }
        };
        let mut exchange = std::pin::pin!(exchange);
        // The connection is driven here and by no task of its own: whoever gives up waiting has hung up.
        tokio::select! {
            reply = exchange.as_mut() => reply,
            _ended = connection.as_mut() => exchange.await,
        }
    }

    /// Sends it, to be waited for later. Aborted, the client has left.
    pub(crate) fn under_way(self) -> JoinHandle<Reply> {
        tokio::spawn(self.reply())
    }

    /// The request as it is sent.
    pub(crate) fn request(self) -> Request<Full<Bytes>> {
        let mut request = self.request.body(Full::new(self.body)).unwrap();
        if !request.headers().contains_key("host") {
            request.headers_mut().insert("host", self.proxy.to_string().parse().unwrap());
        }
        request
    }
}

/// The answers of all that are under way.
pub(crate) async fn all(waiting: Vec<JoinHandle<Reply>>) -> Vec<Reply> {
    let mut replies = Vec::new();
    for reply in waiting {
        replies.push(reply.await.unwrap());
    }
    replies
}

/// The next bytes of a body.
pub(crate) async fn next(body: &mut Incoming) -> Bytes {
    body.frame().await.expect("more is to come").unwrap().into_data().unwrap()
}

/// Reads a body; false if it broke off.
pub(crate) async fn read(mut body: Incoming) -> (Bytes, bool) {
    let mut read = Vec::new();
    loop {
        match body.frame().await {
            None => return (read.into(), true),
            Some(Ok(frame)) => read.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
            Some(Err(_)) => return (read.into(), false),
        }
    }
}
