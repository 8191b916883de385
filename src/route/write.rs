//! What a write outdates, by the rules of the configuration (`writes:`): which rules a request falls under, and what
//! they name once its answer is there. Pure.
//!
//! Invariant: every rule that matches counts, and a placeholder that cannot be resolved widens.

use http::{Method, StatusCode};
use serde_json_path::JsonPath;

use crate::route::pattern::Template;
use crate::route::reach::ItemTemplate;

/// One rule of `writes:`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// As written: `PUT|PATCH /api/projects/{id}`.
    pub name: String,
    /// Which methods it is about.
    pub methods: Methods,
    /// Which paths. A catch-all matches the bare parent too.
    pub template: Template,
    /// What it asks of the answer besides; `None`: nothing.
    pub when: Option<When>,
    /// What is outdated.
    pub invalidate: Vec<ItemTemplate>,
    /// `credential` among the words: every entry of whoever wrote.
    pub credential: bool,
    /// Whether what is derived from it (`dependencies`) is outdated too (default true).
    pub cascade: bool,
    /// Whether it makes stale instead of removing (default false); the target itself is always removed.
    pub soft: bool,
    /// Whether what was dropped and was hot is fetched again, before it is asked for.
    pub refresh: bool,
}

/// Which methods a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Methods {
    /// `ANY`: every unsafe one.
    Any,
    /// `A|B`.
    Of(Vec<Method>),
}

/// What a rule asks of the answer, where its outcome is known: `when: { status: 201, path: $.state, in: [done] }`.
#[derive(Clone, Debug)]
pub struct When {
    /// One of these statuses; empty: any that has an effect.
    pub status: Vec<StatusCode>,
    /// A value in the JSON of the answer, or else of the request, that has to be one of `states`; case does not matter.
    pub path: Option<JsonPath>,
    /// What the value at `path` may be.
    pub states: Vec<String>,
}
