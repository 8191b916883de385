//! A process that is about to go hears of no writes any more: they go elsewhere. So it serves nothing that it keeps.

use std::time::Duration;

use crate::harness::client::all;
use crate::harness::origin::{Answer, Origin, Part};
use crate::harness::proxy::Proxy;
use crate::harness::raw::Raw;
use crate::harness::{Gate, play};

const YAML: &str = "routes: { /a: 1h, /q: { ttl: 1h, methods: [GET, POST], key: { body: raw } } }";
const DRAINING: &str = "larder; fwd=bypass; detail=draining";

#[test]
fn from_the_first_moment_of_its_stop_it_asks_the_origin_for_everything() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, YAML).await;
        while proxy.admin("/readyz").await.status != 200 {}
        for cache in ["MISS", "HIT"] {
            assert_eq!(proxy.get("/a").reply().await.cache(), cache);
            assert_eq!(proxy.ask("POST", "/q").body("x").reply().await.cache(), cache);
        }
        let hurry = Gate::default();
        let hurried = hurry.clone();
        let delay = Duration::from_secs(3600);
        let stop = tokio::spawn(proxy.running().stop(delay, async move { hurried.passed().await }));
        while proxy.admin("/readyz").await.status != 503 {}
        for text in ["3", "4"] {
            let reply = proxy.get("/a").reply().await;
            assert_eq!((reply.text(), reply.cache_status()), (text, DRAINING));
        }
        assert_eq!(proxy.ask("POST", "/q").body("x").reply().await.cache_status(), DRAINING);
        assert_eq!(proxy.get("/a").header("range", "bytes=0-0").reply().await.cache_status(), DRAINING);
        assert_eq!(proxy.metric(r#"larder_bypass_total{route="/a",reason="draining"}"#).await, 3);
        let enable = proxy.admin_ask("POST", "/v1/cache/enable").json(&serde_json::json!({}));
        assert_eq!(enable.reply().await.status, 200);
        assert_eq!(proxy.get("/a").reply().await.cache_status(), DRAINING, "there is no way back");
        hurry.open();
        stop.await.unwrap();
    });
}

#[test]
fn who_was_waiting_for_a_fetch_gets_it_all_the_same() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| Answer::json(seen.number()).held(&held)).await;
        let proxy = Proxy::start(&origin, YAML).await;
        let waiting = (0..3).map(|_| proxy.get("/a").under_way()).collect();
        origin.arrived(1).await;
        proxy.settled().await;
        let stop = tokio::spawn(proxy.running().stop(Duration::ZERO, std::future::pending()));
        gate.open();
        let texts: Vec<_> = all(waiting).await.iter().map(|reply| reply.text().to_owned()).collect();
        assert_eq!((texts, origin.count()), (vec!["1".to_owned(); 3], 1));
        stop.await.unwrap();
    });
}

#[test]
fn what_is_under_way_comes_to_its_last_byte() {
    const LONG: usize = 16 << 20;
    for path in ["/a", "/passed"] {
        play(async {
            let gate = Gate::default();
            let held = gate.clone();
            let origin = Origin::start(move |seen| match seen.target.as_str() {
                "/other" => Answer::json("other"),
                _ => Answer::new(200)
                    .text("first")
                    .part(Part::Gate(held.clone()))
                    .text("x".repeat(LONG))
                    .text("last"),
            })
            .await;
            let proxy = Proxy::start(&origin, YAML).await;
            let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address);
            let [mut early, mut late, mut idle] = [
                Raw::connect(proxy.address).await,
                Raw::connect(proxy.address).await,
                Raw::connect(proxy.address).await,
            ];
            early.send(ask(path)).await;
            early.until("first").await;
            for other in [&mut late, &mut idle] {
                other.send(ask("/other")).await;
                other.until("other").await;
            }
            let stop = tokio::spawn(proxy.running().stop(Duration::ZERO, std::future::pending()));
            while proxy.admin("/readyz").await.status != 503 {}
            late.send(ask(path)).await;
            late.until("first").await;
            // Whoever asks nothing more is let go; everybody else is to end with his answer then.
            idle.rest().await;
            gate.open();
            for reading in [early, late] {
                let rest = reading.rest().await;
                assert_eq!(rest.matches('x').count(), LONG, "{path}");
                assert!(rest.trim_end_matches("\r\n0\r\n\r\n").ends_with("last"), "{path}");
                assert!(rest.ends_with("\r\n0\r\n\r\n"), "{path}: it has an end");
            }
            stop.await.unwrap();
        });
    }
}
