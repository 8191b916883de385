//! `warm:`: what is fetched before anybody asks for it.
//!
//! Invariant: what is not asked for does not happen: nothing is learnt, and nothing is fetched ahead, unless the file says so.

use serde_json::{Value, json};

use crate::config::collection::{Headers, Items};
use crate::config::credential::WarmPath;
use crate::config::duration::Timeout;
use crate::config::problem::Problem;
use crate::config::resolve::{declared, said};
use crate::config::scalar::Count;
use crate::config::shape::{At, Refusal, Scalar, Shape, section};
use crate::warm::ahead;
use crate::warm::learn::MAX_TOP;
use crate::warm::learn::watch::{self, Learn};
use crate::warm::{Request, Settings};

/// The declared duration type of keys where zero makes sense.
type Duration = std::time::Duration;

/// `warm.learn.every` where nobody says it.
const EVERY: Duration = Duration::from_secs(30 * 60);

section! {
    /// `warm:`
    Warm {
        /// What is fetched at start.
        requests: Items<WarmRequest>,
        /// /readyz waits at most this long for the list.
        before_ready: Duration = "10s",
        /// How many at once.
        concurrency: Count = "4",
        /// Fields sent with every one of them; one that a placeholder leaves empty is not sent.
        headers: Headers,
        /// Whether anything but the list at start is fetched: `learn`, `refresh_ahead`.
        background: bool = "true",
        /// Keeps warm what clients really ask for, by the hour of the day.
        learn: LearnKeys,
        /// Fetches hot entries anew shortly before they expire.
        refresh_ahead: AheadKeys,
    }
    later { "timezone" }
}

section! {
    /// One of `warm.requests`.
    WarmRequest {
        /// Path and query on the configured upstream.
        get: WarmPath,
        /// Higher goes first.
        priority: i64 = "100",
    }
    later { "schedule" "every" "for_each" "select" "limit" "origins" "for_users" }
}

section! {
    /// `warm.learn:`
    LearnKeys {
        /// Most that are kept warm; at most 1024. Without it nothing is learnt.
        top: Count,
        /// How often it is looked whether they are; default 30m.
        every: Timeout,
    }
    later {}
}

section! {
    /// `warm.refresh_ahead:`
    AheadKeys {
        /// Never more than that: a share of all requests to the origin (5%), or so many in a second (10/s). Without it there
        /// are none.
        budget: Budget,
    }
    later {}
}

/// `budget:`
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Budget(pub(crate) ahead::Budget);

impl Scalar for Budget {
    const WHAT: &'static str = "a budget";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let hint = "write a share of the requests to the origin, e.g. 5%, or a rate, e.g. 10/s";
        let number = |digits: &str| digits.parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0);
        let share = text.strip_suffix('%').and_then(number).filter(|percent| *percent <= 100.0);
        let rate = text.strip_suffix("/s").and_then(number);
        match (share, rate) {
            (Some(percent), _) => Ok(Self(ahead::Budget::Share(percent / 100.0))),
            (_, Some(rate)) => Ok(Self(ahead::Budget::Rate(rate))),
            _ => Err(Refusal::new(format!("`{text}` is no budget"), hint)),
        }
    }

    fn show(&self) -> String {
        match self.0 {
            // What was written in percent comes back as it was, whatever a binary fraction makes of it.
            ahead::Budget::Share(share) => format!("{}%", (share * 1e8).round() / 1e6),
            ahead::Budget::Rate(rate) => format!("{rate}/s"),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9]+([.][0-9]+)?(%|/s)$|\\$\\{" })
    }
}

/// What of it holds; what does not hold together goes to `problems`.
pub(crate) fn settle(keys: &Warm, problems: &mut Vec<Problem>) -> Settings {
    let requests = said(keys.requests.clone()).0.into_iter().filter_map(|request| {
        let request = request.value.over(WarmRequest::built_in().unwrap_or_default());
        Some(Request { path: request.get?.value.0.to_string(), priority: declared(&request.priority) })
    });
    let headers = said(keys.headers.clone()).0.into_iter().filter_map(|(name, text)| {
        let mut value = http::HeaderValue::from_str(&text.value.0).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    });
    let (learn, ahead) = (said(keys.learn.clone()), said(keys.refresh_ahead.clone()));
    complain(&learn, problems);
    let every = learn.every.map_or(EVERY, |every| every.value.0);
    let learn = learn.top.map(|top| Learn { top: top.value.size(), every });
    let background = watch::Settings { learn, ahead: ahead.budget.map(|budget| budget.value.0) };
    let is_on = declared(&keys.background);
    Settings {
        requests: requests.collect(),
        before_ready: declared(&keys.before_ready),
        concurrency: declared(&keys.concurrency).size(),
        headers: headers.collect(),
        watch: if is_on { background } else { watch::Settings::default() },
    }
}

fn complain(learn: &LearnKeys, problems: &mut Vec<Problem>) {
    if let Some(top) = learn.top.as_ref().filter(|top| top.value.size() > MAX_TOP) {
        let message = format!("`top` of `warm.learn` is at most {MAX_TOP}");
        problems
            .push(Problem::of(top.source, message).hint("what is asked for less often is not told apart"));
    }
    if let (None, Some(every)) = (&learn.top, &learn.every) {
        let problem = Problem::of(every.source, "`warm.learn` has no `top`");
        problems.push(problem.hint("say how many are kept warm: learn: { top: 200, every: 30m }"));
    }
}

/// The layer of settings that `ENABLE_BACKGROUND_WARMING` makes.
pub(crate) fn by_variable(background: At<bool>) -> At<Warm> {
    background.wrap(|background| Warm { background: Some(background), ..Warm::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Env, Flags, load_str};

    #[test]
    fn a_budget_is_a_share_or_a_rate_and_reads_back() {
        for text in ["5%", "0.5%", "7.3%", "100%", "10/s", "0.2/s"] {
            assert_eq!(Scalar::show(&Budget::parse(text).unwrap()), text);
        }
        for text in ["5", "0%", "101%", "-1/s", "/s", "10/m", "inf/s", "NaN%", ""] {
            assert!(Budget::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_goes_on_behind_anybodys_back_where_that_is_switched_off() {
        let watched = |text: &str, vars: &[(&str, &str)]| {
            let (flags, env) = (Flags::default(), Env::of(vars.iter().copied()));
            let text = format!("upstream: http://localhost:1\nwarm: {{ {text} }}");
            load_str("larder.yaml", &text, &flags, &env).unwrap().warm.watch
        };
        let both = "learn: { top: 200 }, refresh_ahead: { budget: 5% }";
        let every = std::time::Duration::from_secs(1800);
        let on = watch::Settings {
            learn: Some(Learn { top: 200, every }),
            ahead: Some(ahead::Budget::Share(0.05)),
        };
        assert_eq!(watched(both, &[]), on);
        let off = watch::Settings::default();
        assert_eq!(watched(&format!("{both}, background: false"), &[]), off);
        assert_eq!(watched(both, &[("ENABLE_BACKGROUND_WARMING", "false")]), off);
        assert_eq!(watched(both, &[("PERF_CACHE_WARMING", "false")]), off);
        assert_eq!(watched("concurrency: 2", &[]), off, "nor where nobody asked for it");
    }
}
