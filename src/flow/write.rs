//! An unsafe request: forwarded, and what it outdates dropped before its answer leaves.
//!
//! The forwarding is a task of its own: a client that leaves never cancels a write, and never the invalidation after it.
//!
//! | write | reader | |
//! |---|---|---|
//! | the origin commits, and answers | | |
//! | | may still get the older body | the write is not yet answered |
//! | floors raised, entries dead | | |
//! | | | |
//! | the answer leaves | never gets an older body | what is still in flight is refused by the gate |

use std::sync::Arc;

use http::request::Parts as Head;
use http::uri::Authority;
use http::{Method, Response, StatusCode, Uri};
use tokio::sync::oneshot;

use crate::body::Body;
use crate::flow::adopt::Adoption;
use crate::flow::arriving::Own;
use crate::flow::serve::Answer;
use crate::flow::{ServerError, Shared, Visit, pass};
use crate::invalidate::Invalidation;
use crate::policy::cache_status::{CacheStatus, Forward};
use crate::policy::outdate;
use crate::route::host::Scheme;
use crate::route::path::Path;
use crate::route::reach::Reach;
use crate::route::tag::Tag;
use crate::upstream::{self, Upgrade};

/// Forwards a write and outdates its target, and what its answer names, with every query (RFC 9111 §4.4).
pub(crate) async fn write(visit: &Visit<'_>, head: Head, body: Body) -> Answer {
    let method = head.method.clone();
    let forward = visit.forward_target();
    let target = Target {
        scheme: visit.target.scheme,
        uri: format!("http://{}{forward}", visit.target.authority.as_str()).parse().unwrap_or_default(),
        tags: visit.target.tags().into_vec(),
        whose: visit.whose(&head),
    };
    let body = match pass::framed(body).await {
        Ok(body) => body,
        Err(why) => {
            return pass::conclude(visit, Err(upstream::Error::RequestBody(why)), Forward::Method, None);
        }
    };
    let adoption = Adoption::of(visit, &head);
    let request = pass::outbound(visit, head, forward, body);
    let (flow, how) = (Arc::clone(visit.flow), visit.how(Upgrade::No));
    let (answered, answer) = oneshot::channel();
    tokio::spawn(async move {
        let answer = flow.upstream.send(request, how).await;
        let outdated = flow.outdated(&method, &target, &answer);
        // Whoever asked may have left; what had to be done is done.
        match (adoption, answer) {
            (Some(adoption), Ok(response)) => {
                adoption.conclude(&target.uri, outdated, response, answered).await;
            }
            (_, answer) => {
                if !outdated.reach.is_empty() {
                    flow.invalidator.apply(outdated).await;
                }
                let _ = answered.send(answer.map(Own::passed));
            }
        }
    });
    let (answer, stored) = match answer.await.unwrap_or(Err(upstream::Error::Closed)) {
        Ok(own) => (Ok(own.response), own.kept.is_ok()),
        Err(why) => (Err(why), false),
    };
    let why = Forward::Method;
    let status = CacheStatus::Fwd { why, status: None, stored, collapsed: false, detail: None };
    pass::conclude_as(visit, answer, status)
}

/// What a write is aimed at.
struct Target {
    scheme: Scheme,
    uri: Uri,
    tags: Vec<Tag>,
    whose: Option<Tag>,
}

impl Shared {
    /// The tags that a write outdates, now that it was answered; none if it had no effect.
    fn outdated(
        &self,
        method: &Method,
        target: &Target,
        answer: &Result<Response<Body>, upstream::Error>,
    ) -> Invalidation {
        let mut tags = target.tags.clone();
        match answer {
            Ok(response) if self.has_effect(method, response.status()) => {
                let authority = target.uri.authority().map_or("", Authority::as_str);
                let is_ours = |named: &str| self.is_named(target.scheme, named, authority);
                let named = outdate::also_outdated(&target.uri, response.headers(), &is_ours);
                tags.extend(named.iter().map(|path| Tag::path(authority, Path::of(path.path()).decoded())));
            }
            Ok(response) => {
                tags.clear();
                tags.extend(target.whose.clone().filter(|_| response.status() == StatusCode::UNAUTHORIZED));
            }
            Err(why) if why.never_sent() => tags.clear(),
            // Nobody knows whether the origin did it: as if it had.
            Err(_) => {}
        }
        Invalidation { reach: Reach::of(tags), ..Invalidation::default() }
    }

    /// Whether `named` is another name of our `authority`.
    pub(crate) fn is_named(&self, scheme: Scheme, named: &str, authority: &str) -> bool {
        let named = self.rules.hosts.resolve(scheme, named);
        named.is_ok_and(|named| named.as_str() == authority)
    }

    /// A 5xx says nothing about what was done before it; RFC 9111 §4.4 asks for nothing then, and so may the configuration.
    fn has_effect(&self, method: &Method, status: StatusCode) -> bool {
        let in_doubt = status.is_server_error() && self.settings.on_server_error == ServerError::Invalidate;
        outdate::outdates_target(method, status) || in_doubt
    }
}
