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
//! | | fetches, before `settle` has passed | gets it, and it is not stored: the origin may commit after it has answered |
//! | | fetches after that | stored |
//!
//! And where nobody knows what became of it:
//!
//! | write | reader | |
//! |---|---|---|
//! | no answer, or one that does not say (5xx) | | |
//! | floors raised until `upstream_timeout` from now, entries dead | | |
//! | the client is told | | |
//! | | fetches before that | gets it, and it is not stored: it is outdated again at the end of that time |
//! | the origin commits at last | | |
//! | | fetches after that time | stored |

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::request::Parts as Head;
use tokio::sync::oneshot;

use crate::body::Body;
use crate::fault::{self, Fault};
use crate::flow::adopt::{Adoption, Answered};
use crate::flow::arriving::Own;
use crate::flow::consequence::{Effect, Target};
use crate::flow::observed::{self, Sent};
use crate::flow::serve::Answer;
use crate::flow::{Shared, Visit, pass};
use crate::invalidate::intent::Intent;
use crate::policy::cache_status::{CacheStatus, Forward};
use crate::route::path::Path;
use crate::route::write::Matches;
use crate::route::written::Content;
use crate::traces::Trace;
use crate::upstream::{self, How, Leave, Permit, Upgrade};

/// Forwards a write and outdates its target, what its answer names (RFC 9111 §4.4), and what the rules say.
pub(crate) async fn write(visit: &Visit<'_>, head: Head, body: Body) -> Answer {
    let target = Target::of(visit, &head);
    let body = match pass::framed(body).await {
        Ok(body) => body,
        Err(why) => {
            return pass::conclude(visit, Err(upstream::Error::RequestBody(why)), Forward::Method, None);
        }
    };
    let adoption = Adoption::of(visit, &head);
    let request = pass::outbound(visit, head, visit.forward_target(), body);
    let (answered, answer) = oneshot::channel();
    let (how, trace, route) = (visit.how(Upgrade::No), visit.trace.clone(), visit.target.route.index);
    let errand = Errand { flow: Arc::clone(visit.flow), target, how, trace, route, adoption };
    tokio::spawn(errand.run(request, answered));
    let (answer, stored) = match answer.await.unwrap_or(Err(upstream::Error::Closed)) {
        Ok(own) => (Ok(own.response), own.kept.is_ok()),
        Err(why) => (Err(why), false),
    };
    let why = Forward::Method;
    let status = CacheStatus::Fwd { why, status: None, stored, collapsed: false, detail: None };
    pass::conclude_as(visit, answer, status)
}

/// A write that goes to the origin, whoever leaves.
struct Errand {
    flow: Arc<Shared>,
    target: Target,
    how: How,
    trace: Trace,
    /// By its number.
    route: usize,
    adoption: Option<Adoption>,
}

impl Errand {
    async fn run(self, request: Request<Body>, answered: Answered) {
        let Self { flow, target, mut how, trace, route, adoption } = self;
        let patience = how.timeout;
        let matches = Matches::of(&flow.rules.writes, &target.method, &Path::of(&target.path));
        let (request, sent) = if matches.asks_request() {
            let (request, sent) = Sent::by(request, &flow.lasting.contents);
            (request, Some(sent))
        } else {
            (request, None)
        };
        let intent = target.intend(&flow, &matches);
        how.permit = intent.as_ref().map(|intent| permit(&flow, intent));
        let mut answer = flow.ask((&trace, route), request, |request| flow.upstream.send(request, how)).await;
        let effect = Effect::of(&answer, &target.method, flow.settings.on_server_error);
        let mut received = Content::Unread;
        if let (Effect::Known(status), Ok(response)) = (effect, &mut answer)
            && matches.asks_response(status)
        {
            let (whole, content) = observed::answered(
                std::mem::take(response),
                (&flow.lasting.contents, &flow.lasting.searches),
                patience,
            )
            .await;
            (*response, received) = (whole, content);
        }
        let sent = match sent {
            Some(sent) => sent.content(&flow.lasting.searches).await,
            None => Content::Unread,
        };
        let follows = target.consequences(&flow, effect, &answer, |outcome| {
            matches.outdated(&target.written(outcome, &sent, &received))
        });
        // Whoever asked may have left; what had to be done is done.
        match (adoption, answer) {
            (_, answer) if fault::is(Fault::AnsweredFirst) => {
                let _ = answered.send(answer.map(Own::passed));
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    follows.apply(&flow, intent).await;
                });
            }
            (Some(adoption), Ok(response)) => {
                adoption.conclude(&target, (follows, intent), response, answered).await;
            }
            (_, Ok(response)) => {
                let response = follows.conclude(&flow, &target, response, intent).await;
                let _ = answered.send(Ok(Own::passed(response)));
            }
            (_, Err(why)) => {
                follows.apply(&flow, intent).await;
                let _ = answered.send(Err(why));
            }
        }
    }
}

/// What is asked before each copy of a write leaves: whether the fleet knows of it, under a lease that goes on.
fn permit(flow: &Arc<Shared>, intent: &Intent) -> Permit {
    let (flow, leash) = (Arc::clone(flow), intent.leash());
    Permit::new(move || {
        let (flow, leash) = (Arc::clone(&flow), leash.clone());
        Box::pin(async move {
            let Err(why) = leash.may_leave().await else { return Leave::Given };
            flow.metrics.write_unheld();
            tracing::debug!(%why, "a write whose intent is not journalled");
            if flow.invalidator.forwards_unheld() { Leave::Given } else { Leave::Withheld }
        })
    })
}
