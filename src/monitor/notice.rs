//! An alert in words, and as the JSON that a webhook carries.
//!
//! Invariant: a notice has an id that is the same at every try, and of no other notice of this node. Nothing in it comes from a
//! client. It refuses to know who reads it.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::monitor::alert::{Edge, Kind, Notice};

impl Notice {
    /// One sentence.
    pub fn text(&self) -> String {
        let (value, target) = (self.measure.value, self.measure.target);
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let ms = |seconds: f64| format!("{:.1} ms", 1000.0 * seconds);
        let is_over = self.edge == Edge::Ended;
        let mut text = match self.kind {
            Kind::HitRatio => format!("the hit ratio is {}, the target {}", percent(value), percent(target)),
            Kind::Latency => format!("95 % of reads take up to {}, the target is {}", ms(value), ms(target)),
            Kind::Memory => {
                format!(
                    "{} of what may be kept is kept; the high water mark is {}",
                    percent(value),
                    percent(target)
                )
            }
            Kind::Evictions => format!("{value:.2} entries are evicted by read; more room would help"),
            Kind::Redis if is_over => "Redis is back".to_owned(),
            Kind::Redis => "Redis is away".to_owned(),
            Kind::Warming => format!("{} of warming requests fail", percent(value)),
            Kind::Acknowledgements => {
                format!(
                    "95 % of acknowledgements take up to {}, which is more than {}",
                    ms(value),
                    ms(target)
                )
            }
        };
        if is_over && matches!(self.kind, Kind::Evictions | Kind::Acknowledgements) {
            text.truncate(text.find([';', ',']).unwrap_or(text.len()));
        }
        if let Some(route) = self.measure.route.as_deref().filter(|_| !is_over) {
            text.push_str(&format!(", most of all because of {route}"));
        }
        if is_over { format!("resolved: {text}") } else { text }
    }

    /// What a webhook gets, from `node`. Latencies are in seconds, everything else is a share.
    pub fn json(&self, node: &str) -> Value {
        let began = self.since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let text = self.text();
        json!({
            "id": format!("{node}/{}/{began}/{}", self.kind.as_str(), self.edge.as_str()),
            "alert": self.kind.as_str(),
            "state": self.edge.as_str(),
            "value": self.measure.value,
            "target": self.measure.target,
            "route": self.measure.route.as_deref(),
            "node": node,
            "since": rfc3339(self.since),
            "at": rfc3339(self.at),
            "text": format!("Larder on {node}: {text}"),
        })
    }
}

/// A time as JSON has it.
pub fn rfc3339(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::alert::{Measure, Side};
    use std::time::Duration;

    fn notice(kind: Kind, edge: Edge) -> Notice {
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(60);
        let measure = Measure { side: Side::Beyond, value: 0.5, target: 0.9, route: Some("/a/{id}".into()) };
        Notice { kind, edge, measure, since, at: since + Duration::from_secs(60) }
    }

    #[test]
    fn a_webhook_gets_all_that_there_is_to_say() {
        let json = notice(Kind::HitRatio, Edge::Began).json("pod-1:8080");
        assert_eq!(
            json,
            json!({
                "id": "pod-1:8080/hit-ratio/60000/firing",
                "alert": "hit-ratio",
                "state": "firing",
                "value": 0.5,
                "target": 0.9,
                "route": "/a/{id}",
                "node": "pod-1:8080",
                "since": "1970-01-01T00:01:00Z",
                "at": "1970-01-01T00:02:00Z",
                "text": "Larder on pod-1:8080: the hit ratio is 50.0 %, the target 90.0 %, most of all because of /a/{id}",
            })
        );
    }

    #[test]
    fn what_begins_and_what_ends_are_told_in_different_words() {
        for kind in Kind::ALL {
            let (began, ended) = (notice(kind, Edge::Began), notice(kind, Edge::Ended));
            assert!(!began.text().contains("resolved") && ended.text().starts_with("resolved: "), "{kind:?}");
            assert!(!ended.text().contains("would help") && !ended.text().contains("because of"), "{kind:?}");
            assert_ne!(began.json("n")["id"], ended.json("n")["id"]);
        }
    }
}
