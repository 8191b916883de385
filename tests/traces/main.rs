//! Warming by what was learnt, held against plain recency and against nothing, on traces of several days.
//!
//! `cargo test --test traces -- --nocapture` prints the table that the README quotes.

mod random;
mod replay;
mod trace;

use std::io::Write;
use std::thread;

use crate::replay::{Back, Result, TOP, Warmer, play};
use crate::trace::{KINDS, Kind, trace};

const SEED: u64 = 6;

/// What came of one trace.
struct Row {
    trace: &'static str,
    nothing: Result,
    recency: Result,
    /// Recency that fetches as many as it may.
    further: Result,
    learned: Result,
}

impl Row {
    fn of(kind: Kind) -> Self {
        let trace = trace(kind, SEED);
        let play = |warmer| play(&trace, warmer);
        Self {
            trace: kind.name,
            nothing: play(Warmer::Nothing),
            recency: play(Warmer::recency(Back::Keys)),
            further: play(Warmer::recency(Back::Fetches)),
            learned: play(Warmer::learned()),
        }
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "trace   warmed by  fetches  precision  recall  of mornings  hit ratio  origin requests per request\n",
    );
    for row in rows {
        let all = [
            ("nothing", row.nothing),
            ("recency", row.recency),
            ("further", row.further),
            ("learned", row.learned),
        ];
        for (name, of) in all {
            text += &format!(
                "{:7} {name:9} {:>8} {:>10.3} {:>7.3} {:>12.3} {:>10.3} {:>28.3}\n",
                row.trace,
                of.warmed,
                of.precision(),
                of.recall(),
                of.morning(),
                of.hit_ratio(),
                of.cost(),
            );
        }
    }
    text
}

#[test]
fn what_is_learnt_beats_recency() {
    let played = KINDS.map(|kind| thread::spawn(move || Row::of(kind)));
    let rows = played.map(|row| row.join().expect("it is played to its end"));
    let _ = writeln!(std::io::stdout(), "sets of at most {TOP}, seed {SEED}\n{}", table(&rows));
}
