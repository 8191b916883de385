//! Tells a URL of alerts: one POST each, in their order, tried again a few times.
//!
//! ```text
//! Monitor::look ── try_send ──► queue ──► deliver: POST … pause … POST … given up
//! ```
//! Invariant: nobody waits for it: what does not fit into the queue is dropped, and counted. What it is told of the receiver's
//! troubles is logged once, and once more when they are over. The path of the URL is a secret, and shown nowhere. It refuses
//! to know what alerts mean.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use serde_json::Value;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{sleep, timeout};

use crate::body::Body;
use crate::metrics::Metrics;
use crate::upstream::{self, Endpoint, How, Priority, Upgrade, Upstream};

/// Most notices that wait.
const QUEUE: usize = 64;
/// How often one is tried.
const TRIES: u32 = 5;
/// The pause after the first try; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// For connecting, and for the answer's head.
const PATIENCE: Duration = Duration::from_secs(5);

/// The way to the queue.
#[derive(Clone, Debug)]
pub(in crate::monitor) struct Queue(Sender<Value>);

impl Queue {
    /// Hands one over, if there is room.
    pub(in crate::monitor) fn push(&self, notice: Value, metrics: &Metrics) {
        if self.0.try_send(notice).is_err() {
            metrics.alerts().posted("dropped");
        }
    }
}

/// Who posts what is in the queue.
pub struct Webhook {
    endpoint: Endpoint,
    upstream: Upstream,
    queue: Receiver<Value>,
    metrics: Arc<Metrics>,
    health: Health,
}

/// What is known of the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Well,
    /// And the log says so.
    Dead,
}

/// Why a notice did not arrive.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Upstream(#[from] upstream::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it did not answer in time")]
    Late,
}

impl Webhook {
    /// Prepares the way to `endpoint`; connects to nobody.
    ///
    /// # Errors
    /// The URL wants TLS, and no root certificates can be loaded.
    pub(in crate::monitor) fn new(
        endpoint: Endpoint,
        metrics: Arc<Metrics>,
    ) -> Result<(Queue, Self), upstream::Error> {
        let (sender, queue) = mpsc::channel(QUEUE);
        let mut settings = upstream::Settings::new(vec![endpoint.origin().clone()]);
        (settings.timeout, settings.concurrency) = (PATIENCE, 1);
        let upstream = Upstream::silent(settings)?;
        Ok((Queue(sender), Self { endpoint, upstream, queue, metrics, health: Health::Well }))
    }

    /// Posts whatever comes, until nobody is left who could hand over anything.
    pub async fn deliver(mut self) {
        while let Some(notice) = self.queue.recv().await {
            let outcome = self.insist(&Bytes::from(notice.to_string())).await;
            self.metrics.alerts().posted(if outcome.is_ok() { "delivered" } else { "failed" });
            match (outcome, self.health) {
                (Err(why), Health::Well) => {
                    tracing::warn!(
                        webhook = self.endpoint.place(),
                        "alerts do not reach monitor.webhook: {why}"
                    );
                    self.health = Health::Dead;
                }
                (Ok(()), Health::Dead) => {
                    tracing::info!(webhook = self.endpoint.place(), "alerts reach monitor.webhook again");
                    self.health = Health::Well;
                }
                (Err(_), Health::Dead) | (Ok(()), Health::Well) => {}
            }
        }
    }

    async fn insist(&self, notice: &Bytes) -> Result<(), Failure> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..TRIES {
            match self.post(notice.clone()).await {
                // It was understood, and is not wanted: that does not change.
                Err(Failure::Status(status)) if is_final(status) => return Err(Failure::Status(status)),
                Err(why) => tracing::debug!(?pause, "an alert did not reach monitor.webhook: {why}"),
                Ok(()) => return Ok(()),
            }
            sleep(pause).await;
            pause *= 2;
        }
        self.post(notice.clone()).await
    }

    async fn post(&self, notice: Bytes) -> Result<(), Failure> {
        let mut request = Request::new(Body::from(notice));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from(self.endpoint.target().clone());
        let headers = request.headers_mut();
        headers.insert(HOST, self.endpoint.host().clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("larder/", env!("CARGO_PKG_VERSION"))));
        let how = How {
            timeout: PATIENCE,
            priority: Priority::Client,
            hold: u64::MAX,
            upgrade: Upgrade::No,
            interim: None,
            permit: None,
        };
        let answer = timeout(2 * PATIENCE, self.upstream.send(request, how)).await;
        match answer.map_err(|_| Failure::Late)??.status() {
            status if status.is_success() => Ok(()),
            status => Err(Failure::Status(status)),
        }
    }
}

/// Neither the server's trouble nor a matter of time. A redirect is not followed: it could lead anywhere.
fn is_final(status: StatusCode) -> bool {
    !status.is_server_error()
        && ![StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS, StatusCode::TOO_EARLY]
            .contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A receiver that answers the n-th post with the n-th status, the last one for good; how often it was asked.
    async fn receiver(statuses: &'static [u16]) -> (Endpoint, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = [0; 4096];
                while !bytes.ends_with(b"}") {
                    let read = stream.read(&mut bytes).await.unwrap();
                    if read == 0 || bytes[..read].ends_with(b"}") {
                        break;
                    }
                }
                let nth = count.fetch_add(1, Ordering::SeqCst);
                let status = statuses[nth.min(statuses.len() - 1)];
                let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _gone = stream.write_all(answer.as_bytes()).await;
            }
        });
        (Endpoint::parse(&url).unwrap(), asked)
    }

    async fn delivered(statuses: &'static [u16]) -> (usize, String) {
        let (endpoint, asked) = receiver(statuses).await;
        let metrics = Arc::new(Metrics::new(&[]));
        let (queue, webhook) = Webhook::new(endpoint, Arc::clone(&metrics)).unwrap();
        queue.push(serde_json::json!({ "alert": "x" }), &metrics);
        drop(queue);
        webhook.deliver().await;
        (asked.load(Ordering::SeqCst), metrics.encode())
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_arrive_is_tried_again_and_then_given_up() {
        let (asked, metrics) = delivered(&[503, 500, 204]).await;
        assert_eq!(asked, 3);
        assert!(metrics.contains("larder_alert_posts_total{result=\"delivered\"} 1"), "{metrics}");
        let (asked, metrics) = delivered(&[500]).await;
        assert_eq!(asked, TRIES as usize);
        assert!(metrics.contains("larder_alert_posts_total{result=\"failed\"} 1"), "{metrics}");
    }

    #[tokio::test]
    async fn what_is_refused_for_good_is_not_tried_again() {
        for statuses in [&[404_u16], &[302]] {
            assert_eq!(delivered(statuses).await.0, 1);
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_a_receiver_that_takes_nothing() {
        let metrics = Arc::new(Metrics::new(&[]));
        let endpoint = Endpoint::parse("http://127.0.0.1:1/").unwrap();
        let (queue, _nobody_delivers) = Webhook::new(endpoint, Arc::clone(&metrics)).unwrap();
        (0..QUEUE + 3).for_each(|_| queue.push(Value::Null, &metrics));
        assert!(metrics.encode().contains("larder_alert_posts_total{result=\"dropped\"} 3"));
    }
}
