//! Whether the answer to a POST is what a GET of its target would be answered with, and may be kept as such
//! (RFC 9110 §8.7, §9.3.3).
//!
//! Invariant: only on the origin's explicit word, in both respects: whose representation it is, and for how long. It
//! refuses to know what else happened while the POST was under way.

use http::header::{CONTENT_LOCATION, HeaderMap};
use http::{Method, StatusCode, Uri};

use crate::policy::freshness::ResponseTimes;
use crate::policy::outdate::resolve;
use crate::policy::store::{NoStore, Storable, may_store};
use crate::policy::{RequestHead, Rule, Sharing};

/// An answer to a POST of `target`, which has an authority; `is_ours` knows its other names.
#[derive(Clone, Copy)]
pub struct Posted<'a> {
    /// The target URI of the POST.
    pub target: &'a Uri,
    /// Whether an authority is another name of the target's.
    pub is_ours: &'a dyn Fn(&str) -> bool,
    /// Status of the answer.
    pub status: StatusCode,
    /// Fields of the answer as they came.
    pub headers: &'a HeaderMap,
}

/// Decides whether the answer to the POST `req` may be stored for a GET of the same target, and for how long.
///
/// # Errors
/// The reason, if it may not: [`NoStore::Method`] if it does not speak for its target.
pub fn represents_target(
    req: &RequestHead<'_>,
    sharing: Sharing,
    posted: Posted<'_>,
    rule: &Rule,
    times: ResponseTimes,
) -> Result<Storable, NoStore> {
    let Posted { target, is_ours, status, headers } = posted;
    // §8.7 speaks of 2xx; of those only a 200 is what a GET is answered with
    if *req.method != Method::POST || status != StatusCode::OK {
        return Err(NoStore::Method);
    }
    let mut lines = headers.get_all(CONTENT_LOCATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return Err(NoStore::Method) };
    let named = line.to_str().ok().and_then(|line| resolve(target, line.trim(), is_ours));
    if named.is_none() || named.as_ref() != target.path_and_query() {
        return Err(NoStore::Method);
    }
    let get = RequestHead { method: &Method::GET, ..*req };
    let storable = may_store(&get, sharing, status, headers, rule, times)?;
    if storable.life().source().is_explicit() { Ok(storable) } else { Err(NoStore::NoFreshness) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{at, head};
    use crate::policy::{OriginHeaders, SetCookie, StoreErrors};
    use std::time::Duration;

    const FRESH: (&str, &str) = ("cache-control", "max-age=60");
    const HERE: (&str, &str) = ("content-location", "/a?b=1");

    fn judged(
        rule: &Rule,
        method: &Method,
        request: &[(&str, &str)],
        status: u16,
        answer: &[(&str, &str)],
    ) -> Result<Storable, NoStore> {
        let target: Uri = "http://api.example.com/a?b=1".parse().unwrap();
        let (request, answer) = (head(request), head(answer));
        let req = RequestHead { method, headers: &request, body_keyed: false };
        let status = StatusCode::from_u16(status).unwrap();
        let posted = Posted { target: &target, is_ours: &|named| named == "alias", status, headers: &answer };
        let times = ResponseTimes { requested: at(0), received: at(0) };
        represents_target(&req, Sharing::Shared, posted, rule, times)
    }

    fn posted(rule: &Rule, answer: &[(&str, &str)]) -> Option<NoStore> {
        judged(rule, &Method::POST, &[], 200, answer).err()
    }

    fn plain() -> Rule {
        Rule::default()
    }

    #[test]
    fn an_answer_that_names_its_own_target_and_its_life_is_kept() {
        for here in ["/a?b=1", "?b=1", "", "a?b=1", "http://API.example.com/a?b=1", "//alias/x/../a?b=1#top"]
        {
            assert_eq!(posted(&plain(), &[FRESH, ("content-location", here)]), None, "{here}");
        }
        let storable = judged(&plain(), &Method::POST, &[], 200, &[FRESH, HERE]).unwrap();
        assert_eq!(storable.life().ttl(at(0)), 60);
    }

    #[test]
    fn an_answer_that_speaks_for_something_else_is_not() {
        for other in ["/a", "/a?b=2", "/a?b=1&", "/b?b=1", "http://evil.example.com/a?b=1", "mailto:a@b"] {
            let why = posted(&plain(), &[FRESH, ("content-location", other)]);
            assert_eq!(why, Some(NoStore::Method), "{other}");
        }
        assert_eq!(posted(&plain(), &[FRESH]), Some(NoStore::Method));
        assert_eq!(posted(&plain(), &[FRESH, HERE, HERE]), Some(NoStore::Method), "one of them may be false");
        assert_eq!(posted(&plain(), &[FRESH, ("location", "/a?b=1")]), Some(NoStore::Method));
    }

    #[test]
    fn only_a_200_to_a_post_is() {
        for status in [201, 202, 203, 204, 206, 303, 404, 500] {
            let why = judged(&plain(), &Method::POST, &[], status, &[FRESH, HERE]).err();
            assert_eq!(why, Some(NoStore::Method), "{status}");
        }
        for method in [Method::PUT, Method::PATCH, Method::DELETE, Method::from_bytes(b"X").unwrap()] {
            let why = judged(&plain(), &method, &[], 200, &[FRESH, HERE]).err();
            assert_eq!(why, Some(NoStore::Method), "{method}");
        }
    }

    #[test]
    fn a_life_that_the_origin_did_not_name_is_none() {
        let modified = ("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT");
        let ttl = Rule { ttl: Some(Duration::from_secs(60)), ..plain() };
        let guessing = Rule { heuristic: true, ..plain() };
        let beaten = OriginHeaders::Override { no_store: true, private: true };
        let overriding = Rule { origin_headers: beaten, ..ttl.clone() };
        for rule in [&plain(), &ttl, &guessing, &overriding] {
            assert_eq!(posted(rule, &[HERE, modified]), Some(NoStore::NoFreshness));
        }
        assert_eq!(posted(&overriding, &[HERE, FRESH]), Some(NoStore::NoFreshness));
        assert_eq!(posted(&ttl, &[HERE, FRESH]), None);
    }

    #[test]
    fn what_forbids_storing_a_get_forbids_this() {
        for (answer, why) in [
            (("cache-control", "no-store, max-age=60"), NoStore::NoStore),
            (("cache-control", "private, max-age=60"), NoStore::Private),
        ] {
            assert_eq!(posted(&plain(), &[HERE, answer]), Some(why));
        }
        assert_eq!(posted(&plain(), &[HERE, FRESH, ("set-cookie", "a=b")]), Some(NoStore::SetCookie));
        assert_eq!(posted(&plain(), &[HERE, FRESH, ("vary", "*")]), Some(NoStore::VaryStar));
        let letter = Rule { store_errors: StoreErrors::IfFresh, set_cookie: SetCookie::Strip, ..plain() };
        let by = |said| judged(&letter, &Method::POST, &[("authorization", "x")], 200, &[HERE, said]).err();
        assert_eq!(by(FRESH), Some(NoStore::Authorization));
        assert_eq!(by(("cache-control", "public, max-age=60")), None);
    }
}
