//! A replica takes over: the links lead to it, the primary before is lost in one way or another, and comes back as a replica.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::client::Client;
use crate::fault::{Ground, acknowledges};
use crate::node::Doors;
use crate::random::Random;
use crate::{NODES, RECOVERY};

/// Shortest and longest time, in milliseconds, from one step to the next.
const STEP: std::ops::Range<u64> = 100..800;

/// What becomes of the primary that is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It is gone, and comes back empty.
    Killed,
    /// It stands still, and goes on later as if nothing had been. One node is still led to it.
    Stopped,
    /// Nothing happens to it: one node is still led to it, and so, for a while, is the other replica, which confirms what it is
    /// told. Nobody may acknowledge by it what the nodes of the new primary do not hear of.
    CutOff,
}

impl Lost {
    pub(crate) const ALL: [Self; 3] = [Self::Killed, Self::Stopped, Self::CutOff];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Killed => "primary killed",
            Self::Stopped => "primary stopped",
            Self::CutOff => "primary cut off",
        }
    }
}

impl Ground {
    /// Until all servers are there again, and follow the new primary. Node `n` hears of it last.
    pub(crate) async fn promote(&mut self, lost: Lost, n: usize, random: &mut Random) {
        match lost {
            Lost::Killed => self.redis.primary.kill(),
            Lost::Stopped => self.redis.primary.signal("STOP"),
            Lost::CutOff => {}
        }
        step(random).await;
        let mut before = self.redis.promote(random.below(self.redis.replicas() as u64) as usize);
        for (at, node) in self.nodes.iter().enumerate() {
            if at != n || lost == Lost::Killed {
                node.link.leads_to(self.redis.address());
            }
        }
        step(random).await;
        self.redis.all_follow();
        if lost == Lost::Stopped {
            before.signal("CONT");
        }
        // Both go on side by side now; only one of them is believed.
        self.acknowledges_again((n + 1) % NODES).await;
        if lost != Lost::Killed {
            self.acknowledges_nothing(n).await;
        }
        step(random).await;
        if lost == Lost::Killed {
            before.restart();
        }
        self.redis.take_back(before);
        self.redis.are_whole().await;
        self.nodes[n].link.leads_to(self.redis.address());
    }

    /// What only the primary before has heard of, and no replica, the others never hear of.
    async fn acknowledges_nothing(&self, n: usize) {
        let doors = *self.doors[n].read().unwrap();
        if purges(doors).await {
            self.world.violated(format!("node {n} acknowledges what the new primary does not hear of"));
        }
    }

    async fn acknowledges_again(&self, n: usize) {
        let doors = *self.doors[n].read().unwrap();
        let mut client = Client::new(doors.proxy);
        let again = async {
            let mut attempt = 0;
            while !acknowledges(&mut client, attempt).await {
                attempt += 1;
            }
        };
        timeout(RECOVERY, again)
            .await
            .unwrap_or_else(|_| panic!("node {n} acknowledges: {}", self.nodes[n].said()));
    }
}

/// Whether a purge is acknowledged.
async fn purges(doors: Doors) -> bool {
    let headers = [("content-type", "application/json"), ("authorization", "Bearer sesame")];
    let body = r#"{"paths":["/plain/0"]}"#;
    let answer = Client::new(doors.admin).send("POST", "/v1/purge", &headers, body).await;
    answer.is_some_and(|answer| answer.text().contains("\"ack\":\"applied\""))
}

async fn step(random: &mut Random) {
    sleep(Duration::from_millis(STEP.start + random.below(STEP.end - STEP.start))).await;
}
