//! The values of warm tasks: targets, schedules, zones, pages, origins, parameters.
//!
//! Invariant: a value is either exactly what was written or refused with what to write instead.

use std::time::SystemTime;

use croner::Cron;
use http::HeaderValue;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::config::credential::WarmPath;
use crate::config::problem::Source;
use crate::config::reader::{Reader, map_schema};
use crate::config::shape::{At, Entry, Refusal, Scalar, Shape, Words, choice};
use crate::config::tree::Node;
use crate::warm::paging::Pages;
use crate::warm::pattern::Pattern;
use crate::warm::schedule::occurrence;

/// What a task gets: a path, with placeholders or without.
#[derive(Clone, Debug)]
pub(crate) struct WarmTarget(pub(crate) Pattern);

impl Scalar for WarmTarget {
    const WHAT: &'static str = "a path";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let flaw = |flaw| Refusal::new(format!("`{text}`: {flaw}"), "write e.g. /api/projects/{id}");
        let pattern = Pattern::parse(text).map_err(flaw)?;
        let filled = pattern
            .names()
            .iter()
            .fold(text.to_owned(), |filled, name| filled.replace(&format!("{{{name}}}"), "x"));
        // A problem names what was written.
        WarmPath::parse(&filled).map_err(|refusal| Refusal {
            message: refusal.message.replace(&filled, text),
            hint: refusal.hint.replace(&filled, text),
        })?;
        Ok(Self(pattern))
    }

    fn show(&self) -> String {
        self.0.as_str().to_owned()
    }
}

/// A pattern of cron.
#[derive(Clone, Debug)]
pub(crate) struct CronText(pub(crate) Box<Cron>, String);

impl Scalar for CronText {
    const WHAT: &'static str = "a pattern of cron";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let hint = "write minute, hour, day, month and weekday: \"*/10 7-19 * * MON-FRI\"";
        let cron: Cron = text
            .parse()
            .map_err(|why| Refusal::new(format!("`{text}` is no pattern of cron: {why}"), hint))?;
        if occurrence(&cron, &TimeZone::UTC, SystemTime::UNIX_EPOCH).is_none() {
            return Err(Refusal::new(format!("`{text}` never comes round"), hint));
        }
        Ok(Self(Box::new(cron), text.to_owned()))
    }

    fn show(&self) -> String {
        self.1.clone()
    }
}

/// A time zone.
#[derive(Clone, Debug)]
pub(crate) struct Zone(pub(crate) TimeZone, String);

impl Scalar for Zone {
    const WHAT: &'static str = "a time zone";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let zone = TimeZone::get(text).map_err(|_| {
            Refusal::new(
                format!("`{text}` is no time zone"),
                "write its IANA name, e.g. Europe/Berlin or UTC",
            )
        })?;
        Ok(Self(zone, text.to_owned()))
    }

    fn show(&self) -> String {
        self.1.clone()
    }
}

/// How a list goes on.
#[derive(Clone, Debug)]
pub(crate) struct PagesText(pub(crate) Pages);

impl Scalar for PagesText {
    const WHAT: &'static str = "link or query:NAME";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        };
        match text.split_once(':') {
            None if text == "link" => Ok(Self(Pages::Link)),
            Some(("query", name)) if is_name(name) => Ok(Self(Pages::Query(name.to_owned()))),
            _ => Err(Refusal::new(
                format!("`{text}` does not say how a list goes on"),
                "write link, or query:page",
            )),
        }
    }

    fn show(&self) -> String {
        match &self.0 {
            Pages::Query(name) => format!("query:{name}"),
            Pages::One | Pages::Link => "link".to_owned(),
        }
    }
}

/// An `Origin`, or none.
#[derive(Clone, Debug)]
pub(crate) struct WarmOrigin(pub(crate) Option<HeaderValue>);

impl Scalar for WarmOrigin {
    const WHAT: &'static str = "an origin, or none";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let wrong =
            || Refusal::new(format!("`{text}` is not an origin"), "write https://app.example.com, or none");
        if text == "none" {
            return Ok(Self(None));
        }
        let (scheme, host) = text.split_once("://").ok_or_else(wrong)?;
        let is_origin =
            ["http", "https"].contains(&scheme) && !host.is_empty() && !host.contains(['/', '?', '#']);
        let value = HeaderValue::from_str(text).ok().filter(|_| is_origin);
        value.map(|value| Self(Some(value))).ok_or_else(wrong)
    }

    fn show(&self) -> String {
        self.0.as_ref().and_then(|value| value.to_str().ok()).unwrap_or("none").to_owned()
    }
}

/// For whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForUsers {
    /// Those who were here lately.
    Active,
}
choice!(ForUsers, "`active`", { "active" => ForUsers::Active });

/// `params:` of a task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(pub(crate) Vec<(String, At<Words<String>>)>);

impl Shape for Params {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let mut params = Vec::new();
        for (key, value) in reader.entries(node)? {
            params.extend(reader.value(key, value).map(|values| (key.text.clone(), values)));
        }
        Some(Self(params))
    }

    fn show(&self, path: &[String], _: Source, out: &mut Vec<Entry>) {
        for (name, values) in &self.0 {
            values.value.show(&[path, std::slice::from_ref(name)].concat(), values.source, out);
        }
    }

    fn schema() -> Value {
        map_schema("^[A-Za-z0-9_]+$", &<Words<String> as Shape>::schema())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads<T: Scalar>(good: &[&str], bad: &[&str]) {
        for text in good {
            assert_eq!(T::parse(text).unwrap_or_else(|why| panic!("{why:?}")).show(), *text);
        }
        for text in bad {
            assert!(T::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_read_is_shown_as_it_was_written() {
        reads::<WarmTarget>(
            &["/a", "/a/{id}?x={x}"],
            &["a/{id}", "//h/{id}", "http://a/{id}", "/a/{", "/a/{a b}", "/a b"],
        );
        reads::<CronText>(
            &["*/10 7-19 * * MON-FRI", "0 0 1 1 *", "30 */5 * * * *"],
            &["", "* *", "0 0 30 2 *", "61 * * * *"],
        );
        reads::<Zone>(&["UTC", "Europe/Berlin"], &["Mars/Olympus", ""]);
        reads::<PagesText>(&["link", "query:page"], &["next", "query:", "query:a&b"]);
        reads::<WarmOrigin>(
            &["none", "https://app.example.com", "http://localhost:3000"],
            &["app.example.com", "ftp://a", "https://a/b"],
        );
        reads::<ForUsers>(&["active"], &["all"]);
    }
}
