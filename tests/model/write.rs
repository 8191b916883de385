//! What becomes of a write: intent, forwarding, commit, invalidation, acknowledgement.

use crate::fleet::Fleet;
use crate::mutant::Mutant;
use crate::state::{Cover, MOVED, NOBODY, NOT_YET, Record, Stage, State};

impl Fleet {
    /// The node through which a write goes.
    pub(crate) fn writer(&self, write: usize) -> usize {
        self.scenario.writes.get(write).map_or(0, |node| usize::from(*node))
    }

    /// What will be outdated is journalled, and hangs on the lease of its node's incarnation.
    pub(crate) fn intends(&self, s: &mut State, write: usize) -> Option<()> {
        if s.writes[write].stage != Stage::Idle {
            return None;
        }
        let node = self.writer(write);
        let at = self.script(s, node)?;
        let slot = s.nodes[node].slot.filter(|_| s.nodes[node].lease > 0)?;
        s.servers[at].data.registry[usize::from(slot)]?;
        if !self.has(Mutant::IntentLeftOut) {
            let owner = if self.has(Mutant::IntentHungOnNothing) { NOBODY } else { slot };
            s.servers[at].data.intents[write] = Some(owner);
        }
        let is_confirmed = !self.scenario.waits || self.has(Mutant::IntendedWithoutWait);
        s.writes[write].stage = Stage::Intended { epoch: s.nodes[node].epoch, is_confirmed };
        (s.writes[write].cover, s.writes[write].told) = (None, 0);
        Some(())
    }

    /// It goes to the origin while the lease on which its intent hangs goes on without a break.
    pub(crate) fn forwards(&self, s: &mut State, write: usize) -> Option<()> {
        let node = &s.nodes[self.writer(write)];
        let Stage::Intended { is_confirmed: true, .. } = s.writes[write].stage else { return None };
        if !node.is_up() || node.lease == 0 && !self.has(Mutant::ForwardedWithoutALease) {
            return None;
        }
        s.writes[write].stage = Stage::Forwarded;
        s.writes[write].limbo = self.scenario.limbo;
        Some(())
    }

    /// The origin commits. Where intents are no part of the story, that is all there is before the answer.
    pub(crate) fn commits(&self, s: &mut State, write: usize) -> Option<()> {
        let is_up = s.nodes[self.writer(write)].is_up();
        let this = &mut s.writes[write];
        let is_at_origin =
            if self.scenario.intends { this.limbo > 0 } else { this.stage == Stage::Idle && is_up };
        if this.version > 0 || !is_at_origin {
            return None;
        }
        s.origin += 1;
        this.version = s.origin;
        if !self.scenario.intends {
            this.stage = Stage::Answered;
        }
        if self.has(Mutant::RegistryReadBeforeTheAppend) {
            let registry = s.servers[usize::from(s.nodes[self.writer(write)].at)].data.registry;
            s.writes[write].listed =
                registry.iter().rev().fold(0, |bits, member| bits << 1 | u8::from(member.is_some()));
        }
        Some(())
    }

    /// Its node hears the answer, or gives up waiting for it.
    pub(crate) fn is_answered(&self, s: &mut State, write: usize, is_unknown: bool) -> Option<()> {
        let is_up = s.nodes[self.writer(write)].is_up();
        let this = &mut s.writes[write];
        if this.stage != Stage::Forwarded || !this.is_held || !is_up || this.version == 0 && !is_unknown {
            return None;
        }
        this.stage = Stage::Answered;
        this.is_unknown = is_unknown;
        Some(())
    }

    /// Its invalidation gets its place, and closes the intent if the outcome is known.
    pub(crate) fn appends(&self, s: &mut State, write: usize) -> Option<()> {
        if s.writes[write].stage != Stage::Answered {
            return None;
        }
        let node = self.writer(write);
        let at = self.script(s, node)?;
        let data = &mut s.servers[at].data;
        let is_unknown = s.writes[write].is_unknown;
        let place = self.append(data, if is_unknown { Record::Unknown } else { Record::Outdates })?;
        if !is_unknown || self.has(Mutant::IntentClosedBySilence) {
            data.intents[write] = None;
        }
        let is_confirmed = !self.scenario.waits || self.has(Mutant::AppendedWithoutWait);
        s.writes[write].told |= u8::from(self.scenario.intends) << data.epoch;
        s.writes[write].stage = Stage::Appended { epoch: data.epoch, place, is_confirmed };
        Some(())
    }

    /// Every registered node has applied it, or is shut out.
    pub(crate) fn is_acknowledged(&self, s: &mut State, write: usize) -> Option<()> {
        let Stage::Appended { epoch, place, is_confirmed: true } = s.writes[write].stage else { return None };
        let node = self.writer(write);
        let at = self.script(s, node)?;
        if s.nodes[node].epoch != epoch || !s.writes[write].is_held || !self.has_settled_in(s, node) {
            return None;
        }
        let watch = s.nodes[node].watch;
        let listed = s.writes[write].listed;
        let (patience, has) = (self.patience(), |mutant| self.has(mutant));
        let passes = |slot: u8| {
            let stood = watch[usize::from(slot)];
            has(Mutant::AcknowledgedUnseen)
                || has(Mutant::AcknowledgedWithoutAFence) && stood != MOVED && stood >= patience
                || has(Mutant::RegistryReadBeforeTheAppend) && listed & 1 << slot == 0
        };
        if !self.settled(s, at, place, passes) {
            return None;
        }
        s.writes[write].stage = Stage::Acknowledged { epoch, place };
        if !s.writes[write].is_unknown {
            s.acked = s.acked.max(s.writes[write].version);
        }
        Some(())
    }

    /// The same for what others had to invalidate; nobody waits for that, but from then on it is kept nowhere.
    pub(crate) fn is_covered(&self, s: &mut State, write: usize, node: usize) -> Option<()> {
        let cover = s.writes[write].cover.filter(|cover| cover.is_confirmed && !cover.is_everywhere)?;
        let at = self.script(s, node)?;
        let settled = cover.epoch == s.nodes[node].epoch
            && self.has_settled_in(s, node)
            && self.settled(s, at, cover.place, |_| false);
        if !settled {
            return None;
        }
        s.writes[write].cover = Some(Cover { is_everywhere: true, ..cover });
        Some(())
    }

    /// What was invalidated as of unknown outcome is over: its intent is not needed any more.
    pub(crate) fn closes(&self, s: &mut State, write: usize, node: usize) -> Option<()> {
        let at = self.script(s, node)?;
        let (this, data) = (&s.writes[write], &mut s.servers[at].data);
        if this.limbo > 0 || this.told & 1 << data.epoch == 0 || data.intents[write].is_none() {
            return None;
        }
        data.intents[write] = None;
        Some(())
    }

    /// Whether the leases of the epoch before have run out, for all that this node knows.
    fn has_settled_in(&self, s: &State, node: usize) -> bool {
        let since = s.nodes[node].in_epoch;
        since != NOT_YET && since >= self.patience() || self.has(Mutant::EpochAcknowledgesAtOnce)
    }
}
