//! Takes the dead out of memory, and what they leave behind out of the index, on a thread of its own: they are served to
//! nobody already, so an acknowledgement does not wait for that.
//!
//! Invariant: whatever it is handed leaves memory, unless something else has taken its place by then. Its thread begins
//! with the first dead and ends with the store; where there can be no thread, it is done at once.

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;

use crate::store::departed::Departures;
use crate::store::entry::Entry;
use crate::store::memory::Memory;
use crate::store::position::Gate;
use crate::store::tag_index::Progress;

/// Most that are taken out of memory before their seats in the index are vacated.
const TOGETHER: usize = 64;

/// What died together.
type Dead = Arc<Vec<Arc<Entry>>>;

/// The way to the thread.
#[derive(Debug)]
pub(in crate::store) struct Undertaker {
    ground: Ground,
    /// Bounded by what was stored: an entry dies once. `None`: there can be no thread.
    thread: OnceLock<Option<Sender<Dead>>>,
}

/// Where the dead lie.
#[derive(Clone, Debug)]
struct Ground {
    memory: Arc<Memory>,
    gate: Arc<Gate>,
    departures: Departures,
}

impl Undertaker {
    /// For what died at `gate` and lies in `memory`; `departures` hears of all of it.
    pub(in crate::store) fn of(memory: &Arc<Memory>, gate: &Arc<Gate>, departures: &Departures) -> Self {
        let departures = departures.clone();
        let ground = Ground { memory: Arc::clone(memory), gate: Arc::clone(gate), departures };
        Self { ground, thread: OnceLock::new() }
    }

    /// Has these taken out of memory.
    pub(in crate::store) fn bury(&self, dead: &Dead) {
        if dead.is_empty() {
            return;
        }
        let thread = self.thread.get_or_init(|| start(self.ground.clone()));
        let sent = thread.as_ref().is_some_and(|thread| thread.send(Arc::clone(dead)).is_ok());
        if !sent {
            self.ground.take(dead);
        }
    }
}

impl Ground {
    fn take(&self, dead: &Dead) {
        for some in dead.chunks(TOGETHER) {
            for entry in some {
                self.memory.sweep(entry.key());
                self.departures.note(entry);
            }
            self.gate.tidy();
        }
        while self.gate.tidy() == Progress::More {}
    }
}

fn start(ground: Ground) -> Option<Sender<Dead>> {
    let (send, handed) = mpsc::channel::<Dead>();
    let bury = move || handed.into_iter().for_each(|dead| ground.take(&dead));
    thread::Builder::new().name("undertaker".into()).spawn(bury).ok().map(|_thread| send)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::entry::tests::entry;

    #[test]
    fn what_died_leaves_memory_and_what_took_its_place_stays() {
        let memory = Arc::new(Memory::new(1 << 20, None, |_| {}));
        let (dead, live) = (Arc::new(entry("a", vec![])), Arc::new(entry("b", vec![])));
        for entry in [&dead, &live] {
            memory.change(entry.key(), |group| {
                group.put(entry);
            });
        }
        dead.kill();
        let undertaker = Undertaker::of(&memory, &Arc::default(), &Departures::default());
        undertaker.bury(&Arc::new(vec![dead, live]));
        while memory.find(b"a").is_some() {
            thread::yield_now();
        }
        assert!(memory.find(b"b").is_some());
    }
}
