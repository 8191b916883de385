//! Where a key belongs that stands in the wrong place.

use crate::config::answer::AnswerKeys;
use crate::config::case::CaseKeys;
use crate::config::file::{AdminKeys, Defaults, File, Identity, Invalidation, Log, Route, Shutdown, Tls};
use crate::config::learn::{AheadKeys, LearnKeys};
use crate::config::limits::Limits;
use crate::config::monitor::{Audit, MonitorKeys};
use crate::config::redis::Redis;
use crate::config::servers::Sentinel;
use crate::config::token::TokenKeys;
use crate::config::warm::{Warm, WarmUsers};
use crate::config::webhook::WebhookKeys;
use crate::config::write::WriteKeys;

/// Where a key that stands in the wrong place belongs.
pub(crate) fn home(key: &str) -> Option<&'static str> {
    let homes: [(&'static str, &[&str]); 23] = [
        ("the top level", File::KEYS),
        ("`defaults` or a route", Defaults::KEYS),
        ("a route", Route::KEYS),
        ("`limits`", Limits::KEYS),
        ("`admin`", AdminKeys::KEYS),
        ("`warm`", Warm::KEYS),
        ("`warm.learn`", LearnKeys::KEYS),
        ("`warm.refresh_ahead`", AheadKeys::KEYS),
        ("`warm.users`", WarmUsers::KEYS),
        ("`monitor`", MonitorKeys::KEYS),
        ("`monitor.audit`", Audit::KEYS),
        ("`identity`", Identity::KEYS),
        ("`log`", Log::KEYS),
        ("`invalidation`", Invalidation::KEYS),
        ("`shutdown`", Shutdown::KEYS),
        ("`tls`", Tls::KEYS),
        ("a rule of `writes`", WriteKeys::KEYS),
        ("`redis`", Redis::KEYS),
        ("`redis.sentinel`", Sentinel::KEYS),
        ("one of `webhooks`", WebhookKeys::KEYS),
        ("one of `admin.tokens`", TokenKeys::KEYS),
        ("one of `tests`", CaseKeys::KEYS),
        ("the `answer` of a test", AnswerKeys::KEYS),
    ];
    homes.into_iter().find(|(_, keys)| keys.contains(&key)).map(|(home, _)| home)
}
