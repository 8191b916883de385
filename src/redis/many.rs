//! A connection on which many ask at once, for what may lie on any node: on a Cluster it is one to all of them.
//!
//! Invariant: it is as good as its server was when it was made: whoever uses it looks whether another one is the primary
//! by now, but on a Cluster, whose connection follows it by itself. It refuses to know what is asked.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisError, RedisFuture, Value};

use crate::redis::place::Term;
use crate::redis::sentinel;
use crate::redis::{Address, Dialer, Error};

/// Times that a Cluster is asked again, for a slot that has moved.
const RETRIES: u32 = 2;

/// How long a connection may take to come up, and each answer on it.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For name, connection, TLS and greeting.
    pub connect: Duration,
    /// For an answer.
    pub answer: Duration,
}

/// Cheap to clone; all clones share one connection, or one to each node.
#[derive(Clone)]
pub struct Many {
    pub(in crate::redis) over: Over,
    pub(in crate::redis) term: Option<Term>,
}

#[derive(Clone)]
pub(in crate::redis) enum Over {
    Primary(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Many {
    /// Whether its server is still the primary, as far as anybody here knows.
    pub fn is_current(&self) -> bool {
        self.term.as_ref().is_none_or(Term::lasts)
    }
}

impl Over {
    /// One to this server, with its database selected.
    ///
    /// # Errors
    /// [`Error`].
    pub(in crate::redis) async fn primary(
        dialer: &Dialer,
        address: &Address,
        patience: Patience,
    ) -> Result<Self, Error> {
        let socket = dialer.dial(address).await.map_err(Error::Unreachable)?;
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(patience.answer));
        let whom = address.0.redis_settings().clone().set_skip_set_lib_name();
        let made = MultiplexedConnection::new_with_config(&whom, socket, config).await;
        let (connection, driver) = made.map_err(|why| failed(&why))?;
        // It ends with the last clone.
        tokio::spawn(driver);
        Ok(Self::Primary(connection))
    }

    /// One to each primary of the Cluster to which these nodes belong.
    ///
    /// # Errors
    /// [`Error`].
    pub(in crate::redis) async fn cluster(nodes: Vec<Address>, patience: Patience) -> Result<Self, Error> {
        let client = ClusterClientBuilder::new(nodes.into_iter().map(|node| node.0))
            .connection_timeout(patience.connect)
            .response_timeout(patience.answer)
            .overall_response_timeout(Some(patience.answer))
            .retries(RETRIES)
            .build()
            .map_err(|why| failed(&why))?;
        client.get_async_connection().await.map(Self::Cluster).map_err(|why| failed(&why))
    }

    /// The server itself says that it is a primary; of a Cluster, nobody need say so.
    ///
    /// # Errors
    /// [`Error::NoPrimary`]; [`Error`].
    pub(in crate::redis) async fn leads(&mut self, address: &Address) -> Result<(), Error> {
        let Self::Primary(connection) = self else { return Ok(()) };
        let role = connection.req_packed_command(&redis::cmd("ROLE")).await.map_err(|why| failed(&why))?;
        sentinel::is_master(role, address)
    }
}

fn failed(why: &RedisError) -> Error {
    if why.is_io_error() { Error::Ended(format!(": {why}")) } else { Error::Refused(why.to_string()) }
}

impl ConnectionLike for Many {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match &mut self.over {
            Over::Primary(connection) => connection.req_packed_command(command),
            Over::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match &mut self.over {
            Over::Primary(connection) => connection.req_packed_commands(commands, offset, count),
            Over::Cluster(connection) => connection.req_packed_commands(commands, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match &self.over {
            Over::Primary(connection) => connection.get_db(),
            Over::Cluster(connection) => connection.get_db(),
        }
    }
}
