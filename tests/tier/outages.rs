//! Redis is away, stopped, full, or slower than anybody waits.

use std::time::SystemTime;

use http::HeaderMap;
use larder::clock::Clock;
use larder::tier::{DEADLINE, Missed};

use crate::redis_server::Redis;
use crate::{Node, PATIENCE, STEP, names, until};

/// Asks until there is an answer of Redis's, of whatever kind.
async fn answered(node: &Node, key: &str) -> Result<String, Missed> {
    for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
        match node.get(key).await {
            Err(Missed::Down | Missed::Late | Missed::Lost | Missed::Open | Missed::Busy) => {}
            Err(why) => return Err(why),
            Ok(found) => return Ok(String::from_utf8(found.response.body.to_vec()).unwrap()),
        }
        tokio::time::sleep(STEP).await;
    }
    panic!("it does not recover");
}

/// Tells until it is told.
async fn told(node: &Node, key: &str, body: &'static str) {
    for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
        let before = node.told("stored");
        node.keep(key, &HeaderMap::new(), &HeaderMap::new(), body);
        tokio::time::sleep(STEP).await;
        if node.told("stored") > before {
            return;
        }
    }
    panic!("it does not recover");
}

#[tokio::test]
async fn without_a_redis_every_read_is_a_miss_at_once() {
    let absent = Redis::absent();
    let node = Node::at(&absent.url(), PATIENCE, Clock::system());
    for _ in 0..100 {
        assert_eq!(node.get("k").await.unwrap_err(), Missed::Down);
    }
    node.keep("k", &HeaderMap::new(), &HeaderMap::new(), "body");
    until(|| node.told("down") == 1).await;
    let _redis = absent.appear();
    told(&node, "k", "body").await;
    assert_eq!(answered(&node, "k").await.unwrap(), "body", "and it is there when it comes");
}

#[tokio::test]
async fn a_redis_that_was_killed_is_used_again_when_it_is_back() {
    let mut redis = Redis::start(&[]);
    let node = Node::at(&redis.url(), PATIENCE, Clock::system());
    node.connected().await;
    for _ in 0..2 {
        told(&node, "k", "body").await;
        assert_eq!(answered(&node, "k").await.unwrap(), "body");
        redis.kill();
        until(|| !node.tier.is_connected()).await;
        assert_eq!(node.get("k").await.unwrap_err(), Missed::Down);
        redis.restart();
        assert_eq!(answered(&node, "k").await.unwrap_err(), Missed::Absent, "it has forgotten all");
    }
}

#[tokio::test]
async fn nobody_waits_for_a_redis_that_is_stopped_beyond_the_deadline() {
    let redis = Redis::start(&[]);
    let node = Node::at(&redis.url(), DEADLINE, Clock::system());
    node.connected().await;
    told(&node, "k", "body").await;
    redis.signal("STOP");
    let mut seen = Vec::new();
    while !seen.contains(&Missed::Down) && !seen.contains(&Missed::Open) {
        seen.push(node.get("k").await.unwrap_err());
    }
    assert!(seen.contains(&Missed::Late) || seen.contains(&Missed::Lost), "{seen:?}");
    redis.signal("CONT");
    assert_eq!(answered(&node, "k").await.unwrap(), "body", "it recovers by itself");
}

#[tokio::test]
async fn the_breaker_opens_where_answers_stay_away_and_closes_when_one_comes() {
    let redis = Redis::start(&[]);
    // Time stands still for the breaker: it opens, and stays open until the clock is moved.
    let node = Node::at(&redis.url(), DEADLINE, Clock::manual(SystemTime::UNIX_EPOCH));
    node.connected().await;
    told(&node, "k", "body").await;
    while !matches!(node.get("k").await, Err(Missed::Open)) {
        redis.signal("STOP");
        let _ = node.get("k").await;
        redis.signal("CONT");
        // A connection that was given up comes again; a failure is one with a connection.
        until(|| node.tier.is_connected()).await;
    }
    assert_eq!(node.get("k").await.unwrap_err(), Missed::Open, "Redis is well, and is not asked");
    node.clock.advance(larder::tier::breaker::LONGEST_PAUSE);
    let mut found = node.get("k").await;
    while found.is_err() {
        node.clock.advance(larder::tier::breaker::LONGEST_PAUSE);
        found = node.get("k").await;
    }
    assert_eq!(&found.unwrap().response.body[..], b"body");
}

#[tokio::test]
async fn a_late_answer_is_nobody_elses() {
    let redis = Redis::start(&[]);
    let patient = Node::start(&redis).await;
    for n in 0..20 {
        patient.tell(&format!("k{n}"), format!("body {n}")).await;
    }
    let node = Node::at(&redis.url(), DEADLINE, Clock::system());
    node.connected().await;
    for round in 0..20 {
        redis.signal("STOP");
        let late = (0..5).map(|n| format!("k{}", (round + n) % 20));
        for key in late {
            let _ = node.get(&key).await;
        }
        redis.signal("CONT");
        for n in 0..20 {
            if let Ok(found) = node.get(&format!("k{n}")).await {
                assert_eq!(found.response.body, format!("body {n}"));
            }
        }
    }
    assert_eq!(answered(&node, "k7").await.unwrap(), "body 7");
}

#[tokio::test]
async fn what_the_queue_has_no_room_for_is_dropped_and_counted() {
    let redis = Redis::start(&[]);
    let node = Node::start(&redis).await;
    // Nobody else has a turn in between.
    for n in 0..1_100 {
        node.keep(&format!("k{n}"), &HeaderMap::new(), &HeaderMap::new(), "body");
    }
    assert_eq!(node.told("dropped"), 1_100 - 1_024);
    until(|| node.told("stored") == 1_024).await;
    for n in 0..40 {
        node.keep(&format!("large {n}"), &HeaderMap::new(), &HeaderMap::new(), vec![b'a'; 1 << 20]);
    }
    assert_eq!(node.told("dropped"), 1_100 - 1_024 + 8, "bytes count as well");
    until(|| node.told("stored") == 1_024 + 32).await;
}

#[tokio::test]
async fn a_redis_that_is_nearly_full_is_told_nothing_and_still_asked() {
    let redis = Redis::start(&["--maxmemory-policy", "volatile-lru"]);
    let node = Node::start(&redis).await;
    node.tell("k", "body").await;
    redis.command("CONFIG SET maxmemory 1000mb");
    let other = Node::start(&redis).await;
    other.tell("there is room", "body").await;
    let used = redis::from_redis_value::<String>(redis.command("INFO memory")).unwrap();
    let used = used.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    let most = used.parse::<u64>().unwrap() * 100 / 88;
    redis.command(&format!("CONFIG SET maxmemory {most}"));
    let late = Node::start(&redis).await;
    late.keep("no room", &HeaderMap::new(), &HeaderMap::new(), "body");
    until(|| late.told("full") == 1).await;
    assert!(late.get("k").await.is_ok());
    assert_eq!(names(&redis).len(), 2);
}
