//! `redis:` as the file has it: where it is, what is heard there, and how the nodes of a fleet hold together over it.
//!
//! Invariant: a password in a URL is shown nowhere. Nothing is resolved or connected to here.

use crate::config::problem::{Problem, Source};
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::duration::Timeout;
use crate::config::resolve::declared;
use crate::config::servers::{self, Sentinel, Servers};
use crate::config::shape::{REDACTED, Refusal, Scalar, Words, choice, section};
use crate::fleet::{self, Coherence, WhenDown, WritesWhenDown};
use crate::invalidate::subscription::{OnGap, Settings};
use crate::redis::{Address, BadAddress};
use crate::tier;

choice!(Coherence, "what an acknowledgement says", {
    "acked" => Coherence::Acked, "broadcast" => Coherence::Broadcast,
});
choice!(WhenDown, "what is done without Redis", {
    "origin" => WhenDown::Origin, "serve" => WhenDown::Serve,
});
choice!(WritesWhenDown, "what becomes of writes without Redis", {
    "open" => WritesWhenDown::Open, "closed" => WritesWhenDown::Closed,
});
choice!(OnGap, "what follows a gap", {
    "purge" => OnGap::Purge, "soft-purge" => OnGap::SoftPurge, "ignore" => OnGap::Ignore,
});

section! {
    /// `redis:`
    Redis {
        /// Where it is: redis://[user:password@]host:port[/database] or rediss://; a list of them: nodes of a Cluster; empty:
        /// there is none. Also REDIS_URL.
        url: Servers,
        /// Sentinels that say where it is, in place of `url`.
        sentinel: Sentinel,
        /// Pub/sub channels on which the backend says what it changed.
        subscribe: Words<String>,
        /// Where those channels are, if on another Redis.
        subscribe_url: RedisUrl,
        /// What becomes of what is kept after the subscription was lost, for nobody knows what was said meanwhile: removed
        /// (purge), stale (soft-purge), or nothing (ignore).
        on_gap: OnGap = "purge",
        /// What the names of Larder's keys begin with: those who share it are one fleet.
        namespace: Namespace = "larder",
        /// How many replicas of Redis must have a registration, a renewal or an invalidation before it counts: with one, a
        /// primary that is lost takes no acknowledgement along.
        replicas: Replicas = "0",
        /// How long a node that nobody reaches may go on serving what it keeps; whoever acknowledges an invalidation without it
        /// waits for so long, and a tenth more. From 100ms to 60s.
        lease: Lease = "1s",
        /// How long the answer to a write waits until its invalidation holds on every node; then it leaves as `unconfirmed`.
        ack_timeout: Timeout = "5s",
        /// What an acknowledgement says of the other nodes: it holds on all of them (acked), or they are told, best effort:
        /// nobody waits, and what is kept is served without a lease (broadcast). The same on all nodes.
        coherence: Coherence = "acked",
        /// What is done with what is kept while Redis is away: everything is asked of the origin (origin), or it is served, and
        /// nothing is promised (serve).
        when_down: WhenDown = "origin",
        /// What becomes of a write that Redis cannot be told of before it is forwarded: it is forwarded, and its answer says
        /// `unconfirmed` (open), or it is answered 503 (closed).
        writes_when_down: WritesWhenDown = "open",
    }
}

/// The URL of a Redis; empty: none.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RedisUrl(pub(crate) String);

impl std::fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.show())
    }
}

impl Scalar for RedisUrl {
    const WHAT: &'static str = "the URL of a Redis";
    const EMPTY_IS_UNSAID: bool = false;

    fn parse(text: &str) -> Result<Self, Refusal> {
        const HINT: &str =
            "write redis://host:6379, rediss://user:password@host:6380/0; escape signs in a password (%40)";
        if text.is_empty() {
            return Ok(Self(String::new()));
        }
        // The text may hold a password: it is not repeated.
        match Address::parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(BadAddress::Insecure) => Err(Refusal::new(
                "says `#insecure`, but certificates are always checked",
                "take it away; SSL_CERT_FILE names authorities of your own",
            )),
            Err(BadAddress::Malformed(_)) => Err(Refusal::new("is not the URL of a Redis", HINT)),
        }
    }

    fn show(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else { return self.0.clone() };
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let place = match rest.rsplit_once('@') {
            Some((user, host)) => match user.split_once(':') {
                Some((user, _)) => format!("{user}:{REDACTED}@{host}"),
                None => format!("{user}@{host}"),
            },
            None => rest.to_owned(),
        };
        match query {
            // A socket's password stands in the query.
            Some(query) if query.contains("pass=") => format!("{scheme}://{place}?{REDACTED}"),
            Some(query) => format!("{scheme}://{place}?{query}"),
            None => format!("{scheme}://{place}"),
        }
    }

    fn cut(&self) -> Option<&str> {
        Some(&self.0).filter(|text| self.show() != **text).map(String::as_str)
    }
}

/// `namespace:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namespace(String);

impl Scalar for Namespace {
    const WHAT: &'static str = "a name";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if text.is_empty() || text.len() > 64 || !text.chars().all(is_name) {
            return Err(Refusal::new(
                "is no name for keys in Redis",
                "write letters, digits, `-`, `_`, `.` and `:`, 64 at most",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// `lease:`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease(Duration);

impl Scalar for Lease {
    const WHAT: &'static str = "a duration";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let period = <Duration as Scalar>::parse(text)?;
        if (Duration::from_millis(100)..=Duration::from_secs(60)).contains(&period) {
            return Ok(Self(period));
        }
        Err(Refusal::new(
            "is no lease",
            "write a time from 100ms to 60s: a write waits for so long if a node dies",
        ))
    }

    fn show(&self) -> String {
        Scalar::show(&self.0)
    }

    fn schema() -> Value {
        <Duration as Scalar>::schema()
    }
}

/// `replicas:`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replicas(u32);

impl Scalar for Replicas {
    const WHAT: &'static str = "a number of replicas";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let refused = || Refusal::new("is no number of replicas", "write 0, 1, 2 … up to 16");
        text.parse().ok().filter(|count| *count <= 16).map(Self).ok_or_else(refused)
    }

    fn show(&self) -> String {
        self.0.to_string()
    }

    fn schema() -> Value {
        json!({ "anyOf": [
            { "type": "integer", "minimum": 0, "maximum": 16 },
            { "type": "string", "pattern": "^[0-9]+$|\\$\\{" },
        ] })
    }
}

/// The fleet that this node belongs to; `None`: there is no Redis, it is alone.
pub(crate) fn fleet(keys: &Redis) -> Option<fleet::Settings> {
    Some(fleet::Settings {
        at: servers::place(keys)?,
        lease: declared(&keys.lease).0,
        ack_timeout: declared(&keys.ack_timeout).0,
        coherence: declared(&keys.coherence),
        when_down: declared(&keys.when_down),
        writes_when_down: declared(&keys.writes_when_down),
        namespace: declared(&keys.namespace).0,
        replicas: declared(&keys.replicas).0,
        about: String::new(),
    })
}

/// Where what the nodes of a fleet tell one another lies, if there is a Redis for it.
pub(crate) fn tier(keys: &Redis) -> Option<tier::Settings> {
    let namespace = declared(&keys.namespace).0;
    servers::place(keys).map(|_| tier::Settings { namespace, deadline: tier::DEADLINE })
}

/// What is listened to, if anything; what has no effect, or does not hold together, goes to `problems`.
pub(crate) fn settle(keys: &Redis, problems: &mut Vec<Problem>) -> Option<Settings> {
    servers::check(keys, problems);
    if keys.coherence.as_ref().is_some_and(|at| at.value == Coherence::Broadcast) {
        let said = [
            (keys.when_down.as_ref().map(|at| at.source), "when_down"),
            (keys.writes_when_down.as_ref().map(|at| at.source), "writes_when_down"),
        ];
        for (source, key) in said {
            if let Some(source) = source.filter(|source| !matches!(source, Source::Default)) {
                let message = format!("`redis.{key}` has no effect under `coherence: broadcast`");
                let hint = "nobody waits for Redis there: take it away, or write `coherence: acked`";
                problems.push(Problem::of(source, message).hint(hint).warning());
            }
        }
    }
    let channels = keys.subscribe.as_ref()?;
    let elsewhere = keys.subscribe_url.as_ref().and_then(|at| servers::one(&at.value));
    if elsewhere.is_none() && servers::place(keys).is_none() {
        if keys.subscribe_url.is_none() && keys.url.is_none() {
            let message = "`redis.subscribe` has no effect: no `url` says where the Redis is";
            let hint = "write `url: ${REDIS_URL:-}` beside it, or set REDIS_URL";
            problems.push(Problem::of(channels.source, message).hint(hint).warning());
        }
        return None;
    }
    Some(Settings {
        elsewhere,
        channels: channels.value.0.clone(),
        on_gap: keys.on_gap.as_ref().map(|at| at.value).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_shown_nowhere() {
        for (url, shown) in [
            ("redis://h:6379/1", "redis://h:6379/1"),
            ("redis://:hunter2@h", "redis://:<redacted>@h"),
            ("rediss://user:hun%40ter2@h:1/0", "rediss://user:<redacted>@h:1/0"),
            ("redis+unix:///s?pass=hunter2", "redis+unix:///s?<redacted>"),
            ("", ""),
        ] {
            let read = RedisUrl::parse(url).unwrap_or_else(|refusal| panic!("{url}: {}", refusal.message));
            assert_eq!(read.show(), shown);
            assert_eq!(format!("{read:?}"), shown);
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_being_repeated() {
        for text in ["localhost:6379", "http://:hunter2@h", "redis://", "redis://:hunter2@h:port", "x"] {
            let refusal = RedisUrl::parse(text).expect_err(text);
            assert!(!refusal.message.contains("hunter2"));
        }
    }
}
