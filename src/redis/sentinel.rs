//! What sentinels say: who the primary is, and that it has become another.
//!
//! Invariant: of several answers the newest configuration counts, so that one sentinel that was cut off leads nobody astray
//! while another answers; and whom they name has to say himself that he leads. It refuses to know who asks.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use ahash::RandomState;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::{Value, from_redis_value};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::redis::{Address, Connection, Dialer, Error, backoff, refused};

/// Longest time for a sentinel to say who the primary is. Longer than the greater part of them takes, nobody is waited for.
const ANSWER: Duration = Duration::from_millis(250);

/// Silence after which a sentinel is asked whether it is there.
const QUIET: Duration = Duration::from_secs(5);

/// Time that it has for its answer.
const PONG: Duration = Duration::from_secs(3);

/// Host and port of the primary that they call `master`, and the number of the configuration that says so.
///
/// # Errors
/// [`Error`]: that of the one who answered last, if none names it.
pub(in crate::redis) async fn primary(
    dialer: &Dialer,
    master: &str,
    sentinels: &[Address],
) -> Result<(String, u16, u64), Error> {
    let asked = sentinels.iter().map(|sentinel| timeout(ANSWER, ask(dialer, sentinel, master)));
    let mut asked: FuturesUnordered<_> = asked.collect();
    let (mut newest, mut answers, mut why) = (None::<Named>, 0, Error::Timeout);
    while let Some(answer) = asked.next().await {
        match answer.unwrap_or(Err(Error::Timeout)) {
            Ok(named) => {
                answers += 1;
                if newest.as_ref().is_none_or(|newest| newest.epoch < named.epoch) {
                    newest = Some(named);
                }
                if answers > sentinels.len() / 2 {
                    break;
                }
            }
            Err(because) => why = because,
        }
    }
    newest.map(|named| (named.host, named.port, named.epoch)).ok_or(why)
}

/// Whether the server itself says that it is a primary.
///
/// # Errors
/// [`Error::NoPrimary`] if it follows another; [`Error`].
pub(in crate::redis) async fn leads(connection: &mut Connection, address: &Address) -> Result<(), Error> {
    is_master(connection.ask(&redis::cmd("ROLE")).await?, address)
}

/// The same, of what it has answered to `ROLE`.
pub(in crate::redis) fn is_master(role: Value, address: &Address) -> Result<(), Error> {
    let role = match role {
        Value::ServerError(why) => return Err(refused(&why)),
        Value::Array(mut parts) if !parts.is_empty() => from_redis_value::<String>(parts.swap_remove(0)),
        other => return Err(Error::Malformed(format!("{other:?}"))),
    };
    match role.as_deref() {
        Ok("master") => Ok(()),
        _ => Err(Error::NoPrimary(address.to_string())),
    }
}

/// Says each time that a sentinel may have told of another primary. Never ends.
pub(in crate::redis) async fn hear(dialer: &Dialer, sentinel: &Address, news: &Notify) {
    let (random, mut failures) = (RandomState::new(), 0);
    loop {
        let Err(why) = listen(dialer, sentinel, news, &mut failures).await;
        tracing::debug!("the sentinel {sentinel} is not heard: {why}");
        failures += 1;
        sleep(backoff(failures, random.hash_one(failures))).await;
    }
}

async fn listen(
    dialer: &Dialer,
    sentinel: &Address,
    news: &Notify,
    failures: &mut u32,
) -> Result<Infallible, Error> {
    let mut connection = dialer.connect(sentinel).await?;
    connection.send(redis::cmd("SUBSCRIBE").arg("+switch-master")).await?;
    loop {
        let reply = match timeout(QUIET, connection.reply()).await {
            Ok(reply) => reply?,
            Err(_) => {
                connection.send(&redis::cmd("PING")).await?;
                timeout(PONG, connection.reply()).await.map_err(|_| Error::Timeout)??
            }
        };
        *failures = 0;
        match reply {
            Value::ServerError(why) => return Err(refused(&why)),
            // A pong has two parts. All else is the confirmation, before which something may have been missed, or news.
            Value::Array(parts) if parts.len() == 2 => {}
            _ => news.notify_one(),
        }
    }
}

/// What one of them says.
struct Named {
    host: String,
    port: u16,
    /// Of the configuration: a failover has a higher one than those before.
    epoch: u64,
}

async fn ask(dialer: &Dialer, sentinel: &Address, master: &str) -> Result<Named, Error> {
    let mut connection = dialer.connect(sentinel).await?;
    let said = match connection.ask(redis::cmd("SENTINEL").arg("MASTER").arg(master)).await? {
        Value::ServerError(why) => return Err(refused(&why)),
        said => from_redis_value::<HashMap<String, String>>(said),
    };
    let said = said.map_err(|why| Error::Malformed(why.to_string()))?;
    let number = |name: &str| said.get(name).and_then(|text| text.parse::<u64>().ok());
    let port = number("port").and_then(|port| u16::try_from(port).ok());
    match (said.get("ip"), port) {
        (Some(host), Some(port)) => {
            Ok(Named { host: host.clone(), port, epoch: number("config-epoch").unwrap_or(0) })
        }
        _ => Err(Error::Malformed("no address of the primary".to_owned())),
    }
}
