//! The stream `<namespace>:events` of the fleet's Redis, on which a backend leaves what it changed for whoever comes: the nodes
//! read it as one group, so each entry goes to one of them, and its invalidation to all.
//!
//! ```text
//! XADD ─ XREADGROUP ─ applied on every node ─ XACK, XDEL
//!           └ not confirmed, or its reader died ─ pending ─ XAUTOCLAIM ─┘
//! ```
//! Invariant: an entry is deleted only when what it says holds everywhere (under `coherence: broadcast`, when it is in the journal),
//! or if nobody can understand it. So it is applied at least once, and again if its reader dies in between. It refuses to know
//! what an entry means.
//!
//! All nodes are one consumer of the group: what is pending then belongs to nobody in particular, and a node that is gone leaves
//! nothing behind.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, FromRedisValue, ServerError, Value, from_redis_value};
use tokio::time::{Instant, sleep, timeout};

use crate::invalidate::applied::Ack;
use crate::invalidate::event::{self, Event};
use crate::invalidate::pace::Complaints;
use crate::invalidate::raw::Raw;
use crate::invalidate::said::shown;
use crate::invalidate::{Invalidation, Invalidator, Source};
use crate::redis::place::Place;
use crate::redis::{CONNECT, Connection, Error, LONGEST_BACKOFF, backoff, refused};

/// The group, and its one consumer.
const GROUP: &str = "larder";

/// The field of an entry that has the event.
const FIELD: &[u8] = b"event";

/// Most entries that are read at once: all of them as large as an event may be fit into a reply.
const MOST: usize = 50;

/// How long a read waits for something to come; then it is looked for what was left behind.
const WAIT: Duration = Duration::from_secs(1);

/// The one who reads.
pub struct Stream {
    invalidator: Invalidator,
    place: Place,
    key: String,
    /// How long nobody may have touched what is pending until it counts as left behind.
    patience: Duration,
    /// From where on it is looked for that.
    cursor: String,
    /// An entry that no reply can hold.
    oversized: Option<String>,
    last_error: Option<String>,
    complaints: Complaints,
}

/// An entry as it was read.
struct Entry {
    id: String,
    /// `None`: it has no such field, or is gone.
    event: Option<Vec<u8>>,
}

/// What entries say, each thing once, with the ids of those that say it.
type Said = Vec<(Invalidation, Vec<String>)>;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

impl Stream {
    /// That of `namespace`, of the Redis at `place`. What nobody has touched for longer than `patience` is taken over from
    /// whoever read it.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if TLS is asked for and there are no root certificates.
    pub fn new(
        invalidator: Invalidator,
        place: &Place,
        namespace: &str,
        patience: Duration,
    ) -> Result<Self, Error> {
        let key = format!("{namespace}:events");
        Ok(Self {
            invalidator,
            place: place.beside(&key)?,
            key,
            patience,
            cursor: "0-0".to_owned(),
            oversized: None,
            last_error: None,
            complaints: Complaints::default(),
        })
    }

    /// Reads until the task is aborted; what it was about then is left to the others.
    pub async fn read_on(mut self) {
        let random = ahash::RandomState::new();
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let Err(why) = self.read().await;
            self.lost(&why);
            failures = if began.elapsed() > LONGEST_BACKOFF { 1 } else { failures + 1 };
            sleep(backoff(failures, random.hash_one(failures))).await;
        }
    }

    async fn read(&mut self) -> Result<Infallible, Error> {
        let mut connection = self.place.open().await?;
        self.join_group(&mut connection).await?;
        if self.last_error.take().is_some() {
            tracing::info!(stream = self.key, "events are read again");
        }
        if let Some(id) = self.oversized.take() {
            self.complain(&id, "it is larger than any event");
            self.delete(&mut connection, &[id]).await?;
        }
        loop {
            let left = self.left_behind(&mut connection).await?;
            self.apply(&mut connection, left).await?;
            let new = self.new_entries(&mut connection).await?;
            self.apply(&mut connection, new).await?;
        }
    }

    /// Makes the group if there is none. What was added before is read as well.
    async fn join_group(&self, connection: &mut Connection) -> Result<(), Error> {
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(&self.key).arg(GROUP).arg("0").arg("MKSTREAM");
        match ask(connection, &create).await? {
            Err(why) if why.code() != "BUSYGROUP" => Err(refused(&why)),
            _ => Ok(()),
        }
    }

    /// What somebody has read and nobody finished: one by one, for what no reply can hold must not stand in the way of the rest.
    async fn left_behind(&mut self, connection: &mut Connection) -> Result<Vec<Entry>, Error> {
        let mut claim = redis::cmd("XAUTOCLAIM");
        let patience = u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX);
        claim.arg(&self.key).arg(GROUP).arg(GROUP).arg(patience).arg(&self.cursor);
        let Value::Array(mut answer) = value(connection, claim.arg("COUNT").arg(MOST).arg("JUSTID")).await?
        else {
            return Err(nonsense());
        };
        // Redis 7 adds which ones were deleted meanwhile.
        answer.truncate(2);
        let (cursor, ids): (String, Vec<String>) = read(Value::Array(answer))?;
        self.cursor = cursor;
        let mut entries = Vec::with_capacity(ids.len());
        for id in ids {
            let answer = value(connection, redis::cmd("XRANGE").arg(&self.key).arg(&id).arg(&id)).await;
            if matches!(answer, Err(Error::Oversized)) {
                self.oversized = Some(id.clone());
            }
            let found: Vec<(String, Fields)> = read(answer?)?;
            entries.push(found.into_iter().next().map_or(Entry { id, event: None }, Entry::of));
        }
        Ok(entries)
    }

    async fn new_entries(&self, connection: &mut Connection) -> Result<Vec<Entry>, Error> {
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(GROUP).arg(GROUP).arg("COUNT").arg(MOST);
        command.arg("BLOCK").arg(WAIT.as_millis() as u64).arg("STREAMS").arg(&self.key).arg(">");
        match value(connection, &command).await? {
            Value::Nil => Ok(Vec::new()),
            answer => {
                let [(_, entries)]: [(String, Vec<(String, Fields)>); 1] = read(answer)?;
                Ok(entries.into_iter().map(Entry::of).collect())
            }
        }
    }

    /// Applies what entries say, and deletes those of which it holds everywhere; the others stay pending.
    async fn apply(&mut self, connection: &mut Connection, entries: Vec<Entry>) -> Result<(), Error> {
        let (said, mut done) = self.understood(entries);
        let invalidator = &self.invalidator;
        let applied = said.into_iter().map(|(invalidation, ids)| async move {
            let ack = invalidator.apply(invalidation).await.ack;
            if let Ack::Unconfirmed(_) = ack { Vec::new() } else { ids }
        });
        done.extend(join_all(applied).await.into_iter().flatten());
        if done.is_empty() { Ok(()) } else { self.delete(connection, &done).await }
    }

    /// What they say, and the ids of those that say nothing.
    fn understood(&mut self, entries: Vec<Entry>) -> (Said, Vec<String>) {
        let (mut said, mut nothing) = (Said::new(), Vec::new());
        for Entry { id, event } in entries {
            let Some(event) = event else {
                self.complain(&id, "it has no field `event`");
                nothing.push(id);
                continue;
            };
            match event::read(&event, &self.invalidator.settings().events) {
                Ok(Event::Outdates(outdates)) => {
                    let mut invalidation = outdates.invalidation(Source::Redis, self.key.as_str());
                    let alike = |(other, _): &&mut (Invalidation, _)| {
                        (other.mode, &other.reach, &other.raw)
                            == (invalidation.mode, &invalidation.reach, &invalidation.raw)
                    };
                    match said.iter_mut().find(alike) {
                        Some((_, ids)) => ids.push(id),
                        None => {
                            invalidation.id.get_or_insert_with(|| id.clone());
                            said.push((invalidation, vec![id]));
                        }
                    }
                }
                Ok(Event::Unmatched { name, data, .. }) => {
                    self.invalidator.metrics().event_unmatched();
                    tracing::debug!("no rule of `events` knows {name:?}, read from {}", self.key);
                    // Those of another node may: it is told as one that outdates nothing here.
                    let (raw, actor) = (Some(Raw::Event { name, data }), self.key.clone());
                    let unknown =
                        Invalidation { raw, source: Source::Redis, actor, ..Invalidation::default() };
                    said.push((unknown, vec![id]));
                }
                Err(why) => {
                    self.complain(&id, &format!("{why}: {}", shown(&event)));
                    nothing.push(id);
                }
            }
        }
        (said, nothing)
    }

    /// In one step: what is acknowledged and not deleted would lie there for ever.
    async fn delete(&self, connection: &mut Connection, ids: &[String]) -> Result<(), Error> {
        value(connection, &redis::cmd("MULTI")).await?;
        value(connection, redis::cmd("XACK").arg(&self.key).arg(GROUP).arg(ids)).await?;
        value(connection, redis::cmd("XDEL").arg(&self.key).arg(ids)).await?;
        value(connection, &redis::cmd("EXEC")).await.map(drop)
    }

    fn complain(&mut self, id: &str, why: &str) {
        self.invalidator.metrics().channels().bad_message();
        let complaint = || format!("bad entry {id} of the stream {}: {why}", self.key);
        self.complaints.make(Instant::now(), complaint);
    }

    fn lost(&mut self, why: &Error) {
        let (key, needs_people, why) = (&self.key, matches!(why, Error::Refused(_)), why.to_string());
        if self.last_error.as_ref() == Some(&why) {
            return tracing::debug!("{key}: {why}");
        }
        if needs_people {
            tracing::error!("{key}: {why}; no event is read from this stream until that is mended");
        } else {
            tracing::warn!("{key}: {why}; no event is read from this stream until it is back");
        }
        self.last_error = Some(why);
    }
}

impl Entry {
    fn of((id, fields): (String, Fields)) -> Self {
        let event = fields.into_iter().find(|(name, _)| name == FIELD);
        Self { id, event: event.map(|(_, event)| event) }
    }
}

async fn value(connection: &mut Connection, command: &Cmd) -> Result<Value, Error> {
    ask(connection, command).await?.map_err(|why| refused(&why))
}

async fn ask(connection: &mut Connection, command: &Cmd) -> Result<Result<Value, ServerError>, Error> {
    // None waits for longer on purpose.
    match timeout(WAIT + CONNECT, connection.ask(command)).await.unwrap_or(Err(Error::Timeout))? {
        Value::ServerError(why) => Ok(Err(why)),
        value => Ok(Ok(value)),
    }
}

fn read<T: FromRedisValue>(value: Value) -> Result<T, Error> {
    from_redis_value(value).map_err(|_| nonsense())
}

fn nonsense() -> Error {
    Error::Malformed("this is no answer to what it was asked".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalidate::testing::World;
    use crate::redis::Address;
    use crate::redis::place::Where;

    fn stream(world: &World) -> Stream {
        let nowhere = Place::new(Where::One(Address::parse("redis://nowhere").unwrap()), "k").unwrap();
        Stream::new(world.invalidator.clone(), &nowhere, "shop", Duration::ZERO).unwrap()
    }

    fn entry(id: &str, field: &str, event: &str) -> Entry {
        Entry::of((id.to_owned(), vec![(field.into(), event.into())]))
    }

    #[test]
    fn what_is_said_alike_is_applied_once_under_the_first_id() {
        let world = World::new(crate::invalidate::Settings::default());
        let events = ["a:1", r#"{"tags":["a:1"],"id":"x"}"#, r#"{"tags":["a:1"],"soft":true}"#, "a:2"];
        let entries = events.iter().zip(["1-0", "2-0", "3-0", "4-0"]);
        let entries = entries.map(|(event, id)| entry(id, "event", event)).collect();
        let (said, nothing) = stream(&world).understood(entries);
        let ids: Vec<_> = said.iter().map(|(_, ids)| ids.join(" ")).collect();
        assert_eq!(ids, ["1-0 2-0", "3-0", "4-0"]);
        assert_eq!(said[0].0.id.as_deref(), Some("1-0"));
        assert_eq!(said[0].0.actor, "shop:events");
        assert!(nothing.is_empty());
    }

    #[test]
    fn what_says_nothing_is_done_with() {
        let world = World::new(crate::invalidate::Settings::default());
        let entries = vec![
            entry("1-0", "event", "{"),
            entry("2-0", "tags", "a:1"),
            Entry { id: "4-0".to_owned(), event: None },
        ];
        let (said, nothing) = stream(&world).understood(entries);
        assert!(said.is_empty());
        assert_eq!(nothing, ["1-0", "2-0", "4-0"]);
    }

    #[test]
    fn an_event_without_a_rule_is_passed_on_for_nodes_that_may_have_one() {
        let world = World::new(crate::invalidate::Settings::default());
        let events = [r#"{"type":"never.heard","data":{"id":1}}"#, r#"{"type":"nor.this"}"#];
        let entries =
            events.iter().zip(["1-0", "2-0"]).map(|(event, id)| entry(id, "event", event)).collect();
        let (said, nothing) = stream(&world).understood(entries);
        let raw = said.iter().map(|(invalidation, _)| match &invalidation.raw {
            Some(Raw::Event { name, .. }) => name.as_str(),
            _ => "",
        });
        assert_eq!(raw.collect::<Vec<_>>(), ["never.heard", "nor.this"]);
        assert!(
            said.iter().all(|(invalidation, _)| invalidation.reach.items.is_empty()) && nothing.is_empty()
        );
    }
}
