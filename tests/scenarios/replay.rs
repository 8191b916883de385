//! A log of mixed requests, replayed: of each one is asked before what becomes of it, and then it is sent.
//!
//! The log follows from a seed (`LARDER_SEED`): who asks, what is purged, switched off, and for how long nothing happens.
//! `LARDER_LONG=1` plays more of them. Where the origin decides, what it did is known by what was asked, so its share of the
//! claim is held against that, too.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::flow::explain::asked::{Asked, Lines};
use larder::flow::explain::wire::{By, Explanation, Outcome, When};
use larder::flow::switch::Covers;

use crate::explain::{Dice, Did, agrees, foreseen, quiet, sent};
use crate::harness::origin::{Answer, Origin, Seen};
use crate::harness::play;
use crate::harness::proxy::Proxy;

/// Requests of one log, over all its stories.
const REQUESTS: usize = 10_000;
/// A story has so many of them: it has its time, and machines differ.
const OF_ONE_STORY: usize = 1_250;
/// Every so many are explained by the admin API, and so many by the command line.
const BY_API: usize = 10;
const BY_COMMAND: usize = 100;

const RULES: &str = "\
hosts: api.example.com www.example.com
defaults: { stale_if_error: 5s, ignore_query: 'utm_* fbclid' }
routes:
  /list: { ttl: 10s, tags: list, key: { query: [page, size] } }
  /list/{id}: { ttl: 3s, stale_while_revalidate: 30s, tags: 'item:{id}', negative: { 404: 8s } }
  /list/{id}/export: { ttl: 1m, range: forward }
  /reports/{rest:path}: { ttl: 20s, body_tags: 'report:$.id' }
  /me: { ttl: 10s, scope: user }
  /shop/{id}: { ttl: 10s, scope: public, strict: true }
  /login/{id}: { ttl: 10s, scope: public }
  /shared/{id}: { ttl: 10s, scope: origin }
  /letter/{id}: { ttl: 10s, client_no_cache: honor, head: forward }
  /stubborn/{id}: { ttl: 10s, origin_headers: override, override: [no-store, private] }
  /lang/{id}: { ttl: 10s, languages: [en, de] }
  /tenant/{id}: { ttl: 10s, key: { headers: [X-Theme] } }
  /strip/{id}: { ttl: 10s, set_cookie: strip }
  /jobs/{id}: { preset: job-status, ttl: 10s }
  /small/{id}: { ttl: 10s, entry: 100B }
  /answers: { ttl: 10s, methods: [GET, POST, QUERY], key: { body: json, ignore: ['$.request_id'] } }
  /posted/{id}: 10s
  /plain/{id}: 10s
  /word/{id}: {}
  /off/{rest:path}: bypass
writes:
  PUT|PATCH|DELETE /list/{id}: { invalidate: 'item:{id}' }
  POST /list: { invalidate: list }
  PUT /letter/{id}: { invalidate: '/list/{id} /lang/{id}', soft: true }
  POST /list/{id}/export: { invalidate: 'report:{body.id}' }
dependencies:
  item:{id}: list
";

/// What `Cache-Control` the origin sends under `/word/{id}`, what else, and whether that is kept.
const WORDS: &[(&str, &str, &str, bool)] = &[
    ("max-age=6", "", "", true),
    ("max-age=4, must-revalidate", "", "", true),
    ("s-maxage=3, max-age=0", "", "", true),
    ("no-cache", "", "", true),
    ("max-age=30, immutable", "", "", true),
    ("max-age=4, stale-while-revalidate=10", "", "", true),
    ("no-store", "", "", false),
    ("private", "", "", false),
    ("private, max-age=60", "", "", false),
    ("max-age=6", "vary", "*", false),
    ("max-age=6", "vary", "accept-language, x-theme", true),
    ("max-age=6", "vary", "accept-encoding", true),
    ("", "vary", "cookie", true),
    ("", "set-cookie", "a=1", false),
    ("max-age=6", "set-cookie", "a=1", false),
    ("max-age=60", "cdn-cache-control", "no-store", false),
    ("no-store", "cdn-cache-control", "max-age=5", true),
    ("", "age", "2", true),
];

/// The statuses of `/plain/{id}`, and whether they are kept by themselves.
const STATUSES: &[(u16, bool)] = &[
    (200, true),
    (203, false),
    (204, false),
    (301, false),
    (404, false),
    (410, false),
    (418, false),
    (500, false),
];

fn answer(seen: &Seen, did: &Did) -> Answer {
    let mut did = did.lock().unwrap();
    // Who is asked again on another connection is no other than the first.
    let (answer, when) =
        if *did == Some(When::NoAnswer) { (Answer::cut(), When::NoAnswer) } else { say(seen) };
    did.get_or_insert(when);
    answer
}

const ETAG: &str = "\"v1\"";

fn say(seen: &Seen) -> (Answer, When) {
    let path = seen.target.split('?').next().unwrap();
    let (area, id) = path[1..].split_once('/').unwrap_or((&path[1..], "0"));
    let number: usize = id.parse().unwrap_or(0);
    let reads = matches!(seen.method.as_str(), "GET" | "HEAD" | "QUERY") || area == "answers";
    if !reads {
        return written(seen, area);
    }
    if let Some(answer) = asks_who(seen, area) {
        return (answer, When::Demoted);
    }
    if seen.nth % 19 == 3 {
        return (Answer::new(503).text("no"), When::Failed);
    }
    if seen.nth % 41 == 7 {
        return (Answer::cut(), When::NoAnswer);
    }
    let is_kept = is_kept(seen, area, id, number);
    let when = if is_kept { When::Kept } else { When::NotKept };
    let answer = told(area, id, number);
    if seen.header("if-none-match").is_some_and(|known| known.contains(ETAG)) {
        let confirmed = head_of(area, number, Answer::new(304));
        return (confirmed, if is_kept { When::Confirmed } else { When::NotKept });
    }
    if seen.method == "HEAD" {
        let status = if area == "plain" { STATUSES[number % STATUSES.len()].0 } else { status(area, id) };
        return (head_of(area, number, Answer::new(status)), When::Answered);
    }
    match seen.header("range") {
        Some(range) if area == "list" => part(range).unwrap_or((answer, when)),
        _ => (answer, when),
    }
}

fn status(area: &str, id: &str) -> u16 {
    if area == "list" && id == "3" { 404 } else { 200 }
}

fn told(area: &str, id: &str, number: usize) -> Answer {
    let body = match (area, number) {
        ("jobs", 1) => r#"{"status":"running"}"#.to_owned(),
        ("jobs", _) => r#"{"status":"done"}"#.to_owned(),
        ("small", 1) => "x".repeat(200),
        ("reports", _) => format!(r#"{{"id":"{id}"}}"#),
        _ => "0123456789".to_owned(),
    };
    let status = if area == "plain" { STATUSES[number % STATUSES.len()].0 } else { status(area, id) };
    let answer = head_of(area, number, Answer::new(status));
    if matches!(status, 204 | 304) { answer } else { answer.text(body) }
}

/// The fields that all its answers have.
fn head_of(area: &str, number: usize, answer: Answer) -> Answer {
    let answer = answer.header("content-type", "application/json").header("etag", ETAG);
    match area {
        "word" => {
            let (word, name, value, _) = WORDS[number % WORDS.len()];
            let answer = if word.is_empty() { answer } else { answer.header("cache-control", word) };
            if name.is_empty() { answer } else { answer.header(name, value) }
        }
        "stubborn" => answer.header("cache-control", "no-store, private"),
        "strip" => answer.header("cache-control", "max-age=5").header("set-cookie", "a=1"),
        "lang" => answer.header("vary", "accept-language"),
        "guess" => answer.header("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT"),
        "free" => answer.header("cache-control", "max-age=9"),
        "list" if number == 2 => answer.header("vary", "origin, accept-encoding"),
        _ => answer,
    }
}

/// Whether an answer is kept, if nothing else is the matter.
fn is_kept(seen: &Seen, area: &str, id: &str, number: usize) -> bool {
    let asks_no_store = seen.header("cache-control").is_some_and(|asked| asked.contains("no-store"));
    let is_somebody = seen.header("authorization").is_some();
    match area {
        "list" | "reports" | "me" | "shop" | "login" | "lang" | "tenant" | "answers" | "strip"
        | "stubborn" | "posted" => true,
        "letter" => !asks_no_store,
        // What is said to one person is not everybody's; where no route matches, the origin's word counts alone.
        "shared" | "free" | "guess" => !is_somebody,
        "jobs" => number != 1,
        "small" => number != 1,
        "plain" => STATUSES[number % STATUSES.len()].1,
        "word" => WORDS[number % WORDS.len()].3,
        _ => id == "-",
    }
}

/// What a write is answered.
fn written(seen: &Seen, area: &str) -> (Answer, When) {
    match seen.nth % 11 {
        2 => return (Answer::new(500).text("no"), When::Answered),
        5 => return (Answer::new(404).text("no"), When::Answered),
        _ => {}
    }
    if area == "posted" && seen.method == "POST" {
        let target = seen.target.clone();
        let answer = Answer::json("0123456789").header("content-location", &target);
        return (answer.header("cache-control", "max-age=9"), When::Kept);
    }
    (Answer::json("{}"), When::Answered)
}

/// An origin that wants to know who asks, from some time on.
fn asks_who(seen: &Seen, area: &str) -> Option<Answer> {
    let knows = seen.header("authorization").or(seen.header("cookie")).is_some();
    (area == "login" && seen.nth >= 400 && !knows).then(|| Answer::new(401))
}

fn part(range: &str) -> Option<(Answer, When)> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let from = from.parse::<usize>().ok()?;
    let to = to.parse::<usize>().unwrap_or(9).min(9);
    if from > to {
        return None;
    }
    // A ttl speaks for a whole alone.
    let answer = Answer::new(206).header("etag", ETAG).header("cache-control", "max-age=9");
    let answer = answer.header("content-range", &format!("bytes {from}-{to}/10"));
    Some((answer.text(&"0123456789"[from..=to]), When::Kept))
}

/// What happens, one after the other.
#[derive(Clone, Debug)]
enum Step {
    Ask(Asked),
    Outdate { word: String, soft: bool },
    SwitchOff { nth: u64, seconds: u64 },
    Nothing(Duration),
}

/// The log that follows from a seed.
fn log(seed: u64, requests: usize) -> Vec<Step> {
    let dice = Dice(Cell::new(seed));
    let mut steps = Vec::new();
    let mut lately: Vec<Asked> = Vec::new();
    for _ in 0..requests {
        if dice.now_and_then(10) {
            let words = [
                "list",
                "item:1",
                "item:2",
                "report:1",
                "/lang/{id}",
                "/word/{id}",
                "/answers",
                "/list/1/export",
            ];
            steps.push(Step::Outdate { word: dice.one(&words).to_owned(), soft: dice.now_and_then(2) });
        }
        if dice.now_and_then(40) {
            steps.push(Step::SwitchOff { nth: dice.roll(1000), seconds: 2 + dice.roll(6) });
        }
        // Who has asked once asks again.
        let again = usize::try_from(dice.roll(12)).unwrap();
        let asked = lately.get(again).cloned().unwrap_or_else(|| request(&dice));
        lately.insert(0, asked.clone());
        lately.truncate(8);
        steps.push(Step::Ask(asked));
        steps.push(Step::Nothing(Duration::from_millis(dice.roll(4) * dice.roll(4) * 300)));
    }
    steps
}

fn request(dice: &Dice) -> Asked {
    const AREAS: &[&str] = &[
        "list", "list", "list", "export", "reports", "me", "shop", "login", "shared", "letter", "letter",
        "stubborn", "lang", "tenant", "strip", "jobs", "small", "answers", "answers", "posted", "plain",
        "plain", "word", "word", "word", "off", "free", "guess", "loose", "odd",
    ];
    let area = dice.one(AREAS);
    let method = match (area, dice.roll(24)) {
        ("answers", 0..=10) => "POST",
        ("answers", 11..=16) => "QUERY",
        ("posted", 0..=8) => "POST",
        (_, 0 | 1) => "HEAD",
        (_, 2) => dice.one(&["PUT", "PATCH", "DELETE"]),
        (_, 3) => "POST",
        (_, 4) => "QUERY",
        (_, 5) => dice.one(&["OPTIONS", "PURGE", "TRACE", "FOO", "PROPFIND", "get"]),
        _ => "GET",
    };
    let mut target = path(dice, area);
    target += dice.one(&[
        "",
        "",
        "",
        "",
        "?page=2",
        "?size=9&page=2",
        "?page=2&utm_source=x",
        "?fbclid=1",
        "?%70age=2",
        "?page=1&page=2",
        "?a=%zz",
        "?a;b",
    ]);
    let mut headers = fields(dice);
    if dice.now_and_then(30) {
        let hosts = ["api.example.com", "www.example.com", "stranger.example"];
        let host = dice.one(&hosts);
        target = format!("http://{host}{target}");
        // Some name two hosts.
        if !dice.now_and_then(4) {
            headers.insert("host".to_owned(), Lines::One(host.to_owned()));
        }
    }
    // Without one there is none in what is explained, and another one in what is sent.
    headers.entry("host".to_owned()).or_insert_with(|| Lines::One("api.example.com".to_owned()));
    let mut body = String::new();
    if matches!(method, "POST" | "QUERY" | "PUT" | "PATCH") || dice.now_and_then(30) {
        body = dice
            .one(&[
                "{\"q\":1}",
                "{ \"q\": 1 , \"request_id\": 7 }",
                "{\"q\":2}",
                "{\"id\":1}",
                "{",
                "[1e400]",
            ])
            .to_owned();
        let kinds = [
            "application/json",
            "application/json",
            "application/json",
            "text/plain",
            "application/json; charset=utf-8",
        ];
        headers.insert("content-type".to_owned(), Lines::One(dice.one(&kinds).to_owned()));
    }
    Asked { method: method.to_owned(), target, headers, body }
}

fn path(dice: &Dice, area: &str) -> String {
    let id = dice.one(&["1", "2", "3"]);
    match area {
        "list" if dice.now_and_then(3) => "/list".to_owned(),
        "export" => format!("/list/{id}/export"),
        "me" => "/me".to_owned(),
        "answers" => "/answers".to_owned(),
        "off" => "/off/a/b".to_owned(),
        "plain" => format!("/plain/{}", dice.roll(STATUSES.len() as u64)),
        "word" => format!("/word/{}", dice.roll(WORDS.len() as u64)),
        "odd" => dice
            .one(&[
                "//list/1",
                "/list//1",
                "/list/../list/1",
                "/list/%2e%2e/1",
                "/list/1;a=b",
                "/list/%31",
                "/list/1%2f2",
                "/list/1/",
                "/",
                "/list/%E4",
                "/*",
            ])
            .to_owned(),
        area => format!("/{area}/{id}"),
    }
}

fn fields(dice: &Dice) -> BTreeMap<String, Lines> {
    let mut headers = BTreeMap::new();
    let mut field = |sides: u64, name: &str, values: &[&str]| {
        if dice.now_and_then(sides) {
            headers.insert(name.to_owned(), Lines::One(dice.one(values).to_owned()));
        }
    };
    field(4, "authorization", &["Bearer a", "Bearer b", "Basic x"]);
    field(30, "x-api-key", &["k1", "k2"]);
    field(6, "cookie", &["session=a", "_ga=1", "_ga=2; session=a", "session"]);
    field(
        7,
        "range",
        &["bytes=0-3", "bytes=4-", "bytes=2-7", "bytes=20-", "bytes=-2", "bytes=0-1,3-4", "lines=1-2"],
    );
    field(25, "if-range", &["\"v1\"", "\"v0\"", "W/\"v1\""]);
    field(8, "if-none-match", &["\"v1\"", "\"v0\"", "*", "W/\"v1\", \"v2\""]);
    field(30, "if-modified-since", &["Wed, 01 Jan 2020 00:00:00 GMT", "yesterday"]);
    field(60, "if-match", &["\"v1\"", "*"]);
    field(8, "origin", &["https://a.example", "https://b.example"]);
    field(6, "accept-encoding", &["gzip", "identity", "br, gzip", "gzip;q=0"]);
    field(5, "accept-language", &["de", "en", "de, en;q=0.5", "fr"]);
    field(5, "x-theme", &["dark", "light"]);
    let words = [
        "no-cache",
        "max-age=0",
        "max-age=3",
        "only-if-cached",
        "no-store",
        "max-stale=5",
        "max-stale",
        "min-fresh=4",
    ];
    field(4, "cache-control", &words);
    field(40, "pragma", &["no-cache"]);
    field(60, "upgrade", &["websocket"]);
    field(60, "connection", &["upgrade", "x-theme"]);
    field(5, "host", &["api.example.com", "www.example.com", "API.example.com."]);
    field(50, "host", &["stranger.example", "a b"]);
    headers
}

/// What is explained of a request, by whom it is asked every so often: all of them have to say the same.
async fn explained(proxy: &Proxy, nth: usize, asked: &Asked) -> Explanation {
    let explanation = proxy.explain(asked);
    let others = if nth % BY_COMMAND == 7 {
        Some(by_command(proxy.admin_address(), asked.clone()).await)
    } else if nth % BY_API == 3 {
        Some(proxy.tell("/v1/explain", serde_json::to_value(asked).unwrap()).await)
    } else {
        None
    };
    if let Some(told) = others {
        let told: Explanation = serde_json::from_value(told).unwrap();
        assert_eq!((told.outcome, told.because), (explanation.outcome.clone(), explanation.because.clone()));
    }
    explanation
}

/// `larder explain`, as a process of its own.
async fn by_command(admin: SocketAddr, asked: Asked) -> serde_json::Value {
    let run = move || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_larder"));
        command.env_clear().args(["explain", "--json", "--admin", &admin.to_string()]);
        for (name, lines) in &asked.headers {
            let Lines::One(line) = lines else { panic!("one line each") };
            command.args(["-H", &format!("{name}: {line}")]);
        }
        if !asked.body.is_empty() {
            command.args(["-d", &asked.body]);
        }
        command.args([&asked.method, &asked.target]).output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn switch_off(proxy: &Proxy, nth: u64, seconds: u64) {
    let routes = proxy.flow.parts().rules.table.routes().len() as u64;
    // The last one is what no route matches.
    let route = Covers::Route(usize::try_from(nth % (routes - 1)).unwrap());
    proxy.flow.disable(route, Duration::from_secs(seconds), "the test".to_owned()).await;
}

/// Replays a log; how often each outcome came, and each word for why.
async fn replay(seed: u64, steps: Vec<Step>) -> (usize, BTreeMap<String, usize>) {
    let did = Did::default();
    let doing = Arc::clone(&did);
    let origin = Origin::start(move |seen| answer(seen, &doing)).await;
    let proxy = Proxy::start(&origin, RULES).await;
    let (mut nth, mut met, mut wrong) = (0, BTreeMap::new(), Vec::new());
    for step in steps {
        let asked = match step {
            Step::Outdate { word, soft: true } => {
                proxy.soften(&word, None).await;
                continue;
            }
            Step::Outdate { word, soft: false } => {
                proxy.outdate(&word).await;
                continue;
            }
            Step::SwitchOff { nth, seconds } => {
                switch_off(&proxy, nth, seconds).await;
                continue;
            }
            Step::Nothing(period) => {
                proxy.pass(period);
                continue;
            }
            Step::Ask(asked) => asked,
        };
        let explanation = explained(&proxy, nth, &asked).await;
        *did.lock().unwrap() = None;
        let reply = sent(&proxy, &asked).await;
        let did = *did.lock().unwrap();
        let claimed = foreseen(&explanation, did);
        if !claimed.as_ref().is_ok_and(|claimed| claimed.iter().any(|told| agrees(told, &reply))) {
            wrong.push(format!(
                "LARDER_SEED={seed}, request {nth}: {asked:?}\nexplained {explanation:?}\nthe origin did {did:?}\nclaimed {claimed:?}\ngot {} {:?}",
                reply.status, reply.headers,
            ));
        }
        *met.entry(kind(&explanation, reply.cache())).or_insert(0) += 1;
        // What goes on behind an answer has begun by then, but for a refresh.
        if reply.cache() == "STALE" || proxy.explain(&asked).in_flight {
            quiet(&proxy, &asked).await;
        }
        nth += 1;
    }
    assert!(wrong.is_empty(), "{} of {nth} were foretold wrongly:\n{}", wrong.len(), wrong.join("\n\n"));
    (nth, met)
}

/// Who decided, and what became of it.
fn kind(explanation: &Explanation, cache: &str) -> String {
    let Outcome { decided_by, .. } = &explanation.outcome;
    let by = match decided_by {
        By::Cache => "cache",
        By::Origin => "origin",
    };
    format!("{:?} {cache} by {by}", explanation.becomes)
}

/// Replays two stories of a log.
fn story(nth: u64) {
    let seed: u64 = std::env::var("LARDER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    let is_long = std::env::var("LARDER_LONG").is_ok_and(|long| long == "1");
    for round in 0..if is_long { 10 } else { 2 } {
        let seed = seed.wrapping_mul(1000).wrapping_add(100 * round + nth);
        let met = Arc::new(Mutex::new((0, BTreeMap::new())));
        let told = Arc::clone(&met);
        play(async move {
            let found = replay(seed, log(seed, OF_ONE_STORY)).await;
            *told.lock().unwrap() = found;
        });
        let (count, met) = std::mem::take(&mut *met.lock().unwrap());
        assert_eq!(count, OF_ONE_STORY);
        for kind in
            ["HIT by cache", "MISS by origin", "STALE by cache", "REVALIDATED by origin", "BYPASS by cache"]
        {
            assert!(met.keys().any(|met| met.ends_with(kind)), "no {kind} in {met:#?}");
        }
    }
}

#[test]
fn what_is_explained_equals_the_outcome_of_every_request_of_a_log() {
    story(1);
}

#[test]
fn and_of_its_second_part() {
    story(2);
}

#[test]
fn and_of_its_third() {
    story(3);
}

#[test]
fn and_of_its_last() {
    assert_eq!(4 * 2 * OF_ONE_STORY, REQUESTS);
    story(4);
}
