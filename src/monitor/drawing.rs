//! Ends a drawing of hits and begins the next, and hands over what was drawn as far as it can be paid for.
//!
//! Invariant: nothing is drawn of an entry that nobody keeps any more. It refuses to know what is told to the lottery, and when.

use std::collections::HashMap;

use crate::monitor::audit::{Lottery, MOST_PLACES};
use crate::monitor::auditor::Drawn;
use crate::monitor::harvest::{Settings, Shared, lock};
use crate::route::key::Key;
use crate::store::entry::EntryId;

/// A drawing under way.
pub(in crate::monitor) struct Drawing {
    pub(in crate::monitor) lottery: Lottery<(Key, EntryId)>,
    seed: u64,
    /// Which one it is.
    number: u64,
    /// Hits that may still be drawn, by their share of all.
    due: f64,
}

impl Drawing {
    /// The first one under `seed`.
    pub(in crate::monitor) fn new(settings: &Settings, seed: u64) -> Self {
        Self { lottery: Lottery::new(settings.places(), seed, 0), seed, number: 0, due: 0.0 }
    }
}

impl Shared {
    /// Ends the drawing, hands over what is drawn as far as it can be paid for, and begins the next one.
    pub(in crate::monitor) fn draw(&self) {
        let share = self.settings.audit.share;
        if share <= 0.0 {
            return;
        }
        let affordable = self.affordable();
        let mut drawing = lock(&self.drawing);
        drawing.number += 1;
        let next = Lottery::new(self.settings.places(), drawing.seed, drawing.number);
        let lottery = std::mem::replace(&mut drawing.lottery, next);
        drawing.due = (drawing.due + lottery.hits() as f64 * share).min(MOST_PLACES as f64);
        let most = drawing.due as usize;
        drawing.due -= most as f64;
        drop(drawing);
        self.hand_over(lottery.drawn(most.min(affordable)));
    }

    /// How many comparisons may be begun now.
    fn affordable(&self) -> usize {
        if self.flow.switches().is_draining() {
            return 0;
        }
        let mut budget = lock(&self.budget);
        budget.earn(self.flow.parts().metrics.asked_of_origin());
        budget.checks()
    }

    fn hand_over(&self, drawn: impl Iterator<Item = (Key, EntryId)>) {
        let mut together: HashMap<u64, Drawn> = HashMap::new();
        let store = &self.flow.parts().store;
        for (key, id) in drawn {
            // What has left meanwhile is nobody's any more.
            let Some(entry) = store.variants(&key).into_iter().find(|entry| entry.id() == id) else {
                continue;
            };
            let of = together.entry(entry.id().as_u64()).or_insert_with(|| Drawn { entry, hits: 0 });
            of.hits += 1;
        }
        for drawn in together.into_values() {
            // Who has more to do than he gets done is not given more.
            let _given_up = self.drawn.try_send(drawn);
        }
    }
}

impl Settings {
    /// How many may be drawn at a look: no more than can be begun until the next one.
    fn places(&self) -> usize {
        (self.look.as_secs_f64() * self.audit.per_second as f64) as usize
    }
}
