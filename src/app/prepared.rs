//! Everything built and joined, with its doors bound, and nobody let in yet.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use crate::access_log::{AccessLog, Flush, Format};
use crate::admin;
use crate::admin::figures::Watching;
use crate::admin::in_force::{Asked, InForce};
use crate::app::doors::Doors;
use crate::app::reload::{Basis, Reloader, State};
use crate::app::running::Running;
use crate::app::{Error, comparing, joining, reload, upkeep, warming, watching};
use crate::clock::Clock;
use crate::config::Config;
use crate::drain::{Drain, Watch};
use crate::fleet::Fleet;
use crate::flow::{Flow, Parts};
use crate::invalidate::Invalidator;
use crate::invalidate::hooks::Hooks;
use crate::invalidate::subscription::Subscription;
use crate::metrics::Metrics;
use crate::ready::Readiness;
use crate::server::{self, Server};
use crate::sockets::Sockets;
use crate::store::Store;
use crate::tier::Tier;
use crate::traces::{Exporting, Traces};
use crate::upstream::Upstream;

/// A proxy that waits for its turn.
pub struct Prepared {
    server: Server,
    doors: Doors,
    reloader: Reloader,
    in_force: InForce,
    reloads: mpsc::Receiver<Asked>,
    drain: Drain,
    subscription: Option<Subscription>,
    fleet: Option<Fleet>,
    background: Vec<JoinHandle<()>>,
    flush: Flush,
    exporting: Exporting,
}

impl Prepared {
    /// Builds all of it, and becomes one of the fleet if there is one.
    ///
    /// # Errors
    /// [`Error`] says what is in the way.
    pub async fn new(config: Config, clock: Clock, sockets: Sockets) -> Result<Self, Error> {
        let metrics = metrics_of(&config);
        let (log, flush) = AccessLog::start(
            config.log.access,
            Format::for_stdout(),
            io::stdout(),
            metrics.log_lines_dropped(),
        );
        let (traces, exporting) =
            Traces::start(config.traces.clone(), &clock, &metrics).map_err(Error::Traces)?;
        let server = Server::bind(&config.server, sockets.clients, Arc::clone(&metrics))?;
        let address =
            server.address().map_err(|why| server::Error::Listen { address: config.server.listen, why })?;
        let doors = Doors::open(&config.admin, (sockets.admin, sockets.probes)).await?;
        let drain = Drain::default();
        let loaded = reload::loaded(&config, Vec::new(), &clock);
        let digest = loaded.digest.clone();
        metrics.config().in_force(&digest, loaded.at);
        let (in_force, reloads) = InForce::new(loaded);
        let place = config.fleet.as_ref().map(joining::place_of).transpose()?;
        let (standing, tier) = joining::shared_tier(&config, place.as_ref(), &clock, &metrics);
        let basis = Arc::new(Basis::of(&config, address.port()));
        let flow = walk(&config, &basis, tier, (&metrics, (log, traces), clock.clone(), drain.watch()))?;
        let (monitor, harvest, mut background) = watching::watch(&config, &flow, address.port())?;
        let joined = config.fleet.clone().zip(place.clone());
        let of_fleet = joined.as_ref().map(|(settings, place)| (settings, place));
        let (warmer, renewing) = warming::warmer(config.warm.clone(), &flow, of_fleet);
        let events = of_fleet.map(|(settings, place)| joining::events(&flow, settings, place)).transpose()?;
        let fleet =
            joined.map(|(settings, place)| joining::join(&flow, settings, (place, standing), &digest));
        let invalidator = &flow.parts().invalidator;
        let (subscription, listener) = Subscription::start(invalidator, place.as_ref())?.unzip();
        background.extend(listener);
        background.extend(place.map(|place| tokio::spawn(place.watch())));
        if let Some(fleet) = &fleet {
            background.push(joining::enter(fleet, &flow).await);
        }
        background.extend(events.map(|events| tokio::spawn(events.read_on())));
        let reloader = Reloader {
            basis,
            crowded: crowded(&flow),
            certificate: server.certificate(),
            state: Mutex::new(State { started: config.clone(), renewing }),
            config: Arc::new(ArcSwap::from_pointee(config)),
            flow,
            warmer,
            monitor,
            harvest,
        };
        Ok(Self {
            server,
            doors,
            reloader,
            in_force,
            reloads,
            drain,
            subscription,
            fleet,
            background,
            flush,
            exporting,
        })
    }

    /// The walk, for which nobody has come yet.
    pub fn flow(&self) -> &Flow {
        &self.reloader.flow
    }

    /// Whether it is one of a fleet, whose nodes hear of one another's writes.
    pub fn is_in_fleet(&self) -> bool {
        self.fleet.is_some()
    }

    /// Lets everybody in; when this returns, connections are accepted.
    pub async fn serve(self) -> Running {
        let Self { server, doors, reloader, mut background, drain, subscription, .. } = self;
        let (flow, config, readiness) = (reloader.flow.clone(), reloader.config(), Readiness::warming());
        let address = server.address().unwrap_or(config.server.listen);
        let admin = doors.admin();
        let [of_admin, of_probes] = doors.listeners();
        let listeners = [Some(server.listener()), of_admin, of_probes];
        background.extend(doors.serve(admin::Sources {
            readiness: readiness.clone(),
            metrics: Arc::clone(&flow.parts().metrics),
            flow: flow.clone(),
            monitor: reloader.monitor.clone(),
            config: self.in_force.clone(),
            watching: Watching::new(&flow.parts().clock),
            channels: subscription.clone(),
            harvest: reloader.harvest.clone(),
            cache_path: config.admin.cache_path.clone(),
            warmer: reloader.warmer.clone(),
            compare: comparing::compare(
                Arc::clone(&reloader.config),
                flow.clone(),
                Arc::clone(&reloader.basis),
                reloader.harvest.clone(),
            ),
        }));
        if let Some(subscription) = &subscription {
            subscription.storing_begins().await;
        }
        background.extend(upkeep::begin(&flow, config.monitor.targets.marks));
        background.push(tokio::spawn(warn_of_absent_origin(flow.clone())));
        background.push(tokio::spawn(reloader.warmer.clone().live(readiness.clone())));
        let serving = tokio::spawn(server.serve(flow.clone(), drain.watch()));
        Running {
            address,
            admin,
            monitor: reloader.monitor.clone(),
            reloader,
            in_force: self.in_force,
            listeners,
            reloads: Some(self.reloads),
            readiness,
            drain,
            subscription,
            fleet: self.fleet,
            flow,
            serving,
            background,
            exporting: self.exporting,
            _flush: self.flush,
        }
    }
}

/// Whoever is approached step by step after everything was dropped.
fn crowded(flow: &Flow) -> Arc<ArcSwap<Upstream>> {
    let crowded = Arc::new(ArcSwap::from_pointee(flow.parts().upstream.clone()));
    let approached = Arc::clone(&crowded);
    flow.parts().invalidator.before_all(move || approached.load().ramp());
    crowded
}

pub(super) fn metrics_of(config: &Config) -> Arc<Metrics> {
    let labels: Vec<&str> = config.routes.iter().map(|route| route.template.as_str()).collect();
    Arc::new(Metrics::new(&labels))
}

/// The walk over an empty store.
pub(super) fn walk(
    config: &Config,
    basis: &Basis,
    tier: Option<Tier>,
    (metrics, (log, traces), clock, drain): (&Arc<Metrics>, (AccessLog, Traces), Clock, Watch),
) -> Result<Flow, Error> {
    let (rules, invalidation) = basis.rules(config, |template| metrics.number(template))?;
    let store = Arc::new(Store::new(&config.store, Arc::clone(metrics)));
    let invalidator = Invalidator::new(invalidation, Arc::clone(&store), clock.clone(), Arc::clone(metrics));
    Ok(Flow::new(Parts {
        settings: config.flow.clone(),
        rules,
        store,
        tier,
        hooks: Hooks::new(invalidator.clone()),
        invalidator,
        upstream: Upstream::new(config.upstream.clone())?,
        metrics: Arc::clone(metrics),
        log,
        traces,
        clock,
        drain,
        keys: Arc::new(config.admin.keyring()),
    }))
}

async fn warn_of_absent_origin(flow: Flow) {
    if let Err(why) = flow.probe().await {
        tracing::warn!("the upstream is not there yet: {why}");
    }
}
