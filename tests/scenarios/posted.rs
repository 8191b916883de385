//! A POST whose answer says that it is its target's representation, and for how long (RFC 9110 §9.3.3).

use crate::harness::client::{Ask, next};
use crate::harness::origin::{Answer, Origin, Part, Seen};
use crate::harness::proxy::Proxy;
use crate::harness::{Gate, play};

/// What a POST has to be answered with, to be kept for a GET of its target.
fn posted(seen: &Seen) -> Answer {
    Answer::json(format!("posted {}", seen.number()))
        .header("cache-control", "max-age=60")
        .header("content-location", &seen.target)
}

/// An origin that answers a POST as `post` says, and everything else with its number.
async fn answering(post: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Origin {
    Origin::start(move |seen| match seen.method.as_str() {
        "POST" => post(seen),
        _ => Answer::json(seen.number()).header("cache-control", "max-age=60"),
    })
    .await
}

fn post(proxy: &Proxy) -> Ask {
    proxy.ask("POST", "/a").header("content-type", "text/plain").body("12345")
}

async fn get(proxy: &Proxy) -> String {
    let reply = proxy.get("/a").reply().await;
    format!("{} {}", reply.cache(), reply.text())
}

#[test]
fn a_get_is_answered_with_what_the_post_before_it_was() {
    play(async {
        let origin = answering(posted).await;
        for yaml in ["", "routes: { /a: 1h }", "defaults: { scope: origin }"] {
            let proxy = Proxy::start(&origin, yaml).await;
            let before = origin.count();
            proxy.get("/a").reply().await;
            let reply = post(&proxy).reply().await;
            assert_eq!((reply.cache(), reply.cache_status()), ("BYPASS", "larder; fwd=method; stored"));
            let after = get(&proxy).await;
            assert_eq!(after, format!("HIT {}", reply.text()), "{yaml}");
            assert_eq!(proxy.ask("HEAD", "/a").reply().await.cache(), "HIT");
            assert_ne!(post(&proxy).reply().await.text(), reply.text(), "a POST is never answered with it");
            assert_eq!(origin.count() - before, 3);
            proxy.pass_secs(61);
            assert!(get(&proxy).await.starts_with("MISS"));
        }
    });
}

#[test]
fn any_doubt_leaves_it_to_the_client_alone() {
    play(async {
        for (header, value) in [
            ("content-location", "/b"),
            ("content-location", "/a?x=1"),
            ("content-location", "http://elsewhere.example/a"),
            ("cache-control", "private, max-age=60"),
            ("cache-control", "no-store"),
            ("cache-control", "x"),
            ("vary", "*"),
            ("set-cookie", "a=b"),
        ] {
            let origin = answering(move |seen| {
                let said = |name: &str, plain: &str| {
                    if name == header { value.to_owned() } else { plain.to_owned() }
                };
                let answer = Answer::json(seen.number())
                    .header("cache-control", &said("cache-control", "max-age=60"))
                    .header("content-location", &said("content-location", "/a"));
                if matches!(header, "vary" | "set-cookie") { answer.header(header, value) } else { answer }
            })
            .await;
            let proxy = Proxy::start(&origin, "routes: { /a: 1h }").await;
            let reply = post(&proxy).reply().await;
            let status = reply.cache_status();
            assert_eq!((reply.text(), status), ("1", "larder; fwd=method"), "{header}: {value}");
            assert_eq!(get(&proxy).await, "MISS 2", "{header}: {value}");
        }
    });
}

#[test]
fn a_request_that_told_the_origin_more_than_a_fill_would_is_answered_for_itself() {
    play(async {
        let origin = answering(posted).await;
        let yaml =
            "defaults: { ignore_query: utm_* }\nroutes: { /a: 1h, /strict: { ttl: 1h, strict: true } }";
        let proxy = Proxy::start(&origin, yaml).await;
        for ask in [post(&proxy), post(&proxy).header("x-other", "1"), proxy.ask("POST", "/strict")] {
            assert_eq!(ask.reply().await.cache_status(), "larder; fwd=method; stored");
        }
        proxy.ask("PUT", "/a").reply().await;
        let asks = [
            proxy.ask("POST", "/a?utm_source=x"),
            proxy.ask("POST", "/strict").header("x-other", "1"),
            post(&proxy).header("cookie", "_ga=1"),
            post(&proxy).header("accept-encoding", "gzip, dcb"),
            post(&proxy).header("if-match", "*"),
            post(&proxy).header("range", "bytes=0-1"),
        ];
        for ask in asks {
            assert_eq!(ask.reply().await.cache_status(), "larder; fwd=method");
        }
        assert!(get(&proxy).await.starts_with("MISS"));
    });
}

#[test]
fn what_was_posted_with_a_credential_is_for_that_credential() {
    play(async {
        let origin = answering(posted).await;
        let proxy = Proxy::start(&origin, "routes: { /a: 1h, /public: { ttl: 1h, scope: public } }").await;
        let as_user = |ask: Ask| ask.header("cookie", "session=a");
        let reply = as_user(post(&proxy)).reply().await;
        assert_eq!(reply.cache_status(), "larder; fwd=method; stored");
        assert!(get(&proxy).await.starts_with("MISS"));
        let own = as_user(proxy.get("/a")).reply().await;
        assert_eq!((own.cache(), own.text()), ("HIT", reply.text()));
        let shared = proxy.ask("POST", "/public").header("authorization", "x").reply().await;
        assert_eq!(shared.cache_status(), "larder; fwd=method", "its fill would have carried none");
    });
}

#[test]
fn a_write_that_was_answered_meanwhile_makes_it_older_than_that() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = answering(move |seen| posted(seen).held(&held)).await;
        let proxy = Proxy::start(&origin, "").await;
        let early = post(&proxy).under_way();
        origin.arrived(1).await;
        proxy.ask("PUT", "/a").reply().await;
        gate.open();
        let reply = early.await.unwrap();
        assert_eq!((reply.text(), reply.cache_status()), ("posted 1", "larder; fwd=method"));
        assert_eq!(get(&proxy).await, "MISS 3");
    });
}

#[test]
fn a_write_that_is_answered_while_it_streams_keeps_it_from_being_stored() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = answering(move |seen| posted(seen).part(Part::Gate(held.clone())).text("!")).await;
        let proxy = Proxy::start(&origin, "").await;
        let mut answer = post(&proxy).head().await;
        assert_eq!(next(answer.body_mut()).await, "posted 1");
        proxy.ask("PUT", "/a").reply().await;
        gate.open();
        assert_eq!(next(answer.body_mut()).await, "!");
        assert_eq!(get(&proxy).await, "MISS 3");
    });
}

#[test]
fn what_was_fetched_while_it_streamed_is_not_replaced_by_it() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = answering(move |seen| posted(seen).part(Part::Gate(held.clone())).text("!")).await;
        let proxy = Proxy::start(&origin, "").await;
        let mut answer = post(&proxy).head().await;
        assert_eq!(next(answer.body_mut()).await, "posted 1");
        assert_eq!(get(&proxy).await, "MISS 2");
        gate.open();
        assert_eq!(crate::harness::client::read(answer.into_body()).await.0, "!");
        assert_eq!(get(&proxy).await, "HIT 2");
    });
}

#[test]
fn a_read_that_was_under_way_is_not_kept_instead() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| match seen.method.as_str() {
            "POST" => posted(seen),
            _ => Answer::json("older").header("cache-control", "max-age=60").held(&held),
        })
        .await;
        let proxy = Proxy::start(&origin, "").await;
        let early = proxy.get("/a").under_way();
        origin.arrived(1).await;
        post(&proxy).reply().await;
        assert_eq!(get(&proxy).await, "HIT posted 2");
        gate.open();
        assert_eq!(early.await.unwrap().text(), "older");
        assert_eq!(get(&proxy).await, "HIT posted 2");
    });
}

#[test]
fn a_body_that_was_cut_is_not_kept() {
    play(async {
        let origin = answering(|seen| posted(seen).part(Part::Cut)).await;
        let proxy = Proxy::start(&origin, "").await;
        assert!(!post(&proxy).reply().await.whole);
        assert_eq!(get(&proxy).await, "MISS 2");
    });
}

#[test]
fn a_body_that_outgrows_an_entry_streams_and_is_not_kept() {
    play(async {
        let gate = Gate::default();
        gate.open();
        let origin =
            answering(move |seen| posted(seen).text("x".repeat(2048)).part(Part::Gate(gate.clone()))).await;
        let proxy = Proxy::start(&origin, "limits: { entry: 1KiB }").await;
        let reply = post(&proxy).reply().await;
        assert!(reply.whole && reply.text().len() == 2056, "{}", reply.text());
        assert!(get(&proxy).await.starts_with("MISS"));
    });
}

#[test]
fn an_answer_that_a_rule_reads_first_is_kept_all_the_same_and_needs_no_settling() {
    play(async {
        let origin = answering(|seen| posted(seen).header("x", "1")).await;
        let rules = "routes: { /a: 1h, /list: 1h, '/p/{id}': 1h }\ninvalidation: { settle: 1h }\n\
                     writes: { POST /a: '/list /p/{request.body.id} /p/{response.body.id}' }";
        let proxy = Proxy::start(&origin, rules).await;
        for target in ["/a", "/list", "/p/1"] {
            proxy.get(target).reply().await;
        }
        let reply = proxy.ask("POST", "/a").body(r#"{"id":2}"#).reply().await;
        assert_eq!(reply.cache_status(), "larder; fwd=method; stored");
        assert_eq!(get(&proxy).await, format!("HIT {}", reply.text()));
        for target in ["/list", "/p/1"] {
            assert_eq!(proxy.get(target).reply().await.cache(), "MISS", "{target}");
        }
    });
}
