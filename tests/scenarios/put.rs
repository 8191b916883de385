//! An answer that somebody brings is what everybody gets, as if the origin had said it.

use serde_json::{Value, json};

use crate::harness::client::Reply;
use crate::harness::origin::{Answer, Origin};
use crate::harness::proxy::Proxy;
use crate::harness::{Gate, play};

const YAML: &str = "
routes:
  /stats: { ttl: 10m, tags: stats, body_tags: 'team:$.teams[*].id' }
  /text: { ttl: 10m, forward_tags: true }
  /mine: { scope: user }
  /off/{rest:path}: bypass
  /small: { ttl: 1m, entry: 10B }
  /job: { ttl: 1m, store_if: { path: $.state, in: [done] } }
";

async fn put(proxy: &Proxy, brought: Value) -> Reply {
    proxy.admin_ask("PUT", "/v1/entries").json(&brought).reply().await
}

#[test]
fn what_is_put_is_a_hit_for_everybody_until_something_that_it_carries_is_outdated() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, YAML).await;
        for (outdated, dropped) in [("stats", true), ("team:7", true), ("extra", true), ("team:8", false)] {
            let headers = json!({ "surrogate-key": "extra", "cache-control": "max-age=60" });
            let brought =
                json!({ "target": "/stats?b=1&a=2", "headers": headers, "body": { "teams": [{ "id": 7 }] } });
            let kept = put(&proxy, brought).await;
            assert_eq!(kept.status, 201, "{}", kept.text());
            assert_eq!(
                (&kept.json()["target"], &kept.json()["whose"]),
                (&json!("/stats?a=2&b=1"), &json!("shared"))
            );
            proxy.pass_secs(2);
            let got = proxy.get("/stats?a=2&b=1").reply().await;
            assert_eq!((got.cache_status(), got.text()), ("larder; hit; ttl=58", r#"{"teams":[{"id":7}]}"#));
            assert_eq!(
                (got.header("content-type"), got.header("surrogate-key")),
                (Some("application/json"), None)
            );
            proxy.outdate(outdated).await;
            let cache = proxy.get("/stats?a=2&b=1").reply().await.cache().to_owned();
            assert_eq!(cache, if dropped { "MISS" } else { "HIT" }, "{outdated}");
        }
        let brought = json!({ "target": "/text", "headers": { "content-type": "text/plain", "cache-tag": "a" }, "body": "plain" });
        assert_eq!(put(&proxy, brought).await.status, 201);
        let got = proxy.ask("HEAD", "/text").reply().await;
        assert_eq!(
            (got.cache(), got.header("content-length"), got.header("cache-tag")),
            ("HIT", Some("5"), Some("a"))
        );
        let list = proxy.admin("/v1/invalidations?tag=/text").await.json();
        assert_eq!(list["invalidations"][0]["source"], "admin", "{list}");
    });
}

#[test]
fn what_is_put_takes_the_place_of_what_is_kept_and_of_what_is_being_fetched() {
    play(async {
        let gate = Gate::default();
        let held = Answer::json("1").held(&gate);
        let origin = Origin::telling([Answer::json("0"), held, Answer::json("2")]).await;
        let proxy = Proxy::start(&origin, YAML).await;
        proxy.get("/text?other").reply().await;
        let reading = proxy.get("/text").under_way();
        origin.arrived(2).await;
        assert_eq!(put(&proxy, json!({ "target": "/text", "body": "put" })).await.status, 201);
        assert_eq!(proxy.get("/text").reply().await.text(), "put");
        gate.open();
        assert_eq!(reading.await.unwrap().text(), "1", "who asked before gets what he asked for");
        assert_eq!(proxy.get("/text").reply().await.text(), "put", "and nobody else");
        assert_eq!(
            proxy.get("/text?other").reply().await.cache(),
            "MISS",
            "like a write, it outdates its path"
        );
    });
}

#[test]
fn what_may_not_be_kept_for_everybody_is_refused_and_outdates_nothing() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, YAML).await;
        proxy.get("/text").reply().await;
        let said =
            |field: &str, value: &str| json!({ "target": "/text", "headers": { field: value }, "body": "" });
        for (brought, why) in [
            (json!({ "target": "/mine", "body": "" }), "(no-credential)"),
            (json!({ "target": "/off/a", "body": "" }), "(route)"),
            (json!({ "target": "//text", "body": "" }), "(path-"),
            (json!({ "target": "/elsewhere", "body": "" }), "(no-freshness)"),
            (json!({ "target": "/small", "body": "more than that" }), "(entry-limit)"),
            (json!({ "target": "/job", "body": { "state": "open" } }), "(state-not-listed)"),
            (json!({ "target": "/text", "status": 500, "body": "" }), "(status)"),
            (json!({ "target": "/text", "status": 100, "body": "" }), "200 to 599"),
            (json!({ "target": "/text", "status": 600, "body": "" }), "200 to 599"),
            (said("cache-control", "private"), "(private)"),
            (said("set-cookie", "a=b"), "(set-cookie)"),
            (said("surrogate-key", "/a"), "(tags: "),
            (said("a b", "c"), "not well formed"),
            (json!({ "target": "text", "body": "" }), "the target is a path"),
            (json!({ "target": "/text" }), "missing field `body`"),
        ] {
            let refused = put(&proxy, brought.clone()).await;
            assert_eq!(refused.status, 422, "{brought}");
            assert!(refused.text().contains(why), "{brought}: {}", refused.text());
        }
        proxy.tell("/v1/cache/disable", json!({ "route": "/stats", "for": "1m" })).await;
        let off = put(&proxy, json!({ "target": "/stats", "body": "" })).await;
        assert!(off.text().contains("(disabled)"), "{}", off.text());
        assert_eq!(proxy.get("/text").reply().await.cache(), "HIT");
    });
}

#[test]
fn only_who_may_do_everything_puts() {
    play(async {
        let origin = Origin::counting().await;
        let admin =
            "admin: { listen: '127.0.0.1:0', token: s3cret, tokens: { ci: { token: c1, may: purge } } }";
        let proxy = Proxy::start(&origin, &format!("{YAML}{admin}\n")).await;
        for (token, status) in [(None, 401), (Some("c1"), 403), (Some("s3cret"), 201)] {
            let ask =
                proxy.admin_ask("PUT", "/v1/entries").json(&json!({ "target": "/text", "body": "put" }));
            let ask = match token {
                Some(token) => ask.header("authorization", &format!("Bearer {token}")),
                None => ask,
            };
            assert_eq!(ask.reply().await.status, status);
        }
    });
}
