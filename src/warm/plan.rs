//! What is fetched first: pure.
//!
//! Invariant: by priority; within one, what was written last comes first; else in the order of the file.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::hash::Hash;

/// The place of a request in the queue; the greater goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Higher goes first.
    pub(crate) priority: i64,
    /// The position of the last write that outdated it; `None`: none that is remembered.
    pub(crate) written: Option<u64>,
    /// Its place in the order in which all were asked for.
    pub(crate) arrival: u64,
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_need = self.priority.cmp(&other.priority).then(self.written.cmp(&other.written));
        by_need.then(other.arrival.cmp(&self.arrival))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What is wanted, each thing of a `name` once under its highest `priority`, higher ones first, equals in their order.
pub(crate) fn distinct<T, N: Eq + Hash>(
    mut wanted: Vec<T>,
    priority: impl Fn(&T) -> i64,
    name: impl Fn(&T) -> N,
) -> Vec<T> {
    wanted.sort_by_key(|one| std::cmp::Reverse(priority(one)));
    let mut seen = HashSet::new();
    wanted.retain(|one| seen.insert(name(one)));
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(requests: &[(&'static str, i64)]) -> Vec<&'static str> {
        let planned = distinct(requests.to_vec(), |(_, priority)| *priority, |(path, _)| *path);
        planned.into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn priority_comes_before_the_order_of_the_list() {
        assert_eq!(planned(&[("/a", 100), ("/b", 100), ("/c", 200), ("/d", -1)]), ["/c", "/a", "/b", "/d"]);
    }

    #[test]
    fn a_path_is_fetched_once_by_its_highest_priority() {
        assert_eq!(planned(&[("/a", 1), ("/b", 2), ("/a", 3), ("/a?x", 0)]), ["/a", "/b", "/a?x"]);
    }

    #[test]
    fn within_a_priority_what_was_written_last_goes_first() {
        let place = |priority, written, arrival| Place { priority, written, arrival };
        let mut places = [
            place(100, None, 0),
            place(100, Some(3), 1),
            place(100, Some(7), 2),
            place(200, None, 3),
            place(100, None, 4),
        ];
        places.sort();
        let order: Vec<u64> = places.iter().rev().map(|place| place.arrival).collect();
        assert_eq!(order, [3, 2, 1, 0, 4]);
    }
}
