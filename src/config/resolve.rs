//! Raw layers → resolved settings. Pure but for the files that `${file:…}` names.
//!
//! Invariant: every problem of every layer is collected before anything is refused.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::config::address::Listen;
use crate::config::carried;
use crate::config::case;
use crate::config::check;
use crate::config::collection::Admin;
use crate::config::env;
use crate::config::file::{AdminKeys, File, Log};
use crate::config::invalidation;
use crate::config::limits::Limits;
use crate::config::monitor;
use crate::config::problem::{Problem, Report, Source};
use crate::config::reader::Reader;
use crate::config::redis;
use crate::config::route;
use crate::config::scalar::{Size, Upgrades};
use crate::config::shape::{At, Entry, Scalar, Shape, Words};
use crate::config::tree;
use crate::config::warm;
use crate::config::{Config, Env, Flags, Given};
use crate::route::identity;
use crate::server::tls::Tls;
use crate::upstream::Origin;
use crate::{access_log, admin, flow, server, store, upstream};

/// Resolves a file (path and text), the flags and the environment. Without an environment (`None`) placeholders are
/// accepted as they are and an upstream that hangs on one is taken for `http://localhost:80`. `memory` is the
/// default of `limits.memory` in bytes.
pub(crate) fn resolve(
    file: Option<(&Path, &str)>,
    flags: &Flags,
    env: Option<&Env>,
    memory: u64,
) -> Result<Config, Report> {
    let text = file.map_or("", |(_, text)| text);
    let path = file.map(|(path, _)| path.to_owned());
    let mut problems = Vec::new();
    let mut reader = Reader::new(env);
    let from_file = match tree::parse(text) {
        Ok(node) => File::read(&node, &mut reader).unwrap_or_default(),
        Err(refused) => return Err(Report::new(path, text, refused)),
    };
    let Reader { problems: refused, open, failed, .. } = reader;
    problems.extend(refused);
    let from_env = env.map(|env| env::layer(env, &mut problems)).unwrap_or_default();
    let from_flags = flag_layer(flags, &mut problems);
    let mut merged = from_flags.over(from_env).over(from_file).over(built_in(memory));
    if merged.upstream.is_none() && open.iter().any(|key| key == "upstream") {
        merged.upstream = stand_in();
    }
    let outside = [Source::Flag("--upstream"), Source::Env("LARDER_UPSTREAM")];
    let is_refused = failed.iter().any(|key| key == "upstream")
        || problems.iter().any(|problem| outside.contains(&problem.source));
    if merged.upstream.is_none() && !is_refused {
        problems.push(no_upstream(path.as_deref()));
    }
    let config = settle(merged, &mut problems);
    let traces = env.map(|env| env::traces(env, &mut problems)).unwrap_or_default();
    let report = Report::new(path.clone(), text, problems);
    if report.has_errors() {
        Err(report)
    } else {
        Ok(Config { file: path, traces, warnings: report, ..config })
    }
}

/// The layer under all others.
fn built_in(memory: u64) -> File {
    let mut file = File::built_in().unwrap_or_default();
    if let Some(limits) = &mut file.limits {
        limits.value.memory = Some(At { value: Size(memory), source: Source::Default });
    }
    file
}

/// The layer over all others.
fn flag_layer(flags: &Flags, problems: &mut Vec<Problem>) -> File {
    let upstream =
        flags.upstream.iter().map(|url| flag::<Origin>("--upstream", url, problems)).collect::<Vec<_>>();
    let upstream = upstream.into_iter().flatten().map(|at| at.value).collect::<Vec<_>>();
    let admin = flags.admin_listen.as_ref().and_then(|text| flag::<Listen>("--admin-listen", text, problems));
    File {
        upstream: (!upstream.is_empty())
            .then_some(At { value: Words(upstream), source: Source::Flag("--upstream") }),
        listen: flags.listen.as_ref().and_then(|text| flag("--listen", text, problems)),
        admin: admin.map(|listen| {
            listen.wrap(|listen| {
                Admin::On(Box::new(AdminKeys { listen: Some(listen), ..AdminKeys::default() }))
            })
        }),
        ..File::default()
    }
}

fn flag<T: Scalar>(name: &'static str, text: &str, problems: &mut Vec<Problem>) -> Option<At<T>> {
    let source = Source::Flag(name);
    let parsed = T::parse(text).map_err(|refusal| problems.push(refusal.problem(source)));
    parsed.ok().map(|value| At { value, source })
}

fn stand_in() -> Option<At<Words<Origin>>> {
    let origin = Origin::Tcp { tls: false, host: "localhost".to_owned(), port: 80 };
    Some(At { value: Words(vec![origin]), source: Source::Default })
}

fn no_upstream(path: Option<&Path>) -> Problem {
    let message = match path {
        Some(path) => format!("{} names no upstream", path.display()),
        None => {
            "no upstream: there is no configuration file, and neither flag nor variable names one".to_owned()
        }
    };
    Problem::general(message).hint(
        "write `upstream: http://localhost:8000` into larder.yaml, set LARDER_UPSTREAM, or pass --upstream URL",
    )
}

/// The merged file as every room's settings; what does not hold together goes to `problems`.
fn settle(mut merged: File, problems: &mut Vec<Problem>) -> Config {
    check::addresses(&merged, problems);
    let limits = said(merged.limits.clone());
    let identity = identity(&merged);
    let routes = route::settle(&mut merged, &identity, problems);
    let warm = warm::settle(&merged, problems);
    check::limits(&merged, problems);
    check::marks(&merged, problems);
    monitor::complain(&merged, problems);
    check::warming(&merged, &warm, &identity, &routes, problems);
    check::tls(&merged, problems);
    let mut sources = Vec::new();
    merged.show(&[], Source::Default, &mut sources);
    let writes = invalidation::writes(&merged, &routes, problems);
    let invalidate = invalidation::settle(&merged, problems);
    carried::complain(&merged, &routes, !identity.user.is_empty(), problems);
    let tests = case::settle(&said(merged.tests.clone()));
    let monitor = monitor::settle(&merged);
    let tls = merged.tls.and_then(|tls| Some(Tls { cert: tls.value.cert?.value, key: tls.value.key?.value }));
    let with_tls = tls.is_some();
    let (shutdown, invalidation) = (said(merged.shutdown), said(merged.invalidation));
    Config {
        file: None,
        upstream: upstream::Settings {
            origins: said(merged.upstream).0,
            timeout: declared(&limits.upstream_timeout).0,
            concurrency: declared(&limits.upstream_concurrency).size(),
            framing: declared(&merged.origin_framing),
            pool: upstream::Pool::default(),
            roots: Vec::new(),
        },
        server: server::Settings {
            listen: declared(&merged.listen).0,
            connections: declared(&limits.connections).size(),
            tls,
            shutdown_delay: declared(&shutdown.delay),
            shutdown_timeout: declared(&shutdown.timeout),
        },
        flow: flow::Settings {
            enabled: declared(&merged.enabled),
            trusted_proxies: said(merged.trusted_proxies).0,
            upgrades: declared(&merged.upgrades) == Upgrades::Websocket,
            tls: with_tls,
            timeout: declared(&limits.upstream_timeout).0,
            on_server_error: declared(&invalidation.on_server_error),
        },
        hosts: said(merged.hosts).0.into_iter().map(|host| host.0).collect(),
        invalidate,
        fleet: merged.redis.as_ref().and_then(|at| redis::fleet(&at.value)),
        writes,
        store: store::Settings {
            memory: declared(&limits.memory).0,
            entries: limits.entries.as_ref().map(|at| at.value.0),
        },
        tier: merged.redis.as_ref().and_then(|at| crate::config::redis::tier(&at.value)),
        identity,
        unmatched: routes.unmatched,
        routes: routes.matched,
        warm,
        monitor,
        admin: admin_settings(merged.admin.map(|at| at.value)),
        log: logged(&said(merged.log)),
        traces: crate::traces::Settings::default(),
        tests,
        digest: digest(&sources),
        sources,
        warnings: Report::default(),
        given: Given::default(),
    }
}

/// The value of a key that is declared with a default.
pub(crate) fn declared<T: Clone>(at: &Option<At<T>>) -> T {
    at.as_ref().expect("the built-in layer says every key that has a default").value.clone()
}

/// The value of a key that nobody need say.
pub(crate) fn said<T: Default>(at: Option<At<T>>) -> T {
    at.map(|at| at.value).unwrap_or_default()
}

fn identity(merged: &File) -> identity::Settings {
    let keys = said(merged.identity.clone());
    identity::Settings {
        credentials: keys.credentials.map(|at| at.value.0),
        secret: keys.secret.map(|at| at.value.0.into_bytes()),
        user: said(keys.user).0,
    }
}

fn logged(log: &Log) -> access_log::Settings {
    access_log::Settings { access: declared(&log.access), level: declared(&log.level) }
}

fn admin_settings(keys: Option<Admin>) -> admin::Settings {
    let Some(Admin::On(keys)) = keys else {
        return admin::Settings::default();
    };
    admin::Settings {
        cache_path: declared(&keys.cache_path).0,
        listen: keys.listen.map(|at| at.value.0),
        tokens: said(keys.tokens).settings(),
        token: keys.token.map(|at| at.value.0),
        probes: keys.probes.map(|at| at.value.0),
    }
}

/// The first eight bytes of the SHA-256 of every path and value.
pub(crate) fn digest(entries: &[Entry]) -> u64 {
    let mut hash = Sha256::new();
    for entry in entries {
        for part in &entry.path {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let value = entry.value.to_string();
        hash.update((value.len() as u64).to_be_bytes());
        hash.update(value);
    }
    let bytes = hash.finalize();
    bytes.iter().take(8).fold(0, |digest, byte| digest << 8 | u64::from(*byte))
}

/// The limits of a merged file.
pub(crate) fn limits(merged: &File) -> Limits {
    said(merged.limits.clone())
}
