//! Shadow mode: the origin answers everything, as if there were no cache, and it is told what the cache would have answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use larder::flow::explain::asked::Asked;
use larder::flow::explain::wire::Becomes;
use serde_json::{Value, json};

use crate::harness::client::{Ask, Reply, ask};
use crate::harness::origin::{Answer, Origin, Part, Seen};
use crate::harness::proxy::Proxy;
use crate::harness::redis::Redis;
use crate::harness::{Gate, play};

const ONE: &str = "routes: { '/a/{id}': { ttl: 10m, tags: 'a:{id}', mode: shadow } }\n";
const STATUS: &str = "larder; fwd=bypass; detail=shadow";
/// Under which several nodes are known.
const HOST: &str = "api.example";

async fn would(proxy: &Proxy, word: &str) -> u64 {
    proxy.metric(&format!(r#"larder_shadow_requests_total{{route="/a/{{id}}",would="{word}"}}"#)).await
}

/// Waits until so many answers that the cache would have given were found `result`.
async fn compared(proxy: &Proxy, result: &str, times: u64) {
    proxy
        .counts(&format!(r#"larder_shadow_checks_total{{route="/a/{{id}}",result="{result}"}}"#), times)
        .await;
}

async fn told(proxy: &Proxy) -> Value {
    proxy.admin("/v1/usage").await.json()["all"]["shadow"].clone()
}

/// The fields of a message, in an order that two share.
type Fields = Vec<(String, Vec<u8>)>;

/// What a client can tell one answer from another by; what the proxy says of itself, and time, are not.
fn bytes(reply: &Reply) -> (u16, Fields, Vec<u8>) {
    let ours = ["cache-status", "x-cache", "date"];
    let mut fields: Fields = reply
        .headers
        .iter()
        .filter(|(name, _)| !ours.contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect();
    fields.sort();
    (reply.status.as_u16(), fields, reply.body.to_vec())
}

#[test]
fn every_request_is_answered_by_the_origin_and_what_the_cache_would_have_done_is_counted() {
    play(async {
        let origin = Origin::start(|_| Answer::json("same")).await;
        let proxy = Proxy::start(&origin, ONE).await;
        for nth in 1..=5 {
            let reply = proxy.get("/a/1").reply().await;
            assert_eq!((reply.cache(), reply.cache_status(), reply.text()), ("BYPASS", STATUS, "same"));
            assert_eq!((reply.header("age"), origin.count()), (None, nth));
        }
        assert_eq!((would(&proxy, "miss").await, would(&proxy, "hit").await), (1, 4));
        compared(&proxy, "same", 4).await;
        proxy.pass_secs(601);
        proxy.get("/a/1").reply().await;
        assert_eq!((would(&proxy, "miss").await, would(&proxy, "hit").await), (2, 4), "its life had ended");
        let told = told(&proxy).await;
        assert_eq!((&told["requests"]["all"], &told["origin_calls_saved"]), (&json!(6), &json!(4)));
        assert_eq!((&told["hit_ratio"], &told["stale_per_million"]), (&json!(4.0 / 6.0), &json!(0.0)));
        let usage = proxy.admin("/v1/usage").await.json();
        assert_eq!((&usage["all"]["hit_ratio"], &usage["all"]["bytes_hit"]), (&Value::Null, &json!(0)));
        let routes = proxy.admin("/v1/routes").await.json();
        assert_eq!(
            (&routes["routes"][0]["mode"], &routes["routes"][1]["mode"]),
            (&json!("shadow"), &json!("cache"))
        );
    });
}

/// An origin with everything that a cache would touch.
async fn motley() -> Origin {
    Origin::start(|seen| {
        let path = seen.target.split('?').next().unwrap_or_default();
        let tagged = |answer: Answer| {
            answer.header("etag", "\"v1\"").header("last-modified", "Tue, 01 Jul 2025 00:00:00 GMT")
        };
        match path {
            "/a/etag" if seen.header("if-none-match") == Some("\"v1\"") => tagged(Answer::new(304)),
            "/a/etag" => tagged(Answer::json("{\"a\": 1}")),
            "/a/part" if seen.header("range").is_some() => {
                tagged(Answer::new(206).header("content-range", "bytes 0-1/8").text("{\""))
            }
            "/a/part" => tagged(Answer::json("{\"a\": 1}")),
            "/a/cookie" => {
                Answer::json("mine").header("set-cookie", "sid=1; Path=/").header("set-cookie", "b=2")
            }
            "/a/head" if seen.method == "HEAD" => tagged(Answer::new(405).header("allow", "GET")),
            "/a/echo" => Answer::json(format!(
                "{} {} {:?} {:?} {:?} {:?}",
                seen.method,
                seen.target,
                seen.header("authorization"),
                seen.header("cookie"),
                seen.header("if-none-match"),
                seen.header("accept-encoding"),
            )),
            "/a/tags" => Answer::json("t").header("vary", "Accept").header("age", "7"),
            "/a/empty" => Answer::new(204),
            "/a/chunks" => Answer::new(200).part(Part::Bytes("one".into())).part(Part::Bytes("two".into())),
            "/a/500" => Answer::new(500).text("broken"),
            "/a/no-store" => Answer::json("s").header("cache-control", "no-store"),
            _ => Answer::new(404).text("nothing"),
        }
    })
    .await
}

fn mixed(address: std::net::SocketAddr) -> Vec<Ask> {
    let get = |target: &str| ask(address, "GET", target);
    vec![
        get("/a/etag"),
        get("/a/etag").header("if-none-match", "\"v1\""),
        get("/a/etag").header("if-none-match", "\"v0\""),
        get("/a/part").header("range", "bytes=0-1"),
        get("/a/part"),
        get("/a/part").header("range", "bytes=0-1"),
        get("/a/cookie"),
        ask(address, "HEAD", "/a/head"),
        ask(address, "HEAD", "/a/etag"),
        get("/a/echo?utm_source=x&b=2&a=1&b=1")
            .header("authorization", "Bearer t")
            .header("cookie", "sid=1; _ga=2"),
        get("/a/echo?utm_source=x").header("accept-encoding", "br;q=0.5, zstd, gzip"),
        get("/a/echo?utm_source=y").header("if-none-match", "\"x\"").header("cache-control", "no-cache"),
        get("/a/tags").header("accept", "text/html"),
        get("/a/empty"),
        get("/a/chunks"),
        get("/a/500"),
        get("/a/no-store"),
        get("/a/absent"),
        ask(address, "OPTIONS", "/a/etag"),
        ask(address, "POST", "/a/echo").body("x=1"),
    ]
}

#[test]
fn a_mixed_set_of_requests_gets_the_bytes_that_it_gets_without_a_cache() {
    play(async {
        let origin = motley().await;
        let rest = "ttl: 10m, negative: { 404: 1m }, ignore_query: utm_*, scope: public";
        let shadow =
            Proxy::start(&origin, &format!("routes: {{ '/a/{{id}}': {{ mode: shadow, {rest} }} }}\n")).await;
        let none = Proxy::start(&origin, "routes: { '/a/{id}': bypass }\n").await;
        for round in 0..3 {
            for (nth, (one, other)) in mixed(shadow.address).into_iter().zip(mixed(none.address)).enumerate()
            {
                let (one, other) = (one.reply().await, other.reply().await);
                // The two proxies have ports of their own, and the origin is told of none.
                assert_eq!(bytes(&one), bytes(&other), "round {round}, request {nth}");
                assert_eq!((one.whole, other.whole), (true, true));
            }
        }
        let (seen, plain) =
            origin.seen().into_iter().enumerate().partition::<Vec<_>, _>(|(nth, _)| nth % 2 == 0);
        let sent = |seen: &Seen| {
            let ours = ["host", "x-request-id", "x-forwarded-host"];
            let mut fields: Vec<_> = seen
                .headers
                .iter()
                .filter(|(name, _)| !ours.contains(&name.as_str()))
                .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
                .collect();
            fields.sort();
            (seen.method.clone(), seen.target.clone(), fields, seen.body.clone())
        };
        for ((_, one), (_, other)) in seen.iter().zip(&plain) {
            assert_eq!(sent(one), sent(other), "and the origin gets the same requests");
        }
    });
}

#[test]
fn streams_pass_without_being_held() {
    play(async {
        for kind in ["text/event-stream", "application/json"] {
            let gate = Gate::default();
            let held = gate.clone();
            let origin = Origin::start(move |_| {
                Answer::new(200)
                    .header("content-type", kind)
                    .part(Part::Bytes("first".into()))
                    .part(Part::Gate(held.clone()))
                    .part(Part::Bytes("last".into()))
            })
            .await;
            let proxy = Proxy::start(&origin, ONE).await;
            let mut body = proxy.get("/a/1").head().await.into_body();
            assert_eq!(crate::harness::client::next(&mut body).await, "first", "{kind}");
            gate.open();
            assert_eq!(body.collect().await.unwrap().to_bytes(), "last", "{kind}");
            let kept = if kind == "application/json" { "miss" } else { "bypass" };
            assert_eq!(would(&proxy, kept).await, 1, "{kind}");
        }
    });
}

#[test]
fn nothing_is_served_from_what_is_kept_whatever_the_client_puts_up_with() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, ONE).await;
        proxy.get("/a/1").reply().await;
        for asked in ["only-if-cached", "max-stale=1000", "max-stale", "only-if-cached, max-stale"] {
            let before = origin.count();
            let reply = proxy.get("/a/1").header("cache-control", asked).reply().await;
            assert_eq!((reply.cache_status(), origin.count()), (STATUS, before + 1), "{asked}");
            assert_eq!(origin.last().header("cache-control"), Some(asked), "it goes along");
        }
        origin.stop().await;
        let reply = proxy.get("/a/1").reply().await;
        assert_eq!(
            (reply.status.as_u16(), reply.cache()),
            (502, "BYPASS"),
            "not even for an origin that is gone"
        );
        assert_eq!(would(&proxy, "hit").await, 5);
    });
}

#[test]
fn what_changes_in_silence_is_found_and_lives_on_until_its_life_ends() {
    play(async {
        let version = Arc::new(AtomicUsize::new(1));
        let told_by = Arc::clone(&version);
        let origin =
            Origin::start(move |_| Answer::json(format!("v{}", told_by.load(Ordering::SeqCst)))).await;
        let proxy = Proxy::start(&origin, ONE).await;
        proxy.get("/a/1").reply().await;
        proxy.get("/a/1").reply().await;
        compared(&proxy, "same", 1).await;
        version.store(2, Ordering::SeqCst);
        for _ in 0..3 {
            assert_eq!(proxy.get("/a/1").reply().await.text(), "v2", "the client has the truth");
        }
        compared(&proxy, "stale", 3).await;
        assert_eq!(would(&proxy, "hit").await, 4);
        let shadow = told(&proxy).await;
        assert_eq!(
            (&shadow["stale_per_million"], &shadow["checks"]["stale"]),
            (&json!(750_000.0), &json!(3))
        );
        assert!(
            shadow["interval"][0].as_f64() < Some(750_000.0)
                && shadow["interval"][1].as_f64() > Some(750_000.0)
        );
        proxy.outdate("a:1").await;
        proxy.get("/a/1").reply().await;
        proxy.get("/a/1").reply().await;
        compared(&proxy, "same", 2).await;
    });
}

#[test]
fn a_write_outdates_what_is_kept_and_what_was_fetched_before_it_is_not_kept() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| match seen.method.as_str() {
            "PUT" => Answer::new(204),
            _ if seen.header("x-slow").is_some() => {
                Answer::new(200).part(Part::Bytes("old".into())).held(&held)
            }
            _ => Answer::json("new"),
        })
        .await;
        let proxy = Proxy::start(&origin, ONE).await;
        let slow = proxy.get("/a/1").header("x-slow", "1").under_way();
        origin.arrived(1).await;
        assert_eq!(proxy.ask("PUT", "/a/1").reply().await.status, 204);
        gate.open();
        assert_eq!(slow.await.unwrap().text(), "old", "he asked before");
        proxy.counts(r#"larder_fills_discarded_total{reason="invalidated"}"#, 1).await;
        proxy.get("/a/1").reply().await;
        assert_eq!((would(&proxy, "miss").await, would(&proxy, "hit").await), (2, 0));
        proxy.get("/a/1").reply().await;
        assert_eq!(would(&proxy, "hit").await, 1);
        proxy.ask("PUT", "/a/1").reply().await;
        proxy.get("/a/1").reply().await;
        assert_eq!((would(&proxy, "miss").await, would(&proxy, "hit").await), (3, 1));
    });
}

#[test]
fn who_would_have_waited_for_another_waits_for_nobody() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |_| Answer::json("x").held(&held)).await;
        let proxy = Proxy::start(&origin, ONE).await;
        let asked: Vec<_> = (0..3).map(|_| proxy.get("/a/1").under_way()).collect();
        origin.arrived(3).await;
        gate.open();
        crate::harness::client::all(asked).await;
        assert_eq!((would(&proxy, "miss").await, would(&proxy, "collapsed").await), (1, 2));
        let told = told(&proxy).await;
        assert_eq!((&told["hit_ratio"], &told["origin_calls_saved"]), (&json!(0.0), &json!(2)));
    });
}

#[test]
fn credentials_have_entries_of_their_own_and_nobody_sees_anybody_elses() {
    play(async {
        let origin =
            Origin::start(|seen| Answer::json(seen.header("authorization").unwrap_or("nobody"))).await;
        for (scope, hits, stale) in [("auto", 3, 0), ("public", 5, 5)] {
            let proxy = Proxy::start(&origin, &ONE.replace("mode:", &format!("scope: {scope}, mode:"))).await;
            for _ in 0..2 {
                for who in ["Bearer a", "Bearer b"] {
                    let reply = proxy.get("/a/1").header("authorization", who).reply().await;
                    assert_eq!(reply.text(), who);
                }
                assert_eq!(proxy.get("/a/1").reply().await.text(), "nobody");
            }
            assert_eq!(would(&proxy, "hit").await, hits, "{scope}");
            if stale > 0 {
                // That it is not public shows as bodies that differ.
                compared(&proxy, "stale", 4).await;
            }
            compared(&proxy, "same", if stale > 0 { 1 } else { hits }).await;
        }
    });
}

#[test]
fn what_a_client_asked_for_in_part_fills_nothing_and_is_compared_where_tags_tell() {
    play(async {
        let origin = motley().await;
        let proxy = Proxy::start(&origin, ONE).await;
        proxy.ask("HEAD", "/a/etag").reply().await;
        proxy.get("/a/etag").header("if-none-match", "\"v1\"").reply().await;
        proxy.get("/a/part").header("range", "bytes=0-1").reply().await;
        assert_eq!(would(&proxy, "miss").await, 3);
        proxy.get("/a/etag").reply().await;
        proxy.get("/a/part").reply().await;
        assert_eq!(would(&proxy, "miss").await, 5);
        proxy.ask("HEAD", "/a/etag").reply().await;
        proxy.get("/a/etag").header("if-none-match", "\"v1\"").reply().await;
        proxy.get("/a/part").header("range", "bytes=0-1").reply().await;
        assert_eq!(would(&proxy, "hit").await, 3);
        compared(&proxy, "same", 3).await;
    });
}

#[test]
fn what_is_too_old_would_have_been_confirmed_where_its_validator_still_holds() {
    play(async {
        let origin = motley().await;
        let proxy = Proxy::start(&origin, ONE).await;
        proxy.get("/a/etag").reply().await;
        for asked in [None, Some("\"v1\"")] {
            proxy.pass_secs(601);
            let get = proxy.get("/a/etag");
            asked.into_iter().fold(get, |get, tag| get.header("if-none-match", tag)).reply().await;
            proxy.get("/a/etag").reply().await;
        }
        assert_eq!((would(&proxy, "revalidated").await, would(&proxy, "hit").await), (2, 2));
        proxy.get("/a/echo").reply().await;
        proxy.pass_secs(601);
        proxy.get("/a/echo").reply().await;
        assert_eq!(would(&proxy, "miss").await, 3, "without a validator it would have been fetched");
    });
}

#[test]
fn stale_answers_would_have_been_given_while_they_are_fetched_and_when_the_origin_fails() {
    play(async {
        let failing = Arc::new(AtomicUsize::new(0));
        let told_by = Arc::clone(&failing);
        let origin = Origin::start(move |seen| match told_by.load(Ordering::SeqCst) {
            0 => Answer::json(if seen.nth == 0 { "old" } else { "new" }),
            _ => Answer::new(503).text("down"),
        })
        .await;
        let rules = ONE.replace("mode:", "stale_while_revalidate: 1m, stale_if_error: 1h, mode:");
        let proxy = Proxy::start(&origin, &rules).await;
        proxy.get("/a/1").reply().await;
        proxy.pass_secs(601);
        assert_eq!(proxy.get("/a/1").reply().await.text(), "new");
        assert_eq!(would(&proxy, "stale").await, 1);
        compared(&proxy, "stale", 1).await;
        proxy.get("/a/1").reply().await;
        assert_eq!(would(&proxy, "hit").await, 1, "it has been fetched anew");
        compared(&proxy, "same", 1).await;
        failing.store(1, Ordering::SeqCst);
        proxy.get("/a/1").reply().await;
        compared(&proxy, "unchecked", 1).await;
        proxy.pass_secs(700);
        assert_eq!(proxy.get("/a/1").reply().await.status, 503);
        assert_eq!(would(&proxy, "stale").await, 2);
    });
}

#[test]
fn what_may_not_be_kept_would_not_have_been() {
    play(async {
        let origin = motley().await;
        let proxy = Proxy::start(&origin, ONE).await;
        for target in ["/a/cookie", "/a/no-store", "/a/500"] {
            proxy.get(target).reply().await;
            proxy.get(target).reply().await;
        }
        assert_eq!((would(&proxy, "bypass").await, would(&proxy, "hit").await), (6, 0));
        assert_eq!(told(&proxy).await["hit_ratio"], Value::Null);
    });
}

#[test]
fn reads_by_content_are_told_apart_by_it() {
    play(async {
        let origin = Origin::start(|seen| Answer::json(seen.body.clone().escape_ascii().to_string())).await;
        let rules =
            "routes: { '/a/{id}': { ttl: 10m, mode: shadow, methods: [GET, POST], key: { body: json } } }\n";
        let proxy = Proxy::start(&origin, rules).await;
        let post = |body: Value| proxy.ask("POST", "/a/1").json(&body).reply();
        for body in [json!({ "q": 1 }), json!({ "q": 1 }), json!({ "q": 2 })] {
            assert_eq!(post(body).await.cache_status(), STATUS);
        }
        let reply =
            proxy.ask("POST", "/a/1").header("content-type", "application/json").body("{").reply().await;
        assert_eq!(reply.cache_status(), "larder; fwd=bypass; detail=not-json");
        assert_eq!((would(&proxy, "miss").await, would(&proxy, "hit").await), (2, 1));
        assert_eq!(origin.count(), 4);
    });
}

#[test]
fn explaining_says_what_would_have_been() {
    play(async {
        let origin = Origin::start(|_| Answer::json("x")).await;
        let proxy = Proxy::start(&origin, ONE).await;
        let asked = Asked { method: "GET".into(), target: "/a/1".into(), ..Asked::default() };
        let miss = proxy.explain(&asked);
        assert_eq!((miss.becomes, miss.because.as_deref()), (Becomes::Pass, Some("shadow")));
        assert_eq!(miss.outcome.told.cache_status.as_deref(), Some(STATUS));
        assert_eq!(miss.would.unwrap().told.x_cache.as_deref(), Some("MISS"));
        proxy.get("/a/1").reply().await;
        let hit = proxy.explain(&asked);
        assert_eq!(hit.outcome.told.x_cache.as_deref(), Some("BYPASS"));
        assert_eq!(hit.would.unwrap().told.x_cache.as_deref(), Some("HIT"));
        assert!(hit.stored.is_some() && hit.key.is_some());
    });
}

#[test]
fn a_cache_that_is_switched_on_begins_with_nothing() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, ONE).await;
        proxy.get("/a/1").reply().await;
        proxy.reload(&origin, &ONE.replace("shadow", "cache")).await;
        assert_eq!(proxy.get("/a/1").reply().await.cache(), "MISS");
        assert_eq!(proxy.get("/a/1").reply().await.cache(), "HIT");
        proxy.reload(&origin, ONE).await;
        assert_eq!(proxy.get("/a/1").reply().await.cache_status(), STATUS);
        assert_eq!(
            (would(&proxy, "miss").await, would(&proxy, "hit").await),
            (2, 0),
            "and so does the other way"
        );
    });
}

#[test]
fn what_would_have_come_out_of_the_cache_is_never_counted_as_if_it_had() {
    play(async {
        let body = "twelve bytes";
        let origin = Origin::start(move |_| Answer::json(body)).await;
        let proxy = Proxy::start(&origin, ONE).await;
        let bytes_hit = async || {
            let usage = proxy.admin("/v1/usage").await.json();
            (usage["all"]["bytes_hit"].clone(), usage["routes"][0]["bytes_hit"].clone())
        };
        for _ in 0..4 {
            proxy.get("/a/1").reply().await;
        }
        assert_eq!((would(&proxy, "hit").await, bytes_hit().await), (3, (json!(0), json!(0))));
        proxy.reload(&origin, &ONE.replace("shadow", "cache")).await;
        for _ in 0..3 {
            proxy.get("/a/1").reply().await;
        }
        let two = json!(2 * body.len());
        assert_eq!(bytes_hit().await, (two.clone(), two.clone()), "one is fetched, two are hits");
        proxy.reload(&origin, ONE).await;
        for _ in 0..4 {
            proxy.get("/a/1").reply().await;
        }
        assert_eq!(bytes_hit().await, (two.clone(), two));
    });
}

#[test]
fn all_routes_are_in_the_shadow_but_those_that_say_otherwise() {
    play(async {
        let origin = Origin::counting().await;
        for global in ["mode: shadow\n", "defaults: { mode: shadow }\n"] {
            let proxy = Proxy::start(
                &origin,
                &format!("{global}routes: {{ /a: 1h, /b: {{ ttl: 1h, mode: cache }} }}\n"),
            )
            .await;
            for (target, cache) in [("/a", "BYPASS"), ("/b", "HIT"), ("/elsewhere", "BYPASS")] {
                proxy.get(target).reply().await;
                assert_eq!(proxy.get(target).reply().await.cache(), cache, "{target}");
            }
        }
    });
}

/// Numbers that are the same in every run.
fn random(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Reads of 300 keys by Zipf's law, and writes, in so many steps that take `nodes` in turns, one second after so many; the reads of each.
async fn workload(nodes: &[Proxy], steps: usize, per_second: Option<usize>) -> Vec<usize> {
    const KEYS: usize = 300;
    let weights: Vec<f64> = (1..=KEYS).map(|rank| 1.0 / rank as f64).collect();
    let all: f64 = weights.iter().sum();
    let mut next = random(7);
    let mut reads = vec![0; nodes.len()];
    for step in 0..steps {
        let proxy = &nodes[step % nodes.len()];
        let mut left = next() * all;
        let key = weights
            .iter()
            .position(|weight| {
                left -= weight;
                left <= 0.0
            })
            .unwrap_or(KEYS - 1);
        let target = format!("/a/{key}");
        let method = match next() {
            write if write < 0.03 => "PUT",
            head if head < 0.05 => "HEAD",
            _ => "GET",
        };
        proxy.ask(method, &target).header("host", HOST).reply().await;
        reads[step % nodes.len()] += usize::from(method != "PUT");
        if per_second.is_some_and(|count| step % count == 0) {
            proxy.pass_secs(1);
        }
    }
    reads
}

#[test]
fn the_predicted_hit_ratio_is_that_of_the_cache_within_two_points() {
    play(async {
        let origin = Origin::start(|seen| match seen.method.as_str() {
            "PUT" => Answer::new(204),
            _ => Answer::json(seen.target.clone()).header("etag", "\"1\""),
        })
        .await;
        let rules = |mode: &str| {
            format!(
                "hosts: {HOST}\nroutes: {{ '/a/{{id}}': {{ ttl: 5m, tags: 'a:{{id}}', mode: {mode} }} }}\n"
            )
        };
        let proxy = Proxy::start(&origin, &rules("shadow")).await;
        workload(std::slice::from_ref(&proxy), 4_000, Some(4)).await;
        let shadow = told(&proxy).await;
        let predicted = shadow["hit_ratio"].as_f64().unwrap();
        let (asked, calls) = (origin.count() as u64, shadow["origin_calls_saved"].as_u64().unwrap());
        let proxy = Proxy::start(&origin, &rules("cache")).await;
        workload(std::slice::from_ref(&proxy), 4_000, Some(4)).await;
        let measured = proxy.admin("/v1/usage").await.json()["all"]["hit_ratio"].as_f64().unwrap();
        let saved = asked - (origin.count() as u64 - asked);
        assert!((predicted - measured).abs() <= 0.02, "predicted {predicted}, measured {measured}");
        assert!(measured > 0.5 && measured < 0.95, "a workload that tells something: {measured}");
        assert!(
            calls.abs_diff(saved) * 50 <= asked,
            "predicted {calls} calls saved, saved {saved} of {asked}"
        );
        assert_eq!(shadow["checks"]["stale"], 0);
    });
}

/// Says the path, whatever is asked.
async fn steady() -> Origin {
    Origin::start(|seen| match seen.method.as_str() {
        "PUT" => Answer::new(204),
        _ => Answer::json(seen.target.clone()).header("etag", "\"1\""),
    })
    .await
}

/// A node of a fleet, whose routes are in `mode`.
async fn node(origin: &Origin, redis: &Redis, mode: &str) -> Proxy {
    let url = redis.url();
    let yaml = format!(
        "hosts: {HOST}\nroutes: {{ '/a/{{id}}': {{ ttl: 10m, tags: 'a:{{id}}', mode: {mode} }} }}\n\
         shutdown: {{ timeout: 1s }}\nredis: {{ url: '{url}', lease: 100ms }}\n"
    );
    Proxy::start(origin, &yaml).await
}

/// Two nodes of a fleet of their own, each in its mode: each may serve what it keeps, and acknowledges what it is told.
async fn pair(origin: &Origin, redis: &Redis, [one, other]: [&str; 2]) -> [Proxy; 2] {
    let nodes = [node(origin, redis, one).await, node(origin, redis, other).await];
    // Nobody acknowledges anything in a new epoch for a lease and its margin.
    nodes.iter().for_each(|node| node.pass(Duration::from_millis(200)));
    for node in &nodes {
        let has_lease = async || {
            let fleet = node.admin("/v1/fleet").await.json();
            fleet["node"]["lease_left"].as_f64().is_some_and(|left| left > 0.0)
        };
        while !has_lease().await {}
    }
    nodes
}

fn at(node: &Proxy, method: &str, target: &str) -> Ask {
    node.ask(method, target).header("host", HOST)
}

#[test]
fn in_a_fleet_a_write_through_one_node_would_have_outdated_what_the_others_keep() {
    play(async {
        let (origin, redis) = (steady().await, Redis::start(&[]));
        let [one, other] = &pair(&origin, &redis, ["shadow", "shadow"]).await;
        for (nth, (misses, hits)) in [(1, 0), (1, 1), (1, 2)].into_iter().enumerate() {
            let reply = at(other, "GET", "/a/1").reply().await;
            assert_eq!((reply.cache(), reply.cache_status(), origin.count()), ("BYPASS", STATUS, nth + 1));
            assert_eq!((would(other, "miss").await, would(other, "hit").await), (misses, hits));
        }
        at(one, "PUT", "/a/1").reply().await;
        at(other, "GET", "/a/1").reply().await;
        assert_eq!((would(other, "miss").await, would(other, "hit").await), (2, 2));
        assert_eq!((would(one, "miss").await, would(one, "hit").await), (0, 0));
        // Who comes later has nothing, and serves nothing of what the others have noted.
        let late = node(&origin, &redis, "shadow").await;
        let before = origin.count();
        assert_eq!(at(&late, "GET", "/a/1").reply().await.cache_status(), STATUS);
        assert_eq!((would(&late, "hit").await, origin.count()), (0, before + 1));
    });
}

#[test]
fn a_node_in_the_shadow_takes_nothing_from_the_others_and_gives_them_nothing_but_its_writes() {
    play(async {
        let (origin, redis) = (steady().await, Redis::start(&[]));
        let [on, watched] = &pair(&origin, &redis, ["cache", "shadow"]).await;
        for cache in ["MISS", "HIT"] {
            assert_eq!(at(on, "GET", "/a/1").reply().await.cache(), cache);
        }
        for id in 1..=20 {
            let (target, before) = (format!("/a/{id}"), origin.count());
            for nth in 1..=2 {
                let reply = at(watched, "GET", &target).reply().await;
                assert_eq!((reply.cache_status(), origin.count()), (STATUS, before + nth), "{target}");
            }
        }
        for id in 2..=20 {
            let reply = at(on, "GET", &format!("/a/{id}")).reply().await;
            assert_eq!(reply.cache_status(), "larder; fwd=uri-miss; stored", "nor from Redis");
        }
        at(watched, "PUT", "/a/1").reply().await;
        assert_eq!(at(on, "GET", "/a/1").reply().await.cache(), "MISS");
    });
}

/// A node in the shadow does not ask the others, so what they would have had for it comes on top.
#[test]
fn in_a_fleet_what_the_memory_of_each_node_answers_is_foretold_within_two_points() {
    play(async {
        let origin = steady().await;
        let mut ratios = Vec::new();
        for mode in ["shadow", "cache"] {
            let redis = Redis::start(&[]);
            let nodes = pair(&origin, &redis, [mode, mode]).await;
            let reads = workload(&nodes, 1_500, None).await;
            for (node, reads) in nodes.iter().zip(reads) {
                let all = node.admin("/v1/usage").await.json()["all"].clone();
                let counted = if mode == "shadow" { &all["shadow"] } else { &all };
                let told = node.metric(r#"larder_tier_reads_total{result="hit"}"#).await;
                ratios.push(counted["hit_ratio"].as_f64().unwrap() - told as f64 / reads as f64);
                assert_eq!(told > 0, mode == "cache", "{told} came from the others");
            }
        }
        for (predicted, measured) in [(ratios[0], ratios[2]), (ratios[1], ratios[3])] {
            assert!((predicted - measured).abs() <= 0.02, "predicted {predicted}, measured {measured}");
            assert!(measured > 0.3 && measured < 0.95, "a workload that tells something: {measured}");
        }
    });
}
