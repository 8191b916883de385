//! What the rules of `writes:` outdate beside the target, by what is known of the write, and when it is stored again.

use std::time::Duration;

use tokio::net::TcpListener;

use crate::harness::origin::{Answer, Origin, Part, Seen};
use crate::harness::proxy::Proxy;
use crate::harness::raw::Raw;
use crate::harness::{Gate, play};
use crate::writes::{cache, is_write, store, writing};

/// Projects that carry their tag, and some pages beside them.
const ROUTES: &str =
    "routes: { '/p/{id}': { ttl: 1h, tags: 'project:{id}' }, /list: 1h, /stats: 1h, /me: 1h }\n";

/// Which of `targets` were dropped by a write, of a proxy with these rules: all are stored before it.
async fn dropped(rules: &str, write: (&str, &str, &str), answer: Answer, targets: &[&str]) -> Vec<String> {
    let origin = writing(move |_| answer.clone()).await;
    let proxy = Proxy::start(&origin, &format!("{ROUTES}{rules}")).await;
    store(&proxy, targets).await;
    let (method, target, body) = write;
    proxy.ask(method, target).body(body.to_owned()).reply().await;
    gone(&proxy, targets).await
}

/// Which of them have to be fetched again.
async fn gone(proxy: &Proxy, targets: &[&str]) -> Vec<String> {
    let mut gone = Vec::new();
    for target in targets {
        if cache(proxy, target).await != "HIT" {
            gone.push((*target).to_owned());
        }
    }
    gone
}

const ALL: [&str; 5] = ["/p/1", "/p/2", "/list", "/stats", "/me"];

// ---- which rules -------------------------------------------------------------------------------------------------

#[test]
fn every_rule_that_matches_outdates_what_it_names_and_nothing_else_goes() {
    play(async {
        let rules =
            "writes:\n  'PUT|PATCH /p/{id}': /list\n  'ANY /{rest:path}': /stats\n  'POST /p/{id}': /me";
        let by = |method, target| dropped(rules, (method, target, ""), Answer::new(200), &ALL);
        assert_eq!(by("PUT", "/p/1").await, ["/p/1", "/list", "/stats"]);
        assert_eq!(by("PATCH", "/p/2/").await, ["/p/2", "/list", "/stats"]);
        assert_eq!(by("POST", "/p/1").await, ["/p/1", "/stats", "/me"]);
        assert_eq!(by("POST", "/other/page").await, ["/stats"]);
        assert_eq!(by("OPTIONS", "/p/1").await, [""; 0]);
    });
}

#[test]
fn an_update_of_the_configuration_outdates_what_hangs_on_it_and_nothing_else() {
    play(async {
        let rules = "writes: { 'PUT /configurations/{id}': 'project:{id} /list' }";
        let by = dropped(rules, ("PUT", "/configurations/1", "{}"), Answer::new(200), &ALL);
        assert_eq!(by.await, ["/p/1", "/list"]);
    });
}

#[test]
fn a_path_that_can_be_read_in_two_ways_falls_under_the_rules_of_both() {
    play(async {
        let rules = "writes: { 'PUT /q/{id}': 'project:{id}', 'ANY /q/{rest:path}': /list }";
        for target in ["/q/1", "/q//1", "/q/x/../1", "/q%2f1", "/%71/1/"] {
            let by = dropped(rules, ("PUT", target, ""), Answer::new(200), &ALL).await;
            assert_eq!(by, ["/p/1", "/list"], "{target}");
        }
        let bare = dropped(rules, ("PUT", "/q", ""), Answer::new(200), &ALL).await;
        assert_eq!(bare, ["/list"], "the bare parent of a catch-all");
    });
}

#[test]
fn a_write_that_is_refused_falls_under_no_rule() {
    play(async {
        let rules = "writes: { 'PUT /q': '/list credential' }";
        for status in [400, 401, 403, 404, 409, 429] {
            let by = dropped(rules, ("PUT", "/q", ""), Answer::new(status), &["/list"]).await;
            assert!(by.is_empty(), "{status}");
        }
    });
}

#[test]
fn a_rule_may_ask_for_a_status_and_for_a_state() {
    play(async {
        let rules = "writes:\n  POST /q: { invalidate: /list, when: { status: 201 } }\n  \
                     PUT /q: { invalidate: /stats, when: { path: $.state, in: [Done] } }";
        let by = |method, body, answer| dropped(rules, (method, "/q", body), answer, &["/list", "/stats"]);
        assert_eq!(by("POST", "", Answer::new(201)).await, ["/list"]);
        assert_eq!(by("POST", "", Answer::new(200)).await, [""; 0]);
        assert_eq!(by("POST", "", Answer::new(500)).await, ["/list"], "nobody knows what became of it");
        assert_eq!(by("PUT", "", Answer::json(r#"{"state":"done"}"#)).await, ["/stats"]);
        assert_eq!(by("PUT", "", Answer::json(r#"{"state":"open"}"#)).await, [""; 0]);
        assert_eq!(by("PUT", r#"{"state":"DONE"}"#, Answer::new(204)).await, ["/stats"]);
        assert_eq!(
            by("PUT", "state=open", Answer::new(204)).await,
            ["/stats"],
            "there is nothing to judge by"
        );
        assert_eq!(by("PUT", r#"{"state":"open"}"#, Answer::new(502)).await, ["/stats"]);
    });
}

// ---- what stands for the placeholders -----------------------------------------------------------------------------

#[test]
fn what_the_request_or_its_answer_names_is_outdated_and_no_other() {
    play(async {
        let rules = "writes: { 'POST /c': 'project:{body.project.id}' }";
        let by = |body, answer| dropped(rules, ("POST", "/c", body), answer, &["/p/1", "/p/2", "/p/3"]);
        let (one, two) = (r#"{"project":{"id":1}}"#, r#"{"project":{"id":"2"}}"#);
        assert_eq!(by(one, Answer::new(201)).await, ["/p/1"]);
        assert_eq!(by("", Answer::json(two)).await, ["/p/2"]);
        assert_eq!(by(one, Answer::json(two)).await, ["/p/1", "/p/2"], "it was moved from one to the other");
        assert_eq!(by(r#"{"project":{"id":[3,1]}}"#, Answer::new(201)).await, ["/p/1", "/p/3"]);
    });
}

#[test]
fn what_cannot_be_told_outdates_all_that_it_may_be() {
    play(async {
        let rules = "writes: { 'POST /c': 'project:{body.id}' }";
        let by = |body, answer| dropped(rules, ("POST", "/c", body), answer, &["/p/1", "/p/2", "/list"]);
        for (body, answer) in [
            ("", Answer::new(201)),
            ("id=1", Answer::new(201).text("created")),
            (r#"{"other":1}"#, Answer::json("{}")),
            (r#"{"id":null}"#, Answer::new(201)),
            (r#"{"id":1}"#, Answer::new(500)),
            (r#"{"id":1}"#, Answer::cut()),
            (r#"{"id":1}"#, Answer::json("").header("content-encoding", "unknown").text("{}")),
            (r#"{"id":1}"#, Answer::json("[").part(Part::Cut)),
        ] {
            assert_eq!(by(body, answer.clone()).await, ["/p/1", "/p/2"], "{body} {answer:?}");
        }
    });
}

#[test]
fn query_user_header_and_status_stand_for_what_the_write_says() {
    play(async {
        let origin = writing(|_| Answer::new(201)).await;
        let rules = "identity: { user: ['header:x-user-id'] }\nwrites:\n  POST /q: 'project:{query.p} u:{user} \
                     h:{header.x-shop} s:{status}'";
        let routes = ["u:7", "h:a", "s:201", "u:8"].map(|tag| {
            let name = tag.replace(':', "");
            format!("  /{name}: {{ ttl: 1h, tags: '{tag}' }}\n")
        });
        let yaml = format!(
            "routes:\n  '/p/{{id}}': {{ ttl: 1h, tags: 'project:{{id}}' }}\n{}{rules}",
            routes.concat()
        );
        let proxy = Proxy::start(&origin, &yaml).await;
        let all = ["/p/1", "/p/2", "/p/3", "/u7", "/ha", "/s201", "/u8"];
        store(&proxy, &all).await;
        let write = proxy.ask("POST", "/q?p=1&x=3&%70=2").header("x-user-id", "7").header("x-shop", "a");
        write.reply().await;
        assert_eq!(gone(&proxy, &all).await, ["/p/1", "/p/2", "/u7", "/ha", "/s201"]);
    });
}

// ---- the bodies on their way ---------------------------------------------------------------------------------------

#[test]
fn an_answer_is_held_until_its_end_only_for_a_rule_that_asks_for_its_body() {
    play(async {
        let rules =
            "writes: { 'POST /asked': 'project:{body.id}', 'POST /not': 'project:{request.body.id}' }";
        let gate = Gate::default();
        let held = gate.clone();
        let origin =
            writing(move |_| Answer::json(r#"{"id":"#).part(Part::Gate(held.clone())).text("2}")).await;
        let proxy = Proxy::start(&origin, &format!("{ROUTES}{rules}")).await;
        store(&proxy, &["/p/1", "/p/2"]).await;
        let streaming = proxy.ask("POST", "/not").body(r#"{"id":1}"#).head().await;
        assert_eq!(streaming.status(), 200, "it streams");
        assert_eq!(gone(&proxy, &["/p/1", "/p/2"]).await, ["/p/1"]);
        let asked = proxy.ask("POST", "/asked").under_way();
        origin.arrived(5).await;
        proxy.settled().await;
        assert!(!asked.is_finished());
        assert_eq!(cache(&proxy, "/p/2").await, "HIT", "it is not known yet what was written");
        gate.open();
        let reply = asked.await.unwrap();
        assert_eq!((reply.text(), reply.whole), (r#"{"id":2}"#, true));
        assert_eq!(gone(&proxy, &["/p/1", "/p/2"]).await, ["/p/2"]);
    });
}

#[test]
fn bodies_that_are_too_large_go_on_whole_and_widen() {
    play(async {
        let rules = "writes: { 'POST /c': 'project:{body.id}' }";
        let large = format!(r#"{{"id":1,"text":"{}"}}"#, "x".repeat(1 << 20));
        for (sent, answered) in [(large.clone(), "{}".to_owned()), ("{}".to_owned(), large.clone())] {
            let answer = answered.clone();
            let origin = writing(move |_| Answer::json(answer.clone())).await;
            let proxy = Proxy::start(&origin, &format!("{ROUTES}{rules}")).await;
            store(&proxy, &["/p/1", "/p/2"]).await;
            let reply = proxy.ask("POST", "/c").body(sent.clone()).reply().await;
            assert!(reply.whole && reply.text() == answered);
            assert!(origin.last().body == sent.as_bytes());
            assert_eq!(gone(&proxy, &["/p/1", "/p/2"]).await, ["/p/1", "/p/2"]);
        }
    });
}

#[test]
fn a_write_that_breaks_off_in_its_body_outdates_all_that_it_may_have_named() {
    play(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let rules = "writes: { 'POST /c': 'project:{body.id}' }";
        let upstream = listener.local_addr().unwrap();
        let proxy = Proxy::alone(&format!("upstream: http://{upstream}\n{ROUTES}{rules}")).await;
        drop(listener.accept().await.unwrap()); // it only looks whether anybody is there
        for target in ["/p/1", "/p/2", "/list"] {
            let fill = proxy.get(target).under_way();
            let mut app = Raw::accept(&listener).await;
            app.head().await;
            app.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1").await;
            fill.await.unwrap();
        }
        let mut client = Raw::connect(proxy.address).await;
        let head = format!("POST /c HTTP/1.1\r\nHost: {}\r\nContent-Length: 100\r\n\r\n", proxy.address);
        client.send(head + "{\"id\":1").await;
        let mut app = Raw::accept(&listener).await;
        app.until("{\"id\":1").await;
        drop(client);
        app.rest().await;
        proxy.settled().await;
        for (target, status) in [("/p/1", 504), ("/p/2", 504), ("/list", 200)] {
            let asked = proxy.get(target).header("cache-control", "only-if-cached");
            assert_eq!(asked.reply().await.status, status, "{target}");
        }
    });
}

// ---- whoever wrote --------------------------------------------------------------------------------------------------

#[test]
fn a_logout_outdates_all_entries_of_whoever_logs_out_and_nobody_elses() {
    play(async {
        let origin = writing(|_| Answer::new(204)).await;
        let proxy = Proxy::start(&origin, &format!("{ROUTES}writes: {{ POST /logout: credential }}")).await;
        let get = |target: &'static str, who: &'static str| proxy.get(target).header("authorization", who);
        for who in ["a", "b"] {
            get("/me", who).reply().await;
            get("/list", who).reply().await;
        }
        store(&proxy, &["/me"]).await;
        proxy.ask("POST", "/logout").reply().await;
        assert_eq!(get("/me", "a").reply().await.cache(), "HIT", "nobody in particular wrote");
        proxy.ask("POST", "/logout").header("authorization", "a").reply().await;
        for (target, who, cached) in
            [("/me", "a", "MISS"), ("/list", "a", "MISS"), ("/me", "b", "HIT"), ("/list", "b", "HIT")]
        {
            assert_eq!(get(target, who).reply().await.cache(), cached, "{target} {who}");
        }
        assert_eq!(cache(&proxy, "/me").await, "HIT");
    });
}

#[test]
fn who_writes_is_whoever_reads_without_what_only_writes_carry() {
    play(async {
        let origin = writing(|_| Answer::new(204)).await;
        let rules = "writes: { POST /logout: credential, PUT /soft: { invalidate: /list, soft: true } }";
        let proxy =
            Proxy::start(&origin, &format!("{ROUTES}defaults: {{ stale_while_revalidate: 1h }}\n{rules}"))
                .await;
        let by = |method, target| proxy.ask(method, target).header("cookie", "session=1");
        for token in ["x-csrf-token", "x-idempotency-key"] {
            for target in ["/me", "/list"] {
                by("GET", target).reply().await;
                assert_eq!(by("GET", target).reply().await.cache(), "HIT");
            }
            by("PUT", "/soft").header(token, "t").reply().await;
            assert_eq!(by("GET", "/list").reply().await.cache(), "MISS", "{token}: he reads his own write");
            by("POST", "/logout").header(token, "t").reply().await;
            assert_eq!(by("GET", "/me").reply().await.cache(), "MISS", "{token}");
        }
        let keyed = || by("GET", "/me").header("x-csrf-token", "t");
        keyed().reply().await;
        assert_eq!(keyed().reply().await.cache(), "HIT");
        by("POST", "/logout").header("x-csrf-token", "t").reply().await;
        assert_eq!(keyed().reply().await.cache(), "MISS", "he may show it whenever he reads");
    });
}

#[test]
fn what_one_body_says_in_part_the_other_does_not_make_up_for() {
    play(async {
        let rules = "writes: { POST /q: 'project:{body.id}' }";
        let by = |body| dropped(rules, ("POST", "/q", body), Answer::json(r#"{"id":1}"#), &["/p/1", "/p/2"]);
        assert_eq!(by(r#"{"id":null}"#).await, ["/p/1"]);
        assert_eq!(by(r#"{"id":[2,null]}"#).await, ["/p/1", "/p/2"]);
    });
}

// ---- soft, and in-band -----------------------------------------------------------------------------------------------

#[test]
fn a_soft_rule_leaves_what_it_names_in_store_but_never_the_target() {
    play(async {
        let rules = "defaults: { stale_while_revalidate: 1h }\nwrites: { 'PUT /p/{id}': { invalidate: /list, soft: true } }";
        let by = dropped(rules, ("PUT", "/p/1", ""), Answer::new(200), &["/p/1"]);
        assert_eq!(by.await, ["/p/1"]);
        let origin = writing(|_| Answer::new(200)).await;
        let proxy = Proxy::start(&origin, &format!("{ROUTES}{rules}")).await;
        store(&proxy, &["/list"]).await;
        proxy.ask("PUT", "/p/1").header("authorization", "a").reply().await;
        assert_ne!(cache(&proxy, "/list").await, "MISS");
    });
}

#[test]
fn the_groups_that_an_answer_to_a_write_names_are_outdated() {
    play(async {
        let in_band = |seen: &Seen, status| {
            let answer = if is_write(seen) { Answer::new(status) } else { Answer::json(seen.number()) };
            match seen.target.as_str() {
                "/list" => answer.header("cache-groups", r#""lists", "all""#),
                "/stats" => answer.header("cache-groups", r#""all""#),
                _ => answer.header("cache-group-invalidation", r#""lists";x, "project:2""#),
            }
        };
        for (method, status, left) in
            [("POST", 200, &["/p/2", "/list"][..]), ("POST", 409, &["/p/2", "/list"]), ("GET", 200, &[])]
        {
            let origin = Origin::start(move |seen| in_band(seen, status)).await;
            let proxy = Proxy::start(&origin, ROUTES).await;
            store(&proxy, &["/p/2", "/list", "/stats"]).await;
            proxy.ask(method, "/other").reply().await;
            assert_eq!(gone(&proxy, &["/p/2", "/list", "/stats"]).await, left, "{method} {status}");
        }
    });
}

// ---- when it is stored again -----------------------------------------------------------------------------------------

#[test]
fn what_a_write_outdated_is_stored_again_once_it_has_settled() {
    play(async {
        let rules = "invalidation: { settle: 100ms }\nwrites: { 'PUT /q': /list }";
        let origin = writing(|_| Answer::new(200)).await;
        let proxy = Proxy::start(&origin, &format!("{ROUTES}{rules}")).await;
        store(&proxy, &["/list", "/stats"]).await;
        proxy.ask("PUT", "/q").reply().await;
        for _ in 0..2 {
            assert_eq!(cache(&proxy, "/list").await, "MISS");
        }
        proxy.pass(Duration::from_millis(99));
        assert_eq!(cache(&proxy, "/list").await, "MISS");
        assert_eq!(cache(&proxy, "/stats").await, "HIT");
        proxy.pass(Duration::from_millis(1));
        assert_eq!(cache(&proxy, "/list").await, "MISS");
        assert_eq!(cache(&proxy, "/list").await, "HIT");
    });
}

#[test]
fn what_a_write_without_a_known_outcome_outdated_is_stored_again_only_when_it_is_over() {
    play(async {
        for answer in [Answer::cut(), Answer::new(503)] {
            let origin = writing(move |_| answer.clone()).await;
            let rules = "limits: { upstream_timeout: 30s }\nwrites: { 'PUT /q': 'project:{status}' }";
            let proxy = Proxy::start(&origin, &format!("{ROUTES}{rules}")).await;
            store(&proxy, &["/p/1", "/list"]).await;
            proxy.ask("PUT", "/q").reply().await;
            assert_eq!(cache(&proxy, "/p/1").await, "MISS");
            assert_eq!(cache(&proxy, "/p/2").await, "MISS");
            assert_eq!(gone(&proxy, &["/p/1", "/p/2", "/list"]).await, ["/p/1", "/p/2"]);
            proxy.pass(Duration::from_millis(29_999));
            assert_eq!(gone(&proxy, &["/p/1", "/p/1"]).await, ["/p/1", "/p/1"]);
            proxy.pass(Duration::from_millis(1));
            assert_eq!(gone(&proxy, &["/p/1", "/p/1"]).await, ["/p/1"]);
        }
    });
}
