//! What spans say, held against the access log, and against what the origin was told.

use std::thread;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use crate::harness::{until, until_idle};
use crate::origin::Origin;
use crate::receiver::{Mood, Receiver, Told};
use crate::{ask, below, lines, of_path, traced, traced_by};

/// Attributes of a span, and the names under which the log says the same.
const ALIKE: [(&str, &str); 12] = [
    ("http.request.method", "http.request.method"),
    ("url.path", "url.path"),
    ("http.response.status_code", "http.response.status_code"),
    ("network.protocol.version", "network.protocol.version"),
    ("client.address", "client.address"),
    ("http.request.body.size", "http.request.body.size"),
    ("http.response.body.size", "http.response.body.size"),
    ("larder.cache", "cache"),
    ("larder.detail", "detail"),
    ("larder.age", "age"),
    ("larder.request_id", "request_id"),
    ("http.route", "http.route"),
];

#[track_caller]
fn assert_alike(span: &Told, line: &serde_json::Value) {
    for (of_span, of_line) in ALIKE {
        let logged = line.get(of_line).map(|value| value.as_str().map_or(value.to_string(), str::to_owned));
        let logged = logged.filter(|value| value != "unmatched");
        assert_eq!(span.said.get(of_span), logged.as_ref(), "{of_span} of {span:#?}\n{line:#}");
    }
    assert_eq!(span.trace, line["trace_id"], "{line:#}");
    assert_eq!(span.nanos / 1000, line["duration_us"].as_u64().expect("a number"), "{line:#}");
    assert_eq!(span.said["server.address"], "localhost");
    let status = line["http.response.status_code"].as_u64().expect("a number");
    let error =
        line["error.type"].as_str().map(str::to_owned).or((status >= 500).then(|| status.to_string()));
    assert_eq!(span.said.get("error.type"), error.as_ref(), "{line:#}");
    assert_eq!(span.failed, status >= 500 || (error.is_some() && status < 400), "{line:#}");
}

#[test]
fn every_line_of_the_access_log_is_a_span_that_says_the_same() {
    let (origin, receiver) = (Origin::start(), Receiver::start(Mood::Takes));
    let proxy = traced(origin.address, &receiver, &[]);
    let script = [
        ("GET", "/api/projects/1", 200, "miss"),
        ("GET", "/api/projects/1", 200, "hit"),
        ("GET", "/api/projects/1?token=x", 200, "miss"),
        ("HEAD", "/api/projects/1", 200, "hit"),
        ("PUT", "/api/projects/1", 200, "bypass"),
        ("GET", "/api/projects/1", 200, "miss"),
        ("GET", "/api/missing", 404, "bypass"),
        ("GET", "/api/fails", 500, "bypass"),
        ("GET", "/api/cookie", 200, "bypass"),
        ("GET", "/api/cut", 200, "miss"),
        ("GET", "/elsewhere", 200, "bypass"),
        ("POST", "/elsewhere", 200, "bypass"),
        ("OPTIONS", "*", 200, "bypass"),
        ("PURGE", "/api/projects/1", 405, "bypass"),
    ];
    for (method, target, status, _) in script {
        assert_eq!(ask(proxy.listen, method, target, &[]).status, status, "{method} {target}");
    }
    let spans = receiver.wait_for_requests(script.len());
    let lines = lines(&proxy, script.len());
    let of_requests: Vec<&Told> = spans.iter().filter(|span| span.kind == SpanKind::Server).collect();
    assert_eq!(of_requests.len(), lines.len(), "a span each");
    let mut words = Vec::new();
    for span in of_requests {
        assert_alike(span, lines.get(&span.id).unwrap_or_else(|| panic!("no line for {span:#?}")));
        words.push(span.said["larder.cache"].clone());
    }
    let mut expected: Vec<&str> = script.iter().map(|(.., cache)| *cache).collect();
    words.sort();
    expected.sort_unstable();
    assert_eq!(words, expected);
}

#[test]
fn a_question_to_the_origin_stands_below_its_request_and_the_origin_is_told_of_it() {
    let (origin, receiver) = (Origin::start(), Receiver::start(Mood::Takes));
    let proxy = traced(origin.address, &receiver, &[]);
    for (method, target) in
        [("GET", "/api/projects/7"), ("PUT", "/api/projects/8"), ("GET", "/api/fails"), ("GET", "/elsewhere")]
    {
        ask(proxy.listen, method, target, &[]);
    }
    let spans = receiver.wait_for_requests(4);
    for (path, name, status) in [
        ("/api/projects/7", "GET /api/projects/{id}", "200"),
        ("/api/projects/8", "PUT /api/projects/{id}", "200"),
        ("/api/fails", "GET /api/fails", "500"),
        ("/elsewhere", "GET", "200"),
    ] {
        let above = of_path(&spans, path);
        assert_eq!((above.name.as_str(), above.parent.as_str()), (name, ""));
        let [call] = below(&spans, above)[..] else { panic!("one question: {spans:#?}") };
        assert_eq!((call.kind, call.name.as_str()), (SpanKind::Client, name));
        assert_eq!(call.said["http.response.status_code"], status);
        assert_eq!((call.failed, call.said.contains_key("error.type")), (status == "500", status == "500"));
        assert_eq!(call.said["server.port"], origin.address.port().to_string());
        let told = origin.told(path, "traceparent");
        assert_eq!(told, [Some(format!("00-{}-{}-01", call.trace, call.id))]);
    }
    let traces: std::collections::BTreeSet<&String> = spans.iter().map(|span| &span.trace).collect();
    assert_eq!(traces.len(), 4, "each request has a trace of its own");
}

#[test]
fn who_waited_for_somebody_elses_question_says_whose_it_was() {
    let (origin, receiver) = (Origin::start(), Receiver::start(Mood::Takes));
    let proxy = traced(origin.address, &receiver, &[]);
    let listen = proxy.listen;
    let held = || thread::spawn(move || ask(listen, "GET", "/held", &[]).head);
    let first = held();
    origin.wait_for("/held");
    let second = held();
    until("it is there", || (crate::metric(&proxy, "larder_connections ") >= 2).then_some(()));
    until_idle(proxy.id());
    origin.open();
    let heads = [first, second].map(|client| client.join().expect("it is answered"));
    let spans = receiver.wait_for_requests(2);
    let (asked, waited): (Vec<&Told>, Vec<&Told>) = spans
        .iter()
        .filter(|span| span.kind == SpanKind::Server)
        .partition(|span| !below(&spans, span).is_empty());
    assert_eq!((asked.len(), waited.len()), (1, 1), "one asks, one waits: {spans:#?}");
    assert!(heads.iter().any(|head| head.contains("collapsed")), "{heads:?}");
    assert_eq!(waited[0].links, [asked[0].id.clone()]);
    assert!(asked[0].links.is_empty());
}

#[test]
fn what_is_fetched_while_a_stale_answer_is_served_is_asked_for_by_who_was_served() {
    let (origin, receiver) = (Origin::start(), Receiver::start(Mood::Takes));
    let proxy = traced(origin.address, &receiver, &[]);
    ask(proxy.listen, "GET", "/api/soon", &[]);
    assert!(ask(proxy.listen, "GET", "/api/soon", &[]).head.contains("x-cache: stale"));
    let spans = until("the question in the background is told", || {
        let spans = receiver.spans();
        (spans.iter().filter(|span| span.kind == SpanKind::Client).count() == 2
            && spans.iter().filter(|span| span.kind == SpanKind::Server).count() == 2)
            .then_some(spans)
    });
    let stale = spans.iter().find(|span| span.said.get("larder.cache").is_some_and(|word| word == "stale"));
    assert_eq!(below(&spans, stale.expect("one was stale")).len(), 1);
}

#[test]
fn what_larder_asks_by_itself_is_nobodys_request() {
    let (origin, receiver) = (Origin::start(), Receiver::start(Mood::Takes));
    let config = format!("{}warm: {{ requests: [{{ get: /api/projects/5 }}] }}\n", crate::CONFIG);
    let _proxy = traced_by(&config, origin.address, &receiver, &[]);
    let spans = receiver.wait_for_requests(1);
    let warmed = of_path(&spans, "/api/projects/5");
    assert_eq!((warmed.kind, warmed.said["larder.purpose"].as_str()), (SpanKind::Internal, "warm"));
    assert_eq!(below(&spans, warmed).len(), 1);
}

#[test]
fn no_url_makes_a_name_and_none_is_exported_whole() {
    let (origin, receiver) = (Origin::start(), Receiver::start(Mood::Takes));
    let mut proxy = traced(origin.address, &receiver, &[]);
    let long = format!("/api/projects/{}", "a".repeat(5000));
    let targets = [
        "/api/projects/%F0%9F%A6%8A",
        "/api/projects/..%2F..%2Fetc",
        "/%00",
        "//x//y",
        "/api/projects/{id}",
        "/a'b\"c<script>",
        "/?q=1",
        "/api/projects/1;x=y",
        "/api/projects/%zz",
        &long,
    ];
    for (number, target) in targets.iter().enumerate() {
        for method in ["GET", "BREW", &format!("M{number}")] {
            ask(proxy.listen, method, target, &[("Host", &format!("h{number}.example"))]);
        }
    }
    proxy.signal("TERM");
    proxy.wait();
    let spans = receiver.spans();
    let of_requests = spans.iter().filter(|span| span.kind == SpanKind::Server).count();
    assert!(of_requests >= 2 * targets.len(), "not all of them are refused below HTTP");
    assert_eq!(of_requests, proxy.stdout().lines().count(), "a span for each line");
    let known = ["GET", "HTTP", "GET /api/projects/{id}", "HTTP /api/projects/{id}"];
    for span in spans {
        assert!(known.contains(&span.name.as_str()), "{span:#?}");
        assert!(
            span.said.get("url.path").is_none_or(|path| path.len() <= 1024 && !path.contains('?')),
            "{span:#?}"
        );
        assert!(!span.said.contains_key("url.query") && !span.said.contains_key("url.full"), "{span:#?}");
    }
}
