//! What a backend, a CMS or a forge says by a signed webhook is outdated when the answer leaves; what nobody signed
//! changes nothing, and none of it reaches the origin.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::harness::client::{Ask, Reply};
use crate::harness::origin::{Answer, Origin};
use crate::harness::proxy::Proxy;
use crate::harness::{Gate, play};

/// One webhook of each scheme, a route that has the path of one, and rules for named events.
const YAML: &str = r#"
routes:
  /projects/{id}: 1h
  /hooks/standard: 1h
events:
  "project.*": "/projects/{id}"
  issues.opened: "/projects/{number}"
  customer.updated: "/projects/{customer}"
webhooks:
  /hooks/standard: { scheme: standard, secrets: [an older secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] }
  /hooks/github: { scheme: github, secrets: "It's a Secret to Everybody" }
  /hooks/stripe: { scheme: stripe, secrets: whsec_stripe }
  /hooks/cloudevents: { scheme: cloudevents, secrets: a token }
  /hooks/bearer: { scheme: bearer, secrets: a token }
"#;

fn seconds(proxy: &Proxy) -> u64 {
    proxy.clock.now().wall.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn hmac(key: &[u8], message: &str) -> Vec<u8> {
    Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(message).finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A Standard Webhook, as its specification says how to sign one.
fn standard(proxy: &Proxy, secret: &[u8], id: &str, at: u64, body: &str) -> Ask {
    let signature = BASE64.encode(hmac(secret, &format!("{id}.{at}.{body}")));
    proxy
        .ask("POST", "/hooks/standard")
        .header("webhook-id", id)
        .header("webhook-timestamp", &at.to_string())
        .header("webhook-signature", &format!("v1,{signature}"))
        .body(body.to_owned())
}

/// The same, in order.
fn said(proxy: &Proxy, id: &str, body: &str) -> Ask {
    standard(proxy, b"an older secret", id, seconds(proxy), body)
}

fn told(reply: &Reply) -> Value {
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    serde_json::from_slice(&reply.body).unwrap_or_else(|_| panic!("{}", reply.text()))
}

/// Reads `/projects/1` so that it is stored.
async fn stored(proxy: &Proxy) {
    proxy.get("/projects/1").reply().await;
    assert_eq!(proxy.get("/projects/1").reply().await.cache(), "HIT");
}

#[test]
fn every_scheme_outdates_what_it_names_before_it_is_answered_and_its_copy_does_nothing() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, YAML).await;
        let now = seconds(&proxy);
        let ask = |scheme: &str| proxy.ask("POST", &format!("/hooks/{scheme}"));
        let whsec = BASE64.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let messages: [(&str, &dyn Fn() -> Ask); 7] = [
            ("standard", &|| {
                standard(&proxy, &whsec, "m1", now, r#"{"tags": ["//x/y"], "paths": ["/projects/1"]}"#)
            }),
            ("the secret that goes", &|| said(&proxy, "m2", "/projects/1")),
            ("github", &|| {
                let body = r#"{"action": "opened", "number": 1}"#;
                let signature = hex(&hmac(b"It's a Secret to Everybody", body));
                ask("github")
                    .header("x-github-event", "issues")
                    .header("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
                    .header("x-hub-signature-256", &format!("sha256={signature}"))
                    .body(body)
            }),
            ("stripe", &|| {
                let body = r#"{"id": "evt_1", "object": "event", "type": "customer.updated", "data": {"customer": "1"}}"#;
                let signature = hex(&hmac(b"whsec_stripe", &format!("{now}.{body}")));
                ask("stripe").header("stripe-signature", &format!("t={now},v1={signature}")).body(body)
            }),
            ("cloudevents", &|| {
                ask("cloudevents").header("authorization", "Bearer a token").body(
                    r#"{"specversion": "1.0", "type": "project.updated", "source": "/crm", "id": "1", "data": {"id": 1}}"#,
                )
            }),
            ("cloudevents in binary mode", &|| {
                ask("cloudevents")
                    .header("authorization", "Bearer a token")
                    .header("ce-specversion", "1.0")
                    .header("ce-type", "project.updated")
                    .header("ce-source", "/crm")
                    .header("ce-id", "2")
                    .body(r#"{"id": 1}"#)
            }),
            ("bearer", &|| {
                ask("bearer")
                    .header("authorization", "bearer a token")
                    .body(r#"{"prefixes": ["/projects"], "id": "b1"}"#)
            }),
        ];
        for (nth, (name, message)) in messages.into_iter().enumerate() {
            stored(&proxy).await;
            let reads = origin.count();
            let reply = message().reply().await;
            assert_eq!(reply.status, 200, "{name}: {}", reply.text());
            let mut told_first = told(&reply);
            let position = told_first["position"].take();
            assert_eq!(told_first, json!({ "position": null, "invalidated": 1, "matched": true }), "{name}");
            assert!(position.as_str().unwrap().ends_with(&format!("-{}", nth + 1)), "{name}: {position}");
            assert_eq!(proxy.get("/projects/1").reply().await.cache(), "MISS", "{name}");
            assert_eq!(told(&message().reply().await), json!({ "duplicate": true }), "{name}");
            assert_eq!(proxy.get("/projects/1").reply().await.cache(), "HIT", "{name}");
            assert_eq!(origin.count(), reads + 1, "{name}: it is not forwarded");
        }
        let counted = r#"larder_invalidations_total{source="webhook",mode="hard"}"#;
        assert_eq!(proxy.metric(counted).await, 7);
        assert_eq!(proxy.metric("larder_invalidated_entries_total").await, 7);
    });
}

#[test]
fn a_fetch_under_way_during_a_webhook_is_good_only_for_who_asked_before() {
    play(async {
        let gate = Gate::default();
        let origin = Origin::telling([Answer::json("old").held(&gate), Answer::json("new")]).await;
        let proxy = Proxy::start(&origin, YAML).await;
        let early = proxy.get("/projects/1").under_way();
        origin.arrived(1).await;
        assert_eq!(
            said(&proxy, "m1", r#"{"type": "project.updated", "data": {"id": 1}}"#).reply().await.status,
            200
        );
        assert_eq!(proxy.get("/projects/1").reply().await.text(), "new");
        gate.open();
        assert_eq!(early.await.unwrap().text(), "old");
        let after = proxy.get("/projects/1").reply().await;
        assert_eq!((after.text(), after.cache()), ("new", "HIT"));
    });
}

#[test]
fn what_nobody_signed_or_not_now_changes_nothing_and_is_told_why() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, YAML).await;
        stored(&proxy).await;
        let now = seconds(&proxy);
        let all = r#"{"all": true}"#;
        let with = |at| standard(&proxy, b"an older secret", "m1", at, all);
        for (ask, why) in [
            (proxy.ask("POST", "/hooks/standard").body(all), "the message is not signed"),
            (standard(&proxy, b"another secret", "m1", now, all), "the signature does not match"),
            (with(now).body(r#"{"all": true} "#), "the signature does not match"),
            (with(now - 301), "the message was signed more than five minutes ago"),
            (with(now + 301), "the message was signed more than five minutes ahead"),
            (proxy.ask("POST", "/hooks/bearer").body(all), "the message is not signed"),
            (
                proxy.ask("POST", "/hooks/bearer").header("authorization", "Bearer a tokem").body(all),
                "the signature does not match",
            ),
        ] {
            let reply = ask.reply().await;
            assert_eq!(reply.status, 401, "{}", reply.text());
            assert_eq!(reply.header("content-type"), Some("application/problem+json"));
            assert!(reply.header("www-authenticate").is_some());
            let detail = told(&reply)["detail"].as_str().unwrap().to_owned();
            assert!(detail.starts_with(why), "{detail}");
            assert!(!reply.text().contains("secret ") && !reply.text().contains("token"), "{detail}");
        }
        assert_eq!(proxy.get("/projects/1").reply().await.cache(), "HIT");
        assert_eq!(origin.count(), 1);
        assert_eq!(proxy.metric(r#"larder_webhooks_refused_total{reason="forged"}"#).await, 3);
        assert_eq!(proxy.metric(r#"larder_webhooks_refused_total{reason="late"}"#).await, 1);
        let requests =
            r#"larder_requests_total{route="/hooks/standard",method="POST",code="401",cache="bypass"}"#;
        assert_eq!(proxy.metric(requests).await, 5);
    });
}

#[test]
fn a_message_that_is_not_understood_is_refused_whole_and_one_that_matches_nothing_says_so() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, YAML).await;
        stored(&proxy).await;
        for (nth, (body, status, says)) in [
            ("{", 400, "this is no JSON"),
            ("", 422, "names nothing"),
            (r#"{"paths": ["/projects/1"], "sotf": true}"#, 422, "unknown field `sotf`"),
            (r#"{"paths": {"a": 1}}"#, 422, "expected a list of strings"),
        ]
        .into_iter()
        .enumerate()
        {
            let reply = said(&proxy, &format!("m{nth}"), body).reply().await;
            assert_eq!(reply.status, status, "{body}");
            assert!(reply.text().contains(says), "{}", reply.text());
        }
        let reply = said(&proxy, "m9", r#"{"type": "user.new", "data": {"id": 1}}"#).reply().await;
        assert_eq!(told(&reply), json!({ "invalidated": 0, "matched": false, "event": "user.new" }));
        assert_eq!(proxy.metric("larder_events_unmatched_total").await, 1);
        let large = said(&proxy, "m10", &"a ".repeat(200_000)).reply().await;
        assert_eq!(large.status, 413);
        assert_eq!(proxy.get("/projects/1").reply().await.cache(), "HIT");
        assert_eq!(origin.count(), 1);
    });
}

#[test]
fn a_push_of_a_thousand_commits_is_read_whole_and_no_larger_one_at_either_door() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, YAML).await;
        let push = |ask: Ask, length: usize| {
            let empty = r#"{"number": 1, "action": "opened", "commits": ""}"#;
            let body = empty.replace(r#""""#, &format!("\"{}\"", "c".repeat(length - empty.len())));
            let signature = hex(&hmac(b"It's a Secret to Everybody", &body));
            ask.header("x-github-event", "issues")
                .header("x-github-delivery", &format!("{length} at a door"))
                .header("x-hub-signature-256", &format!("sha256={signature}"))
                .body(body)
        };
        for aside in [false, true] {
            let ask = || match aside {
                false => proxy.ask("POST", "/hooks/github"),
                true => proxy.admin_ask("POST", "/hooks/github"),
            };
            let most = (1 << 20) - usize::from(aside);
            stored(&proxy).await;
            assert_eq!(told(&push(ask(), most).reply().await)["invalidated"], 1);
            stored(&proxy).await;
            let large = push(ask(), (1 << 20) + 1).reply().await;
            assert_eq!(
                (large.status.as_u16(), large.header("content-type")),
                (413, Some("application/problem+json"))
            );
            assert!(large.text().contains("1048576 bytes"), "{}", large.text());
            assert_eq!(proxy.get("/projects/1").reply().await.cache(), "HIT");
        }
    });
}

#[test]
fn only_post_is_for_a_webhook_and_nothing_under_its_path_is_forwarded() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, YAML).await;
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
            for path in ["/hooks/standard", "/hooks/standard/", "/hooks/st%61ndard?x=1"] {
                let reply = proxy.ask(method, path).reply().await;
                assert_eq!(
                    (reply.status.as_u16(), reply.header("allow")),
                    (405, Some("POST")),
                    "{method} {path}"
                );
            }
        }
        assert_eq!(proxy.ask("POST", "/hooks/standard/").reply().await.status, 401);
        assert_eq!(origin.count(), 0);
        assert_eq!(
            proxy.ask("POST", "/hooks/other").reply().await.status,
            200,
            "what is no webhook is the origin's"
        );
    });
}

#[test]
fn everything_may_be_thrown_out_ten_times_in_a_row() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, YAML).await;
        let all = |n: u32| said(&proxy, &format!("m{n}"), r#"{"all": true}"#).reply();
        for n in 0..10 {
            assert_eq!(all(n).await.status, 200);
        }
        let refused = all(10).await;
        assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, Some("1")));
        proxy.pass(Duration::from_secs(1));
        assert_eq!(all(10).await.status, 200, "the one that was refused may come again");
    });
}
