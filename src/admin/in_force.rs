//! Which configuration is in force and since when, the way to whoever wants to hear of another one, and to whoever can read it again.
//!
//! Invariant: nobody who reloads waits for anybody who listens; secrets were cut out before. It refuses to know how a configuration
//! comes into force.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::{ArcSwap, ArcSwapOption};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::{self, Receiver, Sender};
use tokio::sync::{mpsc, oneshot};

use crate::admin::figures::millis;

/// Reloads that a listener may be behind.
const BEHIND: usize = 16;
/// Most who wait for a reload; they get one after the other.
const WAITING: usize = 16;
/// Longest report that is kept of one that is wrong, in bytes; the rest is cut off.
const LONGEST_REPORT: usize = 8 * 1024;

/// A configuration that came into force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its digest, as metrics show it.
    pub digest: String,
    /// Where it was read; `None`: there is no file.
    pub file: Option<PathBuf>,
    /// Since when it is in force.
    pub at: SystemTime,
    /// The keys that say something else than before; nothing of the first one.
    pub changed: Vec<String>,
    /// The keys that say something else since the process began, and hold from its next start on.
    pub needs_restart: Vec<String>,
    /// Every value with who said it.
    pub values: Value,
}

/// What came of a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// That of the configuration in force.
    pub digest: String,
    /// Keys that say something else than before.
    pub changed: Vec<String>,
    /// Those since the start that a reload does not bring about.
    pub needs_restart: Vec<String>,
    /// Entries that were dropped, as the rules of their routes are others now.
    pub dropped: u64,
}

/// Somebody asks for a reload.
#[derive(Debug)]
pub struct Asked {
    /// Who.
    pub actor: String,
    /// Where he is answered: what came of it, or what is wrong with the file.
    pub answer: oneshot::Sender<Result<Reloaded, String>>,
}

/// A configuration that was to come into force, and is wrong.
#[derive(Debug)]
struct Failure {
    at: SystemTime,
    report: String,
}

/// The configuration in force. Clones are the same.
#[derive(Clone, Debug)]
pub struct InForce(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    loaded: ArcSwap<Loaded>,
    /// What is wrong with the newest one, if it did not come into force.
    failure: ArcSwapOption<Failure>,
    told: Sender<Arc<Loaded>>,
    ask: mpsc::Sender<Asked>,
}

impl InForce {
    /// The first one. Those who want it read again come out of the other end.
    pub fn new(loaded: Loaded) -> (Self, mpsc::Receiver<Asked>) {
        let (ask, asked) = mpsc::channel(WAITING);
        let (loaded, told) = (ArcSwap::from_pointee(loaded), broadcast::channel(BEHIND).0);
        (Self(Arc::new(Shared { loaded, failure: ArcSwapOption::empty(), told, ask })), asked)
    }

    /// Another one is in force from now on. Whoever listens is told, if it says anything else.
    pub fn reloaded(&self, loaded: Loaded) {
        let loaded = Arc::new(loaded);
        self.0.loaded.store(Arc::clone(&loaded));
        self.0.failure.store(None);
        if !loaded.changed.is_empty() {
            let _nobody_listens = self.0.told.send(loaded);
        }
    }

    /// Another one was to be, and it is wrong.
    pub fn failed(&self, mut report: String, at: SystemTime) {
        if report.len() > LONGEST_REPORT {
            let end = (0..=LONGEST_REPORT).rev().find(|at| report.is_char_boundary(*at));
            report.truncate(end.unwrap_or_default());
            report.push('…');
        }
        self.0.failure.store(Some(Arc::new(Failure { at, report })));
    }

    /// What is in force now.
    pub fn loaded(&self) -> Arc<Loaded> {
        self.0.loaded.load_full()
    }

    /// Hears of every other one from now on.
    pub fn listen(&self) -> Receiver<Arc<Loaded>> {
        self.0.told.subscribe()
    }

    /// In short: what holds, what waits for a restart, and what is wrong with a newer one.
    pub(crate) fn brief(&self) -> Value {
        let (loaded, failure) = (self.loaded(), self.0.failure.load_full());
        json!({
            "digest": loaded.digest,
            "loaded_at": millis(loaded.at),
            "needs_restart": loaded.needs_restart,
            "failure": failure.map(|failure| json!({ "at": millis(failure.at), "report": failure.report })),
        })
    }

    /// Has it read again, in the name of `actor`: what came of that, or what is wrong with it. `None`: nobody here can.
    pub(crate) async fn read_again(&self, actor: String) -> Option<Result<Reloaded, String>> {
        let (answer, answered) = oneshot::channel();
        self.0.ask.send(Asked { actor, answer }).await.ok()?;
        answered.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_without_end_is_cut_between_two_characters() {
        let loaded = Loaded {
            digest: "d".into(),
            file: None,
            at: SystemTime::UNIX_EPOCH,
            changed: Vec::new(),
            needs_restart: Vec::new(),
            values: Value::Null,
        };
        let (in_force, _asked) = InForce::new(loaded.clone());
        in_force.failed(format!("x{}", "ü".repeat(LONGEST_REPORT)), SystemTime::UNIX_EPOCH);
        let report = in_force.brief()["failure"]["report"].as_str().unwrap().to_owned();
        assert!(report.ends_with("ü…") && report.len() <= LONGEST_REPORT + '…'.len_utf8());
        in_force.reloaded(loaded);
        assert_eq!(in_force.brief()["failure"], Value::Null, "it is mended");
    }
}
