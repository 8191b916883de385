//! `range: forward`: parts of a representation are asked for, kept, combined and completed (RFC 9111 §3.3, §3.4).

use crate::harness::client::Reply;
use crate::harness::origin::{Answer, Origin, Part, Seen};
use crate::harness::proxy::Proxy;
use crate::harness::{Gate, play};

const FORWARD: &str = "defaults: { range: forward }";
const TEXT: &str = "0123456789";
const MINUTE: (&str, &str) = ("cache-control", "max-age=60");
const STRONG: (&str, &str) = ("etag", "\"v1\"");

/// What an origin answers that knows ranges and `If-Range`, of a representation with these fields.
fn ranged(seen: &Seen, text: &str, fields: &[(&str, &str)]) -> Answer {
    let with =
        |answer| fields.iter().fold(answer, |answer: Answer, (name, value)| answer.header(name, value));
    let etag = fields.iter().find(|(name, _)| *name == "etag").map(|(_, value)| *value);
    let wanted = seen.header("range").filter(|_| seen.header("if-range").is_none_or(|tag| Some(tag) == etag));
    let Some(wanted) = wanted else { return with(Answer::new(200)).text(text) };
    let (first, last) = wanted.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let first_byte = first.parse().unwrap_or_else(|_| text.len() - last.parse::<usize>().unwrap());
    let end =
        if first.is_empty() || last.is_empty() { text.len() } else { last.parse::<usize>().unwrap() + 1 };
    with(part(first_byte, end.min(text.len()), text))
}

/// A 206 of these bytes of `text`, without a life.
fn part(first: usize, end: usize, text: &str) -> Answer {
    let range = format!("bytes {first}-{}/{}", end - 1, text.len());
    Answer::new(206).header("content-range", &range).text(&text[first..end])
}

/// A proxy that forwards ranges to an origin which knows them.
async fn before(fields: &'static [(&str, &str)]) -> (Origin, Proxy) {
    let origin = Origin::start(move |seen| ranged(seen, TEXT, fields)).await;
    let proxy = Proxy::start(&origin, FORWARD).await;
    (origin, proxy)
}

/// The same, before an origin whose second answer waits at the gate.
async fn second_held() -> (Gate, Origin, Proxy) {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |seen| {
        let answer = ranged(seen, TEXT, &[MINUTE, STRONG]);
        if seen.nth == 1 { answer.held(&held) } else { answer }
    })
    .await;
    let proxy = Proxy::start(&origin, FORWARD).await;
    (gate, origin, proxy)
}

async fn telling(answers: impl IntoIterator<Item = Answer>) -> (Origin, Proxy) {
    let origin = Origin::telling(answers).await;
    let proxy = Proxy::start(&origin, FORWARD).await;
    (origin, proxy)
}

async fn range(proxy: &Proxy, range: &str) -> Reply {
    proxy.get("/a").header("range", &format!("bytes={range}")).reply().await
}

async fn whole(proxy: &Proxy) -> Reply {
    proxy.get("/a").reply().await
}

#[track_caller]
fn is(reply: &Reply, status: u16, cache: &str, text: &str) {
    assert!(reply.whole);
    assert_eq!((reply.status.as_u16(), reply.cache(), reply.text()), (status, cache, text), "{reply:?}");
}

async fn entries(proxy: &Proxy) -> u64 {
    proxy.metric("larder_cache_entries").await
}

async fn discarded(proxy: &Proxy, why: &str) -> u64 {
    proxy.metric(&format!("larder_fills_discarded_total{{reason=\"{why}\"}}")).await
}

// ---- asking -----------------------------------------------------------------------------------------------------

#[test]
fn the_origin_is_asked_for_the_part_and_for_nothing_else_of_the_clients() {
    play(async {
        let (origin, proxy) = before(&[MINUTE, STRONG]).await;
        let reply = proxy
            .get("/a")
            .header("range", "Bytes=2-4")
            .header("if-none-match", "\"v0\"")
            .header("if-modified-since", "Wed, 01 Jan 2020 00:00:00 GMT")
            .reply()
            .await;
        is(&reply, 206, "MISS", "234");
        assert_eq!(reply.header("content-range"), Some("bytes 2-4/10"));
        assert_eq!(reply.cache_status(), "larder; fwd=uri-miss; stored");
        let seen = origin.last();
        assert_eq!(seen.header("range"), Some("bytes=2-4"));
        for name in ["if-range", "if-none-match", "if-modified-since"] {
            assert_eq!(seen.header(name), None, "{name}");
        }
    });
}

#[test]
fn a_client_that_has_it_already_gets_a_304_for_a_part_that_is_fetched() {
    play(async {
        let (_origin, proxy) = before(&[MINUTE, STRONG]).await;
        let ask = proxy.get("/a").header("range", "bytes=2-4").header("if-none-match", "\"v1\"");
        is(&ask.reply().await, 304, "MISS", "");
        is(&range(&proxy, "2-4").await, 206, "HIT", "234");
    });
}

#[test]
fn what_is_not_one_plain_range_asks_for_the_whole() {
    play(async {
        for odd in ["bytes=0-1,4-5", "bytes=5-4", "items=0-1"] {
            let (origin, proxy) = before(&[MINUTE]).await;
            is(&proxy.get("/a").header("range", odd).reply().await, 200, "MISS", TEXT);
            assert_eq!(origin.last().header("range"), None);
            is(&range(&proxy, "2-4").await, 206, "HIT", "234");
        }
    });
}

#[test]
fn a_part_waits_for_nobodys_fetch_of_the_whole() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| match seen.header("range") {
            None => ranged(seen, TEXT, &[MINUTE]).held(&held),
            Some(_) => ranged(seen, TEXT, &[MINUTE]),
        })
        .await;
        let proxy = Proxy::start(&origin, FORWARD).await;
        let all = proxy.get("/a").under_way();
        origin.arrived(1).await;
        is(&range(&proxy, "2-4").await, 206, "MISS", "234");
        gate.open();
        is(&all.await.unwrap(), 200, "MISS", TEXT);
        assert_eq!(origin.count(), 2);
        assert_eq!(entries(&proxy).await, 1, "the whole took the part's place");
    });
}

#[test]
fn a_client_that_leaves_does_not_cancel_the_part() {
    play(async {
        let gate = Gate::default();
        let (origin, proxy) =
            telling([part(2, 5, TEXT).header(MINUTE.0, MINUTE.1).held(&gate), Answer::new(500)]).await;
        let left = proxy.get("/a").header("range", "bytes=2-4").under_way();
        origin.arrived(1).await;
        left.abort();
        let _ = left.await;
        gate.open();
        while entries(&proxy).await == 0 {}
        is(&range(&proxy, "2-4").await, 206, "HIT", "234");
    });
}

#[test]
fn a_part_streams_to_the_client_and_is_stored_only_after_its_clean_end() {
    play(async {
        let (more, end) = (Gate::default(), Gate::default());
        let streaming = Answer::new(206).header("content-range", "bytes 0-3/10").header(MINUTE.0, MINUTE.1);
        let streaming =
            streaming.text("01").part(Part::Gate(more.clone())).text("23").part(Part::Gate(end.clone()));
        let (origin, proxy) = telling([streaming, part(0, 4, TEXT)]).await;
        let mut body = proxy.get("/a").header("range", "bytes=0-3").head().await.into_body();
        assert_eq!(crate::harness::client::next(&mut body).await, "01");
        assert_eq!(entries(&proxy).await, 0);
        more.open();
        assert_eq!(crate::harness::client::next(&mut body).await, "23");
        is(&range(&proxy, "0-3").await, 206, "BYPASS", "0123");
        assert_eq!((origin.count(), entries(&proxy).await), (2, 0), "nobody joins it, and it has not ended");
        end.open();
        assert_eq!(crate::harness::client::read(body).await, ("".into(), true));
        is(&range(&proxy, "0-3").await, 206, "HIT", "0123");
    });
}

// ---- what the origin answers ------------------------------------------------------------------------------------

#[test]
fn a_whole_that_answers_a_range_is_stored_as_one() {
    play(async {
        let (origin, proxy) = telling([Answer::json(TEXT).header(MINUTE.0, MINUTE.1)]).await;
        is(&range(&proxy, "2-4").await, 200, "MISS", TEXT);
        assert_eq!(origin.last().header("range"), Some("bytes=2-4"));
        is(&range(&proxy, "2-4").await, 206, "HIT", "234");
        is(&whole(&proxy).await, 200, "HIT", TEXT);
        assert_eq!(origin.count(), 1);
    });
}

#[test]
fn a_part_that_is_all_of_it_is_a_whole() {
    play(async {
        let (origin, proxy) = before(&[MINUTE]).await;
        is(&range(&proxy, "0-").await, 206, "MISS", TEXT);
        let reply = whole(&proxy).await;
        is(&reply, 200, "HIT", TEXT);
        assert_eq!((reply.header("content-range"), reply.header("content-length")), (None, Some("10")));
        assert_eq!(origin.count(), 1);
    });
}

#[test]
fn a_range_that_nothing_satisfies_is_passed_on_and_not_stored() {
    play(async {
        let unsatisfied = Answer::new(416).header("content-range", "bytes */10").header(MINUTE.0, MINUTE.1);
        let origin = Origin::telling([unsatisfied]).await;
        let proxy = Proxy::start(&origin, "defaults: { range: forward, store_errors: fresh }").await;
        for count in 1..=2 {
            let reply = range(&proxy, "10-").await;
            is(&reply, 416, "BYPASS", "");
            assert_eq!(reply.header("content-range"), Some("bytes */10"));
            assert_eq!((origin.count(), entries(&proxy).await), (count, 0));
        }
    });
}

#[test]
fn a_part_that_is_not_stored_says_nothing_of_the_whole() {
    play(async {
        for of_the_part in [Answer::new(416), part(2, 5, TEXT).header("cache-control", "no-store")] {
            let gate = Gate::default();
            let answer = Answer::json(TEXT).header(MINUTE.0, MINUTE.1).held(&gate);
            let (origin, proxy) = telling([of_the_part, answer]).await;
            assert_eq!(range(&proxy, "2-4").await.cache(), "BYPASS");
            let waiting: Vec<_> = (0..3).map(|_| proxy.get("/a").under_way()).collect();
            origin.arrived(2).await;
            proxy.settled().await;
            gate.open();
            crate::harness::client::all(waiting).await.iter().for_each(|reply| is(reply, 200, "MISS", TEXT));
            assert_eq!(origin.count(), 2, "they still wait for one another");
        }
    });
}

#[test]
fn another_status_is_for_everybody_as_ever() {
    play(async {
        let (origin, proxy) = telling([Answer::new(404).header(MINUTE.0, MINUTE.1).text("none")]).await;
        is(&range(&proxy, "0-1").await, 404, "MISS", "none");
        is(&whole(&proxy).await, 404, "HIT", "none");
        assert_eq!(origin.count(), 1);
    });
}

#[test]
fn what_the_policy_would_not_store_whole_is_not_stored_in_part() {
    play(async {
        for (field, why) in [
            (("cache-control", "max-age=60, private"), "private"),
            (("cache-control", "no-store"), "no-store"),
            (("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT"), "no-freshness"),
        ] {
            let (origin, proxy) = telling([part(2, 5, TEXT).header(field.0, field.1)]).await;
            for count in 1..=2 {
                let reply = range(&proxy, "2-4").await;
                is(&reply, 206, "BYPASS", "234");
                assert_eq!(reply.cache_status(), format!("larder; fwd=bypass; detail={why}"));
                assert_eq!((origin.count(), entries(&proxy).await), (count, 0));
            }
        }
    });
}

#[test]
fn a_route_s_own_ttl_keeps_no_part() {
    play(async {
        let origin = Origin::start(|seen| ranged(seen, TEXT, &[])).await;
        let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 1h, range: forward } }").await;
        is(&range(&proxy, "2-4").await, 206, "BYPASS", "234");
        is(&whole(&proxy).await, 200, "MISS", TEXT);
        is(&range(&proxy, "2-4").await, 206, "HIT", "234");
    });
}

#[test]
fn a_part_that_does_not_say_where_it_lies_is_not_stored() {
    play(async {
        let said = |range: &str| {
            Answer::new(206).header("content-range", range).header(MINUTE.0, MINUTE.1).text("234")
        };
        let several = said("bytes 2-4/10").header("content-type", "multipart/byteranges; boundary=x");
        for answer in [said("bytes 2-4/*"), said("items 2-4/10"), said("bytes 4-2/10"), several] {
            let (_origin, proxy) = telling([answer]).await;
            let reply = range(&proxy, "2-4").await;
            is(&reply, 206, "BYPASS", "234");
            assert_eq!(reply.cache_status(), "larder; fwd=bypass; detail=partial");
            assert_eq!(entries(&proxy).await, 0);
        }
    });
}

#[test]
fn a_part_that_is_cut_is_never_stored() {
    play(async {
        let cut = Answer::new(206).header("content-range", "bytes 0-4/10").header(MINUTE.0, MINUTE.1);
        let cut = cut.header("content-length", "5").text("012").part(Part::Cut);
        let (origin, proxy) = telling([cut, part(0, 5, TEXT).header(MINUTE.0, MINUTE.1)]).await;
        assert!(!range(&proxy, "0-4").await.whole);
        assert_eq!(entries(&proxy).await, 0);
        is(&range(&proxy, "0-4").await, 206, "MISS", "01234");
        assert_eq!(origin.count(), 2);
    });
}

#[test]
fn a_part_that_is_not_as_long_as_it_says_is_not_stored() {
    play(async {
        let lying = Answer::new(206).header("content-range", "bytes 4-9/10").header(MINUTE.0, MINUTE.1);
        // The origin says how long the body is: it is known at the head.
        let (_origin, proxy) = telling([lying.clone().text("01234")]).await;
        let reply = range(&proxy, "-5").await;
        is(&reply, 206, "BYPASS", "01234");
        assert_eq!(reply.cache_status(), "larder; fwd=bypass; detail=part-length");
        assert_eq!(entries(&proxy).await, 0);
        // It does not: it is known at the end.
        let open = Gate::default();
        open.open();
        let (_origin, proxy) = telling([lying.text("01234").part(Part::Gate(open))]).await;
        is(&range(&proxy, "-5").await, 206, "MISS", "01234");
        assert_eq!((entries(&proxy).await, discarded(&proxy, "part-length").await), (0, 1));
    });
}

#[test]
fn under_lenient_framing_such_a_part_counts_from_the_end_it_is_asked_from() {
    play(async {
        let lying = Answer::new(206).header("content-range", "bytes 4-9/10").header(MINUTE.0, MINUTE.1);
        let origin = Origin::telling([lying.text("01234")]).await;
        let yaml = format!("{FORWARD}\norigin_framing: lenient");
        let proxy = Proxy::start(&origin, &yaml).await;
        is(&range(&proxy, "-5").await, 206, "MISS", "01234");
        for (asked, text, content_range) in [
            ("-5", "01234", "bytes 5-9/10"),
            ("6-8", "234", "bytes 6-8/10"),
            ("6-", "234", "bytes 6-8/10"),
            ("-1", "4", "bytes 9-9/10"),
        ] {
            let reply = range(&proxy, asked).await;
            is(&reply, 206, "HIT", text);
            assert_eq!(reply.header("content-range"), Some(content_range));
        }
        assert_eq!(origin.count(), 1);
    });
}

#[test]
fn a_part_that_outgrows_an_entry_is_not_stored() {
    play(async {
        let text = "x".repeat(3000);
        let origin = Origin::start(move |seen| ranged(seen, &text, &[MINUTE])).await;
        let proxy = Proxy::start(&origin, "routes: { /a: { entry: 1KiB, range: forward } }").await;
        let reply = range(&proxy, "0-1999").await;
        assert_eq!((reply.body.len(), reply.cache()), (2000, "BYPASS"));
        assert_eq!(reply.cache_status(), "larder; fwd=bypass; detail=entry-limit");
        assert_eq!(entries(&proxy).await, 0);
    });
}

#[test]
fn of_what_is_too_large_to_be_stored_whole_parts_are_stored() {
    play(async {
        let text = "x".repeat(3000);
        let origin = Origin::start(move |seen| ranged(seen, &text, &[MINUTE, STRONG])).await;
        let proxy = Proxy::start(&origin, "routes: { /a: { entry: 1KiB, range: forward } }").await;
        assert_eq!(whole(&proxy).await.body.len(), 3000);
        assert_eq!(range(&proxy, "0-799").await.body.len(), 800);
        assert_eq!(range(&proxy, "10-19").await.cache(), "HIT");
        assert_eq!(range(&proxy, "800-1599").await.body.len(), 800);
        assert_eq!(range(&proxy, "800-1599").await.cache(), "HIT", "too long together: the newer is kept");
        assert_eq!(range(&proxy, "0-9").await.cache(), "MISS");
        assert_eq!(whole(&proxy).await.body.len(), 3000);
        assert_eq!(origin.last().header("range"), None, "what cannot be stored is not completed");
    });
}

#[test]
fn an_origin_that_fails_is_a_502_and_nothing_is_kept() {
    play(async {
        let (_origin, proxy) = telling([Answer::cut()]).await;
        assert_eq!(range(&proxy, "2-4").await.status, 502);
        assert_eq!(entries(&proxy).await, 0);
    });
}

// ---- reuse ------------------------------------------------------------------------------------------------------

#[test]
fn a_stored_part_answers_what_lies_within_it() {
    play(async {
        let (origin, proxy) = before(&[MINUTE, ("content-type", "text/plain")]).await;
        range(&proxy, "2-").await;
        proxy.pass_secs(7);
        for (asked, text, content_range) in [
            ("2-", "23456789", "bytes 2-9/10"),
            ("2-4", "234", "bytes 2-4/10"),
            ("9-100", "9", "bytes 9-9/10"),
            ("-3", "789", "bytes 7-9/10"),
        ] {
            let reply = range(&proxy, asked).await;
            is(&reply, 206, "HIT", text);
            assert_eq!(reply.header("content-range"), Some(content_range));
            assert_eq!((reply.header("age"), reply.cache_status()), (Some("7"), "larder; hit; ttl=53"));
            assert_eq!(reply.header("content-length"), Some(text.len().to_string().as_str()));
            assert_eq!((reply.header("content-type"), reply.header("etag")), (Some("text/plain"), None));
        }
        assert_eq!(origin.count(), 1);
    });
}

#[test]
fn it_never_answers_for_more_than_it_has() {
    play(async {
        for more in ["1-4", "2-5", "0-", "-1"] {
            let (origin, proxy) = before(&[MINUTE]).await;
            range(&proxy, "2-4").await;
            let reply = range(&proxy, more).await;
            assert_eq!((reply.status.as_u16(), reply.cache()), (206, "MISS"), "{more}");
            assert_eq!(reply.cache_status(), "larder; fwd=partial; stored");
            assert_eq!(origin.count(), 2);
        }
        let (origin, proxy) = before(&[MINUTE]).await;
        range(&proxy, "2-4").await;
        let reply = whole(&proxy).await;
        is(&reply, 200, "MISS", TEXT);
        assert_eq!(reply.cache_status(), "larder; fwd=partial; stored");
        assert_eq!((origin.count(), origin.last().header("range")), (2, None));
        is(&proxy.ask("HEAD", "/a").reply().await, 200, "HIT", "");
    });
}

#[test]
fn a_head_is_not_answered_from_a_part() {
    play(async {
        let (origin, proxy) = before(&[MINUTE]).await;
        range(&proxy, "2-4").await;
        let head = proxy.ask("HEAD", "/a").header("range", "bytes=2-4").reply().await;
        assert_eq!((head.status.as_u16(), head.cache()), (200, "MISS"));
        assert_eq!(origin.count(), 2);
    });
}

#[test]
fn a_stale_part_answers_nobody() {
    play(async {
        let (origin, proxy) =
            before(&[("cache-control", "max-age=60, stale-while-revalidate=60"), STRONG]).await;
        range(&proxy, "2-4").await;
        proxy.pass_secs(60);
        let reply = range(&proxy, "2-4").await;
        is(&reply, 206, "MISS", "234");
        assert_eq!(reply.cache_status(), "larder; fwd=stale; fwd-status=206; stored");
        assert_eq!(origin.last().header("if-none-match"), None, "parts are not revalidated");
        is(&range(&proxy, "2-4").await, 206, "HIT", "234");
        assert_eq!(origin.count(), 2);
    });
}

#[test]
fn a_part_is_told_in_a_304_to_who_has_it() {
    play(async {
        let (origin, proxy) = before(&[MINUTE, STRONG]).await;
        range(&proxy, "2-4").await;
        let ask = |tag| proxy.get("/a").header("range", "bytes=2-3").header("if-none-match", tag).reply();
        let reply = ask("\"v1\"").await;
        is(&reply, 304, "HIT", "");
        assert_eq!((reply.header("etag"), reply.header("content-range")), (Some("\"v1\""), None));
        is(&ask("\"v0\"").await, 206, "HIT", "23");
        assert_eq!(origin.count(), 1);
    });
}

#[test]
fn if_range_is_judged_by_the_part_that_is_stored() {
    play(async {
        let (origin, proxy) = before(&[MINUTE, STRONG]).await;
        range(&proxy, "2-4").await;
        let ask = proxy.get("/a").header("range", "bytes=2-3").header("if-range", "\"v1\"");
        is(&ask.reply().await, 206, "HIT", "23");
        assert_eq!(origin.count(), 1);
    });
}

#[test]
fn an_if_range_that_nothing_stored_satisfies_is_the_origins_to_judge() {
    play(async {
        let (origin, proxy) = before(&[MINUTE, STRONG]).await;
        let ask = |range, tag| proxy.get("/a").header("range", range).header("if-range", tag).reply();
        let reply = ask("bytes=2-3", "\"v1\"").await;
        is(&reply, 206, "BYPASS", "23");
        assert_eq!(reply.cache_status(), "larder; fwd=bypass; detail=if-range");
        let seen = origin.last();
        assert_eq!((seen.header("range"), seen.header("if-range")), (Some("bytes=2-3"), Some("\"v1\"")));
        assert_eq!(entries(&proxy).await, 0);
        range(&proxy, "2-4").await;
        is(&ask("bytes=2-3", "\"v0\"").await, 200, "BYPASS", TEXT);
        is(&ask("bytes=2-7", "\"v1\"").await, 206, "BYPASS", "234567");
        assert_eq!(entries(&proxy).await, 1);
    });
}

#[test]
fn only_if_cached_gets_the_part_or_a_504() {
    play(async {
        let (origin, proxy) = before(&[MINUTE]).await;
        let ask =
            |range| proxy.get("/a").header("range", range).header("cache-control", "only-if-cached").reply();
        assert_eq!(ask("bytes=2-4").await.status, 504);
        range(&proxy, "2-4").await;
        is(&ask("bytes=2-4").await, 206, "HIT", "234");
        assert_eq!(ask("bytes=2-5").await.status, 504);
        proxy.pass_secs(60);
        assert_eq!(ask("bytes=2-4").await.status, 504);
        assert_eq!(origin.count(), 1);
    });
}

#[test]
fn a_client_that_insists_gets_the_part_from_the_origin() {
    play(async {
        let origin = Origin::start(|seen| ranged(seen, TEXT, &[MINUTE])).await;
        let proxy = Proxy::start(&origin, "defaults: { range: forward, client_no_cache: honor }").await;
        range(&proxy, "2-4").await;
        let ask = proxy.get("/a").header("range", "bytes=2-4").header("cache-control", "no-cache");
        let reply = ask.reply().await;
        is(&reply, 206, "MISS", "234");
        assert_eq!(reply.cache_status(), "larder; fwd=request; fwd-status=206; stored");
        assert_eq!(origin.count(), 2);
    });
}

#[test]
fn parts_of_variants_are_kept_apart() {
    play(async {
        let origin = Origin::start(|seen| {
            let text = if seen.header("x-kind") == Some("b") { "abcdefghij" } else { TEXT };
            ranged(seen, text, &[MINUTE, STRONG, ("vary", "X-Kind")])
        })
        .await;
        let proxy = Proxy::start(&origin, FORWARD).await;
        let ask = |kind, range| proxy.get("/a").header("x-kind", kind).header("range", range).reply();
        is(&ask("a", "bytes=0-4").await, 206, "MISS", "01234");
        is(&ask("b", "bytes=5-9").await, 206, "MISS", "fghij");
        is(&ask("a", "bytes=1-2").await, 206, "HIT", "12");
        is(&ask("b", "bytes=6-7").await, 206, "HIT", "gh");
        assert_eq!(entries(&proxy).await, 2);
        is(&ask("b", "bytes=0-4").await, 206, "MISS", "abcde");
        is(&proxy.get("/a").header("x-kind", "b").reply().await, 200, "HIT", "abcdefghij");
        is(&ask("a", "bytes=1-2").await, 206, "HIT", "12");
        assert_eq!(origin.count(), 3);
    });
}

#[test]
fn nobody_is_given_a_part_that_another_credential_fetched() {
    play(async {
        let (origin, proxy) = before(&[("cache-control", "max-age=60, public")]).await;
        let ask = |who| proxy.get("/a").header("range", "bytes=0-4").header("authorization", who).reply();
        is(&ask("a").await, 206, "MISS", "01234");
        is(&ask("b").await, 206, "MISS", "01234");
        is(&range(&proxy, "0-4").await, 206, "MISS", "01234");
        is(&ask("a").await, 206, "HIT", "01234");
        assert_eq!(origin.count(), 3);
    });
}

// ---- combining --------------------------------------------------------------------------------------------------

#[test]
fn parts_that_touch_become_one_and_then_the_whole() {
    play(async {
        let (origin, proxy) = before(&[MINUTE, STRONG]).await;
        for (asked, known, text) in [("2-3", "2-3", "23"), ("4-5", "2-5", "2345"), ("3-7", "2-7", "234567")] {
            assert_eq!(range(&proxy, asked).await.cache(), "MISS");
            is(&range(&proxy, known).await, 206, "HIT", text);
        }
        assert_eq!(range(&proxy, "0-1").await.cache(), "MISS");
        is(&range(&proxy, "0-7").await, 206, "HIT", "01234567");
        assert_eq!((origin.count(), entries(&proxy).await), (4, 1));
        assert_eq!(range(&proxy, "-2").await.cache(), "MISS");
        let reply = whole(&proxy).await;
        is(&reply, 200, "HIT", TEXT);
        assert_eq!((reply.header("content-range"), reply.header("content-length")), (None, Some("10")));
        assert_eq!((origin.count(), entries(&proxy).await), (5, 1));
    });
}

#[test]
fn the_newer_part_brings_the_fields_and_the_life() {
    play(async {
        let of = |first, end, x: &str| part(first, end, TEXT).header("etag", "\"v1\"").header("x-a", x);
        let (_origin, proxy) = telling([
            of(0, 5, "1").header("cache-control", "max-age=60").header("x-kept", "1"),
            of(5, 10, "2").header("cache-control", "max-age=90"),
        ])
        .await;
        range(&proxy, "0-4").await;
        proxy.pass_secs(70);
        range(&proxy, "5-9").await;
        let reply = whole(&proxy).await;
        is(&reply, 200, "HIT", TEXT);
        assert_eq!((reply.header("x-a"), reply.header("x-kept")), (Some("2"), Some("1")));
        assert_eq!(reply.cache_status(), "larder; hit; ttl=90");
    });
}

#[test]
fn parts_that_are_not_known_to_belong_together_replace_one_another() {
    play(async {
        let tagged = |first, end, text, tag: &str| {
            let answer = part(first, end, text).header(MINUTE.0, MINUTE.1);
            if tag.is_empty() { answer } else { answer.header("etag", tag) }
        };
        for (older, newer) in [
            (tagged(0, 5, TEXT, ""), tagged(5, 10, TEXT, "")),
            (tagged(0, 5, TEXT, "W/\"v1\""), tagged(5, 10, TEXT, "W/\"v1\"")),
            (tagged(0, 5, TEXT, "\"v1\""), tagged(5, 10, "abcdefghij", "\"v2\"")),
            (tagged(0, 5, TEXT, "\"v1\""), tagged(5, 10, "0123456789a", "\"v1\"")),
            (tagged(0, 4, TEXT, "\"v1\""), tagged(5, 10, TEXT, "\"v1\"")),
        ] {
            let (_origin, proxy) = telling([older, newer, Answer::new(500)]).await;
            range(&proxy, "0-4").await;
            let part = range(&proxy, "5-9").await;
            is(&range(&proxy, "5-9").await, 206, "HIT", part.text());
            assert_eq!(range(&proxy, "0-1").await.status, 500, "the older is gone");
            assert_eq!(entries(&proxy).await, 1);
        }
    });
}

#[test]
fn of_two_parts_that_come_side_by_side_the_later_one_finds_the_other() {
    play(async {
        let gates = [Gate::default(), Gate::default()];
        let held = gates.clone();
        let origin =
            Origin::start(move |seen| ranged(seen, TEXT, &[MINUTE, STRONG]).held(&held[seen.nth.min(1)]))
                .await;
        let proxy = Proxy::start(&origin, FORWARD).await;
        let first = proxy.get("/a").header("range", "bytes=0-4").under_way();
        origin.arrived(1).await;
        let second = proxy.get("/a").header("range", "bytes=5-9").under_way();
        origin.arrived(2).await;
        gates[1].open();
        is(&second.await.unwrap(), 206, "MISS", "56789");
        gates[0].open();
        is(&first.await.unwrap(), 206, "MISS", "01234");
        is(&whole(&proxy).await, 200, "HIT", TEXT);
        assert_eq!(origin.count(), 2);
    });
}

#[test]
fn a_write_between_two_parts_keeps_them_apart() {
    play(async {
        let (origin, proxy) = before(&[MINUTE, STRONG]).await;
        range(&proxy, "0-4").await;
        proxy.ask("PUT", "/a").reply().await;
        assert_eq!(entries(&proxy).await, 0, "it outdates a part as any entry");
        is(&range(&proxy, "5-9").await, 206, "MISS", "56789");
        is(&range(&proxy, "0-4").await, 206, "MISS", "01234");
        is(&whole(&proxy).await, 200, "HIT", TEXT);
        assert_eq!(origin.count(), 4);
    });
}

#[test]
fn a_write_while_the_second_part_is_on_its_way_refuses_both() {
    play(async {
        let (gate, origin, proxy) = second_held().await;
        range(&proxy, "0-4").await;
        let second = proxy.get("/a").header("range", "bytes=5-9").under_way();
        origin.arrived(2).await;
        proxy.ask("PUT", "/a").reply().await;
        gate.open();
        is(&second.await.unwrap(), 206, "MISS", "56789");
        assert_eq!((entries(&proxy).await, discarded(&proxy, "invalidated").await), (0, 1));
        is(&range(&proxy, "5-9").await, 206, "MISS", "56789");
    });
}

// ---- completing -------------------------------------------------------------------------------------------------

#[test]
fn a_stored_beginning_is_completed_by_asking_for_the_rest() {
    play(async {
        for elapsed in [0, 60] {
            let (origin, proxy) = before(&[MINUTE, STRONG]).await;
            range(&proxy, "0-3").await;
            proxy.pass_secs(elapsed);
            let reply = whole(&proxy).await;
            is(&reply, 200, "MISS", TEXT);
            assert_eq!((reply.header("content-range"), reply.header("content-length")), (None, Some("10")));
            let why = if elapsed == 0 { "fwd=partial; stored" } else { "fwd=stale; fwd-status=200; stored" };
            assert_eq!(reply.cache_status(), format!("larder; {why}"));
            let seen = origin.last();
            assert_eq!((seen.header("range"), seen.header("if-range")), (Some("bytes=4-"), Some("\"v1\"")));
            is(&whole(&proxy).await, 200, "HIT", TEXT);
            is(&range(&proxy, "2-5").await, 206, "HIT", "2345");
            assert_eq!((origin.count(), entries(&proxy).await), (2, 1));
        }
    });
}

#[test]
fn all_who_want_the_whole_share_the_one_question_for_the_rest() {
    play(async {
        let (gate, origin, proxy) = second_held().await;
        range(&proxy, "0-3").await;
        let waiting: Vec<_> = (0..3).map(|_| proxy.get("/a").under_way()).collect();
        origin.arrived(2).await;
        proxy.settled().await;
        gate.open();
        for reply in crate::harness::client::all(waiting).await {
            is(&reply, 200, "MISS", TEXT);
        }
        assert_eq!(origin.count(), 2);
    });
}

#[test]
fn a_beginning_of_what_has_changed_is_replaced_by_the_new_whole() {
    play(async {
        let origin = Origin::start(|seen| match seen.nth {
            0 => ranged(seen, TEXT, &[MINUTE, STRONG]),
            _ => ranged(seen, "abcdefghij", &[MINUTE, ("etag", "\"v2\"")]),
        })
        .await;
        let proxy = Proxy::start(&origin, FORWARD).await;
        range(&proxy, "0-3").await;
        is(&whole(&proxy).await, 200, "MISS", "abcdefghij");
        assert_eq!(origin.last().header("if-range"), Some("\"v1\""));
        is(&range(&proxy, "0-3").await, 206, "HIT", "abcd");
        assert_eq!((origin.count(), entries(&proxy).await), (2, 1));
    });
}

#[test]
fn a_beginning_goes_when_what_it_is_the_beginning_of_may_not_be_stored_any_more() {
    play(async {
        let of = |first, end| part(first, end, TEXT).header("etag", "\"v1\"");
        let secret = ("cache-control", "private");
        for (answer, text) in [
            (of(4, 10).header(secret.0, secret.1), TEXT),
            (Answer::json("new").header(secret.0, secret.1), "new"),
        ] {
            let (_origin, proxy) = telling([of(0, 4).header(MINUTE.0, MINUTE.1), answer]).await;
            range(&proxy, "0-3").await;
            let reply = whole(&proxy).await;
            is(&reply, 200, "BYPASS", text);
            assert_eq!(reply.cache_status(), "larder; fwd=bypass; detail=private");
            assert_eq!(entries(&proxy).await, 0);
        }
    });
}

#[test]
fn a_beginning_outlasts_an_origin_that_fails() {
    play(async {
        let (_origin, proxy) =
            telling([part(0, 4, TEXT).header(MINUTE.0, MINUTE.1).header("etag", "\"v1\""), Answer::new(503)])
                .await;
        range(&proxy, "0-3").await;
        assert_eq!(whole(&proxy).await.status, 503);
        is(&range(&proxy, "0-3").await, 206, "HIT", "0123");
    });
}

#[test]
fn a_rest_that_does_not_fit_is_not_used_and_the_whole_is_asked_for() {
    play(async {
        let of =
            |first, end, tag: &str| part(first, end, TEXT).header(MINUTE.0, MINUTE.1).header("etag", tag);
        let short = Answer::new(206).header("content-range", "bytes 4-9/10").header("etag", "\"v1\"");
        for unfit in [
            of(4, 10, "\"v2\""),
            of(4, 10, "W/\"v1\""),
            part(4, 10, TEXT),
            of(4, 8, "\"v1\""),
            of(3, 10, "\"v1\""),
            short.text("45678"),
            Answer::new(416).header("content-range", "bytes */4"),
            Answer::new(304).header("etag", "\"v1\""),
        ] {
            let (origin, proxy) =
                telling([of(0, 4, "\"v1\""), unfit, Answer::json("new").header(MINUTE.0, MINUTE.1)]).await;
            range(&proxy, "0-3").await;
            is(&whole(&proxy).await, 200, "MISS", "new");
            let seen = origin.last();
            assert_eq!((seen.header("range"), seen.header("if-range")), (None, None));
            is(&whole(&proxy).await, 200, "HIT", "new");
            assert_eq!(origin.count(), 3);
        }
    });
}

#[test]
fn without_a_strong_tag_or_from_the_middle_a_part_is_of_no_use_for_the_whole() {
    play(async {
        let of = |first, tag: Option<&str>| {
            let answer = part(first, 4, TEXT).header(MINUTE.0, MINUTE.1);
            tag.map_or(answer.clone(), |tag| answer.header("etag", tag))
        };
        for answer in [of(0, None), of(0, Some("W/\"v1\"")), of(1, Some("\"v1\""))] {
            let (origin, proxy) = telling([answer, Answer::json(TEXT).header(MINUTE.0, MINUTE.1)]).await;
            range(&proxy, "0-3").await;
            is(&whole(&proxy).await, 200, "MISS", TEXT);
            let seen = origin.last();
            assert_eq!((seen.header("range"), seen.header("if-range")), (None, None));
        }
    });
}

#[test]
fn a_rest_that_is_cut_or_too_short_ends_for_nobody_as_a_whole() {
    play(async {
        let of = |first: usize, end: usize| {
            let range = format!("bytes {first}-{}/10", end - 1);
            Answer::new(206)
                .header("content-range", &range)
                .header(MINUTE.0, MINUTE.1)
                .header("etag", "\"v1\"")
        };
        let open = Gate::default();
        open.open();
        for rest in [
            of(4, 10).header("content-length", "6").text("456").part(Part::Cut),
            of(4, 10).text("456").part(Part::Gate(open.clone())),
            of(4, 10).text("456789a").part(Part::Gate(open)),
        ] {
            let (origin, proxy) = telling([of(0, 4).text("0123"), rest, of(0, 10).text(TEXT)]).await;
            range(&proxy, "0-3").await;
            assert!(!whole(&proxy).await.whole);
            is(&range(&proxy, "0-3").await, 206, "HIT", "0123");
            assert_eq!((origin.count(), entries(&proxy).await), (2, 1), "the beginning is still good");
        }
    });
}

#[test]
fn a_write_before_the_rest_is_asked_for_leaves_nothing_to_complete() {
    play(async {
        let (origin, proxy) = before(&[MINUTE, STRONG]).await;
        range(&proxy, "0-3").await;
        proxy.ask("DELETE", "/a").reply().await;
        is(&whole(&proxy).await, 200, "MISS", TEXT);
        assert_eq!(origin.last().header("range"), None);
    });
}

#[test]
fn a_write_while_the_rest_is_on_its_way_refuses_the_whole() {
    play(async {
        let (gate, origin, proxy) = second_held().await;
        range(&proxy, "0-3").await;
        let before = proxy.get("/a").under_way();
        origin.arrived(2).await;
        proxy.ask("PUT", "/a").reply().await;
        let after = whole(&proxy).await;
        is(&after, 200, "MISS", TEXT);
        assert_eq!(origin.last().header("range"), None, "the beginning is dead");
        gate.open();
        is(&before.await.unwrap(), 200, "MISS", TEXT);
        assert_eq!(discarded(&proxy, "invalidated").await, 1);
        is(&whole(&proxy).await, 200, "HIT", TEXT);
        assert_eq!(origin.count(), 4);
    });
}

// ---- parts beside wholes ----------------------------------------------------------------------------------------

#[test]
fn a_fresh_whole_answers_every_part_and_is_replaced_by_none() {
    play(async {
        let origin = Origin::start(|seen| ranged(seen, TEXT, &[MINUTE])).await;
        let proxy = Proxy::start(&origin, "defaults: { range: forward, client_no_cache: honor }").await;
        whole(&proxy).await;
        is(&range(&proxy, "2-4").await, 206, "HIT", "234");
        let insists = proxy.get("/a").header("range", "bytes=2-4").header("cache-control", "no-cache");
        is(&insists.reply().await, 206, "MISS", "234");
        assert_eq!(origin.last().header("range"), Some("bytes=2-4"));
        is(&whole(&proxy).await, 200, "HIT", TEXT);
        assert_eq!(origin.count(), 2);
    });
}

#[test]
fn a_stale_whole_that_the_origin_can_confirm_is_confirmed() {
    play(async {
        let origin = Origin::start(|seen| match seen.header("if-none-match") {
            Some("\"v1\"") => Answer::new(304).header(MINUTE.0, MINUTE.1),
            _ => ranged(seen, TEXT, &[MINUTE, STRONG]),
        })
        .await;
        let proxy = Proxy::start(&origin, FORWARD).await;
        whole(&proxy).await;
        proxy.pass_secs(60);
        is(&range(&proxy, "2-4").await, 206, "REVALIDATED", "234");
        assert_eq!(origin.last().header("range"), None);
        is(&whole(&proxy).await, 200, "HIT", TEXT);
        assert_eq!(origin.count(), 2);
    });
}

#[test]
fn a_part_beside_a_stale_whole_leaves_it_where_it_is() {
    play(async {
        let answers = [
            Answer::json(TEXT).header("cache-control", "max-age=60, stale-if-error=600"),
            part(2, 5, "abcdefghij").header("cache-control", "max-age=60"),
            Answer::new(503),
        ];
        let (origin, proxy) = telling(answers).await;
        whole(&proxy).await;
        proxy.pass_secs(60);
        let reply = range(&proxy, "2-4").await;
        is(&reply, 206, "MISS", "cde");
        assert_eq!(reply.cache_status(), "larder; fwd=stale; fwd-status=206; stored");
        is(&range(&proxy, "2-4").await, 206, "HIT", "cde");
        assert_eq!((origin.count(), entries(&proxy).await), (2, 2));
        // The origin fails: the stale whole stands in, for all of it and for a part.
        is(&whole(&proxy).await, 200, "STALE", TEXT);
        is(&range(&proxy, "0-1").await, 206, "STALE", "01");
    });
}

#[test]
fn a_whole_that_comes_later_takes_the_place_of_the_part() {
    play(async {
        let answers = [
            part(2, 5, TEXT).header("cache-control", "max-age=600"),
            Answer::json("abcdefghij").header(MINUTE.0, MINUTE.1),
            part(2, 5, "ABCDEFGHIJ"),
        ];
        let (_origin, proxy) = telling(answers).await;
        range(&proxy, "2-4").await;
        whole(&proxy).await;
        is(&range(&proxy, "2-4").await, 206, "HIT", "cde");
        assert_eq!(entries(&proxy).await, 1);
        proxy.pass_secs(60);
        is(&range(&proxy, "2-4").await, 206, "BYPASS", "CDE");
    });
}

#[test]
fn parts_take_room_as_any_entry_does() {
    play(async {
        let text = "x".repeat(100_000);
        let origin = Origin::start(move |seen| ranged(seen, &text, &[MINUTE])).await;
        let proxy = Proxy::start(&origin, FORWARD).await;
        range(&proxy, "0-49999").await;
        assert!((50_000..60_000).contains(&proxy.metric("larder_cache_bytes").await));
        proxy.ask("PUT", "/a").reply().await;
        assert_eq!(proxy.metric("larder_cache_bytes").await, 0);
    });
}

#[test]
fn by_default_no_range_reaches_the_origin_and_no_part_is_stored() {
    play(async {
        let origin = Origin::start(|seen| ranged(seen, TEXT, &[MINUTE, STRONG])).await;
        let proxy = Proxy::start(&origin, "").await;
        is(&range(&proxy, "2-4").await, 200, "MISS", TEXT);
        assert_eq!(origin.last().header("range"), None);
        is(&range(&proxy, "2-4").await, 206, "HIT", "234");
        assert_eq!(origin.count(), 1);
    });
}
