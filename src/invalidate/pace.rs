//! What keeps messages from doing harm by their number: the same one twice, everything outdated again and again, a log that
//! nobody can read. It refuses to know where they come from.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep_until};

use crate::invalidate::allowance::Allowance;
use crate::invalidate::seen::Id;
use crate::invalidate::{Invalidation, is_everything};
use crate::route::reach::Reach;
use crate::store::position::Mode;

/// Messages with an id that are remembered; the oldest is forgotten first.
const MAX_IDS: usize = 4096;

/// Bad messages are logged once in this time at most.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// Messages with an id that were heard before. Two that say different things are two, whatever they are called: to take one
/// for the other would leave something old standing.
#[derive(Default)]
pub(in crate::invalidate) struct Ids {
    known: HashSet<Id>,
    by_age: VecDeque<Id>,
}

impl Ids {
    /// Remembers a message that has an id; false if it was remembered before.
    pub(in crate::invalidate) fn is_new(&mut self, message: &[u8]) -> bool {
        let digest = Sha256::digest(message);
        let id: Id = std::array::from_fn(|at| digest[at]);
        if !self.known.insert(id) {
            return false;
        }
        if self.by_age.len() == MAX_IDS
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.by_age.push_back(id);
        true
    }
}

/// How often messages may outdate everything: in a burst, then once in a while. Who asks more often is served with all
/// others who do, so that a flood can neither keep the origin at the foot of a ramp nor hold up what is said beside it.
pub(in crate::invalidate) struct Pace {
    /// The channels' own: nobody there can use up what the admin API may do.
    allowance: Allowance,
    began: Instant,
    /// What has to be done, and when.
    owed: Option<(Instant, Invalidation)>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { allowance: Allowance::default(), began: Instant::now(), owed: None }
    }
}

impl Pace {
    /// Gives back what may be applied now; the rest is owed.
    pub(in crate::invalidate) fn pass(&mut self, invalidation: Invalidation) -> Option<Invalidation> {
        if !invalidation.reach.items.iter().any(is_everything) {
            return Some(invalidation);
        }
        if let Some((_, owed)) = &mut self.owed {
            // All is enough for both.
            if invalidation.mode == Mode::Hard {
                owed.mode = Mode::Hard;
            }
            owed.reach = Reach::all();
            return None;
        }
        match self.allowance.spend(self.began.elapsed()) {
            Ok(()) => Some(invalidation),
            Err(too_often) => {
                self.owed = Some((Instant::now() + too_often.retry_after, invalidation));
                None
            }
        }
    }

    /// Waits until what is owed is due; for ever, if nothing is. Dropping the future loses nothing.
    pub(in crate::invalidate) async fn due(&mut self) -> Invalidation {
        if let Some((due, _)) = &self.owed {
            sleep_until(*due).await;
            // It was refused until now, and is not any more.
            let _ = self.allowance.spend(self.began.elapsed());
        }
        match self.take() {
            Some(owed) => owed,
            None => std::future::pending().await,
        }
    }

    /// What is owed, due or not.
    pub(in crate::invalidate) fn take(&mut self) -> Option<Invalidation> {
        self.owed.take().map(|(_, owed)| owed)
    }
}

/// Keeps the log readable.
#[derive(Default)]
pub(in crate::invalidate) struct Complaints {
    next: Option<Instant>,
    unsaid: u64,
}

impl Complaints {
    /// Logs it, or counts it as unsaid.
    pub(in crate::invalidate) fn make(&mut self, now: Instant, complaint: impl FnOnce() -> String) {
        if self.next.is_some_and(|next| now < next) {
            self.unsaid += 1;
            return;
        }
        let unsaid = std::mem::take(&mut self.unsaid);
        self.next = Some(now + COMPLAIN_EVERY);
        let complaint = complaint();
        tracing::warn!(unsaid, "{complaint}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalidate::allowance::{BURST, EVERY};
    use crate::route::reach::{Item, Paths};
    use crate::route::tag::Tag;
    use futures_util::FutureExt;

    fn all(mode: Mode) -> Invalidation {
        Invalidation { reach: Reach::all(), mode, ..Invalidation::default() }
    }

    #[test]
    fn a_message_is_known_until_many_newer_ones_came() {
        let mut ids = Ids::default();
        assert!(ids.is_new(b"a") && ids.is_new(b"b") && !ids.is_new(b"a"));
        for n in 0..MAX_IDS - 1 {
            assert!(ids.is_new(n.to_string().as_bytes()));
        }
        assert!(!ids.is_new(b"b") && ids.is_new(b"a"), "`a` was the oldest");
        assert_eq!((ids.known.len(), ids.by_age.len()), (MAX_IDS, MAX_IDS));
    }

    #[tokio::test(start_paused = true)]
    async fn everything_is_outdated_in_a_burst_and_then_once_for_all_who_ask_meanwhile() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        for _ in 0..BURST {
            assert!(pace.pass(all(Mode::Soft)).is_some());
        }
        for mode in [Mode::Soft, Mode::Hard, Mode::Soft] {
            assert!(pace.pass(all(mode)).is_none());
        }
        let tag = Invalidation { reach: Reach::of([Tag::named("t")]), ..Invalidation::default() };
        assert!(pace.pass(tag).is_some(), "what is not everything waits for nothing");
        assert_eq!(pace.due().await.mode, Mode::Hard, "the harder one is enough for all");
        assert_eq!(start.elapsed(), EVERY);
        assert!(pace.due().now_or_never().is_none());
        assert!(pace.pass(all(Mode::Soft)).is_none());
        assert!(pace.due().now_or_never().is_none(), "and who stops waiting loses nothing");
        assert_eq!(pace.due().await.mode, Mode::Soft);
        assert_eq!(start.elapsed(), EVERY * 2);
        tokio::time::advance(EVERY).await;
        assert!(pace.pass(all(Mode::Hard)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_owed_covers_all_that_was_asked_for() {
        let mut pace = Pace::default();
        let below = |path: &str| Item::Paths { host: None, paths: Paths::below(path) };
        let paths = Invalidation { reach: Reach { items: vec![below("/")] }, ..Invalidation::default() };
        while pace.pass(paths.clone()).is_some() {}
        assert_eq!(pace.owed.as_ref().unwrap().1.reach, paths.reach);
        assert!(pace.pass(all(Mode::Soft)).is_none());
        let owed = pace.take().unwrap();
        assert_eq!((owed.reach, owed.mode), (Reach::all(), Mode::Hard));
    }

    #[tokio::test(start_paused = true)]
    async fn complaints_are_made_now_and_then() {
        let (mut complaints, made) = (Complaints::default(), std::cell::Cell::new(0));
        let mut complain = || {
            complaints.make(Instant::now(), || {
                made.set(made.get() + 1);
                String::new()
            });
        };
        (0..1000).for_each(|_| complain());
        assert_eq!(made.get(), 1);
        tokio::time::advance(COMPLAIN_EVERY).await;
        complain();
        assert_eq!(made.get(), 2);
    }
}
