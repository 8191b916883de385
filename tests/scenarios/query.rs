//! QUERY (RFC 10008): a read that asks by its content.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::harness::client::{Ask, Reply};
use crate::harness::origin::{Answer, Origin};
use crate::harness::proxy::Proxy;
use crate::harness::{Gate, play};

const HOUR: &str = "routes: { /a: 1h }";
const SQL: &str = "application/sql";

fn query(proxy: &Proxy, content: impl Into<Bytes>) -> Ask {
    proxy.ask("QUERY", "/a").header("content-type", SQL).body(content)
}

/// Cache and body of each.
async fn told(asks: impl IntoIterator<Item = Ask>) -> Vec<String> {
    let mut told = Vec::new();
    for ask in asks {
        let reply = ask.reply().await;
        told.push(format!("{} {}", reply.cache(), reply.text()));
    }
    told
}

/// An origin that answers with method and body of what it was asked, for `max_age` seconds.
async fn echoing(max_age: u32) -> Origin {
    Origin::start(move |seen| {
        let body = std::str::from_utf8(&seen.body).unwrap();
        let fresh = format!("max-age={max_age}");
        Answer::json(format!("{}:{body}:{}", seen.method, seen.number())).header("cache-control", &fresh)
    })
    .await
}

#[test]
fn the_same_content_is_answered_once_and_other_content_by_itself() {
    play(async {
        let origin = echoing(60).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let told = told([
            query(&proxy, "select 1"),
            query(&proxy, "select 2"),
            query(&proxy, "select 1"),
            query(&proxy, "select 2"),
            query(&proxy, ""),
            query(&proxy, ""),
        ])
        .await;
        let wanted = [
            "MISS QUERY:select 1:1",
            "MISS QUERY:select 2:2",
            "HIT QUERY:select 1:1",
            "HIT QUERY:select 2:2",
            "MISS QUERY::3",
            "HIT QUERY::3",
        ];
        assert_eq!(told, wanted);
        assert_eq!(origin.seen()[0].header("content-length"), Some("8"));
        assert_eq!(origin.seen()[0].header("content-type"), Some(SQL));
    });
}

#[test]
fn what_no_route_matches_is_cached_on_the_origins_word() {
    play(async {
        let origin = echoing(60).await;
        let proxy = Proxy::start(&origin, "").await;
        let told = told([query(&proxy, "x"), query(&proxy, "x"), query(&proxy, "y")]).await;
        assert_eq!(told, ["MISS QUERY:x:1", "HIT QUERY:x:1", "MISS QUERY:y:2"]);
    });
}

#[test]
fn a_query_and_a_get_of_one_target_never_answer_each_other() {
    play(async {
        let origin = echoing(60).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let told = told([
            query(&proxy, ""),
            proxy.get("/a").header("content-type", SQL),
            query(&proxy, ""),
            proxy.get("/a").header("content-type", SQL),
        ])
        .await;
        assert_eq!(told, ["MISS QUERY::1", "MISS GET::2", "HIT QUERY::1", "HIT GET::2"]);
    });
}

#[test]
fn what_describes_the_content_is_part_of_the_question() {
    play(async {
        let origin = echoing(60).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let ask = || proxy.ask("QUERY", "/a").body("q");
        let asks = || {
            [
                ask().header("content-type", SQL),
                ask().header("content-type", "application/jsonpath"),
                ask().header("content-type", SQL).header("content-encoding", "x-odd"),
            ]
        };
        assert!(told(asks()).await.iter().all(|told| told.starts_with("MISS")));
        assert!(told(asks()).await.iter().all(|told| told.starts_with("HIT")));
        assert_eq!(origin.count(), 3);
    });
}

#[test]
fn a_query_that_does_not_say_what_it_holds_is_the_origins_to_refuse() {
    play(async {
        let origin = echoing(60).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        for nth in 1..=2 {
            let reply = proxy.ask("QUERY", "/a").body("x").reply().await;
            assert_eq!(reply.cache_status(), "larder; fwd=bypass; detail=content-type");
            assert_eq!(reply.text(), format!("QUERY:x:{nth}"));
        }
        let bypassed = r#"larder_bypass_total{route="/a",reason="content-type"}"#;
        assert_eq!(proxy.metric(bypassed).await, 2);
    });
}

#[test]
fn content_that_is_too_large_for_a_key_passes_whole() {
    play(async {
        let origin = Origin::start(|seen| {
            Answer::json(seen.body.len().to_string()).header("cache-control", "max-age=60")
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let large = vec![b'x'; 3 * 1024 * 1024];
        for _ in 0..2 {
            let reply = query(&proxy, large.clone()).reply().await;
            assert_eq!(reply.cache_status(), "larder; fwd=bypass; detail=request-body");
            assert_eq!(reply.text(), large.len().to_string());
            assert!(origin.last().body == large);
        }
        let fits = vec![b'x'; 1024 * 1024];
        let told = told([query(&proxy, fits.clone()), query(&proxy, fits.clone())]).await;
        assert_eq!(told, ["MISS 1048576", "HIT 1048576"]);
    });
}

#[test]
fn many_who_ask_the_same_share_one_fetch() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| {
            let body = String::from_utf8(seen.body.to_vec()).unwrap();
            Answer::json(body).header("cache-control", "max-age=60").held(&held)
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let waiting: Vec<_> =
            (0..10).map(|n| query(&proxy, if n % 2 == 0 { "even" } else { "odd" }).under_way()).collect();
        origin.arrived(2).await;
        proxy.settled().await;
        gate.open();
        for (n, reply) in crate::harness::client::all(waiting).await.into_iter().enumerate() {
            assert_eq!(reply.text(), if n % 2 == 0 { "even" } else { "odd" });
        }
        assert_eq!(origin.count(), 2);
    });
}

#[test]
fn a_write_outdates_the_queries_of_its_path() {
    play(async {
        let origin = echoing(60).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let other = proxy.ask("QUERY", "/b").header("content-type", SQL).body("x");
        told([query(&proxy, "x"), query(&proxy, "y"), other]).await;
        proxy.ask("PUT", "/a").body("z").reply().await;
        let other = proxy.ask("QUERY", "/b").header("content-type", SQL).body("x");
        let told = told([query(&proxy, "x"), query(&proxy, "y"), other]).await;
        assert_eq!(told, ["MISS QUERY:x:5", "MISS QUERY:y:6", "HIT QUERY:x:3"]);
    });
}

#[test]
fn a_query_outdates_nothing() {
    play(async {
        let origin = echoing(60).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let told = told([proxy.get("/a"), query(&proxy, "x"), proxy.get("/a")]).await;
        assert_eq!(told, ["MISS GET::1", "MISS QUERY:x:2", "HIT GET::1"]);
    });
}

#[test]
fn a_stale_query_is_confirmed_by_its_origin_with_the_content_sent_again() {
    play(async {
        let origin = Origin::start(|seen| {
            let fresh = Answer::new(if seen.header("if-none-match").is_some() { 304 } else { 200 });
            let fresh = fresh.header("etag", "\"v\"").header("cache-control", "max-age=10");
            if seen.header("if-none-match").is_some() { fresh } else { fresh.text("v") }
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        query(&proxy, "x").reply().await;
        proxy.pass_secs(11);
        let reply = query(&proxy, "x").reply().await;
        assert_eq!((reply.cache(), reply.text()), ("REVALIDATED", "v"));
        let last = origin.last();
        assert_eq!((last.method.as_str(), &last.body[..]), ("QUERY", &b"x"[..]));
        assert_eq!(query(&proxy, "x").reply().await.cache(), "HIT");
    });
}

#[test]
fn a_stale_query_is_served_while_it_is_fetched_anew() {
    play(async {
        let origin = Origin::start(|seen| {
            let said = "max-age=10, stale-while-revalidate=60";
            Answer::json(seen.number()).header("cache-control", said)
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        query(&proxy, "x").reply().await;
        proxy.pass_secs(11);
        let reply = query(&proxy, "x").reply().await;
        assert_eq!((reply.cache(), reply.text()), ("STALE", "1"));
        origin.arrived(2).await;
        let last = origin.last();
        assert_eq!((last.method.as_str(), &last.body[..]), ("QUERY", &b"x"[..]));
    });
}

#[test]
fn conditions_and_ranges_of_a_query_are_as_those_of_a_get() {
    play(async {
        const MODIFIED: &str = "Sun, 31 Aug 2025 08:44:00 GMT";
        let origin = Origin::start(|_| {
            Answer::new(200)
                .header("etag", "\"v\"")
                .header("last-modified", MODIFIED)
                .header("cache-control", "max-age=60")
                .header("content-location", "/results/1")
                .header("location", "/queries/1")
                .text("0123456789")
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        // The second time each is answered by what is stored.
        for _ in 0..2 {
            for condition in [("if-none-match", "\"v\""), ("if-modified-since", MODIFIED)] {
                let reply = query(&proxy, "x").header(condition.0, condition.1).reply().await;
                assert_eq!(reply.status, 304, "{condition:?}");
                assert_eq!(reply.header("content-location"), Some("/results/1"));
            }
        }
        let part = query(&proxy, "x").header("range", "bytes=2-4").reply().await;
        assert_eq!((part.status.as_u16(), part.text()), (206, "234"));
        let whole = query(&proxy, "x").reply().await;
        assert_eq!((whole.cache(), whole.header("location")), ("HIT", Some("/queries/1")));
        assert_eq!(origin.count(), 1);
        assert!(origin.last().header("if-none-match").is_none());
    });
}

#[test]
fn an_uncacheable_part_of_a_query_is_asked_for_with_its_content() {
    play(async {
        let origin = Origin::start(|seen| {
            let body = String::from_utf8(seen.body.to_vec()).unwrap();
            let part = seen.header("range").unwrap_or("whole");
            Answer::json(format!("{body} {part}")).header("cache-control", "no-store")
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let reply = query(&proxy, "x").header("range", "bytes=0-1").reply().await;
        assert_eq!(reply.text(), "x bytes=0-1");
    });
}

#[test]
fn variants_lie_below_the_content() {
    play(async {
        let origin = Origin::start(|seen| {
            Answer::json(seen.header("accept").unwrap_or_default())
                .header("vary", "accept")
                .header("cache-control", "max-age=60")
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let ask = |accept: &str| query(&proxy, "x").header("accept", accept);
        let told = told([ask("text/csv"), ask("text/html"), ask("text/csv"), ask("text/html")]).await;
        assert_eq!(told, ["MISS text/csv", "MISS text/html", "HIT text/csv", "HIT text/html"]);
    });
}

#[test]
fn a_stream_of_events_is_never_held() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |_| {
            let stream = Answer::new(200).header("content-type", "text/event-stream").text("data: 1\n\n");
            stream.part(crate::harness::origin::Part::Gate(held.clone())).text("data: 2\n\n")
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let mut answer = query(&proxy, "x").head().await;
        assert_eq!(answer.headers()["cache-status"], "larder; fwd=bypass; detail=event-stream");
        assert_eq!(crate::harness::client::next(answer.body_mut()).await, "data: 1\n\n");
        gate.open();
        assert_eq!(crate::harness::client::next(answer.body_mut()).await, "data: 2\n\n");
    });
}

#[test]
fn a_query_is_answered_by_what_is_kept_while_the_origin_fails() {
    play(async {
        let asked = AtomicUsize::new(0);
        let origin = Origin::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
            0 => Answer::json("kept").header("cache-control", "max-age=10, stale-if-error=60"),
            _ => Answer::new(503),
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        query(&proxy, "x").reply().await;
        proxy.pass_secs(11);
        let reply: Reply = query(&proxy, "x").reply().await;
        assert_eq!((reply.cache(), reply.text()), ("STALE", "kept"));
        assert_eq!(query(&proxy, "y").reply().await.status, 503);
    });
}

#[test]
fn json_is_compared_by_its_value_only_where_the_route_says_so() {
    play(async {
        let origin = echoing(60).await;
        let yaml = "routes: { /a: 1h, /json: { ttl: 1h, methods: [GET, QUERY], key: { body: json } } }";
        let proxy = Proxy::start(&origin, yaml).await;
        let ask = |target: &str, body: &'static str| {
            proxy.ask("QUERY", target).header("content-type", "application/json").body(body)
        };
        let (one, same) = (r#"{"a":1,"b":2}"#, r#"{ "b": 2.0, "a": 1 }"#);
        let caches = |told: Vec<String>| told.join(" ").matches("HIT").count();
        assert_eq!(caches(told([ask("/a", one), ask("/a", same)]).await), 0);
        assert_eq!(caches(told([ask("/json", one), ask("/json", same)]).await), 1);
        assert_eq!(origin.last().body, one, "it is sent as it came");
        let other = proxy.ask("QUERY", "/json").header("content-type", SQL).body("x").reply().await;
        assert_eq!(other.cache_status(), "larder; fwd=bypass; detail=content-type");
    });
}

#[test]
fn a_query_reads_only_where_its_route_lets_it() {
    play(async {
        let origin = echoing(60).await;
        let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 1h, methods: GET } }").await;
        for nth in 1..=2 {
            let reply = query(&proxy, "x").reply().await;
            assert_eq!(reply.cache_status(), "larder; fwd=method");
            assert_eq!(reply.text(), format!("QUERY:x:{nth}"));
        }
    });
}
