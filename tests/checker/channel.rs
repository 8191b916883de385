//! A backend that says on a Redis channel what it has changed.
//!
//! A message has no answer of its own, so it counts as acknowledged when the proxy shows that it was applied.

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

use crate::client::Client;
use crate::random::Random;
use crate::world::World;

/// The channel of `redis.subscribe` in `rules.yaml`.
const CHANNEL: &str = "items";

/// Most looks at what the proxy shows, and beats between them.
const LOOKS: usize = 100;
const BEATS: u64 = 8;

const TOKEN: (&str, &str) = ("authorization", "Bearer sesame");

pub(crate) struct Channel {
    redis: MultiplexedConnection,
    who: usize,
    said: u64,
}

impl Channel {
    /// That of the backend of this number.
    pub(crate) async fn to(url: &str, who: usize) -> Self {
        let client = redis::Client::open(url).unwrap();
        // It is another process, and waits for its turn like this one.
        let patience = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let redis = client.get_multiplexed_async_connection_with_config(&patience).await.unwrap();
        Self { redis, who, said: 0 }
    }

    /// Says that an item was changed; whether that is known to be applied.
    pub(crate) async fn publish(
        &mut self,
        world: &World,
        admin: &mut Client,
        random: &mut Random,
        item: usize,
    ) -> bool {
        self.said += 1;
        let id = format!("{}-{}", self.who, self.said);
        let message = if random.once_in(2) {
            format!("{{\"tags\":[\"item:{item}\"],\"id\":\"{id}\"}}")
        } else {
            format!("{{\"type\":\"item.changed\",\"data\":{{\"id\":{item}}},\"id\":\"{id}\"}}")
        };
        let Some(since) = last_applied(admin).await else { return false };
        if self.say(&message).await == 0 {
            return false;
        }
        let list = format!("/v1/invalidations?since={since}&limit=1000");
        for _ in 0..LOOKS {
            world.hold(BEATS).await;
            let Some(applied) = admin.get(&list, &[TOKEN]).await else { continue };
            if applied.text().contains(&format!("\"id\":\"{id}\"")) {
                return true;
            }
            if world.is_over() {
                break;
            }
        }
        false
    }

    /// Cuts off whoever listens; whether what may have been said meanwhile is known to be dealt with.
    pub(crate) async fn gap(&mut self, world: &World, admin: &mut Client) -> bool {
        // Looked at twice: a gap that was closed while the first answer was written is in the second.
        let (Some(_), Some(before)) = (gaps(admin).await, gaps(admin).await) else { return false };
        let kill = ["KILL", "TYPE", "pubsub"];
        let () = redis::cmd("CLIENT").arg(&kill).query_async(&mut self.redis).await.unwrap();
        for _ in 0..LOOKS {
            world.hold(BEATS).await;
            if gaps(admin).await.is_some_and(|gaps| gaps > before) {
                return true;
            }
            if world.is_over() {
                break;
            }
        }
        false
    }

    /// Gives how many heard it.
    async fn say(&mut self, message: &str) -> u64 {
        redis::cmd("PUBLISH").arg(CHANNEL).arg(message).query_async(&mut self.redis).await.unwrap()
    }
}

/// Where what was applied last stands in the order; `None` if nothing was.
async fn last_applied(admin: &mut Client) -> Option<String> {
    let last = admin.get("/v1/invalidations?limit=1", &[TOKEN]).await?.text();
    let (_, position) = last.split_once("\"position\":\"")?;
    Some(position.split_once('"')?.0.to_owned())
}

/// How many gaps were closed; `None` while one is open.
async fn gaps(admin: &mut Client) -> Option<u64> {
    let metrics = admin.get("/metrics", &[]).await?.text();
    let value =
        |name: &str| metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    value("larder_redis_gaps_total").filter(|_| value("larder_redis_connected") == Some(1))
}
