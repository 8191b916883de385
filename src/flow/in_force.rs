//! Which configuration the walk goes by: another one takes the place of it whole, and what is known of the routes stays.
//!
//! Invariant: a request goes by one configuration from its first byte to its last. What is counted, kept and on its way belongs to
//! all of them; what is fetched under rules that are not in force any more lies under keys that nobody looks up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use crate::access_log::AccessLog;
use crate::flow::cost::Costs;
use crate::flow::demotion::Demotions;
use crate::flow::switch::Switches;
use crate::flow::tagging::SEARCHES;
use crate::flow::{Flow, Lasting, Parts, Settings, Shared};
use crate::flow::{content, refresh};
use crate::invalidate::hooks::Hooks;
use crate::route::table::Route;
use crate::route::target::Rules;
use crate::token::Keyring;
use crate::upstream::Upstream;

/// What another configuration may say otherwise.
pub struct Ruling {
    /// How requests are treated.
    pub settings: Settings,
    /// Routes, hosts, and what counts as a credential.
    pub rules: Rules,
    /// Who tells from outside what is outdated.
    pub hooks: Hooks,
    /// The origin.
    pub upstream: Upstream,
    /// Where requests leave their line.
    pub log: AccessLog,
    /// Who may purge.
    pub keys: Arc<Keyring>,
}

impl Flow {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let shared = Shared::of(parts, Arc::default());
        Self(Arc::new(ArcSwap::from_pointee(shared)))
    }

    /// From now on requests go by `ruling`; those that have begun end by what they began with.
    pub fn put_in_force(&self, ruling: Ruling) {
        let before = self.in_force();
        let Ruling { settings, rules, hooks, upstream, log, keys } = ruling;
        let parts = Parts {
            settings,
            rules,
            hooks,
            upstream,
            log,
            keys,
            store: Arc::clone(&before.store),
            tier: before.tier.clone(),
            invalidator: before.invalidator.clone(),
            metrics: Arc::clone(&before.metrics),
            traces: before.traces.clone(),
            clock: before.clock.clone(),
            drain: before.drain.clone(),
        };
        self.0.store(Arc::new(Shared::of(parts, Arc::clone(&before.lasting))));
        before.is_over.store(true, Ordering::Release);
    }

    /// What holds now.
    pub(in crate::flow) fn in_force(&self) -> Arc<Shared> {
        self.0.load_full()
    }
}

impl Shared {
    fn of(parts: Parts, lasting: Arc<Lasting>) -> Self {
        let routes = parts.rules.table.routes();
        let settling = routes.iter().map(|route| route.settings.settle);
        parts.store.settle_within(settling.max().unwrap_or_default());
        lasting.grow(routes);
        Self { parts: Arc::new(parts), lasting, is_over: AtomicBool::new(false) }
    }

    /// Whether another configuration is in force by now.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

impl Default for Lasting {
    fn default() -> Self {
        Self {
            flights: Arc::default(),
            contents: content::Room::default(),
            searches: Semaphore::new(SEARCHES),
            refreshes: refresh::Room::default(),
            demoted: Demotions::new(),
            switches: Arc::new(Switches::new(0)),
            identities: OnceLock::new(),
            questions: OnceLock::new(),
            costs: Costs::of(0),
        }
    }
}

impl Lasting {
    /// Has a place for each of `routes`.
    fn grow(&self, routes: &[Arc<Route>]) {
        let places = routes.iter().map(|route| route.index + 1).max().unwrap_or_default();
        self.switches.grow(places);
        self.costs.grow(places);
        (self.demoted.count()..places).for_each(|_| _ = self.demoted.push(Default::default()));
    }
}
