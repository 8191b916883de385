//! The proxy, started in this process from a text of YAML, with a clock that stands still until the test moves it.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use larder::admin::in_force::Reloaded;
use larder::app::{self, Running};
use larder::clock::Clock;
use larder::config::{self, Config, Env, Flags};
use larder::flow::Flow;
use larder::flow::explain::asked::Asked;
use larder::flow::explain::wire::Explanation;
use larder::invalidate::{Author, Invalidation, Invalidator, Source};
use larder::monitor::Monitor;
use larder::route::reach::{Item, Reach};
use larder::store::position::Mode;

use crate::harness::STARTED;
use crate::harness::client::{Ask, Reply, ask};
use crate::harness::origin::Origin;

/// Where a running proxy waits to be stopped.
pub(crate) type Slot = Rc<Cell<Option<Running>>>;

/// What holds unless the story says otherwise: no port that anybody else may have, no log, a stop without delay; and what a
/// write outdated is stored again at once, since the clock stands still.
const BASE: [(&str, &str); 5] = [
    ("listen", "127.0.0.1:0"),
    ("admin", "{ listen: '127.0.0.1:0' }"),
    ("log", "{ access: off }"),
    ("shutdown", "{ delay: 0s, timeout: 20s }"),
    ("invalidation", "{ settle: 0s }"),
];

/// A running proxy.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    admin: Option<SocketAddr>,
    pub(crate) clock: Clock,
    pub(crate) flow: Flow,
    pub(crate) monitor: Monitor,
    invalidator: Invalidator,
    running: Slot,
}

impl Proxy {
    /// Starts one before `origin`.
    pub(crate) async fn start(origin: &Origin, yaml: &str) -> Self {
        Self::alone(&format!("upstream: http://{}\n{yaml}", origin.address)).await
    }

    /// Starts one that `yaml` tells where its origin is.
    pub(crate) async fn alone(yaml: &str) -> Self {
        Self::altered(yaml, |_| {}).await
    }

    /// Those who ask the admin listener for another configuration.
    pub(crate) fn reloads(&self) -> tokio::sync::mpsc::Receiver<larder::admin::in_force::Asked> {
        let mut running = self.running();
        let asked = running.reloads().expect("nobody has taken them");
        self.running.set(Some(running));
        asked
    }

    /// Has another configuration come into force, before `origin`.
    pub(crate) async fn reload(&self, origin: &Origin, yaml: &str) -> Reloaded {
        let yaml = format!("upstream: http://{}\n{yaml}", origin.address);
        let running = self.running();
        let done = running.reload(configured(&yaml)).await;
        self.running.set(Some(running));
        done.unwrap_or_else(|why| panic!("{yaml}: {why}"))
    }

    /// The same, with settings that no file can have.
    pub(crate) async fn altered(yaml: &str, alter: impl FnOnce(&mut Config)) -> Self {
        let mut config = configured(yaml);
        alter(&mut config);
        let clock = Clock::manual(Clock::system().now().wall);
        let running = app::start(config, clock.clone()).await.unwrap_or_else(|why| panic!("{why}"));
        let (address, admin) = (running.address(), running.admin());
        let flow = running.flow().clone();
        let (invalidator, monitor) = (running.invalidator(), running.monitor().clone());
        let running: Slot = Rc::new(Cell::new(Some(running)));
        STARTED.with_borrow_mut(|started| started.push(Rc::clone(&running)));
        Self { address, admin, clock, flow, monitor, invalidator, running }
    }

    pub(crate) fn ask(&self, method: &str, target: &str) -> Ask {
        ask(self.address, method, target)
    }

    pub(crate) fn get(&self, target: &str) -> Ask {
        self.ask("GET", target)
    }

    /// Asks the admin listener.
    pub(crate) async fn admin(&self, path: &str) -> Reply {
        self.admin_ask("GET", path).reply().await
    }

    /// The same, to be said more of.
    pub(crate) fn admin_ask(&self, method: &str, path: &str) -> Ask {
        ask(self.admin_address(), method, path)
    }

    /// Where its admin listener is.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin.expect("it has an admin listener")
    }

    /// Tells the admin listener something, which it has to take; what it answers.
    pub(crate) async fn tell(&self, path: &str, body: serde_json::Value) -> serde_json::Value {
        let reply = self.admin_ask("POST", path).json(&body).reply().await;
        assert_eq!(reply.status, 200, "{path} {body}: {}", reply.text());
        reply.json()
    }

    /// What would become of a request now.
    pub(crate) fn explain(&self, asked: &Asked) -> Explanation {
        self.flow.explain(asked).unwrap_or_else(|why| panic!("{asked:?}: {why}"))
    }

    /// The value of a line of `/metrics`, zero if it is not there.
    pub(crate) async fn metric(&self, line: &str) -> u64 {
        let metrics = self.admin("/metrics").await;
        let found = metrics.text().lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(' '));
        found.map_or(0, |value| value.parse().unwrap())
    }

    /// Asks for `line` of `/metrics` again and again until it says `value`.
    pub(crate) async fn counts(&self, line: &str, value: u64) {
        while self.metric(line).await != value {}
    }

    /// How it stands with the channels of `redis.subscribe`.
    pub(crate) fn subscription(&self) -> larder::invalidate::subscription::Status {
        let running = self.running();
        let status = running.subscription().expect("it listens to channels");
        self.running.set(Some(running));
        status
    }

    /// Waits until it is warm.
    pub(crate) async fn ready(&self) {
        while self.admin("/readyz").await.status != 200 {}
    }

    /// Moves its clock on.
    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    pub(crate) fn pass_secs(&self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    /// Outdates what `word` names, a tag or a path; how many entries that reached.
    pub(crate) async fn outdate(&self, word: &str) -> usize {
        self.outdate_all(named(word)).await
    }

    /// The same for anything that can be outdated.
    pub(crate) async fn outdate_all(&self, reach: Reach) -> usize {
        self.invalidate(Invalidation { reach, ..Invalidation::default() }).await
    }

    /// Outdates what `word` names softly; `author` is who wrote.
    pub(crate) async fn soften(&self, word: &str, author: Option<Author>) -> usize {
        let (reach, mode) = (named(word), Mode::Soft);
        self.invalidate(Invalidation { reach, mode, author, ..Invalidation::default() }).await
    }

    async fn invalidate(&self, invalidation: Invalidation) -> usize {
        let source = Source::Admin;
        self.invalidator.apply(Invalidation { source, ..invalidation }).await.reached.len()
    }

    /// Asks again and again until `X-Cache` says `cache`: something goes on behind the answers.
    pub(crate) async fn becomes(&self, target: &str, cache: &str) -> Reply {
        for _ in 0..2000 {
            let reply = self.get(target).reply().await;
            if reply.cache() == cache {
                return reply;
            }
        }
        panic!("{target} never becomes {cache}");
    }

    /// When this returns, everything that was sent to the proxy before has been taken up: questions that it answers
    /// by itself went the same way behind it, and are answered.
    pub(crate) async fn settled(&self) {
        for _ in 0..5 {
            let reply = self.get("/-/settled").header("cache-control", "only-if-cached").reply().await;
            assert_eq!(reply.status, 504);
        }
    }

    /// The process of it, to be stopped by the test.
    pub(crate) fn running(&self) -> Running {
        self.running.take().expect("it was not stopped before")
    }
}

/// What `yaml` says, and [`BASE`] where it says nothing.
fn configured(yaml: &str) -> Config {
    let said =
        |key: &str| yaml.lines().any(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')));
    let base: String =
        BASE.iter().filter(|(key, _)| !said(key)).map(|(key, value)| format!("{key}: {value}\n")).collect();
    let text = format!("{base}{yaml}\n");
    config::load_str("scenario.yaml", &text, &Flags::default(), &Env::default())
        .unwrap_or_else(|report| panic!("{text}\n{}", report.render(false)))
}

/// A tag, or a path with every query.
fn named(word: &str) -> Reach {
    Reach { items: vec![Item::parse(word).unwrap()] }
}
