//! Which entries are fetched anew before they expire, and when: those that somebody is about to ask for. Pure.
//!
//! By the idea of XFetch (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB 2015): there
//! every request that comes draws an exponential time of the mean that a fetch takes, and fetches if less than that is left. Of
//! the `n` requests that come while a fetch lasts the largest draw decides, which is some `ln n` of those means. Here nothing is
//! drawn, for a hit must not pay for it: what would be expected is done.
//!
//! ```text
//! stored ───────────────── fresh ──────────────┬────── lead ──────┤ expires
//!                                              └ fetched here     lead = cost · (1 + ln(1 + rate · cost)), and some
//! ```
//! Invariant: never above the budget; and never for an entry that is not likely to be asked for in its next life, which would
//! cost the origin a request that no client saves it. It refuses to know how an entry is fetched.

use std::time::Duration;

/// Requests that are to be expected in the next life of an entry that is worth it: one in twenty is fetched for nothing.
const WORTH: f32 = 3.0;
/// Hits without which nothing is known of a rate.
const LEAST_HITS: u32 = 2;
/// An entry is fetched at least so long before it expires: several looks at the clock.
const LEAST_LEAD: Duration = Duration::from_millis(500);
/// Requests that a budget by share may save up.
const SAVED: f64 = 4.0;

/// An entry, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hot {
    /// Requests that it answered.
    pub hits: u32,
    /// For how long it has done so.
    pub kept: Duration,
    /// How long it was fresh for when it was stored.
    pub life: Duration,
    /// How long the origin takes for it, but for few.
    pub cost: Duration,
}

impl Hot {
    /// Requests in a second.
    pub fn rate(&self) -> f32 {
        self.hits as f32 / self.kept.as_secs_f32().max(1.0)
    }

    /// How long before its end it is to be fetched; `None`: it is not hot.
    pub fn lead(&self) -> Option<Duration> {
        let rate = self.rate();
        if self.hits < LEAST_HITS || rate * self.life.as_secs_f32() < WORTH {
            return None;
        }
        let cost = self.cost.as_secs_f32();
        let lead = Duration::from_secs_f32(cost * (1.0 + (rate * cost).ln_1p()));
        // Whoever takes longer than half a life is asked twice as often as need be, and no more.
        Some((lead + LEAST_LEAD).min(self.life / 2))
    }

    /// What it saves those who would wait: the more of them and the longer they would, the more. Seconds in a second.
    pub fn worth(&self) -> f32 {
        self.rate() * self.cost.as_secs_f32()
    }
}

/// How much of it there may be (`warm.refresh_ahead.budget`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// Of all requests to the origin, a share: 0 to 1.
    Share(f64),
    /// Requests in a second.
    Rate(f64),
}

/// What of the budget is left.
#[derive(Clone, Copy, Debug)]
pub struct Purse {
    budget: Budget,
    left: f64,
    /// When (monotonic) and at how many requests to the origin it was last filled.
    at: Duration,
    asked: u64,
}

impl Purse {
    /// An empty one, at `now` (monotonic) and after so many requests to the origin.
    pub fn new(budget: Budget, now: Duration, asked: u64) -> Self {
        Self { budget, left: 0.0, at: now, asked }
    }

    /// Takes one request out of it, if there is one. `asked`: requests to the origin so far, whoever they were for.
    ///
    /// # Errors
    /// [`Spent`]: there is none.
    pub fn take(&mut self, now: Duration, asked: u64) -> Result<(), Spent> {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        let (more, most) = match self.budget {
            Budget::Share(share) => (share * asked.saturating_sub(self.asked) as f64, SAVED),
            Budget::Rate(rate) => (rate * passed, rate.max(1.0)),
        };
        (self.at, self.asked) = (now.max(self.at), asked.max(self.asked));
        self.left = (self.left + more).min(most);
        if self.left < 1.0 {
            return Err(Spent);
        }
        self.left -= 1.0;
        Ok(())
    }
}

/// The budget is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOT: Hot = Hot {
        hits: 600,
        kept: Duration::from_secs(60),
        life: Duration::from_secs(60),
        cost: Duration::from_millis(200),
    };

    #[test]
    fn a_cold_entry_is_not_fetched_ahead() {
        assert!(HOT.lead().is_some());
        assert_eq!(Hot { hits: 0, ..HOT }.lead(), None);
        assert_eq!(
            Hot { hits: 1, life: Duration::from_secs(86_400), ..HOT }.lead(),
            None,
            "one says nothing"
        );
        assert_eq!(Hot { hits: 2, ..HOT }.lead(), None, "two in its life: the next one may see none");
        assert!(Hot { hits: 3, ..HOT }.lead().is_some());
    }

    #[test]
    fn what_costs_more_is_fetched_earlier_and_goes_first() {
        let dear = Hot { cost: Duration::from_secs(2), ..HOT };
        assert!(dear.lead() > HOT.lead());
        assert!(dear.worth() > HOT.worth());
        let hotter = Hot { hits: 6000, ..HOT };
        assert!(hotter.lead() > HOT.lead() && hotter.worth() > HOT.worth());
    }

    #[test]
    fn a_share_is_a_share_of_all_that_the_origin_is_asked() {
        let mut purse = Purse::new(Budget::Share(0.05), Duration::ZERO, 0);
        let taken = (1..=1000).filter(|asked| purse.take(Duration::ZERO, *asked).is_ok()).count();
        assert_eq!(taken, 50);
    }

    proptest! {
        #[test]
        fn it_is_fetched_before_it_expires_and_lives_half_its_life(
            hits in 0..1_000_000u32, kept in 0..100_000u64, life in 1..1_000_000u64, cost in 0..100_000u64,
        ) {
            let of = Duration::from_millis;
            let hot = Hot { hits, kept: of(kept), life: of(life), cost: of(cost) };
            if let Some(lead) = hot.lead() {
                prop_assert!(lead > Duration::ZERO && lead <= hot.life / 2);
            }
        }

        #[test]
        fn a_budget_is_never_exceeded(
            rate in 0.1..20.0f64, pauses in prop::collection::vec(0..3000u64, 1..300),
        ) {
            let mut purse = Purse::new(Budget::Rate(rate), Duration::ZERO, 0);
            let (mut now, mut taken) = (Duration::ZERO, 0.0);
            for pause in pauses {
                now += Duration::from_millis(pause);
                while purse.take(now, 0).is_ok() {
                    taken += 1.0;
                }
                prop_assert!(taken <= rate * now.as_secs_f64() + 1e-6, "{taken} in {now:?}");
            }
        }
    }
}
