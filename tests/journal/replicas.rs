//! A journal on a server that has replicas: when something counts, and what a promoted replica makes of what it has.

use std::time::Duration;

use bytes::Bytes;
use larder::fleet::journal::{Away, Fenced, Intended, Outcome, Read, Renewed, Settings};
use larder::fleet::sim::Old;
use larder::store::position::Position;

use crate::ground::{Ground, cases, node, settings};

cases! {
    nothing_counts_that_too_few_replicas_have,
    what_every_replica_has_counts,
    a_promoted_replica_begins_an_epoch_and_journals_what_was_intended,
    a_replica_that_was_held_back_begins_an_epoch_too,
    who_was_primary_and_follower_and_is_primary_again_begins_an_epoch,
    who_follows_says_nothing,
}

const NONE: Duration = Duration::ZERO;

/// Wants one replica; says soon that there are too few.
fn replicated() -> Settings {
    Settings { replicas: 1, deadline: Duration::from_secs(3), ..settings() }
}

fn record(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

async fn nothing_counts_that_too_few_replicas_have(ground: &mut Ground) {
    let replica = ground.add_replica();
    let journal = ground.journal_at(0, replicated());
    let epoch = journal.begin().await.unwrap().epoch;
    let ann = node("ann");
    journal.register(epoch, &ann, "").await.unwrap().unwrap();
    ground.hold_back(replica);

    let too_few = Away::Unreplicated { has: 0, wanted: 1 };
    assert_eq!(journal.renew(epoch, &ann, 0, "I am ann").await, Err(too_few.clone()));
    assert_eq!(journal.append(epoch, record("a")).await, Err(too_few.clone()));
    assert_eq!(journal.register(epoch, &ann, "again").await, Err(too_few.clone()));
    assert_eq!(journal.intend(epoch, &ann, "w1", record("w1")).await, Err(too_few));

    let (extent, members) = journal.members().await.unwrap();
    assert_eq!((extent.last, members[0].renewals), (1, 1), "and yet it was done");
    assert_eq!(journal.intents(epoch).await.unwrap().unwrap().len(), 1);
    journal.fence(epoch, &ann, 1).await.unwrap();
    assert_eq!(
        journal.renew(epoch, &ann, 0, "I am ann").await,
        Ok(Renewed::Fenced { fence: 2 }),
        "a no needs nobody"
    );
    assert_eq!(journal.leave(epoch, &ann).await, Ok(Ok(())));
}

async fn what_every_replica_has_counts(ground: &mut Ground) {
    ground.add_replica();
    let journal = ground.journal_at(0, Settings { replicas: 1, ..settings() });
    let epoch = journal.begin().await.unwrap().epoch;
    let ann = node("ann");
    assert!(journal.register(epoch, &ann, "").await.unwrap().is_ok());
    assert_eq!(journal.renew(epoch, &ann, 0, "I am ann").await, Ok(Renewed::Held { last: 0 }));
    assert_eq!(journal.intend(epoch, &ann, "w1", record("w1")).await, Ok(Intended::Kept));
    assert_eq!(journal.conclude(epoch, "w1", Outcome::Known, record("done")).await, Ok(Ok(1)));
    assert_eq!(journal.fence(epoch, &ann, 1).await, Ok(Fenced::ShutOut));
}

async fn a_promoted_replica_begins_an_epoch_and_journals_what_was_intended(ground: &mut Ground) {
    let replica = ground.add_replica();
    let journal = ground.journal_at(0, Settings { replicas: 1, ..settings() });
    let old = journal.begin().await.unwrap().epoch;
    let ann = node("ann");
    journal.register(old, &ann, "").await.unwrap().unwrap();
    journal.append(old, record("a")).await.unwrap().unwrap();
    journal.intend(old, &ann, "w1", record("w1")).await.unwrap();
    ground.promote(replica, Old::Gone);

    let journal = ground.journal_at(replica, settings());
    let kept = journal.read(Position { epoch: old, n: 0 }, NONE).await;
    let Read::Began(began) = kept.unwrap() else { panic!("a new connection looks first") };
    assert_ne!(began.epoch, old);
    assert_eq!(journal.renew(old, &ann, 1, "I am ann").await, Ok(Renewed::Began(began)));
    let (extent, members) = journal.members().await.unwrap();
    assert_eq!((extent.epoch, extent.first, extent.last), (began.epoch, 1, 1));
    assert_eq!(members, []);
    let records = journal.read(Position { epoch: began.epoch, n: 0 }, NONE).await;
    assert_eq!(records, Ok(Read::Records(vec![(1, record("w1"))])));
    let open = journal.intents(began.epoch).await.unwrap().unwrap();
    assert_eq!((open[0].who.clone(), open[0].place), (None, Some(1)));
}

async fn a_replica_that_was_held_back_begins_an_epoch_too(ground: &mut Ground) {
    let replica = ground.add_replica();
    let journal = ground.journal_at(0, Settings { replicas: 1, ..settings() });
    let old = journal.begin().await.unwrap().epoch;
    journal.append(old, record("a")).await.unwrap().unwrap();
    ground.hold_back(replica);
    let alone = ground.journal();
    alone.append(old, record("b")).await.unwrap().unwrap();
    ground.promote(replica, Old::Isolated);

    let promoted = ground.journal_at(replica, settings());
    let new = promoted.begin().await.unwrap();
    assert_ne!(new.epoch, old);
    assert_eq!(promoted.append(new.epoch, record("c")).await, Ok(Ok(1)));
    assert_eq!(alone.append(old, record("c")).await, Ok(Ok(3)), "the old one goes on by itself");
}

async fn who_was_primary_and_follower_and_is_primary_again_begins_an_epoch(ground: &mut Ground) {
    let replica = ground.add_replica();
    let journal = ground.journal_at(0, Settings { replicas: 1, ..settings() });
    let old = journal.begin().await.unwrap().epoch;
    journal.append(old, record("a")).await.unwrap().unwrap();
    ground.promote(replica, Old::Isolated);
    // Nobody asked the other one meanwhile, so everything that is stored is as it was: its run id as well.
    ground.follow(replica);
    ground.back();
    let again = ground.journal();
    assert_ne!(again.begin().await.unwrap().epoch, old);
}

async fn who_follows_says_nothing(ground: &mut Ground) {
    let replica = ground.add_replica();
    let epoch = ground.journal().begin().await.unwrap().epoch;
    let follower = ground.journal_at(replica, settings());
    assert!(follower.begin().await.is_err());
    assert!(follower.members().await.is_err());
    assert!(follower.append(epoch, record("a")).await.is_err());
    assert!(follower.read(Position { epoch, n: 0 }, NONE).await.is_err());
}
