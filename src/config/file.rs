//! The raw shape of the configuration: every key, its type, its words and its default.
//!
//! A layer of settings has this shape, whether a file, the environment, flags or the built-in defaults made it.
//! Invariant: what is not declared here is refused. It refuses to know what the rooms make of it.

use std::path::PathBuf;

use http::HeaderName;
use ipnet::IpNet;
use serde_json_path::JsonPath;

use crate::access_log::Access;
use crate::config::address::{Host, Listen};
use crate::config::case::RawCase;
use crate::config::collection::{Admin, Items, Routes};
use crate::config::duration::Timeout;
use crate::config::event::{Edges, Events};
use crate::config::limits::Limits;
use crate::config::monitor::MonitorKeys;
use crate::config::negative::Negative;
use crate::config::preset::Preset;
use crate::config::redis::Redis;
use crate::config::scalar::{CachePath, Count, OriginWord, Overridden, Size, Unmatched, Upgrades};
use crate::config::secret::{NeededSecret, Secret};
use crate::config::shape::{Words, section};
use crate::config::token::Tokens;
use crate::config::warm::Warm;
use crate::config::webhook::Webhooks;
use crate::config::write::Writes;
use crate::flow::ServerError;
use crate::guard::Framing;
use crate::policy::{ClientNoCache, HeadRule, Languages, RangeRule, Scope, SetCookie, StoreErrors};
use crate::route::identity::{Credential, UserSource};
use crate::route::tag::Text;
use crate::route::{BodyKey, BodyTag, Mode, ReadMethod};
use crate::upstream::Origin;

/// The declared duration type of keys where zero makes sense.
type Duration = std::time::Duration;

section! {
    /// The whole file.
    File {
        /// Where the backend is: http://host:port, https://host or unix:/path/to.sock; several equal servers with
        /// spaces between them or as a list. The only required key (or LARDER_UPSTREAM, or --upstream).
        upstream: Words<Origin>,
        /// Where clients connect.
        listen: Listen = "0.0.0.0:8080",
        /// false: a plain pass-through that stores and serves nothing.
        enabled: bool = "true",
        /// shadow: the origin answers everything, and `larder report` tells what the cache would have answered; for routes that do
        /// not say it themselves.
        mode: Mode = "cache",
        /// The hosts under which clients know the service; the first is canonical, strangers get 421. Without it
        /// loopback names are one host and every other is served as it comes.
        hosts: Words<Host>,
        /// What every route inherits.
        defaults: Defaults,
        /// Which fields of a request are credentials.
        identity: Identity,
        /// What is cached: a path template and its rule, or its ttl, or `bypass`.
        routes: Routes,
        /// What is fetched before anybody asks for it.
        warm: Warm,
        /// Whether the cache does what it is there for: windows, trends and alerts.
        monitor: MonitorKeys,
        /// The admin listener (probes, metrics), or `off`.
        admin: Admin,
        /// How the process ends after SIGTERM.
        shutdown: Shutdown,
        /// What is logged.
        log: Log,
        /// How much of everything.
        limits: Limits,
        /// Certificate and key for clients; without it plain HTTP is spoken.
        tls: Tls,
        /// Peers whose X-Forwarded-* and Forwarded are believed: networks or addresses.
        trusted_proxies: Words<IpNet>,
        /// Which upgrades pass.
        upgrades: Upgrades = "websocket",
        /// What becomes of an origin's answer that goes on after its end, or is in an unknown transfer coding: 502 (strict), or
        /// read as RFC 9112 §6.3 has it, and the connection closed (lenient). Two framings at once, and gzip, are a 502
        /// either way.
        origin_framing: Framing = "strict",
        /// What writes outdate beside their target: methods and template, and what it says, or tags and paths alone.
        writes: Writes,
        /// What is outdated along with a tag or path, and along with that in turn.
        dependencies: Edges,
        /// What the events outdate that webhooks and Redis messages name; `*` in a name stands for any text, and the
        /// placeholders for what the event carries.
        events: Events,
        /// Paths under which signed events come in.
        webhooks: Webhooks,
        /// The Redis on which the backend says what it changed.
        redis: Redis,
        /// How what is stored is outdated.
        invalidation: Invalidation,
        /// What `larder config test` plays: requests, and what the rules have to make of them.
        tests: Items<RawCase>,
    }
}

section! {
    /// `defaults:`
    Defaults {
        /// Freshness of a 200 where the origin says nothing; 0: only what the origin says is stored.
        ttl: Duration = "1h",
        /// For how long after that a stale answer is served while it is fetched anew (RFC 5861).
        stale_while_revalidate: Duration = "0s",
        /// For how long a stale answer is served when the origin fails (RFC 5861).
        stale_if_error: Duration = "0s",
        /// Whether the origin's freshness wins (respect) or the route's (override).
        origin_headers: OriginWord = "respect",
        /// Which of the origin's refusals are set aside too, by name; needs origin_headers: override.
        overridden as "override": Words<Overridden>,
        /// Whether a browser's reload is served from the cache (ignore) or not (honor).
        client_no_cache: ClientNoCache = "ignore",
        /// Whether routes are cached (cache), or answered by the origin while it is noted what the cache would have answered
        /// (shadow); instead of `mode` of the file.
        mode: Mode,
        /// Requests that no route matches: stored on the origin's word, its explicit freshness or else a tenth of the time
        /// since Last-Modified, at most a day (origin); or never (bypass).
        unmatched: Unmatched = "origin",
        /// Query names, as globs, that do not count and are not sent to the origin.
        ignore_query: Words<String>,
        /// Who may share an entry: auto (those without credentials), public (all), user (nobody), origin (RFC 9111 §3.5).
        scope: Scope = "auto",
        /// Freshness by status where the origin says nothing, beside 200.
        negative: Negative,
        /// Answers that carry Set-Cookie: not stored (refuse), or with explicit origin freshness without it (strip) or
        /// with it, for everybody (store).
        set_cookie: SetCookie = "refuse",
        /// Errors that a stranger can provoke: 400, 405, 413 and 414 are stored if `negative` lists them, and 5xx are not
        /// (listed), or all of them on the origin's word, as any status (fresh).
        store_errors: StoreErrors = "listed",
        /// A HEAD that is not in the store asks the origin for the whole (get), or is forwarded (forward).
        head: HeadRule = "get",
        /// A request for a part that is not in the store asks the origin for the whole (whole), or for the part (forward).
        range: RangeRule = "whole",
        /// Requests for what varies by Accept-Language: alike if they prefer the same languages in the same order (in-order),
        /// whatever the order of equal weights (any-order), or if the same of these languages serves them best; the origin
        /// is asked for that one alone. List those that it has, the one it prefers first.
        languages: Languages = "in-order",
        /// Sends only keyed and standard request fields to the origin.
        strict: bool = "false",
        /// Adds Cache-Status to answers.
        cache_status: bool = "true",
        /// Adds X-Cache to answers.
        x_cache: bool = "true",
        /// Tags of every answer: words with placeholders ({id}, {query.page}, {user}), by which it is invalidated.
        tags: Words<Text>,
        /// Tags out of the JSON body: `project:$.items[*].id` is one for each value found.
        body_tags: Words<BodyTag>,
        /// For how long what a write outdated is not stored again, instead of invalidation.settle.
        settle: Duration,
        /// Leaves Surrogate-Key, Cache-Tag and Cache-Groups in answers to clients.
        forward_tags: bool = "false",
    }
}

section! {
    /// `invalidation:`
    Invalidation {
        /// What a write that the origin answers with 5xx does to its target: outdates it, for the write may have been
        /// done (invalidate), or nothing (keep, RFC 9111 §4.4).
        on_server_error: ServerError = "invalidate",
        /// Invalidations from webhooks, Redis and the admin API that come within this time are applied together; each is
        /// acknowledged when it is.
        debounce: Duration = "0s",
        /// Most invalidations that are applied together.
        max_batch: Count = "1000",
        /// For how long what a write outdated is not stored again: a backend may commit after it has answered.
        settle: Duration = "100ms",
    }
}

section! {
    /// One route; what it does not say it inherits from its preset, then from `defaults`.
    Route {
        /// A set of keys by name; what the route says itself wins.
        preset: Preset,
        /// Whether it is cached (cache), or answered by the origin while it is noted what the cache would have answered (shadow).
        mode: Mode,
        /// The methods that read here, of GET (and HEAD with it), QUERY and POST; default GET and QUERY. A POST that is
        /// named is cached by its body and outdates nothing; it needs key.body.
        methods: Words<ReadMethod>,
        /// Freshness of a 200 where the origin says nothing; 0: only what the origin says is stored.
        ttl: Duration,
        /// For how long after that a stale answer is served while it is fetched anew (RFC 5861).
        stale_while_revalidate: Duration,
        /// For how long a stale answer is served when the origin fails (RFC 5861).
        stale_if_error: Duration,
        /// Whether the origin's freshness wins (respect) or the route's (override).
        origin_headers: OriginWord,
        /// Which of the origin's refusals are set aside too, by name; needs origin_headers: override.
        overridden as "override": Words<Overridden>,
        /// Whether a browser's reload is served from the cache (ignore) or not (honor).
        client_no_cache: ClientNoCache,
        /// Who may share an entry: auto (those without credentials), public (all), user (nobody), origin (RFC 9111 §3.5).
        scope: Scope,
        /// What tells one answer from another, beside path and query.
        key: Key,
        /// Query names, as globs, that do not count and are not sent to the origin.
        ignore_query: Words<String>,
        /// Freshness by status where the origin says nothing, beside 200.
        negative: Negative,
        /// Stores only answers whose JSON body is in one of these states.
        store_if: StoreIf,
        /// Answers that carry Set-Cookie: not stored (refuse), or with explicit origin freshness without it (strip) or
        /// with it, for everybody (store).
        set_cookie: SetCookie,
        /// Errors that a stranger can provoke: 400, 405, 413 and 414 are stored if `negative` lists them, and 5xx are not
        /// (listed), or all of them on the origin's word, as any status (fresh).
        store_errors: StoreErrors,
        /// A HEAD that is not in the store asks the origin for the whole (get), or is forwarded (forward).
        head: HeadRule,
        /// A request for a part that is not in the store asks the origin for the whole (whole), or for the part (forward).
        range: RangeRule,
        /// Requests for what varies by Accept-Language: alike if they prefer the same languages in the same order (in-order),
        /// whatever the order of equal weights (any-order), or if the same of these languages serves them best; the origin
        /// is asked for that one alone. List those that it has, the one it prefers first.
        languages: Languages,
        /// Sends only keyed and standard request fields to the origin.
        strict: bool,
        /// Connect plus first byte, then idle, instead of limits.upstream_timeout.
        timeout: Timeout,
        /// Largest body that is stored, instead of limits.entry.
        entry: Size,
        /// Adds Cache-Status to answers.
        cache_status: bool,
        /// Adds X-Cache to answers.
        x_cache: bool,
        /// Tags of every answer: words with placeholders ({id}, {query.page}, {user}), by which it is invalidated.
        tags: Words<Text>,
        /// Tags out of the JSON body: `project:$.items[*].id` is one for each value found.
        body_tags: Words<BodyTag>,
        /// For how long what a write outdated is not stored again, instead of invalidation.settle.
        settle: Duration,
        /// Leaves Surrogate-Key, Cache-Tag and Cache-Groups in answers to clients.
        forward_tags: bool,
    }
}

section! {
    /// `key:` of a route.
    Key {
        /// The only query names that count and that are sent on a fill.
        query: Words<String>,
        /// Request fields whose values count.
        headers: Words<HeaderName>,
        /// How the body of a QUERY or of a declared POST counts: each byte (raw, default), or as canonical JSON (json, RFC
        /// 8785), and what is not JSON is not cached.
        body: BodyKey,
        /// JSONPaths to what of a JSON body does not count; it is sent all the same.
        ignore: Words<JsonPath>,
    }
}

section! {
    /// `store_if:` of a route.
    StoreIf {
        /// JSONPaths, any of which may name the state.
        path: Words<JsonPath>,
        /// The states that are stored; case does not matter.
        states as "in": Words<String>,
    }
}

section! {
    /// `identity:`
    Identity {
        /// Where the user's id stands, first match: jwt:CLAIM header:NAME cookie:NAME.
        user: Words<UserSource>,
        /// What is a credential, instead of the built-in list: field names and cookie:NAME.
        credentials: Words<Credential>,
        /// Keys the digest of credentials; without it a random one for each start.
        secret: NeededSecret,
    }
}

section! {
    /// `admin:`
    AdminKeys {
        /// Where the admin listener is.
        listen: Listen = "127.0.0.1:8081",
        /// Bearer token; needed where `listen` is not loopback.
        token: Secret,
        /// Further tokens by name, for the audit list, and what each may do.
        tokens: Tokens,
        /// A further listener that carries /livez /readyz /metrics only.
        probes: Listen,
        /// Under which path stats, health and invalidate stand, as of a cache inside an application.
        cache_path: CachePath = "/api/cache",
    }
}

section! {
    /// `shutdown:`
    Shutdown {
        /// For how long /readyz says 503 while connections are still accepted.
        delay: Duration = "5s",
        /// How long open requests may take to end after that.
        timeout: Duration = "20s",
    }
}

section! {
    /// `log:`
    Log {
        /// Which requests get a line: all, errors (5xx), off, or a share such as 0.01.
        access: Access = "all",
        /// Least severe diagnostic on stderr: error, warn, info, debug, trace.
        level: tracing::Level = "info",
    }
}

section! {
    /// `tls:`
    Tls {
        /// PEM file with the certificate chain.
        cert: PathBuf,
        /// PEM file with the private key.
        key: PathBuf,
    }
}
