//! Every mistake in the protocol that is planted is noticed, by a scene that is set for it, or within a few stories by lot.
//!
//! Each scene is played without the mistake first, and keeps the promise. The rest of the model's list is planted with the feature
//! `faults`: what one node does by itself is noticed in `tests/checker`, what takes a real tier in `tests/fleet`, what takes requests and
//! bodies of writes in `tests/scenarios/fleet.rs`. `tests/architecture.rs` holds the lists against each other.

use crate::fault::Mistake;
use crate::flow::simulation::orphans::*;
use crate::flow::simulation::scenes::*;
use crate::flow::simulation::story::{alone, play};

/// Stories within which a mistake is noticed that no scene is set for.
const STORIES: u64 = 20;

/// One test for each, or this does not compile.
macro_rules! noticed {
    ($($claim:ident: $mistake:ident $(by $scene:ident)? $(at $phases:expr)?;)*) => {
        $(#[test]
        fn $claim() {
            noticed!(@ $mistake $($scene)? $(at $phases)?);
        })*

        const _: fn(Mistake) = |mistake| match mistake { $(Mistake::$mistake => {})* };
    };
    (@ $mistake:ident) => {
        let is_noticed = |seed| play(seed, Some(Mistake::$mistake)).is_err();
        assert!((0..STORIES).any(is_noticed), "{:?} goes unnoticed", Mistake::$mistake);
    };
    (@ $mistake:ident $scene:ident) => {
        noticed!(@ $mistake $scene at [0]);
    };
    (@ $mistake:ident $scene:ident at $phases:expr) => {
        let broken = |mistake| $phases.into_iter().find_map(move |phase| alone(mistake, $scene(phase)));
        assert_eq!(broken(None), None, "without the mistake");
        assert!(broken(Some(Mistake::$mistake)).is_some(), "{:?} goes unnoticed", Mistake::$mistake);
    };
}

noticed! {
    an_acknowledgement_that_nobody_else_has_seen_is_noticed: AcknowledgedUnseen by cut_off;
    an_acknowledgement_without_a_fence_is_noticed: AcknowledgedWithoutAFence by cut_off;
    a_record_that_no_replica_has_is_noticed: AppendedWithoutWait by writer_stays;
    an_application_before_it_is_dead_is_noticed: AppliedBeforeItIsDead by large;
    a_flight_that_takes_somebody_aboard_while_it_asks_others_is_noticed: BoardingOpenBehindTheLease by asks_others;
    an_epoch_that_acknowledges_at_once_is_noticed: EpochAcknowledgesAtOnce by wiped;
    an_epoch_that_counts_before_it_is_confirmed_is_noticed: EpochCountedUnconfirmed by witness at (0..2_000).step_by(50);
    an_epoch_that_keeps_memory_is_noticed: EpochKeepsMemory by forgotten;
    an_epoch_that_keeps_the_cursor_is_noticed: EpochKeepsTheCursor by fewer;
    a_fence_that_is_left_behind_is_noticed: FenceLeftBehind by owes_more at (0..2_000).step_by(50);
    a_fence_without_a_comparison_is_noticed: FencedWithoutComparing by moves_again;
    a_gap_that_is_read_over_is_noticed: GapReadOver by gap;
    an_incarnation_that_is_used_again_is_noticed: IncarnationUsedAgain by held;
    an_intent_that_no_replica_has_is_noticed: IntendedWithoutWait by orphaned_by_the_primary;
    an_intent_that_hangs_on_nobody_is_noticed: IntentHungOnNothing by orphaned;
    a_flight_that_is_joined_without_a_lease_is_noticed: JoinedWithoutALease;
    a_lease_that_counts_from_the_answer_is_noticed: LeaseCountedFromTheAnswer by far_off at (0..400).step_by(40);
    a_lease_by_a_cached_clock_is_noticed: LeaseHeldAgainstACachedClock by cut_off at (0..1_000).step_by(250);
    a_lease_that_is_looked_at_last_is_noticed: LeaseLookedAtLast by slow_reader;
    a_margin_that_is_left_out_is_noticed: MarginLeftOut by cut_off at (0..400).step_by(25);
    what_is_older_than_the_journal_and_trusted_is_noticed: OlderThanTheJournalTrusted by told_late;
    orphans_that_are_ignored_are_noticed: OrphansIgnored by orphaned;
    positions_of_two_epochs_that_are_compared_are_noticed: PositionsOfTwoEpochsCompared by late_word at (400..700).step_by(20);
    a_registration_that_overwrites_another_is_noticed: RegisteredTwice by registered_again;
    a_registration_without_a_fence_is_noticed: RegisteredWithoutAFence by held;
    a_registry_that_is_read_before_the_append_is_noticed: RegistryReadBeforeTheAppend by late_answer at (0..1_100).step_by(100);
    a_renewal_behind_the_fence_is_noticed: RenewedBehindTheFence by cut_off;
    a_renewal_that_brings_an_entry_back_is_noticed: RenewedWithoutAnEntry by let_go_at_once at (0..1_250).step_by(250);
    a_renewal_that_no_replica_has_is_noticed: RenewedWithoutWait by writer_goes_over;
    a_run_id_that_is_compared_alone_is_noticed: RunIdComparedAlone by promoted_and_back;
    a_node_that_serves_after_it_has_left_is_noticed: ServedAfterLeaving by leaves;
    a_node_that_serves_without_a_lease_is_noticed: ServedWithoutALease by cut_off;
    a_server_that_is_not_compared_is_noticed: ServerNotCompared by promoted;
    a_start_without_replay_is_noticed: StartedWithoutReplay by held;
    stillness_that_counts_from_the_question_is_noticed: StillnessCountedFromTheQuestion by long_question at (0..330).step_by(20);
    a_ticket_of_an_epoch_that_is_not_confirmed_is_noticed: TicketOfAnUnconfirmedEpoch by goes_ahead;
    tickets_of_two_epochs_that_are_compared_are_noticed: TicketsOfTwoEpochsCompared by under_way;
    a_record_that_is_let_go_before_its_hold_is_over_is_noticed: TrimmedBeforeTheHoldIsOver by let_go;
    a_record_in_unknown_words_that_is_skipped_is_noticed: UnknownRecordSkipped by unheard_of;
}
