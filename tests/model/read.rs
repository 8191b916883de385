//! How a node reads: what it serves, whom it lets board a flight, and what it keeps of what a flight brings.

use crate::fleet::Fleet;
use crate::mutant::Mutant;
use crate::promise::Milestone;
use crate::state::{Epoch, FLIGHTS, Flight, NOT_YET, Node, Phase, State, Version};

impl Fleet {
    /// Whether what is in memory is served to who comes now.
    pub(crate) fn serves(&self, node: &Node) -> bool {
        let is_valid =
            if self.has(Mutant::LeaseHeldAgainstACachedClock) { node.cached_lease } else { node.lease > 0 };
        node.is_up() && (is_valid || self.has(Mutant::ServedWithoutALease))
            || node.phase == Phase::Left && node.lease > 0
    }

    /// A lookup, by somebody who has just come.
    pub(crate) fn looks_up(&self, s: &mut State, node: usize) -> Option<()> {
        let asked = s.acked;
        let node = &mut s.nodes[node];
        node.found =
            node.memory.filter(|_| self.has(Mutant::LeaseLookedAtLast)).map(|version| (version, asked));
        node.found.map(|_| ())
    }

    /// It is served if there is a lease by now.
    pub(crate) fn serves_found(&self, s: &mut State, node: usize) -> Option<()> {
        let (version, asked) = s.nodes[node].found.take().filter(|_| s.nodes[node].lease > 0)?;
        s.is_stale |= version < asked;
        Some(())
    }

    /// Whether who comes now may board a flight that has departed.
    pub(crate) fn may_join(&self, node: &Node, flight: &Flight) -> bool {
        let is_leased = node.lease > 0 || self.has(Mutant::JoinedWithoutALease);
        let is_young =
            flight.epoch == node.epoch && node.floor <= flight.ticket || self.has(Mutant::OldFlightJoined);
        // The origin was not asked yet, and is asked by this flight.
        let boards =
            self.has(Mutant::BoardingOpenBehindTheLease) && flight.may_ask_shared && flight.body.is_none();
        node.phase != Phase::Down && (is_leased && is_young || boards)
    }

    /// A fetch begins: boarding ends, then the ticket is taken and the lease is looked at.
    pub(crate) fn departs(&self, s: &mut State, node: usize) -> Option<()> {
        let node = &mut s.nodes[node];
        if !node.is_up() || node.epoch == 0 {
            return None;
        }
        let counts = node.in_epoch != NOT_YET || self.has(Mutant::TicketOfAnUnconfirmedEpoch);
        if self.scenario.flights == 0 {
            return (node.hold == 0 && counts).then(|| node.memory = Some(s.origin));
        }
        let flight = Flight {
            epoch: if counts { node.epoch } else { 0 },
            ticket: node.applied,
            may_ask_shared: self.scenario.shares && node.lease > 0,
            is_held: node.hold > 0,
            body: None,
            asked: 0,
        };
        let free = node.flights[..self.scenario.flights].iter_mut().find(|flight| flight.is_none())?;
        *free = Some(flight);
        node.flights.sort_unstable_by(|a, b| b.cmp(a));
        Some(())
    }

    pub(crate) fn fetches(&self, s: &mut State, node: usize, index: usize) -> Option<()> {
        let flight = s.nodes[node].flights[index].as_mut().filter(|flight| flight.body.is_none())?;
        flight.body = Some(s.origin);
        // Whoever came before gets what the origin says now; who may still come is judged as he comes.
        (flight.may_ask_shared, flight.asked) = (false, 0);
        s.nodes[node].flights.sort_unstable_by(|a, b| b.cmp(a));
        Some(())
    }

    /// The origin's answer is there: it is stored here and in the shared tier, unless it was outdated under way. That
    /// takes no lease: the ticket says all.
    pub(crate) fn lands(&self, s: &mut State, node: usize, index: usize) -> Option<()> {
        let flight = s.nodes[node].flights[index].filter(|flight| flight.body.is_some())?;
        let body = flight.body?;
        self.leaves_the_air(&mut s.nodes[node], index);
        let node = &mut s.nodes[node];
        let ticket = if self.has(Mutant::TicketTakenLate) { node.applied } else { flight.ticket };
        let is_of_epoch = flight.epoch == node.epoch || self.has(Mutant::TicketsOfTwoEpochsCompared);
        if node.is_up() && is_of_epoch && node.floor <= ticket && !flight.is_held {
            node.memory = Some(body);
            if self.scenario.shares {
                s.shared.put(node.epoch, body, ticket);
            }
        }
        self.let_floors_go(node);
        Some(())
    }

    /// The shared tier's answer is there: the node's own floors judge the entry's own ticket.
    pub(crate) fn lands_shared(
        &self,
        s: &mut State,
        node: usize,
        index: usize,
        found: (Epoch, Version, u8),
    ) -> Option<()> {
        let flight =
            s.nodes[node].flights[index].filter(|flight| flight.may_ask_shared && flight.body.is_none())?;
        let (epoch, body, ticket) = found;
        let judged = if self.has(Mutant::PromotedUnderANewTicket) { flight.ticket } else { ticket };
        let this = &s.nodes[node];
        let names_epoch = epoch == this.epoch || self.has(Mutant::EpochKeepsSharedKeys);
        let is_alive = this.floor <= judged;
        if !this.is_up() || flight.epoch != this.epoch || !names_epoch {
            return None;
        }
        if !is_alive && !self.has(Mutant::SharedUnchecked) {
            return None;
        }
        s.is_stale |= body < flight.asked;
        self.note(s, Milestone::SharedHit);
        let node = &mut s.nodes[node];
        self.leaves_the_air(node, index);
        if is_alive {
            node.memory = Some(body);
        }
        self.let_floors_go(node);
        Some(())
    }

    fn leaves_the_air(&self, node: &mut Node, index: usize) {
        node.flights[index] = None;
        node.flights.sort_unstable_by(|a, b| b.cmp(a));
    }

    fn let_floors_go(&self, node: &mut Node) {
        if self.has(Mutant::FloorLetGoEarly) && node.flights == [None; FLIGHTS] {
            node.floor = 0;
        }
    }
}
