//! What the two bodies of a write say, where a rule asks for it: the request's while it streams by, the answer's before it
//! leaves.
//!
//! Invariant: every byte goes on as it came, and whoever sends or reads waits no longer than an origin may take for its
//! first byte. What does not fit, cannot be decoded or breaks off is [`Content::Unread`]; no more is held than `content.rs` allows.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::Semaphore;

use crate::body::{Body, BodyError};
use crate::flow::content::{AT_ONCE, Held, MAX_CONTENT, Resumed, Room};
use crate::policy::decode::{Coding, codings, decoded};
use crate::route::written::Content;
use crate::upstream;

/// The body of a request that is on its way.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    seen: Arc<Mutex<Seen>>,
    codings: Codings,
}

/// How a body is coded; `None`: in a way that cannot be undone.
type Codings = Option<Vec<Coding>>;

/// How much of it has been seen.
#[derive(Debug)]
enum Seen {
    /// All so far.
    Some(Held),
    /// All of it.
    Whole(Bytes),
    /// It does not fit, broke off, or is not looked at.
    Lost,
}

impl Sent {
    /// Looks at the body of `request` as it goes by.
    pub(crate) fn by(request: Request<Body>, room: &Room) -> (Request<Body>, Self) {
        let codings = codings(request.headers()).ok();
        let (head, body) = request.into_parts();
        let seen = match &body {
            _ if codings.is_none() || body.size_hint().lower() > MAX_CONTENT as u64 => Seen::Lost,
            Body::Empty => Seen::Whole(Bytes::new()),
            Body::Full(bytes) => Seen::Whole(bytes.clone()),
            // Nobody reads one that says so.
            _ if body.size_hint().exact() == Some(0) => Seen::Whole(Bytes::new()),
            Body::Incoming(_) | Body::Stream(_) => Seen::Some(Held::default()),
        };
        let is_watched = matches!(seen, Seen::Some(_));
        let sent = Self { seen: Arc::new(Mutex::new(seen)), codings };
        let body = if is_watched {
            Body::stream(Watched { body, sent: sent.clone(), room: room.clone() })
        } else {
            body
        };
        (Request::from_parts(head, body), sent)
    }

    /// What it says, if all of it has gone by.
    pub(crate) async fn content(self, searches: &Semaphore) -> Content {
        match self.replaced(Seen::Lost) {
            Seen::Whole(bytes) => content(bytes, self.codings, searches).await,
            Seen::Some(_) | Seen::Lost => Content::Unread,
        }
    }

    fn replaced(&self, seen: Seen) -> Seen {
        std::mem::replace(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner), seen)
    }

    fn saw(&self, data: &Bytes, room: &Room) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Seen::Some(held) = &mut *seen
            && !held.take(data, room)
        {
            *seen = Seen::Lost;
        }
    }

    fn ended(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Seen::Some(held) = &mut *seen {
            *seen = Seen::Whole(Bytes::from_owner(std::mem::take(held)));
        }
    }
}

/// A body that is looked at as it goes by.
struct Watched {
    body: Body,
    sent: Sent,
    room: Room,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.sent.saw(data, &self.room);
                }
                // Nobody asks again for what has told that it is over.
                if self.body.is_end_stream() {
                    self.sent.ended();
                }
            }
            Some(Err(_)) => drop(self.sent.replaced(Seen::Lost)),
            None => self.sent.ended(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Holds an answer back until its body is there, at most for `patience`; then it goes on from its first byte, and says
/// what had come by then.
pub(crate) async fn answered(
    response: Response<Body>,
    (room, searches): (&Room, &Semaphore),
    patience: Duration,
) -> (Response<Body>, Content) {
    let (head, mut body) = response.into_parts();
    let codings = codings(&head.headers).ok();
    if codings.is_none()
        || upstream::is_event_stream(&head.headers)
        || body.size_hint().lower() > MAX_CONTENT as u64
    {
        return (Response::from_parts(head, body), Content::Unread);
    }
    let mut held = Held::default();
    let ended = tokio::time::timeout(patience, hold(&mut body, &mut held, room)).await;
    let held = Bytes::from_owner(held);
    let resumed = |more: Option<Bytes>, rest| {
        let read = VecDeque::from_iter(std::iter::once(held.clone()).chain(more));
        Body::stream(Resumed { read, rest })
    };
    let (body, content) = match ended {
        Ok(Ok(())) => (Body::from(held.clone()), content(held, codings, searches).await),
        Ok(Err(Broken::Full(data))) => (resumed(Some(data), body), Content::Unread),
        Ok(Err(Broken::Off(why))) => (resumed(None, failing(why)), Content::Unread),
        Err(_too_long) => (resumed(None, body), Content::Unread),
    };
    (Response::from_parts(head, body), content)
}

/// Why a body was not read to its end.
enum Broken {
    /// There is no room for this.
    Full(Bytes),
    /// It broke off.
    Off(BodyError),
}

/// Cancelled between two frames, it has lost none.
async fn hold(body: &mut Body, held: &mut Held, room: &Room) -> Result<(), Broken> {
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Broken::Off)?.into_data() else { continue };
        if !held.take(&data, room) {
            return Err(Broken::Full(data));
        }
    }
    Ok(())
}

fn failing(why: BodyError) -> Body {
    Body::stream(StreamBody::new(futures_util::stream::iter([Err(why)])))
}

async fn content(bytes: Bytes, codings: Codings, searches: &Semaphore) -> Content {
    let is_short = bytes.len() <= AT_ONCE && codings.as_ref().is_some_and(Vec::is_empty);
    let read = move || match decoded(&codings.unwrap_or_default(), &bytes) {
        Ok(plain) => Content::of(&plain),
        Err(_) => Content::Unread,
    };
    if is_short {
        return read();
    }
    let _turn = searches.acquire().await;
    tokio::task::spawn_blocking(read).await.unwrap_or(Content::Unread)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    fn chunks(chunks: Vec<Result<&'static [u8], &'static str>>) -> Body {
        let frame = |chunk: Result<&'static [u8], &'static str>| {
            chunk.map(|bytes| Frame::data(Bytes::from_static(bytes))).map_err(BodyError::from)
        };
        Body::stream(StreamBody::new(stream::iter(chunks.into_iter().map(frame).collect::<Vec<_>>())))
    }

    fn json(text: &str) -> Content {
        Content::of(text.as_bytes())
    }

    static BIG: [u8; MAX_CONTENT] = [b'1'; MAX_CONTENT];

    async fn sent(request: Request<Body>) -> (Result<usize, BodyError>, Content) {
        let (request, sent) = Sent::by(request, &Room::default());
        let read = request.into_body().collect().await.map(|body| body.to_bytes().len());
        (read, sent.content(&Semaphore::new(1)).await)
    }

    #[tokio::test]
    async fn a_request_is_seen_as_it_goes_by() {
        let seen = |body| async move { sent(Request::new(body)).await };
        assert_eq!(seen(Body::Empty).await.1, Content::Other);
        assert_eq!(seen(Body::from(Bytes::from("[1]"))).await.1, json("[1]"));
        let (read, content) = seen(chunks(vec![Ok(b"{\"a\""), Ok(b":1}")])).await;
        assert_eq!((read.unwrap(), content), (7, json("{\"a\":1}")));
        let (read, content) = seen(chunks(vec![Ok(b"[1]"), Err("cut")])).await;
        assert!(read.is_err() && content == Content::Unread);
        let (read, content) = seen(chunks(vec![Ok(&BIG), Ok(b"1")])).await;
        assert_eq!((read.unwrap(), content), (MAX_CONTENT + 1, Content::Unread));
        let (request, not_read) = Sent::by(Request::new(chunks(vec![Ok(b"[1]")])), &Room::default());
        drop(request);
        assert_eq!(not_read.content(&Semaphore::new(1)).await, Content::Unread);
        for (coding, content) in
            [("identity", json("[1]")), ("gzip", Content::Unread), ("x", Content::Unread)]
        {
            let coded = Request::builder().header("content-encoding", coding).body(chunks(vec![Ok(b"[1]")]));
            assert_eq!(sent(coded.unwrap()).await.1, content, "{coding}");
        }
    }

    async fn read(body: Body, patience: Duration) -> (Result<usize, BodyError>, Content) {
        let (room, searches) = (Room::default(), Semaphore::new(1));
        let (response, content) = answered(Response::new(body), (&room, &searches), patience).await;
        (response.into_body().collect().await.map(|body| body.to_bytes().len()), content)
    }

    #[tokio::test]
    async fn an_answer_is_held_until_its_end_and_every_byte_of_it_goes_on() {
        let long = Duration::from_secs(60);
        let (all, content) = read(chunks(vec![Ok(b"[1"), Ok(b"]")]), long).await;
        assert_eq!((all.unwrap(), content), (3, json("[1]")));
        let (all, content) = read(chunks(vec![Ok(b"[1]"), Err("cut")]), long).await;
        assert!(all.is_err() && content == Content::Unread);
        let (all, content) = read(chunks(vec![Ok(&BIG), Ok(b"12"), Ok(b"3")]), long).await;
        assert_eq!((all.unwrap(), content), (MAX_CONTENT + 3, Content::Unread));
    }

    #[tokio::test]
    async fn what_is_coded_is_read_decoded_and_goes_on_as_it_came() {
        let mut coder = flate2::bufread::GzEncoder::new(&b"[1]"[..], flate2::Compression::fast());
        let mut coded = Vec::new();
        std::io::Read::read_to_end(&mut coder, &mut coded).unwrap();
        let coded = Bytes::from(coded);
        let response = Response::builder().header("content-encoding", "gzip").body(Body::from(coded.clone()));
        let (room, searches) = (Room::default(), Semaphore::new(1));
        let (response, content) =
            answered(response.unwrap(), (&room, &searches), Duration::from_secs(60)).await;
        assert_eq!(content, json("[1]"));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), coded);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_takes_too_long_streams_on() {
        let (go_on, gate) = tokio::sync::oneshot::channel::<()>();
        let first = stream::iter([Ok(Frame::data(Bytes::from_static(b"[1")))]);
        let rest = stream::once(async move {
            let _ = gate.await;
            Ok::<_, BodyError>(Frame::data(Bytes::from_static(b"]")))
        });
        let body = Body::stream(StreamBody::new(stream::StreamExt::chain(first, rest)));
        let (room, searches) = (Room::default(), Semaphore::new(1));
        let (response, content) =
            answered(Response::new(body), (&room, &searches), Duration::from_secs(30)).await;
        assert_eq!(content, Content::Unread);
        go_on.send(()).unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "[1]");
    }
}
