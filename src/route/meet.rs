//! Whether two things that may be outdated have anything in common. Pure.
//!
//! Invariant: what has something in common is told so; where that cannot be known, the answer is yes.

use crate::route::reach::{Gaps, Item, Paths};

/// Whether there may be something that both reach.
pub fn items(one: &Item, other: &Item) -> bool {
    match (one, other) {
        (Item::Tag(tag), item) | (item, Item::Tag(tag)) => item.covers(tag),
        (Item::All, _) | (_, Item::All) => true,
        (Item::Tags(one), Item::Tags(other)) => gaps(one, other),
        (Item::Paths { host: one, paths: these }, Item::Paths { host: other, paths: those }) => {
            (one.is_none() || other.is_none() || one == other) && paths(these, those)
        }
        (Item::Tags(_), Item::Paths { .. }) | (Item::Paths { .. }, Item::Tags(_)) => false,
    }
}

fn paths(these: &Paths, those: &Paths) -> bool {
    match (these, those) {
        (Paths::One(path), paths) | (paths, Paths::One(path)) => paths.contain(path),
        (Paths::Glob(these), Paths::Glob(those)) => gaps(these, those),
        _ => {
            let (one, other) = (these.prefix(), those.prefix());
            one.starts_with(&other) || other.starts_with(&one)
        }
    }
}

/// Whether some text matches both: with a gap in each, what stands between the ends can always be made to fit.
pub(crate) fn gaps(one: &Gaps, other: &Gaps) -> bool {
    match (one.literals(), other.literals()) {
        ([only], _) => other.matches(only),
        (_, [only]) => one.matches(only),
        ([first, .., last], [begin, .., end]) => {
            (first.starts_with(begin.as_str()) || begin.starts_with(first.as_str()))
                && (last.ends_with(end.as_str()) || end.ends_with(last.as_str()))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_something_in_common_meets() {
        for (one, other, common) in [
            ("a:*", "*:1", true),
            ("a:*", "a:b:*", true),
            ("a:*", "b:*", false),
            ("*:1", "*:2", false),
            ("a", "a*", true),
            ("/a/{x}", "/a/b", true),
            ("/a/{x}", "/b/{x}", false),
            ("/a/{x}", "a*", false),
        ] {
            let item = |word: &str| Item::parse(word).unwrap();
            assert_eq!(items(&item(one), &item(other)), common, "{one} {other}");
            assert_eq!(items(&item(other), &item(one)), common, "{other} {one}");
            assert!(items(&item(one), &Item::All), "{one}");
        }
    }
}
