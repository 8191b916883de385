//! How what is kept is asked for again, behind everybody's back: by whoever refreshes, warms or is ahead of its end.
//!
//! Invariant: only what everybody shares, by its target alone, with nobody's credentials; and only what would be the same
//! entry again.

use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::request::Parts as Head;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version};
use tokio::task::JoinHandle;

use crate::body::Body;
use crate::flow::ingress::Named;
use crate::flow::{Client, Flow, Shared, Visit, read};
use crate::policy::Selector;
use crate::route::host::Scheme;
use crate::route::key::Key;
use crate::route::share::Share;
use crate::route::{Reads, Settings};
use crate::store::Found;
use crate::store::entry::Entry;

/// Longest target that is kept, in bytes: host, path, query and fields.
pub const MAX_TARGET: usize = 1024;

/// What is asked for again: host, path with query, and the fields by which its variant is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    tls: bool,
    path: PathAndQuery,
    /// The host among them.
    fields: Box<[(HeaderName, HeaderValue)]>,
}

impl Target {
    /// Of an entry under `key` that answers what `selector` says; `None`: it is somebody's own, not asked for by its target
    /// alone, or longer than [`MAX_TARGET`].
    pub fn of(key: &Key, selector: &Selector) -> Option<Self> {
        let by_target = key.told().is_some_and(|told| !told.is_by_content);
        Self::with_content(key, selector).filter(|_| by_target)
    }

    /// The same of one that is asked for by its content, too, which the key does not have.
    pub(in crate::flow) fn with_content(key: &Key, selector: &Selector) -> Option<Self> {
        let told = key.told().filter(|told| !told.is_of_a_credential)?;
        let mut headers = selector.example()?;
        headers.insert(HOST, HeaderValue::from_str(told.authority).ok()?);
        let path = if told.query.is_empty() {
            told.path.parse()
        } else {
            format!("{}?{}", told.path, told.query).parse()
        };
        let (tls, path) = (told.scheme == Scheme::Https, path.ok()?);
        let fields = headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        Some(Self { tls, path, fields }).filter(|target| target.size() <= MAX_TARGET)
    }

    /// Bytes that it holds.
    fn size(&self) -> usize {
        let fields = self.fields.iter().map(|(name, value)| name.as_str().len() + value.len());
        self.path.as_str().len() + fields.sum::<usize>()
    }

    /// Its path with the query.
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    pub(in crate::flow) fn head(&self) -> Head {
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from(self.path.clone());
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = self.fields.iter().cloned().collect::<HeaderMap>();
        request.into_parts().0
    }
}

impl Flow {
    /// Whether asking for `target` would bring the entry under `key` again.
    pub fn brings_again(&self, target: &Target, key: &Key, selector: &Selector) -> bool {
        let shared = self.in_force();
        shared.route_of(key, selector, &target.head(), &Client::warmer(target.tls)).is_some()
    }

    /// What is kept for `target` now, and fresh.
    pub fn kept_for(&self, target: &Target) -> Option<Arc<Entry>> {
        let shared = self.in_force();
        let (head, client, now) = (target.head(), Client::warmer(target.tls), shared.clock.now());
        let named = Named::by(&head).ok()?;
        let asked = shared.target(&named, &client).ok()?;
        let key = asked.key(Share::Shared, &head.headers, &[]);
        match shared.lookup(&head.headers, &key, now.mono) {
            Found::Entry(entry) if entry.softened().is_none() && entry.life.is_fresh(now) => Some(entry),
            _ => None,
        }
    }

    /// Asks for `target` as a client would, behind all of them. What the cache did is among the response's extensions.
    pub async fn warm_again(&self, target: &Target) -> Response<Body> {
        self.ask(target.head(), Body::Empty, Client::warmer(target.tls)).await
    }

    /// Fetches what is kept for `target` anew, while it is served; gives what is kept then. `None`: nothing is, or somebody does it
    /// already.
    pub async fn renew_again(&self, target: &Target) -> Option<Arc<Entry>> {
        let entry = self.kept_for(target)?;
        self.renew_entry(&entry)?.await.ok()?;
        self.kept_for(target)
    }

    /// Fetches an entry anew while it is still fresh, behind the clients who wait; whoever comes meanwhile gets it as it is. The
    /// task ends when that is done. `None`: somebody does already, or it cannot be asked for again.
    pub fn renew_entry(&self, entry: &Arc<Entry>) -> Option<JoinHandle<()>> {
        let shared = self.in_force();
        let target = Target::of(entry.key(), &entry.selector).filter(|_| entry.part().is_none())?;
        let (head, client) = (target.head(), Client::refresher(target.tls));
        shared.route_of(entry.key(), &entry.selector, &head, &client)?;
        let named = Named::by(&head).ok()?;
        let asked = shared.target(&named, &client).ok()?;
        let visit = Visit::aside(&shared, client, &asked, &head);
        let selecting = visit.selecting(&head, Share::Shared);
        read::refresh(&visit, &head, &selecting, Share::Shared, entry)
    }

    /// How long the origin takes for an answer like this one, but for few.
    pub fn cost(&self, entry: &Entry) -> Duration {
        let shared = self.in_force();
        let target = Target::of(entry.key(), &entry.selector);
        let route = target.and_then(|target| {
            let (head, client) = (target.head(), Client::warmer(target.tls));
            let named = Named::by(&head).ok()?;
            Some(shared.target(&named, &client).ok()?.route.index)
        });
        shared.lasting.costs.almost_always(route.unwrap_or(usize::MAX))
    }
}

impl Shared {
    /// How an entry is asked for again by whoever refreshes, and the `settle` of its route.
    pub(in crate::flow) fn again(&self, entry: &Entry) -> Option<(Head, Client, Duration)> {
        let target = Target::of(entry.key(), &entry.selector).filter(|_| entry.part().is_none())?;
        let (head, client) = (target.head(), Client::refresher(target.tls));
        let settle = self.route_of(entry.key(), &entry.selector, &head, &client)?;
        Some((head, client, settle))
    }

    /// The `settle` of its route; `None`: what would be asked is another entry, or goes by a credential.
    fn route_of(&self, key: &Key, selector: &Selector, head: &Head, client: &Client) -> Option<Duration> {
        let named = Named::by(head).ok()?;
        let target = self.target(&named, client).ok()?;
        let (settings, identity): (&Settings, _) = (&target.route.settings, &self.rules.identity);
        let reads = target.bypass().is_none() && settings.reads(&Method::GET) == Reads::ByTarget;
        let same =
            *target.key(Share::Shared, &head.headers, &[]) == **key && self.fits(selector, &head.headers);
        (reads && same && !identity.has_credentials(&head.headers)).then_some(settings.settle)
    }
}
