//! Readers: each read, by whichever node, is held against what was acknowledged before it began.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::client::{Answer, Client};
use crate::node::{Doors, Nodes};
use crate::random::Random;
use crate::shown::shown;
use crate::world::{ITEMS, View, World};

/// Longest time that anybody waits for an answer. A read waits for Redis no longer than for the shared tier, so what takes this
/// long hangs, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest pause between two reads, in milliseconds.
const PAUSE: u64 = 40;

/// There was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Of a node that was stopped meanwhile, or is not there.
    OfNobody,
    /// Of one that could have answered.
    OfANode,
}

/// The connections of one who asks, one for each node.
pub(crate) struct Connections {
    nodes: Nodes,
    door: fn(Doors) -> SocketAddr,
    clients: Vec<Option<(SocketAddr, Client)>>,
}

impl Connections {
    pub(crate) fn of(nodes: &Nodes, door: fn(Doors) -> SocketAddr) -> Self {
        Self { nodes: Arc::clone(nodes), door, clients: nodes.iter().map(|_| None).collect() }
    }

    pub(crate) async fn send(
        &mut self,
        node: usize,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, Silence> {
        let now = *self.nodes[node].read().unwrap();
        let place = &mut self.clients[node];
        let mut client = match place.take() {
            Some((door, client)) if door == (self.door)(now) => client,
            _ => Client::new((self.door)(now)),
        };
        let answer = timeout(PATIENCE, client.send(method, path, headers, body)).await;
        if answer.is_ok() {
            *place = Some(((self.door)(now), client));
        }
        let was_well = now.well.is_some() && self.nodes[node].read().unwrap().well == now.well;
        let silence = if was_well { Silence::OfANode } else { Silence::OfNobody };
        answer.ok().flatten().ok_or(silence)
    }
}

pub(crate) async fn read_on(world: Arc<World>, nodes: Nodes, mut random: Random) {
    let mut connections = Connections::of(&nodes, |doors| doors.proxy);
    while !world.is_over() {
        sleep(Duration::from_millis(random.below(PAUSE))).await;
        let view = random.pick(&View::ALL);
        let path = view.path(random.below(ITEMS as u64) as usize);
        let (_, items) = View::of(&path).expect("a view");
        let token = format!("Bearer {}", random.below(3));
        let headers = if view == View::Mine { &[("authorization", token.as_str())][..] } else { &[] };
        let node = random.below(nodes.len() as u64) as usize;
        let derives = nodes[node].read().unwrap().derives;
        let least: Vec<_> = items.iter().map(|item| (*item, world.least(view, *item))).collect();
        let asked = world.asks();
        let answer = match connections.send(node, ("GET", &path), headers, "").await {
            Ok(answer) => answer,
            Err(Silence::OfNobody) => {
                world.saw("read of nobody");
                continue;
            }
            Err(Silence::OfANode) => {
                world.violated(format!("{path} by node {node} has no answer, {asked}"));
                continue;
            }
        };
        world.took("reads", &asked);
        let said = format!("{path} by node {node}: {} {}", answer.status, answer.header("cache-status"));
        if answer.status != 200 {
            world.violated(format!("{said}, which the origin did not say: {}", answer.text()));
            continue;
        }
        if view == View::Stats && !(derives && nodes[node].read().unwrap().derives) {
            world.saw("Stats without its rule");
            continue;
        }
        let shown = shown(&answer.text());
        assert_eq!(shown.len(), least.len(), "{said}");
        for ((item, least), (_, version)) in least.iter().zip(&shown) {
            if version < least {
                world.violated(format!(
                    "{said} shows version {version} of {item} after {least} was acknowledged"
                ));
            }
        }
        world.saw(&format!("{view:?}"));
        world.saw(answer.header("x-cache"));
    }
}
