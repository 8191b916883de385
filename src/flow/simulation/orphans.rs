//! Scenes about writes of which nobody says the end: what they may have outdated is kept by nobody once they must be over.
//!
//! In each of them a write of resource 0 is forwarded with an intent, and the origin commits it late. It refuses to know which mistakes
//! there are.

use std::time::Duration;

use bytes::Bytes;

use crate::fleet::journal::Journal;
use crate::fleet::sim::{Link, Old};
use crate::flow::simulation::node::Node;
use crate::flow::simulation::scenes::{Broken, LONG, Scene};
use crate::flow::simulation::world::Versions;
use crate::invalidate::intent::Intent;
use crate::invalidate::{Invalidation, Source};
use crate::route::reach::Reach;

/// For how long a write may go on when nobody hears of it, in milliseconds.
const GOES_ON: u64 = 9_000;

/// Records that are kept at least, where some are let go.
const FEW: u64 = 10;

/// A journal looks only so often what it may let go: at each place that is a multiple of this.
const LOOKS: u64 = 100;

impl Scene {
    /// A write of `resource` through `node` that may leave; `None`: it may not.
    async fn forwards(&self, node: &Node, resource: usize) -> Option<Intent> {
        let reach = Reach { items: vec![Node::item(resource)] };
        let outdates = Invalidation { reach, source: Source::Write, ..Invalidation::default() };
        let patience = Duration::from_millis(GOES_ON);
        let intent = node.invalidator.intend(outdates, None, patience).expect("it is a node of a fleet");
        let may_leave = intent.leash().may_leave().await;
        self.world.note(|| format!("{} forwards: {may_leave:?}", node.name));
        may_leave.is_ok().then_some(intent)
    }

    /// The origin commits what was forwarded.
    fn commits_late(&self) -> Versions {
        self.world.note(|| "the origin commits it".to_owned());
        self.world.commit(&Node::item(0))
    }

    /// The write must be over, and others had the time to find that out.
    async fn is_over(&self, written: Versions) -> Broken {
        self.pass(GOES_ON + LONG).await;
        self.world.acknowledge("the end of the write", written);
        self.pass(LONG).await;
        self.broken()
    }
}

/// A node dies while it forwards a write. `b` keeps what that is about.
pub(super) async fn orphaned(_: u64) -> Broken {
    let (scene, a, _b) = Scene::of_two(0).await;
    let _intent = scene.forwards(&a, 0).await.expect("it may leave");
    a.kill();
    let written = scene.commits_late();
    scene.is_over(written).await
}

/// The same when no replica hears of its intent any more, and one of them takes the primary's place. It may leave only by mistake, and then
/// `b` fetches before the origin commits.
pub(super) async fn orphaned_by_the_primary(_: u64) -> Broken {
    let (scene, a, b) = Scene::of_two(1).await;
    let _other = scene.forwards(&a, 2).await.expect("replicas have its intent");
    let server = &scene.world.server;
    (1..=2).for_each(|replica| server.hold_back(replica));
    let _intent = scene.forwards(&a, 0).await?;
    a.kill();
    server.promote(1, Old::Gone);
    server.follow(2, 1);
    scene.pass(LONG).await;
    scene.fill(&b).await;
    let written = scene.commits_late();
    scene.is_over(written).await
}

/// A node gives a write up, and the journal lets go of what says so before `b` has read it. `b` fetches before the origin commits.
pub(super) async fn let_go(_: u64) -> Broken {
    let (scene, a, b) = Scene::of_two(0).await;
    let intent = scene.forwards(&a, 0).await.expect("it may leave");
    scene.cut(&b, Link::Refused);
    drop(intent);
    scene.pass(LONG).await;
    let journal = Journal::Sim(scene.world.journal_of(FEW));
    let epoch = journal.begin().await.expect("it is there").epoch;
    let other = Bytes::from_static(b"{\"v\":99,\"hold\":\"None\"}");
    let append =
        async || journal.append(epoch, other.clone()).await.expect("it is there").expect("the epoch lasts");
    while append().await < LOOKS {}
    scene.cut(&b, Link::Up);
    scene.pass(LONG).await;
    scene.fill(&b).await;
    let written = scene.commits_late();
    scene.is_over(written).await
}
