//! Durations as the grammar writes them: `500ms`, `30s`, `1h30m`, `24h`, `7d`, `2w`; a bare number is seconds.
//!
//! Own code, because general parsers take `M` for a month and `y` for a year: a slip of case would keep an answer
//! for months. Invariant: what is shown reads back as the same value.

use std::time::Duration;

use serde_json::{Value, json};

use crate::config::shape::{Refusal, Scalar};

/// Longest duration: 2^31 seconds, as for delta-seconds (RFC 9111 §1.2.2).
const MAX: Duration = Duration::from_secs(1 << 31);

/// Units by falling size, in milliseconds.
const UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const HINT: &str = "write 500ms, 30s, 1h30m, 24h, 7d or 2w; a bare number is seconds";

impl Scalar for Duration {
    const WHAT: &'static str = "a duration";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text.starts_with('-') {
            return Err(Refusal::new(format!("`{text}` is negative"), HINT));
        }
        let no_duration = |hint: &str| Refusal::new(format!("`{text}` is not a duration"), hint);
        let seconds = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let millis = if seconds { whole(text, 1_000) } else { parts(text) };
        let millis = millis.map_err(|fault| match fault {
            Fault::Syntax => no_duration(&hint(text)),
            Fault::Overflow => too_long(text),
        })?;
        let duration = Self::from_millis(millis);
        if duration > MAX { Err(too_long(text)) } else { Ok(duration) }
    }

    fn show(&self) -> String {
        let mut millis = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        let mut text = String::new();
        for (unit, size) in UNITS {
            // weeks and days only where they come out even: 36h is no clearer as 1d12h
            if matches!(unit, "w" | "d") && !millis.is_multiple_of(size) {
                continue;
            }
            if millis >= size {
                text += &format!("{}{unit}", millis / size);
                millis %= size;
            }
        }
        if text.is_empty() { "0s".to_owned() } else { text }
    }

    fn schema() -> Value {
        json!({ "anyOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": "^([0-9]+|([0-9]+(ms|s|m|h|d|w))+)$|\\$\\{" },
        ] })
    }
}

/// A duration that cannot be zero: a timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeout(pub(crate) Duration);

impl Scalar for Timeout {
    const WHAT: &'static str = "a duration above zero";

    fn parse(text: &str) -> Result<Self, Refusal> {
        match <Duration as Scalar>::parse(text)? {
            Duration::ZERO => Err(Refusal::new("has to be longer than zero", HINT)),
            duration => Ok(Self(duration)),
        }
    }

    fn show(&self) -> String {
        Scalar::show(&self.0)
    }

    fn schema() -> Value {
        <Duration as Scalar>::schema()
    }
}

enum Fault {
    Syntax,
    Overflow,
}

fn whole(digits: &str, size: u64) -> Result<u64, Fault> {
    digits.parse::<u64>().ok().and_then(|n| n.checked_mul(size)).ok_or(Fault::Overflow)
}

/// The sum of `1h30m`, in milliseconds.
fn parts(text: &str) -> Result<u64, Fault> {
    let mut rest = text;
    let mut sum = 0_u64;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, tail) = tail.split_at(letters);
        let size = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, size)| *size);
        let (false, Some(size)) = (number.is_empty(), size) else { return Err(Fault::Syntax) };
        sum = sum.checked_add(whole(number, size)?).ok_or(Fault::Overflow)?;
        rest = tail;
    }
    if text.is_empty() { Err(Fault::Syntax) } else { Ok(sum) }
}

fn too_long(text: &str) -> Refusal {
    Refusal::new(format!("`{text}` is too long"), "at most 2^31 seconds, about 68 years")
}

/// What was probably meant.
fn hint(text: &str) -> String {
    let compact = text.replace(' ', "").to_ascii_lowercase();
    let words = [
        ("milliseconds", "ms"),
        ("millis", "ms"),
        ("msec", "ms"),
        ("seconds", "s"),
        ("second", "s"),
        ("secs", "s"),
        ("sec", "s"),
        ("minutes", "m"),
        ("minute", "m"),
        ("mins", "m"),
        ("min", "m"),
        ("hours", "h"),
        ("hour", "h"),
        ("hrs", "h"),
        ("hr", "h"),
        ("days", "d"),
        ("day", "d"),
        ("weeks", "w"),
        ("week", "w"),
    ];
    let mut plain = compact;
    for (word, unit) in words {
        plain = plain.replace(word, unit);
    }
    if let Some((minutes, seconds)) = plain.split_once(':')
        && [minutes, seconds].iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    {
        return format!("write {minutes}m{seconds}s, or {minutes}h{seconds}m");
    }
    if plain != text && parts(&plain).is_ok() { format!("write {plain}") } else { HINT.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Duration, Refusal> {
        <Duration as Scalar>::parse(text)
    }

    #[test]
    fn every_unit_is_read_and_a_bare_number_is_seconds() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
            ("2w", 1_209_600_000),
            ("3600", 3_600_000),
            ("0", 0),
            ("0s", 0),
            ("007", 7_000),
            ("2147483648", 2_147_483_648_000),
        ] {
            assert_eq!(parse(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_what_was_meant() {
        for (text, hint) in [
            ("30M", "write 30m"),
            ("30 s", "write 30s"),
            ("5min", "write 5m"),
            ("10 minutes", "write 10m"),
            ("1 hour", "write 1h"),
            ("1:30", "write 1m30s, or 1h30m"),
            ("1.5h", "write 500ms"),
            ("1y", "write 500ms"),
            ("abc", "write 500ms"),
            ("", "write 500ms"),
            ("h", "write 500ms"),
            ("1e3", "write 500ms"),
            ("-5s", "write 500ms"),
            ("+5s", "write 500ms"),
            ("é", "write 500ms"),
        ] {
            let refusal = parse(text).expect_err(text);
            assert!(refusal.hint.starts_with(hint), "{text}: {}", refusal.hint);
        }
        assert!(parse("-5s").unwrap_err().message.contains("negative"));
    }

    #[test]
    fn an_overflow_is_refused_and_never_wraps() {
        for text in ["2147483649", "99999999999999999999", "99999999999999999999w", "18446744073709551615w1w"]
        {
            assert!(parse(text).unwrap_err().message.contains("too long"), "{text}");
        }
    }

    #[test]
    fn a_timeout_is_never_zero() {
        assert!(Timeout::parse("0").is_err());
        assert_eq!(Timeout::parse("1ms").unwrap().0, Duration::from_millis(1));
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(millis in 0_u64..(1 << 31) * 1_000) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&Scalar::show(&duration)).unwrap(), duration);
        }

        #[test]
        fn no_text_panics(text in ".{0,12}") {
            let _ = parse(&text);
        }
    }
}
