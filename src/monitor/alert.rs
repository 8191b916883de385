//! When an alert begins and when it ends: hysteresis over two lines and over time.
//!
//! ```text
//!         beyond, `begins` windows in a row
//! Quiet ────────────────────────────────────► Raised
//!       ◄────────────────────────────────────
//!         back, `ends` windows in a row
//! ```
//! Between the two lines, and in between the two, nothing changes: what flaps is one alert. Invariant: beginnings and ends take
//! turns; a window that says nothing changes nothing. It refuses to know where the lines are, and who is told.

use std::sync::Arc;
use std::time::SystemTime;

/// What there may be an alert about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Too little is answered by the cache.
    HitRatio,
    /// Reads take too long.
    Latency,
    /// Memory is at its limits, and cannot be kept below them.
    Memory,
    /// Entries are thrown out that would have been of use.
    Evictions,
    /// Redis is away.
    Redis,
    /// What should be warm is not.
    Warming,
    /// Those who outdate something wait too long until it holds.
    Acknowledgements,
}

impl Kind {
    /// All.
    pub const ALL: [Self; 7] = [
        Self::HitRatio,
        Self::Latency,
        Self::Memory,
        Self::Evictions,
        Self::Redis,
        Self::Warming,
        Self::Acknowledgements,
    ];

    /// Its name, in the configuration and as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HitRatio => "hit-ratio",
            Self::Latency => "latency",
            Self::Memory => "memory",
            Self::Evictions => "evictions",
            Self::Redis => "redis",
            Self::Warming => "warming",
            Self::Acknowledgements => "acknowledgements",
        }
    }

    /// Windows in a row that have to be beyond the line before it begins, and back before it ends. What is a state, or
    /// happens seldom, needs one.
    pub fn patience(self) -> Patience {
        match self {
            Self::Redis => Patience { begins: 1, ends: 2 },
            Self::Warming => Patience { begins: 1, ends: 1 },
            _ => Patience { begins: 2, ends: 3 },
        }
    }
}

/// Windows in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Beyond the line before an alert begins.
    pub begins: u32,
    /// Back behind the second line before it ends.
    pub ends: u32,
}

/// Where a window lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Beyond the line.
    Beyond,
    /// Between the two lines.
    Between,
    /// Back behind the second one.
    Back,
}

/// What a window says of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// Where it lies.
    pub side: Side,
    /// What was measured: a share, or seconds.
    pub value: f64,
    /// What it is held against.
    pub target: f64,
    /// The route that has most to do with it.
    pub route: Option<Arc<str>>,
}

/// One kind's alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// There is none.
    Quiet {
        /// Windows in a row that were beyond the line.
        beyond: u32,
    },
    /// There is one.
    Raised {
        /// Since when.
        since: SystemTime,
        /// Windows in a row that were back.
        back: u32,
    },
}

/// What changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// It begins.
    Began,
    /// It ends.
    Ended,
}

impl Edge {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Began => "firing",
            Self::Ended => "resolved",
        }
    }
}

/// What is told when an alert begins or ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// Which.
    pub kind: Kind,
    /// Whether it begins.
    pub edge: Edge,
    /// What the last window said.
    pub measure: Measure,
    /// When it began.
    pub since: SystemTime,
    /// When this was found: the end of the window.
    pub at: SystemTime,
}

impl Default for Alert {
    fn default() -> Self {
        Self::Quiet { beyond: 0 }
    }
}

impl Alert {
    /// Takes in what the window that ended `at` says; what has to be told now. `None` says nothing.
    pub fn look(&mut self, kind: Kind, measure: Option<&Measure>, at: SystemTime) -> Option<Notice> {
        let measure = measure?;
        let Patience { begins, ends } = kind.patience();
        let notice = |edge, since| Some(Notice { kind, edge, measure: measure.clone(), since, at });
        match (&mut *self, measure.side) {
            (Self::Quiet { beyond }, Side::Beyond) => {
                *beyond += 1;
                if *beyond < begins {
                    return None;
                }
                *self = Self::Raised { since: at, back: 0 };
                notice(Edge::Began, at)
            }
            (Self::Quiet { beyond }, _) => {
                *beyond = 0;
                None
            }
            (Self::Raised { back, since }, Side::Back) => {
                *back += 1;
                if *back < ends {
                    return None;
                }
                let since = *since;
                *self = Self::default();
                notice(Edge::Ended, since)
            }
            (Self::Raised { back, .. }, _) => {
                *back = 0;
                None
            }
        }
    }

    /// Since when there is one.
    pub fn since(&self) -> Option<SystemTime> {
        match self {
            Self::Quiet { .. } => None,
            Self::Raised { since, .. } => Some(*since),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Side::{Back, Between, Beyond};
    use proptest::prelude::*;
    use std::time::Duration;

    const KIND: Kind = Kind::HitRatio;

    fn at(n: usize) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(n as u64)
    }

    /// What is told of windows that lie there, one a second; `None`: one that says nothing.
    fn told(sides: &[Option<Side>]) -> Vec<(usize, Edge, SystemTime)> {
        let mut alert = Alert::default();
        let each = sides.iter().enumerate().filter_map(|(n, side)| {
            let measure = side.map(|side| Measure { side, value: 0.5, target: 0.9, route: None });
            alert.look(KIND, measure.as_ref(), at(n)).map(|notice| (n, notice.edge, notice.since))
        });
        each.collect()
    }

    fn all(sides: &[Side]) -> Vec<Option<Side>> {
        sides.iter().copied().map(Some).collect()
    }

    #[test]
    fn it_begins_once_and_ends_once() {
        let sides = all(&[Back, Beyond, Beyond, Beyond, Beyond, Back, Back, Back, Back]);
        assert_eq!(told(&sides), [(2, Edge::Began, at(2)), (7, Edge::Ended, at(2))]);
    }

    #[test]
    fn one_bad_window_is_no_alert_and_one_good_one_no_end() {
        assert_eq!(told(&all(&[Back, Beyond, Back, Beyond, Between, Beyond, Back])), []);
        let sides = all(&[Beyond, Beyond, Back, Back, Beyond, Back, Back, Between, Back, Back]);
        assert_eq!(told(&sides).len(), 1);
    }

    #[test]
    fn what_flaps_is_one_alert() {
        let flaps = [Beyond, Beyond, Back, Between, Beyond, Back, Back];
        assert_eq!(told(&all(&flaps.repeat(50))).len(), 1);
    }

    #[test]
    fn between_the_lines_nothing_changes() {
        assert_eq!(told(&all(&[Between; 20])), []);
        let mut sides = vec![Beyond, Beyond];
        sides.extend([Between; 20]);
        assert_eq!(told(&all(&sides)).len(), 1);
    }

    #[test]
    fn a_window_that_says_nothing_neither_begins_nor_ends_nor_starts_the_count_anew() {
        let sides =
            [Some(Beyond), None, Some(Beyond), None, Some(Back), None, Some(Back), None, None, Some(Back)];
        assert_eq!(told(&sides), [(2, Edge::Began, at(2)), (9, Edge::Ended, at(2))]);
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let mut names = Kind::ALL.map(Kind::as_str).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len());
    }

    proptest! {
        #[test]
        fn beginnings_and_ends_take_turns_and_each_has_its_windows(
            sides in prop::collection::vec(prop_oneof![Just(Beyond), Just(Between), Just(Back)], 0..200)
        ) {
            let Patience { begins, ends } = KIND.patience();
            for (turn, (n, edge, _)) in told(&all(&sides)).into_iter().enumerate() {
                let (expected, side, count) = match turn % 2 {
                    0 => (Edge::Began, Beyond, begins),
                    _ => (Edge::Ended, Back, ends),
                };
                prop_assert_eq!(edge, expected);
                prop_assert!(sides[n + 1 - count as usize..=n].iter().all(|s| *s == side));
            }
        }
    }
}
