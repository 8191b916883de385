//! Clients that other caches have taught, and pages that nobody has invited, at the admin listener.

use serde_json::{Value, json};

use crate::harness::client::{Ask, Reply};
use crate::harness::origin::Origin;
use crate::harness::play;
use crate::harness::proxy::Proxy;

const YAML: &str = "
routes:
  /shop/{x}: { ttl: 1h, tags: 'item:{x} shop' }
  /news: { ttl: 1h, tags: news }
";
const ALL: [&str; 3] = ["/shop/1", "/shop/2", "/news"];
const CLOUDFLARE: &str = "/client/v4/zones/023e105f4ecef8ad9ca31a8372d0c353/purge_cache";
const FASTLY: &str = "/service/SU1Z0isxPaozGVKXdv0eY";

/// Reads everything on one host so that it is stored.
async fn stored(proxy: &Proxy, host: &str) {
    for target in ALL {
        proxy.get(target).header("host", host).reply().await;
        let again = proxy.get(target).header("host", host).reply().await;
        assert_eq!(again.cache(), "HIT", "{target}");
    }
}

/// What of it is no longer stored.
async fn gone(proxy: &Proxy, host: &str) -> Vec<&'static str> {
    let mut gone = Vec::new();
    for target in ALL {
        if proxy.get(target).header("host", host).reply().await.cache() == "MISS" {
            gone.push(target);
        }
    }
    gone
}

async fn answered(ask: Ask) -> Value {
    let reply = ask.reply().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

#[test]
fn cloudflares_clients_purge_as_they_are_used_to() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, YAML).await;
        for (body, reached) in [
            (json!({ "purge_everything": true }), &ALL[..]),
            (json!({ "tags": ["item:1", "news"] }), &["/shop/1", "/news"]),
            (json!({ "files": ["https://www.example.com/shop/1?x=1"] }), &["/shop/1"]),
            (
                json!({ "files": [{ "url": "http://www.example.com/news", "headers": { "CF-Device-Type": "mobile" } }] }),
                &["/news"],
            ),
            (json!({ "prefixes": ["www.example.com/shop"] }), &["/shop/1", "/shop/2"]),
            (json!({ "hosts": ["www.example.com"] }), &ALL[..]),
            (json!({ "hosts": ["other.example.com"] }), &[]),
            (json!({ "prefixes": ["other.example.com/shop"] }), &[]),
        ] {
            stored(&proxy, "www.example.com").await;
            let told = answered(proxy.admin_ask("POST", CLOUDFLARE).json(&body)).await;
            assert_eq!(
                (&told["success"], &told["errors"], &told["messages"]),
                (&json!(true), &json!([]), &json!([])),
                "{body}"
            );
            assert!(told["result"]["id"].is_string(), "{told}");
            assert_eq!(gone(&proxy, "www.example.com").await, reached, "{body}");
        }
    });
}

#[test]
fn cloudflares_clients_are_refused_in_words_that_they_read() {
    play(async {
        let origin = Origin::counting().await;
        let yaml = format!("{YAML}\nadmin: {{ listen: '127.0.0.1:0', token: s3cret }}");
        let proxy = Proxy::start(&origin, &yaml).await;
        let ask = |body: &Value| proxy.admin_ask("POST", CLOUDFLARE).json(body);
        let forbidden = ask(&json!({ "purge_everything": true })).bearer("wrong").reply().await;
        let slip = ask(&json!({ "tag": ["news"] })).bearer("s3cret").reply().await;
        for (reply, status) in [(forbidden, 401), (slip, 422)] {
            assert_eq!(reply.status, status);
            assert_eq!(reply.header("content-type"), Some("application/problem+json"));
            let told = reply.json();
            assert_eq!((&told["success"], &told["result"]), (&json!(false), &Value::Null));
            assert_eq!(told["errors"], json!([{ "code": status, "message": told["detail"] }]));
            assert_eq!(told["status"], status, "and it is a problem all the same");
        }
    });
}

#[test]
fn fastlys_clients_purge_as_they_are_used_to() {
    play(async {
        let origin = Origin::counting().await;
        let yaml = format!(
            "{YAML}\nadmin: {{ listen: '127.0.0.1:0', tokens: {{ ci: {{ token: f1, may: purge }} }} }}"
        );
        let proxy = Proxy::start(&origin, &yaml).await;
        let ask = |path: &str| {
            let ask = proxy.admin_ask("POST", &format!("{FASTLY}{path}")).header("fastly-key", "f1");
            ask.header("accept", "application/json")
        };
        let host = "www.example.com";
        stored(&proxy, host).await;
        let one = answered(ask("/purge/item:1")).await;
        assert!(one["status"] == "ok" && one["id"].is_string(), "{one}");
        assert_eq!(gone(&proxy, host).await, ["/shop/1"]);
        let in_field = answered(ask("/purge").header("surrogate-key", "item:1 news")).await;
        assert_eq!(in_field.as_object().unwrap().keys().collect::<Vec<_>>(), ["item:1", "news"]);
        assert_eq!(gone(&proxy, host).await, ["/shop/1", "/news"]);
        let in_body = answered(ask("/purge").json(&json!({ "surrogate_keys": ["item:2"] }))).await;
        assert!(in_body["item:2"].is_string(), "{in_body}");
        assert_eq!(gone(&proxy, host).await, ["/shop/2"]);
        assert_eq!(answered(ask("/purge_all")).await["status"], "ok");
        assert_eq!(gone(&proxy, host).await, ALL);
        answered(ask("/purge/news").header("fastly-soft-purge", "1")).await;
        let listed =
            answered(proxy.admin_ask("GET", "/v1/entries?tag=news").header("fastly-key", "f1")).await;
        assert_eq!(listed["entries"][0]["state"], "soft");
        let last =
            answered(proxy.admin_ask("GET", "/v1/invalidations?limit=1").header("fastly-key", "f1")).await;
        assert_eq!(
            (&last["invalidations"][0]["actor"], &last["invalidations"][0]["mode"]),
            (&json!("ci"), &json!("soft"))
        );
    });
}

#[test]
fn what_a_fastapi_team_expects_of_a_cache_is_there() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, YAML).await;
        let host = format!("localhost:{}", proxy.address.port());
        stored(&proxy, &host).await;
        proxy.ask("POST", "/elsewhere").reply().await;
        let stats = proxy.admin("/api/cache/stats").await.json();
        for (key, value) in [
            ("hits", json!(3)),
            ("misses", json!(3)),
            ("hit_rate", json!(0.5)),
            ("bypassed", json!(1)),
            ("total_requests", json!(7)),
            ("size", json!(3)),
            ("entries", json!(3)),
            ("evictions", json!(0)),
        ] {
            assert_eq!(stats[key], value, "{key}");
        }
        assert!(stats["bytes"].as_u64().unwrap() > 3);
        assert_eq!(
            stats["by_route"]["/news"],
            json!({ "hits": 1, "misses": 1, "hit_rate": 0.5, "entries": 1 })
        );
        assert_eq!(stats["by_layer"]["memory"]["entries"], 3);
        let by_layer = proxy.admin("/api/v1/cache/stats?by=layer").await.json();
        assert!(by_layer["by_route"].is_null() && by_layer["by_layer"].is_object(), "{by_layer}");
        let health = proxy.admin("/api/cache/health").await.json();
        assert_eq!(
            (&health["status"], &health["layers"]["memory"]["status"]),
            (&json!("healthy"), &json!("healthy"))
        );
        for (body, reached) in [
            (json!({ "pattern": "/shop/*" }), &["/shop/1", "/shop/2"][..]),
            (json!({ "pattern": "item:*" }), &["/shop/1", "/shop/2"]),
            (json!({ "tags": "news", "pattern": ["item:1"] }), &["/shop/1", "/news"]),
        ] {
            let done = proxy.tell("/api/cache/invalidate", body.clone()).await;
            assert_eq!(
                (&done["success"], &done["invalidated"]),
                (&json!(true), &json!(reached.len())),
                "{body}"
            );
            assert_eq!(gone(&proxy, &host).await, reached, "{body}");
        }
        assert_eq!(
            proxy.admin("/api/v1/cache/stats").await.json()["invalidations"],
            4,
            "a write was one, too"
        );
        assert_eq!(proxy.admin("/api/cache/warm").await.status, 405, "it is asked for by POST");
    });
}

#[test]
fn the_endpoints_of_an_applications_cache_stand_where_it_had_them() {
    play(async {
        let origin = Origin::counting().await;
        for path in ["/internal/cache", "/api/v1/cache"] {
            let admin = format!("admin: {{ listen: '127.0.0.1:0', cache_path: {path} }}\n");
            let proxy = Proxy::start(&origin, &admin).await;
            for name in ["stats", "health"] {
                assert_eq!(proxy.admin(&format!("{path}/{name}")).await.status, 200, "{path}/{name}");
            }
            proxy.tell(&format!("{path}/invalidate"), json!({ "pattern": "/shop/*" })).await;
            assert_eq!(proxy.admin("/api/v1/cache/stats").await.status, 200);
            assert_eq!(proxy.admin("/api/cache/stats").await.status, 404);
            let file = proxy.admin("/openapi.json").await.json();
            assert!(
                file["paths"][format!("{path}/health")].is_object()
                    && file["paths"]["/api/cache/health"].is_null()
            );
            assert!(file["paths"]["/api/v1/cache/stats"]["get"].is_object());
        }
    });
}

#[test]
fn an_origin_that_is_away_degrades_and_is_no_error() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, YAML).await;
        assert_eq!(
            proxy.admin("/v1/status").await.json()["upstream"],
            json!({ "reachable": true, "error": null })
        );
        origin.stop().await;
        let health = proxy.admin("/api/cache/health").await;
        assert_eq!(health.status, 200);
        assert_eq!(
            (&health.json()["status"], &health.json()["upstream"]["status"]),
            (&json!("degraded"), &json!("degraded"))
        );
        assert_eq!(proxy.admin("/v1/status").await.json()["upstream"]["reachable"], false);
    });
}

#[test]
fn no_page_purges_by_a_form_a_script_or_a_name_that_it_rebinds() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, YAML).await;
        stored(&proxy, "www.example.com").await;
        let bait = json!({ "all": true, "purge_everything": true }).to_string();
        for path in
            ["/v1/purge", "/v1/events", CLOUDFLARE, &format!("{FASTLY}/purge_all"), "/api/cache/invalidate"]
        {
            let ask = || proxy.admin_ask("POST", path).body(bait.clone());
            let json = || ask().header("content-type", "application/json");
            let refused = [
                (ask().header("content-type", "text/plain"), 415),
                (ask().header("content-type", "application/x-www-form-urlencoded"), 415),
                (ask(), 415),
                (json().header("host", "rebound.example"), 421),
                (json().header("origin", "https://evil.example"), 403),
                (json().header("origin", "null"), 403),
                (proxy.admin_ask("POST", path).header("origin", "https://evil.example"), 403),
            ];
            for (ask, status) in refused {
                let reply: Reply = ask.reply().await;
                assert_eq!(reply.status, status, "{path}");
                assert_eq!(reply.header("content-type"), Some("application/problem+json"));
            }
        }
        assert_eq!(gone(&proxy, "www.example.com").await, [""; 0]);
    });
}

#[test]
fn a_webhook_is_received_on_the_admin_listener_too_and_its_signature_is_its_lock() {
    play(async {
        let origin = Origin::counting().await;
        let yaml = format!(
            "{YAML}\nadmin: {{ listen: '127.0.0.1:0', token: s3cret }}\nwebhooks: {{ /hooks/cms: {{ scheme: bearer, secrets: h1 }} }}"
        );
        let proxy = Proxy::start(&origin, &yaml).await;
        let ask = |token: &str| proxy.admin_ask("POST", "/hooks/cms").bearer(token).json(&json!("news"));
        stored(&proxy, "www.example.com").await;
        assert_eq!(ask("wrong").reply().await.status, 401);
        assert_eq!(gone(&proxy, "www.example.com").await, [""; 0]);
        assert_eq!(answered(ask("h1")).await["invalidated"], 1);
        assert_eq!(gone(&proxy, "www.example.com").await, ["/news"]);
        assert_eq!(proxy.admin_ask("GET", "/hooks/cms").reply().await.status, 405);
        let elsewhere = ask("h1").header("host", "rebound.example").reply().await;
        assert_eq!(elsewhere.status, 421, "no door of this listener is open to other names");
    });
}
