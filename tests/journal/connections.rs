//! What the journal makes of its connections: answers that come late or never, scripts that are forgotten, what its user
//! may do; and the links of the twin in memory.

use std::time::Duration;

use bytes::Bytes;
use larder::fleet::journal::{Away, Incarnation, Journal, Read, Renewed, Settings};
use larder::fleet::script::COMMANDS;
use larder::fleet::sim::{Link, Old, SimJournal, SimServer};
use larder::store::position::Position;

use crate::ground::{Ground, name, node, over_redis, play_in_memory, play_on_redis, settings};
use crate::redis_server::Redis;

const A: Bytes = Bytes::from_static(b"a");

fn soon() -> Settings {
    Settings { deadline: Duration::from_millis(300), ..settings() }
}

fn only(ground: &mut Ground) -> &mut Redis {
    let Ground::Redis(servers) = ground else { panic!("a real one") };
    &mut servers[0]
}

fn is_unreachable<T>(answer: Result<T, Away>) -> bool {
    matches!(answer, Err(Away::Unreachable(_)))
}

#[test]
fn scripts_that_were_forgotten_are_brought_again() {
    play_on_redis(async |ground: &mut Ground| {
        let journal = ground.journal();
        let epoch = journal.begin().await.unwrap().epoch;
        for n in 1..4 {
            assert_eq!(journal.append(epoch, A).await, Ok(Ok(n)));
            only(ground).command("SCRIPT FLUSH");
        }
        assert_eq!(journal.members().await.unwrap().0.last, 3);
    });
}

#[test]
fn an_answer_that_comes_too_late_is_nobodys() {
    play_on_redis(async |ground: &mut Ground| {
        let journal = ground.journal_at(0, soon());
        let epoch = journal.begin().await.unwrap().epoch;
        only(ground).signal("STOP");
        assert!(is_unreachable(journal.append(epoch, A).await));
        assert!(is_unreachable(journal.renew(epoch, &node("ann"), 0, "I am").await));
        only(ground).signal("CONT");
        let patient = ground.journal();
        patient.begin().await.unwrap();
        assert_eq!(journal.renew(epoch, &node("ann"), 0, "I am").await, Ok(Renewed::Unknown));
        assert_eq!(journal.members().await.unwrap().1, []);
    });
}

#[test]
fn whoever_does_not_wait_for_his_answer_takes_it_along() {
    play_on_redis(async |ground: &mut Ground| {
        let journal = ground.journal();
        let epoch = journal.begin().await.unwrap().epoch;
        {
            let mut dropped = std::pin::pin!(journal.append(epoch, A));
            assert!(futures_util::FutureExt::now_or_never(dropped.as_mut()).is_none());
        }
        assert_eq!(journal.renew(epoch, &node("ann"), 0, "I am").await, Ok(Renewed::Unknown));
    });
}

#[test]
fn a_connection_that_ended_is_an_error_once() {
    play_on_redis(async |ground: &mut Ground| {
        let journal = ground.journal();
        let epoch = journal.begin().await.unwrap().epoch;
        let start = Position { epoch, n: 0 };
        journal.read(start, Duration::ZERO).await.unwrap();
        only(ground).command("CLIENT KILL TYPE normal SKIPME yes");
        assert!(is_unreachable(journal.begin().await));
        assert!(is_unreachable(journal.read(start, Duration::ZERO).await));
        assert_eq!(journal.begin().await.unwrap().epoch, epoch);
        assert_eq!(journal.read(start, Duration::ZERO).await, Ok(Read::Records(Vec::new())));
        only(ground).kill();
        assert!(is_unreachable(journal.begin().await));
        assert!(is_unreachable(journal.begin().await));
        only(ground).restart();
        assert_ne!(journal.begin().await.unwrap().epoch, epoch);
    });
}

#[test]
fn a_server_that_may_evict_leases_is_asked_for_nothing_until_it_may_not() {
    play_on_redis(async |ground: &mut Ground| {
        let journal = ground.journal();
        let epoch = journal.begin().await.unwrap().epoch;
        journal.register(epoch, &node("ann"), "").await.unwrap().unwrap();
        for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
            only(ground).command(&format!("CONFIG SET maxmemory-policy {policy}"));
            let evicts = Away::Evicts(policy.to_owned());
            assert_eq!(journal.renew(epoch, &node("ann"), 0, "I am").await, Err(evicts.clone()));
            assert_eq!(journal.append(epoch, A).await, Err(evicts.clone()));
            assert_eq!(journal.begin().await, Err(evicts.clone()));
            assert!(evicts.to_string().contains(policy));
        }
        for policy in ["volatile-lru", "volatile-ttl", "noeviction"] {
            only(ground).command(&format!("CONFIG SET maxmemory-policy {policy}"));
            assert_eq!(journal.renew(epoch, &node("ann"), 0, "I am").await, Ok(Renewed::Held { last: 0 }));
        }
    });
}

#[test]
fn a_read_that_waits_keeps_nobody_waiting() {
    play_on_redis(async |ground: &mut Ground| {
        let journal = ground.journal_at(0, settings());
        let epoch = journal.begin().await.unwrap().epoch;
        let read = journal.read(Position { epoch, n: 0 }, Duration::from_secs(15));
        let (read, placed) = tokio::join!(read, journal.append(epoch, A));
        assert_eq!((read, placed), (Ok(Read::Records(vec![(1, A)])), Ok(Ok(1))));
    });
}

#[test]
fn a_user_who_may_do_what_is_listed_may_do_everything() {
    play_on_redis(async |ground: &mut Ground| {
        let replica = ground.add_replica();
        let redis = only(ground);
        let commands: Vec<String> =
            COMMANDS.iter().map(|command| format!("+{}", command.to_lowercase())).collect();
        let rule = format!("ACL SETUSER larder on >pass ~{{larder}}:* resetchannels {}", commands.join(" "));
        redis.command(&rule);
        let url = format!("redis://larder:pass@{}", redis.address());
        let journal = over_redis(&url, Settings { replicas: 1, retained: 100, ..settings() });
        let epoch = journal.begin().await.unwrap().epoch;
        let ann = node("ann");
        journal.register(epoch, &ann, "").await.unwrap().unwrap();
        journal.intend(epoch, &ann, "w1", A).await.unwrap();
        for _ in 0..200 {
            journal.append(epoch, A).await.unwrap().unwrap();
        }
        redis.command("SCRIPT FLUSH");
        journal.read(Position { epoch, n: 199 }, Duration::ZERO).await.unwrap();
        journal.renew(epoch, &ann, 200, "I am ann").await.unwrap();
        journal.behind(epoch, 200).await.unwrap();
        journal.leave(epoch, &ann).await.unwrap().unwrap();
        let open = journal.intents(epoch).await.unwrap().unwrap();
        journal
            .close(epoch, &open[0].write, larder::fleet::journal::Outcome::Unknown)
            .await
            .unwrap()
            .unwrap();
        ground.lose(larder::fleet::sim::Key::Meta);
        assert_ne!(journal.members().await.unwrap().0.epoch, epoch);
        ground.hold_back(replica);
    });
}

#[test]
fn every_command_that_is_listed_is_needed() {
    let scripts = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/fleet/script")).unwrap();
    let scripts: String =
        scripts.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let called: std::collections::BTreeSet<&str> =
        scripts.split("redis.call('").skip(1).map(|rest| rest.split('\'').next().unwrap()).collect();
    let sent =
        ["CLUSTER|SLOTS", "EVAL", "EVALSHA", "EXISTS", "ROLE", "SCRIPT|LOAD", "SELECT", "WAIT", "XREAD"];
    let needed: std::collections::BTreeSet<&str> = called.into_iter().chain(sent).collect();
    assert_eq!(COMMANDS.iter().copied().collect::<std::collections::BTreeSet<_>>(), needed);
}

#[test]
fn a_user_who_may_not_is_told_so() {
    play_on_redis(async |ground: &mut Ground| {
        let redis = only(ground);
        redis.command("ACL SETUSER larder on >pass ~{larder}:* +eval +evalsha +script|load +info");
        let journal = over_redis(&format!("redis://larder:pass@{}", redis.address()), settings());
        assert!(matches!(journal.begin().await, Err(Away::Refused(_))));
        let stranger = over_redis(&format!("redis://larder:guess@{}", redis.address()), settings());
        assert!(matches!(stranger.begin().await, Err(Away::Refused(_))));
    });
}

#[test]
fn the_database_of_the_address_is_where_it_lies_and_a_namespace_has_its_own() {
    play_on_redis(async |ground: &mut Ground| {
        let url = only(ground).url();
        let (third, here) = (over_redis(&format!("{url}/3"), settings()), ground.journal());
        let apart = over_redis(&url, Settings { namespace: "other".into(), ..settings() });
        let epochs = [third.begin().await, here.begin().await, apart.begin().await];
        let [third_epoch, here_epoch, apart_epoch] = epochs.map(|extent| extent.unwrap().epoch);
        assert!(third_epoch != here_epoch && here_epoch != apart_epoch);
        third.append(third_epoch, A).await.unwrap().unwrap();
        let keys: Vec<String> = redis::from_redis_value(only(ground).command("KEYS *")).unwrap();
        assert_eq!(keys.len(), 6, "{keys:?}");
        let read = third.read(Position { epoch: third_epoch, n: 0 }, Duration::ZERO).await;
        assert_eq!(read, Ok(Read::Records(vec![(1, A)])));
    });
}

#[test]
fn who_is_told_to_follow_says_nothing_before_he_knows_whom() {
    play_on_redis(async |ground: &mut Ground| {
        let journal = ground.journal();
        let epoch = journal.begin().await.unwrap().epoch;
        // Nobody is there to follow, so what is stored, run id and reign are as they were.
        only(ground).command("REPLICAOF 127.0.0.1 1");
        assert!(journal.members().await.is_err());
        assert!(journal.behind(epoch, 0).await.is_err());
        assert!(ground.journal().read(Position { epoch, n: 0 }, Duration::ZERO).await.is_err());
    });
}

#[test]
fn nothing_of_it_ever_expires() {
    play_on_redis(async |ground: &mut Ground| {
        let journal = ground.journal();
        let epoch = journal.begin().await.unwrap().epoch;
        journal.register(epoch, &node("ann"), "").await.unwrap().unwrap();
        journal.append(epoch, A).await.unwrap().unwrap();
        use larder::fleet::sim::Key::{Intents, Journal, Members, Meta};
        for key in [Meta, Journal, Members, Intents] {
            assert_eq!(only(ground).command(&format!("TTL {}", name(key))), redis::Value::Int(-1));
        }
    });
}

// ---- the links of the twin --------------------------------------------------------------------------------------

fn sim(ground: &mut Ground) -> SimServer {
    let Ground::Sim(sim) = ground else { panic!("the twin") };
    sim.clone()
}

fn client(sim: &SimServer) -> (usize, Journal) {
    let client: SimJournal = sim.client(soon());
    (client.client(), Journal::Sim(client))
}

async fn last(journal: &Journal) -> u64 {
    journal.begin().await.unwrap().last
}

#[test]
fn what_a_cut_link_does_is_seen_on_the_other_side() {
    play_in_memory(async |ground: &mut Ground| {
        let sim = sim(ground);
        let ((number, cut), (_, other)) = (client(&sim), client(&sim));
        let epoch = cut.begin().await.unwrap().epoch;
        for (link, done) in [(Link::Refused, 0), (Link::Silent, 0), (Link::Deaf, 1)] {
            sim.link(number, link);
            assert!(is_unreachable(cut.append(epoch, A).await), "{link:?}");
            assert!(is_unreachable(cut.read(Position { epoch, n: 0 }, Duration::ZERO).await), "{link:?}");
            assert_eq!(last(&other).await, done, "{link:?}");
        }
        sim.link(number, Link::Up);
        assert_eq!(last(&cut).await, 1);
    });
}

#[test]
fn what_was_sent_arrives_although_nobody_waits_for_it() {
    play_in_memory(async |ground: &mut Ground| {
        let sim = sim(ground);
        let ((number, slow), (_, other)) = (client(&sim), client(&sim));
        let epoch = slow.begin().await.unwrap().epoch;
        let start = tokio::time::Instant::now();
        sim.delay(number, soon().deadline * 2, Duration::ZERO);
        assert!(is_unreachable(slow.append(epoch, A).await));
        assert_eq!(last(&other).await, 0);
        let read = other.read(Position { epoch, n: 0 }, soon().deadline * 10).await;
        assert_eq!(read, Ok(Read::Records(vec![(1, A)])));
        assert_eq!(start.elapsed(), soon().deadline * 2, "the clock is the runtime's");
        sim.delay(number, Duration::ZERO, soon().deadline * 2);
        assert!(is_unreachable(slow.append(epoch, A).await));
        assert_eq!(last(&other).await, 2);
    });
}

#[test]
fn what_is_under_way_to_a_server_that_restarts_is_lost() {
    play_in_memory(async |ground: &mut Ground| {
        let sim = sim(ground);
        let (number, journal) = client(&sim);
        let ann: Incarnation = node("ann");
        let epoch = journal.begin().await.unwrap().epoch;
        sim.delay(number, Duration::from_millis(10), Duration::ZERO);
        let ((), registered) = tokio::join!(
            async {
                tokio::task::yield_now().await;
                sim.restart(0)
            },
            journal.register(epoch, &ann, "")
        );
        assert!(is_unreachable(registered));
        assert!(journal.register(epoch, &ann, "").await.unwrap().is_err(), "another epoch");
        let epoch = journal.begin().await.unwrap().epoch;
        let waits = journal.read(Position { epoch, n: 0 }, Duration::from_secs(9));
        let (read, ()) = tokio::join!(waits, async { sim.wipe(0) });
        assert!(is_unreachable(read));
    });
}

#[test]
fn the_same_story_has_the_same_end() {
    let story = || {
        let mut epochs = Vec::new();
        play_in_memory(async |ground: &mut Ground| {
            let replica = ground.add_replica();
            for _ in 0..3 {
                epochs.push(ground.journal().begin().await.unwrap().epoch);
                ground.wipe();
            }
            ground.promote(replica, Old::Gone);
            epochs.push(ground.journal_at(replica, settings()).begin().await.unwrap().epoch);
        });
        epochs
    };
    assert_eq!(story(), story());
}
