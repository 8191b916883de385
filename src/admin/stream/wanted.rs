//! What a reader of the stream wants to hear of, as its query says it.

use std::time::Duration;

use http::StatusCode;

use crate::access_log::audience::Told;
use crate::admin::parameters::Parameters;
use crate::admin::problem::{Problem, quoted};
use crate::admin::{Sources, switches};
use crate::metrics::{Cache, UNMATCHED};

/// How often there are figures, unless it says otherwise, and within which bounds.
const USUAL: Duration = Duration::from_secs(1);
const OFTEN: Duration = Duration::from_millis(250);
const SELDOM: Duration = Duration::from_secs(60);

/// Which events, and how often figures.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) figures: bool,
    pub(super) invalidations: bool,
    pub(super) requests: bool,
    pub(super) reloads: bool,
    pub(super) every: Duration,
    pub(super) filter: Filter,
}

/// Which requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// Template, or `unmatched`.
    route: Option<String>,
    /// Any of these; nothing: all.
    caches: Vec<String>,
    statuses: Vec<Status>,
    methods: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// `404`
    One(u16),
    /// `5xx`
    Class(u16),
}

impl Wanted {
    /// Reads `?events=&every=&route=&cache=&status=&method=`.
    ///
    /// # Errors
    /// 400, 404: what is wrong with them.
    pub(super) fn read(sources: &Sources, parameters: Parameters) -> Result<Self, Problem> {
        let known = ["events", "every", "route", "cache", "status", "method"];
        let parameters = parameters.of(&known)?;
        const EVENTS: [&str; 4] = ["figures", "invalidations", "requests", "reloads"];
        let events = match parameters.text("events") {
            None => vec!["figures", "invalidations", "reloads"],
            Some(text) => text.split(',').map(str::trim).collect(),
        };
        if let Some(stranger) = events.iter().find(|event| !EVENTS.contains(event)) {
            let detail = format!("`events` lists {}; {} is none.", EVENTS.join(", "), quoted(stranger));
            return Err(Problem::bad_request(detail));
        }
        let wants = |event: &str| events.contains(&event);
        let every = parameters.text("every").map(every).transpose()?.unwrap_or(USUAL);
        let route = match parameters.text("route") {
            None => None,
            Some(UNMATCHED) => Some(UNMATCHED.to_owned()),
            Some(text) => Some(switches::route(sources, text)?.settings.template.clone()),
        };
        let filter = Filter {
            route,
            caches: words(&parameters, "cache", cache)?,
            statuses: words(&parameters, "status", status)?,
            methods: words(&parameters, "method", |word| Ok(word.to_ascii_uppercase()))?,
        };
        if filter != Filter::default() && !wants("requests") {
            let detail =
                "`route`, `cache`, `status` and `method` choose requests: ask for `events=requests`.";
            return Err(Problem::bad_request(detail));
        }
        Ok(Self {
            figures: wants("figures"),
            invalidations: wants("invalidations"),
            requests: wants("requests"),
            reloads: wants("reloads"),
            every,
            filter,
        })
    }
}

impl Filter {
    pub(super) fn wants(&self, told: &Told) -> bool {
        let of_route =
            self.route.as_deref().is_none_or(|route| told.route.as_deref().unwrap_or(UNMATCHED) == route);
        let any = |words: &[String], word: &str| words.is_empty() || words.iter().any(|known| known == word);
        let has_status =
            self.statuses.is_empty() || self.statuses.iter().any(|status| status.is(told.status));
        of_route && any(&self.caches, &told.cache) && has_status && any(&self.methods, &told.method)
    }
}

impl Status {
    fn is(self, status: u16) -> bool {
        match self {
            Self::One(one) => one == status,
            Self::Class(class) => class == status / 100,
        }
    }
}

fn words<T>(
    parameters: &Parameters,
    name: &str,
    read: impl Fn(&str) -> Result<T, Problem>,
) -> Result<Vec<T>, Problem> {
    let words = parameters.text(name).into_iter().flat_map(|text| text.split(','));
    words.map(|word| read(word.trim())).collect()
}

fn cache(word: &str) -> Result<String, Problem> {
    let known = Cache::ALL.iter().map(|cache| cache.label());
    let found = known.clone().find(|label| label.eq_ignore_ascii_case(word));
    found.map(str::to_owned).ok_or_else(|| {
        let known: Vec<_> = known.collect();
        Problem::bad_request(format!("`cache` lists {}; {} is none.", known.join(", "), quoted(word)))
    })
}

fn status(word: &str) -> Result<Status, Problem> {
    let class = word.strip_suffix("xx").or_else(|| word.strip_suffix("XX"));
    let class = class.and_then(|class| class.parse().ok()).filter(|class| (1..=5).contains(class));
    let one = || word.parse::<StatusCode>().ok().filter(|status| status.as_u16() < 600);
    match class {
        Some(class) => Ok(Status::Class(class)),
        None => one().map(|status| Status::One(status.as_u16())).ok_or_else(|| {
            Problem::bad_request(format!("`status` lists codes, as 404 or 5xx; {} is none.", quoted(word)))
        }),
    }
}

/// `500ms`, `5s`, or seconds.
fn every(text: &str) -> Result<Duration, Problem> {
    let period = match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    period
        .filter(|period| (OFTEN..=SELDOM).contains(period))
        .ok_or_else(|| Problem::bad_request("`every` is a duration like 500ms or 5s, from 250ms to 60s."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(route: Option<&str>, method: &str, cache: &str, code: u16) -> Told {
        let route = route.map(Box::from);
        Told { route, method: method.into(), cache: cache.into(), status: code, line: "{}".into() }
    }

    #[test]
    fn every_part_of_a_filter_has_to_fit_and_of_a_list_any() {
        let filter = Filter {
            route: Some("/a".into()),
            caches: vec!["miss".into(), "bypass".into()],
            statuses: vec![Status::Class(5), Status::One(404)],
            methods: vec!["GET".into()],
        };
        for (told, is_wanted) in [
            (told(Some("/a"), "GET", "miss", 404), true),
            (told(Some("/a"), "GET", "bypass", 503), true),
            (told(Some("/b"), "GET", "miss", 404), false),
            (told(None, "GET", "miss", 404), false),
            (told(Some("/a"), "PUT", "miss", 404), false),
            (told(Some("/a"), "GET", "hit", 404), false),
            (told(Some("/a"), "GET", "miss", 200), false),
        ] {
            assert_eq!(filter.wants(&told), is_wanted, "{told:?}");
        }
        assert!(Filter::default().wants(&told(None, "PUT", "hit", 200)));
        let unmatched = Filter { route: Some(UNMATCHED.into()), ..Filter::default() };
        assert!(unmatched.wants(&told(None, "GET", "hit", 200)));
    }

    #[test]
    fn words_are_read_as_people_write_them() {
        assert_eq!(status("5XX").unwrap(), Status::Class(5));
        assert_eq!(status("404").unwrap(), Status::One(404));
        assert_eq!(cache("HIT").unwrap(), "hit");
        assert_eq!(every("250ms").unwrap(), OFTEN);
        assert_eq!(every("60").unwrap(), SELDOM);
        for word in ["6xx", "40", "999", "x", ""] {
            assert!(status(word).is_err(), "{word}");
        }
        for text in ["249ms", "61s", "0", "-1s", "soon"] {
            assert!(every(text).is_err(), "{text}");
        }
    }
}
