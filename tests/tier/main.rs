//! The shared tier over a real Redis: what one node tells another, and what becomes of reads while Redis is away, late, full or full of
//! rubbish.
//!
//! No test says how long anything takes: what has to be reached in time has no deadline where a machine may be slow, and where nothing
//! will ever answer it has the tier's own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod outages;
#[allow(dead_code, clippy::unwrap_used, reason = "it is there for the scenarios first")]
#[path = "../scenarios/harness/redis.rs"]
mod redis_server;
mod shares;
mod told;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use larder::clock::Clock;
use larder::metrics::Metrics;
use larder::policy::{self, RequestHead, ResponseTimes, Rule, Selector, Sharing};
use larder::redis::Address;
use larder::redis::place::{Place, Where};
use larder::route::key::Key;
use larder::route::tag::Tag;
use larder::store::entry::{Candidate, Entry};
use larder::store::{self, Store};
use larder::tier::{Missed, Settings, Standing, Tier};

use crate::redis_server::Redis;

const EPOCH: u64 = 0xfee1;

/// A deadline for what has to succeed on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a step of waiting for another process is.
const STEP: Duration = Duration::from_millis(2);

/// A node, as far as the tier is concerned.
struct Node {
    tier: Tier,
    metrics: Arc<Metrics>,
    clock: Clock,
    store: Store,
}

impl Node {
    /// One that waits for every answer.
    async fn start(redis: &Redis) -> Self {
        let node = Self::at(&redis.url(), PATIENCE, Clock::manual(SystemTime::UNIX_EPOCH));
        node.connected().await;
        node
    }

    fn at(url: &str, deadline: Duration, clock: Clock) -> Self {
        Self::over(Where::One(Address::parse(url).unwrap()), deadline, clock)
    }

    fn over(at: Where, deadline: Duration, clock: Clock) -> Self {
        let (metrics, standing) = (Arc::new(Metrics::new(&[])), Standing::default());
        standing.set(EPOCH);
        let place = Place::new(at, "larder").unwrap();
        let settings = Settings { namespace: "larder".to_owned(), deadline };
        let tier = Tier::start(settings, &place, standing, clock.clone(), Arc::clone(&metrics)).unwrap();
        let limits = store::Settings { memory: 64 << 20, entries: None };
        let store = Store::in_epoch(EPOCH, &limits, Arc::clone(&metrics));
        Self { tier, metrics, clock, store }
    }

    async fn connected(&self) {
        until(|| self.tier.is_connected()).await;
    }

    /// Keeps an answer of the origin to `request`, and tells the tier of it.
    fn keep(&self, key: &str, request: &HeaderMap, answer: &HeaderMap, body: impl Into<Bytes>) -> Arc<Entry> {
        let now = self.clock.now();
        let asked = RequestHead { method: &Method::GET, headers: request, body_keyed: false };
        let times = ResponseTimes { requested: now, received: now };
        let storable =
            policy::may_store(&asked, Sharing::Shared, StatusCode::OK, answer, &rule(), times).unwrap();
        let candidate = Candidate {
            key: Key::from_bytes(key.as_bytes()),
            tags: vec![Tag::named("t"), Tag::path("h", "/p")],
            storable,
            selector: select(request, answer).unwrap(),
            body: body.into(),
            settle: Duration::ZERO,
        };
        let entry = self.store.fill(&self.store.ticket(now.mono), candidate).unwrap();
        self.tier.put(&entry, select, is_private);
        entry
    }

    /// The same of a plain one, until Redis has it.
    async fn tell(&self, key: &str, body: impl Into<Bytes>) -> Arc<Entry> {
        let before = self.told("stored");
        let entry = self.keep(key, &HeaderMap::new(), &HeaderMap::new(), body);
        until(|| self.told("stored") > before).await;
        entry
    }

    async fn get(&self, key: &str) -> Result<Entry, Missed> {
        self.get_as(key, &HeaderMap::new()).await
    }

    async fn get_as(&self, key: &str, request: &HeaderMap) -> Result<Entry, Missed> {
        let found = self.tier.get(EPOCH, &Key::from_bytes(key.as_bytes()), request, select).await?;
        if found.selector.matches(request, &is_credential_cookie) {
            Ok(found)
        } else {
            Err(Missed::OtherVariants)
        }
    }

    fn told(&self, what: &'static str) -> u64 {
        self.metrics.tier().fills(what)
    }
}

/// A route whose answers are fresh for a minute.
fn rule() -> Rule {
    Rule { ttl: Some(Duration::from_secs(60)), ..Rule::default() }
}

fn is_credential_cookie(name: &str) -> bool {
    name == "session"
}

fn select(request: &HeaderMap, answer: &HeaderMap) -> Option<Selector> {
    Selector::of(request, answer, &rule(), &is_credential_cookie).ok()
}

fn is_private(asked: &HeaderMap) -> bool {
    asked.contains_key("x-api-key")
}

fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
    let lines = lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    lines.collect()
}

/// Waits for another process.
async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
        if is_so() {
            return;
        }
        tokio::time::sleep(STEP).await;
    }
    panic!("it never came to that");
}

/// All names in Redis.
fn names(redis: &Redis) -> Vec<Vec<u8>> {
    redis::from_redis_value(redis.command("KEYS *")).unwrap()
}

fn value(redis: &Redis, name: &[u8]) -> Vec<u8> {
    let url = redis.url();
    let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
    redis::cmd("GET").arg(name).query(&mut connection).unwrap()
}

fn put(redis: &Redis, name: &[u8], value: &[u8]) {
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let () = redis::cmd("SET").arg(name).arg(value).arg("PX").arg(50_000).query(&mut connection).unwrap();
}
