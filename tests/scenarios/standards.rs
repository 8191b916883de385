//! RFC 9111 to the letter: what a cache does that goes by the origin's word alone, for requests that no route matches.

use crate::harness::client::{Ask, Reply, all};
use crate::harness::origin::{Answer, Origin};
use crate::harness::proxy::Proxy;
use crate::harness::{Gate, play};

const ORIGIN: &str = "defaults: { scope: origin }";
const LETTER: &str =
    "defaults: { scope: origin, client_no_cache: honor, set_cookie: store, store_errors: fresh }";
const ANNA: (&str, &str) = ("authorization", "Bearer anna");

fn with(ask: Ask, fields: &[(&str, &str)]) -> Ask {
    fields.iter().fold(ask, |ask, (name, value)| ask.header(name, value))
}

async fn get(proxy: &Proxy, fields: &[(&str, &str)]) -> Reply {
    with(proxy.get("/a"), fields).reply().await
}

/// An origin that answers with its number, under `word` as `Cache-Control`.
async fn saying(word: &'static str) -> Origin {
    Origin::start(move |seen| Answer::json(seen.number()).header("cache-control", word)).await
}

// ---- scope: origin ----------------------------------------------------------------------------------------------

#[test]
fn an_answer_to_authorization_is_for_others_only_if_the_origin_says_so() {
    play(async {
        for (word, other) in [
            ("max-age=60", "MISS"),
            ("max-age=60, proxy-revalidate", "MISS"),
            ("max-age=60, public", "HIT"),
            ("max-age=60, must-revalidate", "HIT"),
            ("s-maxage=60", "HIT"),
            ("private, max-age=60", "BYPASS"),
        ] {
            let origin = saying(word).await;
            let proxy = Proxy::start(&origin, ORIGIN).await;
            get(&proxy, &[ANNA]).await;
            assert_eq!(origin.last().header("authorization"), Some("Bearer anna"), "{word}");
            assert_eq!(get(&proxy, &[]).await.cache(), other, "{word}");
        }
    });
}

#[test]
fn nothing_but_authorization_sets_users_apart_and_the_origin_hears_everything() {
    play(async {
        let origin = saying("max-age=60").await;
        let proxy = Proxy::start(&origin, ORIGIN).await;
        let session = [("cookie", "session=s; _ga=1"), ("x-api-key", "k")];
        get(&proxy, &session).await;
        let seen = origin.last();
        assert_eq!((seen.header("cookie"), seen.header("x-api-key")), (Some("session=s; _ga=1"), Some("k")));
        for other in [&[][..], &[("cookie", "session=t")], &[("x-api-key", "l")], &[ANNA]] {
            assert_eq!(get(&proxy, other).await.cache(), "HIT", "{other:?}");
        }
    });
}

#[test]
fn what_a_user_alone_is_given_makes_nobody_else_ask_for_himself() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| {
            let answer = Answer::json(seen.number()).header("cache-control", "max-age=60");
            if seen.header("authorization").is_some() { answer } else { answer.held(&held) }
        })
        .await;
        let proxy = Proxy::start(&origin, ORIGIN).await;
        assert_eq!(get(&proxy, &[ANNA]).await.cache_status(), "larder; fwd=bypass; detail=authorization");
        let others: Vec<_> = (0..4).map(|_| proxy.get("/a").under_way()).collect();
        origin.arrived(2).await;
        proxy.settled().await;
        gate.open();
        for reply in all(others).await {
            assert_eq!(reply.text(), "2");
        }
        assert_eq!(origin.count(), 2, "one for her, one for all others");
        assert_eq!(get(&proxy, &[ANNA]).await.cache(), "HIT");
    });
}

#[test]
fn those_who_wait_behind_a_user_ask_again_and_get_nothing_of_hers() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| {
            let who = seen.header("authorization").unwrap_or("nobody").to_owned();
            let answer = Answer::json(who).header("cache-control", "max-age=60");
            if seen.nth == 0 { answer.held(&held) } else { answer }
        })
        .await;
        let proxy = Proxy::start(&origin, ORIGIN).await;
        let anna = with(proxy.get("/a"), &[ANNA]).under_way();
        origin.arrived(1).await;
        let others: Vec<_> = (0..3).map(|_| proxy.get("/a").under_way()).collect();
        proxy.settled().await;
        gate.open();
        assert_eq!(anna.await.unwrap().text(), "Bearer anna");
        for reply in all(others).await {
            assert_eq!(reply.text(), "nobody");
        }
        assert_eq!(origin.count(), 2);
    });
}

#[test]
fn users_whose_answers_are_their_own_do_not_wait_for_one_another() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| {
            let answer = Answer::json(seen.number()).header("cache-control", "max-age=60");
            if seen.nth == 0 { answer } else { answer.held(&held) }
        })
        .await;
        let proxy = Proxy::start(&origin, ORIGIN).await;
        get(&proxy, &[ANNA]).await;
        let users: Vec<_> = ["b", "c", "d"]
            .map(|user| with(proxy.get("/a"), &[("authorization", user)]).under_way())
            .into_iter()
            .collect();
        origin.arrived(4).await; // side by side, though none of them is answered yet
        gate.open();
        let mut texts: Vec<_> = all(users).await.iter().map(|reply| reply.text().to_owned()).collect();
        texts.sort_unstable();
        assert_eq!(texts, ["2", "3", "4"]);
    });
}

#[test]
fn a_user_s_revalidation_leaves_the_stored_answer_to_the_others() {
    play(async {
        for status in [304, 200, 401] {
            let origin = Origin::start(move |seen| {
                let hers = seen.header("authorization").is_some();
                let answer = if hers { Answer::new(status) } else { Answer::json(seen.number()) };
                answer.header("etag", "\"a\"").header("cache-control", "max-age=10, stale-if-error=100")
            })
            .await;
            let proxy = Proxy::start(&origin, ORIGIN).await;
            get(&proxy, &[]).await;
            proxy.pass_secs(11);
            let hers = get(&proxy, &[ANNA]).await;
            assert_eq!(
                (hers.cache(), hers.cache_status()),
                ("BYPASS", "larder; fwd=bypass; detail=authorization")
            );
            assert_eq!(origin.last().header("if-none-match"), Some("\"a\""));
            get(&proxy, &[]).await;
            assert_eq!(
                origin.last().header("if-none-match"),
                Some("\"a\""),
                "it is still there after {status}"
            );
            assert_eq!(get(&proxy, &[]).await.cache(), "HIT", "{status}");
        }
    });
}

#[test]
fn vary_cookie_and_vary_authorization_compare_the_whole_field() {
    play(async {
        for (vary, first, same, other) in [
            ("Cookie", ("cookie", "_ga=1"), ("cookie", "_ga=1"), ("cookie", "_ga=2")),
            ("Cookie", ("cookie", "a=1; b=2"), ("cookie", "a=1; b=2"), ("cookie", "a=1")),
            ("Authorization", ANNA, ANNA, ("authorization", "Bearer bert")),
        ] {
            let origin = Origin::start(move |seen| {
                Answer::json(seen.number()).header("vary", vary).header("cache-control", "public, max-age=60")
            })
            .await;
            let proxy = Proxy::start(&origin, ORIGIN).await;
            get(&proxy, &[first]).await;
            assert_eq!(get(&proxy, &[same]).await.cache(), "HIT", "{same:?}");
            assert_eq!(get(&proxy, &[other]).await.cache(), "MISS", "{other:?}");
            assert_eq!(get(&proxy, &[]).await.cache(), "MISS", "without {vary}");
            assert_eq!(get(&proxy, &[first]).await.cache(), "HIT", "{first:?}");
        }
    });
}

#[test]
fn a_refused_user_takes_nothing_from_the_others() {
    play(async {
        let origin = Origin::start(|seen| match seen.header("authorization") {
            Some("Bearer bad") => Answer::new(401),
            _ => Answer::json(seen.number()).header("cache-control", "public, max-age=60"),
        })
        .await;
        let proxy = Proxy::start(&origin, "routes: { /a: { scope: origin } }").await;
        for method in ["GET", "POST"] {
            get(&proxy, &[]).await;
            assert_eq!(
                with(proxy.ask(method, "/b"), &[("authorization", "Bearer bad")]).reply().await.status,
                401
            );
            assert_eq!(get(&proxy, &[]).await.cache(), "HIT", "{method}");
        }
        proxy.pass_secs(61);
        assert_eq!(get(&proxy, &[("authorization", "Bearer bad")]).await.status, 401);
        assert_eq!(get(&proxy, &[]).await.cache(), "MISS");
        assert_eq!(get(&proxy, &[ANNA]).await.cache(), "HIT", "the route is not demoted");
    });
}

// ---- what clients ask for ---------------------------------------------------------------------------------------

#[test]
fn a_request_with_no_store_is_answered_from_the_store_and_leaves_nothing_in_it() {
    play(async {
        let origin = saying("max-age=60").await;
        let proxy = Proxy::start(&origin, LETTER).await;
        let no_store = [("cache-control", "no-store")];
        let first = get(&proxy, &no_store).await;
        assert_eq!(first.cache_status(), "larder; fwd=bypass; detail=request-no-store");
        assert_eq!(
            get(&proxy, &[]).await.cache_status(),
            "larder; fwd=uri-miss; stored",
            "nobody else pays for it"
        );
        assert_eq!(get(&proxy, &no_store).await.cache(), "HIT");
    });
}

#[test]
fn a_revalidation_with_no_store_takes_nothing_from_the_others() {
    play(async {
        let origin = Origin::start(|seen| {
            let answer =
                if seen.header("if-none-match").is_some() { Answer::new(304) } else { Answer::json("1") };
            answer.header("etag", "\"a\"").header("cache-control", "max-age=10")
        })
        .await;
        let proxy = Proxy::start(&origin, LETTER).await;
        get(&proxy, &[]).await;
        proxy.pass_secs(11);
        let reply = get(&proxy, &[("cache-control", "no-store")]).await;
        assert_eq!((reply.status.as_u16(), reply.text(), reply.cache()), (200, "1", "BYPASS"));
        assert_eq!(get(&proxy, &[]).await.cache(), "REVALIDATED");
    });
}

#[test]
fn pragma_no_cache_asks_the_origin_where_there_is_no_cache_control() {
    play(async {
        let origin = saying("max-age=60").await;
        let proxy = Proxy::start(&origin, LETTER).await;
        get(&proxy, &[]).await;
        assert_eq!(get(&proxy, &[("pragma", "no-cache")]).await.text(), "2");
        let both = [("pragma", "no-cache"), ("cache-control", "max-stale=1")];
        assert_eq!((get(&proxy, &both).await.cache(), origin.count()), ("HIT", 2));
    });
}

// ---- what is stored ---------------------------------------------------------------------------------------------

#[test]
fn a_cookie_is_replayed_as_the_origin_set_it_and_as_a_304_renews_it() {
    play(async {
        let origin = Origin::start(|seen| {
            let answer =
                if seen.header("if-none-match").is_some() { Answer::new(304) } else { Answer::json("1") };
            let cookie = format!("a={}", seen.nth);
            answer.header("etag", "\"a\"").header("cache-control", "max-age=10").header("set-cookie", &cookie)
        })
        .await;
        let proxy = Proxy::start(&origin, LETTER).await;
        assert_eq!(get(&proxy, &[]).await.header("set-cookie"), Some("a=0"));
        let hit = get(&proxy, &[]).await;
        assert_eq!((hit.cache(), hit.header("set-cookie")), ("HIT", Some("a=0")));
        proxy.pass_secs(11);
        assert_eq!(get(&proxy, &[]).await.header("set-cookie"), Some("a=1"));
        let hit = get(&proxy, &[]).await;
        assert_eq!((hit.cache(), hit.header("set-cookie")), ("HIT", Some("a=1")));
    });
}

#[test]
fn who_asked_is_told_what_a_304_said_that_may_not_be_kept() {
    play(async {
        let origin = Origin::start(|seen| match seen.nth {
            0 => Answer::json("1")
                .header("etag", "\"a\"")
                .header("cache-control", "max-age=10")
                .header("x-kept", "1"),
            _ => Answer::new(304).header("cache-control", "private").header("set-cookie", "a=b"),
        })
        .await;
        let proxy = Proxy::start(&origin, "").await;
        get(&proxy, &[]).await;
        proxy.pass_secs(11);
        let reply = get(&proxy, &[]).await;
        assert_eq!((reply.status.as_u16(), reply.text(), reply.cache()), (200, "1", "BYPASS"));
        assert_eq!(
            ["cache-control", "set-cookie", "x-kept"].map(|name| reply.header(name).unwrap()),
            ["private", "a=b", "1"]
        );
    });
}

#[test]
fn every_final_status_is_stored_on_explicit_freshness() {
    play(async {
        for status in [
            200, 203, 204, 299, 301, 302, 307, 400, 401, 403, 404, 405, 410, 414, 418, 499, 500, 502, 503,
            504, 599,
        ] {
            let origin =
                Origin::start(move |_| Answer::new(status).header("cache-control", "max-age=60")).await;
            let proxy = Proxy::start(&origin, LETTER).await;
            get(&proxy, &[]).await;
            let hit = get(&proxy, &[]).await;
            assert_eq!((hit.status.as_u16(), hit.cache()), (status, "HIT"));
        }
    });
}
