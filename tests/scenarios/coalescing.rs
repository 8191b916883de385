//! One fetch for everyone who waits: what they get, when, and what happens when it ends in another way than hoped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt;
use larder::route::reach::Reach;

use crate::harness::client::{Reply, all, next, read};
use crate::harness::origin::{Answer, Origin, Part};
use crate::harness::proxy::Proxy;
use crate::harness::{Gate, play};

const HOUR: &str = "routes: { /a: 1h }";

fn bodies(replies: &[Reply]) -> Vec<&str> {
    replies.iter().map(Reply::text).collect()
}

/// An origin whose every answer waits at one gate and carries its number.
async fn held(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |seen| Answer::json(seen.number()).held(&gate)).await
}

/// An origin that sends one half, waits, and sends the other.
async fn in_halves(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |_| Answer::json("one").part(Part::Gate(gate.clone())).text(" two")).await
}

#[test]
fn a_hundred_clients_on_a_cold_key_are_one_origin_request() {
    play(async {
        let gate = Gate::default();
        let origin = held(&gate).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let waiting: Vec<_> = (0..100).map(|_| proxy.get("/a").under_way()).collect();
        origin.arrived(1).await;
        proxy.settled().await;
        gate.open();
        let replies = all(waiting).await;
        assert!(replies.iter().all(|reply| reply.status == 200 && reply.text() == "1" && reply.whole));
        assert_eq!(origin.count(), 1);
    });
}

#[test]
fn those_who_waited_say_so_and_the_one_who_asked_does_not() {
    play(async {
        let gate = Gate::default();
        let origin = held(&gate).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let first = proxy.get("/a").under_way();
        origin.arrived(1).await;
        let second = proxy.get("/a").under_way();
        proxy.settled().await;
        gate.open();
        assert_eq!(first.await.unwrap().cache_status(), "larder; fwd=uri-miss; stored");
        let second = second.await.unwrap();
        assert_eq!(
            (second.cache(), second.cache_status()),
            ("MISS", "larder; fwd=uri-miss; stored; collapsed")
        );
    });
}

#[test]
fn the_first_client_leaves_before_the_head_and_nothing_changes_for_the_others() {
    play(async {
        let gate = Gate::default();
        let origin = held(&gate).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let first = proxy.get("/a").under_way();
        origin.arrived(1).await;
        let others: Vec<_> = (0..3).map(|_| proxy.get("/a").under_way()).collect();
        proxy.settled().await;
        first.abort();
        assert!(first.await.is_err());
        proxy.settled().await;
        gate.open();
        assert_eq!(bodies(&all(others).await), ["1", "1", "1"]);
        assert_eq!((proxy.get("/a").reply().await.cache(), origin.count()), ("HIT", 1));
    });
}

#[test]
fn the_first_client_leaves_in_mid_body_and_nothing_changes_for_the_others() {
    play(async {
        let gate = Gate::default();
        let origin = in_halves(&gate).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let mut first = proxy.get("/a").head().await;
        assert_eq!(next(first.body_mut()).await, "one");
        let mut other = proxy.get("/a").head().await;
        assert_eq!(next(other.body_mut()).await, "one");
        drop(first);
        proxy.settled().await;
        gate.open();
        assert_eq!(read(other.into_body()).await, (" two".into(), true));
        let hit = proxy.becomes("/a", "HIT").await;
        assert_eq!((hit.text(), origin.count()), ("one two", 1));
    });
}

#[test]
fn a_fetch_that_nobody_waits_for_any_more_is_kept_all_the_same() {
    play(async {
        let gate = Gate::default();
        let origin = held(&gate).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let only = proxy.get("/a").under_way();
        origin.arrived(1).await;
        only.abort();
        assert!(only.await.is_err());
        proxy.settled().await;
        gate.open();
        let hit = proxy.get("/a").reply().await;
        assert_eq!((hit.text(), origin.count()), ("1", 1));
    });
}

#[test]
fn a_client_who_comes_in_mid_body_gets_all_of_it_while_it_arrives() {
    play(async {
        let gate = Gate::default();
        let origin = in_halves(&gate).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let mut first = proxy.get("/a").head().await;
        assert_eq!(next(first.body_mut()).await, "one");
        let mut late = proxy.get("/a").head().await;
        assert_eq!(late.headers()["x-cache"], "MISS");
        // The gate is shut, and the first bytes are here.
        assert_eq!(next(late.body_mut()).await, "one");
        gate.open();
        assert_eq!(read(first.into_body()).await, (" two".into(), true));
        assert_eq!(read(late.into_body()).await, (" two".into(), true));
        assert_eq!(origin.count(), 1);
    });
}

#[test]
fn an_uncacheable_answer_frees_those_who_wait_to_ask_side_by_side() {
    play(async {
        let (first, others) = (Gate::default(), Gate::default());
        let (one, more) = (first.clone(), others.clone());
        let origin = Origin::start(move |seen| {
            let gate = if seen.nth == 0 { &one } else { &more };
            Answer::json(seen.number()).header("cache-control", "no-store").held(gate)
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let waiting: Vec<_> = (0..5).map(|_| proxy.get("/a").under_way()).collect();
        origin.arrived(1).await;
        proxy.settled().await;
        assert_eq!(origin.count(), 1);
        first.open();
        // All four are at the origin at once: none waits for another.
        origin.arrived(5).await;
        others.open();
        let replies = all(waiting).await;
        let mut numbers = bodies(&replies);
        numbers.sort_unstable();
        assert_eq!(numbers, ["1", "2", "3", "4", "5"]);
        assert!(replies.iter().all(|reply| reply.cache_status() == "larder; fwd=bypass; detail=no-store"));
    });
}

#[test]
fn an_uncacheable_key_is_remembered_and_forgotten_by_the_clock() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| {
            let answer = Answer::json(seen.number()).header("cache-control", "no-store");
            if seen.nth == 0 { answer } else { answer.held(&held) }
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        proxy.get("/a").reply().await;
        let remembered: Vec<_> = (0..2).map(|_| proxy.get("/a").under_way()).collect();
        origin.arrived(3).await;
        proxy.pass_secs(61);
        let forgotten: Vec<_> = (0..2).map(|_| proxy.get("/a").under_way()).collect();
        origin.arrived(4).await;
        proxy.settled().await;
        assert_eq!(origin.count(), 4, "after the memory has passed, one asks and one waits");
        gate.open();
        all(remembered).await;
        all(forgotten).await;
    });
}

#[test]
fn a_key_that_becomes_cacheable_is_kept_from_then_on() {
    play(async {
        let origin =
            Origin::telling([Answer::json("1").header("cache-control", "no-store"), Answer::json("2")]).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let mut caches = Vec::new();
        for _ in 0..3 {
            caches.push(proxy.get("/a").reply().await.cache().to_owned());
        }
        assert_eq!(caches, ["BYPASS", "MISS", "HIT"]);
    });
}

#[test]
fn an_origin_that_hangs_up_gives_everyone_who_waits_a_502_and_the_next_one_a_new_try() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| match seen.nth {
            0 => Answer::cut().held(&held),
            _ => Answer::json("fine"),
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let waiting: Vec<_> = (0..10).map(|_| proxy.get("/a").under_way()).collect();
        origin.arrived(1).await;
        proxy.settled().await;
        gate.open();
        for reply in all(waiting).await {
            assert_eq!(reply.status, 502);
            assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        }
        assert_eq!(origin.count(), 1);
        assert_eq!(proxy.get("/a").reply().await.text(), "fine");
    });
}

#[test]
fn a_body_that_breaks_off_is_cut_for_everyone_and_kept_by_nobody() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| match seen.nth {
            0 => Answer::json("one").part(Part::Gate(held.clone())).part(Part::Cut),
            _ => Answer::json("whole"),
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let mut first = proxy.get("/a").head().await;
        assert_eq!(next(first.body_mut()).await, "one");
        let other = proxy.get("/a").head().await;
        gate.open();
        assert!(!read(first.into_body()).await.1);
        assert_eq!(read(other.into_body()).await, ("one".into(), false));
        let after = proxy.get("/a").reply().await;
        assert_eq!((after.cache(), after.text()), ("MISS", "whole"));
    });
}

#[test]
fn a_body_shorter_than_its_length_is_cut_and_kept_by_nobody() {
    play(async {
        let short = Answer::json("1234").header("content-length", "10").part(Part::Cut);
        let origin = Origin::telling([short, Answer::json("whole")]).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        assert!(!proxy.get("/a").reply().await.whole);
        assert_eq!(proxy.get("/a").reply().await.text(), "whole");
    });
}

#[test]
fn head_and_get_share_one_fetch() {
    play(async {
        let gate = Gate::default();
        let origin = held(&gate).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let head = proxy.ask("HEAD", "/a").under_way();
        origin.arrived(1).await;
        let get = proxy.get("/a").under_way();
        proxy.settled().await;
        gate.open();
        let (head, get) = (head.await.unwrap(), get.await.unwrap());
        assert_eq!((head.status.as_u16(), head.text(), head.header("content-length")), (200, "", Some("1")));
        assert_eq!(get.text(), "1");
        assert_eq!((origin.count(), origin.last().method.as_str()), (1, "GET"));
    });
}

#[test]
fn clients_of_one_flight_that_accept_other_encodings_get_the_variant_for_them() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| {
            let coded = seen.header("accept-encoding").is_some_and(|accepted| accepted.contains("gzip"));
            let answer =
                Answer::json(if coded { "zipped" } else { "plain" }).header("vary", "accept-encoding");
            let answer = if coded { answer.header("content-encoding", "gzip") } else { answer };
            answer.held(&held)
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let zipped = proxy.get("/a").header("accept-encoding", "gzip").under_way();
        origin.arrived(1).await;
        let plain: Vec<_> = (0..3).map(|_| proxy.get("/a").under_way()).collect();
        proxy.settled().await;
        gate.open();
        assert_eq!(zipped.await.unwrap().text(), "zipped");
        assert_eq!(bodies(&all(plain).await), ["plain"; 3]);
        assert_eq!(origin.count(), 2);
    });
}

#[test]
fn clients_of_one_flight_with_and_without_origin_get_the_answer_for_them() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| {
            let answer = Answer::json("1").held(&held);
            match seen.header("origin") {
                Some(allowed) => answer.header("access-control-allow-origin", allowed),
                None => answer,
            }
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let plain = proxy.get("/a").under_way();
        origin.arrived(1).await;
        let from = |site: &str| proxy.get("/a").header("origin", site).under_way();
        let sites = [from("https://a.test"), from("https://b.test"), from("https://a.test")];
        proxy.settled().await;
        gate.open();
        let allowed = |reply: &Reply| reply.header("access-control-allow-origin").map(str::to_owned);
        assert_eq!(allowed(&plain.await.unwrap()), None);
        let replies = all(sites.into()).await;
        let replies: Vec<_> = replies.iter().map(|reply| allowed(reply).unwrap()).collect();
        assert_eq!(replies, ["https://a.test", "https://b.test", "https://a.test"]);
    });
}

#[test]
fn a_variant_that_is_still_arriving_keeps_nobody_from_another() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| {
            let color = seen.header("x-color").unwrap_or("none").to_owned();
            let answer = Answer::json(color.clone()).header("vary", "x-color");
            if color == "red" { answer.part(Part::Gate(held.clone())).text("!") } else { answer }
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let mut red = proxy.get("/a").header("x-color", "red").head().await;
        assert_eq!(next(red.body_mut()).await, "red");
        let blue = proxy.get("/a").header("x-color", "blue").reply().await;
        assert_eq!((blue.status.as_u16(), blue.text(), blue.cache()), (200, "blue", "MISS"));
        gate.open();
        assert_eq!(read(red.into_body()).await, ("!".into(), true));
        assert_eq!(origin.count(), 2);
    });
}

#[test]
fn more_variants_at_once_than_one_request_takes_rounds_are_all_answered() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| {
            let color = seen.header("x-color").unwrap_or("none").to_owned();
            Answer::json(color).header("vary", "x-color").held(&held)
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let ask = |color: usize| proxy.get("/a").header("x-color", &color.to_string()).under_way();
        let waiting: Vec<_> = (0..14).map(ask).collect();
        origin.arrived(1).await;
        proxy.settled().await;
        gate.open();
        let told: Vec<String> = (0..14).map(|color| color.to_string()).collect();
        assert_eq!(bodies(&all(waiting).await), told);
    });
}

#[test]
fn a_failing_origin_gives_its_own_answer_to_all_who_wait_behind_a_stale_entry() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| match seen.nth {
            0 => Answer::json("1"),
            _ => Answer::new(500).text("down").held(&held),
        })
        .await;
        let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 1m, stale_if_error: 0s } }").await;
        proxy.get("/a").reply().await;
        proxy.pass_secs(3600);
        let waiting: Vec<_> = (0..14).map(|_| proxy.get("/a").under_way()).collect();
        origin.arrived(2).await;
        proxy.settled().await;
        gate.open();
        let replies = all(waiting).await;
        assert!(replies.iter().all(|reply| reply.status == 500 && reply.text() == "down"), "{replies:?}");
    });
}

#[test]
fn a_chunked_body_that_outgrows_the_entry_limit_reaches_all_who_read_and_is_not_kept() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |_| {
            let parts = (0..40).map(|n| Part::Bytes(vec![b'a' + n % 26; 4096].into()));
            let first = Answer::json("start").part(Part::Gate(held.clone()));
            parts.fold(first, Answer::part)
        })
        .await;
        let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 1h, entry: 64KiB } }").await;
        let mut readers = Vec::new();
        for _ in 0..3 {
            let mut reader = proxy.get("/a").head().await;
            assert_eq!(next(reader.body_mut()).await, "start");
            readers.push(tokio::spawn(read(reader.into_body())));
        }
        assert_eq!(origin.count(), 1);
        gate.open();
        for reader in readers {
            let (rest, whole) = reader.await.unwrap();
            assert!(whole);
            assert_eq!(rest.len(), 40 * 4096);
        }
        let after = proxy.get("/a").reply().await;
        assert_eq!((after.whole, origin.count()), (true, 2));
        assert_eq!(proxy.metric("larder_cache_entries").await, 0);
    });
}

#[test]
fn a_length_beyond_the_entry_limit_passes_through_and_is_not_kept() {
    play(async {
        let origin = Origin::start(|_| Answer::json("x".repeat(5000))).await;
        let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 1h, entry: 1KiB } }").await;
        for _ in 0..2 {
            let reply = proxy.get("/a").reply().await;
            assert_eq!(
                (reply.body.len(), reply.cache_status()),
                (5000, "larder; fwd=bypass; detail=entry-limit")
            );
        }
        assert_eq!(origin.count(), 2);
    });
}

#[test]
fn a_reader_who_does_not_read_holds_neither_the_fill_nor_the_others() {
    play(async {
        let size = 1_500_000;
        let origin = Origin::start(move |_| Answer::json("x".repeat(size))).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let idle = proxy.get("/a").head().await;
        let other = proxy.get("/a").reply().await;
        assert_eq!((other.body.len(), other.whole), (size, true));
        let hit = proxy.becomes("/a", "HIT").await;
        assert_eq!((hit.body.len(), origin.count()), (size, 1));
        assert_eq!(read(idle.into_body()).await.0.len(), size);
    });
}

#[test]
fn different_queries_are_different_flights() {
    play(async {
        let gate = Gate::default();
        let origin = held(&gate).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let waiting = vec![proxy.get("/a?x=1").under_way(), proxy.get("/a?x=2").under_way()];
        origin.arrived(2).await;
        gate.open();
        all(waiting).await;
    });
}

#[test]
fn what_does_not_count_in_the_query_is_one_flight_and_is_not_sent() {
    play(async {
        let gate = Gate::default();
        let origin = held(&gate).await;
        let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 1h, ignore_query: utm_* } }").await;
        let targets = ["/a?x=1&utm_source=a", "/a?utm_source=b&x=1", "/a?x=1"];
        let waiting = targets.map(|target| proxy.get(target).under_way());
        origin.arrived(1).await;
        proxy.settled().await;
        gate.open();
        all(waiting.into()).await;
        assert_eq!((origin.count(), origin.last().target.as_str()), (1, "/a?x=1"));
    });
}

#[test]
fn different_credentials_never_share_a_flight() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| {
            Answer::json(seen.header("authorization").unwrap_or("nobody")).held(&held)
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let as_whom = |who: &str| proxy.get("/a").header("authorization", who).under_way();
        let waiting = vec![as_whom("Bearer a"), as_whom("Bearer b"), proxy.get("/a").under_way()];
        origin.arrived(3).await;
        gate.open();
        assert_eq!(bodies(&all(waiting).await), ["Bearer a", "Bearer b", "nobody"]);
    });
}

#[test]
fn a_reader_who_does_not_read_a_body_that_is_not_kept_is_cut_before_the_others_wait_for_ever() {
    play(async {
        let size = 32 * 1024 * 1024;
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |_| {
            let parts = (0..512).map(|_| Part::Bytes(vec![b'x'; size / 512].into()));
            parts.fold(Answer::json("start").part(Part::Gate(held.clone())), Answer::part)
        })
        .await;
        let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 1h, entry: 64KiB } }").await;
        let idle = proxy.get("/a").head().await;
        let mut other = proxy.get("/a").head().await;
        assert_eq!((next(other.body_mut()).await, origin.count()), ("start".into(), 1));
        gate.open();
        let taken = Arc::new(AtomicUsize::new(0));
        let other = tokio::spawn({
            let (taken, mut body) = (Arc::clone(&taken), other.into_body());
            async move {
                while let Some(frame) = body.frame().await {
                    let Ok(data) = frame.map(|frame| frame.into_data().unwrap()) else { return false };
                    taken.fetch_add(data.len(), Ordering::SeqCst);
                }
                true
            }
        });
        let mut before = 0;
        loop {
            proxy.settled().await;
            let now = taken.load(Ordering::SeqCst);
            if now == before && now > 0 {
                break;
            }
            before = now;
        }
        // Nothing moves any more: the window is full, and the one who reads nothing has half a minute.
        assert!(before < size, "nobody waits for the one who reads nothing");
        tokio::time::pause();
        tokio::time::advance(std::time::Duration::from_secs(31)).await;
        tokio::time::resume();
        let whole = other.await.unwrap();
        assert_eq!((taken.load(Ordering::SeqCst), whole), (size, true));
        drop(idle);
    });
}

#[test]
fn head_on_an_uncacheable_answer_has_no_body_and_leaves_nothing_open() {
    play(async {
        let never = Gate::default();
        let held = never.clone();
        let origin = Origin::start(move |seen| match seen.target.as_str() {
            "/a" => Answer::new(200)
                .header("content-type", "text/event-stream")
                .text("data: 1\n\n")
                .part(Part::Gate(held.clone())),
            _ => Answer::json("12345").header("cache-control", "no-store"),
        })
        .await;
        let proxy =
            Proxy::start(&origin, "limits: { upstream_concurrency: 1 }\nroutes: { /a: 1h, /b: 1h }").await;
        for target in ["/a", "/b", "/a", "/b"] {
            let head = proxy.ask("HEAD", target).reply().await;
            assert_eq!((head.status.as_u16(), head.text(), head.cache()), (200, "", "BYPASS"), "{target}");
        }
    });
}

#[test]
fn those_who_wait_for_a_job_that_still_runs_ask_for_themselves() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| {
            let state = if seen.nth < 3 { "running" } else { "done" };
            Answer::json(format!(r#"{{"status":"{state}","n":{}}}"#, seen.nth)).held(&held)
        })
        .await;
        let proxy = Proxy::start(&origin, "routes: { /a: { preset: job-status } }").await;
        let waiting: Vec<_> = (0..3).map(|_| proxy.get("/a").under_way()).collect();
        origin.arrived(1).await;
        proxy.settled().await;
        gate.open();
        let replies = all(waiting).await;
        assert!(replies.iter().all(|reply| reply.text().contains("running") && reply.cache() == "BYPASS"));
        let mut told = bodies(&replies);
        told.sort_unstable();
        told.dedup();
        assert_eq!(told.len(), 3, "each its own");
        assert!(proxy.get("/a").reply().await.text().contains("done"));
        assert_eq!((proxy.get("/a").reply().await.cache(), origin.count()), ("HIT", 4));
    });
}

#[test]
fn no_more_entries_are_kept_than_the_limit_says() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, "limits: { entries: 3 }\nroutes: { '/{rest:path}': 1h }").await;
        for target in 0..50 {
            assert_eq!(proxy.get(&format!("/{target}")).reply().await.status, 200);
        }
        proxy.metric("larder_cache_entries").await;
        assert!(proxy.metric("larder_cache_entries").await <= 3);
    });
}

// ---- who may join, and who is given what ------------------------------------------------------------------------

#[test]
fn a_fetch_whose_tags_are_not_known_yet_is_not_joined_after_any_tag_was_dropped() {
    play(async {
        let gate = Gate::default();
        let origin = held(&gate).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let first = proxy.get("/a").under_way();
        origin.arrived(1).await;
        proxy.outdate("/b").await;
        let same = proxy.get("/a").under_way();
        proxy.settled().await;
        assert_eq!(origin.count(), 1, "no answer turns out to be of another path");
        proxy.outdate("project:42").await;
        let next = proxy.get("/a").under_way();
        origin.arrived(2).await;
        gate.open();
        assert_eq!(bodies(&all(vec![first, same, next]).await), ["1", "1", "2"]);
    });
}

#[test]
fn who_asked_before_gets_what_he_waited_for_however_often_it_is_dropped_meanwhile() {
    play(async {
        let gate = Gate::default();
        let origin = held(&gate).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        let waiting = vec![proxy.get("/a").under_way(), proxy.get("/a").under_way()];
        origin.arrived(1).await;
        proxy.settled().await;
        for _ in 0..100 {
            proxy.outdate("/a").await;
            proxy.outdate("project:*").await;
        }
        gate.open();
        assert_eq!(bodies(&all(waiting).await), ["1", "1"]);
        assert_eq!(origin.count(), 1);
        assert_eq!(proxy.get("/a").reply().await.text(), "2", "and it is nobody else's");
    });
}

#[test]
fn a_refresh_from_before_a_purge_is_not_what_a_later_reader_waits_for() {
    play(async {
        let (old, new) = (Gate::default(), Gate::default());
        let gates = [Gate::default(), old.clone(), new.clone()];
        gates[0].open();
        let origin =
            Origin::start(move |seen| Answer::json(seen.number()).held(&gates[seen.nth.min(2)])).await;
        let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 1m, stale_while_revalidate: 1m } }").await;
        proxy.get("/a").reply().await;
        proxy.pass_secs(60);
        assert_eq!(proxy.get("/a").reply().await.cache(), "STALE");
        origin.arrived(2).await;
        proxy.outdate("/a").await;
        let after = proxy.get("/a").under_way();
        origin.arrived(3).await;
        old.open();
        proxy.settled().await;
        new.open();
        assert_eq!(after.await.unwrap().text(), "3");
        assert_eq!(proxy.get("/a").reply().await.text(), "3");
    });
}

#[test]
fn dropping_everything_takes_every_kind_of_answer_with_it() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, "defaults: { ttl: 1h }\nroutes: { /a: 1h, /b: 1h, /c: 1h }").await;
        for path in ["/a", "/b", "/c?x=1", "/c?x=2"] {
            proxy.get(path).reply().await;
        }
        assert_eq!(proxy.outdate_all(Reach::all()).await, 4);
        assert_eq!(proxy.metric("larder_cache_entries").await, 0);
        assert_eq!(proxy.get("/c?x=2").reply().await.text(), "5");
    });
}
