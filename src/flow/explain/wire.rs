//! An explanation as programs read it: the JSON of the admin API and of `larder explain --json`.
//!
//! Invariant: no value of a credential stands in it; the names of the fields and cookies that carry one do. Names of members are an
//! interface: they are added to, and never change what they mean.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Why a request is answered as it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// The request: method and target as they were asked about.
    pub request: String,
    /// What becomes of it.
    pub becomes: Becomes,
    /// Why it is not a read or a write, in the word that `Cache-Status` has for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// What the next such request is told.
    pub outcome: Outcome,
    /// What it would have been told, were its route not in shadow mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would: Option<Outcome>,
    /// The rule that it falls under; none if it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// Whose entries it is answered from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<Entries>,
    /// Under what its answer is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// What its answer is outdated by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Tags>,
    /// What is stored for it, be it too old.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<Stored>,
    /// Whether somebody is fetching it just now.
    #[serde(default)]
    pub in_flight: bool,
    /// Variants under its key that are for other requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variants: Option<Variants>,
    /// Why the newest answer was not kept, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_refused: Option<Refused>,
    /// What drops its answer, by tag.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped_by: Vec<Dropped>,
    /// What it outdates, if it writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write: Option<Write>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Becomes {
    /// Answered by the cache: from what is stored, or by one fetch for all who ask.
    Read,
    /// Forwarded; what it outdates goes before its answer leaves.
    Write,
    /// Forwarded, and its answer is not kept.
    Pass,
    /// Forwarded; both ends are joined.
    Tunnel,
    /// Received by Larder itself: signed, it outdates what it names.
    Webhook,
    /// Received by Larder itself: it outdates its path for who shows a token that may.
    Purge,
    /// Answered with an error, and not forwarded.
    Refused,
}

/// What the next such request is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// In the words of its answer; where the origin decides, the likeliest.
    #[serde(flatten)]
    pub told: Told,
    /// Who has the last word.
    pub decided_by: By,
    /// What the origin does for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// What else it may be told, by what the origin answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub or: Vec<Or>,
}

/// In the words of an answer; absent where it carries none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// `X-Cache`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x_cache: Option<String>,
    /// Larder's member of `Cache-Status`; `…` stands for a word that only the origin's answer tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_status: Option<String>,
    /// The status of an answer that is Larder's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// Who has the last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// Larder: it will be so.
    Cache,
    /// The origin, by what it answers: it may be told otherwise.
    Origin,
}

/// What may be told instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Or {
    /// When.
    pub when: When,
    /// What.
    #[serde(flatten)]
    pub told: Told,
}

/// What an origin may do, or another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// It answers what may be kept.
    Kept,
    /// It confirms what is stored.
    Confirmed,
    /// It answers what may not be kept.
    NotKept,
    /// It asks for a credential on a route that is public: from then on the route is `auto`, and the request asks again, as
    /// whoever sent it.
    Demoted,
    /// It answers otherwise.
    Answered,
    /// Another node of the fleet has an answer, and the origin is not asked.
    Told,
    /// It gives no answer.
    NoAnswer,
    /// It gives none, or a 500, 502, 503 or 504.
    Failed,
}

/// A rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Route {
    /// Its template, or `unmatched`.
    pub template: String,
    /// What stands in the braces.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub captures: BTreeMap<String, String>,
    /// For how long an answer is fresh where the origin does not say, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
    /// `scope`
    pub scope: String,
    /// That it was public until its origin asked for a credential, and is `auto` for as long as the process runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub demoted: Option<Demoted>,
}

/// That a route is public no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demoted {
    /// Seconds ago.
    pub ago: u64,
    /// The status with which the origin asked for a credential.
    pub status: u16,
}

/// Whose entries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entries {
    /// Whose.
    pub of: Of,
    /// Why, in a sentence.
    pub why: String,
    /// The fields and cookies that are credentials, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<String>,
}

/// Whose entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Of {
    /// Everybody's.
    Everybody,
    /// Those of whoever sends the same credentials.
    Credential,
    /// Nobody's: the cache is not asked.
    Nobody,
}

/// A key, part by part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Key {
    /// The client's scheme.
    pub scheme: String,
    /// The host as it is keyed.
    pub host: String,
    /// The path as it is keyed.
    pub path: String,
    /// The query as it is keyed and sent on: sorted, and without what does not count.
    pub query: String,
    /// Names of the query that do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
    /// Whether it holds a digest of the credentials.
    pub credential: bool,
    /// Whether it holds a digest of method and content.
    pub content: bool,
    /// Fields that are part of it, with their lines.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Vec<String>>,
}

/// What an answer is outdated by.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tags {
    /// Whether these are all, or those that are known before there is an answer.
    pub known: KnownTags,
    /// As people write them.
    pub tags: Vec<String>,
}

/// Whether tags are all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KnownTags {
    /// All of the stored answer's.
    All,
    /// What the request and the rule tell; the answer may bring more.
    SoFar,
}

/// What is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stored {
    /// Its status.
    pub status: u16,
    /// Bytes of its body.
    pub bytes: u64,
    /// Seconds since the origin made it.
    pub age: u64,
    /// Seconds of freshness left; negative when stale.
    pub ttl: i64,
    /// Whose word that is: `max-age`, `ttl`, ….
    pub by: String,
    /// Seconds beyond freshness in which it is served while it is fetched anew.
    pub stale_while_revalidate: u64,
    /// Seconds beyond freshness in which it stands in for an origin that fails.
    pub stale_if_error: u64,
    /// Whether the origin is asked before it is used, fresh or not.
    pub always_validate: bool,
    /// Seconds since a soft invalidation made it stale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub softened: Option<u64>,
    /// Requests that it answered.
    pub hits: u32,
    /// Whether it is a part, not the whole.
    pub part: bool,
}

/// Variants for other requests.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Variants {
    /// How many.
    pub count: usize,
    /// The fields that tell them apart.
    pub vary_by: Vec<String>,
}

/// An answer that was not kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refused {
    /// The word that `Cache-Status` and metrics have for it.
    pub why: String,
    /// Seconds ago.
    pub ago: u64,
}

/// What drops an answer by one of its tags.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dropped {
    /// The tag.
    pub tag: String,
    /// Write rules, events and derivations that reach it.
    pub by: Vec<String>,
}

/// What a write outdates.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Write {
    /// Rules that match, with what each names.
    pub rules: Vec<Rule>,
    /// What is outdated in any case: its path, under every query.
    pub target: Vec<String>,
    /// What follows by `dependencies`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub derived: Vec<String>,
    /// Entries that it reaches now.
    pub entries: u64,
    /// Those by the template of their route.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_route: BTreeMap<String, u64>,
}

/// A write rule that matches.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// As written.
    pub rule: String,
    /// What it outdates; `*` stands for what is known only from body or answer.
    pub outdates: Vec<String>,
    /// Whether it makes stale instead of removing.
    pub soft: bool,
    /// Whether what was hot is fetched again.
    pub refresh: bool,
    /// Whether the answer decides (`when`).
    pub conditional: bool,
}
