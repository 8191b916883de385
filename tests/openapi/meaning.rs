//! What single signs in a document lead to.

use serde_json::{Value, json};

use larder::openapi::{Analysis, Document, Route, Wishes, analyse};

use crate::{analysed, loaded};

fn of(paths: Value) -> Analysis {
    with(json!({ "paths": paths }))
}

fn with(mut document: Value) -> Analysis {
    document["openapi"] = "3.1.0".into();
    let analysis = analysed(&document.to_string());
    loaded(&analysis.yaml());
    analysis
}

fn route<'a>(analysis: &'a Analysis, template: &str) -> &'a Route {
    analysis.routes.iter().find(|route| route.template == template).unwrap_or_else(|| panic!("{template}"))
}

fn outdated(analysis: &Analysis, method: &str, template: &str) -> Vec<String> {
    let rule = analysis
        .rules
        .iter()
        .find(|rule| rule.template == template && rule.methods.iter().any(|one| one == method));
    rule.map(|rule| rule.invalidate.clone()).unwrap_or_default()
}

fn response(schema: &Value) -> Value {
    json!({ "responses": { "200": { "content": { "application/json": { "schema": schema } } } } })
}

#[test]
fn each_sign_of_who_asks_gives_entries_of_his_own() {
    let signs = [
        json!({ "security": [{ "oauth": [] }] }),
        json!({ "security": [{}, { "oauth": [] }] }),
        json!({ "parameters": [{ "name": "Authorization", "in": "header" }] }),
        json!({ "parameters": [{ "name": "x-token", "in": "header" }] }),
        json!({ "parameters": [{ "name": "X-Tenant-Id", "in": "header" }] }),
        json!({ "parameters": [{ "name": "sid", "in": "cookie" }] }),
        json!({ "responses": { "200": {}, "401": {} } }),
        json!({ "responses": { "200": {}, "403": {} } }),
    ];
    for sign in signs {
        let analysis = of(json!({ "/things": { "get": sign } }));
        let things = route(&analysis, "/things");
        assert_eq!(
            (things.scope(), things.review.iter().any(|why| why.starts_with("authenticated"))),
            (Some("user"), true),
            "{sign}"
        );
    }
    let analysis = with(
        json!({ "security": [{ "key": [] }], "paths": { "/a": { "get": {} }, "/b": { "get": { "security": [] } } } }),
    );
    assert_eq!((route(&analysis, "/a").scope(), route(&analysis, "/b").scope()), (Some("user"), None));
    let mine = of(json!({ "/users/me/orders": { "get": {} } }));
    assert_eq!(route(&mine, "/users/me/orders").scope(), Some("user"));
}

#[test]
fn a_credential_that_larder_does_not_know_is_listed_and_one_in_the_query_keeps_nothing() {
    let scheme = |place: &str, name: &str| json!({ "key": { "type": "apiKey", "in": place, "name": name } });
    let document = |scheme: Value| json!({ "components": { "securitySchemes": scheme }, "paths": { "/things": { "get": { "security": [{ "key": [] }] } } } });
    let analysis = with(document(scheme("header", "device")));
    assert!(
        analysis.credentials.contains(&"device".to_owned())
            && analysis.credentials.contains(&"Authorization".to_owned())
    );
    assert!(with(document(scheme("header", "X-API-Key"))).credentials.is_empty());
    assert!(!route(&with(document(scheme("query", "key"))), "/things").is_kept());
}

#[test]
fn a_dashboard_without_a_sign_of_who_asks_is_for_all_who_show_nothing() {
    let analysis = of(json!({ "/dashboard": { "get": {} } }));
    assert_eq!(route(&analysis, "/dashboard").scope(), Some("auto"));
}

#[test]
fn sessions_streams_health_and_gets_that_act_are_never_kept() {
    let paths = [
        "/auth/session",
        "/login",
        "/users/me",
        "/health",
        "/events/stream",
        "/confirm/{code}",
        "/random",
        "/files/{id}/download",
        "/",
    ];
    for path in paths {
        let analysis = of(json!({ path: { "get": {} } }));
        assert!(!route(&analysis, path).is_kept(), "{path}");
    }
    let sse = json!({ "get": { "responses": { "200": { "content": { "text/event-stream": {} } } } } });
    assert!(!route(&of(json!({ "/ticks": sse })), "/ticks").is_kept());
}

#[test]
fn a_logout_drops_who_writes_and_a_login_nothing() {
    let analysis = of(
        json!({ "/auth/logout": { "post": {} }, "/auth/login": { "post": {} }, "/session": { "delete": {} } }),
    );
    assert_eq!(outdated(&analysis, "POST", "/auth/logout"), ["credential"]);
    assert_eq!(outdated(&analysis, "DELETE", "/session"), ["credential"]);
    assert!(outdated(&analysis, "POST", "/auth/login").is_empty());
    assert!(analysis.skipped.is_empty(), "{:?}", analysis.skipped);
}

#[test]
fn a_word_of_sessions_below_a_thing_is_about_the_thing() {
    let analysis = of(
        json!({ "/races/{id}": { "get": {} }, "/races/{id}/register": { "post": {} }, "/races/{id}/answer": { "post": {} } }),
    );
    for write in ["register", "answer"] {
        assert!(
            outdated(&analysis, "POST", &format!("/races/{{id}}/{write}")).contains(&"race:{id}".to_owned()),
            "{write}"
        );
    }
}

#[test]
fn a_write_names_by_its_body_what_its_path_does_not_tell() {
    let task = json!({ "title": "Task", "properties": { "id": {}, "project_id": {} } });
    let analysis = of(json!({
        "/projects/{project_id}/tasks": { "get": response(&json!({ "type": "array", "items": task })) },
        "/projects/{project_id}": { "get": {} },
        "/tasks/{task_id}": { "patch": response(&task), "delete": {} },
    }));
    let words = outdated(&analysis, "PATCH", "/tasks/{task_id}");
    assert!(words.contains(&"/projects/{body.project_id}/tasks".to_owned()), "{words:?}");
    let words = outdated(&analysis, "DELETE", "/tasks/{task_id}");
    assert!(words.contains(&"/projects/{any1}/tasks".to_owned()), "{words:?}");
}

#[test]
fn posts_that_only_ask_are_proposed_and_outdate_nothing() {
    let analysis = of(
        json!({ "/search": { "post": {} }, "/answers": { "post": { "summary": "Ask" } }, "/things": { "get": {} } }),
    );
    assert_eq!(
        analysis.posts,
        [("/search".to_owned(), String::new()), ("/answers".to_owned(), "Ask".to_owned())]
    );
    assert!(analysis.rules.is_empty() && analysis.yaml().contains("# /search: { methods: [GET, POST]"));
}

#[test]
fn what_cannot_be_told_stands_at_the_head() {
    let analysis = of(
        json!({ "/frobnicate": { "post": {} }, "/things": { "get": {} }, "/things/import": { "post": { "responses": { "202": {} } } } }),
    );
    let yaml = analysis.yaml();
    assert!(
        yaml.contains("#   POST /frobnicate: what it changes beside its own path cannot be told"),
        "{yaml}"
    );
    assert!(yaml.contains("  # review: answered 202: what it begins changes things later"), "{yaml}");
}

#[test]
fn twins_by_a_slash_or_a_name_are_one_route_and_one_rule() {
    let analysis = of(json!({
        "/things": { "get": {} }, "/things/": { "post": {} },
        "/things/{id}": { "get": {}, "put": {} }, "/things/{name}": { "put": {}, "delete": {} },
    }));
    assert_eq!(analysis.routes.len(), 2);
    assert_eq!(outdated(&analysis, "POST", "/things"), ["things"]);
    assert_eq!(outdated(&analysis, "DELETE", "/things/{id}"), ["thing:{id}", "things"]);
}

#[test]
fn webhooks_and_callbacks_are_no_routes_and_what_is_deprecated_says_so() {
    let analysis = with(json!({
        "webhooks": { "new": { "post": {} } },
        "paths": { "/things": { "get": { "deprecated": true, "callbacks": { "done": { "{$request.body#/url}": { "post": {} } } } } } },
    }));
    assert_eq!((analysis.routes.len(), analysis.rules.len()), (1, 0));
    assert!(analysis.yaml().contains("  # deprecated"), "{}", analysis.yaml());
}

#[test]
fn fields_that_change_the_answer_are_part_of_the_key() {
    let analysis = of(json!({ "/prices": { "get": { "parameters": [
        { "name": "X-Currency", "in": "header" }, { "name": "user-agent", "in": "header" }, { "name": "page", "in": "query" }] } } }));
    assert_eq!(route(&analysis, "/prices").headers, ["X-Currency"]);
    let config = loaded(&analysis.yaml());
    assert_eq!(config.routes[0].key.headers, ["x-currency"]);
    assert_eq!(config.routes[0].key.query, None);
}

#[test]
fn the_upstream_and_the_prefix_are_the_servers_unless_said_otherwise() {
    let document = json!({ "openapi": "3.1.0", "servers": [{ "url": "http://api:8080/v1" }], "paths": { "/things": { "get": {} } } });
    let document = Document::parse(&document.to_string()).unwrap();
    let said = |wishes: Wishes| {
        let analysis = analyse(&document, &wishes).unwrap();
        loaded(&analysis.yaml());
        (analysis.upstream.clone(), analysis.routes[0].template.clone())
    };
    assert_eq!(said(Wishes::default()), ("http://api:8080".into(), "/v1/things".into()));
    let wishes =
        Wishes { upstream: "http://localhost:8080".into(), prefix: Some(String::new()), ..Wishes::default() };
    assert_eq!(said(wishes), ("http://localhost:8080".into(), "/things".into()));
}
