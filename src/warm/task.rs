//! What a warm task is: what it asks for, for whom, how often, and how urgent that is.
//!
//! Invariant: a value; what it says is checked where it is read. It refuses to know how anything is fetched.

use http::{HeaderMap, HeaderValue};
use serde_json_path::JsonPath;

use crate::warm::paging::Pages;
use crate::warm::pattern::{Bindings, Pattern, product};
use crate::warm::schedule::Schedule;

/// Most values that a task takes from its list unless it says otherwise (`limit`).
pub const LIMIT: usize = 1_000;

/// The priority of a task that says none.
pub const PRIORITY: i64 = 100;

/// One entry of `warm.requests`.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its name: in runs, metrics, and for `larder warm`.
    pub id: String,
    /// What is asked for.
    pub get: Pattern,
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
            get,
            priority: PRIORITY,
            schedule: Schedule::Start,
            each: None,
            params: Vec::new(),
            origins: Vec::new(),
            audience: Audience::Anybody,
            headers: HeaderMap::new(),
        })
    }

    /// The placeholders that no list of the task says.
    pub fn open(&self) -> Vec<&str> {
        let said = |name: &&str| !self.params.iter().any(|(param, _)| param == name);
        self.get.names().into_iter().filter(said).collect()
    }

    /// The paths for what is bound already, at most `most`; of those that cannot be, why.
    pub(crate) fn paths(&self, bound: &Bindings, most: usize) -> (Vec<String>, Vec<String>) {
        let (mut paths, mut unfit) = (Vec::new(), Vec::new());
        for values in product(bound, &self.params, most) {
            match self.get.bind(&values) {
                Ok(path) => paths.push(path),
                Err(why) => unfit.push(why.to_string()),
            }
        }
        (paths, unfit)
    }

    /// With which `Origin` each path is asked for.
    pub(crate) fn origins(&self) -> Vec<Option<HeaderValue>> {
        if self.origins.is_empty() { vec![None] } else { self.origins.clone() }
    }
}
