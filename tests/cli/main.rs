//! What every command says, word for word: help texts, and what is printed about a real Larder before a small origin.
//!
//! What is expected stands in `expected/`; `LARDER_BLESS=1` writes it anew, for the difference to be read before it is committed.
#![allow(clippy::unwrap_used, reason = "a test that meets what it does not expect has failed")]

#[allow(dead_code, reason = "it is there for tests/process first")]
#[path = "../process/harness.rs"]
mod harness;

mod broken;
mod manual;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::harness::{Ended, Origin, Proxy, folder, get, larder, run};

const CONFIG: &str = "\
upstream: http://localhost:9
routes:
  /api/projects: { ttl: 10m, tags: projects }
  /api/projects/{id}: { ttl: 30m, tags: 'project:{id}' }
  /api/stats: 15m
  /api/auth/{rest:path}: bypass
writes:
  PUT /api/projects/{id}: 'project:{id}'
dependencies:
  project:{id}: projects
tests:
  - { request: PUT /api/projects/42, invalidates: 'project:42 projects', keeps: 'project:7' }
";

const NEW: &str = "\
upstream: http://localhost:9
listen: 127.0.0.1:9000
routes:
  /api/projects: { ttl: 10m, tags: projects }
  /api/projects/{id}: { ttl: 1h, tags: 'project:{id}' }
  /api/projects/special: { ttl: '${TTL:-5m}' }
  /api/auth/{rest:path}: bypass
writes:
  PUT /api/projects/{id}: 'project:{id} projects'
dependencies:
  project:{id}: projects
admin: { token: hunter2-hunter2 }
";

/// A folder with both files, in which commands run.
fn place() -> TempDir {
    let folder = folder();
    fs::write(folder.path().join("larder.yaml"), CONFIG).unwrap();
    fs::write(folder.path().join("new.yaml"), NEW).unwrap();
    fs::write(folder.path().join("wrong.yaml"), "upstream: http://localhost:9\nrutes: {}\n").unwrap();
    folder
}

/// Holds a text against the file of this name.
#[track_caller]
fn expect(name: &str, found: &str) {
    let file =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cli/expected").join(format!("{name}.txt"));
    if std::env::var("LARDER_BLESS").is_ok_and(|bless| bless == "1") {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        return fs::write(file, found).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    if expected != found {
        let differs = expected.lines().zip(found.lines()).position(|(one, other)| one != other);
        panic!(
            "{name} is not what was expected from line {} on; LARDER_BLESS=1 writes it anew.\n--- expected\n{expected}\n--- found\n{found}",
            differs.map_or_else(|| "the last".to_owned(), |nth| (nth + 1).to_string()),
        );
    }
}

/// A command with all that it said, as somebody would paste it.
fn pasted(line: &[&str], ended: &Ended) -> String {
    let Ended { code, stdout, stderr } = ended;
    let code = code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    let err = if stderr.is_empty() { String::new() } else { format!("--- stderr\n{stderr}") };
    format!("$ larder {}\n{stdout}{err}--- exit {code}\n\n", line.join(" "))
}

/// Numbers are all alike, and so are spaces and digests: what is measured is another number each time. Commands and exit codes stay.
fn measured(text: &str) -> String {
    text.lines().map(|line| if line.starts_with("$ ") || line.starts_with("--- exit") { line.to_owned() } else { alike(line) } + "\n").collect()
}

fn alike(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let is_of_word = |c: char| c.is_ascii_alphanumeric();
        let length = match c {
            ' ' | '─' => rest.find(|next| next != c),
            c if c.is_ascii_alphanumeric() => rest.find(|c| !is_of_word(c)),
            c => Some(c.len_utf8()),
        };
        let (word, behind) = rest.split_at(length.unwrap_or(rest.len()));
        let is_hex = word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let (has_digit, has_letter) =
            (word.bytes().any(|byte| byte.is_ascii_digit()), word.bytes().any(|byte| !byte.is_ascii_digit()));
        let is_name = word.len() >= 6 && (has_letter || behind.starts_with('-')) || out.ends_with("H-");
        if is_hex && has_digit && is_name && !out.ends_with("N.") {
            out.push('H');
        } else if c.is_ascii_digit() {
            let unit = word.trim_start_matches(|c: char| c.is_ascii_digit());
            // The unit follows from the number; a `T` stands between date and time, too.
            let unit =
                if ["us", "ms", "s", "m", "h"].contains(&unit) || unit.starts_with('T') { "T" } else { unit };
            out.push_str(&format!("N{unit}"));
        } else if c == ' ' || c == '─' {
            out.push(c);
        } else {
            out.push_str(word);
        }
        rest = behind;
    }
    // Fractions: a point stands between two numbers.
    while out.contains("N.N") {
        out = out.replace("N.N", "N");
    }
    for size in ["N B", "N KiB", "N MiB"] {
        out = out.replace(&format!("{size})"), "N SIZE)");
    }
    out.trim_end().to_owned()
}

/// A Larder, and a folder from which it is asked.
struct Asked {
    proxy: Proxy,
    _origin: Origin,
    folder: TempDir,
}

impl Asked {
    /// Three paths were asked for, each another time more.
    fn new() -> Self {
        let origin = Origin::start();
        let proxy = Proxy::start(origin.address, CONFIG);
        let (detail, list, stats) = ("/api/projects/42", "/api/projects", "/api/stats");
        for path in [detail, list, list, stats, stats, stats] {
            assert_eq!(get(proxy.listen, path).status, 200);
        }
        Self { proxy, _origin: origin, folder: place() }
    }

    fn command(&self, line: &[&str]) -> Command {
        let mut command = larder(&self.folder);
        command.args(line).env("LARDER_ADMIN", self.proxy.admin.to_string());
        command
    }

    /// Runs it, and says all of it with the ports left out.
    fn says(&self, line: &[&str]) -> String {
        let text = pasted(line, &run(&mut self.command(line)));
        let port = |address: SocketAddr| address.port().to_string();
        text.replace(&port(self.proxy.listen), "PORT").replace(&port(self.proxy.admin), "ADMIN")
    }
}

#[test]
fn every_command_has_its_help() {
    let folder = folder();
    let mut text = String::new();
    let mut open = vec![Vec::<String>::new()];
    while let Some(names) = open.pop() {
        let line: Vec<&str> = names.iter().map(String::as_str).chain(["--help"]).collect();
        let ended = run(larder(&folder).args(&line));
        ended.assert(0, &[]);
        text += &pasted(&line, &ended);
        let listed = ended.stdout.lines().skip_while(|line| *line != "Commands:").skip(1);
        let below =
            listed.take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
        let mut below: Vec<_> = below
            .filter(|name| *name != "help")
            .map(|name| [names.as_slice(), &[name.to_owned()]].concat())
            .collect();
        below.reverse();
        open.extend(below);
    }
    assert!(text.contains("$ larder config diff --help"), "commands below commands are found");
    expect("help", &text);
}

#[test]
fn the_configuration_is_checked_played_shown_and_compared() {
    let folder = place();
    let says = |line: &[&str]| pasted(line, &run(larder(&folder).args(line)));
    let mut text = String::new();
    for line in [
        &["config", "check"][..],
        &["config", "check", "--json"],
        &["config", "check", "wrong.yaml"],
        &["config", "check", "wrong.yaml", "--json"],
        &["config", "test"],
        &["config", "test", "--json"],
        &["config", "show"],
        &["config", "diff", "new.yaml", "--offline"],
        &["config", "diff", "larder.yaml", "--offline"],
        &["config", "diff", "wrong.yaml", "--offline"],
        &["config", "diff", "gone.yaml", "--offline"],
        &["config", "diff", "larder.yaml", "--offline", "--config", "wrong.yaml"],
        &["config", "diff", "new.yaml", "--offline", "--json"],
        &["explain", "/api/projects/42", "--offline"],
        &["explain", "GET", "/api/auth/me", "--offline", "--json"],
    ] {
        text += &says(line);
    }
    assert!(!text.contains("hunter2"), "{text}");
    expect("configuration", &text);
}

#[test]
fn a_new_file_is_compared_with_what_is_stored() {
    let asked = Asked::new();
    let mut text = String::new();
    for line in [
        &["config", "diff", "new.yaml"][..],
        &["config", "diff", "wrong.yaml"],
        &["config", "diff", "wrong.yaml", "--json"],
        &["config", "diff", "new.yaml", "--json"],
    ] {
        text += &asked.says(line);
    }
    assert!(!text.contains("hunter2"), "{text}");
    expect("compared", &measured(&text));
    let told = run(&mut asked.command(&["config", "diff", "new.yaml", "--json"]));
    let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    let live = &told["live"];
    assert_eq!((&live["entries"], &live["kept"]), (&3.into(), &1.into()), "{live:#}");
    assert_eq!(live["by_route"]["/api/projects"]["kept"], 1);
    assert_eq!(
        (&live["moved"][0]["from"], &live["moved"][0]["to"]),
        (&"/api/stats".into(), &"unmatched".into())
    );
    assert_eq!(live["expected_hit_ratio"], serde_json::Value::Null);
    // The same file, and what is asked for stays as it is.
    let told = run(&mut asked.command(&["config", "diff", "larder.yaml", "--json"]));
    let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((&told["changes"], &told["routes"]), (&serde_json::json!([]), &serde_json::json!([])));
    assert_eq!(told["live"]["kept"], 3);
    assert_eq!(told["live"]["expected_hit_ratio"], told["live"]["hit_ratio"]);
}

#[test]
fn what_the_environment_of_the_process_says_is_told_to_nobody() {
    let origin = Origin::start();
    let environment = [("WORD", "hunter2"), ("WRONG", "hunter3")];
    let proxy = Proxy::start_with(origin.address, "routes: { /a: 1m }", &environment);
    let folder = folder();
    let compared = |text: &str| {
        fs::write(folder.path().join("new.yaml"), text).unwrap();
        run(larder(&folder).args(["config", "diff", "new.yaml", "--admin", &proxy.admin.to_string()]))
    };
    let shown = compared(
        "upstream: http://localhost:9\nroutes: { /a: 1m }\nevents: { e: 'x-${WORD}', f: '${NONE:-y}' }\n",
    );
    shown.assert(0, &[]);
    assert!(
        shown.stdout.contains("(from the environment)") && shown.stdout.contains("[y]"),
        "{}",
        shown.stdout
    );
    for wrong in [
        "upstream: http://localhost:9\nroutes: { /a: '${WRONG}' }\n",
        "upstream: http://localhost:9\nroutes: { /a: '${file:/etc/hostname}' }\n",
        "upstream: http://localhost:9\nroutes: { /a: '${file:/dev/zero}', /b: oops }\n",
        "\u{feff}é: [",
    ] {
        let refused = compared(wrong);
        refused.assert(78, &["error"]);
        assert!(!format!("{refused:?}").contains("hunter"), "{refused:?}");
    }
    assert!(!format!("{shown:?}").contains("hunter"), "{shown:?}");
}

#[test]
fn what_is_stored_is_explained_dropped_and_fetched() {
    let asked = Asked::new();
    let mut text = String::new();
    for line in [
        &["explain", "/api/stats"][..],
        &["explain", "PUT", "/api/projects/42"],
        &["purge", "project:42", "--dry-run"],
        &["purge", "project:42", "/api/stats"],
        &["purge", "nothing", "--json"],
        &["warm", "/api/stats"],
        &["warm", "/api/stats", "--wait", "--json"],
        &["off", "/api/stats", "--for", "1h"],
        &["off", "/api/stats", "--end", "--json"],
        &["off", "/nowhere/at/all", "--for", "1h"],
    ] {
        text += &asked.says(line);
    }
    expect("stored", &measured(&text));
}

#[test]
fn what_happens_is_told_as_it_happens() {
    let asked = Asked::new();
    let mut text = String::new();
    for line in [
        &["tail", "--count", "1", "--status", "2xx"][..],
        &["tail", "--count", "1", "--cache", "hit", "--route", "/api/stats", "--method", "get", "--json"],
        &["stat", "--count", "1", "--every", "250ms"],
        &["stat", "--count", "1", "--every", "250ms", "--json"],
        &["top", "--once"],
    ] {
        // Something happens until it has seen enough.
        let mut child = asked.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while child.try_wait().unwrap().is_none() {
            get(asked.proxy.listen, "/api/stats");
        }
        let output = child.wait_with_output().unwrap();
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let ended =
            Ended { code: output.status.code(), stdout: said(&output.stdout), stderr: said(&output.stderr) };
        text += &pasted(line, &ended);
    }
    for line in [
        &["tail", "--cache", "nonsense"][..],
        &["tail", "--route", "/api/stat"],
        &["stat", "--every", "1ms"],
        &["top"],
        &["report"],
    ] {
        text += &asked.says(line);
    }
    expect("happening", &without_hosts(&measured(&text)));
    let figures = run(&mut asked.command(&["top", "--json"]));
    let figures: serde_json::Value = serde_json::from_str(&figures.stdout).unwrap();
    assert!(figures["totals"]["requests"]["hit"].as_u64().is_some_and(|hits| hits > 1), "{figures:#}");
}

/// The machine's name, and what names a request.
fn without_hosts(text: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut line = line.to_owned();
        for (before, after) in [("larder N · ", ":N · "), ("\"request_id\":\"", "\"}")] {
            if let Some(from) = line.find(before).map(|at| at + before.len())
                && let Some(length) = line[from..].find(after)
            {
                line.replace_range(from..from + length, "…");
            }
        }
        out.push(line);
    }
    out.join("\n") + "\n"
}

#[test]
fn who_has_nobody_to_ask_says_so() {
    let folder = place();
    let gone = format!("127.0.0.1:{}", harness::free_port());
    for line in [
        &["tail"][..],
        &["stat"],
        &["top", "--once"],
        &["top", "--json"],
        &["config", "diff", "new.yaml"],
        &["purge", "x"],
        &["report"],
        &["warm", "/x"],
        &["off", "--all", "--for", "1m"],
        &["explain", "/x"],
    ] {
        let ended = run(larder(&folder).args(line).args(["--admin", &gone]));
        ended.assert(1, &[&gone, "is `larder run` up"]);
        assert_eq!(ended.stdout, "", "{line:?}");
    }
    // Nobody was named: the files are compared, and that is said.
    let ended = run(larder(&folder).args(["config", "diff", "larder.yaml"]));
    assert!(ended.stderr.contains("compared with the file instead") || ended.code == Some(0), "{ended:?}");
}

#[test]
fn who_reads_no_further_ends_what_goes_on() {
    let asked = Asked::new();
    let mut child = asked.command(&["tail"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let status = harness::until("it ends", || {
        get(asked.proxy.listen, "/api/stats");
        child.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(0));
}
