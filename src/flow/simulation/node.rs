//! One simulated node: the production code of a fleet's member, which may be stopped, die, or leave.
//!
//! Invariant: whatever a node does is done by tasks that stand still while it is stopped, and for ever once it is dead; its clock goes on
//! meanwhile. What production leaves to a thread of its own is done before anything else goes on, so no thread decides on an
//! order. It refuses to know what befalls it, and why.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::clock::Clock;
use crate::fault::{self, Mistake};
use crate::fleet::journal::Journal;
use crate::fleet::sim::Link;
use crate::fleet::{self, Coherence, Fleet, Follower, WhenDown, WritesWhenDown};
use crate::flow::coalesce::Flights;
use crate::flow::simulation::reader::Landing;
use crate::flow::simulation::world::{World, tag};
use crate::invalidate::applied::Ack;
use crate::invalidate::{self, Invalidation, Invalidator, Source};
use crate::metrics::Metrics;
use crate::redis::Address;
use crate::redis::place::Where;
use crate::route::reach::{Item, Reach};
use crate::store::position::{Hold, Position};
use crate::store::{self, Store};
use crate::tier::Standing;

/// How long a node may go on that cannot be reached.
pub(super) const LEASE: Duration = Duration::from_secs(1);

/// How much faster, or slower, a clock may go, in thousandths: two of them differ by less than the tenth that is added to a lease.
pub(super) const DRIFT: u64 = 40;

/// A node, as long as its process lives.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) world: Arc<World>,
    pub(super) clock: Clock,
    /// By how much its clock moves in a millisecond.
    pace: Duration,
    pub(super) store: Arc<Store>,
    pub(super) invalidator: Invalidator,
    pub(super) fleet: Fleet,
    pub(super) flights: Arc<Flights<Landing>>,
    /// Its number among the clients of the journal.
    pub(super) client: usize,
    process: Mutex<Process>,
}

#[derive(Default)]
struct Process {
    is_stopped: bool,
    is_dead: bool,
    has_left: bool,
    wakers: Vec<Waker>,
}

impl Node {
    /// A process that has just begun; `pace` thousandths of its clock are a second.
    pub(super) fn start(world: &Arc<World>, name: &str, pace: u64) -> Arc<Self> {
        Self::start_at(world, name, pace, 0)
    }

    /// The same, sent to this server first.
    pub(super) fn start_at(world: &Arc<World>, name: &str, pace: u64, server: usize) -> Arc<Self> {
        let metrics = Arc::new(Metrics::new(&[]));
        let limits = store::Settings { memory: 16 << 20, entries: None };
        let store = Arc::new(Store::new(&limits, Arc::clone(&metrics)));
        let clock = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let parts = (Arc::clone(&store), clock.clone(), Arc::clone(&metrics));
        let invalidator = Invalidator::new(invalidate::Settings::default(), parts.0, parts.1, parts.2);
        let settings = fleet::Settings {
            at: Where::One(Address::parse("redis://nowhere").unwrap()),
            lease: LEASE,
            ack_timeout: 3 * LEASE,
            when_down: WhenDown::Origin,
            writes_when_down: WritesWhenDown::Open,
            coherence: Coherence::Acked,
            namespace: String::new(),
            replicas: world.replicas,
            about: name.to_owned(),
        };
        let journal = world.journal();
        let client = journal.client();
        world.server.aim(client, server);
        let parts = (Journal::Sim(journal), Arc::clone(&store), clock.clone(), metrics);
        let fleet = Fleet::new(settings, parts.0, parts.1, Standing::default(), parts.2, parts.3);
        invalidator.join(fleet.clone(), 7);
        let node = Arc::new(Self {
            name: name.to_owned(),
            world: Arc::clone(world),
            clock,
            pace: Duration::from_micros(pace),
            store,
            invalidator,
            fleet,
            flights: Arc::default(),
            client,
            process: Mutex::default(),
        });
        world.note(|| format!("{name} starts"));
        node.go(Life::of(&node));
        node
    }

    /// A millisecond has gone by.
    pub(super) fn tick(&self) {
        self.clock.advance(self.pace);
    }

    /// Does something as long as the process lives, whenever it is not stopped.
    pub(super) fn go(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(Task { node: Arc::clone(self), task: Box::pin(task) });
    }

    /// Stops the process, or lets it go on.
    pub(super) fn stop(&self, is_stopped: bool) {
        self.world.note(|| format!("{} {}", self.name, if is_stopped { "stops" } else { "goes on" }));
        let wakers = {
            let mut process = self.process();
            process.is_stopped = is_stopped;
            if is_stopped { Vec::new() } else { std::mem::take(&mut process.wakers) }
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ends the process without a word.
    pub(super) fn kill(&self) {
        self.world.note(|| format!("{} dies", self.name));
        self.process().is_dead = true;
        self.world.server.link(self.client, Link::Refused);
    }

    /// Whether the process lives.
    pub(super) fn is_there(&self) -> bool {
        !self.process().is_dead
    }

    /// Says that the origin has committed what `item` covers.
    pub(super) async fn write(self: Arc<Self>, item: Item) {
        let written = self.world.commit(&item);
        self.world.note(|| format!("{} writes {written:?}", self.name));
        self.world.pause(5).await;
        match self.invalidate(item, Hold::None).await {
            Ack::Applied => self.world.acknowledge(&self.name, written),
            Ack::Unconfirmed(_) | Ack::Broadcast => self.world.leave_unconfirmed(&self.name, written),
        }
    }

    /// Outdates what `item` covers.
    pub(super) async fn invalidate(&self, item: Item, hold: Hold) -> Ack {
        let reach = Reach { items: vec![item] };
        let invalidation = Invalidation { reach, hold, source: Source::Write, ..Invalidation::default() };
        self.invalidator.apply(invalidation).await.ack
    }

    /// A node of a newer build says something in words that nobody else knows.
    pub(super) async fn write_unheard_of(self: Arc<Self>) {
        let written = self.world.commit(&Item::All);
        self.world.note(|| format!("{} writes {written:?} in words that nobody knows", self.name));
        let Ok(place) = self.fleet.append(Bytes::from_static(b"{\"v\":99,\"hold\":\"None\"}"), None).await
        else {
            return;
        };
        if self.fleet.everywhere(place).await.is_ok() {
            self.world.acknowledge(&self.name, written);
        }
    }

    /// Leaves the fleet, and goes on for as long as the process lives.
    pub(super) async fn leave(self: Arc<Self>) {
        self.world.note(|| format!("{} leaves", self.name));
        self.process().has_left = true;
        self.fleet.leave().await;
    }

    /// Whether it has left, or is about to.
    pub(super) fn has_left(&self) -> bool {
        self.process().has_left
    }

    /// One resource.
    pub(super) fn item(resource: usize) -> Item {
        Item::Tag(tag(resource))
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that a process does.
struct Task {
    node: Arc<Node>,
    task: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        {
            let mut process = this.node.process();
            if process.is_dead {
                return Poll::Ready(());
            }
            if process.is_stopped {
                process.wakers.push(cx.waker().clone());
                return Poll::Pending;
            }
        }
        this.task.as_mut().poll(cx)
    }
}

/// A node's life in the fleet; what it leaves to another thread is done when it has been polled, and not before.
struct Life {
    live: Pin<Box<dyn Future<Output = ()> + Send>>,
    follower: Arc<Following>,
}

/// The applier.
struct Following {
    node: Arc<Node>,
    mistake: Option<Mistake>,
    /// Of the thread that polls; the other one waits for it.
    turn: Mutex<()>,
}

impl Life {
    fn of(node: &Arc<Node>) -> Self {
        let follower =
            Following { node: Arc::clone(node), mistake: fault::whichever(), turn: Mutex::default() };
        let follower = Arc::new(follower);
        let shared: Arc<Following> = Arc::clone(&follower);
        Self { live: Box::pin(node.fleet.clone().live(shared)), follower }
    }
}

impl Future for Life {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let follower = Arc::clone(&self.follower);
        // Its own, the one that lives, and this one.
        let here = 3;
        loop {
            {
                let _turn = follower.turn.lock().unwrap_or_else(PoisonError::into_inner);
                if self.live.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                if Arc::strong_count(&follower) == here {
                    return Poll::Pending;
                }
            }
            // There is one such thread, and it takes one after the other.
            let (done, is_done) = mpsc::channel();
            tokio::task::spawn_blocking(move || done.send(()));
            is_done.recv().expect("the thread lives as long as the runtime");
        }
    }
}

impl Follower for Following {
    fn begin_anew(&self, at: Position) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Mistakes are a thread's own.
        let _made = fault::make(self.mistake);
        self.node.world.note(|| format!("{} begins anew at {}", self.node.name, at.n));
        Follower::begin_anew(&self.node.invalidator, at);
    }

    fn apply(&self, at: Position, record: Bytes) {
        self.node.world.note(|| format!("{} applies {}", self.node.name, at.n));
        Follower::apply(&self.node.invalidator, at, record);
    }
}
