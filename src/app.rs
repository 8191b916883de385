//! Builds the parts, joins them, and owns the order in which they start and stop.
//!
//! ```text
//! start   metrics, log → store, upstream, rules → flow → doors bound → channels heard → warming → serving
//! stop    /readyz 503, nothing from the cache, still accepting (delay) → no new connections, open ones end (timeout) → the rest is cut → log flushed
//! ```

mod comparing;
mod doors;
mod joining;
pub mod prepared;
mod reload;
mod running;
mod upkeep;
mod warming;
mod watching;

use std::io;
use std::net::SocketAddr;

use crate::access_log::AccessLog;
use crate::app::prepared::Prepared;
use crate::app::reload::Basis;
pub use crate::app::running::Running;
use crate::clock::Clock;
use crate::config::Config;
use crate::drain::Drain;
use crate::flow::Flow;
use crate::invalidate::subscription;
use crate::redis;
use crate::route::host::BadHost;
use crate::route::table::Conflict;
use crate::sockets::Sockets;
use crate::traces::Traces;
use crate::{server, upstream};

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
    /// The way to the receiver of traces cannot be prepared.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT: {0}")]
    Traces(upstream::Error),
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
            | Self::Traces(_)
            | Self::Subscription(_)
            | Self::Redis(_)
            | Self::Admin { .. } => false,
        }
    }
}

/// Starts everything; when this returns, connections are accepted.
///
/// # Errors
/// [`Error`] says what is in the way.
pub async fn start(config: Config, clock: Clock) -> Result<Running, Error> {
    Ok(Prepared::new(config, clock, Sockets::default()).await?.serve().await)
}

/// The walk over an empty store, with no door open and nothing started: for what can be said of requests by a
/// configuration alone.
///
/// # Errors
/// As [`start`], but for doors.
pub fn at_rest(config: &Config, clock: Clock) -> Result<Flow, Error> {
    let (metrics, drain) = (prepared::metrics_of(config), Drain::default());
    let basis = Basis::of(config, config.server.listen.port());
    prepared::walk(config, &basis, None, (&metrics, (AccessLog::off(), Traces::off()), clock, drain.watch()))
}
