//! The id of the user behind a request, as the request itself claims it. Nothing is verified here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::route::cookie;
use crate::route::identity::UserSource;

/// Longest id in bytes; a longer one is none.
pub const MAX_LENGTH: usize = 256;

/// Longest JWT payload that is decoded, in bytes of base64.
const MAX_PAYLOAD: usize = 16 * 1024;

/// The first of `sources` that the request has, if it is text of 1 to [`MAX_LENGTH`] bytes.
pub(crate) fn find(sources: &[UserSource], headers: &HeaderMap) -> Option<String> {
    sources.iter().find_map(|source| {
        let id = match source {
            UserSource::Jwt(claim) => bearer_claim(headers, claim)?,
            UserSource::Header(name) => headers.get(name)?.to_str().ok()?.trim().to_owned(),
            // The last one of a name, as Starlette has it.
            UserSource::Cookie(name) => {
                let value = cookie::pairs(headers).filter(|pair| pair.name == name.as_bytes()).last()?.value;
                std::str::from_utf8(value).ok()?.to_owned()
            }
        };
        (1..=MAX_LENGTH).contains(&id.len()).then_some(id)
    })
}

/// A text or number claim of the payload of `Authorization: Bearer` (RFC 7519 §3).
fn bearer_claim(headers: &HeaderMap, claim: &str) -> Option<String> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let payload = token.split('.').nth(1)?.trim_end_matches('=');
    if !scheme.eq_ignore_ascii_case("bearer") || payload.len() > MAX_PAYLOAD {
        return None;
    }
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    match serde_json::from_slice::<serde_json::Value>(&payload).ok()?.get(claim)? {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn request(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    fn bearer(payload: &str) -> String {
        format!("Bearer eyJhbGciOiJub25lIn0.{}.c2ln", URL_SAFE_NO_PAD.encode(payload))
    }

    fn sources() -> Vec<UserSource> {
        vec![
            UserSource::Jwt("sub".into()),
            UserSource::Header(HeaderName::from_static("x-user-id")),
            UserSource::Cookie("uid".into()),
        ]
    }

    #[test]
    fn the_first_source_that_the_request_has_wins() {
        let token = bearer(r#"{"sub":"42"}"#);
        let all = request(&[("authorization", &token), ("x-user-id", "7"), ("cookie", "uid=9")]);
        assert_eq!(find(&sources(), &all).as_deref(), Some("42"));
        assert_eq!(
            find(&sources(), &request(&[("x-user-id", " 7 "), ("cookie", "uid=9")])).as_deref(),
            Some("7")
        );
        assert_eq!(find(&sources(), &request(&[("cookie", "a=1; uid=8; uid=9")])).as_deref(), Some("9"));
        assert_eq!(find(&sources(), &request(&[])), None);
    }

    #[test]
    fn a_numeric_claim_is_text_and_any_other_is_none() {
        let id = |payload: &str| find(&sources(), &request(&[("authorization", &bearer(payload))]));
        assert_eq!(id(r#"{"sub":42}"#).as_deref(), Some("42"));
        for payload in
            [r#"{"sub":null}"#, r#"{"sub":["a"]}"#, r#"{"sub":""}"#, r#"{"id":1}"#, "no json", "[]"]
        {
            assert_eq!(id(payload), None, "{payload}");
        }
        assert_eq!(id(&format!(r#"{{"sub":"{}"}}"#, "a".repeat(257))), None);
    }

    #[test]
    fn what_is_no_bearer_jwt_claims_nothing() {
        for value in ["Basic YTpi", "Bearer opaque", "Bearer a.!!.c", "Bearer"] {
            assert_eq!(find(&sources(), &request(&[("authorization", value)])), None, "{value}");
        }
    }
}
