//! What is counted of a node among others.

use std::sync::{Mutex, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::metrics::{Metrics, Reason, declare};

/// How it stands with the fleet's Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FleetRedis {
    /// There is none, or nobody knows yet.
    #[default]
    None,
    /// It is of use to this node.
    There,
    /// It is not, and why.
    Away(&'static str),
}

/// The metrics of a fleet's node.
#[derive(Debug)]
pub(in crate::metrics) struct Fleet {
    lease_lost: Counter,
    gaps: Counter,
    unconfirmed: Counter,
    away: Family<Reason, Gauge>,
    /// What `away` shows, for who asks.
    redis: Mutex<FleetRedis>,
    intents: Gauge,
    orphans: Counter,
    unheld: Counter,
}

impl Fleet {
    pub(in crate::metrics) fn declared(r: &mut Registry) -> Self {
        Self {
            lease_lost: declare(
                r,
                "lease_lost",
                "Times that this node was shut out by the others of its fleet",
            ),
            gaps: declare(
                r,
                "fleet_gaps",
                "Times that records of the fleet were gone before they were read here",
            ),
            unconfirmed: declare(
                r,
                "invalidations_unconfirmed",
                "Invalidations that nobody knew to hold everywhere within redis.ack_timeout",
            ),
            away: declare(r, "fleet_away", "1 while this node cannot go by the fleet's Redis, and why"),
            redis: Mutex::default(),
            intents: declare(
                r,
                "fleet_intents_open",
                "Writes through this node of which something is still to be said to the others",
            ),
            orphans: declare(
                r,
                "fleet_orphans_closed",
                "Writes of nodes that are gone, whose intents were closed here when they had to be over",
            ),
            unheld: declare(
                r,
                "writes_unheld",
                "Writes that were to be forwarded when the journal could not be told of them",
            ),
        }
    }

    /// How it stands with the fleet's Redis.
    pub(in crate::metrics) fn redis(&self) -> FleetRedis {
        *self.redis.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Metrics {
    /// Counts a lease that others ended.
    pub fn lease_lost(&self) {
        self.fleet.lease_lost.inc();
    }

    /// Counts records that were missed.
    pub fn fleet_gap(&self) {
        self.fleet.gaps.inc();
    }

    /// Shows why the fleet's Redis is of no use; `None`: it is.
    pub fn fleet_away(&self, reason: Option<&'static str>) {
        *self.fleet.redis.lock().unwrap_or_else(PoisonError::into_inner) =
            reason.map_or(FleetRedis::There, FleetRedis::Away);
        self.fleet.away.clear();
        if let Some(reason) = reason {
            self.fleet.away.get_or_create(&Reason { reason }).set(1);
        }
    }

    /// How many writes may be on their way, or be owed to the journal.
    pub fn fleet_intents(&self, open: usize) {
        self.fleet.intents.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// Counts an intent of a node that is gone, closed here.
    pub fn fleet_orphan_closed(&self) {
        self.fleet.orphans.inc();
    }

    /// Counts a write of which the journal could not be told before it was forwarded, or refused.
    pub fn write_unheld(&self) {
        self.fleet.unheld.inc();
    }

    /// Counts an invalidation that is not known to hold everywhere.
    pub fn unconfirmed(&self) {
        self.fleet.unconfirmed.inc();
    }
}
