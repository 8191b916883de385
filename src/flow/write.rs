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
use crate::flow::serve::Answer;
use crate::flow::{ServerError, Shared, Visit, pass};
use crate::policy::cache_status::Forward;
use crate::policy::outdate;
use crate::route::host::Scheme;
use crate::route::path::Path;
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
    let request = pass::outbound(visit, head, forward, body);
    let (flow, how) = (Arc::clone(visit.flow), visit.how(Upgrade::No));
    let (answered, answer) = oneshot::channel();
    tokio::spawn(async move {
        let answer = flow.upstream.send(request, how).await;
        flow.outdate(&method, &target, &answer);
        // Whoever asked may have left; what had to be done is done.
        let _ = answered.send(answer);
    });
    let answer = answer.await.unwrap_or(Err(upstream::Error::Closed));
    pass::conclude(visit, answer, Forward::Method, None)
}

/// What a write is aimed at.
struct Target {
    scheme: Scheme,
    uri: Uri,
    tags: Vec<Tag>,
    whose: Option<Tag>,
}

impl Shared {
    fn outdate(&self, method: &Method, target: &Target, answer: &Result<Response<Body>, upstream::Error>) {
        let mut tags = target.tags.clone();
        match answer {
            Ok(response) if self.has_effect(method, response.status()) => {
                let authority = target.uri.authority().map_or("", Authority::as_str);
                let is_ours = |named: &str| {
                    let named = self.rules.hosts.resolve(target.scheme, named);
                    named.is_ok_and(|named| named.as_str() == authority)
                };
                let named = outdate::also_outdated(&target.uri, response.headers(), &is_ours);
                tags.extend(named.iter().map(|path| Tag::path(authority, Path::of(path.path()).decoded())));
            }
            Ok(response) => return self.forget(target.whose.as_ref(), response.status()),
            Err(why) if why.never_sent() => return,
            // Nobody knows whether the origin did it: as if it had.
            Err(_) => {}
        }
        self.store.outdate(&tags);
    }

    /// A 5xx says nothing about what was done before it; RFC 9111 §4.4 asks for nothing then, and so may the configuration.
    fn has_effect(&self, method: &Method, status: StatusCode) -> bool {
        let in_doubt = status.is_server_error() && self.settings.on_server_error == ServerError::Invalidate;
        outdate::outdates_target(method, status) || in_doubt
    }
}
