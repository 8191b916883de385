//! `redis:` as the file has it: where it is, and what is heard there.
//!
//! Invariant: a password in a URL is shown nowhere. Nothing is resolved or connected to here.

use crate::config::problem::Problem;
use crate::config::resolve::declared;
use crate::config::shape::{At, REDACTED, Refusal, Scalar, Words, choice, section};
use crate::invalidate::subscription::{OnGap, Settings};
use crate::redis::{Address, BadAddress};
use crate::tier;

choice!(OnGap, "what follows a gap", {
    "purge" => OnGap::Purge, "soft-purge" => OnGap::SoftPurge, "ignore" => OnGap::Ignore,
});

section! {
    /// `redis:`
    Redis {
        /// Where it is: redis://[user:password@]host:port[/database] or rediss://; empty: there is none. Also REDIS_URL.
        url: RedisUrl,
        /// Pub/sub channels on which the backend says what it changed.
        subscribe: Words<String>,
        /// Where those channels are, if on another Redis.
        subscribe_url: RedisUrl,
        /// What becomes of what is kept after the subscription was lost, for nobody knows what was said meanwhile: removed
        /// (purge), stale (soft-purge), or nothing (ignore).
        on_gap: OnGap = "purge",
        /// What every key begins with that this fleet has there.
        namespace: Namespace = "larder",
    }
    later { "sentinel" "coherence" "replicas" "lease" "ack_timeout" "when_down" "writes_when_down" }
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
}

/// What names begin with: 1 to 64 letters, digits, `.`, `_`, `:` and `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namespace(pub(crate) String);

impl Scalar for Namespace {
    const WHAT: &'static str = "a namespace";

    fn parse(text: &str) -> Result<Self, Refusal> {
        const LONGEST: usize = 64;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
        if (1..=LONGEST).contains(&text.len()) && text.chars().all(is_plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(Refusal::new(
            "is not a namespace",
            "write 1 to 64 letters, digits, `.`, `_`, `:` or `-`, as larder",
        ))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// Where what the nodes of a fleet tell one another lies, if there is a Redis for it.
pub(crate) fn tier(keys: &Redis) -> Option<tier::Settings> {
    let url = keys.url.as_ref().filter(|at| !at.value.0.is_empty())?.value.0.clone();
    let namespace = declared(&keys.namespace).0;
    Some(tier::Settings { url, namespace, deadline: tier::DEADLINE })
}

/// What is listened to, if anything; what has no effect goes to `problems`.
pub(crate) fn settle(keys: &Redis, problems: &mut Vec<Problem>) -> Option<Settings> {
    let is_there = |at: &&At<RedisUrl>| !at.value.0.is_empty();
    let said = keys.subscribe_url.as_ref().or(keys.url.as_ref());
    let url = keys.subscribe_url.as_ref().filter(is_there).or(keys.url.as_ref().filter(is_there));
    match (&keys.subscribe, url) {
        (Some(channels), Some(url)) => Some(Settings {
            url: url.value.0.clone(),
            channels: channels.value.0.clone(),
            on_gap: keys.on_gap.as_ref().map(|at| at.value).unwrap_or_default(),
        }),
        (None, Some(url)) => {
            let message =
                "the Redis is not used: no channel is named, and a shared tier is not available yet";
            let hint = "write redis: { subscribe: cache:invalidate }, or leave the URL out";
            problems.push(Problem::of(url.source, message).hint(hint).warning());
            None
        }
        (Some(channels), None) if said.is_none() => {
            let message = "`redis.subscribe` has no effect: no `url` says where the Redis is";
            let hint = "write `url: ${REDIS_URL:-}` beside it, or set REDIS_URL";
            problems.push(Problem::of(channels.source, message).hint(hint).warning());
            None
        }
        _ => None,
    }
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
