//! A Redis in memory that keeps the fleet's journal, with replicas, links to each client, and every way to fail.
//!
//! Invariant: it answers as Redis does (`tests/journal` holds both against the same cases), and what happens follows from
//! what the test says and from nothing else: no clock but the runtime's, which a test may pause, and no number drawn by
//! lot. It refuses to know what nodes are.
//!
//! ```text
//!   primary ──── in step ──► replica          client 0 ── link ──► the server that it is aimed at
//!           ╌ held back ╌ ╌► replica          client 1 ── link ──►
//! ```

#[cfg(all(feature = "sim", not(debug_assertions)))]
compile_error!("the feature `sim` is for tests of unoptimised builds");

mod client;
mod data;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::fleet::journal::Settings;
pub use crate::fleet::sim::client::SimJournal;
pub use crate::fleet::sim::data::Key;
use crate::fleet::sim::data::{Data, Reign};

/// What is between a client and its server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// Both ways are open.
    #[default]
    Up,
    /// Whoever tries to connect hears at once that nobody is there.
    Refused,
    /// What is sent arrives nowhere, and nobody says so.
    Silent,
    /// What is sent arrives and is done; the answer is lost.
    Deaf,
}

/// What becomes of a primary when a replica takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old {
    /// Nobody reaches it any more; its clients are sent to the new one.
    Gone,
    /// It goes on, for those who are aimed at it.
    Isolated,
}

/// Servers that hold together, and their clients. Cheap to clone. Servers are numbered: 0 is the first primary.
#[derive(Clone, Default)]
pub struct SimServer(Arc<Parts>);

#[derive(Default)]
struct Parts {
    world: Mutex<World>,
    /// Something is to be read, or something else has changed.
    changed: Notify,
}

struct World {
    servers: Vec<Server>,
    clients: Vec<Client>,
    /// Numbers that were given: to starts, reigns and epochs.
    given: u64,
}

struct Server {
    role: Role,
    reign: Reign,
    data: Data,
    /// Writes that it has seen.
    writes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Primary,
    /// All that the primary has, at once; its own data is not looked at.
    InStep {
        of: usize,
    },
    /// What the primary had when it was held back.
    HeldBack {
        of: usize,
    },
    Away,
}

#[derive(Clone, Copy, Default)]
struct Client {
    at: usize,
    link: Link,
    there: Duration,
    back: Duration,
}

impl SimServer {
    /// A new client, aimed at server 0: what a node uses.
    pub fn client(&self, settings: Settings) -> SimJournal {
        let client = self.change(|world| {
            world.clients.push(Client::default());
            world.clients.len() - 1
        });
        SimJournal::new(self.clone(), client, settings)
    }

    /// Sets what is between a client and its server.
    pub fn link(&self, client: usize, link: Link) {
        self.change(|world| world.clients[client].link = link);
    }

    /// Has what a client sends, and what it hears, take so long. What was sent arrives, whether or not it is waited for.
    pub fn delay(&self, client: usize, there: Duration, back: Duration) {
        self.change(|world| (world.clients[client].there, world.clients[client].back) = (there, back));
    }

    /// Sends a client to another server from now on.
    pub fn aim(&self, client: usize, server: usize) {
        self.change(|world| world.clients[client].at = server);
    }

    /// Restarts a server, with what it has.
    pub fn restart(&self, server: usize) {
        self.change(|world| world.servers[server].reign = world.reign());
    }

    /// Restarts a server, with nothing.
    pub fn wipe(&self, server: usize) {
        self.flush(server);
        self.restart(server);
    }

    /// Has a server lose everything while it runs.
    pub fn flush(&self, server: usize) {
        self.change(|world| world.servers[server].data = Data::default());
    }

    /// Has a server lose one key while it runs.
    pub fn lose(&self, server: usize, key: Key) {
        self.change(|world| world.servers[server].data.lose(key));
    }

    /// Gives a server a new reign, as if it had been a replica in between and lost nothing by that.
    pub fn reign_anew(&self, server: usize) {
        self.change(|world| world.servers[server].reign.reign = world.give());
    }

    /// Lets go the records before `first`.
    pub fn trim(&self, server: usize, first: u64) {
        self.change(|world| world.servers[server].data.trim(first));
    }

    /// Adds a replica that is in step with a primary; gives its number.
    pub fn add_replica(&self, of: usize) -> usize {
        self.change(|world| {
            let reign = world.reign();
            world.servers.push(Server { role: Role::InStep { of }, reign, data: Data::default(), writes: 0 });
            world.servers.len() - 1
        })
    }

    /// A replica hears nothing from its primary any more.
    pub fn hold_back(&self, replica: usize) {
        self.change(|world| world.part(replica));
    }

    /// A server is a replica from now on, in step with a primary: what it had is gone.
    pub fn follow(&self, server: usize, of: usize) {
        self.change(|world| world.servers[server].role = Role::InStep { of });
    }

    /// Has a replica become a primary, with what it has. What follows the old one is held back.
    ///
    /// # Panics
    /// It is no replica.
    pub fn promote(&self, replica: usize, old: Old) {
        self.change(|world| {
            world.part(replica);
            let Role::HeldBack { of } = world.servers[replica].role else {
                panic!("{replica} is no replica")
            };
            world.servers[replica].role = Role::Primary;
            world.servers[replica].reign.reign = world.give();
            if old == Old::Isolated {
                return;
            }
            (0..world.servers.len()).for_each(|server| world.part_from(server, of));
            world.servers[of].role = Role::Away;
            world.clients.iter_mut().filter(|client| client.at == of).for_each(|client| client.at = replica);
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let changed = change(&mut self.world());
        self.0.changed.notify_waiters();
        changed
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for World {
    fn default() -> Self {
        let mut world = Self { servers: Vec::new(), clients: Vec::new(), given: 0 };
        let reign = world.reign();
        world.servers.push(Server { role: Role::Primary, reign, data: Data::default(), writes: 0 });
        world
    }
}

impl World {
    /// A number that was never given.
    fn give(&mut self) -> u64 {
        self.given += 1;
        self.given
    }

    fn reign(&mut self) -> Reign {
        Reign { run: self.give(), reign: self.give() }
    }

    /// The epoch that begins if one has to.
    fn epoch(&mut self) -> u64 {
        // Looks as if drawn by lot, as on Redis; an odd factor keeps any two apart.
        (self.give().wrapping_mul(0x9e37_79b9_7f4a_7c15) & ((1 << 52) - 1)).max(1)
    }

    /// How many replicas have seen so many writes of a primary.
    fn replicas_with(&self, primary: usize, writes: u64) -> u32 {
        let has = |server: &&Server| match server.role {
            Role::InStep { of } => of == primary,
            Role::HeldBack { of } => of == primary && server.writes >= writes,
            Role::Primary | Role::Away => false,
        };
        self.servers.iter().filter(has).map(|_| 1).sum()
    }

    /// Holds a replica back, with what its primary has now.
    fn part(&mut self, replica: usize) {
        if let Role::InStep { of } = self.servers[replica].role {
            let (data, writes) = (self.servers[of].data.clone(), self.servers[of].writes);
            let server = &mut self.servers[replica];
            (server.role, server.data, server.writes) = (Role::HeldBack { of }, data, writes);
        }
    }

    fn part_from(&mut self, replica: usize, primary: usize) {
        if self.servers[replica].role == (Role::InStep { of: primary }) {
            self.part(replica);
        }
    }
}
