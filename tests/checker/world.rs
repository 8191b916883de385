//! What is true: the version of every item, and the newest whose invalidation was acknowledged, for each view of it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::watch;

/// Items; each has one version and many views.
pub(crate) const ITEMS: usize = 24;

/// Items of one group.
pub(crate) const GROUP: usize = 4;

/// What shows items: each is outdated by a way of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Item,
    Group,
    Named,
    Short,
    Mine,
    Deep,
    Stats,
    Soft,
}

impl View {
    pub(crate) const ALL: [Self; 8] =
        [Self::Item, Self::Group, Self::Named, Self::Short, Self::Mine, Self::Deep, Self::Stats, Self::Soft];

    /// The view that a path names, and the items that it shows.
    pub(crate) fn of(path: &str) -> Option<(Self, Vec<usize>)> {
        let mut parts = path.split('/').skip(1);
        let (view, id) = (parts.next()?, parts.next().and_then(|id| id.parse::<usize>().ok()));
        Some(match view {
            "items" => (Self::Item, vec![id?]),
            "groups" => {
                (Self::Group, (0..GROUP).map(|n| id.map(|id| id * GROUP + n)).collect::<Option<_>>()?)
            }
            "named" => (Self::Named, vec![id?]),
            "short" => (Self::Short, vec![id?]),
            "mine" => (Self::Mine, vec![id?]),
            "deep" => (Self::Deep, vec![id?]),
            "stats" => (Self::Stats, (0..ITEMS).collect()),
            "soft" => (Self::Soft, vec![id?]),
            _ => return None,
        })
    }

    pub(crate) fn path(self, item: usize) -> String {
        match self {
            Self::Item => format!("/items/{item}"),
            Self::Group => format!("/groups/{}", item / GROUP),
            Self::Named => format!("/named/{item}"),
            Self::Short => format!("/short/{item}"),
            Self::Mine => format!("/mine/{item}"),
            Self::Deep => format!("/deep/{item}/a/b"),
            Self::Stats => "/stats".to_owned(),
            Self::Soft => format!("/soft/{item}"),
        }
    }
}

pub(crate) struct World {
    versions: Vec<AtomicU64>,
    acknowledged: Vec<Vec<AtomicU64>>,
    /// What each author has softly invalidated himself.
    authored: Mutex<HashMap<(usize, usize), u64>>,
    beats: watch::Sender<u64>,
    left: AtomicU64,
    over: AtomicBool,
    violation: Mutex<Option<String>>,
    seen: Mutex<HashMap<String, u64>>,
    changes: AtomicU64,
}

impl World {
    pub(crate) fn new(reads: u64) -> Self {
        let ones = || (0..ITEMS).map(|_| AtomicU64::new(1)).collect::<Vec<_>>();
        Self {
            versions: ones(),
            acknowledged: View::ALL.iter().map(|_| ones()).collect(),
            authored: Mutex::default(),
            beats: watch::Sender::new(0),
            left: AtomicU64::new(reads),
            over: AtomicBool::new(false),
            violation: Mutex::default(),
            seen: Mutex::default(),
            changes: AtomicU64::new(0),
        }
    }

    /// Changes an item, and gives its new version.
    pub(crate) fn commit(&self, item: usize) -> u64 {
        self.versions[item].fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn version(&self, item: usize) -> u64 {
        self.versions[item].load(Ordering::SeqCst)
    }

    /// The invalidation of this version was acknowledged, for these views.
    pub(crate) fn acknowledge(&self, views: &[View], item: usize, version: u64) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        for view in views {
            self.acknowledged[*view as usize][item].fetch_max(version, Ordering::SeqCst);
        }
    }

    pub(crate) fn acknowledged(&self, view: View, item: usize) -> u64 {
        self.acknowledged[view as usize][item].load(Ordering::SeqCst)
    }

    /// The same where only its author may count on it.
    pub(crate) fn authored(&self, author: usize, item: usize, version: u64) {
        let mut authored = self.authored.lock().unwrap();
        let known = authored.entry((author, item)).or_default();
        *known = version.max(*known);
    }

    pub(crate) fn authored_by(&self, author: usize, item: usize) -> u64 {
        self.authored.lock().unwrap().get(&(author, item)).copied().unwrap_or(0)
    }

    pub(crate) fn beat(&self) {
        self.beats.send_modify(|beats| *beats += 1);
    }

    /// A gate that opens after so many beats.
    pub(crate) async fn hold(&self, beats: u64) {
        let mut heard = self.beats.subscribe();
        let until = *heard.borrow() + beats;
        // It ends with the run.
        let _ = heard.wait_for(|now| *now >= until).await;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Counts a read that was judged, and what the cache said of it.
    pub(crate) fn judged(&self, how: &str) {
        *self.seen.lock().unwrap().entry(how.to_owned()).or_default() += 1;
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_err() {
            self.over.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn violated(&self, what: String) {
        self.violation.lock().unwrap().get_or_insert(what);
        self.over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn verdict(&self, metrics: &str) -> Verdict {
        let value = |line: &str| {
            let named = metrics.lines().filter(|known| known.starts_with(line));
            named.filter_map(|known| known.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
        };
        Verdict {
            violation: self.violation.lock().unwrap().clone(),
            seen: self.seen.lock().unwrap().clone(),
            acknowledged: self.changes.load(Ordering::Relaxed),
            discarded: value("larder_fills_discarded_total"),
        }
    }
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) violation: Option<String>,
    seen: HashMap<String, u64>,
    acknowledged: u64,
    discarded: u64,
}

impl Verdict {
    /// A run in which nothing was coalesced or refused has shown nothing.
    pub(crate) fn assert_that_all_was_in_play(&self) {
        for how in ["HIT", "MISS", "STALE", "REVALIDATED", "collapsed", "304"] {
            assert!(self.seen.get(how).is_some_and(|count| *count > 50), "too little of {how}: {self}");
        }
        assert!(self.acknowledged > 500 && self.discarded > 50, "{self}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut seen: Vec<_> = self.seen.iter().collect();
        seen.sort();
        write!(f, "{} acknowledged invalidations, {} fills discarded, ", self.acknowledged, self.discarded)?;
        write!(f, "reads: {seen:?}")
    }
}

/// splitmix64 (Steele, Lea, Flood 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self(seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0..n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// Once in `n` times.
    pub(crate) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
