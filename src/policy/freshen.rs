//! What a 304, or the answer to a HEAD, does to a stored response (RFC 9111 §3.2, §4.3.4, §4.3.5).
//!
//! Invariant: a stored head is updated only by an answer that speaks of the same representation, and what describes the
//! stored bytes stays as it was. It refuses to know where the response is stored.

use http::header::{self, HeaderMap, HeaderName};
use http::{Method, StatusCode};

use crate::policy::fields;
use crate::policy::freshness::ResponseTimes;
use crate::policy::store::{NoStore, Storable, may_store};
use crate::policy::validate::valid_etag;
use crate::policy::{RequestHead, Rule, Sharing};

/// Describe the stored bytes, and those did not change (RFC 9111 §3.2).
const OF_THE_BYTES: [HeaderName; 5] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("content-digest"),
];

/// Why a 304 did not freshen what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFreshened {
    /// It names another representation by its validator (RFC 9111 §4.3.4): fetch anew, without conditions.
    OtherRepresentation,
    /// It matches, and with the fields it brings the response may not be stored any more.
    NoStore(NoStore),
}

/// Merges the `answer` 304 into what is stored, and judges the result as if it had come now. `stored` is a head that
/// [`Storable`] gave; `req` is the client's request.
///
/// # Errors
/// Why the stored response is not to be kept.
pub fn freshen(
    req: &RequestHead<'_>,
    sharing: Sharing,
    (status, stored): (StatusCode, &HeaderMap),
    answer: &HeaderMap,
    rule: &Rule,
    times: ResponseTimes,
) -> Result<Storable, NotFreshened> {
    if !is_same_representation(stored, answer) {
        return Err(NotFreshened::OtherRepresentation);
    }
    let merged = updated(stored, answer);
    may_store(&as_get(req), sharing, status, &merged, rule, times).map_err(NotFreshened::NoStore)
}

/// What the answer to a forwarded HEAD does to a stored GET (RFC 9111 §4.3.5).
#[derive(Debug)]
pub enum HeadUpdate {
    /// The stored response lives on, with these fields.
    Freshened(Box<Storable>),
    /// The stored response is outdated.
    Outdated,
    /// The answer is no 200, and says nothing of it: many backends answer a HEAD with 405.
    Unrelated,
}

/// Compares a 200 to a HEAD with the stored GET: the same validators and length update it, others outdate it.
/// `req` is the HEAD; the result is judged as the GET it stands for.
pub fn update_by_head(
    req: &RequestHead<'_>,
    sharing: Sharing,
    stored: (StatusCode, &HeaderMap),
    answer: (StatusCode, &HeaderMap),
    rule: &Rule,
    times: ResponseTimes,
) -> HeadUpdate {
    if answer.0 != StatusCode::OK {
        return HeadUpdate::Unrelated;
    }
    let agrees = |name: HeaderName| match (answer.1.get(&name), stored.1.get(&name)) {
        (Some(new), Some(old)) => new == old,
        (new, _) => new.is_none(),
    };
    let same = answer.0 == stored.0
        && [header::ETAG, header::LAST_MODIFIED, header::CONTENT_LENGTH].into_iter().all(agrees);
    if !same {
        return HeadUpdate::Outdated;
    }
    match may_store(&as_get(req), sharing, stored.0, &updated(stored.1, answer.1), rule, times) {
        Ok(storable) => HeadUpdate::Freshened(Box::new(storable)),
        Err(_) => HeadUpdate::Outdated,
    }
}

/// A HEAD speaks for the GET that is stored.
fn as_get<'a>(req: &RequestHead<'a>) -> RequestHead<'a> {
    if *req.method == Method::HEAD { RequestHead { method: &Method::GET, ..*req } } else { *req }
}

/// RFC 9111 §4.3.4: a strong validator must be the stored one; a weak one must match; none at all matches the one
/// response that we asked about.
fn is_same_representation(stored: &HeaderMap, answer: &HeaderMap) -> bool {
    match (valid_etag(answer), valid_etag(stored)) {
        (Some(new), Some(old)) if new.is_weak() => new.weakly_equals(&old),
        (Some(new), Some(old)) => new.strongly_equals(&old),
        (Some(_), None) => false,
        (None, _) => match (answer.get(header::LAST_MODIFIED), stored.get(header::LAST_MODIFIED)) {
            (Some(new), Some(old)) => new == old,
            _ => true,
        },
    }
}

/// The stored head with what the answer brings: every field of it replaces the stored lines of that name (RFC 9111 §3.2).
pub fn updated(stored: &HeaderMap, answer: &HeaderMap) -> HeaderMap {
    let mut brought = answer.clone();
    fields::strip_hop_by_hop(&mut brought);
    for name in &OF_THE_BYTES {
        brought.remove(name);
    }
    let mut merged = stored.clone();
    // RFC 9110 §6.6.1: an answer without a Date is of now, not of when the stored one was made
    merged.remove(header::DATE);
    for name in brought.keys() {
        merged.remove(name);
    }
    for (name, value) in &brought {
        merged.append(name, value.clone());
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::SetCookie;
    use crate::policy::testing::{at, get, head};
    use std::time::Duration;

    const MODIFIED: &str = "Wed, 01 Jan 2020 00:00:00 GMT";

    fn freshened(stored: &[(&str, &str)], answer: &[(&str, &str)]) -> Result<Storable, NotFreshened> {
        let none = HeaderMap::new();
        let times = ResponseTimes { requested: at(1000), received: at(1000) };
        let stored = (StatusCode::OK, &head(stored));
        freshen(&get(&none), Sharing::Shared, stored, &head(answer), &Rule::default(), times)
    }

    #[test]
    fn a_304_replaces_all_fields_it_brings_and_keeps_the_others() {
        let stored = [
            ("etag", "\"a\""),
            ("cache-control", "max-age=2"),
            ("x-kept", "1"),
            ("x-lines", "1"),
            ("x-lines", "2"),
            ("content-type", "text/plain"),
        ];
        let answer = [
            ("etag", "\"a\""),
            ("cache-control", "max-age=50"),
            ("x-lines", "3"),
            ("x-new", "4"),
            ("content-type", "text/html"),
            ("connection", "x-hop"),
            ("x-hop", "5"),
        ];
        let storable = freshened(&stored, &answer).unwrap();
        let headers = storable.headers();
        assert_eq!(headers["x-kept"], "1");
        assert_eq!(headers.get_all("x-lines").iter().collect::<Vec<_>>(), ["3"]);
        assert_eq!(headers["x-new"], "4");
        assert_eq!(headers["content-type"], "text/html");
        assert!(!headers.contains_key("x-hop") && !headers.contains_key("connection"));
        assert_eq!(storable.life().ttl(at(1000)), 50);
    }

    #[test]
    fn a_304_leaves_what_describes_the_stored_bytes() {
        let stored = [
            ("etag", "\"a\""),
            ("cache-control", "max-age=2"),
            ("content-length", "5"),
            ("content-encoding", "br"),
            ("content-md5", "x"),
        ];
        let answer = [("content-length", "0"), ("content-encoding", "gzip"), ("content-md5", "y")];
        let storable = freshened(&stored, &answer).unwrap();
        assert_eq!(storable.headers()["content-length"], "5");
        assert_eq!(storable.headers()["content-encoding"], "br");
        assert_eq!(storable.headers()["content-md5"], "x");
    }

    #[test]
    fn a_304_without_a_date_is_of_now() {
        let stored = [("etag", "\"a\""), ("cache-control", "max-age=60"), ("date", MODIFIED)];
        let storable = freshened(&stored, &[]).unwrap();
        assert_eq!(storable.life().age(at(1000)), Duration::ZERO);
        assert_ne!(storable.headers()["date"], MODIFIED);
    }

    #[test]
    fn a_304_of_another_representation_freshens_nothing() {
        let strong = [("etag", "\"a\""), ("cache-control", "max-age=60"), ("last-modified", MODIFIED)];
        let weak = [("etag", "W/\"a\""), ("cache-control", "max-age=60")];
        let other = "Thu, 02 Jan 2020 00:00:00 GMT";
        let outcome = |stored: &[(&str, &str)], answer| freshened(stored, &[answer]).map(|_| ());
        assert_eq!(outcome(&strong, ("etag", "\"b\"")), Err(NotFreshened::OtherRepresentation));
        assert_eq!(outcome(&weak, ("etag", "\"a\"")), Err(NotFreshened::OtherRepresentation));
        assert_eq!(outcome(&strong, ("last-modified", other)), Err(NotFreshened::OtherRepresentation));
        assert_eq!(outcome(&strong, ("etag", "W/\"a\"")), Ok(()));
        assert_eq!(outcome(&weak, ("etag", "W/\"a\"")), Ok(()));
        assert_eq!(outcome(&strong, ("last-modified", MODIFIED)), Ok(()));
    }

    #[test]
    fn a_304_that_turns_private_is_not_stored_again() {
        let outcome =
            freshened(&[("etag", "\"a\""), ("cache-control", "max-age=9")], &[("cache-control", "private")]);
        assert_eq!(outcome.unwrap_err(), NotFreshened::NoStore(NoStore::Private));
    }

    #[test]
    fn a_cookie_that_a_304_sets_takes_the_place_of_the_stored_one_where_cookies_are_stored() {
        let (none, times) = (HeaderMap::new(), ResponseTimes { requested: at(1000), received: at(1000) });
        let stored = head(&[("etag", "\"a\""), ("cache-control", "max-age=2"), ("set-cookie", "a=1")]);
        let answer = head(&[("etag", "\"a\""), ("set-cookie", "a=2")]);
        let under = |set_cookie| {
            let rule = Rule { set_cookie, ..Rule::default() };
            let stored = (StatusCode::OK, &stored);
            freshen(&get(&none), Sharing::Shared, stored, &answer, &rule, times)
        };
        assert_eq!(under(SetCookie::Store).unwrap().headers()["set-cookie"], "a=2");
        assert!(!under(SetCookie::Strip).unwrap().headers().contains_key("set-cookie"));
        assert_eq!(under(SetCookie::Refuse).unwrap_err(), NotFreshened::NoStore(NoStore::SetCookie));
    }

    #[test]
    fn a_head_freshens_what_it_agrees_with_and_outdates_the_rest() {
        let none = HeaderMap::new();
        let req = RequestHead { method: &Method::HEAD, headers: &none, body_keyed: false };
        let stored = head(&[("etag", "\"a\""), ("cache-control", "max-age=2"), ("content-length", "5")]);
        let times = ResponseTimes { requested: at(1000), received: at(1000) };
        let update = |status, answer: &[(&str, &str)]| {
            let answer = head(answer);
            let stored = (StatusCode::OK, &stored);
            update_by_head(&req, Sharing::Shared, stored, (status, &answer), &Rule::default(), times)
        };
        let HeadUpdate::Freshened(storable) = update(StatusCode::OK, &[("cache-control", "max-age=90")])
        else {
            panic!("nothing contradicted the stored response")
        };
        assert_eq!(storable.life().ttl(at(1000)), 90);
        assert!(matches!(update(StatusCode::OK, &[("etag", "\"b\"")]), HeadUpdate::Outdated));
        assert!(matches!(update(StatusCode::OK, &[("content-length", "6")]), HeadUpdate::Outdated));
        for status in [StatusCode::GONE, StatusCode::METHOD_NOT_ALLOWED, StatusCode::BAD_GATEWAY] {
            assert!(matches!(update(status, &[("etag", "\"b\"")]), HeadUpdate::Unrelated));
        }
    }
}
