//! The stories, and what befalls the fleet in each. Many small ones show more than one in which everything happens at once,
//! because all that may happen within each is explored.

use crate::promise::Milestone::*;
use crate::scenario::Scenario;

/// What every run explores.
pub(crate) const SHORT: &[Scenario] = &[
    CALM,
    DRIFT,
    LEAVE,
    OTHERS,
    GAP,
    CRASH,
    THREE,
    SHARED,
    FLIGHTS,
    LATE,
    RESTART,
    WIPE,
    WIPE_LEASED,
    PROMOTE,
    SPLIT,
    ORPHAN,
    UNKNOWN,
    ORPHAN_WIPE,
];

/// What is explored where `LARDER_LONG=1`, besides.
pub(crate) const LONG: &[Scenario] = &[
    SPLIT_LEASED,
    WITNESS,
    TWO_WRITERS,
    TWO_WRITERS_FAIL,
    TWO_WRITERS_WIPE,
    THREE_WATCHED,
    THREE_FAIL,
    LONG_LEASE,
    SHARED_BY_BOTH,
    BACK,
    SPLIT_FLIGHTS,
    SPLIT_MOVES,
    WITNESS_FLIGHTS,
    UNKNOWN_FLIGHTS,
    ORPHAN_WIPE_READ,
    ORPHAN_PROMOTE,
    UNKNOWN_PROMOTE,
];

// ---- nodes --------------------------------------------------------------------------------------------------------------

pub(crate) const CALM: Scenario = Scenario {
    story: "one of two nodes writes; the other may be late, cut off or stopped for any time",
    reaches: &[ServedAgain, AcknowledgedWithoutEverybody, Regained],
    ..Scenario::PLAIN
};

pub(crate) const DRIFT: Scenario =
    Scenario { story: "clocks differ in pace", drifts: true, reaches: &[ServedAgain], ..Scenario::PLAIN };

pub(crate) const LEAVE: Scenario =
    Scenario { story: "a node leaves in good order", leaves: 1, reaches: &[Left], ..Scenario::PLAIN };

pub(crate) const OTHERS: Scenario = Scenario {
    story: "something else is outdated as well",
    others: 1,
    reaches: &[ServedAgain],
    ..Scenario::PLAIN
};

pub(crate) const GAP: Scenario = Scenario {
    story: "the journal lets a record go that a node has not read yet",
    trims: 1,
    reaches: &[ServedAgain],
    ..Scenario::PLAIN
};

pub(crate) const CRASH: Scenario = Scenario {
    story: "a node dies, and starts again with nothing; what it had shared is still there",
    crashes: 1,
    shares: true,
    reaches: &[ServedAgain, AcknowledgedWithoutEverybody],
    ..Scenario::PLAIN
};

pub(crate) const THREE: Scenario = Scenario {
    story: "one of three nodes writes, and has two others to wait for",
    nodes: 3,
    reads: &[2],
    reaches: &[ServedAgain, AcknowledgedWithoutEverybody],
    ..Scenario::PLAIN
};

pub(crate) const THREE_WATCHED: Scenario = Scenario {
    story: "one of three nodes writes, and two of them watch the others",
    watches: &[0, 1],
    ..THREE
};

pub(crate) const THREE_FAIL: Scenario = Scenario {
    story: "one of three nodes writes, and one dies for good",
    crashes: 1,
    restarts: false,
    ..THREE_WATCHED
};

pub(crate) const LONG_LEASE: Scenario = Scenario {
    story: "a lease of two ticks, clocks that differ in pace, and reads through both nodes",
    lease: 2,
    drifts: true,
    reads: &[0, 1],
    reaches: &[ServedAgain],
    ..Scenario::PLAIN
};

pub(crate) const TWO_WRITERS: Scenario = Scenario {
    story: "two nodes write and watch each other, and clocks differ in pace",
    writes: &[0, 1],
    watches: &[0, 1],
    drifts: true,
    reaches: &[ServedAgain, AcknowledgedTwice, AcknowledgedWithoutEverybody],
    ..Scenario::PLAIN
};

pub(crate) const TWO_WRITERS_FAIL: Scenario = Scenario {
    story: "two nodes write; one of them dies for good, or leaves",
    drifts: false,
    crashes: 1,
    leaves: 1,
    restarts: false,
    ..TWO_WRITERS
};

// ---- the shared tier ----------------------------------------------------------------------------------------------------

pub(crate) const SHARED: Scenario = Scenario {
    story: "there is a shared tier, of which any read may find any entry that was ever stored",
    shares: true,
    reaches: &[ServedAgain, SharedHit],
    ..Scenario::PLAIN
};

pub(crate) const FLIGHTS: Scenario = Scenario {
    story: "a node has two fetches in the air; something else is outdated as well",
    flights: 2,
    others: 1,
    reaches: &[ServedAgain],
    ..SHARED
};

pub(crate) const LATE: Scenario = Scenario {
    story: "a node comes late, with nothing, when the journal may have let its first record go",
    nodes: 1,
    late: 1,
    trims: 1,
    ..SHARED
};

pub(crate) const RESTART: Scenario = Scenario {
    story: "a node dies and starts again, and the journal lets a record go",
    crashes: 1,
    trims: 1,
    reaches: &[ServedAgain],
    ..SHARED
};

pub(crate) const SHARED_BY_BOTH: Scenario =
    Scenario { story: "both nodes read through the shared tier", reads: &[0, 1], ..SHARED };

// ---- epochs -------------------------------------------------------------------------------------------------------------

pub(crate) const WIPE: Scenario = Scenario {
    story: "the server restarts without its data",
    wipes: 1,
    epochs: 2,
    shares: true,
    reaches: &[AcknowledgedInTheNextEpoch, ServedInTheNextEpoch],
    ..Scenario::PLAIN
};

pub(crate) const WIPE_LEASED: Scenario = Scenario {
    story: "the server restarts without its data, and leases outlive their epoch",
    keeps_leases: true,
    ..WIPE
};

pub(crate) const TWO_WRITERS_WIPE: Scenario = Scenario {
    story: "two nodes write, and the server restarts without its data",
    writes: &[0, 1],
    shares: false,
    flights: 0,
    ..WIPE
};

pub(crate) const PROMOTE: Scenario = Scenario {
    story: "a replica takes the place of a primary that is gone, without all of its data",
    has_replica: true,
    promotions: 1,
    epochs: 2,
    reaches: &[AcknowledgedInTheNextEpoch, ServedInTheNextEpoch],
    ..Scenario::PLAIN
};

pub(crate) const BACK: Scenario = Scenario {
    story: "a replica takes the place of a primary, and that one comes back and takes it again",
    promotions: 2,
    epochs: 3,
    ..PROMOTE
};

pub(crate) const SPLIT: Scenario = Scenario {
    story: "a replica takes the place of a primary that lives on, for those who still reach it",
    splits: true,
    waits: true,
    moves: 2,
    records: 1,
    flights: 0,
    reaches: &[AcknowledgedInTheNextEpoch, ServedInTheNextEpoch, TwoPrimaries],
    ..PROMOTE
};

pub(crate) const SPLIT_LEASED: Scenario =
    Scenario { story: "two primaries, and leases outlive their epoch", keeps_leases: true, ..SPLIT };

pub(crate) const SPLIT_FLIGHTS: Scenario =
    Scenario { story: "two primaries, and fetches take their time", flights: 1, ..SPLIT };

pub(crate) const SPLIT_MOVES: Scenario =
    Scenario { story: "two primaries, and nodes go to and fro between them", moves: 3, records: 2, ..SPLIT };

pub(crate) const WITNESS: Scenario = Scenario {
    story: "one replica takes the primary's place, and another one confirms what either of them has",
    has_witness: true,
    ..SPLIT
};

pub(crate) const WITNESS_FLIGHTS: Scenario = Scenario {
    story: "two primaries, a replica that confirms what either has, and fetches that take their time",
    flights: 1,
    ..WITNESS
};

// ---- writes whose outcome nobody knows ----------------------------------------------------------------------------------

pub(crate) const ORPHAN: Scenario = Scenario {
    story: "a node dies for good while it forwards a write",
    intends: true,
    watches: &[1],
    records: 3,
    crashes: 1,
    restarts: false,
    flights: 0,
    reaches: &[ServedAgain, OrphanOutdated],
    ..Scenario::PLAIN
};

pub(crate) const UNKNOWN: Scenario = Scenario {
    story: "a node gives up on a write, which may still be committed",
    gives_up: true,
    crashes: 0,
    records: 2,
    reaches: &[ServedAgain, UnknownSettled],
    ..ORPHAN
};

pub(crate) const UNKNOWN_FLIGHTS: Scenario = Scenario {
    story: "a node gives up on a write, which may still be committed, and fetches take their time",
    flights: 1,
    records: 3,
    ..UNKNOWN
};

pub(crate) const ORPHAN_WIPE: Scenario = Scenario {
    story: "a node dies while it forwards a write, and the server restarts without its data",
    wipes: 1,
    epochs: 2,
    reads: &[],
    reaches: &[OrphanOutdated],
    ..ORPHAN
};

pub(crate) const ORPHAN_WIPE_READ: Scenario = Scenario {
    story: "a node dies while it forwards a write, the server restarts without its data, and somebody reads",
    reads: &[1],
    reaches: &[OrphanOutdated, ServedInTheNextEpoch],
    ..ORPHAN_WIPE
};

pub(crate) const ORPHAN_PROMOTE: Scenario = Scenario {
    story: "a node dies while it forwards a write, and a replica takes the place of a primary that lives on",
    has_replica: true,
    promotions: 1,
    splits: true,
    waits: true,
    epochs: 2,
    moves: 1,
    records: 2,
    reads: &[],
    reaches: &[OrphanOutdated, TwoPrimaries],
    ..ORPHAN
};

pub(crate) const UNKNOWN_PROMOTE: Scenario = Scenario {
    story: "a node gives up on a write, and a replica takes the place of a primary that lives on",
    gives_up: true,
    crashes: 0,
    reaches: &[UnknownSettled, TwoPrimaries],
    ..ORPHAN_PROMOTE
};

// ---- beyond the promise -------------------------------------------------------------------------------------------------

pub(crate) const FROZEN: Scenario = Scenario {
    story: "a machine is stopped together with its clock, as a virtual one may be",
    freezes: true,
    ..Scenario::PLAIN
};
