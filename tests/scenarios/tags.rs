//! What every stored entry carries: which invalidations reach it, and which do not; what is not stored because nobody could
//! tell.

use std::io::Write;

use base64::Engine as _;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use larder::route::reach::Reach;
use larder::route::tag::Tag;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::harness::client::{Reply, next, read};
use crate::harness::origin::{Answer, Origin, Part};
use crate::harness::proxy::Proxy;
use crate::harness::{Gate, play};

const LIST: &str =
    "routes: { /list: { ttl: 1h, body_tags: ['project:$.items[*].id', 'owner:$..owner.id'] } }";
const PROJECTS: &str = r#"{"items":[{"id":1,"owner":{"id":"ann"}},{"id":2,"owner":null}],"total":2}"#;
const UNTOLD: &str = "larder; fwd=bypass; detail=tags";

async fn cache(proxy: &Proxy, target: &str) -> String {
    proxy.get(target).reply().await.cache().to_owned()
}

/// Whether `target` is no longer stored once `word` was outdated.
async fn is_outdated_by(proxy: &Proxy, target: &str, word: &str) -> bool {
    cache(proxy, target).await;
    assert_eq!(cache(proxy, target).await, "HIT", "{target}");
    proxy.outdate(word).await;
    cache(proxy, target).await == "MISS"
}

fn gzipped(body: &[u8]) -> Bytes {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    out.write_all(body).unwrap();
    out.finish().unwrap().into()
}

fn coded(coding: &str, body: &[u8]) -> Bytes {
    match coding {
        "gzip" => gzipped(body),
        "deflate" => {
            let mut out = ZlibEncoder::new(Vec::new(), Compression::default());
            out.write_all(body).unwrap();
            out.finish().unwrap().into()
        }
        "zstd" => compress_to_vec(body, CompressionLevel::Fastest).into(),
        // Made of PROJECTS elsewhere: there is no encoder here.
        "br" => base64::engine::general_purpose::STANDARD.decode(PROJECTS_IN_BROTLI).unwrap().into(),
        _ => Bytes::copy_from_slice(body),
    }
}

const PROJECTS_IN_BROTLI: &str =
    "G0gAOJwHti3s/GYgLMbO7rHsCttLFp2+FomR2doibmR9dXIH1n+nSxDFAaa5wVmQSEliJbTeK0bnmeIMlqfyUAv92WOkZQ==";

// ---- of the body -------------------------------------------------------------------------------------------------

#[test]
fn a_list_is_outdated_with_each_entity_that_it_shows_and_with_no_other() {
    play(async {
        for coding in ["identity", "gzip", "deflate", "br", "zstd"] {
            let body = coded(coding, PROJECTS.as_bytes());
            let answer = Answer::new(200).header("content-encoding", coding).part(Part::Bytes(body.clone()));
            let origin = Origin::telling([answer]).await;
            let proxy = Proxy::start(&origin, LIST).await;
            for shown in ["project:1", "project:2", "owner:ann", "project:*"] {
                assert!(is_outdated_by(&proxy, "/list", shown).await, "{coding} {shown}");
            }
            for other in ["project:3", "project", "total:2", "owner:*x", "1"] {
                assert!(!is_outdated_by(&proxy, "/list", other).await, "{coding} {other}");
            }
            let reply = proxy.get("/list").reply().await;
            assert_eq!((reply.cache(), &reply.body), ("HIT", &body), "clients get it as it came");
        }
    });
}

#[test]
fn a_body_that_is_no_json_embeds_nothing_and_is_stored() {
    play(async {
        for body in ["plain", "<p>1</p>", ""] {
            let origin = Origin::telling([Answer::json(body)]).await;
            let proxy = Proxy::start(&origin, LIST).await;
            assert_eq!(
                (cache(&proxy, "/list").await, cache(&proxy, "/list").await),
                ("MISS".into(), "HIT".into())
            );
        }
    });
}

#[test]
fn the_type_of_a_body_does_not_matter() {
    play(async {
        let answer = Answer::new(200).header("content-type", "text/plain").text(PROJECTS);
        let origin = Origin::telling([answer]).await;
        let proxy = Proxy::start(&origin, LIST).await;
        assert!(is_outdated_by(&proxy, "/list", "project:1").await);
    });
}

#[test]
fn a_body_whose_coding_is_not_known_is_not_stored() {
    play(async {
        let answer = Answer::new(200).header("content-encoding", "dcb").text(PROJECTS);
        let origin = Origin::telling([answer]).await;
        let proxy =
            Proxy::start(&origin, "routes: { /list: { ttl: 1h, body_tags: '$..id' }, /plain: 1h }").await;
        for _ in 0..2 {
            let reply = proxy.get("/list").reply().await;
            assert_eq!((reply.cache_status(), reply.text()), (UNTOLD, PROJECTS));
        }
        assert_eq!(proxy.metric(r#"larder_bypass_total{route="/list",reason="tags"}"#).await, 2);
        cache(&proxy, "/plain").await;
        assert_eq!(
            cache(&proxy, "/plain").await,
            "HIT",
            "where nothing is looked for in it, it does not matter"
        );
    });
}

#[test]
fn a_body_that_cannot_be_read_to_its_end_is_not_stored() {
    play(async {
        let many: Vec<usize> = (0..1001).collect();
        let many = format!(
            r#"{{"items":[{}]}}"#,
            many.iter().map(|id| format!(r#"{{"id":{id}}}"#)).collect::<Vec<_>>().join(",")
        );
        let cut = gzipped(PROJECTS.as_bytes());
        let bomb = gzipped(&[b' '].repeat(9 << 20));
        let bodies = [
            ("identity", Bytes::from(many)),
            ("identity", Bytes::from_static(b"{\"items\":[{\"id\":NaN}]}")),
            ("identity", Bytes::from_static(b"{\"items\":[{\"id\":1}]}\n{\"items\":[]}")),
            ("identity", Bytes::from_static(b"{\"items\":[{\"id\":\"a\\nb\"}]}")),
            ("identity", Bytes::from_static(b"{\"items\":[{\"id\":123456789012345678901}]}")),
            ("gzip", cut.slice(..cut.len() - 3)),
            ("gzip", Bytes::from_static(PROJECTS.as_bytes())),
            ("gzip", bomb),
        ];
        for (coding, body) in bodies {
            let answer = Answer::new(200).header("content-encoding", coding).part(Part::Bytes(body.clone()));
            let origin = Origin::telling([answer]).await;
            let proxy = Proxy::start(&origin, LIST).await;
            for _ in 0..2 {
                let reply = proxy.get("/list").reply().await;
                assert_eq!((reply.cache(), reply.whole), ("MISS", true));
                assert_eq!(reply.body, body);
            }
            assert_eq!(origin.count(), 2);
            assert_eq!(proxy.metric(r#"larder_fills_discarded_total{reason="tags"}"#).await, 2);
        }
    });
}

#[test]
fn whoever_reads_along_gets_all_of_a_body_that_is_not_stored_and_whoever_comes_later_asks_for_himself() {
    play(async {
        let gate = Gate::default();
        let answer = Answer::new(200).text("{\"items\":").part(Part::Gate(gate.clone())).text("[");
        let origin = Origin::telling([answer]).await;
        let proxy = Proxy::start(&origin, LIST).await;
        let mut first = proxy.get("/list").head().await;
        assert_eq!(next(first.body_mut()).await, "{\"items\":");
        let along = proxy.get("/list").head().await;
        gate.open();
        let (along, first) = (read(along.into_body()).await, read(first.into_body()).await);
        assert_eq!((along, first), ((Bytes::from("{\"items\":["), true), (Bytes::from("["), true)));
        assert_eq!(origin.count(), 1);
        assert_eq!(cache(&proxy, "/list").await, "MISS");
        assert_eq!(origin.count(), 2);
    });
}

#[test]
fn what_a_query_or_a_declared_post_is_answered_is_searched_alike() {
    play(async {
        let yaml = "routes: { /list: { ttl: 1h, methods: [GET, QUERY, POST], key: { body: json }, body_tags: 'project:$.items[*].id' } }";
        let origin = Origin::telling([Answer::json(PROJECTS)]).await;
        let proxy = Proxy::start(&origin, yaml).await;
        for method in ["QUERY", "POST"] {
            let ask =
                || proxy.ask(method, "/list").header("content-type", "application/json").body("{}").reply();
            ask().await;
            assert_eq!(ask().await.cache(), "HIT", "{method}");
            assert_eq!(proxy.outdate("project:2").await, 1, "{method}");
            assert_eq!(ask().await.cache(), "MISS", "{method}");
            proxy.outdate("project:2").await;
        }
    });
}

#[test]
fn a_state_is_read_from_a_coded_body_too() {
    play(async {
        let answer = |state: &str| {
            let body = gzipped(format!(r#"{{"status":"{state}"}}"#).as_bytes());
            Answer::new(200).header("content-encoding", "gzip").part(Part::Bytes(body))
        };
        let origin = Origin::telling([answer("running"), answer("done")]).await;
        let proxy = Proxy::start(&origin, "routes: { /job: { ttl: 1h, preset: job-status } }").await;
        let reply = proxy.get("/job").reply().await;
        assert_eq!(reply.cache_status(), "larder; fwd=bypass; detail=state-not-listed");
        cache(&proxy, "/job").await;
        assert_eq!(cache(&proxy, "/job").await, "HIT");
    });
}

// ---- of the request ----------------------------------------------------------------------------------------------

#[test]
fn the_templates_of_a_route_are_filled_with_the_path_and_with_what_else_is_keyed() {
    play(async {
        let yaml = "routes:
  /api/{org}/items/{rest:path}:
    ttl: 1h
    tags: 'items org:{org} item:{rest} q:{query.q} lang:{header.x-lang}'
    key: { query: [q], headers: [X-Lang] }";
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, yaml).await;
        let get = || async {
            let ask = proxy.get("/api/%61cme/items/a%20b/c?q=x%2By&q=z&other=1");
            ask.header("x-lang", "en").reply().await
        };
        for word in ["items", "org:acme", "q:x+y", "q:z", "lang:en", "/api/acme/{any:path}"] {
            get().await;
            assert_eq!(get().await.cache(), "HIT");
            assert_eq!(proxy.outdate(word).await, 1, "{word}");
        }
        get().await;
        let named = Reach::of([Tag::named("item:a b/c")]);
        assert_eq!(proxy.outdate_all(named).await, 1);
        get().await;
        assert_eq!(proxy.outdate("org:other").await + proxy.outdate("q:x").await, 0);
        assert_eq!(get().await.cache(), "HIT");
    });
}

#[test]
fn an_entry_is_outdated_with_its_route() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, "routes: { '/a/{id}': 1h, /b: 1h }").await;
        for target in ["/a/1", "/a/2", "/b"] {
            cache(&proxy, target).await;
        }
        assert_eq!(proxy.outdate_all(Reach::of([Tag::route("/a/{id}")])).await, 2);
        assert_eq!((cache(&proxy, "/a/1").await, cache(&proxy, "/b").await), ("MISS".into(), "HIT".into()));
    });
}

#[test]
fn what_cannot_be_told_of_a_request_is_not_stored() {
    play(async {
        let yaml = "routes:
  /a: { ttl: 1h, tags: 'page:{query.page}' }
  /b/{rest:path}: { ttl: 1h, tags: 'file:{rest}' }
  /c: { ttl: 1h, body_tags: '{header.x-org}:$.id', key: { headers: [X-Org] } }";
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, yaml).await;
        for (untold, told) in [("/a", "/a?page=1"), ("/b/", "/b/x")] {
            for _ in 0..2 {
                assert_eq!(proxy.get(untold).reply().await.cache_status(), UNTOLD, "{untold}");
            }
            cache(&proxy, told).await;
            assert_eq!(cache(&proxy, told).await, "HIT", "{told}");
        }
        assert_eq!(proxy.get("/c").reply().await.cache_status(), UNTOLD);
        let long = "x".repeat(300);
        assert_eq!(proxy.get(&format!("/b/{long}")).reply().await.cache_status(), UNTOLD);
    });
}

#[test]
fn an_entry_of_one_identity_carries_its_user_and_what_all_share_carries_none() {
    play(async {
        let yaml = "identity: { user: 'header:X-User-Id' }
routes:
  /me: { ttl: 1h, scope: user, tags: 'me:{user} me' }
  /all: { ttl: 1h, scope: public, tags: 'all:{user} all' }";
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, yaml).await;
        let get = |target: &'static str, user: &'static str| {
            let ask = proxy.get(target).header("x-user-id", user);
            async move { ask.reply().await.cache().to_owned() }
        };
        for tag in ["user:7", "me:7"] {
            for user in ["7", "8"] {
                get("/me", user).await;
                assert_eq!(get("/me", user).await, "HIT");
            }
            assert_eq!(proxy.outdate(tag).await, 1, "{tag}");
            assert_eq!(
                (get("/me", "8").await, get("/me", "7").await),
                ("HIT".into(), "MISS".into()),
                "{tag}"
            );
        }
        get("/all", "7").await;
        assert_eq!(proxy.outdate("user:7").await, 1, "only what is his");
        assert_eq!(proxy.outdate("all:*").await, 0);
        assert_eq!(get("/all", "8").await, "HIT");
        assert_eq!(proxy.outdate("all").await, 1);
    });
}

// ---- of the answer's fields --------------------------------------------------------------------------------------

fn named() -> Answer {
    Answer::json("1")
        .header("surrogate-key", "a b")
        .header("surrogate-key", "c")
        .header("cache-tag", "d, e f")
        .header("cache-groups", "\"g\", \"h\";x")
}

#[test]
fn an_origin_names_tags_in_the_fields_of_its_answer() {
    play(async {
        let origin = Origin::telling([named()]).await;
        let proxy = Proxy::start(&origin, "routes: { /a: 1h }").await;
        for tag in ["a", "b", "c", "d", "e f", "g", "h"] {
            cache(&proxy, "/a").await;
            assert_eq!(cache(&proxy, "/a").await, "HIT");
            assert_eq!(proxy.outdate_all(Reach::of([Tag::named(tag)])).await, 1, "{tag}");
        }
        cache(&proxy, "/a").await;
        assert_eq!(proxy.outdate("e").await + proxy.outdate("x").await, 0);
    });
}

#[test]
fn more_or_longer_tags_than_are_allowed_are_not_stored() {
    play(async {
        let many = |count: usize| (0..count).map(|n| format!("t{n}")).collect::<Vec<_>>().join(",");
        let list = |from: usize| {
            Answer::json(format!(
                "[{}]",
                (from..from + 600).map(|n| n.to_string()).collect::<Vec<_>>().join(",")
            ))
        };
        let answers: Vec<(&str, Answer)> = vec![
            (UNTOLD, Answer::json("1").header("cache-tag", &many(1001))),
            (UNTOLD, Answer::json("1").header("surrogate-key", &"x".repeat(257))),
            (UNTOLD, Answer::json("1").header("surrogate-key", "/a")),
            ("larder; fwd=uri-miss; stored", Answer::json("1").header("cache-tag", &many(1000))),
            ("larder; fwd=uri-miss; stored", list(0).header("cache-tag", &many(400))),
        ];
        for (status, answer) in answers {
            let origin = Origin::telling([answer]).await;
            let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 1h, body_tags: 'n:$[*]' } }").await;
            assert_eq!(proxy.get("/a").reply().await.cache_status(), status);
            let again = if status == UNTOLD { "BYPASS" } else { "HIT" };
            assert_eq!(cache(&proxy, "/a").await, again);
        }
        let origin = Origin::telling([list(0).header("cache-tag", &many(401))]).await;
        let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 1h, body_tags: 'n:$[*]' } }").await;
        cache(&proxy, "/a").await;
        assert_eq!(cache(&proxy, "/a").await, "MISS", "together they are too many");
    });
}

#[test]
fn clients_see_fields_for_caches_only_where_the_route_forwards_them() {
    play(async {
        let origin = Origin::telling([named().header("etag", "\"v\"")]).await;
        let yaml = "routes: { /shown: { ttl: 1h, forward_tags: true }, /hidden: 1h, /shown/pass: bypass }
defaults: { forward_tags: false }";
        let proxy = Proxy::start(&origin, yaml).await;
        let fields = |reply: &Reply| {
            let all = |name: &str| reply.headers.get_all(name).iter().count();
            (all("surrogate-key"), all("cache-tag"), all("cache-groups"))
        };
        for (method, condition) in
            [("GET", "\"x\""), ("GET", "\"x\""), ("HEAD", "\"x\""), ("GET", "\"v\""), ("POST", "\"x\"")]
        {
            let ask = |target| proxy.ask(method, target).header("if-none-match", condition).reply();
            assert_eq!(fields(&ask("/shown").await), (2, 1, 1), "{method} {condition}");
            // RFC 9875: groups are for the client's own cache too.
            assert_eq!(fields(&ask("/hidden").await), (0, 0, 1), "{method} {condition}");
        }
        assert_eq!(fields(&proxy.get("/shown/pass").reply().await), (0, 0, 1));
    });
}

#[test]
fn a_confirmed_entry_keeps_its_tags_and_gets_those_that_the_304_names() {
    play(async {
        let yaml = "routes: { /a: { ttl: 10s, tags: route, body_tags: 'n:$.id' } }";
        for (outdated, remains) in [
            ("first", false),
            ("second", false),
            ("n:1", false),
            ("route", false),
            ("/a", false),
            ("other", true),
        ] {
            let origin = Origin::telling([
                Answer::json("{\"id\":1}").header("etag", "\"v\"").header("surrogate-key", "first"),
                Answer::new(304).header("etag", "\"v\"").header("surrogate-key", "second"),
                Answer::new(304).header("etag", "\"v\""),
                Answer::json("{\"id\":2}"),
            ])
            .await;
            let proxy = Proxy::start(&origin, yaml).await;
            cache(&proxy, "/a").await;
            for _ in 0..2 {
                proxy.pass_secs(11);
                let reply = proxy.get("/a").reply().await;
                assert_eq!((reply.cache(), reply.header("surrogate-key")), ("REVALIDATED", None));
            }
            proxy.outdate(outdated).await;
            assert_eq!(cache(&proxy, "/a").await == "HIT", remains, "{outdated}");
        }
    });
}

#[test]
fn a_304_with_tags_that_cannot_be_told_is_not_stored() {
    play(async {
        let origin = Origin::telling([
            Answer::json("1").header("etag", "\"v\""),
            Answer::new(304).header("etag", "\"v\"").header("surrogate-key", "/no-tag"),
            Answer::json("2"),
        ])
        .await;
        let proxy = Proxy::start(&origin, "routes: { /a: 10s }").await;
        cache(&proxy, "/a").await;
        proxy.pass_secs(11);
        let reply = proxy.get("/a").reply().await;
        assert_eq!((reply.cache_status(), reply.text()), (UNTOLD, "1"));
        assert_eq!(proxy.get("/a").reply().await.text(), "2");
    });
}

#[test]
fn what_a_head_confirms_gets_the_tags_that_it_names() {
    play(async {
        let origin = Origin::start(|seen| {
            let answer = Answer::new(200).header("etag", "\"v\"").header("content-length", "1");
            match seen.method.as_str() {
                "HEAD" => answer.header("surrogate-key", "second"),
                _ => answer.header("surrogate-key", "first").text("1"),
            }
        })
        .await;
        for tag in ["first", "second"] {
            let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 10s, head: forward } }").await;
            cache(&proxy, "/a").await;
            proxy.pass_secs(11);
            assert_eq!(proxy.ask("HEAD", "/a").reply().await.cache(), "REVALIDATED");
            assert_eq!(cache(&proxy, "/a").await, "HIT");
            assert_eq!(proxy.outdate(tag).await, 1, "{tag}");
        }
    });
}

#[test]
fn a_part_carries_the_tags_of_its_own_answer_and_is_not_stored_where_the_body_names_them() {
    play(async {
        let yaml = "routes:
  /a: { ttl: 1h, range: forward }
  /b: { ttl: 1h, range: forward, body_tags: 'n:$.id' }";
        let part = |tag: &str, lies: &str, bytes: &str| {
            let answer = Answer::new(206).header("content-range", lies).header("etag", "\"v\"");
            answer.header("cache-control", "max-age=60").header("surrogate-key", tag).text(bytes)
        };
        let answer = move |range: &str| match range {
            "bytes=0-3" => part("first", "bytes 0-3/10", "0123"),
            _ => part("second", "bytes 4-7/10", "4567"),
        };
        let origin = Origin::start(move |seen| answer(seen.header("range").unwrap_or_default())).await;
        for tag in ["first", "second"] {
            let proxy = Proxy::start(&origin, yaml).await;
            for range in ["bytes=0-3", "bytes=4-7", "bytes=2-5"] {
                proxy.get("/a").header("range", range).reply().await;
            }
            let across = proxy.get("/a").header("range", "bytes=2-5").reply().await;
            assert_eq!((across.cache(), across.text()), ("HIT", "2345"));
            assert_eq!(proxy.outdate(tag).await, 1, "{tag}: both lie in one");
        }
        let proxy = Proxy::start(&origin, yaml).await;
        let reply = proxy.get("/b").header("range", "bytes=0-3").reply().await;
        assert_eq!((reply.status.as_u16(), reply.cache_status()), (206, UNTOLD));
    });
}

#[test]
fn what_a_post_is_answered_for_its_target_carries_the_tags_that_it_names() {
    play(async {
        let yaml = "routes: { /a: { ttl: 1h, tags: route }, /b: { ttl: 1h, body_tags: '$.id' } }";
        let origin = Origin::start(|seen| {
            let answer = Answer::json("{\"id\":1}").header("content-location", &seen.target);
            answer.header("cache-control", "max-age=60").header("surrogate-key", "named")
        })
        .await;
        for tag in ["named", "route", "/a"] {
            let proxy = Proxy::start(&origin, yaml).await;
            assert_eq!(proxy.ask("POST", "/a").reply().await.cache_status(), "larder; fwd=method; stored");
            assert_eq!(cache(&proxy, "/a").await, "HIT");
            assert_eq!(proxy.outdate(tag).await, 1, "{tag}");
        }
        let proxy = Proxy::start(&origin, yaml).await;
        assert_eq!(proxy.ask("POST", "/b").reply().await.cache_status(), "larder; fwd=method");
    });
}

// ---- while it is fetched -----------------------------------------------------------------------------------------

#[test]
fn what_a_body_turns_out_to_show_was_outdated_while_it_came() {
    play(async {
        for (word, stored) in [("project:1", false), ("project:*", false), ("project:9", true)] {
            let gate = Gate::default();
            let answer =
                Answer::new(200).text(&PROJECTS[..20]).part(Part::Gate(gate.clone())).text(&PROJECTS[20..]);
            let origin = Origin::telling([answer, Answer::json(PROJECTS)]).await;
            let proxy = Proxy::start(&origin, LIST).await;
            let mut first = proxy.get("/list").head().await;
            next(first.body_mut()).await;
            proxy.outdate(word).await;
            gate.open();
            assert!(read(first.into_body()).await.1);
            assert_eq!(cache(&proxy, "/list").await, if stored { "HIT" } else { "MISS" }, "{word}");
        }
    });
}

#[test]
fn nobody_joins_a_fetch_whose_body_may_show_what_was_outdated_since() {
    play(async {
        let yaml =
            "routes: { /list: { ttl: 1h, body_tags: 'project:$..id' }, /plain: { ttl: 1h, tags: plain } }";
        for (target, word, asked) in [
            ("/list", "anything", 2),
            ("/list", "/elsewhere", 1),
            ("/plain", "anything", 1),
            ("/plain", "plain", 2),
            ("/plain", "named", 2),
        ] {
            let gate = Gate::default();
            let answer = Answer::new(200).header("surrogate-key", "named");
            let answer = answer.text("[").part(Part::Gate(gate.clone())).text("1]");
            let origin = Origin::telling([answer]).await;
            let proxy = Proxy::start(&origin, yaml).await;
            let mut first = proxy.get(target).head().await;
            next(first.body_mut()).await;
            proxy.outdate(word).await;
            let second = proxy.get(target).head().await;
            assert_eq!(origin.count(), asked, "{target} {word}");
            gate.open();
            assert!(read(first.into_body()).await.1 && read(second.into_body()).await.1);
        }
    });
}
