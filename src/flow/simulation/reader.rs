//! A read, step by step as `flow/read.rs` and `flow/fetch.rs` take it, over the real store, tickets and flights.
//!
//! Between any two steps others go on: threads are slow, and origins are slower. It refuses to know which answers are new enough.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, StatusCode};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::flow::arriving::Whence;
use crate::flow::coalesce::{Departure, Flight, Lost, Role};
use crate::flow::simulation::node::Node;
use crate::flow::simulation::world::{How, KEYS, Versions, body, key_of, path, tags, versions};
use crate::route::tag::Tag;
use crate::store::Found;
use crate::store::entry::{Candidate, Entry, tests as entry};
use crate::store::position::Arrival;
use crate::store::ticket::FillTicket;

/// Rounds of one read.
const ROUNDS: usize = 8;

/// Longest time between two steps of one thread, in milliseconds.
const SLOW: u64 = 2;

/// Longest way to the origin, and back, in milliseconds.
const FAR: u64 = 60;

/// Time after which a reader who waits looks again.
const LOOK: Duration = Duration::from_millis(2);

/// What a flight lands with: an answer that is coming, or one that was stored.
pub(super) type Landing = (Versions, Option<(Arc<Entry>, Whence)>);

/// Reads; `validates`: what is stored has come to the end of its own life.
pub(super) async fn read(node: Arc<Node>, key: usize, validates: bool) {
    let world = &node.world;
    // He arrives now: what is promised is what was acknowledged by now.
    let (now, asked) = (node.clock.mono(), world.acknowledged());
    let served = |given, how| world.judge(&node.name, key, (given, asked), how);
    let hit = || match node.store.lookup(&key_of(key), |_| true, now) {
        Found::Entry(entry) => Some(entry),
        _ => None,
    };
    world.pause(SLOW).await;
    if let Some(entry) = hit().filter(|_| !validates) {
        return served(versions(&entry), How::Hit);
    }
    let arrival = node.store.arrival(now);
    for _ in 0..ROUNDS {
        world.pause(SLOW).await;
        let base = hit();
        if let Some(entry) = base.as_ref().filter(|_| !validates) {
            return served(versions(entry), How::Hit);
        }
        world.pause(SLOW).await;
        let suits = |landing: &Landing| suits(landing, arrival);
        match node.flights.join(&key_of(key), &[path(key)], arrival, suits) {
            Role::Pilot(departure) => {
                let (flight, (own, mine)) = (departure.flight(), oneshot::channel());
                node.go(fly(Arc::clone(&node), departure, key, base, own));
                if let Ok(given) = mine.await {
                    return served(given, How::Fetched);
                }
                let landing = landing(&flight).await;
                if let Some((given, how)) = settle(&flight, landing, arrival) {
                    return served(given, how);
                }
            }
            Role::Passenger(flight) => {
                let landing = landing(&flight).await;
                world.pause(SLOW).await;
                if let Some((given, how)) = settle(&flight, landing, arrival) {
                    return served(given, how);
                }
            }
        }
    }
}

/// Waits for it. Looks again and again: who is woken first, of many who wait, tokio decides by a lot of its own.
async fn landing(flight: &Flight<Landing>) -> Result<Landing, Lost> {
    loop {
        if let Some(landing) = flight.landing().now_or_never() {
            return landing;
        }
        sleep(LOOK).await;
    }
}

/// Whether a landing that is known already would be an answer to him.
fn suits((_, stored): &Landing, arrival: Arrival) -> bool {
    stored.as_ref().is_none_or(|(entry, whence)| whence.holds(entry, arrival))
}

fn settle(
    flight: &Flight<Landing>,
    landing: Result<Landing, Lost>,
    arrival: Arrival,
) -> Option<(Versions, How)> {
    flight.check_for(arrival).ok()?;
    let landing = landing.ok().filter(|landing| suits(landing, arrival))?;
    let how = match landing.1 {
        Some((_, Whence::Confirmed(_))) => How::Confirmed,
        Some((_, Whence::Found | Whence::Told)) => How::Hit,
        Some((_, Whence::Fetched)) | None => How::Waited,
    };
    Some((landing.0, how))
}

/// Flies: a task of its own.
async fn fly(
    node: Arc<Node>,
    mut departure: Departure<Landing>,
    key: usize,
    base: Option<Arc<Entry>>,
    own: oneshot::Sender<Versions>,
) {
    let world = &node.world;
    departure.cleared().await;
    if base.is_none()
        && let Found::Entry(found) = node.store.lookup(&key_of(key), |_| true, node.clock.mono())
    {
        return departure.land((versions(&found), Some((found, Whence::Found))));
    }
    departure.learn([path(key)], false);
    let ticket = departure.depart(node.store.ticket(node.clock.mono()));
    let base = base.filter(|base| node.store.may_build_on(base));
    world.pause(FAR).await;
    let given = world.committed();
    world.note(|| format!("{} is told /k/{key} {given:?}", node.name));
    world.pause(FAR).await;
    if let Some(base) = base.filter(|base| is_unchanged(key, versions(base), given)) {
        let entry = keep(&node, ticket, base.tags().to_vec(), key, base.response.body.clone());
        let whence = Whence::Confirmed(StatusCode::NOT_MODIFIED);
        return departure.land((versions(&entry), Some((entry, whence))));
    }
    departure.learn(tags(key), world.one_in(2));
    // He may have left.
    let _ = own.send(given);
    departure.land((given, None));
    world.pause(FAR).await;
    let entry = keep(&node, ticket, tags(key), key, body(given));
    departure.land((given, Some((entry, Whence::Fetched))));
}

/// By its entity tag.
fn is_unchanged(key: usize, kept: Versions, is: Versions) -> bool {
    KEYS[key].iter().all(|resource| kept[*resource] == is[*resource])
}

/// Stores it, if it may be; good for who asked before in any case.
fn keep(node: &Node, ticket: &FillTicket, tags: Vec<Tag>, key: usize, body: Bytes) -> Arc<Entry> {
    let candidate = entry::candidate("", tags, &HeaderMap::new(), "");
    let candidate = Candidate { key: key_of(key), body, ..candidate };
    node.store.fill(ticket, candidate).unwrap_or_else(|refused| refused.entry)
}
