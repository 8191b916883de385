//! Two nodes over a real Redis, each with a clock of its own that the test moves: what becomes of a write whose node is cut off, gives
//! up, or hears of another epoch before it can say what it did.
//!
//! A node is cut off by cutting its wire to Redis: nobody asks it any more, so that it might as well be dead. With the feature
//! `faults` each story is told once more with the mistake that it is there against, and has to fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::harness::client::{Ask, Reply};
use crate::harness::origin::{Answer, Origin};
use crate::harness::proxy::Proxy;
use crate::harness::redis::Redis;
use crate::harness::relay::Relay;
use crate::harness::{Gate, play};

const LEASE: Duration = Duration::from_millis(100);
/// `limits.upstream_timeout`: it passes on the nodes' own clocks, and never on the machine's.
const TIMEOUT: Duration = Duration::from_secs(3600);
/// Questions until something that goes on behind the answers has to be there.
const PATIENCE: usize = 3_000;

/// Two nodes before one origin.
struct Pair {
    redis: Redis,
    /// Between the first node and Redis.
    wire: Relay,
    origin: Origin,
    /// What a read shows.
    version: Arc<AtomicUsize>,
    first: Proxy,
    second: Proxy,
}

/// What differs from one story to another.
#[derive(Default)]
struct Told<'a> {
    /// What the first node has in its file besides.
    first: &'a str,
    /// The second one.
    second: &'a str,
    /// Of `redis:`
    redis: &'a str,
    /// `shutdown.timeout`, which passes on the machine's clock.
    timeout: Option<&'a str>,
}

impl Pair {
    /// A read shows the version; every other request is answered as `say` says.
    async fn start(told: Told<'_>, say: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let redis = Redis::start(&["--enable-debug-command", "yes"]);
        let wire = Relay::to(redis.address()).await;
        let version = Arc::new(AtomicUsize::new(1));
        let (shown, writes) = (Arc::clone(&version), AtomicUsize::new(0));
        let origin = Origin::start(move |seen| match seen.method.as_str() {
            "GET" => Answer::json(shown.load(Ordering::SeqCst).to_string()),
            _ => say(writes.fetch_add(1, Ordering::SeqCst)),
        })
        .await;
        let yaml = |address: String, more: &str| {
            format!(
                "hosts: [api.example]\nroutes: {{ '/{{x}}': {{ ttl: 24h, tags: 'of:{{x}}' }} }}\nshutdown: {{ timeout: {} }}\n\
                 limits: {{ upstream_timeout: {}s }}\n\
                 redis: {{ url: 'redis://{address}', lease: {}ms, {} }}\n{more}",
                told.timeout.unwrap_or("1s"),
                TIMEOUT.as_secs(),
                LEASE.as_millis(),
                told.redis,
            )
        };
        let first = Proxy::start(&origin, &yaml(wire.address.to_string(), told.first)).await;
        let second = Proxy::start(&origin, &yaml(redis.address().to_string(), told.second)).await;
        let pair = Self { redis, wire, origin, version, first, second };
        pair.settle_in().await;
        pair
    }

    /// Nobody acknowledges anything in a new epoch for a lease and its margin.
    async fn settle_in(&self) {
        for node in [&self.first, &self.second] {
            node.pass(2 * LEASE);
            keeps(node, "/settled").await;
        }
    }

    /// A write through the first node, which is at the origin when this returns.
    async fn writes(&self, target: &str) -> JoinHandle<Reply> {
        let before = self.origin.count();
        let write = ask(&self.first, "PUT", target).under_way();
        self.origin.arrived(before + 1).await;
        write
    }
}

fn ask(node: &Proxy, method: &str, target: &str) -> Ask {
    node.ask(method, target).header("host", "api.example")
}

async fn get(node: &Proxy, target: &str) -> Reply {
    ask(node, "GET", target).reply().await
}

/// Asks until it is served from what is kept: it has a lease then.
async fn keeps(node: &Proxy, target: &str) {
    for _ in 0..PATIENCE {
        if get(node, target).await.cache() == "HIT" {
            return;
        }
    }
    panic!("{target} is never kept");
}

/// When (wall) each record of `actor` was applied by `node`.
async fn heard(node: &Proxy, actor: &str) -> Vec<SystemTime> {
    let list = node.admin("/v1/invalidations").await.json();
    let said = list["invalidations"].as_array().unwrap().iter().filter(|said| said["actor"] == actor);
    said.map(|said| humantime::parse_rfc3339(said["at"].as_str().unwrap()).unwrap()).collect()
}

/// Lets time pass for `node` until it has applied so many records of `actor`; gives when the last one was.
async fn hears(node: &Proxy, actor: &str, count: usize) -> SystemTime {
    for turn in 0..PATIENCE {
        if let Some(at) = heard(node, actor).await.get(count - 1) {
            return *at;
        }
        if turn % 100 == 99 {
            node.pass(2 * LEASE);
        }
    }
    panic!("{count} records of {actor} are never heard of");
}

/// Moves the clock of `node` to `after` since `at`, and waits until it has a lease again.
async fn is_at(node: &Proxy, at: SystemTime, after: Duration) {
    let passed = node.clock.now().wall.duration_since(at).unwrap();
    node.pass(after.checked_sub(passed).expect("that is past already"));
    keeps(node, "/settled").await;
}

/// Whether what is fetched now is stored.
async fn stores(node: &Proxy, target: &str) -> bool {
    get(node, target).await;
    get(node, target).await.cache() == "HIT"
}

/// How many intents Redis has.
fn intents(redis: &Redis) -> i64 {
    match redis.command("HLEN {larder}:intents") {
        // One field says that the key is there.
        redis::Value::Int(fields) => fields - 1,
        other => panic!("{other:?}"),
    }
}

async fn no_intents_are_left(redis: &Redis) {
    for _ in 0..PATIENCE {
        if intents(redis) == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{} intents are left", intents(redis));
}

const WRITE: &str = "PUT /{x}";

fn an_orphaned_write_is_outdated_by_the_others_and_held_until_it_must_be_over() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let pair = Pair::start(Told::default(), move |_| Answer::json("done").held(&held)).await;
        let node = &pair.second;
        keeps(node, "/p").await;
        let write = pair.writes("/p").await;
        assert_eq!(get(node, "/p").await.cache(), "HIT", "readers ignore an open intent");
        pair.wire.cut();
        let found = hears(node, WRITE, 1).await;
        keeps(node, "/settled").await;
        assert!(!stores(node, "/p").await, "it may be committed at any time");
        // Its node may have forwarded it until its lease was over.
        is_at(node, found, TIMEOUT + LEASE / 2).await;
        assert!(!stores(node, "/p").await, "it is held for a lease and its margin besides");
        pair.version.store(2, Ordering::SeqCst);
        assert_eq!(get(node, "/p").await.text(), "2");
        is_at(node, found, TIMEOUT + 2 * LEASE).await;
        assert!(stores(node, "/p").await, "it must be over");
        write.abort();
        gate.open();
    });
}

fn a_write_whose_lease_has_ended_is_not_sent_a_second_time() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let told = Told { redis: "writes_when_down: closed", ..Told::default() };
        let answers = move |nth| match nth {
            // The connection dies before any byte of an answer: a PUT is repeated then.
            0 => Answer::cut().held(&held),
            _ => Answer::json("done"),
        };
        let pair = Pair::start(told, answers).await;
        // A connection that may have been stale.
        get(&pair.first, "/q").await;
        let write = pair.writes("/p").await;
        pair.wire.cut();
        pair.first.pass(2 * LEASE);
        let before = pair.origin.count();
        gate.open();
        let reply = write.await.unwrap();
        assert_eq!((reply.status.as_u16(), pair.origin.count()), (502, before), "{}", reply.text());
        // With a lease it is.
        pair.wire.mend();
        keeps(&pair.first, "/settled").await;
        let reply = ask(&pair.first, "PUT", "/p").reply().await;
        assert_eq!(reply.status, 200);
    });
}

fn what_a_node_has_given_up_is_held_in_the_next_epoch_too() {
    play(async {
        let pair = Pair::start(Told::default(), |_| Answer::cut()).await;
        let node = &pair.second;
        keeps(node, "/p").await;
        let reply = ask(&pair.first, "PUT", "/p").reply().await;
        assert_eq!(reply.status, 502);
        hears(node, WRITE, 1).await;
        assert_eq!(intents(&pair.redis), 1, "it stays until the write must be over");
        pair.wire.cut();
        pair.redis.command("DEBUG CHANGE-REPL-ID");
        // That begins an epoch: what is kept goes.
        for _ in 0..PATIENCE {
            if get(node, "/settled").await.cache() != "HIT" {
                break;
            }
        }
        keeps(node, "/settled").await;
        let found = *heard(node, WRITE).await.last().unwrap();
        is_at(node, found, TIMEOUT / 2).await;
        assert!(!stores(node, "/p").await, "it may be committed at any time");
    });
}

fn a_node_brings_its_intents_to_an_epoch_that_knows_nothing_of_them() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let pair = Pair::start(Told::default(), move |_| Answer::json("done").held(&held)).await;
        let node = &pair.second;
        let write = pair.writes("/p").await;
        pair.redis.command("FLUSHALL");
        for turn in 0.. {
            if intents(&pair.redis) == 1 {
                break;
            }
            assert!(turn < PATIENCE, "it is never brought");
            // A question goes by.
            get(&pair.first, "/settled").await;
        }
        pair.wire.cut();
        hears(node, WRITE, 1).await;
        keeps(node, "/settled").await;
        assert!(!stores(node, "/p").await);
        write.abort();
        gate.open();
    });
}

fn nodes_of_other_rules_outdate_what_either_of_them_derives() {
    play(async {
        let told = Told {
            first: "writes: { 'PUT /p': { invalidate: 'of:theirs' } }\n\
                    events: { moved: 'of:{id}' }\n\
                    webhooks: { /hooks/h: { scheme: bearer, secrets: token } }",
            second: "writes: { 'PUT /{x}': { invalidate: 'of:ours-{x} /{body.also}' } }\n\
                     events: { 'moved*': 'of:ours-{id}', other: 'of:other-{id}' }",
            ..Told::default()
        };
        let pair = Pair::start(told, |_| Answer::json("done")).await;
        let node = &pair.second;
        let kept = ["/theirs", "/ours-p", "/p", "/7", "/ours-7", "/other-7"];
        for target in kept {
            keeps(node, target).await;
        }
        let tell = |body: Value| {
            let hook = ask(&pair.first, "POST", "/hooks/h").bearer("token");
            async move { hook.json(&body).reply().await }
        };
        let reply = tell(json!({ "type": "moved", "data": { "id": 7 } })).await;
        assert_eq!(reply.json()["matched"], true, "{}", reply.text());
        let mut caches = Vec::new();
        for target in ["/7", "/ours-7", "/other-7"] {
            caches.push(get(node, target).await.cache().to_owned());
        }
        assert_eq!(caches, ["MISS", "MISS", "HIT"]);
        let reply = tell(json!({ "type": "other", "data": { "id": 7 } })).await;
        assert_eq!(reply.json()["matched"], false, "{}", reply.text());
        assert_eq!(get(node, "/other-7").await.cache(), "MISS", "the first node has no rule for it");
        keeps(node, "/unnamed").await;
        let reply = ask(&pair.first, "PUT", "/p").json(&json!({ "also": "also" })).reply().await;
        assert_eq!((reply.status.as_u16(), reply.header("larder-ack")), (200, Some("applied")));
        for target in ["/p", "/theirs", "/ours-p"] {
            assert_eq!(get(node, target).await.cache(), "MISS", "{target}");
        }
        assert_eq!(
            get(node, "/unnamed").await.cache(),
            "MISS",
            "of a body the second node knows nothing, so it widens"
        );
    });
}

#[test]
fn orphans_are_outdated_and_held() {
    an_orphaned_write_is_outdated_by_the_others_and_held_until_it_must_be_over();
}

#[test]
fn no_second_copy_leaves_without_a_lease() {
    a_write_whose_lease_has_ended_is_not_sent_a_second_time();
}

#[test]
fn what_was_given_up_outlives_its_epoch() {
    what_a_node_has_given_up_is_held_in_the_next_epoch_too();
}

#[test]
fn intents_are_brought_to_the_next_epoch() {
    a_node_brings_its_intents_to_an_epoch_that_knows_nothing_of_them();
}

#[test]
fn each_node_adds_what_its_own_rules_derive() {
    nodes_of_other_rules_outdate_what_either_of_them_derives();
}

#[test]
fn an_answered_write_leaves_no_intent_behind() {
    play(async {
        let pair = Pair::start(Told::default(), |nth| match nth {
            0 => Answer::json("done"),
            1 => Answer::new(204),
            2 => Answer::new(404).text("no"),
            _ => Answer::json("done"),
        })
        .await;
        for ack in [Some("applied"), Some("applied"), None, Some("applied")] {
            let reply = ask(&pair.first, "PUT", "/p").reply().await;
            assert_eq!(reply.header("larder-ack"), ack);
            no_intents_are_left(&pair.redis).await;
            pair.first.counts("larder_fleet_intents_open", 0).await;
        }
        assert_eq!(pair.first.metric("larder_writes_unheld_total").await, 0);
    });
}

#[test]
fn reads_by_post_and_refused_writes_have_no_intent() {
    play(async {
        let told = Told { first: "defaults: { unmatched: origin }\nwrites: {}", ..Told::default() };
        let pair = Pair::start(told, |_| Answer::new(403)).await;
        assert_eq!(ask(&pair.first, "PUT", "/p").reply().await.status, 403);
        no_intents_are_left(&pair.redis).await;
        assert!(heard(&pair.second, WRITE).await.is_empty(), "nothing was outdated");
    });
}

#[test]
fn without_redis_a_write_is_forwarded_and_unconfirmed() {
    play(async {
        let mut pair =
            Pair::start(Told { redis: "ack_timeout: 200ms", ..Told::default() }, |_| Answer::json("done"))
                .await;
        pair.redis.kill();
        pair.first.pass(2 * LEASE);
        let before = pair.origin.count();
        let reply = ask(&pair.first, "PUT", "/p").reply().await;
        assert_eq!((reply.status.as_u16(), reply.header("larder-ack")), (200, Some("unconfirmed")));
        assert_eq!(pair.origin.count(), before + 1);
        assert_eq!(pair.first.metric("larder_writes_unheld_total").await, 1);
    });
}

#[test]
fn where_writes_are_closed_none_is_forwarded_without_redis() {
    play(async {
        let told = Told { redis: "writes_when_down: closed, ack_timeout: 200ms", ..Told::default() };
        let mut pair = Pair::start(told, |_| Answer::json("done")).await;
        pair.redis.kill();
        pair.first.pass(2 * LEASE);
        let before = pair.origin.count();
        let reply = ask(&pair.first, "PUT", "/p").reply().await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("retry-after")),
            (503, Some("1")),
            "{}",
            reply.text()
        );
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        assert_eq!(pair.origin.count(), before, "it was not forwarded");
        assert_eq!(get(&pair.first, "/p").await.status, 200, "reads are answered");
        pair.redis.restart();
        for node in [&pair.first, &pair.second] {
            keeps(node, "/settled").await;
        }
        pair.settle_in().await;
        let reply = ask(&pair.first, "PUT", "/p").reply().await;
        assert_eq!((reply.status.as_u16(), reply.header("larder-ack")), (200, Some("applied")));
    });
}

#[test]
fn whoever_purges_without_redis_is_told_under_which_name_to_ask_again() {
    play(async {
        let told = Told {
            redis: "ack_timeout: 200ms",
            first: "webhooks: { /hooks/h: { scheme: bearer, secrets: token } }",
            ..Told::default()
        };
        let mut pair = Pair::start(told, |_| Answer::json("done")).await;
        keeps(&pair.second, "/p").await;
        pair.redis.kill();
        let purge = |path: &str| pair.first.admin_ask("POST", "/v1/purge").json(&json!({ "paths": [path] }));
        let reply = purge("/p").reply().await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("retry-after")),
            (503, Some("1")),
            "{}",
            reply.text()
        );
        let id = reply.json()["operation"].as_str().unwrap().to_owned();
        let asked = format!("/v1/operations/{id}");
        assert_eq!(pair.first.admin(&asked).await.json()["state"], "pending");
        assert_eq!(pair.second.admin(&asked).await.json()["state"], "lost", "another process has it");
        assert_eq!(pair.first.admin("/v1/operations/x").await.status, 404);
        let hook = || {
            let hook = ask(&pair.first, "POST", "/hooks/h").bearer("token");
            hook.json(&json!({ "paths": ["/q"], "id": "e1" }))
        };
        for _ in 0..2 {
            let reply = hook().reply().await;
            assert_eq!(
                (reply.status.as_u16(), reply.header("retry-after")),
                (503, Some("1")),
                "{}",
                reply.text()
            );
            assert!(reply.json()["operation"].is_string());
        }
        pair.redis.restart();
        for turn in 0.. {
            if pair.first.admin(&asked).await.json()["state"] == "applied" {
                break;
            }
            assert!(turn < PATIENCE, "it is never applied");
            if turn % 100 == 99 {
                pair.first.pass(2 * LEASE);
            }
        }
        assert_eq!(purge("/p").reply().await.status, 200);
        let (sent, copy) = (hook().reply().await, hook().reply().await);
        assert_eq!(
            (sent.status.as_u16(), &sent.json()["matched"]),
            (200, &json!(true)),
            "it was no copy before"
        );
        assert_eq!(copy.json()["duplicate"], true);
    });
}

const BROADCAST: &str = "coherence: broadcast, ack_timeout: 200ms";

/// Asks until `node` answers with this version.
async fn shows(node: &Proxy, target: &str, version: &str) {
    for _ in 0..PATIENCE {
        if get(node, target).await.text() == version {
            return;
        }
    }
    panic!("{target} is never of version {version}");
}

#[test]
fn a_node_that_stops_tells_first_what_it_could_not_tell_before() {
    play(async {
        let told = Told { timeout: Some("60s"), ..Told::default() };
        let pair = Pair::start(told, |_| Answer::json("done")).await;
        keeps(&pair.second, "/p").await;
        pair.wire.cut();
        pair.first.pass(10 * LEASE);
        pair.version.store(2, Ordering::SeqCst);
        let reply = ask(&pair.first, "PUT", "/p").reply().await;
        assert_eq!((reply.status.as_u16(), reply.header("larder-ack")), (200, Some("unconfirmed")));
        let stop = tokio::spawn(pair.first.running().stop(Duration::ZERO, std::future::pending()));
        for _ in 0..PATIENCE / 10 {
            assert_eq!(get(&pair.second, "/p").await.text(), "1", "nobody has told it yet");
        }
        assert!(!stop.is_finished(), "nobody else knows of it");
        pair.wire.mend();
        shows(&pair.second, "/p", "2").await;
        stop.await.unwrap();
    });
}

#[test]
fn under_broadcast_nobody_is_waited_for_and_who_was_cut_off_is_told_when_it_is_back() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let answers = move |nth| match nth {
            0 => Answer::json("done").held(&held),
            _ => Answer::json("done"),
        };
        let pair = Pair::start(Told { redis: BROADCAST, ..Told::default() }, answers).await;
        let write = pair.writes("/x").await;
        assert_eq!(intents(&pair.redis), 0, "nothing is said before it is forwarded");
        gate.open();
        assert_eq!(write.await.unwrap().header("larder-ack"), Some("broadcast"));
        keeps(&pair.first, "/p").await;
        pair.wire.cut();
        pair.first.pass(10 * LEASE);
        pair.version.store(2, Ordering::SeqCst);
        let reply = ask(&pair.second, "PUT", "/p").reply().await;
        assert_eq!((reply.status.as_u16(), reply.header("larder-ack")), (200, Some("broadcast")));
        assert_eq!(get(&pair.second, "/p").await.text(), "2", "here it holds");
        let purge = pair.second.admin_ask("POST", "/v1/purge").json(&json!({ "paths": ["/q"] }));
        let purge = purge.reply().await;
        assert_eq!((purge.status.as_u16(), &purge.json()["ack"]), (200, &json!("broadcast")));
        assert_eq!(pair.second.metric("larder_invalidations_unconfirmed_total").await, 0);
        let reply = get(&pair.first, "/p").await;
        assert_eq!((reply.cache(), reply.text()), ("HIT", "1"), "nobody has told it yet");
        pair.wire.mend();
        shows(&pair.first, "/p", "2").await;
        assert_eq!(pair.first.metric("larder_lease_lost_total").await, 0);
        let node = pair.first.admin("/v1/fleet").await.json()["node"].clone();
        assert_eq!((&node["coherence"], &node["lease_left"]), (&json!("broadcast"), &Value::Null));
    });
}

#[test]
fn under_broadcast_a_node_goes_on_without_redis_and_what_it_could_not_say_is_said_later() {
    play(async {
        let pair = Pair::start(Told { redis: BROADCAST, ..Told::default() }, |_| Answer::json("done")).await;
        for node in [&pair.first, &pair.second] {
            keeps(node, "/p").await;
        }
        keeps(&pair.first, "/q").await;
        pair.wire.cut();
        pair.first.pass(10 * LEASE);
        pair.version.store(2, Ordering::SeqCst);
        let reply = ask(&pair.first, "PUT", "/p").reply().await;
        assert_eq!((reply.status.as_u16(), reply.header("larder-ack")), (200, Some("unconfirmed")));
        assert_eq!(get(&pair.first, "/p").await.text(), "2", "here it holds at once");
        assert_eq!(get(&pair.first, "/q").await.cache(), "HIT", "and it serves what it keeps");
        assert_eq!(get(&pair.second, "/p").await.text(), "1");
        pair.wire.mend();
        shows(&pair.second, "/p", "2").await;
    });
}

#[test]
fn under_broadcast_another_epoch_drops_what_is_kept_and_what_a_node_fetched_is_shared() {
    play(async {
        let pair = Pair::start(Told { redis: BROADCAST, ..Told::default() }, |_| Answer::json("done")).await;
        keeps(&pair.second, "/p").await;
        pair.redis.command("DEBUG CHANGE-REPL-ID");
        for turn in 0.. {
            if get(&pair.second, "/p").await.cache() != "HIT" {
                break;
            }
            assert!(turn < PATIENCE, "it is kept for ever");
        }
        for turn in 0.. {
            // Told behind everybody's back.
            let target = format!("/t{turn}");
            get(&pair.second, &target).await;
            let reply = get(&pair.first, &target).await;
            if reply.header("cache-status").is_some_and(|said| said.contains("detail=tier")) {
                break;
            }
            assert!(turn < PATIENCE, "nothing is shared");
        }
    });
}

#[test]
fn a_node_that_lives_otherwise_is_not_let_in_until_the_others_are_gone() {
    for (first, second) in [("acked", "broadcast"), ("broadcast", "acked")] {
        play(async {
            let origin = Origin::start(|_| Answer::json("1")).await;
            let redis = Redis::start(&[]);
            let yaml = |coherence| {
                format!(
                    "hosts: [api.example]\nroutes: {{ '/{{x}}': 24h }}\nshutdown: {{ timeout: 1s }}\n\
                     redis: {{ url: 'redis://{}', lease: 100ms, ack_timeout: 200ms, coherence: {coherence} }}\n",
                    redis.address()
                )
            };
            let stays = Proxy::start(&origin, &yaml(first)).await;
            stays.pass(2 * LEASE);
            keeps(&stays, "/p").await;
            let comes = Proxy::start(&origin, &yaml(second)).await;
            let seen = |fleet: &Value| fleet["node"]["error"].as_str().unwrap_or_default().to_owned();
            let fleet = comes.admin("/v1/fleet").await.json();
            assert!(seen(&fleet).contains(&format!("coherence: {first}")), "{fleet}");
            assert_eq!(fleet["nodes"].as_array().unwrap().len(), 1, "it has not joined");
            assert_eq!(comes.metric("larder_fleet_away{reason=\"coherence\"}").await, 1);
            for _ in 0..3 {
                assert_ne!(get(&comes, "/p").await.cache(), "HIT", "nothing that it keeps is served");
            }
            // What it brings is written down for the others all the same, once.
            let told = comes.admin_ask("POST", "/v1/purge").json(&json!({ "paths": ["/p"] })).reply().await;
            let status = if second == "acked" { 503 } else { 200 };
            assert_eq!(told.status, status, "{}", told.text());
            let last = comes.admin("/v1/fleet").await.json()["journal"]["last"].as_u64();
            assert_eq!(last, fleet["journal"]["last"].as_u64().map(|last| last + 1));
            let reply = ask(&stays, "PUT", "/p").reply().await;
            let word = if first == "acked" { "applied" } else { "broadcast" };
            assert_eq!(reply.header("larder-ack"), Some(word), "nobody waits for it");
            stays.running().stop(Duration::ZERO, std::future::pending()).await;
            for turn in 0.. {
                if get(&comes, "/p").await.cache() == "HIT" {
                    break;
                }
                assert!(turn < PATIENCE, "it is never let in");
                if turn % 100 == 99 {
                    comes.pass(2 * LEASE);
                }
            }
            assert_eq!(seen(&comes.admin("/v1/fleet").await.json()), "");
        });
    }
}

#[test]
fn the_fleet_tells_which_configuration_each_node_goes_by_now() {
    play(async {
        let origin = Origin::start(|_| Answer::json("1")).await;
        let redis = Redis::start(&[]);
        let yaml = |ttl: &str| {
            let url = redis.url();
            format!(
                "hosts: [api.example]\nroutes: {{ /p: {ttl} }}\nshutdown: {{ timeout: 1s }}\n\
                 redis: {{ url: '{url}', lease: 100ms }}\n"
            )
        };
        let nodes = [Proxy::start(&origin, &yaml("1h")).await, Proxy::start(&origin, &yaml("1h")).await];
        let tell = async |digests: [&str; 2], same: bool| {
            for node in &nodes {
                for turn in 0.. {
                    let fleet = node.admin("/v1/fleet").await.json();
                    let listed = fleet["nodes"].as_array().unwrap();
                    let mut found: Vec<_> = listed
                        .iter()
                        .map(|listed| (listed["config"].as_str(), listed["self"] == json!(true)))
                        .collect();
                    found.sort_unstable();
                    let mut meant: Vec<_> = digests
                        .iter()
                        .zip(&nodes)
                        .map(|(digest, of)| (Some(*digest), of.address == node.address))
                        .collect();
                    meant.sort_unstable();
                    if found == meant && fleet["same_config"] == json!(same) {
                        break;
                    }
                    assert!(turn < PATIENCE, "{fleet:#}");
                }
            }
        };
        // Until then nobody acknowledges anything in a new epoch, and a reload waits for that.
        let settle_in = || nodes.iter().for_each(|node| node.pass(2 * LEASE));
        settle_in();
        let of_start = nodes[0].admin("/v1/status").await.json()["config"]["digest"].clone();
        let old = of_start.as_str().unwrap();
        tell([old, old], true).await;
        let new = nodes[0].reload(&origin, &yaml("2h")).await.digest;
        assert_ne!(old, new);
        tell([&new, old], false).await;
        // Who is registered anew says the same.
        redis.command("FLUSHALL");
        tell([&new, old], false).await;
        settle_in();
        nodes[1].reload(&origin, &yaml("2h")).await;
        tell([&new, &new], true).await;
    });
}

#[cfg(feature = "faults")]
mod faults {
    use std::panic::catch_unwind;
    use std::sync::{Mutex, PoisonError};

    use larder::fault::{Fault, plant};

    /// What is planted is planted for the whole process.
    static ALONE: Mutex<()> = Mutex::new(());

    fn assert_noticed(fault: Fault, story: fn()) {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let _planted = plant(fault);
        assert!(catch_unwind(story).is_err(), "{fault:?} goes unnoticed");
    }

    macro_rules! noticed {
        ($($claim:ident: $fault:ident in $story:ident,)*) => {
            $(#[test]
            fn $claim() {
                assert_noticed(Fault::$fault, super::$story);
            })*
        };
    }

    noticed! {
        an_intent_that_is_left_out_is_noticed:
            IntentLeftOut in an_orphaned_write_is_outdated_by_the_others_and_held_until_it_must_be_over,
        an_orphan_that_is_held_without_the_lease_is_noticed:
            HoldWithoutTheLease in an_orphaned_write_is_outdated_by_the_others_and_held_until_it_must_be_over,
        a_write_that_is_forwarded_without_a_lease_is_noticed:
            ForwardedWithoutALease in a_write_whose_lease_has_ended_is_not_sent_a_second_time,
        an_intent_that_is_closed_by_silence_is_noticed:
            IntentClosedBySilence in what_a_node_has_given_up_is_held_in_the_next_epoch_too,
        intents_that_are_left_in_the_old_epoch_are_noticed:
            IntentsLeftInTheOldEpoch in a_node_brings_its_intents_to_an_epoch_that_knows_nothing_of_them,
        what_the_sender_derived_and_is_left_out_is_noticed:
            OwnExpansionOnly in nodes_of_other_rules_outdate_what_either_of_them_derives,
    }
}
