//! Builds the parts, joins them, and owns the order in which they start and stop.
//!
//! ```text
//! start   metrics, log → store, upstream, rules → flow → doors bound → channels heard → warming → serving
//! stop    /readyz 503, nothing from the cache, still accepting (delay) → no new connections, open ones end (timeout) → the rest is cut → log flushed
//! ```

mod comparing;
mod joining;
mod upkeep;
mod warming;
mod watching;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::access_log::{AccessLog, Flush, Format};
use crate::admin::figures::Watching;
use crate::admin::in_force::InForce;
use crate::clock::Clock;
use crate::config::Config;
use crate::drain::{Drain, Phase, Watch};
use crate::fleet::Fleet;
use crate::flow::{Flow, Parts};
use crate::invalidate::Invalidator;
use crate::invalidate::hooks::Hooks;
use crate::invalidate::subscription::{self, Subscription};
use crate::metrics::Metrics;
use crate::monitor::Monitor;
use crate::ready::{Readiness, State};
use crate::redis;
use crate::route::host::{BadHost, Hosts, Scheme};
use crate::route::identity::{Identity, random_secret};
use crate::route::table::{Conflict, Table};
use crate::route::target::Rules;
use crate::server::Server;
use crate::store::Store;
use crate::tier::Tier;
use crate::upstream::Upstream;
use crate::{admin, server, upstream};

/// Why the proxy does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two routes cannot be told apart.
    #[error(transparent)]
    Routes(#[from] Conflict),
    /// A name of `hosts` is none.
    #[error(transparent)]
    Hosts(#[from] BadHost),
    /// The front door does not open.
    #[error(transparent)]
    Server(#[from] server::Error),
    /// The way to the origin cannot be prepared.
    #[error(transparent)]
    Upstream(#[from] upstream::Error),
    /// The way to `monitor.webhook` cannot be prepared.
    #[error("`monitor.webhook`: {0}")]
    Webhook(upstream::Error),
    /// The channels can never be heard.
    #[error(transparent)]
    Subscription(#[from] subscription::Unusable),
    /// The way to the fleet's Redis cannot be prepared.
    #[error("`redis.url`: {0}")]
    Redis(#[from] redis::Error),
    /// The admin listener does not open.
    #[error("cannot listen on {address} for `{what}`: {why}")]
    Admin {
        /// `admin.listen` or `admin.probes`.
        what: &'static str,
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        why: io::Error,
    },
}

impl Error {
    /// Whether another configuration would help, rather than another state of the machine.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Routes(_) | Self::Hosts(_) | Self::Server(server::Error::Tls(_)) => true,
            Self::Server(_)
            | Self::Upstream(_)
            | Self::Webhook(_)
            | Self::Subscription(_)
            | Self::Redis(_)
            | Self::Admin { .. } => false,
        }
    }
}

/// A running proxy. Dropped, its tasks end with the runtime.
pub struct Running {
    address: SocketAddr,
    admin: Option<SocketAddr>,
    flow: Flow,
    monitor: Monitor,
    readiness: Readiness,
    drain: Drain,
    subscription: Option<Subscription>,
    fleet: Option<Fleet>,
    serving: JoinHandle<()>,
    background: Vec<JoinHandle<()>>,
    patience: Duration,
    _flush: Flush,
}

/// Starts everything; when this returns, connections are accepted.
///
/// # Errors
/// [`Error`] says what is in the way.
pub async fn start(config: Config, clock: Clock) -> Result<Running, Error> {
    let metrics = metrics_of(&config);
    let (log, flush) =
        AccessLog::start(config.log.access, Format::for_stdout(), io::stdout(), metrics.log_lines_dropped());
    let server = Server::bind(&config.server, Arc::clone(&metrics))?;
    let address =
        server.address().map_err(|why| server::Error::Listen { address: config.server.listen, why })?;
    let doors = Doors::open(&config.admin).await?;
    let (drain, in_force) = (Drain::default(), Arc::new(ArcSwap::from_pointee(config.clone())));
    let digest = format!("{:016x}", config.digest);
    metrics.set_config(&digest);
    let place = config.fleet.as_ref().map(joining::place_of).transpose()?;
    let (standing, tier) = joining::shared_tier(&config, place.as_ref(), &clock, &metrics);
    let flow = walk(&config, address.port(), tier, (&metrics, log, clock, drain.watch()))?;
    let (monitor, harvest, watching) = watching::watch(&config, &flow, address.port())?;
    let compare = comparing::compare(in_force, flow.clone(), address.port(), harvest.clone());
    let (invalidator, crowded) = (&flow.parts().invalidator, flow.parts().upstream.clone());
    invalidator.before_all(move || crowded.ramp());
    let (warmer, renewing) = warming::warmer(config.warm, &flow, config.fleet.as_ref().zip(place.as_ref()));
    let joined = config.fleet.zip(place.clone());
    let events =
        joined.as_ref().map(|(settings, place)| joining::events(&flow, settings, place)).transpose()?;
    let fleet = joined.map(|(settings, place)| joining::join(&flow, settings, (place, standing), &digest));
    let (subscription, listener) = Subscription::start(invalidator, place.as_ref())?.unzip();

    let readiness = Readiness::warming();
    let admin = doors.admin();
    let mut background = doors.serve(admin::Sources {
        readiness: readiness.clone(),
        metrics: Arc::clone(&metrics),
        flow: flow.clone(),
        monitor: monitor.clone(),
        config: InForce::new(digest, flow.parts().clock.clone()),
        watching: Watching::new(&flow.parts().clock),
        channels: subscription.clone(),
        harvest,
        cache_path: config.admin.cache_path.clone(),
        warmer: warmer.clone(),
        compare,
    });
    background.extend(listener.into_iter().chain(watching));
    background.extend(place.map(|place| tokio::spawn(place.watch())));
    if let Some(fleet) = &fleet {
        background.push(joining::enter(fleet, &flow).await);
    }
    background.extend(events.map(|events| tokio::spawn(events.read_on())));
    if let Some(subscription) = &subscription {
        subscription.storing_begins().await;
    }
    background.extend(upkeep::begin(&flow, config.monitor.targets.marks));
    background.push(tokio::spawn(warn_of_absent_origin(flow.clone())));
    background.push(tokio::spawn(warmer.live(readiness.clone())));
    background.extend(renewing);
    let serving = tokio::spawn(server.serve(flow.clone(), drain.watch()));
    let patience = config.server.shutdown_timeout;
    Ok(Running {
        address,
        admin,
        readiness,
        drain,
        subscription,
        fleet,
        flow,
        monitor,
        serving,
        background,
        patience,
        _flush: flush,
    })
}

/// The walk over an empty store, with no door open and nothing started: for what can be said of requests by a
/// configuration alone.
///
/// # Errors
/// As [`start`], but for doors.
pub fn at_rest(config: &Config, clock: Clock) -> Result<Flow, Error> {
    let (metrics, drain) = (metrics_of(config), Drain::default());
    walk(config, config.server.listen.port(), None, (&metrics, AccessLog::off(), clock, drain.watch()))
}

fn metrics_of(config: &Config) -> Arc<Metrics> {
    let labels: Vec<&str> = config.routes.iter().map(|route| route.template.as_str()).collect();
    Arc::new(Metrics::new(&labels))
}

/// The walk over an empty store, for clients who come to `port`.
fn walk(
    config: &Config,
    port: u16,
    tier: Option<Tier>,
    (metrics, log, clock, drain): (&Arc<Metrics>, AccessLog, Clock, Watch),
) -> Result<Flow, Error> {
    let config = config.clone();
    let scheme = if config.flow.tls { Scheme::Https } else { Scheme::Http };
    let rules = Rules {
        table: Table::build(config.routes, config.unmatched)?,
        hosts: Hosts::new(&config.hosts, scheme, port)?,
        identity: Identity::new(&config.identity, &random_secret()),
        writes: config.writes,
    };
    let store = Arc::new(Store::new(&config.store, Arc::clone(metrics)));
    let mut invalidation = config.invalidate;
    invalidation.events.hosts = Some(rules.hosts.clone());
    invalidation.writes = rules.writes.clone();
    let invalidator = Invalidator::new(invalidation, Arc::clone(&store), clock.clone(), Arc::clone(metrics));
    Ok(Flow::new(Parts {
        settings: config.flow,
        rules,
        store,
        tier,
        hooks: Hooks::new(invalidator.clone()),
        invalidator,
        upstream: Upstream::new(config.upstream)?,
        metrics: Arc::clone(metrics),
        log,
        clock,
        drain,
        keys: Arc::new(config.admin.keyring()),
    }))
}

impl Running {
    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the admin listener is, if there is one.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// What becomes of a request.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// What watches over it.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// What outdates what this proxy keeps.
    pub fn invalidator(&self) -> Invalidator {
        self.flow.parts().invalidator.clone()
    }

    /// How it stands with the channels of `redis.subscribe`, if there are any.
    pub fn subscription(&self) -> Option<subscription::Status> {
        self.subscription.as_ref().map(Subscription::status)
    }

    /// Waits until the start-up list is warm, or has had its time.
    pub async fn ready(&self) {
        self.readiness.reached(State::Ready).await;
    }

    /// Stops: for `delay` connections are still accepted while `/readyz` says 503, then open ones end, at last they are
    /// cut. `hurry` cuts all waiting short.
    pub async fn stop(mut self, delay: Duration, hurry: impl Future<Output = ()>) {
        self.readiness.reach(State::Draining);
        // Traffic goes elsewhere from now on, and with it the writes.
        self.flow.drain();
        // Whoever waits for a batch keeps his connection open.
        let invalidator = self.invalidator();
        invalidator.hurry();
        let gently = async {
            tokio::time::sleep(delay).await;
            self.drain.enter(Phase::Draining);
            let until = Instant::now() + self.patience;
            let ended = timeout_at(until, &mut self.serving).await;
            if ended.is_err() {
                tracing::warn!(timeout = ?self.patience, "shutdown.timeout has passed: what is still open is cut");
            }
            if invalidator.untold() > 0 {
                tracing::info!("waiting until the fleet has been told of all invalidations");
                let _ = timeout_at(until, invalidator.all_told()).await;
            }
        };
        tokio::select! {
            () = gently => {}
            () = hurry => {}
        }
        self.drain.enter(Phase::Stopped);
        let untold = invalidator.untold();
        if untold > 0 {
            tracing::warn!(
                untold,
                "the other nodes never hear of these invalidations: they were not confirmed to anybody"
            );
        }
        // Not before: writes were forwarded until now, and each of them hangs on this node's lease.
        if let Some(fleet) = &self.fleet {
            fleet.leave().await;
        }
        for task in &self.background {
            task.abort();
        }
    }
}

/// The admin listeners, bound.
struct Doors {
    admin: Option<(TcpListener, SocketAddr)>,
    probes: Option<(TcpListener, SocketAddr)>,
}

impl Doors {
    async fn open(settings: &admin::Settings) -> Result<Self, Error> {
        let admin = open("admin.listen", settings.listen).await?;
        Ok(Self { admin, probes: open("admin.probes", settings.probes).await? })
    }

    fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(_, address)| *address)
    }

    fn serve(self, sources: admin::Sources) -> Vec<JoinHandle<()>> {
        let api = self.admin.map(|(listener, address)| (listener, admin::router(address, sources.clone())));
        let probes = self.probes.map(|(listener, _)| (listener, admin::probes_router(sources)));
        let both = api.into_iter().chain(probes);
        both.map(|(listener, router)| {
            // It answers until the process ends: probes are asked to the last.
            tokio::spawn(server::aside::serve(listener, move |request, peer| {
                admin::answer(router.clone(), request, peer)
            }))
        })
        .collect()
    }
}

async fn open(
    what: &'static str,
    address: Option<SocketAddr>,
) -> Result<Option<(TcpListener, SocketAddr)>, Error> {
    let Some(address) = address else { return Ok(None) };
    let bind = async {
        let listener = TcpListener::bind(address).await?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    bind.await.map(Some).map_err(|why| Error::Admin { what, address, why })
}

async fn warn_of_absent_origin(flow: Flow) {
    if let Err(why) = flow.probe().await {
        tracing::warn!("the upstream is not there yet: {why}");
    }
}
