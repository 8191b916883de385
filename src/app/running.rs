//! A proxy that runs: what can be asked of it, how another configuration comes into force, and how it stops.

use std::future::Future;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::access_log::Flush;
use crate::admin::in_force::{Asked, InForce, Reloaded};
use crate::app::Error;
use crate::app::reload::Reloader;
use crate::config::Config;
use crate::drain::{Drain, Phase};
use crate::fleet::Fleet;
use crate::flow::Flow;
use crate::invalidate::Invalidator;
use crate::invalidate::subscription::{self, Subscription};
use crate::monitor::Monitor;
use crate::ready::{Readiness, State as Life};
use crate::sockets;
use crate::traces::Exporting;

/// A running proxy. Dropped, its tasks end with the runtime.
pub struct Running {
    pub(super) address: SocketAddr,
    pub(super) admin: Option<SocketAddr>,
    pub(super) flow: Flow,
    pub(super) monitor: Monitor,
    pub(super) readiness: Readiness,
    pub(super) drain: Drain,
    pub(super) subscription: Option<Subscription>,
    pub(super) fleet: Option<Fleet>,
    pub(super) serving: JoinHandle<()>,
    pub(super) background: Vec<JoinHandle<()>>,
    pub(super) reloader: Reloader,
    pub(super) in_force: InForce,
    /// By the names of [`sockets::NAMES`].
    pub(super) listeners: [Option<Weak<TcpListener>>; 3],
    pub(super) reloads: Option<mpsc::Receiver<Asked>>,
    pub(super) exporting: Exporting,
    pub(super) _flush: Flush,
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

    /// The sockets on which it listens, with the names by which another process knows them.
    ///
    /// # Errors
    /// The system's.
    pub fn listeners(&self) -> std::io::Result<Vec<(&'static str, OwnedFd)>> {
        let mut open = Vec::new();
        for (name, listener) in sockets::NAMES.into_iter().zip(&self.listeners) {
            if let Some(listener) = listener.as_ref().map(sockets::copied).transpose()?.flatten() {
                open.push((name, listener));
            }
        }
        Ok(open)
    }

    /// For how long connections are still accepted after `/readyz` says 503 (`shutdown.delay`).
    pub fn shutdown_delay(&self) -> Duration {
        self.reloader.config().server.shutdown_delay
    }

    /// Those who ask for another configuration, for whoever can read it again. `None`: somebody has them.
    pub fn reloads(&mut self) -> Option<mpsc::Receiver<Asked>> {
        self.reloads.take()
    }

    /// Brings another configuration into force.
    ///
    /// # Errors
    /// As [`start`]; then nothing has changed.
    pub async fn reload(&self, config: Config) -> Result<Reloaded, Error> {
        let (clock, metrics) = (self.flow.parts().clock.clone(), Arc::clone(&self.flow.parts().metrics));
        let done = self.reloader.put_in_force(config, &clock).await;
        match done {
            Ok((reloaded, loaded)) => {
                metrics.config().reloaded(true);
                self.in_force.reloaded(loaded);
                Ok(reloaded)
            }
            Err(why) => {
                self.cannot_reload(why.to_string());
                Err(why)
            }
        }
    }

    /// Another configuration was to come into force, and cannot be read; `report` says why.
    pub fn cannot_reload(&self, report: String) {
        let parts = self.flow.parts();
        parts.metrics.config().reloaded(false);
        self.in_force.failed(report, parts.clock.now().wall);
    }

    /// Waits until the start-up list is warm, or has had its time.
    pub async fn ready(&self) {
        self.readiness.reached(Life::Ready).await;
    }

    /// Stops: for `delay` connections are still accepted while `/readyz` says 503, then open ones end, at last they are
    /// cut. `hurry` cuts all waiting short.
    pub async fn stop(mut self, delay: Duration, hurry: impl Future<Output = ()>) {
        self.readiness.reach(Life::Draining);
        // Traffic goes elsewhere from now on, and with it the writes.
        self.flow.drain();
        // Whoever waits for a batch keeps his connection open.
        let invalidator = self.invalidator();
        invalidator.hurry();
        let gently = async {
            tokio::time::sleep(delay).await;
            self.drain.enter(Phase::Draining);
            let patience = self.reloader.config().server.shutdown_timeout;
            let until = Instant::now() + patience;
            let ended = timeout_at(until, &mut self.serving).await;
            if ended.is_err() {
                tracing::warn!(timeout = ?patience, "shutdown.timeout has passed: what is still open is cut");
            }
            if invalidator.untold() > 0 {
                tracing::info!("waiting until the fleet has been told of all invalidations");
                let _ = timeout_at(until, invalidator.all_told()).await;
            }
        };
        let is_hurried = tokio::select! {
            () = gently => false,
            () = hurry => true,
        };
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
        if !is_hurried {
            self.exporting.end().await;
        }
    }
}
