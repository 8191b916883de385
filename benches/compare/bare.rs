//! The bare loop: hyper 1 on tokio with one worker and no proxy around it, the floor that Larder is measured against.
//!
//! `bare LISTEN` is the origin of the comparison. It answers like a FastAPI app under uvicorn, and counts what it was asked:
//! `/1k/…` and `/64k/…` may be cached for an hour, `/pass/…` (1 KiB) never, `/served` tells the count.
//!
//! `bare LISTEN ORIGIN` is the contender. `/pass/…` goes to ORIGIN over one kept connection per client connection; all else is
//! answered from one prebuilt entry per size, with the header list of a Larder hit.
//!
//! Invariant: nothing is looked up, checked or logged. It refuses to know keys, freshness and who asks.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{AGE, CONNECTION, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

type Failure = Box<dyn Error + Send + Sync>;
type Body = Either<Full<Bytes>, Incoming>;

fn main() -> Result<(), Failure> {
    let addresses: Vec<SocketAddr> =
        std::env::args().skip(1).map(|word| word.parse()).collect::<Result<_, _>>()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    match *addresses.as_slice() {
        [listen] => runtime.block_on(serve(listen, None)),
        [listen, origin] => runtime.block_on(serve(listen, Some(origin))),
        _ => Err("usage: bare LISTEN [ORIGIN]".into()),
    }
}

/// Answers every connection to `listen` until the process is ended.
async fn serve(listen: SocketAddr, origin: Option<SocketAddr>) -> Result<(), Failure> {
    let listener = TcpListener::bind(listen).await?;
    let shelf = Arc::new(Shelf::new(origin.is_some()));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let shelf = shelf.clone();
        let upstream = origin.map(|origin| Arc::new(Upstream { origin, idle: Mutex::new(None) }));
        let service = service_fn(move |request| answer(request, shelf.clone(), upstream.clone()));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    request: Request<Incoming>,
    shelf: Arc<Shelf>,
    upstream: Option<Arc<Upstream>>,
) -> Result<Response<Body>, Failure> {
    let path = request.uri().path();
    match upstream {
        Some(upstream) if path.starts_with("/pass/") => return upstream.forward(request).await,
        Some(_) => {}
        None if path == "/served" => {
            let served = shelf.served.load(Ordering::Relaxed).to_string();
            return Ok(Response::new(Either::Left(Full::from(served))));
        }
        None => {
            shelf.served.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(if path.starts_with("/64k/") {
        shelf.large.response()
    } else if path.starts_with("/pass/") {
        shelf.private.response()
    } else {
        shelf.small.response()
    })
}

/// The prebuilt entries, and how many requests the origin has answered.
struct Shelf {
    small: Entry,
    large: Entry,
    private: Entry,
    served: AtomicU64,
}

impl Shelf {
    fn new(as_hit: bool) -> Shelf {
        Shelf {
            small: Entry::new(1024, "max-age=3600", as_hit),
            large: Entry::new(64 * 1024, "max-age=3600", as_hit),
            private: Entry::new(1024, "no-store", as_hit),
            served: AtomicU64::new(0),
        }
    }
}

struct Entry {
    fields: HeaderMap,
    body: Bytes,
}

impl Entry {
    /// A JSON string of `length` bytes under uvicorn's fields; `as_hit` adds those that a stored answer has.
    fn new(length: usize, cache_control: &'static str, as_hit: bool) -> Entry {
        let mut fields = HeaderMap::new();
        let mut set =
            |name, value| fields.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        set("server", "uvicorn");
        set("content-type", "application/json");
        set("cache-control", cache_control);
        set("etag", "\"5f2c6d0e9b3a47d18c04e7b21f6a95d3\"");
        if as_hit {
            set("date", "Sat, 01 Nov 2025 12:00:00 GMT");
            set("cache-status", "larder; hit; ttl=3599");
            set("x-cache", "HIT");
            fields.insert(AGE, HeaderValue::from_static("1"));
        }
        fields.insert("content-length", HeaderValue::from(length));
        let body = format!("\"{}\"", "x".repeat(length - 2)).into();
        Entry { fields, body }
    }

    fn response(&self) -> Response<Body> {
        let mut response = Response::new(Either::Left(Full::new(self.body.clone())));
        *response.headers_mut() = self.fields.clone();
        response
    }
}

/// One client connection's way to the origin. HTTP/1.1 asks one thing at a time, so one origin connection is enough.
struct Upstream {
    origin: SocketAddr,
    idle: Mutex<Option<SendRequest<Incoming>>>,
}

impl Upstream {
    async fn forward(&self, mut request: Request<Incoming>) -> Result<Response<Body>, Failure> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut sender = match kept.filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        sender.ready().await?;
        request.headers_mut().remove(CONNECTION);
        let response = sender.send_request(request).await?;
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        Ok(response.map(Either::Right))
    }

    async fn connect(&self) -> Result<SendRequest<Incoming>, Failure> {
        let stream = TcpStream::connect(self.origin).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}
