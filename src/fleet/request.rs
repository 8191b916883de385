//! What is asked of the server that keeps the journal, and what it answers: one step there, whoever is that server.
//!
//! Invariant: none of it speaks of connections, and each request is answered by an epoch that began, or by what it names.
//! It refuses to know how a request gets there.

use bytes::Bytes;

use crate::fault::{self, Mistake};
use crate::fleet::journal::{
    Away, Extent, Incarnation, Intent, MAX_ABOUT, MAX_MEMBERS, MAX_NAME, MAX_RECORD, Member, Outcome,
};

/// One script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::fleet) enum Request {
    Begin,
    Append { record: Bytes, ends: Option<(String, Outcome)> },
    Register { who: Incarnation, about: String },
    Convert { still: Vec<(Incarnation, u64)> },
    Renew { who: Incarnation, applied: u64, about: String },
    Behind { place: u64 },
    Fence { who: Incarnation, renewals: u64 },
    Leave { who: Incarnation },
    Members,
    Intend { who: Incarnation, write: String, record: Bytes },
    Intents,
    Close { write: String, outcome: Outcome },
}

/// What a script says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::fleet) enum Answer {
    /// The epoch is another one; nothing was done but that it may have begun.
    Began(u64),
    Extent(Extent),
    Place(u64),
    /// Renewed; the newest place.
    Held(u64),
    /// Not renewed; the fence.
    Fenced(u64),
    /// Nobody of that name is registered.
    Unknown,
    /// Shut out, or not there.
    Out,
    /// Its counter is another one.
    Moved,
    /// The intent stays.
    Open,
    Done,
    Behind(Vec<Member>),
    Members(Extent, Vec<Member>),
    Intents(Vec<Intent>),
}

impl Request {
    /// What is asked is within the limits.
    ///
    /// # Errors
    /// [`Away::Refused`].
    pub(in crate::fleet) fn check(&self) -> Result<(), Away> {
        let is_name = |name: &str| (1..=MAX_NAME).contains(&name.len());
        let fits = |record: &Bytes| record.len() <= MAX_RECORD;
        let is_sound = match self {
            Self::Begin | Self::Behind { .. } | Self::Members | Self::Intents => true,
            Self::Append { record, ends } => {
                fits(record) && ends.as_ref().is_none_or(|(write, _)| is_name(write))
            }
            Self::Register { who, about } | Self::Renew { who, about, .. } => {
                is_name(&who.0) && about.len() <= MAX_ABOUT
            }
            Self::Convert { still } => still.len() <= MAX_MEMBERS,
            Self::Fence { who, .. } | Self::Leave { who } => is_name(&who.0),
            Self::Intend { who, write, record } => is_name(&who.0) && is_name(write) && fits(record),
            Self::Close { write, .. } => is_name(write),
        };
        let limits = || {
            format!(
                "a record has at most {MAX_RECORD} bytes, a name 1 to {MAX_NAME}, what is told {MAX_ABOUT}"
            )
        };
        if is_sound { Ok(()) } else { Err(Away::Refused(limits())) }
    }

    /// Whether there may be as many of it as there are writes.
    pub(in crate::fleet) fn is_of_writes(&self) -> bool {
        matches!(self, Self::Append { .. } | Self::Intend { .. } | Self::Close { .. })
    }

    /// Whether an answer counts only once enough replicas have what was written for it.
    pub(in crate::fleet) fn counts_when_replicated(&self, answer: &Answer) -> bool {
        let is_refused = matches!(answer, Answer::Began(_) | Answer::Fenced(_) | Answer::Unknown);
        let is_forgotten = match self {
            Self::Append { .. } => fault::made(Mistake::AppendedWithoutWait),
            Self::Renew { .. } => fault::made(Mistake::RenewedWithoutWait),
            Self::Intend { .. } => fault::made(Mistake::IntendedWithoutWait),
            _ => false,
        };
        let is_promise = matches!(
            self,
            Self::Append { .. } | Self::Register { .. } | Self::Renew { .. } | Self::Intend { .. }
        );
        is_promise && !is_refused && !is_forgotten
    }
}

impl Answer {
    /// The error for an answer that this question does not have.
    pub(in crate::fleet) fn misplaced(self) -> Away {
        Away::Refused(format!("it answers something else: {self:?}"))
    }
}
