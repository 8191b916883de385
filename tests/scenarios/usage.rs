//! What entries were worth, as it is told, and hits that are held against an origin that changed in silence.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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

/// A proxy that holds hits against the origin without waiting, draws them by a seed, and looks only when it is asked for usage.
async fn auditing(origin: &Origin, more: &str) -> Proxy {
    auditing_by(&format!("upstream: http://{}\n{ROUTES}{more}", origin.address)).await
}

async fn auditing_by(yaml: &str) -> Proxy {
    Proxy::altered(yaml, |config| {
        let harvest = &mut config.monitor.harvest;
        harvest.look = Duration::from_secs(3600);
        harvest.audit.again = Duration::ZERO;
        harvest.audit.seed = Some(6);
    })
    .await
}

/// The origin has been asked so many times more: what pays for audits.
fn asked_elsewhere(proxy: &Proxy, times: u64) {
    (0..times).for_each(|_| proxy.flow.parts().metrics.upstream_request(Duration::ZERO));
}

/// What audits have come to when they have looked at so many hits.
async fn audited(proxy: &Proxy, checks: u64) -> Value {
    loop {
        let audit = usage(proxy).await["all"]["audit"].clone();
        if audit["checks"].as_u64() >= Some(checks) {
            return audit;
        }
    }
}

/// An origin whose keys change in silence, those of which `is_changed` says so, when the switch is thrown.
async fn changing(is_changed: fn(usize) -> bool) -> (Origin, Arc<AtomicBool>) {
    let has_changed = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&has_changed);
    let origin = Origin::start(move |seen| {
        let key = seen.target.trim_start_matches("/a/").parse().unwrap_or(0);
        Answer::json(if told.load(Ordering::SeqCst) && is_changed(key) { "new" } else { "old" })
    });
    (origin.await, has_changed)
}

/// A proxy whose keys were stored and then changed behind its back where `is_changed` says so.
async fn changed_in_silence(keys: usize, more: &str, is_changed: fn(usize) -> bool) -> (Origin, Proxy) {
    let (origin, has_changed) = changing(is_changed).await;
    let proxy = auditing(&origin, more).await;
    for key in 0..keys {
        proxy.get(&format!("/a/{key}")).reply().await;
    }
    has_changed.store(true, Ordering::SeqCst);
    (origin, proxy)
}

fn audits(origin: &Origin) -> Vec<String> {
    origin.seen().into_iter().filter(is_audit).map(|seen| seen.target).collect()
}

#[test]
fn what_is_only_watched_is_not_audited_as_if_it_had_been_served() {
    play(async {
        let (origin, _) = changing(|_| false).await;
        let routes = "routes: { '/a/{id}': { ttl: 10m, mode: shadow }, '/served': 10m }";
        let proxy = auditing_by(&format!("upstream: http://{}\n{routes}\n{AUDITED}", origin.address)).await;
        for target in ["/a/1", "/a/2", "/served"].repeat(2) {
            proxy.get(target).reply().await;
        }
        asked_elsewhere(&proxy, 100_000);
        let audit = audited(&proxy, 1).await;
        assert_eq!((&audit["checks"], audits(&origin)), (&1.into(), vec!["/served".to_owned()]));
        assert_eq!(usage(&proxy).await["all"]["shadow"]["requests"]["hit"], 2, "these were compared anyway");
    });
}

#[test]
fn what_changed_in_silence_is_found_at_its_rate() {
    play(async {
        const KEYS: usize = 60;
        const ROUNDS: u64 = 5;
        const DRAWN: u64 = larder::monitor::audit::MOST_PLACES as u64;
        let is_changed = |key: usize| key.is_multiple_of(4);
        let (origin, proxy) = changed_in_silence(KEYS, AUDITED, is_changed).await;
        let reads = |key: usize| if key < 6 { 4 } else { 1 };
        let hits = |keys: &mut dyn Iterator<Item = usize>| keys.map(reads).sum::<usize>() as f64;
        let injected = hits(&mut (0..KEYS).filter(|key| is_changed(*key))) / hits(&mut (0..KEYS));
        // So often hits of different keys were compared, by whether the origin had to be asked twice.
        let (mut changed, mut same) = (0, 0);
        let mut audit = Value::Null;
        for round in 1..=ROUNDS {
            asked_elsewhere(&proxy, 2 * 100 * DRAWN);
            for key in (0..KEYS).flat_map(|key| vec![key; reads(key)]) {
                assert_eq!(proxy.get(&format!("/a/{key}")).reply().await.cache(), "HIT");
            }
            let before = audits(&origin).len();
            audit = audited(&proxy, round * DRAWN).await;
            let mut asked: BTreeMap<String, u64> = BTreeMap::new();
            audits(&origin).drain(before..).for_each(|target| *asked.entry(target).or_default() += 1);
            for (target, times) in asked {
                let key = target.trim_start_matches("/a/").parse().unwrap();
                assert_eq!(times, if is_changed(key) { 2 } else { 1 }, "{target}");
                *(if is_changed(key) { &mut changed } else { &mut same }) += 1;
            }
        }
        let of = |name: &str| audit[name].as_u64().unwrap();
        assert_eq!(of("checks"), ROUNDS * DRAWN);
        assert_eq!(of("stale") + of("same"), ROUNDS * DRAWN, "all of them could be judged: {audit}");
        assert!(of("stale") >= changed && of("same") >= same && changed > 0, "{changed}, {same}: {audit}");
        let [low, high] = [0, 1].map(|end| audit["interval"][end].as_f64().unwrap() / 1e6);
        let found = audit["stale_per_million"].as_f64().unwrap() / 1e6;
        assert_eq!(found, of("stale") as f64 / (ROUNDS * DRAWN) as f64);
        assert!((low..=high).contains(&injected), "{injected} is not in {low} to {high}: {audit}");
        assert!(high - low < 0.2, "it says something: {audit}");
        let line = r#"larder_audit_checks_total{route="/a/{id}",result="stale"}"#;
        assert_eq!(proxy.metric(line).await, of("stale"));
    });
}

#[test]
fn audits_ask_for_a_hundredth_of_what_is_asked_otherwise_and_for_no_more() {
    play(async {
        const KEYS: usize = 50;
        let (origin, proxy) = changed_in_silence(KEYS, AUDITED, |_| true).await;
        asked_elsewhere(&proxy, 1000 - KEYS as u64);
        let read_and_look = async |key| {
            proxy.get(&format!("/a/{key}")).reply().await;
            usage(&proxy).await;
        };
        while audits(&origin).len() < 10 {
            read_and_look(7).await;
        }
        for key in 0..KEYS {
            read_and_look(key).await;
        }
        proxy.settled().await;
        assert_eq!(audits(&origin).len(), 10);
        assert_eq!(proxy.flow.parts().metrics.asked_of_origin(), 1000, "audits do not pay for audits");
    });
}

#[test]
fn hits_that_somebody_else_has_looked_at_are_drawn_all_the_same() {
    play(async {
        let (_origin, proxy) = changed_in_silence(1, AUDITED, |_| true).await;
        asked_elsewhere(&proxy, 400);
        proxy.get("/a/0").reply().await;
        let store = &proxy.flow.parts().store;
        store.list(None, usize::MAX).iter().for_each(|entry| assert_eq!(store.look_at(entry).hits, 1));
        assert_eq!(audited(&proxy, 1).await["stale"], 1);
    });
}

#[test]
fn what_audits_find_counts_for_the_ttl_and_each_change_once() {
    play(async {
        let (_origin, proxy) = changed_in_silence(4, AUDITED, |key| key == 0).await;
        let changes = async || {
            let changes = &first(&proxy).await["changes"];
            (changes["refetched"].as_u64().unwrap(), changes["changed"].as_u64().unwrap())
        };
        let read = async || {
            asked_elsewhere(&proxy, 20_000);
            proxy.pass_secs(100);
            for read in 0..64 {
                proxy.get(&format!("/a/{}", read % 4)).reply().await;
            }
        };
        read().await;
        audited(&proxy, 64).await;
        assert_eq!(changes().await, (4, 1));
        read().await;
        audited(&proxy, 128).await;
        assert_eq!(changes().await, (7, 1), "that it has changed was known");
        proxy.pass_secs(600);
        read().await;
        assert_eq!(changes().await, (10, 1), "and is not told once more when it is fetched again");
    });
}

#[test]
fn nothing_is_asked_unless_the_configuration_says_so() {
    play(async {
        let (origin, proxy) = changed_in_silence(5, "", |_| true).await;
        for key in 0..5 {
            proxy.get(&format!("/a/{key}")).reply().await;
        }
        asked_elsewhere(&proxy, 400);
        for _ in 0..3 {
            usage(&proxy).await;
        }
        proxy.settled().await;
        assert_eq!(audits(&origin).len(), 0);
    });
}

#[test]
fn what_is_found_stale_is_dropped_where_that_is_wanted() {
    play(async {
        let more = "monitor: { audit: { share: 100%, per_second: 1000, repair: true } }\n";
        let (_origin, proxy) = changed_in_silence(1, more, |_| true).await;
        asked_elsewhere(&proxy, 400);
        while proxy.get("/a/0").reply().await.text() != "new" {
            usage(&proxy).await;
        }
    });
}

#[test]
fn a_body_that_differs_at_every_fetch_is_not_called_stale() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = auditing(&origin, AUDITED).await;
        asked_elsewhere(&proxy, 400);
        for _ in 0..2 {
            proxy.get("/a/1").reply().await;
        }
        let audit = audited(&proxy, 1).await;
        assert_eq!((&audit["volatile"], &audit["stale"]), (&1.into(), &0.into()), "{audit}");
        assert_eq!(audit["stale_per_million"], Value::Null, "{audit}");
        assert_eq!(first(&proxy).await["changes"]["refetched"], 0, "it says nothing of changes either");
    });
}

#[test]
fn somebodys_own_entries_are_never_asked_for() {
    play(async {
        let origin = Origin::start(|_| Answer::json("own")).await;
        let proxy = auditing(&origin, AUDITED).await;
        asked_elsewhere(&proxy, 2000);
        for _ in 0..5 {
            proxy.get("/a/1").header("authorization", "Bearer a").reply().await;
            proxy.get("/a/2").reply().await;
        }
        assert_eq!(audited(&proxy, 4).await["checks"], 4, "of everybody's, all hits");
        proxy.settled().await;
        let seen = origin.seen();
        let audits: Vec<&Seen> = seen.iter().filter(|seen| is_audit(seen)).collect();
        assert!(audits.iter().all(|seen| seen.target == "/a/2" && seen.header("authorization").is_none()));
    });
}

#[test]
fn a_query_is_asked_again_with_its_content_and_a_post_never() {
    play(async {
        let has_changed = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&has_changed);
        let origin = Origin::start(move |seen| {
            let is_new = told.load(Ordering::SeqCst) && &*seen.body == b"select 1";
            Answer::json(format!("{} {is_new}", str::from_utf8(&seen.body).unwrap()))
        })
        .await;
        let find = "  /q: { ttl: 1h, methods: [GET, QUERY, POST], key: { body: json } }\n  /s: 1h\n";
        let yaml = format!("upstream: http://{}\nroutes:\n{find}{AUDITED}", origin.address);
        let proxy = auditing_by(&yaml).await;
        let ask = async |method: &str, path: &str, kind: &str, content: &'static str| {
            let asked = proxy.ask(method, path).header("content-type", kind).body(content);
            asked.reply().await.cache().to_owned()
        };
        for meant in ["MISS", "HIT"] {
            for content in ["select 1", "select 2"] {
                assert_eq!(ask("QUERY", "/s", "application/sql", content).await, meant);
            }
            assert_eq!(ask("POST", "/q", "application/json", "{}").await, meant);
            has_changed.store(true, Ordering::SeqCst);
        }
        asked_elsewhere(&proxy, 2000);
        let audit = audited(&proxy, 2).await;
        assert_eq!((&audit["stale"], &audit["same"]), (&1.into(), &1.into()), "{audit}");
        proxy.settled().await;
        let seen = origin.seen();
        let mut audits: Vec<_> = seen.iter().filter(|seen| is_audit(seen)).collect();
        audits.sort_by_key(|seen| seen.body.clone());
        let asked: Vec<_> = audits.iter().map(|seen| (&*seen.method, &*seen.body)).collect();
        assert_eq!(asked, [("QUERY", &b"select 1"[..]), ("QUERY", b"select 1"), ("QUERY", b"select 2")]);
        assert!(audits.iter().all(|seen| seen.header("content-type") == Some("application/sql")));
    });
}
