//! How another configuration comes into force while requests are answered.
//!
//! ```text
//! built, all of it or nothing ─► how to outdate ─► what has other rules is dropped ─► the walk ─► dropped once more ─► the rest
//! ```
//! Invariant: on any error all stays as it was. What is kept of a route stays kept if its rules do. What was fetched under rules
//! that come back, after others were in force, is never served: what happened meanwhile was not told by them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::admin::in_force::{Loaded, Reloaded};
use crate::app::Error;
use crate::clock::Clock;
use crate::config::reload::Change;
use crate::config::{Config, reload};
use crate::fleet::about;
use crate::flow::Flow;
use crate::flow::in_force::Ruling;
use crate::invalidate::{Invalidation, Settings as InvalidationSettings, Source};
use crate::monitor::Monitor;
use crate::monitor::harvest::Harvest;
use crate::route::host::{Hosts, Scheme};
use crate::route::identity::{self, Identity, random_secret};
use crate::route::reach::Reach;
use crate::route::table::Table;
use crate::route::tag::Tag;
use crate::route::target::Rules;
use crate::server::tls::Certificate;
use crate::upstream::{self, Upstream};
use crate::warm::task::{LEARNT, Task};
use crate::warm::{self, Warmer, renewal};

/// What every configuration of this process has in common.
pub(super) struct Basis {
    /// Where clients connect.
    pub(super) port: u16,
    /// Whether they speak TLS.
    pub(super) tls: bool,
    /// What keys the digests of credentials, for as long as what is kept under them.
    secret: Vec<u8>,
}

/// Who brings other configurations into force.
pub(super) struct Reloader {
    pub(super) basis: Arc<Basis>,
    pub(super) flow: Flow,
    pub(super) warmer: Warmer,
    pub(super) monitor: Monitor,
    pub(super) harvest: Harvest,
    pub(super) certificate: Option<Certificate>,
    /// Who is approached step by step after everything was dropped.
    pub(super) crowded: Arc<ArcSwap<Upstream>>,
    /// What is in force.
    pub(super) config: Arc<ArcSwap<Config>>,
    /// Held by who brings another one.
    pub(super) state: Mutex<State>,
}

/// What was in force when the process began, and what goes on only as long as another one does not.
pub(super) struct State {
    pub(super) started: Config,
    /// Who renews what is about to expire.
    pub(super) renewing: Option<JoinHandle<()>>,
}

impl Basis {
    /// For a process that starts with `config`.
    pub(super) fn of(config: &Config, port: u16) -> Self {
        let secret = config.identity.secret.clone().unwrap_or_else(|| random_secret().to_vec());
        Self { port, tls: config.flow.tls, secret }
    }

    /// The rules of `config`, and how what they tell is outdated; each route is counted under its template's `number`.
    ///
    /// # Errors
    /// As [`crate::app::start`].
    pub(super) fn rules(
        &self,
        config: &Config,
        number: impl FnMut(&str) -> usize,
    ) -> Result<(Rules, InvalidationSettings), Error> {
        let scheme = if self.tls { Scheme::Https } else { Scheme::Http };
        let identity = identity::Settings { secret: Some(self.secret.clone()), ..config.identity.clone() };
        let rules = Rules {
            table: Table::numbered(config.routes.clone(), config.unmatched.clone(), number)?,
            hosts: Hosts::new(&config.hosts, scheme, self.port)?,
            identity: Identity::new(&identity, &self.secret),
            writes: config.writes.clone(),
        };
        let mut invalidation = config.invalidate.clone();
        invalidation.events.hosts = Some(rules.hosts.clone());
        invalidation.writes = rules.writes.clone();
        Ok((rules, invalidation))
    }
}

impl Reloader {
    /// Brings `config` into force, but for what only a restart can change.
    ///
    /// # Errors
    /// As [`crate::app::start`]; then nothing has changed.
    pub(super) async fn put_in_force(
        &self,
        config: Config,
        clock: &Clock,
    ) -> Result<(Reloaded, Loaded), Error> {
        let mut state = self.state.lock().await;
        let (before, parts) = (self.config.load_full(), self.flow.parts());
        let (rules, invalidation) = self.basis.rules(&config, |template| parts.metrics.number(template))?;
        let upstream = match is_same(&before.upstream, &config.upstream) {
            true => parts.upstream.clone(),
            false => Upstream::new(config.upstream.clone())?,
        };
        let tls = config.server.tls.as_ref().filter(|_| self.certificate.is_some());
        let certificate = tls.map(Certificate::read).transpose().map_err(crate::server::Error::Tls)?;

        let others = outdated(&before, &config, (&parts.rules, &rules));
        let changes = reload::changes(&before, &config);
        let changed = in_short(&changes, (&before, &config));
        self.crowded.store(Arc::new(upstream.clone()));
        parts.invalidator.put_in_force(invalidation);
        let mut dropped = self.drop_all(&others).await;
        self.flow.put_in_force(Ruling {
            settings: crate::flow::Settings { tls: self.basis.tls, ..config.flow.clone() },
            rules,
            hooks: parts.hooks.renewed(),
            upstream,
            log: parts.log.of(config.log.access),
            keys: Arc::new(config.admin.keyring()),
        });
        dropped += self.drop_all(&others).await;
        self.harvest.know_routes();
        self.monitor.put_in_force(config.monitor.targets, config.monitor.alerts.clone());
        if changes.iter().any(|change| change.path.starts_with("warm")) {
            self.warmer.put_in_force(warmed(&state.started, &config)).await;
            state.renew_by(&config, &self.flow);
        }
        if let (Some(in_use), Some(read)) = (&self.certificate, certificate) {
            in_use.replace_by(read);
        }
        let from_start = reload::changes(&state.started, &config);
        let needs_restart: Vec<String> =
            reload::needs_restart(&from_start).into_iter().map(str::to_owned).collect();
        let loaded = Loaded { changed: changed.clone(), ..loaded(&config, needs_restart.clone(), clock) };
        parts.metrics.config().in_force(&loaded.digest, loaded.at);
        self.config.store(Arc::new(config));
        if let Some(fleet) = parts.invalidator.fleet() {
            fleet.is_now(about::of(&loaded.digest));
        }
        let digest = loaded.digest.clone();
        Ok((Reloaded { digest, changed, needs_restart, dropped }, loaded))
    }

    /// What is in force.
    pub(super) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    async fn drop_all(&self, reach: &Reach) -> u64 {
        if reach.items.is_empty() {
            return 0;
        }
        let (reach, source, actor) = (reach.clone(), Source::Reload, "reload".to_owned());
        let invalidation =
            Invalidation { reach, source, actor, without_derived: true, ..Invalidation::default() };
        self.flow.parts().invalidator.apply(invalidation).await.entries.total
    }
}

impl State {
    fn renew_by(&mut self, config: &Config, flow: &Flow) {
        if let Some(renewing) = self.renewing.take() {
            renewing.abort();
        }
        self.renewing = config.warm.ahead.map(|budget| tokio::spawn(renewal::renew(budget, flow.clone())));
    }
}

/// What is kept and may be of other rules: of the routes that are gone, have come, or say something else; everything, if it is known
/// under other names, or comes from elsewhere.
pub(super) fn outdated(before: &Config, config: &Config, (old, new): (&Rules, &Rules)) -> Reach {
    let stays = |origin| config.upstream.origins.contains(origin);
    if before.hosts != config.hosts || !before.upstream.origins.iter().any(stays) {
        return Reach::all();
    }
    let digests = |rules: &Rules| {
        let routes = rules.table.routes().iter();
        routes.map(|route| (route.settings.template.clone(), route.settings.digest)).collect::<Vec<_>>()
    };
    let (old, new) = (digests(old), digests(new));
    let differ = |these: &[(String, u64)], those: &[(String, u64)]| {
        let those: std::collections::HashMap<&str, u64> =
            those.iter().map(|(template, digest)| (template.as_str(), *digest)).collect();
        let differs = |(template, digest): &&(String, u64)| those.get(template.as_str()) != Some(digest);
        these.iter().filter(differs).map(|(template, _)| Tag::route(template)).collect::<Vec<_>>()
    };
    let mut tags = differ(&old, &new);
    tags.extend(differ(&new, &old));
    Reach::of(tags)
}

/// The keys of `changes`; a route that comes or goes is one.
fn in_short(changes: &[Change], (old, new): (&Config, &Config)) -> Vec<String> {
    let has = |config: &Config, template: &str| config.routes.iter().any(|route| route.template == template);
    let mut keys: Vec<String> = Vec::new();
    for change in changes {
        let whole = change.of_route().filter(|(template, _)| has(old, template) != has(new, template));
        let key = whole.map_or_else(|| change.path.clone(), |(template, _)| format!("routes.{template}"));
        if keys.last() != Some(&key) {
            keys.push(key);
        }
    }
    keys
}

/// What is told of a configuration that comes into force now.
pub(super) fn loaded(config: &Config, needs_restart: Vec<String>, clock: &Clock) -> Loaded {
    Loaded {
        digest: format!("{:016x}", config.digest),
        file: config.file.clone(),
        at: clock.now().wall,
        changed: Vec::new(),
        needs_restart,
        values: config.json(),
    }
}

/// How is warmed from now on: who is remembered, and what is learnt of them, is as it was at the start.
fn warmed(started: &Config, config: &Config) -> warm::Settings {
    let (new, old) = (config.warm.clone(), started.warm.clone());
    let learns = |task: &Arc<Task>| task.id == LEARNT;
    let listed = new.tasks.into_iter().filter(|task| !learns(task));
    warm::Settings {
        tasks: listed.chain(old.tasks.into_iter().filter(learns)).collect(),
        background: old.background,
        concurrency: old.concurrency,
        users: old.users,
        learn: old.learn,
        ..new
    }
}

/// Whether the origin is reached in the same way.
fn is_same(one: &upstream::Settings, other: &upstream::Settings) -> bool {
    format!("{one:?}") == format!("{other:?}")
}
