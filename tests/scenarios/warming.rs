//! What is fetched before the first client comes, in what order, and when the proxy says that it is ready.

use crate::harness::origin::{Answer, Origin};
use crate::harness::proxy::Proxy;
use crate::harness::{Gate, play};

const FOUR: &str = "routes: { '/{rest:path}': 1h }
warm:
  before_ready: 1h
  concurrency: 2
  headers: { X-Warm-Run: '1' }
  requests:
    - { get: /last, priority: 1 }
    - { get: /second }
    - { get: /first, priority: 200 }
    - { get: '/third?x=1' }
";

#[test]
fn the_list_is_fetched_by_priority_and_no_more_at_once_than_it_says() {
    play(async {
        let gates: Vec<Gate> = (0..4).map(|_| Gate::default()).collect();
        let held = gates.clone();
        let origin =
            Origin::start(move |seen| Answer::json(seen.number()).held(&held[seen.nth.min(3)])).await;
        let proxy = Proxy::start(&origin, FOUR).await;
        let mut expected = vec!["/first", "/second"];
        for (done, next) in [None, Some("/third?x=1"), Some("/last")].into_iter().enumerate() {
            expected.extend(next);
            origin.arrived(expected.len()).await;
            proxy.settled().await;
            let seen: Vec<_> = origin.seen().into_iter().map(|seen| seen.target).collect();
            assert_eq!(seen, expected, "two at once");
            gates[done].open();
        }
        assert_eq!(proxy.admin("/readyz").await.status, 503);
        gates.iter().for_each(Gate::open);
        while proxy.admin("/readyz").await.status != 200 {}
        for target in expected {
            assert_eq!(proxy.get(target).reply().await.cache(), "HIT", "{target}");
        }
        assert_eq!(origin.count(), 4);
    });
}

#[test]
fn the_origin_is_told_that_it_is_only_warming() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, FOUR).await;
        while proxy.admin("/readyz").await.status != 200 {}
        for seen in origin.seen() {
            assert_eq!((seen.header("larder-purpose"), seen.header("x-warm-run")), (Some("warm"), Some("1")));
        }
        let host = format!("localhost:{}", proxy.address.port());
        assert_eq!(origin.last().header("host"), Some(host.as_str()));
        // A client cannot say so.
        proxy.ask("POST", "/x").header("larder-purpose", "warm").reply().await;
        assert_eq!(origin.last().header("larder-purpose"), None);
    });
}

#[test]
fn it_is_ready_after_before_ready_even_if_the_list_is_not_done() {
    play(async {
        let never = Gate::default();
        let held = never.clone();
        let origin = Origin::start(move |_| Answer::json("1").held(&held)).await;
        let yaml = "routes: { /a: 1h }\nwarm: { before_ready: 0s, requests: [{ get: /a }] }";
        let proxy = Proxy::start(&origin, yaml).await;
        origin.arrived(1).await;
        while proxy.admin("/readyz").await.status != 200 {}
        assert_eq!(proxy.admin("/readyz").await.status, 200);
        never.open();
        proxy.becomes("/a", "HIT").await;
        assert_eq!(origin.count(), 1);
    });
}

#[test]
fn while_it_warms_it_is_alive_and_serves() {
    play(async {
        let never = Gate::default();
        let held = never.clone();
        let origin = Origin::start(move |seen| match seen.target.as_str() {
            "/a" => Answer::json("1").held(&held),
            _ => Answer::json("other"),
        })
        .await;
        let yaml = "routes: { /a: 1h }\nwarm: { before_ready: 1h, requests: [{ get: /a }] }";
        let proxy = Proxy::start(&origin, yaml).await;
        origin.arrived(1).await;
        assert_eq!(
            (proxy.admin("/livez").await.status.as_u16(), proxy.admin("/readyz").await.status.as_u16()),
            (200, 503)
        );
        assert_eq!(proxy.get("/other").reply().await.text(), "other");
        // Who asks for what is being warmed waits for that fetch.
        let client = proxy.get("/a").under_way();
        proxy.settled().await;
        never.open();
        assert_eq!((client.await.unwrap().text(), origin.count()), ("1", 2));
    });
}

#[test]
fn a_list_without_entries_is_ready_at_once() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, "routes: { /a: 1h }").await;
        while proxy.admin("/readyz").await.status != 200 {}
        assert_eq!(origin.count(), 0);
    });
}

#[test]
fn what_cannot_be_warmed_keeps_nobody_from_being_ready() {
    play(async {
        let origin = Origin::start(|seen| match seen.target.as_str() {
            "/missing" => Answer::new(404),
            "/redirect" => Answer::new(302).header("location", "/elsewhere"),
            "/broken" => Answer::new(500),
            _ => Answer::json("1"),
        })
        .await;
        let yaml = "routes: { '/{rest:path}': 1h }\nwarm: { before_ready: 1h, requests: \
                    [{ get: /missing }, { get: /redirect }, { get: /broken }, { get: /a }] }";
        let proxy = Proxy::start(&origin, yaml).await;
        while proxy.admin("/readyz").await.status != 200 {}
        assert!(origin.seen().iter().all(|seen| seen.target != "/elsewhere"), "no redirect is followed");
        assert_eq!(proxy.get("/a").reply().await.cache(), "HIT");
    });
}

#[test]
fn a_warmed_entry_matches_a_browser() {
    play(async {
        // Starlette with CORS and GZip says so even to a request without either, and compresses nothing this small.
        let origin =
            Origin::start(|seen| Answer::json(seen.number()).header("vary", "Origin, Accept-Encoding")).await;
        let proxy = Proxy::start(&origin, "routes: { /a: 1h }\nwarm: { requests: [{ get: /a }] }").await;
        while proxy.admin("/readyz").await.status != 200 {}
        let browser = proxy.get("/a").header("accept-encoding", "gzip, deflate, br, zstd");
        let browser = browser.header("accept-language", "de-DE,de;q=0.9").header("user-agent", "Mozilla/5.0");
        assert_eq!(browser.reply().await.cache(), "HIT");
    });
}

#[test]
fn a_write_during_warming_is_not_undone_by_it() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| match (seen.method.as_str(), seen.nth) {
            ("PUT", _) => Answer::new(204),
            (_, 0) => Answer::json("old").held(&held),
            _ => Answer::json("new"),
        })
        .await;
        let proxy = Proxy::start(&origin, "routes: { /a: 1h }\nwarm: { requests: [{ get: /a }] }").await;
        origin.arrived(1).await;
        proxy.ask("PUT", "/a").reply().await;
        gate.open();
        while proxy.admin("/readyz").await.status != 200 {}
        assert_eq!(proxy.get("/a").reply().await.text(), "new");
    });
}

#[test]
fn a_client_goes_before_what_is_only_being_warmed() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| {
            let answer = Answer::json(seen.number());
            if seen.nth == 0 { answer.held(&held) } else { answer }
        })
        .await;
        let proxy = Proxy::start(&origin, &format!("limits: {{ upstream_concurrency: 1 }}\n{FOUR}")).await;
        origin.arrived(1).await;
        let client = proxy.get("/client").under_way();
        proxy.settled().await;
        gate.open();
        client.await.unwrap();
        assert_eq!(origin.seen()[1].target, "/client");
    });
}

#[test]
fn what_is_warmed_is_a_hit_under_the_canonical_host() {
    play(async {
        let origin = Origin::counting().await;
        let yaml = "hosts: api.test www.test\nroutes: { /a: 1h }\nwarm: { requests: [{ get: /a }] }";
        let proxy = Proxy::start(&origin, yaml).await;
        while proxy.admin("/readyz").await.status != 200 {}
        for host in ["api.test", "www.test", "API.test:80"] {
            assert_eq!(proxy.get("/a").header("host", host).reply().await.cache(), "HIT", "{host}");
        }
    });
}
