//! The protocol of the fleet as a model that is explored whole: every order of its steps, whatever befalls nodes, links and
//! servers in between. It comes before the code: what the code does in one step is one step here, and under the same name.
//!
//! What is promised stands in `promise.rs`: who comes after the acknowledgement gets nothing older, nothing acknowledged is
//! lost, no write is forgotten. `stories.rs` says what may befall the fleet, `mutant.rs` what each step is good for: without
//! it, or done the way it seems to do as well, some story breaks a promise. ARCHITECTURE.md has the protocol in prose.
//!
//! What is left out, and why nothing is lost by that:
//! - *One key with one tag.* Floors of different keys do not meet, but for overflow, which outdates more and never less.
//! - *Messages and links.* Any step may come at any later time, or never; so a message that is late, a link that is cut and
//!   a process that is stopped are all the same: what does not happen for a while.
//! - *Time* goes in ticks, and a lease is one or two of them. Every process has a clock of its own, which counts what it has
//!   left or has gone by and is held against no other. Where clocks differ in pace, each may lose one tick in a lease and its
//!   margin, which is what the margin is for.
//! - *Scripts* are one step each, as they are in Redis; their answers are heard at once, but for a renewal's: what its age does
//!   is the whole point of it. An answer that never comes leaves it open whether the script ran, and it is sent again.
//! - *`WAIT`* is a flag on what was sent: set when a replica has all that the primary has, gone with the connection.
//! - *The shared tier* is the set of all that was ever stored in it, and a read finds any of it, or nothing: lag, loss,
//!   eviction and replicas are all in that.
//! - *The origin* commits a write at some moment while it is forwarded, or for some ticks after it was given up.
//! - *Hard invalidations only.* A soft one raises the same floors, and what it leaves is served by rules of one node.
//!
//! It refuses to know: HTTP, how Redis is spoken to, and how many there are of anything beyond the few that it takes to go wrong.

#![allow(clippy::print_stdout, reason = "the number of states is what a run is worth")]

mod alike;
mod fleet;
mod mutant;
mod node;
mod promise;
mod read;
mod redis;
mod scenario;
mod start;
mod state;
mod stories;
mod write;

use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};

use crate::fleet::Fleet;
use crate::mutant::Mutant;
use crate::promise::FRESH;
use crate::scenario::Scenario;

/// Distinct states that a run must have seen to be worth anything.
const STATES: usize = 1_000_000;
/// Steps that the exploration of one story may take: about an eighth of them lead to a new state, of some 140 bytes. What takes
/// more has to be told in smaller stories.
const STEPS: usize = 80_000_000;

#[test]
fn no_story_breaks_a_promise_and_each_comes_to_something() {
    let is_long = std::env::var("LARDER_LONG").is_ok_and(|long| long == "1");
    let long = if is_long { stories::LONG } else { &[] };
    let states: usize = stories::SHORT.iter().chain(long).map(|scenario| states_of_safe(*scenario)).sum();
    println!("{states:>9} states in all");
    assert!(states >= STATES, "{states} states are too few to mean anything");
}

#[test]
fn a_clock_that_stops_with_its_machine_is_beyond_the_promise() {
    let frozen = explore(Fleet { scenario: stories::FROZEN, mutant: None });
    assert!(frozen.discovery(FRESH).is_some(), "then the README promises too little");
}

fn states_of_safe(scenario: Scenario) -> usize {
    assert!(!scenario.reaches.is_empty(), "{}: nothing has to happen in it", scenario.story);
    let fleet = Fleet { scenario, mutant: None };
    let checker = explore(fleet);
    for property in fleet.properties() {
        match (property.expectation, checker.discovery(property.name)) {
            (Expectation::Always, Some(way)) => {
                panic!("{}: not so that {}:\n{}", scenario.story, property.name, told(way));
            }
            (Expectation::Sometimes, None) => panic!("{}: never {}", scenario.story, property.name),
            _ => {}
        }
    }
    let states = checker.unique_state_count();
    assert!(checker.state_count() < STEPS, "{}: too much to be explored whole", scenario.story);
    println!("{states:>9} states: {}", scenario.story);
    states
}

/// Holds the list of mistakes to its word.
fn is_caught(mutant: Mutant, promise: &'static str, scenario: Scenario) {
    let fleet = Fleet { scenario: Scenario { reaches: &[], ..scenario }, mutant: Some(mutant) };
    let way = explore(fleet).discovery(promise);
    println!("{}", told(way.unwrap_or_else(|| panic!("{mutant:?} breaks nothing where {}", scenario.story))));
}

/// By the shortest ways first, in one thread, until a promise is broken or everything is seen.
fn explore(fleet: Fleet) -> impl Checker<Fleet> {
    let checker = fleet.checker().threads(1).target_state_count(STEPS);
    checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join()
}

fn told(way: Path<state::State, fleet::Step>) -> String {
    way.into_actions().iter().map(|step| format!("  {step:?}\n")).collect()
}
