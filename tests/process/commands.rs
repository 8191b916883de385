//! The commands that ask a running Larder: what they send, what they say, and with which code they end.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::harness::{Ended, Origin, Proxy, folder, get, larder, run};

const FAILED: i32 = 1;
const USAGE: i32 = 2;
const BAD_CONFIGURATION: i32 = 78;

/// Stands in for an admin API: takes one request, gives one answer.
struct StandIn {
    address: SocketAddr,
    asked: JoinHandle<(String, Value)>,
}

impl StandIn {
    fn answering(status: u16, fields: &str, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let answer = format!(
            "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n{fields}\r\n{body}",
            body.len()
        );
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody asks");
            let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert_ne!(reader.read_line(&mut head).expect("a line"), 0, "the head is whole");
            }
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.expect("a length").parse().expect("a number")];
            reader.read_exact(&mut body).expect("the body");
            stream.write_all(answer.as_bytes()).expect("it is answered");
            (head, serde_json::from_slice(&body).expect("JSON"))
        });
        Self { address, asked }
    }

    /// Runs a command against it, and gives what it said and what it sent.
    fn hears(self, line: &[&str], prepare: impl FnOnce(&mut Command)) -> (Ended, String, Value) {
        let folder = folder();
        let mut command = larder(&folder);
        command.args(line).env("LARDER_ADMIN", self.address.to_string());
        prepare(&mut command);
        let ended = run(&mut command);
        let (head, body) = self.asked.join().expect("it was asked");
        (ended, head, body)
    }
}

fn problem(status: u16, detail: &str) -> StandIn {
    let body = json!({ "title": "x", "status": status, "detail": detail }).to_string();
    StandIn::answering(status, "content-type: application/problem+json\r\nretry-after: 7\r\n", &body)
}

#[test]
fn a_purge_is_sent_with_its_token_and_told_by_route() {
    let done = json!({
        "position": "5-3", "invalidated": 3, "by_route": { "/api/projects/{id}": 2, "/api/stats": 1 },
        "reach": ["project:42"], "derived": ["projects"], "dry_run": false,
    });
    let api = StandIn::answering(200, "", &done.to_string());
    let (ended, head, body) = api.hears(&["purge", "project:42", "/api/stats", "--soft"], |command| {
        command.env("LARDER_ADMIN_TOKEN", "t0ken");
    });
    ended.assert(0, &[]);
    assert!(
        head.starts_with("post /v1/purge http/1.1\r\n") && head.contains("authorization: bearer t0ken"),
        "{head}"
    );
    assert_eq!(body, json!({ "tags": ["project:42"], "paths": ["/api/stats"], "soft": true }));
    let told = "made stale 3 entries (position 5-3)\n  /api/projects/{id}  2\n  /api/stats          1\nderived: projects\n";
    assert_eq!(ended.stdout, told);
}

#[test]
fn for_programs_the_answer_is_handed_on() {
    let done = json!({ "position": "5-3", "invalidated": 0, "by_route": {} });
    let (ended, _, body) =
        StandIn::answering(200, "", &done.to_string()).hears(&["purge", "--all", "--json"], |_| {});
    ended.assert(0, &[]);
    assert_eq!(serde_json::from_str::<Value>(&ended.stdout).expect("JSON"), done);
    assert_eq!(body, json!({ "all": true }));
}

#[test]
fn what_the_api_refuses_is_said_with_what_to_do() {
    let purge = &["purge", "a"][..];
    let say = |api: StandIn, words: &[&str]| {
        let (ended, ..) = api.hears(purge, |_| {});
        ended.assert(FAILED, words);
        assert_eq!(ended.stdout, "");
    };
    say(problem(401, "no"), &["asks for a token", "LARDER_ADMIN_TOKEN", "--token-file"]);
    say(problem(403, "It takes `purge`."), &["does not let", "admin.tokens", "It takes `purge`."]);
    say(
        problem(429, "Everything was thrown out lately."),
        &["too often", "thrown out lately", "Try again in 7 s"],
    );
    say(problem(422, "The key `a` is not known."), &["The key `a` is not known."]);
    say(StandIn::answering(404, "", "not here"), &["is no admin API of Larder", "/v1/purge", "--admin"]);
    let fastapi = StandIn::answering(404, "content-type: application/json\r\n", r#"{"detail":"Not Found"}"#);
    say(fastapi, &["is no admin API of Larder", "/v1/purge", "--admin"]);
    say(StandIn::answering(200, "", "<html>"), &["something else"]);
    say(StandIn::answering(200, "content-type: application/json\r\n", r#"{"ok":true}"#), &["something else"]);
    let (wrong, ..) = problem(401, "no").hears(purge, |command| {
        command.env("LARDER_ADMIN_TOKEN", "wrong");
    });
    wrong.assert(FAILED, &["does not take this token"]);
}

#[test]
fn where_nobody_listens_is_a_failure_with_a_hint() {
    let gone =
        TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").to_string();
    for line in [&["purge", "a"][..], &["explain", "/a"], &["off", "/a", "--for", "1h"]] {
        run(larder(&folder()).args(line).args(["--admin", &gone]))
            .assert(FAILED, &[&gone, "larder run", "LARDER_ADMIN"]);
    }
}

#[test]
fn a_command_that_says_too_little_or_too_much_is_wrong_usage() {
    for line in [
        "purge",
        "purge --soft",
        "purge --all project:42",
        "off /api/stats",
        "off --for 1h",
        "off /api/stats --for soon",
        "off /api/stats --all --for 1h",
        "explain",
        "explain GET",
        "explain /a -H nonsense",
        "explain /a --offline --admin 127.0.0.1:1",
        "purge a --admin https://127.0.0.1:1",
    ] {
        let ended = run(larder(&folder()).args(line.split(' ')));
        ended.assert(USAGE, &[]);
        assert!(!ended.stderr.is_empty(), "{line}");
    }
}

#[test]
fn a_configuration_that_is_wrong_is_told_by_every_command_that_needs_it() {
    for line in [&["purge", "a"][..], &["explain", "/a"], &["explain", "/a", "--offline"]] {
        let folder = folder();
        fs::write(folder.path().join("larder.yaml"), "upstreem: x\n").expect("the file is written");
        run(larder(&folder).args(line)).assert(BAD_CONFIGURATION, &["larder.yaml:1:1", "`upstream`"]);
    }
}

#[test]
fn help_shows_how_it_is_meant() {
    for (command, words) in [
        ("purge", &["larder purge project:42", "--prefix /api/projects", "Exit codes", "LARDER_ADMIN"][..]),
        ("explain", &["larder explain 'PUT /api/projects/42'", "--offline", "Exit codes"]),
        ("off", &["larder off /api/stats --for 2h", "--end"]),
    ] {
        let ended = run(larder(&folder()).args([command, "--help"]));
        ended.assert(0, &[]);
        for word in words {
            assert!(ended.stdout.contains(word), "no {word} in\n{}", ended.stdout);
        }
    }
}

#[test]
fn a_request_is_explained_by_a_file_without_any_process() {
    let folder = folder();
    let rules = "upstream: http://localhost:1\nroutes: { '/api/projects/{id}': 30m }\n";
    fs::write(folder.path().join("larder.yaml"), rules).expect("the file is written");
    let explain = |more: &[&str]| {
        run(larder(&folder).args(["explain", "GET /api/projects/42", "--offline"]).args(more))
    };
    let text = explain(&[]);
    text.assert(0, &[]);
    assert!(
        text.stdout.contains("larder; fwd=uri-miss; stored") && text.stdout.contains("id=42"),
        "{}",
        text.stdout
    );
    assert!(!text.stdout.contains('\u{1b}'), "no colour but on a terminal");
    let json: Value = serde_json::from_str(&explain(&["--json"]).stdout).expect("JSON");
    assert_eq!(json["route"]["template"], "/api/projects/{id}");
}

const RULES: &str = "\
routes:
  /api/projects/{id}: { ttl: 30m, tags: 'project:{id}' }
  /api/stats: { ttl: 30m, tags: stats }
writes:
  PUT /api/projects/{id}: { invalidate: 'project:{id}' }
dependencies:
  project:{id}: stats
admin: { token: a-long-enough-t0ken }
shutdown: { delay: 0s }
";

/// A command for a running Larder, by the file that it was started with.
fn command(proxy: &Proxy, line: &[&str]) -> Ended {
    let folder = folder();
    fs::write(folder.path().join("larder.yaml"), format!("upstream: http://localhost:1\n{RULES}"))
        .expect("the file is written");
    let admin = proxy.admin.to_string();
    run(larder(&folder).args(line).args(["--admin", &admin, "--config", "larder.yaml"]))
}

/// `X-Cache` of the next answer.
fn cache(proxy: &Proxy, path: &str) -> String {
    let answer = get(proxy.listen, path);
    let line = answer.head.lines().find_map(|line| line.strip_prefix("x-cache: ").map(str::to_owned));
    line.expect("it says what the cache did").to_uppercase()
}

#[test]
fn what_is_purged_by_hand_is_fetched_anew() {
    let origin = Origin::start();
    let proxy = Proxy::start(origin.address, RULES);
    let keep = || {
        for path in ["/api/projects/42", "/api/projects/7", "/api/stats"] {
            cache(&proxy, path);
            assert_eq!(cache(&proxy, path), "HIT");
        }
    };
    let purge = |line: &[&str], told: &str| {
        let ended = command(&proxy, &[&["purge"], line].concat());
        ended.assert(0, &[]);
        assert!(ended.stdout.contains(told), "no {told} in\n{}", ended.stdout);
    };
    keep();
    purge(&["project:42", "--dry-run"], "would remove 2 entries\n");
    assert_eq!(cache(&proxy, "/api/projects/42"), "HIT", "nothing was done");
    purge(&["project:42"], "  /api/projects/{id}  1\n  /api/stats          1\nderived: stats\n");
    assert_eq!(cache(&proxy, "/api/projects/7"), "HIT");
    assert_eq!(cache(&proxy, "/api/projects/42"), "MISS");
    keep();
    purge(&["--prefix", "/api/projects"], "removed 2 entries");
    keep();
    purge(&["--glob", "/api/*/42"], "removed 1 entry");
    keep();
    purge(&["--all"], "removed 3 entries");
    purge(&["nothing"], "removed 0 entries");
}

#[test]
fn what_is_explained_is_what_the_running_larder_does() {
    let origin = Origin::start();
    let proxy = Proxy::start(origin.address, RULES);
    let explain = |line: &[&str]| {
        let ended = command(&proxy, &[&["explain"], line].concat());
        ended.assert(0, &[]);
        ended.stdout
    };
    let answer =
        |text: &str| text.lines().find(|line| line.starts_with("  answer")).expect("an answer").to_owned();
    assert!(answer(&explain(&["/api/stats"])).contains(" MISS "));
    assert_eq!(cache(&proxy, "/api/stats"), "MISS");
    let text = explain(&["GET /api/stats"]);
    assert!(
        answer(&text).contains(" HIT ")
            && text.contains("dropped by PUT /api/projects/{id} (by dependencies)"),
        "{text}"
    );
    assert_eq!(cache(&proxy, "/api/stats"), "HIT");
    let write = explain(&["PUT /api/projects/42"]);
    assert!(write.contains("project:42") && write.contains("now       1 entry"), "{write}");
    let json: Value = serde_json::from_str(&explain(&["/api/stats", "--json"])).expect("JSON");
    assert_eq!((&json["becomes"], &json["outcome"]["decided_by"]), (&json!("read"), &json!("cache")));
}

#[test]
fn what_is_switched_off_passes_until_it_is_on_again() {
    let origin = Origin::start();
    let proxy = Proxy::start(origin.address, RULES);
    let off = |line: &[&str], told: &str| {
        let ended = command(&proxy, &[&["off"], line].concat());
        ended.assert(0, &[]);
        assert_eq!(ended.stdout, told);
    };
    cache(&proxy, "/api/stats");
    off(&["/api/stats", "--for", "2h"], "/api/stats is not cached for 2h; 1 entry was dropped\n");
    assert_eq!(cache(&proxy, "/api/stats"), "BYPASS");
    assert_eq!(cache(&proxy, "/api/projects/1"), "MISS");
    off(&["/api/stats", "--end"], "/api/stats is cached again\n");
    assert_eq!(cache(&proxy, "/api/stats"), "MISS");
    off(&["--all", "--for", "90"], "everything is not cached for 1m30s; 2 entries were dropped\n");
    assert_eq!(cache(&proxy, "/api/projects/1"), "BYPASS");
    off(&["--all", "--end"], "everything is cached again\n");
    command(&proxy, &["off", "/api/statz", "--for", "1h"])
        .assert(FAILED, &["/api/statz", "did you mean `/api/stats`?"]);
}

#[test]
fn without_its_token_a_running_larder_does_nothing() {
    let origin = Origin::start();
    let proxy = Proxy::start(origin.address, RULES);
    let admin = proxy.admin.to_string();
    let folder = folder();
    let mut stranger = larder(&folder);
    run(stranger.args(["purge", "--all", "--admin", &admin])).assert(FAILED, &[&admin, "asks for a token"]);
    fs::write(folder.path().join("token"), "a-long-enough-t0ken\n").expect("the file is written");
    run(stranger.args(["--token-file", "token"])).assert(0, &[]);
}

#[test]
fn a_healthcheck_asks_the_process_that_its_configuration_names() {
    let origin = Origin::start();
    let proxy = Proxy::start(origin.address, "routes: { /a: 1h }\n");
    let admin = proxy.admin.to_string();
    let ask = |line: &[&str]| run(larder(&folder()).arg("healthcheck").args(line));
    let ended = ask(&["--admin", &admin]);
    ended.assert(0, &[]);
    assert_eq!(ended.stdout, "ready\n");
    let ended = ask(&["--admin", &admin, "--live", "--json"]);
    ended.assert(0, &[]);
    let told: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(
        (&told["healthy"], &told["state"], &told["status"]),
        (&true.into(), &"live".into(), &200.into())
    );

    let folder = folder();
    let named = |probes: &str| {
        format!("upstream: http://127.0.0.1:1\nadmin: {{ listen: 127.0.0.1:1, probes: {probes} }}\n")
    };
    fs::write(folder.path().join("larder.yaml"), named(&admin)).expect("the file is written");
    run(larder(&folder).arg("healthcheck")).assert(0, &[]);
}

#[test]
fn a_healthcheck_fails_where_no_larder_answers_that_all_is_well() {
    let ask = |address: SocketAddr, line: &[&str]| {
        run(larder(&folder()).arg("healthcheck").args(line).env("LARDER_ADMIN", address.to_string()))
    };
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let ended = ask(gone, &["--json"]);
    ended.assert(FAILED, &[]);
    let told: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!((&told["healthy"], &told["status"]), (&false.into(), &Value::Null));
    // Who takes the connection and says nothing: the kernel, for a listener that never accepts.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    ask(silent.local_addr().expect("its address"), &["--live"])
        .assert(FAILED, &["no answer within 2s", "/livez"]);
    let origin = Origin::start();
    ask(origin.address, &[]).assert(FAILED, &["/readyz"]);
    ask(origin.address, &["--live"]).assert(FAILED, &["/livez"]);
}
