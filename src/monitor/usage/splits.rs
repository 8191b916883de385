//! Query parameters that tell keys apart whose bodies are the same.
//!
//! Of two targets that differ in one parameter alone, the bodies are compared as they are stored. A parameter that never
//! made a difference, often enough, can be ignored.
//! Invariant: [`PLACES`] targets and [`NAMES`] parameters are known at most; when there are more targets, it begins anew.

use std::collections::HashMap;
use std::sync::Arc;

/// Most targets, each without one of its parameters, that are known at once.
const PLACES: usize = 8_192;

/// Most parameters that are counted, of all routes.
const NAMES: usize = 256;

/// Longest name of a parameter that is counted, in bytes.
const LONGEST_NAME: usize = 64;

/// Most parameters of one query that are looked at.
const MOST_OF_A_QUERY: usize = 8;

/// Fewest comparisons that say anything.
pub const FEWEST: u64 = 20;

/// What is known of all of them.
#[derive(Clone, Debug, Default)]
pub struct Splits {
    hasher: ahash::RandomState,
    /// By target without a parameter: the hash of that parameter's value, and of the body.
    places: HashMap<u64, (u64, u64), ahash::RandomState>,
    names: HashMap<(usize, Arc<str>), Compared, ahash::RandomState>,
}

/// How often bodies were compared that one parameter alone told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// They were the same.
    pub same: u64,
    /// They were not.
    pub different: u64,
}

impl Splits {
    /// An answer of `route` to `path` and a canonical `query` was stored, with a body of this hash.
    pub fn stored(&mut self, route: usize, (path, query): (&str, &str), body: u64) {
        let pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
        if pairs.len() > MOST_OF_A_QUERY {
            return;
        }
        for (at, pair) in pairs.iter().enumerate() {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let others: Vec<&str> = [&pairs[..at], &pairs[at + 1..]].concat();
            let place = self.hasher.hash_one((route, path, name, others));
            let value = self.hasher.hash_one(value);
            if self.places.len() >= PLACES && !self.places.contains_key(&place) {
                self.places.clear();
            }
            let known = self.places.insert(place, (value, body));
            if let Some((_, other)) = known.filter(|(before, _)| *before != value) {
                self.compared(route, name, other == body);
            }
        }
    }

    fn compared(&mut self, route: usize, name: &str, same: bool) {
        if name.len() > LONGEST_NAME {
            return;
        }
        let key = (route, Arc::from(name));
        if self.names.len() >= NAMES && !self.names.contains_key(&key) {
            return;
        }
        let compared = self.names.entry(key).or_default();
        if same { compared.same += 1 } else { compared.different += 1 }
    }

    /// Parameters of `route` that never made a difference, and how often that was looked at.
    pub fn needless(&self, route: usize) -> Vec<(Arc<str>, u64)> {
        let of_route = self.names.iter().filter(|((its, _), _)| *its == route);
        let needless = of_route.filter(|(_, seen)| seen.different == 0 && seen.same >= FEWEST);
        let mut needless: Vec<_> = needless.map(|((_, name), seen)| (Arc::clone(name), seen.same)).collect();
        needless.sort();
        needless
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_never_makes_a_difference_is_found_and_one_that_once_did_is_not() {
        let mut splits = Splits::default();
        for n in 0..60_u64 {
            splits.stored(0, ("/list", &format!("page={}&ref={n}", n % 2)), n % 2);
            splits.stored(1, ("/list", &format!("ref={n}")), u64::from(n == 40));
        }
        let found = splits.needless(0);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(&*found[0].0, "ref");
        assert!(splits.needless(1).is_empty());
    }

    #[test]
    fn what_is_fetched_again_with_the_same_value_says_nothing() {
        let mut splits = Splits::default();
        (0..100).for_each(|_| splits.stored(0, ("/a", "x=1"), 7));
        assert!(splits.needless(0).is_empty());
    }

    #[test]
    fn memory_stays_within_its_limits() {
        let mut splits = Splits::default();
        for n in 0..3 * PLACES as u64 {
            splits.stored(0, ("/a", &format!("x{}={n}", n % 1000)), n);
        }
        assert!(splits.places.len() <= PLACES && splits.names.len() <= NAMES);
    }
}
