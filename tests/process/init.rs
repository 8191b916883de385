//! `larder init --from-openapi`: what goes where, and what is refused in which words. What it makes of a document is told elsewhere.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{folder, larder, run};

const FAILED: Option<i32> = Some(1);
const USAGE: Option<i32> = Some(2);
const DONE: Option<i32> = Some(0);

fn document() -> String {
    let read = json!({ "get": { "security": [{ "bearer": [] }] }, "put": {} });
    json!({ "openapi": "3.1.0", "info": { "title": "Notes", "version": "1" }, "paths": { "/notes/{id}": read } }).to_string()
}

#[test]
fn the_file_goes_to_stdout_and_the_summary_to_stderr() {
    let folder = folder();
    fs::write(folder.path().join("openapi.json"), document()).expect("it is written");
    let ended = run(larder(&folder).args([
        "init",
        "--from-openapi",
        "openapi.json",
        "--upstream",
        "http://api:9000",
    ]));
    assert_eq!(ended.code, DONE, "{}", ended.stderr);
    assert!(ended.stdout.contains("upstream: ${UPSTREAM_URL:-http://api:9000}\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("  /notes/{id}:\n    preset: crud-detail"), "{}", ended.stdout);
    assert!(
        ended.stderr.starts_with("Notes 1 to stdout\n  reads   1 kept (1 crud-detail), 0 bypassed\n"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("GET /notes/{id}: authenticated (bearer)"), "{}", ended.stderr);
}

#[test]
fn json_is_the_analysis_as_data() {
    let folder = folder();
    fs::write(folder.path().join("openapi.json"), document()).expect("it is written");
    let ended = run(larder(&folder).args(["init", "--json", "--from-openapi", "openapi.json"]));
    let said: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(ended.code, DONE);
    assert_eq!(said["routes"][0]["scope"], "user");
    assert_eq!(said["writes"][0]["invalidate"], json!(["note:{id}"]));
    assert_eq!(said["review"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_written_file_passes_its_check_and_is_not_overwritten() {
    let folder = folder();
    fs::write(folder.path().join("openapi.json"), document()).expect("it is written");
    let line = ["init", "--from-openapi", "openapi.json", "--output", "larder.yaml"];
    assert_eq!(run(larder(&folder).args(line)).code, DONE);
    let checked = run(larder(&folder).args(["config", "check"]));
    assert_eq!((checked.code, checked.stderr.as_str()), (DONE, ""));
    assert_eq!(run(larder(&folder).args(["config", "test"])).code, DONE);
    fs::write(folder.path().join("larder.yaml"), "mine").expect("it is written");
    let refused = run(larder(&folder).args(line));
    assert_eq!(refused.code, FAILED);
    assert_eq!(refused.stderr, "larder: larder.yaml is already there; --force overwrites it\n");
    assert_eq!(fs::read_to_string(folder.path().join("larder.yaml")).expect("it is there"), "mine");
    assert_eq!(run(larder(&folder).args(line).arg("--force")).code, DONE);
    assert_ne!(fs::read_to_string(folder.path().join("larder.yaml")).expect("it is there"), "mine");
}

#[test]
fn what_is_no_document_ends_with_1_and_a_wrong_line_with_2() {
    let folder = folder();
    for (text, words) in [
        ("", "larder: it.json: it is empty\n"),
        ("<html>", "FastAPI has that under /openapi.json"),
        ("{\"swagger\": \"2.0\"}", "it is Swagger 2.0"),
        ("{\"openapi\": \"3.1.0\", \"paths\": {}}", "it has no `paths`"),
    ] {
        fs::write(folder.path().join("it.json"), text).expect("it is written");
        let ended = run(larder(&folder).args(["init", "--from-openapi", "it.json", "-o", "larder.yaml"]));
        assert_eq!((ended.code, ended.stdout.as_str()), (FAILED, ""), "{text}");
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
        assert!(!folder.path().join("larder.yaml").exists(), "{text}");
    }
    let ended = run(larder(&folder).args(["init", "--from-openapi", "-"]));
    assert_eq!((ended.code, ended.stderr.as_str()), (FAILED, "larder: -: it is empty\n"));
    for line in [
        vec!["init"],
        vec!["init", "--from-openapi", "x", "--force"],
        vec!["init", "--from-openapi", "x", "-H", "y"],
    ] {
        assert_eq!(run(larder(&folder).args(&line)).code, USAGE, "{line:?}");
    }
}
