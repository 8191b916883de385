//! The project API of `config/projects.yaml`: each kind of write against each kind of read. What a write does not concern
//! is served on, and grows older as if nothing had happened.

use serde_json::{Value, json};

use crate::harness::client::Reply;
use crate::harness::origin::{Answer, Origin, Seen};
use crate::harness::play;
use crate::harness::proxy::Proxy;
use crate::harness::redis::Redis;
use crate::writes::is_write;

/// A kind of read: what is asked, and by whom.
type Read = (&'static str, &'static str, Option<&'static str>);

const LIST: Read = ("list", "/api/projects?page=1", None);
const DETAIL: Read = ("detail", "/api/projects/42", None);
const EXPORT: Read = ("export", "/api/projects/42/export", None);
const DASHBOARD: Read = ("dashboard", "/api/dashboard", Some("7"));
const STATS: Read = ("stats", "/api/stats", None);
const SEARCH: Read = ("search", "/api/search?q=x&page=2", None);
/// Of another project, of another user, and what the first user alone sees of a shared page.
const OTHER_DETAIL: Read = ("detail of 43", "/api/projects/43", None);
const OTHER_EXPORT: Read = ("export of 43", "/api/projects/43/export", None);
const OTHER_DASHBOARD: Read = ("dashboard of 8", "/api/dashboard", Some("8"));
const OWN_DETAIL: Read = ("detail as 7", "/api/projects/43", Some("7"));

const ALL: [Read; 10] =
    [LIST, DETAIL, EXPORT, DASHBOARD, STATS, SEARCH, OTHER_DETAIL, OTHER_EXPORT, OTHER_DASHBOARD, OWN_DETAIL];

fn yaml() -> String {
    let file = include_str!("../../config/projects.yaml");
    let own = |line: &&str| !line.starts_with("upstream:") && !line.starts_with("listen:");
    file.lines().filter(own).map(|line| format!("{line}\n")).collect()
}

fn say(seen: &Seen) -> Answer {
    match seen.target.split('?').next() {
        _ if is_write(seen) => Answer::new(if seen.method == "POST" { 201 } else { 200 }).text("{}"),
        Some("/api/projects") => Answer::json(format!(r#"{{"n":{},"items":[{{"id":42}}]}}"#, seen.nth)),
        _ => Answer::json(format!(r#"{{"n":{}}}"#, seen.nth)),
    }
}

async fn read(proxy: &Proxy, (_, target, user): Read) -> Reply {
    let ask = proxy.get(target);
    match user {
        Some(user) => ask.header("x-user-id", user).reply().await,
        None => ask.reply().await,
    }
}

/// Plays a write against every kind of read: `concerned` are missed, all others hit with their age going on.
async fn play_write(method: &str, target: &str, concerned: &[Read]) {
    let origin = Origin::start(say).await;
    let proxy = Proxy::start(&origin, &yaml()).await;
    let write = async || assert!(proxy.ask(method, target).body("{}").reply().await.status.is_success());
    play_change(&proxy, write, concerned).await;
}

/// The same for any change, whoever tells of it.
async fn play_change(proxy: &Proxy, change: impl AsyncFnOnce(), concerned: &[Read]) {
    let mut stored = Vec::new();
    for (nth, kind) in ALL.into_iter().enumerate() {
        let reply = read(proxy, kind).await;
        assert_eq!(reply.cache(), "MISS", "{}", kind.0);
        stored.push((kind, reply.body, ALL.len() - nth));
        proxy.pass_secs(1);
    }
    change().await;
    proxy.pass_secs(30);
    for (kind, body, age) in stored {
        let reply = read(proxy, kind).await;
        if concerned.contains(&kind) {
            assert_eq!(reply.cache(), "MISS", "{}", kind.0);
            assert_ne!(reply.body, body);
        } else {
            assert_eq!(reply.cache(), "HIT", "{}", kind.0);
            assert_eq!(reply.header("age"), Some((age + 30).to_string().as_str()), "{}", kind.0);
            assert_eq!(reply.body, body);
        }
    }
}

#[test]
fn an_update_of_a_project_outdates_all_that_shows_it_and_nothing_of_others() {
    play(async {
        let project = [LIST, DETAIL, EXPORT, DASHBOARD, OTHER_DASHBOARD, STATS, SEARCH];
        for method in ["PUT", "PATCH", "DELETE"] {
            play_write(method, "/api/projects/42", &project).await;
        }
    });
}

#[test]
fn whoever_tells_of_an_update_outdates_the_same() {
    const EVENT: &str = r#"{"type": "project.updated", "data": {"id": 42}}"#;
    play(async {
        let (origin, redis) = (Origin::start(say).await, Redis::start(&[]));
        let hooks = "webhooks: { /hooks/a: { scheme: bearer, secrets: [a-long-enough-secret] } }\n";
        let yaml = yaml().replace("url: ${REDIS_URL:-}", &format!("subscribe_url: {}", redis.url())) + hooks;
        for teller in ["write", "webhook", "redis", "event", "purge", "cloudflare", "fastly"] {
            let proxy = Proxy::start(&origin, &yaml).await;
            let tell = async || {
                let says = async |path: &str, body: Value| drop(proxy.tell(path, body).await);
                let tags = json!({ "tags": ["project:42"] });
                match teller {
                    "write" => drop(proxy.ask("PUT", "/api/projects/42").body("{}").reply().await),
                    "webhook" => {
                        let ask = proxy.ask("POST", "/hooks/a").body(EVENT);
                        let ask = ask.header("content-type", "application/json");
                        let reply = ask.header("authorization", "Bearer a-long-enough-secret").reply().await;
                        assert_eq!(reply.status, 200, "{}", reply.text());
                    }
                    "redis" => {
                        proxy.counts("larder_redis_connected", 1).await;
                        redis.publish("cache:invalidate", EVENT);
                        proxy.counts("larder_invalidations_total{source=\"redis\",mode=\"hard\"}", 1).await;
                    }
                    "event" => says("/v1/events", serde_json::from_str(EVENT).unwrap()).await,
                    "purge" => says("/v1/purge", tags).await,
                    "cloudflare" => says("/client/v4/zones/any/purge_cache", tags).await,
                    _ => says("/service/any/purge/project:42", json!({})).await,
                }
            };
            play_change(&proxy, tell, &[LIST, DETAIL, EXPORT, DASHBOARD, OTHER_DASHBOARD, STATS, SEARCH])
                .await;
        }
    });
}

#[test]
fn a_classification_outdates_dashboards_and_the_export_and_nothing_else() {
    play(async {
        let concerned = [DASHBOARD, OTHER_DASHBOARD, EXPORT];
        play_write("POST", "/api/projects/42/classifications", &concerned).await;
    });
}

#[test]
fn a_change_of_predicates_outdates_dashboards_and_the_export_and_nothing_else() {
    play(async {
        let concerned = [DASHBOARD, OTHER_DASHBOARD, EXPORT];
        play_write("POST", "/api/projects/42/predicates", &concerned).await;
    });
}

#[test]
fn an_update_of_a_user_outdates_all_that_is_that_users_and_nothing_else() {
    play(async {
        for (method, target) in
            [("PATCH", "/api/users/7/settings"), ("DELETE", "/api/users/7/a/b"), ("PUT", "/api/users/7")]
        {
            play_write(method, target, &[DASHBOARD, OWN_DETAIL]).await;
        }
    });
}

#[test]
fn a_new_project_outdates_lists_and_figures_and_no_project() {
    play(async { play_write("POST", "/api/projects", &[LIST, STATS, SEARCH]).await });
}
