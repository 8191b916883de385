//! What must never be the case, and what must be possible.

use stateright::Property;

use crate::fleet::Fleet;
use crate::state::{Node, Role, Server, State, Stage, Write};

/// What a safe protocol must still reach, or it would be safe by doing nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Milestone {
    /// An invalidation was acknowledged.
    Acknowledged,
    /// Somebody was shut out.
    ShutOut,
    /// An invalidation was acknowledged after somebody had been shut out.
    AcknowledgedWithoutEverybody,
    /// Who had been shut out has a lease again.
    Regained,
    /// The shared tier answered a read.
    SharedHit,
    /// An invalidation was acknowledged by a server that had been a replica.
    PromotedGoesOn,
    /// What a dead node had been about to write is outdated everywhere.
    OrphanOutdated,
}

impl Milestone {
    pub(crate) fn is_seen(self, state: &State) -> bool {
        state.seen & 1 << self as u8 != 0
    }

    pub(crate) fn property(self) -> Property<Fleet> {
        match self {
            Self::Acknowledged => Property::sometimes("acknowledged", |_, s| Self::Acknowledged.is_seen(s)),
            Self::ShutOut => Property::sometimes("shut out", |_, s| Self::ShutOut.is_seen(s)),
            Self::AcknowledgedWithoutEverybody => Property::sometimes("acknowledged without everybody", |_, s| {
                Self::AcknowledgedWithoutEverybody.is_seen(s)
            }),
            Self::Regained => Property::sometimes("a lease regained", |_, s| Self::Regained.is_seen(s)),
            Self::SharedHit => Property::sometimes("a hit in the shared tier", |_, s| Self::SharedHit.is_seen(s)),
            Self::PromotedGoesOn => {
                Property::sometimes("a promoted replica goes on", |_, s| Self::PromotedGoesOn.is_seen(s))
            }
            Self::OrphanOutdated => {
                Property::sometimes("an orphan outdated", |_, s| Self::OrphanOutdated.is_seen(s))
            }
        }
    }
}

impl Fleet {
    /// Whoever comes now gets nothing that is older than what was acknowledged.
    pub(crate) fn nobody_gets_what_was_outdated(&self, s: &State) -> bool {
        let is_fresh = |node: &Node| {
            let memory = node.memory.filter(|_| self.serves(node));
            let boards = node.flights.iter().flatten().filter(|flight| self.may_join(node, flight));
            memory.is_none_or(|version| version >= s.acked.max(s.settled))
                && boards.filter_map(|flight| flight.body).all(|version| version >= s.acked)
        };
        !s.is_stale && s.nodes.iter().all(is_fresh)
    }

    /// What was acknowledged in an epoch is in its journal for as long as it lasts.
    pub(crate) fn nothing_acknowledged_is_lost(&self, s: &State) -> bool {
        let is_there = |write: &Write, server: &Server| match write.stage {
            Stage::Acknowledged { epoch, place } => server.data.epoch != epoch || server.data.head >= place,
            _ => true,
        };
        self.reigning(s).all(|server| s.writes.iter().all(|write| is_there(write, server)))
    }

    /// Of every write that reached the origin somebody who lives knows, or everybody begins anew after it.
    pub(crate) fn no_write_is_forgotten(&self, s: &State) -> bool {
        let is_known = |index: usize, write: &Write, server: &Server| {
            let data = &server.data;
            let is_there = |slot: u8| data.registry.get(usize::from(slot)).is_some_and(Option::is_some);
            data.intents[index].is_some_and(is_there)
                || write.told & 1 << data.epoch != 0
                || data.since >= write.version
        };
        let is_left_alone = |write: &Write| {
            let is_done = matches!(write.stage, Stage::Appended { .. } | Stage::Acknowledged { .. });
            write.version > 0 && !write.is_exempt && (!write.is_held || write.is_unknown && is_done)
        };
        !self.scenario.intends
            || self.reigning(s).all(|server| {
                s.writes.iter().enumerate().all(|(index, write)| {
                    !is_left_alone(write) || is_known(index, write, server)
                })
            })
    }

    /// Primaries whose epoch is that of their own reign.
    fn reigning<'a>(&self, s: &'a State) -> impl Iterator<Item = &'a Server> {
        s.servers.iter().filter(|server| server.role == Role::Primary && self.goes_on(server))
    }

    /// Writes of unknown outcome that are over by now: from here on nothing older is kept.
    pub(crate) fn settles(&self, s: &mut State) {
        for write in &s.writes {
            let is_told = write.is_unknown && matches!(write.stage, Stage::Acknowledged { .. })
                || write.cover.is_some_and(|cover| cover.is_everywhere);
            if is_told && write.limbo == 0 && self.scenario.intends {
                s.settled = s.settled.max(write.version);
            }
        }
        let asked = s.acked.max(s.settled);
        for node in 0..s.nodes.len() {
            for flight in 0..s.nodes[node].flights.len() {
                let this = s.nodes[node];
                if let Some(flight) = s.nodes[node].flights[flight].as_mut()
                    && flight.may_ask_shared
                    && self.may_join(&this, flight)
                {
                    flight.asked = asked;
                }
            }
        }
    }

    pub(crate) fn note(&self, s: &mut State, milestone: Milestone) {
        if !self.scenario.notes.is_empty() {
            s.seen |= 1 << milestone as u8;
        }
    }
}
