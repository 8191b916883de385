//! Which messages were taken already: each once, and only once it did what it came for.
//!
//! ```text
//! claim ─┬ new: the claim is held while the message is acted upon ─┬ done: taken, for as long as a copy could pass
//!        │                                                         └ dropped: as if it had never come
//!        ├ under way: waits for whoever holds the claim, then looks again
//!        └ taken before
//! ```
//! Invariant: at most [`MAX_SEEN`] are remembered, and what is signed with its time is never taken twice all the same.
//! Whatever is forgotten, because its time is over or because there is no room, leaves its time behind: from then on
//! nothing signed at that time or before is taken that is not remembered. So a full table shortens the window and lets
//! no copy in, nor does a clock that is set back. What has no signed time can be told apart only while it is remembered.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Most messages that are remembered, for each webhook: those of ten minutes at a hundred a second.
pub(in crate::invalidate) const MAX_SEEN: usize = 65_536;

/// A message, by the digest of what it is known by.
pub(in crate::invalidate) type Id = [u8; 16];

/// When a message was made, and which ones are too old by now; in seconds.
#[derive(Clone, Copy, Debug)]
pub(in crate::invalidate) struct Times {
    pub(in crate::invalidate) at: u64,
    /// What was made before this needs no remembering.
    pub(in crate::invalidate) oldest: u64,
    /// Whether `at` is signed.
    pub(in crate::invalidate) is_signed: bool,
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::invalidate) enum Refused {
    /// It was taken before.
    Taken,
    /// Nobody knows any more.
    Forgotten,
}

/// What was seen.
#[derive(Debug)]
pub(in crate::invalidate) struct Seen {
    capacity: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    known: HashMap<Id, Known, ahash::RandomState>,
    by_time: BTreeSet<(u64, Id)>,
    /// The newest signed time of what was forgotten.
    forgotten: Option<u64>,
}

#[derive(Debug)]
struct Known {
    at: u64,
    /// Closed when the claim has ended; `None`: taken.
    under_way: Option<watch::Receiver<()>>,
}

/// The right to act upon a message.
#[derive(Debug)]
pub(in crate::invalidate) struct Claim<'a> {
    seen: &'a Seen,
    id: Id,
    is_done: bool,
    _under_way: watch::Sender<()>,
}

impl Default for Seen {
    fn default() -> Self {
        Self::of(MAX_SEEN)
    }
}

impl Seen {
    /// Remembers at most `capacity`.
    fn of(capacity: usize) -> Self {
        Self { capacity, table: Mutex::default() }
    }

    /// Takes a message; waits for whoever is about to.
    pub(in crate::invalidate) async fn claim(&self, id: Id, times: Times) -> Result<Claim<'_>, Refused> {
        loop {
            let mut under_way = match self.table().claim(id, times, self.capacity)? {
                Found::New(sender) => {
                    return Ok(Claim { seen: self, id, is_done: false, _under_way: sender });
                }
                Found::UnderWay(receiver) => receiver,
            };
            // Nothing is ever sent: it ends.
            let _ = under_way.changed().await;
        }
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(in crate::invalidate) fn len(&self) -> usize {
        let table = self.table();
        assert_eq!(table.known.len(), table.by_time.len());
        table.known.len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Found {
    New(watch::Sender<()>),
    UnderWay(watch::Receiver<()>),
}

impl Table {
    fn claim(&mut self, id: Id, times: Times, capacity: usize) -> Result<Found, Refused> {
        while self.by_time.first().is_some_and(|(at, _)| *at < times.oldest) {
            self.forget(times.is_signed);
        }
        match self.known.get(&id) {
            Some(Known { under_way: None, .. }) => return Err(Refused::Taken),
            Some(Known { under_way: Some(receiver), .. }) => return Ok(Found::UnderWay(receiver.clone())),
            None => {}
        }
        let is_forgotten = |forgotten: Option<u64>| times.is_signed && forgotten >= Some(times.at);
        if is_forgotten(self.forgotten) {
            return Err(Refused::Forgotten);
        }
        if self.known.len() >= capacity {
            self.forget(times.is_signed);
            // It may have been made in the same second.
            if is_forgotten(self.forgotten) {
                return Err(Refused::Forgotten);
            }
        }
        let (sender, receiver) = watch::channel(());
        self.known.insert(id, Known { at: times.at, under_way: Some(receiver) });
        self.by_time.insert((times.at, id));
        Ok(Found::New(sender))
    }

    /// Forgets the oldest.
    fn forget(&mut self, is_signed: bool) {
        let Some((at, id)) = self.by_time.pop_first() else { return };
        self.known.remove(&id);
        if is_signed {
            self.forgotten = self.forgotten.max(Some(at));
        }
    }
}

impl Claim<'_> {
    /// It did what it came for.
    pub(in crate::invalidate) fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut table = self.seen.table();
        let Some(known) = table.known.get_mut(&self.id) else { return };
        if self.is_done {
            known.under_way = None;
        } else {
            let at = known.at;
            table.known.remove(&self.id);
            table.by_time.remove(&(at, self.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn id(n: u32) -> Id {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        id
    }

    fn at(at: u64, oldest: u64) -> Times {
        Times { at, oldest, is_signed: true }
    }

    /// Claims what nobody holds.
    fn claim(seen: &Seen, n: u32, times: Times) -> Result<Claim<'_>, Refused> {
        seen.claim(id(n), times).now_or_never().expect("nobody holds it")
    }

    #[test]
    fn a_message_is_taken_once_it_is_done_and_not_before() {
        let seen = Seen::default();
        drop(claim(&seen, 1, at(10, 0)).unwrap());
        assert_eq!(seen.len(), 0, "what came to nothing leaves nothing behind");
        claim(&seen, 1, at(10, 0)).unwrap().done();
        assert_eq!(claim(&seen, 1, at(10, 0)).unwrap_err(), Refused::Taken);
        assert_eq!(seen.len(), 1);
    }

    #[test]
    fn a_copy_waits_for_the_first_and_takes_over_if_that_fails() {
        let seen = Seen::default();
        for (is_done, becomes) in [(false, None), (true, Some(Refused::Taken))] {
            let first = claim(&seen, 1, at(10, 0)).unwrap();
            let mut second = std::pin::pin!(seen.claim(id(1), at(10, 0)));
            assert!(second.as_mut().now_or_never().is_none());
            if is_done {
                first.done()
            } else {
                drop(first)
            }
            assert_eq!(second.now_or_never().unwrap().err(), becomes);
        }
    }

    #[test]
    fn a_full_table_lets_no_copy_in_and_takes_what_is_newer() {
        let seen = Seen::default();
        // A hundred of them each second, and all of them pass for as long as this takes.
        let made = |n: u32| at(u64::from(n / 100), 0);
        for n in 0..100_000 {
            claim(&seen, n, made(n)).unwrap().done();
        }
        assert_eq!(seen.len(), MAX_SEEN);
        for n in 0..100_000 {
            assert!(claim(&seen, n, made(n)).is_err(), "{n}");
        }
        assert_eq!(seen.len(), MAX_SEEN);
        claim(&seen, 200_000, made(200_000)).unwrap().done();
    }

    #[test]
    fn what_was_forgotten_in_time_does_not_come_back_with_a_clock_that_is_set_back() {
        let seen = Seen::default();
        claim(&seen, 1, at(1_000, 700)).unwrap().done();
        claim(&seen, 2, at(5_000, 4_700)).unwrap().done();
        assert_eq!(seen.len(), 1);
        assert_eq!(claim(&seen, 1, at(1_000, 700)).unwrap_err(), Refused::Forgotten);
        assert!(claim(&seen, 3, at(1_001, 700)).is_ok(), "the next one is new");
    }

    #[test]
    fn what_has_no_signed_time_is_remembered_while_there_is_room() {
        let seen = Seen::of(10);
        let came = |n: u32| Times { at: u64::from(n), oldest: 0, is_signed: false };
        for n in 0..20 {
            claim(&seen, n, came(n)).unwrap().done();
        }
        assert_eq!(claim(&seen, 15, came(20)).unwrap_err(), Refused::Taken);
        claim(&seen, 3, came(20)).unwrap().done();
        assert_eq!(seen.len(), 10);
    }
}
