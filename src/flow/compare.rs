//! What the origin says now to what an entry was fetched for, beside the cache: nothing is stored, and nobody waits.
//!
//! Invariant: only what everybody shares is asked for again, by GET or QUERY, with nobody's credentials. It refuses to know what
//! follows from a difference.

use std::sync::Arc;

use bytes::Bytes;
use http::header::ETAG;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use sha2::{Digest, Sha256};

use crate::body::Body;
use crate::flow::ingress::Named;
use crate::flow::{Client, Flow, Visit, egress};
use crate::policy::decode;
use crate::route::host::Scheme;
use crate::route::share::Share;
use crate::store::entry::Entry;
use crate::upstream::Upgrade;

/// How gzip begins, and where it says when it was done (RFC 1952 §2.3).
const GZIP: [u8; 2] = [0x1f, 0x8b];
const MTIME: std::ops::Range<usize> = 4..8;

/// An answer, as far as two are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its status.
    pub status: StatusCode,
    /// The origin's own strong entity tag, if it has one.
    pub strong_etag: Option<Vec<u8>>,
    /// Digest of the body without its codings; of the body as it is, if they cannot be undone.
    pub digest: u128,
}

/// Why the origin was not asked, or said nothing that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSaid {
    /// The entry is somebody's own, or a part, or what it was asked with is not kept.
    #[error("it cannot be asked for again")]
    NotAskable,
    /// The origin gave no whole answer, or too long a one.
    #[error("the origin gave no whole answer")]
    NoAnswer,
}

impl Said {
    /// What an entry says; `None`: the process is about to stop.
    pub async fn by(entry: &Arc<Entry>) -> Option<Self> {
        let entry = Arc::clone(entry);
        said(move || {
            let headers = entry.response.origin_headers();
            Self::of(entry.response.status, &headers, &entry.response.body)
        })
        .await
    }

    /// What an answer says whose body is all there; `None`: the process is about to stop.
    pub(in crate::flow) async fn of_whole(
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
    ) -> Option<Self> {
        said(move || Self::of(status, &headers, &body)).await
    }

    fn of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let etag = headers.get(ETAG).map(|tag| tag.as_bytes().to_vec());
        let sha = Sha256::digest(&*plain(headers, body));
        let digest = sha.iter().take(16).fold(0, |digest, byte| digest << 8 | u128::from(*byte));
        Self { status, strong_etag: etag.filter(|tag| tag.starts_with(b"\"")), digest }
    }
}

/// Whether two entries have the same body. It may be asked while somebody waits, so nothing is decoded: what was coded in another
/// way is taken for another.
pub fn same_body(one: &Entry, other: &Entry) -> bool {
    fn told_apart(body: &[u8]) -> (&[u8], &[u8]) {
        let is_gzip = body.starts_with(&GZIP) && body.len() >= MTIME.end;
        if is_gzip { (&body[..MTIME.start], &body[MTIME.end..]) } else { (body, &[]) }
    }
    told_apart(&one.response.body) == told_apart(&other.response.body)
}

/// A coding may write down when it was done.
fn plain<'b>(headers: &HeaderMap, body: &'b [u8]) -> std::borrow::Cow<'b, [u8]> {
    let decoded = decode::codings(headers).and_then(|codings| decode::decoded(&codings, body));
    decoded.unwrap_or(body.into())
}

impl Flow {
    /// Asks the origin, behind everybody else, for what `entry` was fetched for.
    ///
    /// # Errors
    /// [`NotSaid`].
    pub async fn ask_beside(&self, entry: &Entry) -> Result<Said, NotSaid> {
        let shared = self.in_force();
        let tls = entry.key().told().is_some_and(|told| told.scheme == Scheme::Https);
        let client = Client::auditor(tls);
        let by_target = shared.again(entry).map(|(head, ..)| (head, Bytes::new()));
        let asked = by_target.or_else(|| shared.question(entry, client));
        let (head, content) = asked.ok_or(NotSaid::NotAskable)?;
        let named = Named::by(&head).map_err(|_| NotSaid::NotAskable)?;
        let target = shared.target(&named, &client).map_err(|_| NotSaid::NotAskable)?;
        let visit = Visit::aside(&shared, client, &target, &head);
        let mut request = Request::new(Body::from(content));
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = visit.fill_target().into();
        *request.headers_mut() = egress::fill(&visit, &head.headers, Share::Shared);
        answer(request, &visit).await.ok_or(NotSaid::NoAnswer)
    }
}

async fn answer(request: Request<Body>, visit: &Visit<'_>) -> Option<Said> {
    let limit = usize::try_from(visit.target.route.settings.entry).unwrap_or(usize::MAX);
    let response = visit.ask(request, visit.how(Upgrade::No)).await.ok()?;
    let (head, body) = response.into_parts();
    let body: Bytes = Limited::new(body, limit).collect().await.ok()?.to_bytes();
    Said::of_whole(head.status, head.headers, body).await
}

/// To decode a large body takes its time.
async fn said(say: impl FnOnce() -> Said + Send + 'static) -> Option<Said> {
    tokio::task::spawn_blocking(say).await.ok()
}
