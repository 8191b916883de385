//! Caching switched off by hand: for a route or for everything, for a while, and what goes on all the same.

use serde_json::json;

use crate::harness::origin::Origin;
use crate::harness::play;
use crate::harness::proxy::Proxy;

const TWO: &str = "routes: { '/a/{x}': { ttl: 5h, tags: a }, /b: 5h }";
const OFF: &str = "larder; fwd=bypass; detail=disabled";

async fn stored(proxy: &Proxy, targets: &[&str]) {
    for target in targets {
        proxy.get(target).reply().await;
        assert_eq!(proxy.get(target).reply().await.cache(), "HIT", "{target}");
    }
}

async fn cache_status(proxy: &Proxy, target: &str) -> String {
    proxy.get(target).reply().await.cache_status().to_owned()
}

#[test]
fn a_route_that_is_switched_off_passes_everything_until_its_time_and_drops_what_it_had() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, TWO).await;
        stored(&proxy, &["/a/1", "/a/2", "/b"]).await;
        let done = proxy.tell("/v1/cache/disable", json!({ "route": "/a/{x}", "for": "2h" })).await;
        assert_eq!((&done["invalidated"], &done["by_route"]), (&json!(2), &json!({ "/a/{x}": 2 })));
        let off = json!([{ "route": "/a/{x}", "left": "2h", "left_seconds": 7200.0 }]);
        assert_eq!(done["switches"], off);
        assert_eq!(proxy.admin("/v1/status").await.json()["switches"], off);
        assert_eq!(proxy.metric("larder_disabled").await, 1);
        for _ in 0..2 {
            assert_eq!(cache_status(&proxy, "/a/1").await, OFF);
        }
        assert_eq!(proxy.get("/b").reply().await.cache(), "HIT", "nobody else is concerned");
        assert_eq!(proxy.metric(r#"larder_bypass_total{route="/a/{x}",reason="disabled"}"#).await, 2);
        proxy.pass_secs(7199);
        assert_eq!(cache_status(&proxy, "/a/1").await, OFF);
        proxy.pass_secs(1);
        assert_eq!(proxy.get("/a/1").reply().await.cache(), "MISS", "what it had is not served again");
        assert_eq!(proxy.get("/a/1").reply().await.cache(), "HIT");
        assert_eq!(proxy.metric("larder_disabled").await, 0);
        assert_eq!(proxy.admin("/v1/status").await.json()["switches"], json!([]));
    });
}

#[test]
fn everything_is_switched_off_and_on_with_one_word() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, TWO).await;
        stored(&proxy, &["/a/1", "/b"]).await;
        assert_eq!(proxy.tell("/v1/cache/disable", json!({ "for": 60 })).await["invalidated"], 2);
        proxy.tell("/v1/cache/disable", json!({ "route": "/b", "for": "1h" })).await;
        for target in ["/a/1", "/b", "/elsewhere"] {
            assert_eq!(cache_status(&proxy, target).await, OFF, "{target}");
        }
        let health = proxy.admin("/api/cache/health").await.json();
        assert_eq!(
            (&health["status"], &health["layers"]["memory"]["status"]),
            (&json!("degraded"), &json!("degraded"))
        );
        assert_eq!(proxy.tell("/v1/cache/enable", json!({})).await, json!({ "switches": [] }));
        for target in ["/a/1", "/b"] {
            assert_eq!(proxy.get(target).reply().await.cache(), "MISS", "{target}");
            assert_eq!(proxy.get(target).reply().await.cache(), "HIT", "{target}");
        }
    });
}

#[test]
fn what_is_invalidated_meanwhile_is_invalidated() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, TWO).await;
        stored(&proxy, &["/b"]).await;
        proxy.tell("/v1/cache/disable", json!({ "route": "/a/{x}", "for": "1h" })).await;
        proxy.ask("PUT", "/b").reply().await;
        assert_eq!(proxy.get("/b").reply().await.cache(), "MISS");
        proxy.tell("/v1/cache/enable", json!({ "route": "/a/7" })).await;
        stored(&proxy, &["/a/1"]).await;
        proxy.tell("/v1/cache/disable", json!({ "route": "/b", "for": "1h" })).await;
        assert_eq!(proxy.tell("/v1/purge", json!({ "tags": ["a"] })).await["invalidated"], 1);
    });
}

#[test]
fn a_path_stands_for_its_route_and_a_route_that_is_none_is_said_to_be_none() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, TWO).await;
        let done = proxy.tell("/v1/cache/disable", json!({ "route": "/a/42?b=1", "for": "90s" })).await;
        assert_eq!(done["switches"][0]["route"], "/a/{x}");
        let slip = json!({ "route": "/a/{x}/", "for": "90s" });
        assert_eq!(proxy.tell("/v1/cache/disable", slip).await["switches"][0]["route"], "/a/{x}");
        for (route, hint) in [
            ("/c", "did you mean `/b`?"),
            ("a/{x}", "did you mean `/a/{x}`?"),
            ("/some/where/else", "see /v1/routes"),
        ] {
            let body = json!({ "route": route, "for": "90s" });
            let reply = proxy.admin_ask("POST", "/v1/cache/disable").json(&body).reply().await;
            assert_eq!(reply.status, 404, "{route}");
            assert!(reply.text().contains(hint), "{route}: {}", reply.text());
        }
        let forever = proxy.admin_ask("POST", "/v1/cache/disable").json(&json!({ "route": "/b" }));
        assert_eq!(forever.reply().await.status, 422, "there is no switch without an end");
    });
}

#[test]
fn what_the_configuration_switches_off_stays_off() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, &format!("enabled: false\n{TWO}")).await;
        proxy.tell("/v1/cache/enable", json!({})).await;
        assert_eq!(cache_status(&proxy, "/b").await, OFF);
        assert_eq!(proxy.metric("larder_disabled").await, 1);
        assert_eq!(proxy.admin("/v1/status").await.json()["enabled"], false);
    });
}
