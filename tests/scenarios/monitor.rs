//! The monitor notices what gets worse, says so once, and once more when it is over.
//!
//! A window ends when the story says so; in it, so many reads are hits and so many are misses.

use std::cell::Cell;
use std::time::Duration;

use larder::monitor::alert::{Edge, Kind};
use larder::monitor::feed::Change;

use crate::harness::origin::{Answer, Origin};
use crate::harness::play;
use crate::harness::proxy::Proxy;
use crate::harness::redis::Redis;

const ROUTES: &str = "routes: { /hot: 1h, '/cold/{n}': 1h }\n";
const FIRING: &str = "larder_alert{alert=\"hit-ratio\"}";
const BEGAN: &str = "larder_alerts_total{alert=\"hit-ratio\"}";

/// A proxy before a backend, watched at one end and heard at the other.
struct Watched {
    proxy: Proxy,
    receiver: Origin,
    cold: Cell<usize>,
    _origin: Origin,
}

impl Watched {
    async fn start(yaml: &str) -> Self {
        let (origin, receiver) = (Origin::counting().await, Origin::start(|_| Answer::new(204)).await);
        let monitor = format!(
            "{ROUTES}monitor: {{ target_hit_ratio: 0.9, webhook: 'http://{}/alerts?key=secret' }}\n{yaml}",
            receiver.address
        );
        let proxy = Proxy::start(&origin, &monitor).await;
        proxy.get("/hot").reply().await;
        Self { proxy, receiver, cold: Cell::default(), _origin: origin }
    }

    /// A window of forty reads, of which so many are misses.
    async fn window(&self, misses: usize) {
        for n in 0..40 {
            if n < misses {
                let cold = self.cold.replace(self.cold.get() + 1);
                assert_eq!(self.proxy.get(&format!("/cold/{cold}")).reply().await.cache(), "MISS");
            } else {
                self.proxy.get("/hot").reply().await;
            }
        }
        self.ends();
    }

    fn ends(&self) {
        self.proxy.pass_secs(60);
        self.proxy.monitor.look();
    }

    /// What `/v1/monitor` says of one alert.
    async fn alert(&self, name: &str) -> serde_json::Value {
        let told = self.proxy.admin("/v1/monitor").await.json();
        let alerts = told["alerts"].as_array().unwrap();
        alerts.iter().find(|alert| alert["alert"] == name).expect("it is watched").clone()
    }
}

#[test]
fn a_drop_alerts_once_and_resolves_once() {
    play(async {
        let watched = Watched::start("").await;
        let (proxy, receiver) = (&watched.proxy, &watched.receiver);
        let mut changes = proxy.monitor.feed().listen();
        for _ in 0..3 {
            watched.window(1).await;
        }
        assert_eq!((proxy.metric(FIRING).await, receiver.count()), (0, 0));
        for _ in 0..5 {
            watched.window(20).await;
        }
        assert_eq!((proxy.metric(FIRING).await, proxy.metric(BEGAN).await), (1, 1));
        assert_eq!(watched.alert("hit-ratio").await["firing"], true);
        receiver.arrived(1).await;
        for _ in 0..5 {
            watched.window(1).await;
        }
        assert_eq!((proxy.metric(FIRING).await, proxy.metric(BEGAN).await), (0, 1));
        receiver.arrived(2).await;
        let posts = receiver.seen();
        assert_eq!((posts[0].method.as_str(), posts[0].target.as_str()), ("POST", "/alerts?key=secret"));
        let posts: Vec<serde_json::Value> =
            posts.iter().map(|post| serde_json::from_slice(&post.body).unwrap()).collect();
        let states: Vec<_> = posts.iter().map(|post| (&post["alert"], &post["state"])).collect();
        assert_eq!(
            format!("{states:?}"),
            r#"[(String("hit-ratio"), String("firing")), (String("hit-ratio"), String("resolved"))]"#
        );
        assert_eq!(
            (&posts[0]["value"], &posts[0]["target"], &posts[0]["route"]),
            (&0.5.into(), &0.9.into(), &"/cold/{n}".into())
        );
        assert_eq!(posts[0]["since"], posts[1]["since"]);
        // Whoever looks on sees the same.
        let mut alerts = Vec::new();
        while let Ok(change) = changes.try_recv() {
            if let Change::Alert(notice) = change {
                alerts.push((notice.kind, notice.edge));
            }
        }
        assert_eq!(alerts, [(Kind::HitRatio, Edge::Began), (Kind::HitRatio, Edge::Ended)]);
    });
}

#[test]
fn what_flaps_is_one_alert() {
    play(async {
        let watched = Watched::start("").await;
        for misses in [20, 20, 0, 0, 20, 0, 4, 0, 0, 20, 0, 20, 4, 0] {
            watched.window(misses).await;
        }
        assert_eq!(watched.proxy.metric(BEGAN).await, 1);
        assert_eq!(watched.proxy.metric(FIRING).await, 1);
        watched.receiver.arrived(1).await;
        // Three good ones in a row end it; had there been another post, it would have come before this one.
        watched.window(0).await;
        watched.window(0).await;
        watched.receiver.arrived(2).await;
        let last: serde_json::Value = serde_json::from_slice(&watched.receiver.last().body).unwrap();
        assert_eq!((last["state"].as_str(), watched.receiver.count()), (Some("resolved"), 2));
    });
}

#[test]
fn a_night_without_requests_changes_nothing() {
    play(async {
        let watched = Watched::start("").await;
        watched.window(20).await;
        watched.window(20).await;
        for _ in 0..30 {
            watched.ends();
        }
        assert_eq!(watched.proxy.metric(FIRING).await, 1);
        let told = watched.proxy.admin("/v1/monitor?windows=1").await.json();
        assert_eq!(told["windows"].as_array().unwrap().len(), 1);
        assert_eq!(told["windows"][0]["all"]["hit_ratio"], serde_json::Value::Null);
    });
}

#[test]
fn the_windows_say_what_clients_saw() {
    play(async {
        let watched = Watched::start("").await;
        watched.ends();
        watched.window(10).await;
        let told = watched.proxy.admin("/v1/monitor").await.json();
        let window = &told["windows"][1];
        assert_eq!(window["all"]["requests"]["hit"], 30);
        assert_eq!(window["all"]["hit_ratio"], 0.75);
        assert_eq!(window["routes"]["/cold/{n}"]["requests"]["miss"], 10);
        assert_eq!(window["routes"]["/hot"]["hit_ratio"], 1.0);
        assert_eq!(window["tiers"]["memory"]["entries"], 11);
        assert_eq!(window["tiers"]["origin"]["requests_per_second"], 10.0 / 60.0);
        assert_eq!(
            (&window["seconds"], &told["trends"]["hit_ratio"]["trend"]),
            (&60.0.into(), &"unknown".into())
        );
    });
}

#[test]
fn a_ratio_that_falls_window_by_window_is_degrading_before_it_is_an_alert() {
    play(async {
        let watched = Watched::start("").await;
        watched.ends();
        for misses in [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3] {
            watched.window(misses).await;
        }
        let told = watched.proxy.admin("/v1/monitor").await.json();
        assert_eq!(told["trends"]["hit_ratio"]["trend"], "degrading");
        assert_eq!(told["routes"]["/hot"]["hit_ratio"]["trend"], "stable");
        assert_eq!(watched.proxy.metric(FIRING).await, 0);
    });
}

#[test]
fn redis_is_missed_and_found_again() {
    play(async {
        let mut redis = Redis::start(&[]);
        let watched =
            Watched::start(&format!("redis: {{ subscribe_url: '{}', subscribe: c }}", redis.url())).await;
        let proxy = &watched.proxy;
        let firing = "larder_alert{alert=\"redis\"}";
        watched.ends();
        assert_eq!(proxy.metric(firing).await, 0);
        redis.kill();
        proxy.counts("larder_redis_connected", 0).await;
        watched.ends();
        assert_eq!(proxy.metric(firing).await, 1);
        redis.restart();
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(60)).await;
        tokio::time::resume();
        proxy.counts("larder_redis_connected", 1).await;
        watched.ends();
        watched.ends();
        assert_eq!(proxy.metric(firing).await, 0);
        watched.receiver.arrived(2).await;
        assert_eq!(proxy.metric("larder_alerts_total{alert=\"redis\"}").await, 1);
    });
}

#[test]
fn a_receiver_that_is_not_there_is_nobodys_trouble() {
    play(async {
        let origin = Origin::counting().await;
        let nowhere = format!("{ROUTES}monitor: {{ target_hit_ratio: 0.9, webhook: 'http://127.0.0.1:1/' }}");
        let proxy = Proxy::start(&origin, &nowhere).await;
        for n in 0..60 {
            proxy.get(&format!("/cold/{n}")).reply().await;
            if n % 20 == 19 {
                proxy.pass_secs(60);
                proxy.monitor.look();
            }
        }
        assert_eq!(proxy.metric(FIRING).await, 1);
        assert_eq!(proxy.get("/cold/1").reply().await.cache(), "HIT");
    });
}

#[test]
fn alerts_that_are_not_listed_are_none() {
    play(async {
        let origin = Origin::counting().await;
        let proxy =
            Proxy::start(&origin, &format!("{ROUTES}monitor: {{ target_hit_ratio: 0.9, alerts: redis }}"))
                .await;
        for n in 0..60 {
            proxy.get(&format!("/cold/{n}")).reply().await;
        }
        proxy.pass_secs(60);
        proxy.monitor.look();
        let told = proxy.admin("/v1/monitor").await.json();
        assert_eq!(told["alerts"].as_array().unwrap().len(), 1);
        assert!(!proxy.admin("/metrics").await.text().contains(FIRING));
    });
}
