//! The head of a hit as of one second: what a hot entry's answers have in common is written once a second, not once a hit.
//!
//! Invariant: a head is given out only for the age and the freshness that it was written for. An entry that is hit less
//! than twice a second keeps none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use http::HeaderMap;

/// The newest head of one entry, if the entry is hot.
#[derive(Debug, Default)]
pub struct Stamp {
    /// The age of the last hit, plus one.
    last: AtomicU64,
    head: ArcSwapOption<(u64, i64, HeaderMap)>,
}

impl Stamp {
    /// The head for this age and freshness (seconds); `write` writes it where it is not there.
    pub fn head(&self, age: u64, ttl: i64, write: impl FnOnce() -> HeaderMap) -> HeaderMap {
        if let Some(known) = &*self.head.load()
            && (known.0, known.1) == (age, ttl)
        {
            return known.2.clone();
        }
        let head = write();
        if self.last.swap(age + 1, Ordering::Relaxed) == age + 1 {
            self.head.store(Some(Arc::new((age, ttl, head.clone()))));
        }
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::cell::Cell;

    #[test]
    fn the_third_hit_within_a_second_and_those_after_it_write_no_head() {
        let (stamp, written) = (Stamp::default(), Cell::new(0));
        let hit = |age, ttl| {
            let head = stamp.head(age, ttl, || {
                written.set(written.get() + 1);
                HeaderMap::from_iter([(http::header::AGE, HeaderValue::from(age))])
            });
            (head["age"].clone(), written.get())
        };
        let (zero, one) = (HeaderValue::from(0), HeaderValue::from(1));
        assert_eq!(hit(0, 60), (zero.clone(), 1));
        assert_eq!(hit(0, 60), (zero.clone(), 2));
        assert_eq!(hit(0, 60), (zero.clone(), 2));
        assert_eq!(hit(0, 59), (zero, 3), "less is left of its life");
        assert_eq!(hit(1, 59), (one, 4), "a second later");
    }
}
