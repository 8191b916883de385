//! Which entries carry which tag. Dropping a tag costs by what it drops, a pattern by the names that begin as it does;
//! removing an entry costs by its own tags.
//!
//! ```text
//! names   tag ─► number          in order; a name that nobody carries any more goes a little later
//! tags    number ─► carriers     their seats
//! seats   number ─► entry        its place among the carriers of each of its tags
//! ```
//! Invariant: the two last point at each other. So an entry leaves without a search: at each of its places the last
//! carrier of that tag takes over. The index holds entries weakly, it keeps nothing alive; an entry knows its own seat.
//!
//! Among many entries the processor's caches know nothing of those that are looked for, so what is dropped costs by the
//! memory that is touched: an entry's beginning and its seat, the next ones while the first are on their way. Who is to
//! leave is struck off at once, and his seat is vacated when somebody has the time for it ([`TagIndex::vacate`]).

use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::Bound;
use std::sync::{Arc, Weak};

use smallvec::SmallVec;

use crate::route::tag::Tag;
use crate::store::entry::Entry;
use crate::store::rooms::Rooms;
use crate::store::search::{At, Search, Turn};

/// Entries that are fetched into the processor's caches together: as many as it can wait for at a time, and some more.
const TOGETHER: usize = 32;

/// The index; not synchronised, the gate's lock is around it.
#[derive(Debug, Default)]
pub struct TagIndex {
    names: BTreeMap<Tag, u32>,
    tags: Rooms<Carried>,
    seats: Rooms<Seat>,
    weight: u64,
    /// Seats of those who were struck off.
    leaving: Vec<u32>,
    /// Tags that nobody carried at a time: to find their names is what leaving would cost most.
    vacant: Vec<u32>,
    /// Tags that nobody carries now.
    unused: usize,
    /// Of an index that is emptied: the seats below this number are left.
    left: Option<u32>,
}

#[derive(Debug)]
struct Carried {
    name: Tag,
    by: SmallVec<[u32; 4]>,
}

#[derive(Debug)]
struct Seat {
    entry: Weak<Entry>,
    weight: u32,
    standing: Standing,
    /// In the order of the tags' numbers.
    places: Box<[Place]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Stays,
    Leaves,
}

#[derive(Debug)]
struct Place {
    tag: u32,
    /// Which of the tag's carriers it is.
    at: u32,
}

/// What becomes of an entry that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It stays.
    Stay,
    /// It leaves the index.
    Leave,
}

/// How far a search is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There may be more.
    More,
    /// It has been everywhere.
    Done,
}

impl TagIndex {
    /// Adds an entry under its tags. An entry is added once; if nobody else has it yet, it shares the text of its tags with
    /// those that carry them already.
    pub fn insert(&mut self, entry: &mut Arc<Entry>) {
        let mut numbers: SmallVec<[u32; 16]> = SmallVec::new();
        for tag in entry.tags() {
            let number = *self.names.entry(tag.clone()).or_insert_with_key(|name| {
                self.unused += 1;
                self.tags.add(Carried { name: name.clone(), by: SmallVec::new() })
            });
            numbers.push(number);
        }
        if let Some(own) = Arc::get_mut(entry) {
            own.share_tags(numbers.iter().map(|number| self.carried(*number).name.clone()));
        }
        numbers.sort_unstable();
        let weight = u32::try_from(entry.weight()).unwrap_or(u32::MAX);
        let entry_held = Arc::downgrade(entry);
        let standing = Standing::Stays;
        let seat = self.seats.add(Seat { entry: entry_held, weight, standing, places: Box::default() });
        let places = numbers.iter().map(|number| {
            let carriers = &mut self.carried_mut(*number).by;
            let (at, was_unused) = (small(carriers.len()), carriers.is_empty());
            carriers.push(seat);
            self.unused -= usize::from(was_unused);
            Place { tag: *number, at }
        });
        let places = places.collect();
        self.seats.at_mut(seat).expect("it was just taken").places = places;
        self.weight += u64::from(weight);
        entry.sit_down(seat);
        // More than it may have made vacant by taking another's place.
        self.forget_names(2 * numbers.len());
    }

    /// Takes an entry out; whether it was in.
    pub fn remove(&mut self, entry: &Entry) -> bool {
        let Some(number) = entry.seat() else { return false };
        // Its number may be another's by now.
        let is_its_own = |seat: &&mut Seat| std::ptr::eq(seat.entry.as_ptr(), entry);
        let seat = self.seats.at_mut(number).filter(is_its_own);
        let Some(seat) = seat.filter(|seat| seat.standing == Standing::Stays) else { return false };
        self.weight -= u64::from(seat.weight);
        self.leave(number);
        true
    }

    /// Goes on with a search for at most `steps` tags and entries, and does with each entry what `visit` says.
    pub fn go_on(
        &mut self,
        search: &mut Search,
        steps: usize,
        mut visit: impl FnMut(&Arc<Entry>) -> Then,
    ) -> Progress {
        // One to come back to where it was, one to go on.
        let last = search.steps + steps.max(2);
        while search.steps < last {
            match search.at {
                At::End => return Progress::Done,
                At::Entry(number) if number >= self.seats.end() => search.at = At::End,
                At::Entry(number) => {
                    let end = small(TOGETHER.min(last - search.steps)) + number;
                    self.approach(number..end);
                    search.steps += (end - number) as usize;
                    search.at = At::Entry(end);
                    (number..end).for_each(|number| self.look_at(number, &mut visit));
                }
                At::Tag { .. } => self.go_on_by_name(search, last, &mut visit),
            }
        }
        Progress::More
    }

    fn go_on_by_name(
        &mut self,
        search: &mut Search,
        last: usize,
        visit: &mut impl FnMut(&Arc<Entry>) -> Then,
    ) {
        let Some((number, left)) = self.next_tag(search, last) else { return };
        let Some(name) = self.tags.at(number).map(|carried| carried.name.clone()) else { return };
        // From the last one down: who leaves is replaced by one that was looked at before, or that came later.
        let mut left = left.unwrap_or(usize::MAX);
        loop {
            left = left.min(self.tags.at(number).map_or(0, |carried| carried.by.len()));
            if left == 0 {
                return search.leave(name.as_str());
            }
            if search.steps >= last {
                search.at = At::Tag { from: name.as_str().to_owned(), left: Some(left) };
                return;
            }
            let next = left - TOGETHER.min(left).min(last - search.steps);
            search.steps += left - next;
            let seats: SmallVec<[u32; TOGETHER]> = self.carried(number).by[next..left].into();
            left = next;
            self.approach(seats.iter().copied());
            seats.iter().rev().for_each(|seat| self.look_at(*seat, visit));
        }
    }

    /// The next tag that the search takes, and how many of its carriers are left to it. `None`: there is none within
    /// its steps.
    fn next_tag(&self, search: &mut Search, last: usize) -> Option<(u32, Option<usize>)> {
        loop {
            let At::Tag { from, left } = &search.at else { return None };
            let behind = (Bound::Included(from.as_str()), Bound::Unbounded);
            let (mut sought, mut come_to) = (None, None);
            for (tag, number) in self.names.range::<str, _>(behind) {
                if search.steps >= last {
                    sought = Some(tag.as_str().to_owned());
                    break;
                }
                search.steps += 1;
                match search.turn(tag) {
                    Turn::Pass => {}
                    Turn::Take => {
                        come_to = Some((*number, left.filter(|_| tag.as_str() == from)));
                        break;
                    }
                    Turn::Seek(name) => {
                        sought = Some(name);
                        break;
                    }
                    Turn::End => break,
                }
            }
            if come_to.is_some() {
                return come_to;
            }
            search.at = sought.map_or(At::End, |from| At::Tag { from, left: None });
            if search.steps >= last {
                return None;
            }
        }
    }

    /// Touches what is to be looked at. Nothing waits for what it reads, so the processor fetches all of it side by side;
    /// what is done to an entry after that would hold up the next one.
    fn approach(&self, seats: impl Iterator<Item = u32>) {
        let seats = seats.filter_map(|number| self.seats.at(number));
        black_box(seats.map(|seat| seat.entry.strong_count()).fold(0, usize::wrapping_add));
    }

    fn look_at(&mut self, number: u32, visit: &mut impl FnMut(&Arc<Entry>) -> Then) {
        let Some(seat) = self.seats.at_mut(number) else { return };
        if seat.standing == Standing::Leaves {
            return;
        }
        if seat.entry.upgrade().is_none_or(|entry| visit(&entry) == Then::Leave) {
            seat.standing = Standing::Leaves;
            self.weight -= u64::from(seat.weight);
            self.leaving.push(number);
        }
    }

    /// Vacates the seats of at most so many of those who were struck off.
    pub fn vacate(&mut self, most: usize) -> Progress {
        for _ in 0..most {
            let Some(number) = self.leaving.pop() else { break };
            self.leave(number);
        }
        if !self.leaving.is_empty() {
            return Progress::More;
        }
        self.leaving = Vec::new();
        Progress::Done
    }

    fn leave(&mut self, number: u32) {
        let Some(seat) = self.seats.take(number) else { return };
        for place in seat.places {
            self.give_up(&place);
        }
    }

    fn give_up(&mut self, place: &Place) {
        let Some(Carried { by, .. }) = self.tags.at_mut(place.tag) else { return };
        by.swap_remove(place.at as usize);
        // In an index that is being emptied, a carrier may have left its seat.
        if let Some(moved) = by.get(place.at as usize)
            && let Some(seat) = self.seats.at_mut(*moved)
        {
            let of_tag = seat.places.binary_search_by_key(&place.tag, |place| place.tag);
            seat.places[of_tag.expect("a carrier has a place")].at = place.at;
        }
        if by.spilled() && by.len() < by.capacity() / 4 {
            let mut fewer = SmallVec::with_capacity(2 * by.len());
            fewer.append(by);
            *by = fewer;
        }
        if by.is_empty() {
            self.unused += 1;
            self.vacant.push(place.tag);
        }
    }

    /// Lets go at most so many of the names that nobody carries any more.
    pub fn forget_names(&mut self, most: usize) -> Progress {
        for _ in 0..most {
            let Some(number) = self.vacant.pop() else { break };
            // It may be carried again, or be gone and its number another's.
            if self.tags.at(number).is_some_and(|carried| carried.by.is_empty())
                && let Some(carried) = self.tags.take(number)
            {
                self.unused -= 1;
                self.names.remove(&carried.name);
            }
        }
        if !self.vacant.is_empty() {
            return Progress::More;
        }
        self.vacant = Vec::new();
        Progress::Done
    }

    /// Gives any entry of an index to which nothing will be added any more, each once. It stays where it is: to let go of
    /// all of them takes longer than anybody should wait.
    pub fn pop(&mut self) -> Option<Arc<Entry>> {
        loop {
            let left = self.left.unwrap_or_else(|| self.seats.end());
            if (left as usize).is_multiple_of(TOGETHER) {
                self.approach(left.saturating_sub(small(TOGETHER))..left);
            }
            let number = left.checked_sub(1)?;
            self.left = Some(number);
            let seat = self.seats.at(number).filter(|seat| seat.standing == Standing::Stays);
            if let Some(entry) = seat.and_then(|seat| seat.entry.upgrade()) {
                return Some(entry);
            }
        }
    }

    /// How many entries carry `tag`, with those that were struck off and have not left.
    pub fn count(&self, tag: &Tag) -> usize {
        let number = self.names.get(tag);
        number.and_then(|number| self.tags.at(*number)).map_or(0, |carried| carried.by.len())
    }

    /// Entries in the index, and tags that they carry, or that those carried who were struck off and have not left.
    pub fn len(&self) -> (usize, usize) {
        (self.seats.len() - self.leaving.len(), self.names.len() - self.unused)
    }

    /// The entries on `most` seats from `from` on, round and round, each with the number of the seat behind it; that of the seat
    /// behind them all, and how many there are.
    pub(in crate::store) fn seated(&self, from: u32, most: usize) -> (Vec<(u32, Arc<Entry>)>, u32, usize) {
        let end = self.seats.end();
        let from = if from < end { from } else { 0 };
        let to = from.saturating_add(small(most)).min(end);
        let seated = |number| Some((number + 1, self.seats.at(number)?.entry.upgrade()?));
        ((from..to).filter_map(seated).collect(), to, end as usize)
    }

    /// What the entries in the index weigh, in bytes.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    fn carried(&self, number: u32) -> &Carried {
        self.tags.at(number).expect("every name has its carriers")
    }

    fn carried_mut(&mut self, number: u32) -> &mut Carried {
        self.tags.at_mut(number).expect("every name has its carriers")
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).expect("fewer than 2^32 entries fit into memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::reach::{Gaps, Item, Paths};
    use crate::store::entry::tests::{entry, like};
    use crate::store::position::Position;
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Names that lie close together: one begins as another does, hosts among them.
    fn tag() -> impl Strategy<Value = Tag> {
        let path = ("[ab](-x|:1)?", "(/[ab](-x)?){0,3}").prop_map(|(host, path)| Tag::path(&host, &path));
        let named = "[ab](:[ab12]{0,2})?".prop_map(|name| Tag::named(&name));
        prop_oneof![3 => path, 3 => named, 1 => "(/[ab]){1,2}".prop_map(|template| Tag::route(&template))]
    }

    fn gaps(literal: &'static str) -> impl Strategy<Value = Gaps> {
        prop::collection::vec(literal, 1..4).prop_map(Gaps::new)
    }

    fn item() -> impl Strategy<Value = Item> {
        let path = || "(/[ab](-x)?){0,3}";
        let segment = prop::option::of(gaps("[ab]?"));
        let like = (prop::collection::vec(segment, 0..3), any::<bool>());
        let paths = prop_oneof![
            path().prop_map(|path| Paths::one(&path)),
            path().prop_map(|path| Paths::below(&path)),
            gaps("[/ab-]{0,3}").prop_map(Paths::Glob),
            like.prop_map(|(segments, rest)| Paths::Like { segments, rest }),
        ];
        let host = prop::option::of("[ab](-x|:1)?".prop_map(|host| host.as_str().into()));
        prop_oneof![
            1 => Just(Item::All),
            2 => tag().prop_map(Item::Tag),
            3 => gaps("[ab:1]{0,2}").prop_map(Item::Tags),
            6 => (host, paths).prop_map(|(host, paths)| Item::Paths { host, paths }),
        ]
    }

    fn found(index: &mut TagIndex, item: &Item, steps: usize) -> BTreeSet<u64> {
        let (mut search, mut found) = (Search::new(item.clone()), BTreeSet::new());
        let mut see = |entry: &Arc<Entry>| {
            found.insert(entry.position().n);
            Then::Stay
        };
        while index.go_on(&mut search, steps, &mut see) == Progress::More {}
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn an_item_reaches_exactly_what_carries_a_tag_that_it_covers(
            carried in prop::collection::vec(prop::collection::btree_set(tag(), 0..4), 0..16),
            gone in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
            item in item(),
            steps in 1..9_usize,
        ) {
            let any = entry("k", vec![]);
            let mut index = TagIndex::default();
            let mut entries: Vec<_> = carried
                .into_iter()
                .enumerate()
                .map(|(n, tags)| {
                    let position = Position { n: n as u64, ..Position::default() };
                    Arc::new(like(&any, tags.into_iter().collect(), position, Bytes::new()))
                })
                .collect();
            entries.iter_mut().for_each(|entry| index.insert(entry));
            for pick in gone {
                if !entries.is_empty() {
                    let entry = entries.swap_remove(pick.index(entries.len()));
                    prop_assert!(index.remove(&entry));
                    prop_assert!(!index.remove(&entry), "it is gone");
                }
            }
            let reached = |entry: &&Arc<Entry>| item == Item::All || entry.tags().iter().any(|tag| item.covers(tag));
            let expected: BTreeSet<_> = entries.iter().filter(reached).map(|entry| entry.position().n).collect();
            prop_assert_eq!(found(&mut index, &item, steps), expected.clone());

            let (mut search, mut left) = (Search::new(item.clone()), BTreeSet::new());
            let mut leave = |entry: &Arc<Entry>| {
                assert!(left.insert(entry.position().n), "nobody leaves twice");
                Then::Leave
            };
            while index.go_on(&mut search, steps, &mut leave) == Progress::More {}
            prop_assert_eq!(&left, &expected);
            prop_assert_eq!(found(&mut index, &item, steps), BTreeSet::new());
            prop_assert_eq!(index.len().0, entries.len() - left.len());
            entries.iter().for_each(|entry| { index.remove(entry); });
            prop_assert_eq!((index.len().0, index.weight()), (0, 0));
            while index.vacate(steps) == Progress::More || index.forget_names(steps) == Progress::More {}
            let left = (index.names.len(), index.tags.end(), index.seats.end());
            let kept = (index.vacant.capacity(), index.leaving.capacity());
            prop_assert_eq!((left, kept), ((0, 0, 0), (0, 0)), "all memory is given back");
        }
    }

    /// An index over `paths` of each of `hosts`, and the steps of a search in it.
    fn steps(hosts: usize, paths: &[String], item: &Item) -> usize {
        let any = entry("k", vec![]);
        let mut index = TagIndex::default();
        let mut entries: Vec<_> = (0..hosts)
            .flat_map(|host| paths.iter().map(move |path| Tag::path(&format!("host-{host}"), path)))
            .map(|tag| Arc::new(like(&any, vec![tag], Position::default(), Bytes::new())))
            .collect();
        entries.iter_mut().for_each(|entry| index.insert(entry));
        let mut search = Search::new(item.clone());
        while index.go_on(&mut search, 1_000, |_| Then::Stay) == Progress::More {}
        search.steps()
    }

    #[test]
    fn entries_share_the_text_of_their_tags() {
        let any = entry("k", vec![]);
        let mut index = TagIndex::default();
        let [one, other] = [["a", "b"], ["a", "c"]].map(|names| {
            let tags = names.map(Tag::named).to_vec();
            let mut entry = Arc::new(like(&any, tags.clone(), Position::default(), Bytes::new()));
            index.insert(&mut entry);
            assert_eq!(entry.tags(), tags);
            entry
        });
        assert_eq!(one.tags()[0].as_str().as_ptr(), other.tags()[0].as_str().as_ptr());
    }

    #[test]
    fn a_path_on_every_host_is_found_from_host_to_host() {
        let one = Item::Paths { host: None, paths: Paths::one("/p/7") };
        let paths = |count: usize| (0..count).map(|n| format!("/p/{n}")).collect::<Vec<_>>();
        assert_eq!(steps(10, &paths(1_000), &one), steps(10, &paths(100), &one));
        assert!(steps(10, &paths(1_000), &one) <= 10 * 5);
        let here = Item::Paths { host: Some("host-3".into()), paths: Paths::one("/p/7") };
        assert!(steps(10, &paths(1_000), &here) <= 5);
    }

    #[test]
    fn what_lies_below_a_path_is_found_without_what_only_begins_alike() {
        let below = Item::Paths { host: None, paths: Paths::below("/p") };
        let mut paths: Vec<_> = (0..500).map(|n| format!("/p-{n}")).collect();
        paths.extend((0..500).map(|n| format!("/pz{n}")));
        paths.extend(["/p".to_owned(), "/p/a".to_owned(), "/p/b/c".to_owned()]);
        assert!(steps(1, &paths, &below) <= 12);
    }

    #[test]
    fn a_pattern_looks_at_what_begins_alike_only() {
        let any = entry("k", vec![]);
        let mut index = TagIndex::default();
        let names = (0..500).flat_map(|n| [format!("project:{n}"), format!("user:{n}")]);
        let mut entries: Vec<_> = names
            .map(|name| Arc::new(like(&any, vec![Tag::named(&name)], Position::default(), Bytes::new())))
            .collect();
        entries.iter_mut().for_each(|entry| index.insert(entry));
        let mut search = Search::new(Item::parse("project:4*").unwrap());
        while index.go_on(&mut search, 1_000, |_| Then::Stay) == Progress::More {}
        assert!(search.steps() <= 2 * 111 + 1, "{}", search.steps());
    }
}
