//! What is learnt is kept warm, and what is hot is fetched anew before it expires: at no client's cost.

use std::time::Duration;

use crate::harness::origin::{Answer, Origin};
use crate::harness::proxy::Proxy;
use crate::harness::{Gate, play};

const ALL: &str = "routes: { '/{rest:path}': 1h }\nwarm: { learn: { top: 10, every: 30m } }";
const AHEAD: &str = "routes: { '/{rest:path}': 10s }\nwarm: { refresh_ahead: { budget: 100/s } }";

async fn ask(proxy: &Proxy, target: &str, times: usize) {
    for _ in 0..times {
        proxy.get(target).reply().await;
    }
}

/// What the origin was asked for since `from`, in order of names.
fn asked_since(origin: &Origin, from: usize) -> Vec<String> {
    let mut asked: Vec<String> = origin.seen()[from..].iter().map(|seen| seen.target.clone()).collect();
    asked.sort();
    asked
}

#[test]
fn what_clients_ask_for_is_fetched_again_before_they_do() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, ALL).await;
        ask(&proxy, "/a", 5).await;
        ask(&proxy, "/b?x=1", 5).await;
        ask(&proxy, "/once", 1).await;
        proxy.ask("GET", "/own").header("authorization", "Bearer t").reply().await;
        proxy.pass_secs(10);
        proxy.counts("larder_learn_keys", 2).await;
        let before = origin.count();
        assert_eq!(proxy.outdate("/a").await + proxy.outdate("/b").await + proxy.outdate("/once").await, 3);
        proxy.pass_secs(1811);
        proxy.counts("larder_learn_requests_total{result=\"stored\"}", 2).await;
        assert_eq!(asked_since(&origin, before), ["/a", "/b?x=1"]);
        assert_eq!(origin.last().header("larder-purpose"), Some("warm"));
        assert_eq!(proxy.get("/b?x=1").reply().await.cache(), "HIT");
        assert_eq!(proxy.get("/a").reply().await.cache(), "HIT");
        assert_eq!(proxy.get("/once").reply().await.cache(), "MISS");
        assert_eq!(proxy.metric("larder_learn_set").await, 2);
    });
}

#[test]
fn what_is_there_and_stays_is_not_fetched_for_the_set_and_what_is_about_to_expire_is() {
    play(async {
        let origin = Origin::counting().await;
        let yaml = "routes: { /long: 1h, /short: 1840s }\nwarm: { learn: { top: 10, every: 30m } }";
        let proxy = Proxy::start(&origin, yaml).await;
        ask(&proxy, "/long", 5).await;
        ask(&proxy, "/short", 5).await;
        proxy.pass_secs(10);
        proxy.counts("larder_learn_keys", 2).await;
        proxy.pass_secs(1801);
        proxy.counts("larder_learn_requests_total{result=\"fresh\"}", 1).await;
        proxy.counts("larder_learn_requests_total{result=\"stored\"}", 1).await;
        assert_eq!(asked_since(&origin, 2), ["/short"]);
        proxy.pass_secs(60);
        assert_eq!(proxy.get("/short").reply().await.cache(), "HIT");
    });
}

#[test]
fn what_an_invalidation_removed_has_been_learnt_from_all_the_same() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, ALL).await;
        ask(&proxy, "/a", 5).await;
        assert_eq!(proxy.outdate("/a").await, 1);
        proxy.counts("larder_learn_keys", 1).await;
    });
}

#[test]
fn a_variant_is_asked_for_again_as_the_variant_that_it_is() {
    play(async {
        let origin =
            Origin::start(|seen| Answer::json(seen.number()).header("vary", "accept-language")).await;
        let proxy = Proxy::start(&origin, ALL).await;
        for _ in 0..5 {
            proxy.get("/a").header("accept-language", "de").reply().await;
        }
        proxy.pass_secs(10);
        proxy.counts("larder_learn_keys", 1).await;
        proxy.outdate("/a").await;
        proxy.pass_secs(1811);
        proxy.counts("larder_learn_requests_total{result=\"stored\"}", 1).await;
        assert_eq!(origin.last().header("accept-language"), Some("de"));
        let german = proxy.get("/a").header("accept-language", "de").reply().await;
        assert_eq!(german.cache(), "HIT");
    });
}

#[test]
fn a_hot_key_makes_nobody_wait_for_its_revalidation_and_a_cold_one_is_left_to_expire() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| match seen.nth {
            0 | 1 => Answer::json(seen.number()),
            _ => Answer::json(seen.number()).held(&held),
        })
        .await;
        let proxy = Proxy::start(&origin, AHEAD).await;
        ask(&proxy, "/hot", 20).await;
        ask(&proxy, "/cold", 2).await;
        proxy.pass(Duration::from_millis(9_600));
        origin.arrived(3).await;
        assert_eq!(origin.last().target, "/hot");
        // The origin has not answered, and nobody waits for it.
        let meanwhile = proxy.get("/hot").reply().await;
        assert_eq!((meanwhile.cache(), meanwhile.text()), ("HIT", "1"));
        gate.open();
        while proxy.get("/hot").reply().await.text() != "3" {}
        proxy.pass_secs(1);
        assert_eq!(proxy.get("/hot").reply().await.cache(), "HIT", "the first one would be stale");
        assert_eq!(proxy.get("/cold").reply().await.cache(), "MISS");
        assert_eq!(asked_since(&origin, 0), ["/cold", "/cold", "/hot", "/hot"]);
    });
}

#[test]
fn the_budget_is_kept_whatever_is_about_to_expire() {
    play(async {
        let origin = Origin::counting().await;
        let yaml = AHEAD.replace("100/s", "2/s");
        let proxy = Proxy::start(&origin, &yaml).await;
        for key in 0..12 {
            ask(&proxy, &format!("/{key}"), 12).await;
        }
        proxy.pass(Duration::from_millis(9_600));
        proxy.counts("larder_refresh_ahead_total{result=\"renewed\"}", 2).await;
        while proxy.metric("larder_refresh_ahead_total{result=\"budget\"}").await < 5 {}
        origin.arrived(14).await;
        assert_eq!(origin.count(), 14, "the clock stands still: there is no more to spend");
    });
}
