//! Where the Redis is, as the file has it: one URL, a list of nodes, or sentinels.
//!
//! Invariant: servers that stand for one another are reached and greeted alike: whichever of them answers says the same.
//! Nothing is connected to here.

use serde_json::{Value, json};

use crate::config::problem::{Problem, Source};
use crate::config::reader::Reader;
use crate::config::redis::{Redis, RedisUrl};
use crate::config::secret::Secret;
use crate::config::shape::{At, Entry, Refusal, Scalar, Shape, Words, section};
use crate::config::tree::{Kind, Node};
use crate::redis::Address;
use crate::redis::place::Where;

section! {
    /// `redis.sentinel:`
    Sentinel {
        /// What the sentinels call the primary.
        master: String,
        /// The sentinels: redis://[user:password@]host:port with user and password of their own; rediss:// where they and the
        /// servers want TLS.
        nodes: Words<RedisUrl>,
        /// As whom the servers are greeted that the sentinels name.
        user: String,
        /// With which password.
        password: Secret,
        /// Which of their databases; 0 if none is named.
        database: Database,
    }
}

/// `url:`
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Servers {
    /// One server; empty: there is none.
    One(RedisUrl),
    /// Nodes of a Cluster.
    Cluster(Words<RedisUrl>),
}

impl Servers {
    /// Several in one line are a list.
    pub(crate) fn of(mut words: Words<RedisUrl>) -> Self {
        match (words.0.pop(), words.0.is_empty()) {
            (None, _) => Self::One(RedisUrl(String::new())),
            (Some(one), true) => Self::One(one),
            (Some(last), false) => {
                words.0.push(last);
                Self::Cluster(words)
            }
        }
    }

    /// Whether any is said.
    pub(crate) fn is_there(&self) -> bool {
        !matches!(self, Self::One(url) if url.0.is_empty())
    }
}

impl Shape for Servers {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        if matches!(node.kind, Kind::List(_)) {
            return Words::read(node, reader).map(Self::Cluster);
        }
        let text = reader.text(node, RedisUrl::WHAT)?;
        if text.value.split_whitespace().nth(1).is_some() {
            return Words::read(node, reader).map(Self::Cluster);
        }
        reader.parse(node.place, text.value.trim(), text.outside).map(Self::One)
    }

    fn show(&self, path: &[String], source: Source, out: &mut Vec<Entry>) {
        match self {
            Self::One(url) => Shape::show(url, path, source, out),
            Self::Cluster(nodes) => nodes.show(path, source, out),
        }
    }

    fn schema() -> Value {
        let url = <RedisUrl as Scalar>::schema();
        json!({ "anyOf": [url, { "type": "array", "items": url, "minItems": 1 }] })
    }
}

/// `database:`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Database(i64);

impl Scalar for Database {
    const WHAT: &'static str = "the number of a database";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let number = text.parse::<u16>().ok().map(|number| Self(number.into()));
        number.ok_or_else(|| Refusal::new("is no number of a database", "write 0, 1, 2 …"))
    }

    fn show(&self) -> String {
        self.0.to_string()
    }

    fn schema() -> Value {
        json!({ "anyOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": "^[0-9]+$|\\$\\{" },
        ] })
    }
}

/// Where the fleet's Redis is; `None`: there is none.
pub(crate) fn place(keys: &Redis) -> Option<Where> {
    if let Some(sentinel) = said(keys) {
        let Sentinel { master, nodes, user, password, database } = &sentinel.value;
        let sentinels: Vec<Address> = addresses(&nodes.as_ref()?.value);
        let user = user.as_ref().map(|at| at.value.as_str());
        let password = password.as_ref().map(|at| at.value.0.as_str());
        let database = database.as_ref().map_or(0, |at| at.value.0);
        let servers = sentinels.first()?.greeted_as(user, password, database);
        return Some(Where::Sentinel { master: master.as_ref()?.value.clone(), sentinels, servers });
    }
    match &keys.url.as_ref()?.value {
        Servers::One(url) => one(url),
        Servers::Cluster(nodes) => Some(Where::Cluster(addresses(nodes))),
    }
}

/// One server; `None`: there is none.
pub(crate) fn one(url: &RedisUrl) -> Option<Where> {
    Address::parse(&url.0).ok().map(Where::One)
}

/// The sentinels, if anything is said of them.
fn said(keys: &Redis) -> Option<&At<Sentinel>> {
    keys.sentinel.as_ref().filter(|at| {
        let Sentinel { master, nodes, user, password, database } = &at.value;
        let is_silent = master.is_none() && nodes.is_none() && user.is_none() && password.is_none();
        !is_silent || database.is_some()
    })
}

/// What does not hold together goes to `problems`.
pub(crate) fn check(keys: &Redis, problems: &mut Vec<Problem>) {
    let url = keys.url.as_ref().filter(|at| at.value.is_there());
    if let (Some(url), Some(_)) = (url, said(keys)) {
        let message = "`redis.url` and `redis.sentinel` both say where Redis is";
        let hint = "keep one of them; sentinels name the server, and `sentinel` has user, password and database for it";
        problems.push(Problem::of(url.source, message).hint(hint));
    }
    if let Some(At { value: Servers::Cluster(nodes), source }) = url {
        alike("redis.url", nodes, *source, problems);
        if addresses(nodes).iter().any(|node| node.database() != 0) {
            let message = "`redis.url` is a list, and so a Cluster, which has no database but 0";
            problems.push(Problem::of(*source, message).hint("take the number away"));
        }
    }
    if let Some(sentinel) = said(keys) {
        check_sentinel(sentinel, problems);
    }
}

fn check_sentinel(sentinel: &At<Sentinel>, problems: &mut Vec<Problem>) {
    let Sentinel { master, nodes, user, password, .. } = &sentinel.value;
    for (is_missing, key, example) in [
        (master.is_none(), "master", "`master: mymaster`, as `sentinel monitor` calls it"),
        (nodes.is_none(), "nodes", "`nodes: redis://sentinel-1:26379 redis://sentinel-2:26379`"),
    ] {
        if is_missing {
            let message = format!("`redis.sentinel` has no `{key}`");
            problems.push(Problem::of(sentinel.source, message).hint(format!("write {example}")));
        }
    }
    if let (Some(user), None) = (user, password) {
        let message = "`redis.sentinel.user` has no password";
        problems.push(Problem::of(user.source, message).hint("write `password` beside it"));
    }
    let Some(At { value: nodes, source }) = nodes else { return };
    alike("redis.sentinel.nodes", nodes, *source, problems);
    if addresses(nodes).iter().any(|node| node.database() != 0) {
        let message = "`redis.sentinel.nodes` names a database, and sentinels have none";
        let hint = "write `sentinel: { database: … }` for the one of the server";
        problems.push(Problem::of(*source, message).hint(hint));
    }
}

/// Whoever stands in for another is reached over the network, all of them in the same way.
fn alike(key: &str, nodes: &Words<RedisUrl>, source: Source, problems: &mut Vec<Problem>) {
    let addresses = addresses(nodes);
    let mut refuse = |what: &str, hint: &str| {
        problems.push(Problem::of(source, format!("`{key}` {what}")).hint(hint));
    };
    let Some(first) = addresses.first().filter(|_| addresses.len() == nodes.0.len()) else {
        return refuse("has an entry that names no server", "take it away, or write redis://host:6379");
    };
    if addresses.iter().any(Address::is_unix) {
        refuse("has a socket among its servers", "write redis://host:6379: others stand in for one another");
    } else if addresses.iter().any(|node| node.wants_tls() != first.wants_tls()) {
        refuse("mixes redis:// and rediss://", "reach all of them with TLS, or none");
    } else if addresses.iter().any(|node| !node.is_greeted_like(first)) {
        refuse("has different users or passwords", "greet all of them alike: any may stand in for another");
    }
}

fn addresses(urls: &Words<RedisUrl>) -> Vec<Address> {
    urls.0.iter().filter_map(|url| Address::parse(&url.0).ok()).collect()
}
