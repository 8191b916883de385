//! The future of an answer, and the lack of one: a hit is there before anybody has to wait.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;

use crate::body::Body;

/// An answer, there or on its way. A hit never becomes a future that has to be moved about.
pub enum Handling {
    /// There; `None` once it was taken.
    Done(Option<Response<Body>>),
    /// On its way.
    Waits(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

impl Future for Handling {
    type Output = Response<Body>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Body>> {
        match &mut *self {
            Self::Done(response) => {
                Poll::Ready(response.take().expect("a future is not polled after its end"))
            }
            Self::Waits(answer) => answer.as_mut().poll(cx),
        }
    }
}
