//! Interim (1xx) answers, which come before the one that is waited for.
//!
//! Invariant: each is told as it comes, in order, and none after the final head. It refuses to know what becomes of them.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, Request, StatusCode};

use crate::body::Body;

type Told = dyn Fn(StatusCode, &HeaderMap) + Send + Sync;

/// Who is told of the interim answers to a request: status and fields as they came, 100 included, 101 not. Called on the task of
/// the connection to the origin, so it must not wait.
#[derive(Clone)]
pub struct OnInterim(Arc<Told>);

impl OnInterim {
    /// Calls `told` with each of them.
    pub fn new(told: impl Fn(StatusCode, &HeaderMap) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }

    /// Has hyper tell of what comes before the answer to `request`.
    pub(crate) fn listen(self, request: &mut Request<Body>) {
        hyper::ext::on_informational(request, move |head| (self.0)(head.status(), head.headers()));
    }
}

impl fmt::Debug for OnInterim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnInterim")
    }
}
