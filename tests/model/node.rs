//! What a node does beside reading: it enters epochs, keeps its lease, watches the others, applies records, comes and goes.

use crate::fleet::Fleet;
use crate::mutant::Mutant;
use crate::promise::Milestone;
use crate::state::{Epoch, MOVED, Member, NOT_YET, Node, Phase, Record, Renewal, Role, Stage, State};

impl Fleet {
    // ---- the server that it reaches -----------------------------------------------------------------------------

    /// The server on which a node's scripts run, if they run in its epoch.
    pub(crate) fn script(&self, s: &mut State, node: usize) -> Option<usize> {
        if !s.nodes[node].is_up() {
            return None;
        }
        let at = usize::from(s.nodes[node].at);
        (self.enter(s, at)? == s.nodes[node].epoch).then_some(at)
    }

    /// Its connections go to the other server from now on.
    pub(crate) fn moves(&self, s: &mut State, node: usize) -> Option<()> {
        let other = 1 - s.nodes[node].at;
        if !s.nodes[node].is_up() || s.servers[usize::from(other)].role != Role::Primary {
            return None;
        }
        if s.spent.moves >= self.scenario.moves {
            return None;
        }
        s.spent.moves += 1;
        s.nodes[node].at = other;
        self.reconnects(s, node);
        Some(())
    }

    /// A connection is gone: of what was sent and not confirmed nobody knows.
    pub(crate) fn reconnects(&self, s: &mut State, node: usize) {
        s.nodes[node].renewal = None;
        for index in 0..s.writes.len() {
            if self.writer(index) == node && s.writes[index].is_held {
                let stage = &mut s.writes[index].stage;
                match *stage {
                    Stage::Intended { is_confirmed: false, .. } => *stage = Stage::Idle,
                    Stage::Appended { is_confirmed: false, .. } => *stage = Stage::Answered,
                    _ => {}
                }
            }
        }
    }

    /// A script told that the epoch is another one. Nothing that is kept is of any use; the journal is read from its first
    /// record on, and everything before that counts as outdated there.
    pub(crate) fn enters(&self, s: &mut State, node: usize) -> Option<()> {
        if !s.nodes[node].is_up() {
            return None;
        }
        let at = usize::from(s.nodes[node].at);
        let epoch = self.enter(s, at)?;
        let old = s.nodes[node];
        if old.epoch == epoch {
            return None;
        }
        let behind = s.servers[at].data.first - 1;
        let new = &mut s.nodes[node];
        *new = Node {
            phase: Phase::Up,
            at: old.at,
            steady: old.steady,
            epoch,
            applied: behind,
            floor: behind,
            flights: old.flights,
            ..Node::DOWN
        };
        if self.scenario.waits && !self.has(Mutant::EpochCountedUnconfirmed) {
            new.in_epoch = NOT_YET;
        }
        if self.has(Mutant::StartedWithoutReplay) {
            (new.applied, new.floor) = (s.servers[at].data.head, 0);
        }
        if self.has(Mutant::OlderThanTheJournalTrusted) {
            new.floor = 0;
        }
        if self.has(Mutant::EpochKeepsMemory) {
            new.memory = old.memory;
        }
        if self.has(Mutant::EpochKeepsTheCursor) {
            (new.applied, new.floor) = (new.applied.max(old.applied), old.floor);
        }
        if self.scenario.keeps_leases {
            (new.lease, new.renewal) = (old.lease, old.renewal);
        }
        self.takes_writes_along(s, node, epoch);
        Some(())
    }

    /// What was intended, or appended and not acknowledged, has to be said again in the new epoch.
    fn takes_writes_along(&self, s: &mut State, node: usize, epoch: Epoch) {
        for index in 0..s.writes.len() {
            if self.writer(index) == node && s.writes[index].is_held {
                let stage = &mut s.writes[index].stage;
                *stage = match *stage {
                    Stage::Intended { .. } => Stage::Idle,
                    Stage::Appended { place, is_confirmed, .. }
                        if self.has(Mutant::PositionsOfTwoEpochsCompared) =>
                    {
                        Stage::Appended { epoch, place, is_confirmed }
                    }
                    Stage::Appended { .. } => Stage::Answered,
                    other => other,
                };
            }
        }
    }

    pub(crate) fn registers(&self, s: &mut State, node: usize) -> Option<()> {
        let at = self.script(s, node)?;
        if let Some(slot) = s.nodes[node].slot {
            let data = &mut s.servers[at].data;
            let entry =
                data.registry[usize::from(slot)].as_mut().filter(|_| self.has(Mutant::RegisteredTwice))?;
            *entry = Member { applied: 0, fence: data.head };
            return Some(());
        }
        let slot = if self.has(Mutant::IncarnationUsedAgain) && s.servers[at].data.registry[node].is_some() {
            node as u8
        } else {
            self.register(s, at)?
        };
        s.nodes[node].slot = Some(slot);
        for index in 0..s.writes.len() {
            let write = &mut s.writes[index];
            let is_open = matches!(write.stage, Stage::Forwarded)
                || write.is_unknown && write.limbo > 0 && !matches!(write.stage, Stage::Dropped);
            if self.scenario.intends && self.writer(index) == node && write.is_held && is_open {
                write.is_exempt = false;
                if !self.has(Mutant::IntentsLeftInTheOldEpoch) {
                    s.servers[at].data.intents[index] = Some(slot);
                }
            }
        }
        Some(())
    }

    pub(crate) fn renews(&self, s: &mut State, node: usize) -> Option<()> {
        let at = self.script(s, node)?;
        let slot = s.nodes[node].slot?;
        let applied = s.nodes[node].applied;
        let entry = &mut s.servers[at].data.registry[usize::from(slot)];
        if entry.is_none() && self.has(Mutant::RenewedWithoutAnEntry) {
            *entry = Some(Member { applied, fence: 0 });
        }
        if entry.is_none() {
            // It was let go: it registers again.
            s.nodes[node].slot = None;
            return Some(());
        }
        let was_shut_out = s.servers[at].data.registry[usize::from(slot)].is_some_and(Member::is_shut_out);
        self.renew(s, at, slot, applied)?;
        if was_shut_out && s.nodes[node].memory.is_some() {
            self.note(s, Milestone::Regained);
        }
        let is_confirmed = !self.scenario.waits || self.has(Mutant::RenewedWithoutWait);
        s.nodes[node].renewal = Some(Renewal { age: 0, is_confirmed });
        Some(())
    }

    /// The answer to a renewal: the lease goes from when it was sent.
    pub(crate) fn hears(&self, s: &mut State, node: usize) -> Option<()> {
        let full = self.scenario.lease;
        let renewal =
            s.nodes[node].renewal.filter(|renewal| renewal.is_confirmed && s.nodes[node].is_up())?;
        let left = if self.has(Mutant::LeaseCountedFromTheAnswer) { full } else { full - renewal.age };
        let node = &mut s.nodes[node];
        node.renewal = None;
        node.lease = node.lease.max(left);
        node.cached_lease = node.lease > 0 && self.has(Mutant::LeaseHeldAgainstACachedClock);
        Some(())
    }

    /// It sees where everybody's counter is, and from now on how long it stays there.
    pub(crate) fn looks(&self, s: &mut State, node: usize) -> Option<()> {
        let at = self.script(s, node)?;
        let own = s.nodes[node].slot;
        let since = if self.has(Mutant::StillnessCountedFromTheQuestion) { self.patience() } else { 0 };
        let mut sees = None;
        for (slot, member) in s.servers[at].data.registry.iter().enumerate() {
            let watch = &mut s.nodes[node].watch[slot];
            if member.is_some() && own != Some(slot as u8) && *watch == MOVED {
                *watch = since;
                sees = Some(());
            }
        }
        sees
    }

    /// It shuts out who was seen to stand still for longer than any lease.
    pub(crate) fn shuts_out(&self, s: &mut State, node: usize, slot: u8) -> Option<()> {
        let stood = s.nodes[node].watch[usize::from(slot)];
        let patience = if self.has(Mutant::MarginLeftOut) { self.scenario.lease } else { self.patience() };
        if stood == MOVED || stood < patience {
            return None;
        }
        let at = self.script(s, node)?;
        self.fence(s, at, slot)?;
        if s.servers[at].data.registry[usize::from(slot)].is_none() {
            s.nodes.iter_mut().for_each(|node| node.watch[usize::from(slot)] = MOVED);
        }
        Some(())
    }

    // ---- records ------------------------------------------------------------------------------------------------

    /// It reads the next record and applies it: floor first, then what is in memory, then it says so.
    pub(crate) fn applies(&self, s: &mut State, node: usize) -> Option<()> {
        let server = &s.servers[usize::from(s.nodes[node].at)];
        let (data, role) = (server.data, server.role);
        let node_index = node;
        let node = &mut s.nodes[node];
        if !node.is_up() || role != Role::Primary || data.epoch != node.epoch || node.applied >= data.head {
            return None;
        }
        let next = node.applied + 1;
        if next < data.first {
            // A gap is an invalidation of everything.
            let behind = data.first - 1;
            if !self.has(Mutant::GapReadOver) {
                self.outdate(node, behind);
            }
            node.applied = behind;
            return Some(());
        }
        let record = data.records[usize::from(next - 1)];
        // The second node has older rules, and an older binary.
        let is_foreign = node_index == 1;
        let passes =
            is_foreign && (self.has(Mutant::UnknownRecordSkipped) || self.has(Mutant::OwnExpansionOnly));
        if record != Record::Other && !passes {
            self.outdate(node, next);
        }
        if record == Record::Unknown && !self.has(Mutant::UnknownOutcomeNotHeld) {
            let lease = if self.has(Mutant::HoldWithoutTheLease) { 0 } else { self.patience() };
            node.hold = self.scenario.limbo + lease;
        }
        node.applied = next;
        Some(())
    }

    fn outdate(&self, node: &mut Node, place: u8) {
        node.floor = place;
        if self.has(Mutant::AppliedBeforeItIsDead) && node.memory.is_some() {
            node.is_killing = true;
        } else {
            node.memory = None;
        }
    }

    /// The second half of applying, where that comes too late.
    pub(crate) fn kills(&self, s: &mut State, node: usize) -> Option<()> {
        let node = &mut s.nodes[node];
        if !node.is_killing {
            return None;
        }
        node.is_killing = false;
        node.memory = None;
        Some(())
    }

    // ---- its life -----------------------------------------------------------------------------------------------

    pub(crate) fn crashes(&self, s: &mut State, node: usize) -> Option<()> {
        if s.nodes[node].phase == Phase::Down || s.spent.crashes >= self.scenario.crashes {
            return None;
        }
        s.spent.crashes += 1;
        s.nodes[node] = Node { at: s.nodes[node].at, ..Node::DOWN };
        for index in 0..s.writes.len() {
            if self.writer(index) == node {
                let write = &mut s.writes[index];
                write.is_held = false;
                write.stage = match write.stage {
                    Stage::Idle | Stage::Intended { .. } => Stage::Dropped,
                    Stage::Answered | Stage::Appended { .. } if !self.scenario.intends => Stage::Dropped,
                    Stage::Answered => Stage::Forwarded,
                    other => other,
                };
            }
        }
        Some(())
    }

    pub(crate) fn starts(&self, s: &mut State, node: usize) -> Option<()> {
        let was_never = node >= usize::from(self.scenario.nodes);
        if s.nodes[node].phase != Phase::Down || !was_never && !self.scenario.restarts {
            return None;
        }
        s.nodes[node].phase = Phase::Up;
        Some(())
    }

    /// A clean leave: it serves nothing of what it keeps any more, and then says so.
    pub(crate) fn leaves(&self, s: &mut State, node: usize) -> Option<()> {
        let at = self.script(s, node)?;
        let slot = s.nodes[node].slot?;
        let writes = || (0..s.writes.len()).filter(|index| self.writer(*index) == node);
        let is_idle =
            writes().all(|index| matches!(s.writes[index].stage, Stage::Idle | Stage::Acknowledged { .. }));
        if s.spent.leaves >= self.scenario.leaves || !is_idle {
            return None;
        }
        s.spent.leaves += 1;
        s.servers[at].data.registry[usize::from(slot)] = None;
        let node = &mut s.nodes[node];
        node.phase = Phase::Left;
        (node.slot, node.renewal) = (None, None);
        if !self.has(Mutant::ServedAfterLeaving) {
            (node.lease, node.memory) = (0, None);
        }
        Some(())
    }
}
