//! What runs on a server: the scripts, each of them one step, and what befalls servers and their data.

use crate::fleet::Fleet;
use crate::mutant::Mutant;
use crate::state::{
    Cover, Data, Epoch, MOVED, Member, NOBODY, NOT_YET, Place, Record, Renewal, Role, SERVERS, SLOTS, Server,
    Stage, State,
};

impl Fleet {
    /// How every script begins: the epoch of the server that is asked, a new one if the server or the data is not the one
    /// of the stored epoch. `None`: nobody answers, or it is no primary.
    pub(crate) fn enter(&self, s: &mut State, at: usize) -> Option<Epoch> {
        if s.servers[at].role != Role::Primary {
            return None;
        }
        if !self.goes_on(&s.servers[at]) {
            self.begin(s, at)?;
        }
        Some(s.servers[at].data.epoch)
    }

    /// Whether the stored epoch is that of this server's reign.
    pub(crate) fn goes_on(&self, server: &Server) -> bool {
        let is_same = server.data.run == server.run
            && (server.data.reign == server.reign || self.has(Mutant::RunIdComparedAlone));
        server.data.epoch != 0 && (is_same || self.has(Mutant::ServerNotCompared))
    }

    /// An empty journal and registry. What was intended and is not known to be over is outdated in it at once.
    fn begin(&self, s: &mut State, at: usize) -> Option<()> {
        if s.epochs >= self.scenario.epochs {
            return None;
        }
        s.epochs += 1;
        let server = &mut s.servers[at];
        let data = Data {
            run: server.run,
            reign: server.reign,
            epoch: s.epochs,
            since: s.origin,
            first: 1,
            intents: server.data.intents,
            ..Data::default()
        };
        server.data = data;
        for write in 0..s.writes.len() {
            if data.intents[write].is_some() {
                self.cover(s, at, write)?;
                s.servers[at].data.intents[write] = Some(NOBODY);
            }
        }
        Some(())
    }

    /// The place of a new last record.
    pub(crate) fn append(&self, data: &mut Data, record: Record) -> Option<Place> {
        if data.head == self.scenario.records {
            return None;
        }
        data.records[usize::from(data.head)] = record;
        data.head += 1;
        Some(data.head)
    }

    /// Journals the unknown outcome of a write whose node is gone. Its intent stays until the write must be over, so that
    /// a new epoch finds it again.
    fn cover(&self, s: &mut State, at: usize, write: usize) -> Option<()> {
        let data = &mut s.servers[at].data;
        let place = self.append(data, Record::Unknown)?;
        s.writes[write].told |= 1 << data.epoch;
        s.writes[write].cover = Some(Cover {
            epoch: data.epoch,
            place,
            is_confirmed: !self.scenario.waits,
            is_everywhere: false,
        });
        Some(())
    }

    /// Script `register`: an entry that owes everything up to now before its first renewal.
    pub(crate) fn register(&self, s: &mut State, at: usize) -> Option<u8> {
        let taken = |slot: u8| {
            s.nodes.iter().any(|node| node.slot == Some(slot))
                || s.servers.iter().any(|server| server.data.registry[usize::from(slot)].is_some())
        };
        let slot = (0..SLOTS as u8).find(|slot| !taken(*slot))?;
        let data = &mut s.servers[at].data;
        let fence = if self.has(Mutant::RegisteredWithoutAFence) { 0 } else { data.head };
        data.registry[usize::from(slot)] = Some(Member { applied: 0, fence });
        self.moved(s, slot);
        Some(slot)
    }

    /// Script `renew`: refused behind the fence; else it tells how far the node is, and its counter moves.
    pub(crate) fn renew(&self, s: &mut State, at: usize, slot: u8, applied: Place) -> Option<()> {
        let member = s.servers[at].data.registry[usize::from(slot)].as_mut()?;
        if applied < member.fence && !self.has(Mutant::RenewedBehindTheFence) {
            return None;
        }
        member.applied = applied;
        self.moved(s, slot);
        Some(())
    }

    /// Nobody has seen this counter yet.
    fn moved(&self, s: &mut State, slot: u8) {
        let patience = self.patience();
        for node in &mut s.nodes {
            let watch = &mut node.watch[usize::from(slot)];
            // Who does not compare goes by what he saw last, and acts upon it.
            if !(self.has(Mutant::FencedWithoutComparing) && *watch != MOVED && *watch >= patience) {
                *watch = MOVED;
            }
        }
    }

    /// Script `fence`: an incarnation whose counter is still the one that was seen owes what the journal has now, and what
    /// it intended has no known outcome. An entry that is shut out already, that would owe nothing, or whose process is gone, is let
    /// go: it registers again, or never.
    pub(crate) fn fence(&self, s: &mut State, at: usize, slot: u8) -> Option<()> {
        let index = usize::from(slot);
        for write in 0..s.writes.len() {
            let data = &s.servers[at].data;
            let is_told = s.writes[write].told & 1 << data.epoch != 0;
            let is_orphan = data.intents[write] == Some(slot) && !is_told;
            if is_orphan && !self.has(Mutant::OrphansIgnored) {
                self.cover(s, at, write)?;
            }
        }
        let (epoch, head) = (s.servers[at].data.epoch, s.servers[at].data.head);
        let lives = s.nodes.iter().any(|node| node.slot == Some(slot) && node.epoch == epoch);
        let entry = &mut s.servers[at].data.registry[index];
        let member = entry.as_mut()?;
        if lives && !member.is_shut_out() && member.applied < head {
            member.fence = head;
        } else {
            *entry = None;
        }
        Some(())
    }

    /// Script `settled`: whether every registered incarnation has applied `place`, or is shut out; who is shut out owes it too.
    pub(crate) fn settled(
        &self,
        s: &mut State,
        at: usize,
        place: Place,
        passes: impl Fn(u8) -> bool,
    ) -> bool {
        let registry = &mut s.servers[at].data.registry;
        let has_it = |slot: usize, member: &Member| {
            member.applied >= place || member.is_shut_out() || passes(slot as u8)
        };
        let is_everywhere =
            registry.iter().enumerate().all(|(slot, member)| member.is_none_or(|m| has_it(slot, &m)));
        if is_everywhere && !self.has(Mutant::FenceLeftBehind) {
            for member in registry.iter_mut().flatten().filter(|member| member.is_shut_out()) {
                member.fence = member.fence.max(place);
            }
        }
        is_everywhere
    }

    // ---- what befalls servers -----------------------------------------------------------------------------------

    /// The replica has all that the primary has, and the primary knows it.
    pub(crate) fn replicate(&self, s: &mut State) -> Option<()> {
        let (primary, replica) = self.pair(s)?;
        s.servers[replica].data = s.servers[primary].data;
        self.confirm(s, primary);
        Some(())
    }

    /// The second replica has all that its primary has, and that one knows it.
    pub(crate) fn witness(&self, s: &mut State) -> Option<()> {
        let primary = usize::from(s.witness);
        (s.servers[primary].role == Role::Primary).then(|| self.confirm(s, primary))
    }

    /// The second replica follows the newer primary from now on, and never again the older one.
    pub(crate) fn turn(&self, s: &mut State) -> Option<()> {
        let old = usize::from(s.witness);
        let new = (old + 1) % SERVERS;
        let is_newer = s.servers[new].role == Role::Primary && s.servers[new].reign > s.servers[old].reign;
        is_newer.then(|| s.witness = new as u8)
    }

    /// What has been sent to this primary counts.
    fn confirm(&self, s: &mut State, primary: usize) {
        let data = s.servers[primary].data;
        for node in &mut s.nodes {
            if usize::from(node.at) == primary && node.epoch == data.epoch {
                node.renewal = node.renewal.map(|renewal| Renewal { is_confirmed: true, ..renewal });
                if node.in_epoch == NOT_YET && node.slot.is_some() {
                    node.in_epoch = 0;
                }
            }
        }
        for (index, write) in s.writes.iter_mut().enumerate() {
            write.cover = write.cover.map(|cover| Cover {
                is_confirmed: cover.is_confirmed || cover.epoch == data.epoch,
                ..cover
            });
            if usize::from(s.nodes[self.writer(index)].at) == primary {
                match &mut write.stage {
                    Stage::Intended { epoch, is_confirmed } | Stage::Appended { epoch, is_confirmed, .. }
                        if *epoch == data.epoch =>
                    {
                        *is_confirmed = true;
                    }
                    _ => {}
                }
            }
        }
    }

    /// The replica becomes primary. The old primary is gone, or cut off with those who still reach it.
    pub(crate) fn promote(&self, s: &mut State) -> Option<()> {
        let (primary, replica) = self.replica(s)?;
        if s.spent.promotions >= self.scenario.promotions {
            return None;
        }
        s.spent.promotions += 1;
        s.reigns += 1;
        s.servers[replica].role = Role::Primary;
        s.servers[replica].reign = s.reigns;
        if !self.scenario.splits {
            s.servers[primary].role = Role::Away;
            self.forget_connections(s, primary);
            self.exempt(s, replica);
        }
        Some(())
    }

    /// A server that was replaced, or cut off, follows the other one: its own data is gone.
    pub(crate) fn follow(&self, s: &mut State, at: usize) -> Option<()> {
        let other = (at + 1) % SERVERS;
        if s.servers[at].role == Role::Replica || s.servers[other].role != Role::Primary {
            return None;
        }
        // Where fewer than all replicas make something count, whoever was replaced is never followed again; Sentinel and
        // Cluster see to that.
        if self.scenario.has_witness && s.servers[at].reign > s.servers[other].reign {
            return None;
        }
        s.servers[at].role = Role::Replica;
        s.servers[at].data = s.servers[other].data;
        self.forget_connections(s, at);
        Some(())
    }

    /// The primary restarts, and has nothing.
    pub(crate) fn wipe(&self, s: &mut State, at: usize) -> Option<()> {
        if s.spent.wipes >= self.scenario.wipes || s.servers[at].role != Role::Primary {
            return None;
        }
        s.spent.wipes += 1;
        s.reigns += 1;
        s.servers[at].run = s.reigns;
        s.servers[at].reign = s.reigns;
        s.servers[at].data = Data::default();
        self.forget_connections(s, at);
        self.exempt(s, at);
        Some(())
    }

    /// The oldest record is let go, once what it may hold is over.
    pub(crate) fn trim(&self, s: &mut State, at: usize) -> Option<()> {
        let data = &mut s.servers[at].data;
        if s.spent.trims >= self.scenario.trims || data.epoch == 0 || data.first > data.head {
            return None;
        }
        let is_held = data.records[usize::from(data.first - 1)] == Record::Unknown
            && s.writes.iter().any(|write| write.limbo > 0);
        if is_held && !self.has(Mutant::TrimmedBeforeTheHoldIsOver) {
            return None;
        }
        s.spent.trims += 1;
        data.first += 1;
        Some(())
    }

    /// What was sent over connections that are gone, and was not confirmed, is of unknown effect: it is sent again.
    fn forget_connections(&self, s: &mut State, at: usize) {
        for node in 0..s.nodes.len() {
            if usize::from(s.nodes[node].at) == at {
                self.reconnects(s, node);
            }
        }
    }

    /// No promise about a write whose intent Redis has lost, should its node die before it can bring it again.
    fn exempt(&self, s: &mut State, at: usize) {
        let intents = s.servers[at].data.intents;
        for (index, write) in s.writes.iter_mut().enumerate() {
            let is_on_its_way = !matches!(write.stage, Stage::Idle | Stage::Dropped);
            write.is_exempt |= is_on_its_way && intents[index].is_none();
        }
    }

    /// A primary with a replica that follows it.
    fn pair(&self, s: &State) -> Option<(usize, usize)> {
        let (primary, replica) = self.replica(s)?;
        (s.servers[primary].role == Role::Primary).then_some((primary, replica))
    }

    /// A replica, and the other server.
    fn replica(&self, s: &State) -> Option<(usize, usize)> {
        let replica = s.servers.iter().position(|server| server.role == Role::Replica)?;
        Some(((replica + 1) % SERVERS, replica))
    }
}
