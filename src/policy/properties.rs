//! What holds for every input: the policy's properties.

use std::time::Duration;

use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, HeaderMap};
use http::{HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;

use crate::policy::testing::{at, get, head};
use crate::policy::*;

const DIRECTIVES: [&str; 18] = [
    "max-age=60",
    "max-age=0",
    "max-age=x",
    "s-maxage=30",
    "no-cache",
    "no-cache=\"x-a\"",
    "no-store",
    "public",
    "must-revalidate",
    "proxy-revalidate",
    "must-understand",
    "immutable",
    "stale-while-revalidate=10",
    "stale-if-error=20",
    "private=\"x-b\"",
    "extension=\"max-age=9, private\"",
    "min-fresh=5",
    "max-stale",
];

fn directives() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(DIRECTIVES.to_vec(), 0..=6).prop_shuffle()
}

/// Field values that no grammar bounds.
fn value() -> impl Strategy<Value = HeaderValue> {
    let words =
        proptest::sample::select(vec!["\"", ",", "=", ";", "*", "q=", "0", "W/", "bytes=", "-", " ", "gzip"]);
    prop_oneof![
        "[\\x20-\\x7e\\t\\x80-\\xff]{0,40}".prop_filter_map("a field value", |text| text.parse().ok()),
        proptest::collection::vec(words, 0..12)
            .prop_map(|words| words.concat().parse().expect("visible ASCII")),
    ]
}

fn any_head(names: &'static [&'static str]) -> impl Strategy<Value = HeaderMap> {
    let field = (proptest::sample::select(names), value());
    proptest::collection::vec(field, 0..8).prop_map(|fields| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    })
}

const RESPONSE_FIELDS: &[&str] = &[
    "cache-control",
    "cdn-cache-control",
    "expires",
    "date",
    "age",
    "last-modified",
    "etag",
    "vary",
    "content-encoding",
    "content-language",
    "content-range",
    "connection",
    "location",
    "set-cookie",
    "pragma",
];
const REQUEST_FIELDS: &[&str] = &[
    "cache-control",
    "accept-encoding",
    "accept-language",
    "cookie",
    "origin",
    "range",
    "if-range",
    "if-none-match",
    "if-modified-since",
    "authorization",
];

fn every_rule() -> impl Strategy<Value = Rule> {
    let seconds = || proptest::option::of((0..100_u64).prop_map(Duration::from_secs));
    let scope = proptest::sample::select(vec![Scope::Auto, Scope::Public, Scope::User, Scope::Origin]);
    let set_cookie = proptest::sample::select(vec![SetCookie::Refuse, SetCookie::Strip, SetCookie::Store]);
    (seconds(), seconds(), any::<(bool, bool, bool)>(), scope, set_cookie).prop_map(
        |(ttl, window, (honor, heuristic, overrides), scope, set_cookie)| Rule {
            ttl,
            stale_while_revalidate: window,
            stale_if_error: window,
            client_no_cache: if honor { ClientNoCache::Honor } else { ClientNoCache::Ignore },
            heuristic,
            set_cookie,
            origin_headers: match overrides {
                true => OriginHeaders::Override { no_store: false, private: false },
                false => OriginHeaders::Respect,
            },
            scope,
            ..Rule::default()
        },
    )
}

fn sharing() -> impl Strategy<Value = Sharing> {
    proptest::sample::select(vec![Sharing::Shared, Sharing::PerCredential])
}

fn stored(rule: &Rule, sharing: Sharing, response: &HeaderMap) -> Result<Storable, NoStore> {
    let times = ResponseTimes { requested: at(10), received: at(12) };
    may_store(&get(&HeaderMap::new()), sharing, StatusCode::OK, response, rule, times)
}

fn saying(directives: &[&str]) -> HeaderMap {
    head(&[("cache-control", &directives.join(", ")), ("etag", "\"a\"")])
}

proptest! {
    #[test]
    fn age_never_falls_and_ttl_never_rises_as_now_rises(
        rule in every_rule(),
        said in directives(),
        upstream_age in 0..10_000_u32,
        mut seconds in proptest::collection::vec(0..100_000_u64, 2..10),
    ) {
        let mut response = saying(&said);
        response.insert("age", upstream_age.into());
        if let Ok(storable) = stored(&rule, Sharing::Shared, &response) {
            seconds.sort_unstable();
            for pair in seconds.windows(2) {
                let (earlier, later) = (at(pair[0]), at(pair[1]));
                prop_assert!(storable.life().age(earlier) <= storable.life().age(later));
                prop_assert!(storable.life().ttl(earlier) >= storable.life().ttl(later));
                prop_assert!(storable.life().is_fresh(earlier) || !storable.life().is_fresh(later));
            }
        }
    }

    #[test]
    fn private_never_becomes_storable_unless_it_is_overridden_by_name(
        rule in every_rule(), sharing in sharing(), mut said in directives(), at in 0..7_usize, targeted: bool,
    ) {
        said.insert(at.min(said.len()), "private");
        let mut response = saying(&said);
        if targeted {
            response.insert("cdn-cache-control", "max-age=5, private".parse().unwrap());
            response.insert(CACHE_CONTROL, "public, max-age=5".parse().unwrap());
        }
        prop_assert!(stored(&rule, sharing, &response).is_err());
    }

    #[test]
    fn no_store_never_becomes_storable_unless_it_is_overridden_by_name(
        rule in every_rule(), sharing in sharing(), said in directives(),
    ) {
        let mut said: Vec<_> = said.into_iter().filter(|one| *one != "must-understand").collect();
        said.push("no-store");
        prop_assert_eq!(stored(&rule, sharing, &saying(&said)).unwrap_err(), NoStore::NoStore);
    }

    #[test]
    fn what_is_stored_carries_nothing_of_one_hop_and_a_cookie_only_by_two_explicit_words(
        rule in every_rule(), response in any_head(RESPONSE_FIELDS),
    ) {
        if let Ok(storable) = stored(&rule, Sharing::Shared, &response) {
            for name in ["connection", "age", "transfer-encoding"] {
                prop_assert!(!storable.headers().contains_key(name));
            }
            let allowed = rule.set_cookie == SetCookie::Store && storable.life().source().is_explicit();
            prop_assert!(allowed || !storable.headers().contains_key("set-cookie"));
        }
    }

    #[test]
    fn directives_have_no_order_and_no_lines(rule in every_rule(), said in directives(), keys in any::<u64>()) {
        let mut other = said.clone();
        other.sort_by_key(|one| one.len() as u64 ^ (keys >> (one.len() % 8)));
        let mut apart = HeaderMap::new();
        apart.insert("etag", "\"a\"".parse().unwrap());
        for one in &other {
            apart.append(CACHE_CONTROL, one.parse().unwrap());
        }
        let together = stored(&rule, Sharing::Shared, &saying(&said)).map(|storable| *storable.life());
        prop_assert_eq!(together, stored(&rule, Sharing::Shared, &apart).map(|storable| *storable.life()));
    }

    #[test]
    fn a_stale_response_is_never_called_fresh(rule in every_rule(), said in directives(), asked in directives(), now in 12..200_u64) {
        let asks = head(&[("cache-control", &asked.join(", "))]);
        if let Ok(storable) = stored(&rule, Sharing::Shared, &saying(&said)) {
            let life = storable.life();
            let reuse = may_reuse(&get(&asks), life, &rule, at(now));
            if reuse == Reuse::Fresh {
                prop_assert!(life.fresh_for() > life.age(at(now)) && !life.always_validate());
            }
            if life.forbids_stale() && !life.is_fresh(at(now)) {
                prop_assert!(matches!(reuse, Reuse::Validate(_) | Reuse::OnlyIfCached(_)));
                prop_assert!(may_serve_on_error(&get(&asks), life, &rule, at(now)).is_err());
            }
        }
    }

    #[test]
    fn a_selector_matches_the_request_it_was_made_of(request in any_head(REQUEST_FIELDS), response in any_head(RESPONSE_FIELDS)) {
        let listed = Languages::Listed(["en", "de-AT", "a"].map(Box::from).into());
        for languages in [Languages::InOrder, Languages::AnyOrder, listed] {
            let rule = Rule { languages, ..Rule::default() };
            if let Ok(selector) = Selector::of(&request, &response, &rule, &|_| true) {
                prop_assert!(selector.matches(&request, &|_| true));
                let again = Selector::of(&request, &response, &rule, &|_| true);
                prop_assert_eq!(again.unwrap(), selector);
            }
        }
    }

    #[test]
    fn what_a_fill_offers_is_what_the_client_accepts(said in value()) {
        let mut client = HeaderMap::new();
        client.insert(ACCEPT_ENCODING, said);
        let mut fill = HeaderMap::new();
        fill.insert(ACCEPT_ENCODING, coding::fill_accept_encoding(&client).unwrap());
        prop_assert_eq!(coding::Codings::accepted(&client), coding::Codings::accepted(&fill));
    }

    #[test]
    fn nothing_that_is_sent_makes_the_policy_panic(
        request in any_head(REQUEST_FIELDS),
        response in any_head(RESPONSE_FIELDS),
        rule in every_rule(),
        code in 100..600_u16,
        length: u64,
    ) {
        let status = StatusCode::from_u16(code).unwrap();
        let times = ResponseTimes { requested: at(10), received: at(12) };
        let req = get(&request);
        if let Ok(storable) = may_store(&req, Sharing::Shared, status, &response, &rule, times) {
            may_reuse(&req, storable.life(), &rule, at(20));
            let kept = (status, storable.headers());
            let _ = freshen::freshen(&req, Sharing::Shared, kept, &response, &rule, times);
        }
        if let Ok(part) = partial::may_store(&req, Sharing::Shared, &response, &rule, times) {
            let _ = partial::measured(part, length, rule.part_length);
        }
        if let (Some(asked), Some(range)) = (range::Asked::by(&req), partial::ContentRange::of(&response)) {
            let _ = partial::locate(asked, &range, length);
        }
        let etag = response.get("etag");
        validate::not_modified(&req, status, etag, &response);
        let part = range::select(&req, StatusCode::OK, &response, etag, length);
        if let range::Part::Bytes(bytes) = part {
            prop_assert!(bytes.start < bytes.end && bytes.end <= length);
        }
        outdate::also_outdated(&"http://a/b".parse().unwrap(), &response, &|_| true);
        fields::strip_hop_by_hop(&mut response.clone());
    }
}
