//! On a Cluster answers lie on all of its nodes, and are found wherever they are.

use std::time::SystemTime;

use larder::clock::Clock;
use larder::redis::Address;
use larder::redis::place::Where;

use crate::redis_server::Redis;
use crate::{Node, PATIENCE, until};

/// Answers; so many that no node is left out but by a miracle.
const ANSWERS: usize = 60;

/// Two nodes that have half of the slots each.
async fn cluster() -> [Redis; 2] {
    let buses = [Redis::absent(), Redis::absent()].map(|bus| (port(&bus.url()), bus));
    let nodes =
        buses.each_ref().map(|(bus, _)| Redis::start(&["--cluster-enabled", "yes", "--cluster-port", bus]));
    nodes[0].command("CLUSTER ADDSLOTSRANGE 0 8191");
    nodes[1].command("CLUSTER ADDSLOTSRANGE 8192 16383");
    nodes[0].command(&format!("CLUSTER MEET 127.0.0.1 {} {}", nodes[1].address().port(), buses[1].0));
    let is_whole = |node: &Redis| text(node, "CLUSTER INFO").contains("cluster_state:ok");
    until(|| nodes.iter().all(is_whole)).await;
    nodes
}

fn port(url: &str) -> String {
    url.rsplit_once(':').unwrap().1.to_owned()
}

fn text(node: &Redis, command: &str) -> String {
    redis::from_redis_value(node.command(command)).unwrap()
}

#[tokio::test]
async fn answers_are_spread_over_a_cluster_and_found_wherever_they_are() {
    let nodes = cluster().await;
    let at = Where::Cluster(vec![Address::parse(&nodes[0].url()).unwrap()]);
    let node = Node::over(at, PATIENCE, Clock::manual(SystemTime::UNIX_EPOCH));
    node.tier.connected().await;
    for nth in 0..ANSWERS {
        node.tell(&format!("k{nth}"), format!("body {nth}")).await;
    }
    for nth in 0..ANSWERS {
        let found = node.get(&format!("k{nth}")).await.unwrap();
        assert_eq!(found.response.body, format!("body {nth}"));
    }
    let lie = nodes.each_ref().map(|node| text(node, "INFO keyspace"));
    assert!(lie.iter().all(|keys| keys.contains("db0:keys=")), "{lie:?}");
}
