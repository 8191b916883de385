//! How long an entry lives and by whose word, what may be served after that, and how the origin confirms it.

use larder::clock::Clock;

use crate::harness::origin::{Answer, Origin, Part};
use crate::harness::proxy::Proxy;
use crate::harness::{Gate, play};

const MINUTE: &str = "routes: { /a: 1m }";

fn http_date(clock: &Clock, seconds: i64) -> String {
    let wall = clock.now().wall;
    let step = std::time::Duration::from_secs(seconds.unsigned_abs());
    httpdate::fmt_http_date(if seconds < 0 { wall - step } else { wall + step })
}

/// `answers` in turn behind `yaml`; what a client is told at each of the times (seconds since the start).
async fn told(yaml: &str, answers: Vec<Answer>, times: &[u64]) -> Vec<(u16, String, String)> {
    let origin = Origin::telling(answers).await;
    let proxy = Proxy::start(&origin, yaml).await;
    let (mut told, mut now) = (Vec::new(), 0);
    for time in times {
        proxy.pass_secs(time - now);
        now = *time;
        let reply = proxy.get("/a").reply().await;
        assert!(reply.whole);
        told.push((reply.status.as_u16(), reply.cache().to_owned(), reply.text().to_owned()));
    }
    told
}

fn is(told: &[(u16, String, String)], expected: &[(u16, &str, &str)]) {
    let told: Vec<_> =
        told.iter().map(|(status, cache, body)| (*status, cache.as_str(), body.as_str())).collect();
    assert_eq!(told, expected);
}

fn said(cache_control: &str, body: &str) -> Answer {
    Answer::json(body).header("cache-control", cache_control)
}

#[test]
fn an_entry_is_a_hit_until_its_last_second_and_a_miss_at_its_end() {
    play(async {
        let told = told(MINUTE, vec![Answer::json("1"), Answer::json("2")], &[0, 59, 60]).await;
        is(&told, &[(200, "MISS", "1"), (200, "HIT", "1"), (200, "MISS", "2")]);
    });
}

#[test]
fn half_a_second_is_a_ttl_too() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, "routes: { /a: 500ms }").await;
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(proxy.get("/a").reply().await.text().to_owned());
            proxy.pass(std::time::Duration::from_millis(250));
        }
        assert_eq!(seen, ["1", "1", "2", "2"]);
    });
}

#[test]
fn the_origins_max_age_beats_a_longer_ttl() {
    play(async {
        let answers = vec![said("max-age=10", "1"), said("max-age=10", "2")];
        is(
            &told(MINUTE, answers, &[0, 9, 10]).await,
            &[(200, "MISS", "1"), (200, "HIT", "1"), (200, "MISS", "2")],
        );
    });
}

#[test]
fn the_origins_max_age_beats_a_shorter_ttl() {
    play(async {
        let answers = vec![said("max-age=3600", "1"), said("max-age=3600", "2")];
        let told = told(MINUTE, answers, &[0, 3599, 3600]).await;
        is(&told, &[(200, "MISS", "1"), (200, "HIT", "1"), (200, "MISS", "2")]);
    });
}

#[test]
fn s_maxage_beats_max_age() {
    play(async {
        let told =
            told(MINUTE, vec![said("max-age=10, s-maxage=20", "1"), Answer::json("2")], &[0, 19, 20]).await;
        is(&told, &[(200, "MISS", "1"), (200, "HIT", "1"), (200, "MISS", "2")]);
    });
}

#[test]
fn cdn_cache_control_beats_everything_else_the_origin_says() {
    play(async {
        let first = said("no-store", "1").header("cdn-cache-control", "max-age=30").header("expires", "0");
        let told = told(MINUTE, vec![first, Answer::json("2")], &[0, 29, 30]).await;
        is(&told, &[(200, "MISS", "1"), (200, "HIT", "1"), (200, "MISS", "2")]);
    });
}

#[test]
fn override_beats_the_origins_freshness_and_not_its_no_store() {
    play(async {
        let yaml = "routes: { /a: { ttl: 1m, origin_headers: override } }";
        let answers = vec![said("max-age=10", "1"), said("no-store", "2"), said("no-store", "3")];
        let told = told(yaml, answers, &[0, 59, 60, 61]).await;
        is(&told, &[(200, "MISS", "1"), (200, "HIT", "1"), (200, "BYPASS", "2"), (200, "BYPASS", "3")]);
    });
}

#[test]
fn expires_counts_from_the_origins_date() {
    play(async {
        let clock = Clock::system();
        let answer = |body| {
            let dates = [("date", http_date(&clock, -3600)), ("expires", http_date(&clock, -3570))];
            dates.iter().fold(Answer::json(body), |answer, (name, value)| answer.header(name, value))
        };
        // Half a minute of life, an hour ago: stale when it comes, and nothing could confirm it.
        let told = told("routes: { /a: 1h }", vec![answer("1"), answer("2")], &[0, 1]).await;
        is(&told, &[(200, "BYPASS", "1"), (200, "BYPASS", "2")]);
    });
}

#[test]
fn expires_in_the_future_is_a_life_of_so_long() {
    play(async {
        let clock = Clock::system();
        let first = Answer::json("1")
            .header("date", &http_date(&clock, 0))
            .header("expires", &http_date(&clock, 100));
        let told = told(MINUTE, vec![first, Answer::json("2")], &[0, 98, 102]).await;
        is(&told, &[(200, "MISS", "1"), (200, "HIT", "1"), (200, "MISS", "2")]);
    });
}

#[test]
fn expires_that_is_no_date_is_over() {
    play(async {
        let answers = ["1", "2"].map(|body| Answer::json(body).header("expires", "0"));
        is(&told(MINUTE, answers.into(), &[0, 0]).await, &[(200, "BYPASS", "1"), (200, "BYPASS", "2")]);
    });
}

#[test]
fn age_grows_with_the_clock_from_what_the_origin_said() {
    play(async {
        let origin =
            Origin::telling([Answer::json("1").header("age", "7").header("cache-control", "max-age=60")])
                .await;
        let proxy = Proxy::start(&origin, MINUTE).await;
        proxy.get("/a").reply().await;
        let mut ages = Vec::new();
        for step in [0, 1, 30] {
            proxy.pass_secs(step);
            let reply = proxy.get("/a").reply().await;
            ages.push((reply.header("age").unwrap().to_owned(), reply.cache_status().to_owned()));
        }
        let expected = [("7", "53"), ("8", "52"), ("38", "22")];
        assert_eq!(ages, expected.map(|(age, ttl)| (age.into(), format!("larder; hit; ttl={ttl}"))));
        proxy.pass_secs(22);
        assert_eq!(proxy.get("/a").reply().await.cache(), "MISS");
    });
}

#[test]
fn a_404_is_kept_for_as_long_as_negative_says_and_a_410_not_at_all() {
    play(async {
        let yaml = "routes: { /a: { ttl: 1h, negative: { 404: 10s } } }";
        let missing = |body: &str| Answer::new(404).text(body);
        let told_404 = told(yaml, vec![missing("1"), missing("2")], &[0, 9, 10]).await;
        is(&told_404, &[(404, "MISS", "1"), (404, "HIT", "1"), (404, "MISS", "2")]);
        let told_410 =
            told(yaml, vec![Answer::new(410).text("1"), Answer::new(410).text("2")], &[0, 0]).await;
        is(&told_410, &[(410, "BYPASS", "1"), (410, "BYPASS", "2")]);
    });
}

#[test]
fn a_status_that_is_about_the_client_or_a_bad_moment_is_never_kept_on_our_word() {
    play(async {
        for status in [400, 401, 403, 405, 407, 408, 413, 425, 429, 500, 502, 503] {
            let answers = vec![Answer::new(status).text("1"), Answer::new(status).text("2")];
            is(
                &told("routes: { /a: 1h }", answers, &[0, 0]).await,
                &[(status, "BYPASS", "1"), (status, "BYPASS", "2")],
            );
        }
    });
}

#[test]
fn a_job_that_has_ended_is_kept_and_one_that_runs_is_not() {
    play(async {
        let states =
            ["running", "DONE", "DONE"].map(|state| Answer::json(format!(r#"{{"status":"{state}"}}"#)));
        let told = told("routes: { /a: { preset: job-status } }", states.into(), &[0, 20, 21]).await;
        let caches: Vec<_> = told.iter().map(|(_, cache, _)| cache.as_str()).collect();
        assert_eq!(caches, ["BYPASS", "MISS", "HIT"]);
    });
}

#[test]
fn a_slow_answer_is_as_old_as_the_wait_by_the_origins_word_and_new_by_the_routes() {
    play(async {
        for (word, ages) in [(Some("max-age=60"), ("10", "50")), (None, ("10", "60"))] {
            let gate = Gate::default();
            let held = gate.clone();
            let origin = Origin::start(move |seen| {
                let answer =
                    word.iter().fold(Answer::json(seen.number()), |a, word| a.header("cache-control", word));
                answer.held(&held)
            })
            .await;
            let proxy = Proxy::start(&origin, MINUTE).await;
            let first = proxy.get("/a").under_way();
            origin.arrived(1).await;
            proxy.pass_secs(10);
            gate.open();
            first.await.unwrap();
            let hit = proxy.get("/a").reply().await;
            assert_eq!(hit.header("age"), Some(ages.0), "RFC 9111 section 4.2.3, {word:?}");
            assert_eq!(hit.cache_status(), format!("larder; hit; ttl={}", ages.1), "{word:?}");
        }
    });
}

#[test]
fn an_origin_whose_clock_is_slow_does_not_eat_up_the_routes_ttl() {
    play(async {
        let clock = Clock::system();
        let answer = |body| Answer::json(body).header("date", &http_date(&clock, -3600));
        let told = told(MINUTE, vec![answer("1"), answer("2")], &[0, 59, 61]).await;
        is(&told, &[(200, "MISS", "1"), (200, "HIT", "1"), (200, "MISS", "2")]);
    });
}

#[test]
fn a_redirect_is_kept_on_the_origins_word_only() {
    play(async {
        let redirect = |word: Option<&str>| {
            let answer = Answer::new(301).header("location", "/b");
            word.iter().fold(answer, |answer, word| answer.header("cache-control", word))
        };
        is(&told(MINUTE, vec![redirect(None)], &[0, 1]).await, &[(301, "BYPASS", ""), (301, "BYPASS", "")]);
        is(
            &told(MINUTE, vec![redirect(Some("max-age=9"))], &[0, 1]).await,
            &[(301, "MISS", ""), (301, "HIT", "")],
        );
    });
}

// ---- stale while revalidate -------------------------------------------------------------------------------------

const WHILE: &str = "routes: { /a: { ttl: 1m, stale_while_revalidate: 30s } }";

#[test]
fn a_stale_answer_is_served_while_one_refresh_runs_and_then_the_new_one() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| {
            let answer = Answer::json(seen.number());
            if seen.nth == 1 { answer.held(&held) } else { answer }
        })
        .await;
        let proxy = Proxy::start(&origin, WHILE).await;
        proxy.get("/a").reply().await;
        proxy.pass_secs(60);
        for _ in 0..5 {
            let stale = proxy.get("/a").reply().await;
            assert_eq!((stale.cache(), stale.text(), stale.header("age")), ("STALE", "1", Some("60")));
            assert!(stale.cache_status().starts_with("larder; hit; ttl=0"), "{}", stale.cache_status());
        }
        origin.arrived(2).await;
        gate.open();
        let new = proxy.becomes("/a", "HIT").await;
        assert_eq!((new.text(), new.header("age")), ("2", Some("0")));
        assert_eq!(origin.count(), 2);
    });
}

#[test]
fn beyond_its_window_a_stale_answer_waits_for_the_origin() {
    play(async {
        let told = told(WHILE, vec![Answer::json("1"), Answer::json("2")], &[0, 91]).await;
        is(&told, &[(200, "MISS", "1"), (200, "MISS", "2")]);
    });
}

#[test]
fn must_revalidate_forbids_the_stale_answer() {
    play(async {
        let first = said("max-age=60, must-revalidate", "1");
        let told = told(WHILE, vec![first, Answer::json("2")], &[0, 60]).await;
        is(&told, &[(200, "MISS", "1"), (200, "MISS", "2")]);
    });
}

#[test]
fn a_refresh_that_fails_leaves_the_stale_answer_and_the_next_one_tries_again() {
    play(async {
        let answers = vec![Answer::json("1"), Answer::new(503), Answer::json("3")];
        let origin = Origin::telling(answers).await;
        let proxy = Proxy::start(&origin, WHILE).await;
        proxy.get("/a").reply().await;
        proxy.pass_secs(70);
        assert_eq!(proxy.get("/a").reply().await.text(), "1");
        origin.arrived(2).await;
        let new = proxy.becomes("/a", "HIT").await;
        assert_eq!((new.text(), origin.count()), ("3", 3));
    });
}

#[test]
fn a_refresh_that_forbids_storing_ends_the_stale_answer() {
    play(async {
        let origin = Origin::telling([Answer::json("1"), said("no-store", "2"), said("no-store", "3")]).await;
        let proxy = Proxy::start(&origin, WHILE).await;
        proxy.get("/a").reply().await;
        proxy.pass_secs(60);
        assert_eq!(proxy.get("/a").reply().await.text(), "1");
        assert_eq!(proxy.becomes("/a", "BYPASS").await.text(), "3");
    });
}

#[test]
fn a_reader_beyond_the_window_joins_the_refresh_that_is_under_way() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| {
            let answer = Answer::json(seen.number());
            if seen.nth == 1 { answer.held(&held) } else { answer }
        })
        .await;
        let proxy = Proxy::start(&origin, WHILE).await;
        proxy.get("/a").reply().await;
        proxy.pass_secs(60);
        assert_eq!(proxy.get("/a").reply().await.cache(), "STALE");
        origin.arrived(2).await;
        proxy.pass_secs(31);
        let late = proxy.get("/a").under_way();
        proxy.settled().await;
        gate.open();
        assert_eq!(late.await.unwrap().text(), "2");
        assert_eq!(origin.count(), 2);
    });
}

// ---- stale if error ---------------------------------------------------------------------------------------------

const IF_ERROR: &str = "routes: { /a: { ttl: 1m, stale_if_error: 1h } }";

#[test]
fn a_failing_origin_is_covered_by_the_stale_answer() {
    play(async {
        for status in [500, 502, 503, 504] {
            let told = told(IF_ERROR, vec![Answer::json("1"), Answer::new(status)], &[0, 60]).await;
            is(&told, &[(200, "MISS", "1"), (200, "STALE", "1")]);
        }
    });
}

#[test]
fn an_origin_that_hangs_up_before_its_head_is_covered_too() {
    play(async {
        let told = told(IF_ERROR, vec![Answer::json("1"), Answer::cut()], &[0, 60]).await;
        is(&told, &[(200, "MISS", "1"), (200, "STALE", "1")]);
    });
}

#[test]
fn an_origin_that_is_gone_is_covered_too() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, IF_ERROR).await;
        proxy.get("/a").reply().await;
        origin.stop().await;
        proxy.pass_secs(60);
        let stale = proxy.get("/a").reply().await;
        assert_eq!((stale.status.as_u16(), stale.cache(), stale.text()), (200, "STALE", "1"));
        assert_eq!(stale.cache_status(), "larder; hit; ttl=0; detail=stale-if-error");
    });
}

#[test]
fn an_origin_that_says_nothing_within_the_timeout_is_covered_too() {
    play(async {
        let never = Gate::default();
        let yaml = format!("limits: {{ upstream_timeout: 100ms }}\n{IF_ERROR}");
        let told = told(&yaml, vec![Answer::json("1"), Answer::json("2").held(&never)], &[0, 60]).await;
        is(&told, &[(200, "MISS", "1"), (200, "STALE", "1")]);
    });
}

#[test]
fn everyone_who_waits_for_a_failing_origin_gets_the_stale_answer() {
    play(async {
        let gate = Gate::default();
        let origin = Origin::telling([Answer::json("1"), Answer::new(503).held(&gate)]).await;
        let proxy = Proxy::start(&origin, IF_ERROR).await;
        proxy.get("/a").reply().await;
        proxy.pass_secs(60);
        let waiting: Vec<_> = (0..5).map(|_| proxy.get("/a").under_way()).collect();
        origin.arrived(2).await;
        proxy.settled().await;
        gate.open();
        for reply in crate::harness::client::all(waiting).await {
            assert_eq!((reply.status.as_u16(), reply.cache(), reply.text()), (200, "STALE", "1"));
        }
        assert_eq!(origin.count(), 2);
    });
}

#[test]
fn a_404_is_an_answer_and_no_failure() {
    play(async {
        let told = told(IF_ERROR, vec![Answer::json("1"), Answer::new(404)], &[0, 60]).await;
        is(&told, &[(200, "MISS", "1"), (404, "BYPASS", "")]);
    });
}

#[test]
fn beyond_the_window_the_failure_is_shown() {
    play(async {
        let told =
            told(IF_ERROR, vec![Answer::json("1"), Answer::new(503)], &[0, 60 + 3600, 60 + 3601]).await;
        is(&told, &[(200, "MISS", "1"), (200, "STALE", "1"), (503, "BYPASS", "")]);
    });
}

#[test]
fn must_revalidate_shows_the_failure() {
    play(async {
        let first = said("max-age=60, must-revalidate", "1");
        let told = told(IF_ERROR, vec![first, Answer::new(503)], &[0, 60]).await;
        assert_eq!((told[1].0, told[1].2.as_str()), (503, ""));
    });
}

#[test]
fn after_a_failure_the_origin_is_asked_again_and_its_new_answer_is_kept() {
    play(async {
        let answers = vec![Answer::json("1"), Answer::new(500), Answer::json("3")];
        let told = told(IF_ERROR, answers, &[0, 60, 62, 63]).await;
        is(&told, &[(200, "MISS", "1"), (200, "STALE", "1"), (200, "MISS", "3"), (200, "HIT", "3")]);
    });
}

#[test]
fn a_part_of_the_stale_answer_covers_for_a_failing_origin_as_well() {
    play(async {
        let origin = Origin::telling([Answer::json("0123456789"), Answer::new(503)]).await;
        let proxy = Proxy::start(&origin, IF_ERROR).await;
        proxy.get("/a").reply().await;
        proxy.pass_secs(60);
        let part = proxy.get("/a").header("range", "bytes=2-4").reply().await;
        assert_eq!((part.status.as_u16(), part.text(), part.cache()), (206, "234", "STALE"));
        assert_eq!(origin.count(), 2);
    });
}

#[test]
fn a_failure_is_shown_to_who_asks_for_a_part_without_asking_the_origin_again_and_again() {
    play(async {
        let origin = Origin::telling([Answer::json("0123456789"), Answer::new(503).text("sorry")]).await;
        let proxy = Proxy::start(&origin, MINUTE).await;
        proxy.get("/a").reply().await;
        proxy.pass_secs(60);
        let part = proxy.get("/a").header("range", "bytes=2-4").reply().await;
        assert_eq!((part.status.as_u16(), part.text()), (503, "sorry"));
        assert!(origin.count() <= 3, "{} requests", origin.count());
    });
}

// ---- revalidation -----------------------------------------------------------------------------------------------

fn tagged(body: &str) -> Answer {
    Answer::json(body).header("etag", "\"v1\"").header("x-kept", "old").header("x-told", "old")
}

#[test]
fn a_304_keeps_the_body_and_brings_its_fields() {
    play(async {
        let confirmed = Answer::new(304).header("etag", "\"v1\"").header("x-told", "new");
        let origin = Origin::telling([tagged("1"), confirmed]).await;
        let proxy = Proxy::start(&origin, MINUTE).await;
        proxy.get("/a").reply().await;
        proxy.pass_secs(60);
        let reply = proxy.get("/a").reply().await;
        assert_eq!((reply.status.as_u16(), reply.cache(), reply.text()), (200, "REVALIDATED", "1"));
        assert_eq!(reply.cache_status(), "larder; fwd=stale; fwd-status=304; stored");
        assert_eq!((reply.header("x-kept"), reply.header("x-told")), (Some("old"), Some("new")));
        assert_eq!(origin.last().header("if-none-match"), Some("\"v1\""));
        proxy.pass_secs(59);
        let hit = proxy.get("/a").reply().await;
        assert_eq!(
            (hit.cache(), hit.text(), hit.header("age"), hit.header("x-told")),
            ("HIT", "1", Some("59"), Some("new"))
        );
        assert_eq!(hit.header("content-length"), Some("1"));
    });
}

#[test]
fn last_modified_confirms_as_well() {
    play(async {
        let modified = "Sat, 01 Feb 2020 00:00:00 GMT";
        let origin =
            Origin::telling([Answer::json("1").header("last-modified", modified), Answer::new(304)]).await;
        let proxy = Proxy::start(&origin, MINUTE).await;
        proxy.get("/a").reply().await;
        proxy.pass_secs(60);
        assert_eq!(proxy.get("/a").reply().await.cache(), "REVALIDATED");
        assert_eq!(origin.last().header("if-modified-since"), Some(modified));
    });
}

#[test]
fn a_validator_of_our_own_making_is_never_sent_upstream() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, IF_ERROR).await;
        proxy.get("/a").reply().await;
        let made = proxy.get("/a").reply().await;
        proxy.pass_secs(60);
        let etag = made.header("etag").unwrap();
        assert_eq!(proxy.get("/a").header("if-none-match", etag).reply().await.text(), "2");
        assert_eq!(origin.last().header("if-none-match"), None);
    });
}

#[test]
fn a_new_answer_to_the_question_takes_the_place_of_the_old_one() {
    play(async {
        let told =
            told(MINUTE, vec![tagged("1"), Answer::json("2").header("etag", "\"v2\"")], &[0, 60, 61]).await;
        is(&told, &[(200, "MISS", "1"), (200, "MISS", "2"), (200, "HIT", "2")]);
    });
}

#[test]
fn a_304_that_names_another_representation_is_asked_again_without_conditions() {
    play(async {
        let other = Answer::new(304).header("etag", "\"v9\"");
        let origin = Origin::telling([tagged("1"), other, Answer::json("3").header("etag", "\"v9\"")]).await;
        let proxy = Proxy::start(&origin, MINUTE).await;
        proxy.get("/a").reply().await;
        proxy.pass_secs(60);
        let reply = proxy.get("/a").reply().await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "3"));
        assert_eq!(origin.last().header("if-none-match"), None);
    });
}

#[test]
fn a_304_that_forbids_storing_gives_the_body_and_drops_the_entry() {
    play(async {
        let forbids = Answer::new(304).header("etag", "\"v1\"").header("cache-control", "no-store");
        let told = told(MINUTE, vec![tagged("1"), forbids, Answer::json("3")], &[0, 60, 61]).await;
        is(&told, &[(200, "MISS", "1"), (200, "BYPASS", "1"), (200, "MISS", "3")]);
    });
}

#[test]
fn no_cache_asks_the_origin_every_time_and_transfers_no_body() {
    play(async {
        let first = tagged("1").header("cache-control", "no-cache");
        let confirmed = Answer::new(304).header("etag", "\"v1\"");
        let told = told(MINUTE, vec![first, confirmed], &[0, 1, 2]).await;
        is(&told, &[(200, "MISS", "1"), (200, "REVALIDATED", "1"), (200, "REVALIDATED", "1")]);
    });
}

#[test]
fn a_304_for_an_entry_that_died_meanwhile_keeps_nothing() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| match (seen.method.as_str(), seen.nth) {
            ("PUT", _) => Answer::new(204),
            (_, 0) => tagged("old"),
            (_, 1) => Answer::new(304).header("etag", "\"v1\"").held(&held),
            _ => tagged("new").header("etag", "\"v2\""),
        })
        .await;
        let proxy = Proxy::start(&origin, MINUTE).await;
        proxy.get("/a").reply().await;
        proxy.pass_secs(60);
        let early = proxy.get("/a").under_way();
        origin.arrived(2).await;
        proxy.ask("PUT", "/a").reply().await;
        let after = proxy.get("/a").reply().await;
        assert_eq!((after.text(), origin.last().header("if-none-match")), ("new", None));
        gate.open();
        assert_eq!(early.await.unwrap().text(), "old");
        assert_eq!(proxy.get("/a").reply().await.text(), "new");
    });
}

#[test]
fn a_body_that_breaks_off_during_a_refetch_is_not_kept() {
    play(async {
        let broken = Answer::json("2").header("content-length", "100").part(Part::Cut);
        let origin = Origin::telling([Answer::json("1"), broken, Answer::json("3")]).await;
        let proxy = Proxy::start(&origin, MINUTE).await;
        proxy.get("/a").reply().await;
        proxy.pass_secs(60);
        assert!(!proxy.get("/a").reply().await.whole);
        assert_eq!(proxy.get("/a").reply().await.text(), "3");
    });
}

#[test]
fn what_a_304_says_that_an_entry_varies_by_counts_from_then_on() {
    play(async {
        let origin = Origin::start(|seen| match seen.header("if-none-match") {
            None => said("max-age=10", "1").header("etag", "\"v\""),
            Some(_) => Answer::new(304).header("cache-control", "max-age=100").header("vary", "x-flavour"),
        })
        .await;
        let proxy = Proxy::start(&origin, MINUTE).await;
        let ask = |flavour| proxy.get("/a").header("x-flavour", flavour).reply();
        assert_eq!(ask("sweet").await.cache(), "MISS");
        proxy.pass_secs(11);
        assert_eq!(ask("sweet").await.cache(), "REVALIDATED");
        assert_eq!(ask("sweet").await.cache(), "HIT");
        assert_eq!(ask("sour").await.cache(), "MISS");
        assert_eq!(ask("sweet").await.cache(), "HIT", "each has its own");
    });
}

#[test]
fn a_file_that_nobody_gave_a_life_is_fresh_for_a_tenth_of_its_age_until_a_write() {
    play(async {
        let origin = Origin::start(|seen| match (seen.method.as_str(), seen.target.as_str()) {
            ("GET", path) if path.starts_with("/static/") => {
                let clock = Clock::system();
                let modified = http_date(&clock, -1000);
                Answer::json(seen.number())
                    .header("etag", "\"v\"")
                    .header("date", &http_date(&clock, 0))
                    .header("last-modified", &modified)
            }
            ("GET", "/gone") => Answer::new(404),
            ("GET", _) => Answer::new(405),
            _ => Answer::new(204),
        })
        .await;
        let proxy = Proxy::start(&origin, "").await;
        let cache = async |path: &str| proxy.get(path).reply().await.cache().to_owned();
        for path in ["/static/app.js", "/static/app.js?v=1"] {
            assert_eq!((cache(path).await, cache(path).await), ("MISS".into(), "HIT".into()), "{path}");
        }
        assert_eq!(proxy.ask("PUT", "/static/app.js").reply().await.status, 204);
        for path in ["/static/app.js", "/static/app.js?v=1"] {
            assert_eq!((cache(path).await, cache(path).await), ("MISS".into(), "HIT".into()), "{path}");
        }
        proxy.pass_secs(97);
        assert_eq!(cache("/static/app.js").await, "HIT");
        proxy.pass_secs(4);
        assert_ne!(cache("/static/app.js").await, "HIT");
        for path in ["/gone", "/only-post"] {
            assert_eq!((cache(path).await, cache(path).await), ("BYPASS".into(), "BYPASS".into()), "{path}");
        }
    });
}

#[test]
fn a_targeted_field_without_a_life_leaves_it_to_heuristics_and_not_to_cache_control() {
    play(async {
        let clock = Clock::system();
        let answer = |targeted: &str| {
            said("max-age=3600", "1")
                .header("cdn-cache-control", targeted)
                .header("date", &http_date(&clock, 0))
                .header("last-modified", &http_date(&clock, -1000))
        };
        let times = [0, 97, 101];
        let guessed = told("", vec![answer("public"), answer("public")], &times).await;
        is(&guessed[..2], &[(200, "MISS", "1"), (200, "HIT", "1")]);
        assert_ne!(guessed[2].1, "HIT");
        let named = told("", vec![answer("max-age=200")], &times).await;
        is(&named, &[(200, "MISS", "1"), (200, "HIT", "1"), (200, "HIT", "1")]);
        let unreadable = told("", vec![answer("max-age=&")], &times).await;
        is(&unreadable, &[(200, "MISS", "1"), (200, "HIT", "1"), (200, "HIT", "1")]);
    });
}
