//! For whom it counts that an answer may not be kept: who need not wait for one another from then on, and whether the entry
//! that it would have taken the place of goes.
//!
//! Invariant: an answer that is one person's own takes nothing from anybody else. It refuses to know why an answer is not kept.

use std::time::Duration;

use http::header::AUTHORIZATION;
use http::request::Parts as Head;

use crate::flow::Visit;
use crate::policy::{self, Scope};
use crate::route::key::Key;
use crate::route::share::Share;
use crate::store::memory::Refusal;
use crate::store::{Found, Store};

/// For whom it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lesson {
    /// For all who ask under its key.
    All,
    /// For those who ask with `Authorization` where all share (RFC 9111 §3.5): remembered under this key.
    TheAuthorized(Key),
    /// For the one who asked: he said `no-store` (RFC 9111 §5.2.1.5).
    One,
}

impl Lesson {
    /// What the answer to this request would teach.
    pub(crate) fn of(visit: &Visit<'_>, head: &Head, share: Share) -> Self {
        let rule = &visit.target.route.settings.rule;
        if policy::asks_no_store(&head.headers, rule) {
            return Self::One;
        }
        // The fill of a public route carries no credential.
        let shared = share == Share::Shared && rule.scope != Scope::Public;
        if shared && head.headers.contains_key(AUTHORIZATION) {
            let whoever = Share::Credential([0; 16].into());
            return Self::TheAuthorized(
                visit.target.key(whoever, &head.headers, visit.content().key()).to_key(),
            );
        }
        Self::All
    }

    /// Whether it is known beforehand that the answer is for the one who asks only.
    pub(crate) fn is_learnt(&self, store: &Store, now: Duration) -> bool {
        match self {
            Self::All => false, // whoever looked the key up knows
            Self::TheAuthorized(key) => {
                matches!(store.lookup(key, |_| false, now), Found::Uncacheable)
            }
            Self::One => true,
        }
    }

    /// Remembers why an answer under `key` was not kept.
    pub(crate) fn note(&self, store: &Store, key: &Key, refusal: Refusal) {
        match self {
            Self::All => store.remember_refusal(key, refusal),
            Self::TheAuthorized(theirs) => store.remember_refusal(theirs, refusal),
            Self::One => {}
        }
    }

    /// What was noted last of answers to this request, whose own key is `key`.
    pub(crate) fn noted(&self, store: &Store, key: &Key) -> Option<Refusal> {
        match self {
            Self::TheAuthorized(theirs) => store.refusal(theirs),
            Self::All | Self::One => None,
        }
        .or_else(|| store.refusal(key))
    }

    /// Remembers until `until` (monotonic) that an answer under `key` was not kept.
    pub(crate) fn learn(&self, store: &Store, key: &Key, until: Duration) {
        match self {
            Self::All => store.remember_uncacheable(key, until),
            Self::TheAuthorized(theirs) => store.remember_uncacheable(theirs, until),
            Self::One => {}
        }
    }
}
