//! What is read most, in constant memory: Space-Saving (Metwally, Agrawal and El Abbadi, ICDT 2005).
//!
//! Invariant: whatever has more than its share of all hits, `all / places`, has a place; a count is never too small, and too
//! large by its `error` at most.

use std::sync::Arc;

/// One that is read much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Its name.
    pub name: Arc<str>,
    /// Hits, at most.
    pub hits: u64,
    /// By how much that may be too many.
    pub error: u64,
    /// What it is known by: no other is likely to have the same.
    hash: u64,
}

/// So many of them as there are places.
#[derive(Clone, Debug)]
pub struct Top {
    places: usize,
    counted: Vec<Counted>,
}

impl Top {
    /// With so many places, at least one.
    pub fn new(places: usize) -> Self {
        Self { places: places.max(1), counted: Vec::new() }
    }

    /// Counts hits of what has this `hash`; `name` is asked for only where it gets a place.
    pub fn count(&mut self, hash: u64, name: impl FnOnce() -> Arc<str>, hits: u64) {
        if hits == 0 {
            return;
        }
        if let Some(known) = self.counted.iter_mut().find(|counted| counted.hash == hash) {
            known.hits += hits;
            return;
        }
        if self.counted.len() < self.places {
            self.counted.push(Counted { name: name(), hits, error: 0, hash });
            return;
        }
        if let Some(least) = self.counted.iter_mut().min_by_key(|counted| counted.hits) {
            *least = Counted { name: name(), hits: least.hits + hits, error: least.hits, hash };
        }
    }

    /// The first `most`, those with most hits first.
    pub fn first(&self, most: usize) -> Vec<Counted> {
        let mut all = self.counted.clone();
        all.sort_by(|a, b| b.hits.cmp(&a.hits).then_with(|| a.name.cmp(&b.name)));
        all.truncate(most);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn count(top: &mut Top, name: &str, hits: u64) {
        let hash = name.bytes().fold(0, |hash, byte| hash * 256 + u64::from(byte));
        top.count(hash, || name.into(), hits);
    }

    #[test]
    fn what_is_read_most_comes_first() {
        let mut top = Top::new(8);
        for (name, hits) in [("a", 1), ("b", 5), ("a", 7), ("c", 0)] {
            count(&mut top, name, hits);
        }
        let first: Vec<_> =
            top.first(9).into_iter().map(|counted| (counted.name.to_string(), counted.hits)).collect();
        assert_eq!(first, [("a".to_owned(), 8), ("b".to_owned(), 5)]);
        assert_eq!(top.first(1).len(), 1);
    }

    proptest! {
        #[test]
        fn whatever_has_more_than_its_share_has_a_place_and_no_count_is_too_small(
            told in proptest::collection::vec((0_u8..40, 1_u64..20), 1..400),
        ) {
            const PLACES: usize = 8;
            let (mut top, mut truth) = (Top::new(PLACES), BTreeMap::new());
            for (key, hits) in told {
                count(&mut top, &key.to_string(), hits);
                *truth.entry(key.to_string()).or_insert(0) += hits;
            }
            let all: u64 = truth.values().sum();
            let first = top.first(PLACES);
            prop_assert!(first.len() <= PLACES);
            for counted in &first {
                let hits = truth[&*counted.name];
                prop_assert!(counted.hits >= hits && counted.hits - counted.error <= hits);
            }
            for (name, hits) in truth {
                prop_assert!(hits <= all / PLACES as u64 || first.iter().any(|counted| *counted.name == *name));
            }
        }
    }
}
