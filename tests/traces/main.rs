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

/// The lines of one trace, as the README has them.
fn assert_read(readme: &str, table: &str) {
    for line in table.lines() {
        assert!(readme.contains(line), "the README says something else than\n{table}");
    }
}

#[test]
fn what_is_learnt_beats_recency() {
    let played = KINDS.map(|kind| thread::spawn(move || Row::of(kind)));
    let rows = played.map(|row| row.join().expect("it is played to its end"));
    let table = table(&rows);
    let _ = writeln!(std::io::stdout(), "sets of at most {TOP}, seed {SEED}\n{table}");
    for Row { trace, nothing, recency, further, learned } in &rows {
        let best = recency.precision().max(further.precision());
        assert!(learned.precision() > best, "{trace}: more of what is fetched is of use");
        assert!(learned.recall() > recency.recall(), "{trace}: more of those who come first find it warm");
        assert!(learned.hit_ratio() > recency.hit_ratio() && recency.hit_ratio() > nothing.hit_ratio());
        assert!(learned.cost() < further.cost(), "{trace}");
        assert!(learned.cost() < nothing.cost() + 0.02, "{trace}: and it costs the origin next to nothing");
    }
    for Row { trace, recency, further, learned, .. } in rows.iter().filter(|row| row.learned.morning() > 0.0)
    {
        let best = recency.morning().max(further.morning());
        assert!(learned.morning() > best + 0.1, "{trace}: what comes every morning is known before it comes");
    }
    assert!(rows.iter().any(|row| row.learned.morning() > 0.0));
    assert_read(include_str!("../../README.md"), &table);
}
