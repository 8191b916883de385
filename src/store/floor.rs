//! Floors: the last position at which something was outdated, for as long as that can refuse anybody.
//!
//! ```text
//! fill in flight    ticket p ────────────────── asks to be kept: refused if p < n
//! fill begun later                ticket ≥ n ── asks to be kept: refused if it began before `written + settle`, or `until`
//! floor                    n ─────────────────────────────────┐ gone: no ticket below n, no fetch begun before the hold ended
//! ```
//! The end of a hold is an invalidation of its own, which needs no timer: who comes after it is not given what was fetched
//! before it, though that may have begun after the floor was raised.
//!
//! | write | flight | reader | what keeps the promise |
//! |---|---|---|---|
//! | no answer: floor, held until `e` | | | |
//! | | ticket above the floor, reads the old state | | begun before `e`: never kept |
//! | is done at the origin after all | | joins, gets it | he came before `e` |
//! | | | comes after `e`, and does not join | begun before `e`, and he came after it ([`Floors::check_held`]) |
//!
//! With a shared tier floors judge what other nodes tell as well, however long ago it was fetched: there is a *horizon*, and every floor
//! above it is kept. What is below it cannot be judged, and is refused; so is everything, where there is no tier.
//!
//! ```text
//! told by others      p ──────── of use?   refused if p < horizon, or p < n of what it depends on
//! floors         n ≤ horizon: let go with the flights │ n > horizon: kept, until there is no room: then the horizon rises
//! ```
//! Invariant: a floor that could refuse a ticket in flight, one that is taken now, or what is told, is kept, or its part of a floor of
//! everything is, or of the horizon: that refuses too much and never too little. Where nobody can be refused any more, nothing is kept.

use std::collections::HashMap;
use std::time::Duration;

use crate::fault::{self, Fault, Mistake};
use crate::route::reach::Item;
use crate::route::tag::Tag;
use crate::store::position::{Hold, Known, Outdated, Position};

/// Most tags that keep a floor of their own; beyond it the floor of everything is raised.
pub const MAX_FLOORS: usize = 65_536;

/// Most floors of items that are no single tag: each is looked at by every fill.
pub const MAX_WIDE_FLOORS: usize = 256;

/// If so many are left after idle floors were dropped for room, all are given up: or each new one would look for room.
const CROWDED: usize = MAX_FLOORS / 8 * 7;

/// So many floors are kept without a look at which of them are idle.
const FEW: usize = 64;

/// For how long settling floors are kept until the longest `settle` is known.
pub const LONGEST_SETTLE: Duration = Duration::from_secs(60);

/// All floors; not synchronised, the gate's lock is around them.
#[derive(Debug)]
pub(in crate::store) struct Floors {
    own: HashMap<Tag, Floor, ahash::RandomState>,
    /// Of items that are more than one tag.
    wide: Vec<(Item, Floor)>,
    /// Of everything whose own was given up, and of what outdated everything.
    of_all: Floor,
    /// As high, and held as long, as the highest and longest of them.
    highest: Floor,
    /// The same of those that are held for writes whose outcome nobody knows.
    unknown: Floor,
    /// Last position at which something was outdated that an answer may turn out to depend on.
    named: u64,
    /// So many floors of their own are looked through for idle ones.
    look_at: usize,
    /// The longest `settle` of a route.
    settle: Duration,
    /// What is told by others and is older cannot be judged; `None`: nobody tells anything.
    horizon: Option<u64>,
}

/// Until when fetches are too old to be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Floor {
    /// Those with a ticket below it.
    pub(in crate::store) n: u64,
    /// Those begun before (monotonic) this and the route's `settle`.
    pub(in crate::store) written: Option<Duration>,
    /// Those begun before (monotonic).
    pub(in crate::store) until: Duration,
    /// When (monotonic) the first hold ends that anybody in flight began within; `None`: nothing is held.
    pub(in crate::store) ends: Option<Duration>,
}

/// Who may have begun within a hold.
#[derive(Clone, Copy, Debug)]
struct Holds {
    settle: Duration,
    /// When (monotonic) the oldest fetch in flight began.
    begun: Duration,
}

/// The oldest ticket in flight; with none, the one that is taken next.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Oldest {
    /// Its position.
    pub(in crate::store) n: u64,
    /// When (monotonic) its fetch began.
    pub(in crate::store) begun: Duration,
}

impl Default for Floors {
    fn default() -> Self {
        Self {
            own: HashMap::default(),
            wide: Vec::new(),
            of_all: Floor::default(),
            highest: Floor::default(),
            unknown: Floor::default(),
            named: 0,
            look_at: FEW,
            settle: LONGEST_SETTLE,
            horizon: None,
        }
    }
}

impl Floors {
    /// Settling floors are kept for `settle` from now on.
    pub(in crate::store) fn settle_within(&mut self, settle: Duration) {
        self.settle = settle;
    }

    /// The longest `settle` of a route.
    pub(in crate::store) fn settle(&self) -> Duration {
        self.settle
    }

    /// From now on floors above `n` are kept for what others tell; it does not fall.
    pub(in crate::store) fn raise_horizon(&mut self, n: u64) {
        self.horizon = self.horizon.max(Some(n));
    }

    /// From where on what others tell can be judged.
    pub(in crate::store) fn horizon(&self) -> Option<u64> {
        self.horizon
    }

    /// The floor of an invalidation at `n`, which is said at `now` (monotonic).
    pub(in crate::store) fn of_hold(&self, n: u64, hold: Hold, now: Duration) -> Floor {
        let (written, until, ends) = match hold {
            Hold::Settle if fault::is(Fault::SettleIgnored) => (None, Duration::ZERO, None),
            Hold::For(_) if fault::is(Fault::UnknownOutcomeNotHeld) => (None, Duration::ZERO, None),
            Hold::None => (None, Duration::ZERO, None),
            Hold::Settle => {
                let ends = now.saturating_add(self.settle);
                (Some(now), Duration::ZERO, Some(ends).filter(|ends| *ends > now))
            }
            Hold::For(hold) => (None, now.saturating_add(hold), Some(now.saturating_add(hold))),
        };
        Floor { n, written, until, ends }
    }

    /// Refuses what depends on `item` and is older than `floor`.
    pub(in crate::store) fn raise(&mut self, item: &Item, floor: Floor, oldest: Oldest) {
        if item.may_cover_unknown() {
            self.named = self.named.max(floor.n);
        }
        let holds = self.holds(oldest);
        match item {
            Item::All if fault::is(Fault::FloorOfAllForgotten) => {}
            Item::All => {
                self.of_all.raise(floor, holds);
                // It refuses what is below it as well, and no other floor is needed for that.
                self.horizon = self.horizon.map(|horizon| horizon.max(floor.n));
            }
            Item::Tag(tag) => self.raise_own(tag, floor, oldest),
            _ if fault::is(Fault::WideFloorsForgotten) => {}
            wide => self.raise_wide(wide, floor, oldest),
        }
        self.highest.raise(floor, holds);
        if floor.until > Duration::ZERO {
            self.unknown.raise(floor, holds);
        }
    }

    fn raise_own(&mut self, tag: &Tag, floor: Floor, oldest: Oldest) {
        let holds = self.holds(oldest);
        if let Some(known) = self.own.get_mut(tag) {
            return known.raise(floor, holds);
        }
        if self.own.len() >= MAX_FLOORS {
            self.drop_idle(oldest);
            if self.own.len() > CROWDED {
                self.see_less_far(self.own.values().map(|floor| floor.n).collect(), oldest);
            }
            if self.own.len() > CROWDED {
                self.give_up(holds);
            }
        }
        self.own.insert(tag.clone(), floor);
    }

    fn raise_wide(&mut self, item: &Item, floor: Floor, oldest: Oldest) {
        let holds = self.holds(oldest);
        if let Some((_, known)) = self.wide.iter_mut().find(|(known, _)| known == item) {
            return known.raise(floor, holds);
        }
        if self.wide.len() >= MAX_WIDE_FLOORS {
            self.drop_idle(oldest);
            if self.wide.len() >= MAX_WIDE_FLOORS {
                self.see_less_far(self.wide.iter().map(|(_, floor)| floor.n).collect(), oldest);
            }
            if self.wide.len() >= MAX_WIDE_FLOORS {
                self.give_up(holds);
            }
        }
        self.wide.push((item.clone(), floor));
    }

    /// Raises the horizon above the lower half of these floors, so that only flights can still need them.
    fn see_less_far(&mut self, mut floors: Vec<u64>, oldest: Oldest) {
        let middle = floors.len() / 2;
        if self.horizon.is_some() && middle < floors.len() {
            let (_, middle, _) = floors.select_nth_unstable(middle);
            self.raise_horizon(*middle);
            self.drop_idle(oldest);
        }
    }

    /// One floor for all: refuses too much, and never too little.
    fn give_up(&mut self, holds: Holds) {
        let own = self.own.drain().map(|(_, floor)| floor);
        let all = own.chain(self.wide.drain(..).map(|(_, floor)| floor));
        all.for_each(|floor| self.of_all.raise(floor, holds));
    }

    fn holds(&self, oldest: Oldest) -> Holds {
        Holds { settle: self.settle, begun: oldest.begun }
    }

    /// Whether nothing that an answer depends on was outdated above `position`, up to `until`.
    pub(in crate::store) fn check(
        &self,
        position: Position,
        known: Known<'_>,
        until: u64,
    ) -> Result<(), Outdated> {
        let between = |n: u64| position.n < n && n <= until;
        let outdated = between(self.of_all.n)
            || (!known.is_all && !fault::is(Fault::UnknownTagsJoined) && between(self.named))
            || self.of(known.tags).any(|floor| between(floor.n));
        if outdated { Err(Outdated::Invalidated) } else { Ok(()) }
    }

    /// Whether what others tell, of a fetch that began at `position`, is not too old to be judged.
    pub(in crate::store) fn check_told(&self, position: Position) -> Result<(), Outdated> {
        let is_trusted = fault::made(Mistake::OlderThanTheJournalTrusted);
        let is_in_sight = self.horizon.is_some_and(|horizon| position.n >= horizon || is_trusted);
        if is_in_sight { Ok(()) } else { Err(Outdated::Invalidated) }
    }

    /// Whether a fetch that began at `begun` began after all that concerns it was settled.
    pub(in crate::store) fn check_settled(
        &self,
        begun: Duration,
        settle: Duration,
        tags: &[Tag],
    ) -> Result<(), Outdated> {
        let unsettled = |floor: Floor| {
            begun < floor.until || floor.written.is_some_and(|written| begun < written.saturating_add(settle))
        };
        let unsettled = unsettled(self.of_all) || self.of(tags).any(unsettled);
        if unsettled { Err(Outdated::Settling) } else { Ok(()) }
    }

    /// Whether a fetch that began at `begun` is good for who came at `at` (both monotonic): no hold of what concerns it had
    /// ended in between. Routes may have a shorter `settle`; the longest of them says when it ends. What is not known yet
    /// counts as held by every write of which nobody knows the outcome.
    pub(in crate::store) fn check_held(
        &self,
        begun: Duration,
        at: Duration,
        known: Known<'_>,
    ) -> Result<(), Outdated> {
        let ended = |floor: Floor| floor.has_ended_between(begun, at, self.settle);
        let ended =
            ended(self.of_all) || (!known.is_all && ended(self.unknown)) || self.of(known.tags).any(ended);
        if ended { Err(Outdated::Settling) } else { Ok(()) }
    }

    fn of(&self, tags: &[Tag]) -> impl Iterator<Item = Floor> {
        let known = if self.own.is_empty() { &[] } else { tags };
        let own = known.iter().filter_map(|tag| self.own.get(tag)).copied();
        let wide = self.wide.iter().filter(|(item, _)| tags.iter().any(|tag| item.covers(tag)));
        own.chain(wide.map(|(_, floor)| *floor))
    }

    /// Another epoch begins at `n`: nothing from before it is kept, but what is held is held by the clock.
    pub(in crate::store) fn begin_anew(&mut self, n: u64) {
        let own = self.own.values_mut().chain(self.wide.iter_mut().map(|(_, floor)| floor));
        let others = [&mut self.of_all, &mut self.highest, &mut self.unknown];
        own.chain(others).for_each(|floor| floor.n = floor.n.min(n));
        self.named = self.named.min(n);
        // What was told is of the last epoch, and of no use.
        self.horizon = self.horizon.map(|_| n);
    }

    /// Forgets floors that can refuse nobody any more: all at once if all are such, and else those that are whenever they
    /// have become twice as many.
    pub(in crate::store) fn tidy(&mut self, oldest: Oldest) {
        if self.is_idle(&self.highest, oldest) {
            if self.highest != Floor::default() {
                let Self { named, settle, horizon, .. } = *self;
                *self = Self { named, settle, horizon, ..Self::default() };
            }
        } else if self.own.len() >= self.look_at {
            self.drop_idle(oldest);
        }
    }

    /// Forgets every floor that can refuse nobody any more.
    pub(in crate::store) fn drop_idle(&mut self, oldest: Oldest) {
        let (settle, horizon) = (self.settle, self.horizon);
        let is_idle = |floor: &Floor| floor.is_idle(settle, oldest, horizon);
        self.own.retain(|_, floor| !is_idle(floor));
        self.wide.retain(|(_, floor)| !is_idle(floor));
        if is_idle(&self.of_all) {
            self.of_all = Floor::default();
        }
        self.own.shrink_to(2 * self.own.len());
        self.look_at = (2 * self.own.len()).max(FEW);
    }

    fn is_idle(&self, floor: &Floor, oldest: Oldest) -> bool {
        floor.is_idle(self.settle, oldest, self.horizon)
    }

    /// Floors that are kept now.
    pub(in crate::store) fn len(&self) -> usize {
        self.own.len() + self.wide.len() + usize::from(self.of_all != Floor::default())
    }
}

impl Floor {
    fn raise(&mut self, other: Self, holds: Holds) {
        let own = self.ends.filter(|_| self.held_until(holds.settle) > holds.begun);
        self.ends = own.into_iter().chain(other.ends).min();
        self.n = self.n.max(other.n);
        self.written = self.written.max(other.written);
        self.until = self.until.max(other.until);
    }

    /// When the last of its holds ends.
    fn held_until(&self, settle: Duration) -> Duration {
        let settled = self.written.map_or(Duration::ZERO, |written| written.saturating_add(settle));
        self.until.max(settled)
    }

    /// Whether one of its holds ended behind `begun`, and not after `at`; of several, every moment between the first end and
    /// the last counts as one.
    fn has_ended_between(&self, begun: Duration, at: Duration, settle: Duration) -> bool {
        self.ends.is_some_and(|first| first <= at) && begun < at.min(self.held_until(settle))
    }

    fn is_idle(&self, settle: Duration, oldest: Oldest, horizon: Option<u64>) -> bool {
        let horizon = horizon.filter(|_| !fault::is(Fault::FloorLetGoEarly));
        let needed_above = horizon.map_or(oldest.n, |horizon| horizon.min(oldest.n));
        self.n <= needed_above && self.held_until(settle) <= oldest.begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::reach::{Gaps, Paths, Reach};
    use crate::store::entry::tests::{entry, like};
    use crate::store::position::{Gate, Hold, Outdate};
    use crate::store::ticket::FillTicket;
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::sync::Arc;

    const SETTLE: Duration = Duration::from_millis(30);

    /// What happens at the gate.
    #[derive(Clone, Debug)]
    enum Act {
        Depart,
        Land(prop::sample::Index),
        Outdate(Vec<Item>, Hold),
        Pass(u64),
        /// The fill of a flight that turns out to carry these.
        Fill(prop::sample::Index, Vec<Tag>),
        Look,
        /// What was fetched so many positions ago, and turns out to carry these, is told by another node.
        Told(u64, Vec<Tag>),
        /// From here on floors are kept for that.
        Join,
        /// The journal lets go of all but so many records.
        Trim(u64),
    }

    fn tag() -> impl Strategy<Value = Tag> {
        let path = "(/[ab]){1,2}".prop_map(|path| Tag::path("h", &path));
        prop_oneof!["[ab]:[12]".prop_map(|name| Tag::named(&name)), path]
    }

    fn item() -> impl Strategy<Value = Item> {
        let pattern = "[ab]:".prop_map(|prefix| Item::Tags(Gaps::new(vec![prefix, String::new()])));
        let below = "/[ab]".prop_map(|path| Item::Paths { host: None, paths: Paths::below(&path) });
        prop_oneof![6 => tag().prop_map(Item::Tag), 2 => pattern, 2 => below, 1 => Just(Item::All)]
    }

    fn act() -> impl Strategy<Value = Act> {
        let hold = prop_oneof![
            Just(Hold::None),
            Just(Hold::Settle),
            (1..60_u64).prop_map(|millis| Hold::For(Duration::from_millis(millis))),
        ];
        prop_oneof![
            3 => Just(Act::Depart),
            2 => any::<prop::sample::Index>().prop_map(Act::Land),
            3 => (prop::collection::vec(item(), 1..3), hold).prop_map(|(items, hold)| Act::Outdate(items, hold)),
            2 => (1..40_u64).prop_map(Act::Pass),
            4 => (any::<prop::sample::Index>(), prop::collection::vec(tag(), 1..3))
                .prop_map(|(nth, tags)| Act::Fill(nth, tags)),
            1 => Just(Act::Look),
            3 => (0..12_u64, prop::collection::vec(tag(), 1..3)).prop_map(|(ago, tags)| Act::Told(ago, tags)),
            1 => Just(Act::Join),
            1 => (0..9_u64).prop_map(Act::Trim),
        ]
    }

    /// Every invalidation that there was: what the floors may forget, this does not.
    struct History(Vec<(Vec<Item>, u64, Option<Duration>, Duration)>);

    impl History {
        /// Whether nothing of what it depends on was outdated since it was fetched at `n`.
        fn is_sound(&self, n: u64, tags: &[Tag]) -> bool {
            let mut later = self.0.iter().filter(|(_, at, ..)| *at > n).flat_map(|(items, ..)| items);
            !later.any(|item| *item == Item::All || tags.iter().any(|tag| item.covers(tag)))
        }

        fn verdict(&self, ticket: &FillTicket, tags: &[Tag]) -> Result<(), Outdated> {
            let about = self.0.iter().filter(|(items, ..)| {
                items.iter().any(|item| *item == Item::All || tags.iter().any(|tag| item.covers(tag)))
            });
            let (mut outdated, mut unsettled) = (false, false);
            for (_, n, written, until) in about {
                outdated |= *n > ticket.position().n;
                unsettled |= ticket.begun() < *until;
                unsettled |= written.is_some_and(|written| ticket.begun() < written + SETTLE);
            }
            match (outdated, unsettled) {
                (true, _) => Err(Outdated::Invalidated),
                (false, true) => Err(Outdated::Settling),
                (false, false) => Ok(()),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

        #[test]
        fn floors_refuse_what_all_of_history_would_and_vanish(acts in prop::collection::vec(act(), 1..60)) {
            let gate = Arc::new(Gate::new(3));
            gate.settle_within(SETTLE);
            let any = entry("k", vec![]);
            let (mut flying, mut history, mut now) = (Vec::new(), History(Vec::new()), Duration::from_secs(1));
            let mut horizon = None;
            for act in acts {
                match act {
                    Act::Depart => flying.push(gate.ticket(now)),
                    Act::Land(nth) if !flying.is_empty() => drop(flying.swap_remove(nth.index(flying.len()))),
                    Act::Fill(nth, tags) if !flying.is_empty() => {
                        let ticket = &flying[nth.index(flying.len())];
                        let mut filled = Arc::new(like(&any, tags.clone(), ticket.position(), Bytes::new()));
                        let verdict = gate.admit(&mut filled, ticket.begun(), SETTLE);
                        prop_assert_eq!(verdict, history.verdict(ticket, &tags));
                    }
                    Act::Outdate(items, hold) => {
                        let outdate = Outdate { reach: Reach { items: items.clone() }, hold, ..Outdate::default() };
                        let (position, _) = gate.outdate(&outdate, now);
                        let until = if let Hold::For(hold) = hold { now + hold } else { Duration::ZERO };
                        history.0.push((items, position.n, (hold == Hold::Settle).then_some(now), until));
                    }
                    Act::Pass(millis) => now += Duration::from_millis(millis),
                    Act::Look => {
                        gate.size(now);
                    }
                    Act::Join => {
                        gate.retain_floors(gate.applied().n);
                        horizon = horizon.max(Some(gate.applied().n));
                    }
                    Act::Trim(kept) if horizon.is_some() => {
                        let first = gate.applied().n.saturating_sub(kept);
                        gate.retain_floors(first);
                        horizon = horizon.max(Some(first));
                    }
                    Act::Told(ago, tags) => {
                        let position = Position { n: gate.applied().n.saturating_sub(ago), ..gate.applied() };
                        let mut told = Arc::new(like(&any, tags.clone(), position, Bytes::new()));
                        let is_sound = history.is_sound(position.n, &tags);
                        let is_in_sight = horizon.is_some_and(|horizon| position.n >= horizon);
                        // No more is refused than has to be.
                        prop_assert_eq!(gate.promote(&mut told).is_ok(), is_sound && is_in_sight);
                        let elsewhere = Position { epoch: 4, ..position };
                        prop_assert!(gate.promote(&mut Arc::new(like(&any, tags, elsewhere, Bytes::new()))).is_err());
                    }
                    Act::Land(_) | Act::Fill(..) | Act::Trim(_) => {}
                }
            }
            flying.clear();
            gate.retain_floors(gate.applied().n);
            gate.size(now + Duration::from_millis(60));
            prop_assert_eq!(gate.floors(), 0);
        }
    }

    const NOW: Duration = Duration::from_secs(1);

    fn hard(item: Item) -> Outdate {
        Outdate { reach: Reach { items: vec![item] }, ..Outdate::default() }
    }

    fn named(n: usize) -> Item {
        Item::Tag(Tag::named(&format!("t{n}")))
    }

    fn told(gate: &Gate, n: u64, tag: &str) -> Result<(), Outdated> {
        let position = Position { epoch: 3, n };
        let any = entry("k", vec![]);
        gate.promote(&mut Arc::new(like(&any, vec![Tag::named(tag)], position, Bytes::new())))
    }

    fn joined() -> Arc<Gate> {
        let gate = Arc::new(Gate::new(3));
        gate.retain_floors(0);
        gate
    }

    #[test]
    fn without_a_tier_nothing_is_told_and_nothing_is_kept_for_it() {
        let gate = Arc::new(Gate::new(3));
        gate.outdate(&hard(named(1)), NOW);
        assert_eq!(gate.floors(), 0);
        assert!(told(&gate, 1, "x").is_err(), "nobody has kept the floors that would refuse it");
    }

    #[test]
    fn a_floor_refuses_what_is_told_whoever_is_in_flight() {
        let gate = joined();
        gate.outdate(&hard(named(1)), NOW);
        drop(gate.ticket(NOW));
        assert_eq!(
            (told(&gate, 0, "t1"), told(&gate, 1, "t1"), told(&gate, 0, "t2")),
            (Err(Outdated::Invalidated), Ok(()), Ok(()))
        );
        gate.outdate(&hard(Item::All), NOW);
        assert_eq!((told(&gate, 1, "t2").is_err(), told(&gate, 2, "t2"), gate.floors()), (true, Ok(()), 0));
    }

    #[test]
    fn where_there_is_no_room_the_horizon_rises_and_flights_are_judged_as_before() {
        let gate = joined();
        (0..MAX_FLOORS).for_each(|n| drop(gate.outdate(&hard(named(n)), NOW)));
        assert_eq!((gate.floors(), told(&gate, 0, "other")), (MAX_FLOORS, Ok(())));
        let last = MAX_FLOORS as u64;
        let ticket = gate.ticket(NOW);
        gate.outdate(&hard(named(MAX_FLOORS)), NOW);
        let horizon = gate.horizon().unwrap();
        assert!(horizon > 0 && horizon < last && gate.floors() < MAX_FLOORS, "{horizon}");
        assert!(told(&gate, horizon - 1, "other").is_err(), "it cannot be judged");
        assert_eq!(told(&gate, horizon, "other"), Ok(()));
        let newest = format!("t{}", MAX_FLOORS - 1);
        assert_eq!((told(&gate, last - 1, &newest).is_err(), told(&gate, last, &newest)), (true, Ok(())));
        let carried = [Tag::named("other")];
        assert_eq!(
            ticket.check(Known { tags: &carried, is_all: true }),
            Ok(()),
            "everything is not outdated"
        );
    }

    #[test]
    fn patterns_have_less_room_and_the_horizon_rises_for_them_alike() {
        let gate = joined();
        let pattern = |n: usize| Item::Tags(Gaps::new(vec![format!("p{n}:"), String::new()]));
        (0..=MAX_WIDE_FLOORS).for_each(|n| drop(gate.outdate(&hard(pattern(n)), NOW)));
        let horizon = gate.horizon().unwrap();
        assert!(horizon > 0 && gate.floors() <= MAX_WIDE_FLOORS);
        assert_eq!(told(&gate, horizon, "other"), Ok(()));
        assert!(told(&gate, horizon, &format!("p{MAX_WIDE_FLOORS}:1")).is_err());
    }

    #[test]
    fn a_flight_from_long_ago_keeps_its_floors_below_the_horizon() {
        let gate = joined();
        let old = gate.ticket(NOW);
        (0..9).for_each(|n| drop(gate.outdate(&hard(named(n)), NOW)));
        gate.retain_floors(9);
        gate.size(NOW);
        assert!(old.check(Known { tags: &[Tag::named("t3")], is_all: true }).is_err());
        drop(old);
        gate.size(NOW);
        assert_eq!(gate.floors(), 0);
    }
}
