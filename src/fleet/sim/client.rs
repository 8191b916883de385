//! What a node asks the servers in memory, over a link that may be late, cut, or open in one direction only.
//!
//! Invariant: what was sent arrives once or never, in the time that the test set, whether or not somebody still waits for
//! the answer; no answer is taken for another's. Times are the runtime's. It refuses to know what is asked.

use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::fleet::journal::{Away, Incarnation, Read, Settings};
use crate::fleet::request::{Answer, Request};
use crate::fleet::sim::data::Here;
use crate::fleet::sim::{Client, Link, Role, Server, SimServer, World};
use crate::store::position::Position;

/// The journal of a [`SimServer`], as one node sees it.
pub struct SimJournal {
    server: SimServer,
    client: usize,
    settings: Settings,
    /// To whom the connection is on which it reads.
    reader: Mutex<Option<Peer>>,
}

/// One start of one server: what a connection lasts no longer than.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Peer {
    at: usize,
    run: u64,
}

/// What a primary has answered, and what has to be replicated before it counts.
struct Done {
    answer: Answer,
    writes: u64,
}

impl SimJournal {
    pub(in crate::fleet::sim) fn new(server: SimServer, client: usize, settings: Settings) -> Self {
        Self { server, client, settings, reader: Mutex::default() }
    }

    /// Its number among the clients of the server.
    pub fn client(&self) -> usize {
        self.client
    }

    /// A name that no incarnation ever had.
    pub(in crate::fleet) fn name(&self) -> Incarnation {
        Incarnation(format!("{:016x}", self.server.world().give()))
    }

    /// Runs a script, and waits for the replicas if the answer is one that needs them.
    pub(in crate::fleet) async fn ask(&self, epoch: u64, request: Request) -> Result<Answer, Away> {
        let replicas = self.settings.replicas;
        let asked = async {
            let counts = |answer: &Answer| replicas > 0 && request.counts_when_replicated(answer);
            let peer = self.peer();
            let done = self.send(peer, epoch, request.clone()).await?;
            if counts(&done.answer) {
                self.replicated(peer, done.writes).await?;
            }
            self.hear().await.map(|()| done.answer)
        };
        within(self.settings.deadline, asked).await
    }

    /// What stands behind the cursor.
    pub(in crate::fleet) async fn read(&self, after: Position, wait: Duration) -> Result<Read, Away> {
        let read = async {
            let mut reader = self.reader.lock().await;
            let (until, peer, last) = (Instant::now() + wait, self.peer(), reader.take());
            self.arrive(self.is()).await?;
            // On a new connection, whoever waits may wait for what never comes there.
            let at_once = if last == Some(peer) { None } else { self.look(peer, after)? };
            let found = match at_once {
                Some(found) => found,
                None => self.waits(peer, after, until).await?,
            };
            self.hear().await?;
            // Whoever tells of another epoch may be another server than the one that the scripts run on.
            *reader = if matches!(found, Read::Began(_)) { None } else { Some(peer) };
            Ok(found)
        };
        within(self.settings.deadline.saturating_add(wait), read).await
    }

    async fn waits(&self, peer: Peer, after: Position, until: Instant) -> Result<Read, Away> {
        loop {
            let mut changed = pin!(self.server.0.changed.notified());
            changed.as_mut().enable();
            if let Some(records) = self.glance(peer, after)? {
                return Ok(Read::Records(records));
            }
            if timeout_at(until, changed).await.is_err() {
                let found = self.look(peer, after)?;
                return Ok(found.unwrap_or_else(|| Read::Records(Vec::new())));
            }
        }
    }

    fn is(&self) -> Client {
        self.server.world().clients[self.client]
    }

    fn peer(&self) -> Peer {
        let world = self.server.world();
        let at = world.clients[self.client].at;
        Peer { at, run: world.servers[at].reign.run }
    }

    /// Goes the way to the server, if there is one.
    async fn arrive(&self, client: Client) -> Result<(), Away> {
        match client.link {
            Link::Up | Link::Deaf => sleep_some(client.there).await,
            Link::Refused => return Err(nobody()),
            Link::Silent => pending().await,
        }
        Ok(())
    }

    /// Goes the way back.
    async fn hear(&self) -> Result<(), Away> {
        let client = self.is();
        match client.link {
            Link::Up => sleep_some(client.back).await,
            Link::Refused => return Err(nobody()),
            Link::Silent | Link::Deaf => pending().await,
        }
        Ok(())
    }

    /// Sends a request; it is done when it arrives, in a task of its own if that takes time.
    async fn send(&self, peer: Peer, epoch: u64, request: Request) -> Result<Done, Away> {
        let client = self.is();
        let (server, settings) = (self.server.clone(), self.settings.clone());
        let done = move || done(&server, peer, &settings, epoch, request);
        match client.link {
            Link::Up | Link::Deaf if client.there.is_zero() => done(),
            Link::Up | Link::Deaf => {
                let (tell, told) = oneshot::channel();
                tokio::spawn(async move {
                    sleep_some(client.there).await;
                    // Whoever has asked may have gone.
                    let _ = tell.send(done());
                });
                told.await.unwrap_or_else(|_| Err(nobody()))
            }
            Link::Refused => Err(nobody()),
            Link::Silent => pending().await,
        }
    }

    async fn replicated(&self, peer: Peer, writes: u64) -> Result<(), Away> {
        let wanted = self.settings.replicas;
        let until = Instant::now() + self.settings.deadline / 2;
        loop {
            let mut changed = pin!(self.server.0.changed.notified());
            changed.as_mut().enable();
            let has = {
                let world = self.server.world();
                if !peer.is_there(&world) {
                    return Err(nobody());
                }
                world.replicas_with(peer.at, writes)
            };
            if has >= wanted {
                return Ok(());
            }
            if timeout_at(until, changed).await.is_err() {
                return Err(Away::Unreplicated { has, wanted });
            }
        }
    }

    fn glance(&self, peer: Peer, after: Position) -> Result<Option<Vec<(u64, bytes::Bytes)>>, Away> {
        let link = self.is().link;
        let world = self.server.world();
        if link == Link::Refused || !peer.is_there(&world) {
            return Err(nobody());
        }
        Ok(world.servers[peer.at].data.behind_cursor(after))
    }

    fn look(&self, peer: Peer, after: Position) -> Result<Option<Read>, Away> {
        let mut world = self.server.world();
        let (here, server) = peer.enters(&mut world, &self.settings)?;
        Ok(server.data.look(here, after))
    }
}

impl Peer {
    fn is_there(self, world: &World) -> bool {
        let server = &world.servers[self.at];
        server.role == Role::Primary && server.reign.run == self.run
    }

    /// What a script finds there.
    fn enters<'a>(self, world: &'a mut World, settings: &Settings) -> Result<(Here, &'a mut Server), Away> {
        if !self.is_there(world) {
            return Err(nobody());
        }
        let fresh = world.epoch();
        let server = &mut world.servers[self.at];
        let Settings { retained, coherence, .. } = *settings;
        Ok((Here { is: server.reign, fresh, retained, coherence }, server))
    }
}

fn done(
    server: &SimServer,
    peer: Peer,
    settings: &Settings,
    epoch: u64,
    request: Request,
) -> Result<Done, Away> {
    server.change(|world| {
        let (here, server) = peer.enters(world, settings)?;
        server.writes += 1;
        let answer = server.data.run(here, epoch, request)?;
        Ok(Done { answer, writes: server.writes })
    })
}

fn nobody() -> Away {
    Away::Unreachable("nobody is there".to_owned())
}

async fn sleep_some(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

async fn within<T>(deadline: Duration, answer: impl Future<Output = Result<T, Away>>) -> Result<T, Away> {
    let late = || Err(Away::Unreachable(format!("no answer within {deadline:?}")));
    timeout(deadline, answer).await.unwrap_or_else(|_| late())
}
