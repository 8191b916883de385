//! Several answers under one key: which request gets which, and how many are kept.

use crate::harness::client::{Reply, all};
use crate::harness::origin::{Answer, Origin, Seen};
use crate::harness::proxy::Proxy;
use crate::harness::{Gate, play};

const HOUR: &str = "routes: { /a: 1h }";

/// An origin that numbers its answers and says by what they vary.
async fn varying(vary: &'static str) -> Origin {
    Origin::start(move |seen| Answer::json(seen.number()).header("vary", vary)).await
}

async fn get(proxy: &Proxy, fields: &[(&str, &str)]) -> Reply {
    fields.iter().fold(proxy.get("/a"), |ask, (name, value)| ask.header(name, value)).reply().await
}

fn cors(seen: &Seen, allowed: Option<&str>) -> Answer {
    let answer = Answer::json(seen.number());
    match allowed {
        Some(allowed) => answer.header("access-control-allow-origin", allowed),
        None => answer,
    }
}

#[test]
fn each_value_of_the_field_that_vary_names_has_an_answer_of_its_own() {
    play(async {
        let origin = varying("X-Color").await;
        let proxy = Proxy::start(&origin, HOUR).await;
        assert_eq!(get(&proxy, &[("x-color", "red")]).await.cache_status(), "larder; fwd=uri-miss; stored");
        assert_eq!(get(&proxy, &[("x-color", "blue")]).await.cache_status(), "larder; fwd=vary-miss; stored");
        assert_eq!(get(&proxy, &[]).await.cache_status(), "larder; fwd=vary-miss; stored");
        assert_eq!(get(&proxy, &[("x-color", "red")]).await.text(), "1");
        assert_eq!(get(&proxy, &[("x-color", "blue")]).await.text(), "2");
        assert_eq!(get(&proxy, &[]).await.text(), "3");
        assert_eq!(origin.count(), 3);
    });
}

#[test]
fn a_field_that_vary_does_not_name_makes_no_variant() {
    play(async {
        let origin = varying("X-Color").await;
        let proxy = Proxy::start(&origin, HOUR).await;
        get(&proxy, &[("x-color", "red"), ("accept", "a/b")]).await;
        assert_eq!(get(&proxy, &[("x-color", "red"), ("accept", "c/d")]).await.cache(), "HIT");
    });
}

#[test]
fn vary_is_a_matter_of_its_key() {
    play(async {
        let origin = Origin::start(|seen| match seen.target.as_str() {
            "/a?x=1" => Answer::json(seen.number()).header("vary", "x-color"),
            _ => Answer::json(seen.number()),
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        for target in ["/a?x=1", "/a?x=2"] {
            proxy.get(target).header("x-color", "red").reply().await;
        }
        let blue =
            async |target| proxy.get(target).header("x-color", "blue").reply().await.cache().to_owned();
        assert_eq!((blue("/a?x=1").await.as_str(), blue("/a?x=2").await.as_str()), ("MISS", "HIT"));
    });
}

#[test]
fn a_variant_that_is_fetched_anew_takes_its_own_place_and_no_others() {
    play(async {
        let origin = varying("X-Color").await;
        let proxy = Proxy::start(&origin, HOUR).await;
        get(&proxy, &[("x-color", "red")]).await;
        proxy.pass_secs(1800);
        get(&proxy, &[("x-color", "blue")]).await;
        proxy.pass_secs(1800);
        assert_eq!(get(&proxy, &[("x-color", "red")]).await.text(), "3");
        assert_eq!(get(&proxy, &[("x-color", "blue")]).await.text(), "2");
        assert_eq!(get(&proxy, &[("x-color", "red")]).await.cache(), "HIT");
    });
}

#[test]
fn vary_star_is_never_kept() {
    play(async {
        for vary in ["*", "Accept, *"] {
            let origin = varying(vary).await;
            let proxy = Proxy::start(&origin, HOUR).await;
            for number in ["1", "2"] {
                let reply = get(&proxy, &[]).await;
                assert_eq!(
                    (reply.text(), reply.cache_status()),
                    (number, "larder; fwd=bypass; detail=vary-star")
                );
            }
        }
    });
}

#[test]
fn the_seventeenth_variant_pushes_the_oldest_out() {
    play(async {
        let origin = varying("X-Color").await;
        let proxy = Proxy::start(&origin, HOUR).await;
        for color in 1..=17 {
            assert_eq!(get(&proxy, &[("x-color", &color.to_string())]).await.cache(), "MISS");
        }
        for color in 2..=17 {
            let reply = get(&proxy, &[("x-color", &color.to_string())]).await;
            assert_eq!((reply.cache(), reply.text()), ("HIT", color.to_string().as_str()));
        }
        assert_eq!(get(&proxy, &[("x-color", "1")]).await.cache(), "MISS");
        assert_eq!(proxy.metric("larder_cache_entries").await, 16);
    });
}

#[test]
fn sixteen_made_up_origins_do_not_push_the_plain_answer_out_of_use() {
    play(async {
        let origin = Origin::start(|seen| cors(seen, seen.header("origin")).header("vary", "origin")).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        for site in 0..40 {
            get(&proxy, &[("origin", &format!("https://{site}.test"))]).await;
        }
        get(&proxy, &[]).await;
        assert_eq!(get(&proxy, &[]).await.cache(), "HIT");
    });
}

#[test]
fn a_request_with_origin_and_one_without_never_share_whatever_vary_says() {
    play(async {
        let origin = Origin::start(|seen| cors(seen, seen.header("origin").map(|_| "*"))).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        assert_eq!(get(&proxy, &[]).await.header("access-control-allow-origin"), None);
        let browser = get(&proxy, &[("origin", "https://a.test")]).await;
        assert_eq!((browser.cache(), browser.header("access-control-allow-origin")), ("MISS", Some("*")));
        let plain = get(&proxy, &[]).await;
        assert_eq!((plain.cache(), plain.header("access-control-allow-origin")), ("HIT", None));
    });
}

#[test]
fn an_answer_that_is_open_to_every_origin_serves_them_all() {
    play(async {
        for vary in ["origin", "accept"] {
            let origin = Origin::start(move |seen| {
                cors(seen, seen.header("origin").map(|_| "*")).header("vary", vary)
            })
            .await;
            let proxy = Proxy::start(&origin, HOUR).await;
            get(&proxy, &[("origin", "https://a.test")]).await;
            assert_eq!(get(&proxy, &[("origin", "https://b.test")]).await.cache(), "HIT", "{vary}");
        }
    });
}

#[test]
fn an_answer_that_is_open_to_one_origin_serves_that_one_even_if_vary_forgets_it() {
    play(async {
        let origin = Origin::start(|seen| cors(seen, seen.header("origin"))).await;
        let proxy = Proxy::start(&origin, HOUR).await;
        for site in ["https://a.test", "https://b.test", "https://a.test"] {
            assert_eq!(
                get(&proxy, &[("origin", site)]).await.header("access-control-allow-origin"),
                Some(site)
            );
        }
        assert_eq!(origin.count(), 2);
    });
}

#[test]
fn an_uncoded_answer_to_a_large_offer_serves_every_smaller_one() {
    play(async {
        // Starlette names Accept-Encoding although a small answer is never compressed.
        let origin = varying("Accept-Encoding").await;
        let proxy = Proxy::start(&origin, HOUR).await;
        get(&proxy, &[("accept-encoding", "gzip, deflate, br, zstd")]).await;
        for smaller in ["gzip", "br, gzip", "identity", "gzip;q=0", "unheard-of"] {
            assert_eq!(get(&proxy, &[("accept-encoding", smaller)]).await.cache(), "HIT", "{smaller}");
        }
        assert_eq!(get(&proxy, &[]).await.cache(), "HIT");
    });
}

#[test]
fn a_coded_answer_is_given_only_to_those_who_accept_it() {
    play(async {
        let origin = Origin::start(|seen| {
            let answer = Answer::json(seen.number()).header("vary", "accept-encoding");
            let coded = seen.header("accept-encoding").is_some_and(|accepted| accepted.contains("gzip"));
            if coded { answer.header("content-encoding", "gzip") } else { answer }
        })
        .await;
        let proxy = Proxy::start(&origin, HOUR).await;
        assert_eq!(get(&proxy, &[("accept-encoding", "gzip, br")]).await.text(), "1");
        assert_eq!(get(&proxy, &[("accept-encoding", "gzip")]).await.text(), "1");
        let plain = get(&proxy, &[]).await;
        assert_eq!((plain.text(), plain.header("content-encoding")), ("2", None));
        let refuses = get(&proxy, &[("accept-encoding", "gzip;q=0")]).await;
        assert_eq!((refuses.header("content-encoding"), origin.count()), (None, 2));
    });
}

#[test]
fn vary_cookie_compares_credentials_only() {
    play(async {
        let origin = varying("Cookie").await;
        let proxy = Proxy::start(&origin, HOUR).await;
        get(&proxy, &[("cookie", "_ga=1")]).await;
        assert_eq!(get(&proxy, &[("cookie", "_ga=2")]).await.cache(), "HIT");
        assert_eq!(get(&proxy, &[("cookie", "session=s")]).await.cache(), "MISS");
    });
}

#[test]
fn vary_on_what_was_not_sent_to_the_origin_never_gives_one_persons_answer_to_another() {
    play(async {
        let origin = Origin::start(|seen| {
            Answer::json(seen.header("authorization").unwrap_or("nobody")).header("vary", "authorization")
        })
        .await;
        let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 1h, scope: public } }").await;
        // All of them are answered for nobody in particular: that is what was asked for.
        for who in ["Bearer a", "Bearer b"] {
            assert_eq!(get(&proxy, &[("authorization", who)]).await.text(), "nobody");
        }
    });
}

#[test]
fn vary_on_a_field_that_larder_writes_itself_leaves_the_answer_usable() {
    play(async {
        for vary in ["X-Forwarded-Proto", "Host", "X-Forwarded-Host", "Accept-Encoding, X-Forwarded-Proto"] {
            let origin = varying(vary).await;
            let proxy = Proxy::start(&origin, HOUR).await;
            for cache in ["MISS", "HIT", "HIT"] {
                let reply = get(&proxy, &[]).await;
                assert_eq!((reply.status.as_u16(), reply.cache(), reply.text()), (200, cache, "1"), "{vary}");
            }
        }
    });
}

#[test]
fn vary_on_a_field_that_strict_does_not_send_leaves_the_answer_usable() {
    play(async {
        let origin = varying("User-Agent").await;
        let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 1h, strict: true } }").await;
        for agent in ["one", "other", "one"] {
            let reply = get(&proxy, &[("user-agent", agent)]).await;
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "1"), "{agent}");
        }
    });
}

#[test]
fn vary_on_a_field_that_differs_every_time_costs_one_origin_request_each() {
    play(async {
        let origin = varying("X-Request-Id").await;
        let proxy = Proxy::start(&origin, HOUR).await;
        for _ in 0..3 {
            assert_eq!(get(&proxy, &[]).await.status, 200);
        }
        assert!(origin.count() <= 3, "{} for three", origin.count());
    });
}

/// An origin that has German and English, answers in what is preferred, and says so.
async fn bilingual() -> Origin {
    Origin::start(|seen| {
        let asked = seen.header("accept-language").unwrap_or("nothing");
        let language = if asked.starts_with("de") { "de" } else { "en" };
        Answer::json(format!("{language}: {asked}")).header("vary", "Accept-Language")
    })
    .await
}

#[test]
fn the_origin_is_asked_for_the_one_listed_language_that_serves_best() {
    play(async {
        let origin = bilingual().await;
        let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 1h, languages: en de } }").await;
        let ask = async |said: &str| {
            let reply = get(&proxy, &[("accept-language", said)]).await;
            (reply.text().to_owned(), reply.cache().to_owned())
        };
        let (hit, miss) =
            (|text: &str| (text.into(), "HIT".into()), |text: &str| (text.into(), "MISS".into()));
        assert_eq!(ask("de-AT,de;q=0.9,en;q=0.8").await, miss("de: de"));
        assert_eq!(ask("DE").await, hit("de: de"));
        assert_eq!(ask("fr, de;q=0.1").await, hit("de: de"));
        assert_eq!(ask("en-US,en;q=0.9").await, miss("en: en"));
        assert_eq!(ask("de, en").await, hit("en: en"));
        assert_eq!(ask("*").await, hit("en: en"));
        assert_eq!(ask("fr, it").await, miss("en: nothing"));
        assert_eq!(ask("").await, hit("en: nothing"));
        assert_eq!((get(&proxy, &[]).await.cache(), origin.count()), ("HIT", 3));
    });
}

#[test]
fn what_is_not_cached_is_asked_for_in_the_languages_that_the_client_names() {
    play(async {
        let origin = bilingual().await;
        let yaml = "defaults: { languages: en de }\nroutes: { /a: { ttl: 1h }, /b: bypass }";
        let proxy = Proxy::start(&origin, yaml).await;
        for (method, target) in [("GET", "/b"), ("POST", "/a")] {
            let reply = proxy.ask(method, target).header("accept-language", "de-AT, fr").reply().await;
            assert_eq!(reply.text(), "de: de-AT, fr");
        }
    });
}

#[test]
fn who_waits_for_another_language_gets_his_own() {
    play(async {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |seen| {
            let asked = seen.header("accept-language").unwrap_or("nothing").to_owned();
            Answer::json(asked).header("vary", "Accept-Language").held(&held)
        })
        .await;
        let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 1h, languages: en de } }").await;
        let asks = ["de", "en-GB", "de-CH, en;q=0.5", "fr"];
        let waiting = asks.map(|said| proxy.get("/a").header("accept-language", said).under_way());
        origin.arrived(1).await;
        proxy.settled().await;
        gate.open();
        let replies = all(waiting.into()).await;
        assert_eq!(replies.iter().map(Reply::text).collect::<Vec<_>>(), ["de", "en", "de", "nothing"]);
        assert_eq!(origin.count(), 3);
    });
}

#[test]
fn the_order_of_equal_languages_counts_unless_it_is_said_not_to() {
    play(async {
        for (languages, turned, weighed) in [("in-order", "MISS", "HIT"), ("any-order", "HIT", "MISS")] {
            let origin = bilingual().await;
            let yaml = format!("defaults: {{ languages: {languages} }}\nroutes: {{ /a: 1h }}");
            let proxy = Proxy::start(&origin, &yaml).await;
            assert_eq!(get(&proxy, &[("accept-language", "en, de")]).await.text(), "en: en, de");
            assert_eq!(get(&proxy, &[("accept-language", "de, en")]).await.cache(), turned, "{languages}");
            let german = get(&proxy, &[("accept-language", "de, en;q=0.5")]).await;
            assert_eq!((german.cache(), &german.text()[..2]), (weighed, "de"), "{languages}");
            assert_eq!(get(&proxy, &[("accept-language", "DE ,en;q=0.3")]).await.cache(), "HIT");
        }
    });
}

#[test]
fn where_the_origin_alone_decides_vary_cookie_compares_all_of_them() {
    play(async {
        let origin = Origin::start(|seen| {
            let answer = Answer::json(seen.header("cookie").unwrap_or("none")).header("vary", "Cookie");
            answer.header("cache-control", "max-age=60")
        })
        .await;
        let proxy = Proxy::start(&origin, "defaults: { scope: origin }").await;
        for cookie in ["_ga=1; theme=dark", "_ga=2; theme=dark", "theme=dark"] {
            for cache in ["MISS", "HIT"] {
                let reply = get(&proxy, &[("cookie", cookie)]).await;
                assert_eq!((reply.text(), reply.cache()), (cookie, cache));
            }
        }
        assert_eq!(get(&proxy, &[("cookie", "theme=dark; _ga=1")]).await.text(), "_ga=1; theme=dark");
    });
}
