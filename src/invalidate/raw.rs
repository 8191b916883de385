//! What happened, as it was told, so that each node of a fleet derives from it what its own rules say. Pure.
//!
//! Invariant: what is not in it (fields and bodies of a write; data that is too large) counts as unknown, and what cannot be
//! resolved for that widens, or counts as if it were so. So a node of other rules outdates too much and never too little; one
//! of the same rules need not look, for all that it would find travels with it. It refuses to know how it is sent.

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::invalidate::Settings;
use crate::invalidate::event::{self, Event};
use crate::route::path::Path;
use crate::route::reach::{Item, Reach};
use crate::route::write::Matches;
use crate::route::written::{Content, Outcome, Written};
use crate::store::author::Author;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Raw {
    /// An event was told of.
    Event {
        /// Its name.
        name: String,
        /// What it is about; null if that is too large.
        data: Value,
    },
    /// Somebody wrote.
    Write {
        /// How.
        method: String,
        /// Where, as it is keyed.
        host: Arc<str>,
        /// The path as it came.
        path: String,
        /// The query as it came.
        query: Option<String>,
        /// Who (`identity.user`).
        user: Option<String>,
        /// What the origin said; `None`: nobody knows.
        status: Option<u16>,
    },
}

impl Raw {
    /// The same without what may be large.
    pub(in crate::invalidate) fn in_short(&self) -> Self {
        match self {
            Self::Event { name, .. } => Self::Event { name: name.clone(), data: Value::Null },
            write @ Self::Write { .. } => write.clone(),
        }
    }

    /// What the rules of `settings` outdate because of it, with all that is derived from that; `author` is who wrote.
    pub(crate) fn expanded(&self, settings: &Settings, author: Option<Author>) -> Reach {
        match self {
            Self::Event { name, data } => match event::named(name, data, None, &settings.events) {
                Ok(Event::Outdates(outdates)) => {
                    let mut reach = outdates.reach;
                    settings.dependencies.extend(&mut reach);
                    reach
                }
                Ok(Event::Unmatched { .. }) => Reach::default(),
                Err(_) => Reach::all(),
            },
            Self::Write { method, host, path, query, user, status } => {
                let Ok(method) = Method::from_bytes(method.as_bytes()) else { return Reach::all() };
                let status = status.map(StatusCode::from_u16).and_then(Result::ok);
                let written = Written {
                    host,
                    query: query.as_deref(),
                    headers: &HeaderMap::new(),
                    user: user.as_deref(),
                    outcome: status.map_or(Outcome::Unknown, Outcome::Known),
                    request: &Content::Unread,
                    response: &Content::Unread,
                };
                let outdated = Matches::of(&settings.writes, &method, &Path::of(path)).outdated(&written);
                let (mut all, _) = outdated.hard.followed(&settings.dependencies);
                let (soft, _) = outdated.soft.followed(&settings.dependencies);
                let whose = author.filter(|_| outdated.credential).and_then(|author| author.tag());
                soft.items.into_iter().chain(whose.map(Item::Tag)).for_each(|item| all.add(item));
                all
            }
        }
    }
}

/// A number for the rules that make something of what happened: those of two nodes that have the same one are the same.
pub(in crate::invalidate) fn fingerprint(settings: &Settings) -> u64 {
    let rules = format!("{:?} {:?}", settings.events.rules, settings.writes);
    let digest: [u8; 32] = Sha256::digest(rules.as_bytes()).into();
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
