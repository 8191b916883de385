//! The future of an answer, and the lack of one: a hit is there before anybody has to wait.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};

use crate::body::Body;
use crate::flow::{Client, Flow};
use crate::guard::Interim;

/// An answer, there or on its way. A hit never becomes a future that has to be moved about.
pub enum Handling {
    /// There; `None` once it was taken.
    Done(Option<Response<Body>>),
    /// On its way.
    Waits(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

impl Flow {
    /// Answers a request: at once from what is kept, or by a future that waits for the origin. Only the latter asks where `interim`
    /// answers go, before this returns.
    pub fn handle(
        &self,
        request: Request<Body>,
        client: Client,
        interim: impl FnOnce() -> Option<Interim>,
    ) -> Handling {
        let shared = self.0.load();
        let now = shared.clock.now();
        let (head, body) = request.into_parts();
        match shared.at_once(&head, &body, client, now) {
            Some(answer) => Handling::Done(Some(answer.response)),
            None => {
                let (flow, interim) = (Arc::clone(&shared), interim());
                let walk = async move { flow.walk(head, body, client, interim, now).await.response };
                Handling::Waits(Box::pin(walk))
            }
        }
    }
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
