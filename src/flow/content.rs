//! The content of a request that asks by it (QUERY, a declared POST): read before the cache is, because it is in the key.
//!
//! ```text
//! admits ─ read ─ digest ─ Content: looked up, and sent with every fetch
//!    └──────┴───────┴───── pass, with a reason: what was read goes on in front of the rest
//! ```
//! Invariant: nothing that was read is lost, and no more is held than [`MAX_CONTENT`] for a request and [`MAX_CONTENTS`]
//! for all of them. Content that broke off goes nowhere.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts as Head;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::body::{Body, BodyError};
use crate::flow::serve::Answer;
use crate::flow::{Visit, pass, read, shadow};
use crate::policy::cache_status::Forward;
use crate::route::content::{Digest, Unkeyed};
use crate::route::share::Share;
use crate::upstream;

/// Largest content that is part of a key, in bytes; larger ones pass.
pub(crate) const MAX_CONTENT: usize = 1024 * 1024;
/// Most bytes of content that are held at once; beyond it requests pass as they come.
const MAX_CONTENTS: usize = 64 * 1024 * 1024;
/// Content of up to this many bytes is digested at once; the canonical form of a mebibyte of JSON can take a tenth of a
/// second, during which others would wait.
pub(crate) const AT_ONCE: usize = 32 * 1024;

/// Why what is larger passes.
const TOO_LARGE: &str = "request-body";

/// What a request asks with, beside its head.
#[derive(Debug)]
pub(crate) struct Content {
    bytes: Bytes,
    digest: Option<Digest>,
}

/// That of a request which asks by its target alone.
pub(crate) static NONE: Content = Content { bytes: Bytes::new(), digest: None };

/// Where the bytes of contents are counted. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Semaphore>);

/// Why a request is not answered by its content.
pub(crate) enum Unread {
    /// The cache is not asked; this is the whole body.
    Passes(Body, &'static str),
    /// The body broke off.
    Broken(BodyError),
}

impl Content {
    /// It, and the method, as part of the key; empty where the target alone asks.
    pub(crate) fn key(&self) -> &[u8] {
        self.digest.as_ref().map_or(&[], Digest::as_bytes)
    }

    /// The bytes as they came.
    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The same as a body.
    pub(crate) fn body(&self) -> Body {
        Body::from(self.bytes())
    }
}

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_CONTENTS)))
    }
}

/// Answers a read by its content; one that has no place in the key passes.
pub(crate) async fn read(visit: &Visit<'_>, head: Head, body: Body, share: Share) -> Answer {
    match content(visit, &head, body).await {
        Ok(content) => {
            visit.content.set(content).expect("a visit reads its content once");
            if visit.is_in_shadow() {
                return shadow::read(visit, &head, visit.content().body(), share).await;
            }
            let answer = read::read(visit, &head, share).await;
            visit.note_question(&head, share, visit.content(), answer.cache);
            answer
        }
        Err(Unread::Passes(body, why)) => pass::pass(visit, head, body, why).await,
        Err(Unread::Broken(why)) => {
            pass::conclude(visit, Err(upstream::Error::RequestBody(why)), Forward::Bypass, None)
        }
    }
}

async fn content(visit: &Visit<'_>, head: &Head, body: Body) -> Result<Content, Unread> {
    let spec = &visit.target.route.key.content;
    if let Err(why) = spec.admits(&head.method, &head.headers) {
        return Err(Unread::Passes(body, why.as_str()));
    }
    let bytes = whole(&visit.flow.lasting.contents, body).await?;
    let digest = if bytes.len() <= AT_ONCE {
        spec.digest(&head.method, &head.headers, &bytes)
    } else {
        let (route, bytes) = (Arc::clone(visit.target.route), bytes.clone());
        let (method, headers) = (head.method.clone(), head.headers.clone());
        let digest = move || route.key.content.digest(&method, &headers, &bytes);
        tokio::task::spawn_blocking(digest).await.unwrap_or(Err(Unkeyed::NotJson))
    };
    match digest {
        Ok(digest) => Ok(Content { bytes, digest: Some(digest) }),
        Err(why) => Err(Unread::Passes(Body::from(bytes), why.as_str())),
    }
}

/// The content of a request that is all there, as [`read`] would see it, without a place in the [`Room`].
///
/// # Errors
/// Why it would pass.
pub(crate) fn of(visit: &Visit<'_>, head: &Head, bytes: Bytes) -> Result<Content, &'static str> {
    let spec = &visit.target.route.key.content;
    spec.admits(&head.method, &head.headers).map_err(Unkeyed::as_str)?;
    if bytes.len() > MAX_CONTENT {
        return Err(TOO_LARGE);
    }
    let digest = spec.digest(&head.method, &head.headers, &bytes).map_err(Unkeyed::as_str)?;
    Ok(Content { bytes, digest: Some(digest) })
}

/// Reads a body to its end; one that is too large goes on from its first byte.
pub(crate) async fn whole(room: &Room, mut body: Body) -> Result<Bytes, Unread> {
    if body.size_hint().lower() > MAX_CONTENT as u64 {
        return Err(Unread::Passes(body, TOO_LARGE));
    }
    let mut held = Held::default();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Unread::Broken)?.into_data() else { continue };
        if !held.take(&data, room) {
            let read = VecDeque::from([Bytes::from_owner(held), data]);
            return Err(Unread::Passes(Body::stream(Resumed { read, rest: body }), TOO_LARGE));
        }
    }
    Ok(Bytes::from_owner(held))
}

/// Bytes that are counted for as long as anybody holds them.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: Vec<u8>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Held {
    /// False if there is no room for `data`, and then it was not taken.
    pub(crate) fn take(&mut self, data: &Bytes, room: &Room) -> bool {
        let fits = data.len() <= MAX_CONTENT - self.bytes.len();
        let Some(length) = u32::try_from(data.len()).ok().filter(|_| fits) else { return false };
        let Ok(permit) = Arc::clone(&room.0).try_acquire_many_owned(length) else { return false };
        match &mut self.permit {
            Some(held) => held.merge(permit),
            None => self.permit = Some(permit),
        }
        self.bytes.extend_from_slice(data);
        true
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body of which some was read already.
pub(crate) struct Resumed {
    pub(crate) read: VecDeque<Bytes>,
    pub(crate) rest: Body,
}

impl HttpBody for Resumed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        while let Some(bytes) = self.read.pop_front() {
            if !bytes.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
        Pin::new(&mut self.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read: u64 = self.read.iter().map(|bytes| bytes.len() as u64).sum();
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(read + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(read + upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use http_body_util::StreamBody;

    fn chunks(sizes: &[usize]) -> Body {
        let frames: Vec<_> =
            (0_u8..).zip(sizes).map(|(byte, size)| Ok(Frame::data(Bytes::from(vec![byte; *size])))).collect();
        Body::stream(StreamBody::new(stream::iter(frames)))
    }

    fn bytes(sizes: &[usize]) -> Vec<u8> {
        (0_u8..).zip(sizes).flat_map(|(byte, size)| vec![byte; *size]).collect()
    }

    #[tokio::test]
    async fn what_is_too_large_goes_on_from_its_first_byte() {
        for sizes in [&[MAX_CONTENT, 1, 7][..], &[1, 0, MAX_CONTENT], &[MAX_CONTENT + 1]] {
            let room = Room::default();
            let Err(Unread::Passes(body, "request-body")) = whole(&room, chunks(sizes)).await else {
                panic!("{sizes:?} are held")
            };
            let sent = body.collect().await.unwrap().to_bytes();
            assert!(sent == bytes(sizes), "{sizes:?}: {} bytes", sent.len());
            drop(sent);
            assert_eq!(room.0.available_permits(), MAX_CONTENTS);
        }
        assert!(whole(&Room::default(), chunks(&[MAX_CONTENT - 1, 1])).await.is_ok());
    }

    #[tokio::test]
    async fn content_is_counted_until_nobody_holds_it() {
        let room = Room(Arc::new(Semaphore::new(10)));
        let Ok(first) = whole(&room, chunks(&[3, 4])).await else { panic!("there is room") };
        let again = first.clone();
        drop(first);
        assert!(matches!(whole(&room, chunks(&[4])).await, Err(Unread::Passes(..))));
        drop(again);
        assert!(whole(&room, chunks(&[4])).await.is_ok());
    }

    #[test]
    fn a_resumed_body_is_as_long_as_it_was() {
        let rest = Body::from(Bytes::from_static(b"rest"));
        let resumed = Resumed { read: VecDeque::from([Bytes::from_static(b"read ")]), rest };
        assert_eq!(resumed.size_hint().exact(), Some(9));
    }
}
