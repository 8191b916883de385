//! The origin: looks up the versions when it is asked, then takes its time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::world::{Random, View, World};

type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, std::io::Error>>>;

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
                async move { answer(world, random, request).await }
            });
            tokio::spawn(async move {
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

async fn answer(
    world: Arc<World>,
    mut random: Random,
    request: Request<Incoming>,
) -> Result<Response<Body>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let path = head.uri.path().to_owned();
    if head.method != "GET" {
        return write(&world, &mut random, &path, &String::from_utf8_lossy(&body)).await;
    }
    let Some((view, items)) = View::of(&path) else { return Ok(plain(StatusCode::NOT_FOUND, String::new())) };
    // What it shows is what is true now, however late it is heard.
    let shown: Vec<(usize, u64)> = items.iter().map(|item| (*item, world.version(*item))).collect();
    let body = format!(
        "{{\"items\":[{}]}}",
        shown
            .iter()
            .map(|(id, version)| format!("{{\"id\":{id},\"version\":{version}}}"))
            .collect::<Vec<_>>()
            .join(",")
    );
    let etag = format!("\"{view:?}-{}\"", shown.iter().map(|(_, version)| version).sum::<u64>());
    if random.once_in(3) {
        world.hold(random.below(24)).await;
    }
    if random.once_in(60) {
        return Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, String::new()));
    }
    let mut response = Response::builder().header("content-type", "application/json");
    if view != View::Stats || random.once_in(2) {
        response = response.header("etag", &etag);
    }
    if view == View::Named {
        response = response.header("surrogate-key", format!("item:{}", items[0]));
    }
    if random.once_in(4) {
        response = response.header("vary", "accept-encoding");
    }
    if head.headers.get("if-none-match").is_some_and(|asked| asked == etag.as_str()) {
        return Ok(response.status(304).body(pieces(Vec::new())).unwrap());
    }
    let cut = random.below(body.len() as u64) as usize;
    let mut parts = vec![
        Part::Bytes(Bytes::from(body[..cut].to_owned())),
        Part::Bytes(Bytes::from(body[cut..].to_owned())),
    ];
    if random.once_in(4) {
        parts.insert(1, Part::Hold(Arc::clone(&world), random.below(24)));
    }
    if random.once_in(4) {
        parts.insert(0, Part::Hold(Arc::clone(&world), random.below(24)));
    }
    if random.once_in(80) {
        parts.insert(1, Part::Cut);
    }
    if random.once_in(2) {
        response = response.header("content-length", body.len());
    }
    Ok(response.body(pieces(parts)).unwrap())
}

async fn write(
    world: &Arc<World>,
    random: &mut Random,
    path: &str,
    body: &str,
) -> Result<Response<Body>, std::io::Error> {
    let number =
        |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>().parse::<usize>().ok();
    let Some(item) = number(path).or(number(body)) else {
        return Ok(plain(StatusCode::BAD_REQUEST, String::new()));
    };
    if random.once_in(3) {
        world.hold(random.below(12)).await;
    }
    let version = world.commit(item);
    if random.once_in(3) {
        world.hold(random.below(12)).await;
    }
    if path.starts_with("/cut/") {
        if random.once_in(2) {
            return Err(std::io::Error::other("cut"));
        }
        return Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, version.to_string()));
    }
    let mut response = plain(StatusCode::OK, format!("{{\"id\":{item},\"version\":{version}}}"));
    if path == "/announced" {
        response
            .headers_mut()
            .insert("cache-group-invalidation", format!("\"item:{item}\"").parse().unwrap());
    }
    Ok(response)
}

enum Part {
    Bytes(Bytes),
    Hold(Arc<World>, u64),
    Cut,
}

fn pieces(parts: Vec<Part>) -> Body {
    let frames = futures_util::stream::iter(parts).filter_map(|part| async {
        match part {
            Part::Bytes(bytes) => Some(Ok(Frame::data(bytes))),
            Part::Hold(world, beats) => {
                world.hold(beats).await;
                None
            }
            Part::Cut => Some(Err(std::io::Error::other("cut"))),
        }
    });
    StreamBody::new(frames.boxed())
}

fn plain(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(pieces(vec![Part::Bytes(Bytes::from(body))]));
    *response.status_mut() = status;
    response
}
