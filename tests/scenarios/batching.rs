//! What comes from outside within a window is applied as one, and nobody is told that it is done before it is.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::client::{Ask, Reply, all};
use crate::harness::origin::Origin;
use crate::harness::play;
use crate::harness::proxy::Proxy;

/// A window that never ends by itself while a story lasts.
fn yaml(max_batch: usize) -> String {
    format!(
        "routes: {{ '/a/{{id}}': 1h }}\n\
         webhooks: {{ /hooks/x: {{ scheme: bearer, secrets: s3cret }} }}\n\
         invalidation: {{ debounce: 1h, max_batch: {max_batch} }}"
    )
}

fn purge(proxy: &Proxy, words: &str) -> Ask {
    proxy.ask("POST", "/hooks/x").header("authorization", "Bearer s3cret").body(words.to_owned())
}

fn told(reply: &Reply, key: &str) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_slice::<Value>(&reply.body).unwrap()[key].clone()
}

/// The place in the order that an answer names.
fn place(reply: &Reply) -> u64 {
    let position = told(reply, "position");
    position.as_str().unwrap().rsplit('-').next().unwrap().parse().unwrap()
}

async fn store(proxy: &Proxy, targets: &[&str]) {
    for target in targets {
        proxy.get(target).reply().await;
        assert_eq!(proxy.get(target).reply().await.cache(), "HIT", "{target}");
    }
}

#[test]
fn a_batch_is_answered_when_it_is_applied_and_each_hears_of_his_own() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, &yaml(3)).await;
        store(&proxy, &["/a/1", "/a/2", "/a/3"]).await;
        let first = purge(&proxy, "/a/1").under_way();
        let second = purge(&proxy, "/a/2 /a/3").under_way();
        proxy.settled().await;
        assert!(!first.is_finished() && !second.is_finished());
        assert_eq!(proxy.get("/a/1").reply().await.cache(), "HIT", "nobody has been told otherwise");
        let third = purge(&proxy, "/a/{id}").reply().await;
        let replies = [first.await.unwrap(), second.await.unwrap(), third];
        assert_eq!(replies.each_ref().map(|reply| told(reply, "invalidated")), [1, 2, 3]);
        assert_eq!(replies.each_ref().map(place), [1; 3]);
        for target in ["/a/1", "/a/2", "/a/3"] {
            assert_eq!(proxy.get(target).reply().await.cache(), "MISS");
        }
    });
}

#[test]
fn hundreds_of_events_are_a_few_applications() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, &yaml(100)).await;
        store(&proxy, &["/a/7"]).await;
        let events = (0..300).map(|n| purge(&proxy, &format!("/a/{}", n % 10)).under_way());
        let replies = all(events.collect()).await;
        let places: BTreeSet<u64> = replies.iter().map(place).collect();
        assert!(places.into_iter().eq(1..=3));
        assert_eq!(proxy.get("/a/7").reply().await.cache(), "MISS");
        assert_eq!(proxy.metric(r#"larder_invalidations_total{source="webhook",mode="hard"}"#).await, 300);
    });
}

#[test]
fn a_sender_who_hangs_up_takes_nothing_back() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, &yaml(2)).await;
        store(&proxy, &["/a/1"]).await;
        let gone = purge(&proxy, "/a/1").under_way();
        proxy.settled().await;
        gone.abort();
        proxy.settled().await;
        assert_eq!(told(&purge(&proxy, "/a/2").reply().await, "invalidated"), 0);
        assert_eq!(proxy.get("/a/1").reply().await.cache(), "MISS");
    });
}

#[test]
fn a_write_waits_for_no_window() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, &yaml(2)).await;
        store(&proxy, &["/a/1", "/a/2"]).await;
        let waits = purge(&proxy, "/a/2").under_way();
        proxy.settled().await;
        assert_eq!(proxy.ask("PUT", "/a/1").reply().await.status, 200);
        assert_eq!(proxy.get("/a/1").reply().await.cache(), "MISS");
        assert_eq!(proxy.get("/a/2").reply().await.cache(), "HIT");
        purge(&proxy, "/a/3").reply().await;
        assert_eq!(told(&waits.await.unwrap(), "invalidated"), 1);
    });
}

#[test]
fn when_the_process_stops_who_waits_is_answered() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, &yaml(1000)).await;
        store(&proxy, &["/a/1"]).await;
        let waits = purge(&proxy, "/a/1").under_way();
        proxy.settled().await;
        let stopping = proxy.running().stop(std::time::Duration::ZERO, std::future::pending());
        let (reply, ()) = tokio::join!(waits, stopping);
        assert_eq!(told(&reply.unwrap(), "invalidated"), 1);
    });
}

#[test]
fn a_page_of_what_was_invalidated_never_ends_within_a_batch() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, &yaml(3)).await;
        for batch in ["abc", "def"] {
            let words: Vec<String> = batch.chars().map(String::from).collect();
            all(words.iter().map(|word| purge(&proxy, word).under_way()).collect()).await;
        }
        for limit in 1..=7 {
            let (mut since, mut seen) = (Some("0-0".to_owned()), BTreeSet::new());
            while let Some(behind) = since {
                let page =
                    proxy.admin(&format!("/v1/invalidations?since={behind}&limit={limit}")).await.json();
                let told = page["invalidations"].as_array().unwrap().iter();
                seen.extend(told.map(|one| one["reach"][0].as_str().unwrap().to_owned()));
                since = page["next"].as_str().map(str::to_owned);
            }
            assert_eq!(seen.into_iter().collect::<String>(), "abcdef", "{limit} a page");
        }
    });
}
