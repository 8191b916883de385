//! The head of a request as the origin gets it: written from the validated structure, never copied from the client.
//!
//! Invariant: one Host, no hop-by-hop field, no word of a stranger about who he is or what he meant (HAZARDS: X-Forwarded-*,
//! X-Original-URL, method override). Framing fields are the upstream's to write.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderName, HeaderValue,
};

use crate::flow::{Client, Visit};
use crate::policy::{Scope, coding, fields};
use crate::route::share::Share;
use crate::upstream::Priority;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LARDER_PURPOSE: HeaderName = HeaderName::from_static("larder-purpose");

/// Fields that only a trusted proxy may set, besides every `X-Forwarded-*`.
const TRUSTED_ONLY: [&str; 6] =
    ["forwarded", "x-request-id", "traceparent", "tracestate", "x-real-ip", "x-original-host"];
/// Fields that would make the origin see another request than the one that was routed and keyed; from nobody.
const NEVER: [&str; 6] = [
    "x-original-url",
    "x-rewrite-url",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "larder-purpose",
];

/// Fields that frame a message, which nobody has a reason to spell with underscores.
const FRAMING: [&str; 4] = ["content-length", "transfer-encoding", "host", "connection"];

/// Turns a client's fields into those of the request to the origin.
pub(crate) fn rewrite(headers: &mut HeaderMap, visit: &Visit<'_>) {
    let (client, authority) = (&visit.client, visit.target.authority.as_str());
    fields::strip_hop_by_hop(headers);
    headers.remove(CONTENT_LENGTH);
    headers.remove(EXPECT);
    strip_claims(headers, client.trusted);
    join_cookies(headers);
    set(headers, HOST, authority);
    introduce(headers, client, authority);
    set(headers, X_REQUEST_ID, visit.request_id());
    let purpose = match client.priority {
        Priority::Warm => Some("warm"),
        Priority::Audit => Some("audit"),
        Priority::Client | Priority::Revalidation => None,
    };
    headers.extend(purpose.map(|purpose| (LARDER_PURPOSE, HeaderValue::from_static(purpose))));
}

/// The fields of a fill: for the whole representation, in the name of those who will share it (RFC 9111 §3.3, §4.3.1).
pub(crate) fn fill(visit: &Visit<'_>, headers: &HeaderMap, share: Share) -> HeaderMap {
    let mut headers = shared(visit, headers, share);
    let accepted = coding::fill_accept_encoding(&headers);
    headers.remove(ACCEPT_ENCODING);
    // A state is read from the body, so the body has to come as it is.
    if let Some(accepted) = accepted.filter(|_| visit.target.route.settings.rule.store_if.is_none()) {
        headers.insert(ACCEPT_ENCODING, accepted);
    }
    rewrite(&mut headers, visit);
    headers
}

/// Whether an origin that is sent these fields as they are learns no more from them than from those of a fill.
pub(crate) fn is_as_a_fill(visit: &Visit<'_>, headers: &HeaderMap, share: Share) -> bool {
    shared(visit, headers, share) == *headers && coding::offers_known_only(headers)
}

/// What of a client's fields belongs to the whole, and to those who will share it.
fn shared(visit: &Visit<'_>, headers: &HeaderMap, share: Share) -> HeaderMap {
    let (route, identity) = (visit.target.route, &visit.flow.rules.identity);
    let mut headers = headers.clone();
    fields::strip_selective(&mut headers);
    if share == Share::Shared && route.settings.rule.scope != Scope::Origin {
        identity.strip_for_shared_fill(&mut headers, &route.key.headers);
    }
    if route.settings.strict {
        identity.strict_fields(&mut headers, &route.key.headers);
    }
    route.settings.rule.languages.narrow(&mut headers);
    headers
}

/// What a trusted proxy calls the request.
pub(crate) fn known_request_id(headers: &HeaderMap, client: &Client) -> Option<String> {
    let named = headers.get(X_REQUEST_ID).filter(|_| client.trusted)?;
    named.to_str().ok().filter(|name| !name.is_empty() && name.len() <= 128).map(str::to_owned)
}

/// 128 bits that no other request of this or another process carries.
pub(crate) fn request_id() -> String {
    static SEED: LazyLock<ahash::RandomState> = LazyLock::new(ahash::RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:016x}{:016x}", SEED.hash_one(count), SEED.hash_one((count, "low")))
}

fn strip_claims(headers: &mut HeaderMap, trusted: bool) {
    let claims = |name: &HeaderName| {
        // WSGI cannot tell `X_Forwarded_Host` from `X-Forwarded-Host`.
        let disguised = name.as_str().contains('_');
        let name = if disguised {
            Cow::Owned(name.as_str().replace('_', "-"))
        } else {
            Cow::Borrowed(name.as_str())
        };
        NEVER.contains(&&*name)
            || (disguised && FRAMING.contains(&&*name))
            || ((disguised || !trusted)
                && (name.starts_with("x-forwarded-") || TRUSTED_ONLY.contains(&&*name)))
    };
    let gone: Vec<HeaderName> = headers.keys().filter(|name| claims(name)).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

/// HTTP/2 may split cookies over several fields; HTTP/1.1 wants one (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let parts: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&parts.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

fn introduce(headers: &mut HeaderMap, client: &Client, authority: &str) {
    let scheme = client.scheme();
    let mut hops = String::with_capacity(48);
    for known in headers.get_all(X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()) {
        hops.push_str(known);
        hops.push_str(", ");
    }
    let _ = write!(hops, "{}", client.address);
    set(headers, X_FORWARDED_FOR, &hops);
    if !headers.contains_key(X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
    }
    if !headers.contains_key(X_FORWARDED_HOST) {
        set(headers, X_FORWARDED_HOST, authority);
    }
    if headers.contains_key(FORWARDED) {
        set_more(
            headers,
            FORWARDED,
            &format!("for=\"{}\";host=\"{authority}\";proto={scheme}", client.address),
        );
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn set_more(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.append(name, value);
    }
}
