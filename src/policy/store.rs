//! May this response be stored (RFC 9111 §3)? Yes is a [`Storable`], which nobody else can make; no is a reason.
//!
//! Invariant: a `Storable` head holds nothing that must not be stored, and was never an unqualified `private` or
//! `no-store` unless the route overrides it by name. It refuses to know the body, the key and the place.

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName};

use crate::policy::cache_control::{Extent, RequestDirectives, ResponseDirectives};
use crate::policy::fields;
use crate::policy::freshness::{self, Life, ResponseTimes, Source, Word};
use crate::policy::partial::ContentRange;
use crate::policy::validate;
use crate::policy::vary;
use crate::policy::{
    ClientNoCache, OriginHeaders, RequestHead, Rule, Scope, SetCookie, Sharing, StoreErrors,
};

/// Why a response is not stored: a metrics label and the `detail` of Cache-Status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoStore {
    /// The method's answers are not stored.
    Method,
    /// The status is never stored, or nobody gave this one a life.
    Status,
    /// A part of a representation (206) that is not to be stored as one.
    Partial,
    /// The body is not as long as its `Content-Range` says.
    PartLength,
    /// The origin said `no-store`.
    NoStore,
    /// The client said `no-store`, and `client_no_cache: honor` obeys.
    RequestNoStore,
    /// The origin said `private`.
    Private,
    /// `must-understand`, and the status is not one we know.
    MustUnderstand,
    /// The request carried `Authorization`, and the origin did not open the answer to others (RFC 9111 §3.5).
    Authorization,
    /// The answer sets a cookie.
    SetCookie,
    /// `Vary: *`.
    VaryStar,
    /// `Vary` names what is no field name, so nothing can be compared.
    VaryInvalid,
    /// Neither the origin nor the route gives it a life.
    NoFreshness,
    /// The origin said `no-cache`, and nothing could validate it.
    NoCache,
    /// It was stale when it came, and nothing could validate it.
    AlreadyStale,
    /// `store_if`: the body is not JSON.
    StateNotJson,
    /// `store_if`: no path finds a state.
    StateAbsent,
    /// `store_if`: the state is not among those that are stored.
    StateNotListed,
    /// What it would be outdated by cannot be told.
    Tags,
}

impl NoStore {
    /// A short stable token.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Status => "status",
            Self::Partial => "partial",
            Self::PartLength => "part-length",
            Self::NoStore => "no-store",
            Self::RequestNoStore => "request-no-store",
            Self::Private => "private",
            Self::MustUnderstand => "must-understand",
            Self::Authorization => "authorization",
            Self::SetCookie => "set-cookie",
            Self::VaryStar => "vary-star",
            Self::VaryInvalid => "vary-invalid",
            Self::NoFreshness => "no-freshness",
            Self::NoCache => "no-cache",
            Self::AlreadyStale => "already-stale",
            Self::StateNotJson => "state-not-json",
            Self::StateAbsent => "state-absent",
            Self::StateNotListed => "state-not-listed",
            Self::Tags => "tags",
        }
    }
}

/// Proof that a response may be stored, with the head as it is to be stored.
#[derive(Clone, Debug)]
pub struct Storable {
    status: StatusCode,
    headers: HeaderMap,
    life: Life,
    part: Option<ContentRange>,
}

impl Storable {
    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The fields to store: what RFC 9111 §3.1 forbids is gone, `Age` is in [`Life`], `Date` is there.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// How long it lives.
    pub fn life(&self) -> &Life {
        &self.life
    }

    /// Which bytes it has, if it is a part of a representation: then its status is 206, and its fields say nothing of
    /// where it lies. `None`: it is whole.
    pub fn part(&self) -> Option<ContentRange> {
        self.part
    }

    /// The same without the fields that are for caches only.
    pub fn for_clients(mut self) -> Self {
        fields::strip_for_caches(&mut self.headers);
        self
    }

    /// The same over other bytes of its representation.
    pub(in crate::policy) fn with(
        self,
        status: StatusCode,
        headers: HeaderMap,
        part: Option<ContentRange>,
    ) -> Self {
        Self { status, headers, part, ..self }
    }

    /// Takes it apart.
    pub fn into_parts(self) -> (StatusCode, HeaderMap, Life) {
        (self.status, self.headers, self.life)
    }
}

/// Decides whether the response to `req` may be stored, and for how long. `headers` are the response's as they came,
/// hop-by-hop fields included.
///
/// # Errors
/// The reason, if it may not.
pub fn may_store(
    req: &RequestHead<'_>,
    sharing: Sharing,
    status: StatusCode,
    headers: &HeaderMap,
    rule: &Rule,
    times: ResponseTimes,
) -> Result<Storable, NoStore> {
    let word = Word::of(headers);
    let said = &word.directives;
    method_permits(req)?;
    status_permits(status, said, rule)?;
    directives_permit(req, said, rule)?;
    for name in vary::names(headers) {
        name?;
    }
    let life = freshness::life(&word, status, headers, rule, times).ok_or_else(|| no_life(status))?;
    if authorization_forbids(req, sharing, said, rule) {
        return Err(NoStore::Authorization);
    }
    let unstored = unstored_fields(said);
    set_cookie_permits(headers, unstored.clone(), life.source(), rule)?;
    is_of_use(&life, headers, rule)?;

    let mut stored = headers.clone();
    fields::strip_unstored(&mut stored);
    if rule.set_cookie != SetCookie::Store {
        fields::strip_cookies(&mut stored);
    }
    for name in unstored {
        stored.remove(name);
    }
    if !stored.contains_key(header::DATE)
        && let Some(date) = freshness::http_date(times.received.wall)
    {
        stored.insert(header::DATE, date); // RFC 9110 §6.6.1
    }
    Ok(Storable { status, headers: stored, life, part: None })
}

/// Whether a request with these fields forbids storing its answer (RFC 9111 §5.2.1.5), where clients are heard.
pub fn asks_no_store(request: &HeaderMap, rule: &Rule) -> bool {
    rule.client_no_cache == ClientNoCache::Honor && RequestDirectives::of(request).no_store
}

/// GET, and what reads by its body if the body is in the key (QUERY, declared POST). HEAD has no body to store; a POST
/// that speaks for its target by `Content-Location` (RFC 9110 §9.3.3) comes as the GET that it stands for.
fn method_permits(req: &RequestHead<'_>) -> Result<(), NoStore> {
    match req.method.as_str() {
        "GET" => Ok(()),
        "POST" | "QUERY" if req.body_keyed => Ok(()),
        _ => Err(NoStore::Method),
    }
}

fn status_permits(status: StatusCode, said: &ResponseDirectives, rule: &Rule) -> Result<(), NoStore> {
    match status.as_u16() {
        206 => return Err(NoStore::Partial), // RFC 9111 §3.3: only by the door for parts
        ..200 | 304 => return Err(NoStore::Status), // §3: only final; §4.3.4: only merged
        428 | 429 | 431 | 511 => return Err(NoStore::Status), // RFC 6585 §3 to §6: MUST NOT be stored
        _ => {}
    }
    // RFC 9111 §3, §5.2.2.3
    if said.must_understand && status.canonical_reason().is_none() {
        return Err(NoStore::MustUnderstand);
    }
    let poisonable = matches!(status.as_u16(), 400 | 405 | 413 | 414 | 500..);
    let listed = rule.negative.iter().any(|(negative, _)| *negative == status);
    if poisonable && !listed && rule.store_errors == StoreErrors::IfListed {
        return Err(NoStore::Status);
    }
    Ok(())
}

fn directives_permit(req: &RequestHead<'_>, said: &ResponseDirectives, rule: &Rule) -> Result<(), NoStore> {
    let (beaten_no_store, beaten_private) = match rule.origin_headers {
        OriginHeaders::Respect => (false, false),
        OriginHeaders::Override { no_store, private } => (no_store, private),
    };
    // RFC 9111 §5.2.2.5; §5.2.2.3: beside must-understand it says nothing to who understands the status, as we do here
    if said.no_store && !said.must_understand && !beaten_no_store {
        return Err(NoStore::NoStore);
    }
    // §3, §5.2.2.7: we are shared
    if said.private == Extent::Whole && !beaten_private {
        return Err(NoStore::Private);
    }
    if asks_no_store(req.headers, rule) {
        return Err(NoStore::RequestNoStore);
    }
    Ok(())
}

/// RFC 9111 §3.5, and what opens it: §5.2.2.9, §5.2.2.2, §5.2.2.10. Under a route's ttl an entry per credential is the
/// operator's choice, and nobody else's to see; under `scope: public` the fill carries no credential.
fn authorization_forbids(
    req: &RequestHead<'_>,
    sharing: Sharing,
    said: &ResponseDirectives,
    rule: &Rule,
) -> bool {
    let opened = said.public || said.must_revalidate || said.s_maxage.is_some();
    let chosen = sharing == Sharing::PerCredential && rule.ttl.is_some();
    req.headers.contains_key(header::AUTHORIZATION) && !opened && !chosen && rule.scope != Scope::Public
}

fn no_life(status: StatusCode) -> NoStore {
    if freshness::is_guessable(status) { NoStore::NoFreshness } else { NoStore::Status }
}

/// The fields that `private` and `no-cache` keep from being used unvalidated (RFC 9111 §5.2.2.4, §5.2.2.7): not stored.
pub(in crate::policy) fn unstored_fields(
    said: &ResponseDirectives,
) -> impl Iterator<Item = &HeaderName> + Clone {
    said.private.fields().iter().chain(said.no_cache.fields())
}

fn set_cookie_permits<'a>(
    headers: &HeaderMap,
    mut unstored: impl Iterator<Item = &'a HeaderName>,
    source: Source,
    rule: &Rule,
) -> Result<(), NoStore> {
    // RFC 9111 §7.3: it is the origin's to forbid; the route's own word never spreads a cookie
    let chosen = source.is_explicit() && rule.set_cookie != SetCookie::Refuse;
    let replayable = headers.contains_key(header::SET_COOKIE)
        && !chosen
        && !unstored.any(|name| *name == header::SET_COOKIE);
    if replayable { Err(NoStore::SetCookie) } else { Ok(()) }
}

/// What can neither be used as it is (RFC 9111 §4.2.4) nor be validated (§4.3.1) only takes room.
fn is_of_use(life: &Life, headers: &HeaderMap, rule: &Rule) -> Result<(), NoStore> {
    if validate::has_validator(headers) {
        return Ok(());
    }
    if life.always_validate() {
        return Err(NoStore::NoCache);
    }
    let stale_use = life.stale_while_revalidate().max(life.stale_if_error());
    let client_may_ask = rule.client_no_cache == ClientNoCache::Honor && !life.fresh_for().is_zero();
    let useful = life.fresh_for().saturating_add(stale_use) > life.initial_age() || client_may_ask;
    if useful { Ok(()) } else { Err(NoStore::AlreadyStale) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{at, get, head};
    use http::Method;
    use std::time::Duration;

    const COOKIE: (&str, &str) = ("set-cookie", "a=b");
    const MODIFIED: (&str, &str) = ("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT");

    fn route() -> Rule {
        Rule { ttl: Some(Duration::from_secs(30)), ..Rule::default() }
    }

    fn letter() -> Rule {
        Rule { heuristic: true, store_errors: StoreErrors::IfFresh, ..Rule::default() }
    }

    fn judge(rule: &Rule, status: u16, response: &[(&str, &str)]) -> Result<Storable, NoStore> {
        asked(rule, Sharing::Shared, &[], status, response)
    }

    fn asked(
        rule: &Rule,
        sharing: Sharing,
        request: &[(&str, &str)],
        status: u16,
        response: &[(&str, &str)],
    ) -> Result<Storable, NoStore> {
        let times = ResponseTimes { requested: at(10), received: at(10) };
        let status = StatusCode::from_u16(status).unwrap();
        may_store(&get(&head(request)), sharing, status, &head(response), rule, times)
    }

    fn why(outcome: Result<Storable, NoStore>) -> Option<NoStore> {
        outcome.err()
    }

    fn cc(said: &str) -> (&str, &str) {
        ("cache-control", said)
    }

    #[test]
    fn clients_are_not_shown_what_is_for_caches_only() {
        let response =
            [cc("max-age=5"), ("surrogate-key", "a"), ("cache-tag", "b"), ("cache-groups", "\"c\"")];
        let storable = judge(&Rule::default(), 200, &response).unwrap();
        assert!(storable.headers().contains_key("surrogate-key"));
        let shown = storable.for_clients();
        let shown: Vec<&str> = shown.headers().keys().map(HeaderName::as_str).collect();
        assert!(!shown.contains(&"surrogate-key") && !shown.contains(&"cache-tag"));
        assert!(shown.contains(&"cache-groups") && shown.contains(&"cache-control"));
    }

    #[test]
    fn any_final_status_is_stored_on_explicit_freshness_but_for_those_that_never_are() {
        for code in [200, 203, 204, 299, 301, 302, 303, 307, 308, 404, 410, 499] {
            assert_eq!(why(judge(&Rule::default(), code, &[cc("max-age=5")])), None, "{code}");
        }
        for code in [100, 103, 199, 304, 428, 429, 431, 511] {
            assert_eq!(why(judge(&letter(), code, &[cc("max-age=5")])), Some(NoStore::Status), "{code}");
        }
        assert_eq!(why(judge(&letter(), 206, &[cc("max-age=5")])), Some(NoStore::Partial));
    }

    #[test]
    fn errors_that_a_stranger_can_provoke_are_stored_only_if_the_rule_says_so() {
        for code in [400, 405, 413, 414, 500, 502, 503, 504, 599] {
            let fresh = [cc("max-age=5")];
            assert_eq!(why(judge(&route(), code, &fresh)), Some(NoStore::Status), "{code}");
            assert_eq!(why(judge(&letter(), code, &fresh)), None, "{code}");
            let status = StatusCode::from_u16(code).unwrap();
            let listed = Rule { negative: vec![(status, Duration::from_secs(5))], ..route() };
            assert_eq!(why(judge(&listed, code, &fresh)), None, "{code}");
        }
        let listed = Rule { negative: vec![(StatusCode::BAD_GATEWAY, Duration::from_secs(5))], ..route() };
        assert_eq!(why(judge(&listed, 502, &[])), Some(NoStore::Status));
    }

    #[test]
    fn only_what_reads_is_stored() {
        let (none, times) = (HeaderMap::new(), ResponseTimes { requested: at(0), received: at(0) });
        let judged = |method: &[u8], body_keyed| {
            let req =
                RequestHead { method: &Method::from_bytes(method).unwrap(), headers: &none, body_keyed };
            let response = head(&[cc("max-age=5")]);
            why(may_store(&req, Sharing::Shared, StatusCode::OK, &response, &route(), times))
        };
        assert_eq!(judged(b"GET", false), None);
        assert_eq!(judged(b"QUERY", true), None);
        assert_eq!(judged(b"POST", true), None);
        for (method, body_keyed) in
            [(&b"HEAD"[..], false), (b"HEAD", true), (b"POST", false), (b"QUERY", false), (b"PUT", true)]
        {
            assert_eq!(judged(method, body_keyed), Some(NoStore::Method));
        }
    }

    #[test]
    fn the_origin_forbids_and_only_a_named_override_does_not_hear_it() {
        let overriding = |no_store, private| Rule {
            origin_headers: OriginHeaders::Override { no_store, private },
            ..route()
        };
        for (said, reason, deaf) in [
            ("no-store, max-age=5", NoStore::NoStore, overriding(true, false)),
            ("private, max-age=5", NoStore::Private, overriding(false, true)),
        ] {
            for rule in [route(), letter(), overriding(false, false)] {
                for sharing in [Sharing::Shared, Sharing::PerCredential] {
                    assert_eq!(why(asked(&rule, sharing, &[], 200, &[cc(said)])), Some(reason), "{said}");
                }
            }
            assert_eq!(why(judge(&deaf, 200, &[cc(said)])), None, "{said}");
        }
    }

    #[test]
    fn must_understand_beats_no_store_for_a_status_that_is_understood() {
        assert_eq!(why(judge(&letter(), 200, &[cc("no-store, must-understand, max-age=5")])), None);
        let unknown = judge(&letter(), 599, &[cc("must-understand, max-age=5")]);
        assert_eq!(why(unknown), Some(NoStore::MustUnderstand));
    }

    #[test]
    fn a_request_s_no_store_counts_where_it_is_honoured() {
        let honor = Rule { client_no_cache: ClientNoCache::Honor, ..route() };
        let judged = |rule| why(asked(rule, Sharing::Shared, &[cc("no-store")], 200, &[]));
        assert_eq!(judged(&honor), Some(NoStore::RequestNoStore));
        assert_eq!(judged(&route()), None);
    }

    #[test]
    fn an_answer_to_authorization_is_stored_only_if_the_origin_or_the_route_opens_it() {
        let judged = |rule: &Rule, sharing, said| {
            why(asked(rule, sharing, &[("authorization", "Bearer x")], 200, &[cc(said)]))
        };
        for opened in ["max-age=5, public", "s-maxage=5", "max-age=5, must-revalidate"] {
            assert_eq!(judged(&Rule::default(), Sharing::Shared, opened), None, "{opened}");
        }
        let closed = Some(NoStore::Authorization);
        for sharing in [Sharing::Shared, Sharing::PerCredential] {
            assert_eq!(judged(&Rule::default(), sharing, "max-age=5"), closed);
        }
        assert_eq!(judged(&route(), Sharing::Shared, "max-age=5"), closed);
        assert_eq!(judged(&route(), Sharing::PerCredential, "max-age=5"), None);
        assert_eq!(judged(&Rule { scope: Scope::Public, ..route() }, Sharing::Shared, "max-age=5"), None);
    }

    #[test]
    fn a_cookie_is_replayed_only_where_the_rule_and_the_origin_both_allow_it() {
        let store = Rule { set_cookie: SetCookie::Store, heuristic: true, ..route() };
        let second = ("set-cookie", "c=d");
        let storable = judge(&store, 200, &[COOKIE, second, cc("max-age=5")]).unwrap();
        assert_eq!(storable.headers().get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=b", "c=d"]);
        let silent = Rule { ttl: None, ..store.clone() };
        for rule in [&store, &silent] {
            assert_eq!(why(judge(rule, 200, &[COOKIE, MODIFIED])), Some(NoStore::SetCookie));
        }
        for named in ["private=\"set-cookie\", max-age=5", "no-cache=\"set-cookie\", max-age=5"] {
            let storable = judge(&store, 200, &[COOKIE, cc(named)]).unwrap();
            assert!(!storable.headers().contains_key("set-cookie"), "{named}");
        }
    }

    #[test]
    fn a_cookie_is_not_replayed_unless_the_rule_says_so() {
        let strip = Rule { set_cookie: SetCookie::Strip, ..route() };
        assert_eq!(why(judge(&route(), 200, &[COOKIE])), Some(NoStore::SetCookie));
        assert_eq!(why(judge(&route(), 200, &[COOKIE, cc("max-age=5")])), Some(NoStore::SetCookie));
        assert_eq!(why(judge(&strip, 200, &[COOKIE])), Some(NoStore::SetCookie));
        let named = cc("no-cache=\"set-cookie\", max-age=5");
        for storable in
            [judge(&strip, 200, &[COOKIE, cc("max-age=5")]), judge(&route(), 200, &[COOKIE, named])]
        {
            assert!(!storable.unwrap().headers().contains_key("set-cookie"));
        }
    }

    #[test]
    fn fields_named_by_private_and_no_cache_are_left_out_of_what_is_stored() {
        let said = cc("max-age=5, private=\"x-a\", no-cache=\"x-b\"");
        let storable =
            judge(&Rule::default(), 200, &[said, ("x-a", "1"), ("x-b", "2"), ("x-c", "3")]).unwrap();
        let kept = ["x-a", "x-b", "x-c"].map(|name| storable.headers().contains_key(name));
        assert_eq!(kept, [false, false, true]);
        assert!(!storable.life().always_validate());
    }

    #[test]
    fn what_vary_makes_incomparable_is_not_stored() {
        assert_eq!(why(judge(&route(), 200, &[("vary", "a, *")])), Some(NoStore::VaryStar));
        assert_eq!(why(judge(&route(), 200, &[("vary", "a b")])), Some(NoStore::VaryInvalid));
    }

    #[test]
    fn without_a_life_nothing_is_stored() {
        assert_eq!(why(judge(&Rule::default(), 200, &[MODIFIED])), Some(NoStore::NoFreshness));
        assert_eq!(why(judge(&letter(), 200, &[])), Some(NoStore::NoFreshness));
        assert_eq!(why(judge(&letter(), 200, &[MODIFIED])), None);
        assert_eq!(why(judge(&route(), 302, &[])), Some(NoStore::Status));
    }

    #[test]
    fn no_cache_permits_no_status_that_nothing_else_permits() {
        let no_cache = |status, said| why(judge(&letter(), status, &[cc(said), MODIFIED]));
        assert_eq!(no_cache(302, "no-cache"), Some(NoStore::Status));
        for (status, said) in [(302, "no-cache, public"), (302, "no-cache, max-age=5"), (404, "no-cache")] {
            assert_eq!(no_cache(status, said), None, "{status} {said}");
        }
    }

    #[test]
    fn what_is_stale_on_arrival_is_stored_only_for_validation_or_stale_use() {
        let tag = ("etag", "\"a\"");
        assert_eq!(why(judge(&route(), 200, &[cc("max-age=0")])), Some(NoStore::AlreadyStale));
        assert_eq!(why(judge(&route(), 200, &[cc("max-age=5"), ("age", "5")])), Some(NoStore::AlreadyStale));
        assert_eq!(
            why(judge(&route(), 200, &[("expires", "0"), ("etag", "W/1851")])),
            Some(NoStore::AlreadyStale)
        );
        assert_eq!(why(judge(&route(), 200, &[cc("no-cache")])), Some(NoStore::NoCache));
        for said in ["max-age=0", "no-cache"] {
            assert_eq!(why(judge(&route(), 200, &[cc(said), tag])), None, "{said}");
            assert_eq!(why(judge(&route(), 200, &[cc(said), MODIFIED])), None, "{said}");
        }
        assert_eq!(why(judge(&route(), 200, &[cc("max-age=0, stale-while-revalidate=9")])), None);
        let honor = Rule { client_no_cache: ClientNoCache::Honor, ..Rule::default() };
        assert_eq!(why(judge(&honor, 200, &[cc("max-age=5"), ("age", "9")])), None);
    }

    #[test]
    fn what_is_stored_has_a_date_and_no_age() {
        let storable = judge(&route(), 200, &[("age", "5")]).unwrap();
        assert_eq!(storable.headers()["date"], httpdate::fmt_http_date(at(10).wall));
        assert!(!storable.headers().contains_key("age"));
        assert_eq!(judge(&route(), 200, &[("date", "odd")]).unwrap().headers()["date"], "odd");
    }

    #[test]
    fn a_content_range_that_means_nothing_is_kept_as_it_came() {
        // RFC 9110 §14.4: it has no meaning beside a 200
        let storable = judge(&route(), 200, &[("content-range", "bytes 0-1/2")]).unwrap();
        assert!(storable.headers().contains_key("content-range"));
    }
}
