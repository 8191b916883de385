//! The rest of a write's answer, once its head may leave: what was outdated then is outdated again if the end is long in
//! coming, breaks off, or nobody is left to read it.
//!
//! | write | reader | what keeps the promise |
//! |---|---|---|
//! | its head comes: floors raised, entries dead; it leaves | | |
//! | goes on answering | fetches after `settle`; that is stored | the answer has not ended |
//! | commits, ends its answer | | |
//! | floors raised, entries dead | | before the last byte leaves |
//! | the end leaves | gets nothing older | |
//!
//! An answer that ends within `settle` is outdated once: nothing that was fetched meanwhile is stored. One that breaks off
//! leaves nobody who knows. A client who leaves cancels nothing: the rest is read without him, up to a limit.
//! It refuses to know what is outdated.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::runtime::Handle;

use crate::body::{Body, BodyError};
use crate::flow::Shared;
use crate::flow::consequence::Consequences;
use crate::invalidate::applied::Ack;
use crate::invalidate::intent::Intent;
use crate::upstream;

/// An answer that ends within this has come at once, however soon a route's writes are settled.
const AT_ONCE: Duration = Duration::from_millis(10);

/// Most bytes of an answer that are read when its client has left.
const MOST_UNREAD: usize = 1 << 20;

/// What is to be done about the end of an answer.
pub(crate) struct Ending {
    flow: Arc<Shared>,
    follows: Consequences,
    /// When (monotonic) the head was there.
    since: Duration,
    /// An end that comes within this is none of its own.
    settle: Duration,
    /// For how long a write of which nobody hears may go on.
    patience: Duration,
    /// Whether the rest is read if the client leaves: events may go on for ever.
    is_read_to_its_end: bool,
    /// What the fleet knows of the write; its end closes that.
    intent: Option<Intent>,
    /// Whether what was outdated at the head holds everywhere.
    ack: Ack,
}

/// How an answer ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Clean,
    /// It broke off, or nobody saw it.
    Unknown,
}

impl Ending {
    /// Of an answer whose head has just come; `None`: it has ended with it, or nothing follows.
    pub(crate) fn of(
        flow: &Arc<Shared>,
        follows: &Consequences,
        response: &Response<Body>,
        settle: Duration,
        patience: Duration,
    ) -> Option<Self> {
        let is_to_come = matches!(response.body(), Body::Incoming(_) | Body::Stream(_));
        (is_to_come && !follows.is_empty()).then(|| Self {
            flow: Arc::clone(flow),
            follows: follows.clone(),
            since: flow.clock.mono(),
            settle: settle.max(AT_ONCE),
            patience,
            is_read_to_its_end: !upstream::is_event_stream(response.headers()),
            intent: None,
            ack: Ack::Applied,
        })
    }

    /// The same of a write that was intended; `ack` is what became of what was outdated at the head.
    pub(crate) fn of_intent(self, intent: Option<Intent>, ack: Ack) -> Self {
        Self { intent, ack, ..self }
    }

    /// The answer, watched until its end.
    pub(crate) fn watched(self, response: Response<Body>) -> Response<Body> {
        response.map(|body| Body::stream(Watched { body, ending: Some(self), last: None }))
    }

    /// Outdates again what that end asks for.
    async fn conclude(self, end: End) {
        let took = self.flow.clock.mono().saturating_sub(self.since);
        match end {
            // What is only owed to the journal is not in it: the intent has to stand for it.
            End::Clean if took <= self.settle && (self.ack == Ack::Applied || self.intent.is_none()) => {
                self.intent.into_iter().for_each(Intent::close);
            }
            End::Clean => _ = self.follows.apply(&self.flow, self.intent).await,
            End::Unknown => _ = self.follows.unknown(self.patience).apply(&self.flow, self.intent).await,
        }
    }

    /// Reads what nobody is left to read.
    async fn see_off(self, mut body: Body) {
        let mut left = MOST_UNREAD;
        let rest = async {
            while let Some(frame) = body.frame().await {
                let read = frame.ok()?.data_ref().map_or(0, Bytes::len);
                left = left.checked_sub(read)?;
            }
            Some(())
        };
        let end = match tokio::time::timeout(self.patience, rest).await {
            Ok(Some(())) => End::Clean,
            Ok(None) | Err(_) => End::Unknown,
        };
        self.conclude(end).await;
    }
}

type Last = Option<Result<Frame<Bytes>, BodyError>>;

/// The body of an answer whose end matters.
struct Watched {
    body: Body,
    /// Gone once the answer has ended.
    ending: Option<Ending>,
    /// What ends it, held until that is applied.
    last: Option<(BoxFuture<'static, ()>, Last)>,
}

impl Watched {
    /// Which end this frame is, if it is one. Nobody asks again for what has told that it is over.
    fn end(&self, frame: &Last) -> Option<End> {
        match frame {
            None => Some(End::Clean),
            Some(Err(_)) => Some(End::Unknown),
            Some(Ok(_)) => self.body.is_end_stream().then_some(End::Clean),
        }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.last.is_none() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            let Some(end) = self.end(&frame) else { return Poll::Ready(frame) };
            let Some(ending) = self.ending.take() else { return Poll::Ready(frame) };
            self.last = Some((Box::pin(ending.conclude(end)), frame));
        }
        if let Some((concluded, _)) = &mut self.last {
            ready!(concluded.as_mut().poll(cx));
        }
        Poll::Ready(self.last.take().and_then(|(_, frame)| frame))
    }

    fn is_end_stream(&self) -> bool {
        // Nobody asks again who hears that it is over: so it is not, before what its end asks for is done.
        self.ending.is_none() && self.last.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let Some(ending) = self.ending.take() else { return };
        // Without a runtime the process is about to end, and what it keeps with it.
        let Ok(runtime) = Handle::try_current() else { return };
        let body = std::mem::take(&mut self.body);
        runtime.spawn(async move {
            if ending.is_read_to_its_end {
                ending.see_off(body).await;
            } else {
                drop(body);
                ending.conclude(End::Unknown).await;
            }
        });
    }
}
