//! What exactly a client is answered: parts, conditions, and the fields that say what the cache did.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::harness::client::Reply;
use crate::harness::origin::{Answer, Origin};
use crate::harness::play;
use crate::harness::proxy::Proxy;
use crate::harness::raw::Raw;

const HOUR: &str = "routes: { /a: 1h, /pass: bypass }";

/// A proxy that has `answer` in store under `/a`.
async fn stored(answer: Answer) -> (Origin, Proxy) {
    let origin = Origin::telling([answer]).await;
    let proxy = Proxy::start(&origin, HOUR).await;
    assert_eq!(proxy.get("/a").reply().await.cache(), "MISS");
    (origin, proxy)
}

async fn get(proxy: &Proxy, fields: &[(&str, &str)]) -> Reply {
    fields.iter().fold(proxy.get("/a"), |ask, (name, value)| ask.header(name, value)).reply().await
}

#[test]
fn ranges_are_answered_from_what_is_stored() {
    play(async {
        let (origin, proxy) = stored(Answer::json("0123456789")).await;
        for (range, status, body, content_range) in [
            ("bytes=2-4", 206, "234", "bytes 2-4/10"),
            ("bytes=7-", 206, "789", "bytes 7-9/10"),
            ("bytes=-2", 206, "89", "bytes 8-9/10"),
            ("bytes=5-100", 206, "56789", "bytes 5-9/10"),
            ("bytes=10-", 416, "", "bytes */10"),
        ] {
            let part = get(&proxy, &[("range", range)]).await;
            assert_eq!(
                (part.status.as_u16(), part.text(), part.header("content-range")),
                (status, body, Some(content_range))
            );
            assert_eq!(
                (part.cache(), part.header("content-length")),
                ("HIT", Some(body.len().to_string().as_str()))
            );
        }
        assert_eq!(get(&proxy, &[("range", "bytes=0-1,3-4")]).await.text(), "0123456789");
        assert_eq!(origin.count(), 1);
    });
}

#[test]
fn a_range_on_a_cold_key_fetches_the_whole() {
    play(async {
        let origin = Origin::telling([Answer::json("0123456789")]).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let first = get(&proxy, &[("range", "bytes=2-4")]).await;
        assert!(
            matches!((first.status.as_u16(), first.text()), (206, "234") | (200, "0123456789")),
            "{first:?}"
        );
        assert_eq!(origin.last().header("range"), None);
        assert_eq!((get(&proxy, &[]).await.text(), origin.count()), ("0123456789", 1));
    });
}

#[test]
fn if_range_with_another_etag_gives_the_whole() {
    play(async {
        let (_origin, proxy) = stored(Answer::json("0123456789").header("etag", "\"v1\"")).await;
        let part = get(&proxy, &[("range", "bytes=2-4"), ("if-range", "\"v1\"")]).await;
        assert_eq!((part.status.as_u16(), part.text()), (206, "234"));
        let whole = get(&proxy, &[("range", "bytes=2-4"), ("if-range", "\"v0\"")]).await;
        assert_eq!((whole.status.as_u16(), whole.text()), (200, "0123456789"));
    });
}

#[test]
fn a_client_that_has_it_already_gets_a_304() {
    play(async {
        let modified = "Sat, 01 Feb 2020 00:00:00 GMT";
        let answer = Answer::json("1")
            .header("etag", "\"v1\"")
            .header("last-modified", modified)
            .header("x-other", "1");
        let (origin, proxy) = stored(answer.header("cache-control", "max-age=60")).await;
        let fits = [
            ("if-none-match", "\"v1\""),
            ("if-none-match", "W/\"v1\""),
            ("if-none-match", "\"v0\", \"v1\""),
            ("if-none-match", "*"),
            ("if-modified-since", modified),
            ("if-modified-since", "Sun, 02 Feb 2020 00:00:00 GMT"),
        ];
        for field in fits {
            let reply = get(&proxy, &[field]).await;
            assert_eq!((reply.status.as_u16(), reply.text(), reply.cache()), (304, "", "HIT"), "{field:?}");
            assert_eq!(
                (reply.header("etag"), reply.header("cache-control")),
                (Some("\"v1\""), Some("max-age=60"))
            );
            assert_eq!(reply.header("content-length").filter(|length| *length != "1"), None);
        }
        let differs = [("if-none-match", "\"v0\""), ("if-modified-since", "Fri, 31 Jan 2020 00:00:00 GMT")];
        for field in differs {
            assert_eq!(get(&proxy, &[field]).await.status, 200, "{field:?}");
        }
        let both = get(&proxy, &[("if-none-match", "\"v0\""), ("if-modified-since", modified)]).await;
        assert_eq!(both.status, 200, "If-None-Match goes first");
        assert_eq!(origin.count(), 1);
    });
}

#[test]
fn a_condition_on_a_cold_key_does_not_reach_the_fill() {
    play(async {
        let origin = Origin::telling([Answer::json("1").header("etag", "\"v1\"")]).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let reply = get(
            &proxy,
            &[("if-none-match", "\"v1\""), ("if-modified-since", "Sat, 01 Feb 2020 00:00:00 GMT")],
        )
        .await;
        assert_eq!(reply.status, 304);
        assert_eq!(
            (origin.last().header("if-none-match"), origin.last().header("if-modified-since")),
            (None, None)
        );
        assert_eq!(get(&proxy, &[]).await.cache(), "HIT");
    });
}

#[test]
fn an_etag_of_our_making_is_the_same_for_the_same_bytes_and_confirms_them() {
    play(async {
        for given in [None, Some("W/1851"), Some("unquoted")] {
            let answer = |body: &str| {
                given.iter().fold(Answer::json(body), |answer, etag| answer.header("etag", etag))
            };
            let origin = Origin::telling([answer("same"), answer("same"), answer("other")]).await;
            let proxy = Proxy::start(&origin, HOUR).await;
            let mut made = Vec::new();
            for _ in 0..3 {
                get(&proxy, &[]).await;
                let hit = get(&proxy, &[]).await;
                let etag = hit.header("etag").expect("a stored answer has one").to_owned();
                assert_eq!(get(&proxy, &[("if-none-match", &etag)]).await.status, 304);
                made.push(etag);
                proxy.pass_secs(3600);
            }
            assert_eq!(made[0], made[1]);
            assert_ne!(made[0], made[2]);
        }
    });
}

#[test]
fn head_is_answered_from_a_stored_get() {
    play(async {
        let (origin, proxy) = stored(Answer::json("0123456789").header("x-other", "1")).await;
        let head = proxy.ask("HEAD", "/a").reply().await;
        assert_eq!((head.status.as_u16(), head.text(), head.cache()), (200, "", "HIT"));
        assert_eq!((head.header("content-length"), head.header("x-other")), (Some("10"), Some("1")));
        assert_eq!(origin.count(), 1);
    });
}

#[test]
fn head_on_a_cold_key_asks_with_get_and_fills() {
    play(async {
        let origin = Origin::start(|seen| match seen.method.as_str() {
            "HEAD" => Answer::new(405),
            _ => Answer::json("0123456789"),
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let head = proxy.ask("HEAD", "/a").reply().await;
        assert_eq!((head.status.as_u16(), head.text(), head.header("content-length")), (200, "", Some("10")));
        assert_eq!(proxy.becomes("/a", "HIT").await.text(), "0123456789");
        assert_eq!(origin.count(), 1);
    });
}

#[test]
fn cache_status_says_what_happened_in_these_words() {
    play(async {
        let origin = Origin::start(|seen| match seen.target.as_str() {
            "/no-store" => Answer::json("1").header("cache-control", "no-store"),
            "/cookie" => Answer::json("1").header("set-cookie", "a=b"),
            "/stale" if seen.header("if-none-match").is_some() => Answer::new(304).header("etag", "\"v1\""),
            _ => Answer::json("1").header("etag", "\"v1\""),
        })
        .await;
        let routes = "routes: { /a: 30m, /stale: 1m, /again: 1m, /no-store: 1m, /cookie: 1m, /pass: bypass, \
                      /user: { ttl: 1m, scope: user }, /honor: { ttl: 1h, client_no_cache: honor } }";
        let proxy = Proxy::start(&origin, routes).await;
        for target in ["/stale", "/honor"] {
            proxy.get(target).reply().await;
        }
        let says = async |method: &str, target: &str, status: &str| {
            let reply = proxy.ask(method, target).reply().await;
            assert_eq!(reply.cache_status(), status, "{method} {target}");
        };
        says("GET", "/a", "larder; fwd=uri-miss; stored").await;
        proxy.pass_secs(12);
        says("GET", "/a", "larder; hit; ttl=1788").await;
        says("GET", "/no-store", "larder; fwd=bypass; detail=no-store").await;
        says("GET", "/cookie", "larder; fwd=bypass; detail=set-cookie").await;
        says("GET", "/pass", "larder; fwd=bypass; detail=route").await;
        says("GET", "/user", "larder; fwd=bypass; detail=no-credential").await;
        says("GET", "/unmatched", "larder; fwd=bypass; detail=no-freshness").await;
        says("POST", "/unmatched", "larder; fwd=method").await;
        says("OPTIONS", "/unmatched", "larder; fwd=method").await;
        let reload = proxy.get("/honor").header("cache-control", "no-cache").reply().await;
        assert_eq!(reload.cache_status(), "larder; fwd=request; fwd-status=200; stored");
        proxy.pass_secs(60);
        says("GET", "/stale", "larder; fwd=stale; fwd-status=304; stored").await;
    });
}

#[test]
fn both_marks_can_be_turned_off() {
    play(async {
        let origin = Origin::counting().await;
        let proxy =
            Proxy::start(&origin, "routes: { /a: { ttl: 1h, cache_status: false, x_cache: false } }").await;
        for _ in 0..2 {
            let reply = get(&proxy, &[]).await;
            assert_eq!((reply.header("cache-status"), reply.header("x-cache")), (None, None));
        }
        assert!(get(&proxy, &[]).await.header("age").is_some());
    });
}

#[test]
fn the_marks_of_caches_nearer_to_the_origin_stay_before_ours_and_its_x_cache_goes() {
    play(async {
        let marked = Answer::json("1").header("cache-status", "cdn; hit").header("x-cache", "HIT from cdn");
        let origin = Origin::telling([marked]).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        for (target, cache, ours) in [
            ("/a", "MISS", "larder; fwd=uri-miss; stored"),
            ("/a", "HIT", "larder; hit; ttl=3600"),
            ("/pass", "BYPASS", "larder; fwd=bypass; detail=route"),
        ] {
            let reply = proxy.get(target).reply().await;
            let marks: Vec<_> =
                reply.headers.get_all("cache-status").iter().map(|mark| mark.to_str().unwrap()).collect();
            assert_eq!(marks, ["cdn; hit", ours]);
            let caches: Vec<_> = reply.headers.get_all("x-cache").iter().collect();
            assert_eq!(caches, [cache]);
        }
    });
}

#[test]
fn what_is_between_us_and_the_origin_stays_there() {
    play(async {
        let answer = Answer::json("1")
            .header("connection", "x-hop")
            .header("x-hop", "1")
            .header("keep-alive", "timeout=5")
            .header("surrogate-key", "a b")
            .header("cache-tag", "a,b")
            .header("x-other", "1");
        let origin = Origin::telling([answer]).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        for (method, target) in [("GET", "/a"), ("GET", "/a"), ("GET", "/pass"), ("POST", "/a")] {
            let reply = proxy.ask(method, target).reply().await;
            for name in ["x-hop", "keep-alive", "surrogate-key", "cache-tag"] {
                assert_eq!(reply.header(name), None, "{method} {target} {name}");
            }
            assert_eq!(reply.header("x-other"), Some("1"));
        }
    });
}

#[test]
fn a_hit_has_the_fields_and_the_body_of_the_first_answer() {
    play(async {
        let answer = Answer::new(200)
            .header("content-type", "application/json; charset=utf-8")
            .header("etag", "\"v1\"")
            .header("link", "</a>; rel=x")
            .header("link", "</b>; rel=y")
            .header("x-odd", "caf\u{e9}")
            .text("{}");
        let (_origin, proxy) = stored(answer).await;
        let shown = |reply: Reply| {
            let mut headers = reply.headers;
            for name in ["age", "cache-status", "x-cache", "date"] {
                headers.remove(name);
            }
            (reply.status, headers, reply.body)
        };
        let first = shown(proxy.get("/pass").reply().await);
        assert_eq!(shown(get(&proxy, &[]).await), first);
    });
}

#[test]
fn only_if_cached_is_answered_from_the_store_or_with_a_504() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let asked = [("cache-control", "only-if-cached")];
        let miss = get(&proxy, &asked).await;
        assert_eq!(
            (miss.status.as_u16(), miss.cache_status()),
            (504, "larder; fwd=uri-miss; detail=only-if-cached")
        );
        assert_eq!(origin.count(), 0);
        get(&proxy, &[]).await;
        assert_eq!(get(&proxy, &asked).await.cache(), "HIT");
        proxy.pass_secs(3600);
        assert_eq!((get(&proxy, &asked).await.status.as_u16(), origin.count()), (504, 1));
    });
}

#[test]
fn a_get_with_a_body_goes_past_the_cache_both_ways() {
    play(async {
        let origin = Origin::start(|seen| Answer::json(format!("{}:{}", seen.nth, seen.body.len()))).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        get(&proxy, &[]).await;
        let with_body = proxy.get("/a").body("x=1").reply().await;
        assert_eq!(
            (with_body.text(), with_body.cache_status()),
            ("1:3", "larder; fwd=bypass; detail=request-body")
        );
        assert_eq!(get(&proxy, &[]).await.text(), "0:0");
    });
}

#[test]
fn a_browsers_reload_is_a_hit_unless_the_route_honors_it() {
    play(async {
        for (word, numbers) in [("ignore", ["1", "1"]), ("honor", ["2", "2"])] {
            let origin = Origin::counting().await;
            let proxy =
                Proxy::start(&origin, &format!("routes: {{ /a: {{ ttl: 1h, client_no_cache: {word} }} }}"))
                    .await;
            get(&proxy, &[]).await;
            let reload = get(&proxy, &[("cache-control", "no-cache"), ("pragma", "no-cache")]).await;
            assert_eq!([reload.text(), get(&proxy, &[]).await.text()], numbers, "{word}");
        }
    });
}

#[test]
fn an_old_http_client_gets_a_framing_that_it_understands() {
    play(async {
        let (_origin, proxy) = stored(Answer::json("0123456789")).await;
        let mut client = Raw::connect(proxy.address).await;
        client.send("GET /a HTTP/1.0\r\nHost: localhost\r\n\r\n").await;
        let head = client.head().await;
        assert!(head.contains("content-length: 10") && !head.contains("chunked"), "{head}");
        assert_eq!(client.rest().await, "0123456789");
    });
}

#[test]
fn an_empty_answer_is_stored_like_any_other() {
    play(async {
        let (origin, proxy) = stored(Answer::new(200)).await;
        let hit = get(&proxy, &[]).await;
        assert_eq!((hit.cache(), hit.text(), hit.header("content-length")), ("HIT", "", Some("0")));
        assert_eq!(origin.count(), 1);
    });
}

#[test]
fn with_the_cache_off_everything_passes() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, "enabled: false\nroutes: { /a: 1h }").await;
        for number in ["1", "2"] {
            let reply = get(&proxy, &[("if-none-match", "\"x\"")]).await;
            assert_eq!((reply.text(), reply.cache_status()), (number, "larder; fwd=bypass; detail=disabled"));
        }
        assert_eq!(origin.last().header("if-none-match"), Some("\"x\""));
    });
}

#[test]
fn an_answer_of_larders_own_is_a_problem_that_nobody_keeps() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, HOUR).await;
        origin.stop().await;
        let reply = get(&proxy, &[]).await;
        assert_eq!(reply.status, 502);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        let problem: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!((&problem["status"], &problem["title"]), (&502.into(), &"Bad Gateway".into()));
    });
}

#[test]
fn where_the_cache_is_not_asked_ranges_and_conditions_reach_the_origin() {
    play(async {
        let part = Answer::new(206).header("content-range", "bytes 2-4/10").text("234");
        let origin = Origin::telling([part, Answer::new(304).header("etag", "\"v1\"")]).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let reply = proxy.get("/pass").header("range", "bytes=2-4").reply().await;
        assert_eq!((reply.status.as_u16(), reply.text()), (206, "234"));
        assert_eq!(origin.last().header("range"), Some("bytes=2-4"));
        let reply = proxy.get("/pass").header("if-none-match", "\"v1\"").reply().await;
        assert_eq!((reply.status.as_u16(), reply.header("etag")), (304, Some("\"v1\"")));
    });
}

#[test]
fn a_304_or_a_206_that_nobody_asked_for_is_never_kept() {
    play(async {
        for status in [206, 304] {
            let origin = Origin::start(move |seen| match seen.nth {
                0 => Answer::new(status)
                    .header("content-range", "bytes 0-0/2")
                    .header("cache-control", "max-age=60"),
                _ => Answer::json("whole"),
            })
            .await;
            let proxy = Proxy::start(&origin, HOUR).await;
            get(&proxy, &[]).await;
            assert_eq!(get(&proxy, &[]).await.text(), "whole", "{status}");
        }
    });
}

#[test]
fn an_old_http_client_gets_a_chunked_answer_up_to_the_end_of_the_connection() {
    play(async {
        let gate = crate::harness::Gate::default();
        gate.open();
        let parts = Answer::json("one").part(crate::harness::origin::Part::Gate(gate)).text(" two");
        let origin = Origin::telling([parts]).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        for target in ["/a", "/a", "/pass"] {
            let mut client = Raw::connect(proxy.address).await;
            client.send(format!("GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n")).await;
            let head = client.head().await;
            assert!(!head.contains("transfer-encoding"), "{head}");
            assert_eq!(client.rest().await, "one two");
        }
    });
}

#[test]
fn an_answer_that_may_be_read_in_two_ways_is_a_502_and_not_kept() {
    play(async {
        for bad in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX-Split: a\rb\r\nContent-Length: 0\r\n\r\n",
            "no http at all\r\n\r\n",
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let proxy = Proxy::alone(&format!("upstream: http://{address}\n{HOUR}")).await;
            drop(listener.accept().await.unwrap());
            for _ in 0..2 {
                let client = proxy.get("/a").under_way();
                let mut app = Raw::accept(&listener).await;
                app.head().await;
                app.send(bad).await;
                assert_eq!(client.await.unwrap().status, 502, "{bad:?}");
                app.rest().await;
            }
        }
    });
}

/// A shared cache by the letter, its origin at `address`.
fn by_the_letter(address: SocketAddr) -> String {
    let text = include_str!("../../config/standards.yaml");
    let (origin, rest): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("upstream:"));
    assert_eq!(origin.len(), 1);
    format!("upstream: http://{address}\n{}", rest.join("\n"))
}

#[test]
fn a_length_too_short_and_an_unknown_coding_are_kept_by_the_letter_and_a_502_by_default() {
    play(async {
        for (answer, due) in [
            ("Content-Length: 5\r\n\r\nhello, world", "hello"),
            ("Content-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "hello"),
            ("Transfer-Encoding: arizqhyp\r\n\r\nhello, world", "hello, world"),
        ] {
            let answer = format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\n{answer}");
            for lenient in [true, false] {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let default = format!("upstream: http://{address}");
                let proxy = Proxy::alone(&if lenient { by_the_letter(address) } else { default }).await;
                drop(listener.accept().await.unwrap());
                let first = proxy.get("/a").under_way();
                let mut app = Raw::accept(&listener).await;
                app.head().await;
                app.send(&answer).await;
                drop(app);
                let first = first.await.unwrap();
                if lenient {
                    assert_eq!((first.status.as_u16(), first.cache(), first.text()), (200, "MISS", due));
                    assert_ne!(first.header("transfer-encoding"), Some("arizqhyp"));
                    let second = proxy.get("/a").reply().await;
                    assert_eq!((second.cache(), second.text()), ("HIT", due));
                } else {
                    assert_eq!(first.status, 502, "{answer}");
                    let _second = proxy.get("/a").under_way();
                    Raw::accept(&listener).await.head().await;
                }
            }
        }
    });
}

#[test]
fn head_is_forwarded_as_head_where_the_cache_is_not_asked() {
    play(async {
        let origin = Origin::telling([Answer::new(200).header("content-length", "10")]).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let head = proxy.ask("HEAD", "/pass").reply().await;
        assert_eq!((head.status.as_u16(), head.header("content-length")), (200, Some("10")));
        assert_eq!(origin.last().method, "HEAD");
    });
}

#[test]
fn every_way_to_write_one_target_is_one_entry() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let port = proxy.address.port();
        get(&proxy, &[]).await;
        for head in [
            format!("GET http://localhost:{port}/a HTTP/1.1\r\nHost: localhost:{port}"),
            format!("GET /a? HTTP/1.1\r\nHost: LOCALHOST:{port}"),
            format!("GET /%61 HTTP/1.1\r\nHost: 127.0.0.1:{port}"),
            format!("GET /a HTTP/1.1\r\nHost: [::1]:{port}"),
        ] {
            let mut client = Raw::connect(proxy.address).await;
            client.send(format!("{head}\r\n\r\n")).await;
            assert!(client.head().await.contains("x-cache: hit"), "{head}");
        }
    });
}
