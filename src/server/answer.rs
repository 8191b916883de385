//! Tells the guard when an answer begins, so that the interim ones before it are written first, and when it has ended, so that it
//! knows whether a silent connection is idle or waiting for us.

use std::convert::Infallible;
use std::future::{self, Future};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use http::{Response, StatusCode, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::{Body, BodyError};
use crate::flow::Handling;
use crate::guard::ConnectionState;
use crate::server::patience::Patient;

/// An answer on its way to hyper: it waits for the interim ones, and the guard is told of a tunnel before it opens, and of the
/// answer's end.
pub(super) struct Answering {
    pub(super) handling: Handling,
    pub(super) state: Arc<ConnectionState>,
    /// What the client speaks.
    pub(super) version: Version,
    /// Whether a HEAD is answered.
    pub(super) is_head: bool,
    /// Whether it is the last one on its connection.
    pub(super) is_last: bool,
}

impl Future for Answering {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let waits = matches!(self.handling, Handling::Waits(_));
        let Poll::Ready(answer) = Pin::new(&mut self.handling).poll(cx) else {
            self.state.await_interim(cx.waker());
            return Poll::Pending;
        };
        if waits && self.state.poll_interim_end(cx.waker()).is_pending() {
            self.handling = Handling::Waits(Box::pin(future::ready(answer)));
            return Poll::Pending;
        }
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.state.open_tunnel();
        }
        let mut answer = answer;
        if self.is_last && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        // Over HTTP/1 hyper leaves the body out itself.
        let answer = if self.is_head && self.version == Version::HTTP_2 { head_of(answer) } else { answer };
        Poll::Ready(Ok(answer.map(|body| told(body, &self.state, self.version))))
    }
}

/// The answer without its body, as long as it says it is (RFC 9110 §9.3.2, RFC 9113 §8.1).
fn head_of(answer: Response<Body>) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    if let Some(length) = body.size_hint().exact().filter(|length| *length > 0) {
        head.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    Response::from_parts(head, Body::Empty)
}

/// The body as it is, and at its end (or when nobody wants it any more) `state` is told.
pub(super) fn told(body: Body, state: &Arc<ConnectionState>, version: Version) -> Body {
    match body {
        // hyper writes it in one go with the head: it has as good as ended.
        Body::Empty | Body::Full(_) => {
            state.answered();
            body
        }
        Body::Incoming(_) | Body::Stream(_) => {
            let told = Body::stream(Told { body, state: Arc::clone(state), broken: None });
            if version == Version::HTTP_2 { Body::stream(Patient::new(told)) } else { told }
        }
    }
}

struct Told {
    body: Body,
    state: Arc<ConnectionState>,
    /// How the body broke off, to be told at the next look.
    broken: Option<BodyError>,
}

impl Drop for Told {
    fn drop(&mut self) {
        self.state.answered();
    }
}

impl HttpBody for Told {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(why) = self.broken.take() {
            return Poll::Ready(Some(Err(why)));
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            // hyper drops what it has not flushed when a body fails: it is given the time to flush first, so that the
            // client sees a head and the cut, and not an empty answer.
            Poll::Ready(Some(Err(why))) => {
                self.broken = Some(why);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            polled => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.broken.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn answered(version: Version, is_head: bool) -> Response<Body> {
        let answer = Response::new(Body::from(Bytes::from_static(b"body")));
        let handling = Handling::Done(Some(answer));
        let answering = Answering { handling, state: Arc::default(), version, is_head, is_last: false };
        answering.now_or_never().unwrap().unwrap()
    }

    #[test]
    fn a_head_over_http2_is_answered_with_a_length_and_no_data() {
        let head = answered(Version::HTTP_2, true);
        assert!(head.body().is_end_stream());
        assert_eq!(head.headers()[CONTENT_LENGTH], "4");
    }

    #[test]
    fn whatever_else_is_answered_keeps_its_body() {
        for (version, is_head) in
            [(Version::HTTP_2, false), (Version::HTTP_11, true), (Version::HTTP_11, false)]
        {
            assert_eq!(
                answered(version, is_head).body().size_hint().exact(),
                Some(4),
                "{version:?} {is_head}"
            );
        }
    }
}
