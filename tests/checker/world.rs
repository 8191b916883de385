//! What is true: the version of every item, and the newest whose invalidation was acknowledged, for each view of it.
//!
//! The items of slow views have versions of their own: one is promised when a write is sent, and shown from some beat on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::oneshot;

use crate::verdict::Verdict;
use crate::view::{ITEMS, View};

/// An item of a slow view.
type Page = (View, usize);

pub(crate) struct World {
    versions: Vec<AtomicU64>,
    acknowledged: Vec<Vec<AtomicU64>>,
    /// What each author has softly invalidated himself.
    authored: Mutex<HashMap<(usize, usize), u64>>,
    time: Mutex<Time>,
    reads: u64,
    left: AtomicU64,
    over: AtomicBool,
    violation: Mutex<Option<String>>,
    seen: Mutex<HashMap<String, u64>>,
    changes: AtomicU64,
}

/// What goes by beats.
#[derive(Default)]
struct Time {
    beats: u64,
    /// Who waits, by the beat that he waits for.
    waiting: BTreeMap<u64, Vec<oneshot::Sender<()>>>,
    /// The versions of slow views, as they are shown.
    shown: HashMap<Page, u64>,
    promised: u64,
    /// Those on their way, by the beat from which on they are shown.
    due: BTreeMap<u64, Vec<(Page, u64)>>,
}

impl World {
    pub(crate) fn new(reads: u64) -> Self {
        let ones = || (0..ITEMS).map(|_| AtomicU64::new(1)).collect::<Vec<_>>();
        Self {
            versions: ones(),
            acknowledged: View::ALL.iter().map(|_| ones()).collect(),
            authored: Mutex::default(),
            time: Mutex::default(),
            reads,
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

    /// All of them, as they are now.
    pub(crate) fn versions(&self) -> Vec<u64> {
        (0..ITEMS).map(|item| self.version(item)).collect()
    }

    /// What a view shows of an item now.
    pub(crate) fn shown(&self, view: View, item: usize) -> u64 {
        if !view.is_slow() {
            return self.version(item);
        }
        self.time.lock().unwrap().shown.get(&(view, item)).copied().unwrap_or(1)
    }

    /// A version for a slow view, later than all before.
    pub(crate) fn promise(&self) -> u64 {
        let mut time = self.time.lock().unwrap();
        time.promised += 1;
        time.promised + 1
    }

    /// Shows a promised version after so many beats.
    pub(crate) fn commit_later(&self, view: View, item: usize, version: u64, beats: u64) {
        let mut time = self.time.lock().unwrap();
        let from = time.beats + beats.max(1);
        time.due.entry(from).or_default().push(((view, item), version));
    }

    /// The invalidation of this version was acknowledged, for these views.
    pub(crate) fn acknowledge(&self, views: &[View], item: usize, version: u64) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        for view in views {
            self.acknowledged[*view as usize][item].fetch_max(version, Ordering::SeqCst);
        }
    }

    /// The same for all items, which were of these versions when it was asked for.
    pub(crate) fn acknowledge_all(&self, views: &[View], versions: &[u64]) {
        versions.iter().enumerate().for_each(|(item, version)| self.acknowledge(views, item, *version));
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

    /// What is due by the next beat is shown, and then whoever waits for it goes on.
    pub(crate) fn beat(&self) {
        let mut time = self.time.lock().unwrap();
        time.beats += 1;
        let now = time.beats;
        for (page, version) in time.due.remove(&now).into_iter().flatten() {
            let shown = time.shown.entry(page).or_default();
            *shown = version.max(*shown);
        }
        for waiting in time.waiting.remove(&now).into_iter().flatten() {
            // He may have left.
            let _ = waiting.send(());
        }
    }

    /// A gate that opens after so many beats.
    pub(crate) async fn hold(&self, beats: u64) {
        let (open, opened) = oneshot::channel();
        {
            let mut time = self.time.lock().unwrap();
            let until = time.beats + beats.max(1);
            time.waiting.entry(until).or_default().push(open);
        }
        // It ends with the run.
        let _ = opened.await;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Counts something that a run has to have.
    pub(crate) fn saw(&self, what: &str) {
        *self.seen.lock().unwrap().entry(what.to_owned()).or_default() += 1;
    }

    /// Counts a read that was judged, and what the cache said of it.
    pub(crate) fn judged(&self, how: &str) {
        self.saw(how);
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_err() {
            self.end();
        }
    }

    pub(crate) fn violated(&self, what: String) {
        self.violation.lock().unwrap().get_or_insert(what);
        self.end();
    }

    pub(crate) fn verdict(&self, metrics: &str) -> Verdict {
        Verdict {
            violation: self.violation.lock().unwrap().clone(),
            reads: self.reads - self.left.load(Ordering::Relaxed),
            seen: self.seen.lock().unwrap().clone(),
            acknowledged: self.changes.load(Ordering::Relaxed),
            metrics: metrics.to_owned(),
        }
    }
}
