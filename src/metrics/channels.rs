//! What is counted of the channels of `redis.subscribe`.

use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::metrics::{Metrics, declare};

/// How it stands with the channels, and what went wrong on them.
#[derive(Debug)]
pub struct Channels {
    connected: Connected,
    gaps: Counter,
    bad_messages: Counter,
}

impl Channels {
    pub(crate) fn declare(r: &mut Registry) -> Self {
        let connected = Connected::default();
        r.register_collector(Box::new(connected.clone()));
        Self {
            connected,
            gaps: declare(r, "redis_gaps", "Times without the channels in which messages may have been lost"),
            bad_messages: declare(
                r,
                "redis_bad_messages",
                "Messages on the channels, and events on the stream, that were not understood",
            ),
        }
    }

    /// Shows whether they are heard; never called, nothing is shown.
    pub fn set_connected(&self, connected: bool) {
        self.connected.0.get_or_init(Gauge::default).set(connected.into());
    }

    /// Whether they are heard; `None`: there are none.
    pub(super) fn connected(&self) -> Option<bool> {
        self.connected.0.get().map(|gauge| gauge.get() != 0)
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

impl Metrics {
    /// What is counted of the channels of `redis.subscribe`.
    pub fn channels(&self) -> &Channels {
        &self.channels
    }
}

/// A gauge that is there only where channels are: zero would call for help where nobody wants any.
#[derive(Clone, Debug, Default)]
struct Connected(Arc<OnceLock<Gauge>>);

impl Collector for Connected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(gauge) = self.0.get() else { return Ok(()) };
        let help = "1 while the channels of redis.subscribe are heard.";
        gauge.encode(encoder.encode_descriptor("redis_connected", help, None, gauge.metric_type())?)
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;

    #[test]
    fn who_listens_to_no_channel_is_not_shown_as_cut_off_from_them() {
        let metrics = Metrics::new(&[]);
        assert!(!metrics.encode().contains("redis_connected"));
        for connected in [false, true] {
            metrics.channels().set_connected(connected);
            let line = format!("\nlarder_redis_connected {}\n", u8::from(connected));
            assert!(metrics.encode().contains(&line));
        }
    }
}
