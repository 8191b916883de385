//! Every mistake that can be planted is noticed: a read gets what is older than it may be.

use std::sync::PoisonError;
use std::time::Duration;

use larder::fault::{Fault, plant};

use crate::{ALONE, check};

/// Most reads until a mistake is noticed.
const READS: u64 = 100_000;

/// Most time, for the reads of one that is not noticed.
const TIME: Duration = Duration::from_secs(60);

/// One test for each, or this does not compile; or it takes a fleet, and is noticed in `tests/fleet` or `tests/scenarios/fleet.rs`.
macro_rules! noticed {
    ([$($of_a_fleet:ident),*] $($claim:ident: $fault:ident,)*) => {
        $(#[test]
        fn $claim() {
            assert_noticed(Fault::$fault);
        })*

        const _: fn(Fault) = |fault| match fault { $(Fault::$fault => {})* $(Fault::$of_a_fleet => {})* };
    };
}

noticed! {
    [
        SharedUnchecked, PromotedUnderANewTicket, FloorLetGoEarly, EpochKeepsSharedKeys, IntentLeftOut, ForwardedWithoutALease,
        IntentClosedBySilence, IntentsLeftInTheOldEpoch, HoldWithoutTheLease, OwnExpansionOnly
    ]
    a_ticket_that_is_taken_late_is_noticed: TicketTakenLate,
    a_gate_that_is_skipped_is_noticed: GateSkipped,
    a_waiter_who_is_not_checked_is_noticed: OldFlightJoined,
    unknown_tags_that_are_taken_for_none_are_noticed: UnknownTagsJoined,
    kept_entries_that_are_left_alive_are_noticed: KeptLeftAlive,
    dead_entries_that_are_served_are_noticed: DeadServed,
    a_304_that_revives_the_dead_is_noticed: RevivedBy304,
    a_date_that_confirms_what_was_softened_is_noticed: SoftenedConfirmedByDate,
    a_304_that_loses_tags_is_noticed: ConfirmedWithoutTags,
    wide_floors_that_are_forgotten_are_noticed: WideFloorsForgotten,
    a_floor_of_everything_that_is_forgotten_is_noticed: FloorOfAllForgotten,
    floors_that_are_dropped_early_are_noticed: FloorsDroppedEarly,
    a_pattern_that_stops_early_is_noticed: PatternStopsAtFirst,
    a_writer_who_is_answered_first_is_noticed: AnsweredFirst,
    a_batch_that_is_answered_first_is_noticed: BatchAnsweredFirst,
    an_unknown_outcome_that_is_ignored_is_noticed: UnknownOutcomeIgnored,
    an_unknown_outcome_that_is_not_held_is_noticed: UnknownOutcomeNotHeld,
    settle_that_is_ignored_is_noticed: SettleIgnored,
    a_placeholder_that_is_skipped_is_noticed: UnresolvedSkipped,
    dependencies_that_are_forgotten_are_noticed: DerivedForgotten,
    a_target_that_is_forgotten_is_noticed: TargetForgotten,
    groups_that_are_forgotten_are_noticed: GroupsForgotten,
    tags_of_bodies_that_are_forgotten_are_noticed: BodyTagsForgotten,
    tags_of_fields_that_are_forgotten_are_noticed: FieldTagsForgotten,
    a_soft_invalidation_that_is_ignored_is_noticed: SoftIgnored,
    an_author_who_is_served_stale_is_noticed: AuthorServedStale,
    a_gap_that_is_ignored_is_noticed: GapIgnored,
}

fn assert_noticed(fault: Fault) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let _planted = plant(fault);
    let verdict = check(READS, TIME);
    println!("{fault:?}: {verdict}");
    println!("{}", verdict.violation.as_deref().unwrap_or_default());
    assert!(verdict.violation.is_some(), "{fault:?} goes unnoticed");
}
