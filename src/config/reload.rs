//! What tells two configurations apart, and what of it only a new process can bring about.
//!
//! Pure. Invariant: a change of a secret is told, the secret is not. It refuses to know how anything is put into effect.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::config::shape::Entry;
use crate::config::show;

/// What is read when the process starts, and not again: listeners, what memory is laid out for, and who the node is to its
/// fleet. A key stands for what is below it, too.
const AT_START: [&str; 20] = [
    "listen",
    "tls",
    "admin.listen",
    "admin.probes",
    "admin.cache_path",
    "limits.memory",
    "limits.entries",
    "limits.high",
    "limits.low",
    "limits.connections",
    "identity.secret",
    "redis",
    "warm.background",
    "warm.concurrency",
    "warm.users",
    "warm.learn",
    "monitor.every",
    "monitor.webhook",
    "monitor.audit",
    "monitor.stale_share",
];

/// One key that holds something else than before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The keys that lead to it, with dots between them: `defaults.ttl`, `routes./api/stats.scope`.
    pub path: String,
    /// What held, as YAML writes it, secrets cut out; `None`: nothing was said.
    pub old: Option<String>,
    /// What holds now; two equal texts are two secrets.
    pub new: Option<String>,
}

/// Every key that `new` gives another value than `old`: those that `new` has in its order, then those that it lacks. Who
/// said a value, and where, makes no difference.
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let before: HashMap<&[String], &Entry> =
        old.sources.iter().map(|entry| (entry.path.as_slice(), entry)).collect();
    let after: HashMap<&[String], &Entry> =
        new.sources.iter().map(|entry| (entry.path.as_slice(), entry)).collect();
    let said = new.sources.iter().filter_map(|entry| {
        let old = before.get(entry.path.as_slice()).copied();
        let is_same = old.is_some_and(|old| (&old.value, old.cut) == (&entry.value, entry.cut));
        (!is_same).then(|| change(&entry.path, old, Some(entry)))
    });
    let gone = old.sources.iter().filter(|entry| !after.contains_key(entry.path.as_slice()));
    said.chain(gone.map(|entry| change(&entry.path, Some(entry), None))).collect()
}

fn change(path: &[String], old: Option<&Entry>, new: Option<&Entry>) -> Change {
    let text = |entry: &Entry| show::value(&entry.value);
    Change { path: path.join("."), old: old.map(text), new: new.map(text) }
}

/// The paths of those changes that a reload cannot bring about: they hold from the next start on.
pub fn needs_restart(changes: &[Change]) -> Vec<&str> {
    let is_at_start = |path: &str| {
        AT_START
            .iter()
            .any(|key| path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    };
    // `admin: off` takes its listener away.
    let turns = |change: &&Change| change.path == "admin" || is_at_start(&change.path);
    changes.iter().filter(turns).map(|change| change.path.as_str()).collect()
}

/// What stands for texts that are cut out of what is shown; `None` if none is.
pub(crate) fn cut<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = Option<T>>) -> Option<u64> {
    let mut hash = Sha256::new();
    let mut is_any = false;
    for text in texts {
        is_any |= text.is_some();
        let text = text.as_ref().map_or(&[][..], AsRef::as_ref);
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    let bytes = hash.finalize();
    is_any.then(|| bytes.iter().take(8).fold(0, |digest, byte| digest << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Env, Flags, load_str};

    fn config(text: &str) -> Config {
        let text = format!("upstream: http://localhost:9\n{text}");
        load_str("test.yaml", &text, &Flags::default(), &Env::default()).unwrap()
    }

    fn between(old: &str, new: &str) -> Vec<(String, Option<String>, Option<String>)> {
        let changes = changes(&config(old), &config(new));
        changes.into_iter().map(|Change { path, old, new }| (path, old, new)).collect()
    }

    fn restarts(old: &str, new: &str) -> Vec<String> {
        needs_restart(&changes(&config(old), &config(new))).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn a_value_that_moved_or_is_written_otherwise_is_no_change() {
        assert_eq!(between("routes: { /a: 60s, /b: 2m }", "# new\nroutes:\n  /a: 1m\n  /b: 120"), []);
        assert_eq!(between("defaults: { ttl: 1h }", ""), [], "what is the default need not be said");
    }

    #[test]
    fn a_change_is_told_with_what_held_and_what_holds() {
        let text = |text: &str| Some(text.to_owned());
        let found = between("enabled: true\nevents: { e: a }\n", "enabled: false\nevents: { f: 'b c' }\n");
        assert_eq!(
            found,
            [
                ("enabled".to_owned(), text("true"), text("false")),
                ("events.f".to_owned(), None, text("[b, c]")),
                ("events.e".to_owned(), text("[a]"), None),
            ]
        );
    }

    #[test]
    fn a_secret_that_changes_is_told_without_being_shown() {
        for (old, new) in [
            ("admin: { token: hunter1 }", "admin: { token: hunter2 }"),
            (
                "admin: { tokens: { ci: { token: hunter1 } } }",
                "admin: { tokens: { ci: { token: hunter2 } } }",
            ),
            ("identity: { secret: hunter1 }", "identity: { secret: hunter2 }"),
            ("redis: { url: 'redis://:hunter1@h' }", "redis: { url: 'redis://:hunter2@h' }"),
            ("redis: { url: ['redis://:hunter1@h'] }", "redis: { url: ['redis://:hunter2@h'] }"),
            (
                "webhooks: { /h: { secrets: [hunter1hunter1] } }",
                "webhooks: { /h: { secrets: [hunter2hunter2] } }",
            ),
            ("monitor: { webhook: 'https://h/hunter1' }", "monitor: { webhook: 'https://h/hunter2' }"),
            ("warm: { headers: { X-Key: hunter1 } }", "warm: { headers: { X-Key: hunter2 } }"),
            (
                "warm: { requests: [{ get: /a, headers: { X-Key: hunter1 } }] }",
                "warm: { requests: [{ get: /a, headers: { X-Key: hunter2 } }] }",
            ),
        ] {
            let found = between(old, new);
            assert_eq!(found.len(), 1, "{new}: {found:?}");
            let (_, was, is) = &found[0];
            assert_eq!(was, is, "{new}");
            assert!(is.as_ref().is_some_and(|is| is.contains("<redacted>")), "{new}: {is:?}");
            assert!(!format!("{found:?}").contains("hunter"), "{found:?}");
            assert_eq!(between(new, new), [], "{new}");
        }
    }

    #[test]
    fn listeners_memory_and_the_fleet_need_a_restart_and_rules_do_not() {
        let old = "listen: 127.0.0.1:1\nroutes: { /redis: 1m, /listen: 1m }\n";
        let new = "listen: 127.0.0.1:2\nroutes: { /redis: 2m, /listen: 3m }\nupgrades: off\n\
                   admin: { listen: 127.0.0.1:3, probes: 127.0.0.1:4, token: x }\n\
                   limits: { memory: 9MiB, entries: 7, connections: 5, entry: 1MiB }\n\
                   redis: { url: 'redis://h', lease: 2s }\n";
        let expected = [
            "listen",
            "admin.listen",
            "admin.probes",
            "limits.memory",
            "limits.entries",
            "limits.connections",
            "redis.url",
            "redis.lease",
        ];
        let mut found = restarts(old, new);
        found.retain(|path| !path.starts_with("redis.") || expected.contains(&path.as_str()));
        assert_eq!(found, expected);
        assert_eq!(restarts("", "admin: off\n"), ["admin", "admin.listen", "admin.cache_path"]);
        assert!(
            restarts(new, &new.replace("/redis: 2m", "/redis: 4m").replace("token: x", "token: y"))
                .is_empty()
        );
    }
}
