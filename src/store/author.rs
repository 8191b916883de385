//! Who wrote what was softly invalidated: he reads his own writes, whatever others are still served.
//!
//! Invariant: an author is never forgotten while an entry is kept that he may not be served. Beyond [`MAX_AUTHORS`] all
//! are forgotten at once, and everybody counts as the author of what was softened until then: that asks the origin too
//! often, and shows nobody what he has overwritten.

use std::collections::HashMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::route::identity::Digest;
use crate::route::tag::Tag;

/// Most authors that are told apart.
pub const MAX_AUTHORS: usize = 65_536;

/// Whose writing it is, as far as requests can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Author {
    /// Whoever shows these credentials.
    Credential(Digest),
    /// Whoever comes from this address without any.
    Address(IpAddr),
}

impl Author {
    /// The tag of the entries that are his alone; without credentials there are none.
    pub fn tag(&self) -> Option<Tag> {
        match self {
            Self::Credential(digest) => Some(Tag::credential(digest)),
            Self::Address(_) => None,
        }
    }
}

/// For each author, the last position at which he softened something; not synchronised, the gate's lock is around it.
#[derive(Debug, Default)]
pub(in crate::store) struct Authors {
    last: HashMap<Author, u64, ahash::RandomState>,
    /// The same for everybody who was forgotten.
    everybody: u64,
}

impl Authors {
    /// Notes that `author` softened something at position `n`.
    pub(in crate::store) fn note(&mut self, author: Author, n: u64) {
        if self.last.len() >= MAX_AUTHORS && !self.last.contains_key(&author) {
            self.last.clear();
            self.everybody = n;
        }
        self.last.insert(author, n);
    }

    /// Whether `author` softened something above position `n`, or may have.
    pub(in crate::store) fn softened_above(&self, n: u64, author: impl FnOnce() -> Author) -> bool {
        self.everybody > n
            || (!self.last.is_empty() && self.last.get(&author()).is_some_and(|last| *last > n))
    }

    /// Forgets everybody: nothing softened is kept any more.
    pub(in crate::store) fn clear(&mut self) {
        if self.len() > 0 || self.everybody > 0 {
            *self = Self::default();
        }
    }

    /// Authors that are told apart now.
    pub(in crate::store) fn len(&self) -> usize {
        self.last.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author(n: usize) -> Author {
        Author::Address(std::net::Ipv4Addr::from_bits(u32::try_from(n).unwrap()).into())
    }

    #[test]
    fn an_author_is_one_for_what_is_older_than_his_last_write() {
        let mut authors = Authors::default();
        authors.note(author(1), 5);
        assert!(authors.softened_above(4, || author(1)));
        assert!(!authors.softened_above(5, || author(1)), "it was fetched after he wrote");
        assert!(!authors.softened_above(4, || author(2)));
    }

    #[test]
    fn too_many_authors_make_everybody_one_of_what_was_softened_until_then() {
        let mut authors = Authors::default();
        (0..=MAX_AUTHORS).for_each(|n| authors.note(author(n), 10 + n as u64));
        assert!(authors.len() <= MAX_AUTHORS);
        let last = 10 + MAX_AUTHORS as u64;
        for who in [author(0), author(MAX_AUTHORS), author(MAX_AUTHORS + 7)] {
            assert!(authors.softened_above(last - 1, || who));
            assert!(!authors.softened_above(last, || who));
        }
        authors.clear();
        assert!(!authors.softened_above(0, || author(0)));
    }
}
