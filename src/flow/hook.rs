//! A webhook, at the front door or aside: read whole, received, answered. Never forwarded, whatever the routes say.
//!
//! Receiving is a task of its own: a sender who leaves takes nothing back.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts as Head;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;

use crate::body::Body;
use crate::flow::content::{self, Unread};
use crate::flow::ingress::Refusal as Unasked;
use crate::flow::serve::Answer;
use crate::flow::{Flow, Shared, Visit, problem};
use crate::invalidate::hooks::{Receipt, Refusal};
use crate::metrics::Cache;
use crate::route::path::Path;
use crate::upstream;

/// What a request to the path of a webhook with another method than POST hears.
pub(crate) const NO_POST: Unasked = Unasked {
    status: StatusCode::METHOD_NOT_ALLOWED,
    reason: "method",
    detail: "a webhook is sent with POST",
};

/// Receives what was sent to the path of a webhook.
pub(crate) async fn receive(visit: &Visit<'_>, head: Head, body: Body) -> Answer {
    let (response, error) = answer(visit.flow, visit.target.path.decoded(), head, body).await;
    Answer { error, ..Answer::plain(response, Cache::Bypass, Some("webhook")) }
}

/// The same where operators come in.
pub async fn receive_aside(flow: &Flow, head: Head, body: Body) -> Response<Body> {
    let path = Path::of(head.uri.path()).decoded().to_owned();
    answer(&flow.in_force(), &path, head, body).await.0
}

async fn answer(flow: &Shared, path: &str, head: Head, body: Body) -> (Response<Body>, Option<&'static str>) {
    if head.method != Method::POST {
        return (method_not_allowed(), Some(NO_POST.reason));
    }
    let most = flow.hooks.max_body(path);
    let is_large = |body: &Body| body.size_hint().lower() > most as u64;
    let read = match is_large(&body) {
        true => Err(Unread::Passes(body, "")),
        false => content::whole(&flow.lasting.contents, body).await,
    };
    match read {
        Ok(body) => received(flow, path.to_owned(), head, body).await,
        Err(Unread::Passes(body, _)) if is_large(&body) => {
            let refusal = flow.hooks.refuse(Refusal::TooLarge(most));
            (respond(Err(&refusal)), Some(refusal.as_str()))
        }
        Err(Unread::Passes(..)) => (busy(), Some("busy")),
        Err(Unread::Broken(why)) => {
            let why = upstream::Error::RequestBody(why);
            (problem::upstream(&why), Some(why.as_str()))
        }
    }
}

async fn received(
    flow: &Shared,
    path: String,
    head: Head,
    body: Bytes,
) -> (Response<Body>, Option<&'static str>) {
    let (hooks, now) = (flow.hooks.clone(), flow.clock.now());
    let received = tokio::spawn(async move { hooks.receive(&path, &head.headers, body, now).await });
    match received.await {
        Ok(received) => (respond(received.as_ref()), received.err().map(|why| why.as_str())),
        Err(_) => {
            let detail = "the webhook could not be received; send it again";
            (problem::answer(StatusCode::INTERNAL_SERVER_ERROR, detail), Some("internal"))
        }
    }
}

/// What its sender hears.
fn respond(received: Result<&Receipt, &Refusal>) -> Response<Body> {
    let refusal = match received {
        Ok(receipt) => {
            let mut response = Response::new(Body::from(Bytes::from(receipt.to_json().to_string())));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return response;
        }
        Err(refusal) => refusal,
    };
    if let Refusal::Unconfirmed(operation) = refusal {
        return problem::unconfirmed(*operation);
    }
    let mut response = problem::answer(status(refusal), &refusal.to_string());
    let headers = response.headers_mut();
    match refusal {
        // RFC 9110 §11.6.1 asks for a challenge; no scheme is registered for signatures of webhooks.
        Refusal::Unproven(_) => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Webhook"))),
        Refusal::TooOften(why) => {
            let seconds = why.retry_after.as_secs_f64().ceil().max(1.0) as u64;
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        Refusal::Unknown | Refusal::TooLarge(_) | Refusal::Bad(_) | Refusal::Unconfirmed(_) => {}
    }
    response
}

/// The answer to anything but POST.
fn method_not_allowed() -> Response<Body> {
    let mut response = problem::answer(NO_POST.status, NO_POST.detail);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    response
}

fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Unknown => StatusCode::NOT_FOUND,
        Refusal::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::Unproven(_) => StatusCode::UNAUTHORIZED,
        Refusal::Bad(why) if why.is_malformed() => StatusCode::BAD_REQUEST,
        Refusal::Bad(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::TooOften(_) => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Unconfirmed(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn busy() -> Response<Body> {
    let detail = "too many bodies are held at once";
    let mut response = problem::answer(StatusCode::SERVICE_UNAVAILABLE, detail);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
