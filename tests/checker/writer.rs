//! Writers: each changes an item, has it invalidated by one of the sources, and notes what that source acknowledged.

use std::sync::Arc;

use crate::channel::Channel;
use crate::client::{Answer, Client};
use crate::random::Random;
use crate::view::{ITEMS, SLOW, View};
use crate::world::World;

/// Credentials under which soft writes are made.
const AUTHORS: usize = 5;

/// Turns of the one who makes gaps: the first, and those from one to the next.
const GAP_FIRST: u64 = 5;
const GAP_EVERY: u64 = 50;

/// Doubtful writes that two of them make in a row, and turns until the next: meanwhile what was held is stored.
const DOUBTS: u64 = 8;
const DOUBTS_EVERY: u64 = 48;

/// Most beats until a slow write is done that reached the origin.
const PATIENCE: u64 = 400;

const JSON: (&str, &str) = ("content-type", "application/json");
const TOKEN: (&str, &str) = ("authorization", "Bearer sesame");

/// One who writes.
pub(crate) struct Writer {
    pub(crate) world: Arc<World>,
    pub(crate) random: Random,
    pub(crate) who: usize,
    pub(crate) proxy: Client,
    pub(crate) admin: Client,
    pub(crate) channel: Channel,
}

impl Writer {
    pub(crate) async fn write_on(mut self) {
        for turn in 0_u64.. {
            if self.world.is_over() {
                return;
            }
            let item = self.random.below(ITEMS as u64) as usize;
            match (self.random.below(32), self.who) {
                // One at a time, so that no gap is taken for another.
                (_, 0) if turn % GAP_EVERY == GAP_FIRST => self.gap().await,
                (_, 1 | 2) if turn % DOUBTS_EVERY < DOUBTS => self.slow(View::Doubt, item % SLOW).await,
                (0..=3, _) => self.through("PUT", &format!("/items/{item}"), "", &View::TAGGED, item).await,
                (4, _) => {
                    self.through("POST", "/bump", &format!("{{\"id\": {item}}}"), &View::TAGGED, item).await
                }
                (5, _) => self.through("POST", "/made", &item.to_string(), &View::TAGGED, item).await,
                (6..=7, _) => {
                    self.through("POST", "/announced", &item.to_string(), &View::TAGGED, item).await
                }
                (8..=9, _) => self.through("PUT", &format!("/plain/{item}"), "", &[View::Plain], item).await,
                (10, _) => self.blind(item).await,
                (11..=12, _) => self.slow(View::Late, item % SLOW).await,
                (13..=18, _) => self.purge(item).await,
                (19, _) => self.purge_path(item).await,
                (20..=21, _) => self.hook(item).await,
                (22..=24, _) => self.publish(item).await,
                (25..=29, _) => self.soft(item).await,
                _ => {}
            }
            let pause = self.random.below(30);
            self.world.hold(pause).await;
        }
    }

    /// A write through the proxy: the answer is the acknowledgement.
    async fn through(&mut self, method: &str, path: &str, body: &str, views: &[View], item: usize) {
        let Some(answer) = self.proxy.send(method, path, &[JSON], body).await else { return };
        if let Some(version) = version_in(&answer) {
            self.world.acknowledge(views, item, version);
        }
    }

    /// One whose rule does not find what it looks for: it outdates all that it may have meant.
    async fn blind(&mut self, item: usize) {
        let before = self.world.versions();
        let Some(answer) = self.proxy.send("POST", "/blind", &[JSON], &item.to_string()).await else {
            return;
        };
        if let Some(version) = version_in(&answer) {
            self.world.acknowledge_all(&View::TAGGED, &before);
            self.world.acknowledge(&View::TAGGED, item, version);
        }
    }

    /// A write that takes effect after its answer, whatever that is: what is kept from then on shows it.
    async fn slow(&mut self, view: View, item: usize) {
        let version = self.world.promise();
        let Some(_) = self.proxy.send("PUT", &view.path(item), &[], &version.to_string()).await else {
            return;
        };
        for _ in 0..PATIENCE {
            if self.world.shown(view, item) >= version {
                return self.world.acknowledge(&[view], item, version);
            }
            self.world.hold(1).await;
        }
    }

    /// A change behind the proxy's back, then a purge by one of its shapes.
    async fn purge(&mut self, item: usize) {
        self.world.commit(item);
        let versions = self.world.versions();
        let Purge { path, body, views, only } = Purge::of(&mut self.random, item);
        let Some(answer) = self.admin.send("POST", path, &[JSON, TOKEN], &body).await else { return };
        // 503: it could not be confirmed in time that it holds on other nodes. There are none: here it holds at once.
        if !answer.status.is_success() && answer.status != 503 {
            return assert_eq!(answer.status, 429, "{path} {body}: {}", answer.text());
        }
        match only {
            Some(item) => self.world.acknowledge(views, item, versions[item]),
            None => self.world.acknowledge_all(views, &versions),
        }
    }

    /// The same by `PURGE` where clients come in.
    async fn purge_path(&mut self, item: usize) {
        let version = self.world.commit(item);
        let view = self.random.pick(&[View::Item, View::Plain, View::Named]);
        let Some(answer) = self.proxy.send("PURGE", &view.path(item), &[TOKEN], "").await else { return };
        assert!(answer.status == 200 || answer.status == 503, "{}", answer.text());
        self.world.acknowledge(&[view], item, version);
    }

    async fn hook(&mut self, item: usize) {
        let version = self.world.commit(item);
        let Some(answer) = self.proxy.send("POST", "/hooks/items", &[JSON, TOKEN], &event(item)).await else {
            return;
        };
        assert!(answer.status == 200 || answer.status == 503, "{}", answer.text());
        self.world.acknowledge(&View::TAGGED, item, version);
    }

    /// A message on a channel: acknowledged when it stands among what was applied.
    async fn publish(&mut self, item: usize) {
        let version = self.world.commit(item);
        if self.channel.publish(&self.world, &mut self.admin, &mut self.random, item).await {
            self.world.acknowledge(&View::TAGGED, item, version);
        }
    }

    /// Everything is changed, and that is said while nobody listens: acknowledged when the gap is closed.
    async fn gap(&mut self) {
        (0..ITEMS).for_each(|item| _ = self.world.commit(item));
        let versions = self.world.versions();
        if self.channel.gap(&self.world, &mut self.admin).await {
            self.world.acknowledge_all(&View::PROMPT, &versions);
        }
    }

    /// A soft invalidation: only its author may count on it.
    async fn soft(&mut self, item: usize) {
        let author = self.who % AUTHORS;
        let token = format!("Bearer {author}");
        let headers = [JSON, ("authorization", token.as_str())];
        let Some(answer) = self.proxy.send("PUT", &format!("/source/{item}"), &headers, "").await else {
            return;
        };
        if let Some(version) = version_in(&answer) {
            self.world.authored(author, item, version);
        }
    }
}

/// What the admin API is told.
struct Purge {
    path: &'static str,
    body: String,
    /// What it reaches: of this item, or of all.
    views: &'static [View],
    only: Option<usize>,
}

impl Purge {
    fn of(random: &mut Random, item: usize) -> Self {
        // Most of what is named is carried by nothing.
        let others: String = (0..8).map(|_| format!(",\"other:{}\"", random.below(1_000))).collect();
        let tags = format!("{{\"tags\":[\"item:{item}\"{others}]}}");
        let below = format!("{{\"prefixes\":[\"/deep/{item}\"]}}");
        let paths = format!("{{\"paths\":[\"/items/{item}\",\"/plain/{item}\"]}}");
        let (path, body, views, only): (_, _, &[View], _) = match random.below(12) {
            0 => ("/v1/purge", "{\"tags\":\"item:*\"}".to_owned(), &View::TAGGED, None),
            1 => ("/v1/purge", below, &[View::Deep], Some(item)),
            2 => ("/v1/purge", "{\"globs\":[\"*/a/*\"]}".to_owned(), &[View::Deep], None),
            3 => ("/v1/purge", paths, &[View::Item, View::Plain], Some(item)),
            4 => ("/v1/purge", "{\"paths\":[\"/stats\"]}".to_owned(), &[View::Stats], None),
            5 => ("/v1/purge", "{\"all\":true}".to_owned(), &View::PROMPT, None),
            6..=7 => ("/client/v4/zones/z/purge_cache", tags, &View::TAGGED, Some(item)),
            8..=9 => ("/v1/events", event(item), &View::TAGGED, Some(item)),
            _ => ("/v1/purge", tags, &View::TAGGED, Some(item)),
        };
        Self { path, body, views, only }
    }
}

/// A change as webhooks, messages and the admin API are told of it.
pub(crate) fn event(item: usize) -> String {
    format!("{{\"type\":\"item.changed\",\"data\":{{\"id\":{item}}}}}")
}

/// The version that the answer to a write names, if it was done.
fn version_in(answer: &Answer) -> Option<u64> {
    let text = answer.text();
    let (_, version) = text.split_once("\"version\":").filter(|_| answer.status.is_success())?;
    version.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}
