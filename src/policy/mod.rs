//! What RFC 9111 and the route's rule allow: pure decisions over heads and a time, with reasons.
//!
//! Nothing here reads a clock, does I/O, logs or holds state.
//!
//! ```text
//! response -> may_store  -> Storable { head, Life } | NoStore      store.rs  (freshness.rs, date.rs, cache_control.rs, fields.rs)
//!             Selector::of -> Selector | NoStore                   vary.rs   (coding.rs, language.rs)
//!             StoreIf::judge -> stored | NoStore                   state.rs  (decode.rs)
//! request  -> Selector::matches -> may_reuse -> Reuse              reuse.rs
//!             not_modified, range::select                          validate.rs, range.rs
//! 304      -> freshen -> Storable | NotFreshened                   freshen.rs
//! 206      -> partial::may_store, measured, combine, complete      partial.rs
//! HEAD     -> update_by_head -> HeadUpdate                         freshen.rs
//! write    -> outdates_target, also_outdated                       outdate.rs
//!             represents_target -> Storable | NoStore              represent.rs
//! ```

pub mod cache_control;
pub mod cache_status;
pub mod coding;
mod date;
pub mod decode;
pub mod fields;
pub mod freshen;
pub mod freshness;
pub mod language;
pub mod outdate;
pub mod partial;
pub mod range;
pub mod represent;
mod resume;
pub mod reuse;
mod span;
pub mod state;
pub mod store;
pub mod validate;
pub mod vary;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod testing;

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};

pub use crate::policy::cache_status::{CacheStatus, Forward};
pub use crate::policy::freshness::{Life, ResponseTimes, Source};
pub use crate::policy::language::Languages;
pub use crate::policy::resume::LifeSoFar;
pub use crate::policy::reuse::{Reuse, WhyValidate, may_reuse, may_serve_on_error, only_if_cached};
pub use crate::policy::store::{NoStore, Storable, asks_no_store, may_store};
pub use crate::policy::vary::Selector;

/// What the policy looks at in a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The fields.
    pub headers: &'a HeaderMap,
    /// Whether the key holds a digest of the body, so that a method which reads by its body can be cached (QUERY,
    /// declared POST). For a GET it says nothing.
    pub body_keyed: bool,
}

/// Who can find an entry again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Everybody.
    Shared,
    /// Only who shows the same credentials: the key holds their digest.
    PerCredential,
}

/// What one route asks of the policy.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Freshness where the origin is silent, for status 200 only; `None`: only the origin's word stores.
    pub ttl: Option<Duration>,
    /// Freshness by status where the origin is silent (`negative: {404: 10s}`).
    pub negative: Vec<(StatusCode, Duration)>,
    /// RFC 5861 §3, where the origin does not say.
    pub stale_while_revalidate: Option<Duration>,
    /// RFC 5861 §4, where the origin does not say.
    pub stale_if_error: Option<Duration>,
    /// Whether the origin's freshness beats the route's.
    pub origin_headers: OriginHeaders,
    /// Whether a client's `Cache-Control: no-cache` and the like are obeyed.
    pub client_no_cache: ClientNoCache,
    /// Who may share an entry.
    pub scope: Scope,
    /// What becomes of an otherwise storable response that carries `Set-Cookie`.
    pub set_cookie: SetCookie,
    /// Heuristic freshness (RFC 9111 §4.2.2); on for requests that no route matches.
    pub heuristic: bool,
    /// Whether errors that a stranger's request can provoke are stored.
    pub store_errors: StoreErrors,
    /// Stores only answers whose JSON body is in one of these states.
    pub store_if: Option<StoreIf>,
    /// What a HEAD asks the origin for.
    pub head: HeadRule,
    /// What a request for a part asks the origin for.
    pub range: RangeRule,
    /// What becomes of a part whose `Content-Range` and length disagree.
    pub part_length: PartLength,
    /// How requests for a response that varies by `Accept-Language` are compared.
    pub languages: Languages,
}

impl Default for Rule {
    /// A plain shared cache: stored only by the origin's explicit word.
    fn default() -> Self {
        Self {
            ttl: None,
            negative: Vec::new(),
            stale_while_revalidate: None,
            stale_if_error: None,
            origin_headers: OriginHeaders::Respect,
            client_no_cache: ClientNoCache::Ignore,
            scope: Scope::Auto,
            set_cookie: SetCookie::Refuse,
            heuristic: false,
            store_errors: StoreErrors::IfListed,
            store_if: None,
            head: HeadRule::Get,
            range: RangeRule::Whole,
            part_length: PartLength::Checked,
            languages: Languages::InOrder,
        }
    }
}

/// `origin_headers:` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginHeaders {
    /// The origin's explicit freshness wins over the route's ttl.
    Respect,
    /// The route's ttl wins; the origin's `no-store` or `private` only falls if named.
    Override {
        /// `override: [no-store]` was said.
        no_store: bool,
        /// `override: [private]` was said.
        private: bool,
    },
}

/// `client_no_cache:` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientNoCache {
    /// A browser's reload does not flush the cache (default).
    Ignore,
    /// RFC 9111 §5.2.1 to the letter.
    Honor,
}

/// `scope:` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A request without credentials shares; one with credentials has entries of its own.
    Auto,
    /// Shared by all; the fill carries no credential.
    Public,
    /// Always per credential; bypass without one.
    User,
    /// As the origin says (RFC 9111 §3.5): all share, except what a request with `Authorization` fetched and the origin
    /// did not open to others. Nothing else counts as a credential, and the fill carries them all: cookies and API keys do
    /// no harm only if the origin's `Cache-Control` and `Vary` are to be trusted.
    Origin,
}

impl Scope {
    /// The word for it in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Public => "public",
            Self::User => "user",
            Self::Origin => "origin",
        }
    }
}

/// `set_cookie:` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetCookie {
    /// A response with `Set-Cookie` is not stored (default).
    Refuse,
    /// With explicit origin freshness it is stored without the field.
    Strip,
    /// With explicit origin freshness it is stored as it is, and everybody who is served it gets the cookie (RFC 9111 §7.3).
    Store,
}

/// Whether 400, 405, 413, 414 and 5xx are stored: one crafted request must not take a page away from everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrors {
    /// Only those that `negative` lists (default): never a 5xx, which the configuration lets nobody list.
    IfListed,
    /// RFC 9111 to the letter: like any status, on the origin's explicit freshness or, where they are on, heuristics.
    IfFresh,
}

/// `head:` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadRule {
    /// A HEAD is answered as a GET without its body, and fills as one (default).
    Get,
    /// A HEAD that the store does not answer is forwarded, and its answer updates the stored GET (RFC 9111 §4.3.5).
    Forward,
}

/// `range:` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeRule {
    /// The origin is asked for the whole, which then answers every part (default).
    Whole,
    /// The origin is asked for the part, which is stored and combined with others (RFC 9111 §3.3, §3.4).
    Forward,
}

/// Whether a 206 whose body is not as long as its `Content-Range` says is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartLength {
    /// It is not (default).
    Checked,
    /// It is: its bytes count from whichever end they are asked for (`origin_framing: lenient`).
    AsItCame,
}

/// `store_if: {path: $.status, in: [done, failed]}`: stores only terminal states.
#[derive(Clone, Debug)]
pub struct StoreIf {
    /// JSONPaths, any of which may name the state (`$.status`, `$.state`).
    pub paths: Vec<serde_json_path::JsonPath>,
    /// The states that are stored; compared without regard to case.
    pub states: Vec<String>,
}
