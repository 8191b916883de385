//! What is true: the version of every item, and for each view of it the newest whose invalidation was acknowledged.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Items; each has one version and many views.
pub(crate) const ITEMS: usize = 48;

/// Items of one group.
pub(crate) const GROUP: usize = 8;

/// A kind of page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// By the tag of its route.
    Item,
    /// By values in its body.
    Group,
    /// By its tag, for each reader apart.
    Mine,
    /// By its path.
    Plain,
    /// Derived from every item.
    Stats,
}

impl View {
    pub(crate) const ALL: [Self; 5] = [Self::Item, Self::Group, Self::Mine, Self::Plain, Self::Stats];

    /// Those that the tag of an item reaches, with what is derived from it.
    pub(crate) const TAGGED: [Self; 4] = [Self::Item, Self::Group, Self::Mine, Self::Stats];

    pub(crate) fn path(self, item: usize) -> String {
        match self {
            Self::Item => format!("/items/{item}"),
            Self::Group => format!("/groups/{}", item / GROUP),
            Self::Mine => format!("/mine/{item}"),
            Self::Plain => format!("/plain/{item}"),
            Self::Stats => "/stats".to_owned(),
        }
    }

    /// The view that a path names, and the items that it shows.
    pub(crate) fn of(path: &str) -> Option<(Self, Vec<usize>)> {
        let mut parts = path.split('/').skip(1);
        let (view, id) = (parts.next()?, parts.next().and_then(|id| id.parse::<usize>().ok()));
        let view = Self::ALL.into_iter().find(|known| known.path(0).split('/').nth(1) == Some(view))?;
        let items = match (view, id) {
            (Self::Stats, _) => (0..ITEMS).collect(),
            (Self::Group, Some(id)) => (id * GROUP..(id + 1) * GROUP).collect(),
            (_, Some(id)) => vec![id],
            (_, None) => return None,
        };
        Some((view, items))
    }
}

#[derive(Debug)]
pub(crate) struct World {
    versions: Vec<AtomicU64>,
    acknowledged: Vec<Vec<AtomicU64>>,
    now: Mutex<Moment>,
    over: AtomicBool,
    violation: Mutex<Option<String>>,
    seen: Mutex<BTreeMap<String, u64>>,
    /// How long what took, by what went on when it was asked for.
    took: Mutex<BTreeMap<(&'static str, Moment), Vec<Duration>>>,
    acks: AtomicU64,
}

/// What goes on: a fault, by its name, or what is before and behind all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    During(&'static str),
    After(&'static str),
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (when, fault) = match self {
            Self::During(fault) => ("during", fault),
            Self::After(fault) => ("after", fault),
        };
        f.pad(&format!("{when} {fault}"))
    }
}

/// When something was asked for, and what went on then.
pub(crate) struct Asked {
    at: Instant,
    during: Moment,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "asked {} and {:?} ago", self.during, self.at.elapsed())
    }
}

impl Default for World {
    fn default() -> Self {
        let ones = || (0..ITEMS).map(|_| AtomicU64::new(1)).collect::<Vec<_>>();
        Self {
            versions: ones(),
            acknowledged: View::ALL.iter().map(|_| ones()).collect(),
            now: Mutex::new(Moment::During("start")),
            over: AtomicBool::new(false),
            violation: Mutex::default(),
            seen: Mutex::default(),
            took: Mutex::default(),
            acks: AtomicU64::new(0),
        }
    }
}

impl World {
    /// Changes an item, and gives its new version.
    pub(crate) fn commit(&self, item: usize) -> u64 {
        self.versions[item].fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn version(&self, item: usize) -> u64 {
        self.versions[item].load(Ordering::SeqCst)
    }

    /// The invalidation of this version was acknowledged for these views.
    pub(crate) fn acknowledge(&self, views: &[View], item: usize, version: u64) {
        for view in views {
            self.acknowledged[*view as usize][item].fetch_max(version, Ordering::SeqCst);
        }
        self.acks.fetch_add(1, Ordering::Relaxed);
    }

    /// One of `what` has its answer.
    pub(crate) fn took(&self, what: &'static str, asked: &Asked) {
        self.took.lock().unwrap().entry((what, asked.during)).or_default().push(asked.at.elapsed());
    }

    /// Somebody asks for something now.
    pub(crate) fn asks(&self) -> Asked {
        Asked { at: Instant::now(), during: *self.now.lock().unwrap() }
    }

    /// The oldest version that a read which begins now may show.
    pub(crate) fn least(&self, view: View, item: usize) -> u64 {
        self.acknowledged[view as usize][item].load(Ordering::SeqCst)
    }

    pub(crate) fn acknowledged_in_all(&self) -> u64 {
        self.acks.load(Ordering::Relaxed)
    }

    /// From now on this goes on.
    pub(crate) fn suffers(&self, fault: &'static str) {
        *self.now.lock().unwrap() = Moment::During(fault);
    }

    /// It is over, and the next has not begun.
    pub(crate) fn suffered(&self, fault: &'static str) {
        *self.now.lock().unwrap() = Moment::After(fault);
    }

    pub(crate) fn saw(&self, what: &str) {
        *self.seen.lock().unwrap().entry(what.to_owned()).or_default() += 1;
    }

    pub(crate) fn seen(&self, what: &str) -> u64 {
        self.seen.lock().unwrap().get(what).copied().unwrap_or_default()
    }

    pub(crate) fn violated(&self, what: String) {
        let what = format!("{what}, {}", *self.now.lock().unwrap());
        println!("violated: {what}");
        self.violation.lock().unwrap().get_or_insert(what);
        self.end();
    }

    pub(crate) fn violation(&self) -> Option<String> {
        self.violation.lock().unwrap().clone()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// A run in which too little was kept or acknowledged has shown nothing; what that is.
    pub(crate) fn lacks(&self) -> Option<String> {
        let few = |what: &String, least| self.seen(what) <= least;
        let answers = ["HIT", "MISS", "write", "purge"].map(str::to_owned).into_iter();
        let mut views = View::ALL.iter().map(|view| format!("{view:?}"));
        answers.into_iter().find(|what| few(what, 50)).or_else(|| views.find(|view| few(view, 100)))
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.seen.lock().unwrap())?;
        for ((what, moment), took) in self.took.lock().unwrap().iter_mut() {
            took.sort();
            let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
            let (median, most, last) = (at(0.5), at(0.99), at(1.0));
            let count = took.len();
            writeln!(
                f,
                "{moment:28} {count:7} {what}, median {median:.1} ms, p99 {most:.1} ms, last {last:.1} ms"
            )?;
        }
        Ok(())
    }
}
