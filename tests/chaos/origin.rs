//! The origin: looks up the versions when it is asked, then takes its time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::random::Random;
use crate::world::{View, World};

/// Longest time, in milliseconds, that it takes its time.
const LATE: u64 = 30;

pub(crate) async fn start(world: Arc<World>, seed: u64) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let (world, asked) = (Arc::clone(&world), Arc::clone(&asked));
            let service = service_fn(move |request: Request<Incoming>| {
                let world = Arc::clone(&world);
                let random = Random::new(seed, (3 << 32) + asked.fetch_add(1, Ordering::Relaxed));
                async move { Ok::<_, std::io::Error>(answer(&world, random, &request).await) }
            });
            // Whoever asked may be gone.
            tokio::spawn(async move {
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

async fn answer(world: &World, mut random: Random, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let Some((_, items)) = View::of(request.uri().path()) else {
        return Response::builder().status(404).body(Full::default()).unwrap();
    };
    let is_read = request.method() == "GET";
    if !is_read && random.once_in(4) {
        sleep(Duration::from_millis(random.below(LATE))).await;
    }
    let version = |item: &usize| if is_read { world.version(*item) } else { world.commit(*item) };
    // What it shows is what is true now, however late it is heard.
    let shown: Vec<_> =
        items.iter().map(|item| format!("{{\"id\":{item},\"version\":{}}}", version(item))).collect();
    if random.once_in(4) {
        sleep(Duration::from_millis(random.below(LATE))).await;
    }
    let body = format!("{{\"items\":[{}]}}", shown.join(","));
    Response::builder().header("content-type", "application/json").body(Full::from(body)).unwrap()
}
