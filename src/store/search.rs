//! A search for what an item reaches: where in the order of names its tags lie, and how far it has come.
//!
//! ```text
//! order of names    \u{1}…   //a   //a-x/p   //a/p   //a/p-x   //a/p/q   //b/p   export:1   project:1   project:2
//! project:*                                                                                 └─────────────────┘
//! //a/p/**                                     └─ ─ ─ seek ─ ─ ─ ─ ┘
//! /p/** on every host         └──┘ └─────┘  └┘            …        └ past all of //a, to the next host
//! ```
//! Invariant: what is not visited is not reached. It can be left after every step and taken up again later: what it has
//! not come to by then is either there still, or gone. It refuses to know what is done to what it finds.

use crate::fault::{self, Fault};
use crate::route::reach::{Item, Paths};
use crate::route::tag::Tag;

/// A search under way.
#[derive(Clone, Debug)]
pub struct Search {
    pub(in crate::store) item: Item,
    /// What the paths that it reaches begin with, if it reaches paths.
    prefix: String,
    pub(in crate::store) at: At,
    pub(in crate::store) steps: usize,
}

/// How far a search has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum At {
    /// Everything: at the entry of this number.
    Entry(u32),
    /// At the first tag that is not below this name; of that very tag, only the carriers below this number are left.
    Tag {
        /// The name.
        from: String,
        /// The number; `None`: all are left.
        left: Option<usize>,
    },
    /// There is no more.
    End,
}

/// What a search does at a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Turn {
    /// The item reaches it.
    Take,
    /// It does not, the next one may.
    Pass,
    /// No tag below this name.
    Seek(String),
    /// No tag behind this one.
    End,
}

impl Search {
    /// A search at its beginning.
    pub fn new(item: Item) -> Self {
        let mut prefix = String::new();
        let from = match &item {
            Item::All => None,
            Item::Tag(tag) => Some(tag.as_str().to_owned()),
            Item::Tags(gaps) => Some(gaps.prefix().to_owned()),
            Item::Paths { host, paths } => {
                prefix = paths.prefix();
                if !prefix.starts_with('/') && !matches!(paths, Paths::One(_)) {
                    prefix = String::from("/");
                }
                Some(format!("//{}", host.as_deref().unwrap_or_default()))
            }
        };
        let at = from.map_or(At::Entry(0), |from| At::Tag { from, left: None });
        Self { item, prefix, at, steps: 0 }
    }

    /// Tags and entries that it has looked at so far.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// What to do at `tag`.
    pub(in crate::store) fn turn(&self, tag: &Tag) -> Turn {
        match &self.item {
            Item::All => Turn::End,
            Item::Tag(own) if own == tag => Turn::Take,
            Item::Tag(_) => Turn::End,
            Item::Tags(gaps) if !tag.as_str().starts_with(gaps.prefix()) => Turn::End,
            Item::Tags(_) if tag.is_path() => Turn::Seek("/0".into()),
            Item::Tags(_) if !tag.is_named() => Turn::Seek("\u{2}".into()),
            Item::Tags(_) => self.take_or_pass(tag),
            Item::Paths { host, paths } => {
                let Some((on, path)) = tag.host_and_path() else { return Turn::End };
                match host.as_deref() {
                    Some(host) if host != on => {
                        // Hosts that begin with this one's name lie between its root and the rest of it.
                        let rest = format!("//{host}/");
                        if tag.as_str() < rest.as_str() { Turn::Seek(rest) } else { Turn::End }
                    }
                    host => self.turn_at_path(tag, (on, path), paths, host.is_some()),
                }
            }
        }
    }

    /// All names from `//host/` up to `//host0`, for `0` follows the slash, are of that host; its root alone lies before
    /// them, and perhaps other hosts in between.
    fn turn_at_path(&self, tag: &Tag, (on, path): (&str, &str), paths: &Paths, no_other_host: bool) -> Turn {
        let seek = |path: &str| Turn::Seek(format!("//{on}{path}"));
        let past = || if no_other_host { Turn::End } else { seek("0") };
        if path.is_empty() {
            return self.take_or_pass(tag);
        }
        let prefix = self.prefix.as_str();
        if path < prefix {
            return seek(prefix);
        }
        let Some(rest) = path.strip_prefix(prefix) else { return past() };
        match paths {
            Paths::One(_) if rest.is_empty() => Turn::Take,
            Paths::One(_) => past(),
            Paths::Below(top) if !top.is_empty() && !rest.is_empty() && !rest.starts_with('/') => {
                if rest < "/" { seek(&format!("{prefix}/")) } else { past() }
            }
            Paths::Below(_) => Turn::Take,
            Paths::Glob(_) | Paths::Like { .. } => self.take_or_pass(tag),
        }
    }

    fn take_or_pass(&self, tag: &Tag) -> Turn {
        if self.item.covers(tag) { Turn::Take } else { Turn::Pass }
    }

    /// Goes on behind the tag of this name.
    pub(in crate::store) fn leave(&mut self, name: &str) {
        self.at = match self.item {
            Item::Tag(_) => At::End,
            _ if fault::is(Fault::PatternStopsAtFirst) => At::End,
            // The next possible name.
            _ => At::Tag { from: format!("{name}\0"), left: None },
        };
    }
}
