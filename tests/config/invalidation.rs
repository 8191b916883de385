//! What outdates what, as the file says it: what it comes to, and what of it is refused.

use std::time::Duration;

use http::{Method, StatusCode};
use larder::admin::Role;
use larder::config::{Env, Severity};
use larder::invalidate::subscription::OnGap;
use larder::invalidate::webhook::Scheme;
use larder::redis::Address;
use larder::redis::place::Where;
use larder::route::reach::Reach;
use larder::route::tag::Tag;
use larder::route::write::{Methods, Rule};

use crate::{bad, good, resolve, with};

/// Every file is refused, with these words somewhere in the report, and at this place.
fn refuses(cases: &[(&str, &str, &str)]) {
    for (text, words, place) in cases {
        let report = bad(text);
        assert!(report.contains(words), "{text}\nshould say `{words}`, says\n{report}");
        assert!(
            report.contains(&format!("larder.yaml:{place}\n")),
            "{text}\nshould be at {place}:\n{report}"
        );
        assert!(report.contains("help: "), "no hint in\n{report}");
    }
}

/// Warnings with the line and column of each.
fn warned(text: &str) -> Vec<(String, u32, u32)> {
    let problems = good(text).warnings.problems;
    let told = problems.into_iter().map(|problem| {
        let place = problem.place().expect("a warning has its place");
        (problem.message, place.line, place.column)
    });
    told.collect()
}

fn rule(text: &str) -> Rule {
    good(&format!("writes:\n  {text}\n")).writes.remove(0)
}

fn words(rule: &Rule) -> Vec<String> {
    rule.invalidate.iter().map(ToString::to_string).collect()
}

#[test]
fn a_write_rule_is_methods_a_template_and_what_it_outdates() {
    let all = "PUT|PATCH /api/projects/{id:int}: { invalidate: [\"project:{id}\", /api/stats, credential], cascade: false,\n    \
               soft: true, refresh: true, when: { status: 200 201, path: $.state, in: [done] } }";
    let all = rule(all);
    assert_eq!(all.name, "PUT|PATCH /api/projects/{id:int}");
    assert_eq!(all.methods, Methods::Of(vec![Method::PUT, Method::PATCH]));
    assert_eq!(all.template.names().collect::<Vec<_>>(), ["id"]);
    assert_eq!(words(&all), ["project:{id}", "/api/stats"]);
    assert!(all.credential && !all.cascade && all.soft && all.refresh);
    let when = all.when.unwrap();
    assert_eq!(when.status, [StatusCode::OK, StatusCode::CREATED]);
    assert_eq!(
        (when.path.unwrap().to_string().as_str(), when.states.as_slice()),
        ("$.state", &["done".to_owned()][..])
    );
}

#[test]
fn words_alone_are_what_a_rule_outdates() {
    for text in [
        "POST /x: projects /api/stats",
        "POST /x: [projects, /api/stats]",
        "POST /x: { invalidate: projects /api/stats }",
    ] {
        let rule = rule(text);
        assert_eq!(words(&rule), ["projects", "/api/stats"], "{text}");
        assert!(rule.cascade && !rule.soft && !rule.refresh && !rule.credential && rule.when.is_none());
    }
    assert_eq!(rule("ANY /x: a").methods, Methods::Any);
    assert_eq!(rule("MKCOL /x: a").methods, Methods::Of(vec![Method::from_bytes(b"MKCOL").unwrap()]));
    assert!(rule("POST /x: { refresh: true }").invalidate.is_empty(), "the target is outdated anyhow");
}

#[test]
fn a_rule_may_name_whatever_a_write_has() {
    let text = "PUT /a/{id}/{rest:path}: \"a:{id} b:{rest} c:{query.x} d:{user} e:{status} f:{header.x-a} g:{body.a.b} \
                h:{request.body.a} i:{response.body.items.0.id} /api/{body.project_id}/x /api/{anything}\"";
    assert_eq!(rule(text).invalidate.len(), 11);
}

#[test]
fn a_rule_that_no_write_falls_under_is_refused() {
    let at = |rule: &str| format!("writes:\n  {rule}\n");
    for (rule, words) in [
        ("GET /a: x", "a read outdates nothing, and GET is one"),
        ("PUT|HEAD /a: x", "a read outdates nothing, and HEAD is one"),
        ("QUERY /a: x", "a read outdates nothing, and QUERY is one"),
        ("OPTIONS /a: x", "a read outdates nothing"),
        ("CONNECT /a: x", "is a tunnel"),
        ("PURGE /a: x", "is answered by Larder itself"),
        ("PSOT /a: x", "did you mean POST?"),
        ("put /a: x", "did you mean PUT?"),
        ("PUT|PUT /a: x", "names PUT twice"),
        ("PUT|ANY /a: x", "stands for every method"),
        ("/a: x", "write e.g. ANY /a"),
        ("PUT: x", "names no path"),
        ("PUT a: x", "write /a"),
        ("PUT https://h/a: x", "the host does not choose the rule"),
        ("PUT /a?x=1: x", "holds `?`"),
        ("PUT /a/../b: x", "no cacheable path"),
        ("PUT /a%2Fb: x", "no cacheable path"),
        ("PUT /{body.id}: x", "a path has no `{body.id}`"),
    ] {
        refuses(&[(&at(rule), words, "3:3")]);
    }
    refuses(&[
        ("writes:\n  PUT /a: { invalidate: x, when: { status: 404 } }\n", "no rule applies at 404", "3:44"),
        (
            "writes:\n  PUT /a: { invalidate: x, when: { status: [201, 500] } }\n",
            "no rule applies at 500",
            "3:50",
        ),
        (
            "routes: { /a: { methods: [GET, POST], key: { body: json } } }\nwrites:\n  POST /a/: x\n",
            "on the route `/a` a POST reads",
            "4:3",
        ),
        (
            "webhooks: { /h: { secrets: s } }\nwrites:\n  POST /h: x\n",
            "what comes to that path is a webhook",
            "4:3",
        ),
    ]);
    good("routes: { /a: { methods: [GET, POST], key: { body: json } } }\nwrites:\n  POST|PUT /a: x\n");
}

#[test]
fn a_rule_that_says_too_little_or_the_same_again_is_refused() {
    refuses(&[
        ("writes:\n  PUT /a:\n", "names nothing to invalidate", "3:3"),
        ("writes:\n  PUT /a: { cascade: false }\n", "names nothing to invalidate", "3:11"),
        ("writes:\n  PUT /a: \"\"\n", "is empty", "3:11"),
        ("writes:\n  PUT /a: { invalidate: x, refres: true }\n", "did you mean `refresh`?", "3:28"),
        ("writes:\n  PUT /a: { invalidate: x, when: { path: $.a } }\n", "has a `path` and no `in`", "3:28"),
        ("writes:\n  PUT /a: { invalidate: x, when: { in: [a] } }\n", "has an `in` and no `path`", "3:28"),
        ("writes:\n  PUT /a: projects, x\n", "write `projects`", "3:11"),
        ("writes:\n  PUT /a: \"a /b?c=1\"\n", "it stands for every query", "3:14"),
        ("writes:\n  PUT /a:\n    - a\n    - b:{id\n", "the braces do not match", "5:7"),
        (
            "writes:\n  PUT|PATCH /a/{x}: b\n  PATCH|PUT /a/{y}: c\n",
            "is about the same writes as `PUT|PATCH /a/{x}` on line 3",
            "4:3",
        ),
    ]);
    let two = "writes:\n  PUT /a/{x}: { invalidate: b, when: { status: 200 } }\n  PUT /a/{y}: { invalidate: c, when: { status: 201 } }\n";
    assert_eq!(good(two).writes.len(), 2, "they ask for different answers");
    good("writes:\n  PUT /a: b\n  ANY /a: c\n  PUT|PATCH /a: d\n");
}

#[test]
fn a_placeholder_that_no_write_has_is_refused_at_its_word() {
    let text = |word: &str| format!("writes:\n  PUT /a/{{id}}: a {word}\n");
    for (word, words) in [
        ("p:{di}", "did you mean {id}?"),
        ("p:{statsu}", "did you mean {status}?"),
        ("p:{project}", "a write has {id}, {query.x}"),
        ("p:{boddy.x}", "did you mean {body.x}?"),
        ("p:{response.id}", "did you mean {response.body.id}?"),
        ("p:{cookie.x}", "is nothing that a write has"),
        ("p:{body.}", "is nothing that a write has"),
        ("/a/{cookie.x}", "is nothing that a write has"),
    ] {
        refuses(&[(&text(word), words, "3:18")]);
    }
    let slip = warned("routes: { \"/b/{x}\": 1m }\nwrites:\n  PUT /a/{id}: /b/{idd}\n");
    assert_eq!(slip, [("`{idd}` in `/b/{idd}` of `PUT /a/{id}` stands for any segment".to_owned(), 4, 16)]);
    assert!(warned("routes: { \"/b/{x}\": 1m }\nwrites:\n  PUT /a/{id}: /b/{any}\n").is_empty());
}

#[test]
fn what_is_derived_follows_and_never_goes_round() {
    let config = good("dependencies:\n  project:{id}: projects /api/stats\n  projects: [search]\n");
    let mut reach = Reach::of([Tag::named("project:42")]);
    config.invalidate.dependencies.extend(&mut reach);
    assert!(reach.covers(&Tag::named("search")) && reach.covers(&Tag::path("h", "/api/stats")));
    refuses(&[
        ("dependencies:\n  a: b\n  b: c:{id}\n  c:{x}: a\n", "go round: a → b → c:{x} → a", "3:3"),
        ("dependencies:\n  x: y\n  a:{id}: a:{id}\n", "go round: a:{id} → a:{id}", "4:3"),
        ("dependencies:\n  a b: c\n", "write a line for each source", "3:3"),
        ("dependencies:\n  a: credential\n", "stands under `writes` only", "3:6"),
        ("dependencies:\n  credential: a\n", "stands under `writes` only", "3:3"),
        ("dependencies: [a]\n", "wants keys of its own", "2:15"),
    ]);
    let widening = warned("routes: { /a: { tags: \"b:1 c:1\" } }\ndependencies:\n  a:{id}: b:{id} c:{ix}\n");
    assert_eq!(widening, [("`c:{ix}` always widens: its source `a:{id}` has no `{ix}`".to_owned(), 4, 18)]);
}

#[test]
fn events_are_names_with_stars() {
    let rules = good("events:\n  project.updated: project:{id} /api/{data.x}\n  \"user.*\": user:{id}\n")
        .invalidate
        .events
        .rules;
    let told: Vec<_> = rules.iter().map(|(name, items)| (name.as_str(), items.len())).collect();
    assert_eq!(told, [("project.updated", 2), ("user.*", 1)]);
    refuses(&[
        ("events:\n  a b: c\n", "is not the name of an event", "3:3"),
        ("events:\n  a: credential\n", "stands under `writes` only", "3:6"),
        ("events:\n  a:\n", "has no value", "3:3"),
    ]);
}

#[test]
fn webhooks_have_a_path_a_scheme_and_secrets_that_are_not_empty() {
    let text = "webhooks:\n  /hooks/a: { secrets: [one, \"${OLD:-}\", \"${NEW}\"] }\n  /hooks/b: { scheme: github, secrets: x y }\n  \
                /hooks/c: { secrets: \"${NONE:-}\", enabled: \"${ON:-false}\" }\n";
    let env = Env::of([("NEW", "two")]);
    let webhooks = resolve(&format!("upstream: http://a:1\n{text}"), &env).unwrap().invalidate.webhooks;
    let told: Vec<_> =
        webhooks.iter().map(|hook| (hook.path.as_str(), hook.scheme, hook.secrets.join("|"))).collect();
    assert_eq!(
        told,
        [
            ("/hooks/a", Scheme::Standard, "one|two".to_owned()),
            ("/hooks/b", Scheme::Github, "x y".to_owned())
        ]
    );
    for (word, scheme) in
        [("stripe", Scheme::Stripe), ("cloudevents", Scheme::Cloudevents), ("bearer", Scheme::Bearer)]
    {
        let text = format!("webhooks: {{ /h: {{ scheme: {word}, secrets: s }} }}\n");
        assert_eq!(good(&text).invalidate.webhooks[0].scheme, scheme);
    }
    refuses(&[
        ("webhooks:\n  /h: { secrets: \"${NONE:-}\" }\n", "the secret of the webhook `/h` is empty", "3:18"),
        (
            "webhooks:\n  /h:\n    secrets: [\"${NONE:-}\", \"${NIL:-}\"]\n",
            "the secret of the webhook `/h` is empty",
            "4:5",
        ),
        ("webhooks:\n  /h: { secrets: [a, \"\"] }\n", "is empty", "3:22"),
        ("webhooks:\n  /h: { scheme: github }\n", "has no `secrets`", "3:3"),
        ("webhooks:\n  /h:\n", "has no `secrets`", "3:3"),
        ("webhooks:\n  /h: { scheme: gihub, secrets: s }\n", "did you mean `github`?", "3:17"),
        ("webhooks:\n  h: { secrets: s }\n", "write /h", "3:3"),
        ("webhooks:\n  /h/{x}: { secrets: s }\n", "is a template, not a path", "3:3"),
        ("webhooks:\n  /h: { secrets: s }\n  /h/: { secrets: s }\n", "is the same as `/h`", "4:3"),
        ("webhooks:\n  /h: { secrets: [a, whsec_] }\n", "has no key behind `whsec_`", "3:9"),
        ("webhooks:\n  /h: { scheme: bearer, secrets: \" a\" }\n", "a space around it", "3:34"),
        (
            "webhooks:\n  /h: { scheme: cloudevents, secrets: \"a\\nb\" }\n",
            "a sign that no field carries",
            "3:39",
        ),
    ]);
    let odd = warned(
        "webhooks:\n  /h: { secrets: [\"whsec_a-b\"] }\n  /i: { scheme: stripe, secrets: [\"whsec_a-b\"] }\n",
    );
    assert_eq!(odd, [("what stands behind `whsec_` for the webhook `/h` is no base64".to_owned(), 3, 9)]);
    let kept =
        warned("routes: { /h: 1m, /i: bypass }\nwebhooks:\n  /h: { secrets: s }\n  /i: { secrets: s }\n");
    assert_eq!(kept, [("`/h` keeps nothing: what comes to that path is a webhook".to_owned(), 2, 11)]);
    good(
        "routes: { /h: 1m }\nwebhooks:\n  /h: { secrets: \"\", enabled: false }\n"
            .replace("\"\"", "\"${X:-}\"")
            .as_str(),
    );
}

#[test]
fn redis_channels_are_heard_where_a_url_says() {
    let config = |text: &str, url: Option<&str>| {
        let env = Env::of(url.map(|url| ("REDIS_URL", url)));
        resolve(&format!("upstream: http://a:1\n{text}"), &env).unwrap()
    };
    let heard = |text: &str, url| config(text, url).invalidate.subscription;
    let one = |url| Where::One(Address::parse(url).unwrap());
    let settings = heard("redis: { url: \"redis://:p@h:1/2\", subscribe: a b }\n", None).unwrap();
    assert_eq!((settings.elsewhere, settings.on_gap), (None, OnGap::Purge));
    assert_eq!(settings.channels, ["a", "b"]);
    let text = "redis: { subscribe: [a], on_gap: soft-purge }\n";
    assert_eq!(config(text, Some("rediss://u:p@h")).fleet.unwrap().at, one("rediss://u:p@h"));
    assert_eq!(heard(text, Some("rediss://u:p@h")).unwrap().on_gap, OnGap::SoftPurge);
    let text =
        "redis: { url: \"redis://one\", subscribe_url: \"redis://two\", subscribe: a, on_gap: ignore }\n";
    assert_eq!(heard(text, None).unwrap().elsewhere, Some(one("redis://two")));
    let text = "redis: { url: \"redis://one\", subscribe: a }\n";
    assert_eq!(config(text, Some("redis://two")).fleet.unwrap().at, one("redis://two"));
    for off in
        ["redis: { url: \"${REDIS_URL:-}\", subscribe: a }\n", "redis: { url: \"\", subscribe: a }\n", ""]
    {
        let config = config(off, None);
        assert!(config.invalidate.subscription.is_none() && config.warnings.problems.is_empty(), "{off}");
    }
    assert!(warned("redis: { subscribe: a }\n")[0].0.contains("no `url` says where"));
    refuses(&[
        ("redis:\n  url: http://:hunter2@h\n", "is not the URL of a Redis", "3:8"),
        ("redis:\n  subscribe_url: h:6379\n", "is not the URL of a Redis", "3:18"),
        ("redis:\n  url: rediss://:hunter2@h#insecure\n", "certificates are always checked", "3:8"),
        ("redis:\n  on_gap: flush\n", "write one of: purge, soft-purge, ignore", "3:11"),
        ("redis:\n  lease: 50ms\n", "from 100ms to 60s", "3:10"),
        ("redis:\n  lease: 61s\n", "from 100ms to 60s", "3:10"),
        ("redis:\n  replicas: -1\n", "is no number of replicas", "3:13"),
        ("redis:\n  namespace: a{b\n", "is no name for keys", "3:14"),
        ("redis:\n  coherence: x\n", "write one of: acked, broadcast", "3:14"),
        ("redis:\n  when_down: stop\n", "write one of: origin, serve", "3:14"),
        ("redis:\n  ack_timeout: 0s\n", "longer than zero", "3:16"),
        ("redis:\n  subscribe: \"\"\n", "is empty", "3:14"),
        ("redis:\n  subscrbe: a\n", "did you mean `subscribe`?", "3:3"),
    ]);
}

#[test]
fn redis_is_one_server_a_cluster_or_what_sentinels_name() {
    let at = |keys: &str| good(&format!("redis: {{ {keys} }}\n")).fleet.expect("a fleet").at;
    let address = |url| Address::parse(url).unwrap();
    let nodes = vec![address("rediss://u:p@a:1"), address("rediss://u:p@b:2")];
    assert_eq!(at("url: [\"rediss://u:p@a:1\", \"rediss://u:p@b:2\"]"), Where::Cluster(nodes.clone()));
    assert_eq!(at("url: \"rediss://u:p@a:1  rediss://u:p@b:2\""), Where::Cluster(nodes));
    assert_eq!(at("url: [\"redis://a\"]"), Where::Cluster(vec![address("redis://a")]));
    let sentinels = vec![address("redis://:s@x:26379"), address("redis://:s@y:26379")];
    let named = |servers| Where::Sentinel { master: "m".into(), sentinels: sentinels.clone(), servers };
    let nodes = "master: m, nodes: \"redis://:s@x:26379 redis://:s@y:26379\"";
    assert_eq!(at(&format!("sentinel: {{ {nodes} }}")), named(address("redis://x:26379")));
    let whom = "user: u, password: p, database: 3";
    assert_eq!(
        at(&format!("url: \"\", sentinel: {{ {nodes}, {whom} }}")),
        named(address("redis://u:p@x:26379/3"))
    );
    let heard =
        good(&format!("redis: {{ subscribe: a, sentinel: {{ {nodes} }} }}\n")).invalidate.subscription;
    assert_eq!(heard.expect("there").elsewhere, None);
    let config = good(&format!("redis: {{ sentinel: {{ {nodes}, password: hunter2 }} }}\n"));
    assert!(!config.yaml().contains("hunter2") && !format!("{config:?}").contains("hunter2"));
}

#[test]
fn places_of_redis_that_do_not_hold_together_are_refused() {
    let sentinel = "{ master: m, nodes: \"redis://a\"";
    refuses(&[
        (&format!("redis:\n  url: redis://a\n  sentinel: {sentinel} }}\n"), "both say where Redis is", "3:8"),
        ("redis:\n  url: []\n", "is empty", "3:8"),
        ("redis:\n  url: [redis://a, \"\"]\n", "an entry that names no server", "3:3"),
        ("redis:\n  url: [redis://a, http://b]\n", "is not the URL of a Redis", "3:20"),
        ("redis:\n  url: [redis://a, rediss://b]\n", "mixes redis:// and rediss://", "3:3"),
        ("redis:\n  url: [\"redis://u:p@a\", \"redis://u:q@b\"]\n", "different users or passwords", "3:3"),
        ("redis:\n  url: redis://a/1 redis://b/1\n", "no database but 0", "3:8"),
        ("redis:\n  url: [\"unix:///s\"]\n", "has a socket among its servers", "3:3"),
        ("redis:\n  sentinel: { nodes: \"redis://a\" }\n", "has no `master`", "3:3"),
        ("redis:\n  sentinel: { master: m }\n", "has no `nodes`", "3:3"),
        ("redis:\n  sentinel:\n    master: m\n    nodes: redis://a/1\n", "sentinels have none", "5:12"),
        ("redis:\n  sentinel:\n    master: m\n    nodes: redis://a rediss://b\n", "mixes", "5:12"),
        (
            &format!("redis:\n  sentinel: {sentinel}, user: u }}\n"),
            "`redis.sentinel.user` has no password",
            "3:52",
        ),
        (&format!("redis:\n  sentinel: {sentinel}, database: x }}\n"), "is no number of a database", "3:56"),
        (&format!("redis:\n  sentinel: {sentinel}, masters: x }}\n"), "did you mean `master`?", "3:46"),
    ]);
    let report = resolve(
        &format!("upstream: http://a:1\nredis: {{ sentinel: {sentinel} }} }}\n"),
        &Env::of([("REDIS_URL", "redis://b")]),
    );
    let report = report.unwrap_err().render(false);
    assert!(report.contains("REDIS_URL") && report.contains("both say where Redis is"), "{report}");
}

#[test]
fn tokens_have_names_and_a_role() {
    let text = "admin:\n  token: one\n  tokens: { ci: { token: two, may: purge }, eye: { token: three }, all: { token: four, may: all },\n    \
                nobody: { token: \"${NONE:-}\", may: all } }\n";
    let tokens = good(text).admin.tokens;
    let told: Vec<_> =
        tokens.iter().map(|token| (token.name.as_str(), token.token.as_str(), token.may)).collect();
    assert_eq!(told, [("ci", "two", Role::Purge), ("eye", "three", Role::Read), ("all", "four", Role::All)]);
    good("admin: { listen: \"0.0.0.0:9\", tokens: { ci: { token: two } } }\n");
    refuses(&[
        ("admin:\n  tokens:\n    ci: { may: all }\n", "`ci` of `admin.tokens` has no `token`", "4:5"),
        ("admin:\n  cache_path: api\n", "`api` is not a path of plain segments", "3:15"),
        ("admin:\n  cache_path: /a/{b}\n", "`/a/{b}` is not a path of plain segments", "3:15"),
        ("admin:\n  cache_path: /\n", "`/` is not a path of plain segments", "3:15"),
        ("admin:\n  cache_path: /v1/cache\n", "`/v1` is the admin API's own", "3:15"),
        ("admin:\n  tokens:\n    ci: { token: a, may: write }\n", "write one of: read, purge, all", "4:26"),
        ("admin:\n  tokens:\n    ci: { token: \"\" }\n", "is empty", "4:18"),
        ("admin:\n  token: a\n  tokens:\n    ci: { token: a }\n", "is the same as `admin.token`", "5:5"),
        (
            "admin:\n  tokens:\n    a: { token: x }\n    b: { token: x }\n",
            "the token `b` is the same as `a`",
            "5:5",
        ),
        (
            "admin:\n  listen: 0.0.0.0:9\n  tokens: { ci: { token: \"${NONE:-}\" } }\n",
            "is not loopback and has no token",
            "3:11",
        ),
    ]);
}

#[test]
fn a_test_says_what_is_asked_what_is_answered_and_what_is_expected() {
    let text = "tests:\n  - request: PUT /a\n    answer: { status: 201, headers: { Location: /b, ETag: '\"1\"' }, body: { id: 7 } }\n    \
                keeps: x\n  - { request: PUT /a, answer: 404, keeps: x }\n  - { request: PUT /a, keeps: x }\n";
    let tests = good(text).tests;
    let answers: Vec<_> = tests.iter().map(|case| case.answer.clone()).collect();
    let whole = answers[0].as_ref().unwrap();
    assert_eq!(
        (whole.status.as_u16(), whole.headers["location"].to_str().unwrap(), &whole.body[..]),
        (201, "/b", &br#"{"id":7}"#[..])
    );
    assert_eq!((answers[1].as_ref().unwrap().status.as_u16(), answers[2].is_none()), (404, true));
    let shown = good(text).json().to_string();
    assert!(shown.contains(r#""answer":"404""#) && shown.contains(r#""body":{"id":7}"#), "{shown}");
    refuses(&[
        ("tests:\n  - { keeps: x }\n", "a test has no `request`", "3:5"),
        ("tests:\n  - { request: PUT /a, answer: 200 }\n", "a test expects nothing", "3:5"),
        ("tests:\n  - { request: PUT /a, answer: 99, keeps: x }\n", "`99` is not a status", "3:32"),
        (
            "tests:\n  - { request: PUT /a, answer: created, keeps: x }\n",
            "write 200 to 599, or { status: 201",
            "3:32",
        ),
        (
            "tests:\n  - { request: PUT /a, answer: { status: 100 }, keeps: x }\n",
            "`100` is not a status",
            "3:42",
        ),
        (
            "tests:\n  - { request: PUT /a, answer: { id: 7 }, keeps: x }\n",
            "the keys here are: status, headers, body",
            "3:34",
        ),
        ("tests:\n  - { request: PUT /a, answer: [201], keeps: x }\n", "this is a list", "3:32"),
        (
            "tests:\n  - { request: PUT /a, status: 201, keeps: x }\n",
            "`status` belongs under the `answer` of a test",
            "3:24",
        ),
        (
            "tests:\n  - { request: PUT /a, answer: { headers: { Loc ation: a } }, keeps: x }\n",
            "is not a header name",
            "3:45",
        ),
    ]);
}

#[test]
fn routes_inherit_tags_and_settle_and_say_their_own() {
    let text = "defaults: { tags: all, settle: 2s, forward_tags: true, body_tags: \"$.owner\" }\ninvalidation: { settle: 3s, debounce: 5ms, max_batch: 7 }\n\
                routes:\n  /a: 1m\n  /b/{id}: { tags: [\"b:{id}\", \"q:{query.q}\"], body_tags: \"c:{id}:$.items[*].id\", settle: 0, forward_tags: false }\n  \
                /c: { preset: export }\n";
    let config = good(text);
    let told = |at: usize| {
        let route = &config.routes[at];
        let tags: Vec<_> = route.tags.iter().map(ToString::to_string).collect();
        (tags.join(" "), route.body_tags.len(), route.settle, route.forward_tags)
    };
    let secs = Duration::from_secs;
    assert_eq!(told(0), ("all".to_owned(), 1, secs(2), true));
    assert_eq!(told(1), ("b:{id} q:{query.q}".to_owned(), 1, Duration::ZERO, false));
    assert_eq!(told(2), told(0), "a preset leaves tags alone");
    assert_eq!(config.routes[1].body_tags[0].prefix.as_ref().unwrap().to_string(), "c:{id}:");
    assert_eq!((config.invalidate.debounce, config.invalidate.max_batch), (Duration::from_millis(5), 7));
    assert_eq!(good("invalidation: { settle: 3s }\nroutes: { /a: 1m }\n").routes[0].settle, secs(3));
    assert_eq!(good("routes: { /a: 1m }\n").routes[0].settle, Duration::from_millis(100));
    let unmatched = good("defaults: { tags: \"all q:{query.q}\" }\nroutes: { /a: 1m }\n").unmatched.unwrap();
    assert_eq!(unmatched.tags.len(), 1, "a tag that cannot be told would keep its answers from being stored");
}

#[test]
fn a_tag_of_a_route_that_can_never_be_told_is_refused() {
    let text = |keys: &str| format!("routes:\n  /a/{{id}}: {{ {keys} }}\n");
    for (keys, words) in [
        ("tags: \"a:{di}\"", "did you mean {id}?"),
        ("tags: \"a:{project}\"", "the route has {id}, {user}"),
        ("tags: \"a:{body.id}\"", "write body_tags: project:$.id"),
        ("tags: \"a:{header.X-T}\"", "write key: { headers: X-T }"),
        ("tags: \"a:{query.q}\", ignore_query: q*", "`q` is not in the key"),
        ("tags: \"a:{query.q}\", key: { query: [page] }", "`q` is not in the key"),
        ("body_tags: \"a:{di}:$.id\"", "`{di}` in `body_tags` of `/a/{id}`"),
        ("tags: /a", "is a path: every answer is tagged with its own"),
        ("body_tags: project", "has no JSONPath"),
        ("body_tags: \"a:$.[\"", "is not a JSONPath"),
    ] {
        let report = bad(&text(keys));
        assert!(report.contains(words) && report.contains("larder.yaml:3:"), "{keys}: {report}");
    }
    good(
        "routes:\n  /a/{id}: { tags: \"a:{id}:{header.x-t}:{query.q}\", key: { headers: X-T, query: q } }\n",
    );
    let inherited =
        with("defaults:\n  tags: a:{id}\nroutes: { /a: 1m, /b: 1m, \"/c/{id}\": 1m }\n").unwrap_err();
    assert_eq!(inherited.problems.len(), 1, "what all inherit is told once: {inherited}");
    assert!(inherited.to_string().contains("larder.yaml:3:9"), "{inherited}");
    let nobody = warned("routes: { /a: { tags: \"u:{user}\" } }\n");
    assert!(nobody.len() == 1 && nobody[0].0.contains("nothing says who the user is"), "{nobody:?}");
    assert!(warned("identity: { user: \"jwt:sub\" }\nroutes: { /a: { tags: \"u:{user}\" } }\n").is_empty());
}

#[test]
fn a_route_that_others_shadow_is_refused() {
    refuses(&[(
        "routes:\n  /x/{r:path}: bypass\n  /x: 1m\n  /x/{y}: 1m\n  /x/{y}/{z:path}: 1m\n",
        "`/x/{r:path}` matches nothing: `/x`, `/x/{y}`, `/x/{y}/{z:path}` take all its paths",
        "3:3",
    )]);
    good("routes:\n  /x/{r:path}: bypass\n  /x: 1m\n  /x/{y}: 1m\n");
}

#[test]
fn what_nothing_carries_is_complained_of() {
    const ROUTES: &str = "routes:\n  /p/{id}: { tags: \"project:{id} projects\" }\n  /b: { body_tags: \"item:$.id\" }\n  /off: bypass\n";
    let complaints = |text: &str| warned(&format!("{ROUTES}{text}"));
    for text in [
        "writes:\n  PUT /a/{id}: project:{id} projects item:{id} /p/{id} /p/{x}\n",
        "events:\n  e: project:{data.id} /b\n",
        "dependencies:\n  anything: projects item:7\n",
        "dependencies:\n  anything: projects\nwrites:\n  PUT /a: anything\n",
        "identity: { user: \"jwt:sub\" }\nwrites:\n  PUT /a/{id}: user:{id}\n",
    ] {
        assert_eq!(complaints(text), [], "{text}");
    }
    for (text, message, column) in [
        ("writes:\n  PUT /a: projects proejcts\n", "no route carries the tag `proejcts`", 20),
        ("events:\n  e: [x]\n", "no route carries the tag `x`", 7),
        ("dependencies:\n  projects: y\n", "no route carries the tag `y`", 13),
        ("events:\n  e: user:{id}\n", "no route carries the tag `user:{id}`", 6),
        ("events:\n  e: /nowhere/{id}\n", "no route matches the path `/nowhere/{id}`", 6),
        ("events:\n  e: /off\n", "nothing is kept under the path `/off`: it is bypassed", 6),
    ] {
        assert_eq!(complaints(text), [(message.to_owned(), 7, column)], "{text}");
    }
    let report = good(&format!("{ROUTES}writes:\n  PUT /a: proejcts\n")).warnings.render(false);
    assert!(report.contains("did you mean `projects`?"), "{report}");
    let all = "routes: { /b: { body_tags: \"$.tags[*]\" } }\nevents: { e: x }\n";
    assert!(warned(all).is_empty(), "a body may name any tag");
}

#[test]
fn warnings_alone_stop_nothing() {
    let config = good("events:\n  e: nothing\n");
    assert!(config.warnings.problems.iter().all(|problem| problem.severity == Severity::Warning));
}

#[test]
fn secrets_of_invalidation_are_shown_nowhere() {
    let text = "webhooks: { /h: { secrets: [hunter2] } }\nredis: { url: \"redis://u:hunter2@h:1\", subscribe: c }\n\
                admin: { tokens: { ci: { token: hunter2 } } }\ntests:\n  - { request: GET /a, headers: { Authorization: hunter2 }, scope: shared }\n";
    let config = good(text);
    for shown in [config.yaml(), config.json().to_string(), format!("{config:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    assert!(config.yaml().contains("redis://u:<redacted>@h:1"), "{}", config.yaml());
    for text in [
        "redis:\n  url: redis://u:hunter2@h:port\n",
        "webhooks:\n  /h:\n    secrets:\n      - hunter2\n      - \"\"\n",
        "webhooks:\n  /h: { secrets: [hunter2, \"\"] }\n",
        "admin:\n  tokens:\n    ci: { token: hunter2, may: x }\n",
    ] {
        let report = with(text).unwrap_err();
        assert!(
            !report.render(false).contains("hunter2") && !report.json().to_string().contains("hunter2"),
            "{report}"
        );
    }
}

#[test]
fn every_value_says_who_said_it() {
    let yaml = good("writes:\n  PUT /a: { invalidate: x, soft: true }\nroutes: { /a: { tags: x } }\nredis: { subscribe: c }\n").yaml();
    let line = |key: &str| {
        yaml.lines()
            .find(|line| line.trim_start().starts_with(key))
            .unwrap_or_else(|| panic!("{key}\n{yaml}"))
    };
    for (key, end) in [
        ("soft: true", "# larder.yaml:3"),
        ("cascade: true", "# default"),
        ("invalidate: [x]", "# larder.yaml:3"),
        ("subscribe: [c]", "# larder.yaml:5"),
        ("on_gap: purge", "# default"),
        ("settle: 100ms", "# default"),
        ("max_batch: 1000", "# default"),
    ] {
        assert!(line(key).ends_with(end), "{key}: {}", line(key));
    }
}
