//! `Accept-Language`, normalised: which languages, in which order of preference (RFC 9110 §12.5.4).
//!
//! Invariant: two requests that an origin could tell apart by order of preference stay apart; case, blanks and the exact
//! weights do not part them. Of equal weights the one named first is preferred, as most origins read it.

use http::header::{ACCEPT_LANGUAGE, HeaderMap};

/// The preferences of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Languages {
    /// Tags in lower case, best first, comma-separated; what is refused (`q=0`) last, with `!`.
    ordered: Box<str>,
    /// Whether one is preferred to all others.
    one_is_best: bool,
}

impl Languages {
    /// `None`: the request does not say.
    pub(crate) fn of(request: &HeaderMap) -> Option<Self> {
        let mut wanted: Vec<(u16, String)> = Vec::new();
        let mut lines = request.get_all(ACCEPT_LANGUAGE).iter().peekable();
        lines.peek()?;
        for member in lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')) {
            let mut parts = member.split(|byte| *byte == b';').map(|part| part.trim_ascii());
            let tag = String::from_utf8_lossy(parts.next().unwrap_or_default()).to_ascii_lowercase();
            if !tag.is_empty() {
                wanted.push((parts.find_map(weight).unwrap_or(1000), tag));
            }
        }
        wanted.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight)); // stable: equal weights keep their order
        let one_is_best = match wanted.as_slice() {
            [only] => only.0 > 0,
            [best, second, ..] => best.0 > second.0,
            [] => false,
        };
        let named =
            |(weight, tag): &(u16, String)| if *weight == 0 { format!("!{tag}") } else { tag.clone() };
        let ordered = wanted.iter().map(named).collect::<Vec<_>>().join(",").into();
        Some(Self { ordered, one_is_best })
    }

    /// Whether `language` is what the request prefers to everything else.
    pub(crate) fn prefers(&self, language: &str) -> bool {
        self.one_is_best && self.ordered.split(',').next() == Some(language)
    }

    /// Bytes on the heap.
    pub(crate) fn size(&self) -> usize {
        self.ordered.len()
    }
}

/// `q=0.5` in thousandths (RFC 9110 §12.4.2); `None` if it is another parameter; unreadable is 1.
fn weight(parameter: &[u8]) -> Option<u16> {
    let value = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))?;
    let value: Option<f32> = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
    let bounded = value.filter(|q| q.is_finite()).unwrap_or(1.0).clamp(0.0, 1.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
    Some((bounded * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::head;

    fn of(said: &str) -> Languages {
        Languages::of(&head(&[("accept-language", said)])).unwrap()
    }

    #[test]
    fn case_blanks_and_exact_weights_do_not_part() {
        let plain = of("en-US,en;q=0.9,de;q=0.8");
        for alike in ["EN-us , en;q=0.5 ,, de; q=0.3", "de;q=0.1, en-us;q=1.0, en;q=0.2"] {
            assert_eq!(of(alike), plain, "{alike}");
        }
    }

    #[test]
    fn the_order_of_preference_parts() {
        assert_ne!(of("en, de"), of("de, en"));
        assert_ne!(of("en, de"), of("en, de;q=0"));
        assert_ne!(of("en, de"), of("en"));
        assert_eq!(Languages::of(&HeaderMap::new()), None);
    }

    #[test]
    fn one_language_is_preferred_only_if_no_other_weighs_as_much() {
        assert!(of("fr;q=0.5, de;q=1.0").prefers("de"));
        assert!(of("de").prefers("de"));
        assert!(!of("en, de").prefers("en"));
        assert!(!of("de;q=0").prefers("de"));
        assert!(!of("en, de;q=0.5").prefers("de"));
        assert!(!of("").prefers(""));
    }
}
