//! Who looks on while requests are answered: each hears of the requests that are answered from then on.
//!
//! Invariant: a request never waits for anybody who listens, and costs one relaxed load where nobody does. Who is
//! [`BEHIND`] requests behind misses the oldest, and is told how many. It refuses to know who wants to hear of which.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::broadcast::{self, Receiver, Sender};

use crate::access_log::Line;

/// Requests that a listener may be behind.
pub const BEHIND: usize = 1024;

/// One answered request.
#[derive(Clone, Debug)]
pub struct Told {
    /// Template of its route; `None`: no route matched.
    pub route: Option<Box<str>>,
    /// Its method, as sent.
    pub method: Box<str>,
    /// What the cache did, in lower case.
    pub cache: Box<str>,
    /// Status of the answer.
    pub status: u16,
    /// The line of the access log, without its end.
    pub line: Box<str>,
}

/// All who listen.
#[derive(Debug)]
pub(in crate::access_log) struct Audience {
    listening: AtomicUsize,
    told: Sender<Arc<Told>>,
}

impl Default for Audience {
    fn default() -> Self {
        Self { listening: AtomicUsize::new(0), told: broadcast::channel(BEHIND).0 }
    }
}

impl Audience {
    /// Whether anybody listens.
    pub(in crate::access_log) fn is_there(&self) -> bool {
        self.listening.load(Ordering::Relaxed) > 0
    }

    /// Tells of a request.
    pub(in crate::access_log) fn tell(&self, line: &Line<'_>) {
        let mut text = Vec::with_capacity(512);
        line.json(&mut text);
        text.pop();
        let told = Told {
            route: line.route.map(Box::from),
            method: line.method.into(),
            cache: line.cache.into(),
            status: line.status,
            line: String::from_utf8(text).expect("JSON leaves as ASCII").into(),
        };
        let _nobody_listens = self.told.send(Arc::new(told));
    }

    pub(in crate::access_log) fn listen(audience: &Arc<Self>) -> Listener {
        let told = audience.told.subscribe();
        audience.listening.fetch_add(1, Ordering::Relaxed);
        Listener { told, audience: Arc::clone(audience) }
    }
}

/// One who listens, until dropped.
#[derive(Debug)]
pub struct Listener {
    told: Receiver<Arc<Told>>,
    audience: Arc<Audience>,
}

impl Listener {
    /// The next request that is answered.
    ///
    /// # Errors
    /// It missed so many.
    pub async fn next(&mut self) -> Result<Arc<Told>, RecvError> {
        self.told.recv().await
    }

    /// The next one that was answered already.
    ///
    /// # Errors
    /// There is none, or it missed so many.
    pub fn waiting(&mut self) -> Result<Arc<Told>, TryRecvError> {
        self.told.try_recv()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.audience.listening.fetch_sub(1, Ordering::Relaxed);
    }
}
