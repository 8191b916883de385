//! Builds the parts, joins them, and owns the order in which they start and stop.
//!
//! ```text
//! start   metrics, log → store, upstream, rules → flow → doors bound → warming → serving
//! stop    /readyz 503, still accepting (delay) → no new connections, open ones end (timeout) → the rest is cut → log flushed
//! ```

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::access_log::{AccessLog, Flush, Format};
use crate::clock::Clock;
use crate::config::Config;
use crate::drain::{Drain, Phase};
use crate::flow::{Flow, Parts};
use crate::invalidate::Invalidator;
use crate::metrics::Metrics;
use crate::ready::{Readiness, State};
use crate::route::host::{BadHost, Hosts, Scheme};
use crate::route::identity::{Identity, random_secret};
use crate::route::table::{Conflict, Table};
use crate::route::target::Rules;
use crate::server::Server;
use crate::store::Store;
use crate::upstream::Upstream;
use crate::{admin, server, upstream, warm};

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
        matches!(self, Self::Routes(_) | Self::Hosts(_) | Self::Server(server::Error::Tls(_)))
    }
}

/// A running proxy. Dropped, its tasks end with the runtime.
pub struct Running {
    address: SocketAddr,
    admin: Option<SocketAddr>,
    invalidator: Invalidator,
    readiness: Readiness,
    drain: Drain,
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
    let labels: Vec<&str> = config.routes.iter().map(|route| route.template.as_str()).collect();
    let metrics = Arc::new(Metrics::new(&labels));
    metrics.set_config(&format!("{:016x}", config.digest));
    metrics.set_disabled(!config.flow.enabled);
    let (log, flush) =
        AccessLog::start(config.log.access, Format::for_stdout(), io::stdout(), metrics.log_lines_dropped());
    let server = Server::bind(&config.server, Arc::clone(&metrics))?;
    let address =
        server.address().map_err(|why| server::Error::Listen { address: config.server.listen, why })?;
    let doors = Doors::open(&config.admin).await?;
    let scheme = if config.flow.tls { Scheme::Https } else { Scheme::Http };
    let rules = Rules {
        table: Table::build(config.routes, config.unmatched)?,
        hosts: Hosts::new(&config.hosts, scheme, address.port())?,
        identity: Identity::new(&config.identity, &random_secret()),
        writes: config.writes,
    };
    let drain = Drain::default();
    let store = Arc::new(Store::new(&config.store, Arc::clone(&metrics)));
    let invalidator =
        Invalidator::new(config.invalidate, Arc::clone(&store), clock.clone(), Arc::clone(&metrics));
    let flow = Flow::new(Parts {
        settings: config.flow,
        rules,
        store,
        invalidator: invalidator.clone(),
        upstream: Upstream::new(config.upstream)?,
        metrics: Arc::clone(&metrics),
        log,
        clock,
        drain: drain.watch(),
    });
    let sized = flow.clone();
    metrics.watch_cache(move || sized.size());

    let readiness = Readiness::warming();
    let admin = doors.admin();
    let mut background = doors.serve(&config.admin, &readiness, &metrics);
    background.push(tokio::spawn(warn_of_absent_origin(flow.clone())));
    background.push(tokio::spawn(warm_up(config.warm, flow.clone(), readiness.clone(), metrics)));
    let serving = tokio::spawn(server.serve(flow, drain.watch()));
    let patience = config.server.shutdown_timeout;
    Ok(Running {
        address,
        admin,
        invalidator,
        readiness,
        drain,
        serving,
        background,
        patience,
        _flush: flush,
    })
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

    /// Through whom everything is outdated here.
    pub fn invalidator(&self) -> &Invalidator {
        &self.invalidator
    }

    /// Waits until the start-up list is warm, or has had its time.
    pub async fn ready(&self) {
        self.readiness.reached(State::Ready).await;
    }

    /// Stops: for `delay` connections are still accepted while `/readyz` says 503, then open ones end, at last they are
    /// cut. `hurry` cuts all waiting short.
    pub async fn stop(mut self, delay: Duration, hurry: impl Future<Output = ()>) {
        self.readiness.reach(State::Draining);
        let gently = async {
            tokio::time::sleep(delay).await;
            self.drain.enter(Phase::Draining);
            let ended = tokio::time::timeout(self.patience, &mut self.serving).await;
            if ended.is_err() {
                tracing::warn!(timeout = ?self.patience, "shutdown.timeout has passed: what is still open is cut");
            }
        };
        tokio::select! {
            () = gently => {}
            () = hurry => {}
        }
        self.drain.enter(Phase::Stopped);
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

    fn serve(
        self,
        settings: &admin::Settings,
        readiness: &Readiness,
        metrics: &Arc<Metrics>,
    ) -> Vec<JoinHandle<()>> {
        let sources = admin::Sources { readiness: readiness.clone(), metrics: Arc::clone(metrics) };
        let api = self.admin.map(|(listener, address)| {
            (listener, admin::router(address, settings.token.as_deref(), sources.clone()))
        });
        let probes = self.probes.map(|(listener, _)| (listener, admin::probes_router(sources.clone())));
        let both = api.into_iter().chain(probes);
        both.map(|(listener, router)| {
            tokio::spawn(async move {
                // It answers until the process ends: probes are asked to the last.
                if let Err(why) = admin::serve(listener, router, std::future::pending()).await {
                    tracing::error!(%why, "the admin listener ended");
                }
            })
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

async fn warm_up(settings: warm::Settings, flow: Flow, readiness: Readiness, metrics: Arc<Metrics>) {
    let fetch = |request| {
        let flow = flow.clone();
        async move { flow.warm(request).await }
    };
    warm::run(&settings, fetch, &readiness, &metrics).await;
}
