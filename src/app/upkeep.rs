//! What is done to what is kept behind everybody's back: room is made, and what is of no use goes.
//!
//! Invariant: a slice at a time, on threads for such work, with a pause behind each, so that nobody waits for it and it takes no
//! more than a small share of a processor. It refuses to know which entries go.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;

use crate::clock::Clock;
use crate::flow::{Flow, Parts};
use crate::store::Store;
use crate::store::room::{Hand, Marks};
use crate::store::tag_index::Progress;

/// How often it is looked whether there is room: what comes in meanwhile has to fit above the high mark.
const LOOK: Duration = Duration::from_millis(100);
/// Behind a slice of making room: some 250,000 entries a second are looked at, and a quarter of them let go.
const MAKING_ROOM: Duration = Duration::from_millis(1);
/// How often all that is kept is gone through for what is of no use any more.
const ROUND: Duration = Duration::from_secs(60);
/// Behind a slice of that: 25,000 entries a second.
const SWEEPING: Duration = Duration::from_millis(10);

/// Begins all of it, for good.
pub(super) fn begin(flow: &Flow, marks: Marks) -> [JoinHandle<()>; 2] {
    let parts = flow.parts();
    let Parts { store, clock, .. } = &*parts;
    [tokio::spawn(make_room(Arc::clone(store), marks)), tokio::spawn(sweep(Arc::clone(store), clock.clone()))]
}

/// Makes room by the water marks, for good.
async fn make_room(store: Arc<Store>, marks: Marks) {
    again_and_again(LOOK, MAKING_ROOM, move |hand| store.make_room(hand, marks)).await;
}

/// Lets go what is of no use any more, for good.
async fn sweep(store: Arc<Store>, clock: Clock) {
    again_and_again(ROUND, SWEEPING, move |hand| store.sweep_spent(hand, clock.now())).await;
}

/// Every `pause`, slice after slice until it is done, with a `breath` behind each.
async fn again_and_again(
    pause: Duration,
    breath: Duration,
    slice: impl Fn(&mut Hand) -> Progress + Send + Sync + 'static,
) {
    let (slice, mut hand) = (Arc::new(slice), Hand::default());
    loop {
        sleep(pause).await;
        loop {
            let work = Arc::clone(&slice);
            let done = spawn_blocking(move || {
                let progress = work(&mut hand);
                (hand, progress)
            });
            // The process is about to stop, or the work failed on our own bug: the hand is lost with it.
            let Ok((later, progress)) = done.await else { return };
            hand = later;
            if progress == Progress::Done {
                break;
            }
            sleep(breath).await;
        }
    }
}
