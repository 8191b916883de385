//! What the sample API is about: projects and jobs, in memory, bounded, the same at every start.
//!
//! It refuses to know of HTTP: what is not there is `None`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Polls of a job before it is done.
pub(crate) const POLLS_UNTIL_DONE: u32 = 2;
/// Most projects; a creation beyond is refused.
const MAX_PROJECTS: usize = 1_000;
/// Most jobs; the oldest is forgotten.
pub(crate) const MAX_JOBS: usize = 1_000;

/// Everything the sample knows.
#[derive(Debug)]
pub(crate) struct Data {
    projects: BTreeMap<u64, Project>,
    /// Polls so far, by job.
    jobs: BTreeMap<u64, u32>,
    next_job: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Project {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) status: Status,
    pub(crate) owner: String,
    pub(crate) budget: u32,
    /// Counts changes.
    pub(crate) revision: u64,
    pub(crate) classifications: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    #[default]
    Planned,
    Active,
    Done,
}

/// What a client may say of a project.
#[derive(Deserialize)]
pub(crate) struct Draft {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) status: Status,
    #[serde(default)]
    pub(crate) owner: String,
    #[serde(default)]
    pub(crate) budget: u32,
}

impl Data {
    /// 120 projects of three people.
    pub(crate) fn sample() -> Self {
        const WHAT: [&str; 8] =
            ["Billing", "Search", "Onboarding", "Reporting", "Mobile", "Archive", "Identity", "Pricing"];
        const HOW: [&str; 5] = ["Relaunch", "Migration", "Audit", "Prototype", "Rollout"];
        const WHO: [&str; 3] = ["ada", "grace", "linus"];
        const STATUS: [Status; 3] = [Status::Planned, Status::Active, Status::Done];
        let project = |n: usize| Project {
            id: n as u64 + 1,
            name: format!("{} {}", WHAT[n % 8], HOW[n % 5]),
            status: STATUS[n % 3],
            owner: WHO[(n / 2) % 3].into(),
            budget: 5_000 + 1_250 * (n as u32 % 7),
            revision: 1,
            classifications: vec![["internal", "customer"][n % 2].into()],
        };
        let projects = (0..120).map(project).map(|project| (project.id, project)).collect();
        Self { projects, jobs: BTreeMap::new(), next_job: 1 }
    }

    pub(crate) fn projects(&self) -> impl Iterator<Item = &Project> {
        self.projects.values()
    }

    /// The projects whose name holds `part`, in any case.
    pub(crate) fn named(&self, part: &str) -> impl Iterator<Item = &Project> {
        let part = part.to_lowercase();
        self.projects().filter(move |project| project.name.to_lowercase().contains(&part))
    }

    pub(crate) fn project(&self, id: u64) -> Option<Project> {
        self.projects.get(&id).cloned()
    }

    /// `None`: there are [`MAX_PROJECTS`].
    pub(crate) fn create(&mut self, draft: Draft) -> Option<Project> {
        if self.projects.len() >= MAX_PROJECTS {
            return None;
        }
        let id = self.projects.keys().next_back().map_or(1, |last| last + 1);
        let Draft { name, status, owner, budget } = draft;
        let project = Project { id, name, status, owner, budget, revision: 1, classifications: Vec::new() };
        self.projects.insert(id, project.clone());
        Some(project)
    }

    pub(crate) fn change(&mut self, id: u64, change: impl FnOnce(&mut Project)) -> Option<Project> {
        let project = self.projects.get_mut(&id)?;
        change(project);
        project.revision += 1;
        Some(project.clone())
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Project> {
        self.projects.remove(&id)
    }

    pub(crate) fn start_job(&mut self) -> u64 {
        let id = self.next_job;
        self.next_job += 1;
        self.jobs.insert(id, 0);
        if self.jobs.len() > MAX_JOBS {
            self.jobs.pop_first();
        }
        id
    }

    /// How far the job is at this poll, in percent; every poll brings it on.
    pub(crate) fn poll_job(&mut self, id: u64) -> Option<u32> {
        let polls = self.jobs.get_mut(&id)?;
        *polls = POLLS_UNTIL_DONE.min(*polls) + 1;
        Some(100 * *polls / (POLLS_UNTIL_DONE + 1))
    }
}
