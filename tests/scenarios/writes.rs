//! What a write outdates, and that a body fetched before it was answered is never served after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;

use crate::harness::client::{all, next, read};
use crate::harness::origin::{Answer, Origin, Part, Seen};
use crate::harness::proxy::Proxy;
use crate::harness::raw::Raw;
use crate::harness::{Gate, play};

const HOUR: &str = "routes: { /a: 1h, '/b/{id}': 1h }";
const KEEP: &str = "routes: { /a: 1h, '/b/{id}': 1h }\ninvalidation: { on_server_error: keep, settle: 0s }";

/// An origin with one value: an unsafe request raises it, a read says what it was when the read came.
/// `shape` makes the answer to the first read at or after the `from`th of all requests out of the value.
async fn versioned(from: usize, shape: impl Fn(String) -> Answer + Send + Sync + 'static) -> Origin {
    let version = AtomicUsize::new(0);
    let shaped = AtomicUsize::new(0);
    Origin::start(move |seen| {
        if is_write(seen) {
            version.fetch_add(1, Ordering::SeqCst);
            return Answer::new(204);
        }
        let value = format!("v{}", version.load(Ordering::SeqCst));
        if seen.nth >= from && shaped.fetch_add(1, Ordering::SeqCst) == 0 {
            return shape(value);
        }
        Answer::json(value).header("etag", "\"same\"")
    })
    .await
}

/// The same, whose shaped answer waits at the gate wherever `shape` puts it.
async fn held(
    from: usize,
    shape: impl Fn(String, &Gate) -> Answer + Send + Sync + 'static,
) -> (Gate, Origin) {
    let gate = Gate::default();
    let own = gate.clone();
    (gate, versioned(from, move |value| shape(value, &own)).await)
}

/// A proxy that has just served `/a` stale, and asked `origin` for it behind that.
async fn refreshing(origin: &Origin) -> Proxy {
    let proxy = Proxy::start(origin, "routes: { /a: { ttl: 1m, stale_while_revalidate: 1h } }").await;
    proxy.get("/a").reply().await;
    proxy.pass_secs(60);
    assert_eq!(cache(&proxy, "/a").await, "STALE");
    origin.arrived(2).await;
    proxy
}

pub(crate) fn is_write(seen: &Seen) -> bool {
    !matches!(seen.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

/// An origin that counts reads, and answers writes as `write` says.
pub(crate) async fn writing(write: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Origin {
    Origin::start(move |seen| if is_write(seen) { write(seen) } else { Answer::json(seen.number()) }).await
}

/// Reads `targets`, so that they are stored.
pub(crate) async fn store(proxy: &Proxy, targets: &[&str]) {
    for target in targets {
        proxy.get(target).reply().await;
        assert_eq!(proxy.get(target).reply().await.cache(), "HIT", "{target}");
    }
}

pub(crate) async fn cache(proxy: &Proxy, target: &str) -> String {
    proxy.get(target).reply().await.cache().to_owned()
}

// ---- a fetch under way ------------------------------------------------------------------------------------------

#[test]
fn a_fetch_that_waits_for_its_head_during_a_write_is_good_only_for_who_asked_before() {
    play(async {
        let (gate, origin) = held(0, |value, gate| Answer::json(value).held(gate)).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let early = proxy.get("/a").under_way();
        origin.arrived(1).await;
        assert_eq!(proxy.ask("PUT", "/a").reply().await.status, 204);
        let during = proxy.get("/a").reply().await;
        assert_eq!((during.text(), during.cache()), ("v1", "MISS"));
        gate.open();
        assert_eq!(early.await.unwrap().text(), "v0");
        let after = proxy.get("/a").reply().await;
        assert_eq!((after.text(), after.cache()), ("v1", "HIT"));
    });
}

#[test]
fn a_fetch_that_ends_after_the_write_and_before_the_next_read_is_not_kept() {
    play(async {
        let (gate, origin) = held(0, |value, gate| Answer::json(value).held(gate)).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let early = proxy.get("/a").under_way();
        origin.arrived(1).await;
        proxy.ask("PUT", "/a").reply().await;
        gate.open();
        assert_eq!(early.await.unwrap().text(), "v0");
        let after = proxy.get("/a").reply().await;
        assert_eq!((after.text(), after.cache()), ("v1", "MISS"));
        assert_eq!(proxy.metric("larder_fills_discarded_total{reason=\"invalidated\"}").await, 1);
    });
}

#[test]
fn a_fetch_between_head_and_body_during_a_write_is_good_only_for_who_asked_before() {
    play(async {
        let (gate, origin) =
            held(0, |value, gate| Answer::json("").part(Part::Gate(gate.clone())).text(value)).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let early = proxy.get("/a").head().await;
        assert_eq!(early.status(), 200);
        proxy.ask("PUT", "/a").reply().await;
        assert_eq!(proxy.get("/a").reply().await.text(), "v1");
        gate.open();
        assert_eq!(read(early.into_body()).await, ("v0".into(), true));
        assert_eq!(proxy.get("/a").reply().await.text(), "v1");
    });
}

#[test]
fn a_fetch_in_mid_body_during_a_write_is_good_only_for_who_asked_before() {
    play(async {
        let (gate, origin) =
            held(0, |value, gate| Answer::json(value).part(Part::Gate(gate.clone())).text(" old")).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let mut early = proxy.get("/a").head().await;
        assert_eq!(next(early.body_mut()).await, "v0");
        proxy.ask("PUT", "/a").reply().await;
        assert_eq!(proxy.get("/a").reply().await.text(), "v1");
        gate.open();
        assert_eq!(read(early.into_body()).await, (" old".into(), true));
        assert_eq!(proxy.get("/a").reply().await.text(), "v1");
    });
}

#[test]
fn those_who_waited_before_the_write_may_get_the_older_body_and_those_after_it_never() {
    play(async {
        let (gate, origin) = held(0, |value, gate| Answer::json(value).held(gate)).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let before: Vec<_> = (0..3).map(|_| proxy.get("/a").under_way()).collect();
        origin.arrived(1).await;
        proxy.settled().await;
        proxy.ask("PUT", "/a").reply().await;
        let after: Vec<_> = (0..3).map(|_| proxy.get("/a").under_way()).collect();
        for reply in after {
            assert_eq!(reply.await.unwrap().text(), "v1");
        }
        gate.open();
        for reply in before {
            assert_eq!(reply.await.unwrap().text(), "v0");
        }
        assert_eq!(origin.count(), 3);
    });
}

#[test]
fn three_writes_in_a_row_leave_two_flights_in_the_air_and_the_last_word_to_the_last() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let version = Arc::new(AtomicUsize::new(0));
        let origin = Origin::start(move |seen| {
            if is_write(seen) {
                version.fetch_add(1, Ordering::SeqCst);
                return Answer::new(204);
            }
            Answer::json(format!("v{}", version.load(Ordering::SeqCst))).held(&held)
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let mut reads = vec![proxy.get("/a").under_way()];
        origin.arrived(1).await;
        for writes in 1..=3 {
            proxy.ask("PUT", "/a").reply().await;
            reads.push(proxy.get("/a").under_way());
            proxy.settled().await;
            let at_the_origin = origin.seen().iter().filter(|seen| !is_write(seen)).count();
            assert_eq!(at_the_origin, 2, "after {writes} writes");
        }
        gate.open();
        let mut values = Vec::new();
        for reply in reads {
            values.push(reply.await.unwrap().text().to_owned());
        }
        assert_eq!(values, ["v0", "v1", "v3", "v3"]);
        assert_eq!(proxy.get("/a").reply().await.text(), "v3");
    });
}

#[test]
fn a_read_during_the_write_is_not_kept_beyond_its_answer() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = writing(move |_| Answer::new(204).held(&held)).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let write = proxy.ask("PUT", "/a").under_way();
        origin.arrived(1).await;
        store(&proxy, &["/a"]).await;
        gate.open();
        write.await.unwrap();
        assert_eq!(cache(&proxy, "/a").await, "MISS");
    });
}

#[test]
fn a_revalidation_under_way_during_a_write_does_not_revive_the_old_body() {
    play(async {
        // The origin's validator is weak in spirit: the same before and after the write.
        let (gate, origin) = held(1, |_, gate| Answer::new(304).header("etag", "\"same\"").held(gate)).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        assert_eq!(proxy.get("/a").reply().await.text(), "v0");
        proxy.pass_secs(3600);
        let early = proxy.get("/a").under_way();
        origin.arrived(2).await;
        proxy.ask("PUT", "/a").reply().await;
        gate.open();
        early.await.unwrap();
        let after = proxy.get("/a").reply().await;
        assert_eq!((after.text(), after.cache()), ("v1", "MISS"));
    });
}

#[test]
fn a_background_refresh_under_way_during_a_write_does_not_revive_the_old_body() {
    play(async {
        let (gate, origin) = held(1, |value, gate| Answer::json(value).held(gate)).await;
        let proxy = refreshing(&origin).await;
        proxy.ask("PUT", "/a").reply().await;
        let during = proxy.get("/a").reply().await;
        assert_eq!(during.text(), "v1");
        gate.open();
        proxy.settled().await;
        assert_eq!(proxy.get("/a").reply().await.text(), "v1");
    });
}

#[test]
fn a_background_revalidation_under_way_during_a_write_does_not_revive_the_old_body() {
    play(async {
        let (gate, origin) = held(1, |_, gate| Answer::new(304).header("etag", "\"same\"").held(gate)).await;
        let proxy = refreshing(&origin).await;
        proxy.ask("PUT", "/a").reply().await;
        gate.open();
        proxy.settled().await;
        assert_eq!(proxy.get("/a").reply().await.text(), "v1");
    });
}

#[test]
fn a_stale_answer_does_not_stand_in_for_a_failing_origin_after_a_write() {
    play(async {
        let (gate, origin) = held(1, |_, gate| Answer::new(503).held(gate)).await;
        let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 1m, stale_if_error: 1h } }").await;
        proxy.get("/a").reply().await;
        proxy.pass_secs(60);
        let early = proxy.get("/a").under_way();
        origin.arrived(2).await;
        proxy.ask("PUT", "/a").reply().await;
        gate.open();
        assert_eq!(early.await.unwrap().status, 503);
    });
}

// ---- whether a write counts -------------------------------------------------------------------------------------

#[test]
fn a_write_that_is_refused_leaves_everything_as_it_was() {
    play(async {
        for status in [400, 401, 403, 404, 409, 422] {
            let origin = writing(move |_| Answer::new(status)).await;
            let proxy = Proxy::start(&origin, HOUR).await;
            store(&proxy, &["/a"]).await;
            assert_eq!(proxy.ask("PUT", "/a").reply().await.status, status);
            assert_eq!(cache(&proxy, "/a").await, "HIT", "{status}");
        }
    });
}

#[test]
fn a_write_that_is_answered_with_2xx_or_3xx_outdates() {
    play(async {
        for status in [200, 201, 202, 204, 302, 303, 307] {
            let origin = writing(move |_| Answer::new(status)).await;
            let proxy = Proxy::start(&origin, HOUR).await;
            store(&proxy, &["/a"]).await;
            proxy.ask("PUT", "/a").reply().await;
            assert_eq!(cache(&proxy, "/a").await, "MISS", "{status}");
        }
    });
}

#[test]
fn a_write_that_fails_at_the_origin_outdates_since_nobody_knows_what_it_did() {
    play(async {
        for status in [500, 502, 503, 504] {
            let origin = writing(move |_| Answer::new(status)).await;
            let proxy = Proxy::start(&origin, HOUR).await;
            store(&proxy, &["/a"]).await;
            assert_eq!(proxy.ask("PUT", "/a").reply().await.status, status);
            assert_eq!(cache(&proxy, "/a").await, "MISS", "{status}");
        }
    });
}

#[test]
fn a_write_that_fails_at_the_origin_outdates_nothing_if_the_configuration_says_so() {
    play(async {
        for (status, cached) in [
            (500, "HIT"),
            (502, "HIT"),
            (503, "HIT"),
            (504, "HIT"),
            (599, "HIT"),
            (200, "MISS"),
            (303, "MISS"),
        ] {
            let origin = writing(move |_| Answer::new(status).header("location", "/b/1")).await;
            let proxy = Proxy::start(&origin, KEEP).await;
            store(&proxy, &["/a", "/b/1"]).await;
            assert_eq!(proxy.ask("M-SEARCH", "/a").reply().await.status, status);
            assert_eq!([cache(&proxy, "/a").await, cache(&proxy, "/b/1").await], [cached; 2], "{status}");
        }
    });
}

#[test]
fn a_write_of_which_nobody_knows_whether_it_was_done_outdates_whatever_the_configuration_says() {
    play(async {
        let never = Gate::default();
        let (cut, late) = (Answer::cut(), Answer::new(204).held(&never));
        for (answer, status) in [(cut, 502), (late, 504)] {
            let origin = writing(move |_| answer.clone()).await;
            let proxy =
                Proxy::start(&origin, &format!("limits: {{ upstream_timeout: 100ms }}\n{KEEP}")).await;
            store(&proxy, &["/a"]).await;
            assert_eq!(proxy.ask("PUT", "/a").reply().await.status, status);
            assert_eq!(cache(&proxy, "/a").await, "MISS", "{status}");
        }
    });
}

#[test]
fn a_write_whose_connection_breaks_outdates_and_is_not_sent_twice() {
    play(async {
        let origin = writing(|_| Answer::cut()).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        store(&proxy, &["/a"]).await;
        assert_eq!(proxy.ask("POST", "/a").body("x").reply().await.status, 502);
        assert_eq!(origin.count(), 2);
        assert_eq!(cache(&proxy, "/a").await, "MISS");
    });
}

#[test]
fn a_write_that_had_to_be_sent_twice_outdates_though_the_second_copy_is_refused() {
    play(async {
        for status in [404, 410, 412] {
            let first = AtomicUsize::new(0);
            let origin = writing(move |_| match first.fetch_add(1, Ordering::SeqCst) {
                0 => Answer::cut(),
                _ => Answer::new(status),
            })
            .await;
            let proxy = Proxy::start(&origin, HOUR).await;
            store(&proxy, &["/a"]).await;
            assert_eq!(proxy.ask("DELETE", "/a").reply().await.status, status);
            assert_eq!(origin.count(), 3, "what has no body is sent again");
            assert_eq!(cache(&proxy, "/a").await, "MISS", "{status}");
        }
    });
}

#[test]
fn a_write_that_gets_no_answer_in_time_outdates() {
    play(async {
        let never = Gate::default();
        let origin = writing(move |_| Answer::new(204).held(&never)).await;
        let proxy = Proxy::start(&origin, &format!("limits: {{ upstream_timeout: 100ms }}\n{HOUR}")).await;
        store(&proxy, &["/a"]).await;
        assert_eq!(proxy.ask("PUT", "/a").reply().await.status, 504);
        assert_eq!(cache(&proxy, "/a").await, "MISS");
    });
}

#[test]
fn who_comes_when_an_unknown_outcome_is_over_joins_no_fetch_from_before_that() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| match is_write(seen) {
            true => Answer::new(500),
            false => Answer::json(seen.number()).held(&held),
        })
        .await;
        let proxy = Proxy::start(&origin, &format!("limits: {{ upstream_timeout: 30s }}\n{HOUR}")).await;
        assert_eq!(proxy.ask("PUT", "/a").reply().await.status, 500);
        let mut replies = vec![proxy.get("/a").under_way()];
        origin.arrived(2).await;
        proxy.pass_secs(29);
        replies.push(proxy.get("/a").under_way());
        proxy.settled().await;
        assert_eq!(origin.count(), 2, "the write may still be done: what is fetched now is no newer");
        proxy.pass_secs(1);
        replies.push(proxy.get("/a").under_way());
        origin.arrived(3).await;
        replies.push(proxy.get("/a").under_way());
        proxy.settled().await;
        gate.open();
        let texts: Vec<_> = all(replies).await.iter().map(|reply| reply.text().to_owned()).collect();
        assert_eq!(texts, ["2", "2", "3", "3"]);
        assert_eq!(proxy.get("/a").reply().await.text(), "3");
    });
}

#[test]
fn a_write_that_never_reached_the_origin_leaves_everything_as_it_was() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, HOUR).await;
        store(&proxy, &["/a"]).await;
        origin.stop().await;
        // The pooled connection may have been tried first; then nobody knows, and a second write meets no one.
        proxy.ask("PUT", "/b/1").reply().await;
        assert_eq!(proxy.ask("PUT", "/a").reply().await.status, 502);
        assert_eq!(cache(&proxy, "/a").await, "HIT");
    });
}

#[test]
fn a_write_whose_client_has_left_outdates_all_the_same() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = writing(move |_| Answer::new(204).held(&held)).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        store(&proxy, &["/a"]).await;
        let write = proxy.ask("PUT", "/a").under_way();
        origin.arrived(2).await;
        write.abort();
        assert!(write.await.is_err());
        proxy.settled().await;
        assert_eq!(cache(&proxy, "/a").await, "HIT", "the origin has not said anything yet");
        gate.open();
        proxy.becomes("/a", "MISS").await;
    });
}

#[test]
fn the_write_is_answered_only_after_the_entry_is_gone() {
    play(async {
        let origin = writing(|_| Answer::new(204)).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        for _ in 0..20 {
            store(&proxy, &["/a"]).await;
            // The read leaves with the first byte of the write's answer.
            assert_eq!(proxy.ask("PUT", "/a").head().await.status(), 204);
            assert_eq!(cache(&proxy, "/a").await, "MISS");
        }
    });
}

#[test]
fn every_unsafe_method_counts_the_unknown_ones_too() {
    play(async {
        for method in ["POST", "PUT", "PATCH", "DELETE", "FROBNICATE", "purge"] {
            let origin = writing(|_| Answer::new(204)).await;
            let proxy = Proxy::start(&origin, HOUR).await;
            store(&proxy, &["/a"]).await;
            let reply = proxy.ask(method, "/a").reply().await;
            assert_eq!(
                (reply.status.as_u16(), reply.cache_status()),
                (204, "larder; fwd=method"),
                "{method}"
            );
            assert_eq!(origin.last().method, method);
            assert_eq!(cache(&proxy, "/a").await, "MISS", "{method}");
        }
    });
}

#[test]
fn safe_methods_outdate_nothing() {
    play(async {
        let origin = Origin::start(|seen| Answer::json(seen.number())).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        store(&proxy, &["/a"]).await;
        for method in ["OPTIONS", "TRACE", "QUERY"] {
            let reply = proxy.ask(method, "/a").reply().await;
            assert_eq!((reply.status.as_u16(), reply.cache()), (200, "BYPASS"), "{method}");
            assert_eq!(cache(&proxy, "/a").await, "HIT", "{method}");
        }
    });
}

#[test]
fn a_write_counts_while_the_cache_is_off_for_its_route() {
    play(async {
        let origin = writing(|_| Answer::new(201).header("location", "/a")).await;
        let proxy = Proxy::start(&origin, "routes: { /a: 1h, '/b/{id}': bypass }").await;
        store(&proxy, &["/a"]).await;
        proxy.ask("POST", "/b/1").reply().await;
        assert_eq!(cache(&proxy, "/a").await, "MISS");
    });
}

// ---- what a write covers ----------------------------------------------------------------------------------------

#[test]
fn the_target_goes_with_every_query_and_nothing_else() {
    play(async {
        let origin = writing(|_| Answer::new(204)).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        store(&proxy, &["/b/1", "/b/1?x=1", "/b/1?x=2", "/b/2", "/a"]).await;
        proxy.ask("DELETE", "/b/1?soft=yes").reply().await;
        for gone in ["/b/1", "/b/1?x=1", "/b/1?x=2"] {
            assert_eq!(cache(&proxy, gone).await, "MISS", "{gone}");
        }
        for stays in ["/b/2", "/a"] {
            assert_eq!(cache(&proxy, stays).await, "HIT", "{stays}");
        }
    });
}

#[test]
fn the_target_goes_with_every_variant() {
    play(async {
        let origin = Origin::start(|seen| match seen.method.as_str() {
            "PUT" => Answer::new(204),
            _ => Answer::json(seen.number()).header("vary", "x-color"),
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let colors = ["red", "blue", "green"];
        for color in colors {
            proxy.get("/a").header("x-color", color).reply().await;
            assert_eq!(proxy.get("/a").header("x-color", color).reply().await.cache(), "HIT");
        }
        proxy.ask("PUT", "/a").header("x-color", "red").reply().await;
        for color in colors {
            assert_eq!(proxy.get("/a").header("x-color", color).reply().await.cache(), "MISS", "{color}");
        }
    });
}

#[test]
fn the_target_goes_for_every_credential() {
    play(async {
        let origin = writing(|_| Answer::new(204)).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let get = |who: &'static str| proxy.get("/a").header("authorization", who).reply();
        for who in ["Bearer a", "Bearer b"] {
            get(who).await;
            assert_eq!(get(who).await.cache(), "HIT");
        }
        store(&proxy, &["/a"]).await;
        proxy.ask("PUT", "/a").header("authorization", "Bearer a").reply().await;
        assert_eq!(get("Bearer a").await.cache(), "MISS");
        assert_eq!(get("Bearer b").await.cache(), "MISS");
        assert_eq!(cache(&proxy, "/a").await, "MISS");
    });
}

#[test]
fn a_write_under_another_spelling_of_the_path_reaches_the_same_entry() {
    play(async {
        let origin = writing(|_| Answer::new(204)).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        for spelling in ["/b/%31", "/%62/1", "//b/1", "/b/./1", "/b/2/../1"] {
            store(&proxy, &["/b/1"]).await;
            proxy.ask("PUT", spelling).reply().await;
            assert_eq!(cache(&proxy, "/b/1").await, "MISS", "{spelling}");
        }
    });
}

#[test]
fn every_loopback_name_is_the_same_target() {
    play(async {
        let origin = writing(|_| Answer::new(204)).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        store(&proxy, &["/a"]).await;
        let host = format!("LOCALHOST:{}", proxy.address.port());
        proxy.ask("PUT", "/a").header("host", &host).reply().await;
        assert_eq!(cache(&proxy, "/a").await, "MISS");
    });
}

#[test]
fn what_location_and_content_location_name_goes_too() {
    play(async {
        let origin =
            writing(|_| Answer::new(201).header("location", "/b/7").header("content-location", "8?x=1"))
                .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        store(&proxy, &["/b/7", "/b/7?x=1", "/b/8", "/b/9"]).await;
        proxy.ask("POST", "/b/new").reply().await;
        let mut caches = Vec::new();
        for target in ["/b/7", "/b/7?x=1", "/b/8", "/b/9"] {
            caches.push(cache(&proxy, target).await);
        }
        assert_eq!(caches, ["MISS", "MISS", "MISS", "HIT"]);
    });
}

#[test]
fn an_absolute_location_counts_on_our_host_only() {
    play(async {
        let origin = writing(|seen| {
            let host = if seen.target == "/ours" { seen.header("host").unwrap() } else { "elsewhere.test" };
            Answer::new(201).header("location", &format!("http://{host}/a"))
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        store(&proxy, &["/a"]).await;
        proxy.ask("POST", "/theirs").reply().await;
        assert_eq!(cache(&proxy, "/a").await, "HIT");
        proxy.ask("POST", "/ours").reply().await;
        assert_eq!(cache(&proxy, "/a").await, "MISS");
    });
}

#[test]
fn a_location_under_the_name_that_the_client_used_counts_too() {
    play(async {
        let address = Arc::new(std::sync::OnceLock::new());
        let known = Arc::clone(&address);
        let origin = writing(move |_| {
            Answer::new(201).header("location", &format!("http://{}/a", known.get().unwrap()))
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        address.set(proxy.address.to_string()).unwrap();
        store(&proxy, &["/a"]).await;
        proxy.ask("POST", "/b/1").reply().await;
        assert_eq!(cache(&proxy, "/a").await, "MISS", "loopback names are one authority");
    });
}

#[test]
fn a_location_under_any_of_our_hosts_counts() {
    play(async {
        let origin = writing(|_| Answer::new(201).header("location", "http://www.test/a")).await;
        let proxy = Proxy::start(&origin, &format!("hosts: api.test www.test\n{HOUR}")).await;
        let get = || proxy.get("/a").header("host", "api.test").reply();
        get().await;
        assert_eq!(get().await.cache(), "HIT");
        proxy.ask("POST", "/b/1").header("host", "www.test").reply().await;
        assert_eq!(get().await.cache(), "MISS");
    });
}

#[test]
fn the_bodys_bytes_reach_the_origin_whatever_their_framing() {
    play(async {
        let origin = writing(|_| Answer::new(204)).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        proxy.ask("POST", "/a").body("0123456789").reply().await;
        assert_eq!(
            (origin.last().body, origin.seen()[0].header("content-length")),
            ("0123456789".into(), Some("10"))
        );
    });
}

#[test]
fn a_fetch_of_what_location_names_is_outdated_too_while_it_is_under_way() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| match (seen.method.as_str(), seen.nth) {
            ("POST", _) => Answer::new(201).header("location", "/b/7"),
            (_, 0) => Answer::json("old").held(&held),
            _ => Answer::json("new"),
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let early = proxy.get("/b/7?x=1").under_way();
        origin.arrived(1).await;
        proxy.ask("POST", "/b/new").reply().await;
        assert_eq!(proxy.get("/b/7?x=1").reply().await.text(), "new");
        gate.open();
        assert_eq!(early.await.unwrap().text(), "old");
        assert_eq!(proxy.get("/b/7?x=1").reply().await.text(), "new");
    });
}

#[test]
fn an_upload_that_breaks_off_is_no_whole_one_at_the_origin_and_outdates() {
    play(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = Proxy::alone(&format!("upstream: http://{address}\n{HOUR}")).await;
        drop(listener.accept().await.unwrap()); // it only looks whether anybody is there
        let fill = proxy.get("/a").header("host", "localhost").under_way();
        let mut app = Raw::accept(&listener).await;
        app.head().await;
        app.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1").await;
        fill.await.unwrap();
        drop(app);
        for framing in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
            let mut client = Raw::connect(proxy.address).await;
            client.send(format!("PUT /a HTTP/1.1\r\nHost: localhost\r\n{framing}")).await;
            let mut app = Raw::accept(&listener).await;
            app.head().await;
            app.until("half").await;
            drop(client);
            let rest = app.rest().await;
            assert!(!rest.contains("0\r\n\r\n"), "{rest:?}");
        }
        proxy.settled().await;
        let asked = proxy.get("/a").header("host", "localhost").header("cache-control", "only-if-cached");
        assert_eq!(asked.reply().await.status, 504, "nobody knows what the origin made of the half");
    });
}

#[test]
fn a_write_over_http_1_0_and_one_with_an_absolute_target_count_like_any_other() {
    play(async {
        let origin = writing(|_| Answer::new(204)).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        for request in [
            "DELETE /a HTTP/1.0\r\nHost: localhost\r\n\r\n",
            "DELETE http://localhost/a HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ] {
            let get = || proxy.get("/a").header("host", "localhost").reply();
            get().await;
            assert_eq!(get().await.cache(), "HIT");
            let mut client = Raw::connect(proxy.address).await;
            client.send(request).await;
            assert!(client.head().await.contains(" 204 "));
            assert_eq!(get().await.cache(), "MISS", "{request:?}");
        }
    });
}
