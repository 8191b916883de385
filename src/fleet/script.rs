//! The scripts that run on Redis, each of them one step there: how they are sent, and how their answers are read.
//!
//! Invariant: what is asked and what is answered belong together, for nothing else is sent on the connection meanwhile; a
//! connection on which anything went wrong is not used again (that is the caller's part). A script is named by its digest,
//! and brought along only where the server does not know it. `script/prelude.lua` says which keys there are. It refuses to
//! know why something is asked.
//!
//! Needs Redis 6.2, or Valkey, and a user who may [`COMMANDS`] on the keys `{<namespace>}:*`.

use std::sync::OnceLock;

use bytes::Bytes;
use redis::{Cmd, FromRedisValue, Value, from_redis_value};

use crate::fleet::Coherence;
use crate::fleet::journal::{
    Away, Extent, Incarnation, Intent, MAX_INTENTS, MAX_MEMBERS, Member, Outcome, Settings,
};
use crate::fleet::request::{Answer, Request};
use crate::redis::{Connection, Error, refused};

/// All that the user of the journal has to be allowed: what is sent, and what the scripts do. `SELECT` only where the
/// address names a database, `ROLE` with sentinels, `CLUSTER|SLOTS` on a Cluster.
pub const COMMANDS: &[&str] = &[
    "CLUSTER|SLOTS",
    "DEL",
    "EVAL",
    "EVALSHA",
    "EXISTS",
    "HDEL",
    "HGET",
    "HGETALL",
    "HLEN",
    "HMGET",
    "HSET",
    "INFO",
    "ROLE",
    "SCRIPT|LOAD",
    "SELECT",
    "WAIT",
    "XADD",
    "XRANGE",
    "XREAD",
    "XTRIM",
];

/// The keys of one journal; the braces have a cluster keep them in one slot.
pub(in crate::fleet) struct Keys([String; 4]);

impl Keys {
    pub(in crate::fleet) fn new(namespace: &str) -> Self {
        Self(["meta", "journal", "members", "intents"].map(|name| format!("{{{namespace}}}:{name}")))
    }

    /// The stream of the records.
    pub(in crate::fleet) fn journal(&self) -> &str {
        &self.0[1]
    }
}

/// One of the keys of a journal: whoever owns its slot has them all.
pub fn key(namespace: &str) -> String {
    let Keys([meta, ..]) = Keys::new(namespace);
    meta
}

/// Runs what is asked; `fresh` is the epoch that begins if one has to.
///
/// # Errors
/// [`Away`]; the connection is of no use any more.
pub(in crate::fleet) async fn run(
    connection: &mut Connection,
    keys: &Keys,
    settings: &Settings,
    fresh: u64,
    epoch: u64,
    request: &Request,
) -> Result<Answer, Away> {
    let script = Script::of(request);
    let digest = match script.digest.get() {
        Some(digest) => digest,
        None => {
            let digest = ask(connection, redis::cmd("SCRIPT").arg("LOAD").arg(script.text)).await??;
            let digest = read(digest).ok_or_else(nonsense)?;
            script.digest.get_or_init(|| digest)
        }
    };
    let command = |verb: &str, named: &str| {
        let mut command = redis::cmd(verb);
        command.arg(named).arg(keys.0.len()).arg(&keys.0[..]).arg(fresh).arg(epoch);
        arguments(&mut command, request, settings);
        command
    };
    let answer = match ask(connection, &command("EVALSHA", digest)).await? {
        Err(Complaint { is_unknown_script: true, .. }) => {
            ask(connection, &command("EVAL", script.text)).await??
        }
        answer => answer?,
    };
    understood(answer).ok_or_else(nonsense)
}

/// Waits until as many replicas as are asked for have what this connection wrote, for `millis` at most.
///
/// # Errors
/// [`Away::Unreplicated`]; after any other the connection is of no use any more.
pub(in crate::fleet) async fn replicated(
    connection: &mut Connection,
    wanted: u32,
    millis: u64,
) -> Result<(), Away> {
    let has = ask(connection, redis::cmd("WAIT").arg(wanted).arg(millis)).await??;
    let has: u32 = read(has).ok_or_else(nonsense)?;
    if has < wanted { Err(Away::Unreplicated { has, wanted }) } else { Ok(()) }
}

/// Records behind a place, with the epoch that each is of; waits for the first one, if `millis` is not zero.
///
/// # Errors
/// [`Away`]; the connection is of no use any more.
pub(in crate::fleet) async fn records(
    connection: &mut Connection,
    keys: &Keys,
    after: u64,
    most: usize,
    millis: u64,
) -> Result<Vec<Record>, Away> {
    let mut command = redis::cmd("XREAD");
    command.arg("COUNT").arg(most);
    if millis > 0 {
        command.arg("BLOCK").arg(millis);
    }
    command.arg("STREAMS").arg(keys.journal()).arg(format!("{after}-0"));
    match ask(connection, &command).await?? {
        Value::Nil => Ok(Vec::new()),
        answer => {
            let [(_, entries)]: [(String, Vec<(String, Fields)>); 1] = read(answer).ok_or_else(nonsense)?;
            entries
                .into_iter()
                .map(|(id, fields)| Record::of(&id, fields))
                .collect::<Option<_>>()
                .ok_or_else(nonsense)
        }
    }
}

/// One that stands in the journal.
pub(in crate::fleet) struct Record {
    pub(in crate::fleet) place: u64,
    pub(in crate::fleet) epoch: u64,
    pub(in crate::fleet) bytes: Bytes,
}

type Fields = (String, u64, String, Vec<u8>);

impl Record {
    fn of(id: &str, (e, epoch, r, bytes): Fields) -> Option<Self> {
        let place = id.strip_suffix("-0")?.parse().ok()?;
        (e == "e" && r == "r").then(|| Self { place, epoch, bytes: bytes.into() })
    }
}

/// What the server complains of.
struct Complaint {
    is_unknown_script: bool,
    away: Away,
}

impl From<Complaint> for Away {
    fn from(complaint: Complaint) -> Self {
        complaint.away
    }
}

async fn ask(connection: &mut Connection, command: &Cmd) -> Result<Result<Value, Complaint>, Away> {
    match connection.ask(command).await.map_err(away)? {
        Value::ServerError(why) => {
            let why_not = match (why.code(), why.details()) {
                ("EVICTS", Some(policy)) => Away::Evicts(policy.to_owned()),
                ("COHERENCE", Some("acked")) => Away::OtherCoherence(Coherence::Acked),
                ("COHERENCE", Some("broadcast")) => Away::OtherCoherence(Coherence::Broadcast),
                _ => away(refused(&why)),
            };
            Ok(Err(Complaint { is_unknown_script: why.code() == "NOSCRIPT", away: why_not }))
        }
        value => Ok(Ok(value)),
    }
}

/// Why there is no connection, or not any more.
pub(in crate::fleet) fn away(why: Error) -> Away {
    match why {
        Error::Refused(why) => Away::Refused(why),
        why => Away::Unreachable(why.to_string()),
    }
}

fn nonsense() -> Away {
    Away::Refused("it answers what no script of ours says".to_owned())
}

fn read<T: FromRedisValue>(value: Value) -> Option<T> {
    from_redis_value(value).ok()
}

struct Script {
    text: &'static str,
    /// As the first server that was asked gave it: it follows from the text alone.
    digest: OnceLock<String>,
}

macro_rules! script {
    ($name:ident) => {{
        static SCRIPT: Script = Script {
            text: concat!(
                include_str!("script/prelude.lua"),
                include_str!(concat!("script/", stringify!($name), ".lua"))
            ),
            digest: OnceLock::new(),
        };
        &SCRIPT
    }};
}

impl Script {
    fn of(request: &Request) -> &'static Self {
        match request {
            Request::Begin => script!(begin),
            Request::Append { .. } => script!(append),
            Request::Register { .. } => script!(register),
            Request::Convert { .. } => script!(convert),
            Request::Renew { .. } => script!(renew),
            Request::Behind { .. } => script!(behind),
            Request::Fence { .. } => script!(fence),
            Request::Leave { .. } => script!(leave),
            Request::Members => script!(members),
            Request::Intend { .. } => script!(intend),
            Request::Intents => script!(intents),
            Request::Close { .. } => script!(close),
        }
    }
}

/// What the script itself takes, behind the two epochs.
fn arguments(command: &mut Cmd, request: &Request, settings: &Settings) {
    let word = |outcome: &Outcome| match outcome {
        Outcome::Known => "known",
        Outcome::Unknown => "unknown",
    };
    match request {
        Request::Begin | Request::Members | Request::Intents => command,
        Request::Append { record, ends } => {
            let (write, outcome) = ends.as_ref().map_or(("", ""), |(write, outcome)| (write, word(outcome)));
            command.arg(&record[..]).arg(settings.retained).arg(write).arg(outcome)
        }
        Request::Register { who, about } => {
            command.arg(&who.0).arg(about).arg(MAX_MEMBERS).arg(settings.coherence.as_str())
        }
        Request::Convert { still } => {
            command.arg(settings.coherence.as_str());
            still.iter().fold(command, |command, (who, renewals)| command.arg(&who.0).arg(renewals))
        }
        Request::Renew { who, applied, about } => command.arg(&who.0).arg(applied).arg(about),
        Request::Behind { place } => command.arg(place),
        Request::Fence { who, renewals } => command.arg(&who.0).arg(renewals),
        Request::Leave { who } => command.arg(&who.0),
        Request::Intend { who, write, record } => {
            command.arg(&who.0).arg(write).arg(&record[..]).arg(MAX_INTENTS)
        }
        Request::Close { write, outcome } => command.arg(write).arg(word(outcome)),
    };
}

fn understood(value: Value) -> Option<Answer> {
    let Value::Array(mut parts) = value else { return None };
    let rest = parts.split_off(1.min(parts.len()));
    let tag: String = read(parts.pop()?)?;
    let mut rest = rest.into_iter();
    let mut number = || rest.next().and_then(read::<u64>);
    Some(match tag.as_str() {
        "began" => Answer::Began(number()?),
        "extent" => Answer::Extent(Extent { epoch: number()?, first: number()?, last: number()? }),
        "place" => Answer::Place(number()?),
        "held" => Answer::Held(number()?),
        "fenced" => Answer::Fenced(number()?),
        "unknown" => Answer::Unknown,
        "out" => Answer::Out,
        "moved" => Answer::Moved,
        "open" => Answer::Open,
        "done" => Answer::Done,
        "members" => {
            let extent = Extent { epoch: number()?, first: number()?, last: number()? };
            Answer::Members(extent, rows(rest.next()?, member)?)
        }
        "behind" => Answer::Behind(rows(rest.next()?, member)?),
        "intents" => Answer::Intents(rows(rest.next()?, intent)?),
        _ => return None,
    })
}

/// A list of rows; an empty one is read as any.
fn rows<R: FromRedisValue, T>(value: Value, row: impl Fn(R) -> T) -> Option<Vec<T>> {
    let Value::Array(rows) = value else { return None };
    rows.into_iter().map(|value| read(value).map(&row)).collect()
}

fn member((who, about, applied, fence, renewals): (String, String, u64, u64, u64)) -> Member {
    Member { incarnation: Incarnation(who), about, applied, fence, renewals }
}

fn intent((write, who, place): (String, String, u64)) -> Intent {
    let who = (!who.is_empty()).then_some(Incarnation(who));
    Intent { write, who, place: (place > 0).then_some(place) }
}
