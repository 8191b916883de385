//! The mistakes that the protocol's steps are there against, each named as somebody would make it in code. This is the one
//! list: the model must catch every one, and so must the proofs that run the production code with the same one planted.

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mutant {
    // -- flights
    /// The ticket is taken when the origin's answer is there, not before the origin is asked.
    TicketTakenLate,
    /// A request joins a flight although something that may match was applied since the flight's ticket.
    OldFlightJoined,
    /// A request that came while there was no lease joins a flight that has already departed.
    JoinedWithoutALease,
    /// The lease is looked at before boarding ends: who comes in between is on a flight that may ask the shared tier.
    BoardingOpenBehindTheLease,
    /// What the node holds from an earlier epoch's flight is stored: tickets of two epochs are compared as numbers.
    TicketsOfTwoEpochsCompared,

    // -- the lease
    /// The renewal script does not compare `applied` with the node's fence.
    RenewedBehindTheFence,
    /// The lease is counted from the answer, not from before the renewal was sent.
    LeaseCountedFromTheAnswer,
    /// The lease is held against a clock that was read before the request came.
    LeaseHeldAgainstACachedClock,
    /// The lease is looked at behind the lookup: it may be another one by then, of a node that has caught up since.
    LeaseLookedAtLast,
    /// The lease is not looked at on a hit.
    ServedWithoutALease,
    /// A node that has left goes on until its lease ends.
    ServedAfterLeaving,
    /// The renewal tells `applied` when the floor is raised, before what it covers is dead.
    AppliedBeforeItIsDead,

    // -- the acknowledgement
    /// Acknowledged as soon as it is in the journal.
    AcknowledgedUnseen,
    /// A node that stood still is passed over, but its fence stays where it was.
    AcknowledgedWithoutAFence,
    /// Who is shut out already is passed over, and owes no more than before.
    FenceLeftBehind,
    /// The fence is raised whatever the node's renewal counter says by then.
    FencedWithoutComparing,
    /// A node is shut out when it stood still for a lease; nothing is added for clocks that differ in pace.
    MarginLeftOut,
    /// Standing still is counted from when the counter was asked for, not from when it was told.
    StillnessCountedFromTheQuestion,
    /// Who has to apply it is read before it is appended.
    RegistryReadBeforeTheAppend,

    // -- joining
    /// A node registers without a fence: its first lease does not wait until it is as far as the journal was.
    RegisteredWithoutAFence,
    /// A registration that is sent again overwrites the entry: it looks shut out, and has a lease.
    RegisteredTwice,
    /// A restarted node goes on under the name, and with the entry, of the process before it.
    IncarnationUsedAgain,
    /// A starting node begins to read at the journal's end, and trusts floors that it never raised.
    StartedWithoutReplay,
    /// Where the first record kept is not the first one ever, what is older is judged by floors that are not there.
    OlderThanTheJournalTrusted,

    // -- applying
    /// Numbers that are missing in what was read are passed over.
    GapReadOver,
    /// A record that this node does not understand is passed over.
    UnknownRecordSkipped,
    /// A node applies what its own rules derive from the raw event, and not what the sender derived.
    OwnExpansionOnly,
    /// A floor is let go with the last flight that it could refuse, although the shared tier holds what it would refuse.
    FloorLetGoEarly,

    // -- the shared tier
    /// What comes from the shared tier is served without asking the floors.
    SharedUnchecked,
    /// What comes from the shared tier is judged, and kept, under the ticket of the flight that fetched it from there.
    PromotedUnderANewTicket,

    // -- epochs
    /// What is in memory outlives the epoch.
    EpochKeepsMemory,
    /// The keys of the shared tier do not name the epoch, so entries outlive it.
    EpochKeepsSharedKeys,
    /// The cursor outlives the epoch: the node counts on from where it was in the other journal.
    EpochKeepsTheCursor,
    /// Nobody waits in a new epoch until the leases of the last one have run out.
    EpochAcknowledgesAtOnce,
    /// The wait in a new epoch is counted from when it was seen, not from when replicas had something of it: until then
    /// they may confirm leases of the last one.
    EpochCountedUnconfirmed,
    /// Tickets are taken in an epoch before replicas have anything of it: until then they may confirm what is appended in
    /// the last one, and this one will never hear of that.
    TicketOfAnUnconfirmedEpoch,
    /// What was appended in one epoch is acknowledged in the next, by comparing the two epochs' positions.
    PositionsOfTwoEpochsCompared,
    /// Only a missing key is a new epoch: scripts do not compare the server that they run on with the one that was there.
    ServerNotCompared,
    /// Scripts compare the server's run id alone: one that was primary, follower and primary again looks as if nothing had happened.
    RunIdComparedAlone,

    // -- replicas
    /// A renewal counts as soon as the primary has it.
    RenewedWithoutWait,
    /// An invalidation counts as appended as soon as the primary has it.
    AppendedWithoutWait,
    /// An intent counts as journalled as soon as the primary has it.
    IntendedWithoutWait,

    // -- intents
    /// A write is forwarded without its intent.
    IntentLeftOut,
    /// An intent names nobody whose lease it hangs on.
    IntentHungOnNothing,
    /// Who shuts a node out does nothing about its intents.
    OrphansIgnored,
    /// A write is forwarded after its intent's lease has ended.
    ForwardedWithoutALease,
    /// What an unknown outcome invalidates may be stored again at once.
    UnknownOutcomeNotHeld,
    /// An unknown outcome is held for as long as a write may take, without the lease under which it may yet be forwarded.
    HoldWithoutTheLease,
    /// The journal lets a record go before what it holds is over.
    TrimmedBeforeTheHoldIsOver,
    /// An intent is closed by the invalidation of an unknown outcome, although the write may still be on its way.
    IntentClosedBySilence,
    /// A node that enters a new epoch does not bring the intents that it holds.
    IntentsLeftInTheOldEpoch,
}
