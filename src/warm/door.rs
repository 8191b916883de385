//! The way in for warming, as it sees the walk: what it may ask of it, and nothing else.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::request::Parts as Head;
use http::{HeaderMap, Request, Response};

use crate::body::Body;
use crate::flow::Flow;
use crate::flow::again::Target;
use crate::flow::identities::Person;
use crate::route::identity::Digest;
use crate::store::entry::Entry;
use crate::store::watch::Told;

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Asking {
    /// A GET of the configuration's, or of somebody who asks for a path: an origin-form target, and no Host.
    Path(Box<Head>),
    /// What clients asked for.
    Again(Target),
}

/// Who is told what becomes of entries.
pub type Watch = Box<dyn Fn(Told<'_>) + Send + Sync>;

/// The walk of requests that nobody waits for.
pub trait Door: Send + Sync {
    /// The answer; it has a [`crate::metrics::Cache`] among its extensions, else it counts as stored.
    fn ask(&self, asking: Asking) -> BoxFuture<'static, Response<Body>>;

    /// What is kept for that.
    fn kept(&self, asking: Asking) -> Option<Arc<Entry>>;

    /// Fetches that anew, while it is served; gives what is kept then, `None` if somebody does it already.
    fn renew(&self, asking: Asking) -> BoxFuture<'static, Option<Arc<Entry>>>;

    /// For each path the position at which it was last outdated, if that is remembered. It may take its time.
    fn last_written(&self, paths: &[&str]) -> Vec<Option<u64>>;

    /// Tells `watch` what becomes of entries from now on; it must be quick.
    fn watch(&self, watch: Watch);

    /// Who was here lately, the latest first.
    fn active(&self) -> Vec<Person>;

    /// Somebody used what was warmed for him.
    fn seen(&self, whose: Digest);

    /// Forgets who was not here lately.
    fn forget_absent(&self);

    /// Whether nothing is cached now: somebody switched it off, or the process is about to stop.
    fn is_off(&self) -> bool;

    /// The origin does not take somebody's credential any more.
    fn forget(&self, whose: Digest);

    /// Fields in somebody's name; `None`: they would not open his entries.
    fn in_the_name_of(&self, person: &Person, headers: &HeaderMap) -> Option<HeaderMap>;

    /// Under which authority it is asked.
    fn authority(&self) -> String;
}

impl Door for Flow {
    fn ask(&self, asking: Asking) -> BoxFuture<'static, Response<Body>> {
        let flow = self.clone();
        Box::pin(async move {
            match asking {
                Asking::Path(head) => flow.warm(Request::from_parts(*head, Body::Empty)).await,
                Asking::Again(target) => flow.warm_again(&target).await,
            }
        })
    }

    fn kept(&self, asking: Asking) -> Option<Arc<Entry>> {
        match asking {
            Asking::Path(head) => Flow::kept(self, *head),
            Asking::Again(target) => self.kept_for(&target),
        }
    }

    fn renew(&self, asking: Asking) -> BoxFuture<'static, Option<Arc<Entry>>> {
        let flow = self.clone();
        Box::pin(async move {
            match asking {
                Asking::Path(head) => Flow::renew(&flow, *head).await,
                Asking::Again(target) => flow.renew_again(&target).await,
            }
        })
    }

    fn last_written(&self, paths: &[&str]) -> Vec<Option<u64>> {
        Flow::last_written(self, paths)
    }

    fn watch(&self, watch: Watch) {
        self.parts().store.watch(watch);
    }

    fn active(&self) -> Vec<Person> {
        Flow::active(self)
    }

    fn seen(&self, whose: Digest) {
        Flow::seen(self, whose);
    }

    fn forget_absent(&self) {
        Flow::forget_absent(self);
    }

    fn is_off(&self) -> bool {
        self.switches().is_off(self.parts().clock.mono())
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
