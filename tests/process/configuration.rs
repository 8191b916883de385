//! A configuration that is wrong: exit 78, and enough words to put it right.

use std::fs;
use std::path::Path;

use crate::harness::{Ended, folder, free_port, full, larder, run};

const BAD_CONFIGURATION: i32 = 78;

/// `larder run` and `larder config check` on one file: both must refuse it alike.
#[track_caller]
fn refused(config: &str, words: &[&str]) {
    let folder = folder();
    fs::write(folder.path().join("larder.yaml"), config).expect("the file is written");
    let listen = format!("127.0.0.1:{}", free_port());
    run(larder(&folder).args(["run", "--config", "larder.yaml", "--listen", &listen]))
        .assert(BAD_CONFIGURATION, words);
    run(larder(&folder).args(["config", "check", "larder.yaml"])).assert(BAD_CONFIGURATION, words);
}

#[test]
fn an_unknown_key_is_shown_where_it_stands_with_the_nearest_known_one() {
    refused(
        "upstream: http://localhost:1\nroutes:\n  /api/stats: { ttll: 15m }\n",
        &["larder.yaml:3:17", "/api/stats: { ttll: 15m }", "ttll", "`ttl`"],
    );
    refused("upstream: http://localhost:1\nruotes: {}\n", &["larder.yaml:2:1", "ruotes: {}", "`routes`"]);
}

#[test]
fn a_duplicate_key_is_refused_where_it_stands() {
    refused("upstream: http://localhost:1\nroutes: {}\nroutes: {}\n", &["larder.yaml:3:1", "routes"]);
}

#[test]
fn a_value_that_means_nothing_is_shown_where_it_stands() {
    let config = "upstream: http://localhost:1\nroutes:\n  /api/stats: soon\n";
    refused(config, &["larder.yaml:3:15", "soon"]);
}

#[test]
fn an_unset_variable_is_named() {
    refused("upstream: ${NOWHERE_SET}\n", &["larder.yaml:1:11", "NOWHERE_SET"]);
    refused("upstream: ${NOWHERE_SET:?say where the API is}\n", &["NOWHERE_SET", "say where the API is"]);
}

#[test]
fn a_yaml_tag_is_refused() {
    refused("upstream: !str http://localhost:1\n", &["larder.yaml:1:11"]);
}

#[test]
fn a_missing_upstream_is_named() {
    refused("routes: {}\n", &["upstream"]);
}

#[test]
fn a_key_that_nobody_knows_is_not_ignored() {
    refused("upstream: http://localhost:1\nmodes: shadow\n", &["larder.yaml:2:1", "did you mean `mode`"]);
}

#[test]
fn an_admin_listener_for_everyone_needs_a_token() {
    refused("upstream: http://localhost:1\nadmin: { listen: 0.0.0.0:8081 }\n", &["token"]);
}

#[test]
fn a_missing_file_is_named() {
    let ended = run(larder(&folder()).args(["run", "--config", "nowhere.yaml"]));
    ended.assert(BAD_CONFIGURATION, &["nowhere.yaml"]);
}

#[test]
fn a_bad_environment_variable_is_named() {
    for (name, value) in [("CACHE_TTL", "soon"), ("CACHE_ENABLED", "perhaps"), ("CACHE_MAX_ENTRIES", "-1")] {
        let folder = folder();
        let ended = run(larder(&folder).args(["run", "--upstream", "http://localhost:1"]).env(name, value));
        ended.assert(BAD_CONFIGURATION, &[name, value]);
    }
}

#[test]
fn every_shipped_file_passes_its_check() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let names = ["quickstart.yaml", "example.yaml", "projects.yaml"];
    for path in names.map(|name| shipped.join(name)) {
        check(&path).assert(0, &[]);
    }
}

#[test]
fn the_tests_in_shipped_files_hold_and_one_that_does_not_fails() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    for (name, count) in [("projects.yaml", "11 tests, 0 failed"), ("example.yaml", "4 tests, 0 failed")] {
        let ended = run(larder(&folder()).args(["config", "test"]).arg(shipped.join(name)));
        ended.assert(0, &[]);
        assert!(ended.stdout.contains(count), "{}", ended.stdout);
    }
    let folder = folder();
    let text = "upstream: http://localhost:1\ntests:\n  - { request: PUT /a, invalidates: b }\n";
    fs::write(folder.path().join("larder.yaml"), text).expect("the file is written");
    let ended = run(larder(&folder).args(["config", "test"]));
    ended.assert(1, &[]);
    assert!(ended.stdout.contains("larder.yaml:3: PUT /a: FAILED"), "{}", ended.stdout);
}

fn check(path: &Path) -> Ended {
    run(larder(&folder()).args(["config", "check"]).arg(path))
}

#[test]
fn the_schema_is_json_on_stdout() {
    let ended = run(larder(&folder()).args(["config", "schema"]));
    ended.assert(0, &[]);
    let schema: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert!(schema["properties"]["upstream"].is_object());
}

#[test]
fn data_that_cannot_be_written_is_a_failure() {
    for line in [
        "config schema",
        "config show --upstream http://localhost:1",
        "config check --upstream http://localhost:1",
        "--version",
        "--help",
    ] {
        let ended = larder(&folder()).args(line.split(' ')).stdout(full()).output().expect("larder starts");
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{line}: {stderr}");
        assert!(stderr.contains("larder: cannot write: No space left on device"), "{line}: {stderr}");
    }
}

#[test]
fn a_reader_of_data_that_has_enough_of_it_is_no_failure() {
    for line in ["config schema", "--help"] {
        let (reader, closed) = std::io::pipe().expect("a pipe");
        drop(reader);
        let ended = larder(&folder()).args(line.split(' ')).stdout(closed).output().expect("larder starts");
        assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0), "{line}: {ended:?}");
    }
}
