//! Scenes that are set, where luck would take too long: in each of them one step of the protocol is what keeps the promise.
//!
//! Node `b` keeps what depends on resource 0, and `a` writes it. In every millisecond somebody asks every node for what it keeps. Where it
//! matters to a millisecond when something befalls, a scene is played with every `phase`. It refuses to know which mistakes there are.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::{advance, sleep};

use crate::fault;
use crate::fleet::journal::Journal;
use crate::fleet::sim::{Link, Old};
use crate::flow::arriving::Whence;
use crate::flow::coalesce::Role;
use crate::flow::simulation::node::{DRIFT, Node};
use crate::flow::simulation::reader::read;
use crate::flow::simulation::world::{How, World, body, key_of, path, tag, versions};
use crate::route::key::Key;
use crate::store::Found;
use crate::store::entry::{Candidate, Entry, tests as entry};
use crate::store::position::Hold;
use crate::store::ticket::FillTicket;

/// What a scene came to: the promise that was broken, if one was.
pub(super) type Broken = Option<String>;

/// More than a sweep does at once.
const MANY: usize = 4_000;

/// A lease, what is added to it, and as much again.
pub(super) const LONG: u64 = 2_200;

/// One that is set.
pub(super) struct Scene {
    pub(super) world: Arc<World>,
    nodes: Vec<Arc<Node>>,
}

impl Scene {
    /// Two nodes that have a lease each; `a`'s clock is fast, and `b`'s slow.
    pub(super) async fn of_two(replicas: u32) -> (Self, Arc<Node>, Arc<Node>) {
        let world = World::new(0, replicas);
        (0..2).for_each(|_| _ = world.server.add_replica(0));
        let mut scene = Self { world, nodes: Vec::new() };
        let (a, b) = (scene.start("a", 1_000 + DRIFT), scene.start("b", 1_000 - DRIFT));
        scene.pass(2_000).await;
        scene.fill(&b).await;
        (scene, a, b)
    }

    fn start(&mut self, name: &str, pace: u64) -> Arc<Node> {
        let node = Node::start(&self.world, name, pace);
        self.nodes.push(Arc::clone(&node));
        node
    }

    /// So many milliseconds go by.
    pub(super) async fn pass(&self, millis: u64) {
        for _ in 0..millis {
            sleep(Duration::from_millis(1)).await;
            self.tick();
        }
    }

    fn tick(&self) {
        self.nodes.iter().for_each(|node| node.tick());
        self.nodes.iter().filter(|node| node.is_there()).for_each(|node| self.look(node, &key_of(0)));
    }

    /// Somebody comes, and is served what is kept.
    fn look(&self, node: &Node, key: &Key) {
        if let Found::Entry(entry) = node.store.lookup(key, |_| true, node.clock.mono()) {
            self.world.judge(&node.name, 0, (versions(&entry), self.world.acknowledged()), How::Hit);
        }
    }

    /// Has a node keep what there is of resource 0.
    pub(super) async fn fill(&self, node: &Arc<Node>) {
        node.go(read(Arc::clone(node), 0, false));
        self.pass(200).await;
    }

    /// The same at once.
    fn keep(&self, node: &Node, key: &Key) {
        let body = body(self.world.committed());
        let ticket = node.store.ticket(node.clock.mono());
        node.store.fill(&ticket, candidate(key, body)).expect("nothing refuses it");
    }

    /// What was fetched under a ticket is there; whether it is stored is for the ticket to say.
    fn lands(&self, node: &Node, ticket: &FillTicket, body: Bytes) {
        let is_stored =
            node.store.fill(ticket, candidate(&key_of(0), body)).map(|_| ()).map_err(|refused| refused.why);
        self.world
            .note(|| format!("{} has fetched it under {}: {is_stored:?}", node.name, ticket.position()));
    }

    /// What a node keeps of resource 0, as another one is told it.
    fn told(&self, node: &Node) -> Entry {
        let kept = kept(node);
        self.world.note(|| format!("{} tells {:?} of {}", node.name, versions(&kept), kept.position()));
        entry::like(&kept, kept.tags().to_vec(), kept.position(), kept.response.body.clone())
    }

    fn write(&self, node: &Arc<Node>, resource: usize) {
        node.go(Arc::clone(node).write(Node::item(resource)));
    }

    pub(super) fn cut(&self, node: &Node, link: Link) {
        self.world.note(|| format!("{} is cut off: {link:?}", node.name));
        self.world.server.link(node.client, link);
    }

    fn far(&self, node: &Node, there: u64, back: u64) {
        let millis = Duration::from_millis;
        self.world.server.delay(node.client, millis(there), millis(back));
    }

    /// From now on, and for a second, a node reads nothing of the journal, and renews: what it has sent to read on is lost.
    async fn hang(&self, node: &Arc<Node>, by: &Arc<Node>) {
        self.far(node, 0, 20);
        self.write(by, 2);
        self.pass(15).await;
        self.cut(node, Link::Silent);
        self.pass(30).await;
        self.cut(node, Link::Up);
        self.far(node, 0, 0);
        self.pass(450).await;
    }

    pub(super) fn broken(&self) -> Broken {
        self.world.violation()
    }
}

fn kept(node: &Node) -> Arc<Entry> {
    match node.store.lookup(&key_of(0), |_| true, node.clock.mono()) {
        Found::Entry(entry) => entry,
        _ => panic!("{} keeps nothing", node.name),
    }
}

fn candidate(key: &Key, body: Bytes) -> Candidate {
    let candidate = entry::candidate("", vec![tag(0)], &HeaderMap::new(), "");
    Candidate { key: key.clone(), body, ..candidate }
}

/// A node is cut off, and comes back.
async fn absent(phase: u64, link: Link, back: u64) -> Broken {
    let (scene, a, b) = Scene::of_two(0).await;
    scene.far(&b, 0, back);
    scene.pass(1_000 + phase).await;
    scene.cut(&b, link);
    scene.write(&a, 0);
    scene.pass(LONG).await;
    scene.cut(&b, Link::Up);
    scene.pass(LONG).await;
    scene.broken()
}

pub(super) async fn cut_off(phase: u64) -> Broken {
    absent(phase, Link::Silent, 0).await
}

/// A node that owes nothing stands still for so long that it is let go. Then there is a write, and the node comes back, and reads of that
/// late.
pub(super) async fn let_go_at_once(phase: u64) -> Broken {
    let (scene, a, b) = Scene::of_two(0).await;
    scene.pass(phase).await;
    scene.cut(&b, Link::Silent);
    scene.pass(1_700).await;
    scene.write(&a, 0);
    scene.pass(100).await;
    scene.cut(&b, Link::Up);
    scene.pass(LONG).await;
    scene.broken()
}

/// Its answers take their time.
pub(super) async fn far_off(phase: u64) -> Broken {
    absent(phase, Link::Refused, 200).await
}

pub(super) async fn leaves(_: u64) -> Broken {
    let (scene, a, b) = Scene::of_two(0).await;
    b.go(Arc::clone(&b).leave());
    scene.pass(5).await;
    scene.cut(&b, Link::Refused);
    scene.write(&a, 0);
    scene.pass(LONG).await;
    scene.broken()
}

/// Something is said in words that nobody knows.
pub(super) async fn unheard_of(_: u64) -> Broken {
    let (scene, a, _) = Scene::of_two(0).await;
    a.go(Arc::clone(&a).write_unheard_of());
    scene.pass(LONG).await;
    scene.broken()
}

/// The journal lets go what a node has not read.
pub(super) async fn gap(_: u64) -> Broken {
    let (scene, a, b) = Scene::of_two(0).await;
    scene.cut(&b, Link::Refused);
    scene.write(&a, 0);
    scene.pass(LONG).await;
    scene.world.server.trim(0, u64::MAX);
    scene.cut(&b, Link::Up);
    scene.pass(2 * LONG).await;
    scene.broken()
}

/// There is much to be killed, and no thread to do it.
pub(super) async fn large(_: u64) -> Broken {
    let (scene, a, b) = Scene::of_two(0).await;
    let keys: Vec<Key> = (0..MANY).map(|n| Key::from_bytes(&n.to_be_bytes())).collect();
    for key in &keys {
        scene.keep(&b, key);
    }
    let (go_on, may_go_on) = mpsc::channel::<()>();
    tokio::task::spawn_blocking(move || may_go_on.recv());
    scene.write(&a, 0);
    for _ in 0..400 {
        // Time goes by of itself only where no thread is waited for.
        advance(Duration::from_millis(1)).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        scene.tick();
    }
    keys.iter().for_each(|key| scene.look(&b, key));
    drop(go_on);
    scene.broken()
}

/// A reader is slow: between his lookup and its end the node has caught up.
pub(super) async fn slow_reader(_: u64) -> Broken {
    let (scene, a, b) = Scene::of_two(0).await;
    scene.cut(&b, Link::Refused);
    scene.write(&a, 0);
    scene.pass(LONG).await;
    let (asked, now, mistake) = (scene.world.acknowledged(), b.clock.mono(), fault::whichever());
    let ((found, is_found), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel::<()>());
    let store = Arc::clone(&b.store);
    let reader = std::thread::spawn(move || {
        let _made = fault::make(mistake);
        let served = store.lookup(
            &key_of(0),
            |_| {
                // Nobody waits for it if nobody gets that far.
                let _ = found.send(());
                let _ = may_go_on.recv();
                true
            },
            now,
        );
        match served {
            Found::Entry(entry) => Some(versions(&entry)),
            _ => None,
        }
    });
    let _ = is_found.recv();
    scene.cut(&b, Link::Up);
    scene.pass(LONG).await;
    drop(go_on);
    if let Some(served) = reader.join().expect("it serves, or not") {
        scene.world.judge("b", 0, (served, asked), How::Hit);
    }
    scene.broken()
}

/// The counter is asked for over a long way.
pub(super) async fn long_question(phase: u64) -> Broken {
    let (scene, a, b) = Scene::of_two(0).await;
    scene.hang(&b, &a).await;
    scene.pass(phase).await;
    scene.far(&a, 200, 0);
    scene.write(&a, 0);
    scene.pass(405).await;
    scene.cut(&b, Link::Refused);
    scene.pass(100).await;
    scene.far(&a, 0, 0);
    scene.pass(LONG).await;
    scene.broken()
}

/// Somebody says that a node stands still, by what he saw of it before it moved. What it reads reaches it late.
pub(super) async fn moves_again(_: u64) -> Broken {
    let (scene, a, b) = Scene::of_two(0).await;
    let journal = Journal::Sim(scene.world.journal());
    let (extent, seen) = journal.members().await.ok()?;
    let moved = seen.into_iter().find(|member| member.about == "b")?;
    scene.far(&b, 0, 200);
    scene.pass(1_000).await;
    let _said = journal.fence(extent.epoch, &moved.incarnation, moved.renewals).await;
    for _ in 0..5 {
        scene.write(&a, 0);
        scene.pass(30).await;
    }
    scene.pass(LONG).await;
    scene.broken()
}

/// Shut out, a node reads what it owed, and cannot say so; then it owes more.
pub(super) async fn owes_more(phase: u64) -> Broken {
    let (scene, a, b) = Scene::of_two(0).await;
    scene.cut(&b, Link::Refused);
    scene.write(&a, 1);
    scene.pass(LONG + phase).await;
    scene.far(&b, 0, 20);
    scene.cut(&b, Link::Up);
    scene.pass(15).await;
    scene.cut(&b, Link::Silent);
    scene.pass(20).await;
    scene.write(&a, 0);
    scene.pass(30).await;
    scene.far(&b, 0, 0);
    scene.cut(&b, Link::Up);
    scene.pass(LONG).await;
    scene.broken()
}

/// Nobody is behind, it is said; and what is said takes its time.
pub(super) async fn late_answer(phase: u64) -> Broken {
    let (scene, a, b) = Scene::of_two(0).await;
    scene.pass(phase).await;
    scene.far(&a, 0, 240);
    scene.pass(150).await;
    scene.far(&a, 0, 0);
    scene.cut(&b, Link::Refused);
    scene.write(&a, 0);
    scene.pass(LONG).await;
    scene.broken()
}

/// A node begins after a write of unknown outcome, and its first read of the journal is late; `b` dies for it.
pub(super) async fn held(_: u64) -> Broken {
    let (mut scene, a, b) = Scene::of_two(0).await;
    let hold = Duration::from_millis(700);
    assert_eq!(a.invalidate(Node::item(0), Hold::For(hold)).await, crate::invalidate::applied::Ack::Applied);
    b.kill();
    let b = scene.start("b", 1_000);
    scene.far(&b, 0, 20);
    scene.pass(30).await;
    scene.cut(&b, Link::Silent);
    scene.pass(30).await;
    scene.far(&b, 0, 0);
    scene.cut(&b, Link::Up);
    scene.pass(360).await;
    scene.fill(&b).await;
    let late = scene.world.commit(&Node::item(0));
    scene.pass(170).await;
    scene.world.acknowledge("the end of the hold", late);
    scene.pass(LONG).await;
    scene.broken()
}

/// A node's registration arrives once more, long after it was sent: the node has a lease by then, and is cut off.
pub(super) async fn registered_again(_: u64) -> Broken {
    let (mut scene, a, b) = Scene::of_two(0).await;
    scene.write(&a, 1);
    scene.pass(20).await;
    b.kill();
    let b = scene.start("b", 1_000);
    // What it begins with is answered late; what it sends then takes its time, and is sent again.
    scene.far(&b, 0, 20);
    scene.pass(10).await;
    scene.far(&b, 900, 0);
    scene.pass(20).await;
    scene.far(&b, 0, 0);
    scene.pass(700).await;
    scene.fill(&b).await;
    scene.pass(15).await;
    scene.cut(&b, Link::Refused);
    scene.write(&a, 0);
    scene.pass(LONG).await;
    scene.broken()
}

/// What a node keeps is told to one that comes late, and reads a journal that has let go of what outdated it.
pub(super) async fn told_late(_: u64) -> Broken {
    let (mut scene, a, b) = Scene::of_two(0).await;
    let told = scene.told(&b);
    scene.write(&a, 0);
    scene.pass(50).await;
    scene.world.server.trim(0, u64::MAX);
    let c = scene.start("c", 1_000);
    scene.pass(50).await;
    // Nobody is given it if it is refused.
    let _kept = c.store.promote(told);
    scene.pass(50).await;
    scene.broken()
}

/// A flight asks the other nodes, under a lease; while it waits for them that ends, and somebody comes.
pub(super) async fn asks_others(_: u64) -> Broken {
    let (scene, a, b) = Scene::of_two(0).await;
    let told = scene.told(&b);
    b.store.remove(&kept(&b));
    let arrival = b.store.arrival(b.clock.mono());
    let Role::Pilot(departure) = b.flights.join(&key_of(0), &[path(0)], arrival, |_| true) else {
        panic!("nobody else flies");
    };
    departure.depart(b.store.ticket(b.clock.mono()));
    scene.cut(&b, Link::Refused);
    scene.write(&a, 0);
    scene.pass(LONG).await;
    b.go(read(Arc::clone(&b), 0, false));
    scene.pass(50).await;
    if let Ok(kept) = b.store.promote(told) {
        departure.land((versions(&kept), Some((kept, Whence::Told))));
    }
    scene.pass(50).await;
    scene.broken()
}

/// All data is lost while a node is cut off.
pub(super) async fn wiped(_: u64) -> Broken {
    let (scene, a, b) = Scene::of_two(0).await;
    scene.cut(&b, Link::Refused);
    scene.world.server.wipe(0);
    scene.write(&a, 0);
    scene.pass(2 * LONG).await;
    scene.cut(&b, Link::Up);
    scene.pass(2 * LONG).await;
    scene.broken()
}

/// All data is lost that a node has not heard of.
pub(super) async fn forgotten(_: u64) -> Broken {
    let (scene, a, b) = Scene::of_two(0).await;
    scene.cut(&b, Link::Refused);
    scene.write(&a, 0);
    scene.pass(LONG).await;
    scene.world.server.wipe(0);
    scene.cut(&b, Link::Up);
    scene.pass(2 * LONG).await;
    scene.broken()
}

/// All data is lost while a fetch is under way that was outdated before.
pub(super) async fn under_way(_: u64) -> Broken {
    let (scene, a, b) = Scene::of_two(0).await;
    let (ticket, old) = (b.store.ticket(b.clock.mono()), body(scene.world.committed()));
    scene.write(&a, 0);
    scene.pass(50).await;
    scene.world.server.wipe(0);
    scene.pass(LONG).await;
    scene.lands(&b, &ticket, old);
    scene.pass(50).await;
    scene.broken()
}

/// A new epoch has fewer records than the last one.
pub(super) async fn fewer(_: u64) -> Broken {
    let (scene, a, b) = Scene::of_two(0).await;
    for _ in 0..5 {
        scene.write(&a, 1);
        scene.pass(20).await;
    }
    scene.world.server.wipe(0);
    scene.pass(LONG).await;
    scene.fill(&b).await;
    scene.write(&a, 0);
    scene.pass(LONG).await;
    scene.broken()
}

/// A replica has not heard of the last record, and becomes primary; `goes_back`: the old one follows it, and is primary again.
async fn lost_tail(goes_back: bool) -> Broken {
    let (scene, a, b) = Scene::of_two(0).await;
    let server = &scene.world.server;
    scene.write(&a, 1);
    scene.pass(50).await;
    server.hold_back(1);
    scene.write(&a, 1);
    scene.pass(50).await;
    scene.fill(&b).await;
    server.promote(1, Old::Gone);
    if goes_back {
        server.follow(0, 1);
        server.promote(0, Old::Gone);
    }
    scene.write(&a, 0);
    scene.pass(2 * LONG).await;
    scene.broken()
}

pub(super) async fn promoted(_: u64) -> Broken {
    lost_tail(false).await
}

pub(super) async fn promoted_and_back(_: u64) -> Broken {
    lost_tail(true).await
}

/// Two primaries; `goes` goes over to the new one, which all replicas follow, and `a` writes.
async fn split(goes: &str) -> Broken {
    let (scene, a, b) = Scene::of_two(1).await;
    let server = &scene.world.server;
    server.promote(1, Old::Isolated);
    server.follow(2, 1);
    server.aim(if goes == "a" { a.client } else { b.client }, 1);
    scene.pass(LONG).await;
    scene.fill(&b).await;
    scene.write(&a, 0);
    scene.pass(2 * LONG).await;
    scene.broken()
}

pub(super) async fn writer_goes_over(_: u64) -> Broken {
    split("a").await
}

pub(super) async fn writer_stays(_: u64) -> Broken {
    split("b").await
}

/// Two primaries, and a replica that confirms for the old one until the new one's first node has waited for long.
pub(super) async fn witness(phase: u64) -> Broken {
    let (scene, a, b) = Scene::of_two(1).await;
    let server = &scene.world.server;
    server.promote(1, Old::Isolated);
    server.aim(a.client, 1);
    scene.pass(1_300 + phase).await;
    scene.fill(&b).await;
    server.follow(2, 1);
    scene.write(&a, 0);
    scene.pass(LONG).await;
    scene.broken()
}

/// Two primaries, and a replica that confirms for the old one, and then for the new one, which `b` has reached meanwhile.
pub(super) async fn goes_ahead(_: u64) -> Broken {
    let (scene, a, b) = Scene::of_two(1).await;
    let server = &scene.world.server;
    server.promote(1, Old::Isolated);
    server.aim(b.client, 1);
    // What is between it and the old one is gone.
    scene.cut(&b, Link::Refused);
    scene.pass(1).await;
    scene.cut(&b, Link::Up);
    scene.pass(500).await;
    let (ticket, old) = (b.store.ticket(b.clock.mono()), body(scene.world.committed()));
    scene.write(&a, 0);
    scene.pass(LONG).await;
    server.follow(2, 1);
    scene.pass(LONG).await;
    scene.lands(&b, &ticket, old);
    scene.pass(50).await;
    scene.broken()
}

/// What was said in one epoch is heard when the next one has begun.
pub(super) async fn late_word(phase: u64) -> Broken {
    let (scene, a, b) = Scene::of_two(0).await;
    for _ in 0..3 {
        scene.write(&a, 1);
        scene.pass(20).await;
    }
    // It makes `a` renew, and read, at another time than it looks.
    scene.pass(280).await;
    scene.write(&b, 1);
    scene.pass(100 + phase).await;
    scene.far(&a, 0, 240);
    scene.pass(60).await;
    scene.world.server.flush(0);
    // Its reader finds out by itself, and soon.
    scene.world.server.link(b.client, Link::Refused);
    scene.pass(1).await;
    scene.world.server.link(b.client, Link::Up);
    scene.far(&a, 0, 0);
    scene.pass(101).await;
    scene.keep(&b, &key_of(0));
    scene.cut(&b, Link::Refused);
    scene.write(&a, 0);
    scene.pass(LONG).await;
    scene.broken()
}
