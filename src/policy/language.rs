//! `Accept-Language`: which requests ask for the same, and what a fill asks for (RFC 9110 §12.5.4).
//!
//! Invariant: two requests that the origin may tell apart stay apart, as far as `languages:` does not say that it cannot;
//! case, blanks and exact weights never part them. It refuses to know which languages there are. Nothing here allocates
//! but what is stored.

use std::cmp::Reverse;
use std::sync::Arc;

use http::header::{ACCEPT_LANGUAGE, CONTENT_LANGUAGE, HeaderMap, HeaderValue};
use smallvec::SmallVec;

/// Most languages of a route: as many as there are variants of a key.
pub const MOST_LISTED: usize = 16;

/// Most language ranges of a request that are looked at where a route lists its languages.
const MOST_RANGES: usize = 64;

/// `languages:` of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Languages {
    /// Requests are alike that prefer the same languages in the same order, and of equal weights the one named first
    /// (default): common negotiators take the first of equals, although RFC 9110 §12.5.4 says that nobody can rely on it.
    #[default]
    InOrder,
    /// The same, but that the order of equal weights does not count.
    AnyOrder,
    /// The languages that the origin has, in the order of its preference, at most [`MOST_LISTED`]: requests are alike
    /// that are served best by the same one, and a fill asks for it alone.
    Listed(Arc<[Box<str>]>),
}

impl Languages {
    /// Leaves, of what a fill asks for, the listed language that serves best; no field at all if none does.
    pub fn narrow(&self, headers: &mut HeaderMap) {
        let Self::Listed(listed) = self else { return };
        let best = best(listed, headers).and_then(|index| HeaderValue::from_str(&listed[index]).ok());
        match best {
            Some(best) => {
                headers.insert(ACCEPT_LANGUAGE, best);
            }
            None => {
                headers.remove(ACCEPT_LANGUAGE);
            }
        }
    }
}

/// What a response that varies by `Accept-Language` was fetched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Preferences in this order.
    Preferences {
        ordered: Ordered,
        /// As spelled by [`Preferences::spelled`]; `None`: the request did not say.
        spelled: Option<Box<[u8]>>,
        /// The one language that the response says it is in.
        answered: Option<Box<str>>,
    },
    /// The best of the listed languages, by its place.
    Best { listed: Arc<[Box<str>]>, best: Option<usize> },
}

/// What was asked for cannot be asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unspoken;

/// Whether the order of equal weights counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ordered {
    Always,
    ByWeight,
}

impl Asked {
    /// Of the request that fetched `response`.
    pub(crate) fn of(languages: &Languages, request: &HeaderMap, response: &HeaderMap) -> Self {
        let ordered = match languages {
            Languages::Listed(listed) => {
                return Self::Best { listed: Arc::clone(listed), best: best(listed, request) };
            }
            Languages::InOrder => Ordered::Always,
            Languages::AnyOrder => Ordered::ByWeight,
        };
        let spelled = Preferences::of(request, ordered).map(|asked| asked.spelled().collect());
        Self::Preferences { ordered, spelled, answered: one_language(response) }
    }

    /// Whether a request asks for the same; or for nothing more than for the language that the response is in.
    pub(crate) fn serves(&self, request: &HeaderMap) -> bool {
        match self {
            Self::Best { listed, best: wanted } => best(listed, request) == *wanted,
            Self::Preferences { ordered, spelled, answered } => {
                match (Preferences::of(request, *ordered), spelled) {
                    (None, None) => true,
                    (None, Some(_)) => false,
                    (Some(asks), spelled) => {
                        answered.as_ref().is_some_and(|answered| asks.prefers(answered))
                            || spelled.as_ref().is_some_and(|wanted| asks.is_spelled(wanted))
                    }
                }
            }
        }
    }

    /// The `Accept-Language` of a request that would fetch it again; `None`: none.
    ///
    /// # Errors
    /// [`Unspoken`]: it was asked for with weights that are not kept.
    pub(crate) fn asked(&self) -> Result<Option<HeaderValue>, Unspoken> {
        let value = match self {
            Self::Best { listed, best } => best.map(|index| listed[index].as_bytes()),
            Self::Preferences { spelled, .. } => spelled.as_deref(),
        };
        let value = value.map(|value| if value.contains(&b';') { Err(Unspoken) } else { Ok(value) });
        value.transpose()?.map(|value| HeaderValue::from_bytes(value).map_err(|_| Unspoken)).transpose()
    }

    /// Bytes on the heap; a list is its route's.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Best { .. } => 0,
            Self::Preferences { spelled, answered, .. } => {
                spelled.as_ref().map_or(0, |spelled| spelled.len())
                    + answered.as_ref().map_or(0, |tag| tag.len())
            }
        }
    }
}

/// A language range and its weight in thousandths.
type Range<'a> = (u16, &'a [u8]);

/// The language ranges of a request, best first.
struct Preferences<'a> {
    ranges: SmallVec<[Range<'a>; 16]>,
    ordered: Ordered,
}

impl<'a> Preferences<'a> {
    /// `None`: the request does not say.
    fn of(request: &'a HeaderMap, ordered: Ordered) -> Option<Self> {
        if !request.contains_key(ACCEPT_LANGUAGE) {
            return None;
        }
        let mut ranges: SmallVec<[Range<'_>; 16]> = ranges(request).collect();
        match ordered {
            // Stable: equal weights keep their order.
            Ordered::Always => ranges.sort_by_key(|(weight, _)| Reverse(*weight)),
            Ordered::ByWeight => {
                ranges.sort_by(|(weight, range), (other_weight, other)| {
                    other_weight.cmp(weight).then_with(|| lower(range).cmp(lower(other)))
                });
                ranges.dedup_by(|one, other| one.0 == other.0 && one.1.eq_ignore_ascii_case(other.1));
            }
        }
        Some(Self { ranges, ordered })
    }

    /// In lower case, parted by commas; what is refused (`q=0`) begins with a semicolon, which no range holds. Where only
    /// weights order, a semicolon parts what weighs less.
    fn spelled(&self) -> impl Iterator<Item = u8> {
        let before = std::iter::once(None).chain(self.ranges.iter().map(|(weight, _)| Some(*weight)));
        before.zip(&self.ranges).flat_map(|(before, (weight, range))| {
            let between = before.map(|before| match self.ordered {
                Ordered::ByWeight if before != *weight => b';',
                Ordered::ByWeight | Ordered::Always => b',',
            });
            let refused = (*weight == 0).then_some(b';');
            between.into_iter().chain(refused).chain(lower(range))
        })
    }

    fn is_spelled(&self, wanted: &[u8]) -> bool {
        self.spelled().eq(wanted.iter().copied())
    }

    /// Whether `language` is what the request prefers to everything else.
    fn prefers(&self, language: &str) -> bool {
        match self.ranges.as_slice() {
            [] => false,
            [(weight, best), rest @ ..] => {
                let next = rest.first().map_or(0, |(weight, _)| *weight);
                *weight > next && best.eq_ignore_ascii_case(language.as_bytes())
            }
        }
    }
}

/// What is known of one listed language.
#[derive(Clone, Copy, Default)]
struct Standing {
    /// The length and weight of the longest range that names it, or what it is a kind of.
    named: Option<(usize, u16)>,
    /// The greatest weight of a range that is cut down to it.
    cut: Option<u16>,
}

/// The place of the listed language that serves a request best; of equals the first. A range speaks for the languages
/// that it is a prefix of (`en` for `en-GB`), the longest of several (RFC 4647 §3.3.1); one that speaks for none is cut
/// from its end until it is one (`de-AT` for `de`, §3.4); `*` speaks for what nothing else does.
fn best(listed: &[Box<str>], request: &HeaderMap) -> Option<usize> {
    let (mut standing, mut others) = ([Standing::default(); MOST_LISTED], 0);
    for (weight, range) in ranges(request).take(MOST_RANGES) {
        if range == b"*" {
            others = weight;
            continue;
        }
        let (mut speaks_for_one, mut cut): (bool, Option<usize>) = (false, None);
        for (index, (tag, standing)) in listed.iter().zip(&mut standing).enumerate() {
            if is_kind_of(tag.as_bytes(), range) {
                speaks_for_one = true;
                standing.named = standing.named.max(Some((range.len(), weight)));
            } else if is_kind_of(range, tag.as_bytes())
                && cut.is_none_or(|longest| listed[longest].len() < tag.len())
            {
                cut = Some(index);
            }
        }
        if let (false, Some(index), 1..) = (speaks_for_one, cut, weight) {
            standing[index].cut = standing[index].cut.max(Some(weight));
        }
    }
    let quality = |standing: &Standing| match (standing.named.map(|(_, weight)| weight), standing.cut) {
        (Some(0), _) => 0, // §12.4.2: not acceptable
        (None, None) => others,
        (named, cut) => named.max(cut).unwrap_or(0),
    };
    let ranked =
        listed.iter().zip(&standing).enumerate().map(|(index, (_, of))| (quality(of), Reverse(index)));
    ranked.max().filter(|(quality, _)| *quality > 0).map(|(_, Reverse(index))| index)
}

/// Whether `tag` is `range` or begins with it and a hyphen.
fn is_kind_of(tag: &[u8], range: &[u8]) -> bool {
    tag.get(..range.len()).is_some_and(|start| start.eq_ignore_ascii_case(range))
        && tag.get(range.len()).is_none_or(|next| *next == b'-')
}

fn ranges(request: &HeaderMap) -> impl Iterator<Item = Range<'_>> {
    let lines = request.get_all(ACCEPT_LANGUAGE).iter();
    let members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    members.filter_map(|member| {
        let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let range = parts.next().filter(|range| !range.is_empty())?;
        Some((parts.find_map(weight).unwrap_or(1000), range))
    })
}

/// `q=0.5` in thousandths (RFC 9110 §12.4.2); `None` if it is another parameter; unreadable is 1.
fn weight(parameter: &[u8]) -> Option<u16> {
    let value = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))?;
    let value: Option<f32> = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
    let bounded = value.filter(|q| q.is_finite()).unwrap_or(1.0).clamp(0.0, 1.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
    Some((bounded * 1000.0).round() as u16)
}

fn lower(range: &[u8]) -> impl Iterator<Item = u8> {
    range.iter().map(u8::to_ascii_lowercase)
}

fn one_language(response: &HeaderMap) -> Option<Box<str>> {
    let mut lines = response.get_all(CONTENT_LANGUAGE).iter();
    let (Some(only), None) = (lines.next(), lines.next()) else { return None };
    let tag = only.to_str().ok()?.trim();
    let is_one = !tag.is_empty() && !tag.contains([',', ' ']);
    is_one.then(|| tag.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::head;

    fn asking(said: &str) -> HeaderMap {
        head(&[("accept-language", said)])
    }

    /// Whether what was fetched for `first` serves `then`.
    fn alike(languages: &Languages, first: &str, then: &str) -> bool {
        Asked::of(languages, &asking(first), &HeaderMap::new()).serves(&asking(then))
    }

    fn listed(tags: &[&str]) -> Languages {
        Languages::Listed(tags.iter().map(|tag| Box::from(*tag)).collect())
    }

    /// What a fill for `said` asks an origin for that has `tags`.
    fn narrowed(tags: &[&str], said: &str) -> Option<String> {
        let mut headers = asking(said);
        listed(tags).narrow(&mut headers);
        headers.get(ACCEPT_LANGUAGE).map(|one| one.to_str().unwrap().to_owned())
    }

    #[test]
    fn case_blanks_and_exact_weights_do_not_part() {
        let plain = "en-US,en;q=0.9,de;q=0.8";
        for same in ["EN-us , en;q=0.5 ,, de; q=0.3", "de;q=0.1, en-us;q=1.0, en;q=0.2"] {
            assert!(alike(&Languages::InOrder, plain, same), "{same}");
            assert!(alike(&Languages::AnyOrder, plain, same), "{same}");
        }
        assert!(alike(&Languages::InOrder, "en;q=nan, de;q=0", "en;q=7, de;q=-1"));
    }

    #[test]
    fn lines_are_one_list() {
        let lines = head(&[("accept-language", "en"), ("accept-language", "de;q=0.5")]);
        for languages in [Languages::InOrder, Languages::AnyOrder, listed(&["de", "en"])] {
            let asked = Asked::of(&languages, &lines, &HeaderMap::new());
            assert!(asked.serves(&asking("en, de;q=0.5")) && asked.serves(&lines), "{languages:?}");
            assert!(!asked.serves(&asking("de")), "{languages:?}");
        }
    }

    #[test]
    fn the_order_of_preference_parts() {
        for languages in [Languages::InOrder, Languages::AnyOrder] {
            for other in ["de;q=0.9, en", "en, de;q=0", "en", "en, de, fr;q=0.5", "en, de;q=0.5", ""] {
                let first = if other.starts_with("de;") { "en;q=0.9, de" } else { "de, en" };
                assert!(!alike(&languages, first, other), "{languages:?} {other}");
            }
            assert!(!alike(&languages, "en, de;q=0", "en, de;q=0.001"), "{languages:?}");
            assert!(!alike(&languages, "en, de;q=0", "en, !de"), "{languages:?}");
        }
    }

    #[test]
    fn only_in_any_order_the_order_of_equal_weights_does_not_count() {
        for (one, other) in [
            ("en, de", "de, en"),
            ("fr, en;q=0.5, DE;q=0.5", "de;q=0.4, fr, en;q=0.4"),
            ("en, de, en", "de, en"),
        ] {
            assert!(alike(&Languages::AnyOrder, one, other), "{one} | {other}");
            assert!(!alike(&Languages::InOrder, one, other), "{one} | {other}");
        }
    }

    #[test]
    fn a_request_that_says_nothing_is_like_another_that_says_nothing() {
        for languages in [Languages::InOrder, Languages::AnyOrder] {
            let silent = Asked::of(&languages, &HeaderMap::new(), &HeaderMap::new());
            assert!(silent.serves(&HeaderMap::new()) && !silent.serves(&asking("")), "RFC 9111 §4.1");
            assert!(!alike(&languages, "en", "") && alike(&languages, "", " , "));
        }
        let silent = Asked::of(&listed(&["en"]), &HeaderMap::new(), &HeaderMap::new());
        assert!(
            silent.serves(&HeaderMap::new()) && silent.serves(&asking("fr")) && silent.serves(&asking(""))
        );
    }

    #[test]
    fn one_language_is_preferred_only_if_no_other_weighs_as_much() {
        let prefers = |said, language| {
            Preferences::of(&asking(said), Ordered::Always).is_some_and(|asks| asks.prefers(language))
        };
        assert!(prefers("fr;q=0.5, de;q=1.0", "de") && prefers("DE", "de"));
        assert!(!prefers("en, de", "en"));
        assert!(!prefers("de;q=0", "de"));
        assert!(!prefers("en, de;q=0.5", "de"));
        assert!(!prefers("", ""));
    }

    #[test]
    fn a_fill_asks_for_the_listed_language_that_serves_best() {
        let cases: &[(&[&str], &str, Option<&str>)] = &[
            (&["en", "de"], "de", Some("de")),
            (&["en", "de"], "DE-at, en;q=0.9", Some("de")),
            (&["en", "de"], "de-AT-1996;q=0.5, fr", Some("de")),
            (&["en", "de"], "en-US,en;q=0.9,de;q=0.8", Some("en")),
            (&["en", "de"], "fr, it", None),
            (&["en", "de"], "", None),
            (&["en", "de"], "en;q=0, de;q=0", None),
            // equals: the origin's order
            (&["en", "de"], "de, en", Some("en")),
            (&["de", "en"], "de-AT, en", Some("de")),
            (&["en", "de"], "*", Some("en")),
            (&["en", "de"], "fr, *;q=0.1", Some("en")),
            // a star speaks for what nothing else does
            (&["en", "de"], "en;q=0.2, *;q=0.5", Some("de")),
            (&["en", "de"], "en;q=0, *", Some("de")),
            (&["en", "de"], "de, *;q=0", Some("de")),
            (&["en", "de"], "fr, *;q=0", None),
            // a short range speaks for every kind, a longer one for its own
            (&["en-US", "en-GB"], "en", Some("en-US")),
            (&["en-US", "en-GB"], "en-gb, en;q=0.9", Some("en-GB")),
            (&["en-US", "en-GB"], "en, en-US;q=0", Some("en-GB")),
            (&["en-US", "en-GB"], "en;q=0, en-GB;q=0.1", Some("en-GB")),
            // a long range is cut down only to the longest that is listed, and not to what is refused
            (&["zh", "zh-Hant"], "zh-Hant-TW", Some("zh-Hant")),
            (&["en", "en-GB"], "en-GB", Some("en-GB")),
            (&["en", "de"], "de-AT, de;q=0", None),
            (&["de"], "de-AT;q=0, *;q=0.5", Some("de")),
            (&["de"], "de-AT;q=0", None),
            (&["en", "de"], "de-AT, de;q=0.5, en;q=0.9", Some("de")),
            // no part of a word is a prefix
            (&["de"], "d, den", None),
            (&["den"], "de", None),
        ];
        for (tags, said, asked) in cases {
            assert_eq!(narrowed(tags, said).as_deref(), *asked, "{tags:?} {said}");
        }
        assert_eq!(listed(&[]), Languages::Listed(Arc::default()));
        assert_eq!(narrowed(&[], "en"), None);
    }

    #[test]
    fn requests_are_alike_that_are_served_best_by_the_same_listed_language() {
        let languages = listed(&["en", "de"]);
        assert!(alike(&languages, "de", "de-AT,de;q=0.9,en;q=0.8"));
        assert!(alike(&languages, "fr", "it, es;q=0.5"));
        assert!(!alike(&languages, "de", "en"));
        assert!(!alike(&languages, "fr", "en"));
    }

    #[test]
    fn a_fill_is_alike_the_request_that_it_is_for() {
        let languages = listed(&["en-GB", "de", "de-AT"]);
        for said in
            ["de-AT", "de-AT-1996, fr", "en", "*", "fr, *;q=0.3", "de-CH;q=0.2, en-US;q=0.1", "xx", ""]
        {
            let mut fill = asking(said);
            languages.narrow(&mut fill);
            assert!(Asked::of(&languages, &fill, &HeaderMap::new()).serves(&asking(said)), "{said}");
        }
    }

    #[test]
    fn unlisted_languages_are_asked_for_as_they_came() {
        for languages in [Languages::InOrder, Languages::AnyOrder] {
            let mut headers = asking("de, en");
            languages.narrow(&mut headers);
            assert_eq!(headers, asking("de, en"));
        }
    }
}
