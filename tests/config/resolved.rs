//! What a good file comes to in the settings of the rooms.

use std::time::Duration;

use larder::access_log::Access;
use larder::flow::ServerError;
use larder::guard::Framing;
use larder::policy::{
    ClientNoCache, HeadRule, OriginHeaders, PartLength, RangeRule, Scope, SetCookie, StoreErrors,
};
use larder::route::Settings;
use larder::route::identity::{Credential, UserSource};
use larder::store::room::Marks;
use larder::upstream::Origin;
use larder::warm::paging::Pages;
use larder::warm::schedule::Schedule;
use larder::warm::task::Audience;

use crate::good;

fn route(keys: &str) -> Settings {
    good(&format!("routes:\n  /a:\n    {}\n", keys.replace('\n', "\n    "))).routes.remove(0)
}

fn secs(n: u64) -> Option<Duration> {
    Some(Duration::from_secs(n))
}

#[test]
fn nothing_said_means_the_defaults_of_the_readme() {
    let config = good("");
    assert!(config.flow.enabled);
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.admin.listen.unwrap().to_string(), "127.0.0.1:8081");
    assert_eq!((config.admin.token, config.admin.probes), (None, None));
    assert_eq!(config.server.connections, 10_000);
    assert_eq!(config.upstream.concurrency, 256);
    assert_eq!(config.upstream.timeout, Duration::from_secs(30));
    assert_eq!(config.server.shutdown_delay, Duration::from_secs(5));
    assert_eq!(config.server.shutdown_timeout, Duration::from_secs(20));
    assert_eq!(config.warm.before_ready, Duration::from_secs(10));
    assert_eq!(config.warm.concurrency, 4);
    assert_eq!((config.store.memory, config.store.entries), (512 << 20, None));
    assert_eq!((config.log.access, config.log.level), (Access::All, tracing::Level::INFO));
    assert!(config.flow.upgrades && config.server.tls.is_none() && config.hosts.is_empty());
    assert_eq!(
        (config.upstream.framing, config.flow.on_server_error),
        (Framing::Strict, ServerError::Invalidate)
    );
    let unmatched = config.unmatched.unwrap();
    assert_eq!((unmatched.rule.ttl, unmatched.rule.heuristic, unmatched.entry), (None, true, 2 << 20));
}

#[test]
fn a_route_with_nothing_said_inherits_every_default() {
    for text in ["routes:\n  /a:\n", "routes:\n  /a: {}\n", "routes: {/a: 1h}\n"] {
        let route = good(text).routes.remove(0);
        assert_eq!(route.rule.ttl, secs(3600), "{text}");
        assert_eq!((route.rule.stale_while_revalidate, route.rule.stale_if_error), (None, None));
        assert_eq!(route.rule.origin_headers, OriginHeaders::Respect);
        assert_eq!(route.rule.client_no_cache, ClientNoCache::Ignore);
        assert_eq!((route.rule.scope, route.rule.set_cookie), (Scope::Auto, SetCookie::Refuse));
        assert_eq!((route.rule.store_errors, route.rule.heuristic), (StoreErrors::IfListed, false));
        assert_eq!((route.rule.head, route.rule.range), (HeadRule::Get, RangeRule::Whole));
        assert_eq!(route.rule.part_length, PartLength::Checked);
        assert_eq!((route.entry, route.timeout, route.strict), (2 << 20, None, false));
        assert!(route.cache_status && route.x_cache && !route.bypass);
    }
}

#[test]
fn what_a_route_says_beats_its_preset_and_that_beats_defaults() {
    let text = "defaults: {ttl: 1s, scope: public, stale_if_error: 9s}\nroutes:\n  /a: {preset: dashboard}\n  \
                /b: {preset: dashboard, ttl: 2s}\n  /c: {scope: auto}\n  /d: {preset: export, entry: 1MiB}\n";
    let routes = good(text).routes;
    let rules: Vec<_> =
        routes.iter().map(|route| (route.rule.ttl.unwrap().as_secs(), route.rule.scope)).collect();
    assert_eq!(rules[..3], [(300, Scope::User), (2, Scope::User), (1, Scope::Auto)]);
    assert!(routes.iter().all(|route| route.rule.stale_if_error == secs(9)));
    assert_eq!((routes[3].entry, routes[3].timeout), (1 << 20, secs(600)));
}

#[test]
fn every_key_of_a_route_arrives() {
    let route = route(
        "ttl: 1m\nstale_while_revalidate: 2m\nstale_if_error: 3m\norigin_headers: override\noverride: no-store\n\
         client_no_cache: honor\nscope: user\nkey: {query: [page, q], headers: [X-Tenant-Id]}\nignore_query: utm_* x\n\
         negative: {404: 10s, 301: 1h}\nstore_if: {path: $.status, in: [done, failed]}\nset_cookie: strip\n\
         store_errors: fresh\nhead: forward\nrange: forward\n\
         strict: true\ntimeout: 10m\nentry: 64MiB\ncache_status: false\nx_cache: false",
    );
    let rule = &route.rule;
    assert_eq!(
        (rule.ttl, rule.stale_while_revalidate, rule.stale_if_error),
        (secs(60), secs(120), secs(180))
    );
    assert_eq!(rule.origin_headers, OriginHeaders::Override { no_store: true, private: false });
    assert_eq!((rule.client_no_cache, rule.scope), (ClientNoCache::Honor, Scope::User));
    assert_eq!((rule.set_cookie, rule.store_errors), (SetCookie::Strip, StoreErrors::IfFresh));
    assert_eq!((rule.head, rule.range), (HeadRule::Forward, RangeRule::Forward));
    let negative: Vec<_> =
        rule.negative.iter().map(|(status, ttl)| (status.as_u16(), ttl.as_secs())).collect();
    assert_eq!(negative, [(404, 10), (301, 3600)]);
    let store_if = rule.store_if.as_ref().unwrap();
    assert_eq!(
        (store_if.paths.len(), store_if.states.as_slice()),
        (1, &["done".to_owned(), "failed".to_owned()][..])
    );
    assert_eq!(route.key.query.as_deref(), Some(&["page".to_owned(), "q".to_owned()][..]));
    assert_eq!(route.key.ignore_query, ["utm_*", "x"]);
    assert_eq!(route.key.headers, ["x-tenant-id"]);
    assert_eq!((route.timeout, route.entry), (secs(600), 64 << 20));
    assert!(route.strict && !route.cache_status && !route.x_cache);
}

#[test]
fn job_status_stores_only_what_has_ended() {
    let store_if = route("preset: job-status").rule.store_if.unwrap();
    assert_eq!(store_if.paths.len(), 2);
    assert!(store_if.states.iter().any(|state| state == "revoked"));
    assert!(!store_if.states.iter().any(|state| state == "running" || state == "pending"));
}

#[test]
fn a_ttl_of_zero_leaves_storing_to_the_origin() {
    assert_eq!(route("ttl: 0").rule.ttl, None);
    assert_eq!(route("ttl: 0\nstale_while_revalidate: 30s").rule.ttl, Some(Duration::ZERO));
}

#[test]
fn what_no_route_matches_never_shares_by_a_default_that_spoke_of_routes() {
    let text = "defaults: {scope: public, origin_headers: override, override: private, negative: {404: 1m}, \
                stale_if_error: 1h, ignore_query: utm_*, x_cache: false}\nroutes: {/a: {}}\n";
    let config = good(text);
    assert_eq!(config.routes[0].rule.scope, Scope::Public);
    let unmatched = config.unmatched.unwrap();
    assert_eq!(unmatched.rule.scope, Scope::Auto);
    assert_eq!(unmatched.rule.origin_headers, OriginHeaders::Respect);
    assert!(unmatched.rule.negative.is_empty() && unmatched.rule.stale_if_error.is_none());
    assert_eq!(unmatched.key.ignore_query, ["utm_*"]);
    assert!(!unmatched.x_cache);
    assert!(good("defaults: {unmatched: bypass}\n").unmatched.is_none());
}

#[test]
fn the_letter_of_the_rfc_reaches_what_no_route_matches() {
    let text = "defaults: {scope: origin, client_no_cache: honor, set_cookie: store, store_errors: fresh, \
                head: forward, range: forward}\nroutes: {/a: 1m}\n";
    let config = good(text);
    for settings in [&config.routes[0], &config.unmatched.unwrap()] {
        let rule = &settings.rule;
        assert_eq!((rule.scope, rule.client_no_cache), (Scope::Origin, ClientNoCache::Honor));
        assert_eq!((rule.set_cookie, rule.store_errors), (SetCookie::Store, StoreErrors::IfFresh));
        assert_eq!((rule.head, rule.range), (HeadRule::Forward, RangeRule::Forward));
    }
}

#[test]
fn lenient_framing_reaches_the_wire_and_every_rule() {
    let config = good("origin_framing: lenient\nroutes: {/a: 1m, /b: bypass}\n");
    assert_eq!(config.upstream.framing, Framing::Lenient);
    for settings in config.routes.iter().chain(&config.unmatched) {
        assert_eq!(settings.rule.part_length, PartLength::AsItCame, "{}", settings.template);
    }
}

#[test]
fn what_an_error_after_a_write_means_is_said_once_for_all() {
    for (text, means) in [
        ("", ServerError::Invalidate),
        ("invalidation: {}\n", ServerError::Invalidate),
        ("invalidation: {on_server_error: invalidate}\n", ServerError::Invalidate),
        ("invalidation: {on_server_error: keep}\n", ServerError::Keep),
    ] {
        assert_eq!(good(text).flow.on_server_error, means, "{text}");
    }
}

#[test]
fn scalars_are_read_as_text() {
    let route = route("key: {query: [007, 1.10, yes, 0x1F]}\nstore_if: {path: $.v, in: [1.10, true, 0o7]}");
    assert_eq!(route.key.query.unwrap(), ["007", "1.10", "yes", "0x1F"]);
    assert_eq!(route.rule.store_if.unwrap().states, ["1.10", "true", "0o7"]);
}

#[test]
fn words_stand_in_a_line_or_a_list() {
    for hosts in ["api.example.com ADMIN.example.com", "[api.example.com, admin.example.com]"] {
        assert_eq!(good(&format!("hosts: {hosts}\n")).hosts, ["api.example.com", "admin.example.com"]);
    }
}

#[test]
fn anchors_and_merge_keys_work_and_x_keys_are_ignored() {
    let text = "x-slow: &slow\n  timeout: 10m\n  ttl: 1h\n  anything: 1\nx-y: [1, {a: b}]\n";
    assert!(good(text).routes.is_empty());
    let text =
        "x-slow: &slow\n  timeout: 10m\n  ttl: 1h\nroutes:\n  /a: *slow\n  /b:\n    <<: *slow\n    ttl: 1m\n";
    let routes = good(text).routes;
    assert_eq!((routes[0].timeout, routes[0].rule.ttl), (secs(600), secs(3600)));
    assert_eq!((routes[1].timeout, routes[1].rule.ttl), (secs(600), secs(60)));
}

#[test]
fn convertors_of_starlette_are_plain_parameters() {
    let text =
        "routes: {\"/a/{id:int}\": 1m, \"/b/{id:uuid}\": 1m, \"/c/{p:path}\": 1m, \"/d/{*p}\": bypass}\n";
    let templates: Vec<_> = good(text).routes.into_iter().map(|route| route.template).collect();
    assert_eq!(templates, ["/a/{id}", "/b/{id}", "/c/{p:path}", "/d/{*p}"]);
}

#[test]
fn identity_admin_tls_limits_and_log_arrive() {
    let config = good(
        "identity: {user: \"jwt:sub header:X-User-Id cookie:uid\", credentials: \"Authorization cookie:session\", secret: s}\n\
         admin: {listen: \"0.0.0.0:81\", token: t, probes: \"0.0.0.0:82\"}\n\
         tls: {cert: /c.pem, key: /k.pem}\ntrusted_proxies: 10.0.0.0/8 ::1\nupgrades: off\n\
         limits: {memory: 1GiB, entries: 5, entry: 1MiB, connections: 6, upstream_concurrency: 7, upstream_timeout: 8s}\n\
         log: {access: 0.5, level: debug}\nshutdown: {delay: 0, timeout: 1m}\n",
    );
    assert_eq!(config.identity.user[0], UserSource::Jwt("sub".into()));
    assert_eq!(config.identity.credentials.unwrap()[1], Credential::Cookie("session".into()));
    assert_eq!(config.identity.secret.as_deref(), Some(&b"s"[..]));
    assert_eq!((config.admin.token.as_deref(), config.admin.probes.unwrap().port()), (Some("t"), 82));
    assert_eq!(config.server.tls.unwrap().key, std::path::Path::new("/k.pem"));
    assert_eq!(config.flow.trusted_proxies.len(), 2);
    assert!(!config.flow.upgrades && config.server.shutdown_delay.is_zero());
    assert_eq!((config.store.memory, config.store.entries), (1 << 30, Some(5)));
    assert_eq!((config.server.connections, config.upstream.concurrency), (6, 7));
    assert_eq!((config.log.access, config.log.level), (Access::Sample(0.5), tracing::Level::DEBUG));
    assert!(good("admin: off\n").admin.listen.is_none());
}

#[test]
fn warming_arrives_and_a_header_without_its_token_is_not_sent() {
    let text = "hosts: a.b\nwarm:\n  headers: {Authorization: \"Bearer ${NO_TOKEN:-}\", X-B: \"${NO:-}\", X-A: v}\n  \
                requests: [{get: /a?x=1, priority: -5}, {get: /b}]\n";
    let warm = good(text).warm;
    assert_eq!(warm.headers.len(), 1);
    assert!(warm.headers["x-a"].is_sensitive(), "no debug output shows it");
    let requests: Vec<_> = warm.tasks.iter().map(|task| (task.text(), task.priority)).collect();
    assert_eq!(requests, [("/a?x=1", -5), ("/b", 100)]);
}

#[test]
fn a_warm_task_says_what_for_whom_and_when() {
    let text = "hosts: a.b\nidentity: {user: jwt:sub}\nwarm:\n  timezone: Europe/Berlin\n  rate: 50\n  users: {window: 10m, limit: 7}\n  \
                requests:\n    - {get: /a, schedule: \"*/10 7-19 * * MON-FRI\", headers: {X-A: v}}\n    \
                - {id: items, get: \"/a/{id}\", for_each: /list, select: \"$.items[*].id\", limit: 20, pages: \"query:page\"}\n    \
                - {get: \"/a/{id}?l={l}\", params: {id: [1, 2], l: [de, en]}, origins: none https://app.example.com}\n    \
                - {get: /a, for_users: active, every: 30m}\n";
    let warm = good(text).warm;
    let ids: Vec<_> = warm.tasks.iter().map(|task| task.id.as_str()).collect();
    assert_eq!(ids, ["/a", "items", "/a/{id}?l={l}", "/a#2"]);
    assert!(
        matches!(warm.tasks[0].schedule, Schedule::Cron(..)) && warm.tasks[0].headers.contains_key("x-a")
    );
    let each = warm.tasks[1].each.as_ref().unwrap();
    assert_eq!((each.from.as_str(), each.limit, &each.pages), ("/list", 20, &Pages::Query("page".into())));
    assert_eq!(
        (warm.tasks[2].origins.len(), warm.tasks[2].params[1].1.as_slice()),
        (2, ["de", "en"].map(String::from).as_slice())
    );
    assert_eq!(warm.tasks[3].audience, Audience::Active);
    assert!(matches!(warm.tasks[3].schedule, Schedule::Every(period) if period == Duration::from_secs(1800)));
    let users = warm.users.unwrap();
    assert_eq!((users.window, users.limit, warm.rate), (Duration::from_secs(600), 7, Some(50)));
    assert!(warm.background);
}

#[test]
fn nobody_is_remembered_unless_something_is_fetched_for_users() {
    assert_eq!(good("warm: {requests: [{get: /a}]}\n").warm.users, None);
    assert_eq!(
        good("warm: {background: false, requests: [{get: /a, for_users: active}]}\n").warm.users,
        None
    );
    assert!(good("warm: {requests: [{get: /a, for_users: active}]}\n").warm.users.is_some());
    assert!(good("warm: {users: {limit: 1}}\n").warm.users.is_some(), "somebody may ask for it by hand");
}

#[test]
fn several_upstreams_are_words_or_a_list() {
    for text in ["http://a:1 unix:/s", "[\"http://a:1\", \"unix:/s\"]"] {
        let config = crate::resolve(&format!("upstream: {text}\n"), &larder::config::Env::default()).unwrap();
        assert_eq!(config.upstream.origins[1], Origin::Unix("/s".into()));
    }
}

#[test]
fn a_routes_digest_stands_for_its_rules_and_nothing_else() {
    let digest = |keys: &str| route(keys).digest;
    assert_eq!(digest("ttl: 1m"), digest("ttl: 60s"), "equal however it is written");
    assert_eq!(digest("ttl: 15m"), digest("preset: stats"), "and whoever says it");
    assert_eq!(
        digest("ttl: 1m"),
        digest("ttl: 1m\ntimeout: 9m\nentry: 1MiB\nx_cache: false\ncache_status: false")
    );
    let all = [
        "ttl: 1m",
        "ttl: 2m",
        "scope: user",
        "scope: public",
        "strict: true",
        "ignore_query: a",
        "ignore_query: [a, b]",
        "key: {query: [a]}",
        "key: {headers: [a]}",
        "negative: {404: 1s}",
        "scope: origin",
        "set_cookie: strip",
        "set_cookie: store",
        "store_errors: fresh",
        "head: forward",
        "range: forward",
        "client_no_cache: honor",
    ];
    let mut digests: Vec<_> = all.iter().map(|keys| digest(keys)).collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), all.len());
    let with_credentials =
        good("identity: {credentials: X-Key}\nroutes: {/a: {ttl: 1m}}\n").routes.remove(0).digest;
    assert_ne!(digest("ttl: 1m"), with_credentials, "who is told apart decides who may be given an entry");
    let with_user = good("identity: {user: header:X-U}\nroutes: {/a: {ttl: 1m}}\n").routes.remove(0).digest;
    assert_ne!(digest("ttl: 1m"), with_user, "what an entry is outdated by is not the same");
    assert_eq!(digest("ttl: 1m"), 7_561_869_300_839_750_055, "equal across runs and machines");
}

#[test]
fn the_monitor_has_targets_only_where_they_are_said_and_shows_no_secret() {
    let quiet = crate::with("").unwrap().monitor;
    assert_eq!((quiet.every.as_secs(), quiet.alerts.len(), quiet.webhook), (60, 7, None));
    assert_eq!(
        (quiet.targets.hit_ratio, quiet.targets.latency, quiet.targets.marks),
        (None, None, Marks { high: 0.95, low: 0.9 })
    );
    let config = crate::with(
        "monitor: {every: 10s, target_hit_ratio: 0.9, target_latency: 50ms, alerts: redis latency redis,\n  \
         webhook: 'https://hooks.example.com/secret'}\nlimits: {high: 1, low: 0.5}\n",
    )
    .unwrap();
    assert_eq!(config.monitor.targets.hit_ratio, Some(0.9));
    assert_eq!(config.monitor.targets.latency, Some(std::time::Duration::from_millis(50)));
    assert_eq!(config.monitor.targets.marks, Marks { high: 1.0, low: 0.5 });
    assert_eq!(
        config.monitor.alerts.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(),
        ["latency", "redis"]
    );
    assert!(config.yaml().contains("https://hooks.example.com:443/") && !config.yaml().contains("secret"));
    assert!(good("monitor: {webhook: '${NO_SUCH_URL:-}'}\n").monitor.webhook.is_none());
    assert_eq!(good("monitor: {alerts: none}\n").monitor.alerts, []);
}
