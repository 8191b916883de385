//! What is counted of the channels of `redis.subscribe`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::metrics::declare;

/// How it stands with the channels, and what went wrong on them.
#[derive(Debug)]
pub struct Channels {
    connected: Family<Nothing, Gauge>,
    gaps: Counter,
    bad_messages: Counter,
}

/// No label: what is never set is not shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Nothing {}

impl Channels {
    pub(crate) fn declare(r: &mut Registry) -> Self {
        Self {
            connected: declare(r, "redis_connected", "1 while the channels of redis.subscribe are heard"),
            gaps: declare(r, "redis_gaps", "Times without the channels in which messages may have been lost"),
            bad_messages: declare(
                r,
                "redis_bad_messages",
                "Messages on the channels that were not understood",
            ),
        }
    }

    /// Shows whether they are heard; never called, nothing is shown.
    pub fn set_connected(&self, connected: bool) {
        self.connected.get_or_create(&Nothing {}).set(connected.into());
    }

    /// Counts a time without them in which messages may have been lost.
    pub fn gap(&self) {
        self.gaps.inc();
    }

    /// Counts a message that was not understood.
    pub fn bad_message(&self) {
        self.bad_messages.inc();
    }
}
