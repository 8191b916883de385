//! Numbered places for values: a free one is taken before a new one is made, the lowest first.
//!
//! Invariant: a number names one value until it is taken out. What lies above the highest value is given back to memory,
//! so that with the last value all of it is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The places.
#[derive(Debug)]
pub(in crate::store) struct Rooms<T> {
    places: Vec<Option<T>>,
    /// Every free place below the highest value, and perhaps some above it.
    free: BinaryHeap<Reverse<u32>>,
    taken: usize,
}

impl<T> Default for Rooms<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: BinaryHeap::new(), taken: 0 }
    }
}

impl<T> Rooms<T> {
    /// Puts a value into a place, and gives its number.
    pub(in crate::store) fn add(&mut self, value: T) -> u32 {
        self.taken += 1;
        if let Some(Reverse(number)) = self.free.pop()
            && let Some(place) = self.places.get_mut(number as usize)
        {
            *place = Some(value);
            return number;
        }
        // The lowest lies above all values, so do the others.
        self.free.clear();
        self.places.push(Some(value));
        u32::try_from(self.places.len() - 1).expect("fewer than 2^32 of them fit into memory")
    }

    /// Takes a value out.
    pub(in crate::store) fn take(&mut self, number: u32) -> Option<T> {
        let value = self.places.get_mut(number as usize)?.take()?;
        self.taken -= 1;
        self.free.push(Reverse(number));
        while let Some(None) = self.places.last() {
            self.places.pop();
        }
        if self.places.is_empty() {
            *self = Self::default();
        } else if self.places.len() < self.places.capacity() / 4 {
            self.places.shrink_to(2 * self.places.len());
        }
        Some(value)
    }

    /// The value of this number.
    pub(in crate::store) fn at(&self, number: u32) -> Option<&T> {
        self.places.get(number as usize)?.as_ref()
    }

    /// The same, to be changed.
    pub(in crate::store) fn at_mut(&mut self, number: u32) -> Option<&mut T> {
        self.places.get_mut(number as usize)?.as_mut()
    }

    /// Values that are there.
    pub(in crate::store) fn len(&self) -> usize {
        self.taken
    }

    /// Places, free ones among them: no number is as high.
    pub(in crate::store) fn end(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn a_number_names_one_value_and_the_last_one_leaves_nothing(
            acts in prop::collection::vec(prop::option::of(any::<prop::sample::Index>()), 0..200),
        ) {
            let (mut rooms, mut known) = (Rooms::default(), BTreeMap::new());
            for (nth, act) in acts.into_iter().enumerate() {
                match act {
                    Some(pick) if !known.is_empty() => {
                        let number = *known.keys().nth(pick.index(known.len())).unwrap();
                        prop_assert_eq!(rooms.take(number), known.remove(&number));
                        prop_assert_eq!(rooms.take(number), None);
                    }
                    _ => prop_assert_eq!(known.insert(rooms.add(nth), nth), None, "it was free"),
                }
                prop_assert_eq!(rooms.len(), known.len());
                prop_assert!(known.iter().all(|(number, value)| rooms.at(*number) == Some(value)));
                prop_assert!(rooms.end() as usize <= rooms.len() + rooms.free.len(), "every gap is known");
            }
            for number in known.into_keys() {
                rooms.take(number);
            }
            prop_assert_eq!((rooms.places.capacity(), rooms.free.capacity(), rooms.len()), (0, 0, 0));
        }
    }
}
