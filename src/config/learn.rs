//! `warm.learn:` and `warm.refresh_ahead:` as the file has them.
//!
//! Invariant: what is not asked for does not happen: nothing is learnt, and nothing is fetched ahead, unless the file says so.

use std::time::Duration;

use serde_json::{Value, json};

use crate::config::duration::Timeout;
use crate::config::problem::Problem;
use crate::config::resolve::said;
use crate::config::scalar::Count;
use crate::config::shape::{At, Refusal, Scalar, section};
use crate::warm::ahead;
use crate::warm::learn::MAX_TOP;

/// `warm.learn.every` where nobody says it.
const EVERY: Duration = Duration::from_secs(30 * 60);

section! {
    /// `warm.learn:`
    LearnKeys {
        /// Most that are kept warm; at most 1024. Without it nothing is learnt.
        top: Count,
        /// How often it is looked whether they are; default 30m.
        every: Timeout,
    }
}

section! {
    /// `warm.refresh_ahead:`
    AheadKeys {
        /// Never more than that: a share of all requests to the origin (5%), or so many in a second (10/s). Without it there
        /// are none.
        budget: Budget,
    }
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

/// How many of what is learnt are kept warm, and how often that is looked at; `None`: nothing is learnt. What does not hold
/// together goes to `problems`.
pub(crate) fn settle(learn: Option<At<LearnKeys>>, problems: &mut Vec<Problem>) -> Option<(usize, Duration)> {
    let learn = said(learn);
    complain(&learn, problems);
    let every = learn.every.map_or(EVERY, |every| every.value.0);
    learn.top.map(|top| (top.value.size(), every))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Env, Flags, load_str};
    use crate::warm::schedule::Schedule;

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
        let wanted = |text: &str, vars: &[(&str, &str)]| {
            let (flags, env) = (Flags::default(), Env::of(vars.iter().copied()));
            let text = format!("upstream: http://localhost:1\nwarm: {{ {text} }}");
            let warm = load_str("larder.yaml", &text, &flags, &env).unwrap().warm;
            let every = warm
                .tasks
                .first()
                .map(|task| matches!(task.schedule, Schedule::Every(every) if every == EVERY));
            (warm.learn, every, warm.ahead)
        };
        let both = "learn: { top: 200 }, refresh_ahead: { budget: 5% }";
        assert_eq!(wanted(both, &[]), (Some(200), Some(true), Some(ahead::Budget::Share(0.05))));
        let off = (None, None, None);
        assert_eq!(wanted(&format!("{both}, background: false"), &[]), off);
        assert_eq!(wanted(both, &[("ENABLE_BACKGROUND_WARMING", "false")]), off);
        assert_eq!(wanted(both, &[("PERF_CACHE_WARMING", "false")]), off);
        assert_eq!(wanted("concurrency: 2", &[]), off, "nor where nobody asked for it");
    }
}
