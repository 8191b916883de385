//! What happens, as it happens: `GET /v1/stream`, server-sent events.
//!
//! ```text
//! every so often ─ figures ┐
//! applied ─── invalidation ┤
//! answered ──────── request ┼─ asked for? ─ filter ─► one frame ─► the reader, when it has taken the one before
//! in force ───────── reload ┘
//! ```
//! Invariant: nobody who watches holds anybody up. A frame is made when the reader has taken the one before; what it could not
//! keep up with it has lost, and is told so. It refuses to know what happens.

mod wanted;

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, interval_at};

use crate::access_log::audience::Listener;
use crate::admin::figures::{self, STREAMS};
use crate::admin::in_force::Loaded;
use crate::admin::parameters::Parameters;
use crate::admin::problem::Problem;
use crate::admin::stream::wanted::{Filter, Wanted};
use crate::admin::{Sources, purge};
use crate::drain::{Phase, Watch};
use crate::invalidate::audit::Audited;

/// A reader hears something at least so often, lest whoever stands between takes the connection for dead.
const ALIVE: Duration = Duration::from_secs(15);
/// A frame is sent when it is as long as this, in bytes.
const FRAME: usize = 64 * 1024;
/// Keeps a proxy in front from gathering frames.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// `GET /v1/stream`
pub(crate) async fn stream(
    State(sources): State<Sources>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let wanted = Wanted::read(&sources, parameters)?;
    let drain = sources.flow.parts().drain.clone();
    if drain.has_reached(Phase::Draining) {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "The process is about to stop."));
    }
    let Ok(place) = sources.watching.streams().try_acquire_owned() else {
        let detail = format!("{STREAMS} streams are open, and there are no more places.");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .with(RETRY_AFTER, HeaderValue::from_static("5")));
    };
    let view = View::new(sources, wanted, drain, place);
    let frames = stream::unfold(view, async |mut view| {
        let frame = view.next().await?;
        Some((Ok::<_, Infallible>(frame), view))
    });
    let fields = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    Ok((fields, Body::from_stream(frames)).into_response())
}

/// One reader's view.
struct View {
    sources: Sources,
    /// When the next figures are due; `None`: they are not wanted.
    figures: Option<Interval>,
    invalidations: Option<Receiver<Arc<Audited>>>,
    reloads: Option<Receiver<Arc<Loaded>>>,
    requests: Option<Listener>,
    filter: Filter,
    alive: Interval,
    drain: Watch,
    _place: OwnedSemaphorePermit,
}

impl View {
    fn new(sources: Sources, wanted: Wanted, drain: Watch, place: OwnedSemaphorePermit) -> Self {
        let parts = sources.flow.parts();
        let figures = wanted.figures.then(|| {
            let mut ticks = interval(wanted.every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        let mut alive = interval_at(Instant::now() + ALIVE, ALIVE);
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            figures,
            invalidations: wanted.invalidations.then(|| parts.invalidator.listen()),
            reloads: wanted.reloads.then(|| sources.config.listen()),
            requests: wanted.requests.then(|| parts.log.listen()),
            filter: wanted.filter,
            alive,
            drain,
            _place: place,
            sources,
        }
    }

    /// The next frame; `None`: the process is about to stop.
    async fn next(&mut self) -> Option<Bytes> {
        let mut frame = String::new();
        while frame.is_empty() {
            tokio::select! {
                biased;
                () = self.drain.reached(Phase::Draining) => return None,
                () = tick(&mut self.figures) => {
                    push(&mut frame, "figures", &figures::shared(&self.sources).await.ok()?);
                }
                _ = self.alive.tick() => frame.push_str(": still here\n\n"),
                heard = heard(&mut self.invalidations) => match heard {
                    Ok(audited) => push(&mut frame, "invalidation", &purge::told(&audited).to_string()),
                    Err(count) => lost(&mut frame, count, "invalidations"),
                },
                heard = heard(&mut self.reloads) => match heard {
                    Ok(loaded) => push(&mut frame, "reload", &reload(&loaded).to_string()),
                    Err(count) => lost(&mut frame, count, "reloads"),
                },
                () = answered(&mut self.requests, &self.filter, &mut frame) => {}
            }
        }
        Some(frame.into())
    }
}

async fn tick(figures: &mut Option<Interval>) {
    match figures {
        Some(ticks) => {
            ticks.tick().await;
        }
        None => std::future::pending().await,
    }
}

/// The next event, or how many were lost; for ever nothing, where nobody tells or nobody listens.
async fn heard<T: Clone>(receiver: &mut Option<Receiver<T>>) -> Result<T, u64> {
    let Some(receiver) = receiver else { return std::future::pending().await };
    match receiver.recv().await {
        Ok(event) => Ok(event),
        Err(RecvError::Lagged(count)) => Err(count),
        Err(RecvError::Closed) => std::future::pending().await,
    }
}

/// Waits for the next request that is answered, and puts it into the frame if it is wanted, with those that wait behind it.
async fn answered(requests: &mut Option<Listener>, filter: &Filter, frame: &mut String) {
    let Some(listener) = requests else { return std::future::pending().await };
    match listener.next().await {
        Ok(told) if filter.wants(&told) => push(frame, "request", &told.line),
        Ok(_) => {}
        Err(RecvError::Lagged(count)) => lost(frame, count, "requests"),
        Err(RecvError::Closed) => std::future::pending().await,
    }
    while frame.len() < FRAME {
        match listener.waiting() {
            Ok(told) if filter.wants(&told) => push(frame, "request", &told.line),
            Ok(_) => {}
            Err(TryRecvError::Lagged(count)) => lost(frame, count, "requests"),
            Err(TryRecvError::Empty | TryRecvError::Closed) => return,
        }
    }
}

/// Adds one event, whose data is one line.
fn push(frame: &mut String, event: &str, data: &str) {
    let _never_fails = write!(frame, "event: {event}\ndata: {data}\n\n");
}

fn lost(frame: &mut String, count: u64, of: &str) {
    push(frame, "lost", &json!({ "count": count, "of": of }).to_string());
}

fn reload(loaded: &Loaded) -> Value {
    json!({ "at": figures::millis(loaded.at), "digest": loaded.digest, "changed": loaded.changed })
}
