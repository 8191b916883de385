//! Writers: each changes an item, through a node or behind its back, and notes what was acknowledged.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::node::Nodes;
use crate::random::Random;
use crate::reader::Connections;
use crate::shown::shown;
use crate::world::{ITEMS, View, World};

/// Longest pause between two writes, in milliseconds.
const PAUSE: u64 = 60;

const JSON: (&str, &str) = ("content-type", "application/json");
const TOKEN: (&str, &str) = ("authorization", "Bearer sesame");

pub(crate) async fn write_on(world: Arc<World>, nodes: Nodes, mut random: Random) {
    let mut proxies = Connections::of(&nodes, |doors| doors.proxy);
    let mut admins = Connections::of(&nodes, |doors| doors.admin);
    while !world.is_over() {
        sleep(Duration::from_millis(random.below(PAUSE))).await;
        let item = random.below(ITEMS as u64) as usize;
        let node = random.below(nodes.len() as u64) as usize;
        if random.once_in(4) {
            purge(&world, &mut admins, node, item, random.once_in(2)).await;
        } else {
            let view = random.pick(&[View::Item, View::Item, View::Plain]);
            write(&world, &mut proxies, node, item, view).await;
        }
    }
}

/// A write through the proxy: the answer is the acknowledgement, if it says so.
async fn write(world: &World, proxies: &mut Connections, node: usize, item: usize, view: View) {
    let Ok(answer) = proxies.send(node, ("PUT", &view.path(item)), &[JSON], "{}").await else {
        return world.saw("write without an answer");
    };
    if answer.status != 200 {
        let (status, text) = (answer.status, answer.text());
        return world
            .violated(format!("a write by node {node}: {status}, which the origin did not say: {text}"));
    }
    let ack = answer.header("larder-ack").to_owned();
    world.saw(&ack);
    if ack == "applied" {
        let [(item, version)] = shown(&answer.text())[..] else { panic!("one item: {}", answer.text()) };
        world.saw("write");
        let views = if view == View::Plain { &[View::Plain][..] } else { &View::TAGGED };
        world.acknowledge(views, item, version);
    }
}

/// A change behind the proxy's back, then a purge.
async fn purge(world: &World, admins: &mut Connections, node: usize, item: usize, by_path: bool) {
    let version = world.commit(item);
    let (views, body) = if by_path {
        (&[View::Plain][..], format!("{{\"paths\":[\"/plain/{item}\"]}}"))
    } else {
        (&View::TAGGED[..], format!("{{\"tags\":[\"item:{item}\"]}}"))
    };
    let asked = world.asks();
    let Ok(answer) = admins.send(node, ("POST", "/v1/purge"), &[JSON, TOKEN], &body).await else {
        return world.saw("purge without an answer");
    };
    if answer.status == 200 && answer.text().contains("\"ack\":\"applied\"") {
        world.saw("purge");
        world.saw("applied");
        // It waits for no origin.
        world.took("purges", &asked);
        world.acknowledge(views, item, version);
    } else {
        world.saw("purge unconfirmed");
    }
}
