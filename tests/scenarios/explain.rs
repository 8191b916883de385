//! What is explained of a request is what then becomes of it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::flow::explain::asked::{Asked, Lines, NoRequest};
use larder::flow::explain::wire::{Becomes, By, Explanation, Of, Told, When};
use larder::flow::switch::Covers;

use crate::harness::client::Reply;
use crate::harness::origin::{Answer, Origin, Seen};
use crate::harness::proxy::Proxy;
use crate::harness::{Gate, play};

/// Requests of one random run.
const REQUESTS: usize = 1000;

const RULES: &str = "\
hosts: api.example.com www.example.com
defaults: { stale_if_error: 5s, ignore_query: 'utm_*' }
routes:
  /auto/{id}: { ttl: 3s, stale_while_revalidate: 30s, tags: 'auto:{id} autos' }
  /public/{id}: { ttl: 10s, scope: public }
  /closing/{id}: { ttl: 10s, scope: public }
  /closed/{id}: { ttl: 10s, scope: public, head: forward }
  /moved/{id}: { ttl: 10s, scope: public, range: forward }
  /user/{id}: { ttl: 10s, scope: user }
  /origin/{id}: { ttl: 10s, scope: origin }
  /honor/{id}: { ttl: 10s, client_no_cache: honor, stale_while_revalidate: 3s }
  /cookie/{id}: 10s
  /silent/{id}: 10s
  /vary/{id}: { ttl: 10s, key: { headers: [X-Theme] } }
  /small/{id}: { ttl: 10s, entry: 100B }
  /job/{id}: { ttl: 10s, store_if: { path: $.status, in: [done] } }
  /part/{id}: { ttl: 10s, range: forward }
  /head/{id}: { ttl: 10s, head: forward }
  /search: { ttl: 10s, methods: [GET, POST, QUERY], key: { body: json } }
  /off/{rest:path}: bypass
writes:
  PUT /auto/{id}: { invalidate: 'auto:{id}' }
  PUT /honor/{id}: { invalidate: '/auto/{id} /vary/{id}', soft: true }
  POST /auto/{id}/done: { invalidate: 'autos /vary/{body.id}' }
";

/// What the origin did first for the request.
pub(crate) type Did = Arc<Mutex<Option<When>>>;

/// An origin of which every answer is known to be kept or not, and why, by its path.
fn answer(seen: &Seen, did: &Did) -> Answer {
    let (answer, when) = say(seen);
    // What cannot be kept whole is asked for again as it was asked for; the first answer has decided that.
    did.lock().unwrap().get_or_insert(when);
    answer
}

fn say(seen: &Seen) -> (Answer, When) {
    const ETAG: &str = "\"v1\"";
    let json = |text: &str| Answer::json(text).header("etag", ETAG);
    let kept = |answer| (answer, When::Kept);
    let path = seen.target.split('?').next().unwrap();
    let (area, id) = path[1..].split_once('/').unwrap_or((&path[1..], "0"));
    if !matches!(seen.method.as_str(), "GET" | "HEAD" | "QUERY") && area != "search" {
        return (json("{}"), When::Answered);
    }
    if let Some(answer) = closed(seen, area) {
        return (answer, When::Demoted);
    }
    // Every now and then it fails.
    if seen.nth % 17 == 3 {
        return (Answer::new(503).text("no"), When::Failed);
    }
    let asks_no_store = seen.header("cache-control").is_some_and(|asked| asked.contains("no-store"));
    let no_store = area == "honor" && asks_no_store;
    if seen.header("if-none-match").is_some_and(|known| known.contains(ETAG)) {
        // What one person's request confirmed is not everybody's.
        let own = no_store || (area == "origin" && seen.header("authorization").is_some());
        let when = if own { When::NotKept } else { When::Confirmed };
        return (Answer::new(304).header("etag", ETAG), when);
    }
    if seen.method == "HEAD" {
        return (json("").header("content-length", "10"), When::Confirmed);
    }
    match area {
        "cookie" => (json("1").header("set-cookie", "a=1"), When::NotKept),
        "silent" => (json("1").header("cache-control", "no-store"), When::NotKept),
        "small" if id == "1" => (json(&"x".repeat(200)), When::NotKept),
        "job" if id == "1" => (json(r#"{"status":"running"}"#), When::NotKept),
        "job" => kept(json(r#"{"status":"done"}"#)),
        "vary" => kept(json("1").header("vary", "accept-language, origin")),
        "honor" if no_store => (json("1"), When::NotKept),
        "honor" => kept(json("0123456789").header("cache-control", "max-age=8")),
        "origin" => {
            let authorized = seen.header("authorization").is_some();
            (json("1"), if authorized { When::NotKept } else { When::Kept })
        }
        "part" => part(seen, ETAG),
        "free" => {
            let authorized = seen.header("authorization").is_some();
            let when = if authorized { When::NotKept } else { When::Kept };
            (json("1").header("cache-control", "max-age=9"), when)
        }
        "loose" => (json("1"), When::NotKept),
        _ => kept(json("0123456789")),
    }
}

/// An origin that wants to know who asks, one area after the other.
fn closed(seen: &Seen, area: &str) -> Option<Answer> {
    let (since, answer) = match area {
        "closing" => (250, Answer::new(401)),
        "closed" => (0, Answer::new(403)),
        "moved" => (100, Answer::new(302).header("location", "/login?next=/moved")),
        _ => return None,
    };
    let knows = seen.header("authorization").or(seen.header("cookie")).is_some();
    (seen.nth >= since && !knows).then_some(answer)
}

fn part(seen: &Seen, etag: &str) -> (Answer, When) {
    let body = "0123456789";
    let whole = || (Answer::json(body).header("etag", etag).header("cache-control", "max-age=9"), When::Kept);
    let Some(range) = seen.header("range").and_then(|range| range.strip_prefix("bytes=")) else {
        return whole();
    };
    let Some((from, to)) = range.split_once('-') else { return whole() };
    let Ok(from) = from.parse::<usize>() else { return whole() };
    let to = to.parse::<usize>().unwrap_or(9).min(9);
    if from > to {
        return whole();
    }
    let answer = Answer::new(206).header("etag", etag).header("cache-control", "max-age=9");
    (answer.header("content-range", &format!("bytes {from}-{to}/10")).text(&body[from..=to]), When::Kept)
}

/// Numbers that follow from a seed (SplitMix64).
pub(crate) struct Dice(pub(crate) Cell<u64>);

impl Dice {
    pub(crate) fn roll(&self, sides: u64) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut z = self.0.get();
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    pub(crate) fn one<'a>(&self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.roll(of.len() as u64)).unwrap()]
    }

    /// One in `sides`.
    pub(crate) fn now_and_then(&self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    fn request(&self) -> Asked {
        const AREAS: &[&str] = &[
            "auto", "auto", "auto", "public", "user", "origin", "honor", "honor", "cookie", "silent", "vary",
            "vary", "small", "job", "part", "part", "head", "search", "search", "off", "free", "loose",
            "closing", "closing", "closed", "moved",
        ];
        let area = self.one(AREAS);
        let method = match (area, self.roll(20)) {
            ("search", 0..=9) => "POST",
            ("search", 10..=14) => "QUERY",
            (_, 0 | 1) => "HEAD",
            (_, 2) => "PUT",
            (_, 3) => "POST",
            (_, 4) => "QUERY",
            (_, 5) if self.now_and_then(3) => "OPTIONS",
            (_, 6) if self.now_and_then(5) => "PURGE",
            _ => "GET",
        };
        let id = self.one(&["1", "2"]);
        let mut target = match area {
            "search" => "/search".to_owned(),
            "off" => "/off/a/b".to_owned(),
            area => format!("/{area}/{id}"),
        };
        if self.now_and_then(12) {
            target = target.replacen('/', "//", 1);
        }
        target += self.one(&["", "", "", "?b=2&a=1", "?a=1&b=2", "?utm_source=x", "?a=%zz"]);
        let mut headers = BTreeMap::new();
        let mut field = |sides: u64, name: &str, values: &[&str]| {
            if self.now_and_then(sides) {
                headers.insert(name.to_owned(), Lines::One(self.one(values).to_owned()));
            }
        };
        field(4, "authorization", &["Bearer a", "Bearer b"]);
        field(6, "cookie", &["session=a", "_ga=1", "_ga=2; session=a", "session"]);
        field(6, "range", &["bytes=0-3", "bytes=4-", "bytes=2-7", "bytes=20-", "lines=1-2"]);
        field(20, "if-range", &["\"v1\"", "\"v0\""]);
        field(7, "if-none-match", &["\"v1\"", "\"v0\"", "*"]);
        field(8, "origin", &["https://a.example", "https://b.example"]);
        field(6, "accept-encoding", &["gzip", "identity", "br, gzip"]);
        field(6, "accept-language", &["de", "en"]);
        field(5, "x-theme", &["dark", "light"]);
        field(
            4,
            "cache-control",
            &[
                "no-cache",
                "max-age=0",
                "max-age=3",
                "only-if-cached",
                "no-store",
                "max-stale=5",
                "min-fresh=4",
            ],
        );
        field(5, "host", &["api.example.com", "www.example.com"]);
        field(40, "host", &["stranger.example", "a b"]);
        let mut body = String::new();
        if matches!(method, "POST" | "QUERY" | "PUT") || self.now_and_then(25) {
            body = self.one(&["{\"q\":1}", "{ \"q\": 1 }", "{\"q\":2}", "{"]).to_owned();
            let kind = self.one(&["application/json", "application/json", "application/json", "text/plain"]);
            headers.insert("content-type".to_owned(), Lines::One(kind.to_owned()));
        }
        Asked { method: method.to_owned(), target, headers, body }
    }
}

pub(crate) async fn sent(proxy: &Proxy, asked: &Asked) -> Reply {
    let mut ask = proxy.ask(&asked.method, &asked.target).body(asked.body.clone());
    for (name, lines) in &asked.headers {
        let Lines::One(line) = lines else { panic!("one line each") };
        ask = ask.header(name, line);
    }
    if !asked.headers.contains_key("host") {
        ask = ask.header("host", "api.example.com");
    }
    ask.reply().await
}

/// Whether an answer says what was foreseen; `…` stands for one word.
pub(crate) fn agrees(told: &Told, reply: &Reply) -> bool {
    let cache = told.x_cache.as_deref().unwrap_or("none") == reply.cache();
    let status = told.cache_status.as_deref().unwrap_or("none");
    let mut rest = Some(reply.cache_status());
    for (nth, part) in status.split('…').enumerate() {
        if nth > 0 {
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
            rest = rest.map(|rest| rest.trim_start_matches(is_word));
        }
        rest = rest.and_then(|rest| rest.strip_prefix(part));
    }
    let said = rest == Some("");
    cache && said && told.status.is_none_or(|status| status == reply.status.as_u16())
}

/// What is foreseen for what the origin did; an error, if nothing is.
pub(crate) fn foreseen(explanation: &Explanation, did: Option<When>) -> Result<Vec<&Told>, &'static str> {
    let outcome = &explanation.outcome;
    if outcome.decided_by == By::Cache {
        return Ok(vec![&outcome.told]);
    }
    let did = did.ok_or("the origin was not asked")?;
    let of = |wanted: When| {
        let likely = outcome.when.iter().map(|when| (*when, &outcome.told));
        let all = likely.chain(outcome.or.iter().map(|or| (or.when, &or.told)));
        let found: Vec<&Told> = all.filter(|(when, _)| *when == wanted).map(|(_, told)| told).collect();
        (!found.is_empty()).then_some(found)
    };
    let found = match did {
        // A failure that nothing stands in for is an answer that is not kept, and so is a refusal where nobody is public.
        When::Failed | When::Demoted => of(did).or_else(|| of(When::NotKept)),
        // No answer at all is a failure where something stands in.
        When::NoAnswer => of(When::Failed).or_else(|| of(When::NoAnswer)),
        _ => of(did),
    };
    found.or_else(|| of(When::Answered)).ok_or("what the origin did is not foreseen")
}

#[test]
fn what_is_explained_is_what_then_happens() {
    let seed = std::env::var("LARDER_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| RandomState::new().hash_one(()));
    println!("LARDER_SEED={seed}");
    play(async move {
        let did = Did::default();
        let doing = Arc::clone(&did);
        let origin = Origin::start(move |seen| answer(seen, &doing)).await;
        let proxy = Proxy::start(&origin, RULES).await;
        let dice = Dice(Cell::new(seed));
        let (mut told, mut met) = (BTreeMap::new(), BTreeMap::new());
        let mut lately: Vec<Asked> = Vec::new();
        for nth in 0..REQUESTS {
            // Who has asked once asks again.
            let again = usize::try_from(dice.roll(12)).unwrap();
            let asked = lately.get(again).cloned().unwrap_or_else(|| dice.request());
            lately.insert(0, asked.clone());
            lately.truncate(8);
            if dice.now_and_then(8) {
                purge(&proxy, &dice).await;
            }
            if dice.now_and_then(20) {
                switch_off(&proxy, &dice).await;
            }
            let explanation = proxy.explain(&asked);
            *did.lock().unwrap() = None;
            let reply = sent(&proxy, &asked).await;
            let did = *did.lock().unwrap();
            let expected =
                foreseen(&explanation, did).unwrap_or_else(|why| panic!("{why}: {did:?}, {explanation:#?}"));
            assert!(
                expected.iter().any(|told| agrees(told, &reply)),
                "LARDER_SEED={seed}, request {nth}: {asked:#?}\n{explanation:#?}\nthe origin did {did:?}\nexpected {expected:?}\ngot {} {:?}",
                reply.status,
                reply.headers,
            );
            *told.entry(reply.cache().to_owned()).or_insert(0) += 1;
            for word in states(&explanation, did) {
                *met.entry(word).or_insert(0) += 1;
            }
            quiet(&proxy, &asked).await;
            proxy.pass(Duration::from_millis(dice.roll(4) * dice.roll(4) * 400));
        }
        for cache in ["HIT", "MISS", "STALE", "REVALIDATED", "BYPASS"] {
            assert!(told.get(cache).is_some_and(|count| *count >= 3), "LARDER_SEED={seed}: {told:?}");
        }
        println!("{told:?} {met:?}");
        for state in ["demoting", "demoted", "switched off", "known not to be kept", "softened"] {
            assert!(met.contains_key(state), "LARDER_SEED={seed}: {met:?}");
        }
    });
}

/// Which of the rarer things an explanation had to reckon with.
fn states(explanation: &Explanation, did: Option<When>) -> Vec<&'static str> {
    let outcome = &explanation.outcome;
    let likely = outcome.told.cache_status.as_deref().unwrap_or_default();
    let all = [
        (did == Some(When::Demoted) && outcome.or.iter().any(|or| or.when == When::Demoted), "demoting"),
        (explanation.route.as_ref().is_some_and(|route| route.demoted.is_some()), "demoted"),
        (explanation.because.as_deref() == Some("disabled"), "switched off"),
        (
            explanation.last_refused.is_some() && likely.contains("fwd=bypass; detail="),
            "known not to be kept",
        ),
        (explanation.stored.as_ref().is_some_and(|stored| stored.softened.is_some()), "softened"),
    ];
    all.into_iter().filter(|(is_so, _)| *is_so).map(|(_, state)| state).collect()
}

/// Switches a route off for some seconds.
async fn switch_off(proxy: &Proxy, dice: &Dice) {
    let routes = proxy.flow.parts().rules.table.routes().len() as u64;
    // The last one is what no route matches.
    let route = Covers::Route(usize::try_from(dice.roll(routes - 1)).unwrap());
    proxy.flow.disable(route, Duration::from_secs(5 + dice.roll(10)), "the test".to_owned()).await;
}

/// Throws something out, or makes it stale.
async fn purge(proxy: &Proxy, dice: &Dice) {
    let word = dice.one(&[
        "autos",
        "auto:1",
        "/vary/{id}",
        "/part/1",
        "/honor/{id}",
        "/public/{id}",
        "/head/{id}",
        "/search",
    ]);
    if dice.now_and_then(2) {
        proxy.soften(word, None).await
    } else {
        proxy.outdate(word).await
    };
}

/// Waits until nobody fetches what was asked for.
pub(crate) async fn quiet(proxy: &Proxy, asked: &Asked) {
    for _ in 0..3 {
        let ask = proxy.get("/settled").header("host", "api.example.com");
        assert_eq!(ask.header("cache-control", "only-if-cached").reply().await.status, 504);
    }
    for _ in 0..2000 {
        if !proxy.explain(asked).in_flight {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{asked:?} is fetched for ever");
}

fn asked(method: &str, target: &str) -> Asked {
    Asked { method: method.to_owned(), target: target.to_owned(), ..Asked::default() }
}

fn with(asked: Asked, name: &str, value: &str) -> Asked {
    let headers = [(name.to_owned(), Lines::One(value.to_owned()))];
    Asked { headers: asked.headers.into_iter().chain(headers).collect(), ..asked }
}

#[test]
fn explaining_has_no_effect() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, "routes: { /a: { ttl: 1s, stale_while_revalidate: 1m } }").await;
        proxy.get("/a").reply().await;
        proxy.pass_secs(2);
        let counted = || async {
            let metrics = proxy.admin("/metrics").await;
            let lines = metrics.text().lines().filter(|line| line.starts_with("larder_")).map(str::to_owned);
            lines.filter(|line| !line.contains("_seconds") && !line.contains("_process_")).collect::<Vec<_>>()
        };
        let before = counted().await;
        for method in ["GET", "PUT", "QUERY", "HEAD", "OPTIONS"] {
            for target in ["/a", "/b"] {
                proxy.explain(&asked(method, target));
            }
        }
        let first = proxy.explain(&asked("GET", "/a"));
        assert_eq!(first.outcome.told.x_cache.as_deref(), Some("STALE"), "and nobody claims its refresh");
        assert_eq!((origin.count(), counted().await), (1, before));
        assert_eq!(proxy.get("/a").reply().await.cache(), "STALE");
        origin.arrived(2).await;
    });
}

#[test]
fn a_hit_is_told_with_its_life_and_what_would_drop_it() {
    play(async {
        let origin = Origin::counting().await;
        let rules = "\
routes:
  /projects/{id}: { ttl: 1m, stale_while_revalidate: 30s, tags: 'project:{id}' }
writes:
  PUT /projects/{id}: { invalidate: 'project:{id}' }
  POST /reports: { invalidate: reports }
  DELETE /clients/{id}: { invalidate: 'client:{id}' }
dependencies:
  client:{id}: 'project:*'
events:
  project.updated: 'project:{id}'
";
        let proxy = Proxy::start(&origin, rules).await;
        proxy.get("/projects/42").reply().await;
        proxy.pass_secs(12);
        let told = proxy.explain(&asked("GET", "/projects/42?"));
        assert_eq!(told.outcome.told.cache_status.as_deref(), Some("larder; hit; ttl=48"));
        assert_eq!((told.outcome.decided_by, told.outcome.or.len()), (By::Cache, 0));
        let stored = told.stored.unwrap();
        assert_eq!((stored.age, stored.ttl, stored.stale_while_revalidate), (12, 48, 30));
        assert_eq!(told.route.unwrap().captures["id"], "42");
        let by = |tag: &str| told.dropped_by.iter().find(|dropped| dropped.tag == tag).unwrap().by.clone();
        assert_eq!(
            by("project:42"),
            ["PUT /projects/{id}", "DELETE /clients/{id} (by dependencies)", "event project.updated"]
        );
        let path = told.tags.unwrap().tags.into_iter().find(|tag| tag.ends_with("/projects/42")).unwrap();
        assert_eq!(by(&path), ["any write to this path"]);
    });
}

#[test]
fn why_the_last_answer_was_not_kept_is_remembered_until_one_is() {
    play(async {
        let cookie = Answer::json("1").header("set-cookie", "a=1");
        let origin = Origin::telling([cookie, Answer::json("2")]).await;
        let proxy = Proxy::start(&origin, "routes: { /a: 1m }").await;
        assert!(proxy.explain(&asked("GET", "/a")).last_refused.is_none());
        proxy.get("/a").reply().await;
        proxy.pass_secs(90);
        let told = proxy.explain(&asked("GET", "/a"));
        let refused = told.last_refused.unwrap();
        assert_eq!((refused.why.as_str(), refused.ago), ("set-cookie", 90));
        assert_eq!(told.outcome.told.cache_status.as_deref(), Some("larder; fwd=bypass; detail=set-cookie"));
        assert_eq!(told.outcome.when, Some(When::NotKept));
        proxy.get("/a").reply().await;
        assert!(proxy.explain(&asked("GET", "/a")).last_refused.is_none());
    });
}

#[test]
fn a_fill_that_a_write_overtook_is_told_as_invalidated() {
    play(async {
        let gate = Gate::default();
        let held = Answer::json("1").held(&gate);
        let origin = Origin::telling([held, Answer::json("written"), Answer::json("2")]).await;
        let proxy = Proxy::start(&origin, "routes: { /a: 1m }").await;
        let reading = proxy.get("/a").under_way();
        origin.arrived(1).await;
        let told = proxy.explain(&asked("GET", "/a"));
        assert!(told.in_flight);
        let company = told.outcome.told.cache_status.as_deref();
        assert_eq!(company, Some("larder; fwd=uri-miss; stored; collapsed"), "it would wait for that");
        proxy.ask("PUT", "/a").reply().await;
        let told = proxy.explain(&asked("GET", "/a"));
        assert_eq!(told.outcome.told.cache_status.as_deref(), Some("larder; fwd=uri-miss; stored"));
        gate.open();
        reading.await.unwrap();
        quiet(&proxy, &asked("GET", "/a")).await;
        let refused = proxy.explain(&asked("GET", "/a")).last_refused.unwrap();
        assert_eq!(refused.why, "invalidated");
    });
}

#[test]
fn another_variant_is_a_miss_that_names_what_it_varies_by() {
    play(async {
        let origin = Origin::start(|_| Answer::json("1").header("vary", "Accept-Language, X-Theme")).await;
        let proxy = Proxy::start(&origin, "routes: { /a: 1m }").await;
        proxy.get("/a").header("accept-language", "de").reply().await;
        let told = proxy.explain(&with(asked("GET", "/a"), "accept-language", "en"));
        assert_eq!(told.outcome.told.cache_status.as_deref(), Some("larder; fwd=vary-miss; stored"));
        let variants = told.variants.unwrap();
        assert_eq!(
            (variants.count, variants.vary_by),
            (1, vec!["accept-language".into(), "origin".into(), "x-theme".into()])
        );
    });
}

#[test]
fn a_public_route_is_told_with_what_becomes_of_it_if_its_origin_asks_who_it_is() {
    play(async {
        let origin = Origin::start(|seen| match seen.header("authorization") {
            Some(_) => Answer::json("1"),
            None => Answer::new(403),
        })
        .await;
        let proxy = Proxy::start(&origin, "routes: { '/a/{id}': { ttl: 1m, scope: public }, /b: 1m }").await;
        let anna = || with(asked("GET", "/a/1"), "authorization", "Bearer anna");
        let if_asked = |explanation: &Explanation| -> Vec<String> {
            let asked = explanation.outcome.or.iter().filter(|or| or.when == When::Demoted);
            asked.map(|or| or.told.cache_status.clone().unwrap()).collect()
        };
        let told = proxy.explain(&anna());
        assert_eq!(if_asked(&told), ["larder; fwd=uri-miss; stored", "larder; fwd=bypass; detail=…"]);
        assert_eq!(told.entries.unwrap().of, Of::Everybody);
        assert_eq!(if_asked(&proxy.explain(&asked("GET", "/a/1"))), ["larder; fwd=bypass; detail=…"]);
        assert!(if_asked(&proxy.explain(&asked("GET", "/b"))).is_empty(), "nothing is public there");
        let reply = proxy.get("/a/1").header("authorization", "Bearer anna").reply().await;
        assert_eq!(reply.cache_status(), "larder; fwd=uri-miss; stored");
        proxy.pass_secs(9);
        let told = proxy.explain(&anna());
        let demoted = told.route.as_ref().and_then(|route| route.demoted).unwrap();
        assert_eq!((demoted.ago, demoted.status), (9, 403));
        let entries = told.entries.clone().unwrap();
        assert_eq!((entries.of, entries.credentials), (Of::Credential, vec!["authorization".to_owned()]));
        assert!(told.outcome.decided_by == By::Cache && told.key.unwrap().credential, "a hit of her own");
        let nobody = proxy.explain(&asked("GET", "/a/1"));
        assert!(if_asked(&nobody).is_empty(), "it is demoted once");
        assert_eq!(nobody.entries.unwrap().why, "the request carries no credential");
        let routes = proxy.admin("/v1/routes").await;
        assert!(routes.text().contains(r#""demoted":{"ago":9,"status":403}"#), "{}", routes.text());
    });
}

#[test]
fn credentials_are_named_and_never_shown() {
    play(async {
        let origin = Origin::counting().await;
        let rules =
            "routes: { /a: { ttl: 1m, key: { headers: [X-Tenant-Id, X-Theme] } }, /b: { scope: user } }";
        let proxy = Proxy::start(&origin, rules).await;
        let mut person = asked("GET", "/a?utm=1");
        for (name, value) in [
            ("authorization", "Bearer hunter2"),
            ("cookie", "session=hunter2; _ga=7"),
            ("x-tenant-id", "hunter2"),
            ("x-theme", "dark"),
        ] {
            person = with(person, name, value);
        }
        proxy.ask("GET", "/a?utm=1").header("authorization", "Bearer hunter2").reply().await;
        let told = proxy.explain(&person);
        let entries = told.entries.clone().unwrap();
        assert_eq!(entries.of, Of::Credential);
        assert_eq!(entries.credentials, ["authorization", "cookie:session", "x-tenant-id"]);
        let key = told.key.clone().unwrap();
        assert_eq!((key.query.as_str(), key.credential), ("utm=1", true));
        assert_eq!(key.headers["x-theme"], ["dark"]);
        let json = serde_json::to_string(&told).unwrap();
        assert!(!json.contains("hunter2") && json.contains("(a credential)"), "{json}");
        let nobody = proxy.explain(&asked("GET", "/b"));
        assert_eq!((nobody.becomes, nobody.because.as_deref()), (Becomes::Pass, Some("no-credential")));
        assert_eq!(nobody.entries.unwrap().of, Of::Nobody);
    });
}

#[test]
fn a_write_is_told_with_what_it_would_drop_and_drops_nothing() {
    play(async {
        let origin = Origin::counting().await;
        let rules = "\
routes:
  /projects/{id}: { ttl: 1m, tags: 'project:{id}' }
  /stats: { ttl: 1m, tags: stats }
  /other: 1m
writes:
  PUT /projects/{id}: { invalidate: 'project:{id}' }
  PUT /projects/{id}/move: { invalidate: 'project:{body.to}', when: { status: 200 } }
dependencies:
  project:{id}: stats
";
        let proxy = Proxy::start(&origin, rules).await;
        for path in ["/projects/42", "/projects/7", "/stats", "/other"] {
            proxy.get(path).reply().await;
        }
        let told = proxy.explain(&asked("PUT", "/projects/42"));
        assert_eq!(
            (told.becomes, told.outcome.told.cache_status.as_deref()),
            (Becomes::Write, Some("larder; fwd=method"))
        );
        let write = told.write.unwrap();
        assert_eq!(
            (write.rules[0].rule.as_str(), &write.rules[0].outdates),
            ("PUT /projects/{id}", &vec!["project:42".to_owned()])
        );
        assert_eq!((write.derived, write.entries), (vec!["stats".to_owned()], 2));
        let by_route = [("/projects/{id}".to_owned(), 1), ("/stats".to_owned(), 1)];
        assert_eq!(write.by_route, BTreeMap::from(by_route));
        let unknown = proxy.explain(&asked("PUT", "/projects/42/move")).write.unwrap();
        assert_eq!(unknown.rules[0].outdates, ["project:*"], "what only the body tells widens");
        assert!(unknown.rules[0].conditional);
        assert_eq!(unknown.entries, 3);
        for path in ["/projects/42", "/projects/7", "/stats", "/other"] {
            assert_eq!(proxy.get(path).reply().await.cache(), "HIT");
        }
    });
}

#[test]
fn a_webhook_s_path_is_told_as_one() {
    play(async {
        let origin = Origin::counting().await;
        let rules =
            "routes: {}\nwebhooks: { /hooks/cms: { scheme: bearer, secrets: ['a-long-enough-secret'] } }";
        let proxy = Proxy::start(&origin, rules).await;
        assert_eq!(proxy.explain(&asked("POST", "/hooks/cms")).becomes, Becomes::Webhook);
        assert_eq!(proxy.explain(&asked("POST", "/hooks/other")).becomes, Becomes::Write);
        let read = proxy.explain(&asked("GET", "/hooks/cms"));
        let status = proxy.get("/hooks/cms").reply().await.status;
        assert_eq!((read.becomes, read.outcome.told.status), (Becomes::Refused, Some(status.as_u16())));
    });
}

#[test]
fn what_is_no_request_is_not_explained() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, "hosts: api.example.com").await;
        let explain = |asked: &Asked| proxy.flow.explain(asked);
        assert_eq!(explain(&asked("G T", "/")).unwrap_err(), NoRequest::Method);
        for target in ["", "*", "a", "/a b", "/a#b", "example.com:80", "http://"] {
            assert_eq!(explain(&asked("GET", target)).unwrap_err(), NoRequest::Target, "{target}");
        }
        assert_eq!(explain(&with(asked("GET", "/"), "a b", "c")).unwrap_err(), NoRequest::Header);
        assert_eq!(explain(&with(asked("GET", "/"), "a", "b\nc")).unwrap_err(), NoRequest::Header);
        let stranger = explain(&asked("GET", "http://stranger.example/")).unwrap();
        assert_eq!((stranger.becomes, stranger.outcome.told.status), (Becomes::Refused, Some(421)));
    });
}

#[test]
fn the_admin_api_explains_the_same_or_says_what_is_wrong() {
    play(async {
        let origin = Origin::counting().await;
        let proxy = Proxy::start(&origin, "routes: { /a: 1m }").await;
        proxy.get("/a").reply().await;
        let explain = |body: &str| {
            let ask = proxy.admin_ask("POST", "/v1/explain").header("content-type", "application/json");
            ask.body(body.to_owned()).reply()
        };
        let told = explain(r#"{"target": "/a?", "headers": {"accept": "*/*", "x": ["1", "2"]}}"#).await;
        let told: Explanation = serde_json::from_str(told.text()).unwrap();
        assert_eq!(told.outcome, proxy.explain(&asked("GET", "/a")).outcome);
        for wrong in [
            r#"{"target": "a"}"#,
            r#"{"target": "/a", "method": "G T"}"#,
            r#"{"method": "GET"}"#,
            r#"{"target": "/a", "headers": {"x": 1}}"#,
            r#"{"target": "/a", "header": {}}"#,
        ] {
            assert_eq!(explain(wrong).await.status, 422, "{wrong}");
        }
    });
}
