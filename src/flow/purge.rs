//! `PURGE /path` where clients come in: for whoever shows a token that may purge, as Varnish and Fastly have it.
//!
//! Invariant: it is never forwarded, and whoever may not purge learns nothing: neither whether there is a token, nor whether his was
//! right.

use http::request::Parts as Head;
use http::{HeaderMap, StatusCode};

use crate::flow::serve::Answer;
use crate::flow::{Visit, problem};
use crate::invalidate::applied::Ack;
use crate::invalidate::operation::Operation;
use crate::invalidate::{Invalidation, Source};
use crate::metrics::Cache;
use crate::route::reach::Reach;
use crate::store::position::Mode;
use crate::token::Role;

/// The method.
pub const METHOD: &str = "PURGE";

/// What a request for a purge asks for: soft with `Fastly-Soft-Purge: 1`.
pub fn mode(headers: &HeaderMap) -> Mode {
    match headers.get("fastly-soft-purge").map(http::HeaderValue::as_bytes) {
        Some(b"1") => Mode::Soft,
        _ => Mode::Hard,
    }
}

/// What whoever invalidates hears when nobody knows whether it holds on every node.
pub fn unconfirmed(operation: Option<Operation>) -> String {
    let begun = "It holds on this node; nobody knows yet whether it holds on the others.";
    match operation {
        Some(operation) => format!(
            "{begun} It goes on: GET /v1/operations/{operation} of this node's admin API says how far it is."
        ),
        None => format!(
            "{begun} Too much waits already, so everything will be outdated there: send it again later."
        ),
    }
}

/// Outdates the path with every query on the host that was asked, and answers when that holds.
pub(crate) async fn purge(visit: &Visit<'_>, head: &Head) -> Answer {
    let holder = visit.flow.keys.holder(&head.headers).filter(|holder| holder.may >= Role::Purge);
    let response = match holder {
        None => problem::method_not_allowed("this method is not offered here"),
        Some(holder) => {
            let invalidation = Invalidation {
                reach: Reach::of(visit.target.tags()),
                mode: mode(&head.headers),
                source: Source::Admin,
                actor: holder.name.to_string(),
                ..Invalidation::default()
            };
            let applied = visit.flow.invalidator.apply(invalidation).await;
            if let Ack::Unconfirmed(operation) = applied.ack {
                let response = problem::unconfirmed(operation);
                let (error, detail) = (Some("unconfirmed"), Some("purge"));
                return Answer { error, ..Answer::plain(response, Cache::Bypass, detail) };
            }
            let (position, invalidated) = (applied.position.to_string(), applied.entries.total);
            let body =
                serde_json::json!({ "status": "ok", "id": position, "invalidated": invalidated }).to_string();
            problem::json(StatusCode::OK, "application/json", body)
        }
    };
    Answer::plain(response, Cache::Bypass, Some("purge"))
}
