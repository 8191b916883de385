//! Readers: each read is held against what was acknowledged before it began.

use std::collections::HashMap;
use std::sync::Arc;

use crate::client::{Answer, Client};
use crate::origin::READER;
use crate::random::Random;
use crate::shown::{Shown, shown};
use crate::view::{ITEMS, View};
use crate::world::World;

/// Most beats from one read to the next.
const PAUSE: u64 = 24;

pub(crate) async fn read_on(world: Arc<World>, mut client: Client, mut random: Random, who: usize) {
    let mut known: HashMap<String, (String, Shown)> = HashMap::new();
    while !world.is_over() {
        let pause = random.below(PAUSE);
        world.hold(pause).await;
        let view = random.pick(&View::ASKED);
        let mut path = view.path(random.below(ITEMS as u64) as usize);
        let (_, items) = View::of(&path).expect("a view");
        if view == View::Plain {
            path = format!("{path}?page={}", random.below(2));
        }
        let token = format!("Bearer {}", who % 5);
        let mut headers: Vec<(&str, &str)> = vec![(READER, "1")];
        if matches!(view, View::Mine | View::Soft) {
            headers.push(("authorization", &token));
        }
        if random.once_in(4) {
            headers.push(("accept-encoding", "gzip"));
        }
        let condition = known.get(&path).filter(|_| random.once_in(4)).cloned();
        if let Some((etag, _)) = &condition {
            headers.push(("if-none-match", etag));
        }
        let least: Shown = items.iter().map(|item| (*item, least(&world, view, *item, who % 5))).collect();
        let Some(answer) = client.get(&path, &headers).await else { continue };
        let shown = match (answer.status.as_u16(), condition) {
            (200, _) => shown(&answer.text()),
            (304, Some((_, shown))) => shown,
            _ => continue,
        };
        let counts = !view.is_slow() || matches!(answer.header("x-cache"), "HIT" | "STALE");
        for ((item, least), (shown_item, version)) in least.iter().zip(&shown) {
            assert_eq!(item, shown_item, "{path}: {}", answer.text());
            if counts && version < least {
                world.violated(format!(
                    "{path} shows version {version} of {item} after {least} was acknowledged: {} {}",
                    answer.status,
                    answer.header("cache-status"),
                ));
            }
        }
        if counts {
            world.saw(&format!("{view:?}"));
            count(&world, &answer);
        }
        if answer.status == 200 && !answer.header("etag").is_empty() {
            known.insert(path, (answer.header("etag").to_owned(), shown));
        }
    }
}

/// The oldest version that he may be shown from now on.
fn least(world: &World, view: View, item: usize, who: usize) -> u64 {
    let hard = world.acknowledged(view, item);
    if view == View::Soft { hard.max(world.authored_by(who, item)) } else { hard }
}

fn count(world: &World, answer: &Answer) {
    if answer.status == 304 {
        return world.judged("304");
    }
    if answer.header("cache-status").contains("collapsed") {
        return world.judged("collapsed");
    }
    world.judged(answer.header("x-cache"));
}
