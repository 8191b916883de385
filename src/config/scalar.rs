//! The plain values of the grammar: switches, counts, sizes, names, secrets, choices.
//!
//! Invariant: a value is either exactly what was written or refused with what to write instead; nothing is guessed.

use std::path::PathBuf;

use bytesize::ByteSize;
use http::HeaderName;
use serde_json::{Value, json};
use serde_json_path::JsonPath;

use crate::access_log::Access;
use crate::config::reader::no_choice;
use crate::config::shape::{Refusal, Scalar, choice};
use crate::flow::ServerError;
use crate::guard::Framing;
use crate::policy::{ClientNoCache, HeadRule, RangeRule, Scope, SetCookie, StoreErrors};
use crate::route::Mode;

/// `${…}` somewhere in a value, for schemas of values that are otherwise no text.
pub(crate) const PLACEHOLDER: &str = "\\$\\{";

choice!(Scope, "a scope", {
    "auto" => Scope::Auto, "public" => Scope::Public, "user" => Scope::User, "origin" => Scope::Origin,
});
choice!(ClientNoCache, "`ignore` or `honor`", {
    "ignore" => ClientNoCache::Ignore, "honor" => ClientNoCache::Honor,
});
choice!(SetCookie, "`refuse`, `strip` or `store`", {
    "refuse" => SetCookie::Refuse, "strip" => SetCookie::Strip, "store" => SetCookie::Store,
});
choice!(StoreErrors, "`listed` or `fresh`", {
    "listed" => StoreErrors::IfListed, "fresh" => StoreErrors::IfFresh,
});
choice!(Mode, "`cache` or `shadow`", { "cache" => Mode::Cache, "shadow" => Mode::Shadow });
choice!(HeadRule, "`get` or `forward`", { "get" => HeadRule::Get, "forward" => HeadRule::Forward });
choice!(RangeRule, "`whole` or `forward`", { "whole" => RangeRule::Whole, "forward" => RangeRule::Forward });
choice!(Framing, "`strict` or `lenient`", { "strict" => Framing::Strict, "lenient" => Framing::Lenient });
choice!(ServerError, "`invalidate` or `keep`", {
    "invalidate" => ServerError::Invalidate, "keep" => ServerError::Keep,
});

/// `origin_headers:` as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OriginWord {
    /// The origin's explicit word wins.
    Respect,
    /// The route's ttl wins.
    Override,
}
choice!(OriginWord, "`respect` or `override`", {
    "respect" => OriginWord::Respect, "override" => OriginWord::Override,
});

/// What of the origin's refusals a route sets aside by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overridden {
    /// `Cache-Control: no-store`.
    NoStore,
    /// `Cache-Control: private`.
    Private,
}
choice!(Overridden, "`no-store` or `private`", {
    "no-store" => Overridden::NoStore, "private" => Overridden::Private,
});

/// `defaults.unmatched:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmatched {
    /// Stored on the origin's word only, explicit or by heuristics (RFC 9111 §4.2.2).
    Origin,
    /// Never stored.
    Bypass,
}
choice!(Unmatched, "`origin` or `bypass`", { "origin" => Unmatched::Origin, "bypass" => Unmatched::Bypass });

/// `upgrades:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upgrades {
    /// WebSocket passes.
    Websocket,
    /// None does.
    Off,
}
choice!(Upgrades, "`websocket` or `off`", { "websocket" => Upgrades::Websocket, "off" => Upgrades::Off });

choice!(tracing::Level, "a level", {
    "error" => tracing::Level::ERROR,
    "warn" => tracing::Level::WARN,
    "info" => tracing::Level::INFO,
    "debug" => tracing::Level::DEBUG,
    "trace" => tracing::Level::TRACE,
});

impl Scalar for Access {
    const WHAT: &'static str = "what gets a line";

    fn parse(text: &str) -> Result<Self, Refusal> {
        match (text, text.parse::<f64>()) {
            ("all", _) => Ok(Self::All),
            ("errors", _) => Ok(Self::Errors),
            ("off", _) => Ok(Self::Off),
            (_, Ok(share)) if (0.0..=1.0).contains(&share) => Ok(Self::Sample(share)),
            (_, Ok(_)) => {
                Err(Refusal::new(format!("`{text}` is no share of requests"), "write 0 to 1, e.g. 0.01"))
            }
            (_, Err(_)) => Err(no_choice(text, Self::WHAT, &["all", "errors", "off", "0.01"])),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::Errors => "errors".to_owned(),
            Self::Off => "off".to_owned(),
            Self::Sample(share) => share.to_string(),
        }
    }

    fn schema() -> Value {
        json!({ "anyOf": [
            { "enum": ["all", "errors", "off"] },
            { "type": "number", "minimum": 0, "maximum": 1 },
            { "type": "string", "pattern": PLACEHOLDER },
        ] })
    }
}

impl Scalar for bool {
    const WHAT: &'static str = "true or false";

    fn parse(text: &str) -> Result<Self, Refusal> {
        match text.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            "yes" | "on" | "y" | "1" => Err(no_switch(text, "true")),
            "no" | "off" | "n" | "0" => Err(no_switch(text, "false")),
            _ => Err(Refusal::new(format!("`{text}` is neither true nor false"), "write true or false")),
        }
    }

    fn parse_outside(text: &str) -> Result<Self, Refusal> {
        match text {
            "1" => Ok(true),
            "0" => Ok(false),
            _ => Self::parse(text),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn schema() -> Value {
        json!({ "anyOf": [{ "type": "boolean" }, { "type": "string", "pattern": PLACEHOLDER }] })
    }
}

fn no_switch(text: &str, meant: &str) -> Refusal {
    let hint = format!("write {meant}: `{text}` was a switch in YAML 1.1 and is text in YAML 1.2");
    Refusal::new(format!("`{text}` is neither true nor false"), hint)
}

/// A whole number above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) u64);

impl Count {
    /// The same as a `usize`; on no machine of ours is a count cut.
    pub(crate) fn size(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Scalar for Count {
    const WHAT: &'static str = "a whole number above zero";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse::<u64>() {
            Ok(0) => Err(Refusal::new("has to be above zero", "write 1 or more")),
            Ok(n) if digits => Ok(Self(n)),
            Err(_) if digits => Err(Refusal::new(format!("`{text}` is too large"), "write fewer digits")),
            _ => {
                Err(Refusal::new(format!("`{text}` is not {}", Self::WHAT), "write digits only, e.g. 10000"))
            }
        }
    }

    fn show(&self) -> String {
        self.0.to_string()
    }

    fn schema() -> Value {
        json!({ "anyOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "string", "pattern": format!("^[0-9]+$|{PLACEHOLDER}") },
        ] })
    }
}

impl Scalar for i64 {
    const WHAT: &'static str = "a whole number";

    fn parse(text: &str) -> Result<Self, Refusal> {
        text.parse().map_err(|_| Refusal::new(format!("`{text}` is not {}", Self::WHAT), "write e.g. 100"))
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn schema() -> Value {
        json!({ "anyOf": [{ "type": "integer" }, { "type": "string", "pattern": PLACEHOLDER }] })
    }
}

/// A number of bytes, above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl Scalar for Size {
    const WHAT: &'static str = "a size";

    fn parse(text: &str) -> Result<Self, Refusal> {
        const HINT: &str = "write 512MiB, 64KB, 2GiB; a bare number is bytes";
        /// Largest size: beyond it the parser's arithmetic is no longer exact.
        const MAX: u64 = 1 << 50;
        if text.starts_with('-') {
            return Err(Refusal::new(format!("`{text}` is negative"), HINT));
        }
        match text.parse::<ByteSize>() {
            Ok(ByteSize(0)) => Err(Refusal::new("has to be above zero", HINT)),
            Ok(ByteSize(bytes)) if bytes <= MAX => Ok(Self(bytes)),
            Ok(_) => Err(Refusal::new(format!("`{text}` is too large"), "at most 1024TiB")),
            Err(_) => Err(Refusal::new(format!("`{text}` is not a size"), HINT)),
        }
    }

    fn show(&self) -> String {
        let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        let even = units.into_iter().find(|(_, size)| self.0.is_multiple_of(*size));
        even.map_or_else(|| self.0.to_string(), |(unit, size)| format!("{}{unit}", self.0 / size))
    }

    fn schema() -> Value {
        json!({ "anyOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "string", "pattern": format!("^[0-9.]+ ?([kKMGT]i?)?[bB]?$|{PLACEHOLDER}") },
        ] })
    }
}

impl Scalar for String {
    const WHAT: &'static str = "text";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() {
            Err(Refusal::new("is empty", "write something, or leave the key out"))
        } else {
            Ok(text.to_owned())
        }
    }

    fn show(&self) -> String {
        self.clone()
    }

    fn schema() -> Value {
        json!({ "type": ["string", "number", "boolean"] })
    }
}

impl Scalar for PathBuf {
    const WHAT: &'static str = "a file";

    fn parse(text: &str) -> Result<Self, Refusal> {
        String::parse(text).map(Self::from)
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Scalar for HeaderName {
    const WHAT: &'static str = "a header name";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let hint = "letters, digits and hyphens, e.g. X-Tenant-Id";
        text.parse().map_err(|_| Refusal::new(format!("`{text}` is not a header name"), hint))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Scalar for JsonPath {
    const WHAT: &'static str = "a JSONPath";

    fn parse(text: &str) -> Result<Self, Refusal> {
        Self::parse(text).map_err(|error| {
            Refusal::new(format!("`{text}` is not a JSONPath: {}", error.message()), "write e.g. $.status")
        })
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// `admin.cache_path`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CachePath(pub(crate) String);

impl Scalar for CachePath {
    const WHAT: &'static str = "a path";

    fn parse(text: &str) -> Result<Self, Refusal> {
        const TAKEN: [&str; 3] = ["v1", "client", "service"];
        let hint = "write e.g. /api/cache";
        let segments: Vec<&str> = text.strip_prefix('/').unwrap_or_default().split('/').collect();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        let is_plain =
            |segment: &&str| !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(plain);
        if !segments.iter().all(is_plain) {
            return Err(Refusal::new(format!("`{text}` is not a path of plain segments"), hint));
        }
        if TAKEN.contains(&segments[0]) {
            return Err(Refusal::new(
                format!("what begins with `/{}` is the admin API's own", segments[0]),
                hint,
            ));
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint<T: Scalar + std::fmt::Debug>(text: &str) -> String {
        T::parse(text).expect_err(text).hint
    }

    #[test]
    fn only_true_and_false_are_switches_in_a_file() {
        for (text, value) in [("true", true), ("True", true), ("FALSE", false)] {
            assert_eq!(bool::parse(text).unwrap(), value);
        }
        for (text, meant) in
            [("yes", "true"), ("on", "true"), ("1", "true"), ("no", "false"), ("Off", "false")]
        {
            assert!(hint::<bool>(text).contains(&format!("write {meant}")), "{text}");
        }
        assert!(bool::parse("ture").is_err());
    }

    #[test]
    fn a_variable_may_say_1_and_0() {
        assert!(bool::parse_outside("1").unwrap());
        assert!(!bool::parse_outside("0").unwrap());
        assert!(bool::parse_outside("TRUE").unwrap());
        assert!(bool::parse_outside("yes").is_err());
    }

    #[test]
    fn sizes_are_read_in_both_units_and_read_back() {
        for (text, bytes) in
            [("2MiB", 2 << 20), ("64KB", 64_000), ("64KiB", 65_536), ("1024", 1024), ("1.5GiB", 3 << 29)]
        {
            let size = Size::parse(text).unwrap();
            assert_eq!(size.0, bytes, "{text}");
            assert_eq!(Size::parse(&size.show()).unwrap(), size);
        }
        for text in ["", "0", "-1", "2 Foo", "MiB", "99999999999TiB", "1e99", "nan"] {
            assert!(Size::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_are_digits_above_zero() {
        assert_eq!(Count::parse("10000").unwrap().0, 10_000);
        for text in ["0", "-1", "+1", "1.5", "", "ten", "99999999999999999999"] {
            assert!(Count::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_slip_in_a_choice_is_answered_with_the_nearest_word() {
        assert_eq!(hint::<Scope>("pubic"), "did you mean `public`?");
        assert_eq!(hint::<Scope>("Auto"), "did you mean `auto`?");
        assert_eq!(hint::<OriginWord>("x"), "write one of: respect, override");
    }

    #[test]
    fn the_access_log_takes_words_and_shares() {
        assert_eq!(Access::parse("0.01").unwrap(), Access::Sample(0.01));
        assert_eq!(Access::parse("errors").unwrap(), Access::Errors);
        for text in ["1.01", "-0.1", "nan", "inf", "some"] {
            assert!(Access::parse(text).is_err(), "{text}");
        }
    }
}
