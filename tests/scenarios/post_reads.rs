//! A POST that a route declares to be a read: search, answers of a model.

use bytes::Bytes;

use crate::harness::client::Ask;
use crate::harness::origin::{Answer, Origin, Part};
use crate::harness::proxy::Proxy;
use crate::harness::{Gate, play};

const JSON: &str =
    "routes: { /search: { ttl: 1h, methods: [GET, POST], key: { body: json, ignore: [$.request_id] } } }";
const RAW: &str = "routes: { /search: { ttl: 1h, methods: [GET, POST], key: { body: raw } } }";

fn post(proxy: &Proxy, body: impl Into<Bytes>) -> Ask {
    proxy.ask("POST", "/search").header("content-type", "application/json").body(body)
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

#[test]
fn permuted_json_is_one_question() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, JSON).await;
        let told = told([
            post(&proxy, r#"{"q":"a","page":1,"request_id":"one"}"#),
            post(&proxy, r#"{ "request_id":"two", "page":1.0, "q":"\u0061" }"#),
            post(&proxy, r#"{"page":1,"q":"a"}"#),
            post(&proxy, r#"{"page":2,"q":"a"}"#),
            post(&proxy, r#"{"page":1,"q":"a","sub":{"request_id":1}}"#),
        ])
        .await;
        assert_eq!(told, ["MISS 1", "HIT 1", "HIT 1", "MISS 2", "MISS 3"]);
        let sent = &origin.seen()[0];
        assert_eq!(sent.body, r#"{"q":"a","page":1,"request_id":"one"}"#, "it is sent as it came");
        assert_eq!(sent.method, "POST");
    });
}

#[test]
fn a_large_question_is_one_question_too() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, JSON).await;
        let long = "x".repeat(500_000);
        let told = told([
            post(&proxy, format!(r#"{{"a":1,"b":"{long}"}}"#)),
            post(&proxy, format!(r#"{{"b":"{long}","a":1}}"#)),
            post(&proxy, format!(r#"{{"b":"{long}y","a":1}}"#)),
            post(&proxy, format!(r#"{{"b":"{long}","b":1}}"#)),
        ])
        .await;
        assert_eq!(told, ["MISS 1", "HIT 1", "MISS 2", "BYPASS 3"]);
    });
}

#[test]
fn raw_bodies_are_told_apart_byte_by_byte() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, RAW).await;
        let form =
            || proxy.ask("POST", "/search").header("content-type", "application/x-www-form-urlencoded");
        let told = told([
            post(&proxy, "{}"),
            post(&proxy, "{ }"),
            post(&proxy, "{}"),
            form().body("q=1"),
            form().body("q=1"),
            proxy.ask("POST", "/search"),
            proxy.ask("POST", "/search"),
        ])
        .await;
        assert_eq!(told, ["MISS 1", "MISS 2", "HIT 1", "MISS 3", "HIT 3", "MISS 4", "HIT 4"]);
    });
}

#[test]
fn a_declared_read_outdates_nothing_and_a_write_outdates_it() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, JSON).await;
        let before = told([
            proxy.get("/search"),
            post(&proxy, "{}"),
            post(&proxy, "not json"),
            proxy.get("/search"),
            post(&proxy, "{}"),
        ])
        .await;
        assert_eq!(before, ["MISS 1", "MISS 2", "BYPASS 3", "HIT 1", "HIT 2"]);
        proxy.ask("DELETE", "/search").reply().await;
        assert_eq!(told([post(&proxy, "{}"), proxy.get("/search")]).await, ["MISS 5", "MISS 6"]);
    });
}

#[test]
fn a_post_and_a_get_and_a_query_never_answer_each_other() {
    play(async {
        let origin = Origin::counting().await;
        let yaml = "routes: { /search: { ttl: 1h, methods: GET POST QUERY, key: { body: json } } }";
        let proxy = Proxy::start(&origin, yaml).await;
        let query = || proxy.ask("QUERY", "/search").header("content-type", "application/json").body("{}");
        let asks = || [proxy.get("/search"), post(&proxy, "{}"), query(), proxy.ask("HEAD", "/search")];
        assert_eq!(told(asks()).await, ["MISS 1", "MISS 2", "MISS 3", "HIT "]);
        assert_eq!(told(asks()).await, ["HIT 1", "HIT 2", "HIT 3", "HIT "]);
    });
}

#[test]
fn a_body_that_is_not_what_the_route_declares_passes_with_its_reason() {
    play(async {
        let origin = Origin::start(|seen| Answer::json(String::from_utf8_lossy(&seen.body))).await;
        let proxy = Proxy::start(&origin, JSON).await;
        let typed = |media: &str| proxy.ask("POST", "/search").header("content-type", media).body("{}");
        for (ask, why) in [
            (post(&proxy, "{"), "not-json"),
            (post(&proxy, ""), "not-json"),
            (post(&proxy, r#"{"a":1,"a":2}"#), "not-json"),
            (post(&proxy, r#"{"id":9007199254740993}"#), "not-json"),
            (post(&proxy, "{}").header("content-encoding", "gzip"), "content-encoding"),
            (typed("text/plain"), "content-type"),
            (proxy.ask("POST", "/search").body("{}"), "content-type"),
            (post(&proxy, "{}").header("if-none-match", "*"), "conditional"),
            (post(&proxy, vec![b' '; 2 * 1024 * 1024]), "request-body"),
        ] {
            let reply = ask.reply().await;
            let told = format!("larder; fwd=bypass; detail={why}");
            assert_eq!((reply.status.as_u16(), reply.cache_status()), (200, told.as_str()));
            assert_eq!(reply.body, origin.last().body, "{why}");
        }
        assert_eq!(origin.count(), 9);
        assert_eq!(proxy.metric(r#"larder_bypass_total{route="/search",reason="not-json"}"#).await, 4);
    });
}

#[test]
fn a_body_that_breaks_off_goes_nowhere() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, JSON).await;
        let mut client = crate::harness::raw::Raw::connect(proxy.address).await;
        let head = "POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                    Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nzz\r\n";
        client.send(head).await;
        assert!(client.head().await.starts_with("http/1.1 400"));
        assert_eq!(origin.count(), 0);
    });
}

#[test]
fn only_a_declared_post_reads() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, "routes: { /search: 1h }").await;
        let told = told([proxy.get("/search"), post(&proxy, "{}"), proxy.get("/search")]).await;
        assert_eq!(told, ["MISS 1", "BYPASS 2", "MISS 3"]);
    });
}

#[test]
fn a_post_whose_path_two_parsers_read_differently_is_a_write() {
    play(async {
        let origin = Origin::counting().await;
        let yaml = "routes: { /b: 1h, '/search/{x:path}': { ttl: 1h, methods: POST, key: { body: raw } } }";
        let proxy = Proxy::start(&origin, yaml).await;
        proxy.get("/b").reply().await;
        let mut client = crate::harness::raw::Raw::connect(proxy.address).await;
        client.send("POST /search/../b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").await;
        assert!(client.head().await.contains("fwd=method"));
        // Loopback names are one authority, so it is the same path.
        assert_eq!(proxy.get("/b").reply().await.cache(), "MISS");
    });
}

#[test]
fn an_answer_lives_as_long_as_that_to_a_get() {
    play(async {
        let origin = Origin::start(|seen| {
            let answer = Answer::json(seen.number());
            match &seen.body[..] {
                b"1" => answer.header("cache-control", "max-age=10"),
                b"2" => answer.header("cache-control", "no-store"),
                b"3" => answer.header("set-cookie", "a=b"),
                b"4" => Answer::new(201),
                _ => answer,
            }
        })
        .await;
        let proxy = Proxy::start(&origin, RAW).await;
        let hit = async |body: &'static str, after: u64| {
            post(&proxy, body).reply().await;
            proxy.pass_secs(after);
            post(&proxy, body).reply().await.cache() == "HIT"
        };
        assert!(hit("1", 9).await && !hit("1", 11).await);
        assert!(!hit("2", 0).await && !hit("3", 0).await && !hit("4", 0).await);
        assert!(hit("5", 3599).await && !hit("5", 3600).await);
    });
}

#[test]
fn a_stale_answer_is_fetched_whole_because_conditions_of_a_post_are_no_revalidation() {
    play(async {
        let origin = Origin::start(|seen| {
            assert!(seen.header("if-none-match").is_none(), "RFC 9110 §13.1.2: that would be a 412");
            Answer::json(seen.number()).header("etag", "\"v\"").header("cache-control", "max-age=10")
        })
        .await;
        let proxy = Proxy::start(&origin, JSON).await;
        let first = told([post(&proxy, "{}")]).await;
        proxy.pass_secs(11);
        assert_eq!(
            [first, told([post(&proxy, "{}"), post(&proxy, "{}")]).await].concat(),
            ["MISS 1", "MISS 2", "HIT 2"]
        );
    });
}

#[test]
fn many_who_post_the_same_share_one_fetch_and_a_stream_is_for_its_own_client() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| {
            if seen.body == "{\"stream\":true}" {
                let events = Answer::new(200).header("content-type", "text/event-stream").text("data: 1\n\n");
                return events.part(Part::Gate(held.clone()));
            }
            Answer::json(seen.number()).held(&held)
        })
        .await;
        let proxy = Proxy::start(&origin, JSON).await;
        let mut stream = post(&proxy, "{\"stream\":true}").head().await;
        assert_eq!(crate::harness::client::next(stream.body_mut()).await, "data: 1\n\n");
        let waiting: Vec<_> = [r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#, r#"{"b":2.0,"a":1}"#]
            .map(|body| post(&proxy, body).under_way())
            .into();
        origin.arrived(2).await;
        proxy.settled().await;
        gate.open();
        for reply in crate::harness::client::all(waiting).await {
            assert_eq!(reply.text(), "2");
        }
        assert_eq!(origin.count(), 2);
    });
}

#[test]
fn credentials_part_the_answers_as_they_do_those_of_a_get() {
    play(async {
        let origin =
            Origin::start(|seen| Answer::json(seen.header("authorization").unwrap_or("nobody"))).await;
        let proxy = Proxy::start(&origin, JSON).await;
        let as_user = |user: &str| post(&proxy, "{}").header("authorization", user);
        let told = told([as_user("a"), as_user("b"), post(&proxy, "{}"), as_user("a"), as_user("b")]).await;
        assert_eq!(told, ["MISS a", "MISS b", "MISS nobody", "HIT a", "HIT b"]);
    });
}

#[test]
fn a_switched_off_cache_passes_declared_reads() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, &format!("enabled: false\n{JSON}")).await;
        let reply = post(&proxy, "{}").reply().await;
        assert_eq!(reply.cache_status(), "larder; fwd=bypass; detail=disabled");
    });
}
