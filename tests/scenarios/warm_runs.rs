//! What is fetched again and on demand: when, in which order, for whom, and what it was worth.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::harness::origin::{Answer, Origin};
use crate::harness::proxy::Proxy;
use crate::harness::redis::Redis;
use crate::harness::{Gate, play};

/// The latest that a task is begun after it is due.
const JITTER: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);

async fn warmed(proxy: &Proxy, body: Value) -> Value {
    proxy.tell("/v1/warm", body).await
}

/// Asks for a run until it has ended.
async fn report(proxy: &Proxy, run: &Value) -> Value {
    loop {
        let report = proxy.admin(&format!("/v1/warm/{}", run["run"].as_str().unwrap())).await.json();
        if report["state"] != "running" {
            return report;
        }
    }
}

/// Has all that is kept looked at: what it earned is told then.
async fn look(proxy: &Proxy) {
    assert_eq!(proxy.admin("/v1/usage").await.status, 200);
}

fn targets(origin: &Origin) -> Vec<String> {
    origin.seen().into_iter().map(|seen| seen.target).collect()
}

async fn next_due(proxy: &Proxy, task: usize) -> SystemTime {
    let tasks = proxy.admin("/v1/warm").await.json();
    humantime::parse_rfc3339_weak(tasks["tasks"][task]["next_due"].as_str().unwrap()).unwrap()
}

#[test]
fn every_half_hour_it_fetches_for_those_who_were_seen_in_the_window_and_for_nobody_else() {
    play(async {
        let origin = Origin::counting().await;
        let yaml = "routes: { /dash: 10m }
warm:
  users: { window: 20m }
  requests: [{ id: dash, get: /dash, for_users: active, every: 30m }]";
        let proxy = Proxy::start(&origin, yaml).await;
        proxy.ready().await;
        let (began, due) = (proxy.clock.now().wall, next_due(&proxy, 0).await);
        assert!(due + Duration::from_millis(1) >= began + 30 * MINUTE && due <= began + 30 * MINUTE + JITTER);
        let get = async |name: &str| proxy.get("/dash").header("authorization", name).reply().await;
        get("anna").await;
        proxy.pass(15 * MINUTE);
        get("bob").await;
        proxy.pass(15 * MINUTE + JITTER);
        origin.arrived(3).await;
        let last = origin.last();
        assert_eq!(
            (last.header("authorization"), last.header("larder-purpose")),
            (Some("bob"), Some("warm"))
        );
        while next_due(&proxy, 0).await < proxy.clock.now().wall {}
        let run = loop {
            let runs = proxy.admin("/v1/warm").await.json();
            if runs["runs"][0]["trigger"] == "schedule" && runs["runs"][0]["state"] != "running" {
                break runs["runs"][0].clone();
            }
        };
        assert_eq!((&run["total"], &run["stored"], &run["state"]), (&json!(1), &json!(1), &json!("ok")));
        assert_eq!(get("bob").await.cache(), "HIT");
        assert_eq!(get("anna").await.cache(), "MISS", "she was not seen for more than twenty minutes");
        assert_eq!(get("carl").await.cache(), "MISS", "what is fetched for one is for him alone");
        let everybody = proxy.get("/dash").reply().await;
        assert_eq!(everybody.cache(), "MISS");
    });
}

#[test]
fn who_is_only_answered_from_what_was_warmed_for_him_stays_active() {
    play(async {
        let origin = Origin::counting().await;
        let yaml = "routes: { /dash: 40m }
warm:
  users: { window: 35m }
  requests: [{ id: dash, get: /dash, for_users: active, every: 30m }]";
        let proxy = Proxy::start(&origin, yaml).await;
        proxy.ready().await;
        let get = async || proxy.get("/dash").header("authorization", "anna").reply().await;
        assert_eq!(get().await.cache(), "MISS");
        proxy.outdate("/dash").await;
        for round in 2..5 {
            proxy.pass(30 * MINUTE + JITTER);
            origin.arrived(round).await;
            // What was warmed is there before it is asked for, and hit.
            while get().await.cache() != "HIT" {}
            assert_eq!(origin.count(), round, "she never waits");
            proxy.outdate("/dash").await;
        }
    });
}

#[test]
fn what_would_expire_before_the_next_run_is_fetched_anew_and_the_rest_left_alone() {
    play(async {
        let origin = Origin::counting().await;
        let yaml = "routes: { /short: 40m, /long: 2h }
warm: { requests: [{ get: /short, every: 30m }, { get: /long, every: 30m }] }";
        let proxy = Proxy::start(&origin, yaml).await;
        proxy.ready().await;
        proxy.pass(30 * MINUTE + JITTER);
        origin.arrived(3).await;
        loop {
            let told = proxy.admin("/v1/warm").await.json();
            let ended = |run: &&Value| run["trigger"] == "schedule" && run["state"] == "ok";
            if told["runs"].as_array().unwrap().iter().filter(ended).count() == 2 {
                break;
            }
        }
        let count = |path: &str| targets(&origin).iter().filter(|target| *target == path).count();
        assert_eq!((count("/short"), count("/long")), (2, 1));
        proxy.pass(15 * MINUTE);
        assert_eq!(proxy.get("/short").reply().await.cache(), "HIT", "forty minutes after the first fetch");
    });
}

#[test]
fn what_is_urgent_goes_first_and_then_what_was_written_last() {
    play(async {
        let origin = Origin::start(|seen| match seen.method.as_str() {
            "PUT" => Answer::new(204),
            _ => Answer::json(seen.number()),
        })
        .await;
        let yaml = "routes: { '/p/{id}': { ttl: 1h, tags: 'p:{id}' }, '/p/{id}/stats': { ttl: 1h, tags: 'p:{id}' } }
writes: { 'PUT /p/{id}': 'p:{id}' }
warm:
  concurrency: 1
  requests: [{ id: ps, get: '/p/{id}', params: { id: 1 2 3 4 } }, { id: urgent, get: /p/9/stats, priority: 200 }]";
        let proxy = Proxy::start(&origin, yaml).await;
        proxy.ready().await;
        for id in [3, 2, 9, 4] {
            proxy.ask("PUT", &format!("/p/{id}")).reply().await;
        }
        proxy.outdate_all(larder::route::reach::Reach::all()).await;
        let before = origin.count();
        let run = proxy
            .admin_ask("POST", "/v1/warm")
            .json(&json!({ "tasks": ["ps", "urgent"], "paths": ["/p/2/stats"] }))
            .reply()
            .await;
        assert_eq!(run.status, 202);
        let report = report(&proxy, &run.json()).await;
        assert_eq!((&report["stored"], &report["failed"]), (&json!(6), &json!(0)), "{report}");
        let order = &targets(&origin)[before..];
        assert_eq!(order, ["/p/9/stats", "/p/4", "/p/2", "/p/2/stats", "/p/3", "/p/1"]);
    });
}

#[test]
fn a_client_who_asks_for_what_is_being_warmed_overtakes_the_rest_of_it() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| {
            let answer = Answer::json(seen.number());
            if seen.target == "/held" { answer.held(&held) } else { answer }
        })
        .await;
        let yaml =
            "limits: { upstream_concurrency: 1 }\nroutes: { '/{rest:path}': 1h }\nwarm: { concurrency: 3 }";
        let proxy = Proxy::start(&origin, yaml).await;
        proxy.ready().await;
        let first = proxy.get("/held").under_way();
        origin.arrived(1).await;
        let paths = json!({ "paths": ["/w1", "/w2", "/w3"] });
        let run = proxy.admin_ask("POST", "/v1/warm").json(&paths).reply().await.json();
        proxy.settled().await;
        let (client, other) = (proxy.get("/w3").under_way(), proxy.get("/other").under_way());
        proxy.settled().await;
        gate.open();
        for waiting in [first, client, other] {
            assert_eq!(waiting.await.unwrap().status, 200);
        }
        report(&proxy, &run).await;
        let order = targets(&origin);
        let mut clients = order[1..3].to_vec();
        clients.sort_unstable();
        assert_eq!(
            (clients, &order[3..]),
            (vec!["/other".into(), "/w3".into()], &["/w1".into(), "/w2".into()][..])
        );
    });
}

#[test]
fn whatever_hangs_while_it_is_warmed_clients_find_a_slot_and_go_first() {
    play(async {
        let gates: [Gate; 2] = Default::default();
        let [warming, asked] = gates.clone();
        let origin = Origin::start(move |seen| {
            let gate = if seen.target.starts_with("/w") { &warming } else { &asked };
            Answer::json(seen.number()).held(gate)
        })
        .await;
        let yaml =
            "limits: { upstream_concurrency: 4 }\nroutes: { '/{rest:path}': 1h }\nwarm: { concurrency: 64 }";
        let proxy = Proxy::start(&origin, yaml).await;
        proxy.ready().await;
        let paths: Vec<String> = (0..20).map(|nth| format!("/w{nth}")).collect();
        let run = proxy.admin_ask("POST", "/v1/warm").json(&json!({ "paths": paths })).reply().await.json();
        origin.arrived(2).await;
        proxy.settled().await;
        assert_eq!(origin.count(), 2, "half of the slots, however many wait");
        let mut clients: Vec<_> = (0..2).map(|nth| proxy.get(&format!("/c{nth}")).under_way()).collect();
        origin.arrived(4).await;
        // Now there is no slot left, and warming has waited for longer.
        clients.extend((2..8).map(|nth| proxy.get(&format!("/c{nth}")).under_way()));
        proxy.settled().await;
        let [warming, asked] = gates;
        warming.open();
        origin.arrived(6).await;
        assert!(
            targets(&origin)[2..].iter().all(|target| target.starts_with("/c")),
            "{:?}",
            targets(&origin)
        );
        asked.open();
        for client in clients {
            assert_eq!(client.await.unwrap().status, 200);
        }
        let order = targets(&origin);
        assert!(order[2..10].iter().all(|target| target.starts_with("/c")), "{order:?}");
        assert_eq!(report(&proxy, &run).await["stored"], 20);
    });
}

#[test]
fn a_report_says_what_was_fetched_what_failed_and_what_it_earned() {
    play(async {
        let origin = Origin::start(|seen| match seen.target.as_str() {
            "/list" => Answer::json(r#"{"items": [{"id": 1}, {"id": 2}, {"id": 404}]}"#),
            "/item/404" => Answer::new(404),
            _ => Answer::json("12345"),
        })
        .await;
        let yaml = "routes: { '/item/{id}': 1h }
warm: { requests: [{ id: items, get: '/item/{id}', for_each: /list, select: '$.items[*].id' }] }";
        let proxy = Proxy::start(&origin, yaml).await;
        proxy.ready().await;
        for _ in 0..3 {
            assert_eq!(proxy.get("/item/1").reply().await.cache(), "HIT");
        }
        look(&proxy).await;
        let tasks = proxy.admin("/v1/warm").await.json();
        let run = &tasks["runs"][0];
        assert_eq!(
            (&run["trigger"], &run["state"], &run["hits_earned"]),
            (&json!("start"), &json!("partial"), &json!(3))
        );
        assert_eq!(tasks["tasks"][0]["last_run"]["run"], run["run"]);
        proxy.pass_secs(3601);
        look(&proxy).await;
        let told = report(&proxy, run).await;
        let counts = ["stored", "failed", "bytes", "hits_earned", "wasted", "total", "done"]
            .map(|key| told[key].as_u64().unwrap());
        assert_eq!(counts, [2, 1, 10, 3, 1, 3, 3]);
        assert_eq!(told["errors"], json!([{ "path": "/item/404", "why": "404 Not Found" }]));
        for (line, value) in [
            ("larder_warm_hits_earned_total{task=\"items\"}", 3),
            ("larder_warm_entries_wasted_total{task=\"items\"}", 1),
            ("larder_warm_runs_total{task=\"items\",result=\"partial\"}", 1),
            ("larder_requests_total{route=\"/item/{id}\",method=\"GET\",code=\"200\",cache=\"hit\"}", 3),
            ("larder_requests_total{route=\"/item/{id}\",method=\"GET\",code=\"200\",cache=\"miss\"}", 0),
        ] {
            assert_eq!(proxy.metric(line).await, value, "{line}");
        }
        let again = warmed(&proxy, json!({ "tasks": "items", "wait": true })).await;
        assert_eq!((&again["stored"], &again["actor"]), (&json!(2), &json!("127.0.0.1")));
    });
}

#[test]
fn a_run_can_be_stopped_and_what_is_unknown_is_refused() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |_| Answer::json("1").held(&held)).await;
        let proxy = Proxy::start(&origin, "routes: { '/{rest:path}': 1h }").await;
        let run =
            proxy.admin_ask("POST", "/v1/warm").json(&json!({ "paths": ["/a", "/b"] })).reply().await.json();
        origin.arrived(2).await;
        let path = format!("/v1/warm/{}", run["run"].as_str().unwrap());
        let stopped = proxy.admin_ask("DELETE", &path).reply().await.json();
        assert_eq!((&stopped["state"], &stopped["done"]), (&json!("cancelled"), &json!(0)));
        gate.open();
        assert_eq!(proxy.admin("/v1/warm/none").await.status, 404);
        for (body, status) in [
            (json!({ "tasks": ["none"] }), 404),
            (json!({ "paths": ["http://elsewhere.test/"] }), 422),
            (json!({ "paths": ["/a"], "identity": "42" }), 404),
            (json!({}), 422),
            (json!({ "path": "/a" }), 422),
        ] {
            let reply = proxy.admin_ask("POST", "/v1/warm").json(&body).reply().await;
            assert_eq!(reply.status, status, "{body}: {}", reply.text());
        }
    });
}

#[test]
fn in_somebodys_name_it_fetches_for_him_alone() {
    play(async {
        let origin = Origin::counting().await;
        let yaml = "identity: { user: 'header:X-User-Id' }\nroutes: { '/{rest:path}': 1h }\nwarm: { users: { window: 30m } }";
        let proxy = Proxy::start(&origin, yaml).await;
        proxy.ready().await;
        let get = async |path: &str, user: &str| {
            let ask = proxy.get(path).header("x-user-id", user).header("cookie", "session=s");
            ask.reply().await.cache().to_owned()
        };
        assert_eq!(get("/a", "42").await, "MISS");
        let told = warmed(&proxy, json!({ "paths": ["/dash"], "identity": "42", "wait": true })).await;
        assert_eq!(told["stored"], 1, "{told}");
        assert_eq!(origin.last().header("cookie"), Some("session=s"));
        assert_eq!((get("/dash", "42").await, get("/dash", "43").await), ("HIT".into(), "MISS".into()));
        proxy.pass(31 * MINUTE);
        let gone = proxy.admin_ask("POST", "/v1/warm").json(&json!({ "paths": ["/dash"], "identity": "42" }));
        assert_eq!(gone.reply().await.status, 404, "his credential is forgotten");
    });
}

#[test]
fn a_service_names_a_user_who_was_never_here() {
    play(async {
        let origin = Origin::counting().await;
        let yaml = "identity: { credentials: X-User-Id }
routes: { /dash: { ttl: 1h, scope: user } }
warm: { as: { header: X-User-Id }, headers: { Authorization: Bearer service }, requests: [{ id: dash, get: /dash, for_users: active }] }";
        let proxy = Proxy::start(&origin, yaml).await;
        proxy.ready().await;
        assert_eq!(origin.count(), 0, "nobody is active yet");
        let reply =
            proxy.admin_ask("POST", "/api/cache/warm").json(&json!({ "tasks": ["dash"], "user_id": 7 }));
        let told = reply.reply().await.json();
        assert_eq!((&told["success"], &told["stored"]), (&json!(true), &json!(1)), "{told}");
        let last = origin.last();
        assert_eq!(
            (last.header("x-user-id"), last.header("authorization")),
            (Some("7"), Some("Bearer service"))
        );
        let get =
            async |user: &str| proxy.get("/dash").header("x-user-id", user).reply().await.cache().to_owned();
        assert_eq!((get("7").await, get("8").await), ("HIT".into(), "MISS".into()));
    });
}

#[test]
fn a_credential_that_the_origin_refuses_is_forgotten() {
    play(async {
        let origin = Origin::start(|seen| match seen.nth {
            0 => Answer::json("1"),
            _ => Answer::new(401),
        })
        .await;
        let yaml = "identity: { user: 'header:X-User-Id' }\nroutes: { '/{rest:path}': 1h }\nwarm: { users: { window: 30m } }";
        let proxy = Proxy::start(&origin, yaml).await;
        proxy.get("/a").header("x-user-id", "42").reply().await;
        let body = json!({ "paths": ["/dash"], "identity": "42", "wait": true });
        assert_eq!(warmed(&proxy, body.clone()).await["failed"], 1);
        assert_eq!(proxy.admin_ask("POST", "/v1/warm").json(&body).reply().await.status, 404);
    });
}

#[test]
fn what_a_purge_drops_and_was_hot_is_fetched_again_if_it_says_so() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, "routes: { '/{rest:path}': 1h }").await;
        for path in ["/a", "/a", "/b"] {
            proxy.get(path).reply().await;
        }
        proxy.tell("/v1/purge", json!({ "paths": ["/a", "/b"], "refresh": true })).await;
        origin.arrived(3).await;
        proxy.becomes("/a", "HIT").await;
        assert_eq!(targets(&origin), ["/a", "/b", "/a"], "nobody had hit the other one");
        proxy.tell("/v1/purge", json!({ "paths": ["/a"] })).await;
        assert_eq!(proxy.get("/a").reply().await.cache(), "MISS");
    });
}

#[test]
fn switched_off_it_fetches_at_start_and_never_again() {
    play(async {
        let origin = Origin::counting().await;
        let yaml =
            "routes: { '/{rest:path}': 1h }\nwarm: { background: false, requests: [{ get: /a, every: 1m }] }";
        let proxy = Proxy::start(&origin, yaml).await;
        proxy.ready().await;
        assert_eq!(origin.count(), 1);
        let told = proxy.admin("/v1/warm").await.json();
        assert_eq!((&told["background"], &told["tasks"][0]["next_due"]), (&json!(false), &Value::Null));
        for (path, body) in [
            ("/v1/warm", json!({ "paths": ["/b"] })),
            ("/v1/purge", json!({ "paths": ["/a"], "refresh": true })),
        ] {
            assert_eq!(proxy.admin_ask("POST", path).json(&body).reply().await.status, 409, "{path}");
        }
    });
}

#[test]
fn answers_that_differ_by_origin_are_fetched_for_each_that_is_named() {
    play(async {
        let origin = Origin::start(|seen| {
            let answer = Answer::json(seen.number()).header("vary", "Origin");
            match seen.header("origin") {
                Some(from) => answer.header("access-control-allow-origin", from),
                None => answer,
            }
        })
        .await;
        let yaml = "routes: { /a: 1h }\nwarm: { requests: [{ get: /a, origins: none https://app.test }] }";
        let proxy = Proxy::start(&origin, yaml).await;
        proxy.ready().await;
        let get = async |from: Option<&str>| {
            let ask = from.into_iter().fold(proxy.get("/a"), |ask, from| ask.header("origin", from));
            ask.reply().await.cache().to_owned()
        };
        assert_eq!((get(None).await, get(Some("https://app.test")).await), ("HIT".into(), "HIT".into()));
        assert_eq!(get(Some("https://other.test")).await, "MISS");
    });
}

#[test]
fn in_a_fleet_one_node_runs_what_is_scheduled() {
    play(async {
        let redis = Redis::start(&[]);
        let origin = Origin::counting().await;
        let yaml = format!(
            "redis: {{ url: 'redis://{}' }}\nroutes: {{ /a: 10m }}\nwarm: {{ requests: [{{ id: a, get: /a, every: 30m }}] }}",
            redis.address()
        );
        let nodes = [Proxy::start(&origin, &yaml).await, Proxy::start(&origin, &yaml).await];
        let (mut begun, mut stages) = (Vec::new(), Vec::new());
        for node in &nodes {
            node.ready().await;
        }
        // A turn is taken before the next one is looked for.
        for _ in 0..2 {
            for node in &nodes {
                node.pass(30 * MINUTE + JITTER);
            }
            stages.push(nodes[0].clock.now().wall);
            for node in &nodes {
                while next_due(node, 0).await < node.clock.now().wall {}
            }
        }
        for node in &nodes {
            let told = node.admin("/v1/warm").await.json();
            let runs = told["runs"].as_array().unwrap().iter().filter(|run| run["trigger"] == "schedule");
            begun.extend(
                runs.map(|run| humantime::parse_rfc3339_weak(run["started_at"].as_str().unwrap()).unwrap()),
            );
        }
        let first = begun.iter().filter(|at| **at < stages[1] - MINUTE).count();
        assert_eq!(first, 1, "{begun:?} of {stages:?}");
    });
}
