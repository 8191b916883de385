//! Another configuration while requests are answered: what stays kept, what goes, and by which rules whoever is under way ends.

use serde_json::json;

use crate::harness::origin::{Answer, Origin};
use crate::harness::proxy::Proxy;
use crate::harness::{Gate, play};

async fn stored(proxy: &Proxy, targets: &[&str]) {
    for target in targets {
        proxy.get(target).reply().await;
        assert_eq!(proxy.get(target).reply().await.cache(), "HIT", "{target}");
    }
}

async fn cache(proxy: &Proxy, target: &str) -> String {
    proxy.get(target).reply().await.cache().to_owned()
}

#[test]
fn what_is_kept_stays_kept_where_the_rules_of_its_route_do() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, "routes: { /a: 1h, /b: 1h, /gone: 1h }").await;
        stored(&proxy, &["/a", "/b", "/gone"]).await;
        let routes = "routes: { /new: 1h, /b: { ttl: 1h, tags: b }, /a: { ttl: 1h, timeout: 9s } }";
        let done = proxy.reload(&origin, routes).await;
        assert_eq!(done.dropped, 2, "that of /b, and that of the route that is gone");
        assert_eq!(done.changed, ["routes./new", "routes./b.tags", "routes./a.timeout", "routes./gone"]);
        assert_eq!(done.needs_restart, [""; 0]);
        assert_eq!(cache(&proxy, "/a").await, "HIT", "a deadline is no rule of what may be served");
        assert_eq!(cache(&proxy, "/b").await, "MISS");
        stored(&proxy, &["/new"]).await;
        assert_eq!(cache(&proxy, "/gone").await, "BYPASS", "no route has it");
        let status = proxy.admin("/v1/status").await.json();
        assert_eq!(status["config"]["digest"], json!(done.digest));
        assert_eq!(proxy.metric(&format!("larder_config_info{{digest=\"{}\"}}", done.digest)).await, 1);
        assert_eq!(proxy.metric("larder_config_reloads_total{result=\"ok\"}").await, 1);
    });
}

#[test]
fn each_route_is_counted_under_its_own_name_wherever_it_stands_in_the_file() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, "routes: { /a: 1h, /b: 1h }").await;
        stored(&proxy, &["/a", "/b"]).await;
        proxy.tell("/v1/cache/disable", json!({ "route": "/b", "for": "1h" })).await;
        proxy.reload(&origin, "routes: { /c: 1h, /b: 1h, /a: 1h }").await;
        stored(&proxy, &["/c"]).await;
        assert_eq!(cache(&proxy, "/a").await, "HIT");
        assert_eq!(cache(&proxy, "/b").await, "BYPASS", "what is switched off stays off");
        let hits = |route: &str| {
            format!(r#"larder_requests_total{{route="{route}",method="GET",code="200",cache="hit"}}"#)
        };
        for (route, count) in [("/a", 2), ("/b", 1), ("/c", 1)] {
            assert_eq!(proxy.metric(&hits(route)).await, count, "{route}");
        }
        let routes = proxy.admin("/v1/routes").await.json();
        let listed: Vec<_> =
            routes["routes"].as_array().unwrap().iter().map(|route| &route["route"]).collect();
        assert_eq!(listed, ["/c", "/b", "/a", "unmatched"]);
        let usage = proxy.admin("/v1/usage").await.json();
        assert!(usage.to_string().contains("\"/c\""), "{usage}");
    });
}

#[test]
fn rules_that_come_back_find_nothing_of_before() {
    play(async {
        let origin = Origin::counting().await;
        let first = "routes: { /list: { ttl: 1h, tags: p } }\nwrites: { PUT /p: { invalidate: p } }";
        let second = "routes: { /list: { ttl: 1h, tags: q } }\nwrites: { PUT /p: { invalidate: q } }";
        let proxy = Proxy::start(&origin, first).await;
        stored(&proxy, &["/list"]).await;
        let before = proxy.get("/list").reply().await;
        proxy.reload(&origin, second).await;
        proxy.ask("PUT", "/p").reply().await;
        proxy.reload(&origin, first).await;
        let after = proxy.get("/list").reply().await;
        assert_eq!(after.cache(), "MISS");
        assert_ne!(before.text(), after.text(), "the write was acknowledged under the second");
    });
}

#[test]
fn what_is_fetched_under_old_rules_is_given_to_who_asked_and_kept_for_nobody() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| Answer::json(seen.number()).held(&held)).await;
        let (first, second) =
            ("routes: { /a: { ttl: 1h, tags: p } }", "routes: { /a: { ttl: 1h, tags: q } }");
        let proxy = Proxy::start(&origin, first).await;
        let under_way = proxy.get("/a").under_way();
        origin.arrived(1).await;
        proxy.reload(&origin, second).await;
        proxy.reload(&origin, first).await;
        gate.open();
        assert_eq!(under_way.await.unwrap().text(), "1");
        assert_eq!(proxy.get("/a").reply().await.text(), "2");
        assert_eq!(proxy.get("/a").reply().await.text(), "2");
    });
}

#[test]
fn a_write_that_is_under_way_outdates_what_the_new_rules_say_as_well() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| match seen.method.as_str() {
            "PUT" => Answer::new(204).held(&held),
            _ => Answer::json(seen.number()),
        })
        .await;
        let proxy = Proxy::start(
            &origin,
            "routes: { /list: 1h, /other: 1h }\nwrites: { PUT /p: { invalidate: /other } }",
        )
        .await;
        stored(&proxy, &["/list", "/other"]).await;
        let write = proxy.ask("PUT", "/p").under_way();
        origin.arrived(3).await;
        proxy
            .reload(&origin, "routes: { /list: 1h, /other: 1h }\nwrites: { PUT /p: { invalidate: /list } }")
            .await;
        stored(&proxy, &["/list", "/other"]).await;
        gate.open();
        assert_eq!(write.await.unwrap().status, 204);
        assert_eq!(cache(&proxy, "/list").await, "MISS", "it is answered under rules that say so");
        assert_eq!(cache(&proxy, "/other").await, "MISS", "and began under rules that say so");
    });
}

#[test]
fn another_origin_or_other_hosts_begin_with_nothing() {
    play(async {
        let (origin, other) = (Origin::counting().await, Origin::start(|_| Answer::json("other")).await);
        let proxy = Proxy::start(&origin, "routes: { /a: 1h }").await;
        stored(&proxy, &["/a"]).await;
        assert_eq!(proxy.reload(&other, "routes: { /a: 1h }").await.dropped, 1);
        assert_eq!(proxy.get("/a").reply().await.text(), "other");
        proxy.reload(&other, "routes: { /a: 1h }\nhosts: 127.0.0.1 example.com").await;
        assert_eq!(cache(&proxy, "/a").await, "MISS");
        assert_eq!(proxy.get("/a").header("host", "stranger.test").reply().await.status, 421);
    });
}

#[test]
fn writes_events_and_tokens_are_those_of_the_new_file_at_once() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 1h, tags: a } }").await;
        stored(&proxy, &["/a"]).await;
        let rules = "writes: { PUT /p: { invalidate: a } }\nevents: { e: a }\nwebhooks: { /hook: { scheme: bearer, secrets: [\"0123456789abcdef\"] } }";
        let kept = "routes: { /a: { ttl: 1h, tags: a } }\n";
        assert_eq!(proxy.reload(&origin, &format!("{kept}{rules}")).await.dropped, 0);
        assert_eq!(cache(&proxy, "/a").await, "HIT");
        proxy.ask("PUT", "/p").reply().await;
        assert_eq!(cache(&proxy, "/a").await, "MISS");
        proxy.tell("/v1/events", json!({ "type": "e" })).await;
        assert_eq!(cache(&proxy, "/a").await, "MISS");
        let hook =
            proxy.ask("POST", "/hook").bearer("0123456789abcdef").json(&json!({ "type": "e" })).reply().await;
        assert_eq!(hook.status, 200, "{}", hook.text());
        assert_eq!(cache(&proxy, "/a").await, "MISS");
        proxy
            .reload(&origin, &format!("{kept}admin: {{ listen: '127.0.0.1:0', token: secret-of-the-admin }}"))
            .await;
        assert_eq!(proxy.admin("/v1/status").await.status, 401);
        let status = proxy.admin_ask("GET", "/v1/status").bearer("secret-of-the-admin").reply().await;
        assert_eq!(status.status, 200);
        assert_eq!(
            proxy.ask("POST", "/hook").bearer("0123456789abcdef").reply().await.cache(),
            "BYPASS",
            "it is forwarded"
        );
    });
}

#[test]
fn what_is_said_of_a_configuration_beforehand_is_what_becomes_of_what_is_kept() {
    play(async {
        let (origin, other) = (Origin::counting().await, Origin::counting().await);
        let routes = "routes: { /a: 1h, /b: { ttl: 1h, scope: user } }\n";
        let rules = |rest: &str| format!("{routes}{rest}");
        let of_b = "routes: { /a: 1h, /b: { ttl: 1h, scope: user, tags: b } }";
        for (before, after, to, kept) in [
            (rules(""), rules("upgrades: off"), &origin, 2),
            (rules(""), of_b.to_owned(), &origin, 1),
            // What keys the digests of credentials stays until a restart.
            (rules("identity: { secret: one }"), rules("identity: { secret: another }"), &origin, 2),
            (rules(""), rules("identity: { secret: one }"), &origin, 2),
            (rules(""), rules("hosts: 127.0.0.1 example.com"), &origin, 0),
            (rules(""), rules(""), &other, 0),
        ] {
            let proxy = Proxy::start(&origin, &before).await;
            let own = || proxy.get("/b").bearer("somebody");
            stored(&proxy, &["/a"]).await;
            own().reply().await;
            assert_eq!(own().reply().await.cache(), "HIT");
            let yaml = format!("upstream: http://{}\n{after}", to.address);
            let told = proxy.tell("/v1/config/diff", json!({ "yaml": yaml })).await;
            let live = &told["live"];
            assert_eq!((&live["entries"], &live["kept"]), (&json!(2), &json!(kept)), "{after}: {told:#}");
            assert_eq!(proxy.reload(to, &after).await.dropped, 2 - kept, "{after}");
            let found = [proxy.get("/a").reply().await, own().reply().await];
            assert_eq!(found.iter().filter(|reply| reply.cache() == "HIT").count() as u64, kept, "{after}");
        }
    });
}

#[test]
fn what_only_a_restart_changes_is_named_until_then() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, "routes: { /a: 1h }").await;
        let done = proxy.reload(&origin, "routes: { /a: 1h }\nlimits: { memory: 9MiB }").await;
        assert_eq!(done.needs_restart, ["limits.memory"]);
        let done = proxy.reload(&origin, "routes: { /a: 2h }\nlimits: { memory: 9MiB }").await;
        assert_eq!(
            (&*done.changed, &*done.needs_restart),
            (&["routes./a.ttl".to_owned()][..], &["limits.memory".to_owned()][..])
        );
        let shown = proxy.admin("/v1/config").await.json();
        assert_eq!(shown["needs_restart"], json!(["limits.memory"]));
        assert_eq!(shown["failure"], json!(null));
        let done = proxy.reload(&origin, "routes: { /a: 2h }").await;
        assert_eq!(done.needs_restart, [""; 0], "it says again what it said at the start");
    });
}

#[test]
fn what_is_newly_listed_to_be_warmed_is_fetched_and_what_was_is_not_again() {
    play(async {
        let origin = Origin::counting().await;
        let proxy =
            Proxy::start(&origin, "routes: { /a: 1h, /b: 1h }\nwarm: { requests: [{ get: /a }] }").await;
        proxy.ready().await;
        assert_eq!(origin.count(), 1);
        let two = "routes: { /a: 1h, /b: 1h }\nwarm: { requests: [{ get: /a }, { get: /b }] }";
        proxy.reload(&origin, two).await;
        origin.arrived(2).await;
        assert_eq!(origin.last().target, "/b");
        proxy.becomes("/b", "HIT").await;
        proxy.reload(&origin, two).await;
        let tasks = proxy.admin("/v1/warm").await.json();
        assert_eq!(tasks["tasks"].as_array().unwrap().len(), 2, "{tasks}");
        proxy.settled().await;
        assert_eq!(origin.count(), 2);
    });
}

#[test]
fn without_somebody_who_reads_it_nobody_reloads() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, "routes: { /a: 1h }").await;
        drop(proxy.reloads());
        let reply = proxy.admin_ask("POST", "/v1/config/reload").json(&json!({})).reply().await;
        assert_eq!(reply.status, 503);
        let form = proxy
            .admin_ask("POST", "/v1/config/reload")
            .header("content-type", "text/plain")
            .body("{}")
            .reply()
            .await;
        assert_eq!(form.status, 415, "no page can ask for it");
    });
}
