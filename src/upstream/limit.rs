//! How many requests may be at the origin at once, and who goes first when there are more.
//!
//! Strictly by [`Priority`], in order of arrival within one; warming and audits together take at most half of the
//! slots. Invariant: `free` + slots alive = all of them; a slot comes back when it is dropped, whatever the reason.
//!
//! | a waiter times out or is dropped | meanwhile its slot was | then |
//! |---|---|---|
//! | before it was picked | not granted | it strikes itself off the queue |
//! | after it was picked, before the slot was sent | in hand | sending fails, the slot goes to the next |
//! | after the slot was sent | in the channel | the slot is dropped with the channel, and comes back |

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::upstream::Priority;

/// All the slots of an origin. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Slots(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// Most slots that warming and audits may hold together.
    background: usize,
}

struct Queue {
    free: usize,
    /// Slots that warming and audits hold.
    background: usize,
    arrivals: u64,
    waiting: BTreeMap<(Priority, u64), oneshot::Sender<Slot>>,
}

/// The right to have one request at the origin; given back on drop.
pub(crate) struct Slot {
    shared: Arc<Shared>,
    priority: Priority,
}

impl Slots {
    /// `slots` of them, at least one.
    pub(crate) fn new(slots: usize) -> Self {
        let free = slots.max(1);
        let queue = Queue { free, background: 0, arrivals: 0, waiting: BTreeMap::new() };
        Self(Arc::new(Shared { queue: Mutex::new(queue), background: free.div_ceil(2) }))
    }

    /// Waits for a slot, for at most `timeout`.
    pub(crate) async fn acquire(&self, priority: Priority, timeout: Duration) -> Option<Slot> {
        let (sender, granted) = oneshot::channel();
        let place = {
            let mut queue = self.0.lock();
            if queue.may_take(priority, self.0.background) {
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
        queue.free += 1;
        queue.background -= usize::from(is_background(self.priority));
        drop(queue);
        while let Some((waiter, slot)) = self.shared.next() {
            // Outside the lock: a slot that cannot be delivered is dropped here, and comes back through it.
            drop(waiter.send(slot));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The waiter whose turn it is, and its slot.
    fn next(self: &Arc<Self>) -> Option<(oneshot::Sender<Slot>, Slot)> {
        let mut queue = self.lock();
        let first = queue.waiting.first_entry()?;
        let (priority, _) = *first.key();
        if !queue.may_take(priority, self.background) {
            return None;
        }
        let (_, waiter) = queue.waiting.pop_first()?;
        let slot = queue.take(priority, self);
        Some((waiter, slot))
    }
}

impl Queue {
    fn may_take(&self, priority: Priority, background: usize) -> bool {
        self.free > 0 && (!is_background(priority) || self.background < background)
    }

    fn take(&mut self, priority: Priority, shared: &Arc<Shared>) -> Slot {
        self.free -= 1;
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
        assert_eq!(slots.0.lock().free, 1);
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
        assert_eq!((queue.free, queue.background), (1, 0));
    }
}
