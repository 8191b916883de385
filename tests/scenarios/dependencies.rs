//! What is derived from what was outdated goes with it, however far, unless a rule says that it stays.

use crate::harness::origin::{Answer, Origin};
use crate::harness::play;
use crate::harness::proxy::Proxy;
use crate::writes::{cache, store, writing};

const ROUTES: &str = "routes:\n  '/a/{id}': { ttl: 1h, tags: 'a:{id}' }\n  '/b/{id}': { ttl: 1h, tags: 'b:{id}' }\n  \
                      '/c/{id}': { ttl: 1h, tags: 'c:{id}' }\n  /sum: 1h\n  /other: 1h\n";
const CHAIN: &str = "dependencies: { 'a:{id}': 'b:{id} /sum', 'b:{x}': 'c:{x}' }\n";
const ALL: [&str; 7] = ["/a/1", "/a/2", "/b/1", "/b/2", "/c/1", "/sum", "/other"];

async fn proxy(yaml: &str) -> (Origin, Proxy) {
    let origin = writing(|_| Answer::new(204)).await;
    let proxy = Proxy::start(&origin, &format!("{ROUTES}{yaml}")).await;
    store(&proxy, &ALL).await;
    (origin, proxy)
}

async fn gone(proxy: &Proxy) -> Vec<&'static str> {
    let mut gone = Vec::new();
    for target in ALL {
        if cache(proxy, target).await != "HIT" {
            gone.push(target);
        }
    }
    gone
}

#[test]
fn what_is_derived_from_what_is_derived_goes_too() {
    play(async {
        let (_origin, proxy) = proxy(&format!("{CHAIN}writes: {{ 'PUT /q/{{id}}': 'a:{{id}}' }}")).await;
        proxy.ask("PUT", "/q/1").reply().await;
        assert_eq!(gone(&proxy).await, ["/a/1", "/b/1", "/c/1", "/sum"]);
    });
}

#[test]
fn whoever_outdates_a_source_outdates_what_is_derived_from_it() {
    play(async {
        let (_origin, proxy) = proxy(CHAIN).await;
        proxy.outdate("b:1").await;
        assert_eq!(gone(&proxy).await, ["/b/1", "/c/1"]);
        proxy.outdate("a:*").await;
        assert_eq!(gone(&proxy).await, ["/a/1", "/a/2", "/b/1", "/b/2", "/c/1", "/sum"]);
    });
}

#[test]
fn a_path_is_a_source_like_any_and_every_write_to_it_counts() {
    play(async {
        let (_origin, proxy) = proxy("dependencies: { '/a/{id}': 'c:{id} /b/{id}' }").await;
        proxy.ask("DELETE", "/a/1/").reply().await;
        assert_eq!(gone(&proxy).await, ["/a/1", "/b/1", "/c/1"]);
        proxy.ask("DELETE", "/a/2").reply().await;
        assert_eq!(gone(&proxy).await, ["/a/2", "/b/2"]);
    });
}

#[test]
fn a_rule_without_cascade_outdates_what_it_names_and_its_target_alone() {
    play(async {
        let sources = "dependencies: { 'a:{id}': 'b:{id}', '/other': 'c:1' }\n";
        let rules = "writes:\n  ANY /other: { invalidate: 'a:1', cascade: false }\n  PUT /other: 'a:2'";
        let (_origin, proxy) = proxy(&format!("{sources}{rules}")).await;
        proxy.ask("POST", "/other").reply().await;
        assert_eq!(gone(&proxy).await, ["/a/1", "/other"]);
        proxy.ask("PUT", "/other").reply().await;
        let both = ["/a/1", "/a/2", "/b/2", "/c/1", "/other"];
        assert_eq!(gone(&proxy).await, both, "another rule cascades, and only what it names");
    });
}

#[test]
fn groups_named_in_band_take_what_is_derived_with_them() {
    play(async {
        let origin = writing(|_| Answer::new(204).header("cache-group-invalidation", r#""a:1""#)).await;
        let proxy = Proxy::start(&origin, &format!("{ROUTES}{CHAIN}")).await;
        store(&proxy, &ALL).await;
        proxy.ask("POST", "/q").reply().await;
        assert_eq!(gone(&proxy).await, ["/a/1", "/b/1", "/c/1", "/sum"]);
    });
}
