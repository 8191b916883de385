//! `monitor:` as the file has it, and what becomes of it.
//!
//! Invariant: the path of the webhook, which may be a secret, is shown nowhere. It refuses to know how anything is watched.

use std::time::Duration;

use serde_json::{Value, json};

use crate::config::duration::Timeout;
use crate::config::file::File;
use crate::config::problem::Problem;
use crate::config::resolve::{declared, said};
use crate::config::scalar::Count;
use crate::config::shape::{At, REDACTED, Refusal, Scalar, Words, choice, section};
use crate::config::share::Share;
use crate::monitor::Settings;
use crate::monitor::alert::Kind;
use crate::monitor::audit::{self, Repair};
use crate::monitor::harvest;
use crate::monitor::line::Targets;
use crate::store::room::Marks;
use crate::upstream::{BadEndpoint, Endpoint};

section! {
    /// `monitor:`
    MonitorKeys {
        /// How long a window is: what its figures are of. The last 60 are kept.
        every: Timeout = "60s",
        /// How much of what it is asked for the cache should answer, 0 to 1; without it there is no alert of that.
        target_hit_ratio: Share,
        /// How long 95 of a hundred reads, hits and misses, should take at most; without it there is no alert of that. Also
        /// PERF_RESPONSE_TIME_TARGET, in milliseconds.
        target_latency: Timeout,
        /// An http or https URL to which every alert is posted as JSON, when it begins and when it ends.
        webhook: AlertUrl,
        /// Which alerts there are; `none`: none at all.
        alerts: Words<Word> = "hit-ratio latency memory evictions redis warming acknowledgements",
        /// Which hits are held against the origin, behind everybody's back: GETs and QUERYs that everybody shares. What that asks of the
        /// origin is at most a hundredth of what it is asked otherwise.
        audit: Audit,
        /// The stale share of hits that `larder report` recommends ttls for.
        stale_share: Share = "1%",
    }
}

section! {
    /// `monitor.audit:`
    Audit {
        /// The share of hits that are compared at most; 0: none.
        share: Share = "0%",
        /// How many comparisons are begun in a second at most.
        per_second: Count = "1",
        /// Whether a stale entry that is found is invalidated.
        repair: bool = "false",
    }
}

/// A word of `alerts:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// There are to be none; it stands alone.
    None,
    /// This one.
    Of(Kind),
}

choice!(Word, "an alert", {
    "none" => Word::None,
    "hit-ratio" => Word::Of(Kind::HitRatio), "latency" => Word::Of(Kind::Latency), "memory" => Word::Of(Kind::Memory),
    "evictions" => Word::Of(Kind::Evictions), "redis" => Word::Of(Kind::Redis), "warming" => Word::Of(Kind::Warming),
    "acknowledgements" => Word::Of(Kind::Acknowledgements),
});

/// `none`, and others beside it.
pub(crate) fn complain(merged: &File, problems: &mut Vec<Problem>) {
    let alerts = merged.monitor.as_ref().and_then(|keys| keys.value.alerts.as_ref());
    if let Some(At { value: Words(words), source }) = alerts
        && words.contains(&Word::None)
        && words.iter().any(|word| *word != Word::None)
    {
        let problem = Problem::of(*source, "`monitor.alerts` has `none`, and others".to_owned());
        problems.push(problem.hint("write `none` alone, or leave it out"));
    }
}

/// What a merged file says of it.
pub(crate) fn settle(merged: &File) -> Settings {
    let keys = said(merged.monitor.clone());
    let limits = said(merged.limits.clone());
    let named = |word| match word {
        Word::Of(kind) => Some(kind),
        Word::None => None,
    };
    let mut alerts: Vec<_> = declared(&keys.alerts).0.into_iter().filter_map(named).collect();
    alerts.sort_unstable();
    alerts.dedup();
    Settings {
        every: declared(&keys.every).0,
        targets: Targets {
            hit_ratio: keys.target_hit_ratio.map(|at| at.value.0),
            latency: keys.target_latency.map(|at| at.value.0),
            marks: Marks { high: declared(&limits.high).0, low: declared(&limits.low).0 },
        },
        alerts,
        webhook: keys.webhook.map(|at| at.value.0),
        harvest: harvest::Settings {
            audit: audited(said(keys.audit)),
            stale_share: declared(&keys.stale_share).0,
            ..harvest::Settings::default()
        },
    }
}

fn audited(keys: Audit) -> audit::Settings {
    audit::Settings {
        share: declared(&keys.share).0,
        per_second: declared(&keys.per_second).0,
        repair: if declared(&keys.repair) { Repair::Outdate } else { Repair::Leave },
        ..audit::Settings::default()
    }
}

impl MonitorKeys {
    /// What PERF_RESPONSE_TIME_TARGET says, in milliseconds.
    pub(crate) fn of_target(ms: At<u64>) -> At<Self> {
        let latency = At { value: Timeout(Duration::from_millis(ms.value)), source: ms.source };
        latency.wrap(|latency| Self { target_latency: Some(latency), ..Self::default() })
    }
}

/// `webhook:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AlertUrl(Endpoint);

impl Scalar for AlertUrl {
    const WHAT: &'static str = "a URL";

    fn parse(text: &str) -> Result<Self, Refusal> {
        const HINT: &str = "write https://host/path, or leave the key out";
        // The text may hold a secret: it is not repeated.
        Endpoint::parse(text).map(Self).map_err(|why| match why {
            BadEndpoint::Malformed => Refusal::new("is not an http or https URL", HINT),
            BadEndpoint::User => Refusal::new("has a user in it, which is not sent", HINT),
        })
    }

    fn show(&self) -> String {
        format!("{}/{REDACTED}", self.0.place())
    }

    fn cut(&self) -> Option<&str> {
        Some(self.0.path())
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^https?://|\\$\\{" })
    }
}
