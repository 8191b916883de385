//! Soft invalidation: what it reaches is stale from then on, still served to others within the windows of RFC 5861, and never
//! to who wrote it.

use std::net::{IpAddr, Ipv4Addr};

use http::HeaderMap;
use larder::invalidate::Author;
use larder::route::identity::{Identity, Settings};

use crate::harness::client::Reply;
use crate::harness::origin::{Answer, Origin};
use crate::harness::proxy::Proxy;
use crate::harness::{Gate, play};

const WINDOWS: &str = "routes: { /a: { ttl: 1h, stale_while_revalidate: 1m, stale_if_error: 2m, scope: public } }\nidentity: { secret: soft }";
const NONE: &str = "routes: { /a: 1h }";

/// Who asks without credentials.
const STRANGER: Author = Author::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));

/// Who shows this token.
fn author(token: &str) -> Author {
    let settings = Settings { secret: Some(b"soft".to_vec()), ..Settings::default() };
    let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, token.parse().unwrap())]);
    Author::Credential(Identity::new(&settings, b"").digest(&headers).unwrap())
}

async fn soften(proxy: &Proxy) {
    assert_eq!(proxy.soften("/a", None).await, 1);
}

#[track_caller]
fn is(reply: &Reply, cache: &str, text: &str) {
    assert!(reply.whole);
    assert_eq!((reply.cache(), reply.text()), (cache, text), "{reply:?}");
}

/// An origin that answers with its number; every answer from the second on waits.
async fn held(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |seen| {
        let answer = Answer::json(seen.number());
        if seen.nth == 0 { answer } else { answer.held(&gate) }
    })
    .await
}

#[test]
fn what_was_softly_purged_is_served_stale_while_it_is_fetched_anew() {
    play(async {
        let gate = Gate::default();
        let origin = held(&gate).await;
        let proxy = Proxy::start(&origin, WINDOWS).await;
        proxy.get("/a").reply().await;
        proxy.pass_secs(10);
        soften(&proxy).await;
        proxy.pass_secs(5);
        for _ in 0..3 {
            let stale = proxy.get("/a").reply().await;
            is(&stale, "STALE", "1");
            assert_eq!((stale.cache_status(), stale.header("age")), ("larder; hit; ttl=-5", Some("15")));
        }
        origin.arrived(2).await;
        gate.open();
        is(&proxy.becomes("/a", "HIT").await, "HIT", "2");
        assert_eq!(origin.count(), 2, "one refresh for all of them");
    });
}

#[test]
fn without_a_window_what_was_softly_purged_waits_for_the_origin() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, NONE).await;
        proxy.get("/a").reply().await;
        soften(&proxy).await;
        let new = proxy.get("/a").reply().await;
        is(&new, "MISS", "2");
        assert_eq!(new.cache_status(), "larder; fwd=stale; fwd-status=200; stored");
        is(&proxy.get("/a").reply().await, "HIT", "2");
    });
}

#[test]
fn the_window_counts_from_the_purge() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, WINDOWS).await;
        proxy.get("/a").reply().await;
        soften(&proxy).await;
        proxy.pass_secs(61);
        is(&proxy.get("/a").reply().await, "MISS", "2");
    });
}

#[test]
fn must_revalidate_forbids_what_was_softly_purged() {
    play(async {
        let first = Answer::json("1").header("cache-control", "max-age=3600, must-revalidate");
        let origin = Origin::telling([first, Answer::json("2")]).await;
        let proxy = Proxy::start(&origin, WINDOWS).await;
        proxy.get("/a").reply().await;
        soften(&proxy).await;
        is(&proxy.get("/a").reply().await, "MISS", "2");
    });
}

#[test]
fn a_hard_purge_ends_what_a_soft_one_left() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, WINDOWS).await;
        proxy.get("/a").reply().await;
        soften(&proxy).await;
        assert_eq!(proxy.outdate("/a").await, 1);
        is(&proxy.get("/a").reply().await, "MISS", "2");
    });
}

#[test]
fn a_fetch_under_way_during_a_soft_purge_is_not_kept_and_nobody_joins_it_any_more() {
    play(async {
        let (first, then) = (Gate::default(), Gate::default());
        let gates = [first.clone(), then.clone()];
        let origin =
            Origin::start(move |seen| Answer::json(seen.number()).held(&gates[seen.nth.min(1)])).await;
        let proxy = Proxy::start(&origin, WINDOWS).await;
        let before = proxy.get("/a").under_way();
        origin.arrived(1).await;
        assert_eq!(proxy.soften("/a", None).await, 0);
        let after = proxy.get("/a").under_way();
        origin.arrived(2).await;
        first.open();
        is(&before.await.unwrap(), "MISS", "1");
        then.open();
        is(&after.await.unwrap(), "MISS", "2");
        is(&proxy.get("/a").reply().await, "HIT", "2");
    });
}

// ---- how the origin confirms it ---------------------------------------------------------------------------------

/// What the origin is asked with, and what the client then sees, when it has said this of the first body.
async fn confirmed(field: (&str, &str)) -> (HeaderMap, Reply) {
    let first = Answer::json("1").header(field.0, field.1);
    let origin = Origin::start(move |seen| {
        let conditional = seen.header("if-none-match").or(seen.header("if-modified-since"));
        if conditional.is_some() { Answer::new(304) } else { first.clone().text(seen.number()) }
    })
    .await;
    let proxy = Proxy::start(&origin, NONE).await;
    proxy.get("/a").reply().await;
    soften(&proxy).await;
    let reply = proxy.get("/a").reply().await;
    (origin.last().headers, reply)
}

#[test]
fn a_strong_entity_tag_of_the_origins_confirms_what_was_softly_purged() {
    play(async {
        let (asked, reply) = confirmed(("etag", "\"v1\"")).await;
        assert_eq!(asked["if-none-match"], "\"v1\"");
        assert_eq!(reply.cache_status(), "larder; fwd=stale; fwd-status=304; stored");
        is(&reply, "REVALIDATED", "11");
    });
}

#[test]
fn a_weak_entity_tag_or_a_date_does_not_for_the_body_may_have_changed_within_the_second() {
    play(async {
        for field in [("etag", "W/\"v1\""), ("last-modified", "Sat, 01 Jan 2022 00:00:00 GMT")] {
            let (asked, reply) = confirmed(field).await;
            assert!(!asked.contains_key("if-none-match") && !asked.contains_key("if-modified-since"));
            is(&reply, "MISS", "12");
        }
    });
}

#[test]
fn a_304_that_names_a_weak_tag_does_not_either() {
    play(async {
        let origin = Origin::start(|seen| match seen.header("if-none-match") {
            Some(_) => Answer::new(304).header("etag", "W/\"v1\""),
            None => Answer::json(seen.number()).header("etag", "\"v1\""),
        })
        .await;
        let proxy = Proxy::start(&origin, NONE).await;
        proxy.get("/a").reply().await;
        soften(&proxy).await;
        is(&proxy.get("/a").reply().await, "MISS", "3");
    });
}

#[test]
fn a_purge_between_the_question_and_its_304_leaves_nothing_that_is_kept() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| match seen.nth {
            0 => Answer::json("1").header("etag", "\"v1\"").header("cache-control", "max-age=60"),
            1 => Answer::new(304).held(&held),
            _ => Answer::json(seen.number()),
        })
        .await;
        let proxy = Proxy::start(&origin, NONE).await;
        proxy.get("/a").reply().await;
        proxy.pass_secs(60);
        let asked = proxy.get("/a").under_way();
        origin.arrived(2).await;
        soften(&proxy).await;
        gate.open();
        is(&asked.await.unwrap(), "REVALIDATED", "1");
        is(&proxy.get("/a").reply().await, "MISS", "3");
    });
}

// ---- read your own writes ---------------------------------------------------------------------------------------

#[test]
fn who_wrote_waits_for_the_new_body_while_others_get_the_stale_one() {
    play(async {
        for (writer, ask) in [(author("mine"), Some("mine")), (STRANGER, None)] {
            let gate = Gate::default();
            let origin = held(&gate).await;
            let proxy = Proxy::start(&origin, WINDOWS).await;
            let as_who = |token: Option<&str>| {
                let ask = proxy.get("/a");
                if let Some(token) = token { ask.header("authorization", token) } else { ask }
            };
            proxy.get("/a").reply().await;
            proxy.soften("/a", Some(writer)).await;
            let own = as_who(ask).under_way();
            origin.arrived(2).await;
            is(&as_who(Some("another")).reply().await, "STALE", "1");
            gate.open();
            is(&own.await.unwrap(), "MISS", "2");
            is(&as_who(ask).reply().await, "HIT", "2");
        }
    });
}

#[test]
fn who_wrote_is_told_of_an_error_and_others_get_the_stale_body() {
    play(async {
        let origin = Origin::telling([Answer::json("1"), Answer::new(503)]).await;
        let proxy = Proxy::start(&origin, WINDOWS).await;
        proxy.get("/a").reply().await;
        proxy.soften("/a", Some(STRANGER)).await;
        proxy.pass_secs(61);
        assert_eq!(proxy.get("/a").reply().await.status, 503);
        let other = proxy.get("/a").header("authorization", "another").reply().await;
        is(&other, "STALE", "1");
        assert_eq!(other.cache_status(), "larder; hit; ttl=-61; detail=stale-if-error");
        proxy.pass_secs(60);
        assert_eq!(proxy.get("/a").header("authorization", "another").reply().await.status, 503);
    });
}

#[test]
fn who_wrote_may_get_what_somebody_else_made_stale_later() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, WINDOWS).await;
        proxy.get("/a").reply().await;
        proxy.soften("/a", Some(STRANGER)).await;
        is(&proxy.get("/a").reply().await, "MISS", "2");
        proxy.soften("/a", Some(author("another"))).await;
        is(&proxy.get("/a").reply().await, "STALE", "2");
    });
}

// ---- other reads of it ------------------------------------------------------------------------------------------

#[test]
fn only_if_cached_gets_it_within_the_window_and_not_if_he_wrote_it() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, WINDOWS).await;
        let only = || proxy.get("/a").header("cache-control", "only-if-cached");
        proxy.get("/a").reply().await;
        proxy.soften("/a", Some(author("mine"))).await;
        let own = only().header("authorization", "mine").reply().await;
        assert_eq!((own.status.as_u16(), origin.count()), (504, 1));
        is(&only().reply().await, "STALE", "1");
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, NONE).await;
        proxy.get("/a").reply().await;
        soften(&proxy).await;
        let nothing = proxy.get("/a").header("cache-control", "only-if-cached").reply().await;
        assert_eq!((nothing.status.as_u16(), origin.count()), (504, 1));
    });
}

#[test]
fn a_head_gets_it_as_a_get_does() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, WINDOWS).await;
        proxy.get("/a").reply().await;
        soften(&proxy).await;
        is(&proxy.ask("HEAD", "/a").reply().await, "STALE", "");
    });
}

#[test]
fn the_answer_to_a_forwarded_head_renews_it_by_a_strong_entity_tag_only() {
    play(async {
        for (field, cache) in
            [(("etag", "\"v1\""), "HIT"), (("last-modified", "Sat, 01 Jan 2022 00:00:00 GMT"), "MISS")]
        {
            let origin = Origin::start(move |seen| {
                let answer = Answer::json(seen.number()).header(field.0, field.1);
                let head = Answer::new(200).header("content-length", "1").header(field.0, field.1);
                if seen.method == "HEAD" { head } else { answer }
            })
            .await;
            let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 1h, head: forward } }").await;
            proxy.get("/a").reply().await;
            soften(&proxy).await;
            proxy.ask("HEAD", "/a").reply().await;
            assert_eq!(proxy.get("/a").reply().await.cache(), cache, "{field:?}");
        }
    });
}

#[test]
fn a_part_of_it_is_fetched_anew_and_nothing_is_built_on_the_old_one() {
    play(async {
        let origin = Origin::start(|seen| {
            let (range, text) = match seen.header("range") {
                Some("bytes=0-3") => ("bytes 0-3/10", "0123"),
                Some("bytes=4-9") => ("bytes 4-9/10", "456789"),
                _ => return Answer::new(200).header("etag", "\"v1\"").text("0123456789"),
            };
            let answer = Answer::new(206).header("content-range", range).text(text);
            answer.header("etag", "\"v1\"").header("cache-control", "max-age=60")
        })
        .await;
        let proxy = Proxy::start(&origin, "defaults: { range: forward }").await;
        let part = |range: &str| proxy.get("/a").header("range", &format!("bytes={range}")).reply();
        let (first, again) = (part("0-3").await, part("0-3").await);
        assert_eq!((first.cache(), again.cache()), ("MISS", "HIT"));
        assert_eq!(proxy.soften("/a", None).await, 1);
        assert_eq!(part("4-9").await.cache(), "MISS");
        assert_eq!(part("0-3").await.cache(), "MISS", "it made no whole with the later part");
        assert_eq!(origin.count(), 3);
    });
}
