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
//!
//! Invariant: an entry is as old here as where it was fetched. It refuses to know how it came here.

use std::sync::Arc;

use crate::store::Store;
use crate::store::entry::Entry;
use crate::store::position::{Gate, Outdated};

impl Gate {
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
    use crate::store::position::{Outdate, Position};
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
    fn what_is_told_takes_the_place_of_what_answers_the_same_and_that_dies() {
        let store = store();
        let before = store.promote(told(0)).unwrap();
        let after = store.promote(told(0)).unwrap();
        assert!(before.is_dead() && !after.is_dead());
    }
}
