//! A client with a stopwatch: one HTTP/1.1 connection, one request at a time. Every command that speaks HTTP has this one.

use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::clock::Clock;

/// How long one answer may take, with its body.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection.
    #[error("cannot connect to {0}: {1}")]
    Connect(String, #[source] std::io::Error),
    /// The connection broke, or what came was no HTTP.
    #[error("{0}: {1}")]
    Http(String, #[source] hyper::Error),
    /// Neither answer nor error within [`PATIENCE`].
    #[error("{0}: no answer within {PATIENCE:?}")]
    Timeout(String),
}

/// An open connection.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    /// Host and port: what is connected to, and what requests name.
    address: String,
    clock: Clock,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// From the request to the last byte of the answer.
    pub(crate) took: Duration,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    /// One further field.
    pub(crate) field: Option<(&'static str, &'a str)>,
    /// A JSON body.
    pub(crate) json: Option<&'a str>,
}

impl<'a> Ask<'a> {
    /// A plain GET.
    pub(crate) fn get(path: &'a str) -> Self {
        Self { method: &Method::GET, path, field: None, json: None }
    }
}

impl Client {
    /// Connects to `address`, a host and a port.
    pub(crate) async fn connect(address: impl ToString, clock: Clock) -> Result<Self, Error> {
        let address = address.to_string();
        Ok(Self { sender: open(&address).await?, address, clock })
    }

    /// Sends one request and waits for the head of the answer; its body is still to come.
    pub(crate) async fn begin(mut self, ask: Ask<'_>) -> Result<Response<Incoming>, Error> {
        let what = || format!("{} {}", ask.method, ask.path);
        let sent = self.sender.send_request(request(ask, &self.address));
        let head = tokio::time::timeout(PATIENCE, sent).await.map_err(|_elapsed| Error::Timeout(what()))?;
        head.map_err(|error| Error::Http(what(), error))
    }

    /// Sends one request and reads the answer to its end. A connection that was closed meanwhile is opened again.
    pub(crate) async fn send(&mut self, ask: Ask<'_>) -> Result<Answer, Error> {
        let what = || format!("{} {}", ask.method, ask.path);
        if self.sender.ready().await.is_err() {
            self.sender = open(&self.address).await?;
        }
        let began = self.clock.now().mono;
        let exchange = async {
            let (head, body) = self.sender.send_request(request(ask, &self.address)).await?.into_parts();
            Ok((head, body.collect().await?.to_bytes()))
        };
        let answer =
            tokio::time::timeout(PATIENCE, exchange).await.map_err(|_elapsed| Error::Timeout(what()))?;
        let (head, body) = answer.map_err(|error| Error::Http(what(), error))?;
        let took = self.clock.now().mono - began;
        Ok(Answer { status: head.status, headers: head.headers, body, took })
    }
}

impl Answer {
    /// Reads the rest of an answer that has begun.
    pub(crate) async fn read(begun: Response<Incoming>) -> Result<Self, Error> {
        let (head, body) = begun.into_parts();
        let what = || head.status.to_string();
        let body =
            tokio::time::timeout(PATIENCE, body.collect()).await.map_err(|_| Error::Timeout(what()))?;
        let body = body.map_err(|error| Error::Http(what(), error))?.to_bytes();
        Ok(Self { status: head.status, headers: head.headers, body, took: Duration::ZERO })
    }

    /// A field's value as text; empty if there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The member `name` of the JSON body; null if there is none.
    pub(crate) fn member(&self, name: &str) -> serde_json::Value {
        let body: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        body.and_then(|mut body| body.get_mut(name).map(serde_json::Value::take)).unwrap_or_default()
    }
}

async fn open(address: &str) -> Result<SendRequest<Full<Bytes>>, Error> {
    let connecting = tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await;
    let stream = connecting.map_err(|_elapsed| Error::Timeout(address.to_owned()))?;
    let stream = stream.map_err(|error| Error::Connect(address.to_owned(), error))?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|error| Error::Http(address.to_string(), error))?;
    // It ends with the sender; what goes wrong on it, the sender is told too.
    tokio::spawn(connection);
    Ok(sender)
}

fn request(ask: Ask<'_>, host: &str) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(ask.method).uri(ask.path).header(HOST, host);
    if let Some((name, value)) = ask.field {
        request = request.header(name, value);
    }
    if ask.json.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = Full::from(ask.json.unwrap_or_default().to_owned());
    request.body(body).expect("paths and fields that commands send are well formed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_closed_connection_is_opened_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
                let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
                stream.write_all(answer).await.unwrap();
            }
        });
        let mut client = Client::connect(address, Clock::system()).await.unwrap();
        for _ in 0..2 {
            assert_eq!(client.send(Ask::get("/")).await.unwrap().status, StatusCode::OK);
        }
        server.await.unwrap();
    }

    #[tokio::test]
    async fn an_address_where_nobody_listens_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = Client::connect(address, Clock::system()).await.err().unwrap();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
