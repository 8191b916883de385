//! Writers: each changes an item, has it invalidated by one of the sources, and notes what that source acknowledged.

use std::sync::Arc;

use crate::client::Client;
use crate::world::{ITEMS, Random, View, World};

/// All views of an item that hard invalidations of its tag reach.
const TAGGED: [View; 7] =
    [View::Item, View::Group, View::Named, View::Short, View::Mine, View::Deep, View::Stats];

const JSON: (&str, &str) = ("content-type", "application/json");

pub(crate) async fn write_on(
    world: Arc<World>,
    (mut proxy, mut admin): (Client, Client),
    mut random: Random,
    who: usize,
) {
    while !world.is_over() {
        let item = random.below(ITEMS as u64) as usize;
        match random.below(16) {
            0..=2 => through(&world, &mut proxy, "PUT", &format!("/items/{item}"), "", item).await,
            3 => through(&world, &mut proxy, "POST", "/bump", &format!("{{\"id\": {item}}}"), item).await,
            4 => through(&world, &mut proxy, "POST", "/made", &format!("{item}"), item).await,
            5 => through(&world, &mut proxy, "POST", "/announced", &format!("{item}"), item).await,
            6 => through(&world, &mut proxy, "PUT", &format!("/cut/{item}"), "", item).await,
            7 if random.once_in(4) => {
                through(&world, &mut proxy, "POST", "/blind", &format!("{item}"), item).await
            }
            8..=10 => purge(&world, &mut admin, &mut random, item).await,
            11 => hook(&world, &mut proxy, item).await,
            12..=13 => soft(&world, &mut proxy, who, item).await,
            _ => {}
        }
        world.hold(random.below(40)).await;
    }
}

/// A write through the proxy, whatever it is answered: the answer is the acknowledgement.
async fn through(world: &World, proxy: &mut Client, method: &str, path: &str, body: &str, item: usize) {
    let before = world.version(item);
    let Some(answer) = proxy.send(method, path, &[JSON], body).await else { return };
    let said = version_in(&answer.text());
    match said {
        Some(version) if answer.status.is_success() => world.acknowledge(&TAGGED, item, version),
        // It was done or it was not; whatever was there before is the least that follows.
        _ => world.acknowledge(&TAGGED, item, before),
    }
}

/// A change behind the proxy's back, then a purge by one of its shapes.
async fn purge(world: &World, admin: &mut Client, random: &mut Random, item: usize) {
    let version = world.commit(item);
    let tag = format!("{{\"tags\":[\"item:{item}\"]}}");
    let (path, body, views): (&str, String, &[View]) = match random.below(8) {
        0 => ("/v1/purge", tag, &TAGGED),
        1 => ("/v1/purge", "{\"tags\":\"item:*\"}".to_owned(), &TAGGED),
        2 => ("/v1/purge", format!("{{\"prefixes\":[\"/deep/{item}\"]}}"), &[View::Deep]),
        3 => ("/v1/purge", format!("{{\"globs\":[\"*/{item}/a/*\"]}}"), &[View::Deep]),
        4 => {
            ("/v1/purge", format!("{{\"paths\":[\"/items/{item}\",\"/stats\"]}}"), &[View::Item, View::Stats])
        }
        5 => ("/client/v4/zones/z/purge_cache", tag, &TAGGED),
        6 => ("/v1/events", format!("{{\"type\":\"item.changed\",\"data\":{{\"id\":{item}}}}}"), &TAGGED),
        _ if random.once_in(12) => ("/v1/purge", "{\"all\":true}".to_owned(), &View::ALL[..7]),
        _ => ("/v1/purge", tag, &TAGGED),
    };
    let Some(answer) = admin.send("POST", path, &[JSON], &body).await else { return };
    if answer.status.is_success() {
        world.acknowledge(views, item, version);
    } else {
        assert_eq!(answer.status, 429, "{path} {body}: {}", answer.text());
    }
}

async fn hook(world: &World, proxy: &mut Client, item: usize) {
    let version = world.commit(item);
    let body = format!("{{\"type\":\"item.changed\",\"data\":{{\"id\":{item}}}}}");
    let headers = [JSON, ("authorization", "Bearer sesame")];
    let Some(answer) = proxy.send("POST", "/hooks/items", &headers, &body).await else { return };
    assert_eq!(answer.status, 200, "{}", answer.text());
    world.acknowledge(&TAGGED, item, version);
}

/// A soft invalidation: only its author may count on it.
async fn soft(world: &World, proxy: &mut Client, who: usize, item: usize) {
    let author = who % 5;
    let token = format!("Bearer {author}");
    let headers = [JSON, ("authorization", token.as_str())];
    let Some(answer) = proxy.send("PUT", &format!("/source/{item}"), &headers, "").await else { return };
    let version = version_in(&answer.text());
    if let (Some(version), true) = (version, answer.status.is_success()) {
        world.authored(author, item, version);
    }
}

/// The version that the answer to a write names, if it does.
fn version_in(answer: &str) -> Option<u64> {
    let (_, version) = answer.split_once("\"version\":")?;
    version.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}
