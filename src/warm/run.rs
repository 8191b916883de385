//! One run of warm tasks: how far it is, and in the end what it did.
//!
//! Invariant: it ends when nothing of it is left to do, and then its counts stand, but for what its entries earn. At most
//! [`MAX_ERRORS`] failures are told, and [`MAX_RUNS`] runs kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use crate::clock::Now;

/// Most failures of a run that are told; all are counted.
pub const MAX_ERRORS: usize = 20;

/// Most runs that are remembered, those under way among them.
pub const MAX_RUNS: usize = 100;

/// Why a run was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The process started.
    Start,
    /// A task was due.
    Schedule,
    /// Somebody asked for it, by this name.
    Asked(String),
}

impl Trigger {
    /// In a word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Schedule => "schedule",
            Self::Asked(_) => "asked",
        }
    }
}

/// How a run, or its part of one task, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing failed.
    Done,
    /// Something failed, and something did not.
    Partly,
    /// Everything failed.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

impl Ending {
    /// In a word, for metrics and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "ok",
            Self::Partly => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What came of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Fetched from the origin into the cache.
    Stored,
    /// Was in the cache already.
    Fresh,
    /// Answered, but not kept: the route or the answer does not allow it.
    Bypassed,
    /// Not answered, answered with an error, or cut.
    Failed(String),
}

impl Outcome {
    /// The label of the metric.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Fresh => "fresh",
            Self::Bypassed => "bypass",
            Self::Failed(_) => "failed",
        }
    }
}

/// Counts of one task in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Fetched from the origin into the cache.
    pub stored: usize,
    /// Was in the cache already.
    pub fresh: usize,
    /// Answered, but not kept.
    pub bypassed: usize,
    /// Not answered, answered with an error, or cut.
    pub failed: usize,
    /// Bytes of all answers' bodies.
    pub bytes: u64,
    /// Hits on what it stored, so far.
    pub hits: u64,
    /// Entries that went, or expired, without a hit, so far.
    pub wasted: usize,
}

impl Tally {
    /// Requests that came to an end.
    pub fn done(&self) -> usize {
        self.stored + self.fresh + self.bypassed + self.failed
    }

    fn ending(&self, is_cancelled: bool) -> Ending {
        match self {
            _ if is_cancelled => Ending::Cancelled,
            Self { failed: 0, .. } => Ending::Done,
            Self { failed, .. } if *failed == self.done() => Ending::Failed,
            _ => Ending::Partly,
        }
    }
}

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was asked for.
    pub path: String,
    /// What came of it.
    pub why: String,
}

/// A task in a run.
#[derive(Clone, Debug)]
pub struct Part {
    /// The id of the task, or the path that was asked for.
    pub task: String,
    /// What metrics call it: an id of the configuration, or a word.
    pub label: String,
    /// What came of it so far.
    pub tally: Tally,
    /// From the beginning of the run to the last answer to it.
    pub took: Duration,
}

/// How far a run is.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Its tasks.
    pub parts: Vec<Part>,
    /// Requests that it is known to need so far; a list may bring more.
    pub total: usize,
    /// The first failures.
    pub errors: Vec<Failure>,
    /// How it ended, and after how long; `None`: it goes on.
    pub ended: Option<(Ending, Duration)>,
    /// Whether somebody wants it stopped.
    pub is_cancelled: bool,
    /// Errands that are not done.
    left: usize,
}

impl State {
    /// Counts of all its tasks.
    pub fn sum(&self) -> Tally {
        self.parts.iter().fold(Tally::default(), |sum, part| Tally {
            stored: sum.stored + part.tally.stored,
            fresh: sum.fresh + part.tally.fresh,
            bypassed: sum.bypassed + part.tally.bypassed,
            failed: sum.failed + part.tally.failed,
            bytes: sum.bytes + part.tally.bytes,
            hits: sum.hits + part.tally.hits,
            wasted: sum.wasted + part.tally.wasted,
        })
    }

    fn part(&mut self, part: usize) -> Option<&mut Part> {
        self.parts.get_mut(part)
    }
}

/// A run.
#[derive(Debug)]
pub struct Run {
    /// Its name.
    pub id: String,
    /// Why it was begun.
    pub trigger: Trigger,
    /// When it was begun.
    pub begun: Now,
    state: watch::Sender<State>,
}

impl Run {
    /// One that has just begun, of these tasks: id and metrics label. It does not end before [`Run::settle`] was called once more
    /// than for what it needs.
    pub(crate) fn new(id: String, trigger: Trigger, begun: Now, tasks: Vec<(String, String)>) -> Arc<Self> {
        let part = |(task, label)| Part { task, label, tally: Tally::default(), took: Duration::ZERO };
        let parts = tasks.into_iter().map(part).collect();
        let state = watch::Sender::new(State { parts, left: 1, ..State::default() });
        Arc::new(Self { id, trigger, begun, state })
    }

    /// How far it is.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// When it was begun, by the wall.
    pub fn at(&self) -> SystemTime {
        self.begun.wall
    }

    /// Whether the task of this id is part of it.
    pub fn is_of(&self, task: &str) -> bool {
        self.state.borrow().parts.iter().any(|part| part.task == task)
    }

    /// Stops it: what is under way is given up, and what waits is dropped.
    pub fn cancel(&self) {
        self.state.send_if_modified(|state| {
            let moves = state.ended.is_none() && !state.is_cancelled;
            state.is_cancelled |= moves;
            moves
        });
    }

    /// Whether it was stopped.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.state.borrow().is_cancelled
    }

    /// Waits until it is stopped; for ever, if it is not.
    pub(crate) async fn cancelled(&self) {
        let mut states = self.state.subscribe();
        let is_stopped = states.wait_for(|state| state.is_cancelled).await.is_ok();
        if !is_stopped {
            std::future::pending::<()>().await;
        }
    }

    /// Waits for its end; gives how far it was then.
    pub async fn ended(&self) -> State {
        let mut states = self.state.subscribe();
        // The sender lives in `self`.
        let _ = states.wait_for(|state| state.ended.is_some()).await;
        states.borrow().clone()
    }

    /// Waits for news, as long as it goes on; whether it does.
    pub async fn news(&self, states: &mut watch::Receiver<State>) -> bool {
        self.state.borrow().ended.is_none() && states.changed().await.is_ok()
    }

    /// To be told of news.
    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Needs so many errands more, `requests` of them for what is to be kept.
    pub(crate) fn needs(&self, errands: usize, requests: usize) {
        self.state.send_modify(|state| {
            state.left += errands;
            state.total += requests;
        });
    }

    /// Counts what came of a request.
    pub(crate) fn count(&self, part: usize, path: &str, outcome: &Outcome, bytes: u64, now: Now) {
        let took = now.mono.saturating_sub(self.begun.mono);
        self.state.send_modify(|state| {
            let Some(of_task) = state.part(part) else { return };
            (of_task.took, of_task.tally.bytes) = (took, of_task.tally.bytes + bytes);
            let tally = &mut of_task.tally;
            match outcome {
                Outcome::Stored => tally.stored += 1,
                Outcome::Fresh => tally.fresh += 1,
                Outcome::Bypassed => tally.bypassed += 1,
                Outcome::Failed(why) => {
                    tally.failed += 1;
                    if state.errors.len() < MAX_ERRORS {
                        state.errors.push(Failure { path: path.to_owned(), why: why.clone() });
                    }
                }
            }
        });
    }

    /// Counts a request that it would need, and that cannot be made.
    pub(crate) fn fails(&self, part: usize, what: &str, why: String, now: Now) {
        self.needs(0, 1);
        self.count(part, what, &Outcome::Failed(why), 0, now);
    }

    /// Counts what an entry of it earned since that was last looked at.
    pub(crate) fn earned(&self, part: usize, hits: u64) {
        self.state.send_modify(|state| {
            if let Some(part) = state.part(part) {
                part.tally.hits += hits;
            }
        });
    }

    /// Counts an entry of it that earned nothing.
    pub(crate) fn wasted(&self, part: usize) {
        self.state.send_modify(|state| {
            if let Some(part) = state.part(part) {
                part.tally.wasted += 1;
            }
        });
    }

    /// An errand is done. With the last one the run ends: gives how each of its parts did.
    pub(crate) fn settle(&self, now: Now) -> Option<Vec<(Part, Ending)>> {
        let mut endings = None;
        self.state.send_modify(|state| {
            state.left = state.left.saturating_sub(1);
            if state.left > 0 || state.ended.is_some() {
                return;
            }
            let is_cancelled = state.is_cancelled;
            let of_part = |part: &Part| (part.clone(), part.tally.ending(is_cancelled));
            endings = Some(state.parts.iter().map(of_part).collect());
            let took = now.mono.saturating_sub(self.begun.mono);
            state.ended = Some((state.sum().ending(is_cancelled), took));
        });
        endings
    }
}

/// The last runs, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Runs(Mutex<VecDeque<Arc<Run>>>);

impl Runs {
    /// Remembers a run; the oldest that has ended goes, or else the oldest.
    pub(crate) fn add(&self, run: Arc<Run>) {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if runs.len() >= MAX_RUNS {
            let ended = runs.iter().position(|run| run.state.borrow().ended.is_some());
            runs.remove(ended.unwrap_or(0));
        }
        runs.push_back(run);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Run>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(seconds: u64) -> Now {
        Now {
            mono: Duration::from_secs(seconds),
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        }
    }

    fn run(id: &str) -> Arc<Run> {
        Run::new(id.into(), Trigger::Start, now(1), vec![("a".into(), "a".into()), ("b".into(), "b".into())])
    }

    #[test]
    fn it_ends_when_nothing_is_left_and_says_how_each_task_did() {
        let run = run("1");
        run.needs(3, 3);
        assert!(run.settle(now(1)).is_none(), "all is begun");
        run.count(0, "/a", &Outcome::Stored, 10, now(3));
        assert!(run.settle(now(3)).is_none());
        run.count(0, "/a2", &Outcome::Failed("404".into()), 5, now(4));
        assert!(run.settle(now(4)).is_none());
        run.count(1, "/b", &Outcome::Failed("cut".into()), 0, now(6));
        let endings = run.settle(now(6)).unwrap();
        let told: Vec<_> = endings.iter().map(|(part, ending)| (part.took.as_secs(), *ending)).collect();
        assert_eq!(told, [(3, Ending::Partly), (5, Ending::Failed)]);
        let state = run.state();
        assert_eq!(state.ended, Some((Ending::Partly, Duration::from_secs(5))));
        assert_eq!((state.sum().stored, state.sum().failed, state.sum().bytes), (1, 2, 15));
        assert_eq!(state.errors[1], Failure { path: "/b".into(), why: "cut".into() });
        run.earned(0, 7);
        run.wasted(1);
        assert_eq!((run.state().sum().hits, run.state().sum().wasted), (7, 1), "what it earns comes later");
    }

    #[test]
    fn all_failures_are_counted_and_the_first_are_told() {
        let run = run("1");
        for n in 0..MAX_ERRORS + 5 {
            run.count(0, &format!("/{n}"), &Outcome::Failed("no".into()), 0, now(2));
        }
        assert_eq!((run.state().errors.len(), run.state().sum().failed), (MAX_ERRORS, MAX_ERRORS + 5));
    }

    #[test]
    fn a_run_that_has_ended_is_not_cancelled() {
        let (ended, going) = (run("1"), run("2"));
        ended.settle(now(2));
        ended.cancel();
        assert!(!ended.is_cancelled());
        going.cancel();
        assert_eq!(going.settle(now(2)).unwrap()[0].1, Ending::Cancelled);
    }

    #[test]
    fn the_last_runs_are_remembered_and_those_under_way_first() {
        let runs = Runs::default();
        let going = run("going");
        runs.add(Arc::clone(&going));
        for n in 0..MAX_RUNS {
            let ended = run(&n.to_string());
            ended.settle(now(2));
            runs.add(ended);
        }
        let all = runs.all();
        assert_eq!((all.len(), all[0].id.as_str(), all[1].id.as_str()), (MAX_RUNS, "going", "1"));
    }
}
