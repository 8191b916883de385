//! A share of something, in percent or as a number.

use serde_json::{Value, json};

use crate::config::scalar::PLACEHOLDER;
use crate::config::shape::{Refusal, Scalar};

/// A share: `0.1%`, or `0.001`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share(pub(crate) f64);

impl Scalar for Share {
    const WHAT: &'static str = "a share";

    fn parse(text: &str) -> Result<Self, Refusal> {
        const HINT: &str = "write 0% to 100%, e.g. 0.1%, or 0 to 1, e.g. 0.001";
        let (digits, whole) = text.strip_suffix('%').map_or((text, 1.0), |digits| (digits.trim_end(), 100.0));
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let share = digits.parse::<f64>().ok().filter(|_| is_plain).map(|share| share / whole);
        match share {
            Some(share) if (0.0..=1.0).contains(&share) => Ok(Self(share)),
            Some(_) => Err(Refusal::new(format!("`{text}` is more than all"), HINT)),
            None => Err(Refusal::new(format!("`{text}` is not {}", Self::WHAT), HINT)),
        }
    }

    fn show(&self) -> String {
        // As many digits as it was written with: a hundredth of a share is not quite what it was.
        let percent = format!("{:.10}", self.0 * 100.0);
        format!("{}%", percent.trim_end_matches('0').trim_end_matches('.'))
    }

    fn schema() -> Value {
        json!({ "anyOf": [
            { "type": "number", "minimum": 0, "maximum": 1 },
            { "type": "string", "pattern": format!(r"^[0-9.]+\s*%?$|{PLACEHOLDER}") },
        ] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage_or_a_number_and_reads_back_as_it_is_shown() {
        for (text, share, shown) in [
            ("0.1%", 0.001, "0.1%"),
            ("0.001", 0.001, "0.1%"),
            ("1 %", 0.01, "1%"),
            ("0", 0.0, "0%"),
            ("100%", 1.0, "100%"),
        ] {
            let parsed = Share::parse(text).unwrap();
            assert!((parsed.0 - share).abs() < 1e-12, "{text}");
            assert_eq!(parsed.show(), shown);
            assert!((Share::parse(shown).unwrap().0 - share).abs() < 1e-12);
        }
        for wrong in ["", "%", "2", "101%", "-1%", "inf", "some", "1e-3"] {
            assert!(Share::parse(wrong).is_err(), "{wrong}");
        }
    }
}
