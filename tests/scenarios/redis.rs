//! What a backend says on Redis channels is outdated; and what becomes of what is kept while nobody heard it.
//!
//! Redis is a real one. A message is applied after PUBLISH has answered, so a test waits until it sees that.

use std::time::Duration;

use crate::harness::Gate;
use crate::harness::client::{Reply, all};
use crate::harness::origin::{Answer, Origin};
use crate::harness::play;
use crate::harness::proxy::Proxy;
use crate::harness::redis::Redis;
use crate::harness::relay::Relay;

const CHANNEL: &str = "cache:invalidate";
const GAPS: &str = "larder_redis_gaps_total";
const CONNECTED: &str = "larder_redis_connected";
const BAD: &str = "larder_redis_bad_messages_total";

/// Longest time until a connection that says nothing is given up.
const SILENCE: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(3)];

/// Pages that live for an hour, before a backend that publishes on `url`.
fn listening(url: &str) -> String {
    format!(
        "redis: {{ subscribe_url: '{url}', subscribe: {CHANNEL} }}\n\
         routes: {{ '/pages/{{id}}': 1h, /other: 1h }}\n\
         events: {{ page.changed: '/pages/{{id}}' }}\n"
    )
}

async fn cached(proxy: &Proxy, path: &str) -> String {
    proxy.get(path).reply().await.cache().to_owned()
}

/// Stores every one of `paths`.
async fn stored(proxy: &Proxy, paths: &[&str]) {
    for path in paths {
        proxy.get(path).reply().await;
        assert_eq!(cached(proxy, path).await, "HIT");
    }
}

/// Moves tokio's time on; the clock of the proxy stands still.
async fn time_passes(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

// ---- what is said ------------------------------------------------------------------------------------------------

#[test]
fn every_form_of_message_outdates_what_it_names_and_nothing_else() {
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let proxy = Proxy::start(&origin, &listening(&redis.url())).await;
        for message in [
            "/pages/1 /pages/2",
            "\"/pages/1\"",
            r#"["/pages/1", "/pages/{any}/x"]"#,
            r#"{"paths": ["/pages/1"]}"#,
            r#"{"paths": "/pages/1", "soft": false}"#,
            r#"{"prefixes": ["/pages"]}"#,
            r#"{"globs": ["/page*/1"]}"#,
            r#"{"type": "page.changed", "data": {"id": 1}}"#,
            r#"{"specversion": "1.0", "type": "page.changed", "source": "/cms", "id": "1", "data": {"id": 1}}"#,
        ] {
            stored(&proxy, &["/pages/1", "/other"]).await;
            assert_eq!(redis.publish(CHANNEL, message), 1, "one Larder hears it");
            proxy.becomes("/pages/1", "MISS").await;
            assert_eq!(cached(&proxy, "/other").await, "HIT", "{message}");
        }
        stored(&proxy, &["/pages/1", "/other"]).await;
        redis.publish(CHANNEL, r#"{"all": true}"#);
        proxy.becomes("/pages/1", "MISS").await;
        assert_eq!(cached(&proxy, "/other").await, "MISS");
        assert_eq!((proxy.metric(GAPS).await, proxy.metric(BAD).await), (0, 0));
    });
}

#[test]
fn several_channels_are_heard_and_patterns_of_them_and_no_others() {
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let yaml = listening(&redis.url()).replace(CHANNEL, "[first, 'second:*', 'third[ab]']");
        let proxy = Proxy::start(&origin, &yaml).await;
        for channel in ["first", "second:x", "second:", "thirda"] {
            stored(&proxy, &["/pages/1"]).await;
            assert_eq!(redis.publish(channel, "/pages/1"), 1, "{channel}");
            proxy.becomes("/pages/1", "MISS").await;
        }
        for channel in ["first:x", "second", "thirdc"] {
            assert_eq!(redis.publish(channel, "/pages/1"), 0, "{channel}");
        }
    });
}

#[test]
fn a_message_with_an_id_counts_once() {
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let proxy = Proxy::start(&origin, &listening(&redis.url())).await;
        let message = r#"{"paths": ["/pages/1"], "id": "e1"}"#;
        stored(&proxy, &["/pages/1"]).await;
        redis.publish(CHANNEL, message);
        proxy.becomes("/pages/1", "MISS").await;
        stored(&proxy, &["/pages/1", "/other"]).await;
        redis.publish(CHANNEL, message);
        redis.publish(CHANNEL, "/other");
        proxy.becomes("/other", "MISS").await;
        assert_eq!(cached(&proxy, "/pages/1").await, "HIT", "the same message came again");
        redis.publish(CHANNEL, message.replace("e1", "e2"));
        proxy.becomes("/pages/1", "MISS").await;
        stored(&proxy, &["/pages/2"]).await;
        redis.publish(CHANNEL, message.replace("/pages/1", "/pages/2"));
        proxy.becomes("/pages/2", "MISS").await;
    });
}

#[test]
fn what_is_not_understood_is_counted_and_what_follows_is_heard() {
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let proxy = Proxy::start(&origin, &listening(&redis.url())).await;
        stored(&proxy, &["/pages/1", "/other"]).await;
        let bad: [&[u8]; 8] = [
            b"",
            b"{",
            b"\xff\xfe",
            b"{\"tag\": [\"a\"]}",
            b"[1, 2]",
            &[b'['; 100_000],
            &[b'x'; 1_000_000],
            b"/pages/{1",
        ];
        for message in bad {
            assert_eq!(redis.publish(CHANNEL, message), 1);
        }
        redis.publish(CHANNEL, "/pages/1");
        proxy.becomes("/pages/1", "MISS").await;
        assert_eq!(proxy.metric(BAD).await, bad.len() as u64);
        assert_eq!(proxy.subscription().bad_messages, bad.len() as u64);
        assert_eq!(cached(&proxy, "/other").await, "HIT");
        assert_eq!((proxy.metric(CONNECTED).await, proxy.metric(GAPS).await), (1, 0));
    });
}

#[test]
fn a_fetch_that_began_before_the_message_is_not_stored() {
    play(async {
        let (redis, gate) = (Redis::start(&[]), Gate::default());
        let origin = Origin::telling([Answer::json("old").held(&gate), Answer::json("new")]).await;
        let proxy = Proxy::start(&origin, &listening(&redis.url())).await;
        let early = proxy.get("/pages/1").under_way();
        origin.arrived(1).await;
        stored(&proxy, &["/other"]).await;
        redis.publish(CHANNEL, "/pages/1 /other");
        proxy.becomes("/other", "MISS").await;
        gate.open();
        assert_eq!(early.await.unwrap().text(), "old");
        let after = proxy.get("/pages/1").reply().await;
        assert_eq!((after.cache(), after.text()), ("MISS", "new"));
    });
}

// ---- what is not heard -------------------------------------------------------------------------------------------

#[test]
fn after_redis_died_and_came_back_nothing_kept_before_is_served() {
    play(async {
        let (mut redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let proxy = Proxy::start(&origin, &listening(&redis.url())).await;
        stored(&proxy, &["/pages/1"]).await;
        for gaps in 1..=2 {
            redis.kill();
            proxy.counts(CONNECTED, 0).await;
            assert_eq!(cached(&proxy, "/pages/1").await, "HIT", "reads go on without Redis");
            assert!(proxy.subscription().last_error.is_some());
            redis.restart();
            proxy.counts(GAPS, gaps).await;
            proxy.counts(CONNECTED, 1).await;
            assert_eq!(cached(&proxy, "/pages/1").await, "MISS");
            stored(&proxy, &["/pages/1"]).await;
        }
        redis.publish(CHANNEL, "/pages/1");
        proxy.becomes("/pages/1", "MISS").await;
    });
}

#[test]
fn what_was_said_while_the_connection_was_gone_is_made_good() {
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let relay = Relay::to(redis.address()).await;
        let proxy = Proxy::start(&origin, &listening(&format!("redis://{}", relay.address))).await;
        stored(&proxy, &["/pages/1"]).await;
        relay.cut();
        proxy.counts(CONNECTED, 0).await;
        assert_eq!(redis.publish(CHANNEL, "/pages/1"), 0, "nobody hears it");
        assert_eq!(cached(&proxy, "/pages/1").await, "HIT", "pub/sub is best effort");
        relay.mend();
        proxy.counts(CONNECTED, 1).await;
        assert_eq!(cached(&proxy, "/pages/1").await, "MISS");
        assert_eq!(proxy.metric(GAPS).await, 1);
    });
}

#[test]
fn a_connection_that_went_dead_is_noticed_and_what_redis_believes_was_heard_is_made_good() {
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let relay = Relay::to(redis.address()).await;
        let proxy = Proxy::start(&origin, &listening(&format!("redis://{}", relay.address))).await;
        stored(&proxy, &["/pages/1"]).await;
        relay.go_dead();
        assert_eq!(redis.publish(CHANNEL, "/pages/1"), 1, "as far as Redis knows");
        assert_eq!(cached(&proxy, "/pages/1").await, "HIT");
        for silence in SILENCE {
            time_passes(silence).await;
            proxy.settled().await;
        }
        proxy.counts(GAPS, 1).await;
        assert_eq!(cached(&proxy, "/pages/1").await, "MISS");
    });
}

#[test]
fn a_redis_that_stands_still_is_noticed_and_heard_again_when_it_goes_on() {
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let proxy = Proxy::start(&origin, &listening(&redis.url())).await;
        stored(&proxy, &["/pages/1"]).await;
        redis.signal("STOP");
        for silence in SILENCE {
            time_passes(silence).await;
            proxy.settled().await;
        }
        proxy.counts(CONNECTED, 0).await;
        assert_eq!(cached(&proxy, "/pages/1").await, "HIT");
        redis.signal("CONT");
        proxy.counts(GAPS, 1).await;
        proxy.counts(CONNECTED, 1).await;
        assert_eq!(cached(&proxy, "/pages/1").await, "MISS");
    });
}

#[test]
fn a_quiet_redis_is_asked_and_stays_connected() {
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let proxy = Proxy::start(&origin, &listening(&redis.url())).await;
        for _ in 0..5 {
            time_passes(SILENCE[0]).await;
            proxy.settled().await;
            // It has answered once it is idle for less long than it was quiet.
            while redis.idle_subscriber() > 1 {
                proxy.settled().await;
            }
        }
        assert_eq!((proxy.metric(CONNECTED).await, proxy.metric(GAPS).await), (1, 0));
    });
}

#[test]
fn who_lags_behind_is_left_by_redis_and_that_is_a_gap() {
    play(async {
        let limit = ["--client-output-buffer-limit", "pubsub 64kb 0 0"];
        let (redis, origin) = (Redis::start(&limit), Origin::counting().await);
        let relay = Relay::to(redis.address()).await;
        let proxy = Proxy::start(&origin, &listening(&format!("redis://{}", relay.address))).await;
        stored(&proxy, &["/pages/1"]).await;
        relay.go_dead();
        while redis.subscribers(CHANNEL) > 0 {
            redis.publish_all(CHANNEL, (0..500).map(|_| [b'x'; 4096]));
        }
        redis.publish(CHANNEL, "/pages/1");
        relay.cut();
        relay.mend();
        proxy.counts(GAPS, 1).await;
        assert_eq!(cached(&proxy, "/pages/1").await, "MISS");
    });
}

#[test]
fn a_message_larger_than_is_held_ends_the_connection_and_that_is_a_gap() {
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let proxy = Proxy::start(&origin, &listening(&redis.url())).await;
        stored(&proxy, &["/pages/1"]).await;
        redis.publish(CHANNEL, vec![b'x'; 17 << 20]);
        proxy.counts(GAPS, 1).await;
        assert_eq!(cached(&proxy, "/pages/1").await, "MISS");
        stored(&proxy, &["/pages/1"]).await;
        redis.publish(CHANNEL, "/pages/1");
        proxy.becomes("/pages/1", "MISS").await;
    });
}

async fn after_a_gap(on_gap: &str) -> Reply {
    let (mut redis, origin) = (Redis::start(&[]), Origin::counting().await);
    let yaml = listening(&redis.url())
        .replace("subscribe:", &format!("on_gap: {on_gap}, subscribe:"))
        .replace("1h", "{ ttl: 1h, stale_while_revalidate: 1h }");
    let proxy = Proxy::start(&origin, &yaml).await;
    stored(&proxy, &["/pages/1"]).await;
    redis.kill();
    proxy.counts(CONNECTED, 0).await;
    redis.restart();
    proxy.counts(CONNECTED, 1).await;
    assert_eq!(proxy.metric(GAPS).await, 1, "it is counted whatever follows");
    proxy.get("/pages/1").reply().await
}

#[test]
fn under_ignore_everything_is_served_after_a_gap_as_before() {
    play(async {
        let reply = after_a_gap("ignore").await;
        assert_eq!((reply.cache(), reply.text()), ("HIT", "1"));
    });
}

#[test]
fn under_soft_purge_everything_is_stale_after_a_gap() {
    play(async {
        let reply = after_a_gap("soft-purge").await;
        assert_eq!((reply.cache(), reply.text()), ("STALE", "1"));
    });
}

// ---- the beginning -----------------------------------------------------------------------------------------------

#[test]
fn what_is_warmed_at_start_is_warmed_after_the_channels_are_heard_and_kept() {
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let yaml = listening(&redis.url()) + "warm: { requests: [{ get: /pages/1 }] }";
        let proxy = Proxy::start(&origin, &yaml).await;
        assert!(proxy.subscription().connected, "before anything is served");
        proxy.ready().await;
        assert_eq!(cached(&proxy, "/pages/1").await, "HIT");
        assert_eq!(proxy.metric(GAPS).await, 0);
    });
}

#[test]
fn a_redis_that_is_absent_at_start_is_waited_for_and_what_was_stored_before_goes() {
    play(async {
        let (absent, origin) = (Redis::absent(), Origin::counting().await);
        let proxy = Proxy::start(&origin, &listening(&absent.url())).await;
        assert_eq!(proxy.metric(CONNECTED).await, 0);
        stored(&proxy, &["/pages/1"]).await;
        let stands = async || {
            let (ready, health) = (proxy.admin("/readyz").await, proxy.admin("/api/cache/health").await);
            assert_eq!((ready.status.as_u16(), health.status.as_u16()), (200, 200), "it goes on");
            let (ready, health) = (ready.json(), health.json());
            [&ready["status"], &health["status"], &health["layers"]["redis"]["status"]]
                .map(|word| word.as_str().unwrap().to_owned())
        };
        assert_eq!(stands().await, ["degraded"; 3]);
        let redis = absent.appear();
        proxy.counts(GAPS, 1).await;
        proxy.counts(CONNECTED, 1).await;
        assert_eq!(stands().await, ["ready", "healthy", "healthy"]);
        assert_eq!(cached(&proxy, "/pages/1").await, "MISS");
        redis.publish(CHANNEL, "/pages/1");
        proxy.becomes("/pages/1", "MISS").await;
    });
}

#[test]
fn a_fetch_that_began_before_the_channels_were_heard_is_not_stored() {
    play(async {
        let (absent, gate) = (Redis::absent(), Gate::default());
        let origin = Origin::telling([Answer::json("old").held(&gate), Answer::json("new")]).await;
        let proxy = Proxy::start(&origin, &listening(&absent.url())).await;
        let early = proxy.get("/pages/1").under_way();
        origin.arrived(1).await;
        let _redis = absent.appear();
        proxy.counts(CONNECTED, 1).await;
        gate.open();
        assert_eq!(early.await.unwrap().text(), "old");
        assert_eq!(proxy.get("/pages/1").reply().await.text(), "new");
    });
}

// ---- who may listen ----------------------------------------------------------------------------------------------

#[test]
fn a_wrong_password_is_told_and_tried_again() {
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let url = format!("redis://larder:right@{}", redis.address());
        let proxy = Proxy::start(&origin, &listening(&url)).await;
        let why = proxy.subscription().last_error.unwrap();
        assert!(why.starts_with("it refuses: WRONGPASS"), "{why}");
        stored(&proxy, &["/pages/1"]).await;
        redis.command(
            "ACL SETUSER larder on >right resetchannels &cache:* -@all +subscribe +psubscribe +ping",
        );
        proxy.counts(GAPS, 1).await;
        stored(&proxy, &["/pages/1"]).await;
        redis.publish(CHANNEL, "/pages/1");
        proxy.becomes("/pages/1", "MISS").await;
    });
}

#[test]
fn a_user_who_may_not_hear_the_channel_is_told_so() {
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        redis.command("ACL SETUSER ann on >p%40ss resetchannels &cache:* -@all +subscribe +psubscribe");
        let url = format!("redis://ann:p%2540ss@{}", redis.address());
        let heard = Proxy::start(&origin, &listening(&url)).await;
        assert_eq!(heard.metric(CONNECTED).await, 1, "PING is not needed");
        let elsewhere = Proxy::start(&origin, &listening(&url).replace(CHANNEL, "[cache:a, else]")).await;
        let why = elsewhere.subscription().last_error.unwrap();
        assert!(why.contains("NOPERM"), "{why}");
        let nobody = format!("redis://{}", redis.address());
        redis.command("ACL SETUSER default resetpass >secret");
        let nameless = Proxy::start(&origin, &listening(&nobody)).await;
        let why = nameless.subscription().last_error.unwrap();
        assert!(why.contains("NOAUTH"), "{why}");
    });
}

#[test]
fn channels_are_heard_over_a_unix_socket() {
    play(async {
        let origin = Origin::counting().await;
        let redis = Redis::start(&["--unixsocket", "redis.sock"]);
        let socket = redis.folder.path().join("redis.sock");
        let yaml = listening(&format!("unix:{}", socket.display()));
        let proxy = Proxy::start(&origin, &yaml).await;
        stored(&proxy, &["/pages/1"]).await;
        assert_eq!(redis.publish(CHANNEL, "/pages/1"), 1);
        proxy.becomes("/pages/1", "MISS").await;
    });
}

// ---- the way back to the origin ----------------------------------------------------------------------------------

#[test]
fn after_everything_is_outdated_the_origin_is_approached_by_a_ramp() {
    play(approached_by_a_ramp(listening, |redis| {
        redis.publish(CHANNEL, r#"{"all": true}"#);
    }));
    play(approached_by_a_ramp(listening, |redis| {
        redis.kill();
        redis.restart();
    }));
}

#[test]
fn after_a_fleet_has_lost_its_journal_the_origin_is_approached_by_a_ramp() {
    let of_a_fleet = |url: &str| listening(url).replace("subscribe_url", "url");
    play(approached_by_a_ramp(of_a_fleet, |redis| {
        redis.command("FLUSHALL");
    }));
}

/// Stops tokio's time: only a test moves it. Somebody has to have something to do, or it would move by itself.
pub(crate) fn stop_time() -> tokio::task::JoinHandle<()> {
    tokio::time::pause();
    tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    })
}

async fn approached_by_a_ramp(config: impl Fn(&str) -> String, outdate_everything: impl FnOnce(&mut Redis)) {
    const PAGES: usize = 40;
    let (mut redis, gate) = (Redis::start(&[]), Gate::default());
    let held = gate.clone();
    let origin = Origin::start(move |seen| match seen.nth < PAGES {
        true => Answer::json("before"),
        false => Answer::json("after").held(&held),
    })
    .await;
    let yaml = config(&redis.url()) + "limits: { upstream_concurrency: 64 }";
    let proxy = Proxy::start(&origin, &yaml).await;
    let pages: Vec<String> = (0..PAGES).map(|n| format!("/pages/{n}")).collect();
    for page in &pages {
        stored(&proxy, &[page]).await;
    }
    let restless = stop_time();
    outdate_everything(&mut redis);
    while proxy.metric("larder_cache_entries").await > 0 {
        tokio::time::advance(Duration::from_millis(10)).await;
    }
    let herd: Vec<_> = pages.iter().map(|page| proxy.get(page).under_way()).collect();
    for open in [4, 8, 16, 32] {
        origin.arrived(PAGES + open).await;
        proxy.settled().await;
        assert_eq!(origin.count(), PAGES + open);
        // A step is half a second; timers are late by up to a millisecond.
        tokio::time::advance(Duration::from_millis(501)).await;
    }
    origin.arrived(2 * PAGES).await;
    restless.abort();
    tokio::time::resume();
    gate.open();
    for reply in all(herd).await {
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "after"));
    }
}
