//! The answer on its way back: its body carries the connection and the slot, and lets go of both at the right time.
//!
//! Invariant: the body ends cleanly only if the origin ended it cleanly; only then is the connection used again.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::body::{Body, BodyError};
use crate::upstream::error::is_malformed;
use crate::upstream::limit::Slot;
use crate::upstream::pool::Lease;
use crate::upstream::{BodyFailure, Error, How, Upgrade, head};

/// Joins what must live as long as the answer to its body.
pub(crate) fn deliver(
    response: Response<Incoming>,
    lease: Lease,
    slot: Slot,
    how: How,
) -> Result<Response<Body>, Error> {
    let (parts, incoming) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        if how.upgrade == Upgrade::No || !head::is_websocket(&parts.headers) {
            return Err(Error::BadResponse("a 101 to what was not asked for".into()));
        }
        lease.detach();
        return Ok(Response::from_parts(parts, Body::Empty));
    }
    let is_event_stream = head::is_event_stream(&parts.headers);
    let mut download = Download {
        lease: Some(lease),
        slot: Some(slot),
        hold: how.hold,
        may_reuse: parts.version == Version::HTTP_11 && !head::says_close(&parts.headers),
        silence: (!is_event_stream).then_some(how.timeout),
        deadline: None,
        incoming,
    };
    if download.incoming.is_end_stream() {
        download.end();
        return Ok(Response::from_parts(parts, Body::Empty));
    }
    if is_event_stream || download.incoming.size_hint().lower() > how.hold {
        download.slot = None;
    }
    Ok(Response::from_parts(parts, Body::stream(download)))
}

/// The body of an answer.
struct Download {
    incoming: Incoming,
    /// Gone once the body has ended, either way.
    lease: Option<Lease>,
    slot: Option<Slot>,
    /// Bytes that may still come before the slot is given back.
    hold: u64,
    /// Whether the head allows the connection to be used again.
    may_reuse: bool,
    /// How long the origin may be silent; event streams may for ever.
    silence: Option<Duration>,
    /// Set while the next bytes are awaited.
    deadline: Option<Instant>,
}

impl Download {
    /// The body has ended as it should.
    fn end(&mut self) {
        self.slot = None;
        if let Some(mut lease) = self.lease.take()
            && self.may_reuse
            && lease.connection().is_reusable()
        {
            lease.finish();
        }
    }

    fn fail(&mut self, failure: BodyFailure) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.slot = None;
        self.lease = None;
        Poll::Ready(Some(Err(failure.into())))
    }

    fn count(&mut self, bytes: usize) {
        match self.hold.checked_sub(bytes as u64) {
            Some(left) => self.hold = left,
            None => self.slot = None,
        }
    }

    /// The origin is silent; pending until that takes too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (Some(silence), Some(lease)) = (self.silence, &mut self.lease) else { return Poll::Pending };
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + silence);
        lease.connection().timer().poll_at(cx, deadline)
    }

    fn failure(&mut self, source: hyper::Error) -> BodyFailure {
        if self.lease.as_mut().is_some_and(|lease| lease.connection().has_upload_failed()) {
            BodyFailure::RequestBody(source.into())
        } else if is_malformed(&source) {
            BodyFailure::BadFraming(source.into())
        } else {
            BodyFailure::Cut(source.into())
        }
    }
}

impl HttpBody for Download {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.lease.is_none() {
            return Poll::Ready(None);
        }
        let Poll::Ready(next) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            ready!(this.poll_silence(cx));
            return this.fail(BodyFailure::IdleTimeout);
        };
        this.deadline = None;
        match next {
            Some(Ok(frame)) => {
                this.count(frame.data_ref().map_or(0, Bytes::len));
                if this.incoming.is_end_stream() {
                    this.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(source)) => {
                let failure = this.failure(source);
                this.fail(failure)
            }
            // A body of known length that ends early ends with an error; this is for the day it does not.
            None if this.incoming.size_hint().lower() > 0 => {
                this.fail(BodyFailure::Cut("fewer bytes than announced".into()))
            }
            None => {
                this.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Framing;
    use crate::upstream::connection::tests::{TIMEOUT, connected, get};
    use crate::upstream::limit::Slots;
    use crate::upstream::pool::{Age, Server};
    use crate::upstream::{Origin, Pool, Priority};
    use http_body_util::BodyExt;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    /// One slot, one answer that has begun with `head`, and the origin's end of the connection.
    async fn answer(head: &str, hold: u64) -> (Slots, Response<Body>, DuplexStream) {
        let slots = Slots::new(1);
        let slot = slots.acquire(Priority::Client, TIMEOUT).await.unwrap();
        let (connection, mut origin) = connected().await;
        let server = Arc::new(Server::new(Origin::Unix("unused".into()), Framing::Strict, Pool::default()));
        let mut lease = Lease::new(Server::enter(&server), connection, Age::New);
        let reply = async {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                origin.read_buf(&mut request).await.unwrap();
            }
            origin.write_all(head.as_bytes()).await.unwrap();
        };
        let (response, ()) = tokio::join!(lease.exchange(get(), TIMEOUT), reply);
        let how = How {
            timeout: TIMEOUT,
            priority: Priority::Client,
            hold,
            upgrade: Upgrade::No,
            interim: None,
            permit: None,
        };
        (slots, deliver(response.unwrap(), lease, slot, how).unwrap(), origin)
    }

    fn is_free(slots: &Slots) -> bool {
        use futures_util::FutureExt;
        slots.acquire(Priority::Client, TIMEOUT).now_or_never().is_some()
    }

    async fn failure(body: &mut Body) -> BodyFailure {
        *body.frame().await.unwrap().unwrap_err().downcast().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_falls_silent_fails_after_the_timeout() {
        let (_, response, mut origin) = answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", 99).await;
        let mut body = response.into_body();
        let start = Instant::now();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
        tokio::time::sleep(5 * TIMEOUT).await;
        assert_eq!(start.elapsed(), 5 * TIMEOUT, "a reader that pauses is not the origin's silence");
        origin.write_all(b"def").await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "def");
        assert!(matches!(failure(&mut body).await, BodyFailure::IdleTimeout));
        assert_eq!(start.elapsed(), 6 * TIMEOUT);
        assert_eq!(origin.read(&mut [0]).await.unwrap(), 0, "the connection is closed");
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_stream_may_be_silent_and_holds_no_slot() {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (slots, response, mut origin) = answer(head, 99).await;
        assert!(is_free(&slots));
        let mut body = response.into_body();
        let start = Instant::now();
        let event = async {
            tokio::time::sleep(100 * TIMEOUT).await;
            origin.write_all(b"9\r\ndata: 1\n\n\r\n").await.unwrap();
        };
        let (frame, ()) = tokio::join!(body.frame(), event);
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), "data: 1\n\n");
        assert_eq!(start.elapsed(), 100 * TIMEOUT);
    }

    #[tokio::test]
    async fn a_body_holds_its_slot_to_its_end_unless_it_outgrows_the_limit() {
        let (slots, response, mut origin) =
            answer("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc", 6).await;
        assert!(!is_free(&slots));
        origin.write_all(b"def").await.unwrap();
        let mut body = response.into_body();
        body.frame().await.unwrap().unwrap();
        assert!(!is_free(&slots));
        body.frame().await.unwrap().unwrap();
        assert!(is_free(&slots));

        let (slots, _response, _origin) = answer("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", 5).await;
        assert!(is_free(&slots), "it will outgrow it");

        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
        let (slots, response, mut origin) = answer(chunked, 5).await;
        let mut body = response.into_body();
        body.frame().await.unwrap().unwrap();
        assert!(!is_free(&slots));
        origin.write_all(b"3\r\ndef\r\n").await.unwrap();
        body.frame().await.unwrap().unwrap();
        assert!(is_free(&slots), "it has outgrown it");
    }

    #[tokio::test]
    async fn a_dropped_body_closes_the_connection_and_gives_the_slot_back() {
        let (slots, response, mut origin) =
            answer("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc", 99).await;
        drop(response);
        assert!(is_free(&slots));
        assert_eq!(origin.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_cut_body_and_a_malformed_one_fail_and_are_told_apart() {
        let (_, response, origin) = answer("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc", 99).await;
        let mut body = response.into_body();
        body.frame().await.unwrap().unwrap();
        drop(origin);
        assert!(matches!(failure(&mut body).await, BodyFailure::Cut(_)));

        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (_, response, origin) = answer(&format!("{chunked}3\r\nabc\r\n"), 99).await;
        let mut body = response.into_body();
        body.frame().await.unwrap().unwrap();
        drop(origin);
        assert!(matches!(failure(&mut body).await, BodyFailure::Cut(_)), "the last chunk is missing");

        let (_, response, mut origin) = answer(chunked, 99).await;
        origin.write_all(b"xyz\r\n").await.unwrap();
        assert!(matches!(failure(&mut response.into_body()).await, BodyFailure::BadFraming(_)));
    }
}
