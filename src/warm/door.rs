//! The way in for warming, as it sees the walk: what it may ask of it, and nothing else.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::request::Parts as Head;
use http::{HeaderMap, Request, Response};

use crate::body::Body;
use crate::flow::Flow;
use crate::flow::identities::Person;
use crate::route::identity::Digest;
use crate::store::entry::Entry;

/// The walk of requests that nobody waits for.
pub trait Door: Send + Sync {
    /// Answers a GET with an origin-form target and no Host; the answer has a [`crate::metrics::Cache`] among its extensions,
    /// else it counts as stored.
    fn ask(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>>;

    /// What is kept for such a request.
    fn kept(&self, head: Head) -> Option<Arc<Entry>>;

    /// Fetches that anew, while it is served; gives what is kept then, `None` if somebody does it already.
    fn renew(&self, head: Head) -> BoxFuture<'static, Option<Arc<Entry>>>;

    /// For each path the position at which it was last outdated, if that is remembered. It may take its time.
    fn last_written(&self, paths: &[&str]) -> Vec<Option<u64>>;

    /// Who was here lately, the latest first.
    fn active(&self) -> Vec<Person>;

    /// Somebody used what was warmed for him.
    fn seen(&self, whose: Digest);

    /// The origin does not take somebody's credential any more.
    fn forget(&self, whose: Digest);

    /// Fields in somebody's name; `None`: they would not open his entries.
    fn in_the_name_of(&self, person: &Person, headers: &HeaderMap) -> Option<HeaderMap>;

    /// Under which authority it is asked.
    fn authority(&self) -> String;
}

impl Door for Flow {
    fn ask(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let flow = self.clone();
        Box::pin(async move { flow.warm(request).await })
    }

    fn kept(&self, head: Head) -> Option<Arc<Entry>> {
        Flow::kept(self, head)
    }

    fn renew(&self, head: Head) -> BoxFuture<'static, Option<Arc<Entry>>> {
        let flow = self.clone();
        Box::pin(async move { Flow::renew(&flow, head).await })
    }

    fn last_written(&self, paths: &[&str]) -> Vec<Option<u64>> {
        Flow::last_written(self, paths)
    }

    fn active(&self) -> Vec<Person> {
        Flow::active(self)
    }

    fn seen(&self, whose: Digest) {
        Flow::seen(self, whose);
    }

    fn forget(&self, whose: Digest) {
        self.forget_identity(whose);
    }

    fn in_the_name_of(&self, person: &Person, headers: &HeaderMap) -> Option<HeaderMap> {
        Flow::in_the_name_of(self, person, headers)
    }

    fn authority(&self) -> String {
        self.canonical_authority()
    }
}
