//! The files under `config/`.

use std::path::{Path, PathBuf};

use larder::config::{Config, Env, Flags, load, load_str, schema};
use larder::flow::ServerError;
use larder::guard::Framing;
use larder::policy::{ClientNoCache, HeadRule, PartLength, RangeRule, Scope, SetCookie, StoreErrors};
use serde_json::Value;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn loaded(name: &str) -> Config {
    let flags = Flags { config: Some(path(name)), ..Flags::default() };
    load(&flags, &Env::default()).unwrap_or_else(|report| panic!("{report}"))
}

#[test]
fn every_published_file_is_good_and_silent_but_for_what_it_says_of_warming() {
    for name in ["quickstart.yaml", "projects.yaml", "example.yaml", "standards.yaml"] {
        let config = loaded(name);
        assert!(config.warnings.problems.is_empty(), "{name}\n{}", config.warnings);
    }
}

/// The fenced blocks of YAML in a text.
fn blocks(text: &str) -> Vec<&str> {
    let fenced = text.split("```yaml\n").skip(1);
    fenced.map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

#[test]
fn every_recipe_is_a_whole_file_that_is_good_and_silent() {
    let text = text("RECIPES.md");
    let recipes = blocks(&text);
    assert!(recipes.len() >= 6, "{}", recipes.len());
    for recipe in recipes {
        let config = load_str("recipe.yaml", recipe, &Flags::default(), &Env::default());
        let config = config.unwrap_or_else(|report| panic!("{recipe}\n{report}"));
        assert!(config.warnings.problems.is_empty(), "{recipe}\n{}", config.warnings);
    }
}

#[test]
fn the_quickstart_has_three_lines() {
    assert_eq!(
        text("quickstart.yaml"),
        "upstream: http://localhost:8000\nroutes:\n  /api/projects/{id}: 30m\n"
    );
}

#[test]
fn the_project_api_is_as_designed() {
    let config = loaded("projects.yaml");
    let ttl = |template: &str| {
        let route = config.routes.iter().find(|route| route.template == template).unwrap();
        route.rule.ttl.map(|ttl| ttl.as_secs() / 60)
    };
    for (template, minutes) in [
        ("/api/projects", 10),
        ("/api/projects/{id}", 30),
        ("/api/projects/{id}/export", 60),
        ("/api/dashboard", 5),
        ("/api/stats", 15),
        ("/api/search", 20),
        ("/api/jobs/{id}", 60),
    ] {
        assert_eq!(ttl(template), Some(minutes), "{template}");
    }
    let auth = config.routes.last().unwrap();
    assert!(auth.bypass && auth.template == "/api/auth/{rest:path}");
}

#[test]
fn the_standards_are_every_word_of_the_letter_and_no_route() {
    let config = loaded("standards.yaml");
    assert!(config.routes.is_empty());
    assert_eq!((config.upstream.framing, config.flow.on_server_error), (Framing::Lenient, ServerError::Keep));
    let rule = config.unmatched.unwrap().rule;
    assert_eq!((rule.ttl, rule.heuristic), (None, true));
    assert_eq!((rule.scope, rule.client_no_cache), (Scope::Origin, ClientNoCache::Honor));
    assert_eq!((rule.set_cookie, rule.store_errors), (SetCookie::Store, StoreErrors::IfFresh));
    assert_eq!((rule.head, rule.range), (HeadRule::Forward, RangeRule::Forward));
    assert_eq!(rule.part_length, PartLength::AsItCame);
}

#[test]
fn no_damage_to_a_file_makes_the_reading_panic() {
    let example = text("example.yaml");
    let lines: Vec<_> = example.lines().collect();
    let read = |text: &str| {
        let _ = load_str("f", text, &Flags::default(), &Env::default()).map_err(|report| report.render(true));
    };
    for at in 0..lines.len() {
        read(&[&lines[..at], &lines[at + 1..]].concat().join("\n"));
        read(&lines[..at].join("\n"));
        for sign in ["{", "\t", "\"", "${", "é"] {
            let middle = lines[at].len() / 2;
            let damaged = match lines[at].split_at_checked(middle) {
                Some((head, tail)) => format!("{head}{sign}{tail}"),
                None => continue,
            };
            read(&[&lines[..at], &[damaged.as_str()], &lines[at + 1..]].concat().join("\n"));
        }
    }
}

#[test]
fn the_published_schema_is_the_one_that_is_read() {
    let published: Value = serde_json::from_str(&text("larder.schema.json")).unwrap();
    assert_eq!(published, schema(), "run `larder config schema > config/larder.schema.json`");
}

#[test]
fn the_example_names_every_key() {
    let example = text("example.yaml");
    let mut keys = Vec::new();
    collect(&schema(), &mut keys);
    assert!(keys.len() > 60, "the schema was walked: {}", keys.len());
    let missing: Vec<_> = keys.iter().filter(|key| !example.contains(&format!("{key}:"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn collect(schema: &Value, keys: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                for (key, described) in properties {
                    let words = described["description"].as_str().unwrap_or_default();
                    assert!(!words.is_empty(), "`{key}` has no description");
                    keys.push(key.clone());
                }
            }
            map.values().for_each(|value| collect(value, keys));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, keys)),
        _ => {}
    }
}

#[test]
fn what_is_shown_is_a_configuration_that_says_the_same() {
    for name in ["quickstart.yaml", "projects.yaml", "example.yaml", "standards.yaml"] {
        let config = loaded(name);
        let shown = config.yaml().replace("<redacted>", "secret");
        let again = load_str("shown.yaml", &shown, &Flags::default(), &Env::default());
        let again = again.unwrap_or_else(|report| panic!("{name}\n{shown}\n{report}"));
        assert_eq!(format!("{:?}", config.routes), format!("{:?}", again.routes), "{name}");
        assert_eq!(format!("{:?}", config.unmatched), format!("{:?}", again.unmatched), "{name}");
        assert_eq!(config.digest, again.digest, "{name}\n{shown}");
    }
}
