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
pub mod roster;
pub mod run;
pub mod schedule;
pub mod task;
pub mod turn;
mod worker;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;

use crate::clock::{Clock, Now};
use crate::flow::identities;
use crate::metrics::Metrics;
use crate::ready::{Readiness, State};
use crate::warm::ahead::Budget;
pub use crate::warm::begin::Refused;
use crate::warm::begin::{MAX_ASKED, Order, wanted};
use crate::warm::door::Door;
use crate::warm::harvest::Harvest;
use crate::warm::learn::pupil::Pupil;
use crate::warm::pace::Pace;
use crate::warm::queue::Queue;
use crate::warm::roster::{MAX_TEXT, Roster, Unlisted};
use crate::warm::run::{Run, Runs, Trigger};
use crate::warm::schedule::Schedule;
use crate::warm::task::{Audience, Grammar, Task};
use crate::warm::turn::{Turn, Turns};

/// How often it is looked whether anything is due.
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
    /// How tasks are read that are registered while this runs.
    pub grammar: Grammar,
}

/// The one who warms. Cheap to clone.
#[derive(Clone)]
pub struct Warmer(Arc<Shared>);

pub(crate) struct Shared {
    settings: ArcSwap<Settings>,
    door: Arc<dyn Door>,
    clock: Clock,
    metrics: Arc<Metrics>,
    turns: Option<Turns>,
    queue: Queue,
    runs: Runs,
    roster: Mutex<Roster>,
    pace: Mutex<Pace>,
    harvest: Arc<Harvest>,
    pupil: Option<Arc<Pupil>>,
    random: RandomState,
    counter: AtomicU64,
}

/// A task, and how it stands with it.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The task.
    pub task: Arc<Task>,
    /// Whether somebody registered it since the start; else it stands in the configuration.
    pub is_registered: bool,
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
        let roster = Roster::new(settings.tasks.clone(), clock.now(), &mut || {
            drawn += 1;
            random.hash_one(drawn)
        });
        let pace = Mutex::new(Pace::new(settings.rate));
        let harvest = Harvest::of(Arc::clone(&door), Arc::clone(&metrics));
        Self(Arc::new(Shared {
            settings: ArcSwap::from_pointee(settings),
            door,
            clock,
            metrics,
            turns,
            queue: Queue::default(),
            runs: Runs::default(),
            roster: Mutex::new(roster),
            pace,
            harvest,
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
        for _ in 0..self.0.settings.load().concurrency.max(1) {
            workers.spawn(worker::work(Arc::clone(&self.0)));
        }
        let listed = fetched_at_start(&self.0.settings.load().tasks);
        let run = self.0.begin(Trigger::Start, Order::of(&listed)).await;
        workers.spawn(show(Arc::clone(&run)));
        let before_ready = self.0.settings.load().before_ready;
        if tokio::time::timeout(before_ready, run.ended()).await.is_err() {
            tracing::info!("warm.before_ready has passed: ready, and warming on in the background");
        }
        drop(release);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.0.door.forget_absent();
            self.0.pupil.iter().for_each(|pupil| pupil.tell());
            if self.0.settings.load().background {
                self.0.run_what_is_due().await;
            }
        }
    }

    /// Goes by `settings` from now on. A task that they list as it was listed before goes on by its schedule; what they list anew is
    /// fetched at once, and registered tasks stay. How many work at once stays as it was.
    pub async fn put_in_force(&self, settings: Settings) {
        let (tasks, is_on) = (settings.tasks.clone(), settings.background);
        *self.0.pace.lock().unwrap_or_else(PoisonError::into_inner) = Pace::new(settings.rate);
        self.0.settings.store(Arc::new(settings));
        let new = self.0.lock_roster().renew(tasks, self.0.clock.now(), &mut || self.0.draw());
        let new = fetched_at_start(&new);
        if is_on && !new.is_empty() {
            self.0.begin(Trigger::Start, Order::of(&new)).await;
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
        let is_asked =
            |run: &&Arc<Run>| matches!(run.trigger, Trigger::Asked(_)) && run.state().ended.is_none();
        if self.0.runs.all().iter().filter(is_asked).count() >= MAX_ASKED {
            return Err(Refused::Busy);
        }
        Ok(self.0.begin(Trigger::Asked(actor.to_owned()), order).await)
    }

    /// Adds the task that `text` tells in JSON, by the grammar of `warm.requests`, until this process ends; `actor` is who says
    /// so. It is run by its schedule, and when somebody asks for it.
    ///
    /// # Errors
    /// [`Unlisted`]
    pub fn register(&self, text: &str, actor: &str) -> Result<Standing, Unlisted> {
        if !self.is_on() {
            return Err(Unlisted::Off);
        }
        if text.len() > MAX_TEXT {
            return Err(Unlisted::Unread(format!("a task is {MAX_TEXT} bytes long at most")));
        }
        let settings = self.0.settings.load();
        let task = settings.grammar.read(text).map_err(Unlisted::Unread)?;
        if task.audience == Audience::Active && settings.users.is_none() {
            return Err(Unlisted::Nobody);
        }
        let now = self.0.clock.now();
        let mut roster = self.0.lock_roster();
        let task = roster.add(task, now, &mut || self.0.draw())?;
        tracing::info!(actor, task = task.id, "a warm task is registered");
        Ok(self.0.standing(&roster, &task, now))
    }

    /// Takes a registered task away; a run of it goes on.
    ///
    /// # Errors
    /// [`Unlisted`]
    pub fn withdraw(&self, id: &str, actor: &str) -> Result<(), Unlisted> {
        let task = self.0.lock_roster().remove(id)?;
        tracing::info!(actor, task = task.id, "a warm task is taken away");
        Ok(())
    }

    /// The tasks, in the order of the file, and behind them those that were registered.
    pub fn tasks(&self) -> Vec<Standing> {
        let (roster, now) = (self.0.lock_roster(), self.0.clock.now());
        roster.tasks().iter().map(|task| self.0.standing(&roster, task, now)).collect()
    }

    /// The last runs, oldest first.
    pub fn runs(&self) -> Vec<Arc<Run>> {
        self.0.runs.all()
    }

    /// A run by its id.
    pub fn run(&self, id: &str) -> Option<Arc<Run>> {
        self.runs().into_iter().find(|run| run.id == id)
    }

    /// Whether anything is fetched beside the list at start.
    pub fn is_on(&self) -> bool {
        self.0.settings.load().background
    }
}

/// Those of the tasks that ask for something by themselves.
fn fetched_at_start(tasks: &[Arc<Task>]) -> Vec<Arc<Task>> {
    tasks.iter().filter(|task| task.get.is_some()).cloned().collect()
}

impl Shared {
    /// Begins what is due, if it is this node's turn and the last run of it has ended.
    async fn run_what_is_due(self: &Arc<Self>) {
        if self.door.is_off() {
            return;
        }
        let due = self.lock_roster().due(self.clock.now(), &mut || self.draw());
        for (task, slot) in due {
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
                Some(turns) if task.is_for_all() => turns.take(&task.id, slot, lasting).await,
                _ => Turn::Ours,
            };
            if turn != Turn::Taken {
                self.begin(Trigger::Schedule, Order::of(std::slice::from_ref(&task))).await;
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
        let now = self.clock.now();
        self.next(&self.lock_roster(), task, now)?.duration_since(now.wall).ok()
    }

    /// What metrics call a task.
    pub(crate) fn label(&self, task: &str) -> String {
        if self.lock_roster().is_configured(task) { task.to_owned() } else { ASKED.to_owned() }
    }

    /// When a task is due next, by the wall; `None`: it is run when somebody asks for it.
    fn next(&self, roster: &Roster, task: &str, now: Now) -> Option<SystemTime> {
        roster.next(task, now).filter(|_| self.settings.load().background)
    }

    fn standing(&self, roster: &Roster, task: &Arc<Task>, now: Now) -> Standing {
        Standing {
            task: Arc::clone(task),
            is_registered: !roster.is_configured(&task.id),
            next: self.next(roster, &task.id, now),
            last: self.runs.all().into_iter().rev().find(|run| run.is_of(&task.id)),
        }
    }

    /// A number that nobody foresees.
    fn draw(&self) -> u64 {
        self.random.hash_one(self.arrivals())
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

    pub(crate) fn lock_roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
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
