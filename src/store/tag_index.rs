//! Which entries carry which tag. Dropping a tag costs by what it drops; removing an entry costs by its own tags.
//!
//! Every entry has a slot with, for each of its tags, the place it holds in that tag's member list; a place that
//! becomes free is filled with the list's last member. It holds entries weakly: the index keeps nothing alive.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Weak};

use smallvec::SmallVec;

use crate::route::reach::Item;
use crate::route::tag::Tag;
use crate::store::entry::{Entry, EntryId};

/// The index; not synchronised, the gate's lock is around it.
#[derive(Debug, Default)]
pub struct TagIndex {
    /// In order, so that what begins alike lies together.
    tags: BTreeMap<Tag, Vec<EntryId>>,
    slots: HashMap<EntryId, Slot, ahash::RandomState>,
    weight: u64,
}

#[derive(Debug)]
struct Slot {
    entry: Weak<Entry>,
    weight: u64,
    tags: Arc<[Tag]>,
    /// For each of `tags`, in order: the place in that tag's member list.
    places: SmallVec<[u32; 4]>,
}

impl TagIndex {
    /// Adds an entry under its tags. An entry is added once.
    pub fn insert(&mut self, entry: &Arc<Entry>) {
        let mut places = SmallVec::new();
        self.weight += entry.weight();
        for tag in entry.tags().iter() {
            let members = self.tags.entry(tag.clone()).or_default();
            places.push(u32::try_from(members.len()).expect("fewer than 2^32 entries fit into memory"));
            members.push(entry.id());
        }
        self.slots.insert(
            entry.id(),
            Slot {
                entry: Arc::downgrade(entry),
                weight: entry.weight(),
                tags: Arc::clone(entry.tags()),
                places,
            },
        );
    }

    /// Takes an entry out; unknown ones are none of our business.
    pub fn remove(&mut self, id: EntryId) {
        let Some(slot) = self.slots.remove(&id) else { return };
        self.weight -= slot.weight;
        for (tag, place) in slot.tags.iter().zip(slot.places) {
            self.leave(tag, place);
        }
    }

    /// Appends the entries that `item` reaches to `found`, some perhaps more than once.
    pub fn find(&self, item: &Item, found: &mut Vec<Arc<Entry>>) {
        match item {
            Item::All => found.extend(self.slots.values().filter_map(|slot| slot.entry.upgrade())),
            Item::Tag(tag) => self.members(tag, found),
            Item::Tags(gaps) => self.like(gaps.prefix(), item, found),
            Item::Paths { host: Some(host), paths } => {
                self.like(&format!("//{host}{}", paths.prefix()), item, found);
            }
            Item::Paths { host: None, .. } => self.like("//", item, found),
        }
    }

    fn like(&self, prefix: &str, item: &Item, found: &mut Vec<Arc<Entry>>) {
        let behind = (Bound::Included(prefix), Bound::Unbounded);
        let alike = self.tags.range::<str, _>(behind).take_while(|(tag, _)| tag.as_str().starts_with(prefix));
        for (tag, _) in alike.filter(|(tag, _)| item.covers(tag)) {
            self.members(tag, found);
        }
    }

    fn members(&self, tag: &Tag, found: &mut Vec<Arc<Entry>>) {
        let ids = self.tags.get(tag).into_iter().flatten();
        found.extend(ids.filter_map(|id| self.slots.get(id)?.entry.upgrade()));
    }

    /// The entry of this name.
    pub fn entry(&self, id: EntryId) -> Option<Arc<Entry>> {
        self.slots.get(&id)?.entry.upgrade()
    }

    /// How many entries carry `tag`.
    pub fn count(&self, tag: &Tag) -> usize {
        self.tags.get(tag).map_or(0, Vec::len)
    }

    /// Entries and tags in the index.
    pub fn len(&self) -> (usize, usize) {
        (self.slots.len(), self.tags.len())
    }

    /// What the entries in the index weigh, in bytes.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    fn leave(&mut self, tag: &Tag, place: u32) {
        let Some(members) = self.tags.get_mut(tag) else { return };
        members.swap_remove(place as usize);
        if let Some(moved) = members.get(place as usize) {
            let slot = self.slots.get_mut(moved).expect("every member has a slot");
            let nth = slot.tags.iter().position(|other| other == tag).expect("a member carries the tag");
            slot.places[nth] = place;
        } else if members.is_empty() {
            self.tags.remove(tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::entry::tests::entry;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_tag_has_exactly_its_carriers_and_nothing_is_left_behind(
            carried in prop::collection::vec(prop::collection::btree_set(0u8..6, 0..4), 0..24),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
            tag in 0u8..6,
        ) {
            let tag_of = |n: u8| Tag::named(&format!("t{n}"));
            let entries: Vec<_> = carried
                .iter()
                .map(|tags| Arc::new(entry("k", tags.iter().map(|n| tag_of(*n)).collect())))
                .collect();
            let mut index = TagIndex::default();
            entries.iter().for_each(|entry| index.insert(entry));
            let mut gone = std::collections::BTreeSet::new();
            if !entries.is_empty() {
                for pick in removed {
                    let nth = pick.index(entries.len());
                    index.remove(entries[nth].id());
                    gone.insert(nth);
                }
            }
            let mut taken = Vec::new();
            index.find(&Item::Tag(tag_of(tag)), &mut taken);
            let mut taken: Vec<_> = taken.iter().map(|entry| entry.id()).collect();
            taken.sort();
            let expected: Vec<_> = (0..entries.len())
                .filter(|nth| !gone.contains(nth) && carried[*nth].contains(&tag))
                .map(|nth| entries[nth].id())
                .collect();
            prop_assert_eq!(taken, expected);
            entries.iter().for_each(|entry| index.remove(entry.id()));
            prop_assert_eq!(index.len(), (0, 0));
        }
    }
}
