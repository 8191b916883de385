//! Heads, times and lives for the policy's tests.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::clock::Now;
use crate::policy::freshness::{self, Life, ResponseTimes, Word};
use crate::policy::{RequestHead, Rule};

/// The given second; both clocks run together.
pub(crate) fn at(second: u64) -> Now {
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + second);
    Now { mono: Duration::from_secs(second), wall }
}

/// Fields in the given order, repeated names kept.
pub(crate) fn head(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

/// A GET with these fields.
pub(crate) fn get(headers: &HeaderMap) -> RequestHead<'_> {
    RequestHead { method: &Method::GET, headers, body_keyed: false }
}

/// The life that `Cache-Control: said` gives to a 200 which came at second 0.
pub(crate) fn life(rule: &Rule, said: &str) -> Life {
    let headers = head(&[("cache-control", said)]);
    let times = ResponseTimes { requested: at(0), received: at(0) };
    freshness::life(&Word::of(&headers), StatusCode::OK, &headers, rule, times)
        .expect("the origin gave it a life")
}
