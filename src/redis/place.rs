//! Where the Redis is: one server, the primary that sentinels name, or the node of a Cluster that owns a slot; and which
//! server that is now.
//!
//! ```text
//!              connect ─► ask the sentinels, or follow MOVED ─► greet ─► is it the primary? ─► a connection of this term
//!                                        │ another one than before
//!   +switch-master ─► ask the sentinels ─┴─► a new term: every connection of the one before ends (`Error::Moved`)
//! ```
//! Invariant: all connections of one process go to one server, as far as it can know: whoever finds that another one is the
//! primary ends the connections to the one before, so that no two of them live in different histories for long. No
//! promise rests on it: a node may be told of the wrong server, or too late. It refuses to know what is asked and said.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use redis::Value;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use crate::redis::{Address, CONNECT, Connection, Dialer, Error, cluster, refused, sentinel};

/// Where a Redis is, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// One server, whatever it is.
    One(Address),
    /// A Cluster, by some of its nodes. They are reached and greeted alike.
    Cluster(Vec<Address>),
    /// The primary that sentinels name.
    Sentinel {
        /// What they call it.
        master: String,
        /// Where they are, and as whom to greet them.
        sentinels: Vec<Address>,
        /// How its servers are reached and greeted, and the database there; the host is nobody's.
        servers: Address,
    },
}

impl Where {
    /// One of the servers, or of the sentinels: reached as they all are.
    fn any(&self) -> Option<&Address> {
        match self {
            Self::One(address) => Some(address),
            Self::Cluster(nodes) => nodes.first(),
            Self::Sentinel { servers, .. } => Some(servers),
        }
    }
}

impl fmt::Display for Where {
    /// Without users and passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |addresses: &[Address]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        match self {
            Self::One(address) => address.fmt(f),
            Self::Cluster(nodes) => write!(f, "the Cluster of {}", list(nodes)),
            Self::Sentinel { master, sentinels, .. } => {
                write!(f, "{master}, as {} say", list(sentinels))
            }
        }
    }
}

/// The one who knows which server is the primary. Cheap to clone; clones know the same.
#[derive(Clone)]
pub struct Place(Arc<Inner>);

struct Inner {
    at: Where,
    /// In a Cluster the owner of its slot is the primary.
    key: String,
    dialer: Dialer,
    now: watch::Sender<Primary>,
    /// Other nodes of the Cluster, as its owner knew them.
    learned: Mutex<Vec<Address>>,
}

/// For how long after another became the primary only a newer configuration than his is believed. Later it may be that the
/// sentinels were set up anew, and count from the beginning.
const LAGGING: Duration = Duration::from_secs(60);

/// Who is the primary, and how many were before.
#[derive(Debug, Default)]
struct Primary {
    term: u64,
    address: Option<Address>,
    /// The number of the sentinels' configuration that named him; 0 on a Cluster.
    configuration: u64,
    since: Option<Instant>,
}

/// What somebody goes by who says who the primary is.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// The term in which he began to look.
    begun: u64,
    configuration: u64,
}

/// As long as one server is the primary.
#[derive(Clone)]
pub(in crate::redis) struct Term {
    of: u64,
    now: watch::Receiver<Primary>,
}

impl Place {
    /// Loads root certificates if TLS is asked for; connects to nobody. In a Cluster, the primary is the owner of the slot
    /// of `key`.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if there are no root certificates.
    pub fn new(at: Where, key: &str) -> Result<Self, Error> {
        let dialer = Dialer::new(at.any().is_some_and(Address::wants_tls))?;
        let (key, now, learned) = (key.to_owned(), watch::Sender::default(), Mutex::default());
        Ok(Self(Arc::new(Inner { at, key, dialer, now, learned })))
    }

    /// The same for another key: in a Cluster its owner may be another node, which is found apart; elsewhere all go to one
    /// server, and hear together of another.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if there are no root certificates.
    pub fn beside(&self, key: &str) -> Result<Self, Error> {
        match &self.0.at {
            Where::Cluster(_) => Self::new(self.0.at.clone(), key),
            Where::One(_) | Where::Sentinel { .. } => Ok(self.clone()),
        }
    }

    /// Where that is, as it is configured.
    pub fn at(&self) -> &Where {
        &self.0.at
    }

    /// The database that is to be selected; `None` for the one that is selected anyway.
    fn database(&self) -> Option<i64> {
        self.0.at.any().map(Address::database).filter(|database| *database != 0)
    }

    /// A greeted connection to the primary, within [`CONNECT`]. Sentinels are asked each time, and whom they name has to say
    /// that it is one; redirections of a Cluster are followed. No database is selected.
    ///
    /// # Errors
    /// [`Error`]; [`Error::NoPrimary`] if whom they name follows another.
    pub async fn connect(&self) -> Result<Connection, Error> {
        timeout(CONNECT, self.find()).await.unwrap_or(Err(Error::Timeout))
    }

    /// The same with the database selected that the address names.
    ///
    /// # Errors
    /// As [`Self::connect`]; [`Error::Refused`] if there is no such database.
    pub async fn open(&self) -> Result<Connection, Error> {
        let mut connection = self.connect().await?;
        if let Some(database) = self.database() {
            let selected = timeout(CONNECT, connection.ask(redis::cmd("SELECT").arg(database))).await;
            if let Value::ServerError(why) = selected.unwrap_or(Err(Error::Timeout))? {
                return Err(refused(&why));
            }
        }
        Ok(connection)
    }

    /// Waits until another server becomes the primary, as far as anybody here knows; for ever where there is only one.
    pub async fn moved(&self) {
        // It fails only when this is gone.
        let _ = self.0.now.subscribe().changed().await;
    }

    async fn find(&self) -> Result<Connection, Error> {
        let (dialer, begun) = (&self.0.dialer, self.0.now.borrow().term);
        match &self.0.at {
            Where::One(address) => dialer.connect(address).await,
            Where::Sentinel { .. } => {
                let (address, configuration) = self.named().await?;
                let mut connection = dialer.connect(&address).await?;
                sentinel::leads(&mut connection, &address).await?;
                self.settle(address, Look { begun, configuration }, connection)
            }
            Where::Cluster(_) => {
                let found = cluster::owner(dialer, &self.candidates(), &self.0.key).await?;
                *self.0.learned.lock().unwrap_or_else(PoisonError::into_inner) = found.nodes;
                self.settle(found.address, Look { begun, configuration: 0 }, found.connection)
            }
        }
    }

    /// Whom the sentinels name, and in which configuration.
    async fn named(&self) -> Result<(Address, u64), Error> {
        let Where::Sentinel { master, sentinels, servers } = &self.0.at else { return Err(Error::Moved) };
        let (host, port, configuration) = sentinel::primary(&self.0.dialer, master, sentinels).await?;
        let address = servers.at(&host, port);
        let address = address.ok_or_else(|| Error::Malformed(format!("no server has the name {host:?}")))?;
        Ok((address, configuration))
    }

    /// Hears what sentinels say of another primary, until the task is aborted; for ever silent elsewhere.
    pub async fn watch(self) {
        let Where::Sentinel { sentinels, .. } = &self.0.at else { return };
        let news = Notify::new();
        let heard = sentinels.iter().map(|at| sentinel::hear(&self.0.dialer, at, &news));
        let look = async {
            loop {
                news.notified().await;
                let begun = self.0.now.borrow().term;
                let Ok((address, configuration)) = self.named().await else { continue };
                if self.term(&address, Look { begun, configuration }).is_err() {
                    news.notify_one();
                }
            }
        };
        tokio::join!(join_all(heard), look);
    }

    /// Nodes of the Cluster: the last primary first, then those that are configured, then those that it knew.
    fn candidates(&self) -> Vec<Address> {
        let Where::Cluster(configured) = &self.0.at else { return Vec::new() };
        let learned = self.0.learned.lock().unwrap_or_else(PoisonError::into_inner);
        let last = self.0.now.borrow().address.clone();
        let mut candidates: Vec<Address> = Vec::new();
        for node in last.iter().chain(configured).chain(&*learned) {
            if candidates.len() < cluster::MAX_NODES && !candidates.contains(node) {
                candidates.push(node.clone());
            }
        }
        candidates
    }

    fn settle(&self, address: Address, look: Look, mut connection: Connection) -> Result<Connection, Error> {
        connection.term = Some(self.term(&address, look)?);
        Ok(connection)
    }

    /// Notes who is the primary. Who began to look for it in an earlier term may have been told of the one before:
    ///
    /// | A | B | what keeps it from going back |
    /// |---|---|---|
    /// | is told of the old primary | | |
    /// | | is told of the new one: a new term | |
    /// | has a connection to the old one | | `begun` is the term before: A looks again |
    /// | looks after that, and hears sentinels only that have not heard of it | | their configuration is none newer |
    ///
    /// # Errors
    /// [`Error::Moved`].
    fn term(&self, address: &Address, Look { begun, configuration }: Look) -> Result<Term, Error> {
        let mut of = Some(begun);
        self.0.now.send_if_modified(|now| {
            let is_news = now.address.as_ref() != Some(address);
            // In the middle of a failover the new configuration names the old primary, too.
            let is_older = configuration <= now.configuration && now.configuration > 0;
            let is_recent = now.since.is_some_and(|since| since.elapsed() < LAGGING);
            if is_news && (now.term != begun || is_recent && is_older) {
                of = None;
                return false;
            }
            if is_news {
                if let Some(before) = now.address.replace(address.clone()) {
                    tracing::warn!("the primary of Redis is {address}, no more {before}");
                    now.since = Some(Instant::now());
                }
                now.term += 1;
                now.configuration = configuration;
            }
            of = Some(now.term);
            is_news
        });
        of.map(|of| Term { of, now: self.0.now.subscribe() }).ok_or(Error::Moved)
    }
}

impl Term {
    pub(in crate::redis) fn lasts(&self) -> bool {
        self.now.borrow().term == self.of
    }
}

/// Waits for another primary; for ever without a term.
pub(in crate::redis) async fn is_over(term: &mut Option<Term>) {
    if let Some(Term { of, now }) = term
        && now.wait_for(|now| now.term != *of).await.is_ok()
    {
        return;
    }
    // Nobody knows any more, or did.
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_told_of_the_primary_before_does_not_lead_back_to_it() {
        let [old, new] = ["redis://old", "redis://new"].map(|url| Address::parse(url).unwrap());
        let place = Place::new(Where::One(old.clone()), "").unwrap();
        let look = |begun, configuration| Look { begun, configuration };
        let first = place.term(&old, look(0, 1)).unwrap();
        assert!(place.term(&old, look(0, 1)).unwrap().lasts(), "the same one is no news");
        let begun = first.of;
        let second = place.term(&new, look(begun, 2)).unwrap();
        assert!(matches!(place.term(&old, look(begun, 2)), Err(Error::Moved)));
        for configuration in [1, 2] {
            let told = place.term(&old, look(second.of, configuration));
            assert!(matches!(told, Err(Error::Moved)), "nor who was told late");
        }
        assert!(second.lasts() && !first.lasts());
        assert!(place.term(&old, look(second.of, 3)).unwrap().lasts(), "but it may lead again");
        assert!(!second.lasts());
    }
}
