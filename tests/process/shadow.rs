//! Shadow mode and the end of the process, however sudden: nothing that was noted before counts afterwards.

use crate::harness::{Origin, Proxy, get, until};
use crate::redis_server::Redis;

/// How many requests were noted, and how many the cache would have answered.
fn noted(proxy: &Proxy) -> (u64, u64) {
    let usage: serde_json::Value = serde_json::from_str(&get(proxy.admin, "/v1/usage").body).expect("JSON");
    let requests = &usage["all"]["shadow"]["requests"];
    let count = |key: &str| requests[key].as_u64().unwrap_or_default();
    (count("all"), count("hit"))
}

#[test]
fn after_a_kill_the_shadow_begins_anew_and_nothing_comes_out_of_the_cache() {
    let redis = Redis::start(&[]);
    for rest in [String::new(), format!("redis: {{ url: '{}', lease: 1s }}\n", redis.url())] {
        let config = format!(
            "hosts: localhost\nmode: shadow\nroutes: {{ '/{{x}}': 1h }}\nlog: {{ access: off }}\n{rest}"
        );
        let origin = Origin::start();
        let proxy = Proxy::start(origin.address, &config);
        until("the cache would answer", || {
            assert!(get(proxy.listen, "/x").head.contains("x-cache: bypass"));
            (noted(&proxy).1 >= 3).then_some(())
        });
        proxy.signal("KILL");
        assert_eq!(proxy.join().code(), None);
        let proxy = Proxy::start(origin.address, &config);
        assert_eq!(noted(&proxy), (0, 0));
        let reply = get(proxy.listen, "/x");
        assert!(reply.head.contains("detail=shadow"), "{}", reply.head);
        assert_eq!(noted(&proxy), (1, 0), "what was noted before is gone");
        until("the cache would answer again", || {
            assert!(get(proxy.listen, "/x").head.contains("x-cache: bypass"));
            (noted(&proxy).1 >= 1).then_some(())
        });
    }
}
