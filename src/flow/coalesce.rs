//! One fetch per key, however many wait for it.
//!
//! A flight is joined if it has not yet touched the origin, or if nothing that it may depend on was invalidated since
//! it did; what its answer depends on is not all known before it is there, so until then every named tag counts.
//! Otherwise the request opens the next flight; at most two are in the air per key, a third waits on the ground
//! and is joined by all who come until it departs.
//!
//! | flight | write | reader | |
//! |---|---|---|---|
//! | takes its ticket, asks the origin | | R1 joined before | |
//! | | is answered: floor above the ticket | | |
//! | | | R2 arrives, finds the flight outdated, opens the next | never sees the older body |
//! | lands: refused by the gate | | R1 gets it | he asked before the write was answered |
//!
//! At delivery it is checked again, by the position `a` that was raised when the waiter arrived: whatever was acknowledged
//! by then was raised before, though another one before it may still be swept.
//!
//! | flight | write | reader | |
//! |---|---|---|---|
//! | before its ticket, finds an entry that was stored meanwhile, lands with it | | | |
//! | | is answered: the entry dies | | |
//! | | | arrives, joins what has no ticket | |
//! | | | finds the entry dead, goes round again | `Whence::Found` is a hit, and checked like one (`read.rs`) |
//! | ticket `p` | floor `f` of what it turns out to depend on | arrived at `a` | taken if `f ≤ p`, or if `a < f`: he asked before |
//! | began before the end of a hold | | arrived after it | not taken: what the hold is for may be missing (`store/floor.rs`) |
//!
//! What was outdated after he arrived is nothing to him: who writes all the time keeps nobody waiting for ever.
//!
//! It refuses to know what a flight fetches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::watch;

use crate::fault::{self, Fault, Mistake};
use crate::route::key::Key;
use crate::route::tag::Tag;
use crate::store::position::{Arrival, Known, Outdated};
use crate::store::ticket::FillTicket;
use crate::traces::Trace;
use crate::upstream::{Haste, Priority, Urgency};

/// Most flights of one key in the air at once.
const IN_THE_AIR: usize = 2;

/// All flights of this node; `L` is what a flight lands with.
#[derive(Debug)]
pub struct Flights<L> {
    by_key: Mutex<Board<L>>,
}

/// The flights of each key, oldest first.
type Board<L> = HashMap<Key, Vec<Arc<Flight<L>>>, ahash::RandomState>;

/// One fetch that others may wait for.
#[derive(Debug)]
pub struct Flight<L> {
    depends: Mutex<Depends>,
    ticket: OnceLock<FillTicket>,
    trace: OnceLock<Trace>,
    landing: watch::Sender<Option<Result<L, Lost>>>,
    urgency: Haste,
}

/// What the answer of a flight depends on, as far as that is known.
#[derive(Clone, Debug)]
pub struct Depends {
    /// The tags that are known.
    pub tags: Arc<[Tag]>,
    /// Whether these are all.
    pub is_all: bool,
}

/// What a request is to a flight.
#[derive(Debug)]
pub enum Role<L> {
    /// Waits for it.
    Passenger(Arc<Flight<L>>),
    /// Flies it.
    Pilot(Departure<L>),
}

/// The duty to fly. Dropped, it takes the flight off the board, and whoever still waits is told that it was lost.
#[derive(Debug)]
pub struct Departure<L> {
    flights: Arc<Flights<L>>,
    key: Key,
    flight: Arc<Flight<L>>,
    after: Option<Arc<Flight<L>>>,
}

/// The flight ended without landing: whoever flew it was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

impl<L> Default for Flights<L> {
    fn default() -> Self {
        Self { by_key: Mutex::default() }
    }
}

impl<L> Flights<L> {
    /// Joins the flight for `key`, or opens one. `tags` are what the answer is known to depend on before it is there;
    /// a flight that has landed is joined only if `suits` says that its landing is for this request, which came at `arrival`.
    pub fn join(
        self: &Arc<Self>,
        key: &Key,
        tags: &[Tag],
        arrival: Arrival,
        suits: impl Fn(&L) -> bool,
    ) -> Role<L> {
        let mut by_key = self.lock();
        let flying = by_key.entry(key.clone()).or_default();
        if let Some(flight) = flying.iter().rev().find(|flight| flight.may_be_joined(arrival, &suits)) {
            return Role::Passenger(Arc::clone(flight));
        }
        let flight = Flight::new(tags);
        let mut aloft = flying.iter().filter(|flight| flight.landing.borrow().is_none());
        let after = aloft.next().filter(|_| aloft.count() + 1 >= IN_THE_AIR).cloned();
        flying.push(Arc::clone(&flight));
        Role::Pilot(Departure { flights: Arc::clone(self), key: key.clone(), flight, after })
    }

    /// Whether `key` is being fetched, for whomever may join.
    pub fn is_flying(&self, key: &Key) -> bool {
        self.lock().contains_key(key)
    }

    /// Whether [`Flights::join`] would find a flight to wait for.
    pub fn has_room(&self, key: &Key, arrival: Arrival, suits: impl Fn(&L) -> bool) -> bool {
        let by_key = self.lock();
        let flying = by_key.get(key).map(Vec::as_slice).unwrap_or_default();
        flying.iter().any(|flight| flight.may_be_joined(arrival, &suits))
    }

    /// A flight that nobody joins.
    pub fn alone(self: &Arc<Self>, key: &Key, tags: &[Tag]) -> Departure<L> {
        Departure { flights: Arc::clone(self), key: key.clone(), flight: Flight::new(tags), after: None }
    }

    /// Keys that are being fetched.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing is being fetched.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Board<L>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L> Flight<L> {
    fn new(tags: &[Tag]) -> Arc<Self> {
        let depends = Mutex::new(Depends { tags: tags.into(), is_all: false });
        let (landing, urgency) = (watch::Sender::new(None), Haste::default());
        Arc::new(Self { depends, ticket: OnceLock::new(), trace: OnceLock::new(), landing, urgency })
    }

    /// Somebody of this priority waits for it: whoever is the most urgent decides how long it waits for the origin.
    pub fn hasten(&self, priority: Priority) {
        self.urgency.hasten(priority);
    }

    fn may_be_joined(&self, arrival: Arrival, suits: impl Fn(&L) -> bool) -> bool {
        if let Some(Ok(landing)) = &*self.landing.borrow()
            && !suits(landing)
        {
            return false;
        }
        let Some(ticket) = self.ticket() else { return true };
        if fault::made(Mistake::BoardingOpenBehindTheLease) && self.landing.borrow().is_none() {
            return true;
        }
        // Without a lease nobody here knows of all that was acknowledged since it departed.
        if !arrival.is_leased && !fault::made(Mistake::JoinedWithoutALease) {
            return false;
        }
        let Depends { tags, is_all } = self.depends();
        ticket.check(Known { tags: &tags, is_all }).is_ok()
    }

    /// The ticket under which the origin was asked, once it was.
    pub fn ticket(&self) -> Option<&FillTicket> {
        self.ticket.get().filter(|_| !fault::is(Fault::OldFlightJoined))
    }

    /// In whose trace the origin is asked; none before it is.
    pub fn trace(&self) -> &Trace {
        self.trace.get().unwrap_or(&Trace::NONE)
    }

    /// Whether what it brought may be given to who came at `arrival`. While it is held, so are the floors that say so.
    ///
    /// # Errors
    /// [`Outdated`]: it was fetched before something that was invalidated by then.
    pub fn check_for(&self, arrival: Arrival) -> Result<(), Outdated> {
        let Some(ticket) = self.ticket() else { return Ok(()) };
        let Depends { tags, is_all } = self.depends();
        ticket.check_for(arrival, Known { tags: &tags, is_all })
    }

    fn depends(&self) -> Depends {
        self.depends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<L: Clone> Flight<L> {
    /// Waits until the flight has landed.
    ///
    /// # Errors
    /// [`Lost`] if it never will.
    pub async fn landing(&self) -> Result<L, Lost> {
        let mut landing = self.landing.subscribe();
        // The sender lives in `self`, so the channel cannot close before a value is there.
        let landed = landing.wait_for(Option::is_some).await.map_err(|_| Lost)?;
        landed.clone().unwrap_or(Err(Lost))
    }
}

impl<L: Clone> Departure<L> {
    /// Waits until there is room in the air.
    pub async fn cleared(&mut self) {
        if let Some(older) = self.after.take() {
            let _ = older.landing().await;
        }
    }

    /// Notes the ticket under which the origin is about to be asked; from here on the join rule looks at it.
    pub fn depart(&self, ticket: FillTicket) -> &FillTicket {
        self.flight.ticket.get_or_init(|| ticket)
    }

    /// Notes in whose trace the origin is asked.
    pub fn say(&self, trace: &Trace) {
        let _first = self.flight.trace.set(trace.clone());
    }

    /// Somebody of this priority waits for it; gives how urgent it is, by all who do.
    pub fn hasten(&self, priority: Priority) -> Urgency {
        self.flight.hasten(priority);
        self.flight.urgency.told()
    }

    /// What the answer depends on, as far as that is known.
    pub fn depends(&self) -> Depends {
        self.flight.depends()
    }

    /// Adds what the answer turns out to depend on; `is_all`: there will be no more.
    pub fn learn(&self, more: impl IntoIterator<Item = Tag>, is_all: bool) {
        let mut depends = self.flight.depends.lock().unwrap_or_else(PoisonError::into_inner);
        depends.tags = depends.tags.iter().cloned().chain(more).collect();
        depends.is_all |= is_all;
    }

    /// The key that is fetched.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Tells everyone who waits, and whoever joins from now on; a later landing replaces an earlier one.
    pub fn land(&self, landing: L) {
        self.flight.landing.send_replace(Some(Ok(landing)));
    }

    /// The flight as a passenger sees it.
    pub fn flight(&self) -> Arc<Flight<L>> {
        Arc::clone(&self.flight)
    }
}

impl<L> Drop for Departure<L> {
    fn drop(&mut self) {
        self.flight.landing.send_if_modified(|landing| {
            let lost = landing.is_none();
            landing.get_or_insert(Err(Lost));
            lost
        });
        let mut by_key = self.flights.lock();
        if let Some(flying) = by_key.get_mut(&self.key) {
            flying.retain(|flight| !Arc::ptr_eq(flight, &self.flight));
            if flying.is_empty() {
                by_key.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::reach::Reach;
    use crate::store::position::{Gate, Outdate, Position};
    use futures_util::FutureExt;
    use std::time::Duration;

    const LEASED: Arrival =
        Arrival { position: Position { epoch: 0, n: 0 }, at: Duration::ZERO, is_leased: true };

    fn key() -> Key {
        Key::from_bytes(b"k")
    }

    fn outdated() -> Outdate {
        Outdate { reach: Reach::of(tag()), ..Outdate::default() }
    }

    fn tag() -> Vec<Tag> {
        vec![Tag::named("k")]
    }

    fn pilot(flights: &Arc<Flights<u8>>) -> Departure<u8> {
        match flights.join(&key(), &tag(), LEASED, |_| true) {
            Role::Pilot(departure) => departure,
            Role::Passenger(_) => panic!("expected to open a flight"),
        }
    }

    fn passenger(flights: &Arc<Flights<u8>>) -> Arc<Flight<u8>> {
        match flights.join(&key(), &tag(), LEASED, |_| true) {
            Role::Passenger(flight) => flight,
            Role::Pilot(_) => panic!("expected to join a flight"),
        }
    }

    #[tokio::test]
    async fn everyone_who_comes_before_the_landing_shares_it() {
        let flights = Arc::new(Flights::default());
        let departure = pilot(&flights);
        let waiting = [passenger(&flights), passenger(&flights)];
        departure.land(7);
        drop(departure);
        for flight in waiting {
            assert_eq!(flight.landing().await, Ok(7));
        }
        assert!(flights.is_empty());
    }

    #[tokio::test]
    async fn a_flight_that_is_lost_hangs_nobody() {
        let flights = Arc::new(Flights::default());
        let departure = pilot(&flights);
        let waiting = passenger(&flights);
        drop(departure);
        assert_eq!(waiting.landing().await, Err(Lost));
    }

    #[test]
    fn who_comes_without_a_lease_boards_only_what_has_not_departed() {
        let (flights, gate) = (Arc::new(Flights::default()), Arc::new(Gate::default()));
        let blind = Arrival { is_leased: false, ..LEASED };
        let departure = pilot(&flights);
        assert!(flights.has_room(&key(), blind, |_| true));
        departure.depart(gate.ticket(Duration::ZERO));
        assert!(flights.has_room(&key(), LEASED, |_| true));
        assert!(!flights.has_room(&key(), blind, |_| true), "what was acknowledged since is not known here");
    }

    #[test]
    fn a_flight_that_an_invalidation_outdated_takes_nobody_more() {
        let (flights, gate) = (Arc::new(Flights::default()), Arc::new(Gate::default()));
        let old = pilot(&flights);
        old.depart(gate.ticket(Duration::ZERO));
        passenger(&flights);
        gate.outdate(&outdated(), Duration::ZERO);
        let next = pilot(&flights);
        passenger(&flights);
        drop(next);
    }

    #[tokio::test]
    async fn a_third_flight_waits_on_the_ground_and_takes_everyone_until_it_departs() {
        let (flights, gate) = (Arc::new(Flights::default()), Arc::new(Gate::default()));
        let first = pilot(&flights);
        first.depart(gate.ticket(Duration::ZERO));
        gate.outdate(&outdated(), Duration::ZERO);
        let second = pilot(&flights);
        second.depart(gate.ticket(Duration::ZERO));
        gate.outdate(&outdated(), Duration::ZERO);
        let mut third = pilot(&flights);
        assert!(third.cleared().now_or_never().is_none(), "two are in the air");
        gate.outdate(&outdated(), Duration::ZERO);
        passenger(&flights);
        first.land(1);
        drop(first);
    }

    #[tokio::test]
    async fn a_flight_that_has_landed_is_not_counted_as_in_the_air() {
        let (flights, gate) = (Arc::new(Flights::default()), Arc::new(Gate::default()));
        let streaming = pilot(&flights);
        streaming.depart(gate.ticket(Duration::ZERO));
        streaming.land(1);
        gate.outdate(&outdated(), Duration::ZERO);
        let _aloft: Vec<_> = (0..2)
            .map(|_| {
                let mut departure = pilot(&flights);
                assert!(departure.cleared().now_or_never().is_some());
                departure.depart(gate.ticket(Duration::ZERO));
                gate.outdate(&outdated(), Duration::ZERO);
                departure
            })
            .collect();
        let mut third = pilot(&flights);
        assert!(third.cleared().now_or_never().is_none(), "two are in the air");
    }

    #[test]
    fn a_landing_that_is_for_others_is_not_joined() {
        let flights = Arc::new(Flights::default());
        let others = pilot(&flights);
        others.land(7);
        assert!(matches!(flights.join(&key(), &tag(), LEASED, |landing| *landing != 7), Role::Pilot(_)));
        assert!(matches!(flights.join(&key(), &tag(), LEASED, |landing| *landing == 7), Role::Passenger(_)));
    }
}
