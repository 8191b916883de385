//! What is shown to those who look on: the figures are what was counted, what happens is told as it happens, and nobody who
//! watches holds anybody up.

use std::time::{Duration, SystemTime};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use larder::access_log::Line;
use serde_json::Value;

use crate::harness::origin::{Answer, Origin};
use crate::harness::play;
use crate::harness::proxy::Proxy;

const ROUTES: &str = "routes: { '/a/{id}': { ttl: 10m, tags: 'a:{id}' }, /list: 10m, '/pass/{x}': bypass }\n\
                      writes: { 'PUT /a/{id}': { invalidate: 'a:{id}' } }\n\
                      dependencies: { 'a:{id}': /list }\n";

/// One who looks on.
struct Looker {
    body: Incoming,
    text: String,
}

/// An event as it came.
#[derive(Debug)]
struct Event {
    name: String,
    data: Value,
}

impl Looker {
    async fn at(proxy: &Proxy, query: &str) -> Self {
        let answer = proxy.admin_ask("GET", &format!("/v1/stream{query}")).head().await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        Self { body: answer.into_body(), text: String::new() }
    }

    /// The next event; `None`: the stream has ended, and cleanly.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                if event.starts_with(':') {
                    continue;
                }
                let (name, data) = event.split_once('\n').expect("a name and data");
                let name = name.strip_prefix("event: ").expect("a name").to_owned();
                let data = data.strip_prefix("data: ").expect("data in one line");
                return Some(Event { name, data: serde_json::from_str(data).expect("JSON") });
            }
            let frame = self.body.frame().await?.expect("it does not break off");
            self.text.push_str(std::str::from_utf8(frame.data_ref().expect("bytes")).expect("UTF-8"));
        }
    }

    /// The next event of this name.
    async fn hears(&mut self, name: &str) -> Value {
        loop {
            let event = self.next().await.expect("it goes on");
            if event.name == name {
                return event.data;
            }
        }
    }
}

async fn started() -> (Origin, Proxy) {
    let origin = Origin::start(|_| Answer::json("same")).await;
    let proxy = Proxy::start(&origin, ROUTES).await;
    proxy.ready().await;
    (origin, proxy)
}

#[test]
fn figures_are_what_was_counted() {
    play(async {
        let (origin, proxy) = started().await;
        for target in ["/a/1", "/a/1", "/a/1", "/list", "/pass/1", "/pass/2"] {
            proxy.get(target).reply().await;
        }
        proxy.ask("PUT", "/a/1").reply().await;
        proxy.get("/a/1").reply().await;
        let told = proxy.admin("/v1/figures").await.json();
        let requests = &told["totals"]["requests"];
        for (cache, count) in
            [("hit", 2), ("miss", 3), ("stale", 0), ("revalidated", 0), ("bypass", 3), ("all", 8)]
        {
            assert_eq!(requests[cache], count, "{cache}: {requests}");
        }
        assert_eq!(told["totals"]["hit_ratio"], 0.4);
        assert_eq!(told["totals"]["origin_requests"], 6);
        assert_eq!(told["state"]["upstream"]["requests"], origin.count());
        let first = &told["routes"][0];
        assert_eq!((&first["route"], &first["requests"]["all"]), (&"/a/{id}".into(), &5.into()));
        assert_eq!(first["reasons"][0], serde_json::json!({ "reason": "uri-miss", "count": 2 }));
        assert_eq!(first["reasons"][1], serde_json::json!({ "reason": "method", "count": 1 }));
        let bucketed: u64 =
            first["hits"]["buckets"].as_array().unwrap().iter().map(|pair| pair[1].as_u64().unwrap()).sum();
        assert_eq!((bucketed, &first["hits"]["count"]), (2, &2.into()));
        let metric = proxy.metric("larder_misses_total{route=\"/a/{id}\",reason=\"uri-miss\"}").await;
        assert_eq!(metric, 2);
        assert_eq!((&told["memory"]["entries"], &told["routes_left_out"]), (&1.into(), &0.into()));
        let invalidations = &told["invalidations"];
        assert_eq!((&invalidations["total"], &invalidations["entries"]), (&1.into(), &2.into()));
        assert_eq!(invalidations["by_source"]["write"]["hard"], 1);
        assert_eq!((&told["state"]["ready"], &told["state"]["redis"]), (&"ready".into(), &Value::Null));
        assert_eq!(
            (&told["state"]["upstream"]["reachable"], &told["state"]["alerts"]),
            (&true.into(), &Value::Array(Vec::new()))
        );
    });
}

#[test]
fn figures_come_at_once_and_then_every_so_often() {
    play(async {
        let (_origin, proxy) = started().await;
        let mut looker = Looker::at(&proxy, "?every=250ms").await;
        assert_eq!(looker.next().await.unwrap().name, "figures");
        proxy.get("/list").reply().await;
        while looker.hears("figures").await["totals"]["requests"]["all"] != 1 {}
    });
}

#[test]
fn an_invalidation_is_told_as_the_list_tells_it_with_what_it_dropped() {
    play(async {
        let (_origin, proxy) = started().await;
        proxy.get("/a/1").reply().await;
        proxy.get("/list").reply().await;
        let mut looker = Looker::at(&proxy, "?events=invalidations").await;
        proxy.tell("/v1/purge", serde_json::json!({ "tags": "a:1" })).await;
        let heard = looker.hears("invalidation").await;
        assert_eq!(heard["by_route"], serde_json::json!({ "/a/{id}": 1, "/list": 1 }));
        let list = proxy.admin("/v1/invalidations").await.json();
        assert_eq!(list["invalidations"][0], heard);
        let graph = proxy.admin("/v1/dependencies").await.json();
        assert_eq!(graph["dependencies"], serde_json::json!([{ "source": "a:{id}", "derived": ["/list"] }]));
    });
}

#[test]
fn requests_are_told_that_the_reader_asked_for_and_no_others() {
    play(async {
        let (_origin, proxy) = started().await;
        let filter = "?events=requests&route=/a/1&cache=hit,bypass&status=2xx&method=get";
        let mut looker = Looker::at(&proxy, filter).await;
        proxy.get("/a/1").reply().await;
        proxy.get("/pass/1").reply().await;
        proxy.ask("PUT", "/a/1").reply().await;
        proxy.get("/a/7").reply().await;
        proxy.get("/a/7?secret=1").reply().await;
        proxy.get("/a/7?secret=1").reply().await;
        let heard = looker.hears("request").await;
        assert_eq!((&heard["url.path"], &heard["cache"]), (&"/a/7".into(), &"hit".into()));
        assert_eq!((&heard["http.route"], heard.to_string().contains("secret")), (&"/a/{id}".into(), false));
    });
}

#[test]
fn lines_are_made_for_who_listens_and_for_nobody_else() {
    play(async {
        let (_origin, proxy) = started().await;
        let log = &proxy.flow.parts().log;
        assert!(!log.is_on(), "the log is off");
        let looker = Looker::at(&proxy, "?events=requests").await;
        assert!(log.is_on());
        drop(looker);
        while log.is_on() {
            // Whoever hangs up is noticed when there is something to tell.
            log.write(&line());
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_reader_who_is_too_slow_is_told_how_much_it_missed() {
    play(async {
        let (_origin, proxy) = started().await;
        let mut looker = Looker::at(&proxy, "?events=requests").await;
        let told = 5000;
        for _ in 0..told {
            proxy.flow.parts().log.write(&line());
        }
        let lost = looker.hears("lost").await;
        assert_eq!(lost["of"], "requests");
        let missed = lost["count"].as_u64().unwrap();
        for _ in missed..told {
            looker.hears("request").await;
        }
        proxy.get("/list").reply().await;
        assert_eq!(looker.hears("request").await["url.path"], "/list");
    });
}

#[test]
fn a_reader_who_does_not_read_is_cut_and_its_place_is_free_again() {
    play(async {
        let (_origin, proxy) = started().await;
        let looker = Looker::at(&proxy, "?events=requests").await;
        let log = &proxy.flow.parts().log;
        // More than all buffers on the way hold, a little at a time: nobody is to be lapped.
        for _ in 0..40_000 {
            log.write(&line());
            tokio::task::yield_now().await;
        }
        while log.is_on() {
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(5)).await;
            tokio::time::resume();
            log.write(&line());
            proxy.settled().await;
        }
        drop(looker);
    });
}

#[test]
fn there_are_64_places_and_whoever_leaves_gives_his_back() {
    play(async {
        let (_origin, proxy) = started().await;
        let mut lookers = Vec::new();
        for _ in 0..64 {
            lookers.push(Looker::at(&proxy, "?every=250ms").await);
        }
        let refused = proxy.admin("/v1/stream").await;
        assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, Some("5")));
        assert_eq!(proxy.admin("/livez").await.status, 200, "others are answered");
        lookers.pop();
        while proxy.admin_ask("GET", "/v1/stream").head().await.status() != 200 {}
    });
}

#[test]
fn a_draining_process_ends_streams_and_waits_for_none() {
    play(async {
        let (_origin, proxy) = started().await;
        let mut looker = Looker::at(&proxy, "?events=figures,requests").await;
        looker.hears("figures").await;
        let stopping = proxy.running().stop(Duration::ZERO, std::future::pending());
        tokio::join!(stopping, async { while looker.next().await.is_some() {} });
    });
}

#[test]
fn what_nobody_can_mean_is_refused() {
    play(async {
        let (_origin, proxy) = started().await;
        for (query, status, hint) in [
            ("events=figure", 400, "`events` lists figures, invalidations, requests, reloads"),
            ("every=1ms", 400, "from 250ms to 60s"),
            ("events=requests&route=/nowhere/else/at/all", 404, "none matches it as a path"),
            ("events=requests&route=nowhere", 404, "No route is `nowhere`"),
            ("events=requests&status=6xx", 400, "as 404 or 5xx"),
            ("events=requests&cache=warm", 400, "`cache` lists hit, miss"),
            ("status=404", 400, "ask for `events=requests`"),
            ("evry=1s", 400, "did you mean `every`?"),
        ] {
            let target = format!("/v1/stream?{query}");
            let reply = proxy.admin(&target).await;
            assert_eq!(reply.status, status, "{query}: {}", reply.text());
            assert!(reply.text().contains(hint), "{query}: {}", reply.text());
        }
    });
}

fn line() -> Line<'static> {
    Line {
        at: SystemTime::UNIX_EPOCH,
        method: "GET",
        path: "/filler",
        route: None,
        status: 200,
        protocol: "1.1",
        client: None,
        server: None,
        request_bytes: 0,
        response_bytes: 0,
        duration: Duration::ZERO,
        upstream: None,
        cache: "hit",
        detail: None,
        age: None,
        request_id: "",
        trace_id: None,
        span_id: None,
        error: None,
    }
}
