//! HEAD that goes to the origin as it is (`head: forward`), and what its answer makes of the stored GET.

use crate::harness::origin::{Answer, Origin, Part, Seen};
use crate::harness::proxy::Proxy;
use crate::harness::{Gate, play};

const FORWARD: &str = "routes: { /a: { ttl: 1h, head: forward } }";

/// An origin whose GET is fresh for 10 s, and whose HEAD is answered as `head` says.
async fn looking(head: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Origin {
    Origin::start(move |seen| match seen.method.as_str() {
        "HEAD" => head(seen),
        "GET" => Answer::json(format!("body {}", seen.number()))
            .header("etag", "\"v\"")
            .header("x-kept", "1")
            .header("cache-control", "max-age=10"),
        _ => Answer::new(204),
    })
    .await
}

fn same() -> Answer {
    Answer::new(200)
        .header("etag", "\"v\"")
        .header("content-length", "6")
        .header("cache-control", "max-age=100")
}

fn methods(origin: &Origin) -> String {
    origin.seen().iter().map(|seen| seen.method.as_str()).collect::<Vec<_>>().join(" ")
}

async fn cache(proxy: &Proxy, method: &str) -> String {
    proxy.ask(method, "/a").reply().await.cache().to_owned()
}

/// A stored GET that has just become stale.
async fn stale(origin: &Origin, yaml: &str) -> Proxy {
    let proxy = Proxy::start(origin, yaml).await;
    assert_eq!(cache(&proxy, "GET").await, "MISS");
    proxy.pass_secs(11);
    proxy
}

#[test]
fn a_head_fills_as_a_get_unless_it_is_to_be_forwarded() {
    play(async {
        let origin = looking(|_| same()).await;
        let proxy = Proxy::start(&origin, "routes: { /a: 1h }").await;
        assert_eq!(cache(&proxy, "HEAD").await, "MISS");
        assert_eq!(cache(&proxy, "GET").await, "HIT");
        assert_eq!(methods(&origin), "GET");
    });
}

#[test]
fn a_forwarded_head_fills_nothing() {
    play(async {
        let origin = looking(|_| same()).await;
        let proxy = Proxy::start(&origin, FORWARD).await;
        let reply = proxy.ask("HEAD", "/a").header("range", "bytes=0-1").reply().await;
        assert_eq!((reply.status.as_u16(), reply.cache_status()), (200, "larder; fwd=uri-miss"));
        assert_eq!(reply.header("content-length"), Some("6"));
        assert!(origin.last().header("range").is_none());
        assert_eq!(cache(&proxy, "GET").await, "MISS");
        assert_eq!(methods(&origin), "HEAD GET");
    });
}

#[test]
fn a_fresh_get_answers_it() {
    play(async {
        let origin = looking(|_| same()).await;
        let proxy = Proxy::start(&origin, FORWARD).await;
        cache(&proxy, "GET").await;
        assert_eq!(cache(&proxy, "HEAD").await, "HIT");
        assert_eq!(methods(&origin), "GET");
    });
}

#[test]
fn the_same_representation_lives_on_with_the_fields_that_the_head_brings() {
    play(async {
        let origin = looking(|_| same().header("x-new", "2")).await;
        let proxy = stale(&origin, FORWARD).await;
        let reply = proxy.ask("HEAD", "/a").reply().await;
        assert_eq!(reply.cache_status(), "larder; fwd=stale; fwd-status=200; stored");
        assert_eq!((reply.cache(), reply.header("x-kept")), ("REVALIDATED", Some("1")));
        let reply = proxy.get("/a").reply().await;
        assert_eq!((reply.cache(), reply.text(), reply.header("x-new")), ("HIT", "body 1", Some("2")));
        proxy.pass_secs(99);
        assert_eq!(cache(&proxy, "GET").await, "HIT");
        proxy.pass_secs(2);
        assert_eq!(cache(&proxy, "GET").await, "MISS");
    });
}

#[test]
fn another_representation_ends_the_stored_one() {
    play(async {
        let others: [fn() -> Answer; 3] = [
            || Answer::new(200).header("etag", "\"w\""),
            || Answer::new(200).header("etag", "\"v\"").header("content-length", "7"),
            || same().header("last-modified", "Sun, 31 Aug 2025 08:44:00 GMT"),
        ];
        for other in others {
            let origin = looking(move |_| other()).await;
            let proxy = stale(&origin, FORWARD).await;
            let reply = proxy.ask("HEAD", "/a").reply().await;
            assert_eq!((reply.cache_status(), reply.header("x-kept")), ("larder; fwd=stale", None));
            assert_eq!(cache(&proxy, "GET").await, "MISS");
            assert!(origin.last().header("if-none-match").is_none(), "nothing is left to be confirmed");
        }
    });
}

#[test]
fn an_answer_that_is_no_200_says_nothing_of_it() {
    play(async {
        for status in [405, 404, 410, 503] {
            let origin = looking(move |_| Answer::new(status).header("x-new", "2")).await;
            let proxy = stale(&origin, FORWARD).await;
            assert_eq!(proxy.ask("HEAD", "/a").reply().await.status, status);
            proxy.get("/a").reply().await;
            assert_eq!(origin.last().header("if-none-match"), Some("\"v\""), "{status}");
        }
    });
}

#[test]
fn a_stored_get_of_unknown_length_is_compared_by_the_length_that_it_had() {
    play(async {
        let origin = Origin::start(|seen| {
            let open = Gate::default();
            open.open();
            let length = if seen.target == "/a" { "4" } else { "5" };
            match seen.method.as_str() {
                "HEAD" => {
                    Answer::new(200).header("content-length", length).header("cache-control", "max-age=100")
                }
                _ => {
                    Answer::json("ab").part(Part::Gate(open)).text("cd").header("cache-control", "max-age=10")
                }
            }
        })
        .await;
        let proxy = Proxy::start(&origin, "defaults: { head: forward }").await;
        for (target, becomes) in [("/a", "HIT"), ("/b", "MISS")] {
            proxy.get(target).reply().await;
            proxy.pass_secs(11);
            proxy.ask("HEAD", target).reply().await;
            assert_eq!(proxy.get(target).reply().await.cache(), becomes, "{target}");
        }
    });
}

#[test]
fn conditions_are_judged_here() {
    play(async {
        let origin = looking(|seen| {
            assert!(seen.header("if-none-match").is_none());
            same()
        })
        .await;
        let proxy = Proxy::start(&origin, FORWARD).await;
        let reply = proxy.ask("HEAD", "/a").header("if-none-match", "\"v\"").reply().await;
        assert_eq!(reply.status, 304);
    });
}

#[test]
fn a_write_that_is_answered_meanwhile_is_not_undone() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = looking(move |_| same().held(&held)).await;
        let proxy = stale(&origin, FORWARD).await;
        let early = proxy.ask("HEAD", "/a").under_way();
        origin.arrived(2).await;
        proxy.ask("PUT", "/a").reply().await;
        gate.open();
        assert_eq!(early.await.unwrap().status, 200);
        let reply = proxy.get("/a").reply().await;
        assert_eq!((reply.cache(), reply.text()), ("MISS", "body 4"));
    });
}

#[test]
fn what_was_fetched_meanwhile_is_not_replaced() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = looking(move |_| same().header("content-length", "6").held(&held)).await;
        let proxy = stale(&origin, FORWARD).await;
        let early = proxy.ask("HEAD", "/a").under_way();
        origin.arrived(2).await;
        assert_eq!(proxy.get("/a").reply().await.text(), "body 3");
        gate.open();
        early.await.unwrap();
        let reply = proxy.get("/a").reply().await;
        assert_eq!((reply.cache(), reply.text()), ("HIT", "body 3"));
    });
}

#[test]
fn what_is_kept_stands_in_for_an_origin_that_fails() {
    play(async {
        for fails in [|| Answer::new(503), Answer::cut] {
            let origin = looking(move |_| fails()).await;
            let yaml = "routes: { /a: { ttl: 1h, head: forward, stale_if_error: 1h } }";
            let proxy = stale(&origin, yaml).await;
            let reply = proxy.ask("HEAD", "/a").reply().await;
            assert_eq!((reply.status.as_u16(), reply.cache()), (200, "STALE"));
        }
        let origin = looking(|_| Answer::cut()).await;
        let proxy = Proxy::start(&origin, FORWARD).await;
        assert_eq!(proxy.ask("HEAD", "/a").reply().await.status, 502);
    });
}

#[test]
fn a_public_route_whose_origin_wants_to_know_who_asks_is_demoted() {
    play(async {
        let origin = Origin::start(|seen| match seen.header("authorization") {
            None => Answer::new(401),
            Some(_) => Answer::new(200).header("x-known", "1"),
        })
        .await;
        let yaml = "routes: { /a: { ttl: 1h, scope: public, head: forward } }";
        let proxy = Proxy::start(&origin, yaml).await;
        let reply = proxy.ask("HEAD", "/a").header("authorization", "x").reply().await;
        assert_eq!((reply.status.as_u16(), reply.header("x-known")), (200, Some("1")));
        assert_eq!(origin.count(), 2);
    });
}

#[test]
fn only_if_cached_is_obeyed() {
    play(async {
        let origin = looking(|_| same()).await;
        let proxy = Proxy::start(&origin, FORWARD).await;
        let reply = proxy.ask("HEAD", "/a").header("cache-control", "only-if-cached").reply().await;
        assert_eq!((reply.status.as_u16(), origin.count()), (504, 0));
    });
}

#[test]
fn what_only_the_authorized_hear_takes_the_stored_get_from_nobody() {
    play(async {
        for (field, value) in [("authorization", "Bearer anna"), ("cache-control", "no-store")] {
            let origin = looking(|_| same()).await;
            let defaults = "defaults: { scope: origin, client_no_cache: honor, head: forward }";
            let proxy = stale(&origin, defaults).await;
            let reply = proxy.ask("HEAD", "/a").header(field, value).reply().await;
            assert_eq!((reply.status.as_u16(), reply.cache()), (200, "MISS"), "{field}");
            cache(&proxy, "GET").await;
            assert_eq!(origin.last().header("if-none-match"), Some("\"v\""), "{field}");
        }
    });
}

#[test]
fn what_the_answer_says_that_the_get_varies_by_counts_from_then_on() {
    play(async {
        let origin = looking(|_| same().header("vary", "x-flavour")).await;
        let proxy = stale(&origin, FORWARD).await;
        let ask = |method, flavour| proxy.ask(method, "/a").header("x-flavour", flavour).reply();
        assert_eq!(ask("HEAD", "sweet").await.cache(), "REVALIDATED");
        assert_eq!(ask("GET", "sweet").await.cache(), "HIT");
        assert_eq!(ask("GET", "sour").await.cache(), "MISS");
    });
}
