//! Raw routes → the settings of each: what the route says, over its preset, over `defaults`.
//!
//! Invariant: no two routes match the same paths, and what no route matches never shares what was not named public.

use std::time::Duration;

use crate::config::bound;
use crate::config::collection::{RawRoute, RawRule};
use crate::config::file::{Defaults, File, Route, StoreIf};
use crate::config::methods;
use crate::config::problem::{Problem, Source};
use crate::config::resolve::{digest, limits};
use crate::config::scalar::{OriginWord, Overridden, Unmatched};
use crate::config::shadow;
use crate::config::shape::{At, Entry, Scalar, Shape, Words};
use crate::config::template::Template;
use crate::guard::Framing;
use crate::policy::{OriginHeaders, PartLength, Rule, Scope};
use crate::route::{Mode, identity};
use crate::{policy, route};

/// The label of what no route matches; no template, for those begin with a slash.
const UNMATCHED: &str = "unmatched";

/// All routes of a configuration.
pub(crate) struct Settled {
    /// Those with a template, in the order of the file.
    pub(crate) matched: Vec<route::Settings>,
    /// For what none of them matches.
    pub(crate) unmatched: Option<route::Settings>,
}

/// Settles every route, and leaves the merged ones in `merged` to be shown.
pub(crate) fn settle(
    merged: &mut File,
    identity: &identity::Settings,
    problems: &mut Vec<Problem>,
) -> Settled {
    let defaults = merged.defaults.clone().map(|at| at.value).unwrap_or_default();
    let base = base(merged, &defaults);
    if let (true, Some(at)) = (respects(&defaults.origin_headers), &defaults.overridden) {
        let message = "`override` of `defaults` counts only for routes that say `origin_headers: override`";
        let problem = Problem::of(at.source, message).warning();
        problems.push(problem.hint("write `origin_headers: override` beside it if all routes are meant"));
    }
    let mut settled = Settled { matched: Vec::new(), unmatched: None };
    let raw = merged.routes.as_mut().map(|at| std::mem::take(&mut at.value.0)).unwrap_or_default();
    let mut shown: Vec<RawRoute> = Vec::with_capacity(raw.len());
    for mut route in raw {
        if let Some(twin) = shown.iter().find(|other| other.template.is_same_shape(&route.template)) {
            problems.push(twins(&route, twin));
            continue;
        }
        let settings = match &mut route.rule {
            RawRule::Bypass => bypass(&route.template, &base),
            RawRule::Keys(keys) => {
                let preset = keys.preset.as_ref().map(|preset| preset.value.layer()).unwrap_or_default();
                **keys = std::mem::take(&mut **keys).over(preset).over(base.clone());
                complain(keys, &route.template, &base, problems);
                methods::complain(keys, &route.template, problems);
                bound::of_route(keys, &route.template, identity, problems);
                settings(&route.template.text, keys, identity)
            }
        };
        settled.matched.push(settings);
        shown.push(route);
    }
    settled.unmatched = unmatched(&defaults, base, identity);
    if merged.origin_framing.as_ref().is_some_and(|framing| framing.value == Framing::Lenient) {
        for settings in settled.matched.iter_mut().chain(&mut settled.unmatched) {
            settings.rule.part_length = PartLength::AsItCame;
        }
    }
    shadow::complain(&shown, problems);
    if let Some(routes) = &mut merged.routes {
        routes.value.0 = shown;
    }
    settled
}

/// `defaults` as a layer of a route, with what `limits` says of one.
fn base(merged: &File, defaults: &Defaults) -> Route {
    let defaults = defaults.clone();
    Route {
        mode: defaults.mode.or(merged.mode.clone()),
        ttl: defaults.ttl,
        stale_while_revalidate: defaults.stale_while_revalidate,
        stale_if_error: defaults.stale_if_error,
        origin_headers: defaults.origin_headers,
        overridden: defaults.overridden,
        client_no_cache: defaults.client_no_cache,
        scope: defaults.scope,
        ignore_query: defaults.ignore_query,
        negative: defaults.negative,
        set_cookie: defaults.set_cookie,
        store_errors: defaults.store_errors,
        head: defaults.head,
        range: defaults.range,
        languages: defaults.languages,
        strict: defaults.strict,
        entry: limits(merged).entry,
        cache_status: defaults.cache_status,
        x_cache: defaults.x_cache,
        tags: defaults.tags,
        body_tags: defaults.body_tags,
        settle: defaults.settle.or(merged.invalidation.as_ref().and_then(|at| at.value.settle.clone())),
        forward_tags: defaults.forward_tags,
        ..Route::default()
    }
}

fn twins(route: &RawRoute, twin: &RawRoute) -> Problem {
    let (this, that) = (&route.template.text, &twin.template.text);
    let message = format!("`{this}` matches the same paths as `{that}` on line {}", twin.place.line);
    Problem::at(route.place, message).hint("keep one of them: the names of parameters tell no paths apart")
}

/// What does not hold together within one route.
fn complain(keys: &Route, template: &Template, base: &Route, problems: &mut Vec<Problem>) {
    let inherited = |at: &At<_>| base.overridden.as_ref().is_some_and(|default| default.source == at.source);
    if let (true, Some(at)) = (respects(&keys.origin_headers), &keys.overridden)
        && !inherited(at)
    {
        let message =
            format!("`override` of `{}` has no effect: `origin_headers` is `respect`", template.text);
        problems.push(Problem::of(at.source, message).hint("write `origin_headers: override` beside it"));
    }
    if let Some(at) = &keys.store_if {
        for (key, missing) in [("path", at.value.path.is_none()), ("in", at.value.states.is_none())] {
            if missing {
                let message = format!("`store_if` of `{}` has no `{key}`", template.text);
                let hint = "write store_if: { path: $.status, in: [done, failed] }";
                problems.push(Problem::of(at.source, message).hint(hint));
            }
        }
    }
    if let (Some(scope), Some(ttl)) = (&keys.scope, &keys.ttl)
        && scope.value == Scope::Origin
        && !ttl.value.is_zero()
        && !problems.iter().any(|problem| problem.source == scope.source)
    {
        let message =
            "`scope: origin` shares what a `ttl` keeps, whoever's cookie or API key it was fetched with";
        let hint =
            "write `ttl: 0` beside it: only what the origin gives a life is kept then; or `scope: auto`";
        problems.push(Problem::of(scope.source, message).hint(hint).warning());
    }
}

fn respects(word: &Option<At<OriginWord>>) -> bool {
    word.as_ref().is_none_or(|word| word.value == OriginWord::Respect)
}

fn bypass(template: &Template, base: &Route) -> route::Settings {
    let keys =
        Route { cache_status: base.cache_status.clone(), x_cache: base.x_cache.clone(), ..Route::default() };
    let settings = settings(&template.text, &keys, &identity::Settings::default());
    route::Settings { bypass: true, rule: Rule::default(), ..settings }
}

/// A plain shared cache for what no route matches: only the origin's word stores, and nothing is shared across
/// credentials because `defaults` call the routes public. `scope: origin` is about just this, and counts.
fn unmatched(defaults: &Defaults, base: Route, identity: &identity::Settings) -> Option<route::Settings> {
    if defaults.unmatched.as_ref().is_some_and(|word| word.value == Unmatched::Bypass) {
        return None;
    }
    let scope = base.scope.filter(|scope| scope.value != Scope::Public);
    let tags = base.tags.map(|At { value: Words(mut tags), source }| {
        tags.retain(bound::is_for_all);
        At { value: Words(tags), source }
    });
    let keys = Route {
        ttl: None,
        stale_while_revalidate: None,
        stale_if_error: None,
        origin_headers: None,
        overridden: None,
        negative: None,
        scope,
        tags,
        ..base
    };
    let mut settings = settings(UNMATCHED, &keys, identity);
    settings.rule.heuristic = true; // RFC 9111 §4.2.2: nobody else gives it a life
    Some(settings)
}

/// One route's settings out of its merged keys.
fn settings(template: &str, keys: &Route, identity: &identity::Settings) -> route::Settings {
    let key = value(&keys.key).unwrap_or_default();
    route::Settings {
        template: template.to_owned(),
        bypass: false,
        mode: value(&keys.mode).unwrap_or_default(),
        methods: words(&keys.methods).unwrap_or_else(|| route::READING.to_vec()),
        rule: rule(keys),
        key: route::KeySettings {
            query: words(&key.query),
            ignore_query: words(&keys.ignore_query).unwrap_or_default(),
            headers: words(&key.headers).unwrap_or_default(),
            body: value(&key.body).unwrap_or_default(),
            ignore: words(&key.ignore).unwrap_or_default(),
        },
        timeout: value(&keys.timeout).map(|timeout| timeout.0),
        entry: value(&keys.entry).map_or(0, |size| size.0),
        strict: value(&keys.strict).unwrap_or(false),
        cache_status: value(&keys.cache_status).unwrap_or(true),
        x_cache: value(&keys.x_cache).unwrap_or(true),
        tags: words(&keys.tags).unwrap_or_default(),
        body_tags: words(&keys.body_tags).unwrap_or_default(),
        settle: value(&keys.settle).unwrap_or_default(),
        forward_tags: value(&keys.forward_tags).unwrap_or(false),
        digest: rules_digest(template, keys, identity),
    }
}

fn rule(keys: &Route) -> Rule {
    let longer_than_zero = |at: &Option<At<Duration>>| value(at).filter(|duration| !duration.is_zero());
    let stale_while_revalidate = longer_than_zero(&keys.stale_while_revalidate);
    let stale_if_error = longer_than_zero(&keys.stale_if_error);
    let stale = stale_while_revalidate.is_some() || stale_if_error.is_some();
    let plain = Rule::default();
    Rule {
        // a ttl of zero stores nothing by itself, unless what is stale at once may still be served
        ttl: value(&keys.ttl).filter(|ttl| stale || !ttl.is_zero()),
        negative: value(&keys.negative)
            .map(|negative| negative.0.into_iter().map(|(status, ttl)| (status, ttl.value)).collect())
            .unwrap_or_default(),
        stale_while_revalidate,
        stale_if_error,
        origin_headers: match value(&keys.origin_headers) {
            None | Some(OriginWord::Respect) => OriginHeaders::Respect,
            Some(OriginWord::Override) => {
                let named = words(&keys.overridden).unwrap_or_default();
                OriginHeaders::Override {
                    no_store: named.contains(&Overridden::NoStore),
                    private: named.contains(&Overridden::Private),
                }
            }
        },
        client_no_cache: value(&keys.client_no_cache).unwrap_or(plain.client_no_cache),
        scope: value(&keys.scope).unwrap_or(plain.scope),
        set_cookie: value(&keys.set_cookie).unwrap_or(plain.set_cookie),
        heuristic: false,
        store_errors: value(&keys.store_errors).unwrap_or(plain.store_errors),
        store_if: value(&keys.store_if).and_then(store_if),
        head: value(&keys.head).unwrap_or(plain.head),
        range: value(&keys.range).unwrap_or(plain.range),
        part_length: plain.part_length,
        languages: value(&keys.languages).unwrap_or(plain.languages),
    }
}

fn store_if(keys: StoreIf) -> Option<policy::StoreIf> {
    Some(policy::StoreIf { paths: words(&keys.path)?, states: words(&keys.states)? })
}

/// Stands for what decides who may be given an entry, for how long, and what it carries: not for limits, deadlines or headers shown.
fn rules_digest(template: &str, keys: &Route, identity: &identity::Settings) -> u64 {
    let keys = Route {
        preset: None,
        // What was kept in the one mode is never found in the other.
        mode: keys.mode.clone().filter(|mode| mode.value != Mode::Cache),
        timeout: None,
        entry: None,
        cache_status: None,
        x_cache: None,
        settle: None,
        ..keys.clone()
    };
    let credentials =
        identity.credentials.as_ref().map(|listed| listed.iter().map(Scalar::show).collect::<Vec<_>>());
    // Whose an entry is stands in its tags.
    let user = identity.user.iter().map(Scalar::show).collect::<Vec<_>>();
    let of_identity = |name: &str, value| Entry::new(&[name.to_owned()], value, Source::Default);
    let mut entries = vec![of_identity("credentials", credentials.into())];
    entries.extend((!user.is_empty()).then(|| of_identity("user", user.into())));
    keys.show(&[template.to_owned()], Source::Default, &mut entries);
    digest(&entries)
}

fn value<T: Clone>(at: &Option<At<T>>) -> Option<T> {
    at.as_ref().map(|at| at.value.clone())
}

fn words<T: Clone>(at: &Option<At<Words<T>>>) -> Option<Vec<T>> {
    at.as_ref().map(|at| at.value.0.clone())
}
