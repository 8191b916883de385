//! Which node of a Cluster owns the slot of a key: whoever does not own it says who does.
//!
//! Invariant: nobody is taken for the owner who did not say so, and no server that is in no Cluster: two of them, listed as
//! one, would be two primaries. While a slot is moved (`ASK`, `TRYAGAIN`) nobody owns it: its keys are moved one by one,
//! and whoever asks again later is told the new owner. It refuses to know what the key is for.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::{ServerError, Value, from_redis_value};
use tokio::time::sleep;

use crate::redis::{Address, Connection, Dialer, Error, refused};

/// Most nodes that are remembered, and asked for the owner.
pub(in crate::redis) const MAX_NODES: usize = 100;

/// Most redirections on the way to the owner.
const MAX_REDIRECTIONS: usize = 5;

/// Head start of each node that is asked before the next is: the first one knows, mostly.
const HEAD_START: Duration = Duration::from_millis(10);

/// The owner of a slot.
pub(in crate::redis) struct Owner {
    pub(in crate::redis) address: Address,
    pub(in crate::redis) connection: Connection,
    /// All nodes that it knows.
    pub(in crate::redis) nodes: Vec<Address>,
}

/// The owner of the slot of `key`: the first that any of the candidates leads to.
///
/// # Errors
/// [`Error`] of the candidate that failed last.
pub(in crate::redis) async fn owner(
    dialer: &Dialer,
    candidates: &[Address],
    key: &str,
) -> Result<Owner, Error> {
    let asked = candidates.iter().zip(0..).map(async |(address, nth)| {
        sleep(HEAD_START * nth).await;
        follow(dialer, address.clone(), key).await
    });
    let mut asked: FuturesUnordered<_> = asked.collect();
    let mut failed = Error::Timeout;
    while let Some(answer) = asked.next().await {
        match answer {
            Ok(owner) => return Ok(owner),
            Err(why) => failed = why,
        }
    }
    Err(failed)
}

async fn follow(dialer: &Dialer, mut address: Address, key: &str) -> Result<Owner, Error> {
    for _ in 0..=MAX_REDIRECTIONS {
        let mut connection = dialer.connect(&address).await?;
        match connection.ask(redis::cmd("EXISTS").arg(key)).await? {
            Value::Int(_) => {
                let slots = match connection.ask(redis::cmd("CLUSTER").arg("SLOTS")).await? {
                    Value::ServerError(why) => return Err(refused(&why)),
                    slots => slots,
                };
                let nodes = nodes(slots, &address);
                return Ok(Owner { address, connection, nodes });
            }
            Value::ServerError(why) if why.code() == "MOVED" => address = redirected(&why, &address)?,
            Value::ServerError(why) => return Err(refused(&why)),
            other => return Err(Error::Malformed(format!("{other:?}"))),
        }
    }
    Err(Error::Refused(format!("more than {MAX_REDIRECTIONS} redirections from one node to another")))
}

/// `MOVED <slot> <host>:<port>`; without a host it is that of the node that says so.
fn redirected(why: &ServerError, by: &Address) -> Result<Address, Error> {
    let target = why.details().and_then(|details| details.split_whitespace().nth(1));
    let target = target.and_then(|target| target.rsplit_once(':'));
    let address = target.and_then(|(host, port)| {
        let host = if host.is_empty() { by.host() } else { host };
        by.at(host, port.parse().ok()?)
    });
    address.ok_or_else(|| refused(why))
}

/// Every node in an answer to `CLUSTER SLOTS`: `[first, last, [host, port, …], …]` for each range.
fn nodes(slots: Value, by: &Address) -> Vec<Address> {
    let list = |value: Value| match value {
        Value::Array(parts) => parts,
        _ => Vec::new(),
    };
    let mut found: Vec<Address> = Vec::new();
    for node in list(slots).into_iter().flat_map(|range| list(range).into_iter().skip(2)) {
        let mut parts = list(node).into_iter();
        // A host that is not known (`nil`, or empty) is that of the node that was asked.
        let host = parts.next().and_then(|host| from_redis_value::<String>(host).ok());
        let host = host.filter(|host| !host.is_empty()).unwrap_or_else(|| by.host().to_owned());
        // Read as what it is sent as: a narrower number would be cut to size.
        let port = parts.next().and_then(|port| from_redis_value::<i64>(port).ok());
        let port = port.and_then(|port| u16::try_from(port).ok());
        if let Some(address) = port.and_then(|port| by.at(&host, port))
            && found.len() < MAX_NODES
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by() -> Address {
        Address::parse("rediss://ann:pass@seed:7000").unwrap()
    }

    fn complaint(line: &str) -> ServerError {
        match redis::parse_redis_value(format!("-{line}\r\n").as_bytes()) {
            Ok(Value::ServerError(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_redirection_names_a_server_that_is_greeted_alike() {
        for (line, shown) in [
            ("MOVED 3999 10.0.0.7:6381", "rediss://10.0.0.7:6381"),
            ("MOVED 3999 node-2.cache:6381", "rediss://node-2.cache:6381"),
            ("MOVED 3999 :6381", "rediss://seed:6381"),
            ("MOVED 3999 ::1:6381", "rediss://[::1]:6381"),
        ] {
            let address = redirected(&complaint(line), &by()).unwrap();
            assert_eq!(address.to_string(), shown);
            assert!(address.is_greeted_like(&by()));
        }
        for line in ["MOVED", "MOVED 3999", "MOVED 3999 host", "MOVED 3999 host:0x1", "MOVED 3999 host:99999"]
        {
            assert!(redirected(&complaint(line), &by()).is_err(), "{line}");
        }
    }

    #[test]
    fn every_node_is_learned_once_and_what_is_no_node_never() {
        let slots = b"*2\r\n*4\r\n:0\r\n:9\r\n*2\r\n$1\r\na\r\n:1\r\n*2\r\n$-1\r\n:2\r\n\
            *4\r\n:10\r\n:16383\r\n*2\r\n$1\r\na\r\n:1\r\n*2\r\n$1\r\nb\r\n:-3\r\n";
        let found = nodes(redis::parse_redis_value(slots).unwrap(), &by());
        let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["rediss://a:1", "rediss://seed:2"]);
        assert!(nodes(Value::Int(3), &by()).is_empty());
    }
}
