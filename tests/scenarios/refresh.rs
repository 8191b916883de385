//! What a write dropped and was hot is there again before it is asked for (`refresh: true`), and what was not is not.

use std::time::Duration;

use crate::harness::origin::{Answer, Origin, Seen};
use crate::harness::proxy::Proxy;
use crate::harness::{Gate, play};
use crate::writes::{cache, is_write, store};

const RULES: &str = "routes: { '/p/{id}': { ttl: 1h, tags: 'project:{id}' }, /list: { ttl: 1h, tags: list } }\n\
                     writes: { 'PUT /p/{id}': { invalidate: 'project:{id} list', refresh: true } }\n";

/// An origin whose reads say how many writes came before them.
async fn versioned(read: impl Fn(&Seen, String) -> Answer + Send + Sync + 'static) -> Origin {
    let writes = std::sync::atomic::AtomicUsize::new(0);
    Origin::start(move |seen| {
        use std::sync::atomic::Ordering::SeqCst;
        if is_write(seen) {
            writes.fetch_add(1, SeqCst);
            return Answer::new(204);
        }
        read(seen, format!("v{}", writes.load(SeqCst)))
    })
    .await
}

/// A proxy by [`RULES`] before an origin whose reads say nothing else.
async fn shop() -> (Origin, Proxy) {
    let origin = versioned(|_, version| Answer::json(version)).await;
    let proxy = Proxy::start(&origin, RULES).await;
    (origin, proxy)
}

fn reads(origin: &Origin) -> Vec<String> {
    origin.seen().into_iter().filter(|seen| !is_write(seen)).map(|seen| seen.target).collect()
}

#[test]
fn a_read_after_a_write_is_a_hit_with_the_new_body() {
    play(async {
        let (origin, proxy) = shop().await;
        store(&proxy, &["/p/1", "/p/1?x=2", "/list", "/p/2"]).await;
        assert_eq!(proxy.ask("PUT", "/p/1").reply().await.status, 204);
        origin.arrived(4 + 1 + 3).await;
        for target in ["/p/1", "/p/1?x=2", "/list"] {
            assert_eq!(proxy.becomes(target, "HIT").await.text(), "v1", "{target}");
        }
        assert_eq!(proxy.get("/p/2").reply().await.text(), "v0");
        assert_eq!(origin.count(), 8, "each was fetched once, whoever asked");
    });
}

#[test]
fn what_was_not_hot_waits_until_it_is_asked_for() {
    play(async {
        let (origin, proxy) = shop().await;
        proxy.get("/list").reply().await;
        store(&proxy, &["/p/1"]).await;
        proxy.ask("PUT", "/p/1").reply().await;
        origin.arrived(2 + 1 + 1).await;
        assert_eq!(proxy.becomes("/p/1", "HIT").await.text(), "v1");
        assert_eq!(origin.count(), 4);
        assert_eq!(cache(&proxy, "/list").await, "MISS");
    });
}

#[test]
fn what_is_hot_stays_so_for_a_few_writes_that_nobody_reads_between() {
    play(async {
        let (origin, proxy) = shop().await;
        store(&proxy, &["/list"]).await;
        // Fetched once, and once more after each of three writes: a hit is good for so many.
        for write in 1..=3 {
            proxy.ask("PUT", "/p/1").reply().await;
            origin.arrived(1 + 2 * write).await;
            proxy.counts("larder_cache_entries", 1).await;
            proxy.settled().await;
        }
        proxy.ask("PUT", "/p/1").reply().await;
        assert_eq!(cache(&proxy, "/list").await, "MISS");
        assert_eq!(origin.count(), 1 + 2 * 3 + 2);
    });
}

#[test]
fn a_stale_entry_is_hot_only_by_several_hits() {
    play(async {
        let (origin, proxy) = shop().await;
        store(&proxy, &["/p/1", "/list"]).await;
        for _ in 0..2 {
            assert_eq!(cache(&proxy, "/list").await, "HIT");
        }
        proxy.pass_secs(3600);
        proxy.ask("PUT", "/p/1").reply().await;
        origin.arrived(2 + 1 + 1).await;
        assert_eq!(proxy.becomes("/list", "HIT").await.text(), "v1");
        assert_eq!(origin.count(), 4);
        assert_eq!(cache(&proxy, "/p/1").await, "MISS");
    });
}

#[test]
fn what_is_somebodys_own_is_fetched_again_only_by_him() {
    play(async {
        let (origin, proxy) = shop().await;
        let own = || proxy.get("/p/1").header("authorization", "a").reply();
        own().await;
        assert_eq!(own().await.cache(), "HIT");
        store(&proxy, &["/list"]).await;
        proxy.ask("PUT", "/p/1").reply().await;
        proxy.becomes("/list", "HIT").await;
        assert_eq!(origin.count(), 4);
        assert_eq!(own().await.cache(), "MISS");
    });
}

#[test]
fn every_variant_that_was_hot_is_fetched_as_it_was_asked_for_and_in_nobodys_name() {
    play(async {
        let origin = versioned(|seen, version| {
            let answer = Answer::json(version).header("vary", "accept-encoding, x-shop");
            match seen.header("accept-encoding") {
                Some(codings) if codings.contains("gzip") => answer.header("content-encoding", "gzip"),
                _ => answer,
            }
        })
        .await;
        let proxy = Proxy::start(&origin, RULES).await;
        let variants = [("gzip, br", "a"), ("identity", "b")];
        let get = |(codings, shop): (&str, &str)| {
            proxy.get("/p/1").header("accept-encoding", codings).header("x-shop", shop).reply()
        };
        for variant in variants {
            get(variant).await;
            assert_eq!(get(variant).await.cache(), "HIT");
        }
        proxy.ask("PUT", "/p/1").header("cookie", "session=1").reply().await;
        origin.arrived(2 + 1 + 2).await;
        proxy.settled().await;
        for variant in variants {
            let reply = get(variant).await;
            assert_eq!((reply.cache(), reply.text()), ("HIT", "v1"), "{variant:?}");
        }
        let again = &origin.seen()[3..];
        assert!(again.iter().all(|seen| seen.header("cookie").is_none()));
        assert_eq!(again.len(), 2);
    });
}

#[test]
fn a_refresh_and_who_asks_meanwhile_make_one_request() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = versioned(move |_, version| match version.as_str() {
            "v0" => Answer::json(version),
            _ => Answer::json(version).held(&held),
        })
        .await;
        let proxy = Proxy::start(&origin, RULES).await;
        store(&proxy, &["/p/1"]).await;
        proxy.ask("PUT", "/p/1").reply().await;
        origin.arrived(3).await;
        let waiting: Vec<_> = (0..3).map(|_| proxy.get("/p/1").under_way()).collect();
        proxy.settled().await;
        gate.open();
        for reply in waiting {
            assert_eq!(reply.await.unwrap().text(), "v1");
        }
        assert_eq!(origin.count(), 3);
    });
}

#[test]
fn a_refresh_under_way_during_another_write_is_not_stored() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = versioned(move |_, version| match version.as_str() {
            "v1" => Answer::json(version).held(&held),
            _ => Answer::json(version),
        })
        .await;
        let proxy = Proxy::start(&origin, RULES).await;
        store(&proxy, &["/p/1"]).await;
        proxy.ask("PUT", "/p/1").reply().await;
        origin.arrived(3).await;
        proxy.ask("PUT", "/p/1").reply().await;
        assert_eq!(proxy.get("/p/1").reply().await.text(), "v2");
        gate.open();
        proxy.settled().await;
        assert_eq!(proxy.get("/p/1").reply().await.text(), "v2");
    });
}

#[test]
fn a_refresh_waits_until_the_write_has_settled() {
    play(async {
        let origin = versioned(|_, version| Answer::json(version)).await;
        let proxy = Proxy::start(&origin, &format!("{RULES}invalidation: {{ settle: 10ms }}")).await;
        store(&proxy, &["/p/1"]).await;
        proxy.ask("PUT", "/p/1").reply().await;
        // The task waits for as long by the machine's time.
        proxy.pass(Duration::from_millis(10));
        origin.arrived(3).await;
        assert_eq!(proxy.becomes("/p/1", "HIT").await.text(), "v1");
        assert_eq!(reads(&origin).len(), 2);
    });
}

#[test]
fn what_a_second_write_keeps_from_being_stored_is_fetched_again_once_more() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = versioned(move |_, version| match version.as_str() {
            "v1" => Answer::json(version).held(&held),
            _ => Answer::json(version),
        })
        .await;
        let proxy = Proxy::start(&origin, RULES).await;
        store(&proxy, &["/p/1"]).await;
        proxy.ask("PUT", "/p/1").reply().await;
        origin.arrived(3).await;
        proxy.ask("PUT", "/p/1").reply().await;
        gate.open();
        proxy.counts("larder_cache_entries", 1).await;
        let after = proxy.get("/p/1").reply().await;
        assert_eq!((after.text(), after.cache()), ("v2", "HIT"));
        assert_eq!(reads(&origin).len(), 3);
    });
}

#[test]
fn what_may_not_be_stored_any_more_is_fetched_again_once() {
    play(async {
        let origin = versioned(|_, version| match version.as_str() {
            "v0" => Answer::json(version),
            _ => Answer::new(404),
        })
        .await;
        let proxy = Proxy::start(&origin, RULES).await;
        store(&proxy, &["/p/1"]).await;
        proxy.ask("PUT", "/p/1").reply().await;
        origin.arrived(3).await;
        proxy.settled().await;
        proxy.running().stop(Duration::ZERO, std::future::pending()).await;
        assert_eq!(reads(&origin).len(), 2);
    });
}

#[test]
fn a_refresh_that_has_not_begun_ends_with_the_proxy() {
    play(async {
        let origin = versioned(|_, version| Answer::json(version)).await;
        let proxy = Proxy::start(&origin, &format!("{RULES}invalidation: {{ settle: 1h }}")).await;
        store(&proxy, &["/p/1"]).await;
        proxy.ask("PUT", "/p/1").reply().await;
        proxy.running().stop(Duration::ZERO, std::future::pending()).await;
        assert_eq!(reads(&origin).len(), 1);
    });
}

#[test]
fn nothing_is_fetched_again_for_a_write_that_failed_or_a_rule_that_does_not_say_so() {
    play(async {
        let rules =
            "routes: { /a: 1h, /b: 1h }\nwrites: { PUT /a: { refresh: true }, PUT /b: { invalidate: /a } }";
        let origin = Origin::start(|seen| match (is_write(seen), seen.target.as_str()) {
            (true, "/a") => Answer::new(500),
            (true, _) => Answer::new(200),
            (false, _) => Answer::json(seen.number()),
        })
        .await;
        let proxy = Proxy::start(&origin, rules).await;
        for target in ["/a", "/b"] {
            store(&proxy, &["/a", "/b"]).await;
            let before = origin.count();
            proxy.ask("PUT", target).reply().await;
            proxy.settled().await;
            assert_eq!(origin.count(), before + 1, "{target}");
            proxy.pass_secs(60);
            for again in ["/a", "/b"] {
                proxy.get(again).reply().await;
            }
        }
    });
}

#[test]
fn a_write_has_at_most_so_much_fetched_again() {
    play(async {
        let (origin, proxy) = shop().await;
        let targets: Vec<String> = (0..40).map(|n| format!("/p/1?n={n}")).collect();
        for target in &targets {
            store(&proxy, &[target]).await;
        }
        for target in &targets[30..] {
            assert_eq!(cache(&proxy, target).await, "HIT", "the hottest come first");
        }
        proxy.ask("PUT", "/p/1").reply().await;
        origin.arrived(40 + 1 + 32).await;
        proxy.settled().await;
        let again = &reads(&origin)[40..];
        assert_eq!(again.len(), 32);
        assert!(targets[30..].iter().all(|target| again.contains(target)));
    });
}

#[test]
fn four_are_fetched_again_at_once_whoever_wrote() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = versioned(move |_, version| match version.as_str() {
            "v0" => Answer::json(version),
            _ => Answer::json(version).held(&held),
        })
        .await;
        let proxy = Proxy::start(&origin, RULES).await;
        let targets = ["/p/1", "/p/1?a", "/p/1?b", "/p/2", "/p/2?a", "/p/2?b"];
        store(&proxy, &targets).await;
        proxy.ask("PUT", "/p/1").reply().await;
        proxy.ask("PUT", "/p/2").reply().await;
        origin.arrived(6 + 2 + 4).await;
        proxy.settled().await;
        assert_eq!(origin.count(), 6 + 2 + 4);
        gate.open();
        origin.arrived(6 + 2 + 6).await;
        for target in targets {
            assert_eq!(proxy.becomes(target, "HIT").await.text().len(), 2, "{target}");
        }
    });
}
