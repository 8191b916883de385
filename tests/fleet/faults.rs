//! Every mistake of a fleet that can be planted is noticed: a read gets what is older than it may be.

use larder::fault::{Fault, plant};

use crate::alone;
use crate::harness::play;
use crate::stories::{Verdict, left_from_the_last_epoch, outdated_in_the_tier};

fn assert_noticed(fault: Fault, story: impl Future<Output = Verdict>) {
    let _alone = alone();
    let _planted = plant(fault);
    play(async { assert_eq!(story.await, Verdict::Stale, "{fault:?} goes unnoticed") });
}

#[test]
fn what_is_told_and_not_held_against_floors_is_noticed() {
    assert_noticed(Fault::SharedUnchecked, outdated_in_the_tier());
}

#[test]
fn what_is_told_and_taken_for_as_new_as_the_flight_is_noticed() {
    assert_noticed(Fault::PromotedUnderANewTicket, outdated_in_the_tier());
}

#[test]
fn a_floor_that_goes_with_the_last_flight_is_noticed() {
    assert_noticed(Fault::FloorLetGoEarly, outdated_in_the_tier());
}

#[test]
fn keys_that_do_not_name_the_epoch_are_noticed() {
    assert_noticed(Fault::EpochKeepsSharedKeys, left_from_the_last_epoch());
}
