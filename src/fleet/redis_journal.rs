//! The journal over Redis: a connection for what a node lives by, one for what its writes say, one for the read that waits.
//!
//! Invariant: a connection is used by one at a time, and goes back to its place only after an answer that was understood,
//! so that a late one is never taken for another's: whoever gives up, or is dropped, takes his connection along. The next
//! call makes a new one at once; it refuses to know when that is worth trying.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ahash::RandomState;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::fleet::journal::{Away, Began, MAX_READ, Read, Settings};
use crate::fleet::request::{Answer, Request};
use crate::fleet::script::{self, Keys, Record};
use crate::redis::Connection;
use crate::redis::place::Place;
use crate::store::position::Position;

/// Bits of an epoch's number: a script's numbers are doubles.
const EPOCH_BITS: u32 = 52;

/// A node's connections to the journal.
pub struct RedisJournal {
    place: Place,
    keys: Keys,
    settings: Settings,
    /// For renewals and all else but the writes', so that no lease waits in their queue.
    control: Mutex<Option<Connection>>,
    writes: Mutex<Option<Connection>>,
    reader: Mutex<Option<Connection>>,
    random: RandomState,
    asked: AtomicU64,
}

impl RedisJournal {
    /// Connects to nobody yet.
    pub fn new(place: Place, settings: Settings) -> Self {
        Self {
            place,
            keys: Keys::new(&settings.namespace),
            settings,
            control: Mutex::default(),
            writes: Mutex::default(),
            reader: Mutex::default(),
            random: RandomState::new(),
            asked: AtomicU64::new(0),
        }
    }

    /// Waits until another server is the primary.
    pub(in crate::fleet) async fn moved(&self) {
        self.place.moved().await;
    }

    /// Runs a script, and waits for the replicas if the answer is one that needs them.
    pub(in crate::fleet) async fn ask(&self, epoch: u64, request: &Request) -> Result<Answer, Away> {
        let asked = async {
            let mut place = if request.is_of_writes() { &self.writes } else { &self.control }.lock().await;
            let mut connection = match place.take().filter(Connection::is_current) {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let answer = self.run(&mut connection, epoch, request).await?;
            let counts = if self.settings.replicas > 0 && request.counts_when_replicated(&answer) {
                self.replicated(&mut connection).await
            } else {
                Ok(())
            };
            if matches!(counts, Ok(()) | Err(Away::Unreplicated { .. })) {
                *place = Some(connection);
            }
            counts.map(|()| answer)
        };
        within(self.settings.deadline, asked).await
    }

    /// What stands behind the cursor.
    pub(in crate::fleet) async fn read(&self, after: Position, wait: Duration) -> Result<Read, Away> {
        let read = async {
            let mut place = self.reader.lock().await;
            let (mut connection, is_new) = match place.take().filter(Connection::is_current) {
                Some(connection) => (connection, false),
                None => (self.connect().await?, true),
            };
            // Whoever waits on another server than before may wait for what never comes there.
            let mut found = if is_new { self.look(&mut connection, after).await? } else { None };
            if found.is_none() {
                let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                let records = script::records(&mut connection, &self.keys, after.n, MAX_READ, millis).await?;
                found = match behind(after, records) {
                    Some(records) => Some(Read::Records(records)),
                    None => self.look(&mut connection, after).await?,
                };
            }
            // Whoever tells of another epoch may be another server than the one that the scripts run on.
            if !matches!(found, Some(Read::Began(_))) {
                *place = Some(connection);
            }
            Ok(found.unwrap_or_else(|| Read::Records(Vec::new())))
        };
        within(self.settings.deadline.saturating_add(wait), read).await
    }

    /// Whether the journal goes on behind the cursor; if so, there is nothing to say.
    async fn look(&self, connection: &mut Connection, after: Position) -> Result<Option<Read>, Away> {
        match self.run(connection, 0, &Request::Begin).await? {
            Answer::Extent(extent) if extent.epoch != after.epoch => {
                Ok(Some(Read::Began(Began { epoch: extent.epoch })))
            }
            Answer::Extent(extent) if extent.first > after.n + 1 => Ok(Some(Read::Gap(extent))),
            Answer::Extent(_) => Ok(None),
            other => Err(other.misplaced()),
        }
    }

    async fn run(&self, connection: &mut Connection, epoch: u64, request: &Request) -> Result<Answer, Away> {
        let random = self.random.hash_one(self.asked.fetch_add(1, Ordering::Relaxed));
        // 0 is no epoch.
        let fresh = (random >> (u64::BITS - EPOCH_BITS)).max(1);
        script::run(connection, &self.keys, &self.settings, fresh, epoch, request).await
    }

    async fn replicated(&self, connection: &mut Connection) -> Result<(), Away> {
        // Half of the time, so that its answer is there in time. 0 would be for ever.
        let millis = u64::try_from(self.settings.deadline.as_millis() / 2).unwrap_or(u64::MAX).max(1);
        script::replicated(connection, self.settings.replicas, millis).await
    }

    async fn connect(&self) -> Result<Connection, Away> {
        self.place.open().await.map_err(script::away)
    }
}

/// Records that follow the cursor one by one; `None` if the first of them does not, or there are none.
fn behind(after: Position, records: Vec<Record>) -> Option<Vec<(u64, bytes::Bytes)>> {
    let mut next = after.n;
    let follows = |record: &Record| {
        next += 1;
        record.epoch == after.epoch && record.place == next
    };
    let records: Vec<_> =
        records.into_iter().take_while(follows).map(|record| (record.place, record.bytes)).collect();
    (!records.is_empty()).then_some(records)
}

async fn within<T>(deadline: Duration, answer: impl Future<Output = Result<T, Away>>) -> Result<T, Away> {
    let late = || Err(Away::Unreachable(format!("no answer within {deadline:?}")));
    timeout(deadline, answer).await.unwrap_or_else(|_| late())
}
