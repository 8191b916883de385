//! What every scenario is played with: an origin that counts and waits at gates, the proxy in this process with a
//! clock that a test moves, and a client that sees every byte.
//!
//! A story runs on one thread with everybody in it. When it has ended every proxy it started must drain, and a panic in
//! any task, the proxy's own among them, fails the test.

pub(crate) mod client;
pub(crate) mod origin;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod redis;
pub(crate) mod relay;

use std::cell::RefCell;
use std::sync::{Arc, Once, mpsc};
use std::time::Duration;

use tokio::sync::watch;

use crate::harness::proxy::Slot;

/// A story that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static STARTED: RefCell<Vec<Slot>> = const { RefCell::new(Vec::new()) };
}

/// Plays a story to its end, then stops every proxy that it started and joins every task.
pub(crate) fn play(story: impl Future<Output = ()>) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
            default(info);
        }));
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bell = Bell::hang();
        bell.before(story, "the story hangs").await;
        for running in STARTED.take().into_iter().filter_map(|slot| slot.take()) {
            let stopped = running.stop(Duration::ZERO, std::future::pending());
            bell.before(stopped, "the proxy does not drain").await;
        }
    });
    drop(runtime);
    let panics = PANICS.take();
    assert!(panics.is_empty(), "a task panicked: {panics:#?}");
}

/// Rings when a story has taken too long. It goes by the machine's time: a story may move tokio's.
struct Bell {
    rung: watch::Receiver<()>,
    _ended: mpsc::Sender<()>,
}

impl Bell {
    fn hang() -> Self {
        let (_ended, ended) = mpsc::channel::<()>();
        let (ring, rung) = watch::channel(());
        std::thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                ring.send_replace(());
            }
        });
        Self { rung, _ended }
    }

    async fn before(&self, act: impl Future<Output = ()>, otherwise: &str) {
        let mut rung = self.rung.clone();
        tokio::select! {
            biased;
            () = act => {}
            Ok(()) = rung.changed() => panic!("{otherwise}"),
        }
    }
}

/// Something that holds whoever waits at it until the test opens it.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<watch::Sender<bool>>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Gate {
    /// Lets everyone through, now and later.
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is open.
    pub(crate) async fn passed(&self) {
        let mut open = self.0.subscribe();
        open.wait_for(|open| *open).await.expect("the gate lives as long as this clone");
    }
}
