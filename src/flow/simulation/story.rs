//! A story by lot: readers and writers on every node, and at any time something that befalls one of them, or the servers.
//!
//! Invariant: where replicas have to confirm, the primary and one replica are more than half of all copies, and no replica goes back from
//! a newer primary to an older one; without them, a primary that was replaced is gone for everybody. At the end everything is
//! mended, and the fleet has to recover. It refuses to know how anything is served.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::sleep;

use crate::fault::{self, Mistake};
use crate::fleet::sim::{Key, Link, Old};
use crate::flow::simulation::node::{DRIFT, LEASE, Node};
use crate::flow::simulation::reader::read;
use crate::flow::simulation::world::{Counts, KEYS, RESOURCES, World};
use crate::route::reach::{Gaps, Item};

/// How long a story goes on, in milliseconds.
const LENGTH: u64 = 12_000;

/// How long a fleet may take to recover from whatever befell it, in milliseconds: the longest pause between two attempts, a new epoch and
/// its wait, and an acknowledgement.
const RECOVERY: u64 = 15_000;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// What stories came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ended {
    pub(super) digest: u64,
    counts: Counts,
    gaps: u64,
    failovers: u64,
    starts: u64,
}

struct Story {
    world: Arc<World>,
    nodes: Vec<Arc<Node>>,
    /// What ends by itself, and when.
    due: Vec<(u64, Due)>,
    at: u64,
    reign: Reign,
    ended: Ended,
}

enum Due {
    Mend(Arc<Node>),
    GoOn(Arc<Node>),
    Start(usize),
    /// A client goes over to the newer primary.
    Aim(Arc<Node>),
    /// A server follows the newer primary.
    Follow(usize),
    /// A replica that was held back is in step again.
    CatchUp(usize),
}

/// Who is primary.
struct Reign {
    primary: usize,
    /// Who was before, and is still to follow.
    others: usize,
}

/// Plays one story to its end.
///
/// # Errors
/// What went wrong, and what happened before.
pub(super) fn play(seed: u64, mistake: Option<Mistake>) -> Result<Ended, String> {
    alone(mistake, async move { Story::begin(seed).play().await })
}

/// Runs something on a runtime of its own, whose time is nobody's, making a mistake.
pub(super) fn alone<T>(mistake: Option<Mistake>, story: impl Future<Output = T>) -> T {
    let _made = fault::make(mistake);
    let runtime =
        Builder::new_current_thread().enable_time().start_paused(true).max_blocking_threads(1).build();
    runtime.expect("a runtime needs nothing").block_on(story)
}

impl Story {
    fn begin(seed: u64) -> Self {
        let replicas = u32::from(seed % 3 == 2);
        let world = World::new(seed, replicas);
        if replicas > 0 {
            (0..2).for_each(|_| _ = world.server.add_replica(0));
        }
        let nodes = 2 + world.below(3) as usize;
        let mut story = Self {
            nodes: Vec::new(),
            due: Vec::new(),
            at: 0,
            reign: Reign { primary: 0, others: 0 },
            ended: Ended::default(),
            world,
        };
        (0..nodes).for_each(|n| {
            let node = story.start(n);
            story.nodes.push(node);
        });
        story
    }

    async fn play(mut self) -> Result<Ended, String> {
        for _ in 0..LENGTH {
            self.tick().await?;
            if self.world.one_in(8) {
                let node = self.any();
                node.go(read(
                    Arc::clone(&node),
                    self.world.below(KEYS.len() as u64) as usize,
                    self.world.one_in(5),
                ));
            }
            if self.world.one_in(150) {
                self.write();
            }
            if self.world.one_in(350) {
                self.befall();
            }
        }
        self.recover().await?;
        self.ended.counts = self.world.counts();
        self.ended.digest = self.world.digest();
        Ok(self.ended)
    }

    /// A millisecond goes by.
    async fn tick(&mut self) -> Result<(), String> {
        sleep(Duration::from_millis(1)).await;
        self.at += 1;
        self.nodes.iter().for_each(|node| node.tick());
        let at = self.at;
        while let Some(due) = self.due.iter().position(|(when, _)| *when <= at) {
            let (_, due) = self.due.remove(due);
            self.end(due);
        }
        self.world.violation().map_or(Ok(()), Err)
    }

    fn start(&mut self, n: usize) -> Arc<Node> {
        self.ended.starts += 1;
        let pace = 1_000 - DRIFT + self.world.below(2 * DRIFT + 1);
        Node::start_at(&self.world, NAMES[n], pace, self.reign.primary)
    }

    fn any(&self) -> Arc<Node> {
        Arc::clone(&self.nodes[self.world.below(self.nodes.len() as u64) as usize])
    }

    fn write(&self) {
        let node = self.any();
        if self.world.one_in(20) {
            return node.go(Arc::clone(&node).write_unheard_of());
        }
        let item = match self.world.below(8) {
            0 => Item::All,
            1 => Item::Tags(Gaps::parse("r:*")),
            n => Node::item(n as usize % RESOURCES),
        };
        node.go(Arc::clone(&node).write(item));
    }

    fn later(&mut self, most: u64, due: Due) {
        let at = self.at + 1 + self.world.below(most);
        self.due.push((at, due));
    }

    fn befall(&mut self) {
        let node = self.any();
        match self.world.below(12) {
            0..4 => self.cut(node),
            4..6 => {
                let (there, back) = (self.world.some(200), self.world.some(200));
                self.world.note(|| format!("{} is far: {there:?} and {back:?}", node.name));
                self.world.server.delay(node.client, there, back);
                self.later(3_000, Due::Mend(node));
            }
            6..8 => {
                node.stop(true);
                self.later(3_000, Due::GoOn(node));
            }
            8 => {
                node.kill();
                self.replace(&node);
            }
            9 => {
                node.go(Arc::clone(&node).leave());
                self.replace(&node);
            }
            _ => self.befall_servers(),
        }
    }

    fn cut(&mut self, node: Arc<Node>) {
        let link = [Link::Refused, Link::Silent, Link::Deaf][self.world.below(3) as usize];
        self.world.note(|| format!("{} is cut off: {link:?}", node.name));
        self.world.server.link(node.client, link);
        let most = if self.world.one_in(2) { 300 } else { 3_000 };
        self.later(most, Due::Mend(node));
    }

    /// Another process takes its place; until then its readers come to the one that was there.
    fn replace(&mut self, node: &Arc<Node>) {
        let n = NAMES.iter().position(|name| *name == node.name).unwrap_or_default();
        self.later(2_000, Due::Start(n));
    }

    fn befall_servers(&mut self) {
        let (primary, server) = (self.reign.primary, self.world.server.clone());
        let what = self.world.below(if self.world.replicas > 0 { 10 } else { 8 });
        self.world.note(|| format!("the servers are befallen: {what}"));
        match what {
            0 => server.restart(primary),
            1 => server.wipe(primary),
            2 => server.flush(primary),
            3 => server.lose(primary, [Key::Meta, Key::Journal, Key::Members][self.world.below(3) as usize]),
            4..8 => server.trim(primary, u64::MAX),
            _ => self.fail_over(),
        }
    }

    /// A replica takes the primary's place, which may live on for those who still reach it.
    fn fail_over(&mut self) {
        if self.reign.others > 0 {
            return;
        }
        let old = self.reign.primary;
        let next = (old + 1 + self.world.below(2) as usize) % 3;
        let third = 3 - old - next;
        let server = self.world.server.clone();
        if self.world.one_in(3) {
            // It has not heard all of it.
            server.hold_back(next);
            self.later(500, Due::CatchUp(next));
            return;
        }
        let is_gone = self.world.one_in(3);
        self.world.note(|| format!("{next} takes the place of {old}"));
        server.promote(next, if is_gone { Old::Gone } else { Old::Isolated });
        self.ended.failovers += 1;
        self.reign = Reign { primary: next, others: 2 };
        (0..self.nodes.len()).for_each(|n| {
            let node = Arc::clone(&self.nodes[n]);
            self.later(3_000, Due::Aim(node));
        });
        self.later(3_000, Due::Follow(third));
        self.later(6_000, Due::Follow(old));
    }

    fn end(&mut self, due: Due) {
        let server = self.world.server.clone();
        match due {
            Due::Mend(node) => self.mend(&node),
            Due::GoOn(node) => node.stop(false),
            Due::Start(n) => {
                if let Some(at) = self.nodes.iter().position(|node| node.name == NAMES[n]) {
                    self.nodes[at].kill();
                    self.nodes[at] = self.start(n);
                }
            }
            Due::Aim(node) => {
                self.world.note(|| format!("{} goes over", node.name));
                server.aim(node.client, self.reign.primary);
            }
            Due::Follow(other) => {
                self.world.note(|| format!("{other} follows {}", self.reign.primary));
                server.follow(other, self.reign.primary);
                self.reign.others -= 1;
            }
            Due::CatchUp(replica) if self.reign.others == 0 && replica != self.reign.primary => {
                server.follow(replica, self.reign.primary);
            }
            Due::CatchUp(_) => {}
        }
    }

    fn mend(&self, node: &Node) {
        self.world.note(|| format!("{} is mended", node.name));
        self.world.server.link(node.client, Link::Up);
        self.world.server.delay(node.client, Duration::ZERO, Duration::ZERO);
    }

    /// All is mended: every node gets a write acknowledged, and then a hit.
    async fn recover(&mut self) -> Result<(), String> {
        for (_, due) in std::mem::take(&mut self.due) {
            self.end(due);
        }
        for n in 0..self.nodes.len() {
            let node = Arc::clone(&self.nodes[n]);
            self.mend(&node);
            node.stop(false);
            self.ended.gaps += node.fleet.standing().gaps;
            self.world.server.aim(node.client, self.reign.primary);
        }
        for n in 0..self.nodes.len() {
            let node = Arc::clone(&self.nodes[n]);
            if !node.is_there() || node.has_left() {
                continue;
            }
            let before = self.world.counts();
            self.until(|story| {
                if story.at.is_multiple_of(4 * LEASE.as_millis() as u64) {
                    node.go(Arc::clone(&node).write(Node::item(0)));
                }
                story.world.counts().acknowledged > before.acknowledged
            })
            .await
            .map_err(|what| format!("{} gets nothing acknowledged: {what}", node.name))?;
            let before = self.world.counts();
            self.until(|story| {
                if story.at.is_multiple_of(200) {
                    node.go(read(Arc::clone(&node), 0, false));
                }
                story.world.counts().hits > before.hits
            })
            .await
            .map_err(|what| format!("{} serves nothing of what it keeps: {what}", node.name))?;
        }
        Ok(())
    }

    async fn until(&mut self, mut is_done: impl FnMut(&Self) -> bool) -> Result<(), String> {
        for _ in 0..RECOVERY {
            self.tick().await?;
            if is_done(self) {
                return Ok(());
            }
        }
        Err(self.world.told("not within the time"))
    }
}

impl Ended {
    pub(super) fn add(&mut self, other: &Self) {
        let Counts { hits, waited, fetched, confirmed, acknowledged, unconfirmed } = &mut self.counts;
        *hits += other.counts.hits;
        *waited += other.counts.waited;
        *fetched += other.counts.fetched;
        *confirmed += other.counts.confirmed;
        *acknowledged += other.counts.acknowledged;
        *unconfirmed += other.counts.unconfirmed;
        self.gaps += other.gaps;
        self.failovers += other.failovers;
        self.starts += other.starts;
    }

    /// Whether all came about that should in enough stories.
    pub(super) fn has_seen_everything(&self) -> bool {
        let Counts { hits, waited, fetched, confirmed, acknowledged, unconfirmed } = self.counts;
        let seen = [hits, waited, fetched, confirmed, acknowledged, unconfirmed, self.gaps, self.failovers];
        seen.iter().all(|times| *times > 0)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { counts, gaps, failovers, starts, .. } = self;
        write!(f, "{counts}, {gaps} gaps, {failovers} failovers, {starts} processes")
    }
}
