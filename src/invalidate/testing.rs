//! An applier over a small store, and webhooks signed by hand, for this room's tests.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use sha2::Sha256;

use crate::clock::Clock;
use crate::invalidate::webhook::{self, Scheme};
use crate::invalidate::{Invalidation, Invalidator, Settings, Source, purge};
use crate::metrics::Metrics;
use crate::policy::{self, RequestHead, ResponseTimes, Rule, Selector, Sharing};
use crate::route::key::Key;
use crate::route::tag::Tag;
use crate::store::entry::{Candidate, Entry};
use crate::store::{self, Store};

/// Everything that an invalidation meets.
pub(in crate::invalidate) struct World {
    pub(in crate::invalidate) invalidator: Invalidator,
    pub(in crate::invalidate) store: Arc<Store>,
    pub(in crate::invalidate) metrics: Arc<Metrics>,
    pub(in crate::invalidate) clock: Clock,
}

impl World {
    pub(in crate::invalidate) fn new(settings: Settings) -> Self {
        let metrics = Arc::new(Metrics::new(&[]));
        let limits = store::Settings { memory: 16 << 20, entries: None };
        let store = Arc::new(Store::new(&limits, Arc::clone(&metrics)));
        let clock = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let parts = (Arc::clone(&store), clock.clone(), Arc::clone(&metrics));
        let invalidator = Invalidator::new(settings, parts.0, parts.1, parts.2);
        Self { invalidator, store, metrics, clock }
    }

    /// Stores an answer under `key` that depends on these.
    pub(in crate::invalidate) fn keep(&self, key: &str, tags: &[Tag]) -> Arc<Entry> {
        let (now, none) = (self.clock.now(), HeaderMap::new());
        let request = RequestHead { method: &Method::GET, headers: &none, body_keyed: false };
        let rule = Rule { ttl: Some(Duration::from_secs(60)), ..Rule::default() };
        let times = ResponseTimes { requested: now, received: now };
        let storable = policy::may_store(&request, Sharing::Shared, StatusCode::OK, &none, &rule, times);
        let candidate = Candidate {
            key: Key::from_bytes(key.as_bytes()),
            tags: tags.to_vec(),
            storable: storable.unwrap(),
            selector: Selector::of(&none, &none, &rule, &|_| false).unwrap(),
            body: Bytes::from_static(b"body"),
            settle: Duration::ZERO,
        };
        self.store.fill(&self.store.ticket(now.mono), candidate).unwrap()
    }

    /// Whether a line is among the metrics.
    #[track_caller]
    pub(in crate::invalidate) fn assert_metric(&self, line: &str) {
        let text = self.metrics.encode();
        assert!(text.lines().any(|known| known == line), "no line {line} in\n{text}");
    }
}

/// An invalidation of what these words name.
pub(in crate::invalidate) fn of(source: Source, words: &str) -> Invalidation {
    let reach = purge::of_words(words, &crate::invalidate::event::Names::default()).unwrap();
    Invalidation { reach, source, actor: "somebody".into(), ..Invalidation::default() }
}

/// A webhook under `/hooks/<scheme>`.
pub(in crate::invalidate) fn hook(scheme: Scheme, secrets: &[&str]) -> webhook::Settings {
    let secrets = secrets.iter().map(|secret| (*secret).to_owned()).collect();
    webhook::Settings { path: path(scheme), scheme, secrets }
}

pub(in crate::invalidate) fn path(scheme: Scheme) -> String {
    format!("/hooks/{scheme:?}").to_lowercase()
}

pub(in crate::invalidate) fn fields(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    headers
}

/// The fields of a message that is in order.
pub(in crate::invalidate) fn signed(
    scheme: Scheme,
    secret: &str,
    id: &str,
    at: u64,
    body: &str,
) -> HeaderMap {
    match scheme {
        Scheme::Standard => {
            let signature = BASE64.encode(hmac(secret.as_bytes(), &format!("{id}.{at}.{body}")));
            fields(&[
                ("webhook-id", id),
                ("webhook-timestamp", &at.to_string()),
                ("webhook-signature", &format!("v1,{signature}")),
            ])
        }
        Scheme::Github => fields(&[
            ("x-github-delivery", id),
            ("x-github-event", "project"),
            ("x-hub-signature-256", &format!("sha256={}", hex(&hmac(secret.as_bytes(), body)))),
        ]),
        Scheme::Stripe => {
            let signature = hex(&hmac(secret.as_bytes(), &format!("{at}.{body}")));
            fields(&[("stripe-signature", &format!("t={at},v1={signature}"))])
        }
        Scheme::Cloudevents => fields(&[
            ("authorization", &format!("Bearer {secret}")),
            ("ce-specversion", "1.0"),
            ("ce-type", "project.updated"),
            ("ce-source", "/s"),
            ("ce-id", id),
        ]),
        Scheme::Bearer => fields(&[("authorization", &format!("Bearer {secret}"))]),
    }
}

fn hmac(key: &[u8], message: &str) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(message);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
