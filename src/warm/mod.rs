//! Fetches what matters before anybody asks for it, through the same path as a client: at start, again and again, and on demand.
//!
//! ```text
//! start ────────┐                                   ┌ worker ┐
//! due (diary) ──┼─► run: tasks × lists × people ─► queue ────┼─► the walk of a read ─► report
//! POST /v1/warm ┘      (paths, in their order)      └ worker ┘          └─► harvest: hits earned, wasted
//! ```
//! Invariant: readiness is released at the end of the start-up list, after `before_ready`, or when warming is given up, whichever
//! comes first. It refuses to know how an answer is fetched and stored: that is behind the [`Door`].

pub mod ahead;
mod ask;
mod begin;
pub mod door;
mod harvest;
pub mod learn;
mod pace;
pub mod paging;
pub mod pattern;
mod plan;
mod queue;
pub mod renewal;
pub mod run;
pub mod schedule;
pub mod task;
pub mod turn;
mod worker;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::flow::identities;
use crate::metrics::Metrics;
use crate::ready::{Readiness, State};
use crate::warm::ahead::Budget;
pub use crate::warm::begin::Refused;
use crate::warm::begin::{Order, wanted};
use crate::warm::door::Door;
use crate::warm::harvest::Harvest;
use crate::warm::learn::pupil::Pupil;
use crate::warm::pace::Pace;
use crate::warm::queue::Queue;
use crate::warm::run::{Run, Runs, Trigger};
use crate::warm::schedule::{Diary, Schedule};
use crate::warm::task::Task;
use crate::warm::turn::{Turn, Turns};

/// How often it is looked whether anything is due, and what was earned.
const TICK: Duration = Duration::from_secs(1);

/// What metrics call a path that is no task's.
pub const ASKED: &str = "asked";

/// `warm:` of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is fetched, in the order of the file.
    pub tasks: Vec<Arc<Task>>,
    /// `/readyz` waits at most this long for what is fetched at start (`warm.before_ready`).
    pub before_ready: Duration,
    /// How many at once (`warm.concurrency`).
    pub concurrency: usize,
    /// How many a second (`warm.rate`); `None`: as the origin answers.
    pub rate: Option<u64>,
    /// Fields sent with every one of them (`warm.headers`).
    pub headers: HeaderMap,
    /// Whether anything is fetched beside the list at start (`warm.background`).
    pub background: bool,
    /// Who counts as active (`warm.users`); `None`: nobody is remembered, since nothing is fetched for anybody.
    pub users: Option<identities::Settings>,
    /// The field that names the user to the origin where his own credential is not sent (`warm.as`).
    pub named_in: Option<HeaderName>,
    /// Most that are kept warm of what clients ask for (`warm.learn.top`); `None`: nothing is learnt.
    pub learn: Option<usize>,
    /// How much may be fetched anew before it expires (`warm.refresh_ahead.budget`); `None`: nothing is.
    pub ahead: Option<Budget>,
}

/// The one who warms. Cheap to clone.
#[derive(Clone)]
pub struct Warmer(Arc<Shared>);

pub(crate) struct Shared {
    settings: Settings,
    door: Arc<dyn Door>,
    clock: Clock,
    metrics: Arc<Metrics>,
    turns: Option<Turns>,
    queue: Queue,
    runs: Runs,
    diary: Mutex<Diary>,
    pace: Mutex<Pace>,
    harvest: Mutex<Harvest>,
    pupil: Option<Arc<Pupil>>,
    random: RandomState,
    counter: AtomicU64,
}

/// A task, and how it stands with it.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The task.
    pub task: Arc<Task>,
    /// When it is due next; `None`: it is run when somebody asks for it.
    pub next: Option<SystemTime>,
    /// The last run that it was part of.
    pub last: Option<Arc<Run>>,
}

impl Warmer {
    /// One that fetches through `door`, and what `pupil` has learnt. In a fleet `turns` say which node runs what is scheduled.
    pub fn new(
        settings: Settings,
        door: Arc<dyn Door>,
        clock: Clock,
        metrics: Arc<Metrics>,
        turns: Option<Turns>,
        pupil: Option<Arc<Pupil>>,
    ) -> Self {
        let random = RandomState::new();
        let mut drawn = 0;
        let schedules = settings.tasks.iter().map(|task| task.schedule.clone());
        let diary = Diary::new(schedules, clock.now(), &mut || {
            drawn += 1;
            random.hash_one(drawn)
        });
        let pace = Mutex::new(Pace::new(settings.rate));
        Self(Arc::new(Shared {
            settings,
            door,
            clock,
            metrics,
            turns,
            queue: Queue::default(),
            runs: Runs::default(),
            diary: Mutex::new(diary),
            pace,
            harvest: Mutex::default(),
            pupil,
            random,
            counter: AtomicU64::new(0),
        }))
    }

    /// Fetches what is fetched at start, makes `readiness` ready, and goes on by the schedules until it is dropped. Answers of
    /// 502, 503 and 504 are taken for an origin that is not up yet and tried again, a bounded number of times.
    pub async fn live(self, readiness: Readiness) {
        let release = Release(&readiness);
        let mut workers = JoinSet::new();
        for _ in 0..self.0.settings.concurrency.max(1) {
            workers.spawn(worker::work(Arc::clone(&self.0)));
        }
        let listed: Vec<_> =
            self.0.settings.tasks.iter().filter(|task| task.get.is_some()).cloned().collect();
        let run = self.0.begin(Trigger::Start, Order::of(&listed)).await;
        workers.spawn(show(Arc::clone(&run)));
        let before_ready = self.0.settings.before_ready;
        if tokio::time::timeout(before_ready, run.ended()).await.is_err() {
            tracing::info!("warm.before_ready has passed: ready, and warming on in the background");
        }
        drop(release);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look();
            if self.0.settings.background {
                self.0.run_what_is_due().await;
            }
        }
    }

    /// Begins a run of tasks by their ids, and of paths by themselves, in the name of `identity` if one is named: a user's id,
    /// or the digest of a credential.
    ///
    /// # Errors
    /// [`Refused`]
    pub async fn warm(
        &self,
        (tasks, paths): (&[String], &[String]),
        identity: Option<&str>,
        actor: &str,
    ) -> Result<Arc<Run>, Refused> {
        let order = self.0.order(tasks, paths, identity)?;
        Ok(self.0.begin(Trigger::Asked(actor.to_owned()), order).await)
    }

    /// The tasks, in the order of the file.
    pub fn tasks(&self) -> Vec<Standing> {
        let (runs, now) = (self.0.runs.all(), self.0.clock.now());
        let diary = self.0.diary.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |(at, task): (usize, &Arc<Task>)| Standing {
            task: Arc::clone(task),
            next: diary.next(at, now).filter(|_| self.0.settings.background),
            last: runs.iter().rev().find(|run| run.is_of(&task.id)).cloned(),
        };
        self.0.settings.tasks.iter().enumerate().map(of).collect()
    }

    /// The last runs, oldest first, with what they have earned by now.
    pub fn runs(&self) -> Vec<Arc<Run>> {
        self.look();
        self.0.runs.all()
    }

    /// A run by its id.
    pub fn run(&self, id: &str) -> Option<Arc<Run>> {
        self.runs().into_iter().find(|run| run.id == id)
    }

    /// Whether anything is fetched beside the list at start.
    pub fn is_on(&self) -> bool {
        self.0.settings.background
    }

    /// Counts what was earned since the last look.
    fn look(&self) {
        let asked = self.0.lock_harvest().look(self.0.clock.now(), &self.0.metrics);
        asked.into_iter().for_each(|whose| self.0.door.seen(whose));
        self.0.pupil.iter().for_each(|pupil| pupil.tell());
    }
}

impl Shared {
    /// Begins what is due, if it is this node's turn and the last run of it has ended.
    async fn run_what_is_due(self: &Arc<Self>) {
        let due = {
            let mut diary = self.diary.lock().unwrap_or_else(PoisonError::into_inner);
            diary.due(self.clock.now(), &mut || self.random.hash_one(self.arrivals()))
        };
        for due in due {
            let Some(task) = self.settings.tasks.get(due.task) else { continue };
            let is_going_on = |run: &Arc<Run>| run.is_of(&task.id) && run.state().ended.is_none();
            if self.runs.all().iter().any(is_going_on) {
                tracing::debug!(task = task.id, "a warm task is due that has not ended yet");
                continue;
            }
            let lasting = match &task.schedule {
                Schedule::Every(period) => Some(*period),
                Schedule::Start | Schedule::Cron(..) => None,
            };
            let turn = match &self.turns {
                Some(turns) if task.is_for_all() => turns.take(&task.id, due.slot, lasting).await,
                _ => Turn::Ours,
            };
            if turn != Turn::Taken {
                self.begin(Trigger::Schedule, Order::of(std::slice::from_ref(task))).await;
            }
        }
    }

    /// An errand of a run is done; with the last one its report is.
    pub(crate) fn settle(&self, run: &Run) {
        let Some(endings) = run.settle(self.clock.now()) else { return };
        for (part, ending) in endings {
            // What nothing was asked for says nothing of the time that asking takes.
            self.metrics.warming().run(&part.label, ending.as_str(), part.took);
        }
        let sum = run.state().sum();
        if sum.done() > 0 {
            let (stored, fresh, bypassed, failed) = (sum.stored, sum.fresh, sum.bypassed, sum.failed);
            tracing::info!(run = run.id, stored, fresh, bypassed, failed, "warmed");
        }
    }

    /// How long it is until a task is due again; `None`: it never is.
    pub(crate) fn until_next(&self, task: &str) -> Option<Duration> {
        let (at, now) = (self.settings.tasks.iter().position(|known| known.id == task)?, self.clock.now());
        let diary = self.diary.lock().unwrap_or_else(PoisonError::into_inner);
        diary.next(at, now)?.duration_since(now.wall).ok().filter(|_| self.settings.background)
    }

    /// What metrics call a task.
    pub(crate) fn label(&self, task: &str) -> String {
        let is_configured = self.settings.tasks.iter().any(|known| known.id == task);
        if is_configured { task.to_owned() } else { ASKED.to_owned() }
    }

    /// The next of all numbers that are given out.
    pub(crate) fn arrivals(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    /// A name for a run that no other run of this or another process has.
    fn name(&self) -> String {
        let since = self.clock.now().wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let number = self.arrivals();
        format!("{:x}-{:04x}", since.as_millis(), self.random.hash_one(number) & 0xffff)
    }

    pub(crate) fn lock_pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lock_harvest(&self) -> MutexGuard<'_, Harvest> {
        self.harvest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes ready on drop: a warming that ends in any way must not keep traffic off for good.
struct Release<'a>(&'a Readiness);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.reach(State::Ready);
    }
}

/// A bar on stderr; indicatif shows it on a terminal only.
async fn show(run: Arc<Run>) {
    let mut states = run.subscribe();
    if run.state().total == 0 {
        return;
    }
    let style = ProgressStyle::with_template("warming {bar:30} {pos}/{len} {elapsed}");
    let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    while run.news(&mut states).await {
        let (total, done) = {
            let state = states.borrow();
            (state.total, state.sum().done())
        };
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    }
    bar.finish_and_clear();
}

#[cfg(test)]
mod tests;
