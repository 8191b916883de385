//! What must never be the case, and what must be possible.

use stateright::Property;

use crate::fleet::Fleet;
use crate::state::{Flight, Member, Node, Phase, Role, Server, Stage, State, Write};

/// Whoever comes now gets nothing that is older than what was acknowledged.
pub(crate) const FRESH: &str = "nobody gets what was outdated";
/// What was acknowledged in an epoch is in its journal for as long as that lasts.
pub(crate) const KEPT: &str = "nothing acknowledged is lost";
/// Of every write that reached the origin somebody who lives knows, or everybody begins anew after it.
pub(crate) const KNOWN: &str = "no write is forgotten";

/// What a safe protocol must still reach, or it would be safe by doing nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Milestone {
    /// What replaced the outdated is in memory, and served under a lease.
    ServedAgain,
    /// An invalidation is acknowledged while somebody is shut out.
    AcknowledgedWithoutEverybody,
    /// Who was shut out has a lease again, and memory with it.
    Regained,
    /// The shared tier answered a read.
    SharedHit,
    /// Two writes are acknowledged.
    AcknowledgedTwice,
    /// An invalidation is acknowledged in another epoch than the first.
    AcknowledgedInTheNextEpoch,
    /// The next epoch serves from memory as well.
    ServedInTheNextEpoch,
    /// What a dead node had been about to write is outdated everywhere.
    OrphanOutdated,
    /// An invalidation of unknown outcome is acknowledged, and later the write is over.
    UnknownSettled,
    /// An invalidation is acknowledged after a node has left.
    Left,
    /// Two servers take themselves for the primary, and each has nodes.
    TwoPrimaries,
}

impl Milestone {
    pub(crate) fn property(self) -> Property<Fleet> {
        match self {
            Self::ServedAgain => Property::sometimes("served again", |fleet, s| fleet.serves_again(s, 1)),
            Self::AcknowledgedWithoutEverybody => {
                Property::sometimes("acknowledged without everybody", without_everybody)
            }
            Self::Regained => {
                Property::sometimes("a lease regained", |_, s: &State| Self::Regained.is_noted(s))
            }
            Self::SharedHit => {
                Property::sometimes("a hit in the shared tier", |_, s: &State| Self::SharedHit.is_noted(s))
            }
            Self::AcknowledgedTwice => Property::sometimes("acknowledged twice", |_, s: &State| {
                s.writes.iter().filter(|write| acknowledged_in(write).is_some()).count() > 1
            }),
            Self::AcknowledgedInTheNextEpoch => {
                Property::sometimes("acknowledged in the next epoch", |_, s: &State| {
                    s.writes.iter().any(|write| acknowledged_in(write) > Some(1))
                })
            }
            Self::ServedInTheNextEpoch => {
                Property::sometimes("served in the next epoch", |fleet, s| fleet.serves_again(s, 2))
            }
            Self::Left => Property::sometimes("acknowledged after a leave", |_, s: &State| {
                s.acked > 0 && s.nodes.iter().any(|node| node.phase == Phase::Left)
            }),
            Self::OrphanOutdated => Property::sometimes("an orphan outdated", |_, s: &State| {
                s.writes
                    .iter()
                    .any(|write| !write.is_held && write.cover.is_some_and(|cover| cover.is_everywhere))
            }),
            Self::UnknownSettled => Property::sometimes("an unknown outcome settled", |_, s: &State| {
                s.settled > 0
                    && s.writes.iter().any(|write| write.is_unknown && acknowledged_in(write).is_some())
            }),
            Self::TwoPrimaries => Property::sometimes("two primaries", |_, s: &State| {
                let reigns = |at: usize| {
                    s.servers[at].role == Role::Primary
                        && s.nodes.iter().any(|node| usize::from(node.at) == at && node.is_up())
                };
                reigns(0) && reigns(1)
            }),
        }
    }

    fn is_noted(self, s: &State) -> bool {
        s.seen & 1 << self as u16 != 0
    }
}

fn acknowledged_in(write: &Write) -> Option<u8> {
    match write.stage {
        Stage::Acknowledged { epoch, .. } => Some(epoch),
        _ => None,
    }
}

fn without_everybody(_: &Fleet, s: &State) -> bool {
    s.writes.iter().any(|write| {
        let Stage::Acknowledged { epoch, place } = write.stage else { return false };
        let lacks_it = |member: &Member| member.is_shut_out() && member.applied < place;
        let servers = s.servers.iter().filter(|server| server.data.epoch == epoch);
        servers.flat_map(|server| server.data.registry.iter().flatten()).any(lacks_it)
    })
}

impl Fleet {
    /// What every scenario keeps.
    pub(crate) fn promises(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(FRESH, Self::nobody_gets_what_was_outdated),
            Property::always(KEPT, Self::nothing_acknowledged_is_lost),
            Property::always(KNOWN, Self::no_write_is_forgotten),
        ]
    }

    fn nobody_gets_what_was_outdated(&self, s: &State) -> bool {
        let is_fresh = |node: &Node| {
            let memory = node.memory.filter(|_| self.serves(node));
            let boards = node.flights.iter().flatten().filter(|flight| self.may_join(node, flight));
            memory.is_none_or(|version| version >= s.acked.max(s.settled))
                && boards.filter_map(|flight| flight.body).all(|version| version >= s.acked)
        };
        !s.is_stale && s.nodes.iter().all(is_fresh)
    }

    fn nothing_acknowledged_is_lost(&self, s: &State) -> bool {
        let is_there = |write: &Write, server: &Server| match write.stage {
            Stage::Acknowledged { epoch, place } => server.data.epoch != epoch || server.data.head >= place,
            _ => true,
        };
        self.reigning(s).all(|server| s.writes.iter().all(|write| is_there(write, server)))
    }

    fn no_write_is_forgotten(&self, s: &State) -> bool {
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
        let writes = || s.writes.iter().enumerate().filter(|(_, write)| is_left_alone(write));
        !self.scenario.intends
            || self.reigning(s).all(|server| writes().all(|(index, write)| is_known(index, write, server)))
    }

    /// Primaries whose epoch is that of their own reign.
    fn reigning<'a>(&self, s: &'a State) -> impl Iterator<Item = &'a Server> {
        s.servers.iter().filter(|server| server.role == Role::Primary && self.goes_on(server))
    }

    fn serves_again(&self, s: &State, epoch: u8) -> bool {
        let again = |node: &Node| {
            node.epoch >= epoch && node.lease > 0 && node.memory.is_some_and(|version| version > 0)
        };
        s.acked > 0 && s.nodes.iter().any(|node| again(node) && self.serves(node))
    }

    /// What is promised from here on: of writes of unknown outcome that are over by now nothing older is kept; and who boards a
    /// flight now must not get from the shared tier what is older than that.
    pub(crate) fn promise(&self, s: &mut State) {
        for write in &s.writes {
            let is_told = write.is_unknown && matches!(write.stage, Stage::Acknowledged { .. })
                || write.cover.is_some_and(|cover| cover.is_everywhere);
            if is_told && write.limbo == 0 && self.scenario.intends {
                s.settled = s.settled.max(write.version);
            }
        }
        let asked = s.acked.max(s.settled);
        for node in &mut s.nodes {
            let this = *node;
            let boards = |flight: &&mut Flight| flight.may_ask_shared && self.may_join(&this, flight);
            node.flights.iter_mut().flatten().filter(boards).for_each(|flight| flight.asked = asked);
        }
    }

    /// Remembers a milestone that the state itself does not show, if this story is to reach it.
    pub(crate) fn note(&self, s: &mut State, milestone: Milestone) {
        if self.scenario.reaches.contains(&milestone) {
            s.seen |= 1 << milestone as u16;
        }
    }
}
