//! The mistakes that the protocol's steps are there against, each named as somebody would make it in code. This is the one
//! list: the model must catch every one, and so must the proofs that run the production code with the same one planted.

use crate::promise::{FRESH, KEPT, KNOWN};
use crate::scenario::Scenario;
use crate::stories::*;

/// Each mistake, the promise that it breaks, and a story in which it does. One without a story does not compile.
macro_rules! mutants {
    ($($(#[$what:meta])* $mutant:ident: $promise:ident in $scenario:expr;)*) => {
        /// One mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Mutant {
            $($(#[$what])* $mutant,)*
        }

        #[expect(non_snake_case, reason = "each is called what the mistake is called")]
        mod is_caught {
            use super::*;

            $(#[test]
            fn $mutant() {
                crate::is_caught(Mutant::$mutant, $promise, $scenario);
            })*
        }
    };
}

mutants! {
    // -- flights
    /// The ticket is taken when the origin's answer is there, not before the origin is asked.
    TicketTakenLate: FRESH in CALM;
    /// A request joins a flight although something that may match was applied since the flight's ticket.
    OldFlightJoined: FRESH in CALM;
    /// A request that came while there was no lease joins a flight that has already departed.
    JoinedWithoutALease: FRESH in CALM;
    /// The lease is looked at before boarding ends: who comes in between is on a flight that may ask the shared tier.
    BoardingOpenBehindTheLease: FRESH in SHARED;
    /// What the node holds from an earlier epoch's flight is stored: tickets of two epochs are compared as numbers.
    TicketsOfTwoEpochsCompared: FRESH in Scenario { shares: false, watches: &[], ..WIPE };

    // -- the lease
    /// The renewal script does not compare `applied` with the node's fence.
    RenewedBehindTheFence: FRESH in CALM;
    /// A renewal brings back an entry that was let go.
    RenewedWithoutAnEntry: FRESH in CALM;
    /// The lease is counted from the answer, not from before the renewal was sent.
    LeaseCountedFromTheAnswer: FRESH in CALM;
    /// The lease is held against a clock that was read before the request came.
    LeaseHeldAgainstACachedClock: FRESH in CALM;
    /// The lease is looked at behind the lookup: it may be another one by then, of a node that has caught up since.
    LeaseLookedAtLast: FRESH in CALM;
    /// The lease is not looked at on a hit.
    ServedWithoutALease: FRESH in CALM;
    /// A node that has left goes on until its lease ends.
    ServedAfterLeaving: FRESH in LEAVE;
    /// The renewal tells `applied` when the floor is raised, before what it covers is dead.
    AppliedBeforeItIsDead: FRESH in CALM;

    // -- the acknowledgement
    /// Acknowledged as soon as it is in the journal.
    AcknowledgedUnseen: FRESH in CALM;
    /// A node that stood still is passed over, but its fence stays where it was.
    AcknowledgedWithoutAFence: FRESH in CALM;
    /// Who is shut out already is passed over, and owes no more than before.
    FenceLeftBehind: FRESH in OTHERS;
    /// The fence is raised whatever the node's renewal counter says by then.
    FencedWithoutComparing: FRESH in CALM;
    /// A node is shut out when it stood still for a lease; nothing is added for clocks that differ in pace.
    MarginLeftOut: FRESH in DRIFT;
    /// Standing still is counted from when the counter was asked for, not from when it was told.
    StillnessCountedFromTheQuestion: FRESH in CALM;
    /// Who has to apply it is read before it is appended.
    RegistryReadBeforeTheAppend: FRESH in LATE;

    // -- joining
    /// A node registers without a fence: its first lease does not wait until it is as far as the journal was.
    RegisteredWithoutAFence: FRESH in LATE;
    /// A registration that is sent again overwrites the entry: it looks shut out, and has a lease.
    RegisteredTwice: FRESH in OTHERS;
    /// A restarted node goes on under the name, and with the entry, of the process before it.
    IncarnationUsedAgain: FRESH in CRASH;
    /// A starting node begins to read at the journal's end, and trusts floors that it never raised.
    StartedWithoutReplay: FRESH in LATE;
    /// Where the first record kept is not the first one ever, what is older is judged by floors that are not there.
    OlderThanTheJournalTrusted: FRESH in LATE;

    // -- applying
    /// Numbers that are missing in what was read are passed over.
    GapReadOver: FRESH in GAP;
    /// A record that this node does not understand is passed over.
    UnknownRecordSkipped: FRESH in CALM;
    /// A node applies what its own rules derive from the raw event, and not what the sender derived.
    OwnExpansionOnly: FRESH in CALM;
    /// A floor is let go with the last flight that it could refuse, although the shared tier holds what it would refuse.
    FloorLetGoEarly: FRESH in SHARED;

    // -- the shared tier
    /// What comes from the shared tier is served without asking the floors.
    SharedUnchecked: FRESH in SHARED;
    /// What comes from the shared tier is judged, and kept, under the ticket of the flight that fetched it from there.
    PromotedUnderANewTicket: FRESH in SHARED;

    // -- epochs
    /// What is in memory outlives the epoch.
    EpochKeepsMemory: FRESH in Scenario { shares: false, ..WIPE };
    /// The keys of the shared tier do not name the epoch, so entries outlive it.
    EpochKeepsSharedKeys: FRESH in Scenario { watches: &[], ..WIPE };
    /// The cursor outlives the epoch: the node counts on from where it was in the other journal.
    EpochKeepsTheCursor: FRESH in Scenario { others: 1, shares: false, flights: 0, watches: &[], ..WIPE };
    /// Nobody waits in a new epoch until the leases of the last one have run out.
    EpochAcknowledgesAtOnce: FRESH in WIPE;
    /// The wait in a new epoch is counted from when it was seen, not from when replicas had something of it: until then
    /// they may confirm leases of the last one.
    EpochCountedUnconfirmed: FRESH in Scenario { moves: 1, watches: &[], ..WITNESS };
    /// Tickets are taken in an epoch before replicas have anything of it: until then they may confirm what is appended in
    /// the last one, and this one will never hear of that.
    TicketOfAnUnconfirmedEpoch: FRESH in Scenario { moves: 1, ..WITNESS };
    /// What was appended in one epoch is acknowledged in the next, by comparing the two epochs' positions.
    PositionsOfTwoEpochsCompared: KEPT in TWO_WRITERS_WIPE;
    /// Only a missing key is a new epoch: scripts do not compare the server that they run on with the one that was there.
    ServerNotCompared: KEPT in PROMOTE;
    /// Scripts compare the server's run id alone: one that was primary, follower and primary again looks as if nothing had happened.
    RunIdComparedAlone: KEPT in BACK;

    // -- replicas
    /// A renewal counts as soon as the primary has it.
    RenewedWithoutWait: FRESH in Scenario { moves: 1, watches: &[], ..WITNESS };
    /// An invalidation counts as appended as soon as the primary has it.
    AppendedWithoutWait: FRESH in Scenario { moves: 1, ..WITNESS };
    /// An intent counts as journalled as soon as the primary has it.
    IntendedWithoutWait: KNOWN in ORPHAN_PROMOTE;

    // -- intents
    /// A write is forwarded without its intent.
    IntentLeftOut: KNOWN in ORPHAN;
    /// An intent names nobody whose lease it hangs on.
    IntentHungOnNothing: KNOWN in ORPHAN;
    /// Who shuts a node out does nothing about its intents.
    OrphansIgnored: KNOWN in ORPHAN;
    /// A write is forwarded after its intent's lease has ended.
    ForwardedWithoutALease: FRESH in ORPHAN;
    /// What an unknown outcome invalidates may be stored again at once.
    UnknownOutcomeNotHeld: FRESH in UNKNOWN;
    /// An unknown outcome is held for as long as a write may take, without the lease under which it may yet be forwarded.
    HoldWithoutTheLease: FRESH in Scenario{lease:2,records:2,moves:1,crashes:0,watches:&[],splits:false,waits:false,reads:&[1],..ORPHAN_PROMOTE};
    /// The journal lets a record go before what it holds is over.
    TrimmedBeforeTheHoldIsOver: FRESH in Scenario{trims:1,flights:1,..UNKNOWN};
    /// An intent is closed by the invalidation of an unknown outcome, although the write may still be on its way.
    IntentClosedBySilence: KNOWN in UNKNOWN_PROMOTE;
    /// A node that enters a new epoch does not bring the intents that it holds.
    IntentsLeftInTheOldEpoch: KNOWN in ORPHAN_WIPE;
}
