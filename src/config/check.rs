//! What no single key can know: addresses that collide, limits that contradict, warming that helps nobody.
//!
//! Invariant: nothing is changed here, only complained of.

use std::net::SocketAddr;

use http::header::AUTHORIZATION;

use crate::config::address::Listen;
use crate::config::collection::{Admin, RawRule};
use crate::config::file::File;
use crate::config::limits::Limits;
use crate::config::problem::{Problem, Source};
use crate::config::route::Settled;
use crate::config::shape::{At, Scalar};
use crate::policy::Scope;
use crate::route::identity::{self, Identity};
use crate::route::path::Path;
use crate::route::table::Table;
use crate::route::{self, Mode};
use crate::upstream::Origin;
use crate::warm;
use crate::warm::task::{Audience, Task};

/// Why one may want that all the same.
const SHADOW_HINT: &str = "what it would be worth is part of what is told; leave it out to spare the origin";

/// Listeners that collide, an admin door without a lock, an upstream that is ourselves.
pub(crate) fn addresses(merged: &File, problems: &mut Vec<Problem>) {
    let mut doors: Vec<(&str, &At<Listen>)> = merged.listen.iter().map(|at| ("listen", at)).collect();
    if let Some(At { value: Admin::On(admin), .. }) = &merged.admin {
        doors.extend(admin.listen.iter().map(|at| ("admin.listen", at)));
        doors.extend(admin.probes.iter().map(|at| ("admin.probes", at)));
        let tokens = admin.tokens.as_ref().map(|at| &at.value);
        if let Some(tokens) = tokens {
            tokens.complain(admin.token.as_ref(), problems);
        }
        let has_token = admin.token.is_some() || tokens.is_some_and(|tokens| !tokens.settings().is_empty());
        if let (Some(listen), false) = (&admin.listen, has_token)
            && !listen.value.0.ip().is_loopback()
        {
            let message = format!("`admin.listen` {} is not loopback and has no token", listen.value.0);
            problems.push(Problem::of(listen.source, message).hint(
                "set `admin.token` (or LARDER_ADMIN_TOKEN), or listen on 127.0.0.1; `admin.probes` needs no token",
            ));
        }
    }
    for (at, (name, door)) in doors.iter().enumerate() {
        if let Some((other, _)) = doors[..at].iter().find(|(_, other)| collide(other.value.0, door.value.0)) {
            let message = format!("`{name}` and `{other}` are both {}", door.value.0);
            problems.push(Problem::of(door.source, message).hint("give each a port of its own"));
        }
    }
    if let (Some(listen), Some(upstream)) = (&merged.listen, &merged.upstream)
        && let Some(origin) = upstream.value.0.iter().find(|origin| is_ourselves(listen.value.0, origin))
    {
        let message = format!("the upstream {} is where Larder itself listens", origin.show());
        let hint = "give `listen` another port, or name the port of the backend";
        problems.push(Problem::of(upstream.source, message).hint(hint));
    }
}

fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_ip = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same_ip
}

fn is_ourselves(listen: SocketAddr, origin: &Origin) -> bool {
    let Origin::Tcp { host, port, .. } = origin else { return false };
    let here = listen.ip().is_loopback() || listen.ip().is_unspecified();
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    *port == listen.port() && here && loopback
}

/// Water marks the wrong way round.
pub(crate) fn marks(merged: &File, problems: &mut Vec<Problem>) {
    let Some(At { value: Limits { high: Some(high), low: Some(low), .. }, .. }) = &merged.limits else {
        return;
    };
    if low.value.0 >= high.value.0 {
        let (low_share, high_share) = (low.value.show(), high.value.show());
        let message = format!("`limits.low` {low_share} is not below `limits.high` {high_share}");
        let source = if low.source == Source::Default { high.source } else { low.source };
        problems
            .push(Problem::of(source, message).hint("room is made from the high mark down to the low one"));
    }
}

/// Bodies that may be stored but would never fit.
pub(crate) fn limits(merged: &File, problems: &mut Vec<Problem>) {
    const HINT: &str = "an entry has to fit into memory";
    let Some(At { value: Limits { entry: Some(entry), memory: Some(memory), .. }, .. }) = &merged.limits
    else {
        return;
    };
    let (size, most) = (entry.value, memory.value);
    if size.0 > most.0 {
        let message = format!("`limits.entry` {} is more than `limits.memory` {}", size.show(), most.show());
        let source = if entry.source == Source::Default { memory.source } else { entry.source };
        problems.push(Problem::of(source, message).hint(HINT));
    }
    for route in merged.routes.iter().flat_map(|routes| &routes.value.0) {
        let RawRule::Keys(keys) = &route.rule else { continue };
        let Some(own) = &keys.entry else { continue };
        if own.value.0 > most.0 && own.source != entry.source {
            let (template, size) = (&route.template.text, own.value.show());
            let message =
                format!("`entry` {size} of `{template}` is more than `limits.memory` {}", most.show());
            problems.push(Problem::at(route.place, message).hint(HINT).warning());
        }
    }
}

/// Half a key pair.
pub(crate) fn tls(merged: &File, problems: &mut Vec<Problem>) {
    let Some(tls) = &merged.tls else { return };
    for (said, missing, name) in
        [(&tls.value.cert, &tls.value.key, "key"), (&tls.value.key, &tls.value.cert, "cert")]
    {
        if let (Some(said), None) = (said, missing) {
            let problem = Problem::of(said.source, format!("`tls` has no `{name}`"));
            problems.push(problem.hint("TLS needs both: tls: { cert: /path/cert.pem, key: /path/key.pem }"));
        }
    }
}

/// Requests whose answers nobody, or only the warmer, is ever given. Nothing of this stops the start.
pub(crate) fn warming(
    merged: &File,
    warm: &warm::Settings,
    identity: &identity::Settings,
    routes: &Settled,
    problems: &mut Vec<Problem>,
) {
    watched_only(merged, routes, problems);
    let Some(requests) = merged.warm.as_ref().and_then(|keys| keys.value.requests.as_ref()) else { return };
    if !warm.tasks.is_empty() && merged.hosts.is_none() {
        let message = "without `hosts`, what is warmed is found by requests to localhost only";
        let problem = Problem::of(requests.source, message).warning();
        problems.push(problem.hint("name the hosts that clients use: hosts: api.example.com"));
    }
    let Ok(table) = Table::build(routes.matched.clone(), routes.unmatched.clone()) else { return };
    let identity = Identity::new(identity, &[]);
    unheard(merged, warm, &identity, problems);
    for request in &requests.value.0 {
        let Some(get) = &request.value.get else { continue };
        let Some(task) = warm.tasks.iter().find(|task| task.get.as_ref() == Some(&get.value.0)) else {
            continue;
        };
        let path = task.text().split('?').next().unwrap_or_default();
        let route = &table.find(Path::of(path).decoded()).settings;
        let warning = helps_nobody(path, task, warm, &identity, route);
        problems.extend(warning.map(|(message, hint)| Problem::of(get.source, message).hint(hint).warning()));
    }
}

/// What fetches for a cache that serves nobody: it loads the origin only to tell what it would be worth.
fn watched_only(merged: &File, routes: &Settled, problems: &mut Vec<Problem>) {
    let Some(warm) = &merged.warm else { return };
    let mut all = routes.matched.iter().chain(&routes.unmatched);
    let Some(route) = all.find(|route| !route.bypass && route.mode == Mode::Shadow) else { return };
    let learn = warm.value.learn.as_ref().map(|at| ("learn", at.source, at.value.top.is_some()));
    let ahead = warm.value.refresh_ahead.as_ref();
    let ahead = ahead.map(|at| ("refresh_ahead", at.source, at.value.budget.is_some()));
    for (key, source, _) in [learn, ahead].into_iter().flatten().filter(|(.., is_on)| *is_on) {
        let message = format!(
            "`warm.{key}` asks the origin for what nobody is served: `{}` is in shadow mode",
            route.template
        );
        problems.push(Problem::of(source, message).hint(SHADOW_HINT).warning());
    }
}

/// A field that names the user, and counts for nothing: what is fetched with it lies under another key than his.
fn unheard(merged: &File, warm: &warm::Settings, identity: &Identity, problems: &mut Vec<Problem>) {
    let Some(name) = &warm.named_in else { return };
    let at = merged.warm.as_ref().and_then(|keys| keys.value.as_user.as_ref());
    let of_service = identity.credential_field(&warm.headers);
    let message = match of_service {
        _ if !identity.is_credential(name) => {
            format!("`{name}` of `warm.as` is no credential: all users' entries would be one")
        }
        Some(field) => format!(
            "`{field}` of `warm.headers` counts as a credential beside `{name}`: users, who do not send it, never find what is warmed"
        ),
        None => return,
    };
    let problem = Problem::of(at.map_or(Source::Default, |at| at.source), message).warning();
    let hint = format!(
        "write identity: {{ credentials: {name} }}, and have the gateway before Larder set that field"
    );
    problems.push(problem.hint(hint));
}

/// Why warming a path is of no use, or of less than it looks; and what to do.
fn helps_nobody(
    path: &str,
    task: &Task,
    warm: &warm::Settings,
    identity: &Identity,
    route: &route::Settings,
) -> Option<(String, &'static str)> {
    let mut headers = warm.headers.clone();
    headers.extend(task.headers.clone());
    let credential = identity.credential_field(&headers);
    let is_for_users = task.audience == Audience::Active;
    match (credential, route.rule.scope) {
        _ if route.bypass => Some((
            format!("warming `{path}` keeps nothing: it is bypassed"),
            "give the path a route with a ttl",
        )),
        _ if route.mode == Mode::Shadow => Some((
            format!("warming `{path}` asks the origin for what nobody is served: it is in shadow mode"),
            SHADOW_HINT,
        )),
        (_, Scope::Public | Scope::Origin) if is_for_users => Some((
            format!("`{path}` is warmed for each user, and its route has one entry for all"),
            "leave `for_users` out, or the `scope` of the route",
        )),
        _ if is_for_users => None,
        (_, Scope::Origin) => headers.contains_key(AUTHORIZATION).then(|| {
            let message =
                format!("warming `{path}` with `authorization` keeps only what the origin opens to others");
            (message, "let it say `public`, `s-maxage` or `must-revalidate`, or warm without the field")
        }),
        (Some(name), Scope::Auto | Scope::User) => Some((
            format!("`{path}` is warmed with `{name}` and is not public: only that credential gets it"),
            "write `scope: public` on its route if all may share the answer",
        )),
        (None, Scope::User) => Some((
            format!("warming `{path}` keeps nothing: `scope: user` needs a credential"),
            "write for_users: active, or take it out of the list",
        )),
        (_, Scope::Public) | (None, Scope::Auto) => None,
    }
}
