//! What the machine brings to a configuration: variables, files named by `${file:…}`, the memory limit.
//!
//! Also the layer of settings that variables make with no file at all. Invariant: an empty variable is an unset one.
//! It refuses to know the file.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use crate::config::address::Listen;
use crate::config::collection::Admin;
use crate::config::file::{Defaults, File};
use crate::config::limits::Limits;
use crate::config::monitor::MonitorKeys;
use crate::config::problem::{Problem, Source};
use crate::config::redis::{Redis, RedisUrl};
use crate::config::scalar::Count;
use crate::config::servers::Servers;
use crate::config::shape::{At, Scalar, Words};
use crate::config::warm::Warm;
use crate::process;
use crate::traces::{self, Wrong};

/// Largest file that `${file:…}` reads, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// The surroundings of one configuration.
#[derive(Clone, Default)]
pub struct Env {
    vars: BTreeMap<String, String>,
    memory_limit: Option<u64>,
}

/// Its variables may hold anything.
impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("vars", &self.vars.len()).finish_non_exhaustive()
    }
}

impl Env {
    /// The machine's: every variable that is UTF-8, and the memory limit of the cgroup.
    pub fn system() -> Self {
        let vars = std::env::vars_os()
            .filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
        Self { vars: vars.collect(), memory_limit: process::limit() }
    }

    /// The given variables and nothing else.
    pub fn of<'a>(vars: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let vars = vars.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { vars: vars.collect(), memory_limit: None }
    }

    /// The same where the process may use at most so many bytes of memory.
    #[must_use]
    pub fn with_memory_limit(self, bytes: u64) -> Self {
        Self { memory_limit: Some(bytes), ..self }
    }

    /// A variable, unless it is unset or empty.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether the variable is set, be it to nothing.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.vars.contains_key(name)
    }

    /// `limits.memory` where nobody says it: the lesser of 512 MiB and half the cgroup's limit.
    pub(crate) fn memory(&self) -> u64 {
        const MOST: u64 = 512 << 20;
        self.memory_limit.map_or(MOST, |limit| (limit / 2).min(MOST))
    }

    /// The text of a small file, without its last newline.
    ///
    /// # Errors
    /// Not found, not UTF-8, larger than 64 KiB.
    pub(crate) fn read(&self, path: &Path) -> io::Result<String> {
        let mut text = String::new();
        // A pipe would be waited for.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let read = std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
        if read as u64 > MAX_FILE {
            return Err(io::Error::other("larger than 64 KiB"));
        }
        text.truncate(text.trim_end_matches(['\n', '\r']).len());
        Ok(text)
    }
}

/// The layer of settings that the variables make.
pub(crate) fn layer(env: &Env, problems: &mut Vec<Problem>) -> File {
    let mut vars = Vars { env, problems };
    let ttl = vars.either("CACHE_TTL", "CACHE_DEFAULT_TTL");
    let entries = vars.scalar::<Count>("CACHE_MAX_ENTRIES");
    let background = vars.either::<bool>("ENABLE_BACKGROUND_WARMING", "PERF_CACHE_WARMING");
    let target = vars.scalar::<Count>("PERF_RESPONSE_TIME_TARGET");
    let redis = vars.words::<RedisUrl>("REDIS_URL");
    let mut file = File {
        upstream: vars.words("LARDER_UPSTREAM"),
        listen: vars.scalar::<Listen>("LARDER_LISTEN"),
        enabled: vars.scalar("CACHE_ENABLED"),
        ..File::default()
    };
    file.defaults = ttl.map(|ttl| ttl.wrap(|ttl| Defaults { ttl: Some(ttl), ..Defaults::default() }));
    file.warm = background.map(|at| at.wrap(|on| Warm { background: Some(on), ..Warm::default() }));
    file.limits = entries.map(|n| n.wrap(|entries| Limits { entries: Some(entries), ..Limits::default() }));
    file.monitor = target.map(|At { value, source }| MonitorKeys::of_target(At { value: value.0, source }));
    file.redis = redis.map(|At { value, source }| {
        let url = At { value: Servers::of(value), source };
        url.wrap(|url| Redis { url: Some(url), ..Redis::default() })
    });
    file.admin = vars.scalar("LARDER_ADMIN_TOKEN").map(|token| token.wrap(Admin::with_token));
    file
}

/// What the standard variables of OpenTelemetry say.
pub(crate) fn traces(env: &Env, problems: &mut Vec<Problem>) -> traces::Settings {
    traces::Settings::by(|name| env.var(name)).unwrap_or_else(|wrong| {
        problems
            .extend(wrong.into_iter().map(|Wrong { variable, why }| Problem::of(Source::Env(variable), why)));
        traces::Settings::default()
    })
}

struct Vars<'a> {
    env: &'a Env,
    problems: &'a mut Vec<Problem>,
}

impl Vars<'_> {
    fn scalar<T: Scalar>(&mut self, name: &'static str) -> Option<At<T>> {
        let text = self.env.var(name)?.trim();
        self.read(name, text)
    }

    fn words<T: Scalar>(&mut self, name: &'static str) -> Option<At<Words<T>>> {
        let words =
            self.env.var(name)?.split_whitespace().map(|word| self.read(name, word)).collect::<Vec<_>>();
        let words = words.into_iter().map(|word| Some(word?.value)).collect::<Option<Vec<T>>>()?;
        Some(At { value: Words(words), source: Source::Env(name) })
    }

    /// Two names for one thing; both set to different values is an error that names both.
    fn either<T: Scalar + PartialEq>(&mut self, name: &'static str, other: &'static str) -> Option<At<T>> {
        let (one, two) = (self.scalar::<T>(name), self.scalar::<T>(other));
        if let (Some(one), Some(two)) = (&one, &two)
            && one.value != two.value
        {
            let (a, b) = (one.value.show(), two.value.show());
            let message = format!("{name} says {a} and {other} says {b}: they mean the same setting");
            self.problems.push(Problem::of(Source::Env(name), message).hint("unset one of them"));
        }
        one.or(two)
    }

    fn read<T: Scalar>(&mut self, name: &'static str, text: &str) -> Option<At<T>> {
        match T::parse_outside(text) {
            Ok(value) => Some(At { value, source: Source::Env(name) }),
            Err(refusal) => {
                self.problems.push(refusal.problem(Source::Env(name)));
                None
            }
        }
    }
}
