//! Whether Redis is asked at all, after what came of asking it lately.
//!
//! ```text
//! closed ──[TRIP strikes]──▶ open ──[pause]──▶ half open: one is let through ──[in time]──▶ closed
//!                              ▲                        │
//!                              └──[failed, slow]────────┘  the pause is twice as long, up to LONGEST_PAUSE
//! ```
//! A failure is [`STRIKES`] strikes, an answer in time takes one back: so it opens after eight failures in a row, and when more than
//! a quarter of all fail for long. An answer that took longer than [`SLOW`] counts as a failure.
//!
//! Invariant: while open nobody waits for Redis, and sooner or later one is let through, even if whoever was before never told what
//! came of it. It reads no clock, and refuses to know what is asked.

use std::time::Duration;

/// An answer that takes longer is as bad as none: a client waits for it.
pub const SLOW: Duration = Duration::from_millis(15);

/// How many an unanswered call counts for.
const STRIKES: u32 = 3;

/// How many open it.
const TRIP: u32 = 8 * STRIKES;

/// For how long nobody asks, at first.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The same at most.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long whoever was let through may take to tell what came of it.
const PATIENCE: Duration = Duration::from_secs(1);

/// What came of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer, after so long.
    Answered(Duration),
    /// None.
    Failed,
}

/// Nobody asks now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open;

/// Times are monotonic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { strikes: u32 },
    Open { until: Duration, pause: Duration },
    HalfOpen { since: Duration, pause: Duration },
}

/// The breaker; not synchronised.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    slow: Duration,
}

impl Breaker {
    /// A closed one, for which an answer that takes longer than `slow` is a failure.
    pub fn new(slow: Duration) -> Self {
        Self { state: State::Closed { strikes: 0 }, slow }
    }

    /// Whether somebody may ask now (monotonic); he has to tell what came of it.
    ///
    /// # Errors
    /// [`Open`]
    pub fn enter(&mut self, now: Duration) -> Result<(), Open> {
        match self.state {
            State::Closed { .. } => Ok(()),
            State::Open { until, pause } if until <= now => {
                self.state = State::HalfOpen { since: now, pause };
                Ok(())
            }
            State::HalfOpen { since, pause } if since.saturating_add(PATIENCE) <= now => {
                self.state = State::HalfOpen { since: now, pause };
                Ok(())
            }
            State::Open { .. } | State::HalfOpen { .. } => Err(Open),
        }
    }

    /// Tells what came of asking; `now` is monotonic.
    pub fn leave(&mut self, outcome: Outcome, now: Duration) {
        let is_good = matches!(outcome, Outcome::Answered(took) if took <= self.slow);
        self.state = match self.state {
            State::Closed { strikes } if is_good => State::Closed { strikes: strikes.saturating_sub(1) },
            State::Closed { strikes } if strikes + STRIKES < TRIP => {
                State::Closed { strikes: strikes + STRIKES }
            }
            State::Closed { .. } => open(FIRST_PAUSE, now),
            State::HalfOpen { .. } if is_good => State::Closed { strikes: 0 },
            State::HalfOpen { pause, .. } => open(pause.saturating_mul(2).min(LONGEST_PAUSE), now),
            // Of those who were let through before it opened, none counts any more.
            open @ State::Open { .. } => open,
        };
    }

    /// Whether nobody is let through as a matter of course.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }
}

fn open(pause: Duration, now: Duration) -> State {
    State::Open { until: now.saturating_add(pause), pause }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: Outcome = Outcome::Answered(Duration::from_millis(1));
    const NOW: Duration = Duration::from_secs(100);

    fn breaker() -> Breaker {
        Breaker::new(SLOW)
    }

    fn opened() -> Breaker {
        let mut breaker = breaker();
        (0..8).for_each(|_| breaker.leave(Outcome::Failed, NOW));
        breaker
    }

    #[test]
    fn it_opens_after_eight_failures_in_a_row_and_not_before() {
        for outcome in [Outcome::Failed, Outcome::Answered(SLOW + Duration::from_micros(1))] {
            let mut breaker = breaker();
            for _ in 0..8 {
                assert_eq!(breaker.enter(NOW), Ok(()));
                breaker.leave(outcome, NOW);
            }
            assert_eq!(breaker.enter(NOW), Err(Open), "{outcome:?}");
        }
    }

    #[test]
    fn it_opens_when_every_third_fails_and_stays_closed_when_every_fifth_does() {
        for (nth, opens) in [(3, true), (5, false)] {
            let mut breaker = breaker();
            (0..1_000).for_each(|n| breaker.leave(if n % nth == 0 { Outcome::Failed } else { GOOD }, NOW));
            assert_eq!(breaker.is_open(), opens, "{nth}");
        }
    }

    #[test]
    fn one_at_a_time_is_let_through_and_an_answer_in_time_closes_it() {
        let (mut breaker, later) = (opened(), NOW + FIRST_PAUSE);
        assert_eq!(breaker.enter(later - Duration::from_nanos(1)), Err(Open));
        assert_eq!((breaker.enter(later), breaker.enter(later)), (Ok(()), Err(Open)));
        breaker.leave(GOOD, later);
        assert!(!breaker.is_open());
        assert_eq!((breaker.enter(later), breaker.enter(later)), (Ok(()), Ok(())));
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (mut breaker, mut now, mut pause) = (opened(), NOW, FIRST_PAUSE);
        for _ in 0..12 {
            assert_eq!(breaker.enter(now + pause - Duration::from_nanos(1)), Err(Open));
            now += pause;
            assert_eq!(breaker.enter(now), Ok(()), "{pause:?}");
            breaker.leave(Outcome::Answered(2 * SLOW), now);
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    #[test]
    fn who_never_tells_what_came_of_it_is_not_waited_for() {
        let (mut breaker, later) = (opened(), NOW + FIRST_PAUSE);
        breaker.enter(later).unwrap();
        assert_eq!(breaker.enter(later + PATIENCE - Duration::from_nanos(1)), Err(Open));
        assert_eq!(breaker.enter(later + PATIENCE), Ok(()));
    }

    proptest! {
        #[test]
        fn whatever_came_before_a_healthy_redis_is_asked_again(
            steps in prop::collection::vec((any::<bool>(), prop::option::of(0..40_u64), 0..3_000_u64), 0..60),
        ) {
            let (mut breaker, mut now) = (breaker(), NOW);
            for (enters, took, passes) in steps {
                now += Duration::from_millis(passes);
                if !enters || breaker.enter(now).is_ok() {
                    let took = took.map(Duration::from_millis);
                    breaker.leave(took.map_or(Outcome::Failed, Outcome::Answered), now);
                }
            }
            now += LONGEST_PAUSE + PATIENCE;
            prop_assert_eq!(breaker.enter(now), Ok(()));
            breaker.leave(GOOD, now);
            prop_assert!(!breaker.is_open());
        }
    }
}
