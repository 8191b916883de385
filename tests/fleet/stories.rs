//! What has to be as it is said, and what a mistake makes of it.

use crate::harness::origin::Origin;
use crate::harness::play;
use crate::harness::redis::Redis;
use crate::{Node, TRIES, alone, until};

const PATH: &str = "/pages/1";

/// What a read was that came after an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// New: what lies in Redis was not for it.
    New,
    /// Fetched before what was acknowledged.
    Stale,
}

/// One node keeps, and tells; another one, which never had it, is asked for it after it was outdated everywhere.
pub(crate) async fn outdated_in_the_tier() -> Verdict {
    let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
    let (one, other) = (Node::start(&origin, &redis).await, Node::start(&origin, &redis).await);
    for _ in 0..TRIES {
        one.share(PATH).await;
        one.outdate(PATH).await;
        let (acknowledged, refused) = (origin.count(), other.told("outdated"));
        other.forget();
        if other.read(PATH).await <= acknowledged {
            return Verdict::Stale;
        }
        if other.told("outdated") > refused {
            return Verdict::New;
        }
    }
    panic!("it was never in time to be refused");
}

/// The same, when the epoch ends in which it was told and outdated: the next one has no record of either.
pub(crate) async fn left_from_the_last_epoch() -> Verdict {
    let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
    let (one, other) = (Node::start(&origin, &redis).await, Node::start(&origin, &redis).await);
    for _ in 0..TRIES {
        one.share(PATH).await;
        one.outdate(PATH).await;
        let (acknowledged, epoch) = (origin.count(), one.epoch());
        redis.command("DEL {larder}:meta");
        until(|| one.epoch() != epoch && other.epoch() == one.epoch()).await;
        one.joined().await;
        other.joined().await;
        let absent = other.told("miss");
        other.forget();
        if other.read(PATH).await <= acknowledged {
            return Verdict::Stale;
        }
        if other.told("miss") > absent {
            return Verdict::New;
        }
    }
    panic!("it was never in time to be missed");
}

#[test]
fn what_was_outdated_everywhere_comes_to_no_node_from_the_tier() {
    let _alone = alone();
    play(async { assert_eq!(outdated_in_the_tier().await, Verdict::New) });
}

#[test]
fn nothing_outlives_its_epoch_in_the_tier() {
    let _alone = alone();
    play(async { assert_eq!(left_from_the_last_epoch().await, Verdict::New) });
}

#[test]
fn a_node_that_starts_answers_its_first_request_from_the_tier_and_judges_it_by_the_journal() {
    let _alone = alone();
    play(async {
        let (redis, origin) = (Redis::start(&[]), Origin::counting().await);
        let one = Node::start(&origin, &redis).await;
        one.outdate("/pages/2").await;
        one.share(PATH).await;
        one.share("/pages/2").await;
        one.outdate("/pages/2").await;
        one.outdate("/pages/3").await;
        let (mut is_told, mut is_refused) = (false, false);
        for _ in 0..TRIES {
            let before = origin.count();
            let late = Node::just_started(&origin, &redis).await;
            let (kept, outdated) = (late.read(PATH).await, late.read("/pages/2").await);
            assert!(outdated > before, "{outdated} was outdated before it started, and {before} came then");
            is_told |= kept <= before && late.told("hit") == 1;
            is_refused |= late.told("outdated") == 1;
            if is_told && is_refused {
                return;
            }
            one.share("/pages/2").await;
            one.outdate("/pages/2").await;
        }
        panic!("it is never in time");
    });
}
