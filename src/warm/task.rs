//! What a warm task is: what it asks for, for whom, how often, and how urgent that is.
//!
//! Invariant: a value; what it says is checked where it is read. It refuses to know how anything is fetched.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use jiff::tz::TimeZone;
use serde_json_path::JsonPath;

use crate::warm::paging::Pages;
use crate::warm::pattern::{Bindings, Pattern, product};
use crate::warm::schedule::Schedule;

/// Most values that a task takes from its list unless it says otherwise (`limit`).
pub const LIMIT: usize = 1_000;

/// The id of the task that keeps warm what is learnt.
pub const LEARNT: &str = "learn";

/// The priority of a task that says none.
pub const PRIORITY: i64 = 100;

/// How a task is read that is told in JSON, with the words of `warm.requests`.
#[derive(Clone, Debug)]
pub struct Grammar {
    /// The time zone of every `schedule`.
    pub zone: TimeZone,
    /// Reads one, or says all that is wrong with it.
    pub read: fn(&str, &TimeZone) -> Result<Task, String>,
}

impl Grammar {
    pub(crate) fn read(&self, text: &str) -> Result<Task, String> {
        (self.read)(text, &self.zone)
    }
}

/// One entry of `warm.requests`.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its name: in runs, metrics, and for `larder warm`.
    pub id: String,
    /// What is asked for; `None`: what clients ask for, as far as that is learnt.
    pub get: Option<Pattern>,
    /// Higher goes first.
    pub priority: i64,
    /// How often, beside at the start.
    pub schedule: Schedule,
    /// The list whose items the path is filled with.
    pub each: Option<Each>,
    /// Values of placeholders; every combination is asked for.
    pub params: Vec<(String, Vec<String>)>,
    /// The `Origin` of each request, `None` for one without; nothing here is one without.
    pub origins: Vec<Option<HeaderValue>>,
    /// In whose name.
    pub audience: Audience,
    /// Fields sent with its requests, in place of those that all have.
    pub headers: HeaderMap,
}

/// In whose name a task asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// With the configured fields and nobody's credentials but those among them.
    Anybody,
    /// For each of those who were here lately (`for_users: active`).
    Active,
}

/// A list that says what to ask for.
#[derive(Clone, Debug)]
pub struct Each {
    /// Where it is.
    pub from: String,
    /// What of its items is meant.
    pub select: JsonPath,
    /// Most values that are taken from it.
    pub limit: usize,
    /// How it goes on.
    pub pages: Pages,
}

impl Task {
    /// A path by itself, as somebody asked for it.
    pub fn of_path(path: &str) -> Option<Self> {
        let get = Pattern::parse(path).ok().filter(|get| get.names().is_empty())?;
        Some(Self {
            id: path.to_owned(),
            get: Some(get),
            priority: PRIORITY,
            schedule: Schedule::Start,
            each: None,
            params: Vec::new(),
            origins: Vec::new(),
            audience: Audience::Anybody,
            headers: HeaderMap::new(),
        })
    }

    /// What clients ask for, kept warm; whatever the file names goes first.
    pub fn learnt(every: Duration) -> Self {
        Self {
            id: LEARNT.to_owned(),
            get: None,
            priority: 0,
            schedule: Schedule::Every(every),
            each: None,
            params: Vec::new(),
            origins: Vec::new(),
            audience: Audience::Anybody,
            headers: HeaderMap::new(),
        }
    }

    /// Whether one node can do it for all: who was here, and what was asked for, each knows for itself.
    pub(crate) fn is_for_all(&self) -> bool {
        self.get.is_some() && self.audience == Audience::Anybody
    }

    /// What is asked for, as it is written.
    pub fn text(&self) -> &str {
        self.get.as_ref().map_or(LEARNT, Pattern::as_str)
    }

    /// The placeholders that no list of the task says.
    pub fn open(&self) -> Vec<&str> {
        let said = |name: &&str| !self.params.iter().any(|(param, _)| param == name);
        self.get.iter().flat_map(Pattern::names).filter(said).collect()
    }

    /// The paths for what is bound already, at most `most`; of those that cannot be, why.
    pub(crate) fn paths(&self, bound: &Bindings, most: usize) -> (Vec<String>, Vec<String>) {
        let (mut paths, mut unfit) = (Vec::new(), Vec::new());
        for values in product(bound, &self.params, most) {
            match self.get.as_ref().map(|get| get.bind(&values)) {
                Some(Ok(path)) => paths.push(path),
                Some(Err(why)) => unfit.push(why.to_string()),
                None => {}
            }
        }
        (paths, unfit)
    }

    /// With which `Origin` each path is asked for.
    pub(crate) fn origins(&self) -> Vec<Option<HeaderValue>> {
        if self.origins.is_empty() { vec![None] } else { self.origins.clone() }
    }
}
