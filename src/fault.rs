//! Mistakes that a test plants, one at a time, to see that the checker notices them; and those in the protocol of a fleet, that
//! the simulation (`flow/simulation`) has to notice.
//!
//! Invariant: without the feature `faults` there are none of the former, and outside this crate's tests none of the latter; [`is`] is false before the program runs, and each of its uses
//! compiles to nothing. The feature is no part of any build that is optimised. It refuses to know what a mistake does: that
//! stands where it is planted.

#[cfg(all(feature = "faults", not(debug_assertions)))]
compile_error!("the feature `faults` is for tests of unoptimised builds");

/// One mistake in what keeps the promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An answer is stored under a position that is looked up when it is there.
    TicketTakenLate,
    /// What was outdated since its ticket is stored all the same.
    GateSkipped,
    /// Who waits for a flight is held against nothing, neither when he joins it nor when it lands.
    OldFlightJoined,
    /// What an answer may turn out to depend on is taken for nothing by the join rule.
    UnknownTagsJoined,
    /// An invalidation raises its floors, and leaves alone what is stored.
    KeptLeftAlive,
    /// What is dead is taken for alive.
    DeadServed,
    /// A 304 makes fresh again what was outdated after it had been asked for.
    RevivedBy304,
    /// A date confirms what a soft invalidation has reached.
    SoftenedConfirmedByDate,
    /// What a 304 has made fresh carries none of the tags that it carried before.
    ConfirmedWithoutTags,
    /// Floors of patterns, prefixes and globs are not raised.
    WideFloorsForgotten,
    /// The floor of everything is not raised.
    FloorOfAllForgotten,
    /// Floors go while tickets below them are in flight.
    FloorsDroppedEarly,
    /// A pattern reaches what carries the first tag that it matches, and nothing else.
    PatternStopsAtFirst,
    /// A writer is answered before his invalidation is applied.
    AnsweredFirst,
    /// Who joins a batch is answered before it is applied.
    BatchAnsweredFirst,
    /// A write whose outcome nobody knows outdates nothing.
    UnknownOutcomeIgnored,
    /// What a write of unknown outcome has outdated is stored again at once.
    UnknownOutcomeNotHeld,
    /// What a write has outdated is stored again at once.
    SettleIgnored,
    /// A placeholder of a rule that has no value is skipped instead of widened.
    UnresolvedSkipped,
    /// What is derived from what is outdated stays.
    DerivedForgotten,
    /// What a write is aimed at stays, but for what the rules name.
    TargetForgotten,
    /// The groups that the answer to a write names stay.
    GroupsForgotten,
    /// What a body names is no tag.
    BodyTagsForgotten,
    /// What the fields of an answer name is no tag.
    FieldTagsForgotten,
    /// A soft invalidation leaves alone what is stored.
    SoftIgnored,
    /// Who has softly outdated something is served it as stale, as anybody else.
    AuthorServedStale,
    /// What was kept while the channels were not heard is kept.
    GapIgnored,
    /// What comes from the shared tier is served without asking the floors.
    SharedUnchecked,
    /// What comes from the shared tier is judged, and kept, under the ticket of the flight that fetched it from there.
    PromotedUnderANewTicket,
    /// A floor is let go with the last flight that it could refuse, although the shared tier holds what it would refuse.
    FloorLetGoEarly,
    /// The keys of the shared tier do not name the epoch, so entries outlive it.
    EpochKeepsSharedKeys,
    /// A write is forwarded without its intent.
    IntentLeftOut,
    /// A write is forwarded after its intent's lease has ended.
    ForwardedWithoutALease,
    /// An intent is closed by the invalidation of an unknown outcome, although the write may still be on its way.
    IntentClosedBySilence,
    /// A node that enters a new epoch does not bring the intents that it holds.
    IntentsLeftInTheOldEpoch,
    /// What an orphan outdates is held for as long as a write may take, without the lease under which it may yet be forwarded.
    HoldWithoutTheLease,
    /// A node applies what its own rules derive from the raw event, and not what the sender derived.
    OwnExpansionOnly,
}

/// Whether this mistake was planted.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub const fn is(_: Fault) -> bool {
    false
}

#[cfg(feature = "faults")]
pub use planted::{Planted, is, plant};

#[cfg(feature = "faults")]
mod planted {
    use std::sync::atomic::{AtomicU8, Ordering};

    use crate::fault::Fault;

    /// One more than the number of what is planted; 0: nothing.
    static PLANTED: AtomicU8 = AtomicU8::new(0);

    /// A mistake of the whole process, for as long as this lives.
    #[derive(Debug)]
    pub struct Planted(());

    /// Whether this mistake was planted.
    pub fn is(fault: Fault) -> bool {
        PLANTED.load(Ordering::Relaxed) == number(fault)
    }

    /// Plants a mistake.
    ///
    /// # Panics
    /// One is there already: they would be taken for one another.
    pub fn plant(fault: Fault) -> Planted {
        let before = PLANTED.compare_exchange(0, number(fault), Ordering::Relaxed, Ordering::Relaxed);
        assert_eq!(before, Ok(0), "one mistake at a time");
        Planted(())
    }

    impl Drop for Planted {
        fn drop(&mut self) {
            PLANTED.store(0, Ordering::Relaxed);
        }
    }

    fn number(fault: Fault) -> u8 {
        fault as u8 + 1
    }
}

/// One mistake in the protocol of a fleet, by its name in `tests/model/mutant.rs`, which says what each one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    AcknowledgedUnseen,
    AcknowledgedWithoutAFence,
    AppendedWithoutWait,
    AppliedBeforeItIsDead,
    BoardingOpenBehindTheLease,
    EpochAcknowledgesAtOnce,
    EpochCountedUnconfirmed,
    EpochKeepsMemory,
    EpochKeepsTheCursor,
    #[cfg(any(test, feature = "sim"))]
    FenceLeftBehind,
    #[cfg(any(test, feature = "sim"))]
    FencedWithoutComparing,
    GapReadOver,
    IncarnationUsedAgain,
    IntendedWithoutWait,
    #[cfg(any(test, feature = "sim"))]
    IntentHungOnNothing,
    JoinedWithoutALease,
    LeaseCountedFromTheAnswer,
    LeaseHeldAgainstACachedClock,
    LeaseLookedAtLast,
    MarginLeftOut,
    OlderThanTheJournalTrusted,
    #[cfg(any(test, feature = "sim"))]
    OrphansIgnored,
    PositionsOfTwoEpochsCompared,
    #[cfg(any(test, feature = "sim"))]
    RegisteredTwice,
    #[cfg(any(test, feature = "sim"))]
    RegisteredWithoutAFence,
    RegistryReadBeforeTheAppend,
    #[cfg(any(test, feature = "sim"))]
    RenewedBehindTheFence,
    #[cfg(any(test, feature = "sim"))]
    RenewedWithoutAnEntry,
    RenewedWithoutWait,
    #[cfg(any(test, feature = "sim"))]
    RunIdComparedAlone,
    ServedAfterLeaving,
    ServedWithoutALease,
    #[cfg(any(test, feature = "sim"))]
    ServerNotCompared,
    StartedWithoutReplay,
    StillnessCountedFromTheQuestion,
    TicketOfAnUnconfirmedEpoch,
    TicketsOfTwoEpochsCompared,
    #[cfg(any(test, feature = "sim"))]
    TrimmedBeforeTheHoldIsOver,
    UnknownRecordSkipped,
}

/// Whether this mistake is made: never, but in this crate's own tests, on a thread that asked for it.
#[cfg(not(test))]
#[inline(always)]
pub(crate) const fn made(_: Mistake) -> bool {
    false
}

#[cfg(test)]
pub(crate) use made::{made, make, whichever};

#[cfg(all(test, not(feature = "faults")))]
mod tests {
    use crate::fault::{Fault, is};

    #[test]
    fn nothing_is_planted_in_what_is_built_without_the_feature() {
        const { assert!(!is(Fault::TicketTakenLate)) };
    }
}

#[cfg(test)]
mod made {
    use std::cell::Cell;
    use std::marker::PhantomData;

    use crate::fault::Mistake;

    thread_local! {
        static MADE: Cell<Option<Mistake>> = const { Cell::new(None) };
    }

    /// A mistake of this thread, for as long as this lives: other tests run beside this one.
    #[derive(Debug)]
    pub(crate) struct Made(PhantomData<*const ()>);

    /// Whether this thread makes this mistake.
    pub(crate) fn made(mistake: Mistake) -> bool {
        MADE.get() == Some(mistake)
    }

    /// Which mistake this thread makes.
    pub(crate) fn whichever() -> Option<Mistake> {
        MADE.get()
    }

    /// Has this thread make a mistake, or none.
    pub(crate) fn make(mistake: Option<Mistake>) -> Made {
        assert_eq!(MADE.replace(mistake), None, "one mistake at a time");
        Made(PhantomData)
    }

    impl Drop for Made {
        fn drop(&mut self) {
            MADE.set(None);
        }
    }
}
