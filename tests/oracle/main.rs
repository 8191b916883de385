//! The policy beside another one: the crate `http-cache-semantics` is asked the same questions.
//!
//! Every difference is our mistake or is explained in `explained.rs`, with the section that settles it; an explanation
//! that nothing needs fails too. The same cases every time: `LARDER_SEED` brings others, `LARDER_LONG=1` more of them.

mod case;
mod explained;
mod verdict;

use std::cell::RefCell;

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

use crate::explained::{EXPLAINED, Explained};
use crate::verdict::{Disagreement, disagreements, ours, theirs};

const SEED: u64 = 9111;
const CASES: u32 = 20_000;
const MANY_CASES: u32 = 1_000_000;

/// How often each explanation was the only one for a difference.
type Needed = Vec<u32>;

#[test]
fn every_difference_from_the_oracle_is_explained_and_every_explanation_explains_one() {
    let seed = std::env::var("LARDER_SEED").map_or(SEED, |seed| seed.parse().expect("a number"));
    let long = std::env::var("LARDER_LONG").is_ok_and(|long| long == "1");
    let cases = if long { MANY_CASES } else { CASES };
    println!("LARDER_SEED={seed}, {cases} cases");
    let seeded =
        Config { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(seeded);
    let needed = RefCell::new(vec![0; EXPLAINED.len()]);
    let outcome = runner.run(&case::cases(), |case| {
        let (ours, theirs) = (ours(&case), theirs(&case));
        for difference in disagreements(&case, &ours, &theirs) {
            explain(&difference, &mut needed.borrow_mut())?;
        }
        Ok(())
    });
    if let Err(why) = outcome {
        panic!("LARDER_SEED={seed}\n{why}");
    }
    let needed = needed.take();
    for (explained, times) in EXPLAINED.iter().zip(&needed) {
        println!("{times:>6} {}: {}", explained.section, explained.why);
    }
    let idle = EXPLAINED.iter().zip(needed).filter(|(_, times)| *times == 0);
    let idle: Vec<&str> = idle.map(|(explained, _)| explained.why).collect();
    assert!(idle.is_empty(), "LARDER_SEED={seed}: no difference needs these: {idle:#?}");
}

fn explain(difference: &Disagreement<'_>, needed: &mut Needed) -> Result<(), TestCaseError> {
    let explains =
        |explained: &Explained| explained.of.contains(&difference.about) && (explained.when)(difference);
    let found: Vec<usize> = (0..EXPLAINED.len()).filter(|nth| explains(&EXPLAINED[*nth])).collect();
    match found[..] {
        [] => return Err(TestCaseError::fail(difference.answers())),
        [only] => needed[only] += 1,
        _ => {}
    }
    Ok(())
}
