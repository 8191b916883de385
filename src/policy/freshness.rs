//! How long a response lives: its age when it came, how long it is fresh, how it may be used when stale.
//! RFC 9111 §4.2, RFC 9213, RFC 5861.
//!
//! ```text
//! requested   received              age = fresh_for         + stale_while_revalidate / stale_if_error
//!     |----------|--------------------------|------------------------|
//!                 age = initial_age + (now - received)
//! ```
//!
//! Invariant: the wall clock meets `Date` and `Expires` once, when the response comes; from then on only the monotonic
//! clock counts. It refuses to know whether the response may be stored at all.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::{AGE, DATE, EXPIRES, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, PRAGMA};

use crate::clock::Now;
use crate::policy::cache_control::{Extent, ResponseDirectives, delta_seconds, members};
use crate::policy::span::Span;
use crate::policy::{OriginHeaders, Rule, date};

/// Heuristic freshness ends here, however old the last modification (RFC 9111 §4.2.2 leaves the limit to us).
const LONGEST_GUESS: Duration = Duration::from_secs(24 * 3600);

/// Never given a life on our own word: they speak of who asked, or of a bad moment.
const OTHERS_WORD_ONLY: [u16; 6] = [401, 403, 407, 408, 425, 429];

/// Heuristically cacheable (RFC 9110 §15.1), 206 apart, which is never stored as a whole.
const GUESSABLE: [u16; 11] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];

/// When the exchange took place.
#[derive(Clone, Copy, Debug)]
pub struct ResponseTimes {
    /// Just before the request was sent.
    pub requested: Now,
    /// When the response head had come.
    pub received: Now,
}

/// Whose word made a response fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The origin's `CDN-Cache-Control` (RFC 9213).
    CdnCacheControl,
    /// The origin's `s-maxage` (RFC 9111 §5.2.2.10).
    SMaxAge,
    /// The origin's `max-age` (§5.2.2.1).
    MaxAge,
    /// The origin's `Expires` (§5.3).
    Expires,
    /// The origin's `no-cache`, with no number beside it (§5.2.2.4).
    NoCache,
    /// The route's `ttl`.
    RouteTtl,
    /// The route's `negative`.
    Negative,
    /// A tenth of the time since the last modification (§4.2.2).
    Heuristic,
}

impl Source {
    /// Whether the origin said it in so many words.
    pub fn is_explicit(self) -> bool {
        !matches!(self, Self::RouteTtl | Self::Negative | Self::Heuristic)
    }

    /// A short stable token for logs and `explain`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CdnCacheControl => "cdn-cache-control",
            Self::SMaxAge => "s-maxage",
            Self::MaxAge => "max-age",
            Self::Expires => "expires",
            Self::NoCache => "no-cache",
            Self::RouteTtl => "ttl",
            Self::Negative => "negative",
            Self::Heuristic => "heuristic",
        }
    }
}

/// The life of one stored response; all that [`crate::policy::may_reuse`] needs, computed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    pub(in crate::policy) initial_age: Span,
    pub(in crate::policy) received: Span,
    pub(in crate::policy) fresh_for: Span,
    pub(in crate::policy) stale_while_revalidate: Span,
    pub(in crate::policy) stale_if_error: Span,
    pub(in crate::policy) must_revalidate: bool,
    pub(in crate::policy) proxy_revalidate: bool,
    pub(in crate::policy) always_validate: bool,
    pub(in crate::policy) immutable: bool,
    pub(in crate::policy) standing: Standing,
    pub(in crate::policy) source: Source,
}

/// How a soft invalidation left a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// None has reached it.
    Sound,
    /// Stale by it: of use within the windows of RFC 5861 only, whatever a client would put up with.
    Softened,
    /// Of no use to who overwrote it.
    Overwritten,
}

impl Life {
    /// The life of a response that was softly invalidated at `at` (monotonic): it ended there, if not before, and the
    /// windows of RFC 5861 count from the earlier of the two.
    pub fn softened(self, at: Duration) -> Self {
        let then = self.initial_age.saturating_add(Span::from(at).saturating_sub(self.received));
        Self { fresh_for: self.fresh_for.min(then), standing: Standing::Softened, ..self }
    }

    /// The same for the one who overwrote it: he is not served it any more, stale or for want of another.
    pub fn overwritten(self, at: Duration) -> Self {
        Self { standing: Standing::Overwritten, ..self.softened(at) }
    }

    /// How a soft invalidation left it.
    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    /// Current age (RFC 9111 §4.2.3).
    pub fn age(&self, now: Now) -> Duration {
        self.aged(now).into()
    }

    fn aged(&self, now: Now) -> Span {
        self.initial_age.saturating_add(Span::from(now.mono).saturating_sub(self.received))
    }

    /// Whole seconds of freshness left, rounded down; negative when stale (RFC 9211 §2.4).
    pub fn ttl(&self, now: Now) -> i64 {
        (self.fresh_for.millis() - self.aged(now).millis()).div_euclid(1000)
    }

    /// Fresh: the lifetime is greater than the age (RFC 9111 §4.2).
    pub fn is_fresh(&self, now: Now) -> bool {
        // What was softened is stale to a request from before it too, now that it is known.
        self.standing == Standing::Sound && self.aged(now) < self.fresh_for
    }

    /// By how much the age exceeds the lifetime; zero while fresh.
    pub fn staleness(&self, now: Now) -> Duration {
        self.aged(now).saturating_sub(self.fresh_for).into()
    }

    /// For how long after its end it may be served stale at all: behind a refresh, or for an origin that fails.
    pub fn stale_use(&self) -> Duration {
        if self.forbids_stale() {
            Duration::ZERO
        } else {
            self.stale_while_revalidate.max(self.stale_if_error).into()
        }
    }

    /// Age when it was received (RFC 9111 §4.2.3 `corrected_initial_age`).
    pub fn initial_age(&self) -> Duration {
        self.initial_age.into()
    }

    /// When it was received, on the monotonic clock.
    pub fn received(&self) -> Duration {
        self.received.into()
    }

    /// Freshness lifetime, counted from age zero.
    pub fn fresh_for(&self) -> Duration {
        self.fresh_for.into()
    }

    /// How far beyond freshness it may be served while it is revalidated; zero where stale use is forbidden.
    pub fn stale_while_revalidate(&self) -> Duration {
        self.stale_while_revalidate.into()
    }

    /// How far beyond freshness it may stand in for an error; zero where stale use is forbidden.
    pub fn stale_if_error(&self) -> Duration {
        self.stale_if_error.into()
    }

    /// `must-revalidate` was said.
    pub fn must_revalidate(&self) -> bool {
        self.must_revalidate
    }

    /// `proxy-revalidate` was said, or an `s-maxage` that applies (RFC 9111 §5.2.2.10).
    pub fn proxy_revalidate(&self) -> bool {
        self.proxy_revalidate
    }

    /// `no-cache` was said: never used without validation, fresh or not.
    pub fn always_validate(&self) -> bool {
        self.always_validate
    }

    /// `immutable` was said: a reload need not ask while it is fresh.
    pub fn immutable(&self) -> bool {
        self.immutable
    }

    /// Whether an explicit directive forbids any stale use (RFC 9111 §4.2.4).
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.always_validate
    }

    /// Whose word it is.
    pub fn source(&self) -> Source {
        self.source
    }
}

/// What the origin said of storing and freshness: the targeted field if there is a valid one, and then nothing but it
/// (RFC 9213 §2.2).
pub(crate) struct Word {
    pub(crate) directives: ResponseDirectives,
    targeted: bool,
}

impl Word {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match ResponseDirectives::targeted(headers) {
            Some(directives) => Self { directives, targeted: true },
            None => Self { directives: ResponseDirectives::of(headers), targeted: false },
        }
    }

    /// Lifetime by the origin's explicit word (RFC 9111 §4.2.1), in its order.
    fn lifetime(&self, headers: &HeaderMap, received: Now) -> Option<(Duration, Source)> {
        let said = &self.directives;
        let by = |source| if self.targeted { Source::CdnCacheControl } else { source };
        if let Some(life) = said.s_maxage {
            return Some((life, by(Source::SMaxAge)));
        }
        if let Some(life) = said.max_age {
            return Some((life, by(Source::MaxAge)));
        }
        if !self.targeted && headers.contains_key(EXPIRES) {
            return Some((until_expires(headers, received), Source::Expires));
        }
        (said.no_cache == Extent::Whole).then_some((Duration::ZERO, Source::NoCache))
    }
}

/// The life of a response, or `None` where nobody gives it one.
pub(crate) fn life(
    word: &Word,
    status: StatusCode,
    headers: &HeaderMap,
    rule: &Rule,
    times: ResponseTimes,
) -> Option<Life> {
    let explicit = word.lifetime(headers, times.received);
    let ours = our_word(status, rule);
    let (lifetime, source) = match rule.origin_headers {
        OriginHeaders::Override { .. } => ours.or(explicit),
        OriginHeaders::Respect => explicit.or(ours),
    }
    .or_else(|| guess(word, status, headers, rule, times.received).map(|life| (life, Source::Heuristic)))?;
    if source == Source::NoCache && !is_guessable(status) && !word.directives.public {
        return None; // RFC 9111 §3: no-cache forbids a use, and permits storing nothing
    }

    let upstream_age = age_field(headers);
    let initial_age = corrected_initial_age(upstream_age, headers, times);
    // A route's ttl counts from the arrival, less what an upstream cache admits: neither the origin's clock nor its
    // slowness may eat it up.
    let own_word = matches!(source, Source::RouteTtl | Source::Negative);
    let fresh_for = if own_word { lifetime.saturating_add(initial_age - upstream_age) } else { lifetime };

    let said = &word.directives;
    let s_maxage = said.s_maxage.is_some() && source.is_explicit();
    // §5.2.2.4; a route's ttl that overrides the origin overrides this too
    let always_validate = said.no_cache == Extent::Whole && !(own_word && explicit.is_some());
    let mut life = Life {
        initial_age: initial_age.into(),
        received: times.received.mono.into(),
        fresh_for: fresh_for.into(),
        stale_while_revalidate: Span::default(),
        stale_if_error: Span::default(),
        must_revalidate: said.must_revalidate,
        proxy_revalidate: said.proxy_revalidate || s_maxage,
        always_validate,
        immutable: said.immutable,
        standing: Standing::Sound,
        source,
    };
    // RFC 5861 §3, §4; RFC 9111 §4.2.4: not against a directive
    if !life.forbids_stale() {
        let window =
            |origin: Option<Duration>, route: Option<Duration>| origin.or(route).unwrap_or_default().into();
        life.stale_while_revalidate = window(said.stale_while_revalidate, rule.stale_while_revalidate);
        life.stale_if_error = window(said.stale_if_error, rule.stale_if_error);
    }
    Some(life)
}

/// Whether a cache may guess at this status (RFC 9110 §15.1); `public` makes any other guessable (RFC 9111 §4.2.2).
pub(crate) fn is_guessable(status: StatusCode) -> bool {
    GUESSABLE.contains(&status.as_u16())
}

fn our_word(status: StatusCode, rule: &Rule) -> Option<(Duration, Source)> {
    if OTHERS_WORD_ONLY.contains(&status.as_u16()) || status.is_server_error() {
        return None;
    }
    if status == StatusCode::OK {
        return rule.ttl.map(|ttl| (ttl, Source::RouteTtl));
    }
    rule.negative.iter().find(|(listed, _)| *listed == status).map(|(_, ttl)| (*ttl, Source::Negative))
}

/// RFC 9111 §4.2.2. `Pragma: no-cache` in a response means nothing, but nothing is guessed against it.
fn guess(
    word: &Word,
    status: StatusCode,
    headers: &HeaderMap,
    rule: &Rule,
    received: Now,
) -> Option<Duration> {
    let guessable =
        is_guessable(status) || (word.directives.public && !OTHERS_WORD_ONLY.contains(&status.as_u16()));
    if !rule.heuristic || !guessable || names_no_cache(headers) {
        return None;
    }
    let modified = date::field(headers, &LAST_MODIFIED, received.wall)?;
    let unchanged = sent(headers, received).duration_since(modified).unwrap_or_default();
    Some((unchanged / 10).min(LONGEST_GUESS))
}

fn names_no_cache(headers: &HeaderMap) -> bool {
    let mut words = headers.get_all(PRAGMA).iter().flat_map(|line| members(line.as_bytes()));
    words.any(|word| word.eq_ignore_ascii_case(b"no-cache"))
}

/// RFC 9111 §5.3: a date that cannot be read, as `0`, is in the past; of several the earliest counts (§4.2.1).
fn until_expires(headers: &HeaderMap, received: Now) -> Duration {
    let sent = sent(headers, received);
    let lives = headers.get_all(EXPIRES).iter().map(|line| {
        let expires = date::parse(line.as_bytes(), received.wall).unwrap_or(SystemTime::UNIX_EPOCH);
        expires.duration_since(sent).unwrap_or_default()
    });
    lives.min().unwrap_or_default()
}

/// When the response was made; where it does not say so legibly, when it came (RFC 9110 §6.6.1).
fn sent(headers: &HeaderMap, received: Now) -> SystemTime {
    date::field(headers, &DATE, received.wall).unwrap_or(received.wall)
}

/// RFC 9111 §4.2.3.
fn corrected_initial_age(upstream_age: Duration, headers: &HeaderMap, times: ResponseTimes) -> Duration {
    let sent = sent(headers, times.received);
    // A Date has no fractions, so a difference of less than a second says nothing.
    let apparent_age = times.received.wall.duration_since(sent).unwrap_or_default();
    let apparent_age = Duration::from_secs(apparent_age.as_secs());
    let response_delay = times.received.mono.saturating_sub(times.requested.mono);
    apparent_age.max(upstream_age.saturating_add(response_delay))
}

/// RFC 9111 §5.1: of several members the first counts; what is no number is ignored.
fn age_field(headers: &HeaderMap) -> Duration {
    let first =
        headers.get(AGE).map(|line| line.as_bytes().split(|byte| *byte == b',').next().unwrap_or_default());
    let unquoted = first.map(<[u8]>::trim_ascii).filter(|value| !value.starts_with(b"\""));
    unquoted.and_then(delta_seconds).unwrap_or_default()
}

/// The date that a field of a stored head holds, if there is one line of it and it can be read.
pub(crate) fn date_field(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    date::field(headers, name, date::made(headers))
}

/// A time as a `Date` field has it; `None` outside the years 1970 to 9999.
pub(crate) fn http_date(time: SystemTime) -> Option<HeaderValue> {
    const YEAR_10000: u64 = 253_402_300_800;
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    if since_epoch.as_secs() >= YEAR_10000 {
        return None;
    }
    HeaderValue::from_str(&httpdate::fmt_http_date(time)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: Duration = Duration::from_secs(1_700_000_000);

    fn at(mono: u64) -> Now {
        Now {
            mono: Duration::from_secs(mono),
            wall: SystemTime::UNIX_EPOCH + WALL + Duration::from_secs(mono),
        }
    }

    fn on(mono: i64) -> String {
        let wall = WALL.as_secs().checked_add_signed(mono).unwrap();
        httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(wall))
    }

    fn head(fields: &[(&str, &str)]) -> HeaderMap {
        crate::policy::testing::head(fields)
    }

    fn life_under(
        rule: &Rule,
        status: u16,
        fields: &[(&str, &str)],
        requested: u64,
        received: u64,
    ) -> Option<Life> {
        let headers = head(fields);
        let times = ResponseTimes { requested: at(requested), received: at(received) };
        life(&Word::of(&headers), StatusCode::from_u16(status).unwrap(), &headers, rule, times)
    }

    fn plain(fields: &[(&str, &str)]) -> Life {
        life_under(&Rule::default(), 200, fields, 100, 100).expect("the origin gave it a life")
    }

    fn route(ttl: u64) -> Rule {
        Rule { ttl: Some(Duration::from_secs(ttl)), ..Rule::default() }
    }

    fn guessing() -> Rule {
        Rule { heuristic: true, ..Rule::default() }
    }

    #[test]
    fn s_maxage_beats_max_age_beats_expires() {
        let all = [("cache-control", "max-age=10, s-maxage=20"), ("expires", "0")];
        assert_eq!((plain(&all).fresh_for(), plain(&all).source), (Duration::from_secs(20), Source::SMaxAge));
        let two = [("cache-control", "max-age=10"), ("expires", "0")];
        assert_eq!((plain(&two).fresh_for(), plain(&two).source), (Duration::from_secs(10), Source::MaxAge));
    }

    #[test]
    fn a_valid_targeted_field_replaces_cache_control_and_expires() {
        let said = plain(&[("cdn-cache-control", "max-age=5"), ("cache-control", "no-cache, s-maxage=20")]);
        assert_eq!((said.fresh_for(), said.source), (Duration::from_secs(5), Source::CdnCacheControl));
        assert!(!said.always_validate && !said.proxy_revalidate);
        let silent = [
            ("cdn-cache-control", "must-revalidate"),
            ("cache-control", "max-age=20"),
            ("expires", &on(900)),
        ];
        assert_eq!(life_under(&Rule::default(), 200, &silent, 100, 100), None);
        let broken = plain(&[("cdn-cache-control", "max-age=5, %%"), ("cache-control", "max-age=20")]);
        assert_eq!(broken.source, Source::MaxAge);
    }

    #[test]
    fn expires_counts_from_date_and_from_the_receipt_where_there_is_none() {
        assert_eq!(plain(&[("expires", &on(160)), ("date", &on(40))]).fresh_for(), Duration::from_secs(120));
        assert_eq!(plain(&[("expires", &on(160))]).fresh_for(), Duration::from_secs(60));
        assert_eq!(
            plain(&[("expires", &on(160)), ("date", "yesterday")]).fresh_for(),
            Duration::from_secs(60)
        );
    }

    #[test]
    fn an_unreadable_expires_is_stale_and_of_several_the_earliest_counts() {
        assert_eq!(plain(&[("expires", "0")]).fresh_for(), Duration::ZERO);
        assert_eq!(
            plain(&[("expires", &on(160)), ("expires", &on(130))]).fresh_for(),
            Duration::from_secs(30)
        );
        assert_eq!(plain(&[("expires", &on(160)), ("expires", "0")]).fresh_for(), Duration::ZERO);
    }

    #[test]
    fn an_expires_in_any_of_the_three_forms_counts_and_a_far_one_outlasts_everything() {
        let fresh_for = |expires: &str| plain(&[("expires", expires), ("date", &on(100))]).fresh_for();
        let year_2050 = fresh_for("Thu, 18 Aug 2050 02:01:18 GMT");
        assert!(year_2050 > Duration::from_secs(20 * 365 * 86_400));
        for written in
            ["Thursday, 18-Aug-50 02:01:18 GMT", "Mon Aug 18 02:01:18 2050", "THU, 18 AUG 2050 02:01:18 gMT"]
        {
            assert_eq!(fresh_for(written), year_2050, "{written}");
        }
        let last = plain(&[("expires", "Fri, 31 Dec 9999 23:59:59 GMT")]);
        assert!(last.is_fresh(at(u64::from(u32::MAX))) && last.ttl(at(100)) > 200_000_000_000);
    }

    #[test]
    fn a_date_in_the_past_of_all_clocks_makes_no_age_overflow() {
        let life = plain(&[("cache-control", "max-age=60"), ("date", "Thu, 01 Jan 1970 00:00:00 GMT")]);
        assert!(life.initial_age() > Duration::from_secs(50 * 365 * 86_400) && !life.is_fresh(at(100)));
    }

    #[test]
    fn an_old_date_and_an_age_both_count_and_the_greater_wins() {
        let fresh = "max-age=3600";
        assert_eq!(
            plain(&[("cache-control", fresh), ("date", &on(70))]).initial_age(),
            Duration::from_secs(30)
        );
        let both = [("cache-control", fresh), ("date", &on(70)), ("age", "50")];
        assert_eq!(
            life_under(&Rule::default(), 200, &both, 90, 100).unwrap().initial_age(),
            Duration::from_secs(60)
        );
        assert_eq!(plain(&[("cache-control", fresh), ("date", &on(900))]).initial_age(), Duration::ZERO);
    }

    #[test]
    fn the_first_age_counts_and_what_is_no_number_is_ignored() {
        let age = |values: &[&str]| {
            let mut fields = vec![("cache-control", "max-age=3600")];
            fields.extend(values.iter().map(|value| ("age", *value)));
            plain(&fields).initial_age().as_secs()
        };
        assert_eq!(age(&["7200, 0"]), 7200);
        assert_eq!(age(&["0, 7200"]), 0);
        assert_eq!(age(&["7200", "0"]), 7200);
        for ignored in ["abc", "-7200", "7200.0", "7200;foo=bar", "\"7200\"", ""] {
            assert_eq!(age(&[ignored]), 0, "{ignored}");
        }
    }

    #[test]
    fn the_route_speaks_only_where_the_origin_is_silent() {
        let silent = life_under(&route(30), 200, &[], 100, 100).unwrap();
        assert_eq!((silent.fresh_for(), silent.source), (Duration::from_secs(30), Source::RouteTtl));
        let said = life_under(&route(30), 200, &[("cache-control", "max-age=5")], 100, 100).unwrap();
        assert_eq!(said.source, Source::MaxAge);
        assert_eq!(life_under(&route(30), 404, &[], 100, 100), None);
    }

    #[test]
    fn an_override_beats_the_origin_s_freshness_and_its_no_cache() {
        let rule =
            Rule { origin_headers: OriginHeaders::Override { no_store: false, private: false }, ..route(30) };
        let life = life_under(&rule, 200, &[("cache-control", "no-cache, s-maxage=5")], 100, 100).unwrap();
        assert_eq!((life.source, life.fresh_for()), (Source::RouteTtl, Duration::from_secs(30)));
        assert!(!life.always_validate && !life.proxy_revalidate);
        let other = life_under(&rule, 404, &[("cache-control", "max-age=5")], 100, 100).unwrap();
        assert_eq!(other.source, Source::MaxAge);
    }

    #[test]
    fn negative_adds_statuses_but_never_those_that_speak_of_who_asked_or_of_a_bad_moment() {
        let every = [404, 410, 401, 403, 407, 408, 425, 429, 500, 503];
        let negative =
            every.map(|code| (StatusCode::from_u16(code).unwrap(), Duration::from_secs(10))).to_vec();
        let rule = Rule { negative, ..route(30) };
        let stored: Vec<u16> =
            every.into_iter().filter(|code| life_under(&rule, *code, &[], 100, 100).is_some()).collect();
        assert_eq!(stored, [404, 410]);
    }

    #[test]
    fn a_route_s_ttl_counts_from_the_arrival_whatever_the_origin_s_clock_and_speed() {
        let slow = life_under(&route(5), 200, &[("date", &on(-4000))], 90, 100).unwrap();
        assert_eq!(slow.ttl(at(100)), 5);
        assert!(slow.is_fresh(at(104)) && !slow.is_fresh(at(105)));
        let aged = life_under(&route(5), 200, &[("age", "3")], 100, 100).unwrap();
        assert_eq!(aged.ttl(at(100)), 2);
    }

    #[test]
    fn a_guess_is_a_tenth_of_the_unchanged_time_and_at_most_a_day() {
        let guess = |status, fields: &[(&str, &str)]| life_under(&guessing(), status, fields, 0, 0);
        let modified = on(-1000);
        let old = on(-100_000_000);
        assert_eq!(
            guess(200, &[("last-modified", &modified)]).unwrap().fresh_for(),
            Duration::from_secs(100)
        );
        assert_eq!(guess(404, &[("last-modified", &old)]).unwrap().fresh_for(), LONGEST_GUESS);
        assert_eq!(guess(200, &[]), None);
        assert_eq!(guess(201, &[("last-modified", &modified)]), None);
        assert_eq!(guess(200, &[("last-modified", &modified), ("pragma", "no-cache")]), None);
        assert!(guess(599, &[("last-modified", &modified), ("cache-control", "public")]).is_some());
        assert_eq!(guess(403, &[("last-modified", &modified), ("cache-control", "public")]), None);
        assert_eq!(life_under(&Rule::default(), 200, &[("last-modified", &modified)], 0, 0), None);
    }

    #[test]
    fn the_response_s_stale_windows_win_over_the_rule_s_and_revalidation_forbids_both() {
        let rule = Rule {
            stale_while_revalidate: Some(Duration::from_secs(7)),
            stale_if_error: Some(Duration::from_secs(8)),
            ..Rule::default()
        };
        let windows = |said: &str| {
            let life = life_under(&rule, 200, &[("cache-control", said)], 0, 0).unwrap();
            (life.stale_while_revalidate().as_secs(), life.stale_if_error().as_secs())
        };
        assert_eq!(windows("max-age=1"), (7, 8));
        assert_eq!(windows("max-age=1, stale-while-revalidate=0, stale-if-error=99"), (0, 99));
        for forbidden in ["must-revalidate", "proxy-revalidate", "s-maxage=1", "no-cache"] {
            assert_eq!(windows(&format!("max-age=1, stale-if-error=9, {forbidden}")), (0, 0), "{forbidden}");
        }
    }

    #[test]
    fn ttl_falls_through_zero() {
        let life = plain(&[("cache-control", "max-age=10")]);
        assert_eq!([100, 109, 110, 115].map(|now| life.ttl(at(now))), [10, 1, 0, -5]);
        assert_eq!([100, 109, 110].map(|now| life.is_fresh(at(now))), [true, true, false]);
        assert_eq!(life.staleness(at(115)), Duration::from_secs(5));
    }

    #[test]
    fn what_has_no_life_is_not_fresh_before_it_came_either() {
        let life = plain(&[("cache-control", "max-age=0")]);
        assert_eq!([0, 99, 100].map(|now| life.is_fresh(at(now))), [false; 3]);
        assert!(plain(&[("cache-control", "max-age=1")]).is_fresh(at(99)));
    }

    #[test]
    fn a_year_that_no_date_can_write_is_left_out() {
        assert!(http_date(SystemTime::UNIX_EPOCH + WALL).is_some());
        assert_eq!(http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_800)), None);
    }
}
