//! How the monitor is joined to what it looks at, and by which name this process speaks of itself.
//!
//! Invariant: it is given figures, and nothing by which it could change any. It refuses to know what they mean.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::app::Error;
use crate::config::Config;
use crate::flow::Flow;
use crate::monitor::harvest::Harvest;
use crate::monitor::window::Memory;
use crate::monitor::{Monitor, Sources};
use crate::process;

/// What watches a process that clients reach at `port`, and what that lives by.
pub(super) fn watch(
    config: &Config,
    flow: &Flow,
    port: u16,
) -> Result<(Monitor, Harvest, Vec<JoinHandle<()>>), Error> {
    let (parts, store) = (flow.parts(), config.store.clone());
    let (held, watched) = (flow.clone(), flow.clone());
    parts.metrics.watch_cache(move || watched.state());
    let most_resident = process::limit();
    let sources = Sources {
        metrics: Arc::clone(&parts.metrics),
        clock: parts.clock.clone(),
        memory: Box::new(move || {
            let state = held.state();
            Memory {
                entries: state.entries,
                most_entries: store.entries,
                bytes: state.bytes,
                most_bytes: store.memory,
                used: held.parts().store.used(),
                resident: state.resident,
                most_resident,
            }
        }),
        node: format!("{}:{port}", host()),
    };
    let (monitor, webhook) = Monitor::new(config.monitor.clone(), sources).map_err(Error::Webhook)?;
    let harvest = Harvest::new(flow.clone(), config.monitor.harvest.clone());
    let mut tasks = vec![tokio::spawn(monitor.clone().watch()), tokio::spawn(harvest.clone().run())];
    tasks.extend(webhook.map(|webhook| tokio::spawn(webhook.deliver())));
    Ok((monitor, harvest, tasks))
}

/// What the machine, or the pod, is called.
fn host() -> String {
    let named = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let named = named.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    named.unwrap_or_else(|| "localhost".to_owned())
}
