//! What is refused, and in which words.

use larder::config::{Env, Flags, Severity, load_str};
use larder::warm::schedule::Schedule;
use larder::warm::task::Task;

use crate::{bad, good, with};

/// Every file is refused, with these words somewhere in the report.
fn refuses(cases: &[(&str, &str)]) {
    for (text, words) in cases {
        let report = bad(text);
        assert!(report.contains(words), "{text}\nshould say `{words}`, says\n{report}");
        assert!(report.contains("larder.yaml:"), "no place in\n{report}");
    }
}

#[test]
fn an_unknown_key_is_shown_with_the_nearest_known_one() {
    let report = bad("defaults:\n  stale_while_revalidat: 30s\n");
    for part in [
        "error: unknown key `stale_while_revalidat`",
        "larder.yaml:3:3",
        "3 |   stale_while_revalidat: 30s",
        "^^^^^^^^^^^^^^^^^^^^^",
        "did you mean `stale_while_revalidate`?",
    ] {
        assert!(report.contains(part), "{part} is missing in\n{report}");
    }
    refuses(&[
        ("listn: :80\n", "did you mean `listen`?"),
        ("routes: {/a: {ttll: 1s}}\n", "did you mean `ttl`?"),
        ("routes: {/a: {cache-status: true}}\n", "did you mean `cache_status`?"),
        ("ttl: 1h\n", "`ttl` belongs under `defaults` or a route"),
        ("concurrency: 1\n", "`concurrency` belongs under `warm`"),
        ("entry: 1MiB\n", "belongs under a route"),
        ("shutdown: {wat: 1}\n", "the keys here are: delay, timeout"),
    ]);
}

#[test]
fn a_mode_is_one_of_two() {
    refuses(&[
        ("mode: {a: b}\n", "`mode`"),
        ("mode: off\n", "`cache` or `shadow`"),
        ("routes:\n  /a: {mode: shadwo}\n", "`cache` or `shadow`"),
        ("defaults: {mode: ''}\n", "`cache` or `shadow`"),
    ]);
}

#[test]
fn all_problems_of_a_file_are_told_together_in_its_order() {
    let report = with(
        "listen: nowhere\ndefaults:\n  ttl: abc\n  sope: auto\n  unmatched: never\nroutes:\n  api: 1m\n  /b: {ttl: -1}\n\
         limits: {entry: huge}\nmode: {}\n",
    )
    .unwrap_err();
    let lines: Vec<_> = report.problems.iter().map(|problem| problem.place().unwrap().line).collect();
    assert_eq!(lines, [2, 4, 5, 6, 8, 9, 10, 11], "{report}");
}

#[test]
fn values_of_the_wrong_kind_are_named() {
    refuses(&[
        ("listen: {a: b}\n", "`listen`: wants an address, this is a mapping"),
        ("listen: [a]\n", "wants an address, this is a list"),
        ("listen:\n", "`listen`: has no value"),
        ("defaults: 1h\n", "wants keys of its own"),
        ("routes: [a]\n", "wants keys of its own, this is a list"),
        ("warm: {requests: /a}\n", "`requests`: wants a list, this is text"),
        ("warm: {requests: [/a]}\n", "wants keys of its own, this is text"),
        ("hosts: {a: b}\n", "this is a mapping"),
        ("hosts: []\n", "`hosts`: is empty"),
        ("hosts: \"\"\n", "`hosts`: is empty"),
        ("enabled: yes\n", "write true"),
        ("enabled: 1\n", "write true"),
        ("routes: {/a: never}\n", "`never` is neither a ttl nor `bypass`"),
        ("routes: {/a: 30M}\n", "write 30m"),
        ("limits: {upstream_timeout: 0}\n", "longer than zero"),
        ("limits: {upstream_timeout: 1:30}\n", "write 1m30s, or 1h30m"),
        ("limits: {connections: 0}\n", "above zero"),
        ("limits: {entry: 2Mib2}\n", "is not a size"),
        ("log: {access: everything}\n", "write one of: all, errors, off, 0.01"),
        ("upgrades: h2c\n", "`h2c` is not"),
        ("origin_framing: loose\n", "write one of: strict, lenient"),
        ("invalidation: keep\n", "wants keys of its own, this is text"),
        ("invalidation: {on_server_error: ignore}\n", "write one of: invalidate, keep"),
        ("invalidation: {on_server_eror: keep}\n", "did you mean `on_server_error`?"),
        ("on_server_error: keep\n", "`on_server_error` belongs under `invalidation`"),
        ("routes: {/a: {preset: crud}}\n", "is not a preset"),
        ("routes: {/a: {scope: users}}\n", "did you mean `user`?"),
        ("routes: {/a: {scope: all}}\n", "write one of: auto, public, user, origin"),
        ("routes: {/a: {set_cookie: keep}}\n", "write one of: refuse, strip, store"),
        ("defaults: {store_errors: all}\n", "write one of: listed, fresh"),
        ("defaults: {head: forwards}\n", "did you mean `forward`?"),
        ("defaults: {range: part}\n", "write one of: whole, forward"),
        ("admin: on\n", "wants keys of its own"),
        ("listen: 8080:80\n", "is not an address"),
    ]);
    assert!(load_str("f", "just text", &Flags::default(), &Env::default()).is_err());
    assert!(load_str("f", "- a", &Flags::default(), &Env::default()).is_err());
}

#[test]
fn upstreams_are_places_in_plain_words() {
    for (upstream, words) in [
        ("http://a/api", "carries a path"),
        ("http://a?x=1", "carries a query"),
        ("http://u:p@a", "user or password"),
        ("localhost:8000", "write http://localhost:8000"),
        ("http://a:99999", "no valid port"),
        ("http://a:0", "port 0"),
        ("unix:run/x.sock", "absolute socket path"),
        ("ftp://a", "no scheme of an upstream"),
        ("http://localhost:8080", "is where Larder itself listens"),
        ("http://127.0.0.1:8080", "is where Larder itself listens"),
    ] {
        let report = load_str("f", &format!("upstream: {upstream}\n"), &Flags::default(), &Env::default());
        let report = report.expect_err(upstream).to_string();
        assert!(report.contains(words), "{upstream}: {report}");
        assert!(!report.contains("u:p@"), "{report}");
        assert!(!report.contains("names no upstream"), "one problem, not two: {report}");
    }
}

#[test]
fn routes_are_templates() {
    refuses(&[
        ("routes: {api: 1m}\n", "write /api"),
        ("routes: {GET /api: 1m}\n", "write /api: a route is a path"),
        ("routes: {/a?b: 1m}\n", "holds `?`"),
        ("routes: {\"/a b\": 1m}\n", "holds ` `"),
        ("routes: {\"/{a\": 1m}\n", "the braces do not match"),
        ("routes: {/a%2Fb: 1m}\n", "no cacheable path"),
        ("routes: {/caf%C3%A9: 1m, /café: 2m}\n", "matches the same paths as"),
        ("routes: {\"/{a:regex}\": 1m}\n", "unknown convertor"),
        ("routes: {/a: 1m, /a: 2m}\n", "the key `/a` is here twice"),
        ("routes:\n  /a/{x}: 1m\n  /a/{y}: 2m\n", "`/a/{y}` matches the same paths as `/a/{x}` on line 3"),
        ("routes:\n  /a: 1m\n  /a/: 2m\n", "matches the same paths as `/a`"),
        ("routes:\n  /a/{x:path}: 1m\n  /a/{*y}: bypass\n", "matches the same paths as"),
    ]);
}

#[test]
fn rules_that_do_not_hold_together_are_refused() {
    refuses(&[
        ("routes: {/a: {override: private}}\n", "has no effect"),
        ("routes: {/a: {origin_headers: override, override: everything}}\n", "`everything` is not"),
        ("routes: {/a: {store_if: {path: $.a}}}\n", "has no `in`"),
        ("routes: {/a: {store_if: {in: [a]}}}\n", "has no `path`"),
        ("routes: {/a: {store_if: {path: status, in: [a]}}}\n", "is not a JSONPath"),
        ("routes: {/a: {negative: {200: 1m}}}\n", "200 is what `ttl` speaks of"),
        ("routes: {/a: {negative: {600: 1m}}}\n", "is not a status"),
        ("routes: {/a: {negative: {100: 1m}}}\n", "is not a status"),
        ("routes: {/a: {negative: {404: x}}}\n", "is not a duration"),
        ("routes: {/a: {methods: [GET, PUT]}}\n", "`PUT` is not a method that reads"),
        ("routes: {/a: {methods: post}}\n", "write one of: GET, QUERY, POST"),
        ("routes: {/a: {methods: POST}}\n", "names POST, and `key` has no `body`"),
        ("routes: {/a: {methods: GET POST, key: {query: a}}}\n", "write key: { body: json }"),
        ("routes: {/a: {key: {body: xml}}}\n", "`xml` is not `raw` or `json`"),
        ("routes: {/a: {methods: POST, key: {body: raw, ignore: $.a}}}\n", "`key.body` is not `json`"),
        ("routes: {/a: {key: {ignore: $.a}}}\n", "`key.body` is not `json`"),
        ("routes: {/a: {methods: POST, key: {body: json, ignore: a}}}\n", "is not a JSONPath"),
        ("routes: {/a: {methods: POST, key: {body: json, ignore: $}}}\n", "ignores the whole body"),
        ("defaults: {methods: POST}\n", "`methods` belongs under a route"),
        ("limits: {memory: 1MiB, entry: 2MiB}\n", "is more than `limits.memory`"),
        ("tls: {cert: /c.pem}\n", "`tls` has no `key`"),
        ("tls: {key: /k.pem}\n", "`tls` has no `cert`"),
        ("trusted_proxies: 10.0.0.0/99\n", "is not a network"),
        ("identity: {secret: \"\"}\n", "`secret`: is empty"),
        ("identity: {secret: \"${NO_SECRET:-}\"}\n", "`secret`: is empty"),
        ("identity: {user: sub}\n", "no place of a user's id"),
        ("hosts: http://a.b\n", "is a URL, not a host"),
        ("hosts: \"*.a.b\"\n", "is a pattern"),
    ]);
    for (status, why) in [
        (401, "stored by the origin's own word only"),
        (425, "stored by the origin's own word only"),
        (429, "429 is never stored"),
        (431, "431 is never stored"),
        (500, "500 is no answer for everybody"),
        (503, "503 is no answer for everybody"),
    ] {
        let file = format!("routes: {{/a: {{negative: {{{status}: 1s}}}}}}\n");
        refuses(&[(&file, why)]);
    }
}

#[test]
fn the_admin_door_needs_a_lock_and_a_place_of_its_own() {
    refuses(&[
        ("admin: {listen: \"0.0.0.0:9\"}\n", "is not loopback and has no token"),
        ("admin: {listen: \"0.0.0.0:9\", token: \"${NO_TOKEN:-}\"}\n", "is not loopback and has no token"),
        ("admin: {listen: \"127.0.0.1:8080\"}\n", "are both"),
        ("admin: {probes: \"0.0.0.0:8081\"}\n", "are both"),
        ("admin: {token: \"\"}\n", "`token`: is empty"),
    ]);
    good("admin: {probes: \"0.0.0.0:9\"}\n");
    good("admin: {listen: \"[::1]:9\"}\n");
    good("listen: 127.0.0.1:0\nadmin: {listen: \"127.0.0.1:0\"}\n");
    let env = Env::of([("LARDER_ADMIN_TOKEN", "t")]);
    let file = "upstream: http://a:1\nadmin: {listen: \"0.0.0.0:9\"}\n";
    assert!(load_str("f", file, &Flags::default(), &env).is_ok());
    let off = load_str("f", "upstream: http://a:1\nadmin: off\n", &Flags::default(), &env).unwrap();
    assert!(off.admin.listen.is_none(), "a token turns nothing on");
}

/// What is read of a task that is registered while the process runs.
fn registered(text: &str) -> Result<Task, String> {
    let grammar = good("warm: { timezone: Europe/Berlin }\n").warm.grammar;
    (grammar.read)(text, &grammar.zone)
}

#[test]
fn a_task_that_is_registered_is_read_like_the_files_but_for_what_only_the_file_may_have() {
    let json = r#"{"get": "/a/{id}", "params": {"id": [1, "\u00e4"]}, "priority": -1, "schedule": "0 7 * * *", "headers": {"X-A": "b"}}"#;
    let task = registered(json).unwrap();
    assert_eq!((task.id.as_str(), task.priority, task.params[0].1.join(" ")), ("/a/{id}", -1, "1 ä".into()));
    assert!(matches!(&task.schedule, Schedule::Cron(_, zone) if zone.iana_name() == Some("Europe/Berlin")));
    assert_eq!(task.headers["x-a"], "b");
    for (text, why) in [
        (r#"{"get": "/a", "headers": {"X-A": "${file:/etc/hostname}"}}"#, "placeholders are not filled here"),
        (r#"{"get": "/${HOME}"}"#, "placeholders are not filled here"),
        (r#"{"get": "/a", "id": "learn"}"#, "the id of what is learnt"),
        (r#"{"get": ["/a"]}"#, "this is a list"),
        ("{}", "has no `get`"),
    ] {
        let refusal = registered(text).unwrap_err();
        assert!(refusal.contains(why), "{text}: {refusal}");
    }
}

#[test]
fn a_warm_task_can_be_run() {
    for (task, why) in [
        ("get: /a, every: 30m, schedule: \"0 0 * * *\"", "both say when"),
        ("get: /a, every: 0s", "less than a second"),
        ("get: /a, schedule: \"0 0 30 2 *\"", "never comes round"),
        ("get: /a, schedule: hourly", "no pattern of cron"),
        ("get: /a, for_each: /list, select: $.id", "no placeholder"),
        ("get: \"/a/{id}\", for_each: /list", "`for_each` has no `select`"),
        ("get: /a, select: $.id", "`select` has no `for_each`"),
        ("get: /a, pages: link", "`pages` has no `for_each`"),
        ("get: \"/a/{id}\", for_each: /list, select: \"$[\"", "is not a JSONPath"),
        ("get: \"/a/{id}\", for_each: /list, select: $.id, pages: next", "how a list goes on"),
        ("get: \"/a/{id}\", for_each: /list, select: $.id, limit: 1000000", "more than a run takes"),
        ("get: \"/a/{id}\", params: {id: [1, 2], x: 3}", "no such placeholder"),
        ("get: /a, origins: app.example.com", "is not an origin"),
        ("get: /a, for_users: all", "`active`"),
        ("get: /a, evry: 30m", "did you mean `every`?"),
    ] {
        refuses(&[(&format!("warm: {{requests: [{{{task}}}]}}\n"), why)]);
        let refusal = registered(&format!("{{{task}}}")).unwrap_err();
        assert!(refusal.contains(why), "{refusal}");
    }
    refuses(&[
        ("warm: {timezone: Mars/Olympus}\n", "no time zone"),
        ("warm: {rate: 0}\n", "above zero"),
        ("warm: {requests: [{get: /a, id: x}, {get: /b, id: x}]}\n", "two warm tasks are called `x`"),
    ]);
}

#[test]
fn warming_asks_for_paths_only() {
    refuses(&[
        ("warm: {requests: [{get: http://other/x}]}\n", "is a URL"),
        ("warm: {requests: [{get: //other/x}]}\n", "is a URL"),
        ("warm: {requests: [{get: api/x}]}\n", "write /api/x"),
        ("warm: {requests: [{get: \"/a/{id}\"}]}\n", "is a template"),
        ("warm: {requests: [{get: \"http://other/{id}\", params: {id: 1}}]}\n", "is a URL"),
        ("warm: {requests: [{get: \"/a/{id}\", for_each: http://other/x, select: $.id}]}\n", "is a URL"),
        ("warm: {requests: [{priority: 1}]}\n", "has no `get`"),
        ("warm: {learn: {every: 5m}}\n", "`warm.learn` has no `top`"),
        ("warm: {learn: {top: 1025}}\n", "is at most 1024"),
        ("warm: {learn: {top: 2, every: 0s}}\n", "has to be longer than zero"),
        ("warm: {refresh_ahead: {budget: 5}}\n", "is no budget"),
        ("warm: {headers: {Host: x}}\n", "is set by Larder itself"),
        ("warm: {headers: {\"a b\": x}}\n", "is not a header name"),
        ("warm: {headers: {X-A: \"a\\nb\"}}\n", "control byte"),
    ]);
}

#[test]
fn every_trap_of_yaml_has_its_hint() {
    refuses(&[
        ("x: { a: b:{id} }\n", "quote this: \"b:{id}\""),
        ("admin: { token: ${X:-} }\n", "quote this: \"${X:-}\""),
        (
            "warm:\n  requests:\n    - { get: /a, schedule: */10 7-19 * * * }\n",
            "quote this: \"*/10 7-19 * * *\"",
        ),
        ("events:\n  *.x: user\n", "quote this: \"*.x\""),
        ("routes:\n  /a:\n    tags: [project:{id}, x]\n", "quote this: \"project:{id}\""),
        ("routes:\n  /a:\n    tags: {id}\n", "quote this: \"{id}\""),
        ("routes: { /a/{id}: 1m }\n", "quote this: \"/a/{id}\""),
        ("hosts: @a\n", "quote this: \"@a\""),
        ("hosts: `a`\n", "quote this: \"`a`\""),
        ("hosts: %a\n", "quote this: \"%a\""),
        ("routes:\n\t/a: 1m\n", "indents with spaces"),
        ("defaults:\n  ttl:30m\n", "put a space after the colon: `ttl: 30m`"),
        ("defaults:\n  ttl:30m\n  scope: auto\n", "put a space after the colon: `ttl: 30m`"),
        ("defaults: {ttl:30m}\n", "put a space after the colon: `ttl: 30m`"),
        ("limits: {upstream_timeout: 1:30}\n", "write 1m30s"),
        ("enabled: on\n", "YAML 1.1"),
        ("warm:\n  headers:\n    Cookie: a: b\n", "quote this: \"a: b\""),
        ("listen: !str :80\n", "leave the tag out"),
        ("listen: :80\nlisten: :81\n", "keep one of them"),
        ("---\na: b\n", "second YAML document"),
    ]);
}

#[test]
fn secrets_are_in_no_report() {
    for text in [
        "admin: {token: \"hunter2 hunter2\"}\n",
        "identity:\n  secret: [hunter2]\n",
        "warm:\n  headers:\n    Authorization: \"Bearer hunter2\\u0001\"\n",
        "admin:\n  token: hunter2\n  listen: 0.0.0.0:9000\n  tokens: []\n",
    ] {
        let report = bad(text);
        assert!(!report.contains("hunter2"), "{report}");
        let json = with(text).unwrap_err().json().to_string();
        assert!(!json.contains("hunter2"), "{json}");
    }
}

#[test]
fn a_report_knows_errors_from_warnings() {
    let report = with("warm: {requests: [{get: /a}]}\nlisten: x\n").unwrap_err();
    let count = |severity| report.problems.iter().filter(|problem| problem.severity == severity).count();
    assert_eq!((count(Severity::Error), count(Severity::Warning)), (1, 1));
}

#[test]
fn targets_marks_and_webhooks_that_cannot_be_are_refused() {
    refuses(&[
        ("monitor: {target_hit_ratio: 90}\n", "`90` is more than all"),
        ("monitor: {target_hit_ratio: high}\n", "`high` is not a share"),
        ("monitor: {audit: {share: 101%}}\n", "`101%` is more than all"),
        ("monitor: {target_latency: 0}\n", "has to be longer than zero"),
        ("monitor: {every: 0s}\n", "has to be longer than zero"),
        ("monitor: {alerts: [hit-ratio, mood]}\n", "`mood`"),
        ("monitor: {alerts: none redis}\n", "`monitor.alerts` has `none`, and others"),
        ("monitor: {alerts: []}\n", "is empty"),
        ("monitor: {webhook: hooks.example.com}\n", "is not an http or https URL"),
        ("monitor: {webhook: 'https://me:secret@example.com/'}\n", "has a user in it"),
        ("limits: {low: 0.96}\n", "`limits.low` 96% is not below `limits.high` 95%"),
        ("limits: {high: 0.5}\n", "`limits.low` 90% is not below `limits.high` 50%"),
        ("limits: {high: 1.5}\n", "`1.5` is more than all"),
    ]);
}
