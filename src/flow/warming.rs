//! The way in for what is fetched before anybody asks: a client's, behind every client.
//!
//! Invariant: it is a read like any, with a ticket of its own and under the join rule. It refuses to know what is worth it.

use std::collections::HashMap;
use std::sync::Arc;

use http::request::Parts as Head;
use http::{HeaderValue, Request, Response, header};

use crate::body::Body;
use crate::flow::ingress::Named;
use crate::flow::plan::Plan;
use crate::flow::tagging::Tagging;
use crate::flow::{Client, Flow, Visit, read};
use crate::invalidate::Source;
use crate::invalidate::applied::Reached;
use crate::invalidate::audit::{Audited, Query};
use crate::route::reach::{Item, Reach};
use crate::route::share::Share;
use crate::route::tag::Tag;
use crate::store::Found;
use crate::store::entry::Entry;

/// Most patterns of remembered writes that paths are compared with; what more there are counts as never written.
const MOST_PATTERNS: usize = 256;

impl Flow {
    /// Answers a request of the warmer's: as a client's, for the canonical host, behind every client. What the
    /// cache did is among the response's extensions.
    pub async fn warm(&self, request: Request<Body>) -> Response<Body> {
        let shared = self.in_force();
        let (head, body) = request.into_parts();
        self.ask(of_a_warmer(head), body, Client::warmer(shared.settings.tls)).await
    }

    /// Answers as it would a client's; what the cache did is among the response's extensions.
    pub(in crate::flow) async fn ask(&self, head: Head, body: Body, client: Client) -> Response<Body> {
        let shared = self.in_force();
        let now = shared.clock.now();
        let answer = Arc::clone(&shared).walk(head, body, client, None, now).await;
        let mut response = answer.response;
        response.extensions_mut().insert(answer.cache);
        response
    }

    /// What is kept for such a request, be it stale; `None`: nothing, or it may not be served.
    pub fn kept(&self, head: Head) -> Option<Arc<Entry>> {
        let shared = self.in_force();
        let head = of_a_warmer(head);
        self.with_visit(&head, |visit, share| {
            let selecting = visit.selecting(&head, share);
            let key = visit.target.key(share, &head.headers, visit.content().key());
            match shared.lookup(&selecting, &key, visit.now.mono) {
                Found::Entry(entry) => Some(entry),
                _ => None,
            }
        })?
    }

    /// Fetches what is kept for such a request anew, while it is served; gives what is kept then. `None`: nothing is, or somebody
    /// does it already.
    pub async fn renew(&self, head: Head) -> Option<Arc<Entry>> {
        let shared = self.in_force();
        let head = of_a_warmer(head);
        let flight = self.with_visit(&head, |visit, share| {
            let selecting = visit.selecting(&head, share);
            let key = visit.target.key(share, &head.headers, visit.content().key());
            match shared.lookup(&selecting, &key, visit.now.mono) {
                Found::Entry(entry) => read::refresh(visit, &head, &selecting, share, &entry),
                _ => None,
            }
        })??;
        flight.await.ok()?;
        self.kept(head)
    }

    /// For each path when it was last outdated, by a write or by who tells of writes: the place of that in the order, as far
    /// back as the audit list goes.
    pub fn last_written(&self, paths: &[&str]) -> Vec<Option<u64>> {
        let shared = self.in_force();
        let audited = shared.invalidator.audit(&Query::default());
        let written = Written::of(&audited);
        if written.is_empty() {
            return vec![None; paths.len()];
        }
        let of_path = |path: &&str| {
            let (mut head, ()) = Request::new(()).into_parts();
            head.uri = path.parse().ok()?;
            self.with_visit(&head, |visit, share| {
                let tagging = Tagging::of(&shared.rules, visit.target, &head.headers, share);
                let tags = visit.target.tags().into_vec();
                written.last(tags.iter().chain(tagging.known()))
            })?
        };
        paths.iter().map(of_path).collect()
    }

    /// The authority under which warming asks.
    pub fn canonical_authority(&self) -> String {
        let shared = self.in_force();
        shared.rules.hosts.canonical_name().to_owned()
    }

    /// Fetches again, behind everybody's back, what of `dropped` lies in `reach` and was hot.
    pub fn refresh(&self, dropped: Reached, reach: Reach) {
        let shared = self.in_force();
        shared.refresh(vec![dropped], reach);
    }

    /// What writes drop is not fetched again from now on, whatever their rules say.
    pub fn refresh_nothing(&self) {
        let shared = self.in_force();
        shared.lasting.refreshes.close();
    }

    fn with_visit<T>(&self, head: &Head, look: impl FnOnce(&Visit<'_>, Share) -> T) -> Option<T> {
        let shared = self.in_force();
        let client = Client::warmer(shared.settings.tls);
        let named = Named::by(head).ok()?;
        let target = shared.target(&named, &client).ok()?;
        let visit = Visit::aside(&shared, client, &target, head);
        match visit.plan(head, &Body::Empty) {
            Plan::Read(share) => Some(look(&visit, share)),
            _ => None,
        }
    }
}

fn of_a_warmer(mut head: Head) -> Head {
    head.headers.remove(header::HOST);
    // A browser's offer: what an origin chooses from all of it serves whoever accepts the choice.
    head.headers.entry(header::ACCEPT_ENCODING).or_insert(HeaderValue::from_static("*"));
    head
}

/// What was outdated, and when that was done last.
struct Written<'a> {
    exact: HashMap<&'a Tag, u64, ahash::RandomState>,
    /// The latest first.
    patterns: Vec<(&'a Item, u64)>,
}

impl<'a> Written<'a> {
    /// `audited` in the order in which it was applied.
    fn of(audited: &'a [Arc<Audited>]) -> Self {
        let (mut exact, mut patterns) = (HashMap::default(), Vec::new());
        let told = |audited: &&Arc<Audited>| !matches!(audited.source, Source::Origin | Source::Gap);
        for audited in audited.iter().rev().filter(told) {
            for item in &audited.reach.items {
                match item {
                    // What outdates everything tells nothing apart.
                    Item::All => {}
                    Item::Tag(tag) => drop(exact.entry(tag).or_insert(audited.position.n)),
                    Item::Tags(_) | Item::Paths { .. } if patterns.len() < MOST_PATTERNS => {
                        patterns.push((item, audited.position.n));
                    }
                    Item::Tags(_) | Item::Paths { .. } => {}
                }
            }
        }
        Self { exact, patterns }
    }

    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.patterns.is_empty()
    }

    fn last<'t>(&self, tags: impl Iterator<Item = &'t Tag> + Clone) -> Option<u64> {
        let exact = tags.clone().filter_map(|tag| self.exact.get(tag)).max().copied();
        let mut by_pattern = self.patterns.iter();
        let pattern = by_pattern.find(|(item, _)| tags.clone().any(|tag| item.covers(tag))).map(|(_, n)| *n);
        exact.max(pattern)
    }
}
