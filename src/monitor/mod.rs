//! Whether the cache does what it is there for: windows of what it did, where that is going, and alerts; and what would make
//! it better.
//!
//! ```text
//! metrics ── look, every so often ── Window ──┬─ Ring ── trends ──► GET /v1/monitor
//!                                             └─ Alert of each kind ── Notice ──► log, metric, feed, webhook
//! what is kept ── harvest ──┬─ usage, advice ──► GET /v1/usage
//!                           └─ hits, drawn ── auditor ── audit
//! ```
//! Invariant: no request waits for anything here, and none does more because of it: it goes by what is counted anyway. It looks
//! at everything together; a route is named, and has windows of its own, but no alerts. It refuses to know how anything is
//! cached.

pub mod advice;
pub mod alert;
pub mod audit;
pub mod auditor;
mod drawing;
pub mod feed;
pub mod harvest;
pub mod line;
mod notice;
pub mod series;
pub mod trend;
pub mod usage;
pub mod webhook;
pub mod window;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::monitor::alert::{Alert, Edge, Kind, Measure, Notice};
use crate::monitor::feed::{Change, Feed};
use crate::monitor::line::Targets;
pub use crate::monitor::notice::rfc3339;
use crate::monitor::webhook::{Queue, Webhook};
use crate::monitor::window::{Memory, Ring, Sample, Window};
use crate::upstream::{self, Endpoint};

/// `monitor:` of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a window is (`monitor.every`).
    pub every: Duration,
    /// What is wanted.
    pub targets: Targets,
    /// Which alerts there are (`monitor.alerts`).
    pub alerts: Vec<Kind>,
    /// Who is told of them besides log and metrics.
    pub webhook: Option<Endpoint>,
    /// What is counted of single entries.
    pub harvest: harvest::Settings,
}

/// What it looks at, and by which name it speaks.
pub struct Sources {
    /// What was counted.
    pub metrics: Arc<Metrics>,
    /// When.
    pub clock: Clock,
    /// What memory holds.
    pub memory: Box<dyn Fn() -> Memory + Send + Sync>,
    /// This process among others.
    pub node: String,
}

/// The monitor. Clones are the same.
#[derive(Clone)]
pub struct Monitor(Arc<Shared>);

struct Shared {
    settings: ArcSwap<Settings>,
    sources: Sources,
    state: Mutex<State>,
    feed: Feed,
    queue: Option<Queue>,
}

struct State {
    last: Sample,
    ring: Ring,
    /// In the order of [`Settings::alerts`], with what the newest window that said anything of them said.
    alerts: Vec<(Kind, Alert, Option<Measure>)>,
}

/// What there is to see.
#[derive(Clone, Debug)]
pub struct Report {
    /// The windows, oldest first.
    pub ring: Ring,
    /// Every alert that there may be, since when there is one, and what was last said of it.
    pub alerts: Vec<(Kind, Option<SystemTime>, Option<Measure>)>,
}

impl Monitor {
    /// One whose first window begins now; who posts its alerts has to be run.
    ///
    /// # Errors
    /// The webhook wants TLS, and no root certificates can be loaded.
    pub fn new(settings: Settings, sources: Sources) -> Result<(Self, Option<Webhook>), upstream::Error> {
        let endpoint = settings.webhook.clone();
        let webhook = endpoint.map(|at| Webhook::new(at, Arc::clone(&sources.metrics))).transpose()?;
        let (queue, webhook) = webhook.unzip();
        settings.alerts.iter().for_each(|kind| sources.metrics.alerts().quiet(kind.as_str()));
        let alerts = settings.alerts.iter().map(|kind| (*kind, Alert::default(), None)).collect();
        let state = Mutex::new(State { last: sources.sample(), ring: Ring::default(), alerts });
        Ok((
            Self(Arc::new(Shared {
                settings: ArcSwap::from_pointee(settings),
                sources,
                state,
                feed: Feed::default(),
                queue,
            })),
            webhook,
        ))
    }

    /// Looks every so often, for good.
    pub async fn watch(self) {
        let mut ticks = interval(self.0.settings.load().every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let monitor = self.clone();
            // To count what memory holds may take a while.
            if let Err(why) = tokio::task::spawn_blocking(move || monitor.look()).await {
                tracing::error!("the monitor failed to look: {why}");
            }
        }
    }

    /// Ends a window now, and tells of the alerts that begin or end with it.
    pub fn look(&self) {
        let sample = self.0.sources.sample();
        let (window, notices) = {
            let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(window) = Window::between(&state.last, &sample).map(Arc::new) else { return };
            state.last = sample;
            state.ring.push(Arc::clone(&window));
            let notices = state.judge(&window, &self.0.settings.load().targets);
            (window, notices)
        };
        self.0.feed.tell(Change::Window(window));
        notices.into_iter().for_each(|notice| self.0.tell(notice));
    }

    /// What there is to see now.
    pub fn report(&self) -> Report {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let alerts =
            state.alerts.iter().map(|(kind, alert, measure)| (*kind, alert.since(), measure.clone()));
        Report { alerts: alerts.collect(), ring: state.ring.clone() }
    }

    /// What it goes by.
    pub fn settings(&self) -> Arc<Settings> {
        self.0.settings.load_full()
    }

    /// Judges by these targets and alerts from now on; an alert that there is goes on, if there may still be one.
    pub fn put_in_force(&self, targets: Targets, alerts: Vec<Kind>) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let told = self.0.sources.metrics.alerts();
        let mut before = std::mem::take(&mut state.alerts);
        for kind in &alerts {
            let known = before.iter().position(|(other, ..)| other == kind).map(|at| before.swap_remove(at));
            state.alerts.push(known.unwrap_or_else(|| {
                told.quiet(kind.as_str());
                (*kind, Alert::default(), None)
            }));
        }
        before.iter().for_each(|(kind, ..)| told.quiet(kind.as_str()));
        let settings = Settings { targets, alerts, ..(**self.0.settings.load()).clone() };
        self.0.settings.store(Arc::new(settings));
    }

    /// This process among others.
    pub fn node(&self) -> &str {
        &self.0.sources.node
    }

    /// What memory holds now. That may take a while.
    pub fn memory(&self) -> Memory {
        (self.0.sources.memory)()
    }

    /// Whatever changes from now on.
    pub fn feed(&self) -> &Feed {
        &self.0.feed
    }
}

impl State {
    fn judge(&mut self, window: &Window, targets: &Targets) -> Vec<Notice> {
        let look = |(kind, alert, said): &mut (Kind, Alert, Option<Measure>)| {
            let measure = line::measure(*kind, window, targets);
            let notice = alert.look(*kind, measure.as_ref(), window.at);
            *said = measure.or(said.take());
            notice
        };
        self.alerts.iter_mut().filter_map(look).collect()
    }
}

impl Shared {
    fn tell(&self, notice: Notice) {
        let (kind, text) = (notice.kind.as_str(), notice.text());
        let Measure { value, target, .. } = notice.measure;
        match notice.edge {
            Edge::Began => tracing::warn!(alert = kind, value, target, "{text}"),
            Edge::Ended => tracing::info!(alert = kind, value, target, "{text}"),
        }
        let alerts = self.sources.metrics.alerts();
        match notice.edge {
            Edge::Began => alerts.began(kind),
            Edge::Ended => alerts.quiet(kind),
        }
        if let Some(queue) = &self.queue {
            queue.push(notice.json(&self.sources.node), &self.sources.metrics);
        }
        self.feed.tell(Change::Alert(notice));
    }
}

impl Sources {
    fn sample(&self) -> Sample {
        Sample { at: self.clock.now(), reading: self.metrics.read(), memory: (self.memory)() }
    }
}
