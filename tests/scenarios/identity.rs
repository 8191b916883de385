//! Who shares an entry with whom, and what of a request the origin hears when an entry is filled for all.

use crate::harness::client::{Ask, Reply, all, read};
use crate::harness::origin::{Answer, Origin, Part};
use crate::harness::proxy::Proxy;
use crate::harness::{Gate, play};

const AUTO: &str = "routes: { /a: 1h }";
const USER: &str = "routes: { /a: { ttl: 1h, scope: user } }";
const PUBLIC: &str = "routes: { /a: { ttl: 1h, scope: public } }";

fn with(ask: Ask, fields: &[(&str, &str)]) -> Ask {
    fields.iter().fold(ask, |ask, (name, value)| ask.header(name, value))
}

async fn get(proxy: &Proxy, fields: &[(&str, &str)]) -> Reply {
    with(proxy.get("/a"), fields).reply().await
}

#[test]
fn every_kind_of_credential_has_entries_of_its_own() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, AUTO).await;
        let callers: [&[(&str, &str)]; 12] = [
            &[],
            &[("authorization", "Bearer a")],
            &[("authorization", "Bearer b")],
            &[("proxy-authorization", "Basic a")],
            &[("x-api-key", "a")],
            &[("x-auth-token", "a")],
            &[("x-tenant-id", "a")],
            &[("x-my-org", "a")],
            &[("cookie", "session=a")],
            &[("cookie", "session=b")],
            &[("cookie", "anything=a")],
            &[("authorization", "Bearer a"), ("x-api-key", "a")],
        ];
        for (nth, caller) in callers.iter().enumerate() {
            let reply = get(&proxy, caller).await;
            assert_eq!((reply.cache(), reply.text()), ("MISS", (nth + 1).to_string().as_str()), "{caller:?}");
        }
        for (nth, caller) in callers.iter().enumerate() {
            let reply = get(&proxy, caller).await;
            assert_eq!((reply.cache(), reply.text()), ("HIT", (nth + 1).to_string().as_str()), "{caller:?}");
        }
    });
}

#[test]
fn an_entry_of_a_credential_is_fetched_with_that_credential() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, AUTO).await;
        get(&proxy, &[("authorization", "Bearer a"), ("cookie", "session=s")]).await;
        let seen = origin.last();
        assert_eq!(
            (seen.header("authorization"), seen.header("cookie")),
            (Some("Bearer a"), Some("session=s"))
        );
    });
}

#[test]
fn an_analytics_cookie_spoils_no_hit_and_is_not_sent_on_a_shared_fill() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, AUTO).await;
        get(&proxy, &[("cookie", "_ga=GA1.2.3; _gid=x")]).await;
        assert_eq!(origin.last().header("cookie"), None);
        assert_eq!(get(&proxy, &[("cookie", "_ga=other")]).await.cache(), "HIT");
        assert_eq!(get(&proxy, &[]).await.cache(), "HIT");
    });
}

#[test]
fn an_analytics_cookie_beside_a_session_does_not_count() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, AUTO).await;
        get(&proxy, &[("cookie", "_ga=1; session=s")]).await;
        assert_eq!(get(&proxy, &[("cookie", "session=s; _ga=2")]).await.cache(), "HIT");
        assert_eq!(get(&proxy, &[("cookie", "session=t; _ga=2")]).await.cache(), "MISS");
    });
}

#[test]
fn a_credential_that_connection_names_still_counts() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, AUTO).await;
        get(&proxy, &[]).await;
        let hidden = get(&proxy, &[("connection", "authorization"), ("authorization", "Bearer a")]).await;
        assert_ne!(hidden.cache(), "HIT");
        // What it fetched is not for everybody.
        assert_eq!(get(&proxy, &[]).await.text(), "1");
        assert_eq!(get(&proxy, &[("authorization", "Bearer b")]).await.text(), "3");
    });
}

#[test]
fn a_list_of_ones_own_replaces_the_built_in_one() {
    play(async {
        let origin = Origin::counting().await;
        let yaml = format!("identity: {{ credentials: 'Authorization cookie:sid' }}\n{AUTO}");
        let proxy = Proxy::start(&origin, &yaml).await;
        get(&proxy, &[]).await;
        assert_eq!(get(&proxy, &[("x-api-key", "k"), ("cookie", "theme=dark")]).await.cache(), "HIT");
        assert_eq!(get(&proxy, &[("cookie", "sid=1")]).await.cache(), "MISS");
        assert_eq!(get(&proxy, &[("authorization", "Bearer a")]).await.cache(), "MISS");
    });
}

#[test]
fn scope_user_keeps_one_entry_for_each_and_none_for_strangers() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, USER).await;
        let a = [("authorization", "Bearer a")];
        let b = [("authorization", "Bearer b")];
        assert_eq!(get(&proxy, &a).await.text(), "1");
        assert_eq!(get(&proxy, &b).await.text(), "2");
        assert_eq!((get(&proxy, &a).await.cache(), get(&proxy, &a).await.text()), ("HIT", "1"));
        for number in ["3", "4"] {
            let stranger = get(&proxy, &[]).await;
            assert_eq!(stranger.text(), number);
            assert_eq!(stranger.cache_status(), "larder; fwd=bypass; detail=no-credential");
        }
    });
}

#[test]
fn scope_public_is_one_entry_for_all_and_its_fill_carries_no_credential() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, PUBLIC).await;
        let fields = [("authorization", "Bearer a"), ("x-api-key", "k"), ("cookie", "session=s; _ga=1")];
        assert_eq!(get(&proxy, &fields).await.cache(), "MISS");
        let seen = origin.last();
        for name in ["authorization", "x-api-key", "cookie"] {
            assert_eq!(seen.header(name), None, "{name}");
        }
        assert_eq!(get(&proxy, &[("authorization", "Bearer b")]).await.cache(), "HIT");
        assert_eq!(get(&proxy, &[]).await.cache(), "HIT");
    });
}

#[test]
fn a_public_route_whose_origin_wants_to_know_who_asks_is_auto_from_then_on() {
    play(async {
        for (status, location) in [(401, None), (403, None), (302, Some("/login?next=/a"))] {
            let origin = Origin::start(move |seen| match (seen.header("authorization"), location) {
                (Some(who), _) => Answer::json(who),
                (None, Some(location)) => Answer::new(status).header("location", location),
                (None, None) => Answer::new(status),
            })
            .await;
            let proxy = Proxy::start(&origin, PUBLIC).await;
            for (who, cache) in [("Bearer a", "MISS"), ("Bearer b", "MISS"), ("Bearer a", "HIT")] {
                let reply = get(&proxy, &[("authorization", who)]).await;
                assert_eq!(
                    (reply.status.as_u16(), reply.text(), reply.cache()),
                    (200, who, cache),
                    "{status}"
                );
            }
            assert_eq!(get(&proxy, &[]).await.status, status);
            // One fill for all that was refused, one for each credential, one for the stranger.
            assert_eq!(origin.count(), 4);
        }
    });
}

#[test]
fn everyone_who_waited_for_the_refused_public_fill_asks_as_himself() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| match seen.header("authorization") {
            Some(who) => Answer::json(who),
            None => Answer::new(401).held(&held),
        })
        .await;
        let proxy = Proxy::start(&origin, PUBLIC).await;
        let callers = ["Bearer a", "Bearer b", "Bearer c"];
        let waiting = callers.map(|who| proxy.get("/a").header("authorization", who).under_way());
        origin.arrived(1).await;
        proxy.settled().await;
        gate.open();
        let replies = all(waiting.into()).await;
        assert_eq!(replies.iter().map(Reply::text).collect::<Vec<_>>(), callers);
    });
}

#[test]
fn a_demotion_closes_the_entries_that_all_shared() {
    play(async {
        let origin = Origin::start(|seen| match (seen.nth, seen.header("authorization")) {
            (0, _) => Answer::json("shared"),
            (_, Some(who)) => Answer::json(who),
            (_, None) => Answer::new(401),
        })
        .await;
        let proxy = Proxy::start(&origin, PUBLIC).await;
        get(&proxy, &[]).await;
        let b = [("authorization", "Bearer b")];
        assert_eq!(get(&proxy, &b).await.text(), "shared");
        proxy.pass_secs(3600);
        assert_eq!(get(&proxy, &b).await.text(), "Bearer b");
        assert_eq!(get(&proxy, &[]).await.status, 401);
    });
}

#[test]
fn strict_sends_standard_and_keyed_fields_and_nothing_else() {
    play(async {
        let origin = Origin::counting().await;
        let yaml = "routes: { /a: { ttl: 1h, strict: true, key: { headers: [X-Color] } } }";
        let proxy = Proxy::start(&origin, yaml).await;
        let fields = [
            ("accept", "application/json"),
            ("accept-language", "en"),
            ("x-color", "red"),
            ("x-whatever", "1"),
            ("user-agent", "test"),
            ("referer", "http://x.test/"),
            ("cookie", "_ga=1"),
        ];
        get(&proxy, &fields).await;
        let seen = origin.last();
        for name in ["accept", "accept-language", "x-color"] {
            assert!(seen.header(name).is_some(), "{name}");
        }
        for name in ["x-whatever", "user-agent", "referer", "cookie"] {
            assert_eq!(seen.header(name), None, "{name}");
        }
        assert_eq!(get(&proxy, &[("x-color", "red"), ("x-whatever", "2")]).await.cache(), "HIT");
        assert_eq!(get(&proxy, &[("x-color", "blue")]).await.cache(), "MISS");
    });
}

#[test]
fn strict_still_sends_the_credential_that_keys_the_entry() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 1h, strict: true } }").await;
        get(&proxy, &[("authorization", "Bearer a"), ("cookie", "_ga=1; session=s")]).await;
        let seen = origin.last();
        assert_eq!(
            (seen.header("authorization"), seen.header("cookie")),
            (Some("Bearer a"), Some("session=s"))
        );
    });
}

#[test]
fn a_declared_header_is_part_of_the_key_and_is_sent() {
    play(async {
        let origin = Origin::start(|seen| Answer::json(seen.header("x-tenant-id").unwrap_or("none"))).await;
        let proxy = Proxy::start(
            &origin,
            "routes: { /a: { ttl: 1h, scope: public, key: { headers: [X-Tenant-Id] } } }",
        )
        .await;
        for tenant in ["a", "b"] {
            let fields = [("x-tenant-id", tenant), ("authorization", "Bearer x")];
            let reply = get(&proxy, &fields).await;
            assert_eq!((reply.cache(), reply.text()), ("MISS", tenant));
            assert_eq!(get(&proxy, &[("x-tenant-id", tenant)]).await.cache(), "HIT");
        }
        assert_eq!(get(&proxy, &[]).await.text(), "none");
    });
}

#[test]
fn a_401_drops_the_entries_of_that_credential_and_of_no_other() {
    play(async {
        let origin = Origin::start(|seen| match seen.target.as_str() {
            "/out" => Answer::new(401),
            _ => Answer::json(seen.number()),
        })
        .await;
        let proxy = Proxy::start(&origin, "routes: { /a: 1h, /out: 1h }").await;
        let (a, b) = ([("authorization", "Bearer a")], [("authorization", "Bearer b")]);
        for who in [&a, &b] {
            get(&proxy, who).await;
            assert_eq!(get(&proxy, who).await.cache(), "HIT");
        }
        get(&proxy, &[]).await;
        assert_eq!(with(proxy.get("/out"), &a).reply().await.status, 401);
        assert_eq!(get(&proxy, &a).await.cache(), "MISS");
        assert_eq!(get(&proxy, &b).await.cache(), "HIT");
        assert_eq!(get(&proxy, &[]).await.cache(), "HIT");
    });
}

#[test]
fn a_401_to_a_write_or_to_what_is_not_cached_drops_them_too() {
    play(async {
        for (method, target) in [("POST", "/b"), ("GET", "/b")] {
            let origin = Origin::start(|seen| match seen.target.as_str() {
                "/b" => Answer::new(401),
                _ => Answer::json(seen.number()),
            })
            .await;
            let proxy = Proxy::start(&origin, "routes: { /a: 1h, /b: bypass }").await;
            let a = [("authorization", "Bearer a")];
            get(&proxy, &a).await;
            with(proxy.ask(method, target), &a).reply().await;
            assert_eq!(get(&proxy, &a).await.cache(), "MISS", "{method}");
        }
    });
}

#[test]
fn an_answer_that_sets_a_cookie_is_never_kept_on_our_word() {
    play(async {
        let origin =
            Origin::start(|seen| Answer::json(seen.number()).header("set-cookie", "session=s")).await;
        let proxy = Proxy::start(&origin, AUTO).await;
        for number in ["1", "2"] {
            let reply = get(&proxy, &[]).await;
            assert_eq!((reply.text(), reply.header("set-cookie")), (number, Some("session=s")));
            assert_eq!(reply.cache_status(), "larder; fwd=bypass; detail=set-cookie");
        }
    });
}

#[test]
fn those_who_wait_for_an_answer_that_sets_a_cookie_do_not_get_it() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| {
            Answer::json(seen.number()).header("set-cookie", &format!("session={}", seen.nth)).held(&held)
        })
        .await;
        let proxy = Proxy::start(&origin, AUTO).await;
        let waiting: Vec<_> = (0..4).map(|_| proxy.get("/a").under_way()).collect();
        origin.arrived(1).await;
        proxy.settled().await;
        gate.open();
        let replies = all(waiting).await;
        let mut cookies: Vec<_> = replies.iter().map(|reply| reply.header("set-cookie").unwrap()).collect();
        cookies.sort_unstable();
        assert_eq!(cookies, ["session=0", "session=1", "session=2", "session=3"]);
    });
}

#[test]
fn set_cookie_strip_keeps_an_explicitly_fresh_answer_without_the_cookie() {
    play(async {
        let fresh = Answer::json("1").header("set-cookie", "session=s").header("cache-control", "max-age=60");
        let origin = Origin::telling([fresh]).await;
        let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 1h, set_cookie: strip } }").await;
        get(&proxy, &[]).await;
        let hit = get(&proxy, &[]).await;
        assert_eq!((hit.cache(), hit.header("set-cookie")), ("HIT", None));
    });
}

#[test]
fn those_who_wait_under_set_cookie_strip_do_not_get_the_cookie_either() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |_| {
            let fresh =
                Answer::json("1").header("set-cookie", "session=s").header("cache-control", "max-age=60");
            fresh.held(&held)
        })
        .await;
        let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 1h, set_cookie: strip } }").await;
        let first = proxy.get("/a").under_way();
        origin.arrived(1).await;
        let other = proxy.get("/a").under_way();
        proxy.settled().await;
        gate.open();
        first.await.unwrap();
        assert_eq!(other.await.unwrap().header("set-cookie"), None, "one session is not for two");
    });
}

#[test]
fn who_reads_along_gets_no_field_that_is_not_for_him() {
    play(async {
        for (keys, word, kept) in [
            ("set_cookie: strip", "max-age=60", [false, true]),
            ("set_cookie: store", "max-age=60", [true, true]),
            ("set_cookie: store", "max-age=60, private=\"set-cookie\"", [false, true]),
            ("set_cookie: strip", "max-age=60, no-cache=\"x-who\"", [false, false]),
        ] {
            let gate = Gate::default();
            let half = gate.clone();
            let origin = Origin::start(move |_| {
                let fields =
                    [("set-cookie", "session=s"), ("x-who", "a"), ("cache-control", word), ("age", "3")];
                let answer = fields
                    .iter()
                    .fold(Answer::json("one"), |answer, (name, value)| answer.header(name, value));
                answer.part(Part::Gate(half.clone())).text(" two")
            })
            .await;
            let proxy = Proxy::start(&origin, &format!("routes: {{ /a: {{ ttl: 1h, {keys} }} }}")).await;
            let first = proxy.get("/a").head().await;
            let other = proxy.get("/a").head().await;
            gate.open();
            let has =
                |headers: &http::HeaderMap| ["set-cookie", "x-who"].map(|name| headers.contains_key(name));
            assert_eq!(has(first.headers()), [true, true], "the one who asked, under {keys}, {word}");
            assert_eq!(has(other.headers()), kept, "the one who reads along, under {keys}, {word}");
            assert_eq!(other.headers()["age"], "3");
            assert_eq!(read(first.into_body()).await, ("one two".into(), true));
            assert_eq!(read(other.into_body()).await, ("one two".into(), true));
            let hit = get(&proxy, &[]).await;
            assert_eq!((hit.cache(), has(&hit.headers)), ("HIT", kept), "a hit, under {keys}, {word}");
            assert_eq!(origin.count(), 1);
        }
    });
}

#[test]
fn private_answers_are_never_shared_or_kept() {
    play(async {
        let origin =
            Origin::start(|seen| Answer::json(seen.number()).header("cache-control", "private, max-age=60"))
                .await;
        let proxy = Proxy::start(&origin, AUTO).await;
        for number in ["1", "2"] {
            let reply = get(&proxy, &[]).await;
            assert_eq!((reply.text(), reply.cache_status()), (number, "larder; fwd=bypass; detail=private"));
        }
    });
}

#[test]
fn what_private_names_is_given_to_nobody_else() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |_| {
            let named = Answer::json("1")
                .header("cache-control", "private=\"x-who\", max-age=60")
                .header("x-who", "a");
            named.held(&held)
        })
        .await;
        let proxy = Proxy::start(&origin, AUTO).await;
        let first = proxy.get("/a").under_way();
        origin.arrived(1).await;
        let other = proxy.get("/a").under_way();
        proxy.settled().await;
        gate.open();
        first.await.unwrap();
        assert_eq!(other.await.unwrap().header("x-who"), None, "of who waited");
        let hit = get(&proxy, &[]).await;
        assert_eq!((hit.cache(), hit.header("x-who")), ("HIT", None));
    });
}

#[test]
fn without_a_route_an_authorized_answer_is_kept_only_if_the_origin_opens_it() {
    play(async {
        for (word, second) in
            [("max-age=60", "BYPASS"), ("public, max-age=60", "HIT"), ("s-maxage=60", "HIT")]
        {
            let origin = Origin::start(move |_| Answer::json("1").header("cache-control", word)).await;
            let proxy = Proxy::start(&origin, "routes: { /a: 1h }").await;
            let fetch = || proxy.get("/other").header("authorization", "Bearer a").reply();
            fetch().await;
            assert_eq!(fetch().await.cache(), second, "{word}");
        }
    });
}
