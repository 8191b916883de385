//! One invalidation as its source says it: what is outdated, how, and who says so. Pure.

use serde::{Deserialize, Serialize};

use crate::fault::{self, Fault};
use crate::invalidate::raw::Raw;
use crate::invalidate::record::Cause;
use crate::route::derive::{Dependencies, Followed};
use crate::route::reach::{Item, Reach};
use crate::store::author::Author;
use crate::store::position::{Hold, Mode};

/// What is to be outdated, whoever says so.
#[derive(Clone, Debug, Default)]
pub struct Invalidation {
    /// What.
    pub reach: Reach,
    /// What besides, from which nothing is derived.
    pub alone: Reach,
    /// Removed, or made stale.
    pub mode: Mode,
    /// For how long it is not stored again.
    pub hold: Hold,
    /// Whether what is derived from all of it (`dependencies`) is left alone.
    pub without_derived: bool,
    /// Where it comes from.
    pub source: Source,
    /// Who said so, in the words of the audit list: a token's name, a webhook's path, a channel, a write's rule.
    pub actor: String,
    /// The name that its sender gave it, by which it is known again.
    pub id: Option<String>,
    /// Who wrote; under a soft invalidation he is never served what is older.
    pub author: Option<Author>,
    /// What happened, for nodes whose rules make something else of it.
    pub raw: Option<Raw>,
}

/// Where an invalidation comes from; the `source` label of metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Source {
    /// A write through the proxy.
    #[default]
    Write,
    /// What an origin said: a 401 about credentials, another body when an audit asked again.
    Origin,
    /// A webhook.
    Webhook,
    /// A message on a Redis channel.
    Redis,
    /// A lost subscription (`redis.on_gap`).
    Gap,
    /// The admin API, the command line, or `PURGE`.
    Admin,
    /// Another configuration, for what has other rules by it.
    Reload,
}

impl Source {
    /// All that there are.
    pub const ALL: [Self; 6] =
        [Self::Write, Self::Origin, Self::Webhook, Self::Redis, Self::Gap, Self::Admin];

    /// The word for metrics, logs and the audit list.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Origin => "origin",
            Self::Webhook => "webhook",
            Self::Redis => "redis",
            Self::Gap => "gap",
            Self::Admin => "admin",
            Self::Reload => "reload",
        }
    }

    /// Whether nothing here waits for it but whoever said so.
    pub(in crate::invalidate) fn may_wait(self) -> bool {
        match self {
            Self::Webhook | Self::Redis | Self::Admin => true,
            Self::Write | Self::Origin | Self::Gap | Self::Reload => false,
        }
    }
}

impl Invalidation {
    /// With all that is derived from it behind what was asked for.
    pub(in crate::invalidate) fn followed(mut self, dependencies: &Dependencies) -> Cause {
        let from = self.reach.items.len();
        let stands_alone = self.without_derived || fault::is(Fault::DerivedForgotten);
        let followed = if stands_alone { Followed::All } else { dependencies.extend(&mut self.reach) };
        let derived = self.reach.items.split_off(from);
        std::mem::take(&mut self.alone).items.into_iter().for_each(|item| self.reach.add(item));
        let asked = self.reach.items.len();
        let beside = self.reach.items[from..].to_vec();
        self.reach.items.extend(derived.into_iter().filter(|item| !beside.contains(item)));
        Cause { invalidation: self, asked, followed }
    }
}

/// Whether nothing is left after it.
pub(in crate::invalidate) fn is_whole_store(item: &Item) -> bool {
    matches!(item, Item::All | Item::Paths { .. }) && is_everything(item)
}

/// Whether it reaches names that nobody ever heard of.
pub(in crate::invalidate) fn is_everything(item: &Item) -> bool {
    let unheard_of = "/\u{2}/\u{2}";
    match item {
        Item::All => true,
        Item::Tag(_) => false,
        Item::Tags(gaps) => gaps.matches(unheard_of),
        Item::Paths { host, paths } => host.is_none() && paths.contain(unheard_of),
    }
}
