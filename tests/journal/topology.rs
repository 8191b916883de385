//! Several servers that stand in for one another: on which of them the journal is found, and what becomes of connections
//! when that is another one.
//!
//! The Cluster is real. Sentinels are made up here, so that they lie, are late and contradict each other as a test wants;
//! real ones are in tests/fastapi.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::fleet::journal::{Away, Journal, Read};
use larder::fleet::script;
use larder::redis::place::{Place, Where};
use larder::redis::{Address, Error};
use larder::store::position::Position;
use redis::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::ground::{over, play, settings, until};
use crate::redis_server::Redis;

const A: bytes::Bytes = bytes::Bytes::from_static(b"a");

fn address(redis: &Redis) -> Address {
    Address::parse(&redis.url()).unwrap()
}

fn place(at: Where) -> Place {
    Place::new(at, &script::key("larder")).unwrap()
}

// ---- a Cluster --------------------------------------------------------------------------------------------------

/// Two nodes: one with the journal's slot and the next, and one with the rest.
struct Cluster {
    owner: Redis,
    rest: Redis,
    slot: u16,
}

impl Cluster {
    fn start() -> Self {
        let (bus_one, bus_two) = (Redis::absent(), Redis::absent());
        let node = |bus: &crate::redis_server::Absent| {
            let port = bus.url().rsplit_once(':').unwrap().1.to_owned();
            Redis::start(&["--cluster-enabled", "yes", "--cluster-port", &port])
        };
        let (owner, rest) = (node(&bus_one), node(&bus_two));
        let slot: u16 = from(owner.command("CLUSTER KEYSLOT {larder}"));
        // A node that loses its last slot follows the one that gets it.
        owner.command(&format!("CLUSTER ADDSLOTS {slot} {}", slot + 1));
        rest.command(&format!("CLUSTER ADDSLOTSRANGE 0 {} {} 16383", slot - 1, slot + 2));
        let port = |of: &Redis| of.address().port();
        let bus = bus_two.url().rsplit_once(':').unwrap().1.to_owned();
        owner.command(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", port(&rest)));
        for node in [&owner, &rest] {
            until(|| from::<String>(node.command("CLUSTER INFO")).contains("cluster_state:ok"));
        }
        Self { owner, rest, slot }
    }

    fn begins_to_move(&self) {
        let (from_id, to_id) = (id(&self.owner), id(&self.rest));
        self.rest.command(&format!("CLUSTER SETSLOT {} IMPORTING {from_id}", self.slot));
        self.owner.command(&format!("CLUSTER SETSLOT {} MIGRATING {to_id}", self.slot));
    }

    fn moves(&self, key: &str) {
        let port = self.rest.address().port();
        self.owner.command(&format!("MIGRATE 127.0.0.1 {port} {key} 0 5000"));
    }

    fn has_moved(&self) {
        let to_id = id(&self.rest);
        for node in [&self.rest, &self.owner] {
            node.command(&format!("CLUSTER SETSLOT {} NODE {to_id}", self.slot));
        }
    }

    /// By the node that does not have the journal.
    fn place(&self) -> Place {
        place(Where::Cluster(vec![address(&self.rest)]))
    }
}

fn id(node: &Redis) -> String {
    from(node.command("CLUSTER MYID"))
}

fn from<T: redis::FromRedisValue>(value: Value) -> T {
    redis::from_redis_value(value).unwrap()
}

#[test]
fn the_journal_is_found_where_its_slot_is_by_whichever_node_is_asked() {
    let cluster = Cluster::start();
    play(async {
        let journal = over(&cluster.place(), settings());
        let epoch = journal.begin().await.unwrap().epoch;
        assert_eq!(journal.append(epoch, A).await, Ok(Ok(1)));
        let read = journal.read(Position { epoch, n: 0 }, Duration::ZERO).await;
        assert_eq!(read, Ok(Read::Records(vec![(1, A)])));
        assert_eq!(cluster.owner.command("DBSIZE"), Value::Int(4));
        assert_eq!(cluster.rest.command("DBSIZE"), Value::Int(0));
    });
}

#[test]
fn a_slot_that_is_moved_has_no_journal_meanwhile_and_takes_a_reader_along_at_the_end() {
    let cluster = Cluster::start();
    play(async {
        let place = cluster.place();
        let (journal, reader) = (over(&place, settings()), over(&place, settings()));
        let epoch = journal.begin().await.unwrap().epoch;
        journal.append(epoch, A).await.unwrap().unwrap();
        let start = Position { epoch, n: 1 };
        reader.read(start, Duration::ZERO).await.unwrap();

        cluster.begins_to_move();
        cluster.moves("{larder}:meta");
        assert!(journal.append(epoch, A).await.is_err(), "half of it is elsewhere");
        assert!(over(&cluster.place(), settings()).begin().await.is_err(), "for whoever comes, too");
        for key in ["journal", "members", "intents"] {
            cluster.moves(&format!("{{larder}}:{key}"));
        }
        cluster.has_moved();

        let began = eventually(&journal).await;
        assert_ne!(began, epoch, "another server, another epoch");
        let found = reader.read(start, Duration::from_secs(15)).await;
        let Ok(Read::Began(seen)) = found else { panic!("{found:?}") };
        assert_eq!(seen.epoch, began);
        assert_eq!(cluster.owner.command("DBSIZE"), Value::Int(0));
    });
}

/// The epoch, once there is a way to it.
async fn eventually(journal: &Journal) -> u64 {
    for _ in 0..100 {
        if let Ok(extent) = journal.begin().await {
            return extent.epoch;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("there is none")
}

#[test]
fn servers_that_are_in_no_cluster_are_not_taken_for_one() {
    let (one, other) = (Redis::start(&[]), Redis::start(&[]));
    play(async {
        let listed = place(Where::Cluster(vec![address(&one), address(&other)]));
        let refused = over(&listed, settings()).begin().await;
        assert!(
            matches!(&refused, Err(Away::Unreachable(why) | Away::Refused(why)) if why.contains("cluster")),
            "{refused:?}"
        );
        assert_eq!(one.command("DBSIZE"), Value::Int(0));
    });
}

// ---- sentinels --------------------------------------------------------------------------------------------------

/// What a sentinel says: the port of the primary, and the number of its configuration. `None`: it says nothing at all.
type Says = Option<(u16, u64)>;

/// One that says what it is told to.
#[derive(Clone)]
struct Sentinel {
    address: Address,
    says: watch::Sender<Says>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Sentinel {
    async fn start(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::parse(&format!("redis://{}", listener.local_addr().unwrap())).unwrap();
        let this = Self { address, says: watch::Sender::new(says), asked: Arc::default() };
        let sentinel = this.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(sentinel.clone().serve(socket));
            }
        });
        this
    }

    async fn serve(self, mut socket: tokio::net::TcpStream) {
        let mut news = self.says.subscribe();
        let mut bytes = [0; 1024];
        loop {
            tokio::select! {
                read = socket.read(&mut bytes) => {
                    let text = match read {
                        Ok(read) if read > 0 => String::from_utf8_lossy(&bytes[..read]).into_owned(),
                        _ => return,
                    };
                    let answer = self.answer(&text);
                    self.asked.lock().unwrap().push(text);
                    if socket.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
                changed = news.changed(), if self.is_heard() => {
                    let message = "*3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$1\r\nm\r\n";
                    if changed.is_err() || socket.write_all(message.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Whether somebody has subscribed.
    fn is_heard(&self) -> bool {
        self.asked.lock().unwrap().iter().any(|asked| asked.contains("SUBSCRIBE"))
    }

    fn answer(&self, asked: &str) -> String {
        let Some((port, epoch)) = *self.says.borrow() else { return String::new() };
        match asked {
            _ if asked.contains("SUBSCRIBE") => {
                "*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n".into()
            }
            _ if asked.contains("MASTER\r\n$8\r\nmymaster") => {
                let fields =
                    ["ip", "127.0.0.1", "port", &port.to_string(), "config-epoch", &epoch.to_string()];
                let fields = fields.map(|field| format!("${}\r\n{field}\r\n", field.len()));
                format!("*{}\r\n{}", fields.len(), fields.concat())
            }
            _ => "-ERR No such master with that name\r\n".into(),
        }
    }
}

fn named_by(sentinels: &[&Sentinel]) -> Place {
    let sentinels: Vec<Address> = sentinels.iter().map(|sentinel| sentinel.address.clone()).collect();
    let servers = sentinels[0].greeted_as(None, None, 0);
    place(Where::Sentinel { master: "mymaster".into(), sentinels, servers })
}

fn port(redis: &Redis) -> u16 {
    redis.address().port()
}

/// Which server is at the other end.
async fn reached(place: &Place) -> Result<String, Error> {
    let mut connection = place.connect().await?;
    connection.send(redis::cmd("CONFIG").arg("GET").arg("port")).await?;
    Ok(from::<Vec<String>>(connection.reply().await?).remove(1))
}

#[test]
fn of_what_sentinels_say_the_newest_counts_and_who_is_silent_is_left_out() {
    let (old, new) = (Redis::start(&[]), Redis::start(&[]));
    play(async {
        let (stale, newest) =
            (Sentinel::start(Some((port(&old), 3))).await, Sentinel::start(Some((port(&new), 4))).await);
        let silent = Sentinel::start(None).await;
        let stranger = Redis::start(&[]);
        let dead = place(Where::One(address(&stranger)));
        drop(stranger);
        for sentinels in [
            vec![&stale, &newest],
            vec![&newest, &stale],
            vec![&silent, &stale, &newest],
            vec![&newest, &silent, &silent],
        ] {
            assert_eq!(reached(&named_by(&sentinels)).await.unwrap(), port(&new).to_string());
        }
        assert!(reached(&named_by(&[&silent])).await.is_err() && reached(&dead).await.is_err());
    });
}

#[test]
fn a_server_that_follows_is_never_taken_for_a_primary() {
    let (one, other) = (Redis::start(&[]), Redis::start(&[]));
    play(async {
        let sentinel = Sentinel::start(Some((port(&other), 1))).await;
        let place = named_by(&[&sentinel]);
        assert!(place.connect().await.is_ok());
        other.command(&format!("REPLICAOF 127.0.0.1 {}", port(&one)));
        assert!(matches!(place.connect().await, Err(Error::NoPrimary(_))));
    });
}

#[test]
fn connections_end_when_another_server_is_the_primary_though_the_old_one_goes_on() {
    let (old, new) = (Redis::start(&[]), Redis::start(&[]));
    play(async {
        let sentinel = Sentinel::start(Some((port(&old), 1))).await;
        let place = named_by(&[&sentinel]);
        let watching = tokio::spawn(place.clone().watch());
        let mut listening = place.connect().await.unwrap();
        listening.send(redis::cmd("SUBSCRIBE").arg("c")).await.unwrap();
        assert!(matches!(listening.reply().await, Ok(Value::Array(_))));
        let journal = over(&place, settings());
        let before = journal.begin().await.unwrap().epoch;
        while !sentinel.is_heard() {
            tokio::task::yield_now().await;
        }
        sentinel.says.send_replace(Some((port(&new), 2)));

        assert!(matches!(listening.reply().await, Err(Error::Moved)));
        assert!(!listening.is_current());
        assert_eq!(reached(&place).await.unwrap(), port(&new).to_string());
        assert_ne!(journal.begin().await.unwrap().epoch, before, "at once, without an error");
        assert_eq!(old.command("DBSIZE"), Value::Int(3), "nobody asked it to forget anything");
        watching.abort();
    });
}

#[test]
fn a_reader_is_where_its_scripts_are() {
    let (old, new) = (Redis::start(&[]), Redis::start(&[]));
    play(async {
        let sentinel = Sentinel::start(Some((port(&old), 1))).await;
        let place = named_by(&[&sentinel]);
        let journal = over(&place, settings());
        let before = journal.begin().await.unwrap().epoch;
        journal.read(Position { epoch: before, n: 0 }, Duration::ZERO).await.unwrap();
        // Nobody watches: whoever connects next finds out.
        sentinel.says.send_replace(Some((port(&new), 2)));
        let other = over(&place, settings());
        let now = other.begin().await.unwrap().epoch;
        assert_ne!(now, before);
        other.append(now, A).await.unwrap().unwrap();
        let read = journal.read(Position { epoch: now, n: 0 }, Duration::ZERO).await;
        assert_eq!(read, Ok(Read::Records(vec![(1, A)])), "not from the server that it read from before");
    });
}
