//! Every question that a node has for the journal, and what may be answered to it.
//!
//! Invariant: each is one step on the server. What is answered to another question is an error, and never taken for an
//! answer. It refuses to know who keeps the journal.

use std::time::Duration;

use ahash::RandomState;
use bytes::Bytes;

use crate::fleet::journal::{
    Away, Began, Behind, Closed, Converted, Extent, Fenced, Incarnation, Intended, Intent, Journal, Member,
    Outcome, Read, Renewed,
};
use crate::fleet::request::{Answer, Request};
use crate::store::position::Position;

impl Journal {
    /// Enters the epoch, beginning one if there is none, or none of this server's.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn begin(&self) -> Result<Extent, Away> {
        match self.ask(0, Request::Begin).await? {
            Answer::Extent(extent) => Ok(extent),
            other => Err(other.misplaced()),
        }
    }

    /// Gives a record of at most [`MAX_RECORD`](crate::fleet::journal::MAX_RECORD) bytes its place. Sent twice, it has two.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn append(&self, epoch: u64, record: Bytes) -> Result<Result<u64, Began>, Away> {
        self.place(epoch, Request::Append { record, ends: None }).await
    }

    /// Appends what a write has outdated, and in the same step closes its intent. If nobody knows the outcome, it stays,
    /// with this record instead of its own, until [`Self::close`]: the write may still be on its way.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn conclude(
        &self,
        epoch: u64,
        write: &str,
        outcome: Outcome,
        record: Bytes,
    ) -> Result<Result<u64, Began>, Away> {
        self.place(epoch, Request::Append { record, ends: Some((write.to_owned(), outcome)) }).await
    }

    /// Up to [`MAX_READ`](crate::fleet::journal::MAX_READ) records behind the cursor; waits for the first one, for `wait` at most. On a connection of its
    /// own: one read at a time. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn read(&self, after: Position, wait: Duration) -> Result<Read, Away> {
        match self {
            Self::Redis(journal) => journal.read(after, wait).await,
            #[cfg(any(test, feature = "sim"))]
            Self::Sim(journal) => journal.read(after, wait).await,
        }
    }

    /// A name that no incarnation ever had.
    pub fn name(&self) -> Incarnation {
        match self {
            Self::Redis(_) => {
                let random = RandomState::new();
                Incarnation(format!("{:016x}{:016x}", random.hash_one(0), random.hash_one(1)))
            }
            #[cfg(any(test, feature = "sim"))]
            Self::Sim(journal) => journal.name(),
        }
    }

    /// Registers an incarnation: it renews for the first time when it has applied all that the journal has now. Sent
    /// again, it leaves the entry as it is. Whoever is the first of an epoch says how all of it live.
    ///
    /// # Errors
    /// [`Away`]: [`Away::OtherCoherence`] if they live otherwise; refused as well if there are [`MAX_MEMBERS`](crate::fleet::journal::MAX_MEMBERS).
    pub async fn register(
        &self,
        epoch: u64,
        who: &Incarnation,
        about: &str,
    ) -> Result<Result<Extent, Began>, Away> {
        match self.ask(epoch, Request::Register { who: who.clone(), about: about.to_owned() }).await? {
            Answer::Extent(extent) => Ok(Ok(extent)),
            Answer::Began(epoch) => Ok(Err(Began { epoch })),
            other => Err(other.misplaced()),
        }
    }

    /// Ends an epoch whose nodes live otherwise, if none of them can have a lease: each is shut out, or its counter is still
    /// what it was when it was seen to stand still for longer than any lease.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn convert(
        &self,
        epoch: u64,
        still: Vec<(Incarnation, u64)>,
    ) -> Result<Result<Converted, Began>, Away> {
        match self.ask(epoch, Request::Convert { still }).await? {
            Answer::Done => Ok(Ok(Converted::Lives)),
            Answer::Moved => Ok(Ok(Converted::Others)),
            Answer::Began(epoch) => Ok(Err(Began { epoch })),
            other => Err(other.misplaced()),
        }
    }

    /// Renews a lease, and tells how far the node is, and what it says of itself by now. It counts from before this was called.
    ///
    /// # Errors
    /// [`Away`]: it does not count.
    pub async fn renew(
        &self,
        epoch: u64,
        who: &Incarnation,
        applied: u64,
        about: &str,
    ) -> Result<Renewed, Away> {
        let renewal = Request::Renew { who: who.clone(), applied, about: about.to_owned() };
        match self.ask(epoch, renewal).await? {
            Answer::Held(last) => Ok(Renewed::Held { last }),
            Answer::Fenced(fence) => Ok(Renewed::Fenced { fence }),
            Answer::Unknown => Ok(Renewed::Unknown),
            Answer::Began(epoch) => Ok(Renewed::Began(Began { epoch })),
            other => Err(other.misplaced()),
        }
    }

    /// Who has neither applied `n` nor is shut out. If that is nobody, who is shut out owes `n` as well from now on.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn behind(&self, epoch: u64, n: u64) -> Result<Behind, Away> {
        match self.ask(epoch, Request::Behind { place: n }).await? {
            Answer::Behind(these) => Ok(Behind::These(these)),
            Answer::Began(epoch) => Ok(Behind::Began(Began { epoch })),
            other => Err(other.misplaced()),
        }
    }

    /// Shuts out whose counter is still `renewals`: its fence is what the journal has now, and what it intended is
    /// appended, once. Who was shut out before is let go. Only for who was seen to stand still for longer than any lease.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn fence(&self, epoch: u64, who: &Incarnation, renewals: u64) -> Result<Fenced, Away> {
        match self.ask(epoch, Request::Fence { who: who.clone(), renewals }).await? {
            Answer::Out => Ok(Fenced::ShutOut),
            Answer::Moved => Ok(Fenced::Moved),
            Answer::Began(epoch) => Ok(Fenced::Began(Began { epoch })),
            other => Err(other.misplaced()),
        }
    }

    /// Takes an incarnation out, which serves nothing of what it keeps any more. What it intended and did not conclude
    /// is appended as if it had died.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn leave(&self, epoch: u64, who: &Incarnation) -> Result<Result<(), Began>, Away> {
        match self.ask(epoch, Request::Leave { who: who.clone() }).await? {
            Answer::Done => Ok(Ok(())),
            Answer::Began(epoch) => Ok(Err(Began { epoch })),
            other => Err(other.misplaced()),
        }
    }

    /// Everybody who is registered, by name, and what the journal has.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn members(&self) -> Result<(Extent, Vec<Member>), Away> {
        match self.ask(0, Request::Members).await? {
            Answer::Members(extent, members) => Ok((extent, members)),
            other => Err(other.misplaced()),
        }
    }

    /// Keeps what a write would outdate if nobody ever said what became of it, and hangs it on an incarnation. Every
    /// attempt to send the write takes this anew, and so does every epoch in which it is not over.
    ///
    /// # Errors
    /// [`Away`]; refused as well if there are [`MAX_INTENTS`](crate::fleet::journal::MAX_INTENTS).
    pub async fn intend(
        &self,
        epoch: u64,
        who: &Incarnation,
        write: &str,
        record: Bytes,
    ) -> Result<Intended, Away> {
        match self.ask(epoch, Request::Intend { who: who.clone(), write: write.to_owned(), record }).await? {
            Answer::Done => Ok(Intended::Kept),
            Answer::Unknown => Ok(Intended::Unknown),
            Answer::Began(epoch) => Ok(Intended::Began(Began { epoch })),
            other => Err(other.misplaced()),
        }
    }

    /// The writes of which nobody said the end, by name.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn intents(&self, epoch: u64) -> Result<Result<Vec<Intent>, Began>, Away> {
        match self.ask(epoch, Request::Intents).await? {
            Answer::Intents(intents) => Ok(Ok(intents)),
            Answer::Began(epoch) => Ok(Err(Began { epoch })),
            other => Err(other.misplaced()),
        }
    }

    /// Forgets an intent. [`Outcome::Known`]: whoever forwarded the write, or did not, says that it outdated nothing, or
    /// nothing that is not in the journal. [`Outcome::Unknown`]: it cannot reach the origin any more; it stays unless a
    /// record stands for it in this epoch.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn close(
        &self,
        epoch: u64,
        write: &str,
        outcome: Outcome,
    ) -> Result<Result<Closed, Began>, Away> {
        match self.ask(epoch, Request::Close { write: write.to_owned(), outcome }).await? {
            Answer::Done => Ok(Ok(Closed::Gone)),
            Answer::Open => Ok(Ok(Closed::Open)),
            Answer::Began(epoch) => Ok(Err(Began { epoch })),
            other => Err(other.misplaced()),
        }
    }

    /// Waits until another server may have become its primary: what failed is worth another try.
    pub async fn moved(&self) {
        match self {
            Self::Redis(journal) => journal.moved().await,
            #[cfg(any(test, feature = "sim"))]
            Self::Sim(_) => std::future::pending().await,
        }
    }

    async fn place(&self, epoch: u64, request: Request) -> Result<Result<u64, Began>, Away> {
        match self.ask(epoch, request).await? {
            Answer::Place(place) => Ok(Ok(place)),
            Answer::Began(epoch) => Ok(Err(Began { epoch })),
            other => Err(other.misplaced()),
        }
    }

    async fn ask(&self, epoch: u64, request: Request) -> Result<Answer, Away> {
        request.check()?;
        match self {
            Self::Redis(journal) => journal.ask(epoch, &request).await,
            #[cfg(any(test, feature = "sim"))]
            Self::Sim(journal) => journal.ask(epoch, request).await,
        }
    }
}
