//! The configuration: what flags, environment, file and defaults say, resolved into the settings of every room.
//!
//! ```text
//! file ─ tree ─ reader ─┐
//! environment ──────────┼─ layers of one raw shape (file.rs) ─ merged ─ resolve ─ Config, or a Report
//! flags, defaults ──────┘
//! ```
//! Flag beats environment beats file beats default, key by key, and every value remembers who said it. Invariant: a
//! [`Config`] exists only if nothing at all was wrong. No room imports this one.

mod address;
mod answer;
mod bound;
mod carried;
mod case;
mod check;
mod collection;
mod credential;
pub mod diff;
mod duration;
mod env;
mod event;
mod file;
mod home;
mod interpolate;
mod invalidation;
mod language;
mod learn;
mod limits;
mod methods;
mod monitor;
mod negative;
mod preset;
mod problem;
mod reach;
mod reader;
mod redis;
mod reference;
pub mod reload;
mod request;
mod resolve;
mod route;
mod scalar;
mod schema;
mod secret;
mod servers;
mod shadow;
mod shape;
mod share;
mod show;
mod tag;
mod template;
mod token;
mod trap;
mod tree;
mod warm;
mod warm_text;
mod webhook;
mod write;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{
    access_log, admin, fleet, flow, invalidate, monitor as monitoring, route as routing, server, store, tier,
    upstream,
};

pub use crate::config::answer::Answer;
pub use crate::config::case::{Case, Expected, Fact, Sharing};
pub use crate::config::env::Env;
pub use crate::config::problem::{Place, Problem, Report, Severity, Source};
pub use crate::config::reference::reference;
pub use crate::config::request::Request;
pub use crate::config::schema::schema;
pub use crate::config::shape::Entry;
use crate::config::shape::Scalar;
use crate::config::tree::MAX_BYTES;

/// Exit code of a bad configuration (`EX_CONFIG` of sysexits.h).
pub const EX_CONFIG: u8 = 78;

/// The file that is read where neither flag nor environment names one, if it is there.
const DEFAULT_FILE: &str = "larder.yaml";

/// The flags that speak of configuration, for every command that reads it.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Flags {
    /// Configuration file [default: ./larder.yaml if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Upstream URL; may be given more than once
    #[arg(long, value_name = "URL")]
    pub upstream: Vec<String>,
    /// Where clients connect
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Where the admin listener is
    #[arg(long, value_name = "ADDR")]
    pub admin_listen: Option<String>,
}

/// Everything a process needs to know, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from; `None`: there is none.
    pub file: Option<PathBuf>,
    /// The origin.
    pub upstream: upstream::Settings,
    /// The front door.
    pub server: server::Settings,
    /// How requests are treated, whatever their route.
    pub flow: flow::Settings,
    /// `hosts`: the first is canonical; empty: any.
    pub hosts: Vec<String>,
    /// What is kept.
    pub store: store::Settings,
    /// Where the nodes of a fleet tell one another what they keep; `None`: `redis.url` is empty.
    pub tier: Option<tier::Settings>,
    /// How what is kept is outdated.
    pub invalidate: invalidate::Settings,
    /// The fleet that this node belongs to; `None`: it is alone.
    pub fleet: Option<fleet::Settings>,
    /// What is a credential.
    pub identity: routing::identity::Settings,
    /// The routes, in the order of the file.
    pub routes: Vec<routing::Settings>,
    /// How requests are treated that no route matches; `None`: never stored.
    pub unmatched: Option<routing::Settings>,
    /// `writes:`, in the order of the file.
    pub writes: Vec<routing::write::Rule>,
    /// What is fetched before anybody asks.
    pub warm: crate::warm::Settings,
    /// What is watched, and who is told.
    pub monitor: monitoring::Settings,
    /// The admin listener.
    pub admin: admin::Settings,
    /// What is logged.
    pub log: access_log::Settings,
    /// Where traces are exported to: the standard variables say so, and nothing else does.
    pub traces: crate::traces::Settings,
    /// `tests:`, in the order of the file.
    pub tests: Vec<Case>,
    /// Every value that holds, in the words of the grammar, with who said it; secrets are cut out.
    pub sources: Vec<Entry>,
    /// Stands for all of `sources`: equal configurations have equal digests, across runs and machines.
    pub digest: u64,
    /// What is not wrong, but perhaps not meant.
    pub warnings: Report,
    /// What it was resolved by, beside the text of its file; the next one of this process is resolved by the same.
    pub(crate) given: Given,
}

/// What a configuration is resolved by, beside a text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    flags: Flags,
    env: Env,
}

impl Config {
    /// The resolved configuration as YAML with the source of each value as a comment.
    pub fn yaml(&self) -> String {
        show::yaml(self)
    }

    /// What this process would make of another text; `name` is what reports call it.
    ///
    /// # Errors
    /// As [`load`].
    pub fn next(&self, name: &str, text: &str) -> Result<Self, Report> {
        load_str(name, text, &self.given.flags, &self.given.env)
    }

    /// The same without the environment, for who may not see it: placeholders that cannot be resolved are accepted as they are.
    ///
    /// # Errors
    /// As [`load`].
    pub fn next_without_env(&self, name: &str, text: &str) -> Result<Self, Report> {
        let file = Some((Path::new(name), text));
        resolve::resolve(file, &self.given.flags, None, self.given.env.memory())
    }

    /// The same for programs: a list of `{path, value, source}`.
    pub fn json(&self) -> serde_json::Value {
        show::json(self)
    }
}

/// Finds the file by flag, environment or name, reads it and resolves it.
///
/// # Errors
/// Everything that is wrong, at once; exit with [`EX_CONFIG`].
pub fn load(flags: &Flags, env: &Env) -> Result<Config, Report> {
    let file = find(flags, Some(env))?;
    let file = file.as_ref().map(|(path, text)| (path.as_path(), text.as_str()));
    given(resolve::resolve(file, flags, Some(env), env.memory()), flags, env)
}

fn given(config: Result<Config, Report>, flags: &Flags, env: &Env) -> Result<Config, Report> {
    let given = Given { flags: flags.clone(), env: env.clone() };
    config.map(|config| Config { given, ..config })
}

/// Resolves a text that is no file (the demo's): `name` is what reports call it.
///
/// # Errors
/// As [`load`].
pub fn load_str(name: &str, text: &str, flags: &Flags, env: &Env) -> Result<Config, Report> {
    given(resolve::resolve(Some((Path::new(name), text)), flags, Some(env), env.memory()), flags, env)
}

/// A duration as the file and flags write it: `500ms`, `30s`, `1h30m`, `7d`; a bare number is seconds.
///
/// # Errors
/// What is wrong with it, and what to write.
pub fn duration(text: &str) -> Result<Duration, String> {
    <Duration as Scalar>::parse(text).map_err(|refusal| format!("{}; {}", refusal.message, refusal.hint))
}

/// The shortest text that [`duration`] reads as this, to the millisecond.
pub fn show_duration(duration: Duration) -> String {
    Scalar::show(&duration)
}

/// Checks a file without any environment: placeholders that cannot be resolved are accepted as they are.
///
/// # Errors
/// As [`load`].
pub fn check_without_env(flags: &Flags) -> Result<Config, Report> {
    let file = find(flags, None)?;
    let file = file.as_ref().map(|(path, text)| (path.as_path(), text.as_str()));
    resolve::resolve(file, flags, None, Env::default().memory())
}

/// The text of a file that is named.
///
/// # Errors
/// It cannot be read.
pub(crate) fn text(path: &Path) -> Result<String, Report> {
    let flags = Flags { config: Some(path.to_owned()), ..Flags::default() };
    find(&flags, None).map(|found| found.map(|(_, text)| text).unwrap_or_default())
}

/// The file's path and text, if there is one.
fn find(flags: &Flags, env: Option<&Env>) -> Result<Option<(PathBuf, String)>, Report> {
    let named = flags.config.clone().map(|path| (path, Source::Flag("--config")));
    let named = named.or_else(|| {
        let path = env?.var("LARDER_CONFIG")?;
        Some((PathBuf::from(path), Source::Env("LARDER_CONFIG")))
    });
    let (path, source) = match named {
        Some((path, source)) => (path, Some(source)),
        None => (PathBuf::from(DEFAULT_FILE), None),
    };
    match read(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound && source.is_none() => Ok(None),
        Err(error) => {
            let why = match error.kind() {
                io::ErrorKind::NotFound => "there is no such file".to_owned(),
                _ => error.to_string(),
            };
            let message = format!("the configuration file {} cannot be read: {why}", path.display());
            Err(Report::new(Some(path), "", vec![Problem::of(source.unwrap_or_default(), message)]))
        }
    }
}

/// No more of a file than may be in it.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_BYTES {
        return Err(io::Error::other(format!("it is larger than {} MiB", MAX_BYTES >> 20)));
    }
    String::from_utf8(bytes).map_err(|why| {
        let good = String::from_utf8_lossy(&why.as_bytes()[..why.utf8_error().valid_up_to()]);
        let before = good.rsplit('\n').next().unwrap_or_default();
        let line = good.matches('\n').count() + 1;
        io::Error::other(format!("it is not UTF-8 at line {line}, column {}", before.chars().count() + 1))
    })
}
