//! What other nodes keep, in the walk of a read: one proxy that has lost its memory is a node that has just started.
//!
//! Redis is a real one, and nobody waits for it for longer than its deadline: a busy machine may miss that, so a story is told until it was
//! in time. What must never be is asserted each time.

use std::collections::BTreeMap;
use std::time::Duration;

use larder::flow::explain::asked::{Asked, Lines};
use larder::flow::explain::wire::When;
use larder::tier::DEADLINE;
use larder::tier::breaker::LONGEST_PAUSE;

use crate::harness::client::Reply;
use crate::harness::client::all;
use crate::harness::origin::{Answer, Origin};
use crate::harness::proxy::Proxy;
use crate::harness::redis::Redis;
use crate::harness::relay::Relay;
use crate::harness::{Gate, play};

const ROUTES: &str = "{ '/pages/{id}': 1h, /honor: { ttl: 1h, client_no_cache: honor } }";

/// Most times that something is tried that a busy machine may miss.
const TRIES: usize = 200;

fn yaml(redis: &Redis) -> String {
    format!("redis: {{ url: '{}', namespace: shop }}\nroutes: {ROUTES}\n", redis.url())
}

/// In a new epoch nobody acknowledges anything for a lease and its margin.
const EPOCH_SETTLES: Duration = Duration::from_millis(1_200);

/// A proxy that has a lease: its clock stands still, so it has it until a story moves that on.
async fn node(origin: &Origin, redis: &Redis) -> Proxy {
    let proxy = Proxy::start(origin, &yaml(redis)).await;
    joined(&proxy).await;
    proxy
}

async fn joined(proxy: &Proxy) {
    let parts = proxy.flow.parts();
    let is_leased = || parts.store.lease().holds(parts.clock.mono());
    until(is_leased).await;
    proxy.pass(EPOCH_SETTLES);
    until(is_leased).await;
    parts.tier.as_ref().unwrap().connected().await;
}

/// From now on the journal is refused to everybody, and the tier is not.
fn without_scripts(redis: &Redis) {
    redis.command("ACL SETUSER default -evalsha -eval");
}

fn with_scripts(redis: &Redis) {
    redis.command("ACL SETUSER default +evalsha +eval");
}

/// Waits for Redis.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn stored(proxy: &Proxy) -> u64 {
    proxy.flow.parts().metrics.tier().fills("stored")
}

fn reads(proxy: &Proxy, result: &'static str) -> u64 {
    proxy.flow.parts().metrics.tier().reads(result)
}

/// Lets go of everything that is in memory.
fn forget(proxy: &Proxy) {
    let store = &proxy.flow.parts().store;
    store.list(None, 1_000).iter().for_each(|entry| store.remove(entry));
}

/// Fetches from the origin until Redis has it.
async fn shared(proxy: &Proxy, path: &str) {
    for _ in 0..TRIES {
        let before = stored(proxy);
        forget(proxy);
        let reply = proxy.get(path).reply().await;
        proxy.settled().await;
        tokio::time::sleep(Duration::from_millis(2)).await;
        if stored(proxy) > before || reply.cache_status().contains("detail=tier") {
            return;
        }
    }
    panic!("it is never stored");
}

/// A read without memory that was answered in time by what lies in Redis.
async fn told(proxy: &Proxy, path: &str) -> Reply {
    shared(proxy, path).await;
    for _ in 0..TRIES {
        forget(proxy);
        let hits = reads(proxy, "hit");
        let reply = proxy.get(path).reply().await;
        if reads(proxy, "hit") > hits {
            return reply;
        }
    }
    panic!("it is never in time");
}

#[test]
fn what_memory_has_lost_comes_from_the_tier_and_the_origin_is_not_asked() {
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let proxy = node(&origin, &redis).await;
        let reply = told(&proxy, "/pages/1").await;
        assert!(reply.cache() == "HIT" && reply.status == 200);
        assert!(reply.cache_status().starts_with("larder; hit; ttl=35"), "{}", reply.cache_status());
        assert!(reply.cache_status().ends_with("; detail=tier"), "{}", reply.cache_status());
        let (before, again) = (origin.count(), proxy.get("/pages/1").reply().await);
        assert_eq!((again.cache(), again.text(), origin.count()), ("HIT", reply.text(), before));
        assert!(!again.cache_status().contains("detail"), "it is in memory now");
        assert!(again.header("etag").is_some() && again.header("etag") == reply.header("etag"));
        let names: Vec<Vec<u8>> = redis::from_redis_value(redis.command("KEYS shop:e:*")).unwrap();
        assert_eq!(names.len(), 1, "under the namespace that was said");
    });
}

#[test]
fn what_was_outdated_is_not_taken_from_the_tier_however_long_it_lies_there() {
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let proxy = node(&origin, &redis).await;
        for _ in 0..TRIES {
            shared(&proxy, "/pages/1").await;
            let before = origin.count();
            proxy.outdate("/pages/1").await;
            let reply = proxy.get("/pages/1").reply().await;
            assert_eq!((reply.cache(), origin.count()), ("MISS", before + 1), "{}", reply.cache_status());
            if reads(&proxy, "outdated") > 0 {
                return;
            }
        }
        panic!("it was never in time to be refused");
    });
}

#[test]
fn who_waits_for_a_flight_is_told_with_it_and_what_is_told_dies_like_any_entry() {
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let proxy = node(&origin, &redis).await;
        shared(&proxy, "/pages/1").await;
        for _ in 0..TRIES {
            forget(&proxy);
            let (hits, before) = (reads(&proxy, "hit"), origin.count());
            let replies = all((0..5).map(|_| proxy.get("/pages/1").under_way()).collect()).await;
            let bodies: Vec<&str> = replies.iter().map(Reply::text).collect();
            assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
            if reads(&proxy, "hit") > hits {
                assert_eq!(origin.count(), before);
                assert_eq!(proxy.outdate("/pages/1").await, 1);
                let reply = proxy.get("/pages/1").reply().await;
                return assert_eq!((reply.cache(), origin.count()), ("MISS", before + 1));
            }
        }
        panic!("it is never in time");
    });
}

#[test]
fn what_has_to_be_revalidated_is_not_asked_for_in_the_tier() {
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let proxy = node(&origin, &redis).await;
        shared(&proxy, "/pages/1").await;
        let asked = |proxy: &Proxy| {
            let all =
                ["hit", "miss", "outdated", "spent", "late", "lost", "open", "down", "another", "refused"];
            all.iter().map(|result| reads(proxy, result)).sum::<u64>()
        };
        let (before, count) = (asked(&proxy), origin.count());
        proxy.pass_secs(3_601);
        // Else it is not asked for want of a lease.
        joined(&proxy).await;
        let reply = proxy.get("/pages/1").reply().await;
        assert_eq!((reply.text() != "", origin.count(), asked(&proxy)), (true, count + 1, before));
    });
}

#[test]
fn who_wants_news_gets_them_from_the_origin() {
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let proxy = node(&origin, &redis).await;
        shared(&proxy, "/honor").await;
        for _ in 0..5 {
            forget(&proxy);
            let before = origin.count();
            let reply = proxy.get("/honor").header("cache-control", "no-cache").reply().await;
            assert!(
                origin.count() > before && !reply.cache_status().contains("; hit"),
                "{}",
                reply.cache_status()
            );
        }
    });
}

#[test]
fn a_fill_that_is_outdated_under_way_reaches_nobody_through_the_tier() {
    play(async {
        let (gate, redis) = (Gate::default(), Redis::start(&[]));
        let held = gate.clone();
        let origin = Origin::start(move |seen| Answer::json(seen.number()).held(&held)).await;
        let proxy = node(&origin, &redis).await;
        let first = proxy.get("/pages/1").under_way();
        origin.arrived(1).await;
        proxy.outdate("/pages/1").await;
        gate.open();
        assert_eq!(first.await.unwrap().text(), "1", "he asked before");
        proxy.settled().await;
        let names: Vec<Vec<u8>> = redis::from_redis_value(redis.command("KEYS shop:e:*")).unwrap();
        assert!(names.is_empty(), "{names:?}");
        assert_eq!(proxy.get("/pages/1").reply().await.text(), "2");
    });
}

#[test]
fn without_a_lease_the_tier_is_not_asked() {
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let proxy = node(&origin, &redis).await;
        told(&proxy, "/pages/1").await;
        without_scripts(&redis);
        proxy.pass_secs(2);
        let asked = |redis: &Redis| -> String {
            let stats: String = redis::from_redis_value(redis.command("INFO commandstats")).unwrap();
            stats.lines().find(|line| line.starts_with("cmdstat_get:")).unwrap_or_default().to_owned()
        };
        let (before, count) = (asked(&redis), origin.count());
        for n in 1..4 {
            forget(&proxy);
            let reply = proxy.get("/pages/1").reply().await;
            assert_eq!((reply.cache(), origin.count()), ("MISS", count + n), "{}", reply.cache_status());
        }
        assert_eq!(asked(&redis), before);
        with_scripts(&redis);
        joined(&proxy).await;
        told(&proxy, "/pages/1").await;
    });
}

#[test]
fn without_a_redis_there_is_no_tier() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, &format!("routes: {ROUTES}\n")).await;
        assert_eq!(proxy.get("/pages/1").reply().await.cache(), "MISS");
        assert!(proxy.flow.parts().tier.is_none());
        let text = proxy.admin("/metrics").await;
        assert!(!text.text().contains("larder_tier_reads_total{") && !text.text().contains("_fills_total{"));
    });
}

#[test]
fn what_could_not_be_appended_yet_keeps_away_what_is_told_until_it_has_its_place() {
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let proxy = node(&origin, &redis).await;
        told(&proxy, "/pages/1").await;
        without_scripts(&redis);
        // Whoever brings it is told that nobody knows; the lease goes on, for the clock stands still.
        proxy.outdate("/pages/1").await;
        let (before, hits) = (origin.count(), reads(&proxy, "hit"));
        for n in 1..4 {
            forget(&proxy);
            let reply = proxy.get("/pages/1").reply().await;
            assert_eq!((reply.cache(), origin.count()), ("MISS", before + n), "{}", reply.cache_status());
        }
        assert_eq!(reads(&proxy, "hit"), hits);
        with_scripts(&redis);
        let applied = proxy.flow.parts().store.applied();
        until(|| proxy.flow.parts().store.applied() != applied).await;
        assert!(told(&proxy, "/pages/1").await.text() != "1");
    });
}

#[test]
fn what_somebody_brings_is_told() {
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let proxy = node(&origin, &redis).await;
        for _ in 0..TRIES {
            let (before, hits) = (stored(&proxy), reads(&proxy, "hit"));
            let brought = serde_json::json!({ "target": "/pages/7", "body": "brought" });
            let reply = proxy.admin_ask("PUT", "/v1/entries").json(&brought).reply().await;
            assert_eq!(reply.status, 201, "{}", reply.text());
            tokio::time::sleep(Duration::from_millis(2)).await;
            forget(&proxy);
            let reply = proxy.get("/pages/7").reply().await;
            if stored(&proxy) > before && reads(&proxy, "hit") > hits {
                return assert_eq!(reply.text(), "brought");
            }
        }
        panic!("it is never in time");
    });
}

#[test]
fn what_a_head_has_made_fresh_is_told() {
    play(async {
        let redis = Redis::start(&[]);
        let origin = Origin::start(|seen| {
            let life = if seen.method == "HEAD" { "max-age=100" } else { "max-age=10" };
            let answer = if seen.method == "HEAD" {
                Answer::new(200).header("content-length", "4")
            } else {
                Answer::json("body")
            };
            answer.header("etag", "\"v\"").header("cache-control", life)
        })
        .await;
        let yaml = yaml(&redis).replace("/honor:", "/head: { ttl: 1h, head: forward }, /honor:");
        let proxy = Proxy::start(&origin, &yaml).await;
        joined(&proxy).await;
        for _ in 0..TRIES {
            shared(&proxy, "/head").await;
            proxy.pass_secs(11);
            joined(&proxy).await;
            let (before, hits) = (stored(&proxy), reads(&proxy, "hit"));
            assert_eq!(proxy.ask("HEAD", "/head").reply().await.cache(), "REVALIDATED");
            tokio::time::sleep(Duration::from_millis(2)).await;
            forget(&proxy);
            let reply = proxy.get("/head").reply().await;
            if stored(&proxy) > before && reads(&proxy, "hit") > hits {
                let status = reply.cache_status();
                return assert!(
                    status.starts_with("larder; hit; ttl=9"),
                    "it has a hundred seconds: {status}"
                );
            }
        }
        panic!("it is never in time");
    });
}

#[test]
fn a_redis_that_is_slow_costs_a_miss_and_after_a_few_of_them_nobody_waits_for_it() {
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let relay = Relay::to(redis.address()).await;
        let yaml = yaml(&redis).replace(&redis.url(), &format!("redis://{}", relay.address));
        let proxy = Proxy::start(&origin, &yaml).await;
        joined(&proxy).await;
        shared(&proxy, "/pages/1").await;
        relay.delay(3 * DEADLINE);
        while reads(&proxy, "open") == 0 {
            forget(&proxy);
            let reply = proxy.get("/pages/1").reply().await;
            assert_eq!((reply.status.as_u16(), reply.cache()), (200, "MISS"), "{}", reply.cache_status());
        }
        // As many as open a breaker that was closed.
        assert!(reads(&proxy, "late") >= 8);
        relay.delay(Duration::ZERO);
        proxy.pass(LONGEST_PAUSE);
        joined(&proxy).await;
        told(&proxy, "/pages/1").await;
    });
}

#[test]
fn explain_reckons_with_the_tier() {
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let proxy = node(&origin, &redis).await;
        let host = BTreeMap::from([("host".to_owned(), Lines::One("api.example.com".to_owned()))]);
        let target = "/pages/1".to_owned();
        let asked = Asked { method: "GET".to_owned(), target, headers: host, body: String::new() };
        let outcome = proxy.explain(&asked).outcome;
        let told = outcome.or.iter().find(|or| or.when == When::Told).expect("it may be told");
        assert_eq!(told.told.cache_status.as_deref(), Some("larder; hit; ttl=…; detail=tier"));
        proxy.flow.parts().tier.as_ref().unwrap().standing().end();
        assert!(proxy.explain(&asked).outcome.or.iter().all(|or| or.when != When::Told));
    });
}
