//! A request that the cache is not asked for: forwarded as it streams, answered as it streams.

use http::request::Parts as Head;
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::body::{Body, BodyError};
use crate::flow::serve::Answer;
use crate::flow::{Visit, egress, problem};
use crate::metrics::Cache;
use crate::policy::cache_status::{CacheStatus, Forward};
use crate::policy::fields;
use crate::route::table::Route;
use crate::upstream::{self, Upgrade};

/// Forwards; `why` is the reason that metrics and `Cache-Status` give.
pub(crate) async fn pass(visit: &Visit<'_>, head: Head, body: Body, why: &'static str) -> Answer {
    let whose = visit.whose(&head);
    let body = match framed(body).await {
        Ok(body) => body,
        Err(why) => return conclude(visit, Err(upstream::Error::RequestBody(why)), Forward::Bypass, None),
    };
    let request = outbound(visit, head, visit.forward_target(), body);
    let answer = visit.ask(request, visit.how(Upgrade::No)).await;
    if let Ok(response) = &answer {
        visit.flow.forget(whose.as_ref(), response.status()).await;
    }
    visit.flow.metrics.bypass(visit.target.route.index, why);
    conclude_as(visit, answer, status(why))
}

/// What `Cache-Status` says of a request that is forwarded for this reason.
pub(crate) fn status(why: &'static str) -> CacheStatus {
    if why == "method" {
        return CacheStatus::forward(Forward::Method);
    }
    let detail = Some(why);
    CacheStatus::Fwd { why: Forward::Bypass, status: None, stored: false, collapsed: false, detail }
}

/// A body that says it is empty, once it has ended as such: over HTTP/2 it may yet prove to lie (RFC 9113 §8.1.1).
pub(crate) async fn framed(mut body: Body) -> Result<Body, BodyError> {
    while body.size_hint().exact() == Some(0) && !body.is_end_stream() {
        match body.frame().await {
            Some(frame) => drop(frame?),
            None => break,
        }
    }
    Ok(body)
}

/// The request as the origin gets it.
pub(crate) fn outbound(visit: &Visit<'_>, mut head: Head, target: PathAndQuery, body: Body) -> Request<Body> {
    egress::rewrite(&mut head.headers, visit);
    let mut request = Request::new(body);
    *request.method_mut() = head.method;
    *request.uri_mut() = target.into();
    *request.headers_mut() = head.headers;
    request
}

/// The origin's answer, or the problem that stands for it, as one that the cache took no part in.
pub(crate) fn conclude(
    visit: &Visit<'_>,
    answer: Result<Response<Body>, upstream::Error>,
    forward: Forward,
    detail: Option<&'static str>,
) -> Answer {
    let status = CacheStatus::Fwd { why: forward, status: None, stored: false, collapsed: false, detail };
    conclude_as(visit, answer, status)
}

/// The same, with `status` to say what part the cache took after all.
pub(crate) fn conclude_as(
    visit: &Visit<'_>,
    answer: Result<Response<Body>, upstream::Error>,
    status: CacheStatus,
) -> Answer {
    let (mut error, mut upstream) = (None, None);
    let response = match answer {
        Ok(mut response) => {
            let took = visit.flow.clock.mono().saturating_sub(visit.now.mono);
            visit.flow.metrics.upstream_request(took);
            upstream = Some(took);
            clean(response.headers_mut(), visit.target.route);
            response
        }
        Err(why) => {
            visit.flow.metrics.upstream_error(why.as_str());
            tracing::debug!(%why, "the origin gave no answer");
            error = Some(why.as_str());
            problem::upstream(&why)
        }
    };
    Answer { error, upstream, ..Answer::new(response, visit.target.route, Cache::Bypass, status) }
}

/// Removes what is between us and the origin, and what is for caches only unless the route forwards it.
pub(crate) fn clean(headers: &mut HeaderMap, route: &Route) {
    fields::strip_hop_by_hop(headers);
    if !route.settings.forward_tags {
        fields::strip_for_caches(headers);
    }
    headers.remove("x-cache");
}
