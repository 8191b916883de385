//! What entries were worth, as it is told, and hits that are held against an origin that changed in silence.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;

use crate::harness::origin::{Answer, Origin, Seen};
use crate::harness::play;
use crate::harness::proxy::Proxy;

const ROUTES: &str = "routes: { '/a/{id}': { ttl: 10m, tags: 'a:{id}' }, '/pass/{x}': bypass }\n";
const AUDITED: &str = "monitor: { audit: { share: 100%, per_second: 1000 } }\n";

fn is_audit(seen: &Seen) -> bool {
    seen.header("larder-purpose") == Some("audit")
}

async fn usage(proxy: &Proxy) -> Value {
    proxy.admin("/v1/usage").await.json()
}

/// The first route of a report.
async fn first(proxy: &Proxy) -> Value {
    usage(proxy).await["routes"][0].clone()
}

#[test]
fn lives_are_told_by_how_they_ended_and_how_much_of_them_was_used() {
    play(async {
        let origin = Origin::start(|_| Answer::json("same")).await;
        let proxy = Proxy::start(&origin, ROUTES).await;
        for target in ["/a/read", "/a/unread", "/a/dropped"] {
            proxy.get(target).reply().await;
        }
        proxy.pass_secs(299);
        usage(&proxy).await;
        proxy.pass_secs(2);
        assert_eq!(proxy.get("/a/read").reply().await.cache(), "HIT");
        usage(&proxy).await;
        assert_eq!(proxy.outdate("a:dropped").await, 1);
        while first(&proxy).await["lives"]["invalidated"] != 1 {}
        proxy.pass_secs(600);
        let mut route = first(&proxy).await;
        while route["lives"]["ended"] != 3 {
            route = first(&proxy).await;
        }
        assert_eq!((&route["lives"]["expired"], &route["lives"]["invalidated"]), (&2.into(), &1.into()));
        let near = |value: &Value, meant: f64| (value.as_f64().unwrap() - meant).abs() < 0.001;
        assert!(near(&route["lives"]["never_read"], 2.0 / 3.0), "{route}");
        assert!(
            near(&route["lives"]["ttl_used"], 0.5 / 3.0),
            "one of three was read, at half of its life: {route}"
        );
        assert_eq!((&route["fills"], &route["top"][0]["target"]), (&3.into(), &"/a/read".into()));
    });
}

#[test]
fn refetches_tell_what_changes_in_silence_and_invalidations_do_not() {
    play(async {
        let origin = Origin::start(|seen| {
            Answer::json(if seen.target == "/a/1" { seen.number() } else { String::new() })
        })
        .await;
        let proxy = Proxy::start(&origin, ROUTES).await;
        for _ in 0..3 {
            proxy.get("/a/1").reply().await;
            proxy.get("/a/2").reply().await;
            proxy.pass_secs(601);
        }
        proxy.get("/a/1").reply().await;
        proxy.outdate("a:1").await;
        proxy.get("/a/1").reply().await;
        let changes = first(&proxy).await["changes"].clone();
        assert_eq!((&changes["refetched"], &changes["changed"]), (&5.into(), &3.into()), "{changes}");
    });
}

/// A proxy whose keys were stored and then changed behind its back where `is_changed` says so; each was read so often
/// since. The origin was asked for `others` besides.
async fn changed_in_silence(
    keys: usize,
    reads: usize,
    others: usize,
    more: &str,
    is_changed: fn(usize) -> bool,
) -> (Origin, Proxy) {
    let has_changed = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&has_changed);
    let origin = Origin::start(move |seen| {
        let key = seen.target.trim_start_matches("/a/").parse().unwrap_or(0);
        Answer::json(if told.load(Ordering::SeqCst) && is_changed(key) { "new" } else { "old" })
    })
    .await;
    let proxy = Proxy::start(&origin, &format!("{ROUTES}{more}")).await;
    for key in 0..keys {
        proxy.get(&format!("/a/{key}")).reply().await;
    }
    has_changed.store(true, Ordering::SeqCst);
    for _ in 0..reads {
        for key in 0..keys {
            proxy.get(&format!("/a/{key}")).reply().await;
        }
    }
    for other in 0..others {
        proxy.get(&format!("/pass/{other}")).reply().await;
    }
    (origin, proxy)
}

#[test]
fn what_changed_in_silence_is_found_at_its_rate_and_within_the_budget() {
    play(async {
        const KEYS: usize = 100;
        const OTHERS: usize = 7_900;
        let (origin, proxy) = changed_in_silence(KEYS, 0, OTHERS, AUDITED, |key| key % 4 == 0).await;
        for key in 0..KEYS {
            assert_eq!(proxy.get(&format!("/a/{key}")).reply().await.cache(), "HIT");
        }
        let mut audit = usage(&proxy).await["all"]["audit"].clone();
        // What is asked for otherwise pays for eighty requests, of which a comparison may take two: so many hits are drawn.
        // If somebody looked while they were read, they are fewer.
        while audit["checks"].as_u64() < Some(36) {
            audit = usage(&proxy).await["all"]["audit"].clone();
        }
        // The last of them end together.
        for _ in 0..50 {
            audit = usage(&proxy).await["all"]["audit"].clone();
        }
        let seen = origin.seen();
        let audits: Vec<&Seen> = seen.iter().filter(|seen| is_audit(seen)).collect();
        assert!(audits.len() * 100 <= KEYS + OTHERS, "{} of {}", audits.len(), KEYS + OTHERS);
        let (stale, same) = (audit["stale"].as_f64().unwrap(), audit["same"].as_f64().unwrap());
        let drawn = stale + same;
        // A quarter was changed; of what is drawn at random so much is stale, but for once in 100,000 times.
        let spread = (0.25 * 0.75 / drawn).sqrt();
        assert!((stale / drawn - 0.25).abs() < 4.5 * spread, "{audit}");
        let [low, high] = [0, 1].map(|end| audit["interval"][end].as_f64().unwrap());
        assert!(low <= stale / drawn * 1e6 && stale / drawn * 1e6 <= high);
        assert!(audits.iter().all(|seen| seen.target.starts_with("/a/")));
        let line = r#"larder_audit_checks_total{route="/a/{id}",result="stale"}"#;
        assert_eq!(proxy.metric(line).await as f64, stale);
    });
}

#[test]
fn nothing_is_asked_unless_the_configuration_says_so() {
    play(async {
        let (origin, proxy) = changed_in_silence(20, 2, 300, "", |_| true).await;
        for _ in 0..3 {
            usage(&proxy).await;
        }
        proxy.settled().await;
        assert_eq!(origin.seen().iter().filter(|seen| is_audit(seen)).count(), 0);
    });
}

#[test]
fn what_is_found_stale_is_dropped_where_that_is_wanted() {
    play(async {
        let more = "monitor: { audit: { share: 100%, per_second: 1000, repair: true } }\n";
        let (_origin, proxy) = changed_in_silence(1, 20, 400, more, |_| true).await;
        while proxy.get("/a/0").reply().await.text() != "new" {
            usage(&proxy).await;
        }
    });
}

#[test]
fn a_body_that_differs_at_every_fetch_is_not_called_stale() {
    play(async {
        let count = AtomicUsize::new(0);
        let origin =
            Origin::start(move |_| Answer::json(count.fetch_add(1, Ordering::SeqCst).to_string())).await;
        let proxy = Proxy::start(&origin, &format!("{ROUTES}{AUDITED}")).await;
        for other in 0..400 {
            proxy.get(&format!("/pass/{other}")).reply().await;
        }
        let mut audit = usage(&proxy).await["all"]["audit"].clone();
        while audit["volatile"] == 0 {
            proxy.get("/a/1").reply().await;
            audit = usage(&proxy).await["all"]["audit"].clone();
        }
        assert_eq!((&audit["stale"], &audit["stale_per_million"]), (&0.into(), &Value::Null), "{audit}");
    });
}

#[test]
fn somebodys_own_entries_are_never_asked_for() {
    play(async {
        let origin = Origin::start(|_| Answer::json("own")).await;
        let proxy = Proxy::start(&origin, &format!("{ROUTES}{AUDITED}")).await;
        for _ in 0..5 {
            proxy.get("/a/1").header("authorization", "Bearer a").reply().await;
        }
        for other in 0..400 {
            proxy.get(&format!("/pass/{other}")).reply().await;
        }
        for _ in 0..3 {
            usage(&proxy).await;
            proxy.settled().await;
        }
        assert_eq!(usage(&proxy).await["all"]["audit"]["checks"], 0);
        assert_eq!(origin.seen().iter().filter(|seen| is_audit(seen)).count(), 0);
    });
}
