//! What operators throw out, see and look up over the admin API, and `PURGE` where clients come in.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::client::{Reply, all};
use crate::harness::origin::{Answer, Origin};
use crate::harness::proxy::Proxy;
use crate::harness::{Gate, play};
use crate::redis::stop_time;

const PROJECTS: &str = "
routes:
  /api/projects: { ttl: 30m, tags: projects }
  /api/projects/{id}: { ttl: 30m, tags: 'project:{id}' }
  /api/projects/{id}/export: { ttl: 30m, tags: 'project:{id} exports' }
  /api/stats: 30m
events:
  project.updated: project:{id}
";

const TOKENS: &str = "
routes: { '/a/{x}': 1h }
admin: { listen: '127.0.0.1:0', token: s3cret, tokens: { ci: { token: c1, may: purge }, eyes: { token: e1, may: read } } }
";

const ALL: [&str; 6] = [
    "/api/projects",
    "/api/projects/1",
    "/api/projects/1?page=2",
    "/api/projects/2",
    "/api/projects/1/export",
    "/api/stats",
];

/// Reads all of these so that they are stored.
async fn stored(proxy: &Proxy, targets: &[&str]) {
    for target in targets {
        proxy.get(target).reply().await;
        assert_eq!(proxy.get(target).reply().await.cache(), "HIT", "{target}");
    }
}

/// Which of these are no longer stored; asking stores them again.
async fn gone<'t>(proxy: &Proxy, targets: &[&'t str]) -> Vec<&'t str> {
    let mut gone = Vec::new();
    for target in targets {
        if proxy.get(target).reply().await.cache() == "MISS" {
            gone.push(*target);
        }
    }
    gone
}

fn targets(listed: &Value) -> Vec<&str> {
    listed["entries"].as_array().unwrap().iter().map(|entry| entry["target"].as_str().unwrap()).collect()
}

async fn entries(proxy: &Proxy, query: &str) -> Value {
    let reply = proxy.admin(&format!("/v1/entries{query}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

#[test]
fn a_purge_removes_what_it_names_and_says_how_much_of_which_route() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, PROJECTS).await;
        stored(&proxy, &ALL).await;
        proxy.pass_secs(60);
        let done = proxy.tell("/v1/purge", json!({ "tags": ["project:1"] })).await;
        assert_eq!(done["invalidated"], 3);
        assert_eq!(done["by_route"], json!({ "/api/projects/{id}": 2, "/api/projects/{id}/export": 1 }));
        assert_eq!((&done["reach"], &done["dry_run"]), (&json!(["project:1"]), &json!(false)));
        let status = proxy.admin("/v1/status").await.json();
        assert_eq!((&status["position"], &status["entries"]), (&done["position"], &json!(3)));
        let kept = proxy.get("/api/stats").reply().await;
        assert_eq!((kept.cache(), kept.header("age")), ("HIT", Some("60")));
        assert_eq!(
            gone(&proxy, &ALL).await,
            ["/api/projects/1", "/api/projects/1?page=2", "/api/projects/1/export"]
        );
    });
}

#[test]
fn a_prefix_a_glob_a_path_and_a_url_remove_only_what_they_match() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, PROJECTS).await;
        for (purge, reached) in [
            (json!({ "prefixes": ["/api/projects/1"] }), &ALL[1..5][..]),
            (json!({ "globs": ["*/export"] }), &ALL[4..5]),
            (json!({ "paths": ["/api/projects/1"] }), &ALL[1..3]),
            (json!({ "paths": "/api/projects/{id}" }), &ALL[1..4]),
            (json!({ "files": [format!("http://{}/api/stats?x", proxy.address)] }), &ALL[5..]),
            (json!({ "all": true }), &ALL[..]),
        ] {
            stored(&proxy, &ALL).await;
            let reached: Vec<&str> = match purge["prefixes"].is_null() {
                false => reached.iter().filter(|target| !target.ends_with("/2")).copied().collect(),
                true => reached.to_vec(),
            };
            let done = proxy.tell("/v1/purge", purge.clone()).await;
            assert_eq!(done["invalidated"], reached.len(), "{purge}");
            assert_eq!(gone(&proxy, &ALL).await, reached, "{purge}");
        }
    });
}

#[test]
fn a_dry_run_says_the_same_and_changes_nothing() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, PROJECTS).await;
        stored(&proxy, &ALL).await;
        let mut dry = proxy.tell("/v1/purge", json!({ "tags": "project:1 projects", "dry_run": true })).await;
        let before = proxy.admin("/v1/status").await.json();
        assert_eq!((&before["entries"], &before["position"]), (&json!(6), &dry["position"]));
        assert_eq!(proxy.admin("/v1/invalidations").await.json()["invalidations"], json!([]));
        let mut done = proxy.tell("/v1/purge", json!({ "tags": "project:1 projects" })).await;
        for answer in [&mut dry, &mut done] {
            answer
                .as_object_mut()
                .unwrap()
                .retain(|key, _| !["position", "dry_run", "ack"].contains(&key.as_str()));
        }
        assert_eq!(dry, done);
        assert_eq!(dry["invalidated"], 4);
    });
}

#[test]
fn what_is_being_fetched_when_the_purge_is_answered_is_not_stored() {
    play(async {
        let gate = Gate::default();
        let origin = Origin::telling([Answer::json("old").held(&gate), Answer::json("new")]).await;
        let proxy = Proxy::start(&origin, PROJECTS).await;
        let early = proxy.get("/api/stats").under_way();
        origin.arrived(1).await;
        assert_eq!(proxy.tell("/v1/purge", json!({ "paths": ["/api/stats"] })).await["invalidated"], 0);
        gate.open();
        assert_eq!(early.await.unwrap().text(), "old");
        assert_eq!(proxy.get("/api/stats").reply().await.text(), "new");
    });
}

#[test]
fn everything_is_purged_ten_times_in_a_row_and_then_once_a_second() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, PROJECTS).await;
        let all = || proxy.admin_ask("POST", "/v1/purge").json(&json!({ "all": true })).reply();
        for _ in 0..10 {
            assert_eq!(all().await.status, 200);
        }
        stored(&proxy, &["/api/stats"]).await;
        let refused = all().await;
        assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, Some("1")));
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
        assert_eq!(proxy.get("/api/stats").reply().await.cache(), "HIT");
        let dry = json!({ "all": true, "dry_run": true });
        assert_eq!(proxy.tell("/v1/purge", dry).await["invalidated"], 1, "looking costs nothing");
        proxy.pass_secs(1);
        assert_eq!(all().await.status, 200);
    });
}

#[test]
fn an_event_of_any_shape_outdates_what_it_names() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, PROJECTS).await;
        for event in [
            json!("project:1"),
            json!(["project:1", "nothing"]),
            json!({ "type": "project.updated", "data": { "id": 1 } }),
            json!({ "specversion": "1.0", "type": "project.updated", "source": "s", "id": "1", "data": { "id": 1 } }),
        ] {
            stored(&proxy, &ALL[1..4]).await;
            let done = proxy.tell("/v1/events", event.clone()).await;
            assert_eq!((&done["matched"], &done["invalidated"]), (&json!(true), &json!(2)), "{event}");
        }
        let binary = proxy
            .admin_ask("POST", "/v1/events")
            .header("ce-specversion", "1.0")
            .header("ce-type", "project.updated")
            .header("ce-source", "s")
            .header("ce-id", "2")
            .json(&json!({ "id": 2 }));
        assert_eq!(binary.reply().await.json()["reach"], json!(["project:2"]));
        let unheard = proxy.tell("/v1/events", json!({ "type": "invoice.paid" })).await;
        assert_eq!(unheard, json!({ "matched": false, "event": "invoice.paid", "invalidated": 0 }));
        assert_eq!(proxy.metric("larder_events_unmatched_total").await, 1);
        let words = proxy.admin_ask("POST", "/v1/events").header("content-type", "text/plain");
        assert_eq!(words.body("project:1").reply().await.status, 415);
    });
}

#[test]
fn who_invalidated_what_is_written_down() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, TOKENS).await;
        stored_with(&proxy, "/a/1").await;
        let purge = |token: &str, body: Value| {
            let ask = proxy.admin_ask("POST", "/v1/purge").bearer(token).json(&body);
            async move { ask.reply().await.json() }
        };
        let first = purge("c1", json!({ "paths": ["/a/1"], "id": "deploy-7" })).await;
        purge("s3cret", json!({ "tags": ["t"], "soft": true })).await;
        proxy.ask("PUT", "/a/2").reply().await;
        let listed = |query: &str| {
            let ask = proxy.admin_ask("GET", &format!("/v1/invalidations{query}")).bearer("e1");
            async move { ask.reply().await.json() }
        };
        let all = listed("").await;
        let told: Vec<_> = all["invalidations"].as_array().unwrap().iter().map(brief).collect();
        assert_eq!(told[0], json!(["ci", "admin", "hard", "deploy-7", ["/a/1"], 1]));
        assert_eq!(told[1], json!(["admin", "admin", "soft", null, ["t"], 0]));
        assert_eq!((&told[2][1], told.len()), (&json!("write"), 3));
        let page = listed(&format!("?limit=1&since={}", first["position"].as_str().unwrap())).await;
        assert_eq!((&page["invalidations"][0]["reach"], page["next"].is_string()), (&json!(["t"]), true));
        assert_eq!(listed("?limit=1").await["invalidations"][0]["source"], "write", "the newest");
        assert_eq!(listed("?tag=t").await["invalidations"].as_array().unwrap().len(), 1);
        assert_eq!(listed("?tag=/a/1").await["invalidations"].as_array().unwrap().len(), 1);
    });
}

fn brief(told: &Value) -> Value {
    let names = ["actor", "source", "mode", "id", "reach", "invalidated"];
    names.into_iter().map(|name| told[name].clone()).collect()
}

async fn stored_with(proxy: &Proxy, target: &str) {
    stored(proxy, &[target]).await;
}

#[test]
fn without_tokens_the_peer_is_written_down() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, PROJECTS).await;
        proxy.tell("/v1/purge", json!({ "tags": ["a"] })).await;
        let told = proxy.admin("/v1/invalidations").await.json();
        assert_eq!(told["invalidations"][0]["actor"], "127.0.0.1");
    });
}

// ---- what is kept -----------------------------------------------------------------------------------------------

#[test]
fn what_is_kept_is_listed_page_by_page_in_the_order_in_which_it_was_stored() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, PROJECTS).await;
        stored(&proxy, &ALL).await;
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = entries(&proxy, &format!("?limit=4{after}")).await;
            seen.extend(targets(&page).into_iter().map(str::to_owned));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(seen, ALL);
        for (query, found) in [
            ("?tag=project:1", &[ALL[1], ALL[2], ALL[4]][..]),
            ("?tag=project:1&limit=2", &[ALL[1], ALL[2]]),
            ("?tag=project:*&path=/api/projects/2", &[ALL[3]]),
            ("?path=/api/projects/%7Bid%7D", &[ALL[1], ALL[2], ALL[3]]),
            ("?path=/api/*port", &[ALL[4]]),
            ("?route=/api/projects/%7Bid%7D", &[ALL[1], ALL[2], ALL[3]]),
            ("?route=/api/projects/7", &[ALL[1], ALL[2], ALL[3]]),
            ("?tag=nothing", &[]),
        ] {
            assert_eq!(targets(&entries(&proxy, query).await), found, "{query}");
        }
        assert_eq!(proxy.admin("/v1/entries?route=/nowhere").await.status, 404);
    });
}

#[test]
fn an_entry_tells_all_but_its_body_and_whose_it_is() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, PROJECTS).await;
        let secret = "Bearer of-ann";
        proxy.get("/api/projects/1?b=2&a=1").header("authorization", secret).reply().await;
        proxy.get("/api/stats").reply().await;
        proxy.pass_secs(60);
        let reply = proxy.admin("/v1/entries").await;
        assert!(
            !reply.text().contains("of-ann") && !reply.text().contains("credential:"),
            "{}",
            reply.text()
        );
        let listed = reply.json();
        let (of_ann, shared) = (&listed["entries"][0], &listed["entries"][1]);
        assert_eq!((&of_ann["whose"], &shared["whose"]), (&json!("a credential"), &json!("shared")));
        for (key, value) in [
            ("target", json!("/api/projects/1?a=1&b=2")),
            ("host", json!(format!("localhost:{}", proxy.address.port()))),
            ("scheme", json!("http")),
            ("route", json!("/api/projects/{id}")),
            ("status", json!(200)),
            ("state", json!("fresh")),
            ("age", json!(60)),
            ("ttl", json!(29 * 60)),
            ("body_size", json!(1)),
        ] {
            assert_eq!(of_ann[key], value, "{key}");
        }
        assert!(of_ann["tags"].as_array().unwrap().contains(&json!("project:1")), "{of_ann}");
        proxy.tell("/v1/purge", json!({ "tags": ["project:1"], "soft": true })).await;
        assert_eq!(entries(&proxy, "?tag=project:1").await["entries"][0]["state"], "soft");
        proxy.pass_secs(30 * 60);
        assert_eq!(entries(&proxy, "?path=/api/stats").await["entries"][0]["state"], "stale");
    });
}

#[test]
fn an_entry_is_looked_up_and_dropped_by_its_name_or_its_path() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, PROJECTS).await;
        stored(&proxy, &ALL).await;
        let id = entries(&proxy, "?path=/api/projects/1").await["entries"][0]["id"].clone();
        let path = format!("/v1/entries/{}", id.as_str().unwrap());
        assert_eq!(proxy.admin(&path).await.json()["target"], "/api/projects/1");
        let head = proxy.admin_ask("HEAD", &path).reply().await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
        let dropped = proxy.admin_ask("DELETE", &path).reply().await.json();
        assert_eq!(dropped["invalidated"], 2, "with every query");
        for method in ["HEAD", "GET", "DELETE"] {
            assert_eq!(proxy.admin_ask(method, &path).reply().await.status, 404, "{method}");
        }
        let by_path = proxy.admin_ask("DELETE", "/v1/entries?path=/api/stats").reply().await;
        assert_eq!(by_path.json()["invalidated"], 1);
        assert_eq!(proxy.admin_ask("DELETE", "/v1/entries").reply().await.status, 400);
        assert_eq!(targets(&entries(&proxy, "").await), [ALL[0], ALL[3], ALL[4]]);
    });
}

#[test]
fn each_route_tells_what_it_is_worth() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, PROJECTS).await;
        stored(&proxy, &["/api/stats"]).await;
        for _ in 0..2 {
            proxy.get("/api/stats").reply().await;
        }
        proxy.ask("POST", "/elsewhere").reply().await;
        let told = proxy.admin("/v1/routes").await.json();
        let routes = told["routes"].as_array().unwrap();
        let stats = routes.iter().find(|route| route["route"] == "/api/stats").unwrap();
        assert_eq!((&stats["requests"]["hit"], &stats["requests"]["miss"]), (&json!(3), &json!(1)));
        assert_eq!((&stats["hit_ratio"], &stats["entries"]), (&json!(0.75), &json!(1)));
        assert_eq!(
            (&stats["ttl"], &stats["scope"], &stats["off"]),
            (&json!(1800.0), &json!("auto"), &json!(null))
        );
        let last = routes.last().unwrap();
        assert_eq!((&last["route"], &last["requests"]["bypass"]), (&json!("unmatched"), &json!(1)));
    });
}

// ---- PURGE where clients come in --------------------------------------------------------------------------------

async fn purge(proxy: &Proxy, target: &str, field: (&str, &str)) -> Reply {
    proxy.ask("PURGE", target).header(field.0, field.1).reply().await
}

#[test]
fn a_purge_request_outdates_its_path_for_whoever_has_a_token_that_may() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, TOKENS).await;
        for field in
            [("authorization", "Bearer s3cret"), ("authorization", "Bearer c1"), ("fastly-key", "c1")]
        {
            stored(&proxy, &["/a/1", "/a/1?x=1", "/a/2"]).await;
            let reply = purge(&proxy, "/a/1?any", field).await;
            assert_eq!((reply.status.as_u16(), reply.header("cache-control")), (200, Some("no-store")));
            let told = reply.json();
            assert_eq!((&told["status"], &told["invalidated"]), (&json!("ok"), &json!(2)));
            assert_eq!(gone(&proxy, &["/a/1", "/a/1?x=1", "/a/2"]).await, ["/a/1", "/a/1?x=1"]);
        }
        assert!(origin.seen().iter().all(|seen| seen.method == "GET"), "it is never forwarded");
        let listed = proxy.admin_ask("GET", "/v1/invalidations").bearer("e1").reply().await.json();
        let actors: Vec<_> =
            listed["invalidations"].as_array().unwrap().iter().map(|one| &one["actor"]).collect();
        assert_eq!(actors, ["admin", "ci", "ci"]);
    });
}

#[test]
fn whoever_may_not_purge_learns_nothing_and_nothing_is_forwarded() {
    play(async {
        let origin = Origin::counting().await;
        let (with, without) = (Proxy::start(&origin, TOKENS).await, Proxy::start(&origin, PROJECTS).await);
        stored(&with, &["/a/1"]).await;
        let asked = origin.count();
        let mut told = Vec::new();
        for (proxy, token) in [(&with, "wrong"), (&with, "e1"), (&with, ""), (&without, "s3cret")] {
            let reply = purge(proxy, "/a/1", ("authorization", &format!("Bearer {token}"))).await;
            assert_eq!(reply.status, 405);
            assert!(!reply.header("allow").unwrap().contains("PURGE"));
            let mut headers = reply.headers;
            headers.remove("date");
            told.push((headers, reply.body));
        }
        assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
        assert_eq!(with.ask("PURGE", "/a/1").reply().await.status, 405);
        assert_eq!(with.get("/a/1").reply().await.cache(), "HIT");
        assert_eq!(origin.count(), asked);
    });
}

#[test]
fn a_soft_purge_makes_stale_and_a_purge_reaches_its_own_host_only() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, TOKENS).await;
        for host in ["one.test", "two.test"] {
            proxy.get("/a/1").header("host", host).reply().await;
        }
        let one = proxy.ask("PURGE", "/a/1").header("host", "one.test").bearer("c1");
        assert_eq!(one.header("fastly-soft-purge", "1").reply().await.json()["invalidated"], 1);
        let listed = proxy.admin_ask("GET", "/v1/entries").bearer("e1").reply().await.json();
        let states = listed["entries"].as_array().unwrap().iter();
        let states: Vec<_> = states.map(|entry| json!([entry["host"], entry["state"]])).collect();
        assert_eq!(states, [json!(["one.test", "soft"]), json!(["two.test", "fresh"])]);
        let everywhere = proxy.admin_ask("PURGE", "/a/1").bearer("c1").reply().await;
        assert_eq!(everywhere.json()["invalidated"], 2, "on the admin listener no host is meant");
    });
}

#[test]
fn after_an_operator_has_purged_everything_the_origin_is_approached_by_a_ramp() {
    const PAGES: usize = 24;
    for everything in [json!({ "all": true }), json!({ "prefixes": "/" })] {
        play(async {
            let gate = Gate::default();
            let held = gate.clone();
            let origin = Origin::start(move |seen| match seen.nth < PAGES {
                true => Answer::json("before"),
                false => Answer::json("after").held(&held),
            })
            .await;
            let yaml = "limits: { upstream_concurrency: 64 }\nroutes: { '/pages/{n}': 1h }";
            let proxy = Proxy::start(&origin, yaml).await;
            let pages: Vec<String> = (0..PAGES).map(|n| format!("/pages/{n}")).collect();
            for page in &pages {
                stored(&proxy, &[page]).await;
            }
            let restless = stop_time();
            assert_eq!(proxy.tell("/v1/purge", everything).await["invalidated"], PAGES);
            let herd: Vec<_> = pages.iter().map(|page| proxy.get(page).under_way()).collect();
            for open in [4, 8, 16] {
                origin.arrived(PAGES + open).await;
                proxy.settled().await;
                assert_eq!(origin.count(), PAGES + open);
                // A step is half a second; timers are late by up to a millisecond.
                tokio::time::advance(Duration::from_millis(501)).await;
            }
            origin.arrived(2 * PAGES).await;
            restless.abort();
            tokio::time::resume();
            gate.open();
            assert!(all(herd).await.iter().all(|reply| reply.text() == "after"));
        });
    }
}

#[test]
fn what_derives_too_much_is_told_in_the_list_as_everything() {
    play(async {
        let many = |name: &str| (0..=100).map(|n| format!("{name}{n}")).collect::<Vec<_>>().join(" ");
        let rules = format!("dependencies: {{ start: '{}', 'b:{{n}}': '{}' }}", many("b:"), many("c:{n}:"));
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, &format!("{PROJECTS}{rules}")).await;
        stored(&proxy, &["/api/stats"]).await;
        proxy.tell("/v1/purge", json!({ "tags": ["b:1"] })).await;
        let done = proxy.tell("/v1/purge", json!({ "tags": ["start"] })).await;
        assert_eq!((&done["invalidated"], &done["derived"]), (&json!(1), &json!(["everything"])));
        let listed = proxy.admin("/v1/invalidations").await.json();
        let told: Vec<_> =
            listed["invalidations"].as_array().unwrap().iter().map(|one| &one["derived_too_much"]).collect();
        assert_eq!(told, [false, true]);
    });
}
