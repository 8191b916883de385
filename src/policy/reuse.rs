//! May this stored response answer this request, as it is (RFC 9111 §4, §4.2.4, §5.2.1)?
//!
//! Invariant: a fresh entry and an ordinary request cost one comparison; request directives are read only where they
//! count. It refuses to know whether the entry matches (key, [`crate::policy::Selector`]) and whether a hard invalidation
//! has reached it: both come before. A soft one has ended the life that it is given ([`Life::softened`]).

use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderMap};

use crate::clock::Now;
use crate::policy::cache_control::RequestDirectives;
use crate::policy::freshness::{Life, Standing};
use crate::policy::{ClientNoCache, RequestHead, Rule};

/// How a stored response may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// As it is.
    Fresh,
    /// As it is, while it is revalidated in the background (RFC 5861 §3).
    StaleWhileRevalidate,
    /// As it is: stale, and the client said that it may be (`max-stale`).
    StaleByRequest,
    /// Only after the origin has been asked.
    Validate(WhyValidate),
    /// Not without asking the origin, and the client forbids that: 504 (RFC 9111 §5.2.1.7).
    OnlyIfCached(WhyValidate),
}

/// Why a stored response has to be validated, or must not stand in for an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhyValidate {
    /// It is stale, and beyond what any directive permits.
    Stale,
    /// The response says `no-cache`.
    NoCache,
    /// It is stale, and the response forbids stale use (`must-revalidate`, `proxy-revalidate`, `s-maxage`).
    MustRevalidate,
    /// The request says `no-cache` (or `Pragma: no-cache`).
    RequestNoCache,
    /// It is older than the request's `max-age`.
    RequestMaxAge,
    /// It is not fresh for as long as the request's `min-fresh`.
    RequestMinFresh,
    /// Who asks has softly invalidated it himself.
    Overwritten,
}

impl WhyValidate {
    /// A short stable token.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::NoCache => "no-cache",
            Self::MustRevalidate => "must-revalidate",
            Self::RequestNoCache => "request-no-cache",
            Self::RequestMaxAge => "request-max-age",
            Self::RequestMinFresh => "request-min-fresh",
            Self::Overwritten => "overwritten",
        }
    }

    /// Whether the request brought it about, rather than the response's age (RFC 9211 §2.2: `fwd=request`).
    pub fn is_of_request(self) -> bool {
        matches!(self, Self::RequestNoCache | Self::RequestMaxAge | Self::RequestMinFresh)
    }
}

/// Decides how the stored response that lives `life` may answer `req` (RFC 9111 §4).
pub fn may_reuse(req: &RequestHead<'_>, life: &Life, rule: &Rule, now: Now) -> Reuse {
    let honor = rule.client_no_cache == ClientNoCache::Honor;
    if !honor && life.is_fresh(now) && !life.always_validate() {
        return Reuse::Fresh;
    }
    let asked = if honor { RequestDirectives::of(req.headers) } else { RequestDirectives::default() };
    match unasked(life, &asked, now) {
        Ok(reuse) => reuse,
        Err(why) if only_if_cached(req.headers) => Reuse::OnlyIfCached(why),
        Err(why) => Reuse::Validate(why),
    }
}

fn unasked(life: &Life, asked: &RequestDirectives, now: Now) -> Result<Reuse, WhyValidate> {
    // §5.2.2.4
    if life.always_validate() {
        return Err(WhyValidate::NoCache);
    }
    // §5.2.1.4
    if asked.no_cache {
        return Err(WhyValidate::RequestNoCache);
    }
    if life.is_fresh(now) {
        return fresh_enough(life, asked, now).map(|()| Reuse::Fresh);
    }
    may_be_stale(life)?;
    let granted = stale_by_request(life, asked, now);
    // §5.2.1.1 to §5.2.1.3: who says how old it may be wants nothing staler than he said
    let indifferent = asked.max_age.or(asked.max_stale).or(asked.min_fresh).is_none();
    if within(life.stale_while_revalidate(), life, now) && (granted || indifferent) {
        return Ok(Reuse::StaleWhileRevalidate);
    }
    // Who puts up with what is old does not ask for what was called outdated.
    if granted && life.standing() == Standing::Sound {
        Ok(Reuse::StaleByRequest)
    } else {
        Err(WhyValidate::Stale)
    }
}

/// Whether anything at all permits to use it stale.
fn may_be_stale(life: &Life) -> Result<(), WhyValidate> {
    // §4.2.4, §5.2.2.2, §5.2.2.8, §5.2.2.10
    if life.forbids_stale() {
        return Err(WhyValidate::MustRevalidate);
    }
    if life.standing() == Standing::Overwritten { Err(WhyValidate::Overwritten) } else { Ok(()) }
}

/// What is fresh may yet be too old for the request.
fn fresh_enough(life: &Life, asked: &RequestDirectives, now: Now) -> Result<(), WhyValidate> {
    // §5.2.1.1; RFC 8246 §2: a plain reload need not ask for what is immutable and fresh
    if let Some(oldest) = asked.max_age
        && !life.immutable()
        && (life.age(now) > oldest || oldest.is_zero())
    {
        return Err(WhyValidate::RequestMaxAge);
    }
    // §5.2.1.3
    if let Some(longer) = asked.min_fresh
        && life.fresh_for().saturating_sub(life.age(now)) < longer
    {
        return Err(WhyValidate::RequestMinFresh);
    }
    Ok(())
}

/// RFC 9111 §5.2.1.2. A `max-age` beside it is a limit of its own (§5.2.1.1): what is too old while it is fresh is no
/// better when it is stale; nor does `min-fresh` go with it.
fn stale_by_request(life: &Life, asked: &RequestDirectives, now: Now) -> bool {
    let granted = asked.max_stale.is_some_and(|granted| life.staleness(now) <= granted);
    let young_enough = asked.max_age.is_none_or(|oldest| life.age(now) <= oldest);
    granted && young_enough && asked.min_fresh.is_none() && !life.is_fresh(now)
}

fn within(window: Duration, life: &Life, now: Now) -> bool {
    !window.is_zero() && life.staleness(now) <= window
}

/// Whether a stored response may stand in for an origin that fails (RFC 5861 §4; RFC 9111 §4.2.4): on a connection
/// error, or a 500, 502, 503 or 504.
///
/// # Errors
/// Why it may not.
pub fn may_serve_on_error(
    req: &RequestHead<'_>,
    life: &Life,
    rule: &Rule,
    now: Now,
) -> Result<(), WhyValidate> {
    let asked = match rule.client_no_cache {
        ClientNoCache::Honor => RequestDirectives::of(req.headers),
        ClientNoCache::Ignore => RequestDirectives::default(),
    };
    if life.always_validate() {
        return Err(WhyValidate::NoCache);
    }
    // RFC 9111 §5.2.1.4, unless the client said itself what to do then
    if asked.no_cache && asked.stale_if_error.is_none() {
        return Err(WhyValidate::RequestNoCache);
    }
    if life.is_fresh(now) {
        return Ok(());
    }
    may_be_stale(life)?;
    let window = life.stale_if_error().max(asked.stale_if_error.unwrap_or_default());
    let granted = life.standing() == Standing::Sound && stale_by_request(life, &asked, now);
    if within(window, life, now) || granted { Ok(()) } else { Err(WhyValidate::Stale) }
}

/// Whether the client forbids asking the origin, under every rule: on a miss the answer is 504 (RFC 9111 §5.2.1.7).
pub fn only_if_cached(headers: &HeaderMap) -> bool {
    headers.contains_key(CACHE_CONTROL) && RequestDirectives::of(headers).only_if_cached
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{at, get, head, life};

    fn honor() -> Rule {
        Rule { client_no_cache: ClientNoCache::Honor, ..Rule::default() }
    }

    fn reuse(rule: &Rule, response: &str, request: &str, second: u64) -> Reuse {
        let headers = if request.is_empty() { HeaderMap::new() } else { head(&[("cache-control", request)]) };
        may_reuse(&get(&headers), &life(rule, response), rule, at(second))
    }

    fn on_error(rule: &Rule, response: &str, request: &str, second: u64) -> Result<(), WhyValidate> {
        let headers = head(&[("cache-control", request)]);
        may_serve_on_error(&get(&headers), &life(rule, response), rule, at(second))
    }

    #[test]
    fn fresh_until_its_lifetime_is_reached_and_then_validated() {
        assert_eq!(reuse(&Rule::default(), "max-age=10", "", 9), Reuse::Fresh);
        assert_eq!(reuse(&Rule::default(), "max-age=10", "", 10), Reuse::Validate(WhyValidate::Stale));
    }

    #[test]
    fn no_cache_is_always_validated() {
        assert_eq!(
            reuse(&Rule::default(), "max-age=10, no-cache", "", 0),
            Reuse::Validate(WhyValidate::NoCache)
        );
    }

    #[test]
    fn a_reload_is_ignored_unless_it_is_honoured() {
        for asked in ["no-cache", "max-age=0", "min-fresh=60"] {
            assert_eq!(reuse(&Rule::default(), "max-age=10", asked, 5), Reuse::Fresh, "{asked}");
        }
        let honoured = |asked| reuse(&honor(), "max-age=10", asked, 5);
        assert_eq!(honoured("no-cache"), Reuse::Validate(WhyValidate::RequestNoCache));
        assert_eq!(honoured("max-age=0"), Reuse::Validate(WhyValidate::RequestMaxAge));
        assert_eq!(honoured("max-age=4"), Reuse::Validate(WhyValidate::RequestMaxAge));
        assert_eq!(honoured("max-age=5"), Reuse::Fresh);
        assert_eq!(honoured("min-fresh=6"), Reuse::Validate(WhyValidate::RequestMinFresh));
        assert_eq!(honoured("min-fresh=5"), Reuse::Fresh);
        assert_eq!(honoured("no-store"), Reuse::Fresh);
    }

    #[test]
    fn max_age_zero_asks_even_in_the_instant_of_arrival() {
        assert_eq!(
            reuse(&honor(), "max-age=10", "max-age=0", 0),
            Reuse::Validate(WhyValidate::RequestMaxAge)
        );
    }

    #[test]
    fn a_plain_reload_of_what_is_immutable_asks_nobody_while_it_is_fresh() {
        assert_eq!(reuse(&honor(), "max-age=10, immutable", "max-age=0", 5), Reuse::Fresh);
        let forced = reuse(&honor(), "max-age=10, immutable", "no-cache", 5);
        assert_eq!(forced, Reuse::Validate(WhyValidate::RequestNoCache));
        let stale = reuse(&honor(), "max-age=10, immutable", "max-age=0", 11);
        assert_eq!(stale, Reuse::Validate(WhyValidate::Stale));
    }

    #[test]
    fn max_stale_grants_what_no_directive_of_the_response_forbids() {
        assert_eq!(reuse(&honor(), "max-age=10", "max-stale=5", 15), Reuse::StaleByRequest);
        assert_eq!(reuse(&honor(), "max-age=10", "max-stale", 9999), Reuse::StaleByRequest);
        assert_eq!(reuse(&honor(), "max-age=10", "max-stale=5", 16), Reuse::Validate(WhyValidate::Stale));
        assert_eq!(
            reuse(&Rule::default(), "max-age=10", "max-stale=5", 15),
            Reuse::Validate(WhyValidate::Stale)
        );
        for forbidden in ["must-revalidate", "proxy-revalidate", "s-maxage=10"] {
            let said = format!("max-age=10, {forbidden}");
            let why = Reuse::Validate(WhyValidate::MustRevalidate);
            assert_eq!(reuse(&honor(), &said, "max-stale=5", 12), why, "{forbidden}");
        }
    }

    #[test]
    fn what_is_older_than_max_age_is_not_served_for_being_stale_as_well() {
        let both = |second| reuse(&honor(), "max-age=10", "max-age=5, max-stale=20", second);
        assert_eq!(both(5), Reuse::Fresh);
        assert_eq!(both(6), Reuse::Validate(WhyValidate::RequestMaxAge));
        assert_eq!(both(10), Reuse::Validate(WhyValidate::Stale));
        let later = |second| reuse(&honor(), "max-age=10", "max-age=12, max-stale=5", second);
        assert_eq!(later(12), Reuse::StaleByRequest);
        assert_eq!(later(13), Reuse::Validate(WhyValidate::Stale));
    }

    #[test]
    fn stale_while_revalidate_ends_with_its_window() {
        let said = "max-age=10, stale-while-revalidate=5";
        assert_eq!(reuse(&Rule::default(), said, "", 15), Reuse::StaleWhileRevalidate);
        assert_eq!(reuse(&Rule::default(), said, "", 16), Reuse::Validate(WhyValidate::Stale));
        let forbidden = format!("{said}, must-revalidate");
        assert_eq!(reuse(&Rule::default(), &forbidden, "", 11), Reuse::Validate(WhyValidate::MustRevalidate));
    }

    #[test]
    fn who_says_how_old_it_may_be_is_served_nothing_staler() {
        let said = "max-age=10, stale-while-revalidate=50";
        let at_15 = |asked| reuse(&honor(), said, asked, 15);
        for asked in
            ["max-age=60", "min-fresh=0", "max-stale=4", "max-age=60, max-stale=4", "max-age=12, max-stale=5"]
        {
            assert_eq!(at_15(asked), Reuse::Validate(WhyValidate::Stale), "{asked}");
        }
        for asked in ["", "no-transform", "max-stale=5", "max-stale", "max-age=15, max-stale=5"] {
            assert_eq!(at_15(asked), Reuse::StaleWhileRevalidate, "{asked}");
        }
        assert_eq!(reuse(&Rule::default(), said, "max-age=60", 15), Reuse::StaleWhileRevalidate);
    }

    /// What becomes at `second` of what was softly invalidated at second 4.
    fn softened(rule: &Rule, response: &str, request: &str, second: u64) -> (Reuse, Result<(), WhyValidate>) {
        let headers = head(&[("cache-control", request)]);
        let life = life(rule, response).softened(at(4).mono);
        let (reuse, on_error) = (may_reuse, may_serve_on_error);
        (reuse(&get(&headers), &life, rule, at(second)), on_error(&get(&headers), &life, rule, at(second)))
    }

    #[test]
    fn what_was_softened_is_stale_since_then_and_served_only_within_a_window() {
        let said = "max-age=10, stale-while-revalidate=5, stale-if-error=7";
        let at_second = |second| softened(&Rule::default(), said, "", second);
        let stale = Reuse::Validate(WhyValidate::Stale);
        assert_eq!(at_second(3), (Reuse::StaleWhileRevalidate, Ok(())), "asked before, served after");
        assert_eq!(at_second(9), (Reuse::StaleWhileRevalidate, Ok(())));
        assert_eq!(at_second(10), (stale, Ok(())), "six seconds since, though its own life has only ended");
        assert_eq!(at_second(11), (stale, Ok(())));
        assert_eq!(at_second(12), (stale, Err(WhyValidate::Stale)));
        assert_eq!(softened(&Rule::default(), "max-age=10", "", 4), (stale, Err(WhyValidate::Stale)));
    }

    #[test]
    fn the_windows_count_from_the_natural_end_if_that_was_earlier() {
        let said = "max-age=2, stale-while-revalidate=5, stale-if-error=5";
        let at_second = |second| softened(&Rule::default(), said, "", second);
        assert_eq!(at_second(7), (Reuse::StaleWhileRevalidate, Ok(())));
        assert_eq!(at_second(8), (Reuse::Validate(WhyValidate::Stale), Err(WhyValidate::Stale)));
    }

    #[test]
    fn what_was_softened_is_not_served_for_a_client_who_puts_up_with_old_answers() {
        let stale = (Reuse::Validate(WhyValidate::Stale), Err(WhyValidate::Stale));
        assert_eq!(softened(&honor(), "max-age=10", "max-stale", 5), stale);
        assert_eq!(softened(&honor(), "max-age=10, immutable", "max-stale=60", 5), stale);
        let windowed = softened(&honor(), "max-age=10, stale-while-revalidate=5", "max-stale=2", 6).0;
        assert_eq!(windowed, Reuse::StaleWhileRevalidate);
        let stricter = softened(&honor(), "max-age=10, stale-while-revalidate=5", "max-stale=2", 7).0;
        assert_eq!(stricter, stale.0);
        let asked = softened(&honor(), "max-age=10", "stale-if-error=5", 9);
        assert_eq!(asked, (stale.0, Ok(())), "the client's own window for errors");
    }

    #[test]
    fn directives_bind_what_was_softened_as_they_did() {
        let said = "max-age=10, stale-while-revalidate=60, stale-if-error=60, must-revalidate";
        let must = WhyValidate::MustRevalidate;
        assert_eq!(softened(&Rule::default(), said, "", 5), (Reuse::Validate(must), Err(must)));
        let only = softened(&Rule::default(), "max-age=10", "only-if-cached", 5).0;
        assert_eq!(only, Reuse::OnlyIfCached(WhyValidate::Stale));
    }

    #[test]
    fn who_overwrote_it_is_never_served_it() {
        let rule = honor();
        let life = life(&rule, "max-age=10, stale-while-revalidate=60, stale-if-error=60");
        let life = life.overwritten(at(4).mono);
        for asked in ["", "max-stale", "stale-if-error=60"] {
            let headers = head(&[("cache-control", asked)]);
            let why = WhyValidate::Overwritten;
            assert_eq!(may_reuse(&get(&headers), &life, &rule, at(5)), Reuse::Validate(why), "{asked}");
            assert_eq!(may_serve_on_error(&get(&headers), &life, &rule, at(5)), Err(why), "{asked}");
        }
        assert_eq!(life.ttl(at(6)), -2, "stale since the moment it was softened");
    }

    #[test]
    fn only_if_cached_is_obeyed_under_every_rule() {
        assert_eq!(reuse(&Rule::default(), "max-age=10", "only-if-cached", 5), Reuse::Fresh);
        let stale = reuse(&Rule::default(), "max-age=10", "only-if-cached", 15);
        assert_eq!(stale, Reuse::OnlyIfCached(WhyValidate::Stale));
        assert!(!only_if_cached(&HeaderMap::new()));
    }

    #[test]
    fn an_error_is_hidden_only_within_a_window_that_nothing_forbids() {
        assert_eq!(on_error(&Rule::default(), "max-age=10", "", 11), Err(WhyValidate::Stale));
        assert_eq!(on_error(&Rule::default(), "max-age=10, stale-if-error=5", "", 15), Ok(()));
        assert_eq!(
            on_error(&Rule::default(), "max-age=10, stale-if-error=5", "", 16),
            Err(WhyValidate::Stale)
        );
        assert_eq!(on_error(&honor(), "max-age=10", "stale-if-error=5", 15), Ok(()));
        assert_eq!(on_error(&Rule::default(), "max-age=10", "stale-if-error=5", 15), Err(WhyValidate::Stale));
        assert_eq!(on_error(&honor(), "max-age=10", "no-cache", 5), Err(WhyValidate::RequestNoCache));
        for (forbidden, why) in [
            ("must-revalidate", WhyValidate::MustRevalidate),
            ("proxy-revalidate", WhyValidate::MustRevalidate),
            ("s-maxage=10", WhyValidate::MustRevalidate),
            ("no-cache", WhyValidate::NoCache),
        ] {
            let said = format!("max-age=10, stale-if-error=5, {forbidden}");
            assert_eq!(on_error(&Rule::default(), &said, "", 12), Err(why), "{forbidden}");
        }
    }
}
