//! The tasks there are, and when each of them is due: those of the configuration, and those that somebody registered since.
//!
//! Invariant: no two of them have one id; those of the configuration stay, and come first; at most [`MAX_REGISTERED`] others.

use std::sync::Arc;
use std::time::SystemTime;

use thiserror::Error;

use crate::clock::Now;
use crate::warm::schedule::Diary;
use crate::warm::task::Task;

/// Most tasks that are registered at a time.
pub const MAX_REGISTERED: usize = 256;

/// Longest text of a task that is registered, in bytes.
pub const MAX_TEXT: usize = 64 * 1024;

/// Why a task is not registered, or not taken away.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unlisted {
    /// `warm.background: false`.
    #[error("warming beside the list at start is switched off (`warm.background`)")]
    Off,
    /// What was told is no task; that says why.
    #[error("{0}")]
    Unread(String),
    /// Another one has its id.
    #[error("a warm task has the id {0} already")]
    Taken(String),
    /// [`MAX_REGISTERED`]
    #[error("{MAX_REGISTERED} tasks are registered: take one away first")]
    Full,
    /// It is for those who were here lately, and nobody is remembered.
    #[error(
        "`for_users` fetches for those who were here lately, and nobody is remembered: write `warm.users` into the file"
    )]
    Nobody,
    /// No task has this id.
    #[error("no warm task has the id {0}")]
    Unknown(String),
    /// It is one of the configuration's.
    #[error("the warm task {0} stands in the configuration: take it out there")]
    Configured(String),
}

/// All the tasks.
#[derive(Debug)]
pub(crate) struct Roster {
    /// In the order in which they are told; each has its page in the diary.
    tasks: Vec<Arc<Task>>,
    diary: Diary,
    configured: usize,
}

/// A task that is due, and for which time: the same for all nodes that are given the same schedule.
pub(crate) type Due = (Arc<Task>, u64);

impl Roster {
    /// The tasks of the configuration, for a process that starts now. `random` gives numbers for the jitter.
    pub(crate) fn new(tasks: Vec<Arc<Task>>, now: Now, random: &mut dyn FnMut() -> u64) -> Self {
        let diary = Diary::new(tasks.iter().map(|task| task.schedule.clone()), now, random);
        Self { configured: tasks.len(), tasks, diary }
    }

    /// Has the tasks of another configuration, and gives those that are new or not as they were. What goes on as it was is due when it
    /// was; a registered task gives way to one of the same id.
    pub(crate) fn renew(
        &mut self,
        tasks: Vec<Arc<Task>>,
        now: Now,
        random: &mut dyn FnMut() -> u64,
    ) -> Vec<Arc<Task>> {
        let mut before = std::mem::replace(self, Self::new(Vec::new(), now, random));
        let mut new = Vec::new();
        for task in tasks {
            let is_same =
                |other: &Arc<Task>| other.id == task.id && format!("{other:?}") == format!("{task:?}");
            match before.tasks[..before.configured].iter().position(is_same) {
                Some(at) => self.diary.add_from(&before.diary, at),
                None => {
                    self.diary.add(task.schedule.clone(), now, random);
                    new.push(Arc::clone(&task));
                }
            }
            self.tasks.push(task);
        }
        self.configured = self.tasks.len();
        for (at, task) in before.tasks.drain(..).enumerate().skip(before.configured) {
            if self.find(&task.id).is_none() {
                self.diary.add_from(&before.diary, at);
                self.tasks.push(task);
            }
        }
        new
    }

    /// All of them, in their order.
    pub(crate) fn tasks(&self) -> &[Arc<Task>] {
        &self.tasks
    }

    /// The task of this id.
    pub(crate) fn find(&self, id: &str) -> Option<&Arc<Task>> {
        self.tasks.iter().find(|task| task.id == id)
    }

    /// Whether the configuration has a task of this id.
    pub(crate) fn is_configured(&self, id: &str) -> bool {
        self.tasks[..self.configured].iter().any(|task| task.id == id)
    }

    /// When a task is due next, by the wall; `None`: it is run when somebody asks for it.
    pub(crate) fn next(&self, id: &str, now: Now) -> Option<SystemTime> {
        let at = self.tasks.iter().position(|task| task.id == id)?;
        self.diary.next(at, now)
    }

    /// What is due now, each once; its next time is noted.
    pub(crate) fn due(&mut self, now: Now, random: &mut dyn FnMut() -> u64) -> Vec<Due> {
        let due = self.diary.due(now, random);
        due.into_iter().filter_map(|due| Some((Arc::clone(self.tasks.get(due.task)?), due.slot))).collect()
    }

    /// Adds a task; its periods are counted from now.
    ///
    /// # Errors
    /// [`Unlisted::Taken`], [`Unlisted::Full`]
    pub(crate) fn add(
        &mut self,
        task: Task,
        now: Now,
        random: &mut dyn FnMut() -> u64,
    ) -> Result<Arc<Task>, Unlisted> {
        if self.find(&task.id).is_some() {
            return Err(Unlisted::Taken(task.id));
        }
        if self.tasks.len() - self.configured >= MAX_REGISTERED {
            return Err(Unlisted::Full);
        }
        self.diary.add(task.schedule.clone(), now, random);
        let task = Arc::new(task);
        self.tasks.push(Arc::clone(&task));
        Ok(task)
    }

    /// Takes a registered task away; a run of it goes on.
    ///
    /// # Errors
    /// [`Unlisted::Unknown`], [`Unlisted::Configured`]
    pub(crate) fn remove(&mut self, id: &str) -> Result<Arc<Task>, Unlisted> {
        match self.tasks.iter().position(|task| task.id == id) {
            None => Err(Unlisted::Unknown(id.to_owned())),
            Some(at) if at < self.configured => Err(Unlisted::Configured(id.to_owned())),
            Some(at) => {
                self.diary.remove(at);
                Ok(self.tasks.remove(at))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::warm::schedule::Schedule;
    use std::time::Duration;

    fn task(id: &str, every: Option<u64>) -> Task {
        let schedule = every.map_or(Schedule::Start, |secs| Schedule::Every(Duration::from_secs(secs)));
        Task { id: id.to_owned(), schedule, ..Task::of_path("/a").unwrap() }
    }

    fn at(secs: u64) -> Now {
        let since = Duration::from_secs(secs);
        Now { mono: since, wall: SystemTime::UNIX_EPOCH + since }
    }

    fn due(roster: &mut Roster, secs: u64) -> Vec<String> {
        roster.due(at(secs), &mut || 0).into_iter().map(|(task, _)| task.id.clone()).collect()
    }

    #[test]
    fn who_leaves_takes_his_times_with_him_and_nobody_elses() {
        let mut roster = Roster::new(vec![Arc::new(task("file", Some(100)))], at(0), &mut || 0);
        for (id, every) in [("a", 10), ("b", 20), ("c", 30)] {
            roster.add(task(id, Some(every)), at(5), &mut || 0).unwrap();
        }
        assert_eq!(due(&mut roster, 14), [""; 0]);
        assert_eq!(due(&mut roster, 15), ["a"], "counted from when it came");
        roster.remove("a").unwrap();
        assert_eq!(due(&mut roster, 35), ["b", "c"]);
        assert_eq!(due(&mut roster, 100), ["file", "b", "c"]);
        assert_eq!(roster.next("a", at(100)), None);
    }

    #[test]
    fn what_another_configuration_lists_as_it_was_is_due_when_it_was() {
        let listed = |tasks: [Task; 2]| tasks.map(Arc::new).to_vec();
        let mut roster = Roster::new(listed([task("a", Some(10)), task("b", Some(10))]), at(0), &mut || 0);
        roster.add(task("r", Some(10)), at(0), &mut || 0).unwrap();
        let new = roster.renew(listed([task("b", Some(10)), task("a", Some(20))]), at(5), &mut || 0);
        assert_eq!(new.iter().map(|task| &*task.id).collect::<Vec<_>>(), ["a"]);
        assert_eq!(roster.tasks().iter().map(|task| &*task.id).collect::<Vec<_>>(), ["b", "a", "r"]);
        assert!(roster.is_configured("a") && !roster.is_configured("r"));
        assert_eq!(due(&mut roster, 11), ["b", "r"]);
        assert_eq!(due(&mut roster, 25), ["b", "a", "r"], "counted from when it came");
        let new = roster.renew(vec![Arc::new(task("r", Some(10)))], at(30), &mut || 0);
        assert_eq!((new.len(), roster.tasks().len()), (1, 1), "what is registered gives way");
    }

    #[test]
    fn ids_are_given_once_and_their_number_is_bounded() {
        let mut roster = Roster::new(vec![Arc::new(task("file", None))], at(0), &mut || 0);
        let mut add = |id: &str| roster.add(task(id, None), at(0), &mut || 0).map(|task| task.id.clone());
        assert_eq!(add("file"), Err(Unlisted::Taken("file".into())));
        for nth in 0..MAX_REGISTERED {
            add(&nth.to_string()).unwrap();
        }
        assert_eq!(add("0"), Err(Unlisted::Taken("0".into())));
        assert_eq!(add("more"), Err(Unlisted::Full));
        assert_eq!(roster.remove("file").unwrap_err(), Unlisted::Configured("file".into()));
        assert_eq!(roster.remove("none").unwrap_err(), Unlisted::Unknown("none".into()));
        roster.remove("0").unwrap();
        roster.add(task("more", None), at(0), &mut || 0).unwrap();
        assert!(roster.is_configured("file") && !roster.is_configured("more"));
    }
}
