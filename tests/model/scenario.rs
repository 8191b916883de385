//! What a story is about: who takes part, and how much may befall them. Everything within these bounds is explored. A node
//! that is late, cut off or stopped is in all of them.

use crate::promise::Milestone;
use crate::state::{RECORDS, Ticks};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// What befalls the fleet, in a sentence.
    pub(crate) story: &'static str,
    /// Who is there from the start, registered, under a lease, with the key in memory.
    pub(crate) nodes: u8,
    /// Who comes later: the last nodes, with nothing.
    pub(crate) late: u8,
    /// The nodes through which the writes go.
    pub(crate) writes: &'static [u8],
    /// The nodes whose reads are followed. What one keeps is nothing to another, but through the shared tier.
    pub(crate) reads: &'static [u8],
    /// The nodes that watch the others, and shut out who stands still.
    pub(crate) watches: &'static [u8],
    /// Fetches that a node may have in the air; with none, a fetch is one step.
    pub(crate) flights: usize,
    pub(crate) lease: Ticks,
    /// What a node waits for beyond a lease, for clocks that differ in pace.
    pub(crate) margin: Ticks,
    /// Whether clocks may lose a tick now and then: one in a lease and its margin.
    pub(crate) drifts: bool,
    /// Whether there is a shared tier.
    pub(crate) shares: bool,
    /// Whether writes are journalled before they are forwarded, and may have no known outcome.
    pub(crate) intends: bool,
    /// Whether a node may give a write up before it is answered.
    pub(crate) gives_up: bool,
    /// For which the origin may still commit what was forwarded to it.
    pub(crate) limbo: Ticks,
    /// Whether the primary has a replica.
    pub(crate) has_replica: bool,
    /// Whether there is a second replica, of which nobody makes a primary; one of the two must have what counts.
    pub(crate) has_witness: bool,
    /// Whether a primary that was replaced lives on, for those who still reach it.
    pub(crate) splits: bool,
    /// Whether the replica must have a renewal, an invalidation or an intent before it counts.
    pub(crate) waits: bool,
    pub(crate) epochs: u8,
    /// Records in the journal of one epoch.
    pub(crate) records: u8,
    /// How often a node turns to the other server.
    pub(crate) moves: u8,
    pub(crate) crashes: u8,
    /// Whether who crashed starts again.
    pub(crate) restarts: bool,
    pub(crate) leaves: u8,
    pub(crate) promotions: u8,
    /// Restarts of the primary without its data.
    pub(crate) wipes: u8,
    /// Records about something else.
    pub(crate) others: u8,
    /// Records that are let go at the journal's beginning.
    pub(crate) trims: u8,
    /// Whether a lease outlives its epoch. It need not end with it: nobody acknowledges anything in the next one before that.
    pub(crate) keeps_leases: bool,
    /// What comes to pass in it: a story in which nothing happens is safe, and proves nothing.
    pub(crate) reaches: &'static [Milestone],
    /// Whether a paused node's clock stands still as well, as that of a frozen machine: a limit of the promise.
    pub(crate) freezes: bool,
}

impl Scenario {
    /// Two nodes, one write, one server, and nothing befalls them.
    pub(crate) const PLAIN: Self = Self {
        story: "nothing befalls two nodes",
        nodes: 2,
        late: 0,
        writes: &[0],
        reads: &[1],
        watches: &[0],
        flights: 1,
        lease: 1,
        margin: 1,
        drifts: false,
        shares: false,
        intends: false,
        gives_up: false,
        limbo: 1,
        has_replica: false,
        has_witness: false,
        splits: false,
        waits: false,
        epochs: 1,
        records: RECORDS as u8,
        moves: 3,
        crashes: 0,
        restarts: true,
        leaves: 0,
        promotions: 0,
        wipes: 0,
        others: 0,
        trims: 0,
        keeps_leases: false,
        reaches: &[],
        freezes: false,
    };

    /// After which a node that was seen to stand still has no lease: on no clock.
    pub(crate) fn patience(&self) -> Ticks {
        self.lease + self.margin
    }
}
