//! What could be better, in words, with the numbers that it rests on.
//!
//! Invariant: nothing is said of what was seen less than [`FEWEST`] times.

use crate::monitor::usage::report::{OfRoute, Recommendation};

/// Fewest lives, requests or comparisons that a word rests on.
pub const FEWEST: u64 = 50;

/// The share from which on something is the rule.
const NEARLY_ALL: f64 = 0.9;

/// The share from which on something is worth a word.
const NOTEWORTHY: f64 = 0.1;

/// By how much a ttl has to differ from the advised one to be worth a word.
const APART: f64 = 2.0;

/// What could be better of `route`; `needless` are its query parameters that never made a difference, and how often that was
/// looked at; `target` is the stale share that is put up with.
pub fn recommend(route: &OfRoute, needless: &[(String, u64)], target: f64) -> Vec<Recommendation> {
    let said = [
        never_read(route),
        ended_early(route),
        no_freshness(route),
        another_ttl(route, target),
        always_changed(route),
        stale(route, target),
        volatile(route),
    ];
    let ignored = needless.iter().map(|(name, seen)| {
        let text = format!(
            "`ignore_query: {name}`: it tells keys apart and never made a difference: {seen} pairs of bodies that differ in it alone \
             were the same."
        );
        ("ignore-query", text)
    });
    let all = said.into_iter().flatten().chain(ignored);
    let told = |(kind, text): (&str, String)| Recommendation {
        route: route.route.clone(),
        kind: kind.to_owned(),
        text,
    };
    all.map(told).collect()
}

type Said = Option<(&'static str, String)>;

fn never_read(route: &OfRoute) -> Said {
    let lives = &route.lives;
    let unread = lives.never_read.filter(|share| lives.ended >= FEWEST && *share >= NEARLY_ALL)?;
    Some((
        "never-read",
        format!(
            "`bypass`, or a shorter ttl: of {} entries whose life ended {} were never read, and {} of bodies were kept for that.",
            lives.ended,
            percent(unread),
            bytes(route.bytes_filled),
        ),
    ))
}

fn ended_early(route: &OfRoute) -> Said {
    let (lives, changes) = (&route.lives, &route.changes);
    let share = lives.invalidated as f64 / lives.ended.max(1) as f64;
    if lives.ended < FEWEST || share < NEARLY_ALL || changes.changed > 0 || route.audit.stale > 0 {
        return None;
    }
    Some((
        "longer-ttl",
        format!(
            "the ttl may be longer: {} of {} entries were ended by an invalidation before their ttl{}, so what changes here is \
             announced.",
            lives.invalidated,
            lives.ended,
            match changes.refetched {
                0 => String::new(),
                seen => format!(", and none of {seen} that were looked at again had changed"),
            },
        ),
    ))
}

fn no_freshness(route: &OfRoute) -> Said {
    let share = route.no_freshness as f64 / route.requests.all.max(1) as f64;
    (route.no_freshness >= FEWEST && share >= NOTEWORTHY).then(|| {
        let text = format!(
            "give it a ttl (a line under `routes:`): {} of {} answers could not be kept since neither the origin nor a route gives \
             them a life.",
            route.no_freshness, route.requests.all,
        );
        ("no-freshness", text)
    })
}

fn another_ttl(route: &OfRoute, target: f64) -> Said {
    let (ttl, changes) = (route.ttl.filter(|ttl| *ttl > 0.0)?, &route.changes);
    let (advised, stale_now) = (changes.advised_ttl?, changes.stale_share_now?);
    let seen = format!("{} of {} that were looked at again had changed", changes.changed, changes.refetched);
    let hits = match (changes.hit_ratio, changes.hit_ratio_now) {
        (Some(then), Some(now)) => {
            format!(" The hit ratio would be about {} (now {}).", percent(then), percent(now))
        }
        _ => String::new(),
    };
    if changes.refetched < FEWEST {
        None
    } else if advised >= ttl * APART {
        let text = format!(
            "`ttl: {}` instead of {}: {seen}, so {} of hits would be stale at most.{hits}",
            time(advised),
            time(ttl),
            percent(target),
        );
        Some(("longer-ttl", text))
    } else if stale_now > target && advised * APART <= ttl {
        let text = format!(
            "`ttl: {}` instead of {}, or tell of the changes (`writes:`, a webhook, Redis): {seen} without an invalidation, by which \
             about {} of hits are stale; {} are put up with.{hits}",
            time(advised),
            time(ttl),
            percent(stale_now),
            percent(target),
        );
        Some(("shorter-ttl", text))
    } else {
        None
    }
}

fn always_changed(route: &OfRoute) -> Said {
    let changes = &route.changes;
    (changes.refetched >= FEWEST && changes.changed == changes.refetched).then(|| {
        let text = format!(
            "a much shorter ttl, or `bypass`: all of {} that were looked at again had changed without an invalidation; how much \
             shorter, only a shorter one can tell.",
            changes.refetched,
        );
        ("shorter-ttl", text)
    })
}

fn stale(route: &OfRoute, target: f64) -> Said {
    let (audit, [low, high]) = (&route.audit, route.audit.interval?);
    (low / 1e6 > target).then(|| {
        let text = format!(
            "hits are stale: {} of {} that were compared with the origin, so between {:.0} and {:.0} in a million. Something changes \
             that no invalidation tells of.",
            audit.stale,
            audit.stale + audit.same,
            low,
            high,
        );
        ("stale", text)
    })
}

fn volatile(route: &OfRoute) -> Said {
    let audit = &route.audit;
    let spoken = audit.same + audit.stale + audit.volatile;
    (spoken >= 10 && audit.volatile as f64 >= NEARLY_ALL * spoken as f64).then(|| {
        let text = format!(
            "{} of {spoken} answers that were compared differ at every fetch (a time, an id, a random order?): nobody can say whether \
             what is kept is stale.",
            audit.volatile,
        );
        ("volatile", text)
    })
}

/// A share for people.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 || percent >= 10.0 {
        format!("{percent:.0} %")
    } else if percent >= 1.0 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.2} %")
    }
}

/// A time for people, in the words of the configuration; two units at most.
pub fn time(seconds: f64) -> String {
    if seconds < 1.0 {
        return format!("{:.0}ms", seconds * 1000.0);
    }
    let (whole, units) = (seconds.round() as u64, [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)]);
    let first = units.iter().position(|(_, size)| whole >= *size).unwrap_or(units.len() - 1);
    let (name, size) = units[first];
    let rest = units.get(first + 1).map(|(next, of)| (next, whole % size / of)).filter(|(_, rest)| *rest > 0);
    match rest {
        Some((next, rest)) => format!("{}{name}{rest}{next}", whole / size),
        None => format!("{}{name}", whole / size),
    }
}

/// A size for people.
pub fn bytes(size: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, of)| size >= *of) {
        Some((name, of)) => format!("{:.1} {name}", size as f64 / *of as f64),
        None => format!("{size} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::usage::report::{Audit, Changes, Lives, Requests};

    fn route() -> OfRoute {
        OfRoute {
            route: "/a".into(),
            ttl: Some(600.0),
            requests: Requests { all: 1000, ..Requests::default() },
            hit_ratio: None,
            no_freshness: 0,
            fills: 0,
            bytes_filled: 1 << 20,
            bytes_hit: 0,
            fetch_seconds: None,
            seconds_saved: None,
            lives: Lives::default(),
            reuse_distance: None,
            top: Vec::new(),
            changes: Changes::default(),
            audit: Audit::default(),
            shadow: None,
        }
    }

    fn kinds(route: &OfRoute) -> Vec<String> {
        recommend(route, &[], 0.01).into_iter().map(|said| said.kind).collect()
    }

    #[test]
    fn a_route_of_which_little_is_known_is_left_alone() {
        assert!(kinds(&route()).is_empty());
        let lives = Lives { ended: FEWEST - 1, never_read: Some(1.0), ..Lives::default() };
        assert!(kinds(&OfRoute { lives, ..route() }).is_empty());
    }

    #[test]
    fn fills_that_nobody_reads_are_told_of_with_their_numbers() {
        let lives = Lives { ended: 200, expired: 200, never_read: Some(0.95), ..Lives::default() };
        let said = recommend(&OfRoute { lives, ..route() }, &[], 0.01);
        assert_eq!(said[0].kind, "never-read");
        assert!(
            said[0].text.contains("200 entries")
                && said[0].text.contains("95 %")
                && said[0].text.contains("1.0 MiB")
        );
    }

    #[test]
    fn what_invalidations_always_end_may_live_longer_unless_something_changed_in_silence() {
        let lives = Lives { ended: 100, invalidated: 95, expired: 5, ..Lives::default() };
        let route = OfRoute { lives, ..route() };
        assert_eq!(kinds(&route), ["longer-ttl"]);
        let changes = Changes { refetched: 5, changed: 1, ..Changes::default() };
        assert!(kinds(&OfRoute { changes, ..route.clone() }).is_empty());
        let audit = Audit { stale: 1, ..Audit::default() };
        assert!(kinds(&OfRoute { audit, ..route }).is_empty());
    }

    #[test]
    fn an_advised_ttl_is_worth_a_word_where_it_is_far_from_the_configured_one() {
        let changes = |advised, stale_now| Changes {
            refetched: 500,
            changed: 5,
            advised_ttl: Some(advised),
            stale_share_now: Some(stale_now),
            ..Changes::default()
        };
        let kinds = |changes| kinds(&OfRoute { changes, ..route() });
        assert_eq!(kinds(changes(1200.0, 0.001)), ["longer-ttl"]);
        assert_eq!(kinds(changes(60.0, 0.09)), ["shorter-ttl"]);
        assert!(kinds(changes(700.0, 0.01)).is_empty());
        assert!(kinds(changes(60.0, 0.005)).is_empty(), "too little was seen to be sure of more");
    }

    #[test]
    fn what_is_stale_volatile_or_without_a_life_is_told_of() {
        let audit = Audit { same: 90, stale: 10, interval: Some([55_000.0, 170_000.0]), ..Audit::default() };
        assert_eq!(kinds(&OfRoute { audit, ..route() }), ["stale"]);
        let audit = Audit { volatile: 20, ..Audit::default() };
        assert_eq!(kinds(&OfRoute { audit, ..route() }), ["volatile"]);
        assert_eq!(kinds(&OfRoute { no_freshness: 500, ..route() }), ["no-freshness"]);
        let changes = Changes { refetched: 60, changed: 60, ..Changes::default() };
        assert_eq!(kinds(&OfRoute { changes, ..route() }), ["shorter-ttl"]);
        assert_eq!(recommend(&route(), &[("ref".into(), 40)], 0.01)[0].kind, "ignore-query");
    }

    #[test]
    fn numbers_are_written_for_people() {
        let times = [0.25, 1.0, 75.0, 3600.0, 5400.0, 90_061.0].map(time);
        assert_eq!(times, ["250ms", "1s", "1m15s", "1h", "1h30m", "1d1h"]);
        assert_eq!([0.0, 0.0042, 0.042, 0.42].map(percent), ["0 %", "0.42 %", "4.2 %", "42 %"]);
        assert_eq!([12, 2048, 3 << 30].map(bytes), ["12 B", "2.0 KiB", "3.0 GiB"]);
    }
}
