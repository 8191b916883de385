//! The fleet as a model: which steps there are, when, and what is checked after each. Any step may come at any time, so a
//! message that is late, a link that is cut and a node that is stopped are all the same: what does not happen for a while.

use stateright::{Model, Property};

use crate::mutant::Mutant;
use crate::scenario::Scenario;
use crate::state::{
    Epoch, MOVED, NODES, NOT_YET, Phase, Record, Renewal, SLOTS, Stage, State, Ticks, Version,
};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Fleet {
    pub(crate) scenario: Scenario,
    pub(crate) mutant: Option<Mutant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Time goes on by a tick, but not on the clocks of these nodes: a bit each.
    Tick {
        but: u8,
    },
    Moves(usize),
    Enters(usize),
    Registers(usize),
    Applies(usize),
    Kills(usize),
    Renews(usize),
    Hears(usize),
    ReadsClock(usize),
    Looks(usize),
    LooksUp(usize),
    ServesFound(usize),
    ShutsOut {
        node: usize,
        slot: u8,
    },
    Crashes(usize),
    Starts(usize),
    Leaves(usize),
    Departs(usize),
    Fetches {
        node: usize,
        flight: usize,
    },
    Lands {
        node: usize,
        flight: usize,
    },
    LandsShared {
        node: usize,
        flight: usize,
        found: (Epoch, Version, u8),
    },
    Intends(usize),
    Forwards(usize),
    Commits(usize),
    Answered(usize),
    GivenUp(usize),
    Appends(usize),
    Acknowledged(usize),
    Covered {
        write: usize,
        node: usize,
    },
    Closes {
        write: usize,
        node: usize,
    },
    AppendsOther(usize),
    Replicates,
    Witnesses,
    Turns,
    Promotes,
    Follows(usize),
    Wiped(usize),
    Trims(usize),
}

impl Fleet {
    pub(crate) fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub(crate) fn patience(&self) -> Ticks {
        self.scenario.patience()
    }

    pub(crate) fn reads(&self, node: usize) -> bool {
        self.scenario.reads.contains(&(node as u8))
    }

    fn watches(&self, node: usize) -> bool {
        self.scenario.watches.contains(&(node as u8))
    }

    fn play(&self, s: &mut State, step: Step) -> Option<()> {
        match step {
            Step::Tick { but } => self.tick(s, but),
            Step::Moves(node) => self.moves(s, node),
            Step::Enters(node) => self.enters(s, node),
            Step::Registers(node) => self.registers(s, node),
            Step::Applies(node) => self.applies(s, node),
            Step::Kills(node) => self.kills(s, node),
            Step::Renews(node) => self.renews(s, node),
            Step::Hears(node) => self.hears(s, node),
            Step::ReadsClock(node) => self.reads_clock(s, node),
            Step::Looks(node) => self.looks(s, node),
            Step::LooksUp(node) => self.looks_up(s, node),
            Step::ServesFound(node) => self.serves_found(s, node),
            Step::ShutsOut { node, slot } => self.shuts_out(s, node, slot),
            Step::Crashes(node) => self.crashes(s, node),
            Step::Starts(node) => self.starts(s, node),
            Step::Leaves(node) => self.leaves(s, node),
            Step::Departs(node) => self.departs(s, node),
            Step::Fetches { node, flight } => self.fetches(s, node, flight),
            Step::Lands { node, flight } => self.lands(s, node, flight),
            Step::LandsShared { node, flight, found } => self.lands_shared(s, node, flight, found),
            Step::Intends(write) => self.intends(s, write),
            Step::Forwards(write) => self.forwards(s, write),
            Step::Commits(write) => self.commits(s, write),
            Step::Answered(write) => self.is_answered(s, write, false),
            Step::GivenUp(write) => self.is_answered(s, write, true),
            Step::Appends(write) => self.appends(s, write),
            Step::Acknowledged(write) => self.is_acknowledged(s, write),
            Step::Covered { write, node } => self.is_covered(s, write, node),
            Step::Closes { write, node } => self.closes(s, write, node),
            Step::AppendsOther(node) => self.appends_other(s, node),
            Step::Replicates => self.replicate(s),
            Step::Witnesses => self.witness(s),
            Step::Turns => self.turn(s),
            Step::Promotes => self.promote(s),
            Step::Follows(server) => self.follow(s, server),
            Step::Wiped(server) => self.wipe(s, server),
            Step::Trims(server) => self.trim(s, server),
        }
    }

    /// All clocks go on, but for those that lose a tick: each one in a lease and its margin.
    fn tick(&self, s: &mut State, but: u8) -> Option<()> {
        let (lease, patience) = (self.scenario.lease, self.patience());
        for (index, node) in s.nodes.iter_mut().enumerate().filter(|(_, node)| node.phase != Phase::Down) {
            if but & 1 << index != 0 {
                node.steady = 0;
                continue;
            }
            node.steady = if self.scenario.drifts { (node.steady + 1).min(patience) } else { 0 };
            node.lease = node.lease.saturating_sub(1);
            node.renewal =
                node.renewal.map(|renewal| Renewal { age: (renewal.age + 1).min(lease), ..renewal });
            if !self.has(Mutant::LeaseCountedFromTheAnswer) {
                // An answer that comes now is worth nothing.
                node.renewal = node.renewal.filter(|renewal| renewal.age < lease);
            }
            if node.in_epoch != NOT_YET {
                node.in_epoch = (node.in_epoch + 1).min(patience);
            }
            node.hold = node.hold.saturating_sub(1);
            for watch in node.watch.iter_mut().filter(|watch| **watch != MOVED) {
                *watch = (*watch + 1).min(patience);
            }
        }
        for index in 0..s.writes.len() {
            let is_leased = s.nodes[self.writer(index)].lease > 0 || self.has(Mutant::ForwardedWithoutALease);
            let write = &mut s.writes[index];
            write.limbo = write.limbo.saturating_sub(1);
            if matches!(write.stage, Stage::Intended { .. }) && !is_leased {
                write.stage = Stage::Idle;
            }
        }
        Some(())
    }

    /// Which nodes' clocks may stand still for this tick, in all combinations.
    fn laggards(&self, s: &State) -> impl Iterator<Item = u8> {
        let may = s.nodes.iter().enumerate().filter(|(_, node)| {
            let matters = node.lease > 0 || node.renewal.is_some();
            matters && (self.scenario.drifts && node.steady >= self.patience() || self.scenario.freezes)
        });
        let may = may.fold(0, |bits, (index, _)| bits | 1 << index);
        (0..1 << NODES).filter(move |but: &u8| but & !may == 0)
    }

    fn reads_clock(&self, s: &mut State, node: usize) -> Option<()> {
        let node = &mut s.nodes[node];
        let is_valid = node.lease > 0;
        (self.has(Mutant::LeaseHeldAgainstACachedClock) && node.cached_lease != is_valid)
            .then(|| node.cached_lease = is_valid)
    }

    /// Somebody invalidates something else.
    fn appends_other(&self, s: &mut State, node: usize) -> Option<()> {
        if s.spent.others >= self.scenario.others {
            return None;
        }
        let at = self.script(s, node)?;
        s.spent.others += 1;
        self.append(&mut s.servers[at].data, Record::Other)?;
        Some(())
    }

    /// Steps of a node that is there.
    fn steps_of(&self, s: &State, node: usize, steps: &mut Vec<Step>) {
        let this = &s.nodes[node];
        if this.phase == Phase::Down {
            steps.push(Step::Starts(node));
            return;
        }
        let alone = [Step::Enters(node), Step::Applies(node), Step::Renews(node)];
        steps.extend(alone);
        if self.watches(node) {
            steps.push(Step::Looks(node));
        }
        if self.reads(node) {
            steps.push(Step::Departs(node));
        }
        if self.has(Mutant::LeaseLookedAtLast) {
            steps.extend([Step::LooksUp(node), Step::ServesFound(node)]);
        }
        if this.slot.is_none() || self.has(Mutant::RegisteredTwice) {
            steps.push(Step::Registers(node));
        }
        if this.renewal.is_some() {
            steps.push(Step::Hears(node));
        }
        if this.is_killing {
            steps.push(Step::Kills(node));
        }
        if this.cached_lease {
            steps.push(Step::ReadsClock(node));
        }
        let stands = |slot: &u8| this.watch[usize::from(*slot)] != MOVED;
        steps.extend((0..SLOTS as u8).filter(stands).map(|slot| Step::ShutsOut { node, slot }));
        for (index, flight) in this.flights.iter().enumerate() {
            let Some(flight) = flight else { continue };
            if flight.body.is_some() {
                steps.push(Step::Lands { node, flight: index });
                continue;
            }
            steps.push(Step::Fetches { node, flight: index });
            if flight.may_ask_shared {
                steps.extend(s.shared.iter().map(|found| Step::LandsShared { node, flight: index, found }));
            }
        }
        let befalls = [
            (self.scenario.has_replica, Step::Moves(node)),
            (self.scenario.crashes > s.spent.crashes, Step::Crashes(node)),
            (self.scenario.leaves > s.spent.leaves, Step::Leaves(node)),
            (self.scenario.others > s.spent.others, Step::AppendsOther(node)),
        ];
        steps.extend(befalls.into_iter().filter(|(is_possible, _)| *is_possible).map(|(_, step)| step));
    }

    fn steps_of_write(&self, s: &State, write: usize, steps: &mut Vec<Step>) {
        let this = &s.writes[write];
        match this.stage {
            Stage::Idle if self.scenario.intends => steps.push(Step::Intends(write)),
            Stage::Idle => steps.push(Step::Commits(write)),
            Stage::Intended { .. } => steps.push(Step::Forwards(write)),
            Stage::Forwarded => {
                steps.push(Step::Answered(write));
                steps.extend(self.scenario.gives_up.then_some(Step::GivenUp(write)));
            }
            Stage::Answered => steps.push(Step::Appends(write)),
            Stage::Appended { .. } => steps.push(Step::Acknowledged(write)),
            Stage::Acknowledged { .. } | Stage::Dropped => {}
        }
        if !self.scenario.intends {
            return;
        }
        if this.limbo > 0 && this.version == 0 {
            steps.push(Step::Commits(write));
        }
        for node in 0..usize::from(self.scenario.nodes + self.scenario.late) {
            if this.cover.is_some_and(|cover| !cover.is_everywhere) {
                steps.push(Step::Covered { write, node });
            }
            if this.limbo == 0 && (this.cover.is_some() || this.is_unknown) {
                steps.push(Step::Closes { write, node });
            }
        }
    }

    fn steps_of_servers(&self, s: &State, steps: &mut Vec<Step>) {
        if self.scenario.has_replica {
            steps.extend([Step::Replicates, Step::Promotes, Step::Follows(0), Step::Follows(1)]);
        }
        if self.scenario.has_witness {
            steps.extend([Step::Witnesses, Step::Turns]);
        }
        if self.scenario.wipes > s.spent.wipes {
            steps.extend([Step::Wiped(0), Step::Wiped(1)]);
        }
        if self.scenario.trims > s.spent.trims {
            steps.extend([Step::Trims(0), Step::Trims(1)]);
        }
    }
}

impl Model for Fleet {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![self.start()]
    }

    fn actions(&self, s: &State, steps: &mut Vec<Step>) {
        steps.extend(self.laggards(s).map(|but| Step::Tick { but }));
        for node in 0..usize::from(self.scenario.nodes + self.scenario.late) {
            self.steps_of(s, node, steps);
        }
        for write in 0..self.scenario.writes.len() {
            self.steps_of_write(s, write, steps);
        }
        self.steps_of_servers(s, steps);
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut next = last.clone();
        self.play(&mut next, step)?;
        self.promise(&mut next);
        if self.mutant.is_none() {
            self.forget_what_makes_no_difference(&mut next);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let milestones = self.scenario.reaches.iter().map(|milestone| milestone.property());
        self.promises().into_iter().chain(milestones).collect()
    }
}
