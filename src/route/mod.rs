//! Which rule a request falls under, and under which key its answer is kept: pure.
//!
//! One request is read once: [`target::Rules::target`] canonicalises authority, path and query and finds the
//! route; [`identity::Identity::share`] says whose entries it may use; [`target::Target::key`] names the entry.
//! What is keyed is what is sent to the origin, so no answer can depend on something its key does not hold.
//! This room refuses to know time, storage and the network.

pub mod carried;
pub mod content;
mod cookie;
pub mod derive;
pub mod host;
pub mod identity;
pub mod key;
pub mod meet;
pub mod path;
pub mod pattern;
pub mod query;
pub mod reach;
pub mod share;
pub mod table;
pub mod tag;
pub mod target;
mod tree;
pub mod user;
pub mod write;
pub mod written;

use std::time::Duration;

use http::Method;
use serde_json_path::JsonPath;

use crate::policy;

/// What the configuration says of one route, defaults and preset already folded in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The template as written (`/api/projects/{id}`); the label in metrics and logs.
    pub template: String,
    /// Cache by `rule`, or never (`/api/auth/{rest:path}: bypass`).
    pub bypass: bool,
    /// Whether what `rule` lets be kept is served, or only what that would have been is noted.
    pub mode: Mode,
    /// The methods that read here (`methods:`).
    pub methods: Vec<ReadMethod>,
    /// What the route asks of the policy.
    pub rule: policy::Rule,
    /// Which parts of the request tell one answer from another.
    pub key: KeySettings,
    /// Overrides `limits.upstream_timeout`.
    pub timeout: Option<Duration>,
    /// Largest body that is stored, in bytes (`entry:`, else `limits.entry`).
    pub entry: u64,
    /// Sends only keyed and standard fields to the origin on a fill.
    pub strict: bool,
    /// Adds `Cache-Status` to answers (default true).
    pub cache_status: bool,
    /// Adds `X-Cache` to answers (default true).
    pub x_cache: bool,
    /// `tags:` of its answers.
    pub tags: Vec<tag::Text>,
    /// `body_tags:` of its answers.
    pub body_tags: Vec<BodyTag>,
    /// For how long what a write outdated is not stored again (`settle:`, else `invalidation.settle`).
    pub settle: Duration,
    /// Keeps `Surrogate-Key` and `Cache-Tag` in answers to clients (default false); `Cache-Groups` always stays.
    pub forward_tags: bool,
    /// Digest of these settings; entries stored under another digest are not found.
    pub digest: u64,
}

/// `mode:` of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is cached (default).
    #[default]
    Cache,
    /// Clients are answered by the origin alone, and it is told how the cache would have answered them.
    Shadow,
}

impl Mode {
    /// The word for it in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Shadow => "shadow",
        }
    }
}

/// `key:` and `ignore_query:` of a route.
#[derive(Clone, Debug, Default)]
pub struct KeySettings {
    /// `key.query`: only these names count, and only they are sent on a fill; `None`: all but the ignored.
    pub query: Option<Vec<String>>,
    /// `ignore_query` globs (`utm_*`), matched on decoded names; what they drop is not sent on a fill.
    pub ignore_query: Vec<String>,
    /// `key.headers`: request fields whose values are part of the key (lower case).
    pub headers: Vec<http::HeaderName>,
    /// `key.body`: which differences of a body count, where it is part of the key.
    pub body: BodyKey,
    /// `key.ignore`: what of a JSON body does not count; it is sent all the same (RFC 10008 §2.7: the request stays as it
    /// is).
    pub ignore: Vec<JsonPath>,
}

/// `project:$.items[*].id`: one tag for every value that the JSON body has there.
#[derive(Clone, Debug)]
pub struct BodyTag {
    /// What stands before the value; may have placeholders.
    pub prefix: Option<tag::Text>,
    /// Where the values stand.
    pub path: JsonPath,
}

/// Which differences of a body count (`key.body:`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyKey {
    /// Each byte (default).
    #[default]
    Raw,
    /// Those of canonical JSON (RFC 8785); what is not JSON is not cached.
    Json,
}

/// A method that may read, as `methods:` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMethod {
    /// GET, and HEAD with it.
    Get,
    /// QUERY (RFC 10008).
    Query,
    /// POST, where the route declares that it only reads.
    Post,
}

/// What reads on a route that does not say.
pub const READING: [ReadMethod; 2] = [ReadMethod::Get, ReadMethod::Query];

/// By what a request of some method asks on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// By its target.
    ByTarget,
    /// By its content too, which is part of the key.
    ByContent,
    /// It is no read there.
    Not,
}

impl Settings {
    /// Those of a route that caches nothing.
    pub fn passing(template: &str) -> Self {
        Self {
            template: template.to_owned(),
            bypass: true,
            mode: Mode::Cache,
            methods: READING.to_vec(),
            rule: policy::Rule::default(),
            key: KeySettings::default(),
            timeout: None,
            entry: 0,
            strict: false,
            cache_status: true,
            x_cache: true,
            tags: Vec::new(),
            body_tags: Vec::new(),
            settle: Duration::ZERO,
            forward_tags: false,
            digest: 0,
        }
    }

    /// How `method` reads on this route.
    pub fn reads(&self, method: &Method) -> Reads {
        let (named, reads) = match method.as_str() {
            "GET" | "HEAD" => (ReadMethod::Get, Reads::ByTarget),
            "QUERY" => (ReadMethod::Query, Reads::ByContent),
            "POST" => (ReadMethod::Post, Reads::ByContent),
            _ => return Reads::Not,
        };
        if self.methods.contains(&named) { reads } else { Reads::Not }
    }
}
