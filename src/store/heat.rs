//! How much an entry is asked for: its hits, what is left of those before it, and what they are worth to who makes room.
//!
//! Invariant: counting a hit is one addition. It refuses to know who asks, and what comes of it.

use std::sync::atomic::Ordering;

use crate::store::entry::{Entry, WATCHED};

/// Most credit that an entry has: it lives on it for four rounds of who makes room.
pub(in crate::store) const MAX_CREDIT: u8 = 15;
/// Heat of one hit: it lasts for three successors.
const HEAT_OF_A_HIT: u32 = 4;
/// Most heat that an entry has: it lasts for five.
const MAX_HEAT: u8 = 16;

impl Entry {
    /// Counts a request that it answered.
    pub fn count_hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that it would have answered, had anybody been given it (`mode: shadow`).
    pub fn count_would_be_hit(&self) {
        self.marks.fetch_or(WATCHED, Ordering::Relaxed);
        self.count_hit();
    }

    /// Whether its hits are what would have been: what one mode keeps, no other one serves.
    pub fn is_watched(&self) -> bool {
        self.marks.load(Ordering::Relaxed) & WATCHED != 0
    }

    /// Requests that it answered so far, or would have.
    pub fn hits(&self) -> u32 {
        self.hits.load(Ordering::Relaxed)
    }

    /// How much it, and what was there before it, is asked for; 0: it is not.
    pub fn heat(&self) -> u8 {
        let inherited = u32::from(self.inherited.load(Ordering::Relaxed));
        let heat = inherited.saturating_add(self.hits().saturating_mul(HEAT_OF_A_HIT));
        u8::try_from(heat).map_or(MAX_HEAT, |heat| heat.min(MAX_HEAT))
    }

    /// It takes the place of one that had so much: half of that is left.
    pub fn inherit(&self, heat: u8) {
        self.inherited.fetch_max(heat / 2, Ordering::Relaxed);
    }

    /// Adds `hits` to its credit, for one who looks at it.
    pub(in crate::store) fn earn(&self, hits: u32) {
        let earned = u8::try_from(hits).unwrap_or(u8::MAX);
        let credit = self.credit.load(Ordering::Relaxed).saturating_add(earned).min(MAX_CREDIT);
        self.credit.store(credit, Ordering::Relaxed);
    }

    /// The credit that it has; half of it is gone now. For one who goes round.
    pub(in crate::store) fn spend(&self) -> u8 {
        let credit = self.credit.load(Ordering::Relaxed);
        self.credit.store(credit / 2, Ordering::Relaxed);
        credit
    }
}
