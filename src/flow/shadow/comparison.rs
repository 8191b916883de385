//! What the cache would have answered, held against what the origin did answer.
//!
//! Invariant: nobody waits for it; the body goes to the client as it comes, and is compared behind it, up to a limit.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;

use crate::body::Body;
use crate::flow::Shared;
use crate::flow::arriving::{Landing, Whence};
use crate::flow::compare::Said;
use crate::flow::read::Question;
use crate::flow::relay::{self, Writer};
use crate::flow::shadow::would::by_heads;
use crate::metrics::Compared;
use crate::store::entry::Entry;

/// What the cache would have answered, to be held against the origin's answer.
pub(super) struct Comparison {
    flow: Arc<Shared>,
    route: usize,
    /// As far as a body is compared.
    limit: u64,
    /// `None`: there is nothing to compare, or the heads have told.
    entry: Option<Arc<Entry>>,
}

impl Comparison {
    pub(super) fn none(flow: &Arc<Shared>, route: usize) -> Self {
        Self { flow: Arc::clone(flow), route, limit: 0, entry: None }
    }

    /// By the heads, and if they do not tell by the bodies.
    pub(super) fn of(question: &Question<'_>, entry: Arc<Entry>, answer: &Response<Body>) -> Self {
        let (flow, route) = (question.visit.flow, question.visit.target.route);
        let stored = entry.response.origin_headers();
        let said = (answer.status(), answer.headers());
        let compared = by_heads(&question.head.method, (entry.response.status, &stored), said);
        let mut comparison = Self { limit: route.settings.entry, ..Self::none(flow, route.index) };
        match compared {
            Some(compared) => comparison.note(&entry, compared),
            None => comparison.entry = Some(entry),
        }
        comparison
    }

    /// Reads the body along as it goes to the client.
    pub(super) fn run(self, response: Response<Body>) -> Response<Body> {
        if self.entry.is_none() {
            return response;
        }
        let (head, body) = response.into_parts();
        let (writer, source) = relay::relay(http_body::Body::size_hint(&body).exact());
        let reader = source.reader().expect("nothing has been read yet");
        let headers = head.headers.clone();
        tokio::spawn(async move {
            let said = match along(body, writer, self.limit).await {
                Some(whole) => Said::of_whole(head.status, headers, whole).await,
                None => None,
            };
            self.conclude(said).await;
        });
        let mut response = Response::new(Body::stream(reader));
        (*response.status_mut(), *response.headers_mut()) = (head.status, head.headers);
        response
    }

    /// Compares with what the answer has been kept as.
    pub(super) async fn with(self, landing: Option<Landing>) {
        if self.entry.is_none() {
            return;
        }
        let said = match landing {
            Some(Landing::Entry(entry, Whence::Fetched)) => Said::by(&entry).await,
            _ => None,
        };
        self.conclude_with(said, false).await;
    }

    async fn conclude(self, said: Option<Said>) {
        self.conclude_with(said, true).await;
    }

    async fn conclude_with(self, said: Option<Said>, may_be_overtaken: bool) {
        let Some(entry) = &self.entry else { return };
        let compared = match (said, Said::by(entry).await) {
            (Some(said), Some(kept)) if said.digest == kept.digest => Compared::Same,
            (Some(_), Some(_)) => Compared::Stale,
            _ => Compared::Unchecked,
        };
        if may_be_overtaken {
            self.note(entry, compared);
        } else {
            self.flow.metrics.shadow_compared(self.route, compared);
        }
    }

    /// What was outdated while the origin answered has been told of: then it is not served in silence.
    fn note(&self, entry: &Entry, compared: Compared) {
        let is_outdated = entry.is_dead() || entry.softened().is_some();
        let is_overtaken = compared == Compared::Stale && is_outdated;
        let compared = if is_overtaken { Compared::Overtaken } else { compared };
        self.flow.metrics.shadow_compared(self.route, compared);
    }
}

/// Hands a body on as it comes; gives it whole, unless it breaks off or outgrows `limit` bytes.
async fn along(mut body: Body, writer: Writer, limit: u64) -> Option<Bytes> {
    let mut room = Some(limit);
    while let Some(frame) = body.frame().await {
        let data = match frame {
            Ok(frame) => frame.into_data(),
            Err(why) => {
                writer.break_off(&why.to_string());
                return None;
            }
        };
        let Ok(data) = data else { continue };
        room = room.and_then(|room| room.checked_sub(data.len() as u64));
        writer.push(data);
        if room.is_none() {
            writer.stop_keeping();
        }
        writer.room().await.ok()?;
    }
    let whole = room.map(|_| writer.whole());
    writer.finish();
    whole
}
