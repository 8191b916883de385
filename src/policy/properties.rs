//! What holds for every input: the policy's properties.
//!
//! A property is a claim about all heads, rules and times; what one head does is told where the code is.

use std::time::Duration;

use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONNECTION, HeaderMap, VARY};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use proptest::prelude::*;
use proptest::sample::select;

use crate::clock::Now;
use crate::policy::freshen::{HeadUpdate, NotFreshened, freshen, update_by_head};
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

const REQUEST_DIRECTIVES: [&str; 9] = [
    "max-age=0",
    "max-age=40",
    "max-stale",
    "max-stale=20",
    "min-fresh=20",
    "no-cache",
    "no-store",
    "only-if-cached",
    "stale-if-error=30",
];

const UNKNOWN: [&str; 5] = ["unknown", "unknown=1", "x=\"a, no-store\"", "noo-store", "max-age-60=1"];

const RESPONSE_FIELDS: &[&str] = &[
    "accept-ranges",
    "access-control-allow-origin",
    "age",
    "cache-control",
    "cdn-cache-control",
    "connection",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "date",
    "etag",
    "expires",
    "keep-alive",
    "last-modified",
    "location",
    "pragma",
    "proxy-authenticate",
    "set-cookie",
    "set-cookie2",
    "surrogate-key",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "x-a",
    "x-b",
];

const REQUEST_FIELDS: &[&str] = &[
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "cookie",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "pragma",
    "range",
    "x-a",
    "x-b",
];

// ---- heads, rules, times ----------------------------------------------------------------------------------------

fn directives() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(DIRECTIVES.to_vec(), 0..=6).prop_shuffle()
}

fn asked() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(REQUEST_DIRECTIVES.to_vec(), 0..=4).prop_shuffle()
}

/// Field values that no grammar bounds: any octet that a field may hold, and the pieces that parsers trip over.
fn value() -> impl Strategy<Value = HeaderValue> {
    let octets = proptest::collection::vec(any::<u8>(), 0..40);
    let words = select(vec![
        "\"",
        "\\",
        ",",
        ";",
        "=",
        "*",
        "q=",
        "0",
        "1",
        "W/",
        "bytes",
        "bytes=",
        "-",
        "/",
        " ",
        "\t",
        "gzip",
        "no-cache",
        "max-age",
        "private",
        "x-a",
        "GMT",
        "99999999999999999999",
    ]);
    prop_oneof![
        octets.prop_filter_map("a field value", |octets| HeaderValue::from_bytes(&octets).ok()),
        "[\\x20-\\x7e\\t\\x80-\\xff]{0,40}".prop_filter_map("a field value", |text| text.parse().ok()),
        proptest::collection::vec(words, 0..12)
            .prop_map(|words| words.concat().parse().expect("visible ASCII")),
    ]
}

fn any_head(names: &'static [&'static str]) -> impl Strategy<Value = HeaderMap> {
    proptest::collection::vec((select(names), value()), 0..10).prop_map(|fields| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    })
}

/// A head of fields that can be read, and that two requests or responses may have in common.
fn plain_head(fields: &'static [(&'static str, &'static str)]) -> impl Strategy<Value = HeaderMap> {
    proptest::sample::subsequence(fields, 0..=fields.len().min(6)).prop_map(|fields| head(&fields))
}

const SELECTING: &[(&str, &str)] = &[
    ("accept-encoding", "gzip, br"),
    ("accept-encoding", "gzip"),
    ("accept-language", "de, en;q=0.5"),
    ("accept-language", "DE,en;q=0.4"),
    ("cookie", "session=1; theme=dark"),
    ("cookie", "session=1"),
    ("origin", "https://a"),
    ("origin", "https://b"),
    ("x-a", "1, 2"),
    ("x-a", "1,2"),
];

const VARYING: &[(&str, &str)] = &[
    ("vary", "Accept-Encoding"),
    ("vary", "accept-language, cookie"),
    ("vary", "X-A"),
    ("vary", "origin"),
    ("content-encoding", "gzip"),
    ("content-language", "de"),
    ("access-control-allow-origin", "*"),
];

const DESCRIBING: &[(&str, &str)] = &[
    ("cache-control", "max-age=50"),
    ("cache-control", "no-cache=\"x-a\""),
    ("connection", "x-b"),
    ("content-digest", "sha-256=:AA==:"),
    ("content-encoding", "br"),
    ("content-length", "7"),
    ("content-range", "bytes 0-1/2"),
    ("content-type", "text/html"),
    ("date", "Tue, 14 Nov 2023 22:13:00 GMT"),
    ("etag", "\"a\""),
    ("etag", "W/\"a\""),
    ("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT"),
    ("set-cookie", "a=b"),
    ("vary", "x-a"),
    ("x-a", "1"),
    ("x-a", "2"),
    ("x-b", "3"),
];

fn every_rule() -> impl Strategy<Value = Rule> {
    let seconds = || proptest::option::of((0..100_u64).prop_map(Duration::from_secs));
    let switches = (any::<[bool; 3]>(), proptest::option::of(any::<(bool, bool)>()));
    let scope = select(vec![Scope::Auto, Scope::Public, Scope::User, Scope::Origin]);
    let set_cookie = select(vec![SetCookie::Refuse, SetCookie::Strip, SetCookie::Store]);
    let negative = any::<bool>();
    (seconds(), seconds(), switches, scope, set_cookie, negative).prop_map(
        |(ttl, window, ([honor, heuristic, errors], overridden), scope, set_cookie, negative)| Rule {
            ttl,
            negative: if negative {
                vec![(StatusCode::NOT_FOUND, Duration::from_secs(9))]
            } else {
                Vec::new()
            },
            stale_while_revalidate: window,
            stale_if_error: window,
            client_no_cache: if honor { ClientNoCache::Honor } else { ClientNoCache::Ignore },
            heuristic,
            set_cookie,
            store_errors: if errors { StoreErrors::IfFresh } else { StoreErrors::IfListed },
            origin_headers: match overridden {
                Some((no_store, private)) => OriginHeaders::Override { no_store, private },
                None => OriginHeaders::Respect,
            },
            scope,
            ..Rule::default()
        },
    )
}

fn status() -> impl Strategy<Value = StatusCode> {
    prop_oneof![
        Just(StatusCode::OK),
        (100..600_u16).prop_map(|code| StatusCode::from_u16(code).expect("three digits")),
    ]
}

fn sharing() -> impl Strategy<Value = Sharing> {
    select(vec![Sharing::Shared, Sharing::PerCredential])
}

fn times() -> ResponseTimes {
    ResponseTimes { requested: at(10), received: at(12) }
}

/// Milliseconds instead of seconds: a life does not end with a full one.
fn at_milli(milli: u64) -> Now {
    let (second, rest) = (at(milli / 1000), Duration::from_millis(milli % 1000));
    Now { mono: second.mono + rest, wall: second.wall + rest }
}

fn stored(rule: &Rule, sharing: Sharing, response: &HeaderMap) -> Result<Storable, NoStore> {
    may_store(&get(&HeaderMap::new()), sharing, StatusCode::OK, response, rule, times())
}

fn saying(directives: &[&str]) -> HeaderMap {
    head(&[("cache-control", &directives.join(", ")), ("etag", "\"a\"")])
}

/// What is decided about a response, and the whole of it.
fn verdict(outcome: Result<Storable, NoStore>) -> Result<(HeaderMap, Life), NoStore> {
    outcome.map(|storable| {
        let (_, mut headers, life) = storable.into_parts();
        headers.remove(CACHE_CONTROL); // how it is spelt is what differs
        (headers, life)
    })
}

/// The same with some letters in the other case.
fn recased(text: &str, bits: u64) -> String {
    let cased = text
        .char_indices()
        .map(|(at, letter)| if bits >> (at % 64) & 1 == 1 { letter.to_ascii_uppercase() } else { letter });
    cased.collect()
}

/// The same with a directive more, somewhere.
fn with_one_more<'a>(said: &[&'a str], more: &'a str, at: usize) -> Vec<&'a str> {
    let mut said = said.to_vec();
    said.insert(at % (said.len() + 1), more);
    said
}

// ---- may it be stored -------------------------------------------------------------------------------------------

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn private_never_becomes_storable_unless_it_is_overridden_by_name(
        rule in every_rule(), sharing in sharing(), said in directives(), place: usize, targeted: bool,
    ) {
        let mut response = saying(&with_one_more(&said, "private", place));
        if targeted {
            response.insert("cdn-cache-control", "max-age=5, private".parse().unwrap());
            response.insert(CACHE_CONTROL, "public, max-age=5".parse().unwrap());
        }
        let overridden = matches!(rule.origin_headers, OriginHeaders::Override { private: true, .. });
        prop_assert!(overridden || stored(&rule, sharing, &response).is_err());
    }

    #[test]
    fn no_store_never_becomes_storable_unless_it_is_overridden_by_name(
        rule in every_rule(), sharing in sharing(), said in directives(), place: usize,
    ) {
        let said: Vec<_> = said.into_iter().filter(|one| *one != "must-understand").collect();
        let outcome = stored(&rule, sharing, &saying(&with_one_more(&said, "no-store", place)));
        let overridden = matches!(rule.origin_headers, OriginHeaders::Override { no_store: true, .. });
        prop_assert!(overridden || outcome.unwrap_err() == NoStore::NoStore);
    }

    #[test]
    fn no_store_makes_nothing_storable(
        rule in every_rule(), sharing in sharing(), status in status(), said in directives(), place: usize,
    ) {
        let judge = |said: &[&str]| {
            may_store(&get(&HeaderMap::new()), sharing, status, &saying(said), &rule, times())
        };
        if judge(&said).is_err() {
            prop_assert!(judge(&with_one_more(&said, "no-store", place)).is_err());
        }
    }

    #[test]
    fn an_answer_to_authorization_is_shared_only_if_the_origin_opened_it(
        rule in every_rule(), sharing in sharing(), status in status(), said in directives(),
    ) {
        let asked = head(&[("authorization", "Bearer x")]);
        let outcome = may_store(&get(&asked), sharing, status, &saying(&said), &rule, times());
        let opened = ["public", "must-revalidate", "s-maxage=30"].iter().any(|word| said.contains(word));
        // an entry of one's own under a route's ttl is shared with nobody; a public fill carries no credential
        let unshared = sharing == Sharing::PerCredential && rule.ttl.is_some();
        prop_assert!(outcome.is_err() || opened || unshared || rule.scope == Scope::Public);
    }

    #[test]
    fn what_is_stored_carries_nothing_of_one_hop_and_no_cookie_that_was_not_asked_for(
        rule in every_rule(), response in any_head(RESPONSE_FIELDS),
        named in proptest::sample::subsequence(RESPONSE_FIELDS, 0..6), bits: u64,
    ) {
        let mut response = response;
        let connection = recased(&named.join(" ,"), bits);
        response.append(CONNECTION, connection.parse().unwrap());
        if let Ok(storable) = stored(&rule, Sharing::Shared, &response) {
            let kept = storable.headers();
            for name in ["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "age"] {
                prop_assert!(!kept.contains_key(name), "{name}");
            }
            prop_assert!(rule.set_cookie == SetCookie::Store || !kept.contains_key("set-cookie"));
            for name in named {
                // what the meaning rests on, or the cookie, is not Connection's to strip
                let stays = fields::is_essential(&HeaderName::from_static(name)) || name == "set-cookie";
                prop_assert!(stays || !kept.contains_key(name), "{name}");
            }
        }
    }

    #[test]
    fn what_is_no_whole_final_answer_is_never_stored(
        rule in every_rule(), response in any_head(RESPONSE_FIELDS), said in directives(), code in 100..200_u16,
    ) {
        let mut response = response;
        response.insert(CACHE_CONTROL, said.join(", ").parse().unwrap());
        for code in [code, 206, 304] {
            let status = StatusCode::from_u16(code).unwrap();
            let outcome = may_store(&get(&HeaderMap::new()), Sharing::Shared, status, &response, &rule, times());
            prop_assert!(outcome.is_err(), "{code}");
        }
    }
}

// ---- how it is read ---------------------------------------------------------------------------------------------

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn directives_have_no_order_and_no_lines(
        rule in every_rule(), said in directives(), other in any::<prop::sample::Index>(), keys: u64,
    ) {
        let mut shuffled = said.clone();
        shuffled.sort_by_key(|one| one.len() as u64 ^ (keys >> (one.len() % 8)));
        let (first, second) = shuffled.split_at(other.index(shuffled.len() + 1));
        let mut apart = head(&[("etag", "\"a\"")]);
        for line in [first, second].into_iter().filter(|line| !line.is_empty()) {
            apart.append(CACHE_CONTROL, line.join(",").parse().unwrap());
        }
        let judge = |response: &HeaderMap| verdict(stored(&rule, Sharing::Shared, response));
        prop_assert_eq!(judge(&saying(&said)), judge(&apart));
    }

    #[test]
    fn directives_have_no_case(rule in every_rule(), said in directives(), bits: u64) {
        let other = recased(&said.join(", "), bits);
        let judge = |said: &[&str]| verdict(stored(&rule, Sharing::Shared, &saying(said)));
        prop_assert_eq!(judge(&said), judge(&[&other]));
    }

    #[test]
    fn a_directive_that_nobody_knows_changes_nothing(
        rule in every_rule(), said in directives(), more in select(UNKNOWN.to_vec()), place: usize,
    ) {
        let judge = |said: &[&str]| verdict(stored(&rule, Sharing::Shared, &saying(said)));
        prop_assert_eq!(judge(&said), judge(&with_one_more(&said, more, place)));
    }

    #[test]
    fn a_request_s_directives_have_no_order_no_case_and_no_unknown_ones(
        rule in every_rule(), said in directives(), asked in asked(), more in select(UNKNOWN.to_vec()),
        place: usize, bits: u64, now in 12..200_u64,
    ) {
        let mut other = with_one_more(&asked, more, place);
        other.reverse();
        let other = recased(&other.join(","), bits);
        if let Ok(storable) = stored(&rule, Sharing::Shared, &saying(&said)) {
            let ask = |said: &str| {
                let headers = if said.is_empty() { HeaderMap::new() } else { head(&[("cache-control", said)]) };
                let req = get(&headers);
                (may_reuse(&req, storable.life(), &rule, at(now)), may_serve_on_error(&req, storable.life(), &rule, at(now)))
            };
            prop_assert_eq!(ask(&asked.join(", ")), ask(&other));
        }
    }

    #[test]
    fn nothing_that_is_sent_makes_the_policy_panic(
        request in any_head(REQUEST_FIELDS),
        response in any_head(RESPONSE_FIELDS),
        answer in any_head(RESPONSE_FIELDS),
        rule in every_rule(),
        sharing in sharing(),
        status in status(),
        length: u64,
    ) {
        let req = get(&request);
        let judged = [may_store(&req, sharing, status, &response, &rule, times()),
            stored(&Rule { ttl: Some(Duration::from_secs(9)), ..rule.clone() }, sharing, &response)];
        for storable in judged.into_iter().flatten() {
            may_reuse(&req, storable.life(), &rule, at(20));
            let _ = may_serve_on_error(&req, storable.life(), &rule, at(20));
            let kept = (storable.status(), storable.headers());
            let _ = freshen(&req, sharing, kept, &answer, &rule, times());
            let req = RequestHead { method: &Method::HEAD, ..req };
            update_by_head(&req, sharing, kept, (status, &answer), &rule, times());
            validate::make_conditional(&mut request.clone(), storable.headers(), validate::Proof::Any);
        }
        if let Ok(selector) = Selector::of(&request, &response, &Rule::default(), &|name| name == "session") {
            selector.matches(&answer, &|name| name == "session");
            selector.size();
        }
        let etag = response.get("etag");
        validate::not_modified(&req, status, etag, &response);
        range::select(&req, StatusCode::OK, &response, etag, length);
        only_if_cached(&request);
        coding::fill_accept_encoding(&request);
        outdate::also_outdated(&"http://a/b".parse().unwrap(), &response, &|_| true);
        fields::strip_hop_by_hop(&mut response.clone());
        fields::strip_selective(&mut request.clone());
    }
}

// ---- how long it lives, and what it may answer ------------------------------------------------------------------

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn age_never_falls_and_ttl_never_rises_as_now_rises(
        rule in every_rule(),
        said in directives(),
        upstream_age in 0..10_000_u32,
        mut millis in proptest::collection::vec(0..100_000_u64, 2..10),
    ) {
        let mut response = saying(&said);
        response.insert("age", upstream_age.into());
        if let Ok(storable) = stored(&rule, Sharing::Shared, &response) {
            millis.sort_unstable();
            for pair in millis.windows(2) {
                let (earlier, later) = (at_milli(pair[0]), at_milli(pair[1]));
                prop_assert!(storable.life().age(earlier) <= storable.life().age(later));
                prop_assert!(storable.life().ttl(earlier) >= storable.life().ttl(later));
                prop_assert!(storable.life().staleness(earlier) <= storable.life().staleness(later));
                prop_assert!(storable.life().is_fresh(earlier) || !storable.life().is_fresh(later));
            }
        }
    }

    #[test]
    fn ttl_is_of_the_sign_of_freshness(
        rule in every_rule(), said in directives(), upstream_age in 0..100_u32, milli in 0..200_000_u64,
    ) {
        let mut response = saying(&said);
        response.insert("age", upstream_age.into());
        if let Ok(storable) = stored(&rule, Sharing::Shared, &response) {
            let (life, now) = (storable.life(), at_milli(milli));
            prop_assert_eq!(life.is_fresh(now), life.age(now) < life.fresh_for());
            if life.is_fresh(now) {
                prop_assert!(life.ttl(now) >= 0 && life.staleness(now).is_zero());
            } else {
                prop_assert!(life.ttl(now) <= 0);
            }
        }
    }

    #[test]
    fn what_was_too_old_for_a_request_stays_too_old_for_it(
        rule in every_rule(), said in directives(), asked in asked(), earlier in 12..200_u64, more in 0..200_u64,
    ) {
        let asks = head(&[("cache-control", &asked.join(", "))]);
        let req = get(&asks);
        if let Ok(storable) = stored(&rule, Sharing::Shared, &saying(&said)) {
            let served = |now| !matches!(may_reuse(&req, storable.life(), &rule, now), Reuse::Validate(_) | Reuse::OnlyIfCached(_));
            prop_assert!(served(at(earlier)) || !served(at(earlier + more)));
            let covers = |now| may_serve_on_error(&req, storable.life(), &rule, now).is_ok();
            prop_assert!(covers(at(earlier)) || !covers(at(earlier + more)));
        }
    }

    #[test]
    fn a_stale_response_is_never_called_fresh(rule in every_rule(), said in directives(), asked in asked(), now in 12..200_u64) {
        let asks = head(&[("cache-control", &asked.join(", "))]);
        if let Ok(storable) = stored(&rule, Sharing::Shared, &saying(&said)) {
            let life = storable.life();
            if may_reuse(&get(&asks), life, &rule, at(now)) == Reuse::Fresh {
                prop_assert!(life.fresh_for() > life.age(at(now)) && !life.always_validate());
            }
        }
    }

    #[test]
    fn no_stale_window_beats_a_directive_that_forbids_stale_use(
        rule in every_rule(), said in directives(), asked in asked(), place: usize, now in 12..200_u64,
        forbidding in select(vec!["must-revalidate", "proxy-revalidate", "no-cache"]),
    ) {
        let asks = head(&[("cache-control", &asked.join(", "))]);
        let outcome = stored(&rule, Sharing::Shared, &saying(&with_one_more(&said, forbidding, place)));
        if let Ok(storable) = outcome && !storable.life().is_fresh(at(now)) {
            // a route that overrides the origin's freshness does not hear its no-cache
            let deaf = forbidding == "no-cache" && !storable.life().source().is_explicit();
            let reuse = may_reuse(&get(&asks), storable.life(), &rule, at(now));
            prop_assert!(deaf || matches!(reuse, Reuse::Validate(_) | Reuse::OnlyIfCached(_)));
            prop_assert!(deaf || may_serve_on_error(&get(&asks), storable.life(), &rule, at(now)).is_err());
        }
    }
}

// ---- which requests it answers, and with which part -------------------------------------------------------------

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_selector_matches_the_request_it_was_made_of(
        request in any_head(REQUEST_FIELDS), response in any_head(RESPONSE_FIELDS),
        named in proptest::sample::subsequence(REQUEST_FIELDS, 0..5),
    ) {
        let mut response = response;
        response.insert(VARY, named.join(", ").parse().unwrap());
        let selector = Selector::of(&request, &response, &Rule::default(), &|name| name == "session").unwrap();
        prop_assert!(selector.matches(&request, &|name| name == "session"));
    }

    #[test]
    fn equal_selectors_select_alike(
        one in plain_head(SELECTING), other in plain_head(SELECTING), third in plain_head(SELECTING),
        response in plain_head(VARYING),
    ) {
        let is_credential = |name: &str| name == "session";
        let of = |request| Selector::of(request, &response, &Rule::default(), &is_credential).unwrap();
        if of(&one) == of(&other) {
            prop_assert!(of(&one).matches(&other, &is_credential) && of(&other).matches(&one, &is_credential));
            prop_assert_eq!(of(&one).matches(&third, &is_credential), of(&other).matches(&third, &is_credential));
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
    fn a_part_lies_within_the_whole(first: Option<u64>, last: Option<u64>, junk in value(), length: u64) {
        let number = |bound: Option<u64>| bound.map(|bound| bound.to_string()).unwrap_or_default();
        let close = |bound: Option<u64>| bound.map(|bound| bound % length.max(1));
        for range in [
            format!("bytes={}-{}", number(first), number(last)).parse().unwrap(),
            format!("bytes={}-{}", number(close(first)), number(close(last))).parse().unwrap(),
            junk,
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("range", range);
            let part = range::select(&get(&headers), StatusCode::OK, &HeaderMap::new(), None, length);
            if let range::Part::Bytes(bytes) = &part {
                prop_assert!(bytes.start < bytes.end && bytes.end <= length);
            }
            prop_assert_eq!(part.content_range(length).is_none(), part == range::Part::Whole);
        }
    }
}

// ---- what a 304 makes of it -------------------------------------------------------------------------------------

/// A stored head and what a 304 does to it; `None` where it was not stored in the first place.
fn freshened(
    rule: &Rule,
    response: &HeaderMap,
    answer: &HeaderMap,
) -> Option<(Storable, Result<Storable, NotFreshened>)> {
    let first = stored(rule, Sharing::Shared, response).ok()?;
    let again = confirmed(rule, &first, answer);
    Some((first, again))
}

fn confirmed(rule: &Rule, stored: &Storable, answer: &HeaderMap) -> Result<Storable, NotFreshened> {
    let times = ResponseTimes { requested: at(100), received: at(101) };
    let kept = (stored.status(), stored.headers());
    freshen(&get(&HeaderMap::new()), Sharing::Shared, kept, answer, rule, times)
}

/// Describe the stored bytes, which a 304 did not bring.
const OF_THE_BYTES: [&str; 4] = ["content-length", "content-encoding", "content-range", "content-digest"];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_304_twice_is_the_same_304_once(
        rule in every_rule(), response in plain_head(DESCRIBING), answer in plain_head(DESCRIBING), odd in any_head(RESPONSE_FIELDS),
    ) {
        for (response, answer) in [(&response, &answer), (&response, &odd), (&odd, &answer)] {
            if let Some((_, Ok(once))) = freshened(&rule, response, answer) {
                let twice = confirmed(&rule, &once, answer).expect("it was confirmed before");
                prop_assert_eq!(once.headers(), twice.headers());
                prop_assert_eq!(once.life(), twice.life());
            }
        }
    }

    #[test]
    fn neither_a_304_nor_a_head_changes_what_describes_the_stored_bytes(
        rule in every_rule(), response in plain_head(DESCRIBING), answer in plain_head(DESCRIBING),
    ) {
        if let Some((first, freshened)) = freshened(&rule, &response, &answer) {
            let req = RequestHead { method: &Method::HEAD, ..get(&answer) };
            let kept = (first.status(), first.headers());
            let by_head = update_by_head(&req, Sharing::Shared, kept, (StatusCode::OK, &answer), &rule, times());
            let by_head = if let HeadUpdate::Freshened(storable) = by_head { Some(*storable) } else { None };
            for after in freshened.ok().into_iter().chain(by_head) {
                for name in OF_THE_BYTES {
                    let lines = |headers: &HeaderMap| -> Vec<_> { headers.get_all(name).iter().cloned().collect() };
                    prop_assert_eq!(lines(first.headers()), lines(after.headers()), "{}", name);
                }
            }
        }
    }

    #[test]
    fn a_304_that_names_another_strong_tag_confirms_nothing(
        rule in every_rule(), response in plain_head(DESCRIBING), answer in plain_head(DESCRIBING),
    ) {
        let mut answer = answer;
        answer.insert("etag", "\"other\"".parse().unwrap());
        if let Some((_, again)) = freshened(&rule, &response, &answer) {
            prop_assert_eq!(again.unwrap_err(), NotFreshened::OtherRepresentation);
        }
    }

    #[test]
    fn a_304_never_lets_in_what_could_not_be_stored(
        rule in every_rule(), said in directives(), forbidding in select(vec!["no-store", "private"]),
    ) {
        let answer = head(&[("cache-control", forbidding)]);
        let overridden = match (rule.origin_headers, forbidding) {
            (OriginHeaders::Override { no_store, .. }, "no-store") => no_store,
            (OriginHeaders::Override { private, .. }, _) => private,
            (OriginHeaders::Respect, _) => false,
        };
        if let Some((_, again)) = freshened(&rule, &saying(&said), &answer) {
            prop_assert!(overridden || again.is_err());
        }
    }
}
