//! Everything that is the case at one moment: the origin, the servers, the nodes, the writes. No step is taken here.
//!
//! One cache key, with one tag. Places are positions in a journal, from 1; versions count what the origin committed, from 0.
//! Times are ticks of a node's own clock, left or gone by; no two clocks are ever compared.

/// Nodes that there is room for.
pub(crate) const NODES: usize = 3;
/// Servers that there is room for: a primary, and what may take its place.
pub(crate) const SERVERS: usize = 2;
/// Incarnations that a registry has room for.
pub(crate) const SLOTS: usize = 4;
/// Records that a journal has room for.
pub(crate) const RECORDS: usize = 7;
/// Writes that are made in a story.
pub(crate) const WRITES: usize = 2;
/// Fetches that a node may have in the air for one key.
pub(crate) const FLIGHTS: usize = 2;

pub(crate) type Version = u8;
pub(crate) type Place = u8;
/// Which journal places belong to; 0 is none.
pub(crate) type Epoch = u8;
pub(crate) type Ticks = u8;

/// In [`Data::intents`]: it hangs on no incarnation of this epoch.
pub(crate) const NOBODY: u8 = u8::MAX;

/// In [`Node::watch`]: its counter is not the one that was last seen.
pub(crate) const MOVED: Ticks = Ticks::MAX;

/// In [`Node::in_epoch`]: nothing of its own counts there.
pub(crate) const NOT_YET: Ticks = Ticks::MAX;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// What a fetch gets now.
    pub(crate) origin: Version,
    /// What nobody who arrives now may get less than: some invalidation of it was acknowledged.
    pub(crate) acked: Version,
    /// What nothing that is *kept* may be less than, once writes of unknown outcome are over.
    pub(crate) settled: Version,
    pub(crate) nodes: [Node; NODES],
    pub(crate) servers: [Server; SERVERS],
    /// The server that the second replica follows, where there is one.
    pub(crate) witness: u8,
    pub(crate) shared: Shared,
    pub(crate) writes: [Write; WRITES],
    pub(crate) reigns: u8,
    pub(crate) epochs: Epoch,
    pub(crate) spent: Spent,
    /// Milestones of the way here that the state does not show by itself, where the scenario names them: a bit each.
    pub(crate) seen: u16,
    /// Somebody got from the shared tier what was older than was acknowledged when he came.
    pub(crate) is_stale: bool,
}

/// A proxy, with all that it loses when it crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) phase: Phase,
    /// The server that its connections reach.
    pub(crate) at: u8,
    pub(crate) epoch: Epoch,
    /// Under which it is registered, or was.
    pub(crate) slot: Option<u8>,
    pub(crate) applied: Place,
    /// The last place at which the key was outdated here: by its tag, or with everything.
    pub(crate) floor: Place,
    /// Left of the lease.
    pub(crate) lease: Ticks,
    /// Whether a clock that is read too seldom still shows the lease as valid.
    pub(crate) cached_lease: bool,
    pub(crate) renewal: Option<Renewal>,
    /// Gone by since it entered its epoch: since it saw it, or, with replicas, since its registration there counts.
    pub(crate) in_epoch: Ticks,
    /// For which what is fetched is not stored.
    pub(crate) hold: Ticks,
    /// For how long each incarnation's counter was seen to stand still.
    pub(crate) watch: [Ticks; SLOTS],
    /// Gone by since its clock last lost a tick.
    pub(crate) steady: Ticks,
    /// What is in memory.
    pub(crate) memory: Option<Version>,
    /// What a read has looked up before it looks at the lease, and what it must not be less than: only where that is the
    /// mistake.
    pub(crate) found: Option<(Version, Version)>,
    /// Applied, and what it covers is still alive: only where that is the mistake.
    pub(crate) is_killing: bool,
    pub(crate) flights: [Option<Flight>; FLIGHTS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Down,
    Up,
    Left,
}

/// A renewal that the primary has accepted, and whose answer is not there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Renewal {
    /// Since it was sent.
    pub(crate) age: Ticks,
    /// Whether as many replicas have it as are asked for.
    pub(crate) is_confirmed: bool,
}

/// A fetch that has departed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Flight {
    pub(crate) epoch: Epoch,
    pub(crate) ticket: Place,
    /// It departed under a lease.
    pub(crate) may_ask_shared: bool,
    /// It departed while an unknown outcome was held.
    pub(crate) is_held: bool,
    /// The origin's answer.
    pub(crate) body: Option<Version>,
    /// What the last one who could come aboard must not get less than; kept for the shared tier's answer.
    pub(crate) asked: Version,
}

/// A Redis process with its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub(crate) role: Role,
    /// New with each start.
    pub(crate) run: u8,
    /// New whenever it becomes primary (`master_replid`), and with each start.
    pub(crate) reign: u8,
    pub(crate) data: Data,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Primary,
    Replica,
    /// Nobody reaches it.
    Away,
}

/// The registers and the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Data {
    /// Of the server that began this epoch.
    pub(crate) run: u8,
    pub(crate) reign: u8,
    /// 0: there is nothing.
    pub(crate) epoch: Epoch,
    /// The origin's version when the epoch began; only the promise knows it.
    pub(crate) since: Version,
    /// The first record that is kept, or the next one if none is.
    pub(crate) first: Place,
    /// The last record.
    pub(crate) head: Place,
    pub(crate) records: [Record; RECORDS],
    pub(crate) registry: [Option<Member>; SLOTS],
    /// For each write the incarnation that its intent hangs on.
    pub(crate) intents: [Option<u8>; WRITES],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Record {
    /// Outdates something else.
    #[default]
    Other,
    /// Outdates the key.
    Outdates,
    /// Outdates the key, and holds it: the outcome of a write is unknown.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Member {
    /// As told by its last successful renewal.
    pub(crate) applied: Place,
    /// What it must have applied to renew.
    pub(crate) fence: Place,
}

impl Member {
    /// It cannot have a lease: the fence was raised when it had none, and it has not renewed since.
    pub(crate) fn is_shut_out(self) -> bool {
        self.applied < self.fence
    }
}

/// Whatever was ever stored in the shared tier: a read may find any of it, or nothing, so lateness, loss, replicas that lag
/// and evictions are all in it. One bit for each (epoch, version, ticket).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Shared(u128);

impl Shared {
    const VERSIONS: u8 = 4;
    const PLACES: u8 = 8;

    pub(crate) fn put(&mut self, epoch: Epoch, version: Version, ticket: Place) {
        self.0 |= 1 << Self::bit(epoch, version, ticket);
    }

    /// All that is there, as (epoch, version, ticket).
    pub(crate) fn iter(self) -> impl Iterator<Item = (Epoch, Version, Place)> {
        (0..128_u8).filter(move |bit| self.0 & (1 << bit) != 0).map(|bit| {
            let (places, epochs) = (Self::PLACES, Self::VERSIONS * Self::PLACES);
            (bit / epochs + 1, bit % epochs / places, bit % places)
        })
    }

    fn bit(epoch: Epoch, version: Version, ticket: Place) -> u8 {
        debug_assert!((1..=4).contains(&epoch) && version < Self::VERSIONS && ticket < Self::PLACES);
        ((epoch - 1) * Self::VERSIONS + version) * Self::PLACES + ticket
    }
}

/// A write through a node, from its intent to its acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Write {
    pub(crate) stage: Stage,
    /// The node that forwards it has not crashed since.
    pub(crate) is_held: bool,
    /// What its commit made; 0 before.
    pub(crate) version: Version,
    /// For which the origin may still commit it.
    pub(crate) limbo: Ticks,
    /// Its node heard no answer.
    pub(crate) is_unknown: bool,
    /// The epochs in whose journal it is, a bit each.
    pub(crate) told: u8,
    /// Where others invalidated it, because its node was gone.
    pub(crate) cover: Option<Cover>,
    /// Who was registered before it was appended, a bit each: only where that is the mistake.
    pub(crate) listed: u8,
    /// Redis lost its intent: nobody is promised anything any more if its node dies as well.
    pub(crate) is_exempt: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    Idle,
    Intended {
        epoch: Epoch,
        is_confirmed: bool,
    },
    Forwarded,
    /// It is over, or given up, and has to be invalidated.
    Answered,
    Appended {
        epoch: Epoch,
        place: Place,
        is_confirmed: bool,
    },
    Acknowledged {
        epoch: Epoch,
        place: Place,
    },
    /// It never reached the origin, or nobody is there to say so.
    Dropped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cover {
    pub(crate) epoch: Epoch,
    pub(crate) place: Place,
    /// Whether as many replicas have it as are asked for.
    pub(crate) is_confirmed: bool,
    /// Every registered node has it, or is shut out.
    pub(crate) is_everywhere: bool,
}

/// What has befallen so far; a scenario bounds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Spent {
    pub(crate) crashes: u8,
    pub(crate) leaves: u8,
    pub(crate) promotions: u8,
    pub(crate) wipes: u8,
    pub(crate) others: u8,
    pub(crate) trims: u8,
    pub(crate) moves: u8,
}

impl Node {
    pub(crate) const DOWN: Self = Self {
        phase: Phase::Down,
        at: 0,
        epoch: 0,
        slot: None,
        applied: 0,
        floor: 0,
        lease: 0,
        cached_lease: false,
        renewal: None,
        in_epoch: 0,
        hold: 0,
        watch: [MOVED; SLOTS],
        steady: 0,
        memory: None,
        found: None,
        is_killing: false,
        flights: [None; FLIGHTS],
    };

    pub(crate) fn is_up(&self) -> bool {
        self.phase == Phase::Up
    }
}

impl Write {
    pub(crate) const IDLE: Self = Self {
        stage: Stage::Idle,
        is_held: true,
        version: 0,
        limbo: 0,
        is_unknown: false,
        told: 0,
        cover: None,
        listed: 0,
        is_exempt: false,
    };
}
