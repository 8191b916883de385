//! What another node of the fleet has kept, and is to be kept here.
//!
//! | entry elsewhere | invalidation | here | what keeps the promise |
//! |---|---|---|---|
//! | fetched at `p`, told | | | |
//! | | floor = `p + 1`, applied here | | it is kept, whoever is in flight (`floor.rs`) |
//! | | | a flight takes its ticket `p + 1`, and asks the tier | |
//! | | | gets the entry | judged by its own position `p`, not by the flight's ticket: refused |
//! | fetched at `p`, told | | gets it, indexes it under the gate at `p` | |
//! | | floor = `p + 1` | | it is found in the index and dies |
//! | | `p + 1` is forgotten: no room, or the journal let it go | | the horizon is above `p`: refused |
//! | fetched at `p`, told | cannot be appended, and holds here all the same | gets it | nothing that is told is kept until that has its place ([`Aside`]) |
//!
//! Invariant: an entry is as old here as where it was fetched. It refuses to know how it came here.

use std::sync::Arc;

use crate::store::Store;
use crate::store::entry::Entry;
use crate::store::position::{Gate, Outdated};

/// Something holds here that the journal has no place for yet, so positions know nothing of it: while this lives, nothing that other
/// nodes tell is kept.
#[derive(Debug)]
pub struct Aside(Arc<Gate>);

impl Drop for Aside {
    fn drop(&mut self) {
        self.0.lock().asides -= 1;
    }
}

impl Gate {
    /// To be called before it is outdated.
    pub fn set_aside(self: &Arc<Self>) -> Aside {
        self.lock().asides += 1;
        Aside(Arc::clone(self))
    }

    /// From now on floors above `horizon` are kept for what other nodes tell, and what is older is refused. To be said when the
    /// journal has been read from there on, and again when it lets go of records; the horizon does not fall.
    pub fn retain_floors(&self, horizon: u64) {
        self.lock().floors.raise_horizon(horizon);
    }

    /// From where on what other nodes tell can be judged; `None`: nothing can.
    pub fn horizon(&self) -> Option<u64> {
        self.lock().floors.horizon()
    }

    /// Indexes an entry that another node has told, unless something that it depends on was invalidated since its own position.
    ///
    /// # Errors
    /// [`Outdated`]: something was, or may have been; nobody may be given it.
    pub fn promote(&self, entry: &mut Arc<Entry>) -> Result<(), Outdated> {
        self.lock().promote(entry)
    }
}

impl Store {
    /// Keeps an entry that another node has told, under its own position.
    ///
    /// # Errors
    /// [`Outdated`]: nobody may be given it.
    pub fn promote(&self, entry: Entry) -> Result<Arc<Entry>, Outdated> {
        let mut entry = Arc::new(entry);
        self.gate.promote(&mut entry)?;
        self.show(&entry);
        Ok(entry)
    }

    /// See [`Gate::set_aside`].
    pub fn set_aside(&self) -> Aside {
        self.gate.set_aside()
    }

    /// See [`Gate::retain_floors`].
    pub fn retain_floors(&self, horizon: u64) {
        self.gate.retain_floors(horizon);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::route::reach::Reach;
    use crate::route::tag::Tag;
    use crate::store::entry::tests::{entry, like};
    use crate::store::position::{Known, Outdate, Position};
    use crate::store::{Found, Settings};
    use bytes::Bytes;
    use std::time::Duration;

    const NOW: Duration = Duration::from_secs(5);

    fn store() -> Store {
        let limits = Settings { memory: 1 << 20, entries: None };
        let store = Store::in_epoch(3, &limits, Arc::new(Metrics::new(&[])));
        store.retain_floors(0);
        store
    }

    fn told(n: u64) -> Entry {
        let position = Position { epoch: 3, n };
        like(&entry("k", vec![]), vec![Tag::named("t")], position, Bytes::from_static(b"told"))
    }

    fn outdate(store: &Store) {
        store.outdate(&Outdate { reach: Reach::of([Tag::named("t")]), ..Outdate::default() }, NOW);
    }

    #[test]
    fn what_is_told_is_found_and_as_old_as_where_it_was_fetched() {
        let store = store();
        (0..3).for_each(|_| outdate(&store));
        let flight = store.ticket(NOW);
        assert!(store.promote(told(2)).is_err(), "the flight is newer, it is not");
        let kept = store.promote(told(3)).unwrap();
        assert!(matches!(store.lookup(b"k", |_| true, NOW), Found::Entry(entry) if entry.id() == kept.id()));
        assert_eq!((kept.position().n, flight.position().n), (3, 3));
        outdate(&store);
        assert!(kept.is_dead());
        assert!(store.promote(told(3)).is_err());
        assert!(matches!(store.lookup(b"k", |_| true, NOW), Found::Nothing));
    }

    #[test]
    fn while_something_has_no_place_yet_nothing_that_is_told_is_kept() {
        let store = store();
        let asides = [store.set_aside(), store.set_aside()];
        let reach = Reach::of([Tag::named("another")]);
        store.outdate_aside(&Outdate { reach, ..Outdate::default() }, NOW);
        for aside in asides {
            assert!(store.promote(told(0)).is_err());
            drop(aside);
        }
        assert!(store.promote(told(0)).is_ok());
    }

    #[test]
    fn behind_records_that_were_missed_nothing_older_is_kept_wherever_it_comes_from() {
        let store = store();
        let flight = store.ticket(NOW);
        store.begin_anew(Position { epoch: 3, n: 7 });
        assert!(store.promote(told(6)).is_err(), "told");
        let missed = Known { tags: &[Tag::named("t")], is_all: true };
        assert!(flight.check(missed).is_err(), "on its way");
        drop(flight);
        assert!(store.promote(told(7)).is_ok());
        assert_eq!(store.ticket(NOW).check(missed), Ok(()));
    }

    #[test]
    fn what_is_told_in_a_new_epoch_is_judged_from_where_its_journal_begins() {
        let store = store();
        (0..9).for_each(|_| outdate(&store));
        store.retain_floors(8);
        store.begin_anew(Position { epoch: 4, n: 2 });
        assert!(store.promote(told(9)).is_err(), "of the last one");
        let of_this = |n| like(&told(0), vec![Tag::named("t")], Position { epoch: 4, n }, Bytes::new());
        assert!(store.promote(of_this(1)).is_err());
        assert!(store.promote(of_this(2)).is_ok());
        outdate(&store);
        assert!(store.promote(of_this(2)).is_err());
        assert!(store.promote(of_this(3)).is_ok());
    }

    #[test]
    fn what_is_told_takes_the_place_of_what_answers_the_same_and_that_dies() {
        let store = store();
        let before = store.promote(told(0)).unwrap();
        let after = store.promote(told(0)).unwrap();
        assert!(before.is_dead() && !after.is_dead());
    }
}
