//! What works, but perhaps not as meant.

use larder::fleet::Coherence;

use crate::{good, warnings};

#[test]
fn warming_without_hosts_serves_localhost_only() {
    let warm = "warm: {requests: [{get: /a}]}\n";
    assert!(warnings(warm)[0].contains("`hosts`"));
    assert!(warnings(&format!("hosts: a.b\n{warm}")).is_empty());
    assert!(warnings("warm: {concurrency: 2}\n").is_empty());
}

#[test]
fn warming_with_a_credential_where_the_route_is_not_public() {
    let text = |scope: &str, header: &str| {
        format!(
            "hosts: a.b\nroutes: {{/a: {{scope: {scope}}}}}\nwarm: {{headers: {{{header}: v}}, requests: [{{get: /a}}]}}\n"
        )
    };
    for header in
        ["Authorization", "X-Api-Key", "Cookie", "X-Tenant-Id", "Private-Token", "X-Forwarded-Email"]
    {
        let warned = warnings(&text("auto", header));
        assert!(warned.len() == 1 && warned[0].contains("is not public"), "{header}: {warned:?}");
        assert!(warnings(&text("public", header)).is_empty());
    }
    assert!(warnings(&text("auto", "Accept-Language")).is_empty(), "no credential");
    assert!(
        warnings(&text("auto", "Cookie").replace("Cookie: v", "Cookie: _ga=1")).is_empty(),
        "no credential"
    );
    let listed = format!("identity: {{credentials: X-Only}}\n{}", text("auto", "X-Api-Key"));
    assert!(warnings(&listed).is_empty(), "the configured list replaces the built-in one");
}

#[test]
fn the_route_that_warming_falls_under_is_the_most_literal_one() {
    let text = "hosts: a.b\nroutes: {\"/a/{x}\": {scope: public}, /a/b: {scope: auto}}\n\
                warm: {headers: {Authorization: v}, requests: [{get: /a/b}, {get: /a/c}]}\n";
    let warned = warnings(text);
    assert!(warned.len() == 1 && warned[0].contains("`/a/b`"), "{warned:?}");
}

#[test]
fn warming_what_is_bypassed() {
    let text = "hosts: a.b\ndefaults: {unmatched: bypass}\nroutes: {/a: bypass, /b: 1m}\n\
                warm: {requests: [{get: /a}, {get: /b}, {get: /c}]}\n";
    let warned = warnings(text);
    assert_eq!(warned.len(), 2, "{warned:?}");
    assert!(warned.iter().all(|warning| warning.contains("bypassed")));
}

#[test]
fn an_override_of_defaults_that_no_default_calls_for() {
    let text = |word: &str| {
        format!(
            "defaults: {{override: private{word}}}\nroutes: {{/a: {{origin_headers: override}}, /b: 1m}}\n"
        )
    };
    assert_eq!(warnings(&text("")).len(), 1);
    assert!(warnings(&text(", origin_headers: override")).is_empty());
}

#[test]
fn a_ttl_of_ours_where_all_share_what_a_cookie_fetched() {
    let warned = |text: &str| warnings(&format!("{text}\n"));
    for text in [
        "routes: {/a: {scope: origin}}",
        "routes: {/a: {scope: origin, ttl: 1m}, /b: 1m}",
        "defaults: {scope: origin}\nroutes: {/a: 1m, /b: {preset: stats}}",
    ] {
        let warned = warned(text);
        assert!(warned.len() == 1 && warned[0].contains("`scope: origin`"), "{text}: {warned:?}");
    }
    for text in [
        "defaults: {scope: origin}",
        "defaults: {scope: origin, ttl: 0}\nroutes: {/a: {}, /b: bypass, /c: {ttl: 1m, scope: user}}",
    ] {
        assert!(warned(text).is_empty(), "{text}");
    }
}

#[test]
fn a_body_that_counts_for_no_method() {
    let text = |methods: &str| format!("routes: {{/a: {{{methods} key: {{body: json}}}}}}\n");
    assert!(warnings(&text(""))[0].contains("counts for QUERY only"));
    assert!(warnings(&text("methods: GET,"))[0].contains("has no effect"));
    for methods in ["methods: [GET, POST],", "methods: [GET, QUERY],", "methods: POST,"] {
        assert!(warnings(&text(methods)).is_empty(), "{methods}");
    }
}

#[test]
fn warming_with_authorization_where_the_origin_says_who_shares() {
    let text = |header: &str| {
        format!(
            "hosts: a.b\nroutes: {{/a: {{scope: origin, ttl: 0}}}}\n\
             warm: {{headers: {{{header}: v}}, requests: [{{get: /a}}]}}\n"
        )
    };
    assert!(warnings(&text("Authorization"))[0].contains("opens to others"));
    assert!(warnings(&text("X-Api-Key")).is_empty(), "it sets nobody apart there");
}

#[test]
fn warnings_are_shown_with_their_place() {
    let shown = good("warm:\n  requests: [{get: /a}]\n").warnings.render(false);
    assert!(shown.contains("warning: ") && shown.contains("larder.yaml:3:3"), "{shown}");
}

#[test]
fn what_is_done_without_redis_where_nobody_waits_for_it() {
    let text = |coherence: &str| {
        format!(
            "redis: {{url: \"redis://h\", coherence: {coherence}, when_down: serve, writes_when_down: closed}}\n"
        )
    };
    let warned = warnings(&text("broadcast"));
    assert_eq!(warned.len(), 2, "{warned:?}");
    for key in ["`redis.when_down`", "`redis.writes_when_down`"] {
        assert!(warned.iter().any(|warning| warning.contains(key)), "{warned:?}");
    }
    assert!(warnings(&text("acked")).is_empty());
    assert!(warnings("redis: {url: \"redis://h\", coherence: broadcast}\n").is_empty());
    assert_eq!(good(&text("broadcast")).fleet.map(|fleet| fleet.coherence), Some(Coherence::Broadcast));
    assert_eq!(
        good("redis: {url: \"redis://h\"}\n").fleet.map(|fleet| fleet.coherence),
        Some(Coherence::Acked)
    );
}

#[test]
fn warming_for_users_where_all_share_or_where_they_find_nothing() {
    let task = |scope: &str, more: &str| {
        format!(
            "hosts: a.b\nroutes: {{/a: {{scope: {scope}}}}}\nwarm: {{{more}requests: [{{get: /a, for_users: active}}]}}\n"
        )
    };
    assert!(warnings(&task("public", ""))[0].contains("one entry for all"));
    assert!(warnings(&task("user", "")).is_empty() && warnings(&task("auto", "")).is_empty());
    let named = warnings(&task("user", "as: {header: X-User-Id}, headers: {Authorization: v}, "));
    assert!(named[0].contains("never find what is warmed"), "{named:?}");
    let uncounted = warnings(&task("user", "as: {header: X-Who}, "));
    assert!(uncounted[0].contains("is no credential"), "{uncounted:?}");
    let good = format!(
        "identity: {{credentials: X-User-Id}}\n{}",
        task("user", "as: {header: X-User-Id}, headers: {Authorization: v}, ")
    );
    assert!(warnings(&good).is_empty());
}

#[test]
fn warming_what_is_only_watched_loads_the_origin() {
    let text = |mode: &str| {
        format!(
            "hosts: a.b\nroutes: {{/a: {{ttl: 1h, mode: {mode}}}}}\n\
             warm: {{learn: {{top: 5}}, refresh_ahead: {{budget: 5%}}, requests: [{{get: /a}}]}}\n"
        )
    };
    let warned = warnings(&text("shadow"));
    assert!(warned.len() == 3 && warned.iter().all(|said| said.contains("shadow mode")), "{warned:?}");
    assert!(warnings(&text("cache")).is_empty());
}
