//! A door beside the front one, for probes and operators: the same guard with the same deadlines, HTTP/1 only, and few places.
//!
//! Invariant: nobody keeps a connection without coming to the point, and whoever opens many takes none of `limits.connections`
//! away. It refuses to know what is asked.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::body::Body;
use crate::flow::problem;
use crate::guard::{Deadlines, Protocol, ServerIo};
use crate::server::ACCEPT_PAUSE;
use crate::server::answer::told;

/// Most connections at once; the next one waits.
pub const CONNECTIONS: usize = 256;

/// Accepts for ever; `answer` answers one request that came from an address.
pub async fn serve<F, A>(listener: Arc<TcpListener>, answer: F)
where
    F: Fn(Request<Incoming>, SocketAddr) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let answer = answer.clone();
                tokio::spawn(async move {
                    let answer = |request| answer(request, peer);
                    welcome(stream, place, answer).await;
                });
            }
            Err(why) => {
                tracing::warn!(%why, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn welcome<F, A>(stream: TcpStream, place: impl Send + 'static, answer: F)
where
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Response<Body>>,
{
    let _ = stream.set_nodelay(true);
    let mut io = ServerIo::new(stream, Deadlines::default());
    io.keep(place);
    let Ok(Protocol::Http1) = io.sniff().await else { return };
    let state = Arc::clone(io.state());
    let service = service_fn(|request: Request<Incoming>| {
        let (version, refused) = (request.version(), state.next_request());
        let answering = refused.is_none().then(|| answer(request));
        let state = &state;
        async move {
            let response = match (answering, refused) {
                (Some(answering), _) => answering.await,
                (None, refused) => problem::refused(&refused.expect("what is not refused is answered")),
            };
            Ok::<_, Infallible>(response.map(|body| told(body, state, version)))
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    // The guard has its own deadline for heads.
    builder.header_read_timeout(None);
    if let Err(why) = builder.serve_connection(io, service).await {
        tracing::debug!(%why, "a connection ended early");
    }
}
