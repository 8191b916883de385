//! Documents that nobody would write, or that somebody writes on purpose: the file starts, or an error says why not.

use proptest::prelude::*;
use serde_json::{Value, json};

use larder::config::{Env, Flags, load_str};
use larder::openapi::{Document, Wishes, analyse};

/// What becomes of a text: the file, which starts, or words.
fn outcome(text: &str, wishes: &Wishes) -> Result<String, String> {
    let document = Document::parse(text).map_err(|why| why.to_string())?;
    let analysis = analyse(&document, wishes).map_err(|why| why.to_string())?;
    let yaml = analysis.yaml();
    if let Err(report) = load_str("larder.yaml", &yaml, &Flags::default(), &Env::default()) {
        panic!("{}\n{yaml}\n{text}", report.render(false));
    }
    let _ = analysis.json().to_string();
    Ok(yaml)
}

fn with_paths(paths: Value) -> String {
    json!({ "openapi": "3.1.0", "info": { "title": "T", "version": "1" }, "paths": paths }).to_string()
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "api", "v1", "projects", "tasks", "users", "me", "stats", "search", "export", "jobs", "auth", "logout", "credential",
            "dashboard", "people", "status", "files", "by-name", "bulk", "null", "true", "on", "~", "*", "{any1}", "rest", "credentials",
        ]).prop_map(str::to_owned),
        1 => "[a-zA-Z0-9_.~@+:=!()%,;&'$\\[\\]-]{1,8}",
        1 => "\\PC{1,6}",
        1 => any::<String>().prop_map(|text| text.chars().take(12).collect()),
    ]
}

fn path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        3 => name(),
        2 => prop::sample::select(vec!["{id}", "{project_id}", "{slug}", "{file_path}", "{path}", "{rest}", "{user_id}", "{any1}"]).prop_map(str::to_owned),
        1 => name().prop_map(|name| format!("{{{name}}}")),
        1 => (name(), name()).prop_map(|(before, name)| format!("{before}{{{name}}}")),
    ];
    (prop::collection::vec(segment, 0..6), any::<bool>()).prop_map(|(segments, slash)| {
        let end = if slash { "/" } else { "" };
        format!("/{}{end}", segments.join("/"))
    })
}

fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({})),
        Just(json!({ "type": "integer" })),
        Just(json!(true)),
        Just(json!({ "$ref": "#/components/schemas/Project" })),
        Just(json!({ "$ref": "#/components/schemas/Loop" })),
        Just(json!({ "$ref": "#/nowhere" })),
        Just(json!({ "enum": ["running", "failed", 1, null] })),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|items| json!({ "type": "array", "items": items })),
            prop::collection::btree_map(name(), inner.clone(), 0..4)
                .prop_map(|fields| json!({ "properties": fields })),
            (name(), inner.clone()).prop_map(
                |(title, schema)| json!({ "title": title, "properties": { "id": {}, "items": schema } })
            ),
            prop::collection::vec(inner.clone(), 0..3).prop_map(|all| json!({ "anyOf": all })),
            inner.prop_map(|others| json!({ "allOf": [{ "additionalProperties": others }] })),
        ]
    })
}

fn operation() -> impl Strategy<Value = Value> {
    let parameter = (name(), prop::sample::select(vec!["query", "header", "cookie", "path"]))
        .prop_map(|(name, place)| json!({ "name": name, "in": place }));
    let kind = prop::sample::select(vec!["application/json", "text/csv", "text/event-stream", "text/html"]);
    (any::<String>(), prop::collection::vec(parameter, 0..3), schema(), schema(), kind, any::<bool>())
        .prop_map(|(summary, parameters, takes, gives, kind, secured)| {
            json!({
                "summary": summary,
                "deprecated": secured,
                "parameters": parameters,
                "security": if secured { json!([{ "key": [] }]) } else { json!([]) },
                "requestBody": { "content": { "application/json": { "schema": takes } } },
                "responses": { "200": { "content": { kind: { "schema": gives } } }, "401": {} },
            })
        })
}

fn document() -> impl Strategy<Value = Value> {
    let methods = prop::sample::select(vec!["get", "get", "post", "put", "patch", "delete", "trace", "x"]);
    let item = prop::collection::btree_map(methods, operation(), 1..4);
    let paths = prop::collection::btree_map(path(), item, 1..14);
    (paths, any::<String>(), name(), name()).prop_map(|(paths, title, scheme, server)| {
        json!({
            "openapi": "3.1.0",
            "info": { "title": title, "version": 1 },
            "servers": [{ "url": format!("https://{server}/{server}") }],
            "paths": paths,
            "components": {
                "securitySchemes": { "key": { "type": "apiKey", "in": "header", "name": scheme } },
                "schemas": {
                    "Project": { "properties": { "id": {}, "owner": { "$ref": "#/components/schemas/User" } } },
                    "User": { "properties": { "user_id": {}, "project_id": {} } },
                    "Loop": { "properties": { "id": {}, "next": { "$ref": "#/components/schemas/Loop" } } },
                },
            },
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_document_gives_a_file_that_starts_or_words(document in document()) {
        let _ = outcome(&document.to_string(), &Wishes::default());
    }

    #[test]
    fn any_json_and_any_text_gives_words(text in "\\PC{0,60}", value in schema()) {
        let _ = outcome(&text, &Wishes::default());
        let _ = outcome(&json!({ "openapi": "3.0.0", "paths": value }).to_string(), &Wishes::default());
        let _ = outcome(&with_paths(json!({ "/a": value.clone(), "/b": { "get": value } })), &Wishes::default());
    }
}

#[test]
fn names_that_yaml_or_a_comment_would_obey_stay_where_they_are() {
    let hostile = "x\n  /evil: { scope: public }\n# \u{2028}\"'`: ${HOME} *a &b !c";
    let text = json!({
        "openapi": "3.1.0",
        "info": { "title": hostile, "version": hostile },
        "paths": {
            "/straße/{id}": { "get": { "summary": hostile } },
            format!("/{hostile}"): { "get": {} },
            "/a'b\"c": { "get": {} },
            "/null": { "get": {}, "post": { "summary": hostile } },
            "/*/{id}": { "get": {}, "delete": {} },
        },
    });
    let wishes = Wishes { source: hostile.to_owned(), ..Wishes::default() };
    let yaml = outcome(&text.to_string(), &wishes).unwrap();
    assert!(!yaml.lines().any(|line| line.trim_start().starts_with("/evil")), "{yaml}");
    assert!(yaml.contains("\"/straße/{id}\":"), "{yaml}");
    assert!(yaml.contains("no rule is made for"), "{yaml}");
}

#[test]
fn two_thousand_routes_are_one_file() {
    let path = |n: usize| format!("/api/things{n}/{{id}}");
    let paths: serde_json::Map<String, Value> = (0..2_000)
        .map(|n| (path(n), json!({ "get": { "security": [{ "b": [] }] }, "put": {}, "delete": {} })))
        .collect();
    let yaml = outcome(&with_paths(Value::Object(paths)), &Wishes::default()).unwrap();
    assert_eq!(yaml.matches("scope: user").count(), 2_000);
}

#[test]
fn a_large_document_is_read_and_one_that_is_too_large_is_refused() {
    let long = "x".repeat(5 << 20);
    let text = with_paths(json!({ "/a": { "get": { "description": long } } }));
    assert!(outcome(&text, &Wishes::default()).unwrap().contains("  /a:\n"));
    let text = with_paths(json!({ "/a": { "get": { "description": "x".repeat(17 << 20) } } }));
    assert_eq!(outcome(&text, &Wishes::default()).unwrap_err(), "it is larger than 16 MiB");
}

#[test]
fn what_no_rule_can_name_is_told_and_the_rest_is_there() {
    let paths = json!({ "/a/{x}-{y}": { "get": {} }, "/b": { "get": {} } });
    let yaml = outcome(&with_paths(paths), &Wishes::default()).unwrap();
    assert!(yaml.contains("#   /a/{x}-{y}: one segment can hold only one parameter"), "{yaml}");
    let why = outcome(&with_paths(json!({ "/a/{x}-{y}": { "get": {} } })), &Wishes::default()).unwrap_err();
    assert!(why.contains("none of its paths can have a rule; the first: /a/{x}-{y}"), "{why}");
}
