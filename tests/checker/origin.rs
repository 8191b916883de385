//! The origin: looks up the versions when it is asked, then takes its time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::request::Parts as Head;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::random::Random;
use crate::view::View;
use crate::world::World;

/// Who reads says so; who fetches again what was dropped, and who warms, do not know of it.
pub(crate) const READER: &str = "x-reader";

/// All that changes lies within this second.
const CHANGED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// Most beats until a write takes effect after its answer; within `settle` of `/late/{id}`, for one takes 7 ms at most.
const LATE: u64 = 24;
/// The same after a failure; within `timeout` of `/doubt/{id}`.
const DOUBT: u64 = 60;

type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, std::io::Error>>>;
type Answer = Result<Response<Body>, std::io::Error>;

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
                // Its clock is not that of the proxy, which the beat moves.
                let mut http = hyper::server::conn::http1::Builder::new();
                let _ = http.auto_date_header(false).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

async fn answer(world: Arc<World>, mut random: Random, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    if head.method != "GET" {
        return write(&world, &mut random, head.uri.path(), &String::from_utf8_lossy(&body)).await;
    }
    let Some((view, items)) = View::of(head.uri.path()) else {
        return Ok(plain(StatusCode::NOT_FOUND, String::new()));
    };
    if !head.headers.contains_key(READER) {
        world.saw("fetched again");
    }
    // What it shows is what is true now, however late it is heard.
    let shown = items.iter().map(|item| (*item, world.shown(view, *item))).collect();
    read(world, random, &head, view, shown).await
}

async fn read(
    world: Arc<World>,
    mut random: Random,
    head: &Head,
    view: View,
    shown: Vec<(usize, u64)>,
) -> Answer {
    let items: Vec<_> =
        shown.iter().map(|(id, version)| format!("{{\"id\":{id},\"version\":{version}}}")).collect();
    let body = format!("{{\"items\":[{}]}}", items.join(","));
    if random.once_in(3) {
        world.hold(random.below(24)).await;
    }
    if random.once_in(60) {
        return Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, String::new()));
    }
    let versions: u64 = shown.iter().map(|(_, version)| version).sum();
    let validators = validators(&mut random, view, &format!("\"{view:?}-{versions}\""));
    let is_confirmed = is_confirmed(&head.headers, &validators);
    let mut response = Response::builder().header("content-type", "application/json");
    response.headers_mut().unwrap().extend(validators);
    if view == View::Named {
        response = response.header("surrogate-key", format!("item:{}", shown[0].0));
    }
    if random.once_in(4) {
        response = response.header("vary", "accept-encoding");
    }
    if is_confirmed {
        return Ok(response.status(304).body(pieces(Vec::new())).unwrap());
    }
    if random.once_in(2) {
        response = response.header("content-length", body.len());
    }
    Ok(response.body(pieces(parts(&world, &mut random, &body))).unwrap())
}

/// Entity tags tell all versions apart, and dates none.
fn validators(random: &mut Random, view: View, etag: &str) -> HeaderMap {
    let mut validators = HeaderMap::new();
    if matches!(view, View::Named | View::Short | View::Soft) {
        validators.insert("last-modified", CHANGED.parse().unwrap());
    }
    let has_etag = match view {
        View::Named | View::Short => false,
        View::Soft | View::Stats => random.once_in(3),
        _ => true,
    };
    if has_etag {
        validators.insert("etag", etag.parse().unwrap());
    }
    validators
}

/// RFC 9110 §13.2.2: a date counts only where no entity tag is asked about.
fn is_confirmed(asked: &HeaderMap, current: &HeaderMap) -> bool {
    match (asked.get("if-none-match"), asked.get("if-modified-since")) {
        (Some(asked), _) => current.get("etag") == Some(asked),
        (None, Some(asked)) => current.get("last-modified") == Some(asked),
        (None, None) => false,
    }
}

/// A body in two pieces, held up, and cut, now and then.
fn parts(world: &Arc<World>, random: &mut Random, body: &str) -> Vec<Part> {
    let (first, second) = body.split_at(random.below(body.len() as u64) as usize);
    let mut parts =
        vec![Part::Bytes(Bytes::from(first.to_owned())), Part::Bytes(Bytes::from(second.to_owned()))];
    for at in [1, 0] {
        if random.once_in(4) {
            parts.insert(at, Part::Hold(Arc::clone(world), random.below(24)));
        }
    }
    if random.once_in(80) {
        parts.insert(1, Part::Cut);
    }
    parts
}

async fn write(world: &Arc<World>, random: &mut Random, path: &str, body: &str) -> Answer {
    if let Some((view, items)) = View::of(path).filter(|(view, _)| view.is_slow()) {
        return write_slowly(world, random, (view, items[0]), body).await;
    }
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
    let mut response = plain(StatusCode::OK, format!("{{\"id\":{item},\"version\":{version}}}"));
    if path == "/announced" {
        response
            .headers_mut()
            .insert("cache-group-invalidation", format!("\"item:{item}\"").parse().unwrap());
    }
    Ok(response)
}

/// Answered first, and done when its time has come; where it is doubtful nobody is told whether.
async fn write_slowly(
    world: &Arc<World>,
    random: &mut Random,
    (view, item): (View, usize),
    body: &str,
) -> Answer {
    let Ok(version) = body.parse() else { return Ok(plain(StatusCode::BAD_REQUEST, String::new())) };
    if random.once_in(3) {
        world.hold(random.below(12)).await;
    }
    if view == View::Late {
        world.commit_later(view, item, version, random.below(LATE));
        return Ok(plain(StatusCode::OK, String::new()));
    }
    world.commit_later(view, item, version, random.below(DOUBT));
    if random.once_in(2) {
        return Err(std::io::Error::other("cut"));
    }
    Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, String::new()))
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
