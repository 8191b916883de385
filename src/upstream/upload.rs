//! The request's body on its way to the origin: tells the [`Wire`] how far it is, and stops when told to.
//!
//! Invariant: a stopped or failed body never ends cleanly, so the origin never takes a part for the whole.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::{Body, BodyError};
use crate::upstream::wire::{Sending, Wire};

/// A request's body, watched.
pub(crate) struct Upload {
    body: Body,
    wire: Arc<Wire>,
}

impl Upload {
    /// Begins a request on the wire.
    pub(crate) fn begin(body: Body, wire: &Arc<Wire>) -> Self {
        wire.begin(if body.is_end_stream() { Sending::Done } else { Sending::Busy });
        Self { body, wire: Arc::clone(wire) }
    }

    /// The body, of which nothing was read.
    pub(crate) fn into_body(self) -> Body {
        self.body
    }

    fn note(&self, frame: &Poll<Option<Result<Frame<Bytes>, BodyError>>>) {
        let sending = match frame {
            Poll::Pending => Sending::AwaitsClient,
            Poll::Ready(None) => Sending::Done,
            Poll::Ready(Some(Err(_))) => Sending::Failed,
            // hyper does not ask on after the last of a known number of bytes.
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => Sending::Done,
            Poll::Ready(Some(Ok(_))) if self.body.size_hint().exact() == Some(0) => Sending::Done,
            Poll::Ready(Some(Ok(_))) => Sending::Busy,
        };
        if frame.is_ready() {
            self.wire.touch();
        }
        self.wire.set_sending(sending);
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.wire.is_stopped() {
            // An error would end the connection under the answer that is being read from it.
            self.body = Body::Empty;
            return Poll::Pending;
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.note(&frame);
        frame
    }

    fn is_end_stream(&self) -> bool {
        !self.wire.is_stopped() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
