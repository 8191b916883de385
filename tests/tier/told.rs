//! What one node tells another.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::HeaderMap;
use larder::clock::Clock;
use larder::route::reach::Reach;
use larder::route::tag::Tag;
use larder::store::position::Outdate;
use larder::tier::Missed;

use crate::redis_server::Redis;
use crate::{EPOCH, Node, PATIENCE, fields, names, put, until, value};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn what_one_node_keeps_another_finds_as_it_was() {
    let redis = Redis::start(&[]);
    let (one, other) = (Node::start(&redis).await, Node::start(&redis).await);
    assert_eq!(other.get("k").await.unwrap_err(), Missed::Absent);
    let answer = fields(&[("content-type", "application/json"), ("x-a", "1"), ("age", "7")]);
    one.keep("k", &HeaderMap::new(), &answer, "body");
    until(|| one.told("stored") == 1).await;
    other.clock.advance(1_000_000 * SECOND);
    let (kept, found) = (one.get("k").await.unwrap(), other.get("k").await.unwrap());
    for entry in [&kept, &found] {
        assert_eq!(&entry.response.body[..], b"body");
        assert_eq!((entry.response.headers()["x-a"].as_bytes(), entry.position().epoch), (&b"1"[..], EPOCH));
        assert!(entry.response.etag_is_made && entry.response.headers().contains_key("etag"));
        assert_eq!(entry.tags().len(), 2);
    }
    // Redis's own time is a machine's, and it may be a slow one.
    let age = found.life.age(other.clock.now());
    assert!(age >= 7 * SECOND && age < 17 * SECOND, "no clock is told to anybody: {age:?}");
    assert_eq!(found.life.fresh_for(), kept.life.fresh_for());
}

#[tokio::test]
async fn what_has_lain_in_redis_is_older_by_that() {
    let redis = Redis::start(&[]);
    let (one, other) = (Node::start(&redis).await, Node::start(&redis).await);
    one.tell("k", "body").await;
    let name = names(&redis).remove(0);
    let text = String::from_utf8(name.clone()).unwrap();
    redis.command(&format!("PEXPIRE {text} 20000"));
    let found = other.get("k").await.unwrap();
    let now = other.clock.now();
    assert!(found.life.age(now) >= 40 * SECOND && found.life.is_fresh(now));
    other.clock.advance(20 * SECOND);
    assert!(!found.life.is_fresh(other.clock.now()), "never beyond its life");
    redis.command(&format!("PERSIST {text}"));
    assert_eq!(other.get("k").await.unwrap_err(), Missed::Another, "none of us lets anything lie for ever");
    redis.command(&format!("PEXPIRE {text} 0"));
    assert_eq!(other.get("k").await.unwrap_err(), Missed::Absent);
}

#[tokio::test]
async fn what_is_old_already_stays_for_what_is_left() {
    let redis = Redis::start(&[]);
    let (one, other) = (Node::start(&redis).await, Node::start(&redis).await);
    let entry = one.tell("first", "body").await;
    one.clock.advance(50 * SECOND);
    one.tier.put(&entry, crate::select, crate::is_private);
    until(|| one.told("stored") == 2).await;
    let name = String::from_utf8(names(&redis).remove(0)).unwrap();
    let left: u64 = redis::from_redis_value(redis.command(&format!("PTTL {name}"))).unwrap();
    assert!(left <= 10_000, "{left}");
    let found = other.get("first").await.unwrap();
    assert!(found.life.age(other.clock.now()) >= 50 * SECOND);
    one.clock.advance(10 * SECOND);
    one.tier.put(&entry, crate::select, crate::is_private);
    until(|| one.told("spent") == 1).await;
}

#[tokio::test]
async fn nothing_is_served_beyond_its_life_however_often_it_is_asked_for() {
    let redis = Redis::start(&[]);
    let one = Node::at(&redis.url(), PATIENCE, Clock::system());
    one.connected().await;
    let answer = fields(&[("cache-control", "max-age=1")]);
    one.keep("k", &HeaderMap::new(), &answer, "body");
    until(|| one.told("stored") == 1).await;
    loop {
        match one.get("k").await {
            Ok(found) => assert!(found.life.initial_age() < SECOND),
            Err(why) => break assert!(matches!(why, Missed::Absent | Missed::Spent), "{why:?}"),
        }
    }
}

#[tokio::test]
async fn rubbish_is_a_miss() {
    let redis = Redis::start(&[]);
    let node = Node::start(&redis).await;
    node.tell("k", "body").await;
    node.tell("other", "another body").await;
    let find = |key: &str| names(&redis).into_iter().find(|name| name.ends_with(key.as_bytes())).unwrap();
    let (own, other) = (find(":kk"), find("other"));
    let good = value(&redis, &own);
    let mut damaged = good.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let noise = vec![0xa5; 900_000];
    for rubbish in [&b""[..], b"\x01", b"<html>", &good[..good.len() / 2], &damaged, &noise] {
        put(&redis, &own, rubbish);
        assert!(matches!(node.get("k").await, Err(Missed::Unreadable(_))), "{}", rubbish.len());
    }
    put(&redis, &own, &value(&redis, &other));
    assert_eq!(node.get("k").await.unwrap_err(), Missed::Another, "the full key is compared");
    let name = String::from_utf8(own.clone()).unwrap();
    redis.command(&format!("DEL {name}"));
    redis.command(&format!("LPUSH {name} x"));
    redis.command(&format!("PEXPIRE {name} 10000"));
    assert_eq!(node.get("k").await.unwrap_err(), Missed::Refused);
    put(&redis, &own, &good);
    assert!(node.get("k").await.is_ok());
}

#[tokio::test]
async fn variants_are_found_by_whom_they_are_for() {
    let redis = Redis::start(&[]);
    let (one, other) = (Node::start(&redis).await, Node::start(&redis).await);
    let answer =
        fields(&[("vary", "accept-encoding, accept-language, cookie"), ("access-control-allow-origin", "*")]);
    let german = fields(&[("accept-language", "de, en;q=0.5"), ("accept-encoding", "gzip, br")]);
    let english = fields(&[("accept-language", "en")]);
    let from_page = fields(&[("accept-language", "en"), ("origin", "https://a")]);
    for (request, body) in [(&german, "gut"), (&english, "good"), (&from_page, "for pages")] {
        one.keep("k", request, &answer, body);
    }
    until(|| one.told("stored") == 3).await;
    for (request, body) in [
        (&german, Some("gut")),
        (&english, Some("good")),
        (
            &fields(&[
                ("accept-language", "DE,en;q=0.1"),
                ("accept-encoding", "br, gzip"),
                ("cookie", "theme=1"),
            ]),
            Some("gut"),
        ),
        (&fields(&[("accept-language", "en"), ("origin", "https://b")]), Some("for pages")),
        (&fields(&[("accept-language", "fr")]), None),
        (&fields(&[("accept-language", "en"), ("cookie", "session=1")]), None),
    ] {
        let found = other.get_as("k", request).await.ok();
        assert_eq!(found.map(|entry| entry.response.body.clone()), body.map(Bytes::from), "{request:?}");
    }
}

#[tokio::test]
async fn what_does_not_vary_serves_who_accepts_something_else() {
    let redis = Redis::start(&[]);
    let node = Node::start(&redis).await;
    node.keep("k", &fields(&[("accept-encoding", "gzip")]), &HeaderMap::new(), "plain");
    until(|| node.told("stored") == 1).await;
    assert!(node.get_as("k", &fields(&[("accept-encoding", "br"), ("x-any", "1")])).await.is_ok());
    assert_eq!(names(&redis).len(), 1, "and is found in one round trip");
}

#[tokio::test]
async fn what_is_somebodys_own_is_told_to_nobody() {
    let redis = Redis::start(&[]);
    let node = Node::start(&redis).await;
    for (vary, request) in [("cookie", ("cookie", "session=1")), ("x-api-key", ("x-api-key", "s3cret"))] {
        node.keep("k", &fields(&[request]), &fields(&[("vary", vary)]), "own");
    }
    assert_eq!((node.told("private"), names(&redis).len()), (2, 0));
}

#[tokio::test]
async fn what_is_outdated_or_of_another_epoch_by_then_is_not_told() {
    let redis = Redis::start(&[]);
    let node = Node::start(&redis).await;
    let entry = node.keep("dies", &HeaderMap::new(), &HeaderMap::new(), "body");
    node.store.remove(&entry);
    until(|| node.told("outdated") == 1).await;
    node.keep("k", &HeaderMap::new(), &HeaderMap::new(), "body");
    node.tier.standing().set(EPOCH + 1);
    until(|| node.told("outdated") == 2).await;
    node.tier.standing().end();
    node.keep("k", &HeaderMap::new(), &HeaderMap::new(), "body");
    node.tier.standing().set(EPOCH);
    node.tell("last", "body").await;
    assert_eq!(names(&redis).len(), 1);
}

#[tokio::test]
async fn nothing_is_found_in_another_epoch() {
    let redis = Redis::start(&[]);
    let node = Node::start(&redis).await;
    node.tell("k", "body").await;
    let key = larder::route::key::Key::from_bytes(b"k");
    let found = node.tier.get(EPOCH + 1, &key, &HeaderMap::new(), crate::select).await;
    assert_eq!(found.unwrap_err(), Missed::Absent);
}

#[tokio::test]
async fn large_answers_come_whole_and_larger_ones_are_not_told() {
    let redis = Redis::start(&[]);
    let node = Node::start(&redis).await;
    let repeated = Bytes::from(b"[0123456789]".repeat(100_000));
    node.tell("k", repeated.clone()).await;
    assert_eq!(node.get("k").await.unwrap().response.body, repeated);
    assert!(value(&redis, &names(&redis)[0]).len() < repeated.len() / 10);
    let noise: Vec<u8> = (0..2_u64 << 20)
        .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31) >> 40) as u8)
        .collect();
    let coded = fields(&[("content-encoding", "gzip")]);
    node.keep("noise", &HeaderMap::new(), &coded, noise);
    until(|| node.told("too-large") == 1).await;
}

#[tokio::test]
async fn the_database_of_the_url_is_used_and_permissions_for_six_commands_are_enough() {
    let redis = Redis::start(&[]);
    redis.command("ACL SETUSER tier on >pw ~larder:e:* -@all +get +set +pttl +time +ping +select");
    let url = redis.url().replace("redis://", "redis://tier:pw@") + "/3";
    let node = Node::at(&url, PATIENCE, Clock::manual(SystemTime::UNIX_EPOCH));
    node.connected().await;
    node.tell("k", "body").await;
    assert!(node.get("k").await.is_ok(), "without INFO and CONFIG");
    assert_eq!(names(&redis).len(), 0, "it lies in another database");
}

#[tokio::test]
async fn a_hit_costs_one_round_trip_and_one_of_a_variant_two() {
    let redis = Redis::start(&[]);
    let node = Node::start(&redis).await;
    node.tell("k", "body").await;
    let (french, varies) = (fields(&[("accept-language", "fr")]), fields(&[("vary", "accept-language")]));
    node.keep("v", &french, &varies, "corps");
    until(|| node.told("stored") == 2).await;
    // What Redis has read from its sockets so far, and how often it was asked for an answer.
    let counts = || -> (u64, u64) {
        let number = |section: &str, name: &str| {
            let info: String = redis::from_redis_value(redis.command(&format!("INFO {section}"))).unwrap();
            let found = info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0").to_owned();
            found.split(',').next().unwrap().parse().unwrap()
        };
        (number("stats", "total_reads_processed:"), number("commandstats", "cmdstat_get:calls="))
    };
    let (before, after) = (counts(), counts());
    let to_look = after.0 - before.0;
    for (key, request, trips) in [("k", HeaderMap::new(), 1), ("v", french, 2)] {
        let before = counts();
        node.get_as(key, &request).await.unwrap();
        let after = counts();
        assert_eq!((after.0 - before.0 - to_look, after.1 - before.1), (trips, trips), "{key}");
    }
}

#[tokio::test]
async fn a_store_that_is_empty_is_filled_from_the_tier_and_judges_by_its_own_floors() {
    let redis = Redis::start(&[]);
    let (one, other) = (Node::start(&redis).await, Node::start(&redis).await);
    let outdate = |node: &Node, name: &str| {
        let reach = Reach::of([Tag::named(name)]);
        node.store.outdate(&Outdate { reach, ..Outdate::default() }, node.clock.mono());
    };
    other.store.retain_floors(0);
    one.tell("k", "body").await;
    outdate(&other, "another");
    let kept = other.store.promote(other.get("k").await.unwrap()).unwrap();
    assert_eq!((kept.position().n, kept.position().epoch), (0, EPOCH), "as old as where it was fetched");
    outdate(&other, "t");
    assert!(kept.is_dead());
    let again = other.get("k").await.unwrap();
    assert!(other.store.promote(again).is_err(), "the other node has not heard of it yet");
    (0..2).for_each(|_| outdate(&one, "t"));
    one.tell("k", "new").await;
    let kept = other.store.promote(other.get("k").await.unwrap()).unwrap();
    assert_eq!((&kept.response.body[..], kept.position().n), (&b"new"[..], 2));
}
