//! How a run begins: which tasks, in whose name, and what they come to before the origin is asked.
//!
//! Invariant: of what is known together nothing is asked for twice in the same name; at most [`MAX_PATHS`] paths at a time.

use std::sync::Arc;

use http::HeaderValue;
use thiserror::Error;

use crate::flow::identities::Person;
use crate::route::identity::Digest;
use crate::warm::Shared;
use crate::warm::pattern::{Bindings, MAX_PATHS};
use crate::warm::plan::distinct;
use crate::warm::queue::{Errand, Job, Whom};
use crate::warm::run::{Run, Trigger};
use crate::warm::task::{Audience, Each, Task};

/// Most runs under way that somebody asked for.
pub(crate) const MAX_ASKED: usize = 16;

/// Why a run is not begun.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// `warm.background: false`.
    #[error("warming beside the list at start is switched off (`warm.background`)")]
    Off,
    /// [`MAX_ASKED`]
    #[error("{MAX_ASKED} runs that somebody asked for are under way: wait for one, or stop it")]
    Busy,
    /// No task has this id.
    #[error("no warm task has the id {0}")]
    Task(String),
    /// What was named is no path of the upstream.
    #[error("{0} is not a path: it begins with `/`, and has no placeholders")]
    Path(String),
    /// Nothing was named, and there are no tasks.
    #[error("there is nothing to warm: name a path, or write tasks under `warm.requests`")]
    Nothing,
    /// Nobody of this name was here lately.
    #[error(
        "nobody by this identity was here lately, so there is no credential to ask with; see `warm.users` and `warm.as`"
    )]
    Identity,
}

/// What a run is to do.
pub(crate) struct Order {
    tasks: Vec<Arc<Task>>,
    /// In whose name all of it is; `None`: as each task says.
    whom: Option<Vec<Whom>>,
}

impl Order {
    /// These tasks, as they say.
    pub(crate) fn of(tasks: &[Arc<Task>]) -> Self {
        Self { tasks: tasks.to_vec(), whom: None }
    }
}

/// Something that is to be fetched.
pub(crate) struct Wanted {
    task: Arc<Task>,
    part: usize,
    whom: Whom,
    path: String,
    origin: Option<HeaderValue>,
}

/// Each of `paths` as the task asks for it in this name.
pub(crate) fn wanted(task: &Arc<Task>, part: usize, whom: &Whom, paths: Vec<String>) -> Vec<Wanted> {
    let origins = task.origins();
    let with = |path: String| {
        let (task, whom) = (Arc::clone(task), whom.clone());
        origins.iter().map(move |origin| Wanted {
            task: Arc::clone(&task),
            part,
            whom: whom.clone(),
            path: path.clone(),
            origin: origin.clone(),
        })
    };
    paths.into_iter().flat_map(with).take(MAX_PATHS).collect()
}

impl Wanted {
    /// What makes it another than the next.
    fn name(&self) -> (String, Option<HeaderValue>, Option<Digest>, Option<HeaderValue>) {
        let (digest, user) = match &self.whom {
            Whom::Nobody => (None, None),
            Whom::Person(person) => (Some(person.digest()), None),
            Whom::As(user) => (None, Some(user.clone())),
        };
        (self.path.clone(), self.origin.clone(), digest, user)
    }
}

impl Shared {
    /// Begins a run; what it needs without asking anybody waits in the queue when this returns.
    pub(crate) async fn begin(self: &Arc<Self>, trigger: Trigger, order: Order) -> Arc<Run> {
        let labels = order.tasks.iter().map(|task| (task.id.clone(), self.label(&task.id)));
        let run = Run::new(self.name(), trigger, self.clock.now(), labels.collect());
        self.runs.add(Arc::clone(&run));
        let (mut found, mut lists, mut learnt) = (Vec::new(), Vec::new(), Vec::new());
        for (part, task) in order.tasks.iter().enumerate() {
            for whom in order.whom.clone().unwrap_or_else(|| self.audience(task)) {
                match &task.each {
                    _ if task.get.is_none() => learnt.extend(self.learnt(&run, part, task)),
                    Some(each) => lists.push(self.list(&run, part, task, each, whom)),
                    None => {
                        let room = MAX_PATHS.saturating_sub(found.len());
                        let (paths, mut unfit) = task.paths(&Bindings::new(), room);
                        if room == 0 {
                            unfit.push(too_many());
                        }
                        for why in unfit {
                            run.fails(part, task.text(), why, self.clock.now());
                        }
                        found.extend(wanted(task, part, &whom, paths));
                    }
                }
            }
        }
        run.needs(lists.len(), 0);
        self.queue.add(lists);
        run.needs(learnt.len(), learnt.len());
        self.queue.add(learnt);
        self.want(&run, found).await;
        self.settle(&run);
        run
    }

    /// Has it fetched, each thing once, in its order.
    pub(crate) async fn want(self: &Arc<Self>, run: &Arc<Run>, wanted: Vec<Wanted>) {
        let mut wanted = distinct(wanted, |one| one.task.priority, Wanted::name);
        let room = MAX_PATHS.saturating_sub(run.state().total);
        if let Some(first) = wanted.get(room) {
            run.fails(first.part, &first.path, too_many(), self.clock.now());
            wanted.truncate(room);
        }
        let door = Arc::clone(&self.door);
        let paths: Vec<String> = wanted.iter().map(|one| one.path.clone()).collect();
        let look = move || {
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            door.last_written(&paths)
        };
        // It may have a long list to go through.
        let written = tokio::task::spawn_blocking(look).await.unwrap_or_default();
        let job = |(at, one): (usize, Wanted)| Job {
            place: self.place(one.task.priority, written.get(at).copied().flatten()),
            run: Arc::clone(run),
            part: one.part,
            task: one.task,
            errand: Errand::Fetch(one.path, one.origin),
            whom: one.whom,
            tries: 0,
        };
        let jobs: Vec<Job> = wanted.into_iter().enumerate().map(job).collect();
        run.needs(jobs.len(), jobs.len());
        self.queue.add(jobs);
    }

    /// What is worth keeping warm until the task is due again, the best first.
    fn learnt(&self, run: &Arc<Run>, part: usize, task: &Arc<Task>) -> Vec<Job> {
        let ahead = self.until_next(&task.id);
        let set = self.pupil.as_ref().zip(ahead).map(|(pupil, ahead)| pupil.set(ahead));
        let job = |(key, target)| Job {
            place: self.place(task.priority, None),
            run: Arc::clone(run),
            part,
            task: Arc::clone(task),
            errand: Errand::Again(target, key),
            whom: Whom::Nobody,
            tries: 0,
        };
        set.unwrap_or_default().into_iter().map(job).collect()
    }

    fn list(&self, run: &Arc<Run>, part: usize, task: &Arc<Task>, each: &Each, whom: Whom) -> Job {
        let page = each.pages.first(&each.from);
        Job {
            place: self.place(task.priority, None),
            run: Arc::clone(run),
            part,
            task: Arc::clone(task),
            errand: Errand::Read { page, nth: 0, left: each.limit },
            whom,
            tries: 0,
        }
    }

    /// In whose name a task asks by itself.
    fn audience(&self, task: &Task) -> Vec<Whom> {
        match task.audience {
            Audience::Anybody => vec![Whom::Nobody],
            Audience::Active => self.people(self.door.active()),
        }
    }

    /// People as they are asked for: each by what he showed, or each user once by his id.
    fn people(&self, people: Vec<Person>) -> Vec<Whom> {
        if self.settings.load().named_in.is_none() {
            return people.into_iter().map(Whom::Person).collect();
        }
        let mut users: Vec<&str> = people.iter().filter_map(Person::user).collect();
        let mut seen = std::collections::HashSet::new();
        users.retain(|user| seen.insert(*user));
        users.into_iter().filter_map(named).collect()
    }

    /// What somebody asked for.
    ///
    /// # Errors
    /// [`Refused`]
    pub(crate) fn order(
        &self,
        ids: &[String],
        paths: &[String],
        identity: Option<&str>,
    ) -> Result<Order, Refused> {
        if !self.settings.load().background {
            return Err(Refused::Off);
        }
        let roster = self.lock_roster();
        let by_id = |id: &String| roster.find(id).cloned();
        let mut tasks = if ids.is_empty() && paths.is_empty() { roster.tasks().to_vec() } else { Vec::new() };
        for id in ids {
            tasks.push(by_id(id).ok_or_else(|| Refused::Task(id.clone()))?);
        }
        for path in paths {
            if let Some(task) = by_id(path) {
                tasks.push(task);
                continue;
            }
            let is_path =
                path.starts_with('/') && !path.starts_with("//") && path.parse::<http::Uri>().is_ok();
            let task = Task::of_path(path).filter(|_| is_path);
            tasks.push(Arc::new(task.ok_or_else(|| Refused::Path(path.clone()))?));
        }
        if tasks.is_empty() {
            return Err(Refused::Nothing);
        }
        let tasks = distinct(tasks, |_| 0, |task: &Arc<Task>| task.id.clone());
        let whom = identity.map(|identity| self.known_as(identity)).transpose()?;
        Ok(Order { tasks, whom })
    }

    /// Everybody by that name: a user with several credentials has entries under each.
    fn known_as(&self, identity: &str) -> Result<Vec<Whom>, Refused> {
        if self.settings.load().named_in.is_some() {
            return named(identity).map(|whom| vec![whom]).ok_or(Refused::Identity);
        }
        let is_meant =
            |person: &Person| person.user() == Some(identity) || person.digest().to_string() == identity;
        let people: Vec<Whom> = self.door.active().into_iter().filter(is_meant).map(Whom::Person).collect();
        if people.is_empty() { Err(Refused::Identity) } else { Ok(people) }
    }
}

fn too_many() -> String {
    format!("a run takes {MAX_PATHS} requests: this one and those behind it are left out")
}

fn named(user: &str) -> Option<Whom> {
    let mut value = HeaderValue::from_str(user).ok().filter(|value| !value.is_empty())?;
    value.set_sensitive(true);
    Some(Whom::As(value))
}
