//! Every answer of every method, and what befalls a journal on one server.

use std::time::Duration;

use bytes::Bytes;
use larder::fleet::Coherence;
use larder::fleet::journal::{
    Away, Began, Behind, Closed, Converted, Extent, Fenced, Incarnation, Intended, Intent, Journal,
    MAX_ABOUT, MAX_INTENTS, MAX_MEMBERS, MAX_NAME, MAX_READ, MAX_RECORD, Member, Outcome, Read, Renewed,
    Settings,
};
use larder::fleet::sim::Key;
use larder::store::position::Position;

use crate::ground::{Ground, cases, node, settings};

cases! {
    an_epoch_begins_once_and_everybody_enters_it,
    places_follow_one_another_and_are_read_in_order,
    a_long_journal_is_read_in_parts,
    a_read_waits_until_there_is_something,
    whoever_registers_owes_what_is_there_before_he_renews,
    a_registration_that_is_sent_again_changes_nothing_that_counts,
    nobody_is_behind_but_who_could_have_a_lease,
    whoever_is_shut_out_owes_what_is_acknowledged_without_him,
    only_who_stood_still_is_shut_out_and_then_let_go,
    nobody_joins_who_lives_otherwise_before_the_others_are_gone,
    what_the_dead_intended_is_appended_once,
    who_leaves_is_gone_and_what_he_left_open_is_appended,
    a_known_outcome_closes_an_intent_and_an_unknown_one_does_not,
    a_write_that_is_sent_again_is_intended_again,
    in_another_epoch_nothing_is_done,
    whatever_is_lost_is_a_new_epoch,
    intents_outlive_their_epoch_and_hang_on_nobody_there,
    what_was_let_go_is_a_gap,
    what_holds_an_open_write_is_not_forgotten,
    names_and_records_have_limits,
    a_registry_has_an_end,
    what_is_open_has_an_end,
    a_read_that_waits_is_told_of_another_epoch_in_the_end,
}

const NONE: Duration = Duration::ZERO;

fn record(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn append(journal: &Journal, epoch: u64, text: &str) -> u64 {
    journal.append(epoch, record(text)).await.unwrap().unwrap()
}

/// What is read behind a place of the epoch, all of it.
async fn texts(journal: &Journal, epoch: u64, after: u64) -> Vec<(u64, String)> {
    match journal.read(Position { epoch, n: after }, NONE).await.unwrap() {
        Read::Records(records) => {
            records.into_iter().map(|(n, bytes)| (n, String::from_utf8_lossy(&bytes).into_owned())).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn row(n: u64, text: &str) -> (u64, String) {
    (n, text.to_owned())
}

async fn members(journal: &Journal) -> Vec<Member> {
    journal.members().await.unwrap().1
}

fn member(name: &str, applied: u64, fence: u64, renewals: u64) -> Member {
    Member { incarnation: node(name), about: format!("I am {name}"), applied, fence, renewals }
}

async fn register(journal: &Journal, epoch: u64, name: &str) -> Incarnation {
    journal.register(epoch, &node(name), &format!("I am {name}")).await.unwrap().unwrap();
    node(name)
}

fn intent(write: &str, who: Option<&str>, place: Option<u64>) -> Intent {
    Intent { write: write.to_owned(), who: who.map(node), place }
}

async fn intents(journal: &Journal, epoch: u64) -> Vec<Intent> {
    journal.intents(epoch).await.unwrap().unwrap()
}

async fn an_epoch_begins_once_and_everybody_enters_it(ground: &mut Ground) {
    let (one, other) = (ground.journal(), ground.journal());
    let extent = one.begin().await.unwrap();
    assert_eq!((extent.first, extent.last), (1, 0));
    assert!((1..1 << 52).contains(&extent.epoch), "a script's numbers are doubles");
    assert_eq!(other.begin().await, Ok(extent));
    assert_eq!(other.members().await, Ok((extent, Vec::new())));
    assert_eq!(one.begin().await, Ok(extent));
}

async fn places_follow_one_another_and_are_read_in_order(ground: &mut Ground) {
    let (one, other) = (ground.journal(), ground.journal());
    let epoch = one.begin().await.unwrap().epoch;
    assert_eq!(append(&one, epoch, "a").await, 1);
    assert_eq!(append(&other, epoch, "b").await, 2);
    assert_eq!(append(&one, epoch, "a").await, 3, "sent twice, it has two places");
    let strange = Bytes::from_static(b"\0\r\n\xff \0");
    assert_eq!(one.append(epoch, strange.clone()).await, Ok(Ok(4)));
    assert_eq!(other.begin().await, Ok(Extent { epoch, first: 1, last: 4 }));
    assert_eq!(texts(&other, epoch, 0).await[..3], [row(1, "a"), row(2, "b"), row(3, "a")]);
    let last = other.read(Position { epoch, n: 3 }, NONE).await;
    assert_eq!(last, Ok(Read::Records(vec![(4, strange)])));
    assert_eq!(texts(&other, epoch, 4).await, []);
}

async fn a_long_journal_is_read_in_parts(ground: &mut Ground) {
    let journal = ground.journal();
    let epoch = journal.begin().await.unwrap().epoch;
    for n in 1..=MAX_READ as u64 + 1 {
        assert_eq!(append(&journal, epoch, "x").await, n);
    }
    assert_eq!(texts(&journal, epoch, 0).await.len(), MAX_READ);
    assert_eq!(texts(&journal, epoch, MAX_READ as u64).await, [row(MAX_READ as u64 + 1, "x")]);
}

async fn a_read_waits_until_there_is_something(ground: &mut Ground) {
    let (one, other) = (ground.journal(), ground.journal());
    let epoch = one.begin().await.unwrap().epoch;
    let start = Position { epoch, n: 0 };
    assert_eq!(one.read(start, Duration::from_millis(50)).await, Ok(Read::Records(Vec::new())));
    // Whichever of the two is first: it is read.
    let (read, ()) = tokio::join!(one.read(start, Duration::from_secs(15)), async {
        append(&other, epoch, "late").await;
    });
    assert_eq!(read, Ok(Read::Records(vec![(1, record("late"))])));
    {
        let mut given_up = std::pin::pin!(one.read(Position { epoch, n: 1 }, Duration::from_secs(15)));
        let is_there = futures_util::FutureExt::now_or_never(given_up.as_mut());
        assert_eq!(is_there, None);
    }
    append(&other, epoch, "later").await;
    assert_eq!(texts(&one, epoch, 1).await, [row(2, "later")], "whoever gave up loses nothing");
}

async fn whoever_registers_owes_what_is_there_before_he_renews(ground: &mut Ground) {
    let journal = ground.journal();
    let epoch = journal.begin().await.unwrap().epoch;
    append(&journal, epoch, "a").await;
    append(&journal, epoch, "b").await;
    let ann = node("ann");
    assert_eq!(journal.renew(epoch, &ann, 2, "I am ann").await, Ok(Renewed::Unknown));
    let extent = Extent { epoch, first: 1, last: 2 };
    assert_eq!(journal.register(epoch, &ann, "I am ann").await, Ok(Ok(extent)));
    assert_eq!(members(&journal).await, [member("ann", 0, 2, 0)]);
    assert_eq!(journal.renew(epoch, &ann, 1, "I am ann").await, Ok(Renewed::Fenced { fence: 2 }));
    assert_eq!(members(&journal).await, [member("ann", 0, 2, 0)], "that was no renewal");
    assert_eq!(journal.renew(epoch, &ann, 2, "I am ann").await, Ok(Renewed::Held { last: 2 }));
    append(&journal, epoch, "c").await;
    assert_eq!(
        journal.renew(epoch, &ann, 2, "I am ann").await,
        Ok(Renewed::Held { last: 3 }),
        "it is late, and not shut out"
    );
    assert_eq!(members(&journal).await, [member("ann", 2, 2, 2)]);
}

async fn a_registration_that_is_sent_again_changes_nothing_that_counts(ground: &mut Ground) {
    let journal = ground.journal();
    let epoch = journal.begin().await.unwrap().epoch;
    let ann = register(&journal, epoch, "ann").await;
    journal.renew(epoch, &ann, 0, "I am another ann").await.unwrap();
    assert_eq!(members(&journal).await[0].about, "I am another ann", "a renewal tells it anew");
    append(&journal, epoch, "a").await;
    register(&journal, epoch, "ann").await;
    assert_eq!(members(&journal).await, [member("ann", 0, 0, 1)]);
    let behind = Behind::These(vec![member("ann", 0, 0, 1)]);
    assert_eq!(journal.behind(epoch, 1).await, Ok(behind), "it may have a lease");
}

async fn nobody_is_behind_but_who_could_have_a_lease(ground: &mut Ground) {
    let journal = ground.journal();
    let epoch = journal.begin().await.unwrap().epoch;
    assert_eq!(journal.behind(epoch, 0).await, Ok(Behind::These(Vec::new())));
    let (ann, bob) = (register(&journal, epoch, "ann").await, register(&journal, epoch, "bob").await);
    append(&journal, epoch, "a").await;
    register(&journal, epoch, "cid").await;
    let these = vec![member("ann", 0, 0, 0), member("bob", 0, 0, 0)];
    assert_eq!(journal.behind(epoch, 1).await, Ok(Behind::These(these)), "cid owes it already");
    journal.renew(epoch, &ann, 1, "I am ann").await.unwrap();
    let these = vec![member("bob", 0, 0, 0)];
    assert_eq!(journal.behind(epoch, 1).await, Ok(Behind::These(these)));
    journal.renew(epoch, &bob, 1, "I am bob").await.unwrap();
    assert_eq!(journal.behind(epoch, 1).await, Ok(Behind::These(Vec::new())));
}

async fn whoever_is_shut_out_owes_what_is_acknowledged_without_him(ground: &mut Ground) {
    let journal = ground.journal();
    let epoch = journal.begin().await.unwrap().epoch;
    let ann = register(&journal, epoch, "ann").await;
    append(&journal, epoch, "a").await;
    assert_eq!(journal.fence(epoch, &ann, 0).await, Ok(Fenced::ShutOut));
    let bob = register(&journal, epoch, "bob").await;
    journal.renew(epoch, &bob, 1, "I am bob").await.unwrap();
    append(&journal, epoch, "b").await;
    let these = vec![member("bob", 1, 1, 1)];
    assert_eq!(journal.behind(epoch, 2).await, Ok(Behind::These(these)));
    assert_eq!(members(&journal).await[0], member("ann", 0, 1, 0), "it is not acknowledged yet");
    journal.renew(epoch, &bob, 2, "I am bob").await.unwrap();
    assert_eq!(journal.behind(epoch, 2).await, Ok(Behind::These(Vec::new())));
    assert_eq!(journal.renew(epoch, &ann, 1, "I am ann").await, Ok(Renewed::Fenced { fence: 2 }));
    assert_eq!(journal.behind(epoch, 1).await, Ok(Behind::These(Vec::new())));
    assert_eq!(members(&journal).await[0], member("ann", 0, 2, 0), "a fence is never lowered");
    assert_eq!(journal.renew(epoch, &ann, 2, "I am ann").await, Ok(Renewed::Held { last: 2 }));
}

async fn only_who_stood_still_is_shut_out_and_then_let_go(ground: &mut Ground) {
    let journal = ground.journal();
    let epoch = journal.begin().await.unwrap().epoch;
    let ann = register(&journal, epoch, "ann").await;
    append(&journal, epoch, "a").await;
    journal.renew(epoch, &ann, 0, "I am ann").await.unwrap();
    assert_eq!(journal.fence(epoch, &ann, 0).await, Ok(Fenced::Moved));
    assert_eq!(members(&journal).await, [member("ann", 0, 0, 1)]);
    assert_eq!(journal.fence(epoch, &ann, 1).await, Ok(Fenced::ShutOut));
    assert_eq!(members(&journal).await, [member("ann", 0, 1, 1)]);
    assert_eq!(journal.fence(epoch, &ann, 1).await, Ok(Fenced::ShutOut));
    assert_eq!(members(&journal).await, [], "it was shut out before");
    assert_eq!(journal.fence(epoch, &ann, 1).await, Ok(Fenced::ShutOut), "nobody is there to shut out");
    assert_eq!(journal.renew(epoch, &ann, 1, "I am ann").await, Ok(Renewed::Unknown));
    let bob = register(&journal, epoch, "bob").await;
    journal.renew(epoch, &bob, 1, "I am bob").await.unwrap();
    assert_eq!(journal.fence(epoch, &bob, 1).await, Ok(Fenced::ShutOut));
    assert_eq!(members(&journal).await, [], "it would owe nothing: it is let go at once");
}

async fn nobody_joins_who_lives_otherwise_before_the_others_are_gone(ground: &mut Ground) {
    let (acked, coherence) = (ground.journal(), Coherence::Broadcast);
    let broadcast = ground.journal_at(0, Settings { coherence, ..settings() });
    let epoch = acked.begin().await.unwrap().epoch;
    let (ann, bob) = (register(&acked, epoch, "ann").await, node("bob"));
    acked.renew(epoch, &ann, 0, "I am ann").await.unwrap();
    let refused = Err(Away::OtherCoherence(Coherence::Acked));
    assert_eq!(broadcast.register(epoch, &bob, "").await, refused);
    assert_eq!(broadcast.convert(epoch, Vec::new()).await, Ok(Ok(Converted::Others)));
    let seen = vec![(ann.clone(), 0)];
    assert_eq!(broadcast.convert(epoch, seen).await, Ok(Ok(Converted::Others)), "it has renewed since");
    assert_eq!(broadcast.register(epoch, &bob, "").await, refused);
    assert_eq!(acked.intend(epoch, &ann, "w", record("w")).await, Ok(Intended::Kept));
    // It owes nothing, so it cannot be shut out; but it stands still.
    assert_eq!(broadcast.convert(epoch, vec![(ann.clone(), 1)]).await, Ok(Ok(Converted::Lives)));
    let next = broadcast.begin().await.unwrap();
    assert_ne!(next.epoch, epoch, "whoever wakes up is of an epoch that has ended");
    assert_eq!(
        acked.renew(epoch, &ann, 0, "I am ann").await,
        Ok(Renewed::Began(Began { epoch: next.epoch }))
    );
    assert_eq!(
        texts(&broadcast, next.epoch, 0).await,
        [row(1, "w")],
        "what it intended is of unknown outcome"
    );
    let refused = Err(Away::OtherCoherence(coherence));
    assert_eq!(acked.register(next.epoch, &ann, "").await, refused, "this epoch lives so from the beginning");
    assert_eq!(broadcast.register(next.epoch, &bob, "").await, Ok(Ok(next)));
    assert_eq!(broadcast.convert(next.epoch, Vec::new()).await, Ok(Ok(Converted::Lives)), "it does already");
    assert_eq!(broadcast.begin().await.unwrap().epoch, next.epoch);
    // Whoever is shut out has no lease, and whoever has left is none.
    assert_eq!(acked.convert(next.epoch, Vec::new()).await, Ok(Ok(Converted::Lives)), "it never renewed");
    let last = acked.begin().await.unwrap().epoch;
    let ann = register(&acked, last, "ann2").await;
    acked.leave(last, &ann).await.unwrap().unwrap();
    assert_eq!(broadcast.register(last, &bob, "").await, Err(Away::OtherCoherence(Coherence::Acked)));
    assert_eq!(broadcast.convert(last, Vec::new()).await, Ok(Ok(Converted::Lives)));
}

async fn what_the_dead_intended_is_appended_once(ground: &mut Ground) {
    let journal = ground.journal();
    let epoch = journal.begin().await.unwrap().epoch;
    let (ann, bob) = (register(&journal, epoch, "ann").await, register(&journal, epoch, "bob").await);
    assert_eq!(journal.intend(epoch, &node("cid"), "w0", record("w0")).await, Ok(Intended::Unknown));
    for (who, write) in [(&ann, "w2"), (&ann, "w1"), (&bob, "w3")] {
        assert_eq!(journal.intend(epoch, who, write, record(write)).await, Ok(Intended::Kept));
    }
    assert_eq!(journal.begin().await.unwrap().last, 0, "readers see nothing of an open intent");
    assert_eq!(journal.fence(epoch, &ann, 1).await, Ok(Fenced::Moved));
    assert_eq!(texts(&journal, epoch, 0).await, []);
    assert_eq!(journal.fence(epoch, &ann, 0).await, Ok(Fenced::ShutOut));
    assert_eq!(members(&journal).await[0], member("ann", 0, 2, 0), "and it owes them");
    assert_eq!(journal.fence(epoch, &ann, 0).await, Ok(Fenced::ShutOut));
    assert_eq!(texts(&journal, epoch, 0).await, [row(1, "w1"), row(2, "w2")]);
    let open = [
        intent("w1", Some("ann"), Some(1)),
        intent("w2", Some("ann"), Some(2)),
        intent("w3", Some("bob"), None),
    ];
    assert_eq!(intents(&journal, epoch).await, open, "they may still be on their way");
    assert_eq!(journal.close(epoch, "w1", Outcome::Unknown).await, Ok(Ok(Closed::Gone)));
    assert_eq!(journal.close(epoch, "w3", Outcome::Unknown).await, Ok(Ok(Closed::Open)));
    assert_eq!(intents(&journal, epoch).await, open[1..]);
    assert_eq!(journal.close(epoch, "w3", Outcome::Known).await, Ok(Ok(Closed::Gone)));
    assert_eq!(journal.close(epoch, "w3", Outcome::Known).await, Ok(Ok(Closed::Gone)), "sent again");
    assert_eq!(intents(&journal, epoch).await, open[1..2]);
}

async fn who_leaves_is_gone_and_what_he_left_open_is_appended(ground: &mut Ground) {
    let journal = ground.journal();
    let epoch = journal.begin().await.unwrap().epoch;
    let ann = register(&journal, epoch, "ann").await;
    journal.intend(epoch, &ann, "w1", record("w1")).await.unwrap();
    for _ in 0..2 {
        assert_eq!(journal.leave(epoch, &ann).await, Ok(Ok(())));
        assert_eq!(members(&journal).await, []);
        assert_eq!(texts(&journal, epoch, 0).await, [row(1, "w1")]);
    }
    assert_eq!(journal.renew(epoch, &ann, 1, "I am ann").await, Ok(Renewed::Unknown));
}

async fn a_known_outcome_closes_an_intent_and_an_unknown_one_does_not(ground: &mut Ground) {
    let journal = ground.journal();
    let epoch = journal.begin().await.unwrap().epoch;
    let ann = register(&journal, epoch, "ann").await;
    for write in ["w1", "w2"] {
        journal.intend(epoch, &ann, write, record(write)).await.unwrap();
    }
    assert_eq!(journal.conclude(epoch, "w1", Outcome::Known, record("done")).await, Ok(Ok(1)));
    assert_eq!(journal.conclude(epoch, "w2", Outcome::Unknown, record("maybe")).await, Ok(Ok(2)));
    assert_eq!(intents(&journal, epoch).await, [intent("w2", Some("ann"), Some(2))]);
    assert_eq!(journal.conclude(epoch, "w9", Outcome::Unknown, record("never")).await, Ok(Ok(3)));
    assert_eq!(journal.fence(epoch, &ann, 0).await, Ok(Fenced::ShutOut));
    assert_eq!(texts(&journal, epoch, 0).await.len(), 3, "it stands there already");
    ground.reign_anew();
    let next = journal.begin().await.unwrap();
    assert_eq!(texts(&journal, next.epoch, 0).await, [row(1, "maybe")], "as it was said last");
}

async fn a_write_that_is_sent_again_is_intended_again(ground: &mut Ground) {
    let journal = ground.journal();
    let epoch = journal.begin().await.unwrap().epoch;
    let ann = register(&journal, epoch, "ann").await;
    journal.intend(epoch, &ann, "w1", record("first")).await.unwrap();
    journal.intend(epoch, &ann, "w1", record("second")).await.unwrap();
    journal.fence(epoch, &ann, 0).await.unwrap();
    assert_eq!(texts(&journal, epoch, 0).await, [row(1, "second")]);
    journal.renew(epoch, &ann, 1, "I am ann").await.unwrap();
    journal.intend(epoch, &ann, "w1", record("third")).await.unwrap();
    assert_eq!(intents(&journal, epoch).await, [intent("w1", Some("ann"), None)]);
    journal.fence(epoch, &ann, 1).await.unwrap();
    assert_eq!(texts(&journal, epoch, 1).await, [row(2, "third")], "what stood there was another attempt");
}

async fn in_another_epoch_nothing_is_done(ground: &mut Ground) {
    let journal = ground.journal();
    let old = journal.begin().await.unwrap().epoch;
    let ann = register(&journal, old, "ann").await;
    append(&journal, old, "a").await;
    ground.reign_anew();
    let began = Began { epoch: journal.begin().await.unwrap().epoch };
    let bob = register(&journal, began.epoch, "bob").await;
    journal.intend(began.epoch, &bob, "w1", record("w1")).await.unwrap();
    let before = (journal.members().await, intents(&journal, began.epoch).await);

    assert_eq!(journal.append(old, record("x")).await, Ok(Err(began)));
    assert_eq!(journal.conclude(old, "w1", Outcome::Known, record("x")).await, Ok(Err(began)));
    assert_eq!(journal.read(Position { epoch: old, n: 0 }, NONE).await, Ok(Read::Began(began)));
    assert_eq!(journal.read(Position { epoch: old, n: 1 }, NONE).await, Ok(Read::Began(began)));
    assert_eq!(journal.register(old, &ann, "x").await, Ok(Err(began)));
    assert_eq!(journal.renew(old, &bob, 9, "I am bob").await, Ok(Renewed::Began(began)));
    assert_eq!(journal.behind(old, 9).await, Ok(Behind::Began(began)));
    assert_eq!(journal.fence(old, &bob, 0).await, Ok(Fenced::Began(began)));
    assert_eq!(journal.leave(old, &bob).await, Ok(Err(began)));
    assert_eq!(journal.intend(old, &bob, "w2", record("x")).await, Ok(Intended::Began(began)));
    assert_eq!(journal.intents(old).await, Ok(Err(began)));
    assert_eq!(journal.close(old, "w1", Outcome::Known).await, Ok(Err(began)));

    assert_eq!((journal.members().await, intents(&journal, began.epoch).await), before);
}

async fn whatever_is_lost_is_a_new_epoch(ground: &mut Ground) {
    type Mishap = fn(&mut Ground);
    let mishaps: [(&str, Mishap); 7] = [
        ("a restart", |ground| ground.wipe()),
        ("everything", |ground| ground.flush()),
        ("meta", |ground| ground.lose(Key::Meta)),
        ("journal", |ground| ground.lose(Key::Journal)),
        ("members", |ground| ground.lose(Key::Members)),
        ("intents", |ground| ground.lose(Key::Intents)),
        ("another reign", |ground| ground.reign_anew()),
    ];
    let mut epochs = Vec::new();
    for (what, mishap) in mishaps {
        let journal = ground.journal();
        let epoch = journal.begin().await.unwrap().epoch;
        let ann = register(&journal, epoch, "ann").await;
        append(&journal, epoch, "a").await;
        mishap(ground);
        let journal = ground.journal();
        let Renewed::Began(began) = journal.renew(epoch, &ann, 1, "I am ann").await.unwrap() else {
            panic!("{what}")
        };
        let extent = Extent { epoch: began.epoch, first: 1, last: 0 };
        assert_eq!(journal.members().await, Ok((extent, Vec::new())), "{what}");
        epochs.extend([epoch, began.epoch]);
    }
    epochs.dedup();
    epochs.sort_unstable();
    let count = epochs.len();
    epochs.dedup();
    assert_eq!((count, epochs.len()), (8, 8), "each is another one");
}

async fn intents_outlive_their_epoch_and_hang_on_nobody_there(ground: &mut Ground) {
    let journal = ground.journal();
    let first = journal.begin().await.unwrap().epoch;
    let ann = register(&journal, first, "ann").await;
    for write in ["w2", "w1"] {
        journal.intend(first, &ann, write, record(write)).await.unwrap();
    }
    journal.fence(first, &ann, 0).await.unwrap();
    ground.lose(Key::Members);
    let second = journal.begin().await.unwrap();
    assert_eq!((second.first, second.last), (1, 2));
    assert_eq!(texts(&journal, second.epoch, 0).await, [row(1, "w1"), row(2, "w2")]);
    let open = [intent("w1", None, Some(1)), intent("w2", None, Some(2))];
    assert_eq!(intents(&journal, second.epoch).await, open);
    let ann = register(&journal, second.epoch, "ann2").await;
    assert_eq!(journal.intend(second.epoch, &ann, "w1", record("again")).await, Ok(Intended::Kept));
    assert_eq!(journal.close(second.epoch, "w2", Outcome::Unknown).await, Ok(Ok(Closed::Gone)));
    ground.reign_anew();
    let third = journal.begin().await.unwrap();
    assert_eq!(texts(&journal, third.epoch, 0).await, [row(1, "again")]);
}

async fn what_was_let_go_is_a_gap(ground: &mut Ground) {
    let journal = ground.journal();
    let epoch = journal.begin().await.unwrap().epoch;
    for text in ["a", "b", "c"] {
        append(&journal, epoch, text).await;
    }
    ground.trim(3);
    let extent = Extent { epoch, first: 3, last: 3 };
    assert_eq!(journal.begin().await, Ok(extent));
    for n in [0, 1] {
        assert_eq!(journal.read(Position { epoch, n }, NONE).await, Ok(Read::Gap(extent)));
        let anew = ground.journal();
        assert_eq!(anew.read(Position { epoch, n }, NONE).await, Ok(Read::Gap(extent)));
    }
    assert_eq!(texts(&journal, epoch, 2).await, [row(3, "c")]);
    ground.trim(4);
    let extent = Extent { epoch, first: 4, last: 3 };
    assert_eq!(journal.begin().await, Ok(extent));
    assert_eq!(journal.read(Position { epoch, n: 2 }, NONE).await, Ok(Read::Gap(extent)));
    assert_eq!(texts(&journal, epoch, 3).await, []);
    assert_eq!(append(&journal, epoch, "d").await, 4, "what is empty counts on");
    assert_eq!(texts(&journal, epoch, 3).await, [row(4, "d")]);
}

async fn what_holds_an_open_write_is_not_forgotten(ground: &mut Ground) {
    const RETAINED: u64 = 200;
    /// Redis gives up whole nodes, of a hundred records at most, and is asked to every hundred records.
    const MORE: u64 = 200;
    let journal = ground.journal_at(0, Settings { retained: RETAINED, ..settings() });
    let epoch = journal.begin().await.unwrap().epoch;
    let ann = register(&journal, epoch, "ann").await;
    for write in ["w1", "w2"] {
        journal.intend(epoch, &ann, write, record(write)).await.unwrap();
    }
    journal.conclude(epoch, "w1", Outcome::Unknown, record("maybe")).await.unwrap().unwrap();
    let mut last = 0;
    while last < 5 * RETAINED {
        last = append(&journal, epoch, "x").await;
        if !last.is_multiple_of(10) {
            continue;
        }
        let extent = journal.begin().await.unwrap();
        let kept = extent.last + 1 - extent.first;
        assert!(kept >= extent.last.min(RETAINED) && kept <= RETAINED + MORE, "{extent:?}");
        let open = intents(&journal, epoch).await;
        assert_eq!(open[1], intent("w2", Some("ann"), None));
        let place = open[0].place.unwrap();
        assert!(place >= extent.first, "{place} is let go: {extent:?}");
        assert_eq!(texts(&journal, epoch, place - 1).await[0], row(place, "maybe"));
    }
    journal.close(epoch, "w1", Outcome::Unknown).await.unwrap().unwrap();
    for _ in 0..RETAINED + MORE {
        append(&journal, epoch, "x").await;
    }
    let first = journal.begin().await.unwrap().first;
    for n in 0..4 {
        let rows = texts(&journal, epoch, first - 1 + n * MAX_READ as u64).await;
        assert!(rows.iter().all(|(_, text)| text == "x"), "nobody needs it any more");
    }
}

async fn names_and_records_have_limits(ground: &mut Ground) {
    let journal = ground.journal();
    let epoch = journal.begin().await.unwrap().epoch;
    let ann = register(&journal, epoch, "ann").await;
    let largest = Bytes::from(vec![b'x'; MAX_RECORD]);
    let larger = Bytes::from(vec![b'x'; MAX_RECORD + 1]);
    assert_eq!(journal.append(epoch, larger.clone()).await.map_err(is_refused), Err(true));
    assert_eq!(journal.intend(epoch, &ann, "w", larger).await.map_err(is_refused), Err(true));
    for name in ["", &"x".repeat(MAX_NAME + 1)] {
        assert_eq!(journal.renew(epoch, &node(name), 0, "I am").await.map_err(is_refused), Err(true));
        assert_eq!(journal.intend(epoch, &ann, name, largest.clone()).await.map_err(is_refused), Err(true));
    }
    let (most, more) = ("x".repeat(MAX_ABOUT), "x".repeat(MAX_ABOUT + 1));
    assert!(journal.register(epoch, &ann, &most).await.unwrap().is_ok());
    assert_eq!(journal.register(epoch, &ann, &more).await.map_err(is_refused), Err(true));
    for n in 1..=MAX_READ as u64 {
        assert_eq!(journal.append(epoch, largest.clone()).await, Ok(Ok(n)));
    }
    assert_eq!(texts(&journal, epoch, 0).await.len(), MAX_READ, "all of them fit into one read");
}

fn is_refused(why: Away) -> bool {
    matches!(why, Away::Refused(_))
}

async fn a_registry_has_an_end(ground: &mut Ground) {
    let journal = ground.journal();
    let epoch = journal.begin().await.unwrap().epoch;
    for n in 0..MAX_MEMBERS {
        register(&journal, epoch, &format!("{n}")).await;
    }
    let one_more = node("one more");
    assert_eq!(journal.register(epoch, &one_more, "").await.map_err(is_refused), Err(true));
    register(&journal, epoch, "0").await;
    assert_eq!(members(&journal).await.len(), MAX_MEMBERS);
    journal.leave(epoch, &node("0")).await.unwrap().unwrap();
    register(&journal, epoch, "one more").await;
}

async fn what_is_open_has_an_end(ground: &mut Ground) {
    let journal = ground.journal();
    let epoch = journal.begin().await.unwrap().epoch;
    let ann = register(&journal, epoch, "ann").await;
    for n in 0..MAX_INTENTS {
        assert_eq!(journal.intend(epoch, &ann, &n.to_string(), record("x")).await, Ok(Intended::Kept));
    }
    assert_eq!(journal.intend(epoch, &ann, "more", record("x")).await.map_err(is_refused), Err(true));
    assert_eq!(journal.intend(epoch, &ann, "0", record("x")).await, Ok(Intended::Kept));
    assert_eq!(journal.fence(epoch, &ann, 0).await, Ok(Fenced::ShutOut));
    assert_eq!(intents(&journal, epoch).await.len(), MAX_INTENTS, "all of them fit into one answer");
    ground.lose(Key::Meta);
    assert_eq!(journal.begin().await.unwrap().last, MAX_INTENTS as u64);
}

async fn a_read_that_waits_is_told_of_another_epoch_in_the_end(ground: &mut Ground) {
    let (waits, other) = (ground.journal(), ground.journal());
    let epoch = waits.begin().await.unwrap().epoch;
    append(&waits, epoch, "a").await;
    let cursor = Position { epoch, n: 1 };
    waits.read(cursor, NONE).await.unwrap();
    let (read, began) = tokio::join!(waits.read(cursor, Duration::from_millis(200)), async {
        ground.flush();
        let began = Began { epoch: other.begin().await.unwrap().epoch };
        append(&other, began.epoch, "b").await;
        began
    });
    assert_eq!(read, Ok(Read::Began(began)));
}
