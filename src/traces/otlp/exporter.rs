//! Spans on their way out: gathered, sent in batches, tried again for a while, given up.
//!
//! ```text
//! try_send ─► queue ─ full, or old enough ─► batch ─► POST … pause … POST … given up
//!    └ full: dropped                           (one at a time: what comes meanwhile waits in the queue)
//! ```
//! Invariant: no more waits than the queue and one batch; nobody waits for it but the end of the process, and that for
//! [`AT_THE_END`] at most. A receiver's troubles are logged once, and once more when they are over.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::mpsc::{self, Receiver as Queue, Sender};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::metrics::Metrics;
use crate::traces::otlp::receiver::{Failure, Receiver};
use crate::traces::otlp::settings::Export;
use crate::upstream;

/// How often a batch is tried.
const TRIES: u32 = 5;
/// The pause after the first try; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause that a receiver may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long the end of the process waits for what is left.
const AT_THE_END: Duration = Duration::from_secs(2);

/// Who sends the spans in the queue.
pub(in crate::traces) struct Exporter {
    queue: Queue<SpanData>,
    receiver: Receiver,
    /// Spans that go together.
    batch: usize,
    delay: Duration,
    timeout: Duration,
    metrics: Arc<Metrics>,
    health: Health,
    /// When all has to be over, once the process ends.
    until: watch::Receiver<Option<Instant>>,
}

/// What is known of the receiver, and what the log says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Well,
    /// It takes batches, and not all of their spans.
    Choosy,
    Dead,
}

/// An exporter at work; `None`: there is none.
#[derive(Debug)]
pub struct Exporting(Option<(watch::Sender<Option<Instant>>, JoinHandle<()>)>);

impl Exporting {
    /// None.
    pub(in crate::traces) fn off() -> Self {
        Self(None)
    }

    /// Sends what is left, if that is possible within two seconds; spans that end later are dropped.
    pub async fn end(self) {
        let Some((until, exporter)) = self.0 else { return };
        until.send_replace(Some(Instant::now() + AT_THE_END));
        // If it panicked there is nothing left to wait for.
        let _ended = exporter.await;
    }
}

impl Exporter {
    /// Begins to send what is put into the queue.
    pub(in crate::traces) fn start(
        settings: Export,
        metrics: Arc<Metrics>,
    ) -> Result<(Sender<SpanData>, Exporting), upstream::Error> {
        let receiver = Receiver::new(&settings)?;
        let (sender, queue) = mpsc::channel(settings.queue);
        let (ending, until) = watch::channel(None);
        let Export { batch, delay, timeout, .. } = settings;
        let exporter = Self { queue, receiver, batch, delay, timeout, metrics, health: Health::Well, until };
        Ok((sender, Exporting(Some((ending, tokio::spawn(exporter.run()))))))
    }

    async fn run(mut self) {
        loop {
            let batch = self.gather().await;
            if batch.is_empty() {
                return;
            }
            let count = batch.len() as u64;
            let outcome = self.insist(batch).await;
            match &outcome {
                Ok(unwanted) => {
                    self.metrics.spans("exported", count.saturating_sub(*unwanted));
                    self.metrics.spans("rejected", (*unwanted).min(count));
                }
                Err(_) => self.metrics.spans("failed", count),
            }
            self.note(&outcome);
        }
    }

    /// The next spans that go together; none: there will be no more.
    async fn gather(&mut self) -> Vec<SpanData> {
        let (mut batch, most) = (Vec::new(), self.batch);
        let mut until = self.until.clone();
        tokio::select! {
            _ = self.queue.recv_many(&mut batch, most) => {}
            () = ending(&mut until) => {}
        }
        let company = sleep(self.delay);
        tokio::pin!(company);
        while batch.len() < most {
            let room = most - batch.len();
            tokio::select! {
                came = self.queue.recv_many(&mut batch, room) => if came == 0 { break },
                () = &mut company => break,
                () = ending(&mut until) => break,
            }
        }
        if self.until.borrow().is_some() {
            self.queue.close();
            while batch.len() < most && self.queue.recv_many(&mut batch, most).await > 0 {}
        }
        batch
    }

    /// Tries until it is taken, refused for good, or given up.
    async fn insist(&mut self, batch: Vec<SpanData>) -> Result<u64, Failure> {
        let batch = self.receiver.encode(batch);
        let mut pause = FIRST_PAUSE;
        for _ in 1..TRIES {
            if self.until.borrow().is_some() {
                break;
            }
            let outcome = self.post(batch.clone()).await;
            let Err(why) = outcome else { return outcome };
            if why.is_final() {
                return Err(why);
            }
            let asked = why.pause().unwrap_or_default().min(LONGEST_PAUSE);
            self.note(&Err(why));
            let mut until = self.until.clone();
            tokio::select! {
                () = sleep(pause.max(asked)) => {}
                () = ending(&mut until) => {}
            }
            pause *= 2;
        }
        self.post(batch).await
    }

    /// One try, for no longer than the end of the process waits.
    async fn post(&self, batch: Bytes) -> Result<u64, Failure> {
        let mut until = self.until.clone();
        let over = async {
            let said = until.wait_for(Option::is_some).await.map(|until| *until);
            match said {
                Ok(Some(until)) => sleep_until(until).await,
                // Nobody will say so any more.
                Ok(None) | Err(_) => pending().await,
            }
        };
        tokio::select! {
            outcome = self.receiver.post(batch, self.timeout) => outcome,
            () = over => Err(Failure::Late),
        }
    }

    /// Says in the log what has changed.
    fn note(&mut self, outcome: &Result<u64, Failure>) {
        let (before, receiver) = (self.health, self.receiver.place());
        self.health = match outcome {
            Ok(0) => Health::Well,
            Ok(_) => Health::Choosy,
            Err(_) => Health::Dead,
        };
        match (before, outcome) {
            (before, _) if before == self.health => {}
            (_, Err(why)) => {
                tracing::warn!(
                    receiver,
                    "traces are not received: {why}; spans wait, and what does not fit is dropped"
                );
            }
            (_, Ok(0)) => tracing::info!(receiver, "traces are received"),
            (_, Ok(unwanted)) => {
                tracing::warn!(receiver, unwanted, "spans are not wanted by who receives traces")
            }
        }
    }
}

/// Until the process ends.
async fn ending(until: &mut watch::Receiver<Option<Instant>>) {
    // Nobody who could say so any more: the process has ended without.
    let _said = until.wait_for(Option::is_some).await;
}
