//! How many requests may be at the origin at once, and who goes first when there are more.
//!
//! Strictly by [`Priority`], in order of arrival within one; warming and audits together take at most half of what is
//! open. Invariant: `taken` = slots alive; a slot comes back when it is dropped, whatever the reason.
//!
//! After everything that was kept is gone, all clients want the origin at once. Then it is approached by a *ramp*: a
//! small share of the slots is open, and twice as many after each step. What is under way is left alone.
//!
//! ```text
//! open   all ── ramp ──► all/16, at least 4 ──► twice ──► … ──► all
//!                        └─ 500 ms ─┘
//! ```
//!
//! | a waiter times out or is dropped | meanwhile its slot was | then |
//! |---|---|---|
//! | before it was picked | not granted | it strikes itself off the queue |
//! | after it was picked, before the slot was sent | in hand | sending fails, the slot goes to the next |
//! | after the slot was sent | in the channel | the slot is dropped with the channel, and comes back |

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::upstream::Priority;
use crate::upstream::urgency::Urgency;

/// The share of the slots with which a ramp begins: one in so many.
const RAMP_SHARE: usize = 16;

/// Slots with which a ramp begins at least.
const RAMP_LEAST: usize = 4;

/// After so long a ramp opens twice as many slots.
const RAMP_STEP: Duration = Duration::from_millis(500);

/// All the slots of an origin. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Slots(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// All slots there are.
    all: usize,
}

struct Queue {
    /// So many slots may be taken now; fewer than all of them while a ramp is under way.
    open: usize,
    taken: usize,
    /// Slots that warming and audits hold.
    background: usize,
    arrivals: u64,
    waiting: BTreeMap<(Priority, u64), oneshot::Sender<Slot>>,
    /// When the next step of the ramp is due, if one is under way.
    step: Option<Instant>,
}

/// The right to have one request at the origin; given back on drop.
pub(crate) struct Slot {
    shared: Arc<Shared>,
    priority: Priority,
}

impl Slots {
    /// `slots` of them, at least one.
    pub(crate) fn new(slots: usize) -> Self {
        let all = slots.max(1);
        let queue =
            Queue { open: all, taken: 0, background: 0, arrivals: 0, waiting: BTreeMap::new(), step: None };
        Self(Arc::new(Shared { queue: Mutex::new(queue), all }))
    }

    /// Waits for a slot, for at most `timeout`.
    pub(crate) async fn acquire(&self, priority: Priority, timeout: Duration) -> Option<Slot> {
        let (sender, granted) = oneshot::channel();
        let place = {
            let mut queue = self.0.lock();
            if queue.may_take(priority) {
                return Some(queue.take(priority, &self.0));
            }
            let place = (priority, queue.arrivals);
            queue.arrivals += 1;
            queue.waiting.insert(place, sender);
            place
        };
        let _leave = Leave { shared: &self.0, place };
        tokio::time::timeout(timeout, granted).await.ok()?.ok()
    }

    /// The same for whom others may hasten while he waits: then he stands where he would if he came now.
    pub(crate) async fn acquire_with(&self, mut urgency: Urgency, timeout: Duration) -> Option<Slot> {
        let until = Instant::now() + timeout;
        loop {
            let priority = urgency.now();
            let left = until.saturating_duration_since(Instant::now());
            tokio::select! {
                biased;
                slot = self.acquire(priority, left) => return slot,
                // A slot that was sent meanwhile comes back, and is given to the first.
                () = urgency.risen() => {}
            }
        }
    }

    /// Closes all but a small share of the slots at once, and opens them again step by step. A ramp that is under way
    /// begins anew. To be called on a runtime.
    pub(crate) fn ramp(&self) {
        let all = self.0.all;
        let mut queue = self.0.lock();
        queue.open = (all / RAMP_SHARE).max(RAMP_LEAST).min(all);
        let due = Instant::now() + RAMP_STEP;
        if queue.step.replace(due).is_none() {
            tokio::spawn(climb(Arc::downgrade(&self.0), due));
        }
    }
}

/// Takes the steps of a ramp, until all slots are open or nobody has any use for them.
async fn climb(slots: Weak<Shared>, mut due: Instant) {
    loop {
        tokio::time::sleep_until(due).await;
        let Some(shared) = slots.upgrade() else { return };
        let next = shared.lock().climb(Instant::now(), shared.all);
        shared.grant();
        match next {
            Some(next) => due = next,
            None => return,
        }
    }
}

/// Strikes a waiter off the queue when it waits no longer.
struct Leave<'a> {
    shared: &'a Shared,
    place: (Priority, u64),
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.shared.lock().waiting.remove(&self.place);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.taken -= 1;
        queue.background -= usize::from(is_background(self.priority));
        drop(queue);
        self.shared.grant();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives what is open to those who wait.
    fn grant(self: &Arc<Self>) {
        while let Some((waiter, slot)) = self.next() {
            // Outside the lock: a slot that cannot be delivered is dropped here, and comes back through it.
            drop(waiter.send(slot));
        }
    }

    /// The waiter whose turn it is, and its slot.
    fn next(self: &Arc<Self>) -> Option<(oneshot::Sender<Slot>, Slot)> {
        let mut queue = self.lock();
        let first = queue.waiting.first_entry()?;
        let (priority, _) = *first.key();
        if !queue.may_take(priority) {
            return None;
        }
        let (_, waiter) = queue.waiting.pop_first()?;
        let slot = queue.take(priority, self);
        Some((waiter, slot))
    }
}

impl Queue {
    fn may_take(&self, priority: Priority) -> bool {
        self.taken < self.open && (!is_background(priority) || self.background < self.open.div_ceil(2))
    }

    /// Takes a step of the ramp if one is due; gives when the next one is.
    fn climb(&mut self, now: Instant, all: usize) -> Option<Instant> {
        let due = self.step?;
        if due <= now {
            self.open = (self.open * 2).min(all);
            self.step = (self.open < all).then(|| now + RAMP_STEP);
        }
        self.step
    }

    fn take(&mut self, priority: Priority, shared: &Arc<Shared>) -> Slot {
        self.taken += 1;
        self.background += usize::from(is_background(priority));
        Slot { shared: Arc::clone(shared), priority }
    }
}

fn is_background(priority: Priority) -> bool {
    matches!(priority, Priority::Warm | Priority::Audit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::urgency::Haste;
    use futures_util::FutureExt;

    const LONG: Duration = Duration::from_secs(30);

    fn waiter(
        slots: &Slots,
        priority: Priority,
    ) -> std::pin::Pin<Box<dyn Future<Output = Option<Slot>> + '_>> {
        let mut waiter = slots.acquire(priority, LONG).boxed_local();
        assert!((&mut waiter).now_or_never().is_none(), "all slots are taken");
        waiter
    }

    #[tokio::test(start_paused = true)]
    async fn the_higher_priority_goes_first_and_within_one_the_earlier() {
        let slots = Slots::new(1);
        let held = slots.acquire(Priority::Client, LONG).await.unwrap();
        let order = std::cell::RefCell::new(Vec::new());
        let queue = [
            (Priority::Audit, "audit"),
            (Priority::Warm, "warm"),
            (Priority::Client, "client 1"),
            (Priority::Revalidation, "revalidation"),
            (Priority::Client, "client 2"),
        ];
        let waiters = queue.map(|(priority, name)| {
            let waiter = waiter(&slots, priority);
            let order = &order;
            async move {
                let slot = waiter.await.unwrap();
                order.borrow_mut().push(name);
                drop(slot);
            }
        });
        drop(held);
        futures_util::future::join_all(waiters).await;
        assert_eq!(order.into_inner(), ["client 1", "client 2", "revalidation", "warm", "audit"]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_hastened_goes_before_those_who_are_not() {
        let slots = Slots::new(1);
        let held = slots.acquire(Priority::Client, LONG).await.unwrap();
        let order = std::cell::RefCell::new(Vec::new());
        let haste = Haste::default();
        haste.hasten(Priority::Warm);
        let urgency = haste.told();
        let noted = |name: &'static str, slot: Option<Slot>| {
            order.borrow_mut().push(name);
            drop(slot.unwrap());
        };
        let mut first = slots.acquire(Priority::Warm, LONG).boxed_local();
        let mut second = slots.acquire_with(urgency, LONG).boxed_local();
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        haste.hasten(Priority::Client);
        assert!((&mut second).now_or_never().is_none(), "the slot is taken");
        drop(held);
        tokio::join!(async { noted("first", first.await) }, async { noted("hastened", second.await) });
        assert_eq!(order.into_inner(), ["hastened", "first"]);
        assert!(slots.acquire(Priority::Client, LONG).now_or_never().flatten().is_some(), "no slot is lost");
    }

    #[tokio::test(start_paused = true)]
    async fn warming_takes_half_of_the_slots_at_most() {
        let slots = Slots::new(4);
        let _warm = slots.acquire(Priority::Warm, LONG).await.unwrap();
        let audit = slots.acquire(Priority::Audit, LONG).await.unwrap();
        let mut third = waiter(&slots, Priority::Warm);
        let _client = slots.acquire(Priority::Client, LONG).await.unwrap();
        assert!((&mut third).now_or_never().is_none());
        drop(audit);
        assert!(third.await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_gives_up_after_the_timeout() {
        let slots = Slots::new(1);
        let _held = slots.acquire(Priority::Client, LONG).await.unwrap();
        let start = tokio::time::Instant::now();
        assert!(slots.acquire(Priority::Client, LONG).await.is_none());
        assert_eq!(start.elapsed(), LONG);
        assert!(slots.0.lock().waiting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_granted_to_a_waiter_that_left_comes_back() {
        let slots = Slots::new(1);
        let held = slots.acquire(Priority::Client, LONG).await.unwrap();
        let gone = waiter(&slots, Priority::Client);
        let granted = waiter(&slots, Priority::Client);
        drop(gone);
        drop(held);
        drop(granted);
        assert_eq!(slots.0.lock().taken, 0);
        assert!(slots.acquire(Priority::Audit, LONG).await.is_some());
    }

    #[tokio::test]
    async fn a_panic_gives_the_slot_back() {
        let slots = Slots::new(1);
        let slot = slots.acquire(Priority::Warm, LONG).await.unwrap();
        let outcome = tokio::spawn(async move {
            let _slot = slot;
            panic!("while the origin is asked");
        });
        assert!(outcome.await.is_err());
        let queue = slots.0.lock();
        assert_eq!((queue.taken, queue.background), (0, 0));
    }

    /// How many of them have a slot, which they keep.
    async fn granted(waiters: &[tokio::task::JoinHandle<Option<Slot>>]) -> usize {
        // Everyone has a turn, and those who were granted something a second one.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        waiters.iter().filter(|waiter| waiter.is_finished()).count()
    }

    fn clients(slots: &Slots, count: usize) -> Vec<tokio::task::JoinHandle<Option<Slot>>> {
        let client = |_| {
            let slots = slots.clone();
            tokio::spawn(async move { slots.acquire(Priority::Client, LONG).await })
        };
        (0..count).map(client).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_ramp_opens_a_small_share_and_twice_as_many_after_each_step() {
        let slots = Slots::new(100);
        slots.ramp();
        let herd = clients(&slots, 200);
        let mut seen = vec![granted(&herd).await];
        for _ in 0..6 {
            tokio::time::advance(RAMP_STEP).await;
            seen.push(granted(&herd).await);
        }
        assert_eq!(seen, [6, 12, 24, 48, 96, 100, 100]);
        assert_eq!(slots.0.lock().step, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_ramp_cuts_nothing_that_is_under_way_and_lets_nobody_in_before_it_has_left() {
        let slots = Slots::new(64);
        let mut held = Vec::new();
        for _ in 0..6 {
            held.push(slots.acquire(Priority::Client, LONG).await.unwrap());
        }
        slots.ramp();
        assert_eq!(slots.0.lock().taken, 6, "they are at the origin, ramp or not");
        let mut next = waiter(&slots, Priority::Client);
        held.truncate(4);
        assert!((&mut next).now_or_never().is_none(), "four are open, and four are taken");
        held.truncate(3);
        assert!((&mut next).now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_of_the_ramp_goes_to_who_has_the_higher_priority() {
        let slots = Slots::new(8);
        slots.ramp();
        let mut held = Vec::new();
        for _ in 0..RAMP_LEAST {
            held.push(slots.acquire(Priority::Client, LONG).await.unwrap());
        }
        let mut warm = waiter(&slots, Priority::Warm);
        let mut herd: Vec<_> = (0..4).map(|_| waiter(&slots, Priority::Client)).collect();
        tokio::time::advance(RAMP_STEP).await;
        tokio::task::yield_now().await;
        assert!((&mut warm).now_or_never().is_none(), "the four that were opened are the clients'");
        let _slots: Vec<_> = herd.iter_mut().map(|waiter| waiter.now_or_never().unwrap().unwrap()).collect();
    }

    #[tokio::test(start_paused = true)]
    async fn a_ramp_that_is_under_way_begins_anew() {
        let slots = Slots::new(64);
        slots.ramp();
        tokio::task::yield_now().await;
        tokio::time::advance(RAMP_STEP / 2).await;
        slots.ramp();
        tokio::task::yield_now().await;
        tokio::time::advance(RAMP_STEP / 2).await;
        tokio::task::yield_now().await;
        assert_eq!(slots.0.lock().open, 4, "the step of the first ramp is not taken");
        tokio::time::advance(RAMP_STEP / 2).await;
        tokio::task::yield_now().await;
        assert_eq!(slots.0.lock().open, 8);
    }

    #[tokio::test(start_paused = true)]
    async fn few_slots_are_all_open_at_once() {
        for all in 1..=RAMP_LEAST {
            let slots = Slots::new(all);
            slots.ramp();
            assert_eq!(slots.0.lock().open, all);
        }
    }
}
